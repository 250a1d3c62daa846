#include "db/sync/copy.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/sync/cookie.h"
#include "db/sync/shrinkage.h"
#include "db/sync/table.h"
#include "db/sync/usable.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/settings.h"
#include "lib/text.h"

#define REPORT_CAP 1000

/* An entry that cannot be used is named again by a comparison after so long. */
#define NAME_AGAIN_MS 3600000

/* So many notes of entries make a batch of their own: where each batch costs copying the map, and in the other ways. */
#define NOTES_PER_COPY 25000
#define NOTES_IN_PLACE 5000

struct rule_copy {
	struct copy *copy;
	const struct sync_rule *rule;
	unsigned number;
	struct sync_sink sink;
	bool has_said;           /* anything since the last commit */
	bool lacks;              /* an entry that was said to be there since then */
	unsigned mark;           /* of the entries that were spoken of since then */
	unsigned round;          /* of the comparison that runs, or of the last one */
	struct table twins;      /* hashes of entryUUIDs that several entries have */
	bool told_twice;         /* the last refresh spoke of an entryUUID under two names */
	struct buf cookie;
	bool is_void;            /* there is nothing to go on from, but the cookie says how far the map has come */
	bool has_new_cookie;
	bool is_inconsistent;
};

/* When everything was compared, and with which server. */
struct compared {
	int64_t when;            /* clock_ms(); 0: not since copy_open(), or there is doubt */
	bool is_doubtful;        /* a doubt has arisen since the last comparison began */
	char *server;            /* its number, if it has one, and its URI, as the map says; NULL: none */
};

struct copy {
	const struct copy_settings *settings;
	struct livemap *livemap;
	struct content *content;
	struct rule_copy *rules;
	struct results stale;    /* names of notes that are not needed */
	bool domains_due;
	bool domains_noted;      /* the map says so */
	size_t complaints;
	struct table told;       /* hashes of lines about entries: refreshes and comparisons come upon what cannot be used again and again */
	int64_t told_since;      /* clock_ms() */
	struct shrinkage shrinkage;    /* as the map says */
	struct compared compared;
	bool has_new_compared;
};

/* ---- words to people ------------------------------------------------------------ */

static void report(struct copy *copy, const char *text)
{
	struct buf clean = { 0 };

	text_add_clean_string(&clean, text, REPORT_CAP);
	copy->settings->report(buf_str(&clean));
	buf_free(&clean);
}

static uint64_t told_hash(uintptr_t cell)
{
	return cell;
}

static bool is_told(uintptr_t cell, const void *wanted)
{
	return cell == *(const uintptr_t *)wanted;
}

/* Each state of an entry is spoken of once until it is time for that again. */
static void report_entry(struct copy *copy, const struct sync_rule *rule, const struct ldap_entry *e, const char *what)
{
	const uint64_t version = rule_version(e);
	struct buf text = { 0 };
	uintptr_t cell;

	buf_addf(&text, "rule %s: \"%s\": %s", rule->name, e->dn, what);
	cell = (uintptr_t)hash_bytes(hash_string(HASH_START, buf_str(&text)), &version, sizeof version) | 1;
	if (table_find(&copy->told, cell, &cell) == NULL) {
		table_add(&copy->told, cell);
		report(copy, buf_str(&text));
	}
	buf_free(&text);
}

/* ---- what an entry yields ---------------------------------------------------------- */

static const char *value_fault(const struct copy *copy, const struct wanted *w, const char **warning)
{
	const struct record record = { .key = w->key, .value = w->value, .key_length = (uint32_t)strlen(w->key),
	                               .value_length = (uint32_t)strlen(w->value) };

	return usable_value_fault(copy->settings->check, &record, warning);
}

static void report_key(struct copy *copy, const struct sync_rule *rule, const struct ldap_entry *e, const char *key,
                       const char *kind, const char *what)
{
	struct buf text = { 0 };

	buf_addf(&text, "%s: %s%s", key, kind, what);
	report_entry(copy, rule, e, buf_str(&text));
	buf_free(&text);
}

/* ---- the sink --------------------------------------------------------------------------- */

