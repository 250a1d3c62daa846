/*
 * enqueue: puts a message into a ZMailer queue, as its router would.
 */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/protocol/arguments.h"
#include "channel/queue/unserved.h"
#include "channel/routing.h"
#include "channel/spool/dsn.h"
#include "channel/spool/event.h"
#include "channel/spool/notify.h"
#include "channel/spool/write.h"
#include "config.h"
#include "db/grammar/address.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/pool.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/zenv.h"

static const struct option_help options[] = {
	{ 'f', "DBASES", "the maps that route ADDRESS (default: db/dbases.conf in MAILVAR of ZENV)" },
	{ 'e', "ENVID", "envelope id, xtext (RFC 3461)" },
	{ 'H', NULL, "hash the queue in one level of directories, -HH in two" },
	{ 'k', NULL, "leave out addresses that do not exist, and queue the message for the others" },
	{ 'm', NULL, "make the directories of the post office that are missing" },
	{ 'M', "FILE", "add the number of lookups to FILE, in the text form of Prometheus" },
	{ 'N', "NOTIFY", "NEVER, or a list of SUCCESS,FAILURE,DELAY (RFC 3461)" },
	{ 'o', "NAME=VALUE", "a setting of the router; any number" },
	{ 'O', "log=keys|json", "form of the log line (keys)" },
	{ 'P', "DIRECTORY", "the post office (default: POSTOFFICE of ZENV)" },
	{ 'r', "CHANNEL,HOST,USER", "a recipient as a router would give it; once for each" },
	{ 'R', "RET", "what a report returns: FULL or HDRS (RFC 3461)" },
	{ 's', "SENDER", "return path, <> or '' for none (default: you at this host)" },
	{ 'v', NULL, "print on stderr which files were written" },
	{ 0 },
};

static const struct program program = {
	.name = "enqueue",
	.synopsis = "[-HkmvV] [-e envid] [-f dbases] [-M file] [-N notify] [-o name=value] ... [-O key=value] [-P directory]"
	            " [-R ret] [-s sender] address ... <message\n"
	            "[-HmvV] [-e envid] [-N notify] [-O key=value] [-P directory] [-R ret] [-s sender] -r channel,host,user ... <message",
	.purpose = "Puts the message on standard input into the queue and prints its spool id.",
	.options = options,
	.notes = "Without -H the level is SCHEDULERDIRHASH of ZENV, the file that ZCONFIG names, or\n"
	         ZCONFIG_PATH ".\n"
	         "Addresses are routed as dblookup -f DBASES -r shows it.  If one does not exist, nothing is queued and the\n"
	         "exit status is 67; if one could not be judged, 75, and the same call may be made again later.",
	.help = 'h',
};

struct request {
	const char *postoffice;
	unsigned levels;
	bool make, verbose, json;
	const char *sender, *notify, *ret, *envid;
	char *own_address;           /* the sender, if none was given */
	struct spool_recipient *recipients;
	size_t count, capacity;
	struct routing routing;
	char **settings;             /* of -o */
	size_t setting_count, setting_capacity;
};

/* What was pasted and does not look like what it is. */
static void refuse_invisible(const char *what, const char *s)
{
	struct buf shown = { 0 }, invisible = { 0 };

	if (!text_add_invisible(&invisible, s, strlen(s)))
		return;
	text_add_clean_string(&shown, s, 200);
	die(EX_DATAERR, "%s\"%s\": holds %s", what, buf_str(&shown), buf_str(&invisible));
}

static bool is_in_brackets(const char *s)
{
	size_t n = strlen(s);

	return n > 1 && s[0] == '<' && s[n - 1] == '>';
}

static _Noreturn void refuse_address(char option, const char *text, const char *why, const char *expected)
{
	struct buf shown = { 0 };

	text_add_clean_string(&shown, text, 200);
	die(EX_DATAERR, "-%c \"%s\" is no address: %s; expected %s", option, buf_str(&shown), why, expected);
}

/* One with a domain is an address, as it would be taken from a sender or a client; any other is for its channel to know. */
static void check_user(const char *user)
{
	struct pool pool = { 0 };
	struct address address;
	const char *why = NULL;

	if (strchr(user, '@') != NULL && user[0] != '|' && user[0] != '/') {
		if (user[0] == '@')
			why = "a source route, or no local part";
		else if (address_parse(&pool, user, strlen(user), ADDRESS_PLAIN, &address, &why) && address.domain == NULL)
			why = "its '@' stands in quotes, and no domain follows them";
		if (why != NULL)
			refuse_address('r', user, why, "user@domain, or a user without '@'");
	}
	pool_free(&pool);
}

