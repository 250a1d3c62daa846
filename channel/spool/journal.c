#include "channel/spool/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/hash.h"
#include "lib/publish.h"
#include "lib/text.h"
#include "lib/wait.h"

/* Two pages say in turn what is settled, so that one of them is whole; the halves follow. */
#define PAGE ((size_t)4096)
#define HALF ((size_t)16 * 1024 * 1024)
#define START(half) (2 * PAGE + (half) * HALF)
#define LARGEST (START(2))

/* Bytes of an entry, from which on the next one is begun, and what the last message can add. */
#define ENTRY_ENOUGH ((size_t)1024 * 1024)
#define ENTRY_MAX (ENTRY_ENOUGH + 2 * SPOOL_JOURNAL_MESSAGE_MAX + 2 * PAGE)

/* The file grows by so many bytes of zeros, as a wait for the disk takes less where a file has its blocks already. */
#define GROWTH ((size_t)1024 * 1024)

/* Milliseconds between two tries while another process puts back what is in the journal. */
#define PAUSE 20

/*
 * The bytes that are locked: by the process that has the journal, and besides while what it had before may not be in the queue
 * yet.
 */
enum { LOCK_WHOLE, LOCK_RESTORES };

struct mark {
	char magic[8];
	uint64_t key;
	uint64_t settled;
	uint64_t hash;             /* of the fields above */
};

struct entry {
	char magic[8];
	uint64_t number;
	uint64_t settled;          /* when it was written: at least that */
	uint64_t synced;           /* up to which entry all were on the disk by then */
	uint64_t bytes;            /* all of it, with this head */
	uint64_t count;            /* messages */
	uint64_t hash;             /* of the key, the fields above, and what follows */
};

/* Of a message, followed by its name and its id, each with a NUL, and the bytes of both files. */
struct item {
	uint64_t job, id;          /* lengths, with the NUL */
	uint64_t message, control;
};

static const char mark_magic[8] = "zlmtp M1", entry_magic[8] = "zlmtp E1";

struct spool_journal {
	const struct spool *spool;
	char *path;
	int fd;
	/*
	 * Opened once more, for the thread that settles: the system tells an error of the disk once for each time that the file
	 * was opened, so that thread would hear of an entry that could not be written, and the one that waits for it would not.
	 * The lock ends when either is closed.
	 */
	int settles;
	/*
	 * What senders do not know, so that no text of theirs, when the entry around it is written over in part, is ever an
	 * entry.
	 */
	uint64_t key;
	uint64_t last;             /* entry */
	uint64_t safe;             /* the last entry that is on the disk */
	_Atomic uint64_t settled;
	unsigned mark;             /* the page of the next mark */
	size_t at;                 /* where the next entry goes */
	unsigned half;
	uint64_t last_of[2];       /* entry of each half */
	size_t grown;              /* so long is the file */
	struct buf entry;          /* what is added, and not yet written */
	size_t count;              /* messages in it */
	bool written;              /* something waits for the disk */
	bool failed;
	uint64_t wanted;           /* to be settled; of the thread that settles */
	bool keeps;                /* an entry stays for good: nothing is settled any more */
	bool restores;             /* what was found may not be in the queue yet */
	bool damaged;              /* there are entries, and no mark */
	struct buf found;          /* all of it, as it was opened */
};

/* ---- open and close ---- */

static bool lock(int fd, int what, int count, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = what, .l_len = count };

	/* a lock of this process alone, as children that were started may live longer */
	return fcntl(fd, F_SETLK, &l) == 0;
}

static bool is_locked(int fd, int what)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = what, .l_len = 1 };

	return fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

static uint64_t hash_of_mark(const struct mark *m)
{
	return hash_bytes(HASH_START, m, offsetof(struct mark, hash));
}

static uint64_t hash_of_entry(uint64_t key, const char *bytes, size_t size)
{
	uint64_t hash = hash_bytes(HASH_START, &key, sizeof key);

	hash = hash_bytes(hash, bytes, offsetof(struct entry, hash));
	return hash_bytes(hash, bytes + sizeof(struct entry), size - sizeof(struct entry));
}

