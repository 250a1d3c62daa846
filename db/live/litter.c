/*
 * What killed programs left beside a map: temporaries of lib/publish.h.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/live/cdb/journal.h"
#include "db/live/live.h"
#include "lib/alloc.h"
#include "lib/process.h"

/* The process number in ".NAME.PID-TRY.tmp" of the map `name`; 0 if it is none of these. */
static pid_t temporary_of(const char *entry, const char *name)
{
	size_t n = strlen(name);
	long pid;
	int end = 0;

	if (entry[0] != '.' || strncmp(entry + 1, name, n) != 0)
		return 0;
	sscanf(entry + 1 + n, ".%ld-%*u.tmp%n", &pid, &end);
	return end > 0 && entry[1 + n + (size_t)end] == '\0' ? (pid_t)pid : 0;
}

/* Counts what killed programs left beside the map, and removes it. */
static unsigned look_for_litter(const char *path, bool sweep)
{
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
	char *directory = slash == NULL ? xstrdup(".") : xstrndup(path, (size_t)(slash - path) + 1);
	DIR *dir = opendir(directory);
	const struct dirent *entry;
	unsigned count = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		pid_t pid = temporary_of(entry->d_name, name);

		if (pid > 0 && !process_lives(pid) && (!sweep || unlinkat(dirfd(dir), entry->d_name, 0) == 0))
			count++;
	}
	if (dir != NULL)
		closedir(dir);
	free(directory);
	return count;
}

unsigned live_litter(const char *path)
{
	return look_for_litter(path, false);
}

void live_sweep(const char *path)
{
	char *journal = journal_path(path), *anew = xasprintf("%s" LIVE_ANEW, path);

	look_for_litter(path, true);
	look_for_litter(journal, true);
	look_for_litter(anew, true);
	free(journal);
	free(anew);
}