/*
 * What a machine says counts at once, as each of it is true by itself; what must not be written before all of it has come is
 * held back when it is written (copy_flush()), and the cookie comes last.
 */

static void speak_of(struct rule_copy *r, const struct sync_uuid *uuid)
{
	uint64_t version;

	content_mark(r->copy->content, r->number, uuid, r->mark);
	content_see(r->copy->content, r->number, uuid, r->round, &version);
	r->has_said = true;
}

/* Two entries with one entryUUID are there both: mail for the one that is not copied must not go back to its sender. */
static void add_keys_of(const struct rule_copy *r, const struct ldap_entry *twin, struct yield *yield)
{
	struct buf why = { 0 };
	struct yield other;

	rule_apply(r->rule, twin, r->copy->settings->livemap.folding, &other, &why);
	for (size_t i = 0; i < other.count; i++)
		if (livemap_key_fault(r->copy->livemap, other.records[i].key, strlen(other.records[i].key)) == NULL)
			yield_add_unclear(yield, other.records[i].key);
	for (size_t i = 0; other.domains != NULL && other.domains[i] != NULL; i++)
		words_add(&yield->domains, other.domains[i]);
	yield_free(&other);
	buf_free(&why);
}

static void name_twin(struct rule_copy *r, const struct ldap_entry *e, const struct ldap_entry *twin)
{
	struct buf text = { 0 };

	r->copy->complaints++;
	buf_addf(&text, "has the entryUUID of \"%s\", and is not copied: lookups of it cannot tell; delete the one that should not be "
	         "there, or delete this one and add it again without that", e->dn);
	report_entry(r->copy, r->rule, twin, buf_str(&text));
	buf_free(&text);
}

/* Takes out keys that no map can have, and values that no router could use. */
static void drop_unusable(const struct rule_copy *r, const struct ldap_entry *e, struct yield *yield)
{
	struct copy *copy = r->copy;
	const struct sync_rule *rule = r->rule;
	size_t kept = 0;

	for (size_t i = 0; i < yield->count; i++) {
		struct wanted w = yield->records[i];
		const char *fault = livemap_key_fault(copy->livemap, w.key, strlen(w.key)), *warning = NULL;

		if (fault != NULL) {
			copy->complaints++;
			report_key(copy, rule, e, w.key, "", fault);
			free(w.key);
			free(w.value);
			yield->lacks_keys = true;
			continue;
		}
		fault = w.value != NULL ? value_fault(copy, &w, &warning) : NULL;
		if (warning != NULL)
			report_key(copy, rule, e, w.key, "warning: ", warning);
		if (fault != NULL) {
			copy->complaints++;
			report_key(copy, rule, e, w.key, "", fault);
			free(w.value);
			w.value = NULL;
		}
		yield->records[kept++] = w;
	}
	yield->count = kept;
}

/* True if the entry makes a difference.  One of which not everything could be used is asked for again with each comparison. */
static bool put_entry(struct rule_copy *r, const struct sync_uuid *uuid, const struct found *found)
{
	const struct ldap_entry *e = &found->entry;
	const size_t complaints = r->copy->complaints;
	struct yield yield;
	struct buf why = { 0 };
	const bool ok = rule_apply(r->rule, e, r->copy->settings->livemap.folding, &yield, &why);
	bool is_new = false;

	if (!ok) {
		r->copy->complaints++;
		report_entry(r->copy, r->rule, e, buf_str(&why));
	}
	drop_unusable(r, e, &yield);
	for (const struct found *twin = found->next; twin != NULL; twin = twin->next) {
		name_twin(r, e, &twin->entry);
		add_keys_of(r, &twin->entry, &yield);
	}
	yield.version = r->copy->complaints == complaints ? rule_version(e) : 0;
	/* of an entry that cannot be used now, what it said before is the best there is; so it is of values that cannot */
	if (yield.lacks_keys || yield.lacks_domains)
		content_keep(r->copy->content, r->number, uuid, &yield);
	if (ok || yield.count > 0 || yield.domains != NULL || !content_has(r->copy->content, r->number, uuid))
		is_new = content_put(r->copy->content, r->number, uuid, e->dn, &yield);
	speak_of(r, uuid);
	yield_free(&yield);
	buf_free(&why);
	return is_new;
}

