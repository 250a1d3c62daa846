#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/spool/control.h"
#include "channel/spool/fields.h"
#include "channel/spool/write.h"
#include "lib/alloc.h"
#include "lib/file.h"

#define MESSAGE "From: ann\nMessage-ID: <1@a>\nDate: x\nBcc: eve\n\nhello\n"

static char directory[] = "/tmp/zlmtp-write.XXXXXX";
static const char *office;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int make_office(void **state)
{
	struct buf why = { 0 };

	(void)state;
	memcpy(directory + sizeof directory - 7, "XXXXXX", 6);
	office = mkdtemp(directory);
	return office != NULL && spool_make(office, &why) ? 0 : -1;
}

static int remove_office(void **state)
{
	(void)state;
	return nftw(office, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static size_t files;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path, (void)st, (void)ftw;
	files += type == FTW_F;
	return 0;
}

/* Regular files anywhere in the post office, whatever their names. */
static size_t file_count(void)
{
	files = 0;
	nftw(office, count_one, 16, FTW_PHYS);
	return files;
}

static const struct spool_recipient bob = { "lmtp", "-", "bob@example.net", 65534, "NOTIFY=NEVER" };
static const struct spool_envelope plain = {
	.sender_channel = "local", .sender_host = "ann@example.org", .sender = "ann@example.org", .sender_privilege = 1,
	.ret = "HDRS", .envid = "Q+2B", .recipients = &bob, .recipient_count = 1,
};

/* As the program does: *name is the job name, NULL after trouble. */
static int submit_from(int in, unsigned levels, const struct spool_envelope *e, char **name, struct buf *why)
{
	struct spool spool = { .postoffice = office, .levels = levels, .host = "hub.example.net" };
	struct spool_draft *draft = NULL;
	int status = spool_open(&spool, why) ? spool_submit(&spool, e, in, &draft, why) : EX_CANTCREAT;

	*name = draft != NULL ? xstrdup(spool_job(draft)) : NULL;
	spool_free(&draft);
	spool_close(&spool);
	return status;
}

static int submit(unsigned levels, const struct spool_envelope *e, const char *message, char **name, struct buf *why)
{
	int ends[2], status;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], message, strlen(message)), strlen(message));
	close(ends[1]);
	status = submit_from(ends[0], levels, e, name, why);
	close(ends[0]);
	return status;
}

static void a_message_reads_back_as_it_was_given(void **state)
{
	struct buf why = { 0 };
	struct control *c;
	char *name, *path, *transport = xasprintf("%s/transport", office), body[100];
	int fd;

	(void)state;
	assert_int_equal(submit(2, &plain, MESSAGE, &name, &why), EX_OK);
	assert_int_equal(chdir(transport), 0);
	assert_int_equal(control_open(name, &c, &why), CONTROL_OK);
	assert_int_equal(name[1], '/');
	assert_int_equal(name[3], '/');
	assert_int_equal(name[0], 'A' + c->id / 26 % 26);
	assert_int_equal(name[2], 'A' + c->id % 26);
	assert_string_equal(c->message, name + 4);
	assert_string_equal(c->log_ident, "<1@a>");
	assert_string_equal(c->return_size, "HDRS");
	assert_string_equal(c->envid, "Q+2B");
	assert_string_equal(c->senders[0].channel, "local");
	assert_int_equal(c->recipients[0].notify, NOTIFY_NEVER);
	assert_string_equal(c->recipients[0].user, "bob@example.net");
	assert_string_equal(c->recipients[0].privilege, "65534");
	assert_memory_equal(c->headers[0].text, "Received: by hub.example.net id S", 33);
	assert_null(memmem(c->headers[0].text, c->headers[0].length, "eve", 3));
	path = control_message_path(c);
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, body, sizeof body, c->body_offset), 6);
	assert_memory_equal(body, "hello\n", 6);
	close(fd);
	assert_int_equal(file_count(), 2);
	control_close(&c);
	free(path);
	free(name);
	free(transport);
	buf_free(&why);
	assert_int_equal(chdir("/"), 0);
}

static void names_are_inode_numbers(void **state)
{
	struct buf why = { 0 };
	struct stat st;

	(void)state;
	for (unsigned levels = 0; levels <= 2; levels++) {
		char *name, *path;
		uint64_t id;

		assert_int_equal(submit(levels, &plain, MESSAGE, &name, &why), EX_OK);
		path = xasprintf("%s/queue/%s", office, name);
		assert_int_equal(stat(path, &st), 0);
		assert_true(control_id(name, &id) && id == st.st_ino);
		assert_int_equal(st.st_nlink, 1);
		assert_int_equal(st.st_mode & 0777, 0600);
		free(path);
		free(name);
	}
	assert_int_equal(file_count(), 6);
	buf_free(&why);
}

