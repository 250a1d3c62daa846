#include "channel/server/client.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sysexits.h>

#include "channel/net/tls.h"
#include "channel/queue/unserved.h"
#include "channel/spool/dsn.h"
#include "channel/spool/event.h"
#include "channel/spool/notify.h"
#include "channel/spool/recipient.h"
#include "db/grammar/address.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/listen.h"
#include "lib/log.h"
#include "lib/logline.h"

/* Of a thousand clients each may have so much that waits.  A record of TLS fits, so that none of it is left in OpenSSL. */
#define PIECE (16 * 1024)
/* What is sent at the end may take so long to be taken. */
#define CLOSING_TIME 5000
/* Between two lines about the same trouble with the post office. */
#define TELL_PAUSE 60000

/* What a client waits for, beside itself. */
enum waiting {
	WAITS_FOR_CLIENT,
	WAITS_FOR_MAP,
	WAITS_FOR_DISK,
	WAITS_FOR_TLS,
};

struct client {
	struct intake *intake;
	struct stream stream;
	struct server server;
	struct sockaddr_storage address;
	bool is_local;             /* it is on this machine */
	bool may_connect;          /* without a certificate */
	char *shown;               /* address in words */
	uid_t user;                /* of a UNIX socket: the user that has connected */
	enum waiting waiting;
	struct recipient_answer *accepted;     /* of each accepted recipient of the machine */
	size_t accepted_count, accepted_capacity;
	struct spool_envelope envelope;
	struct pool pool;          /* of the envelope */
	size_t answered, held;     /* bytes of memory: of accepted[], and of all that is under way */
	struct spool_draft *draft;
	int trouble;               /* EX_ code: the message cannot be taken; it is read to its end */
	struct buf why;
	int64_t deadline, message_deadline;
	bool closing, over, gone;
};

/* ---- beginning and end ---- */

static void wait_for_command(struct client *c)
{
	c->deadline = clock_ms() + (int64_t)c->intake->policy.limits[LIMIT_COMMAND_TIME] * 1000;
}

static void flush(struct client *c);

struct client *client_create(struct intake *intake, const struct listener *listener, int fd,
                             const struct sockaddr_storage *address, uid_t user)
{
	struct client *c = xcalloc(1, sizeof *c);
	char text[INET6_ADDRSTRLEN] = "";

	c->intake = intake;
	c->address = *address;
	c->is_local = listener->is_local || policy_is_loopback(address);
	c->user = user;
	c->may_connect = listener->is_local || policy_may_connect(&intake->policy, address);
	c->message_deadline = CLOCK_NEVER;
	stream_open(&c->stream, fd);
	if (c->address.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&c->address)->sin_addr, text, sizeof text);
	if (c->address.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&c->address)->sin6_addr, text, sizeof text);
	if (text[0] == '\0')
		c->shown = xstrdup("local");
	else
		c->shown = xasprintf(c->address.ss_family == AF_INET6 ? "[IPv6:%s]" : "[%s]", text);
	server_init(&c->server, &intake->options[listener->kind], intake->tls != NULL, false);
	intake->figures.connections++;
	if (!c->may_connect && intake->tls == NULL) {
		intake->figures.refused[REFUSED_CLIENT]++;
		buf_clear(&c->server.out);
		server_shut(&c->server, "access denied: this address may not connect");
		c->closing = true;
	}
	wait_for_command(c);
	flush(c);
	return c;
}

static void forget_message(struct client *c)
{
	spool_free(&c->draft);
	for (size_t i = 0; i < c->accepted_count; i++)
		recipient_answer_free(&c->accepted[i]);
	free(c->accepted);
	c->accepted = NULL;
	c->accepted_count = c->accepted_capacity = c->answered = 0;
	pool_free(&c->pool);
	c->envelope = (struct spool_envelope){ 0 };
	c->trouble = EX_OK;
	buf_clear(&c->why);
	c->message_deadline = CLOCK_NEVER;
}

void client_destroy(struct client **at)
{
	struct client *c = *at;

	if (c->waiting == WAITS_FOR_MAP)
		recipients_forget(c->intake->recipients, c);
	forget_message(c);
	stream_close(&c->stream);
	server_free(&c->server);
	c->intake->held -= c->held;
	buf_free(&c->why);
	free(c->shown);
	free(c);
	*at = NULL;
}

