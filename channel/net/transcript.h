/*
 * The protocol log of -l: every line said and heard, and remarks
 * (transport-agent.md section 12), each behind the time of day.  Message content is never in it.
 *
 *   2026-11-30T01:02:03.456Z PPPPPXXXX-NNNN-SSSSK TAB text     ZMailer's tag and letter
 *   {"time":"2026-11-30T01:02:03.456Z","tag":"PPPPPXXXX-NNNN-SSSS","kind":"K","text":"..."}
 */
#ifndef ZL_CHANNEL_NET_TRANSCRIPT_H
#define ZL_CHANNEL_NET_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lib/buf.h"

struct transcript {
	int fd;               /* -1 = no log */
	bool json;            /* each line is an object */
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

/* An outcome as record.c has composed it, key=value or an object: a remark, or an object with time and tag before it. */
void transcript_add_record(struct transcript *t, const struct buf *record);

/* The same for several CR LF separated lines at once. */
void transcript_add_lines(struct transcript *t, char kind, const char *bytes, size_t n);

#endif
