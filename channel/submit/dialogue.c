#include "channel/submit/dialogue.h"

#include <errno.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/protocol/server.h"
#include "channel/submit/handover.h"
#include "lib/file.h"
#include "lib/log.h"

/* What stands for "no limit": the intake has its own. */
#define ANY_NUMBER 1000000
#define RECIPIENTS 1000

struct dialogue {
	struct server server;
	struct handover intake;
	struct buf text;           /* of the message that is coming */
	bool begun;                /* the intake has a sender */
};

/* The intake's reply is ours; where there is none, 451. */
static void pass_on(struct dialogue *d, int code)
{
	const char *status = d->intake.status;

	if (code == 0)
		server_answer(&d->server, 451, "4.3.0", buf_str(&d->intake.words));
	else
		server_answer(&d->server, code,
		              *status != '\0' ? status : code < 300 ? "2.0.0" : code < 500 ? "4.0.0" : "5.0.0",
		              buf_str(&d->intake.words));
}

static void mail(struct dialogue *d)
{
	const struct server_envelope *e = &d->server.envelope;
	const struct envelope envelope = {
		.sender = e->sender, .eightbit = e->eightbit, .size = e->size, .envid = e->envid, .ret = e->ret,
	};

	if (d->begun)
		handover_reset(&d->intake);
	d->begun = true;
	pass_on(d, handover_mail(&d->intake, &envelope, e->smtputf8));
}

/* All that can be done with what has come.  False at the end. */
static bool work(struct dialogue *d)
{
	const struct server_recipient *r = &d->server.recipient;
	struct envelope_recipient to;

	for (;;) {
		switch (server_next(&d->server)) {
		case SERVER_MORE: return true;
		case SERVER_MAIL: mail(d); break;
		case SERVER_RCPT:
			to = (struct envelope_recipient){ .address = r->address, .notify = r->notify, .orcpt = r->orcpt };
			pass_on(d, handover_rcpt(&d->intake, &to));
			break;
		case SERVER_MESSAGE:
			buf_clear(&d->text);
			server_answer(&d->server, 354, "", "end with CR LF . CR LF");
			break;
		case SERVER_TEXT: buf_add(&d->text, d->server.text.data, d->server.text.len); break;
		case SERVER_END: pass_on(d, handover_text(&d->intake, &d->text, d->server.envelope.count)); break;
		case SERVER_ABANDON: buf_clear(&d->text); break;
		case SERVER_STARTTLS: server_answer(&d->server, 454, "4.7.0", "there is no TLS here"); break;
		case SERVER_CLOSE: return false;
		}
	}
}

int dialogue_run(const char *path, const char *own_name, int in, int out)
{
	struct dialogue d = { 0 };
	int status = handover_open(&d.intake, path, own_name, HANDOVER_PATIENCE);
	struct server_options options = {
		.protocol = SERVER_SMTP, .host = own_name, .max_size = d.intake.caps.size_max,
		.max_recipients = d.intake.caps.rcpt_max != 0 ? d.intake.caps.rcpt_max : RECIPIENTS, .max_commands = ANY_NUMBER,
		.max_errors = ANY_NUMBER, .pipe = true,
	};
	bool open = status == EX_OK;
	char bytes[4096];
	ssize_t n;

	server_init(&d.server, &options, false, false);
	if (!open) {
		status = EX_TEMPFAIL;
		buf_clear(&d.server.out);
		server_shut(&d.server, "the intake of this machine does not answer; try again later");
	}
	while (file_write(out, d.server.out.data, d.server.out.len) && open) {
		buf_clear(&d.server.out);
		n = read(in, bytes, sizeof bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		server_add(&d.server, bytes, (size_t)n);
		open = work(&d);
	}
	if (status == EX_OK && open && d.server.begun) {
		complain("the input ended within a message, which was not taken; its end is CR LF . CR LF");
		status = EX_DATAERR;
	}
	server_free(&d.server);
	handover_close(&d.intake);
	buf_free(&d.text);
	return status;
}
