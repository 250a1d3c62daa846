#include "db/live/cdb/recover.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/build/build.h"
#include "db/live/cdb/health.h"
#include "db/live/cdb/journal.h"
#include "db/live/cdb/remake.h"
#include "db/live/roster.h"
#include "db/live/livemap_private.h"
#include "db/store/env.h"
#include "db/store/kept.h"
#include "lib/alloc.h"
#include "lib/file.h"

/* How long a question to a sick environment may take; the whole is to take less than 10 s. */
#define WAIT 1
#define STOP_MS 1000

/* The administrator may start a router again meanwhile. */
#define TRIES 5

#define ATTACHED (USES_REGIONS | USES_OLD_REGIONS)

struct target {
	struct livemap *livemap;       /* for its path, mode and fence */
	char *fence;
	char *journal;
	struct remake remake;
};

/* All maps of an environment that have journals, and the one that was asked for, which is the first. */
struct recovery {
	const struct recovery_options *options;
	struct env_config config;    /* of an environment */
	struct target *targets;
	size_t count;
	size_t capacity;
	struct buf *why;
};

static int fail(const struct recovery *r, int status, const char *what, const char *reason)
{
	return live_fail(&r->targets[0].livemap->service.live, status, r->why, "%s: %s", what, reason);
}

/* "WHAT "COMMAND"", the command that makes the map from its source. */
static int fail_without_maker(const struct recovery *r, int status, const char *what)
{
	struct buf maker = { 0 };

	kept_add_maker(r->targets[0].livemap->path, "dbupdate ... replace", &maker);
	status = live_fail(&r->targets[0].livemap->service.live, status, r->why, "%s \"%s\"", what, buf_str(&maker));
	buf_free(&maker);
	return status;
}

/* ---- processes that must end ------------------------------------------------------------------------ */

/* Processes that have the environment in memory; *ours: only those who change maps, *strangers: all others. */
static void find_attached(const struct recovery *r, struct users *ours, struct users *strangers)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct users_of of = { .home = r->config.home, .fence = r->targets[i].fence };
		struct users users = { 0 };

		users_find(&users, &of);
		users_keep(&users, ATTACHED);
		users_merge(ours, &users, USES_FENCE);
		users_merge(strangers, &users, 0);
		users_free(&users);
	}
	users_subtract(strangers, ours);
}

static int stop(const struct recovery *r, const struct users *users, const struct users_of *of)
{
	struct buf names = { 0 };
	int status = EX_OK;

	if (users->count > 0) {
		users_name(users, &names);
		live_tell(&r->options->teller, "stopping %s", buf_str(&names));
		if (!users_stop(users, of, STOP_MS))
			status = fail(r, EX_TEMPFAIL, "cannot stop", buf_str(&names));
	}
	buf_free(&names);
	return status;
}

/* Ends processes that have the environment in memory: our own workers, and with --force all. */
static int clear_environment(const struct recovery *r)
{
	const struct users_of of = { .home = r->config.home };
	struct users ours = { 0 }, strangers = { 0 };
	struct buf names = { 0 };
	int status;

	find_attached(r, &ours, &strangers);
	if (strangers.count > 0 && !r->options->force) {
		users_name(&strangers, &names);
		status = live_fail(&r->targets[0].livemap->service.live, EX_TEMPFAIL, r->why,
		                   "the environment is used by %s: stop %s, or give --force", buf_str(&names),
		                   strangers.count > 1 ? "them" : "it");
	} else {
		users_merge(&ours, &strangers, 0);
		status = stop(r, &ours, &of);
	}
	users_free(&ours);
	users_free(&strangers);
	buf_free(&names);
	return status;
}

/* Takes the fence of a map; with force from the process that holds it. */
static int take_fence(const struct recovery *r, struct target *p)
{
	const struct users_of of = { .fence = p->fence };
	struct buf why = { 0 };
	struct users users = { 0 };
	int status = service_fence(&p->livemap->service, &why);

	if (status == EX_TEMPFAIL && r->options->force) {
		users_find(&users, &of);
		status = stop(r, &users, &of);
		users_free(&users);
		buf_clear(&why);
		if (status == EX_OK)
			status = service_fence(&p->livemap->service, &why);
	}
	buf_add(r->why, buf_str(&why), why.len);
	buf_free(&why);
	return status;
}

/* ---- the regions --------------------------------------------------------------------------- */

