/*
 * zlmtp-queue: what an operator sees of the queue, and does to it.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "channel/operator/control_client.h"
#include "channel/operator/listing.h"
#include "channel/operator/mailfilter.h"
#include "channel/operator/mailq.h"
#include "channel/operator/monitor.h"
#include "channel/operator/overview.h"
#include "channel/operator/selection.h"
#include "channel/operator/show.h"
#include "channel/operator/summary.h"
#include "channel/queue/lock.h"
#include "channel/queue/operate.h"
#include "channel/rerouting.h"
#include "channel/spool/postoffice.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/logline.h"
#include "lib/options.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/zenv.h"

#define VERBS "list, summary, show, watch, hold, release, retry, fail, remove or reroute"
#define LONG_YES '\001'

static const struct option_help options[] = {
	{ 'b', NULL, "show: the body too" },
	{ 'f', "DBASES", "reroute: the maps (default: db/dbases.conf in MAILVAR of ZENV)" },
	{ 'j', NULL, "print JSON, an object for each line" },
	{ 'm', "TEXT", "fail: the reason for the sender; may begin with a status, 5.X.X" },
	{ 'o', "NAME=VALUE", "reroute: a setting of the router; any number" },
	{ 'O', "log=keys|json", "form of log lines where no runqueue runs (keys)" },
	{ 'P', "DIRECTORY", "the post office (default: POSTOFFICE of ZENV)" },
	{ 'w', "SECONDS", "wait so long for a transport agent that has the message (60)" },
	{ LONG_YES, NULL, "remove: more than one message without a question; reroute: also by the relay, if a domain was ours" },
	{ 0 },
};

static const struct option_long longs[] = {
	{ "yes", LONG_YES },
	{ 0 },
};

static const struct program program = {
	.name = "zlmtp-queue",
	.synopsis = "[-jV] [-P directory] list | summary [filter ...]\n"
	            "[-bj] [-P directory] show id\n"
	            "[-j] [-P directory] watch\n"
	            "[-j] [-O key=value] [-P directory] [-w seconds] hold | release | retry filter ...\n"
	            "[-j] [-m text] [-O key=value] [-P directory] [-w seconds] fail filter ...\n"
	            "[-j] [-O key=value] [-P directory] [-w seconds] [--yes] remove filter ...\n"
	            "[-j] [-f dbases] [-o name=value] ... [-O key=value] [-P directory] [-w seconds] [--yes] reroute filter ...",
	.purpose = "Shows the mail queue, and holds, releases, retries, fails, removes and reroutes what is in it.",
	.options = options,
	.notes = "list       a line for each recipient\n"
	         "summary    a line for each destination\n"
	         "show       one message: envelope, recipients with their history, header\n"
	         "watch      the queue, agents and destinations, each second\n"
	         "hold       put messages on hold; they are not tried until release\n"
	         "retry      try now\n"
	         "fail       give up now; the sender gets a report\n"
	         "remove     remove messages without a report\n"
	         "reroute    ask the maps again\n\n"
	         "A filter is an id (spool id or file name, or a beginning), from=GLOB, to=GLOB, channel=GLOB, host=GLOB,\n"
	         "older=TIME (15m, 4h, 2d), state=WORD (waiting, due, active, held, report, damaged, unreadable) or all.\n"
	         "Of several filters all must match.  A filter that matches nothing exits 1.",
	.help = 'h',
	.longs = longs,
};

/* A list is printed in parts of so many recipients: a long queue is not kept in memory. */
#define PART 10000
/* Recipients of one fail or retry: more are done in several. */
#define CHUNK 5000
#define MOST_PATIENCE 86400
/* How long another operator may have the lock, in milliseconds. */
#define LOCK_PATIENCE 10000
/* How long a runqueue may have the lock and no socket, and after which time that is looked at again, in milliseconds. */
#define START_PATIENCE 3000
#define START_PAUSE 50

struct options {
	const char *postoffice, *dbases, *text;
	bool json, body, yes, log_json;
	int64_t patience;
	char **router;
	size_t router_count, router_capacity;
	const char *verb;
	struct mailfilter filter;
	size_t words;
	int64_t now;
};

/* ---- command line ---- */

