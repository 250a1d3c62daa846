#include "channel/spool/dsn.h"

#include <string.h>
#include <strings.h>

#include "lib/text.h"

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
	if (orcpt == NULL)
		buf_adds(out, " ORCPTFROM=INRCPT");
}

bool dsn_original(struct buf *out, const char *orcpt)
{
	const char *semicolon = strchr(orcpt, ';');

	if (semicolon == NULL || (strncasecmp(orcpt, "rfc822;", 7) != 0 && strncasecmp(orcpt, "utf-8;", 6) != 0))
		return false;
	if (ascii_lower(orcpt[0]) == 'u')
		text_add_utf8_xtext_decoded(out, semicolon + 1);
	else
		text_add_xtext_decoded(out, semicolon + 1);
	return true;
}
