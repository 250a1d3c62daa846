#include "channel/queue/clause.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/account.h"
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

/* Each reads the value of a key into a field of the clause.  Returns NULL, or what was expected instead. */
typedef const char *clause_reader(struct clause_pool *pool, struct clause *c, void *field, char *value);

static const char *read_seconds(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	(void)pool, (void)c;
	return parse_interval(value, field) ? NULL : "an interval such as 1h30m";
}

static const char *read_count(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	unsigned *count = field;
	uint64_t n;

	(void)pool, (void)c;
	if (!parse_number(value, UNLIMITED, &n))
		return "a number up to 10000";
	*count = (unsigned)n;
	return NULL;
}

/* A number of agents, where 0 stands for no limit. */
static const char *read_limit(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	const char *expected = read_count(pool, c, field, value);
	unsigned *limit = field;

	if (expected == NULL && *limit == 0)
		*limit = UNLIMITED;
	return expected;
}

static const char *read_retries(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	static const char expected[] = "retries as numbers above 0";
	unsigned *list = NULL;
	size_t count = 0, capacity = 0;
	char *rest = value, *word;

	(void)field;
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
static const char *read_report_times(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	int64_t *list = NULL, seconds;
	size_t count = 0, capacity = 0;
	char *rest = value, *word;

	(void)field;
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

static const char *read_user(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	(void)pool, (void)c;
	return account_find_user(value, field) ? NULL : "a user of this system";
}

static const char *read_group(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	(void)pool, (void)c;
	return account_find_group(value, field) ? NULL : "a group of this system";
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

static const char *read_command(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	(void)field;
	if (value[strspn(value, " \t\n")] == '\0')
		return "a command";
	c->command = clause_own(pool, xstrdup(value));
	c->with_host = has_word(value, "$host");
	return NULL;
}

static const char *read_flag(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	(void)pool, (void)c, (void)value;
	*(bool *)field = true;
	return NULL;
}

static const char *read_nothing(struct clause_pool *pool, struct clause *c, void *field, char *value)
{
	(void)pool, (void)c, (void)field, (void)value;
	return NULL;
}

#define FIELD(name) offsetof(struct clause, name)

static const struct key {
	const char *name;
	clause_reader *read;      /* NULL: the key means nothing here */
	size_t field;
	bool flag;                /* stands without a value */
} keys[] = {
	/* done anyway */
	{ "ageorder", read_nothing, 0, true }, { "bychannel", read_nothing, 0, true },
	{ "command", read_command, FIELD(command), false },
	{ "deliveryform", NULL, 0, false },
	{ "expiry", read_seconds, FIELD(expiry), false }, { "expiry2", read_seconds, FIELD(expiry2), false },
	{ "expiryform", NULL, 0, false },
	{ "group", read_group, FIELD(gid), false },
	{ "idlemax", read_seconds, FIELD(idle_max), false },
	{ "interval", read_seconds, FIELD(interval), false },
	{ "maxchannel", read_limit, FIELD(max_channel), false }, { "maxchannels", read_limit, FIELD(max_channel), false },
	{ "maxring", read_limit, FIELD(max_ring), false }, { "maxrings", read_limit, FIELD(max_ring), false },
	{ "maxta", read_limit, FIELD(max_agents), false },
	{ "maxthr", read_limit, FIELD(max_destination), false },
	{ "maxtransport", read_limit, FIELD(max_agents), false }, { "maxtransports", read_limit, FIELD(max_agents), false },
	{ "nice", NULL, 0, false },
	{ "overfeed", read_count, FIELD(overfeed), false },
	{ "priority", NULL, 0, false },
	{ "queueonly", read_flag, FIELD(queue_only), true },
	{ "reporttimes", read_report_times, FIELD(report_times), false },
	{ "retries", read_retries, FIELD(retries), false },
	{ "skew", NULL, 0, false }, { "sysnice", NULL, 0, false }, { "syspriority", NULL, 0, false },
	{ "user", read_user, FIELD(uid), false },
	{ "wakeuprestartonly", NULL, 0, true },
};

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
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		const struct key *k = &keys[i];

		if (!ascii_equal(k->name, key))
			continue;
		if (value == NULL && !k->flag)
			return "a key with = and a value";
		if (k->read != NULL)
			return k->read(pool, c, (char *)c + k->field, value);
		clause_ignore(pool, k->name);
		return NULL;
	}
	return "a key that runqueue(8) lists";
}
