/*
 * What recovery must know of maps in environments.
 */
#ifndef ZL_ENVIRONMENT_H
#define ZL_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "db/live/change.h"
#include "db/live/journal.h"

/* The note in the map that says which batches of which journal it holds: "ID NUMBER". */
extern const char environment_note[];
#define ENVIRONMENT_NOTE_LENGTH 12

bool environment_is_note(const struct change *record);

/* Reads the value of that note; false if it is damaged. */
bool environment_parse_note(const char *value, char id[JOURNAL_ID + 1], uint64_t *number);

#endif
