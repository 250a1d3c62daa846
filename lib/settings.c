#include "lib/settings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/alloc.h"
#include "lib/conf.h"
#include "lib/file.h"
#include "lib/parse.h"
#include "lib/text.h"

#define LARGEST_FILE (1u << 20)
#define DEEPEST_INCLUDE 8

/* Longer words are like none of ours. */
#define LONGEST_KEYWORD 32

struct reader {
	struct settings *settings;
	struct conf_text text;       /* text.path lives as long as the settings */
	settings_name *name_of;
	unsigned depth;
};

static int read_file(struct reader *outer, const char *path);

/* ---- messages ------------------------------------------------------------- */

static int line_error(const struct reader *r, const char *what, const char *bytes, size_t n)
{
	conf_error(&r->text, "%s ", what);
	conf_add_found(r->text.why, bytes, n);
	return EX_CONFIG;
}

int setting_error(const struct setting *setting, struct buf *why, const char *format, ...)
{
	va_list ap;

	buf_addf(why, "%s:%zu: %s: ", setting->file, setting->line, setting->keyword);
	va_start(ap, format);
	buf_vaddf(why, format, ap);
	va_end(ap);
	return EX_CONFIG;
}

int settings_error(const char *file, struct buf *why, const char *text)
{
	buf_addf(why, "%s: %s", file, text);
	return EX_CONFIG;
}

static int expected(const struct setting *setting, struct buf *why, const char *what)
{
	buf_addf(why, "%s:%zu: %s: expected %s, found ", setting->file, setting->line, setting->keyword, what);
	conf_add_found(why, setting->value, strlen(setting->value));
	return EX_CONFIG;
}

/*
 * `word` with another letter at this place, one more, without it, or with the next one before it; NULL behind the last of these
 * slips.
 */
static char *with_slip(const char *word, int place, int slip)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
	const int n = (int)strlen(word), count = (int)sizeof letters - 1, left = place < n ? place + 1 : n;

	if (slip < count)
		return xasprintf("%.*s%c%s", place, word, letters[slip], word + left);
	if (slip < 2 * count)
		return xasprintf("%.*s%c%s", place, word, letters[slip - count], word + place);
	if (slip == 2 * count)
		return xasprintf("%.*s%s", place, word, word + left);
	if (slip == 2 * count + 1 && place + 1 < n)
		return xasprintf("%.*s%c%c%s", place, word, word[place + 1], word[place], word + place + 2);
	return NULL;
}

/*
 * The keyword that `word` is but for one slip, to be freed; NULL if there is none.  What a file of settings may say is asked of
 * its reader, which knows words when it hears them and has no list of them.
 */
static char *nearest_keyword(settings_name *name_of, const char *word)
{
	const size_t n = strlen(word);

	for (size_t place = 0; place <= n && n <= LONGEST_KEYWORD; place++) {
		char *other;

		for (int slip = 0; (other = with_slip(word, (int)place, slip)) != NULL; slip++) {
			if (name_of(other) != NULL)
				return other;
			free(other);
		}
	}
	return NULL;
}

/* ---- lines ---------------------------------------------------------------- */

static bool is_word_byte(char c)
{
	return ascii_lower(c) != c || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static size_t word_length(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && is_word_byte(p[n]))
		n++;
	return n;
}

/* What of a line can be shown: a word, and the character that should not be behind it.  What follows may be a password. */
static size_t beginning(const char *p, const char *end)
{
	size_t n = word_length(p, end);

	n += p + n < end;
	while (p + n < end && text_is_within_character(p[n]))
		n++;
	return n;
}

/* A word, and behind it a blank, "=" or nothing. */
static bool begins_like_setting(const char *p, const char *end)
{
	size_t n = word_length(p, end);

	return n > 0 && (p + n == end || ascii_is_blank(p[n]) || p[n] == '=');
}

static bool continues(const struct reader *r, const char *p, const char *end)
{
	const struct settings *s = r->settings;
	const struct setting *last = s->count > 0 ? &s->list[s->count - 1] : NULL;
	size_t n = last != NULL && last->file == r->text.path ? strlen(last->value) : 0;

	return s->is_indented || !begins_like_setting(p, end) || (n > 0 && last->value[n - 1] == ',');
}

static int include(struct reader *r, const char *p, const char *end)
{
	char *path = xstrndup(p, (size_t)(end - p));
	int status;

	if (path[0] != '/')
		status = line_error(r, "include: expected an absolute path, found", p, (size_t)(end - p));
	else if (r->depth >= DEEPEST_INCLUDE)
		status = line_error(r, "include: files include each other too deep at", p, (size_t)(end - p));
	else
		status = read_file(r, path);
	free(path);
	return status;
}

