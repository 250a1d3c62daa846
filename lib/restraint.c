#include "lib/restraint.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>

#include "lib/clock.h"
#include "lib/log.h"

struct restraint {
	int64_t pause;
	_Atomic int64_t again;    /* clock_ms(), whose clock is that of all processes; 0: it was never done */
};

struct restraint *restraint_create(int64_t pause)
{
	struct restraint *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (r == MAP_FAILED)
		die(EX_OSERR, "cannot share memory: %s", strerror(errno));
	r->pause = pause;
	return r;
}

bool restraint_take(struct restraint *r)
{
	int64_t again = atomic_load(&r->again), now = clock_ms();

	return now >= again && atomic_compare_exchange_strong(&r->again, &again, now + r->pause);
}

bool restraint_is_off(const struct restraint *r)
{
	return atomic_load(&r->again) == 0;
}

void restraint_lift(struct restraint *r)
{
	if (!restraint_is_off(r))
		atomic_store(&r->again, 0);
}

void restraint_free(struct restraint **r)
{
	if (*r != NULL)
		munmap(*r, sizeof **r);
	*r = NULL;
}
