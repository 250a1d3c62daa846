#include "channel/net/base64.h"

#include <openssl/evp.h>
#include <string.h>

bool base64_valid(const char *text, size_t n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t padding = 0;

	if (n % 4 != 0)
		return false;
	while (padding < 2 && padding < n && text[n - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < n - padding; i++)
		if (text[i] == '\0' || strchr(alphabet, text[i]) == NULL)
			return false;
	return true;
}

bool base64_decode(const char *text, size_t n, struct buf *out)
{
	char *room;

	if (!base64_valid(text, n))
		return false;
	room = buf_reserve(out, n / 4 * 3);
	if (n > 0)
		EVP_DecodeBlock((unsigned char *)room, (const unsigned char *)text, (int)n);
	out->len += n / 4 * 3;
	/* EVP_DecodeBlock() counts the padding as zero bytes */
	for (size_t i = 1; i <= 2 && i <= n && text[n - i] == '='; i++)
		out->len--;
	out->data[out->len] = '\0';
	return true;
}

void base64_encode(const char *bytes, size_t n, struct buf *out)
{
	char *room = buf_reserve(out, (n + 2) / 3 * 4);

	EVP_EncodeBlock((unsigned char *)room, (const unsigned char *)bytes, (int)n);
	out->len += (n + 2) / 3 * 4;
}
