#include "tests/unit/unit.h"

#include <poll.h>

#include "channel/queue/scheduler.h"
#include "lib/alloc.h"
#include "tests/unit/scratch.h"

#define T0 5000000

static struct moment at(int64_t ms)
{
	return (struct moment){ .ms = ms, .wall = 1700000000 + ms / 1000 };
}

static void begin(struct scheduler *s, const char *conf)
{
	struct buf why = { 0 };
	struct schedconf *c = schedconf_parse("conf", conf, strlen(conf), &why);

	if (c == NULL)
		fail_msg("%s", buf_str(&why));
	scheduler_init(s, c, "/nonesuch");
	s->now = at(T0);
}

static void end(struct scheduler *s)
{
	struct schedconf *conf = (struct schedconf *)s->conf;
	struct agent *next;

	for (struct agent *w = s->agents; w != NULL; w = next) {
		next = w->next;
		agent_free(&w);
	}
	scheduler_free(s);
	schedconf_free(&conf);
}

/* A message for one host, ready to go. */
static struct group *add(struct scheduler *s, const char *id, const char *host)
{
	char *text = xasprintf("@ 0x7\ni %s\no 1\ns local - a 1\nr           lmtp %s u 1\nm\n\n", id, host);
	struct buf why = { 0 };
	struct control *c;
	struct message *m;

	if (control_parse(id, text, strlen(text), &c, &why) != CONTROL_OK)
		fail_msg("%s", buf_str(&why));
	m = queue_add(&s->queue, c, "/nonesuch", &(struct timespec){ 0 });
	m->groups[0].destination->clause = schedconf_match(s->conf, "lmtp", host);
	queue_ready(&s->queue, &m->groups[0]);
	s->attention = true;
	control_close(&c);
	return &m->groups[0];
}

/* An agent that nobody has started: what it is sent stays in its buffer. */
static struct agent *agent(struct scheduler *s, const char *host, enum agent_state state, int64_t since)
{
	struct agent *w = xcalloc(1, sizeof *w);

	w->fd = -1;
	w->channel = xstrdup("lmtp");
	w->clause = schedconf_match(s->conf, "lmtp", host);
	w->state = state;
	w->since = since;
	w->next = s->agents;
	s->agents = w;
	s->agent_count++;
	return w;
}

#define COMMAND "command=\"/bin/false\"\n"

static void a_parked_agent_goes_when_its_time_is_up(void **state)
{
	struct scheduler s;
	struct agent *w;

	(void)state;
	begin(&s, "lmtp/*\n\tidlemax=2m " COMMAND);
	w = agent(&s, "x", AGENT_IDLE, T0);
	assert_int_equal(scheduler_deadline(&s), T0 + 120000);
	scheduler_work(&s, at(T0 + 119999));
	assert_int_equal(w->state, AGENT_IDLE);
	scheduler_work(&s, at(T0 + 120000));
	assert_int_equal(w->state, AGENT_LEAVING);
	assert_string_equal(buf_str(&w->out), "\n");
	end(&s);
}

