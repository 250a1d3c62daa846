/*
 * sqlsync: keeps a live map equal to what a query of a database gives.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "db/keeper.h"
#include "db/live/livemap.h"
#include "db/sql/conn.h"
#include "db/store/store.h"
#include "db/sync/rows.h"
#include "db/sync/shrinkage.h"
#include "db/sync/sqlsource.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/process.h"
#include "lib/wait.h"
#include "lib/zenv.h"

/* A change of several rows sends several notifications: a moment of quiet makes one of them, but not for ever. */
#define QUIET_MS 50
#define GATHER_MS 300

/* How often one that has left the map to another process looks whether that is still there. */
#define LOOK_MS 1000

#define FIRST_DELAY_MS 250
#define LONGEST_DELAY_MS 60000

enum { ALLOW_SHRINK = 1 };

static const struct option_help options[] = {
	{ '1', NULL, "make the map equal to the database once, then end" },
	{ 'f', "FILE", "what to copy, sqlsync.conf" },
	{ 'v', NULL, "print a line for each comparison that changed the map" },
	{ 'w', NULL, "stay, and follow the database until SIGTERM" },
	{ ALLOW_SHRINK, NULL, "write the map even if too many of its records are removed, or all" },
	{ 0 },
};

static const struct option_long longs[] = {
	{ "allow-shrink", ALLOW_SHRINK },
	{ NULL, '\0' },
};

static const struct program program = {
	.name = "sqlsync",
	.synopsis = "[-vV] [--allow-shrink] -f file -1 | -w",
	.purpose = "Keeps a lookup map equal to what a query of PostgreSQL, MySQL or SQLite gives.",
	.options = options,
	.longs = longs,
	.notes = "Exit status: 0; 65 if rows cannot be used or are in conflict, all others are copied;\n"
	         "75 if the database could not tell, or too much would be removed.",
	.help = 'h',
};

struct sync {
	struct sqlsource source;
	struct keeper keeper;
	struct sqlconn *connection;
	bool once, watch, verbose, may_shrink;
	struct livemap_counts counts;   /* of the last comparison */
	enum shrinkage_verdict verdict;   /* about it */
	bool is_equal;                 /* map and database, the last time */
	struct rows rows;
	char *told;                    /* the complaints that were printed last */
	int64_t next;                  /* clock_ms() of the next comparison */
	int64_t not_before;            /* a long comparison is not made all the time */
	int64_t delay;                 /* after one that failed */
	int64_t touched;               /* the first notification since the last comparison; 0: none */
	sigset_t unblocked;            /* while waiting and asking */
};

/* ---- the database --------------------------------------------------------------------------------- */

static void restart_rows(void *context)
{
	rows_restart(context);
}

/* ---- the map -------------------------------------------------------------------------------------- */

struct guard {
	struct shrinkage shrinkage;   /* as the map says */
	bool may_shrink;
	enum shrinkage_verdict verdict;
	struct shrinking change;
};

/* Removals of the last ten minutes count together, those of other runs as well: the map keeps them. */
static bool guard_removal(void *context, struct livemap *livemap, const struct livemap_counts *counts)
{
	struct guard *g = context;
	const bool was_empty = g->shrinkage.may_be_empty;
	struct buf note = { 0 };

	g->change = (struct shrinking){
		.now = shrinkage_now(), .keys = counts->before, .removed = counts->removed,
		.left = counts->before + counts->added - counts->removed, .may_shrink = g->may_shrink,
	};
	g->verdict = shrinkage_judge(&g->shrinkage, &g->change);
	if (g->verdict == SHRINKAGE_FINE && (counts->removed > 0 || g->shrinkage.may_be_empty != was_empty)) {
		shrinkage_encode(&note, &g->shrinkage);
		livemap_note(livemap, SYNC_SHRINKAGE, buf_str(&note), note.len);
	}
	buf_free(&note);
	return g->verdict == SHRINKAGE_FINE;
}

static void explain_nothing(const struct sync *s, const char *what, struct buf *why)
{
	buf_clear(why);
	buf_addf(why, "%s: the database gives no usable row%s", s->source.map.base, what);
}

static int replace_map(struct sync *s, struct livemap *livemap, struct buf *why)
{
	struct guard guard = { .may_shrink = s->may_shrink };
	struct buf note = { 0 };
	enum map_answer answer = livemap_read_note(livemap, SYNC_SHRINKAGE, &note, why);
	int status = EX_TEMPFAIL;

	if (answer == MAP_FOUND)
		shrinkage_decode(buf_str(&note), note.len, &guard.shrinkage);
	if (answer != MAP_COULD_NOT_TELL)
		status = livemap_replace(livemap, &s->rows.records, NULL, guard_removal, &guard, &s->counts, why);
	s->verdict = guard.verdict;
	if (s->verdict == SHRINKAGE_NO_KEYS)
		explain_nothing(s, ", and the map has none", why);
	if (s->verdict == SHRINKAGE_TOO_MUCH) {
		buf_clear(why);
		buf_addf(why, "%s: ", s->source.map.base);
		shrinkage_explain(&guard.shrinkage, &guard.change, why);
	}
	buf_free(&note);
	return status;
}

