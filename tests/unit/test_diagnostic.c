#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "channel/spool/agent_protocol.h"
#include "channel/spool/control.h"
#include "channel/spool/diagnostic.h"
#include "channel/spool/tag.h"
#include "lib/alloc.h"
#include "tests/unit/nameless.h"
#include "tests/unit/spool_examples.h"

static const struct notary refused = {
	.recipient = "carol+x@example.net", .action = "failed", .status = "5.1.1", .code = 550, .words = "No such user",
	.remote = "X-IP-addr; [127.0.0.1] (127.0.0.1|2003|127.0.0.1|50138)", .agent = "smtp[21249]",
};

#define REFUSED "carol+x@example.net\001failed\0015.1.1\001smtp; 550 (No such user)\001" \
	"X-IP-addr; [127.0.0.1] (127.0.0.1|2003|127.0.0.1|50138)\001smtp[21249]"

static void six_fields_always(void **state)
{
	struct buf out = { 0 };

	(void)state;
	notary_add(&out, &refused);
	assert_string_equal(buf_str(&out), REFUSED);
	buf_free(&out);
}

static void remote_bytes_cannot_leave_their_field(void **state)
{
	struct notary hostile = {
		.recipient = "a\tb\001c", .action = "failed", .status = "4.0.0\n", .code = 450,
		.words = "x) \001failed\t(y\r\nz", .remote = " (UNIX:/a\001b)", .agent = "lmtp[1]",
	};
	struct buf out = { 0 };

	(void)state;
	notary_add(&out, &hostile);
	assert_string_equal(buf_str(&out),
		"a b c\001failed\0014.0.0 \001smtp; 450 (x]  failed [y z)\001 (UNIX:/a b)\001lmtp[1]");
	buf_free(&out);
}

static void trouble_of_our_own_has_no_reply_code(void **state)
{
	struct notary own = refused;
	struct buf out = { 0 };

	(void)state;
	own.code = 0;
	own.words = "connect to [127.0.0.1]:24: Connection refused\001(x)";
	notary_add(&out, &own);
	assert_non_null(strstr(buf_str(&out), "\0015.1.1\001x-local; connect to [127.0.0.1]:24: Connection refused (x)\001X-IP-addr"));
	buf_free(&out);
}

/* The scheduler leaves out a recipient whose field is empty. */
static void the_first_field_is_never_empty(void **state)
{
	struct notary n = refused;
	struct buf out = { 0 };

	(void)state;
	n.recipient = "";
	notary_add(&out, &n);
	assert_memory_equal(out.data, "\003\001failed", 8);
	buf_clear(&out);
	n.recipient = "\003";
	notary_add(&out, &n);
	assert_memory_equal(out.data, "\003\001failed", 8);
	buf_free(&out);
}

static void d_lines_go_to_the_end_and_tags_stay_in_place(void **state)
{
	int fd = file_of(EXAMPLE_B);
	char first[] = EXAMPLE_B;
	char *expect;

	(void)state;
	assert_int_equal(tag_lock(fd, 277, 21249), TAG_OK);
	assert_true(diagnostic_append(fd, 277, 495, 327, 1795254489, &refused,
		"\r<<- MAIL From:<ann@example.org>\r->> 550 5.1.1 No such user"));
	assert_int_equal(fcntl(fd, F_GETFL) & O_APPEND, 0);
	assert_int_equal(tag_unlock(fd, 277, 21249, '-'), TAG_OK);
	first[278] = '-';
	expect = xasprintf("%sd 277:495:327::1795254489\t" REFUSED
		"\t\r<<- MAIL From:<ann@example.org>\r->> 550 5.1.1 No such user\n", first);
	file_is(fd, expect);
	free(expect);
	close(fd);
}

