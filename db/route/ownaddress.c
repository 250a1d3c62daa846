#include "db/route/ownaddress.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/text.h"

static bool same_address(const struct sockaddr *a, int family, const void *bytes)
{
	if (a == NULL || a->sa_family != family)
		return false;
	if (family == AF_INET)
		return memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr, bytes, 4) == 0;
	return memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, bytes, 16) == 0;
}

/* The family of the literal's address, whose bytes go to `bytes`; AF_UNSPEC if it is none. */
static int parse_literal(const char *domain, unsigned char bytes[16])
{
	size_t n = strlen(domain);
	char text[INET6_ADDRSTRLEN + sizeof "IPv6:"];
	bool ipv6;

	if (n < 3 || domain[0] != '[' || domain[n - 1] != ']' || n - 2 >= sizeof text)
		return AF_UNSPEC;
	memcpy(text, domain + 1, n - 2);
	text[n - 2] = '\0';
	ascii_lower_string(text);
	ipv6 = strncmp(text, "ipv6:", 5) == 0;
	if (inet_pton(ipv6 ? AF_INET6 : AF_INET, ipv6 ? text + 5 : text, bytes) != 1)
		return AF_UNSPEC;
	return ipv6 ? AF_INET6 : AF_INET;
}

enum map_answer own_address(const char *domain)
{
	unsigned char bytes[16];
	int family = parse_literal(domain, bytes);
	enum map_answer answer = MAP_NOT_FOUND;
	struct ifaddrs *all;

	if (family == AF_UNSPEC)
		return MAP_NOT_FOUND;
	if (getifaddrs(&all) < 0)
		return MAP_COULD_NOT_TELL;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
		if ((i->ifa_flags & IFF_UP) != 0 && same_address(i->ifa_addr, family, bytes))
			answer = MAP_FOUND;
	freeifaddrs(all);
	return answer;
}
