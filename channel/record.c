#include "channel/record.h"

#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/text.h"

/* A value longer than this is cut, so that a line fits into what syslog daemons take. */
#define VALUE_MAX 1000
/* Between looks for a log daemon, in milliseconds. */
#define LOOK_PAUSE 1000

void record_open(struct record *record)
{
	if (record->syslog)
		openlog("lmtp", LOG_PID | LOG_NDELAY, LOG_MAIL);
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

/* The bytes that make quotes unnecessary; the common case is added as it stands. */
static bool is_plain(const char *value, size_t *length)
{
	const char *p = value;

	while (*p > ' ' && *p < 127 && *p != '"' && *p != '\\' && *p != '=')
		p++;
	*length = (size_t)(p - value);
	return *p == '\0' && *length > 0 && *length <= VALUE_MAX;
}

/* Bare if it is a plain word, else in double quotes with \ before " and \. */
static void add_value(struct buf *line, const char *value)
{
	struct buf clean = { 0 };
	size_t n;

	if (is_plain(value, &n)) {
		buf_add(line, value, n);
		return;
	}
	text_add_clean_string(&clean, value, VALUE_MAX);
	buf_addc(line, '"');
	for (const char *p = buf_str(&clean); *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			buf_addc(line, '\\');
		buf_addc(line, *p);
	}
	buf_addc(line, '"');
	buf_free(&clean);
}

static void add_key(const struct record *record, struct buf *line, const char *key)
{
	bool json = record->format == RECORD_JSON;

	/* behind the opening brace, or at the beginning of the line */
	if (line->len > (json ? 1 : 0))
		buf_addc(line, json ? ',' : ' ');
	if (json)
		buf_addc(line, '"');
	buf_adds(line, key);
	buf_adds(line, json ? "\":" : "=");
}

static void add_field(const struct record *record, struct buf *line, const char *key, const char *value)
{
	add_key(record, line, key);
	if (record->format == RECORD_JSON)
		text_add_json(line, value, strlen(value));
	else
		add_value(line, value);
}

static void add_number(const struct record *record, struct buf *line, const char *key, uint64_t number)
{
	add_key(record, line, key);
	buf_addu(line, number);
}

static void add_yes_or_no(const struct record *record, struct buf *line, const char *key, bool yes)
{
	add_key(record, line, key);
	if (record->format == RECORD_JSON)
		buf_adds(line, yes ? "true" : "false");
	else
		buf_adds(line, yes ? "yes" : "no");
}

/* The last decimal digit. */
static char digit(uint64_t number)
{
	return (char)('0' + number % 10);
}

/* "0.012/0.000/...", in JSON "[0.012,0.000,...]" */
static void add_seconds(struct buf *out, const int64_t *ms, size_t n, bool json)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t t = ms[i] < 0 ? 0 : (uint64_t)ms[i];
		const char fraction[] = { '.', digit(t / 100), digit(t / 10), digit(t) };

		if (i > 0)
			buf_addc(out, json ? ',' : '/');
		buf_addu(out, t / 1000);
		buf_add(out, fraction, sizeof fraction);
	}
}

static void add_delays(const struct record *record, struct buf *line, const struct record_entry *e)
{
	bool json = record->format == RECORD_JSON;
	int64_t now = clock_ms();
	const int64_t delays[] = {
		(e->begun_at ? e->begun_at : now) - e->received_at,
		e->connection ? e->connection->connect_ms : 0,
		e->connection ? e->connection->opening_ms : 0,
		e->begun_at ? (e->sent_at ? e->sent_at : now) - e->begun_at : 0,
		e->sent_at ? now - e->sent_at : 0,
	};

	add_key(record, line, "delays");
	if (json)
		buf_addc(line, '[');
	add_seconds(line, delays, sizeof delays / sizeof delays[0], json);
	if (json)
		buf_addc(line, ']');
}

static void compose(const struct record *record, struct buf *line, const struct record_entry *e)
{
	const struct result *r = e->result;

	if (record->format == RECORD_JSON)
		buf_addc(line, '{');
	add_number(record, line, "message", e->message);
	add_field(record, line, "spool", e->spool ? e->spool : "-");
	add_field(record, line, "recipient", e->recipient);
	add_field(record, line, "orcpt", e->orcpt ? e->orcpt : "-");
	add_field(record, line, "outcome", outcome_name(r->outcome));
	add_field(record, line, "stage", stage_name(r->stage));
	add_number(record, line, "code", r->remote ? (uint64_t)r->code : 0);
	add_field(record, line, "status", r->status);
	add_field(record, line, "words", r->words);
	add_field(record, line, "peer", e->connection ? e->connection->peer : "-");
	add_field(record, line, "session", e->connection && e->connection->session[0] ? e->connection->session : "-");
	add_field(record, line, "tls", e->connection && e->connection->tls[0] ? e->connection->tls : "-");
	add_delays(record, line, e);
	add_yes_or_no(record, line, "maybe_duplicate", r->maybe_duplicate);
	if (record->format == RECORD_JSON)
		buf_addc(line, '}');
}

/* Where no log daemon runs, syslog(3) makes a socket for each line to find that out: we ask once a second. */
static bool is_heard(struct record *record)
{
	int64_t now;

	if (!record->syslog)
		return false;
	now = clock_ms();
	if (now >= record->look_again) {
		record->heard = access(_PATH_LOG, W_OK) == 0;
		record->look_again = now + LOOK_PAUSE;
	}
	return record->heard;
}

void record_add(struct record *record, const struct record_entry *entry)
{
	bool heard = is_heard(record);
	struct buf line = { 0 };

	if (!heard && record->transcript->fd < 0)
		return;
	compose(record, &line, entry);
	if (heard)
		syslog(LOG_INFO, "%s", line.data);
	transcript_add(record->transcript, '#', line.data, line.len);
	buf_free(&line);
}
