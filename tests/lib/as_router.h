/*
 * Lookups in a Berkeley DB environment as ZMailer's router makes them: its flags, no help of ours.
 */
#ifndef ZL_TESTS_LIB_AS_ROUTER_H
#define ZL_TESTS_LIB_AS_ROUTER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <db.h>

#include "db/map/map.h"
#include "db/store/env.h"
#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/log.h"

/* `config` is a sleepyenv.conf; all who open it share `cache` bytes, 0 = what libdb likes.  Dies if that fails. */
static DB *router_open(const char *type, const char *base, const char *config, uint32_t cache, uint32_t flags)
{
	char *path = xasprintf("%s%s", base, map_suffix(type));
	struct env_config c;
	struct buf why = { 0 };
	DB *db = NULL;
	DB_ENV *env;
	int code;

	if (env_config_read(&c, config, &why) != EX_OK)
		die(EX_CONFIG, "%s", buf_str(&why));
	code = db_env_create(&env, 0);
	if (code == 0 && cache > 0)
		code = env->set_cachesize(env, 0, cache, 1);
	if (code == 0)
		code = env->open(env, c.home, DB_INIT_CDB | DB_INIT_MPOOL | DB_CREATE, 0);
	if (code == 0)
		code = db_create(&db, env, 0);
	if (code == 0)
		code = db->open(db, NULL, path, NULL, strcmp(type, "bhash") == 0 ? DB_HASH : DB_BTREE, flags, 0);
	if (code != 0)
		die(EX_TEMPFAIL, "%s: %s", path, db_strerror(code));
	free(path);
	env_config_free(&c);
	return db;
}

static enum map_answer router_find(DB *db, const char *key, struct buf *value)
{
	DBT k = { .data = (void *)(uintptr_t)key, .size = (uint32_t)strlen(key) + 1 }, v = { 0 };
	int code = db->get(db, NULL, &k, &v, 0);

	if (code == 0)
		buf_adds(value, v.data);
	return code == 0 ? MAP_FOUND : code == DB_NOTFOUND ? MAP_NOT_FOUND : MAP_COULD_NOT_TELL;
}

#endif
