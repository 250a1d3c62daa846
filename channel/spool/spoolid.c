#include "channel/spool/spoolid.h"

#include <stdint.h>
#include <time.h>

static char letter(unsigned long value)
{
	return "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123abcdefghijklmnopqrstuvwxyz4567890-="[value & 63];
}

void spoolid_add(struct buf *out, const struct stat *st)
{
	unsigned long ns = (unsigned long)st->st_mtim.tv_nsec, year;
	struct tm t;

	gmtime_r(&st->st_mtim.tv_sec, &t);
	year = (unsigned long)t.tm_year + 1900;
	buf_addf(out, "S%ju%c%c%c%c%c%c%c%c", (uintmax_t)st->st_ino, letter(year >> 12), letter(year >> 6), letter(year),
	         letter((unsigned)t.tm_mon), letter((unsigned)t.tm_mday - 1), letter((unsigned)t.tm_hour),
	         letter((unsigned)t.tm_min), letter((unsigned)t.tm_sec));
	for (int shift = 24; ns != 0 && shift >= 0; shift -= 6)
		buf_addc(out, letter(ns >> shift));
}
