#include "channel/spool/spoolid.h"

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
	buf_addc(out, 'S');
	buf_addu(out, st->st_ino);
	buf_addc(out, letter(year >> 12));
	buf_addc(out, letter(year >> 6));
	buf_addc(out, letter(year));
	buf_addc(out, letter((unsigned)t.tm_mon));
	buf_addc(out, letter((unsigned)t.tm_mday - 1));
	buf_addc(out, letter((unsigned)t.tm_hour));
	buf_addc(out, letter((unsigned)t.tm_min));
	buf_addc(out, letter((unsigned)t.tm_sec));
	for (int shift = 24; ns != 0 && shift >= 0; shift -= 6)
		buf_addc(out, letter(ns >> shift));
}
