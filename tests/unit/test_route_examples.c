/*
 * Every example of tests/db/routing.examples, through maps in memory.  That file says what its lines mean.
 */
#include "tests/unit/unit.h"

#include <ctype.h>

#include "db/build/text.h"
#include "tests/unit/route_maps.h"

#define MOST_MAPS 8

struct example_map {
	enum route_relation relation;
	char *options;
	bool alias_syntax;
	struct line *lines;
	size_t count;
	size_t capacity;
};

struct set {
	char *name;
	struct example_map maps[MOST_MAPS];
	size_t count;
};

struct example {
	int number;
	const struct set *set;
	bool any_user, no_domain, sender, error_message;
	char *address;
	char *expect;
	bool differs;
	bool because;
};

static struct set sets[64];
static size_t set_count;
static struct example examples[1024];
static size_t example_count;

/* A copy in which {x*8000} is written out. */
static char *written_out(const char *text)
{
	struct buf out = { 0 };

	while (*text != '\0') {
		char c, close;
		int n;

		if (sscanf(text, "{%c*%d%c", &c, &n, &close) == 3 && close == '}') {
			while (n-- > 0)
				buf_addc(&out, c);
			text = strchr(text, '}') + 1;
		} else {
			buf_addc(&out, *text++);
		}
	}
	return out.data != NULL ? out.data : xstrdup("");
}

static enum route_relation relation_called(const char *name)
{
	for (int i = 0; i < ROUTE_RELATIONS; i++)
		if (strcmp(name, route_relation_name((enum route_relation)i)) == 0)
			return (enum route_relation)i;
	fail_msg("unknown relation %s", name);
	return ROUTE_RELATIONS;
}

/* "RELATION [plain] OPTIONS" */
static void start_map(struct set *set, char *line)
{
	struct example_map *m = &set->maps[set->count++];
	char *rest = strchr(line, ' ');

	assert_true(set->count <= MOST_MAPS && rest != NULL);
	*rest++ = '\0';
	m->relation = relation_called(line);
	m->alias_syntax = m->relation == ROUTE_ALIASES || m->relation == ROUTE_FQDNALIASES ||
	                  m->relation == ROUTE_FQDNROUTES;
	if (strncmp(rest, "plain ", 6) == 0) {
		m->alias_syntax = false;
		rest += 6;
	}
	m->options = xstrdup(rest);
}

static size_t key_length(const char *line, bool alias_syntax)
{
	bool quoted = false;
	size_t n = 0;

	for (; line[n] != '\0' && (quoted || !strchr(alias_syntax ? ":" : " ", line[n])); n++)
		if (line[n] == '"' && alias_syntax)
			quoted = !quoted;
	return n;
}

static void add_map_line(struct example_map *m, const char *line)
{
	size_t n = key_length(line, m->alias_syntax);
	const char *value = line[n] != '\0' ? line + n + 1 : "";
	char *key;

	/* one more for the end of the list */
	m->lines = xgrow(m->lines, m->count + 1, &m->capacity, sizeof *m->lines);
	key = xstrndup(line, n);
	m->lines[m->count].key = written_out(key);
	text_unquote(m->lines[m->count].key, strlen(m->lines[m->count].key));    /* as newdb stores it */
	m->lines[m->count++].value = written_out(value + strspn(value, " "));
	m->lines[m->count] = (struct line){ NULL, NULL };
	free(key);
}

/* "NUMBER SET MODE ..." */
static void start_example(char *line)
{
	struct example *x = &examples[example_count++];
	char *word = strtok(line, " ");

	assert_true(example_count < sizeof examples / sizeof examples[0] && set_count < sizeof sets / sizeof sets[0]);
	x->number = atoi(word);
	word = strtok(NULL, " ");
	for (size_t i = 0; i < set_count; i++)
		if (strcmp(sets[i].name, word) == 0)
			x->set = &sets[i];
	assert_non_null(x->set);
	while ((word = strtok(NULL, " ")) != NULL) {
		bool *mode = strcmp(word, "any-user") == 0    ? &x->any_user
		             : strcmp(word, "no-domain") == 0 ? &x->no_domain
		             : strcmp(word, "sender") == 0    ? &x->sender
		                                              : &x->error_message;

		*mode = true;
	}
}

