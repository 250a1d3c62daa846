#include "tests/unit/unit.h"

#include <sysexits.h>

#include "db/route/dbases.h"
#include "db/route/privilege.h"
#include "tests/unit/scratch.h"

static struct buf told;

static void note(void *context, const struct fault *fault)
{
	(void)context;
	buf_addf(&told, "%zu:%zu: %s%s\n", fault->line, fault->column, fault->is_warning ? "warning: " : "", fault->text);
}

/* As if zmailer.conf said this. */
static int parse(struct dbases *dbases, const char *zmailer_conf, const char *text)
{
	struct zenv zenv = { .file = xstrdup("zmailer.conf") };
	int status;

	buf_clear(&told);
	buf_adds(&zenv.text, zmailer_conf);
	status = dbases_parse(dbases, "/etc/dbases.conf", text, strlen(text), &zenv, note, NULL);
	zenv_free(&zenv);
	return status;
}

static void each_field_is_read(void **state)
{
	struct dbases d;
	const struct dbases_map *m;

	(void)state;
	assert_int_equal(parse(&d, "MAILVAR=/var/mail\nDBTYPE=btree\n",
	                       "# comment\n#| documentation\n\n \t\n  # indented comment\n"
	                       "aliases\t$DBTYPE  root:root:644 -la $MAILVAR/db/aliases -lm\n"
	                       "fqdnroutes bhash 0:0 -lA /x/fqdnroutes-local -lm% -s 500 -e 30 \n"
	                       "fqdnroutes btree,  - -r ${MAILVAR}/db/fqdnroutes -lm%:d pathalias -C /etc/env.conf\n"
	                       "fqdnroutes NONE - - - -\n"
	                       "thishost unordered - - names -l\n"
	                       "other ldap - - /etc/x.ldap -lm\n"
	                       "routesdb bind,mx - - - -lm"), EX_CONFIG);
	assert_string_equal(buf_str(&told), "8:12: type btree has no subtype, remove \"\"\n");
	assert_int_equal(parse(&d, "MAILVAR=/var/mail\nDBTYPE=btree\n",
	                       "aliases\t$DBTYPE  root:root:600 -la $MAILVAR/db/aliases -lm\n"
	                       "fqdnroutes bhash 0:0 -lA /x/fqdnroutes-local -lm% -s 500 -e 30 \n"
	                       "fqdnroutes btree  - -r ${MAILVAR}/db/fqdnroutes -lm%:d pathalias -C /etc/env.conf\n"
	                       "fqdnroutes NONE - - - -\n"
	                       "thishost unordered - - names -l\n"
	                       "other ldap - - /etc/x.ldap -lm\n"
	                       "routesdb bind,mx - - - -lm"), EX_OK);
	assert_string_equal(buf_str(&told), "");
	assert_int_equal(d.count, 7);
	assert_string_equal(d.directory, "/var/mail/db");
	m = &d.maps[0];
	assert_int_equal(m->kind, DBASES_BUILT);
	assert_string_equal(m->type, "btree");
	assert_true(m->default_type && m->has_privilege && m->syntax.aliases && !m->join);
	assert_int_equal(m->uid, 0);
	assert_int_equal(m->mode, 0600);
	assert_int_equal(m->syntax.folding, 'l');
	assert_string_equal(m->file, "/var/mail/db/aliases");
	assert_string_equal(m->file_written, "$MAILVAR/db/aliases");
	assert_true(m->lookup.refresh && m->lookup.fold == FOLD_LOWER);
	m = &d.maps[1];
	assert_true(m->join && !m->syntax.aliases && m->lookup.substitute && m->lookup.cache_size == 500);
	assert_int_equal(m->mode, 0644);
	assert_string_equal(m->lookup_written, "-lm% -s 500 -e 30");
	m = &d.maps[2];
	assert_int_equal(m->kind, DBASES_LIVE);
	assert_false(m->has_privilege);
	assert_string_equal(m->config, "/etc/env.conf");
	assert_int_equal(m->lookup.driver, DRIVER_PATHALIAS);
	assert_int_equal(d.maps[3].kind, DBASES_NONE);
	assert_string_equal(d.maps[4].file, "/var/mail/db/names");
	assert_int_equal(d.maps[4].kind, DBASES_READ);
	assert_int_equal(d.maps[6].kind, DBASES_FOREIGN);
	assert_string_equal(d.maps[6].subtype, "mx");
	assert_ptr_equal(dbases_find_file(&d, "/var/mail/db/fqdnroutes.db"), &d.maps[2]);
	assert_ptr_equal(dbases_find_file(&d, "/x/fqdnroutes-local"), &d.maps[1]);
	assert_null(dbases_find_file(&d, "/x/fqdnroutes"));
	dbases_free(&d);
}

