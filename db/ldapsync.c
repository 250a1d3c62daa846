/*
 * ldapsync: keeps a live map in step with an LDAP directory.
 */
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "db/keeper.h"
#include "db/ldap/open.h"
#include "db/sync/copy.h"
#include "db/sync/domains.h"
#include "db/sync/dump.h"
#include "db/sync/session.h"
#include "db/sync/syncconf.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/process.h"
#include "lib/wait.h"
#include "lib/zenv.h"

/* A change of several entries arrives in several messages: a moment of quiet makes one batch of them, but not for ever. */
#define QUIET_MS 50
#define GATHER_MS 300

/* A cookie without data may wait: to lose it costs the server a little work. */
#define LAZY_MS 60000

#define FIRST_DELAY_MS 250
#define LONGEST_DELAY_MS 60000

/*
 * Behind a connection that lasts so many times longer than the wait before it, or so long, the next wait is a short one again.
 */
#define LASTING 4
#define LASTING_MS 10000

/* How often is said how far a refresh has come. */
#define PROGRESS_MS 1000

/* How often -w looks whether others have changed the map. */
#define LOOK_MS 1000

enum { ALLOW_SHRINK = 1 };

static const struct option_help options[] = {
	{ '1', NULL, "make the map equal to the directory once, then end" },
	{ 'D', NULL, "print the map with its state, for -I on another machine" },
	{ 'f', "FILE", "what to copy, ldapsync.conf" },
	{ 'I', "DUMP", "make the map of what -D printed, \"-\" from standard input" },
	{ 'v', NULL, "print a line for each batch of changes" },
	{ 'w', NULL, "stay, and follow the directory until SIGTERM" },
	{ ALLOW_SHRINK, NULL, "write the map even if too many of its records are removed, or all" },
	{ 0 },
};

static const struct option_long longs[] = {
	{ "allow-shrink", ALLOW_SHRINK },
	{ NULL, '\0' },
};

static const struct program program = {
	.name = "ldapsync",
	.synopsis = "[-vV] [--allow-shrink] -f file -1 | -w | -D | -I dump",
	.purpose = "Keeps a lookup map in step with an LDAP directory (RFC 4533).",
	.options = options,
	.longs = longs,
	.notes = "Exit status: 0; 65 if entries cannot be used or are in conflict, all others are copied;\n"
	         "75 if the directory could not tell, or too much would be removed.",
	.help = 'h',
};

struct sync {
	struct syncconf conf;
	struct keeper keeper;
	struct copy_settings settings;
	struct copy *copy;       /* NULL: it could not be read, or is left to another process */
	struct session *session;
	struct domains domains;
	bool once, watch, dump, verbose;
	const char *first_copy;  /* -I */
	size_t server;
	size_t refusals;         /* of servers in a row, whatever their reasons */
	size_t again;            /* how often in a row the server wanted to be asked once more */
	bool polls;              /* this connection is over: the server does not tell what changes */
	bool polls_told;
	int64_t next_progress;
	bool progress_shown;
	bool complete;           /* all rules have been refreshed since the last connection was made */
	enum shrinkage_verdict verdict;   /* about the last batch */
	bool to_announce;        /* that map and directory are equal was not logged yet */
	bool trouble_told;       /* and not yet that it is over */
	bool write_trouble_told; /* the same, of writing the map */
	bool is_unreadable;      /* the map, when it was opened last */
	int64_t next_open;       /* of the map while there is no copy, else of a connection; clock_ms() */
	int64_t open_delay;
	int64_t opened;          /* the connection */
	int64_t heard;           /* the last message */
	int64_t touched;         /* the first of them since the last batch */
	int64_t next_flush;
	bool list_is_old;        /* the map may have other domains than the list */
	int64_t next_domains;    /* before which the list is not looked at */
	int64_t flush_delay;     /* after a batch that failed */
	int64_t flushed;
	sigset_t unblocked;      /* while waiting */
};

/* ---- what is said ---------------------------------------------------------------------------- */

static void say(const char *text)
{
	complain("%s", text);
}

static void print_counts(const struct content_counts *c)
{
	size_t records = c->records + c->added - c->removed;

	printf("%zu record%s: %zu added, %zu changed, %zu removed", records, records == 1 ? "" : "s", c->added, c->changed,
	       c->removed);
	if (c->unclear > 0)
		printf(", %zu unclear", c->unclear);
	puts("");
	fflush(stdout);
}

/* ---- the map ------------------------------------------------------------------------------------ */

