#include "lib/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/parse.h"
#include "lib/text.h"

/* The first line of each of our files; what begins otherwise is not ours. */
#define MARK "# Written by zlmtp; counters of several processes add up here.\n"
#define LARGEST ((size_t)16 * 1024 * 1024)
#define LABEL_MAX 300
#define LOCK_PAUSE_NS 5000000

struct series {
	char *name;               /* as it stands in the file, with its labels */
	uint64_t value;           /* thousandths */
};

struct family {
	char *name, *help;
	enum metric_kind kind;
	struct series *series;
	size_t count, capacity;
};

struct families {
	struct family *list;
	size_t count, capacity;
};

struct metrics {
	char *path;
	struct families own;
};

static const char *const kind_names[] = { "counter", "gauge", "histogram" };

/* ---- families ---- */

static struct family *find_family(struct families *all, const char *name)
{
	for (size_t i = 0; i < all->count; i++)
		if (strcmp(all->list[i].name, name) == 0)
			return &all->list[i];
	return NULL;
}

static struct family *need_family(struct families *all, const char *name, enum metric_kind kind, const char *help)
{
	struct family *f = find_family(all, name);

	if (f != NULL)
		return f;
	all->list = xgrow(all->list, all->count, &all->capacity, sizeof *all->list);
	f = &all->list[all->count++];
	*f = (struct family){ .name = xstrdup(name), .help = xstrdup(help), .kind = kind };
	return f;
}

static struct series *need_series(struct family *f, const char *name)
{
	for (size_t i = 0; i < f->count; i++)
		if (strcmp(f->series[i].name, name) == 0)
			return &f->series[i];
	f->series = xgrow(f->series, f->count, &f->capacity, sizeof *f->series);
	f->series[f->count] = (struct series){ .name = xstrdup(name) };
	return &f->series[f->count++];
}

static void forget_series(struct family *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->series[i].name);
	f->count = 0;
}

static void free_families(struct families *all)
{
	for (size_t i = 0; i < all->count; i++) {
		forget_series(&all->list[i]);
		free(all->list[i].series);
		free(all->list[i].name);
		free(all->list[i].help);
	}
	free(all->list);
	*all = (struct families){ 0 };
}

/* ---- counting ---- */

struct metrics *metrics_create(const char *path)
{
	struct metrics *m = xcalloc(1, sizeof *m);

	m->path = xstrdup(path);
	return m;
}

void metrics_destroy(struct metrics **m)
{
	if (*m == NULL)
		return;
	free_families(&(*m)->own);
	free((*m)->path);
	free(*m);
	*m = NULL;
}

void metrics_label(struct buf *labels, const char *name, const char *value)
{
	struct buf clean = { 0 };

	text_add_clean_string(&clean, value, LABEL_MAX);
	buf_addf(labels, "%s%s=\"", labels->len > 0 ? "," : "", name);
	for (const char *p = buf_str(&clean); *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			buf_addc(labels, '\\');
		buf_addc(labels, *p);
	}
	buf_addc(labels, '"');
	buf_free(&clean);
}

static struct series *own_series(struct metrics *m, const struct metric *metric, const char *suffix, const char *labels,
                                 const char *more)
{
	struct family *f = need_family(&m->own, metric->name, metric->kind, metric->help);
	bool both = labels[0] != '\0' && more[0] != '\0', any = labels[0] != '\0' || more[0] != '\0';
	char *name = xasprintf("%s%s%s%s%s%s%s", metric->name, suffix, any ? "{" : "", labels, both ? "," : "", more,
	                       any ? "}" : "");
	struct series *s = need_series(f, name);

	free(name);
	return s;
}

void metrics_add(struct metrics *m, const struct metric *metric, const char *labels, uint64_t thousandths)
{
	struct series *s = own_series(m, metric, "", labels, "");

	if (metric->kind == METRIC_GAUGE)
		s->value = thousandths;
	else
		s->value += thousandths;
}

static void add_number(struct buf *out, uint64_t thousandths)
{
	buf_addf(out, "%" PRIu64, thousandths / 1000);
	if (thousandths % 1000 != 0)
		buf_addf(out, ".%03d", (int)(thousandths % 1000));
}

void metrics_spread(struct metrics *m, const struct metric *metric, const char *labels, const uint64_t *limits,
                    const uint64_t *counts, size_t n, uint64_t sum)
{
	uint64_t total = 0;
	struct buf limit = { 0 };

	for (size_t i = 0; i <= n; i++) {
		total += counts[i];
		buf_clear(&limit);
		buf_adds(&limit, "le=\"");
		if (i < n)
			add_number(&limit, limits[i]);
		else
			buf_adds(&limit, "+Inf");
		buf_addc(&limit, '"');
		own_series(m, metric, "_bucket", labels, limit.data)->value += total * 1000;
	}
	own_series(m, metric, "_sum", labels, "")->value += sum;
	own_series(m, metric, "_count", labels, "")->value += total * 1000;
	buf_free(&limit);
}

/* ---- the file ---- */

/* Whole numbers, or three digits behind a point. */
static bool parse_value(const char *s, uint64_t *thousandths)
{
	const char *point = strchr(s, '.');
	char whole[24];
	size_t n = point != NULL ? (size_t)(point - s) : strlen(s);
	uint64_t units, rest = 0;

	if (n >= sizeof whole || (point != NULL && (strlen(point + 1) != 3 || !parse_number(point + 1, 999, &rest))))
		return false;
	memcpy(whole, s, n);
	whole[n] = '\0';
	if (!parse_number(whole, UINT64_MAX / 1000 - 1, &units))
		return false;
	*thousandths = units * 1000 + rest;
	return true;
}

