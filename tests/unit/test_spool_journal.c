#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/spool/journal.h"
#include "channel/spool/removals.h"
#include "channel/spool/restore.h"
#include "channel/spool/write.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/hash.h"

#define COUNT 3

static char directory[] = "/tmp/zlmtp-journal.XXXXXX";
static struct spool spool;
static struct buf why;

/*
 * The disk, as fsync(2) has it: an error is told once to each descriptor that is open by then, by whatever waits for the file
 * first.  That of syncfs(2) is told to one.
 */
static unsigned disk_errors, disk_told[1024], system_errors, file_errors;

static int sync_descriptor(int fd)
{
	bool told = disk_told[fd] == disk_errors;

	disk_told[fd] = disk_errors;
	errno = EIO;
	return told ? 0 : -1;
}

int fdatasync(int fd)
{
	return sync_descriptor(fd);
}

int fsync(int fd)
{
	(void)fd;
	errno = EROFS;
	return file_errors > 0 && file_errors-- ? -1 : 0;
}

int syncfs(int fd)
{
	(void)fd;
	errno = EIO;
	return system_errors > 0 && system_errors-- ? -1 : 0;
}

/* What COUNT messages were when they were accepted. */
static struct accepted {
	char *job, *queue, *transport;
	struct buf message, control;
} accepted[COUNT];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int begin(void **state)
{
	(void)state;
	for (size_t fd = 0; fd < sizeof disk_told / sizeof *disk_told; fd++)
		disk_told[fd] = disk_errors;
	memcpy(directory + sizeof directory - 7, "XXXXXX", 6);
	spool = (struct spool){ .postoffice = mkdtemp(directory), .levels = 1, .host = "hub.example.net" };
	return spool.postoffice != NULL && spool_make(spool.postoffice, &why) && spool_open(&spool, &why) ? 0 : -1;
}

static void forget_accepted(void)
{
	for (size_t i = 0; i < COUNT; i++) {
		free(accepted[i].job);
		free(accepted[i].queue);
		free(accepted[i].transport);
		buf_free(&accepted[i].message);
		buf_free(&accepted[i].control);
		accepted[i] = (struct accepted){ 0 };
	}
}

