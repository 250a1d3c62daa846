/*
 * dblookup: asks maps and relations, and explains the answer.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/build/dump.h"
#include "db/build/origin.h"
#include "db/map/map.h"
#include "db/route/beside.h"
#include "db/route/dbases.h"
#include "db/route/explain.h"
#include "db/route/lookup.h"
#include "db/route/print.h"
#include "db/route/relation.h"
#include "db/route/route.h"
#include "db/route/setup.h"
#include "db/route/substitute.h"
#include "db/route/unasked.h"
#include "db/store/stamp.h"
#include "config.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/process.h"
#include "lib/zenv.h"

/* Exit codes that are no faults. */
#define EXIT_FOUND 0
#define EXIT_NOT_FOUND 1

#define LONG_DUMP '\1'

static const struct option_help help_lines[] = {
	{ 'f', "DBASES", "ask a relation of this file, with its maps and options" },
	{ 'C', "FILE", "the map is in the environment that this file describes" },
	{ 't', "TYPE", "btree, bhash, lmdb, unordered, ordered, ldap, pgsql, mysql, sqlite" },
	{ 'l', NULL, "fold the key to lower case" },
	{ 'u', NULL, "fold the key to upper case" },
	{ '%', NULL, "put ARG ... in for %1 ..." },
	{ 'd', "DRIVER", "pathalias, pathalias.nodot, pathalias.at or longestmatch" },
	{ 'r', NULL, "route addresses: print ADDRESS TAB CHANNEL TAB HOST TAB USER" },
	{ 'o', "NAME=VALUE", "with -r: a setting of the router; any number" },
	{ 'v', NULL, "explain the answer on standard error" },
	{ 'j', NULL, "one JSON object per key" },
	{ LONG_DUMP, NULL, "write the map as text that newdb reads" },
	{ '\0', NULL, NULL },
};

static const struct option_long longs[] = {
	{ "dump", LONG_DUMP },
	{ NULL, '\0' },
};

static const struct program dblookup = {
	.name = "dblookup",
	.synopsis = "[-C FILE] [-t TYPE] [-l | -u] [-%jv] [-d DRIVER] MAP KEY | - [-: DEFAULT] ... [ARG ...]\n"
	            "-f DBASES [-jv] RELATION KEY | - [-: DEFAULT] ... [ARG ...]\n"
	            "-r [-f DBASES] [-jv] [-o NAME=VALUE] ... ADDRESS ... | -\n"
	            "[-C FILE] [-t TYPE] --dump MAP",
	.purpose = "Looks up keys in maps.",
	.options = help_lines,
	.longs = longs,
	.notes = "With -r, DBASES is db/dbases.conf in MAILVAR of ZENV unless -f names it; ZENV is the file that ZCONFIG names,\n"
	         "or " ZCONFIG_PATH ".\n"
	         "\"-\" reads keys from standard input, one a line, and prints KEY TAB VALUE of those found.\n"
	         "With -r, settings stand in router.conf beside DBASES, or with -o: hostname, mydomain, localdoesdomain,\n"
	         "ROUTEUSER_IN_ABNORMAL_UNIX, protocols, max_depth, max_addresses.\n"
	         "Exit status: 0 found, 1 not found, 75 could not tell; of several addresses, the worst.",
	.help = 'h',
};

struct options {
	const char *dbases;
	const char *config;
	const char *type;
	struct lookup_options lookup;
	bool verbose;
	bool json;
	bool dump;
	bool route;
	char **settings;           /* of -o */
	size_t setting_count;
	size_t setting_capacity;
};

struct session {
	const struct options *options;
	struct relation *relation;
	bool *looked_at;           /* per map of the relation: what it says about itself was judged */
	struct question question;
	const char **defaults;
	struct arguments arguments;
	struct hit hit;
	struct explain explain;
	struct buf value;          /* with everything put in */
	struct buf line;
	bool several;              /* keys come from standard input */
	bool found_any;
	bool could_not_tell_any;
};

/* ---- what maps say about themselves -------------------------------------------------- */

