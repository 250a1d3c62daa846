#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *program = "zlmtp";
static const char *prefix = "";
static int failure;

void log_program(const char *name)
{
	program = name;
}

const char *log_name(void)
{
	return program;
}

void log_as_comments(void)
{
	prefix = "# ";
}

/* No allocation here: this must work when memory has run out. */
static void __attribute__((format(printf, 1, 0))) vcomplain(const char *format, va_list ap)
{
	char line[2048];
	int n, m;

	n = snprintf(line, sizeof line - 1, "%s%s: ", prefix, program);
	if (n < 0 || (size_t)n >= sizeof line - 1)
		return;
	m = vsnprintf(line + n, sizeof line - 1 - (size_t)n, format, ap);
	if (m < 0)
		return;
	n = n + m < (int)sizeof line - 1 ? n + m : (int)sizeof line - 2;
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	line[n++] = '\n';
	/* one write, so that lines of several processes do not mix */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

void complain(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vcomplain(format, ap);
	va_end(ap);
}

void complain_lines(const char *text)
{
	for (size_t n; *text != '\0'; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		if (n > 0)
			complain("%.*s", (int)n, text);
	}
}

void log_failure(int status)
{
	failure = status;
}

void die(int status, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vcomplain(format, ap);
	va_end(ap);
	exit(failure != 0 ? failure : status);
}
