#include "channel/operator/monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "channel/operator/control_client.h"
#include "channel/operator/listing.h"
#include "channel/operator/mailq.h"
#include "channel/operator/rates.h"
#include "channel/operator/status.h"
#include "channel/operator/summary.h"
#include "channel/queue/lock.h"
#include "lib/clock.h"
#include "lib/connections.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/logline.h"
#include "lib/terminal.h"
#include "lib/text.h"

#define PERIOD 1000
/* To read a long queue takes a tenth of our time and no more. */
#define PAUSE_PER_EFFORT 10
/* Lines of one text where there is no screen. */
#define TEXT_ROWS 40
#define NAME_WIDTH_MAX 40
#define END_OF_INPUT 4            /* ^D */

struct monitor {
	const char *postoffice;
	bool json, screen;
	bool keys;                /* something may be typed */
	int fd;                   /* the control socket, -1 without */
	bool asked;               /* and not answered */
	int64_t asked_at, next;   /* clock_ms() */
	struct buf in;
	struct status status;     /* process 0: there is none */
	struct rates rates;
	struct connections connections;
	struct buf note;          /* why it is not runqueue that tells */
	struct buf from_files;    /* what stands below the note then: text, or the members of a JSON object */
	bool over;                /* the reader has gone */
	int error;                /* or standard output has this */
};

/* ---- what there is to know ---- */

static void forget_status(struct monitor *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	m->asked = false;
	buf_clear(&m->in);
	status_free(&m->status);
	rates_clear(&m->rates);
}

static bool count_entry(void *context, const struct listed *e)
{
	summary_count(context, e);
	return true;
}

/* Members of a JSON object. */
static void add_json_files(struct buf *out, const struct listing *sums, const struct summary *summary)
{
	struct buf rows = { 0 };

	buf_addf(out, ",\"messages\":%zu,\"recipients\":%zu,\"in_delivery\":%zu,\"on_hold\":%zu,\"oldest\":",
	         sums->messages, sums->recipients, sums->active, sums->held);
	if (sums->oldest != 0)
		buf_addf(out, "%" PRId64, sums->oldest);
	else
		buf_adds(out, "null");
	buf_addf(out, ",\"damaged_or_unreadable\":%zu", sums->trouble);
	/* the lines of a summary as the elements of an array */
	summary_json(&rows, summary);
	if (rows.len > 0)
		rows.len--;
	for (size_t i = 0; i < rows.len; i++)
		if (rows.data[i] == '\n')
			rows.data[i] = ',';
	buf_adds(out, ",\"destinations\":[");
	buf_add(out, buf_str(&rows), rows.len);
	buf_addc(out, ']');
	buf_free(&rows);
}

static void read_files(struct monitor *m)
{
	int64_t now = time(NULL);
	struct summary *summary = summary_create(now);
	struct listing sums;

	listing_each(&sums, count_entry, summary);
	buf_clear(&m->from_files);
	if (m->json) {
		add_json_files(&m->from_files, &sums, summary);
	} else {
		mailq_sums(&m->from_files, &sums, now);
		buf_addc(&m->from_files, '\n');
		summary_text(&m->from_files, summary, STATUS_ROWS_MAX);
	}
	listing_free(&sums);
	summary_destroy(&summary);
}

static void explain(struct monitor *m, int error)
{
	pid_t zmailer = lock_zmailer(m->postoffice);

	buf_clear(&m->note);
	if (zmailer != 0)
		buf_addf(&m->note, "ZMailer's scheduler runs here, process %ld", (long)zmailer);
	else if (error == ENOENT || error == ECONNREFUSED)
		buf_adds(&m->note, "no runqueue runs here");
	else
		buf_addf(&m->note, "runqueue sent no figures: %s", strerror(error));
}

/* True if runqueue was asked, or is still to answer. */
static bool ask(struct monitor *m, int64_t now)
{
	static const char request[] = "1\tstatus\t200\n";

	if (m->asked)
		return true;
	if (m->fd < 0)
		m->fd = control_client_connect();
	if (m->fd < 0) {
		explain(m, errno);
		forget_status(m);
		return false;
	}
	if (send(m->fd, request, sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof request - 1) {
		explain(m, ECONNREFUSED);
		forget_status(m);
		return false;
	}
	m->asked = true;
	m->asked_at = now;
	return true;
}

/* True if the answer is there or there will be none. */
static bool read_answer(struct monitor *m)
{
	char bytes[16 * 1024];
	ssize_t n = recv(m->fd, bytes, sizeof bytes, MSG_DONTWAIT);
	pid_t before;
	struct status *s;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		explain(m, ECONNREFUSED);
		forget_status(m);
		buf_clear(&m->from_files);
		return true;
	}
	buf_add(&m->in, bytes, (size_t)n);
	if (!status_is_whole(&m->in) && m->in.len <= STATUS_BYTES_MAX)
		return false;
	before = m->status.process;
	s = &m->status;
	m->asked = false;
	status_free(s);
	if (!status_parse(s, &m->in)) {
		buf_clear(&m->note);
		buf_adds(&m->note, "runqueue sent an unknown answer; is it of another version?");
		buf_clear(&m->from_files);
		forget_status(m);
	} else {
		buf_clear(&m->in);
		if (s->process != before)
			rates_clear(&m->rates);
		rates_add(&m->rates, clock_ms(), (const uint64_t[RATES]){
			[RATE_ARRIVED] = s->arrived, [RATE_DELIVERED] = s->delivered, [RATE_FAILED] = s->failed,
			[RATE_DEFERRED] = s->deferred,
		});
		connections_read(&m->connections);
	}
	return true;
}

