#include "channel/spool/dsn.h"

#include <string.h>

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
	struct buf type = { 0 }, address = { 0 };
	bool is_ours = text_typed_address(orcpt, &type, &address) &&
	               (strcmp(buf_str(&type), "rfc822") == 0 || strcmp(buf_str(&type), "utf-8") == 0);

	if (is_ours)
		buf_add(out, buf_str(&address), address.len);
	buf_free(&type);
	buf_free(&address);
	return is_ours;
}
