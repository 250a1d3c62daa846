#include <byteswap.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/store/bdb.h"
#include "db/store/stamp.h"
#include "lib/alloc.h"
#include "lib/file.h"

bool bdb_is_damage(int code)
{
	switch (code) {
	case DB_LOCK_DEADLOCK:
	case DB_LOCK_NOTGRANTED:
	case DB_TIMEOUT:
		return false;
	case EINVAL:
		return true;
	default:
		/* the others of the system: no memory, no right, a disk that cannot be read */
		return code < 0;
	}
}

static void say_nothing(const DB_ENV *env, const char *prefix, const char *message)
{
	(void)env;
	(void)prefix;
	(void)message;
}

int bdb_create(DB **db)
{
	int code = db_create(db, NULL, 0);

	if (code == 0)
		(*db)->set_errcall(*db, say_nothing);
	return code;
}

static int new_handle(DB **db)
{
	int code = bdb_create(db);

	return code == 0 ? (*db)->set_cachesize(*db, 0, 4u << 20, 1) : code;
}

static bool go_on(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	(void)context, (void)key, (void)key_length, (void)value, (void)value_length;
	return true;
}

/* There are damages that verify() does not see and reading does not survive. */
static int read_all(const char *path)
{
	DBC *cursor;
	DB *db;
	int code = new_handle(&db);

	if (code == 0)
		code = db->open(db, NULL, path, NULL, DB_UNKNOWN, DB_RDONLY | DB_NOMMAP, 0);
	if (code == 0)
		code = db->cursor(db, NULL, &cursor, DB_CURSOR_BULK);
	if (code == 0)
		code = bdb_walk(cursor, go_on, NULL);
	return code == DB_NOTFOUND ? 0 : code;
}

/*
 * Where there is no seal, or one that does not count: a program in an environment changes the map, not the seal.  Ours break
 * the stamp first.  0 if it was broken, or if there is none; DB_VERIFY_BAD if the file promises by its stamp to be as it was
 * built.
 */
static int ask_stamp(const char *path)
{
	DBT key = { .data = (void *)(uintptr_t)stamp_key, .size = STAMP_KEY_LENGTH }, value = { 0 };
	DB *db;
	int code = new_handle(&db);

	if (code == 0)
		code = db->open(db, NULL, path, NULL, DB_UNKNOWN, DB_RDONLY | DB_NOMMAP, 0);
	if (code == 0)
		code = db->get(db, NULL, &key, &value, 0);
	if (code != 0)
		return code == DB_NOTFOUND ? 0 : code;
	return stamp_is_broken(value.data, value.size) ? 0 : DB_VERIFY_BAD;
}

/*
 * libdb is not sound where memory is short: it may crash, which would count as damage.  So the child ends, and nothing is
 * known.
 */
static void *get_memory(size_t n)
{
	void *memory = malloc(n);

	if (memory == NULL && n > 0)
		_exit(STORE_CANNOT_LOOK);
	return memory;
}

static void *get_more_memory(void *old, size_t n)
{
	void *memory = realloc(old, n);

	if (memory == NULL && n > 0)
		_exit(STORE_CANNOT_LOOK);
	return memory;
}

/* In a child, which leaves its handles to exit(). */
static int verify(void *context, struct buf *out)
{
	const char *path = context;
	DB *db;
	int code;

	db_env_set_func_malloc(get_memory);
	db_env_set_func_realloc(get_more_memory);
	code = new_handle(&db);
	/* verify() takes the handle with it, whatever it finds */
	if (code == 0)
		code = db->verify(db, path, NULL, NULL, 0);
	if (code == 0)
		code = read_all(path);
	if (code == 0 && (code = ask_stamp(path)) == DB_VERIFY_BAD) {
		buf_adds(out, "it is not as it was made");
		return STORE_LOOKS_DAMAGED;
	}
	if (code == 0)
		return STORE_LOOKS_SOUND;
	buf_adds(out, db_strerror(code));
	return bdb_is_damage(code) ? STORE_LOOKS_DAMAGED : STORE_CANNOT_LOOK;
}

/* The very file that was opened, even if the name has gone to another one meanwhile. */
static enum store_proof look_through(int fd, struct buf *why)
{
	char *path = xasprintf("/proc/self/fd/%d", fd);
	struct stat st = { 0 };
	enum store_proof proof;

	fstat(fd, &st);
	proof = store_look(verify, path, st.st_size, why);
	free(path);
	return proof;
}

/* The head of the first page, as far as btree and hash have it in common; in the byte order of the machine that made it. */
struct head {
	uint32_t log[2], page, magic, version, page_size, other[2], last_page;
};

/* STORE_SOUND if the file may be one of libdb, as far as its head and its size show. */
static enum store_proof look_at_head(int fd, struct buf *why)
{
	struct stat st;
	struct head head;
	ssize_t n = fstat(fd, &st) < 0 ? -1 : pread(fd, &head, sizeof head, 0);

	if (n < 0) {
		buf_adds(why, strerror(errno));
		return STORE_COULD_NOT_TELL;
	}
	if (n == (ssize_t)sizeof head && (head.magic == bswap_32(DB_BTREEMAGIC) || head.magic == bswap_32(DB_HASHMAGIC)))
		head = (struct head){ .magic = bswap_32(head.magic), .page_size = bswap_32(head.page_size),
		                      .last_page = bswap_32(head.last_page) };
	if (n == (ssize_t)sizeof head && (head.magic == DB_BTREEMAGIC || head.magic == DB_HASHMAGIC) &&
	    store_is_plausible(st.st_size, ((uint64_t)head.last_page + 1) * head.page_size))
		return STORE_SOUND;
	buf_adds(why, "damaged, or no map of Berkeley DB");
	return STORE_DAMAGED;
}

enum store_proof bdb_verify(int fd, bool in_environment, struct buf *why)
{
	enum store_proof proof = look_at_head(fd, why);

	if (proof != STORE_SOUND)
		return proof;
	switch (stamp_check(fd)) {
	case STAMP_GOOD:
		return STORE_SOUND;
	case STAMP_NONE:
		return look_through(fd, why);
	case STAMP_BAD:
		if (in_environment)
			return look_through(fd, why);
		buf_adds(why, "is not as it was made: damaged, or changed in place by another program");
		return STORE_DAMAGED;
	case STAMP_UNREADABLE:
		buf_adds(why, strerror(errno));
		break;
	}
	return STORE_COULD_NOT_TELL;
}

enum store_proof bdb_verify_file(const char *path, bool in_environment, struct buf *why)
{
	int fd = file_open_regular(path, O_RDONLY);
	enum store_proof proof = STORE_COULD_NOT_TELL;

	if (fd < 0) {
		buf_adds(why, file_error(errno));
		return proof;
	}
	proof = bdb_verify(fd, in_environment, why);
	close(fd);
	return proof;
}
