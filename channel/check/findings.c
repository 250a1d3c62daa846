#include "channel/check/findings.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"
#include "lib/text.h"

#define TEXT_MAX 500
#define LABEL_MAX 60
/* Of findings in the first line: it goes into a message to a telephone. */
#define SHOWN 3

static const char *severity_name(enum severity severity)
{
	switch (severity) {
	case FINDING_OK: return "OK";
	case FINDING_WARNING: return "WARNING";
	case FINDING_CRITICAL: return "CRITICAL";
	case FINDING_UNKNOWN: break;
	}
	return "UNKNOWN";
}

void finding_add(struct findings *f, enum severity severity, const char *format, ...)
{
	struct buf text = { 0 }, clean = { 0 };
	va_list ap;

	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	text_add_clean_string(&clean, buf_str(&text), TEXT_MAX);
	/* what stands behind it is for machines */
	for (char *p = clean.data; p != NULL && *p != '\0'; p++)
		if (*p == '|')
			*p = '/';
	f->list = xgrow(f->list, f->count, &f->capacity, sizeof *f->list);
	f->list[f->count++] = (struct finding){ severity, xstrdup(buf_str(&clean)) };
	buf_free(&text);
	buf_free(&clean);
}

enum severity thresholds_judge(const struct thresholds *t, int64_t value)
{
	if (t->critical >= 0 && value > t->critical)
		return FINDING_CRITICAL;
	return t->warning >= 0 && value > t->warning ? FINDING_WARNING : FINDING_OK;
}

static void add_limit(struct buf *out, int64_t limit)
{
	buf_addc(out, ';');
	if (limit >= 0)
		buf_addf(out, "%" PRId64, limit);
}

void performance_add(struct findings *f, const char *label, int64_t value, const char *unit, const struct thresholds *t)
{
	struct buf *out = &f->performance, clean = { 0 }, name = { 0 };

	text_add_clean_string(&clean, label, LABEL_MAX);
	for (size_t i = 0; i < clean.len; i++)
		if (strchr("'=|", clean.data[i]) != NULL)
			clean.data[i] = '_';
	buf_addf(&name, "'%s'=", buf_str(&clean));
	/* a graph belongs to a label: another value under the same one would be drawn into it */
	for (unsigned n = 2; strstr(buf_str(out), buf_str(&name)) != NULL; n++) {
		buf_clear(&name);
		buf_addf(&name, "'%s_%u'=", buf_str(&clean), n);
	}
	buf_addf(out, "%s%s%" PRId64 "%s", out->len > 0 ? " " : "", name.data, value, unit);
	buf_free(&clean);
	buf_free(&name);
	if (t != NULL) {
		add_limit(out, t->warning);
		add_limit(out, t->critical);
	}
}

enum severity findings_worst(const struct findings *f)
{
	static const int rank[] = { [FINDING_OK] = 0, [FINDING_WARNING] = 1, [FINDING_UNKNOWN] = 2, [FINDING_CRITICAL] = 3 };
	enum severity worst = FINDING_OK;

	for (size_t i = 0; i < f->count; i++)
		if (rank[f->list[i].severity] > rank[worst])
			worst = f->list[i].severity;
	return worst;
}

void findings_print(const struct findings *f, bool verbose, struct buf *out)
{
	enum severity worst = findings_worst(f);
	size_t bad = 0, shown = 0;

	for (size_t i = 0; i < f->count; i++)
		bad += f->list[i].severity != FINDING_OK;
	buf_addf(out, "%s - ", severity_name(worst));
	if (bad == 0)
		buf_addf(out, "%zu check%s passed", f->count, f->count == 1 ? "" : "s");
	/* the worst ones, as many as one line bears */
	for (size_t i = 0; bad > 0 && i < f->count && shown < SHOWN; i++)
		if (f->list[i].severity == worst)
			buf_addf(out, "%s%s", shown++ > 0 ? "; " : "", f->list[i].text);
	if (bad > shown)
		buf_addf(out, "; and %zu more", bad - shown);
	if (f->performance.len > 0)
		buf_addf(out, " | %s", f->performance.data);
	buf_addc(out, '\n');
	for (size_t i = 0; verbose && i < f->count; i++)
		buf_addf(out, "%-8s  %s\n", severity_name(f->list[i].severity), f->list[i].text);
}

void findings_free(struct findings *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->list[i].text);
	free(f->list);
	buf_free(&f->performance);
	*f = (struct findings){ 0 };
}