/* The entry at this place of what was found. */
static bool entry_at(const struct spool_journal *j, size_t at, struct entry *e)
{
	if (at + sizeof *e > j->found.len)
		return false;
	memcpy(e, j->found.data + at, sizeof *e);
	return memcmp(e->magic, entry_magic, sizeof e->magic) == 0 && e->bytes >= sizeof *e && e->bytes <= ENTRY_MAX &&
	       e->bytes <= j->found.len - at && hash_of_entry(j->key, j->found.data + at, e->bytes) == e->hash;
}

static size_t pages(size_t bytes)
{
	return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* What is settled is the highest number that is said. */
static void find_numbers(struct spool_journal *j)
{
	uint64_t settled = 0;
	bool marked = false;
	struct entry e = { .number = 0 };

	for (size_t page = 0; page < 2 && (page + 1) * PAGE <= j->found.len; page++) {
		struct mark m;

		memcpy(&m, j->found.data + page * PAGE, sizeof m);
		if (memcmp(m.magic, mark_magic, sizeof m.magic) == 0 && hash_of_mark(&m) == m.hash &&
		    (!marked || m.settled > settled)) {
			marked = true;
			j->key = m.key;
			settled = m.settled;
			j->mark = page == 0;
		}
	}
	for (size_t at = START(0); at < j->found.len; at += PAGE) {
		if (!entry_at(j, at, &e)) {
			/* marks are on the disk before the first entry */
			j->damaged = j->damaged || (!marked && memcmp(e.magic, entry_magic, sizeof e.magic) == 0);
			continue;
		}
		if (e.settled > settled)
			settled = e.settled;
		if (e.number > j->last)
			j->last = e.number;
		at += pages(e.bytes) - PAGE;
	}
	if (settled > j->last)
		j->last = settled;
	j->safe = j->last;
	j->settled = settled;
	/* what is no journal becomes one before it is used */
	j->failed = !marked;
}

static int open_file(const struct spool_journal *j, bool make)
{
	int fd;

	file_as_user(j->spool->uid, j->spool->gid);
	fd = file_open_own(j->path, O_RDWR | (make ? O_CREAT : 0), 0600);
	file_as_oneself();
	return fd;
}

static void close_files(struct spool_journal *j)
{
	if (j->fd >= 0)
		close(j->fd);
	if (j->settles >= 0)
		close(j->settles);
	j->fd = j->settles = -1;
}

static bool open_again(struct spool_journal *j)
{
	struct stat one, other;
	int error;

	j->settles = open_file(j, false);
	if (j->settles >= 0 && fstat(j->fd, &one) == 0 && fstat(j->settles, &other) == 0 && file_is_same(&one, &other))
		return true;
	error = j->settles < 0 ? errno : ENOENT;
	close_files(j);
	errno = error;
	return false;
}

/* Opens and locks it; false with errno, EBUSY, and EINTR if we are to end at the start already, while another process restores. */
static bool open_locked(struct spool_journal *j, bool make)
{
	for (;;) {
		int fd = open_file(j, make);

		if (fd < 0)
			return false;
		/* both at once, so that no process sees a journal that is neither restored nor being restored */
		if (!lock(fd, LOCK_WHOLE, 2, F_WRLCK)) {
			bool works = !is_locked(fd, LOCK_RESTORES) && is_locked(fd, LOCK_WHOLE);

			close(fd);
			if (works) {
				errno = EBUSY;
				return false;
			}
			if (!make && wait_is_told_to_end()) {
				errno = EINTR;
				return false;
			}
			poll(NULL, 0, PAUSE);
		} else if (!file_is_named(fd, j->path)) {
			/* the process that had it before has removed it */
			close(fd);
		} else {
			j->fd = fd;
			return open_again(j);
		}
	}
}

char *spool_journal_in(const char *postoffice)
{
	return xasprintf("%s/.journal.intake", postoffice);
}

bool spool_journal_is_left(const char *postoffice)
{
	char *path = spool_journal_in(postoffice);
	struct stat st;
	int fd = file_open_found(path, &st);
	bool left = fd >= 0 && !is_locked(fd, LOCK_WHOLE);

	if (fd >= 0)
		close(fd);
	free(path);
	return left;
}

static void free_journal(struct spool_journal *j)
{
	close_files(j);
	buf_free(&j->entry);
	buf_free(&j->found);
	free(j->path);
	free(j);
}

struct spool_journal *spool_journal_open(const struct spool *spool, bool stay, bool *unread, struct buf *why)
{
	struct spool_journal *j = xcalloc(1, sizeof *j);
	struct stat st;

	*unread = false;
	j->spool = spool;
	j->path = spool_journal_in(spool->postoffice);
	j->at = START(0);
	j->found.limit = LARGEST;
	j->fd = j->settles = -1;
	if (!open_locked(j, false) && (errno == ENOENT || errno == EBUSY)) {
		/* there is nothing to be put back, or the process that has it does that */
		if (stay)
			return j;
	} else if (j->fd < 0 && errno == EINTR) {
		*unread = true;
	} else if (j->fd < 0 || fstat(j->fd, &st) < 0 || !file_read(j->fd, &j->found)) {
		/* what no intake has written there promises nothing */
		*unread = errno != EINVAL && errno != EISDIR && errno != EFBIG && errno != ENXIO;
		text_add_clean_string(why, j->path, 500);
		buf_addf(why, ": %s", file_error(errno));
	} else {
		j->restores = true;
		j->grown = (size_t)st.st_size;
		find_numbers(j);
		return j;
	}
	free_journal(j);
	return NULL;
}

/* With its lock. */
static void remove_file(const struct spool_journal *j)
{
	int saved = errno;

	file_as_user(j->spool->uid, j->spool->gid);
	if (file_is_named(j->fd, j->path))
		unlink(j->path);
	file_as_oneself();
	errno = saved;
}

void spool_journal_close(struct spool_journal **journal)
{
	struct spool_journal *j = *journal;

	if (j == NULL)
		return;
	/* what could not be written is not promised */
	if (j->fd >= 0 && j->settled >= j->safe && !j->keeps)
		remove_file(j);
	free_journal(j);
	*journal = NULL;
}

const char *spool_journal_path(const struct spool_journal *j)
{
	return j->path;
}

uint64_t spool_journal_last(const struct spool_journal *j)
{
	return j->last;
}

/* ---- adding ---- */

static bool write_at(const struct spool_journal *j, const void *bytes, size_t n, size_t at)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t done = pwrite(j->fd, p, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		p += done;
		at += (size_t)done;
		n -= (size_t)done;
	}
	return true;
}