/* ---- text ---- */

static const char *const rate_words[RATES] = { "arrived", "delivered", "failed", "deferred" };

static uint64_t sum_of(const struct status *s, enum rate which)
{
	switch (which) {
	case RATE_ARRIVED: return s->arrived;
	case RATE_DELIVERED: return s->delivered;
	case RATE_FAILED: return s->failed;
	case RATE_DEFERRED: return s->deferred;
	case RATES: break;
	}
	return 0;
}

static int wide(int width, const char *channel, const char *host)
{
	size_t n = strlen(channel) + 1 + strlen(host);

	return n <= NAME_WIDTH_MAX && (int)n > width ? (int)n : width;
}

static void add_name(struct buf *out, int width, const char *channel, const char *host)
{
	struct buf name = { 0 };

	buf_addf(&name, "%s/%s", channel, host);
	buf_addf(out, "%-*s", width, buf_str(&name));
	buf_free(&name);
}

static void add_agents(struct buf *out, const struct monitor *m, size_t rows)
{
	const struct status *s = &m->status;
	int width = 14;

	for (size_t i = 0; i < s->agent_count && i < rows; i++)
		width = wide(width, s->agents[i].channel, s->agents[i].host);
	buf_addf(out, "\n%-8s%-*s  %-10s%6s%10s%8s\n", "AGENT", width, "CHANNEL/HOST", "STATE", "JOBS", "SESSIONS", "SINCE");
	for (size_t i = 0; i < s->agent_count && i < rows; i++) {
		const struct status_agent *a = &s->agents[i];
		int sessions = connections_of(&m->connections, a->pid);
		struct buf since = { 0 };

		buf_addf(out, "%-8ld", (long)a->pid);
		add_name(out, width, a->channel, a->host);
		buf_addf(out, "  %-10s%6" PRIu64, a->state, a->jobs);
		if (sessions >= 0)
			buf_addf(out, "%10d", sessions);
		else
			buf_addf(out, "%10s", "-");
		mailq_add_span(&since, (int64_t)a->seconds);
		buf_addf(out, "%8s\n", buf_str(&since));
		buf_free(&since);
	}
	if (s->agent_count > rows)
		buf_addf(out, "and %zu more\n", s->agent_count - rows);
}

static void add_destinations(struct buf *out, const struct status *s, size_t rows, int64_t now)
{
	struct buf next = { 0 };
	int width = 14;

	for (size_t i = 0; i < s->destination_count && i < rows; i++)
		width = wide(width, s->destinations[i].channel, s->destinations[i].host);
	buf_addf(out, "\n%-*s%10s%8s%8s%8s  %s\n", width, "CHANNEL/HOST", "MESSAGES", "READY", "AGENTS", "NEXT", "REASON");
	for (size_t i = 0; i < s->destination_count && i < rows; i++) {
		const struct status_destination *d = &s->destinations[i];

		add_name(out, width, d->channel, d->host);
		buf_addf(out, "%10" PRIu64 "%8" PRIu64 "%8" PRIu64, d->messages, d->ready, d->agents);
		buf_clear(&next);
		mailq_add_next(&next, d->next, now);
		buf_addf(out, "%8s  %s\n", buf_str(&next), d->reason[0] != '\0' ? d->reason : "-");
	}
	buf_free(&next);
	if (s->destination_count > rows)
		buf_addf(out, "and %zu more\n", s->destination_count - rows);
}

