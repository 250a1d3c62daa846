#include "lib/connections.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/file.h"

static void add(struct connections *c, unsigned long inode)
{
	c->inodes = xgrow(c->inodes, c->count, &c->capacity, sizeof *c->inodes);
	c->inodes[c->count++] = inode;
}

/* Lines of /proc/net/tcp: number, two addresses, state (01 is ESTABLISHED), ..., the inode is the tenth word. */
static void tcp_line(struct connections *c, const char *line)
{
	unsigned state;
	unsigned long inode;

	if (sscanf(line, " %*s %*s %*s %x %*s %*s %*s %*s %*s %lu", &state, &inode) == 2 && state == 1)
		add(c, inode);
}

/* Lines of /proc/net/unix: ..., type (1 is a stream), state (3 is connected), inode, path. */
static void unix_line(struct connections *c, const char *line)
{
	unsigned type, state;
	unsigned long inode;

	if (sscanf(line, " %*s %*s %*s %*s %x %x %lu", &type, &state, &inode) == 3 && type == 1 && state == 3)
		add(c, inode);
}

static void read_table(struct connections *c, const char *path, void (*take)(struct connections *, const char *))
{
	struct buf text = { 0 };
	char *rest, *line;

	if (file_read_path(path, &text) && text.len > 0)
		for (line = strtok_r(text.data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
			take(c, line);
	buf_free(&text);
}

static int by_number(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

void connections_read(struct connections *c)
{
	c->count = 0;
	read_table(c, "/proc/net/tcp", tcp_line);
	read_table(c, "/proc/net/tcp6", tcp_line);
	read_table(c, "/proc/net/unix", unix_line);
	if (c->count > 1)
		qsort(c->inodes, c->count, sizeof *c->inodes, by_number);
}

void connections_free(struct connections *c)
{
	free(c->inodes);
	*c = (struct connections){ 0 };
}

int connections_of(const struct connections *c, pid_t pid)
{
	char path[40], target[64];
	DIR *fds;
	int count = 0;

	snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
	fds = opendir(path);
	if (fds == NULL)
		return -1;
	for (const struct dirent *d; (d = readdir(fds)) != NULL;) {
		ssize_t n = readlinkat(dirfd(fds), d->d_name, target, sizeof target - 1);
		unsigned long inode;

		if (n <= 0 || atoi(d->d_name) <= STDERR_FILENO)
			continue;
		target[n] = '\0';
		if (sscanf(target, "socket:[%lu]", &inode) == 1 && c->count > 0 &&
		    bsearch(&inode, c->inodes, c->count, sizeof inode, by_number) != NULL)
			count++;
	}
	closedir(fds);
	return count;
}
