#include "db/grammar/value.h"

#include <string.h>

#include "db/grammar/address.h"
#include "db/grammar/destination.h"
#include "db/grammar/members.h"
#include "db/grammar/router_list.h"

/* References that ZMailer puts something in for (routing.md section 3); our router knows %0 to %5 everywhere. */
#define LAST_ARGUMENT '5'
#define ALIAS_ARGUMENTS 0x3       /* %0 %1 */
#define ROUTE_ARGUMENTS 0x3f      /* %0 to %5 */
#define DOMAIN_ARGUMENTS 0x1      /* %0 */
#define OUR_ARGUMENTS 0x3f        /* %0 to %5 */

static const struct {
	const char *relation;
	enum value_kind kind;
	int known;
} relations[] = {
	{ "aliases", VALUE_ADDRESSES, 0 },
	{ "fqdnaliases", VALUE_ADDRESSES, ALIAS_ARGUMENTS },
	{ "fqdnaliasesldap", VALUE_ADDRESSES, ALIAS_ARGUMENTS },
	{ "fqdnroutes", VALUE_ROUTE, ROUTE_ARGUMENTS },
	{ "fullnamemap", VALUE_ADDRESSES, 0 },
	{ "mboxmap", VALUE_MAILBOX, 0 },
	{ "routesdb", VALUE_ROUTE, DOMAIN_ARGUMENTS },
	{ "thishost", VALUE_DOMAIN, DOMAIN_ARGUMENTS },
	{ "userdb", VALUE_ADDRESSES, 0 },
};

void value_check_for(struct value_check *check, const char *relation, bool references, bool router)
{
	*check = (struct value_check){ .kind = VALUE_ANY, .references = references, .router = router };
	for (size_t i = 0; i < sizeof relations / sizeof relations[0]; i++) {
		if (strcmp(relations[i].relation, relation) != 0)
			continue;
		check->kind = relations[i].kind;
		check->known = relations[i].known;
	}
}

void value_check_free(struct value_check *check)
{
	pool_free(&check->pool);
}

/* ---- references ------------------------------------------------------------------- */

static bool check_references(const struct value_check *check, const struct record *record, size_t *offset,
                             const char **why, bool *is_warning)
{
	const char *p = strchr(record->value, '%');
	int known = check->router ? check->known : OUR_ARGUMENTS;

	/* the first "%n" that nothing is put in for */
	while (p != NULL && !(p[1] >= '0' && p[1] <= '9' && (known & 1 << (p[1] - '0')) == 0))
		p = strchr(p + (p[1] == '%' ? 2 : 1), '%');
	if (p == NULL)
		return true;
	*offset = (size_t)(p - record->value);
	*is_warning = p[1] <= LAST_ARGUMENT;
	*why = *is_warning ? "ZMailer's own scripts put nothing in for this reference in maps of this relation; those of zlmtp do, but in routesdb"
	                   : "nothing is ever put in for this reference";
	return false;
}

/* Without -% in the lookup options "%2" goes out as it stands, to a user whom no store has. */
static bool check_no_references(const struct record *record, size_t *offset, const char **why, bool *is_warning)
{
	const char *p = strchr(record->value, '%');

	while (p != NULL && !(p[1] >= '0' && p[1] <= LAST_ARGUMENT))
		p = strchr(p + 1, '%');
	if (p == NULL)
		return true;
	*offset = (size_t)(p - record->value);
	*why = "nothing is put in for this reference, as the lookup options of this map have no \"%\": -lm%: is usual";
	*is_warning = true;
	return false;
}

/* ---- values ------------------------------------------------------------------------- */

static bool check_addresses(struct value_check *check, const struct record *record, size_t *offset, const char **why)
{
	struct member *members;
	size_t count;

	if (!members_parse(&check->pool, record->value, record->value_length,
	                   check->references ? ADDRESS_TEMPLATE : ADDRESS_PLAIN, &members, &count, offset, why))
		return false;
	*why = "expected an address";
	*offset = 0;
	return count > 0;
}

bool value_is_good(void *context, const struct record *record, size_t *offset, const char **why, bool *is_warning)
{
	struct value_check *check = context;
	struct destination destination;
	const char *colon;
	bool ok = true;

	*is_warning = false;
	*offset = 0;
	pool_reset(&check->pool);
	switch (check->kind) {
	case VALUE_ANY:
		return true;
	case VALUE_ADDRESSES:
		ok = check_addresses(check, record, offset, why);
		break;
	case VALUE_ROUTE:
		ok = destination_parse(&check->pool, record->value, &destination, why);
		break;
	case VALUE_DOMAIN:
		/* references may stand anywhere; what is put in is not known here */
		*why = "expected a domain, or nothing";
		ok = record->value_length == 0 || strchr(record->value, '%') != NULL ||
		     address_domain_ok(record->value, record->value_length);
		break;
	case VALUE_MAILBOX:
		*why = "expected host:directory:user";
		colon = strchr(record->value, ':');
		colon = colon != NULL ? strchr(colon + 1, ':') : NULL;
		ok = colon != NULL && colon[1] != '\0';
		break;
	}
	if (ok && check->router && check->kind == VALUE_ADDRESSES) {
		*why = router_list_refused(record->value, record->value_length, check->references, offset);
		*is_warning = *why != NULL;
		ok = *why == NULL;
	}
	if (!ok)
		return false;
	return check->references ? check_references(check, record, offset, why, is_warning)
	                         : check_no_references(record, offset, why, is_warning);
}
