/*
 * Any bytes as a control file: it is either refused in one line of words, or everything in it points to where it
 * says.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/spool/control.h"
#include "lib/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes as they came; the reader cuts up its own copy. */
static const char *original;

static void inside(const struct control *c, const char *s)
{
	if (s == NULL || s < c->bytes || s + strlen(s) >= c->bytes + c->length)
		abort();
}

static void inside_or_null(const struct control *c, const char *s)
{
	if (s != NULL)
		inside(c, s);
}

static void check_recipient(const struct control *c, const struct control_recipient *r)
{
	inside(c, r->channel);
	inside(c, r->host);
	inside(c, r->user);
	inside_or_null(c, r->orcpt);
	inside_or_null(c, r->by);
	inside_or_null(c, r->ezmlm);
	if (original[r->offset] != 'r' || original[r->offset + 1] != r->tag || strchr(" ~+-", r->tag) == NULL)
		abort();
	if (r->offset > 0 && original[r->offset - 1] != '\n')
		abort();
	if ((r->sender != CONTROL_NONE && r->sender >= c->sender_count) || r->header >= c->header_count)
		abort();
	if (r->dsn_offset >= 0 && (original[r->dsn_offset] != 'N' || r->dsn_offset <= r->offset))
		abort();
	if ((r->notify_given && r->notify == 0) || (r->tag != TAG_LOCKED && r->locker != 0))
		abort();
	if (strchr(r->user, '\n') != NULL || r->user[0] == '\0' || r->host[0] == '\0' || r->channel[0] == '\0')
		abort();
}

static void check(const struct control *c)
{
	inside(c, c->message);
	inside_or_null(c, c->log_ident);
	inside_or_null(c, c->verbose);
	inside_or_null(c, c->envid);
	if (c->body_offset < 0 || strchr(c->message, '/') != NULL)
		abort();
	for (size_t i = 0; i < c->sender_count; i++) {
		inside(c, c->senders[i].channel);
		inside(c, c->senders[i].host);
		inside(c, c->senders[i].user);
	}
	for (size_t i = 0; i < c->header_count; i++) {
		const struct control_header *h = &c->headers[i];

		if (h->text != c->bytes + h->offset || h->text + h->length >= c->bytes + c->length)
			abort();
		if (original[h->offset - 2] != 'm' || original[h->offset + (off_t)h->length] != '\n')
			abort();
		if (memmem(h->text, h->length, "\n\n", 2) != NULL || memcmp(h->text, original + h->offset, h->length) != 0)
			abort();
	}
	for (size_t i = 0; i < c->recipient_count; i++)
		check_recipient(c, &c->recipients[i]);
	for (size_t i = 0; i < c->diagnostic_count; i++) {
		if (original[c->diagnostics[i].offset] != 'd')
			abort();
		inside(c, c->diagnostics[i].notary);
		inside(c, c->diagnostics[i].text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes = xmalloc(size);
	struct control *c = NULL;
	struct buf why = { 0 };
	enum control_result result;

	if (size > 0)
		memcpy(bytes, data, size);
	original = (const char *)data;
	result = control_parse("Y/K/4711002", bytes, size, &c, &why);
	if ((result == CONTROL_OK) != (c != NULL) || (result == CONTROL_OK) == (why.len > 0))
		abort();
	for (size_t i = 0; i < why.len; i++)
		if ((unsigned char)why.data[i] < ' ')
			abort();
	if (c != NULL) {
		char *path = control_message_path(c);

		check(c);
		if (c->id != 4711002 || strncmp(path, "../queue/Y/K/", 13) != 0)
			abort();
		free(path);
	}
	control_close(&c);
	buf_free(&why);
	return 0;
}
