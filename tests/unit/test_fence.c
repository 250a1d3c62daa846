#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/live/fence.h"
#include "lib/clock.h"

static char directory[] = "/tmp/zlmtp-fence-XXXXXX";
static char map[64];
static struct buf why;

static int64_t soon(void)
{
	return clock_ms() + 50;
}

/* A child that takes the fence, says so by a byte, and keeps it until it is killed; with `again` it lets go and takes it for ever. */
static pid_t holder(bool again)
{
	int pipes[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		struct fence f;

		if (fence_open(&f, map, &why) != EX_OK || fence_take(&f, clock_ms() + 5000, &why) != EX_OK ||
		    write(pipes[1], "x", 1) != 1)
			_exit(1);
		while (again) {
			usleep(3000);
			fence_release(&f);
			if (fence_take(&f, clock_ms() + 5000, &why) != EX_OK)
				_exit(2);
		}
		pause();
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	close(pipes[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void only_one_is_inside(void **state)
{
	struct fence f;
	pid_t pid = holder(false);
	char number[16];

	(void)state;
	buf_clear(&why);
	assert_int_equal(fence_open(&f, map, &why), EX_OK);
	assert_int_equal(fence_take(&f, soon(), &why), EX_TEMPFAIL);
	snprintf(number, sizeof number, "%ld", (long)pid);
	/* who it is can be read in the message */
	assert_non_null(strstr(buf_str(&why), number));
	end(pid);
	assert_int_equal(fence_take(&f, soon(), &why), EX_OK);
	fence_close(&f);
}

static void who_waits_gets_in_between_the_batches_of_another(void **state)
{
	struct fence f;
	pid_t pid = holder(true);
	int64_t begun = clock_ms();

	(void)state;
	assert_int_equal(fence_open(&f, map, &why), EX_OK);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(fence_take(&f, clock_ms() + 1000, &why), EX_OK);
		fence_release(&f);
	}
	assert_true(clock_ms() - begun < 2000);
	fence_close(&f);
	end(pid);
}

static void a_child_keeps_what_its_killed_parent_held(void **state)
{
	struct fence f, other;
	pid_t child;

	(void)state;
	assert_int_equal(fence_open(&f, map, &why), EX_OK);
	assert_int_equal(fence_take(&f, soon(), &why), EX_OK);
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	fence_leave(&f);
	assert_int_equal(fence_open(&other, map, &why), EX_OK);
	assert_int_equal(fence_take(&other, soon(), &why), EX_TEMPFAIL);
	end(child);
	assert_int_equal(fence_take(&other, soon(), &why), EX_OK);
	fence_close(&other);
}

static void a_directory_that_is_not_there_is_told(void **state)
{
	struct fence f;

	(void)state;
	buf_clear(&why);
	assert_int_equal(fence_open(&f, "/nowhere/map.db", &why), EX_CANTCREAT);
	assert_non_null(strstr(buf_str(&why), "/nowhere/map.db.lock"));
	fence_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_one_is_inside),
		cmocka_unit_test(who_waits_gets_in_between_the_batches_of_another),
		cmocka_unit_test(a_child_keeps_what_its_killed_parent_held),
		cmocka_unit_test(a_directory_that_is_not_there_is_told),
	};
	char *lock;
	int failed;

	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(map, sizeof map, "%s/map.db", directory);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	lock = fence_path(map);
	unlink(lock);
	rmdir(directory);
	free(lock);
	buf_free(&why);
	return failed;
}
