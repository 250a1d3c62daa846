#include "tests/unit/unit.h"

#include <stdint.h>

#include "db/sync/control.h"

static struct berval bytes_of(BerElement *ber)
{
	struct berval value;

	assert_int_not_equal(ber_flatten2(ber, &value, 1), -1);
	ber_free(ber, 1);
	return value;
}

static BerElement *writer(void)
{
	BerElement *ber = ber_alloc_t(LBER_USE_DER);

	assert_non_null(ber);
	return ber;
}

static const char uuid_a[SYNC_UUID + 1] = "aaaaaaaaaaaaaaaa", uuid_b[SYNC_UUID + 1] = "b\0bbbbbbbbbbbbbb";

static void a_request_has_mode_and_cookie(void **state)
{
	/* SEQUENCE { ENUMERATED 3, OCTET STRING "co" } */
	static const char with[] = "\x30\x07\x0a\x01\x03\x04\x02""co", without[] = "\x30\x03\x0a\x01\x01";
	struct buf cookie = { 0 };
	struct berval value;

	(void)state;
	assert_true(sync_request_encode(SYNC_REFRESH_ONLY, &cookie, &value));
	assert_int_equal(value.bv_len, sizeof without - 1);
	assert_memory_equal(value.bv_val, without, value.bv_len);
	ber_memfree(value.bv_val);
	buf_adds(&cookie, "co");
	assert_true(sync_request_encode(SYNC_REFRESH_AND_PERSIST, &cookie, &value));
	assert_int_equal(value.bv_len, sizeof with - 1);
	assert_memory_equal(value.bv_val, with, value.bv_len);
	ber_memfree(value.bv_val);
	buf_free(&cookie);
}

static void states_are_read(void **state)
{
	(void)state;
	for (int i = -1; i < 6; i++) {
		for (int with_cookie = 0; with_cookie < 2; with_cookie++) {
			BerElement *ber = writer();
			struct sync_state_value s;
			struct berval value;
			bool good;

			ber_printf(ber, "{eo", i, uuid_b, (ber_len_t)SYNC_UUID);
			if (with_cookie)
				ber_printf(ber, "o", "c\0k", (ber_len_t)3);
			ber_printf(ber, "N}");
			value = bytes_of(ber);
			good = sync_state_decode(&value, &s);
			assert_int_equal(good, i >= 0 && i < 4);
			if (good) {
				assert_int_equal(s.state, i);
				assert_memory_equal(s.uuid.bytes, uuid_b, SYNC_UUID);
				assert_int_equal(s.cookie.len, with_cookie ? 3 : 0);
			}
			sync_state_free(&s);
			ber_memfree(value.bv_val);
		}
	}
}

