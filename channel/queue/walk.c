#include "channel/queue/walk.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/alloc.h"
#include "lib/buf.h"

#define HASH_LEVELS 2

struct walk {
	walk_unreadable *unreadable;
	void *context;
	struct {
		DIR *directory;
		size_t prefix;       /* length of its name, "" or with a slash at its end */
	} levels[1 + HASH_LEVELS];
	size_t depth;                /* levels in use */
	struct buf name;             /* begins with the prefix of the deepest level */
};

static bool is_hash_letter(const char *name)
{
	return name[0] >= 'A' && name[0] <= 'Z' && name[1] == '\0';
}

static void tell(struct walk *w, int error)
{
	w->unreadable(w->context, w->name.len > 0 ? w->name.data : "transport", error);
}

/* Goes into the directory that w->name is the prefix of. */
static void enter(struct walk *w)
{
	DIR *d = opendir(w->name.len > 0 ? w->name.data : ".");

	if (d == NULL) {
		tell(w, errno);
		return;
	}
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

struct walk *walk_begin(walk_unreadable *unreadable, void *context)
{
	struct walk *w = xcalloc(1, sizeof *w);

	w->unreadable = unreadable;
	w->context = context;
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
		if (w->depth <= HASH_LEVELS && is_hash_letter(e->d_name) && (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN)) {
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
