#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "db/live/livemap.h"
#include "db/map/map.h"
#include "lib/alloc.h"

/* The same must hold in all ways of being live. */
static const struct way {
	const char *type;
	bool in_environment;
} ways[] = {
	{ "btree", false }, { "bhash", false }, { "btree", true }, { "bhash", true },
#if HAVE_LMDB
	{ "lmdb", false },
#endif
};

#define WAYS (sizeof ways / sizeof ways[0])

static struct buf why;

struct place {
	char directory[32];
	char *base, *config;
	struct livemap_settings settings;
};

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void enter(struct place *p, const struct way *way)
{
	char *text;

	strcpy(p->directory, "/tmp/zlmtp-update-XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	p->base = xasprintf("%s/map", p->directory);
	p->config = xasprintf("%s/conf", p->directory);
	text = xasprintf("envhome=%s\nenvflags=CDB,CREATE\n", p->directory);
	write_text(p->config, text);
	free(text);
	p->settings = (struct livemap_settings){ .type = way->type, .base = p->base, .folding = 'l',
	                                        .config = way->in_environment ? p->config : NULL };
	buf_clear(&why);
}

static void leave(struct place *p)
{
	char *command = xasprintf("rm -rf %s", p->directory);

	if (system(command) != 0)
		fail();
	free(command);
	free(p->base);
	free(p->config);
}

static void add(struct records *r, const char *key, const char *value)
{
	records_copy(r, key, strlen(key), value, strlen(value), 0);
}

/* A map with a=1 b=2 c=3. */
static void make(struct place *p)
{
	struct records r = { 0 };

	add(&r, "a", "1");
	add(&r, "b", "2");
	add(&r, "c", "3");
	assert_int_equal(livemap_create(&p->settings, &r, NULL, &why), EX_OK);
	records_free(&r);
}

static struct livemap *open_map(const struct place *p)
{
	int status = EX_OK;
	struct livemap *u = livemap_open(&p->settings, &status, &why);

	if (u == NULL)
		fail_msg("%s: %d, %s", p->settings.type, status, buf_str(&why));
	return u;
}

static void put(struct livemap *u, const char *key, const char *value)
{
	livemap_put(u, key, strlen(key), value, strlen(value));
}

static void commit(struct livemap *u)
{
	if (livemap_commit(u, &why) != EX_OK)
		fail_msg("%s", buf_str(&why));
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct list {
	char *words[64];
	size_t count;
};

static bool take(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	struct list *l = context;

	l->words[l->count++] = xasprintf("%.*s=%.*s", (int)key_length, key, (int)value_length, value);
	return true;
}

/* All records, sorted, since a hash has an order of its own. */
static void holds(struct livemap *u, const char *expect)
{
	struct list l = { .count = 0 };
	struct buf all = { 0 };

	assert_int_equal(livemap_walk(u, take, &l, &why), EX_OK);
	qsort(l.words, l.count, sizeof l.words[0], compare_words);
	for (size_t i = 0; i < l.count; i++) {
		buf_addf(&all, "%s%s", i > 0 ? " " : "", l.words[i]);
		free(l.words[i]);
	}
	assert_string_equal(buf_str(&all), expect);
	buf_free(&all);
}

static void changes_are_there_and_stay_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct place p;
		struct livemap *u;
		struct buf value = { 0 };

		enter(&p, &ways[i]);
		make(&p);
		u = open_map(&p);
		put(u, "D@X", "4");
		put(u, "a", "one");
		livemap_remove(u, "B", 1);
		livemap_remove(u, "never there", 11);
		assert_int_equal(livemap_find(u, "d@x", 3, &value, &why), MAP_NOT_FOUND);
		commit(u);
		assert_int_equal(livemap_find(u, "d@X", 3, &value, &why), MAP_FOUND);
		assert_string_equal(buf_str(&value), "4");
		holds(u, "a=one c=3 d@x=4");
		livemap_close(&u);
		u = open_map(&p);
		holds(u, "a=one c=3 d@x=4");
		put(u, "e", "");
		commit(u);
		holds(u, "a=one c=3 d@x=4 e=");
		livemap_close(&u);
		assert_null(u);
		buf_free(&value);
		leave(&p);
	}
}

