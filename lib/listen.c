#include "lib/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/text.h"

#define BACKLOG 1024
/* Until connections are taken again that the system had no descriptor or memory for. */
#define SHORT_PAUSE 1000
/* Between two lines about that, in milliseconds. */
#define TELL_PAUSE 10000
/* How long another program may keep the place of a socket, and between two tries, in milliseconds. */
#define LOCK_PATIENCE 10000
#define LOCK_PAUSE 20
/* The first descriptor that systemd hands over (sd_listen_fds(3)). */
#define SYSTEMD_FIRST 3

#define LISTENS_THERE "another process listens there; end it, or name another path"

static struct listener *append(struct listeners *l, int fd, size_t kind, bool is_local, const char *name)
{
	struct buf clean = { 0 };

	text_add_clean_string(&clean, name, 300);
	l->list = xgrow(l->list, l->count, &l->capacity, sizeof *l->list);
	l->list[l->count] = (struct listener){ .fd = fd, .kind = kind, .is_local = is_local, .name = clean.data };
	return &l->list[l->count++];
}

static int refuse(int status, const char *text, const char *what, struct buf *why)
{
	text_add_clean_string(why, text, 300);
	buf_addf(why, ": %s", what);
	return status;
}

/* What the system refused, in the words of who can change it. */
static int refuse_errno(int error, bool is_path, const char *text, struct buf *why)
{
	int status = EX_CANTCREAT;
	const char *what = strerror(error), *advice = "";

	if (error == EADDRINUSE) {
		status = EX_UNAVAILABLE;
		what = is_path ? LISTENS_THERE : "another process listens there; end it, or name another port";
	} else if (error == EADDRNOTAVAIL) {
		what = "this machine does not have the address";
	} else if (error == ENOENT) {
		what = "the directory is not there; make it first";
	} else if (error == EACCES) {
		advice = is_path ? "; this user must be able to write to the directory"
		                 : "; low ports are for root, or for a socket unit of systemd";
	} else if (error == EPERM && is_path) {
		advice = "; only root and members of the group can give it";
	}
	refuse(status, text, what, why);
	buf_adds(why, advice);
	return status;
}

/* The index of the word that `text` begins with, up to its ':'; false if it is none. */
static bool find_kind(const struct listeners *l, const char *text, size_t length, size_t *kind)
{
	for (*kind = 0; l->kinds[*kind] != NULL; ++*kind)
		if (strlen(l->kinds[*kind]) == length && strncasecmp(l->kinds[*kind], text, length) == 0)
			return true;
	return false;
}

static int refuse_form(const struct listeners *l, const char *text, struct buf *why)
{
	text_add_clean_string(why, text, 300);
	buf_addf(why, ": expected %s, then UNIX:/path or [ADDRESS]:PORT", l->expected);
	return EX_USAGE;
}

/* ---- UNIX sockets ---- */

struct place {
	char *path;
	mode_t mode;
	gid_t group;           /* -1: as it comes */
};

static int place_option(struct place *place, const char *option, const char *text, struct buf *why)
{
	char *end;

	if (strncmp(option, "mode=", 5) == 0) {
		unsigned long mode = strtoul(option + 5, &end, 8);

		if (option[5] == '\0' || *end != '\0' || mode > 0777)
			return refuse(EX_USAGE, text, "mode=: expected octal digits up to 0777", why);
		place->mode = (mode_t)mode;
	} else if (strncmp(option, "group=", 6) == 0) {
		const struct group *gr = getgrnam(option + 6);

		if (gr == NULL)
			return refuse(EX_NOUSER, text, "there is no such group", why);
		place->group = gr->gr_gid;
	} else {
		return refuse(EX_USAGE, text, "expected UNIX:/path[,mode=0660][,group=NAME]", why);
	}
	return EX_OK;
}

static int parse_place(struct place *place, const char *at, const char *text, struct buf *why)
{
	char *copy = xstrdup(at), *option = strchr(copy, ',');
	int status = EX_OK;

	*place = (struct place){ .path = copy, .mode = 0660, .group = (gid_t)-1 };
	if (option != NULL)
		*option++ = '\0';
	if (copy[0] != '/' || strlen(copy) >= sizeof ((struct sockaddr_un *)0)->sun_path)
		status = refuse(EX_USAGE, text, "expected an absolute path of at most 107 bytes", why);
	while (status == EX_OK && option != NULL) {
		char *next = strchr(option, ',');

		if (next != NULL)
			*next++ = '\0';
		status = place_option(place, option, text, why);
		option = next;
	}
	return status;
}