static void add_word(struct options *set, const char *word)
{
	struct buf why = { 0 };

	if (set->verb == NULL) {
		set->verb = word;
		return;
	}
	set->words++;
	if (!mailfilter_add(&set->filter, word, &why))
		option_usage(&program, "%s", buf_str(&why));
}

static void read_words(struct options *set, int argc, char **argv)
{
	int c;

	while (optind < argc) {
		/* behind "--" there are words alone */
		if (strcmp(argv[optind], "--") == 0) {
			while (++optind < argc)
				add_word(set, argv[optind]);
			return;
		}
		c = option_next(&program, argc, argv);
		switch (c) {
		case -1: add_word(set, argv[optind++]); break;
		case 'b': set->body = true; break;
		case 'f': set->dbases = optarg; break;
		case 'j': set->json = true; break;
		case 'm': set->text = optarg; break;
		case 'o':
			set->router = xgrow(set->router, set->router_count, &set->router_capacity, sizeof *set->router);
			set->router[set->router_count++] = optarg;
			break;
		case 'O':
			if (!logline_form(optarg, &set->log_json))
				option_usage(&program, "-O %s: expected log=keys or log=json", optarg);
			break;
		case 'P': set->postoffice = optarg; break;
		case 'w':
			if (!mailfilter_span(optarg, &set->patience) || set->patience > MOST_PATIENCE)
				option_usage(&program, "-w %s: expected a time of at most a day", optarg);
			break;
		case LONG_YES: set->yes = true; break;
		}
	}
}

static void check_words(struct options *set)
{
	bool is_fail = set->verb != NULL && strcmp(set->verb, "fail") == 0;

	if (set->verb == NULL)
		option_usage(&program, "expected a verb: " VERBS);
	if (set->text != NULL && !is_fail)
		option_usage(&program, "-m is for fail");
	if (set->text != NULL && set->text[strspn(set->text, " ")] == '\0')
		option_usage(&program, "-m: expected some words");
	if (set->yes && strcmp(set->verb, "remove") != 0 && strcmp(set->verb, "reroute") != 0)
		option_usage(&program, "--yes is for remove and reroute");
	if (set->body && strcmp(set->verb, "show") != 0)
		option_usage(&program, "-b is for show");
	if (set->words > 0 && strcmp(set->verb, "watch") == 0)
		option_usage(&program, "watch takes no filter");
	if ((set->dbases != NULL || set->router_count > 0) && strcmp(set->verb, "reroute") != 0)
		option_usage(&program, "-f and -o are for reroute");
	if (set->postoffice == NULL)
		set->postoffice = zenv("POSTOFFICE");
	if (set->postoffice == NULL)
		option_usage(&program, "expected the post office: -P, or POSTOFFICE in the file that ZCONFIG names");
}

static void print(struct buf *out)
{
	if (!file_write(STDOUT_FILENO, out->data, out->len))
		die(EX_IOERR, "standard output: %s", strerror(errno));
	buf_clear(out);
}

/* Where something cannot be read it may be what is meant: that is not "nothing matches". */
static _Noreturn void cannot_tell(const char *what, const char *why)
{
	die(EX_TEMPFAIL, "%s: could not tell: %s", what, why);
}

/* ---- list and summary ---- */

struct reading {
	const struct options *set;
	struct listing part, sums;    /* what was not printed yet, and the sums of all that was meant */
	struct summary *summary;
	struct buf out;
	char *last;                   /* job name of the last message */
	char *unclear;                /* as of a selection */
	size_t count;
};

static void print_part(struct reading *r)
{
	listing_sort(&r->part);
	if (r->set->json)
		mailq_json(&r->out, &r->part);
	else
		mailq_table(&r->out, &r->part, r->set->now);
	print(&r->out);
	listing_clear(&r->part);
}

