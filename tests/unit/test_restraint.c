#include "tests/unit/unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/restraint.h"

static void one_of_a_program_and_its_children_does_it(void **state)
{
	struct restraint *r = restraint_create(60000);
	int did = 0;

	(void)state;
	assert_true(restraint_is_off(r));
	for (int i = 0; i < 5; i++) {
		int status;
		const pid_t pid = fork();

		if (pid == 0)
			_exit(restraint_take(r));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		did += WEXITSTATUS(status);
	}
	did += restraint_take(r);
	assert_int_equal(did, 1);
	assert_false(restraint_is_off(r));
	restraint_lift(r);
	assert_true(restraint_is_off(r));
	assert_true(restraint_take(r));
	restraint_free(&r);
	assert_null(r);
}

static void it_is_done_again_after_the_pause(void **state)
{
	struct restraint *r = restraint_create(1);

	(void)state;
	assert_true(restraint_take(r));
	clock_pause(2000000);
	assert_true(restraint_take(r));
	restraint_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_of_a_program_and_its_children_does_it),
		cmocka_unit_test(it_is_done_again_after_the_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
