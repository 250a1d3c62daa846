#include "channel/tally.h"

#include <string.h>

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/metrics.h"

#define PAUSE 2000
/* At the end of the process, when the scheduler does not wait for us any more. */
#define LAST_PATIENCE 2000

enum {
	RECIPIENTS, UNDELIVERED, DUPLICATES, TIMEOUTS, CONNECTIONS, TRANSACTIONS, SENT, RECEIVED, HANDSHAKES, SECONDS,
};

static const struct metric table[] = {
	[RECIPIENTS] = { "zlmtp_recipients_total", METRIC_COUNTER,
	                 "Recipients that were reported to the scheduler, by outcome." },
	[UNDELIVERED] = { "zlmtp_undelivered_total", METRIC_COUNTER,
	                  "Recipients that were deferred or failed, by the stage of the dialogue that decided." },
	[DUPLICATES] = { "zlmtp_possible_duplicates_total", METRIC_COUNTER,
	                 "Recipients deferred although the server may have taken the message." },
	[TIMEOUTS] = { "zlmtp_timeouts_total", METRIC_COUNTER, "Connections given up, by what was waited for in vain." },
	[CONNECTIONS] = { "zlmtp_connections_total", METRIC_COUNTER,
	                  "Connections that could be used, and attempts that failed." },
	[TRANSACTIONS] = { "zlmtp_transactions_total", METRIC_COUNTER,
	                   "Transactions begun, on a new connection or a used one." },
	[SENT] = { "zlmtp_sent_bytes_total", METRIC_COUNTER, "Bytes written to servers, without the overhead of TLS." },
	[RECEIVED] = { "zlmtp_received_bytes_total", METRIC_COUNTER, "Bytes read from servers, without the overhead of TLS." },
	[HANDSHAKES] = { "zlmtp_tls_handshakes_total", METRIC_COUNTER, "TLS handshakes by their result." },
	[SECONDS] = { "zlmtp_step_seconds", METRIC_HISTOGRAM,
	              "Seconds for connecting, for greeting to ready, for envelope and content, for each final reply." },
};

void tally_outcome(struct tally *tally, const struct result *result)
{
	tally->changed = true;
	tally->outcomes[result->outcome]++;
	if (result->outcome != OUTCOME_DELIVERED)
		tally->stages[result->outcome][result->stage]++;
	tally->duplicates += result->maybe_duplicate;
}

void tally_step(struct tally *tally, enum tally_step step, int64_t ms)
{
	static const int64_t limits[TALLY_BUCKETS] = TALLY_LIMITS;
	struct tally_spread *s = &tally->steps[step];
	size_t i = 0;

	tally->changed = true;
	while (i < TALLY_BUCKETS && ms > limits[i])
		i++;
	s->counts[i]++;
	s->sum += ms > 0 ? (uint64_t)ms : 0;
}

int64_t tally_deadline(const struct tally *tally)
{
	return tally->path != NULL && tally->changed ? tally->next : CLOCK_NEVER;
}

/* ---- to the file ---- */

/* A counter with a second label behind the channel's, NULL without one. */
static void add(struct tally *t, size_t metric, const char *channel, const char *name, const char *value,
                uint64_t count)
{
	struct buf labels = { 0 };

	metrics_label(&labels, "channel", channel);
	if (name != NULL)
		metrics_label(&labels, name, value);
	metrics_add(t->metrics, &table[metric], labels.data, count * 1000);
	buf_free(&labels);
}

static void add_outcomes(struct tally *t, const char *channel)
{
	static const enum outcome classes[] = { OUTCOME_DELIVERED, OUTCOME_DEFERRED, OUTCOME_FAILED };

	for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
		add(t, RECIPIENTS, channel, "outcome", outcome_name(classes[i]), t->outcomes[classes[i]]);
	for (size_t i = 1; i < sizeof classes / sizeof classes[0]; i++) {
		for (enum stage stage = STAGE_LOCAL; stage <= STAGE_FINAL; stage++) {
			uint64_t count = t->stages[classes[i]][stage];
			struct buf labels = { 0 };

			metrics_label(&labels, "channel", channel);
			metrics_label(&labels, "outcome", outcome_name(classes[i]));
			metrics_label(&labels, "stage", stage_name(stage));
			if (count > 0)
				metrics_add(t->metrics, &table[UNDELIVERED], labels.data, count * 1000);
			buf_free(&labels);
		}
	}
	add(t, DUPLICATES, channel, NULL, NULL, t->duplicates);
}

static const char *wait_name(size_t wait)
{
	switch (wait) {
	case WAIT_TLS: return "handshake";
	case WAIT_WRITE: return "write";
	case WAIT_WHOLE: return "whole";
	/* replies that settle nothing */
	case STAGE_LOCAL: return "RSET";
	default: return stage_name((enum stage)wait);
	}
}

static void add_steps(struct tally *t, const char *channel)
{
	static const char *const names[STEP_COUNT] = { "connect", "opening", "sending", "answer" };
	static const uint64_t limits[TALLY_BUCKETS] = TALLY_LIMITS;

	for (size_t i = 0; i < STEP_COUNT; i++) {
		struct buf labels = { 0 };

		metrics_label(&labels, "channel", channel);
		metrics_label(&labels, "step", names[i]);
		metrics_spread(t->metrics, &table[SECONDS], labels.data, limits, t->steps[i].counts, TALLY_BUCKETS,
		               t->steps[i].sum);
		buf_free(&labels);
	}
}

void tally_write(struct tally *t, const char *channel, bool last)
{
	struct buf why = { 0 };
	enum metrics_result result;

	if (t->path == NULL || (!last && tally_deadline(t) > clock_ms()))
		return;
	if (t->metrics == NULL)
		t->metrics = metrics_create(t->path);
	add_outcomes(t, channel);
	for (size_t i = 0; i < WAIT_COUNT; i++)
		if (i != STAGE_CONTENT)
			add(t, TIMEOUTS, channel, "step", wait_name(i), t->timeouts[i]);
	add(t, CONNECTIONS, channel, "result", "ready", t->ready);
	add(t, CONNECTIONS, channel, "result", "failed", t->refused);
	add(t, TRANSACTIONS, channel, "connection", "new", t->connections_new);
	add(t, TRANSACTIONS, channel, "connection", "reused", t->connections_reused);
	add(t, SENT, channel, NULL, NULL, t->sent);
	add(t, RECEIVED, channel, NULL, NULL, t->received);
	add(t, HANDSHAKES, channel, "result", "full", t->tls_full);
	add(t, HANDSHAKES, channel, "result", "resumed", t->tls_resumed);
	add(t, HANDSHAKES, channel, "result", "failed", t->tls_failed);
	add_steps(t, channel);
	/* what was handed over to the metrics is not counted twice */
	*t = (struct tally){ .path = t->path, .metrics = t->metrics, .complained = t->complained };
	t->next = clock_ms() + PAUSE;
	result = metrics_write(t->metrics, last ? LAST_PATIENCE : 0, &why);
	/* another process is writing: soon again */
	t->changed = result == METRICS_BUSY;
	if (result == METRICS_REFUSED && !t->complained) {
		complain("metrics: %s", buf_str(&why));
		t->complained = true;
	}
	buf_free(&why);
}

void tally_free(struct tally *t)
{
	metrics_destroy(&t->metrics);
}
