#include "lib/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_TYPE 40    /* of an address in another system */

bool text_has_controls(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)bytes[i] < ' ' || bytes[i] == 127)
			return true;
	return false;
}

/* The length of the valid sequence at s and what it stands for; 0 without one. */
static size_t decode(const char *s, size_t n, uint32_t *code)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t want;
	uint32_t c, least;

	if (n == 0)
		return 0;
	*code = u[0];
	if (u[0] < 0x80)
		return 1;
	if (u[0] >= 0xc2 && u[0] <= 0xdf) {
		want = 2, c = u[0] & 0x1f, least = 0x80;
	} else if (u[0] >= 0xe0 && u[0] <= 0xef) {
		want = 3, c = u[0] & 0x0f, least = 0x800;
	} else if (u[0] >= 0xf0 && u[0] <= 0xf4) {
		want = 4, c = u[0] & 0x07, least = 0x10000;
	} else {
		return 0;
	}
	if (n < want)
		return 0;
	for (size_t i = 1; i < want; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (u[i] & 0x3f);
	}
	if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*code = c;
	return want;
}

size_t text_utf8_length(const char *s, size_t n)
{
	uint32_t code;

	return decode(s, n, &code);
}

uint32_t text_invisible(const char *s, size_t n, size_t *at)
{
	/* not U+200C and U+200D, which some languages need within words */
	static const struct { uint32_t first, last; } ranges[] = {
		{ 0xa0, 0xa0 }, { 0xad, 0xad }, { 0x34f, 0x34f }, { 0x61c, 0x61c }, { 0x115f, 0x1160 }, { 0x1680, 0x1680 },
		{ 0x180e, 0x180e }, { 0x2000, 0x200b }, { 0x200e, 0x200f }, { 0x2028, 0x202f }, { 0x205f, 0x206f },
		{ 0x2800, 0x2800 }, { 0x3000, 0x3000 }, { 0x3164, 0x3164 }, { 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 },
	};
	uint32_t code = 0;

	for (size_t length; *at < n; *at += length > 0 ? length : 1) {
		/* most of it is ASCII */
		length = (unsigned char)s[*at] < 0x80 ? 1 : decode(s + *at, n - *at, &code);
		if (length < 2)
			continue;
		for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
			if (code >= ranges[i].first && code <= ranges[i].last)
				return code;
	}
	return 0;
}

bool text_add_invisible(struct buf *out, const char *s, size_t n)
{
	size_t at = 0;
	uint32_t code = text_invisible(s, n, &at);

	if (code != 0)
		buf_addf(out, "U+%04X, which looks like a blank or like nothing", (unsigned)code);
	return code != 0;
}

void text_strip(const char **bytes, size_t *n)
{
	for (; *n > 0 && **bytes == ' '; --*n)
		++*bytes;
	while (*n > 0 && (*bytes)[*n - 1] == ' ')
		--*n;
}

bool text_is_eightbit(const char *s, size_t n)
{
	size_t i = 0;

	/* of the text of a large map all is looked at: eight at a time */
	for (uint64_t word; n - i >= sizeof word; i += sizeof word) {
		memcpy(&word, s + i, sizeof word);
		if ((word & UINT64_C(0x8080808080808080)) != 0)
			return true;
	}
	for (; i < n; i++)
		if ((unsigned char)s[i] > 127)
			return true;
	return false;
}

bool text_is_utf8(const char *s, size_t n)
{
	for (size_t i = 0, length; i < n; i += length)
		if ((length = text_utf8_length(s + i, n - i)) == 0)
			return false;
	return true;
}

/* U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069: what would show the rest of a line elsewhere. */
static bool turns_text(const char *s)
{
	unsigned char last = (unsigned char)s[2];

	if (memcmp(s, "\xe2\x80", 2) == 0)
		return last == 0x8e || last == 0x8f || (last >= 0xa8 && last <= 0xae);
	return memcmp(s, "\xe2\x81", 2) == 0 && last >= 0xa6 && last <= 0xa9;
}

static bool is_control(const char *s, size_t length)
{
	unsigned char c = (unsigned char)s[0];

	if (length == 1)
		return c < ' ' || c == 127;
	/* U+0080 to U+009F, the controls of the upper half */
	if (length == 2)
		return c == 0xc2 && (unsigned char)s[1] < 0xa0;
	return length == 3 && turns_text(s);
}

