/*
 * Which maps of an environment have journals: a program that removes its regions must recover all of them.
 *
 * A text file in the environment, one line "TYPE PATH" for each; it only grows.
 */
#ifndef ZL_DB_LIVE_ROSTER_H
#define ZL_DB_LIVE_ROSTER_H

#include <stdbool.h>
#include <stddef.h>

struct roster_entry {
	char *type;
	char *path;
};

/* Zeroed it is empty. */
struct roster {
	struct roster_entry *list;
	size_t count;
	size_t capacity;
};

/* Reads the roster of the environment at `home`; one that is not there is empty.  False with errno. */
bool roster_read(struct roster *roster, const char *home);
void roster_free(struct roster *roster);

/* Adds a map, if it is not there yet.  False with errno. */
bool roster_add(const char *home, const char *type, const char *path);

#endif