static void ends_are_read(void **state)
{
	static const struct { const char *bytes; size_t n; bool good, deletes; const char *cookie; } rows[] = {
		{ "\x30\x00", 2, true, false, "" }, { "\x30\x03\x01\x01\xff", 5, true, true, "" }, { "\x30\x03\x01\x01\x00", 5, true, false, "" },
		{ "\x30\x04\x04\x02""ck", 6, true, false, "ck" }, { "\x30\x07\x04\x02""ck\x01\x01\xff", 9, true, true, "ck" },
		{ "", 0, false, false, "" }, { "\x30", 1, false, false, "" }, { "\x30\x05\x04\x02""ck", 6, false, false, "" },
		{ "\x30\x03\x0a\x01\x01", 5, false, false, "" }, { "\x30\x06\x04\x02""ck\x05\x00", 8, false, false, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct berval value = { rows[i].n, (char *)(uintptr_t)rows[i].bytes };
		struct sync_done_value d;

		assert_int_equal(sync_done_decode(&value, &d), rows[i].good);
		if (rows[i].good) {
			assert_int_equal(d.refresh_deletes, rows[i].deletes);
			assert_string_equal(buf_str(&d.cookie), rows[i].cookie);
		}
		sync_done_free(&d);
	}
}

static struct berval info_bytes(int form)
{
	BerElement *ber = writer();

	switch (form) {
	case 0: ber_printf(ber, "to", LDAP_TAG_SYNC_NEW_COOKIE, "ck", (ber_len_t)2); break;
	case 1: ber_printf(ber, "t{N}", LDAP_TAG_SYNC_REFRESH_DELETE); break;
	case 2: ber_printf(ber, "t{obN}", LDAP_TAG_SYNC_REFRESH_PRESENT, "ck", (ber_len_t)2, 0); break;
	case 3: ber_printf(ber, "t{[ooN]N}", LDAP_TAG_SYNC_ID_SET, uuid_a, (ber_len_t)SYNC_UUID, uuid_b, (ber_len_t)SYNC_UUID); break;
	case 4: ber_printf(ber, "t{ob[oN]N}", LDAP_TAG_SYNC_ID_SET, "ck", (ber_len_t)2, 1, uuid_a, (ber_len_t)SYNC_UUID); break;
	case 5: ber_printf(ber, "t{[N]N}", LDAP_TAG_SYNC_ID_SET); break;
	case 6: ber_printf(ber, "t{[oN]N}", LDAP_TAG_SYNC_ID_SET, uuid_a, (ber_len_t)SYNC_UUID - 1); break;
	case 7: ber_printf(ber, "t{N}", (ber_tag_t)0xa4U); break;
	}
	return bytes_of(ber);
}

static void infos_are_read(void **state)
{
	static const struct { bool good; enum sync_info_kind kind; const char *cookie; bool done, deletes; size_t uuids; } rows[] = {
		{ true, SYNC_NEW_COOKIE, "ck", true, false, 0 }, { true, SYNC_INFO_REFRESH_DELETE, "", true, false, 0 },
		{ true, SYNC_INFO_REFRESH_PRESENT, "ck", false, false, 0 }, { true, SYNC_ID_SET, "", true, false, 2 },
		{ true, SYNC_ID_SET, "ck", true, true, 1 }, { true, SYNC_ID_SET, "", true, false, 0 }, { .good = false }, { .good = false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct berval value = info_bytes((int)i);
		struct sync_info_value info;

		assert_int_equal(sync_info_decode(&value, &info), rows[i].good);
		if (rows[i].good) {
			assert_int_equal(info.kind, rows[i].kind);
			assert_string_equal(buf_str(&info.cookie), rows[i].cookie);
			assert_int_equal(info.refresh_done, rows[i].done);
			assert_int_equal(info.refresh_deletes, rows[i].deletes);
			assert_int_equal(info.count, rows[i].uuids);
		}
		if (info.count == 2)
			assert_memory_equal(info.uuids[1].bytes, uuid_b, SYNC_UUID);
		sync_info_free(&info);
		ber_memfree(value.bv_val);
	}
}

/* Cut anywhere, and with any byte changed: refused or read, never beyond its end (the sanitizers watch). */
static void damaged_bytes_do_no_harm(void **state)
{
	(void)state;
	for (int form = 0; form < 8; form++) {
		struct berval whole = info_bytes(form);

		for (size_t n = 0; n <= whole.bv_len; n++) {
			for (int flip = 0; flip < 256; flip += 5) {
				char *copy = malloc(n + 1);
				struct berval value = { n, copy };
				struct sync_info_value info;
				struct sync_state_value s;
				struct sync_done_value d;

				memcpy(copy, whole.bv_val, n);
				if (n > 0)
					copy[(size_t)flip % n] = (char)(copy[(size_t)flip % n] ^ flip);
				sync_info_decode(&value, &info);
				sync_state_decode(&value, &s);
				sync_done_decode(&value, &d);
				sync_info_free(&info);
				sync_state_free(&s);
				sync_done_free(&d);
				free(copy);
			}
		}
		ber_memfree(whole.bv_val);
	}
}

/* An element that says it is longer than what is left was taken for one that is missing: "done, and nothing was deleted". */
static void what_is_cut_short_is_damaged(void **state)
{
	static const struct { const char *bytes; size_t n; } ends[] = {
		{ "\x30\x02\x04\x05", 4 }, { "\x30\x04\x04\x05""co", 6 }, { "\x30\x03\x01\x01\xff\x00", 6 }, { "\x30\x02\x01\x01", 4 },
		{ "\x30\x00\x04\x01""c", 5 }, { "\x30\x01\x04", 3 }, { "\x30\x06\x04\x01""c\x01\x01", 7 }, { "\x30\x05\x04\x02""co\x99", 7 },
		{ "\x30", 1 }, { "\x31\x00", 2 },
	};
	static const struct { const char *bytes; size_t n; } infos[] = {
		{ "\xa1\x02\x04\x05", 4 }, { "\xa2\x02\x01\x01", 4 }, { "\xa2\x00\x01\x01\xff", 5 }, { "\xa3\x04\x31\x02\x04\x10", 6 },
		{ "\xa3\x02\x31\x10", 4 }, { "\x80\x05""co", 4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		struct sync_done_value done;

		assert_false(sync_done_decode(&(struct berval){ ends[i].n, (char *)(uintptr_t)ends[i].bytes }, &done));
		sync_done_free(&done);
	}
	for (size_t i = 0; i < sizeof infos / sizeof infos[0]; i++) {
		struct sync_info_value info;

		assert_false(sync_info_decode(&(struct berval){ infos[i].n, (char *)(uintptr_t)infos[i].bytes }, &info));
		sync_info_free(&info);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_has_mode_and_cookie),
		cmocka_unit_test(states_are_read),
		cmocka_unit_test(ends_are_read),
		cmocka_unit_test(infos_are_read),
		cmocka_unit_test(what_is_cut_short_is_damaged),
		cmocka_unit_test(damaged_bytes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