static void notes_change_with_their_batch_and_are_no_records(void **state)
{
	static const char cookie[] = "csn=\0\n\xff binary";

	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct place p;
		struct livemap *u;
		struct buf note = { 0 };

		enter(&p, &ways[i]);
		make(&p);
		u = open_map(&p);
		assert_int_equal(livemap_read_note(u, "cookie", &note, &why), MAP_NOT_FOUND);
		put(u, "d", "4");
		livemap_note(u, "cookie", cookie, sizeof cookie);
		commit(u);
		livemap_close(&u);
		u = open_map(&p);
		assert_int_equal(livemap_read_note(u, "cookie", &note, &why), MAP_FOUND);
		assert_int_equal(note.len, sizeof cookie);
		assert_memory_equal(note.data, cookie, sizeof cookie);
		holds(u, "a=1 b=2 c=3 d=4");
		livemap_note(u, "cookie", NULL, 0);
		commit(u);
		assert_int_equal(livemap_read_note(u, "cookie", &note, &why), MAP_NOT_FOUND);
		livemap_close(&u);
		buf_free(&note);
		leave(&p);
	}
}

static void replacing_writes_the_differences_and_keeps_notes(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct place p;
		struct livemap *u;
		struct records wanted = { 0 };
		struct livemap_counts counts;
		struct buf note = { 0 };

		enter(&p, &ways[i]);
		make(&p);
		add(&wanted, "a", "1");
		add(&wanted, "c", "three");
		add(&wanted, "e", "5");
		u = open_map(&p);
		livemap_note(u, "cookie", "x", 1);
		assert_int_equal(livemap_replace(u, &wanted, NULL, livemap_guard_removal, NULL, &counts, &why), EX_OK);
		assert_int_equal(counts.before, 3);
		assert_int_equal(counts.added, 1);
		assert_int_equal(counts.changed, 1);
		assert_int_equal(counts.removed, 1);
		holds(u, "a=1 c=three e=5");
		assert_int_equal(livemap_replace(u, &wanted, NULL, livemap_guard_removal, NULL, &counts, &why), EX_OK);
		assert_int_equal(counts.added + counts.changed + counts.removed, 0);
		assert_int_equal(livemap_read_note(u, "cookie", &note, &why), MAP_FOUND);
		livemap_close(&u);
		records_free(&wanted);
		buf_free(&note);
		leave(&p);
	}
}

static void many(struct records *r, unsigned count)
{
	char key[16];

	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof key, "k%06u", i);
		add(r, key, "v");
	}
}

/* How a replacement of `before` records by the first `after` of them ends. */
static int shrink(unsigned before, unsigned after, bool guard, const struct way *way)
{
	struct place p;
	struct records old = { 0 }, new = { 0 };
	struct livemap_counts counts;
	struct livemap *u;
	int status;

	enter(&p, way);
	many(&old, before);
	many(&new, after);
	assert_int_equal(livemap_create(&p.settings, &old, NULL, &why), EX_OK);
	u = open_map(&p);
	status = livemap_replace(u, &new, NULL, guard ? livemap_guard_removal : NULL, NULL, &counts, &why);
	assert_int_equal(counts.removed, before - after);
	/* nothing was changed, or everything */
	assert_int_equal(livemap_replace(u, status == EX_OK ? &new : &old, NULL, livemap_guard_removal, NULL, &counts, &why), EX_OK);
	assert_int_equal(counts.removed + counts.added, 0);
	livemap_close(&u);
	records_free(&old);
	records_free(&new);
	leave(&p);
	return status;
}

