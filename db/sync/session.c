#include "db/sync/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <ldap.h>

#include "db/ldap/entry.h"
#include "db/ldap/open.h"
#include "db/sync/compare.h"
#include "db/sync/cookie.h"
#include "lib/alloc.h"
#include "lib/clock.h"

/* Messages taken in at a time, so that signals and the map get their turn. */
#define PORTION 5000

struct search {
	struct rfc4533 machine;
	int question;            /* of the LDAP operation that asks how far the server is; 0: none is open */
	int id;                  /* of the one that follows; 0: it was not sent */
	bool over;
	struct buf cookie;       /* that the copy had before */
	struct comparison comparison;
	bool to_compare;         /* session_compare() wants it, and it has not begun */
	bool is_compared;        /* along with a full read */
};

struct session {
	const struct syncconf *conf;
	struct copy *copy;
	LDAP *ld;
	enum sync_mode mode;
	size_t server;
	struct search *searches; /* one per rule */
	bool is_finished;        /* SESSION_FINISHED was said */
	bool is_comparing;
	struct compare_counts found;
	size_t messages;
	int64_t heard;           /* clock_ms() of the last message */
	int64_t progress;        /* of the last one that belonged to a search that must end */
	int probe;               /* of the question whether it lives; 0: none is open */
	int64_t probe_deadline;
};

/* ---- open and close ---------------------------------------------------------------- */

static const char *server_name(const struct session *s)
{
	return s->conf->access.uris[s->server];
}

/* Referral objects come as entries: what they lead to is not ours, and no message is lost by it (RFC 3296). */
static int send_search(struct session *s, size_t number)
{
	const struct sync_rule *rule = &s->conf->rules[number];
	struct search *search = &s->searches[number];
	struct buf cookie = { 0 };
	LDAPControl sync = { .ldctl_oid = (char[]){ LDAP_CONTROL_SYNC }, .ldctl_iscritical = 1 };
	LDAPControl manage = { .ldctl_oid = (char[]){ LDAP_CONTROL_MANAGEDSAIT } };
	LDAPControl *controls[] = { &sync, &manage, NULL };
	int code = LDAP_NO_MEMORY;

	copy_cookie_for(s->copy, number, server_name(s), &cookie);
	if (sync_request_encode(s->mode, &cookie, &sync.ldctl_value)) {
		code = ldap_search_ext(s->ld, rule->base, rule->scope, rule->filter, rule->attributes, 0, controls, NULL, NULL,
		                       LDAP_NO_LIMIT, &search->id);
		ldap_memfree(sync.ldctl_value.bv_val);
	}
	if (code == LDAP_SUCCESS)
		rfc4533_start(&search->machine, copy_sink(s->copy, number), s->mode, cookie.len > 0);
	buf_add(&search->cookie, buf_str(&cookie), cookie.len);
	buf_free(&cookie);
	return code;
}

/*
 * Asks how far the server is: a refresh of nothing ends with its cookie.  Asked with the cookie of the map, slapd says nothing
 * of the kind where it knows nothing newer, and complains of what it lacks only where neither side has a serverID.
 */
static int send_question(struct session *s, size_t number)
{
	char *nothing[] = { (char[]){ LDAP_NO_ATTRS }, NULL };
	LDAPControl sync = { .ldctl_oid = (char[]){ LDAP_CONTROL_SYNC }, .ldctl_iscritical = 1 };
	LDAPControl *controls[] = { &sync, NULL };
	int code = LDAP_NO_MEMORY;

	if (sync_request_encode(SYNC_REFRESH_ONLY, &(struct buf){ 0 }, &sync.ldctl_value)) {
		/* a filter that is true for none (RFC 4526) */
		code = ldap_search_ext(s->ld, s->conf->rules[number].base, LDAP_SCOPE_BASE, "(|)", nothing, 0, controls, NULL,
		                       NULL, LDAP_NO_LIMIT, &s->searches[number].question);
		ldap_memfree(sync.ldctl_value.bv_val);
	}
	return code;
}

static bool has_cookie(const struct session *s, size_t number)
{
	struct buf cookie = { 0 };
	bool has;

	copy_cookie_for(s->copy, number, server_name(s), &cookie);
	has = cookie.len > 0;
	buf_free(&cookie);
	return has;
}

static bool is_one_of_several(const struct session *s)
{
	return s->conf->access.uris[1] != NULL;
}

