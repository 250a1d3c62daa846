/*
 * Any bytes as the state file that runqueue -l reads: refused in one line that names the line, or every line is found
 * again by its name, arrival and offset.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/operator/queue_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct queue_state *o)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct queue_state_line *line = &o->lines[i], *found;
		uint64_t id;

		if (!control_id(line->name, &id) || id != line->id || line->offset < 0 || line->answered < 0 ||
		    line->next < NEXT_HELD || strchr(line->answer, '\n') != NULL)
			abort();
		if (i > 0 && line->id < line[-1].id)
			abort();
		/* of several with one number and offset any may be found, and it may be another's */
		found = queue_state_find(o, line->name, &line->arrived, line->offset);
		if (found != NULL && (found->offset != line->offset || strcmp(found->name, line->name) != 0))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf why = { 0 };
	struct queue_state o;

	if (queue_state_parse(&o, (const char *)data, size, &why))
		check(&o);
	else if (strstr(buf_str(&why), " line ") == NULL || strchr(why.data, '\n') != NULL || o.count != 0)
		abort();
	queue_state_free(&o);
	buf_free(&why);
	return 0;
}
