#include "channel/server/policy.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/parse.h"
#include "lib/text.h"

static const struct limit_row {
	const char *key;
	uint64_t usual, least, most;
	bool interval;
	const char *help;
} table[LIMITS] = {
	[LIMIT_SIZE] = { "size", 52428800, 1000, UINT64_MAX / 4, false, "bytes of a message" },
	[LIMIT_RECIPIENTS] = { "recipients", 1000, 1, 1000000, false, "recipients of a message" },
	[LIMIT_CONNECTIONS] = { "connections", 1000, 1, 100000, false, "connections at the same time" },
	[LIMIT_PER_ADDRESS] = { "per-address", 100, 1, 100000, false, "connections of one client address, TCP" },
	[LIMIT_PER_USER] = { "per-user", 200, 1, 100000, false, "connections of one local user beside root, UNIX" },
	[LIMIT_COMMANDS] = { "commands", 2000, 1, 1000000, false, "commands without a message between them" },
	[LIMIT_ERRORS] = { "errors", 20, 1, 1000000, false, "refused commands without a message between them" },
	[LIMIT_HOPS] = { "hops", 50, 1, 1000, false, "Received fields of a message" },
	[LIMIT_FREE] = { "free", 20, 0, 1000000000, false, "megabytes that stay free on the disk of the post office" },
	[LIMIT_INODES] = { "inodes", 100, 0, 1000000000, false, "files that can still be made there" },
	[LIMIT_MEMORY] = { "memory", 32, 1, 1000000, false, "megabytes of memory for all messages that are being received" },
	[LIMIT_COMMAND_TIME] = { "command-time", 300, 1, 86400, true, "for a command, or the next piece of a message" },
	[LIMIT_MESSAGE_TIME] = { "message-time", 3600, 1, 86400, true, "from MAIL to the end of the message" },
	[LIMIT_LOOKUP_TIME] = { "lookup-time", 20, 1, 3600, true, "for an answer of a slow map" },
	[LIMIT_LOOKUPS] = { "lookups", 8, 1, 1000, false, "questions to slow maps at the same time" },
};

void policy_init(struct policy *p)
{
	*p = (struct policy){ .relay = RELAY_LOCAL, .verify_with = "" };
	for (size_t i = 0; i < LIMITS; i++)
		p->limits[i] = table[i].usual;
}

void policy_free(struct policy *p)
{
	free(p->networks);
	p->networks = NULL;
	p->network_count = p->network_capacity = 0;
}

/* ---- settings ---- */

static bool refuse(const char *key, const char *value, const char *expected, struct buf *why)
{
	buf_addf(why, "%s=", key);
	text_add_clean_string(why, value, 100);
	buf_addf(why, ": expected %s", expected);
	return false;
}

static bool set_limit(struct policy *p, const struct limit_row *row, const char *value, struct buf *why)
{
	uint64_t number;
	int64_t seconds;
	bool ok = row->interval ? parse_interval(value, &seconds) : parse_number(value, UINT64_MAX, &number);
	char expected[80];

	if (ok && row->interval)
		number = (uint64_t)seconds;
	if (ok && number >= row->least && number <= row->most) {
		p->limits[row - table] = number;
		return true;
	}
	snprintf(expected, sizeof expected, "%s from %" PRIu64 " to %" PRIu64, row->interval ? "a time" : "a number", row->least,
	         row->most);
	return refuse(row->key, value, expected, why);
}

/* ::ffff:0:0/96 */
static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

/* An IPv4 network in the form for IPv6 sockets is an IPv4 network, as its clients are. */
static void unmap(struct network *n)
{
	if (n->family != AF_INET6 || n->bits < 96 || memcmp(n->address, mapped, sizeof mapped) != 0)
		return;
	memmove(n->address, n->address + sizeof mapped, 4);
	n->family = AF_INET;
	n->bits -= 96;
}

static bool set_networks(struct policy *p, const char *value, struct buf *why)
{
	for (size_t n; *value != '\0'; value += n + (value[n] == ',')) {
		struct network network;
		char *one, *copy, *slash;
		bool ok;
		uint64_t bits = 0;

		n = strcspn(value, ",");
		one = xstrndup(value, n);
		/* ADDRESS or ADDRESS/BITS */
		copy = xstrdup(one);
		slash = strchr(copy, '/');
		if (slash != NULL)
			*slash++ = '\0';
		network = (struct network){ .family = strchr(copy, ':') != NULL ? AF_INET6 : AF_INET };
		network.bits = network.family == AF_INET6 ? 128 : 32;
		ok = inet_pton(network.family, copy, network.address) == 1 &&
		        (slash == NULL || parse_number(slash, network.bits, &bits));
		if (slash != NULL)
			network.bits = (unsigned)bits;
		unmap(&network);
		free(copy);
		if (!ok)
			refuse("networks", one, "addresses such as 192.0.2.0/24,2001:db8::/32", why);
		free(one);
		if (!ok)
			return false;
		p->networks = xgrow(p->networks, p->network_count, &p->network_capacity, sizeof *p->networks);
		p->networks[p->network_count++] = network;
	}
	return true;
}

