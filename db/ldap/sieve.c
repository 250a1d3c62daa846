#include "db/ldap/sieve.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/buf.h"

#define READ_AHEAD 16384

/*
 * An attribute of so many bytes stays, with the small ones before it up to so many; a name and the controls have at most as
 * many.
 */
#define SMALL 4096
#define ENOUGH 65536

/* Tags (RFC 4511 section 4.2). */
#define INTEGER 0x02
#define OCTETS 0x04
#define SEQUENCE 0x30
#define ENTRY 0x64

/* SEQUENCE { SIEVE_MARK, SET { "" } } */
#define MARK "\x30\x14\x04\x0e" SIEVE_MARK "\x31\x02\x04\x00"

#define LONGEST_HEADER 10

/* What comes next. */
enum step { MESSAGE, ID, OPERATION, NAME, ATTRIBUTES, ATTRIBUTE, CONTROLS };

struct sieve {
	ber_len_t largest;
	enum step step;
	unsigned char in[READ_AHEAD];
	size_t at, end;          /* what was read and not looked at yet */
	struct buf element;      /* what has come of the next element */
	struct buf seen;         /* of the message, in front of it: it may yet be let through */
	struct buf id, name, kept;
	uint64_t left;           /* bytes of the message behind `seen` */
	uint64_t controls;       /* of these, behind the entry */
	uint64_t attributes;     /* of these, attributes that come yet */
	uint64_t pass, drop;     /* of the next bytes so many go through, or are thrown away */
	struct buf out;          /* goes out before all of that */
	size_t given;            /* of it */
	bool is_broken;
};

/* ---- elements (X.690) --------------------------------------------------------------------- */

struct header {
	unsigned char tag;
	size_t length;           /* of the header */
	uint64_t content;
};

/* Takes bytes until the element has as many as `wanted`; false if they have not come yet. */
static bool gather(struct sieve *s, uint64_t wanted)
{
	const size_t has = s->end - s->at, lacks = wanted > s->element.len ? (size_t)(wanted - s->element.len) : 0;
	const size_t n = has < lacks ? has : lacks;

	buf_add(&s->element, s->in + s->at, n);
	s->at += n;
	return n == lacks;
}

/* The header of the next element; false if it has not come yet. */
static bool gather_header(struct sieve *s, struct header *h)
{
	const unsigned char *p;
	size_t digits;

	if (!gather(s, 2))
		return false;
	p = (const unsigned char *)s->element.data;
	digits = p[1] < 0x80 ? 0 : p[1] & 0x7f;
	if (digits > LONGEST_HEADER - 2 || p[1] == 0x80) {
		*h = (struct header){ .length = 2 };
		return true;
	}
	if (!gather(s, 2 + digits))
		return false;
	p = (const unsigned char *)s->element.data;
	*h = (struct header){ .tag = p[0], .length = 2 + digits, .content = digits == 0 ? p[1] : 0 };
	for (size_t i = 0; i < digits; i++)
		h->content = h->content << 8 | p[2 + i];
	return true;
}

static void add_element(struct buf *out, unsigned char tag, const struct buf *content)
{
	buf_addc(out, (char)tag);
	buf_addc(out, (char)0x84);
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_addc(out, (char)(content->len >> shift & 0xff));
	buf_add(out, buf_str(content), content->len);
}

/* ---- a message ------------------------------------------------------------------------------ */

static void begin_message(struct sieve *s)
{
	s->step = MESSAGE;
	buf_clear(&s->element);
	buf_clear(&s->seen);
	buf_clear(&s->id);
	buf_clear(&s->name);
	buf_clear(&s->kept);
}

/* Whatever it is, it is not for us. */
static void let_through(struct sieve *s, uint64_t left)
{
	buf_add(&s->out, buf_str(&s->seen), s->seen.len);
	buf_add(&s->out, buf_str(&s->element), s->element.len);
	s->pass = left;
	begin_message(s);
}

/* The element, which is a part of the message, was looked at. */
static void step_over(struct sieve *s, enum step next)
{
	buf_add(&s->seen, buf_str(&s->element), s->element.len);
	s->left -= s->element.len;
	buf_clear(&s->element);
	s->step = next;
}

/* Takes the whole element, which has this tag and is a small one, into `copy`; otherwise the message is let through. */
static bool take_whole(struct sieve *s, const struct header *h, unsigned char tag, struct buf *copy, enum step next)
{
	if (h->tag != tag || h->content > ENOUGH || h->length + h->content > s->left) {
		let_through(s, s->left > s->element.len ? s->left - s->element.len : 0);
		return true;
	}
	if (!gather(s, h->length + h->content))
		return false;
	buf_add(copy, buf_str(&s->element), s->element.len);
	step_over(s, next);
	return true;
}

static void give_entry(struct sieve *s)
{
	struct buf entry = { 0 }, message = { 0 };

	buf_add(&s->kept, MARK, sizeof MARK - 1);
	buf_add(&entry, buf_str(&s->name), s->name.len);
	add_element(&entry, SEQUENCE, &s->kept);
	buf_add(&message, buf_str(&s->id), s->id.len);
	add_element(&message, ENTRY, &entry);
	buf_add(&message, buf_str(&s->element), s->element.len);
	add_element(&s->out, SEQUENCE, &message);
	buf_free(&entry);
	buf_free(&message);
	begin_message(s);
}

