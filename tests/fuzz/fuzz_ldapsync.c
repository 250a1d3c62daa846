/* What a directory may send to ldapsync, and what that may find in its own notes: read, or refused, and never believed by halves. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#if HAVE_LDAP

#include "db/sync/control.h"
#include "db/sync/cookie.h"

static void as_controls(const char *bytes, size_t size)
{
	struct berval value = { size, (char *)(uintptr_t)bytes };
	struct sync_state_value state;
	struct sync_done_value done;
	struct sync_info_value info;

	if (sync_state_decode(&value, &state) && state.state > SYNC_DELETE)
		abort();
	sync_done_decode(&value, &done);
	sync_info_decode(&value, &info);
	sync_state_free(&state);
	sync_done_free(&done);
	sync_info_free(&info);
}

/* What was read is written the same way. */
static void as_note(const char *bytes, size_t size)
{
	struct yield yield, again;
	struct buf text = { 0 };
	char *dn, *dn_again;

	if (entry_decode(bytes, size, &dn, &yield)) {
		entry_encode(&text, dn, &yield);
		if (!entry_decode(text.data, text.len, &dn_again, &again) || again.count != yield.count)
			abort();
		for (size_t i = 0; i < yield.count; i++)
			if (strcmp(again.records[i].key, yield.records[i].key) != 0)
				abort();
		yield_free(&again);
		free(dn_again);
	}
	yield_free(&yield);
	free(dn);
	buf_free(&text);
}

static void as_name(const char *bytes, size_t size)
{
	struct sync_uuid uuid;
	const char *rule = NULL;
	size_t length = 0;

	switch (note_parse(bytes, size, &rule, &length, &uuid)) {
	case NOTE_COOKIE:
	case NOTE_ENTRY:
		if (rule < bytes || rule + length > bytes + size)
			abort();
		break;
	case NOTE_DOMAINS:
	case NOTE_SHRINKAGE:
	case NOTE_COMPARED:
	case NOTE_OTHER:
		break;
	}
}

#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#if HAVE_LDAP
	as_controls((const char *)data, size);
	as_note((const char *)data, size);
	as_name((const char *)data, size);
#else
	(void)data;
	(void)size;
#endif
	return 0;
}
