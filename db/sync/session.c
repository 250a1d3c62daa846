#include "db/sync/session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <ldap.h>

#include "db/ldap/entry.h"
#include "db/ldap/open.h"
#include "db/sync/census.h"
#include "lib/alloc.h"
#include "lib/clock.h"

/* Messages taken in at a time, so that signals and the map get their turn. */
#define PORTION 5000

struct search {
	struct rfc4533 machine;
	int id;                  /* of the LDAP operation */
	bool over;
	struct census census;    /* what must come, if everything is asked for */
};

struct session {
	const struct syncconf *conf;
	struct copy *copy;
	LDAP *ld;
	size_t server;
	struct search *searches; /* one per rule */
	int64_t heard;           /* clock_ms() of the last message */
	int probe;               /* of the question whether it lives; 0: none is open */
	int64_t probe_deadline;
};

/* ---- open and close ---------------------------------------------------------------- */

/* Referral objects come as entries: what they lead to is not ours, and no message is lost by it (RFC 3296). */
static int send_search(struct session *s, size_t number, enum sync_mode mode)
{
	const struct sync_rule *rule = &s->conf->rules[number];
	const struct buf *cookie = copy_cookie(s->copy, number);
	LDAPControl sync = { .ldctl_oid = (char[]){ LDAP_CONTROL_SYNC }, .ldctl_iscritical = 1 };
	LDAPControl manage = { .ldctl_oid = (char[]){ LDAP_CONTROL_MANAGEDSAIT } };
	LDAPControl *controls[] = { &sync, &manage, NULL };
	int code;

	if (cookie->len == 0) {
		code = census_take(s->ld, rule, s->conf->access.timeout, &s->searches[number].census);
		if (code != LDAP_SUCCESS)
			return code;
	}
	if (!sync_request_encode(mode, cookie, &sync.ldctl_value))
		return LDAP_NO_MEMORY;
	code = ldap_search_ext(s->ld, rule->base, rule->scope, rule->filter, rule->attributes, 0, controls, NULL, NULL,
	                       LDAP_NO_LIMIT, &s->searches[number].id);
	ldap_memfree(sync.ldctl_value.bv_val);
	if (code == LDAP_SUCCESS)
		rfc4533_start(&s->searches[number].machine, copy_sink(s->copy, number), mode, cookie->len > 0);
	return code;
}

static const char *server_name(const struct session *s)
{
	return s->conf->access.uris[s->server];
}

/* Adds "URI: rule NAME: meaning of the code". */
static void explain(const struct session *s, size_t number, int code, struct buf *why)
{
	buf_addf(why, "%s: rule %s: ", server_name(s), s->conf->rules[number].name);
	ldap_explain(s->ld, code, why);
}

struct session *session_open(const struct syncconf *conf, struct copy *copy, enum sync_mode mode, size_t *server, struct buf *why)
{
	const int never = LDAP_DEREF_NEVER;
	struct session *s = xcalloc(1, sizeof *s);
	int code = LDAP_SUCCESS;

	s->conf = conf;
	s->copy = copy;
	s->searches = xcalloc(conf->rule_count, sizeof *s->searches);
	for (size_t i = 0; i < conf->rule_count; i++)
		s->searches[i].machine.phase = SYNC_ENDED;
	s->ld = ldap_open_any(&conf->access, server, clock_ms() + conf->access.timeout * 1000, why);
	s->server = *server;
	s->heard = clock_ms();
	if (s->ld != NULL)
		ldap_set_option(s->ld, LDAP_OPT_DEREF, &never);
	for (size_t i = 0; s->ld != NULL && i < conf->rule_count && code == LDAP_SUCCESS; i++) {
		code = send_search(s, i, mode);
		if (code != LDAP_SUCCESS)
			explain(s, i, code, why);
	}
	if (s->ld == NULL || code != LDAP_SUCCESS)
		session_close(&s);
	return s;
}

void session_close(struct session **session)
{
	struct session *s = *session;

	*session = NULL;
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->conf->rule_count; i++) {
		rfc4533_lost(&s->searches[i].machine);
		rfc4533_free(&s->searches[i].machine);
		census_free(&s->searches[i].census);
	}
	ldap_close(&s->ld);
	free(s->searches);
	free(s);
}

bool session_is_refreshing(const struct session *s)
{
	for (size_t i = 0; i < s->conf->rule_count; i++)
		if (rfc4533_is_refreshing(&s->searches[i].machine))
			return true;
	return false;
}

int64_t session_heard(const struct session *s)
{
	return s->heard;
}

int session_socket(const struct session *s)
{
	int fd = -1;

	ldap_get_option(s->ld, LDAP_OPT_DESC, &fd);
	return fd;
}

/* ---- messages ------------------------------------------------------------------------- */

