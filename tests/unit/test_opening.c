#include "tests/unit/unit.h"

#include "channel/protocol/opening.h"

/*
 * A mechanism that wants two challenges, called by tests: it answers "one" and "two", and its secret
 * is the word "hush".
 */
struct fake {
	unsigned answers;
	bool guarded;          /* what choose() was told */
	char offered[100];
	bool refuse_choice;
};

static const char *fake_choose(void *run, const char *offered, bool guarded, struct buf *why)
{
	struct fake *f = run;

	f->guarded = guarded;
	snprintf(f->offered, sizeof f->offered, "%s", offered);
	if (!f->refuse_choice)
		return "FAKE";
	buf_adds(why, "no mechanism fits");
	return NULL;
}

static bool fake_respond(void *run, const char *challenge, struct buf *out, struct buf *why)
{
	struct fake *f = run;

	(void)challenge;
	if (f->answers == 2) {
		buf_adds(out, "left behind");
		buf_adds(why, "too many questions");
		return false;
	}
	buf_adds(out, ++f->answers == 1 ? "one" : "two");
	return true;
}

static bool fake_complete(void *run)
{
	return ((struct fake *)run)->answers == 2;
}

static bool fake_reveals(void *run, const char *bytes, size_t n)
{
	(void)run;
	return memmem(bytes, n, "hush", 4) != NULL;
}

/* One step: what the server says (or "(encrypted)", "(lost)") and what the machine does then. */
struct step {
	const char *reply;
	enum opening_next next;
	const char *out;       /* what it adds, NULL = nothing */
	bool secret;           /* ... is not for any log */
};

struct dialogue {
	const char *name;
	bool smtp;
	enum starttls starttls;
	bool encrypted, guarded;
	bool auth, refuse_choice;
	struct step steps[12];
	/* after the last step, if it is OPENING_FAILED */
	enum stage stage;
	int code;
	const char *status;
	const char *why;
	/* after the last step, with AUTH */
	bool told_guarded;
};

#define GREETING { "220 hi\r\n", OPENING_WAIT, "LHLO me\r\n", false }
#define EHLO_SENT { "220 hi\r\n", OPENING_WAIT, "EHLO me\r\n", false }
#define HELO_SENT(reply) { reply, OPENING_WAIT, "HELO me\r\n", false }
#define PLAIN_LHLO "250-store\r\n250-SIZE 7\r\n250 PIPELINING\r\n"
#define TLS_LHLO "250-store\r\n250-AUTH ONE\r\n250 STARTTLS\r\n"
#define AUTH_LHLO "250-store\r\n250 AUTH LOGIN PLAIN\r\n"
#define STARTTLS_SENT { TLS_LHLO, OPENING_WAIT, "STARTTLS\r\n", false }
#define TLS_BEGUN { "220 go\r\n", OPENING_START_TLS, NULL, false }
#define ENCRYPTED { "(encrypted)", OPENING_WAIT, "LHLO me\r\n", false }
#define AUTH_SENT { AUTH_LHLO, OPENING_WAIT, "AUTH FAKE\r\n", false }
#define FIRST_ANSWER { "334 VXNlcm5hbWU6\r\n", OPENING_WAIT, "one\r\n", true }
#define SECOND_ANSWER { "334 UGFzc3dvcmQ6\r\n", OPENING_WAIT, "two\r\n", true }
#define READY(reply) { reply, OPENING_READY, NULL, false }
#define FAILED(reply) { reply, OPENING_FAILED, NULL, false }

