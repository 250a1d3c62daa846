#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/net/connect.h"
#include "lib/alloc.h"
#include "lib/clock.h"
#include "tests/unit/scratch.h"

/* A listening socket on loopback; its port. */
static int listen_tcp(const char *address, int backlog, uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t length = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, address, &a.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &length), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static int listen_unix(const char *path, int backlog)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static struct target *make_target(const char *text, uint16_t port)
{
	struct buf why = { 0 };
	struct target *t = target_create(text, port, &why);
	struct addresses *addresses;

	assert_non_null(t);
	addresses = target_addresses(t);
	assert_int_equal(addresses->state, ADDRESSES_FOUND);
	addresses_release(&addresses);
	return t;
}

static struct target *unix_target(const char *path)
{
	char *text = xasprintf("UNIX:%s", path);
	struct target *t = make_target(text, 0);

	free(text);
	return t;
}

/* A target with another address behind its own. */
static void also_at(struct target *t, const char *address, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct addresses *all = t->addresses;
	size_t n = all->count++;

	assert_int_equal(inet_pton(AF_INET, address, &a.sin_addr), 1);
	all->list = xreallocarray(all->list, n + 1, sizeof *all->list);
	all->lengths = xreallocarray(all->lengths, n + 1, sizeof *all->lengths);
	memcpy(&all->list[n], &a, sizeof a);
	all->lengths[n] = sizeof a;
}

/* Goes on as the loop does, until it is decided. */
static enum connect_state run(struct connecting *c, const struct target *t, const struct connect_options *options, int *fd)
{
	enum connect_state state = connect_start(c, t, t->addresses, options, fd);

	while (state == CONNECT_GOING_ON) {
		struct pollfd fds[CONNECT_ATTEMPTS];
		size_t n = connect_poll(c, fds);
		int64_t deadline = connect_deadline(c);

		assert_true(n <= CONNECT_ATTEMPTS);
		assert_true(deadline != CLOCK_NEVER && deadline <= c->deadline);
		poll(fds, n, clock_poll_timeout(deadline));
		state = connect_continue(c, fd);
	}
	assert_int_equal(c->count, 0);
	return state;
}

/* Some port that nobody listens on: bound, so that nobody else gets it. */
static int closed_port(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &length), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static void a_tcp_connection_is_ready_for_use(void **state)
{
	const struct connect_options options = { .timeout = 5000, .send_buffer = 20000 };
	struct connecting c = { 0 };
	uint16_t port;
	int listener = listen_tcp("127.0.0.1", 5, &port), fd = -1, value = 0;
	struct target *t = make_target("[127.0.0.1]", port);
	socklen_t length = sizeof value;

	(void)state;
	assert_int_equal(run(&c, t, &options, &fd), CONNECT_DONE);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
	assert_true(value);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length), 0);
	assert_true(value);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, &length), 0);
	assert_int_equal(value, 40000);
	close(fd);
	close(listener);
	target_destroy(&t);
	buf_free(&c.why);
}

static void the_source_address_is_ours_to_choose(void **state)
{
	struct sockaddr_storage source = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&source, name;
	struct connect_options options = { .timeout = 5000, .source = &source, .source_length = sizeof *in };
	struct connecting c = { 0 };
	uint16_t port;
	int listener = listen_tcp("127.0.0.1", 5, &port), fd = -1;
	struct target *t = make_target("[127.0.0.1]", port);
	socklen_t length = sizeof name;

	(void)state;
	in->sin_family = AF_INET;
	inet_pton(AF_INET, "127.0.0.9", &in->sin_addr);
	assert_int_equal(run(&c, t, &options, &fd), CONNECT_DONE);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &length), 0);
	assert_int_equal(ntohl(name.sin_addr.s_addr), 0x7f000009);
	close(fd);
	/* an address that is not this host's */
	inet_pton(AF_INET, "192.0.2.1", &in->sin_addr);
	assert_int_equal(run(&c, t, &options, &fd), CONNECT_FAILED);
	assert_non_null(strstr(buf_str(&c.why), "bind"));
	close(listener);
	target_destroy(&t);
	buf_free(&c.why);
}

