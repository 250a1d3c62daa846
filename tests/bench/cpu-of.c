/*
 * cpu-of FILE COMMAND...: runs a command and adds the CPU seconds it took to FILE, as a line.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;

static void pass_on(int sig)
{
	kill(child, sig);
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };
	struct rusage used;
	int status;
	FILE *f;

	if (argc < 3)
		return 64;
	child = fork();
	if (child < 0)
		return 71;
	if (child == 0) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		signal(signals[i], pass_on);
	while (wait4(child, &status, 0, &used) < 0)
		;
	f = fopen(argv[1], "a");
	if (f == NULL || fprintf(f, "%.6f\n", seconds(used.ru_utime) + seconds(used.ru_stime)) < 0 || fclose(f) != 0)
		return 74;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
