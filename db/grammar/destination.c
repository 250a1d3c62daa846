#include "db/grammar/destination.h"

#include <string.h>

#include "lib/parse.h"
#include "lib/text.h"

/* A hundred years: later than that is a mistake. */
#define LATEST 3153600000

static bool starts(const char *s, const char *start)
{
	return strncmp(s, start, strlen(start)) == 0;
}

/* "CHANNEL!" with nothing behind. */
static bool without_host(struct destination *d, const char **why)
{
	if (strcmp(d->channel, "error") == 0) {
		*why = "error! needs the name of a form";
		return false;
	}
	if (starts(d->channel, "smtpgw"))
		d->host_is = HOST_LOCAL_PART;
	else if (starts(d->channel, "smtp"))
		d->host_is = HOST_DOMAIN;
	if (strcmp(d->channel, "dns") == 0) {
		d->channel = "smtp";
		d->host_is = HOST_DOMAIN;
	}
	return true;
}

/* What follows the channel: "HOST" or "HOST!USER". */
static bool host_and_user(struct pool *pool, struct destination *d, const char *rest, const char **why)
{
	const char *mark = strchr(rest, '!');

	d->host_is = HOST_GIVEN;
	d->host = mark != NULL ? pool_copy(pool, rest, (size_t)(mark - rest)) : rest;
	d->user = mark != NULL ? mark + 1 : NULL;
	if (d->host[0] == '\0')
		*why = "no host stands between the two !";
	else if (d->user != NULL && d->user[0] == '\0')
		*why = "no user follows the last !";
	if (*why != NULL)
		return false;
	if (strcmp(d->channel, "lotusgw") == 0 && d->user != NULL) {
		d->gateway = d->host;
		d->host = d->user;
		d->user = NULL;
		d->channel = "smtp";
	}
	return true;
}

bool destination_parse(struct pool *pool, const char *value, struct destination *d, const char **why)
{
	const char *mark = strchr(value, '!');
	uint64_t seconds;

	*why = NULL;
	*d = (struct destination){ .kind = DESTINATION_SEND, .host_is = HOST_NONE };
	if (strcmp(value, "ERROR") == 0 || starts(value, "ignore!")) {
		d->kind = DESTINATION_ABSENT;
		return true;
	}
	if (mark == NULL || text_has_controls(value, strlen(value))) {
		*why = mark == NULL ? "a route needs a ! after its channel" : "the route holds control bytes";
		return false;
	}
	value = pool_copy(pool, value, strlen(value));
	mark = strchr(value, '!');
	d->channel = pool_copy(pool, value, (size_t)(mark - value));
	if (d->channel[0] == '\0' || d->channel[0] == '-' || strchr(d->channel, ' ') != NULL) {
		*why = "this is no name of a channel";
		return false;
	}
	if (mark[1] == '\0')
		return without_host(d, why);
	if (strcmp(d->channel, "delay") != 0)
		return host_and_user(pool, d, mark + 1, why);
	if (!parse_number(mark + 1, LATEST, &seconds)) {
		*why = "delay! needs a number of seconds";
		return false;
	}
	d->kind = DESTINATION_LATER;
	d->seconds = (int64_t)seconds;
	return true;
}
