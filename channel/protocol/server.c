#include "channel/protocol/server.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "channel/protocol/arguments.h"
#include "lib/alloc.h"
#include "lib/parse.h"
#include "lib/text.h"

/* The largest piece of a message that is handed out at once. */
#define PIECE (64 * 1024)

/* More than any command has, each of them once. */
#define PARAMETERS 8

/* Bytes of a client's words that are repeated to it. */
#define ECHO_MAX 200

/* ---- replies ---- */

static void reply(struct server *s, int code, const char *status, const char *text)
{
	buf_addf(&s->out, "%d %s%s%s\r\n", code, status, *status != '\0' ? " " : "", text);
}

/* A command that was refused. */
static void refuse(struct server *s, int code, const char *status, const char *text)
{
	reply(s, code, status, text);
	s->errors++;
}

static void turn_away(struct server *s, const char *status, const char *text)
{
	reply(s, 421, status, text);
	s->closing = true;
	s->why = text;
}

void server_shut(struct server *s, const char *text)
{
	/* the answer to what was asked is not waited for */
	s->pending = SERVER_MORE;
	reply(s, 421, "4.3.2", text);
	s->closing = true;
}

/* ---- the transaction ---- */

bool server_in_transaction(const struct server *s)
{
	return s->has_sender;
}

static void forget_transaction(struct server *s)
{
	free(s->envelope.recipients);
	s->envelope = (struct server_envelope){ 0 };
	s->capacity = 0;
	pool_free(&s->pool);
	s->abandon |= s->begun;
	s->has_sender = s->chunking = s->chunk_is_over = s->begun = s->whole = false;
	s->received = (struct received){ 0 };
	s->chunks = 0;
	s->mode = SERVER_COMMANDS;
}

static bool is_too_large(const struct server *s, uint64_t size)
{
	return s->options->max_size != 0 && size > s->options->max_size;
}

/* ---- commands ---- */

static enum server_event ask(struct server *s, enum server_event event)
{
	s->pending = event;
	return event;
}

static void hello(struct server *s, char *name, bool extended)
{
	struct buf clean = { 0 };

	if (*name == '\0' || strcspn(name, " \t") != strlen(name)) {
		refuse(s, 501, "5.5.4", "expected the name of the client, and nothing else");
		return;
	}
	forget_transaction(s);
	text_add_clean_string(&clean, name, 255);
	/* in the Received field these would begin or end something (RFC 5322 section 3.2.3) */
	for (char *c = clean.data; (c = strpbrk(c, "()<>;@,\\\"")) != NULL; c++)
		*c = '?';
	free(s->helo);
	s->helo = clean.data;
	s->extended = extended;
	if (!extended) {
		reply(s, 250, "", s->options->host);
		return;
	}
	buf_addf(&s->out, "250-%s\r\n250-PIPELINING\r\n", s->options->host);
	if (s->options->max_size != 0)
		buf_addf(&s->out, "250-SIZE %llu\r\n", (unsigned long long)s->options->max_size);
	else
		buf_adds(&s->out, "250-SIZE\r\n");
	if (s->offer_tls && !s->encrypted)
		buf_adds(&s->out, "250-STARTTLS\r\n");
	buf_addf(&s->out, "250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n250-LIMITS RCPTMAX=%zu\r\n"
	         "250 ENHANCEDSTATUSCODES\r\n", s->options->max_recipients);
}

/* Takes a parameter of MAIL.  NULL if it is good, else what is said, with 501 unless *code is set otherwise. */
static const char *mail_parameter(struct server *s, const char *name, const char *value, int *code)
{
	struct server_envelope *e = &s->envelope;

	if (strcasecmp(name, "SIZE") == 0) {
		if (value == NULL || !parse_number(value, UINT64_MAX, &e->size))
			return "5.5.4 SIZE: expected a number of bytes";
		if (is_too_large(s, e->size)) {
			*code = 552;
			return "5.3.4 the message is larger than this server takes";
		}
	} else if (strcasecmp(name, "BODY") == 0) {
		e->eightbit = value != NULL && strcasecmp(value, "8BITMIME") == 0;
		if (!e->eightbit && (value == NULL || strcasecmp(value, "7BIT") != 0))
			return "5.5.4 BODY: expected 7BIT or 8BITMIME";
	} else if (strcasecmp(name, "SMTPUTF8") == 0) {
		if (value != NULL)
			return "5.5.4 SMTPUTF8 has no value";
		e->smtputf8 = true;
	} else if (strcasecmp(name, "RET") == 0) {
		e->ret = value != NULL && strcasecmp(value, "FULL") == 0 ? "FULL" : "HDRS";
		if (value == NULL || (strcasecmp(value, "FULL") != 0 && strcasecmp(value, "HDRS") != 0))
			return "5.5.4 RET: expected FULL or HDRS";
	} else if (strcasecmp(name, "ENVID") == 0) {
		if (value == NULL || strlen(value) > 100 || !arguments_is_xtext(value))
			return "5.5.4 ENVID: expected xtext of at most 100 characters";
		e->envid = pool_copy(&s->pool, value, strlen(value));
	} else {
		*code = 555;
		return "5.5.4 a parameter that is not known here";
	}
	return NULL;
}

