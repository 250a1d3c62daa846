#include "tests/unit/unit.h"

#include "channel/spool/spoolid.h"

/* As a ZMailer router wrote it: "Received: by ... id S11141194AbmKUJlLppZqs; Sat, 21 Nov 2026 09:41:11". */
static void an_id_is_inode_and_time_of_the_message_file(void **state)
{
	struct stat st = { .st_ino = 11141194, .st_mtim = { .tv_sec = 1795254071, .tv_nsec = 0 } };
	struct buf id = { 0 };

	(void)state;
	spoolid_add(&id, &st);
	assert_string_equal(buf_str(&id), "S11141194AbmKUJlL");
	buf_clear(&id);
	/* p p Z q s = 45 45 25 46 48 */
	st.st_mtim.tv_nsec = (45L << 24) + (45L << 18) + (25L << 12) + (46L << 6) + 48;
	spoolid_add(&id, &st);
	assert_string_equal(buf_str(&id), "S11141194AbmKUJlLppZqs");
	buf_free(&id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_is_inode_and_time_of_the_message_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
