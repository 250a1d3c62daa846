#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/module.h"
#include "lib/process.h"

/*
 * Where a shared object may stand, seen from the directory of the program: beside it, above ta/, or in the build tree (the last
 * two).  Nothing else counts, no environment and no search path: a user who can write there could replace the program itself.
 */
static const char *const places[] = { "", "../", "../db/", "../../db/" };

static const void *load(const char *path, const char *symbol, unsigned version, struct buf *why)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const unsigned *driver = object != NULL ? dlsym(object, symbol) : NULL;

	if (driver == NULL)
		buf_addf(why, "cannot load a library that maps of this type need: %s", dlerror());
	else if (*driver != version)
		buf_addf(why, "%s is of another version of zlmtp; install the packages of one version", path);
	else
		return driver;
	return NULL;
}

const void *module_load(const char *type, const char *symbol, unsigned version, struct buf *why)
{
	char *directory = process_beside(""), *path = NULL;
	const void *driver = NULL;
	struct stat st;
	bool is_there = false;

	if (directory == NULL) {
		buf_addf(why, "cannot find the directory of this program (/proc/self/exe): %s", strerror(errno));
		return NULL;
	}
	for (size_t i = 0; i < sizeof places / sizeof places[0] && !is_there; i++) {
		free(path);
		path = xasprintf("%s%szlmtp-%s.so", directory, places[i], type);
		is_there = stat(path, &st) == 0;
	}
	if (!is_there)
		buf_addf(why, "no zlmtp-%s.so in %s; install it beside the programs (Debian: apt install zlmtp-%s)", type,
		         directory, type);
	else if ((st.st_mode & S_IWOTH) != 0)
		buf_addf(why, "%s: all users may write it; chmod 755", path);
	else
		driver = load(path, symbol, version, why);
	free(directory);
	free(path);
	return driver;
}
