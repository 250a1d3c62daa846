#include "db/ldap/conn.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "db/ldap/open.h"
#include "lib/alloc.h"
#include "lib/backoff.h"
#include "lib/clock.h"

#define SHORTEST_DELAY_MS 1000
#define LONGEST_DELAY_MS 30000

struct ldapconn {
	struct ldapconn *next;
	unsigned users;
	struct ldap_access access;
	LDAP *ld;                /* NULL while there is no connection */
	size_t server;           /* number of the one that answered last */
	int64_t not_before;      /* clock_ms() of the next attempt */
	int64_t delay;           /* ms between the last two */
	struct buf trouble;      /* why the last attempt failed */
};

static struct ldapconn *connections;

/* ---- sharing a connection ---------------------------------------------- */

struct ldapconn *ldapconn_get(const struct ldap_access *access)
{
	struct ldapconn *c = connections;

	while (c != NULL && !ldap_access_equal(&c->access, access))
		c = c->next;
	if (c == NULL) {
		c = xcalloc(1, sizeof *c);
		ldap_access_copy(&c->access, access);
		c->next = connections;
		connections = c;
	}
	c->users++;
	return c;
}

void ldapconn_release(struct ldapconn **connection)
{
	struct ldapconn *c = *connection, **link = &connections;

	*connection = NULL;
	if (c == NULL || --c->users > 0)
		return;
	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	ldap_close(&c->ld);
	ldap_access_free(&c->access);
	buf_free(&c->trouble);
	free(c);
}

/* ---- a connection --------------------------------------------------------- */

/* No lookup asks the servers again before some time has passed. */
static void back_off(struct ldapconn *c, int64_t started, const char *why)
{
	const int64_t lost = clock_ms() - started;

	c->delay = backoff_next(c->delay, lost > SHORTEST_DELAY_MS ? lost : SHORTEST_DELAY_MS, LONGEST_DELAY_MS);
	c->not_before = clock_ms() + c->delay;
	buf_clear(&c->trouble);
	buf_adds(&c->trouble, why);
}

static bool is_lost(int code)
{
	return code == LDAP_SERVER_DOWN || code == LDAP_CONNECT_ERROR || code == LDAP_DECODING_ERROR
		|| code == LDAP_UNAVAILABLE;
}

/* The next one is asked, by this lookup or by the next. */
static void leave_server(struct ldapconn *c)
{
	ldap_close(&c->ld);
	c->server = (c->server + 1) % ldap_servers(&c->access);
}

static bool is_ready(struct ldapconn *c, int64_t deadline, struct buf *why)
{
	const int64_t now = clock_ms(), wait = c->not_before - now;

	if (c->ld != NULL)
		return true;
	if (wait > 0) {
		buf_addf(why, "%s; not asked again for %lld s", buf_str(&c->trouble), (long long)(wait + 999) / 1000);
		return false;
	}
	c->ld = ldap_open_any(&c->access, &c->server, deadline, why);
	if (c->ld == NULL)
		back_off(c, now, buf_str(why));
	return c->ld != NULL;
}

/* ---- a search ------------------------------------------------------------- */

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct ldap_entry *)a)->dn, ((const struct ldap_entry *)b)->dn);
}

static bool read_entries(LDAP *ld, LDAPMessage *all, struct ldap_entries *entries)
{
	int count = ldap_count_entries(ld, all);

	entries->list = xcalloc(count > 0 ? (size_t)count : 1, sizeof *entries->list);
	for (LDAPMessage *m = ldap_first_entry(ld, all); m != NULL; m = ldap_next_entry(ld, m))
		if (!ldap_entry_read(&entries->list[entries->count++], ld, m))
			return false;
	qsort(entries->list, entries->count, sizeof *entries->list, compare_entries);
	return true;
}

void ldap_entries_free(struct ldap_entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		ldap_entry_free(&entries->list[i]);
	free(entries->list);
	*entries = (struct ldap_entries){ 0 };
}

static void explain_search(struct ldapconn *c, const struct ldap_search *s, int code, struct buf *why)
{
	buf_addf(why, "%s: search in \"%s\" for %s: ", c->access.uris[c->server], dn_str(s->base), filter_str(s->filter));
	ldap_explain(c->ld, code, why);
}

