#include "channel/spool/report_due.h"

#include <stdlib.h>
#include <string.h>

#include "lib/parse.h"

bool report_due_failure(const struct control *c, const struct control_recipient *r)
{
	return r->tag == TAG_FAILED && (!r->notify_given || (r->notify & NOTIFY_FAILURE) || r->sender == CONTROL_NONE ||
	                                control_return_path(&c->senders[r->sender])[0] == '\0');
}

bool report_due_any_failure(const struct control *c)
{
	for (size_t i = 0; i < c->recipient_count; i++)
		if (report_due_failure(c, &c->recipients[i]))
			return true;
	return false;
}

enum report_due report_due(const struct control *c, const struct control_recipient *r, const struct control_diagnostic *last)
{
	if (last != NULL && last->reported)
		return REPORT_DUE_NONE;
	if (report_due_failure(c, r))
		return REPORT_DUE_FAILURE;
	/* without a d line its server tells */
	if (r->tag == TAG_DONE && r->notify_given && (r->notify & NOTIFY_SUCCESS) && last != NULL)
		return REPORT_DUE_SUCCESS;
	return REPORT_DUE_NONE;
}

bool report_due_any(const struct control *c)
{
	const struct control_diagnostic **last = control_last_diagnostics(c);
	bool any = false;

	for (size_t i = 0; i < c->recipient_count && !any; i++)
		any = report_due(c, &c->recipients[i], last[i]) != REPORT_DUE_NONE;
	free(last);
	return any;
}

bool report_due_may_have_moved(const struct control_recipient *r, const struct control_diagnostic *last)
{
	const char *action, *status;

	if (r->tag != TAG_FAILED || r->given == NULL || last == NULL || last->reported)
		return false;
	action = strchr(last->notary, '\001');
	status = action != NULL ? strchr(action + 1, '\001') : NULL;
	/* "x-local;" is what this system says itself, as when an operator fails it */
	return status != NULL && strncmp(status, "\0015.1.1\001smtp;", 12) == 0;
}

bool report_due_any_may_have_moved(const struct control *c)
{
	const struct control_diagnostic **last = control_last_diagnostics(c);
	bool any = false;

	for (size_t i = 0; i < c->recipient_count && !any; i++)
		any = report_due_may_have_moved(&c->recipients[i], last[i]);
	free(last);
	return any;
}

int64_t report_due_delay_reported(const struct control_diagnostic *d)
{
	uint64_t age;

	return d->reported && diagnostic_is_delay(d) && parse_number(d->text, INT32_MAX, &age) ? (int64_t)age : 0;
}
