#include "channel/queue/clause.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/parse.h"
#include "lib/text.h"

void *clause_own(struct clause_pool *pool, void *p)
{
	pool->list = xgrow(pool->list, pool->count, &pool->capacity, sizeof *pool->list);
	pool->list[pool->count++] = p;
	return p;
}

void clause_pool_free(struct clause_pool *pool)
{
	for (size_t i = 0; i < pool->count; i++)
		free(pool->list[i]);
	free(pool->list);
	buf_free(&pool->ignored);
	*pool = (struct clause_pool){ 0 };
}

static const char *seconds_value(const char *value, int64_t *seconds)
{
	return parse_interval(value, seconds) ? NULL : "an interval such as 1h30m";
}

static const char *count_value(const char *value, unsigned *count)
{
	uint64_t n;

	if (!parse_number(value, UNLIMITED, &n))
		return "a number up to 10000";
	*count = (unsigned)n;
	return NULL;
}

/* A number of agents, where 0 stands for no limit. */
static const char *limit_value(const char *value, unsigned *limit)
{
	const char *expected = count_value(value, limit);

	if (expected == NULL && *limit == 0)
		*limit = UNLIMITED;
	return expected;
}

static const char *retries_value(struct clause_pool *pool, struct clause *c, char *value)
{
	static const char expected[] = "retries as numbers above 0";
	unsigned *list = NULL;
	size_t count = 0, capacity = 0;
	char *rest = value, *word;

	while ((word = strtok_r(rest, " \t\n", &rest)) != NULL) {
		uint64_t n;

		if (!parse_number(word, 1000000, &n) || n == 0) {
			free(list);
			return expected;
		}
		list = xgrow(list, count, &capacity, sizeof *list);
		list[count++] = (unsigned)n;
	}
	if (count == 0)
		return expected;
	c->retries = clause_own(pool, list);
	c->retry_count = count;
	return NULL;
}

