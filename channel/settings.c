#include "channel/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "channel/net/local.h"
#include "channel/spool/tag.h"
#include "lib/alloc.h"
#include "lib/options.h"
#include "lib/parse.h"
#include "lib/process.h"
#include "lib/zenv.h"

/* SMTP's own port: LMTP must never be meant by it (RFC 2033 section 5); -O protocol=smtp means it if no other is given. */
#define PORT_SMTP 25

static const struct option_help options[] = {
	{ '1', NULL, "close the connection after each transaction" },
	{ '7', NULL, "behave as if the server had no 8BITMIME; twice: no extension but STARTTLS and AUTH" },
	{ '8', NULL, "behave as if the server had 8BITMIME, and decode quoted-printable text" },
	{ 'A', "FILE", "users and passwords for servers, see smtp-auth-secrets(5)" },
	{ 'B', NULL, "ask the server whether each ADDRESS exists; without ADDRESS, whether it is ready" },
	{ 'c', "CHANNEL", "deliver recipients of this channel (default smtp)" },
	{ 'f', "DBASES", "with -B: the maps that route ADDRESS" },
	{ 'F', "TARGET", "deliver to this server: UNIX:/path, [address]:port or name:port" },
	{ 'h', "NAME", "our name in LHLO or EHLO (default: this host's name)" },
	{ 'H', NULL, "send 8-bit header fields unchanged, also to a server without 8BITMIME" },
	{ 'l', "FILE", "append a protocol log to FILE" },
	{ 'L', "ADDRESS", "local address: any, any6, [address], iface:NAME, iface:v4:NAME, iface:v6:NAME" },
	{ 'O', "KEY[=VALUE]", "see below" },
	{ 'p', "PORT", "TCP port" },
	{ 'P', NULL, "no pipelining" },
	{ 'r', NULL, "connect from a port below 1024" },
	{ 's', NULL, "show progress in the process title" },
	{ 'S', "FILE", "settings of TLS, see tls.conf(5)" },
	{ 'T', "[STEP=]TIME", "time limits: conn, cmd, data, dot, tcpw; without STEP: cmd" },
	{ 'w', "BYTES", "send buffer of connections" },
	{ '6', NULL, "accepted, has no effect" },
	{ 'd', NULL, "accepted, has no effect" },
	{ 'D', NULL, "accepted, has no effect" },
	{ 'e', NULL, "accepted, has no effect" },
	{ 'E', NULL, "accepted, has no effect" },
	{ 'M', NULL, "accepted and implied: the protocol is LMTP, unless -O says otherwise" },
	{ 'v', NULL, "accepted, has no effect" },
	{ 'W', NULL, "accepted, has no effect" },
	{ 'x', NULL, "accepted and implied: no MX lookup" },
	{ 'X', NULL, "accepted, has no effect" },
	{ 'Z', "WORD", "accepted, has no effect" },
	{ 0 },
};

static const struct program program = {
	.name = "lmtp",
	.synopsis = "[option ...] [host]\n[option ...] -B [address ... | -]",
	.purpose = "Delivers the messages a ZMailer scheduler names on standard input over LMTP, or over SMTP to one relay.",
	.options = options,
	.notes = "-O auth=A,B              mechanisms in this order, of login, plain, scram-sha-256, external\n"
	         "-O auth-cleartext        allow a password to cross a network unencrypted\n"
	         "-O chunking=yes|no       use BDAT where the server has it (default yes), or always DATA\n"
	         "-O connections=N         sessions to one target, 1 to 16 (default 4)\n"
	         "-O idle=TIME             keep an unused connection open that long (default 60s)\n"
	         "-O ignore-caps=A,B       behave as if the server had not announced these\n"
	         "-O ignore-ezmlm          send the return path of a mailing list unchanged\n"
	         "-O ignore-quota          ask a server that announces IGNOREQUOTA to deliver over quota\n"
	         "-O log=keys|json         form of the log lines (default keys)\n"
	         "-O map-reply=CODE[/x.y.z]:temp|perm   what this reply to a recipient means, 400 to 599; repeatable\n"
	         "-O max-age=TIME          close a free connection that is so old (default 1h)\n"
	         "-O max-messages=N        close a free connection after so many messages (default 10000)\n"
	         "-O max-rcpts=N           recipients in one transaction, 1 to 1000000 (default 1000)\n"
	         "-O max-time=TIME         longest time for one transaction as a whole (default 4h)\n"
	         "-O metrics=FILE          add counters to FILE, in the text form of Prometheus\n"
	         "-O probe-cache=FILE      with -B: keep answers in this map\n"
	         "-O probe-no=FRESH/KEPT   with -B: how long \"no\" serves, unasked / while the server cannot tell (10m/1h)\n"
	         "-O probe-sender=ADDRESS  with -B: sender of probes (default <>)\n"
	         "-O probe-time=TIME       with -B: time for all answers (default 30s)\n"
	         "-O probe-yes=FRESH/KEPT  with -B: the same for \"yes\", FRESH no longer than KEPT (12h/7d)\n"
	         "-O protocol=lmtp|smtp    smtp: -F is a relay that takes all mail (default lmtp)\n"
	         "-O sync=marks            force each mark of a delivery to the disk\n"
	         "-O tls=none|may|must|verify   never, if offered, always, always and with a valid certificate\n"
	         "TIME is like 1h30m; bare digits are seconds.",
};