static int write_map(struct sync *s, struct content_counts *counts)
{
	struct buf why = { 0 };
	const int64_t start = clock_ms();
	const bool is_told = s->verdict == SHRINKAGE_NO_KEYS;
	int status = copy_flush(s->copy, counts, &s->verdict, &why);

	s->flushed = clock_ms();
	if (status == EX_OK) {
		if (s->write_trouble_told)
			complain("%s: is written again", copy_path(s->copy));
		s->write_trouble_told = false;
		/* a map that is slow to write is not written all the time */
		s->next_flush = s->flushed + (s->flushed - start);
		s->flush_delay = 0;
		s->touched = 0;
		if (s->verbose)
			print_counts(counts);
	} else {
		if (s->verdict == SHRINKAGE_NO_KEYS && s->watch)
			buf_addf(&why, "; asked again in %d s", LONGEST_DELAY_MS / 1000);
		if (s->verdict != SHRINKAGE_FINE)
			buf_adds(&why, "; --allow-shrink if that is meant");
		s->flush_delay = backoff_next(s->flush_delay, FIRST_DELAY_MS, LONGEST_DELAY_MS);
		s->next_flush = s->flushed + s->flush_delay;
		if ((!is_told || s->verdict != SHRINKAGE_NO_KEYS) && !(s->watch && copy_is_changed(s->copy))) {
			keeper_complain(&why);
			s->write_trouble_told = s->verdict == SHRINKAGE_FINE;
		}
	}
	buf_free(&why);
	return status;
}

/* The file of served domains follows the map. */
static int write_domains(struct sync *s)
{
	struct buf why = { 0 };
	char **list = content_domains(copy_content(s->copy));
	int status = domains_write(&s->domains, list, &why);

	words_free(list);
	s->next_domains = clock_ms() + (status == EX_OK ? LOOK_MS : LONGEST_DELAY_MS);
	if (status != EX_OK) {
		if (status == EX_TEMPFAIL)
			buf_adds(&why, "; --allow-shrink if that is meant");
		keeper_complain(&why);
	} else if (!s->domains.must_run && s->domains.pid == 0) {
		copy_domains_done(s->copy);
	}
	s->list_is_old = status != EX_OK;
	buf_free(&why);
	return status;
}

static int judge_domains(void *context, char *const *list, struct buf *why)
{
	return domains_judge(context, list, why);
}

/* Looks after the command; after success nothing is pending. */
static bool run_command(struct sync *s)
{
	struct buf why = { 0 };
	const bool ran = s->domains.pid != 0;
	bool ok = domains_run(&s->domains, &why);

	if (!ok)
		keeper_complain(&why);
	else if (ran && s->domains.pid == 0 && !s->domains.must_run && !s->list_is_old && s->copy != NULL)
		copy_domains_done(s->copy);
	buf_free(&why);
	return ok;
}

/* When the map is to be written; CLOCK_NEVER if there is nothing to write, or not all is known that belongs together. */
static int64_t flush_time(const struct sync *s)
{
	int64_t when = CLOCK_NEVER;

	/* that nothing is there is known when all has been compared */
	if (!s->complete || (s->verdict == SHRINKAGE_NO_KEYS && s->session != NULL && session_is_comparing(s->session)))
		return CLOCK_NEVER;
	switch (copy_state(s->copy)) {
	case COPY_CLEAN:
		return CLOCK_NEVER;
	case COPY_NEW_NOTES:
		when = s->flushed + LAZY_MS;
		break;
	case COPY_NEW_DATA:
		when = s->heard + QUIET_MS < s->touched + GATHER_MS ? s->heard + QUIET_MS : s->touched + GATHER_MS;
		break;
	}
	return when > s->next_flush ? when : s->next_flush;
}

static int open_copy(struct sync *s)
{
	struct buf why = { 0 };
	int status = EX_OK;

	s->copy = copy_open(&s->settings, &status, &why);
	s->is_unreadable = s->copy == NULL;
	if (s->is_unreadable)
		keeper_complain(&why);
	/* a process was killed between writing the list and the end of the command */
	if (!s->is_unreadable && copy_domains_are_due(s->copy)) {
		s->list_is_old = true;
		s->domains.must_run = s->domains.command != NULL;
	}
	s->open_delay = s->is_unreadable ? backoff_next(s->open_delay, FIRST_DELAY_MS, LONGEST_DELAY_MS) : 0;
	s->next_flush = s->next_open = clock_ms() + s->open_delay;
	buf_free(&why);
	return status;
}

