#include "channel/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

/* Stands in the protocol log for what only the two ends may know. */
#define HIDDEN "(hidden)"
/* The longest of our responses in AUTH, base64 of two secrets (channel/net/secrets.h). */
#define OPENING_OUT_SIZE ((size_t)3 * SECRET_WORD_MAX)
#define READ_SIZE ((size_t)64 * 1024)
/* Content is put into the output up to here, then written. */
#define OUTPUT_HIGH ((size_t)256 * 1024)

void session_init(struct session *s, const struct session_options *options, const struct session_owner *owner)
{
	*s = (struct session){ .options = options, .owner = owner, .stream = { .fd = -1 } };
}

/* ---- the end of a connection ---- */

/* Everything that belongs to one connection goes; what belongs to the peer stays. */
static void close_connection(struct session *s)
{
	if (s->state == SESSION_CONNECTING)
		connect_stop(&s->connecting);
	if (s->stream.fd >= 0) {
		transcript_addf(s->options->transcript, "closing connection");
		stream_close(&s->stream);
	}
	if (s->state == SESSION_READY)
		dialogue_free(&s->dialogue);
	opening_free(&s->opening);
	buf_wipe(&s->opening_out);
	sasl_run_destroy(&s->auth_run);
	reply_parser_free(&s->parser);
	addresses_release(&s->addresses);
	s->state = SESSION_CLOSED;
	s->readable = s->write_blocked = s->read_wants_write = s->write_wants_read = s->closing = false;
	s->handshaking = s->unauthenticated = false;
	s->transactions = 0;
}

void session_free(struct session *s)
{
	close_connection(s);
	buf_free(&s->connecting.why);
	buf_free(&s->tls_words);
	buf_free(&s->remote);
	source_free(&s->source);
}

/* ---- what the machine wants done ---- */

static void take_actions(struct session *s)
{
	struct action a;

	while (dialogue_action(&s->dialogue, &a)) {
		switch (a.kind) {
		case ACTION_SETTLED:
			s->unauthenticated |= a.result.remote && policy_wants_authentication(a.result.code);
			s->owner->settled(s->owner->context, s, a.transaction, a.recipient, &a.result);
			break;
		case ACTION_CONTENT:
			s->owner->content(s->owner->context, a.transaction, &s->source);
			break;
		case ACTION_DONE:
			s->owner->done(s->owner->context, s, a.transaction);
			s->since = s->dialogue.now;
			break;
		case ACTION_CLOSE:
			transcript_addf(s->options->transcript, "%s", a.why);
			/* a peer that got out of step is talked to one message at a time from now on */
			if (s->trust.careful && !s->peer->careful) {
				s->peer->careful = true;
				complain("%s: out of step with the server, nothing is sent ahead of its replies any more: %s",
				         s->peer->target->text, a.why);
			}
			s->closing = true;
			break;
		}
	}
}

/* ---- getting ready ---- */

/* No connection, or none that can be used: the transaction that waited for it is deferred, or waits for another session. */
static void fail_opening(struct session *s, enum stage stage, int code, const char *status, const char *words)
{
	struct peer *peer = s->peer;
	struct transaction *t = s->waiting;
	bool failed = true;

	transcript_addf(s->options->transcript, "%s: %s", stage_name(stage), words);
	buf_clear(&peer->failure_words);
	buf_adds(&peer->failure_words, words);
	/* mostly configuration trouble: the postmaster must see whose, and at which step */
	if (stage >= STAGE_GREETING && stage <= STAGE_AUTH)
		buf_addf(&peer->failure_words, " (%s at %s)", stage == STAGE_STARTTLS ? "TLS" : stage_name(stage),
		         peer->target->text);
	strncpy(peer->failure_status, status, sizeof peer->failure_status - 1);
	peer->failure = (struct result){
		.outcome = OUTCOME_DEFERRED,
		.stage = stage,
		.code = code,
		.status = peer->failure_status,
		.words = buf_str(&peer->failure_words),
		.remote = code != 0,
		/* what we gave up ourselves says nothing about it */
		.destination = stage != STAGE_LOCAL,
	};
	if (stage != STAGE_LOCAL) {
		s->options->tally->refused++;
		s->options->tally->changed = true;
	}
	/* another address may be the right one next time */
	target_forget(peer->target, s->addresses);
	s->waiting = NULL;
	close_connection(s);
	if (s->owner->unreachable != NULL && stage != STAGE_LOCAL)
		failed = s->owner->unreachable(s->owner->context, s);
	peer->failed = failed;
	for (size_t i = 0; i < t->count; i++) {
		if (t->recipients[i].outcome != OUTCOME_NONE)
			continue;
		if (failed)
			s->owner->settled(s->owner->context, s, t, i, &peer->failure);
		else
			t->recipients[i].later = true;
	}
	s->owner->done(s->owner->context, s, t);
}