static void warn_if_old(const struct map *map)
{
	char *text;

	if (map->is_open && origin_is_newer(map, &text)) {
		complain("warning: %s is newer than %s; run newdb", text, map->path);
		free(text);
	}
}

/* ---- answers --------------------------------------------------------------------------- */

static void print_json(struct session *s, const char *key, enum map_answer answer)
{
	struct buf *out = &s->line;
	const char *file;
	size_t line;

	buf_clear(out);
	buf_addc(out, '{');
	json_string(out, "key", key);
	json_string(out, "answer", map_answer_name(answer));
	if (answer == MAP_FOUND) {
		json_string(out, "value", buf_str(&s->value));
		json_string(out, "matched", buf_str(&s->hit.key));
		json_string(out, "map", s->hit.from->map->path);
		line = explain_source(&s->explain, s->hit.from->map, buf_str(&s->hit.key), &file);
		if (line > 0) {
			json_string(out, "source", file);
			json_number(out, "line", (int64_t)line);
		}
	} else if (answer == MAP_COULD_NOT_TELL) {
		json_string(out, "reason", buf_str(&s->hit.value));
	}
	buf_adds(out, "}\n");
	fputs(buf_str(out), stdout);
}

static void print_text(struct session *s, const char *key, enum map_answer answer)
{
	switch (answer) {
	case MAP_FOUND:
		if (s->several) {
			fputs(key, stdout);
			putchar('\t');
		}
		fputs(buf_str(&s->value), stdout);
		putchar('\n');
		break;
	case MAP_NOT_FOUND:
		break;
	case MAP_COULD_NOT_TELL:
		complain("%s: could not tell: %s", key, buf_str(&s->hit.value));
		break;
	}
}

static void ask(struct session *s, const char *key)
{
	const char *value;
	enum map_answer answer;
	bool substitutes = false;

	s->question.key = key;
	answer = relation_find(s->relation, &s->question, &s->hit, s->options->verbose ? explain_lookup : NULL, &s->explain);
	for (size_t i = 0; i < s->relation->count; i++) {
		if (s->looked_at[i] || !s->relation->maps[i].map->is_open)
			continue;
		s->looked_at[i] = true;
		warn_if_old(s->relation->maps[i].map);
	}
	if (answer == MAP_FOUND) {
		s->found_any = true;
		value = buf_str(&s->hit.value);
		substitutes = s->hit.from->options.substitute && substitute_needed(value);
		buf_clear(&s->value);
		if (substitutes) {
			s->arguments.text[0] = buf_str(&s->hit.part);
			substitute(&s->value, value, &s->arguments);
		} else {
			buf_add(&s->value, value, s->hit.value.len);
		}
	} else if (answer == MAP_COULD_NOT_TELL) {
		s->could_not_tell_any = true;
	}
	if (s->options->verbose) {
		if (substitutes)
			explain_line(&s->explain, "  with %%0 = \"%s\": %s", buf_str(&s->hit.part), buf_str(&s->value));
		fputs(buf_str(&s->explain.out), stderr);
		buf_clear(&s->explain.out);
	}
	if (s->options->json)
		print_json(s, key, answer);
	else
		print_text(s, key, answer);
}

/* The lines of /dev/zero would fill the memory. */
static void check_input(void)
{
	if (!file_ends(STDIN_FILENO))
		die(EX_NOINPUT, "standard input: %s", file_error(errno));
}

/* ---- what is asked ------------------------------------------------------------------------ */

static void tell_fault(void *context, const struct fault *fault)
{
	const struct options *options = context;

	if (!fault->is_warning || options->verbose)
		fault_complain(NULL, fault);
}

/* Reads dbases.conf, or ends the program. */
static void read_dbases(const struct options *options, struct dbases *dbases, struct zenv *zenv)
{
	struct buf why = { 0 };
	int status = zenv_read(zenv, &why);

	if (status != EX_OK)
		die(status, "%s", buf_str(&why));
	status = dbases_read(dbases, options->dbases, zenv, tell_fault, (void *)(uintptr_t)options);
	if (status != EX_OK)
		exit(status);
}