/* A socket that is left over from a process that is gone makes room; anything else stays: NULL, or what is in the way. */
static const char *what_is_there(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
	struct stat st;

	if (fd >= 0)
		close(fd);
	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? NULL : strerror(errno);
	if (S_ISDIR(st.st_mode))
		return "a directory is there; name a path in it";
	if (S_ISLNK(st.st_mode))
		return "a symbolic link is there; name the path that it is for, or remove it";
	if (!S_ISSOCK(st.st_mode))
		return "a file that is no socket is there; remove it, or name another path";
	if (!dead)
		return LISTENS_THERE;
	return unlink(address->sun_path) == 0 ? NULL : strerror(errno);
}

/*
 * Between the look at a socket that was left behind and listen(2) on our own, no other program of ours looks: two could remove the
 * socket, the later one that of the other, which would listen where no client comes.  The lock is one of the directory, so that no
 * file is left.  -1: there is none, as the directory cannot be locked (NFS, or it may not be read), or somebody keeps it locked:
 * anybody who may read it can, and is not to keep us from listening.
 */
static int lock_place(const char *path)
{
	const int64_t end = clock_ms() + LOCK_PATIENCE;
	char *directory = file_directory(path);
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	free(directory);
	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK && clock_ms() < end) {
			poll(NULL, 0, LOCK_PAUSE);
			continue;
		}
		close(fd);
		return -1;
	}
	return fd;
}

static int listen_at_path(struct listeners *l, size_t kind, const struct place *place, const char *text,
                          struct buf *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *in_the_way;
	struct listener *listener;
	struct stat st;
	mode_t before;
	bool ok;
	int fd, status, locked = lock_place(place->path);

	memcpy(address.sun_path, place->path, strlen(place->path) + 1);
	in_the_way = what_is_there(&address);
	if (in_the_way != NULL) {
		if (locked >= 0)
			close(locked);
		return refuse(EX_UNAVAILABLE, text, in_the_way, why);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* no client gets in before its mode and group are set */
	before = umask(0177);
	ok = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
	umask(before);
	if (!ok || chmod(place->path, place->mode) < 0 ||
	    (place->group != (gid_t)-1 && lchown(place->path, (uid_t)-1, place->group) < 0) || listen(fd, BACKLOG) < 0) {
		status = refuse_errno(errno, true, text, why);
		if (fd >= 0)
			close(fd);
		if (ok)
			unlink(place->path);
		if (locked >= 0)
			close(locked);
		return status;
	}
	if (locked >= 0)
		close(locked);
	listener = append(l, fd, kind, true, text);
	listener->path = xstrdup(place->path);
	if (lstat(place->path, &st) == 0) {
		listener->device = st.st_dev;
		listener->inode = st.st_ino;
	}
	return EX_OK;
}

/* ---- TCP ---- */

/* "[ADDRESS]:PORT"; the port may be 0. */
static bool parse_inet(const char *at, struct sockaddr_storage *address, socklen_t *length)
{
	const char *end = *at == '[' ? strchr(at, ']') : NULL;
	char text[INET6_ADDRSTRLEN + 6];
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	uint64_t port;

	*address = (struct sockaddr_storage){ 0 };
	if (end == NULL || end[1] != ':' || !parse_number(end + 2, 65535, &port) || (size_t)(end - at) > sizeof text)
		return false;
	memcpy(text, at + 1, (size_t)(end - at) - 1);
	text[end - at - 1] = '\0';
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*length = sizeof *v4;
		return true;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	*length = sizeof *v6;
	return inet_pton(AF_INET6, strncasecmp(text, "IPv6:", 5) == 0 ? text + 5 : text, &v6->sin6_addr) == 1;
}

static int add_inet(struct listeners *l, size_t kind, const char *at, const char *text, struct buf *why)
{
	struct sockaddr_storage address;
	socklen_t length;
	int fd, on = 1, status;

	if (!parse_inet(at, &address, &length))
		return refuse_form(l, text, why);
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    (address.ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
	    bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, BACKLOG) == 0) {
		append(l, fd, kind, false, text);
		return EX_OK;
	}
	status = refuse_errno(errno, false, text, why);
	if (fd >= 0)
		close(fd);
	return status;
}