/* A place for the largest entry, where nothing is that is not settled. */
static bool find_place(struct spool_journal *j)
{
	if (j->settled >= j->last) {
		j->half = 0;
		j->at = START(0);
		j->last_of[0] = j->last_of[1] = 0;
	} else if (j->at + ENTRY_MAX > START(j->half + 1)) {
		if (j->last_of[!j->half] > j->settled)
			return false;
		j->half = !j->half;
		j->at = START(j->half);
	}
	return true;
}

static bool write_mark(const struct spool_journal *j, unsigned page, uint64_t settled)
{
	struct mark m = { .key = j->key, .settled = settled };

	memcpy(m.magic, mark_magic, sizeof m.magic);
	m.hash = hash_of_mark(&m);
	return write_at(j, &m, sizeof m, page * PAGE);
}

/* An empty file becomes a journal: both marks are on the disk before the first entry. */
static bool begin_file(struct spool_journal *j)
{
	if (j->key == 0 && getrandom(&j->key, sizeof j->key, 0) != (ssize_t)sizeof j->key)
		return false;
	return write_mark(j, 0, j->settled) && write_mark(j, 1, j->settled) && fdatasync(j->fd) == 0;
}

/* One that another intake has left meanwhile may have what is not in the queue yet: it is not ours. */
static bool make_file(struct spool_journal *j)
{
	struct stat st;

	if (!open_locked(j, true))
		return false;
	if (fstat(j->fd, &st) == 0 && st.st_size > 0) {
		errno = EBUSY;
	} else if (begin_file(j) && file_sync_directory(AT_FDCWD, j->path)) {
		lock(j->fd, LOCK_RESTORES, 1, F_UNLCK);
		return true;
	} else {
		/* the next time is as this one */
		remove_file(j);
	}
	close_files(j);
	return false;
}