/* "# HELP name text" or "# TYPE name kind": the text behind the name, which is cut off; NULL if it is not that. */
static char *about(char *line, const char *what, char **name)
{
	char *blank;

	if (strncmp(line, "# ", 2) != 0 || strncmp(line + 2, what, 4) != 0 || line[6] != ' ')
		return NULL;
	*name = line + 7;
	blank = strchr(*name, ' ');
	if (blank == NULL)
		return NULL;
	*blank = '\0';
	return blank + 1;
}

static bool parse_kind(const char *word, enum metric_kind *kind)
{
	for (size_t i = 0; i < sizeof kind_names / sizeof kind_names[0]; i++) {
		if (strcmp(word, kind_names[i]) == 0) {
			*kind = (enum metric_kind)i;
			return true;
		}
	}
	return false;
}

/* One line, terminated, behind the mark.  The family in hand is the last one. */
static bool parse_line(struct families *all, char *line)
{
	struct family *f = all->count > 0 ? &all->list[all->count - 1] : NULL;
	char *name, *text, *blank;
	uint64_t value;

	if ((text = about(line, "HELP", &name)) != NULL) {
		if (find_family(all, name) != NULL)
			return false;
		need_family(all, name, METRIC_COUNTER, text);
		return true;
	}
	if (f == NULL)
		return false;
	if ((text = about(line, "TYPE", &name)) != NULL)
		return strcmp(name, f->name) == 0 && f->count == 0 && parse_kind(text, &f->kind);
	blank = strrchr(line, ' ');
	if (blank == NULL || strncmp(line, f->name, strlen(f->name)) != 0 || !parse_value(blank + 1, &value))
		return false;
	*blank = '\0';
	need_series(f, line)->value = value;
	return true;
}

static bool parse_text(struct families *all, struct buf *text, const char *path, struct buf *why)
{
	char *at = text->data, *end = at + text->len;
	size_t number = 1;

	/* an empty one is what the system may leave when the power fails: no numbers are lost by writing it */
	if (text->len == 0)
		return true;
	if (strncmp(at, MARK, strlen(MARK)) != 0) {
		buf_addf(why, "%s:1: expected a file that zlmtp has written; left unchanged", path);
		return false;
	}
	while (at < end) {
		char *lf = memchr(at, '\n', (size_t)(end - at));
		bool ok = lf != NULL;

		if (ok)
			*lf = '\0';
		if (!ok || strlen(at) != (size_t)(lf - at) || (number > 1 && !parse_line(all, at))) {
			buf_addf(why, "%s:%zu: neither a metric nor its HELP or TYPE line; file left unchanged; remove it to start afresh",
			         path, number);
			return false;
		}
		at = lf + 1;
		number++;
	}
	return true;
}

static bool read_file(const char *path, struct families *all, struct buf *why)
{
	struct buf text = { .limit = LARGEST };
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	bool ok;

	if (fd < 0 && errno == ENOENT)
		return true;
	if (fd < 0 || fstat(fd, &st) < 0) {
		buf_addf(why, "%s: %s", path, strerror(errno));
		ok = false;
	} else if (!S_ISREG(st.st_mode)) {
		buf_addf(why, "%s: not a regular file", path);
		ok = false;
	} else if (buf_reserve(&text, 1) == NULL || !file_read(fd, &text)) {
		buf_addf(why, "%s: %s", path, strerror(errno));
		ok = false;
	} else {
		ok = parse_text(all, &text, path, why);
	}
	if (fd >= 0)
		close(fd);
	buf_free(&text);
	return ok;
}

static void merge(struct families *all, const struct families *own)
{
	for (size_t i = 0; i < own->count; i++) {
		const struct family *from = &own->list[i];
		struct family *to = need_family(all, from->name, from->kind, from->help);

		if (from->kind == METRIC_GAUGE)
			forget_series(to);
		for (size_t j = 0; j < from->count; j++)
			need_series(to, from->series[j].name)->value += from->series[j].value;
	}
}

static void compose(struct buf *out, const struct families *all)
{
	buf_adds(out, MARK);
	for (size_t i = 0; i < all->count; i++) {
		const struct family *f = &all->list[i];

		buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, kind_names[f->kind]);
		for (size_t j = 0; j < f->count; j++) {
			buf_addf(out, "%s ", f->series[j].name);
			add_number(out, f->series[j].value);
			buf_addc(out, '\n');
		}
	}
}

/* A descriptor that holds the lock; -1 with errno, EWOULDBLOCK if another process has it for longer than we wait. */
static int lock(const char *path, int64_t patience)
{
	int64_t deadline = clock_ms() + patience;
	char *name = xasprintf("%s.lock", path);
	int fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	free(name);
	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK && clock_ms() < deadline) {
			clock_pause(LOCK_PAUSE_NS);
			continue;
		}
		if (errno != EINTR) {
			int saved = errno;

			close(fd);
			errno = saved;
			return -1;
		}
	}
	return fd;
}

enum metrics_result metrics_write(struct metrics *m, int64_t patience, struct buf *why)
{
	int fd = lock(m->path, patience);
	bool ok;
	struct families all = { 0 };
	struct buf text = { 0 };

	if (fd < 0 && errno == EWOULDBLOCK)
		return METRICS_BUSY;
	if (fd < 0) {
		buf_addf(why, "%s.lock: %s", m->path, strerror(errno));
		return METRICS_REFUSED;
	}
	ok = read_file(m->path, &all, why);
	if (ok) {
		merge(&all, &m->own);
		compose(&text, &all);
		ok = file_replace(m->path, text.data, text.len, 0644);
		if (!ok)
			buf_addf(why, "%s: %s", m->path, strerror(errno));
	}
	free_families(&all);
	buf_free(&text);
	close(fd);
	if (ok)
		free_families(&m->own);
	return ok ? METRICS_WRITTEN : METRICS_REFUSED;
}
