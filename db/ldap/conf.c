#include "db/ldap/conf.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <lber.h>
#include <ldap.h>

#include "db/ldap/open.h"
#include "lib/alloc.h"
#include "lib/process.h"

#define DEFAULT_RECURSION 10
#define DEFAULT_CACHE_SIZE 500
#define LONGEST_CACHE 86400

/* In place of a key when patterns are checked: it has all parts. */
#define SAMPLE_KEY "u@i.h.g.f.e.d.c.b.a"

struct draft {
	struct ldapconf *conf;
	char **attributes;                 /* of attr */
	char **leaf;
	char **terminal;
	const struct setting *attr;        /* the lines that said so */
	const struct setting *result;
	const struct setting *format;
	const struct setting *values;
	bool has_base;
	bool has_filter;
	const char *file;
	struct buf *why;
};

/* ---- one setting ---------------------------------------------------------- */

static int take_pattern(struct draft *d, const struct setting *s, struct pattern *pattern)
{
	struct buf fault = { 0 };
	int status = EX_OK;

	pattern_free(pattern);
	if (!pattern_parse(pattern, s->value, &fault))
		status = setting_error(s, d->why, "%s", buf_str(&fault));
	buf_free(&fault);
	return status;
}

int ldap_check_dn(const struct setting *setting, const char *text, struct buf *why)
{
	LDAPDN dn = NULL;
	int code = ldap_str2dn(text, &dn, LDAP_DN_FORMAT_LDAPV3);

	ldap_dnfree(dn);
	if (code == LDAP_SUCCESS)
		return EX_OK;
	setting_error(setting, why, code == LDAP_NO_MEMORY ? "not enough memory" : "is no distinguished name");
	return code == LDAP_NO_MEMORY ? EX_TEMPFAIL : EX_CONFIG;
}

int ldap_check_filter(const struct setting *setting, const char *text, const char *example, struct buf *why)
{
	struct berval encoded = { 0, NULL };
	LDAP *ld = NULL;
	char *copy;
	int code;

	/* the assertion control (RFC 4528) is libldap's public way to encode a filter */
	if (ldap_create(&ld) != LDAP_SUCCESS) {
		setting_error(setting, why, "libldap cannot be used");
		return EX_TEMPFAIL;
	}
	copy = xstrdup(text);
	code = text[0] == '(' ? ldap_create_assertion_control_value(ld, copy, &encoded) : LDAP_FILTER_ERROR;
	free(copy);
	ldap_memfree(encoded.bv_val);
	ldap_unbind_ext(ld, NULL, NULL);
	if (code == LDAP_SUCCESS)
		return EX_OK;
	if (code != LDAP_NO_MEMORY)
		return setting_error(setting, why, "is no filter; expected one as %s", example);
	setting_error(setting, why, "not enough memory");
	return EX_TEMPFAIL;
}

static int take_base(struct draft *d, const struct setting *s)
{
	struct dn_text dn = { 0 };
	int status = take_pattern(d, s, &d->conf->base);

	d->has_base = true;
	if (status == EX_OK) {
		pattern_add_dn(&d->conf->base, SAMPLE_KEY, strlen(SAMPLE_KEY), &dn);
		status = ldap_check_dn(s, dn_str(&dn), d->why);
	}
	dn_free(&dn);
	return status;
}

static int take_filter(struct draft *d, const struct setting *s)
{
	struct filter_text filter = { 0 };
	char *with_brackets = NULL;
	struct setting whole = *s;
	int status;

	/* RFC 4515 wants the brackets, files for Postfix often have none */
	if (s->value[0] != '(' && s->value[0] != '\0')
		whole.value = with_brackets = xasprintf("(%s)", s->value);
	d->has_filter = true;
	status = take_pattern(d, &whole, &d->conf->filter);
	if (status == EX_OK) {
		pattern_add_filter(&d->conf->filter, SAMPLE_KEY, strlen(SAMPLE_KEY), &filter);
		status = ldap_check_filter(s, filter_str(&filter), "(mail=%s) or (&(mail=%s)(objectClass=x))", d->why);
	}
	filter_free(&filter);
	free(with_brackets);
	return status;
}

static int take_scope(struct draft *d, const struct setting *s)
{
	static const char *const words[] = { "base", "one", "sub", NULL };
	static const int meaning[] = { LDAP_SCOPE_BASE, LDAP_SCOPE_ONELEVEL, LDAP_SCOPE_SUBTREE };
	int i = 0, status = setting_choice(s, words, &i, d->why);

	d->conf->scope = meaning[i];
	return status;
}

static int take_dereference(struct draft *d, const struct setting *s)
{
	/* ldap_table(5) has the numbers, ldap.conf(5) the words; they agree with ldap.h */
	static const char *const words[] = { "0", "1", "2", "3", "never", "searching", "finding", "always", NULL };
	int i = 0, status = setting_choice(s, words, &i, d->why);

	d->conf->dereference = i % 4;
	return status;
}

