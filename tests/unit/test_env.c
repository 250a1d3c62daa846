/*
 * Maps in a Berkeley DB environment, beside processes that write, hang, and are killed.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "db/store/env.h"
#include "lib/clock.h"
#include "tests/unit/built.h"

static const char *config_file;

/* A new environment with one map; `create` for the reader's configuration. */
static void make_environment(bool create)
{
	char *text = xasprintf("envhome %s\nenvflags CDB%s\n", scratch_directory, create ? " CREATE" : "");
	int fd;

	for (int i = 1; i < 6; i++) {
		char *name = xasprintf("__db.%03d", i);

		unlink(scratch(name));
		free(name);
	}
	config_file = scratch_text("env", text);
	free(text);
	build_small("btree", "live");
	fd = open(scratch("live.db"), O_RDWR);
	assert_int_not_equal(stamp_break(fd), STAMP_UNREADABLE);
	close(fd);
}

static struct map *open_live(void)
{
	struct buf why = { 0 };
	int status;
	struct map *map = map_open("btree", scratch("live"), config_file, &status, &why);

	assert_non_null(map);
	buf_free(&why);
	return map;
}

static void expect(struct map *map, const char *key, enum map_answer answer, const char *text)
{
	struct buf value = { 0 };

	assert_int_equal(map_find(map, key, &value), answer);
	assert_string_equal(buf_str(&value), text);
	buf_free(&value);
}

/* ---- somebody else in the environment, as another program would be ---- */

struct other {
	pid_t pid;
	int told;          /* a byte comes from it when it has done its part */
	int go_on;         /* closing this lets it finish in good order */
};

static void use(DB *db, const char *what)
{
	DBT k = { .data = "new@d.test", .size = 11 }, v = { .data = "fresh", .size = 6 };
	DBC *cursor;

	if (strcmp(what, "read cursor") == 0) {
		assert_int_equal(db->cursor(db, NULL, &cursor, 0), 0);
	} else if (strcmp(what, "write cursor") == 0) {
		assert_int_equal(db->cursor(db, NULL, &cursor, DB_WRITECURSOR), 0);
	} else if (strcmp(what, "put") == 0) {
		assert_int_equal(db->put(db, NULL, &k, &v, 0), 0);
		assert_int_equal(db->sync(db, 0), 0);
	}
}

/* Holds the lock that a writer has while it changes pages. */
static DB_LOCK hold_write_lock(DB_ENV *env, DB *db)
{
	DBT object = { .data = db->fileid, .size = DB_FILE_ID_LEN };
	u_int32_t locker;
	DB_LOCK lock;

	assert_int_equal(env->lock_id(env, &locker), 0);
	assert_int_equal(env->lock_get(env, locker, 0, &object, DB_LOCK_WRITE, &lock), 0);
	return lock;
}

static struct other start_other(const char *what)
{
	struct other other;
	int told[2], go_on[2];
	char byte;

	assert_int_equal(pipe(told), 0);
	assert_int_equal(pipe(go_on), 0);
	other.pid = fork();
	if (other.pid == 0) {
		bool lock_only = strcmp(what, "write lock") == 0;
		DB_ENV *env;
		DB_LOCK lock;
		DB *db;

		close(go_on[1]);
		if (db_env_create(&env, 0) != 0 ||
		    env->open(env, scratch_directory, DB_INIT_CDB | DB_INIT_MPOOL | DB_CREATE, 0600) != 0 ||
		    db_create(&db, env, 0) != 0 || db->open(db, NULL, scratch("live.db"), NULL, DB_BTREE, 0, 0) != 0)
			_exit(1);
		if (lock_only)
			lock = hold_write_lock(env, db);
		else
			use(db, what);
		if (write(told[1], "x", 1) != 1 || read(go_on[0], &byte, 1) != 0)
			_exit(1);
		if (lock_only)
			env->lock_put(env, &lock);
		env->close(env, 0);
		_exit(0);
	}
	close(told[1]);
	close(go_on[0]);
	assert_int_equal(read(told[0], &byte, 1), 1);
	close(told[0]);
	other.go_on = go_on[1];
	return other;
}

static void end_other(struct other *other, int sig)
{
	if (sig != 0)
		kill(other->pid, sig);
	close(other->go_on);
	waitpid(other->pid, NULL, 0);
}

/* ---- tests ---- */

static void a_live_map_answers_and_shows_changes_at_once(void **state)
{
	struct other other;
	struct map *map;

	(void)state;
	make_environment(true);
	map = open_live();
	expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
	expect(map, "new@d.test", MAP_NOT_FOUND, "");
	other = start_other("put");
	end_other(&other, 0);
	expect(map, "new@d.test", MAP_FOUND, "fresh");
	map_close(&map);
}

static bool count(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	(void)key, (void)key_length, (void)value, (void)value_length;
	++*(unsigned *)context;
	return true;
}

