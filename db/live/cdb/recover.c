#include "db/live/cdb/recover.h"

#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/build/build.h"
#include "db/live/cdb/health.h"
#include "db/live/cdb/journal.h"
#include "db/live/cdb/remake.h"
#include "db/live/roster.h"
#include "db/live/update_private.h"
#include "db/store/env.h"
#include "lib/alloc.h"
#include "lib/file.h"

/* How long a question to a sick environment may take; the whole is to take less than 10 s. */
#define WAIT 1
#define STOP_MS 1000

/* Somebody may start a router again while we are at it. */
#define TRIES 5

#define ATTACHED (USES_REGIONS | USES_OLD_REGIONS)

struct patient {
	struct update *update;       /* for its path, way and fence */
	char *fence;
	char *journal;
	struct remake remake;
};

/* All maps of an environment that have journals, and the one that was asked for, which is the first. */
struct ward {
	const struct recovery *recovery;
	struct env_config config;    /* of an environment */
	struct patient *patients;
	size_t count;
	size_t capacity;
	struct buf *why;
};

static void tell(const struct ward *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell(const struct ward *w, const char *format, ...)
{
	struct buf text = { 0 };
	va_list ap;

	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	w->recovery->tell(w->recovery->tell_context, buf_str(&text));
	buf_free(&text);
}

static int fail(const struct ward *w, int status, const char *what, const char *reason)
{
	return live_fail(&w->patients[0].update->service.live, status, w->why, "%s: %s", what, reason);
}

/* ---- who must go ------------------------------------------------------------------------ */

/* Those who have the environment in memory; *ours: only those who change maps, *strangers: all others. */
static void find_attached(const struct ward *w, struct users *ours, struct users *strangers)
{
	for (size_t i = 0; i < w->count; i++) {
		const struct users_of of = { .home = w->config.home, .fence = w->patients[i].fence };
		struct users users = { 0 };

		users_find(&users, &of);
		users_keep(&users, ATTACHED);
		users_merge(ours, &users, USES_FENCE);
		users_merge(strangers, &users, 0);
		users_free(&users);
	}
	users_subtract(strangers, ours);
}

static int stop(const struct ward *w, const struct users *users, const struct users_of *of)
{
	struct buf names = { 0 };
	int status = EX_OK;

	if (users->count > 0) {
		users_name(users, &names);
		tell(w, "stopping %s", buf_str(&names));
		if (!users_stop(users, of, STOP_MS))
			status = fail(w, EX_TEMPFAIL, "cannot stop", buf_str(&names));
	}
	buf_free(&names);
	return status;
}

/* Ends those who have the environment in memory: our own workers, and with force everybody. */
static int clear_environment(const struct ward *w)
{
	const struct users_of of = { .home = w->config.home };
	struct users ours = { 0 }, strangers = { 0 };
	struct buf names = { 0 };
	int status;

	find_attached(w, &ours, &strangers);
	if (strangers.count > 0 && !w->recovery->force) {
		users_name(&strangers, &names);
		status = live_fail(&w->patients[0].update->service.live, EX_TEMPFAIL, w->why,
		                   "the environment is used by %s: stop %s, or give --force", buf_str(&names),
		                   strangers.count > 1 ? "them" : "it");
	} else {
		users_merge(&ours, &strangers, 0);
		status = stop(w, &ours, &of);
	}
	users_free(&ours);
	users_free(&strangers);
	buf_free(&names);
	return status;
}

/* Takes the fence of a map; with force from whoever holds it. */
static int take_fence(const struct ward *w, struct patient *p)
{
	const struct users_of of = { .fence = p->fence };
	struct buf why = { 0 };
	struct users users = { 0 };
	int status = service_fence(&p->update->service, &why);

	if (status == EX_TEMPFAIL && w->recovery->force) {
		users_find(&users, &of);
		status = stop(w, &users, &of);
		users_free(&users);
		buf_clear(&why);
		if (status == EX_OK)
			status = service_fence(&p->update->service, &why);
	}
	buf_add(w->why, buf_str(&why), why.len);
	buf_free(&why);
	return status;
}

static int take_fences(const struct ward *w)
{
	int status = EX_OK;

	for (size_t i = 0; status == EX_OK && i < w->count; i++)
		status = take_fence(w, &w->patients[i]);
	return status;
}

/* ---- the regions --------------------------------------------------------------------------- */

static int remove_region(const char *path)
{
	/* there may be processes that /proc does not show us, or in another container */
	if (users_ask_kernel(path) == USERS_SOME)
		return EAGAIN;
	return unlink(path) == 0 || errno == ENOENT ? 0 : errno;
}

/* 0 or an errno; EAGAIN: somebody has them. */
static int remove_regions(const struct ward *w)
{
	char *pattern = xasprintf("%s/__db.*", w->config.home);
	glob_t found = { 0 };
	int code = 0;

	if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0)
		for (size_t i = 0; code == 0 && i < found.gl_pathc; i++)
			code = remove_region(found.gl_pathv[i]);
	globfree(&found);
	free(pattern);
	return code;
}