static int take_setting(struct reader *r, const char *p, const char *end)
{
	struct settings *s = r->settings;
	size_t n = word_length(p, end);
	const char *value = p + n;
	char *keyword;
	const char *name;

	if (!begins_like_setting(p, end))
		return conf_expected(&r->text, "a keyword", p, beginning(p, end));
	while (value < end && ascii_is_blank(*value))
		value++;
	if (value < end && *value == '=')
		for (value++; value < end && ascii_is_blank(*value); value++)
			;
	keyword = xstrndup(p, n);
	ascii_lower_string(keyword);
	if (strcmp(keyword, "include") == 0) {
		free(keyword);
		return include(r, value, end);
	}
	name = r->name_of(keyword);
	if (name == NULL) {
		char *near = nearest_keyword(r->name_of, keyword);

		free(keyword);
		line_error(r, "unknown keyword", p, n);
		if (near != NULL)
			buf_addf(r->text.why, "; is %s meant?", near);
		free(near);
		return EX_CONFIG;
	}
	s->list = xgrow(s->list, s->count, &s->capacity, sizeof *s->list);
	s->list[s->count++] = (struct setting){
		.name = name, .keyword = keyword, .value = xstrndup(value, (size_t)(end - value)), .file = r->text.path,
		.line = r->text.number,
	};
	return EX_OK;
}

static int take_line(struct reader *r)
{
	const char *line = r->text.line, *p = line, *end = line + r->text.length;

	if (conf_has_nul(&r->text))
		return line_error(r, "NUL byte in the line that begins with", line, word_length(line, end));
	while (p < end && ascii_is_blank(*p))
		p++;
	while (end > p && (ascii_is_blank(end[-1]) || end[-1] == '\r'))
		end--;
	if (p == end || *p == '#')
		return EX_OK;
	if (p > line && continues(r, p, end)) {
		struct settings *s = r->settings;
		struct setting *last = s->count > 0 ? &s->list[s->count - 1] : NULL;
		char *longer;

		if (last == NULL || last->file != r->text.path)
			return conf_expected(&r->text, "a keyword", p, beginning(p, end));
		longer = xasprintf("%s%s%.*s", last->value, last->value[0] != '\0' ? " " : "", (int)(end - p), p);
		free(last->value);
		last->value = longer;
		return EX_OK;
	}
	return take_setting(r, p, end);
}

static int take_text(struct reader *r, const char *path, const char *text, size_t n)
{
	struct settings *s = r->settings;
	char *name = xstrdup(path);
	int status = EX_OK;

	s->files = xgrow(s->files, s->file_count, &s->file_capacity, sizeof *s->files);
	s->files[s->file_count++] = name;
	r->text = conf_begin(name, text, n, r->text.why);
	while (status == EX_OK && conf_next(&r->text))
		status = take_line(r);
	return status;
}

static int read_file(struct reader *outer, const char *path)
{
	struct reader r = *outer;
	struct buf text = { .limit = LARGEST_FILE };
	int status;

	r.depth++;
	if (file_read_text(path, &text)) {
		status = take_text(&r, path, buf_str(&text), text.len);
	} else {
		if (outer->text.path != NULL)
			conf_error(&outer->text, "include: ");
		buf_addf(r.text.why, "%s: %s", path, file_error(errno));
		status = EX_NOINPUT;
	}
	buf_free(&text);
	return status;
}

int settings_read(struct settings *settings, const char *path, settings_name *name_of, struct buf *why)
{
	struct reader r = { .settings = settings, .name_of = name_of, .text.why = why };

	return read_file(&r, path);
}

int settings_parse(struct settings *settings, const char *path, const char *text, size_t n,
                   settings_name *name_of, struct buf *why)
{
	struct reader r = { .settings = settings, .name_of = name_of, .text.why = why };

	return take_text(&r, path, text, n);
}

int settings_repeated(const struct settings *settings, size_t from, size_t to, struct buf *why)
{
	for (size_t i = from; i < to; i++) {
		const struct setting *later = &settings->list[i];

		for (size_t k = from; k < i; k++) {
			const struct setting *first = &settings->list[k];

			if (first->file == later->file && strcmp(first->name, later->name) == 0)
				return setting_error(later, why, "line %zu says it already by %s", first->line, first->keyword);
		}
	}
	return EX_OK;
}

