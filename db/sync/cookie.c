#include "db/sync/cookie.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "db/sync/shrinkage.h"
#include "lib/alloc.h"
#include "lib/parse.h"
#include "lib/settings.h"
#include "lib/text.h"

#define COOKIE SYNC_NOTES "cookie-"
#define ENTRY SYNC_NOTES "entry-"
#define LONGEST_NAME 1000

/* ---- cookies ---------------------------------------------------------------- */

void cookie_name(struct buf *name, const struct sync_rule *rule)
{
	buf_addf(name, COOKIE "%s", rule->name);
}

void cookie_encode(struct buf *note, const struct sync_rule *rule, const struct buf *cookie)
{
	buf_addf(note, "%zu %s\n", strlen(rule->definition), rule->definition);
	buf_add(note, buf_str(cookie), cookie->len);
}

bool cookie_decode(const char *note, size_t n, const struct sync_rule *rule, struct buf *cookie)
{
	struct buf head = { 0 };
	bool ok;

	cookie_encode(&head, rule, &(struct buf){ 0 });
	ok = n > head.len && memcmp(note, head.data, head.len) == 0;
	if (ok)
		buf_add(cookie, note + head.len, n - head.len);
	buf_free(&head);
	return ok;
}

bool cookie_decode_any(const char *note, size_t n, struct buf *cookie)
{
	const char *blank = memchr(note, ' ', n);
	char *digits = blank != NULL ? xstrndup(note, (size_t)(blank - note)) : NULL;
	uint64_t length;
	size_t head = blank != NULL ? (size_t)(blank + 1 - note) : n;
	const bool ok = digits != NULL && parse_number(digits, n, &length) && length < n - head && note[head + length] == '\n';

	free(digits);
	if (!ok)
		return false;
	head += length + 1;
	return head < n && buf_add(cookie, note + head, n - head);
}

/* The text behind "NAME=" in a cookie of OpenLDAP, "rid=000,sid=001,csn=CSN;CSN"; NULL if it has none, or is no such cookie. */
static const char *part_of(const struct buf *cookie, const char *name, size_t *n)
{
	const char *p = buf_str(cookie), *found = NULL;
	const size_t length = strlen(name);

	if (strlen(p) != cookie->len)
		return NULL;
	for (;;) {
		const size_t part = strcspn(p, ",");

		if (strncmp(p, "rid=", 4) != 0 && strncmp(p, "sid=", 4) != 0 && strncmp(p, "csn=", 4) != 0)
			return NULL;
		if (strncmp(p, name, length) == 0 && p[length] == '=') {
			found = p + length + 1;
			*n = part - length - 1;
		}
		if (p[part] == '\0')
			return found;
		p += part + 1;
	}
}

bool cookie_for_others(const struct buf *cookie, struct buf *out)
{
	size_t n;
	const char *csn = part_of(cookie, "csn", &n);

	if (csn == NULL)
		return false;
	buf_adds(out, "rid=000,csn=");
	buf_add(out, csn, n);
	return true;
}

void cookie_provider(const struct buf *cookie, struct buf *sid)
{
	size_t n;
	const char *text = part_of(cookie, "sid", &n);

	if (text != NULL)
		buf_add(sid, text, n);
}

/* One of the CSNs in a list of them with ";" between, "20260101000000.123456Z#000000#001#000000". */
struct csn {
	const char *text;
	size_t length;
	const char *origin;      /* three digits: the number of the server at which the change was made */
};

#define ORIGIN 3

/* Steps over the next CSN of the list; false at its end, or if it is none. */
static bool next_csn(const char **list, size_t *n, struct csn *csn)
{
	const char *semicolon = memchr(*list, ';', *n);
	const size_t length = semicolon != NULL ? (size_t)(semicolon - *list) : *n;
	const char *mark = memchr(*list, '#', length);
	const size_t before = sizeof "#000000#" - 1;

	if (mark == NULL || (size_t)(*list + length - mark) < before + ORIGIN)
		return false;
	*csn = (struct csn){ *list, length, mark + before };
	*list += length + (semicolon != NULL);
	*n -= length + (semicolon != NULL);
	return true;
}

/* The CSN of the same origin in a list. */
static bool find_csn(const char *list, size_t n, const char *origin, struct csn *found)
{
	while (next_csn(&list, &n, found))
		if (memcmp(found->origin, origin, ORIGIN) == 0)
			return true;
	return false;
}

static bool is_older(const struct csn *a, const struct csn *b)
{
	return memcmp(a->text, b->text, a->length < b->length ? a->length : b->length) < 0;
}

enum cookie_state cookie_state(const struct buf *map, const struct buf *server)
{
	size_t n, m;
	const char *has = part_of(map, "csn", &n), *new = part_of(server, "csn", &m);
	struct csn ours, theirs;

	if (has == NULL || new == NULL)
		return COOKIE_UNKNOWN;
	while (next_csn(&has, &n, &ours))
		if (!find_csn(new, m, ours.origin, &theirs) || is_older(&theirs, &ours))
			return COOKIE_LAGS;
	return COOKIE_CURRENT;
}

bool cookie_went_back(const struct buf *before, const struct buf *after)
{
	size_t n, m;
	const char *old = part_of(before, "csn", &n), *new = part_of(after, "csn", &m);
	struct csn was, is;

	while (old != NULL && new != NULL && next_csn(&old, &n, &was))
		if (find_csn(new, m, was.origin, &is) && is_older(&is, &was))
			return true;
	return false;
}

