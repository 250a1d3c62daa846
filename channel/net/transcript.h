/*
 * The protocol log of -l: every line said and heard, and remarks
 * (transport-agent.md section 12).  Message content is never in it.
 */
#ifndef ZL_CHANNEL_NET_TRANSCRIPT_H
#define ZL_CHANNEL_NET_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct transcript {
	int fd;               /* -1 = no log */
	const char *path;
	int64_t look_again;   /* clock_ms(): is the file still there under its name? */
	time_t started;
	unsigned lines;
};

/*
 * Opens `path`, which must stay as it is, for appending, mode 0644.  False with errno: the program goes on without.  If
 * the file is moved away or removed later, the next line that comes half a second behind that makes a new one.
 */
bool transcript_open(struct transcript *t, const char *path);

/* One line: `kind` is 'w' written, 'r' read or '#' remark; bytes come as they are and are cleaned here. */
void transcript_add(struct transcript *t, char kind, const char *bytes, size_t n);
void transcript_addf(struct transcript *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for several CR LF separated lines at once. */
void transcript_add_lines(struct transcript *t, char kind, const char *bytes, size_t n);

#endif
