#include "channel/queue/litter.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/process.h"
#include "lib/publish.h"

#define HASH_LEVELS 2

/* A number that another process has by now means nothing. */
static bool is_litter(int directory, const char *name, int64_t now)
{
	pid_t maker = publish_maker(name, NULL);
	struct stat st;

	return maker > 0 && fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       now - (int64_t)st.st_mtim.tv_sec > LITTER_AGE &&
	       (!process_lives(maker) || process_began_after(maker, &st.st_mtim));
}

static size_t clean(int parent, const char *name, unsigned levels, int64_t now)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;
	size_t removed = 0;

	if (directory == NULL) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while ((e = readdir(directory)) != NULL) {
		if (levels > 0 && e->d_name[0] >= 'A' && e->d_name[0] <= 'Z' && e->d_name[1] == '\0')
			removed += clean(fd, e->d_name, levels - 1, now);
		else if (is_litter(fd, e->d_name, now) && unlinkat(fd, e->d_name, 0) == 0)
			removed++;
	}
	closedir(directory);
	return removed;
}

size_t litter_remove(int64_t now)
{
	return clean(AT_FDCWD, "../public", 0, now) + clean(AT_FDCWD, "../queue", HASH_LEVELS,
	                                                    now) + clean(AT_FDCWD, "../postman", 0, now) +
	       clean(AT_FDCWD, ".", HASH_LEVELS, now) + clean(AT_FDCWD, "..", 0, now);
}
