#include "channel/queue/schedconf.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

#define SCHEDCONF_LARGEST ((size_t)16 * 1024 * 1024)

/* Each {a,b} doubles what is compared with each destination. */
#define LONGEST_PATTERN 1000
#define MOST_PATTERNS 1000

struct reader {
	struct schedconf *conf;
	const char *path;
	const char *line;             /* the one that `at` is in */
	const char *at, *end;
	size_t number;
	struct buf *why;
	struct clause defaults;
	size_t room;
	size_t pending;               /* clauses before the last that take over what the next one says */
	bool filled;                  /* the last clause says something */
};

/* One token: a pattern, a key, or a key with its value. */
struct token {
	bool selects;                 /* it stands in the first column */
	size_t number, column;
	char *key;
	char *value;                  /* NULL without '=' */
};

/* For use in `return expected(...)`. */
static bool expected(struct reader *r, size_t number, size_t column, const char *what)
{
	text_add_clean_string(r->why, r->path, 500);
	buf_addf(r->why, ":%zu:%zu: expected %s", number, column, what);
	return false;
}

/* ---- tokens ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Moves to the next token; false at the end of the file. */
static bool find_token(struct reader *r)
{
	while (r->at < r->end) {
		if (*r->at == '\n') {
			r->line = ++r->at;
			r->number++;
		} else if (*r->at == '#') {
			while (r->at < r->end && *r->at != '\n')
				r->at++;
		} else if (is_blank(*r->at))
			r->at++;
		else
			return true;
	}
	return false;
}

static const char *skip_blanks(const struct reader *r, const char *s)
{
	while (s < r->end && is_blank(*s))
		s++;
	return s;
}

/* What stands between quotes; a backslash at the end of a line joins the next one. */
static bool quoted(struct reader *r, struct buf *value)
{
	size_t number = r->number, column = (size_t)(r->at - r->line) + 1;

	for (r->at++; r->at < r->end && *r->at != '"'; r->at++) {
		if (*r->at == '\\' && r->at + 1 < r->end && r->at[1] == '\n') {
			r->at++;
			r->line = r->at + 1;
			r->number++;
		} else if (*r->at == '\n') {
			break;
		} else {
			buf_addc(value, *r->at);
			if (*r->at == '\\' && r->at + 1 < r->end && r->at[1] != '\n')
				buf_addc(value, *++r->at);
		}
	}
	if (r->at == r->end || *r->at != '"')
		return expected(r, number, column, "a \" at the end of the value");
	r->at++;
	return true;
}

/* Reads the token at r->at.  Key and value belong to the caller. */
static bool read_token(struct reader *r, struct token *t)
{
	const char *start = r->at, *sign;
	struct buf value = { 0 };

	*t = (struct token){ .selects = start == r->line, .number = r->number, .column = (size_t)(start - r->line) + 1 };
	while (r->at < r->end && !is_blank(*r->at) && *r->at != '\n' && *r->at != '=' && *r->at != '#')
		r->at++;
	t->key = xstrndup(start, (size_t)(r->at - start));
	sign = skip_blanks(r, r->at);
	if (sign == r->end || *sign != '=')
		return true;
	r->at = skip_blanks(r, sign + 1);
	if (r->at < r->end && *r->at == '"') {
		if (!quoted(r, &value)) {
			buf_free(&value);
			return false;
		}
	} else {
		start = r->at;
		while (r->at < r->end && !is_blank(*r->at) && *r->at != '\n')
			r->at++;
		buf_add(&value, start, (size_t)(r->at - start));
	}
	t->value = value.data ? value.data : xstrdup("");
	return true;
}

/* ---- patterns ---- */

/* The first {a,b}, which fnmatch(3) does not know; NULL if there is none. */
static const char *alternatives(const char *pattern, const char **close)
{
	const char *open = strchr(pattern, '{');

	*close = open != NULL ? strchr(open, '}') : NULL;
	return *close != NULL ? open : NULL;
}

/* The pattern with the alternative at `from`, of n bytes, in place of them all. */
static char *one_of(const char *pattern, const char *open, const char *close, const char *from, size_t n)
{
	return xasprintf("%.*s%.*s%s", (int)(open - pattern), pattern, (int)n, from, close + 1);
}

