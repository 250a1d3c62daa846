#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/spool/tag.h"
#include "tests/unit/nameless.h"
#include "tests/unit/spool_examples.h"

/* A mark was written just now. */
static const struct timespec now = { .tv_sec = INT32_MAX };

/* A process id that nobody has. */
static pid_t dead_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return pid;
}

static void seven_bytes_change_and_nothing_else(void **state)
{
	int fd = file_of(EXAMPLE_B);
	char expect[] = EXAMPLE_B;

	(void)state;
	assert_int_equal(tag_lock(fd, 111, 21249), TAG_OK);
	assert_int_equal(tag_lock(fd, 277, 21249), TAG_OK);
	assert_int_equal(tag_lock(fd, 447, 21249), TAG_OK);
	memcpy(expect + 112, "~ 21249", 7);
	memcpy(expect + 278, "~ 21249", 7);
	memcpy(expect + 448, "~ 21249", 7);
	file_is(fd, expect);
	assert_int_equal(tag_unlock(fd, 277, 21249, '-'), TAG_OK);
	memcpy(expect + 278, "-      ", 7);
	file_is(fd, expect);
	assert_int_equal(tag_unlock(fd, 447, 21249, ' '), TAG_OK);
	assert_int_equal(tag_unlock(fd, 111, 21249, '+'), TAG_OK);
	memcpy(expect + 448, "       ", 7);
	memcpy(expect + 112, "+      ", 7);
	file_is(fd, expect);
	close(fd);
}

static void the_tag_in_the_file_decides(void **state)
{
	int fd = file_of(EXAMPLE_A);
	char expect[] = EXAMPLE_A;

	(void)state;
	assert_int_equal(tag_lock(fd, 114, 3045), TAG_OK);
	assert_int_equal(tag_lock(fd, 114, 3046), TAG_TAKEN);
	assert_int_equal(tag_unlock(fd, 114, 3046, '+'), TAG_TAKEN);
	memcpy(expect + 115, "~  3045", 7);
	file_is(fd, expect);
	assert_int_equal(tag_unlock(fd, 114, 3045, '+'), TAG_OK);
	assert_int_equal(tag_lock(fd, 114, 3045), TAG_TAKEN);
	assert_int_equal(tag_unlock(fd, 114, 3045, ' '), TAG_TAKEN);
	memcpy(expect + 115, "+      ", 7);
	file_is(fd, expect);
	close(fd);
}

static void only_recipient_lines_are_written(void **state)
{
	int fd = file_of(EXAMPLE_A);

	(void)state;
	errno = 0;
	assert_int_equal(tag_lock(fd, 113, 1), TAG_ERROR);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(tag_lock(fd, 285, 1), TAG_ERROR);
	assert_int_equal(tag_lock(fd, 5000, 1), TAG_ERROR);
	assert_int_equal(tag_unlock(fd, 70, 1, '+'), TAG_ERROR);
	assert_int_equal(tag_break_stale(fd, 143, &now), TAG_ERROR);
	file_is(fd, EXAMPLE_A);
	close(fd);
}

static void pids_of_seven_digits_never_get_in(void **state)
{
	int fd = file_of(EXAMPLE_A);

	(void)state;
	assert_true(tag_pid_fits(999999));
	assert_false(tag_pid_fits(1000000));
	assert_false(tag_pid_fits(0));
	assert_int_equal(tag_lock(fd, 114, 1000000), TAG_ERROR);
	file_is(fd, EXAMPLE_A);
	assert_int_equal(tag_lock(fd, 114, 999999), TAG_OK);
	assert_int_equal(tag_unlock(fd, 114, 999999, ' '), TAG_OK);
	file_is(fd, EXAMPLE_A);
	close(fd);
}

/* In the format before process ids the quad follows the tag at once. */
static void ancient_lines_get_the_tag_only(void **state)
{
	static const char before[] = "r lmtp - bob 65534\nm\n\n", after[] = "r~lmtp - bob 65534\nm\n\n";
	int fd = file_of(before);

	(void)state;
	assert_int_equal(tag_lock(fd, 0, 4711), TAG_OK);
	file_is(fd, after);
	assert_int_equal(tag_unlock(fd, 0, 4711, ' '), TAG_OK);
	file_is(fd, before);
	close(fd);
}

static void a_lock_is_broken_only_if_its_holder_is_gone(void **state)
{
	int fd = file_of(EXAMPLE_C);
	char locked[] = EXAMPLE_C;

	(void)state;
	assert_int_equal(tag_break_stale(fd, 75, &now), TAG_OK);
	assert_int_equal(tag_lock(fd, 75, getpid()), TAG_OK);
	assert_int_equal(tag_break_stale(fd, 75, &now), TAG_TAKEN);
	assert_int_equal(tag_unlock(fd, 75, getpid(), ' '), TAG_OK);
	assert_int_equal(tag_lock(fd, 75, dead_pid()), TAG_OK);
	assert_int_equal(tag_break_stale(fd, 75, &now), TAG_OK);
	file_is(fd, EXAMPLE_C);
	/* kill(0) would ask about ourselves */
	memcpy(locked + 76, "~      ", 7);
	assert_int_equal(pwrite(fd, "~", 1, 76), 1);
	file_is(fd, locked);
	assert_int_equal(tag_break_stale(fd, 75, &now), TAG_OK);
	file_is(fd, EXAMPLE_C);
	close(fd);
}

