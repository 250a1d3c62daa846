#include "tests/unit/unit.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "channel/spool/control.h"
#include "channel/spool/fields.h"
#include "lib/alloc.h"
#include "lib/buf.h"
#include "tests/unit/spool_examples.h"

/* What a parsed file must have in front. */
#define HEAD "@ 0x00000007\ni 1\no 10\ns local - ann 1\n"
#define RCPT(user) "r           lmtp - " user " 1\n"
#define HEADER "m\nSubject: x\n\n"

static enum control_result parse_bytes(const char *name, const char *bytes, size_t n, struct control **c,
                                       struct buf *why)
{
	char *copy = xmalloc(n);

	/* exactly n bytes, so that the sanitizer sees each step beyond them */
	memcpy(copy, bytes, n);
	return control_parse(name, copy, n, c, why);
}

static struct control *parsed(const char *name, const char *text)
{
	struct buf why = { 0 };
	struct control *c;

	if (parse_bytes(name, text, strlen(text), &c, &why) != CONTROL_OK)
		fail_msg("%s", buf_str(&why));
	buf_free(&why);
	return c;
}

static void refused_bytes(const char *bytes, size_t n, const char *expect)
{
	struct buf why = { 0 };
	struct control *c;

	assert_int_equal(parse_bytes("7", bytes, n, &c, &why), CONTROL_DAMAGED);
	assert_null(c);
	assert_string_equal(buf_str(&why), expect);
	buf_free(&why);
}

static void refused(const char *text, const char *expect)
{
	refused_bytes(text, strlen(text), expect);
}

static void quad_is(const struct control_recipient *r, const char *channel, const char *host, const char *user,
                    const char *privilege)
{
	assert_string_equal(r->channel, channel);
	assert_string_equal(r->host, host);
	assert_string_equal(r->user, user);
	assert_string_equal(r->privilege, privilege);
}

static void one_recipient_with_its_offsets(void **state)
{
	struct control *c = parsed("V/R/260147", EXAMPLE_A);
	char *path = control_message_path(c);

	(void)state;
	assert_int_equal(c->length, 292);
	assert_true(c->id == 260147);
	assert_string_equal(c->message, "260147");
	assert_int_equal(c->body_offset, 288);
	assert_string_equal(c->log_ident, "<1@example.org>");
	assert_string_equal(path, "../queue/V/R/260147");
	assert_int_equal(c->recipient_count, 1);
	assert_int_equal(c->recipients[0].offset, 114);
	assert_int_equal(c->recipients[0].tag, TAG_FREE);
	assert_int_equal(c->recipients[0].dsn_offset, -1);
	assert_int_equal(c->recipients[0].notify, NOTIFY_FAILURE);
	assert_false(c->recipients[0].notify_given);
	quad_is(&c->recipients[0], "lmtp", "-", "bob", "65534");
	assert_string_equal(c->senders[c->recipients[0].sender].user, "ann@example.org");
	assert_int_equal(c->headers[0].offset, 145);
	assert_int_equal(c->headers[0].length, 291 - 145);
	assert_memory_equal(c->headers[0].text + c->headers[0].length - 6, "lunch\n", 6);
	free(path);
	control_close(&c);
	assert_null(c);
}

static void groups_have_their_own_sender_header_and_dsn_data(void **state)
{
	static const struct { off_t offset, dsn; size_t sender, header; unsigned notify; } rows[] = {
		{ 111, 145, 0, 0, NOTIFY_SUCCESS | NOTIFY_FAILURE }, { 277, 327, 0, 0, NOTIFY_FAILURE },
		{ 397, -1, 0, 0, NOTIFY_FAILURE }, { 447, -1, 0, 0, NOTIFY_FAILURE }, { 670, -1, 1, 1, NOTIFY_FAILURE },
	};
	struct control *c = parsed("Y/K/4711002", EXAMPLE_B);

	(void)state;
	assert_int_equal(c->length, 861);
	assert_int_equal(c->recipient_count, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(c->recipients[i].offset, rows[i].offset);
		assert_int_equal(c->recipients[i].dsn_offset, rows[i].dsn);
		assert_int_equal(c->recipients[i].sender, rows[i].sender);
		assert_int_equal(c->recipients[i].header, rows[i].header);
		assert_int_equal(c->recipients[i].notify, rows[i].notify);
		assert_int_equal(c->recipients[i].notify_given, rows[i].dsn > 0);
	}
	assert_string_equal(c->recipients[1].orcpt, "rfc822;carol+2Bx@example.net");
	quad_is(&c->recipients[2], "lmtp", "store2", "\"dan d\"@example.net", "65534");
	assert_null(c->recipients[2].orcpt);
	assert_int_equal(c->headers[0].offset, 495);
	assert_int_equal(c->headers[1].offset, 730);
	assert_string_equal(c->senders[1].user, "ann@hub.example.net");
	assert_string_equal(c->return_size, "HDRS");
	assert_string_equal(c->envid, "QQ314159");
	control_close(&c);
}

