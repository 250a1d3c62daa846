/*
 * Healing a map and its environment.
 *
 * A wedged environment: every process that uses it must end, then its regions are removed, and the map is verified; a
 * damaged one is rebuilt from its journal.  Then the environment is made again and what only the journal has is put
 * into the map.  At no moment does a damaged map stand where a router would open it once this has begun.
 */
#ifndef ZL_DB_LIVE_CDB_RECOVER_H
#define ZL_DB_LIVE_CDB_RECOVER_H

#include <stdbool.h>

#include "db/live/live.h"
#include "db/live/livemap.h"
#include "lib/buf.h"

struct recovery_options {
	struct livemap_settings settings;
	bool force;              /* stop others that use the environment; our own workers are always stopped */
	bool adopt;              /* the map counts, not the journal */
	struct live_teller teller;
};

/*
 * Repairs what is damaged or wedged.  EX_OK: it is healthy now.  EX_TEMPFAIL: others use the environment (`why` names them) and
 * force was not given, or do not go.  EX_DATAERR: the map is damaged and there is nothing to make it from.  EX_NOINPUT: no such
 * map.  May be called again after any result, and after it was killed.
 */
int recover_map(const struct recovery_options *options, struct buf *why);

#endif
