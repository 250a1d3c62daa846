/*
 * Command lines.  One table per program is the source of the getopt string and
 * of the help text, and is compared with the manual page by a test.
 */
#ifndef ZL_LIB_OPTIONS_H
#define ZL_LIB_OPTIONS_H

struct option_help {
	char letter;            /* below ' ': an option that has only a long name */
	const char *argument;   /* its name in the help, in brackets if there may be none (and it is in the same word); NULL if it takes none */
	const char *text;       /* one line; NULL keeps an option out of the help */
};

/* A long name for a letter of the table. */
struct option_long {
	const char *name;       /* without its "--" */
	char letter;
};

struct program {
	const char *name;
	const char *synopsis;                 /* what follows the name in "usage:"; lines split by \n */
	const char *purpose;                  /* one line */
	const struct option_help *options;    /* ends with letter 0 */
	const char *notes;                    /* what stands under the options, or NULL */
	char help;                            /* the letter that asks for help: 'h', or 0 where only --help does */
	const struct option_long *longs;      /* ends with name NULL; or NULL */
};

/*
 * The next option letter as getopt(3) gives it, -1 at the end.  Answers -V (unless the table has it with an argument;
 * --version always) and help itself (exit 0) and ends with EX_USAGE on anything that is not in the table.
 * argc and argv must be main's.  Where options may follow an operand, step over it by
 * optind++ and go on asking.
 */
int option_next(const struct program *program, int argc, char **argv);

/*
 * Ends with EX_USAGE if one of the words from optind to argc is an option of the program, unless "--" stands before them: a
 * user who wrote it there meant it as an option, and it would be taken for a word.
 */
void option_end(const struct program *program, int argc, char **argv);

/* "NAME: what", a pointer to the help, exit EX_USAGE. */
_Noreturn void option_usage(const struct program *program, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