static void a_live_map_can_be_listed(void **state)
{
	struct map *map;
	unsigned n = 0;

	(void)state;
	make_environment(true);
	map = open_live();
	assert_int_equal(map_walk(map, count, &n), MAP_FOUND);
	assert_int_equal(n, BUILT_RECORDS);
	map_close(&map);
}

static void without_regions_and_create_nothing_can_be_told(void **state)
{
	struct map *map;

	(void)state;
	make_environment(false);
	map = open_live();
	expect(map, "user@d.test", MAP_COULD_NOT_TELL, "");
	assert_non_null(strstr(map_error(map), "has no CREATE in envflags"));
	assert_true(access(scratch("__db.001"), F_OK) < 0);
	map_close(&map);
}

static void several_maps_share_the_environment(void **state)
{
	struct map *one, *two;

	(void)state;
	make_environment(true);
	one = open_live();
	two = open_live();
	expect(one, "user@d.test", MAP_FOUND, "smtp!relay");
	expect(two, "user@d.test", MAP_FOUND, "smtp!relay");
	map_close(&one);
	expect(two, "user@d.test", MAP_FOUND, "smtp!relay");
	map_close(&two);
}

/* A writer that takes its time, and one that was killed, look the same from here. */
static void a_lock_that_is_not_given_back_costs_patience_and_no_more(void **state)
{
	static const int endings[] = { 0, SIGKILL };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct other other;
		struct map *map;
		int64_t start;

		make_environment(true);
		map = open_live();
		expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
		other = start_other("write lock");
		if (endings[i] != 0)
			end_other(&other, endings[i]);
		start = clock_ms();
		expect(map, "user@d.test", MAP_COULD_NOT_TELL, "");
		assert_non_null(strstr(map_error(map), "dbupdate"));
		assert_true(clock_ms() - start >= 900 && clock_ms() - start < 4000);
		if (endings[i] == 0) {
			end_other(&other, 0);
			/* we stood in nobody's way: all goes on */
			expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
			other = start_other("put");
			end_other(&other, 0);
			expect(map, "new@d.test", MAP_FOUND, "fresh");
		}
		map_close(&map);
	}
}

static void a_write_cursor_and_a_dead_reader_do_not_stop_readers(void **state)
{
	struct other writer, reader;
	struct map *map;

	(void)state;
	make_environment(true);
	map = open_live();
	writer = start_other("write cursor");
	expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
	end_other(&writer, 0);
	reader = start_other("read cursor");
	end_other(&reader, SIGKILL);
	expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
	map_close(&map);
}

static void a_patient_writer_finds_no_trace_of_readers(void **state)
{
	struct other other;
	struct map *map;

	(void)state;
	make_environment(true);
	map = open_live();
	for (int i = 0; i < 1000; i++)
		expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
	/* the map is still open; a read lock that was kept would make this hang */
	other = start_other("put");
	end_other(&other, 0);
	map_close(&map);
}

/*
 * Every way out gives back what the process had in the regions.  740 programs that do not make an environment of
 * the usual size, as other programs make it, useless.
 */
static void programs_that_just_end_leave_nothing_behind(void **state)
{
	const char *sanitized = getenv("ZLMTP_SANITIZED");
	/* each end takes a sanitizer its time, and it is the same code */
	int programs = sanitized != NULL && sanitized[0] != '\0' ? 20 : 1000;
	struct other maker;
	struct map *map;

	(void)state;
	make_environment(true);
	maker = start_other("put");
	end_other(&maker, 0);
	map = open_live();
	expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
	for (int i = 0; i < programs; i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			static struct map *mine;
			static struct buf value;
			enum map_answer answer;

			mine = open_live();
			answer = map_find(mine, "user@d.test", &value);
			/* as die() does; nothing is closed */
			exit(answer == MAP_FOUND ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	expect(map, "user@d.test", MAP_FOUND, "smtp!relay");
	map_close(&map);
}

/* What no lock shows, such as a mutex that a dead process holds, ends the program in time. */
static void the_watchdog_ends_what_hangs(void **state)
{
	int64_t start = clock_ms();
	int status, ends[2];
	struct buf said = { 0 };
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		env_set_patience(0);
		env_enter("/var/db");
		for (;;)
			pause();
	}
	close(ends[1]);
	assert_true(file_read(ends[0], &said));
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_TEMPFAIL);
	assert_non_null(strstr(buf_str(&said), "/var/db: the environment does not answer"));
	assert_non_null(strstr(buf_str(&said), "dbupdate"));
	assert_true(clock_ms() - start < 15000);
	buf_free(&said);
}

/* ---- damage --------------------------------------------------------------------------- */

