#include "tests/unit/unit.h"

#include <errno.h>

#include "channel/message/source.h"
#include "tests/unit/scratch.h"

#define FIELDS "From: ann@x\nSubject: y\n"

/* What comes out for header and message file; `pieces` counts the calls. */
static enum source_result send_all(const struct header *header, const struct body *body, bool stuffed, struct buf *out,
                                   unsigned *pieces, struct buf *why)
{
	struct source source = { 0 };
	enum source_result result;

	*pieces = 0;
	source_init(&source, header, body, stuffed);
	do {
		result = source_next(&source, out, why);
		++*pieces;
	} while (result == SOURCE_MORE);
	source_free(&source);
	return result;
}

static void goes_out_as(const char *fields, const char *file, off_t start, bool stuffed, const char *expect)
{
	struct buf out = { 0 }, why = { 0 };
	struct header header;
	struct body body;
	unsigned pieces;

	header_init(&header, fields, strlen(fields));
	assert_int_equal(body_open(&body, scratch_text("message", file), start, &why), BODY_OK);
	assert_int_equal(send_all(&header, &body, stuffed, &out, &pieces, &why), SOURCE_END);
	assert_string_equal(buf_str(&out), expect);
	if (!stuffed)
		assert_true(source_size(&header, &body) == out.len);
	header_free(&header);
	body_close(&body);
	buf_free(&out);
	buf_free(&why);
}

static void header_empty_line_and_body_come_in_wire_form(void **state)
{
	(void)state;
	goes_out_as(FIELDS, "envelope lines\nbody\n.dot\n", 15, true,
	            "From: ann@x\r\nSubject: y\r\n\r\nbody\r\n..dot\r\n.\r\n");
	goes_out_as(FIELDS, "envelope lines\nbody\n.dot\n", 15, false, "From: ann@x\r\nSubject: y\r\n\r\nbody\r\n.dot\r\n");
	goes_out_as(FIELDS, "", 0, true, "From: ann@x\r\nSubject: y\r\n\r\n.\r\n");
	goes_out_as(FIELDS, "no end", 0, true, "From: ann@x\r\nSubject: y\r\n\r\nno end\r\n.\r\n");
	goes_out_as("", ".", 0, true, "\r\n..\r\n.\r\n");
	goes_out_as(".Field: x", "b", 0, true, "..Field: x\r\n\r\nb\r\n.\r\n");
}

/* A CR of its own in a header must not make a field of what stands behind it. */
static void a_lone_cr_in_a_header_makes_no_field(void **state)
{
	(void)state;
	goes_out_as("Subject: a\rBcc: b\n", "", 0, false, "Subject: a Bcc: b\r\n\r\n");
	goes_out_as("Subject: a\r\rb\n", "", 0, false, "Subject: a  b\r\n\r\n");
	goes_out_as("Subject: a\r", "", 0, false, "Subject: a \r\n\r\n");
	goes_out_as("Subject: a\r\nFrom: b\r\n", "", 0, false, "Subject: a\r\nFrom: b\r\n\r\n");
}

static void eightbit_is_noticed_in_header_and_body(void **state)
{
	struct buf why = { 0 };
	struct header header;
	struct body body;

	(void)state;
	header_init(&header, "Subject: \xc3\xa9\n", 12);
	assert_true(header.eightbit);
	header_free(&header);
	header_init(&header, FIELDS, strlen(FIELDS));
	assert_false(header.eightbit);
	header_free(&header);
	assert_int_equal(body_open(&body, scratch_text("message", "\xc3\xa9 before\nafter\n"), 10, &why), BODY_OK);
	assert_false(body.eightbit);
	body_close(&body);
	assert_int_equal(body_open(&body, scratch_text("message", "before\n\xc3\xa9\n"), 7, &why), BODY_OK);
	assert_true(body.eightbit);
	body_close(&body);
	buf_free(&why);
}

/* A body of `n` bytes that holds every kind of line. */
static char *large_body(size_t n)
{
	static const char lines[] = "plain line\n.dotted\n\ncr\rlf\r\n..\n\xc3\xa9\n";
	char *bytes = xmalloc(n);

	for (size_t i = 0; i < n; i++)
		bytes[i] = lines[i % (sizeof lines - 1)];
	return bytes;
}

static void large_bodies_come_in_pieces_and_are_the_same(void **state)
{
	static const size_t sizes[] = { BODY_KEPT_MAX - 1, BODY_KEPT_MAX, BODY_KEPT_MAX + 1, 64 * 1024 * 3 + 17, 1000003 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (int stuffed = 0; stuffed < 2; stuffed++) {
			char *bytes = large_body(sizes[i]);
			struct buf out = { 0 }, whole = { 0 }, why = { 0 };
			struct header header;
			struct body body;
			struct wire wire = { 0 };
			struct buf wired = { 0 };
			bool line_start = true;
			unsigned pieces;

			header_init(&header, FIELDS, strlen(FIELDS));
			assert_int_equal(body_open(&body, scratch_write("message", bytes, sizes[i]), 0, &why), BODY_OK);
			assert_int_equal(body.fd >= 0, sizes[i] > BODY_KEPT_MAX);
			assert_int_equal(send_all(&header, &body, stuffed, &out, &pieces, &why), SOURCE_END);
			assert_int_equal(pieces > 1, sizes[i] > BODY_KEPT_MAX);
			buf_add(&wired, header.wire.data, header.wire.len);
			wire_add(&wire, &wired, bytes, sizes[i]);
			wire_end(&wire, &wired);
			assert_true(source_size(&header, &body) == wired.len);
			if (stuffed) {
				wire_stuff(&line_start, &whole, wired.data, wired.len);
				buf_adds(&whole, ".\r\n");
			} else {
				buf_add(&whole, wired.data, wired.len);
			}
			assert_int_equal(out.len, whole.len);
			assert_memory_equal(out.data, whole.data, whole.len);
			header_free(&header);
			body_close(&body);
			buf_free(&out);
			buf_free(&whole);
			buf_free(&wired);
			buf_free(&why);
			free(bytes);
		}
	}
}

