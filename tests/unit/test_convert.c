#include "tests/unit/unit.h"

#include <unistd.h>

#include "channel/message/convert.h"
#include "channel/message/downgrade.h"
#include "channel/message/quoted.h"

/* A body as it lies in a message file. */
static void make_body(struct body *body, const char *text)
{
	FILE *f = tmpfile();
	struct stat st;
	struct buf why = { 0 };

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	fflush(f);
	fstat(fileno(f), &st);
	assert_int_equal(body_adopt(body, dup(fileno(f)), &st, &why), BODY_OK);
	fclose(f);
}

/* What goes over the wire, with LF for CR LF to be readable. */
static void converted(const char *fields, const char *text, unsigned conversions, const char *expect)
{
	struct body body, result;
	struct header header;
	struct buf why = { 0 }, wire = { 0 };
	struct source source = { 0 };

	make_body(&body, text);
	assert_true(convert_message(fields, strlen(fields), &body, conversions, "iso-8859-1", &header, &result, &why));
	source_init(&source, &header, &result, false);
	while (source_next(&source, &wire, &why) == SOURCE_MORE)
		;
	assert_int_equal(wire.len, source_size(&header, &result));
	for (char *from = wire.data, *to = wire.data;; from++) {
		if (*from != '\r')
			*to++ = *from;
		if (*from == '\0')
			break;
	}
	assert_string_equal(wire.data, expect);
	source_free(&source);
	header_free(&header);
	body_close(&result);
	body_close(&body);
	buf_free(&wire);
}

static void text_without_a_word_about_itself_becomes_quoted_printable(void **state)
{
	(void)state;
	converted("Subject: x\n", "gr\xc3\xbc\xc3\x9f" "e\n", CONVERT_TO_7BIT,
	          "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
	          "Content-Transfer-Encoding: quoted-printable\n\ngr=C3=BC=C3=9Fe\n");
	converted("Subject: x\n", "gr\xfc\xdf" "e\n", CONVERT_TO_7BIT,
	          "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\n"
	          "Content-Transfer-Encoding: quoted-printable\n\ngr=FC=DFe\n");
}

static void only_the_8_bit_parts_of_a_multipart_are_encoded(void **state)
{
	(void)state;
	converted("MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\nContent-Type: multipart/mixed;\n boundary=\"a b\"\n",
	          "pre\xe4mble\n--a b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n"
	          "\xe4=\n--a b\n\nplain \xc3\xa4? no: ascii\n--a b\nContent-Type: text/html\n\nascii=\n--a b--\nepilogue\n",
	          CONVERT_TO_7BIT,
	          "MIME-Version: 1.0\nContent-Type: multipart/mixed;\n boundary=\"a b\"\nContent-Transfer-Encoding: 7bit\n\n"
	          "pre?mble\n--a b\nContent-Type: text/plain; charset=iso-8859-1\n"
	          "Content-Transfer-Encoding: quoted-printable\n\n"
	          "=E4=3D\n--a b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
	          "plain =C3=A4? no: ascii\n--a b\nContent-Type: text/html\n\nascii=\n--a b--\nepilogue\n");
}

static void a_message_within_a_message_is_converted_inside(void **state)
{
	(void)state;
	converted("MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n",
	          "Subject: inner\n\n\xe4\n", CONVERT_TO_7BIT,
	          "MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\n"
	          "Subject: inner\nContent-Type: text/plain; charset=iso-8859-1\n"
	          "Content-Transfer-Encoding: quoted-printable\n\n=E4\n");
}

static void ascii_content_called_8bit_is_called_7bit(void **state)
{
	(void)state;
	converted("MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: 8BIT\n", "ascii\n", CONVERT_TO_7BIT,
	          "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: 7bit\n\nascii\n");
}

