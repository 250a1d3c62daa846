/*
 * dbupdate: changes maps while they are in use, checks and repairs them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "db/build/fault.h"
#include "db/build/source.h"
#include "db/grammar/value.h"
#include "db/keeper.h"
#include "db/live/cdb/health.h"
#include "db/live/cdb/recover.h"
#include "db/live/lines.h"
#include "db/live/livemap.h"
#include "db/map/map.h"
#include "db/route/beside.h"
#include "db/sync/usable.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/parse.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/zenv.h"

/* A feeder that says nothing for so long waits for an answer. */
#define PAUSE_MS 100

/* Exit code of "delete" for a key that is not there, as that of dblookup. */
#define NOT_FOUND 1

enum { ALLOW_SHRINK = 1, FORCE, ADOPT };

static const struct option_help help_lines[] = {
	{ 'C', "FILE", "the environment of the map (sleepyenv.conf)" },
	{ 't', "TYPE", "btree, bhash or lmdb" },
	{ 'l', NULL, "keys in lower case, as lookups with -l ask for them" },
	{ 'u', NULL, "keys in upper case" },
	{ 'a', NULL, "replace: FILE is in alias syntax" },
	{ 'n', NULL, "do not check values" },
	{ 'b', "LINES", "apply: at most so many lines in one batch" },
	{ 'w', "SECONDS", "how long to wait for a lock (default 5)" },
	{ ALLOW_SHRINK, NULL, "replace: write the map even if too many of its records are removed, or all" },
	{ FORCE, NULL, "recover: stop the programs that use the environment" },
	{ ADOPT, NULL, "recover: keep the map as it is although its journal differs" },
	{ '\0', NULL, NULL },
};

static const struct option_long longs[] = {
	{ "allow-shrink", ALLOW_SHRINK },
	{ "force", FORCE },
	{ "adopt", ADOPT },
	{ NULL, '\0' },
};

static const struct program program = {
	.name = "dbupdate",
	.synopsis = "[option ...] BASE set KEY VALUE\n[option ...] BASE delete KEY ...\n[option ...] BASE apply [FILE]\n"
	            "[option ...] BASE replace [-a] [FILE]\n[option ...] BASE check\n[option ...] BASE recover",
	.purpose = "Changes a lookup map while others read it.",
	.options = help_lines,
	.longs = longs,
	.notes = "Type, environment and folding are those of dbases.conf beside BASE if it names the map.\n"
	         "apply reads \"+KEY<TAB>VALUE\" and \"-KEY\" lines and answers \"ok N\" when everything up to line N would\n"
	         "survive a crash; an empty line or a pause ends a batch.  replace makes the map equal to a text.\n"
	         "check exits 0 if the map is healthy, 1 stale, 2 damaged or wedged, 3 if it could not tell.",
	.help = 'h',
};

struct options {
	struct livemap_settings settings;
	struct text_syntax syntax;
	uint64_t batch;
	bool unchecked, allow_shrink, force, adopt;
	struct value_check check;
	struct beside beside;
};

/* ---- what is said ------------------------------------------------------------------------ */

static int say(int status, struct buf *why)
{
	if (status != EX_OK)
		complain("%s", buf_str(why));
	buf_free(why);
	return status;
}

static struct livemap *open_map(const struct options *options)
{
	struct buf why = { 0 };
	int status = EX_OK;
	struct livemap *livemap = livemap_open(&options->settings, &status, &why);

	if (livemap == NULL)
		exit(say(status, &why));
	buf_free(&why);
	return livemap;
}

/* ---- one change ----------------------------------------------------------------------------- */

/* What is wrong with a value, as a constant text; NULL if nothing is.  A warning is printed; `where` as below. */
static const char *value_fault(struct options *options, const char *where, const char *key, size_t key_length,
                               const char *value, size_t length)
{
	const struct record record = { .key = key, .value = value, .key_length = (uint32_t)key_length,
	                               .value_length = (uint32_t)length };

	const char *warning, *fault = usable_value_fault(options->unchecked ? NULL : &options->check, &record, &warning);

	if (warning != NULL)
		complain("%s: warning: %s", where, warning);
	return fault;
}

