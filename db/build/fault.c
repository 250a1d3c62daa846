#include "db/build/fault.h"

#include <string.h>

#include "lib/buf.h"
#include "lib/log.h"

void fault_complain(void *context, const struct fault *fault)
{
	struct buf place = { 0 };

	(void)context;
	buf_adds(&place, strcmp(fault->file, "-") == 0 ? "standard input" : fault->file);
	if (fault->line > 0)
		buf_addf(&place, ":%zu", fault->line);
	if (fault->line > 0 && fault->column > 0)
		buf_addf(&place, ":%zu", fault->column);
	complain("%s: %s%s", buf_str(&place), fault->is_warning ? "warning: " : "", fault->text);
	buf_free(&place);
}
