#include "channel/operator/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/operator/mailq.h"
#include "channel/spool/control.h"
#include "channel/spool/dsn.h"
#include "channel/spool/report_due.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/logline.h"
#include "lib/text.h"

#define VALUE_MAX 4000

struct shown {
	const struct listing *entries;
	const struct control *control;
	const struct control_diagnostic **history;   /* by recipient, then as they came */
	struct buf file;          /* the message file */
	int64_t now;
};

/* ---- parts that both forms have ---- */

static int by_offset(const void *key, const void *entry)
{
	off_t a = *(const off_t *)key, b = ((const struct listed *)entry)->offset;

	return a < b ? -1 : a > b;
}

/* Both are in the order of the file. */
static const struct listed *entry_of(const struct shown *s, const struct control_recipient *r)
{
	return bsearch(&r->offset, s->entries->list, s->entries->count, sizeof *s->entries->list, by_offset);
}

static int by_recipient(const void *a, const void *b)
{
	const struct control_diagnostic *x = *(const struct control_diagnostic *const *)a;
	const struct control_diagnostic *y = *(const struct control_diagnostic *const *)b;

	if (x->recipient != y->recipient)
		return x->recipient < y->recipient ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* The first line of a recipient's history, at the end of the array if there is none; the NULL behind all is no recipient's. */
static const struct control_diagnostic **history_of(const struct shown *s, const struct control_recipient *r)
{
	size_t low = 0, high = s->control->diagnostic_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->history[middle]->recipient < r->offset)
			low = middle + 1;
		else
			high = middle;
	}
	return s->history + low;
}

static const char *state_of(const struct shown *s, const struct control_recipient *r)
{
	const struct listed *e = entry_of(s, r);

	return r->tag == TAG_DONE ? "delivered" : r->tag == TAG_FAILED ? "failed" : e != NULL ? mailq_state(e) : "waiting";
}

static const char *sender_of(const struct control *c)
{
	const char *path = c->sender_count > 0 ? control_return_path(&c->senders[0]) : "";

	return path[0] != '\0' ? path : "<>";
}

/* The header as it goes to the first recipient: the router has made it (spool.md section 4). */
static const struct control_header *header_of(const struct control *c)
{
	return c->header_count > 0 ? &c->headers[0] : NULL;
}

static void body_of(const struct shown *s, const char **body, size_t *n)
{
	size_t at = (size_t)s->control->body_offset < s->file.len ? (size_t)s->control->body_offset : s->file.len;

	*body = s->file.data + at;
	*n = s->file.len - at;
}

/* Lines that end with LF, as they are in the control file: what happened to a recipient at one time. */
static void history_add(struct buf *out, const struct control_diagnostic *d)
{
	int64_t told = report_due_delay_reported(d);

	if (told > 0) {
		buf_adds(out, "the sender was told of the delay, at ");
		mailq_add_span(out, told);
		buf_addc(out, '\n');
		return;
	}
	for (const char *text = d->text; *text != '\0';) {
		size_t n = strcspn(text, "\r");

		if (n > 0) {
			buf_add(out, text, n);
			buf_addc(out, '\n');
		}
		text += n + (text[n] != '\0');
	}
}

/* ---- as text ---- */

static void line_add(struct buf *out, const char *label, const char *text)
{
	buf_addf(out, "%-14s", label);
	text_add_clean_string(out, text, VALUE_MAX);
	buf_addc(out, '\n');
}

static void recipient_add(struct buf *out, const struct shown *s, const struct control_recipient *r)
{
	const struct listed *e = entry_of(s, r);

	buf_adds(out, "\nRecipient:    ");
	text_add_clean_string(out, r->user, VALUE_MAX);
	buf_addc(out, '\n');
	buf_addf(out, "%-14s", "  Destination:");
	buf_addc(out, ' ');
	text_add_clean_string(out, r->channel, 200);
	buf_addc(out, '/');
	text_add_clean_string(out, r->host, 300);
	buf_addf(out, "\n  State:      %s", state_of(s, r));
	if (e != NULL && e->next > s->now) {
		buf_adds(out, e->state == LISTED_REPORT ? ", its report is tried again in " : ", next try in ");
		mailq_add_span(out, e->next - s->now);
	}
	buf_addc(out, '\n');
	if (r->orcpt != NULL) {
		struct buf original = { 0 };

		if (dsn_original(&original, r->orcpt))
			line_add(out, "  Original:", buf_str(&original));
		buf_free(&original);
	}
	if (e != NULL && e->answer != NULL)
		line_add(out, "  Answer:", e->answer);
	for (const struct control_diagnostic **d = history_of(s, r); *d != NULL && (*d)->recipient == r->offset; d++) {
		struct buf lines = { 0 };

		buf_adds(out, "    ");
		text_add_date(out, (*d)->time);
		buf_addc(out, '\n');
		history_add(&lines, *d);
		text_add_clean_lines(out, "        ", buf_str(&lines), lines.len, VALUE_MAX);
		buf_free(&lines);
	}
}

