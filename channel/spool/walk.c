#include "channel/spool/walk.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>

#include "lib/buf.h"

#define HASH_LEVELS 2

static bool is_hash_letter(const char *name)
{
	return name[0] >= 'A' && name[0] <= 'Z' && name[1] == '\0';
}

/* `prefix` is "" or ends in a slash. */
static void walk_directory(const struct walk *walk, const char *prefix, int levels)
{
	DIR *d = opendir(prefix[0] ? prefix : ".");
	struct dirent *e;
	struct buf name = { 0 };

	if (d == NULL) {
		walk->unreadable(walk->context, prefix[0] ? prefix : "transport", errno);
		return;
	}
	for (;;) {
		errno = 0;
		e = readdir(d);
		if (e == NULL)
			break;
		buf_clear(&name);
		buf_adds(&name, prefix);
		buf_adds(&name, e->d_name);
		if (isdigit((unsigned char)e->d_name[0])) {
			walk->found(walk->context, name.data);
		} else if (levels > 0 && is_hash_letter(e->d_name) && (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN)) {
			buf_addc(&name, '/');
			walk_directory(walk, name.data, levels - 1);
		}
	}
	if (errno != 0)
		walk->unreadable(walk->context, prefix[0] ? prefix : "transport", errno);
	closedir(d);
	buf_free(&name);
}

void walk_transport(const struct walk *walk)
{
	walk_directory(walk, "", HASH_LEVELS);
}