/* How many patterns without alternatives it stands for; counted up to `most`. */
static unsigned count_patterns(const char *pattern, unsigned most)
{
	const char *close, *open = alternatives(pattern, &close);
	unsigned count = 0;

	if (open == NULL)
		return 1;
	for (const char *from = open + 1; from <= close && count < most;) {
		size_t n = strcspn(from, ",}");
		char *one = one_of(pattern, open, close, from, n);

		count += count_patterns(one, most - count);
		free(one);
		from += n + 1;
	}
	return count;
}

static bool matches(const char *pattern, const char *s)
{
	const char *close, *open = alternatives(pattern, &close);

	if (open == NULL)
		return fnmatch(pattern, s, 0) == 0;
	for (const char *from = open + 1; from <= close;) {
		size_t n = strcspn(from, ",}");
		char *one = one_of(pattern, open, close, from, n);
		bool found = matches(one, s);

		free(one);
		if (found)
			return true;
		from += n + 1;
	}
	return false;
}

/* ---- clauses ---- */

static char *own_lower(struct schedconf *conf, const char *s, size_t n)
{
	char *copy = xstrndup(s, n);

	ascii_lower_string(copy);
	return clause_own(&conf->pool, copy);
}

/* The last clause is complete: the empty ones before it, which share what it says, get it now. */
static void close_clause(struct reader *r, bool end)
{
	struct schedconf *conf = r->conf;
	struct clause *last;

	if (conf->count == 0)
		return;
	last = &conf->clauses[conf->count - 1];
	if (!r->filled && !end) {
		r->pending++;
		return;
	}
	for (size_t i = conf->count - 1 - r->pending; i < conf->count - 1; i++) {
		struct clause *c = &conf->clauses[i], pattern = *c;

		*c = *last;
		c->channel = pattern.channel;
		c->host = pattern.host;
		c->line = pattern.line;
	}
	r->pending = 0;
	if (strcmp(last->channel, "*") == 0 && strcmp(last->host, "*") == 0)
		r->defaults = *last;
}

static void open_clause(struct reader *r, const struct token *t)
{
	struct schedconf *conf = r->conf;
	const char *slash = strchr(t->key, '/');
	size_t n = slash ? (size_t)(slash - t->key) : strlen(t->key);
	struct clause *c;

	close_clause(r, false);
	conf->clauses = xgrow(conf->clauses, conf->count, &r->room, sizeof *conf->clauses);
	c = &conf->clauses[conf->count++];
	*c = r->defaults;
	c->channel = own_lower(conf, t->key, n);
	c->host = slash ? own_lower(conf, slash + 1, strlen(slash + 1)) : own_lower(conf, "*", 1);
	c->line = t->number;
	r->filled = false;
}

static bool take_token(struct reader *r, const struct token *t)
{
	const char *wrong;

	/* settings of ZMailer's scheduler itself: sockets of its own queue protocol and the like */
	if (strncasecmp(t->key, "PARAM", 5) == 0) {
		clause_ignore(&r->conf->pool, t->key);
		return true;
	}
	if (t->selects) {
		if (t->value != NULL || t->key[0] == '\0' || t->key[0] == '/')
			return expected(r, t->number, t->column, "a pattern channel/host");
		if (strlen(t->key) > LONGEST_PATTERN || count_patterns(t->key, MOST_PATTERNS + 1) > MOST_PATTERNS)
			return expected(r, t->number, t->column,
			                "a pattern of at most 1000 bytes and alternatives; make several of it");
		open_clause(r, t);
		return true;
	}
	if (r->conf->count == 0)
		return expected(r, t->number, t->column, "a pattern in the first column");
	r->filled = true;
	wrong = clause_set(&r->conf->pool, &r->conf->clauses[r->conf->count - 1], t->key, t->value);
	if (wrong == NULL)
		return true;
	expected(r, t->number, t->column, wrong);
	buf_adds(r->why, ", found \"");
	text_add_clean_string(r->why, t->key, 100);
	buf_adds(r->why, t->value != NULL ? "=...\"" : "\"");
	return false;
}

