#include "db/route/ownaddress.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "db/grammar/address.h"

static bool same_address(const struct sockaddr *a, int family, const void *bytes)
{
	if (a == NULL || a->sa_family != family)
		return false;
	if (family == AF_INET)
		return memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr, bytes, 4) == 0;
	return memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, bytes, 16) == 0;
}

/* What leads to this machine whatever its interfaces have: all of 127/8, and ::1 also where IPv6 is turned off. */
static bool is_loopback(int family, const unsigned char *bytes)
{
	return family == AF_INET ? bytes[0] == IN_LOOPBACKNET : memcmp(&in6addr_loopback, bytes, 16) == 0;
}

enum map_answer own_address(const char *domain)
{
	unsigned char bytes[16];
	int family = address_literal(domain, strlen(domain), bytes);
	enum map_answer answer = MAP_NOT_FOUND;
	struct ifaddrs *all;

	if (family == AF_UNSPEC)
		return MAP_NOT_FOUND;
	if (is_loopback(family, bytes))
		return MAP_FOUND;
	if (getifaddrs(&all) < 0)
		return MAP_COULD_NOT_TELL;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
		if ((i->ifa_flags & IFF_UP) != 0 && same_address(i->ifa_addr, family, bytes))
			answer = MAP_FOUND;
	freeifaddrs(all);
	return answer;
}
