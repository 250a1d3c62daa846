#include "channel/net/target.h"

#include <arpa/inet.h>
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

static struct target *create_literal(const char *text, uint16_t port, struct buf *why)
{
	const char *end = strchr(text, ']');
	unsigned char address[sizeof(struct in6_addr)];
	uint64_t given;
	char *inside;

	if (end == NULL) {
		buf_addf(why, "%s: no ] after the address", text);
		return NULL;
	}
	if (end[1] == ':' && parse_number(end + 2, 65535, &given) && given > 0) {
		port = (uint16_t)given;
	} else if (end[1] != '\0') {
		buf_addf(why, "%s: expected a port between 1 and 65535 behind ]:", text);
		return NULL;
	}
	inside = xstrndup(text + 1, (size_t)(end - text - 1));
	memmove(inside, strip_prefix(inside), strlen(strip_prefix(inside)) + 1);
	if (inet_pton(AF_INET, inside, address) != 1 && inet_pton(AF_INET6, inside, address) != 1) {
		buf_addf(why, "%s: not an IPv4 or IPv6 address", text);
		free(inside);
		return NULL;
	}
	return make(TARGET_LITERAL, text, inside, port);
}

struct target *target_create(const char *text, uint16_t port, struct buf *why)
{
	if (strncasecmp(text, "UNIX:", 5) == 0)
		return create_unix(text, text + 5, why);
	if (text[0] == '[')
		return create_literal(text, port, why);
	if (text[0] == '\0' || strpbrk(text, " \t/") != NULL) {
		buf_addf(why, "%s: neither UNIX:/path, [address] nor a host name", text);
		return NULL;
	}
	return make(TARGET_NAME, text, xstrdup(text), port);
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
