#include "channel/net/local.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "channel/net/target.h"
#include "lib/text.h"

static bool of_interface(const char *name, sa_family_t family, struct sockaddr_storage *address, socklen_t *length)
{
	struct ifaddrs *list;
	bool found = false;

	if (getifaddrs(&list) < 0)
		return false;
	for (const struct ifaddrs *i = list; i != NULL && !found; i = i->ifa_next) {
		sa_family_t is = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;

		if (strcmp(i->ifa_name, name) != 0 || (is != AF_INET && is != AF_INET6) || (family != 0 && is != family))
			continue;
		*length = is == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
		memcpy(address, i->ifa_addr, *length);
		found = true;
	}
	freeifaddrs(list);
	return found;
}

bool local_address(const char *text, struct sockaddr_storage *address, socklen_t *length, struct buf *why)
{
	struct target *literal;
	struct addresses *addresses;
	bool ok;

	memset(address, 0, sizeof *address);
	*length = 0;
	if (ascii_equal(text, "any") || ascii_equal(text, "any6"))
		return true;
	if (strncasecmp(text, "iface:", 6) == 0) {
		const bool is_v4 = strncasecmp(text + 6, "v4:", 3) == 0, is_v6 = strncasecmp(text + 6, "v6:", 3) == 0;

		text += is_v4 || is_v6 ? 9 : 6;
		if (of_interface(text, is_v4 ? AF_INET : is_v6 ? AF_INET6 : AF_UNSPEC, address, length))
			return true;
		buf_addf(why, "no interface %s, or none with such an address", text);
		return false;
	}
	if (text[0] != '[') {
		buf_addf(why, "%s: expected any, any6, [address] or iface:NAME", text);
		return false;
	}
	literal = target_create(text, 0, why);
	if (literal == NULL)
		return false;
	addresses = target_addresses(literal);
	ok = addresses->state == ADDRESSES_FOUND;
	if (ok) {
		*address = addresses->list[0];
		*length = addresses->lengths[0];
	} else {
		buf_adds(why, buf_str(&addresses->why));
	}
	addresses_release(&addresses);
	target_destroy(&literal);
	return ok;
}
