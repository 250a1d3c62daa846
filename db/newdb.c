/*
 * newdb: builds maps from their texts, and the scripts of ZMailer's router.  Called as makedb it takes the arguments of
 * ZMailer's makedb.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "db/build/compile.h"
#include "db/live/live.h"
#include "db/map/map.h"
#include "db/route/beside.h"
#include "db/route/dbases.h"
#include "db/route/nesting.h"
#include "db/route/rebuild.h"
#include "db/route/unasked.h"
#include "db/store/kept.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/process.h"
#include "lib/zenv.h"

/* Faults told one by one; more of them are counted. */
#define MOST_FAULTS 50

/* A load with fewer records is over before its progress could be read. */
#define MANY 300000

#define BOTH_OPTIONS \
	{ 'l', NULL, "fold keys to lower case" }, \
	{ 'u', NULL, "fold keys to upper case" }, \
	{ 'a', NULL, "alias syntax: \"key: value\", continuation lines; keys in lower case" }, \
	{ 'A', NULL, "join the values of repeated keys" }, \
	{ 's', NULL, "print errors and warnings only" }, \
	{ 'v', NULL, "print what is built from which text" }

static const struct option_help newdb_options[] = {
	{ 'f', "DBASES", "build the maps of this file and write the scripts of its relations" },
	{ 't', "TYPE", "btree, bhash or lmdb; without it DBTYPE of zmailer.conf, or btree" },
	BOTH_OPTIONS,
	{ 'k', NULL, "keep the first of several lines with one key instead of refusing them" },
	{ 'n', NULL, "do not check values, nor where lists lead" },
	{ '\0', NULL, NULL },
};

static const struct program newdb = {
	.name = "newdb",
	.synopsis = "[-aAklnsuv] [-t TYPE] BASE [INPUT | -]\n-f DBASES [-knsv] [RELATION ...]",
	.purpose = "Builds lookup maps from text.",
	.options = newdb_options,
	.notes = "INPUT is BASE itself unless given; \"-\" is standard input.  With -f, all maps that are older than their\n"
	         "text are built, or those of the relations named, and changed scripts are written.",
	.help = 'h',
};

static const struct option_help makedb_options[] = {
	BOTH_OPTIONS,
	{ 'p', NULL, "refused: databases of ZMailer's SMTP server are made by its own makedb" },
	{ '\0', NULL, NULL },
};

static const struct program makedb = {
	.name = "makedb",
	.synopsis = "[-l | -u] [-aA] [-s] [-v] TYPE BASE [INPUT | -]",
	.purpose = "Builds a lookup map from text, with the arguments of ZMailer's makedb.",
	.options = makedb_options,
	.notes = "Without INPUT, standard input is read.",
	.help = 'h',
};

struct options {
	const struct program *program;
	const char *dbases;
	const char *type;
	struct text_syntax syntax;
	enum source_duplicates duplicates;
	bool unchecked;
	bool quiet;
	bool verbose;
};

/* ---- what is said ------------------------------------------------------------------- */

struct told {
	size_t count;
	size_t errors;
};

static void tell_fault(void *context, const struct fault *fault)
{
	struct told *told = context;

	if (!fault->is_warning)
		told->errors++;
	if (told->count++ < MOST_FAULTS)
		fault_complain(NULL, fault);
}

/* What dbserve or scripts of the site ask by name gets this warning too: newdb cannot know of them. */
static void tell_unasked(void *context, const struct fault *fault, bool is_slip)
{
	(void)is_slip;
	tell_fault(context, fault);
}

static void tell_rest(const struct told *told)
{
	if (told->count > MOST_FAULTS)
		complain("%zu more, %zu of all are errors", told->count - MOST_FAULTS, told->errors);
}

/* How far it is, on a terminal, and only for builds that take long enough. */
static void show_progress(void *context, const char *step, size_t done, size_t total)
{
	(void)context;
	if (total < MANY)
		return;
	fprintf(stderr, "\r%s: %-10s %3zu %%", log_name(), step, done * 100 / total);
	if (done == total)
		fprintf(stderr, "\r%40s\r", "");
}

typedef void progress_shower(void *context, const char *step, size_t done, size_t total);

static progress_shower *progress_for(const struct options *options)
{
	return !options->quiet && isatty(STDERR_FILENO) ? show_progress : NULL;
}

/* ---- all maps of a dbases.conf ------------------------------------------------------------- */

static void tell_news(void *context, int status, const char *text)
{
	const struct options *options = context;

	if (status != EX_OK)
		complain("%s", text);
	else if (!options->quiet)
		printf("%s\n", text);
}