static const struct dialogue dialogues[] = {
	{ "nothing demanded", .steps = { GREETING, READY(PLAIN_LHLO) } },
	{ "greeting refused", .steps = { FAILED("554 5.3.2 no\r\n") },
	  .stage = STAGE_GREETING, .code = 554, .status = "5.3.2", .why = "no" },
	{ "LHLO refused", .steps = { GREETING, FAILED("421 later\r\n") },
	  .stage = STAGE_LHLO, .code = 421, .status = "4.0.0", .why = "later" },
	{ "SMTP says EHLO", .smtp = true, .steps = { EHLO_SENT, READY(PLAIN_LHLO) } },
	{ "SMTP says EHLO again under TLS", .smtp = true, .starttls = STARTTLS_IF_OFFERED,
	  .steps = { EHLO_SENT, STARTTLS_SENT, TLS_BEGUN, { "(encrypted)", OPENING_WAIT, "EHLO me\r\n", false },
	             READY(PLAIN_LHLO) } },
	{ "HELO where EHLO is unknown", .smtp = true,
	  .steps = { EHLO_SENT, HELO_SENT("500 what?\r\n"), READY("250-hi\r\n250 PIPELINING\r\n") } },
	{ "HELO where EHLO is not implemented", .smtp = true,
	  .steps = { EHLO_SENT, HELO_SENT("502 5.5.1 what?\r\n"), READY("250 hi\r\n") } },
	{ "no HELO where EHLO was refused for another reason", .smtp = true,
	  .steps = { EHLO_SENT, FAILED("550 5.7.1 not you\r\n") },
	  .stage = STAGE_EHLO, .code = 550, .status = "5.7.1", .why = "not you" },
	{ "no HELO where EHLO was refused for now", .smtp = true, .steps = { EHLO_SENT, FAILED("421 later\r\n") },
	  .stage = STAGE_EHLO, .code = 421, .status = "4.0.0", .why = "later" },
	{ "HELO refused is not followed by another", .smtp = true,
	  .steps = { EHLO_SENT, HELO_SENT("500 what?\r\n"), FAILED("500 what?\r\n") },
	  .stage = STAGE_HELO, .code = 500, .status = "5.5.1", .why = "what?" },
	{ "TLS demanded and only HELO known", .smtp = true, .starttls = STARTTLS_DEMANDED,
	  .steps = { EHLO_SENT, HELO_SENT("500 what?\r\n"), FAILED("250 hi\r\n") },
	  .stage = STAGE_STARTTLS, .status = "4.7.4", .why = "TLS is demanded, but the server does not offer STARTTLS" },
	{ "a greeting of 500 is not about EHLO", .smtp = true, .steps = { FAILED("500 5.3.2 no\r\n") },
	  .stage = STAGE_GREETING, .code = 500, .status = "5.3.2", .why = "no" },
	{ "LHLO unknown is not followed by HELO", .steps = { GREETING, FAILED("500 5.5.1 what?\r\n") },
	  .stage = STAGE_LHLO, .code = 500, .status = "5.5.1", .why = "what?" },
	{ "STARTTLS offered but not wanted", .starttls = STARTTLS_NEVER, .steps = { GREETING, READY(TLS_LHLO) } },
	{ "STARTTLS not offered and not needed", .starttls = STARTTLS_IF_OFFERED,
	  .steps = { GREETING, READY(PLAIN_LHLO) } },
	{ "STARTTLS not offered and demanded", .starttls = STARTTLS_DEMANDED, .steps = { GREETING, FAILED(PLAIN_LHLO) },
	  .stage = STAGE_STARTTLS, .status = "4.7.4", .why = "TLS is demanded, but the server does not offer STARTTLS" },
	{ "STARTTLS offered", .starttls = STARTTLS_IF_OFFERED,
	  .steps = { GREETING, STARTTLS_SENT, TLS_BEGUN, ENCRYPTED, READY(PLAIN_LHLO) } },
	{ "STARTTLS offered again under TLS", .starttls = STARTTLS_DEMANDED,
	  .steps = { GREETING, STARTTLS_SENT, TLS_BEGUN, ENCRYPTED, READY(TLS_LHLO) } },
	{ "TLS from the first byte", .starttls = STARTTLS_DEMANDED, .encrypted = true,
	  .steps = { GREETING, READY(TLS_LHLO) } },
	{ "STARTTLS refused is no way back", .starttls = STARTTLS_IF_OFFERED,
	  .steps = { GREETING, STARTTLS_SENT, FAILED("454 4.7.0 TLS not available\r\n") },
	  .stage = STAGE_STARTTLS, .code = 454, .status = "4.7.0", .why = "TLS not available" },
	{ "STARTTLS refused for good defers too", .starttls = STARTTLS_DEMANDED,
	  .steps = { GREETING, STARTTLS_SENT, FAILED("502 5.5.1 what?\r\n") },
	  .stage = STAGE_STARTTLS, .code = 502, .status = "5.5.1", .why = "what?" },
	{ "STARTTLS answered with another yes", .starttls = STARTTLS_IF_OFFERED,
	  .steps = { GREETING, STARTTLS_SENT, FAILED("250 fine\r\n") },
	  .stage = STAGE_STARTTLS, .status = "4.5.0", .why = "the server answered STARTTLS with 250" },
	{ "second LHLO refused", .starttls = STARTTLS_IF_OFFERED,
	  .steps = { GREETING, STARTTLS_SENT, TLS_BEGUN, ENCRYPTED, FAILED("500 5.5.2 no\r\n") },
	  .stage = STAGE_LHLO, .code = 500, .status = "5.5.2", .why = "no" },
	{ "lost after STARTTLS", .starttls = STARTTLS_IF_OFFERED,
	  .steps = { GREETING, STARTTLS_SENT, FAILED("(lost)") },
	  .stage = STAGE_STARTTLS, .status = "4.4.2", .why = "gone" },

	{ "AUTH in clear where nobody listens", .guarded = true, .auth = true, .told_guarded = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, SECOND_ANSWER, READY("235 2.7.0 welcome\r\n") } },
	{ "AUTH in clear where others listen", .auth = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, SECOND_ANSWER, READY("235 2.7.0 welcome\r\n") } },
	{ "AUTH behind STARTTLS only", .starttls = STARTTLS_IF_OFFERED, .auth = true, .told_guarded = true,
	  .steps = { GREETING, STARTTLS_SENT, TLS_BEGUN, ENCRYPTED, AUTH_SENT, FIRST_ANSWER, SECOND_ANSWER,
	             READY("235 2.7.0 welcome\r\n") } },
	{ "no mechanism fits", .auth = true, .refuse_choice = true, .steps = { GREETING, FAILED(AUTH_LHLO) },
	  .stage = STAGE_AUTH, .status = "4.7.4", .why = "no mechanism fits" },
	{ "AUTH refused at once", .auth = true, .steps = { GREETING, AUTH_SENT, FAILED("504 5.5.4 unknown\r\n") },
	  .stage = STAGE_AUTH, .code = 504, .status = "5.5.4", .why = "unknown" },
	{ "wrong password", .auth = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, SECOND_ANSWER, FAILED("535 5.7.8 wrong\r\n") },
	  .stage = STAGE_AUTH, .code = 535, .status = "5.7.8", .why = "wrong" },
	{ "wrong password as Cyrus says it", .auth = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, SECOND_ANSWER, FAILED("501 5.5.4 undefined error!\r\n") },
	  .stage = STAGE_AUTH, .code = 501, .status = "5.5.4", .why = "undefined error!" },
	{ "no authentication now", .auth = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, FAILED("454 4.7.0 later\r\n") },
	  .stage = STAGE_AUTH, .code = 454, .status = "4.7.0", .why = "later" },
	{ "the refusal repeats the secret", .auth = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, FAILED("535 5.7.8 no such password: hush\r\n") },
	  .stage = STAGE_AUTH, .code = 535, .status = "5.7.8",
	  .why = "(the server's words are withheld: they repeat what must stay secret)" },
	{ "too many challenges are cancelled", .auth = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, SECOND_ANSWER, { "334 more\r\n", OPENING_WAIT, "*\r\n", false },
	             FAILED("501 5.7.0 cancelled\r\n") },
	  .stage = STAGE_AUTH, .status = "4.7.0", .why = "too many questions" },
	{ "a yes to the cancellation is none", .auth = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, SECOND_ANSWER, { "334 more\r\n", OPENING_WAIT, "*\r\n", false },
	             FAILED("235 2.7.0 welcome\r\n") },
	  .stage = STAGE_AUTH, .status = "4.7.0", .why = "too many questions" },
	{ "lost after the cancellation", .auth = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, SECOND_ANSWER, { "334 more\r\n", OPENING_WAIT, "*\r\n", false },
	             FAILED("(lost)") },
	  .stage = STAGE_AUTH, .status = "4.7.0", .why = "too many questions" },
	{ "an early yes is none", .auth = true, .steps = { GREETING, AUTH_SENT, FAILED("235 2.7.0 welcome\r\n") },
	  .stage = STAGE_AUTH, .status = "4.7.0", .why = "the server said yes before the authentication was complete" },
	{ "a yes in the middle is none", .auth = true,
	  .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, FAILED("235 2.7.0 welcome\r\n") },
	  .stage = STAGE_AUTH, .status = "4.7.0", .why = "the server said yes before the authentication was complete" },
	{ "354 is no challenge", .auth = true, .steps = { GREETING, AUTH_SENT, FAILED("354 go on\r\n") },
	  .stage = STAGE_AUTH, .status = "4.5.0", .why = "the server answered AUTH with 354" },
	{ "lost in AUTH", .auth = true, .steps = { GREETING, AUTH_SENT, FIRST_ANSWER, FAILED("(lost)") },
	  .stage = STAGE_AUTH, .status = "4.4.2", .why = "gone" },
	{ "prompts of any text", .auth = true,
	  .steps = { GREETING, AUTH_SENT, { "334\r\n", OPENING_WAIT, "one\r\n", true },
	             { "334-=\r\n334 who are you?\r\n", OPENING_WAIT, "two\r\n", true }, READY("235 ok\r\n") } },
};