/* A map that is not there is made when its whole content has come; an empty one would answer "not found" for every key. */
static int make_map(struct sync *s, struct livemap *livemap, struct buf *why)
{
	struct records *records = &s->rows.records;
	struct guard guard = { .may_shrink = s->may_shrink };
	size_t usable = 0;

	for (size_t i = 0; i < records->count; i++) {
		struct record *r = &records->list[i];

		usable += r->value != NULL;
		if (r->value == NULL) {
			r->value = UNCLEAR_VALUE;
			r->value_length = sizeof UNCLEAR_VALUE - 1;
		}
	}
	s->counts = (struct livemap_counts){ .added = usable };
	if (!guard_removal(&guard, livemap, &s->counts)) {
		s->verdict = guard.verdict;
		explain_nothing(s, "; no map was made", why);
		return EX_TEMPFAIL;
	}
	/* that it may be empty is in the note, which makes it */
	s->counts.added = records->count;
	if (usable == 0)
		return livemap_commit(livemap, why);
	return livemap_create(&s->keeper.livemap, records, NULL, why);
}

static void print_counts(const struct sync *s)
{
	const struct livemap_counts *c = &s->counts;
	const unsigned long long records = c->before + c->added - c->removed;

	printf("%llu record%s: %llu added, %llu changed, %llu removed", records, records == 1 ? "" : "s",
	       (unsigned long long)c->added, (unsigned long long)c->changed, (unsigned long long)c->removed);
	if (s->rows.unusable > 0)
		printf(", %zu unusable", s->rows.unusable);
	puts("");
	fflush(stdout);
}

/* Fills s->rows.  What a signal asks for comes at once, however long the database takes.  False with `why`. */
static bool read_rows(struct sync *s, struct buf *why)
{
	const int64_t silence = s->source.access.timeout * 1000;
	const struct sql_question question = {
		.text = s->source.query, .deadline = clock_ms() + silence, .silence = silence,
		.row = rows_add, .restart = restart_rows, .context = &s->rows,
	};
	sigset_t before;
	bool done;

	keeper_may_leave(true);
	sigprocmask(SIG_SETMASK, &s->unblocked, &before);
	done = sqlconn_ask(s->connection, &question, why);
	sigprocmask(SIG_SETMASK, &before, NULL);
	keeper_may_leave(false);
	if (done && s->rows.fault != NULL)
		buf_adds(why, s->rows.fault);
	return done && s->rows.fault == NULL;
}

/* All rows have come: writes what differs. */
static int write_rows(struct sync *s, struct livemap *livemap, struct buf *why)
{
	int status;

	rows_settle(&s->rows);
	status = livemap_is_missing(livemap) ? make_map(s, livemap, why) : replace_map(s, livemap, why);
	if (s->verdict != SHRINKAGE_FINE)
		buf_adds(why, "; --allow-shrink if that is meant");
	if (status == EX_OK) {
		const char *now = buf_str(&s->rows.complaints);

		/* the same rows are complained of once, not each time */
		if (s->told == NULL || strcmp(s->told, now) != 0)
			complain_lines(now);
		free(s->told);
		s->told = strdup(now);
	}
	return status;
}

/* One comparison, from the query to the map.  Failures are reported. */
static int compare(struct sync *s)
{
	struct livemap_settings settings = s->keeper.livemap;
	struct buf why = { 0 };
	const bool is_told = s->verdict == SHRINKAGE_NO_KEYS;
	struct livemap *livemap;
	int status = EX_OK;

	settings.create = true;
	s->verdict = SHRINKAGE_FINE;
	s->counts = (struct livemap_counts){ 0 };
	livemap = livemap_open(&settings, &status, &why);
	if (livemap != NULL) {
		s->rows.livemap = livemap;
		if (read_rows(s, &why))
			status = write_rows(s, livemap, &why);
		else
			status = s->rows.fault != NULL ? EX_CONFIG : EX_TEMPFAIL;
	}
	if (status != EX_OK && !(is_told && s->verdict == SHRINKAGE_NO_KEYS))
		keeper_complain(&why);
	livemap_close(&livemap);
	records_free(&s->rows.records);
	buf_free(&why);
	return status;
}

