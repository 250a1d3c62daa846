/*
 * convert [-8]: makes the message on standard input, with LF line ends, fit for a server without 8BITMIME, or decodes
 * it with -8, and writes it as the server would get it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/message/convert.h"

static void read_all(struct buf *message)
{
	char bytes[4096];
	size_t n;

	while ((n = fread(bytes, 1, sizeof bytes, stdin)) > 0)
		buf_add(message, bytes, n);
}

int main(int argc, char **argv)
{
	unsigned conversions = argc > 1 && strcmp(argv[1], "-8") == 0 ? CONVERT_DECODE : CONVERT_TO_7BIT | CONVERT_HEADERS;
	/* kept to the end */
	static struct buf message, why, wire;
	static struct body body, converted;
	static struct header header;
	static struct source source;
	struct stat st = { 0 };
	FILE *file = tmpfile();
	const char *text, *end;
	size_t fields;

	read_all(&message);
	text = buf_str(&message);
	end = strstr(text, "\n\n");
	fields = end != NULL ? (size_t)(end - text) + 1 : message.len;
	if (file == NULL || (end != NULL && fwrite(end + 2, 1, message.len - fields - 1, file) != message.len - fields - 1) ||
	    fflush(file) != 0 || body_adopt(&body, dup(fileno(file)), &st, &why) != BODY_OK)
		return 1;
	if (!convert_allowed(text, fields)) {
		header_init(&header, text, fields);
		converted = body;
	} else if (!convert_message(text, fields, &body, conversions, "iso-8859-1", &header, &converted, &why)) {
		return 1;
	}
	source_init(&source, &header, &converted, false);
	while (source_next(&source, &wire, &why) == SOURCE_MORE)
		;
	return fwrite(wire.data, 1, wire.len, stdout) == wire.len ? 0 : 1;
}