static bool read_entry(void *context, const struct listed *e)
{
	struct reading *r = context;
	struct listing *sums;

	if (!mailfilter_matches(&r->set->filter, e, r->set->now)) {
		if (r->unclear == NULL && mailfilter_may_match(&r->set->filter, e))
			r->unclear = xstrdup(e->why);
		return true;
	}
	sums = &r->sums;
	r->count++;
	if (e->why != NULL)
		sums->trouble++;
	else {
		sums->recipients += e->state != LISTED_REPORT;
		sums->active += e->state == LISTED_ACTIVE;
		sums->held += e->state == LISTED_HELD;
		if (sums->oldest == 0 || e->arrived < sums->oldest)
			sums->oldest = e->arrived;
		if (r->last == NULL || strcmp(r->last, e->name) != 0) {
			free(r->last);
			r->last = xstrdup(e->name);
			*(e->state == LISTED_REPORT ? &sums->reports : &sums->messages) += 1;
		}
	}
	if (r->summary != NULL) {
		summary_count(r->summary, e);
		return true;
	}
	listing_add(&r->part, e);
	if (r->part.count >= PART)
		print_part(r);
	return true;
}

/* Nothing in the queue is no news; that a filter matches nothing is. */
static int list_or_summary(const struct options *set)
{
	const bool summary = strcmp(set->verb, "summary") == 0;
	struct reading r = { .set = set };
	struct listing all;
	size_t finished;
	bool any, damaged;

	/* a runqueue that runs has the sums of a long queue at once, and its newest reasons */
	if (summary && r.set->words == 0)
		r.summary = overview_ask(r.set->now, &r.sums);
	if (r.summary != NULL) {
		finished = r.sums.finished;
		r.count = r.sums.recipients;
		listing_each_held(&all, read_entry, &r);
		all.finished += finished;
	} else {
		if (summary)
			r.summary = summary_create(r.set->now);
		listing_each(&all, read_entry, &r);
	}
	if (all.no_answers != NULL) {
		complain("%s", all.no_answers);
		r.sums.trouble += set->words == 0;
	}
	r.sums.finished = set->words == 0 ? all.finished : 0;
	if (!summary)
		print_part(&r);
	else if (set->json)
		summary_json(&r.out, r.summary);
	else
		summary_text(&r.out, r.summary, 0);
	any = r.count > 0 || r.sums.reports > 0 || r.sums.finished > 0;
	if (!set->json && any)
		mailq_sums(&r.out, &r.sums, set->now);
	print(&r.out);
	if (!set->json && !any && r.unclear == NULL)
		mailq_nothing(set->words == 0 ? MAILQ_EMPTY : "Nothing in the queue matches.");
	if (summary)
		summary_destroy(&r.summary);
	listing_free(&r.part);
	buf_free(&r.out);
	free(r.last);
	damaged = all.trouble > 0 && (set->words == 0 || r.sums.trouble > 0);
	listing_free(&all);
	if (damaged)
		return EX_DATAERR;
	if (set->words > 0 && r.count == 0 && r.unclear != NULL)
		cannot_tell(set->verb, r.unclear);
	free(r.unclear);
	return set->words > 0 && r.count == 0 ? 1 : EX_OK;
}

/* To a user that may not read the files it would seem that nothing matches. */
static void refuse_strangers(const struct options *set)
{
	struct buf owner = { 0 };
	struct stat st;

	if (geteuid() == 0 || stat(".", &st) < 0 || st.st_uid == geteuid())
		return;
	account_add_user(&owner, st.st_uid);
	die(EX_NOPERM, "%s: only %s, the owner of %s/transport,%s may do this", set->verb, buf_str(&owner),
	    set->postoffice, st.st_uid == 0 ? "" : " and root");
}

/* ---- show ---- */

static bool keep_matching(void *context, const struct listed *e)
{
	struct reading *r = context;

	if (mailfilter_matches(&r->set->filter, e, r->set->now))
		listing_add(&r->part, e);
	return true;
}

