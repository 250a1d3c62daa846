/*
 * New destinations for recipients that wait, by the maps as they are now (zlmtp-queue reroute, and runqueue by itself).
 */
#ifndef ZL_CHANNEL_REROUTING_H
#define ZL_CHANNEL_REROUTING_H

#include <stdbool.h>
#include <stddef.h>

#include "channel/operator/selection.h"
#include "channel/queue/operate.h"
#include "channel/routing.h"

/* What the maps say of the recipients of a selection that go elsewhere now; by message, in the selection's order. */
struct rerouting {
	const struct selection *selection;
	bool unasked;                       /* no operator has asked for it, see below */
	bool leaves;                        /* mail of ours may go where a domain leads that the maps have lost */
	struct rerouted {
		size_t message;                 /* index in the selection */
		const char *channel, *host, *user;   /* where it went before */
		struct operation_recipient to;
	} *list;
	size_t count, capacity;
	size_t unclear;                     /* recipients that stay because no answer came; each was named */
	size_t unknown;                     /* ... because the maps do not know them any more, or their domain */
	/* of the asking: */
	struct question *questions;
	size_t question_count, question_capacity;
	struct company *companies;
	size_t company_count, company_capacity;
};

/*
 * Asks; the first three fields of *r are set.  The address is the one that the sender gave (ORCPT), or the recipient's own
 * without that.  Where an address led to several recipients, a recipient is found again by its user.  0, or after a line
 * about it a code of <sysexits.h> if the maps are refused.
 *
 * Unasked, nothing is said of recipients that stay, those without ORCPT stay, as it is unknown of which address they came,
 * and so do those that would leave this site by SMTP now: no mail goes to strangers because a domain was taken out of the maps.
 */
int rerouting_ask(struct rerouting *r, const struct routing *routing);

/* Index of the first entry of a message, or of the one behind it. */
size_t rerouting_first(const struct rerouting *r, size_t message);

void rerouting_free(struct rerouting *r);

#endif