int client_descriptor(const struct client *c)
{
	return c->stream.fd;
}

const struct sockaddr_storage *client_address(const struct client *c)
{
	return &c->address;
}

uid_t client_user(const struct client *c)
{
	return c->user;
}

size_t client_held(const struct client *c)
{
	return c->held;
}

bool client_is_over(const struct client *c)
{
	return c->over && c->waiting != WAITS_FOR_DISK;
}

/* ---- MAIL and RCPT ---- */

/* All mail is refused: the log says so now and then. */
static void tell_of_office(struct intake *in, const char *what)
{
	const int64_t now = clock_ms();

	if (in->tell_again > now)
		return;
	complain("%s: %s", in->spool.postoffice, what);
	in->tell_again = now + TELL_PAUSE;
}

/* From now on the log has the next reason at once. */
static void forget_trouble(struct intake *in)
{
	free(in->trouble.reason);
	in->trouble.reason = NULL;
	in->trouble.untold = 0;
}

static void add_untold(struct buf *out, const struct intake *in, const char *before)
{
	if (in->trouble.untold > 0)
		buf_addf(out, "%s%" PRIu64 " more message%s could not be written since the last line about it", before, in->trouble.untold,
		         in->trouble.untold == 1 ? "" : "s");
}

/* A full disk refuses every message: the log has the first one, and one a minute for as long as the reason is the same. */
static void tell_of_trouble(struct intake *in, const char *why)
{
	const int64_t now = clock_ms();
	struct buf line = { 0 }, reason = { 0 };

	/* what names of temporary and message files have of their own are numbers */
	for (const char *c = why; *c != '\0'; c++)
		if (!isdigit((unsigned char)*c))
			buf_addc(&reason, *c);
	if (in->trouble.reason != NULL && strcmp(in->trouble.reason, buf_str(&reason)) == 0 && in->trouble.tell_again > now) {
		in->trouble.untold++;
		buf_free(&reason);
		return;
	}
	buf_adds(&line, why);
	add_untold(&line, in, "; ");
	complain("%s", buf_str(&line));
	buf_free(&line);
	forget_trouble(in);
	in->trouble.reason = xstrdup(buf_str(&reason));
	buf_free(&reason);
	in->trouble.tell_again = now + TELL_PAUSE;
}

void client_tell_untold(struct intake *in)
{
	struct buf line = { 0 };

	add_untold(&line, in, "");
	if (line.len > 0)
		complain("%s: %s", in->spool.postoffice, buf_str(&line));
	buf_free(&line);
	forget_trouble(in);
}

/* Not at once: on a disk that is nearly full a small message can be written and a large one not. */
static void tell_of_room(struct intake *in)
{
	struct buf line = { 0 };

	if (in->trouble.reason == NULL || in->trouble.tell_again > clock_ms())
		return;
	add_untold(&line, in, "; ");
	complain("%s: messages can be written again%s", in->spool.postoffice, buf_str(&line));
	buf_free(&line);
	forget_trouble(in);
}

/* Why no message of so many bytes can be taken now; NULL if there is room. */
static const char *find_no_room(struct intake *in, uint64_t size)
{
	struct statvfs fs;
	uint64_t wanted = in->policy.limits[LIMIT_FREE] * 1000000, there;
	bool few_files;

	if (statvfs(in->spool.postoffice, &fs) < 0) {
		tell_of_office(in, strerror(errno));
		return "the queue cannot be reached now; try again later";
	}
	there = (uint64_t)fs.f_bavail * fs.f_frsize;
	few_files = fs.f_files != 0 && fs.f_favail < in->policy.limits[LIMIT_INODES];
	if (there < wanted || few_files)
		tell_of_office(in, "this disk has less room than -O free= and inodes= ask for; mail is refused until there is more");
	return there < wanted + size || few_files ? "not enough room on the disk; try again later" : NULL;
}

static bool is_address(const char *text)
{
	struct pool pool = { 0 };
	struct address address;
	const char *why;
	bool ok = address_parse(&pool, text, strlen(text), ADDRESS_PLAIN, &address, &why);

	pool_free(&pool);
	return ok;
}

