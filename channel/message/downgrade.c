#include "channel/message/downgrade.h"

#include <string.h>
#include <strings.h>

#include "channel/message/mime.h"
#include "channel/message/parameter.h"
#include "channel/message/words.h"
#include "lib/text.h"

enum kind { UNSTRUCTURED, STRUCTURED, PARAMETERS, TRACE };

static enum kind kind_of(const char *name, size_t n)
{
	static const struct { const char *name; enum kind kind; } fields[] = {
		{ "Content-Type", PARAMETERS }, { "Content-Disposition", PARAMETERS }, { "Received", TRACE },
		{ "From", STRUCTURED }, { "Sender", STRUCTURED }, { "Reply-To", STRUCTURED }, { "To", STRUCTURED },
		{ "Cc", STRUCTURED }, { "Bcc", STRUCTURED }, { "Resent-From", STRUCTURED }, { "Resent-Sender", STRUCTURED },
		{ "Resent-Reply-To", STRUCTURED }, { "Resent-To", STRUCTURED }, { "Resent-Cc", STRUCTURED },
		{ "Resent-Bcc", STRUCTURED }, { "Return-Path", STRUCTURED }, { "Errors-To", STRUCTURED },
		{ "Return-Receipt-To", STRUCTURED }, { "Disposition-Notification-To", STRUCTURED },
		{ "Mail-Followup-To", STRUCTURED }, { "Mail-Reply-To", STRUCTURED }, { "Apparently-To", STRUCTURED },
		{ "Delivered-To", STRUCTURED }, { "X-Original-To", STRUCTURED }, { "List-Id", STRUCTURED },
		{ "List-Help", STRUCTURED }, { "List-Subscribe", STRUCTURED }, { "List-Unsubscribe", STRUCTURED },
		{ "List-Post", STRUCTURED }, { "List-Owner", STRUCTURED }, { "List-Archive", STRUCTURED },
		{ "Keywords", STRUCTURED }, { "Date", STRUCTURED }, { "Resent-Date", STRUCTURED },
		{ "Message-ID", STRUCTURED }, { "Resent-Message-ID", STRUCTURED }, { "In-Reply-To", STRUCTURED },
		{ "References", STRUCTURED }, { "MIME-Version", STRUCTURED }, { "Content-ID", STRUCTURED },
		{ "Content-Transfer-Encoding", STRUCTURED }, { "Content-Language", STRUCTURED },
		{ "Auto-Submitted", STRUCTURED },
	};

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		if (strlen(fields[i].name) == n && strncasecmp(fields[i].name, name, n) == 0)
			return fields[i].kind;
	return UNSTRUCTURED;
}

static void add_masked(struct buf *out, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_addc(out, (unsigned char)p[i] > 127 ? '?' : p[i]);
}

static void downgrade_field(struct buf *out, const char *field, size_t n, const char *charset)
{
	const char *colon = memchr(field, ':', n), *value;
	size_t name = colon != NULL ? (size_t)(colon - field) : 0, left;

	while (name > 0 && (field[name - 1] == ' ' || field[name - 1] == '\t'))
		name--;
	value = colon != NULL ? colon + 1 : field;
	left = (size_t)(field + n - value);
	add_masked(out, field, n - left);
	switch (kind_of(field, name)) {
	case UNSTRUCTURED:
		words_unstructured(out, value, left, charset);
		break;
	case STRUCTURED:
		words_structured(out, value, left, charset);
		break;
	case PARAMETERS:
		parameter_downgrade(out, value, left, charset);
		break;
	case TRACE:
		/* no encoded word may stand there (RFC 2047 section 5) */
		add_masked(out, value, left);
		break;
	}
}

void downgrade_header(struct buf *out, const char *p, size_t n, const char *charset)
{
	const char *end = p + n;

	while (p < end) {
		const char *next = mime_end_of_field(p, end);
		size_t length = (size_t)(next - p), lf = next[-1] == '\n';

		if (text_is_eightbit(p, length)) {
			downgrade_field(out, p, length - lf, charset);
			if (lf)
				buf_addc(out, '\n');
		} else {
			buf_add(out, p, length);
		}
		p = next;
	}
}
