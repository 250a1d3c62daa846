#include "tests/unit/unit.h"

#include <time.h>

#include "channel/queue/queue.h"
#include "lib/alloc.h"
#include "lib/buf.h"
#include "tests/unit/spool_examples.h"

static struct message *add(struct queue *q, const char *name, const char *text, time_t when)
{
	struct buf why = { 0 };
	struct control *c;
	struct message *m;

	if (control_parse(name, xstrdup(text), strlen(text), &c, &why) != CONTROL_OK)
		fail_msg("%s", buf_str(&why));
	m = queue_add(q, c, "../queue/1", &(struct timespec){ .tv_sec = when });
	control_close(&c);
	buf_free(&why);
	return m;
}

static struct message *add_simple(struct queue *q, uint64_t id, const char *host, time_t when)
{
	char *name = xasprintf("%llu", (unsigned long long)id);
	char *text = xasprintf("@ 0x7\ni %s\no 1\ns local - a 1\nr           lmtp %s u%s 1\nm\n\n", name, host, name);
	struct message *m = add(q, name, text, when);

	free(name);
	free(text);
	return m;
}

static void recipients_of_one_destination_are_one_group(void **state)
{
	struct queue q;
	struct message *m;

	(void)state;
	queue_init(&q);
	m = add(&q, "Y/K/4711002", EXAMPLE_B, 1);
	assert_int_equal(m->count, 5);
	assert_int_equal(m->open, 5);
	assert_int_equal(m->group_count, 3);
	assert_int_equal(m->groups[0].open, 3);
	assert_string_equal(m->groups[0].destination->host, "store1");
	assert_string_equal(m->groups[1].destination->host, "store2");
	assert_string_equal(m->groups[2].destination->channel, "smtp");
	assert_ptr_equal(message_recipient(m, 447), &m->recipients[3]);
	assert_string_equal(message_recipient(m, 447)->user, "eve@example.net");
	assert_int_equal(message_recipient(m, 447)->group, 0);
	assert_null(message_recipient(m, 448));
	assert_null(message_recipient(m, 0));
	assert_ptr_equal(queue_find(&q, 4711002), m);
	assert_null(queue_find(&q, 4711003));
	queue_free(&q);
}

static void who_is_settled_already_is_not_taken_in(void **state)
{
	char text[] = EXAMPLE_B;
	struct queue q;
	struct message *m;

	(void)state;
	queue_init(&q);
	text[112] = '+';
	text[278] = '-';
	m = add(&q, "4711002", text, 1);
	assert_int_equal(m->open, 3);
	assert_int_equal(m->count, 3);
	assert_null(message_recipient(m, 111));
	assert_int_equal(m->groups[0].destination == m->groups[1].destination, 0);
	queue_free(&q);
}

static void hosts_are_one_whatever_their_case(void **state)
{
	struct queue q;

	(void)state;
	queue_init(&q);
	assert_ptr_equal(add_simple(&q, 1, "Store", 1)->groups[0].destination, add_simple(&q, 2, "sTORE", 1)->groups[0].destination);
	assert_string_equal(q.all_destinations->host, "store");
	assert_int_equal(q.all_destinations->groups, 2);
	queue_free(&q);
}

static void a_message_of_thousands_of_groups_is_found_in_time(void **state)
{
	struct buf text = { 0 };
	struct group_list fed = { 0 };
	struct queue q;
	struct message *m;
	clock_t begun = clock();

	(void)state;
	queue_init(&q);
	buf_adds(&text, "@ 0x7\ni 1\no 1\ns local - a 1\n");
	for (int i = 0; i < 20000; i++)
		buf_addf(&text, "r           lmtp h%d u%d 1\n", i % 10000, i);
	buf_adds(&text, "m\n\n");
	m = add(&q, "1", text.data, 1);
	assert_int_equal(m->group_count, 10000);
	for (size_t i = 0; i < m->group_count; i++)
		queue_ready(&q, &m->groups[i]);
	for (size_t i = 0; i < m->group_count; i++) {
		queue_feed(&q, &m->groups[i], &fed, &fed);
		assert_int_equal(m->groups[i].awaited, 2);
	}
	for (size_t i = 0; i < m->count; i++)
		queue_settle(m, &m->recipients[i], RECIPIENT_DONE);
	while (fed.first != NULL)
		queue_take_back(fed.first, &fed);
	assert_int_equal(m->open, 0);
	queue_remove(&q, m);
	queue_sweep(&q);
	assert_int_equal(q.destination_count, 0);
	assert_null(q.all_destinations);
	assert_true(clock() - begun < CLOCKS_PER_SEC);
	buf_free(&text);
	queue_free(&q);
}

