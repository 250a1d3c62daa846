/*
 * Which results of a recipient its sender gets a report of, and which reports were sent already (RFC 3461 section 4.1,
 * spool.md section 9).
 *
 * What was reported stands in the control file, where ZMailer's scheduler looks for it: the d line of a result that was
 * reported has the tag '+'; a delay that was reported is a d line of its own with the tag '+', the action "delayed" and as its
 * text the age in seconds.
 */
#ifndef ZL_CHANNEL_SPOOL_REPORT_DUE_H
#define ZL_CHANNEL_SPOOL_REPORT_DUE_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/spool/control.h"

enum report_due {
	REPORT_DUE_NONE,
	REPORT_DUE_FAILURE,       /* failed, and NOTIFY has FAILURE or is absent */
	REPORT_DUE_SUCCESS,       /* delivered, with a d line of it, and NOTIFY has SUCCESS */
};

/* Which report of a recipient its sender is still to get; `last` is its entry of control_last_diagnostics(). */
enum report_due report_due(const struct control *control, const struct control_recipient *r,
                           const struct control_diagnostic *last);

/* Of any recipient in it? */
bool report_due_any(const struct control *control);

/*
 * Has a server said that it does not know the recipient (5.1.1), of which the sender got no report?  Then the maps may know
 * by now where it has moved to.  `last` as above.
 */
bool report_due_may_have_moved(const struct control_recipient *r, const struct control_diagnostic *last);

/* The same of any recipient in it. */
bool report_due_any_may_have_moved(const struct control *control);

/*
 * True if the recipient failed and the sender did not forbid a report (NOTIFY=NEVER, or NOTIFY without FAILURE).  Of mail
 * without a sender, as reports are, the administrator gets one, whatever it says.
 */
bool report_due_failure(const struct control *control, const struct control_recipient *r);

/* The same of any recipient in it. */
bool report_due_any_failure(const struct control *control);

/* At what age of the message, in seconds, this line says that a delay was reported; 0 if it says no such thing. */
int64_t report_due_delay_reported(const struct control_diagnostic *d);

#endif
