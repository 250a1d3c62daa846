#include "db/route/privilege.h"

#include <stdlib.h>
#include <string.h>

#include "lib/account.h"
#include "lib/alloc.h"
#include "lib/parse.h"

#define DEFAULT_MODE 0644
#define ALLOWED_MODE 0664

bool privilege_parse(const char *text, uid_t *uid, gid_t *gid, mode_t *mode, const char **why)
{
	char *copy = xstrdup(text), *group = strchr(copy, ':'), *octal = NULL;

	*why = NULL;
	*mode = DEFAULT_MODE;
	if (group != NULL) {
		*group++ = '\0';
		octal = strchr(group, ':');
	}
	if (octal != NULL)
		*octal++ = '\0';
	if (group == NULL)
		*why = "expected \"-\" or user:group or user:group:mode";
	else if (!account_find_user(copy, uid))
		*why = "no such user";
	else if (!account_find_group(group, gid))
		*why = "no such group";
	else if (octal != NULL && (!parse_mode(octal, mode) || *mode == 0 || (*mode & ~(mode_t)ALLOWED_MODE) != 0))
		*why = "expected an octal mode within 664 after user:group:";
	free(copy);
	return *why == NULL;
}