static void what_zmailer_would_misread_is_an_error(void **state)
{
	static const struct { const char *line, *told; } rows[] = {
		{ " aliases btree - -la /a -lm", "1:0: expected a relation in column 1: ZMailer would skip this line\n" },
		{ "-aliases btree - -la /a -lm", "1:0: expected a letter, a digit or '#' in column 1: ZMailer would skip this line\n" },
		{ "al-iases btree - -la /a -lm", "1:1: expected letters, digits and '_' in the name of a relation, not \"al-iases\"\n" },
		{ "routes btree - -la /a -lm", "1:1: the router asks a relation \"routesdb\", not \"routes\"\n" },
		{ "aliases btree - -la /a", "1:23: expected six fields (relation, type, privilege, build options, file, lookup "
		  "options) and not 5\n" },
		{ "aliases", "1:8: expected six fields (relation, type, privilege, build options, file, lookup options) and not 1\n" },
		{ "aliases gdbm - -la /a -lm",
		  "1:9: type \"gdbm\" is not supported; expected btree, bhash, lmdb, unordered, ordered, ldap, "
		  "pgsql, mysql, sqlite or NONE\n" },
		{ "aliases incore - - /a -lm",
		  "1:9: type \"incore\" is not supported; expected btree, bhash, lmdb, unordered, ordered, ldap, "
		  "pgsql, mysql, sqlite or NONE\n" },
		{ "aliases bind - - - -lm", "1:9: type bind needs a subtype: bind,NAME\n" },
		{ "aliases bind,$(id) - - - -lm",
		  "1:9: expected letters, digits, '_', '.' and '-' in a subtype, not \"$(id)\"\n" },
		{ "aliases btree root:0:755 -la /a -lm",
		  "1:15: expected an octal mode within 664 after user:group:, not \"root:0:755\"\n" },
		{ "aliases btree root -la /a -lm",
		  "1:15: expected \"-\" or user:group or user:group:mode, not \"root\"\n" },
		{ "aliases btree no-such-user:0 -la /a -lm", "1:15: no such user, not \"no-such-user:0\"\n" },
		{ "aliases btree 0:no-such-group -la /a -lm", "1:15: no such group, not \"0:no-such-group\"\n" },
		{ "aliases btree - -lr /a -lm", "1:17: expected \"-\", \"-r\" alone, or a word of -a -A -l -u, not \"-lr\"\n" },
		{ "aliases btree - -lu /a -lm", "1:17: expected \"-\", \"-r\" alone, or a word of -a -A -l -u, not \"-lu\"\n" },
		{ "aliases btree - la /a -lm", "1:17: expected \"-\", \"-r\" alone, or a word of -a -A -l -u, not \"la\"\n" },
		{ "aliases unordered - -l /a -lm", "1:21: maps of this type are not built; expected \"-\"\n" },
		{ "aliases btree - -la - -lm", "1:21: expected the name of a file\n" },
		{ "aliases btree - -la /a.db -lm", "1:21: expected the name without \".db\"\n" },
		{ "aliases btree - -la $HOME/a -lm", "1:21: \"$HOME/a\": only $MAILVAR, $MAILBIN and $MAILSHARE can be used\n" },
		{ "aliases btree - -la $MAILVARX/a -lm",
		  "1:21: \"$MAILVARX/a\": only $MAILVAR, $MAILBIN and $MAILSHARE can be used\n" },
		{ "aliases btree - -la $MAILBIN/a -lm",
		  "1:21: \"$MAILBIN/a\": MAILBIN is not set; let ZCONFIG name your zmailer.conf\n" },
		{ "aliases btree - -la /a;b -lm",
		  "1:21: the byte at column 3 of \"/a;b\" means something to a shell, which ZMailer gives this name to\n" },
		{ "aliases btree - -la /a -", "1:24: expected lookup options such as -lm: with \"-\" ZMailer finds nothing in the map\n" },
		{ "aliases btree - -la /a -lmz", "1:24: " },
		{ "aliases btree - -la /a -lm -C /e", "1:17: expected \"-r\" here: a map in an environment (-C) is updated in place and "
		  "must not be built\n" },
		{ "aliases lmdb - -r /a -lm -C /e", "1:22: -C is for maps of types btree and bhash with \"-r\"\n" },
		{ "aliases btree - -r /a -lm -C e", "1:23: expected an absolute path after -C, not \"e\"\n" },
		{ "aliases NONE - - /a -", "1:18: expected \"-\": NONE has no file\n" },
		{ "aliases NONE - - - -lm", "1:20: expected \"-\": NONE is never asked\n" },
		{ "aliases btree - -la /a -lm\r", "1:0: CR at the end of the line\n" },
	};
	struct dbases d;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(parse(&d, "MAILVAR=/var/mail\n", rows[i].line), EX_CONFIG);
		assert_int_equal(strlen(buf_str(&told)) >= strlen(rows[i].told), 1);
		if (rows[i].told[strlen(rows[i].told) - 1] == '\n')
			assert_string_equal(buf_str(&told), rows[i].told);
		else
			assert_memory_equal(buf_str(&told), rows[i].told, strlen(rows[i].told));
	}
}

