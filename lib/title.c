#include "lib/title.h"

#include <stdarg.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/text.h"

static char *area;
static size_t size;

void title_init(int argc, char **argv)
{
	char *end = argv[0];

	/* the kernel lays the arguments one behind the other */
	for (int i = 0; i < argc; i++) {
		if (argv[i] != end)
			break;
		end = argv[i] + strlen(argv[i]) + 1;
	}
	area = argv[0];
	size = (size_t)(end - argv[0]);
}

void title_set(const char *format, ...)
{
	struct buf text = { 0 }, clean = { 0 };
	va_list ap;
	size_t n;

	if (size < 2)
		return;
	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	text_add_clean(&clean, buf_str(&text), text.len, size - 1);
	n = clean.len;
	memcpy(area, buf_str(&clean), n);
	memset(area + n, '\0', size - n);
	buf_free(&text);
	buf_free(&clean);
}