static void a_report_message_has_the_null_return_path(void **state)
{
	struct control *c = parsed("99", EXAMPLE_C);
	char *path = control_message_path(c);

	(void)state;
	assert_int_equal(c->length, 250);
	assert_int_equal(c->recipients[0].offset, 75);
	assert_string_equal(c->senders[0].channel, "error");
	assert_string_equal(c->senders[0].user, "<>");
	assert_int_equal(c->recipients[0].notify, NOTIFY_NEVER);
	assert_true(c->recipients[0].notify_given);
	assert_string_equal(path, "../queue/99");
	free(path);
	control_close(&c);
}

static void a_lock_names_its_holder(void **state)
{
	char text[] = EXAMPLE_C;
	struct control *c;

	(void)state;
	memcpy(text + 76, "~  4242", 7);
	c = parsed("99", text);
	assert_int_equal(c->recipients[0].tag, TAG_LOCKED);
	assert_int_equal(c->recipients[0].locker, 4242);
	control_close(&c);
}

/* The original gives an N of somebody it skipped to an earlier recipient. */
static void dsn_lines_belong_to_the_recipient_right_above(void **state)
{
	struct control *c = parsed("1", HEAD RCPT("a") RCPT("b") "N NOTIFY=NEVER\n"
		RCPT("c") "R FULL\nn E\nN NOTIFY=DELAY ORCPT=rfc822;c\n"
		RCPT("d") "X          1 lmtp - x 1\nN NOTIFY=SUCCESS\n"
		RCPT("e") "s local - ann 1\nN NOTIFY=SUCCESS\n"
		RCPT("f") HEADER "N NOTIFY=SUCCESS\n");

	(void)state;
	assert_int_equal(c->recipient_count, 6);
	assert_false(c->recipients[0].notify_given);
	assert_int_equal(c->recipients[1].notify, NOTIFY_NEVER);
	assert_int_equal(c->recipients[2].notify, NOTIFY_DELAY);
	assert_string_equal(c->recipients[2].orcpt, "rfc822;c");
	assert_false(c->recipients[3].notify_given);
	assert_false(c->recipients[4].notify_given);
	assert_false(c->recipients[5].notify_given);
	assert_int_equal(c->recipients[5].dsn_offset, -1);
	control_close(&c);
}

