#include "db/sync/mapsetting.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "db/store/store.h"
#include "lib/parse.h"

static int take_map(struct mapsetting *map, const struct setting *setting, struct buf *why)
{
	struct stat st;

	if (setting->value[store_base_length(setting->value)] != '\0')
		return setting_error(setting, why, "expected the name without its suffix");
	if (stat(setting->value, &st) == 0 && S_ISDIR(st.st_mode))
		return setting_error(setting, why, "is a directory; expected the name of a map in it");
	return setting_path(setting, &map->base, why);
}

static int take_type(struct mapsetting *map, const struct setting *setting, struct buf *why)
{
	return setting_text(setting, &map->type, why);
}

static int take_environment(struct mapsetting *map, const struct setting *setting, struct buf *why)
{
	return setting_path(setting, &map->environment, why);
}

static int take_fold(struct mapsetting *map, const struct setting *setting, struct buf *why)
{
	static const char *const words[] = { "lower", "upper", "no", NULL };
	int i = 0, status = setting_choice(setting, words, &i, why);

	map->folding = "lu-"[i];
	return status;
}

static const struct known {
	const char *name;
	int (*take)(struct mapsetting *, const struct setting *, struct buf *);
} known[] = {
	{ "map", take_map }, { "type", take_type }, { "environment", take_environment }, { "fold", take_fold },
};

const char *mapsetting_known(const char *word)
{
	const struct known *k = PARSE_ROW(known, word);

	return k != NULL ? k->name : NULL;
}

int mapsetting_take(struct mapsetting *map, const struct setting *setting, struct buf *why)
{
	const struct known *k = PARSE_ROW(known, setting->name);

	return k != NULL ? k->take(map, setting, why) : EX_OK;
}

void mapsetting_free(struct mapsetting *map)
{
	free(map->base);
	free(map->type);
	free(map->environment);
	*map = (struct mapsetting){ 0 };
}
