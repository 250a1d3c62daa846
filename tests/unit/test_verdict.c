#include "tests/unit/unit.h"

#include "channel/queue/verdict.h"
#include "tests/unit/scratch.h"

#define NOW_MS 5000000
#define MINUTE 60000
#define DAY 86400
#define NO_AGENT 0

/* Recipients b at 41 and c at 64. */
static const char control[] =
	"@ 0x00000007\ni 1\no 1\nl <x>\ns local - a 1\nr           lmtp - b 1\nr           lmtp - c 1\nm\n\n";
static const off_t offsets[] = { 41, 64 };

static const unsigned retries[] = { 1, 5 };
static const struct clause clause = {
	.channel = (char *)"lmtp", .host = (char *)"*", .command = "/x", .interval = 60, .retries = retries, .retry_count = 2,
	.expiry = 3 * DAY,
};

struct stage {
	struct scheduler scheduler;
	struct agent agent;
	struct message *message;
	struct group *group;
};

static void open_stage(struct stage *st, int64_t age, pid_t agent)
{
	struct buf why = { 0 };
	struct control *c;

	scratch_text("1", control);
	if (control_open("1", &c, &why) != CONTROL_OK)
		fail_msg("%s", buf_str(&why));
	*st = (struct stage){
		.agent = { .fd = -1, .pid = agent, .clause = &clause, .channel = xstrdup("lmtp"), .outstanding = 1, .lines.most = 100 },
		.scheduler = { .unblock_at = CLOCK_NEVER, .now = { .ms = NOW_MS, .wall = 1700000000 } },
	};
	queue_init(&st->scheduler.queue);
	st->scheduler.retiring_end = &st->scheduler.retiring;
	st->message = queue_add(&st->scheduler.queue, c, "/nonesuch", &(struct timespec){ .tv_sec = 7 });
	st->message->seen_at = NOW_MS;
	st->message->seen_age = age;
	st->group = &st->message->groups[0];
	st->group->destination->clause = &clause;
	st->agent.destination = st->group->destination;
	control_close(&c);
}

static void close_stage(struct stage *st)
{
	queue_free(&st->scheduler.queue);
	free(st->agent.channel);
	buf_free(&st->agent.out);
	free(st->agent.words);
}

static void feed(struct stage *st)
{
	queue_feed(&st->scheduler.queue, st->group, &st->agent.fed, &st->agent);
	st->group->agent_pid = st->agent.pid;
	agent_job(&st->agent, "1", "-", st->scheduler.now.ms);
}

/* What the agent does to the file: a mark for each recipient, "~" with `pid`. */
static void mark(const char *marks, pid_t pid)
{
	int fd = open(scratch("1"), O_RDWR);

	for (size_t i = 0; i < 2; i++) {
		char bytes[16];

		snprintf(bytes, sizeof bytes, "%c%6.0ld", marks[i], marks[i] == '~' ? (long)pid : 0);
		assert_int_equal(pwrite(fd, bytes, 7, offsets[i] + 1), 7);
	}
	close(fd);
}

static void marks_are(const char *row, const char *expect)
{
	struct buf text = { 0 };
	char found[3] = "";

	assert_true(file_read_path(scratch("1"), &text));
	found[0] = text.data[offsets[0] + 1];
	found[1] = text.data[offsets[1] + 1];
	if (strcmp(found, expect) != 0)
		fail_msg("%s: marks \"%s\", expected \"%s\"", row, found, expect);
	buf_free(&text);
}

/* Lines, each with LF. */
static void say(struct stage *st, const char *lines)
{
	char *copy = xstrdup(lines), *rest = copy, *line;

	while ((line = strsep(&rest, "\n")) != NULL && rest != NULL)
		verdict_line(&st->scheduler, &st->agent, line);
	free(copy);
}

#define B "1/41\t"
#define C "1/64\t"
#define WORDS "\tfull\n"
#define NOTARY "b\001failed\0014.2.2\001smtp; 452 (full)\001x\001y\t"

