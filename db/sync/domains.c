#include "db/sync/domains.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/live/livemap.h"
#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/publish.h"

#define HEADING "# served domains, written by ldapsync; changes made here are lost\n"

/* What a domain is made of, in a list that another program has written. */
#define DOMAIN_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

#define POLL_MS 20
#define RUN_MS 300000
#define RETRY_MS 60000

/* ---- the file --------------------------------------------------------------------- */

static bool add_line(const struct domains *d, const char *domain, struct buf *text)
{
	struct ldap_entry entry = { 0 };
	struct results lines = { 0 };
	const char *culprit;
	bool ok;

	if (d->format == NULL)
		return buf_adds(text, domain) && buf_addc(text, '\n');
	ldap_entry_add(&entry, "domain", domain, strlen(domain));
	ok = template_expand(d->format, &entry, NULL, false, &lines, &culprit) == TEMPLATE_DONE;
	if (ok)
		buf_addf(text, "%s\n", lines.list[0]);
	results_free(&lines);
	ldap_entry_free(&entry);
	return ok;
}

/* True if a word of the line has the form of a domain, with a dot in it. */
static bool names_domain(const char *line, size_t n)
{
	if (memchr(line, '\0', n) != NULL)
		return false;
	for (const char *word = line; word < line + n;) {
		const size_t length = strcspn(word, " \t\n");

		if (memchr(word, '.', length) != NULL && strspn(word, DOMAIN_BYTES) == length)
			return true;
		word += length + 1;
	}
	return false;
}

/* Number of the first line that no list of domains has; 0: there is none.  Anything stands in what we have written. */
static size_t foreign_line(const struct buf *text)
{
	const char *line = buf_str(text), *end = line + text->len;
	size_t number = 0;

	if (strncmp(line, HEADING, sizeof HEADING - 1) == 0)
		return 0;
	while (line < end) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const size_t n = (size_t)((newline != NULL ? newline : end) - line);

		number++;
		if (n > 0 && line[0] != '#' && !names_domain(line, n))
			return number;
		line += n + (newline != NULL);
	}
	return 0;
}

/* The lines that are no comments, sorted. */
static void split_lines(const char *text, struct results *lines)
{
	while (*text != '\0') {
		const size_t n = strcspn(text, "\n");
		char *line = xstrndup(text, n);

		if (line[0] != '#' && line[0] != '\0')
			results_add(lines, line);
		free(line);
		text += n + (text[n] == '\n');
	}
	results_settle(lines);
}

static bool is_too_much(const char *before, const char *after, struct buf *why, const char *path)
{
	struct results had = { 0 }, has = { 0 };
	size_t gone, k = 0;
	bool too_much;

	split_lines(before, &had);
	split_lines(after, &has);
	/* both are sorted */
	gone = 0;
	for (size_t i = 0; i < had.count; i++) {
		while (k < has.count && strcmp(has.list[k], had.list[i]) < 0)
			k++;
		gone += k == has.count || strcmp(has.list[k], had.list[i]) != 0;
	}
	too_much = has.count == 0 || livemap_is_mass_removal(gone, had.count, has.count);
	if (had.count == 0 && has.count == 0)
		buf_addf(why, "%s: no rule gives a domain; nothing was changed", path);
	else if (too_much)
		buf_addf(why, "%s: %zu of %zu domains would be removed; nothing was changed", path, gone, had.count);
	results_free(&had);
	results_free(&has);
	return too_much;
}

static int publish(const char *path, const struct buf *text, struct buf *why)
{
	struct publish file = { 0 };
	struct stat st;
	const bool is_there = stat(path, &st) == 0;
	bool ok = publish_begin(&file, path, is_there ? st.st_mode & 07777 : 0644);

	if (!ok) {
		const int error = errno;

		buf_addf(why, "%s: %s", path, strerror(error));
		return error == EACCES || error == EPERM ? EX_NOPERM : EX_CANTCREAT;
	}
	if (is_there)
		ok = publish_owner(&file, st.st_uid, st.st_gid) || errno == EPERM;
	if (ok && file_write(file.fd, buf_str(text), text->len) && publish_commit(&file))
		return EX_OK;
	buf_addf(why, "%s: %s", path, strerror(errno));
	publish_abort(&file);
	return EX_IOERR;
}