/* Adds "URI: rule NAME: meaning of the code". */
static void explain(const struct session *s, size_t number, int code, struct buf *why)
{
	buf_addf(why, "%s: rule %s: ", server_name(s), s->conf->rules[number].name);
	ldap_explain(s->ld, code, why);
}

struct session *session_open(const struct syncconf *conf, struct copy *copy, enum sync_mode mode, size_t *server,
                             struct buf *why)
{
	const int never = LDAP_DEREF_NEVER;
	struct session *s = xcalloc(1, sizeof *s);
	int code = LDAP_SUCCESS;

	s->conf = conf;
	s->copy = copy;
	s->searches = xcalloc(conf->rule_count, sizeof *s->searches);
	s->mode = mode;
	for (size_t i = 0; i < conf->rule_count; i++)
		s->searches[i].machine.phase = SYNC_ENDED;
	s->ld = ldap_open_any(&conf->access, server, clock_ms() + conf->access.timeout * 1000, why);
	s->server = *server;
	s->heard = s->progress = clock_ms();
	if (s->ld != NULL)
		ldap_set_option(s->ld, LDAP_OPT_DEREF, &never);
	for (size_t i = 0; s->ld != NULL && i < conf->rule_count && code == LDAP_SUCCESS; i++) {
		code = send_question(s, i);
		if (code != LDAP_SUCCESS)
			explain(s, i, code, why);
	}
	if (s->ld != NULL && code != LDAP_SUCCESS)
		*server = (*server + 1) % ldap_servers(&conf->access);
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
		compare_free(&s->searches[i].comparison);
		buf_free(&s->searches[i].cookie);
	}
	ldap_close(&s->ld);
	free(s->searches);
	free(s);
}

bool session_is_refreshing(const struct session *s)
{
	for (size_t i = 0; i < s->conf->rule_count; i++) {
		const struct search *search = &s->searches[i];

		if (search->id == 0 || rfc4533_is_refreshing(&search->machine))
			return true;
		if (search->comparison.follows_full_read && search->comparison.stage != COMPARE_DONE)
			return true;
	}
	return false;
}

bool session_is_comparing(const struct session *s)
{
	return s->is_comparing;
}

size_t session_progress(const struct session *s)
{
	return s->messages;
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
	return SYNC_FAILED;
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
		verdict = damaged(s, number,
		                  "an entry without Sync State Control; the server does not know RFC 4533 (syncprov)", why);
	else if (!sync_state_decode(&control->ldctl_value, &state) || !ldap_entry_read(&entry, s->ld, m))
		verdict = damaged(s, number, "a damaged entry", why);
	else
		verdict = rfc4533_entry(&s->searches[number].machine, &state, &entry, why);
	if (verdict == SYNC_GO_ON)
		compare_told(&s->searches[number].comparison, &state.uuid);
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
	for (size_t i = 0; i < info.count; i++)
		compare_told(&s->searches[number].comparison, &info.uuids[i]);
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
	const int code = ldap_code_of(s->ld, m, LDAP_RES_SEARCH_RESULT, &controls);
	enum sync_verdict verdict;

	control = find_control(controls, LDAP_CONTROL_SYNC_DONE);
	if (control != NULL && !sync_done_decode(&control->ldctl_value, &done))
		verdict = damaged(s, number, "a damaged Sync Done Control", why);
	else if (control == NULL && code == LDAP_SUCCESS && rfc4533_is_refreshing(&s->searches[number].machine))
		verdict = damaged(s, number, "no Sync Done Control; the server does not know RFC 4533 (syncprov)", why);
	else if ((verdict = rfc4533_done(&s->searches[number].machine, code, &done, why)) == SYNC_FAILED)
		explain(s, number, code, why);
	/* what it stands for is not known well enough */
	if (code == LDAP_SYNC_REFRESH_REQUIRED)
		copy_doubt(s->copy);
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
	default: return damaged(s, number, "a message that is no answer to a search", why);
	}
}

static bool all_are_over(const struct session *s)
{
	for (size_t i = 0; i < s->conf->rule_count; i++)
		if (!s->searches[i].over)
			return false;
	return !session_is_refreshing(s);
}

static enum session_news reload(struct session *s, size_t number, struct buf *why)
{
	copy_forget_cookie(s->copy, number);
	copy_doubt(s->copy);
	if (why->len == 0)
		buf_addf(why, "%s: rule %s: the server cannot continue from the cookie; everything is read again",
		         server_name(s), s->conf->rules[number].name);
	return SESSION_AGAIN;
}

