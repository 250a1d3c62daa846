/*
 * zlmtp-sendmail: what programs on this machine know as /usr/sbin/sendmail.  Hands a message to the intake, or where there is
 * none to enqueue.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "channel/message/words.h"
#include "channel/operator/control_client.h"
#include "channel/protocol/arguments.h"
#include "channel/spool/dsn.h"
#include "channel/submit/dialogue.h"
#include "channel/submit/handover.h"
#include "channel/submit/letter.h"
#include "lib/alloc.h"
#include "lib/buf.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/zenv.h"

/* The message is kept in memory; the intake has a smaller limit of its own. */
#define LARGEST ((size_t)1 << 30)

static const struct option_help help[] = {
	{ 'b', "MODE", "m: take a message (default), s: speak SMTP on standard input and output, p: list the queue" },
	{ 'B', "BODY", "7BIT or 8BITMIME" },
	{ 'f', "SENDER", "return path, <> for none (default: you at this host)" },
	{ 'F', "NAME", "your full name, for a From field if the message has none" },
	{ 'i', NULL, "a line that is a dot does not end the message" },
	{ 'N', "NOTIFY", "never, or a list of success,failure,delay (RFC 3461)" },
	{ 'o', "OPTION", "i: as -i; all others have no effect" },
	{ 'q', "[TIME]", "try now what is in the queue" },
	{ 'r', "SENDER", "as -f" },
	{ 'R', "RET", "what a report returns: full or hdrs (RFC 3461)" },
	{ 't', NULL, "add the addresses of To, Cc and Bcc to the recipients" },
	{ 'v', NULL, "print the replies of the intake on stderr" },
	{ 'V', "ENVID", "envelope id (RFC 3461)" },
	/* of other sendmails, without effect here */
	{ 'A', "X", NULL }, { 'C', "X", NULL }, { 'd', "X", NULL }, { 'e', "X", NULL }, { 'G', NULL, NULL }, { 'h', "X", NULL },
	{ 'L', "X", NULL }, { 'm', NULL, NULL }, { 'n', NULL, NULL }, { 'O', "X", NULL }, { 'p', "X", NULL },
	{ 'U', NULL, NULL },
	{ 'X', "X", NULL },
	{ 0 },
};

static const struct program program = {
	.name = "zlmtp-sendmail",
	.synopsis = "[-itv] [-B body] [-f sender] [-F name] [-N notify] [-o option] [-R ret] [-V envid] address ... <message\n"
	            "-bs | -bp | -q",
	.purpose = "Takes a message as sendmail does and puts it into the queue.",
	.options = help,
	.notes = "The intake is asked at INTAKE of ZENV, the file that ZCONFIG names, or " HANDOVER_INTAKE ".\n"
	         "Without an intake the message goes into the queue as enqueue puts it there, if you may write to it.\n"
	         "If one recipient is refused, nothing is queued.",
};

struct request {
	char mode;                 /* of -b, or 'q' */
	const char *sender;        /* NULL: not given */
	const char *name;          /* full name */
	bool dot_ends, from_header, verbose, eightbit;
	char *notify;
	const char *ret;
	struct buf envid;          /* xtext */
	struct address_list to;
	struct buf text;
};

static const char *intake_path(void)
{
	const char *path = zenv("INTAKE");

	if (path == NULL)
		return HANDOVER_INTAKE;
	return strncasecmp(path, "UNIX:", 5) == 0 ? path + 5 : path;
}

/* ---- options ---- */

