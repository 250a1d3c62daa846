#include "channel/operator/rates.h"

#include <string.h>

#define MINUTE (60 * 1000)

void rates_clear(struct rates *r)
{
	r->count = 0;
}

void rates_add(struct rates *r, int64_t ms, const uint64_t sums[RATES])
{
	r->newest = (r->newest + 1) % RATES_KEPT;
	r->samples[r->newest].ms = ms;
	memcpy(r->samples[r->newest].sums, sums, sizeof r->samples[0].sums);
	if (r->count < RATES_KEPT)
		r->count++;
}

static const struct sample *sample(const struct rates *r, size_t ago)
{
	return &r->samples[(r->newest + RATES_KEPT - ago) % RATES_KEPT];
}

static double since(const struct rates *r, enum rate which, size_t ago)
{
	const struct sample *now = sample(r, 0), *then = sample(r, ago);
	int64_t ms = now->ms - then->ms;

	return ms > 0 && now->sums[which] > then->sums[which]
	       ? (double)(now->sums[which] - then->sums[which]) * 1000 / (double)ms : 0;
}

double rates_now(const struct rates *r, enum rate which)
{
	return r->count < 2 ? 0 : since(r, which, 1);
}

double rates_minute(const struct rates *r, enum rate which)
{
	size_t ago = r->count < 2 ? 0 : r->count - 1;

	while (ago > 1 && sample(r, 0)->ms - sample(r, ago)->ms > MINUTE)
		ago--;
	return ago == 0 ? 0 : since(r, which, ago);
}
