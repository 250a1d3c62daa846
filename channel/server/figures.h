/*
 * What intake has counted, for monitoring (intake(8), -M).
 */
#ifndef ZL_CHANNEL_SERVER_FIGURES_H
#define ZL_CHANNEL_SERVER_FIGURES_H

#include <stdint.h>

#include "channel/server/intake.h"

/* Adds it to the file of in->metrics; waits `patience` milliseconds at most for other writers. */
void figures_write(struct intake *in, int64_t patience);

#endif
