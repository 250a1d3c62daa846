/*
 * What killed programs have left in a post office: temporaries of lib/publish.h, which are no mail (INTERNALS section 1).
 */
#ifndef ZL_CHANNEL_QUEUE_LITTER_H
#define ZL_CHANNEL_QUEUE_LITTER_H

#include <stddef.h>
#include <stdint.h>

/* So old, in seconds, must a temporary be: no program of ours writes one for so long. */
#define LITTER_AGE 86400

/*
 * Removes those that have not been written to for LITTER_AGE, and whose makers do not live, from public/, postman/, queue/ and
 * transport/ with their hash directories, and the post office itself.  The working directory is transport/; `now` in seconds
 * since 1970.  Returns how many were removed.
 */
size_t litter_remove(int64_t now);

#endif