static int empty_environment(const struct ward *w)
{
	int status = EX_OK, code = EAGAIN;

	for (int try = 0; status == EX_OK && code == EAGAIN && try < TRIES; try++) {
		status = clear_environment(w);
		if (status == EX_OK)
			code = remove_regions(w);
	}
	if (status != EX_OK)
		return status;
	if (code == EAGAIN)
		return fail(w, EX_TEMPFAIL, w->config.home, "a process that cannot be seen from here uses the environment");
	if (code != 0)
		return fail(w, code == EACCES || code == EPERM ? EX_NOPERM : EX_IOERR, "cannot remove the regions", strerror(code));
	tell(w, "regions of %s removed", w->config.home);
	return EX_OK;
}

/* ---- the maps --------------------------------------------------------------------------------- */

/* The first trouble counts; the others are healed all the same. */
static void keep_first(int *status, int news)
{
	if (*status == EX_OK)
		*status = news;
}

static int heal_maps(const struct ward *w)
{
	int status = EX_OK;
	bool aside = false;

	for (size_t i = 0; i < w->count; i++) {
		struct patient *p = &w->patients[i];

		live_sweep(p->update->path);
		keep_first(&status, remake_judge(&p->remake, w->recovery->adopt && i == 0));
		if (p->remake.remedy == REMAKE_ANEW || p->remake.remedy == REMAKE_LOST) {
			keep_first(&status, remake_set_aside(&p->remake));
			aside = true;
		}
	}
	/* whoever came meanwhile has the old files open */
	if (aside)
		keep_first(&status, empty_environment(w));
	for (size_t i = 0; i < w->count; i++)
		keep_first(&status, remake_do(&w->patients[i].remake));
	return status;
}

/* Opens the map as every change does: makes the environment again, and what only the journal has. */
static int open_again(const struct ward *w, struct patient *p)
{
	struct service *s = &p->update->service;
	int status;

	if (access(p->update->path, F_OK) < 0)
		return EX_OK;
	s->live.recovering = true;
	status = service_enter(s, w->why);
	if (status == EX_OK)
		service_leave(s);
	service_end(s);
	return status;
}

static int heal_environment(const struct ward *w)
{
	int status = clear_environment(w);

	if (status == EX_OK)
		status = take_fences(w);
	if (status == EX_OK)
		status = empty_environment(w);
	if (status != EX_OK)
		return status;
	status = heal_maps(w);
	for (size_t i = 0; i < w->count; i++)
		keep_first(&status, open_again(w, &w->patients[i]));
	return status;
}

