#include "tests/unit/unit.h"

#include "channel/protocol/reply.h"
#include "lib/alloc.h"

struct row {
	const char *bytes;
	enum reply_result result;
	int code;
	const char *status, *lines;
	const char *rest;          /* what was not taken */
};

static const struct row rows[] = {
	{ "250 ok\r\n", REPLY_READY, 250, "", "ok\n", "" },
	{ "250\r\n", REPLY_READY, 250, "", "\n", "" },
	{ "250 \r\n", REPLY_READY, 250, "", "\n", "" },
	{ "354 go\n", REPLY_READY, 354, "", "go\n", "" },
	{ "250-one\r\n250-two\r\n250 three\r\n", REPLY_READY, 250, "", "one\ntwo\nthree\n", "" },
	{ "250-\r\n250 end\r\n", REPLY_READY, 250, "", "\nend\n", "" },
	{ "250 ok\r\n251 more\r\n", REPLY_READY, 250, "", "ok\n", "251 more\r\n" },
	{ "550 5.1.1 unknown\r\n", REPLY_READY, 550, "5.1.1", "unknown\n", "" },
	{ "550-5.1.1 one\r\n550 5.1.1 two\r\n", REPLY_READY, 550, "5.1.1", "one\ntwo\n", "" },
	{ "550 5.1.1\r\n", REPLY_READY, 550, "5.1.1", "\n", "" },
	{ "452 4.12.345  x\r\n", REPLY_READY, 452, "4.12.345", "x\n", "" },
	/* no enhanced code: another class, too many digits or parts, no blank behind it */
	{ "550 4.1.1 x\r\n", REPLY_READY, 550, "", "4.1.1 x\n", "" },
	{ "550 5.1.1111 x\r\n", REPLY_READY, 550, "", "5.1.1111 x\n", "" },
	{ "550 5.1 x\r\n", REPLY_READY, 550, "", "5.1 x\n", "" },
	{ "550 5.1.1.1 x\r\n", REPLY_READY, 550, "", "5.1.1.1 x\n", "" },
	{ "550 5.1.1x\r\n", REPLY_READY, 550, "", "5.1.1x\n", "" },
	{ "550 5..1 x\r\n", REPLY_READY, 550, "", "5..1 x\n", "" },
	{ "354 3.0.0 x\r\n", REPLY_READY, 354, "", "3.0.0 x\n", "" },
	{ "250 a\r\r\n", REPLY_READY, 250, "", "a\r\n", "" },
	{ "250-a\r\n251 b\r\n", REPLY_GARBAGE, 0, NULL, "251 b", "" },
	{ "250-a\r\nb\r\n250 c\r\n", REPLY_GARBAGE, 0, NULL, "b", "250 c\r\n" },
	{ "hello\r\n", REPLY_GARBAGE, 0, NULL, "hello", "" },
	{ "\r\n", REPLY_GARBAGE, 0, NULL, "", "" },
	{ "25\r\n", REPLY_GARBAGE, 0, NULL, "25", "" },
	{ "2500 x\r\n", REPLY_GARBAGE, 0, NULL, "2500 x", "" },
	{ "250x\r\n", REPLY_GARBAGE, 0, NULL, "250x", "" },
	{ "199 x\r\n", REPLY_GARBAGE, 0, NULL, "199 x", "" },
	{ "600 x\r\n", REPLY_GARBAGE, 0, NULL, "600 x", "" },
	{ " 250 x\r\n", REPLY_GARBAGE, 0, NULL, " 250 x", "" },
	{ "250-a\r\n", REPLY_MORE, 0, NULL, NULL, "" },
	{ "250 a", REPLY_MORE, 0, NULL, NULL, "" },
};

static void check(const struct row *row, struct reply_parser *p, enum reply_result result, size_t used)
{
	size_t n = strlen(row->bytes);

	assert_int_equal(result, row->result);
	assert_int_equal(used, n - strlen(row->rest));
	if (result == REPLY_READY) {
		assert_int_equal(p->reply.code, row->code);
		assert_string_equal(p->reply.status, row->status);
	}
	if (row->lines != NULL)
		assert_string_equal(buf_str(&p->reply.lines), row->lines);
}