/* `where` is the key, or name and number of the line. */
static void warn_of_invisible(const char *where, const char *key, size_t key_length, const char *value, size_t length)
{
	struct buf text = { 0 };
	size_t at;

	if (text_warn_of_key(key, key_length, &at, &text))
		complain("%s: warning: %s", where, buf_str(&text));
	buf_clear(&text);
	if (text_warn_of_invisible("value", value, length, &at, &text))
		complain("%s: warning: %s", where, buf_str(&text));
	buf_free(&text);
}

static int set(struct options *options, char **words)
{
	char *key = words[0];
	const char *value = words[1], *fault;
	struct livemap *livemap = open_map(options);
	struct buf why = { 0 };
	int status = EX_DATAERR;

	fault = livemap_key_fault(livemap, key, strlen(key));
	if (fault == NULL)
		fault = value_fault(options, key, key, strlen(key), value, strlen(value));
	if (fault != NULL) {
		buf_addf(&why, "%s: %s", key, fault);
	} else {
		warn_of_invisible(key, key, strlen(key), value, strlen(value));
		livemap_put(livemap, key, text_unquote(key, strlen(key)), value, strlen(value));
		status = livemap_commit(livemap, &why);
	}
	livemap_close(&livemap);
	return say(status, &why);
}

static int delete(struct options *options, char **words)
{
	struct livemap *livemap = open_map(options);
	struct buf value = { 0 }, why = { 0 };
	int status = EX_OK, found = EX_OK;

	for (; status == EX_OK && *words != NULL; words++) {
		/* a map of an earlier version may have the quotes */
		if (livemap_find(livemap, *words, strlen(*words), &value, &why) == MAP_NOT_FOUND)
			text_unquote(*words, strlen(*words));
		switch (livemap_find(livemap, *words, strlen(*words), &value, &why)) {
		case MAP_FOUND:
			livemap_remove(livemap, *words, strlen(*words));
			break;
		case MAP_NOT_FOUND:
			complain("%s: is not in %s", *words, livemap_path(livemap));
			found = NOT_FOUND;
			break;
		case MAP_COULD_NOT_TELL:
			status = EX_TEMPFAIL;
			break;
		}
	}
	if (status == EX_OK)
		status = livemap_commit(livemap, &why);
	livemap_close(&livemap);
	buf_free(&value);
	return status == EX_OK ? found : say(status, &why);
}

/* ---- a stream of changes ------------------------------------------------------------------------ */

struct stream {
	struct options *options;
	struct livemap *livemap;
	const char *name;
	struct lines lines;
	size_t most;             /* lines in a batch */
	size_t taken;            /* lines in this batch, bad ones included */
	bool rejected;
};

/* Adds the change in a line to the batch; returns what is wrong with it, NULL if nothing is. */
static const char *take_change(struct stream *s, char *line, size_t n)
{
	char *tab = memchr(line, '\t', n);
	char *key = line + 1, where[1100];
	const char *fault;
	size_t length = (line[0] == '+' && tab != NULL ? (size_t)(tab - line) : n) - 1, value_length = n - length - 2;

	if ((line[0] != '+' || tab == NULL) && (line[0] != '-' || tab != NULL))
		return "expected +KEY<TAB>VALUE or -KEY";
	if (line[n - 1] == '\r')
		return "the line ends in CR";
	if (tab != NULL)
		*tab = '\0';
	snprintf(where, sizeof where, "%.1000s:%zu", s->name, s->lines.number);
	fault = livemap_key_fault(s->livemap, key, length);
	if (fault == NULL && line[0] == '+')
		fault = value_fault(s->options, where, key, length, tab + 1, value_length);
	if (fault != NULL)
		return fault;
	if (line[0] == '-')
		livemap_remove(s->livemap, key, length);
	length = text_unquote(key, length);
	if (line[0] == '+') {
		warn_of_invisible(where, key, length, tab + 1, value_length);
		livemap_put(s->livemap, key, length, tab + 1, value_length);
	} else {
		livemap_remove(s->livemap, key, length);
	}
	return NULL;
}

