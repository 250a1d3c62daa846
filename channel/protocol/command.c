#include "channel/protocol/command.h"

#include <string.h>

#include "lib/text.h"

/* RFC 3461 sections 4.4 and 4.2: a server may refuse the recipient for a longer one, which only names things. */
#define ENVID_MAX 100
#define ORCPT_MAX 500

bool command_is_8bit(const char *address)
{
	for (; *address != '\0'; address++)
		if ((unsigned char)*address > 127)
			return true;
	return false;
}

/*
 * A path must not end the angle brackets early or start a parameter: outside
 * quotes neither blank nor bracket may stand in it.
 */
static bool is_path(const char *address)
{
	bool quoted = false;

	if (text_has_controls(address, strlen(address)))
		return false;
	for (; *address != '\0'; address++) {
		if (*address == '\\') {
			/* nor may it take the closing bracket for its own */
			if (*++address == '\0' || (!quoted && strchr(" <>", *address) != NULL))
				return false;
		} else if (*address == '"')
			quoted = !quoted;
		else if (!quoted && (*address == ' ' || *address == '<' || *address == '>'))
			return false;
	}
	return !quoted;
}

/* A value of a parameter: xtext or keyword, so printable ASCII without blanks. */
static bool is_value(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 127)
			return false;
	return true;
}

/* Cuts `out` back to `start` if the line that begins there is too long. */
static enum command_result end_line(struct buf *out, size_t start)
{
	if (out->len - start > COMMAND_MAX) {
		out->len = start;
		out->data[start] = '\0';
		return COMMAND_TOO_LONG;
	}
	buf_adds(out, "\r\n");
	return COMMAND_OK;
}

/* Better without what stands behind `plain`, which only names things, than not at all. */
static void drop_if_long(struct buf *out, size_t start, size_t plain)
{
	if (out->len - start > COMMAND_MAX) {
		out->len = plain;
		out->data[plain] = '\0';
	}
}

static void add_path(struct buf *out, const char *command, const char *address)
{
	buf_adds(out, command);
	text_add_address(out, address);
	buf_addc(out, '>');
}

enum command_result command_mail(struct buf *out, const struct envelope *e, const struct caps *caps, bool smtputf8)
{
	size_t start = out->len, plain;

	if (!is_path(e->sender))
		return COMMAND_BAD_ADDRESS;
	add_path(out, "MAIL FROM:<", e->sender);
	if ((caps->has & CAP_8BITMIME) && e->eightbit)
		buf_adds(out, " BODY=8BITMIME");
	if (caps->has & CAP_SIZE) {
		buf_adds(out, " SIZE=");
		buf_addu(out, e->size);
	}
	if (smtputf8)
		buf_adds(out, " SMTPUTF8");
	if ((caps->has & CAP_DELIVERBY) && e->by != NULL && is_value(e->by))
		buf_addf(out, " BY=%s", e->by);
	if ((caps->has & CAP_DSN) && e->ret != NULL)
		buf_addf(out, " RET=%s", e->ret);
	plain = out->len;
	if ((caps->has & CAP_DSN) && e->envid != NULL && is_value(e->envid) && strlen(e->envid) <= ENVID_MAX)
		buf_addf(out, " ENVID=%s", e->envid);
	drop_if_long(out, start, plain);
	return end_line(out, start);
}

/* ORCPT=type;address, made from the address itself where nothing better came along (RFC 3461 section 4.2). */
static void add_orcpt(struct buf *out, const struct envelope_recipient *r)
{
	size_t start = out->len;
	struct buf address = { 0 };

	if (r->orcpt != NULL) {
		if (is_value(r->orcpt) && strchr(r->orcpt, ';') != NULL && strlen(r->orcpt) <= ORCPT_MAX)
			buf_addf(out, " ORCPT=%s", r->orcpt);
		return;
	}
	if (command_is_8bit(r->address))
		return;
	buf_adds(out, " ORCPT=rfc822;");
	text_add_address(&address, r->address);
	for (const char *p = buf_str(&address); *p != '\0'; p++) {
		size_t n = 0;

		while (p[n] > ' ' && p[n] != '+' && p[n] != '=')
			n++;
		buf_add(out, p, n);
		p += n;
		if (*p == '\0')
			break;
		buf_addf(out, "+%02X", (unsigned char)*p);
	}
	buf_free(&address);
	if (out->len - start > strlen(" ORCPT=") + ORCPT_MAX) {
		out->len = start;
		out->data[start] = '\0';
	}
}

enum command_result command_rcpt(struct buf *out, const struct envelope_recipient *r, const struct caps *caps)
{
	size_t start = out->len, plain;

	if (*r->address == '\0' || !is_path(r->address))
		return COMMAND_BAD_ADDRESS;
	if (command_is_8bit(r->address) && !(caps->has & CAP_SMTPUTF8))
		return COMMAND_NEEDS_SMTPUTF8;
	add_path(out, "RCPT TO:<", r->address);
	if ((caps->has & CAP_DSN) && r->notify != NULL)
		buf_addf(out, " NOTIFY=%s", r->notify);
	if ((caps->has & CAP_IGNOREQUOTA) && r->ignore_quota)
		buf_adds(out, " IGNOREQUOTA");
	plain = out->len;
	if (caps->has & CAP_DSN)
		add_orcpt(out, r);
	drop_if_long(out, start, plain);
	return end_line(out, start);
}

bool command_line(struct buf *out, const char *verb, const char *argument)
{
	size_t start = out->len;

	if (text_has_controls(verb, strlen(verb)) || (argument != NULL && text_has_controls(argument, strlen(argument))))
		return false;
	buf_addf(out, "%s%s%s", verb, argument ? " " : "", argument ? argument : "");
	return end_line(out, start) == COMMAND_OK;
}
