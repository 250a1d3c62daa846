/* A directory for the files of a unit test; removed at its end.  scratch_begin and scratch_end are group fixtures. */
#ifndef ZL_TESTS_UNIT_SCRATCH_H
#define ZL_TESTS_UNIT_SCRATCH_H

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/file.h"

static char scratch_directory[64];

static inline int scratch_begin(void **state)
{
	(void)state;
	strcpy(scratch_directory, "/tmp/zlmtp-unit-XXXXXX");
	return mkdtemp(scratch_directory) == NULL;
}

/* Its path; valid until 16 more were asked for. */
static inline const char *scratch(const char *name)
{
	static char *paths[16];
	static unsigned next;
	char **path = &paths[next++ % 16];

	free(*path);
	*path = xasprintf("%s/%s", scratch_directory, name);
	return *path;
}

static inline const char *scratch_write(const char *name, const void *bytes, size_t n)
{
	const char *path = scratch(name);
	int fd;

	/* a new file: ext4 waits for the disk when one that was emptied is closed */
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
	return path;
}

static inline const char *scratch_text(const char *name, const char *text)
{
	return scratch_write(name, text, strlen(text));
}

static inline int scratch_end(void **state)
{
	DIR *directory = opendir(scratch_directory);
	struct dirent *entry;

	(void)state;
	while (directory != NULL && (entry = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory != NULL)
		closedir(directory);
	for (unsigned i = 0; i < 16; i++)
		scratch("");
	return rmdir(scratch_directory);
}

#endif
