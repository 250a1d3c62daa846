#include "channel/report/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "channel/message/downgrade.h"
#include "channel/message/mime.h"
#include "channel/report/lines.h"
#include "lib/alloc.h"
#include "lib/hash.h"
#include "lib/text.h"

/* RFC 5322 section 2.1.1 has 78 and 998. */
#define WORDS_WIDTH 76
#define ADDRESS_CAP 900
#define DIAGNOSTIC_CAP 2000
#define SUBJECT_CAP 300
/* So many recipients the words speak of; the part behind them has all. */
#define RECIPIENTS_IN_WORDS 200
#define FLUSH_AT ((size_t)64 * 1024)

struct composer {
	const struct report *report;
	const struct report_message *message;
	const struct report_settings *settings;
	const char *host;
	bool utf8;             /* addresses by RFC 6533 */
	bool full;             /* the original comes whole */
	bool body_eightbit;
	struct buf words, status, header;
	struct buf marker;     /* what every boundary begins with */
	uint64_t boundary;     /* above every number that stands behind the marker anywhere */
	report_sink *sink;
	void *context;
	struct buf out;
	bool failed;           /* the sink does not take more */
	struct buf *why;
};

/* ---- small texts ---- */

static void add_date(const struct composer *c, struct buf *out, int64_t when)
{
	text_add_date_zone(out, (time_t)when, c->report->utc_offset);
}

static bool is_utf8_address(const char *s, size_t n)
{
	return text_is_eightbit(s, n) && text_is_utf8(s, n);
}

/* Clean text of one line; without UTF-8 in it if the report has none. */
static void add_clean(const struct composer *c, struct buf *out, const char *s, size_t cap)
{
	struct buf clean = { 0 };
	const char *p;

	text_add_clean_string(&clean, s, cap);
	p = buf_str(&clean);
	for (size_t i = 0, length; i < clean.len; i += length) {
		length = text_utf8_length(p + i, clean.len - i);
		if (length == 0)
			length = 1;
		if (length > 1 && !c->utf8)
			buf_addc(out, '?');
		else
			buf_add(out, p + i, length);
	}
	buf_free(&clean);
}

/* ---- remote servers and what they said ---- */

/* What an agent has written down, taken apart. */
struct said {
	struct buf type;        /* "smtp", or "" */
	struct buf code;        /* "550", or "" */
	struct buf words;
	struct buf mta_type, mta;
};

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " \t");
}

