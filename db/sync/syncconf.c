#include "db/sync/syncconf.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <ldap.h>

#include "db/ldap/conf.h"
#include "db/ldap/open.h"
#include "db/sync/mapsetting.h"
#include "lib/alloc.h"
#include "lib/parse.h"
#include "lib/process.h"

#define DEFAULT_SILENCE 30
#define LONGEST_SILENCE 3600
#define DEFAULT_COMPARE 86400
#define LONGEST_COMPARE (366 * 86400L)
#define LONGEST_RULE_NAME 40

/* Settings of a rule that may stand before all rules, for those that say nothing else. */
struct common {
	char *base;
	int scope;
};

struct draft {
	struct syncconf *conf;
	struct common common;
	struct sync_rule *rule;       /* the one whose settings come; NULL before the first */
	struct buf definition;
	const char *file;
	struct buf *why;
};

/* ---- settings of a rule ---------------------------------------------------- */

/* In maps that ask for one key, %s and the like stand for it. */
static int check_percent(struct draft *d, const struct setting *s)
{
	if (strchr(s->value, '%') == NULL)
		return EX_OK;
	return setting_error(s, d->why, "\"%%\" stands for nothing here, as no key is asked for; \"%%\" itself is \\25");
}

static int take_base(struct draft *d, const struct setting *s)
{
	char **base = d->rule != NULL ? &d->rule->base : &d->common.base;

	int status = check_percent(d, s);

	if (status == EX_OK)
		status = ldap_check_dn(s, s->value, d->why);
	if (status != EX_OK)
		return status;
	free(*base);
	*base = xstrdup(s->value);
	return EX_OK;
}

static int take_scope(struct draft *d, const struct setting *s)
{
	static const char *const words[] = { "base", "one", "sub", NULL };
	static const int meaning[] = { LDAP_SCOPE_BASE, LDAP_SCOPE_ONELEVEL, LDAP_SCOPE_SUBTREE };
	int i = 0, status = setting_choice(s, words, &i, d->why);

	*(d->rule != NULL ? &d->rule->scope : &d->common.scope) = meaning[i];
	return status;
}

static int take_filter(struct draft *d, const struct setting *s)
{
	if (check_percent(d, s) != EX_OK)
		return EX_CONFIG;
	free(d->rule->filter);
	d->rule->filter = s->value[0] == '(' ? xstrdup(s->value) : xasprintf("(%s)", s->value);
	return ldap_check_filter(s, d->rule->filter, "(objectClass=x) or (&(mail=*)(objectClass=x))", d->why);
}

static int take_template(struct draft *d, const struct setting *s, struct template **template)
{
	struct buf fault = { 0 };
	int status = EX_OK;

	template_free(template);
	*template = template_parse(s->value, &fault);
	if (*template == NULL || s->value[0] == '\0')
		status = setting_error(s, d->why, "%s", *template == NULL ? buf_str(&fault) : "has no value");
	buf_free(&fault);
	return status;
}

static int take_key(struct draft *d, const struct setting *s)
{
	char **attributes = NULL;
	int status = take_template(d, s, &d->rule->key);

	if (status == EX_OK)
		template_attributes(d->rule->key, &attributes);
	if (status == EX_OK && attributes == NULL)
		status = setting_error(s, d->why, "has no {ATTRIBUTE}, so that all entries would have the same key");
	words_free(attributes);
	return status;
}

static int take_value(struct draft *d, const struct setting *s)
{
	return take_template(d, s, &d->rule->value);
}

static int take_values(struct draft *d, const struct setting *s)
{
	static const char *const words[] = { "one", "many", NULL };
	int i = 0, status = setting_choice(s, words, &i, d->why);

	d->rule->many_values = i == 1;
	return status;
}

static int take_domain(struct draft *d, const struct setting *s)
{
	return take_template(d, s, &d->rule->domain);
}

