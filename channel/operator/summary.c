#include "channel/operator/summary.h"

#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "channel/operator/mailq.h"
#include "channel/queue/control_line.h"
#include "lib/alloc.h"
#include "lib/logline.h"
#include "lib/text.h"

/* So old at most, in seconds; behind the last one everything older. */
static const struct { const char *name; int64_t seconds; } ages[] = {
	{ "5m", 300 }, { "15m", 900 }, { "1h", 3600 }, { "4h", 4 * 3600 }, { "1d", 86400 }, { "older", INT64_MAX },
};

enum { AGES = sizeof ages / sizeof ages[0] };
#define REASON_MAX 120
#define NAME_MAX_SHOWN 40
#define NAME_BYTES_MAX 400

struct destination_sum {
	char *channel, *host;
	size_t total, held, active, by_age[AGES];
	size_t aside;             /* of those that are held: by zlmtp-queue hold */
	int64_t next;             /* the first next try: seconds since 1970, or NEXT_ */
	char *reason;             /* the newest answer, NULL without */
	int64_t answered;
};

struct summary {
	int64_t now;
	void *tree;
	struct destination_sum **list;
	size_t count, capacity;
};

struct summary *summary_create(int64_t now)
{
	struct summary *s = xcalloc(1, sizeof *s);

	s->now = now;
	return s;
}

static int by_name(const void *a, const void *b)
{
	const struct destination_sum *x = a, *y = b;
	int channels = strcmp(x->channel, y->channel);

	return channels != 0 ? channels : strcasecmp(x->host, y->host);
}

static struct destination_sum *find(struct summary *s, const char *channel, const char *host)
{
	struct destination_sum key = { .channel = (char *)channel, .host = (char *)host };
	struct destination_sum **found = tfind(&key, &s->tree, by_name), *d;

	if (found != NULL)
		return *found;
	d = xcalloc(1, sizeof *d);
	d->channel = xstrdup(channel);
	d->host = xstrdup(host);
	d->next = NEXT_UNKNOWN;
	if (tsearch(d, &s->tree, by_name) == NULL)
		abort();
	s->list = xgrow(s->list, s->count, &s->capacity, sizeof *s->list);
	s->list[s->count++] = d;
	return d;
}

/* The one that comes first: now, a time, held, unknown. */
static int64_t sooner(int64_t a, int64_t b)
{
	if (a < 0 || b < 0)
		return a < 0 && b < 0 ? (a == NEXT_HELD || b == NEXT_HELD ? NEXT_HELD : NEXT_UNKNOWN) : a < 0 ? b : a;
	return a < b ? a : b;
}

void summary_count(struct summary *s, const struct listed *e)
{
	struct destination_sum *d;
	int64_t age = s->now - e->arrived;
	size_t column = 0;

	/* one that is settled does not wait for its destination */
	if (e->channel == NULL || e->state == LISTED_REPORT)
		return;
	d = find(s, e->channel, e->host);
	d->next = d->total == 0 ? e->next : sooner(d->next, e->next);
	d->total++;
	d->aside += e->state == LISTED_HELD;
	d->held += e->state == LISTED_HELD || (e->state == LISTED_WAITING && e->next == NEXT_HELD);
	d->active += e->state == LISTED_ACTIVE;
	while (age > ages[column].seconds)
		column++;
	d->by_age[column]++;
	/* see reason_of() */
	if (e->answer == NULL || e->state == LISTED_HELD || (d->reason != NULL && e->answered <= d->answered))
		return;
	free(d->reason);
	d->reason = xstrdup(e->answer);
	d->answered = e->answered;
}

void summary_rows(struct buf *out, const struct summary *s, const char *tag)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct destination_sum *d = s->list[i];

		buf_addf(out, "%s\trow\t", tag);
		text_add_clean_string(out, d->channel, NAME_BYTES_MAX);
		buf_addc(out, '\t');
		text_add_clean_string(out, d->host, NAME_BYTES_MAX);
		buf_addf(out, "\t%zu\t%zu\t%zu", d->total, d->held, d->active);
		for (size_t k = 0; k < AGES; k++)
			buf_addf(out, "\t%zu", d->by_age[k]);
		buf_addf(out, "\t%" PRId64 "\t%" PRId64 "\t", d->next, d->answered);
		if (d->reason != NULL)
			text_add_clean_string(out, d->reason, NAME_BYTES_MAX);
		buf_addc(out, '\n');
	}
}