static void text_form(struct buf *out, const struct shown *s, bool body)
{
	const struct listed *first = &s->entries->list[0];
	const struct control *c = s->control;
	const struct control_header *h = header_of(c);

	line_add(out, "Message:", first->spool != NULL ? first->spool : "-");
	line_add(out, "File:", first->name);
	line_add(out, "State:", first->held ? "held" : "in the queue");
	line_add(out, "Sender:", sender_of(c));
	if (c->log_ident != NULL)
		line_add(out, "Message-ID:", c->log_ident);
	if (c->envid != NULL)
		line_add(out, "Envelope id:", c->envid);
	buf_addf(out, "%-14s", "Arrived:");
	text_add_date(out, first->arrived);
	buf_adds(out, " (");
	mailq_add_span(out, s->now - first->arrived);
	buf_addf(out, " ago)\n%-14s%zu bytes\n", "Size:", s->file.len);
	for (size_t i = 0; i < c->recipient_count; i++)
		recipient_add(out, s, &c->recipients[i]);
	buf_addc(out, '\n');
	if (h != NULL)
		text_add_clean_lines(out, "", h->text, h->length, VALUE_MAX);
	if (body) {
		const char *text;
		size_t n;

		body_of(s, &text, &n);
		buf_addc(out, '\n');
		text_add_clean_lines(out, "", text, n, VALUE_MAX);
	}
}

/* ---- for programs ---- */

static void recipient_json(struct buf *out, const struct shown *s, const struct control_recipient *r)
{
	const struct listed *e = entry_of(s, r);
	struct buf original = { 0 };
	bool first = true;

	buf_addc(out, '{');
	json_string(out, "recipient", r->user);
	json_string(out, "channel", r->channel);
	json_string(out, "host", r->host);
	json_string(out, "state", state_of(s, r));
	json_string(out, "orcpt", r->orcpt != NULL && dsn_original(&original, r->orcpt) ? buf_str(&original) : NULL);
	json_string(out, "answer", e != NULL ? e->answer : NULL);
	json_known(out, "next_try", e != NULL ? e->next : 0);
	buf_adds(out, ",\"history\":[");
	for (const struct control_diagnostic **d = history_of(s, r); *d != NULL && (*d)->recipient == r->offset; d++) {
		struct buf lines = { 0 };

		history_add(&lines, *d);
		buf_addf(out, "%s{\"time\":%" PRId64, first ? "" : ",", (*d)->time);
		json_bytes(out, "text", buf_str(&lines), lines.len > 0 ? lines.len - 1 : 0);
		buf_addc(out, '}');
		buf_free(&lines);
		first = false;
	}
	buf_addc(out, ']');
	buf_addc(out, '}');
	buf_free(&original);
}

static void json_form(struct buf *out, const struct shown *s, bool body)
{
	const struct listed *first = &s->entries->list[0];
	const struct control *c = s->control;
	const struct control_header *h = header_of(c);

	buf_addc(out, '{');
	json_string(out, "spool", first->spool);
	json_string(out, "file", first->name);
	json_bool(out, "on_hold", first->held);
	json_string(out, "sender", strcmp(sender_of(c), "<>") == 0 ? "" : sender_of(c));
	json_string(out, "message_id", c->log_ident);
	json_string(out, "envid", c->envid);
	buf_addf(out, ",\"arrived\":%" PRId64 ",\"size\":%zu,\"recipients\":[", first->arrived, s->file.len);
	for (size_t i = 0; i < c->recipient_count; i++) {
		if (i > 0)
			buf_addc(out, ',');
		recipient_json(out, s, &c->recipients[i]);
	}
	buf_addc(out, ']');
	json_bytes(out, "header", h != NULL ? h->text : NULL, h != NULL ? h->length : 0);
	if (body) {
		const char *text;
		size_t n;

		body_of(s, &text, &n);
		json_bytes(out, "body", text, n);
	}
	buf_adds(out, "}\n");
}

bool show_message(struct buf *out, const struct listing *entries, bool body, bool json, int64_t now, struct buf *why)
{
	const struct listed *first = &entries->list[0];
	struct shown s = { .entries = entries, .file = { .limit = FILE_LARGEST }, .now = now };
	struct control *c;
	struct stat file;
	char *path = xasprintf("%s%s", first->held ? "../hold/" : "", first->name), *message;
	bool ok = control_look(path, &c, why) == CONTROL_OK;
	int fd;

	free(path);
	if (!ok)
		return false;
	free(c->name);
	c->name = xstrdup(first->name);
	s.control = c;
	s.history = xcalloc(c->diagnostic_count + 1, sizeof *s.history);
	for (size_t i = 0; i < c->diagnostic_count; i++)
		s.history[i] = &c->diagnostics[i];
	qsort(s.history, c->diagnostic_count, sizeof *s.history, by_recipient);
	message = control_message_path(c);
	fd = file_open_found(message, &file);
	ok = fd >= 0 && file_read(fd, &s.file);
	if (!ok)
		buf_addf(why, "%s: %s", message, file_error(errno));
	else if (json)
		json_form(out, &s, body);
	else
		text_form(out, &s, body);
	if (fd >= 0)
		close(fd);
	free(message);
	free(s.history);
	buf_free(&s.file);
	control_close(&c);
	return ok;
}
