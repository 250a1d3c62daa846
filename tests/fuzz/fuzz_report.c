/*
 * Hostile addresses, answers and headers: fields between bytes 0x01 become a report and the message it is on.  No line
 * is too long, no CR and no NUL comes through, the boundary stands where it must and nowhere else, and no header has a
 * field that is not ours.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/report/report.h"
#include "lib/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS 12

static const char *body;

static bool piece_of_body(void *context, uint64_t at, struct buf *piece, struct buf *why)
{
	size_t left = *(size_t *)context - at;

	(void)why;
	buf_clear(piece);
	return buf_add(piece, body + at, left < 7 ? left : 7);
}

static bool collect(void *context, const char *bytes, size_t n)
{
	return buf_add(context, bytes, n);
}

static void must(bool good)
{
	if (!good)
		abort();
}

static void check_lines(const struct buf *text)
{
	size_t column = 0;

	for (size_t i = 0; i < text->len; i++) {
		must(text->data[i] != '\r' && text->data[i] != '\0');
		column = text->data[i] == '\n' ? 0 : column + 1;
		must(column <= 998);
	}
	must(text->len > 0 && column == 0);
}

static void check_header(const char *p)
{
	static const char *const names[] = {
		"From: ", "To: ", "Subject: ", "Date: ", "Message-ID: ", "In-Reply-To: ", "References: ", "Auto-Submitted: ",
		"MIME-Version: ", "Content-Type: ", "Content-Transfer-Encoding: ", " ", "\t",
	};

	for (; *p != '\n'; p = strchr(p, '\n') + 1) {
		bool known = false;

		for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
			known |= strncmp(p, names[i], strlen(names[i])) == 0;
		must(known);
	}
}

static void check_boundary(const struct buf *text)
{
	const char *p = strstr(text->data, "boundary=\"");
	size_t n, count = 0;
	char *boundary;

	must(p != NULL);
	n = strcspn(p + 10, "\"");
	boundary = xstrndup(p + 10, n);
	for (p = strstr(text->data, "\n\n"); (p = strstr(p, boundary)) != NULL; p += n)
		count++;
	must(count == 4);
	free(boundary);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct report_settings settings;
	struct forms forms = { 0 };
	struct buf text = { 0 }, why = { 0 };
	char *copy = xstrndup((const char *)data, size), *fields[FIELDS], *p = copy;
	struct report_recipient recipients[2] = { { 0 }, { 0 } };
	struct report_message message = { .body = piece_of_body };
	struct report report = { .message = &message, .recipients = recipients, .count = 2 };
	size_t body_length;
	bool smtputf8;

	for (size_t i = 0; i < FIELDS; i++) {
		size_t n = strcspn(p, "\001");

		fields[i] = p;
		p += n;
		if (*p != '\0')
			*p++ = '\0';
	}
	body = p;
	body_length = message.body_length = strlen(p);
	message.body_context = &body_length;
	report_settings_init(&settings, fields[0]);
	report.kind = (enum form_kind)((size > 0 ? data[0] : 0) % FORM_KINDS);
	report.to = fields[1];
	message.sender = fields[2];
	message.envid = fields[3];
	message.spool_id = fields[4];
	message.header = fields[5];
	message.header_length = strlen(fields[5]);
	recipients[0] = (struct report_recipient){ .address = fields[6], .orcpt = fields[7], .status = fields[8],
		.remote = fields[9], .diagnostic = fields[10], .last_attempt = 1, .retry_until = 2 };
	recipients[1] = (struct report_recipient){ .address = fields[2], .given = fields[7], .action = REPORT_DELAYED };
	form_parse(&forms, report.kind, fields[11], strlen(fields[11]), &why);
	must(report_compose(&report, &settings, &forms, collect, &text, &smtputf8, &why) == REPORT_COMPOSED);
	check_lines(&text);
	check_header(text.data);
	check_boundary(&text);
	forms_free(&forms);
	report_settings_free(&settings);
	buf_free(&text);
	buf_free(&why);
	free(copy);
	return 0;
}
