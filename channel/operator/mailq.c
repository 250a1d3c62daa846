#include "channel/operator/mailq.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/json.h"
#include "lib/text.h"

/* A column grows with its longest value up to here; what is longer stands there whole and pushes the rest. */
#define WIDEST 40
#define VALUE_MAX 500

/* ---- cells ---- */

void mailq_add_span(struct buf *out, int64_t seconds)
{
	if (seconds < 0)
		seconds = 0;
	if (seconds < 60)
		buf_addf(out, "%" PRId64 "s", seconds);
	else if (seconds < 3600)
		buf_addf(out, "%" PRId64 "m", seconds / 60);
	else if (seconds < 86400)
		buf_addf(out, "%" PRId64 "h%02dm", seconds / 3600, (int)(seconds / 60 % 60));
	else
		buf_addf(out, "%" PRId64 "d%02dh", seconds / 86400, (int)(seconds / 3600 % 24));
}

void mailq_add_next(struct buf *out, int64_t next, int64_t now)
{
	if (next == NEXT_HELD)
		buf_adds(out, "held");
	else if (next == NEXT_UNKNOWN)
		buf_addc(out, '-');
	else if (next <= now)
		buf_adds(out, "now");
	else
		mailq_add_span(out, next - now);
}

static void add_words(struct buf *out, const char *text)
{
	if (text == NULL || text[0] == '\0')
		buf_addc(out, '-');
	else
		text_add_clean_string(out, text, VALUE_MAX);
}

static void add_id(struct buf *out, const struct listed *e, int64_t now)
{
	(void)now;
	add_words(out, e->spool != NULL ? e->spool : e->name);
}

static void add_age(struct buf *out, const struct listed *e, int64_t now)
{
	if (e->arrived != 0)
		mailq_add_span(out, now - e->arrived);
	else
		buf_addc(out, '-');
}

static void add_next(struct buf *out, const struct listed *e, int64_t now)
{
	if (e->state == LISTED_WAITING)
		mailq_add_next(out, e->next, now);
	else
		buf_adds(out, mailq_state(e));
}

static void add_sender(struct buf *out, const struct listed *e, int64_t now)
{
	(void)now;
	add_words(out, e->sender != NULL && e->sender[0] == '\0' ? "<>" : e->sender);
}

static void add_destination(struct buf *out, const struct listed *e, int64_t now)
{
	(void)now;
	if (e->channel == NULL) {
		buf_addc(out, '-');
		return;
	}
	text_add_clean_string(out, e->channel, VALUE_MAX);
	buf_addc(out, '/');
	text_add_clean_string(out, e->host, VALUE_MAX);
}

static void add_recipient(struct buf *out, const struct listed *e, int64_t now)
{
	(void)now;
	add_words(out, e->user);
}

static void add_answer(struct buf *out, const struct listed *e, int64_t now)
{
	(void)now;
	add_words(out, e->why != NULL ? e->why : e->answer);
}

static const struct {
	const char *heading;
	void (*add)(struct buf *out, const struct listed *e, int64_t now);
} columns[] = {
	{ "ID", add_id }, { "AGE", add_age }, { "NEXT", add_next }, { "SENDER", add_sender },
	{ "CHANNEL/HOST", add_destination },
	{ "RECIPIENT", add_recipient }, { "ANSWER", add_answer },
};

#define COLUMNS (sizeof columns / sizeof columns[0])

/* ---- the table ---- */

/* Characters, not bytes. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

void mailq_sums(struct buf *out, const struct listing *l, int64_t now)
{
	buf_addf(out, "%zu recipient%s in %zu message%s", l->recipients, plural(l->recipients), l->messages,
	         plural(l->messages));
	if (l->active > 0)
		buf_addf(out, ", %zu in delivery", l->active);
	if (l->held > 0)
		buf_addf(out, ", %zu on hold", l->held);
	if (l->reports > 0)
		buf_addf(out, ", %zu message%s to be reported", l->reports, plural(l->reports));
	if (l->finished > 0)
		buf_addf(out, ", %zu message%s to be removed", l->finished, plural(l->finished));
	if (l->oldest != 0) {
		buf_adds(out, ", the oldest ");
		mailq_add_span(out, now - l->oldest);
		buf_adds(out, " old");
	}
	if (l->trouble > 0)
		buf_addf(out, "; %zu file%s damaged or unreadable", l->trouble, plural(l->trouble));
	buf_addc(out, '\n');
}

void mailq_table(struct buf *out, const struct listing *l, int64_t now)
{
	size_t cells = (l->count + 1) * COLUMNS, *at, widths[COLUMNS] = { 0 };
	struct buf text = { 0 };

	if (l->count == 0)
		return;
	/* the cells of the headings and of each row, with a NUL behind each */
	at = xcalloc(cells, sizeof *at);
	for (size_t i = 0; i < cells; i++) {
		size_t row = i / COLUMNS, column = i % COLUMNS, n;

		at[i] = text.len;
		if (row == 0)
			buf_adds(&text, columns[column].heading);
		else
			columns[column].add(&text, &l->list[row - 1], now);
		buf_addc(&text, '\0');
		n = width(text.data + at[i]);
		if (n <= WIDEST && n > widths[column])
			widths[column] = n;
	}
	for (size_t i = 0; i < cells; i++) {
		const char *cell = text.data + at[i];
		size_t column = i % COLUMNS, n = width(cell);

		buf_adds(out, cell);
		if (column == COLUMNS - 1)
			buf_addc(out, '\n');
		else
			buf_addf(out, "%*s", (int)(n < widths[column] ? widths[column] - n + 2 : 2), "");
	}
	buf_free(&text);
	free(at);
}

void mailq_text(struct buf *out, const struct listing *l, int64_t now)
{
	mailq_table(out, l, now);
	if (l->count > 0 || l->finished > 0)
		mailq_sums(out, l, now);
}

void mailq_nothing(const char *words)
{
	if (isatty(STDOUT_FILENO))
		fprintf(stderr, "%s\n", words);
}

/* ---- JSON ---- */

const char *mailq_state(const struct listed *e)
{
	switch (e->state) {
	case LISTED_WAITING: return e->next == NEXT_HELD ? "held" : e->next == NEXT_NOW ? "due" : "waiting";
	case LISTED_ACTIVE: return "active";
	case LISTED_HELD: return "held";
	case LISTED_REPORT: return "report";
	case LISTED_DAMAGED: return "damaged";
	case LISTED_UNREADABLE: return "unreadable";
	}
	return "waiting";
}

void mailq_json(struct buf *out, const struct listing *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct listed *e = &l->list[i];

		buf_addc(out, '{');
		json_string(out, "state", mailq_state(e));
		json_string(out, "file", e->name);
		json_known(out, "arrived", e->arrived);
		if (e->why != NULL) {
			json_string(out, "why", e->why);
		} else {
			json_string(out, "spool", e->spool);
			json_number(out, "offset", e->offset);
			json_string(out, "sender", e->sender);
			json_string(out, "channel", e->channel);
			json_string(out, "host", e->host);
			json_string(out, "recipient", e->user);
			json_known(out, "process", e->locker);
			json_bool(out, "on_hold", e->held);
			json_known(out, "next_try", e->next);
			json_string(out, "answer", e->answer);
			json_known(out, "answered", e->answered);
		}
		buf_adds(out, "}\n");
	}
}
