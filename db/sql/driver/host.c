#include "db/sql/driver/host.h"

#include <stdio.h>
#include <string.h>

bool sql_fail(struct sql_error *error, bool is_lost, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(error->text, sizeof error->text, format, ap);
	va_end(ap);
	/* libpq ends its messages with a line end */
	error->text[strcspn(error->text, "\n")] = '\0';
	error->is_lost = is_lost;
	return false;
}

bool sql_host_parse(struct sql_host *host, const char *text, struct sql_error *error)
{
	const char *name = text != NULL ? text : "", *colon;
	size_t n;

	*host = (struct sql_host){ .is_socket = strncmp(name, "unix:", 5) == 0 };
	if (host->is_socket || strncmp(name, "inet:", 5) == 0)
		name += 5;
	colon = host->is_socket ? NULL : strrchr(name, ':');
	n = colon != NULL ? (size_t)(colon - name) : strlen(name);
	if (name[0] == '[' && n > 2 && name[n - 1] == ']') {
		name++;
		n -= 2;
	}
	if (n >= sizeof host->name || (colon != NULL && (colon[1] == '\0' || strlen(colon + 1) >= sizeof host->port
		|| colon[1 + strspn(colon + 1, "0123456789")] != '\0')))
		return sql_fail(error, true, "expected HOST, HOST:PORT, inet:HOST:PORT or unix:/PATH");
	memcpy(host->name, name, n);
	if (colon != NULL)
		strcpy(host->port, colon + 1);
	return true;
}