static uintptr_t twin_cell(const struct sync_uuid *uuid)
{
	return (uintptr_t)hash_bytes(HASH_START, (const char *)uuid->bytes, SYNC_UUID) | 1;
}

/* Of which of several entries is it said?  Only a search tells, in which all of them are. */
static bool is_twin(struct rule_copy *r, const struct sync_uuid *uuid)
{
	const uintptr_t cell = twin_cell(uuid);
	const bool is_one = content_has(r->copy->content, r->number, uuid) && table_find(&r->twins, cell, &cell) != NULL;

	if (is_one)
		copy_doubt(r->copy);
	return is_one;
}

/* The same refresh had it under another name. */
static bool is_second(struct rule_copy *r, const struct sync_uuid *uuid, const struct ldap_entry *e)
{
	struct buf name = { 0 };
	const bool is_one = content_is_marked(r->copy->content, r->number, uuid, r->mark)
		&& content_name(r->copy->content, r->number, uuid, &name) && strcmp(buf_str(&name), e->dn) != 0;

	buf_free(&name);
	if (is_one)
		copy_doubt(r->copy);
	r->told_twice = r->told_twice || is_one;
	return is_one;
}

/* The entry that came first stays as it is until all is compared. */
static void put_second(struct rule_copy *r, const struct sync_uuid *uuid, const struct ldap_entry *e)
{
	struct yield yield = content_yield(r->copy->content, r->number, uuid);
	struct buf name = { 0 };

	content_name(r->copy->content, r->number, uuid, &name);
	add_keys_of(r, e, &yield);
	content_put(r->copy->content, r->number, uuid, buf_str(&name), &yield);
	speak_of(r, uuid);
	yield_free(&yield);
	buf_free(&name);
}

static void put(void *context, const struct sync_uuid *uuid, void *entry)
{
	struct rule_copy *r = context;

	if (is_twin(r, uuid))
		speak_of(r, uuid);
	else if (is_second(r, uuid, entry))
		put_second(r, uuid, entry);
	else
		put_entry(r, uuid, &(struct found){ .entry = *(const struct ldap_entry *)entry });
}

static void keep(void *context, const struct sync_uuid *uuid)
{
	struct rule_copy *r = context;

	r->lacks = r->lacks || !content_has(r->copy->content, r->number, uuid);
	speak_of(r, uuid);
}

static void drop(void *context, const struct sync_uuid *uuid)
{
	struct rule_copy *r = context;

	if (!is_twin(r, uuid))
		content_drop(r->copy->content, r->number, uuid);
	r->has_said = true;
}

static void drop_rest(void *context)
{
	struct rule_copy *r = context;

	content_drop_unmarked(r->copy->content, r->number, r->mark);
	r->has_said = true;
}

static void begin_again(struct rule_copy *r)
{
	r->has_said = r->lacks = false;
	r->mark++;
}

/* A part of what should have come: true, but it cannot be told what it belongs to. */
static void rollback(void *context)
{
	struct rule_copy *r = context;

	if (r->has_said)
		copy_doubt(r->copy);
	begin_again(r);
}

static void commit(void *context, const struct buf *cookie)
{
	struct rule_copy *r = context;

	r->is_inconsistent = r->is_inconsistent || r->lacks;
	begin_again(r);
	if (r->is_inconsistent || cookie->len == 0)
		return;
	r->has_new_cookie = r->has_new_cookie || r->is_void || !buf_equal(cookie, &r->cookie);
	/* behind a full read it stands for all that there is */
	if (r->is_void)
		buf_clear(&r->cookie);
	r->is_void = false;
	cookie_take(&r->cookie, cookie);
}

/* ---- comparing the whole ------------------------------------------------------------------ */

void copy_begin_round(struct copy *copy, size_t rule)
{
	const int64_t now = clock_ms();

	copy->rules[rule].round++;
	copy->rules[rule].told_twice = false;
	if (now - copy->told_since < NAME_AGAIN_MS)
		return;
	table_free(&copy->told);
	copy->told_since = now;
}

bool copy_has(const struct copy *copy, size_t rule, const struct sync_uuid *uuid, uint64_t *version)
{
	return content_version(copy->content, (unsigned)rule, uuid, version);
}

