#include "channel/server/figures.h"

#include "lib/buf.h"
#include "lib/log.h"
#include "lib/metrics.h"

static const struct metric connections = { "zlmtp_intake_connections_total", METRIC_COUNTER, "Connections of clients." };
static const struct metric messages = { "zlmtp_intake_messages_total", METRIC_COUNTER, "Messages that were queued." };
static const struct metric bytes = { "zlmtp_intake_bytes_total", METRIC_COUNTER, "Bytes of messages that came." };
static const struct metric replies = { "zlmtp_intake_recipients_total", METRIC_COUNTER,
                                       "Replies to RCPT, by their first digit." };
static const struct metric refused = { "zlmtp_intake_refused_total", METRIC_COUNTER, "What was refused, by reason." };
static const struct metric batches = { "zlmtp_intake_batches_total", METRIC_COUNTER,
                                       "Times that the disk was synced for a batch of messages." };
static const struct metric batched = { "zlmtp_intake_batch_messages_total", METRIC_COUNTER, "Messages in these batches." };
static const struct metric seconds = { "zlmtp_intake_commit_seconds_total", METRIC_COUNTER,
                                       "Seconds that the disk took for them." };

static const char *const reasons[REFUSALS] = {
	[REFUSED_CONNECTIONS] = "connections", [REFUSED_CLIENT] = "client", [REFUSED_TIME] = "time", [REFUSED_RELAY] = "relay",
	[REFUSED_ROOM] = "room", [REFUSED_MEMORY] = "memory", [REFUSED_CONTENT] = "content", [REFUSED_LOOP] = "loop",
	[REFUSED_DISK] = "disk",
};

static void add_labelled(struct metrics *m, const struct metric *metric, const char *name, const char *value, uint64_t count)
{
	struct buf labels = { 0 };

	metrics_label(&labels, name, value);
	metrics_add(m, metric, buf_str(&labels), count * 1000);
	buf_free(&labels);
}

void figures_write(struct intake *in, int64_t patience)
{
	const struct intake_figures *f = &in->figures;
	struct committer_figures c = committer_figures(in->committer);
	struct metrics *m = in->metrics;
	struct buf why = { 0 };

	metrics_add(m, &connections, "", f->connections * 1000);
	metrics_add(m, &messages, "", f->messages * 1000);
	metrics_add(m, &bytes, "", f->bytes * 1000);
	add_labelled(m, &replies, "class", "2", f->replies[2]);
	add_labelled(m, &replies, "class", "4", f->replies[4]);
	add_labelled(m, &replies, "class", "5", f->replies[5]);
	for (size_t i = 0; i < REFUSALS; i++)
		add_labelled(m, &refused, "reason", reasons[i], f->refused[i]);
	metrics_add(m, &batches, "", (c.batches - in->written.batches) * 1000);
	metrics_add(m, &batched, "", (c.messages - in->written.messages) * 1000);
	metrics_add(m, &seconds, "", c.ms - in->written.ms);
	in->written = c;
	in->figures = (struct intake_figures){ 0 };
	if (metrics_write(m, patience, &why) == METRICS_REFUSED)
		complain("metrics: %s", buf_str(&why));
	buf_free(&why);
}
