#include "db/sync/table.h"

#include <stdlib.h>

#include "lib/alloc.h"
#include "lib/hash.h"

#define SMALLEST 64

uintptr_t *table_find(const struct table *t, uint64_t hash, const void *wanted)
{
	if (t->size == 0)
		return NULL;
	for (size_t i = hash_cell(hash, t->size); t->cells[i] != 0; i = (i + 1) & (t->size - 1))
		if (t->matches(t->cells[i], wanted))
			return &t->cells[i];
	return NULL;
}

static void place(struct table *t, uintptr_t cell)
{
	size_t i = hash_cell(t->hash(cell), t->size);

	while (t->cells[i] != 0)
		i = (i + 1) & (t->size - 1);
	t->cells[i] = cell;
}

void table_add(struct table *t, uintptr_t cell)
{
	uintptr_t *old = t->cells;
	const size_t size = t->size;

	/* never more than four fifths full */
	if ((t->count + 1) * 5 > size * 4) {
		t->size = size == 0 ? SMALLEST : size * 2;
		t->cells = xcalloc(t->size, sizeof *t->cells);
		for (size_t i = 0; i < size; i++)
			if (old[i] != 0)
				place(t, old[i]);
		free(old);
	}
	place(t, cell);
	t->count++;
}

void table_remove(struct table *t, uintptr_t *cell)
{
	size_t hole = (size_t)(cell - t->cells);

	/* those behind it that would not be found over the hole move up */
	for (size_t i = (hole + 1) & (t->size - 1); t->cells[i] != 0; i = (i + 1) & (t->size - 1)) {
		const size_t at = hash_cell(t->hash(t->cells[i]), t->size);

		if (((i - at) & (t->size - 1)) < ((i - hole) & (t->size - 1)))
			continue;
		t->cells[hole] = t->cells[i];
		hole = i;
	}
	t->cells[hole] = 0;
	t->count--;
}

void table_free(struct table *t)
{
	free(t->cells);
	t->cells = NULL;
	t->size = t->count = 0;
}
