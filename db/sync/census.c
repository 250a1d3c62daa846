#include "db/sync/census.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "db/ldap/entry.h"
#include "lib/alloc.h"

/* So many hidden entries are enough to know. */
#define ENOUGH 3

#define UUID_TEXT 36

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "991be560-79fe-1041-8fdf-07869247b569" (RFC 4530) */
static bool parse_uuid(const char *text, size_t n, struct sync_uuid *uuid)
{
	size_t digits = 0;

	if (n != UUID_TEXT)
		return false;
	for (size_t i = 0; i < n; i++) {
		const int digit = hex_digit(text[i]);

		if (text[i] == '-')
			continue;
		if (digit < 0 || digits == 2 * SYNC_UUID)
			return false;
		uuid->bytes[digits / 2] = (unsigned char)(digits % 2 == 0 ? digit << 4 : uuid->bytes[digits / 2] | digit);
		digits++;
	}
	return digits == 2 * SYNC_UUID;
}

static void add_entry(LDAP *ld, LDAPMessage *m, struct census *census)
{
	struct ldap_entry entry;
	const struct ldap_attribute *a;
	struct sync_uuid uuid;

	if (ldap_entry_read(&entry, ld, m)) {
		a = ldap_entry_find(&entry, "entryUUID");
		if (a != NULL && parse_uuid(a->values[0].bytes, a->values[0].length, &uuid)) {
			census->uuids = xgrow(census->uuids, census->count, &census->capacity, sizeof *census->uuids);
			census->uuids[census->count++] = uuid;
		}
	}
	ldap_entry_free(&entry);
}

/* Asks for the entryUUIDs of what `filter` finds where the rule looks. */
static int search(LDAP *ld, const struct sync_rule *rule, const char *filter, long timeout, struct census *census)
{
	LDAPControl manage = { .ldctl_oid = (char[]){ LDAP_CONTROL_MANAGEDSAIT } };
	LDAPControl *controls[] = { &manage, NULL };
	char *attributes[] = { (char[]){ "entryUUID" }, NULL };
	int id, result = LDAP_SUCCESS;
	int code = ldap_search_ext(ld, rule->base, rule->scope, filter, attributes, 0, controls, NULL, NULL, LDAP_NO_LIMIT, &id);

	while (code == LDAP_SUCCESS) {
		struct timeval patience = { .tv_sec = timeout };
		LDAPMessage *m = NULL;
		int kind = ldap_result(ld, id, LDAP_MSG_ONE, &patience, &m);

		if (kind == LDAP_RES_SEARCH_ENTRY)
			add_entry(ld, m, census);
		else if (kind == LDAP_RES_SEARCH_RESULT)
			code = ldap_parse_result(ld, m, &result, NULL, NULL, NULL, NULL, 0);
		else if (kind <= 0)
			code = kind == 0 ? LDAP_TIMEOUT : LDAP_SERVER_DOWN;
		ldap_msgfree(m);
		if (kind == LDAP_RES_SEARCH_RESULT)
			return code != LDAP_SUCCESS ? code : result;
	}
	return code;
}

int census_take(LDAP *ld, const struct sync_rule *rule, long timeout, struct census *census)
{
	return search(ld, rule, rule->filter, timeout, census);
}

static void add_uuid(struct buf *filter, const struct sync_uuid *uuid)
{
	for (size_t i = 0; i < SYNC_UUID; i++)
		buf_addf(filter, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid->bytes[i]);
}

/* Whether the directory has the entry still. */
static int look_for(LDAP *ld, const struct sync_rule *rule, long timeout, const struct sync_uuid *uuid, size_t *found)
{
	struct buf filter = { 0 };
	struct census there = { 0 };
	int code;

	buf_adds(&filter, "(&(entryUUID=");
	add_uuid(&filter, uuid);
	buf_addf(&filter, ")%s)", rule->filter);
	code = search(ld, rule, buf_str(&filter), timeout, &there);
	*found += there.count;
	census_free(&there);
	buf_free(&filter);
	return code;
}

int census_check(LDAP *ld, const struct sync_rule *rule, long timeout, const struct census *census,
                 const struct content *content, unsigned number, size_t *hidden)
{
	int code = LDAP_SUCCESS;

	*hidden = 0;
	for (size_t i = 0; i < census->count && *hidden < ENOUGH && code == LDAP_SUCCESS; i++)
		if (!content_has(content, number, &census->uuids[i]))
			code = look_for(ld, rule, timeout, &census->uuids[i], hidden);
	return code;
}

void census_free(struct census *census)
{
	free(census->uuids);
	*census = (struct census){ 0 };
}