/* ---- -T ---- */

static const struct {
	const char *step;
	int64_t least;
} limits[] = { { "conn", 10 }, { "cmd", 5 }, { "data", 10 }, { "dot", 10 }, { "tcpw", 10 } };

static size_t find_limit(const char *argument, size_t n)
{
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
		if (strlen(limits[i].step) == n && strncasecmp(argument, limits[i].step, n) == 0)
			return i;
	option_usage(&program, "-T %s: expected conn, cmd, data, dot or tcpw before the =", argument);
}

static void take_time_limit(struct lmtp_settings *set, const char *argument)
{
	const char *equals = strchr(argument, '=');
	size_t which = equals ? find_limit(argument, (size_t)(equals - argument)) : 1;
	int64_t seconds, ms;

	if (!parse_interval(equals ? equals + 1 : argument, &seconds))
		option_usage(&program, "-T %s: expected a time like 5m or 1h30m", argument);
	if (seconds < limits[which].least)
		option_usage(&program, "-T %s: at least %" PRId64 " s", argument, limits[which].least);
	ms = seconds * 1000;
	switch (which) {
	case 0: set->session.connect.timeout = ms; break;
	case 1: set->session.dialogue.command_timeout = ms; break;
	case 2: set->session.dialogue.data_timeout = ms; break;
	case 3: set->session.dialogue.final_timeout = ms; break;
	case 4: set->session.dialogue.write_timeout = ms; break;
	}
}

/* ---- -O: each setter returns false if the value makes no sense ---- */

static bool take_count(const char *value, uint64_t max, uint64_t *count)
{
	return parse_number(value, max, count) && *count > 0;
}

static bool take_ms(const char *value, int64_t *ms)
{
	if (!parse_interval(value, ms))
		return false;
	*ms *= 1000;
	return true;
}

static bool set_auth(struct lmtp_settings *set, const char *value)
{
	return security_set_auth(&set->security, value);
}

static bool set_auth_cleartext(struct lmtp_settings *set, const char *value)
{
	set->security.cleartext = true;
	return *value == '\0';
}

static bool set_chunking(struct lmtp_settings *set, const char *value)
{
	set->session.dialogue.no_chunking = strcmp(value, "no") == 0;
	return set->session.dialogue.no_chunking || strcmp(value, "yes") == 0;
}

static bool set_connections(struct lmtp_settings *set, const char *value)
{
	uint64_t n;

	if (!take_count(value, CONNECTIONS_MAX, &n))
		return false;
	set->connections = (unsigned)n;
	return true;
}

static bool set_idle(struct lmtp_settings *set, const char *value)
{
	return take_ms(value, &set->session.idle_timeout);
}

/* "A,B" as caps_parse() wants it: "A B". */
static bool set_ignored_caps(struct lmtp_settings *set, const char *value)
{
	char *list = xstrdup(value);

	for (char *p = list; *p != '\0'; p++)
		if (*p == ',')
			*p = ' ';
	set->session.opening.ignore_caps = list;
	return *value != '\0';
}

static bool set_ignore_ezmlm(struct lmtp_settings *set, const char *value)
{
	set->jobs.ignore_ezmlm = true;
	return *value == '\0';
}

static bool set_ignore_quota(struct lmtp_settings *set, const char *value)
{
	set->jobs.ignore_quota = true;
	return *value == '\0';
}

static bool set_log(struct lmtp_settings *set, const char *value)
{
	set->transcript.json = strcmp(value, "json") == 0;
	set->record.format = set->transcript.json ? RECORD_JSON : RECORD_KEYS;
	return set->transcript.json || strcmp(value, "keys") == 0;
}