static void take_line(struct stream *s, char *line, size_t n, bool is_cut)
{
	const char *fault = is_cut ? "the last line has no newline; it may have been cut off" : take_change(s, line, n);

	s->taken++;
	if (fault == NULL)
		return;
	s->rejected = true;
	complain("%s:%zu: %s", s->name, s->lines.number, fault);
	printf("rejected %zu %s\n", s->lines.number, fault);
}

/* Makes the batch and says so. */
static int end_batch(struct stream *s)
{
	struct buf why = { 0 };
	int status = s->taken > 0 ? livemap_commit(s->livemap, &why) : EX_OK;

	if (status == EX_OK && s->taken > 0)
		printf("ok %zu\n", s->lines.number);
	if (fflush(stdout) != 0 && status == EX_OK) {
		buf_addf(&why, "standard output: %s", strerror(errno));
		status = EX_IOERR;
	}
	s->taken = 0;
	return say(status, &why);
}

static int read_stream(struct stream *s)
{
	char *line;
	size_t n;
	int status = EX_OK;

	while (status == EX_OK) {
		switch (lines_next(&s->lines, s->taken > 0 ? PAUSE_MS : -1, &line, &n)) {
		case LINES_ONE:
			if (n > 0)
				take_line(s, line, n, false);
			if (n == 0 || s->taken >= s->most)
				status = end_batch(s);
			break;
		case LINES_CUT:
			take_line(s, line, n, true);
			break;
		case LINES_PAUSE:
			status = end_batch(s);
			break;
		case LINES_END:
			return end_batch(s);
		case LINES_TOO_LONG:
			complain("%s:%zu: the line is too long", s->name, s->lines.number + 1);
			return EX_DATAERR;
		case LINES_ERROR:
			status = lines_error_status(errno);
			complain("%s: %s", s->name, strerror(errno));
			return status;
		}
	}
	return status;
}

static int apply(struct options *options, char **words)
{
	const char *file = words[0] != NULL ? words[0] : "-";
	bool is_input = strcmp(file, "-") == 0;
	struct stream s = { .options = options, .name = is_input ? "standard input" : file };
	int status;

	s.lines.fd = is_input ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	if (s.lines.fd < 0)
		die(EX_NOINPUT, "%s: %s", file, strerror(errno));
	s.livemap = open_map(options);
	s.most = options->batch != 0 ? (size_t)options->batch : livemap_batch(s.livemap);
	status = read_stream(&s);
	livemap_close(&s.livemap);
	lines_free(&s.lines);
	if (!is_input)
		close(s.lines.fd);
	return status == EX_OK && s.rejected ? EX_DATAERR : status;
}

/* ---- replace ------------------------------------------------------------------------------------ */

/* The map's own text may have nothing in it yet; an export without a record is one that failed. */
static int replace_records(const struct options *options, bool is_export, const struct records *records,
                           const struct stamp *stamp, struct buf *why)
{
	struct livemap_counts counts = { 0 };
	int status = EX_OK;
	struct livemap *livemap = livemap_open(&options->settings, &status, why);

	if (livemap == NULL && status == EX_NOINPUT && is_export && records->count == 0 && !options->allow_shrink) {
		buf_clear(why);
		buf_addf(why, "%s: the text has no record; no map was made; --allow-shrink if that is meant",
		         options->settings.base);
		status = EX_TEMPFAIL;
	} else if (livemap == NULL && status == EX_NOINPUT) {
		buf_clear(why);
		status = livemap_create(&options->settings, records, stamp, why);
		counts.added = records->count;
	} else if (livemap != NULL) {
		status = livemap_replace(livemap, records, stamp, options->allow_shrink ? NULL : livemap_guard_removal, NULL,
		                         &counts, why);
		if (status != EX_OK && counts.removed > 0)
			buf_adds(why, "; --allow-shrink if that is meant");
		livemap_close(&livemap);
	}
	if (status == EX_OK)
		printf("%zu record%s: %" PRIu64 " added, %" PRIu64 " changed, %" PRIu64 " removed\n", records->count,
		       records->count == 1 ? "" : "s", counts.added, counts.changed, counts.removed);
	return status;
}