static int show(const struct options *set)
{
	struct reading r = { .set = set };
	struct selection chosen = { .filter = &set->filter, .now = set->now };
	struct listing all, entries = { 0 };
	struct buf out = { 0 }, why = { 0 };

	if (set->filter.id == NULL)
		option_usage(&program, "show: expected an id");
	selection_read(&chosen);
	if (!selection_is_clear(&chosen, &why))
		die(EX_DATAERR, "%s", buf_str(&why));
	if (chosen.count == 0)
		refuse_strangers(set);
	if (chosen.count == 0 && chosen.unclear != NULL)
		cannot_tell(set->filter.id, chosen.unclear);
	if (chosen.count == 0)
		die(1, "%s: no such message in the queue", set->filter.id);
	listing_each(&all, keep_matching, &r);
	if (all.no_answers != NULL)
		complain("%s", all.no_answers);
	listing_free(&all);
	for (size_t i = 0; i < r.part.count; i++)
		if (strcmp(r.part.list[i].name, chosen.messages[0].job) == 0 && r.part.list[i].held == chosen.messages[0].held)
			listing_add(&entries, &r.part.list[i]);
	if (entries.count == 0 || entries.list[0].why != NULL)
		die(EX_DATAERR, "%s", entries.count == 0 ? "it has just left the queue" : entries.list[0].why);
	if (!show_message(&out, &entries, set->body, set->json, set->now, &why))
		die(EX_DATAERR, "%s", buf_str(&why));
	print(&out);
	listing_free(&entries);
	listing_free(&r.part);
	selection_free(&chosen);
	buf_free(&out);
	return EX_OK;
}

/* ---- verbs that change something ---- */

/* What has come of it, for the exit status. */
struct tally {
	const struct options *set;
	enum operation_verb verb;
	size_t results[OPERATION_RESULTS];
	struct control_client client;         /* fd -1: no runqueue runs, the files are changed here */
	const struct chosen_message **asked;  /* by number of the request */
	size_t capacity;
	const struct rerouting *rerouting;    /* of a reroute */
};

static bool is_held(const struct listed *e)
{
	return e->held;
}

/* With all recipients settled there is only the report to be tried again, or to be given up with the message. */
static bool may_be_tried(const struct listed *e)
{
	return !e->held;
}

static bool may_be_held(const struct listed *e)
{
	return !e->held && e->state != LISTED_REPORT;
}

static bool may_fail(const struct listed *e)
{
	return e->state != LISTED_REPORT || e->held;
}

static bool is_open(const struct listed *e)
{
	return e->state != LISTED_REPORT;
}

/* Recipients of a message that go elsewhere now; one may go to several places. */
struct moves {
	const struct rerouted *first, *end;
};

/* None if not all of them were moved: some were settled meanwhile, and it is unknown which. */
static struct moves moves_of(const struct tally *t, const struct chosen_message *m, size_t changed)
{
	const struct rerouting *r = t->rerouting;
	size_t message = (size_t)(m - r->selection->messages), recipients = 0;
	struct moves moves = { r->list + rerouting_first(r, message), r->list + rerouting_first(r, message + 1) };

	for (const struct rerouted *x = moves.first; x < moves.end; x++)
		recipients += x == moves.first || x[-1].to.offset != x->to.offset;
	if (recipients != changed)
		moves.end = moves.first;
	return moves;
}

static void add_moves_json(struct logline *line, struct moves moves)
{
	logline_key(line, "moves");
	buf_addc(&line->text, '[');
	for (const struct rerouted *x = moves.first; x < moves.end; x++) {
		struct logline from = { 0 }, to = { 0 };

		logline_begin(&to, true);
		logline_add(&to, "recipient", x->to.user);
		logline_add(&to, "channel", x->to.channel);
		logline_add(&to, "host", x->to.host);
		logline_end(&to);
		logline_begin(&from, true);
		logline_add(&from, "recipient", x->user);
		logline_add(&from, "channel", x->channel);
		logline_add(&from, "host", x->host);
		logline_key(&from, "to");
		buf_adds(&from.text, buf_str(&to.text));
		logline_end(&from);
		buf_adds(&line->text, x > moves.first ? "," : "");
		buf_adds(&line->text, buf_str(&from.text));
		logline_free(&from);
		logline_free(&to);
	}
	buf_addc(&line->text, ']');
}

