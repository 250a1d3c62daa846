/*
 * Recipients whose place has changed in the maps: what the server said to them is not the last word.
 */
#ifndef ZL_CHANNEL_NOTICE_MOVED_H
#define ZL_CHANNEL_NOTICE_MOVED_H

#include <stdbool.h>

#include "channel/spool/control.h"
#include "lib/buf.h"

struct router;

enum moved_answer {
	MOVED_NOBODY,
	MOVED_SOMEBODY,           /* `line` is the reroute to be done (control_line.h), without its LF */
	MOVED_UNCLEAR,            /* the maps could not tell of a recipient, and no other has moved */
};

/*
 * Asks the maps about those in the message that wait, or, with `refused`, about those whom a server did not know
 * (report_due_may_have_moved()).  `last` is control_last_diagnostics().
 */
enum moved_answer moved_ask(struct router *router, const struct control *control,
                            const struct control_diagnostic *const *last, bool refused, struct buf *line);

#endif