static int end(void **state)
{
	(void)state;
	forget_accepted();
	spool_close(&spool);
	buf_free(&why);
	return nftw(spool.postoffice, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char *path_of(const char *place, const char *name)
{
	return xasprintf("%s/%s/%s", spool.postoffice, place, name);
}

/* Drafts of COUNT messages, named. */
static void prepare(struct spool_draft **drafts, const struct spool_envelope *envelope)
{
	for (size_t i = 0; i < COUNT; i++) {
		char *text = xasprintf("From: ann\nMessage-ID: <%zu@a>\nDate: x\n\nhello %zu\n", i, i);

		assert_int_equal(spool_begin(&spool, envelope, &drafts[i], &why), EX_OK);
		assert_int_equal(spool_add(drafts[i], text, strlen(text), &why), EX_OK);
		assert_int_equal(spool_end(drafts[i], &why), EX_OK);
		free(text);
	}
	spool_name(drafts, COUNT);
}

/* What is on the disk of each. */
static void note(struct spool_draft **drafts)
{
	for (size_t i = 0; i < COUNT; i++) {
		struct accepted *a = &accepted[i];

		a->job = xstrdup(spool_job(drafts[i]));
		a->queue = path_of("queue", a->job);
		a->transport = path_of("transport", a->job);
		assert_true(file_read_path(a->queue, &a->message));
		assert_true(file_read_path(a->transport, &a->control));
	}
}

static struct spool_journal *open_journal(void)
{
	bool unread;
	struct spool_journal *journal = spool_journal_open(&spool, true, &unread, &why);

	assert_false(unread);
	return journal;
}

static const struct spool_recipient bob = { "lmtp", "-", "bob@example.net", 65534, NULL };
static const struct spool_envelope plain = {
	.sender_channel = "local", .sender_host = "ann@example.org", .sender = "ann@example.org", .sender_privilege = 1,
	.recipients = &bob, .recipient_count = 1,
};

/* COUNT messages are accepted, each by an entry of its own if `apart`, and perhaps settled; then their process is killed. */
static void accept_and_die(bool settled, bool apart)
{
	struct spool_draft *drafts[COUNT];
	struct spool_journal *journal = open_journal();

	assert_non_null(journal);
	forget_accepted();
	prepare(drafts, &plain);
	for (size_t i = 0; i < COUNT && apart; i++)
		assert_true(spool_record(drafts + i, 1, journal));
	if (!apart)
		assert_true(spool_record(drafts, COUNT, journal));
	for (size_t i = 0; i < COUNT; i++)
		assert_true(spool_is_recorded(drafts[i]));
	note(drafts);
	if (settled)
		assert_true(spool_commit_step(drafts, COUNT, journal));
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(spool_is_done(drafts[i]), settled);
	for (size_t i = 0; i < COUNT; i++)
		spool_free(&drafts[i]);
	spool_journal_close(&journal);
}

static void remove_accepted(void)
{
	for (size_t i = 0; i < COUNT; i++) {
		unlink(accepted[i].queue);
		unlink(accepted[i].transport);
	}
}

static size_t restore(const char *warning)
{
	size_t restored = 0;
	int status;

	buf_clear(&why);
	assert_null(spool_restore(&spool, false, &restored, &status, &why));
	assert_int_equal(status, EX_OK);
	if (*warning == '\0')
		assert_string_equal(buf_str(&why), "");
	else
		assert_non_null(strstr(buf_str(&why), warning));
	return restored;
}

static bool has(const char *path, const struct buf *bytes)
{
	struct buf text = { 0 };
	bool same = file_read_path(path, &text) && buf_equal(&text, bytes);

	buf_free(&text);
	return same;
}

static bool is_there(const struct accepted *a)
{
	return has(a->queue, &a->message) && has(a->transport, &a->control);
}

static void all_are_there_and_the_journal_is_gone(void)
{
	char *journal = path_of(".", ".journal.intake");

	assert_int_equal(restore(""), 0);
	for (size_t i = 0; i < COUNT; i++)
		assert_true(is_there(&accepted[i]));
	assert_int_equal(access(journal, F_OK), -1);
	free(journal);
}

static void what_is_there_is_left_alone(void **state)
{
	(void)state;
	accept_and_die(false, false);
	all_are_there_and_the_journal_is_gone();
}

static void zero(const char *path, off_t from, off_t n)
{
	int fd = open(path, O_WRONLY);

	for (off_t i = 0; i < n; i++)
		assert_int_equal(pwrite(fd, "", 1, from + i), 1);
	close(fd);
}

/* After a power cut a file may be missing, empty, cut short, or have zeros; of messages before and behind it all is there. */
static void files_that_a_power_cut_damaged_are_made_anew(void **state)
{
	(void)state;
	for (int what = 0; what < 9; what++) {
		accept_and_die(false, what % 2);
		switch (what) {
		case 0: assert_int_equal(unlink(accepted[1].queue), 0); break;
		case 1: assert_int_equal(unlink(accepted[1].transport), 0); break;
		case 2: assert_int_equal(truncate(accepted[1].transport, 10), 0); break;
		case 3: assert_int_equal(truncate(accepted[1].transport, 0), 0); break;
		case 4:
			assert_int_equal(unlink(accepted[1].transport), 0);
			assert_int_equal(unlink(accepted[1].queue), 0);
			break;
		case 5: assert_int_equal(truncate(accepted[1].queue, 0), 0); break;
		case 6: assert_int_equal(truncate(accepted[1].queue, 20), 0); break;
		case 7: zero(accepted[1].queue, 30, 10); break;
		case 8: zero(accepted[1].transport, 0, 100); break;
		}
		assert_int_equal(restore(""), 1);
		all_are_there_and_the_journal_is_gone();
	}
}

/* What agents write into control files: marks, and diagnostics at the end. */
static void what_agents_have_written_is_left_alone(void **state)
{
	char *r;
	int fd;

	(void)state;
	accept_and_die(false, false);
	r = strstr(buf_str(&accepted[1].control), "\nr ");
	assert_non_null(r);
	fd = open(accepted[1].transport, O_WRONLY);
	assert_int_equal(pwrite(fd, "+    42", 7, r + 2 - accepted[1].control.data), 7);
	assert_int_equal(pwrite(fd, "d 4:5:6::1\tx\n", 14, (off_t)accepted[1].control.len), 14);
	close(fd);
	buf_free(&accepted[1].control);
	assert_true(file_read_path(accepted[1].transport, &accepted[1].control));
	all_are_there_and_the_journal_is_gone();
}

static char *find_other_job(void)
{
	char *job = NULL;

	for (char hash = 'A'; hash <= 'Z' && job == NULL; hash++) {
		char *command = xasprintf("ls %s/transport/%c 2>/dev/null", spool.postoffice, hash);
		FILE *f = popen(command, "r");
		char name[100];

		while (fscanf(f, "%99s", name) == 1) {
			char *one = xasprintf("%c/%s", hash, name);
			bool known = job != NULL;

			for (size_t i = 0; i < COUNT; i++)
				known = known || strcmp(one, accepted[i].job) == 0;
			if (known)
				free(one);
			else
				job = one;
		}
		pclose(f);
		free(command);
	}
	return job;
}

/* A reroute puts a new control file in the place of the old one, with other recipients. */
static void what_was_rerouted_is_left_alone(void **state)
{
	(void)state;
	for (int cut = 0; cut < 2; cut++) {
		struct accepted *a;
		const char *r;
		struct buf control = { 0 };
		size_t n;
		int fd;

		accept_and_die(false, false);
		a = &accepted[1];
		r = strstr(buf_str(&a->control), "\nr ");
		assert_non_null(r);
		n = (size_t)(r - a->control.data) + 1;
		buf_add(&control, a->control.data, n);
		buf_adds(&control, "r           lmtp other carl 65534\nr           lmtp other dave 65534\n");
		buf_add(&control, strchr(r + 1, '\n') + 1, a->control.len - (size_t)(strchr(r + 1, '\n') + 1 - a->control.data));
		buf_free(&a->control);
		a->control = control;
		fd = open(a->transport, O_WRONLY | O_TRUNC);
		assert_int_equal(write(fd, control.data, control.len), (ssize_t)control.len);
		close(fd);
		if (cut)
			assert_int_equal(truncate(a->queue, 20), 0);
		assert_int_equal(restore(""), cut);
		all_are_there_and_the_journal_is_gone();
	}
}


static void a_message_whose_number_other_mail_has_gets_another(void **state)
{
	struct buf other = { 0 }, text = { 0 };
	char *job, *path, *line;

	(void)state;
	for (int what = 0; what < 2; what++) {
		const char *taken;
		int fd;

		accept_and_die(false, false);
		assert_int_equal(unlink(accepted[1].transport), 0);
		assert_int_equal(unlink(accepted[1].queue), 0);
		taken = what == 0 ? accepted[1].queue : accepted[1].transport;
		fd = creat(taken, 0600);
		assert_int_equal(write(fd, "other mail\n", 11), 11);
		close(fd);
		/* who restores it may not know how intake hashes names */
		spool.levels = 0;
		assert_int_equal(restore(""), 1);
		spool.levels = 1;
		buf_clear(&other);
		assert_true(file_read_path(taken, &other));
		assert_string_equal(buf_str(&other), "other mail\n");
		job = find_other_job();
		assert_non_null(job);
		assert_int_equal(job[0], 'A' + strtoull(job + 2, NULL, 10) % 26);
		path = path_of("queue", job);
		assert_true(has(path, &accepted[1].message));
		unlink(path);
		free(path);
		path = path_of("transport", job);
		buf_clear(&text);
		assert_true(file_read_path(path, &text));
		unlink(path);
		free(path);
		line = xasprintf("\ni %s\n", job + 2);
		assert_non_null(strstr(buf_str(&text), line));
		assert_string_equal(strstr(buf_str(&text), "\no "), strstr(buf_str(&accepted[1].control), "\no "));
		assert_int_equal(restore(""), 0);
		remove_accepted();
		free(line);
		free(job);
	}
	buf_free(&other);
	buf_free(&text);
}

static void what_is_settled_and_not_there_was_delivered(void **state)
{
	(void)state;
	accept_and_die(true, false);
	assert_int_equal(unlink(accepted[1].transport), 0);
	assert_int_equal(unlink(accepted[1].queue), 0);
	assert_int_equal(restore(""), 0);
	assert_int_equal(access(accepted[1].transport, F_OK), -1);
	assert_true(is_there(&accepted[0]) && is_there(&accepted[2]));
}

/* After a kill of intake all is as it was left: what runqueue has noted as removed is no loss. */
static void what_was_noted_as_removed_was_delivered(void **state)
{
	struct removals *removals = removals_create(spool.postoffice);
	char *list = path_of(".", ".removed.runqueue");

	(void)state;
	accept_and_die(false, false);
	removals_add(removals, (const char *[]){ accepted[1].queue, accepted[2].queue }, 2);
	remove_accepted();
	assert_int_equal(restore(""), 1);
	assert_true(is_there(&accepted[0]) && !is_there(&accepted[1]) && !is_there(&accepted[2]));
	assert_int_equal(access(list, F_OK), -1);
	/* its number is that of other mail by now */
	accept_and_die(false, false);
	removals_add(removals, (const char *[]){ accepted[1].queue }, 1);
	assert_int_equal(unlink(accepted[1].queue), 0);
	assert_int_equal(unlink(accepted[1].transport), 0);
	assert_int_equal(link(accepted[0].transport, accepted[1].transport), 0);
	assert_int_equal(link(accepted[0].queue, accepted[1].queue), 0);
	assert_int_equal(restore(""), 0);
	remove_accepted();
	/* noted and there all the same: it stays */
	accept_and_die(false, false);
	removals_add(removals, (const char *[]){ accepted[1].queue }, 1);
	assert_int_equal(access(list, F_OK), 0);
	all_are_there_and_the_journal_is_gone();
	/* without a journal nothing is noted */
	removals_add(removals, (const char *[]){ accepted[1].queue }, 1);
	assert_int_equal(access(list, F_OK), -1);
	removals_free(removals);
	free(list);
}

static void what_is_settled_leaves_no_journal(void **state)
{
	(void)state;
	accept_and_die(true, false);
	all_are_there_and_the_journal_is_gone();
}

static off_t size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* Entry n begins at page 2 + n here; the files of all messages are lost as well. */
static void damage(size_t entry, size_t byte)
{
	char *path = path_of(".", ".journal.intake");
	int fd = open(path, O_RDWR);
	off_t at = (off_t)((2 + entry) * 4096 + byte);
	char c;

	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 1;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
	remove_accepted();
	free(path);
}

static void an_entry_that_was_cut_short_was_not_accepted(void **state)
{
	char *path = path_of(".", ".journal.intake");

	(void)state;
	for (size_t byte = 0, all = 1; byte < all; byte += 13) {
		accept_and_die(false, true);
		all = 98 + accepted[2].message.len + accepted[2].control.len;
		damage(2, byte);
		assert_int_equal(restore(""), 2);
		assert_true(is_there(&accepted[0]) && is_there(&accepted[1]));
		assert_int_equal(access(accepted[2].transport, F_OK), -1);
		remove_accepted();
	}
	/* the file ends anywhere in it */
	accept_and_die(false, true);
	assert_true(size_of(path) > 5 * 4096);
	damage(2, 0);
	assert_int_equal(truncate(path, 4 * 4096 + 100), 0);
	assert_int_equal(restore(""), 2);
	free(path);
}

static void an_entry_that_is_damaged_is_told_and_costs_no_other(void **state)
{
	char *kept = path_of(".", ".journal.intake.damaged");

	(void)state;
	for (size_t entry = 0; entry < 2; entry++) {
		accept_and_die(false, true);
		damage(entry, 300);
		assert_int_equal(restore("is damaged, and messages that were accepted may be lost; it is kept as "), 2);
		assert_true(is_there(&accepted[2]) && is_there(&accepted[!entry]));
		assert_int_equal(access(kept, F_OK), 0);
		assert_int_equal(restore(""), 0);
	}
	free(kept);
}

static void something_else_in_its_place_promises_nothing(void **state)
{
	char *path = path_of(".", ".journal.intake");
	int fd;

	(void)state;
	fd = creat(path, 0600);
	for (int i = 0; i < 50000; i++)
		assert_int_equal(write(fd, "zlmtp M1 and other bytes ", 25), 25);
	close(fd);
	assert_int_equal(restore(""), 0);
	/* a link is followed to no other file */
	assert_int_equal(symlink("/etc/passwd", path), 0);
	{
		size_t restored;
		bool unread;
		int status;

		assert_null(spool_journal_open(&spool, true, &unread, &why));
		assert_false(unread);
		assert_non_null(strstr(buf_str(&why), ".journal.intake: "));
		buf_clear(&why);
		assert_null(spool_restore(&spool, false, &restored, &status, &why));
		assert_int_equal(status, EX_OK);
		assert_true(why.len > 0);
	}
	free(path);
}

static bool count(void *context, const struct spool_journal_message *message)
{
	size_t *n = context;

	assert_string_equal(message->job, "A/26");
	assert_string_equal(message->id, "S26");
	assert_int_equal(message->control_size, 10);
	(*n)++;
	return true;
}

/* Far more than it holds is written again and again: what is settled makes room, what is not is not written over. */
static void room_comes_back_when_entries_are_settled(void **state)
{
	enum { SIZE = 200 * 1024, MANY = 400, BEHIND = 40 };
	struct spool_journal *journal = open_journal();
	char *path = path_of(".", ".journal.intake"), *file = path_of(".", "large");
	int fd = open(file, O_RDWR | O_CREAT, 0600);
	size_t added = 0, unsettled = 0;
	bool damaged = false;
	struct spool_journal_message m = {
		.job = "A/26", .id = "S26", .message = fd, .message_size = SIZE, .control = fd, .control_size = 10,
	};

	(void)state;
	assert_int_equal(ftruncate(fd, SIZE), 0);
	for (size_t i = 0; i < MANY; i++) {
		uint64_t entry = spool_journal_add(journal, &m);

		assert_true(entry > 0);
		assert_true(spool_journal_write(journal));
		if (entry > BEHIND)
			assert_true(spool_journal_settle(journal, entry - BEHIND));
	}
	/* now nothing is settled any more */
	while (spool_journal_add(journal, &m) > 0 && added++ < MANY)
		assert_true(spool_journal_write(journal));
	assert_true(added < MANY);
	assert_true(size_of(path) <= 33 * 1024 * 1024);
	spool_journal_close(&journal);
	journal = open_journal();
	assert_true(spool_journal_read(journal, count, &unsettled, &damaged));
	assert_false(damaged);
	assert_int_equal(unsettled, BEHIND + added);
	assert_true(spool_journal_settle(journal, spool_journal_last(journal)));
	assert_true(spool_journal_add(journal, &m) > 0);
	m.message_size = SPOOL_JOURNAL_MESSAGE_MAX + 1;
	assert_int_equal(spool_journal_add(journal, &m), 0);
	/* shorter than it should be */
	m.message_size = SIZE + 1;
	assert_int_equal(spool_journal_add(journal, &m), 0);
	spool_journal_close(&journal);
	close(fd);
	free(file);
	free(path);
}

/* A file that is empty, as a full disk left it, or holds something else gets marks and a key before it is used, and one that cannot get them goes. */
static void what_is_no_journal_becomes_one(void **state)
{
	static const struct { const char *was; rlim_t limit; } cases[] = { { "", 0 }, { "other bytes", 0 }, { NULL, 100 } };
	char *path = path_of(".", ".journal.intake");

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct spool_draft *drafts[COUNT];
		struct spool_journal *journal;
		struct buf text = { 0 };
		struct rlimit before;
		size_t restored;
		int status;

		if (cases[i].was != NULL) {
			int fd = creat(path, 0600);

			assert_int_equal(write(fd, cases[i].was, strlen(cases[i].was)), strlen(cases[i].was));
			close(fd);
		}
		journal = spool_restore(&spool, true, &restored, &status, &why);
		assert_non_null(journal);
		prepare(drafts, &plain);
		if (cases[i].limit > 0) {
			assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
			assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ cases[i].limit, before.rlim_max }), 0);
			assert_true(spool_record(drafts, COUNT, journal));
			assert_false(spool_is_recorded(drafts[0]));
			assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		}
		assert_true(spool_record(drafts, COUNT, journal));
		assert_true(spool_is_recorded(drafts[0]));
		forget_accepted();
		note(drafts);
		for (size_t n = 0; n < COUNT; n++)
			spool_free(&drafts[n]);
		spool_journal_close(&journal);
		assert_true(file_read_path(path, &text));
		assert_memory_equal(text.data, "zlmtp M1", 8);
		assert_memory_not_equal(text.data + 8, "\0\0\0\0\0\0\0\0", 8);
		assert_memory_equal(text.data + 4096, "zlmtp M1", 8);
		buf_free(&text);
		remove_accepted();
		assert_int_equal(restore(""), COUNT);
	}
	free(path);
}