/* The machine goes with the connection; what it has found out must not. */
static void opening_failed(struct session *s)
{
	struct opening *o = &s->opening;
	struct buf words = o->why;
	char status[sizeof o->status];

	o->why = (struct buf){ 0 };
	memcpy(status, o->status, sizeof status);
	fail_opening(s, o->stage, o->code, status, buf_str(&words));
	buf_free(&words);
}

/* ---- TLS ---- */

static void tls_failed(struct session *s, const char *why)
{
	struct buf words = { 0 };

	s->options->tally->tls_failed++;
	buf_addf(&words, "TLS: %s", why);
	fail_opening(s, STAGE_STARTTLS, 0, "4.7.5", buf_str(&words));
	buf_free(&words);
}

static void continue_handshake(struct session *s)
{
	struct peer *peer;

	s->read_wants_write = false;
	switch (stream_handshake(&s->stream)) {
	case STREAM_OK:
		/* the identity of the peer is recorded; the postmaster hears of a password for a server that is not verified */
		peer = s->peer;
		s->handshaking = false;
		s->since = clock_ms();
		if (tls_resumed(s->stream.tls))
			s->options->tally->tls_resumed++;
		else
			s->options->tally->tls_full++;
		tls_describe(s->stream.tls, &s->tls_words);
		transcript_addf(s->options->transcript, "TLS: %s", buf_str(&s->tls_words));
		if (s->auth_run != NULL && !peer->unverified_said && !tls_verified(s->stream.tls) && !s->local) {
			complain("%s gets the password although its certificate is not verified: %s", peer->target->text,
			         buf_str(&s->tls_words));
			peer->unverified_said = true;
		}
		if (s->opening.stage == STAGE_STARTTLS && opening_encrypted(&s->opening, &s->opening_out) == OPENING_FAILED)
			opening_failed(s);
		break;
	case STREAM_WAIT_READ:
		break;
	case STREAM_WAIT_WRITE:
		s->read_wants_write = true;
		break;
	case STREAM_END:
		tls_failed(s, "the server closed the connection during the handshake");
		break;
	case STREAM_ERROR: {
		struct buf why = { 0 };

		buf_addf(&why, "handshake: %s", buf_str(&s->stream.error));
		tls_failed(s, buf_str(&why));
		buf_free(&why);
		break;
	}
	}
}

static void start_tls(struct session *s)
{
	const char *name = security_name(s->peer->target);
	struct buf why = { 0 };
	struct tls *tls = security_tls(s->options->security, &why);

	s->since = clock_ms();
	s->handshaking = true;
	if (tls != NULL && stream_start_tls(&s->stream, tls, &s->peer->tls, name)) {
		continue_handshake(s);
		return;
	}
	buf_adds(&why, buf_str(&s->stream.error));
	tls_failed(s, buf_str(&why));
	buf_free(&why);
}

/* ---- connecting ---- */

static void connected(struct session *s, int fd)
{
	struct opening_demands demands;
	struct sockaddr_storage a;
	socklen_t length;
	const struct target *t;

	stream_open(&s->stream, fd);
	length = sizeof a;
	t = s->peer->target;
	buf_clear(&s->remote);
	s->local = t->kind == TARGET_UNIX;
	if (t->kind == TARGET_UNIX)
		buf_addf(&s->remote, " (UNIX:%s|UNKNOWN-LOCAL-ADDRESS)", t->name);
	else {
		if (t->kind == TARGET_NAME)
			buf_addf(&s->remote, "dns; %s (", t->name);
		else
			buf_addf(&s->remote, "X-IP-addr; [%s] (", t->name);
		if (getpeername(s->stream.fd, (struct sockaddr *)&a, &length) == 0) {
			target_format_address((struct sockaddr *)&a, length, &s->remote);
			s->local = address_is_local((struct sockaddr *)&a);
		}
		buf_addc(&s->remote, '|');
		length = sizeof a;
		if (getsockname(s->stream.fd, (struct sockaddr *)&a, &length) == 0)
			target_format_address((struct sockaddr *)&a, length, &s->remote);
		buf_addc(&s->remote, ')');
	}
	demands = security_demands(s->options->security, s->peer->target, s->local, s->auth_run, &s->auth);
	transcript_addf(s->options->transcript, "connected to %s", s->peer->target->text);
	opening_init(&s->opening, &s->options->opening, &demands);
	/* in one piece: what is sent there has to be wiped */
	buf_reserve(&s->opening_out, OPENING_OUT_SIZE);
	s->state = SESSION_OPENING;
	s->since = s->opened_at = clock_ms();
	/* the greeting may be there already */
	s->readable = true;
	if (demands.encrypted)
		start_tls(s);
}

