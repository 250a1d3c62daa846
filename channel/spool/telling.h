/*
 * Which results of a recipient its sender gets a report of, and which reports were sent already (RFC 3461 section 4.1,
 * spool.md section 9).
 *
 * What was told stands in the control file, where ZMailer's scheduler looks for it: the d line of a result that was told
 * has the tag '+'; a delay that was told is a d line of its own with the tag '+', the action "delayed" and as its text
 * the age in seconds.
 */
#ifndef ZL_CHANNEL_SPOOL_TELLING_H
#define ZL_CHANNEL_SPOOL_TELLING_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/spool/control.h"

enum telling {
	TELL_NOTHING,
	TELL_FAILURE,         /* failed, and NOTIFY has FAILURE or is absent */
	TELL_SUCCESS,         /* delivered, with a d line of it, and NOTIFY has SUCCESS */
};

/* What the sender is still to be told of a recipient; `last` is its entry of control_last_diagnostics(). */
enum telling telling_due(const struct control *control, const struct control_recipient *r, const struct control_diagnostic *last);

/* Is there a recipient in it to report? */
bool telling_any(const struct control *control);

/*
 * Has a server said that it does not know the recipient (5.1.1), of which the sender was not told?  Then the maps may know
 * by now where it has moved to.  `last` as above.
 */
bool telling_may_have_moved(const struct control_recipient *r, const struct control_diagnostic *last);

/* The same of any recipient in it. */
bool telling_any_may_have_moved(const struct control *control);

/*
 * True if the recipient failed and the sender did not forbid to tell (NOTIFY=NEVER, or NOTIFY without FAILURE).  Of mail without a
 * sender, as reports are, the administrator is told, whatever it says.
 */
bool telling_wants_failure(const struct control *control, const struct control_recipient *r);

/* The same of any recipient in it. */
bool telling_any_failure(const struct control *control);

/* At what age of the message, in seconds, this line says that a delay was told; 0 if it says no such thing. */
int64_t telling_delay_told(const struct control_diagnostic *d);

#endif