/* 0 or an errno; EAGAIN: another process has them. */
static int remove_regions(const struct recovery *r)
{
	char *pattern = xasprintf("%s/__db.*", r->config.home);
	glob_t found = { 0 };
	int code = 0;

	if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
		for (size_t i = 0; code == 0 && i < found.gl_pathc; i++) {
			/* there may be processes that /proc does not show us, or in another container */
			if (users_ask_kernel(found.gl_pathv[i]) == USERS_SOME)
				code = EAGAIN;
			else if (unlink(found.gl_pathv[i]) < 0 && errno != ENOENT)
				code = errno;
		}
	}
	globfree(&found);
	free(pattern);
	return code;
}

static int empty_environment(const struct recovery *r)
{
	int status = EX_OK, code = EAGAIN;

	for (int try = 0; status == EX_OK && code == EAGAIN && try < TRIES; try++) {
		status = clear_environment(r);
		if (status == EX_OK)
			code = remove_regions(r);
	}
	if (status != EX_OK)
		return status;
	if (code == EAGAIN)
		return fail(r, EX_TEMPFAIL, r->config.home, "a process that cannot be seen from here uses the environment");
	if (code != 0)
		return fail(r, code == EACCES || code == EPERM ? EX_NOPERM : EX_IOERR, "cannot remove the regions",
		            strerror(code));
	live_tell(&r->options->teller, "regions of %s removed", r->config.home);
	return EX_OK;
}

/* ---- the maps --------------------------------------------------------------------------------- */

/* The first trouble counts, and is reported; the others are healed all the same. */
static void keep_first(const struct recovery *r, size_t *said, int *status, int news)
{
	if (*status == EX_OK) {
		*status = news;
	} else if (r->why->len > *said) {
		r->why->len = *said;
		r->why->data[*said] = '\0';
	}
	*said = r->why->len;
}

static int heal_maps(const struct recovery *r)
{
	size_t said = r->why->len;
	int status = EX_OK;
	bool aside = false;

	for (size_t i = 0; i < r->count; i++) {
		struct target *p = &r->targets[i];

		live_sweep(p->livemap->path);
		keep_first(r, &said, &status, remake_judge(&p->remake, r->options->adopt && i == 0));
		if (p->remake.action == REMAKE_ANEW || p->remake.action == REMAKE_LOST) {
			keep_first(r, &said, &status, remake_set_aside(&p->remake));
			aside = true;
		}
	}
	/* processes that came meanwhile have the old files open */
	if (aside)
		keep_first(r, &said, &status, empty_environment(r));
	for (size_t i = 0; i < r->count; i++)
		keep_first(r, &said, &status, remake_do(&r->targets[i].remake));
	return status;
}

/* Opens the map as every change does: makes the environment again, and what only the journal has. */
static int open_again(const struct recovery *r, struct target *p)
{
	struct service *s = &p->livemap->service;
	int status;

	if (file_is_missing(p->livemap->path))
		return EX_OK;
	s->live.recovering = true;
	status = service_enter(s, r->why);
	if (status == EX_OK)
		service_leave(s);
	service_end(s);
	return status;
}

static int heal_environment(const struct recovery *r)
{
	int status = clear_environment(r);
	size_t said;

	for (size_t i = 0; status == EX_OK && i < r->count; i++)
		status = take_fence(r, &r->targets[i]);
	if (status == EX_OK)
		status = empty_environment(r);
	if (status != EX_OK)
		return status;
	status = heal_maps(r);
	said = r->why->len;
	for (size_t i = 0; i < r->count; i++)
		keep_first(r, &said, &status, open_again(r, &r->targets[i]));
	return status;
}

