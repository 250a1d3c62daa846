#include "db/sync/mapsetting.h"

#include <sys/stat.h>

#include "db/store/store.h"

int mapsetting_name(const struct setting *setting, char **map, struct buf *why)
{
	struct stat st;

	if (setting->value[store_base_length(setting->value)] != '\0')
		return setting_error(setting, why, "expected the name without its suffix");
	if (stat(setting->value, &st) == 0 && S_ISDIR(st.st_mode))
		return setting_error(setting, why, "is a directory; expected the name of a map in it");
	return setting_path(setting, map, why);
}

int mapsetting_fold(const struct setting *setting, char *folding, struct buf *why)
{
	static const char *const words[] = { "lower", "upper", "no", NULL };
	int i = 0, status = setting_choice(setting, words, &i, why);

	*folding = "lu-"[i];
	return status;
}
