/*
 * The third field of dbases.conf: "uid:gid[:mode]", the owner and mode of a map (maps.md section 3.5).
 */
#ifndef ZL_DB_ROUTE_PRIVILEGE_H
#define ZL_DB_ROUTE_PRIVILEGE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Reads it; names are looked up, the mode is octal and 0644 if absent.  False with *why, a constant text.  Modes
 * outside of 0664 are refused: ZMailer's router would answer "not found" to every key.
 */
bool privilege_parse(const char *text, uid_t *uid, gid_t *gid, mode_t *mode, const char **why);

#endif
