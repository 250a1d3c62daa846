/*
 * Any bytes as a secrets file: what is found is base64 or empty, what is refused is named by one line of
 * text, and nothing else happens.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/net/base64.h"
#include "channel/net/secrets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "::1", "host.example", NULL };
	struct secret secret = { 0 };
	struct buf why = { 0 };
	enum secrets_answer answer =
		secrets_search((const char *)data, size, "FILE", "lmtp", names, &secret, &why);

	if ((answer == SECRETS_UNCLEAR) != (why.len > 0) || strchr(buf_str(&why), '\n') != NULL)
		abort();
	if (answer != SECRETS_FOUND && (secret.user.len > 0 || secret.password.len > 0))
		abort();
	if (!base64_valid(buf_str(&secret.user), secret.user.len) ||
	    !base64_valid(buf_str(&secret.password), secret.password.len))
		abort();
	secret_wipe(&secret);
	buf_free(&why);
	return 0;
}