static int heal_alone(const struct recovery *r, enum health_state state)
{
	struct target *p = &r->targets[0];
	int status = take_fence(r, p);

	if (status != EX_OK)
		return status;
	live_sweep(p->livemap->path);
	if (state == HEALTH_DAMAGED) {
		status = remake_set_aside(&p->remake);
		if (status == EX_OK)
			status = fail_without_maker(r, EX_DATAERR, "damaged; make it again by");
	}
	service_end(&p->livemap->service);
	return status;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

/* Returns how many processes have the environment in memory. */
static enum health_state check(const struct recovery *r, size_t *attached, struct buf *text)
{
	struct livemap_settings settings = r->options->settings;
	struct health health;
	enum health_state state;

	settings.wait = WAIT;
	health_check(&health, &settings);
	live_tell(&r->options->teller, "%s: %s", health_name(health.state), buf_str(&health.text));
	buf_add(text, buf_str(&health.text), health.text.len);
	users_keep(&health.users, ATTACHED);
	*attached = health.users.count;
	state = health.state;
	health_free(&health);
	return state;
}

static int treat(const struct recovery *r, enum health_state state, size_t attached, struct buf *text)
{
	if (state == HEALTH_UNKNOWN && !r->options->force) {
		buf_adds(text, "; --force goes on all the same");
		return fail(r, EX_TEMPFAIL, "could not tell", buf_str(text));
	}
	if (r->options->settings.config == NULL)
		return state == HEALTH_HEALTHY ? EX_OK : heal_alone(r, state);
	/* one that no process uses is recreated even if healthy, as is needed after each start of the machine */
	if (attached == 0 || state > HEALTH_STALE || r->options->adopt)
		return heal_environment(r);
	/* what any next change would put right */
	return state == HEALTH_STALE ? open_again(r, &r->targets[0]) : EX_OK;
}

static int heal(const struct recovery *r)
{
	struct buf text = { 0 };
	size_t attached = 0;
	enum health_state state = check(r, &attached, &text);
	int status = treat(r, state, attached, &text);

	buf_clear(&text);
	if (status == EX_OK && state != HEALTH_HEALTHY && (state = check(r, &attached, &text)) != HEALTH_HEALTHY)
		status = fail(r, EX_TEMPFAIL, health_name(state), buf_str(&text));
	buf_free(&text);
	return status;
}

static int add_target(struct recovery *r, const struct livemap_settings *settings)
{
	int status = EX_OK;
	struct livemap *u = livemap_new(settings, &status, r->why);
	struct target *p;

	if (u == NULL)
		return status;
	r->targets = xgrow(r->targets, r->count, &r->capacity, sizeof *r->targets);
	p = &r->targets[r->count++];
	*p = (struct target){ .livemap = u, .fence = fence_path(u->path), .journal = journal_path(u->path) };
	p->remake = (struct remake){ .live = &u->service.live, .journal = p->journal, .teller = &r->options->teller,
	                             .why = r->why };
	return EX_OK;
}

/* The other maps of the environment. */
static int add_neighbours(struct recovery *r)
{
	struct roster roster = { 0 };
	char *own = realpath(r->targets[0].livemap->path, NULL);
	int status = env_config_read(&r->config, r->options->settings.config, r->why);

	if (status == EX_OK && !roster_read(&roster, r->config.home))
		status = fail(r, EX_NOPERM, "cannot read the list of maps", file_error(errno));
	for (size_t i = 0; status == EX_OK && i < roster.count; i++) {
		const struct roster_entry *e = &roster.list[i];
		struct livemap_settings settings = { .type = e->type, .base = e->path, .folding = '-', .wait = WAIT,
		                                    .config = r->options->settings.config };
		char *journal = journal_path(e->path);

		if ((own == NULL || strcmp(own, e->path) != 0) && strcmp(r->targets[0].livemap->path, e->path) != 0 &&
		    !file_is_missing(journal))
			status = add_target(r, &settings);
		free(journal);
	}
	free(own);
	roster_free(&roster);
	return status;
}

int recover_map(const struct recovery_options *options, struct buf *why)
{
	struct recovery r = { .options = options, .why = why };
	struct livemap_settings settings = options->settings;
	int status;

	settings.wait = WAIT;
	status = add_target(&r, &settings);
	if (status == EX_OK && access(r.targets[0].livemap->path, F_OK) < 0 && access(r.targets[0].journal, F_OK) < 0)
		status = errno == ENOENT ? fail_without_maker(&r, EX_NOINPUT,
		                                              "cannot be repaired: No such file or directory; make it by")
		                         : fail(&r, EX_NOINPUT, "cannot be repaired", strerror(errno));
	if (status == EX_OK && settings.config != NULL)
		status = add_neighbours(&r);
	for (size_t i = 0; status == EX_OK && i < r.count; i++)
		status = build_check_target(r.targets[i].livemap->path, why);
	if (status == EX_OK)
		status = heal(&r);
	for (size_t i = 0; i < r.count; i++) {
		livemap_close(&r.targets[i].livemap);
		free(r.targets[i].fence);
		free(r.targets[i].journal);
	}
	free(r.targets);
	env_config_free(&r.config);
	return status;
}