/* It is made for the first message; and after an error once more, when nothing in it is needed any more. */
static bool is_usable(struct spool_journal *j)
{
	if (j->fd < 0)
		return make_file(j);
	/* what was added in this round stands in the file that would begin anew */
	if (j->failed && !j->written && j->settled >= j->safe && ftruncate(j->fd, 0) == 0) {
		j->grown = 0;
		j->settled = j->safe = j->last;
		j->failed = !begin_file(j);
	}
	return !j->failed;
}

static void grow(struct spool_journal *j, size_t end)
{
	static const char zeros[GROWTH];
	size_t wanted = (end + GROWTH - 1) / GROWTH * GROWTH;
	size_t from = end > j->grown ? end : j->grown;

	if (wanted > LARGEST)
		wanted = LARGEST;
	/* where it cannot grow, the entry itself will say so */
	if (wanted > j->grown && write_at(j, zeros, wanted - from, from))
		j->grown = wanted;
}

static void write_entry(struct spool_journal *j)
{
	struct entry e = {
		.number = j->last, .settled = j->settled, .synced = j->safe, .bytes = j->entry.len, .count = j->count,
	};
	size_t size = pages(j->entry.len);

	memcpy(e.magic, entry_magic, sizeof e.magic);
	memcpy(j->entry.data, &e, sizeof e);
	e.hash = hash_of_entry(j->key, j->entry.data, j->entry.len);
	memcpy(j->entry.data, &e, sizeof e);
	/* to the end of the page, so that no page has parts of two entries */
	memset(buf_reserve(&j->entry, size - j->entry.len), 0, size - j->entry.len);
	if (!write_at(j, j->entry.data, size, j->at))
		j->failed = true;
	grow(j, j->at + size);
	j->at += size;
	j->last_of[j->half] = j->last;
	j->written = true;
	buf_clear(&j->entry);
	j->count = 0;
}