static void take_connect_state(struct session *s, enum connect_state state, int fd)
{
	switch (state) {
	case CONNECT_GOING_ON:
		break;
	case CONNECT_DONE:
		connected(s, fd);
		break;
	case CONNECT_FAILED:
		s->options->tally->timeouts[STAGE_CONNECT] += clock_ms() - s->started_at >= s->options->connect.timeout;
		fail_opening(s, STAGE_CONNECT, 0, "4.4.1", buf_str(&s->connecting.why));
		break;
	}
}

/* The addresses are known, or will never be. */
static void connect_to_addresses(struct session *s)
{
	struct buf why = { 0 };
	enum connect_state state;
	int fd = -1;

	if (s->addresses->state == ADDRESSES_FAILED) {
		fail_opening(s, STAGE_CONNECT, 0, "4.4.3", buf_str(&s->addresses->why));
		return;
	}
	if (!security_look_up(s->options->security, s->peer->target, s->addresses->canonical, &s->auth_run, &why)) {
		fail_opening(s, STAGE_AUTH, 0, "4.3.5", buf_str(&why));
		buf_free(&why);
		return;
	}
	s->state = SESSION_CONNECTING;
	transcript_addf(s->options->transcript, "connecting to %s", s->peer->target->text);
	state = connect_start(&s->connecting, s->peer->target, s->addresses, &s->options->connect, &fd);
	take_connect_state(s, state, fd);
}

static void start_connecting(struct session *s)
{
	const struct target *t = s->peer->target;

	s->number = ++s->options->tally->begun;
	s->started_at = clock_ms();
	s->opened_at = s->ready_at = 0;
	buf_clear(&s->remote);
	buf_clear(&s->tls_words);
	if (t->kind == TARGET_UNIX)
		buf_addf(&s->remote, " (UNIX:%s)", t->name);
	else if (t->kind == TARGET_NAME)
		buf_addf(&s->remote, "dns; %s", t->name);
	else
		buf_addf(&s->remote, "X-IP-addr; [%s]", t->name);
	s->addresses = target_addresses(s->peer->target);
	if (s->addresses->state == ADDRESSES_WANTED)
		s->state = SESSION_RESOLVING;
	else
		connect_to_addresses(s);
}

/* The machine has added command lines behind the first `before` bytes of its output. */
static void log_commands(struct session *s, size_t before)
{
	const struct buf *out = &s->dialogue.out;

	if (out->len > before)
		transcript_add_lines(s->options->transcript, 'w', out->data + before, out->len - before);
}

/* A transaction goes into a ready dialogue. */
static void begin_now(struct session *s, struct transaction *t)
{
	size_t before = s->dialogue.out.len;
	struct buf why = { 0 };

	if (!s->owner->prepare(s->owner->context, t, &s->opening.caps, &why)) {
		const struct result r = { .outcome = OUTCOME_DEFERRED, .stage = STAGE_LOCAL, .status = "4.3.0",
		                         .words = buf_str(&why) };

		/* a transaction that cannot be sent for a reason of ours */
		for (size_t i = 0; i < t->count; i++)
			if (t->recipients[i].outcome == OUTCOME_NONE)
				s->owner->settled(s->owner->context, s, t, i, &r);
		s->owner->done(s->owner->context, s, t);
		buf_free(&why);
		return;
	}
	if (s->transactions++ == 0)
		s->options->tally->connections_new++;
	else
		s->options->tally->connections_reused++;
	s->options->tally->changed = true;
	s->dialogue.now = clock_ms();
	dialogue_begin(&s->dialogue, t);
	log_commands(s, before);
	take_actions(s);
}

