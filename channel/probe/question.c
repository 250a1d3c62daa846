#include "channel/probe/question.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/alloc.h"
#include "lib/json.h"
#include "lib/text.h"

#define SHOWN_MAX 1000

/* Exit status for an address that does not exist. */
#define EXIT_NO 1

struct place *question_add(struct question *question, struct peer *peer, const char *user)
{
	struct place *place;

	question->places = xgrow(question->places, question->count, &question->capacity, sizeof *question->places);
	place = &question->places[question->count++];
	*place = (struct place){ .peer = peer, .user = xstrdup(user) };
	return place;
}

void place_settle(struct place *place, const struct result *result)
{
	struct buf words = { 0 };

	if (place->settled)
		return;
	text_add_clean_string(&words, result->words, SHOWN_MAX);
	place->settled = true;
	place->answer = policy_answer(result);
	place->stage = result->stage;
	place->code = result->remote ? result->code : 0;
	strncpy(place->status, result->status, sizeof place->status - 1);
	place->words = xstrdup(buf_str(&words));
	buf_free(&words);
}

void place_say(struct place *place, enum answer answer, const char *status, const char *words)
{
	const struct result result = { .stage = STAGE_LOCAL, .status = status, .words = words };

	if (place->settled)
		return;
	place_settle(place, &result);
	place->answer = answer;
}

const struct place *question_decider(const struct question *question)
{
	const struct place *decider = &question->places[0];

	for (size_t i = 0; i < question->count; i++) {
		const struct place *p = &question->places[i];

		if (p->answer == ANSWER_YES)
			return p;
		if (p->answer == ANSWER_UNCLEAR && decider->answer == ANSWER_NO)
			decider = p;
	}
	return decider;
}

static const char *answer_name(enum answer answer)
{
	switch (answer) {
	case ANSWER_YES: return "yes";
	case ANSWER_NO: return "no";
	case ANSWER_UNCLEAR: break;
	}
	return "could not tell";
}

static void print_text(const struct question *q, const struct place *p, struct buf *out)
{
	text_add_clean_string(out, q->address, SHOWN_MAX);
	buf_addf(out, "\t%s\t", answer_name(p->answer));
	if (p->code != 0 && p->stage != STAGE_RCPT)
		buf_addf(out, "%s: ", stage_name(p->stage));
	if (p->code != 0)
		buf_addf(out, "%d %s ", p->code, p->status);
	buf_adds(out, p->words);
	if (p->age > 0)
		buf_addf(out, " (said %" PRId64 " s ago)", p->age);
	buf_addc(out, '\n');
}

static void print_json(const struct question *q, const struct place *p, struct buf *out)
{
	buf_addc(out, '{');
	json_string(out, "address", q->address);
	json_string(out, "answer", answer_name(p->answer));
	json_string(out, "stage", stage_name(p->stage));
	json_number(out, "code", p->code);
	json_string(out, "status", p->status);
	json_string(out, "words", p->words);
	json_string(out, "peer", p->peer != NULL ? p->peer->target->text : "-");
	json_string(out, "user", p->user);
	json_number(out, "age", p->age);
	buf_adds(out, "}\n");
}

void question_print(const struct question *question, bool json, struct buf *out)
{
	const struct place *p = question_decider(question);

	if (json)
		print_json(question, p, out);
	else
		print_text(question, p, out);
}

int questions_exit_status(const struct question *questions, size_t count)
{
	int status = EX_OK;

	for (size_t i = 0; i < count; i++) {
		switch (question_decider(&questions[i])->answer) {
		case ANSWER_YES:
			break;
		case ANSWER_NO:
			status = EXIT_NO;
			break;
		case ANSWER_UNCLEAR:
			return EX_TEMPFAIL;
		}
	}
	return status;
}

void question_free(struct question *question)
{
	for (size_t i = 0; i < question->count; i++) {
		free(question->places[i].user);
		free(question->places[i].words);
		free(question->places[i].kept);
	}
	free(question->places);
	*question = (struct question){ .address = question->address };
}
