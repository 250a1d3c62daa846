#include "channel/notice/moved.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "channel/queue/control_line.h"
#include "channel/rerouting.h"
#include "channel/spool/report_due.h"
#include "channel/spool/spoolid.h"
#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/file.h"

static void add_request(struct buf *line, const struct control *c, const struct chosen_message *m, const struct rerouting *r)
{
	struct operation o = { .verb = OPERATION_REROUTE, .job = m->job, .spool = m->spool, .inode = m->inode,
	                       .count = r->count };
	struct buf why = { 0 };

	o.recipients = xcalloc(r->count, sizeof *o.recipients);
	for (size_t i = 0; i < r->count; i++)
		o.recipients[i] = r->list[i].to;
	/* a name that cannot be written down stays where it is, as the maps should not have it */
	if (control_line_add_request(line, c->id, &o, 0, &why))
		line->len--;
	free(o.recipients);
	buf_free(&why);
}

enum moved_answer moved_ask(struct router *router, const struct control *c, const struct control_diagnostic *const *last,
                            bool refused, struct buf *line)
{
	struct chosen_message m = { .job = c->name, .inode = c->inode };
	struct selection s = { .messages = &m, .count = 1 };
	struct rerouting r = { .selection = &s, .unasked = true };
	const struct routing routing = { .router = router, .privilege = account_nobody() };
	size_t before = line->len;
	bool unclear = false;

	m.recipients = xcalloc(c->recipient_count + 1, sizeof *m.recipients);
	for (size_t i = 0; i < c->recipient_count; i++)
		if (refused ? report_due_may_have_moved(&c->recipients[i], last[i]) : c->recipients[i].tag == TAG_FREE)
			m.recipients[m.count++] = c->recipients[i].offset;
	if (m.count > 0) {
		char *path = control_message_path(c);
		struct buf id = { 0 };
		struct stat st;

		/* the id by which the operation knows the message again */
		if (file_look_found(path, &st, NULL))
			spoolid_add(&id, &st);
		else
			buf_adds(&id, "-");
		free(path);
		m.spool = id.data;
		unclear = rerouting_ask(&r, &routing) != EX_OK || r.unclear > 0;
		if (r.count > 0)
			add_request(line, c, &m, &r);
	}
	rerouting_free(&r);
	free(m.recipients);
	free(m.spool);
	return line->len > before ? MOVED_SOMEBODY : unclear ? MOVED_UNCLEAR : MOVED_NOBODY;
}
