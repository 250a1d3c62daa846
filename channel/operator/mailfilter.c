#include "channel/operator/mailfilter.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "channel/operator/mailq.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

static const struct { const char *key; enum mailfilter_kind kind; } keys[] = {
	{ "from", FILTER_FROM }, { "to", FILTER_TO }, { "channel", FILTER_CHANNEL }, { "host", FILTER_HOST },
	{ "older", FILTER_OLDER }, { "state", FILTER_STATE },
};

bool mailfilter_span(const char *text, int64_t *seconds)
{
	static const struct { char letter; int64_t seconds; } units[] = {
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 7 * 86400 },
	};

	*seconds = 0;
	do {
		int64_t n = 0, unit = 0;

		if (!isdigit((unsigned char)*text))
			return false;
		for (; isdigit((unsigned char)*text) && n < 100000000; text++)
			n = n * 10 + (*text - '0');
		for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
			if (*text == units[i].letter)
				unit = units[i].seconds;
		if (unit == 0 && *text != '\0')
			return false;
		*seconds += n * (unit != 0 ? unit : 1);
		text += unit != 0;
	} while (*text != '\0');
	return true;
}

static bool wrong(struct buf *why, const char *word, const char *expected)
{
	text_add_clean_string(why, word, 200);
	buf_addf(why, ": expected %s", expected);
	return false;
}

bool mailfilter_add(struct mailfilter *f, const char *word, struct buf *why)
{
	static const char *const states[] = { "waiting", "due", "active", "held", "report", "damaged", "unreadable", NULL };
	struct mailfilter_condition c = { .kind = FILTER_ALL, .value = word };
	const char *equals = strchr(word, '=');
	bool has_form = (word[0] == 'S' && isdigit((unsigned char)word[1])) || isdigit((unsigned char)file_name(word)[0]);

	/* letters of a spool id may be '=' and '-'; a word that can be no id is one that is not in the queue */
	if (has_form || (word[0] != '\0' && equals == NULL && strcmp(word, "all") != 0)) {
		c.kind = FILTER_ID;
		f->id = word;
	} else if (strcmp(word, "all") != 0) {
		for (size_t i = 0; equals != NULL && i < sizeof keys / sizeof keys[0]; i++)
			if (strlen(keys[i].key) == (size_t)(equals - word) &&
			    strncmp(word, keys[i].key, (size_t)(equals - word)) == 0)
				c = (struct mailfilter_condition){ .kind = keys[i].kind, .value = equals + 1 };
		if (c.kind == FILTER_ALL)
			return wrong(why, word,
			             "an id, from=GLOB, to=GLOB, channel=GLOB, host=GLOB, older=TIME, state=WORD or all");
		if (c.value[0] == '\0')
			return wrong(why, word, "something after the \"=\"");
	}
	if (c.kind == FILTER_OLDER && !mailfilter_span(c.value, &c.seconds))
		return wrong(why, word, "a time like 90s, 15m, 4h, 2d or 1d12h");
	if (c.kind == FILTER_STATE && !text_is_among(c.value, states))
		return wrong(why, word, "a state of waiting, due, active, held, report, damaged, unreadable");
	f->conditions = xgrow(f->conditions, f->count, &f->capacity, sizeof *f->conditions);
	f->conditions[f->count++] = c;
	return true;
}

/* Letters of addresses and hosts are the same in both cases; what is not there matches nothing but "*". */
static bool glob(const char *pattern, const char *value)
{
	return fnmatch(pattern, value != NULL ? value : "", FNM_CASEFOLD) == 0;
}

/* The name with its directory or without, or the beginning of it: a directory alone names nothing. */
static bool begins_name(const char *word, const char *job)
{
	const char *base = file_name(job);
	size_t length = strlen(word);

	return strncmp(word, base, length) == 0 || (length > (size_t)(base - job) && strncmp(word, job, length) == 0);
}

bool mailfilter_is_exact(const struct mailfilter *f, const struct listed *e)
{
	return f->id != NULL && (strcmp(f->id, e->name) == 0 || strcmp(f->id, file_name(e->name)) == 0 ||
	                         (e->spool != NULL && strcmp(f->id, e->spool) == 0));
}

static bool holds(const struct mailfilter_condition *c, const struct listed *e, int64_t now)
{
	switch (c->kind) {
	case FILTER_ALL: return true;
	case FILTER_ID:
		return begins_name(c->value, e->name) ||
		       (e->spool != NULL && strncmp(c->value, e->spool, strlen(c->value)) == 0);
	case FILTER_FROM:
		return e->sender != NULL &&
		       (glob(c->value, e->sender) || (e->sender[0] == '\0' && strcmp(c->value, "<>") == 0));
	case FILTER_TO: return e->user != NULL && glob(c->value, e->user);
	case FILTER_CHANNEL: return e->channel != NULL && glob(c->value, e->channel);
	case FILTER_HOST: return e->host != NULL && glob(c->value, e->host);
	case FILTER_OLDER: return e->arrived != 0 && now - e->arrived > c->seconds;
	case FILTER_STATE:
		/* one whose time has come waits as well */
		return strcmp(c->value, mailq_state(e)) == 0 ||
		       (strcmp(c->value, "waiting") == 0 && strcmp(mailq_state(e), "due") == 0);
	}
	return false;
}

bool mailfilter_matches(const struct mailfilter *f, const struct listed *e, int64_t now)
{
	for (size_t i = 0; i < f->count; i++)
		if (!holds(&f->conditions[i], e, now))
			return false;
	return true;
}

bool mailfilter_may_match(const struct mailfilter *f, const struct listed *e)
{
	const char *slash = strrchr(e->name, '/'), *base = slash != NULL && slash[1] != '\0' ? slash + 1 : e->name;

	/* in a directory there may be any mail */
	if (e->inode != 0)
		return false;
	for (size_t i = 0; i < f->count && isdigit((unsigned char)base[0]); i++) {
		const char *value = f->conditions[i].value;
		size_t digits = value[0] == 'S' ? strspn(value + 1, "0123456789") : 0;

		/* the number in a spool id is the name of the message */
		if (f->conditions[i].kind == FILTER_ID && !begins_name(value, e->name) &&
		    !(digits > 0 && strncmp(value + 1, base, digits) == 0 &&
		      (value[1 + digits] == '\0' || !isdigit((unsigned char)base[digits]))))
			return false;
	}
	return true;
}

void mailfilter_free(struct mailfilter *f)
{
	free(f->conditions);
	*f = (struct mailfilter){ 0 };
}