static void add_status(struct buf *out, const struct monitor *m, size_t rows, int64_t now)
{
	const struct status *s = &m->status;
	/* two headings, two empty lines and two "and more" */
	size_t room = rows > 13 ? rows - 13 : 1, agents = s->agent_count < (room + 1) / 2 ? s->agent_count : (room + 1) / 2;

	buf_addf(out, "runqueue runs, process %ld, for ", (long)s->process);
	mailq_add_span(out, (int64_t)s->seconds);
	if (m->asked && clock_ms() - m->asked_at > 2 * PERIOD)
		buf_addf(out, "; it has not answered for %" PRId64 " s", (clock_ms() - m->asked_at) / 1000);
	buf_addc(out, '\n');
	buf_addf(out, "%" PRIu64 " recipient%s in %" PRIu64 " message%s, %" PRIu64 " in delivery", s->recipients,
	         s->recipients == 1 ? "" : "s",
	         s->messages, s->messages == 1 ? "" : "s", s->fed);
	if (s->unserved > 0)
		buf_addf(out, ", %" PRIu64 " that no clause delivers", s->unserved);
	if (s->oldest != 0) {
		buf_adds(out, "; the oldest message ");
		mailq_add_span(out, now - s->oldest);
		buf_addf(out, " old, %s", s->oldest_id);
	}
	buf_addc(out, '\n');
	buf_addf(out, "%-12s", "");
	for (size_t i = 0; i < RATES; i++)
		buf_addf(out, "%12s", rate_words[i]);
	buf_addf(out, "\n%-12s", "now/s");
	for (size_t i = 0; i < RATES; i++)
		buf_addf(out, "%12.1f", rates_now(&m->rates, (enum rate)i));
	buf_addf(out, "\n%-12s", "1 minute/s");
	for (size_t i = 0; i < RATES; i++)
		buf_addf(out, "%12.1f", rates_minute(&m->rates, (enum rate)i));
	buf_addf(out, "\n%-12s", "in all");
	for (size_t i = 0; i < RATES; i++)
		buf_addf(out, "%12" PRIu64, sum_of(&m->status, (enum rate)i));
	buf_addc(out, '\n');
	add_agents(out, m, agents > 0 ? agents : 1);
	add_destinations(out, s, room > agents ? room - agents : 1, now);
}

static void add_text(struct buf *out, const struct monitor *m, size_t rows)
{
	int64_t now = time(NULL);
	time_t wall = (time_t)now;
	char clock[32] = "";
	struct tm tm;

	if (localtime_r(&wall, &tm) != NULL)
		strftime(clock, sizeof clock, "%Y-%m-%d %H:%M:%S", &tm);
	buf_addf(out, "%s  zlmtp-queue watch  ", clock);
	text_add_clean_string(out, m->postoffice, 200);
	buf_adds(out, m->keys ? "  (q ends)\n" : "\n");
	if (m->status.process != 0)
		add_status(out, m, rows - 1, now);
	else
		buf_addf(out, "%s\n%s", m->note.len > 0 ? buf_str(&m->note) : "runqueue is asked", buf_str(&m->from_files));
}

/* ---- JSON ---- */

static void add_json_status(struct logline *line, const struct monitor *m)
{
	const struct status *s = &m->status;
	struct buf *out = &line->text;

	logline_number(line, "seconds", s->seconds);
	logline_number(line, "messages", s->messages);
	logline_number(line, "recipients", s->recipients);
	logline_number(line, "in_delivery", s->fed);
	logline_number(line, "unserved", s->unserved);
	logline_known(line, "oldest", s->oldest);
	if (strcmp(s->oldest_id, "-") != 0)
		logline_add(line, "oldest_id", s->oldest_id);
	else
		logline_known(line, "oldest_id", 0);
	for (size_t i = 0; i < RATES; i++)
		logline_number(line, rate_words[i], sum_of(s, (enum rate)i));
	logline_key(line, "rates");
	for (size_t i = 0; i < RATES; i++)
		buf_addf(out, "%s\"%s\":%.1f", i == 0 ? "{" : ",", rate_words[i], rates_now(&m->rates, (enum rate)i));
	buf_adds(out, "}");
}

/* An object that logline makes goes into an array that stands in another one. */
static void add_element(struct buf *out, struct logline *element, bool first)
{
	logline_end(element);
	buf_adds(out, first ? "" : ",");
	buf_add(out, element->text.data, element->text.len);
	logline_free(element);
}