static const char *rcpt_parameter(struct server *s, const char *name, const char *value, int *code)
{
	struct server_recipient *r = &s->recipient;

	if (strcasecmp(name, "NOTIFY") == 0) {
		if (value == NULL || !arguments_is_notify(value))
			return "5.5.4 NOTIFY: expected NEVER or a list of SUCCESS,FAILURE,DELAY";
		r->notify = pool_copy(&s->pool, value, strlen(value));
	} else if (strcasecmp(name, "ORCPT") == 0) {
		if (value == NULL || strlen(value) > 1000 || !arguments_is_orcpt(value, s->envelope.smtputf8))
			return "5.5.4 ORCPT: expected type;xtext";
		r->orcpt = pool_copy(&s->pool, value, strlen(value));
	} else {
		*code = 555;
		return "5.5.4 a parameter that is not known here";
	}
	return NULL;
}

/* Path and parameters behind the colon.  The path, or NULL after a reply. */
static const char *path_and_parameters(struct server *s, char *at, const char *what,
                                       const char *(*use)(struct server *s, const char *name, const char *value, int *code))
{
	char *path = arguments_path(&at), *name, *value;
	const char *kept, *before[PARAMETERS];
	size_t count = 0;
	bool bad;

	if (path == NULL) {
		refuse(s, 501, "5.5.2", what);
		return NULL;
	}
	kept = pool_copy(&s->pool, path, strlen(path));
	while ((name = arguments_parameter(&at, &value, &bad)) != NULL) {
		int code = 501;
		const char *why = use(s, name, value, &code);

		/* RFC 3461 section 4, RFC 5321 section 4.1.1.11: once each */
		for (size_t i = 0; i < count && why == NULL; i++)
			if (strcasecmp(before[i], name) == 0)
				why = "5.5.4 a parameter that is given twice";
		if (why == NULL)
			before[count++] = name;
		if (!s->extended)
			refuse(s, 555, "5.5.4", "parameters need EHLO");
		else if (why != NULL)
			refuse(s, code, "", why);
		if (!s->extended || why != NULL)
			return NULL;
	}
	if (bad) {
		refuse(s, 501, "5.5.4", "expected a parameter NAME=VALUE");
		return NULL;
	}
	return kept;
}

/* May the address stand in this envelope?  False after a reply. */
static bool may_stand(struct server *s, const char *address)
{
	if (text_is_eightbit(address, strlen(address)) && !s->envelope.smtputf8) {
		refuse(s, 553, "5.6.7", "an address beyond ASCII needs SMTPUTF8");
		return false;
	}
	for (size_t i = 0, n = strlen(address), length; i < n; i += length) {
		length = text_utf8_length(address + i, n - i);
		if (length == 0 || (length == 1 && ((unsigned char)address[i] < ' ' || address[i] == 127))) {
			refuse(s, 501, "5.1.3", "an address with a byte that no address may have");
			return false;
		}
	}
	return true;
}

static enum server_event mail(struct server *s, char *at)
{
	const char *sender;

	if (s->helo == NULL) {
		refuse(s, 503, "5.5.1", s->options->protocol == SERVER_LMTP ? "LHLO first" : "EHLO or HELO first");
		return SERVER_MORE;
	}
	if (s->has_sender) {
		refuse(s, 503, "5.5.1", "there is a sender already");
		return SERVER_MORE;
	}
	if (strncasecmp(at, "FROM:", 5) != 0) {
		refuse(s, 501, "5.5.4", "expected MAIL FROM:<address>");
		return SERVER_MORE;
	}
	forget_transaction(s);
	sender = path_and_parameters(s, at + 5, "expected MAIL FROM:<address>", mail_parameter);
	if (sender == NULL || !may_stand(s, sender)) {
		forget_transaction(s);
		return SERVER_MORE;
	}
	s->envelope.sender = sender;
	return ask(s, SERVER_MAIL);
}

