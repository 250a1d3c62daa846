/*
 * The line protocol between scheduler and transport agent, both sides
 * (transport-agent.md section 2).  Lines in, lines out; no descriptor here.
 */
#ifndef ZL_CHANNEL_SPOOL_AGENT_PROTOCOL_H
#define ZL_CHANNEL_SPOOL_AGENT_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- what a scheduler says to an agent ---- */

enum agent_order_kind {
	ORDER_JOB,      /* PATH [TAB HOST] */
	ORDER_IDLE,     /* "#idle" */
	ORDER_QUIT,     /* an empty line */
};

struct agent_order {
	enum agent_order_kind kind;
	const char *path;
	const char *host;    /* NULL if the line has none */
};

/*
 * Cuts up one line in place (terminated, without its LF).  Every line is one
 * of the three; a line that begins with '#' and is not "#idle" counts as idle,
 * since it must be answered by one "#hungry" all the same.
 */
struct agent_order agent_order(char *line);

/* ---- what an agent says to a scheduler ---- */

enum agent_answer_kind {
	ANSWER_HUNGRY,
	ANSWER_RESYNC,    /* name */
	ANSWER_COMMENT,   /* text */
	ANSWER_REPORT,
	ANSWER_GARBAGE,   /* text: neither of them */
};

enum agent_verdict {
	VERDICT_OK,           /* ok, ok2, ok3 */
	VERDICT_ERROR,        /* error, error2 */
	VERDICT_DEFERRED,     /* deferred, deferback and any word that is not known */
	VERDICT_RETRY_ALL,    /* retryat, deferall: leave the destination alone for this round */
};

struct agent_answer {
	enum agent_answer_kind kind;
	const char *name;       /* of a resync: the job */
	const char *text;       /* comment, garbage, or the TEXT of a report */
	uint64_t id;            /* of a report */
	off_t offset;
	const char *notary;     /* "" if empty */
	enum agent_verdict verdict;
	bool logged;            /* the agent has written its d line itself, or needs none (ok2, ok3, error2) */
};

/* Cuts up one line in place (terminated, without its LF). */
struct agent_answer agent_answer(char *line);

#endif