static void read_options(struct request *r, int argc, char **argv)
{
	int c;
	size_t n;

	while ((c = option_next(&program, argc, argv)) != -1) {
		switch (c) {
		case 'b':
			if (strlen(optarg) != 1 || strchr("msp", optarg[0]) == NULL)
				option_usage(&program, "-b%s: expected -bm, -bs or -bp%s", optarg,
				             strcmp(optarg, "i") == 0 ? "; newdb builds the maps" : "");
			r->mode = optarg[0];
			break;
		case 'B':
			r->eightbit = strcasecmp(optarg, "8BITMIME") == 0;
			if (!r->eightbit && strcasecmp(optarg, "7BIT") != 0)
				option_usage(&program, "-B %s: expected 7BIT or 8BITMIME", optarg);
			break;
		case 'f':
		case 'r':
			/*
			 * with brackets or without; "" is the null return path, and a user without a domain is one of this
			 * host, as cron gives it
			 */
			n = strlen(optarg);
			r->sender = n >= 2 && optarg[0] == '<' && optarg[n - 1] == '>' ? xstrndup(optarg + 1, n - 2) : optarg;
			if (*r->sender != '\0' && strchr(r->sender, '@') == NULL)
				r->sender = xasprintf("%s@%s", r->sender, process_host());
			break;
		case 'F': r->name = optarg; break;
		case 'i': r->dot_ends = false; break;
		case 'N':
			r->notify = xstrdup(optarg);
			for (char *s = r->notify; *s != '\0'; s++)
				if (*s >= 'a' && *s <= 'z')
					*s = (char)(*s - 'a' + 'A');
			if (!arguments_is_notify(r->notify))
				option_usage(&program, "-N %s: expected never, or a list of success,failure,delay", optarg);
			break;
		case 'o':
			if (strcmp(optarg, "i") == 0)
				r->dot_ends = false;
			break;
		/* "-q30m" asks for a daemon in other sendmails: here that is runqueue's work */
		case 'q': r->mode = 'q'; break;
		case 'R':
			if (strcasecmp(optarg, "full") != 0 && strcasecmp(optarg, "hdrs") != 0)
				option_usage(&program, "-R %s: expected full or hdrs", optarg);
			r->ret = strcasecmp(optarg, "full") == 0 ? "FULL" : "HDRS";
			break;
		case 't': r->from_header = true; break;
		case 'v': r->verbose = true; break;
		case 'V': dsn_add_xtext(&r->envid, optarg); break;
		}
	}
	if (r->envid.len > 100)
		option_usage(&program, "-V: expected an envelope id of at most 100 characters");
	for (int i = optind; i < argc; i++)
		address_list_parse(argv[i], strlen(argv[i]), &r->to);
}

/* ---- the message ---- */

/* The user's name as the system has it; "&" in it is the login name. */
static const char *full_name(const struct passwd *pw)
{
	const char *name = getenv("NAME");
	struct buf text = { 0 };

	if (name != NULL && *name != '\0')
		return name;
	for (const char *s = pw->pw_gecos; *s != '\0' && *s != ','; s++) {
		if (*s == '&')
			buf_adds(&text, pw->pw_name);
		else
			buf_addc(&text, *s);
	}
	return buf_str(&text);
}

/* ---- to the intake ---- */

/* What a refusal means to the caller. */
static int exit_status(int code, const char *status)
{
	if (code == 0 || code < 500)
		return EX_TEMPFAIL;
	if (strcmp(status, "5.1.1") == 0)
		return EX_NOUSER;
	if (strcmp(status, "5.1.2") == 0)
		return EX_NOHOST;
	if (strncmp(status, "5.7.", 4) == 0)
		return EX_NOPERM;
	return EX_DATAERR;
}

/* `queued`: for so many of the recipients it is in the queue. */
static _Noreturn void refuse(const struct handover *h, int code, const char *whom, size_t queued)
{
	struct buf line = { 0 };

	text_add_clean_string(&line, whom, 300);
	buf_addf(&line, "%s%s; ", line.len > 0 ? ": " : "", buf_str(&h->words));
	if (queued > 0)
		buf_addf(&line, "queued for the first %zu recipients%s", queued,
		         h->in_doubt ? ", and perhaps for more" : " alone");
	else
		buf_adds(&line, h->in_doubt ? "it may be queued all the same" : "nothing queued");
	die(exit_status(code, h->status), "%s", buf_str(&line));
}

/* The sender, and the recipients from `first` to before `end`. */
static void say_envelope(struct handover *h, const struct request *r, size_t first, size_t end, size_t queued)
{
	const struct envelope envelope = {
		.sender = r->sender, .eightbit = r->eightbit, .size = r->text.len, .ret = r->ret,
		.envid = r->envid.len > 0 ? r->envid.data : NULL,
	};
	bool smtputf8 = command_is_8bit(r->sender);
	int code;

	for (size_t i = first; i < end; i++)
		smtputf8 |= command_is_8bit(r->to.list[i]);
	code = handover_mail(h, &envelope, smtputf8);
	if (code / 100 != 2)
		refuse(h, code, r->sender, queued);
	for (size_t i = first; i < end; i++) {
		const struct envelope_recipient to = { .address = r->to.list[i], .notify = r->notify };

		code = handover_rcpt(h, &to);
		if (code / 100 != 2)
			refuse(h, code, r->to.list[i], queued);
	}
}

static int open_intake(struct handover *h)
{
	return handover_open(h, intake_path(), process_host(), HANDOVER_PATIENCE);
}

/*
 * With more recipients than the intake takes for a message it becomes several.  All are asked for first, as none is to get it
 * if one is refused; each time on a connection of its own, as one bears so many commands.
 */
