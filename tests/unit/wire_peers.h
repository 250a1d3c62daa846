/*
 * How different servers see the end of a message sent by DATA, and what a
 * message is meant to be: for tests and fuzzing of what goes over the wire.
 */
#ifndef ZL_TESTS_UNIT_WIRE_PEERS_H
#define ZL_TESTS_UNIT_WIRE_PEERS_H

#include <stdbool.h>
#include <string.h>

#include "channel/message/wire.h"
#include "lib/buf.h"

enum wire_peer {
	PEER_STRICT,       /* a line ends with CR LF and nothing else (RFC 5321, Postfix) */
	PEER_LF,           /* with LF or CR LF (Dovecot: ends at LF.LF) */
	PEER_CR_CR_LF,     /* with LF and any number of CR before it (Cyrus: ends at CR CR LF.CR CR LF) */
	PEER_ANY,          /* with CR, LF or CR LF */
	PEERS,
};

/* The length of the line end at p, 0 if there is none. */
static inline size_t wire_line_end(enum wire_peer peer, const char *p, const char *end)
{
	const char *q = p;

	switch (peer) {
	case PEER_STRICT:
		return end - p >= 2 && p[0] == '\r' && p[1] == '\n' ? 2 : 0;
	case PEER_LF:
		q += *p == '\r';
		return q < end && *q == '\n' ? (size_t)(q + 1 - p) : 0;
	case PEER_CR_CR_LF:
		while (q < end && *q == '\r')
			q++;
		return q < end && *q == '\n' ? (size_t)(q + 1 - p) : 0;
	case PEER_ANY:
	case PEERS:
		break;
	}
	if (*p == '\r')
		return end - p >= 2 && p[1] == '\n' ? 2 : 1;
	return *p == '\n';
}

/*
 * What the peer takes for the message, its lines ended by LF.  Returns the number of bytes up to
 * and with the end that it sees; whatever follows it would take for commands.  0 if it sees no
 * end at all.
 */
static inline size_t wire_receive(enum wire_peer peer, const char *bytes, size_t n, struct buf *message)
{
	const char *p = bytes, *end = bytes + n, *line = p;

	while (p < end) {
		size_t length = wire_line_end(peer, p, end);

		if (length == 0) {
			p++;
			continue;
		}
		if (p - line == 1 && *line == '.')
			return (size_t)(p + length - bytes);
		if (line < p && *line == '.')
			line++;
		buf_add(message, line, (size_t)(p - line));
		buf_addc(message, '\n');
		p += length;
		line = p;
	}
	return 0;
}

/* What a body is meant to be: CR LF, CR and LF each end a line, NUL is nothing, the last line has an end. */
static inline void wire_meant(const char *bytes, size_t n, struct buf *message)
{
	bool in_line = false;

	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n' && i > 0 && bytes[i - 1] == '\r')
			continue;
		if (bytes[i] == '\r' || bytes[i] == '\n') {
			buf_addc(message, '\n');
			in_line = false;
		} else if (bytes[i] != '\0') {
			buf_addc(message, bytes[i]);
			in_line = true;
		}
	}
	if (in_line)
		buf_addc(message, '\n');
}

/* One message in pieces of the given size (0: as one), by DATA if `stuffed`, else as BDAT sends it. */
static inline void wire_send(const char *bytes, size_t n, size_t piece, bool stuffed, struct buf *out)
{
	struct wire wire = { 0 };
	struct buf wired = { 0 };
	bool line_start = true;

	for (size_t at = 0, length; at < n; at += length) {
		length = piece == 0 || n - at < piece ? n - at : piece;
		buf_clear(&wired);
		wire_add(&wire, &wired, bytes + at, length);
		if (stuffed)
			wire_stuff(&line_start, out, buf_str(&wired), wired.len);
		else
			buf_add(out, buf_str(&wired), wired.len);
	}
	buf_clear(&wired);
	wire_end(&wire, &wired);
	if (stuffed)
		wire_stuff(&line_start, out, buf_str(&wired), wired.len);
	else
		buf_add(out, buf_str(&wired), wired.len);
	if (stuffed)
		buf_adds(out, ".\r\n");
	buf_free(&wired);
}

#endif