/* Asks for all keys as a process of its own.  Ends by 0, by EX_TEMPFAIL of the watchdog, or by a signal. */
static int ask_as_process(enum map_answer *last)
{
	enum map_answer *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	assert_true(shared != MAP_FAILED);
	pid = fork();
	if (pid == 0) {
		struct map *map;

		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		map = open_live();
		for (size_t i = 0; i < BUILT_RECORDS; i++) {
			struct buf value = { 0 };

			*shared = map_find(map, built_records[i][0], &value);
			buf_free(&value);
		}
		map_close(&map);
		exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	*last = *shared;
	munmap(shared, sizeof *shared);
	return status;
}

static void destroy_page(off_t at, int with)
{
	char page[4096];
	int fd = open(scratch("live.db"), O_RDWR);

	memset(page, with, sizeof page);
	assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
	close(fd);
}

static void a_damaged_map_that_nobody_has_open_is_known_at_once(void **state)
{
	enum map_answer last;

	(void)state;
	make_environment(true);
	destroy_page(4096, 0);
	assert_int_equal(ask_as_process(&last), 0);
	assert_int_equal(last, MAP_COULD_NOT_TELL);
	make_environment(true);
	assert_int_equal(ask_as_process(&last), 0);
	assert_int_equal(last, MAP_FOUND);
}

/* Others are in the environment, so that the file says nothing; every byte of it is destroyed, at times many at once. */
static void damage_in_a_live_environment_ends_no_process_by_a_signal(void **state)
{
	size_t stride = getenv("ZLMTP_SOAK") != NULL ? 1 : getenv("ZLMTP_LONG") != NULL ? 163 : 1301;

	(void)state;
	for (off_t at = 0; at < 8192; at += (off_t)stride) {
		enum map_answer last;
		char byte;
		int fd, status;

		make_environment(true);
		build_small("btree", "other");
		/* makes the regions, with another map */
		assert_int_equal(rename(scratch("live.db"), scratch("kept")), 0);
		assert_int_equal(rename(scratch("other.db"), scratch("live.db")), 0);
		assert_int_equal(ask_as_process(&last), 0);
		assert_int_equal(rename(scratch("kept"), scratch("live.db")), 0);
		fd = open(scratch("live.db"), O_RDWR);
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte = (char)~byte;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		if (at % 7 == 0)
			destroy_page(4096, 0x5a);
		status = ask_as_process(&last);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == EX_TEMPFAIL);
		if (at % 7 == 0)
			assert_true(last == MAP_COULD_NOT_TELL || WEXITSTATUS(status) == EX_TEMPFAIL);
	}
}

static void regions_that_were_not_made_to_the_end_end_no_process_by_a_signal(void **state)
{
	(void)state;
	for (int i = 1; i <= 3; i++) {
		char *name = xasprintf("__db.%03d", i);
		enum map_answer last = MAP_FOUND;
		int status;

		make_environment(true);
		assert_int_equal(ask_as_process(&last), 0);
		assert_int_equal(last, MAP_FOUND);
		assert_int_equal(truncate(scratch(name), 0), 0);
		status = ask_as_process(&last);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) == EX_TEMPFAIL || (WEXITSTATUS(status) == 0 && last == MAP_COULD_NOT_TELL));
		free(name);
	}
	make_environment(true);
}

static void a_crash_in_an_environment_is_told_as_what_to_run(void **state)
{
	struct buf said = { 0 };
	int ends[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		signal(SIGSEGV, SIG_DFL);
		env_enter("/var/db");
		raise(SIGSEGV);
		_exit(0);
	}
	close(ends[1]);
	assert_true(file_read(ends[0], &said));
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_TEMPFAIL);
	assert_non_null(strstr(buf_str(&said), "signal 11"));
	assert_non_null(strstr(buf_str(&said), "recover"));
	buf_free(&said);
}

static void addresses_in_memory_are_left_out_of_libdbs_words(void **state)
{
	static const struct { const char *said, *told; } rows[] = {
		{ "write: 0x561900c885e0, 4096: No space left on device", "write: 4096: No space left on device" },
		{ "0x7f, 0x80 end", "end" }, { "page 10 of 0xyz, 0", "page 10 of 0xyz, 0" }, { "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf out = { 0 };

		env_add_words(&out, rows[i].said);
		assert_string_equal(buf_str(&out), rows[i].told);
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_live_map_answers_and_shows_changes_at_once),
		cmocka_unit_test(a_live_map_can_be_listed),
		cmocka_unit_test(without_regions_and_create_nothing_can_be_told),
		cmocka_unit_test(several_maps_share_the_environment),
		cmocka_unit_test(a_lock_that_is_not_given_back_costs_patience_and_no_more),
		cmocka_unit_test(a_write_cursor_and_a_dead_reader_do_not_stop_readers),
		cmocka_unit_test(a_patient_writer_finds_no_trace_of_readers),
		cmocka_unit_test(programs_that_just_end_leave_nothing_behind),
		cmocka_unit_test(the_watchdog_ends_what_hangs),
		cmocka_unit_test(regions_that_were_not_made_to_the_end_end_no_process_by_a_signal),
		cmocka_unit_test(a_crash_in_an_environment_is_told_as_what_to_run),
		cmocka_unit_test(a_damaged_map_that_nobody_has_open_is_known_at_once),
		cmocka_unit_test(addresses_in_memory_are_left_out_of_libdbs_words),
		cmocka_unit_test(damage_in_a_live_environment_ends_no_process_by_a_signal),
	};

	env_set_patience(1);
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