static void print_moves(struct moves moves)
{
	for (const struct rerouted *x = moves.first; x < moves.end; x++) {
		struct buf line = { 0 };

		buf_adds(&line, "  ");
		text_add_clean_string(&line, x->user, 300);
		buf_adds(&line, ": ");
		text_add_clean_string(&line, x->channel, 100);
		buf_addc(&line, '/');
		text_add_clean_string(&line, x->host, 300);
		buf_adds(&line, " -> ");
		text_add_clean_string(&line, x->to.channel, 100);
		buf_addc(&line, '/');
		text_add_clean_string(&line, x->to.host, 300);
		if (strcmp(x->to.user, x->user) != 0) {
			buf_adds(&line, ", as ");
			text_add_clean_string(&line, x->to.user, 300);
		}
		puts(buf_str(&line));
		buf_free(&line);
	}
}

static void report(struct tally *t, const struct chosen_message *m, enum operation_result result, size_t changed,
                   const char *why)
{
	static const char *const words[OPERATION_VERBS] = { "held", "released", "due now", "failed", "removed", "rerouted" };
	struct logline line = { .json = true };
	struct buf from = { 0 };

	t->results[result]++;
	if (t->set->json) {
		logline_begin(&line, true);
		logline_add(&line, "verb", operation_verbs[t->verb]);
		logline_add(&line, "spool", m->spool);
		logline_add(&line, "file", m->job);
		if (m->sender != NULL) {
			logline_add(&line, "sender", strcmp(m->sender, "<>") == 0 ? "" : m->sender);
		} else {
			logline_key(&line, "sender");
			buf_adds(&line.text, "null");
		}
		logline_add(&line, "result", operation_results[result]);
		logline_number(&line, "recipients", changed);
		if (result != OPERATION_DONE)
			logline_add(&line, "why", why);
		else if (t->rerouting != NULL)
			add_moves_json(&line, moves_of(t, m, changed));
		logline_end(&line);
		puts(buf_str(&line.text));
		logline_free(&line);
		return;
	}
	if (result != OPERATION_DONE) {
		complain("%s: %s", strcmp(m->spool, "-") != 0 ? m->spool : m->job, why);
		return;
	}
	if (m->sender != NULL) {
		buf_adds(&from, ", from ");
		text_add_clean_string(&from, m->sender, 300);
	}
	printf("%s: %s%s, %zu recipient%s\n", strcmp(m->spool, "-") != 0 ? m->spool : m->job, words[t->verb], buf_str(&from),
	       changed, changed == 1 ? "" : "s");
	if (t->rerouting != NULL)
		print_moves(moves_of(t, m, changed));
	buf_free(&from);
}

static int exit_status(struct tally *t)
{
	control_client_finish(&t->client);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	if (t->results[OPERATION_BUSY] > 0 || t->results[OPERATION_TROUBLE] > 0)
		return EX_TEMPFAIL;
	return t->results[OPERATION_DONE] > 0 ? EX_OK : 1;
}

static void answered(void *context, size_t request, enum operation_result result, size_t changed, const char *words)
{
	struct tally *t = context;

	report(t, t->asked[request], result, changed, words);
}

/*
 * A runqueue does it, or the files are ours: nothing else runs here.  One that starts has the lock at once, and its socket a
 * moment later.
 */
static void take_charge(struct tally *t)
{
	const char *postoffice = t->set->postoffice;
	const int64_t deadline = clock_ms() + START_PATIENCE;
	struct buf why = { 0 }, name = { 0 };
	int status, fd;

	for (;;) {
		t->client = (struct control_client){
			.fd = control_client_connect(), .patience = t->set->patience, .answered = answered, .context = t,
		};
		if (t->client.fd >= 0)
			return;
		if (errno != ENOENT && errno != ECONNREFUSED)
			die(errno == EACCES || errno == EPERM ? EX_NOPERM : EX_OSERR, "%s/.control.runqueue: %s", postoffice,
			    strerror(errno));
		/* files of the queue belong to the owner of the post office, whatever root does to them */
		if (!account_become_owner(".", &name))
			die(EX_NOPERM, "cannot become %s, the owner of %s/transport: %s", buf_str(&name), postoffice,
			    strerror(errno));
		fd = lock_take(postoffice, LOCK_PATIENCE, &why, &status);
		if (fd >= 0)
			break;
		if (status != EX_TEMPFAIL || clock_ms() >= deadline)
			die(status, "%s", buf_str(&why));
		buf_clear(&why);
		poll(NULL, 0, START_PAUSE);
	}
	/* whoever waits for the lock is to see that no runqueue has it; on a full disk that can be left */
	(void)!ftruncate(fd, 0);
}