/* Small ones are kept, entryUUID and entryCSN among them. */
static bool take_attribute(struct sieve *s, const struct header *h)
{
	const uint64_t size = h->length + h->content;

	if (h->tag != SEQUENCE || h->content > s->attributes || size > s->attributes) {
		s->is_broken = true;
		return false;
	}
	if (h->content > SMALL || s->kept.len + size > ENOUGH)
		s->drop = h->content;
	else if (!gather(s, size))
		return false;
	else
		buf_add(&s->kept, buf_str(&s->element), s->element.len);
	s->attributes -= size;
	buf_clear(&s->element);
	return true;
}

/* False if more has to come before anything is known. */
static bool look(struct sieve *s)
{
	struct header h;
	bool is_right;

	if (s->step == ATTRIBUTE && s->attributes == 0)
		s->step = CONTROLS;
	if (s->step == CONTROLS) {
		if (!gather(s, s->controls))
			return false;
		give_entry(s);
		return true;
	}
	if (!gather_header(s, &h))
		return false;
	switch (s->step) {
	case MESSAGE:
		if (h.tag != SEQUENCE || h.content <= s->largest || h.content > UINT32_MAX) {
			let_through(s, h.content);
		} else {
			s->left = h.content + h.length;
			step_over(s, ID);
		}
		return true;
	case ID:
		return take_whole(s, &h, INTEGER, &s->id, OPERATION);
	case OPERATION:
		is_right = h.tag == ENTRY && h.content <= s->left && h.length <= s->left - h.content
			&& s->left - h.content - h.length <= ENOUGH;
		s->controls = is_right ? s->left - h.content - h.length : 0;
		break;
	case NAME:
		return take_whole(s, &h, OCTETS, &s->name, ATTRIBUTES);
	case ATTRIBUTES:
		is_right = h.tag == SEQUENCE && h.content <= s->left && s->left - h.content == h.length + s->controls;
		s->attributes = h.content;
		break;
	default:
		return take_attribute(s, &h);
	}
	if (is_right)
		step_over(s, s->step + 1);
	else
		let_through(s, s->left > s->element.len ? s->left - s->element.len : 0);
	return true;
}

/* ---- a layer below libldap --------------------------------------------------------------------- */

/* What can be handed over of what was read. */
static size_t take(struct sieve *s, char *bytes, size_t n)
{
	size_t done = 0;

	while (done < n && !s->is_broken) {
		const size_t has = s->end - s->at, waits = s->out.len - s->given, lacks = n - done;

		if (waits > 0) {
			const size_t m = waits < lacks ? waits : lacks;

			memcpy(bytes + done, s->out.data + s->given, m);
			done += m;
			s->given += m;
		} else if (s->pass > 0 || s->drop > 0) {
			const uint64_t most = s->pass > 0 ? (s->pass < lacks ? s->pass : lacks) : s->drop;
			const size_t m = has < most ? has : (size_t)most;

			if (m == 0)
				break;
			if (s->pass > 0) {
				memcpy(bytes + done, s->in + s->at, m);
				done += m;
				s->pass -= m;
			} else {
				s->drop -= m;
			}
			s->at += m;
		} else {
			buf_clear(&s->out);
			s->given = 0;
			if (!look(s))
				break;
		}
	}
	return done;
}

static ber_slen_t sieve_read(Sockbuf_IO_Desc *layer, void *bytes, ber_len_t n)
{
	struct sieve *s = layer->sbiod_pvt;
	size_t done = 0;

	for (;;) {
		ber_slen_t got;

		done += take(s, (char *)bytes + done, n - done);
		if (done == n)
			return (ber_slen_t)done;
		if (s->is_broken) {
			errno = EBADMSG;
			return done > 0 ? (ber_slen_t)done : -1;
		}
		got = LBER_SBIOD_READ_NEXT(layer, s->in, sizeof s->in);
		if (got <= 0)
			return done > 0 ? (ber_slen_t)done : got;
		s->at = 0;
		s->end = (size_t)got;
	}
}

static ber_slen_t sieve_write(Sockbuf_IO_Desc *layer, void *bytes, ber_len_t n)
{
	return LBER_SBIOD_WRITE_NEXT(layer, bytes, n);
}

static int sieve_ctrl(Sockbuf_IO_Desc *layer, int option, void *argument)
{
	const struct sieve *s = layer->sbiod_pvt;

	if (option == LBER_SB_OPT_DATA_READY && (s->at < s->end || s->given < s->out.len))
		return 1;
	return LBER_SBIOD_CTRL_NEXT(layer, option, argument);
}

static int sieve_setup(Sockbuf_IO_Desc *layer, void *argument)
{
	struct sieve *s = xcalloc(1, sizeof *s);

	s->largest = *(const ber_len_t *)argument;
	layer->sbiod_pvt = s;
	return 0;
}

static int sieve_remove(Sockbuf_IO_Desc *layer)
{
	struct sieve *s = layer->sbiod_pvt;

	buf_free(&s->element);
	buf_free(&s->seen);
	buf_free(&s->id);
	buf_free(&s->name);
	buf_free(&s->kept);
	buf_free(&s->out);
	free(s);
	layer->sbiod_pvt = NULL;
	return 0;
}

bool sieve_begin(Sockbuf *socket, ber_len_t largest)
{
	static Sockbuf_IO layer = {
		.sbi_setup = sieve_setup, .sbi_remove = sieve_remove, .sbi_ctrl = sieve_ctrl, .sbi_read = sieve_read,
		.sbi_write = sieve_write,
	};

	return ber_sockbuf_add_io(socket, &layer, LBER_SBIOD_LEVEL_APPLICATION, &largest) == 0;
}