/* The file changes between measuring and sending: no end of message, and not a byte more than announced. */
static void a_file_that_changes_is_never_finished(void **state)
{
	static const struct { const char *name; long cut; char fill; } rows[] = {
		{ "shorter", 100000, 0 }, { "empty", 0, 0 }, { "more line ends", -1, '\n' }, { "fewer line ends", -1, 'x' },
	};
	const size_t n = 200000;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (int stuffed = 0; stuffed < 2; stuffed++) {
			char *bytes = large_body(n);
			const char *path = scratch_write("message", bytes, n);
			struct buf out = { 0 }, why = { 0 };
			struct header header;
			struct body body;
			unsigned pieces;

			header_init(&header, FIELDS, strlen(FIELDS));
			assert_int_equal(body_open(&body, path, 0, &why), BODY_OK);
			if (rows[i].cut >= 0) {
				assert_int_equal(truncate(path, rows[i].cut), 0);
			} else {
				int fd = open(path, O_WRONLY);

				memset(bytes, rows[i].fill, n);
				assert_int_equal(write(fd, bytes, n), n);
				close(fd);
			}
			assert_int_equal(send_all(&header, &body, stuffed, &out, &pieces, &why), SOURCE_FAILED);
			assert_true(why.len > 0);
			assert_true(out.len < 5 || memcmp(out.data + out.len - 5, "\r\n.\r\n", 5) != 0);
			if (!stuffed)
				assert_true(out.len <= source_size(&header, &body));
			header_free(&header);
			body_close(&body);
			buf_free(&out);
			buf_free(&why);
			free(bytes);
		}
	}
}

static void a_small_body_is_safe_from_changes(void **state)
{
	const char *path = scratch_text("message", "small\n");
	struct buf out = { 0 }, why = { 0 };
	struct header header;
	struct body body;
	unsigned pieces;

	(void)state;
	header_init(&header, "", 0);
	assert_int_equal(body_open(&body, path, 0, &why), BODY_OK);
	unlink(path);
	assert_int_equal(send_all(&header, &body, true, &out, &pieces, &why), SOURCE_END);
	assert_string_equal(out.data, "\r\nsmall\r\n.\r\n");
	header_free(&header);
	body_close(&body);
	buf_free(&out);
	buf_free(&why);
}

static void what_is_no_message_file_is_refused_in_words(void **state)
{
	struct buf why = { 0 };
	struct body body;

	(void)state;
	assert_int_equal(body_open(&body, scratch("absent"), 0, &why), BODY_GONE);
	assert_non_null(strstr(buf_str(&why), "absent"));
	buf_clear(&why);
	assert_int_equal(truncate(scratch_text("sparse", "a line\n"), (off_t)1 << 42), 0);
	assert_int_equal(body_open(&body, scratch("sparse"), 0, &why), BODY_ENDLESS);
	buf_clear(&why);
	assert_int_equal(body_open(&body, scratch_directory, 0, &why), BODY_UNREADABLE);
	assert_non_null(strstr(buf_str(&why), "regular"));
	buf_clear(&why);
	assert_int_equal(body_open(&body, scratch_text("message", "12345"), 6, &why), BODY_UNREADABLE);
	assert_non_null(strstr(buf_str(&why), "its body begins, at byte 6"));
	buf_clear(&why);
	assert_int_equal(mkfifo(scratch("pipe"), 0600), 0);
	assert_int_equal(body_open(&body, scratch("pipe"), 0, &why), BODY_UNREADABLE);
	buf_clear(&why);
	assert_int_equal(symlink("loop", scratch("loop")), 0);
	assert_int_equal(body_open(&body, scratch("loop"), 0, &why), BODY_UNREADABLE);
	assert_non_null(strstr(buf_str(&why), "not a regular file"));
	if (geteuid() == 0) {
		buf_clear(&why);
		assert_int_equal(link(scratch_text("message", "12345"), scratch("second")), 0);
		assert_int_equal(body_open(&body, scratch("second"), 0, &why), BODY_UNREADABLE);
		assert_non_null(strstr(buf_str(&why), "has more than one name"));
		assert_int_equal(unlink(scratch("second")), 0);
	}
	/* at its very end there is an empty body */
	assert_int_equal(body_open(&body, scratch_text("message", "12345"), 5, &why), BODY_OK);
	body_close(&body);
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_empty_line_and_body_come_in_wire_form),
		cmocka_unit_test(a_lone_cr_in_a_header_makes_no_field),
		cmocka_unit_test(eightbit_is_noticed_in_header_and_body),
		cmocka_unit_test(large_bodies_come_in_pieces_and_are_the_same),
		cmocka_unit_test(a_file_that_changes_is_never_finished),
		cmocka_unit_test(a_small_body_is_safe_from_changes),
		cmocka_unit_test(what_is_no_message_file_is_refused_in_words),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