int listeners_add(struct listeners *l, const char *text, struct buf *why)
{
	size_t length = strcspn(text, ":"), kind;
	const char *at = text + length + (text[length] == ':');
	struct place place;
	int status;

	if (!find_kind(l, text, length, &kind))
		return refuse_form(l, text, why);
	if (strncasecmp(at, "UNIX:", 5) != 0)
		return add_inet(l, kind, at, text, why);
	status = parse_place(&place, at + 5, text, why);
	if (status == EX_OK)
		status = listen_at_path(l, kind, &place, text, why);
	free(place.path);
	return status;
}

void listeners_open(struct listeners *l, const struct program *program, char *const *texts, size_t count)
{
	struct buf why = { 0 };

	for (size_t i = 0; i < count; i++) {
		int status = listeners_add(l, texts[i], &why);

		if (status == EX_USAGE)
			option_usage(program, "-L %s", buf_str(&why));
		if (status != EX_OK)
			die(status, "-L %s", buf_str(&why));
	}
}

/* ---- systemd ---- */

static bool take_over(struct listeners *l, int fd, const char *name, size_t unix_kind, size_t tcp_kind, struct buf *why)
{
	struct sockaddr_storage address = { 0 };
	socklen_t length = sizeof address, size = sizeof(int);
	int listening = 0;
	size_t kind;
	bool is_local;

	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening) {
		buf_addf(why, "descriptor %d of systemd is no socket that listens", fd);
		return false;
	}
	is_local = address.ss_family == AF_UNIX;
	if (!find_kind(l, name, strlen(name), &kind))
		kind = is_local ? unix_kind : tcp_kind;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		buf_addf(why, "descriptor %d of systemd: %s", fd, strerror(errno));
		return false;
	}
	append(l, fd, kind, is_local, *name != '\0' ? name : "systemd");
	return true;
}

bool listeners_from_systemd(struct listeners *l, size_t unix_kind, size_t tcp_kind, struct buf *why)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	uint64_t number, n;
	bool ok = true;

	if (pid == NULL || count == NULL || !parse_number(pid, INT32_MAX, &number) || number != (uint64_t)getpid() ||
	    !parse_number(count, 1000, &n))
		return true;
	names = names != NULL ? names : "";
	for (int i = 0; ok && i < (int)n; i++) {
		size_t length = strcspn(names, ":");
		char *name = xstrndup(names, length);

		names += length + (names[length] == ':');
		ok = take_over(l, SYSTEMD_FIRST + i, name, unix_kind, tcp_kind, why);
		free(name);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return ok;
}

bool listeners_are_short(const struct listeners *l)
{
	return l->accept_again > clock_ms();
}

void listeners_go_on(struct listeners *l)
{
	l->accept_again = 0;
}

size_t listeners_fill(const struct listeners *l, struct pollfd *fds, int64_t *deadline)
{
	const bool accepting = !listeners_are_short(l);

	if (!accepting && l->accept_again < *deadline)
		*deadline = l->accept_again;
	for (size_t i = 0; i < l->count; i++)
		fds[i] = (struct pollfd){ .fd = accepting ? l->list[i].fd : -1, .events = POLLIN };
	return l->count;
}

int listeners_accept(struct listeners *l, const struct listener *from, struct sockaddr_storage *address)
{
	socklen_t length = sizeof *address;
	int fd;

	*address = (struct sockaddr_storage){ 0 };
	if (listeners_are_short(l))
		return -1;
	fd = accept4(from->fd, (struct sockaddr *)address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		const int64_t now = clock_ms();

		if (l->tell_again <= now) {
			complain("%s: %s", from->name, strerror(errno));
			l->tell_again = now + TELL_PAUSE;
		}
		l->accept_again = now + SHORT_PAUSE;
	}
	if (length < sizeof(sa_family_t))
		address->ss_family = AF_UNIX;
	return fd;
}

void listeners_free(struct listeners *l)
{
	for (size_t i = 0; i < l->count; i++) {
		struct stat st;

		/* another process may have put its socket there meanwhile */
		if (l->list[i].path != NULL && lstat(l->list[i].path, &st) == 0 && st.st_dev == l->list[i].device &&
		    st.st_ino == l->list[i].inode)
			unlink(l->list[i].path);
		close(l->list[i].fd);
		free(l->list[i].path);
		free(l->list[i].name);
	}
	free(l->list);
	*l = (struct listeners){ .kinds = l->kinds, .expected = l->expected };
}
