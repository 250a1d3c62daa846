/*
 * One transport agent as its scheduler sees it: the process, the socket, and the
 * count of lines that it has not answered (transport-agent.md section 2).  `now` is clock_ms(), as the caller has it.
 */
#ifndef ZL_CHANNEL_QUEUE_AGENT_H
#define ZL_CHANNEL_QUEUE_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/queue/queue.h"
#include "channel/queue/schedconf.h"
#include "lib/buf.h"
#include "lib/loglimit.h"

enum agent_state {
	AGENT_BUSY,        /* has not answered everything; also from its start to its first #hungry */
	AGENT_HUNGRY,      /* has answered everything */
	AGENT_IDLE,        /* has answered "#idle": parked */
	AGENT_LEAVING,     /* was told to go */
	AGENT_SILENT,      /* its end of the socket is closed; waits to be buried */
};

struct agent {
	struct agent *next;
	pid_t pid;
	int fd;                       /* ours, not blocking; -1 once it is closed */
	const struct clause *clause;
	char *channel;
	char *host;                   /* the only one it serves, NULL if it takes any */
	struct destination *destination; /* what it works on, NULL if nothing */
	struct group_list fed;
	enum agent_state state;
	unsigned outstanding;         /* lines without their #hungry; a new one owes us the first */
	bool idling;                  /* the last line was "#idle" */
	bool probe;                   /* the next burst is one job: it is not known yet how the destination does */
	bool too_hungry;              /* it was, and that was logged */
	bool useful;                  /* it has reported something */
	int64_t since;                /* clock_ms() of its state */
	int64_t heard;                /* clock_ms() of its last words, */
	int64_t answered;             /* ... and of the last that answered something: no comments, nothing unasked */
	bool hurried;                 /* was told to end, as it answered nothing for too long, or did not go */
	struct buf in, out;
	int64_t again;                /* clock_ms(): reading or writing failed, not again before then; 0 = it did not */
	int64_t failing;              /* clock_ms(): it fails since then; 0 = it does not */
	char *words;                  /* the last that it said which is no answer, clean text; NULL without */
	struct loglimit lines;        /* of it that were passed on, and those that were not, as it says too much */
};

/*
 * Starts an agent of a clause for a destination's channel, and for its host if the command asks for that.  NULL with
 * a line in `why`.
 */
struct agent *agent_launch(const struct clause *clause, const struct destination *d, int64_t now, struct buf *why);

/*
 * When an agent that is at work and answers nothing, whatever else it says, is to be told to end, or, if that has happened, to
 * be killed (clock_ms()); CLOCK_NEVER if it is not at work.  `silence` in ms.
 */
int64_t agent_too_silent_at(const struct agent *w, int64_t silence);

/* Does that. */
void agent_hurry(struct agent *w, int64_t silence, int64_t now);

/* The process is gone: frees everything, clears the caller's pointer. */
void agent_free(struct agent **w);

/* True if it can work on a destination now or after its next #hungry. */
bool agent_suits(const struct agent *w, const struct destination *d);

/*
 * Adds a job line, or "#idle", for agent_flush() to write; each is to be answered by one #hungry.  The host stands in the line
 * unless the agent has one of its own ($host).
 */
void agent_job(struct agent *w, const char *name, const char *host, int64_t now);
void agent_idle(struct agent *w, int64_t now);

/* It said what is no answer: that may tell why it ends. */
void agent_said(struct agent *w, const char *text);

/* An empty line and the end of the file: it ends when it has done what it has. */
void agent_dismiss(struct agent *w, int64_t now);

/*
 * Counts one #hungry.  False if it owed us none; that is logged once and changes
 * nothing.
 */
bool agent_hungry(struct agent *w, int64_t now);

/*
 * Writes as much as the socket takes.  If the system is short of something, nothing is lost: it is tried again at
 * w->again.  If that does not help for long, the agent is given up: AGENT_SILENT.
 */
void agent_flush(struct agent *w, int64_t now);

/* May one more line of this agent be passed on?  If not, it is counted, for agent_tell_untold(). */
bool agent_may_tell(struct agent *w, int64_t now);

/* Says how many lines were left out, if any were and their period is over, or the agent (`last`). */
void agent_tell_untold(struct agent *w, int64_t now, bool last);

/*
 * Reads what is there and calls `line` for every complete line (terminated, without LF; to be cut up at
 * will).  At the end of the file, or after a line that never ends, the state is AGENT_SILENT.
 * False if there was nothing: after true there may be more.
 */
bool agent_read(struct agent *w, int64_t now, void (*line)(void *context, struct agent *w, char *text),
                 void *context);

#endif