bool summary_take_row(struct summary *s, char *row)
{
	const char *channel = strsep(&row, "\t"), *host = strsep(&row, "\t");
	int64_t n[5 + AGES];
	struct destination_sum *d;

	for (size_t i = 0; i < 5 + AGES; i++)
		if (!control_line_time(&row, &n[i]))
			return false;
	if (row == NULL)
		return false;
	d = find(s, channel, host);
	d->total = (size_t)n[0];
	d->held = (size_t)n[1];
	d->active = (size_t)n[2];
	for (size_t i = 0; i < AGES; i++)
		d->by_age[i] = (size_t)n[3 + i];
	d->next = n[3 + AGES];
	d->answered = n[4 + AGES];
	if (*row != '\0')
		d->reason = xstrdup(row);
	return true;
}

static int longest_first(const void *a, const void *b)
{
	const struct destination_sum *x = *(struct destination_sum *const *)a, *y = *(struct destination_sum *const *)b;

	if (x->total != y->total)
		return x->total > y->total ? -1 : 1;
	return by_name(x, y);
}

static struct destination_sum **sorted(const struct summary *s)
{
	struct destination_sum **list = xcalloc(s->count > 0 ? s->count : 1, sizeof(struct destination_sum *));

	if (s->count > 0)
		memcpy(list, s->list, s->count * sizeof(struct destination_sum *));
	qsort(list, s->count, sizeof(struct destination_sum *), longest_first);
	return list;
}

/* NULL without.  That one message is on hold says nothing about its destination; where all are, nothing else keeps them. */
static const char *reason_of(const struct destination_sum *d)
{
	return d->reason != NULL ? d->reason : d->aside > 0 && d->aside == d->total ? LISTED_HELD_WORDS : NULL;
}

static void add_row(struct buf *out, const struct destination_sum *d, int64_t now, int width)
{
	struct buf name = { 0 }, next = { 0 };

	text_add_clean_string(&name, d->channel, 200);
	if (d->host != NULL) {
		buf_addc(&name, '/');
		text_add_clean_string(&name, d->host, 300);
	}
	buf_addf(out, "%-*s%8zu", width, buf_str(&name), d->total);
	for (size_t i = 0; i < AGES; i++)
		buf_addf(out, "%8zu", d->by_age[i]);
	if (d->host != NULL) {
		mailq_add_next(&next, d->held == d->total ? NEXT_HELD : d->next, now);
		buf_addf(out, "%7s  ", buf_str(&next));
		text_add_clean_string(out, reason_of(d) != NULL ? reason_of(d) : "-", REASON_MAX);
	}
	buf_addc(out, '\n');
	buf_free(&name);
	buf_free(&next);
}

void summary_text(struct buf *out, const struct summary *s, size_t rows)
{
	struct destination_sum **list = sorted(s), all = { .channel = (char *)"TOTAL" };
	int width = 14;

	for (size_t i = 0; i < s->count; i++) {
		size_t n = strlen(list[i]->channel) + 1 + strlen(list[i]->host);

		if (n <= NAME_MAX_SHOWN && (int)n > width)
			width = (int)n;
		all.total += list[i]->total;
		for (size_t k = 0; k < AGES; k++)
			all.by_age[k] += list[i]->by_age[k];
	}
	if (s->count > 0) {
		buf_addf(out, "%-*s%8s", width, "CHANNEL/HOST", "TOTAL");
		for (size_t k = 0; k < AGES; k++)
			buf_addf(out, "%8s", ages[k].name);
		buf_adds(out, "   NEXT  REASON\n");
		add_row(out, &all, s->now, width);
	}
	for (size_t i = 0; i < s->count && (rows == 0 || i < rows); i++)
		add_row(out, list[i], s->now, width);
	if (rows != 0 && s->count > rows)
		buf_addf(out, "and %zu more\n", s->count - rows);
	free(list);
}

void summary_json(struct buf *out, const struct summary *s)
{
	struct destination_sum **list = sorted(s);
	struct logline line = { 0 };

	for (size_t i = 0; i < s->count; i++) {
		const struct destination_sum *d = list[i];

		logline_begin(&line, true);
		logline_add(&line, "channel", d->channel);
		logline_add(&line, "host", d->host);
		logline_number(&line, "total", d->total);
		for (size_t k = 0; k < AGES; k++)
			logline_number(&line, ages[k].name, d->by_age[k]);
		logline_number(&line, "held", d->held);
		logline_number(&line, "active", d->active);
		logline_known(&line, "next_try", d->next);
		if (reason_of(d) != NULL)
			logline_add(&line, "reason", reason_of(d));
		logline_end(&line);
		buf_add(out, line.text.data, line.text.len);
		buf_addc(out, '\n');
	}
	logline_free(&line);
	free(list);
}

void summary_destroy(struct summary **summary)
{
	struct summary *s = *summary;

	for (size_t i = 0; i < s->count; i++) {
		tdelete(s->list[i], &s->tree, by_name);
		free(s->list[i]->channel);
		free(s->list[i]->host);
		free(s->list[i]->reason);
		free(s->list[i]);
	}
	free(s->list);
	free(s);
	*summary = NULL;
}