static void a_fifth_may_go_and_fifty_always(void **state)
{
	const struct way *way = &ways[0];

	(void)state;
	assert_int_equal(shrink(60, 10, true, way), EX_OK);
	assert_int_equal(shrink(60, 9, true, way), EX_TEMPFAIL);
	assert_int_equal(shrink(60, 9, false, way), EX_OK);
	assert_int_equal(shrink(3, 1, true, way), EX_OK);
	assert_int_equal(shrink(1000, 800, true, way), EX_OK);
	assert_int_equal(shrink(1000, 799, true, way), EX_TEMPFAIL);
	assert_int_equal(shrink(3000, 100, true, &ways[2]), EX_TEMPFAIL);
	assert_int_equal(shrink(3000, 100, false, &ways[2]), EX_OK);
}

static void the_last_record_does_not_go(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		assert_int_equal(shrink(1, 0, true, &ways[i]), EX_TEMPFAIL);
		assert_int_equal(shrink(50, 0, true, &ways[i]), EX_TEMPFAIL);
		assert_int_equal(shrink(50, 0, false, &ways[i]), EX_OK);
		/* from nothing to nothing */
		assert_int_equal(shrink(0, 0, true, &ways[i]), EX_OK);
	}
}

static void two_programs_change_one_map(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct place p;
		struct livemap *one, *two;

		enter(&p, &ways[i]);
		make(&p);
		one = open_map(&p);
		two = open_map(&p);
		put(one, "d", "4");
		commit(one);
		put(two, "e", "5");
		livemap_remove(two, "d", 1);
		commit(two);
		put(one, "f", "6");
		commit(one);
		holds(one, "a=1 b=2 c=3 e=5 f=6");
		holds(two, "a=1 b=2 c=3 e=5 f=6");
		livemap_close(&one);
		livemap_close(&two);
		leave(&p);
	}
}

static int open_status(const struct livemap_settings *s)
{
	int status = EX_OK;
	struct livemap *u = livemap_open(s, &status, &why);

	assert_true((u == NULL) == (status != EX_OK));
	livemap_close(&u);
	return status;
}

static void what_cannot_be_opened_is_told_and_leaves_nothing(void **state)
{
	struct place p;
	struct livemap_settings s;

	(void)state;
	enter(&p, &ways[0]);
	s = p.settings;
	assert_int_equal(open_status(&s), EX_NOINPUT);
	s.config = p.config;
	assert_int_equal(open_status(&s), EX_NOINPUT);
	s.config = "/nowhere/conf";
	assert_int_equal(open_status(&s), EX_NOINPUT);
	write_text(p.config, "envhome=/tmp\n");
	s.config = p.config;
	assert_int_equal(open_status(&s), EX_CONFIG);
	s = p.settings;
	s.type = "unordered";
	assert_int_equal(open_status(&s), EX_UNAVAILABLE);
	s.type = "no such";
	assert_int_equal(open_status(&s), EX_UNAVAILABLE);
	/* nothing but the configuration is there */
	unlink(p.config);
	assert_int_equal(rmdir(p.directory), 0);
	assert_int_equal(mkdir(p.directory, 0700), 0);
	leave(&p);
}

static void a_map_in_an_environment_is_not_taken_for_one_without(void **state)
{
	struct place p;
	struct livemap *u;
	struct livemap_settings s;

	(void)state;
	enter(&p, &ways[2]);
	make(&p);
	u = open_map(&p);
	livemap_close(&u);
	s = p.settings;
	s.config = NULL;
	assert_int_equal(open_status(&s), EX_CONFIG);
	assert_non_null(strstr(buf_str(&why), "-C"));
	leave(&p);
}