/* As after a backup was restored: the name of a live message is the inode number of a new one. */
static void a_name_that_is_taken_is_never_replaced(void **state)
{
	struct buf why = { 0 };
	struct stat st;
	char *public = xasprintf("%s/public/probe", office), *other = xasprintf("%s/other", office), *name, *taken;
	int fd = open(public, O_CREAT | O_RDWR, 0600), live;

	(void)state;
	/* the number that is freed last is mostly the one that is given next */
	assert_int_equal(fstat(fd, &st), 0);
	live = open(other, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(live, "live", 4), 4);
	close(live);
	close(fd);
	for (int delta = -40; delta <= 40; delta++) {
		char *control = xasprintf("%s/transport/%lld", office, (long long)st.st_ino + delta);

		assert_int_equal(link(other, control), 0);
		free(control);
	}
	unlink(public);
	for (int i = 0; i < 6; i++) {
		struct buf text = { 0 };
		char *line;

		assert_int_equal(submit(0, &plain, MESSAGE, &name, &why), EX_OK);
		taken = xasprintf("%s/transport/%s", office, name);
		line = xasprintf("\ni %s\n", name);
		assert_true(file_read_path(taken, &text));
		assert_non_null(strstr(buf_str(&text), line));
		buf_free(&text);
		free(line);
		free(taken);
		free(name);
	}
	assert_int_equal(stat(other, &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(st.st_nlink, 82);
	assert_int_equal(file_count(), 82 + 2 * 6);
	free(public);
	free(other);
	buf_free(&why);
}

static void envelopes_that_would_break_the_files_are_refused(void **state)
{
	static const struct spool_recipient broken[] = {
		{ "lmtp", "-", "bob\nr           lmtp - eve 1", 1, NULL }, { "lm tp", "-", "bob", 1, NULL },
		{ "lmtp", "a\tb", "bob", 1, NULL }, { "lmtp", "-", "", 1, NULL }, { "lmtp", "-", "b\366b", 1, NULL },
		{ "lmtp", "-", "bob", 1, "NOTIFY=NEVER\ni 1" },
	};
	struct spool_envelope e = plain;
	struct buf why = { 0 };
	char *name;

	(void)state;
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
		e.recipients = &broken[i];
		assert_int_equal(submit(0, &e, MESSAGE, &name, &why), EX_DATAERR);
		assert_null(name);
		assert_null(strchr(buf_str(&why), '\n'));
	}
	e = plain;
	e.sender = "ann\n";
	assert_int_equal(submit(0, &e, MESSAGE, &name, &why), EX_DATAERR);
	e = plain;
	e.envid = "a b";
	assert_int_equal(submit(0, &e, MESSAGE, &name, &why), EX_DATAERR);
	assert_int_equal(submit(0, &plain, "From: a\rb\n\n", &name, &why), EX_DATAERR);
	assert_int_equal(file_count(), 0);
	buf_free(&why);
}

static void failure_leaves_nothing_behind(void **state)
{
	static const struct { const char *missing; unsigned levels; int status; } rows[] = {
		{ "public", 0, EX_CANTCREAT }, { "queue", 0, EX_CANTCREAT }, { "transport", 0, EX_CANTCREAT },
		{ "queue", 2, EX_CANTCREAT }, { "transport", 2, EX_CANTCREAT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf why = { 0 };
		char *path = xasprintf("%s/%s", office, rows[i].missing), *away = xasprintf("%s/away", office), *name;

		/* a file in its place, so that nobody makes the directory */
		assert_int_equal(rename(path, away), 0);
		close(open(path, O_CREAT, 0600));
		assert_int_equal(submit(rows[i].levels, &plain, MESSAGE, &name, &why), rows[i].status);
		assert_null(name);
		assert_true(why.len > 0);
		assert_int_equal(file_count(), 1);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(rename(away, path), 0);
		free(path);
		free(away);
		buf_free(&why);
	}
}

static void messages_of_one_commit_are_there_or_not_each_for_itself(void **state)
{
	enum { COUNT = 5, BLOCKED = 2 };
	struct spool spool = { .postoffice = office, .levels = 1, .host = "hub.example.net" };
	struct spool_draft *drafts[COUNT];
	struct buf why = { 0 };
	char *in_the_way = NULL;

	(void)state;
	assert_true(spool_open(&spool, &why));
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(spool_begin(&spool, &plain, &drafts[i], &why), EX_OK);
		for (const char *c = MESSAGE; *c != '\0'; c++)
			assert_int_equal(spool_add(drafts[i], c, 1, &why), EX_OK);
		assert_int_equal(spool_end(drafts[i], &why), EX_OK);
	}
	assert_int_equal(file_count(), 2 * COUNT);
	/* another message has the place by now */
	in_the_way = xasprintf("%s/queue/%s", office, spool_job(drafts[BLOCKED]));
	assert_int_equal(close(creat(in_the_way, 0600)), 0);
	spool_commit(drafts, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		char *control = xasprintf("%s/transport/%s", office, spool_job(drafts[i]));

		assert_int_equal(spool_status(drafts[i]), i == BLOCKED ? EX_CANTCREAT : EX_OK);
		assert_int_equal(spool_why(drafts[i])[0] != '\0', i == BLOCKED);
		assert_int_equal(access(control, F_OK) == 0, i != BLOCKED);
		assert_string_equal(spool_message_id(drafts[i]), "<1@a>");
		assert_int_equal(spool_id(drafts[i])[0], 'S');
		free(control);
		spool_free(&drafts[i]);
	}
	assert_int_equal(file_count(), 2 * (COUNT - 1) + 1);
	spool_close(&spool);
	free(in_the_way);
	buf_free(&why);
}

/* One wait for the disk serves who comes and who was made visible by the one before. */
static void a_message_is_visible_behind_one_step_and_done_behind_the_next(void **state)
{
	struct spool spool = { .postoffice = office, .host = "hub.example.net" };
	struct spool_draft *drafts[3];
	struct buf why = { 0 };

	(void)state;
	assert_true(spool_open(&spool, &why));
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(spool_begin(&spool, &plain, &drafts[i], &why), EX_OK);
		assert_int_equal(spool_add(drafts[i], MESSAGE, strlen(MESSAGE), &why), EX_OK);
		assert_int_equal(spool_end(drafts[i], &why), EX_OK);
	}
	spool_name(drafts, 3);
	/* one alone, then each beside the one before */
	for (size_t step = 1; step <= 4; step++) {
		size_t first = step <= 2 ? 0 : step - 2, last = step <= 3 ? step : 3;

		spool_commit_step(drafts + first, last - first, NULL);
		for (size_t i = first; i < last; i++) {
			char *control = xasprintf("%s/transport/%s", office, spool_job(drafts[i]));

			assert_int_equal(spool_status(drafts[i]), EX_OK);
			assert_int_equal(access(control, F_OK), 0);
			assert_int_equal(spool_is_done(drafts[i]), step >= i + 2);
			free(control);
		}
	}
	for (size_t i = 0; i < 3; i++)
		spool_free(&drafts[i]);
	assert_int_equal(file_count(), 6);
	spool_close(&spool);
	buf_free(&why);
}