static void mail(struct client *c)
{
	struct server *s = &c->server;
	const char *no_room = find_no_room(c->intake, s->envelope.size);

	forget_message(c);
	if (!c->may_connect && (c->stream.tls == NULL || !tls_verified(c->stream.tls)))
		server_answer(s, 530, "5.7.0", "a client certificate that this server knows is required: STARTTLS first");
	else if (*s->envelope.sender != '\0' && !is_address(s->envelope.sender))
		server_answer(s, 501, "5.1.7", "the sender is no address");
	else if (no_room != NULL)
		server_answer(s, 452, "4.3.1", no_room);
	else
		server_answer(s, 250, "2.1.0", "sender ok");
	c->intake->figures.refused[REFUSED_ROOM] += no_room != NULL;
	if (server_in_transaction(s))
		c->message_deadline = clock_ms() + (int64_t)c->intake->policy.limits[LIMIT_MESSAGE_TIME] * 1000;
}

static bool may_relay(const struct client *c)
{
	switch (c->intake->policy.relay) {
	case RELAY_NOBODY: return false;
	case RELAY_LOCAL: return c->is_local;
	case RELAY_ALL: break;
	}
	return true;
}

/* A destination that cannot be written down is refused here, or the message would be refused for the other recipients, too. */
static bool may_be_queued(const struct recipient_answer *answer, struct buf *why)
{
	for (size_t i = 0; i < answer->count; i++)
		if (!spool_may_hold(&answer->to[i], why))
			return false;
	return true;
}

static void answer_recipient(struct client *c, struct recipient_answer *answer)
{
	struct buf why = { 0 };

	if (answer->code == 250 && answer->elsewhere && !may_relay(c)) {
		c->intake->figures.replies[5]++;
		c->intake->figures.refused[REFUSED_RELAY]++;
		server_answer(&c->server, 550, "5.7.1", "relaying denied: this client may not send to other sites");
		recipient_answer_free(answer);
		return;
	}
	if (answer->code == 250 && !may_be_queued(answer, &why)) {
		complain("%s: %s", c->server.recipient.address, buf_str(&why));
		c->intake->figures.replies[5]++;
		server_answer(&c->server, 550, "5.1.3", buf_str(&why));
		buf_free(&why);
		recipient_answer_free(answer);
		return;
	}
	c->intake->figures.replies[answer->code / 100 % 6]++;
	server_answer(&c->server, answer->code, answer->status, answer->text);
	if (answer->code != 250) {
		recipient_answer_free(answer);
		return;
	}
	c->accepted = xgrow(c->accepted, c->accepted_count, &c->accepted_capacity, sizeof *c->accepted);
	c->accepted[c->accepted_count++] = *answer;
	c->answered += answer->bytes.size + (answer->count + 1) * sizeof *answer->to + sizeof *c->accepted;
}

static void rcpt(struct client *c)
{
	struct recipient_answer answer;

	if (recipients_ask(c->intake->recipients, c->server.recipient.address, c, &answer)) {
		answer_recipient(c, &answer);
	} else {
		c->waiting = WAITS_FOR_MAP;
		c->deadline = CLOCK_NEVER;
	}
}

/* ---- the message ---- */

static int compare_recipients(const void *a, const void *b)
{
	const struct spool_recipient *x = *(const struct spool_recipient *const *)a, *y = *(const struct spool_recipient *const *)b;
	int order = strcmp(x->user, y->user);

	if (order == 0)
		order = strcmp(x->host, y->host);
	if (order == 0)
		order = strcmp(x->channel, y->channel);
	return order != 0 ? order : (x > y) - (x < y);
}

static bool is_same_place(const struct spool_recipient *x, const struct spool_recipient *y)
{
	return strcmp(x->user, y->user) == 0 && strcmp(x->host, y->host) == 0 && strcmp(x->channel, y->channel) == 0;
}

/* The reports that NOTIFY asks for (RFC 3461 section 4.1); without it those of failures and delays. */
static unsigned reports_for(const char *notify)
{
	if (notify == NULL)
		return NOTIFY_FAILURE | NOTIFY_DELAY;
	return (strcasestr(notify, "SUCCESS") != NULL ? NOTIFY_SUCCESS : 0) |
	       (strcasestr(notify, "FAILURE") != NULL ? NOTIFY_FAILURE : 0) | (strcasestr(notify, "DELAY") != NULL ? NOTIFY_DELAY : 0);
}