static int build_all(const struct options *options, char *const *relations)
{
	struct told told = { 0, 0 };
	struct rebuild rebuild = {
		.relations = relations, .unchecked = options->unchecked, .duplicates = options->duplicates,
		.report = tell_fault, .report_context = &told, .progress = progress_for(options), .tell = tell_news,
		.tell_context = (void *)(uintptr_t)options,
	};
	struct dbases dbases;
	struct zenv zenv;
	struct buf why = { 0 };
	int status = zenv_read(&zenv, &why);

	if (status != EX_OK)
		die(status, "%s", buf_str(&why));
	status = dbases_read(&dbases, options->dbases, &zenv, tell_fault, &told);
	for (char *const *name = relations; status == EX_OK && *name != NULL; name++) {
		if (dbases_has(&dbases, *name))
			continue;
		dbases_add_names(&dbases, &why);
		option_usage(options->program, "%s: no relation \"%s\"; it has %s", options->dbases, *name, buf_str(&why));
	}
	if (status == EX_OK) {
		unasked_warn(&dbases, tell_unasked, &told);
		rebuild.dbases = &dbases;
		rebuild.has_router = zenv_has_router(&zenv);
		status = rebuild_all(&rebuild);
		dbases_free(&dbases);
	}
	tell_rest(&told);
	zenv_free(&zenv);
	buf_free(&why);
	return status;
}

/* ---- one map ---------------------------------------------------------------------------------- */

/* Names of files that are always built for one relation, with what may follow them: "fqdnroutes-local". */
static const char *relation_by_name(const char *base)
{
	static const struct { const char *file, *relation; } names[] = {
		{ "aliases", "aliases" }, { "fqdnaliases", "fqdnaliases" }, { "fqdnroutes", "fqdnroutes" },
		{ "routes", "routesdb" }, { "routesdb", "routesdb" }, { "localnames", "thishost" },
	};
	const char *name = file_name(base);

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t n = strlen(names[i].file);

		if (strncmp(name, names[i].file, n) == 0 && (name[n] == '\0' || name[n] == '-' || name[n] == '.'))
			return names[i].relation;
	}
	return "";
}

/* What dbases.conf beside the map says about it.  Returns an exit code; with EX_OK the caller frees *beside. */
static int ask_dbases(const struct options *options, const char *base, struct beside *beside, struct value_check *check,
                      struct told *told)
{
	const struct dbases_map *m;
	int status = beside_find(beside, base, tell_fault, told);

	if (status != EX_OK) {
		complain("%s: cannot tell whether this map is live while dbases.conf has errors", base);
		return status;
	}
	m = beside->map;
	if (m == NULL) {
		value_check_for(check, relation_by_name(base), true, zenv_router_is_here());
	} else if (m->kind == DBASES_LIVE) {
		struct buf maker = { 0 };

		kept_add_maker(base, "dbupdate replace", &maker);
		complain("%s: kept up to date by other means, %s:%zu says -r; use \"%s\"", base, beside->dbases.path, m->line,
		         buf_str(&maker));
		buf_free(&maker);
		beside_free(beside);
		status = EX_CANTCREAT;
	} else {
		value_check_for(check, m->relation, m->lookup.substitute, zenv_router_is_here());
		if (m->syntax.aliases != options->syntax.aliases || m->join != (options->duplicates == DUPLICATES_JOIN) ||
		    text_folding(&m->syntax) != text_folding(&options->syntax))
			complain("warning: %s:%zu builds this map with other options", beside->dbases.path, m->line);
	}
	return status;
}

/* Lists that are too deep, of all maps of dbases.conf; without a line there, in this map alone. */
static void warn_of_nesting(const struct options *options, const char *base, const struct beside *beside,
                            struct told *told)
{
	struct dbases_map alone = {
		.kind = DBASES_BUILT, .type = (char *)(uintptr_t)options->type, .file = (char *)(uintptr_t)base,
		.relation = (char *)(uintptr_t)relation_by_name(base),
		.lookup = { .fold = text_folding(&options->syntax) == 'l' ? FOLD_LOWER : FOLD_NONE, .substitute = true },
	};
	const struct dbases dbases = { .path = (char *)(uintptr_t)base, .maps = &alone, .count = 1 };

	if (nesting_is_list(beside->map != NULL ? beside->map->relation : alone.relation))
		nesting_warn(beside->map != NULL ? &beside->dbases : &dbases, zenv_router_is_here(), tell_fault, told);
}

/* What the records of a map are; makedb calls all of them aliases. */
static const char *noun(const struct options *options, const char *base, size_t count)
{
	const char *relation = options->program == &makedb ? NULL : relation_by_name(base);

	if (options->program == &makedb)
		return "aliases";
	if (relation != NULL && strstr(relation, "routes") != NULL)
		return count == 1 ? "route" : "routes";
	return count == 1 ? "alias" : "aliases";
}