/* A full disk: what it had before is there, and it is used again as soon as that is settled. */
static void a_journal_that_cannot_be_written_is_used_again_later(void **state)
{
	struct spool_draft *drafts[COUNT];
	struct rlimit none, before;
	struct spool_journal *journal = open_journal();

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	prepare(drafts, &plain);
	assert_true(spool_record(drafts, 1, journal));
	assert_true(spool_is_recorded(drafts[0]));
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none = (struct rlimit){ 2 * 4096 + 100, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_false(spool_record(drafts + 1, 1, journal));
	assert_false(spool_is_recorded(drafts[1]));
	/* nothing is asked of it before that is settled */
	assert_true(spool_record(drafts + 1, 1, journal));
	assert_false(spool_is_recorded(drafts[1]));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_true(spool_record(drafts + 1, 1, journal));
	assert_false(spool_is_recorded(drafts[1]));
	assert_true(spool_commit_step(drafts, 2, journal));
	assert_true(spool_is_done(drafts[0]) && !spool_is_done(drafts[1]));
	assert_true(spool_record(drafts + 2, 1, journal));
	assert_true(spool_is_recorded(drafts[2]));
	assert_true(spool_commit_step(drafts + 1, 1, journal));
	assert_true(spool_is_done(drafts[1]));
	note(drafts);
	for (size_t i = 0; i < COUNT; i++)
		spool_free(&drafts[i]);
	spool_journal_close(&journal);
	/* the last one alone is in it */
	assert_int_equal(unlink(accepted[2].queue), 0);
	assert_int_equal(unlink(accepted[0].queue), 0);
	assert_int_equal(restore(""), 1);
	assert_true(is_there(&accepted[1]) && is_there(&accepted[2]) && !is_there(&accepted[0]));
}

/* The file of one cannot be synced, those behind it can: nothing behind it is settled, or its entry would be as well. */
static void what_cannot_be_synced_stays_in_the_journal(void **state)
{
	struct spool_draft *drafts[COUNT];
	struct spool_journal *journal = open_journal();

	(void)state;
	prepare(drafts, &plain);
	for (size_t i = 0; i < COUNT; i++)
		assert_true(spool_record(drafts + i, 1, journal));
	forget_accepted();
	note(drafts);
	system_errors = 1;
	for (size_t i = 0; i < COUNT; i++)
		assert_true(spool_commit_step(drafts + i, 1, journal));
	assert_int_not_equal(spool_status(drafts[0]), EX_OK);
	assert_int_equal(spool_status(drafts[1]), EX_OK);
	for (size_t i = 0; i < COUNT; i++)
		spool_free(&drafts[i]);
	spool_journal_close(&journal);
	remove_accepted();
	assert_int_equal(restore(""), COUNT);
	all_are_there_and_the_journal_is_gone();
}

/* The client has heard that it was not accepted, and sends it again. */
static void what_was_refused_does_not_come_back(void **state)
{
	struct spool_draft *drafts[COUNT];
	struct spool_journal *journal = open_journal();
	char *transport;
	int fd;

	(void)state;
	prepare(drafts, &plain);
	transport = path_of("transport", spool_job(drafts[COUNT - 1]));
	fd = creat(transport, 0600);
	assert_int_equal(write(fd, "other mail\n", 11), 11);
	close(fd);
	for (size_t i = 0; i < COUNT; i++)
		assert_true(spool_record(drafts + i, 1, journal));
	assert_int_not_equal(spool_status(drafts[COUNT - 1]), EX_OK);
	assert_false(spool_is_recorded(drafts[COUNT - 1]));
	assert_true(spool_is_in_journal(drafts[COUNT - 1]));
	assert_true(spool_commit_step(drafts, COUNT, journal));
	for (size_t i = 0; i < COUNT; i++)
		spool_free(&drafts[i]);
	spool_journal_close(&journal);
	assert_int_equal(restore(""), 0);
	free(transport);
}

/* Who has opened it when there was none writes over nothing that another has left there meanwhile. */
static void what_another_intake_has_left_is_not_written_over(void **state)
{
	struct spool_draft *drafts[COUNT];
	struct spool_journal *idle = open_journal();

	(void)state;
	prepare(drafts, &plain);
	accept_and_die(false, true);
	assert_true(spool_record(drafts, COUNT, idle));
	remove_accepted();
	for (size_t i = 0; i < COUNT; i++)
		assert_false(spool_is_recorded(drafts[i]));
	spool_journal_close(&idle);
	assert_int_equal(restore(""), COUNT);
	for (size_t i = 0; i < COUNT; i++)
		assert_true(is_there(&accepted[i]));
	for (size_t i = 0; i < COUNT; i++)
		spool_free(&drafts[i]);
}

/* What a sender can write into a message, whose entry is written over in part: it would say that all is settled. */
static void a_text_that_looks_like_an_entry_is_none(void **state)
{
	char *path = path_of(".", ".journal.intake"), page[4096] = "";
	int fd;

	(void)state;
	for (size_t head = 48; head <= 56; head += 8) {
		uint64_t fields[7] = { 0, 77, 77 }, hash;

		memcpy(fields, "zlmtp E1", 8);
		fields[head / 8 - 3] = sizeof page;
		memset(page, 0, sizeof page);
		memcpy(page, fields, head - 8);
		hash = hash_bytes(hash_bytes(HASH_START, page, head - 8), page + head, sizeof page - head);
		memcpy(page + head - 8, &hash, sizeof hash);
		accept_and_die(false, true);
		fd = open(path, O_WRONLY);
		assert_int_equal(pwrite(fd, page, sizeof page, 9 * sizeof page), sizeof page);
		close(fd);
		remove_accepted();
		assert_int_equal(restore(""), COUNT);
		all_are_there_and_the_journal_is_gone();
	}
	free(path);
}

/* Its first page says by which key entries are hashed. */
static void a_journal_without_marks_is_told(void **state)
{
	char *path = path_of(".", ".journal.intake");
	int fd;

	(void)state;
	accept_and_die(false, true);
	fd = open(path, O_WRONLY);
	for (off_t at = 0; at < 8192; at++)
		assert_int_equal(pwrite(fd, "", 1, at), 1);
	close(fd);
	assert_int_equal(restore("is damaged, and messages that were accepted may be lost; it is kept as "), 0);
	free(path);
}

/* Entries that are waited for together were not accepted before all of them are there. */
static void of_entries_that_were_written_together_any_may_be_missing(void **state)
{
	enum { SIZE = 250 * 1024, MANY = 10 };
	struct spool_journal *journal = open_journal();
	char *path = path_of(".", ".journal.intake"), *file = path_of(".", "large");
	int fd = open(file, O_RDWR | O_CREAT, 0600);
	size_t found = 0;
	bool damaged = false;
	struct spool_journal_message m = { .job = "A/26", .id = "S26", .message = fd, .message_size = SIZE, .control = fd, .control_size = 10 };

	(void)state;
	assert_int_equal(ftruncate(fd, SIZE), 0);
	for (size_t i = 0; i < MANY; i++)
		assert_true(spool_journal_add(journal, &m) > 0);
	assert_true(spool_journal_last(journal) > 1);
	assert_true(spool_journal_write(journal));
	spool_journal_close(&journal);
	close(fd);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 2 * 4096 + 300), 1);
	close(fd);
	journal = open_journal();
	assert_true(spool_journal_read(journal, count, &found, &damaged));
	assert_false(damaged);
	assert_true(found > 0 && found < MANY);
	spool_journal_close(&journal);
	free(file);
	free(path);
}