/* Done, or asked for: some recipients of a message, or all of it. */
static void operate_on(struct tally *t, const struct chosen_message *m, struct operation_recipient *to, size_t count)
{
	static struct buf operator;
	struct operation o = {
		.verb = t->verb, .job = m->job, .spool = m->spool, .inode = m->inode, .held = m->held, .recipients = to,
		.count = count,
		.text = t->set->text, .json = t->set->log_json,
	};
	struct buf why = { 0 };
	size_t changed;
	enum operation_result result;

	if (operator.len == 0)
		account_add_user(&operator, getuid());
	o.by = buf_str(&operator);
	if (t->client.fd >= 0 || t->client.asked > 0) {
		t->asked = xgrow(t->asked, t->client.asked, &t->capacity, sizeof *t->asked);
		t->asked[t->client.asked] = m;
		control_client_ask(&t->client, &o);
		return;
	}
	result = operate(&o, time(NULL), &changed, &why);
	report(t, m, result, changed, buf_str(&why));
	buf_free(&why);
}

static void operate_on_all(struct tally *t, const struct selection *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct chosen_message *m = &s->messages[i];
		struct operation_recipient *to = xcalloc(m->count + 1, sizeof *to);

		for (size_t k = 0; k < m->count; k++)
			to[k].offset = m->recipients[k];
		/* of one in trouble the control file may be good, so that its senders can be told */
		if ((t->verb != OPERATION_FAIL && t->verb != OPERATION_RETRY) || m->why != NULL)
			operate_on(t, m, NULL, 0);
		else
			for (size_t at = 0; at < m->count; at += CHUNK)
				operate_on(t, m, to + at, m->count - at < CHUNK ? m->count - at : CHUNK);
		free(to);
	}
}

/* The recipients that go elsewhere now, by message.  Those that stay are no failure, unless no map could tell. */
static int reroute(struct tally *t, const struct selection *s)
{
	const struct options *set = t->set;
	char *usual = set->dbases == NULL ? zenv_below("MAILVAR", "db/dbases.conf") : NULL;
	struct routing routing = {
		.dbases = set->dbases != NULL ? set->dbases : usual, .settings = set->router,
		.setting_count = set->router_count,
		.privilege = account_nobody(),
	};
	struct rerouting r = { .selection = s, .leaves = set->yes };
	int status;

	if (routing.dbases == NULL)
		option_usage(&program, "expected the maps that route addresses: -f, or MAILVAR in the file that ZCONFIG names");
	for (size_t i = 0; i < s->count; i++)
		if (s->messages[i].why != NULL)
			report(t, &s->messages[i], OPERATION_TROUBLE, 0, s->messages[i].why);
	t->rerouting = &r;
	status = rerouting_ask(&r, &routing);
	for (size_t i = 0, end; status == EX_OK && i < r.count; i = end) {
		struct operation_recipient *to = xcalloc(r.count - i, sizeof *to);

		for (end = i; end < r.count && r.list[end].message == r.list[i].message; end++)
			to[end - i] = r.list[end].to;
		operate_on(t, &s->messages[r.list[i].message], to, end - i);
		free(to);
	}
	if (status == EX_OK && r.count == 0 && r.unclear + r.unknown + t->results[OPERATION_TROUBLE] == 0)
		complain("no recipient has another place in the maps");
	if (status == EX_OK)
		status = r.count + r.unknown + t->results[OPERATION_TROUBLE] == 0 ? EX_OK : exit_status(t);
	if (r.unclear > 0 && status < EX_TEMPFAIL)
		status = EX_TEMPFAIL;
	rerouting_free(&r);
	free(usual);
	return status;
}

/* More than one message is removed only if the operator has said so. */
static void confirm_removal(const struct options *set, const struct selection *s)
{
	char answer[16];

	if (s->count <= 1 || set->yes)
		return;
	if (!isatty(STDIN_FILENO))
		die(EX_USAGE, "remove: %zu messages match; use --yes to remove all", s->count);
	fprintf(stderr, "Remove %zu messages with %zu recipients for good? [y/N] ", s->count, s->recipients);
	if (fgets(answer, sizeof answer, stdin) == NULL || (answer[0] != 'y' && answer[0] != 'Y'))
		die(EX_USAGE, "nothing was removed");
}

