#include "db/store/env.h"

#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"

/* Room for the processes of a large site; only the one that makes the regions sets these. */
#define ENV_CACHE (8u << 20)
#define ENV_LOCKERS 4000
#define ENV_LOCKS 8000
#define ENV_OBJECTS 4000
#define ENV_MUTEXES 20000

#define WATCHDOG_GRACE_MS 5000
#define WATCHDOG_STEP_NS 200000000
#define POLL_NS 200000

/* Where the first page of every Berkeley DB file has its identity. */
#define META_ID 52

struct env {
	struct env *next;
	char *home;
	DB_ENV *handle;
	struct buf said;
	unsigned users;
	u_int32_t locker;
	bool has_locker;
	bool broken;
};

static struct env *environments;
static pid_t owner;
static unsigned patience = 10;

/* ---- the watchdog ----------------------------------------------------------- */

static _Atomic int64_t watched_until;
static const char *volatile watched_home;
static pthread_t watchdog;
static pid_t watchdog_of;

static atomic_bool is_wedged;
static sigset_t mask_before;

/* The signal of a crash within libdb, and whose it is. */
static _Atomic int fault;
static pthread_t worker;
static struct sigaction previous[2];

static int crash_status = EX_TEMPFAIL;

static _Noreturn void give_up(int sig)
{
	atomic_store(&is_wedged, true);
	if (sig != 0)
		complain("%s: a map or the environment is damaged (using it ended by signal %d); \"dbupdate -C FILE check\" tells more, "
		         "\"dbupdate -C FILE recover\" repairs it", watched_home, sig);
	else
		complain("%s: the environment does not answer: a process in it was killed or hangs; "
		         "\"dbupdate -C FILE check\" tells more, \"dbupdate -C FILE recover\" repairs it", watched_home);
	/* temporaries are removed by atexit; the thread that hangs keeps nothing that exit() waits for */
	exit(sig != 0 ? crash_status : EX_TEMPFAIL);
}

static void *watch(void *unused)
{
	for (;;) {
		int64_t until;

		clock_pause(WATCHDOG_STEP_NS);
		until = atomic_load(&watched_until);
		if (atomic_load(&fault) != 0)
			give_up(atomic_load(&fault));
		if (until != 0 && clock_ms() > until)
			give_up(0);
	}
	return unused;
}

/*
 * A damaged page can lead libdb astray.  What it holds in the regions then cannot be given back; so this thread stops
 * here for good, and the watchdog says what to run, as for a call that hangs.
 */
static void crashed(int sig)
{
	if (atomic_load(&watched_until) == 0 || !pthread_equal(pthread_self(), worker)) {
		/* the instruction is tried again, and fails for the handler that was there before */
		sigaction(sig, &previous[sig == SIGBUS], NULL);
		return;
	}
	atomic_store(&fault, sig);
	for (;;)
		pause();
}

void env_enter(const char *home)
{
	sigset_t set, all, before;
	int code;

	/* a thread does not survive fork(), so each process makes its own */
	if (watchdog_of != getpid()) {
		static const int signals[] = { SIGSEGV, SIGBUS };
		struct sigaction action, now;

		/* signals are for the thread that does the work */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		code = pthread_create(&watchdog, NULL, watch, NULL);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		if (code != 0)
			die(EX_OSERR, "cannot start a thread: %s", strerror(code));
		pthread_detach(watchdog);
		watchdog_of = getpid();
		worker = pthread_self();
		action = (struct sigaction){ .sa_handler = crashed };
		sigemptyset(&action.sa_mask);
		for (size_t i = 0; i < 2; i++) {
			if (sigaction(signals[i], NULL, &now) < 0 || now.sa_handler == crashed)
				continue;
			previous[i] = now;
			sigaction(signals[i], &action, NULL);
		}
	}
	/* a signal that ended the process inside libdb would leave its locks behind */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, &mask_before);
	watched_home = home;
	atomic_store(&watched_until, clock_ms() + patience * 1000 + WATCHDOG_GRACE_MS);
}

void env_leave(void)
{
	atomic_store(&watched_until, 0);
	pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
}

void env_set_crash_status(int status)
{
	crash_status = status;
}

void env_set_patience(unsigned seconds)
{
	patience = seconds;
}

unsigned env_patience(void)
{
	return patience;
}

/* ---- environments ------------------------------------------------------------- */

void env_add_words(struct buf *out, const char *message)
{
	while (*message != '\0') {
		size_t n = strcspn(message, "0");
		size_t digits = strncmp(message + n, "0x", 2) == 0 ? strspn(message + n + 2, "0123456789abcdef") : 0;

		buf_add(out, message, digits > 0 ? n : n + (message[n] != '\0'));
		message += digits > 0 ? n + 2 + digits : n + (message[n] != '\0');
		if (digits > 0)
			message += strspn(message, ", ");
	}
}

static void note(const DB_ENV *handle, const char *prefix, const char *message)
{
	struct env *env = handle->app_private;

	(void)prefix;
	buf_clear(&env->said);
	env_add_words(&env->said, message);
}

/* libdb would wait for ever for the other end of a pipe, with whatever lock its process holds. */
static int check_regions(struct env *env)
{
	char *pattern = xasprintf("%s/__db.*", env->home);
	glob_t found = { 0 };
	int code = 0;

	if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
		for (size_t i = 0; code == 0 && i < found.gl_pathc; i++) {
			struct stat st;

			if (lstat(found.gl_pathv[i], &st) < 0 || S_ISREG(st.st_mode))
				continue;
			buf_addf(&env->said, "%s is not a regular file", found.gl_pathv[i]);
			code = EIO;
		}
	}
	globfree(&found);
	free(pattern);
	return code;
}

