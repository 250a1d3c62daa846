#include "channel/spool/schedconf.h"

#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/alloc.h"
#include "lib/parse.h"
#include "lib/text.h"

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
	struct buf ignored;
};

/* One token: a pattern, a key, or a key with its value. */
struct token {
	bool selects;                 /* it stands in the first column */
	size_t number, column;
	char *key;
	char *value;                  /* NULL without '=' */
};

static void *own(struct schedconf *conf, void *p)
{
	conf->owned.list = xgrow(conf->owned.list, conf->owned.count, &conf->owned.capacity, sizeof *conf->owned.list);
	conf->owned.list[conf->owned.count++] = p;
	return p;
}

/* For use in `return expected(...)`. */
static bool expected(struct reader *r, size_t number, size_t column, const char *what)
{
	text_add_clean_string(r->why, r->path, 500);
	buf_addf(r->why, " line %zu column %zu: %s expected", number, column, what);
	return false;
}

/* ---- tokens ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void skip_line(struct reader *r)
{
	while (r->at < r->end && *r->at != '\n')
		r->at++;
}

static void next_line(struct reader *r)
{
	r->line = ++r->at;
	r->number++;
}

/* Moves to the next token; false at the end of the file. */
static bool find_token(struct reader *r)
{
	while (r->at < r->end) {
		if (*r->at == '\n')
			next_line(r);
		else if (*r->at == '#')
			skip_line(r);
		else if (is_blank(*r->at))
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
		return expected(r, number, column, "an end of the quoted value");
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

/* ---- values ---- */

static bool seconds_value(struct reader *r, const struct token *t, int64_t *seconds)
{
	if (!parse_interval(t->value, seconds))
		return expected(r, t->number, t->column, "an interval such as 1h30m");
	return true;
}

static bool count_value(struct reader *r, const struct token *t, unsigned *count)
{
	uint64_t n;

	if (!parse_number(t->value, UNLIMITED, &n))
		return expected(r, t->number, t->column, "a number up to 10000");
	*count = (unsigned)n;
	return true;
}

/* A number of agents, where 0 stands for no limit. */
static bool limit_value(struct reader *r, const struct token *t, unsigned *limit)
{
	if (!count_value(r, t, limit))
		return false;
	if (*limit == 0)
		*limit = UNLIMITED;
	return true;
}

static bool retries_value(struct reader *r, const struct token *t, struct clause *c)
{
	unsigned *list = NULL;
	size_t count = 0, capacity = 0;
	char *rest = t->value, *word;

	while ((word = strtok_r(rest, " \t\n", &rest)) != NULL) {
		uint64_t n;

		if (!parse_number(word, 1000000, &n) || n == 0) {
			free(list);
			return expected(r, t->number, t->column, "retries as numbers above 0");
		}
		list = xgrow(list, count, &capacity, sizeof *list);
		list[count++] = (unsigned)n;
	}
	if (count == 0)
		return expected(r, t->number, t->column, "retries as numbers above 0");
	c->retries = own(r->conf, list);
	c->retry_count = count;
	return true;
}

static bool user_value(struct reader *r, const struct token *t, uid_t *uid)
{
	const struct passwd *pw;
	uint64_t n;

	if (parse_number(t->value, UINT32_MAX - 1, &n)) {
		*uid = (uid_t)n;
		return true;
	}
	pw = getpwnam(t->value);
	if (pw == NULL)
		return expected(r, t->number, t->column, "a user of this system");
	*uid = pw->pw_uid;
	return true;
}

static bool group_value(struct reader *r, const struct token *t, gid_t *gid)
{
	const struct group *gr;
	uint64_t n;

	if (parse_number(t->value, UINT32_MAX - 1, &n)) {
		*gid = (gid_t)n;
		return true;
	}
	gr = getgrnam(t->value);
	if (gr == NULL)
		return expected(r, t->number, t->column, "a group of this system");
	*gid = gr->gr_gid;
	return true;
}

static bool has_word(const char *text, const char *wanted)
{
	size_t n = strlen(wanted);

	for (const char *s = text + strspn(text, " \t\n"); *s != '\0'; s += strspn(s, " \t\n")) {
		size_t length = strcspn(s, " \t\n");

		if (length == n && memcmp(s, wanted, n) == 0)
			return true;
		s += length;
	}
	return false;
}

static bool command_value(struct reader *r, const struct token *t, struct clause *c)
{
	if (t->value[strspn(t->value, " \t\n")] == '\0')
		return expected(r, t->number, t->column, "a command");
	c->command = own(r->conf, xstrdup(t->value));
	c->with_host = has_word(t->value, "$host");
	return true;
}

/* ---- keys ---- */

enum key {
	KEY_COMMAND, KEY_INTERVAL, KEY_IDLEMAX, KEY_EXPIRY, KEY_EXPIRY2, KEY_RETRIES, KEY_MAXTA, KEY_MAXCHANNEL, KEY_MAXRING,
	KEY_MAXTHR, KEY_OVERFEED, KEY_USER, KEY_GROUP, KEY_QUEUEONLY,
	KEY_IMPLIED,              /* what it asks for is done anyway */
	KEY_IGNORED,
};

static const struct key_name {
	const char *name;
	enum key key;
	bool flag;                /* stands without a value */
} keys[] = {
	{ "ageorder", KEY_IMPLIED, true }, { "bychannel", KEY_IMPLIED, true }, { "command", KEY_COMMAND, false },
	{ "deliveryform", KEY_IGNORED, false }, { "expiry", KEY_EXPIRY, false }, { "expiry2", KEY_EXPIRY2, false },
	{ "expiryform", KEY_IGNORED, false }, { "group", KEY_GROUP, false }, { "idlemax", KEY_IDLEMAX, false },
	{ "interval", KEY_INTERVAL, false }, { "maxchannel", KEY_MAXCHANNEL, false }, { "maxchannels", KEY_MAXCHANNEL, false },
	{ "maxring", KEY_MAXRING, false }, { "maxrings", KEY_MAXRING, false }, { "maxta", KEY_MAXTA, false },
	{ "maxthr", KEY_MAXTHR, false }, { "maxtransport", KEY_MAXTA, false }, { "maxtransports", KEY_MAXTA, false },
	{ "nice", KEY_IGNORED, false }, { "overfeed", KEY_OVERFEED, false }, { "priority", KEY_IGNORED, false },
	{ "queueonly", KEY_QUEUEONLY, true }, { "reporttimes", KEY_IGNORED, false }, { "retries", KEY_RETRIES, false },
	{ "skew", KEY_IGNORED, false }, { "sysnice", KEY_IGNORED, false }, { "syspriority", KEY_IGNORED, false },
	{ "user", KEY_USER, false }, { "wakeuprestartonly", KEY_IGNORED, true },
};

static const struct key_name *find_key(const char *name)
{
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (ascii_equal(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static bool is_listed(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *s = list; *s != '\0'; s += strcspn(s, " "), s += *s == ' ')
		if (strncmp(s, name, n) == 0 && (s[n] == ',' || s[n] == '\0'))
			return true;
	return false;
}

static void note_ignored(struct reader *r, const char *name)
{
	if (is_listed(buf_str(&r->ignored), name))
		return;
	if (r->ignored.len > 0)
		buf_adds(&r->ignored, ", ");
	buf_adds(&r->ignored, name);
}

static bool set(struct reader *r, const struct token *t, struct clause *c)
{
	const struct key_name *k = find_key(t->key);

	if (k == NULL)
		return expected(r, t->number, t->column, "a key that a scheduler knows");
	if (t->value == NULL && !k->flag)
		return expected(r, t->number, t->column, "a key with = and a value");
	switch (k->key) {
	case KEY_COMMAND: return command_value(r, t, c);
	case KEY_INTERVAL: return seconds_value(r, t, &c->interval);
	case KEY_IDLEMAX: return seconds_value(r, t, &c->idle_max);
	case KEY_EXPIRY: return seconds_value(r, t, &c->expiry);
	case KEY_EXPIRY2: return seconds_value(r, t, &c->expiry2);
	case KEY_RETRIES: return retries_value(r, t, c);
	case KEY_MAXTA: return limit_value(r, t, &c->max_agents);
	case KEY_MAXCHANNEL: return limit_value(r, t, &c->max_channel);
	case KEY_MAXRING: return limit_value(r, t, &c->max_ring);
	case KEY_MAXTHR: return limit_value(r, t, &c->max_thread);
	case KEY_OVERFEED: return count_value(r, t, &c->overfeed);
	case KEY_USER: return user_value(r, t, &c->uid);
	case KEY_GROUP: return group_value(r, t, &c->gid);
	case KEY_QUEUEONLY: c->queue_only = true; return true;
	case KEY_IMPLIED: return true;
	case KEY_IGNORED: note_ignored(r, k->name); return true;
	}
	return true;
}

/* ---- clauses ---- */

static char *own_lower(struct schedconf *conf, const char *s, size_t n)
{
	char *copy = xstrndup(s, n);

	ascii_lower_string(copy);
	return own(conf, copy);
}

static bool is_default(const struct clause *c)
{
	return strcmp(c->channel, "*") == 0 && strcmp(c->host, "*") == 0;
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
	if (is_default(last))
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
	/* settings of ZMailer's scheduler itself: sockets of its own queue protocol and the like */
	if (strncasecmp(t->key, "PARAM", 5) == 0) {
		note_ignored(r, t->key);
		return true;
	}
	if (t->selects) {
		if (t->value != NULL || t->key[0] == '\0' || t->key[0] == '/')
			return expected(r, t->number, t->column, "a pattern channel/host");
		open_clause(r, t);
		return true;
	}
	if (r->conf->count == 0)
		return expected(r, t->number, t->column, "a pattern in the first column");
	r->filled = true;
	return set(r, t, &r->conf->clauses[r->conf->count - 1]);
}

static bool read_clauses(struct reader *r)
{
	bool ok = true;

	while (ok && find_token(r)) {
		struct token t;

		ok = read_token(r, &t) && take_token(r, &t);
		free(t.key);
		free(t.value);
	}
	if (ok)
		close_clause(r, true);
	return ok;
}

struct schedconf *schedconf_parse(const char *path, const char *text, size_t length, struct buf *why)
{
	static const unsigned each_interval[] = { 1 };
	struct schedconf *conf = xcalloc(1, sizeof *conf);
	struct reader r = {
		.conf = conf, .path = path, .line = text, .at = text, .end = text + length, .number = 1, .why = why,
		.defaults = {
			.interval = 3600, .idle_max = -1, .retries = each_interval, .retry_count = 1, .max_agents = 100,
			.max_channel = UNLIMITED, .max_ring = UNLIMITED, .max_thread = 1, .overfeed = 300,
			.uid = (uid_t)-1, .gid = (gid_t)-1,
		},
	};

	if (!read_clauses(&r))
		schedconf_free(&conf);
	else
		conf->ignored = r.ignored.len > 0 ? xstrdup(r.ignored.data) : NULL;
	for (size_t i = 0; conf != NULL && i < conf->count; i++)
		if (conf->clauses[i].idle_max < 0)
			conf->clauses[i].idle_max = 3 * conf->clauses[i].interval;
	buf_free(&r.ignored);
	return conf;
}

struct schedconf *schedconf_read(const char *path, struct buf *why)
{
	FILE *f = fopen(path, "re");
	struct schedconf *conf = NULL;
	struct buf text = { 0 };
	size_t n = 0;

	if (f != NULL) {
		do {
			n = fread(buf_reserve(&text, 8192), 1, 8192, f);
			text.len += n;
		} while (n > 0);
	}
	if (f == NULL || ferror(f)) {
		text_add_clean_string(why, path, 500);
		buf_addf(why, ": %s", strerror(errno));
	} else {
		conf = schedconf_parse(path, text.data, text.len, why);
	}
	if (f != NULL)
		fclose(f);
	buf_free(&text);
	return conf;
}

void schedconf_free(struct schedconf **conf)
{
	struct schedconf *c = *conf;

	if (c == NULL)
		return;
	for (size_t i = 0; i < c->owned.count; i++)
		free(c->owned.list[i]);
	free(c->owned.list);
	free(c->clauses);
	free(c->ignored);
	free(c);
	*conf = NULL;
}

/* ---- which clause ---- */

/* fnmatch(3) with {a,b}, which it does not know. */
static bool matches(const char *pattern, const char *s)
{
	const char *open = strchr(pattern, '{'), *close = open ? strchr(open, '}') : NULL;

	if (close == NULL)
		return fnmatch(pattern, s, 0) == 0;
	for (const char *from = open + 1; from <= close;) {
		size_t n = strcspn(from, ",}");
		char *one = xasprintf("%.*s%.*s%s", (int)(open - pattern), pattern, (int)n, from, close + 1);
		bool found = matches(one, s);

		free(one);
		if (found)
			return true;
		from += n + 1;
	}
	return false;
}

const struct clause *schedconf_match(const struct schedconf *conf, const char *channel, const char *host)
{
	char *small_channel = xstrdup(channel), *small_host = xstrdup(host);
	const struct clause *found = NULL;

	ascii_lower_string(small_channel);
	ascii_lower_string(small_host);
	for (size_t i = 0; i < conf->count && found == NULL; i++) {
		const struct clause *c = &conf->clauses[i];

		/* as in ZMailer: the clause of defaults is for nobody, nor is one for all channels */
		if (strcmp(c->channel, "*") != 0 && matches(c->channel, small_channel) && matches(c->host, small_host))
			found = c;
	}
	free(small_channel);
	free(small_host);
	return found;
}