static void replies_are_read_as_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct reply_parser p = { 0 };
		size_t used;
		enum reply_result result = reply_parse(&p, rows[i].bytes, strlen(rows[i].bytes), &used);

		check(&rows[i], &p, result, used);
		reply_parser_free(&p);
	}
}

static void any_split_gives_the_same_reply(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t n = strlen(rows[i].bytes);

		for (size_t piece = 1; piece <= n; piece++) {
			struct reply_parser p = { 0 };
			enum reply_result result = REPLY_MORE;
			size_t at = 0;

			while (result == REPLY_MORE && at < n) {
				size_t used;

				result = reply_parse(&p, rows[i].bytes + at, n - at < piece ? n - at : piece, &used);
				at += used;
			}
			check(&rows[i], &p, result, at);
			reply_parser_free(&p);
		}
	}
}

static void one_reply_follows_another(void **state)
{
	static const char bytes[] = "250-2.0.0 a\r\n250 b\r\n550 c\r\n";
	struct reply_parser p = { 0 };
	size_t used, at;

	(void)state;
	assert_int_equal(reply_parse(&p, bytes, strlen(bytes), &at), REPLY_READY);
	assert_string_equal(p.reply.status, "2.0.0");
	assert_int_equal(reply_parse(&p, bytes + at, strlen(bytes) - at, &used), REPLY_READY);
	assert_int_equal(p.reply.code, 550);
	assert_string_equal(p.reply.status, "");
	assert_string_equal(buf_str(&p.reply.lines), "c\n");
	/* after garbage, too, the next begins anew */
	assert_int_equal(reply_parse(&p, "rubbish\n", 8, &used), REPLY_GARBAGE);
	assert_int_equal(reply_parse(&p, "250 ok\n", 7, &used), REPLY_READY);
	assert_string_equal(buf_str(&p.reply.lines), "ok\n");
	reply_parser_free(&p);
}

static void a_nul_hides_nothing(void **state)
{
	static const char bytes[] = "550 5.1.1 a\0b\r\n\0" "250 c\r\n";
	struct reply_parser p = { 0 };
	size_t used;

	(void)state;
	assert_int_equal(reply_parse(&p, bytes, 15, &used), REPLY_READY);
	assert_string_equal(buf_str(&p.reply.lines), "a b\n");
	assert_int_equal(reply_parse(&p, bytes + 15, 8, &used), REPLY_GARBAGE);
	reply_parser_free(&p);
}

/* The code must be followed by a blank, "-" or the end: nobody knows what else was meant. */
static void a_nul_within_or_behind_the_code_is_garbage(void **state)
{
	static const char bytes[][12] = { "250\0 ok\r\n", "250\0\r\n", "25\0000 ok\r\n", "250\0-ok\r\n", "250\0ok\r\n" };
	static const size_t lengths[] = { 9, 6, 9, 9, 8 };

	(void)state;
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct reply_parser p = { 0 };
		size_t used;

		assert_int_equal(reply_parse(&p, bytes[i], lengths[i], &used), REPLY_GARBAGE);
		assert_int_equal(used, lengths[i]);
		/* and what is told of it has none */
		assert_int_equal(strlen(buf_str(&p.reply.lines)), p.reply.lines.len);
		reply_parser_free(&p);
	}
}

/* The text that is kept has an end; the reply itself is read to its own. */
static void long_replies_are_read_whole_and_kept_in_part(void **state)
{
	static const size_t sizes[] = { REPLY_TEXT_MAX - 1, REPLY_TEXT_MAX, REPLY_TEXT_MAX + 1, 100 * 1024 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct reply_parser p = { 0 };
		struct buf bytes = { 0 };
		size_t used, kept = sizes[i] < REPLY_TEXT_MAX ? sizes[i] : REPLY_TEXT_MAX;

		buf_adds(&bytes, "250 ");
		for (size_t n = 0; n < sizes[i]; n++)
			buf_addc(&bytes, 'x');
		buf_adds(&bytes, "\r\n250 y\r\n");
		assert_int_equal(reply_parse(&p, bytes.data, bytes.len, &used), REPLY_READY);
		assert_int_equal(used, sizes[i] + 6);
		assert_int_equal(p.reply.lines.len, kept + 1);
		assert_int_equal(p.reply.lines.data[kept], '\n');
		reply_parser_free(&p);
		buf_free(&bytes);
	}
}