static int open_handle(struct env *env, const struct env_config *config)
{
	DB_ENV *handle;
	int code = db_env_create(&handle, 0);

	if (code != 0)
		return code;
	env->handle = handle;
	handle->app_private = env;
	handle->set_errcall(handle, note);
	if (config->tmpdir != NULL)
		code = handle->set_tmp_dir(handle, config->tmpdir);
	if (code == 0)
		code = handle->set_cachesize(handle, 0, ENV_CACHE, 1);
	if (code == 0)
		code = handle->set_lk_max_lockers(handle, ENV_LOCKERS);
	if (code == 0)
		code = handle->set_lk_max_locks(handle, ENV_LOCKS);
	if (code == 0)
		code = handle->set_lk_max_objects(handle, ENV_OBJECTS);
	if (code == 0)
		code = handle->mutex_set_max(handle, ENV_MUTEXES);
	if (code == 0) {
		/* it makes and opens files by their names, and the home may be another user's */
		char *inside = xasprintf("%s/.", config->home);

		file_as_owner(inside);
		code = handle->open(handle, config->home, DB_INIT_CDB | DB_INIT_MPOOL | (config->create ? DB_CREATE : 0),
		                    (int)config->mode);
		file_as_oneself();
		free(inside);
	}
	if (code == 0)
		code = handle->lock_id(handle, &env->locker);
	env->has_locker = code == 0;
	return code;
}

bool env_has_regions(const struct env_config *config)
{
	char *path = xasprintf("%s/__db.001", config->home);
	bool there = !file_is_missing(path);

	free(path);
	return there;
}

static void unlink_env(struct env *env)
{
	for (struct env **p = &environments; *p != NULL; p = &(*p)->next) {
		if (*p == env) {
			*p = env->next;
			break;
		}
	}
}

static void free_env(struct env *env)
{
	env_enter(env->home);
	if (env->has_locker && !env->broken)
		env->handle->lock_id_free(env->handle, env->locker);
	if (env->handle != NULL)
		env->handle->close(env->handle, 0);
	env_leave();
	buf_free(&env->said);
	free(env->home);
	free(env);
}

/* exit() from anywhere gives back what this process has in the regions. */
static void close_all(void)
{
	if (getpid() != owner || atomic_load(&is_wedged))
		return;
	while (environments != NULL) {
		struct env *env = environments;

		environments = env->next;
		free_env(env);
	}
}

struct env *env_open(const struct env_config *config, struct buf *why)
{
	struct env *env;
	int code;

	if (owner != getpid()) {
		if (owner == 0)
			atexit(close_all);
		/* handles inherited by fork() belong to the parent: neither used nor closed here */
		environments = NULL;
		owner = getpid();
	}
	for (env = environments; env != NULL; env = env->next) {
		if (strcmp(env->home, config->home) == 0) {
			env->users++;
			return env;
		}
	}
	env = xcalloc(1, sizeof *env);
	env->home = xstrdup(config->home);
	env_enter(env->home);
	code = check_regions(env);
	if (code == 0)
		code = open_handle(env, config);
	env_leave();
	if (code != 0) {
		buf_addf(why, "environment %s: %s", config->home, db_strerror(code));
		if (env->said.len > 0)
			buf_addf(why, "; %s", buf_str(&env->said));
		if (code == ENOENT && !config->create)
			buf_addf(why, "; no program has made it, and %s has no CREATE in envflags; add it", config->file);
		if (code == DB_RUNRECOVERY)
			buf_addf(why, "; run dbupdate -C %s recover", config->file);
		/* as when a process was killed while it made the regions */
		else if (code == EINVAL || code == EIO || code == EAGAIN)
			buf_addf(why, "; dbupdate -C %s check tells more, recover repairs it", config->file);
		free_env(env);
		return NULL;
	}
	env->users = 1;
	env->next = environments;
	environments = env;
	return env;
}

void env_close(struct env **env)
{
	struct env *e = *env;

	*env = NULL;
	if (e == NULL || --e->users > 0)
		return;
	unlink_env(e);
	free_env(e);
}

DB_ENV *env_handle(struct env *env)
{
	return env->handle;
}

const char *env_said(const struct env *env)
{
	return buf_str(&env->said);
}

void env_broken(struct env *env)
{
	env->broken = true;
	unlink_env(env);
}

/* The lock of a map goes by the identity that is written in its file. */
static bool is_free(struct env *env, u_int8_t id[DB_FILE_ID_LEN], db_lockmode_t mode, int64_t deadline)
{
	DBT object = { .data = id, .size = DB_FILE_ID_LEN };
	DB_LOCK lock;

	for (;;) {
		int code = env->handle->lock_get(env->handle, env->locker, DB_LOCK_NOWAIT, &object, mode, &lock);

		if (code == 0)
			env->handle->lock_put(env->handle, &lock);
		/* any other trouble shows itself, with its name, in the call that follows */
		if (code != DB_LOCK_NOTGRANTED && code != DB_LOCK_DEADLOCK)
			return true;
		if (clock_ms() >= deadline)
			return false;
		clock_pause(POLL_NS);
	}
}

bool env_lock_is_free(struct env *env, DB *db, db_lockmode_t mode, int64_t deadline)
{
	return is_free(env, db->fileid, mode, deadline);
}

bool env_file_is_free(struct env *env, int fd, db_lockmode_t mode, int64_t deadline)
{
	u_int8_t id[DB_FILE_ID_LEN];

	/* what is too short to be a map is refused by DB->open before it looks for locks */
	if (pread(fd, id, sizeof id, META_ID) != (ssize_t)sizeof id)
		return true;
	return is_free(env, id, mode, deadline);
}