static int take_rule(struct draft *d, const struct setting *s)
{
	struct syncconf *c = d->conf;

	if (s->value[0] == '\0' || strlen(s->value) > LONGEST_RULE_NAME
	    || s->value[strspn(s->value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] != '\0')
		return setting_error(s, d->why, "expected a name of letters, digits and \"_\", at most %d", LONGEST_RULE_NAME);
	for (size_t i = 0; i < c->rule_count; i++)
		if (strcmp(c->rules[i].name, s->value) == 0)
			return setting_error(s, d->why, "there is a rule %s already", s->value);
	c->rules = xreallocarray(c->rules, c->rule_count + 1, sizeof *c->rules);
	d->rule = &c->rules[c->rule_count++];
	*d->rule = (struct sync_rule){ .name = xstrdup(s->value), .scope = -1 };
	return EX_OK;
}

/* ---- settings of the whole --------------------------------------------------- */

static int take_unclear(struct draft *d, const struct setting *s)
{
	char **attributes = NULL;
	int status = take_template(d, s, &d->conf->unclear);

	if (status == EX_OK)
		template_attributes(d->conf->unclear, &attributes);
	if (attributes != NULL)
		status = setting_error(s, d->why, "only {key}, {key:local} and {key:domain} can stand here");
	words_free(attributes);
	return status;
}

static int take_silence(struct draft *d, const struct setting *s)
{
	if (setting_seconds(s, LONGEST_SILENCE, &d->conf->silence, d->why) != EX_OK)
		return EX_CONFIG;
	return d->conf->silence > 0 ? EX_OK : setting_error(s, d->why, "must not be 0");
}

/* 0: only when there is reason to. */
static int take_compare(struct draft *d, const struct setting *s)
{
	return setting_seconds(s, LONGEST_COMPARE, &d->conf->compare, d->why);
}

static int take_domains(struct draft *d, const struct setting *s)
{
	return setting_path(s, &d->conf->domains, d->why);
}

static int take_domains_format(struct draft *d, const struct setting *s)
{
	char **attributes = NULL;
	int status = take_template(d, s, &d->conf->domains_format);

	if (status == EX_OK)
		template_attributes(d->conf->domains_format, &attributes);
	if (status == EX_OK && (attributes == NULL || strcmp(attributes[0], "domain") != 0 || attributes[1] != NULL))
		status = setting_error(s, d->why, "expected {domain} in it, and nothing else in braces");
	words_free(attributes);
	return status;
}

static int take_domains_command(struct draft *d, const struct setting *s)
{
	if (s->value[0] != '/')
		return setting_error(s, d->why, "expected an absolute path and arguments; no shell reads them");
	return setting_words(s, &d->conf->domains_command, d->why);
}

static const struct known {
	const char *name;
	int (*take)(struct draft *, const struct setting *);
	enum { ANYWHERE, BEFORE_RULES, IN_RULES } place;
} known[] = {
	{ "rule", take_rule, ANYWHERE },
	{ "base", take_base, ANYWHERE },
	{ "scope", take_scope, ANYWHERE },
	{ "filter", take_filter, IN_RULES },
	{ "key", take_key, IN_RULES },
	{ "value", take_value, IN_RULES },
	{ "values", take_values, IN_RULES },
	{ "domain", take_domain, IN_RULES },
	{ "unclear", take_unclear, BEFORE_RULES },
	{ "silence", take_silence, BEFORE_RULES },
	{ "compare", take_compare, BEFORE_RULES },
	{ "domains", take_domains, BEFORE_RULES },
	{ "domains_format", take_domains_format, BEFORE_RULES },
	{ "domains_command", take_domains_command, BEFORE_RULES },
};

static const char *name_of(const char *word)
{
	const struct known *k = PARSE_ROW(known, word);
	const char *of_map = mapsetting_known(word);

	return k != NULL ? k->name : of_map != NULL ? of_map : ldap_access_name(word);
}

/* ---- a rule as a whole -------------------------------------------------------- */

/* `head` is the line that begins the rule. */
static int finish_rule(struct draft *d, const struct setting *head, struct sync_rule *rule)
{
	if (rule->base == NULL && d->common.base != NULL)
		rule->base = xstrdup(d->common.base);
	if (rule->scope < 0)
		rule->scope = d->common.scope;
	if (rule->base == NULL)
		return setting_error(head, d->why, "base is missing");
	if (rule->filter == NULL)
		return setting_error(head, d->why, "filter is missing");
	if ((rule->key == NULL) != (rule->value == NULL))
		return setting_error(head, d->why, "%s", rule->key == NULL ? "value without key" : "key without value");
	if (rule->key == NULL && rule->domain == NULL)
		return setting_error(head, d->why, "neither key and value nor domain are given");
	if (rule->key != NULL)
		template_attributes(rule->key, &rule->attributes);
	if (rule->value != NULL)
		template_attributes(rule->value, &rule->attributes);
	if (rule->domain != NULL)
		template_attributes(rule->domain, &rule->attributes);
	if (rule->attributes == NULL)
		return setting_error(head, d->why, "no {ATTRIBUTE} in domain");
	/* by these the whole is compared */
	words_add(&rule->attributes, "entryUUID");
	words_add(&rule->attributes, "entryCSN");
	return EX_OK;
}

static bool names_domains(const struct syncconf *conf)
{
	for (size_t i = 0; i < conf->rule_count; i++)
		if (conf->rules[i].domain != NULL)
			return true;
	return false;
}

/*
 * What the settings of the whole mean for the rules; an entry yields something else, or others are seen, if one of them
 * changes.
 */
static void complete_rules(struct syncconf *c)
{
	/* if any rule names domains, those are the ones that are served, and keys do not count */
	const bool by_keys = c->domains != NULL && !names_domains(c);

	for (size_t i = 0; i < c->rule_count; i++) {
		struct sync_rule *rule = &c->rules[i];
		char *own = rule->definition;

		rule->keys_name_domains = by_keys;
		rule->definition = xasprintf("%s;fold=%c;domains=%d;bind=%d;binddn=%s", own, c->map.folding, by_keys,
		                             (int)c->access.bind, c->access.binddn != NULL ? c->access.binddn : "");
		free(own);
	}
}

/* ---- all together --------------------------------------------------------------- */

static int take_section(struct draft *d, const struct settings *settings, size_t from, size_t to)
{
	int status = settings_repeated(settings, from, to, d->why);
	struct buf text = { 0 };

	for (size_t i = from; i < to && status == EX_OK; i++) {
		const struct known *k = PARSE_ROW(known, settings->list[i].name);

		if ((k == NULL || k->place == BEFORE_RULES) && d->rule != NULL)
			status = setting_error(&settings->list[i], d->why, "must stand before the first rule");
		else if (k == NULL)
			status = mapsetting_take(&d->conf->map, &settings->list[i], d->why);
		else if (k->place == IN_RULES && d->rule == NULL)
			status = setting_error(&settings->list[i], d->why, "belongs to a rule, and none has begun");
		else
			status = k->take(d, &settings->list[i]);
	}
	if (status == EX_OK && d->rule != NULL)
		status = finish_rule(d, &settings->list[from], d->rule);
	if (status == EX_OK && d->rule != NULL) {
		/* the lines of a rule, with those that it has from above, as one text */
		buf_addf(&text, "base=%s;scope=%d", d->rule->base, d->rule->scope);
		for (size_t i = from + 1; i < to; i++)
			buf_addf(&text, ";%s=%s", settings->list[i].name, settings->list[i].value);
		d->rule->definition = xstrdup(buf_str(&text));
		buf_free(&text);
	}
	return status;
}

static int take_all(struct draft *d, const struct settings *settings)
{
	int status = EX_OK;

	for (size_t from = 0, to; from < settings->count && status == EX_OK; from = to) {
		for (to = from + 1; to < settings->count && strcmp(settings->list[to].name, "rule") != 0; to++)
			continue;
		status = take_section(d, settings, from, to);
	}
	if (status != EX_OK)
		return status;
	if (d->conf->map.base == NULL)
		return settings_error(d->file, d->why, "map is missing");
	if (d->conf->rule_count == 0)
		return settings_error(d->file, d->why, "there is no rule");
	if (d->conf->domains == NULL && (d->conf->domains_format != NULL || d->conf->domains_command != NULL ||
	                                 names_domains(d->conf)))
		return settings_error(d->file, d->why, "domains are to be written, but \"domains\" names no file for them");
	status = ldap_access_take(&d->conf->access, settings, d->file, d->why);
	if (status == EX_OK)
		complete_rules(d->conf);
	return status;
}

int syncconf_parse(struct syncconf *conf, const char *path, const char *text, size_t n, struct buf *why)
{
	struct draft d = { .conf = conf, .common.scope = LDAP_SCOPE_SUBTREE, .file = path, .why = why };
	struct settings settings = { 0 };
	int status;

	*conf = (struct syncconf){ .map.folding = 'l', .silence = DEFAULT_SILENCE, .compare = DEFAULT_COMPARE };
	ldap_ignore_surroundings();
	status = text != NULL ? settings_parse(&settings, path, text, n, name_of, why)
	                      : settings_read(&settings, path, name_of, why);
	if (status == EX_OK)
		status = take_all(&d, &settings);
	free(d.common.base);
	settings_free(&settings);
	return status;
}

int syncconf_read(struct syncconf *conf, const char *path, struct buf *why)
{
	/* there may be a password in it */
	process_keep_secrets();
	return syncconf_parse(conf, path, NULL, 0, why);
}

void syncconf_free(struct syncconf *conf)
{
	for (size_t i = 0; i < conf->rule_count; i++)
		rule_free(&conf->rules[i]);
	free(conf->rules);
	template_free(&conf->unclear);
	template_free(&conf->domains_format);
	words_free(conf->domains_command);
	free(conf->domains);
	mapsetting_free(&conf->map);
	ldap_access_free(&conf->access);
	*conf = (struct syncconf){ 0 };
}
