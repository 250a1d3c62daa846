#include "tests/unit/unit.h"

#include <sysexits.h>
#include <time.h>

#include "db/route/routeconf.h"
#include "tests/unit/scratch.h"

static struct route_config *config;
static struct router *router;
static struct moment now;

/* Writes dbases.conf in place: a line for each letter, whose map is the file of that name. */
static void write_lines(const char *letters, const char *end)
{
	FILE *f = fopen(scratch("dbases.conf"), "w");

	assert_non_null(f);
	for (const char *p = letters; *p != '\0'; p++)
		fprintf(f, "r%c unordered - - %s/%c -l%s", *p, scratch_directory, *p, p[1] != '\0' ? "\n" : end);
	fclose(f);
}

static void begin(const char *letters)
{
	now = (struct moment){ 1000000, time(NULL) };
	write_lines(letters, "\n");
	config = route_config_create(scratch("dbases.conf"), NULL, 0);
	assert_int_equal(route_config_open(config, now, &router), EX_OK);
}

static void end(void)
{
	router_destroy(&router);
	route_config_free(&config);
}

/* Asks after so many milliseconds, by which only our own looks tell how old the file is. */
static bool renews_after(int64_t ms)
{
	struct router *new;

	now.ms += ms;
	if (!route_config_renew(config, now, &new))
		return false;
	router_destroy(&router);
	router = new;
	return true;
}

static bool has(const char *relation)
{
	return dbases_has(route_config_dbases(config), relation);
}

static int make_maps(void **state)
{
	static const char *const names[] = { "a", "b", "c" };

	setenv("ZCONFIG", "/dev/null", 1);
	if (scratch_begin(state) != 0)
		return 1;
	for (size_t i = 0; i < 3; i++)
		scratch_text(names[i], "key value\n");
	return 0;
}

static void a_further_line_counts_when_the_file_was_left_alone_for_a_second(void **state)
{
	(void)state;
	begin("a");
	assert_false(renews_after(2000));
	write_lines("ab", "\n");
	assert_false(renews_after(1000));
	assert_false(renews_after(800));
	write_lines("abc", "\n");
	assert_false(renews_after(200));
	assert_false(renews_after(900));
	assert_true(renews_after(200));
	assert_true(has("ra") && has("rb") && has("rc"));
	assert_false(renews_after(5000));
	end();
}

static void a_line_in_front_of_the_others_is_a_further_one(void **state)
{
	(void)state;
	begin("bc");
	write_lines("abc", "\n");
	assert_false(renews_after(1000));
	assert_true(renews_after(1000));
	end();
}

static void a_file_that_lacks_a_line_counts_after_a_minute(void **state)
{
	(void)state;
	begin("abc");
	write_lines("ab", "\n");
	assert_false(renews_after(1000));
	assert_false(renews_after(59000));
	assert_true(has("rc"));
	assert_true(renews_after(1000));
	assert_false(has("rc"));
	end();
}

static void a_file_that_ends_within_a_line_is_cut_off(void **state)
{
	(void)state;
	begin("a");
	write_lines("ab", "");
	assert_false(renews_after(1000));
	assert_false(renews_after(59000));
	assert_false(renews_after(1000000));
	write_lines("ab", "\n");
	assert_false(renews_after(1000));
	assert_true(renews_after(1000));
	end();
}

static void the_time_of_the_file_tells_where_nobody_asked(void **state)
{
	(void)state;
	begin("a");
	write_lines("ab", "\n");
	now.wall += 3;
	assert_true(renews_after(1));
	write_lines("a", "\n");
	now.wall += 10;
	assert_false(renews_after(1000));
	now.wall += 60;
	assert_true(renews_after(1000));
	end();
}

static void a_map_that_is_not_there_yet_is_waited_for(void **state)
{
	(void)state;
	begin("a");
	write_lines("ad", "\n");
	assert_false(renews_after(1000));
	assert_false(renews_after(1000));
	assert_false(renews_after(100000));
	scratch_text("d", "key value\n");
	assert_true(renews_after(1000));
	unlink(scratch("d"));
	end();
}

static void what_is_faulty_or_gone_changes_nothing(void **state)
{
	(void)state;
	begin("ab");
	scratch_text("dbases.conf", "");
	assert_false(renews_after(1000));
	assert_false(renews_after(100000));
	scratch_text("dbases.conf", "ra broken\n");
	assert_false(renews_after(1000));
	assert_false(renews_after(100000));
	unlink(scratch("dbases.conf"));
	assert_false(renews_after(1000));
	assert_false(renews_after(100000));
	assert_true(has("ra") && has("rb"));
	write_lines("ab", "\n");
	assert_false(renews_after(1000));
	assert_false(renews_after(100000));
	end();
}

static void settings_of_router_conf_are_part_of_it(void **state)
{
	struct router *another;
	int status;

	(void)state;
	begin("a");
	scratch_text("router.conf", "mydomain=d.test\n");
	assert_false(renews_after(1000));
	assert_true(renews_after(1000));
	assert_string_equal(route_config_settings(config), "mydomain=d.test\n");
	/* also for a child that starts while they are faulty */
	scratch_text("router.conf", "nonsense\n");
	assert_false(renews_after(1000));
	assert_false(renews_after(100000));
	another = route_config_router(config, &status);
	assert_non_null(another);
	assert_string_equal(another->mydomain, "d.test");
	router_destroy(&another);
	unlink(scratch("router.conf"));
	assert_false(renews_after(1000));
	assert_false(renews_after(59000));
	assert_true(renews_after(1000));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_further_line_counts_when_the_file_was_left_alone_for_a_second),
		cmocka_unit_test(a_line_in_front_of_the_others_is_a_further_one),
		cmocka_unit_test(a_file_that_lacks_a_line_counts_after_a_minute),
		cmocka_unit_test(a_file_that_ends_within_a_line_is_cut_off),
		cmocka_unit_test(the_time_of_the_file_tells_where_nobody_asked),
		cmocka_unit_test(a_map_that_is_not_there_yet_is_waited_for),
		cmocka_unit_test(what_is_faulty_or_gone_changes_nothing),
		cmocka_unit_test(settings_of_router_conf_are_part_of_it),
	};

	return cmocka_run_group_tests(tests, make_maps, scratch_end);
}
