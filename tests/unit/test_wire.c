#include "tests/unit/unit.h"

#include "tests/unit/wire_peers.h"

static void same(const struct buf *got, const struct buf *expected, const char *body, size_t n, const char *way)
{
	if (got->len == expected->len && memcmp(buf_str(got), buf_str(expected), got->len) == 0)
		return;
	print_message("body:");
	for (size_t i = 0; i < n; i++)
		print_message(" %02x", (unsigned char)body[i]);
	fail_msg(" seen as something else, %s", way);
}

/* Each peer sees one message, the one that was meant, and nothing behind it. */
static void check_data(const char *body, size_t n, size_t piece, const struct buf *meant)
{
	static struct buf out, seen;

	buf_clear(&out);
	wire_send(body, n, piece, true, &out);
	for (enum wire_peer peer = PEER_STRICT; peer < PEERS; peer++) {
		buf_clear(&seen);
		assert_int_equal(wire_receive(peer, out.data, out.len, &seen), out.len);
		same(&seen, meant, body, n, "by DATA");
	}
}

/* The chunk has no line end but CR LF, and without its CRs is what was meant. */
static void check_bdat(const char *body, size_t n, size_t piece, const struct buf *meant)
{
	static struct buf out, plain;

	buf_clear(&out);
	buf_clear(&plain);
	wire_send(body, n, piece, false, &out);
	for (size_t i = 0; i < out.len; i++) {
		if (out.data[i] == '\n')
			assert_true(i > 0 && out.data[i - 1] == '\r');
		if (out.data[i] == '\r')
			assert_true(i + 1 < out.len && out.data[i + 1] == '\n');
		else
			buf_addc(&plain, out.data[i]);
		assert_true(out.data[i] != '\0');
	}
	same(&plain, meant, body, n, "by BDAT");
}

static void check(const char *body, size_t n)
{
	static struct buf meant;

	buf_clear(&meant);
	wire_meant(body, n, &meant);
	check_data(body, n, 0, &meant);
	check_bdat(body, n, 0, &meant);
	/* every way to cut it up into equal pieces; all of them for short bodies, one for each long one */
	for (size_t piece = n <= 5 ? 1 : (size_t)(unsigned char)body[n - 1] % n + 1; piece < n; piece += n <= 5 ? 1 : n) {
		check_data(body, n, piece, &meant);
		check_bdat(body, n, piece, &meant);
	}
}

static void every_short_body_is_one_message_to_every_peer(void **state)
{
	static const char alphabet[] = { '\r', '\n', '.', 'a', '\0' };
	char body[8];

	(void)state;
	for (size_t n = 0; n <= sizeof body; n++) {
		unsigned long count = 1;

		for (size_t i = 0; i < n; i++)
			count *= sizeof alphabet;
		for (unsigned long number = 0; number < count; number++) {
			unsigned long rest = number;

			for (size_t i = 0; i < n; i++, rest /= sizeof alphabet)
				body[i] = alphabet[rest % sizeof alphabet];
			check(body, n);
		}
	}
}

static void long_random_bodies_are_one_message_to_every_peer(void **state)
{
	static const char alphabet[] = "\r\n..aab\r\n\n";
	static char body[20000];
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 60; round++) {
		size_t n = 1000 + (size_t)round * 300;

		for (size_t i = 0; i < n; i++) {
			seed = seed * 1103515245u + 12345u;
			body[i] = seed % 97 == 0 ? '\0' : alphabet[(seed >> 16) % (sizeof alphabet - 1)];
		}
		check(body, n);
	}
}

static void plain_text_is_changed_in_its_line_ends_only(void **state)
{
	static const struct { const char *body, *data, *bdat; } rows[] = {
		{ "", ".\r\n", "" },
		{ "a", "a\r\n.\r\n", "a\r\n" },
		{ "a\n", "a\r\n.\r\n", "a\r\n" },
		{ "a\nb\n", "a\r\nb\r\n.\r\n", "a\r\nb\r\n" },
		{ ".a\n..\n.\n", "..a\r\n...\r\n..\r\n.\r\n", ".a\r\n..\r\n.\r\n" },
		{ "a\r\nb\rc", "a\r\nb\r\nc\r\n.\r\n", "a\r\nb\r\nc\r\n" },
		{ "\n", "\r\n.\r\n", "\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf out = { 0 };

		wire_send(rows[i].body, strlen(rows[i].body), 0, true, &out);
		assert_string_equal(out.data, rows[i].data);
		buf_clear(&out);
		wire_send(rows[i].body, strlen(rows[i].body), 0, false, &out);
		assert_string_equal(buf_str(&out), rows[i].bdat);
		buf_free(&out);
	}
}

static void eightbit_bytes_are_noticed(void **state)
{
	static const struct { const char *body; bool eightbit; } rows[] = {
		{ "abc\n", false }, { "\x7f\n", false }, { "ab\x80\n", true }, { "\xff", true }, { "a\r\xc3\xa9", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct wire wire = { 0 };
		struct buf out = { 0 };

		for (const char *p = rows[i].body; *p != '\0'; p++)
			wire_add(&wire, &out, p, 1);
		wire_add(&wire, &out, "x", 1);
		assert_int_equal(wire.eightbit, rows[i].eightbit);
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_is_changed_in_its_line_ends_only),
		cmocka_unit_test(eightbit_bytes_are_noticed),
		cmocka_unit_test(every_short_body_is_one_message_to_every_peer),
		cmocka_unit_test(long_random_bodies_are_one_message_to_every_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