/* ---- the directory ------------------------------------------------------------------------------- */

static const char *server_name(const struct sync *s)
{
	return s->conf.access.uris[s->server];
}

/*
 * Any reason but one that the next attempt is likely to mend is a reason to ask the next server; so is a connection that did
 * not last.
 */
static void lose_session(struct sync *s, enum session_news news)
{
	const bool goes_away = !s->polls && clock_ms() - s->opened <= LASTING_MS;

	session_close(&s->session);
	/* a server that was away may have been put back to an older state, or have forgotten in a crash what it said */
	if (!s->polls && news != SESSION_AGAIN)
		copy_doubt(s->copy);
	s->again = news == SESSION_AGAIN ? s->again + 1 : 0;
	s->refusals = news == SESSION_REFUSED || news == SESSION_BEHIND ? s->refusals + 1 : 0;
	if (s->refusals > 0 || (news == SESSION_OVER && (!s->complete || goes_away)) || s->again > s->conf.rule_count)
		s->server = (s->server + 1) % ldap_servers(&s->conf.access);
	s->open_delay = s->polls ? LONGEST_DELAY_MS : backoff_next(s->open_delay, FIRST_DELAY_MS, LONGEST_DELAY_MS);
	s->next_open = clock_ms() + s->open_delay;
	s->polls = false;
}

/* libldap knows no signals; what one asks for comes at once, however long a server takes. */
static void open_session(struct sync *s)
{
	struct buf why = { 0 };
	sigset_t before;

	s->complete = false;
	s->opened = clock_ms();
	keeper_may_leave(true);
	sigprocmask(SIG_SETMASK, &s->unblocked, &before);
	s->session = session_open(&s->conf, s->copy, s->once ? SYNC_REFRESH_ONLY : SYNC_REFRESH_AND_PERSIST, &s->server, &why);
	sigprocmask(SIG_SETMASK, &before, NULL);
	keeper_may_leave(false);
	if (s->session == NULL) {
		keeper_complain(&why);
		s->trouble_told = true;
		/* it has asked all of them, and says which one is next */
		lose_session(s, SESSION_QUIET);
	}
	s->next_progress = clock_ms() + PROGRESS_MS;
	buf_free(&why);
}

static bool is_end(enum session_news news)
{
	return news == SESSION_OVER || news == SESSION_AGAIN || news == SESSION_BEHIND || news == SESSION_REFUSED;
}

/*
 * What the comparison has found; that nothing differs is worth a line only with -v, and not true of what was read as a whole.
 */
static void print_found(struct sync *s)
{
	const struct compare_counts found = session_found(s->session);
	const bool differs = found.missing + found.changed + found.surplus > 0, was_read = found.compared == 0 && !differs;

	if (!differs && !s->verbose)
		return;
	printf("%s %zu entr%s %s %s", was_read ? "read" : "compared", found.entries, found.entries == 1 ? "y" : "ies",
	       was_read ? "from" : "with", server_name(s));
	if (!was_read)
		printf(": ");
	if (differs)
		printf("%zu were missing, %zu had changed, %zu were surplus", found.missing, found.changed, found.surplus);
	else if (!was_read)
		printf("nothing differs");
	if (found.unseen > 0)
		printf("; %zu of the surplus ones are there, and left out by the filter, or by the rights of this reader",
		       found.unseen);
	puts("");
	fflush(stdout);
}

/* Takes in what has come.  Returns the news; a connection that is over is closed. */
static enum session_news listen_to(struct sync *s)
{
	struct buf why = { 0 };
	enum session_news news = session_read(s->session, &why);
	bool goes_on;

	s->heard = session_heard(s->session);
	if (news == SESSION_QUIET)
		news = session_watch(s->session, &why);
	if (s->touched == 0 && copy_state(s->copy) == COPY_NEW_DATA)
		s->touched = s->heard;
	if (!s->complete && !is_end(news) && !session_is_refreshing(s->session)) {
		s->complete = true;
		s->to_announce = true;
	}
	if (news == SESSION_COMPARED)
		print_found(s);
	/* a long refresh is not a silent one */
	goes_on = s->session != NULL && (!s->complete || session_is_comparing(s->session));
	if (s->progress_shown && !goes_on) {
		s->progress_shown = false;
		fputs("\r\033[K", stderr);
	}
	if (goes_on && clock_ms() >= s->next_progress) {
		s->next_progress = clock_ms() + PROGRESS_MS;
		if (s->verbose) {
			printf("%s: %zu messages of the directory so far\n", server_name(s), session_progress(s->session));
			fflush(stdout);
		} else if (isatty(STDERR_FILENO)) {
			s->progress_shown = true;
			fprintf(stderr, "\r%s: %zu", server_name(s), session_progress(s->session));
		}
	}
	s->trouble_told = s->trouble_told || (why.len > 0 && is_end(news) && news != SESSION_AGAIN);
	if (why.len > 0)
		keeper_complain(&why);
	buf_free(&why);
	if (is_end(news))
		lose_session(s, news);
	return news;
}

