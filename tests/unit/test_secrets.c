#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/net/secrets.h"
#include "lib/buf.h"

static const char *const by_address[] = { "127.0.0.1", NULL };

struct search {
	const char *text;
	const char *channel;
	const char *const *names;
	enum secrets_answer answer;
	const char *user, *password;
	const char *why;
};

static void search(const struct search *s)
{
	struct secret secret = { 0 };
	struct buf why = { 0 };
	enum secrets_answer answer =
		secrets_search(s->text, strlen(s->text), "FILE", s->channel, s->names, &secret, &why);

	assert_int_equal(answer, s->answer);
	if (s->answer == SECRETS_FOUND) {
		assert_string_equal(buf_str(&secret.user), s->user);
		assert_string_equal(buf_str(&secret.password), s->password);
	}
	assert_string_equal(buf_str(&why), s->why ? s->why : "");
	secret_wipe(&secret);
	buf_free(&why);
}

#define FOUND(text, channel, names) \
	search(&(struct search){ text, channel, names, SECRETS_FOUND, "dXNlcg==", "c2VjcmV0", NULL })
#define NONE(text, channel, names) search(&(struct search){ text, channel, names, SECRETS_NONE, NULL, NULL, NULL })
#define UNCLEAR(text, why) search(&(struct search){ text, "lmtp", by_address, SECRETS_UNCLEAR, NULL, NULL, why })

static void first_matching_line_wins(void **state)
{
	(void)state;
	FOUND("lmtp 127.0.0.1 dXNlcg== c2VjcmV0\n"
	      "lmtp 127.0.0.1 b3RoZXI= b3RoZXI=\n", "lmtp", by_address);
	FOUND("smtp 127.0.0.1 b3RoZXI= b3RoZXI=\n"
	      "lmtp 127.0.0.2 b3RoZXI= b3RoZXI=\n"
	      "* 127.0.0.1 dXNlcg== c2VjcmV0", "lmtp", by_address);
}

static void channel_is_a_star_or_equal_in_its_case(void **state)
{
	(void)state;
	FOUND("* 127.0.0.1 dXNlcg== c2VjcmV0\n", "anything", by_address);
	NONE("LMTP 127.0.0.1 dXNlcg== c2VjcmV0\n", "lmtp", by_address);
	NONE("lmtp2 127.0.0.1 dXNlcg== c2VjcmV0\n", "lmtp", by_address);
	NONE("lmt 127.0.0.1 dXNlcg== c2VjcmV0\n", "lmtp", by_address);
}

static void host_is_any_name_of_the_target_in_any_case(void **state)
{
	static const char *const names[] = { "lmtp.example.net", "Node7.example.net", NULL };
	static const char *const socket[] = { "UNIX:/run/cyrus/lmtp", NULL };
	static const char *const v6[] = { "2001:db8::1", NULL };

	(void)state;
	FOUND("lmtp NODE7.EXAMPLE.NET dXNlcg== c2VjcmV0\n", "lmtp", names);
	FOUND("lmtp lmtp.example.net dXNlcg== c2VjcmV0\n", "lmtp", names);
	NONE("lmtp node7.example.ne dXNlcg== c2VjcmV0\n", "lmtp", names);
	FOUND("lmtp UNIX:/run/cyrus/lmtp dXNlcg== c2VjcmV0\n", "lmtp", socket);
	NONE("lmtp /run/cyrus/lmtp dXNlcg== c2VjcmV0\n", "lmtp", socket);
	FOUND("lmtp [127.0.0.1] dXNlcg== c2VjcmV0\n", "lmtp", by_address);
	FOUND("lmtp [IPv6:2001:DB8:0::1] dXNlcg== c2VjcmV0\n", "lmtp", v6);
	FOUND("lmtp [2001:db8::1] dXNlcg== c2VjcmV0\n", "lmtp", v6);
	FOUND("lmtp 2001:db8:0:0:0:0:0:1 dXNlcg== c2VjcmV0\n", "lmtp", v6);
	NONE("lmtp 2001:db8::2 dXNlcg== c2VjcmV0\n", "lmtp", v6);
}

static void no_star_for_hosts(void **state)
{
	(void)state;
	NONE("lmtp * dXNlcg== c2VjcmV0\n", "lmtp", by_address);
}

