/*
 * zlmtp-check: is everything as it should be?  As text, and for monitoring that understands Nagios plugins.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "channel/check/agents.h"
#include "channel/check/findings.h"
#include "channel/check/maps.h"
#include "channel/check/spool.h"
#include "channel/queue/schedconf.h"
#include "channel/submit/handover.h"
#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/options.h"
#include "lib/parse.h"
#include "lib/process.h"
#include "lib/zenv.h"

static const struct option_help options[] = {
	{ 'a', "WARN,CRIT", "age of the oldest message in the queue (default 4h,2d)" },
	{ 'd', "FILE", "dbases.conf (default: db/dbases.conf in MAILVAR of ZENV)" },
	{ 'f', "FILE", "scheduler.conf (default: in MAILSHARE of ZENV)" },
	{ 'g', "WARN,CRIT", "age of a map since its last change (default: any)" },
	{ 'M', "FILE", "write what was found to FILE, in the text form of Prometheus" },
	{ 'n', "WARN,CRIT", "recipients in the queue (default: any number)" },
	{ 'o', "PARTS", "only these, with commas between them: spool, queue, agents, maps, intake" },
	{ 'P', "DIRECTORY", "the post office (default: POSTOFFICE of ZENV)" },
	{ 't', "TIME", "for an answer of a server, or of a live map (default 10s)" },
	{ 'v', NULL, "a line for each check" },
	{ 0 },
};

static const struct program program = {
	.name = "zlmtp-check",
	.synopsis = "[-vV] [-a warn,crit] [-d file] [-f file] [-g warn,crit] [-M file] [-n warn,crit]\n"
	            "[-o parts] [-P directory] [-t time]",
	.purpose = "Checks post office, queue, servers and maps, and prints their state in one line.",
	.options = options,
	.notes = "Exits with 0 if all is well, 1 for a warning, 2 if it is critical, 3 if it could not be told.\n"
	         "WARN or CRIT may be empty: no limit.  TIME is like 1h30m; bare digits are seconds.",
	.help = 'h',
};

enum part { PART_SPOOL = 1, PART_QUEUE = 2, PART_AGENTS = 4, PART_MAPS = 8, PART_ALL = 15, PART_INTAKE = 16 };

struct options {
	const char *postoffice;
	char *conf, *dbases, *metrics;
	unsigned parts;
	struct thresholds age, size;
	struct map_limits maps;
	int64_t seconds;
	bool verbose;
};

/* ---- options ---- */

static bool number_value(const char *text, int64_t *value)
{
	uint64_t n;

	if (!parse_number(text, INT32_MAX, &n))
		return false;
	*value = (int64_t)n;
	return true;
}

/* "WARN,CRIT", each of them optional. */
static void take_thresholds(struct thresholds *t, char option, const char *argument,
                            bool (*value)(const char *text, int64_t *value))
{
	char *warning = xstrdup(argument), *critical = strchr(warning, ',');

	if (critical != NULL)
		*critical++ = '\0';
	*t = (struct thresholds){ -1, -1 };
	if ((warning[0] != '\0' && !value(warning, &t->warning)) ||
	    (critical != NULL && critical[0] != '\0' && !value(critical, &t->critical)))
		option_usage(&program, "-%c %s: expected WARN,CRIT, such as %s", option, argument,
		             value == number_value ? "1000,20000" : "4h,2d");
	free(warning);
}

static unsigned take_parts(const char *argument)
{
	static const struct part_name {
		const char *name;
		enum part part;
	} names[] = { { "spool", PART_SPOOL }, { "queue", PART_QUEUE }, { "agents", PART_AGENTS }, { "maps", PART_MAPS },
		{ "intake", PART_INTAKE } };
	char *copy = xstrdup(argument), *rest = copy, *word;
	unsigned parts = 0;

	while ((word = strsep(&rest, ",")) != NULL) {
		const struct part_name *name = PARSE_ROW(names, word);

		if (name == NULL)
			option_usage(&program, "-o %s: expected spool, queue, agents, maps and intake, with commas between them", argument);
		parts |= name->part;
	}
	free(copy);
	return parts;
}

static void read_options(struct options *w, int argc, char **argv)
{
	int c;
	bool spool, agents, maps;
	struct zenv file = { 0 };
	struct buf why = { 0 };

	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case 'a': take_thresholds(&w->age, 'a', optarg, parse_interval); break;
		case 'd': w->dbases = file_absolute(optarg); break;
		case 'f': w->conf = file_absolute(optarg); break;
		case 'g': take_thresholds(&w->maps.age, 'g', optarg, parse_interval); break;
		case 'M': w->metrics = file_absolute(optarg); break;
		case 'n': take_thresholds(&w->size, 'n', optarg, number_value); break;
		case 'o': w->parts = take_parts(optarg); break;
		case 'P': w->postoffice = optarg; break;
		case 't':
			if (!parse_interval(optarg, &w->seconds) || w->seconds < 1 || w->seconds > 3600)
				option_usage(&program, "-t %s: expected a time up to 1h", optarg);
			break;
		case 'v': w->verbose = true; break;
		}
	}
	if (optind < argc)
		option_usage(&program, "%s: expected no arguments", argv[optind]);
	spool = (w->parts & (PART_SPOOL | PART_QUEUE | PART_AGENTS)) && w->postoffice == NULL;
	agents = (w->parts & PART_AGENTS) && w->conf == NULL;
	maps = (w->parts & PART_MAPS) && w->dbases == NULL;
	if ((spool || agents || maps || (w->parts & PART_INTAKE) || w->parts == PART_ALL) && zenv_read(&file, &why) != 0)
		die(FINDING_UNKNOWN, "%s", buf_str(&why));
	zenv_free(&file);
	if (spool)
		w->postoffice = zenv("POSTOFFICE");
	if (agents)
		w->conf = zenv_below("MAILSHARE", "scheduler.conf");
	if (maps)
		w->dbases = zenv_below("MAILVAR", "db/dbases.conf");
	if (spool && w->postoffice == NULL)
		option_usage(&program, "expected the post office: -P, or POSTOFFICE in the file that ZCONFIG names");
	if (agents && w->conf == NULL)
		option_usage(&program, "expected scheduler.conf: -f, or MAILSHARE in the file that ZCONFIG names; "
		             "or -o without agents");
	if (maps && w->dbases == NULL)
		option_usage(&program, "expected dbases.conf: -d, or MAILVAR in the file that ZCONFIG names; or -o without maps");
}