static int take_attributes(const struct setting *s, char ***list, struct buf *why)
{
	int status = setting_words(s, list, why);

	for (size_t i = 0; status == EX_OK && (*list)[i] != NULL; i++)
		if (!template_is_attribute((*list)[i], strlen((*list)[i])))
			status = setting_error(s, why, "expected names of attributes, without options");
	return status;
}

static int take_attr(struct draft *d, const struct setting *s)
{
	d->attr = s;
	/* leaf_result_attribute wants it to be empty at times */
	return s->value[0] == '\0' ? EX_OK : take_attributes(s, &d->attributes, d->why);
}

static int take_leaf(struct draft *d, const struct setting *s)
{
	return take_attributes(s, &d->leaf, d->why);
}

static int take_terminal(struct draft *d, const struct setting *s)
{
	return take_attributes(s, &d->terminal, d->why);
}

static int take_special(struct draft *d, const struct setting *s)
{
	return take_attributes(s, &d->conf->special, d->why);
}

static int take_result(struct draft *d, const struct setting *s)
{
	d->result = s;
	return EX_OK;
}

static int take_format(struct draft *d, const struct setting *s)
{
	d->format = s;
	return EX_OK;
}

static int take_number_of(const struct setting *s, bool *many, struct buf *why)
{
	static const char *const words[] = { "one", "many", NULL };
	int i = 0, status = setting_choice(s, words, &i, why);

	*many = i == 1;
	return status;
}

static int take_entries(struct draft *d, const struct setting *s)
{
	return take_number_of(s, &d->conf->many_entries, d->why);
}

static int take_values(struct draft *d, const struct setting *s)
{
	d->values = s;
	return take_number_of(s, &d->conf->many_values, d->why);
}

static int take_size_limit(struct draft *d, const struct setting *s)
{
	return setting_number(s, 0x7fffffff, &d->conf->size_limit, d->why);
}

static int take_recursion(struct draft *d, const struct setting *s)
{
	if (setting_number(s, 1000, &d->conf->recursion_limit, d->why) != EX_OK)
		return EX_CONFIG;
	return d->conf->recursion_limit > 0 ? EX_OK : setting_error(s, d->why, "must be at least 1");
}

static int take_expansion(struct draft *d, const struct setting *s)
{
	return setting_number(s, 0x7fffffff, &d->conf->expansion_limit, d->why);
}

static int take_domain(struct draft *d, const struct setting *s)
{
	return setting_domains(s, &d->conf->domains, d->why);
}

static int take_cache(struct draft *d, const struct setting *s)
{
	return setting_seconds(s, LONGEST_CACHE, &d->conf->cache_expiry, d->why);
}

static int take_negative_cache(struct draft *d, const struct setting *s)
{
	return setting_seconds(s, LONGEST_CACHE, &d->conf->cache_negative_expiry, d->why);
}

static int take_cache_size(struct draft *d, const struct setting *s)
{
	return setting_number(s, 1000000, &d->conf->cache_size, d->why);
}

static const struct known {
	const char *name;
	const char *alias;
	int (*take)(struct draft *, const struct setting *);
} known[] = {
	{ "base", "search_base", take_base },
	{ "filter", "query_filter", take_filter },
	{ "scope", NULL, take_scope },
	{ "dereference", NULL, take_dereference },
	{ "attr", "result_attribute", take_attr },
	{ "result", NULL, take_result },
	{ "result_format", "result_filter", take_format },
	{ "special_result_attribute", NULL, take_special },
	{ "leaf_result_attribute", NULL, take_leaf },
	{ "terminal_result_attribute", NULL, take_terminal },
	{ "entries", NULL, take_entries },
	{ "values", NULL, take_values },
	{ "size_limit", NULL, take_size_limit },
	{ "recursion_limit", NULL, take_recursion },
	{ "expansion_limit", NULL, take_expansion },
	{ "domain", NULL, take_domain },
	{ "cache_expiry", NULL, take_cache },
	{ "cache_negative_expiry", NULL, take_negative_cache },
	{ "cache_size", NULL, take_cache_size },
};

static const struct known *find_known(const char *word)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(known[i].name, word) == 0 || (known[i].alias != NULL && strcmp(known[i].alias, word) == 0))
			return &known[i];
	return NULL;
}

static const char *name_of(const char *word)
{
	const struct known *k = find_known(word);

	return k != NULL ? k->name : ldap_access_name(word);
}

/* ---- all together --------------------------------------------------------- */

static void add_result(struct draft *d, enum result_kind kind, struct template *template)
{
	struct ldapconf *c = d->conf;

	c->results = xreallocarray(c->results, c->result_count + 1, sizeof *c->results);
	c->results[c->result_count++] = (struct ldap_result){ kind, template };
	template_attributes(template, &c->attributes);
}

