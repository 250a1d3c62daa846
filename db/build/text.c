#include "db/build/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "db/grammar/address.h"
#include "db/grammar/idn.h"
#include "lib/alloc.h"
#include "lib/text.h"

/* A stretch of a value that stands as it is in the text: where it begins there. */
struct piece {
	size_t offset;         /* in the value */
	size_t line;
	size_t column;
};

struct parser {
	struct text_reader *reader;
	struct records *records;
	struct buf message;
	size_t errors;
	size_t line;
	bool has_nul;          /* somewhere in the text */
	bool is_eightbit;      /* as well */
	bool in_record;        /* aliases: a record has begun and may go on */
	struct record record;
	char *value;           /* of the record, as it grows in place */
	struct piece *pieces;
	size_t piece_count;
	size_t piece_capacity;
};

char text_folding(const struct text_syntax *syntax)
{
	return syntax->aliases && syntax->folding != 'u' ? 'l' : syntax->folding;
}

void text_fold(char *key, size_t n, char folding)
{
	for (size_t i = 0; i < n; i++) {
		if (folding == 'l' && key[i] >= 'A' && key[i] <= 'Z')
			key[i] = (char)(key[i] - 'A' + 'a');
		else if (folding == 'u' && key[i] >= 'a' && key[i] <= 'z')
			key[i] = (char)(key[i] - 'a' + 'A');
	}
}

size_t text_unquote(char *key, size_t n)
{
	char *end = n > 0 && key[0] == '"' ? memchr(key + 1, '"', n - 1) : NULL, *content;
	size_t length;
	bool needed;

	if (end == NULL || memchr(end, '@', (size_t)(key + n - end)) == NULL || (end[1] != '@' && end[1] != '+'))
		return n;
	length = (size_t)(end - key) - 1;
	content = xstrndup(key + 1, length);
	needed = address_needs_quotes(content);
	free(content);
	if (needed)
		return n;
	memmove(key, key + 1, length);
	memmove(key + length, end + 1, (size_t)(key + n - end) - 1);
	key[n - 2] = '\0';
	return n - 2;
}