static int change(const struct options *set)
{
	const enum operation_verb verb = operation_verb_of(set->verb);
	struct tally t = { .set = set, .verb = verb };
	struct selection s = { .filter = &set->filter, .now = set->now };
	static bool (*const fits[OPERATION_VERBS])(const struct listed *e) = {
		[OPERATION_HOLD] = may_be_held, [OPERATION_RELEASE] = is_held, [OPERATION_RETRY] = may_be_tried,
		[OPERATION_FAIL] = may_fail, [OPERATION_REROUTE] = is_open,
	};
	static const char *const participles[OPERATION_VERBS] = { "held", "released", "tried", "failed", "removed",
	                                                          "rerouted" };
	struct buf why = { 0 };
	pid_t zmailer;
	int status;

	if (set->words == 0)
		option_usage(&program, "%s: expected a filter, or all", set->verb);
	refuse_strangers(set);
	zmailer = lock_zmailer(set->postoffice);
	if (zmailer != 0)
		die(EX_TEMPFAIL, "%s: ZMailer's scheduler runs here (process %ld); stop it first, or use its own tools",
		    set->verb, (long)zmailer);
	/* one that was named gets its answer; of others those are meant that it can be done to */
	if (set->filter.id == NULL)
		s.fits = fits[verb];
	selection_read(&s);
	if (!selection_is_clear(&s, &why))
		die(EX_DATAERR, "%s", buf_str(&why));
	if (s.count == 0 && s.unclear != NULL)
		cannot_tell(set->verb, s.unclear);
	if (s.count == 0)
		die(1, s.unfit ? "%s: nothing that matches can be %s" : "%s: nothing in the queue matches", set->verb,
		    participles[verb]);
	/*
	 * the name of a message that has left may be the beginning of another's: what cannot be undone is done to a whole name
	 */
	if ((verb == OPERATION_REMOVE || verb == OPERATION_FAIL) && set->filter.id != NULL && !s.exact &&
	    strncmp(set->filter.id, s.messages[0].spool, strlen(set->filter.id)) != 0)
		die(1, "%s: no message in the queue has the name %s; give the whole of %s if that is meant", set->verb,
		    set->filter.id, s.messages[0].job);
	if (verb == OPERATION_REMOVE)
		confirm_removal(set, &s);
	take_charge(&t);
	if (verb == OPERATION_REROUTE) {
		status = reroute(&t, &s);
	} else {
		operate_on_all(&t, &s);
		status = exit_status(&t);
	}
	selection_free(&s);
	free(t.asked);
	return status;
}

static int watch(const struct options *set)
{
	return monitor_run(set->postoffice, set->json);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct options *set);
	} verbs[] = {
		{ "list", list_or_summary }, { "summary", list_or_summary }, { "show", show }, { "watch", watch },
		{ "hold", change }, { "release", change }, { "retry", change }, { "fail", change }, { "remove", change },
		{ "reroute", change },
	};
	static struct options set = { .patience = 60 };
	char *office;
	struct buf why = { 0 };
	size_t verb = 0;
	int status;

	set.now = time(NULL);
	process_begin(program.name);
	/* the reader of a list may have seen enough */
	signal(SIGPIPE, SIG_IGN);
	read_words(&set, argc, argv);
	check_words(&set);
	while (verb < sizeof verbs / sizeof verbs[0] && strcmp(verbs[verb].name, set.verb) != 0)
		verb++;
	if (verb == sizeof verbs / sizeof verbs[0])
		option_usage(&program, "%s: no such verb; expected " VERBS, set.verb);
	logline_open_syslog(program.name);
	/* the names that were given hold from there too */
	set.dbases = file_absolute(set.dbases);
	office = file_absolute(set.postoffice);
	status = spool_enter_transport(set.postoffice, &why);
	if (status != EX_OK)
		die(status, "%s", buf_str(&why));
	set.postoffice = office;
	status = verbs[verb].run(&set);
	mailfilter_free(&set.filter);
	free(set.router);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	return status;
}