/* ---- beginning ---- */

/* A connection that gets nothing new: it is closed as soon as it is idle. */
static bool used_up(const struct session *s)
{
	const struct session_options *o = s->options;

	if (s->transactions == 0)
		return false;
	return s->unauthenticated || o->one_transaction || s->transactions >= o->max_messages ||
	       s->now - s->opened_at >= o->max_age ||
	       (s->opening.caps.mail_max != 0 && s->dialogue.mails >= s->opening.caps.mail_max);
}

bool session_wants(const struct session *s, const struct peer *peer)
{
	if (s->state == SESSION_CLOSED)
		return s->waiting == NULL;
	if (s->state != SESSION_READY || s->closing)
		return false;
	if (s->peer != peer)
		return dialogue_idle(&s->dialogue);
	return !used_up(s) && dialogue_wants(&s->dialogue);
}

void session_begin(struct session *s, struct peer *peer, struct transaction *t)
{
	if (s->state == SESSION_READY && s->peer != peer)
		session_quit(s);
	if (s->state == SESSION_READY) {
		begin_now(s, t);
		return;
	}
	s->peer = peer;
	s->waiting = t;
	start_connecting(s);
}

/* ---- replies ---- */

/* `behind` bytes have come in after this reply. */
static void opening_step(struct session *s, const struct reply *reply, size_t behind)
{
	struct transaction *t;

	if (s->opening_out.len > 0) {
		fail_opening(s, s->opening.stage, 0, "4.5.0", "the server answered a command that it has not got yet");
		return;
	}
	switch (opening_reply(&s->opening, reply, &s->opening_out)) {
	case OPENING_WAIT:
		s->since = clock_ms();
		break;
	case OPENING_START_TLS:
		/* they would pass for replies that came encrypted */
		if (behind > 0)
			tls_failed(s, "the server sent unencrypted bytes after its answer to STARTTLS");
		else
			start_tls(s);
		break;
	case OPENING_READY:
		t = s->waiting;
		s->state = SESSION_READY;
		sasl_run_destroy(&s->auth_run);
		s->waiting = NULL;
		s->peer->failed = false;
		s->trust = (struct trust){ .careful = s->peer->careful };
		dialogue_init(&s->dialogue, &s->options->dialogue, &s->opening.caps, &s->trust);
		s->since = s->ready_at = clock_ms();
		s->options->tally->ready++;
		tally_step(s->options->tally, STEP_CONNECT, s->opened_at - s->started_at);
		tally_step(s->options->tally, STEP_OPENING, s->ready_at - s->opened_at);
		begin_now(s, t);
		break;
	case OPENING_FAILED:
		opening_failed(s);
		break;
	}
}

static void log_reply(struct session *s, const struct reply *reply)
{
	struct buf line = { 0 };

	if (s->options->transcript->fd < 0)
		return;
	if (s->state == SESSION_OPENING && opening_hides(&s->opening, reply)) {
		buf_addf(&line, "%d %s%s%s", reply->code, reply->status, reply->status[0] ? " " : "", HIDDEN);
		transcript_add(s->options->transcript, 'r', line.data, line.len);
		buf_free(&line);
		return;
	}
	for (const char *p = buf_str(&reply->lines), *lf; (lf = strchr(p, '\n')) != NULL; p = lf + 1)
		buf_addf(&line, "%d%c%s%s%.*s\n", reply->code, lf[1] ? '-' : ' ', lf[1] ? "" : reply->status,
		         reply->status[0] && !lf[1] ? " " : "", (int)(lf - p), p);
	transcript_add_lines(s->options->transcript, 'r', buf_str(&line), line.len);
	buf_free(&line);
}

static void take_garbage(struct session *s)
{
	struct buf words = { 0 };

	if (s->state == SESSION_OPENING && opening_hides(&s->opening, &s->parser.reply))
		buf_adds(&words, HIDDEN);
	else
		reply_words(&s->parser.reply, &words, 200);
	transcript_add(s->options->transcript, 'r', buf_str(&words), words.len);
	if (s->state == SESSION_READY)
		dialogue_garbage(&s->dialogue, buf_str(&words));
	else
		fail_opening(s, s->opening.stage, 0, "4.5.0", "the server sent something that is no reply");
	buf_free(&words);
}