static void tell(struct parser *p, bool is_warning, size_t line, size_t column, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

static void tell(struct parser *p, bool is_warning, size_t line, size_t column, const char *format, ...)
{
	struct fault fault = { p->reader->file, line, column, is_warning, NULL };
	va_list ap;

	buf_clear(&p->message);
	va_start(ap, format);
	buf_vaddf(&p->message, format, ap);
	va_end(ap);
	fault.text = buf_str(&p->message);
	if (!is_warning)
		p->errors++;
	p->reader->report(p->reader->report_context, &fault);
}

/* ---- what both syntaxes share --------------------------------------------------- */

/* Remembers that the value from `offset` on stands at this place of the text. */
static void add_piece(struct parser *p, size_t offset, size_t column)
{
	p->pieces = xgrow(p->pieces, p->piece_count, &p->piece_capacity, sizeof *p->pieces);
	p->pieces[p->piece_count++] = (struct piece){ offset, p->line, column };
}

/* Tells of something at a byte of the value of this record. */
static void tell_of_value(struct parser *p, bool is_warning, size_t offset, const char *text)
{
	const struct piece *piece = &p->pieces[0];

	for (size_t i = 1; i < p->piece_count && p->pieces[i].offset <= offset; i++)
		piece = &p->pieces[i];
	tell(p, is_warning, piece->line, piece->column + (offset - piece->offset), "%s", text);
}

bool text_warn_of_invisible(const char *what, const char *bytes, size_t n, size_t *at, struct buf *out)
{
	uint32_t code;

	*at = 0;
	code = text_invisible(bytes, n, at);
	if (code != 0)
		buf_addf(out, "the %s holds U+%04X, which looks like a blank or like nothing; is it meant?", what,
		         (unsigned)code);
	return code != 0;
}

bool text_warn_of_key(const char *key, size_t n, size_t *at, struct buf *out)
{
	const char *sign = memrchr(key, '@', n), *domain = sign != NULL ? sign + 1 : key;
	struct buf form = { 0 };
	bool has_other = false;

	if (text_warn_of_invisible("key", key, n, at, out))
		return true;
	/* a lookup with small letters does not find it, and that is how a domain is written anywhere else */
	n -= (size_t)(domain - key);
	if ((sign != NULL || memchr(domain, '.', n) != NULL) && text_is_eightbit(domain, n))
		has_other = idn_other_form(domain, strcspn(domain, ":") < n ? strcspn(domain, ":") : n, IDN_U_LABELS, &form);
	if (has_other)
		buf_addf(out, "the domain of the key has capitals above ASCII, or letters that are made of several characters, and is found only in this spelling; "
		         "write %s", buf_str(&form));
	*at = (size_t)(domain - key);
	buf_free(&form);
	return has_other;
}

static void finish(struct parser *p, struct record *record)
{
	struct text_reader *reader = p->reader;
	size_t size = (size_t)record->value_length + 1, offset = 0;
	const char *why = NULL;
	bool is_warning = false;

	if (reader->check != NULL && !reader->check(reader->check_context, record, &offset, &why, &is_warning))
		tell_of_value(p, is_warning, offset, why);
	if (p->is_eightbit) {
		struct buf text = { 0 };
		size_t at;

		if (text_warn_of_key(record->key, record->key_length, &at, &text))
			tell(p, true, record->line, 0, "%s", buf_str(&text));
		buf_clear(&text);
		if (text_warn_of_invisible("value", record->value, record->value_length, &at, &text))
			tell_of_value(p, true, at, buf_str(&text));
		buf_free(&text);
	}
	records_add(p->records, record);
	reader->values_size += size;
	if (size > reader->longest)
		reader->longest = size;
}

/* False if the line cannot be used whatever its syntax. */
static bool check_line(struct parser *p, const char *line, size_t n)
{
	const char *nul = p->has_nul ? memchr(line, '\0', n) : NULL;

	if (nul != NULL)
		tell(p, false, p->line, (size_t)(nul - line) + 1, "NUL byte; the rest of the line would be lost");
	else if (n > 0 && line[n - 1] == '\r')
		tell(p, false, p->line, n, "CR at the end of the line would become part of the record");
	else if (n >= UINT32_MAX)
		tell(p, false, p->line, 0, "line of more than 4 GB");
	else
		return true;
	return false;
}

/* ---- plain lines ------------------------------------------------------------------ */

/* A line in alias syntax: no address or domain ends in a colon. */
static bool has_stray_colon(const char *key, size_t n)
{
	return n > 2 && key[n - 1] == ':' && (memchr(key, '@', n) != NULL || memchr(key + 1, '.', n - 2) != NULL ||
	                                      (key[0] == '.' && memchr(key, ':', n - 1) == NULL));
}

static void plain_line(struct parser *p, char *line, size_t n)
{
	struct record record = { .line = p->line };
	size_t start = 0, end, value;

	while (start < n && ascii_is_blank(line[start]))
		start++;
	if (start == n || line[start] == '#' || !check_line(p, line, n))
		return;
	for (end = start; end < n && !ascii_is_blank(line[end]); end++)
		;
	for (value = end; value < n && ascii_is_blank(line[value]); value++)
		;
	line[n] = '\0';
	line[end] = '\0';
	if (has_stray_colon(line + start, end - start)) {
		line[--end] = '\0';
		tell(p, true, p->line, end + 1, "the key ends in a colon, which is taken away; use -a or leave it out");
	}
	end = start + text_unquote(line + start, end - start);
	text_fold(line + start, end - start, p->reader->syntax.folding);
	record.key = line + start;
	record.key_length = (uint32_t)(end - start);
	record.value = line + value;
	record.value_length = (uint32_t)(n - value);
	p->piece_count = 0;
	add_piece(p, 0, value + 1);
	finish(p, &record);
}

/* ---- aliases ------------------------------------------------------------------------ */

static void end_record(struct parser *p)
{
	if (!p->in_record)
		return;
	p->value[p->record.value_length] = '\0';
	finish(p, &p->record);
	p->in_record = false;
}

static void start_record(struct parser *p, char *line, size_t n)
{
	size_t end = text_word_length(line, n, ':'), colon = end, value;

	while (colon < n && ascii_is_blank(line[colon]))
		colon++;
	if (colon == n || line[colon] != ':') {
		tell(p, false, p->line, (colon < n ? colon : end) + 1, "expected ':' after the key");
		return;
	}
	if (end == 0) {
		tell(p, false, p->line, 1, "expected a key in front of ':'");
		return;
	}
	for (value = colon + 1; value < n && ascii_is_blank(line[value]); value++)
		;
	line[end] = '\0';
	end = text_unquote(line, end);
	text_fold(line, end, text_folding(&p->reader->syntax));
	p->record = (struct record){ .key = line, .key_length = (uint32_t)end, .value = line + value,
	                             .value_length = (uint32_t)(n - value), .line = p->line };
	p->value = line + value;
	p->in_record = true;
	p->piece_count = 0;
	add_piece(p, 0, value + 1);
}

static void continue_record(struct parser *p, const char *line, size_t n)
{
	size_t start = 0, length = p->record.value_length;

	if (!p->in_record) {
		tell(p, false, p->line, 1, "expected a key in column 1: there is no record that this line could continue");
		return;
	}
	while (length > 0 && ascii_is_blank(p->value[length - 1]))
		length--;
	if (length == 0 || p->value[length - 1] != ',') {
		tell(p, false, p->line, 1, "expected a key in column 1: the line before does not end in a comma");
		return;
	}
	while (start < n && ascii_is_blank(line[start]))
		start++;
	memmove(p->value + length, line + start, n - start);
	p->record.value_length = (uint32_t)(length + n - start);
	add_piece(p, length, start + 1);
}

static void alias_line(struct parser *p, char *line, size_t n)
{
	if (n == 0 || line[0] == '#')
		end_record(p);
	else if (ascii_is_blank(line[0])) {
		if (check_line(p, line, n))
			continue_record(p, line, n);
	} else {
		end_record(p);
		if (check_line(p, line, n))
			start_record(p, line, n);
	}
}

size_t text_read(struct text_reader *reader, struct records *records)
{
	struct parser parser = { .reader = reader, .records = records };
	char *p, *end;

	reader->values_size = reader->longest = 0;
	buf_reserve(&records->text, 1);
	p = records->text.data;
	end = p + records->text.len;
	*end = '\0';
	parser.has_nul = memchr(p, '\0', records->text.len) != NULL;
	parser.is_eightbit = text_is_eightbit(p, records->text.len);
	while (p < end) {
		char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((newline != NULL ? newline : end) - p);

		parser.line++;
		if (newline == NULL)
			tell(&parser, true, parser.line, n + 1, "no newline at the end of the file; is it complete?");
		if (reader->syntax.aliases)
			alias_line(&parser, p, n);
		else
			plain_line(&parser, p, n);
		p += n + 1;
	}
	end_record(&parser);
	free(parser.pieces);
	buf_free(&parser.message);
	return parser.errors;
}