/* Of several servers one may lag; to go back to what it has would lose what the others had already. */
static enum session_news refuse_old_state(struct session *s, size_t number, struct buf *why)
{
	if (!is_one_of_several(s))
		return reload(s, number, why);
	buf_addf(why, "%s: rule %s: the server lags behind the map; start the other servers; only if all were put back to an older state, "
	         "name one alone in uri",
	         server_name(s), s->conf->rules[number].name);
	return SESSION_BEHIND;
}

/* What a verdict about one search means for the whole connection. */
static enum session_news judge(struct session *s, size_t number, enum sync_verdict verdict, struct buf *why)
{
	if (copy_is_inconsistent(s->copy, number)) {
		buf_addf(why, "%s: rule %s: the server named entries that the copy does not have; everything is read again",
		         server_name(s), s->conf->rules[number].name);
		verdict = SYNC_RELOAD;
	}
	switch (verdict) {
	case SYNC_GO_ON:
		return SESSION_BUSY;
	case SYNC_FINISHED:
		s->searches[number].over = true;
		return SESSION_BUSY;
	case SYNC_AGAIN:
		return why->len > 0 ? SESSION_AGAIN : SESSION_OVER;
	case SYNC_BEHIND:
		return refuse_old_state(s, number, why);
	case SYNC_RELOAD:
		return reload(s, number, why);
	case SYNC_FAILED:
		return SESSION_REFUSED;
	}
	return SESSION_REFUSED;
}

/* ---- comparing ---------------------------------------------------------------------------- */

static enum session_news compare_failed(struct session *s, size_t number, int code, struct buf *why)
{
	explain(s, number, code, why);
	return SESSION_REFUSED;
}

/* The next rule that is to be compared; one at a time. */
static enum session_news compare_next(struct session *s, struct buf *why)
{
	for (size_t i = 0; i < s->conf->rule_count; i++) {
		struct search *search = &s->searches[i];
		int code;

		if (!search->to_compare)
			continue;
		search->to_compare = false;
		s->progress = clock_ms();
		code = compare_start(&search->comparison, s->ld, s->copy, &s->conf->rules[i], i, false);
		return code == LDAP_SUCCESS ? SESSION_BUSY : compare_failed(s, i, code, why);
	}
	s->is_comparing = false;
	copy_compared(s->copy, server_name(s));
	return SESSION_COMPARED;
}

void session_compare(struct session *s)
{
	s->is_comparing = true;
	copy_begin_comparison(s->copy);
	for (size_t i = 0; i < s->conf->rule_count; i++) {
		s->searches[i].to_compare = !s->searches[i].is_compared;
		s->searches[i].is_compared = false;
	}
}

static void add_found(struct session *s, struct comparison *c)
{
	s->found.entries += c->counts.entries;
	s->found.missing += c->counts.missing;
	s->found.changed += c->counts.changed;
	s->found.surplus += c->counts.surplus;
	s->found.unseen += c->counts.unseen;
	s->found.compared += !c->follows_full_read;
	compare_free(c);
	c->stage = COMPARE_DONE;
}

struct compare_counts session_found(struct session *s)
{
	const struct compare_counts found = s->found;

	s->found = (struct compare_counts){ 0 };
	return found;
}

/* What the refresh of everything left out was there before it. */
static enum session_news refuse_hidden(struct session *s, size_t number, struct buf *why)
{
	buf_addf(why, "%s: rule %s: the server leaves entries out that it has; if it was loaded from a backup, its contextCSN "
	         "is too old (slapadd -w); a subordinate database needs a rule of its own", server_name(s),
	         s->conf->rules[number].name);
	/* what came is not all there is: the next time everything is asked for again */
	copy_forget_cookie(s->copy, number);
	return SESSION_REFUSED;
}

/* A stage of a comparison has ended, or all of it. */
static enum session_news go_on_comparing(struct session *s, size_t number, struct buf *why)
{
	struct search *search = &s->searches[number];
	struct comparison *c = &search->comparison;
	int code;

	if (c->stage == COMPARE_LISTED && search->id == 0) {
		code = send_search(s, number);
		return code == LDAP_SUCCESS ? SESSION_BUSY : compare_failed(s, number, code, why);
	}
	if (c->stage != COMPARE_DONE)
		return SESSION_BUSY;
	if (c->lacks_uuid && !c->follows_full_read) {
		/*
		 * what cannot be compared is read as a whole, all rules in one session, as it is that which counts as compared
		 */
		buf_addf(why, "%s: rule %s: entryUUID may not be seen by this reader; instead of comparing, everything is read",
		         server_name(s), s->conf->rules[number].name);
		for (size_t i = 0; i < s->conf->rule_count; i++)
			copy_forget_cookie(s->copy, i);
		return SESSION_AGAIN;
	}
	if (c->follows_full_read) {
		if (c->counts.hidden > 0)
			return refuse_hidden(s, number, why);
		search->is_compared = !copy_was_told_twice(s->copy, number);
		add_found(s, c);
		return SESSION_BUSY;
	}
	add_found(s, c);
	return compare_next(s, why);
}

