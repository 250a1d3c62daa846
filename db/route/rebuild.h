/*
 * All maps and scripts of a dbases.conf: what "zmailer newdb" does.
 */
#ifndef ZL_DB_ROUTE_REBUILD_H
#define ZL_DB_ROUTE_REBUILD_H

#include <stdbool.h>

#include "db/build/compile.h"
#include "db/route/dbases.h"

struct rebuild {
	const struct dbases *dbases;
	char *const *relations;        /* their names; NULL-terminated; the first NULL: all, but only those that have changed */
	bool has_router;               /* scripts that were written are news */
	bool unchecked;                /* values are not looked at */
	enum source_duplicates duplicates;     /* for maps whose line does not say -A */
	fault_report *report;
	void *report_context;
	void (*progress)(void *context, const char *step, size_t done, size_t total);
	void *progress_context;
	/* One line about a map or script: `status` EX_OK for news, else the error. */
	void (*tell)(void *context, int status, const char *text);
	void *tell_context;
};

/*
 * Builds maps, then writes scripts.  A failure of one does not stop the others; 0, or the first exit
 * code that was not.
 */
int rebuild_all(const struct rebuild *rebuild);

#endif