static void a_map_that_was_replaced_is_not_written_to(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct place p;
		struct livemap *u;
		struct records r = { 0 };
		char *path, *aside;

		enter(&p, &ways[i]);
		make(&p);
		u = open_map(&p);
		put(u, "acknowledged", "1");
		commit(u);
		path = xstrdup(livemap_path(u));
		aside = xasprintf("%s.aside", path);
		assert_int_equal(rename(path, aside), 0);
		add(&r, "z", "26");
		assert_int_equal(livemap_create(&p.settings, &r, NULL, &why), EX_OK);
		put(u, "d", "4");
		if (ways[i].in_environment) {
			/* the journal speaks of the other one */
			assert_int_equal(livemap_commit(u, &why), EX_TEMPFAIL);
			assert_int_equal(livemap_commit(u, &why), EX_DATAERR);
		} else {
			if (livemap_commit(u, &why) != EX_OK)
				commit(u);
			holds(u, "d=4 z=26");
		}
		livemap_close(&u);
		records_free(&r);
		free(path);
		free(aside);
		leave(&p);
	}
}

static void a_map_that_is_missing_is_made_by_its_first_batch(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct buf bytes = { 0 };
		struct place p;
		struct livemap *u;

		enter(&p, &ways[i]);
		assert_int_equal(open_status(&p.settings), EX_NOINPUT);
		p.settings.create = true;
		u = open_map(&p);
		holds(u, "");
		assert_int_equal(access(livemap_path(u), F_OK), -1);
		assert_int_equal(livemap_find(u, "a", 1, &bytes, &why), MAP_NOT_FOUND);
		assert_int_equal(livemap_read_note(u, "n", &bytes, &why), MAP_NOT_FOUND);
		commit(u);
		assert_int_equal(access(livemap_path(u), F_OK), -1);
		put(u, "b", "2");
		put(u, "a", "1");
		livemap_remove(u, "c", 1);
		livemap_note(u, "n", "note", 4);
		commit(u);
		holds(u, "a=1 b=2");
		assert_int_equal(livemap_read_note(u, "n", &bytes, &why), MAP_FOUND);
		put(u, "d", "4");
		commit(u);
		livemap_close(&u);
		p.settings.create = false;
		u = open_map(&p);
		holds(u, "a=1 b=2 d=4");
		livemap_close(&u);
		buf_free(&bytes);
		leave(&p);
	}
}

static int lock_byte(int fd, int command, int byte, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, command, &lock) == 0 ? lock.l_type : -1;
}

/* What somebody waits for when a map is deleted, as who does that does not ask for its lock. */
enum obstacle { FENCE, LOCK_OF_LMDB, LOCK_OF_POSTFIX };

static bool hold(enum obstacle obstacle, const char *path, const char *fence)
{
	char *name = obstacle == FENCE ? xstrdup(fence) : xasprintf("%s%s", path, obstacle == LOCK_OF_LMDB ? "-lock" : "");
	const int fd = open(name, O_RDWR | O_CREAT, 0600);

	free(name);
	return fd >= 0 && lock_byte(fd, F_SETLK, obstacle == FENCE ? 1 : 0, obstacle == LOCK_OF_POSTFIX ? F_RDLCK : F_WRLCK) >= 0;
}

