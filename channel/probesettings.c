#include "channel/probesettings.h"

#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/parse.h"

#define MINUTE ((int64_t)60)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/*
 * A stale yes costs a bounce, a stale no the mail for a mailbox that was just made: so the one may serve long
 * while a server is away, the other not.
 */
void probe_defaults(struct probe_settings *probe)
{
	*probe = (struct probe_settings){
		.sender = "",
		.time = 30 * 1000,
		.yes = { .fresh = 12 * HOUR, .kept = 7 * DAY },
		.no = { .fresh = 10 * MINUTE, .kept = HOUR },
	};
}

bool probe_set_cache(struct probe_settings *probe, const char *value)
{
	probe->cache = xstrdup(value);
	return *value != '\0';
}

bool probe_set_sender(struct probe_settings *probe, const char *value)
{
	probe->sender = strcmp(value, "<>") == 0 ? "" : xstrdup(value);
	return *value != '\0';
}

bool probe_set_time(struct probe_settings *probe, const char *value)
{
	int64_t seconds;

	if (!parse_interval(value, &seconds) || seconds < 1)
		return false;
	probe->time = seconds * 1000;
	return true;
}

bool probe_set_lifetime(struct probe_lifetime *lifetime, const char *value)
{
	char *copy = xstrdup(value), *slash = strchr(copy, '/');
	bool ok = slash != NULL;

	if (ok)
		*slash = '\0';
	ok = ok && parse_interval(copy, &lifetime->fresh) && parse_interval(slash + 1, &lifetime->kept);
	free(copy);
	return ok && lifetime->fresh <= lifetime->kept;
}