/* Hands every complete reply in `bytes` to the machine of the moment. */
static void take_bytes(struct session *s, const char *bytes, size_t n)
{
	while (n > 0 && s->state != SESSION_CLOSED && !s->closing && !s->handshaking) {
		size_t used;
		enum reply_result result = reply_parse(&s->parser, bytes, n, &used);

		bytes += used;
		n -= used;
		if (result == REPLY_MORE)
			break;
		if (result == REPLY_GARBAGE) {
			take_garbage(s);
			break;
		}
		log_reply(s, &s->parser.reply);
		if (s->state == SESSION_OPENING)
			opening_step(s, &s->parser.reply, n);
		else {
			size_t before = s->dialogue.out.len;

			s->dialogue.now = s->now;
			dialogue_reply(&s->dialogue, &s->parser.reply);
			log_commands(s, before);
		}
	}
}

static void lost(struct session *s, const char *why)
{
	if (s->state == SESSION_READY) {
		if (!s->closing) {
			s->dialogue.now = clock_ms();
			dialogue_lost(&s->dialogue, why);
			take_actions(s);
		}
		close_connection(s);
	} else if (s->state == SESSION_OPENING) {
		opening_lost(&s->opening, why);
		opening_failed(s);
	}
}

static void lost_with_error(struct session *s, const char *what)
{
	struct buf why = { 0 };

	buf_addf(&why, "%s: %s", what, buf_str(&s->stream.error));
	lost(s, buf_str(&why));
	buf_free(&why);
}

/* Reads until there is nothing more for now. */
static void read_all(struct session *s)
{
	static char bytes[READ_SIZE];

	s->readable = false;
	s->read_wants_write = false;
	while (s->state != SESSION_CLOSED && !s->closing && !(s->state == SESSION_READY && s->dialogue.closed)) {
		size_t n = 0;

		if (s->handshaking) {
			continue_handshake(s);
			/* behind the handshake there may be more that was read already */
			if (s->handshaking)
				return;
			continue;
		}
		switch (stream_read(&s->stream, bytes, sizeof bytes, &n)) {
		case STREAM_OK:
			s->options->tally->received += n;
			take_bytes(s, bytes, n);
			/* a short read has emptied the socket: poll tells when there is more */
			if (n < sizeof bytes && !s->stream.more)
				return;
			break;
		case STREAM_WAIT_READ:
			return;
		case STREAM_WAIT_WRITE:
			s->read_wants_write = true;
			return;
		case STREAM_END:
			lost(s, "the server closed the connection");
			return;
		case STREAM_ERROR:
			lost_with_error(s, "connection lost");
			return;
		}
	}
}

/* What came together is judged together: a reply too many puts those before it in doubt, also in a TLS record of its own. */
static void read_and_act(struct session *s)
{
	read_all(s);
	if (s->state == SESSION_READY)
		take_actions(s);
}

/* ---- the loop's side ---- */

size_t session_poll(const struct session *s, struct pollfd *fds)
{
	short events = POLLIN;

	if (s->state == SESSION_CLOSED)
		return 0;
	if (s->state == SESSION_RESOLVING) {
		fds[0] = (struct pollfd){ .fd = s->addresses->fd, .events = POLLIN };
		return 1;
	}
	if (s->state == SESSION_CONNECTING)
		return connect_poll(&s->connecting, fds);
	if ((s->write_blocked && !s->write_wants_read) || s->read_wants_write)
		events |= POLLOUT;
	fds[0] = (struct pollfd){ .fd = s->stream.fd, .events = events };
	return 1;
}

void session_polled(struct session *s, const struct pollfd *fds, size_t n)
{
	if (n == 0 || s->state == SESSION_RESOLVING || s->state == SESSION_CONNECTING)
		return;
	if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
		s->readable = true;
	if (fds[0].revents & POLLOUT) {
		s->readable = s->readable || s->read_wants_write;
		s->write_blocked = false;
	}
	if (s->write_wants_read && s->readable)
		s->write_blocked = false;
}

