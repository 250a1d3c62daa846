#include "channel/spool/notify.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/spool/control.h"
#include "lib/zenv.h"

/* As ZMailer sends it: the word and the name, which may have up to 300 bytes. */
#define WORD "NEW "
#define MOST_NAME 300

/* The address of the socket; false if there is none, or with a line in `why` (which may be NULL) if it is none. */
static bool socket_address(struct sockaddr_un *address, struct buf *why)
{
	const char *path = zenv("SCHEDULERNOTIFY"), *base = NULL;
	struct buf whole = { 0 };
	bool fits;

	if (path == NULL)
		return false;
	if (strncasecmp(path, "UNIX:", 5) == 0)
		path += 5;
	if (strncmp(path, "${POSTOFFICE}", 13) == 0)
		base = zenv("POSTOFFICE");
	buf_addf(&whole, "%s%s", base != NULL ? base : "", base != NULL ? path + 13 : path);
	fits = whole.data[0] == '/' && whole.len < sizeof address->sun_path;
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (fits)
		memcpy(address->sun_path, whole.data, whole.len);
	else if (why != NULL)
		buf_addf(why, "SCHEDULERNOTIFY of ZENV: expected the absolute path of a UNIX socket with up to %zu bytes, not \"%s\"",
		         sizeof address->sun_path - 1, whole.data);
	buf_free(&whole);
	return fits;
}

bool notify_fits(struct buf *why)
{
	struct sockaddr_un address;

	return socket_address(&address, why) || why->len == 0;
}

void notify_send(const char *job)
{
	struct sockaddr_un address;
	char text[sizeof WORD + MOST_NAME];
	size_t n = strlen(job);
	int fd;

	if (n > MOST_NAME || !socket_address(&address, NULL))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	memcpy(text, WORD, sizeof WORD - 1);
	memcpy(text + sizeof WORD - 1, job, n);
	/* a scheduler that does not hear it finds the message at its next look into the directory */
	(void)!sendto(fd, text, sizeof WORD - 1 + n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&address,
	              sizeof address);
	close(fd);
}

int notify_open(struct buf *why)
{
	struct sockaddr_un address;
	struct stat st;
	mode_t mask;
	int fd;

	if (!socket_address(&address, why))
		return -1;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		buf_addf(why, "SCHEDULERNOTIFY of ZENV: %s", strerror(errno));
		return -1;
	}
	if (lstat(address.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(address.sun_path);
	/* only users who may write there can notify us, as with ZMailer's scheduler */
	mask = umask(0177);
	if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
		buf_addf(why, "SCHEDULERNOTIFY of ZENV: %s: %s", address.sun_path, strerror(errno));
		close(fd);
		fd = -1;
	}
	umask(mask);
	return fd;
}

void notify_read(int fd, void (*arrived)(void *context, const char *name), void *context)
{
	char text[sizeof WORD + MOST_NAME];
	ssize_t n;

	while ((n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT)) >= 0) {
		text[n] = '\0';
		if (strlen(text) == (size_t)n && strncmp(text, WORD, sizeof WORD - 1) == 0 &&
		    control_is_job(text + sizeof WORD - 1))
			arrived(context, text + sizeof WORD - 1);
	}
}

void notify_close(int fd)
{
	struct sockaddr_un address;

	if (fd < 0)
		return;
	close(fd);
	if (socket_address(&address, NULL))
		unlink(address.sun_path);
}