/* The refresh of a rule is over: had everything been listed before, all of that must be there now. */
static enum session_news end_refresh(struct session *s, size_t number, struct buf *why)
{
	struct search *search = &s->searches[number];
	int code;

	if (cookie_went_back(&search->cookie, copy_cookie(s->copy, number)))
		copy_doubt(s->copy);
	if (search->comparison.stage != COMPARE_LISTED)
		return SESSION_BUSY;
	code = compare_after_full_read(&search->comparison, s->ld);
	return code == LDAP_SUCCESS ? go_on_comparing(s, number, why) : compare_failed(s, number, code, why);
}

/* ---- how far the server is -------------------------------------------------------------------- */

static enum session_news refuse_unknown_state(struct session *s, size_t number, int code, struct buf *why)
{
	if (code != LDAP_SUCCESS)
		explain(s, number, code, why);
	else
		buf_addf(why, "%s: rule %s: the server has no contextCSN, so it may lag behind the map or be incomplete",
		         server_name(s), s->conf->rules[number].name);
	return SESSION_REFUSED;
}

static enum session_news take_answer(struct session *s, size_t number, LDAPMessage *m, struct buf *why)
{
	struct buf cookie = { 0 };
	enum cookie_state state;
	bool has_none;
	int code;
	LDAPControl **controls = NULL;
	const LDAPControl *control;
	struct sync_done_value done = { 0 };

	if (ldap_msgtype(m) != LDAP_RES_SEARCH_RESULT)
		return SESSION_BUSY;
	s->searches[number].question = 0;
	/* adds the cookie of the answer, if it has one */
	code = ldap_code_of(s->ld, m, LDAP_RES_SEARCH_RESULT, &controls);
	control = find_control(controls, LDAP_CONTROL_SYNC_DONE);
	if (code == LDAP_SUCCESS && control != NULL && !sync_done_decode(&control->ldctl_value, &done))
		code = LDAP_DECODING_ERROR;
	if (code == LDAP_SUCCESS)
		buf_add(&cookie, buf_str(&done.cookie), done.cookie.len);
	sync_done_free(&done);
	ldap_controls_free(controls);
	state = copy_state_of(s->copy, number, &cookie);
	has_none = code == LDAP_SUCCESS && cookie.len == 0;
	buf_free(&cookie);
	/*
	 * a slapd that has no contextCSN is a replica that is being filled: it has a part of the entries, and believes that
	 * this is all
	 */
	if (has_none)
		return refuse_unknown_state(s, number, code, why);
	switch (state) {
	case COOKIE_LAGS:
		/* one that has no other is believed when it is read as a whole */
		if (is_one_of_several(s) || has_cookie(s, number))
			return refuse_old_state(s, number, why);
		break;
	case COOKIE_UNKNOWN:
		/*
		 * not a permission to remove what another server had; the one that the map is of is asked as if it were alone
		 */
		if (is_one_of_several(s) && !copy_is_of(s->copy, server_name(s)))
			return refuse_unknown_state(s, number, code, why);
		break;
	case COOKIE_CURRENT:
		break;
	}
	/* with a cookie the search; without one the list of what that must bring, before it */
	if (has_cookie(s, number))
		code = send_search(s, number);
	else {
		copy_forget_cookie(s->copy, number);
		code = compare_start(&s->searches[number].comparison, s->ld, s->copy, &s->conf->rules[number], number, true);
	}
	return code == LDAP_SUCCESS ? SESSION_BUSY : compare_failed(s, number, code, why);
}

/* ---- all messages -------------------------------------------------------------------------------- */

static enum session_news dispatch(struct session *s, LDAPMessage *m, struct buf *why)
{
	const int id = ldap_msgid(m);