static void sleepers_wake_by_due_then_by_age(void **state)
{
	static const int64_t due[] = { 50, 10, 40, 10, 30, 20, 10 };
	struct queue q;
	int64_t last = 0;
	time_t last_age = 0;

	(void)state;
	queue_init(&q);
	for (size_t i = 0; i < 7; i++)
		queue_sleep(&q, &add_simple(&q, 100 + i, "h", (time_t)(20 - i))->groups[0], due[i]);
	/* one of them leaves from the middle */
	queue_close(&q, &queue_find(&q, 102)->groups[0]);
	assert_int_equal(q.asleep_count, 6);
	for (size_t i = 0; i < 6; i++) {
		struct group *g = queue_first_asleep(&q);

		assert_true(g->due > last || (g->due == last && g->message->arrived.tv_sec > last_age));
		last = g->due;
		last_age = g->message->arrived.tv_sec;
		queue_ready(&q, g);
		assert_int_equal(g->state, GROUP_READY);
	}
	assert_null(queue_first_asleep(&q));
	assert_int_equal(q.all_destinations->ready.count, 6);
	queue_free(&q);
}

/* Every position of the heap, removed in any order. */
static void the_heap_stays_a_heap(void **state)
{
	struct queue q;
	unsigned seed = 7;

	(void)state;
	queue_init(&q);
	for (size_t i = 0; i < 500; i++) {
		seed = seed * 1103515245u + 12345u;
		queue_sleep(&q, &add_simple(&q, i, "h", 1)->groups[0], (seed >> 8) % 100);
	}
	for (size_t i = 0; i < 500; i += 3)
		queue_remove(&q, queue_find(&q, (i * 167) % 500));
	for (int64_t last = 0; queue_first_asleep(&q) != NULL;) {
		struct group *g = queue_first_asleep(&q);

		assert_true(g->due >= last);
		last = g->due;
		queue_remove(&q, g->message);
	}
	assert_int_equal(q.message_count, 0);
	queue_free(&q);
}

static void threads_with_something_ready_are_listed(void **state)
{
	struct queue q;
	struct message *a, *b;

	(void)state;
	queue_init(&q);
	a = add_simple(&q, 1, "x", 1);
	b = add_simple(&q, 2, "y", 2);
	assert_null(q.first_busy);
	queue_ready(&q, &a->groups[0]);
	queue_ready(&q, &b->groups[0]);
	assert_ptr_equal(q.first_busy, a->groups[0].destination);
	assert_ptr_equal(q.last_busy, b->groups[0].destination);
	queue_sleep(&q, &a->groups[0], 5);
	assert_ptr_equal(q.first_busy, b->groups[0].destination);
	queue_remove(&q, b);
	assert_null(q.first_busy);
	assert_null(q.last_busy);
	queue_sweep(&q);
	assert_int_equal(q.destination_count, 1);
	queue_free(&q);
}

static void settling_counts_down(void **state)
{
	struct group_list fed = { 0 };
	struct queue q;
	struct message *m;

	(void)state;
	queue_init(&q);
	m = add(&q, "4711002", EXAMPLE_B, 1);
	queue_feed(&q, &m->groups[0], &fed, &q);
	assert_int_equal(m->groups[0].awaited, 3);
	queue_settle(m, message_recipient(m, 277), RECIPIENT_FAILED);
	assert_int_equal(m->groups[0].awaited, 2);
	assert_int_equal(m->groups[0].open, 2);
	assert_int_equal(m->open, 4);
	queue_take_back(&m->groups[0], &fed);
	/* the next round is for who is open */
	queue_feed(&q, &m->groups[0], &fed, &q);
	assert_int_equal(m->groups[0].awaited, 2);
	queue_take_back(&m->groups[0], &fed);
	group_deferred(&m->groups[0], "n", "t");
	group_deferred(&m->groups[0], "n2", "t2");
	assert_string_equal(m->groups[0].text, "t2");
	queue_free(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recipients_of_one_destination_are_one_group),
		cmocka_unit_test(who_is_settled_already_is_not_taken_in),
		cmocka_unit_test(hosts_are_one_whatever_their_case),
		cmocka_unit_test(a_message_of_thousands_of_groups_is_found_in_time),
		cmocka_unit_test(sleepers_wake_by_due_then_by_age),
		cmocka_unit_test(the_heap_stays_a_heap),
		cmocka_unit_test(threads_with_something_ready_are_listed),
		cmocka_unit_test(settling_counts_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
