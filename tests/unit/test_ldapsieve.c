#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "db/ldap/sieve.h"
#include "lib/buf.h"

/* Of a message here; a large attribute has more than the sieve keeps. */
#define LARGEST 300
#define LARGE 9000

static void add(struct buf *out, unsigned char tag, const struct buf *content)
{
	buf_addc(out, (char)tag);
	buf_addc(out, (char)0x84);
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_addc(out, (char)(content->len >> shift & 0xff));
	buf_add(out, buf_str(content), content->len);
}

static void add_text(struct buf *out, unsigned char tag, const char *text)
{
	struct buf content = { 0 };

	buf_adds(&content, text);
	add(out, tag, &content);
	buf_free(&content);
}

static void add_attribute(struct buf *out, const char *name, size_t length)
{
	struct buf values = { 0 }, attribute = { 0 };
	char *value = calloc(1, length + 1);

	memset(value, 'v', length);
	add_text(&attribute, 0x04, name);
	add_text(&values, 0x04, value);
	add(&attribute, 0x31, &values);
	add(out, 0x30, &attribute);
	free(value);
	buf_free(&values);
	buf_free(&attribute);
}

/* A message: an entry with what stands in `attributes`, and a control. */
static void add_entry(struct buf *out, const struct buf *attributes)
{
	struct buf entry = { 0 }, message = { 0 };

	add_text(&message, 0x02, "\x05");
	add_text(&entry, 0x04, "cn=large,o=x");
	add(&entry, 0x30, attributes);
	add(&message, 0x64, &entry);
	add_text(&message, 0xa0, "controls");
	add(out, 0x30, &message);
	buf_free(&entry);
	buf_free(&message);
}

static void add_result(struct buf *out)
{
	buf_add(out, "\x30\x0c\x02\x01\x07\x65\x07\x0a\x01\x00\x04\x00\x04\x00", 14);
}

struct connection {
	Sockbuf *socket;
	int theirs;
};

static void connect_them(struct connection *c)
{
	ber_len_t largest = LARGEST;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	c->theirs = pair[1];
	c->socket = ber_sockbuf_alloc();
	assert_int_equal(ber_sockbuf_add_io(c->socket, &ber_sockbuf_io_tcp, LBER_SBIOD_LEVEL_PROVIDER, &pair[0]), 0);
	assert_int_equal(ber_sockbuf_ctrl(c->socket, LBER_SB_OPT_SET_MAX_INCOMING, &largest), 1);
	assert_true(sieve_begin(c->socket, LARGEST));
}

static void part(struct connection *c)
{
	ber_sockbuf_free(c->socket);
	close(c->theirs);
}

/* Sends so many bytes at a time; adds what libber makes of each message, or "lost". */
static void send_in_pieces(const struct buf *bytes, size_t piece, struct buf *got)
{
	struct connection c;
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	bool is_lost = false;

	connect_them(&c);
	for (size_t at = 0; at < bytes->len && !is_lost; at += piece) {
		const size_t n = bytes->len - at < piece ? bytes->len - at : piece;

		assert_int_equal(write(c.theirs, bytes->data + at, n), n);
		for (;;) {
			struct berval part;
			ber_len_t length;

			errno = 0;
			if (ber_get_next(c.socket, &length, ber) == LBER_DEFAULT) {
				is_lost = errno != EAGAIN;
				break;
			}
			buf_adds(got, "message:");
			while (ber_skip_raw(ber, &part) != LBER_ERROR)
				buf_add(got, part.bv_val, part.bv_len);
			ber_free(ber, 1);
			ber = ber_alloc_t(LBER_USE_DER);
		}
	}
	if (is_lost)
		buf_adds(got, "lost");
	ber_free(ber, 1);
	part(&c);
}