static void notify_stops_at_the_first_unknown_word(void **state)
{
	static const struct { const char *value; unsigned bits; bool given; } rows[] = {
		{ "notify=failure,Delay", NOTIFY_FAILURE | NOTIFY_DELAY, true },
		{ "NOTIFY=SUCCESS,PERHAPS,FAILURE", NOTIFY_SUCCESS, true },
		{ "NOTIFY=TRACE BY=-120;R EZMLM=tail", NOTIFY_TRACE, true },
		{ "NOTIFY=", 0, false },
		{ "NOTIFY=MAYBE", 0, false },
		{ "NOTIFY=SUCCESSFUL", 0, false },
		{ "ORCPT=rfc822;a XNOTIFY=NEVER", NOTIFY_FAILURE, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *text = xasprintf(HEAD RCPT("a") "N %s\n" HEADER, rows[i].value);
		struct control *c = parsed("1", text);

		assert_int_equal(c->recipients[0].notify, rows[i].bits);
		assert_int_equal(c->recipients[0].notify_given, rows[i].given);
		control_close(&c);
		free(text);
	}
}

static void quads_end_at_unquoted_blanks_only(void **state)
{
	static const struct { const char *text, *host, *user, *privilege; } rows[] = {
		{ "lmtp - bob 1", "-", "bob", "1" },
		{ "  lmtp \t - \t bob   -2", "-", "bob", "-2" },
		{ "lmtp \"a b\" \"c \\\" d\"@e 1", "\"a b\"", "\"c \\\" d\"@e", "1" },
		{ "lmtp - c\\ d@e 1", "-", "c\\ d@e", "1" },
		{ "lmtp - bob", "-", "bob", "" },
		{ "lmtp - bob 1 and more", "-", "bob", "1 and more" },
		{ "lmtp - bob\\", "-", "bob\\", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *copy = xstrdup(rows[i].text);
		struct quad quad;

		assert_true(quad_parse(copy, &quad));
		assert_string_equal(quad.channel, "lmtp");
		assert_string_equal(quad.host, rows[i].host);
		assert_string_equal(quad.user, rows[i].user);
		assert_string_equal(quad.privilege, rows[i].privilege);
		free(copy);
	}
}

static void quads_with_less_than_a_user_are_refused(void **state)
{
	static const char *const rows[] = {
		"", "   ", "lmtp", "lmtp -", "lmtp - ", "lmtp - \"bob 1", "\"lmtp - bob 1", "lmtp - \"\\",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *copy = xstrdup(rows[i]);
		struct quad quad;

		assert_false(quad_parse(copy, &quad));
		free(copy);
	}
}

static void columns_are_found_with_and_without_flags(void **state)
{
	static const struct { const char *text; pid_t locker; } rows[] = {
		{ "@ 0x7\ni 1\no 0\ns local - a 1\nr~  3045    lmtp - bob 1\n" HEADER, 3045 },
		{ "@ 7\ni 1\no 0\ns local - a 1\nr~  3045    lmtp - bob 1\n" HEADER, 3045 },
		{ "i 1\no 0\ns local - a 1\nr~  3045    lmtp - bob 1\n" HEADER, 3045 },
		{ "i 1\no 0\ns local - a 1\nr~  3045 lmtp - bob 1\n" HEADER, 3045 },
		{ "i 1\no 0\ns local - a 1\nr~23456   lmtp - bob 1\n" HEADER, 23456 },
		{ "i 1\no 0\ns local - a 1\nr~ lmtp - bob 1\n" HEADER, 0 },
		{ "i 1\no 0\ns local - a 1\nr~lmtp - bob 1\n" HEADER, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct control *c = parsed("1", rows[i].text);

		quad_is(&c->recipients[0], "lmtp", "-", "bob", "1");
		assert_int_equal(c->recipients[0].locker, rows[i].locker);
		control_close(&c);
	}
}

static void header_text_is_never_taken_for_a_field(void **state)
{
	struct control *c = parsed("1", HEAD RCPT("a") "m\nr           lmtp - evil 1\ni 2\ns x\n\n"
		RCPT("b") "M\nr nonsense\n\n" RCPT("c") "m\n\n");

	(void)state;
	assert_int_equal(c->recipient_count, 3);
	assert_string_equal(c->message, "1");
	assert_int_equal(c->header_count, 2);
	assert_int_equal(c->headers[1].length, 0);
	assert_int_equal(c->recipients[0].header, 0);
	assert_int_equal(c->recipients[1].header, 1);
	assert_int_equal(c->recipients[2].header, 1);
	control_close(&c);
}

static void other_letters_are_passed_over(void **state)
{
	struct control *c = parsed("1", HEAD "b 1\nx 12\ne <a@b>\nz\n\nv ../public/v_x\nX+         1 lmtp - x 1\n"
		RCPT("a") HEADER);

	(void)state;
	assert_int_equal(c->recipient_count, 1);
	assert_string_equal(c->verbose, "../public/v_x");
	control_close(&c);
}

static void diagnostics_are_read_and_bad_ones_passed_over(void **state)
{
	struct control *c = parsed("1", HEAD RCPT("a") HEADER
		"d 39:71:-1::1795254489\tbob\001failed\0015.1.1\tno\ruser\n"
		"d+39:71:-1::1\t\001\001\t\n"
		"d\nd 39\nd x:1:2::3\ta\tb\nd 39:71:-1::1\tonly one tab\nd 39:71:-1::9999999999999999999999\ta\tb\n"
		"d 39:71:-1::1795254489\tcut o");

	(void)state;
	assert_int_equal(c->diagnostic_count, 2);
	assert_int_equal(c->diagnostics[0].recipient, 39);
	assert_true(c->diagnostics[0].time == 1795254489);
	assert_string_equal(c->diagnostics[0].notary, "bob\001failed\0015.1.1");
	assert_string_equal(c->diagnostics[0].text, "no\ruser");
	assert_false(c->diagnostics[0].reported);
	assert_true(c->diagnostics[1].reported);
	assert_int_equal(c->bytes[c->diagnostics[1].offset], 'd');
	control_close(&c);
}

static void damage_is_named_with_its_line_and_column(void **state)
{
	(void)state;
	refused("", "7:1:1: expected an i line (message file)");
	refused("@ 0x0000000f\n", "7:1:3: expected format flags within 0x7");
	refused("@ -1\n", "7:1:3: expected format flags within 0x7");
	refused("@ 7x\n", "7:1:3: expected format flags within 0x7");
	refused("@ \n", "7:1:3: expected format flags within 0x7");
	refused("i ../1\n", "7:1:3: expected a message file name that begins with a digit");
	refused("i 1/../../etc/passwd\n", "7:1:3: expected a message file name that begins with a digit");
	refused("i 1\no -3\n", "7:2:3: expected the body's offset");
	refused("i 1\no 99999999999999999999\n", "7:2:3: expected the body's offset");
	refused("i 1\nm\n\n", "7:4:1: expected an o line (offset of the body)");
	refused(HEAD RCPT("a"), "7:6:1: expected a header block below the recipients");
	refused(HEAD RCPT("a") HEADER RCPT("b"), "7:10:1: expected a header block below the recipients");
	refused(HEAD RCPT("a") "m\nSubject: x\n", "7:6:1: expected a header block with an empty line at its end");
	refused(HEAD RCPT("a") "m", "7:6:2: expected a header block with its letter alone in the first line");
	refused(HEAD RCPT("a") "m\n", "7:6:1: expected a header block with an empty line at its end");
	refused(HEAD RCPT("a") "m x\n\n", "7:6:2: expected a header block with its letter alone in the first line");
	refused(HEAD "r           lmtp - bob 1", "7:5:25: expected an end of the line");
	refused(HEAD "r           lmtp -\n" HEADER, "7:5:13: expected a recipient of channel, host, user and privilege");
	refused(HEAD "r lmtp - bob 1\n" HEADER, "7:5:3: expected ten columns of process id and delay");
	refused(HEAD "r\n" HEADER, "7:5:2: expected a recipient's mark of blank, ~, + or -");
	refused(HEAD "r!          lmtp - bob 1\n" HEADER, "7:5:2: expected a recipient's mark of blank, ~, + or -");
	refused(HEAD RCPT("a") HEADER "s x\n", "7:9:3: expected a sender of channel, host, user and privilege");
}

static void nul_bytes_never_shorten_an_address(void **state)
{
	static const char address[] = HEAD "r           lmtp - bob\0@x 1\n" HEADER;
	static const char elsewhere[] = HEAD RCPT("a") "z\0z\nd\0\nm\nSubject: \0 x\n\n";
	struct buf why = { 0 };
	struct control *c;

	(void)state;
	refused_bytes(address, sizeof address - 1, "7:5:23: expected a line without NUL bytes");
	assert_int_equal(parse_bytes("7", elsewhere, sizeof elsewhere - 1, &c, &why), CONTROL_OK);
	assert_int_equal(c->headers[0].length, 13);
	control_close(&c);
	buf_free(&why);
}

static void every_truncation_is_noticed(void **state)
{
	static const char *const whole[] = { EXAMPLE_A, EXAMPLE_C };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		for (size_t n = 0; n < strlen(whole[i]); n++) {
			struct buf why = { 0 };
			struct control *c;
			enum control_result result = parse_bytes("1", whole[i], n, &c, &why);

			/* cut before the first recipient there is nothing that could be delivered wrongly */
			if (result == CONTROL_OK)
				assert_int_equal(c->recipient_count, 0);
			else
				assert_int_equal(result, CONTROL_DAMAGED);
			control_close(&c);
			buf_free(&why);
		}
	}
}

static void rubbish_is_survived(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		char text[] = EXAMPLE_B "d 39:71:-1::1\ta\tb\n";
		struct buf why = { 0 };
		struct control *c;

		for (int i = 0; i < 1 + round % 7; i++) {
			static const char bytes[] = "\n\n\0\"\\ \trmNdsio@~+-M:X\377";

			seed = seed * 1103515245u + 12345u;
			text[(seed >> 8) % (sizeof text - 1)] = bytes[(seed >> 24) % (sizeof bytes - 1)];
		}
		parse_bytes("1", text, sizeof text - 1, &c, &why);
		control_close(&c);
		buf_free(&why);
	}
}

static double seconds_for(const char *bytes, size_t n)
{
	struct timespec from, to;
	struct buf why = { 0 };
	struct control *c;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	parse_bytes("1", bytes, n, &c, &why);
	control_close(&c);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	buf_free(&why);
	return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

/* Each of these would take minutes if something were looked at again and again. */
static void large_files_take_linear_time(void **state)
{
	static const char *const pieces[] = {
		"\n", "m\n\n", "m\nx", "r           lmtp - \"", "r           lmtp - a 1\n", RCPT("a") HEADER,
		"N NOTIFY=SUCCESS,SUCCESS ORCPT=x\n", "d :::::\t\t\n", "d", "\0",
	};

	(void)state;
	for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
		size_t length = pieces[i][0] ? strlen(pieces[i]) : 1;
		struct buf text = { 0 };

		buf_adds(&text, HEAD);
		while (text.len < 8 * 1024 * 1024)
			buf_add(&text, pieces[i], length);
		assert_true(seconds_for(text.data, text.len) < 5);
		buf_free(&text);
	}
}

static void ten_thousand_recipients_are_nothing_special(void **state)
{
	struct buf text = { 0 };
	struct control *c;

	(void)state;
	buf_adds(&text, HEAD);
	for (int i = 0; i < 10000; i++)
		buf_addf(&text, "r           lmtp - u%d@example.org 1\nN ORCPT=rfc822;u%d\n", i, i);
	buf_adds(&text, HEADER);
	c = parsed("1", text.data);
	assert_int_equal(c->recipient_count, 10000);
	assert_string_equal(c->recipients[9999].user, "u9999@example.org");
	assert_string_equal(c->recipients[9999].orcpt, "rfc822;u9999");
	control_close(&c);
	buf_free(&text);
}

static void etrn_requests_are_no_mail(void **state)
{
	struct buf why = { 0 };
	struct control *c;

	(void)state;
	assert_int_equal(parse_bytes("5", "T @example.org\n", 15, &c, &why), CONTROL_NOT_MAIL);
	assert_null(c);
	buf_free(&why);
}

static void ids_are_64_bits_of_the_base_name(void **state)
{
	uint64_t id = 0;

	(void)state;
	assert_true(control_id("Y/K/4711002", &id) && id == 4711002);
	assert_true(control_id("18446744073709551615", &id) && id == UINT64_MAX);
	assert_true(control_id("4294967296-17", &id) && id == 4294967296u);
	assert_false(control_id("18446744073709551616", &id));
	assert_false(control_id("A/x", &id));
	assert_false(control_id("12/", &id));
	assert_false(control_id("", &id));
}

static void jobs_are_numbers_below_two_directories_of_one_letter_at_most(void **state)
{
	static const char *const jobs[] = { "1", "A/17", "Z/A/4711002", "4294967296-17" };
	static const char *const others[] = { "", "x", "A/", "a/1", "AB/1", "A/B/C/1", "../1", "/1", "A/../1", "1/2", "-1" };

	(void)state;
	for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++)
		assert_true(control_is_job(jobs[i]));
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		assert_false(control_is_job(others[i]));
}