/* A process that runs until it is killed. */
static pid_t living_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	assert_true(pid > 0);
	return pid;
}

static void a_number_that_another_process_has_by_now_is_no_lock(void **state)
{
	const struct timespec yesterday = { .tv_sec = time(NULL) - 86400 };
	pid_t other = living_pid();
	int fd = file_of(EXAMPLE_C);

	(void)state;
	assert_int_equal(tag_lock(fd, 75, other), TAG_OK);
	assert_int_equal(tag_break_stale(fd, 75, &now), TAG_TAKEN);
	assert_int_equal(tag_break_stale(fd, 75, &yesterday), TAG_OK);
	file_is(fd, EXAMPLE_C);
	kill(other, SIGKILL);
	/* dead, and its parent has not looked yet */
	assert_int_equal(waitid(P_PID, (id_t)other, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_int_equal(tag_lock(fd, 75, other), TAG_OK);
	assert_int_equal(tag_break_stale(fd, 75, &now), TAG_OK);
	waitpid(other, NULL, 0);
	close(fd);
}

static void a_claim_holds_whatever_the_number_says(void **state)
{
	const struct timespec yesterday = { .tv_sec = time(NULL) - 86400 };
	char name[] = "/tmp/zlmtp-tag.XXXXXX";
	int first = mkstemp(name), second = open(name, O_RDWR), other = open(name, O_RDONLY);
	pid_t nobody = dead_pid();

	(void)state;
	unlink(name);
	assert_int_equal(write(first, EXAMPLE_C, strlen(EXAMPLE_C)), strlen(EXAMPLE_C));
	assert_int_equal(tag_lock(first, 75, nobody), TAG_OK);
	assert_false(tag_holder_lives(other, nobody, &now));
	/* the same file in two jobs of one agent */
	tag_claim(first, nobody);
	tag_claim(second, nobody);
	assert_true(tag_holder_lives(other, nobody, &yesterday));
	close(first);
	assert_true(tag_holder_lives(other, nobody, &yesterday));
	close(second);
	assert_false(tag_holder_lives(other, nobody, &now));
	close(other);
}

static void what_an_agent_could_not_mark_is_finished_for_it(void **state)
{
	pid_t agent = living_pid(), stranger = living_pid();
	int fd = file_of(EXAMPLE_C);
	char expect[] = EXAMPLE_C;

	(void)state;
	assert_int_equal(tag_lock(fd, 75, agent), TAG_OK);
	assert_int_equal(tag_finish(fd, 75, stranger, '+', &now), TAG_TAKEN);
	assert_int_equal(tag_finish(fd, 75, agent, '+', &now), TAG_OK);
	memcpy(expect + 76, "+      ", 7);
	file_is(fd, expect);
	/* nothing that stands there is taken back */
	assert_int_equal(tag_finish(fd, 75, agent, '-', &now), TAG_OK);
	file_is(fd, expect);
	kill(agent, SIGKILL);
	kill(stranger, SIGKILL);
	waitpid(agent, NULL, 0);
	waitpid(stranger, NULL, 0);
	close(fd);
}

static void two_processes_exclude_each_other(void **state)
{
	int fd = file_of(EXAMPLE_A);
	pid_t child;
	int status;

	(void)state;
	assert_int_equal(tag_guard(fd, 114, 120), TAG_OK);
	child = fork();
	if (child == 0) {
		bool ok = tag_guard(fd, 100, 114) == TAG_TAKEN && tag_guard(fd, 0, 113) == TAG_OK;

		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	tag_unguard(fd, 114, 120);
	child = fork();
	if (child == 0)
		_exit(tag_guard(fd, 114, 120) == TAG_OK ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seven_bytes_change_and_nothing_else),
		cmocka_unit_test(the_tag_in_the_file_decides),
		cmocka_unit_test(only_recipient_lines_are_written),
		cmocka_unit_test(pids_of_seven_digits_never_get_in),
		cmocka_unit_test(ancient_lines_get_the_tag_only),
		cmocka_unit_test(a_lock_is_broken_only_if_its_holder_is_gone),
		cmocka_unit_test(a_number_that_another_process_has_by_now_is_no_lock),
		cmocka_unit_test(a_claim_holds_whatever_the_number_says),
		cmocka_unit_test(what_an_agent_could_not_mark_is_finished_for_it),
		cmocka_unit_test(two_processes_exclude_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
