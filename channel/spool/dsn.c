#include "channel/spool/dsn.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

void dsn_add_xtext(struct buf *out, const char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < '!' || c > '~' || c == '+' || c == '=')
			buf_addf(out, "+%02X", c);
		else
			buf_addc(out, *s);
	}
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void dsn_add_readable(struct buf *out, const char *orcpt)
{
	if (strncasecmp(orcpt, "rfc822;", 7) == 0)
		orcpt += 7;
	for (; *orcpt != '\0'; orcpt++) {
		int high = orcpt[0] == '+' ? hex(orcpt[1]) : -1, low = high >= 0 ? hex(orcpt[2]) : -1;

		/* a NUL would end it */
		if (low >= 0 && high + low > 0) {
			buf_addc(out, (char)(high * 16 + low));
			orcpt += 2;
		} else {
			buf_addc(out, *orcpt);
		}
	}
}

void dsn_add(struct buf *out, const char *notify, const char *orcpt, const char *recipient, const char *sender)
{
	if (notify != NULL)
		buf_addf(out, "NOTIFY=%s ", notify);
	if (orcpt != NULL) {
		buf_addf(out, "ORCPT=%s", orcpt);
	} else {
		buf_adds(out, "ORCPT=rfc822;");
		dsn_add_xtext(out, recipient);
	}
	buf_adds(out, " INRCPT=rfc822;");
	dsn_add_xtext(out, recipient);
	buf_adds(out, " INFROM=rfc822;");
	if (sender != NULL)
		dsn_add_xtext(out, sender);
}
