/*
 * routing DBASES COUNT [bare FILE ...]
 *
 * Routes COUNT addresses through the maps of DBASES and prints "SECONDS LOOKUPS"; with bare it gets as many keys of the
 * same kind straight from these Berkeley DB files and prints "SECONDS GETS".  Addresses come in no order of the
 * maps: half are users with a tail in fqdnroutes, half aliases to them.
 */
#include <db.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "db/route/setup.h"
#include "lib/log.h"

#define RECORDS 1000000

static uint64_t lookups;
static const struct map_operations *real;
static struct map_operations counting;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Numbers without order, the same in each run. */
static unsigned next_number(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((*state >> 33) % RECORDS);
}

static enum map_answer count_find(struct map *map, const char *key, size_t length, struct buf *value)
{
	lookups++;
	return real->find(map, key, length, value);
}

static void tell(void *context, const struct fault *fault)
{
	(void)context;
	complain("%s:%zu: %s", fault->file, fault->line, fault->text);
}

static struct router *open_router(const char *path)
{
	static char host[] = "hostname=mx.bench.test";
	static char *const settings[] = { host };
	struct dbases dbases;
	struct zenv zenv;
	struct buf why = { 0 }, notes = { 0 };
	struct router *r = NULL;
	int status = zenv_read(&zenv, &why);

	if (status == EX_OK && (status = dbases_read(&dbases, path, &zenv, tell, NULL)) == EX_OK)
		r = router_open(&dbases, settings, 1, &status, &why, &notes);
	if (r == NULL)
		die(status, "%s", buf_str(&why));
	return r;
}

static void count_lookups(struct router *r)
{
	for (int i = 0; i < ROUTE_RELATIONS; i++) {
		for (size_t j = 0; r->relations[i] != NULL && j < r->relations[i]->count; j++) {
			struct map *map = r->relations[i]->maps[j].map;

			real = map->operations;
			counting = *real;
			counting.find = count_find;
			map->operations = &counting;
		}
	}
}

static void route_many(const char *path, unsigned count)
{
	struct router *r = open_router(path);
	uint64_t state = 1;
	double start;

	count_lookups(r);
	start = seconds();
	for (unsigned i = 0; i < count; i++) {
		char address[80];
		struct route_query q = { .address = address };
		const struct route_result *results;
		unsigned n = next_number(&state);
		size_t found;

		q.length = (size_t)snprintf(address, sizeof address, i % 2 ? "user%u+Box@bench.test" : "alias%u@bench.test", n);
		if (route(r, &q, &results, &found) != MAP_FOUND || strcmp(results[0].channel, "smtp-lmtp") != 0)
			die(EX_SOFTWARE, "%s was not found: %s %s", address, results[0].channel, results[0].host);
	}
	printf("%.4f %llu\n", seconds() - start, (unsigned long long)lookups);
	router_destroy(&r);
}

static DB *open_bare(const char *path)
{
	DB *db;

	if (db_create(&db, NULL, 0) != 0 || db->open(db, NULL, path, NULL, DB_BTREE, DB_RDONLY, 0) != 0)
		die(EX_NOINPUT, "%s", path);
	return db;
}

/* Half of the keys are there, as in routing. */
static void get_many(const char *aliases, const char *routes, unsigned count)
{
	DB *maps[] = { open_bare(aliases), open_bare(routes) };
	uint64_t state = 1;
	unsigned there = 0;
	double start = seconds();

	for (unsigned i = 0; i < count; i++) {
		char text[80];
		DBT key = { .data = text }, value = { 0 };

		key.size = (u_int32_t)snprintf(text, sizeof text, "%s%u%s@bench.test", i % 2 ? "user" : "alias",
		                               next_number(&state), i % 4 < 2 ? "" : "+box") + 1;
		there += maps[i % 2]->get(maps[i % 2], NULL, &key, &value, 0) == 0;
	}
	printf("%.4f %u\n", seconds() - start, count);
	if (there != count / 4 * 2 + (count % 4 > 2 ? 2 : count % 4))
		die(EX_SOFTWARE, "bare: %u of %u keys found", there, count);
	maps[0]->close(maps[0], 0);
	maps[1]->close(maps[1], 0);
}

int main(int argc, char **argv)
{
	log_program("routing");
	if (argc == 3)
		route_many(argv[1], (unsigned)atoi(argv[2]));
	else if (argc == 6 && strcmp(argv[3], "bare") == 0)
		get_many(argv[4], argv[5], (unsigned)atoi(argv[2]));
	else
		die(EX_USAGE, "routing DBASES COUNT [bare ALIASES ROUTES]");
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}
