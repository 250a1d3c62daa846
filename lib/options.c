#include "lib/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "lib/buf.h"
#include "lib/log.h"

static void print_usage(const struct program *p)
{
	const char *line = p->synopsis;
	const char *lead = "usage:";

	while (*line != '\0') {
		size_t n = strcspn(line, "\n");

		printf("%s %s %.*s\n", lead, p->name, (int)n, line);
		line += n + (line[n] == '\n');
		lead = "      ";
	}
}

static _Noreturn void print_help(const struct program *p)
{
	print_usage(p);
	printf("%s\n\n", p->purpose);
	for (const struct option_help *o = p->options; o->letter != '\0'; o++) {
		char left[64];

		if (o->text == NULL)
			continue;
		snprintf(left, sizeof left, "-%c%s%s", o->letter, o->argument ? " " : "", o->argument ? o->argument : "");
		printf("  %-18s %s\n", left, o->text);
	}
	printf("  %-18s %s\n", "-V", "print name and version");
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

int option_next(const struct program *p, int argc, char **argv)
{
	static char letters[160];
	size_t n = 0;
	int c;

	if (letters[0] == '\0') {
		letters[n++] = '+';
		letters[n++] = ':';
		for (const struct option_help *o = p->options; o->letter != '\0' && n < sizeof letters - 6; o++) {
			letters[n++] = o->letter;
			if (o->argument != NULL)
				letters[n++] = ':';
		}
		letters[n++] = 'V';
		if (p->help != '\0')
			letters[n++] = p->help;
		letters[n] = '\0';
		opterr = 0;
	}
	if (optind < argc && strcmp(argv[optind], "--help") == 0)
		print_help(p);
	if (optind < argc && strcmp(argv[optind], "--version") == 0)
		c = 'V';
	else
		c = getopt(argc, argv, letters);
	if (c == 'V') {
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