bool copy_see(struct copy *copy, size_t rule, const struct sync_uuid *uuid, uint64_t *version)
{
	return content_see(copy->content, (unsigned)rule, uuid, copy->rules[rule].round, version);
}

/* Of an entry with a version all could be used (put_entry()): what a rule makes of it now needs no look at keys and values. */
bool copy_is_same(const struct copy *copy, size_t rule, const struct sync_uuid *uuid, const struct ldap_entry *entry)
{
	struct yield yield;
	struct buf why = { 0 };
	const bool is_same = rule_apply(copy->rules[rule].rule, entry, copy->settings->livemap.folding, &yield, &why)
		&& content_is_same(copy->content, (unsigned)rule, uuid, &yield);

	yield_free(&yield);
	buf_free(&why);
	return is_same;
}

void copy_each_unseen(struct copy *copy, size_t rule, content_unseen *each, void *context)
{
	content_each_unseen(copy->content, (unsigned)rule, copy->rules[rule].round, each, context);
}

bool copy_put(struct copy *copy, size_t rule, const struct sync_uuid *uuid, const struct found *found)
{
	return put_entry(&copy->rules[rule], uuid, found);
}

void copy_drop(struct copy *copy, size_t rule, const struct sync_uuid *uuid)
{
	content_drop(copy->content, (unsigned)rule, uuid);
}

void copy_set_twins(struct copy *copy, size_t rule, const struct sync_uuid *uuid, bool are_twins)
{
	const uintptr_t cell = twin_cell(uuid);
	struct table *twins = &copy->rules[rule].twins;
	uintptr_t *known = table_find(twins, cell, &cell);

	if (are_twins && known == NULL)
		table_add(twins, cell);
	else if (!are_twins && known != NULL)
		table_remove(twins, known);
}

bool copy_was_told_twice(const struct copy *copy, size_t rule)
{
	return copy->rules[rule].told_twice;
}

bool copy_name(const struct copy *copy, size_t rule, const struct sync_uuid *uuid, struct buf *name)
{
	return content_name(copy->content, (unsigned)rule, uuid, name);
}

/* Of an entry that is in the map, its note knows the name. */
static bool read_name(void *context, unsigned rule, const struct sync_uuid *uuid, struct buf *name)
{
	struct copy *copy = context;
	struct buf key = { 0 }, note = { 0 }, why = { 0 };
	size_t n = 0;

	entry_name(&key, copy->rules[rule].rule, uuid);
	if (livemap_read_note(copy->livemap, buf_str(&key), &note, &why) == MAP_FOUND)
		n = strcspn(buf_str(&note), "\n");
	buf_add(name, buf_str(&note), n);
	buf_free(&key);
	buf_free(&note);
	buf_free(&why);
	return n > 0;
}

/* How a server is known: by its URI, and by the number in its cookies, as several may stand behind one URI. */
static char *server_of(const struct copy *copy, const char *uri)
{
	struct buf text = { 0 };
	char *server;

	for (size_t i = 0; i < copy->settings->rule_count && text.len == 0; i++)
		cookie_provider(&copy->rules[i].cookie, &text);
	buf_addf(&text, " %s", uri);
	server = xstrdup(buf_str(&text));
	buf_free(&text);
	return server;
}

bool copy_comparison_is_due(const struct copy *copy, const char *uri, long interval)
{
	char *server = server_of(copy, uri);
	const bool is_other = copy->compared.server == NULL || strcmp(copy->compared.server, server) != 0;

	free(server);
	return is_other || clock_ms() >= copy_comparison_time(copy, interval);
}

int64_t copy_comparison_time(const struct copy *copy, long interval)
{
	if (copy->compared.when == 0)
		return 0;
	return interval == 0 ? CLOCK_NEVER : copy->compared.when + interval * 1000;
}

void copy_begin_comparison(struct copy *copy)
{
	copy->compared.is_doubtful = false;
}

void copy_compared(struct copy *copy, const char *uri)
{
	char *server = server_of(copy, uri);

	copy->has_new_compared = copy->has_new_compared || copy->compared.server == NULL ||
	                         strcmp(copy->compared.server, server) != 0;
	free(copy->compared.server);
	copy->compared.server = server;
	/* what raised a doubt may be about entries that the comparison had passed by then */
	copy->compared.when = copy->compared.is_doubtful ? 0 : clock_ms();
}