static void failure_names_every_address_and_reason(void **state)
{
	const struct connect_options options = { .timeout = 5000 };
	struct connecting c = { 0 };
	uint16_t port, other;
	int first = closed_port(&port), second = closed_port(&other), fd = -1;
	struct target *t = make_target("[127.0.0.1]", port);

	(void)state;
	also_at(t, "127.0.0.2", other);
	assert_int_equal(run(&c, t, &options, &fd), CONNECT_FAILED);
	assert_non_null(strstr(buf_str(&c.why), "127.0.0.1|"));
	assert_non_null(strstr(buf_str(&c.why), "127.0.0.2|"));
	assert_non_null(strstr(buf_str(&c.why), strerror(ECONNREFUSED)));
	close(first);
	close(second);
	target_destroy(&t);
	buf_free(&c.why);
}

static void a_refusal_moves_on_to_the_next_address_at_once(void **state)
{
	const struct connect_options options = { .timeout = 5000 };
	struct connecting c = { 0 };
	uint16_t port, closed;
	int nobody = closed_port(&closed), listener = listen_tcp("127.0.0.1", 5, &port), fd = -1;
	struct target *t = make_target("[127.0.0.1]", closed);
	int64_t start = clock_ms();

	(void)state;
	also_at(t, "127.0.0.1", port);
	assert_int_equal(run(&c, t, &options, &fd), CONNECT_DONE);
	assert_true(clock_ms() - start < 200);
	close(fd);
	close(nobody);
	close(listener);
	target_destroy(&t);
	buf_free(&c.why);
}

/* A listener that never accepts and whose queue is full: the kernel leaves further SYNs unanswered. */
struct silent {
	int listener, fds[8];
	uint16_t port;
};

static bool make_silent(struct silent *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	bool full = false;

	s->listener = listen_tcp("127.0.0.1", 0, &s->port);
	a.sin_port = htons(s->port);
	for (size_t i = 0; i < 8; i++) {
		s->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(s->fds[i], (struct sockaddr *)&a, sizeof a);
		full = poll(&(struct pollfd){ .fd = s->fds[i], .events = POLLOUT }, 1, 50) == 0;
	}
	return full;
}

static void end_silent(struct silent *s)
{
	for (size_t i = 0; i < 8; i++)
		close(s->fds[i]);
	close(s->listener);
}

static void a_silent_address_is_overtaken_by_the_next(void **state)
{
	const struct connect_options options = { .timeout = 5000 };
	struct connecting c = { 0 };
	struct silent silent;
	uint16_t port;
	int listener = listen_tcp("127.0.0.1", 5, &port), fd = -1;
	struct target *t;
	int64_t start;

	(void)state;
	if (!make_silent(&silent)) {
		print_message("# this kernel answers a full queue\n");
		end_silent(&silent);
		close(listener);
		return;
	}
	t = make_target("[127.0.0.1]", silent.port);
	also_at(t, "127.0.0.1", port);
	start = clock_ms();
	assert_int_equal(run(&c, t, &options, &fd), CONNECT_DONE);
	assert_in_range(clock_ms() - start, 200, 2000);
	close(fd);
	close(listener);
	end_silent(&silent);
	target_destroy(&t);
	buf_free(&c.why);
}

static void silence_ends_with_the_time_limit(void **state)
{
	const struct connect_options options = { .timeout = 300 };
	struct connecting c = { 0 };
	struct silent silent;
	int fd = -1;
	struct target *t;
	int64_t start;

	(void)state;
	if (!make_silent(&silent)) {
		print_message("# this kernel answers a full queue\n");
		end_silent(&silent);
		return;
	}
	t = make_target("[127.0.0.1]", silent.port);
	for (int i = 0; i < 6; i++)
		also_at(t, "127.0.0.1", silent.port);
	start = clock_ms();
	assert_int_equal(run(&c, t, &options, &fd), CONNECT_FAILED);
	assert_in_range(clock_ms() - start, 250, 2000);
	assert_non_null(strstr(buf_str(&c.why), "no answer within"));
	end_silent(&silent);
	target_destroy(&t);
	buf_free(&c.why);
}

