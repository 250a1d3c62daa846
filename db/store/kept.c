#include "db/store/kept.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/store/store.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

#define LONGEST_NAME 300

static const char *const keepers[] = { "ldapsync", "sqlsync" };

void kept_note(int lock, const char *config)
{
	char *path = realpath(config, NULL);
	struct buf line = { 0 };

	buf_addf(&line, "%s\n", path != NULL ? path : config);
	/* it is for messages alone, which do without it as well */
	if (ftruncate(lock, 0) == 0 && pwrite(lock, buf_str(&line), line.len, 0) != (ssize_t)line.len)
		(void)!ftruncate(lock, 0);
	buf_free(&line);
	free(path);
}

bool kept_add_command(const char *map, struct buf *out)
{
	const char *keeper = NULL;
	char *lock = NULL;
	struct timespec newest = { 0 };
	struct buf text = { .limit = 2 * LONGEST_NAME };

	/* a map may have changed hands */
	for (size_t i = 0; i < sizeof keepers / sizeof keepers[0]; i++) {
		char *path = xasprintf("%.*s.%s", (int)store_base_length(map), map, keepers[i]);
		struct stat st;

		if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)
		    && (keeper == NULL || st.st_mtim.tv_sec > newest.tv_sec
		        || (st.st_mtim.tv_sec == newest.tv_sec && st.st_mtim.tv_nsec > newest.tv_nsec))) {
			free(lock);
			keeper = keepers[i];
			lock = path;
			newest = st.st_mtim;
		} else {
			free(path);
		}
	}
	if (keeper == NULL)
		return false;
	buf_adds(out, keeper);
	/* a lock that may not be read tells at least which program it is */
	if (file_read_path(lock, &text) && text.len > 1 && text.data[0] == '/' && text.data[text.len - 1] == '\n') {
		buf_adds(out, " -f ");
		text_add_clean(out, text.data, text.len - 1, LONGEST_NAME);
	}
	buf_free(&text);
	buf_adds(out, " -1");
	free(lock);
	return true;
}

void kept_add_maker(const char *map, const char *otherwise, struct buf *out)
{
	if (!kept_add_command(map, out))
		buf_adds(out, otherwise);
}
