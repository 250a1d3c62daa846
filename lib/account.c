#include "lib/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/parse.h"

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

static bool is_id(const char *text, id_t *id)
{
	uint64_t n;
	bool is_number = parse_number(text, UINT32_MAX - 1, &n);

	if (is_number)
		*id = (id_t)n;
	return is_number;
}

bool account_find_user(const char *text, uid_t *uid)
{
	const struct passwd *pw;

	if (is_id(text, uid))
		return true;
	pw = getpwnam(text);
	if (pw != NULL)
		*uid = pw->pw_uid;
	return pw != NULL;
}

bool account_find_group(const char *text, gid_t *gid)
{
	const struct group *gr;

	if (is_id(text, gid))
		return true;
	gr = getgrnam(text);
	if (gr != NULL)
		*gid = gr->gr_gid;
	return gr != NULL;
}

bool account_become_owner(const char *directory, struct buf *name)
{
	struct stat st;
	int code;

	if (geteuid() != 0 || stat(directory, &st) < 0 || st.st_uid == 0)
		return true;
	if (setgroups(0, NULL) == 0 && setgid(st.st_gid) == 0 && setuid(st.st_uid) == 0)
		return true;
	code = errno;
	account_add_user(name, st.st_uid);
	errno = code;
	return false;
}

long account_nobody(void)
{
	const struct passwd *pw = getpwnam("nobody");

	return pw != NULL ? (long)pw->pw_uid : 65534;
}