static struct relation *open_relation(const struct options *options, const char *name)
{
	struct relation *relation;
	struct dbases dbases;
	struct zenv zenv;
	struct buf why = { 0 };
	int status;

	read_dbases(options, &dbases, &zenv);
	for (size_t i = 0; i < dbases.count; i++)
		unasked_warn_of_slip(&dbases, &dbases.maps[i], fault_complain, NULL);
	relation = dbases_relation(&dbases, name, &status, &why);
	if (relation == NULL)
		die(status, "%s", buf_str(&why));
	dbases_free(&dbases);
	zenv_free(&zenv);
	buf_free(&why);
	return relation;
}

/* The type of a map that is on disk: the one whose file there is.  NULL if there is none, or more than one. */
static const char *type_on_disk(const char *name)
{
	static const char *const types[] = { "btree", "lmdb", "bhash" };
	const char *type = NULL;

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		const char *suffix = map_suffix(types[i]);
		size_t n = strlen(name), m = suffix != NULL ? strlen(suffix) : 0;
		char *path;
		bool is_there;

		if (suffix == NULL)
			continue;
		if (n > m && strcmp(name + n - m, suffix) == 0)
			return types[i];
		path = xasprintf("%s%s", name, suffix);
		is_there = access(path, F_OK) == 0;
		free(path);
		if (is_there && type != NULL)
			return NULL;
		if (is_there)
			type = types[i];
	}
	return type;
}

/*
 * A map by its name: what the command line does not say comes from dbases.conf beside the map, as it would be wrong to
 * read a live map without its environment; the type at last from the file that is there.
 */
static struct map *open_map(const struct options *options, const char *name, bool *is_live)
{
	const char *type = options->type, *config = options->config;
	struct beside beside = { .map = NULL };
	struct buf why = { 0 };
	struct map *map;
	int status = beside_find(&beside, name, tell_fault, (void *)(uintptr_t)options);

	if (status != EX_OK)
		die(status, "%s: cannot tell whether this map is live while dbases.conf has errors", name);
	*is_live = beside.map != NULL && beside.map->kind == DBASES_LIVE;
	if (beside.map != NULL && config == NULL && (type == NULL || strcmp(type, beside.map->type) == 0))
		config = beside.map->config;
	if (type == NULL)
		type = beside.map != NULL ? beside.map->type : type_on_disk(name);
	if (type == NULL)
		die(EX_NOINPUT, "%s: there is no .db, .dbh or .lmdb of this name, or more than one of them; give the type with -t", name);
	map = map_open(type, name, config, &status, &why);
	if (map == NULL)
		die(status, "%s", buf_str(&why));
	if (options->verbose && config != NULL && options->config == NULL)
		complain("%s: in the environment of %s", map->path, config);
	beside_free(&beside);
	buf_free(&why);
	return map;
}

static struct relation *relation_of_map(const struct options *options, const char *name)
{
	struct relation *relation = relation_create(file_name(name));
	bool is_live;

	relation_add(relation, open_map(options, name, &is_live), &options->lookup);
	return relation;
}

static int dump(const struct options *options, int argc, char **argv)
{
	struct map *map;
	struct buf why = { 0 };
	bool is_live;
	int status;

	if (argc != 1 || options->dbases != NULL)
		option_usage(&dblookup, "expected --dump MAP");
	map = open_map(options, argv[0], &is_live);
	status = dump_map(map, is_live, stdout, &why);
	if (status != EX_OK)
		complain("%s", buf_str(&why));
	buf_free(&why);
	map_close(&map);
	return status;
}

