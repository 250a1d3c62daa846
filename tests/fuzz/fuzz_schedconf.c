/*
 * Any bytes as scheduler.conf, and any channel and host for the commands in it: a file is refused in one line that names
 * line and column, or each clause makes sense; a command becomes words and an environment, and no channel or host that
 * is taken becomes an option of its own or leaves a directory.
 *
 * Input: channel, LF, host, LF, the file.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/queue/launch.h"
#include "channel/queue/schedconf.h"
#include "lib/text.h"
#include "tests/fuzz/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_clause(const struct clause *c)
{
	if (c->retry_count == 0 || c->interval < 0 || c->expiry < 0 || c->expiry2 < 0 || c->idle_max < 0 || c->line == 0)
		abort();
	if (c->max_agents == 0 || c->max_channel == 0 || c->max_ring == 0 || c->overfeed > UNLIMITED)
		abort();
	for (size_t i = 0; i < c->retry_count; i++)
		if (c->retries[i] == 0)
			abort();
}

/* A word that is nothing but the host. */
static void check_word(const char *word, const char *host)
{
	if (strcmp(word, host) == 0 && ((word[0] == '-' && word[1] != '\0') || strcmp(word, "..") == 0 ||
	                                strncmp(word, "../", 3) == 0))
		abort();
}

static void check_launch(const struct clause *c, const char *channel, const char *host)
{
	struct buf why = { 0 };
	struct launch launch;

	if (launch_unfit(c, channel, host) != NULL)
		return;
	if (launch_prepare(&launch, c, channel, host, &why)) {
		if (launch.arguments[0] == NULL)
			abort();
		if (strstr(c->command, host) == NULL)
			for (char **word = launch.arguments + 1; *word != NULL; word++)
				check_word(*word, host);
		for (char **word = launch.environment; *word != NULL; word++)
			if (strchr(*word, '=') == NULL)
				abort();
	} else if (why.len == 0 || strchr(why.data, '\n') != NULL) {
		abort();
	}
	launch_free(&launch);
	buf_free(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *channel = take_line(&data, &size), *host = take_line(&data, &size);
	struct buf why = { 0 };
	struct schedconf *conf = schedconf_parse("FILE", (const char *)data, size, &why);

	if (conf == NULL && (strncmp(buf_str(&why), "FILE:", 5) != 0 || strchr(why.data, '\n') != NULL))
		abort();
	for (size_t i = 0; conf != NULL && i < conf->count; i++) {
		check_clause(&conf->clauses[i]);
		if (conf->clauses[i].command != NULL)
			check_launch(&conf->clauses[i], channel, host);
	}
	if (conf != NULL)
		schedconf_match(conf, channel, host);
	schedconf_free(&conf);
	buf_free(&why);
	free(channel);
	free(host);
	return 0;
}
