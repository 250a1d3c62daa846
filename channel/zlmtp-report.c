/*
 * zlmtp-report: tells senders what became of their mail.  runqueue starts it and talks to it by its standard input
 * (channel/queue/reporter.h).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/notice/notice.h"
#include "channel/routing.h"
#include "channel/spool/control.h"
#include "channel/spool/event.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/logline.h"
#include "lib/options.h"
#include "lib/parse.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/zenv.h"

static const struct option_help options[] = {
	{ 'f', "DBASES", "the maps that route reports; router.conf beside it has their settings" },
	{ 'O', "log=keys|json", "form of the log lines (keys)" },
	{ 'P', "DIRECTORY", "the post office" },
	{ 0 },
};

static const struct program program = {
	.name = "zlmtp-report",
	.synopsis = "[-V] -f dbases [-O log=keys|json] -P directory",
	.purpose = "Writes reports to senders for runqueue, which starts it.",
	.options = options,
	.help = 'h',
};

/* Reports that are put into the queue with the same few syncs; each keeps up to four descriptors. */
#define BATCH 200
#define CHUNK (64 * 1024)

struct reporter {
	struct office office;
	struct routing routing;
	struct buf in;
	bool asked;
};

static void read_options(struct reporter *r, int argc, char **argv)
{
	int c;

	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case 'f': r->routing.dbases = optarg; break;
		case 'O':
			if (!logline_form(optarg, &r->office.json))
				option_usage(&program, "-O %s: expected log=keys or log=json", optarg);
			break;
		case 'P': r->office.spool.postoffice = optarg; break;
		}
	}
	if (optind < argc || r->routing.dbases == NULL || r->office.spool.postoffice == NULL)
		option_usage(&program, "expected -f and -P; runqueue starts this program");
}

/* ---- what reports are made with ---- */

/* The log has it; without a log daemon it is said like all else. */
static void tell_of_form(const struct reporter *r, const char *what)
{
	struct logline line = { 0 };

	if (!logline_is_heard()) {
		complain("%s", what);
		return;
	}
	event_begin(&line, r->office.json, "form", "-");
	logline_add(&line, "words", what);
	logline_end(&line);
	logline_send(&line);
	logline_free(&line);
}

/* ---- requests ---- */

/* A request in the hands of this program, with what its words point into. */
struct work {
	struct notice_request request;
	char *text;
	struct late *late;
	uint64_t id;
	struct notice *notice;
};

static _Noreturn void not_understood(const char *line)
{
	struct buf shown = { 0 };

	text_add_clean_string(&shown, line, 200);
	die(EX_PROTOCOL, "no request of runqueue: %s", buf_str(&shown));
}

static char *next_line(char **rest)
{
	return strsep(rest, "\n");
}

/* "OFFSET TAB TIME TAB NOTARY TAB TEXT" */
static struct late read_late(char *line)
{
	char *rest = line, *offset = strsep(&rest, "\t"), *when = strsep(&rest, "\t"), *notary = strsep(&rest, "\t");
	uint64_t at, time;

	if (rest == NULL || !parse_number(offset, INT64_MAX, &at) || !parse_number(when, INT64_MAX, &time))
		not_understood(line);
	return (struct late){ .offset = (off_t)at, .last_attempt = (int64_t)time, .notary = notary, .text = rest };
}

