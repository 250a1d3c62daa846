#include "db/sync/rfc4533.h"

#include <ldap.h>

void rfc4533_start(struct rfc4533 *m, const struct sync_sink *sink, enum sync_mode mode, bool had_cookie)
{
	*m = (struct rfc4533){ .sink = sink, .mode = mode, .phase = SYNC_STARTED, .had_cookie = had_cookie };
}

void rfc4533_free(struct rfc4533 *m)
{
	buf_free(&m->cookie);
}

bool rfc4533_is_refreshing(const struct rfc4533 *m)
{
	return m->phase < SYNC_PERSIST_STAGE;
}

/* ---- ends ----------------------------------------------------------------- */

static void end(struct rfc4533 *m)
{
	if (rfc4533_is_refreshing(m))
		m->sink->rollback(m->sink->context);
	m->phase = SYNC_ENDED;
}

void rfc4533_lost(struct rfc4533 *m)
{
	if (m->phase != SYNC_ENDED)
		end(m);
}

/* The server broke the rules: what it said so far cannot be trusted, nor can the cookie that it was asked with. */
static enum sync_verdict broken(struct rfc4533 *m, struct buf *why, const char *what)
{
	buf_addf(why, "the server broke the protocol: %s", what);
	end(m);
	return m->had_cookie ? SYNC_RELOAD : SYNC_FAILED;
}

/* ---- cookies -------------------------------------------------------------- */

/* A cookie of the refresh stage counts when that is over; until then it stands for a part only. */
static void note_cookie(struct rfc4533 *m, const struct buf *cookie)
{
	if (cookie->len == 0)
		return;
	buf_clear(&m->cookie);
	buf_add(&m->cookie, cookie->data, cookie->len);
}

static void finish_refresh(struct rfc4533 *m, bool all_present)
{
	/* without a delete phase what was not mentioned is gone (section 3.3.2), and always if all was asked for */
	if (all_present || !m->had_cookie)
		m->sink->drop_rest(m->sink->context);
	m->sink->commit(m->sink->context, &m->cookie);
	m->phase = SYNC_PERSIST_STAGE;
}

/* ---- entries -------------------------------------------------------------- */

/* An entry, or a set of them, that is said to be present or deleted moves the phase; false if that cannot be now. */
static bool enter_phase(struct rfc4533 *m, enum sync_phase phase)
{
	if (m->phase == SYNC_STARTED)
		m->phase = phase;
	return m->phase == phase;
}

static enum sync_verdict entry_in_refresh(struct rfc4533 *m, const struct sync_state_value *s, void *entry, struct buf *why)
{
	void *context = m->sink->context;

	switch (s->state) {
	case SYNC_ADD:
	case SYNC_MODIFY:
		m->sink->put(context, &s->uuid, entry);
		break;
	case SYNC_PRESENT:
		if (!enter_phase(m, SYNC_PRESENT_PHASE))
			return broken(m, why, "an unchanged entry in the delete phase");
		m->sink->keep(context, &s->uuid);
		break;
	case SYNC_DELETE:
		if (!enter_phase(m, SYNC_DELETE_PHASE))
			return broken(m, why, "a deleted entry in the present phase");
		m->sink->drop(context, &s->uuid);
		break;
	}
	note_cookie(m, &s->cookie);
	return SYNC_GO_ON;
}

static enum sync_verdict entry_in_persist(struct rfc4533 *m, const struct sync_state_value *s, void *entry, struct buf *why)
{
	void *context = m->sink->context;

	switch (s->state) {
	case SYNC_ADD:
	case SYNC_MODIFY:
		m->sink->put(context, &s->uuid, entry);
		break;
	case SYNC_PRESENT:
		return broken(m, why, "an unchanged entry in the persist stage");
	case SYNC_DELETE:
		m->sink->drop(context, &s->uuid);
		break;
	}
	m->sink->commit(context, &s->cookie);
	return SYNC_GO_ON;
}

enum sync_verdict rfc4533_entry(struct rfc4533 *m, const struct sync_state_value *state, void *entry, struct buf *why)
{
	if (m->phase == SYNC_ENDED)
		return SYNC_FAILED;
	return rfc4533_is_refreshing(m) ? entry_in_refresh(m, state, entry, why) : entry_in_persist(m, state, entry, why);
}

/* ---- sync info ------------------------------------------------------------ */

static enum sync_verdict id_set(struct rfc4533 *m, const struct sync_info_value *info, struct buf *why)
{
	const bool persisting = !rfc4533_is_refreshing(m);