void text_add_clean(struct buf *out, const char *bytes, size_t n, size_t cap)
{
	size_t start = out->len, i = 0;
	size_t keep = cap > 3 ? cap - 3 : 0, boundary = start;   /* where a cut can leave room for the dots */
	bool blank = false;

	while (i < n) {
		size_t used = out->len - start, room = n - i < cap - used ? n - i : cap - used, run = 0;
		const char *from = bytes + i;
		size_t length, take;

		/* printable ASCII */
		while (run < room && from[run] >= ' ' && from[run] < 127)
			run++;
		if (run > 0) {
			buf_add(out, from, run);
			i += run;
			blank = false;
			if (used <= keep)
				boundary = start + (used + run < keep ? used + run : keep);
			continue;
		}
		length = take = text_utf8_length(from, n - i);
		i += length ? length : 1;
		if (length == 0) {
			from = "?", take = 1, blank = false;
		} else if (is_control(from, length)) {
			if (blank)
				continue;
			from = " ", take = 1, blank = true;
		} else {
			blank = false;
		}
		if (out->len - start + take > cap) {
			out->len = boundary;
			buf_add(out, "...", cap < 3 ? cap : 3);
			return;
		}
		buf_add(out, from, take);
		if (out->len - start <= keep)
			boundary = out->len;
	}
}

void text_add_clean_string(struct buf *out, const char *s, size_t cap)
{
	text_add_clean(out, s, strlen(s), cap);
}

void text_add_clean_lines(struct buf *out, const char *indent, const char *bytes, size_t n, size_t cap)
{
	while (n > 0) {
		const char *lf = memchr(bytes, '\n', n);
		size_t length = lf != NULL ? (size_t)(lf - bytes) : n;

		buf_adds(out, indent);
		text_add_clean(out, bytes, length, cap);
		buf_addc(out, '\n');
		bytes += length + (lf != NULL);
		n -= length + (lf != NULL);
	}
}

void text_add_xtext_decoded(struct buf *out, const char *s)
{
	while (*s != '\0') {
		int high = *s == '+' ? ascii_hex(s[1]) : -1, low = high >= 0 ? ascii_hex(s[2]) : -1;

		if (low >= 0)
			buf_addc(out, high + low == 0 ? '?' : (char)(high * 16 + low));
		else
			buf_addc(out, *s);
		s += low >= 0 ? 3 : 1;
	}
}

