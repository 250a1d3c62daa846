#include "tests/unit/unit.h"

#include "channel/net/tlsconf.h"
#include "lib/buf.h"

static struct tlsconf parsed(const char *text)
{
	struct tlsconf conf;
	struct buf why = { 0 };

	if (!tlsconf_parse(&conf, text, strlen(text), "FILE", &why))
		fail_msg("%s", buf_str(&why));
	return conf;
}

static void refused(const char *text, size_t n, const char *expected)
{
	struct tlsconf conf;
	struct buf why = { 0 };

	assert_false(tlsconf_parse(&conf, text, n, "FILE", &why));
	assert_string_equal(buf_str(&why), expected);
	tlsconf_free(&conf);
	buf_free(&why);
}

#define REFUSED(text, expected) refused(text, strlen(text), expected)

static void an_empty_file_is_all_defaults(void **state)
{
	struct tlsconf conf = parsed("");

	(void)state;
	assert_null(conf.cert_file);
	assert_int_equal(conf.verify, TLS_VERIFY_UNSAID);
	assert_int_equal(conf.min_protocol, TLS_1_2);
	assert_false(conf.demanded);
	assert_false(conf.wrapped);
}

static void each_key_has_its_place(void **state)
{
	struct tlsconf conf = parsed("tls-cert-file /c\ntls-key-file /k\ntls-dcert-file /dc\ntls-dkey-file /dk\n"
	                             "tls-CAfile /ca\ntls-CApath /cp\ntls-cipher-list HIGH:!aNULL\n"
	                             "tls-verify name\ntls-peer-name store.example\ntls-min-protocol TLSv1.3\n"
	                             "demand-tls-mode\ntls-wrapped\n");

	(void)state;
	assert_string_equal(conf.cert_file, "/c");
	assert_string_equal(conf.key_file, "/k");
	assert_string_equal(conf.dcert_file, "/dc");
	assert_string_equal(conf.dkey_file, "/dk");
	assert_string_equal(conf.ca_file, "/ca");
	assert_string_equal(conf.ca_path, "/cp");
	assert_string_equal(conf.cipher_list, "HIGH:!aNULL");
	assert_string_equal(conf.peer_name, "store.example");
	assert_int_equal(conf.verify, TLS_VERIFY_NAME);
	assert_int_equal(conf.min_protocol, TLS_1_3);
	assert_true(conf.demanded);
	assert_true(conf.wrapped);
	tlsconf_free(&conf);
}

static void keys_count_in_any_case_and_remarks_do_not(void **state)
{
	struct tlsconf conf = parsed("#| sample\n;other\n\n  TLS-CAFILE\t/ca  # remark\n   # tls-CApath /x\n"
	                             "Demand-TLS-Mode ; yes\r\n");

	(void)state;
	assert_string_equal(conf.ca_file, "/ca");
	assert_null(conf.ca_path);
	assert_true(conf.demanded);
	tlsconf_free(&conf);
}

static void keys_of_the_original_without_meaning_are_accepted(void **state)
{
	struct tlsconf conf = parsed("tls-loglevel 0  # Value from 0 thru 4\ntls-random-source dev:/dev/urandom\n"
	                             "tls-strict-rfc2487\ntls-use-scache\ntls-scache-timeout 3600\nno-tls-readahead # why\n");

	(void)state;
	tlsconf_free(&conf);
}

static void fingerprints_with_and_without_colons_add_up(void **state)
{
	struct tlsconf conf =
		parsed("tls-fingerprint 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:"
		       "10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\n"
		       "tls-fingerprint fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0\n");

	(void)state;
	assert_int_equal(conf.fingerprint_count, 2);
	for (unsigned i = 0; i < FINGERPRINT_SIZE; i++) {
		assert_int_equal(conf.fingerprints[0].bytes[i], i);
		assert_int_equal(conf.fingerprints[1].bytes[i], 255 - i);
	}
	tlsconf_free(&conf);
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
	(void)state;
	REFUSED("tls-CAfile /ca\n\ntls-verfy name\n", "FILE:3: tls-verfy: unknown key");
	REFUSED("tls-verify\n", "FILE:1: tls-verify: expected a value");
	REFUSED("tls-verify # none\n", "FILE:1: tls-verify: expected a value");
	REFUSED("tls-verify maybe\n", "FILE:1: tls-verify: expected none, chain or name");
	REFUSED("tls-verify none\ntls-verify name\n", "FILE:2: tls-verify: given twice");
	REFUSED("tls-CAfile /a\ntls-CAfile /b\n", "FILE:2: tls-CAfile: given twice");
	REFUSED("tls-CAfile /a b\n", "FILE:1: tls-CAfile: expected one value");
	REFUSED("demand-tls-mode no\n", "FILE:1: demand-tls-mode: expected no value");
	REFUSED("tls-min-protocol TLSv1.1\n", "FILE:1: tls-min-protocol: expected TLSv1.2 or TLSv1.3");
	REFUSED("tls-fingerprint 00:01\n",
	        "FILE:1: tls-fingerprint: expected a SHA-256 fingerprint: 32 pairs of hexadecimal digits");
	REFUSED("tls-fingerprint 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20\n",
	        "FILE:1: tls-fingerprint: expected a SHA-256 fingerprint: 32 pairs of hexadecimal digits");
	REFUSED("\x1b[2J x\n", "FILE:1:  [2J: unknown key");
	refused("demand-tls-mode\0\n", 17, "FILE:1: demand-tls-mode: a NUL byte in the line");
}

static void keys_that_cannot_go_together_are_refused(void **state)
{
	(void)state;
	REFUSED("tls-key-file /k\n", "FILE: tls-key-file without tls-cert-file");
	REFUSED("tls-dkey-file /k\n", "FILE: tls-dkey-file without tls-dcert-file");
	REFUSED("tls-verify none\ntls-peer-name a\n", "FILE: tls-peer-name contradicts tls-verify none");
	REFUSED("tls-verify chain\ntls-peer-name a\n", "FILE: tls-peer-name needs tls-verify name");
}

static void a_file_that_is_not_there_is_said_so(void **state)
{
	struct tlsconf conf;
	struct buf why = { 0 };

	(void)state;
	assert_false(tlsconf_read(&conf, "/nonexistent/tls.conf", &why));
	assert_string_equal(buf_str(&why), "/nonexistent/tls.conf: No such file or directory");
	buf_clear(&why);
	assert_false(tlsconf_read(&conf, "/tmp", &why));
	assert_string_equal(buf_str(&why), "/tmp: Is a directory");
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_is_all_defaults),
		cmocka_unit_test(each_key_has_its_place),
		cmocka_unit_test(keys_count_in_any_case_and_remarks_do_not),
		cmocka_unit_test(keys_of_the_original_without_meaning_are_accepted),
		cmocka_unit_test(fingerprints_with_and_without_colons_add_up),
		cmocka_unit_test(what_is_wrong_is_named_with_its_line),
		cmocka_unit_test(keys_that_cannot_go_together_are_refused),
		cmocka_unit_test(a_file_that_is_not_there_is_said_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
