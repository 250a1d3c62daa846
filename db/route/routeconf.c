#include "db/route/routeconf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "db/build/fault.h"
#include "db/map/map.h"
#include "db/route/setup.h"
#include "lib/alloc.h"
#include "lib/conf.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"

/* Milliseconds between two looks, and between two tries of a change that cannot be used. */
#define LOOK_PAUSE 200
#define RETRY_PAUSE 1000

/* A file that was left alone for so long is whole: one that only grew, and one that lost a line. */
#define WHOLE 1000
#define WHOLE_IF_LESS 60000

/* No such file is larger, and a service must not be busy with one. */
#define LARGEST (1024 * 1024)

/* In the order in which a fault in them is told. */
enum { ZENV, DBASES, SETTINGS, FILES };

/* What was read at one time. */
struct state {
	struct dbases dbases;
	struct buf text[FILES];
};

struct route_config {
	char *path[FILES];             /* that of ZENV may be NULL */
	char *const *settings;
	size_t setting_count;
	struct state state;            /* in force */
	struct stat seen[FILES];       /* all 0: it was not there */
	int64_t since;                 /* clock_ms(): the files have been as `seen` since then, at least */
	int64_t look_again;
	bool is_new;                   /* the files may say something else than what is in force */
	struct buf told;               /* of this change; the notes on what is in force */
	struct buf noted;
};

/* ---- reading ---- */

static void state_free(struct state *s)
{
	dbases_free(&s->dbases);
	for (size_t i = 0; i < FILES; i++)
		buf_free(&s->text[i]);
}

/* EX_OK, or a code after `report` and `why` have what is wrong; state_free() in any case. */
static int state_read(const struct route_config *c, struct state *s, fault_report *report, void *context, struct buf *why)
{
	struct zenv zenv = { 0 };
	int status = zenv_read(&zenv, why);

	*s = (struct state){ 0 };
	s->text[DBASES].limit = s->text[SETTINGS].limit = LARGEST;
	buf_add(&s->text[ZENV], buf_str(&zenv.text), zenv.text.len);
	if (status == EX_OK)
		status = dbases_read_text(&s->dbases, c->path[DBASES], &s->text[DBASES], &zenv, report, context);
	zenv_free(&zenv);
	return status != EX_OK ? status : router_read_settings(c->path[SETTINGS], &s->text[SETTINGS], why);
}

static struct router *state_router(const struct route_config *c, const struct state *s, int *status, struct buf *why,
                                   struct buf *notes)
{
	struct router *router = router_make(&s->dbases, c->path[SETTINGS], &s->text[SETTINGS], c->settings, c->setting_count, status,
	                                    why, notes);

	/* changes of the maps are seen at the next question */
	for (size_t i = 0; router != NULL && i < ROUTE_RELATIONS; i++)
		for (size_t j = 0; router->relations[i] != NULL && j < router->relations[i]->count; j++)
			router->relations[i]->maps[j].options.refresh = true;
	return router;
}

static void look(const struct route_config *c, struct stat *seen)
{
	for (size_t i = 0; i < FILES; i++)
		if (c->path[i] == NULL || stat(c->path[i], &seen[i]) < 0)
			seen[i] = (struct stat){ 0 };
}

/* Takes down what the files are now; true if they are as they were. */
static bool is_as_seen(struct route_config *c, int64_t now)
{
	struct stat seen[FILES];
	bool same = true;

	look(c, seen);
	for (size_t i = 0; i < FILES; i++)
		same = same && file_is_unchanged(&seen[i], &c->seen[i]);
	if (same)
		return true;
	memcpy(c->seen, seen, sizeof seen);
	c->since = now;
	c->is_new = true;
	return false;
}

struct route_config *route_config_create(const char *dbases, char *const *settings, size_t count)
{
	struct route_config *c = xcalloc(1, sizeof *c);
	const char *zenv = zenv_path();

	c->path[ZENV] = zenv != NULL ? xstrdup(zenv) : NULL;
	c->path[DBASES] = xstrdup(dbases);
	c->path[SETTINGS] = router_settings_path(dbases);
	c->settings = settings;
	c->setting_count = count;
	return c;
}

void route_config_free(struct route_config **at)
{
	struct route_config *c = *at;

	*at = NULL;
	if (c == NULL)
		return;
	for (size_t i = 0; i < FILES; i++)
		free(c->path[i]);
	state_free(&c->state);
	buf_free(&c->told);
	buf_free(&c->noted);
	free(c);
}