static void hand_over(struct handover *h, const struct request *r)
{
	size_t count = r->to.count, most = h->caps.rcpt_max > 0 && h->caps.rcpt_max < count ? (size_t)h->caps.rcpt_max : count;

	for (size_t first = 0; most < count && first < count; first += most) {
		struct handover trial;

		if (open_intake(&trial) != EX_OK)
			refuse(&trial, 0, "", 0);
		say_envelope(&trial, r, first, first + most < count ? first + most : count, 0);
		handover_close(&trial);
	}
	for (size_t first = 0; first < count; first += most) {
		size_t end = first + most < count ? first + most : count;
		int code;

		say_envelope(h, r, first, end, first);
		code = handover_text(h, &r->text, end - first);
		if (code / 100 != 2)
			refuse(h, code, "", first);
		if (r->verbose)
			complain("%s", buf_str(&h->words));
	}
}

/* ---- without an intake ---- */

/* What enqueue is called with. */
static const char **enqueue_arguments(const struct request *r)
{
	const char **argv = xcalloc(r->to.count + 12, sizeof *argv);
	size_t n = 0;

	argv[n++] = process_beside("enqueue");
	argv[n++] = "-s";
	argv[n++] = *r->sender != '\0' ? r->sender : "<>";
	if (r->notify != NULL) {
		argv[n++] = "-N";
		argv[n++] = r->notify;
	}
	if (r->ret != NULL) {
		argv[n++] = "-R";
		argv[n++] = r->ret;
	}
	if (r->envid.len > 0) {
		argv[n++] = "-e";
		argv[n++] = r->envid.data;
	}
	argv[n++] = "--";
	for (size_t i = 0; i < r->to.count; i++)
		argv[n++] = r->to.list[i];
	return argv;
}

/* enqueue's exit status is ours. */
static int run_enqueue(const struct request *r)
{
	struct child_rules rules = { .out = r->verbose ? CHILD_SAME : CHILD_NULL, .err = CHILD_SAME };
	const char **arguments = enqueue_arguments(r);
	int ends[2], status;
	pid_t pid;
	bool written;

	if (pipe2(ends, O_CLOEXEC) < 0)
		die(EX_OSERR, "cannot start enqueue: %s", strerror(errno));
	rules.in = ends[0];
	pid = child_run(&rules, (char **)arguments);
	if (pid < 0)
		die(EX_TEMPFAIL, "%s cannot be run: %s", arguments[0], strerror(errno));
	close(ends[0]);
	written = file_write(ends[1], r->text.data, r->text.len);
	close(ends[1]);
	child_end(pid, CHILD_LEAVE, CLOCK_NEVER, &status);
	if (!WIFEXITED(status))
		die(EX_TEMPFAIL, "enqueue was killed by signal %d", WTERMSIG(status));
	free((char *)arguments[0]);
	free(arguments);
	if (WEXITSTATUS(status) == EX_OK && !written)
		die(EX_SOFTWARE, "enqueue has not read the whole message");
	return WEXITSTATUS(status);
}

static bool may_write_queue(void)
{
	char *transport = zenv_below("POSTOFFICE", "transport");
	bool may = transport != NULL && access(transport, W_OK) == 0;

	free(transport);
	return may;
}

/* The field From with a name, which becomes encoded words (RFC 2047) if it is beyond ASCII; the address stands as it is. */
static void add_from(struct buf *out, const char *name, const char *sender)
{
	struct buf quoted = { 0 }, address = { 0 };
	const char *lf;
	size_t column;

	buf_addc(&quoted, '"');
	for (; *name != '\0'; name++) {
		if (*name == '"' || *name == '\\')
			buf_addc(&quoted, '\\');
		buf_addc(&quoted, *name);
	}
	buf_addc(&quoted, '"');
	text_add_address(&address, sender);
	buf_adds(out, "From: ");
	words_structured(out, quoted.data, quoted.len, "utf-8");
	lf = memrchr(out->data, '\n', out->len);
	column = out->len - (lf != NULL ? (size_t)(lf + 1 - out->data) : 0);
	/* lines with encoded words have 76 bytes at most (section 2) */
	buf_addf(out, "%s <%s>\n", text_is_eightbit(quoted.data, quoted.len) && column + address.len + 3 > 76 ? "\n" : "",
	         buf_str(&address));
	buf_free(&quoted);
	buf_free(&address);
}

