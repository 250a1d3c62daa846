#include "tests/unit/unit.h"

#include <sysexits.h>

#include "db/store/env.h"
#include "tests/unit/scratch.h"

static int parse(struct env_config *config, const char *text, struct buf *why)
{
	buf_clear(why);
	return env_config_parse(config, "f", text, strlen(text), why);
}

static void settings_are_read_in_all_their_spellings(void **state)
{
	static const char *const texts[] = {
		"envhome /var/db\nenvflags CDB CREATE\nenvmode 600\n",
		"# comment\n\nEnvHome=/var/db\nENVFLAGS:cdb,create\nenvmode\t=\t0600",
		"envhome = /var/db\nenvflags = ,CDB,,\tCREATE\nenvmode : 600\n",
	};
	struct buf why = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct env_config config;

		assert_int_equal(parse(&config, texts[i], &why), EX_OK);
		assert_string_equal(config.home, "/var/db");
		assert_true(config.create);
		assert_int_equal(config.mode, 0600);
		assert_null(config.tmpdir);
		env_config_free(&config);
	}
	buf_free(&why);
}

static void both_names_of_the_temporary_directory_work(void **state)
{
	static const char *const texts[] = {
		"envhome /d\nenvflags CDB RO\ntmpdir /t\n", "envhome /d\nenvflags CDB RO\ntempdir /t\n",
	};
	struct buf why = { 0 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct env_config config;

		assert_int_equal(parse(&config, texts[i], &why), EX_OK);
		assert_string_equal(config.tmpdir, "/t");
		assert_false(config.create);
		assert_int_equal(config.mode, 0);
		env_config_free(&config);
	}
	buf_free(&why);
}

static void what_zmailer_would_pass_over_stops_us(void **state)
{
	static const struct { const char *text, *why; } rows[] = {
		{ "", "f: no envhome: ZMailer would use its maps without any environment" },
		{ "envflags CDB\n", "f: no envhome: ZMailer would use its maps without any environment" },
		{ "envhome /d\n", "f: envflags does not hold CDB: maps cannot be opened in such an environment" },
		{ "envhome /d\nenvflags CREATE\n", "f: envflags does not hold CDB: maps cannot be opened in such an environment" },
		{ "envhome /d\nenvflags CDB RPC\n",
		  "f:2: expected CDB, CREATE or RO in envflags, found \"RPC\"" },
		{ "envhome /d\ncolour blue\n",
		  "f:2: expected envhome, envmode, envflags or tmpdir, found \"colour\"" },
		{ " envhome /d\n", "f:1: expected a setting in column 1 (ZMailer would skip this line), found \" envhome /d\"" },
		{ "envhome /d \n", "f:1: expected no blanks at the end of the line (they would be part of the value), found \"envhome /d \"" },
		{ "envhome /d\r\n", "f:1: expected no blanks at the end of the line (they would be part of the value), found \"envhome /d \"" },
		{ "envhome /d\re\n", "f:1: expected no control bytes, found \"envhome /d e\"" },
		{ "envhome\n", "f:1: expected a value after the name, found \"envhome\"" },
		{ "envhome = \n", "f:1: expected no blanks at the end of the line (they would be part of the value), found \"envhome = \"" },
		{ "envhome d\n", "f:1: expected an absolute path, found \"d\"" },
		{ "envhome /d\nenvhome /e\n", "f:2: envhome: given twice" },
		{ "tmpdir /d\ntempdir /e\n", "f:2: tempdir: given twice" },
		{ "envflags CDB\nenvflags CREATE\n", "f:2: envflags: given twice" },
		{ "envmode rw\n", "f:1: expected an octal mode after envmode, found \"rw\"" },
		{ "envmode 0\n", "f:1: expected envmode between 1 and 777, found \"0\"" },
		{ "envmode 1777\n", "f:1: expected envmode between 1 and 777, found \"1777\"" },
	};
	struct buf why = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct env_config config;

		assert_int_equal(parse(&config, rows[i].text, &why), EX_CONFIG);
		assert_string_equal(buf_str(&why), rows[i].why);
	}
	buf_free(&why);
}

static void long_lines_and_nul_bytes_are_refused(void **state)
{
	struct env_config config;
	struct buf why = { 0 }, text = { 0 };

	(void)state;
	buf_adds(&text, "envhome /");
	while (text.len < 249)
		buf_addc(&text, 'x');
	assert_int_equal(parse(&config, buf_str(&text), &why), EX_CONFIG);
	assert_non_null(strstr(buf_str(&why), "at most 248 bytes"));
	buf_clear(&why);
	assert_int_equal(env_config_parse(&config, "f", "envhome /\0d\n", 12, &why), EX_CONFIG);
	assert_string_equal(buf_str(&why), "f:1: NUL byte");
	buf_free(&why);
	buf_free(&text);
}

static void a_file_that_cannot_be_read_is_no_empty_file(void **state)
{
	struct env_config config;
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(env_config_read(&config, scratch("none"), &why), EX_NOINPUT);
	assert_non_null(strstr(buf_str(&why), "No such file"));
	buf_clear(&why);
	assert_int_equal(env_config_read(&config, scratch_text("env", "envhome /d\nenvflags CDB\n"), &why), EX_OK);
	assert_string_equal(config.file, scratch("env"));
	env_config_free(&config);
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_are_read_in_all_their_spellings),
		cmocka_unit_test(both_names_of_the_temporary_directory_work),
		cmocka_unit_test(what_zmailer_would_pass_over_stops_us),
		cmocka_unit_test(long_lines_and_nul_bytes_are_refused),
		cmocka_unit_test(a_file_that_cannot_be_read_is_no_empty_file),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