/* A control file that is ours says whose the message file is, whatever is in it; and what agents have noted holds. */
static void a_whole_control_file_stays_and_its_message_is_made_anew(void **state)
{
	(void)state;
	for (int what = 0; what < 3; what++) {
		char *r;
		int fd;

		accept_and_die(false, false);
		fd = open(accepted[1].queue, O_WRONLY | O_TRUNC);
		if (what == 1)
			assert_int_equal(write(fd, "what was in these blocks before", 31), 31);
		close(fd);
		if (what == 2)
			assert_int_equal(unlink(accepted[1].queue), 0);
		r = strstr(buf_str(&accepted[1].control), "\nr ");
		assert_non_null(r);
		r[2] = '+';
		fd = open(accepted[1].transport, O_WRONLY);
		assert_int_equal(pwrite(fd, "+", 1, r + 2 - accepted[1].control.data), 1);
		close(fd);
		assert_int_equal(restore(""), 1);
		all_are_there_and_the_journal_is_gone();
	}
}

/* A round may have several entries: when one of them cannot be written, no later one begins the file anew and is all there is. */
static void when_one_entry_cannot_be_written_none_of_its_round_counts(void **state)
{
	enum { SIZE = 200 * 1024, TOGETHER = 6 };
	struct spool_journal *journal = open_journal();
	char *file = path_of(".", "large");
	int fd = open(file, O_RDWR | O_CREAT, 0600);
	struct rlimit before;
	size_t found = 0;
	bool damaged = false;
	struct spool_journal_message m = {
		.job = "A/26", .id = "S26", .message = fd, .message_size = SIZE, .control = fd, .control_size = 10,
	};

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ SIZE, before.rlim_max }), 0);
	for (size_t i = 0; i < TOGETHER; i++)
		assert_true(spool_journal_add(journal, &m) > 0);
	/* a small one would have room */
	m.message_size = 10;
	(void)spool_journal_add(journal, &m);
	assert_false(spool_journal_write(journal));
	/* but the next round begins anew */
	assert_true(spool_journal_add(journal, &m) > 0);
	assert_true(spool_journal_write(journal));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	spool_journal_close(&journal);
	journal = open_journal();
	assert_true(spool_journal_read(journal, count, &found, &damaged));
	assert_int_equal(found, 1);
	assert_false(damaged);
	spool_journal_close(&journal);
	close(fd);
	free(file);
}

