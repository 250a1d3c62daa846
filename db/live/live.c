#include "db/live/live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "db/map/map.h"
#include "db/store/bdb.h"
#include "db/store/stamp.h"
#include "lib/file.h"
#include "lib/text.h"

const struct live_operations *live_mode(const char *type, const char *config)
{
	if (ascii_equal(type, "btree") || ascii_equal(type, "bhash"))
		return config != NULL ? &live_environment : &live_generations;
#if HAVE_LMDB
	if (ascii_equal(type, "lmdb"))
		return &live_lmdb;
#endif
	return NULL;
}

void live_tell(const struct live_teller *teller, const char *format, ...)
{
	struct buf text = { 0 };
	va_list ap;

	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	teller->tell(teller->context, buf_str(&text));
	buf_free(&text);
}

int live_fail(const struct live *live, int status, struct buf *why, const char *format, ...)
{
	va_list ap;

	buf_addf(why, "%s: ", live->path);
	va_start(ap, format);
	buf_vaddf(why, format, ap);
	va_end(ap);
	return status;
}

int live_fail_healable(const struct live *live, int status, struct buf *why, const char *format, ...)
{
	va_list ap;

	buf_addf(why, "%s: ", live->path);
	va_start(ap, format);
	buf_vaddf(why, format, ap);
	va_end(ap);
	buf_adds(why, "; run ");
	live_add_recovery(live, "", why);
	return status;
}

void live_add_recovery(const struct live *live, const char *option, struct buf *out)
{
	const char *suffix = strrchr(live->path, '.');

	buf_addf(out, "\"dbupdate %s", option);
	if (live->config != NULL)
		buf_addf(out, "-C %s ", live->config);
	buf_addf(out, "-t %s %.*s recover\"", live->type, (int)(suffix - live->path), live->path);
}

struct live_file live_file_of(const struct stat *st)
{
	return (struct live_file){ .inode = st->st_ino, .size = st->st_size, .when = st->st_mtim, .changed = st->st_ctim };
}

bool live_file_is_same(const struct live_file *a, const struct live_file *b)
{
	return a->inode == b->inode && a->size == b->size && file_is_same_time(&a->when, &b->when) &&
	       file_is_same_time(&a->changed, &b->changed);
}

struct live_file live_file_written(int fd)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct stat st;

	clock_gettime(CLOCK_REALTIME, &times[1]);
	futimens(fd, times);
	return fstat(fd, &st) == 0 ? live_file_of(&st) : (struct live_file){ 0 };
}

void live_progress(const struct live *live)
{
	if (live->progress != NULL)
		live->progress(live->progress_context);
}

int live_check_file(const struct live *live, struct buf *why)
{
	int fd = file_open_regular(live->path, O_RDONLY);

	if (fd < 0 && errno != ENOENT)
		return live_fail(live, EX_NOPERM, why, "%s", file_error(errno));
	if (fd >= 0)
		close(fd);
	return EX_OK;
}

int live_is_current(const struct live *live, int fd, struct buf *why)
{
	struct stat named, opened;

	if (stat(live->path, &named) == 0 && fstat(fd, &opened) == 0 && file_is_same(&named, &opened))
		return EX_OK;
	return live_fail(live, EX_TEMPFAIL, why, "another file has taken its place");
}

int live_prove(const struct live *live, struct buf *why)
{
	struct buf said = { 0 };
	enum store_proof proof = bdb_verify_file(live->path, live->config != NULL, &said);
	int status = EX_OK;

	live_progress(live);
	/* an environment may be brought back from the journal */
	if (proof == STORE_DAMAGED)
		status = live_fail_healable(live, live->config != NULL ? EX_TEMPFAIL : EX_DATAERR, why, "%s", buf_str(&said));
	else if (proof == STORE_COULD_NOT_TELL)
		status = live_fail(live, EX_TEMPFAIL, why, "%s", buf_str(&said));
	buf_free(&said);
	return status;
}

bool live_is_stamp(const struct change *record)
{
	return change_compare(record->key, record->key_length, stamp_key, STAMP_KEY_LENGTH - 1) == 0;
}

int live_why_not_written(int fd, int code)
{
	struct stat st;

	if (code == EIO && fstat(fd, &st) == 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, st.st_size, 1 << 20) < 0 &&
	    errno == ENOSPC)
		return ENOSPC;
	return code;
}