/* "CHANNEL,HOST,USER"; the user may have commas in it. */
static void add_recipient(struct request *r, char *triple)
{
	char *host = strchr(triple, ','), *user = host != NULL ? strchr(host + 1, ',') : NULL;

	if (user == NULL || host == triple || user[1] == '\0')
		option_usage(&program, "-r %s: expected channel,host,user", triple);
	refuse_invisible("-r ", triple);
	if (is_in_brackets(user + 1))
		die(EX_DATAERR, "-r %s: the user stands in angle brackets; expected user or user@domain without them", triple);
	check_user(user + 1);
	*host++ = '\0';
	*user++ = '\0';
	r->recipients = xgrow(r->recipients, r->count, &r->capacity, sizeof *r->recipients);
	r->recipients[r->count++] = (struct spool_recipient){
		.channel = triple, .host = host, .user = user, .privilege = account_nobody(),
	};
}

/* A sender is one address, as it would be taken from a recipient, and it goes out as it was written. */
static void check_sender(const char *sender)
{
	struct pool pool = { 0 };
	struct address address;
	const char *why = NULL;

	if (sender[0] == '\0' || strcmp(sender, "<>") == 0)
		return;
	refuse_invisible("-s ", sender);
	if (sender[0] == '@')
		why = "a source route";
	else if (is_in_brackets(sender))
		why = "it stands in angle brackets";
	else if (address_parse(&pool, sender, strlen(sender), ADDRESS_PLAIN, &address, &why))
		why = address.no_alias ? "a backslash stands in front"
		      : address.written[0] != '"' && address_has_specials(address.local) ? "the local part would need quotes"
		                                                                         : NULL;
	if (why != NULL)
		refuse_address('s', sender, why, "user@domain, or <> for no sender");
	pool_free(&pool);
}

static void read_options(struct request *r, int argc, char **argv)
{
	struct buf why = { 0 };
	unsigned levels = 0;
	int c;

	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case 'e': r->envid = optarg; break;
		case 'f': r->routing.dbases = optarg; break;
		case 'H': levels++; break;
		case 'k': r->routing.keep_good = true; break;
		case 'm': r->make = true; break;
		case 'M': r->routing.metrics = optarg; break;
		case 'N': r->notify = optarg; break;
		case 'o':
			r->settings = xgrow(r->settings, r->setting_count, &r->setting_capacity, sizeof *r->settings);
			r->settings[r->setting_count++] = optarg;
			break;
		case 'O':
			if (!logline_form(optarg, &r->json))
				option_usage(&program, "-O %s: expected log=keys or log=json", optarg);
			break;
		case 'P': r->postoffice = optarg; break;
		case 'r': add_recipient(r, optarg); break;
		case 'R': r->ret = optarg; break;
		case 's': r->sender = optarg; break;
		case 'v': r->verbose = true; break;
		}
	}
	option_end(&program, argc, argv);
	if (r->count == 0 && optind == argc)
		option_usage(&program, "expected a recipient: an address, or -r channel,host,user");
	if (levels > 2)
		option_usage(&program, "there are no more than two levels of directories: -HH");
	r->levels = levels > 0 ? levels : zenv_levels();
	if (r->ret != NULL && strcasecmp(r->ret, "FULL") != 0 && strcasecmp(r->ret, "HDRS") != 0)
		option_usage(&program, "-R %s: expected FULL or HDRS", r->ret);
	if (r->ret != NULL)
		r->ret = strcasecmp(r->ret, "FULL") == 0 ? "FULL" : "HDRS";
	if (r->notify != NULL && !arguments_is_notify(r->notify))
		option_usage(&program, "-N %s: expected NEVER or a list of SUCCESS,FAILURE,DELAY", r->notify);
	if (r->envid != NULL && (!arguments_is_xtext(r->envid) || strlen(r->envid) > 100))
		die(EX_DATAERR, "-e %s: expected xtext of at most 100 characters: printable ASCII without blank and \"=\", \"+\" only before "
		    "two hex digits", r->envid);
	if (r->sender != NULL)
		check_sender(r->sender);
	if (r->postoffice == NULL)
		r->postoffice = zenv("POSTOFFICE");
	if (r->postoffice == NULL)
		option_usage(&program, "expected the post office: -P, or POSTOFFICE in the file that ZCONFIG names");
	/* what is wrong there must show before the message is in the queue */
	zenv("MAILSHARE");
	if (!notify_fits(&why))
		complain("%s; the scheduler is not notified of new mail", buf_str(&why));
	buf_free(&why);
}

