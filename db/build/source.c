#include "db/build/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/map/map.h"
#include "lib/file.h"
#include "lib/text.h"

#define KEY_CAP 200

static void tell(const struct source *source, size_t line, bool is_warning, const char *text)
{
	struct fault fault = { source->path, line, 0, is_warning, text };

	source->report(source->report_context, &fault);
}

/* What a shell calls /dev/fd/63 may be a pipe; in place of a file one would keep us waiting. */
static int open_input(const struct source *source)
{
	int fd;

	if (strcmp(source->path, "-") == 0)
		fd = dup(STDIN_FILENO);
	else if (strncmp(source->path, "/dev/", 5) == 0)
		fd = open(source->path, O_RDONLY | O_CLOEXEC);
	else
		return file_open_regular(source->path, O_RDONLY);
	if (fd >= 0 && !file_ends(fd)) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static struct stamp_text describe(int fd, const struct buf *text)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return (struct stamp_text){ 0 };
	return (struct stamp_text){ true, (int64_t)text->len, map_modified(&st), stamp_sum(buf_str(text), text->len) };
}

struct stamp_text source_text_of(const char *path)
{
	struct stamp_text described = { 0 };
	int fd = file_open_regular(path, O_RDONLY);
	struct buf text = { 0 };

	if (fd >= 0 && file_read(fd, &text))
		described = describe(fd, &text);
	if (fd >= 0)
		close(fd);
	buf_free(&text);
	return described;
}

static int read_input(struct source *source, struct buf *text)
{
	int fd = open_input(source);
	bool ok = fd >= 0 && file_read(fd, text);
	int saved = errno;

	if (ok)
		source->text = describe(fd, text);

	if (fd >= 0)
		close(fd);
	if (ok && text->len > 0)
		buf_consume(text, text_mark(text->data, text->len));
	if (!ok) {
		tell(source, 0, false, file_error(saved));
		return EX_NOINPUT;
	}
	/* all that was known before would be unknown; "dbupdate replace" counts what it would remove */
	if (text->len == 0 && strcmp(source->path, "-") == 0 && !source->replaces) {
		tell(source, 0, false, "is empty, as if the program that writes it had failed; for a map without records write a comment");
		return EX_DATAERR;
	}
	return EX_OK;
}

/*
 * Lines for "dbupdate apply", which dblookup --dump prints where no text can hold a map, would be keys with a '+' in front.
 * *surely: such keys have no blank in them, but these have.
 */
static bool is_list_of_changes(const struct buf *text, bool *surely)
{
	const char *p = buf_str(text), *end = p + text->len;
	size_t found = 0;

	for (*surely = false; p < end; p++) {
		const char *line = p, *tab;

		p = memchr(line, '\n', (size_t)(end - line));
		if (p == NULL)
			p = end;
		tab = memchr(line, '\t', (size_t)(p - line));
		if (*line == '-' && tab == NULL && p > line + 1)
			continue;
		if (*line != '+' || tab == NULL || tab == line + 1 || tab[-1] == ':')
			return false;
		found++;
		*surely = *surely || memchr(line, ' ', (size_t)(tab - line)) != NULL || (tab + 1 < p && tab[1] == ' ');
	}
	return found > 0;
}

int source_read(struct source *source, struct records *records)
{
	struct text_reader reader = {
		.file = source->path, .syntax = source->syntax, .check = source->check,
		.check_context = source->check_context, .report = source->report, .report_context = source->report_context,
	};
	size_t errors;
	bool surely;
	int status = read_input(source, &records->text);

	if (status == EX_OK && is_list_of_changes(&records->text, &surely) && (surely || source->replaces)) {
		tell(source, 0, false, surely ? "its lines are changes: \"dbupdate ... apply\" takes them"
		                              : "each of its lines is a change, +KEY<TAB>VALUE, which \"dbupdate ... apply\" takes; "
		                                "if the '+' belongs to the keys, put a blank in place of the tab");
		status = EX_DATAERR;
	}
	if (status != EX_OK)
		return status;
	errors = text_read(&reader, records);
	source->lines_with_records = records->count;
	source->values_size = reader.values_size;
	source->longest = reader.longest;
	records_sort(records);
	if (source->duplicates == DUPLICATES_JOIN)
		records_join(records);
	else {
		struct buf text = { 0 };
		size_t found = 0, first = 0, last = 0;

		/* tells of each record but the first of its key */
		for (size_t i = records_duplicate(records, 1); i < records->count; i = records_duplicate(records, i + 1)) {
			const struct record *r = &records->list[i];

			if (found == 0 || i != last + 1)
				first = i - 1;
			last = i;
			buf_clear(&text);
			buf_adds(&text, "the key \"");
			text_add_clean(&text, r->key, r->key_length, KEY_CAP);
			buf_addf(&text, "\" is in line %zu already%s", records->list[first].line,
			         source->duplicates == DUPLICATES_KEEP_FIRST ? "; this one is left out" : "");
			tell(source, r->line, source->duplicates == DUPLICATES_KEEP_FIRST, buf_str(&text));
			found++;
		}
		buf_free(&text);
		source->repeated = found;
	}
	if (source->repeated > 0 && source->duplicates == DUPLICATES_REFUSE)
		status = EX_DATAERR;
	else if (source->repeated > 0)
		records_keep_first(records);
	return errors > 0 ? EX_DATAERR : status;
}
