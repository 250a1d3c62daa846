#include "config.h"
#include "channel/net/sasl.h"

#include <stdlib.h>
#include <string.h>

#include "channel/net/base64.h"
#include "channel/net/scram.h"
#include "lib/alloc.h"
#include "lib/text.h"

/* So many bytes in a row of a secret give it away; of a shorter secret, all of it. */
#define PIECE 8

struct sasl_run {
	const struct sasl_order *order;
	bool has_secret;
	struct secret text;           /* base64, as in the file */
	struct buf user, password;    /* the bytes that it stands for */
	const struct mechanism *mechanism;
	unsigned steps;               /* responses given */
	struct scram *scram;
};

struct mechanism {
	const char *name;             /* in AUTH and, in small letters, in -O auth */
	const char *command;          /* what follows "AUTH " */
	bool aloud;                   /* sends the password in clear */
	bool needs_secret;
	bool (*respond)(struct sasl_run *run, const char *challenge, struct buf *out, struct buf *why);
	bool (*complete)(const struct sasl_run *run);
};

/* ---- LOGIN ---- */

/* Two questions, whatever their words are. */
static bool login_respond(struct sasl_run *run, const char *challenge, struct buf *out, struct buf *why)
{
	const struct buf *word = run->steps == 0 ? &run->text.user : &run->text.password;

	(void)challenge;
	if (run->steps > 1) {
		buf_adds(why, "the server asks for more than user and secret");
		return false;
	}
	buf_add(out, buf_str(word), word->len);
	return true;
}

static bool login_complete(const struct sasl_run *run)
{
	return run->steps == 2;
}

/* ---- PLAIN ---- */

static bool plain_respond(struct sasl_run *run, const char *challenge, struct buf *out, struct buf *why)
{
	struct buf message = { 0 };
	size_t size = run->user.len + run->password.len + 2;

	(void)challenge;
	if (run->steps > 0) {
		buf_adds(why, "the server asks for more than one response");
		return false;
	}
	if (memchr(buf_str(&run->user), '\0', run->user.len) || memchr(buf_str(&run->password), '\0', run->password.len)) {
		buf_adds(why, "a user or secret with a NUL byte cannot be sent by PLAIN");
		return false;
	}
	buf_reserve(&message, size);
	buf_addc(&message, '\0');
	buf_add(&message, buf_str(&run->user), run->user.len);
	buf_addc(&message, '\0');
	buf_add(&message, buf_str(&run->password), run->password.len);
	base64_encode(message.data, message.len, out);
	buf_wipe(&message);
	return true;
}

static bool plain_complete(const struct sasl_run *run)
{
	return run->steps == 1;
}

/* ---- EXTERNAL ---- */

/* The empty response went along with the command; some servers ask for it again. */
static bool external_respond(struct sasl_run *run, const char *challenge, struct buf *out, struct buf *why)
{
	(void)challenge;
	(void)out;
	if (run->steps == 0)
		return true;
	buf_adds(why, "the server asks for more than one response");
	return false;
}

static bool external_complete(const struct sasl_run *run)
{
	return run->steps <= 1;
}

/* ---- SCRAM ---- */

#if HAVE_SASL
static bool scram_respond(struct sasl_run *run, const char *challenge, struct buf *out, struct buf *why)
{
	struct buf bytes = { 0 }, response = { 0 };
	bool ok = false;

	if (run->scram == NULL)
		run->scram = scram_create(&run->user, &run->password, why);
	if (run->scram == NULL)
		return false;
	if (!base64_decode(challenge, strlen(challenge), &bytes))
		buf_adds(why, "the server's challenge is not base64 text");
	else if (scram_complete(run->scram))
		buf_adds(why, "the server asks for more than SCRAM-SHA-256 has");
	else
		ok = scram_step(run->scram, &bytes, &response, why);
	if (ok && response.len > 0)
		base64_encode(response.data, response.len, out);
	buf_wipe(&response);
	buf_free(&bytes);
	return ok;
}

static bool scram_run_complete(const struct sasl_run *run)
{
	return run->scram != NULL && scram_complete(run->scram);
}
#endif

/* ---- the table ---- */

static const struct mechanism mechanisms[SASL_MECHANISMS] = {
	[SASL_LOGIN] = { "LOGIN", "LOGIN", true, true, login_respond, login_complete },
	[SASL_PLAIN] = { "PLAIN", "PLAIN", true, true, plain_respond, plain_complete },
#if HAVE_SASL
	[SASL_SCRAM_SHA_256] = { "SCRAM-SHA-256", "SCRAM-SHA-256", false, true, scram_respond, scram_run_complete },
#endif
	/* "=" is an empty initial response (RFC 4954 section 4) */
	[SASL_EXTERNAL] = { "EXTERNAL", "EXTERNAL =", false, false, external_respond, external_complete },
};

