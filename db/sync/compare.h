/*
 * The comparison of the whole: what no message of RFC 4533 can say.
 *
 * A server tells what was changed since a cookie.  It cannot tell of entries that its reader may see now or may not see any
 * more, of subtrees that were moved, of what it forgot in a crash, or of a directory that was loaded again; and
 * OpenLDAP leaves out of a refresh what is newer than its own mark (contextCSN).  So now and then an ordinary search
 * lists all entries, with entryUUID, entryCSN and what the rule makes use of, as rights change values without a change of the
 * entry; those that are missing here, have another version or say something else are read, and those that were not listed are
 * asked for once more and removed if they are not found.  To read from a list would be quicker: it may be older than what has
 * come in another way meanwhile.
 *
 * Where everything is read anyway, the list is made first, and afterwards all of it must be there: a server that left
 * entries out of the refresh is not believed.
 */
#ifndef ZL_DB_SYNC_COMPARE_H
#define ZL_DB_SYNC_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ldap.h>

#include "db/sync/control.h"
#include "db/sync/copy.h"
#include "db/sync/rule.h"

/* So many entries are asked for in one search. */
#define COMPARE_PORTION 100

/* An entry as the list has it. */
struct listed {
	struct sync_uuid uuid;
	bool is_known;           /* the server has spoken of it meanwhile */
	uint64_t version;        /* rule_version(); 0: that does not tell that it was read meanwhile */
};

struct compare_counts {
	size_t entries;          /* listed */
	size_t missing;          /* were not in the copy */
	size_t changed;          /* had something else in them */
	size_t surplus;          /* are in the copy and not to be found */
	size_t unseen;           /* of those: are there, and this reader does not see what the rule asks for */
	size_t hidden;           /* were left out of a refresh of everything */
	size_t compared;         /* rules that were, and not read as a whole */
};

enum compare_stage {
	COMPARE_NONE,
	COMPARE_LISTING_FIRST,   /* before everything is read */
	COMPARE_LISTED,          /* that has been listed */
	COMPARE_LISTING,
	COMPARE_READING,         /* what differs */
	COMPARE_LOOKING,         /* whether the surplus entries are there, but not for this reader */
	COMPARE_DONE,
};

/* The comparison of one rule.  Zeroed it has not begun. */
struct comparison {
	const struct sync_rule *rule;
	struct copy *copy;
	size_t number;           /* of the rule */
	enum compare_stage stage;
	int id;                  /* of the open search */
	struct listed *list;     /* what is to be asked for */
	size_t count;
	size_t capacity;
	bool lacks_uuid;         /* this reader may not see the entryUUID of each entry: nothing was compared */
	size_t asked;            /* so many of them have been asked for */
	size_t portion;          /* and so many in the open search */
	struct found *found[COMPARE_PORTION];    /* of that portion; NULL: not found so far */
	bool follows_full_read;
	char **names;            /* of surplus entries, to be looked for; NULL at the end */
	size_t looked;           /* so many of them have been */
	bool is_there;           /* the one that is looked for now */
	struct compare_counts counts;
};

/* Begins: a list of everything, before a full read (`first`) or at any other time.  The code of the search. */
int compare_start(struct comparison *comparison, LDAP *ld, struct copy *copy, const struct sync_rule *rule, size_t number,
                  bool first);

/* After a full read: asks for what was listed and did not come.  The code of the search. */
int compare_after_full_read(struct comparison *comparison, LDAP *ld);

/* True while an answer of the server is awaited. */
bool compare_is_open(const struct comparison *comparison);

/* Takes in a message of the open search, and goes on if it is the last.  The code of the search. */
int compare_take(struct comparison *comparison, LDAP *ld, LDAPMessage *message);

/* The server told what became of an entry: what the open search says of it may be older, as it may be of an earlier moment. */
void compare_told(struct comparison *comparison, const struct sync_uuid *uuid);

void compare_free(struct comparison *comparison);

#endif
