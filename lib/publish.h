/*
 * Files appear whole (design: "files appear whole").
 *
 * Begin makes an exclusive temporary file beside the target; commit syncs it,
 * renames it over the target and syncs the directory.  On every other way out
 * (abort, exit, SIGINT, SIGTERM, SIGHUP) the temporary is removed.
 */
#ifndef ZL_LIB_PUBLISH_H
#define ZL_LIB_PUBLISH_H

#include <stdbool.h>
#include <sys/types.h>

struct publish {
	char *target;
	int at;            /* the directory in which both names are, AT_FDCWD if they are paths */
	char *temporary;   /* its name, for libraries that open by name */
	bool renamed;      /* after publish_commit() failed: the target is the new file all the same */
	int fd;            /* open for reading and writing */
};

/*
 * Starts a replacement of `target`; `p` may hold anything.  The temporary is created with `mode`
 * (whatever the umask is) beside it.  Returns false with errno set.
 */
bool publish_begin(struct publish *p, const char *target, mode_t mode);

/*
 * The same in a directory that may belong to another user, who may put a link in its place: root follows none
 * (file_directory_found()).
 */
bool publish_begin_found(struct publish *p, const char *target, mode_t mode);

/* Gives the temporary an owner; (uid_t)-1 and (gid_t)-1 leave theirs.  False with errno. */
bool publish_owner(struct publish *p, uid_t uid, gid_t gid);

/* fsync, rename, fsync of the directory.  False with errno and the temporary gone; the target is
 * untouched then, or with p->renamed the new file, which a power failure may still undo. */
bool publish_commit(struct publish *p);

/* Removes the temporary.  Harmless on a zeroed or committed struct. */
void publish_abort(struct publish *p);

/*
 * The file gets this name, which must be free (EEXIST), and not that of the target; its descriptor stays open until
 * publish_abort().  Nothing is synced.  False with errno.
 */
bool publish_move(struct publish *p, const char *path);

/*
 * Renames a damaged file to PATH.damaged, or to PATH.damaged.2 and so on: what was put aside before stays, as it may be all that
 * tells of the fault.  When all names are in use, it takes the place of the last one if `always`: what is needed in this
 * file is elsewhere.  Returns the name, for free(); NULL with errno, EEXIST if none is left.  Nothing is synced.
 */
#define PUBLISH_ASIDE_MAX 20
char *publish_set_aside(const char *path, bool always);

/*
 * publish_commit() without its two syncs, for a caller that syncs itself: the target is replaced.  False with errno, the
 * temporary is still there.
 */
bool publish_replace(struct publish *p);

/* fsync of the directory that holds `path`.  False with errno. */
bool publish_sync_directory(const char *path);

/*
 * The process that has made the temporary `entry`, a file name without a directory: of the target `name`, or of any if that
 * is NULL.  0 if it is the name of no such temporary.
 */
pid_t publish_maker(const char *entry, const char *name);

#endif
