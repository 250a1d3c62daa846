#include "db/build/fault.h"

#include <string.h>

#include "lib/log.h"

void fault_add(struct buf *out, const struct fault *fault)
{
	buf_adds(out, strcmp(fault->file, "-") == 0 ? "standard input" : fault->file);
	if (fault->line > 0)
		buf_addf(out, ":%zu", fault->line);
	if (fault->line > 0 && fault->column > 0)
		buf_addf(out, ":%zu", fault->column);
	buf_addf(out, ": %s%s", fault->is_warning ? "warning: " : "", fault->text);
}

void fault_complain(void *context, const struct fault *fault)
{
	struct buf line = { 0 };

	(void)context;
	fault_add(&line, fault);
	complain("%s", buf_str(&line));
	buf_free(&line);
}