static void sockets_that_are_not_there_are_named_with_the_reason(void **state)
{
	const struct connect_options options = { .timeout = 5000 };
	struct connecting c = { 0 };
	struct target *t;
	int fd = -1;

	(void)state;
	t = unix_target(scratch("no-such-socket"));
	assert_int_equal(connect_start(&c, t, t->addresses, &options, &fd), CONNECT_FAILED);
	assert_non_null(strstr(buf_str(&c.why), "no-such-socket"));
	assert_non_null(strstr(buf_str(&c.why), strerror(ENOENT)));
	target_destroy(&t);
	/* somebody's socket whose owner is gone */
	close(listen_unix(scratch("left-behind"), 1));
	t = unix_target(scratch("left-behind"));
	assert_int_equal(connect_start(&c, t, t->addresses, &options, &fd), CONNECT_FAILED);
	assert_non_null(strstr(buf_str(&c.why), strerror(ECONNREFUSED)));
	assert_null(strstr(buf_str(&c.why), "no-such-socket"));
	target_destroy(&t);
	t = unix_target(scratch_text("a-file", ""));
	assert_int_equal(connect_start(&c, t, t->addresses, &options, &fd), CONNECT_FAILED);
	target_destroy(&t);
	buf_free(&c.why);
}

static void a_unix_socket_is_connected_at_once(void **state)
{
	const struct connect_options options = { .timeout = 5000 };
	struct connecting c = { 0 };
	int listener = listen_unix(scratch("socket"), 5), fd = -1;
	struct target *t = unix_target(scratch("socket"));

	(void)state;
	assert_int_equal(connect_start(&c, t, t->addresses, &options, &fd), CONNECT_DONE);
	assert_true(fd >= 0);
	close(fd);
	close(listener);
	target_destroy(&t);
	buf_free(&c.why);
}

/* A full backlog: asked again in short intervals without a busy loop, then a failure. */
static void a_full_backlog_is_asked_again_for_a_while(void **state)
{
	const struct connect_options options = { .timeout = 5000 }, hasty = { .timeout = 200 };
	struct connecting c = { 0 };
	int listener = listen_unix(scratch("full"), 0), fds[4], fd = -1;
	struct target *t = unix_target(scratch("full"));
	size_t n = 0;
	unsigned turns = 0;
	enum connect_state result;

	(void)state;
	while (n < 4 && connect_start(&c, t, t->addresses, &options, &fds[n]) == CONNECT_DONE)
		n++;
	assert_true(n < 4);
	connect_stop(&c);
	/* given up */
	assert_int_equal(run(&c, t, &hasty, &fd), CONNECT_FAILED);
	/* the server takes one after a while */
	result = connect_start(&c, t, t->addresses, &options, &fd);
	while (result == CONNECT_GOING_ON) {
		assert_true(connect_deadline(&c) > clock_ms() - 1000);
		assert_int_equal(connect_poll(&c, &(struct pollfd){ 0 }), 0);
		poll(NULL, 0, clock_poll_timeout(connect_deadline(&c)));
		if (++turns == 3)
			close(accept(listener, NULL, NULL));
		result = connect_continue(&c, &fd);
	}
	assert_int_equal(result, CONNECT_DONE);
	assert_in_range(turns, 3, 20);
	close(fd);
	while (n > 0)
		close(fds[--n]);
	close(listener);
	target_destroy(&t);
	buf_free(&c.why);
}

static void a_full_backlog_fails_within_seconds(void **state)
{
	const struct connect_options options = { .timeout = 180000 };
	struct connecting c = { 0 };
	int listener = listen_unix(scratch("stuck"), 0), fds[4], fd = -1;
	struct target *t = unix_target(scratch("stuck"));
	size_t n = 0;
	int64_t start;

	(void)state;
	while (n < 4 && connect_start(&c, t, t->addresses, &options, &fds[n]) == CONNECT_DONE)
		n++;
	connect_stop(&c);
	start = clock_ms();
	assert_int_equal(run(&c, t, &options, &fd), CONNECT_FAILED);
	assert_in_range(clock_ms() - start, 1000, 10000);
	assert_non_null(strstr(buf_str(&c.why), strerror(EAGAIN)));
	while (n > 0)
		close(fds[--n]);
	close(listener);
	target_destroy(&t);
	buf_free(&c.why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tcp_connection_is_ready_for_use),
		cmocka_unit_test(the_source_address_is_ours_to_choose),
		cmocka_unit_test(failure_names_every_address_and_reason),
		cmocka_unit_test(a_refusal_moves_on_to_the_next_address_at_once),
		cmocka_unit_test(a_silent_address_is_overtaken_by_the_next),
		cmocka_unit_test(silence_ends_with_the_time_limit),
		cmocka_unit_test(sockets_that_are_not_there_are_named_with_the_reason),
		cmocka_unit_test(a_unix_socket_is_connected_at_once),
		cmocka_unit_test(a_full_backlog_is_asked_again_for_a_while),
		cmocka_unit_test(a_full_backlog_fails_within_seconds),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
