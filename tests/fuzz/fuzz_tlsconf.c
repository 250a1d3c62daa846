/*
 * Any bytes as a tls.conf: taken, or refused with one clean line.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "channel/net/tlsconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tlsconf conf;
	struct buf why = { 0 };
	bool ok = tlsconf_parse(&conf, (const char *)data, size, "FILE", &why);

	if (ok != (why.len == 0))
		abort();
	for (size_t i = 0; i < why.len; i++)
		if ((unsigned char)why.data[i] < ' ')
			abort();
	tlsconf_free(&conf);
	buf_free(&why);
	return 0;
}