static const LDAPControl *find_control(LDAPControl **controls, const char *oid)
{
	for (size_t i = 0; controls != NULL && controls[i] != NULL; i++)
		if (strcmp(controls[i]->ldctl_oid, oid) == 0)
			return controls[i];
	return NULL;
}

static enum sync_verdict damaged(struct session *s, size_t number, const char *what, struct buf *why)
{
	buf_addf(why, "%s: rule %s: %s", server_name(s), s->conf->rules[number].name, what);
	rfc4533_lost(&s->searches[number].machine);
	return SYNC_AGAIN;
}

static enum sync_verdict take_entry(struct session *s, size_t number, LDAPMessage *m, struct buf *why)
{
	LDAPControl **controls = NULL;
	const LDAPControl *control = NULL;
	struct sync_state_value state = { 0 };
	struct ldap_entry entry = { 0 };
	enum sync_verdict verdict;

	if (ldap_get_entry_controls(s->ld, m, &controls) == LDAP_SUCCESS)
		control = find_control(controls, LDAP_CONTROL_SYNC_STATE);
	if (control == NULL)
		verdict = damaged(s, number, "an entry without Sync State Control; the server does not know RFC 4533 (syncprov)", why);
	else if (!sync_state_decode(&control->ldctl_value, &state) || !ldap_entry_read(&entry, s->ld, m))
		verdict = damaged(s, number, "a damaged entry", why);
	else
		verdict = rfc4533_entry(&s->searches[number].machine, &state, &entry, why);
	ldap_entry_free(&entry);
	sync_state_free(&state);
	ldap_controls_free(controls);
	return verdict;
}

static enum sync_verdict take_info(struct session *s, size_t number, LDAPMessage *m, struct buf *why)
{
	struct sync_info_value info = { 0 };
	struct berval *value = NULL;
	char *oid = NULL;
	enum sync_verdict verdict = SYNC_GO_ON;

	if (ldap_parse_intermediate(s->ld, m, &oid, &value, NULL, 0) != LDAP_SUCCESS)
		verdict = damaged(s, number, "a damaged intermediate response", why);
	else if (oid != NULL && strcmp(oid, LDAP_SYNC_INFO) == 0) {
		if (value == NULL || !sync_info_decode(value, &info))
			verdict = damaged(s, number, "a damaged Sync Info Message", why);
		else
			verdict = rfc4533_info(&s->searches[number].machine, &info, why);
	}
	sync_info_free(&info);
	ber_bvfree(value);
	ldap_memfree(oid);
	return verdict;
}

static enum sync_verdict take_result(struct session *s, size_t number, LDAPMessage *m, struct buf *why)
{
	LDAPControl **controls = NULL;
	const LDAPControl *control;
	struct sync_done_value done = { 0 };
	int code = LDAP_DECODING_ERROR;
	enum sync_verdict verdict;

	ldap_parse_result(s->ld, m, &code, NULL, NULL, NULL, &controls, 0);
	control = find_control(controls, LDAP_CONTROL_SYNC_DONE);
	if (control != NULL && !sync_done_decode(&control->ldctl_value, &done))
		verdict = damaged(s, number, "a damaged Sync Done Control", why);
	else if (control == NULL && code == LDAP_SUCCESS && rfc4533_is_refreshing(&s->searches[number].machine))
		verdict = damaged(s, number, "no Sync Done Control; the server does not know RFC 4533 (syncprov)", why);
	else
		verdict = rfc4533_done(&s->searches[number].machine, code, &done, why);
	if (verdict == SYNC_FAILED)
		explain(s, number, code, why);
	sync_done_free(&done);
	ldap_controls_free(controls);
	return verdict;
}

static enum sync_verdict take_message(struct session *s, size_t number, LDAPMessage *m, struct buf *why)
{
	switch (ldap_msgtype(m)) {
	case LDAP_RES_SEARCH_ENTRY: return take_entry(s, number, m, why);
	case LDAP_RES_INTERMEDIATE: return take_info(s, number, m, why);
	case LDAP_RES_SEARCH_RESULT: return take_result(s, number, m, why);
	case LDAP_RES_SEARCH_REFERENCE: return damaged(s, number, "a part of the tree is on other servers (referral)", why);
	default: return SYNC_GO_ON;
	}
}

static bool all_are_over(const struct session *s)
{
	for (size_t i = 0; i < s->conf->rule_count; i++)
		if (!s->searches[i].over)
			return false;
	return true;
}

static enum session_news reload(struct session *s, size_t number, struct buf *why)
{
	copy_forget_cookie(s->copy, number);
	if (why->len == 0)
		buf_addf(why, "%s: rule %s: the server cannot go on from here; everything is read anew", server_name(s),
		         s->conf->rules[number].name);
	return SESSION_OVER;
}

