#include "channel/submit/handover.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/message/wire.h"
#include "lib/file.h"

#define WORDS_MAX 500

static int lose(struct handover *h, const char *what)
{
	buf_clear(&h->words);
	buf_adds(&h->words, what);
	h->status[0] = '\0';
	return 0;
}

static int lose_by(struct handover *h, int error)
{
	return lose(h, error == EAGAIN ? "it does not answer" : strerror(error));
}

/* The code of the next reply; 0 with `words` if there is none. */
static int take_reply(struct handover *h)
{
	for (;;) {
		size_t used;
		enum reply_result result = reply_parse(&h->parser, buf_str(&h->in), h->in.len, &used);
		ssize_t n;

		buf_consume(&h->in, used);
		if (result == REPLY_GARBAGE)
			return lose(h, "the server's answer is no reply of LMTP");
		if (result == REPLY_READY) {
			buf_clear(&h->words);
			reply_words(&h->parser.reply, &h->words, WORDS_MAX);
			memcpy(h->status, h->parser.reply.status, sizeof h->status);
			return h->parser.reply.code;
		}
		n = read(h->fd, buf_reserve(&h->in, 4096), 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? lose(h, "the server has closed the connection") : lose_by(h, errno);
		h->in.len += (size_t)n;
	}
}

/* Sends h->out and takes the reply. */
static int say(struct handover *h)
{
	bool sent = file_write(h->fd, h->out.data, h->out.len);
	int error = errno;

	buf_clear(&h->out);
	/* a client that gets 421 still hears why */
	if (!sent && error != EPIPE && error != ECONNRESET)
		return lose_by(h, error);
	return take_reply(h);
}

int handover_open(struct handover *h, const char *path, const char *own_name, unsigned seconds)
{
	const struct timeval patience = { .tv_sec = (time_t)seconds };
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	*h = (struct handover){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	/* also for connect(2): a server that hangs may have a full backlog */
	setsockopt(h->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(h->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (strlen(path) >= sizeof address.sun_path)
		errno = ENAMETOOLONG;
	else
		memcpy(address.sun_path, path, strlen(path) + 1);
	if (h->fd < 0 || address.sun_path[0] == '\0' || connect(h->fd, (struct sockaddr *)&address, sizeof address) < 0) {
		int error = errno;

		lose_by(h, error);
		errno = error;
		return error == EAGAIN ? EX_TEMPFAIL : -1;
	}
	if (take_reply(h) / 100 != 2 || !command_line(&h->out, "LHLO", own_name) || say(h) != 250)
		return EX_TEMPFAIL;
	caps_parse(&h->caps, &h->parser.reply, NULL);
	return EX_OK;
}

static int say_command(struct handover *h, enum command_result result)
{
	switch (result) {
	case COMMAND_OK: return say(h);
	case COMMAND_BAD_ADDRESS: lose(h, "this is no address"); break;
	case COMMAND_TOO_LONG: lose(h, "the address is too long"); break;
	case COMMAND_NEEDS_SMTPUTF8: lose(h, "the server takes no address beyond ASCII"); break;
	}
	memcpy(h->status, "5.1.3", sizeof "5.1.3");
	return 553;
}

int handover_mail(struct handover *h, const struct envelope *envelope, bool smtputf8)
{
	return say_command(h, command_mail(&h->out, envelope, &h->caps, smtputf8));
}

int handover_rcpt(struct handover *h, const struct envelope_recipient *recipient)
{
	return say_command(h, command_rcpt(&h->out, recipient, &h->caps));
}

int handover_reset(struct handover *h)
{
	command_line(&h->out, "RSET", NULL);
	return say(h);
}

int handover_text(struct handover *h, const struct buf *text, size_t recipients)
{
	struct wire wire = { 0 };
	struct buf bytes = { 0 }, words = { 0 };
	bool line_start = true, taken = false;
	int code, worst = 0;

	command_line(&h->out, "DATA", NULL);
	code = say(h);
	if (code != 354)
		return code == 0 || code >= 400 ? code : lose(h, "the server sent an unknown reply to DATA");
	wire_add(&wire, &bytes, text->data, text->len);
	wire_end(&wire, &bytes);
	wire_stuff(&line_start, &h->out, bytes.data, bytes.len);
	buf_adds(&h->out, ".\r\n");
	buf_free(&bytes);
	h->in_doubt = true;
	for (size_t i = 0; i < recipients; i++) {
		code = i == 0 ? say(h) : take_reply(h);
		if (code == 0)
			return 0;
		taken = taken || code / 100 == 2;
		if (code > worst) {
			worst = code;
			buf_clear(&words);
			buf_adds(&words, buf_str(&h->words));
		}
	}
	h->in_doubt = taken && worst / 100 != 2;
	buf_clear(&h->words);
	buf_adds(&h->words, buf_str(&words));
	buf_free(&words);
	return worst;
}

void handover_close(struct handover *h)
{
	if (h->fd >= 0)
		close(h->fd);
	reply_parser_free(&h->parser);
	buf_free(&h->in);
	buf_free(&h->out);
	buf_free(&h->words);
}
