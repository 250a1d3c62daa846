#include "channel/record.h"

#include "channel/spool/event.h"
#include "lib/buf.h"
#include "lib/clock.h"

void record_open(struct record *record)
{
	if (record->syslog)
		logline_open_syslog("lmtp");
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

void record_add(struct record *record, const struct record_entry *entry)
{
	bool heard = record->syslog && logline_is_heard();
	const struct result *r;

	if (!heard && record->transcript->fd < 0)
		return;
	logline_begin(&record->line, record->format == RECORD_JSON);
	r = entry->result;
	logline_number(&record->line, "message", entry->message);
	logline_add(&record->line, "spool", entry->spool ? entry->spool : "-");
	logline_add(&record->line, "recipient", entry->recipient);
	event_add_sender(&record->line, entry->sender);
	if (entry->orcpt != NULL)
		event_add_orcpt(&record->line, entry->orcpt);
	else
		logline_add(&record->line, "orcpt", "-");
	logline_add(&record->line, "outcome", outcome_name(r->outcome));
	logline_add(&record->line, "stage", stage_name(r->stage));
	logline_number(&record->line, "code", r->remote ? (uint64_t)r->code : 0);
	logline_add(&record->line, "status", r->status);
	logline_add(&record->line, "words", r->words);
	logline_add(&record->line, "peer", entry->connection ? entry->connection->peer : "-");
	logline_add(&record->line, "session", entry->connection && entry->connection->session[0] ? entry->connection->session
	            : "-");
	logline_add(&record->line, "tls", entry->connection && entry->connection->tls[0] ? entry->connection->tls : "-");
	add_delays(&record->line, entry);
	logline_bool(&record->line, "maybe_duplicate", r->maybe_duplicate);
	logline_end(&record->line);
	if (heard)
		logline_send(&record->line);
	transcript_add_record(record->transcript, &record->line.text);
}
