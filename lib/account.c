#include "lib/account.h"

#include <grp.h>
#include <pwd.h>

void account_add_user(struct buf *out, uid_t uid)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw != NULL)
		buf_adds(out, pw->pw_name);
	else
		buf_addu(out, uid);
}

void account_add_group(struct buf *out, gid_t gid)
{
	const struct group *gr = getgrgid(gid);

	if (gr != NULL)
		buf_adds(out, gr->gr_name);
	else
		buf_addu(out, gid);
}