/* Behind the key: "-: DEFAULT" any number of times, "--" perhaps, and arguments for %1 to %9 (maps.md section 10). */
static void take_arguments(struct session *s, int argc, char **argv)
{
	int i = 0;

	s->defaults = xcalloc((size_t)argc + 1, sizeof *s->defaults);
	for (; i < argc && strcmp(argv[i], "-:") == 0; i += 2) {
		if (i + 1 == argc)
			option_usage(&dblookup, "-: needs a default key after it");
		s->defaults[s->question.default_count++] = argv[i + 1];
	}
	s->question.defaults = s->defaults;
	if (i < argc && strcmp(argv[i], "--") == 0)
		i++;
	for (int n = 1; i < argc; i++, n++) {
		if (n > 9)
			option_usage(&dblookup, "there are no more than nine arguments, %%1 to %%9");
		s->arguments.text[n] = argv[i];
	}
}

static int look_up(const struct options *options, int argc, char **argv)
{
	struct session s = { .options = options };
	int status;

	if (argc < 2)
		option_usage(&dblookup, "expected %s KEY, or -r ADDRESS", options->dbases != NULL ? "RELATION" : "MAP");
	take_arguments(&s, argc - 2, argv + 2);
	s.relation = options->dbases != NULL ? open_relation(options, argv[0]) : relation_of_map(options, argv[0]);
	s.looked_at = xcalloc(s.relation->count + 1, sizeof *s.looked_at);
	s.explain.relation = s.relation->name;
	if (strcmp(argv[1], "-") == 0) {
		char *line = NULL;
		size_t size = 0, number = 0;
		ssize_t n;

		check_input();
		s.several = true;
		while ((n = file_getline(stdin, &line, &size, &number)) >= 0) {
			if (memchr(line, '\0', (size_t)n) != NULL)
				die(EX_DATAERR, "standard input: NUL byte in a key");
			ask(&s, line);
			if (ferror(stdout))
				break;
		}
		free(line);
		if (ferror(stdin))
			die(EX_IOERR, "standard input: %s", strerror(errno));
	} else {
		ask(&s, argv[1]);
	}
	status = s.could_not_tell_any ? EX_TEMPFAIL : s.found_any ? EXIT_FOUND : EXIT_NOT_FOUND;
	relation_destroy(&s.relation);
	hit_free(&s.hit);
	explain_free(&s.explain);
	buf_free(&s.value);
	buf_free(&s.line);
	free(s.looked_at);
	free(s.defaults);
	return status;
}

/* ---- addresses ----------------------------------------------------------------------------- */

/* What -r keeps between two addresses. */
struct routing {
	const struct options *options;
	struct router *router;
	struct explain explain;
	struct buf out;
	enum map_answer worst;
};

static struct router *open_router(const struct options *options)
{
	struct dbases dbases;
	struct zenv zenv;
	struct buf why = { 0 }, notes = { 0 };
	struct router *router;
	int status;

	read_dbases(options, &dbases, &zenv);
	router = router_open(&dbases, options->settings, options->setting_count, &status, &why, &notes);
	if (router == NULL)
		die(status, "%s", buf_str(&why));
	complain_lines(buf_str(&notes));
	dbases_free(&dbases);
	zenv_free(&zenv);
	buf_free(&why);
	buf_free(&notes);
	return router;
}

static void route_address(struct routing *r, const char *address, size_t length)
{
	enum map_answer answer;

	buf_clear(&r->out);
	answer = route_print(r->router, address, length, r->options->verbose ? &r->explain : NULL, r->options->json, &r->out);
	/* answers are worse from found to not found to could not tell */
	if (answer > r->worst)
		r->worst = answer;
	if (r->options->verbose) {
		fputs(buf_str(&r->explain.out), stderr);
		buf_clear(&r->explain.out);
	}
	fwrite(buf_str(&r->out), 1, r->out.len, stdout);
	if (r->options->verbose)
		fflush(stdout);
}