/* "\x{FC}": the length of it and its character; 0 if it is none. */
static size_t escaped_char(const char *s, uint32_t *c)
{
	char *rest;
	unsigned long value;

	if (strncmp(s, "\\x{", 3) != 0 || strspn(s + 3, "0123456789abcdefABCDEF") == 0)
		return 0;
	value = strtoul(s + 3, &rest, 16);
	if (*rest != '}' || rest - s > 9 || value < 0x20 || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*c = (uint32_t)value;
	return (size_t)(rest + 1 - s);
}

static void add_char(struct buf *out, uint32_t c)
{
	if (c < 0x80) {
		buf_addc(out, (char)c);
		return;
	}
	if (c < 0x800) {
		buf_addc(out, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buf_addc(out, (char)(0xe0 | c >> 12));
		} else {
			buf_addc(out, (char)(0xf0 | c >> 18));
			buf_addc(out, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		buf_addc(out, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	buf_addc(out, (char)(0x80 | (c & 0x3f)));
}

void text_add_utf8_xtext_decoded(struct buf *out, const char *s)
{
	while (*s != '\0') {
		uint32_t c;
		size_t n = escaped_char(s, &c);

		if (n > 0)
			add_char(out, c);
		else
			buf_addc(out, *s);
		s += n > 0 ? n : 1;
	}
}

bool text_typed_address(const char *s, struct buf *type, struct buf *address)
{
	const char *semicolon = s != NULL ? strchr(s, ';') : NULL;

	if (semicolon == NULL || semicolon == s || semicolon - s > LONGEST_TYPE || semicolon[1] == '\0')
		return false;
	for (const char *p = s; p < semicolon; p++) {
		if (strchr("()<>@,;:\\\"/[]?=.", *p) != NULL || *p <= ' ' || *p >= 127)
			return false;
		buf_addc(type, ascii_lower(*p));
	}
	if (strcmp(buf_str(type), "utf-8") == 0)
		text_add_utf8_xtext_decoded(address, semicolon + 1);
	else
		text_add_xtext_decoded(address, semicolon + 1);
	return true;
}

void text_add_json(struct buf *out, const char *s, size_t n)
{
	buf_addc(out, '"');
	for (size_t i = 0; i < n;) {
		uint32_t code;
		size_t length = decode(s + i, n - i, &code);

		if (length == 0)
			buf_adds(out, "\\ufffd");
		else if (code == '"' || code == '\\')
			buf_addf(out, "\\%c", (char)code);
		/* also what a terminal would obey when such a line is shown */
		else if (is_control(s + i, length))
			buf_addf(out, "\\u%04x", (unsigned)code);
		else
			buf_add(out, s + i, length);
		i += length > 0 ? length : 1;
	}
	buf_addc(out, '"');
}

void text_add_date(struct buf *out, time_t when)
{
	struct tm t;

	localtime_r(&when, &t);
	text_add_date_zone(out, when, t.tm_gmtoff);
}

void text_add_date_zone(struct buf *out, time_t when, long offset)
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	long minutes = (offset < 0 ? -offset : offset) / 60;
	struct tm t = { 0 };

	when += offset;
	gmtime_r(&when, &t);
	buf_addf(out, "%.3s, %02d %.3s %04d %02d:%02d:%02d %c%02ld%02ld", days + (size_t)t.tm_wday * 3, t.tm_mday,
	         months + (size_t)t.tm_mon * 3, t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec, offset < 0 ? '-' : '+',
	         minutes / 60 % 100, minutes % 60);
}

/*
 * The length of a local part that holds nothing but atoms and dots and is no dot-string all the same, as a dot stands
 * at its end or beside another one (RFC 5321 section 4.1.2); 0 for all others.
 */
static size_t loose_dots(const char *address)
{
	const char *at = strrchr(address, '@');
	size_t n = at != NULL ? (size_t)(at - address) : strlen(address);
	bool loose = n > 0 && (address[0] == '.' || address[n - 1] == '.');

	/* mostly there is none */
	if (memchr(address, '.', n) == NULL)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (address[i] != '.' && !text_is_atext(address[i]))
			return 0;
		loose |= i > 0 && address[i] == '.' && address[i - 1] == '.';
	}
	return loose ? n : 0;
}

void text_add_address(struct buf *out, const char *address)
{
	size_t n = loose_dots(address);

	if (n > 0) {
		buf_addc(out, '"');
		buf_add(out, address, n);
		buf_addc(out, '"');
	}
	buf_adds(out, address + n);
}

char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

int ascii_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void ascii_lower_string(char *s)
{
	for (; *s != '\0'; s++)
		*s = ascii_lower(*s);
}

int text_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool text_same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool text_add_unescaped(struct buf *out, const char *text, size_t n, char mark)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] != mark) {
			buf_addc(out, text[i]);
			continue;
		}
		if (i + 2 >= n || ascii_hex(text[i + 1]) < 0 || ascii_hex(text[i + 2]) < 0)
			return false;
		buf_addc(out, (char)(ascii_hex(text[i + 1]) * 16 + ascii_hex(text[i + 2])));
		i += 2;
	}
	return true;
}

size_t text_word_length(const char *line, size_t n, char stop)
{
	bool quoted = false;
	size_t i;

	for (i = 0; i < n && (quoted || !(ascii_is_blank(line[i]) || line[i] == stop)); i++) {
		if (line[i] == '\\' && i + 1 < n)
			i++;
		else if (line[i] == '"')
			quoted = !quoted;
	}
	return i;
}

bool text_is_among(const char *s, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

bool text_ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

bool ascii_equal(const char *a, const char *b)
{
	for (; ascii_lower(*a) == ascii_lower(*b); a++, b++)
		if (*a == '\0')
			return true;
	return false;
}

size_t text_mark(const char *text, size_t n)
{
	return n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

size_t text_unmark(char *text, size_t n)
{
	size_t skip = text_mark(text, n), to, from;
	const char *cr = n > skip ? memchr(text + skip, '\r', n - skip) : NULL;

	if (cr == NULL && skip == 0)
		return n;
	from = cr != NULL ? (size_t)(cr - text) : n;
	to = from - skip;
	memmove(text, text + skip, to);
	for (; from < n; from++)
		if (text[from] != '\r' || (from + 1 < n && text[from + 1] != '\n'))
			text[to++] = text[from];
	text[to] = '\0';
	return to;
}
