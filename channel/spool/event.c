#include "channel/spool/event.h"

#include "channel/spool/dsn.h"

void event_begin(struct logline *line, bool json, const char *event, const char *spool)
{
	logline_begin(line, json);
	logline_add(line, "event", event);
	logline_add(line, "spool", spool);
}

void event_add_sender(struct logline *line, const char *sender)
{
	logline_add(line, "from", *sender != '\0' ? sender : "<>");
}

void event_add_orcpt(struct logline *line, const char *orcpt)
{
	struct buf text = { 0 };

	if (orcpt == NULL)
		return;
	logline_add(line, "orcpt", dsn_original(&text, orcpt) ? buf_str(&text) : orcpt);
	buf_free(&text);
}

void event_queued(struct logline *line, bool json, const struct spool_draft *draft, const char *client,
                  const char *protocol)
{
	const struct spool_envelope *e = spool_envelope_of(draft);

	event_begin(line, json, "queued", spool_id(draft));
	event_add_sender(line, e->sender);
	logline_number(line, "size", (uint64_t)spool_size(draft));
	logline_number(line, "recipients", e->recipient_count);
	logline_add(line, "message_id", spool_message_id(draft));
	logline_add(line, "client", client);
	logline_add(line, "protocol", protocol);
	logline_end(line);
}