static enum server_event rcpt(struct server *s, char *at)
{
	if (!s->has_sender || s->chunking) {
		refuse(s, 503, "5.5.1", s->chunking ? "the message has begun" : "MAIL first");
		return SERVER_MORE;
	}
	if (strncasecmp(at, "TO:", 3) != 0) {
		refuse(s, 501, "5.5.4", "expected RCPT TO:<address>");
		return SERVER_MORE;
	}
	if (s->envelope.count >= s->options->max_recipients) {
		/* no fault of the client's: it may not know LIMITS */
		reply(s, 452, "4.5.3", "too many recipients for one message; send the rest in the next one");
		return SERVER_MORE;
	}
	s->recipient = (struct server_recipient){ 0 };
	s->recipient.address = path_and_parameters(s, at + 3, "expected RCPT TO:<address>", rcpt_parameter);
	if (s->recipient.address == NULL)
		return SERVER_MORE;
	if (s->recipient.address[0] == '\0') {
		refuse(s, 501, "5.1.3", "expected RCPT TO:<address>");
		return SERVER_MORE;
	}
	return may_stand(s, s->recipient.address) ? ask(s, SERVER_RCPT) : SERVER_MORE;
}

static enum server_event data(struct server *s, char *argument)
{
	if (*argument != '\0') {
		refuse(s, 501, "5.5.4", "DATA has no argument");
		return SERVER_MORE;
	}
	if (s->chunking) {
		refuse(s, 503, "5.5.1", "DATA cannot follow BDAT");
		return SERVER_MORE;
	}
	if (s->has_sender && s->envelope.count > 0)
		return ask(s, SERVER_MESSAGE);
	if (!s->has_sender)
		refuse(s, 503, "5.5.1", "MAIL first");
	else
		refuse(s, s->options->protocol == SERVER_LMTP ? 503 : 554, "5.5.1", "no valid recipients");
	return SERVER_MORE;
}

/* "SIZE [LAST]" */
static bool chunk_arguments(char *at, uint64_t *size, bool *last)
{
	char *word = at + strspn(at, " \t"), *end = word + strcspn(word, " \t");
	const char *rest = end + strspn(end, " \t");

	*last = strcasecmp(rest, "LAST") == 0;
	if (*rest != '\0' && !*last)
		return false;
	*end = '\0';
	return parse_number(word, UINT64_MAX / 4, size);
}

/* A chunk that is not taken passes by before it is answered. */
static void skip_chunk(struct server *s, int code, const char *status, const char *text)
{
	s->mode = SERVER_SKIP;
	s->refusal.code = code;
	s->refusal.status = pool_copy(&s->pool, status, strlen(status));
	s->refusal.text = pool_copy(&s->pool, text, strlen(text));
}

static enum server_event bdat(struct server *s, char *at)
{
	if (!chunk_arguments(at, &s->chunk, &s->chunk_is_last)) {
		/* it is unknown where the chunk ends */
		forget_transaction(s);
		turn_away(s, "5.5.4", "expected BDAT SIZE [LAST]");
		return SERVER_MORE;
	}
	s->chunking = true;
	s->chunks += s->chunk > 0;
	if (!s->has_sender)
		skip_chunk(s, 503, "5.5.1", "MAIL first");
	else if (s->envelope.count == 0)
		skip_chunk(s, s->options->protocol == SERVER_LMTP ? 503 : 554, "5.5.1", "no valid recipients");
	else if (is_too_large(s, s->received.size + s->chunk))
		skip_chunk(s, 552, "5.3.4", "the message is larger than this server takes");
	else if (!s->begun)
		return ask(s, SERVER_MESSAGE);
	else
		s->mode = SERVER_CHUNK;
	return SERVER_MORE;
}

static enum server_event starttls(struct server *s, char *argument)
{
	if (*argument != '\0')
		refuse(s, 501, "5.5.4", "STARTTLS has no argument");
	else if (!s->offer_tls || s->encrypted)
		refuse(s, 503, "5.5.1", s->encrypted ? "TLS is on already" : "there is no TLS here");
	else if (s->in.len > 0)
		/* in clear, and perhaps not the client's (CVE-2011-0411) */
		turn_away(s, "5.5.0", "bytes came after STARTTLS, before its answer");
	else
		return ask(s, SERVER_STARTTLS);
	return SERVER_MORE;
}