static void one_bad_line_does_not_hide_another(void **state)
{
	struct dbases d;

	(void)state;
	assert_int_equal(parse(&d, "", " x\naliases btree - -la /a -lm\naliases foo - - - -\n"), EX_CONFIG);
	assert_memory_equal(buf_str(&told), "1:0: ", 5);
	assert_non_null(strstr(buf_str(&told), "\n3:9: "));
}

static void keys_folded_on_one_side_only_are_worth_a_warning(void **state)
{
	struct dbases d;

	(void)state;
	assert_int_equal(parse(&d, "", "a btree - -l /a -m\nb btree - - /b -lm\nc btree - -l /c -lm\nd btree - -u /d -um\n"), EX_OK);
	assert_string_equal(buf_str(&told),
	                    "1:17: warning: keys are stored in lower case; without -l a lookup in other letters never finds them\n"
	                    "2:16: warning: lookups are folded by -l, keys are not: build with -l too\n");
	dbases_free(&d);
}

static void one_file_is_not_built_in_two_ways(void **state)
{
	struct dbases d;

	(void)state;
	assert_int_equal(parse(&d, "", "a btree - -l /a -lm\nb btree - -l /a -lm\nc bhash - - /a -m\n"), EX_OK);
	dbases_free(&d);
	assert_int_equal(parse(&d, "", "a btree - -l /a -lm\nb btree - -la /a -lm\n"), EX_CONFIG);
	assert_string_equal(buf_str(&told), "2:15: line 1 makes the same map otherwise\n");
}

static void relations_open_with_their_maps_in_order(void **state)
{
	struct dbases d;
	struct relation *r;
	struct buf why = { 0 };
	int status;

	(void)state;
	assert_int_equal(parse(&d, "", "a unordered - - /nonexistent/1 -l\nb NONE - - - -\na btree - -r /nonexistent/2 -lm%\n"
	                               "c bind,mx - - - -l\nd btree - -r /x -l -C /nonexistent/env\n"), EX_OK);
	r = dbases_relation(&d, "a", &status, &why);
	assert_int_equal(r->count, 2);
	assert_string_equal(r->maps[0].map->path, "/nonexistent/1");
	assert_string_equal(r->maps[1].map->path, "/nonexistent/2.db");
	assert_true(r->maps[1].options.substitute);
	relation_destroy(&r);
	r = dbases_relation(&d, "b", &status, &why);
	assert_int_equal(r->count, 0);
	relation_destroy(&r);
	r = dbases_relation(&d, "c", &status, &why);
	assert_int_equal(map_find(r->maps[0].map, "x", &why), MAP_COULD_NOT_TELL);
	relation_destroy(&r);
	assert_null(dbases_relation(&d, "d", &status, &why));
	assert_int_equal(status, EX_NOINPUT);
	assert_null(dbases_relation(&d, "e", &status, &why));
	assert_int_equal(status, EX_UNAVAILABLE);
	buf_free(&why);
	dbases_free(&d);
}

