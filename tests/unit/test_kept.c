#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/store/kept.h"

static char directory[] = "/tmp/zl-kept-XXXXXX";

static char *path_of(const char *name)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	return path;
}

/* A lock with this content; its time is so many seconds after the beginning. */
static void put(const char *name, const char *content, int age)
{
	const struct timespec times[2] = { { .tv_sec = 1000 + age }, { .tv_sec = 1000 + age } };
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	assert_int_equal(futimens(fd, times), 0);
	close(fd);
}

static void assert_maker(const char *map, const char *expected)
{
	struct buf maker = { 0 };

	kept_add_maker(path_of(map), "otherwise", &maker);
	assert_string_equal(buf_str(&maker), expected);
	buf_free(&maker);
}

static void a_lock_tells_what_makes_the_map_again(void **state)
{
	(void)state;
	assert_maker("users", "otherwise");
	put("users.ldapsync", "/etc/x.conf\n", 0);
	assert_maker("users", "ldapsync -f /etc/x.conf -1");
	assert_maker("users.db", "ldapsync -f /etc/x.conf -1");
	assert_maker("users.lmdb", "ldapsync -f /etc/x.conf -1");
	assert_maker("users.dbh", "ldapsync -f /etc/x.conf -1");
	assert_maker("users.txt", "otherwise");
	assert_maker("user", "otherwise");
}

static void the_one_that_kept_it_last_counts(void **state)
{
	(void)state;
	put("users.sqlsync", "/etc/y.conf\n", 1);
	assert_maker("users", "sqlsync -f /etc/y.conf -1");
	put("users.ldapsync", "/etc/x.conf\n", 2);
	assert_maker("users", "ldapsync -f /etc/x.conf -1");
	assert_int_equal(unlink(path_of("users.sqlsync")), 0);
}

static void what_is_no_name_is_not_shown(void **state)
{
	static const char *const odd[] = { "", "\n", "/", "/cut/off", "relative\n" };

	(void)state;
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
		put("users.ldapsync", odd[i], 3);
		assert_maker("users", "ldapsync -1");
	}
	put("users.ldapsync", "/a\033b\n", 3);
	assert_maker("users", "ldapsync -f /a b -1");
	assert_int_equal(unlink(path_of("users.ldapsync")), 0);
	assert_int_equal(mkfifo(path_of("users.ldapsync"), 0600), 0);
	assert_maker("users", "otherwise");
	assert_int_equal(unlink(path_of("users.ldapsync")), 0);
}

static void a_note_takes_the_place_of_the_last_one(void **state)
{
	int fd = open(path_of("users.ldapsync"), O_RDWR | O_CREAT, 0600);

	(void)state;
	assert_true(fd >= 0);
	kept_note(fd, "/a/long/name/that/is/not/there.conf");
	assert_maker("users", "ldapsync -f /a/long/name/that/is/not/there.conf -1");
	kept_note(fd, "/dev/../dev/null");
	assert_maker("users", "ldapsync -f /dev/null -1");
	close(fd);
	assert_int_equal(unlink(path_of("users.ldapsync")), 0);
	assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lock_tells_what_makes_the_map_again),
		cmocka_unit_test(the_one_that_kept_it_last_counts),
		cmocka_unit_test(what_is_no_name_is_not_shown),
		cmocka_unit_test(a_note_takes_the_place_of_the_last_one),
	};

	if (mkdtemp(directory) == NULL)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