static int take_message(struct request *r)
{
	struct handover intake;
	int status;
	const struct passwd *pw = getpwuid(getuid());
	struct buf field = { 0 }, clean = { 0 };

	if (r->sender == NULL && pw == NULL)
		die(EX_NOUSER, "user %ld has no name; give the sender with -f", (long)getuid());
	if (r->name == NULL)
		r->name = r->sender == NULL ? full_name(pw) : "";
	if (r->sender == NULL)
		r->sender = xasprintf("%s@%s", pw->pw_name, process_host());
	r->text.limit = LARGEST;
	if (!letter_read(stdin, r->dot_ends, &r->text))
		die(errno == EFBIG ? EX_DATAERR : EX_IOERR, "standard input: %s", strerror(errno));
	r->text.limit = 0;
	if (r->from_header)
		letter_recipients(&r->text, &r->to);
	if (r->to.count == 0)
		option_usage(&program, r->from_header ? "no address in To, Cc or Bcc, and none given" : "expected an address, or -t");
	/* readers see a name; without one the field is left to the intake */
	text_add_clean_string(&clean, r->name, 200);
	if (!letter_has_field(&r->text, "From") && !letter_has_field(&r->text, "Resent-From") && clean.len > 0 &&
	    *r->sender != '\0') {
		add_from(&field, clean.data, r->sender);
		buf_add(&field, r->text.data, r->text.len);
		buf_free(&r->text);
		r->text = field;
	}
	buf_free(&clean);
	r->eightbit |= text_is_eightbit(r->text.data, r->text.len);
	status = open_intake(&intake);
	if (status == EX_OK)
		hand_over(&intake, r);
	else if (status > 0 || !may_write_queue())
		die(EX_TEMPFAIL, "no intake at %s: %s; nothing queued; start intake, or try again later", intake_path(),
		    buf_str(&intake.words));
	else
		status = run_enqueue(r);
	handover_close(&intake);
	return status;
}

static _Noreturn void be_runqueue(const char *how)
{
	char *path = process_beside("runqueue");

	execl(path, "runqueue", how, (char *)NULL);
	die(EX_UNAVAILABLE, "%s: %s", path, strerror(errno));
}

/* In the transport directory, as it is where the socket is; names that were given hold in ours. */
static bool is_runqueue_there(void)
{
	char *transport = zenv_below("POSTOFFICE", "transport");
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;

	if (transport != NULL && here >= 0 && chdir(transport) == 0) {
		fd = control_client_connect();
		if (fchdir(here) < 0)
			die(EX_OSERR, "cannot go back to the directory of the call: %s", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	if (here >= 0)
		close(here);
	free(transport);
	return fd >= 0;
}

/* That nothing waits is all right here, so zlmtp-queue is not to complain of it. */
static int retry_all(bool verbose)
{
	char *arguments[] = { process_beside("zlmtp-queue"), "retry", "all", NULL };
	struct child_rules rules = { .in = CHILD_NULL, .out = verbose ? CHILD_SAME : CHILD_NULL };
	struct buf said = { 0 };
	int ends[2], status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		die(EX_OSERR, "cannot start zlmtp-queue: %s", strerror(errno));
	rules.err = ends[1];
	pid = child_run(&rules, arguments);
	if (pid < 0)
		die(EX_UNAVAILABLE, "%s: %s", arguments[0], strerror(errno));
	close(ends[1]);
	if (!file_read(ends[0], &said))
		die(EX_IOERR, "zlmtp-queue: %s", strerror(errno));
	close(ends[0]);
	child_end(pid, CHILD_LEAVE, CLOCK_NEVER, &status);
	if (!WIFEXITED(status))
		die(EX_TEMPFAIL, "zlmtp-queue was killed by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status) != 1)
		(void)!file_write(STDERR_FILENO, said.data, said.len);
	buf_free(&said);
	free(arguments[0]);
	return WEXITSTATUS(status) == 1 ? EX_OK : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	const char *name = argc > 0 ? file_name(argv[0]) : NULL;
	static struct request r = { .mode = 'm', .dot_ends = true };
	int status = EX_OK;

	process_begin(program.name);
	/* as mailq, a link to other sendmails */
	if (name != NULL && strcmp(name, "mailq") == 0)
		r.mode = 'p';
	log_program(program.name);
	signal(SIGPIPE, SIG_IGN);
	read_options(&r, argc, argv);
	switch (r.mode) {
	case 'm': status = take_message(&r); break;
	case 's': status = dialogue_run(intake_path(), process_host(), STDIN_FILENO, STDOUT_FILENO); break;
	case 'p': be_runqueue("-l");
	case 'q':
		/* the one that runs tries it; without one it is tried here */
		if (!is_runqueue_there())
			be_runqueue("-1");
		status = retry_all(r.verbose);
		break;
	}
	address_list_free(&r.to);
	buf_free(&r.text);
	buf_free(&r.envid);
	free(r.notify);
	return status;
}
