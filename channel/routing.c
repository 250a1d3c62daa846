#include "channel/routing.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/build/fault.h"
#include "db/grammar/address.h"
#include "db/route/routeconf.h"
#include "db/route/setup.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/text.h"

#define SHOWN_MAX 300
/* Other processes write for milliseconds, if at all. */
#define METRICS_PATIENCE 500

static int open_router(const struct routing *r, struct router **router)
{
	static struct buf noted;
	struct dbases dbases;
	struct zenv zenv;
	struct buf why = { 0 }, notes = { 0 };
	int status = zenv_read(&zenv, &why);

	if (status == EX_OK) {
		status = dbases_read(&dbases, r->dbases, &zenv, fault_complain, NULL);
		if (status == EX_OK) {
			*router = router_open(&dbases, r->settings, r->setting_count, &status, &why, &notes);
			dbases_free(&dbases);
		}
		zenv_free(&zenv);
	}
	complain_lines(buf_str(&why));
	/* a program that routes again and again says so once, and again when the reason changes */
	if (strcmp(buf_str(&noted), buf_str(&notes)) != 0)
		complain_lines(buf_str(&notes));
	buf_clear(&noted);
	buf_add(&noted, buf_str(&notes), notes.len);
	buf_free(&why);
	buf_free(&notes);
	return status;
}

int routing_open(struct routing *r)
{
	if (r->config == NULL)
		r->config = route_config_create(r->dbases, r->settings, r->setting_count);
	return route_config_open(r->config, clock_now(), &r->router);
}

bool routing_renew(struct routing *r)
{
	struct router *router;

	if (!route_config_renew(r->config, clock_now(), &router))
		return false;
	router_destroy(&r->router);
	r->router = router;
	return true;
}

void routing_close(struct routing *r)
{
	router_destroy(&r->router);
	route_config_free(&r->config);
}

/* What is the matter with a result that is no destination. */
static void add_trouble(struct buf *line, const char *address, const struct route_result *result)
{
	struct pool pool = { 0 };
	struct address parsed;
	const char *why;

	text_add_clean_string(line, result->host, SHOWN_MAX);
	if (strcmp(result->host, "badaddress") == 0 &&
	    !address_parse(&pool, address, strlen(address), ADDRESS_PLAIN, &parsed, &why))
		buf_addf(line, ": %s", why);
	pool_free(&pool);
	if (strcmp(result->user, address) != 0) {
		buf_adds(line, ": ");
		text_add_clean_string(line, result->user, SHOWN_MAX);
	}
}

static void tell_trouble(const char *address, const struct route_result *result)
{
	struct buf line = { 0 };

	text_add_clean_string(&line, address, SHOWN_MAX);
	buf_adds(&line, result->answer == MAP_NOT_FOUND ? ": not found: " : ": could not tell: ");
	add_trouble(&line, address, result);
	complain("%s", buf_str(&line));
	buf_free(&line);
}

static void add_recipient(struct routing *r, const struct route_result *result, const char *address)
{
	struct routed *new;

	if (strcmp(result->channel, "bitbucket") == 0)
		return;
	for (size_t i = 0; i < r->count; i++) {
		const struct routed *have = &r->recipients[i];

		if (strcmp(have->user, result->user) == 0 && strcmp(have->host, result->host) == 0 &&
		    strcmp(have->channel, result->channel) == 0)
			return;
	}
	r->recipients = xgrow(r->recipients, r->count, &r->capacity, sizeof *r->recipients);
	new = &r->recipients[r->count++];
	new->channel = xstrdup(result->channel);
	new->host = xstrdup(result->host);
	new->user = xstrdup(result->user);
	new->privilege = (long)result->privilege;
	new->address = address;
}

/* Routes one address and keeps its good results. */
static enum map_answer route_one(struct routing *r, struct router *router, const char *address)
{
	const struct route_result *results;
	size_t count;
	enum map_answer answer = route_recipient(router, address, (uid_t)r->privilege, &results, &count);

	for (size_t i = 0; i < count; i++) {
		switch (results[i].answer) {
		case MAP_FOUND:
			add_recipient(r, &results[i], address);
			break;
		case MAP_NOT_FOUND:
		case MAP_COULD_NOT_TELL:
			tell_trouble(address, &results[i]);
			break;
		}
	}
	return answer;
}

