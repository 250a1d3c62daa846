#include "db/sync/usable.h"

#include "db/live/livemap.h"

const char *usable_value_fault(struct value_check *check, const struct record *record, const char **warning)
{
	const char *why = livemap_value_fault(record->value, record->value_length);
	bool is_warning = false;
	size_t offset = 0;

	*warning = NULL;
	if (why != NULL || check == NULL)
		return why;
	if (value_is_good(check, record, &offset, &why, &is_warning))
		return NULL;
	if (!is_warning)
		return why;
	*warning = why;
	return NULL;
}
