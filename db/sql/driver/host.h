/*
 * One word of "hosts": HOST[:PORT], inet:HOST[:PORT], [IPV6]:PORT or unix:PATH.
 */
#ifndef ZL_DB_SQL_DRIVER_HOST_H
#define ZL_DB_SQL_DRIVER_HOST_H

#include <stdarg.h>

#include "db/sql/driver.h"

struct sql_host {
	char name[1024];     /* a host, or the path of a socket; "" for the library's default */
	char port[6];        /* "" for the usual one */
	bool is_socket;
};

/* False with `error` if it is none. */
bool sql_host_parse(struct sql_host *host, const char *text, struct sql_error *error);

/* Sets error->text; false. */
bool sql_fail(struct sql_error *error, bool is_lost, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
