#include "lib/parse.h"

#include <ctype.h>
#include <string.h>

bool parse_number(const char *s, uint64_t max, uint64_t *value)
{
	uint64_t n = 0;

	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		unsigned digit = (unsigned char)*s - '0';

		if (digit > 9 || n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
		if (n > max)
			return false;
	}
	*value = n;
	return true;
}

bool parse_mode(const char *s, mode_t *mode)
{
	const size_t n = strspn(s, "01234567");

	if (n == 0 || n > 5 || s[n] != '\0')
		return false;
	*mode = 0;
	for (size_t i = 0; i < n; i++)
		*mode = *mode * 8 + (mode_t)(s[i] - '0');
	return true;
}

static int64_t unit_seconds(char unit)
{
	switch (unit) {
	case 'd': case 'D': return 86400;
	case 'h': case 'H': return 3600;
	case 'm': case 'M': return 60;
	case 's': case 'S': return 1;
	default: return 0;
	}
}

bool parse_interval(const char *s, int64_t *seconds)
{
	const int64_t limit = (int64_t)1000 * 366 * 86400;
	int64_t sum = 0;

	if (*s == '\0')
		return false;
	while (*s != '\0') {
		int64_t n = 0, unit = 1;

		if (!isdigit((unsigned char)*s))
			return false;
		for (; isdigit((unsigned char)*s); s++) {
			n = n * 10 + (*s - '0');
			if (n > limit)
				return false;
		}
		if (*s != '\0' && *s != ' ') {
			unit = unit_seconds(*s++);
			if (unit == 0)
				return false;
		}
		sum += n * unit;
		if (sum > limit)
			return false;
		while (*s == ' ' && s[1] != '\0')
			s++;
	}
	*seconds = sum;
	return true;
}

const void *parse_row(const void *table, size_t count, size_t size, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		const void *row = (const char *)table + i * size;

		if (strcmp(*(const char *const *)row, name) == 0)
			return row;
	}
	return NULL;
}