/* Addresses become recipients, or the program ends. */
static void route_addresses(struct request *r, char **addresses, size_t count)
{
	char *usual = NULL;
	int status;

	for (size_t i = 0; i < count; i++) {
		refuse_invisible("", addresses[i]);
		if (addresses[i][0] == '/')
			die(EX_DATAERR, "%s: a file, and no address; the message is read from standard input, < %s",
			    addresses[i], addresses[i]);
	}
	if (r->routing.dbases == NULL)
		r->routing.dbases = usual = zenv_below("MAILVAR", "db/dbases.conf");
	if (r->routing.dbases == NULL)
		option_usage(&program, "expected the maps that route addresses: -f, or MAILVAR in the file that ZCONFIG names");
	r->routing.settings = r->settings;
	r->routing.setting_count = r->setting_count;
	r->routing.privilege = account_nobody();
	status = routing_run(&r->routing, addresses, count);
	if (status != EX_OK)
		exit(status);
	for (size_t i = 0; i < r->routing.count; i++) {
		const struct routed *to = &r->routing.recipients[i];

		r->recipients = xgrow(r->recipients, r->count, &r->capacity, sizeof *r->recipients);
		r->recipients[r->count++] = (struct spool_recipient){
			.channel = to->channel, .host = to->host, .user = to->user, .privilege = to->privilege,
		};
	}
	free(usual);
}

/* A scheduler of its own user could not read what root has written there: root becomes the owner of the post office. */
static void become_owner(const char *postoffice)
{
	char *path = xasprintf("%s/transport", postoffice);
	struct buf name = { 0 };

	if (!account_become_owner(path, &name))
		die(EX_NOPERM, "cannot become %s, the owner of %s: %s", buf_str(&name), path, strerror(errno));
	free(path);
}

static struct spool_envelope make_envelope(struct request *r)
{
	const size_t given = r->count - r->routing.count;
	bool null_sender;

	if (r->sender == NULL) {
		const struct passwd *pw = getpwuid(getuid());

		if (pw == NULL)
			die(EX_NOUSER, "user %ld has no name; give the sender with -s", (long)getuid());
		r->sender = r->own_address = xasprintf("%s@%s", pw->pw_name, process_host());
	}
	null_sender = strcmp(r->sender, "<>") == 0 || r->sender[0] == '\0';
	for (size_t i = 0; i < r->count; i++) {
		/* what the sender wrote for it: those from addresses stand behind those from -r */
		const char *original = i < given ? r->recipients[i].user : r->routing.recipients[i - given].address;
		struct buf text = { 0 };

		dsn_add(&text, r->notify, NULL, original, null_sender ? NULL : r->sender);
		r->recipients[i].dsn = text.data;
	}
	return (struct spool_envelope){
		.sender_channel = null_sender ? "error" : "local",
		.sender_host = null_sender ? "<>" : r->sender,
		.sender = null_sender ? "<>" : r->sender,
		.sender_privilege = (long)getuid(),
		.ret = r->ret, .envid = r->envid,
		.recipients = r->recipients, .recipient_count = r->count,
	};
}

int main(int argc, char **argv)
{
	struct request r = { 0 };
	struct spool_envelope envelope;
	struct spool spool;
	struct spool_draft *draft;
	struct logline line = { 0 };
	struct buf why = { 0 };
	int status;

	process_begin(program.name);
	/* a directory that goes away in mid-sentence, or no reader of the name, is no reason to die */
	signal(SIGPIPE, SIG_IGN);
	read_options(&r, argc, argv);
	if (r.verbose)
		zenv_tell();
	if (optind < argc)
		route_addresses(&r, argv + optind, (size_t)(argc - optind));
	if (r.count == 0) {
		if (r.verbose)
			complain("the maps discard it: nothing queued");
		return EX_OK;
	}
	if (!file_ends(STDIN_FILENO))
		die(EX_NOINPUT, "standard input: %s", file_error(errno));
	if (r.make && !spool_make(r.postoffice, &why))
		die(EX_CANTCREAT, "%s", buf_str(&why));
	envelope = make_envelope(&r);
	become_owner(r.postoffice);
	spool = (struct spool){ .postoffice = r.postoffice, .levels = r.levels, .host = process_host() };
	if (!spool_open(&spool, &why))
		die(EX_CANTCREAT, "%s", buf_str(&why));
	status = spool_submit(&spool, &envelope, STDIN_FILENO, &draft, &why);
	if (status != EX_OK)
		die(status, "%s", buf_str(&why));
	if (r.verbose)
		complain("%s/transport/%s: %zu recipient%s", r.postoffice, spool_job(draft), r.count, r.count == 1 ? "" : "s");
	notify_send(spool_job(draft));
	for (size_t i = 0; i < r.count; i++)
		unserved_warn(r.recipients[i].channel, r.recipients[i].host);
	/* the message is in the queue whatever happens to our words about it */
	event_queued(&line, r.json, draft, "local", "-");
	logline_open_syslog(program.name);
	logline_send(&line);
	logline_free(&line);
	printf("%s\n", spool_id(draft));
	fflush(stdout);
	spool_free(&draft);
	spool_close(&spool);
	for (size_t i = 0; i < r.count; i++)
		free((char *)r.recipients[i].dsn);
	free(r.recipients);
	routing_free(&r.routing);
	free(r.settings);
	free(r.own_address);
	buf_free(&why);
	return EX_OK;
}