/* The server has had all the time there is. */
static void count_timeout(struct session *s)
{
	struct tally *tally = s->options->tally;
	enum stage stage;

	tally->changed = true;
	if (s->state == SESSION_OPENING) {
		tally->timeouts[s->handshaking ? (size_t)WAIT_TLS : (size_t)s->opening.stage]++;
		return;
	}
	switch (dialogue_waits_for(&s->dialogue, &stage)) {
	case DIALOGUE_REPLY: tally->timeouts[stage]++; break;
	case DIALOGUE_WRITE: tally->timeouts[WAIT_WRITE]++; break;
	case DIALOGUE_WHOLE: tally->timeouts[WAIT_WHOLE]++; break;
	}
}

/* When the next deadline passes. */
static int64_t expiry(const struct session *s)
{
	switch (s->state) {
	case SESSION_CLOSED:
		return CLOCK_NEVER;
	case SESSION_RESOLVING:
		return s->started_at + s->options->connect.timeout;
	case SESSION_CONNECTING:
		return connect_deadline(&s->connecting);
	case SESSION_OPENING:
		return s->since + (s->handshaking ? s->options->dialogue.write_timeout : s->options->dialogue.command_timeout);
	case SESSION_READY:
		break;
	}
	if (dialogue_idle(&s->dialogue))
		return s->since + s->options->idle_timeout;
	return dialogue_deadline(&s->dialogue);
}

int64_t session_deadline(const struct session *s)
{
	/* there is more content, and room for it: nothing to wait for */
	if (s->state == SESSION_READY && s->dialogue.content != NULL && !s->write_blocked && !s->held)
		return 0;
	return expiry(s);
}

/*
 * Time is up.  But if we did not look for a while, because another session or the disk kept us busy, what was waited
 * for may have come: an answer that is here counts, and so does room to write.
 */
static bool is_late(struct session *s)
{
	if (s->closing || s->now < expiry(s))
		return false;
	read_and_act(s);
	if (s->state == SESSION_CLOSED || s->closing || s->now < expiry(s))
		return false;
	s->write_blocked = false;
	session_flush(s);
	return s->state != SESSION_CLOSED && !s->closing && s->now >= expiry(s);
}

void session_run(struct session *s)
{
	s->now = clock_ms();
	if (s->state == SESSION_RESOLVING) {
		struct buf why = { 0 };

		if (addresses_look(s->addresses, s->peer->target->name) != ADDRESSES_WANTED)
			connect_to_addresses(s);
		else if (s->now >= s->started_at + s->options->connect.timeout) {
			s->options->tally->timeouts[STAGE_CONNECT]++;
			buf_addf(&why, "no address for %s: no answer from the resolver within %lld s", s->peer->target->name,
			         (long long)(s->options->connect.timeout / 1000));
			fail_opening(s, STAGE_CONNECT, 0, "4.4.3", buf_str(&why));
			buf_free(&why);
		}
	}
	if (s->state == SESSION_CONNECTING) {
		int fd = -1;
		enum connect_state state = connect_continue(&s->connecting, &fd);

		take_connect_state(s, state, fd);
	}
	if (s->readable && s->state != SESSION_CLOSED)
		read_and_act(s);
	if ((s->state == SESSION_OPENING || s->state == SESSION_READY) && is_late(s)) {
		struct buf why = { 0 };

		/* nothing came in time */
		if (s->state == SESSION_OPENING) {
			bool tls = s->handshaking;
			int64_t limit = tls ? s->options->dialogue.write_timeout : s->options->dialogue.command_timeout;

			count_timeout(s);
			buf_addf(&why, "no %s within %lld s", tls ? "end of the TLS handshake" : "reply",
			         (long long)(limit / 1000));
			lost(s, buf_str(&why));
			buf_free(&why);
		} else if (dialogue_idle(&s->dialogue))
			session_quit(s);
		else {
			count_timeout(s);
			s->dialogue.now = clock_ms();
			dialogue_expired(&s->dialogue);
			take_actions(s);
		}
	}
	if (s->closing)
		close_connection(s);
	else if (s->state == SESSION_READY && used_up(s) && session_idle(s))
		session_quit(s);
}

void session_fill(struct session *s, bool stop)
{
	struct buf why = { 0 };

	s->held = stop;
	if (s->state != SESSION_READY || stop)
		return;
	while (s->dialogue.content != NULL && s->dialogue.out.len < OUTPUT_HIGH) {
		switch (source_next(&s->source, &s->dialogue.out, &why)) {
		case SOURCE_MORE:
			break;
		case SOURCE_END:
			dialogue_content_done(&s->dialogue);
			break;
		case SOURCE_FAILED:
			dialogue_content_failed(&s->dialogue, buf_str(&why));
			take_actions(s);
			close_connection(s);
			break;
		}
		if (s->state != SESSION_READY)
			break;
	}
	buf_free(&why);
}

