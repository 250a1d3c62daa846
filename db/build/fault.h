/*
 * What is wrong with a text, and where.
 */
#ifndef ZL_DB_BUILD_FAULT_H
#define ZL_DB_BUILD_FAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

struct fault {
	const char *file;
	size_t line;           /* from 1; 0 if the whole file is meant */
	size_t column;         /* bytes from 1; 0 if the whole line is meant */
	bool is_warning;
	const char *text;      /* printable, one line */
};

/* Readers of texts report each fault as it comes, in the order of lines. */
typedef void fault_report(void *context, const struct fault *fault);

/* Adds "FILE:LINE:COLUMN: text", as far as it is known where. */
void fault_add(struct buf *out, const struct fault *fault);

/* A report that adds such a line to the log; context is not used. */
void fault_complain(void *context, const struct fault *fault);

#endif