/* ---- -1 and -w ------------------------------------------------------------------------------------ */

static int run_once(struct sync *s)
{
	const int status = compare(s);

	if (status == EX_OK)
		print_counts(s);
	return status == EX_OK && s->rows.unusable > 0 ? EX_DATAERR : status;
}

/* Compares, and says when to do it again.  Returns EX_OK, or what ends the program. */
static int compare_and_plan(struct sync *s)
{
	const int64_t start = clock_ms();
	const bool was_equal = s->is_equal;
	const int status = compare(s);
	const int64_t now = clock_ms();

	s->touched = 0;
	s->not_before = now + (now - start);
	s->is_equal = status == EX_OK;
	if (status == EX_OK) {
		s->delay = 0;
		s->next = start + s->source.interval * 1000;
		if (s->verbose && s->counts.added + s->counts.changed + s->counts.removed > 0)
			print_counts(s);
		if (s->verbose && !was_equal)
			puts("in step with the database");
		fflush(stdout);
		return EX_OK;
	}
	/* nothing is at stake while the map has no key: whoever fills the table needs not start us */
	if (s->verdict == SHRINKAGE_NO_KEYS) {
		s->delay = 0;
		s->next = start + s->source.interval * 1000;
		return EX_OK;
	}
	s->delay = backoff_next(s->delay, FIRST_DELAY_MS, LONGEST_DELAY_MS);
	s->next = now + s->delay;
	return s->verdict == SHRINKAGE_TOO_MUCH ? EX_TEMPFAIL : EX_OK;
}

static int follow(struct sync *s)
{
	int status = EX_OK;

	while (!keeper_is_stopped() && status == EX_OK) {
		struct pollfd p = { .events = POLLIN };
		int64_t now, when;

		if (clock_ms() >= s->next && !keeper_is_alone())
			s->next = s->not_before = clock_ms() + LOOK_MS;
		else if (clock_ms() >= s->next)
			status = compare_and_plan(s);
		/*
		 * a notification, or a lost session, which may have lost one: the next comparison is as soon as that makes
		 * sense
		 */
		now = clock_ms();
		if (sqlconn_has_news(s->connection)) {
			if (s->touched == 0)
				s->touched = now;
			when = now + QUIET_MS < s->touched + GATHER_MS ? now + QUIET_MS : s->touched + GATHER_MS;
			when = when > s->not_before ? when : s->not_before;
			/* a server that has just failed is left alone for its while */
			s->next = s->delay > 0 ? s->next : when;
		}
		p.fd = sqlconn_socket(s->connection);
		if (status == EX_OK)
			wait_for(&p, 1, s->next > s->not_before ? s->next : s->not_before, &s->unblocked);
	}
	return status;
}

/* ---- start ---------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
	struct sync s = { 0 };
	struct buf why = { 0 };
	const char *file = NULL;
	int c, status;

	process_begin(program.name);
	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case '1': s.once = true; break;
		case 'f': file = optarg; break;
		case 'v': s.verbose = true; break;
		case 'w': s.watch = true; break;
		case ALLOW_SHRINK: s.may_shrink = true; break;
		}
	}
	if (optind < argc)
		option_usage(&program, "unexpected word \"%s\"", argv[optind]);
	if (file == NULL)
		option_usage(&program, "-f FILE is missing");
	if (s.once == s.watch)
		option_usage(&program, "expected either -1 or -w");
	if (s.verbose)
		zenv_tell();
	status = sqlsource_read(&s.source, file, &why);
	if (status == EX_OK && driver_load(s.source.database, &why) == NULL)
		status = EX_UNAVAILABLE;
	if (status != EX_OK) {
		keeper_complain(&why);
		exit(status);
	}
	s.keeper.livemap = (struct livemap_settings){
		.type = s.source.map.type, .base = s.source.map.base, .config = s.source.map.environment,
		.folding = s.source.map.folding,
	};
	keeper_ask_dbases(&s.keeper, s.verbose);
	s.rows.format = &s.source.result_format;
	s.rows.check = s.keeper.check;
	s.rows.folding = s.keeper.livemap.folding;
	s.connection = sqlconn_get(s.source.database, &s.source.access);
	if (s.source.channel != NULL && s.watch)
		sqlconn_listen(s.connection, s.source.channel);
	keeper_catch_signals(s.once ? EX_TEMPFAIL : EX_OK, &s.unblocked);
	keeper_lock(s.source.map.base, "sqlsync", file);
	status = s.once ? run_once(&s) : follow(&s);
	rows_free(&s.rows);
	free(s.told);
	sqlconn_release(&s.connection);
	keeper_free(&s.keeper);
	sqlsource_free(&s.source);
	return status;
}