static void reading_failure_leaves_nothing_behind(void **state)
{
	struct buf why = { 0 };
	char *name;
	int fd = open(office, O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_int_equal(submit_from(fd, 0, &plain, &name, &why), EX_IOERR);
	assert_string_equal(buf_str(&why), "cannot read the message: Is a directory");
	assert_int_equal(file_count(), 0);
	close(fd);
	buf_free(&why);
}

static void quads_survive_the_scan_whatever_is_in_them(void **state)
{
	static const struct { const char *user, *expect; } rows[] = {
		{ "bob@example.net", "bob@example.net" }, { "\"dan d\"@example.net", "\"dan d\"@example.net" },
		{ "dan d", "\"dan d\"" }, { "a\\ b", "a\\ b" }, { "a\\", "\"a\\\\\"" }, { "a\\\\", "a\\\\" },
		{ "a\"b", "\"a\\\"b\"" },
		{ "", "-" }, { "\\\"", "\\\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf out = { 0 };
		struct quad quad;

		quad_add(&out, "lmtp", rows[i].user, rows[i].user, -2);
		assert_true(quad_parse(out.data, &quad));
		assert_string_equal(quad.host, rows[i].expect);
		assert_string_equal(quad.user, rows[i].expect);
		assert_string_equal(quad.privilege, "-2");
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_message_reads_back_as_it_was_given, make_office, remove_office),
		cmocka_unit_test_setup_teardown(names_are_inode_numbers, make_office, remove_office),
		cmocka_unit_test_setup_teardown(a_name_that_is_taken_is_never_replaced, make_office, remove_office),
		cmocka_unit_test_setup_teardown(envelopes_that_would_break_the_files_are_refused, make_office, remove_office),
		cmocka_unit_test_setup_teardown(failure_leaves_nothing_behind, make_office, remove_office),
		cmocka_unit_test_setup_teardown(messages_of_one_commit_are_there_or_not_each_for_itself, make_office, remove_office),
		cmocka_unit_test_setup_teardown(a_message_is_visible_behind_one_step_and_done_behind_the_next, make_office, remove_office),
		cmocka_unit_test_setup_teardown(reading_failure_leaves_nothing_behind, make_office, remove_office),
		cmocka_unit_test(quads_survive_the_scan_whatever_is_in_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