static enum server_event rset(struct server *s, char *argument)
{
	(void)argument;
	forget_transaction(s);
	reply(s, 250, "2.0.0", "reset");
	return SERVER_MORE;
}

static enum server_event noop(struct server *s, char *argument)
{
	(void)argument;
	reply(s, 250, "2.0.0", "ok");
	return SERVER_MORE;
}

static enum server_event quit(struct server *s, char *argument)
{
	(void)argument;
	forget_transaction(s);
	reply(s, 221, "2.0.0", "bye");
	s->closing = true;
	return SERVER_MORE;
}

static enum server_event vrfy(struct server *s, char *argument)
{
	(void)argument;
	reply(s, 252, "2.5.0", "cannot verify the user, but will accept mail for it");
	return SERVER_MORE;
}

static enum server_event help(struct server *s, char *argument)
{
	(void)argument;
	reply(s, 214, "2.0.0", "see RFC 5321, and intake(8)");
	return SERVER_MORE;
}

static enum server_event not_here(struct server *s, char *argument)
{
	(void)argument;
	refuse(s, 502, "5.5.1", "command not implemented");
	return SERVER_MORE;
}

/* A browser that any page on the web makes send a form to this port: the commands would stand in its body. */
static enum server_event http(struct server *s, char *argument)
{
	(void)argument;
	turn_away(s, "5.5.0", "this is no HTTP server");
	return SERVER_MORE;
}

static enum server_event command(struct server *s, char *line)
{
	static const struct {
		const char *name;
		enum server_event (*run)(struct server *s, char *argument);
	} commands[] = {
		{ "MAIL", mail }, { "RCPT", rcpt }, { "DATA", data }, { "BDAT", bdat }, { "STARTTLS", starttls },
		{ "RSET", rset },
		{ "NOOP", noop }, { "QUIT", quit }, { "VRFY", vrfy }, { "HELP", help }, { "EXPN", not_here },
		{ "AUTH", not_here },
		{ "GET", http }, { "HEAD", http }, { "POST", http }, { "PUT", http }, { "DELETE", http }, { "CONNECT", http },
		{ "OPTIONS", http }, { "TRACE", http }, { "PATCH", http },
	};
	char *argument, *end = line + strlen(line);
	struct buf text = { 0 };
	const bool is_lmtp = s->options->protocol == SERVER_LMTP;
	bool extended;

	/* blanks at the end are borne (RFC 5321 section 4.1.1) */
	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	argument = line + strcspn(line, " \t");
	if (*argument != '\0')
		*argument++ = '\0';
	argument += strspn(argument, " \t");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcasecmp(line, commands[i].name) == 0)
			return commands[i].run(s, argument);
	/* HELO and EHLO are SMTP's, LHLO is LMTP's (RFC 2033 section 4.1) */
	extended = strcasecmp(line, is_lmtp ? "LHLO" : "EHLO") == 0;
	if (extended || (!is_lmtp && strcasecmp(line, "HELO") == 0)) {
		hello(s, argument, extended);
		return SERVER_MORE;
	}
	buf_adds(&text, "no such command here: ");
	text_add_clean_string(&text, line, ECHO_MAX);
	refuse(s, 500, "5.5.2", buf_str(&text));
	buf_free(&text);
	return SERVER_MORE;
}

/* ---- what comes ---- */

/* A command line, if there is one; *used tells. */
static enum server_event take_line(struct server *s, bool *used)
{
	size_t within = s->in.len < SERVER_LINE_MAX ? s->in.len : SERVER_LINE_MAX;
	char *lf = within > 0 ? memchr(s->in.data, '\n', within) : NULL, text[SERVER_LINE_MAX];
	size_t n;

	*used = lf != NULL;
	if (lf == NULL) {
		if (s->in.len >= SERVER_LINE_MAX)
			turn_away(s, "5.5.2", "a line that is too long");
		return SERVER_MORE;
	}
	n = (size_t)(lf - s->in.data);
	memcpy(text, s->in.data, n);
	buf_consume(&s->in, n + 1);
	if (n > 0 && text[n - 1] == '\r')
		n--;
	text[n] = '\0';
	s->commands++;
	if (memchr(text, '\0', n) != NULL || memchr(text, '\r', n) != NULL) {
		refuse(s, 500, "5.5.2", "expected a line without NUL and bare CR");
		return SERVER_MORE;
	}
	return command(s, text);
}

