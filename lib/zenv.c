#include "lib/zenv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "lib/alloc.h"
#include "lib/log.h"

const char *zenv_path(void)
{
	static const char *const usual[] = { ZCONFIG_PATH, "/etc/zmailer.conf" };
	const char *given = getenv("ZCONFIG");

	if (given != NULL && given[0] != '\0')
		return given;
	/* a file that cannot be looked at is for its reader to report */
	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (access(usual[i], F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR))
			return usual[i];
	return NULL;
}

void zenv_tell(void)
{
	const char *path = zenv_path();

	if (path != NULL)
		complain("settings are those of %s", path);
}

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
	const char *path = zenv_path();
	size_t n = strlen(name);

	if (!done && path != NULL)
		read_file(path);
	done = true;
	for (size_t i = 0; i < count; i++)
		if (strncmp(lines[i], name, n) == 0 && lines[i][n] == '=')
			return lines[i] + n + 1 + strspn(lines[i] + n + 1, " \t");
	return NULL;
}

char *zenv_below(const char *variable, const char *name)
{
	const char *directory = zenv(variable);

	return directory != NULL ? xasprintf("%s/%s", directory, name) : NULL;
}
