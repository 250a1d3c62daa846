/*
 * A scheduler's picture of the mail in the spool: messages, their recipients, and
 * the groups of recipients that go to one destination together.  Memory only; no file, no process.
 *
 *   message --< recipient          every r line that was not settled when it was read
 *   message --< group >-- destination   one group for each channel and host of the message
 *
 * A group is in one place at a time: ready in its destination, asleep until its next try, fed to an agent, or
 * closed.
 */
#ifndef ZL_CHANNEL_QUEUE_QUEUE_H
#define ZL_CHANNEL_QUEUE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "channel/spool/control.h"
#include "lib/buf.h"

#define NO_RECIPIENT UINT32_MAX

struct clause;
struct group;
struct message;
struct destination;

enum recipient_state {
	RECIPIENT_OPEN,
	RECIPIENT_DONE,       /* delivered */
	RECIPIENT_FAILED,     /* for good */
};

struct recipient {
	off_t offset;             /* of its r line: OFFSET of reports */
	const char *user;
	uint32_t group;           /* index in the message */
	uint32_t next;            /* index of the next one in its group, NO_RECIPIENT behind the last */
	enum recipient_state state;
	bool awaited;             /* fed, and no report yet */
	bool wants_success;       /* NOTIFY has SUCCESS */
	bool wants_delay;         /* NOTIFY has DELAY, or there is none */
	char *answer;             /* why it was deferred last, clean text; NULL if it was not */
	time_t answered;
};

enum group_state {
	GROUP_READY,          /* waits in its destination */
	GROUP_ASLEEP,         /* until `due` */
	GROUP_FED,            /* an agent has it */
	GROUP_CLOSED,         /* nothing is open in it */
};

/* There may be very many of these and of messages: members stand so that no room is lost between them. */
struct group {
	struct message *message;
	struct destination *destination;
	struct group *prev, *after;    /* in the list it stands in: ready of its destination, or fed of its agent */
	void *agent;                   /* that has it */
	int64_t due;                   /* clock_ms() */
	char *notary, *text;           /* of the last deferral, NULL without */
	pid_t agent_pid;               /* that has or had it last, 0 = none yet */
	uint32_t first, last;          /* recipients, as indexes in the message */
	uint32_t open, awaited;        /* how many of them */
	uint32_t attempts;             /* since we run */
	uint32_t retry;                /* next place in the clause's retries */
	uint32_t heap;                 /* place among the sleepers */
	int32_t delay_told;            /* age in seconds at which the sender heard of the delay last; 0 = never */
	int32_t delay_asked;           /* the reporter is asked to tell of that age; 0 = it is not */
	enum group_state state;
	bool unreachable;              /* in this round an agent said that the destination is in trouble */
	bool begun;                    /* when it was read a process that is gone had locks in it */
	bool wait_logged;              /* a log line with the message's id says what keeps it */
};

enum message_told {
	TOLD_NOT,
	TOLD_ALL,             /* the report is queued */
	TOLD_FILE,            /* no sender can hear of it: the report file is for the postmaster */
};

struct group_list {
	struct group *first, *last;
	size_t count;
};

struct message {
	struct message *same_bucket;
	uint64_t id;
	const char *name;         /* job name */
	const char *file;         /* path of the message file, as seen from transport; NULL if it was put aside */
	struct timespec arrived;  /* mtime of the message file */
	int64_t seen_at;          /* clock_ms() when it was taken in */
	ino_t file_inode;         /* of the message file, 0 if there was none: the spool id is made of it */
	ino_t inode;              /* of the control file: another one under this name is another message */
	struct group *groups;
	int64_t delay_at;         /* clock_ms(): a recipient may be late enough for a report; CLOCK_NEVER */
	int64_t look_again;       /* put aside until then (clock_ms()); such a message has no recipients */
	struct message *next_retiring;
	int64_t retire_at;        /* clock_ms() */
	int32_t seen_age;         /* how old it was when it was taken in, in seconds: see message_age() */
	uint32_t retire_tries;
	uint32_t count, open;     /* recipients */
	uint32_t group_count;
	uint32_t resyncs;
	uint32_t asked;           /* requests that the reporter has not answered */
	enum message_told told;   /* of all recipients */
	char *untold_why;         /* why the sender could not be told when all were settled, clean text; NULL if that was not tried */
	int64_t untold_at;        /* seconds since 1970 */
	bool all_open;            /* no recipient was settled when it was read: `recipients` are all there are */
	bool null_sender;         /* no sender hears what becomes of it */
	bool untold;              /* a recipient may have failed, or got it, and the sender wants a report */
	bool report_pending;      /* the reporter is to be asked soon */
	bool awaits_report;       /* all recipients are settled, and it goes when the reporter has answered */
	bool parked;              /* an operator waits for its agents: nothing of it is fed meanwhile */
	bool came_again;          /* a file of its name came while it was being removed: it is another message's */
	bool leaving;             /* its files are being removed */
	bool vanished;            /* its control file is gone, or another's */
	bool unmarked;            /* what an agent reported, neither that nor we could mark yet */
	struct recipient recipients[];  /* and behind them the groups, and what name, file and users point into */
};