void copy_doubt(struct copy *copy)
{
	copy->compared.when = 0;
	copy->compared.is_doubtful = true;
}

void copy_cookie_for(const struct copy *copy, size_t rule, const char *uri, struct buf *cookie)
{
	const struct buf *newest = &copy->rules[rule].cookie;

	if (newest->len == 0 || copy->rules[rule].is_void || cookie_for_others(newest, cookie))
		return;
	if (copy_is_of(copy, uri))
		buf_add(cookie, buf_str(newest), newest->len);
}

bool copy_is_of(const struct copy *copy, const char *uri)
{
	const char *server = copy->compared.server != NULL ? strchr(copy->compared.server, ' ') : NULL;

	return server != NULL && strcmp(server + 1, uri) == 0;
}

enum cookie_state copy_state_of(const struct copy *copy, size_t rule, const struct buf *cookie)
{
	const struct buf *own = &copy->rules[rule].cookie;

	/* what the map has come to is known by an OpenLDAP's cookie alone */
	return cookie_state(own, own) != COOKIE_UNKNOWN ? cookie_state(own, cookie) : COOKIE_CURRENT;
}

/* ---- reading the map ----------------------------------------------------------------------- */

static struct rule_copy *rule_named(struct copy *copy, const char *name, size_t n)
{
	for (size_t i = 0; i < copy->settings->rule_count; i++)
		if (strlen(copy->rules[i].rule->name) == n && memcmp(copy->rules[i].rule->name, name, n) == 0)
			return &copy->rules[i];
	return NULL;
}

static bool load_note(void *context, const char *name, size_t name_length, const char *note, size_t n)
{
	struct copy *copy = context;
	struct sync_uuid uuid;
	const char *rule;
	char *text;
	size_t length;
	enum note_kind kind = note_parse(name, name_length, &rule, &length, &uuid);
	struct rule_copy *r = kind == NOTE_COOKIE || kind == NOTE_ENTRY ? rule_named(copy, rule, length) : NULL;
	bool good = kind == NOTE_DOMAINS || kind == NOTE_COMPARED;

	if (kind == NOTE_COMPARED)
		copy->compared.server = xstrndup(note, n);
	else if (kind == NOTE_SHRINKAGE)
		good = shrinkage_decode(note, n, &copy->shrinkage);
	else if (kind == NOTE_DOMAINS)
		copy->domains_due = copy->domains_noted = true;
	else if (r != NULL && kind == NOTE_COOKIE) {
		/* of another definition of the rule there is nothing to go on from */
		good = cookie_decode(note, n, r->rule, &r->cookie);
		r->is_void = !good && cookie_decode_any(note, n, &r->cookie);
	} else if (r != NULL) {
		struct yield yield;
		char *dn;

		good = entry_decode(note, n, &dn, &yield);
		if (good)
			content_put(r->copy->content, r->number, &uuid, NULL, &yield);
		yield_free(&yield);
		free(dn);
	}
	if (good)
		return true;
	text = xstrndup(name, name_length);
	results_add(&copy->stale, text);
	free(text);
	/* an entry that cannot be read any more is missing in what the cookie stands for */
	if (r != NULL && kind == NOTE_ENTRY)
		r->is_inconsistent = true;
	return true;
}

static bool load_record(void *context, const char *key, size_t key_length, const char *value, size_t value_length)
{
	content_found(context, key, key_length, value, value_length);
	return true;
}

static int load(struct copy *copy, struct buf *why)
{
	int status = livemap_walk_notes(copy->livemap, SYNC_NOTES, load_note, copy, why);

	if (status == EX_OK)
		status = livemap_walk(copy->livemap, load_record, copy->content, why);
	for (size_t i = 0; i < copy->settings->rule_count; i++)
		if (copy->rules[i].is_inconsistent)
			copy_forget_cookie(copy, i);
	content_compare(copy->content);
	return status;
}

/* ---- open and close -------------------------------------------------------------------------- */