void settings_free(struct settings *settings)
{
	for (size_t i = 0; i < settings->count; i++) {
		free(settings->list[i].keyword);
		/* it may be a password */
		explicit_bzero(settings->list[i].value, strlen(settings->list[i].value));
		free(settings->list[i].value);
	}
	for (size_t i = 0; i < settings->file_count; i++)
		free(settings->files[i]);
	free(settings->list);
	free(settings->files);
	*settings = (struct settings){ 0 };
}

/* ---- values --------------------------------------------------------------- */

int setting_bool(const struct setting *setting, bool *value, struct buf *why)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1", NULL };

	for (int i = 0; words[i] != NULL; i++) {
		if (ascii_equal(words[i], setting->value)) {
			*value = i % 2 == 1;
			return EX_OK;
		}
	}
	return expected(setting, why, "yes or no");
}

int setting_number(const struct setting *setting, unsigned long max, unsigned long *value, struct buf *why)
{
	uint64_t number;

	if (!parse_number(setting->value, max, &number)) {
		buf_addf(why, "%s:%zu: %s: expected a number up to %lu, found ", setting->file, setting->line, setting->keyword,
		         max);
		conf_add_found(why, setting->value, strlen(setting->value));
		return EX_CONFIG;
	}
	*value = (unsigned long)number;
	return EX_OK;
}

int setting_seconds(const struct setting *setting, long max, long *value, struct buf *why)
{
	int64_t seconds;

	if (!parse_interval(setting->value, &seconds) || seconds > max) {
		buf_addf(why, "%s:%zu: %s: expected seconds, or an interval as 1m30s, up to %ld s, found ", setting->file,
		         setting->line, setting->keyword, max);
		conf_add_found(why, setting->value, strlen(setting->value));
		return EX_CONFIG;
	}
	*value = (long)seconds;
	return EX_OK;
}

int setting_choice(const struct setting *setting, const char *const *words, int *value, struct buf *why)
{
	struct buf text = { 0 };
	int status;

	for (int i = 0; words[i] != NULL; i++) {
		if (ascii_equal(words[i], setting->value)) {
			buf_free(&text);
			*value = i;
			return EX_OK;
		}
		buf_addf(&text, "%s%s", i == 0 ? "one of " : ", ", words[i]);
	}
	status = expected(setting, why, buf_str(&text));
	buf_free(&text);
	return status;
}

int setting_text(const struct setting *setting, char **value, struct buf *why)
{
	if (setting->value[0] == '\0')
		return setting_error(setting, why, "has no value");
	free(*value);
	*value = xstrdup(setting->value);
	return EX_OK;
}

int setting_path(const struct setting *setting, char **value, struct buf *why)
{
	if (setting->value[0] != '/')
		return setting_error(setting, why, "expected an absolute path");
	return setting_text(setting, value, why);
}

int setting_words(const struct setting *setting, char ***list, struct buf *why)
{
	const char *p = setting->value;
	char **words = NULL;
	size_t count = 0, capacity = 0;

	for (;;) {
		size_t n;

		p += strspn(p, ", \t");
		n = strcspn(p, ", \t");
		words = xgrow(words, count, &capacity, sizeof *words);
		if (n == 0)
			break;
		words[count++] = xstrndup(p, n);
		p += n;
	}
	words[count] = NULL;
	if (count == 0) {
		free(words);
		return setting_error(setting, why, "has no value");
	}
	words_free(*list);
	*list = words;
	return EX_OK;
}

int setting_domains(const struct setting *setting, char ***list, struct buf *why)
{
	int status = setting_words(setting, list, why);

	for (size_t i = 0; status == EX_OK && (*list)[i] != NULL; i++)
		if (strpbrk((*list)[i], "/:@") != NULL)
			status = setting_error(setting, why, "expected names of domains, files and maps cannot be given here");
	return status;
}

void words_add(char ***list, const char *word)
{
	size_t count = 0;

	for (; *list != NULL && (*list)[count] != NULL; count++)
		if (ascii_equal((*list)[count], word))
			return;
	*list = xreallocarray(*list, count + 2, sizeof **list);
	(*list)[count] = xstrdup(word);
	(*list)[count + 1] = NULL;
}

char **words_copy(char *const *list)
{
	size_t count = 0;
	char **copy;

	while (list != NULL && list[count] != NULL)
		count++;
	copy = xcalloc(count + 1, sizeof *copy);
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

void words_free(char **list)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		free(list[i]);
	free(list);
}
