#include "channel/check/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "channel/operator/listing.h"
#include "channel/operator/mailq.h"
#include "channel/spool/journal.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/metrics.h"
#include "lib/process.h"

bool check_guarded(struct findings *f, const char *what, const char *path, bool secret)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		finding_add(f, errno == EACCES ? FINDING_UNKNOWN : FINDING_CRITICAL, "%s %s: %s", what, path, strerror(errno));
		return false;
	}
	if (secret && (st.st_mode & S_IROTH))
		finding_add(f, FINDING_CRITICAL, "%s %s can be read by all users", what, path);
	else if (st.st_mode & S_IWOTH)
		finding_add(f, FINDING_CRITICAL, "%s %s can be written by all users", what, path);
	else if (secret && (st.st_mode & S_IWGRP))
		finding_add(f, FINDING_WARNING, "%s %s can be written by its group", what, path);
	else {
		struct buf owner = { 0 };

		account_add_user(&owner, st.st_uid);
		finding_add(f, FINDING_OK, "%s %s: mode %04o, owner %s", what, path, (unsigned)st.st_mode & 07777,
		            buf_str(&owner));
		buf_free(&owner);
	}
	return true;
}

void check_directories(struct findings *f, const char *postoffice)
{
	static const char *const guarded[] = { "transport", "queue", "postman" }, *const shared[] = { "public", "router" };

	for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
		char *path = xasprintf("%s/%s", postoffice, guarded[i]);
		struct stat st;

		if (check_guarded(f, "directory", path, false) && stat(path, &st) == 0 && (st.st_mode & (S_IROTH | S_IXOTH)))
			finding_add(f, FINDING_WARNING, "directory %s is open to all users: they may read mail there", path);
		free(path);
	}
	for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
		char *path = xasprintf("%s/%s", postoffice, shared[i]);
		struct stat st;

		/* all users leave mail here: none may remove another's */
		if (stat(path, &st) < 0)
			finding_add(f, errno == ENOENT ? FINDING_OK : FINDING_UNKNOWN, "directory %s: %s", path,
			            strerror(errno));
		else if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
			finding_add(f, FINDING_CRITICAL, "directory %s: all users can remove what others put there (chmod +t)",
			            path);
		else
			finding_add(f, FINDING_OK, "directory %s: mode %04o", path, (unsigned)st.st_mode & 07777);
		free(path);
	}
}

static void count(struct findings *f, const struct listing *l)
{
	static const struct metric recipients = { "zlmtp_queue_recipients", METRIC_GAUGE, "Recipients who wait." };
	static const struct metric messages = { "zlmtp_queue_messages", METRIC_GAUGE, "Messages with a recipient who waits." };
	static const struct metric oldest = { "zlmtp_queue_oldest_timestamp_seconds", METRIC_GAUGE,
	                                      "When the oldest message came; 0 if there is none." };
	static const struct metric damaged = { "zlmtp_queue_trouble", METRIC_GAUGE,
	                                       "Files in the queue that are damaged or unreadable." };

	if (f->metrics == NULL)
		return;
	metrics_add(f->metrics, &recipients, "", l->recipients * 1000);
	metrics_add(f->metrics, &messages, "", l->messages * 1000);
	metrics_add(f->metrics, &oldest, "", (uint64_t)l->oldest * 1000);
	metrics_add(f->metrics, &damaged, "", l->trouble * 1000);
}

void check_queue(struct findings *f, const struct thresholds *age, const struct thresholds *size)
{
	const int64_t now = (int64_t)time(NULL);
	int64_t oldest;
	struct buf span = { 0 };
	struct listing l;
	pid_t scheduler, runqueue;

	listing_read(&l);
	/* what came while the clock was ahead is as new as can be */
	oldest = l.oldest != 0 && l.oldest < now ? now - l.oldest : 0;
	scheduler = process_named_in("../.pid.scheduler");
	runqueue = process_named_in("../.pid.runqueue");
	/* that file is for its owner alone; what runqueue publishes tells as well */
	if (runqueue == 0)
		runqueue = l.scheduler;
	if (scheduler != 0)
		finding_add(f, FINDING_OK, "scheduler is process %ld", (long)scheduler);
	else if (runqueue != 0)
		finding_add(f, FINDING_OK, "runqueue is process %ld", (long)runqueue);
	else
		finding_add(f, FINDING_WARNING, "no scheduler runs: start runqueue -w, or ZMailer's scheduler");
	if (spool_journal_is_left(".."))
		finding_add(f, FINDING_WARNING,
		            "queue: intake was killed and does not run; mail that it had accepted may be in .journal.intake: "
		            "runqueue puts it into the queue within a minute, or start intake");
	if (l.no_answers != NULL)
		finding_add(f, FINDING_UNKNOWN, "queue: %s", l.no_answers);
	for (size_t i = 0; i < l.count; i++) {
		const struct listed *e = &l.list[i];

		if (e->state == LISTED_DAMAGED)
			finding_add(f, FINDING_CRITICAL, "queue: %s: %s", e->name, e->why);
		else if (e->state == LISTED_UNREADABLE)
			finding_add(f, FINDING_UNKNOWN, "queue: %s: %s", e->name, e->why);
	}
	finding_add(f, thresholds_judge(size, (int64_t)l.recipients), "queue: %zu recipient%s", l.recipients,
	            l.recipients == 1 ? "" : "s");
	performance_add(f, "queue_recipients", (int64_t)l.recipients, "", size);
	mailq_add_span(&span, oldest);
	/* one that waits for its report alone may be the oldest, too */
	if (l.messages + l.reports > 0)
		finding_add(f, thresholds_judge(age, oldest), "queue: the oldest of %zu message%s is %s old",
		            l.messages + l.reports, l.messages + l.reports == 1 ? "" : "s", buf_str(&span));
	performance_add(f, "queue_age", oldest, "s", age);
	buf_free(&span);
	count(f, &l);
	listing_free(&l);
}
