/*
 * Text files that are read in place: types "unordered" and "ordered" (maps.md section 12).
 *
 * A line is KEY blanks WORD.  The key ends at the first blank outside double quotes, a backslash takes the next
 * byte as it is; keys are compared without case; the value is the first word only.  No comments, no colon.  The
 * first line of several with one key counts.  The file is read and indexed once, so that the order of its lines
 * does not matter for either type.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/map/map.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

struct entry {
	const char *key;
	const char *value;
	size_t key_length;
	size_t value_length;
};

struct text_map {
	struct buf bytes;
	struct entry *entries;     /* in the file's order */
	struct entry **by_key;
	size_t count;
};

static int compare_keys(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t n = a_length < b_length ? a_length : b_length;

	for (size_t i = 0; i < n; i++) {
		int difference = (unsigned char)ascii_lower(a[i]) - (unsigned char)ascii_lower(b[i]);

		if (difference != 0)
			return difference;
	}
	return (a_length > b_length) - (a_length < b_length);
}

/* Equal keys stay in the file's order. */
static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
	int difference = compare_keys(x->key, x->key_length, y->key, y->key_length);

	return difference != 0 ? difference : (x > y) - (x < y);
}

static void add_line(struct text_map *t, size_t *capacity, const char *line, size_t length)
{
	size_t n = text_word_length(line, length, ' '), start = n, end;

	if (n == 0)
		return;
	while (start < length && ascii_is_blank(line[start]))
		start++;
	for (end = start; end < length && !ascii_is_blank(line[end]); end++)
		;
	t->entries = xgrow(t->entries, t->count, capacity, sizeof *t->entries);
	t->entries[t->count++] = (struct entry){ line, line + start, n, end - start };
}

static void free_text(struct text_map *t)
{
	buf_free(&t->bytes);
	free(t->entries);
	free(t->by_key);
	free(t);
}

static bool read_text(struct map *map, int fd, struct text_map *t)
{
	const char *nul;
	size_t line = 1;

	if (!map_provenance_of(map, fd))
		return false;
	if (!file_read(fd, &t->bytes)) {
		map_fail(map, "%s", file_error(errno));
		return false;
	}
	if (t->bytes.len > 0)
		t->bytes.len = text_unmark(t->bytes.data, t->bytes.len);
	nul = t->bytes.len > 0 ? memchr(t->bytes.data, '\0', t->bytes.len) : NULL;
	if (nul == NULL)
		return true;
	for (const char *p = t->bytes.data; p < nul; p++)
		line += *p == '\n';
	map_fail(map, "line %zu: NUL byte; this is no text map", line);
	return false;
}

static bool open_text(struct map *map)
{
	struct text_map *t;
	int fd = file_open_regular(map->path, O_RDONLY);
	bool ok;
	const char *p, *end;
	size_t capacity = 0;

	if (fd < 0)
		return map_fail_open(map);
	t = xcalloc(1, sizeof *t);
	ok = read_text(map, fd, t);
	close(fd);
	if (!ok) {
		free_text(t);
		return false;
	}
	/* the lines, and an index of their keys */
	p = buf_str(&t->bytes);
	end = p + t->bytes.len;
	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((newline != NULL ? newline : end) - p);

		add_line(t, &capacity, p, n);
		p += n + 1;
	}
	t->by_key = xreallocarray(NULL, t->count + 1, sizeof *t->by_key);
	for (size_t i = 0; i < t->count; i++)
		t->by_key[i] = &t->entries[i];
	qsort(t->by_key, t->count, sizeof *t->by_key, compare_entries);
	map->state = t;
	return true;
}

static enum map_answer find_text(struct map *map, const char *key, size_t length, struct buf *value)
{
	const struct text_map *t = map->state;
	size_t low = 0, high = t->count;

	/* the first entry that is not below the key */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct entry *e = t->by_key[middle];

		if (compare_keys(e->key, e->key_length, key, length) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == t->count || compare_keys(t->by_key[low]->key, t->by_key[low]->key_length, key, length) != 0)
		return MAP_NOT_FOUND;
	buf_add(value, t->by_key[low]->value, t->by_key[low]->value_length);
	return MAP_FOUND;
}

static enum map_answer walk_text(struct map *map, record_each *each, void *context)
{
	const struct text_map *t = map->state;

	for (size_t i = 0; i < t->count; i++) {
		const struct entry *e = &t->entries[i];

		if (!each(context, e->key, e->key_length, e->value, e->value_length))
			break;
	}
	return MAP_FOUND;
}

static enum map_change changed_text(struct map *map)
{
	return map_file_change(map) == MAP_SAME ? MAP_SAME : MAP_REPLACED;
}

static void close_text(struct map *map)
{
	free_text(map->state);
	map->state = NULL;
}

const struct map_operations map_unordered = {
	.type = "unordered", .suffix = "", .open = open_text, .find = find_text, .walk = walk_text,
	.changed = changed_text, .close = close_text,
};

const struct map_operations map_ordered = {
	.type = "ordered", .suffix = "", .open = open_text, .find = find_text, .walk = walk_text,
	.changed = changed_text, .close = close_text,
};