	if (persisting && !info->refresh_deletes)
		return broken(m, why, "a set of unchanged entries in the persist stage");
	if (!persisting && !enter_phase(m, info->refresh_deletes ? SYNC_DELETE_PHASE : SYNC_PRESENT_PHASE))
		return broken(m, why, "a set of entries that does not belong to this phase");
	for (size_t i = 0; i < info->count; i++) {
		if (info->refresh_deletes)
			m->sink->drop(m->sink->context, &info->uuids[i]);
		else
			m->sink->keep(m->sink->context, &info->uuids[i]);
	}
	if (persisting)
		m->sink->commit(m->sink->context, &info->cookie);
	else
		note_cookie(m, &info->cookie);
	return SYNC_GO_ON;
}

static enum sync_verdict end_of_present_phase(struct rfc4533 *m, const struct sync_info_value *info, struct buf *why)
{
	if (!rfc4533_is_refreshing(m) || m->phase == SYNC_DELETE_PHASE)
		return broken(m, why, "refreshPresent outside of the present phase");
	note_cookie(m, &info->cookie);
	if (info->refresh_done) {
		finish_refresh(m, true);
	} else {
		m->sink->drop_rest(m->sink->context);
		m->phase = SYNC_DELETE_PHASE;
	}
	return SYNC_GO_ON;
}

static enum sync_verdict end_of_delete_phase(struct rfc4533 *m, const struct sync_info_value *info, struct buf *why)
{
	if (!rfc4533_is_refreshing(m) || m->phase == SYNC_PRESENT_PHASE)
		return broken(m, why, "refreshDelete outside of the delete phase");
	note_cookie(m, &info->cookie);
	m->phase = SYNC_DELETE_PHASE;
	if (info->refresh_done)
		finish_refresh(m, false);
	return SYNC_GO_ON;
}

enum sync_verdict rfc4533_info(struct rfc4533 *m, const struct sync_info_value *info, struct buf *why)
{
	if (m->phase == SYNC_ENDED)
		return SYNC_FAILED;
	switch (info->kind) {
	case SYNC_NEW_COOKIE:
		if (rfc4533_is_refreshing(m))
			note_cookie(m, &info->cookie);
		else
			m->sink->commit(m->sink->context, &info->cookie);
		return SYNC_GO_ON;
	case SYNC_INFO_REFRESH_PRESENT:
		return end_of_present_phase(m, info, why);
	case SYNC_INFO_REFRESH_DELETE:
		return end_of_delete_phase(m, info, why);
	case SYNC_ID_SET:
		return id_set(m, info, why);
	}
	return SYNC_FAILED;
}

/* ---- the end of the search ------------------------------------------------ */

static enum sync_verdict finish_by_result(struct rfc4533 *m, const struct sync_done_value *done, struct buf *why)
{
	if ((m->phase == SYNC_PRESENT_PHASE && done->refresh_deletes) ||
	    (m->phase == SYNC_DELETE_PHASE && !done->refresh_deletes))
		return broken(m, why, "the Sync Done Control contradicts the phase");
	note_cookie(m, &done->cookie);
	finish_refresh(m, !done->refresh_deletes);
	m->phase = SYNC_ENDED;
	return SYNC_FINISHED;
}

/* e-syncRefreshRequired (section 3.8): with a cookie go on from there, without one from the start. */
static enum sync_verdict refresh_required(struct rfc4533 *m, const struct sync_done_value *done, struct buf *why)
{
	/* what has come is what the cookie stands for: both count, or neither */
	if (done->cookie.len > 0) {
		m->sink->commit(m->sink->context, &done->cookie);
		m->phase = SYNC_ENDED;
		buf_adds(why, "the server ends with e-syncRefreshRequired and a cookie to go on from");
		return SYNC_AGAIN;
	}
	end(m);
	if (m->had_cookie)
		return SYNC_RELOAD;
	buf_adds(why, "the server wants a refresh, and then refuses to give one");
	return SYNC_FAILED;
}

enum sync_verdict rfc4533_done(struct rfc4533 *m, int code, const struct sync_done_value *done, struct buf *why)
{
	const bool persisting = m->phase == SYNC_PERSIST_STAGE;

	if (m->phase == SYNC_ENDED)
		return SYNC_FAILED;
	if (code == LDAP_SYNC_REFRESH_REQUIRED)
		return refresh_required(m, done, why);
	if (code == LDAP_SUCCESS && !persisting)
		return finish_by_result(m, done, why);
	end(m);
	if (persisting) {
		if (code == LDAP_SUCCESS)
			m->sink->commit(m->sink->context, &done->cookie);
		return SYNC_AGAIN;
	}
	/* OpenLDAP's "consumer state is newer than provider": the directory was put back, or this is a replica that lags */
	if (code == LDAP_UNWILLING_TO_PERFORM && m->had_cookie)
		return SYNC_BEHIND;
	return SYNC_FAILED;
}
