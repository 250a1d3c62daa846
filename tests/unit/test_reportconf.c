#include "tests/unit/unit.h"

#include "channel/report/reportconf.h"

#define NO_ADDRESS ": expected an address like postmaster@example.org, or nothing"

static struct report_settings settings;

static bool parse(const char *text, struct buf *why)
{
	report_settings_free(&settings);
	report_settings_init(&settings, "here.example.org");
	return report_settings_parse(&settings, "db/router.conf", text, strlen(text), why);
}

static void settings_stand_among_those_of_routing(void **state)
{
	struct buf why = { 0 };

	(void)state;
	assert_true(parse("# routing\nprotocols=routes smtp\nhostname=mail.example.org\npostmaster=pm@example.org\r\n"
	                  "report-from=daemon@[192.0.2.1]\nreport-max=2M\n\nmax_depth=4", &why));
	assert_string_equal(settings.host, "mail.example.org");
	assert_string_equal(settings.postmaster, "pm@example.org");
	assert_string_equal(settings.from, "daemon@[192.0.2.1]");
	assert_int_equal(settings.max, 2 * 1024 * 1024);
	report_settings_free(&settings);
}

static void defaults_hold_where_nothing_is_said(void **state)
{
	struct buf why = { 0 };

	(void)state;
	assert_true(parse("#postmaster=x@y\npostmaster=\nreport-from=\n", &why));
	assert_string_equal(settings.host, "here.example.org");
	assert_null(settings.postmaster);
	assert_null(settings.from);
	assert_int_equal(settings.max, 100 * 1024);
	assert_true(parse("report-max=0\n", &why));
	assert_int_equal(settings.max, 0);
	report_settings_free(&settings);
}

static void what_cannot_be_meant_names_its_line(void **state)
{
	static const struct { const char *text, *why; } rows[] = {
		{ "\npostmaster=pm\n", "db/router.conf:2: postmaster" NO_ADDRESS },
		{ "postmaster=a b@c", "db/router.conf:1: postmaster" NO_ADDRESS },
		{ "report-from=<a@b>", "db/router.conf:1: report-from" NO_ADDRESS },
		{ "report-from=a@b,c@d", "db/router.conf:1: report-from" NO_ADDRESS },
		{ "report-from=\xff@d", "db/router.conf:1: report-from" NO_ADDRESS },
		{ "report-max=", "db/router.conf:1: report-max: expected a number of bytes, with k or M after it, or nothing" },
		{ "report-max=-1", "db/router.conf:1: report-max: expected a number of bytes, with k or M after it, or nothing" },
		{ "report-max=10G", "db/router.conf:1: report-max: expected a number of bytes, with k or M after it, or nothing" },
		{ "report-max=k", "db/router.conf:1: report-max: expected a number of bytes, with k or M after it, or nothing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf why = { 0 };

		assert_false(parse(rows[i].text, &why));
		assert_string_equal(buf_str(&why), rows[i].why);
		buf_free(&why);
	}
	report_settings_free(&settings);
}

static void a_wrong_line_leaves_the_others_alone(void **state)
{
	static const char text[] = "hostname=mx.example.org\nreport-from=no address\nreport-max=x\npostmaster=pm@example.org\n";
	struct buf why = { 0 };

	(void)state;
	report_settings_init(&settings, "vm");
	assert_false(report_settings_parse(&settings, "f", text, sizeof text - 1, &why));
	assert_string_equal(settings.host, "mx.example.org");
	assert_string_equal(settings.postmaster, "pm@example.org");
	assert_null(settings.from);
	assert_non_null(strstr(buf_str(&why), "f:2: report-from: "));
	assert_non_null(strstr(buf_str(&why), "\nf:3: report-max: "));
	report_settings_free(&settings);
	buf_free(&why);
}

static void a_nul_does_not_hide_the_rest_of_a_value(void **state)
{
	static const char text[] = "postmaster=a@b\0c\n";
	struct buf why = { 0 };

	(void)state;
	report_settings_init(&settings, "h");
	assert_false(report_settings_parse(&settings, "f", text, sizeof text - 1, &why));
	assert_string_equal(buf_str(&why), "f:1: postmaster: the line holds a NUL byte");
	buf_free(&why);
	report_settings_free(&settings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_stand_among_those_of_routing),
		cmocka_unit_test(defaults_hold_where_nothing_is_said),
		cmocka_unit_test(what_cannot_be_meant_names_its_line),
		cmocka_unit_test(a_wrong_line_leaves_the_others_alone),
		cmocka_unit_test(a_nul_does_not_hide_the_rest_of_a_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
