#include "channel/queue/failure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/spool/report_due.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/publish.h"
#include "lib/text.h"

/* A labelled line; nothing if there is nothing to say. */
static void line_add(struct buf *out, const char *label, const char *text, size_t n)
{
	if (n == 0)
		return;
	buf_addf(out, "%-12s", label);
	text_add_clean(out, text, n, 4000);
	buf_addc(out, '\n');
}

/* NOTARY: recipient, action, status, diagnostic, remote, agent. */
static void diagnostic_add(struct buf *out, const struct control_diagnostic *d)
{
	static const char *const labels[] = { NULL, NULL, "Status:", "Answer:", "Server:", NULL };
	const char *field = d->notary;

	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
		size_t n = strcspn(field, "\001");

		if (labels[i] != NULL)
			line_add(out, labels[i], field, n);
		field += n + (field[n] != '\0');
	}
	buf_addf(out, "%-12s", "Time:");
	text_add_date(out, d->time);
	buf_addc(out, '\n');
	/* lines divided by CR, indented */
	for (const char *text = d->text; *text != '\0';) {
		size_t n = strcspn(text, "\r\n");

		if (n > 0) {
			buf_adds(out, "    ");
			text_add_clean(out, text, n, 4000);
			buf_addc(out, '\n');
		}
		text += n + (text[n] != '\0');
	}
}

static void recipient_add(struct buf *out, const struct control_recipient *r, const struct control_diagnostic *d)
{
	buf_addc(out, '\n');
	line_add(out, "Recipient:", r->user, strlen(r->user));
	buf_addf(out, "%-12s", "Channel:");
	text_add_clean_string(out, r->channel, 200);
	buf_adds(out, ", host ");
	text_add_clean_string(out, r->host, 500);
	buf_addc(out, '\n');
	if (r->orcpt != NULL)
		line_add(out, "Original:", r->orcpt, strlen(r->orcpt));
	if (d != NULL)
		diagnostic_add(out, d);
	else
		buf_adds(out, "Status:     the agent has written down no reason\n");
}

bool failure_write(const char *directory, const struct control *control, const char *spoolid,
                   const struct stat *message, struct buf *why)
{
	char *path = xasprintf("%s/%s.failed", directory, spoolid), *inside = xasprintf("%s/.", directory);
	struct buf text = { 0 };
	struct publish p;
	bool ok;
	size_t header = CONTROL_NONE;
	const struct control_diagnostic **last = control_last_diagnostics(control);

	buf_adds(&text, "This mail could not be delivered to the recipients below.\n\n");
	line_add(&text, "Message:", spoolid, strlen(spoolid));
	line_add(&text, "Spool name:", control->name, strlen(control->name));
	if (control->log_ident != NULL)
		line_add(&text, "Message-ID:", control->log_ident, strlen(control->log_ident));
	if (control->envid != NULL)
		line_add(&text, "Envelope id:", control->envid, strlen(control->envid));
	if (control->sender_count > 0)
		line_add(&text, "Sender:", control->senders[0].user, strlen(control->senders[0].user));
	buf_addf(&text, "%-12s", "Queued:");
	text_add_date(&text, message->st_mtime);
	buf_addc(&text, '\n');
	for (size_t i = 0; i < control->recipient_count; i++) {
		if (!report_due_failure(control, &control->recipients[i]))
			continue;
		if (header == CONTROL_NONE)
			header = control->recipients[i].header;
		recipient_add(&text, &control->recipients[i], last[i]);
	}
	if (header != CONTROL_NONE) {
		buf_adds(&text, "\nThe header of the message:\n\n");
		text_add_clean_lines(&text, "    ", control->headers[header].text, control->headers[header].length, 4000);
	}
	free(last);
	/* for the owner of the post office to read */
	file_as_owner(inside);
	ok = publish_begin_found(&p, path, 0640) && file_write(p.fd, text.data, text.len) && publish_commit(&p);
	if (!ok)
		buf_addf(why, "cannot write %s: %s", path, file_error(errno));
	publish_abort(&p);
	file_as_oneself();
	buf_free(&text);
	free(inside);
	free(path);
	return ok;
}