/* The thread that settles waits for the same file, and may hear first that an entry could not be written. */
static void an_error_that_the_thread_that_settles_hears_of_is_told_to_both(void **state)
{
	struct spool_draft *drafts[COUNT];
	struct spool_journal *journal = open_journal();

	(void)state;
	prepare(drafts, &plain);
	assert_true(spool_record(drafts, 1, journal));
	assert_true(spool_record(drafts + 1, 1, journal));
	disk_errors++;
	assert_false(spool_commit_step(drafts, 1, journal));
	assert_true(spool_is_done(drafts[0]));
	assert_false(spool_record(drafts + 2, 1, journal));
	assert_false(spool_is_recorded(drafts[2]));
	/* what it could not note is noted later, and then the journal is used again */
	assert_true(spool_commit_step(drafts + 1, 2, journal));
	assert_true(spool_commit_step(drafts + 2, 1, journal));
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(spool_status(drafts[i]), EX_OK);
		assert_true(spool_is_done(drafts[i]));
		spool_free(&drafts[i]);
	}
	prepare(drafts, &plain);
	assert_true(spool_record(drafts, COUNT, journal));
	assert_true(spool_is_recorded(drafts[0]));
	for (size_t i = 0; i < COUNT; i++)
		spool_free(&drafts[i]);
	spool_journal_close(&journal);
}

