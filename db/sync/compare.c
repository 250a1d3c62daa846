#include "db/sync/compare.h"

#include <stdlib.h>
#include <string.h>

#include "db/ldap/entry.h"
#include "db/ldap/escape.h"
#include "db/ldap/open.h"
#include "db/sync/content.h"
#include "lib/alloc.h"
#include "lib/settings.h"
#include "lib/text.h"

/* So many entries with one entryUUID are kept; what is beyond that is not looked at. */
#define TWINS 100

/* So many surplus entries are looked for by their names, to tell whether they are there for others. */
#define LOOK_AT 20

#define UUID_TEXT 36

/* ---- entryUUID ------------------------------------------------------------------------ */

/* "991be560-79fe-1041-8fdf-07869247b569" (RFC 4530) */
static bool uuid_of(const struct ldap_entry *entry, struct sync_uuid *uuid)
{
	const struct ldap_attribute *a = ldap_entry_find(entry, "entryUUID");
	size_t digits = 0;

	if (a == NULL || a->count != 1 || a->values[0].length != UUID_TEXT)
		return false;
	for (size_t i = 0; i < UUID_TEXT; i++) {
		const char c = a->values[0].bytes[i];
		const int digit = ascii_hex(c);

		if (c == '-')
			continue;
		if (digit < 0 || digits == 2 * SYNC_UUID)
			return false;
		uuid->bytes[digits / 2] = (unsigned char)(digits % 2 == 0 ? digit << 4 : uuid->bytes[digits / 2] | digit);
		digits++;
	}
	return digits == 2 * SYNC_UUID;
}

/* ---- searches --------------------------------------------------------------------------- */

/* Referral objects are entries here as in the refresh (session.c). */
static int search(struct comparison *c, LDAP *ld, const char *base, int scope, const char *filter, char **attributes)
{
	LDAPControl manage = { .ldctl_oid = (char[]){ LDAP_CONTROL_MANAGEDSAIT } };
	LDAPControl *controls[] = { &manage, NULL };

	return ldap_search_ext(ld, base, scope, filter, attributes, 0, controls, NULL, NULL, LDAP_NO_LIMIT, &c->id);
}

int compare_start(struct comparison *c, LDAP *ld, struct copy *copy, const struct sync_rule *rule, size_t number, bool first)
{
	char *few[] = { (char[]){ "entryUUID" }, (char[]){ "entryCSN" }, NULL };

	compare_free(c);
	c->copy = copy;
	c->rule = rule;
	c->number = number;
	c->stage = first ? COMPARE_LISTING_FIRST : COMPARE_LISTING;
	if (!first)
		copy_begin_round(copy, number);
	return search(c, ld, rule->base, rule->scope, rule->filter, first ? few : rule->attributes);
}

bool compare_is_open(const struct comparison *c)
{
	return c->stage != COMPARE_NONE && c->stage != COMPARE_LISTED && c->stage != COMPARE_DONE;
}

/* Whether a surplus entry is there, but not with what the filter asks for, as this reader sees it. */
static int look_for_next(struct comparison *c, LDAP *ld)
{
	char *nothing[] = { (char[]){ LDAP_NO_ATTRS }, NULL };

	/* with a filter that is true for all (RFC 4526), as this reader may not even see the objectClass */
	c->is_there = false;
	c->stage = c->names != NULL && c->names[c->looked] != NULL ? COMPARE_LOOKING : COMPARE_DONE;
	if (c->stage == COMPARE_DONE)
		return LDAP_SUCCESS;
	return search(c, ld, c->names[c->looked++], LDAP_SCOPE_BASE, "(&)", nothing);
}

static bool is_the_same_by_now(const struct comparison *c, const struct listed *entry)
{
	uint64_t version;

	return entry->version != 0 && copy_has(c->copy, c->number, &entry->uuid, &version) && version == entry->version;
}

