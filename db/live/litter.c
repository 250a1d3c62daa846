/*
 * What killed programs left beside a map: temporaries of lib/publish.h.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/live/cdb/journal.h"
#include "db/live/live.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/publish.h"

/* Counts what killed programs left beside the map, and removes it. */
static unsigned look_for_litter(const char *path, bool sweep)
{
	const char *name = file_name(path);
	char *directory = file_directory(path);
	DIR *dir = opendir(directory);
	const struct dirent *entry;
	unsigned count = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		pid_t pid = publish_maker(entry->d_name, name);

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