static void every_file_of_a_real_router_is_read(void **state)
{
	char *pattern = xasprintf("%s/tests/corpus/*.ctl", getenv("SRC_DIR") ? getenv("SRC_DIR") : ".");
	glob_t files;

	(void)state;
	assert_int_equal(glob(pattern, 0, NULL, &files), 0);
	assert_true(files.gl_pathc >= 28);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		struct buf why = { 0 };
		struct control *c;

		if (control_open(files.gl_pathv[i], &c, &why) != CONTROL_OK)
			fail_msg("%s", buf_str(&why));
		assert_true(c->recipient_count > 0);
		assert_int_equal(c->diagnostic_count, 0);
		for (size_t j = 0; j < c->recipient_count; j++) {
			assert_true(c->recipients[j].sender != CONTROL_NONE);
			assert_true(c->recipients[j].dsn_offset == -1 || c->bytes[c->recipients[j].dsn_offset] == 'N');
		}
		assert_memory_equal(c->headers[0].text, "Received: ", 10);
		control_close(&c);
		buf_free(&why);
	}
	globfree(&files);
	free(pattern);
}

static void opening_tells_gone_from_unreadable(void **state)
{
	char directory[] = "/tmp/zlmtp-control.XXXXXX";
	struct buf why = { 0 };
	struct control *c;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(directory));
	assert_int_equal(chdir(directory), 0);
	assert_int_equal(control_open("1", &c, &why), CONTROL_GONE);
	assert_int_equal(mkdir("2", 0700), 0);
	assert_int_equal(control_open("2", &c, &why), CONTROL_UNREADABLE);
	assert_int_equal(symlink("3", "4"), 0);
	assert_int_equal(control_open("4", &c, &why), CONTROL_UNREADABLE);
	assert_int_equal(mkfifo("5", 0600), 0);
	assert_int_equal(control_open("5", &c, &why), CONTROL_UNREADABLE);
	fd = open("3", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, EXAMPLE_C, strlen(EXAMPLE_C)), strlen(EXAMPLE_C));
	assert_int_equal(control_open("4", &c, &why), CONTROL_UNREADABLE);
	assert_int_equal(control_open("3", &c, &why), CONTROL_OK);
	assert_int_equal(fcntl(c->fd, F_GETFL) & (O_ACCMODE | O_APPEND), O_RDWR);
	assert_int_equal(fcntl(c->fd, F_GETFD), FD_CLOEXEC);
	control_close(&c);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	assert_int_equal(control_open("3", &c, &why), CONTROL_UNREADABLE);
	close(fd);
	assert_int_equal(unlink("3") | unlink("4") | unlink("5") | rmdir("2") | rmdir(directory), 0);
	assert_int_equal(chdir("/"), 0);
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_recipient_with_its_offsets),
		cmocka_unit_test(groups_have_their_own_sender_header_and_dsn_data),
		cmocka_unit_test(a_report_message_has_the_null_return_path),
		cmocka_unit_test(a_lock_names_its_holder),
		cmocka_unit_test(dsn_lines_belong_to_the_recipient_right_above),
		cmocka_unit_test(notify_stops_at_the_first_unknown_word),
		cmocka_unit_test(quads_end_at_unquoted_blanks_only),
		cmocka_unit_test(quads_with_less_than_a_user_are_refused),
		cmocka_unit_test(columns_are_found_with_and_without_flags),
		cmocka_unit_test(header_text_is_never_taken_for_a_field),
		cmocka_unit_test(other_letters_are_passed_over),
		cmocka_unit_test(diagnostics_are_read_and_bad_ones_passed_over),
		cmocka_unit_test(damage_is_named_with_its_line_and_column),
		cmocka_unit_test(nul_bytes_never_shorten_an_address),
		cmocka_unit_test(every_truncation_is_noticed),
		cmocka_unit_test(rubbish_is_survived),
		cmocka_unit_test(large_files_take_linear_time),
		cmocka_unit_test(ten_thousand_recipients_are_nothing_special),
		cmocka_unit_test(etrn_requests_are_no_mail),
		cmocka_unit_test(ids_are_64_bits_of_the_base_name),
		cmocka_unit_test(jobs_are_numbers_below_two_directories_of_one_letter_at_most),
		cmocka_unit_test(every_file_of_a_real_router_is_read),
		cmocka_unit_test(opening_tells_gone_from_unreadable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
