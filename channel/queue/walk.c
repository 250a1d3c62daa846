#include "channel/queue/walk.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/buf.h"

#define HASH_LEVELS 2

struct walk {
	walk_unreadable *unreadable;
	void *context;
	bool held;
	struct {
		DIR *directory;
		size_t prefix;       /* length of its name, "" or with a slash at its end */
	} levels[1 + HASH_LEVELS];
	size_t depth;                /* levels in use */
	struct buf name;             /* begins with the prefix of the deepest level */
};

bool walk_is_hash_directory(const char *name)
{
	return name[0] >= 'A' && name[0] <= 'Z' && name[1] == '\0';
}

static void tell(struct walk *w, int error)
{
	w->unreadable(w->context, w->name.len > 0 ? w->name.data : w->held ? "hold" : "transport", error);
}

/* Goes into the directory that w->name is the prefix of. */
static void enter(struct walk *w)
{
	char *path = xasprintf("%s%s", w->held ? WALK_HOLD : "./", buf_str(&w->name));
	/* where the slash at the end would follow a link, O_NOFOLLOW comes too late */
	size_t end = strlen(path) - 1;
	DIR *d = NULL;
	int fd;

	path[end] = '\0';
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		d = fdopendir(fd);
	if (d == NULL) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		free(path);
		if (!w->held || w->depth > 0 || error != ENOENT)
			tell(w, error);
		return;
	}
	free(path);
	w->levels[w->depth].directory = d;
	w->levels[w->depth].prefix = w->name.len;
	w->depth++;
}

static void leave(struct walk *w)
{
	closedir(w->levels[--w->depth].directory);
}

/* Puts the directory's own prefix there, and what is added to it. */
static void set_name(struct walk *w, const char *name)
{
	w->name.len = w->levels[w->depth - 1].prefix;
	buf_adds(&w->name, name);
}

struct walk *walk_begin(bool held, walk_unreadable *unreadable, void *context)
{
	struct walk *w = xcalloc(1, sizeof *w);

	w->unreadable = unreadable;
	w->context = context;
	w->held = held;
	enter(w);
	return w;
}

const char *walk_next(struct walk *w)
{
	while (w->depth > 0) {
		const struct dirent *e;

		errno = 0;
		e = readdir(w->levels[w->depth - 1].directory);
		if (e == NULL) {
			int error = errno;

			set_name(w, "");
			if (error != 0)
				tell(w, error);
			leave(w);
			continue;
		}
		set_name(w, e->d_name);
		if (isdigit((unsigned char)e->d_name[0]))
			return w->name.data;
		if (w->depth <= HASH_LEVELS && walk_is_hash_directory(e->d_name) &&
		    (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN)) {
			buf_addc(&w->name, '/');
			enter(w);
		}
	}
	return NULL;
}

void walk_end(struct walk **walk)
{
	struct walk *w = *walk;

	if (w == NULL)
		return;
	while (w->depth > 0)
		leave(w);
	buf_free(&w->name);
	free(w);
	*walk = NULL;
}
