#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/wait.h>

#include "lib/file.h"
#include "lib/metrics.h"
#include "tests/unit/scratch.h"

static const struct metric things = { "t_things_total", METRIC_COUNTER, "Things." };
static const struct metric ages = { "t_age_seconds", METRIC_GAUGE, "Ages." };
static const struct metric times = { "t_time_seconds", METRIC_HISTOGRAM, "Times." };

static void writes(struct metrics *m)
{
	struct buf why = { 0 };

	assert_int_equal(metrics_write(m, 30000, &why), METRICS_WRITTEN);
	assert_string_equal(buf_str(&why), "");
	buf_free(&why);
}

/* The text behind the first line. */
static void holds(const char *path, const char *expect)
{
	struct buf text = { 0 };

	assert_true(file_read_path(path, &text));
	assert_int_equal(text.data[0], '#');
	assert_string_equal(strchr(text.data, '\n') + 1, expect);
	buf_free(&text);
}

static void what_is_counted_adds_up_in_the_file(void **state)
{
	const char *path = scratch("adds-up");
	struct metrics *m = metrics_create(path), *n = metrics_create(path);

	(void)state;
	metrics_add(m, &things, "", 2000);
	metrics_add(m, &things, "kind=\"a\"", 1500);
	metrics_add(m, &things, "", 1000);
	writes(m);
	holds(path, "# HELP t_things_total Things.\n# TYPE t_things_total counter\n"
	            "t_things_total 3\nt_things_total{kind=\"a\"} 1.500\n");
	metrics_add(n, &things, "", 4000);
	writes(n);
	writes(m);
	holds(path, "# HELP t_things_total Things.\n# TYPE t_things_total counter\n"
	            "t_things_total 7\nt_things_total{kind=\"a\"} 1.500\n");
	metrics_destroy(&m);
	metrics_destroy(&n);
}

static void a_gauge_is_replaced_with_all_its_labels(void **state)
{
	const char *path = scratch("gauge");
	struct metrics *m = metrics_create(path);

	(void)state;
	metrics_add(m, &things, "", 1000);
	metrics_add(m, &ages, "map=\"old\"", 5000);
	writes(m);
	metrics_add(m, &ages, "map=\"new\"", 1000);
	metrics_add(m, &ages, "map=\"new\"", 7000);
	writes(m);
	holds(path, "# HELP t_things_total Things.\n# TYPE t_things_total counter\nt_things_total 1\n"
	            "# HELP t_age_seconds Ages.\n# TYPE t_age_seconds gauge\nt_age_seconds{map=\"new\"} 7\n");
	metrics_destroy(&m);
}

static void a_histogram_has_rising_buckets(void **state)
{
	static const uint64_t limits[] = { 50, 1000 }, counts[] = { 2, 0, 1 };
	const char *path = scratch("histogram");
	struct metrics *m = metrics_create(path);

	(void)state;
	metrics_spread(m, &times, "s=\"x\"", limits, counts, 2, 9060);
	metrics_spread(m, &times, "", limits, counts, 2, 40);
	writes(m);
	holds(path, "# HELP t_time_seconds Times.\n# TYPE t_time_seconds histogram\n"
	            "t_time_seconds_bucket{s=\"x\",le=\"0.050\"} 2\nt_time_seconds_bucket{s=\"x\",le=\"1\"} 2\n"
	            "t_time_seconds_bucket{s=\"x\",le=\"+Inf\"} 3\nt_time_seconds_sum{s=\"x\"} 9.060\n"
	            "t_time_seconds_count{s=\"x\"} 3\n"
	            "t_time_seconds_bucket{le=\"0.050\"} 2\nt_time_seconds_bucket{le=\"1\"} 2\n"
	            "t_time_seconds_bucket{le=\"+Inf\"} 3\nt_time_seconds_sum 0.040\nt_time_seconds_count 3\n");
	metrics_destroy(&m);
}

static void labels_are_clean_and_quoted(void **state)
{
	struct buf labels = { 0 };

	(void)state;
	metrics_label(&labels, "a", "x\"y\\z\n\033[m");
	metrics_label(&labels, "b", "");
	assert_string_equal(labels.data, "a=\"x\\\"y\\\\z [m\",b=\"\"");
	buf_free(&labels);
}

static void refuses(const char *path, const char *words)
{
	struct metrics *m = metrics_create(path);
	struct buf why = { 0 };

	metrics_add(m, &things, "", 1000);
	assert_int_equal(metrics_write(m, 0, &why), METRICS_REFUSED);
	assert_non_null(strstr(buf_str(&why), words));
	buf_free(&why);
	metrics_destroy(&m);
}