/* A note comes once, and again when it is another. */
static void tell_notes(struct route_config *c, const struct buf *notes)
{
	if (strcmp(buf_str(&c->noted), buf_str(notes)) != 0)
		complain_lines(buf_str(notes));
	buf_clear(&c->noted);
	buf_add(&c->noted, buf_str(notes), notes->len);
}

int route_config_open(struct route_config *c, struct moment now, struct router **router)
{
	struct buf why = { 0 }, notes = { 0 };
	int status;

	/* it may have been written just now, or be half there: it is compared with what comes of it */
	(void)is_as_seen(c, now.ms);
	c->is_new = true;
	status = state_read(c, &c->state, fault_complain, NULL, &why);
	if (status == EX_OK)
		*router = state_router(c, &c->state, &status, &why, &notes);
	if (status != EX_OK)
		state_free(&c->state);
	complain_lines(buf_str(&why));
	tell_notes(c, &notes);
	buf_free(&why);
	buf_free(&notes);
	return status;
}

struct router *route_config_router(const struct route_config *c, int *status)
{
	struct buf why = { 0 }, notes = { 0 };
	struct router *router = state_router(c, &c->state, status, &why, &notes);

	complain_lines(buf_str(&why));
	buf_free(&why);
	buf_free(&notes);
	return router;
}

const struct dbases *route_config_dbases(const struct route_config *c)
{
	return &c->state.dbases;
}

const char *route_config_settings(const struct route_config *c)
{
	return buf_str(&c->state.text[SETTINGS]);
}

const char *route_config_settings_path(const struct route_config *c)
{
	return c->path[SETTINGS];
}

/* ---- news ---- */

/*
 * Have the files been as they are for so long?  Their own times tell, where nobody asked meanwhile.  Of one that is gone, and where
 * the clock of a file server is ahead, only our own looks do.
 */
static bool is_left_alone(const struct route_config *c, struct moment now, int64_t pause)
{
	if (now.ms - c->since >= pause)
		return true;
	for (size_t i = 0; i < FILES; i++) {
		const struct stat *st = &c->seen[i];

		if (c->path[i] == NULL || (st->st_ino == 0 && c->state.text[i].len == 0))
			continue;
		if (st->st_ino == 0 || (now.wall - st->st_ctim.tv_sec) * 1000 - st->st_ctim.tv_nsec / 1000000 < pause)
			return false;
	}
	return true;
}

/* The next line that says something. */
static bool next_line(struct conf_text *lines)
{
	while (conf_next(lines)) {
		size_t at = 0;

		while (at < lines->length && ascii_is_space(lines->line[at]))
			at++;
		if (at < lines->length && lines->line[at] != '#')
			return true;
	}
	return false;
}

/* Does the new text lack a line of the old one?  Its writer may not be done with it. */
static bool has_less(const struct buf *old, const struct buf *new)
{
	struct conf_text before = conf_begin("", buf_str(old), old->len, NULL);
	struct conf_text after = conf_begin("", buf_str(new), new->len, NULL);
	bool has_more = next_line(&before);

	if (buf_equal(old, new))
		return false;
	while (has_more && next_line(&after))
		if (before.length == after.length && memcmp(before.line, after.line, after.length) == 0)
			has_more = next_line(&before);
	return has_more;
}

/* The first fault of a change in one line, and how many more there are. */
struct faults {
	struct buf first;
	size_t more;
};

static void note_fault(void *context, const struct fault *fault)
{
	struct faults *f = context;

	if (fault->is_warning)
		return;
	if (f->first.len > 0) {
		f->more++;
		return;
	}
	fault_add(&f->first, fault);
}

static bool has_map(const struct dbases *dbases, const struct dbases_map *map)
{
	for (size_t i = 0; i < dbases->count; i++)
		if (dbases->maps[i].file != NULL && strcmp(dbases->maps[i].file, map->file) == 0 &&
		    strcmp(dbases->maps[i].type, map->type) == 0)
			return true;
	return false;
}

/* A new text that ends within a line is the front of one, as a writer leaves it that has stopped, or found the disk full. */
static void look_for_ends(const struct route_config *c, const struct state *new, struct buf *why)
{
	for (size_t i = 0; i < FILES && why->len == 0; i++) {
		const struct buf *text = &new->text[i];

		if (text->len > 0 && text->data[text->len - 1] != '\n' && !buf_equal(&c->state.text[i], text))
			buf_addf(why, "%s: the last line has no end, the file may be cut off; add a line end", c->path[i]);
	}
}