/* ext4 became read-only while it was about to write names, and dropped them: the sync of all succeeds, that of the directory does not. */
static void names_that_a_file_system_drops_are_not_accepted(void **state)
{
	struct spool_draft *drafts[COUNT];

	(void)state;
	prepare(drafts, &plain);
	assert_true(spool_commit_step(drafts, COUNT, NULL));
	file_errors = 1;
	assert_true(spool_commit_step(drafts, COUNT, NULL));
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(spool_status(drafts[i]), EX_IOERR);
		spool_free(&drafts[i]);
	}
}

/* The only message that is to be noted; nothing else gives a reason to note it once more. */
static void what_could_not_be_noted_is_noted_with_what_comes_next(void **state)
{
	struct spool_draft *drafts[COUNT];
	struct spool_journal *journal = open_journal();

	(void)state;
	prepare(drafts, &plain);
	assert_true(spool_record(drafts, 1, journal));
	disk_errors++;
	assert_false(spool_record(drafts + 1, 1, journal));
	assert_false(spool_commit_step(drafts, 2, journal));
	assert_true(spool_commit_step(drafts + 1, 1, journal));
	assert_true(spool_record(drafts + 2, 1, journal));
	assert_true(spool_is_recorded(drafts[2]));
	for (size_t i = 0; i < COUNT; i++)
		spool_free(&drafts[i]);
	spool_journal_close(&journal);
}

