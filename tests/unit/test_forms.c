#include "tests/unit/unit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/report/forms.h"
#include "lib/alloc.h"

static char directory[] = "/tmp/zlt-forms-XXXXXX";

static void put(const char *name, const char *text, size_t n)
{
	char *path = xasprintf("%s/%s", directory, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, n, file), n);
	fclose(file);
	free(path);
}

static void take_away(const char *name)
{
	char *path = xasprintf("%s/%s", directory, name);

	remove(path);
	free(path);
}

static void no_files_are_the_built_in_words(void **state)
{
	struct forms forms = { 0 };
	struct buf notes = { 0 };

	(void)state;
	forms_read(&forms, "/nonexistent", &notes);
	forms_read(&forms, directory, &notes);
	assert_int_equal(notes.len, 0);
	for (int i = 0; i < FORM_KINDS; i++) {
		struct form built_in = forms_of(&forms, (enum form_kind)i);
		struct buf text = { 0 }, why = { 0 };

		/* what is built in is a form that a site might have written */
		buf_addf(&text, "Subject: %s\n\n%s", built_in.subject, built_in.text);
		if (!form_parse(&forms, (enum form_kind)i, text.data, text.len, &why))
			fail_msg("%s", buf_str(&why));
		assert_string_equal(forms_of(&forms, (enum form_kind)i).text, built_in.text);
		buf_free(&text);
	}
	forms_free(&forms);
}

static void each_damaged_file_is_one_line_for_the_log(void **state)
{
	struct forms forms = { 0 };
	struct buf notes = { 0 };
	char *expect = xasprintf("%s/failure:3: not UTF-8; reports have the built-in words\n"
	                         "%s/success: not a regular file; reports have the built-in words\n", directory, directory);
	char *pipe = xasprintf("%s/success", directory);

	(void)state;
	put("failure", "Subject: x\n\n\xff\n$recipients\n", 26);
	put("delay", "Subject: later\n\n$recipients\n", 28);
	assert_int_equal(mkfifo(pipe, 0600), 0);
	forms_read(&forms, directory, &notes);
	assert_string_equal(buf_str(&notes), expect);
	assert_string_equal(forms_of(&forms, FORM_FAILURE).subject, "Your mail could not be delivered");
	assert_string_equal(forms_of(&forms, FORM_DELAY).subject, "later");
	take_away("failure");
	take_away("delay");
	take_away("success");
	buf_free(&notes);
	forms_free(&forms);
	free(expect);
	free(pipe);
}

static void names_are_filled_in_once(void **state)
{
	const char *values[FORM_NAMES] = { [FORM_HOST] = "$id", [FORM_ID] = "S1", [FORM_SUBJECT] = "$$" };
	struct buf out = { 0 };

	(void)state;
	form_fill(&out, "$host $id $$ $subject $sender$", values);
	assert_string_equal(buf_str(&out), "$id S1 $ $$ $");
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_files_are_the_built_in_words),
		cmocka_unit_test(each_damaged_file_is_one_line_for_the_log),
		cmocka_unit_test(names_are_filled_in_once),
	};
	int failed;

	if (mkdtemp(directory) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