/* CODE[/x.y.z]:temp|perm; text is cut up. */
static bool parse_reply_rule(char *text, struct reply_rule *rule)
{
	char *means = strchr(text, ':'), *status;
	uint64_t code;

	if (means == NULL)
		return false;
	*means++ = '\0';
	status = strchr(text, '/');
	if (status != NULL)
		*status++ = '\0';
	/* one that no server could give would be a rule that never counts */
	if (!parse_number(text, 599, &code) || code < 400 ||
	    (status != NULL && (*status == '\0' || reply_enhanced_length(status, *text) != strlen(status))))
		return false;
	if (strcmp(means, "perm") != 0 && strcmp(means, "temp") != 0)
		return false;
	rule->outcome = *means == 'p' ? OUTCOME_FAILED : OUTCOME_DEFERRED;
	rule->code = (int)code;
	rule->status = status ? xstrdup(status) : "";
	return true;
}

static bool set_map_reply(struct lmtp_settings *set, const char *value)
{
	static struct reply_rules rules;
	static size_t capacity;
	char *copy = xstrdup(value);
	struct reply_rule rule;
	bool is_one = parse_reply_rule(copy, &rule);

	free(copy);
	if (!is_one)
		return false;
	rules.rules = xgrow((void *)rules.rules, rules.count, &capacity, sizeof *rules.rules);
	((struct reply_rule *)rules.rules)[rules.count++] = rule;
	set->session.dialogue.rules = &rules;
	return true;
}

static bool set_max_age(struct lmtp_settings *set, const char *value)
{
	return take_ms(value, &set->session.max_age);
}

static bool set_max_messages(struct lmtp_settings *set, const char *value)
{
	return take_count(value, UINT32_MAX, &set->session.max_messages);
}

static bool set_max_rcpts(struct lmtp_settings *set, const char *value)
{
	uint64_t n;

	if (!take_count(value, 1000000, &n))
		return false;
	set->jobs.max_recipients = (size_t)n;
	return true;
}

static bool set_max_time(struct lmtp_settings *set, const char *value)
{
	return take_ms(value, &set->session.dialogue.whole_timeout) && set->session.dialogue.whole_timeout > 0;
}

static bool set_probe_cache(struct lmtp_settings *set, const char *value)
{
	return probe_set_cache(&set->probe, value);
}

static bool set_probe_no(struct lmtp_settings *set, const char *value)
{
	return probe_set_lifetime(&set->probe.no, value);
}

static bool set_probe_sender(struct lmtp_settings *set, const char *value)
{
	return probe_set_sender(&set->probe, value);
}

static bool set_probe_time(struct lmtp_settings *set, const char *value)
{
	return probe_set_time(&set->probe, value);
}

static bool set_probe_yes(struct lmtp_settings *set, const char *value)
{
	return probe_set_lifetime(&set->probe.yes, value);
}

static bool set_protocol(struct lmtp_settings *set, const char *value)
{
	bool smtp = strcmp(value, "smtp") == 0;

	set->session.opening.smtp = set->session.dialogue.smtp = set->jobs.relays = smtp;
	return smtp || strcmp(value, "lmtp") == 0;
}

static bool set_metrics(struct lmtp_settings *set, const char *value)
{
	set->tally.path = xstrdup(value);
	return *value != '\0';
}

static bool set_sync(struct lmtp_settings *set, const char *value)
{
	set->jobs.sync_marks = true;
	return strcmp(value, "marks") == 0;
}

static bool set_tls(struct lmtp_settings *set, const char *value)
{
	return security_set_tls(&set->security, value);
}

static const struct {
	const char *key;
	bool (*set)(struct lmtp_settings *set, const char *value);
} extras[] = {
	{ "auth", set_auth },
	{ "auth-cleartext", set_auth_cleartext },
	{ "chunking", set_chunking },
	{ "connections", set_connections },
	{ "idle", set_idle },
	{ "ignore-caps", set_ignored_caps },
	{ "ignore-ezmlm", set_ignore_ezmlm },
	{ "ignore-quota", set_ignore_quota },
	{ "log", set_log },
	{ "map-reply", set_map_reply },
	{ "max-age", set_max_age },
	{ "max-messages", set_max_messages },
	{ "max-rcpts", set_max_rcpts },
	{ "max-time", set_max_time },
	{ "metrics", set_metrics },
	{ "probe-cache", set_probe_cache },
	{ "probe-no", set_probe_no },
	{ "probe-sender", set_probe_sender },
	{ "probe-time", set_probe_time },
	{ "probe-yes", set_probe_yes },
	{ "protocol", set_protocol },
	{ "sync", set_sync },
	{ "tls", set_tls },
};