/* What is restored has names that are the numbers of inodes that are free: new mail gets other names. */
static void mail_is_accepted_where_many_numbers_in_a_row_are_taken(void **state)
{
	enum { MANY = 50 };
	struct spool_draft *drafts[COUNT];
	struct stat st[MANY];
	char *path;
	int fd;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		path = xasprintf("%s/public/%d", spool.postoffice, i);
		fd = creat(path, 0600);
		assert_int_equal(fstat(fd, &st[i]), 0);
		close(fd);
		free(path);
	}
	for (int i = 0; i < MANY; i++) {
		path = xasprintf("%s/public/%d", spool.postoffice, i);
		assert_int_equal(unlink(path), 0);
		free(path);
		path = xasprintf("%s/queue/%c", spool.postoffice, (int)('A' + st[i].st_ino % 26));
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		free(path);
		path = xasprintf("%s/queue/%c/%ju", spool.postoffice, (int)('A' + st[i].st_ino % 26), (uintmax_t)st[i].st_ino);
		assert_int_equal(symlink("taken", path), 0);
		free(path);
	}
	prepare(drafts, &plain);
	spool_commit(drafts, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		char *line = xasprintf("\ni %s\n", spool_job(drafts[i]) + 2);
		struct buf control = { 0 };

		assert_int_equal(spool_status(drafts[i]), EX_OK);
		path = path_of("transport", spool_job(drafts[i]));
		assert_true(file_read_path(path, &control));
		assert_non_null(strstr(buf_str(&control), line));
		buf_free(&control);
		free(path);
		free(line);
		spool_free(&drafts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_there_is_left_alone, begin, end),
		cmocka_unit_test_setup_teardown(files_that_a_power_cut_damaged_are_made_anew, begin, end),
		cmocka_unit_test_setup_teardown(what_agents_have_written_is_left_alone, begin, end),
		cmocka_unit_test_setup_teardown(what_was_rerouted_is_left_alone, begin, end),
		cmocka_unit_test_setup_teardown(a_message_whose_number_other_mail_has_gets_another, begin, end),
		cmocka_unit_test_setup_teardown(what_is_settled_and_not_there_was_delivered, begin, end),
		cmocka_unit_test_setup_teardown(what_was_noted_as_removed_was_delivered, begin, end),
		cmocka_unit_test_setup_teardown(what_is_settled_leaves_no_journal, begin, end),
		cmocka_unit_test_setup_teardown(an_entry_that_was_cut_short_was_not_accepted, begin, end),
		cmocka_unit_test_setup_teardown(an_entry_that_is_damaged_is_told_and_costs_no_other, begin, end),
		cmocka_unit_test_setup_teardown(something_else_in_its_place_promises_nothing, begin, end),
		cmocka_unit_test_setup_teardown(what_cannot_be_synced_stays_in_the_journal, begin, end),
		cmocka_unit_test_setup_teardown(what_was_refused_does_not_come_back, begin, end),
		cmocka_unit_test_setup_teardown(what_another_intake_has_left_is_not_written_over, begin, end),
		cmocka_unit_test_setup_teardown(a_text_that_looks_like_an_entry_is_none, begin, end),
		cmocka_unit_test_setup_teardown(a_journal_without_marks_is_told, begin, end),
		cmocka_unit_test_setup_teardown(of_entries_that_were_written_together_any_may_be_missing, begin, end),
		cmocka_unit_test_setup_teardown(a_whole_control_file_stays_and_its_message_is_made_anew, begin, end),
		cmocka_unit_test_setup_teardown(mail_is_accepted_where_many_numbers_in_a_row_are_taken, begin, end),
		cmocka_unit_test_setup_teardown(what_is_no_journal_becomes_one, begin, end),
		cmocka_unit_test_setup_teardown(room_comes_back_when_entries_are_settled, begin, end),
		cmocka_unit_test_setup_teardown(a_journal_that_cannot_be_written_is_used_again_later, begin, end),
		cmocka_unit_test_setup_teardown(an_error_that_the_thread_that_settles_hears_of_is_told_to_both, begin, end),
		cmocka_unit_test_setup_teardown(names_that_a_file_system_drops_are_not_accepted, begin, end),
		cmocka_unit_test_setup_teardown(what_could_not_be_noted_is_noted_with_what_comes_next, begin, end),
		cmocka_unit_test_setup_teardown(when_one_entry_cannot_be_written_none_of_its_round_counts, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