/* False when the stream has broken: what the server said before that counts first. */
static bool write_some(struct session *s, struct buf *out, size_t *count)
{
	switch (stream_write(&s->stream, out->data, out->len, count)) {
	case STREAM_OK:
		s->options->tally->sent += *count;
		return true;
	case STREAM_WAIT_READ:
		s->write_wants_read = true;
		s->write_blocked = true;
		return true;
	case STREAM_WAIT_WRITE:
		s->write_blocked = true;
		return true;
	case STREAM_END:
	case STREAM_ERROR:
		break;
	}
	read_and_act(s);
	if (s->state != SESSION_CLOSED && !s->closing)
		lost_with_error(s, "connection lost while writing");
	return false;
}

static void flush_opening(struct session *s)
{
	while (s->state == SESSION_OPENING && s->opening_out.len > 0 && !s->write_blocked && !s->handshaking) {
		bool secret = s->opening.secret_out;
		size_t n = 0;

		if (!write_some(s, &s->opening_out, &n))
			return;
		if (!secret)
			transcript_add_lines(s->options->transcript, 'w', s->opening_out.data, n);
		buf_consume(&s->opening_out, n);
		if (secret && s->opening_out.len == 0) {
			transcript_add(s->options->transcript, 'w', HIDDEN, strlen(HIDDEN));
			explicit_bzero(s->opening_out.data, s->opening_out.size);
		}
	}
}

void session_flush(struct session *s)
{
	s->write_wants_read = s->write_wants_read && s->write_blocked;
	flush_opening(s);
	while (s->state == SESSION_READY && !s->closing && s->dialogue.out.len > 0 && !s->write_blocked) {
		size_t n = 0;

		if (!write_some(s, &s->dialogue.out, &n))
			break;
		if (n > 0) {
			s->dialogue.now = clock_ms();
			dialogue_wrote(&s->dialogue, n);
		}
	}
	if (s->closing)
		close_connection(s);
}

bool session_idle(const struct session *s)
{
	if (s->state == SESSION_CLOSED)
		return s->waiting == NULL;
	return s->state == SESSION_READY && dialogue_idle(&s->dialogue);
}

void session_add_missing(const struct session *s, struct buf *out)
{
	switch (s->state) {
	case SESSION_CLOSED:
		break;
	case SESSION_RESOLVING:
		buf_adds(out, "no answer from the resolver");
		break;
	case SESSION_CONNECTING:
		buf_adds(out, "no connection");
		break;
	case SESSION_OPENING:
		if (s->handshaking)
			buf_adds(out, "no end of the TLS handshake");
		else if (s->opening.stage == STAGE_GREETING)
			buf_adds(out, "no greeting");
		else
			buf_addf(out, "no reply to %s", stage_name(s->opening.stage));
		break;
	case SESSION_READY:
		dialogue_add_missing(&s->dialogue, out);
		break;
	}
}

struct record_connection session_record(const struct session *s)
{
	int64_t now = clock_ms();

	return (struct record_connection){
		.peer = s->peer->target->text,
		.session = s->opening.caps.session,
		.tls = buf_str(&s->tls_words),
		.connect_ms = (s->opened_at ? s->opened_at : now) - s->started_at,
		.opening_ms = s->opened_at ? (s->ready_at ? s->ready_at : now) - s->opened_at : 0,
	};
}

void session_quit(struct session *s)
{
	size_t n;

	if (s->state == SESSION_READY && dialogue_idle(&s->dialogue)) {
		transcript_add(s->options->transcript, 'w', "QUIT", 4);
		/* courtesy: it need not arrive */
		stream_write(&s->stream, "QUIT\r\n", 6, &n);
	}
	close_connection(s);
}

void session_abort(struct session *s, const char *why)
{
	if (s->state == SESSION_READY) {
		s->dialogue.now = clock_ms();
		dialogue_abort(&s->dialogue, why);
		take_actions(s);
		close_connection(s);
	} else if (s->state != SESSION_CLOSED) {
		fail_opening(s, STAGE_LOCAL, 0, "4.3.2", why);
	}
}
