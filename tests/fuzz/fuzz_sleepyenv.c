/* sleepyenv.conf: what is accepted is a whole description of an environment; what is not is told in one line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/store/env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct env_config config;
	struct buf why = { 0 };

	if (env_config_parse(&config, "f", (const char *)data, size, &why) == EX_OK) {
		if (config.home == NULL || config.home[0] != '/' || strpbrk(config.home, "\r\n") != NULL || why.len > 0 ||
		    (config.tmpdir != NULL && config.tmpdir[0] != '/') || config.mode > 0777)
			abort();
		env_config_free(&config);
	} else if (why.len == 0 || strchr(buf_str(&why), '\n') != NULL) {
		abort();
	}
	buf_free(&why);
	return 0;
}
