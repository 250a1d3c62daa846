#include "channel/net/target.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "lib/alloc.h"
#include "lib/parse.h"

static struct target *make(enum target_kind kind, const char *text, char *name, uint16_t port)
{
	struct target *t = xcalloc(1, sizeof *t);

	t->kind = kind;
	t->text = xstrdup(text);
	t->name = name;
	t->port = port;
	return t;
}

void target_destroy(struct target **target)
{
	struct target *t = *target;

	if (t == NULL)
		return;
	addresses_release(&t->addresses);
	free(t->text);
	free(t->name);
	free(t);
	*target = NULL;
}

static struct target *create_unix(const char *text, const char *path, struct buf *why)
{
	struct sockaddr_un un;

	if (path[0] != '/') {
		buf_addf(why, "%s: the path of a socket must begin with /", text);
		return NULL;
	}
	if (strlen(path) >= sizeof un.sun_path) {
		buf_addf(why, "%s: a socket's path has at most %zu bytes", text, sizeof un.sun_path - 1);
		return NULL;
	}
	return make(TARGET_UNIX, text, xstrdup(path), 0);
}

/* The address inside brackets without its "IPv6:" in any of the three spellings. */
static const char *strip_prefix(const char *s)
{
	if (strncasecmp(s, "IPv6", 4) == 0 && (s[4] == ':' || s[4] == '.' || s[4] == ' '))
		return s + 5;
	return s;
}

static bool is_address(const char *s)
{
	unsigned char address[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, s, address) == 1 || inet_pton(AF_INET6, s, address) == 1;
}

/* What stands behind an address or name: nothing, or a colon and a port. */
static bool take_port(const char *text, const char *rest, uint16_t *port, struct buf *why)
{
	uint64_t given;

	if (rest[0] == '\0')
		return true;
	if (rest[0] != ':' || !parse_number(rest + 1, 65535, &given) || given == 0) {
		buf_addf(why, "%s: expected a port between 1 and 65535 instead of \"%s\"", text,
		         rest[0] == ':' ? rest + 1 : rest);
		return false;
	}
	*port = (uint16_t)given;
	return true;
}

static struct target *create_literal(const char *text, uint16_t port, struct buf *why)
{
	const char *end = strchr(text, ']');
	char *inside;

	if (end == NULL) {
		buf_addf(why, "%s: no ] after the address", text);
		return NULL;
	}
	if (!take_port(text, end + 1, &port, why))
		return NULL;
	inside = xstrndup(text + 1, (size_t)(end - text - 1));
	memmove(inside, strip_prefix(inside), strlen(strip_prefix(inside)) + 1);
	if (!is_address(inside)) {
		buf_addf(why, "%s: not an IPv4 or IPv6 address", text);
		free(inside);
		return NULL;
	}
	return make(TARGET_LITERAL, text, inside, port);
}

/* A host name or an address without brackets, with ":port" or without. */
static struct target *create_name(const char *text, uint16_t port, struct buf *why)
{
	const char *colon = strchr(text, ':');
	size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
	char *name;

	if (is_address(text))
		return make(TARGET_LITERAL, text, xstrdup(text), port);
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && strchr("-._", text[i]) == NULL)
			length = 0;
	if (length == 0) {
		buf_addf(why, "%s: expected UNIX:/path, [address], [address]:port, name or name:port", text);
		return NULL;
	}
	if (!take_port(text, text + length, &port, why))
		return NULL;
	name = xstrndup(text, length);
	return make(is_address(name) ? TARGET_LITERAL : TARGET_NAME, text, name, port);
}

struct target *target_create(const char *text, uint16_t port, struct buf *why)
{
	if (strncasecmp(text, "UNIX:", 5) == 0)
		return create_unix(text, text + 5, why);
	if (text[0] == '[')
		return create_literal(text, port, why);
	return create_name(text, port, why);
}

struct addresses *target_addresses(struct target *t)
{
	if (t->addresses == NULL) {
		switch (t->kind) {
		case TARGET_UNIX: t->addresses = addresses_of_socket(t->name); break;
		case TARGET_LITERAL: t->addresses = addresses_of_literal(t->name, t->port); break;
		case TARGET_NAME: t->addresses = addresses_of_name(t->name, t->port); break;
		}
	}
	return addresses_share(t->addresses);
}

void target_forget(struct target *t, const struct addresses *addresses)
{
	if (t->addresses == addresses)
		addresses_release(&t->addresses);
}

void target_format_address(const struct sockaddr *address, socklen_t length, struct buf *out)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getnameinfo(address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		buf_adds(out, "UNKNOWN|0");
	else
		buf_addf(out, "%s%s|%s", address->sa_family == AF_INET6 ? "ipv6 " : "", host, port);
}
