/*
 * Settings of reports: lines NAME=VALUE in router.conf, beside those of routing (zlmtp-forms(5)).
 */
#ifndef ZL_CHANNEL_REPORT_REPORTCONF_H
#define ZL_CHANNEL_REPORT_REPORTCONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* report-max where it is not set: 100 kB. */
#define REPORT_MAX_DEFAULT ((uint64_t)100 * 1024)

struct report_settings {
	char *host;          /* hostname=: who reports (Reporting-MTA) */
	char *from;          /* report-from=: an address; NULL: MAILER-DAEMON@host */
	char *postmaster;    /* postmaster=: gets copies, and mail to <postmaster>; NULL: it is not set */
	uint64_t max;        /* report-max=: messages above that many bytes come back as their header alone */
};

/* Sets the defaults; `host` is the name of the system. */
void report_settings_init(struct report_settings *settings, const char *host);

/*
 * Takes the text of a router.conf; names of other settings are skipped.  False with a line "PATH:LINE: what" in `why` for each
 * setting that was left out, as it is wrong.  `path` is only named.
 */
bool report_settings_parse(struct report_settings *settings, const char *path, const char *text, size_t n,
                           struct buf *why);

/*
 * Sets the defaults, then takes the text.  What is damaged there has no effect on the mail: a line that is wrong is left out and
 * complained of.
 */
void report_settings_take(struct report_settings *settings, const char *path, const char *text, size_t n, const char *host);

/* The same for router.conf beside `dbases`. */
void report_settings_read(struct report_settings *settings, const char *dbases, const char *host);

void report_settings_free(struct report_settings *settings);

#endif
