#include "db/route/lookup.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/parse.h"
#include "lib/text.h"

#define MOST_ENTRIES 100000000
#define MOST_SECONDS 3153600000

static const struct {
	const char *name;
	enum key_driver driver;
} drivers[] = {
	{ "pathalias", DRIVER_PATHALIAS },
	{ "pathalias.nodot", DRIVER_PATHALIAS_NODOT },
	{ "pathalias.at", DRIVER_PATHALIAS_AT },
	{ "longestmatch", DRIVER_LONGESTMATCH },
};

static bool set_driver(const char *name, struct lookup_options *o, struct buf *why)
{
	for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
		if (strcmp(name, drivers[i].name) == 0) {
			o->driver = drivers[i].driver;
			return true;
		}
	}
	buf_addf(why, "unknown driver \"%s\"; expected pathalias, pathalias.nodot, pathalias.at or longestmatch", name);
	return false;
}

static bool set_number(const char *text, char letter, struct lookup_options *o, struct buf *why)
{
	uint64_t n;

	if (!parse_number(text, letter == 's' ? MOST_ENTRIES : MOST_SECONDS, &n)) {
		buf_addf(why, "option -%c needs a number, not \"%s\"", letter, text);
		return false;
	}
	if (letter == 's')
		o->cache_size = (size_t)n;
	else
		o->cache_seconds = (int64_t)n;
	return true;
}

static bool with_argument(char letter, const char **p, struct lookup_options *o, char **config, struct buf *why)
{
	/* the rest of this word, or the next one */
	const char *start = ascii_skip_blanks(*p);
	size_t n = strcspn(start, " \t");
	char *argument = n > 0 ? xstrndup(start, n) : NULL;
	bool ok = true;

	*p = start + n;
	if (argument == NULL) {
		buf_addf(why, "option -%c needs an argument", letter);
		return false;
	}
	if (letter == 'C') {
		free(*config);
		*config = argument;
		return true;
	}
	ok = letter == 'd' ? set_driver(argument, o, why) : set_number(argument, letter, o, why);
	free(argument);
	return ok;
}

static bool set_fold(enum key_fold fold, struct lookup_options *o, struct buf *why)
{
	if (o->fold != FOLD_NONE && o->fold != fold) {
		buf_adds(why, "options -l and -u exclude each other");
		return false;
	}
	o->fold = fold;
	return true;
}

/* One letter; *p stands behind it. */
static bool set_option(char letter, const char **p, struct lookup_options *o, char **config, struct buf *why)
{
	switch (letter) {
	case 'l':
		return set_fold(FOLD_LOWER, o, why);
	case 'u':
		return set_fold(FOLD_UPPER, o, why);
	case 'm':
		o->refresh = true;
		return true;
	case '%':
		o->substitute = true;
		return true;
	case 'b':
		o->key_for_value = true;
		return true;
	case 'n':
		o->key_if_absent = true;
		return true;
	case 'N':
		o->cache_absent = true;
		return true;
	case 'L':
		o->fold_tail = true;
		return true;
	case ':':
	case 'p':
		/* ZMailer takes them and does nothing: default keys come with the question */
		return true;
	case 'd':
	case 's':
	case 'e':
	case 'C':
		return with_argument(letter, p, o, config, why);
	}
	if (isgraph((unsigned char)letter))
		buf_addf(why, "unknown lookup option -%c", letter);
	else
		buf_adds(why, "a lookup option is missing after -");
	return false;
}

bool lookup_options_parse(const char *text, struct lookup_options *options, char **config, struct buf *why)
{
	const char *p = ascii_skip_blanks(text);
	bool ok = true;

	*options = (struct lookup_options){ 0 };
	*config = NULL;
	while (ok && *p != '\0') {
		if (*p != '-') {
			buf_addf(why, "\"%.*s\" is no lookup option; expected -", (int)strcspn(p, " \t"), p);
			ok = false;
			break;
		}
		p++;
		do {
			char letter = *p;

			if (letter != '\0')
				p++;
			ok = set_option(letter, &p, options, config, why);
		} while (ok && *p != '\0' && *p != ' ' && *p != '\t');
		p = ascii_skip_blanks(p);
	}
	if (!ok) {
		free(*config);
		*config = NULL;
	}
	return ok;
}