	if (s->probe != 0 && id == s->probe) {
		if (ldap_msgtype(m) == LDAP_RES_SEARCH_RESULT)
			s->probe = 0;
		return SESSION_BUSY;
	}
	s->messages++;
	for (size_t i = 0; i < s->conf->rule_count; i++) {
		struct comparison *c = &s->searches[i].comparison;
		int code;

		if (s->searches[i].question != 0 && s->searches[i].question == id) {
			s->progress = clock_ms();
			return take_answer(s, i, m, why);
		}
		if (s->searches[i].id == id) {
			struct search *search;
			bool was_refreshing;
			enum session_news news;

			if (session_is_refreshing(s))
				s->progress = clock_ms();
			search = &s->searches[i];
			was_refreshing = rfc4533_is_refreshing(&search->machine);
			news = judge(s, i, take_message(s, i, m, why), why);
			if (news == SESSION_BUSY && was_refreshing && !rfc4533_is_refreshing(&search->machine))
				news = end_refresh(s, i, why);
			return news;
		}
		if (!compare_is_open(c) || c->id != id)
			continue;
		s->progress = clock_ms();
		code = compare_take(c, s->ld, m);
		return code == LDAP_SUCCESS ? go_on_comparing(s, i, why) : compare_failed(s, i, code, why);
	}
	/* such as a notice that the server is about to go (RFC 4511 section 4.4.1); the connection will end */
	return SESSION_BUSY;
}

/* What has not been said yet about all rules together. */
static enum session_news about_all(struct session *s, struct buf *why)
{
	if (!s->is_finished && all_are_over(s)) {
		s->is_finished = true;
		return SESSION_FINISHED;
	}
	for (size_t i = 0; s->is_comparing && i < s->conf->rule_count; i++)
		if (compare_is_open(&s->searches[i].comparison))
			return SESSION_BUSY;
	return s->is_comparing ? compare_next(s, why) : SESSION_BUSY;
}

enum session_news session_read(struct session *s, struct buf *why)
{
	enum session_news news = about_all(s, why);

	for (int i = 0; i < PORTION && news == SESSION_BUSY; i++) {
		struct timeval now = { 0, 0 };
		LDAPMessage *m = NULL;
		int kind;

		errno = 0;
		kind = ldap_result(s->ld, LDAP_RES_ANY, LDAP_MSG_ONE, &now, &m);

		if (kind == 0)
			return SESSION_QUIET;
		if (kind < 0) {
			/* the libraries have no other word than errno for a message beyond the limit */
			buf_addf(why, "%s: ", server_name(s));
			if (errno == ERANGE) {
				buf_addf(why, "has sent a message of more than %d MB that is no entry, as no directory should",
				         LDAP_LARGEST_MESSAGE >> 20);
				return SESSION_REFUSED;
			}
			ldap_explain(s->ld, LDAP_SERVER_DOWN, why);
			return SESSION_OVER;
		}
		s->heard = clock_ms();
		news = dispatch(s, m, why);
		ldap_msgfree(m);
		if (news == SESSION_BUSY)
			news = about_all(s, why);
	}
	return news;
}

/* ---- silence ---------------------------------------------------------------------------- */

/* A server may live and still not answer a search that must end. */
static int64_t progress_deadline(const struct session *s)
{
	if (!s->is_comparing && !session_is_refreshing(s))
		return CLOCK_NEVER;
	return s->progress + (2 * s->conf->silence + s->conf->access.timeout) * 1000;
}

int64_t session_deadline(const struct session *s)
{
	const int64_t life = s->probe != 0 ? s->probe_deadline : s->heard + s->conf->silence * 1000;

	return life < progress_deadline(s) ? life : progress_deadline(s);
}

enum session_news session_watch(struct session *s, struct buf *why)
{
	char *nothing[] = { (char[]){ LDAP_NO_ATTRS }, NULL };
	const int64_t now = clock_ms();

	if (now < session_deadline(s))
		return SESSION_QUIET;
	if (now >= progress_deadline(s)) {
		buf_addf(why, "%s: answers, but has not continued a search for %lld s", server_name(s),
		         (long long)(now - s->progress) / 1000);
		return SESSION_REFUSED;
	}
	/* a question that every server can answer at once: is there a root DSE? */
	if (s->probe == 0 && ldap_search_ext(s->ld, "", LDAP_SCOPE_BASE, "(objectClass=*)", nothing, 0, NULL, NULL, NULL, 1,
	                                     &s->probe) == LDAP_SUCCESS) {
		s->probe_deadline = now + s->conf->access.timeout * 1000;
		return SESSION_QUIET;
	}
	buf_addf(why, "%s: has sent nothing for %lld s", server_name(s), (long long)(now - s->heard) / 1000);
	return SESSION_REFUSED;
}
