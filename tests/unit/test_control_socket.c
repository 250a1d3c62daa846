#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/operator/control_socket.h"
#include "channel/queue/control_line.h"
#include "lib/alloc.h"
#include "tests/unit/scratch.h"

/* The clock is what control_socket_work() is told: nobody waits. */
static int64_t ms = 5000000;
static struct scheduler scheduler;
static struct schedconf *conf;
static struct control_server *server;

static void work(int64_t later)
{
	ms += later;
	/* what one round may not get to */
	for (int i = 0; i < 3; i++)
		control_socket_work(server, (struct moment){ .ms = ms, .wall = 1700000000 + ms / 1000 });
}

static int begin(void **state)
{
	struct buf why = { 0 };

	(void)state;
	assert_int_equal(mkdir(scratch("transport"), 0700), 0);
	assert_int_equal(chdir(scratch("transport")), 0);
	conf = schedconf_parse("conf", "", 0, &why);
	scheduler_init(&scheduler, conf, "/nonesuch");
	server = control_socket_listen(&scheduler, false, &why);
	assert_non_null(server);
	return 0;
}

static int end(void **state)
{
	(void)state;
	control_socket_close(&server);
	scheduler_free(&scheduler);
	schedconf_free(&conf);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(scratch("transport")), 0);
	return 0;
}

static int client(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static bool is_answered(int fd)
{
	char text[200];
	ssize_t n;

	assert_int_equal(send(fd, "5\tx\n", 4, MSG_NOSIGNAL), 4);
	work(0);
	n = recv(fd, text, sizeof text, MSG_DONTWAIT);
	return n > 6 && memcmp(text, "5\tbad\t", 6) == 0;
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void clients_that_say_nothing_do_not_keep_an_operator_out(void **state)
{
	int idle[3 * CONTROL_CLIENTS], operator;
	size_t closed = 0;

	(void)state;
	for (size_t i = 0; i < 3 * CONTROL_CLIENTS; i++) {
		idle[i] = client();
		/* half a line is nothing, either */
		if (i % 2)
			assert_int_equal(send(idle[i], "5\thold", 6, MSG_NOSIGNAL), 6);
	}
	work(0);
	operator = client();
	/* 32 at a time, and those behind them in the order in which they came */
	for (int i = 0; i < 4; i++)
		work(3000);
	assert_true(is_answered(operator));
	for (size_t i = 0; i < 3 * CONTROL_CLIENTS; i++) {
		closed += is_closed(idle[i]);
		close(idle[i]);
	}
	assert_true(closed > 0);
	close(operator);
	work(0);
}

static void a_deadline_tells_when_there_is_room(void **state)
{
	int idle[CONTROL_CLIENTS], next;
	struct pollfd fds[CONTROL_DESCRIPTORS];
	size_t n;
	int64_t deadline;

	(void)state;
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		idle[i] = client();
	work(0);
	next = client();
	work(0);
	n = control_socket_poll(server, fds);
	assert_int_equal(poll(fds, (nfds_t)n, 0), 0);
	deadline = control_socket_deadline(server);
	assert_true(deadline > ms && deadline <= ms + 10000);
	work(deadline - ms);
	assert_true(is_answered(next));
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		close(idle[i]);
	close(next);
	work(0);
}

static void who_is_silent_for_ten_minutes_is_closed(void **state)
{
	int one = client(), other = client();

	(void)state;
	work(0);
	assert_true(is_answered(one));
	work(5 * 60 * 1000);
	assert_true(is_answered(one));
	work(5 * 60 * 1000);
	assert_false(is_closed(one));
	assert_true(is_closed(other));
	assert_true(is_answered(one));
	close(one);
	close(other);
	work(0);
	assert_true(control_socket_deadline(server) == CLOCK_NEVER);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(clients_that_say_nothing_do_not_keep_an_operator_out, begin, end),
		cmocka_unit_test_setup_teardown(a_deadline_tells_when_there_is_room, begin, end),
		cmocka_unit_test_setup_teardown(who_is_silent_for_ten_minutes_is_closed, begin, end),
	};

	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