/* Asks for the next entries of the list, without those that have come in another way meanwhile. */
static int read_portion(struct comparison *c, LDAP *ld)
{
	struct buf filter = { 0 };
	int code;

	while (c->asked < c->count && is_the_same_by_now(c, &c->list[c->asked]))
		c->list[c->asked++].is_known = true;
	c->stage = COMPARE_READING;
	c->portion = c->count - c->asked < COMPARE_PORTION ? c->count - c->asked : COMPARE_PORTION;
	if (c->portion == 0)
		return look_for_next(c, ld);
	buf_adds(&filter, "(&(|");
	for (size_t i = c->asked; i < c->asked + c->portion; i++) {
		buf_adds(&filter, "(entryUUID=");
		for (size_t k = 0; k < SYNC_UUID; k++)
			buf_addf(&filter, "%s%02x", k == 4 || k == 6 || k == 8 || k == 10 ? "-" : "", c->list[i].uuid.bytes[k]);
		buf_adds(&filter, ")");
	}
	buf_addf(&filter, ")%s)", c->rule->filter);
	code = search(c, ld, c->rule->base, c->rule->scope, buf_str(&filter), c->rule->attributes);
	buf_free(&filter);
	return code;
}

/* ---- the list ------------------------------------------------------------------------------ */

static void add_listed(struct comparison *c, const struct sync_uuid *uuid, uint64_t version)
{
	c->list = xgrow(c->list, c->count, &c->capacity, sizeof *c->list);
	c->list[c->count++] = (struct listed){ .uuid = *uuid, .version = version };
}

/* What rights the reader has no version tells: values are looked at as well. */
static void take_listed(struct comparison *c, const struct ldap_entry *entry)
{
	uint64_t version = rule_version(entry), has;
	struct sync_uuid uuid;

	/* without it there is nothing to compare by, and all that the copy has would seem to be surplus */
	if (!uuid_of(entry, &uuid)) {
		c->lacks_uuid = true;
		return;
	}
	c->counts.entries++;
	if (c->stage == COMPARE_LISTING && copy_see(c->copy, c->number, &uuid, &has) && has == version && version != 0) {
		if (copy_is_same(c->copy, c->number, &uuid, entry))
			return;
		version = 0;
	}
	add_listed(c, &uuid, version);
}

static int compare_listed(const void *a, const void *b)
{
	return memcmp(((const struct listed *)a)->uuid.bytes, ((const struct listed *)b)->uuid.bytes, SYNC_UUID);
}

/* Several entries with one entryUUID are asked for once; what they have is not told by a version. */
static void make_unique(struct comparison *c)
{
	size_t kept = 0;

	if (c->count > 1)
		qsort(c->list, c->count, sizeof *c->list, compare_listed);
	for (size_t i = 0; i < c->count; i++) {
		if (kept > 0 && compare_listed(&c->list[kept - 1], &c->list[i]) == 0)
			c->list[kept - 1].version = 0;
		else
			c->list[kept++] = c->list[i];
	}
	c->count = kept;
}

static void add_unseen(void *context, const struct sync_uuid *uuid)
{
	add_listed(context, uuid, 0);
}

int compare_after_full_read(struct comparison *c, LDAP *ld)
{
	size_t kept = 0;
	uint64_t version;

	for (size_t i = 0; i < c->count; i++)
		if (!copy_has(c->copy, c->number, &c->list[i].uuid, &version))
			c->list[kept++] = c->list[i];
	c->count = kept;
	c->follows_full_read = true;
	make_unique(c);
	return read_portion(c, ld);
}

/* ---- what differs ------------------------------------------------------------------------------ */

static struct listed *find_asked(struct comparison *c, const struct sync_uuid *uuid)
{
	for (size_t i = c->asked; i < c->asked + c->portion; i++)
		if (memcmp(c->list[i].uuid.bytes, uuid->bytes, SYNC_UUID) == 0)
			return &c->list[i];
	return NULL;
}

/* Entries with one entryUUID belong together: they are kept until all of them have come. */
static void take_read(struct comparison *c, struct ldap_entry *entry)
{
	struct sync_uuid uuid;
	const struct listed *listed = uuid_of(entry, &uuid) ? find_asked(c, &uuid) : NULL;
	struct found **end;
	size_t n = 0;

	if (listed == NULL)
		return;
	for (end = &c->found[listed - &c->list[c->asked]]; *end != NULL; end = &(*end)->next)
		n++;
	if (n == TWINS)
		return;
	*end = xcalloc(1, sizeof **end);
	(*end)->entry = *entry;
	*entry = (struct ldap_entry){ 0 };
}

