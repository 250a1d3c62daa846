/*
 * Address literals of this machine, which are local domains (routing.md section 6.1).
 */
#ifndef ZL_DB_ROUTE_OWNADDRESS_H
#define ZL_DB_ROUTE_OWNADDRESS_H

#include "db/map/map.h"

/*
 * Is `domain` a literal ("[192.0.2.1]", "[IPv6:2001:db8::1]") with an address that an interface of this machine has,
 * or with one of the loopback (127/8, ::1)?
 * What is no literal is not found; could not tell if the interfaces cannot be asked.
 */
enum map_answer own_address(const char *domain) MAP_MUST_LOOK;

#endif
