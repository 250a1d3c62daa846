/* Config files of LDAP maps and of ldapsync: taken whole, or refused with one line that names the file; the key fits or it does not. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "config.h"

#if HAVE_LDAP

#include "db/ldap/conf.h"
#include "db/sync/syncconf.h"

static void check_fault(int status, const struct buf *why)
{
	if ((status != EX_CONFIG && status != EX_NOINPUT) || why->len == 0 || memchr(why->data, '\n', why->len) != NULL)
		abort();
}

static void as_map(const char *text, size_t size)
{
	struct ldapconf c;
	struct buf why = { 0 };
	int status = ldapconf_parse(&c, "f", text, size, &why);

	if (status != EX_OK)
		check_fault(status, &why);
	else if (c.access.uris == NULL || c.access.uris[0] == NULL || c.result_count == 0 || c.attributes == NULL || why.len > 0 ||
	         c.access.timeout <= 0 || (c.access.bind == LDAP_BIND_SIMPLE && c.access.binddn != NULL && c.access.password == NULL))
		abort();
	if (status == EX_OK)
		ldapconf_fits(&c, text, size);
	ldapconf_free(&c);
	buf_free(&why);
}

static void as_sync(const char *text, size_t size)
{
	struct syncconf c;
	struct buf why = { 0 };
	int status = syncconf_parse(&c, "f", text, size, &why);

	if (status != EX_OK)
		check_fault(status, &why);
	else if (c.rule_count == 0 || c.map == NULL || c.map[0] != '/' || why.len > 0)
		abort();
	for (size_t i = 0; status == EX_OK && i < c.rule_count; i++)
		if (c.rules[i].attributes == NULL || c.rules[i].definition == NULL || (c.rules[i].key == NULL && c.rules[i].domain == NULL))
			abort();
	syncconf_free(&c);
	buf_free(&why);
}

#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#if HAVE_LDAP
	/* files are not to be read or waited for */
	if (memmem(data, size, "include", 7) != NULL || memmem(data, size, "INCLUDE", 7) != NULL || memmem(data, size, "file", 4) != NULL)
		return 0;
	as_map((const char *)data, size);
	as_sync((const char *)data, size);
#else
	(void)data;
	(void)size;
#endif
	return 0;
}
