/*
 * Any bytes as a metrics file that is added to: refused in one line, and then it is left as it was; or what was added is
 * in it, and what stands there now is taken once more.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/metrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct metric things = { "t_things_total", METRIC_COUNTER, "Things." };
static char directory[] = "/tmp/zlmtp-fuzz-XXXXXX", path[sizeof directory + 8], lock[sizeof directory + 16];

static void clean_up(void)
{
	unlink(path);
	unlink(lock);
	rmdir(directory);
}

static void prepare(void)
{
	if (path[0] != '\0')
		return;
	if (mkdtemp(directory) == NULL)
		abort();
	snprintf(path, sizeof path, "%s/m", directory);
	snprintf(lock, sizeof lock, "%s/m.lock", directory);
	atexit(clean_up);
}

static enum metrics_result add_one(struct buf *why)
{
	struct metrics *m = metrics_create(path);
	enum metrics_result result;

	metrics_add(m, &things, "", 1000);
	result = metrics_write(m, 0, why);
	metrics_destroy(&m);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf why = { 0 }, after = { 0 };

	prepare();
	if (!file_replace(path, data, size, 0600))
		abort();
	if (add_one(&why) == METRICS_WRITTEN) {
		if (!file_read_path(path, &after) || strstr(buf_str(&after), "\nt_things_total ") == NULL || why.len > 0)
			abort();
		if (add_one(&why) != METRICS_WRITTEN)
			abort();
	} else {
		if (why.len == 0 || strchr(why.data, '\n') != NULL || !file_read_path(path, &after) || after.len != size ||
		    (size > 0 && memcmp(after.data, data, size) != 0))
			abort();
	}
	buf_free(&why);
	buf_free(&after);
	return 0;
}
