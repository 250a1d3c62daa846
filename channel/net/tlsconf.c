#include "channel/net/tlsconf.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/conf.h"
#include "lib/file.h"
#include "lib/text.h"

/* ---- values ---- */

/* Each takes the value into `field`; NULL, or what was expected. */
static const char *take_text(void *field, const char *value)
{
	char **text = field;

	if (*text != NULL)
		return "given twice";
	*text = xstrdup(value);
	return NULL;
}

static const char *take_flag(void *field, const char *value)
{
	(void)value;
	*(bool *)field = true;
	return NULL;
}

static const char *take_verify(void *field, const char *value)
{
	static const char *const words[] = {
		[TLS_VERIFY_NONE] = "none", [TLS_VERIFY_CHAIN] = "chain", [TLS_VERIFY_NAME] = "name",
	};
	enum tls_verify *verify = field;

	if (*verify != TLS_VERIFY_UNSAID)
		return "given twice";
	for (size_t i = TLS_VERIFY_NONE; i < sizeof words / sizeof words[0]; i++)
		if (ascii_equal(value, words[i]))
			*verify = (enum tls_verify)i;
	return *verify == TLS_VERIFY_UNSAID ? "expected none, chain or name" : NULL;
}

static const char *take_protocol(void *field, const char *value)
{
	enum tls_protocol *protocol = field;

	if (ascii_equal(value, "TLSv1.2"))
		*protocol = TLS_1_2;
	else if (ascii_equal(value, "TLSv1.3"))
		*protocol = TLS_1_3;
	else
		return "expected TLSv1.2 or TLSv1.3";
	return NULL;
}

/* 64 hexadecimal digits; colons may stand between pairs, as openssl(1) prints them. */
static const char *take_fingerprint(void *field, const char *value)
{
	static const char *const expected = "expected a SHA-256 fingerprint: 32 pairs of hexadecimal digits";
	struct tlsconf *conf = field;
	struct fingerprint f;

	for (size_t i = 0; i < sizeof f.bytes; i++) {
		int high, low;

		if (i > 0 && *value == ':')
			value++;
		high = ascii_hex(value[0]);
		low = high < 0 ? -1 : ascii_hex(value[1]);
		if (low < 0)
			return expected;
		f.bytes[i] = (unsigned char)(high << 4 | low);
		value += 2;
	}
	if (*value != '\0')
		return expected;
	conf->fingerprints = xreallocarray(conf->fingerprints, conf->fingerprint_count + 1, sizeof f);
	conf->fingerprints[conf->fingerprint_count++] = f;
	return NULL;
}

/* Keys of the original that mean nothing to OpenSSL 3 or to us; old files have them. */
static const char *take_nothing(void *field, const char *value)
{
	(void)field;
	(void)value;
	return NULL;
}

/* ---- keys ---- */

enum needs { NO_VALUE, A_VALUE, ANY_VALUE };

#define FIELD(name) offsetof(struct tlsconf, name)

static const struct {
	const char *key;
	enum needs value;
	const char *(*take)(void *field, const char *value);
	size_t field;
} keys[] = {
	{ "tls-cert-file", A_VALUE, take_text, FIELD(cert_file) },
	{ "tls-key-file", A_VALUE, take_text, FIELD(key_file) },
	{ "tls-dcert-file", A_VALUE, take_text, FIELD(dcert_file) },
	{ "tls-dkey-file", A_VALUE, take_text, FIELD(dkey_file) },
	{ "tls-CAfile", A_VALUE, take_text, FIELD(ca_file) },
	{ "tls-CApath", A_VALUE, take_text, FIELD(ca_path) },
	{ "tls-cipher-list", A_VALUE, take_text, FIELD(cipher_list) },
	{ "tls-peer-name", A_VALUE, take_text, FIELD(peer_name) },
	{ "tls-verify", A_VALUE, take_verify, FIELD(verify) },
	{ "tls-min-protocol", A_VALUE, take_protocol, FIELD(min_protocol) },
	{ "tls-fingerprint", A_VALUE, take_fingerprint, 0 },
	{ "demand-tls-mode", NO_VALUE, take_flag, FIELD(demanded) },
	{ "tls-wrapped", NO_VALUE, take_flag, FIELD(wrapped) },
	{ "tls-loglevel", ANY_VALUE, take_nothing, 0 },
	{ "tls-random-source", ANY_VALUE, take_nothing, 0 },
	{ "tls-strict-rfc2487", ANY_VALUE, take_nothing, 0 },
	{ "tls-use-scache", ANY_VALUE, take_nothing, 0 },
	{ "tls-scache-timeout", ANY_VALUE, take_nothing, 0 },
	{ "no-tls-readahead", ANY_VALUE, take_nothing, 0 },
};