void cookie_take(struct buf *cookie, const struct buf *newer)
{
	struct buf merged = { 0 };
	size_t n, m;
	const char *old = part_of(cookie, "csn", &n), *new = part_of(newer, "csn", &m);
	struct csn csn, other;

	buf_add(&merged, buf_str(newer), newer->len);
	while (old != NULL && new != NULL && next_csn(&old, &n, &csn)) {
		if (find_csn(new, m, csn.origin, &other))
			continue;
		buf_addc(&merged, ';');
		buf_add(&merged, csn.text, csn.length);
	}
	buf_free(cookie);
	*cookie = merged;
}

/* ---- entries ------------------------------------------------------------------ */

void entry_name(struct buf *name, const struct sync_rule *rule, const struct sync_uuid *uuid)
{
	buf_addf(name, ENTRY "%s-", rule->name);
	for (size_t i = 0; i < SYNC_UUID; i++)
		buf_addf(name, "%02x", uuid->bytes[i]);
}

void entry_encode(struct buf *note, const char *dn, const struct yield *yield)
{
	/* it is shown to people only; a newline in it must not look like the end of a line */
	text_add_clean_string(note, dn, LONGEST_NAME);
	buf_addc(note, '\n');
	for (size_t i = 0; i < yield->count; i++) {
		const struct wanted *w = &yield->records[i];

		if (w->value != NULL)
			buf_addf(note, "+%s\t%s\n", w->key, w->value);
		else
			buf_addf(note, "?%s\n", w->key);
	}
	for (size_t i = 0; yield->domains != NULL && yield->domains[i] != NULL; i++)
		buf_addf(note, "@%s\n", yield->domains[i]);
	if (yield->version != 0)
		buf_addf(note, "#%016" PRIx64 "\n", yield->version);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_version(const char *hex, const char *end, uint64_t *version)
{
	for (const char *p = hex; p < end; p++) {
		if (digit(*p) < 0)
			return false;
		*version = *version << 4 | (uint64_t)digit(*p);
	}
	return end - hex == 16 && *version != 0;
}

static bool take_line(struct yield *yield, size_t *capacity, const char *line, const char *end)
{
	const char *tab = memchr(line, '\t', (size_t)(end - line));
	const char kind = *line++;
	struct wanted *w;

	if (line == end || kind == '\0')
		return false;
	if (kind == '@' && tab == NULL) {
		char *domain = xstrndup(line, (size_t)(end - line));

		words_add(&yield->domains, domain);
		free(domain);
		return true;
	}
	if (kind == '#')
		return yield->version == 0 && parse_version(line, end, &yield->version);
	if ((kind != '+' || tab == NULL || tab == line) && (kind != '?' || tab != NULL))
		return false;
	yield->records = xgrow(yield->records, yield->count, capacity, sizeof *yield->records);
	w = &yield->records[yield->count++];
	w->key = xstrndup(line, (size_t)((tab != NULL ? tab : end) - line));
	w->value = tab != NULL ? xstrndup(tab + 1, (size_t)(end - tab - 1)) : NULL;
	return true;
}

bool entry_decode(const char *note, size_t n, char **dn, struct yield *yield)
{
	const char *p = memchr(note, '\n', n), *end = note + n;
	size_t capacity = 0;

	*yield = (struct yield){ 0 };
	*dn = NULL;
	if (p == NULL || memchr(note, '\0', n) != NULL)
		return false;
	*dn = xstrndup(note, (size_t)(p - note));
	for (p++; p < end; p++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));

		if (newline == NULL || newline == p || !take_line(yield, &capacity, p, newline))
			return false;
		p = newline;
	}
	return true;
}

/* ---- names -------------------------------------------------------------------- */

static bool parse_uuid(const char *hex, struct sync_uuid *uuid)
{
	for (size_t i = 0; i < SYNC_UUID; i++) {
		const int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		uuid->bytes[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool begins(const char *name, size_t n, const char *start, const char **rest, size_t *length)
{
	const size_t m = strlen(start);

	if (n <= m || memcmp(name, start, m) != 0)
		return false;
	*rest = name + m;
	*length = n - m;
	return true;
}

enum note_kind note_parse(const char *name, size_t n, const char **rule, size_t *rule_length, struct sync_uuid *uuid)
{
	if (n == strlen(SYNC_DOMAINS) && memcmp(name, SYNC_DOMAINS, n) == 0)
		return NOTE_DOMAINS;
	if (n == strlen(SYNC_COMPARED) && memcmp(name, SYNC_COMPARED, n) == 0)
		return NOTE_COMPARED;
	if (n == strlen(SYNC_SHRINKAGE) && memcmp(name, SYNC_SHRINKAGE, n) == 0)
		return NOTE_SHRINKAGE;
	if (begins(name, n, COOKIE, rule, rule_length))
		return NOTE_COOKIE;
	if (!begins(name, n, ENTRY, rule, rule_length) || *rule_length <= 2 * SYNC_UUID + 1)
		return NOTE_OTHER;
	*rule_length -= 2 * SYNC_UUID + 1;
	if ((*rule)[*rule_length] != '-' || !parse_uuid(*rule + *rule_length + 1, uuid))
		return NOTE_OTHER;
	return NOTE_ENTRY;
}
