#include "tests/unit/unit.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/desk.h"

static void open_nothing(void *context)
{
	(void)context;
}

/* "pid" is answered by the number of the child, "die" and "hang" are done, all else comes back. */
static void answer(void *context, const char *question, size_t n, struct buf *out)
{
	(void)context;
	if (n == 3 && memcmp(question, "die", 3) == 0)
		raise(SIGKILL);
	while (n == 4 && memcmp(question, "hang", 4) == 0)
		pause();
	if (n == 3 && memcmp(question, "pid", 3) == 0)
		buf_addf(out, "%ld", (long)getpid());
	else
		buf_add(out, question, n);
}

static struct desk *desk_of(size_t children, int64_t patience)
{
	return desk_create(&(struct desk_rules){ .children = children, .patience = patience, .open = open_nothing, .answer = answer,
	                                         .close = open_nothing });
}

static void *wait_for_one(struct desk *d, struct buf *out, const char **fault)
{
	struct pollfd fds[8];
	void *owner;

	buf_clear(out);
	while ((owner = desk_next(d, out, fault)) == NULL)
		poll(fds, desk_fill(d, fds), clock_poll_timeout(desk_deadline(d)));
	return owner;
}

static void everybody_gets_the_answer_to_its_own_question(void **state)
{
	struct desk *d = desk_of(2, 10000);
	char text[100][16];
	struct buf out = { 0 };
	const char *fault;

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(text[i], sizeof text[i], "question %d", i);
		desk_ask(d, text[i], strlen(text[i]) + 1, text[i]);
	}
	for (int i = 0; i < 100; i++) {
		char *owner = wait_for_one(d, &out, &fault);

		assert_null(fault);
		assert_string_equal(buf_str(&out), owner);
		assert_int_equal(out.len, strlen(owner) + 1);
	}
	assert_null(desk_next(d, &out, &fault));
	assert_int_equal(desk_deadline(d), CLOCK_NEVER);
	desk_free(&d);
	assert_null(d);
	buf_free(&out);
}

static void a_question_that_is_being_asked_is_not_asked_again(void **state)
{
	struct desk *d = desk_of(8, 10000);
	struct buf out = { 0 };
	char owners[5], *first = NULL;
	const char *fault;
	unsigned seen = 0;

	(void)state;
	for (int i = 0; i < 5; i++)
		desk_ask(d, "pid", 3, &owners[i]);
	desk_forget(d, &owners[2]);
	for (int i = 0; i < 4; i++) {
		seen |= 1u << ((char *)wait_for_one(d, &out, &fault) - owners);
		if (first == NULL)
			first = strdup(buf_str(&out));
		assert_string_equal(buf_str(&out), first);
	}
	assert_int_equal(seen, 0x1b);
	assert_null(desk_next(d, &out, &fault));
	free(first);
	desk_free(&d);
	buf_free(&out);
}

static void a_child_that_dies_or_hangs_is_replaced(void **state)
{
	struct desk *d = desk_of(1, 300);
	struct buf out = { 0 };
	const char *fault;
	int a, b, c;

	(void)state;
	desk_ask(d, "die", 3, &a);
	desk_ask(d, "hang", 4, &b);
	desk_ask(d, "well", 4, &c);
	assert_ptr_equal(wait_for_one(d, &out, &fault), &a);
	assert_string_equal(fault, "ended without an answer");
	assert_ptr_equal(wait_for_one(d, &out, &fault), &b);
	assert_string_equal(fault, "took too long");
	assert_ptr_equal(wait_for_one(d, &out, &fault), &c);
	assert_null(fault);
	assert_string_equal(buf_str(&out), "well");
	desk_free(&d);
	buf_free(&out);
}

static void a_forgotten_question_is_not_asked_at_all(void **state)
{
	struct desk *d = desk_of(1, 10000);
	struct buf out = { 0 };
	const char *fault;
	int a, b, c;

	(void)state;
	desk_ask(d, "one", 3, &a);
	desk_ask(d, "hang", 4, &b);
	desk_ask(d, "three", 5, &c);
	desk_forget(d, &b);
	assert_ptr_equal(wait_for_one(d, &out, &fault), &a);
	assert_ptr_equal(wait_for_one(d, &out, &fault), &c);
	assert_string_equal(buf_str(&out), "three");
	desk_free(&d);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_gets_the_answer_to_its_own_question),
		cmocka_unit_test(a_question_that_is_being_asked_is_not_asked_again),
		cmocka_unit_test(a_child_that_dies_or_hangs_is_replaced),
		cmocka_unit_test(a_forgotten_question_is_not_asked_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
