#include "lib/options.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "lib/buf.h"
#include "lib/log.h"

static bool is_long_only(char letter)
{
	return letter < ' ';
}

/* "[TIME]": there may be none; "[STEP=]TIME" has to be there */
static bool may_be_missing(const struct option_help *o)
{
	return o->argument != NULL && *o->argument == '[' && o->argument[strlen(o->argument) - 1] == ']';
}

/* "-x ARG", "-x, --name ARG" or "--name ARG" */
static void print_option(const struct program *p, const struct option_help *o)
{
	const struct option_long *l = p->longs;
	const char *name;
	struct buf left = { 0 };

	while (l != NULL && l->name != NULL && l->letter != o->letter)
		l++;
	name = l != NULL ? l->name : NULL;
	if (!is_long_only(o->letter))
		buf_addf(&left, "-%c%s", o->letter, name != NULL ? ", " : "");
	if (name != NULL)
		buf_addf(&left, "--%s", name);
	if (o->argument != NULL)
		buf_addf(&left, "%s%s", may_be_missing(o) ? "" : " ", o->argument);
	printf("  %-18s %s\n", buf_str(&left), o->text);
	buf_free(&left);
}

static bool takes_argument(const struct program *p, char letter)
{
	for (const struct option_help *o = p->options; o->letter != '\0'; o++)
		if (o->letter == letter)
			return o->argument != NULL;
	return false;
}

static _Noreturn void print_help(const struct program *p)
{
	const char *line = p->synopsis, *lead = "usage:";

	while (*line != '\0') {
		size_t n = strcspn(line, "\n");

		printf("%s %s %.*s\n", lead, p->name, (int)n, line);
		line += n + (line[n] == '\n');
		lead = "      ";
	}
	printf("%s\n\n", p->purpose);
	for (const struct option_help *o = p->options; o->letter != '\0'; o++)
		if (o->text != NULL)
			print_option(p, o);
	printf("  %-18s %s\n", takes_argument(p, 'V') ? "--version" : "-V", "print name and version");
	if (p->help != '\0')
		printf("  -%c%-16s %s\n", p->help, ", --help", "this text");
	else
		printf("  %-18s %s\n", "--help", "this text");
	if (p->notes != NULL)
		printf("\n%s\n", p->notes);
	exit(fflush(stdout) == 0 ? EX_OK : EX_IOERR);
}

void option_usage(const struct program *p, const char *format, ...)
{
	struct buf text = { 0 };
	va_list ap;

	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	if (p->help != '\0')
		die(EX_USAGE, "%s; try -%c", buf_str(&text), p->help);
	die(EX_USAGE, "%s; try --help", buf_str(&text));
}

static const char *short_options(const struct program *p)
{
	static char letters[160];
	size_t n = 0;

	if (letters[0] != '\0')
		return letters;
	letters[n++] = '+';
	letters[n++] = ':';
	for (const struct option_help *o = p->options; o->letter != '\0' && n < sizeof letters - 6; o++) {
		if (is_long_only(o->letter))
			continue;
		letters[n++] = o->letter;
		if (o->argument != NULL)
			letters[n++] = ':';
		if (may_be_missing(o))
			letters[n++] = ':';
	}
	letters[n++] = 'V';
	if (p->help != '\0')
		letters[n++] = p->help;
	letters[n] = '\0';
	opterr = 0;
	return letters;
}

/* Reads "--name", "--name ARG" or "--name=ARG" at argv[optind]; whole names only, so that a new one breaks no script. */
static int long_option(const struct program *p, int argc, char **argv)
{
	const char *word = argv[optind++];
	size_t n = strcspn(word, "=");

	for (const struct option_long *l = p->longs; l != NULL && l->name != NULL; l++) {
		if (strlen(l->name) != n - 2 || memcmp(l->name, word + 2, n - 2) != 0)
			continue;
		if (!takes_argument(p, l->letter)) {
			if (word[n] == '=')
				option_usage(p, "option --%s takes no argument", l->name);
			return l->letter;
		}
		if (word[n] != '=' && optind == argc)
			option_usage(p, "option --%s needs an argument", l->name);
		optarg = word[n] == '=' ? argv[optind - 1] + n + 1 : argv[optind++];
		return l->letter;
	}
	option_usage(p, "unknown option %.*s", (int)n, word);
}

int option_next(const struct program *p, int argc, char **argv)
{
	const char *letters = short_options(p);
	const char *word = optind < argc ? argv[optind] : "";
	bool is_version = strcmp(word, "--version") == 0;
	int c = 0;

	if (strcmp(word, "--help") == 0)
		print_help(p);
	if (!is_version)
		c = strncmp(word, "--", 2) == 0 && word[2] != '\0' ? long_option(p, argc, argv) : getopt(argc, argv, letters);
	if (is_version || (c == 'V' && !takes_argument(p, 'V'))) {
		printf("%s (zlmtp) %s\n", p->name, VERSION);
		exit(fflush(stdout) == 0 ? EX_OK : EX_IOERR);
	}
	if (c != -1 && c == p->help)
		print_help(p);
	if (c == ':')
		option_usage(p, "option -%c needs an argument", optopt);
	if (c == '?')
		option_usage(p, "unknown option -%c", optopt);
	return c;
}

static bool is_option(const struct program *p, const char *word)
{
	size_t n = strcspn(word, "=");

	if (word[0] != '-' || word[1] == '\0')
		return false;
	if (word[1] != '-')
		return strchr(short_options(p) + 1, word[1]) != NULL && word[1] != ':';
	if (strcmp(word, "--help") == 0 || strcmp(word, "--version") == 0)
		return true;
	for (const struct option_long *l = p->longs; l != NULL && l->name != NULL; l++)
		if (strlen(l->name) == n - 2 && memcmp(l->name, word + 2, n - 2) == 0)
			return true;
	return false;
}

void option_end(const struct program *p, int argc, char **argv)
{
	if (optind <= argc && strcmp(argv[optind - 1], "--") == 0)
		return;
	for (int i = optind; i < argc; i++)
		if (is_option(p, argv[i]))
			option_usage(p, "%s: options come before other words; write \"--\" before a word that only looks like one", argv[i]);
}