static void files_of_others_and_damaged_ones_are_left_alone(void **state)
{
	static const char *const bad[] = {
		"t_things_total 1\n", "# HELP t_things_total x\n# TYPE t_things_total counter\nt_other_total 1\n",
		"# HELP t_things_total x\n# TYPE t_things_total rate\n", "# HELP t_things_total x\nt_things_total -1\n",
		"# HELP t_things_total x\nt_things_total 1", "# HELP t_things_total x\nt_things_total 1.5\n",
		"# HELP t_things_total x\n# HELP t_things_total x\n", "rubbish\n", "# HELP t_things_total x\nt_things_total 99999999999999999999\n",
	};
	const char *path;
	struct buf mark = { 0 };
	struct metrics *m = metrics_create(scratch("mark"));

	(void)state;
	writes(m);
	metrics_destroy(&m);
	assert_true(file_read_path(scratch("mark"), &mark));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf text = { 0 }, after = { 0 };

		buf_addf(&text, "%s%s", mark.data, bad[i]);
		path = scratch_write("bad", text.data, text.len);
		refuses(path, "neither a metric nor its HELP or TYPE line");
		assert_true(file_read_path(path, &after));
		assert_string_equal(after.data, text.data);
		buf_free(&text);
		buf_free(&after);
	}
	refuses(scratch_text("foreign", "root:x:0:0\n"), ":1: expected a file that zlmtp has written");
	assert_int_equal(symlink("foreign", scratch("link")), 0);
	refuses(scratch("link"), "symbolic");
	refuses(scratch("none/file"), "No such file");
	/* what a power failure may leave */
	path = scratch_text("empty", "");
	m = metrics_create(path);
	metrics_add(m, &things, "", 1000);
	writes(m);
	metrics_destroy(&m);
	buf_free(&mark);
}

static void counting_for_ever(const char *path, unsigned times_written, bool dies)
{
	struct metrics *m = metrics_create(path);
	struct buf why = { 0 };

	for (unsigned i = 0; i < times_written || dies; i++) {
		metrics_add(m, &things, "", 1000);
		metrics_add(m, &things, dies ? "kind=\"dying\"" : "kind=\"living\"", 1000);
		while (metrics_write(m, 1000, &why) == METRICS_BUSY)
			;
		if (why.len > 0)
			_exit(1);
	}
	_exit(0);
}

static pid_t counter(const char *path, unsigned times_written, bool dies)
{
	pid_t pid = fork();

	if (pid == 0)
		counting_for_ever(path, times_written, dies);
	assert_true(pid > 0);
	return pid;
}

/* Six processes of which three are killed at some moment: every number that was written stays, and none is counted twice. */
static void processes_count_together_and_may_be_killed(void **state)
{
	enum { LIVING = 3, DYING = 3, TIMES = 60, ROUNDS = 8 };
	const char *path = scratch("together");
	unsigned long all, dying, living, last = 0;
	struct buf text = { 0 };

	(void)state;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		pid_t pids[LIVING + DYING];

		for (unsigned i = 0; i < LIVING + DYING; i++)
			pids[i] = counter(path, TIMES, i >= LIVING);
		usleep(3000 + round * 1700);
		for (unsigned i = LIVING; i < LIVING + DYING; i++)
			kill(pids[i], SIGKILL);
		for (unsigned i = 0; i < LIVING + DYING; i++) {
			int status;

			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			assert_int_equal(status, i < LIVING ? 0 : SIGKILL);
		}
		buf_clear(&text);
		assert_true(file_read_path(path, &text));
		assert_non_null(strstr(text.data, "\nt_things_total{kind=\"living\"} "));
		all = strtoul(strstr(text.data, "\nt_things_total ") + strlen("\nt_things_total "), NULL, 10);
		living = strtoul(strstr(text.data, "{kind=\"living\"} ") + strlen("{kind=\"living\"} "), NULL, 10);
		dying = strstr(text.data, "{kind=\"dying\"} ") == NULL ? 0 :
		        strtoul(strstr(text.data, "{kind=\"dying\"} ") + strlen("{kind=\"dying\"} "), NULL, 10);
		assert_int_equal(living, round * LIVING * TIMES);
		assert_int_equal(all, living + dying);
		assert_true(all >= last);
		last = all;
	}
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_counted_adds_up_in_the_file),
		cmocka_unit_test(a_gauge_is_replaced_with_all_its_labels),
		cmocka_unit_test(a_histogram_has_rising_buckets),
		cmocka_unit_test(labels_are_clean_and_quoted),
		cmocka_unit_test(files_of_others_and_damaged_ones_are_left_alone),
		cmocka_unit_test(processes_count_together_and_may_be_killed),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
