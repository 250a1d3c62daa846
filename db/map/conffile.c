#include "db/map/conffile.h"

#include <errno.h>
#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/text.h"

#define MESSAGE_CAP 1000

int map_config_look(const struct map *map, struct stat *file, struct buf *why)
{
	if (stat(map->path, file) == 0)
		return EX_OK;
	buf_addf(why, "%s: %s", map->path, file_error(errno));
	return EX_NOINPUT;
}

enum map_change map_config_change(const struct map *map, const struct stat *file)
{
	struct stat now;

	return stat(map->path, &now) == 0 && file_is_unchanged(file, &now) ? MAP_SAME : MAP_REPLACED;
}

bool map_config_open(struct map *map)
{
	int fd = file_open_regular(map->path, O_RDONLY);
	bool ok;

	if (fd < 0) {
		map_fail(map, "%s", file_error(errno));
		return false;
	}
	ok = map_provenance_of(map, fd);
	close(fd);
	return ok;
}

void map_config_fail(struct map *map, const struct buf *why)
{
	buf_clear(&map->error);
	text_add_clean(&map->error, buf_str(why), why->len, MESSAGE_CAP);
}
