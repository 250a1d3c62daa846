/*
 * Log lines of key=value pairs in a fixed order, or the same as a JSON object: what programs of this project say about mail,
 * for administrators who search and for programs that count.
 */
#ifndef ZL_LIB_LOGLINE_H
#define ZL_LIB_LOGLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* A value longer than this is cut, so that a line fits into what syslog daemons take. */
#define LOGLINE_VALUE_MAX 1000

struct logline {
	struct buf text;
	bool json;
};

/* Takes "log=keys" or "log=json", as options of programs have it; false for anything else. */
bool logline_form(const char *assignment, bool *json);

/* Begins a line, with the memory of the last one.  A zeroed struct is a fit beginning. */
void logline_begin(struct logline *line, bool json);

/* A string: bare if it is a plain word, else cleaned, in double quotes, with \ before " and \. */
void logline_add(struct logline *line, const char *key, const char *value);
void logline_number(struct logline *line, const char *key, uint64_t number);

/* The same where 0 says that it is not known: null then, which JSON alone has. */
void logline_known(struct logline *line, const char *key, int64_t number);
/* yes or no; true or false. */
void logline_bool(struct logline *line, const char *key, bool value);
/* Only the key, for values that are made by hand behind it. */
void logline_key(struct logline *line, const char *key);

/* Completes it: line->text is ready. */
void logline_end(struct logline *line);
void logline_free(struct logline *line);

/* Opens syslog (facility mail) under the program's name. */
void logline_open_syslog(const char *program);

/* Is there a log daemon?  Where none runs, syslog(3) makes a socket for each line to find that out: asked once a second. */
bool logline_is_heard(void);

/* The line goes to syslog, if a syslog daemon runs. */
void logline_send(const struct logline *line);

#endif
