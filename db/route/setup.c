#include "db/route/setup.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "db/grammar/address.h"
#include "db/route/unasked.h"
#include "lib/alloc.h"
#include "lib/conf.h"
#include "lib/file.h"
#include "lib/parse.h"
#include "lib/text.h"
#include "lib/zenv.h"

#define MOST_DEPTH 1000
#define MOST_ADDRESSES 10000000

/* Each sets a field of the router.  False with what was expected in `why`. */
typedef bool setter(struct router *r, void *field, const char *value, struct buf *why);

static bool set_domain(struct router *r, void *field, const char *value, struct buf *why)
{
	char **setting = field;

	(void)r;
	if (!address_domain_ok(value, strlen(value))) {
		buf_addf(why, "\"%s\" is no domain", value);
		return false;
	}
	free(*setting);
	*setting = xstrdup(value);
	return true;
}

static bool set_limit(struct router *r, void *field, const char *value, struct buf *why)
{
	const unsigned most = field == &r->max_depth ? MOST_DEPTH : MOST_ADDRESSES;
	unsigned *setting = field;
	uint64_t n;

	if (!parse_number(value, most, &n) || n == 0) {
		buf_addf(why, "expected a number from 1 to %u, not \"%s\"", most, value);
		return false;
	}
	*setting = (unsigned)n;
	return true;
}

/* Words between blanks, commas or quotes, so that the line of router.cf can be taken as it is. */
static bool set_protocols(struct router *r, void *field, const char *value, struct buf *why)
{
	bool routes = false, smtp = false;

	(void)field;
	while (*(value += strspn(value, " \t,'()")) != '\0') {
		size_t n = strcspn(value, " \t,'()");

		if (n == 6 && memcmp(value, "routes", 6) == 0 && !smtp) {
			routes = true;
		} else if (n == 4 && memcmp(value, "smtp", 4) == 0) {
			smtp = true;
		} else {
			buf_addf(why, "expected routes and smtp, in this order, not \"%.*s\"", (int)n, value);
			return false;
		}
		value += n;
	}
	r->use_routes = routes;
	r->use_smtp = smtp;
	return true;
}

/* On if there is any value, as in the scripts. */
static bool set_flag(struct router *r, void *field, const char *value, struct buf *why)
{
	(void)r, (void)why;
	*(bool *)field = value[0] != '\0';
	return true;
}

static bool refuse_list_files(struct router *r, void *field, const char *value, struct buf *why)
{
	(void)r, (void)field;
	if (value[0] == '\0')
		buf_adds(why, "list files are not read here; write nofqlists=1");
	return value[0] != '\0';
}

static bool leave(struct router *r, void *field, const char *value, struct buf *why)
{
	(void)r, (void)field, (void)value, (void)why;
	return true;
}

#define FIELD(name) offsetof(struct router, name)

static bool set_named(struct router *r, const char *name, const char *value, struct buf *why)
{
	static const struct {
		const char *name;
		setter *set;
		size_t field;
	} all[] = {
		{ "hostname", set_domain, FIELD(hostname) }, { "mydomain", set_domain, FIELD(mydomain) },
		{ "protocols", set_protocols, 0 },
		{ "max_depth", set_limit, FIELD(max_depth) }, { "max_addresses", set_limit, FIELD(max_addresses) },
		{ "localdoesdomain", set_flag, FIELD(localdoesdomain) },
		{ "ROUTEUSER_IN_ABNORMAL_UNIX", set_flag, FIELD(any_local_user) },
		{ "nofqlists", refuse_list_files, 0 },
		/* these of reports to senders stand in the same file (channel/report/reportconf.h) */
		{ "postmaster", leave, 0 }, { "report-from", leave, 0 }, { "report-max", leave, 0 },
	};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (strcmp(name, all[i].name) == 0)
			return all[i].set(r, (char *)r + all[i].field, value, why);
	buf_adds(why, "unknown setting; expected hostname, mydomain, localdoesdomain, ROUTEUSER_IN_ABNORMAL_UNIX, "
	              "protocols, nofqlists, max_depth, max_addresses, postmaster, report-from or report-max");
	return false;
}