static const char *make_dsn(struct client *c, const struct server_recipient *r, const char *notify)
{
	const char *sender = c->server.envelope.sender, *text;
	struct buf dsn = { 0 };

	dsn_add(&dsn, notify, r->orcpt, r->address, *sender != '\0' ? sender : NULL);
	text = pool_copy(&c->pool, dsn.data, dsn.len);
	buf_free(&dsn);
	return text;
}

/* A place that two addresses lead to gets one copy: `r` is the first of them, and asks for all `reports` of both. */
static const char *make_common_dsn(struct client *c, const struct server_recipient *r, unsigned reports)
{
	const char *notify = pool_format(&c->pool, "%s%s%s", reports & NOTIFY_SUCCESS ? ",SUCCESS" : "",
	                                 reports & NOTIFY_FAILURE ? ",FAILURE" : "", reports & NOTIFY_DELAY ? ",DELAY" : "");

	return make_dsn(c, r, notify + 1);
}

/* Leaves the first of those that are the same; lists may have many thousands.  `from` is which recipient each comes of. */
static void leave_each_once(struct client *c, struct spool_recipient *list, size_t *count, const struct server_recipient **from)
{
	struct spool_recipient **order = xcalloc(*count + 1, sizeof *order);
	size_t kept = 0, first = 0;

	for (size_t i = 0; i < *count; i++)
		order[i] = &list[i];
	qsort(order, *count, sizeof *order, compare_recipients);
	for (size_t i = 0; i < *count; i = first) {
		const struct server_recipient *r = from[order[i] - list];
		unsigned reports = reports_for(r->notify);

		for (first = i + 1; first < *count && is_same_place(order[i], order[first]); first++) {
			reports |= reports_for(from[order[first] - list]->notify);
			order[first]->user = NULL;
		}
		if (reports != reports_for(r->notify))
			order[i]->dsn = make_common_dsn(c, r, reports);
	}
	for (size_t i = 0; i < *count; i++)
		if (list[i].user != NULL)
			list[kept++] = list[i];
	*count = kept;
	free(order);
}

/* All destinations of the accepted recipients, each once. */
static void add_recipients(struct client *c)
{
	struct spool_recipient *list;
	const struct server_recipient **from;
	size_t room = 0;

	for (size_t i = 0; i < c->accepted_count; i++)
		room += c->accepted[i].count;
	list = pool_alloc(&c->pool, (room + 1) * sizeof *list);
	from = xcalloc(room + 1, sizeof *from);
	c->envelope.recipients = list;
	for (size_t i = 0; i < c->accepted_count; i++) {
		const struct recipient_answer *answer = &c->accepted[i];
		const struct server_recipient *r = &c->server.envelope.recipients[i];
		const char *dsn = make_dsn(c, r, r->notify);

		for (size_t j = 0; j < answer->count; j++) {
			from[c->envelope.recipient_count] = r;
			list[c->envelope.recipient_count] = answer->to[j];
			list[c->envelope.recipient_count++].dsn = dsn;
		}
	}
	leave_each_once(c, list, &c->envelope.recipient_count, from);
	free(from);
}

static void refuse_for(struct client *c, int status)
{
	if (status == EX_DATAERR)
		server_answer(&c->server, 554, "5.6.0", buf_str(&c->why));
	else
		server_answer(&c->server, 452, "4.3.1", "the message cannot be written to the queue now; try again later");
}

static void begin_message(struct client *c)
{
	int status = EX_OK;
	const struct server *s = &c->server;
	const char *sender = s->envelope.sender;
	bool is_null = *sender == '\0';

	c->envelope = (struct spool_envelope){
		.sender_channel = is_null ? "error" : "local", .sender_host = is_null ? "<>" : sender,
		.sender = is_null ? "<>" : sender, .sender_privilege = c->intake->privilege,
		.ret = s->envelope.ret, .envid = s->envelope.envid,
		.client = pool_format(&c->pool, "%s (%s)", s->helo, c->shown), .with = server_with(s),
	};
	add_recipients(c);
	if (find_no_room(c->intake, c->server.envelope.size) != NULL)
		status = EX_CANTCREAT;
	else if (c->envelope.recipient_count > 0)
		status = spool_begin(&c->intake->spool, &c->envelope, &c->draft, &c->why);
	if (status == EX_OK) {
		server_answer(&c->server, 354, "", "end with CR LF . CR LF");
		return;
	}
	if (c->why.len > 0)
		tell_of_trouble(c->intake, buf_str(&c->why));
	refuse_for(c, status);
}