/* What the caller has no use for is not handed out. */
static enum server_event hand_out(const struct server *s)
{
	return s->text.len > 0 && !is_too_large(s, s->received.size) && !s->received.nul ? SERVER_TEXT : SERVER_MORE;
}

/* The chunk has come. */
static void end_chunk(struct server *s)
{
	struct buf text = { 0 };

	s->mode = SERVER_COMMANDS;
	s->chunk_is_over = false;
	s->whole = s->chunk_is_last;
	if (s->whole)
		return;
	buf_addf(&text, "%llu bytes so far", (unsigned long long)s->received.size);
	reply(s, 250, "2.0.0", buf_str(&text));
	buf_free(&text);
}

static enum server_event take_chunk(struct server *s, bool *used)
{
	uint64_t n = s->chunk < PIECE ? s->chunk : PIECE;
	bool ends;

	if (n > s->in.len)
		n = s->in.len;
	ends = n == s->chunk;
	*used = n > 0 || ends;
	buf_clear(&s->text);
	received_chunk(&s->received, s->in.data, (size_t)n, ends && s->chunk_is_last, &s->text);
	buf_consume(&s->in, (size_t)n);
	s->chunk -= n;
	s->chunk_is_over = ends;
	return hand_out(s);
}

/* For each recipient in LMTP, if it is the answer to a whole message. */
static void reply_to_message(struct server *s, int code, const char *status, const char *text)
{
	if (s->options->protocol == SERVER_SMTP)
		reply(s, code, status, text);
	else
		for (size_t i = 0; i < s->envelope.count; i++) {
			buf_addf(&s->out, "%d %s <%s> ", code, status, s->envelope.recipients[i].address);
			buf_addf(&s->out, "%s\r\n", text);
		}
}

static enum server_event skip(struct server *s, bool *used)
{
	uint64_t n = s->chunk < s->in.len ? s->chunk : s->in.len;

	buf_consume(&s->in, (size_t)n);
	s->chunk -= n;
	*used = n > 0 || s->chunk == 0;
	if (s->chunk > 0)
		return SERVER_MORE;
	s->errors++;
	if (s->chunk_is_last && s->envelope.count > 0)
		reply_to_message(s, s->refusal.code, s->refusal.status, s->refusal.text);
	else
		reply(s, s->refusal.code, s->refusal.status, s->refusal.text);
	forget_transaction(s);
	return SERVER_MORE;
}

static enum server_event step(struct server *s, bool *used)
{
	size_t n, taken;

	if (s->abandon) {
		s->abandon = false;
		return SERVER_ABANDON;
	}
	if (s->chunk_is_over)
		end_chunk(s);
	if (s->whole) {
		*used = true;
		/* the end of a message: the caller is asked what becomes of it, unless it cannot be taken */
		s->whole = false;
		s->mode = SERVER_COMMANDS;
		if (is_too_large(s, s->received.size))
			reply_to_message(s, 552, "5.3.4", "the message is larger than this server takes");
		else if (s->received.nul)
			reply_to_message(s, 554, "5.6.0", "the message holds a NUL");
		else
			return ask(s, SERVER_END);
		s->errors++;
		forget_transaction(s);
		return SERVER_MORE;
	}
	if (!s->closing && s->mode == SERVER_COMMANDS && s->errors > s->options->max_errors)
		turn_away(s, "4.7.0", "too many errors");
	/* a message may have as many recipients and chunks as it is large */
	if (!s->closing && s->mode == SERVER_COMMANDS && s->commands > s->options->max_commands + s->envelope.count + s->chunks)
		turn_away(s, "4.7.0", "too many commands without a message");
	if (s->closing) {
		/* what was begun is dropped first */
		if (s->begun) {
			s->begun = false;
			return SERVER_ABANDON;
		}
		return SERVER_CLOSE;
	}
	switch (s->mode) {
	case SERVER_COMMANDS: return take_line(s, used);
	case SERVER_DATA:
		n = s->in.len < PIECE ? s->in.len : PIECE;
		buf_clear(&s->text);
		taken = received_dotted(&s->received, s->in.data, n, &s->text, &s->whole);
		buf_consume(&s->in, taken);
		*used = taken > 0;
		return hand_out(s);
	case SERVER_CHUNK: return take_chunk(s, used);
	case SERVER_SKIP: return skip(s, used);
	}
	return SERVER_MORE;
}