static struct copy *try_open(const struct copy_settings *settings, int *status, struct buf *why)
{
	struct livemap_settings map = settings->livemap;
	struct livemap *livemap;
	struct copy *copy;

	/* one that is not there is not made before its content has come: an empty one would answer "not found" */
	map.create = true;
	livemap = livemap_open(&map, status, why);
	if (livemap == NULL)
		return NULL;
	copy = xcalloc(1, sizeof *copy);
	copy->settings = settings;
	copy->told = (struct table){ .hash = told_hash, .matches = is_told };
	copy->told_since = clock_ms();
	copy->livemap = livemap;
	copy->content = content_create();
	content_know_names(copy->content, read_name, copy);
	copy->rules = xcalloc(settings->rule_count, sizeof *copy->rules);
	for (size_t i = 0; i < settings->rule_count; i++) {
		struct rule_copy *r = &copy->rules[i];

		*r = (struct rule_copy){
			.copy = copy, .rule = &settings->rules[i], .number = (unsigned)i, .mark = 1,
			.twins = { .hash = told_hash, .matches = is_told },
			.sink = { .context = r, .put = put, .keep = keep, .drop = drop, .drop_rest = drop_rest,
			          .commit = commit,
			          .rollback = rollback },
		};
	}
	*status = livemap_watch(livemap, why);
	if (*status == EX_OK)
		*status = load(copy, why);
	if (*status != EX_OK)
		copy_close(&copy);
	return copy;
}

struct copy *copy_open(const struct copy_settings *settings, int *status, struct buf *why)
{
	struct copy *copy = try_open(settings, status, why);

	if (copy != NULL || *status != EX_NOINPUT)
		return copy;
	/* it was deleted while it was read: then it is one that is not there */
	buf_clear(why);
	return try_open(settings, status, why);
}

void copy_close(struct copy **copy)
{
	struct copy *c = *copy;

	*copy = NULL;
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->settings->rule_count; i++) {
		buf_free(&c->rules[i].cookie);
		table_free(&c->rules[i].twins);
	}
	free(c->rules);
	free(c->compared.server);
	table_free(&c->told);
	results_free(&c->stale);
	content_free(&c->content);
	livemap_close(&c->livemap);
	free(c);
}

const struct sync_sink *copy_sink(struct copy *copy, size_t rule)
{
	return &copy->rules[rule].sink;
}

const struct buf *copy_cookie(const struct copy *copy, size_t rule)
{
	return &copy->rules[rule].cookie;
}

void copy_forget_cookie(struct copy *copy, size_t rule)
{
	copy->rules[rule].is_void = true;
	copy->rules[rule].is_inconsistent = false;
}

bool copy_is_inconsistent(const struct copy *copy, size_t rule)
{
	return copy->rules[rule].is_inconsistent;
}

struct content *copy_content(struct copy *copy)
{
	return copy->content;
}

const char *copy_path(const struct copy *copy)
{
	return livemap_path(copy->livemap);
}

bool copy_is_changed(const struct copy *copy)
{
	return livemap_is_changed(copy->livemap);
}

size_t copy_complaints(const struct copy *copy)
{
	return copy->complaints;
}

/* ---- writing the map --------------------------------------------------------------------------- */

enum copy_state copy_state(const struct copy *copy)
{
	if (content_has_news(copy->content) || copy->stale.count > 0)
		return COPY_NEW_DATA;
	if (content_is_touched(copy->content) || copy->has_new_compared)
		return COPY_NEW_NOTES;
	for (size_t i = 0; i < copy->settings->rule_count; i++)
		if (copy->rules[i].has_new_cookie)
			return COPY_NEW_NOTES;
	return copy->domains_due != copy->domains_noted ? COPY_NEW_NOTES : COPY_CLEAN;
}

bool copy_domains_are_due(const struct copy *copy)
{
	return copy->domains_due;
}

void copy_domains_done(struct copy *copy)
{
	copy->domains_due = false;
}

static void write_change(void *context, const char *key, const char *value)
{
	struct copy *copy = context;

	if (value != NULL)
		livemap_put(copy->livemap, key, strlen(key), value, strlen(value));
	else
		livemap_remove(copy->livemap, key, strlen(key));
}

