#include "channel/server/recipients.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/server/policy.h"
#include "channel/report/reportconf.h"
#include "db/route/routeconf.h"
#include "db/serve/stores.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/desk.h"
#include "lib/log.h"
#include "lib/process.h"
#include "lib/text.h"

#define TEXT_MAX 300

/*
 * An answer as bytes, the same within a process and between two: NUL-ended strings
 *   code status text direction { channel host user privilege }
 * The direction is "elsewhere" or nothing.
 */

/* ---- asking ---- */

static void add_string(struct buf *out, const char *s)
{
	buf_add(out, s, strlen(s) + 1);
}

/* Why there is no such recipient, for the client (RFC 3463). */
static const char *refusal_status(const struct route_result *result)
{
	if (strcmp(result->host, "unresolvable") == 0)
		return "5.1.2";
	if (strcmp(result->host, "badaddress") == 0)
		return "5.1.3";
	return strcmp(result->host, "acctexpired") == 0 ? "5.2.1" : "5.1.1";
}

static void add_text(struct buf *out, const struct route_result *result)
{
	text_add_clean_string(out, result->host, TEXT_MAX);
	if (*result->user != '\0') {
		buf_adds(out, ": ");
		text_add_clean_string(out, result->user, TEXT_MAX);
	}
	buf_addc(out, '\0');
}

static const struct route_result *first_with(const struct route_result *results, size_t count, enum map_answer answer)
{
	for (size_t i = 0; i < count; i++)
		if (results[i].answer == answer)
			return &results[i];
	return NULL;
}

static void add_unclear(struct buf *out)
{
	add_string(out, "451");
	add_string(out, "4.3.0");
	add_string(out, "temporary lookup failure: cannot tell whether this recipient exists; try again later");
}

/*
 * A list with a member that could not be told is asked about again; one with some members that are gone goes to the others.
 * Mail to <postmaster> must be taken (RFC 5321 section 4.5.1): where the maps do not know him, router.conf may.
 */
static void judge(const char *postmaster, struct router *router, const char *address, long privilege, struct buf *out)
{
	const struct route_result *results, *unclear, *missing, *there;
	bool no_mailbox = false;
	size_t count;

	if (route_recipient(router, address, (uid_t)privilege, &results, &count) == MAP_NOT_FOUND &&
	    postmaster != NULL && strcasecmp(address, "postmaster") == 0)
		(void)!route_recipient(router, postmaster, (uid_t)privilege, &results, &count);
	unclear = first_with(results, count, MAP_COULD_NOT_TELL);
	missing = first_with(results, count, MAP_NOT_FOUND);
	there = first_with(results, count, MAP_FOUND);
	for (size_t i = 0; i < count; i++)
		no_mailbox |= results[i].no_mailbox;
	if (unclear != NULL) {
		if (strcmp(unclear->user, address) == 0)
			complain("%s: could not tell: %s", address, unclear->host);
		else
			complain("%s: could not tell: %s (member %s)", address, unclear->host, unclear->user);
		add_unclear(out);
	} else if (no_mailbox) {
		add_string(out, "550");
		add_string(out, "5.1.3");
		add_string(out, "a file or a command is no mailbox");
	} else if (there == NULL) {
		add_string(out, "550");
		add_string(out, missing != NULL ? refusal_status(missing) : "5.1.1");
		if (missing != NULL)
			add_text(out, missing);
		else
			add_string(out, "no such recipient");
	} else {
		char number[24];
		bool elsewhere = false;

		if (missing != NULL)
			complain("%s: member %s is left out: %s", address, missing->user, missing->host);
		/* a list is ours, and its owner says where its mail goes */
		for (size_t i = 0; i < count && !router->listed; i++)
			elsewhere |= strcmp(results[i].channel, "smtp") == 0;
		add_string(out, "250");
		add_string(out, "2.1.5");
		add_string(out, "ok");
		add_string(out, elsewhere ? "elsewhere" : "");
		for (size_t i = 0; i < count; i++) {
			if (results[i].answer != MAP_FOUND || strcmp(results[i].channel, "bitbucket") == 0)
				continue;
			add_string(out, results[i].channel);
			add_string(out, results[i].host);
			add_string(out, results[i].user);
			snprintf(number, sizeof number, "%lu", (unsigned long)results[i].privilege);
			add_string(out, number);
		}
	}
}

/* ---- answers ---- */

void recipient_answer_free(struct recipient_answer *a)
{
	buf_free(&a->bytes);
	free(a->to);
	*a = (struct recipient_answer){ 0 };
}

