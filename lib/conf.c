#include "lib/conf.h"

#include <stdarg.h>
#include <string.h>
#include <sysexits.h>

#include "lib/text.h"

#define SHOWN 100    /* bytes of what was found */

struct conf_text conf_begin(const char *path, const char *text, size_t n, struct buf *why)
{
	return (struct conf_text){ .path = path, .next = text, .end = text + n, .why = why };
}

bool conf_next(struct conf_text *text)
{
	const char *lf;

	if (text->next >= text->end)
		return false;
	lf = memchr(text->next, '\n', (size_t)(text->end - text->next));
	text->line = text->next;
	text->length = (size_t)((lf != NULL ? lf : text->end) - text->line);
	text->next = lf != NULL ? lf + 1 : text->end;
	text->number++;
	return true;
}

bool conf_has_nul(const struct conf_text *text)
{
	return memchr(text->line, '\0', text->length) != NULL;
}

int conf_error(const struct conf_text *text, const char *format, ...)
{
	va_list ap;

	buf_addf(text->why, "%s:%zu: ", text->path, text->number);
	va_start(ap, format);
	buf_vaddf(text->why, format, ap);
	va_end(ap);
	return EX_CONFIG;
}

int conf_expected(const struct conf_text *text, const char *what, const char *found, size_t n)
{
	conf_error(text, "expected %s, found ", what);
	conf_add_found(text->why, found, n);
	return EX_CONFIG;
}

void conf_add_found(struct buf *out, const char *bytes, size_t n)
{
	size_t at = 0;

	buf_addc(out, '"');
	text_add_clean(out, bytes, n, SHOWN);
	buf_addc(out, '"');
	if (text_invisible(bytes, n, &at) != 0) {
		buf_adds(out, " with ");
		text_add_invisible(out, bytes, n);
	}
}
