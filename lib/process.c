#include "lib/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"

/* Between two times of which one has ticks of a hundredth, and the other those of a file system. */
#define SLACK_MS 1000
#define STAT_MAX 4096

void process_begin(const char *name)
{
	log_program(name);
	/* a file beyond its limit ("ulimit -f") is reported like a full disk */
	signal(SIGXFSZ, SIG_IGN);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		/*
		 * The lowest number is free, so it is this one; opened the wrong way round, as an answer that goes nowhere is
		 * an error.
		 */
		if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			die(EX_OSERR, "/dev/null: %s", strerror(errno));
	}
}

const char *process_host(void)
{
	static char name[256];

	return gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "localhost";
}

char *process_beside(const char *name)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	if (n < 0)
		return NULL;
	path[n] = '\0';
	*(strrchr(path, '/') + 1) = '\0';
	return xasprintf("%s%s", path, name);
}

void process_keep_secrets(void)
{
	struct rlimit core;

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/* the kernel takes that back when a process changes its identity, and where fs.suid_dumpable says so */
	if (getrlimit(RLIMIT_CORE, &core) == 0) {
		core.rlim_cur = 0;
		setrlimit(RLIMIT_CORE, &core);
	}
}

/* What stands behind the name, which may hold anything, in the system's line on a process; "" without it. */
static const char *behind_name(pid_t pid, struct buf *text)
{
	const char *at = NULL;
	char path[64];

	/* Linux alone has this file */
	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	if (file_read_path(path, text) && text->len > 0)
		at = strrchr(text->data, ')');
	return at != NULL && at[1] == ' ' ? at + 2 : "";
}

bool process_raise_descriptors(unsigned long wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return true;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

bool process_lives(pid_t pid)
{
	struct buf text = { .limit = STAT_MAX };
	char state;

	if (pid <= 0 || (kill(pid, 0) < 0 && errno == ESRCH))
		return false;
	/* one that has ended, but that its parent has not waited for, does nothing any more */
	state = behind_name(pid, &text)[0];
	buf_free(&text);
	return state != 'Z' && state != 'X';
}

static int64_t milliseconds(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000 + t->tv_nsec / 1000000;
}

/* When it began, in milliseconds since the system did; -1 if that is not to be known. */
static int64_t beginning(pid_t pid)
{
	enum { STATE = 3, BEGINNING = 22 };      /* fields of the line, by proc(5) */
	struct buf text = { .limit = STAT_MAX };
	const char *at = behind_name(pid, &text);
	long per_second = sysconf(_SC_CLK_TCK);
	unsigned long long ticks;
	int64_t began = -1;

	for (int field = STATE; field < BEGINNING && *at != '\0'; field++) {
		at += strcspn(at, " ");
		at += *at == ' ';
	}
	if (per_second > 0 && sscanf(at, "%llu", &ticks) == 1 && ticks < INT64_MAX / 1000)
		began = (int64_t)ticks * 1000 / per_second;
	buf_free(&text);
	return began;
}

bool process_began_after(pid_t pid, const struct timespec *moment)
{
#ifdef CLOCK_BOOTTIME
	struct timespec now, since_boot;
	int64_t began = beginning(pid);

	if (began < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0 || clock_gettime(CLOCK_BOOTTIME, &since_boot) < 0)
		return false;
	return milliseconds(&now) - milliseconds(&since_boot) + began > milliseconds(moment) + SLACK_MS;
#else
	(void)pid, (void)moment;
	return false;
#endif
}

pid_t process_named_in(const char *path)
{
	struct buf text = { .limit = 4096 };
	uint64_t pid = 0;

	if (file_read_path(path, &text) && text.len > 0) {
		text.data[strcspn(text.data, " \r\n")] = '\0';
		if (!parse_number(text.data, INT32_MAX, &pid))
			pid = 0;
	}
	buf_free(&text);
	return process_lives((pid_t)pid) ? (pid_t)pid : 0;
}
