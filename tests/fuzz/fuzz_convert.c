/*
 * Any bytes as a message on its way to a server without 8BITMIME: its header comes out in ASCII and with no field that
 * was not there, and the whole ends where it was measured.  The first byte chooses between that and decoding.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/message/convert.h"
#include "lib/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_body(struct body *body, const char *bytes, size_t n)
{
	FILE *file = tmpfile();
	struct stat st = { 0 };
	struct buf why = { 0 };

	if (file == NULL || fwrite(bytes, 1, n, file) != n || fflush(file) != 0 ||
	    body_adopt(body, dup(fileno(file)), &st, &why) != BODY_OK)
		abort();
	fclose(file);
}

static size_t count_fields(const char *p, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		if (p[i] == '\n' && (i + 1 == n || (p[i + 1] != ' ' && p[i + 1] != '\t')))
			count++;
	return count;
}

/* Converts and writes everything; fields that MIME asks for may be added. */
static void convert(const char *fields, size_t n, const struct body *body, unsigned conversions, struct buf *wire)
{
	struct buf why = { 0 };
	struct source source = { 0 };
	struct header header, plain;
	struct body converted;

	if (!convert_message(fields, n, body, conversions, "iso-8859-1", &header, &converted, &why))
		abort();
	header_init(&plain, fields, n);
	if (count_fields(header.wire.data, header.wire.len) > count_fields(plain.wire.data, plain.wire.len) + 4)
		abort();
	if ((conversions & CONVERT_HEADERS) && header.eightbit)
		abort();
	source_init(&source, &header, &converted, false);
	while (source_next(&source, wire, &why) == SOURCE_MORE)
		;
	if (why.len > 0 || wire->len != source_size(&header, &converted))
		abort();
	source_free(&source);
	header_free(&header);
	header_free(&plain);
	body_close(&converted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1, *end;
	unsigned conversions;
	size_t n;
	struct body body;
	struct buf wire = { 0 };

	if (size == 0)
		return 0;
	conversions = data[0] & 1 ? CONVERT_DECODE : data[0] & 2 ? CONVERT_TO_7BIT : CONVERT_TO_7BIT | CONVERT_HEADERS;
	end = memmem(text, size - 1, "\n\n", 2);
	n = end != NULL ? (size_t)(end - text) + 1 : size - 1;
	make_body(&body, end != NULL ? end + 2 : text, end != NULL ? size - 2 - n : 0);
	convert_allowed(text, n);
	convert(text, n, &body, conversions, &wire);
	body_close(&body);
	buf_free(&wire);
	return 0;
}