static void quoted_printable_text_is_decoded_when_it_is_asked_for(void **state)
{
	(void)state;
	converted("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n",
	          "gr=C3=BC=\n=C3=9Fe  \nnext\n", CONVERT_DECODE,
	          "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
	          "gr\xc3\xbc\xc3\x9f" "e\nnext\n");
	/* a NUL or a damaged escape cannot become text */
	converted("MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n", "a=00b\n", CONVERT_DECODE,
	          "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\na=00b\n");
	converted("MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n", "a=G0b\n", CONVERT_DECODE,
	          "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\na=G0b\n");
}

static void words_in_headers_become_encoded_words(void **state)
{
	static const struct { const char *from, *to; } rows[] = {
		{ "Subject: gr\xc3\xbc\xc3\x9f" "e an alle\n", "Subject: =?utf-8?Q?gr=C3=BC=C3=9Fe?= an alle\n" },
		{ "Subject: \xc3\xa4 \xc3\xb6 o\n", "Subject: =?utf-8?Q?=C3=A4_=C3=B6?= o\n" },
		{ "From: \"J\xc3\xbcrgen X\" <j@x>\n", "From: =?utf-8?Q?J=C3=BCrgen_X?= <j@x>\n" },
		{ "From: j@x (J\xfcrgen)\n", "From: j@x (=?iso-8859-1?Q?J=FCrgen?=)\n" },
		{ "Subject: plain\n\tfolded\n", "Subject: plain\n\tfolded\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf out = { 0 };

		downgrade_header(&out, rows[i].from, strlen(rows[i].from), "iso-8859-1");
		assert_string_equal(buf_str(&out), rows[i].to);
		buf_free(&out);
	}
}

/* It was taken for a blank where a long line is folded, and what followed stood in column one, as a field of its own. */
static void a_nul_in_a_long_field_begins_no_field(void **state)
{
	static const char tail[] = "\0\xfcX-Evil: yes\n";
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	buf_adds(&in, "From: ");
	for (int i = 0; i < 60; i++)
		buf_addc(&in, 'x');
	buf_add(&in, tail, sizeof tail - 1);
	downgrade_header(&out, in.data, in.len, "iso-8859-1");
	for (size_t i = 0; i + 1 < out.len; i++)
		assert_true(out.data[i] != '\n' || out.data[i + 1] == ' ');
	buf_free(&in);
	buf_free(&out);
}

static void no_encoded_word_and_no_line_is_too_long(void **state)
{
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	buf_adds(&in, "Subject: ");
	for (int i = 0; i < 300; i++)
		buf_adds(&in, "\xc3\xbc");
	buf_addc(&in, '\n');
	downgrade_header(&out, in.data, in.len, "iso-8859-1");
	quoted_encode_line(&out, in.data, in.len - 1, true);
	for (char *line = out.data, *lf; (lf = strchr(line, '\n')) != NULL; line = lf + 1)
		assert_true(lf - line <= (line == out.data ? 9 : 1) + 75);
	buf_free(&in);
	buf_free(&out);
}

static void signed_mail_is_never_changed(void **state)
{
	static const char is_signed[] = "Subject: x\nDKIM-Signature: v=1;\n\ta=rsa\n", forbids[] = "Content-Conversion: Prohibited\n";

	(void)state;
	assert_false(convert_allowed(is_signed, sizeof is_signed - 1));
	assert_false(convert_allowed(forbids, sizeof forbids - 1));
	assert_true(convert_allowed("Subject: x\n", 11));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_without_a_word_about_itself_becomes_quoted_printable),
		cmocka_unit_test(only_the_8_bit_parts_of_a_multipart_are_encoded),
		cmocka_unit_test(a_message_within_a_message_is_converted_inside),
		cmocka_unit_test(ascii_content_called_8bit_is_called_7bit),
		cmocka_unit_test(quoted_printable_text_is_decoded_when_it_is_asked_for),
		cmocka_unit_test(words_in_headers_become_encoded_words),
		cmocka_unit_test(a_nul_in_a_long_field_begins_no_field),
		cmocka_unit_test(no_encoded_word_and_no_line_is_too_long),
		cmocka_unit_test(signed_mail_is_never_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
