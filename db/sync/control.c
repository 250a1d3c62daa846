#include "db/sync/control.h"

#include <stdlib.h>
#include <string.h>

#include <lber.h>

#include "lib/alloc.h"

bool sync_request_encode(enum sync_mode mode, const struct buf *cookie, struct berval *value)
{
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	bool ok;

	if (ber == NULL)
		return false;
	ok = ber_printf(ber, "{e", (ber_int_t)mode) != -1;
	if (ok && cookie->len > 0)
		ok = ber_printf(ber, "o", cookie->data, (ber_len_t)cookie->len) != -1;
	/* reloadHint stays false: a server that cannot go on from the cookie says so, and we decide */
	ok = ok && ber_printf(ber, "N}") != -1 && ber_flatten2(ber, value, 1) != -1;
	ber_free(ber, 1);
	return ok;
}

/* ---- pieces --------------------------------------------------------------- */

/* A reader over a copy, as liblber writes NULs into what it reads; NULL for nothing, which liblber would not survive. */
static BerElement *reader_of(const struct berval *value)
{
	struct berval copy = *value;

	return value->bv_val != NULL && value->bv_len > 0 ? ber_init(&copy) : NULL;
}

/* The next element's tag; LBER_DEFAULT at the end. */
static ber_tag_t next_tag(BerElement *ber)
{
	ber_len_t length;

	return ber_peek_tag(ber, &length);
}

static bool read_octets(BerElement *ber, const char *format, struct buf *out)
{
	struct berval bytes;

	if (ber_scanf(ber, format, &bytes) == LBER_ERROR)
		return false;
	buf_add(out, bytes.bv_val, bytes.bv_len);
	return true;
}

static bool read_cookie(BerElement *ber, struct buf *cookie)
{
	return next_tag(ber) != LBER_OCTETSTRING || read_octets(ber, "m", cookie);
}

static bool read_bool(BerElement *ber, bool *value)
{
	ber_int_t number;

	if (next_tag(ber) != LBER_BOOLEAN)
		return true;
	if (ber_scanf(ber, "b", &number) == LBER_ERROR)
		return false;
	*value = number != 0;
	return true;
}

static bool read_uuid(BerElement *ber, struct sync_uuid *uuid)
{
	struct berval bytes;

	if (ber_scanf(ber, "m", &bytes) == LBER_ERROR || bytes.bv_len != SYNC_UUID)
		return false;
	memcpy(uuid->bytes, bytes.bv_val, SYNC_UUID);
	return true;
}

/* True if nothing is left; an element that is cut short is something. */
static bool at_end(BerElement *ber)
{
	ber_len_t left = 0;

	return ber_get_option(ber, LBER_OPT_BER_REMAINING_BYTES, &left) == LBER_OPT_SUCCESS && left == 0;
}

/* Steps into a sequence or set that must reach to the end of what is there. */
static bool enter(BerElement *ber, ber_tag_t tag)
{
	ber_len_t length, left = 0;

	return ber_skip_tag(ber, &length) == tag && ber_get_option(ber, LBER_OPT_BER_REMAINING_BYTES, &left) == LBER_OPT_SUCCESS
		&& left == length;
}

/* ---- whole values --------------------------------------------------------- */

bool sync_state_decode(const struct berval *value, struct sync_state_value *state)
{
	BerElement *ber = reader_of(value);
	ber_int_t number = -1;
	bool ok;

	*state = (struct sync_state_value){ 0 };
	ok = ber != NULL && enter(ber, LBER_SEQUENCE) && ber_scanf(ber, "e", &number) != LBER_ERROR && number >= SYNC_PRESENT &&
	     number <= SYNC_DELETE
		&& read_uuid(ber, &state->uuid) && read_cookie(ber, &state->cookie) && at_end(ber);
	if (ok)
		state->state = (enum sync_state)number;
	if (ber != NULL)
		ber_free(ber, 1);
	return ok;
}

bool sync_done_decode(const struct berval *value, struct sync_done_value *done)
{
	BerElement *ber = reader_of(value);
	bool ok;

	*done = (struct sync_done_value){ 0 };
	ok = ber != NULL && enter(ber, LBER_SEQUENCE) && read_cookie(ber, &done->cookie)
		&& read_bool(ber, &done->refresh_deletes) && at_end(ber);
	if (ber != NULL)
		ber_free(ber, 1);
	return ok;
}

static bool read_uuids(BerElement *ber, struct sync_info_value *info)
{
	size_t capacity = 0;

	if (!enter(ber, LBER_SET))
		return false;
	while (!at_end(ber)) {
		info->uuids = xgrow(info->uuids, info->count, &capacity, sizeof *info->uuids);
		if (!read_uuid(ber, &info->uuids[info->count]))
			return false;
		info->count++;
	}
	return true;
}

static bool read_info(BerElement *ber, struct sync_info_value *info)
{
	const ber_tag_t tag = next_tag(ber);

	info->refresh_done = true;
	switch (tag) {
	case LDAP_TAG_SYNC_NEW_COOKIE:
		info->kind = SYNC_NEW_COOKIE;
		return read_octets(ber, "m", &info->cookie) && at_end(ber);
	case LDAP_TAG_SYNC_REFRESH_DELETE:
	case LDAP_TAG_SYNC_REFRESH_PRESENT:
		info->kind = tag == LDAP_TAG_SYNC_REFRESH_DELETE ? SYNC_INFO_REFRESH_DELETE : SYNC_INFO_REFRESH_PRESENT;
		return enter(ber, tag) && read_cookie(ber, &info->cookie) && read_bool(ber, &info->refresh_done)
			&& at_end(ber);
	case LDAP_TAG_SYNC_ID_SET:
		info->kind = SYNC_ID_SET;
		return enter(ber, tag) && read_cookie(ber, &info->cookie) && read_bool(ber, &info->refresh_deletes)
			&& read_uuids(ber, info);
	default:
		return false;
	}
}

bool sync_info_decode(const struct berval *value, struct sync_info_value *info)
{
	BerElement *ber = reader_of(value);
	bool ok;

	*info = (struct sync_info_value){ 0 };
	ok = ber != NULL && read_info(ber, info);
	if (ber != NULL)
		ber_free(ber, 1);
	return ok;
}

void sync_state_free(struct sync_state_value *state)
{
	buf_free(&state->cookie);
}

void sync_done_free(struct sync_done_value *done)
{
	buf_free(&done->cookie);
}

void sync_info_free(struct sync_info_value *info)
{
	buf_free(&info->cookie);
	free(info->uuids);
	*info = (struct sync_info_value){ 0 };
}
