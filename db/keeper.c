#include "db/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "db/build/build.h"
#include "db/build/fault.h"
#include "db/store/kept.h"
#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/wait.h"
#include "lib/zenv.h"

/* How long another process may take to end. */
#define LOCK_MS 5000
#define LOCK_POLL_NS 20000000

/*
 * A dbases.conf beside the map is about all maps there; one elsewhere may have nothing to do with this one, as Postfix has
 * maps, too, unless it waits for a map that was not made yet.
 */
static void warn_of_no_line(const struct keeper *k, bool is_beside, bool verbose)
{
	const struct dbases_map *other = beside_missing_map(&k->beside);
	struct buf text = { 0 };

	if (!is_beside && other == NULL && !verbose)
		return;
	buf_addf(&text, "%s: warning: %s has no line for this map: programs that read this file never ask the map, and its "
	         "values are not checked", k->livemap.base, k->beside.dbases.path);
	if (other != NULL)
		buf_addf(&text, "; line %zu, %s, has %s, which is missing: should it be this map?", other->line,
		         other->relation, other->file);
	keeper_complain(&text);
	buf_free(&text);
}

void keeper_ask_dbases(struct keeper *k, bool verbose)
{
	struct livemap_settings *u = &k->livemap;
	const char said = u->folding;
	struct buf why = { 0 };
	int status = beside_find(&k->beside, u->base, fault_complain, NULL);
	const bool is_beside = k->beside.dbases.path != NULL;

	if (status != EX_OK)
		die(status, "%s: cannot tell how this map is used while dbases.conf has errors", u->base);
	if ((is_beside || beside_find_configured(&k->beside, u->base)) && k->beside.map == NULL)
		warn_of_no_line(k, is_beside, verbose);
	if (k->beside.map != NULL) {
		if (mapline_check(&k->beside, &u->type, &u->config, &u->folding, &why) == EX_OK && u->folding != said)
			buf_addf(&why, "%s:%zu: lookups fold keys; \"fold no\" makes keys that they cannot find",
			         k->beside.dbases.path, k->beside.map->line);
		if (why.len > 0 && is_beside)
			die(EX_CONFIG, "%s", buf_str(&why));
		if (why.len > 0)
			complain("warning: %s", buf_str(&why));
		u->folding = said;
		value_check_for(&k->values, k->beside.map->relation, k->beside.map->lookup.substitute,
		                zenv_router_is_here());
		k->check = &k->values;
	}
	buf_free(&why);
	if (u->type == NULL)
		u->type = "btree";
}

void keeper_free(struct keeper *k)
{
	value_check_free(&k->values);
	beside_free(&k->beside);
}

static const char *const keepers[] = { "ldapsync", "sqlsync" };

/* The lock of this process. */
static struct {
	const char *suffix, *config;
	char *map, *path;
	int fd;
	bool told;       /* that it is lost, and why it cannot be taken */
} held = { .fd = -1 };

/* The process that keeps the map by the other program, whose name is *keeper then; 0: none. */
static pid_t find_other(const char **keeper)
{
	pid_t holder = 0;

	for (size_t i = 0; i < sizeof keepers / sizeof keepers[0] && holder == 0; i++) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		char *path = xasprintf("%s.%s", held.map, keepers[i]);
		int fd = strcmp(keepers[i], held.suffix) != 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;

		if (fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
			holder = lock.l_pid;
			*keeper = keepers[i];
		}
		if (fd >= 0)
			close(fd);
		free(path);
	}
	return holder;
}

/* Takes it, or says which process has it. */
static bool try_lock(int fd, pid_t *holder)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	const bool is_ours = fcntl(fd, F_SETLK, &lock) == 0;

	*holder = !is_ours && fcntl(fd, F_GETLK, &lock) == 0 ? lock.l_pid : 0;
	return is_ours;
}

