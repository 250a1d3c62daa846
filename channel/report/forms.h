/*
 * The words of reports: files that a site can change, built-in words else (zlmtp-forms(5)).
 */
#ifndef ZL_CHANNEL_REPORT_FORMS_H
#define ZL_CHANNEL_REPORT_FORMS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

enum form_kind { FORM_FAILURE, FORM_DELAY, FORM_SUCCESS, FORM_KINDS };

/* What stands for "$name" in a form; $$ is a dollar sign. */
enum form_name {
	FORM_HOST,          /* $host: who reports */
	FORM_ID,            /* $id: spool id of the message */
	FORM_SENDER,        /* $sender */
	FORM_SUBJECT,       /* $subject of the message */
	FORM_ARRIVAL,       /* $arrival: when it came */
	FORM_UNTIL,         /* $until: when delayed mail expires */
	FORM_POSTMASTER,    /* $postmaster: who can be asked */
	FORM_RECIPIENTS,    /* $recipients, alone in its line: each with what was said about it */
	FORM_NAMES,
};

struct form {
	char *subject;
	char *text;
};

struct forms {
	struct form of[FORM_KINDS];    /* NULL: built-in words */
};

/* Largest file that is taken. */
#define FORM_MAX ((size_t)64 * 1024)

/* "failure", "delay", "success": the names of the files. */
const char *form_kind_name(enum form_kind kind);

/*
 * Takes the text of one file: "Subject: words", an empty line, the text.  False with a line in `why`, "NUMBER: what",
 * if it is damaged: then the built-in words stay.
 */
bool form_parse(struct forms *forms, enum form_kind kind, const char *text, size_t n, struct buf *why);

/*
 * Reads the three files of `directory`.  Those that are not there are no matter; for each that is damaged or cannot be
 * read `notes` gets a line for the log, ended by LF, and the built-in words are used.
 */
void forms_read(struct forms *forms, const char *directory, struct buf *notes);

/* The subject and text of a kind, built-in or not. */
struct form forms_of(const struct forms *forms, enum form_kind kind);

/* Adds `text` with the values put in; NULL is "". */
void form_fill(struct buf *out, const char *text, const char *const values[FORM_NAMES]);

void forms_free(struct forms *forms);

#endif
