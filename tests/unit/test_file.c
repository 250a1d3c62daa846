#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/scratch.h"

static void whole_files_are_read_behind_what_is_there(void **state)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 65535, 65536, 65537, 300000 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct buf out = { 0 };
		char *bytes = xmalloc(sizes[i] + 1);

		for (size_t k = 0; k < sizes[i]; k++)
			bytes[k] = (char)(k * 31);
		buf_adds(&out, "head");
		assert_true(file_read_path(scratch_write("file", bytes, sizes[i]), &out));
		assert_int_equal(out.len, sizes[i] + 4);
		assert_memory_equal(out.data + 4, bytes, sizes[i]);
		assert_int_equal(out.data[out.len], '\0');
		buf_free(&out);
		free(bytes);
	}
}

static void pipes_are_read_to_their_end(void **state)
{
	struct buf out = { 0 };
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	if (fork() == 0) {
		for (int i = 0; i < 1000; i++)
			if (write(ends[1], "0123456789", 10) != 10)
				_exit(1);
		_exit(0);
	}
	close(ends[1]);
	assert_true(file_read(ends[0], &out));
	assert_int_equal(out.len, 10000);
	close(ends[0]);
	buf_free(&out);
}

static void trouble_has_its_errno(void **state)
{
	struct buf out = { .limit = 10 }, unlimited = { 0 };

	(void)state;
	assert_false(file_read_path(scratch("none"), &out));
	assert_int_equal(errno, ENOENT);
	assert_false(file_read_path("/", &unlimited));
	assert_int_equal(errno, EISDIR);
	buf_free(&unlimited);
	assert_true(file_read_path(scratch_text("fits", "ten bytes."), &out));
	assert_string_equal(buf_str(&out), "ten bytes.");
	buf_clear(&out);
	assert_false(file_read_path(scratch_text("large", "more than ten bytes"), &out));
	assert_int_equal(errno, EFBIG);
	buf_free(&out);
}

static void a_file_that_seems_endless_is_refused_before_it_is_read(void **state)
{
	struct buf out = { .limit = 10 }, unlimited = { 0 };
	const char *path = scratch_text("sparse", "a line\n");
	int fd = open(path, O_RDONLY);

	(void)state;
	assert_int_equal(truncate(path, (off_t)1 << 42), 0);
	assert_false(file_read_path(path, &out));
	assert_int_equal(errno, EFBIG);
	assert_int_equal(out.size, 0);
	assert_false(file_read(fd, &unlimited));
	assert_int_equal(errno, EFBIG);
	assert_int_equal(unlimited.size, 0);
	close(fd);
	buf_free(&out);
	buf_free(&unlimited);
}

static void what_is_no_file_is_called_what_it_is(void **state)
{
	struct buf out = { 0 };

	(void)state;
	unlink(scratch("round"));
	assert_int_equal(symlink(scratch("round"), scratch("round")), 0);
	assert_false(file_read_path(scratch("round"), &out));
	assert_string_equal(file_error(errno), strerror(ELOOP));
	/* where no link is followed, that is what is wrong with it */
	assert_int_equal(file_open_own(scratch("round"), O_RDONLY, 0600), -1);
	assert_string_equal(file_error(errno), "not a regular file");
	assert_int_equal(file_open_own(scratch("round/below"), O_RDONLY, 0600), -1);
	assert_string_equal(file_error(errno), strerror(ELOOP));
	unlink(scratch("pipe"));
	assert_int_equal(mkfifo(scratch("pipe"), 0600), 0);
	assert_false(file_read_path(scratch("pipe"), &out));
	assert_string_equal(file_error(errno), "not a regular file");
	buf_free(&out);
}

static void a_relative_name_gets_the_working_directory_in_front(void **state)
{
	char *here = getcwd(NULL, 0), *expected = xasprintf("%s/db/dbases.conf", here), *absolute = file_absolute("db/dbases.conf");

	(void)state;
	assert_string_equal(absolute, expected);
	free(absolute);
	absolute = file_absolute("/etc/zmailer.conf");
	assert_string_equal(absolute, "/etc/zmailer.conf");
	assert_null(file_absolute(NULL));
	free(absolute);
	free(expected);
	free(here);
}

