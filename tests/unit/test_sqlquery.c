/* What a query of an SQL map may say about the key, and what becomes of it. */
#include "db/sql/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "db/sql/conf.h"

/* Doubles single quotes, as the libraries do. */
static long escape(void *session, char *to, const char *from, size_t n, struct sql_error *error)
{
	char *p = to;

	(void)session;
	(void)error;
	for (size_t i = 0; i < n; i++) {
		if (from[i] == '\'')
			*p++ = '\'';
		*p++ = from[i];
	}
	return p - to;
}

static const struct sql_driver driver = { .version = SQL_DRIVER_VERSION, .escape = escape };

static void a_key_is_put_in_escaped_and_in_quotes(void **state)
{
	static const struct { const char *query, *key, *text; } cases[] = {
		{ "SELECT v FROM u WHERE a='%s'", "o'x", "SELECT v FROM u WHERE a='o''x'" },
		{ "SELECT v FROM u WHERE a=%s", "1 OR 1=1", "SELECT v FROM u WHERE a='1 OR 1=1'" },
		{ "SELECT v FROM u WHERE a='%u' AND d='%d'", "joe@x.y", "SELECT v FROM u WHERE a='joe' AND d='x.y'" },
		{ "SELECT '100%%' WHERE a='%2.%1'", "joe@x.y", "SELECT '100%' WHERE a='x.y'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sql_query q;
		struct buf out = { 0 }, why = { 0 };
		struct sql_error error = { .text = "" };

		assert_true(sql_query_parse(&q, SQL_PGSQL, cases[i].query, &why));
		assert_true(sql_query_fill(&q, cases[i].key, strlen(cases[i].key), &driver, NULL, &out, &error));
		assert_string_equal(buf_str(&out), cases[i].text);
		sql_query_free(&q);
		buf_free(&out);
		buf_free(&why);
	}
}

static void a_key_that_is_a_string_of_its_own_can_be_bound(void **state)
{
	static const struct { const char *query, *bound; } cases[] = {
		{ "SELECT v FROM u WHERE a='%s'", "SELECT v FROM u WHERE a=?1" },
		{ "SELECT v FROM u WHERE a=%s AND b = 'x'", "SELECT v FROM u WHERE a=?1 AND b = 'x'" },
		{ "SELECT v FROM u WHERE a='%u' AND d='%d'", "SELECT v FROM u WHERE a=?1 AND d=?2" },
		{ "SELECT v FROM u WHERE a='%u@%d'", NULL },
		{ "SELECT v FROM u WHERE a='x%s'", NULL },
		{ "SELECT v FROM u WHERE a='%sx'", NULL },
		{ "SELECT v FROM u WHERE a='%s'''", NULL },
		{ "SELECT v FROM u WHERE a='''%s'", NULL },
		{ "SELECT v FROM u WHERE a='%%%s'", NULL },
		{ "SELECT v FROM u WHERE a='%u%d'", NULL },
		{ "SELECT v FROM u WHERE a='%s' AND b=?", NULL },
		{ "SELECT v FROM u WHERE a='%s' AND b='$'", "SELECT v FROM u WHERE a=?1 AND b='$'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		static const char key[] = "o'x@y";
		const char *strings[SQL_BOUND_MAX];
		size_t lengths[SQL_BOUND_MAX];
		struct sql_query q;
		struct buf why = { 0 };

		assert_true(sql_query_parse(&q, SQL_SQLITE, cases[i].query, &why));
		if (cases[i].bound == NULL) {
			assert_null(q.bound);
		} else {
			assert_string_equal(q.bound, cases[i].bound);
			assert_int_equal(sql_query_strings(&q, key, strlen(key), strings, lengths), strstr(q.bound, "?2") != NULL ? 2 : 1);
			assert_int_equal(lengths[0], strstr(cases[i].query, "%u") != NULL ? 3 : 5);
			assert_memory_equal(strings[0], key, lengths[0]);
		}
		sql_query_free(&q);
		assert_true(sql_query_parse(&q, SQL_MYSQL, cases[i].query, &why));
		assert_null(q.bound);
		sql_query_free(&q);
		buf_free(&why);
	}
}

static void a_bound_key_has_the_sign_of_its_database(void **state)
{
	static const struct { const char *query, *bound; } cases[] = {
		{ "SELECT v FROM u WHERE a='%s' AND d=%d", "SELECT v FROM u WHERE a=$1 AND d=$2" },
		{ "SELECT v FROM u WHERE a='%s' AND b='?'", "SELECT v FROM u WHERE a=$1 AND b='?'" },
		{ "SELECT v FROM u WHERE a='%s' AND b='$'", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sql_query q;
		struct buf why = { 0 };

		assert_true(sql_query_parse(&q, SQL_PGSQL, cases[i].query, &why));
		if (cases[i].bound != NULL)
			assert_string_equal(q.bound, cases[i].bound);
		else
			assert_null(q.bound);
		sql_query_free(&q);
		buf_free(&why);
	}
}

static void a_query_in_which_a_key_is_more_than_itself_is_refused(void **state)
{
	static const struct { enum sql_dialect dialect; const char *query, *why; } cases[] = {
		{ SQL_PGSQL, "SELECT 1", "nothing of the key" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a LIKE '%s'", "LIKE" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a like ('%s')", "LIKE" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a ~* '%s'", "LIKE" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a REGEXP \"%s\"", "LIKE" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a LIKE lower('%s')", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a LIKE '%s' || ''", "LIKE" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a LIKE '' || '%s'", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a LIKE ('x') || '%s'", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a LIKE 'x'::text || '%s'", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a LIKE 'x' COLLATE \"C\" || '%s'", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a LIKE/* */(lower('%s'))", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u, (SELECT '%s' AS k) q WHERE a LIKE q.k", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a SIMILAR TO lower('%s')", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a SIMILAR TO '%s'", "LIKE" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a ~ ('^' || '%s')", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a !~* lower('%s')", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE '%s' LIKE a", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE '%s' ~ a", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE regexp_like(a, '%s')", "LIKE" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE regexp_like(lower(a), lower('%s'))", "one text" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE regexp_replace(regexp_replace(a, 'x', ''), '%s', '') = ''", "LIKE" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE substring(a from '%s') = a", "parts" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a = ANY ('%s')", "parts" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a = ANY ('{%s}')", "parts" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE d @> '[\"%s\"]'", "parts" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE JSON_EXTRACT(d, '$.%s') = 1", "parts" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE JSON_CONTAINS(d, \"\\\"%s\\\"\")", "parts" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE FIND_IN_SET(a, '%s')", "parts" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a LIKE CONCAT('%s')", "one text" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a LIKE '' '%s'", "one text" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a LIKE BINARY '%s'", "LIKE" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a RLIKE LOWER(%s)", "one text" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE MATCH (a) AGAINST ('%s' IN BOOLEAN MODE)", "LIKE" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a /*! LIKE */ '%s'", "comment" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a /*M! LIKE */ '%s'", "comment" },
		{ SQL_MYSQL, "SELECT v FROM u --\t'%s'", "comment" },
		{ SQL_SQLITE, "SELECT v FROM u WHERE a GLOB lower('%s')", "one text" },
		{ SQL_SQLITE, "SELECT v FROM u WHERE like('%s', a)", "LIKE" },
		{ SQL_SQLITE, "SELECT v FROM u WHERE a MATCH '%s'", "LIKE" },
		{ SQL_SQLITE, "SELECT [it's] FROM u WHERE [%s] = 1", "quotes of a name" },
		{ SQL_PGSQL, "SELECT v FROM u /* /* */ WHERE a = '%s' */", "comment" },
		{ SQL_PGSQL, "SELECT $a1$ ' $a1$ FROM u WHERE a = '%s'", "$...$" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a = E'%s'", "E'...'" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a = U&'%s'", "right before" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a = _latin1'%s'", "right before" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a = N%s", "right after" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a = \"%s\"", "quotes of a name" },
		{ SQL_MYSQL, "SELECT `%s` FROM u", "quotes of a name" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a = '\\%s'", "backslash" },
		{ SQL_MYSQL, "SELECT v FROM u # '%s'", "comment" },
		{ SQL_SQLITE, "SELECT v FROM u -- '%s'", "comment" },
		{ SQL_SQLITE, "SELECT v /* '%s' */ FROM u", "comment" },
		{ SQL_PGSQL, "SELECT $a$%s$a$", "$...$" },
		{ SQL_SQLITE, "SELECT v FROM u WHERE a = '%s", "no end" },
		{ SQL_SQLITE, "SELECT v FROM u WHERE a = '%x'", "expected %s" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sql_query q;
		struct buf why = { 0 };

		if (sql_query_parse(&q, cases[i].dialect, cases[i].query, &why) || strstr(buf_str(&why), cases[i].why) == NULL)
			print_message("%s: %s\n", cases[i].query, buf_str(&why));
		assert_non_null(strstr(buf_str(&why), cases[i].why));
		sql_query_free(&q);
		buf_free(&why);
	}
}

static void a_constant_pattern_is_no_fault(void **state)
{
	static const struct { enum sql_dialect dialect; const char *query; } cases[] = {
		{ SQL_PGSQL, "SELECT v FROM u WHERE v NOT LIKE 'x%%' AND a = '%s'" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE (v LIKE ('x%%') ESCAPE '!' OR v ILIKE E'y\\\\_' COLLATE \"C\") AND a = '%s'" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE '%s' LIKE '%%@example.com' AND a = '%s'" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE v !~* '^x'::text AND a IN ('%s', '@%d')" },
		{ SQL_PGSQL, "SELECT regexp_replace(v, '/$', '') FROM u WHERE a = regexp_replace('%s', '[+][^@]*', '')" },
		{ SQL_PGSQL, "SELECT v FROM u WHERE a = substring('%s' from '^[^+@]*') AND d = ANY (ARRAY['%d'])" },
		{ SQL_PGSQL, "SELECT trim(both ' ' from '%s') FROM u WHERE a = '%s'" },
		{ SQL_PGSQL, "SELECT CASE WHEN v LIKE 'x' THEN 'y' ELSE v END, v LIKE 'x' FROM u WHERE a = '%s'" },
		{ SQL_PGSQL, "SELECT v /* like /* */ */ FROM u WHERE a = '%s'" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE v LIKE BINARY 'x' AND MATCH (a) AGAINST ('x') AND FIND_IN_SET('%s', a)" },
		{ SQL_MYSQL, "SELECT v FROM u WHERE a = '%s' AND (v LIKE 'x') = 1" },
		{ SQL_MYSQL, "SELECT v /* like */ FROM u WHERE glob = '%s'" },
		{ SQL_SQLITE, "SELECT [it's like] FROM u WHERE like('x%%', a) AND a = '%s'" },
		{ SQL_SQLITE, "SELECT v FROM u WHERE glob('x*', '%s') AND a = '<%s>'" },
		{ SQL_SQLITE, "SELECT v FROM likes WHERE unlike = '%s' AND a = ~1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sql_query q;
		struct buf why = { 0 };

		sql_query_parse(&q, cases[i].dialect, cases[i].query, &why);
		assert_string_equal(buf_str(&why), "");
		sql_query_free(&q);
		buf_free(&why);
	}
}

static void quotes_within_quotes_end_nothing(void **state)
{
	struct sql_query q;
	struct buf why = { 0 };

	(void)state;
	assert_true(sql_query_parse(&q, SQL_MYSQL, "SELECT 'it''s LIKE', 'a\\'b', \"c'd\" FROM u WHERE a = \"%s\"", &why));
	sql_query_free(&q);
	assert_true(sql_query_parse(&q, SQL_SQLITE, "SELECT 'back\\' FROM u WHERE a = '%s'", &why));
	sql_query_free(&q);
	buf_free(&why);
}

static void a_value_is_put_into_the_format(void **state)
{
	struct pattern format;
	struct buf out = { 0 }, why = { 0 };

	(void)state;
	assert_true(pattern_parse(&format, "%U!%u", &why));
	assert_true(sql_format_value(&format, "joe@x.y", 7, "box@host", 8, &out));
	assert_string_equal(buf_str(&out), "joe!box");
	pattern_free(&format);
	assert_true(pattern_parse(&format, "%d", &why));
	assert_false(sql_format_value(&format, "joe@x.y", 7, "box", 3, &out));
	pattern_free(&format);
	buf_free(&out);
	buf_free(&why);
}

static void a_file_of_older_days_describes_its_query(void **state)
{
	static const char text[] = "hosts = a b\nuser = u\npassword = p\ndbname = mail\ntable = users\nselect_field = box\n"
		"where_field = address\nadditional_conditions = and active = 1\n";
	struct sqlconf conf;
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(sqlconf_parse(&conf, "mysql", "no such file", text, sizeof text - 1, &why), 0);
	assert_string_equal(conf.query.pattern.pieces[0].literal, "SELECT box FROM users WHERE address = '");
	assert_string_equal(conf.access.hosts[1], "b");
	sqlconf_free(&conf);
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_put_in_escaped_and_in_quotes),
		cmocka_unit_test(a_key_that_is_a_string_of_its_own_can_be_bound),
		cmocka_unit_test(a_bound_key_has_the_sign_of_its_database),
		cmocka_unit_test(a_query_in_which_a_key_is_more_than_itself_is_refused),
		cmocka_unit_test(a_constant_pattern_is_no_fault),
		cmocka_unit_test(quotes_within_quotes_end_nothing),
		cmocka_unit_test(a_value_is_put_into_the_format),
		cmocka_unit_test(a_file_of_older_days_describes_its_query),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
