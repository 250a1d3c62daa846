/*
 * The file of -S, tls.conf(5): how TLS is to be done (transport-agent.md section 11).
 */
#ifndef ZL_CHANNEL_NET_TLSCONF_H
#define ZL_CHANNEL_NET_TLSCONF_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

enum tls_verify {
	TLS_VERIFY_UNSAID,
	TLS_VERIFY_NONE,       /* the certificate is looked at for the log only */
	TLS_VERIFY_CHAIN,      /* it must come from a known authority and be valid now */
	TLS_VERIFY_NAME,       /* ... and be made out for the peer */
};

enum tls_protocol { TLS_1_2, TLS_1_3 };

#define FINGERPRINT_SIZE 32    /* SHA-256 */

struct fingerprint {
	unsigned char bytes[FINGERPRINT_SIZE];
};

struct tlsconf {
	/* paths, NULL where the file has none */
	char *cert_file, *key_file;
	char *dcert_file, *dkey_file;
	char *ca_file, *ca_path;
	char *cipher_list;         /* for TLS 1.2, as OpenSSL wants it */
	char *peer_name;           /* in the certificate, in place of the name that we connect to */
	enum tls_verify verify;
	enum tls_protocol min_protocol;
	struct fingerprint *fingerprints;    /* one of them must be the certificate's */
	size_t fingerprint_count;
	bool demanded;
	bool wrapped;              /* TLS from the first byte, no STARTTLS */
};

/* Reads n bytes of text from the file `path`.  False with "FILE:LINE: what is wrong" in `why`. */
bool tlsconf_parse(struct tlsconf *conf, const char *text, size_t n, const char *path, struct buf *why);

/* Reads the file.  False with one line in `why`. */
bool tlsconf_read(struct tlsconf *conf, const char *path, struct buf *why);

void tlsconf_free(struct tlsconf *conf);

#endif