static void add_json_lists(struct logline *line, const struct monitor *m)
{
	const struct status *s = &m->status;

	logline_key(line, "agents");
	buf_addc(&line->text, '[');
	for (size_t i = 0; i < s->agent_count; i++) {
		const struct status_agent *a = &s->agents[i];
		int sessions = connections_of(&m->connections, a->pid);
		struct logline e = { 0 };

		logline_begin(&e, true);
		logline_number(&e, "process", (uint64_t)a->pid);
		logline_add(&e, "channel", a->channel);
		logline_add(&e, "host", a->host);
		logline_add(&e, "state", a->state);
		logline_number(&e, "jobs", a->jobs);
		if (sessions >= 0)
			logline_number(&e, "sessions", (uint64_t)sessions);
		logline_number(&e, "seconds", a->seconds);
		add_element(&line->text, &e, i == 0);
	}
	buf_addc(&line->text, ']');
	logline_key(line, "destinations");
	buf_addc(&line->text, '[');
	for (size_t i = 0; i < s->destination_count; i++) {
		const struct status_destination *d = &s->destinations[i];
		struct logline e = { 0 };

		logline_begin(&e, true);
		logline_add(&e, "channel", d->channel);
		logline_add(&e, "host", d->host);
		logline_number(&e, "messages", d->messages);
		logline_number(&e, "ready", d->ready);
		logline_number(&e, "agents", d->agents);
		logline_known(&e, "next_try", d->next);
		if (d->reason[0] != '\0')
			logline_add(&e, "reason", d->reason);
		add_element(&line->text, &e, i == 0);
	}
	buf_addc(&line->text, ']');
}

static void add_json(struct buf *out, const struct monitor *m)
{
	struct logline line = { 0 };

	logline_begin(&line, true);
	logline_number(&line, "time", (uint64_t)time(NULL));
	logline_key(&line, "runqueue");
	if (m->status.process != 0) {
		buf_addf(&line.text, "%ld", (long)m->status.process);
		add_json_status(&line, m);
		add_json_lists(&line, m);
	} else {
		buf_adds(&line.text, "null");
		logline_add(&line, "note", buf_str(&m->note));
		buf_adds(&line.text, buf_str(&m->from_files));
	}
	logline_end(&line);
	buf_add(out, line.text.data, line.text.len);
	logline_free(&line);
}

/* ---- the loop ---- */

static void show(struct monitor *m)
{
	struct buf out = { 0 };
	size_t rows = TEXT_ROWS, columns;
	bool ok;

	if (m->screen) {
		terminal_size(&rows, &columns);
		add_text(&out, m, rows);
		ok = terminal_draw(&out);
	} else {
		if (m->json)
			add_json(&out, m);
		else
			add_text(&out, m, rows);
		buf_addc(&out, '\n');
		ok = file_write(STDOUT_FILENO, out.data, out.len);
	}
	if (!ok) {
		m->over = true;
		m->error = errno;
	}
	buf_free(&out);
}

/* False at "q", and when the terminal says that it ends. */
static bool read_keys(struct monitor *m)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof keys);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		/* no terminal, and nothing more to be read: that ends no service's output */
		m->keys = false;
		return !isatty(STDIN_FILENO);
	}
	for (ssize_t i = 0; i < n; i++)
		if (keys[i] == 'q' || keys[i] == 'Q' || (keys[i] == END_OF_INPUT && m->screen))
			return false;
	return true;
}

static bool wait_a_while(struct monitor *m)
{
	bool keys = m->keys && (!isatty(STDIN_FILENO) || terminal_is_ours());
	struct pollfd fds[] = {
		{ .fd = keys ? STDIN_FILENO : -1, .events = POLLIN },
		{ .fd = m->asked ? m->fd : -1, .events = POLLIN },
	};

	if (poll(fds, 2, clock_poll_timeout(m->next)) > 0) {
		if (fds[0].revents != 0 && !read_keys(m))
			return false;
		if (fds[1].revents != 0 && read_answer(m)) {
			/* without a runqueue the files are read, but no faster than once a second */
			if (m->status.process != 0 || m->note.len > 0)
				show(m);
		}
	}
	if (m->screen && terminal_is_stale())
		show(m);
	return true;
}

int monitor_run(const char *postoffice, bool json)
{
	struct monitor m = { .postoffice = postoffice, .json = json, .fd = -1 };

	m.screen = !json && terminal_is_screen();
	/* what is typed while the output goes into a pipe is the shell's */
	m.keys = isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO);
	if (m.screen)
		terminal_take();
	do {
		if (m.next <= clock_ms()) {
			int64_t now = clock_ms();

			/* what needs no answer is drawn at once */
			m.next = now + PERIOD;
			if (!ask(&m, now)) {
				read_files(&m);
				if ((clock_ms() - now) * PAUSE_PER_EFFORT > PERIOD)
					m.next = now + (clock_ms() - now) * PAUSE_PER_EFFORT;
				show(&m);
			} else if (m.asked_at != now) {
				show(&m);
			}
		}
	} while (!m.over && wait_a_while(&m));
	if (m.screen)
		terminal_give_back();
	forget_status(&m);
	connections_free(&m.connections);
	buf_free(&m.in);
	buf_free(&m.note);
	buf_free(&m.from_files);
	if (m.error != 0 && m.error != EPIPE) {
		complain("standard output: %s", strerror(m.error));
		return EX_IOERR;
	}
	return EX_OK;
}