/* ---- -1 ---------------------------------------------------------------------------------------------- */

/* Waits for the server, or for the next deadline; while there is more to read it does not wait, but signals are heeded. */
static void wait_for_news(const struct sync *s, enum session_news news, int64_t deadline)
{
	struct pollfd p = { .fd = s->session != NULL ? session_socket(s->session) : -1, .events = POLLIN };

	if (news != SESSION_QUIET)
		deadline = clock_ms();
	else if (deadline == CLOCK_NEVER)
		deadline = clock_ms() + LONGEST_DELAY_MS;
	wait_for(&p, 1, deadline, &s->unblocked);
}

/* Each rule may be sent back to the start once, a connection may be lost, and each server has its turn. */
static bool refresh_once(struct sync *s)
{
	const size_t attempts = s->conf.rule_count + ldap_servers(&s->conf.access);

	for (size_t attempt = 0; attempt < attempts && !keeper_is_stopped(); attempt++) {
		enum session_news news;

		open_session(s);
		if (s->session == NULL)
			return false;
		/* one connection, to its end: true if the copy is what the server has, compared as a whole */
		news = SESSION_QUIET;
		while (s->session != NULL && !keeper_is_stopped()) {
			wait_for_news(s, news, session_deadline(s->session));
			news = listen_to(s);
			if (news == SESSION_FINISHED)
				session_compare(s->session);
			if (news == SESSION_COMPARED) {
				session_close(&s->session);
				return true;
			}
		}
		session_close(&s->session);
		if (s->refusals == ldap_servers(&s->conf.access))
			return false;
	}
	return false;
}

static int run_once(struct sync *s)
{
	struct content_counts counts = { 0 };
	int status;

	if (!refresh_once(s))
		return EX_TEMPFAIL;
	status = write_map(s, &counts);
	if (status == EX_OK) {
		if (!s->verbose)
			print_counts(&counts);
		if (s->conf.domains != NULL)
			status = write_domains(s);
	}
	while (status == EX_OK && (s->domains.must_run || s->domains.pid != 0)) {
		if (keeper_is_stopped() || !run_command(s))
			status = EX_TEMPFAIL;
		else if (s->domains.pid != 0)
			wait_for_news(s, SESSION_QUIET, domains_deadline(&s->domains));
	}
	if (status == EX_OK && copy_state(s->copy) != COPY_CLEAN)
		status = write_map(s, &(struct content_counts){ 0 });
	return status == EX_OK && (counts.unclear > 0 || copy_complaints(s->copy) > 0) ? EX_DATAERR : status;
}

/* ---- -w ------------------------------------------------------------------------------------------------ */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t next_deadline(const struct sync *s)
{
	const int64_t session = s->session != NULL ? session_deadline(s->session) : s->next_open;
	const bool may_compare = s->session != NULL && s->complete && !session_is_comparing(s->session);
	const int64_t compare = may_compare ? copy_comparison_time(s->copy, s->conf.compare) : CLOCK_NEVER;

	return earlier(earlier(earlier(session, compare), flush_time(s)),
	               earlier(domains_deadline(&s->domains), clock_ms() + LOOK_MS));
}

/* Begins a comparison of the whole if there is reason to. */
static bool compare_if_due(struct sync *s)
{
	if (s->session == NULL || !s->complete || session_is_comparing(s->session))
		return false;
	if (copy_comparison_is_due(s->copy, server_name(s), s->conf.compare)) {
		session_compare(s->session);
		return true;
	}
	/* not before: a server that refuses each comparison, as by a limit, or soon goes away, is asked less and less often */
	if (clock_ms() - s->opened > earlier(LASTING * s->open_delay, LASTING_MS))
		s->open_delay = 0;
	return false;
}

