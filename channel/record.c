#include "channel/record.h"

#include "channel/spool/event.h"
#include "lib/buf.h"
#include "lib/clock.h"

void record_open(struct record *record)
{
	if (record->syslog)
		logline_open_syslog("lmtp");
}

static const char *outcome_name(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_DELIVERED: return "delivered";
	case OUTCOME_FAILED: return "failed";
	case OUTCOME_DEFERRED:
	case OUTCOME_ACCEPTED:
	case OUTCOME_NONE: break;
	}
	return "deferred";
}

/* The last decimal digit. */
static char digit(uint64_t number)
{
	return (char)('0' + number % 10);
}

/* "0.012/0.000/...", in JSON [0.012,0.000,...] */
static void add_delays(struct logline *line, const struct record_entry *e)
{
	int64_t now = clock_ms();
	const int64_t delays[] = {
		(e->begun_at ? e->begun_at : now) - e->received_at,
		e->connection ? e->connection->connect_ms : 0,
		e->connection ? e->connection->opening_ms : 0,
		e->begun_at ? (e->sent_at ? e->sent_at : now) - e->begun_at : 0,
		e->sent_at ? now - e->sent_at : 0,
	};

	logline_key(line, "delays");
	if (line->json)
		buf_addc(&line->text, '[');
	for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
		uint64_t t = delays[i] < 0 ? 0 : (uint64_t)delays[i];
		const char fraction[] = { '.', digit(t / 100), digit(t / 10), digit(t) };

		if (i > 0)
			buf_addc(&line->text, line->json ? ',' : '/');
		buf_addu(&line->text, t / 1000);
		buf_add(&line->text, fraction, sizeof fraction);
	}
	if (line->json)
		buf_addc(&line->text, ']');
}

static void compose(struct logline *line, const struct record_entry *e)
{
	const struct result *r = e->result;

	logline_number(line, "message", e->message);
	logline_add(line, "spool", e->spool ? e->spool : "-");
	logline_add(line, "recipient", e->recipient);
	event_add_sender(line, e->sender);
	if (e->orcpt != NULL)
		event_add_orcpt(line, e->orcpt);
	else
		logline_add(line, "orcpt", "-");
	logline_add(line, "outcome", outcome_name(r->outcome));
	logline_add(line, "stage", stage_name(r->stage));
	logline_number(line, "code", r->remote ? (uint64_t)r->code : 0);
	logline_add(line, "status", r->status);
	logline_add(line, "words", r->words);
	logline_add(line, "peer", e->connection ? e->connection->peer : "-");
	logline_add(line, "session", e->connection && e->connection->session[0] ? e->connection->session : "-");
	logline_add(line, "tls", e->connection && e->connection->tls[0] ? e->connection->tls : "-");
	add_delays(line, e);
	logline_bool(line, "maybe_duplicate", r->maybe_duplicate);
}

void record_add(struct record *record, const struct record_entry *entry)
{
	bool heard = record->syslog && logline_is_heard();

	if (!heard && record->transcript->fd < 0)
		return;
	logline_begin(&record->line, record->format == RECORD_JSON);
	compose(&record->line, entry);
	logline_end(&record->line);
	if (heard)
		logline_send(&record->line);
	transcript_add_record(record->transcript, &record->line.text);
}
