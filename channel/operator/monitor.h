/*
 * zlmtp-queue watch: the queue, once a second, until the operator has seen enough.  What runqueue is doing it tells itself
 * (status.h); where none runs, or will not answer us, the files of the queue are read.
 */
#ifndef ZL_CHANNEL_OPERATOR_MONITOR_H
#define ZL_CHANNEL_OPERATOR_MONITOR_H

#include <stdbool.h>

/*
 * Draws on a terminal, prints a text a second elsewhere, or with `json` an object on a line of its own.  The working
 * directory is transport/ of the post office.  Returns an exit status at "q" or when its reader has gone.
 */
int monitor_run(const char *postoffice, bool json);

#endif