static int flush_what_is_due(struct sync *s)
{
	struct content_counts counts;

	if (flush_time(s) > clock_ms())
		return EX_OK;
	if (write_map(s, &counts) != EX_OK) {
		/*
		 * nothing is at stake while there is no map: once the directory is filled, or the reader's rights are mended,
		 * it goes on by itself
		 */
		if (s->verdict == SHRINKAGE_NO_KEYS && s->session != NULL) {
			lose_session(s, SESSION_OVER);
			s->open_delay = LONGEST_DELAY_MS;
			s->next_open = clock_ms() + s->open_delay;
		}
		return s->verdict == SHRINKAGE_TOO_MUCH ? EX_TEMPFAIL : EX_OK;
	}
	if (copy_domains_are_due(s->copy)) {
		s->list_is_old = true;
		s->next_domains = 0;
	}
	return EX_OK;
}

/* The list is written when the map has other domains, when that could not be done, and when it was deleted. */
static int look_after_domains(struct sync *s)
{
	if (s->conf.domains == NULL || !s->complete || copy_state(s->copy) == COPY_NEW_DATA || clock_ms() < s->next_domains)
		return EX_OK;
	s->next_domains = clock_ms() + LOOK_MS;
	if (!s->list_is_old && access(s->conf.domains, F_OK) == 0)
		return EX_OK;
	return write_domains(s) == EX_TEMPFAIL ? EX_TEMPFAIL : EX_OK;
}

static void close_copy(struct sync *s)
{
	session_close(&s->session);
	copy_close(&s->copy);
	s->complete = false;
	s->touched = 0;
	s->verdict = SHRINKAGE_FINE;
}

/*
 * Another program has changed the map, put an older one in its place or deleted it: what it holds is read again, and all of it
 * compared.  Entries that it lacks, and records that it has too many, are differences like others.  What cannot be read may be
 * in the making, or locked by the process that works on it: as with one that cannot be written, that is tried again.
 */
static void begin_anew(struct sync *s)
{
	const bool was_unreadable = s->is_unreadable;

	if (s->copy != NULL)
		complain("%s: was changed by another program, and is made equal to the directory again", copy_path(s->copy));
	close_copy(s);
	if (open_copy(s) == EX_OK && was_unreadable)
		complain("%s: can be read again, and is made equal to the directory", copy_path(s->copy));
}

/* Another process keeps the map by now. */
static void leave_map(struct sync *s)
{
	close_copy(s);
	s->is_unreadable = false;
	s->next_open = clock_ms() + LOOK_MS;
}

static int follow(struct sync *s)
{
	enum session_news news = SESSION_QUIET;
	int status = EX_OK;

	while (!keeper_is_stopped() && status == EX_OK) {
		if (!keeper_is_alone())
			leave_map(s);
		else if (s->copy == NULL ? clock_ms() >= s->next_open : copy_is_changed(s->copy))
			begin_anew(s);
		if (s->copy == NULL) {
			wait_for_news(s, SESSION_QUIET, earlier(s->next_open, domains_deadline(&s->domains)));
			run_command(s);
			continue;
		}
		if (s->session == NULL && clock_ms() >= s->next_open)
			open_session(s);
		wait_for_news(s, news, next_deadline(s));
		news = s->session != NULL ? listen_to(s) : SESSION_QUIET;
		if (is_end(news))
			news = SESSION_QUIET;
		s->polls = s->polls || news == SESSION_FINISHED;
		if (compare_if_due(s))
			news = SESSION_BUSY;
		status = flush_what_is_due(s);
		if (status == EX_OK)
			status = look_after_domains(s);
		/* once for each connection; where trouble was logged, its end is, when nothing is left that may fail */
		if (s->to_announce && s->complete && s->session != NULL &&
		    !(s->trouble_told && session_is_comparing(s->session))
		    && copy_state(s->copy) != COPY_NEW_DATA && s->verdict == SHRINKAGE_FINE) {
			s->to_announce = false;
			if (s->trouble_told)
				complain("%s: answers again, and the map is in step with it", server_name(s));
			s->trouble_told = false;
			if (s->verbose)
				printf("in step with %s\n", server_name(s));
			fflush(stdout);
		}
		/* a server that does not stay is asked again after a while; what it said is written before */
		if (s->polls && s->session != NULL && !session_is_comparing(s->session) &&
		    copy_state(s->copy) != COPY_NEW_DATA) {
			if (!s->polls_told)
				complain("%s: does not report changes (refreshAndPersist); it is asked every %d s",
				         server_name(s), LONGEST_DELAY_MS / 1000);
			s->polls_told = true;
			lose_session(s, SESSION_OVER);
		}
		run_command(s);
	}
	/* a newer cookie makes the next start quicker */
	if (status == EX_OK && s->complete && copy_state(s->copy) != COPY_CLEAN && s->flush_delay == 0)
		write_map(s, &(struct content_counts){ 0 });
	return status;
}