static void an_unreadable_file_is_told(void **state)
{
	struct zenv zenv = { 0 };
	struct dbases d;

	(void)state;
	buf_clear(&told);
	assert_int_equal(dbases_read(&d, scratch("none"), &zenv, note, NULL), EX_NOINPUT);
	/* one that is just being written, or could not be for want of room, would send all mail elsewhere */
	assert_int_equal(dbases_read(&d, scratch_text("empty", ""), &zenv, note, NULL), EX_CONFIG);
	assert_int_equal(dbases_read(&d, scratch_text("comment", "# no map\n"), &zenv, note, NULL), EX_OK);
	dbases_free(&d);
	assert_string_equal(buf_str(&told), "0:0: No such file or directory\n0:0: is empty; a comment in it says that no map is meant\n");
}

static void settings_that_programs_read_differently_are_errors(void **state)
{
	static const struct { const char *text; int status; const char *value; } rows[] = {
		{ "MAILVAR=/v\n", EX_OK, "/v" },
		{ "# MAILVAR\xc2\xa0=/v\nX\xc2\xa0=1\nMAILVAR=/v", EX_OK, "/v" },
		{ "X=1\nMAILVAR=/v", EX_OK, "/v" },
		{ "MAILVARX=/v\n MAILVAR=/w\n", EX_OK, NULL },
		{ "MAILVAR=\n", EX_OK, NULL },
		{ "MAILVAR='/v'\n", EX_CONFIG, NULL },
		{ "MAILVAR=/v # c\n", EX_CONFIG, NULL },
		{ "MAILVAR=$X/v\n", EX_CONFIG, NULL },
		{ "MAILVAR= /v\n", EX_CONFIG, NULL },
		{ "MAILVAR=/v\r\n", EX_CONFIG, NULL },
		{ "MAILVAR=/v\nMAILVAR=/w\n", EX_CONFIG, NULL },
	};

	(void)state;
	unsetenv("MAILVAR");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct zenv zenv = { .file = xstrdup("z") };
		struct buf value = { 0 }, why = { 0 };
		bool is_set;

		buf_adds(&zenv.text, rows[i].text);
		assert_int_equal(zenv_get(&zenv, "MAILVAR", &value, &is_set, &why), rows[i].status);
		if (rows[i].status == EX_OK) {
			assert_int_equal(is_set, rows[i].value != NULL);
			assert_string_equal(buf_str(&value), rows[i].value != NULL ? rows[i].value : "");
		} else {
			assert_int_equal(strncmp(buf_str(&why), "z:", 2), 0);
		}
		buf_free(&value);
		buf_free(&why);
		zenv_free(&zenv);
	}
}

