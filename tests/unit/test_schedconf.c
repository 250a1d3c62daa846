#include "tests/unit/unit.h"

#include "tests/unit/scratch.h"

#include "channel/queue/schedconf.h"

static struct schedconf *parsed(const char *text)
{
	struct buf why = { 0 };
	struct schedconf *conf = schedconf_parse("scheduler.conf", text, strlen(text), &why);

	if (conf == NULL)
		fail_msg("%s", buf_str(&why));
	buf_free(&why);
	return conf;
}

static void refused_bytes(const char *text, size_t n, const char *expect)
{
	struct buf why = { 0 };

	assert_null(schedconf_parse("scheduler.conf", text, n, &why));
	assert_string_equal(buf_str(&why), expect);
	buf_free(&why);
}

static void refused(const char *text, const char *expect)
{
	refused_bytes(text, strlen(text), expect);
}

/* As the file that ZMailer comes with is laid out. */
static const char sample[] =
	"# defaults\n"
	"*/*\tinterval=1m\n"
	"\tidlemax=4m # not more\n"
	"\texpiry=3d\n"
	"\tretries=\"1 1 2 3\"\n"
	"\tmaxchannel=0\n"
	"\tmaxta=250\n"
	"\tuser=0 group=0\n"
	"\tageorder overfeed = 150\n"
	"\tskew=1\n"
	"PARAMauthfile = \"/x/scheduler.auth\"\n"
	"\n"
	"local/file*\n"
	"local/pipe*\n"
	"\tinterval=5m\n"
	"\tcommand=\"mailbox -8\"\n"
	"\n"
	"smtp/*.{se,dk}\n"
	"\tcommand=\"smtp -s\" # -l ${LOGDIR}/smtp\"\n"
	"LMTP\tMaxRing=5 command=\"lmtp -c $channel \\\n  -F UNIX:/x\" retries=\"7\"\n"
	"uucp/*\t\tmaxchannel=5 command=\"sm -c $channel $host\" queueonly nice=3\n";

static void defaults_are_inherited_and_overridden(void **state)
{
	struct schedconf *conf = parsed(sample);
	const struct clause *lmtp = schedconf_match(conf, "lmtp", "store1"), *uucp = schedconf_match(conf, "uucp", "x");

	(void)state;
	assert_int_equal(lmtp->interval, 60);
	assert_int_equal(lmtp->idle_max, 240);
	assert_int_equal(lmtp->expiry, 3 * 86400);
	assert_int_equal(lmtp->expiry2, 0);
	assert_int_equal(lmtp->retry_count, 1);
	assert_int_equal(lmtp->retries[0], 7);
	assert_int_equal(lmtp->max_channel, UNLIMITED);
	assert_int_equal(lmtp->max_agents, 250);
	assert_int_equal(lmtp->max_ring, 5);
	assert_int_equal(lmtp->max_destination, 1);
	assert_int_equal(lmtp->overfeed, 150);
	assert_int_equal(lmtp->uid, 0);
	assert_string_equal(lmtp->command, "lmtp -c $channel   -F UNIX:/x");
	assert_false(lmtp->with_host);
	assert_int_equal(uucp->retry_count, 4);
	assert_int_equal(uucp->retries[3], 3);
	assert_true(uucp->with_host);
	assert_true(uucp->queue_only);
	schedconf_free(&conf);
}

static void empty_clauses_share_what_the_next_one_says(void **state)
{
	struct schedconf *conf = parsed(sample);
	const struct clause *file = schedconf_match(conf, "local", "file.x");
	const struct clause *pipe = schedconf_match(conf, "local", "pipe");

	(void)state;
	assert_string_equal(file->host, "file*");
	assert_string_equal(file->command, "mailbox -8");
	assert_string_equal(pipe->command, "mailbox -8");
	assert_int_equal(file->interval, 300);
	assert_int_equal(file->expiry, 3 * 86400);
	schedconf_free(&conf);
}

static void the_first_pattern_that_fits_counts(void **state)
{
	struct schedconf *conf = parsed(sample);

	(void)state;
	assert_null(schedconf_match(conf, "local", "other"));
	assert_null(schedconf_match(conf, "nobody", "x"));
	assert_non_null(schedconf_match(conf, "smtp", "a.b.se"));
	assert_non_null(schedconf_match(conf, "smtp", "A.B.DK"));
	assert_null(schedconf_match(conf, "smtp", "a.b.no"));
	assert_null(schedconf_match(conf, "smtp", "se"));
	schedconf_free(&conf);
	conf = parsed("a/* interval=1s\na/x interval=2s\n");
	assert_int_equal(schedconf_match(conf, "a", "x")->interval, 1);
	schedconf_free(&conf);
	/* the clause of defaults delivers nothing, even with a command */
	conf = parsed("*/* command=x\n");
	assert_null(schedconf_match(conf, "a", "x"));
	schedconf_free(&conf);
}

static void what_means_nothing_here_is_noted_once(void **state)
{
	struct schedconf *conf = parsed(sample);

	(void)state;
	assert_string_equal(buf_str(&conf->pool.ignored), "skew, PARAMauthfile, nice");
	schedconf_free(&conf);
	conf = parsed("a/* skew=1\nb/* skew=2 nice=1\nc/* SKEW=3\n");
	assert_string_equal(buf_str(&conf->pool.ignored), "skew, nice");
	schedconf_free(&conf);
}

