#include "tests/unit/unit.h"

#include "channel/queue/scheduler_state.h"

#define T0 5000000

static void begin(struct scheduler *s)
{
	*s = (struct scheduler){ .now = { .ms = T0, .wall = 1700000000 } };
	s->retiring_end = &s->retiring;
}

/* The numbers of the messages that are settled, in their order. */
static const char *retiring(const struct scheduler *s, const struct message *all)
{
	static char text[16];
	size_t n = 0;

	for (const struct message *m = s->retiring; m != NULL; m = m->next_retiring)
		text[n++] = (char)('0' + (m - all));
	text[n] = '\0';
	return text;
}

static void settled_messages_are_removed_in_their_order(void **state)
{
	struct message all[4] = { 0 };
	struct scheduler s;

	(void)state;
	begin(&s);
	for (size_t i = 0; i < 4; i++)
		scheduler_retire(&s, &all[i]);
	assert_string_equal(retiring(&s, all), "0123");
}

static void one_that_is_no_longer_settled_leaves_the_others(void **state)
{
	/* first, in between, last; then one is added behind those that are left */
	static const struct {
		size_t leaves;
		const char *left;
	} rows[] = { { 0, "123" }, { 1, "023" }, { 2, "013" } };
	struct message all[4];
	struct scheduler s;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		memset(all, 0, sizeof all);
		begin(&s);
		for (size_t k = 0; k < 3; k++)
			scheduler_retire(&s, &all[k]);
		assert_true(scheduler_retire_not(&s, &all[rows[i].leaves]));
		assert_false(scheduler_retire_not(&s, &all[rows[i].leaves]));
		scheduler_retire(&s, &all[3]);
		assert_string_equal(retiring(&s, all), rows[i].left);
	}
}

static void the_only_one_may_leave(void **state)
{
	struct message all[2] = { 0 };
	struct scheduler s;

	(void)state;
	begin(&s);
	scheduler_retire(&s, &all[0]);
	assert_true(scheduler_retire_not(&s, &all[0]));
	assert_null(s.retiring);
	scheduler_retire(&s, &all[1]);
	assert_string_equal(retiring(&s, all), "1");
}

static void the_pause_before_another_try_doubles_up_to_a_minute(void **state)
{
	static const int64_t pauses[] = { 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000 };
	struct message all[1] = { 0 };
	struct scheduler s;

	(void)state;
	begin(&s);
	for (size_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
		scheduler_retire_later(&s, &all[0]);
		assert_int_equal(all[0].retire_at, T0 + pauses[i]);
		assert_true(scheduler_retire_not(&s, &all[0]));
	}
}

static void what_the_reporter_said_decides_when_a_message_is_removed(void **state)
{
	static const struct {
		bool told, once;
		const char *retiring;
		int64_t at;
		bool trouble;
	} rows[] = {
		{ true, false, "0", 0, false }, { true, true, "0", 0, false },
		/* its report could not be made: the next time, which with `once` is the next run */
		{ false, false, "0", T0 + 100, true }, { false, true, "", 0, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct message all[1] = { 0 };
		struct scheduler s;

		begin(&s);
		s.once = rows[i].once;
		scheduler_retire_again(&s, &all[0], rows[i].told);
		assert_string_equal(retiring(&s, all), rows[i].retiring);
		assert_int_equal(all[0].retire_at, rows[i].at);
		assert_int_equal(s.trouble, rows[i].trouble);
	}
}

static void mail_without_a_command_that_can_take_it_is_held(void **state)
{
	struct clause none = { 0 }, plain = { .command = (char *)"/bin/true" }, held = { .command = (char *)"/bin/true", .queue_only = true },
	              with_host = { .command = (char *)"/bin/true $host" };
	const struct {
		struct clause *clause;
		const char *host;
		bool holds, unfit;
	} rows[] = {
		{ NULL, "a", true, false }, { &none, "a", true, false }, { &held, "a", true, false }, { &plain, "a", false, false },
		{ &with_host, "a", false, false }, { &with_host, "-a", true, true }, { &with_host, "../a", true, true },
		{ &plain, "-a", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct destination d = { .clause = rows[i].clause, .channel = (char *)"lmtp", .host = (char *)rows[i].host };
		const char *unfit;

		if (scheduler_holds(&d, &unfit) != rows[i].holds || (unfit != NULL) != rows[i].unfit)
			fail_msg("row %zu: %s", i, unfit != NULL ? unfit : "fits");
	}
}

static void who_stops_reads_no_spool(void **state)
{
	struct scheduler s;

	(void)state;
	begin(&s);
	assert_false(scheduler_is_scanning(&s));
	s.arrivals.walk = (void *)&s;
	assert_true(scheduler_is_scanning(&s));
	s.stopping = true;
	assert_false(scheduler_is_scanning(&s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settled_messages_are_removed_in_their_order),
		cmocka_unit_test(one_that_is_no_longer_settled_leaves_the_others),
		cmocka_unit_test(the_only_one_may_leave),
		cmocka_unit_test(the_pause_before_another_try_doubles_up_to_a_minute),
		cmocka_unit_test(what_the_reporter_said_decides_when_a_message_is_removed),
		cmocka_unit_test(mail_without_a_command_that_can_take_it_is_held),
		cmocka_unit_test(who_stops_reads_no_spool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
