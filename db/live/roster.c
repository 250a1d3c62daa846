#include "db/live/roster.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/file.h"

static char *list_path(const char *home)
{
	return xasprintf("%s/zlmtp.maps", home);
}

bool roster_read(struct roster *roster, const char *home)
{
	struct buf text = { 0 };
	char *path = list_path(home);
	bool ok = file_read_path(path, &text) || errno == ENOENT;
	const char *p = buf_str(&text), *newline;

	/* a last line without its newline was not written whole */
	for (; (newline = strchr(p, '\n')) != NULL; p = newline + 1) {
		const char *blank = memchr(p, ' ', (size_t)(newline - p));

		if (blank == NULL || blank == p)
			continue;
		roster->list = xgrow(roster->list, roster->count, &roster->capacity, sizeof *roster->list);
		roster->list[roster->count++] = (struct roster_entry){ xstrndup(p, (size_t)(blank - p)),
		                                                       xstrndup(blank + 1, (size_t)(newline - blank) - 1) };
	}
	buf_free(&text);
	free(path);
	return ok;
}

void roster_free(struct roster *roster)
{
	for (size_t i = 0; i < roster->count; i++) {
		free(roster->list[i].type);
		free(roster->list[i].path);
	}
	free(roster->list);
	*roster = (struct roster){ 0 };
}

static bool roster_has(const struct roster *roster, const char *path)
{
	for (size_t i = 0; i < roster->count; i++)
		if (strcmp(roster->list[i].path, path) == 0)
			return true;
	return false;
}

static bool append(const char *home, const char *type, const char *path)
{
	char *name = list_path(home);
	/* the newline in front ends what a killed writer may have begun */
	char *line = xasprintf("\n%s %s\n", type, path);
	int fd = file_open_own(name, O_WRONLY | O_APPEND | O_CREAT, 0644);
	bool ok = fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line) && fsync(fd) == 0;
	int saved = errno;

	if (fd >= 0)
		close(fd);
	free(name);
	free(line);
	errno = saved;
	return ok;
}

bool roster_add(const char *home, const char *type, const char *path)
{
	struct roster roster = { 0 };
	bool ok = roster_read(&roster, home);

	if (ok && !roster_has(&roster, path))
		ok = append(home, type, path);
	roster_free(&roster);
	return ok;
}