struct writing {
	struct copy *copy;
	struct records *first;   /* of a map that is to be made; NULL: it is there */
	size_t notes;            /* of entries in the batch that is being gathered */
	size_t at_once;
	int status;
	struct buf *why;
};

static void add_first(void *context, const char *key, const char *value)
{
	struct writing *w = context;

	records_add(w->first, &(struct record){ .key = key, .value = value, .key_length = (uint32_t)strlen(key),
	                                        .value_length = (uint32_t)strlen(value) });
}

/*
 * Notes of a great many entries go before the rest: what they say of a map that does not have it yet is put right by the next
 * start.
 */
static void write_entry(void *context, unsigned rule, const struct sync_uuid *uuid, const char *dn, const struct yield *yield)
{
	struct writing *w = context;
	struct copy *copy = w->copy;
	struct buf name = { 0 }, note = { 0 };

	if (w->status != EX_OK)
		return;
	entry_name(&name, copy->rules[rule].rule, uuid);
	if (dn != NULL)
		entry_encode(&note, dn, yield);
	livemap_note(copy->livemap, buf_str(&name), dn != NULL ? buf_str(&note) : NULL, note.len);
	buf_free(&name);
	buf_free(&note);
	if (w->first == NULL || ++w->notes < w->at_once)
		return;
	w->notes = 0;
	w->status = livemap_commit(copy->livemap, w->why);
}

static int write_notes(struct copy *copy, struct writing *w)
{
	w->at_once = livemap_batch(copy->livemap) > NOTES_PER_COPY ? NOTES_PER_COPY : NOTES_IN_PLACE;
	/* first, as there may be new ones of the same names */
	for (size_t i = 0; i < copy->stale.count; i++)
		livemap_note(copy->livemap, copy->stale.list[i], NULL, 0);
	content_entries(copy->content, write_entry, w);
	for (size_t i = 0; i < copy->settings->rule_count; i++) {
		const struct rule_copy *r = &copy->rules[i];
		struct buf name = { 0 }, note = { 0 };

		cookie_name(&name, r->rule);
		cookie_encode(&note, r->rule, &r->cookie);
		/* without one, what there was must not be taken for the cookie of what is there now */
		livemap_note(copy->livemap, buf_str(&name), (r->cookie.len > 0 && !r->is_void) ? note.data : NULL, note.len);
		buf_free(&name);
		buf_free(&note);
	}
	if (copy->compared.server != NULL)
		livemap_note(copy->livemap, SYNC_COMPARED, copy->compared.server, strlen(copy->compared.server));
	if (copy->domains_due != copy->domains_noted)
		livemap_note(copy->livemap, SYNC_DOMAINS, copy->domains_due ? "due" : NULL, 3);
	return w->status;
}

static void report_conflict(void *context, const char *text)
{
	struct copy *copy = context;

	copy->complaints++;
	report(copy, text);
}

/* Rules for domains alone make no records. */
static bool makes_keys(const struct copy *copy)
{
	for (size_t i = 0; i < copy->settings->rule_count; i++)
		if (copy->settings->rules[i].key != NULL)
			return true;
	return false;
}

static enum shrinkage_verdict judge(const struct copy *copy, const struct content_counts *counts, struct shrinkage *shrinkage,
                                    struct buf *why)
{
	/* a first copy of which nothing could be told is none */
	const size_t hollow = counts->records == 0 ? counts->hollow : 0;
	const struct shrinking change = {
		.now = shrinkage_now(), .keys = counts->records, .removed = counts->removed,
		.left = counts->records + counts->added - counts->removed - hollow, .may_shrink = copy->settings->may_shrink,
	};
	const enum shrinkage_verdict verdict = shrinkage_judge(shrinkage, &change);

	switch (verdict) {
	case SHRINKAGE_FINE:
		break;
	case SHRINKAGE_TOO_MUCH:
		buf_addf(why, "%s: ", copy_path(copy));
		shrinkage_explain(shrinkage, &change, why);
		break;
	case SHRINKAGE_NO_KEYS:
		if (!makes_keys(copy) && content_has_entries(copy->content))
			return SHRINKAGE_FINE;
		buf_addf(why, "%s: the directory gives no usable entry%s", copy_path(copy),
		         livemap_is_missing(copy->livemap) ? "; no map was made" : ", and the map has none");
		break;
	}
	return verdict;
}

