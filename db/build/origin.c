#include "db/build/origin.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/build/source.h"
#include "db/build/text.h"
#include "db/store/records.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

struct origin {
	struct records records;    /* sorted */
};

static void ignore(void *context, const struct fault *fault)
{
	(void)context;
	(void)fault;
}

/* True if it was changed after the stamp was made. */
static bool has_changed(const char *text, const struct stamp *stamp)
{
	struct stamp_text now;
	struct stat st;

	if (stat(text, &st) < 0 || map_modified(&st) > stamp->built)
		return true;
	/* archives and images may give all files one time; that of the inode is never set back */
	if (!stamp->text.known || (st.st_size == stamp->text.size && map_modified(&st) == stamp->text.modified &&
	                           (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec <= stamp->built))
		return false;
	now = source_text_of(text);
	return !now.known || now.size != stamp->text.size || now.sum != stamp->text.sum;
}

struct origin *origin_open(const struct map *map)
{
	const struct stamp *stamp = map->provenance.stamp;
	struct origin *origin;
	struct text_reader reader = { .report = ignore };

	if (stamp == NULL || stamp->source[0] != '/' || has_changed(stamp->source, stamp))
		return NULL;
	origin = xcalloc(1, sizeof *origin);
	origin->records.text.limit = SIZE_MAX / 2;
	if (!file_read_path(stamp->source, &origin->records.text)) {
		origin_close(&origin);
		return NULL;
	}
	if (origin->records.text.len > 0)
		buf_consume(&origin->records.text, text_mark(origin->records.text.data, origin->records.text.len));
	reader.file = stamp->source;
	reader.syntax = (struct text_syntax){ stamp->syntax == 'a', stamp->folding };
	text_read(&reader, &origin->records);
	records_sort(&origin->records);
	return origin;
}

size_t origin_line(const struct origin *origin, const char *key)
{
	size_t low = 0, high = origin->records.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(origin->records.list[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == origin->records.count || strcmp(origin->records.list[low].key, key) != 0)
		return 0;
	return origin->records.list[low].line;
}

void origin_close(struct origin **origin)
{
	if (*origin == NULL)
		return;
	records_free(&(*origin)->records);
	free(*origin);
	*origin = NULL;
}

bool origin_is_newer(const struct map *map, char **text)
{
	const struct map_provenance *p = &map->provenance;
	size_t n = strlen(map->path), suffix = strlen(map->operations->suffix);
	struct stat st;

	*text = NULL;
	if (p->stamp != NULL && p->stamp->source[0] == '/') {
		if (access(p->stamp->source, F_OK) == 0 && has_changed(p->stamp->source, p->stamp))
			*text = xstrdup(p->stamp->source);
	} else if (p->stamp == NULL && suffix > 0 && n > suffix &&
	           strcmp(map->path + n - suffix, map->operations->suffix) == 0) {
		char *base = xstrndup(map->path, n - suffix);

		if (map->config == NULL && stat(base, &st) == 0 && S_ISREG(st.st_mode) && map_modified(&st) > p->modified)
			*text = base;
		else
			free(base);
	}
	return *text != NULL;
}