static bool add_file(struct buf *out, int fd, size_t size)
{
	char *to = buf_reserve(out, size);
	size_t have = 0;

	while (have < size) {
		ssize_t n = pread(fd, to + have, size - have, (off_t)have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	out->len += size;
	return true;
}

uint64_t spool_journal_add(struct spool_journal *j, const struct spool_journal_message *m)
{
	struct item item = { .job = strlen(m->job) + 1, .id = strlen(m->id) + 1, .message = m->message_size,
	                     .control = m->control_size };
	bool begins = j->entry.len == 0;
	size_t before;

	if (m->message_size > SPOOL_JOURNAL_MESSAGE_MAX || m->control_size > SPOOL_JOURNAL_MESSAGE_MAX ||
	    item.job + item.id > PAGE)
		return 0;
	if (begins && (!is_usable(j) || !find_place(j)))
		return 0;
	if (begins) {
		memset(buf_reserve(&j->entry, sizeof(struct entry)), 0, sizeof(struct entry));
		j->entry.len = sizeof(struct entry);
		j->last++;
	}
	before = j->entry.len;
	buf_add(&j->entry, &item, sizeof item);
	buf_add(&j->entry, m->job, item.job);
	buf_add(&j->entry, m->id, item.id);
	if (!add_file(&j->entry, m->message, m->message_size) || !add_file(&j->entry, m->control, m->control_size)) {
		j->entry.len = before;
		if (begins) {
			buf_clear(&j->entry);
			j->last--;
		}
		return 0;
	}
	j->count++;
	if (j->entry.len >= ENTRY_ENOUGH) {
		uint64_t number = j->last;

		write_entry(j);
		return number;
	}
	return j->last;
}

bool spool_journal_write(struct spool_journal *j)
{
	if (j->entry.len > 0)
		write_entry(j);
	if (j->written && !j->failed && !file_is_named(j->fd, j->path)) {
		/* another program has removed it: after a kill it would not be found */
		j->failed = true;
		errno = ENOENT;
	} else if (j->written && !j->failed && fdatasync(j->fd) < 0) {
		j->failed = true;
	}
	j->written = false;
	if (!j->failed)
		j->safe = j->last;
	return !j->failed;
}

/* ---- what is settled ---- */

bool spool_journal_settle(struct spool_journal *j, uint64_t entry)
{
	if (entry > j->wanted)
		j->wanted = entry;
	if (j->keeps || (j->wanted <= j->settled && !j->restores))
		return true;
	if (!write_mark(j, j->mark, j->wanted) || fdatasync(j->settles) < 0)
		return false;
	j->mark = !j->mark;
	j->settled = j->wanted;
	/* from the first time on the queue has what was found */
	if (j->restores)
		lock(j->fd, LOCK_RESTORES, 1, F_UNLCK);
	j->restores = false;
	return true;
}

void spool_journal_keep(struct spool_journal *j)
{
	j->keeps = true;
}

/* ---- reading ---- */

/* "Y/K/" in front of a number. */
static bool is_job(const char *s)
{
	while (s[0] >= 'A' && s[0] <= 'Z' && s[1] == '/')
		s += 2;
	return *s != '\0' && strspn(s, "0123456789") == strlen(s);
}

/* The next message of an entry, from *at on; false if it has none that is well-formed. */
static bool next_message(const char **at, const char *end, struct spool_journal_message *m)
{
	struct item item;
	const char *p = *at;
	uint64_t left = (uint64_t)(end - p);

	if (left < sizeof item)
		return false;
	memcpy(&item, p, sizeof item);
	p += sizeof item;
	left -= sizeof item;
	if (item.job == 0 || item.job > PAGE || item.id == 0 || item.id > PAGE || item.message > SPOOL_JOURNAL_MESSAGE_MAX ||
	    item.control > SPOOL_JOURNAL_MESSAGE_MAX || item.job + item.id + item.message + item.control > left)
		return false;
	*m = (struct spool_journal_message){
		.job = p, .id = p + item.job, .message = -1, .control = -1,
		.message_bytes = p + item.job + item.id, .message_size = item.message,
		.control_bytes = p + item.job + item.id + item.message, .control_size = item.control,
	};
	*at = m->control_bytes + m->control_size;
	return memchr(m->job, '\0', item.job) == m->id - 1 && memchr(m->id, '\0', item.id) == m->message_bytes - 1 &&
	       is_job(m->job);
}

struct found {
	uint64_t number;
	size_t at;
};

static int by_number(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

bool spool_journal_read(struct spool_journal *j, bool (*take)(void *context, const struct spool_journal_message *message),
                        void *context, bool *damaged)
{
	struct found *list = NULL;
	size_t count = 0, capacity = 0;
	uint64_t expected = j->settled + 1, synced = 0;
	bool ok = true;
	struct entry e;

	*damaged = j->damaged;
	for (size_t at = START(0); at < j->found.len; at += PAGE) {
		if (!entry_at(j, at, &e))
			continue;
		if (e.number > j->settled) {
			list = xgrow(list, count, &capacity, sizeof *list);
			list[count++] = (struct found){ .number = e.number, .at = at };
			if (e.synced > synced)
				synced = e.synced;
		}
		at += pages(e.bytes) - PAGE;
	}
	if (count > 0)
		qsort(list, count, sizeof *list, by_number);
	for (size_t i = 0; ok && i < count; i++) {
		const char *at = j->found.data + list[i].at + sizeof e, *end;
		struct spool_journal_message m;

		entry_at(j, list[i].at, &e);
		end = j->found.data + list[i].at + e.bytes;
		/* of those that were written together any may be missing */
		*damaged = *damaged || (list[i].number != expected && expected <= synced);
		expected = list[i].number + 1;
		for (uint64_t n = 0; ok && n < e.count; n++) {
			if (!next_message(&at, end, &m)) {
				*damaged = true;
				break;
			}
			ok = take(context, &m);
		}
	}
	free(list);
	buf_free(&j->found);
	return ok;
}

void spool_journal_set_aside(struct spool_journal **journal, struct buf *why)
{
	struct spool_journal *j = *journal;
	char *kept;

	text_add_clean_string(why, j->path, 500);
	buf_adds(why, ": an entry is damaged, and messages that were accepted may be lost");
	file_as_user(j->spool->uid, j->spool->gid);
	kept = publish_set_aside(j->path, false);
	j->keeps = kept == NULL;
	if (kept != NULL) {
		buf_adds(why, "; it is kept as ");
		text_add_clean_string(why, kept, 500);
	}
	file_as_oneself();
	free(kept);
	spool_journal_close(journal);
}
