#include "db/sync/mapsetting.h"

#include <string.h>

int mapsetting_name(const struct setting *setting, char **map, struct buf *why)
{
	const char *dot = strrchr(setting->value, '.');

	if (dot != NULL && (strcmp(dot, ".db") == 0 || strcmp(dot, ".dbh") == 0 || strcmp(dot, ".lmdb") == 0))
		return setting_error(setting, why, "expected the name without its suffix");
	return setting_path(setting, map, why);
}

int mapsetting_fold(const struct setting *setting, char *folding, struct buf *why)
{
	static const char *const words[] = { "lower", "upper", "no", NULL };
	int i = 0, status = setting_choice(setting, words, &i, why);

	*folding = "lu-"[i];
	return status;
}