/* What a verdict about one search means for the whole connection. */
static enum session_news judge(struct session *s, size_t number, enum sync_verdict verdict, struct buf *why)
{
	if (copy_is_inconsistent(s->copy, number)) {
		buf_addf(why, "%s: rule %s: the server speaks of entries that the copy does not have; everything is read anew", server_name(s),
		         s->conf->rules[number].name);
		verdict = SYNC_RELOAD;
	}
	switch (verdict) {
	case SYNC_GO_ON:
		return SESSION_BUSY;
	case SYNC_FINISHED:
		s->searches[number].over = true;
		return all_are_over(s) ? SESSION_FINISHED : SESSION_BUSY;
	case SYNC_AGAIN:
		return SESSION_OVER;
	case SYNC_BEHIND:
		/* of several servers one may lag; to go back to what it has would lose what the others had already */
		if (s->conf->access.uris[1] != NULL) {
			buf_addf(why, "%s: rule %s: the map is newer than this server; if all of them were put back to an older "
			         "state, name one alone", server_name(s), s->conf->rules[number].name);
			return SESSION_BEHIND;
		}
		return reload(s, number, why);
	case SYNC_RELOAD:
		return reload(s, number, why);
	case SYNC_FAILED:
		return SESSION_REFUSED;
	}
	return SESSION_REFUSED;
}

static enum session_news dispatch(struct session *s, LDAPMessage *m, struct buf *why)
{
	const int id = ldap_msgid(m);

	if (s->probe != 0 && id == s->probe) {
		if (ldap_msgtype(m) == LDAP_RES_SEARCH_RESULT)
			s->probe = 0;
		return SESSION_BUSY;
	}
	for (size_t i = 0; i < s->conf->rule_count; i++)
		if (s->searches[i].id == id)
			return judge(s, i, take_message(s, i, m, why), why);
	/* such as a notice that the server is about to go (RFC 4511 section 4.4.1); the connection will end */
	return SESSION_BUSY;
}

enum session_news session_read(struct session *s, struct buf *why)
{
	enum session_news news = SESSION_BUSY;

	for (int i = 0; i < PORTION && news == SESSION_BUSY; i++) {
		struct timeval now = { 0, 0 };
		LDAPMessage *m = NULL;
		int kind = ldap_result(s->ld, LDAP_RES_ANY, LDAP_MSG_ONE, &now, &m);

		if (kind == 0)
			return SESSION_QUIET;
		if (kind < 0) {
			buf_addf(why, "%s: ", server_name(s));
			ldap_explain(s->ld, LDAP_SERVER_DOWN, why);
			return SESSION_OVER;
		}
		s->heard = clock_ms();
		news = dispatch(s, m, why);
		ldap_msgfree(m);
	}
	return news;
}

/* ---- nothing hidden? ---------------------------------------------------------------------- */

bool session_check(struct session *s, struct buf *why)
{
	for (size_t i = 0; i < s->conf->rule_count; i++) {
		const struct sync_rule *rule = &s->conf->rules[i];
		size_t hidden = 0;
		int code = census_check(s->ld, rule, s->conf->access.timeout, &s->searches[i].census, copy_content(s->copy), (unsigned)i, &hidden);

		if (code == LDAP_SUCCESS && hidden == 0) {
			census_free(&s->searches[i].census);
			continue;
		}
		if (code != LDAP_SUCCESS)
			explain(s, i, code, why);
		else
			buf_addf(why, "%s: rule %s: the server leaves entries out that it has; if it was loaded from a backup, its contextCSN "
			         "is too old (slapadd -w)", server_name(s), rule->name);
		/* what came is not all there is: the next time everything is asked for again */
		copy_forget_cookie(s->copy, i);
		return false;
	}
	return true;
}

/* ---- silence ---------------------------------------------------------------------------- */

int64_t session_deadline(const struct session *s)
{
	return s->probe != 0 ? s->probe_deadline : s->heard + s->conf->silence * 1000;
}

/* A question that every server can answer at once: is there a root DSE? */
static bool send_probe(struct session *s)
{
	char *nothing[] = { (char[]){ LDAP_NO_ATTRS }, NULL };

	return ldap_search_ext(s->ld, "", LDAP_SCOPE_BASE, "(objectClass=*)", nothing, 0, NULL, NULL, NULL, 1, &s->probe)
		== LDAP_SUCCESS;
}

enum session_news session_watch(struct session *s, struct buf *why)
{
	const int64_t now = clock_ms();

	if (now < session_deadline(s))
		return SESSION_QUIET;
	if (s->probe == 0 && send_probe(s)) {
		s->probe_deadline = now + s->conf->access.timeout * 1000;
		return SESSION_QUIET;
	}
	buf_addf(why, "%s: has said nothing for %lld s", server_name(s), (long long)(now - s->heard) / 1000);
	return SESSION_OVER;
}
