#include "channel/queue/unserved.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "channel/queue/schedconf.h"
#include "lib/alloc.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/zenv.h"

/* More destinations than this are not reported. */
#define WARNINGS_MAX 100

static const struct schedconf *usual_conf(void)
{
	static struct schedconf *conf;
	static bool looked;
	struct buf why = { 0 };
	char *path;

	if (looked)
		return conf;
	looked = true;
	path = zenv_below("MAILSHARE", "scheduler.conf");
	if (path != NULL)
		conf = schedconf_read(path, &why);
	buf_free(&why);
	free(path);
	return conf;
}

void unserved_warn(const char *channel, const char *host)
{
	static char *warned[WARNINGS_MAX];
	static size_t count;
	const struct schedconf *conf = usual_conf();
	const struct clause *c = conf != NULL ? schedconf_match(conf, channel, host) : NULL;
	struct buf where = { 0 };
	bool known = false;

	if (conf == NULL || count == WARNINGS_MAX || (c != NULL && c->command != NULL))
		return;
	buf_adds(&where, "channel ");
	text_add_clean_string(&where, channel, 200);
	buf_adds(&where, ", host ");
	text_add_clean_string(&where, host, 300);
	for (size_t i = 0; i < count; i++)
		known = known || strcmp(warned[i], buf_str(&where)) == 0;
	if (!known) {
		complain("no clause of scheduler.conf serves %s: the mail will wait and expire", buf_str(&where));
		warned[count++] = xstrdup(buf_str(&where));
	}
	buf_free(&where);
}
