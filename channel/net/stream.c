#include "channel/net/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/net/tls.h"

void stream_open(struct stream *s, int fd)
{
	s->fd = fd;
	s->tls = NULL;
	s->more = false;
	buf_clear(&s->error);
}

static enum stream_result trouble(struct stream *s, enum stream_result if_not_ready)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return if_not_ready;
	buf_clear(&s->error);
	buf_adds(&s->error, strerror(errno));
	return STREAM_ERROR;
}

bool stream_start_tls(struct stream *s, struct tls *tls, struct tls_peer *peer, const char *name)
{
	buf_clear(&s->error);
	s->tls = tls_connect(tls, peer, name, s->fd, &s->error);
	return s->tls != NULL;
}

bool stream_accept_tls(struct stream *s, struct tls *tls)
{
	buf_clear(&s->error);
	s->tls = tls_accept(tls, s->fd, &s->error);
	return s->tls != NULL;
}

enum stream_result stream_handshake(struct stream *s)
{
	return tls_handshake(s->tls, &s->error);
}

enum stream_result stream_read(struct stream *s, char *bytes, size_t size, size_t *count)
{
	ssize_t n;

	if (s->tls != NULL)
		return tls_read(s->tls, bytes, size, count, &s->more, &s->error);
	n = recv(s->fd, bytes, size, 0);
	if (n < 0)
		return trouble(s, STREAM_WAIT_READ);
	*count = (size_t)n;
	return n == 0 ? STREAM_END : STREAM_OK;
}

enum stream_result stream_write(struct stream *s, const char *bytes, size_t n, size_t *count)
{
	ssize_t done;

	if (s->tls != NULL)
		return tls_write(s->tls, bytes, n, count, &s->error);
	done = send(s->fd, bytes, n, MSG_NOSIGNAL);
	if (done < 0)
		return trouble(s, STREAM_WAIT_WRITE);
	*count = (size_t)done;
	return STREAM_OK;
}

void stream_close(struct stream *s)
{
	if (s->tls != NULL)
		tls_goodbye(s->tls);
	tls_disconnect(&s->tls);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	buf_free(&s->error);
}
