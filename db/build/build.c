#include "db/build/build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "db/map/map.h"
#include "lib/account.h"
#include "lib/file.h"
#include "lib/publish.h"
#include "lib/text.h"

#define STEP 65536

/* Records between the one that is used and the one whose bytes are fetched meanwhile. */
#define AHEAD 8

/* ---- where it goes ------------------------------------------------------------------ */

int build_check_directory(const char *target, struct buf *why)
{
	char *directory = file_directory(target);
	struct stat st;
	int status = EX_OK;

	if (stat(directory, &st) < 0) {
		buf_addf(why, "%s: %s", directory, strerror(errno));
		status = EX_CANTCREAT;
	} else if (geteuid() == 0 && st.st_uid != 0) {
		buf_addf(why, "%s: root does not write maps in a directory that user %lu owns; run this as that user",
		         directory, (unsigned long)st.st_uid);
		status = EX_NOPERM;
	} else if (geteuid() == 0 && (st.st_mode & 022) != 0 && (st.st_mode & S_ISVTX) == 0) {
		buf_addf(why, "%s: root does not write maps in a directory that others can write to (mode %o)", directory,
		         (unsigned)st.st_mode & 07777);
		status = EX_NOPERM;
	}
	free(directory);
	return status;
}

int build_check_target(const char *target, struct buf *why)
{
	struct stat st;
	int status = build_check_directory(target, why);

	if (status == EX_OK && lstat(target, &st) == 0 && S_ISLNK(st.st_mode)) {
		buf_addf(why, "%s: is a symbolic link; name the map that it leads to", target);
		status = EX_CANTCREAT;
	}
	return status;
}

/* Fills in what was left to the map that is replaced. */
static int inherit(struct build *build, struct buf *why)
{
	struct stat st;
	bool is_there = lstat(build->target, &st) == 0;

	if (is_there && !S_ISREG(st.st_mode)) {
		buf_addf(why, "%s: is there and is no regular file", build->target);
		return EX_CANTCREAT;
	}
	if (build->mode == 0 && is_there) {
		build->mode = st.st_mode & 0777;
	} else if (build->mode == 0) {
		mode_t mask = umask(0);

		umask(mask);
		build->mode = 0644 & ~mask;
	}
	/* only root can give files away; others get the map as they would get any file */
	if (is_there && geteuid() == 0) {
		if (build->uid == (uid_t)-1)
			build->uid = st.st_uid;
		if (build->gid == (gid_t)-1)
			build->gid = st.st_gid;
	}
	return EX_OK;
}

/* ---- what goes in ---------------------------------------------------------------------- */

struct feed {
	const struct build *build;
	const struct records *records;
	const struct buf *stamp;
	size_t next;              /* 0 is the stamp, whose key is the lowest of all */
};

static void tell(const struct build *build, const char *step, size_t done, size_t total)
{
	if (build->progress != NULL && (done % STEP == 0 || done == total))
		build->progress(build->progress_context, step, done, total);
}

static bool next_record(void *context, const char **key, size_t *key_length, const char **value, size_t *value_length)
{
	struct feed *feed = context;
	const struct record *r;

	if (feed->next == 0) {
		*key = stamp_key;
		*key_length = STAMP_KEY_LENGTH - 1;
		*value = feed->stamp->data;
		*value_length = feed->stamp->len;
		feed->next++;
		return true;
	}
	tell(feed->build, "loading", feed->next - 1, feed->records->count);
	if (feed->next > feed->records->count)
		return false;
	r = &feed->records->list[feed->next++ - 1];
	/* keys lie where the text has them, all over the memory */
	if (feed->next + AHEAD <= feed->records->count)
		__builtin_prefetch(r[AHEAD].key);
	*key = r->key;
	*key_length = r->key_length;
	*value = r->value;
	*value_length = r->value_length;
	return true;
}

static int check_keys(const struct build *build, const struct map_operations *type, const struct records *records,
                      struct buf *why)
{
	for (size_t i = 0; type->store->longest_key != 0 && i < records->count; i++) {
		const struct record *r = &records->list[i];

		if ((size_t)r->key_length + 1 <= type->store->longest_key)
			continue;
		buf_addf(why, "%s:%zu: key of %lu bytes; maps of type %s take at most %zu", build->stamp.source, r->line,
		         (unsigned long)r->key_length, type->type, type->store->longest_key - 1);
		return EX_DATAERR;
	}
	return EX_OK;
}

/* ---- is it there? --------------------------------------------------------------------- */

struct proof {
	const struct build *build;
	const struct records *records;
	size_t seen;
	bool in_order;         /* the type keeps keys in our order, so that each record can be compared */
	bool ok;
};

static bool same(const char *a, size_t a_length, const char *b, size_t b_length)
{
	return a_length == b_length && memcmp(a, b, a_length) == 0;
}

