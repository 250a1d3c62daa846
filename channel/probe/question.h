/*
 * Questions of a probe and their answers, and how they are told.
 *
 * An address may lead to several places.  Mail for it is accepted if one of them says yes; refused if all say
 * no; otherwise it could not be told.
 */
#ifndef ZL_CHANNEL_PROBE_QUESTION_H
#define ZL_CHANNEL_PROBE_QUESTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/protocol/policy.h"
#include "channel/session.h"
#include "lib/buf.h"

struct kept_reply;

/* A user at a server, or an answer that needs no server. */
struct place {
	struct peer *peer;         /* the server that is asked; NULL: none */
	char *user;                /* as RCPT TO names it */
	bool settled;
	enum answer answer;        /* these once it is settled: */
	enum stage stage;
	int code;                  /* the server's, 0 if the words are ours */
	char status[12];
	char *words;               /* clean text */
	int64_t age;               /* seconds since the server said it; 0: now */
	struct kept_reply *kept;   /* what it said some time ago, in case it cannot tell now; or NULL */
	/* of the caller */
	bool under_way;
	const struct place *asked_as;      /* the same user at the same server, whose answer is this one's, too; NULL: itself */
	bool retried;              /* its connection broke before the server had said a word about it */
};

struct question {
	const char *address;       /* as the caller gave it */
	struct place *places;
	size_t count, capacity;
};

/* Adds a place without an answer yet; `user` is copied. */
struct place *question_add(struct question *question, struct peer *peer, const char *user);

/* Settles a place by what a server or we said; one that is settled stays as it is. */
void place_settle(struct place *place, const struct result *result);

/* The same by words of ours. */
void place_say(struct place *place, enum answer answer, const char *status, const char *words);

/* The place that decides about the address: the first yes, else the first that could not tell, else the first no. */
const struct place *question_decider(const struct question *question);

/* Adds one line about a question with settled places: ADDRESS, answer and words with TABs between, or JSON. */
void question_print(const struct question *question, bool json, struct buf *out);

/* What a program exits with: 0 if all are yes, 1 if one is no, 75 if one could not be told. */
int questions_exit_status(const struct question *questions, size_t count);

void question_free(struct question *question);

#endif