/* All locks are held until the map is gone, and that of Postfix until the end. */
static pid_t delete_while(const char *path, enum obstacle obstacle)
{
	char *fence = xasprintf("%s.lock", path), byte = '\0';
	int held[2], fd;
	pid_t pid;

	assert_int_equal(pipe(held), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fd = open(fence, O_RDWR | O_CREAT, 0600);
		if (!hold(obstacle, path, fence) || write(held[1], "x", 1) != 1)
			_exit(1);
		/* the turnstile is held by who waits for the fence (fence.c) */
		while (lock_byte(fd, F_GETLK, obstacle == FENCE ? 0 : 1, F_WRLCK) == F_UNLCK)
			usleep(1000);
		/* if that is too short, it is deleted before somebody waits: then the outcome is the same */
		usleep(obstacle == FENCE ? 0 : 100000);
		unlink(path);
		while (obstacle == LOCK_OF_POSTFIX)
			pause();
		_exit(0);
	}
	close(held[1]);
	assert_int_equal(read(held[0], &byte, 1), 1);
	close(held[0]);
	free(fence);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void it_is_not_there(const struct way *way, enum obstacle obstacle, bool may_make)
{
	struct place p;
	struct livemap *u;
	char *path;
	int status = EX_OK;
	pid_t pid;

	enter(&p, way);
	make(&p);
	/* the first opening gives an LMDB map a lock file of its own */
	u = obstacle == LOCK_OF_LMDB ? open_map(&p) : NULL;
	livemap_close(&u);
	path = xasprintf("%s%s", p.base, map_suffix(p.settings.type));
	pid = delete_while(path, obstacle);
	p.settings.create = may_make;
	u = livemap_open(&p.settings, &status, &why);
	end(pid);
	if (may_make) {
		assert_non_null(u);
		assert_true(livemap_is_missing(u));
		holds(u, "");
	} else {
		assert_null(u);
		assert_int_equal(status, EX_NOINPUT);
	}
	assert_int_equal(access(path, F_OK), -1);
	livemap_close(&u);
	free(path);
	leave(&p);
}

static void a_map_that_is_deleted_while_it_is_opened_is_one_that_is_not_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		it_is_not_there(&ways[i], FENCE, false);
		it_is_not_there(&ways[i], FENCE, true);
		/* LMDB would make an empty one */
		if (strcmp(ways[i].type, "lmdb") == 0)
			it_is_not_there(&ways[i], LOCK_OF_LMDB, true);
	}
}

/* Who watches a map reads what it holds behind that; a change at any moment shows by then, or afterwards. */
static void a_map_that_goes_before_it_is_watched_is_not_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		for (int comes_another = 0; comes_another < 2; comes_another++) {
			struct place p;
			struct livemap *u;
			struct list l = { .count = 0 };
			char *aside;
			int status;

			enter(&p, &ways[i]);
			make(&p);
			u = open_map(&p);
			aside = xasprintf("%s.aside", livemap_path(u));
			assert_int_equal(rename(livemap_path(u), aside), 0);
			if (comes_another == 1) {
				struct records r = { 0 };

				add(&r, "z", "26");
				assert_int_equal(livemap_create(&p.settings, &r, NULL, &why), EX_OK);
				records_free(&r);
			}
			status = livemap_watch(u, &why);
			if (status == EX_OK)
				status = livemap_walk(u, take, &l, &why);
			if (comes_another == 0)
				assert_int_equal(status, EX_NOINPUT);
			else if (status == EX_OK)
				assert_string_equal(l.words[0], "z=26");
			for (size_t n = 0; n < l.count; n++)
				free(l.words[n]);
			livemap_close(&u);
			free(aside);
			leave(&p);
		}
	}
}

static void read_file(const char *path, struct buf *bytes)
{
	char piece[4096];
	const int fd = open(path, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = read(fd, piece, sizeof piece)) > 0)
		buf_add(bytes, piece, (size_t)n);
	close(fd);
}

/* In an environment the file cannot be verified while programs use it: libdb says "Invalid argument" of one that is cut off. */
static void who_cannot_open_a_map_that_is_cut_off_says_what_heals_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct place p;
		struct livemap *u;
		struct map *map;
		struct buf value = { 0 };
		char *path;
		struct stat st;
		int status;

		if (!ways[i].in_environment)
			continue;
		enter(&p, &ways[i]);
		make(&p);
		u = open_map(&p);
		put(u, "d", "4");
		commit(u);
		path = xstrdup(livemap_path(u));
		livemap_close(&u);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(truncate(path, st.st_size - 100), 0);
		assert_null(livemap_open(&p.settings, &status, &why));
		assert_non_null(strstr(buf_str(&why), "; run \"dbupdate -C "));
		map = map_open(p.settings.type, p.base, p.config, &status, &why);
		assert_int_equal(map_find(map, "a", &value), MAP_COULD_NOT_TELL);
		assert_non_null(strstr(map_error(map), "recover"));
		map_close(&map);
		buf_free(&value);
		free(path);
		leave(&p);
	}
}