static void free_found(struct comparison *c)
{
	for (size_t i = 0; i < COMPARE_PORTION; i++) {
		while (c->found[i] != NULL) {
			struct found *first = c->found[i];

			c->found[i] = first->next;
			ldap_entry_free(&first->entry);
			free(first);
		}
	}
}

static void settle_found(struct comparison *c, const struct listed *listed, const struct found *found)
{
	uint64_t version;
	const bool was_there = copy_has(c->copy, c->number, &listed->uuid, &version);

	copy_set_twins(c->copy, c->number, &listed->uuid, found->next != NULL);
	if (listed->is_known)
		return;
	/* it was there before the refresh, and the refresh left it out */
	if (c->follows_full_read && rule_version(&found->entry) == listed->version)
		c->counts.hidden++;
	if (copy_put(c->copy, c->number, &listed->uuid, found))
		*(was_there ? &c->counts.changed : &c->counts.missing) += 1;
}

void compare_told(struct comparison *c, const struct sync_uuid *uuid)
{
	struct listed *listed = c->stage == COMPARE_READING ? find_asked(c, uuid) : NULL;

	if (listed != NULL)
		listed->is_known = true;
}

static int end_of_search(struct comparison *c, LDAP *ld)
{
	uint64_t version;

	switch (c->stage) {
	case COMPARE_LISTING_FIRST:
		c->stage = COMPARE_LISTED;
		return LDAP_SUCCESS;
	case COMPARE_LISTING:
		if (c->lacks_uuid) {
			c->stage = COMPARE_DONE;
			return LDAP_SUCCESS;
		}
		make_unique(c);
		copy_each_unseen(c->copy, c->number, add_unseen, c);
		return read_portion(c, ld);
	case COMPARE_READING:
		for (size_t i = 0; i < c->portion; i++) {
			const struct listed *listed = &c->list[c->asked + i];
			struct buf name = { 0 };

			if (c->found[i] != NULL)
				settle_found(c, listed, c->found[i]);
			/* those that were asked for and not found are gone */
			if (c->found[i] != NULL || listed->is_known || !copy_has(c->copy, c->number, &listed->uuid, &version))
				continue;
			if (c->counts.surplus++ < LOOK_AT && copy_name(c->copy, c->number, &listed->uuid, &name))
				words_add(&c->names, buf_str(&name));
			copy_drop(c->copy, c->number, &listed->uuid);
			buf_free(&name);
		}
		free_found(c);
		c->asked += c->portion;
		return read_portion(c, ld);
	default:
		return LDAP_SUCCESS;
	}
}

int compare_take(struct comparison *c, LDAP *ld, LDAPMessage *message)
{
	struct ldap_entry entry = { 0 };
	int code = LDAP_SUCCESS;

	switch (ldap_msgtype(message)) {
	case LDAP_RES_SEARCH_ENTRY:
		if (!ldap_entry_read(&entry, ld, message))
			code = LDAP_DECODING_ERROR;
		else if (c->stage == COMPARE_READING)
			take_read(c, &entry);
		else if (c->stage == COMPARE_LOOKING)
			c->is_there = true;
		else
			take_listed(c, &entry);
		ldap_entry_free(&entry);
		return code;
	case LDAP_RES_SEARCH_RESULT:
		code = ldap_code_of(ld, message, LDAP_RES_SEARCH_RESULT, NULL);
		if (c->stage == COMPARE_LOOKING) {
			/* one that may not be seen at all is "no such object" for most servers; some say what it is */
			if (code == LDAP_SERVER_DOWN || code == LDAP_PROTOCOL_ERROR)
				return code;
			c->counts.unseen += c->is_there || code == LDAP_INSUFFICIENT_ACCESS;
			return look_for_next(c, ld);
		}
		return code != LDAP_SUCCESS ? code : end_of_search(c, ld);
	case LDAP_RES_SEARCH_REFERENCE:
		return LDAP_REFERRAL;
	default:
		return LDAP_PROTOCOL_ERROR;
	}
}

void compare_free(struct comparison *c)
{
	free_found(c);
	free(c->list);
	words_free(c->names);
	*c = (struct comparison){ 0 };
}