/* "TYPE; " in front: *s is moved behind it. */
static void take_type(const char **s, struct buf *type)
{
	size_t n = strspn(*s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-");

	if (n > 0 && n < 40 && (*s)[n] == ';') {
		text_add_clean(type, *s, n, 40);
		*s = skip_blanks(*s + n + 1);
	}
}

/* "dns; NAME (ADDRESSES)", " (UNIX:/path)", or a name. */
static void take_remote(const char *s, struct said *said)
{
	const char *path = strstr(s, "UNIX:");
	size_t n;

	s = skip_blanks(s);
	if (path != NULL && (path == s || path[-1] == '(')) {
		buf_adds(&said->mta_type, "x-unix");
		text_add_clean(&said->mta, path + 5, strcspn(path + 5, "|)"), ADDRESS_CAP);
		return;
	}
	take_type(&s, &said->mta_type);
	n = strcspn(s, " \t(");
	if (n > 0)
		text_add_clean(&said->mta, s, n, ADDRESS_CAP);
	if (said->mta_type.len == 0)
		buf_adds(&said->mta_type, "dns");
}

static struct said said_about(const struct report_recipient *r)
{
	struct said said = { 0 };

	if (r->diagnostic != NULL) {
		const char *s = r->diagnostic;
		size_t n;

		s = skip_blanks(s);
		take_type(&s, &said.type);
		if (strspn(s, "0123456789") == 3 && (s[3] == ' ' || s[3] == '\0')) {
			buf_add(&said.code, s, 3);
			s = skip_blanks(s + 3);
		}
		n = strlen(s);
		if (n > 1 && s[0] == '(' && s[n - 1] == ')')
			s++, n -= 2;
		text_add_clean(&said.words, s, n, DIAGNOSTIC_CAP);
	}
	if (r->remote != NULL)
		take_remote(r->remote, &said);
	return said;
}

static void said_free(struct said *said)
{
	buf_free(&said->type);
	buf_free(&said->code);
	buf_free(&said->words);
	buf_free(&said->mta_type);
	buf_free(&said->mta);
}

/* RFC 3463: X.Y.Z with X of the action. */
static void add_status(struct buf *out, const struct report_recipient *r)
{
	static const char *const fitting[] = {
		[REPORT_FAILED] = "54", [REPORT_DELAYED] = "4", [REPORT_DELIVERED] = "2", [REPORT_RELAYED] = "2",
		[REPORT_EXPANDED] = "2",
	};
	const char *s = r->status != NULL ? r->status : "", *classes = fitting[r->action], *p = s;
	bool good = *s != '\0' && strchr(classes, *s) != NULL && s[1] == '.';

	for (int i = 0; good && i < 2; i++) {
		size_t n;

		p = i == 0 ? s + 2 : p + 1;
		n = strspn(p, "0123456789");
		good = n >= 1 && n <= 3 && p[n] == (i == 0 ? '.' : '\0');
		p += n;
	}
	if (good)
		buf_adds(out, s);
	else
		buf_addf(out, "%c.0.0", classes[0]);
}

void report_from_notary(struct report_recipient *r, char *notary)
{
	char *fields[6] = { 0 };

	for (size_t i = 0; i < 6 && notary != NULL; i++) {
		fields[i] = notary;
		notary = strchr(notary, '\001');
		if (notary != NULL)
			*notary++ = '\0';
	}
	r->status = fields[2];
	r->diagnostic = fields[3];
	r->remote = fields[4];
}

/* ---- message/delivery-status ---- */

static void add_dated(struct composer *c, const char *name, int64_t when)
{
	if (when == 0)
		return;
	buf_addf(&c->status, "%s: ", name);
	add_date(c, &c->status, when);
	buf_addc(&c->status, '\n');
}

/* "Name: type; text", folded. */
static void add_typed(struct composer *c, const char *name, const char *type, const char *text, size_t cap)
{
	struct buf value = { 0 };

	buf_addf(&value, "%s; ", type);
	add_clean(c, &value, text, cap);
	lines_add_field(&c->status, name, buf_str(&value), value.len);
	buf_free(&value);
}

static void add_address_field(struct composer *c, const char *name, const char *type, const char *address)
{
	bool utf8 = is_utf8_address(address, strlen(address));
	struct buf text = { 0 };

	text_add_address(&text, address);
	add_typed(c, name, utf8 ? "utf-8" : strcmp(type, "utf-8") == 0 ? "rfc822" : type, buf_str(&text), ADDRESS_CAP);
	buf_free(&text);
}

/* The reply with its codes, as RFC 3464 section 2.3.6 has it for smtp; anything else is no reply. */
static void add_diagnostic(struct composer *c, const struct said *said, const char *status, bool uncoded)
{
	struct buf text = { 0 };
	bool reply = said->code.len > 0 && said->mta.len > 0;
	bool other = said->type.len > 0 && strcmp(said->type.data, "smtp") != 0;

	if (said->words.len == 0 && said->code.len == 0)
		return;
	if (reply) {
		buf_addf(&text, "%s ", said->code.data);
		if (status[0] == said->code.data[0] && !uncoded)
			buf_addf(&text, "%s ", status);
	}
	buf_add(&text, buf_str(&said->words), said->words.len);
	add_typed(c, "Diagnostic-Code", reply ? "smtp" : other ? said->type.data : "x-local", buf_str(&text),
	          DIAGNOSTIC_CAP + 20);
	buf_free(&text);
}

static void add_recipient_fields(struct composer *c, const struct report_recipient *r)
{
	static const char *const actions[] = {
		[REPORT_FAILED] = "failed", [REPORT_DELAYED] = "delayed", [REPORT_DELIVERED] = "delivered",
		[REPORT_RELAYED] = "relayed", [REPORT_EXPANDED] = "expanded",
	};
	struct said said = said_about(r);
	struct buf status = { 0 }, type = { 0 }, original = { 0 }, final = { 0 };

	add_status(&status, r);
	buf_addc(&c->status, '\n');
	if (text_typed_address(r->orcpt, &type, &original))
		add_address_field(c, "Original-Recipient", buf_str(&type), buf_str(&original));
	/* as it was when it was accepted (RFC 3464 section 2.3.2): what the sender can know it by */
	buf_clear(&type);
	if (text_typed_address(r->given, &type, &final))
		add_address_field(c, "Final-Recipient", buf_str(&type), buf_str(&final));
	else
		add_address_field(c, "Final-Recipient", "rfc822", r->address);
	buf_addf(&c->status, "Action: %s\nStatus: %s\n", actions[r->action], buf_str(&status));
	if (said.mta.len > 0)
		add_typed(c, "Remote-MTA", buf_str(&said.mta_type), buf_str(&said.mta), ADDRESS_CAP);
	add_diagnostic(c, &said, buf_str(&status), r->uncoded);
	add_dated(c, "Last-Attempt-Date", r->last_attempt);
	if (r->action == REPORT_DELAYED)
		add_dated(c, "Will-Retry-Until", r->retry_until);
	buf_free(&final);
	buf_free(&status);
	buf_free(&type);
	buf_free(&original);
	said_free(&said);
}

static void compose_status(struct composer *c)
{
	struct buf envid = { 0 };

	add_typed(c, "Reporting-MTA", "dns", c->host, ADDRESS_CAP);
	if (c->message->envid != NULL && c->message->envid[0] != '\0') {
		struct buf clean = { 0 };

		text_add_xtext_decoded(&envid, c->message->envid);
		add_clean(c, &clean, buf_str(&envid), ADDRESS_CAP);
		lines_add_field(&c->status, "Original-Envelope-Id", buf_str(&clean), clean.len);
		buf_free(&clean);
	}
	add_dated(c, "Arrival-Date", c->message->arrival);
	buf_adds(&c->status, "X-Zlmtp-Spool-Id: ");
	add_clean(c, &c->status, c->message->spool_id, 100);
	buf_addc(&c->status, '\n');
	for (size_t i = 0; i < c->report->count; i++)
		add_recipient_fields(c, &c->report->recipients[i]);
	buf_free(&envid);
}

/* ---- the first part: words ---- */

static void add_outcome(struct buf *text, const struct report_recipient *r, const struct said *said)
{
	const char *remote = said->mta.len > 0 ? said->mta.data : NULL;
	struct buf status = { 0 };

	add_status(&status, r);
	switch (r->action) {
	case REPORT_FAILED:
	case REPORT_DELAYED:
		if (said->code.len > 0 && remote != NULL)
			buf_addf(text, "%s ", said->code.data);
		buf_addf(text, "%s ", buf_str(&status));
		if (said->words.len > 0)
			buf_adds(text, said->words.data);
		else
			buf_adds(text, r->action == REPORT_FAILED ? "delivery has failed" : "delivery was put off");
		break;
	case REPORT_DELIVERED:
		buf_adds(text, "delivered");
		break;
	case REPORT_RELAYED:
		buf_adds(text, "passed on to the next server, which may not report any further");
		break;
	case REPORT_EXPANDED:
		buf_adds(text, "passed on to the members of a list");
		break;
	}
	buf_free(&status);
}

static void add_recipient_words(const struct composer *c, struct buf *out, const struct report_recipient *r)
{
	struct said said = said_about(r);
	struct buf text = { 0 }, type = { 0 }, original = { 0 };

	buf_addc(&text, '<');
	text_add_clean_string(&text, r->address, ADDRESS_CAP);
	buf_addc(&text, '>');
	if (text_typed_address(r->orcpt != NULL ? r->orcpt : r->given, &type, &original) &&
	    strcmp(buf_str(&original), r->address) != 0) {
		buf_adds(&text, ", which you have written as <");
		text_add_clean_string(&text, buf_str(&original), ADDRESS_CAP);
		buf_addc(&text, '>');
	}
	lines_add_wrapped(out, "  ", WORDS_WIDTH, buf_str(&text), text.len);
	buf_clear(&text);
	add_outcome(&text, r, &said);
	lines_add_wrapped(out, "      ", WORDS_WIDTH, buf_str(&text), text.len);
	buf_clear(&text);
	if (said.mta.len > 0)
		buf_addf(&text, "(by %s%s", said.mta.data, r->last_attempt != 0 ? ", " : ")");
	else if (r->last_attempt != 0)
		buf_addc(&text, '(');
	if (r->last_attempt != 0) {
		add_date(c, &text, r->last_attempt);
		buf_addc(&text, ')');
	}
	lines_add_wrapped(out, "      ", WORDS_WIDTH, buf_str(&text), text.len);
	buf_addc(out, '\n');
	buf_free(&text);
	buf_free(&type);
	buf_free(&original);
	said_free(&said);
}

static char *field_value(const struct composer *c, const char *name, size_t cap)
{
	char *value = mime_field(c->message->header, c->message->header_length, name);
	struct buf clean = { 0 };

	if (value == NULL)
		return NULL;
	text_add_clean_string(&clean, skip_blanks(value), cap);
	free(value);
	return clean.data != NULL ? clean.data : xstrdup("");
}

/* The values of forms: the texts live in `made`. */
struct values {
	const char *of[FORM_NAMES];
	struct buf sender, arrival, until, from, recipients, id;
	char *subject;
};

static void make_values(const struct composer *c, struct values *v)
{
	int64_t until = 0;
	struct buf *out;
	size_t shown;

	*v = (struct values){ .subject = field_value(c, "Subject", SUBJECT_CAP) };
	for (size_t i = 0; i < c->report->count; i++)
		if (c->report->recipients[i].retry_until > until)
			until = c->report->recipients[i].retry_until;
	text_add_clean_string(&v->sender, c->message->sender, ADDRESS_CAP);
	text_add_clean_string(&v->id, c->message->spool_id, 100);
	add_date(c, &v->arrival, c->message->arrival);
	if (until != 0)
		add_date(c, &v->until, until);
	else
		buf_adds(&v->until, "it expires");
	out = &v->recipients;
	shown = c->report->count < RECIPIENTS_IN_WORDS ? c->report->count : RECIPIENTS_IN_WORDS;
	for (size_t i = 0; i < shown; i++)
		add_recipient_words(c, out, &c->report->recipients[i]);
	if (shown < c->report->count)
		buf_addf(out, "  and %zu more, all of them in the part behind this text\n\n", c->report->count - shown);
	/* the form has a line end of its own behind it */
	if (out->len > 0)
		out->data[--out->len] = '\0';
	v->of[FORM_HOST] = c->host;
	v->of[FORM_ID] = buf_str(&v->id);
	v->of[FORM_SENDER] = v->sender.len > 0 ? v->sender.data : "<>";
	v->of[FORM_SUBJECT] = v->subject;
	v->of[FORM_ARRIVAL] = buf_str(&v->arrival);
	v->of[FORM_UNTIL] = buf_str(&v->until);
	v->of[FORM_POSTMASTER] = c->settings->postmaster != NULL ? c->settings->postmaster : "your postmaster";
	v->of[FORM_RECIPIENTS] = buf_str(&v->recipients);
	if (c->settings->from != NULL)
		buf_adds(&v->from, c->settings->from);
	else
		buf_addf(&v->from, "MAILER-DAEMON@%s", c->host);
}

/* ---- what comes back of the original ---- */

static void compose_header(struct composer *c)
{
	const struct report_message *m = c->message;
	struct buf plain = { 0 };
	struct lines lines = { .continuation = "\n " };

	if (text_is_eightbit(m->header, m->header_length) && (!c->utf8 || !text_is_utf8(m->header, m->header_length)))
		downgrade_header(&plain, m->header, m->header_length, "iso-8859-1");
	else
		buf_add(&plain, m->header, m->header_length);
	lines_add(&lines, &c->header, buf_str(&plain), plain.len);
	lines_end(&lines, &c->header);
	buf_free(&plain);
}

/* Numbers behind the marker, anywhere in the message: the boundary gets a higher one. */
static void scan(struct composer *c, const char *p, size_t n)
{
	const char *end = p + n, *found;

	while ((found = n > 0 ? memmem(p, (size_t)(end - p), c->marker.data, c->marker.len) : NULL) != NULL) {
		uint64_t number = 0;

		for (p = found + c->marker.len; p < end && *p >= '0' && *p <= '9' && number < UINT64_MAX / 100; p++)
			number = number * 10 + (uint64_t)(*p - '0');
		if (number >= c->boundary)
			c->boundary = number + 1;
	}
}

static bool next_piece(struct composer *c, uint64_t *at, struct buf *piece)
{
	if (*at >= c->message->body_length)
		return true;
	if (!c->message->body(c->message->body_context, *at, piece, c->why))
		return false;
	if (piece->len == 0) {
		buf_adds(c->why, "the body ends too early");
		return false;
	}
	*at += piece->len;
	return true;
}

/* Looks through the body: bytes above 127, and the marker, also where two pieces meet. */
static bool scan_body(struct composer *c)
{
	struct buf piece = { 0 }, tail = { 0 };
	uint64_t at = 0;
	bool ok = true;

	while (ok && at < c->message->body_length) {
		ok = next_piece(c, &at, &piece);
		if (!ok)
			break;
		c->body_eightbit = c->body_eightbit || text_is_eightbit(piece.data, piece.len);
		buf_add(&tail, piece.data, piece.len);
		scan(c, tail.data, tail.len);
		/* the marker and the longest number behind it */
		if (tail.len > c->marker.len + 24)
			buf_consume(&tail, tail.len - c->marker.len - 24);
	}
	buf_free(&piece);
	buf_free(&tail);
	return ok;
}

/* ---- writing ---- */

static void flush(struct composer *c, size_t at)
{
	if (c->out.len < at || c->out.len == 0)
		return;
	if (!c->failed && !c->sink(c->context, c->out.data, c->out.len))
		c->failed = true;
	buf_clear(&c->out);
}

static void write_boundary(struct composer *c, const char *behind)
{
	buf_addf(&c->out, "\n--%s%" PRIu64 "_=%s\n", c->marker.data, c->boundary, behind);
}

static void write_part(struct composer *c, const char *type, const struct buf *content, bool eightbit)
{
	write_boundary(c, "");
	buf_addf(&c->out, "Content-Type: %s\n%s\n", type, eightbit ? "Content-Transfer-Encoding: 8bit\n" : "");
	buf_add(&c->out, buf_str(content), content->len);
	flush(c, FLUSH_AT);
}

/* The same report has the same Message-ID. */
static uint64_t hash_text(uint64_t hash, const char *s)
{
	return hash_string(hash, s != NULL ? s : "");
}

static uint64_t hash_report(const struct report *r)
{
	uint64_t hash = hash_text(HASH_START, r->to);

	for (size_t i = 0; i < r->count; i++) {
		char numbers[64];

		hash = hash_text(hash, r->recipients[i].address);
		hash = hash_text(hash, r->recipients[i].orcpt);
		if (r->recipients[i].given != NULL)
			hash = hash_text(hash, r->recipients[i].given);
		snprintf(numbers, sizeof numbers, "%d %" PRId64, (int)r->recipients[i].action, r->recipients[i].last_attempt);
		hash = hash_text(hash, numbers);
	}
	return hash;
}

/* A domain as RFC 5322 has it in a header: words with a dot between them, or an address in brackets. */
static bool is_plain_domain(const char *s)
{
	size_t n = strlen(s);
	bool literal = n > 2 && s[0] == '[' && s[n - 1] == ']', begins = true;

	for (size_t i = literal; i < n - literal; i++) {
		if (s[i] == '.' ? begins : !text_is_atext(s[i]) && !(literal && s[i] == ':'))
			return false;
		begins = s[i] == '.';
	}
	return !begins;
}

/* An address that can stand in a header as it is. */
static bool is_plain_address(const struct composer *c, const char *s)
{
	const char *at = strrchr(s, '@'), *end = at != NULL ? at : s + strlen(s);
	bool quoted = s[0] == '"', clean;
	struct buf same = { 0 };

	text_add_clean_string(&same, s, ADDRESS_CAP);
	clean = strcmp(buf_str(&same), s) == 0;
	buf_free(&same);
	if (!clean || strlen(s) > ADDRESS_CAP || (text_is_eightbit(s, strlen(s)) && !(c->utf8 && text_is_utf8(s, strlen(s)))))
		return false;
	if (end == s || (at != NULL && !is_plain_domain(at + 1)) || (quoted && (at == NULL || at < s + 2 || at[-1] != '"')))
		return false;
	for (const char *p = s; p < end; p++) {
		bool edge = p == s || p == end - 1;

		if (quoted ? (*p == '"') != edge || *p == '\\' : *p != '.' && !text_is_atext(*p))
			return false;
	}
	return true;
}

static void write_header(struct composer *c, const char *subject, const char *from, bool eightbit)
{
	struct buf line = { 0 };
	char *id;
	size_t n;

	buf_addf(&c->out, "From: Mail Delivery System <%s>\nTo: ", from);
	if (is_plain_address(c, c->report->to))
		text_add_address(&c->out, c->report->to);
	else
		buf_adds(&c->out, "undisclosed-recipients:;");
	buf_addc(&c->out, '\n');
	buf_addf(&line, "Subject: %s\n", subject);
	downgrade_header(&c->out, line.data, line.len, "utf-8");
	buf_adds(&c->out, "Date: ");
	add_date(c, &c->out, c->report->now);
	buf_addf(&c->out, "\nMessage-ID: <%.*s.%s.%016" PRIx64 "@%s>\n", (int)c->marker.len - 3, c->marker.data + 2,
	         form_kind_name(c->report->kind), hash_report(c->report), c->host);
	/* the original's id if it is one */
	id = field_value(c, "Message-ID", ADDRESS_CAP);
	n = id != NULL ? strlen(id) : 0;
	while (n > 0 && id[n - 1] == ' ')
		id[--n] = '\0';
	if (n > 2 && n < ADDRESS_CAP - 3 && id[0] == '<' && id[n - 1] == '>' && strcspn(id, " ") == n &&
	    !text_is_eightbit(id, n))
		buf_addf(&c->out, "In-Reply-To: %s\nReferences: %s\n", id, id);
	free(id);
	buf_addf(&c->out,
	         "Auto-Submitted: auto-replied\nMIME-Version: 1.0\n"
	         "Content-Type: multipart/report; report-type=%sdelivery-status;\n\tboundary=\"%s%" PRIu64 "_=\"\n%s\n"
	         "This is a report on the delivery of a message, in MIME format.\n",
	         c->utf8 ? "global-" : "", c->marker.data, c->boundary, eightbit ? "Content-Transfer-Encoding: 8bit\n" : "");
	buf_free(&line);
}

static bool write_body(struct composer *c)
{
	struct lines lines = { .continuation = "\n", .cr_ends_line = true };
	struct buf piece = { 0 };
	uint64_t at = 0;
	bool ok = true;

	while (ok && !c->failed && at < c->message->body_length) {
		ok = next_piece(c, &at, &piece);
		if (ok)
			lines_add(&lines, &c->out, piece.data, piece.len);
		flush(c, FLUSH_AT);
	}
	lines_end(&lines, &c->out);
	buf_free(&piece);
	return ok;
}

static bool write_original(struct composer *c)
{
	bool header8 = text_is_eightbit(buf_str(&c->header), c->header.len);

	if (!c->full) {
		write_part(c, c->utf8 ? "message/global-headers" : "text/rfc822-headers", &c->header, header8);
		return true;
	}
	write_part(c, c->utf8 ? "message/global" : "message/rfc822", &c->header, header8 || c->body_eightbit);
	buf_addc(&c->out, '\n');
	return write_body(c);
}

/* ---- all of it ---- */

static bool names_utf8(const char *orcpt)
{
	struct buf type = { 0 }, address = { 0 };
	bool is_utf8 = text_typed_address(orcpt, &type, &address) && is_utf8_address(address.data, address.len);

	buf_free(&type);
	buf_free(&address);
	return is_utf8;
}

/* Does an address in it need RFC 6533? */
static bool needs_utf8(const struct report *r)
{
	bool needs = is_utf8_address(r->to, strlen(r->to));

	for (size_t i = 0; i < r->count && !needs; i++) {
		const struct report_recipient *x = &r->recipients[i];

		needs = is_utf8_address(x->address, strlen(x->address)) || names_utf8(x->orcpt) || names_utf8(x->given);
	}
	return needs;
}

static bool is_full(const struct report *r, const struct report_settings *s)
{
	const struct report_message *m = r->message;

	return r->kind == FORM_FAILURE && (m->ret == NULL || !ascii_equal(m->ret, "HDRS")) &&
	       m->body_length <= s->max && m->header_length <= s->max - m->body_length;
}

/* A name that can stand in any field. */
static const char *host_of(const struct report_settings *s)
{
	const char *p = s->host != NULL ? s->host : "";

	if (*p == '\0' || strlen(p) > 255)
		return "localhost";
	for (; *p != '\0'; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9')) &&
		    strchr(".-_[]:", *p) == NULL)
			return "localhost";
	return s->host;
}

static void make_marker(struct composer *c)
{
	buf_adds(&c->marker, "=_");
	for (const char *p = c->message->spool_id; *p != '\0' && c->marker.len < 40; p++)
		if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'))
			buf_addc(&c->marker, *p);
	buf_addc(&c->marker, '_');
}

static enum report_result write_all(struct composer *c, const char *subject, const char *from)
{
	bool words8, status8, header8;

	scan(c, buf_str(&c->words), c->words.len);
	scan(c, buf_str(&c->status), c->status.len);
	scan(c, buf_str(&c->header), c->header.len);
	if (c->full && !scan_body(c))
		return REPORT_BODY_UNREADABLE;
	words8 = text_is_eightbit(buf_str(&c->words), c->words.len);
	status8 = text_is_eightbit(buf_str(&c->status), c->status.len);
	header8 = text_is_eightbit(buf_str(&c->header), c->header.len);
	write_header(c, subject, from, words8 || status8 || header8 || c->body_eightbit);
	write_part(c, "text/plain; charset=utf-8", &c->words, words8);
	write_part(c, c->utf8 ? "message/global-delivery-status" : "message/delivery-status", &c->status, status8);
	if (!write_original(c))
		return REPORT_BODY_UNREADABLE;
	write_boundary(c, "--");
	flush(c, 0);
	return c->failed ? REPORT_SINK_FAILED : REPORT_COMPOSED;
}

enum report_result report_compose(const struct report *report, const struct report_settings *settings,
                                  const struct forms *forms, report_sink *sink, void *context, bool *smtputf8,
                                  struct buf *why)
{
	struct composer c = {
		.report = report, .message = report->message, .settings = settings, .host = host_of(settings),
		.utf8 = needs_utf8(report), .full = is_full(report, settings), .sink = sink, .context = context, .why = why,
	};
	struct form form = forms_of(forms, report->kind);
	struct lines lines = { .continuation = "\n" };
	struct buf subject = { 0 }, words = { 0 }, clean = { 0 };
	struct values values;
	enum report_result result;

	make_marker(&c);
	make_values(&c, &values);
	form_fill(&subject, form.subject, values.of);
	text_add_clean(&clean, buf_str(&subject), subject.len, SUBJECT_CAP + 200);
	form_fill(&words, form.text, values.of);
	lines_add(&lines, &c.words, buf_str(&words), words.len);
	lines_end(&lines, &c.words);
	compose_status(&c);
	compose_header(&c);
	result = write_all(&c, buf_str(&clean), buf_str(&values.from));
	*smtputf8 = c.utf8;
	buf_free(&values.sender);
	buf_free(&values.id);
	buf_free(&values.arrival);
	buf_free(&values.until);
	buf_free(&values.from);
	buf_free(&values.recipients);
	free(values.subject);
	buf_free(&subject);
	buf_free(&words);
	buf_free(&clean);
	buf_free(&c.words);
	buf_free(&c.status);
	buf_free(&c.header);
	buf_free(&c.marker);
	buf_free(&c.out);
	return result;
}