/* After trouble the rest is read and forgotten. */
static void take_text(struct client *c)
{
	c->intake->figures.bytes += c->server.text.len;
	if (c->draft == NULL)
		return;
	c->trouble = spool_add(c->draft, c->server.text.data, c->server.text.len, &c->why);
	if (c->trouble == EX_OK)
		return;
	if (c->trouble != EX_DATAERR)
		tell_of_trouble(c->intake, buf_str(&c->why));
	spool_free(&c->draft);
}

static void end_message(struct client *c)
{
	if (c->draft != NULL) {
		c->trouble = spool_end(c->draft, &c->why);
		if (c->trouble != EX_OK && c->trouble != EX_DATAERR)
			tell_of_trouble(c->intake, buf_str(&c->why));
	}
	if (c->trouble != EX_OK) {
		c->intake->figures.refused[c->trouble == EX_DATAERR ? REFUSED_CONTENT : REFUSED_DISK]++;
		refuse_for(c, c->trouble);
		forget_message(c);
	} else if (c->draft == NULL) {
		server_answer(&c->server, 250, "2.0.0", "discarded, as the maps say");
		forget_message(c);
	} else if (spool_hops(c->draft) > c->intake->policy.limits[LIMIT_HOPS]) {
		c->intake->figures.refused[REFUSED_LOOP]++;
		server_answer(&c->server, 554, "5.4.6", "too many hops: mail loop");
		forget_message(c);
	} else {
		committer_give(c->intake->committer, c->draft, c);
		c->draft = NULL;
		c->waiting = WAITS_FOR_DISK;
		c->deadline = c->message_deadline = CLOCK_NEVER;
	}
}

/* ---- the dialogue ---- */

/* All that can be done with what has come. */
static void work(struct client *c)
{
	while (c->waiting == WAITS_FOR_CLIENT && !c->over) {
		switch (server_next(&c->server)) {
		case SERVER_MORE: return;
		case SERVER_MAIL: mail(c); break;
		case SERVER_RCPT: rcpt(c); break;
		case SERVER_MESSAGE: begin_message(c); break;
		case SERVER_TEXT: take_text(c); break;
		case SERVER_END: end_message(c); break;
		case SERVER_ABANDON: forget_message(c); break;
		case SERVER_STARTTLS:
			server_answer(&c->server, 220, "2.0.0", "go on");
			c->waiting = WAITS_FOR_TLS;
			break;
		case SERVER_CLOSE:
			if (!c->closing)
				c->deadline = clock_ms() + CLOSING_TIME;
			c->closing = true;
			return;
		}
	}
}

static void flush(struct client *c)
{
	struct buf *out = &c->server.out;
	size_t n;

	while (out->len > 0 && !c->gone) {
		enum stream_result result = stream_write(&c->stream, out->data, out->len, &n);

		if (result == STREAM_WAIT_READ || result == STREAM_WAIT_WRITE)
			return;
		if (result != STREAM_OK)
			c->gone = true;
		else
			buf_consume(out, n);
	}
	if (c->gone || c->closing)
		c->over = true;
}

static void handshake(struct client *c)
{
	if (c->server.out.len > 0)
		return;
	if (c->stream.tls == NULL && !stream_accept_tls(&c->stream, c->intake->tls)) {
		complain("client %s: %s", c->shown, buf_str(&c->stream.error));
		c->over = true;
		return;
	}
	switch (stream_handshake(&c->stream)) {
	case STREAM_OK:
		server_encrypted(&c->server);
		c->waiting = WAITS_FOR_CLIENT;
		break;
	case STREAM_WAIT_READ:
	case STREAM_WAIT_WRITE:
		break;
	case STREAM_END:
	case STREAM_ERROR:
		complain("client %s: TLS: %s", c->shown,
		         c->stream.error.len > 0 ? buf_str(&c->stream.error) : "the client has closed");
		c->over = true;
		break;
	}
}

/* Gives back what is not needed while the client is waited for, and counts the rest. */
static void account(struct client *c)
{
	size_t held = server_trim(&c->server) + pool_size(&c->pool) + c->answered + (c->draft != NULL ? spool_held(c->draft) : 0);

	c->intake->held += held - c->held;
	c->held = held;
}