/* A map that the file has in addition must be there: a line may be written before its map is. */
static void look_for_maps(const struct route_config *c, const struct dbases *new, struct buf *why)
{
	for (size_t i = 0; i < new->count && why->len == 0; i++) {
		const struct dbases_map *m = &new->maps[i];
		struct map *map;
		int status;

		if (m->file == NULL || m->kind == DBASES_NONE || m->kind == DBASES_FOREIGN || has_map(&c->state.dbases, m))
			continue;
		map = map_open(m->type, m->file, m->config, &status, why);
		if (map != NULL && !file_can_be_read(map->path))
			buf_addf(why, "%s:%zu: %s: %s", c->path[DBASES], m->line, map->path, file_error(errno));
		map_close(&map);
	}
}

static void tell(struct route_config *c, const char *line)
{
	if (strcmp(buf_str(&c->told), line) == 0)
		return;
	buf_clear(&c->told);
	buf_adds(&c->told, line);
	complain("%s", line);
}

static void tell_fault(struct route_config *c, const struct faults *f, const struct buf *why)
{
	struct buf line = { 0 };
	const char *text = f->first.len > 0 ? buf_str(&f->first) : buf_str(why);

	buf_add(&line, text, strcspn(text, "\n"));
	if (f->more > 0)
		buf_addf(&line, " (and %zu more)", f->more);
	buf_adds(&line, "; the maps stay in use as they were before this change");
	tell(c, buf_str(&line));
	buf_free(&line);
}

static void tell_wait(struct route_config *c, const char *path)
{
	struct buf line = { 0 };

	buf_addf(&line, "%s: lines are gone or different: the change is used when the file was left alone for a minute", path);
	tell(c, buf_str(&line));
	buf_free(&line);
}

static bool has_changed(const struct route_config *c, const struct state *new)
{
	for (size_t i = 0; i < FILES; i++)
		if (!buf_equal(&c->state.text[i], &new->text[i]))
			return true;
	return false;
}

/* The file that may be half written, and was not left alone for long enough; NULL if none is. */
static const char *find_half(const struct route_config *c, const struct state *new, struct moment now)
{
	for (size_t i = 0; i < FILES; i++)
		if (has_less(&c->state.text[i], &new->text[i]))
			return is_left_alone(c, now, WHOLE_IF_LESS) ? NULL : c->path[i];
	return NULL;
}

bool route_config_renew(struct route_config *c, struct moment now, struct router **router)
{
	struct state new;
	struct faults faults = { 0 };
	struct buf why = { 0 }, notes = { 0 };
	struct router *opened = NULL;
	const char *half;
	int status;

	if (now.ms < c->look_again)
		return false;
	c->look_again = now.ms + LOOK_PAUSE;
	(void)is_as_seen(c, now.ms);
	if (!c->is_new || !is_left_alone(c, now, WHOLE))
		return false;
	c->look_again = now.ms + RETRY_PAUSE;
	status = state_read(c, &new, note_fault, &faults, &why);
	if (status == EX_OK && has_changed(c, &new)) {
		look_for_ends(c, &new, &why);
		look_for_maps(c, &new.dbases, &why);
		if (why.len == 0)
			opened = state_router(c, &new, &status, &why, &notes);
	}
	if (!is_as_seen(c, now.ms)) {
		/* what was read is of two times */
		router_destroy(&opened);
	} else if (status != EX_OK || why.len > 0) {
		tell_fault(c, &faults, &why);
	} else if (opened == NULL) {
		c->is_new = false;
		buf_clear(&c->told);
	} else if ((half = find_half(c, &new, now)) != NULL) {
		tell_wait(c, half);
		router_destroy(&opened);
	} else {
		complain("%s: read again, as it has changed", c->path[DBASES]);
		tell_notes(c, &notes);
		state_free(&c->state);
		c->state = new;
		new = (struct state){ 0 };
		c->is_new = false;
		buf_clear(&c->told);
		*router = opened;
	}
	state_free(&new);
	buf_free(&faults.first);
	buf_free(&why);
	buf_free(&notes);
	return !c->is_new && opened != NULL;
}