static void comments_and_empty_lines_are_passed_over(void **state)
{
	(void)state;
	FOUND("# lmtp 127.0.0.1 b3RoZXI= b3RoZXI=\n"
	      "\n  \t \n"
	      "   # more\n"
	      "#lmtp 127.0.0.1 b3RoZXI= b3RoZXI=\n"
	      "\tlmtp\t 127.0.0.1   dXNlcg==\tc2VjcmV0   # remark", "lmtp", by_address);
	NONE("", "lmtp", by_address);
	NONE("#", "lmtp", by_address);
}

static void a_damaged_line_for_us_is_named_without_its_content(void **state)
{
	(void)state;
	UNCLEAR("\n\nlmtp 127.0.0.1 dXNlcg==\n", "FILE:3: expected four words: channel, host, user and secret");
	UNCLEAR("lmtp 127.0.0.1\nlmtp 127.0.0.1 dXNlcg== c2VjcmV0\n",
	        "FILE:1: expected four words: channel, host, user and secret");
	UNCLEAR("lmtp 127.0.0.1 user! c2VjcmV0\n", "FILE:1: the user is not base64 text");
	UNCLEAR("lmtp 127.0.0.1 dXNlcg== s=cr\n", "FILE:1: the secret is not base64 text");
	UNCLEAR("lmtp 127.0.0.1 dXNlcg== secret\n", "FILE:1: the secret is not base64 text");
	UNCLEAR("lmtp 127.0.0.1 dXNlcg== c2VjcmV0\r\n", "FILE:1: the secret is not base64 text");
	UNCLEAR("lmtp 127.0.0.1 dXNlcg== ====\n", "FILE:1: the secret is not base64 text");
}

static void a_damaged_line_for_others_is_none_of_our_business(void **state)
{
	(void)state;
	FOUND("smtp 127.0.0.1\nlmtp 10.0.0.1 x y\nlmtp 127.0.0.1 dXNlcg== c2VjcmV0\n", "lmtp", by_address);
}

/* It may be for us, as in a file of another form: mail would go on without authentication. */
static void a_line_without_a_host_is_not_passed_over(void **state)
{
	(void)state;
	UNCLEAR("smtp 127.0.0.1\n127.0.0.1:user:secret\nlmtp 127.0.0.1 dXNlcg== c2VjcmV0\n",
	        "FILE:2: expected four words: channel, host, user and secret");
}

static void an_equal_sign_is_the_empty_name(void **state)
{
	(void)state;
	search(&(struct search){ "lmtp 127.0.0.1 = =\n", "lmtp", by_address, SECRETS_FOUND, "", "", NULL });
}

static void long_words_are_taken_whole_and_too_long_ones_refused(void **state)
{
	static char text[3 * SECRET_WORD_MAX];
	char word[SECRET_WORD_MAX + 1];

	(void)state;
	memset(word, 'A', SECRET_WORD_MAX);
	word[SECRET_WORD_MAX] = '\0';
	snprintf(text, sizeof text, "lmtp 127.0.0.1 %s %s\n", word, word);
	search(&(struct search){ text, "lmtp", by_address, SECRETS_FOUND, word, word, NULL });
	snprintf(text, sizeof text, "lmtp 127.0.0.1 %sAAAA c2VjcmV0\n", word);
	UNCLEAR(text, "FILE:1: a user or secret has at most 12288 bytes of base64 text");
}

/* ---- the file ---- */

static char path[] = "/tmp/zl-secrets-XXXXXX";

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	dprintf(fd, "* 127.0.0.1 dXNlcg== c2VjcmV0\n");
	return close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	unlink(path);
	strcpy(path + strlen(path) - 6, "XXXXXX");
	return 0;
}

static enum secrets_answer find(const char *file, struct buf *why)
{
	struct secret secret = { 0 };
	enum secrets_answer answer = secrets_find(file, "lmtp", by_address, &secret, why);

	secret_wipe(&secret);
	return answer;
}

static void a_private_file_is_read(void **state)
{
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(find(path, &why), SECRETS_FOUND);
	assert_int_equal(why.len, 0);
}

static void a_file_that_others_may_read_or_write_is_refused(void **state)
{
	static const mode_t modes[] = { 0640, 0620, 0604, 0602, 0644, 0666 };

	(void)state;
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		struct buf why = { 0 };

		assert_int_equal(chmod(path, modes[i]), 0);
		assert_int_equal(find(path, &why), SECRETS_UNCLEAR);
		assert_non_null(strstr(buf_str(&why), path));
		assert_non_null(strstr(buf_str(&why), "only its owner may read and write"));
		buf_free(&why);
	}
}

