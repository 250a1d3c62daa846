#include "channel/probe/keep.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/alloc.h"

/* Whatever the answer may depend on: the server, our name and identity there, the sender, and the recipient. */
static void make_key(const struct lmtp_settings *settings, const struct place *place, struct buf *key)
{
	const char *secrets = settings->security.secrets_path;
	const struct target *target = place->peer->target;

	buf_clear(key);
	buf_addf(key, "%s %u <%s> %s %s", target->text, (unsigned)target->port, settings->probe.sender,
	         secrets != NULL ? secrets : "-", place->user);
}

/* What a reply means today: the rules of map-reply may have changed since it was kept. */
static struct result result_of(const struct lmtp_settings *settings, const struct kept_reply *kept)
{
	struct reply reply = { .code = kept->code };
	struct result result = { .stage = STAGE_RCPT, .code = kept->code, .status = kept->status, .words = kept->words,
	                         .remote = true };

	strcpy(reply.status, kept->status);
	result.outcome = policy_outcome(STAGE_RCPT, &reply, settings->session.dialogue.rules);
	if (result.outcome == OUTCOME_NONE)
		result.outcome = OUTCOME_ACCEPTED;
	return result;
}

static const struct probe_lifetime *lifetime_of(const struct lmtp_settings *settings, enum answer answer)
{
	static const struct probe_lifetime none;

	switch (answer) {
	case ANSWER_YES: return &settings->probe.yes;
	case ANSWER_NO: return &settings->probe.no;
	case ANSWER_UNCLEAR: break;
	}
	return &none;
}

static void settle_by(struct place *place, const struct lmtp_settings *settings, const struct kept_reply *kept, int64_t age)
{
	const struct result result = result_of(settings, kept);

	place_settle(place, &result);
	/* rounded up: 0 is for what was said now */
	place->age = age + 1;
}

static void look_up(struct probe_cache *cache, const struct lmtp_settings *settings, struct place *place, struct buf *key)
{
	struct kept_reply kept = { 0 };
	const struct probe_lifetime *lifetime;
	struct result result;
	int64_t age;

	make_key(settings, place, key);
	if (!probe_cache_find(cache, key, &kept))
		return;
	result = result_of(settings, &kept);
	lifetime = lifetime_of(settings, policy_answer(&result));
	age = time(NULL) - kept.said;
	if (age >= 0 && age < lifetime->fresh) {
		settle_by(place, settings, &kept, age);
	} else if (age >= 0 && age < lifetime->kept) {
		place->kept = xmalloc(sizeof kept);
		*place->kept = kept;
		return;
	}
	free(kept.words);
}

void cache_answers(struct probe_cache *cache, const struct lmtp_settings *settings, struct question *questions,
                       size_t count)
{
	struct buf key = { 0 };

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < questions[i].count; k++) {
			struct place *place = &questions[i].places[k];

			if (place->peer != NULL && !place->settled)
				look_up(cache, settings, place, &key);
		}
	}
	buf_free(&key);
}

/* The server answered for this very recipient, whatever it said. */
static bool was_said_now(const struct place *place)
{
	return place->peer != NULL && place->age == 0 && place->code != 0 && place->stage == STAGE_RCPT;
}

static void fall_back(const struct lmtp_settings *settings, struct place *place)
{
	int64_t age = time(NULL) - place->kept->said;

	if (age < 0)
		return;
	free(place->words);
	place->words = NULL;
	place->settled = false;
	settle_by(place, settings, place->kept, age);
}

static void put(struct probe_cache *cache, const struct lmtp_settings *settings, const struct place *place, struct buf *key)
{
	struct kept_reply reply = { .said = time(NULL), .code = place->code, .words = place->words };

	strcpy(reply.status, place->status);
	make_key(settings, place, key);
	probe_cache_put(cache, key, &reply);
}

void cache_remember(struct probe_cache *cache, const struct lmtp_settings *settings, struct question *questions, size_t count)
{
	struct buf key = { 0 };

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < questions[i].count; k++) {
			struct place *place = &questions[i].places[k];

			if (place->kept != NULL && place->answer == ANSWER_UNCLEAR && !was_said_now(place))
				fall_back(settings, place);
			else if (was_said_now(place) && place->answer != ANSWER_UNCLEAR)
				put(cache, settings, place, &key);
		}
	}
	buf_free(&key);
}
