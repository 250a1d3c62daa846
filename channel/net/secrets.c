#include "channel/net/secrets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/net/base64.h"
#include "lib/account.h"
#include "lib/conf.h"
#include "lib/text.h"

/* No site has so many hosts; a larger file is some other file. */
#define FILE_MAX ((off_t)16 * 1024 * 1024)
#define EXPECTED_WORDS "expected four words: channel, host, user and secret"

void secret_wipe(struct secret *secret)
{
	buf_wipe(&secret->user);
	buf_wipe(&secret->password);
}

/* ---- lines ---- */

enum { CHANNEL, HOST, USER, PASSWORD, WORDS };

struct word {
	const char *at;
	size_t n;
};

/* The first WORDS words; what follows them is a remark.  Returns how many there are. */
static size_t split(const char *line, size_t n, struct word *words)
{
	const char *p = line, *end = line + n;
	size_t count = 0;

	while (count < WORDS) {
		while (p < end && (*p == ' ' || *p == '\t'))
			p++;
		if (p == end)
			break;
		words[count].at = p;
		while (p < end && *p != ' ' && *p != '\t')
			p++;
		words[count].n = (size_t)(p - words[count].at);
		count++;
	}
	return count;
}

static bool word_is(const struct word *word, const char *s)
{
	return word->n == strlen(s) && memcmp(word->at, s, word->n) == 0;
}

/* An IPv6 address can be written in many ways. */
static bool same_ipv6(const struct word *word, const char *name)
{
	struct in6_addr a, b;
	char text[INET6_ADDRSTRLEN];

	if (word->n >= sizeof text || inet_pton(AF_INET6, name, &b) != 1)
		return false;
	memcpy(text, word->at, word->n);
	text[word->n] = '\0';
	return inet_pton(AF_INET6, text, &a) == 1 && memcmp(&a, &b, sizeof a) == 0;
}

static bool host_is(struct word word, const char *const *names)
{
	/* "[IPv6:::1]" and the like without what stands around the address */
	if (word.n >= 2 && word.at[0] == '[' && word.at[word.n - 1] == ']') {
		word.at++;
		word.n -= 2;
		if (word.n > 5 && strncasecmp(word.at, "IPv6", 4) == 0 && (word.at[4] == ':' || word.at[4] == '.')) {
			word.at += 5;
			word.n -= 5;
		}
	}
	for (; *names != NULL; names++) {
		if (word.n == strlen(*names) && strncasecmp(word.at, *names, word.n) == 0)
			return true;
		if (same_ipv6(&word, *names))
			return true;
	}
	return false;
}

/* What is wrong with a line that is meant for us, NULL if nothing is.  Its content must not be shown. */
static const char *damage(const struct word *words, size_t count)
{
	if (count < WORDS)
		return EXPECTED_WORDS;
	for (size_t i = USER; i <= PASSWORD; i++) {
		if (words[i].n > SECRET_WORD_MAX)
			return "a user or secret has at most 12288 bytes of base64 text";
		if (!word_is(&words[i], "=") && !base64_valid(words[i].at, words[i].n))
			return i == USER ? "the user is not base64 text" : "the secret is not base64 text";
	}
	return NULL;
}

/*
 * True if it cannot be told for which channel and host a line is: it holds NULs, as text in UTF-16 does, the CR of old
 * systems, or something that looks like a blank.  To pass over such a line would be to go on without authentication.
 */
static bool is_unreadable(const char *line, const struct word *words, size_t count)
{
	const struct word *last = &words[count > HOST ? HOST : 0];
	size_t n = (size_t)(last->at + last->n - line), at = 0;

	return memchr(line, '\0', n) != NULL || memchr(line, '\r', n) != NULL || text_invisible(line, n, &at) != 0 ||
	       (n > 1 && (memcmp(line, "\377\376", 2) == 0 || memcmp(line, "\376\377", 2) == 0));
}

static void take_word(const struct word *word, struct buf *out)
{
	buf_clear(out);
	if (!word_is(word, "="))
		buf_add(out, word->at, word->n);
}

enum secrets_answer secrets_search(const char *text, size_t n, const char *path, const char *channel,
                                   const char *const *names, struct secret *secret, struct buf *why)
{
	struct conf_text lines = conf_begin(path, text, n, why);

	while (conf_next(&lines)) {
		const char *wrong;
		struct word words[WORDS];
		size_t count = split(lines.line, lines.length, words);

		if (count == 0 || words[0].at[0] == '#')
			continue;
		if (is_unreadable(lines.line, words, count)) {
			conf_error(&lines,
			           "expected plain text (UTF-8): a byte in front of the secrets is no letter and no blank");
			return SECRETS_UNCLEAR;
		}
		/* nor can it without a host */
		if (count <= HOST) {
			conf_error(&lines, EXPECTED_WORDS);
			return SECRETS_UNCLEAR;
		}
		if (!word_is(&words[CHANNEL], "*") && !word_is(&words[CHANNEL], channel))
			continue;
		if (!host_is(words[HOST], names))
			continue;
		wrong = damage(words, count);
		if (wrong != NULL) {
			conf_error(&lines, "%s", wrong);
			return SECRETS_UNCLEAR;
		}
		take_word(&words[USER], &secret->user);
		take_word(&words[PASSWORD], &secret->password);
		return SECRETS_FOUND;
	}
	return SECRETS_NONE;
}

/* ---- the file ---- */

static bool is_private(int fd, const char *path, off_t *size, struct buf *why)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		buf_addf(why, "%s: %s", path, strerror(errno));
		return false;
	}
	*size = st.st_size;
	if (!S_ISREG(st.st_mode))
		buf_addf(why, "%s: not a regular file", path);
	else if (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH))
		buf_addf(why, "%s: its mode is %04o, but only its owner may read and write secrets (chmod 600)", path,
		         (unsigned)st.st_mode & 07777);
	else if (st.st_uid != 0 && st.st_uid != geteuid()) {
		buf_addf(why, "%s: it belongs to user ", path);
		account_add_user(why, st.st_uid);
		buf_adds(why, ", expected root or user ");
		account_add_user(why, geteuid());
	} else if (st.st_size > FILE_MAX)
		buf_addf(why, "%s: too large for a file of secrets", path);
	else
		return true;
	return false;
}

/* One byte more than there should be shows that the file grows under our hands. */
static bool read_whole(int fd, off_t size, struct buf *text)
{
	size_t want = (size_t)size + 1;
	char *room = buf_reserve(text, want);

	while (text->len < want) {
		ssize_t n = read(fd, room + text->len, want - text->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (n == 0)
			return true;
		text->len += (size_t)n;
	}
	errno = EBUSY;
	return false;
}

enum secrets_answer secrets_find(const char *path, const char *channel, const char *const *names,
                                 struct secret *secret, struct buf *why)
{
	/* O_NONBLOCK: the name may be that of a pipe */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	enum secrets_answer answer = SECRETS_UNCLEAR;
	struct buf text = { 0 };
	off_t size = 0;

	if (fd < 0) {
		buf_addf(why, "%s: %s", path, strerror(errno));
		return SECRETS_UNCLEAR;
	}
	if (is_private(fd, path, &size, why)) {
		if (read_whole(fd, size, &text)) {
			if (text.len > 0)
				text.len = text_unmark(text.data, text.len);
			answer = secrets_search(buf_str(&text), text.len, path, channel, names, secret, why);
		} else {
			buf_addf(why, "%s: %s", path, strerror(errno));
		}
	}
	buf_wipe(&text);
	close(fd);
	return answer;
}
