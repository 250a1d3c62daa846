#include "channel/net/addresses.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/child.h"
#include "lib/file.h"

/* What the child says: this, then `count` entries, then the canonical name, which may be empty. */
struct answer {
	int error;                   /* of getaddrinfo(3) */
	size_t count;
};

struct entry {
	socklen_t length;
	struct sockaddr_storage address;
};

static struct addresses *make(enum addresses_state state)
{
	struct addresses *a = xcalloc(1, sizeof *a);

	a->state = state;
	a->fd = -1;
	a->users = 1;
	return a;
}

static void add(struct addresses *a, const void *address, socklen_t length)
{
	size_t n = a->count++;

	a->list = xreallocarray(a->list, n + 1, sizeof *a->list);
	a->lengths = xreallocarray(a->lengths, n + 1, sizeof *a->lengths);
	memset(&a->list[n], 0, sizeof a->list[n]);
	memcpy(&a->list[n], address, length);
	a->lengths[n] = length;
}

struct addresses *addresses_of_socket(const char *path)
{
	struct addresses *a = make(ADDRESSES_FOUND);
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memcpy(un.sun_path, path, strlen(path) + 1);
	add(a, &un, sizeof un);
	return a;
}

static int look_up(const char *name, uint16_t port, int flags, struct addrinfo **list)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags };
	char service[8];

	snprintf(service, sizeof service, "%u", port);
	return getaddrinfo(name, service, &hints, list);
}

static void fail(struct addresses *a, const char *name, int error)
{
	a->state = ADDRESSES_FAILED;
	buf_addf(&a->why, "no address for %s: %s", name, gai_strerror(error));
}

struct addresses *addresses_of_literal(const char *address, uint16_t port)
{
	struct addresses *a = make(ADDRESSES_FOUND);
	struct addrinfo *list;
	int error = look_up(address, port, AI_NUMERICHOST, &list);

	if (error != 0) {
		fail(a, address, error);
		return a;
	}
	add(a, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	return a;
}

/* ---- names: the child ---- */

static void add_entry(struct buf *out, struct answer *answer, const struct addrinfo *a)
{
	struct entry entry = { .length = a->ai_addrlen };

	memcpy(&entry.address, a->ai_addr, a->ai_addrlen);
	buf_add(out, (const char *)&entry, sizeof entry);
	answer->count++;
}

/* The next result of the wanted family, or NULL. */
static const struct addrinfo *next_of(const struct addrinfo *a, bool v6)
{
	while (a != NULL && (a->ai_family == AF_INET6) != v6)
		a = a->ai_next;
	return a;
}

/* It holds none of our connections open and writes nowhere but into its pipe. */
static _Noreturn void be_the_child(const char *name, uint16_t port, int fd)
{
	struct answer answer = { 0 };
	struct buf entries = { 0 }, said = { 0 };
	struct addrinfo *list = NULL;

	answer.error = look_up(name, port, AI_CANONNAME, &list);
	if (answer.error == 0) {
		bool v6 = list->ai_family == AF_INET6;
		const struct addrinfo *mine = next_of(list, v6), *other = next_of(list, !v6);

		/*
		 * both families in turn, IPv6 first where the resolver's order (RFC 6724) begins with it (RFC 8305 section 4)
		 */
		while (mine != NULL || other != NULL) {
			if (mine != NULL) {
				add_entry(&entries, &answer, mine);
				mine = next_of(mine->ai_next, v6);
			}
			if (other != NULL) {
				add_entry(&entries, &answer, other);
				other = next_of(other->ai_next, !v6);
			}
		}
	}
	buf_add(&said, (const char *)&answer, sizeof answer);
	buf_add(&said, buf_str(&entries), entries.len);
	if (answer.error == 0 && list->ai_canonname != NULL)
		buf_adds(&said, list->ai_canonname);
	_exit(file_write(fd, said.data, said.len) ? 0 : 1);
}

struct addresses *addresses_of_name(const char *name, uint16_t port)
{
	struct addresses *a = make(ADDRESSES_WANTED);
	struct child_rules rules = {
		.in = CHILD_NULL, .out = CHILD_NULL, .err = CHILD_NULL, .closes = true, .dies_with_parent = true,
	};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		fail(a, name, EAI_SYSTEM);
		return a;
	}
	rules.keep[0] = ends[1];
	a->child = child_fork(&rules);
	if (a->child == 0)
		be_the_child(name, port, ends[1]);
	close(ends[1]);
	a->fd = ends[0];
	fcntl(a->fd, F_SETFL, O_NONBLOCK);
	if (a->child < 0)
		fail(a, name, EAI_MEMORY);
	return a;
}

/* ---- names: who asked ---- */

static void end_child(struct addresses *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	if (a->child <= 0)
		return;
	child_end(a->child, CHILD_KILL, 0, &(int){ 0 });
	a->child = 0;
}

/* All that the child had to say is in; of one that was killed it is less than the whole. */
static void take_answer(struct addresses *a, const char *name)
{
	struct answer answer = { .error = EAI_FAIL };
	size_t at = sizeof answer;

	if (a->said.len >= sizeof answer)
		memcpy(&answer, a->said.data, sizeof answer);
	if (answer.error != 0 || answer.count == 0 || (a->said.len - at) / sizeof(struct entry) < answer.count) {
		fail(a, name, answer.error != 0 ? answer.error : EAI_NONAME);
		return;
	}
	for (size_t i = 0; i < answer.count; i++, at += sizeof(struct entry)) {
		struct entry entry;

		memcpy(&entry, a->said.data + at, sizeof entry);
		add(a, &entry.address, entry.length);
	}
	if (at < a->said.len)
		a->canonical = xstrndup(a->said.data + at, a->said.len - at);
	a->state = ADDRESSES_FOUND;
}

enum addresses_state addresses_look(struct addresses *a, const char *name)
{
	while (a->state == ADDRESSES_WANTED) {
		ssize_t n = read(a->fd, buf_reserve(&a->said, 4096), 4096);

		if (n > 0) {
			a->said.len += (size_t)n;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			end_child(a);
			take_answer(a, name);
		} else if (errno == EAGAIN) {
			break;
		}
	}
	return a->state;
}

struct addresses *addresses_share(struct addresses *a)
{
	a->users++;
	return a;
}

void addresses_release(struct addresses **addresses)
{
	struct addresses *a = *addresses;

	*addresses = NULL;
	if (a == NULL || --a->users > 0)
		return;
	end_child(a);
	free(a->list);
	free(a->lengths);
	free(a->canonical);
	buf_free(&a->why);
	buf_free(&a->said);
	free(a);
}

bool address_is_local(const struct sockaddr *address)
{
	switch (address->sa_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
	default:
		return false;
	}
}