static void a_name_is_what_stands_behind_the_last_slash(void **state)
{
	(void)state;
	assert_string_equal(file_name("/usr/bin/lmtp"), "lmtp");
	assert_string_equal(file_name("lmtp"), "lmtp");
	assert_string_equal(file_name("A/"), "");
	assert_string_equal(file_name(""), "");
}

static void reads(const char *path, const char *expected)
{
	struct buf out = { 0 };
	struct stat st;
	const int fd = file_open_found(path, &st);

	if (expected == NULL) {
		assert_int_equal(fd, -1);
		return;
	}
	assert_true(fd >= 0);
	assert_int_equal(st.st_size, strlen(expected));
	assert_true(file_read(fd, &out));
	assert_string_equal(buf_str(&out), expected);
	close(fd);
	buf_free(&out);
}

static void one_beside_another_has_its_directory(void **state)
{
	static const char *const cases[][2] = {
		{ "/etc/zlmtp/dbases.conf", "/etc/zlmtp/router.conf" },
		{ "/dbases.conf", "/router.conf" },
		{ "db/dbases.conf", "db/router.conf" },
		{ "dbases.conf", "router.conf" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *path = file_beside(cases[i][0], "router.conf");

		assert_string_equal(path, cases[i][1]);
		free(path);
	}
}

static void root_finds_no_file_by_a_link(void **state)
{
	const bool is_root = geteuid() == 0;
	char *queue = xstrdup(scratch("queue")), *first = xasprintf("%s/1", queue), *second = xasprintf("%s/2", queue);
	struct file_place place = { .is_open = false };
	struct stat st;

	(void)state;
	assert_int_equal(mkdir(queue, 0700), 0);
	scratch_write("queue/1", "one", 3);
	reads(first, "one");
	reads(second, NULL);
	assert_int_equal(errno, ENOENT);
	/* in its own place nobody does */
	assert_int_equal(symlink("1", second), 0);
	reads(second, NULL);
	assert_int_equal(errno, EINVAL);
	unlink(second);
	/* a second name may be anybody's */
	assert_int_equal(link(first, second), 0);
	reads(second, is_root ? NULL : "one");
	unlink(second);
	/* nor in that of its directory */
	assert_int_equal(rename(queue, scratch("aside")), 0);
	assert_int_equal(symlink("aside", queue), 0);
	reads(first, is_root ? NULL : "one");
	assert_true(!is_root || errno == ENOTDIR);
	assert_int_equal(file_look_found(first, &st, &place), !is_root);
	assert_true(file_remove_found(first, &place));
	assert_int_equal(file_is_missing(scratch("aside/1")), !is_root);
	unlink(queue);
	/* what is found behind it is */
	assert_int_equal(rename(scratch("aside"), queue), 0);
	scratch_write("queue/1", "one", 3);
	scratch_write("queue/2", "two", 3);
	assert_true(file_look_found(first, &st, &place) && file_look_found(second, &st, &place));
	assert_true(file_remove_found(first, &place) && file_remove_found(second, &place) && file_remove_found(second, &place));
	file_place_close(&place);
	assert_int_equal(rmdir(queue), 0);
	free(queue);
	free(first);
	free(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_files_are_read_behind_what_is_there),
		cmocka_unit_test(pipes_are_read_to_their_end),
		cmocka_unit_test(trouble_has_its_errno),
		cmocka_unit_test(a_file_that_seems_endless_is_refused_before_it_is_read),
		cmocka_unit_test(what_is_no_file_is_called_what_it_is),
		cmocka_unit_test(a_relative_name_gets_the_working_directory_in_front),
		cmocka_unit_test(a_name_is_what_stands_behind_the_last_slash),
		cmocka_unit_test(one_beside_another_has_its_directory),
		cmocka_unit_test(root_finds_no_file_by_a_link),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
