/*
 * killat [-a] N command [argument ...]
 *
 * Runs a command and kills it, and whatever it has started, with SIGKILL at the moment it
 * enters its N-th system call; the call itself is not made.  Calls of its children count too, execve
 * itself does not, nor do calls that only look at /proc: they change nothing, and there are thousands of them.  With N = 0 nobody is
 * killed.  With -a calls are counted from the first one on that accepts a connection.
 *
 * Exit status: 137 if it was killed by us; else what the command left behind: its own status, or
 * 128 + the number of the signal that ended it.  When it was not killed by us, the last line on stderr is
 * "killat: M calls".  64 for wrong use, 71 if the command cannot be run or followed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/parse.h"

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | \
	PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)

enum { KILLED = 128 + SIGKILL, THREADS = 4096 };

/* Everybody we follow, and who of them is inside of a system call now. */
struct tracee {
	pid_t pid;
	bool inside;
};

static struct tracee tracees[THREADS];
static size_t count;

static struct tracee *tracee(pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (tracees[i].pid == pid)
			return &tracees[i];
	if (count == THREADS)
		die(EX_OSERR, "more than %d threads", THREADS);
	tracees[count] = (struct tracee){ .pid = pid };
	return &tracees[count++];
}

static void forget(pid_t pid)
{
	*tracee(pid) = tracees[count - 1];
	count--;
}

static pid_t start(char **command)
{
	pid_t pid = fork();

	if (pid < 0)
		die(EX_OSERR, "fork: %s", strerror(errno));
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			die(EX_OSERR, "ptrace: %s", strerror(errno));
		raise(SIGSTOP);
		execvp(command[0], command);
		die(EX_OSERR, "%s: %s", command[0], strerror(errno));
	}
	if (waitpid(pid, NULL, 0) != pid || ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(intptr_t)OPTIONS) < 0)
		die(EX_OSERR, "cannot follow %s: %s", command[0], strerror(errno));
	tracee(pid);
	return pid;
}

/* ---- what a call is about -------------------------------------------------- */

static bool begins_with_proc(const char *path)
{
	return strncmp(path, "/proc/", 6) == 0 || strcmp(path, "/proc") == 0;
}

static bool is_proc_path(pid_t pid, uint64_t address)
{
	char bytes[8] = "";
	struct iovec to = { bytes, sizeof bytes - 1 }, from = { (void *)(uintptr_t)address, sizeof bytes - 1 };

	process_vm_readv(pid, &to, 1, &from, 1, 0);
	return begins_with_proc(bytes);
}

static bool is_proc_fd(pid_t pid, uint64_t fd)
{
	char link[64], target[8] = "";

	snprintf(link, sizeof link, "/proc/%ld/fd/%d", (long)pid, (int)fd);
	return readlink(link, target, sizeof target - 1) > 0 && begins_with_proc(target);
}

/* True if the call that is entered only looks at /proc. */
static bool looks_at_proc(pid_t pid)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	switch (info.entry.nr) {
	case SYS_openat:
	case SYS_readlinkat:
	case SYS_newfstatat:
		return is_proc_path(pid, info.entry.args[1]) || is_proc_fd(pid, info.entry.args[0]);
#ifdef SYS_readlink
	case SYS_readlink:
		return is_proc_path(pid, info.entry.args[0]);
#endif
	case SYS_read:
	case SYS_fstat:
	case SYS_lseek:
	case SYS_getdents64:
	case SYS_close:
		return is_proc_fd(pid, info.entry.args[0]);
	default:
		return false;
	}
}

/* The number of the call that is entered, 0 if that is unknown. */
static uint64_t calls_now(pid_t pid)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return 0;
	return info.entry.nr;
}

/* ---- following -------------------------------------------------------------- */

static void kill_all(void)
{
	pid_t pid;
	int status;

	for (size_t i = 0; i < count; i++)
		kill(tracees[i].pid, SIGKILL);
	/* one that was just made may not have shown itself yet */
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR)
		if (pid > 0 && WIFSTOPPED(status))
			kill(pid, SIGKILL);
}

/*
 * Follows everybody until the first process has ended or call `last` is entered; returns the exit status
 * for us.  Calls count from the execve on, or from the first accept4.
 */
static int follow(pid_t first, uint64_t last, bool from_accept, uint64_t *calls)
{
	bool running = false;
	pid_t pid = first;
	int status, deliver = 0;

	for (;;) {
		ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)deliver);
		deliver = 0;
		pid = waitpid(-1, &status, __WALL);
		if (pid < 0)
			die(EX_OSERR, "waitpid: %s", strerror(errno));
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (pid == first)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			forget(pid);
		} else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			struct tracee *t = tracee(pid);

			t->inside = !t->inside;
			if (from_accept && t->inside && calls_now(pid) == SYS_accept4)
				from_accept = false;
			if (running && !from_accept && t->inside && !looks_at_proc(pid) && ++*calls == last)
				return KILLED;
		} else if (status >> 16 == PTRACE_EVENT_EXEC) {
			/* the exit of this call is still to come */
			running = true;
			tracee(pid)->inside = true;
		} else if (status >> 16 == 0) {
			tracee(pid);
			/* a new one begins with a stop of its own */
			deliver = WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
		}
	}
}

int main(int argc, char **argv)
{
	uint64_t last, calls = 0;
	bool from_accept = argc > 1 && strcmp(argv[1], "-a") == 0;
	char **words = argv + 1 + from_accept;
	pid_t first;
	int status;

	log_program("killat");
	if (argc < 3 + from_accept || !parse_number(words[0], UINT64_MAX, &last))
		die(EX_USAGE, "usage: killat [-a] N command [argument ...]");
	first = start(words + 1);
	status = follow(first, last, from_accept, &calls);
	kill_all();
	if (status != KILLED || calls != last)
		fprintf(stderr, "killat: %llu calls\n", (unsigned long long)calls);
	return status;
}
