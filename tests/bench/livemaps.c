/*
 * livemaps TYPE BASE CONFIG|- RECORDS SECONDS [CPU]
 *
 * Looks up random keys "userN@domainM.example" of a map that others change meanwhile: without a CONFIG by our own map interface, with
 * the -m check before every lookup; with one by plain libdb calls in the environment, as ZMailer's router does.  Runs on
 * the processor CPU, if given.
 *
 * Prints "ready" when the map is open and warm, begins when a line comes on standard input, and prints
 *
 *   lookups N seconds S cpu S longest MS absent N untold N
 */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "db/map/map.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "tests/lib/as_router.h"

#define WARM_UP 200000

/* What a router has by default would be too small for anybody. */
#define CACHE (64u << 20)

struct reader {
	struct map *map;         /* ours */
	DB *db;                  /* as a router */
	uint64_t records, lookups, absent, untold;
	double longest;
};

static double clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void look(struct reader *r, struct buf *value)
{
	uint64_t n = 1 + (uint64_t)random() % r->records;
	enum map_answer answer;
	char key[64];

	snprintf(key, sizeof key, "user%" PRIu64 "@domain%" PRIu64 ".example", n, n % 1000);
	buf_clear(value);
	if (r->map != NULL)
		map_refresh(r->map);
	answer = r->map != NULL ? map_find(r->map, key, value) : router_find(r->db, key, value);
	r->lookups++;
	r->absent += answer == MAP_NOT_FOUND;
	r->untold += answer == MAP_COULD_NOT_TELL;
}

static void run(struct reader *r, double seconds)
{
	struct buf value = { 0 };
	double begun, now, before, cpu;
	char go[8];

	for (unsigned i = 0; i < WARM_UP; i++)
		look(r, &value);
	r->lookups = 0;
	printf("ready\n");
	fflush(stdout);
	if (fgets(go, sizeof go, stdin) == NULL)
		return;
	cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
	now = begun = clock_of(CLOCK_MONOTONIC);
	while (now - begun < seconds) {
		before = now;
		look(r, &value);
		now = clock_of(CLOCK_MONOTONIC);
		if (now - before > r->longest)
			r->longest = now - before;
	}
	printf("lookups %" PRIu64 " seconds %.3f cpu %.3f longest %.0f absent %" PRIu64 " untold %" PRIu64 "\n", r->lookups, now - begun,
	       clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu, r->longest * 1e3, r->absent, r->untold);
	buf_free(&value);
}

static void stay_on(const char *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)atoi(cpu), &set);
	sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv)
{
	struct reader r = { .map = NULL };
	struct buf why = { 0 };
	int status = EX_OK;

	log_program("livemaps");
	if (argc < 6 || !parse_number(argv[4], UINT32_MAX, &r.records) || r.records == 0)
		die(EX_USAGE, "usage: livemaps TYPE BASE CONFIG|- RECORDS SECONDS [CPU]");
	if (argc > 6)
		stay_on(argv[6]);
	srandom((unsigned)getpid());
	if (strcmp(argv[3], "-") != 0)
		r.db = router_open(argv[1], argv[2], argv[3], CACHE, DB_RDONLY);
	else
		r.map = map_open(argv[1], argv[2], NULL, &status, &why);
	if (status != EX_OK)
		die(status, "%s", buf_str(&why));
	run(&r, atof(argv[5]));
	map_close(&r.map);
	if (r.db != NULL) {
		DB_ENV *env = r.db->get_env(r.db);

		r.db->close(r.db, 0);
		env->close(env, 0);
	}
	return 0;
}
