#include "channel/spool/notify.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_scheduler(const char *path, const char *job)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char text[300];
	int fd, n;

	if (path == NULL || strlen(path) >= sizeof to.sun_path)
		return;
	memcpy(to.sun_path, path, strlen(path) + 1);
	n = snprintf(text, sizeof text, "NEW %s", job);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	/* whatever comes of it: see above */
	if (n > 0 && n < (int)sizeof text)
		(void)!sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof to);
	close(fd);
}