#if HAVE_LMDB
/* An LMDB map that has come to its state by so many batches; `first` is the file before them. */
static struct livemap *open_changed(struct place *p, int batches, struct buf *first)
{
	struct livemap *u;

	enter(p, &(struct way){ "lmdb", false });
	make(p);
	u = open_map(p);
	read_file(livemap_path(u), first);
	for (int i = 0; i < batches; i++) {
		put(u, "b", i % 2 == 0 ? "3" : "2");
		commit(u);
	}
	return u;
}

/* As dd conv=notrunc or rsync --inplace write. */
static void put_over(const struct livemap *u, const struct buf *bytes)
{
	const int fd = open(livemap_path(u), O_WRONLY);

	assert_int_equal(write(fd, bytes->data, bytes->len), bytes->len);
	close(fd);
}

/*
 * Readers have the number of the last transaction from the lock file, and an even one leads to the first page of the file: of a map that
 * was just built that is the state from before anything was put in.
 */
static void a_live_map_under_a_new_file_is_not_empty(void **state)
{
	(void)state;
	for (int batches = 1; batches < 5; batches++) {
		struct place p;
		struct buf first = { 0 }, value = { 0 };
		struct livemap *u;
		struct map *map;
		int status;

		u = open_changed(&p, batches, &first);
		map = map_open("lmdb", p.base, NULL, &status, &why);
		assert_int_equal(map_find(map, "a", &value), MAP_FOUND);
		put_over(u, &first);
		assert_int_not_equal(map_find(map, "a", &value), MAP_NOT_FOUND);
		map_close(&map);
		livemap_close(&u);
		buf_free(&first);
		buf_free(&value);
		leave(&p);
	}
}

/* Postfix reads it under a lock, for which a batch waits; meanwhile the first content is written over the map. */
static void written_over_while_it_waits(unsigned wait_s, bool gives_up)
{
	struct place p;
	struct buf first = { 0 };
	struct livemap *u;
	pid_t pid;
	int fd, status;

	enter(&p, &(struct way){ "lmdb", false });
	make(&p);
	p.settings.wait = wait_s;
	u = open_map(&p);
	assert_int_equal(livemap_watch(u, &why), EX_OK);
	read_file(livemap_path(u), &first);
	put(u, "d", "4");
	commit(u);
	put(u, "e", "5");
	fd = open(livemap_path(u), O_RDWR);
	assert_true(lock_byte(fd, F_OFD_SETLK, 0, F_RDLCK) != -1);
	pid = fork();
	if (pid == 0) {
		/* until a batch waits for the lock; one that comes later finds the map changed */
		usleep(200000);
		if (pwrite(fd, first.data, first.len, 0) != (ssize_t)first.len || (!gives_up && lock_byte(fd, F_OFD_SETLK, 0, F_UNLCK) == -1))
			_exit(1);
		_exit(0);
	}
	status = livemap_commit(u, &why);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(status, EX_TEMPFAIL);
	assert_true(livemap_is_changed(u));
	close(fd);
	livemap_close(&u);
	buf_free(&first);
	leave(&p);
}

static void what_is_written_over_a_map_while_a_batch_waits_is_noticed(void **state)
{
	(void)state;
	written_over_while_it_waits(20, false);
	written_over_while_it_waits(1, true);
}

