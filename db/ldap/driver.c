#include "db/ldap/driver.h"

#include <stdlib.h>
#include <sysexits.h>

#include "db/ldap/collect.h"
#include "db/ldap/conf.h"
#include "db/ldap/conn.h"
#include "lib/alloc.h"
#include "lib/cache.h"
#include "lib/clock.h"
#include "lib/module.h"

struct ldap_source {
	struct ldapconf conf;
	struct ldapconn *connection;
	struct cache *cache;         /* NULL if nothing is kept */
};

static void close_source(struct ldap_source *s)
{
	ldapconn_release(&s->connection);
	cache_destroy(&s->cache);
	ldapconf_free(&s->conf);
	free(s);
}

static int open_source(struct ldap_source **source, const char *path, struct buf *why)
{
	struct ldap_source *s = xcalloc(1, sizeof *s);
	int status = ldapconf_read(&s->conf, path, why);

	if (status != EX_OK) {
		close_source(s);
		return status;
	}
	s->connection = ldapconn_get(&s->conf.access);
	if (s->conf.cache_size > 0 && (s->conf.cache_expiry > 0 || s->conf.cache_negative_expiry > 0))
		s->cache = cache_create(s->conf.cache_size);
	*source = s;
	return EX_OK;
}

static enum map_answer ask_directory(struct ldap_source *s, const char *key, size_t n, struct buf *value, struct buf *why)
{
	const int64_t deadline = clock_ms() + s->conf.access.timeout * 1000;

	return ldap_collect(&s->conf, s->connection, key, n, deadline, value, why);
}

static enum map_answer find(struct ldap_source *s, const char *key, size_t n, struct buf *value, struct buf *why)
{
	struct buf k = { 0 }, part = { 0 }, answered = { 0 };
	const struct buf no_part = { 0 };
	enum map_answer answer;
	long lifetime;
	bool found = false;

	if (!ldapconf_fits(&s->conf, key, n))
		return MAP_NOT_FOUND;
	if (s->cache == NULL)
		return ask_directory(s, key, n, value, why);
	buf_add(&k, key, n);
	if (cache_find(s->cache, &k, clock_ms(), &found, value, &part)) {
		answer = found ? MAP_FOUND : MAP_NOT_FOUND;
	} else {
		answer = ask_directory(s, key, n, &answered, why);
		lifetime = answer == MAP_FOUND ? s->conf.cache_expiry : s->conf.cache_negative_expiry;
		if (answer != MAP_COULD_NOT_TELL && lifetime > 0)
			cache_add(s->cache, &k, answer == MAP_FOUND ? &answered : NULL, &no_part, clock_ms() + lifetime * 1000);
		buf_add(value, buf_str(&answered), answered.len);
	}
	buf_free(&k);
	buf_free(&part);
	buf_free(&answered);
	return answer;
}

MODULE_EXPORT const struct ldap_driver zlmtp_ldap_driver = {
	.version = LDAP_DRIVER_VERSION, .open = open_source, .find = find, .close = close_source,
};