/* All mail for one channel and host. */
struct destination {
	struct destination *same_bucket;
	struct destination *next;      /* of all destinations */
	char *channel, *host;          /* host in lower case */
	const struct clause *clause;   /* NULL: none delivers it */
	struct group_list ready;
	struct destination *busy_prev, *busy_next;  /* among those that have something ready */
	size_t groups;                 /* of all messages */
	size_t agents;                 /* at work on it */
	uint32_t retry;                /* as in a group, for trouble of the destination */
	int64_t blocked_until;         /* the destination is in trouble; 0 = it is not */
	char *reason;                  /* what keeps it waiting, clean text; NULL if it was reached last */
	int64_t reason_since;          /* seconds since 1970 */
	int64_t first_due;             /* clock_ms(): the first of its groups asleep, when status.c counted last; 0 = none */
	char *answer;                  /* why a recipient was deferred, the newest one, from then; NULL without */
	time_t answered;
	bool complained;               /* it was logged that nothing delivers it */
	uint64_t message_serial;       /* of the message added last that has a group here, and that group's index */
	uint32_t message_group;
};

struct queue {
	struct message **messages;     /* hash table by id */
	size_t message_count, message_buckets;
	struct destination **destinations;       /* hash table by channel and host */
	size_t destination_count, destination_buckets;
	struct destination *all_destinations;    /* newest first */
	struct destination *first_busy, *last_busy;  /* have something ready, longest first */
	uint64_t serial;               /* messages added so far */
	uint64_t changes;              /* counts whatever others might like to know */
	struct group **asleep;         /* heap by due, then by arrival */
	size_t asleep_count, asleep_room;
};

void queue_init(struct queue *q);
void queue_free(struct queue *q);

/* By the number that its name begins with; NULL if there is none. */
struct message *queue_find(const struct queue *q, uint64_t id);

/*
 * Takes in a message whose control file was read.  Every recipient that is not done or failed becomes
 * open; its group is not in any list yet (GROUP_CLOSED with open > 0): see queue_ready().  New destinations have no
 * clause yet.  `file` is the path of the message file.  The id must not be in the queue.
 */
struct message *queue_add(struct queue *q, const struct control *control, const char *file,
                          const struct timespec *arrived);

/* Remembers a file that cannot be used now, so that it is looked at again only later. */
struct message *queue_put_aside(struct queue *q, uint64_t id, const char *name, int64_t look_again);

/* Forgets a message; none of its groups may be fed. */
void queue_remove(struct queue *q, struct message *m);

/* The same, but it lives on, with its groups' last state but in no list, until message_free(). */
void queue_detach(struct queue *q, struct message *m);
void message_free(struct message *m);

/*
 * Keeps a message from being fed, from now on or again: its groups are closed, and those that come back from an agent,
 * until the end of it, when they are where they would be without.
 */
void queue_park(struct queue *q, struct message *m);
void queue_unpark(struct queue *q, struct message *m, int64_t now);

/* Forgets destinations that no message needs and no agent works on. */
void queue_sweep(struct queue *q);

/*
 * How many seconds a message has waited at `now` (clock_ms()): what it had when it was taken in, and what has passed since,
 * whatever became of the system's time meanwhile.
 */
int64_t message_age(const struct message *m, int64_t now);

/* Adds the spool id.  Without a message file the number of the job stands for its inode. */
void message_add_id(struct buf *out, const struct message *m);

/* The recipient whose r line stands at `offset`, NULL if it is none that was open. */
struct recipient *message_recipient(struct message *m, off_t offset);

/* Does an agent have some of it? */
bool message_is_fed(const struct message *m);

/* Moves of a group.  Each takes it out of where it was. */
void queue_ready(struct queue *q, struct group *g);
void queue_sleep(struct queue *q, struct group *g, int64_t due);
void queue_close(struct queue *q, struct group *g);
void queue_feed(struct queue *q, struct group *g, struct group_list *fed, void *agent);

/* Takes a fed group back from its agent; it must be moved on at once. */
void queue_take_back(struct group *g, struct group_list *fed);

/* A recipient has its result for good.  Counts down in group and message. */
void queue_settle(struct message *m, struct recipient *r, enum recipient_state state);

/* The sleeper that wakes first; NULL if none sleeps. */
struct group *queue_first_asleep(const struct queue *q);

/* Keeps what stands between a destination and its mail, NULL for nothing.  True if it is not what was known. */
bool destination_reason(struct destination *d, const char *text, int64_t now);

/* Keeps the words of a deferral for the listing and for the day the message expires. */
void group_deferred(struct group *g, const char *notary, const char *text);

/* The same for one recipient, for the listing: the answer alone, the last line of a transcript.  `now`: since 1970. */
void recipient_deferred(struct recipient *r, const char *text, int64_t now);

/* Keeps why the sender of a message could not be told, for the listing.  `now`: since 1970. */
void message_untold(struct queue *q, struct message *m, const char *why, int64_t now);

#endif