static int route_all(const struct options *options, int argc, char **argv)
{
	struct routing r = { .options = options, .worst = MAP_FOUND };

	if (argc < 1)
		option_usage(&dblookup, "expected -r ADDRESS");
	if (options->dbases == NULL)
		option_usage(&dblookup, "expected the maps that route addresses: -f, or MAILVAR in the file that ZCONFIG names");
	r.router = open_router(options);
	if (argc == 1 && strcmp(argv[0], "-") == 0) {
		char *line = NULL;
		size_t size = 0, number = 0;
		ssize_t n;

		check_input();
		while ((n = file_getline(stdin, &line, &size, &number)) >= 0 && !ferror(stdout))
			route_address(&r, line, (size_t)n);
		free(line);
		if (ferror(stdin))
			die(EX_IOERR, "standard input: %s", strerror(errno));
	} else {
		for (int i = 0; i < argc; i++)
			route_address(&r, argv[i], strlen(argv[i]));
	}
	for (int i = 0; i < ROUTE_RELATIONS; i++)
		for (size_t j = 0; r.router->relations[i] != NULL && j < r.router->relations[i]->count; j++)
			warn_if_old(r.router->relations[i]->maps[j].map);
	router_destroy(&r.router);
	explain_free(&r.explain);
	buf_free(&r.out);
	switch (r.worst) {
	case MAP_FOUND:
		return EXIT_FOUND;
	case MAP_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case MAP_COULD_NOT_TELL:
		break;
	}
	return EX_TEMPFAIL;
}

/* ---- the command line ------------------------------------------------------------------------ */

static void take_option(struct options *options, int c)
{
	struct lookup_options lookup;
	struct buf why = { 0 };
	char *config = NULL, *text;

	switch (c) {
	case 'f':
		options->dbases = optarg;
		break;
	case 'C':
		options->config = optarg;
		break;
	case 't':
		options->type = optarg;
		break;
	case 'l':
	case 'u':
		if (options->lookup.fold != FOLD_NONE && (options->lookup.fold == FOLD_LOWER) != (c == 'l'))
			option_usage(&dblookup, "-l and -u exclude each other");
		options->lookup.fold = c == 'l' ? FOLD_LOWER : FOLD_UPPER;
		break;
	case '%':
		options->lookup.substitute = true;
		break;
	case 'd':
		text = xasprintf("-d %s", optarg);
		if (!lookup_options_parse(text, &lookup, &config, &why))
			option_usage(&dblookup, "%s", buf_str(&why));
		options->lookup.driver = lookup.driver;
		free(text);
		free(config);
		buf_free(&why);
		break;
	case 'v':
		options->verbose = true;
		break;
	case 'j':
		options->json = true;
		break;
	case 'r':
		options->route = true;
		break;
	case 'o':
		options->settings = xgrow(options->settings, options->setting_count, &options->setting_capacity,
		                          sizeof *options->settings);
		options->settings[options->setting_count++] = optarg;
		break;
	case LONG_DUMP:
		options->dump = true;
		break;
	}
}

int main(int argc, char **argv)
{
	struct options options = { .dbases = NULL };
	char *usual = NULL;
	int c, status, words;

	process_begin(dblookup.name);
	/* a reader that goes away shows itself as an error of standard output, and maps are closed in order */
	signal(SIGPIPE, SIG_IGN);
	while ((c = option_next(&dblookup, argc, argv)) != -1)
		take_option(&options, c);
	for (words = optind; words < argc && strcmp(argv[words], "--") != 0; words++)
		;
	option_end(&dblookup, words, argv);
	if (options.dbases != NULL && (options.config != NULL || options.type != NULL ||
	                               options.lookup.fold != FOLD_NONE || options.lookup.substitute ||
	                               options.lookup.driver != DRIVER_NONE))
		option_usage(&dblookup, "with -f, the file says type and options of each map");
	if (options.setting_count > 0 && !options.route)
		option_usage(&dblookup, "-o is for -r");
	if (options.route && options.dbases == NULL)
		options.dbases = usual = zenv_below("MAILVAR", "db/dbases.conf");
	if (options.verbose)
		zenv_tell();
	status = options.dump    ? dump(&options, argc - optind, argv + optind)
	         : options.route ? route_all(&options, argc - optind, argv + optind)
	                         : look_up(&options, argc - optind, argv + optind);
	free(options.settings);
	free(usual);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(EX_IOERR, "standard output: %s", strerror(errno));
	return status;
}
