/* dbases.conf: what is accepted can be used, and gives scripts; what is not is told. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/route/dbases.h"
#include "db/route/zmsh.h"
#include "lib/alloc.h"

static unsigned told;

static void count(void *context, const struct fault *fault)
{
	(void)context;
	if (!fault->is_warning)
		told++;
	for (const char *p = fault->text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ')
			abort();
}

/* Nothing but what a shell takes as it is may get into the commands of a script. */
static void check_script(const char *script)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+@%=:,-$ {}";

	for (const char *line = script; *line != '\0'; line = strchr(line, '\n') + 1)
		if (strncmp(line, "relation ", 9) == 0 && line[strspn(line, plain)] != '\n')
			abort();
}

static void use(const struct dbases *d)
{
	for (size_t i = 0; i < d->count; i++) {
		const struct dbases_map *m = &d->maps[i];
		struct buf script = { 0 }, why = { 0 };
		bool built = m->kind == DBASES_BUILT || m->kind == DBASES_LIVE;

		if ((built && (m->file == NULL || m->file[0] != '/')) || (m->config != NULL && m->config[0] != '/'))
			abort();
		if (zmsh_script(d, m->relation, &script, &why))
			check_script(buf_str(&script));
		if (built && dbases_find_file(d, m->file) == NULL)
			abort();
		buf_free(&script);
		buf_free(&why);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char settings[] = "MAILVAR=/var/mail\nMAILBIN=/usr/lib/mail\nDBTYPE=btree\n";
	struct zenv zenv = { .file = xstrdup("zmailer.conf") };
	struct dbases d;
	int status;

	told = 0;
	buf_adds(&zenv.text, settings);
	status = dbases_parse(&d, "/etc/dbases.conf", (const char *)data, size, &zenv, count, NULL);
	if ((status == EX_OK) != (told == 0))
		abort();
	if (status == EX_OK) {
		use(&d);
		dbases_free(&d);
	}
	zenv_free(&zenv);
	return 0;
}