static bool add_to_order(const char *word, struct sasl_order *order)
{
	enum sasl_mechanism m = 0;

	while (m < SASL_MECHANISMS && (mechanisms[m].name == NULL || !ascii_equal(word, mechanisms[m].name)))
		m++;
	if (m == SASL_MECHANISMS)
		return false;
	for (size_t i = 0; i < order->count; i++)
		if (order->list[i] == m)
			return false;
	order->list[order->count++] = m;
	return true;
}

bool sasl_order_parse(const char *text, struct sasl_order *order)
{
	char *copy = xstrdup(text), *rest = copy, *word;
	bool ok = true;

	order->count = 0;
	while (ok && (word = strsep(&rest, ",")) != NULL)
		ok = add_to_order(word, order);
	free(copy);
	return ok;
}

bool sasl_order_is_external(const struct sasl_order *order)
{
	for (size_t i = 0; i < order->count; i++)
		if (mechanisms[order->list[i]].needs_secret)
			return false;
	return order->count > 0;
}

/* ---- a run ---- */

struct sasl_run *sasl_run_create(const struct sasl_order *order, struct secret *secret)
{
	struct sasl_run *run = xcalloc(1, sizeof *run);

	run->order = order;
	if (secret == NULL)
		return run;
	run->has_secret = true;
	run->text = *secret;
	*secret = (struct secret){ 0 };
	/* secrets_find() has looked whether it is base64 */
	base64_decode(buf_str(&run->text.user), run->text.user.len, &run->user);
	base64_decode(buf_str(&run->text.password), run->text.password.len, &run->password);
	return run;
}

void sasl_run_destroy(struct sasl_run **run)
{
	struct sasl_run *r = *run;

	if (r == NULL)
		return;
#if HAVE_SASL
	scram_destroy(&r->scram);
#endif
	secret_wipe(&r->text);
	buf_wipe(&r->user);
	buf_wipe(&r->password);
	free(r);
	*run = NULL;
}

static bool is_offered(const char *offered, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = offered; (p = strstr(p, name)) != NULL; p += n)
		if ((p == offered || p[-1] == ' ') && p[n] == ' ')
			return true;
	return false;
}

const char *sasl_run_choose(struct sasl_run *run, const char *offered, bool guarded, struct buf *why)
{
	bool only_aloud = false;

	for (size_t i = 0; i < run->order->count; i++) {
		const struct mechanism *m = &mechanisms[run->order->list[i]];

		if (!is_offered(offered, m->name) || (m->needs_secret && !run->has_secret))
			continue;
		if (m->aloud && !guarded) {
			only_aloud = true;
			continue;
		}
		run->mechanism = m;
		return m->command;
	}
	/* why there is none */
	if (only_aloud) {
		buf_adds(why, "the password would cross an unencrypted connection; the server should offer STARTTLS, "
		              "or -O auth-cleartext be given");
	} else if (*offered == '\0')
		buf_adds(why, "there is a secret for this host, but the server offers no authentication");
	else {
		buf_adds(why, "the server offers to authenticate by ");
		text_add_clean_string(why, offered, 200);
		buf_adds(why, "only, we have");
		for (size_t i = 0; i < run->order->count; i++)
			buf_addf(why, "%s %s", i > 0 ? "," : "", mechanisms[run->order->list[i]].name);
	}
	return NULL;
}

bool sasl_run_respond(struct sasl_run *run, const char *challenge, struct buf *out, struct buf *why)
{
	bool ok = run->mechanism->respond(run, challenge, out, why);

	run->steps++;
	return ok;
}

bool sasl_run_complete(const struct sasl_run *run)
{
	return run->mechanism->complete(run);
}

static bool holds_piece(const char *bytes, size_t n, const struct buf *secret)
{
	size_t piece = secret->len < PIECE ? secret->len : PIECE;

	if (piece == 0)
		return false;
	for (size_t i = 0; i + piece <= secret->len; i++)
		if (memmem(bytes, n, secret->data + i, piece) != NULL)
			return true;
	return false;
}

bool sasl_run_reveals(const struct sasl_run *run, const char *bytes, size_t n)
{
	struct buf plain = { 0 }, unused = { 0 };
	bool found = holds_piece(bytes, n, &run->text.password) || holds_piece(bytes, n, &run->password);

	/* the password looks different inside PLAIN's message */
	if (!found && run->has_secret) {
		struct sasl_run copy = *run;

		copy.steps = 0;
		if (plain_respond(&copy, "", &plain, &unused))
			found = holds_piece(bytes, n, &plain);
	}
	buf_wipe(&plain);
	buf_free(&unused);
	return found;
}
