#include "lib/logline.h"

#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/text.h"

/* Between looks for a log daemon, in milliseconds. */
#define LOOK_PAUSE 1000

bool logline_form(const char *assignment, bool *json)
{
	*json = strcmp(assignment, "log=json") == 0;
	return *json || strcmp(assignment, "log=keys") == 0;
}

void logline_begin(struct logline *line, bool json)
{
	buf_clear(&line->text);
	line->json = json;
	if (json)
		buf_addc(&line->text, '{');
}

void logline_key(struct logline *line, const char *key)
{
	/* behind the opening brace, or at the beginning of the line */
	if (line->text.len > (line->json ? 1 : 0))
		buf_addc(&line->text, line->json ? ',' : ' ');
	if (line->json)
		buf_addc(&line->text, '"');
	buf_adds(&line->text, key);
	buf_adds(&line->text, line->json ? "\":" : "=");
}

/* The bytes that make quotes unnecessary; the common case is added as it stands. */
static bool is_plain(const char *value, size_t *length)
{
	const char *p = value;

	while (*p > ' ' && *p < 127 && *p != '"' && *p != '\\' && *p != '=')
		p++;
	*length = (size_t)(p - value);
	return *p == '\0' && *length > 0 && *length <= LOGLINE_VALUE_MAX;
}

void logline_add(struct logline *line, const char *key, const char *value)
{
	struct buf *text = &line->text, clean = { 0 };
	size_t n;

	logline_key(line, key);
	if (line->json) {
		text_add_json(text, value, strlen(value));
	} else if (is_plain(value, &n)) {
		buf_add(text, value, n);
	} else {
		text_add_clean_string(&clean, value, LOGLINE_VALUE_MAX);
		buf_addc(text, '"');
		for (const char *p = buf_str(&clean); *p != '\0'; p++) {
			if (*p == '"' || *p == '\\')
				buf_addc(text, '\\');
			buf_addc(text, *p);
		}
		buf_addc(text, '"');
		buf_free(&clean);
	}
}

void logline_number(struct logline *line, const char *key, uint64_t number)
{
	logline_key(line, key);
	buf_addu(&line->text, number);
}

void logline_known(struct logline *line, const char *key, int64_t number)
{
	logline_key(line, key);
	if (number > 0)
		buf_addu(&line->text, (uint64_t)number);
	else
		buf_adds(&line->text, "null");
}

void logline_bool(struct logline *line, const char *key, bool value)
{
	logline_key(line, key);
	if (line->json)
		buf_adds(&line->text, value ? "true" : "false");
	else
		buf_adds(&line->text, value ? "yes" : "no");
}

void logline_end(struct logline *line)
{
	if (line->json)
		buf_addc(&line->text, '}');
}

void logline_free(struct logline *line)
{
	buf_free(&line->text);
}

void logline_open_syslog(const char *program)
{
	openlog(program, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

bool logline_is_heard(void)
{
	static int64_t look_again;
	static bool heard;
	int64_t now = clock_ms();

	if (now >= look_again) {
		heard = access(_PATH_LOG, W_OK) == 0;
		look_again = now + LOOK_PAUSE;
	}
	return heard;
}

void logline_send(const struct logline *line)
{
	if (logline_is_heard())
		syslog(LOG_INFO, "%s", buf_str(&line->text));
}
