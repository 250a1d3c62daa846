/*
 * One question, three answers.
 */
#ifndef ZL_DB_STORE_ANSWER_H
#define ZL_DB_STORE_ANSWER_H

/*
 * The answer to a lookup.  A switch over it has no default, so that the
 * compiler names every place that forgets the third one.
 */
enum map_answer {
	MAP_FOUND,
	MAP_NOT_FOUND,
	MAP_COULD_NOT_TELL,    /* map_error() says why, in one line */
};

/* "found", "not found", "could not tell". */
const char *map_answer_name(enum map_answer answer);

/* Makes callers look at an answer. */
#define MAP_MUST_LOOK __attribute__((warn_unused_result))

#endif
