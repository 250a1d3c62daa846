/*
 * Lists one inside the other: which of them lead back to themselves, or deeper than a router goes (routing.md 5.2).
 */
#ifndef ZL_DB_ROUTE_NESTING_H
#define ZL_DB_ROUTE_NESTING_H

#include "db/route/dbases.h"

/*
 * Routes every key of the alias maps that are built from text, by those maps and local texts alone, and reports a warning
 * for each whose mail would wait because of how lists are nested; a catch-all key stands for one of its users.  The limit
 * is max_depth of router.conf beside `dbases`, with `has_router` never more than ROUTE_DEPTH.  Maps that cannot be read
 * are left to the program that builds them.
 */
void nesting_warn(const struct dbases *dbases, bool has_router, fault_report *report, void *context);

/* True if the values of this relation are address lists that lead on to other addresses. */
bool nesting_is_list(const char *relation);

#endif
