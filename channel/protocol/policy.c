#include "channel/protocol/policy.h"

#include <string.h>

#include "lib/text.h"

static const struct {
	const char *name;
	int positive;             /* class of the replies that mean "go on" here: 2 or 3; 0 = both never */
	enum outcome refused_5xx; /* what a 5xx here means */
} stages[] = {
	/*
	 * Before MAIL a refusal says nothing about any recipient: configuration trouble on either
	 * side, which must not bounce mail.
	 */
	[STAGE_LOCAL] = { "local", 0, OUTCOME_DEFERRED },
	[STAGE_CONNECT] = { "connect", 0, OUTCOME_DEFERRED },
	[STAGE_GREETING] = { "greeting", 2, OUTCOME_DEFERRED },
	[STAGE_LHLO] = { "LHLO", 2, OUTCOME_DEFERRED },
	[STAGE_EHLO] = { "EHLO", 2, OUTCOME_DEFERRED },
	[STAGE_HELO] = { "HELO", 2, OUTCOME_DEFERRED },
	[STAGE_STARTTLS] = { "STARTTLS", 2, OUTCOME_DEFERRED },
	[STAGE_AUTH] = { "AUTH", 2, OUTCOME_DEFERRED },
	[STAGE_MAIL] = { "MAIL", 2, OUTCOME_FAILED },
	[STAGE_RCPT] = { "RCPT", 2, OUTCOME_FAILED },
	[STAGE_DATA] = { "DATA", 3, OUTCOME_FAILED },
	[STAGE_CONTENT] = { "content", 0, OUTCOME_DEFERRED },
	[STAGE_FINAL] = { "final", 2, OUTCOME_FAILED },
};

const char *stage_name(enum stage stage)
{
	return stages[stage].name;
}

const char *outcome_name(enum outcome outcome)
{
	return outcome == OUTCOME_DELIVERED ? "delivered" : outcome == OUTCOME_FAILED ? "failed" : "deferred";
}

/*
 * Codes that name our own mistake or missing authentication: the recipient is not
 * to blame.  503 bad sequence, 530 authentication required (Cyrus says 430), 538 and 534
 * encryption and mechanism needed.
 */
static bool is_our_fault(int code)
{
	return code == 503 || code == 530 || code == 534 || code == 538;
}

enum outcome policy_outcome(enum stage stage, const struct reply *reply, const struct reply_rules *rules)
{
	if (reply->code < 400)
		return stage == STAGE_FINAL && reply->code < 300 ? OUTCOME_DELIVERED : OUTCOME_NONE;
	for (size_t i = 0; rules != NULL && i < rules->count; i++) {
		const struct reply_rule *r = &rules->rules[i];

		if (r->code == reply->code && (r->status[0] == '\0' || strcmp(r->status, reply->status) == 0))
			return r->outcome;
	}
	if (reply->code < 500 || is_our_fault(reply->code))
		return OUTCOME_DEFERRED;
	return stages[stage].refused_5xx;
}

bool policy_fits(enum stage stage, int code)
{
	if (code >= 400)
		return true;
	if (code < 300)
		return stages[stage].positive == 2;
	return stages[stage].positive == 3 && code == 354;
}

const char *policy_status(enum stage stage, const struct reply *reply, enum outcome outcome)
{
	if (reply->status[0] != '\0')
		return reply->status;
	if (stage != STAGE_RCPT && (reply->code == 550 || reply->code == 551 || reply->code == 553))
		return "5.0.0";
	switch (reply->code) {
	case 500: case 502: return "5.5.1";
	case 501: return "5.5.2";
	case 503: return "5.5.1";
	case 504: case 555: return "5.5.4";
	case 550: return "5.1.1";
	case 551: return "5.1.6";
	case 552: return "5.2.3";
	case 553: return "5.1.3";
	case 554: return "5.0.0";
	case 571: return "5.7.1";
	default: break;
	}
	if (outcome == OUTCOME_DELIVERED || outcome == OUTCOME_ACCEPTED)
		return "2.0.0";
	return reply->code >= 500 ? "5.0.0" : "4.0.0";
}

/* What stands behind the class in an enhanced code that denies the recipient (RFC 3463, RFC 7505). */
static const char *const denials[] = {
	".1.1",     /* no such mailbox */
	".1.2",     /* no such system */
	".1.3",     /* no address */
	".1.4",     /* ambiguous */
	".1.6",     /* moved to an unknown place */
	".1.10",    /* the domain takes no mail */
	".2.1",     /* mailbox disabled */
	NULL
};

static bool denies(int code, const char *status)
{
	const char *detail = status + strcspn(status, ".");

	if (strcmp(detail, ".0.0") == 0)
		return code == 550 || code == 551 || code == 553;
	return text_is_among(detail, denials);
}

enum answer policy_answer(const struct result *r)
{
	if (r->outcome == OUTCOME_ACCEPTED)
		return ANSWER_YES;
	/* STAGE_LOCAL: an address that can be written in no command has no recipient */
	if (r->outcome != OUTCOME_FAILED || (r->stage != STAGE_RCPT && r->stage != STAGE_LOCAL))
		return ANSWER_UNCLEAR;
	return denies(r->code, r->status) ? ANSWER_NO : ANSWER_UNCLEAR;
}

bool policy_wants_authentication(int code)
{
	return code == 430 || code == 530 || code == 534 || code == 538;
}

bool policy_too_many(const struct reply *reply)
{
	if (reply->code != 452 && reply->code != 552)
		return false;
	return reply->status[0] == '\0' || strcmp(reply->status, "4.5.3") == 0 || strcmp(reply->status, "5.5.3") == 0;
}