enum server_event server_next(struct server *s)
{
	enum server_event event;
	bool used;

	if (s->pending != SERVER_MORE)
		return SERVER_MORE;
	do {
		used = false;
		event = step(s, &used);
	} while (event == SERVER_MORE && (used || s->abandon || s->closing));
	return event;
}

/* ---- answers ---- */

/* May the message begin?  What came before this answer cannot be part of it. */
static void answer_message(struct server *s, int code, const char *status, const char *text)
{
	if (code >= 300 && code <= 399) {
		s->begun = true;
		if (s->chunking) {
			s->received = (struct received){ 0 };
			s->mode = SERVER_CHUNK;
		} else if (s->in.len > 0 && !s->options->pipe) {
			turn_away(s, "5.5.0", "bytes came after DATA, before its answer");
		} else {
			reply(s, code, "", text);
			received_begin(&s->received);
			s->mode = SERVER_DATA;
		}
	} else if (s->chunking) {
		skip_chunk(s, code, status, text);
	} else {
		refuse(s, code, status, text);
		forget_transaction(s);
	}
}

void server_answer(struct server *s, int code, const char *status, const char *text)
{
	struct server_envelope *e = &s->envelope;
	enum server_event asked = s->pending;

	s->pending = SERVER_MORE;
	switch (asked) {
	case SERVER_MAIL:
		reply(s, code, status, text);
		s->has_sender = code <= 299;
		if (!s->has_sender)
			forget_transaction(s);
		break;
	case SERVER_RCPT:
		reply(s, code, status, text);
		if (code > 299)
			break;
		e->recipients = xgrow(e->recipients, e->count, &s->capacity, sizeof *e->recipients);
		e->recipients[e->count++] = s->recipient;
		break;
	case SERVER_MESSAGE:
		answer_message(s, code, status, text);
		break;
	case SERVER_END:
		reply_to_message(s, code, status, text);
		if (code <= 299)
			s->commands = s->errors = 0;
		/* the caller knows what it said */
		s->begun = false;
		forget_transaction(s);
		break;
	case SERVER_STARTTLS:
		/* 220, or why not */
		reply(s, code, status, text);
		break;
	case SERVER_MORE:
	case SERVER_TEXT:
	case SERVER_ABANDON:
	case SERVER_CLOSE:
		break;
	}
}

void server_encrypted(struct server *s)
{
	forget_transaction(s);
	s->encrypted = true;
	free(s->helo);
	s->helo = NULL;
	s->extended = false;
	s->errors = s->commands = 0;
	buf_clear(&s->in);
}

void server_add(struct server *s, const char *bytes, size_t n)
{
	if (!s->closing)
		buf_add(&s->in, bytes, n);
}

void server_init(struct server *s, const struct server_options *options, bool offer_tls, bool encrypted)
{
	*s = (struct server){ .options = options, .offer_tls = offer_tls, .encrypted = encrypted };
	buf_addf(&s->out, "220 %s %s zlmtp\r\n", options->host, options->protocol == SERVER_LMTP ? "LMTP" : "ESMTP");
}

void server_free(struct server *s)
{
	free(s->envelope.recipients);
	pool_free(&s->pool);
	free(s->helo);
	buf_free(&s->in);
	buf_free(&s->out);
	buf_free(&s->text);
	*s = (struct server){ 0 };
}

size_t server_trim(struct server *s)
{
	struct buf *const bufs[] = { &s->in, &s->out };
	size_t held = pool_size(&s->pool) + s->capacity * sizeof *s->envelope.recipients;

	buf_free(&s->text);
	for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++) {
		if (bufs[i]->len == 0)
			buf_free(bufs[i]);
		held += bufs[i]->size;
	}
	return held;
}

bool server_is_within_command(const struct server *s)
{
	return s->mode == SERVER_COMMANDS && s->in.len > 0;
}

const char *server_with(const struct server *s)
{
	if (s->options->protocol == SERVER_LMTP)
		return s->envelope.smtputf8 ? (s->encrypted ? "UTF8LMTPS" : "UTF8LMTP") : s->encrypted ? "LMTPS" : "LMTP";
	if (s->envelope.smtputf8)
		return s->encrypted ? "UTF8SMTPS" : "UTF8SMTP";
	return !s->extended ? "SMTP" : s->encrypted ? "ESMTPS" : "ESMTP";
}