/* What the help says of a key: its line, from the key on. */
static const char *extra_help(const char *key)
{
	size_t n = strlen(key);
	const char *p = program.notes;

	while ((p = strstr(p, "-O ")) != NULL) {
		p += 3;
		if (strncmp(p, key, n) == 0 && (p[n] == '=' || p[n] == ' '))
			break;
	}
	return p ? p : key;
}

static void take_extra(struct lmtp_settings *set, const char *argument)
{
	size_t n = strcspn(argument, "=");
	const char *value = argument[n] == '=' ? argument + n + 1 : "";

	for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
		if (strlen(extras[i].key) != n || strncmp(extras[i].key, argument, n) != 0)
			continue;
		if (!extras[i].set(set, value)) {
			const char *help = extra_help(extras[i].key);
			size_t form = strcspn(help, " \n");
			const char *text = help + form + strspn(help + form, " ");

			/* with the line of the help: the form of the value, and what it may be */
			option_usage(&program, "-O %s: expected %.*s: %.*s", argument, (int)form, help,
			             (int)strcspn(text, "\n"), text);
		}
		return;
	}
	option_usage(&program, "-O %s: unknown key", argument);
}

/* ---- the rest ---- */

static void take_send_buffer(struct lmtp_settings *set, const char *argument)
{
	uint64_t bytes;

	if (!take_count(argument, 1 << 30, &bytes))
		option_usage(&program, "-w %s: expected a number of bytes", argument);
	set->session.connect.send_buffer = (int)bytes;
}

/* `name` is the option or variable that the argument is of. */
static void take_local_address(struct lmtp_settings *set, const char *name, const char *argument)
{
	static struct sockaddr_storage address;
	struct buf why = { 0 };

	if (!local_address(argument, &address, &set->session.connect.source_length, &why))
		option_usage(&program, "%s %s", name, buf_str(&why));
	set->session.connect.source = set->session.connect.source_length > 0 ? &address : NULL;
}

static void set_defaults(struct lmtp_settings *set)
{
	*set = (struct lmtp_settings){
		.jobs = { .channel = "smtp", .max_recipients = 1000, .record = &set->record, .tally = &set->tally,
		          .charset = "iso-8859-1" },
		.session = {
			.dialogue = {
				.command_timeout = 5 * 60 * 1000,
				.data_timeout = 5 * 60 * 1000,
				.final_timeout = 20 * 60 * 1000,
				.write_timeout = 5 * 60 * 1000,
				.whole_timeout = 4 * 60 * 60 * 1000,
			},
			.connect = { .timeout = 3 * 60 * 1000 },
			.idle_timeout = 60 * 1000,
			.max_age = 60 * 60 * 1000,
			.max_messages = 10000,
			.transcript = &set->transcript,
			.tally = &set->tally,
			.security = &set->security,
		},
		.transcript = { .fd = -1 },
		.record = { .transcript = &set->transcript },
		.connections = 4,
	};
	security_init(&set->security);
	probe_defaults(&set->probe);
	set->session.opening.name = process_host();
}

/* LMTP has no port of its own, and SMTP's cannot be meant. */
static void check_port(uint16_t port, const char *given, const char *how)
{
	if (port == 0)
		option_usage(&program, "%sgive the port of the LMTP server%s", given, how);
	if (port == PORT_SMTP)
		option_usage(&program, "%sport 25 is SMTP's, on which there is no LMTP (RFC 2033 section 5); give the port of the LMTP server, or "
		             "-O protocol=smtp for an SMTP relay",
		             given);
}

static void check_target(const struct lmtp_settings *set)
{
	struct buf why = { 0 };
	struct target *t;

	if (set->target == NULL && set->probe.wanted && !set->probe.stream &&
	    (set->probe.dbases == NULL || set->probe.count == 0))
		option_usage(&program, "expected a server: -F, or with addresses -f");
	if (set->target == NULL && set->probe.stream)
		return;
	if (set->target == NULL) {
		check_port(set->port, "", " with -p, or where all mail goes: -F UNIX:/path or -F name:port");
		return;
	}
	t = target_create(set->target, set->port, &why);
	if (t == NULL)
		option_usage(&program, "-F %s", buf_str(&why));
	if (t->kind != TARGET_UNIX && !set->session.opening.smtp) {
		buf_addf(&why, "-F %s: ", set->target);
		check_port(t->port, buf_str(&why), ", after a colon or with -p");
		buf_free(&why);
	}
	target_destroy(&t);
}