/* ---- counting ---- */

static void count_map(struct metrics *metrics, const char *relation, const struct relation_map *from)
{
	static const struct metric lookups = {
		"zlmtp_map_lookups_total", METRIC_COUNTER, "Keys looked up by enqueue, by map and answer.",
	};
	static const struct {
		enum map_answer answer;
		const char *name;
	} answers[] = { { MAP_FOUND, "found" }, { MAP_NOT_FOUND, "not found" }, { MAP_COULD_NOT_TELL, "could not tell" } };

	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		struct buf labels = { 0 };

		metrics_label(&labels, "relation", relation);
		metrics_label(&labels, "map", from->map->path);
		metrics_label(&labels, "answer", answers[i].name);
		metrics_add(metrics, &lookups, labels.data, from->asked[answers[i].answer] * 1000);
		buf_free(&labels);
	}
}

/* Whether it can be counted must not matter to the mail. */
static void count_lookups(const char *path, const struct router *router)
{
	struct metrics *metrics = metrics_create(path);
	struct buf why = { 0 };

	for (size_t i = 0; i < ROUTE_RELATIONS; i++) {
		const struct relation *r = router->relations[i];

		for (size_t j = 0; r != NULL && j < r->count; j++)
			count_map(metrics, r->name, &r->maps[j]);
	}
	if (metrics_write(metrics, METRICS_PATIENCE, &why) == METRICS_REFUSED)
		complain("metrics: %s", buf_str(&why));
	buf_free(&why);
	metrics_destroy(&metrics);
}

int routing_run(struct routing *r, char *const *addresses, size_t count)
{
	struct router *router = NULL;
	size_t unknown = 0, held = 0;
	int status = open_router(r, &router);

	if (status != EX_OK)
		return status;
	for (size_t i = 0; i < count; i++) {
		switch (route_one(r, router, addresses[i])) {
		case MAP_FOUND:
			break;
		case MAP_NOT_FOUND:
			unknown++;
			break;
		case MAP_COULD_NOT_TELL:
			held++;
			break;
		}
	}
	if (r->metrics != NULL)
		count_lookups(r->metrics, router);
	router_destroy(&router);
	if (held > 0)
		status = EX_TEMPFAIL;
	else if (unknown > 0 && (!r->keep_good || r->count == 0))
		status = EX_NOUSER;
	if (status != EX_OK)
		routing_free(r);
	return status;
}

void routing_free(struct routing *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->recipients[i].channel);
		free(r->recipients[i].host);
		free(r->recipients[i].user);
	}
	free(r->recipients);
	r->recipients = NULL;
	r->count = r->capacity = 0;
}

/* ---- one by one ---- */

static void tell_result(const char *address, const struct route_result *result, size_t number, routing_tell *tell,
                        void *context)
{
	const struct routed to = {
		.channel = (char *)result->channel, .host = (char *)result->host, .user = (char *)result->user,
		.privilege = (long)result->privilege, .address = address,
	};
	struct buf why = { 0 };

	switch (result->answer) {
	case MAP_FOUND:
		tell(context, number, ROUTING_THERE, &to, NULL);
		break;
	case MAP_NOT_FOUND:
		add_trouble(&why, address, result);
		tell(context, number, ROUTING_NOBODY, NULL, buf_str(&why));
		break;
	case MAP_COULD_NOT_TELL:
		add_trouble(&why, address, result);
		tell(context, number, ROUTING_UNCLEAR, NULL, buf_str(&why));
		break;
	}
	buf_free(&why);
}

int routing_each(const struct routing *r, char *const *addresses, size_t count, routing_tell *tell, void *context)
{
	struct router *router = r->router;
	int status = router == NULL ? open_router(r, &router) : EX_OK;

	for (size_t i = 0; status == EX_OK && i < count; i++) {
		const struct route_result *results;
		size_t n;

		/* each result has its own answer; that is given, not the worst of all */
		(void)!route_recipient(router, addresses[i], (uid_t)r->privilege, &results, &n);
		for (size_t k = 0; k < n; k++)
			tell_result(addresses[i], &results[k], i, tell, context);
	}
	if (r->router == NULL)
		router_destroy(&router);
	return status;
}
