#include "db/serve/netstring.h"

/* Digits of the largest length. */
#define DIGITS_MAX 6

enum netstring_result netstring_read(const char *bytes, size_t n, const char **content, size_t *length, size_t *used)
{
	size_t digits = 0;

	for (*length = 0; digits < n && bytes[digits] >= '0' && bytes[digits] <= '9'; digits++) {
		*length = *length * 10 + (size_t)(bytes[digits] - '0');
		/* "01:" has a second form of its length */
		if (*length > NETSTRING_MAX || digits == DIGITS_MAX || (digits == 1 && bytes[0] == '0'))
			return NETSTRING_BAD;
	}
	if (digits == n)
		return NETSTRING_MORE;
	if (digits == 0 || bytes[digits] != ':')
		return NETSTRING_BAD;
	*used = digits + 1 + *length + 1;
	if (n < *used)
		return NETSTRING_MORE;
	*content = bytes + digits + 1;
	return bytes[*used - 1] == ',' ? NETSTRING_WHOLE : NETSTRING_BAD;
}

void netstring_add(struct buf *out, const char *bytes, size_t n)
{
	buf_addu(out, n);
	buf_addc(out, ':');
	buf_add(out, bytes, n);
	buf_addc(out, ',');
}