/* Sends the search and waits; the code of its result, or of the error before there was one. */
static int ask(struct ldapconn *c, const struct ldap_search *s, int64_t deadline, LDAPMessage **all)
{
	int64_t left = deadline - clock_ms();
	struct timeval limit = { .tv_sec = (time_t)(left > 1000 ? left / 1000 : 1) };
	int id, code;

	*all = NULL;
	ldap_set_option(c->ld, LDAP_OPT_DEREF, &s->dereference);
	code = ldap_search_ext(c->ld, dn_str(s->base), s->scope, filter_str(s->filter), (char **)(uintptr_t)s->attributes, 0,
	                       NULL, NULL, &limit, (int)s->size_limit, &id);
	if (code != LDAP_SUCCESS)
		return code;
	code = ldap_await(c->ld, id, deadline, all);
	if (code == LDAP_TIMEOUT)
		ldap_abandon_ext(c->ld, id, NULL, NULL);
	return code != LDAP_SUCCESS ? code : ldap_code_of(c->ld, *all, LDAP_RES_SEARCH_RESULT, NULL);
}

/*
 * Asks one server after the other until one answers, each for its share of the time; a result that is no answer is a
 * reason to ask the next one, whatever it is.  The code of the last one; `why` has the words of those before.
 */
static int ask_in_turn(struct ldapconn *c, const struct ldap_search *s, LDAPMessage **all, struct buf *why)
{
	const size_t servers = ldap_servers(&c->access);

	for (size_t left = servers;; left--) {
		bool again = true;
		int code;

		do {
			const size_t first = c->server;
			size_t passed;
			int64_t now;

			if (!is_ready(c, s->deadline, why))
				return LDAP_CONNECT_ERROR;
			/* those that could not be opened have had their turn */
			passed = (c->server + servers - first) % servers;
			left = passed < left ? left - passed : 1;
			now = clock_ms();
			code = ask(c, s, now + (s->deadline - now) / (int64_t)left, all);
			/* a connection may have died of old age, or with its server's child: a second one tells */
			if (is_lost(code)) {
				ldap_msgfree(*all);
				*all = NULL;
			}
			if (!is_lost(code) || !again)
				break;
			ldap_close(&c->ld);
			again = false;
		} while (true);
		/* the server has answered, be it that there is more than was asked for */
		if (code == LDAP_SUCCESS || (code == LDAP_SIZELIMIT_EXCEEDED && s->size_limit > 0) || left == 1)
			return code;
		explain_search(c, s, code, why);
		buf_adds(why, "; ");
		ldap_msgfree(*all);
		*all = NULL;
		leave_server(c);
	}
}

enum map_answer ldapconn_search(struct ldapconn *connection, const struct ldap_search *search,
                                struct ldap_entries *entries, struct buf *why)
{
	struct ldapconn *c = connection;
	const int64_t started = clock_ms();
	enum map_answer answer = MAP_COULD_NOT_TELL;
	struct buf trouble = { 0 };
	LDAPMessage *all = NULL;
	const int code = ask_in_turn(c, search, &all, &trouble);

	*entries = (struct ldap_entries){ 0 };
	if (c->ld != NULL) {
		const bool is_read = all == NULL || read_entries(c->ld, all, entries);
		const struct ldap_entry *cut = NULL;

		for (size_t i = 0; i < entries->count; i++)
			if (entries->list[i].is_cut)
				cut = &entries->list[i];
		if (!is_read) {
			explain_search(c, search, LDAP_DECODING_ERROR, &trouble);
			answer = MAP_COULD_NOT_TELL;
		} else if (code != LDAP_SUCCESS) {
			explain_search(c, search, code, &trouble);
			answer = MAP_COULD_NOT_TELL;
		} else if (cut != NULL) {
			buf_addf(&trouble, "%s: \"%s\" is of more than %d MB", c->access.uris[c->server], cut->dn,
			         LDAP_LARGEST_MESSAGE >> 20);
			answer = MAP_COULD_NOT_TELL;
		} else if (ldap_count_references(c->ld, all) > 0) {
			buf_addf(&trouble, "%s: search in \"%s\" for %s: part of the answer is on other servers (referral)",
			         c->access.uris[c->server], dn_str(search->base), filter_str(search->filter));
			answer = MAP_COULD_NOT_TELL;
		} else
			answer = entries->count > 0 ? MAP_FOUND : MAP_NOT_FOUND;
	}
	if (answer == MAP_COULD_NOT_TELL)
		buf_add(why, buf_str(&trouble), trouble.len);
	if (c->ld != NULL && (is_lost(code) || code == LDAP_TIMEOUT)) {
		struct buf text = { 0 };

		buf_addf(&text, "%s: %s", c->access.uris[c->server], ldap_err2string(code));
		back_off(c, started, buf_str(&text));
		leave_server(c);
		buf_free(&text);
	} else if (c->ld != NULL)
		c->delay = 0;
	ldap_msgfree(all);
	buf_free(&trouble);
	return answer;
}
