#include "channel/spool/agent_protocol.h"

#include <ctype.h>
#include <string.h>

#include "lib/parse.h"

struct agent_order agent_order(char *line)
{
	struct agent_order order = { .kind = ORDER_JOB, .path = line };
	char *tab = strchr(line, '\t');

	if (line[0] == '\0')
		return (struct agent_order){ .kind = ORDER_QUIT };
	if (line[0] == '#')
		return (struct agent_order){ .kind = ORDER_IDLE };
	if (tab != NULL) {
		*tab = '\0';
		order.host = tab + 1;
	}
	return order;
}

struct verdict_word {
	const char *word;
	enum agent_verdict verdict;
	bool logged;
};

static const struct verdict_word *verdict_find(const char *word)
{
	static const struct verdict_word words[] = {
		{ "ok", VERDICT_OK, false },
		{ "ok2", VERDICT_OK, true },
		{ "ok3", VERDICT_OK, true },
		{ "error", VERDICT_ERROR, false },
		{ "error2", VERDICT_ERROR, true },
		{ "retryat", VERDICT_RETRY_ALL, false },
		{ "deferall", VERDICT_RETRY_ALL, false },
		{ "deferred", VERDICT_DEFERRED, false },
		{ "deferback", VERDICT_DEFERRED, false },
	};
	static const struct verdict_word unknown = { "", VERDICT_DEFERRED, false };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcmp(word, words[i].word) == 0)
			return &words[i];
	return &unknown;
}

/* Ends the word at *s with a NUL and moves *s to what follows its blanks. */
static char *take_word(char **s)
{
	char *word = *s;
	size_t n = strcspn(word, " ");

	*s = word + n;
	if (**s != '\0')
		*(*s)++ = '\0';
	*s += strspn(*s, " ");
	return word;
}

static bool take_id(char *s, struct agent_answer *a)
{
	char *slash = strchr(s, '/');
	uint64_t offset;

	if (slash == NULL)
		return false;
	*slash = '\0';
	if (!parse_number(s, UINT64_MAX, &a->id) || !parse_number(slash + 1, INT64_MAX, &offset)) {
		*slash = '/';
		return false;
	}
	a->offset = (off_t)offset;
	return true;
}

struct agent_answer agent_answer(char *line)
{
	struct agent_answer a = { .kind = ANSWER_REPORT };
	char *notary, *rest;
	const struct verdict_word *found;
	char *word;

	if (line[0] == '#' || line[0] == '\0') {
		static const char resync[] = "#resync ";

		/* ZMailer looks at the beginning only */
		if (strncmp(line, "#hungry", 7) == 0)
			return (struct agent_answer){ .kind = ANSWER_HUNGRY };
		if (strncmp(line, resync, sizeof resync - 1) == 0) {
			line += sizeof resync - 1;
			return (struct agent_answer){ .kind = ANSWER_RESYNC, .name = line + strspn(line, " ") };
		}
		line += line[0] == '#';
		return (struct agent_answer){ .kind = ANSWER_COMMENT, .text = line + strspn(line, " ") };
	}
	notary = strchr(line, '\t');
	rest = notary ? strchr(notary + 1, '\t') : NULL;
	if (rest == NULL)
		return (struct agent_answer){ .kind = ANSWER_GARBAGE, .text = line };
	*notary++ = '\0';
	if (!take_id(line, &a)) {
		notary[-1] = '\t';
		return (struct agent_answer){ .kind = ANSWER_GARBAGE, .text = line };
	}
	*rest++ = '\0';
	a.notary = notary;
	word = take_word(&rest);
	found = verdict_find(word);
	a.verdict = found->verdict;
	a.logged = found->logged;
	/* "retryat [+]N TEXT": the text without its number */
	if (strcmp(word, "retryat") == 0 && isdigit((unsigned char)rest[*rest == '+']))
		take_word(&rest);
	a.text = rest;
	return a;
}