static void room_is_made_by_one_that_counts_for_the_limit(void **state)
{
	static const struct {
		const char *limit;
		bool same_clause;         /* the parked agent's, and that of the mail */
		bool goes;
	} rows[] = {
		{ "maxchannel=1", true, true }, { "maxchannel=1", false, true }, { "maxta=1", false, true },
		/* two in the ring of the mail, but both at work: one of another clause makes no room there */
		{ "maxring=1", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *conf = xasprintf("lmtp/x\n\t%s %slmtp/*\n\t%s %s", rows[i].limit, COMMAND, rows[i].limit, COMMAND);
		struct scheduler s;
		struct agent *parked;

		begin(&s, conf);
		parked = agent(&s, rows[i].same_clause ? "z" : "x", AGENT_IDLE, T0);
		/* it serves another host only */
		parked->host = xstrdup("other");
		if (!rows[i].goes)
			agent(&s, "z", AGENT_BUSY, T0);
		add(&s, "1", "z");
		scheduler_work(&s, at(T0 + 1));
		if ((parked->state == AGENT_LEAVING) != rows[i].goes)
			fail_msg("%s, %s clause: state %d", rows[i].limit, rows[i].same_clause ? "same" : "other", parked->state);
		end(&s);
		free(conf);
	}
}

static void one_job_tells_how_the_destination_does_then_a_burst_follows(void **state)
{
	static const char *const names[] = { "1", "2", "3", "4", "5" };
	struct scheduler s;
	struct agent *w;

	(void)state;
	begin(&s, "lmtp/*\n\toverfeed=2 " COMMAND);
	w = agent(&s, "x", AGENT_IDLE, T0);
	for (size_t i = 0; i < 5; i++)
		add(&s, names[i], "x");
	scheduler_work(&s, at(T0));
	assert_string_equal(buf_str(&w->out), "1\tx\n");
	w->state = AGENT_HUNGRY;
	s.attention = true;
	buf_clear(&w->out);
	scheduler_work(&s, at(T0));
	assert_string_equal(buf_str(&w->out), "2\tx\n3\tx\n4\tx\n");
	end(&s);
}

static void a_destination_in_trouble_waits_until_its_time(void **state)
{
	struct scheduler s;
	struct agent *w;
	struct group *g;

	(void)state;
	begin(&s, "lmtp/*\n\t" COMMAND);
	w = agent(&s, "x", AGENT_IDLE, T0);
	g = add(&s, "1", "x");
	g->destination->blocked_until = T0 + 1000;
	scheduler_work(&s, at(T0 + 999));
	assert_int_equal(g->state, GROUP_READY);
	assert_int_equal(s.unblock_at, T0 + 1000);
	assert_int_equal(scheduler_deadline(&s), T0 + 1000);
	scheduler_work(&s, at(T0 + 1000));
	assert_int_equal(g->state, GROUP_FED);
	assert_string_equal(buf_str(&w->out), "1\tx\n");
	end(&s);
}

static void who_sleeps_wakes_when_due_and_with_once_never(void **state)
{
	(void)state;
	for (int once = 0; once <= 1; once++) {
		struct scheduler s;
		struct group *g;

		begin(&s, "lmtp/*\n\t" COMMAND);
		s.once = once;
		agent(&s, "x", AGENT_IDLE, T0);
		g = add(&s, "1", "x");
		queue_sleep(&s.queue, g, T0 + 5000);
		scheduler_work(&s, at(T0 + 4999));
		assert_int_equal(g->state, GROUP_ASLEEP);
		scheduler_work(&s, at(T0 + 5000));
		assert_int_equal(g->state, once ? GROUP_ASLEEP : GROUP_FED);
		end(&s);
	}
}

/* Names are inode numbers, which come back as soon as a file is removed. */
static void a_message_that_comes_under_the_name_of_one_that_goes_is_seen_when_that_has_gone(void **state)
{
	static const char text[] = "@ 0x7\ni 1\no 1\ns local - a 1\nr           lmtp x u 1\nm\n\n";
	struct scheduler s;
	struct message *old, *m;
	struct group *g;

	(void)state;
	begin(&s, "lmtp/*\n\t" COMMAND);
	assert_int_equal(chdir(scratch_directory), 0);
	g = add(&s, "1", "x");
	old = g->message;
	queue_close(&s.queue, g);
	queue_settle(old, &old->recipients[0], RECIPIENT_DONE);
	remover_take(s.remover, old, "nonesuch", "nonesuch");
	scratch_write("1", text, sizeof text - 1);
	scheduler_arrived(&s, "1", at(T0));
	/* the old one may have gone by now */
	for (int i = 0; i < 1000 && (m = queue_find(&s.queue, 1)) != NULL && m->open == 0; i++) {
		poll(NULL, 0, 10);
		scheduler_work(&s, at(T0));
	}
	assert_non_null(m);
	assert_int_equal(m->open, 1);
	end(&s);
}

static void mail_that_no_command_may_take_is_held(void **state)
{
	static const struct {
		const char *conf, *host;
		bool held;
	} rows[] = {
		{ "lmtp/*\n\tcommand=\"/x $host\"\n", "store", false }, { "lmtp/*\n\tcommand=\"/x $host\"\n", "-", false },
		{ "lmtp/*\n\tcommand=\"/x $host\"\n", "-lx", true }, { "lmtp/*\n\tcommand=\"/x -l${host}\"\n", "../1", true },
		{ "lmtp/*\n\tcommand=\"/x $host\"\n", "UNIX:/run/x", false }, { "lmtp/*\n\tcommand=\"/x $host\"\n", "unix:/../x", true },
		{ "lmtp/*\n\tcommand=\"/x\"\n", "-lx", false }, { "lmtp/*\n\tqueueonly command=\"/x\"\n", "x", true },
		{ "lmtp/*\n\tinterval=1\n", "x", true }, { "other/*\n\tcommand=\"/x\"\n", "x", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct scheduler s;
		const char *unfit;
		struct group *g;

		begin(&s, rows[i].conf);
		g = add(&s, "1", rows[i].host);
		if (scheduler_holds(g->destination, &unfit) != rows[i].held)
			fail_msg("%s for %s", rows[i].conf, rows[i].host);
		end(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_parked_agent_goes_when_its_time_is_up),
		cmocka_unit_test(room_is_made_by_one_that_counts_for_the_limit),
		cmocka_unit_test(one_job_tells_how_the_destination_does_then_a_burst_follows),
		cmocka_unit_test(a_destination_in_trouble_waits_until_its_time),
		cmocka_unit_test(who_sleeps_wakes_when_due_and_with_once_never),
		cmocka_unit_test(a_message_that_comes_under_the_name_of_one_that_goes_is_seen_when_that_has_gone),
		cmocka_unit_test(mail_that_no_command_may_take_is_held),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