/* Skipped or cut they would be another site's settings. */
static void a_setting_with_bytes_that_nobody_sees_is_an_error(void **state)
{
	static const struct { const char *text; size_t n; const char *why; } rows[] = {
#define ROW(text, why) { text, sizeof text - 1, why }
		ROW("MAILVAR\0=/v\n", "z:1: the line of MAILVAR holds a NUL byte; remove it"),
		ROW("\0MAILVAR=/v\n", "z:1: the line of MAILVAR holds a NUL byte; remove it"),
		ROW("MAIL\0VAR=/v\n", "z:1: the line of MAILVAR holds a NUL byte; remove it"),
		ROW("MAILVAR=/v\0w\n", "z:1: the line of MAILVAR holds a NUL byte; remove it"),
		ROW("MAILVAR=\0/v", "z:1: the line of MAILVAR holds a NUL byte; remove it"),
		ROW("#\nMAILVAR\xc2\xa0=/v\n", "z:2: the line of MAILVAR holds U+00A0, which looks like a blank or like nothing; remove it"),
		ROW("\xe2\x80\x8bMAILVAR=/v\n", "z:1: the line of MAILVAR holds U+200B, which looks like a blank or like nothing; remove it"),
		ROW("MAILVAR=/v\xe2\x80\x8b\n", "z:1: the line of MAILVAR holds U+200B, which looks like a blank or like nothing; remove it"),
		ROW("MAIL\xef\xbb\xbfVAR\0\xc2\xa0=/v\n", "z:1: the line of MAILVAR holds U+FEFF, which looks like a blank or like nothing; remove it"),
		ROW("MAILVAR=/v\nMAILVAR\xc2\xa0=/w\n", "z:2: the line of MAILVAR holds U+00A0, which looks like a blank or like nothing; remove it"),
#undef ROW
	};

	(void)state;
	unsetenv("MAILVAR");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct zenv zenv = { .file = xstrdup("z") };
		struct buf value = { 0 }, why = { 0 };
		bool is_set;

		buf_add(&zenv.text, rows[i].text, rows[i].n);
		assert_int_equal(zenv_get(&zenv, "MAILVAR", &value, &is_set, &why), EX_CONFIG);
		assert_string_equal(buf_str(&why), rows[i].why);
		buf_free(&value);
		buf_free(&why);
		zenv_free(&zenv);
	}
}

static void zconfig_names_the_file_and_the_environment_fills_gaps(void **state)
{
	struct zenv zenv;
	struct buf value = { 0 }, why = { 0 };
	bool is_set;

	(void)state;
	setenv("ZCONFIG", scratch_text("zmailer.conf", "MAILVAR=/file\n"), 1);
	setenv("MAILVAR", "/environment", 1);
	setenv("MAILBIN", "/bin", 1);
	assert_int_equal(zenv_read(&zenv, &why), EX_OK);
	assert_int_equal(zenv_expand(&zenv, "$MAILVAR/a${MAILBIN}/b", &value, &why), EX_OK);
	assert_string_equal(buf_str(&value), "/file/a/bin/b");
	zenv_free(&zenv);
	setenv("ZCONFIG", scratch("none"), 1);
	assert_int_equal(zenv_read(&zenv, &why), EX_NOINPUT);
	unsetenv("ZCONFIG");
	assert_int_equal(zenv_read(&zenv, &why), EX_OK);
	buf_clear(&value);
	assert_int_equal(zenv_get(&zenv, "MAILVAR", &value, &is_set, &why), EX_OK);
	assert_string_equal(buf_str(&value), "/environment");
	zenv_free(&zenv);
	unsetenv("MAILVAR");
	unsetenv("MAILBIN");
	buf_free(&value);
	buf_free(&why);
}

static int end(void **state)
{
	buf_free(&told);
	return scratch_end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_field_is_read),
		cmocka_unit_test(what_zmailer_would_misread_is_an_error),
		cmocka_unit_test(one_bad_line_does_not_hide_another),
		cmocka_unit_test(keys_folded_on_one_side_only_are_worth_a_warning),
		cmocka_unit_test(one_file_is_not_built_in_two_ways),
		cmocka_unit_test(relations_open_with_their_maps_in_order),
		cmocka_unit_test(an_unreadable_file_is_told),
		cmocka_unit_test(settings_that_programs_read_differently_are_errors),
		cmocka_unit_test(a_setting_with_bytes_that_nobody_sees_is_an_error),
		cmocka_unit_test(zconfig_names_the_file_and_the_environment_fills_gaps),
	};

	unsetenv("MAILVAR");
	unsetenv("MAILBIN");
	unsetenv("MAILSHARE");
	unsetenv("DBTYPE");
	unsetenv("ZCONFIG");
	return cmocka_run_group_tests(tests, scratch_begin, end);
}
