/*
 * ask TYPE PATH [CONFIG]: looks up each line of standard input in a map and answers at once, in one line:
 * "found VALUE", "not-found" or "could-not-tell WHY".  "%XX" in a key stands for a byte.
 * A line "!refresh" makes the -m check.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/map/map.h"
#include "lib/log.h"

static void decode(char *line)
{
	char *to = line;

	for (char *from = line; *from != '\0' && *from != '\n'; from++) {
		unsigned byte;

		if (*from == '%' && sscanf(from + 1, "%2x", &byte) == 1) {
			*to++ = (char)byte;
			from += 2;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

static void answer(struct map *map, const char *key)
{
	struct buf value = { 0 };

	switch (map_find(map, key, &value)) {
	case MAP_FOUND: printf("found %s\n", buf_str(&value)); break;
	case MAP_NOT_FOUND: puts("not-found"); break;
	case MAP_COULD_NOT_TELL: printf("could-not-tell %s\n", map_error(map)); break;
	}
	buf_free(&value);
}

int main(int argc, char **argv)
{
	struct buf why = { 0 };
	struct map *map;
	char *line = NULL;
	size_t size = 0;
	int status = EX_OK;

	log_program("ask");
	signal(SIGPIPE, SIG_IGN);
	if (argc < 3)
		die(EX_USAGE, "usage: ask TYPE PATH [CONFIG]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	map = map_open(argv[1], argv[2], argv[3], &status, &why);
	if (map == NULL)
		die(status, "%s", buf_str(&why));
	while (getline(&line, &size, stdin) > 0) {
		decode(line);
		if (strcmp(line, "!refresh") == 0)
			puts(map_refresh(map) ? "changed" : "same");
		else
			answer(map, line);
	}
	map_close(&map);
	buf_free(&why);
	free(line);
	return EX_OK;
}
