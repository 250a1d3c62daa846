/*
 * Files of SQL maps and of sqlsync, and the query in them: taken whole, or refused with a line that names the file; the key fits or it
 * does not.  The first byte is the database.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/sql/conf.h"
#include "db/sync/sqlsource.h"

static void check_fault(int status, const struct buf *why)
{
	if ((status != EX_CONFIG && status != EX_NOINPUT) || why->len == 0)
		abort();
}

static void as_map(const char *type, const char *text, size_t size)
{
	struct sqlconf c;
	struct buf why = { 0 };
	int status = sqlconf_parse(&c, type, "f", text, size, &why);

	if (status != EX_OK)
		check_fault(status, &why);
	else if (c.access.dbname == NULL || !pattern_uses_key(&c.query.pattern) || c.query.bare == NULL || why.len > 0 || c.access.timeout <= 0)
		abort();
	if (status == EX_OK)
		sqlconf_fits(&c, text, size);
	sqlconf_free(&c);
	buf_free(&why);
}

static void as_sync(const char *text, size_t size)
{
	struct sqlsource s;
	struct buf why = { 0 };
	int status = sqlsource_parse(&s, "f", text, size, &why);

	if (status != EX_OK)
		check_fault(status, &why);
	else if (s.map.base == NULL || s.map.base[0] != '/' || s.query == NULL || s.database == NULL || s.interval <= 0 || why.len > 0)
		abort();
	sqlsource_free(&s);
	buf_free(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = { "pgsql", "mysql", "sqlite" };

	/* files are not to be read or waited for */
	if (size < 1 || memmem(data, size, "include", 7) != NULL || memmem(data, size, "INCLUDE", 7) != NULL)
		return 0;
	as_map(types[data[0] % 3], (const char *)data + 1, size - 1);
	as_sync((const char *)data + 1, size - 1);
	return 0;
}
