#include "channel/queue/control_line.h"

#include <stdlib.h>
#include <string.h>

#include "channel/spool/control.h"
#include "lib/alloc.h"
#include "lib/parse.h"
#include "lib/text.h"

#define TAG_MAX 20
#define JOB_MAX 200
#define WORDS_MAX 1000

static bool expected(struct buf *why, const char *what)
{
	buf_addf(why, "expected %s", what);
	return false;
}

/* The field up to the next TAB. */
static bool number(char **at, uint64_t most, uint64_t *n)
{
	const char *field = strsep(at, "\t");

	return field != NULL && parse_number(field, most, n);
}

bool control_line_number(char **at, uint64_t *n)
{
	return number(at, INT64_MAX, n);
}

bool control_line_time(char **at, int64_t *n)
{
	bool negative = *at != NULL && **at == '-';
	uint64_t value;

	*at += negative;
	if (!number(at, INT64_MAX, &value))
		return false;
	*n = negative ? -(int64_t)value : (int64_t)value;
	return true;
}

/* Offsets, each once and in order; of a reroute with four fields behind each, and several in a row may be equal. */
static bool recipients(char *at, struct operation *o, struct buf *why)
{
	bool reroute = o->verb == OPERATION_REROUTE;
	size_t room = 0;
	uint64_t offset, privilege;

	while (at != NULL) {
		struct operation_recipient r = { 0 };

		if (!control_line_number(&at, &offset))
			return expected(why, "the offset of a recipient");
		r.offset = (off_t)offset;
		if (o->count > 0 && (r.offset < o->recipients[o->count - 1].offset ||
		                     (!reroute && r.offset == o->recipients[o->count - 1].offset)))
			return expected(why, "offsets in rising order");
		if (reroute) {
			r.channel = strsep(&at, "\t");
			r.host = strsep(&at, "\t");
			r.user = strsep(&at, "\t");
			if (!number(&at, INT32_MAX, &privilege) || r.channel[0] == '\0' || r.host[0] == '\0' ||
			    r.user[0] == '\0')
				return expected(why, "channel, host, user and privilege of a destination");
			r.privilege = (long)privilege;
		}
		o->recipients = xgrow(o->recipients, o->count, &room, sizeof *o->recipients);
		o->recipients[o->count++] = r;
	}
	return (!reroute || o->count > 0) || expected(why, "a destination");
}

bool control_line_parse_request(char *line, struct control_request *r, struct buf *why)
{
	struct operation *o = &r->operation;
	const char *place, *verb;
	char *tag;
	uint64_t inode, seconds;
	size_t n;

	*r = (struct control_request){ 0 };
	for (const char *s = line; *s != '\0'; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 127)
			return expected(why, "a line without control characters");
	tag = strsep(&line, "\t");
	n = strspn(tag, "0123456789");
	if (n == 0 || n > TAG_MAX || tag[n] != '\0')
		return expected(why, "a number and a verb");
	r->tag = tag;
	verb = strsep(&line, "\t");
	o->verb = verb != NULL ? operation_verb_of(verb) : OPERATION_VERBS;
	if (o->verb == OPERATION_VERBS)
		return expected(why, "hold, release, retry, fail, remove or reroute");
	o->spool = strsep(&line, "\t");
	o->job = strsep(&line, "\t");
	if (o->job == NULL || o->spool[0] == '\0' || strlen(o->job) >= JOB_MAX || !control_is_job(o->job))
		return expected(why, "a spool id and a job name");
	if (!number(&line, UINT64_MAX, &inode))
		return expected(why, "an inode number");
	o->inode = (ino_t)inode;
	place = strsep(&line, "\t");
	if (place == NULL || (strcmp(place, "queue") != 0 && strcmp(place, "hold") != 0))
		return expected(why, "queue or hold");
	o->held = strcmp(place, "hold") == 0;
	if (!number(&line, CONTROL_LONGEST_WAIT, &seconds))
		return expected(why, "a number of seconds, at most a day,");
	r->patience = (int64_t)seconds;
	o->text = strsep(&line, "\t");
	if (o->text == NULL)
		return expected(why, "a text, which may be empty,");
	if (o->text[0] == '\0')
		o->text = NULL;
	return recipients(line, o, why);
}

static bool is_clean(const char *s)
{
	return !text_has_controls(s, strlen(s));
}

bool control_line_add_request(struct buf *out, uint64_t tag, const struct operation *o, int64_t patience, struct buf *why)
{
	size_t before = out->len;
	bool clean = is_clean(o->job) && is_clean(o->spool);

	buf_addf(out, "%llu\t%s\t%s\t%s\t%llu\t%s\t%lld\t", (unsigned long long)tag, operation_verbs[o->verb], o->spool, o->job,
	         (unsigned long long)o->inode, o->held ? "hold" : "queue", (long long)patience);
	if (o->text != NULL)
		text_add_clean_string(out, o->text, WORDS_MAX);
	for (size_t i = 0; i < o->count; i++) {
		const struct operation_recipient *r = &o->recipients[i];

		buf_addf(out, "\t%lld", (long long)r->offset);
		if (o->verb != OPERATION_REROUTE)
			continue;
		clean = clean && is_clean(r->channel) && is_clean(r->host) && is_clean(r->user);
		buf_addf(out, "\t%s\t%s\t%s\t%ld", r->channel, r->host, r->user, r->privilege);
	}
	buf_addc(out, '\n');
	if (clean && out->len - before <= CONTROL_LINE_MAX)
		return true;
	out->len = before;
	buf_adds(why, clean ? "its recipients are too long for one request" : "a control character stands in its names");
	return false;
}

bool control_line_parse_answer(char *line, struct control_answer *a)
{
	char *result;

	if (!number(&line, UINT64_MAX, &a->tag))
		return false;
	result = strsep(&line, "\t");
	for (a->result = 0; result != NULL && a->result < OPERATION_RESULTS; a->result++)
		if (strcmp(result, operation_results[a->result]) == 0)
			break;
	if (result == NULL || a->result == OPERATION_RESULTS || !number(&line, UINT64_MAX, &a->changed))
		return false;
	a->words = strsep(&line, "\t");
	return a->words != NULL;
}

void control_line_add_answer(struct buf *out, const char *tag, enum operation_result result, size_t changed, const char *words)
{
	buf_addf(out, "%s\t%s\t%zu\t", tag, operation_results[result], changed);
	text_add_clean_string(out, words, WORDS_MAX);
	buf_addc(out, '\n');
}