static const char *next_string(const char **at, const char *end)
{
	const char *s = *at;

	*at = s < end ? s + strlen(s) + 1 : end;
	return s < end ? s : "";
}

/* Takes a->bytes apart. */
static void read_answer(struct recipient_answer *a)
{
	const char *at = buf_str(&a->bytes), *end = at + a->bytes.len;
	size_t strings = 0;

	for (const char *p = at; p < end; p++)
		strings += *p == '\0';
	a->code = atoi(next_string(&at, end));
	a->status = next_string(&at, end);
	a->text = next_string(&at, end);
	a->elsewhere = *next_string(&at, end) != '\0';
	a->to = xcalloc(strings / 4 + 1, sizeof *a->to);
	while (at < end) {
		struct spool_recipient *to = &a->to[a->count++];

		to->channel = next_string(&at, end);
		to->host = next_string(&at, end);
		to->user = next_string(&at, end);
		to->privilege = atol(next_string(&at, end));
	}
}

/* ---- children ---- */

/* An address that waits for the store: the maps have it. */
struct verifying {
	struct verifying *next;
	void *owner;
	struct buf bytes;              /* what the maps said */
};

struct recipients {
	struct routing routing;
	const struct policy *policy;
	struct route_config *config;
	struct report_settings reports;    /* of its router.conf, for mail to <postmaster> */
	struct router *router;         /* NULL where children ask */
	struct desk *desk;             /* of those; NULL where there are none */
	struct stores *stores;         /* NULL if stores are not asked */
	struct verifying *verifying;
};

static void open_in_child(void *context)
{
	struct recipients *r = context;
	int status;

	r->router = route_config_router(r->config, &status);
	if (r->router == NULL)
		_exit(status);
}

static void close_in_child(void *context)
{
	struct recipients *r = context;

	router_destroy(&r->router);
}

static void answer_in_child(void *context, const char *question, size_t n, struct buf *answer)
{
	struct recipients *r = context;
	char *address = xstrndup(question, n);

	judge(r->reports.postmaster, r->router, address, r->routing.privilege, answer);
	free(address);
}

/* ---- the store ---- */

static int64_t time_for(const struct recipients *r)
{
	return (int64_t)r->policy->limits[LIMIT_LOOKUP_TIME] * 1000;
}

/* True if no store is to be asked: the answer stands as it is in `bytes`, which become the other's if not. */
static bool is_settled(struct recipients *r, void *owner, struct buf *bytes)
{
	struct recipient_answer answer = { .bytes = *bytes };
	struct destination *to;
	struct verifying *v;
	bool settled;

	if (r->stores == NULL)
		return true;
	read_answer(&answer);
	to = xcalloc(answer.count + 1, sizeof *to);
	for (size_t i = 0; i < answer.count; i++)
		to[i] = (struct destination){ answer.to[i].channel, answer.to[i].host, answer.to[i].user };
	settled = answer.code != 250 || stores_ask(r->stores, to, answer.count, clock_ms() + time_for(r), owner);
	free(to);
	free(answer.to);
	if (settled)
		return true;
	v = xcalloc(1, sizeof *v);
	*v = (struct verifying){ r->verifying, owner, *bytes };
	r->verifying = v;
	*bytes = (struct buf){ 0 };
	return false;
}

/* The owner's answer by the maps, which does not wait any more; false if none does. */
static bool take_verifying(struct recipients *r, const void *owner, struct buf *bytes)
{
	for (struct verifying **at = &r->verifying; *at != NULL; at = &(*at)->next) {
		struct verifying *v = *at;

		if (v->owner != owner)
			continue;
		*at = v->next;
		*bytes = v->bytes;
		free(v);
		return true;
	}
	return false;
}

/* Whoever has an answer of the stores. */
static void *next_verified(struct recipients *r, struct buf *bytes)
{
	struct verdict verdict;
	void *owner = r->stores != NULL ? stores_next(r->stores, &verdict) : NULL;
	char code[12];

	if (owner == NULL || !take_verifying(r, owner, bytes) || verdict.code == 250)
		return owner;
	snprintf(code, sizeof code, "%d", verdict.code);
	buf_clear(bytes);
	add_string(bytes, code);
	add_string(bytes, verdict.status);
	add_string(bytes, verdict.text);
	return owner;
}

/* ---- both ---- */

static int open_stores(struct recipients *r)
{
	const uint64_t seconds = r->policy->limits[LIMIT_LOOKUP_TIME];
	const struct verify_options options = {
		.cache = r->policy->verify, .arguments = r->policy->verify_with, .seconds = seconds > 2 ? seconds - 2 : 1,
	};
	struct buf why = { 0 };
	int status = EX_OK;

	if (r->policy->verify == NULL)
		return EX_OK;
	r->stores = stores_create(&options, r->policy->limits[LIMIT_LOOKUPS], time_for(r), &status, &why);
	if (r->stores == NULL)
		complain("-O verify-with: %s", buf_str(&why));
	buf_free(&why);
	return status;
}

