/*
 * Files of "keyword value" lines, as ZMailer's LDAP maps and Postfix's ldap_table(5) use them (maps.md section 11.1).
 *
 *   line   = *WSP ( empty / "#" anything / keyword [WSP] [ "=" ] [WSP] value )
 *
 * An indented line goes on with the value above it, after one blank, if that value ends in a comma or if the line does
 * not begin like a setting (with a word and a blank or "="), or always if `is_indented` says so.  Blanks at the end of a value
 * do not count.  "include FILE" reads FILE in its place; what an included file says may be said otherwise outside of it.
 */
#ifndef ZL_LIB_SETTINGS_H
#define ZL_LIB_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

struct setting {
	const char *name;     /* of the setting, whichever of its keywords was used */
	char *keyword;        /* as it was written, in lower case */
	char *value;          /* "" if there is none */
	const char *file;     /* for messages; lives as long as the settings */
	size_t line;
};

struct settings {
	struct setting *list;     /* in the order of the file */
	size_t count;
	size_t capacity;
	char **files;
	size_t file_count;
	size_t file_capacity;
	bool is_indented;         /* set before reading: every indented line goes on with the value above, as in Postfix's files */
};

/* The name of the setting that keyword `word` (lower case) stands for, NULL if it is none. */
typedef const char *settings_name(const char *word);

/*
 * Reads `path` and what it includes, behind what `settings` holds already.  Returns 0, or EX_NOINPUT (unreadable) or
 * EX_CONFIG with `why` naming file and line.  Free by settings_free() in either case.
 */
int settings_read(struct settings *settings, const char *path, settings_name *name_of, struct buf *why);

/* The same from `n` bytes of text; `path` is only named. */
int settings_parse(struct settings *settings, const char *path, const char *text, size_t n,
                   settings_name *name_of, struct buf *why);

/* 0, or EX_CONFIG with `why` if one file gives the same setting twice among numbers `from` to `to` - 1. */
int settings_repeated(const struct settings *settings, size_t from, size_t to, struct buf *why);

void settings_free(struct settings *settings);

/* Adds "FILE:LINE: KEYWORD: text" to `why`; returns EX_CONFIG. */
int setting_error(const struct setting *setting, struct buf *why, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same about the file as a whole: "FILE: text". */
int settings_error(const char *file, struct buf *why, const char *text);

/*
 * Values of the usual kinds; each returns 0, or EX_CONFIG by setting_error() for anything else.
 * Yes and no: the words yes, no, true, false, on, off, 1, 0.  Intervals as in parse_interval(), at most `max` seconds.
 */
int setting_bool(const struct setting *setting, bool *value, struct buf *why);
int setting_number(const struct setting *setting, unsigned long max, unsigned long *value, struct buf *why);
int setting_seconds(const struct setting *setting, long max, long *value, struct buf *why);

/* One of `words` (NULL at the end), without case; *value is its index. */
int setting_choice(const struct setting *setting, const char *const *words, int *value, struct buf *why);

/* Takes the place of *value, which is freed; empty values are refused. */
int setting_text(const struct setting *setting, char **value, struct buf *why);

/* The same, and it must be an absolute path. */
int setting_path(const struct setting *setting, char **value, struct buf *why);

/* A list separated by commas or blanks, NULL at the end, in place of *list (see words_free); empty ones are refused. */
int setting_words(const struct setting *setting, char ***list, struct buf *why);

/* Such a list of names of domains. */
int setting_domains(const struct setting *setting, char ***list, struct buf *why);

/* Adds a copy of `word` to such a list, unless it is there already but for case. */
void words_add(char ***list, const char *word);

/* Copies and frees such a list; NULL is an empty one. */
char **words_copy(char *const *list);
void words_free(char **list);

#endif