static int heal_alone(const struct ward *w, enum health_state state)
{
	struct patient *p = &w->patients[0];
	int status = take_fence(w, p);

	if (status != EX_OK)
		return status;
	live_sweep(p->update->path);
	if (state == HEALTH_DAMAGED) {
		status = remake_set_aside(&p->remake);
		if (status == EX_OK)
			status = fail(w, EX_DATAERR, "damaged", "make it anew by \"dbupdate ... replace\"");
	}
	service_end(&p->update->service);
	return status;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

/* Returns how many processes have the environment in memory. */
static enum health_state check(const struct ward *w, size_t *attached, struct buf *text)
{
	struct update_settings settings = w->recovery->settings;
	struct health health;
	enum health_state state;

	settings.wait = WAIT;
	health_check(&health, &settings);
	tell(w, "%s: %s", health_name(health.state), buf_str(&health.text));
	buf_add(text, buf_str(&health.text), health.text.len);
	users_keep(&health.users, ATTACHED);
	*attached = health.users.count;
	state = health.state;
	health_free(&health);
	return state;
}

static int treat(const struct ward *w, enum health_state state, size_t attached, struct buf *text)
{
	if (state == HEALTH_UNKNOWN && !w->recovery->force) {
		buf_adds(text, "; --force goes on all the same");
		return fail(w, EX_TEMPFAIL, "could not tell", buf_str(text));
	}
	if (w->recovery->settings.config == NULL)
		return state == HEALTH_HEALTHY ? EX_OK : heal_alone(w, state);
	/* one that nobody uses is made again even if it is healthy: a machine that has just started wants that */
	if (attached == 0 || state > HEALTH_STALE || w->recovery->adopt)
		return heal_environment(w);
	/* what any next change would put right */
	return state == HEALTH_STALE ? open_again(w, &w->patients[0]) : EX_OK;
}

static int heal(const struct ward *w)
{
	struct buf text = { 0 };
	size_t attached = 0;
	enum health_state state = check(w, &attached, &text);
	int status = treat(w, state, attached, &text);

	buf_clear(&text);
	if (status == EX_OK && state != HEALTH_HEALTHY && (state = check(w, &attached, &text)) != HEALTH_HEALTHY)
		status = fail(w, EX_TEMPFAIL, health_name(state), buf_str(&text));
	buf_free(&text);
	return status;
}

static int add_patient(struct ward *w, const struct update_settings *settings)
{
	int status = EX_OK;
	struct update *u = update_new(settings, &status, w->why);
	struct patient *p;

	if (u == NULL)
		return status;
	w->patients = xgrow(w->patients, w->count, &w->capacity, sizeof *w->patients);
	p = &w->patients[w->count++];
	*p = (struct patient){ .update = u, .fence = fence_path(u->path), .journal = journal_path(u->path) };
	p->remake = (struct remake){ .live = &u->service.live, .journal = p->journal, .tell = w->recovery->tell,
	                             .tell_context = w->recovery->tell_context, .why = w->why };
	return EX_OK;
}

/* The other maps of the environment. */
static int add_neighbours(struct ward *w)
{
	struct roster roster = { 0 };
	char *own = realpath(w->patients[0].update->path, NULL);
	int status = env_config_read(&w->config, w->recovery->settings.config, w->why);

	if (status == EX_OK && !roster_read(&roster, w->config.home))
		status = fail(w, EX_NOPERM, "cannot read the list of maps", file_error(errno));
	for (size_t i = 0; status == EX_OK && i < roster.count; i++) {
		const struct roster_entry *e = &roster.list[i];
		struct update_settings settings = { .type = e->type, .base = e->path, .folding = '-', .wait = WAIT,
		                                    .config = w->recovery->settings.config };
		char *journal = journal_path(e->path);

		if ((own == NULL || strcmp(own, e->path) != 0) && strcmp(w->patients[0].update->path, e->path) != 0 &&
		    access(journal, F_OK) == 0)
			status = add_patient(w, &settings);
		free(journal);
	}
	free(own);
	roster_free(&roster);
	return status;
}

static void dismiss(struct ward *w)
{
	for (size_t i = 0; i < w->count; i++) {
		update_close(&w->patients[i].update);
		free(w->patients[i].fence);
		free(w->patients[i].journal);
	}
	free(w->patients);
	env_config_free(&w->config);
}

int recover_map(const struct recovery *recovery, struct buf *why)
{
	struct ward w = { .recovery = recovery, .why = why };
	struct update_settings settings = recovery->settings;
	int status;

	settings.wait = WAIT;
	status = add_patient(&w, &settings);
	if (status == EX_OK && access(w.patients[0].update->path, F_OK) < 0 && access(w.patients[0].journal, F_OK) < 0)
		status = fail(&w, EX_NOINPUT, "cannot be healed", strerror(errno));
	if (status == EX_OK && settings.config != NULL)
		status = add_neighbours(&w);
	for (size_t i = 0; status == EX_OK && i < w.count; i++)
		status = build_check_directory(w.patients[i].update->path, why);
	if (status == EX_OK)
		status = heal(&w);
	dismiss(&w);
	return status;
}
