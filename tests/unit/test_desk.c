#include "tests/unit/unit.h"
#include "tests/unit/scratch.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/desk.h"

static void open_nothing(void *context)
{
	(void)context;
}

/* What children look up, in memory that all share; and the pipes by which one says that it has looked, and waits with its answer. */
static volatile char *looked_up;
static const char has_looked[] = "has-looked", may_answer[] = "may-answer";

static char wait_at(const char *fifo)
{
	const int fd = open(scratch(fifo), O_RDONLY);
	char byte = '\0';

	(void)!read(fd, &byte, 1);
	close(fd);
	return byte;
}

static void let_go(const char *fifo)
{
	const int fd = open(scratch(fifo), O_WRONLY);

	(void)!write(fd, "!", 1);
	close(fd);
}

/*
 * "pid" is answered by the number of the child, "look" by what it has looked up before it was told to go on; "die" and "hang" are done;
 * all else comes back.
 */
static void answer(void *context, const char *question, size_t n, struct buf *out)
{
	(void)context;
	if (n == 4 && memcmp(question, "look", 4) == 0) {
		buf_addc(out, *looked_up);
		let_go(has_looked);
		wait_at(may_answer);
		return;
	}
	if (n == 3 && memcmp(question, "die", 3) == 0)
		raise(SIGKILL);
	while (n >= 4 && memcmp(question, "hang", 4) == 0)
		pause();
	if (n == 3 && memcmp(question, "pid", 3) == 0)
		buf_addf(out, "%ld", (long)getpid());
	else
		buf_add(out, question, n);
}

/* Asks as somebody of no group with as much time as a child has. */
static void ask(struct desk *d, const char *question, size_t n, void *owner)
{
	desk_ask(d, &(struct desk_question){ .group = "", .bytes = question, .n = n, .deadline = clock_ms() + 10000 }, owner);
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
	char text[100][24];
	struct buf out = { 0 };
	const char *fault;

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(text[i], sizeof text[i], "question %d", i);
		ask(d, text[i], strlen(text[i]) + 1, text[i]);
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

static void a_question_that_waits_is_asked_once_for_all(void **state)
{
	struct desk *d = desk_of(1, 10000);
	struct buf out = { 0 };
	char other, owners[5], *first = NULL;
	const char *fault;
	unsigned seen = 0;

	(void)state;
	ask(d, "other", 5, &other);
	for (int i = 0; i < 5; i++)
		ask(d, "pid", 3, &owners[i]);
	desk_forget(d, &owners[2]);
	assert_ptr_equal(wait_for_one(d, &out, &fault), &other);
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

/* What the child has looked up may have changed since; nor is it looked up twice at a time. */
static void who_asks_after_a_change_does_not_get_the_answer_of_a_lookup_that_began_before(void **state)
{
	struct desk *d = desk_of(2, 10000);
	struct buf out = { 0 };
	const char *fault;
	char before, after, later;

	(void)state;
	assert_int_equal(mkfifo(scratch(has_looked), 0600) + mkfifo(scratch(may_answer), 0600), 0);
	*looked_up = 'a';
	ask(d, "look", 4, &before);
	assert_int_equal(wait_at(has_looked), '!');
	*looked_up = 'b';
	ask(d, "look", 4, &after);
	ask(d, "look", 4, &later);
	let_go(may_answer);
	assert_ptr_equal(wait_for_one(d, &out, &fault), &before);
	assert_string_equal(buf_str(&out), "a");
	assert_null(desk_next(d, &out, &fault));
	assert_int_equal(wait_at(has_looked), '!');
	let_go(may_answer);
	for (int i = 0; i < 2; i++) {
		assert_ptr_not_equal(wait_for_one(d, &out, &fault), &before);
		assert_string_equal(buf_str(&out), "b");
	}
	assert_null(desk_next(d, &out, &fault));
	desk_free(&d);
	buf_free(&out);
}

/* One that does not answer has half of the children at most, half of the rest another one, and so on. */
static void a_group_that_does_not_answer_leaves_children_for_others(void **state)
{
	struct desk *d = desk_of(8, 10000);
	struct buf out = { 0 };
	char silent[2][50][16], other[20];
	const char *fault;

	(void)state;
	for (int store = 0; store < 2; store++)
		for (int i = 0; i < 50; i++) {
			/* none of them is the same question */
			snprintf(silent[store][i], sizeof silent[store][i], "hang%d", i);
			desk_ask(d, &(struct desk_question){ .group = store == 0 ? "one" : "two", .bytes = silent[store][i],
			                                     .n = strlen(silent[store][i]), .deadline = clock_ms() + 60000 }, silent[store][i]);
		}
	for (int i = 0; i < 20; i++) {
		desk_ask(d, &(struct desk_question){ .group = "three", .bytes = "well", .n = 4, .deadline = clock_ms() + 60000 }, &other[i]);
		assert_ptr_equal(wait_for_one(d, &out, &fault), &other[i]);
		assert_null(fault);
	}
	desk_free(&d);
	buf_free(&out);
}

static void who_waits_too_long_is_told_so_whoever_is_in_front(void **state)
{
	struct desk *d = desk_of(1, 60000);
	struct buf out = { 0 };
	const char *fault;
	char first, second;

	(void)state;
	ask(d, "hang", 4, &first);
	desk_ask(d, &(struct desk_question){ .group = "", .bytes = "well", .n = 4, .deadline = clock_ms() + 100 }, &second);
	assert_ptr_equal(wait_for_one(d, &out, &fault), &second);
	assert_string_equal(fault, "took too long");
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
	ask(d, "die", 3, &a);
	ask(d, "hang", 4, &b);
	ask(d, "well", 4, &c);
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

static void a_child_that_has_ended_since_its_last_answer_gets_no_question(void **state)
{
	struct desk *d = desk_of(1, 10000);
	struct buf out = { 0 };
	const char *fault;
	siginfo_t end;
	pid_t pid;

	(void)state;
	ask(d, "pid", 3, &out);
	wait_for_one(d, &out, &fault);
	pid = (pid_t)atol(buf_str(&out));
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &end, WEXITED | WNOWAIT), 0);
	ask(d, "next", 4, &out);
	wait_for_one(d, &out, &fault);
	assert_null(fault);
	assert_string_equal(buf_str(&out), "next");
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
	ask(d, "one", 3, &a);
	ask(d, "hang", 4, &b);
	ask(d, "three", 5, &c);
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
		cmocka_unit_test(who_asks_after_a_change_does_not_get_the_answer_of_a_lookup_that_began_before),
		cmocka_unit_test(a_group_that_does_not_answer_leaves_children_for_others),
		cmocka_unit_test(who_waits_too_long_is_told_so_whoever_is_in_front),
		cmocka_unit_test(everybody_gets_the_answer_to_its_own_question),
		cmocka_unit_test(a_question_that_waits_is_asked_once_for_all),
		cmocka_unit_test(a_child_that_dies_or_hangs_is_replaced),
		cmocka_unit_test(a_forgotten_question_is_not_asked_at_all),
		cmocka_unit_test(a_child_that_has_ended_since_its_last_answer_gets_no_question),
	};

	looked_up = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