static int replace(struct options *options, char **words)
{
	const char *file = words[0] != NULL ? words[0] : options->settings.base;
	char *real = strcmp(file, "-") == 0 ? NULL : realpath(file, NULL);
	struct source source = { .path = file, .syntax = options->syntax, .report = fault_complain, .replaces = true,
	                         .check = options->unchecked ? NULL : value_is_good, .check_context = &options->check };
	struct records records = { 0 };
	struct stamp stamp = { .source = real != NULL ? real : (char *)(uintptr_t)"-", .built = stamp_now(),
	                       .version = (char *)(uintptr_t)VERSION };
	struct buf why = { 0 };
	int status;

	source.syntax.folding = options->settings.folding;
	stamp.folding = text_folding(&source.syntax);
	stamp.syntax = source.syntax.aliases ? 'a' : 'p';
	status = source_read(&source, &records);
	stamp.records = records.count;
	stamp.text = source.text;
	if (status == EX_OK)
		status = say(replace_records(options, words[0] != NULL, &records, &stamp, &why), &why);
	records_free(&records);
	free(real);
	return status;
}

/* ---- check and recover ----------------------------------------------------------------------------- */

/* So many lines about lists are enough. */
#define MOST_WARNINGS 20

struct lists {
	struct value_check *check;
	size_t warned;
};

static bool look_at_list(void *context, const char *key, size_t key_length, const char *value, size_t length)
{
	struct lists *l = context;
	const struct record record = { .key = key, .value = value, .key_length = (uint32_t)key_length,
	                               .value_length = (uint32_t)length };
	const char *warning = NULL;
	struct buf clean = { 0 };

	if (usable_value_fault(l->check, &record, &warning) != NULL || warning == NULL || ++l->warned > MOST_WARNINGS)
		return true;
	text_add_clean(&clean, key, key_length, 300);
	complain("%s: warning: %s", buf_str(&clean), warning);
	buf_free(&clean);
	return true;
}

static int check(struct options *options, char **words)
{
	const struct livemap_settings *settings = &options->settings;
	struct buf users = { 0 }, why = { 0 };
	struct lists lists = { .check = &options->check };
	struct health health;
	struct map *map;
	int code, status;

	(void)words;
	health_check(&health, &options->settings);
	health_name_users(&health.users, &users);
	printf("%s: %s\n%s", health_name(health.state), buf_str(&health.text), buf_str(&users));
	code = health_exit_code(health.state);
	/* what "set" would warn of may be in the map from before there was a router */
	if (code == 0 && options->check.router && options->check.kind == VALUE_ADDRESSES && !options->unchecked) {
		map = map_open(settings->type, settings->base, settings->config, &status, &why);
		if (map != NULL && map_walk(map, look_at_list, &lists) == MAP_FOUND && lists.warned > MOST_WARNINGS)
			complain("%zu more warnings of this kind", lists.warned - MOST_WARNINGS);
		map_close(&map);
		buf_free(&why);
	}
	health_free(&health);
	buf_free(&users);
	return code;
}

static void tell_step(void *context, const char *text)
{
	(void)context;
	printf("%s\n", text);
	fflush(stdout);
}

static int recover(struct options *options, char **words)
{
	struct recovery_options recovery = { .settings = options->settings, .force = options->force, .adopt = options->adopt,
	                             .teller = { .tell = tell_step } };
	struct buf why = { 0 };

	(void)words;
	return say(recover_map(&recovery, &why), &why);
}

/* ---- the command line --------------------------------------------------------------------------------- */