/* Map and list belong together: if the list of domains may not become what it would, neither does the map. */
static int judge_domains(const struct copy *copy, enum shrinkage_verdict *verdict, struct buf *why)
{
	char **list;
	int status;

	if (copy->settings->domains == NULL || !(copy->domains_due || content_has_new_domains(copy->content)))
		return EX_OK;
	list = content_domains(copy->content);
	status = copy->settings->judge_domains(copy->settings->domains, list, why);
	words_free(list);
	if (status == EX_TEMPFAIL)
		*verdict = SHRINKAGE_TOO_MUCH;
	return status;
}

static bool nothing_differs(void *context, struct livemap *livemap, const struct livemap_counts *counts)
{
	(void)context;
	(void)livemap;
	return counts->added + counts->changed + counts->removed == 0;
}

/*
 * Makes the map that is not there, with its records and no notes: without a cookie all is read again, should we be killed then.
 * Before it was watched another program may have put another one in its place: then it stays one that was not there, and
 * copy_is_changed().
 */
static int make_map(struct copy *copy, struct records *records, struct buf *why)
{
	struct livemap_settings map = copy->settings->livemap;
	struct livemap_counts counts;
	struct livemap *livemap = NULL;
	int status;

	records_sort(records);
	status = livemap_create(&map, records, NULL, why);
	if (status == EX_OK)
		livemap = livemap_open(&map, &status, why);
	if (status == EX_OK)
		status = livemap_watch(livemap, why);
	if (status == EX_OK)
		status = livemap_replace(livemap, records, NULL, nothing_differs, NULL, &counts, why);
	records_free(records);
	if (status == EX_OK)
		livemap_close(&copy->livemap);
	else
		livemap_close(&livemap);
	if (status == EX_OK)
		copy->livemap = livemap;
	return status;
}

int copy_flush(struct copy *copy, struct content_counts *counts, enum shrinkage_verdict *verdict, struct buf *why)
{
	struct shrinkage shrinkage = copy->shrinkage;
	struct records first = { 0 };
	struct writing writing = { .copy = copy, .why = why, .first = livemap_is_missing(copy->livemap) ? &first : NULL };
	int status = EX_OK;
	bool is_other_note;

	livemap_forget(copy->livemap);
	if (writing.first != NULL)
		content_changes(copy->content, copy->settings->unclear, add_first, &writing, counts);
	else
		content_changes(copy->content, copy->settings->unclear, write_change, copy, counts);
	*verdict = judge(copy, counts, &shrinkage, why);
	status = *verdict == SHRINKAGE_FINE ? judge_domains(copy, verdict, why) : EX_TEMPFAIL;
	if (status != EX_OK) {
		livemap_forget(copy->livemap);
		records_free(&first);
		return status;
	}
	is_other_note = counts->removed > 0 || shrinkage.may_be_empty != copy->shrinkage.may_be_empty;
	if (copy_state(copy) == COPY_CLEAN && !is_other_note)
		return EX_OK;
	copy->domains_due = copy->domains_due || content_has_new_domains(copy->content);
	if (writing.first != NULL && (status = make_map(copy, &first, why)) == EX_OK)
		content_written(copy->content);
	if (status == EX_OK)
		status = write_notes(copy, &writing);
	if (status == EX_OK && is_other_note) {
		struct buf note = { 0 };

		shrinkage_encode(&note, &shrinkage);
		livemap_note(copy->livemap, SYNC_SHRINKAGE, note.data, note.len);
		buf_free(&note);
	}
	if (status == EX_OK)
		status = livemap_commit(copy->livemap, why);
	if (status != EX_OK)
		return status;
	content_conflicts(copy->content, report_conflict, copy);
	copy->shrinkage = shrinkage;
	content_settled(copy->content);
	results_free(&copy->stale);
	copy->domains_noted = copy->domains_due;
	copy->has_new_compared = false;
	for (size_t i = 0; i < copy->settings->rule_count; i++)
		copy->rules[i].has_new_cookie = false;
	return EX_OK;
}