static enum opening_next take(struct opening *o, const char *reply, struct buf *out)
{
	struct reply_parser parser = { 0 };
	enum opening_next next;
	size_t used;

	if (strcmp(reply, "(encrypted)") == 0)
		return opening_encrypted(o, out);
	if (strcmp(reply, "(lost)") == 0) {
		opening_lost(o, "gone");
		return OPENING_FAILED;
	}
	assert_int_equal(reply_parse(&parser, reply, strlen(reply), &used), REPLY_READY);
	assert_int_equal(used, strlen(reply));
	next = opening_reply(o, &parser.reply, out);
	reply_parser_free(&parser);
	return next;
}

static void play(const struct dialogue *d)
{
	const struct opening_options options = { .name = "me", .smtp = d->smtp };
	struct fake fake = { .refuse_choice = d->refuse_choice };
	const struct auth auth = { &fake, fake_choose, fake_respond, fake_complete, fake_reveals };
	const struct opening_demands demands = { d->starttls, d->encrypted, d->guarded, d->auth ? &auth : NULL };
	struct opening o;
	enum opening_next next = OPENING_WAIT;

	opening_init(&o, &options, &demands);
	for (size_t i = 0; d->steps[i].reply != NULL; i++) {
		struct buf out = { 0 };

		next = take(&o, d->steps[i].reply, &out);
		if (next != d->steps[i].next)
			fail_msg("%s: step %zu: %d, expected %d", d->name, i, (int)next, (int)d->steps[i].next);
		if (strcmp(buf_str(&out), d->steps[i].out ? d->steps[i].out : "") != 0)
			fail_msg("%s: step %zu: sends %s", d->name, i, buf_str(&out));
		if (out.len > 0 && o.secret_out != d->steps[i].secret)
			fail_msg("%s: step %zu: secret is %d", d->name, i, o.secret_out);
		buf_free(&out);
	}
	if (next == OPENING_FAILED) {
		assert_int_equal(o.stage, d->stage);
		assert_int_equal(o.code, d->code);
		assert_string_equal(o.status, d->status);
		assert_string_equal(buf_str(&o.why), d->why);
	} else if (d->auth) {
		assert_int_equal(fake.guarded, d->told_guarded);
		assert_string_equal(fake.offered, "LOGIN PLAIN ");
	}
	opening_free(&o);
}