static const struct command {
	const char *name;
	int (*run)(struct options *options, char **words);
	const char *words;       /* what stands behind it */
	int least, most;         /* how many of them */
	bool has_options;        /* options may follow it; in others a word may begin with '-' */
	bool changes;            /* what the map holds */
} commands[] = {
	{ "set", set, "KEY VALUE", 2, 2, false, true },
	{ "delete", delete, "KEY ...", 1, INT32_MAX, false, true },
	{ "apply", apply, "FILE, or no more words", 0, 1, true, true },
	{ "replace", replace, "FILE, or no more words", 0, 1, true, true },
	{ "check", check, "no more words", 0, 0, true, false },
	{ "recover", recover, "no more words", 0, 0, true, false },
};

static void take_options(struct options *options, int argc, char **argv)
{
	int c;

	while ((c = option_next(&program, argc, argv)) != -1) {
		uint64_t number;

		switch (c) {
		case 'C':
			options->settings.config = optarg;
			break;
		case 't':
			options->settings.type = optarg;
			break;
		case 'l':
		case 'u':
			if (options->settings.folding != '-' && options->settings.folding != c)
				option_usage(&program, "-l and -u exclude each other");
			options->settings.folding = (char)c;
			break;
		case 'a':
			options->syntax.aliases = true;
			break;
		case 'n':
			options->unchecked = true;
			break;
		case 'b':
			if (!parse_number(optarg, 10000000, &options->batch) || options->batch == 0)
				option_usage(&program, "-b: expected a number of lines, not \"%s\"", optarg);
			break;
		case 'w':
			if (!parse_number(optarg, 3600, &number) || number == 0)
				option_usage(&program, "-w: expected seconds from 1 to 3600, not \"%s\"", optarg);
			options->settings.wait = (unsigned)number;
			break;
		case ALLOW_SHRINK:
			options->allow_shrink = true;
			break;
		case FORCE:
			options->force = true;
			break;
		case ADOPT:
			options->adopt = true;
			break;
		}
	}
}

/* ---- what dbases.conf says ------------------------------------------------------------------------------ */

static void ask_dbases(struct options *options, const struct command *command)
{
	int status = beside_find(&options->beside, options->settings.base, fault_complain, NULL);
	bool is_care = command->run == check || command->run == recover;
	struct livemap_settings *s = &options->settings;
	const struct dbases_map *m = options->beside.map;
	struct buf why = { 0 };

	/* a mistake in another line must not stop an operator who repairs a map */
	if (status != EX_OK && !is_care)
		die(status, "%s: cannot tell how this map is used while dbases.conf has errors", options->settings.base);
	if (status == EX_OK && m != NULL) {
		/* the map's line fills in what was left open; what contradicts it would make a map that no program can read */
		if (mapline_check(&options->beside, &s->type, &s->config, &s->folding, &why) != EX_OK)
			die(EX_CONFIG, "%s", buf_str(&why));
		value_check_for(&options->check, m->relation, m->lookup.substitute, zenv_router_is_here());
	}
	if (s->type == NULL)
		s->type = zenv_default_type();
}

int main(int argc, char **argv)
{
	struct options options = { .settings = { .folding = '-' } };
	const struct command *command = NULL;
	int status;

	process_begin(program.name);
	/* a reader of our answers that has gone is an error like others */
	signal(SIGPIPE, SIG_IGN);
	take_options(&options, argc, argv);
	if (argc - optind < 2)
		option_usage(&program, "expected BASE and a command");
	options.settings.base = argv[optind++];
	take_options(&options, argc, argv);
	if (optind == argc)
		option_usage(&program, "expected a command");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(commands[i].name, argv[optind]) == 0)
			command = &commands[i];
	if (command == NULL)
		option_usage(&program, "%s: no such command; expected set, delete, apply, replace, check or recover",
		             argv[optind]);
	optind++;
	if (command->has_options)
		take_options(&options, argc, argv);
	if (argc - optind < command->least || argc - optind > command->most)
		option_usage(&program, "%s: expected %s", command->name, command->words);
	ask_dbases(&options, command);
	if (command->changes)
		keeper_warn(options.settings.base);
	status = command->run(&options, argv + optind);
	value_check_free(&options.check);
	beside_free(&options.beside);
	if (fflush(stdout) != 0 && status == EX_OK)
		die(EX_IOERR, "standard output: %s", strerror(errno));
	return status;
}
