#include "db/live/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/live/environment.h"
#include "db/live/examine.h"
#include "db/live/health.h"
#include "db/live/journal.h"
#include "db/live/store.h"
#include "db/live/update_private.h"
#include "db/map/child.h"
#include "db/map/env.h"
#include "db/source/build.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/publish.h"

/* How long a question to a sick environment may take; the whole is to take less than 10 s. */
#define WAIT 1
#define STOP_MS 1000
#define VERIFY_MS 60000

/* Somebody may start a router again while we are at it. */
#define TRIES 5

struct patient {
	const struct recovery *recovery;
	struct update *update;       /* for its path, way and fence */
	struct env_config config;    /* of an environment */
	char *fence;
	char *journal;
	struct buf *why;
};

static void tell(const struct patient *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell(const struct patient *p, const char *format, ...)
{
	struct buf text = { 0 };
	va_list ap;

	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	p->recovery->tell(p->recovery->tell_context, buf_str(&text));
	buf_free(&text);
}

static const char *path_of(const struct patient *p)
{
	return update_path(p->update);
}

static struct users_of users_of(const struct patient *p)
{
	return (struct users_of){ .home = p->config.home, .map = path_of(p), .fence = p->fence };
}

/* ---- who must go ------------------------------------------------------------------------ */

#define ATTACHED (USES_REGIONS | USES_OLD_REGIONS)

static int fail(const struct patient *p, int status, const char *what, const char *reason)
{
	return live_fail(&p->update->service.live, status, p->why, "%s: %s", what, reason);
}

/* Strangers who have the environment in memory; without force they are asked for, not stopped. */
static int refuse_strangers(const struct patient *p)
{
	struct users_of of = { .home = p->config.home, .fence = p->fence };
	struct users users = { 0 };
	struct buf names = { 0 };
	int status = EX_OK;

	users_find(&users, &of);
	users_drop(&users, USES_FENCE);
	if (users.count > 0 && !p->recovery->force) {
		users_name(&users, &names);
		status = live_fail(&p->update->service.live, EX_TEMPFAIL, p->why,
		                   "the environment is used by %s: stop %s, or give --force", buf_str(&names),
		                   users.count > 1 ? "them" : "it");
	}
	users_free(&users);
	buf_free(&names);
	return status;
}

/* Ends everybody who has the environment in memory or changes the map. */
static int stop_all(const struct patient *p)
{
	struct users_of of = users_of(p);
	struct users users = { 0 };
	struct buf names = { 0 };
	int status = EX_OK;

	users_find(&users, &of);
	users_keep(&users, ATTACHED | USES_FENCE);
	if (users.count > 0) {
		users_name(&users, &names);
		tell(p, "stopping %s", buf_str(&names));
		if (!users_stop(&users, &of, STOP_MS))
			status = fail(p, EX_TEMPFAIL, "cannot stop", buf_str(&names));
	}
	users_free(&users);
	buf_free(&names);
	return status;
}

static int clear_environment(const struct patient *p)
{
	int status = refuse_strangers(p);

	return status == EX_OK ? stop_all(p) : status;
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
static int remove_regions(const struct patient *p)
{
	char *pattern = xasprintf("%s/__db.*", p->config.home);
	glob_t found = { 0 };
	int code = 0;

	if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0)
		for (size_t i = 0; code == 0 && i < found.gl_pathc; i++)
			code = remove_region(found.gl_pathv[i]);
	globfree(&found);
	free(pattern);
	return code;
}

static int empty_environment(const struct patient *p)
{
	int status = EX_OK, code = EAGAIN;

	for (int try = 0; status == EX_OK && code == EAGAIN && try < TRIES; try++) {
		status = clear_environment(p);
		if (status == EX_OK)
			code = remove_regions(p);
	}
	if (status != EX_OK)
		return status;
	if (code == EAGAIN)
		return fail(p, EX_TEMPFAIL, p->config.home, "a process that cannot be seen from here uses the environment");
	if (code != 0)
		return fail(p, code == EACCES || code == EPERM ? EX_NOPERM : EX_IOERR, "cannot remove the regions", strerror(code));
	tell(p, "regions of %s removed", p->config.home);
	return EX_OK;
}

/* ---- the map --------------------------------------------------------------------------------- */

static int ask_verify(void *context, struct buf *out)
{
	(void)out;
	return examine_file(context) != 0;
}

static bool verifies(const struct patient *p)
{
	int status = 0;
	struct buf out = { 0 };
	enum child_end end = child_ask(ask_verify, (void *)(uintptr_t)path_of(p), clock_ms() + VERIFY_MS, &status, &out);

	buf_free(&out);
	return end == CHILD_SAID && status == 0;
}

/* Out of the way of routers: a map that is not there defers mail, a damaged one may answer wrongly. */
static int set_aside(const struct patient *p)
{
	char *aside = xasprintf("%s.damaged", path_of(p));
	int status = EX_OK;

	if (rename(path_of(p), aside) == 0)
		tell(p, "the damaged map is now %s", aside);
	else if (errno != ENOENT)
		status = fail(p, EX_IOERR, "cannot rename it", strerror(errno));
	free(aside);
	return status;
}

/* ---- made anew from the journal ------------------------------------------------------------------ */

struct remake {
	struct records records;
	struct changes notes;
	struct stamp stamp;
};

static int take_record(void *context, const struct change *r, struct buf *why)
{
	struct remake *m = context;

	(void)why;
	if (live_is_stamp(r))
		stamp_parse(&m->stamp, r->value, r->value_length);
	else if (map_is_note(r->key, r->key_length))
		changes_put(&m->notes, r->key, r->key_length, r->value, r->value_length);
	else
		records_copy(&m->records, r->key, r->key_length, r->value, r->value_length, 0);
	return EX_OK;
}

/* Notes, and the number of the last batch, in a file that nobody uses yet. */
static int put_notes(const struct patient *p, const char *path, const struct changes *notes)
{
	DB *db;
	int code = db_create(&db, NULL, 0), closed;

	if (code == 0)
		code = db->open(db, NULL, path, NULL, store_type(p->update->type), 0, 0);
	for (size_t i = 0; code == 0 && i < notes->count; i++)
		code = store_change(db, NULL, &notes->list[i]);
	closed = db->close(db, 0);
	if (code == 0)
		code = closed;
	return code == 0 ? EX_OK : fail(p, EX_IOERR, path, db_strerror(code));
}

/* The map will be changed in place: nobody is to take the seal of the new file for a promise. */
static int break_seal(const struct patient *p, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool ok = fd >= 0 && stamp_break(fd);

	if (!ok)
		fail(p, EX_IOERR, path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok ? EX_OK : EX_IOERR;
}

static int build(const struct patient *p, const char *target, const struct remake *m)
{
	struct build build = { .type = p->update->type, .target = target, .stamp = m->stamp };
	struct stat st;

	if (stat(p->journal, &st) < 0)
		return fail(p, EX_IOERR, p->journal, strerror(errno));
	build.uid = geteuid() == 0 ? st.st_uid : (uid_t)-1;
	build.gid = geteuid() == 0 ? st.st_gid : (gid_t)-1;
	build.mode = st.st_mode & 0777;
	if (build.stamp.source == NULL)
		build.stamp = (struct stamp){ .source = (char *)(uintptr_t)"-", .folding = '-', .syntax = '-' };
	return build_map(&build, &m->records, p->why);
}

static int publish(const struct patient *p, const char *from)
{
	if (rename(from, path_of(p)) == 0 && publish_sync_directory(path_of(p)))
		return EX_OK;
	return fail(p, EX_IOERR, "cannot put it in its place", strerror(errno));
}

static int make_anew(const struct patient *p, struct journal *journal)
{
	struct remake m = { 0 };
	struct buf number = { 0 };
	char *target = xasprintf("%s.anew", path_of(p));
	int status = journal_state(journal, take_record, &m, p->why);

	buf_addf(&number, "%s %" PRIu64, journal->id, journal->last);
	changes_put(&m.notes, environment_note, ENVIRONMENT_NOTE_LENGTH, number.data, number.len);
	if (status == EX_OK)
		status = build(p, target, &m);
	if (status == EX_OK)
		status = break_seal(p, target);
	if (status == EX_OK)
		status = put_notes(p, target, &m.notes);
	if (status == EX_OK)
		status = publish(p, target);
	if (status == EX_OK)
		tell(p, "%zu records made anew from %s", m.records.count, p->journal);
	records_free(&m.records);
	changes_free(&m.notes);
	stamp_free(&m.stamp);
	buf_free(&number);
	free(target);
	return status;
}

/* True if the map, which verifies, holds batches of this very journal. */
static bool belongs_to(const struct patient *p, const struct journal *journal)
{
	struct buf note = { 0 };
	char id[JOURNAL_ID + 1];
	uint64_t number;
	DB *db;
	int code = db_create(&db, NULL, 0);
	bool ok;

	if (code == 0)
		code = db->open(db, NULL, path_of(p), NULL, store_type(p->update->type), DB_RDONLY | DB_NOMMAP, 0);
	ok = code == 0 && store_find(db, environment_note, ENVIRONMENT_NOTE_LENGTH, &note, &code) == MAP_FOUND &&
	     environment_parse_note(note.data, id, &number) && strcmp(id, journal->id) == 0 && number >= journal->first &&
	     number <= journal->last;
	db->close(db, 0);
	buf_free(&note);
	return ok;
}

/* Nobody uses the environment now, and nobody but us changes the map. */
static int heal_map(const struct patient *p)
{
	struct journal journal = { 0 };
	int status = journal_open(&journal, p->journal, p->why);
	bool sound = verifies(p);

	if (sound && p->recovery->adopt) {
		if (unlink(p->journal) < 0 && errno != ENOENT)
			status = fail(p, EX_IOERR, p->journal, strerror(errno));
		else
			status = EX_OK;
	} else if (status == EX_NOINPUT) {
		status = sound ? EX_OK : fail(p, EX_DATAERR, "damaged", "and there is no journal to make it from; use newdb or \"replace\"");
		if (!sound)
			set_aside(p);
	} else if (status == EX_OK && !(sound && belongs_to(p, &journal))) {
		status = set_aside(p);
		/* whoever came meanwhile has the old file open */
		if (status == EX_OK)
			status = empty_environment(p);
		if (status == EX_OK)
			status = make_anew(p, &journal);
	}
	journal_close(&journal);
	return status;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

/* Opens the map as every change does: makes the environment again, and what only the journal has. */
static int open_again(const struct patient *p)
{
	struct service *s = &p->update->service;
	int status;

	s->live.recovering = true;
	status = service_enter(s, p->why);
	if (status == EX_OK)
		service_leave(s);
	return status;
}

static int heal_environment(const struct patient *p, enum health_state state)
{
	int status;

	/* what any next change would put right */
	if (state == HEALTH_STALE && !p->recovery->adopt)
		return open_again(p);
	status = clear_environment(p);
	if (status == EX_OK)
		status = service_fence(&p->update->service, p->why);
	if (status == EX_OK)
		status = empty_environment(p);
	if (status == EX_OK) {
		live_sweep(path_of(p));
		status = heal_map(p);
	}
	return status == EX_OK ? open_again(p) : status;
}

static int heal_alone(const struct patient *p, enum health_state state)
{
	int status = p->recovery->force ? stop_all(p) : EX_OK;

	if (status == EX_OK)
		status = service_fence(&p->update->service, p->why);
	if (status != EX_OK)
		return status;
	live_sweep(path_of(p));
	if (state == HEALTH_DAMAGED) {
		status = set_aside(p);
		if (status == EX_OK)
			status = fail(p, EX_DATAERR, "damaged", "make it anew by newdb or \"replace\"");
	}
	return status;
}

static void check(const struct patient *p, struct health *health)
{
	struct update_settings settings = p->recovery->settings;

	settings.wait = WAIT;
	health_check(health, &settings);
	tell(p, "%s: %s", health_name(health->state), buf_str(&health->text));
}

static int heal(const struct patient *p)
{
	struct health health;
	enum health_state state;
	int status;

	check(p, &health);
	state = health.state;
	health_free(&health);
	if (state == HEALTH_HEALTHY && !p->recovery->adopt)
		return EX_OK;
	status = p->update->config != NULL ? heal_environment(p, state) : heal_alone(p, state);
	service_end(&p->update->service);
	if (status != EX_OK)
		return status;
	check(p, &health);
	if (health.state != HEALTH_HEALTHY)
		status = fail(p, EX_TEMPFAIL, health_name(health.state), buf_str(&health.text));
	health_free(&health);
	return status;
}

int recover_map(const struct recovery *recovery, struct buf *why)
{
	struct patient p = { .recovery = recovery, .why = why };
	struct update_settings settings = recovery->settings;
	int status = EX_OK;

	settings.wait = WAIT;
	p.update = update_new(&settings, &status, why);
	if (p.update == NULL)
		return status;
	p.fence = fence_path(path_of(&p));
	p.journal = journal_path(path_of(&p));
	if (settings.config != NULL)
		status = env_config_read(&p.config, settings.config, why);
	if (status == EX_OK && access(path_of(&p), F_OK) < 0 && access(p.journal, F_OK) < 0)
		status = fail(&p, EX_NOINPUT, "cannot be healed", strerror(errno));
	if (status == EX_OK)
		status = heal(&p);
	env_config_free(&p.config);
	free(p.fence);
	free(p.journal);
	update_close(&p.update);
	return status;
}