/* Which of the words (NULL at the end) a value is; -1 with `why` if it is none. */
static int choose(const char *key, const char *const *words, const char *value, const char *expected, struct buf *why)
{
	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(value, words[i]) == 0)
			return i;
	refuse(key, value, expected, why);
	return -1;
}

static bool set_relay(struct policy *p, const char *value, struct buf *why)
{
	static const char *const words[] = { [RELAY_NOBODY] = "none", [RELAY_LOCAL] = "local", [RELAY_ALL] = "all", NULL };
	const int word = choose("relay", words, value, "none, local or all", why);

	if (word >= 0)
		p->relay = (enum relay)word;
	return word >= 0;
}

static bool set_journal(struct policy *p, const char *value, struct buf *why)
{
	static const char *const words[] = {
		[JOURNAL_UNLESS_ZMAILER] = "auto", [JOURNAL_YES] = "yes", [JOURNAL_NO] = "no", NULL,
	};
	const int word = choose("journal", words, value, "auto, yes or no", why);

	if (word >= 0)
		p->journal = (enum journaling)word;
	return word >= 0;
}

static bool set_verify(struct policy *p, const char *value, struct buf *why)
{
	if (*value != '/')
		return refuse("verify", value, "the whole path of a cache", why);
	p->verify = value;
	return true;
}

static bool set_verify_with(struct policy *p, const char *value, struct buf *why)
{
	(void)why;
	p->verify_with = value;
	return true;
}

/* The keys that are no limits. */
static const struct key {
	const char *name;
	bool (*set)(struct policy *p, const char *value, struct buf *why);
	const char *form, *help;
} keys[] = {
	{ "journal", set_journal, "auto|yes|no", "accept by the journal (auto: unless ZMailer runs here)" },
	{ "networks", set_networks, "A/N,...", "who may connect by TCP beside this machine" },
	{ "relay", set_relay, "none|local|all", "whose mail may leave by channel smtp (local)" },
	{ "verify", set_verify, "CACHE", "ask the store for recipients, as lmtp -B with this cache" },
	{ "verify-with", set_verify_with, "ARGUMENTS", "of lmtp -B, as the agent has them (none)" },
};

bool policy_set(struct policy *p, const char *assignment, struct buf *why)
{
	size_t n = strcspn(assignment, "=");
	const char *value = assignment[n] == '=' ? assignment + n + 1 : "";
	char *name = xstrndup(assignment, n);
	const struct limit_row *limit = PARSE_ROW(table, name);
	const struct key *key = PARSE_ROW(keys, name);

	free(name);
	if (limit != NULL)
		return set_limit(p, limit, value, why);
	if (key != NULL)
		return key->set(p, value, why);
	text_add_clean_string(why, assignment, 100);
	buf_adds(why, ": there is no such key");
	return false;
}

static void add_help(struct buf *out, const char *key, const char *form, const char *help)
{
	int width = 22 - (int)strlen(key) - 1;

	buf_addf(out, "-O %s=%-*s%s", key, width, form, help);
}

void policy_help(struct buf *out)
{
	for (size_t i = 0; i < LIMITS; i++) {
		add_help(out, table[i].key, table[i].interval ? "TIME" : "N", table[i].help);
		buf_addf(out, " (%" PRIu64 "%s)\n", table[i].usual, table[i].interval ? "s" : "");
	}
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		add_help(out, keys[i].name, keys[i].form, keys[i].help);
		buf_addc(out, '\n');
	}
	add_help(out, "log", "keys|json", "form of the log lines (keys)");
	buf_addc(out, '\n');
}

/* ---- clients ---- */

/* IPv4 clients of an IPv6 socket are IPv4 clients. */
static const unsigned char *bytes_of(const struct sockaddr_storage *address, int *family)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	*family = address->ss_family;
	if (address->ss_family == AF_INET)
		return (const unsigned char *)&((const struct sockaddr_in *)address)->sin_addr;
	if (address->ss_family == AF_INET6 && memcmp(v6->sin6_addr.s6_addr, mapped, sizeof mapped) == 0) {
		*family = AF_INET;
		return v6->sin6_addr.s6_addr + sizeof mapped;
	}
	return address->ss_family == AF_INET6 ? v6->sin6_addr.s6_addr : NULL;
}

static bool is_in(const struct network *n, int family, const unsigned char *bytes)
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (family != n->family || memcmp(bytes, n->address, whole) != 0)
		return false;
	return rest == 0 || (bytes[whole] ^ n->address[whole]) >> (8 - rest) == 0;
}

bool policy_is_loopback(const struct sockaddr_storage *address)
{
	static const struct network v4 = { AF_INET, { 127 }, 8 }, v6 = { AF_INET6, { [15] = 1 }, 128 };
	int family;
	const unsigned char *bytes = bytes_of(address, &family);

	return bytes == NULL || is_in(&v4, family, bytes) || is_in(&v6, family, bytes);
}

bool policy_may_connect(const struct policy *p, const struct sockaddr_storage *address)
{
	int family;
	const unsigned char *bytes = bytes_of(address, &family);

	for (size_t i = 0; bytes != NULL && i < p->network_count; i++)
		if (is_in(&p->networks[i], family, bytes))
			return true;
	return policy_is_loopback(address);
}