static void read_line(char *line)
{
	struct example *x = example_count > 0 ? &examples[example_count - 1] : NULL;
	static bool in_set;

	if (line[0] == '\0' || line[0] == '#')
		return;
	if (strncmp(line, "set ", 4) == 0) {
		sets[set_count++].name = xstrdup(line + 4);
		in_set = true;
	} else if (isdigit((unsigned char)line[0])) {
		start_example(line);
		in_set = false;
	} else if (in_set && line[0] == '\t') {
		struct set *set = &sets[set_count - 1];

		add_map_line(&set->maps[set->count - 1], line + 1);
	} else if (in_set) {
		start_map(&sets[set_count - 1], line);
	} else if (line[0] == '\t') {
		x->address = written_out(line + 1);
	} else if (strncmp(line, "both\t", 5) == 0 || strncmp(line, "ours\t", 5) == 0) {
		x->expect = written_out(line + 5);
	} else if (strncmp(line, "zmailer\t", 8) == 0) {
		x->differs = true;
	} else if (strncmp(line, "because\t", 8) == 0) {
		x->because = true;
	} else if (strncmp(line, "scripts\t", 8) == 0) {
		return;
	} else {
		fail_msg("routing.examples: not understood: %s", line);
	}
}

static int read_examples(void **state)
{
	const char *top = getenv("SRC_DIR");
	char *path = xasprintf("%s/tests/db/routing.examples", top != NULL ? top : "."), *line = NULL;
	FILE *in = fopen(path, "r");
	size_t size = 0;
	ssize_t n;

	(void)state;
	if (in == NULL)
		return -1;
	while ((n = getline(&line, &size, in)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		read_line(line);
	}
	fclose(in);
	free(line);
	free(path);
	return 0;
}

static int forget_examples(void **state)
{
	(void)state;
	for (size_t i = 0; i < set_count; i++) {
		for (size_t j = 0; j < sets[i].count; j++) {
			struct example_map *m = &sets[i].maps[j];

			for (size_t k = 0; k < m->count; k++) {
				free(m->lines[k].key);
				free(m->lines[k].value);
			}
			free(m->lines);
			free(m->options);
		}
		free(sets[i].name);
	}
	for (size_t i = 0; i < example_count; i++) {
		free(examples[i].address);
		free(examples[i].expect);
	}
	return 0;
}

static struct router *router_for(const struct example *x)
{
	static char host[] = "mx.local.test", domain[] = "local.test", nothing[] = "";
	static const struct line localnames[] = { { host, nothing }, { domain, nothing }, { NULL, NULL } };
	struct router *r = test_router();

	r->localdoesdomain = !x->no_domain;
	r->any_local_user = x->any_user;
	for (size_t i = 0; i < x->set->count; i++)
		add_lines(r, x->set->maps[i].relation, x->set->maps[i].options, x->set->maps[i].lines);
	if (r->relations[ROUTE_THISHOST] == NULL)
		add_lines(r, ROUTE_THISHOST, "-lm%d pathalias", localnames);
	return r;
}

/* The whole answer agrees with its results. */
static void check_answer(enum map_answer answer, const struct route_result *results, size_t count)
{
	bool held = false, refused = false;

	for (size_t i = 0; i < count; i++) {
		held = held || strcmp(results[i].channel, "hold") == 0;
		refused = refused || results[i].answer == MAP_NOT_FOUND;
	}
	assert_int_equal(answer, held ? MAP_COULD_NOT_TELL : refused ? MAP_NOT_FOUND : MAP_FOUND);
}

static void every_example_gives_its_results(void **state)
{
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < example_count; i++) {
		const struct example *x = &examples[i];
		struct router *r = router_for(x);
		struct route_query q = {
			.address = x->address, .length = strlen(x->address),
			.type = x->sender ? ROUTE_SENDER : ROUTE_RECIPIENT, .error_message = x->error_message,
		};
		enum map_answer answer;
		const struct route_result *results;
		struct buf shown = { 0 };
		size_t count;

		answer = route(r, &q, &results, &count);
		check_answer(answer, results, count);
		show_results(&shown, results, count);
		if (strcmp(buf_str(&shown), x->expect) != 0) {
			print_message("# %d %s: %s, expected %s\n", x->number, x->address, buf_str(&shown), x->expect);
			wrong++;
		}
		buf_free(&shown);
		router_destroy(&r);
	}
	assert_int_equal(wrong, 0);
}

static void the_examples_are_complete_and_every_difference_has_its_reason(void **state)
{
	(void)state;
	assert_int_equal(example_count, 320);
	for (size_t i = 0; i < example_count; i++) {
		assert_int_equal(examples[i].number, (int)i + 1);
		assert_non_null(examples[i].address);
		assert_non_null(examples[i].expect);
		assert_int_equal(examples[i].differs, examples[i].because);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_are_complete_and_every_difference_has_its_reason),
		cmocka_unit_test(every_example_gives_its_results),
	};

	return cmocka_run_group_tests(tests, read_examples, forget_examples);
}