/* ---- start ------------------------------------------------------------------------------------------------ */

static int begin(struct sync *s, bool may_shrink)
{
	s->settings.livemap = s->keeper.livemap;
	s->settings.check = s->keeper.check;
	s->settings.rules = s->conf.rules;
	s->settings.rule_count = s->conf.rule_count;
	s->settings.unclear = s->conf.unclear;
	s->settings.may_shrink = may_shrink;
	s->settings.report = say;
	s->settings.judge_domains = judge_domains;
	s->settings.domains = s->conf.domains != NULL ? &s->domains : NULL;
	s->domains = (struct domains){ .path = s->conf.domains, .format = s->conf.domains_format,
	                               .command = s->conf.domains_command,
	                               .may_shrink = may_shrink };
	return open_copy(s);
}

/* ---- from one machine to another ------------------------------------------------------------------ */

/* Beside a process that keeps the map, which waits for a moment. */
static int dump_map(const struct sync *s)
{
	struct buf why = { 0 };
	int status = sync_dump(&s->keeper.livemap, stdout, &why);

	if (status != EX_OK)
		keeper_complain(&why);
	buf_free(&why);
	return status;
}

static void read_options(struct sync *s, const char **file, bool *may_shrink, int argc, char **argv)
{
	int c;

	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case '1': s->once = true; break;
		case 'D': s->dump = true; break;
		case 'I': s->first_copy = optarg; break;
		case 'f': *file = optarg; break;
		case 'v': s->verbose = true; break;
		case 'w': s->watch = true; break;
		case ALLOW_SHRINK: *may_shrink = true; break;
		}
	}
	if (optind < argc)
		option_usage(&program, "unexpected word \"%s\"", argv[optind]);
	if (*file == NULL)
		option_usage(&program, "-f FILE is missing");
	if (s->once + s->watch + s->dump + (s->first_copy != NULL) != 1)
		option_usage(&program, "expected one of -1, -w, -D and -I");
}

int main(int argc, char **argv)
{
	struct sync s = { 0 };
	struct buf why = { 0 };
	const char *file = NULL;
	bool may_shrink = false;
	int status;

	process_begin(program.name);
	/* large lists go back to the system, so that the process which works on the map does not begin with what they took */
	mallopt(M_MMAP_THRESHOLD, 64 * 1024);
	read_options(&s, &file, &may_shrink, argc, argv);
	if (s.verbose)
		zenv_tell();
	status = syncconf_read(&s.conf, file, &why);
	if (status != EX_OK) {
		keeper_complain(&why);
		exit(status);
	}
	s.keeper.livemap = (struct livemap_settings){
		.type = s.conf.map.type, .base = s.conf.map.base, .config = s.conf.map.environment,
		.folding = s.conf.map.folding,
	};
	keeper_ask_dbases(&s.keeper, s.verbose);
	if (s.dump) {
		status = dump_map(&s);
		keeper_free(&s.keeper);
		syncconf_free(&s.conf);
		return status;
	}
	keeper_catch_signals(s.watch ? EX_OK : EX_TEMPFAIL, &s.unblocked);
	keeper_lock(s.conf.map.base, "ldapsync", file);
	if (s.first_copy != NULL) {
		struct loading loading = { .path = s.first_copy, .check = s.keeper.check, .may_be_empty = may_shrink,
		                          .domains = s.conf.domains != NULL };
		struct buf trouble = { 0 };

		status = sync_load(&s.keeper.livemap, &loading, &trouble);
		if (status == EX_OK)
			printf("%zu record%s\n", loading.records, loading.records == 1 ? "" : "s");
		else
			keeper_complain(&trouble);
		buf_free(&trouble);
	} else {
		status = begin(&s, may_shrink);
		/* a map that is locked, as by dbupdate, or being copied into its place, is waited for by one that stays */
		if (status == EX_OK || (s.watch && (status == EX_TEMPFAIL || status == EX_DATAERR)))
			status = s.once ? run_once(&s) : follow(&s);
		domains_stop(&s.domains);
		session_close(&s.session);
		copy_close(&s.copy);
	}
	keeper_free(&s.keeper);
	syncconf_free(&s.conf);
	return status;
}