static void a_file_of_somebody_else_is_refused(void **state)
{
	struct buf why = { 0 };

	(void)state;
	if (geteuid() != 0) {
		print_message("# not tried: only root can give a file away\n");
		return;
	}
	assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
	assert_int_equal(find(path, &why), SECRETS_UNCLEAR);
	assert_non_null(strstr(buf_str(&why), "belongs to user 12345"));
	buf_free(&why);
}

static void what_cannot_be_read_is_unclear_and_not_absent(void **state)
{
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(find("/nonexistent/secrets", &why), SECRETS_UNCLEAR);
	assert_string_equal(buf_str(&why), "/nonexistent/secrets: No such file or directory");
	buf_clear(&why);
	assert_int_equal(find("/tmp", &why), SECRETS_UNCLEAR);
	assert_string_equal(buf_str(&why), "/tmp: not a regular file");
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	buf_clear(&why);
	assert_int_equal(find(path, &why), SECRETS_UNCLEAR);
	buf_free(&why);
}

static void put_file(const char *text, size_t n)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	assert_int_equal(write(fd, text, n), n);
	close(fd);
}

static void a_byte_order_mark_and_cr_lf_hide_no_line(void **state)
{
	static const char marked[] = "\xef\xbb\xbflmtp 127.0.0.1 dXNlcg== c2VjcmV0\r\n";
	static const char later[] = "\xef\xbb\xbf# remark\r\n\r\n* 127.0.0.1 = =\r\n";
	struct buf why = { 0 };

	(void)state;
	put_file(marked, sizeof marked - 1);
	assert_int_equal(find(path, &why), SECRETS_FOUND);
	put_file(later, sizeof later - 1);
	assert_int_equal(find(path, &why), SECRETS_FOUND);
	buf_free(&why);
}

static void a_line_that_cannot_be_read_is_never_passed_over(void **state)
{
	static const char utf16[] = "\xff\xfel\0m\0t\0p\0 \0x\0\n\0";
	struct buf why = { 0 };

	(void)state;
#define NO_LETTER ": expected plain text (UTF-8): a byte in front of the secrets is no letter and no blank"
	UNCLEAR("lmtp\xc2\xa0" "127.0.0.1 dXNlcg== c2VjcmV0\n", "FILE:1" NO_LETTER);
	UNCLEAR("# \xc2\xa0\nlmtp 127.0.0.1\xe2\x80\x8b dXNlcg== c2VjcmV0\n", "FILE:2" NO_LETTER);
	UNCLEAR("\n\xef\xbb\xbflmtp 127.0.0.1 dXNlcg== c2VjcmV0\n", "FILE:2" NO_LETTER);
	UNCLEAR("lmtp x\rlmtp 127.0.0.1 dXNlcg== c2VjcmV0\n", "FILE:1" NO_LETTER);
	UNCLEAR("\xff\xfex\n", "FILE:1" NO_LETTER);
	put_file(utf16, sizeof utf16 - 1);
	assert_int_equal(find(path, &why), SECRETS_UNCLEAR);
	assert_non_null(strstr(buf_str(&why), ":1" NO_LETTER));
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_matching_line_wins),
		cmocka_unit_test(channel_is_a_star_or_equal_in_its_case),
		cmocka_unit_test(host_is_any_name_of_the_target_in_any_case),
		cmocka_unit_test(no_star_for_hosts),
		cmocka_unit_test(comments_and_empty_lines_are_passed_over),
		cmocka_unit_test(a_damaged_line_for_us_is_named_without_its_content),
		cmocka_unit_test(a_damaged_line_for_others_is_none_of_our_business),
		cmocka_unit_test(a_line_without_a_host_is_not_passed_over),
		cmocka_unit_test(an_equal_sign_is_the_empty_name),
		cmocka_unit_test(long_words_are_taken_whole_and_too_long_ones_refused),
		cmocka_unit_test_setup_teardown(a_private_file_is_read, make_file, remove_file),
		cmocka_unit_test_setup_teardown(a_byte_order_mark_and_cr_lf_hide_no_line, make_file, remove_file),
		cmocka_unit_test_setup_teardown(a_line_that_cannot_be_read_is_never_passed_over, make_file, remove_file),
		cmocka_unit_test_setup_teardown(a_file_that_others_may_read_or_write_is_refused, make_file, remove_file),
		cmocka_unit_test_setup_teardown(a_file_of_somebody_else_is_refused, make_file, remove_file),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_unclear_and_not_absent, make_file, remove_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