static void many_lines_are_kept_in_part_and_each_whole(void **state)
{
	struct reply_parser p = { 0 };
	size_t used, n = 0;

	(void)state;
	while (n++ < 20000)
		assert_int_equal(reply_parse(&p, "250-line\r\n", 10, &used), REPLY_MORE);
	assert_int_equal(reply_parse(&p, "250 2.0.0 end\r\n", 15, &used), REPLY_READY);
	assert_true(p.reply.lines.len <= REPLY_TEXT_MAX + 1);
	assert_int_equal(p.reply.lines.len % 5, 0);
	assert_int_equal(p.reply.lines.data[p.reply.lines.len - 1], '\n');
	assert_string_equal(p.reply.status, "2.0.0");
	reply_parser_free(&p);
}

/* A line that has no room is left out, and nothing shorter takes its place. */
static void what_is_kept_has_no_gaps(void **state)
{
	struct reply_parser p = { 0 };
	struct buf bytes = { 0 };
	size_t used;

	(void)state;
	buf_adds(&bytes, "250-");
	for (int i = 0; i < REPLY_TEXT_MAX - 4; i++)
		buf_addc(&bytes, 'x');
	buf_adds(&bytes, "\r\n250-long\r\n250-s\r\n250 \r\n");
	assert_int_equal(reply_parse(&p, bytes.data, bytes.len, &used), REPLY_READY);
	assert_int_equal(p.reply.lines.len, REPLY_TEXT_MAX - 3);
	reply_parser_free(&p);
	buf_free(&bytes);
}

/* The same number of bytes whatever the pieces. */
static void nobody_waits_for_the_end_of_an_endless_reply(void **state)
{
	static const size_t pieces[] = { 1, 7, 4096 };
	char bytes[4096];

	(void)state;
	memset(bytes, 'x', sizeof bytes);
	for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
		struct reply_parser p = { 0 };
		size_t used, sum = 4;

		assert_int_equal(reply_parse(&p, "250-", 4, &used), REPLY_MORE);
		while (reply_parse(&p, bytes, pieces[i], &used) == REPLY_MORE)
			sum += used;
		assert_true(sum <= REPLY_BYTES_MAX && sum + pieces[i] > REPLY_BYTES_MAX);
		assert_int_equal(p.reply.lines.data[0], '2');
		reply_parser_free(&p);
	}
}

static void words_are_one_clean_line(void **state)
{
	static const struct { const char *bytes; size_t cap; const char *words; } words[] = {
		{ "250 ok\r\n", 100, "ok" },
		{ "550-5.1.1 one\r\n550 5.1.1 two\r\n", 100, "one two" },
		{ "550 a\x07\x1b[31m\tb\r\n", 100, "a [31m b" },
		{ "550 \xff\xc3\xa9\r\n", 100, "?\xc3\xa9" },
		{ "550 abcdefghij\r\n", 8, "abcde..." },
		{ "250\r\n", 100, "" },
		{ "250-\r\n250-\r\n250 \r\n", 100, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		struct reply_parser p = { 0 };
		struct buf out = { 0 };
		size_t used;

		assert_int_equal(reply_parse(&p, words[i].bytes, strlen(words[i].bytes), &used), REPLY_READY);
		reply_words(&p.reply, &out, words[i].cap);
		assert_string_equal(buf_str(&out), words[i].words);
		buf_free(&out);
		reply_parser_free(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_are_read_as_whole),
		cmocka_unit_test(any_split_gives_the_same_reply),
		cmocka_unit_test(one_reply_follows_another),
		cmocka_unit_test(a_nul_hides_nothing),
		cmocka_unit_test(a_nul_within_or_behind_the_code_is_garbage),
		cmocka_unit_test(long_replies_are_read_whole_and_kept_in_part),
		cmocka_unit_test(many_lines_are_kept_in_part_and_each_whole),
		cmocka_unit_test(what_is_kept_has_no_gaps),
		cmocka_unit_test(nobody_waits_for_the_end_of_an_endless_reply),
		cmocka_unit_test(words_are_one_clean_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