/* dbupdate apply has the map open between two batches, and watches nothing. */
static void no_batch_goes_into_another_file_that_was_written_over_the_map(void **state)
{
	(void)state;
	for (int batches = 1; batches < 4; batches++) {
		struct place p;
		struct buf first = { 0 };
		struct livemap *u;
		int status;

		u = open_changed(&p, batches, &first);
		put_over(u, &first);
		put(u, "d", "4");
		status = livemap_commit(u, &why);
		/* it is tried again by those who are told so, with the map opened anew */
		if (status == EX_TEMPFAIL)
			status = livemap_commit(u, &why);
		assert_int_equal(status, EX_OK);
		holds(u, "a=1 b=2 c=3 d=4");
		livemap_close(&u);
		u = open_map(&p);
		holds(u, "a=1 b=2 c=3 d=4");
		livemap_close(&u);
		buf_free(&first);
		leave(&p);
	}
}

static void a_map_that_is_deleted_while_a_batch_fails_is_missed(void **state)
{
	struct place p;
	struct livemap *u;
	pid_t pid;

	(void)state;
	enter(&p, &(struct way){ "lmdb", false });
	make(&p);
	p.settings.wait = 1;
	u = open_map(&p);
	assert_int_equal(livemap_watch(u, &why), EX_OK);
	put(u, "d", "4");
	commit(u);
	assert_false(livemap_is_changed(u));
	put(u, "e", "5");
	pid = delete_while(livemap_path(u), LOCK_OF_POSTFIX);
	assert_int_not_equal(livemap_commit(u, &why), EX_OK);
	end(pid);
	assert_true(livemap_is_changed(u));
	livemap_close(&u);
	leave(&p);
}
#endif

/* Other bytes, and time and size as before: cp -p from a copy of the same age, or touch. */
static void a_map_whose_time_was_set_back_is_changed(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAYS; i++) {
		struct place p;
		struct livemap *u;
		struct stat before, after;
		struct timespec times[2];
		int fd;

		if (ways[i].in_environment)
			continue;
		enter(&p, &ways[i]);
		make(&p);
		u = open_map(&p);
		assert_int_equal(livemap_watch(u, &why), EX_OK);
		put(u, "a", "9");
		commit(u);
		assert_false(livemap_is_changed(u));
		fd = open(livemap_path(u), O_RDWR);
		assert_int_equal(fstat(fd, &before), 0);
		assert_int_equal(pwrite(fd, "x", 1, before.st_size - 1), 1);
		times[0] = before.st_atim;
		times[1] = before.st_mtim;
		assert_int_equal(futimens(fd, times), 0);
		assert_int_equal(fstat(fd, &after), 0);
		assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
		assert_true(livemap_is_changed(u));
		put(u, "b", "9");
		assert_int_equal(livemap_commit(u, &why), EX_TEMPFAIL);
		close(fd);
		livemap_close(&u);
		leave(&p);
	}
}

/* Writes over the map in place, as cp does, with what it was at first; again and again, a little apart. */
static pid_t write_over(const char *path, const struct buf *first)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned n = 0;; n++) {
		int fd = open(path, O_WRONLY | O_TRUNC);

		if (fd < 0 || write(fd, first->data, first->len) != (ssize_t)first->len)
			_exit(1);
		close(fd);
		usleep(500 * (n % 7));
	}
}

static const struct livemap *watched_again(const struct place *p, struct livemap **u, struct list *l)
{
	int status = EX_OK;

	livemap_close(u);
	*u = livemap_open(&p->settings, &status, &why);
	for (size_t i = 0; i < l->count; i++)
		free(l->words[i]);
	l->count = 0;
	if (*u != NULL && (livemap_watch(*u, &why) != EX_OK || livemap_walk(*u, take, l, &why) != EX_OK))
		livemap_close(u);
	return *u;
}