/* What stands behind a NUL byte in a value would be forgotten. */
static bool is_text(struct reader *r)
{
	const char *nul = memchr(r->at, '\0', (size_t)(r->end - r->at)), *line = r->at;
	size_t number = 1;

	if (nul == NULL)
		return true;
	for (const char *end; (end = memchr(line, '\n', (size_t)(nul - line))) != NULL; number++)
		line = end + 1;
	return expected(r, number, (size_t)(nul - line) + 1, "text, found a NUL byte");
}

/* A pattern that ends in an invisible blank would match nothing. */
static bool is_visible(struct reader *r, const struct token *t, const char *begin)
{
	struct buf what = { 0 };
	bool ok = !text_add_invisible(&what, begin, (size_t)(r->at - begin));

	if (!ok)
		buf_addf(r->why, "%s:%zu:%zu: found %s", r->path, t->number, t->column, buf_str(&what));
	buf_free(&what);
	return ok;
}

const int64_t schedconf_report_times[2] = { 4 * 3600, 86400 };

struct schedconf *schedconf_parse(const char *path, const char *text, size_t length, struct buf *why)
{
	static const unsigned each_interval[] = { 1 };
	struct schedconf *conf = xcalloc(1, sizeof *conf);
	struct reader r = {
		.conf = conf, .path = path, .line = text, .at = text, .end = text + length, .number = 1, .why = why,
		.defaults = {
			.interval = 3600, .idle_max = -1, .retries = each_interval, .retry_count = 1, .max_agents = 100,
			.report_times = schedconf_report_times, .report_time_count = 2,
			.max_channel = UNLIMITED, .max_ring = UNLIMITED, .max_destination = 1, .overfeed = 300,
			.uid = (uid_t)-1, .gid = (gid_t)-1,
		},
	};
	bool ok = is_text(&r);

	while (ok && find_token(&r)) {
		const char *begin = r.at;
		struct token t;

		ok = read_token(&r, &t) && is_visible(&r, &t, begin) && take_token(&r, &t);
		free(t.key);
		free(t.value);
	}
	if (ok) {
		close_clause(&r, true);
		conf->defaults = r.defaults;
	} else {
		schedconf_free(&conf);
	}
	for (size_t i = 0; conf != NULL && i < conf->count; i++)
		if (conf->clauses[i].idle_max < 0)
			conf->clauses[i].idle_max = 3 * conf->clauses[i].interval;
	return conf;
}

struct schedconf *schedconf_read(const char *path, struct buf *why)
{
	struct schedconf *conf = NULL;
	struct buf text = { .limit = SCHEDCONF_LARGEST };

	if (file_read_text(path, &text)) {
		conf = schedconf_parse(path, text.data, text.len, why);
		/* a file that was cut off, or is not written yet: all mail would wait, and nobody would be told */
		if (conf != NULL && conf->count == 0) {
			text_add_clean_string(why, path, 500);
			buf_adds(why, ": no clause is in it; write one for each channel, see runqueue(8)");
			schedconf_free(&conf);
		}
	} else {
		text_add_clean_string(why, path, 500);
		buf_addf(why, ": %s", file_error(errno));
	}
	buf_free(&text);
	return conf;
}

void schedconf_free(struct schedconf **conf)
{
	struct schedconf *c = *conf;

	if (c == NULL)
		return;
	free(c->clauses);
	clause_pool_free(&c->pool);
	free(c);
	*conf = NULL;
}

/* ---- which clause ---- */

const struct clause *schedconf_match(const struct schedconf *conf, const char *channel, const char *host)
{
	char *small_channel = xstrdup(channel), *small_host = xstrdup(host);
	const struct clause *found = NULL;

	ascii_lower_string(small_channel);
	ascii_lower_string(small_host);
	for (size_t i = 0; i < conf->count && found == NULL; i++) {
		const struct clause *c = &conf->clauses[i];

		/* as in ZMailer: the clause of defaults matches nothing, nor does one for all channels */
		if (strcmp(c->channel, "*") != 0 && matches(c->channel, small_channel) && matches(c->host, small_host))
			found = c;
	}
	free(small_channel);
	free(small_host);
	return found;
}
