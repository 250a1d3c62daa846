#include "db/sync/usable.h"

#include "db/live/livemap.h"

const char *usable_value_fault(struct value_check *check, const struct record *record)
{
	const char *why = livemap_value_fault(record->value, record->value_length);
	bool is_warning = false;
	size_t offset = 0;

	if (why != NULL || check == NULL)
		return why;
	return value_is_good(check, record, &offset, &why, &is_warning) || is_warning ? NULL : why;
}
