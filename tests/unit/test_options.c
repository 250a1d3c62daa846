#include "tests/unit/unit.h"

#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/options.h"

static const struct option_help options[] = {
	{ 'a', NULL, "without argument" },
	{ 'b', "FILE", "with argument" },
	{ 'x', NULL, NULL },
	{ 1, "N", "only by its long name" },
	{ 0 },
};

static const struct option_long longs[] = { { "all", 'a' }, { "number", 1 }, { NULL, 0 } };

static const struct program program = {
	.name = "prog", .synopsis = "[-a] [-b FILE]\n--number N", .purpose = "Does nothing.", .options = options, .longs = longs,
	.help = 'h', .notes = "A note.",
};

/* Prints what option_next() says, one option a line, then the operands. */
static void parse(const struct program *p, char **argv)
{
	int argc = 0, c;

	while (argv[argc] != NULL)
		argc++;
	optind = 1;
	log_program("prog");
	while ((c = option_next(p, argc, argv)) != -1) {
		if (c < ' ')
			printf("%d", c);
		else
			printf("%c", c);
		printf("%s%s\n", c == 'b' || c == 1 ? " " : "", c == 'b' || c == 1 ? optarg : "");
	}
	if (p->longs != NULL && argc > 1 && strcmp(argv[1], "--all") == 0)
		option_end(p, argc, argv);
	while (optind < argc)
		printf("operand %s\n", argv[optind++]);
	exit(fflush(stdout) == 0 ? 0 : 1);
}

/* In a process of its own; its output (both streams) goes to `out`. */
static int run(const struct program *p, const char *arguments, struct buf *out)
{
	char copy[256], *argv[16] = { (char *)"prog" }, *rest = copy;
	int fds[2], status;
	size_t n = 1;
	pid_t child;

	strcpy(copy, arguments);
	while ((argv[n] = strtok_r(rest, " ", &rest)) != NULL)
		n++;
	assert_int_equal(pipe(fds), 0);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		parse(p, argv);
	}
	close(fds[1]);
	buf_clear(out);
	assert_true(file_read(fds[0], out));
	close(fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void good_command_lines_are_taken_apart(void **state)
{
	static const struct { const char *arguments, *parsed; } rows[] = {
		{ "", "" },
		{ "-a", "a\n" },
		{ "-ab file", "a\nb file\n" },
		{ "-bfile -x", "b file\nx\n" },
		{ "-b -a", "b -a\n" },
		{ "-a one -a", "a\noperand one\noperand -a\n" },
		{ "-a -- -b", "a\noperand -b\n" },
		{ "-", "operand -\n" },
		{ "--all", "a\n" },
		{ "--number 5 --number=6", "1 5\n1 6\n" },
		{ "--number=", "1 \n" },
		{ "--number --all", "1 --all\n" },
		{ "--all one - -y -: --al", "a\noperand one\noperand -\noperand -y\noperand -:\noperand --al\n" },
		{ "--all -- one -a", "a\noperand one\noperand -a\n" },
	};
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(run(&program, rows[i].arguments, &out), 0);
		assert_string_equal(buf_str(&out), rows[i].parsed);
	}
	buf_free(&out);
}

static void mistakes_are_one_line_and_exit_64(void **state)
{
	static const struct { const char *arguments, *complaint; } rows[] = {
		{ "-y", "prog: unknown option -y; try -h\n" },
		{ "-b", "prog: option -b needs an argument; try -h\n" },
		{ "-ay", "a\nprog: unknown option -y; try -h\n" },
		{ "--al", "prog: unknown option --al; try -h\n" },
		{ "--allx", "prog: unknown option --allx; try -h\n" },
		{ "--none=5", "prog: unknown option --none; try -h\n" },
		{ "--all=5", "prog: option --all takes no argument; try -h\n" },
		{ "--number", "prog: option --number needs an argument; try -h\n" },
		{ "--all one -a", "prog: -a: options come before other words; write \"--\" before a word that only looks like one; try -h\n" },
		{ "--all one two -bx", "prog: -bx: options come before" },
		{ "--all one --number=5", "prog: --number=5: options come before" },
		{ "--all one -V", "prog: -V: options come before" },
		{ "--all one -h", "prog: -h: options come before" },
		{ "--all one --help", "prog: --help: options come before" },
	};
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *complaint = strstr(rows[i].complaint, "prog:");

		assert_int_equal(run(&program, rows[i].arguments, &out), EX_USAGE);
		assert_non_null(strstr(buf_str(&out), complaint));
	}
	buf_free(&out);
}

static void help_and_version_are_answered(void **state)
{
	static const char help[] =
		"usage: prog [-a] [-b FILE]\n"
		"       prog --number N\n"
		"Does nothing.\n\n"
		"  -a, --all          without argument\n"
		"  -b FILE            with argument\n"
		"  --number N         only by its long name\n"
		"  -V                 print name and version\n"
		"  -h, --help         this text\n"
		"\nA note.\n";
	struct buf out = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(&program, i ? "--help" : "-h", &out), 0);
		assert_string_equal(buf_str(&out), help);
		assert_int_equal(run(&program, i ? "--version" : "-V", &out), 0);
		assert_string_equal(buf_str(&out), "prog (zlmtp) " VERSION "\n");
	}
	buf_free(&out);
}

/* In brackets as a whole it may be missing; with a part in brackets, as for -T of lmtp, it may not. */
static void an_argument_may_be_missing_where_the_help_says_so(void **state)
{
	static const struct option_help own[] = { { 'q', "[TIME]", "may be missing" }, { 'b', "[STEP=]TIME", "may not" }, { 0 } };
	static const struct program other = { .name = "prog", .synopsis = "", .purpose = "Nothing.", .options = own, .help = 'h' };
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(run(&other, "-q -q5m 5m", &out), 0);
	assert_string_equal(buf_str(&out), "q\nq\noperand 5m\n");
	assert_int_equal(run(&other, "-b dot=5m -b5m", &out), 0);
	assert_string_equal(buf_str(&out), "b dot=5m\nb 5m\n");
	assert_int_equal(run(&other, "-b", &out), EX_USAGE);
	assert_int_equal(run(&other, "-h", &out), 0);
	assert_non_null(strstr(buf_str(&out), "  -q[TIME]           may be missing\n  -b [STEP=]TIME     may not\n"));
	buf_free(&out);
}

/* Where -h has a meaning of its own. */
static void a_program_can_do_without_a_letter_for_help(void **state)
{
	static const struct option_help own[] = { { 'h', NULL, "host" }, { 0 } };
	static const struct program other = { .name = "other", .synopsis = "", .purpose = "Nothing.", .options = own };
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(run(&other, "-h", &out), 0);
	assert_string_equal(buf_str(&out), "h\n");
	assert_int_equal(run(&other, "-y", &out), EX_USAGE);
	assert_string_equal(buf_str(&out), "prog: unknown option -y; try --help\n");
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_command_lines_are_taken_apart),
		cmocka_unit_test(mistakes_are_one_line_and_exit_64),
		cmocka_unit_test(help_and_version_are_answered),
		cmocka_unit_test(an_argument_may_be_missing_where_the_help_says_so),
		cmocka_unit_test(a_program_can_do_without_a_letter_for_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