/*
 * Sets one of them from "NAME=VALUE":
 *   hostname, mydomain              the names of router.h
 *   localdoesdomain                 empty: no; anything else: yes
 *   ROUTEUSER_IN_ABNORMAL_UNIX      the same
 *   protocols                       routes, smtp, in this order
 *   nofqlists                       must not be empty: list files are never read
 *   max_depth, max_addresses        limits; numbers
 * postmaster, report-from and report-max are settings of reports to senders, and left alone.
 * False with one line in `why`.
 */
static bool set(struct router *router, const char *assignment, struct buf *why)
{
	const char *equals = strchr(assignment, '=');
	char *name;
	struct buf text = { 0 };
	bool ok;

	if (equals == NULL || equals == assignment) {
		buf_adds(why, "expected NAME=VALUE, not \"");
		text_add_clean_string(why, assignment, 200);
		buf_adds(why, "\"");
		return false;
	}
	name = xstrndup(assignment, (size_t)(equals - assignment));
	/* a value that is not what it seems would be another one, a name would be unknown */
	buf_adds(&text, "found ");
	ok = !text_add_invisible(&text, assignment, strlen(assignment));
	if (ok) {
		buf_clear(&text);
		ok = set_named(router, name, equals + 1, &text);
	}
	if (!ok) {
		text_add_clean_string(why, name, 100);
		buf_addf(why, ": ");
		text_add_clean_string(why, buf_str(&text), 500);
	}
	buf_free(&text);
	free(name);
	return ok;
}

/* ---- where settings come from ---- */

/* One line of router.conf. */
static bool set_line(struct router *router, const struct conf_text *text)
{
	size_t length = text->length;
	struct buf trouble = { 0 };
	char *line;
	bool ok;

	if (length > 0 && text->line[length - 1] == '\r')
		length--;
	if (length == 0 || text->line[0] == '#')
		return true;
	line = xstrndup(text->line, length);
	ok = !conf_has_nul(text) && set(router, line, &trouble);
	if (!ok)
		conf_error(text, "%s", trouble.len > 0 ? trouble.data : "the line holds a NUL byte");
	buf_free(&trouble);
	free(line);
	return ok;
}

char *router_settings_path(const char *dbases)
{
	return file_beside(dbases, "router.conf");
}

int router_read_settings(const char *path, struct buf *text, struct buf *why)
{
	if (file_read_text(path, text) || errno == ENOENT)
		return EX_OK;
	buf_addf(why, "%s: %s", path, file_error(errno));
	return EX_NOINPUT;
}

struct router *router_open(const struct dbases *dbases, char *const *options, size_t count, int *status,
                           struct buf *why, struct buf *notes)
{
	char *path = router_settings_path(dbases->path);
	struct buf text = { 0 };
	struct router *router = NULL;

	*status = router_read_settings(path, &text, why);
	if (*status == EX_OK)
		router = router_make(dbases, path, &text, options, count, status, why, notes);
	buf_free(&text);
	free(path);
	return router;
}

struct router *router_make(const struct dbases *dbases, const char *path, const struct buf *settings, char *const *options,
                           size_t count, int *status, struct buf *why, struct buf *notes)
{
	struct router *router = router_create();
	struct conf_text lines = conf_begin(path, buf_str(settings), settings->len, why);

	router->any_local_user = zenv("ROUTEUSER_IN_ABNORMAL_UNIX") != NULL;
	*status = EX_OK;
	while (*status == EX_OK && conf_next(&lines))
		if (!set_line(router, &lines))
			*status = EX_CONFIG;
	for (size_t i = 0; i < count && *status == EX_OK; i++)
		if (!set(router, options[i], why))
			*status = EX_USAGE;
	for (int i = 0; i < ROUTE_RELATIONS && *status == EX_OK; i++) {
		const char *name = route_relation_name((enum route_relation)i);

		if (dbases_has(dbases, name))
			router->relations[i] = dbases_relation(dbases, name, status, why);
	}
	if (*status != EX_OK) {
		router_destroy(&router);
		return NULL;
	}
	if (router->max_depth > ROUTE_DEPTH)
		buf_addf(notes, "max_depth=%u: ZMailer's router holds what is more than %u lists deep, and "
		         "with its own scripts may end itself there\n", router->max_depth, ROUTE_DEPTH);
	unasked_note(dbases, notes);
	return router;
}
