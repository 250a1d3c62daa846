/*
 * The controls and messages of LDAP Content Synchronization (RFC 4533 section 2), to and from their bytes.
 */
#ifndef ZL_DB_SYNC_CONTROL_H
#define ZL_DB_SYNC_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include <ldap.h>

#include "lib/buf.h"

#define SYNC_UUID 16

struct sync_uuid {
	unsigned char bytes[SYNC_UUID];
};

enum sync_mode {
	SYNC_REFRESH_ONLY = LDAP_SYNC_REFRESH_ONLY,
	SYNC_REFRESH_AND_PERSIST = LDAP_SYNC_REFRESH_AND_PERSIST,
};

enum sync_state {
	SYNC_PRESENT,
	SYNC_ADD,
	SYNC_MODIFY,
	SYNC_DELETE,
};

/* Sync State Control of an entry (section 2.3).  An empty cookie is no cookie. */
struct sync_state_value {
	enum sync_state state;
	struct sync_uuid uuid;
	struct buf cookie;
};

/* Sync Done Control (section 2.4). */
struct sync_done_value {
	struct buf cookie;
	bool refresh_deletes;
};

enum sync_info_kind {
	SYNC_NEW_COOKIE,
	SYNC_INFO_REFRESH_DELETE,
	SYNC_INFO_REFRESH_PRESENT,
	SYNC_ID_SET,
};

/* Sync Info Message (section 2.5). */
struct sync_info_value {
	enum sync_info_kind kind;
	struct buf cookie;
	bool refresh_done;          /* of refreshDelete and refreshPresent */
	bool refresh_deletes;       /* of syncIdSet */
	struct sync_uuid *uuids;
	size_t count;
};

/* Makes the value of the Sync Request Control (section 2.2); `cookie` may be empty.  False if there is no memory. */
bool sync_request_encode(enum sync_mode mode, const struct buf *cookie, struct berval *value);

/* Each returns false if the bytes are damaged.  Free by the function below in either case. */
bool sync_state_decode(const struct berval *value, struct sync_state_value *state);
bool sync_done_decode(const struct berval *value, struct sync_done_value *done);
bool sync_info_decode(const struct berval *value, struct sync_info_value *info);

void sync_state_free(struct sync_state_value *state);
void sync_done_free(struct sync_done_value *done);
void sync_info_free(struct sync_info_value *info);

#endif
