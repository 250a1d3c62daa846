/*
 * What the command line says about probes (lmtp -B): -f and -O probe-...
 */
#ifndef ZL_CHANNEL_PROBESETTINGS_H
#define ZL_CHANNEL_PROBESETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long an answer in the cache serves, in seconds since the server gave it. */
struct probe_lifetime {
	int64_t fresh;               /* so long the server is not asked again */
	int64_t kept;                /* so long it serves while the server cannot tell */
};

struct probe_settings {
	bool wanted;                 /* -B */
	char *const *addresses;
	size_t count;                /* 0: only the way to the server is looked at */
	bool stream;                 /* addresses come on standard input */
	const char *dbases;          /* -f: the maps that route addresses; NULL: they are asked for as they stand */
	const char *sender;          /* of MAIL FROM; "" is the null return path */
	int64_t time;                /* milliseconds for everything together */
	const char *cache;           /* its file, NULL for none */
	struct probe_lifetime yes, no;
};

/* What lmtp(8) names as defaults: 30 s, yes 12h/7d, no 10m/1h, the null return path. */
void probe_defaults(struct probe_settings *probe);

/* The values of -O; false if they make no sense. */
bool probe_set_cache(struct probe_settings *probe, const char *value);
bool probe_set_sender(struct probe_settings *probe, const char *value);
bool probe_set_time(struct probe_settings *probe, const char *value);
bool probe_set_lifetime(struct probe_lifetime *lifetime, const char *value);    /* "FRESH/KEPT" */

#endif
