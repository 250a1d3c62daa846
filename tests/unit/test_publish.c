#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/publish.h"
#include "tests/unit/scratch.h"

static const char *content(const char *name)
{
	static struct buf bytes;

	buf_clear(&bytes);
	if (!file_read_path(scratch(name), &bytes))
		return NULL;
	return buf_str(&bytes);
}

static unsigned files_but(const char *name)
{
	DIR *directory = opendir(scratch_directory);
	struct dirent *e;
	unsigned n = 0;

	while ((e = readdir(directory)) != NULL)
		n += e->d_name[0] != '.' || (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0);
	closedir(directory);
	return n - (access(scratch(name), F_OK) == 0);
}

static int empty(void **state)
{
	DIR *directory = opendir(scratch_directory);
	struct dirent *e;

	(void)state;
	while ((e = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), e->d_name, 0);
	closedir(directory);
	return 0;
}

static void the_old_file_stays_until_the_new_one_is_whole(void **state)
{
	struct publish p;
	struct stat st;

	(void)state;
	scratch_text("target", "old");
	umask(077);
	assert_true(publish_begin(&p, scratch("target"), 0644));
	assert_int_equal(write(p.fd, "new", 3), 3);
	assert_string_equal(content("target"), "old");
	assert_int_equal(files_but("target"), 1);
	assert_true(publish_commit(&p));
	assert_string_equal(content("target"), "new");
	assert_int_equal(files_but("target"), 0);
	assert_int_equal(stat(scratch("target"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	/* harmless now */
	publish_abort(&p);
	assert_string_equal(content("target"), "new");
	umask(022);
}

static void giving_up_leaves_everything_as_it_was(void **state)
{
	struct publish p, zeroed = { 0 };

	(void)state;
	scratch_text("target", "old");
	assert_true(publish_begin(&p, scratch("target"), 0600));
	assert_int_equal(write(p.fd, "new", 3), 3);
	publish_abort(&p);
	assert_string_equal(content("target"), "old");
	assert_int_equal(files_but("target"), 0);
	publish_abort(&zeroed);
}

static void what_cannot_be_begun_is_an_errno(void **state)
{
	struct publish p;

	(void)state;
	memset(&p, 0x55, sizeof p);
	assert_false(publish_begin(&p, scratch("no/such/directory"), 0600));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(files_but("target"), 0);
}

static void what_cannot_be_renamed_leaves_no_temporary(void **state)
{
	struct publish p;

	(void)state;
	assert_int_equal(mkdir(scratch("directory"), 0700), 0);
	assert_true(publish_begin(&p, scratch("directory"), 0600));
	assert_false(publish_commit(&p));
	assert_int_equal(errno, EISDIR);
	assert_int_equal(rmdir(scratch("directory")), 0);
	assert_int_equal(files_but("target"), 0);
}

static void somebody_elses_temporary_is_not_touched(void **state)
{
	struct publish p, q;

	(void)state;
	assert_true(publish_begin(&p, scratch("target"), 0600));
	assert_true(publish_begin(&q, scratch("target"), 0600));
	assert_string_not_equal(p.temporary, q.temporary);
	assert_int_equal(write(p.fd, "p", 1), 1);
	assert_int_equal(write(q.fd, "q", 1), 1);
	assert_true(publish_commit(&p));
	assert_string_equal(content("target"), "p");
	assert_true(publish_commit(&q));
	assert_string_equal(content("target"), "q");
	assert_int_equal(files_but("target"), 0);
}

/* In a directory of everybody's a stranger who knew the next names would take them all; found by files for 350 serial numbers. */
static void nobody_knows_the_name_of_the_next_temporary(void **state)
{
	unsigned numbers[3];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct publish p;

		assert_true(publish_begin(&p, scratch("target"), 0600));
		assert_int_equal(sscanf(strrchr(p.temporary, '-'), "-%u.tmp", &numbers[i]), 1);
		publish_abort(&p);
	}
	assert_true(numbers[1] - numbers[0] > 1000 || numbers[2] - numbers[1] > 1000);
}

static void owner_and_group_can_be_left_alone(void **state)
{
	struct publish p;

	(void)state;
	assert_true(publish_begin(&p, scratch("target"), 0640));
	assert_true(publish_owner(&p, (uid_t)-1, (gid_t)-1));
	assert_true(publish_owner(&p, getuid(), getgid()));
	if (getuid() == 0) {
		struct stat st;

		assert_true(publish_owner(&p, 12345, 23456));
		assert_int_equal(fstat(p.fd, &st), 0);
		assert_int_equal(st.st_uid, 12345);
		assert_int_equal(st.st_gid, 23456);
		assert_int_equal(st.st_mode & 07777, 0640);
	}
	publish_abort(&p);
}

/* A process that ends in the middle, in each way that it can notice. */
static void no_temporary_outlives_its_process(void **state)
{
	static const int ends[] = { 0, SIGINT, SIGTERM, SIGHUP };

	(void)state;
	scratch_text("target", "old");
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		int status;
		pid_t child;

		fflush(stdout);
		child = fork();
		if (child == 0) {
			static struct publish p, q;

			/* nohup(1) and "&" in a script leave some ignored */
			if (ends[i] != 0)
				signal(ends[i], SIG_DFL);
			if (!publish_begin(&p, scratch("target"), 0600) || !publish_begin(&q, scratch("other"), 0600))
				_exit(9);
			if (ends[i] == 0)
				exit(3);
			raise(ends[i]);
			_exit(9);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(ends[i] == 0 ? WEXITSTATUS(status) : WTERMSIG(status), ends[i] == 0 ? 3 : ends[i]);
		assert_int_equal(files_but("target"), 0);
		assert_string_equal(content("target"), "old");
	}
}

/* A child that leaves must not take its parent's temporary with it. */
static void a_child_leaves_its_parents_temporary_alone(void **state)
{
	struct publish p;
	int status;
	pid_t child;

	(void)state;
	assert_true(publish_begin(&p, scratch("target"), 0600));
	fflush(stdout);
	child = fork();
	if (child == 0)
		exit(0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(publish_commit(&p));
	assert_string_equal(content("target"), "");
}

static void what_was_put_aside_before_stays(void **state)
{
	char *name;

	(void)state;
	for (unsigned n = 1; n <= PUBLISH_ASIDE_MAX; n++) {
		char *text = xasprintf("damage %u", n), *expected = n == 1 ? xstrdup("a.damaged") : xasprintf("a.damaged.%u", n);

		scratch_text("a", text);
		name = publish_set_aside(scratch("a"), n % 2 == 0);
		assert_string_equal(name, scratch(expected));
		assert_string_equal(content(expected), text);
		free(name);
		free(text);
		free(expected);
	}
	assert_string_equal(content("a.damaged"), "damage 1");
	scratch_text("a", "one more");
	assert_null(publish_set_aside(scratch("a"), false));
	assert_int_equal(errno, EEXIST);
	assert_string_equal(content("a"), "one more");
	name = publish_set_aside(scratch("a"), true);
	assert_string_equal(content("a.damaged.20"), "one more");
	assert_string_equal(name, scratch("a.damaged.20"));
	free(name);
	assert_string_equal(content("a.damaged"), "damage 1");
	assert_null(publish_set_aside(scratch("b"), true));
	assert_int_equal(errno, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_old_file_stays_until_the_new_one_is_whole, empty),
		cmocka_unit_test_setup(giving_up_leaves_everything_as_it_was, empty),
		cmocka_unit_test_setup(what_cannot_be_begun_is_an_errno, empty),
		cmocka_unit_test_setup(what_cannot_be_renamed_leaves_no_temporary, empty),
		cmocka_unit_test_setup(somebody_elses_temporary_is_not_touched, empty),
		cmocka_unit_test_setup(nobody_knows_the_name_of_the_next_temporary, empty),
		cmocka_unit_test_setup(owner_and_group_can_be_left_alone, empty),
		cmocka_unit_test_setup(what_was_put_aside_before_stays, empty),
		cmocka_unit_test_setup(no_temporary_outlives_its_process, empty),
		cmocka_unit_test_setup(a_child_leaves_its_parents_temporary_alone, empty),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