static int shorter(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Intervals with blanks or commas between them, in any order; 0 or nothing: no report of delays. */
static const char *reporttimes_value(struct clause_pool *pool, struct clause *c, char *value)
{
	int64_t *list = NULL, seconds;
	size_t count = 0, capacity = 0;
	char *rest = value, *word;

	while ((word = strtok_r(rest, " ,\t\n", &rest)) != NULL) {
		if (!parse_interval(word, &seconds)) {
			free(list);
			return "intervals such as 4h 1d";
		}
		list = xgrow(list, count, &capacity, sizeof *list);
		if (seconds > 0)
			list[count++] = seconds;
	}
	if (count > 0)
		qsort(list, count, sizeof *list, shorter);
	c->report_times = list != NULL ? clause_own(pool, list) : NULL;
	c->report_time_count = count;
	return NULL;
}

static const char *user_value(const char *value, uid_t *uid)
{
	const struct passwd *pw;
	uint64_t n;

	if (parse_number(value, UINT32_MAX - 1, &n)) {
		*uid = (uid_t)n;
		return NULL;
	}
	pw = getpwnam(value);
	if (pw == NULL)
		return "a user of this system";
	*uid = pw->pw_uid;
	return NULL;
}

static const char *group_value(const char *value, gid_t *gid)
{
	const struct group *gr;
	uint64_t n;

	if (parse_number(value, UINT32_MAX - 1, &n)) {
		*gid = (gid_t)n;
		return NULL;
	}
	gr = getgrnam(value);
	if (gr == NULL)
		return "a group of this system";
	*gid = gr->gr_gid;
	return NULL;
}

static bool has_word(const char *text, const char *wanted)
{
	size_t n = strlen(wanted);

	for (const char *s = text + strspn(text, " \t\n"); *s != '\0'; s += strspn(s, " \t\n")) {
		size_t length = strcspn(s, " \t\n");

		if (length == n && memcmp(s, wanted, n) == 0)
			return true;
		s += length;
	}
	return false;
}

static const char *command_value(struct clause_pool *pool, struct clause *c, const char *value)
{
	if (value[strspn(value, " \t\n")] == '\0')
		return "a command";
	c->command = clause_own(pool, xstrdup(value));
	c->with_host = has_word(value, "$host");
	return NULL;
}

enum key {
	KEY_COMMAND, KEY_INTERVAL, KEY_IDLEMAX, KEY_EXPIRY, KEY_EXPIRY2, KEY_RETRIES, KEY_MAXTA, KEY_MAXCHANNEL,
	KEY_MAXRING, KEY_MAXTHR, KEY_OVERFEED, KEY_USER, KEY_GROUP, KEY_QUEUEONLY, KEY_REPORTTIMES,
	KEY_IMPLIED,              /* what it asks for is done anyway */
	KEY_IGNORED,
};

static const struct key_name {
	const char *name;
	enum key key;
	bool flag;                /* stands without a value */
} keys[] = {
	{ "ageorder", KEY_IMPLIED, true }, { "bychannel", KEY_IMPLIED, true }, { "command", KEY_COMMAND, false },
	{ "deliveryform", KEY_IGNORED, false }, { "expiry", KEY_EXPIRY, false }, { "expiry2", KEY_EXPIRY2, false },
	{ "expiryform", KEY_IGNORED, false }, { "group", KEY_GROUP, false }, { "idlemax", KEY_IDLEMAX, false },
	{ "interval", KEY_INTERVAL, false },
	{ "maxchannel", KEY_MAXCHANNEL, false }, { "maxchannels", KEY_MAXCHANNEL, false },
	{ "maxring", KEY_MAXRING, false }, { "maxrings", KEY_MAXRING, false }, { "maxta", KEY_MAXTA, false },
	{ "maxthr", KEY_MAXTHR, false }, { "maxtransport", KEY_MAXTA, false }, { "maxtransports", KEY_MAXTA, false },
	{ "nice", KEY_IGNORED, false }, { "overfeed", KEY_OVERFEED, false }, { "priority", KEY_IGNORED, false },
	{ "queueonly", KEY_QUEUEONLY, true }, { "reporttimes", KEY_REPORTTIMES, false }, { "retries", KEY_RETRIES, false },
	{ "skew", KEY_IGNORED, false }, { "sysnice", KEY_IGNORED, false }, { "syspriority", KEY_IGNORED, false },
	{ "user", KEY_USER, false }, { "wakeuprestartonly", KEY_IGNORED, true },
};

static const struct key_name *find_key(const char *name)
{
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (ascii_equal(keys[i].name, name))
			return &keys[i];
	return NULL;
}

void clause_ignore(struct clause_pool *pool, const char *name)
{
	size_t n = strlen(name);

	for (const char *s = buf_str(&pool->ignored); *s != '\0'; s += strcspn(s, " "), s += *s == ' ')
		if (strncmp(s, name, n) == 0 && (s[n] == ',' || s[n] == '\0'))
			return;
	if (pool->ignored.len > 0)
		buf_adds(&pool->ignored, ", ");
	text_add_clean_string(&pool->ignored, name, 100);
}

const char *clause_set(struct clause_pool *pool, struct clause *c, const char *key, char *value)
{
	const struct key_name *k = find_key(key);

	if (k == NULL)
		return "a key that runqueue(8) lists";
	if (value == NULL && !k->flag)
		return "a key with = and a value";
	switch (k->key) {
	case KEY_COMMAND: return command_value(pool, c, value);
	case KEY_INTERVAL: return seconds_value(value, &c->interval);
	case KEY_IDLEMAX: return seconds_value(value, &c->idle_max);
	case KEY_EXPIRY: return seconds_value(value, &c->expiry);
	case KEY_EXPIRY2: return seconds_value(value, &c->expiry2);
	case KEY_RETRIES: return retries_value(pool, c, value);
	case KEY_MAXTA: return limit_value(value, &c->max_agents);
	case KEY_MAXCHANNEL: return limit_value(value, &c->max_channel);
	case KEY_MAXRING: return limit_value(value, &c->max_ring);
	case KEY_MAXTHR: return limit_value(value, &c->max_destination);
	case KEY_OVERFEED: return count_value(value, &c->overfeed);
	case KEY_USER: return user_value(value, &c->uid);
	case KEY_GROUP: return group_value(value, &c->gid);
	case KEY_REPORTTIMES: return reporttimes_value(pool, c, value);
	case KEY_QUEUEONLY: c->queue_only = true; return NULL;
	case KEY_IMPLIED: return NULL;
	case KEY_IGNORED: clause_ignore(pool, k->name); return NULL;
	}
	return NULL;
}