/* ---- the parts ---- */

static bool enter_transport(struct findings *f, const char *postoffice)
{
	char *path = xasprintf("%s/transport", postoffice);
	bool ok = file_enter_directory(path);

	if (!ok)
		finding_add(f, errno == EACCES ? FINDING_UNKNOWN : FINDING_CRITICAL, "%s: %s", path, strerror(errno));
	free(path);
	return ok;
}

static void look_at_agents(struct findings *f, const struct options *w)
{
	struct buf why = { 0 };
	struct schedconf *conf = schedconf_read(w->conf, &why);

	if (conf == NULL)
		finding_add(f, FINDING_CRITICAL, "%s", buf_str(&why));
	else
		check_agents(f, conf, w->conf, (unsigned)w->seconds);
	schedconf_free(&conf);
	buf_free(&why);
}

/* A server that greets us and would take a message now. */
static void look_at_intake(struct findings *f, const struct options *w)
{
	const char *path = zenv("INTAKE");
	struct handover intake;
	const struct envelope envelope = { .sender = "" };
	int status, code;

	if (path == NULL)
		path = HANDOVER_INTAKE;
	if (strncasecmp(path, "UNIX:", 5) == 0)
		path += 5;
	status = handover_open(&intake, path, "zlmtp-check", (unsigned)w->seconds);
	code = status == 0 ? handover_mail(&intake, &envelope, false) : 0;
	if (code == 250)
		finding_add(f, FINDING_OK, "intake %s takes mail", path);
	else
		finding_add(f, errno == EACCES && status < 0 ? FINDING_UNKNOWN : FINDING_CRITICAL, "intake %s: %s%s", path,
		            status == 0 && code != 0 ? "takes no mail now: " : "", buf_str(&intake.words));
	handover_close(&intake);
}

/* ---- the end ---- */

static void write_metrics(struct findings *f)
{
	static const struct metric state = { "zlmtp_check_state", METRIC_GAUGE,
	                                     "What zlmtp-check came to: 0 ok, 1 warning, 2 critical, 3 could not tell." };
	static const struct metric when = { "zlmtp_check_timestamp_seconds", METRIC_GAUGE, "When zlmtp-check ran last." };
	struct buf why = { 0 };

	metrics_add(f->metrics, &state, "", (uint64_t)findings_worst(f) * 1000);
	metrics_add(f->metrics, &when, "", (uint64_t)time(NULL) * 1000);
	switch (metrics_write(f->metrics, 2000, &why)) {
	case METRICS_WRITTEN: break;
	case METRICS_BUSY: finding_add(f, FINDING_UNKNOWN, "metrics: other programs keep the file locked"); break;
	case METRICS_REFUSED: finding_add(f, FINDING_UNKNOWN, "metrics: %s", buf_str(&why)); break;
	}
	metrics_destroy(&f->metrics);
	buf_free(&why);
}

int main(int argc, char **argv)
{
	struct options w = {
		.parts = PART_ALL, .age = { 4 * 3600, 2 * 86400 }, .size = { -1, -1 }, .maps = { .age = { -1, -1 } },
		.seconds = 10,
	};
	struct findings f = { 0 };
	struct buf out = { 0 };
	enum severity worst;

	process_begin(program.name);
	log_failure(FINDING_UNKNOWN);
	read_options(&w, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	w.maps.wait = (unsigned)w.seconds;
	if (w.metrics != NULL)
		f.metrics = metrics_create(w.metrics);
	if (zenv_path() != NULL)
		finding_add(&f, FINDING_OK, "settings are those of %s", zenv_path());
	if ((w.parts & PART_INTAKE) || (w.parts == PART_ALL && zenv("INTAKE") != NULL))
		look_at_intake(&f, &w);
	if (w.parts & PART_SPOOL)
		check_directories(&f, w.postoffice);
	if (w.parts & PART_MAPS)
		check_maps(&f, w.dbases, &w.maps);
	if ((w.parts & (PART_QUEUE | PART_AGENTS)) && enter_transport(&f, w.postoffice)) {
		if (w.parts & PART_QUEUE)
			check_queue(&f, &w.age, &w.size);
		if (w.parts & PART_AGENTS)
			look_at_agents(&f, &w);
	}
	if (f.metrics != NULL)
		write_metrics(&f);
	findings_print(&f, w.verbose, &out);
	worst = findings_worst(&f);
	if (!file_write(STDOUT_FILENO, out.data, out.len))
		worst = FINDING_UNKNOWN;
	buf_free(&out);
	findings_free(&f);
	free(w.conf);
	free(w.dbases);
	free(w.metrics);
	return (int)worst;
}
