#include "db/map/conffile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

#define MESSAGE_CAP 1000

/* The settings of such a map. */
struct conffile {
	const struct conffile_type *type;
	void *source;                /* NULL while what asks such maps is not installed */
	struct stat file;            /* as it was before it was read: what is written meanwhile is seen as a change */
};

int conffile_prepare(struct map *map, const struct conffile_type *type)
{
	struct conffile *c = xcalloc(1, sizeof *c);
	struct buf why = { 0 };
	int status = EX_NOINPUT;

	c->type = type;
	if (stat(map->path, &c->file) == 0)
		status = type->read(map, &c->source, &why);
	else
		buf_addf(&why, "%s: %s", map->path, file_error(errno));
	if (status != EX_OK) {
		buf_clear(&map->error);
		if (status == EX_UNAVAILABLE)
			buf_addf(&map->error, "%s: ", map->path);
		text_add_clean(&map->error, buf_str(&why), why.len, MESSAGE_CAP);
	}
	/* what asks it may come while the program runs, as when packages are replaced: until then lookups cannot tell */
	if (status == EX_OK || status == EX_UNAVAILABLE) {
		status = EX_OK;
		conffile_forget(map);
		map->settings = c;
	} else {
		free(c);
	}
	buf_free(&why);
	return status;
}

void *conffile_source(const struct map *map)
{
	const struct conffile *c = map->settings;

	return c->source;
}

enum map_change conffile_changed(struct map *map)
{
	const struct conffile *c = map->settings;
	struct stat now;

	return c->source != NULL && stat(map->path, &now) == 0 && file_is_unchanged(&c->file, &now) ? MAP_SAME : MAP_REPLACED;
}

/* Opens nothing but the file, for its provenance. */
bool conffile_open(struct map *map)
{
	int fd;
	bool ok;

	if (conffile_changed(map) != MAP_SAME && map->operations->prepare(map) != EX_OK)
		return false;
	if (conffile_source(map) == NULL)
		return false;
	fd = file_open_regular(map->path, O_RDONLY);
	if (fd < 0) {
		map_fail(map, "%s", file_error(errno));
		return false;
	}
	ok = map_provenance_of(map, fd);
	close(fd);
	return ok;
}

void conffile_close(struct map *map)
{
	(void)map;
}

void conffile_forget(struct map *map)
{
	struct conffile *c = map->settings;

	if (c != NULL && c->source != NULL)
		c->type->free(c->source);
	free(c);
	map->settings = NULL;
}