static int build_one(const struct options *options, const char *base, const char *input)
{
	const char *suffix = map_suffix(options->type);
	struct told told = { 0, 0 };
	struct value_check check = { 0 };
	struct buf why = { 0 };
	struct compile compile = {
		.type = options->type, .input = input, .syntax = options->syntax, .duplicates = options->duplicates,
		.check = options->unchecked ? NULL : &check, .uid = (uid_t)-1, .gid = (gid_t)-1, .report = tell_fault,
		.report_context = &told, .progress = progress_for(options),
	};
	int64_t started = clock_ms();
	char *target;
	struct beside beside;
	int status = ask_dbases(options, base, &beside, &check, &told);

	if (status != EX_OK)
		return status;
	target = xasprintf("%s%s", base, suffix);
	compile.target = target;
	status = compile_map(&compile, &why);
	if (status == EX_OK && !options->unchecked)
		warn_of_nesting(options, base, &beside, &told);
	tell_rest(&told);
	if (status == EX_OK) {
		live_sweep(target);
		/* makedb has no such line for plain texts, and its readers expect none */
		if (options->syntax.aliases && !options->quiet)
			printf("%zu %s, longest %zu bytes, %llu bytes total\n", compile.records,
			       noun(options, base, compile.records), compile.longest, (unsigned long long)compile.values_size);
		if (options->verbose)
			complain("%s: built from %s in %lld ms", compile.target,
			         strcmp(compile.input, "-") == 0 ? "standard input" : compile.input,
			         (long long)(clock_ms() - started));
	} else if (compile.said && why.len == 0) {
		/* the line that names it is enough */
	} else if (compile.unsure) {
		complain("%s", buf_str(&why));
	} else {
		complain("%s%s%s", buf_str(&why), why.len > 0 ? "; " : "", access(target, F_OK) == 0 ? "the old map stays"
		                                                                                  : "no map was built");
	}
	value_check_free(&check);
	beside_free(&beside);
	buf_free(&why);
	free(target);
	return status;
}

/* ---- the command line ---------------------------------------------------------------------------- */

static void check_type(const struct options *options, const char *base)
{
	const struct map_operations *type = map_type(options->type);
	size_t n = strlen(base), m;

	if (type == NULL || type->store == NULL)
		die(EX_UNAVAILABLE, "maps of type \"%s\" cannot be built; expected btree, bhash or lmdb", options->type);
	m = strlen(type->suffix);
	if (n > m && strcmp(base + n - m, type->suffix) == 0)
		option_usage(options->program, "give the name of the map without \"%s\"", type->suffix);
}

static int as_newdb(struct options *options, int argc, char **argv)
{
	if (options->verbose)
		zenv_tell();
	if (options->dbases != NULL) {
		if (options->type != NULL || options->syntax.aliases || options->syntax.folding != '-' ||
		    options->duplicates == DUPLICATES_JOIN)
			option_usage(options->program, "with -f, the file says type and options of each map");
		return build_all(options, argv);
	}
	if (argc < 1 || argc > 2)
		option_usage(options->program, "expected BASE [INPUT]");
	if (strcmp(file_name(argv[0]), "dbases.conf") == 0)
		option_usage(options->program, "%s: use \"newdb -f %s\" to build the maps that it names", argv[0], argv[0]);
	if (options->type == NULL)
		options->type = zenv_default_type();
	check_type(options, argv[0]);
	return build_one(options, argv[0], argc > 1 ? argv[1] : argv[0]);
}

static int as_makedb(struct options *options, int argc, char **argv)
{
	if (argc < 2 || argc > 3)
		option_usage(options->program, "expected TYPE BASE [INPUT]");
	if (options->duplicates == DUPLICATES_REFUSE)
		options->duplicates = DUPLICATES_KEEP_FIRST;
	options->type = argv[0];
	check_type(options, argv[1]);
	return build_one(options, argv[1], argc > 2 ? argv[2] : "-");
}

int main(int argc, char **argv)
{
	bool is_makedb = strcmp(file_name(argv[0]), "makedb") == 0;
	struct options options = { .program = is_makedb ? &makedb : &newdb, .syntax = { false, '-' } };
	int c, status;

	process_begin(options.program->name);
	while ((c = option_next(options.program, argc, argv)) != -1) {
		switch (c) {
		case 'f':
			options.dbases = optarg;
			break;
		case 't':
			options.type = optarg;
			break;
		case 'l':
		case 'u':
			if (options.syntax.folding != '-' && options.syntax.folding != c)
				option_usage(options.program, "-l and -u exclude each other");
			options.syntax.folding = (char)c;
			break;
		case 'a':
			options.syntax.aliases = true;
			break;
		case 'A':
			options.duplicates = DUPLICATES_JOIN;
			break;
		case 'k':
			options.duplicates = DUPLICATES_KEEP_FIRST;
			break;
		case 'n':
			options.unchecked = true;
			break;
		case 's':
			options.quiet = true;
			break;
		case 'v':
			options.verbose = true;
			break;
		case 'p':
			die(EX_UNAVAILABLE, "policy databases belong to ZMailer's SMTP server; use its own makedb");
		}
	}
	option_end(options.program, argc, argv);
	status = is_makedb ? as_makedb(&options, argc - optind, argv + optind)
	                   : as_newdb(&options, argc - optind, argv + optind);
	if (fflush(stdout) != 0 && status == EX_OK)
		die(EX_IOERR, "standard output: %s", strerror(errno));
	return status;
}
