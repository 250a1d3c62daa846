/*
 * report: composes the report that standard input describes.  Lines NAME=VALUE, "%XX" in a value stands for a byte:
 * kind, to, now, offset, sender, envid, ret, id, arrival, host, from, postmaster, max, form (text of one), body-fails,
 * room, conf; "recipient" begins the next one: address, orcpt, given, action, status, remote, diagnostic, notary, attempt, until.
 * Behind an empty line the message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/report/report.h"
#include "lib/alloc.h"

static struct report_recipient recipients[100000];
static struct report_message message = { .sender = "<>", .spool_id = "S1", .arrival = 1790000000 };
static struct report report = {
	.to = "ann@example.org", .now = 1790003600, .message = &message, .recipients = recipients,
};
static struct report_settings settings;
static struct forms forms;
static const char *body;
static bool body_fails;
static size_t room = SIZE_MAX;

static size_t decode(char *line)
{
	char *to = line;

	for (char *from = line; *from != '\0'; from++) {
		unsigned byte;

		if (*from == '%' && sscanf(from + 1, "%2x", &byte) == 1) {
			*to++ = (char)byte;
			from += 2;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
	return (size_t)(to - line);
}

static bool piece_of_body(void *context, uint64_t at, struct buf *piece, struct buf *why)
{
	size_t left = message.body_length - at;

	(void)context;
	buf_clear(piece);
	if (body_fails) {
		buf_adds(why, "the disk is on fire");
		return false;
	}
	return buf_add(piece, body + at, left < 997 ? left : 997);
}

static bool to_stdout(void *context, const char *bytes, size_t n)
{
	(void)context;
	if (n > room)
		return false;
	room -= n;
	return fwrite(bytes, 1, n, stdout) == n;
}

static void set_recipient(const char *name, char *value)
{
	static const char *const actions[] = { "failed", "delayed", "delivered", "relayed", "expanded" };
	struct report_recipient *r = &recipients[report.count - 1];

	if (strcmp(name, "address") == 0)
		r->address = value;
	else if (strcmp(name, "orcpt") == 0)
		r->orcpt = value;
	else if (strcmp(name, "given") == 0)
		r->given = value;
	else if (strcmp(name, "status") == 0)
		r->status = value;
	else if (strcmp(name, "remote") == 0)
		r->remote = value;
	else if (strcmp(name, "diagnostic") == 0)
		r->diagnostic = value;
	else if (strcmp(name, "notary") == 0)
		report_from_notary(r, value);
	else if (strcmp(name, "attempt") == 0)
		r->last_attempt = atoll(value);
	else if (strcmp(name, "until") == 0)
		r->retry_until = atoll(value);
	else
		for (int i = 0; i < 5; i++)
			if (strcmp(actions[i], value) == 0)
				r->action = (enum report_action)i;
}

static void set_form(const char *text, size_t n)
{
	struct buf why = { 0 };

	if (!form_parse(&forms, report.kind, text, n, &why))
		fprintf(stderr, "%s\n", buf_str(&why));
	buf_free(&why);
}

static void set_conf(const char *text, size_t n)
{
	struct buf why = { 0 };

	if (!report_settings_parse(&settings, "router.conf", text, n, &why))
		fprintf(stderr, "%s\n", buf_str(&why));
	buf_free(&why);
}

static void set(const char *name, char *value, size_t n)
{
	if (strcmp(name, "kind") == 0) {
		for (int i = 0; i < FORM_KINDS; i++)
			if (strcmp(form_kind_name((enum form_kind)i), value) == 0)
				report.kind = (enum form_kind)i;
	} else if (strcmp(name, "to") == 0) {
		report.to = value;
	} else if (strcmp(name, "now") == 0) {
		report.now = atoll(value);
	} else if (strcmp(name, "offset") == 0) {
		report.utc_offset = atol(value);
	} else if (strcmp(name, "sender") == 0) {
		message.sender = value;
	} else if (strcmp(name, "envid") == 0) {
		message.envid = value;
	} else if (strcmp(name, "ret") == 0) {
		message.ret = value;
	} else if (strcmp(name, "id") == 0) {
		message.spool_id = value;
	} else if (strcmp(name, "arrival") == 0) {
		message.arrival = atoll(value);
	} else if (strcmp(name, "host") == 0) {
		free(settings.host);
		settings.host = xstrdup(value);
	} else if (strcmp(name, "from") == 0) {
		settings.from = value;
	} else if (strcmp(name, "postmaster") == 0) {
		settings.postmaster = value;
	} else if (strcmp(name, "max") == 0) {
		settings.max = strtoull(value, NULL, 10);
	} else if (strcmp(name, "form") == 0) {
		set_form(value, n);
	} else if (strcmp(name, "conf") == 0) {
		set_conf(value, n);
	} else if (strcmp(name, "body-fails") == 0) {
		body_fails = true;
	} else if (strcmp(name, "room") == 0) {
		room = strtoul(value, NULL, 10);
	} else if (strcmp(name, "recipient") == 0) {
		recipients[report.count++].address = "";
	} else {
		set_recipient(name, value);
	}
}

int main(void)
{
	static const char *const results[] = { "composed", "body unreadable", "sink failed" };
	static struct buf in, why;
	char bytes[4096], *p, *end;
	size_t n;
	bool smtputf8 = false;
	enum report_result result;

	while ((n = fread(bytes, 1, sizeof bytes, stdin)) > 0)
		buf_add(&in, bytes, n);
	report_settings_init(&settings, "mail.example.org");
	for (p = in.data; *p != '\n'; p = end + 1) {
		char *equals;

		end = strchr(p, '\n');
		*end = '\0';
		equals = strchr(p, '=');
		if (equals != NULL)
			*equals = '\0';
		n = equals != NULL ? decode(equals + 1) : 0;
		set(p, equals != NULL ? equals + 1 : end, n);
	}
	message.header = p + 1;
	for (body = p + 1; body < in.data + in.len && *body != '\n'; body++)
		body = memchr(body, '\n', (size_t)(in.data + in.len - body));
	message.header_length = (size_t)(body - message.header);
	body += body < in.data + in.len;
	message.body_length = (size_t)(in.data + in.len - body);
	message.body = piece_of_body;
	result = report_compose(&report, &settings, &forms, to_stdout, NULL, &smtputf8, &why);
	fprintf(stderr, "%s%s%s%s\n", results[result], smtputf8 ? ", smtputf8" : "", why.len > 0 ? ": " : "", buf_str(&why));
	return 0;
}