/* What is new from now on: the router, or children that have it where its maps are slow. */
static void use_config(struct recipients *r, struct router *router)
{
	const char *settings = route_config_settings(r->config);

	report_settings_free(&r->reports);
	report_settings_take(&r->reports, route_config_settings_path(r->config), settings, strlen(settings), process_host());
	r->router = router;
	if (r->desk != NULL)
		desk_renew(r->desk);
	if (!router_is_slow(router))
		return;
	router_destroy(&r->router);
	if (r->desk == NULL)
		r->desk = desk_create(&(struct desk_rules){
			.children = r->policy->limits[LIMIT_LOOKUPS], .patience = time_for(r),
			.context = r, .open = open_in_child, .answer = answer_in_child, .close = close_in_child,
		});
}

struct recipients *recipients_open(const struct routing *routing, const struct policy *policy, int *status)
{
	struct recipients *r = xcalloc(1, sizeof *r);
	struct router *router = NULL;

	r->routing = *routing;
	r->policy = policy;
	r->config = route_config_create(routing->dbases, routing->settings, routing->setting_count);
	*status = route_config_open(r->config, clock_now(), &router);
	if (*status == EX_OK)
		*status = open_stores(r);
	if (*status != EX_OK) {
		router_destroy(&router);
		route_config_free(&r->config);
		free(r);
		return NULL;
	}
	use_config(r, router);
	return r;
}

void recipients_close(struct recipients **at)
{
	struct recipients *r = *at;
	struct buf bytes;

	desk_free(&r->desk);
	stores_free(&r->stores);
	router_destroy(&r->router);
	route_config_free(&r->config);
	report_settings_free(&r->reports);
	while (r->verifying != NULL && take_verifying(r, r->verifying->owner, &bytes))
		buf_free(&bytes);
	free(r);
	*at = NULL;
}

bool recipients_ask(struct recipients *r, const char *address, void *owner, struct recipient_answer *answer)
{
	struct router *router;

	*answer = (struct recipient_answer){ 0 };
	if (route_config_renew(r->config, clock_now(), &router)) {
		router_destroy(&r->router);
		use_config(r, router);
	}
	if (r->router == NULL) {
		desk_ask(r->desk, &(struct desk_question){ .group = "", .bytes = address, .n = strlen(address),
		                                           .deadline = clock_ms() + time_for(r) }, owner);
		return false;
	}
	judge(r->reports.postmaster, r->router, address, r->routing.privilege, &answer->bytes);
	if (!is_settled(r, owner, &answer->bytes))
		return false;
	read_answer(answer);
	return true;
}

void recipients_forget(struct recipients *r, const void *owner)
{
	struct buf bytes;

	if (r->desk != NULL)
		desk_forget(r->desk, owner);
	if (r->stores != NULL)
		stores_forget(r->stores, owner);
	if (take_verifying(r, owner, &bytes))
		buf_free(&bytes);
}

size_t recipients_room(const struct recipients *r)
{
	return (r->desk != NULL ? desk_room(r->desk) : 0) + (r->stores != NULL ? stores_room(r->stores) : 0);
}

size_t recipients_fill(const struct recipients *r, struct pollfd *fds)
{
	size_t n = r->desk != NULL ? desk_fill(r->desk, fds) : 0;

	return r->stores != NULL ? n + stores_fill(r->stores, fds + n) : n;
}

int64_t recipients_deadline(const struct recipients *r)
{
	const int64_t maps = r->desk != NULL ? desk_deadline(r->desk) : CLOCK_NEVER;
	const int64_t stores = r->stores != NULL ? stores_deadline(r->stores) : CLOCK_NEVER;

	return maps < stores ? maps : stores;
}

void *recipients_next(struct recipients *r, struct recipient_answer *answer)
{
	const char *fault = NULL;
	void *owner;

	*answer = (struct recipient_answer){ 0 };
	while ((owner = r->desk != NULL ? desk_next(r->desk, &answer->bytes, &fault) : NULL) != NULL) {
		if (fault != NULL)
			add_unclear(&answer->bytes);
		if (is_settled(r, owner, &answer->bytes))
			break;
	}
	if (owner == NULL)
		owner = next_verified(r, &answer->bytes);
	answer->fault = fault;
	if (owner != NULL)
		read_answer(answer);
	return owner;
}