static bool compare(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	struct proof *proof = context;
	const struct record *r = &proof->records->list[proof->seen];

	if (proof->seen + AHEAD < proof->records->count)
		__builtin_prefetch(r[AHEAD].key);
	if (proof->seen == proof->records->count)
		proof->ok = false;
	else if (proof->in_order)
		proof->ok = same(key, key_length, r->key, r->key_length) &&
		            same(value, value_length, r->value, r->value_length);
	proof->seen++;
	tell(proof->build, "verifying", proof->seen, proof->records->count);
	return proof->ok;
}

/* A hash has an order of its own: every key is looked up. */
static bool find_all(struct map *map, const struct records *records)
{
	struct buf value = { 0 };
	bool ok = true;

	for (size_t i = 0; ok && i < records->count; i++) {
		const struct record *r = &records->list[i];

		buf_clear(&value);
		ok = map_find(map, r->key, &value) == MAP_FOUND && same(value.data, value.len, r->value, r->value_length);
	}
	buf_free(&value);
	return ok;
}

static int verify(const struct build *build, const struct records *records, const char *path, struct buf *why)
{
	struct proof proof = { build, records, 0, !ascii_equal(build->type, "bhash"), true };
	int status = EX_OK;
	struct map *map = map_open_file(build->type, path, &status, why);

	if (map == NULL)
		return status;
	map->read_once = proof.in_order;
	if (map_walk(map, compare, &proof) != MAP_FOUND) {
		buf_addf(why, "%s: cannot read what was built: %s", build->target, map_error(map));
		status = EX_SOFTWARE;
	} else if (!proof.ok || proof.seen != records->count || (!proof.in_order && !find_all(map, records))) {
		buf_addf(why, "%s: what was built does not hold what was put in", build->target);
		status = EX_SOFTWARE;
	}
	map_close(&map);
	return status;
}

static int publish(struct build *build, struct publish *file, struct buf *why)
{
	/* owner first: a process that may not give it away must not make it readable either */
	if (!publish_owner(file, build->uid, build->gid)) {
		int code = errno;

		buf_addf(why, "%s: cannot give it to ", build->target);
		account_add_user(why, build->uid);
		buf_addc(why, ':');
		account_add_group(why, build->gid);
		buf_addf(why, ": %s", strerror(code));
		return EX_NOPERM;
	}
	if (fchmod(file->fd, build->mode) < 0 || !publish_commit(file)) {
		build->unsure = file->renamed;
		buf_addf(why, "%s: %s%s", build->target,
		         file->renamed ? "is the new map, but a power failure may bring back the old one: "
		                                                         "cannot sync the directory: " : "", strerror(errno));
		return EX_IOERR;
	}
	return EX_OK;
}

int build_map(struct build *build, const struct records *records, struct buf *why)
{
	const struct map_operations *type = map_type(build->type);
	struct publish file = { 0 };
	int status;
	struct buf stamp = { 0 }, said = { 0 };
	struct feed feed;
	struct store_load load;

	if (type == NULL || type->store == NULL) {
		buf_addf(why, "%s: maps of type \"%s\" cannot be built", build->target, build->type);
		return EX_UNAVAILABLE;
	}
	status = check_keys(build, type, records, why);
	if (status == EX_OK)
		status = build_check_target(build->target, why);
	if (status == EX_OK)
		status = inherit(build, why);
	if (status != EX_OK)
		return status;
	if (!publish_begin(&file, build->target, 0600)) {
		buf_addf(why, "%s: cannot create a file in its directory: %s", build->target, strerror(errno));
		return EX_CANTCREAT;
	}
	feed = (struct feed){ build, records, &stamp, 0 };
	load = (struct store_load){ records->count + 1, 0, next_record, &feed };
	for (size_t i = 0; i < records->count; i++)
		load.bytes += (uint64_t)records->list[i].key_length + records->list[i].value_length + 2;
	if (build->stamp.built == 0)
		build->stamp.built = stamp_now();
	build->stamp.records = records->count;
	build->stamp.version = (char *)(uintptr_t)VERSION;
	stamp_add(&stamp, &build->stamp);
	status = type->store->load(file.temporary, &load, &said);
	if (status == EX_OK && !stamp_seal(file.fd)) {
		buf_adds(&said, strerror(errno));
		status = EX_IOERR;
	}
	if (status != EX_OK)
		buf_addf(why, "%s: cannot build: %s", build->target, buf_str(&said));
	buf_free(&stamp);
	buf_free(&said);
	if (status == EX_OK)
		status = verify(build, records, file.temporary, why);
	if (status == EX_OK)
		status = publish(build, &file, why);
	if (status != EX_OK)
		publish_abort(&file);
	return status;
}