static void add_formats(struct draft *d, enum result_kind kind, char *const *attributes, const struct pattern *format)
{
	for (size_t i = 0; attributes != NULL && attributes[i] != NULL; i++)
		add_result(d, kind, template_of_pattern(format, attributes[i]));
}

/* attr, leaf and terminal attributes, each with result_format around its values. */
static int make_formats(struct draft *d)
{
	struct setting plain = { .name = "result_format", .value = (char[]){ "%s" } };
	struct pattern format = { 0 };
	int status = take_pattern(d, d->format != NULL ? d->format : &plain, &format);

	if (status == EX_OK) {
		add_formats(d, RESULT_ALWAYS, d->attributes, &format);
		add_formats(d, RESULT_LEAF, d->leaf, &format);
		add_formats(d, RESULT_TERMINAL, d->terminal, &format);
	}
	pattern_free(&format);
	return status;
}

static int make_template(struct draft *d)
{
	struct buf fault = { 0 };
	struct template *template;
	int status = EX_OK;

	if (d->attr != NULL || d->format != NULL || d->leaf != NULL || d->terminal != NULL)
		return setting_error(d->result, d->why,
		                     "attr, result_format, leaf and terminal attributes cannot stand beside it");
	template = template_parse(d->result->value, &fault);
	if (template != NULL)
		add_result(d, RESULT_ALWAYS, template);
	else
		status = setting_error(d->result, d->why, "%s", buf_str(&fault));
	buf_free(&fault);
	/* that there is an entry may be all that counts */
	if (status == EX_OK && d->conf->attributes == NULL)
		words_add(&d->conf->attributes, LDAP_NO_ATTRS);
	/* a list of routes is no route */
	if (d->values == NULL)
		d->conf->many_values = false;
	return status;
}

static int check_all(struct draft *d)
{
	struct ldapconf *c = d->conf;
	int status;

	if (!d->has_base)
		return settings_error(d->file, d->why, "base is missing");
	if (!d->has_filter)
		return settings_error(d->file, d->why, "filter is missing");
	if (!pattern_uses_key(&c->filter) && !pattern_uses_key(&c->base))
		return settings_error(d->file, d->why,
		                      "neither filter nor base has %s in it, so that every key would find the same");
	status = d->result != NULL ? make_template(d) : make_formats(d);
	if (status == EX_OK && c->result_count == 0)
		return settings_error(d->file, d->why, "attr or result is missing");
	for (size_t i = 0; status == EX_OK && c->special != NULL && c->special[i] != NULL; i++)
		words_add(&c->attributes, c->special[i]);
	return status;
}

int ldapconf_parse(struct ldapconf *conf, const char *path, const char *text, size_t n, struct buf *why)
{
	struct settings settings = { 0 };
	int status;

	*conf = (struct ldapconf){
		.scope = LDAP_SCOPE_SUBTREE, .dereference = LDAP_DEREF_NEVER, .many_values = true,
		.recursion_limit = DEFAULT_RECURSION, .cache_size = DEFAULT_CACHE_SIZE,
	};
	ldap_ignore_surroundings();
	status = text != NULL ? settings_parse(&settings, path, text, n, name_of, why)
	                      : settings_read(&settings, path, name_of, why);
	if (status == EX_OK) {
		struct draft d = { .conf = conf, .file = path, .why = why };

		status = settings_repeated(&settings, 0, settings.count, why);
		for (size_t i = 0; i < settings.count && status == EX_OK; i++) {
			const struct known *k = find_known(settings.list[i].name);

			if (k != NULL)
				status = k->take(&d, &settings.list[i]);
		}
		if (status == EX_OK)
			status = ldap_access_take(&conf->access, &settings, path, why);
		if (status == EX_OK)
			status = check_all(&d);
		words_free(d.attributes);
		words_free(d.leaf);
		words_free(d.terminal);
	}
	settings_free(&settings);
	return status;
}

int ldapconf_read(struct ldapconf *conf, const char *path, struct buf *why)
{
	/* there may be a password in it */
	process_keep_secrets();
	return ldapconf_parse(conf, path, NULL, 0, why);
}

void ldapconf_free(struct ldapconf *conf)
{
	for (size_t i = 0; i < conf->result_count; i++)
		template_free(&conf->results[i].template);
	free(conf->results);
	pattern_free(&conf->base);
	pattern_free(&conf->filter);
	words_free(conf->special);
	words_free(conf->attributes);
	words_free(conf->domains);
	ldap_access_free(&conf->access);
	*conf = (struct ldapconf){ 0 };
}

/* ---- keys ----------------------------------------------------------------- */

bool ldapconf_fits(const struct ldapconf *conf, const char *key, size_t n)
{
	if (conf->domains != NULL && !key_is_in_domains(key, n, conf->domains))
		return false;
	for (size_t i = 0; i < conf->result_count; i++)
		if (!template_fits(conf->results[i].template, key, n))
			return false;
	return pattern_fits(&conf->base, key, n) && pattern_fits(&conf->filter, key, n);
}