/* What is kept in memory of a map is what the map has, or livemap_is_changed() says otherwise. */
static void a_map_that_is_written_over_at_any_moment_is_noticed(void **state)
{
	struct place p;
	struct livemap *u = NULL;
	struct list kept = { .count = 0 };
	struct buf first = { 0 };
	char *path;
	pid_t pid;

	(void)state;
	enter(&p, &ways[0]);
	make(&p);
	path = xasprintf("%s%s", p.base, map_suffix(p.settings.type));
	read_file(path, &first);
	pid = write_over(path, &first);
	for (unsigned n = 0, made = 0; n < 300 && made < 60; n++) {
		char *value = xasprintf("%u", n);

		if (u == NULL || livemap_is_changed(u))
			watched_again(&p, &u, &kept);
		if (u != NULL) {
			put(u, "a", value);
			if (livemap_commit(u, &why) == EX_OK) {
				free(kept.words[0]);
				kept.words[0] = xasprintf("a=%s", value);
				made++;
			}
		}
		free(value);
		assert_int_equal(kill(pid, SIGSTOP), 0);
		assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
		if (u != NULL && !livemap_is_changed(u)) {
			char *expect = xasprintf("%s b=2 c=3", kept.words[0]);
			struct livemap *other = open_map(&p);

			holds(other, expect);
			livemap_close(&other);
			free(expect);
		}
		kill(pid, SIGCONT);
	}
	end(pid);
	for (size_t i = 0; i < kept.count; i++)
		free(kept.words[i]);
	livemap_close(&u);
	buf_free(&first);
	free(path);
	leave(&p);
}

static void keys_that_no_lookup_forms_are_refused(void **state)
{
	char long_key[9000];
	struct place p;
	struct livemap *u;

	(void)state;
	memset(long_key, 'k', sizeof long_key);
	enter(&p, &ways[0]);
	make(&p);
	u = open_map(&p);
	assert_non_null(livemap_key_fault(u, "", 0));
	assert_non_null(livemap_key_fault(u, "\0x", 2));
	assert_non_null(livemap_key_fault(u, "a\tb", 3));
	assert_non_null(livemap_key_fault(u, "a\x7f", 2));
	assert_non_null(livemap_key_fault(u, long_key, 8192));
	assert_null(livemap_key_fault(u, long_key, 8191));
	assert_null(livemap_key_fault(u, "\"post office\"", 13));
	assert_null(livemap_value_fault("", 0));
	assert_non_null(livemap_value_fault("a\0b", 3));
	livemap_close(&u);
	leave(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_are_there_and_stay_there),
		cmocka_unit_test(notes_change_with_their_batch_and_are_no_records),
		cmocka_unit_test(replacing_writes_the_differences_and_keeps_notes),
		cmocka_unit_test(a_fifth_may_go_and_fifty_always),
		cmocka_unit_test(the_last_record_does_not_go),
		cmocka_unit_test(two_programs_change_one_map),
		cmocka_unit_test(what_cannot_be_opened_is_told_and_leaves_nothing),
		cmocka_unit_test(a_map_in_an_environment_is_not_taken_for_one_without),
		cmocka_unit_test(a_map_that_was_replaced_is_not_written_to),
		cmocka_unit_test(a_map_that_is_missing_is_made_by_its_first_batch),
		cmocka_unit_test(a_map_that_is_deleted_while_it_is_opened_is_one_that_is_not_there),
		cmocka_unit_test(a_map_that_goes_before_it_is_watched_is_not_read),
		cmocka_unit_test(who_cannot_open_a_map_that_is_cut_off_says_what_heals_it),
#if HAVE_LMDB
		cmocka_unit_test(a_live_map_under_a_new_file_is_not_empty),
		cmocka_unit_test(what_is_written_over_a_map_while_a_batch_waits_is_noticed),
		cmocka_unit_test(no_batch_goes_into_another_file_that_was_written_over_the_map),
		cmocka_unit_test(a_map_that_is_deleted_while_a_batch_fails_is_missed),
#endif
		cmocka_unit_test(a_map_whose_time_was_set_back_is_changed),
		cmocka_unit_test(a_map_that_is_written_over_at_any_moment_is_noticed),
		cmocka_unit_test(keys_that_no_lookup_forms_are_refused),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	buf_free(&why);
	return failed;
}