/* What the sieve leaves of such an entry, as send_in_pieces() has it; with a result behind it. */
static void expect_entry(struct buf *expected, const struct buf *attributes)
{
	struct buf entry = { 0 };

	add_entry(&entry, attributes);
	buf_adds(expected, "message:");
	buf_add(expected, entry.data + 6, entry.len - 6);
	buf_free(&entry);
}

static void check(const struct buf *bytes, size_t piece, const struct buf *expected)
{
	struct buf got = { 0 };

	send_in_pieces(bytes, piece, &got);
	assert_int_equal(got.len, expected->len);
	assert_memory_equal(got.data, expected->data, got.len);
	buf_free(&got);
}

static void a_large_entry_comes_without_its_large_attributes(void **state)
{
	struct buf attributes = { 0 }, rest = { 0 }, bytes = { 0 }, expected = { 0 };
	static const size_t pieces[] = { 1, 2, 7, 4096, 20000, 100000 };

	(void)state;
	add_attribute(&attributes, "entryUUID", 36);
	add_attribute(&attributes, "mail", LARGE);
	add_attribute(&attributes, "maildrop", LARGE);
	add_attribute(&attributes, "cn", 3);
	add_attribute(&rest, "entryUUID", 36);
	add_attribute(&rest, "cn", 3);
	buf_add(&rest, "\x30\x14\x04\x0e" SIEVE_MARK "\x31\x02\x04\x00", 22);
	add_result(&bytes);
	add_entry(&bytes, &attributes);
	add_result(&bytes);
	buf_add(&expected, "message:\x02\x01\x07\x65\x07\x0a\x01\x00\x04\x00\x04\x00", 20);
	expect_entry(&expected, &rest);
	buf_add(&expected, "message:\x02\x01\x07\x65\x07\x0a\x01\x00\x04\x00\x04\x00", 20);
	for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
		check(&bytes, pieces[i], &expected);
	buf_free(&attributes);
	buf_free(&rest);
	buf_free(&bytes);
	buf_free(&expected);
}

static void an_entry_that_fits_is_left_alone(void **state)
{
	struct buf attributes = { 0 }, bytes = { 0 }, expected = { 0 };

	(void)state;
	add_attribute(&attributes, "mail", 100);
	add_entry(&bytes, &attributes);
	expect_entry(&expected, &attributes);
	for (size_t piece = 1; piece < 12; piece++)
		check(&bytes, piece, &expected);
	buf_free(&attributes);
	buf_free(&bytes);
	buf_free(&expected);
}

static void another_large_message_is_refused_by_the_library(void **state)
{
	struct buf text = { 0 }, bytes = { 0 }, expected = { 0 };

	(void)state;
	for (size_t i = 0; i < LARGE; i++)
		buf_addc(&text, 'x');
	add(&bytes, 0x30, &text);
	buf_adds(&expected, "lost");
	check(&bytes, 100, &expected);
	buf_free(&text);
	buf_free(&bytes);
	buf_free(&expected);
}

/* Whatever is wrong with it: it comes to an end, and nothing is read that is not there. */
static void a_damaged_entry_harms_nobody(void **state)
{
	struct buf attributes = { 0 }, bytes = { 0 };

	(void)state;
	add_attribute(&attributes, "entryUUID", 36);
	add_attribute(&attributes, "mail", LARGE);
	add_entry(&bytes, &attributes);
	for (size_t at = 0; at < 120; at++) {
		for (unsigned value = 0; value < 256; value += 15) {
			struct buf damaged = { 0 }, got = { 0 };

			buf_add(&damaged, bytes.data, bytes.len);
			damaged.data[at] = (char)value;
			send_in_pieces(&damaged, 1000, &got);
			buf_free(&damaged);
			buf_free(&got);
		}
	}
	buf_free(&attributes);
	buf_free(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_large_entry_comes_without_its_large_attributes),
		cmocka_unit_test(an_entry_that_fits_is_left_alone),
		cmocka_unit_test(another_large_message_is_refused_by_the_library),
		cmocka_unit_test(a_damaged_entry_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
