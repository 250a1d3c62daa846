#include "tests/unit/unit.h"

#include <sys/wait.h>
#include <time.h>

#include "channel/queue/litter.h"
#include "lib/publish.h"
#include "tests/unit/scratch.h"

static const char *const directories[] = { "public", "postman", "transport", "transport/A", "transport/A/B", "transport/A/B/C" };

static pid_t dead_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

static int make_office(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++)
		mkdir(scratch(directories[i]), 0700);
	return chdir(scratch("transport"));
}

static int remove_office(void **state)
{
	(void)state;
	assert_int_equal(chdir("/"), 0);
	for (size_t i = sizeof directories / sizeof directories[0]; i-- > 0;)
		assert_int_equal(rmdir(scratch(directories[i])), 0);
	return 0;
}

/* A file that was written so many seconds before now. */
static void put(const char *path, int64_t age)
{
	struct timespec times[2] = { { .tv_sec = time(NULL) - age }, { .tv_sec = time(NULL) - age } };

	scratch_text(path, "x");
	assert_int_equal(utimensat(AT_FDCWD, scratch(path), times, 0), 0);
}

static void expect(const char *path, bool there)
{
	if ((access(scratch(path), F_OK) == 0) != there)
		fail_msg("%s is %s", path, there ? "gone" : "still there");
	unlink(scratch(path));
}

static void temporaries_of_killed_programs_are_removed_a_day_later(void **state)
{
	static const char *const places[] = { "public", "postman", "transport", "transport/A", "transport/A/B", "." };
	pid_t dead = dead_process();

	(void)state;
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		char *path = xasprintf("%s/.enqueue.%ld-4000000000.tmp", places[i], (long)dead);

		put(path, LITTER_AGE + 100);
		assert_int_equal(litter_remove(time(NULL)), 1);
		expect(path, false);
		put(path, LITTER_AGE - 100);
		assert_int_equal(litter_remove(time(NULL)), 0);
		expect(path, true);
		free(path);
	}
}

/* This process began before the file was written, as `now` is three days ahead. */
static void what_a_living_process_writes_stays(void **state)
{
	char *ours = xasprintf("public/.intake.%ld-1.tmp", (long)getpid());

	(void)state;
	put(ours, 0);
	assert_int_equal(litter_remove(time(NULL) + 3 * LITTER_AGE), 0);
	expect(ours, true);
	/* a process that began later has only got the number */
	put(ours, 3 * LITTER_AGE);
	assert_int_equal(litter_remove(time(NULL)), 1);
	expect(ours, false);
	free(ours);
}

static void everything_else_stays(void **state)
{
	static const char *const names[] = {
		"public/4711", "public/.enqueue.tmp", "public/enqueue.%ld-1.tmp", "public/.enqueue.%ld.tmp", "public/..%ld-1.tmp.",
		"public/.enqueue.%ld-x.tmp", "public/.enqueue.x%ld-1.tmp", "public/.enqueue.%ld-1.tmp2", "public/.%ld-1.tmp",
		"public/.enqueue.-%ld-1.tmp", "public/.enqueue.%ld-.tmp", "transport/4711", "transport/A/B/C/.e.%ld-1.tmp",
		".control.rerouted", ".pid.runqueue", "public/.enqueue.99999999999999999999-1.tmp", "public/.enqueue.0-1.tmp",
	};
	long dead = (long)dead_process();

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *sign = strstr(names[i], "%ld");
		char *path = sign == NULL ? xstrdup(names[i]) :
		                            xasprintf("%.*s%ld%s", (int)(sign - names[i]), names[i], dead, sign + 3);

		put(path, 5 * LITTER_AGE);
		if (litter_remove(time(NULL)) != 0)
			fail_msg("%s was removed", path);
		expect(path, true);
		free(path);
	}
}

static void nothing_but_files_is_removed_and_no_link_is_followed(void **state)
{
	long dead = (long)dead_process();
	char *link = xasprintf("public/.enqueue.%ld-1.tmp", dead), *directory = xasprintf("public/.enqueue.%ld-2.tmp", dead);

	(void)state;
	put("public/victim", 5 * LITTER_AGE);
	assert_int_equal(symlink("victim", scratch(link)), 0);
	assert_int_equal(mkdir(scratch(directory), 0700), 0);
	assert_int_equal(litter_remove(time(NULL) + 5 * LITTER_AGE), 0);
	expect(link, true);
	expect("public/victim", true);
	assert_int_equal(rmdir(scratch(directory)), 0);
	free(link);
	free(directory);
}

static void the_maker_of_a_temporary_is_found_by_its_name(void **state)
{
	(void)state;
	assert_int_equal(publish_maker(".map.db.123-9.tmp", "map.db"), 123);
	assert_int_equal(publish_maker(".map.db.123-9.tmp", NULL), 123);
	assert_int_equal(publish_maker(".map.db.123-9.tmp", "map"), 0);
	assert_int_equal(publish_maker(".map.123-9.tmp", "map.db"), 0);
	assert_int_equal(publish_maker("", NULL), 0);
	assert_int_equal(publish_maker(".tmp", NULL), 0);
	assert_int_equal(publish_maker(".", NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(temporaries_of_killed_programs_are_removed_a_day_later),
		cmocka_unit_test(what_a_living_process_writes_stays),
		cmocka_unit_test(everything_else_stays),
		cmocka_unit_test(nothing_but_files_is_removed_and_no_link_is_followed),
		cmocka_unit_test(the_maker_of_a_temporary_is_found_by_its_name),
	};
	int failed;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (scratch_begin(NULL) != 0 || make_office(NULL) != 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	remove_office(NULL);
	scratch_end(NULL);
	return failed;
}