static void every_dialogue_ends_as_it_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++)
		play(&dialogues[i]);
}

/* RFC 3207 section 4.2: nothing that was said in clear may be believed. */
static void capabilities_from_before_tls_are_forgotten(void **state)
{
	const struct opening_options options = { .name = "me" };
	const struct opening_demands demands = { .starttls = STARTTLS_IF_OFFERED };
	struct opening o;
	struct buf out = { 0 };

	(void)state;
	opening_init(&o, &options, &demands);
	take(&o, "220 hi\r\n", &out);
	take(&o, "250-store\r\n250-CHUNKING\r\n250-SIZE 5\r\n250 STARTTLS\r\n", &out);
	take(&o, "220 go\r\n", &out);
	take(&o, "(encrypted)", &out);
	assert_int_equal(o.caps.has, 0);
	assert_int_equal(take(&o, "250-store\r\n250 PIPELINING\r\n", &out), OPENING_READY);
	assert_int_equal(o.caps.has, CAP_PIPELINING);
	assert_int_equal(o.caps.size_max, 0);
	buf_free(&out);
	opening_free(&o);
}

static void the_other_half_of_an_exchange_is_hidden(void **state)
{
	const struct opening_options options = { .name = "me" };
	struct fake fake = { 0 };
	const struct auth auth = { &fake, fake_choose, fake_respond, fake_complete, fake_reveals };
	const struct opening_demands demands = { .auth = &auth };
	struct reply challenge = { .code = 334 }, echo = { .code = 535 }, plain = { .code = 535 };
	struct opening o;
	struct buf out = { 0 };

	(void)state;
	buf_adds(&echo.lines, "what is hush?\n");
	buf_adds(&plain.lines, "no\n");
	opening_init(&o, &options, &demands);
	assert_false(opening_hides(&o, &echo));
	take(&o, "220 hi\r\n", &out);
	take(&o, AUTH_LHLO, &out);
	assert_true(opening_hides(&o, &challenge));
	assert_true(opening_hides(&o, &echo));
	assert_false(opening_hides(&o, &plain));
	buf_free(&echo.lines);
	buf_free(&plain.lines);
	buf_free(&out);
	opening_free(&o);
}

static void a_name_that_breaks_the_line_is_our_fault(void **state)
{
	const struct opening_options options = { .name = "me\r\nMAIL FROM:<>" };
	const struct opening_demands demands = { 0 };
	struct opening o;
	struct buf out = { 0 };

	(void)state;
	opening_init(&o, &options, &demands);
	assert_int_equal(take(&o, "220 hi\r\n", &out), OPENING_FAILED);
	assert_int_equal(out.len, 0);
	assert_string_equal(o.status, "4.3.5");
	buf_free(&out);
	opening_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_dialogue_ends_as_it_should),
		cmocka_unit_test(capabilities_from_before_tls_are_forgotten),
		cmocka_unit_test(the_other_half_of_an_exchange_is_hidden),
		cmocka_unit_test(a_name_that_breaks_the_line_is_our_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