/* Reads only what is used at once: a client that does not take its replies, or waits for one, is not read. */
void client_ready(struct client *c)
{
	flush(c);
	if (c->waiting == WAITS_FOR_TLS)
		handshake(c);
	do {
		size_t commands = c->server.commands, n;
		char bytes[PIECE];

		if (c->waiting != WAITS_FOR_CLIENT || c->over || c->closing || c->server.out.len > 0)
			break;
		switch (stream_read(&c->stream, bytes, sizeof bytes, &n)) {
		case STREAM_OK:
			/* the time of a command begins with its first byte, however slowly the others come */
			if (!server_is_within_command(&c->server))
				wait_for_command(c);
			server_add(&c->server, bytes, n);
			break;
		case STREAM_WAIT_READ:
		case STREAM_WAIT_WRITE:
			break;
		case STREAM_END:
		case STREAM_ERROR:
			/* the client has gone: what it began is forgotten, unless it is on its way to the disk */
			c->gone = true;
			c->over = true;
			spool_free(&c->draft);
			break;
		}
		work(c);
		if (c->server.commands != commands && c->waiting == WAITS_FOR_CLIENT && !c->closing)
			wait_for_command(c);
		flush(c);
	} while (c->stream.more);
	if (c->waiting == WAITS_FOR_TLS && c->stream.tls == NULL)
		handshake(c);
	account(c);
}

short client_events(const struct client *c)
{
	if (c->server.out.len > 0)
		return POLLOUT;
	if (c->waiting == WAITS_FOR_TLS || (c->waiting == WAITS_FOR_CLIENT && !c->closing))
		return POLLIN;
	return 0;
}

int64_t client_deadline(const struct client *c)
{
	return c->deadline < c->message_deadline ? c->deadline : c->message_deadline;
}

static void go_on(struct client *c)
{
	c->waiting = WAITS_FOR_CLIENT;
	wait_for_command(c);
	work(c);
	flush(c);
	account(c);
}

void client_late(struct client *c)
{
	if (c->closing || c->waiting == WAITS_FOR_TLS) {
		c->over = true;
		return;
	}
	if (c->waiting == WAITS_FOR_DISK)
		return;
	if (c->waiting == WAITS_FOR_MAP)
		recipients_forget(c->intake->recipients, c);
	c->intake->figures.refused[REFUSED_TIME]++;
	server_shut(&c->server, "time is up");
	go_on(c);
}

void client_recipient(struct client *c, struct recipient_answer *answer)
{
	if (answer->fault != NULL)
		complain("%s: its lookup %s", c->server.recipient.address, answer->fault);
	answer_recipient(c, answer);
	go_on(c);
}

void client_committed(struct client *c, const struct spool_draft *draft, bool accepted)
{
	if (accepted) {
		char *text = xasprintf("queued as %s", spool_id(draft));
		struct logline line = { 0 };

		tell_of_room(c->intake);
		c->intake->figures.messages++;
		for (size_t i = 0; i < c->envelope.recipient_count; i++)
			unserved_warn(c->envelope.recipients[i].channel, c->envelope.recipients[i].host);
		if (c->intake->verbose || logline_is_heard()) {
			event_queued(&line, c->intake->json, draft, c->shown, server_with(&c->server));
			logline_send(&line);
			if (c->intake->verbose)
				complain("%s", buf_str(&line.text));
			logline_free(&line);
		}
		notify_send(spool_job(draft));
		server_answer(&c->server, 250, "2.0.0", text);
		free(text);
	} else {
		c->intake->figures.refused[REFUSED_DISK]++;
		tell_of_trouble(c->intake, spool_why(draft));
		server_answer(&c->server, 452, "4.3.1", "the message cannot be written to the disk now; try again later");
	}
	forget_message(c);
	go_on(c);
}

void client_shut(struct client *c, const char *text)
{
	if (c->waiting == WAITS_FOR_DISK || c->closing)
		return;
	/* no word can be said in the middle of a handshake */
	if (c->waiting == WAITS_FOR_TLS) {
		c->over = true;
		return;
	}
	if (c->waiting == WAITS_FOR_MAP)
		recipients_forget(c->intake->recipients, c);
	server_shut(&c->server, text);
	go_on(c);
}

void client_drop(struct client *c, const char *text)
{
	client_shut(c, text);
	if (c->waiting == WAITS_FOR_DISK)
		return;
	forget_message(c);
	c->over = true;
	account(c);
}