static bool is_remark(const char *word)
{
	return word == NULL || word[0] == '#' || word[0] == ';';
}

/* NULL, or what is wrong with the line. */
static const char *take_line(struct tlsconf *conf, char *line)
{
	char *rest, *key = strtok_r(line, " \t\r", &rest), *value, *more;
	size_t i = 0;

	if (is_remark(key))
		return NULL;
	while (i < sizeof keys / sizeof keys[0] && !ascii_equal(key, keys[i].key))
		i++;
	if (i == sizeof keys / sizeof keys[0])
		return "unknown key";
	value = strtok_r(NULL, " \t\r", &rest);
	if (keys[i].value == NO_VALUE && !is_remark(value))
		return "expected no value";
	if (keys[i].value == A_VALUE && is_remark(value))
		return "expected a value";
	more = value ? strtok_r(NULL, " \t\r", &rest) : NULL;
	if (keys[i].value == A_VALUE && !is_remark(more))
		return "expected one value";
	return keys[i].take((char *)conf + keys[i].field, value);
}

static bool take(struct tlsconf *conf, const struct conf_text *text)
{
	char *copy = xstrndup(text->line, text->length);
	const char *wrong = conf_has_nul(text) ? "a NUL byte in the line" : take_line(conf, copy);
	size_t skip = strspn(copy, " \t");

	if (wrong != NULL) {
		conf_error(text, "%s", "");
		/* of a key that take_line() has cut off */
		text_add_clean(text->why, copy + skip, strcspn(copy + skip, " \t\r"), 60);
		buf_addf(text->why, ": %s", wrong);
	}
	free(copy);
	return wrong == NULL;
}

bool tlsconf_parse(struct tlsconf *conf, const char *text, size_t n, const char *path, struct buf *why)
{
	struct conf_text lines = conf_begin(path, text, n, why);

	*conf = (struct tlsconf){ 0 };
	while (conf_next(&lines))
		if (!take(conf, &lines))
			return false;
	/* a key without its certificate would be forgotten in silence */
	if (conf->key_file != NULL && conf->cert_file == NULL)
		buf_addf(why, "%s: tls-key-file without tls-cert-file", path);
	else if (conf->dkey_file != NULL && conf->dcert_file == NULL)
		buf_addf(why, "%s: tls-dkey-file without tls-dcert-file", path);
	else if (conf->verify == TLS_VERIFY_NONE && conf->peer_name != NULL)
		buf_addf(why, "%s: tls-peer-name contradicts tls-verify none", path);
	else if (conf->verify == TLS_VERIFY_CHAIN && conf->peer_name != NULL)
		buf_addf(why, "%s: tls-peer-name needs tls-verify name", path);
	else
		return true;
	return false;
}

bool tlsconf_read(struct tlsconf *conf, const char *path, struct buf *why)
{
	struct buf text = { 0 };
	bool ok = false;

	*conf = (struct tlsconf){ 0 };
	if (file_read_text(path, &text))
		ok = tlsconf_parse(conf, buf_str(&text), text.len, path, why);
	else
		buf_addf(why, "%s: %s", path, file_error(errno));
	buf_free(&text);
	return ok;
}

void tlsconf_free(struct tlsconf *conf)
{
	free(conf->cert_file);
	free(conf->key_file);
	free(conf->dcert_file);
	free(conf->dkey_file);
	free(conf->ca_file);
	free(conf->ca_path);
	free(conf->cipher_list);
	free(conf->peer_name);
	free(conf->fingerprints);
	*conf = (struct tlsconf){ 0 };
}