void keeper_lock(const char *map, const char *suffix, const char *config)
{
	const int64_t deadline = clock_ms() + LOCK_MS;
	struct buf why = { 0 };
	const char *keeper;
	pid_t holder;

	/* a user who may make no map there leaves no lock file, which would be in the way of one who may */
	if (build_check_directory(map, &why) == EX_NOPERM)
		die(EX_NOPERM, "%s", buf_str(&why));
	held.map = xstrdup(map);
	held.path = xasprintf("%s.%s", map, suffix);
	held.suffix = suffix;
	held.config = config;
	do {
		if (held.fd >= 0)
			close(held.fd);
		held.fd = file_open_own(held.path, O_RDWR | O_CREAT, 0600);
		if (held.fd < 0 && errno == ENOENT)
			die(EX_CANTCREAT, "%s: the directory that \"map\" names is not there", map);
		if (held.fd < 0)
			die(errno == EACCES || errno == EPERM ? EX_NOPERM : EX_CANTCREAT, "%s: %s", held.path,
			    file_error(errno));
		while (!try_lock(held.fd, &holder)) {
			if (clock_ms() > deadline)
				die(EX_TEMPFAIL, "%s: process %ld keeps this map already", map, (long)holder);
			clock_pause(LOCK_POLL_NS);
		}
	} while (!file_is_named(held.fd, held.path));
	kept_note(held.fd, config);
	holder = find_other(&keeper);
	/* two programs that keep one map would undo each other's changes without end */
	if (holder != 0)
		die(EX_TEMPFAIL, "%s: process %ld, of %s, keeps this map already", map, (long)holder, keeper);
}

bool keeper_is_alone(void)
{
	const char *keeper = held.suffix;
	pid_t holder;
	int fd;

	if (file_is_named(held.fd, held.path))
		return true;
	holder = find_other(&keeper);
	fd = holder == 0 ? file_open_own(held.path, O_RDWR | O_CREAT, 0600) : -1;
	/* then no other process has it, either */
	if (holder == 0 && fd < 0) {
		if (!held.told)
			complain("%s: was deleted or replaced by another program, and cannot be made again: %s", held.path,
			         file_error(errno));
		held.told = true;
		return true;
	}
	if (fd >= 0 && try_lock(fd, &holder)) {
		complain(held.told ? "%s: is made again" : "%s: was deleted or replaced by another program; it is made again",
		         held.path);
		close(held.fd);
		held.fd = fd;
		held.told = false;
		kept_note(fd, held.config);
		return true;
	}
	if (fd >= 0)
		close(fd);
	if (!held.told)
		complain("%s: process %ld, of %s, keeps this map, too, as %s was deleted or replaced; this one changes nothing "
		         "until that one ends", held.map, (long)holder, keeper, held.path);
	held.told = true;
	return false;
}

void keeper_warn(const char *map)
{
	for (size_t i = 0; i < sizeof keepers / sizeof keepers[0]; i++) {
		char *path = xasprintf("%s.%s", map, keepers[i]);

		if (access(path, F_OK) == 0)
			complain("warning: %s is there: %s keeps this map, and will undo what its source does not have", path,
			         keepers[i]);
		free(path);
	}
}

static const int stops[] = { SIGTERM, SIGINT, SIGHUP };
static volatile sig_atomic_t is_stopped, may_leave, leave_status;

static void on_signal(int sig)
{
	(void)sig;
	if (may_leave)
		_exit(leave_status);
	is_stopped = 1;
}

/* They are blocked while a worker is waited for. */
static bool is_asked_to_stop(void)
{
	sigset_t pending;
	bool is_one = is_stopped != 0;

	sigpending(&pending);
	for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++)
		is_one = is_one || sigismember(&pending, stops[i]) == 1;
	return is_one;
}

void keeper_catch_signals(int status, sigset_t *unblocked)
{
	leave_status = status;
	wait_catch(stops, sizeof stops / sizeof stops[0], on_signal, unblocked);
	child_heed(is_asked_to_stop);
}

void keeper_may_leave(bool may)
{
	may_leave = may;
}

bool keeper_is_stopped(void)
{
	return is_stopped != 0;
}

void keeper_complain(struct buf *why)
{
	struct buf clean = { 0 };

	text_add_clean(&clean, buf_str(why), why->len, 1000);
	complain("%s", buf_str(&clean));
	buf_free(&clean);
	buf_clear(why);
}
