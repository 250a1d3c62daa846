#include "channel/report/forms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/alloc.h"
#include "lib/file.h"
#include "lib/text.h"

static const char *const kinds[FORM_KINDS] = {
	[FORM_FAILURE] = "failure", [FORM_DELAY] = "delay", [FORM_SUCCESS] = "success",
};

static const char *const names[FORM_NAMES] = {
	[FORM_HOST] = "host", [FORM_ID] = "id", [FORM_SENDER] = "sender", [FORM_SUBJECT] = "subject",
	[FORM_ARRIVAL] = "arrival", [FORM_UNTIL] = "until", [FORM_POSTMASTER] = "postmaster",
	[FORM_RECIPIENTS] = "recipients",
};

#define GREETING "This is the mail system at $host.\n\n"
#define ABOUT "\n    Subject: $subject\n    Sent by: $sender\n    Arrived: $arrival\n    Our id:  $id\n"
#define HELP "\nIf you need help, write to $postmaster and give the id.\n"

static const struct { const char *subject, *text; } built_in[FORM_KINDS] = {
	[FORM_FAILURE] = {
		"Your mail could not be delivered",
		GREETING "Your message could not be delivered to the recipients below, and will not be\ntried again:\n"
		"\n$recipients\nThe message was:\n" ABOUT
		"\nCheck the addresses. If they are right, the words of the server above say what\n"
		"is wrong, and whom to ask. A copy of your message, or of its header, is attached.\n" HELP,
	},
	[FORM_DELAY] = {
		"Your mail is delayed",
		GREETING "Your message could not be delivered yet to the recipients below. This is a\n"
		"warning only: you need not send it again.\n"
		"\n$recipients\nDelivery is tried until $until.\n\nThe message was:\n" ABOUT HELP,
	},
	[FORM_SUCCESS] = {
		"Your mail was delivered",
		GREETING "You have asked to be told when your message is delivered. This has happened\n"
		"for the recipients below:\n"
		"\n$recipients\nThe message was:\n" ABOUT,
	},
};

const char *form_kind_name(enum form_kind kind)
{
	return kinds[kind];
}

/* The name at p, behind its '$', and its length; FORM_NAMES if it is none of ours. */
static enum form_name find_name(const char *p, size_t *n)
{
	*n = 0;
	while ((p[*n] >= 'a' && p[*n] <= 'z') || (p[*n] >= 'A' && p[*n] <= 'Z') || p[*n] == '_')
		++*n;
	for (int i = 0; i < FORM_NAMES; i++)
		if (strlen(names[i]) == *n && strncmp(names[i], p, *n) == 0)
			return (enum form_name)i;
	return FORM_NAMES;
}

static bool damaged(struct buf *why, size_t line, const char *what)
{
	buf_addf(why, "%zu: %s", line, what);
	return false;
}

/* Bytes that no text has, and unknown names. */
static bool check_bytes(const char *text, size_t n, struct buf *why)
{
	size_t line = 1, length, name;

	for (size_t i = 0; i < n; i += length) {
		unsigned char c = (unsigned char)text[i];

		length = text_utf8_length(text + i, n - i);
		if (length == 0)
			return damaged(why, line, "not UTF-8");
		if ((c < ' ' && c != '\n' && c != '\t' && !(c == '\r' && text[i + 1] == '\n')) || c == 127)
			return damaged(why, line, "holds a control byte");
		if (c == '$' && text[i + 1] == '$') {
			length = 2;
		} else if (c == '$' && find_name(text + i + 1, &name) == FORM_NAMES) {
			buf_addf(why, "%zu: $%.*s is no name; expected $$", line, (int)(name < 50 ? name : 50), text + i + 1);
			for (int k = 0; k < FORM_NAMES; k++)
				buf_addf(why, ", $%s", names[k]);
			return false;
		}
		line += c == '\n';
	}
	return true;
}

/* $recipients is many lines: it needs one of its own. */
static bool has_recipients(const char *text)
{
	const char *p = strstr(text, "$recipients");

	return p != NULL && (p == text || p[-1] == '\n') && (p[11] == '\n' || p[11] == '\0') &&
	       strstr(p + 1, "$recipients") == NULL;
}

bool form_parse(struct forms *forms, enum form_kind kind, const char *text, size_t n, struct buf *why)
{
	struct form form = { 0 };
	char *copy, *end, *subject;
	bool ok = true;

	if (n > FORM_MAX)
		return damaged(why, 1, "larger than 64 kB");
	if (memchr(text, '\0', n) != NULL)
		return damaged(why, 1, "holds a NUL byte");
	copy = xstrndup(text, n);
	text_unmark(copy, n);
	end = strchr(copy, '\n');
	subject = copy + 8;
	if (!check_bytes(copy, strlen(copy), why)) {
		ok = false;
	} else if (strncasecmp(copy, "Subject:", 8) != 0 || end == NULL || end[1] != '\n') {
		ok = damaged(why, 1, "expected \"Subject: words\", then an empty line, then the text");
	} else {
		*end = '\0';
		subject += strspn(subject, " \t");
		form.text = end + 2;
		if (*subject == '\0' || strlen(subject) > 200 || strstr(subject, "$recipients") != NULL)
			ok = damaged(why, 1, "expected a subject of at most 200 bytes, without $recipients");
		else if (!has_recipients(form.text))
			ok = damaged(why, 3, "expected $recipients once, alone in its line");
	}
	if (ok) {
		free(forms->of[kind].subject);
		free(forms->of[kind].text);
		forms->of[kind] = (struct form){ xstrdup(subject), xstrdup(form.text) };
	}
	free(copy);
	return ok;
}

void forms_read(struct forms *forms, const char *directory, struct buf *notes)
{
	for (int i = 0; i < FORM_KINDS; i++) {
		char *path = xasprintf("%s/%s", directory, kinds[i]);
		struct buf text = { .limit = FORM_MAX + 3 }, why = { 0 };

		if (!file_read_text(path, &text)) {
			if (errno != ENOENT && errno != ENOTDIR)
				buf_addf(notes, "%s: %s; reports have the built-in words\n", path, file_error(errno));
		} else if (!form_parse(forms, (enum form_kind)i, buf_str(&text), text.len, &why)) {
			buf_addf(notes, "%s:", path);
			text_add_clean(notes, buf_str(&why), why.len, 500);
			buf_adds(notes, "; reports have the built-in words\n");
		}
		free(path);
		buf_free(&text);
		buf_free(&why);
	}
}

struct form forms_of(const struct forms *forms, enum form_kind kind)
{
	if (forms->of[kind].text != NULL)
		return forms->of[kind];
	return (struct form){ (char *)(uintptr_t)built_in[kind].subject, (char *)(uintptr_t)built_in[kind].text };
}

void form_fill(struct buf *out, const char *text, const char *const values[FORM_NAMES])
{
	const char *dollar;

	for (; (dollar = strchr(text, '$')) != NULL; text = dollar) {
		size_t n;
		enum form_name name = find_name(dollar + 1, &n);

		buf_add(out, text, (size_t)(dollar - text));
		if (name < FORM_NAMES) {
			buf_adds(out, values[name] != NULL ? values[name] : "");
			dollar += 1 + n;
		} else {
			buf_addc(out, '$');
			dollar += dollar[1] == '$' ? 2 : 1;
		}
	}
	buf_adds(out, text);
}

void forms_free(struct forms *forms)
{
	for (int i = 0; i < FORM_KINDS; i++) {
		free(forms->of[i].subject);
		free(forms->of[i].text);
	}
	*forms = (struct forms){ 0 };
}
