#include "channel/check/maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>

#include "channel/check/spool.h"
#include "channel/operator/mailq.h"
#include "db/build/compile.h"
#include "db/live/cdb/health.h"
#include "db/map/map.h"
#include "db/route/dbases.h"
#include "db/route/unasked.h"
#include "db/store/kept.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/metrics.h"

struct look {
	struct findings *findings;
	const struct dbases_map *line;
	char *path;               /* of the map, with suffix */
	const struct map_limits *limits;
};

static void tell_fault(void *context, const struct fault *fault)
{
	const enum severity severity = fault->is_warning ? FINDING_WARNING : FINDING_CRITICAL;

	if (fault->line == 0)
		finding_add(context, severity, "%s: %s", fault->file, fault->text);
	else
		finding_add(context, severity, "%s:%zu: %s", fault->file, fault->line, fault->text);
}

/* A name that is like none of ours may be what dbserve or scripts of the site ask: no alarm for ever. */
static void tell_unasked(void *context, const struct fault *fault, bool is_slip)
{
	finding_add(context, is_slip ? FINDING_WARNING : FINDING_OK, "%s:%zu: %s", fault->file, fault->line, fault->text);
}

/* ---- numbers ---- */

static void count(const struct look *l, int64_t modified, enum severity state)
{
	static const struct metric times = {
		"zlmtp_map_timestamp_seconds", METRIC_GAUGE, "When the map was built or changed last.",
	};
	static const struct metric states = {
		"zlmtp_map_state", METRIC_GAUGE,
		"0 the map is sound, 1 it needs work such as a build, 2 it does not answer, 3 could not tell.",
	};
	struct buf labels = { 0 };

	if (l->findings->metrics == NULL)
		return;
	metrics_label(&labels, "relation", l->line->relation);
	metrics_label(&labels, "map", l->path);
	if (modified > 0)
		metrics_add(l->findings->metrics, &times, labels.data, (uint64_t)modified * 1000);
	metrics_add(l->findings->metrics, &states, labels.data, (uint64_t)state * 1000);
	buf_free(&labels);
}

/* ---- a file ---- */

/* A user that may change the map may send any mail anywhere; its owner may be the user that its programs run as. */
static void check_hands(const struct look *l, const struct stat *st)
{
	const struct dbases_map *m = l->line;

	/* the files of maps that ask a server hold a password */
	check_guarded(l->findings, "map", l->path, strcmp(m->type, "ldap") == 0 || strcmp(m->type, "pgsql") == 0
	              || strcmp(m->type, "mysql") == 0);
	if (m->has_privilege && st->st_uid != m->uid) {
		struct buf owner = { 0 }, wanted = { 0 };

		account_add_user(&owner, st->st_uid);
		account_add_user(&wanted, m->uid);
		finding_add(l->findings, FINDING_WARNING,
		            "map %s belongs to user %s, not to %s as line %zu of dbases.conf says",
		            l->path, buf_str(&owner), buf_str(&wanted), m->line);
		buf_free(&owner);
		buf_free(&wanted);
	}
	if (m->kind == DBASES_BUILT)
		check_guarded(l->findings, "text", m->file, false);
}

/* ---- the kinds ---- */

static enum severity check_built(const struct look *l)
{
	const struct dbases_map *m = l->line;
	const struct compile compile = { .type = m->type, .target = l->path, .input = m->file, .syntax = m->syntax };
	const char *reason;
	const enum compile_due due = compile_is_due(&compile, &reason);
	enum severity severity;

	if (due == COMPILE_NOT_DUE || due == COMPILE_DOUBTFUL) {
		finding_add(l->findings, FINDING_OK, "map %s is sound and as new as its text", l->path);
		return FINDING_OK;
	}
	/* an old map answers; one that is not there or damaged holds up all mail */
	severity = due == COMPILE_UNUSABLE ? FINDING_CRITICAL : FINDING_WARNING;
	finding_add(l->findings, severity, "map %s: %s; run newdb", l->path, reason);
	return severity;
}

static enum severity check_live(const struct look *l)
{
	const struct dbases_map *m = l->line;
	const struct livemap_settings settings = {
		.type = m->type, .base = m->file, .config = m->config, .wait = l->limits->wait,
		.folding = key_fold_letter(m->lookup.fold),
	};
	struct health health;
	enum severity severity;

