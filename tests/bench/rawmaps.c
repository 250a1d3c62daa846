/*
 * What Berkeley DB does without us, to be compared with.
 *
 *   rawmaps load FILE <SORTED TEXT      puts plain lines, which are sorted, into a new btree
 *   rawmaps get FILE <KEYS              looks up keys, all read before
 *   rawmaps run COMMAND ...             runs a command
 *
 * Each prints seconds; run also the peak of memory in kilobytes, on standard error.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <db.h>

#include "lib/buf.h"
#include "lib/file.h"
#include "lib/log.h"

/* As large as those of newdb and of our lookups in a map of a million records. */
#define LOAD_CACHE (4u << 20)
#define GET_CACHE (64u << 20)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(int code, const char *what)
{
	if (code != 0)
		die(EX_SOFTWARE, "%s: %s", what, db_strerror(code));
}

static DB *open_db(const char *file, uint32_t flags, uint32_t cache)
{
	DB *db;

	check(db_create(&db, NULL, 0), "db_create");
	check(db->set_cachesize(db, 0, cache, 1), "set_cachesize");
	check(db->open(db, NULL, file, NULL, DB_BTREE, flags, 0644), file);
	return db;
}

/* Cuts the next line off; NULL at the end. */
static char *next_line(char **p, char *end)
{
	char *line = *p, *newline;

	if (line >= end)
		return NULL;
	newline = memchr(line, '\n', (size_t)(end - line));
	if (newline == NULL)
		newline = end;
	*newline = '\0';
	*p = newline + 1;
	return line;
}

static void load(const char *file)
{
	struct buf text = { 0 };
	double start = now();
	char *p, *end, *line;
	DB *db;

	if (!file_read(STDIN_FILENO, &text))
		die(EX_IOERR, "cannot read");
	unlink(file);
	db = open_db(file, DB_CREATE, LOAD_CACHE);
	p = text.data;
	end = p + text.len;
	while ((line = next_line(&p, end)) != NULL) {
		char *blank = strchr(line, ' ');
		DBT k = { .data = line }, v = { .data = blank + 1 };

		*blank = '\0';
		k.size = (uint32_t)(blank - line) + 1;
		v.size = (uint32_t)strlen(v.data) + 1;
		check(db->put(db, NULL, &k, &v, 0), "put");
	}
	check(db->close(db, 0), "close");
	printf("%.4f\n", now() - start);
	buf_free(&text);
}

static void get(const char *file)
{
	struct buf text = { 0 };
	DB *db = open_db(file, DB_RDONLY, GET_CACHE);
	char *p, *end, *line;
	double start;

	if (!file_read(STDIN_FILENO, &text))
		die(EX_IOERR, "cannot read");
	p = text.data;
	end = p + text.len;
	start = now();
	while ((line = next_line(&p, end)) != NULL) {
		DBT k = { .data = line, .size = (uint32_t)strlen(line) + 1 }, v = { 0 };

		check(db->get(db, NULL, &k, &v, 0), line);
	}
	printf("%.4f\n", now() - start);
	db->close(db, 0);
	buf_free(&text);
}

static int run(char **command)
{
	struct rusage usage;
	double start = now();
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execvp(command[0], command);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) < 0)
		die(EX_OSERR, "cannot run %s", command[0]);
	fprintf(stderr, "%.4f %ld\n", now() - start, usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	log_program("rawmaps");
	if (argc == 3 && strcmp(argv[1], "load") == 0)
		load(argv[2]);
	else if (argc == 3 && strcmp(argv[1], "get") == 0)
		get(argv[2]);
	else if (argc > 2 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	else
		die(EX_USAGE, "usage: rawmaps load FILE | get FILE | run COMMAND ...");
	return 0;
}
