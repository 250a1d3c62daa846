#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/net/stream.h"

static void open_pair(struct stream *s, int *peer)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	*s = (struct stream){ .fd = -1 };
	stream_open(s, fds[0]);
	*peer = fds[1];
}

static void bytes_pass_both_ways(void **state)
{
	struct stream s;
	char bytes[16];
	size_t n = 0;
	int peer;

	(void)state;
	open_pair(&s, &peer);
	assert_int_equal(stream_read(&s, bytes, sizeof bytes, &n), STREAM_WAIT_READ);
	assert_int_equal(write(peer, "250 ok\r\n", 8), 8);
	assert_int_equal(stream_read(&s, bytes, sizeof bytes, &n), STREAM_OK);
	assert_int_equal(n, 8);
	assert_memory_equal(bytes, "250 ok\r\n", 8);
	assert_int_equal(stream_write(&s, "QUIT\r\n", 6, &n), STREAM_OK);
	assert_int_equal(n, 6);
	assert_int_equal(read(peer, bytes, sizeof bytes), 6);
	close(peer);
	stream_close(&s);
	assert_int_equal(s.fd, -1);
	stream_close(&s);
}

static void a_peer_that_does_not_read_makes_us_wait(void **state)
{
	static char bytes[65536];
	enum stream_result result;
	struct stream s;
	size_t n, sum = 0;
	int peer;

	(void)state;
	open_pair(&s, &peer);
	while ((result = stream_write(&s, bytes, sizeof bytes, &n)) == STREAM_OK) {
		assert_true(n > 0);
		sum += n;
	}
	assert_int_equal(result, STREAM_WAIT_WRITE);
	assert_true(sum > 0);
	close(peer);
	stream_close(&s);
}

/* What the peer had said before it closed is there to be read, then its end; writing is an error, not a signal. */
static void a_peer_that_is_gone_is_an_end_or_an_error_in_words(void **state)
{
	struct stream s;
	char bytes[16];
	size_t n;
	int peer;

	(void)state;
	signal(SIGPIPE, SIG_DFL);
	open_pair(&s, &peer);
	assert_int_equal(write(peer, "421 bye\r\n", 9), 9);
	close(peer);
	assert_int_equal(stream_write(&s, "QUIT\r\n", 6, &n), STREAM_ERROR);
	assert_string_equal(buf_str(&s.error), strerror(EPIPE));
	assert_int_equal(stream_read(&s, bytes, sizeof bytes, &n), STREAM_OK);
	assert_int_equal(n, 9);
	assert_int_equal(stream_read(&s, bytes, sizeof bytes, &n), STREAM_END);
	stream_close(&s);
	assert_string_equal(buf_str(&s.error), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_pass_both_ways),
		cmocka_unit_test(a_peer_that_does_not_read_makes_us_wait),
		cmocka_unit_test(a_peer_that_is_gone_is_an_end_or_an_error_in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