	health_check(&health, &settings);
	severity = (enum severity)health_exit_code(health.state);
	if (health.state == HEALTH_DAMAGED || health.state == HEALTH_WEDGED)
		buf_addf(&health.text, "; run \"dbupdate %s recover\"", m->file);
	finding_add(l->findings, severity, "live map %s: %s: %s", l->path, health_name(health.state), buf_str(&health.text));
	health_free(&health);
	return severity;
}

static enum severity tell_missing(const struct look *l, int error)
{
	enum severity severity = error == ENOENT ? FINDING_CRITICAL : FINDING_UNKNOWN;
	struct buf maker = { 0 };

	kept_add_maker(l->path, "dbupdate ... replace, ldapsync -1 or sqlsync -1", &maker);
	if (error == ENOENT)
		finding_add(l->findings, severity, "live map %s: %s; make it by %s", l->path, strerror(error), buf_str(&maker));
	else
		finding_add(l->findings, severity, "live map %s: %s", l->path, strerror(error));
	buf_free(&maker);
	return severity;
}

static void check_map(struct findings *f, const struct dbases_map *m, const struct map_limits *limits)
{
	struct look l = { .findings = f, .line = m, .limits = limits };
	enum severity severity = FINDING_OK;
	struct stat st;
	int error, status;
	bool there, ready;
	struct buf why = { 0 };
	struct map *map;

	l.path = xasprintf("%s%s", m->file, m->kind == DBASES_READ ? "" : map_suffix(m->type));
	there = stat(l.path, &st) == 0;
	error = errno;
	switch (m->kind) {
	case DBASES_BUILT: severity = check_built(&l); break;
	case DBASES_LIVE: severity = there ? check_live(&l) : tell_missing(&l, error); break;
	case DBASES_READ:
		/* read where it stands: opening it tells */
		map = map_open(l.line->type, l.line->file, l.line->config, &status, &why);
		ready = map != NULL && map_ready(map);
		finding_add(l.findings, ready ? FINDING_OK : FINDING_CRITICAL, "map %s (%s): %s", l.path, l.line->type,
		            ready && map_is_slow(map) ? "its settings can be used; the server is not asked" : ready ? "answers"
		            : map != NULL ? map_error(map) : buf_str(&why));
		map_close(&map);
		buf_free(&why);
		severity = ready ? FINDING_OK : FINDING_CRITICAL;
		break;
	case DBASES_NONE:
	case DBASES_FOREIGN: break;
	}
	if (there) {
		int64_t age;
		struct buf label = { 0 }, span = { 0 };

		check_hands(&l, &st);
		age = (int64_t)time(NULL) - st.st_mtime;
		mailq_add_span(&span, age);
		finding_add(l.findings, thresholds_judge(&l.limits->age, age), "map %s: changed %s ago", l.path,
		            buf_str(&span));
		buf_addf(&label, "age_%s", l.line->relation);
		performance_add(l.findings, label.data, age < 0 ? 0 : age, "s", &l.limits->age);
		buf_free(&label);
		buf_free(&span);
	}
	count(&l, there ? st.st_mtime : 0, severity);
	free(l.path);
}

/* An earlier line has the same file. */
static bool is_repeated(const struct dbases *dbases, size_t index)
{
	const struct dbases_map *m = &dbases->maps[index];

	for (size_t i = 0; i < index; i++)
		if (dbases->maps[i].file != NULL && strcmp(dbases->maps[i].file, m->file) == 0 &&
		    strcmp(dbases->maps[i].type, m->type) == 0)
			return true;
	return false;
}

void check_maps(struct findings *f, const char *path, const struct map_limits *limits)
{
	struct dbases dbases;
	struct zenv zenv;
	struct buf why = { 0 };
	int status = zenv_read(&zenv, &why);

	if (status != EX_OK) {
		finding_add(f, FINDING_CRITICAL, "%s", buf_str(&why));
		buf_free(&why);
		return;
	}
	if (dbases_read(&dbases, path, &zenv, tell_fault, f) == EX_OK) {
		finding_add(f, FINDING_OK, "%s: %zu lines", path, dbases.count);
		unasked_warn(&dbases, tell_unasked, f);
		for (size_t i = 0; i < dbases.count; i++) {
			const struct dbases_map *m = &dbases.maps[i];

			if (m->file != NULL && m->kind != DBASES_NONE && m->kind != DBASES_FOREIGN && !is_repeated(&dbases, i))
				check_map(f, m, limits);
		}
		dbases_free(&dbases);
	}
	zenv_free(&zenv);
	buf_free(&why);
}
