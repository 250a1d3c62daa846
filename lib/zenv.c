#include "lib/zenv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/log.h"

static char **lines;
static size_t count;

static void read_file(const char *path)
{
	FILE *f = fopen(path, "re");
	size_t capacity = 0, size = 0;
	char *line = NULL;
	ssize_t n;

	if (f == NULL) {
		complain("ZCONFIG: %s: %s; going on without its settings", path, strerror(errno));
		return;
	}
	while ((n = getline(&line, &size, f)) >= 0) {
		if (n > 0 && line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (strchr(line, '=') == NULL)
			continue;
		lines = xgrow(lines, count, &capacity, sizeof *lines);
		lines[count++] = xstrdup(line);
	}
	free(line);
	fclose(f);
}

const char *zenv(const char *name)
{
	static bool done;
	const char *path = getenv("ZCONFIG");
	size_t n = strlen(name);

	if (!done && path != NULL)
		read_file(path);
	done = true;
	for (size_t i = 0; i < count; i++)
		if (strncmp(lines[i], name, n) == 0 && lines[i][n] == '=')
			return lines[i] + n + 1 + strspn(lines[i] + n + 1, " \t");
	return NULL;
}
