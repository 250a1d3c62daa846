/*
 * maptool read TYPE BASE CONFIG|- PAIRS [DELAY]
 * maptool dump TYPE BASE CONFIG|-
 * maptool hold TYPE BASE CONFIG read|write|fence
 *
 * Reads a live map as others would: with a CONFIG as ZMailer's router does, by plain libdb calls without any bound; else
 * as our own programs do.  The map holds pairs of keys, "pairN-a" and "pairN-b", that always change together
 * to the same value, which only grows.  "read" goes on until SIGTERM and then prints
 *
 *   lookups N longest MS half N absent N untold N ms N
 *
 * `half`: times it saw one of a pair changed and the other not.  The number of lookups so far stands in the first bytes of its
 * standard output, which is a file.  "dump" prints KEY TAB VALUE for all records but notes.  "hold" is a stranger in the environment who
 * opens a cursor, or anybody who takes the fence; it prints "held", and keeps it until it is killed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "db/live/fence.h"
#include "db/live/livemap.h"
#include "db/map/map.h"
#include "lib/log.h"
#include "tests/lib/as_router.h"

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

struct reader {
	struct map *map;         /* ours */
	DB *db;                  /* as a router */
	uint64_t lookups, half, absent, untold;
	double longest;
};

/* ---- both ---- */

/* The number under a key; -1 if there was no answer. */
static int64_t look(struct reader *r, const char *key)
{
	struct buf value = { 0 };
	double begun = now_ms(), took;
	enum map_answer answer = r->db != NULL ? router_find(r->db, key, &value) : map_find(r->map, key, &value);
	int64_t number = answer == MAP_FOUND ? strtoll(buf_str(&value), NULL, 10) : -1;

	took = now_ms() - begun;
	if (took > r->longest)
		r->longest = took;
	r->lookups++;
	r->absent += answer == MAP_NOT_FOUND;
	r->untold += answer == MAP_COULD_NOT_TELL;
	if (answer == MAP_COULD_NOT_TELL && r->map != NULL && r->untold < 5)
		complain("%s", map_error(r->map));
	buf_free(&value);
	return number;
}

static void look_at_pair(struct reader *r, unsigned pair)
{
	char a[32], b[32];
	int64_t first, other, again;

	snprintf(a, sizeof a, "pair%u-a", pair);
	snprintf(b, sizeof b, "pair%u-b", pair);
	first = look(r, a);
	other = look(r, b);
	again = look(r, a);
	/* no batch came between, as values only grow */
	if (first >= 0 && other >= 0 && first == again && first != other)
		r->half++;
}

static void show_life(const struct reader *r)
{
	char text[16];

	snprintf(text, sizeof text, "%08" PRIu64 "\n", r->lookups % 100000000);
	if (pwrite(STDOUT_FILENO, text, 9, 0) < 0)
		return;
}

static int read_map(const char *type, const char *base, const char *config, unsigned pairs, unsigned delay)
{
	struct reader r = { .map = NULL };
	struct buf why = { 0 };
	double begun = now_ms();
	int status = EX_OK;

	signal(SIGTERM, stop);
	if (config != NULL)
		r.db = router_open(type, base, config, 0, DB_RDONLY);
	else
		r.map = map_open(type, base, NULL, &status, &why);
	if (status != EX_OK)
		die(status, "%s", buf_str(&why));
	srand((unsigned)getpid());
	while (!stopped) {
		if (r.map != NULL)
			map_refresh(r.map);
		look_at_pair(&r, 1 + (unsigned)rand() % pairs);
		if (r.lookups % 100 < 3)
			show_life(&r);
		if (delay != 0)
			usleep(delay);
	}
	dprintf(STDOUT_FILENO, "lookups %" PRIu64 " longest %.0f half %" PRIu64 " absent %" PRIu64 " untold %" PRIu64 " ms %.0f\n",
	        r.lookups, r.longest, r.half, r.absent, r.untold, now_ms() - begun);
	map_close(&r.map);
	_exit(0);
}

static bool print_record(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	(void)context;
	printf("%.*s\t%.*s\n", (int)key_length, key, (int)value_length, value);
	return true;
}

static int dump(const char *type, const char *base, const char *config)
{
	struct livemap_settings settings = { .type = type, .base = base, .config = config, .folding = '-', .wait = 2 };
	struct buf why = { 0 };
	int status = EX_OK;
	struct livemap *u = livemap_open(&settings, &status, &why);

	if (u != NULL)
		status = livemap_walk(u, print_record, NULL, &why);
	livemap_close(&u);
	if (status != EX_OK)
		complain("%s", buf_str(&why));
	return status;
}

static void wait_for_death(void)
{
	printf("held\n");
	fflush(stdout);
	for (;;)
		pause();
}

static int hold_fence(const char *type, const char *base)
{
	struct fence fence;
	struct buf why = { 0 };
	char *path = xasprintf("%s%s", base, map_suffix(type));

	if (fence_open(&fence, path, &why) != EX_OK || fence_take(&fence, 0, &why) != EX_OK)
		die(EX_TEMPFAIL, "%s", buf_str(&why));
	wait_for_death();
	return EX_OK;
}

static int hold(const char *type, const char *base, const char *config, bool write)
{
	struct reader r = { .map = NULL };
	DBT key = { 0 }, value = { 0 };
	DBC *cursor;

	r.db = router_open(type, base, config, 0, 0);
	if (r.db->cursor(r.db, NULL, &cursor, write ? DB_WRITECURSOR : 0) != 0 || cursor->get(cursor, &key, &value, DB_FIRST) != 0)
		return EX_TEMPFAIL;
	wait_for_death();
	return EX_OK;
}

int main(int argc, char **argv)
{
	const char *config;

	log_program("maptool");
	if (argc < 5)
		die(EX_USAGE, "read or dump, TYPE BASE CONFIG|-");
	config = strcmp(argv[4], "-") == 0 ? NULL : argv[4];
	if (strcmp(argv[1], "dump") == 0)
		return dump(argv[2], argv[3], config);
	if (argc < 6)
		die(EX_USAGE, "read: how many pairs? hold: read or write?");
	if (strcmp(argv[5], "fence") == 0)
		return hold_fence(argv[2], argv[3]);
	if (strcmp(argv[1], "hold") == 0)
		return hold(argv[2], argv[3], config, strcmp(argv[5], "write") == 0);
	return read_map(argv[2], argv[3], config, (unsigned)atoi(argv[5]), argc > 6 ? (unsigned)atoi(argv[6]) : 0);
}