/*
 * The pid for locks has six columns.  With a larger one we write a number that no process has: the lock
 * then protects against our own kind, and counts as stale when the
 * scheduler asks, which at worst costs a duplicate after its restart (spool.md section 11).
 */
static pid_t lock_pid(void)
{
	pid_t pid = getpid();

	if (tag_pid_fits(pid))
		return pid;
	for (pid = 999999; pid > 1; pid--)
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return pid;
	return 999999;
}

/* A host, or with -B addresses. */
static void take_operands(struct lmtp_settings *set, char *const *operands, size_t count)
{
	if (set->probe.wanted) {
		set->probe.addresses = operands;
		set->probe.count = count;
		set->probe.stream = count == 1 && strcmp(operands[0], "-") == 0;
		return;
	}
	if (set->probe.dbases != NULL)
		option_usage(&program, "-f is for -B alone: what is delivered was routed before");
	if (count > 0)
		set->jobs.host = xstrdup(operands[0]);
	if (count > 1)
		option_usage(&program, "unexpected argument %s", operands[1]);
}

/* After the options, so that --help works whatever is wrong with ZENV. */
static void take_zenv(struct lmtp_settings *set, bool has_address)
{
	/* one line per recipient if there is a T in it, or no such variable (transport-agent.md section 1) */
	const char *flags = zenv("SYSLOGFLG");

	set->record.syslog = flags == NULL || strpbrk(flags, "tT") != NULL;
	if (zenv("DEFCHARSET") != NULL)
		set->jobs.charset = zenv("DEFCHARSET");
	if (!has_address && zenv("BINDADDR") != NULL)
		take_local_address(set, "BINDADDR of ZENV:", zenv("BINDADDR"));
}

void lmtp_settings_from(struct lmtp_settings *set, int argc, char **argv)
{
	bool has_address = false;
	int c;
	uint64_t port;

	set_defaults(set);
	while ((c = option_next(&program, argc, argv)) != -1) {
		/* the title overwrites the arguments, so that whatever is kept of them must be a copy */
		switch (c) {
		case '1': set->session.one_transaction = true; break;
		case '7':
			/* twice means that no extension is used at all */
			set->session.opening.ignore_all = set->jobs.seven_bit;
			set->jobs.seven_bit = true;
			set->jobs.eight_bit = false;
			break;
		case '8':
			set->jobs.eight_bit = true;
			set->jobs.seven_bit = false;
			break;
		case 'A': set->security.secrets_path = xstrdup(optarg); break;
		case 'B': set->probe.wanted = true; break;
		case 'c': set->jobs.channel = xstrdup(optarg); break;
		case 'f': set->probe.dbases = xstrdup(optarg); break;
		case 'F': set->target = xstrdup(optarg); break;
		case 'h': set->session.opening.name = xstrdup(optarg); break;
		case 'H': set->jobs.plain_headers = true; break;
		case 'l': set->log = optarg; break;    /* opened before the title may overwrite arguments */
		case 'L': take_local_address(set, "-L", optarg); break;
		case 'O': take_extra(set, optarg); break;
		case 'p':
			if (!take_count(optarg, 65535, &port))
				option_usage(&program, "-p %s: expected a port between 1 and 65535", optarg);
			set->port = (uint16_t)port;
			break;
		case 'P': set->session.dialogue.no_pipelining = true; break;
		case 'r': set->session.connect.reserved_port = true; break;
		case 'S': set->security.tls_path = xstrdup(optarg); break;
		case 's': set->titles = true; break;
		case 'T': take_time_limit(set, optarg); break;
		case 'w': take_send_buffer(set, optarg); break;
		default: break;    /* those without meaning in LMTP */
		}
		has_address |= c == 'L';
	}
	option_end(&program, argc, argv);
	take_operands(set, argv + optind, (size_t)(argc - optind));
	take_zenv(set, has_address);
	/* SMTP goes to one relay: the hosts of jobs would have to be looked up by MX */
	if (set->session.opening.smtp && set->target == NULL)
		option_usage(&program, "-O protocol=smtp: give the relay with -F; there is no MX lookup");
	if (set->session.opening.smtp && set->port == 0)
		set->port = PORT_SMTP;
	check_target(set);
	set->security.channel = set->jobs.channel;
	set->jobs.lock_pid = lock_pid();
}
