/*
 * dbases.conf, and what it stands on (router.conf beside it, and ZENV), for a program that stays: read at its start, and again
 * when one of them has changed.
 *
 * What was good last stays in force, whole, until all of the new is good: a file that is faulty, that is gone, or names a map
 * that is not there yet changes nothing, and is tried again.  A file is no news while it may still be written:
 *
 *   one that only has further lines      when it was left alone for a second
 *   one that lacks a line                after a minute: a writer may have stopped in the midst of it
 *   one that ends within a line          never
 *
 * so whoever is known by the old file and the new one is known at any moment between.
 */
#ifndef ZL_DB_ROUTE_ROUTECONF_H
#define ZL_DB_ROUTE_ROUTECONF_H

#include <stdbool.h>
#include <stddef.h>

#include "db/route/dbases.h"
#include "db/route/route.h"
#include "lib/clock.h"

struct route_config;

/* What is read: `dbases`, and `count` settings of the command line (setup.h), which must live as long. */
struct route_config *route_config_create(const char *dbases, char *const *settings, size_t count);
void route_config_free(struct route_config **config);

/* Reads them for the first time.  0 with *router, which sees changes of its maps at the next question, or after a line for each fault a code of <sysexits.h>. */
int route_config_open(struct route_config *config, struct moment now, struct router **router);

/*
 * True if there is something new, with a router of it in *router; the caller frees the one that it had, and what it knows by
 * that.  A line of the log says so, and one says what keeps a change from being used.  To be called whenever there is a
 * question, at no cost: it looks at the files a few times a second at most.
 */
bool route_config_renew(struct route_config *config, struct moment now, struct router **router);

/*
 * Another router of what is in force, whatever the files say now: for a child process, which cannot use its parent's.  NULL after a
 * line about it.
 */
struct router *route_config_router(const struct route_config *config, int *status);

/* What is in force; until the next renewal. */
const struct dbases *route_config_dbases(const struct route_config *config);

/* The text of router.conf that is in force, "" without one, and where that stands. */
const char *route_config_settings(const struct route_config *config);
const char *route_config_settings_path(const struct route_config *config);

#endif