static void one_round_of_an_agent(void **state)
{
	static const struct row {
		const char *name, *marks, *says;
		int64_t age;               /* seconds */
		enum group_state group;
		int64_t sleeps, blocked;   /* milliseconds from now, 0 = not */
		const char *after;         /* marks */
	} rows[] = {
		{ "all delivered", "++", B "\tok3 x\n" C "\tok x\n", 0, GROUP_CLOSED, 0, 0, "++" },
		{ "all deferred", "  ", B NOTARY "deferred x\n" C NOTARY "deferred x\n", 0, GROUP_ASLEEP, MINUTE, 0, "  " },
		{ "one of each", "+ ", B "\tok3 x\n" C NOTARY "deferred x\n", 0, GROUP_ASLEEP, MINUTE, 0, "+ " },
		{ "a word nobody knows", "  ", B "\tperhaps x\n" C "\tok3 x\n", 0, GROUP_ASLEEP, MINUTE, 0, "  " },
		{ "the destination", "  ", B NOTARY "retryat +60 x\n" C NOTARY "deferall x\n", 0, GROUP_ASLEEP, MINUTE, MINUTE, "  " },
		{ "the destination, then it answers", "  ", B NOTARY "retryat x\n" C NOTARY "deferred x\n", 0, GROUP_ASLEEP, MINUTE, 0, "  " },
		{ "marks it could not write", "~~", B "\tok3 x\n" C NOTARY "deferred x\n", 0, GROUP_ASLEEP, MINUTE, 0, "+ " },
		{ "a failure it could not mark", "~~", B "\terror2 x\n" C NOTARY "deferred x\n", 0, GROUP_ASLEEP, MINUTE, 0, "- " },
		{ "no report", "  ", "#hungry\n#hungry\n", 0, GROUP_ASLEEP, MINUTE, 0, "  " },
		{ "no report, but marks", "++", "#hungry\n#hungry\n", 0, GROUP_CLOSED, 0, 0, "++" },
		{ "one report of two", "+ ", B "\tok3 x\n#hungry\n#hungry\n", 0, GROUP_ASLEEP, MINUTE, 0, "+ " },
		{ "nothing to do", "  ", "#resync 1\n", 0, GROUP_ASLEEP, 1000, 0, "  " },
		{ "too old", "  ", B NOTARY "deferred x\n" C NOTARY "deferred x\n", 3 * DAY + 1, GROUP_CLOSED, 0, 0, "--" },
		{ "almost too old", "  ", B NOTARY "deferred x\n" C NOTARY "deferred x\n", 3 * DAY, GROUP_ASLEEP, MINUTE, 0, "  " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *r = &rows[i];
		struct stage st;

		open_stage(&st, r->age, getpid());
		feed(&st);
		mark(r->marks, getpid());
		say(&st, r->says);
		if (st.group->state != r->group)
			fail_msg("%s: group in state %d, expected %d", r->name, st.group->state, r->group);
		if (r->group == GROUP_ASLEEP && st.group->due - NOW_MS != r->sleeps)
			fail_msg("%s: asleep for %lld ms", r->name, (long long)(st.group->due - NOW_MS));
		if (st.group->destination->blocked_until != (r->blocked != 0 ? NOW_MS + r->blocked : 0))
			fail_msg("%s: blocked until %lld", r->name, (long long)st.group->destination->blocked_until);
		assert_int_equal(st.scheduler.retiring != NULL, r->group == GROUP_CLOSED);
		marks_are(r->name, r->after);
		assert_int_equal(st.agent.fed.count, 0);
		close_stage(&st);
	}
}

static void retries_follow_each_other(void **state)
{
	struct stage st;

	(void)state;
	open_stage(&st, 0, getpid());
	for (size_t i = 0; i < 2; i++) {
		feed(&st);
		say(&st, B NOTARY "deferred x\n" C NOTARY "deferred x\n");
		assert_int_equal(st.group->due, st.scheduler.now.ms + retries[i] * MINUTE);
		st.scheduler.now.ms = st.group->due;
	}
	close_stage(&st);
}

static void age_is_what_has_passed_whatever_the_wall_says(void **state)
{
	struct stage st;

	(void)state;
	/* from 1970, as the clock had it when it was seen; then the clock was set */
	open_stage(&st, 0, getpid());
	st.scheduler.now = (struct moment){ .ms = NOW_MS + MINUTE, .wall = 1800000000 };
	feed(&st);
	say(&st, B NOTARY "deferred x\n" C NOTARY "deferred x\n");
	assert_int_equal(st.group->state, GROUP_ASLEEP);
	st.scheduler.now.ms = NOW_MS + (int64_t)(3 * DAY + 1) * 1000;
	feed(&st);
	say(&st, B NOTARY "deferred x\n" C NOTARY "deferred x\n");
	assert_int_equal(st.group->state, GROUP_CLOSED);
	close_stage(&st);
}

static void what_an_agent_that_ended_had_not_begun_goes_at_once(void **state)
{
	struct stage st;

	(void)state;
	open_stage(&st, 0, getpid());
	feed(&st);
	verdict_ended(&st.scheduler, &st.agent);
	assert_int_equal(st.group->state, GROUP_READY);
	close_stage(&st);
}

static void what_somebody_alive_has_locked_waits_as_zmailer_does(void **state)
{
	struct stage st;

	(void)state;
	open_stage(&st, 0, NO_AGENT);
	feed(&st);
	mark("~ ", getpid());
	verdict_ended(&st.scheduler, &st.agent);
	assert_int_equal(st.group->state, GROUP_ASLEEP);
	assert_int_equal(st.group->due, NOW_MS + 32000);
	marks_are("held", "~ ");
	close_stage(&st);
}

static void who_is_asked_again_and_again_waits_longer(void **state)
{
	struct stage st;

	(void)state;
	open_stage(&st, 0, getpid());
	for (int i = 1; i <= 31; i++) {
		feed(&st);
		say(&st, "#resync 1\n");
		assert_int_equal(st.group->due, st.scheduler.now.ms + (i <= 30 ? i * 1000 : 10 * MINUTE));
		st.scheduler.now.ms = st.group->due;
	}
	close_stage(&st);
}

static void a_talking_agent_is_passed_on_up_to_a_bound(void **state)
{
	int log = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
	struct stage st;

	(void)state;
	dup2(nowhere, STDERR_FILENO);
	open_stage(&st, 0, getpid());
	for (int i = 0; i < 150; i++)
		say(&st, "# blah\n");
	assert_int_equal(st.agent.lines.left_out, 50);
	/* in the next minute it may talk again */
	st.scheduler.now.ms += MINUTE;
	say(&st, "# blah\n");
	assert_int_equal(st.agent.lines.left_out, 0);
	dup2(log, STDERR_FILENO);
	close(log);
	close(nowhere);
	close_stage(&st);
}

static int begin(void **state)
{
	return scratch_begin(state) != 0 || chdir(scratch_directory) < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_round_of_an_agent),
		cmocka_unit_test(retries_follow_each_other),
		cmocka_unit_test(age_is_what_has_passed_whatever_the_wall_says),
		cmocka_unit_test(what_an_agent_that_ended_had_not_begun_goes_at_once),
		cmocka_unit_test(what_somebody_alive_has_locked_waits_as_zmailer_does),
		cmocka_unit_test(who_is_asked_again_and_again_waits_longer),
		cmocka_unit_test(a_talking_agent_is_passed_on_up_to_a_bound),
	};

	return cmocka_run_group_tests(tests, begin, scratch_end);
}