/* What the file says, and what it is to say. */
static int prepare(const struct domains *d, char *const *list, struct buf *before, struct buf *after, struct buf *why)
{
	size_t foreign;

	buf_adds(after, HEADING);
	for (size_t i = 0; list[i] != NULL; i++)
		if (!add_line(d, list[i], after))
			return EX_SOFTWARE;
	if (!file_read_path(d->path, before) && errno != ENOENT) {
		buf_addf(why, "%s: %s", d->path, strerror(errno));
		return EX_IOERR;
	}
	foreign = foreign_line(before);
	if (foreign > 0) {
		buf_addf(why, "%s:%zu: this is no list of domains; move it away, or name another file", d->path, foreign);
		return EX_CANTCREAT;
	}
	if (strcmp(buf_str(before), buf_str(after)) != 0 && !d->may_shrink &&
	    is_too_much(buf_str(before), buf_str(after), why, d->path))
		return EX_TEMPFAIL;
	return EX_OK;
}

int domains_judge(const struct domains *d, char *const *list, struct buf *why)
{
	struct buf before = { 0 }, after = { 0 };
	const int status = prepare(d, list, &before, &after, why);

	buf_free(&before);
	buf_free(&after);
	return status;
}

int domains_write(struct domains *d, char *const *list, struct buf *why)
{
	struct buf before = { 0 }, after = { 0 };
	int status = prepare(d, list, &before, &after, why);

	if (status == EX_OK && strcmp(buf_str(&before), buf_str(&after)) != 0) {
		status = publish(d->path, &after, why);
		d->must_run = d->must_run || (status == EX_OK && d->command != NULL);
	}
	buf_free(&before);
	buf_free(&after);
	return status;
}

/* ---- the command -------------------------------------------------------------------- */

bool domains_run(struct domains *d, struct buf *why)
{
	/* a group of its own, so that it can be ended with all its children */
	const struct child_rules rules = { .in = CHILD_NULL, .out = CHILD_SAME, .err = CHILD_SAME, .own_group = true };

	if (d->pid != 0) {
		const bool may_go_on = clock_ms() < d->deadline;
		bool ended;
		int status;

		ended = child_end(d->pid, may_go_on ? CHILD_LEAVE : CHILD_KILL, 0, &status);
		if (!ended && may_go_on)
			return true;
		d->pid = 0;
		if (ended && status == 0) {
			d->deadline = 0;
			return true;
		}
		buf_addf(why, "%s: ", d->command[0]);
		if (ended)
			child_describe_end(why, status);
		else
			buf_addf(why, "did not end within %d s and was killed", RUN_MS / 1000);
		d->must_run = true;
		d->deadline = clock_ms() + RETRY_MS;
		return false;
	}
	if (!d->must_run || clock_ms() < d->deadline)
		return true;
	d->pid = child_run(&rules, d->command);
	if (d->pid > 0) {
		d->must_run = false;
		d->deadline = clock_ms() + RUN_MS;
		return true;
	}
	buf_addf(why, "%s: %s", d->command[0], strerror(errno));
	d->pid = 0;
	d->deadline = clock_ms() + RETRY_MS;
	return false;
}

void domains_stop(struct domains *d)
{
	if (d->pid == 0)
		return;
	child_end(d->pid, CHILD_KILL, 0, &(int){ 0 });
	d->pid = 0;
	d->must_run = true;
}

int64_t domains_deadline(const struct domains *d)
{
	if (d->pid != 0)
		return clock_ms() + POLL_MS;
	return d->must_run ? d->deadline : CLOCK_NEVER;
}