static void without_words_there_are_sensible_values(void **state)
{
	struct schedconf *conf = parsed("a command=x\n");
	const struct clause *c = schedconf_match(conf, "a", "-");

	(void)state;
	assert_int_equal(c->interval, 3600);
	assert_int_equal(c->idle_max, 3 * 3600);
	assert_int_equal(c->expiry, 0);
	assert_int_equal(c->retry_count, 1);
	assert_true(c->overfeed >= 100);
	assert_true(c->uid == (uid_t)-1);
	schedconf_free(&conf);
	conf = parsed("");
	assert_int_equal(conf->count, 0);
	schedconf_free(&conf);
}

static void mistakes_are_named_with_line_and_column(void **state)
{
	(void)state;
	refused("\tinterval=1m\n", "scheduler.conf:1:2: expected a pattern in the first column");
	refused("a/*\n\tintervall=1m\n", "scheduler.conf:2:2: expected a key that runqueue(8) lists, found \"intervall=...\"");
	refused("a/* interval\n", "scheduler.conf:1:5: expected a key with = and a value, found \"interval\"");
	refused("a/* interval=1x\n", "scheduler.conf:1:5: expected an interval such as 1h30m, found \"interval=...\"");
	refused("a/* retries=\"1 0\"\n", "scheduler.conf:1:5: expected retries as numbers above 0, found \"retries=...\"");
	refused("a/* retries=\"\"\n", "scheduler.conf:1:5: expected retries as numbers above 0, found \"retries=...\"");
	refused("a/* maxring=-1\n", "scheduler.conf:1:5: expected a number up to 10000, found \"maxring=...\"");
	refused("a/* user=no-such-user\n", "scheduler.conf:1:5: expected a user of this system, found \"user=...\"");
	refused("lmtp/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}\n\tcommand=x\n",
	        "scheduler.conf:1:1: expected a pattern of at most 1000 bytes and alternatives; make several of it");
#define INVISIBLE ", which looks like a blank or like nothing"
	refused("lmtp/*\xc2\xa0\n\tcommand=x\n", "scheduler.conf:1:1: found U+00A0" INVISIBLE);
	refused("\xe2\x80\x8blmtp/*\n\tcommand=x\n", "scheduler.conf:1:1: found U+200B" INVISIBLE);
	refused("# \xc2\xa0\n\xef\xbb\xbflmtp/*\n\tcommand=x\n", "scheduler.conf:2:1: found U+FEFF" INVISIBLE);
	refused("a/*\n\tcommand=\"x\xc2\xa0-y\"\n", "scheduler.conf:2:2: found U+00A0" INVISIBLE);
	refused("a/*\n\tinterval\xc2\xa0=1m\n", "scheduler.conf:2:2: found U+00A0" INVISIBLE);
	refused_bytes("a/*\n\tcommand=\"lmtp\0 -F x\"\n", 26, "scheduler.conf:2:15: expected text, found a NUL byte");
	refused("a/* group=no-such-group\n", "scheduler.conf:1:5: expected a group of this system, found \"group=...\"");
	refused("a/* command=\"\"\n", "scheduler.conf:1:5: expected a command, found \"command=...\"");
	refused("a/*\n command=\"x\n", "scheduler.conf:2:10: expected a \" at the end of the value");
	refused("a/*\n command=\"x", "scheduler.conf:2:10: expected a \" at the end of the value");
	refused("interval=1m\n", "scheduler.conf:1:1: expected a pattern channel/host");
	refused("/x interval=1m\n", "scheduler.conf:1:1: expected a pattern channel/host");
	refused("a/*\n retries=\"1 \\\n2 x\" \n", "scheduler.conf:2:2: expected retries as numbers above 0, found \"retries=...\"");
}

static void any_bytes_are_survived(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		char text[sizeof sample];
		struct buf why = { 0 };
		struct schedconf *conf;

		memcpy(text, sample, sizeof sample);
		for (int i = 0; i < 1 + round % 5; i++) {
			static const char bytes[] = "\n\0\"\\ \t=#*/{}$,\377";

			seed = seed * 1103515245u + 12345u;
			text[(seed >> 8) % (sizeof text - 1)] = bytes[(seed >> 24) % (sizeof bytes - 1)];
		}
		conf = schedconf_parse("x", text, sizeof text - 1, &why);
		if (conf != NULL)
			schedconf_match(conf, "smtp", "a.b.se");
		else
			assert_null(strchr(buf_str(&why), '\n'));
		schedconf_free(&conf);
		buf_free(&why);
	}
}

static void a_byte_order_mark_and_cr_lf_hide_no_clause(void **state)
{
	struct buf why = { 0 };
	struct schedconf *conf = schedconf_read(scratch_text("scheduler.conf", "\xef\xbb\xbf*/*\tinterval=7m\r\n"
	                                                     "lmtp/*\r\n\tcommand=\"lmtp -c $channel\"\r\n"), &why);
	const struct clause *clause;

	(void)state;
	assert_string_equal(buf_str(&why), "");
	assert_non_null(conf);
	clause = schedconf_match(conf, "lmtp", "x.example");
	assert_non_null(clause);
	assert_int_equal(clause->interval, 7 * 60);
	schedconf_free(&conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_inherited_and_overridden),
		cmocka_unit_test(empty_clauses_share_what_the_next_one_says),
		cmocka_unit_test(the_first_pattern_that_fits_counts),
		cmocka_unit_test(what_means_nothing_here_is_noted_once),
		cmocka_unit_test(without_words_there_are_sensible_values),
		cmocka_unit_test(mistakes_are_named_with_line_and_column),
		cmocka_unit_test(any_bytes_are_survived),
		cmocka_unit_test(a_byte_order_mark_and_cr_lf_hide_no_clause),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