static int by_offset(const void *a, const void *b)
{
	const struct late *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static uint64_t number(char **rest, const char *line, uint64_t max)
{
	const char *word = strsep(rest, " ");
	uint64_t n;

	if (word == NULL || !parse_number(word, max, &n))
		not_understood(line);
	return n;
}

/* The length of the request at the beginning of `text`, 0 if it is not whole yet. */
static size_t whole_request(const char *text, size_t n)
{
	const char *lf = memchr(text, '\n', n), *last = NULL;
	size_t first = lf != NULL ? (size_t)(lf - text) : 0, more = 0;

	/* the first line of a request about delays ends in the number of those that follow */
	if (first > 6 && memcmp(text, "delay ", 6) == 0)
		last = memrchr(text, ' ', first);
	if (last != NULL)
		more = (size_t)strtoul(last + 1, NULL, 10);
	while (lf != NULL && more-- > 0)
		lf = memchr(lf + 1, '\n', n - (size_t)(lf + 1 - text));
	return lf != NULL ? (size_t)(lf + 1 - text) : 0;
}

static void read_request(struct work *w, const char *text, size_t n)
{
	char *rest = w->text = xstrndup(text, n), *line = next_line(&rest), *word = line;
	const char *kind = strsep(&word, " ");

	w->request.job = strsep(&word, " ");
	if (w->request.job == NULL || !control_id(w->request.job, &w->id))
		not_understood(line);
	w->request.inode = number(&word, line, UINT64_MAX);
	if (strcmp(kind, "waiting") == 0 && word == NULL) {
		w->request.waiting = true;
		return;
	}
	if (strcmp(kind, "settled") == 0 && word != NULL) {
		w->request.final = strcmp(word, "final") == 0;
		return;
	}
	if (strcmp(kind, "delay") != 0)
		not_understood(line);
	w->request.age = (int32_t)number(&word, line, INT32_MAX);
	w->request.until = (int64_t)number(&word, line, INT64_MAX);
	w->request.late_count = (size_t)number(&word, line, UINT32_MAX);
	w->late = xcalloc(w->request.late_count, sizeof *w->late);
	for (size_t i = 0; i < w->request.late_count; i++)
		w->late[i] = read_late(next_line(&rest));
	qsort(w->late, w->request.late_count, sizeof *w->late, by_offset);
	w->request.late = w->late;
}

/* ---- the work ---- */

static int open_maps(struct reporter *r)
{
	int status = r->routing.router == NULL ? routing_open(&r->routing) : EX_OK;

	if (status == EX_OK && routing_renew(&r->routing)) {
		report_settings_free(&r->office.settings);
		report_settings_read(&r->office.settings, r->routing.dbases, process_host());
	}
	r->office.router = r->routing.router;
	return status;
}

static void work_off(struct reporter *r, struct work *works, size_t count)
{
	struct spool_draft **drafts = NULL;
	size_t draft_count = 0, capacity = 0;
	/* the maps may be refused now and be mended later: nothing is reported until then */
	bool possible = open_maps(r) == EX_OK;
	struct buf out = { 0 };

	for (size_t i = 0; i < count && possible; i++) {
		works[i].notice = notice_begin(&r->office, &works[i].request);
		notice_collect(works[i].notice, &drafts, &draft_count, &capacity);
	}
	spool_commit(drafts, draft_count);
	for (size_t i = 0; i < count; i++) {
		struct buf why = { 0 };

		buf_addu(&out, works[i].id);
		switch (works[i].notice != NULL ? notice_end(works[i].notice, &why) : works[i].request.waiting ? NOTICE_DONE
		        : NOTICE_LATER) {
		case NOTICE_DONE: buf_adds(&out, " done\n"); break;
		case NOTICE_FILE: buf_adds(&out, " file\n"); break;
		case NOTICE_MOVED: buf_addf(&out, " moved %s\n", buf_str(&why)); break;
		case NOTICE_LATER:
			buf_adds(&out, " later ");
			text_add_clean_string(&out, works[i].notice != NULL ? buf_str(&why) : "the maps cannot be used; the log has the reason", 500);
			buf_addc(&out, '\n');
			break;
		}
		buf_free(&why);
		if (works[i].notice != NULL)
			notice_free(&works[i].notice);
		free(works[i].late);
		free(works[i].text);
	}
	free(drafts);
	/* if runqueue is gone, the next one finds in the files what was told */
	if (!file_write(STDOUT_FILENO, out.data, out.len))
		exit(EX_OK);
	buf_free(&out);
}

static bool is_among(const struct work *works, size_t count, uint64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (works[i].id == id)
			return true;
	return false;
}

static void work_off_all(struct reporter *r)
{
	struct work works[BATCH];
	size_t used = 0, count, n;

	do {
		for (count = 0; count < BATCH; used += n) {
			n = r->in.len > used ? whole_request(r->in.data + used, r->in.len - used) : 0;
			if (n == 0)
				break;
			works[count] = (struct work){ 0 };
			read_request(&works[count], r->in.data + used, n);
			/*
			 * what one told is to be seen in the file by the other: of a message that was read again meanwhile
			 * runqueue asks twice
			 */
			if (is_among(works, count, works[count].id)) {
				struct work next = works[count];

				work_off(r, works, count);
				works[0] = next;
				count = 0;
			}
			count++;
		}
		if (count > 0)
			work_off(r, works, count);
	} while (count == BATCH);
	buf_consume(&r->in, used);
}

int main(int argc, char **argv)
{
	struct reporter r = { 0 };
	struct pollfd more = { .fd = STDIN_FILENO, .events = POLLIN };
	ssize_t n;
	int status;
	struct office *o;
	struct buf why = { 0 }, notes = { 0 };
	char *dbases, *directory, *line, *rest;

	process_begin(program.name);
	signal(SIGPIPE, SIG_IGN);
	read_options(&r, argc, argv);
	/* a path counts from where we are started, not from transport/ */
	r.routing.dbases = dbases = file_absolute(r.routing.dbases);
	logline_open_syslog("runqueue");
	o = &r.office;
	o->privilege = account_nobody();
	o->spool.host = process_host();
	o->spool.levels = zenv_levels();
	if (!spool_open(&o->spool, &why))
		die(EX_CANTCREAT, "%s", buf_str(&why));
	if (fchdir(o->spool.transport) < 0)
		die(EX_OSERR, "%s/transport: %s", o->spool.postoffice, strerror(errno));
	report_settings_read(&o->settings, r.routing.dbases, process_host());
	directory = zenv_below("MAILSHARE", "forms");
	if (directory != NULL) {
		forms_read(&r.office.forms, directory, &notes);
		buf_addc(&notes, '\0');
		for (rest = notes.data; (line = strtok_r(rest, "\n", &rest)) != NULL;)
			tell_of_form(&r, line);
		buf_free(&notes);
		free(directory);
	}
	do {
		n = read(STDIN_FILENO, buf_reserve(&r.in, CHUNK), CHUNK);
		if (n > 0)
			r.in.len += (size_t)n;
		/* what comes together goes to the disk together */
		if (n > 0 && r.in.len < 4 * CHUNK && poll(&more, 1, 0) > 0)
			continue;
		r.asked |= r.in.len > 0;
		if (r.in.len > 0)
			work_off_all(&r);
	} while (n > 0 || (n < 0 && errno == EINTR));
	/* runqueue always asks: an administrator tests whether this would work */
	status = n < 0 ? EX_IOERR : r.asked ? EX_OK : open_maps(&r);
	routing_close(&r.routing);
	report_settings_free(&r.office.settings);
	forms_free(&r.office.forms);
	spool_close(&r.office.spool);
	buf_free(&r.in);
	free(dbases);
	return status;
}
