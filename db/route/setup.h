/*
 * A router from text: its maps from dbases.conf, its settings from lines NAME=VALUE (routing.md sections 1 and 6).
 *
 * Settings have the names that ZMailer has for them.  They come from, later ones win:
 *   zmailer.conf            ROUTEUSER_IN_ABNORMAL_UNIX (the file that ZCONFIG names)
 *   router.conf             beside dbases.conf, if it is there
 *   the command line        -o NAME=VALUE
 */
#ifndef ZL_DB_ROUTE_SETUP_H
#define ZL_DB_ROUTE_SETUP_H

#include <stdbool.h>
#include <stddef.h>

#include "db/route/dbases.h"
#include "db/route/route.h"

/*
 * Makes a router.  `options` are the -o arguments.  NULL with *status (<sysexits.h>) and `why` set.  `notes` gets
 * lines, each ended by LF, on what dbases.conf asks for and this router does not do.
 */
struct router *router_open(const struct dbases *dbases, char *const *options, size_t count, int *status,
                           struct buf *why, struct buf *notes);

/* The same in parts: where router.conf is (allocated), its text, "" if it is not there, and the router of a text that was read. */
char *router_settings_path(const char *dbases);
int router_read_settings(const char *path, struct buf *text, struct buf *why);
struct router *router_make(const struct dbases *dbases, const char *path, const struct buf *settings, char *const *options,
                           size_t count, int *status, struct buf *why, struct buf *notes);

#endif