static void a_d_line_reads_back_as_written(void **state)
{
	char name[] = "/tmp/zlmtp-diag.XXXXXX", *link = NULL;
	int fd = mkstemp(name);
	struct buf why = { 0 };
	struct control *c;

	(void)state;
	assert_int_equal(write(fd, EXAMPLE_C, strlen(EXAMPLE_C)), strlen(EXAMPLE_C));
	assert_true(diagnostic_append(fd, 75, 120, -1, 17, &refused, "one\ntwo\r\nthree\tfour"));
	close(fd);
	link = xasprintf("/tmp/%ld-diag", (long)getpid());
	assert_int_equal(rename(name, link), 0);
	assert_int_equal(control_open(link, &c, &why), CONTROL_OK);
	unlink(link);
	assert_int_equal(c->diagnostic_count, 1);
	assert_int_equal(c->diagnostics[0].offset, strlen(EXAMPLE_C));
	assert_int_equal(c->diagnostics[0].recipient, 75);
	assert_true(c->diagnostics[0].time == 17);
	assert_string_equal(c->diagnostics[0].notary, REFUSED);
	assert_string_equal(c->diagnostics[0].text, "one\rtwo\rthree four");
	control_close(&c);
	free(link);
}

static void a_line_cut_off_by_a_full_disk_is_not_continued(void **state)
{
	static const char before[] = EXAMPLE_C "d 75:120";
	int fd = file_of(before);

	(void)state;
	assert_true(diagnostic_append(fd, 75, 120, -1, 17, &refused, "x"));
	file_is(fd, EXAMPLE_C "d 75:120\nd 75:120:-1::17\t" REFUSED "\tx\n");
	close(fd);
}

static void failure_to_write_is_told(void **state)
{
	int fd = open("/dev/full", O_RDWR);

	(void)state;
	if (fd < 0)
		return;
	errno = 0;
	assert_false(diagnostic_append(fd, 75, 120, -1, 17, &refused, "x"));
	assert_int_equal(errno, ENOSPC);
	close(fd);
	assert_false(diagnostic_append(fd, 75, 120, -1, 17, &refused, "x"));
	assert_int_equal(errno, EBADF);
}

static void reports_of_all_kinds_read_back(void **state)
{
	static const struct { enum report_word word; enum agent_verdict verdict; bool logged, notary; } rows[] = {
		{ REPORT_OK, VERDICT_OK, false, true }, { REPORT_OK2, VERDICT_OK, true, false },
		{ REPORT_OK3, VERDICT_OK, true, false }, { REPORT_ERROR, VERDICT_ERROR, false, true },
		{ REPORT_ERROR2, VERDICT_ERROR, true, false }, { REPORT_DEFERRED, VERDICT_DEFERRED, false, true },
		{ REPORT_RETRYAT, VERDICT_RETRY_ALL, false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf out = { 0 };
		struct agent_answer a;

		report_add(&out, UINT64_MAX, 277, &refused, rows[i].word, "\r<<- x\n60 words\0");
		assert_int_equal(out.data[out.len - 1], '\n');
		out.data[out.len - 1] = '\0';
		assert_null(strchr(out.data, '\n'));
		a = agent_answer(out.data);
		assert_int_equal(a.kind, ANSWER_REPORT);
		assert_int_equal(a.verdict, rows[i].verdict);
		assert_int_equal(a.logged, rows[i].logged);
		assert_true(a.id == UINT64_MAX);
		assert_int_equal(a.offset, 277);
		assert_string_equal(a.notary, rows[i].notary ? REFUSED : "");
		assert_string_equal(a.text, "\r<<- x\r60 words");
		buf_free(&out);
	}
}

static void report_text_has_an_end(void **state)
{
	char text[20001];
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof text - 1; i++)
		text[i] = i % 100 == 99 ? '\r' : 'x';
	text[sizeof text - 1] = '\0';
	report_add(&out, 1, 2, &refused, REPORT_OK3, text);
	assert_in_range(out.len, 7900, 8030);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(six_fields_always),
		cmocka_unit_test(trouble_of_our_own_has_no_reply_code),
		cmocka_unit_test(remote_bytes_cannot_leave_their_field),
		cmocka_unit_test(the_first_field_is_never_empty),
		cmocka_unit_test(d_lines_go_to_the_end_and_tags_stay_in_place),
		cmocka_unit_test(a_d_line_reads_back_as_written),
		cmocka_unit_test(a_line_cut_off_by_a_full_disk_is_not_continued),
		cmocka_unit_test(failure_to_write_is_told),
		cmocka_unit_test(reports_of_all_kinds_read_back),
		cmocka_unit_test(report_text_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
