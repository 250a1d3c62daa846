/*
 * For targets that write records and read them back.
 */
#ifndef ZL_TESTS_FUZZ_SAME_RECORDS_H
#define ZL_TESTS_FUZZ_SAME_RECORDS_H

#include <stdlib.h>
#include <string.h>

#include "db/store/records.h"

/* Ends the target where they are not the same ones in the same order. */
static inline void must_be_same(const struct records *a, const struct records *b)
{
	if (a->count != b->count)
		abort();
	for (size_t i = 0; i < a->count; i++) {
		const struct record *x = &a->list[i], *y = &b->list[i];

		if (x->key_length != y->key_length || memcmp(x->key, y->key, x->key_length) != 0 ||
		    x->value_length != y->value_length || memcmp(x->value, y->value, x->value_length) != 0)
			abort();
	}
}

#endif
