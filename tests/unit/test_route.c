#include "tests/unit/unit.h"

#include "db/route/explain.h"
#include "tests/unit/route_maps.h"

#define L(key, value) { (char *)(uintptr_t)(key), (char *)(uintptr_t)(value) }
#define END { NULL, NULL }

/* Routes `length` bytes and shows the results; freed by the caller. */
static char *routed_bytes(struct router *r, const char *address, size_t length, enum map_answer *answer)
{
	struct route_query q = { .address = address, .length = length, .privilege = 1000 };
	const struct route_result *results;
	struct buf shown = { 0 };
	size_t count;

	*answer = route(r, &q, &results, &count);
	assert_true(count > 0);
	show_results(&shown, results, count);
	return buf_str(&shown) == shown.data ? shown.data : xstrdup("");
}

static void routes(struct router *r, const char *address, const char *expect)
{
	enum map_answer answer;
	char *shown = routed_bytes(r, address, strlen(address), &answer);

	assert_string_equal(shown, expect);
	free(shown);
}

/* Why the only result is held. */
static void held_because(struct router *r, const char *address, const char *why)
{
	struct route_query q = { .address = address, .length = strlen(address) };
	const struct route_result *results;
	size_t count;
	enum map_answer answer = route(r, &q, &results, &count);

	assert_int_equal(answer, MAP_COULD_NOT_TELL);
	assert_int_equal(count, 1);
	assert_string_equal(results[0].channel, "hold");
	if (strstr(results[0].host, why) == NULL)
		fail_msg("%s: held because: %s", address, results[0].host);
}

static struct router *with(enum route_relation id, const char *options, const struct line *lines)
{
	struct router *r = test_router();

	add_lines(r, id, options, lines);
	return r;
}

/* ---- loops ---- */

static void a_copy_to_oneself_is_delivered(void **state)
{
	static const struct line aliases[] = { L("root", "root, copy@r.test"), END };
	static const struct line fqdn[] = { L("joe@d.test", "joe@d.test, copy@r.test"), END };
	static const struct line mailbox[] = { L("joe@d.test", "smtp-lmtp!node!joe%2"), END };
	struct router *r = with(ROUTE_ALIASES, "-l", aliases);

	(void)state;
	routes(r, "root", "(local root root@local.test) (smtp r.test copy@r.test)");
	routes(r, "root+t", "(local root+t root+t@local.test) (smtp r.test copy@r.test)");
	router_destroy(&r);
	r = with(ROUTE_FQDNALIASES, "-l%", fqdn);
	add_lines(r, ROUTE_FQDNROUTES, "-l%", mailbox);
	routes(r, "joe@d.test", "(smtp-lmtp node joe) (smtp r.test copy@r.test)");
	routes(r, "Joe+Box@d.test", "(smtp-lmtp node joe+Box) (smtp r.test copy@r.test)");
	router_destroy(&r);
}

static void a_list_that_leads_back_holds_only_the_way_back(void **state)
{
	static const struct line fqdn[] = {
		L("a@d.test", "b@d.test, x@r.test"), L("b@d.test", "c@d.test, y@r.test"),
		L("c@d.test", "a@d.test, z@r.test"), END
	};
	struct router *r = with(ROUTE_FQDNALIASES, "-l", fqdn);

	(void)state;
	routes(r, "a@d.test",
	       "(hold * a@d.test) (smtp r.test z@r.test) (smtp r.test y@r.test) (smtp r.test x@r.test)");
	router_destroy(&r);
}

static void one_address_on_two_ways_is_no_loop(void **state)
{
	static const struct line fqdn[] = {
		L("all@d.test", "a@d.test, b@d.test"), L("a@d.test", "c@d.test"), L("b@d.test", "c@d.test"),
		L("c@d.test", "x@r.test"), END
	};
	struct router *r = with(ROUTE_FQDNALIASES, "-l", fqdn);

	(void)state;
	routes(r, "all@d.test", "(smtp r.test x@r.test)");
	router_destroy(&r);
}

static void a_loop_through_two_relations_ends(void **state)
{
	static const struct line fqdn[] = { L("a@d.test", "local"), END };
	static const struct line aliases[] = { L("local", "a@d.test"), END };
	struct router *r = with(ROUTE_FQDNALIASES, "-l", fqdn);

	(void)state;
	add_lines(r, ROUTE_ALIASES, "-l", aliases);
	held_because(r, "a@d.test", "leads back to itself");
	router_destroy(&r);
}

static void growing_addresses_end_at_the_depth_limit(void **state)
{
	static const struct line fqdn[] = { L("@d.test", "x%1@d.test"), END };
	struct router *r = with(ROUTE_FQDNALIASES, "-l%", fqdn);

	(void)state;
	held_because(r, "u@d.test", "more than 9 lists one inside the other");
	router_destroy(&r);
}

static void growing_lists_end_at_the_count_limit(void **state)
{
	static const struct line fqdn[] = { L("@d.test", "a%1@d.test, b%1@d.test, x@r.test"), END };
	struct router *r = with(ROUTE_FQDNALIASES, "-l%", fqdn);

	(void)state;
	r->max_depth = 1000;
	r->max_addresses = 500;
	held_because(r, "u@d.test", "more than 500 addresses");
	r->max_depth = 20;
	held_because(r, "u@d.test", "more than");
	router_destroy(&r);
}

static void values_that_grow_are_stopped(void **state)
{
	static const struct line fqdn[] = { L("@d.test", "%1%1@d.test"), END };
	struct router *r = with(ROUTE_FQDNALIASES, "-l%", fqdn);

	(void)state;
	r->max_depth = 50;
	held_because(r, "u@d.test", "no address");
	router_destroy(&r);
}

static void a_long_tail_on_a_long_list_is_stopped(void **state)
{
	struct buf list = { 0 };
	struct line aliases[2] = { END, END };
	struct router *r;
	char *address = malloc(16001);

	(void)state;
	for (int i = 0; i < 9000; i++)
		buf_addf(&list, "%smember%d", i > 0 ? "," : "", i);
	memset(address, 'x', 16000);
	memcpy(address, "all+", 4);
	address[16000] = '\0';
	aliases[0] = (struct line)L("all", buf_str(&list));
	r = with(ROUTE_ALIASES, "-l", aliases);
	r->any_local_user = true;
	held_because(r, address, "too much memory");
	router_destroy(&r);
	buf_free(&list);
	free(address);
}

/* ---- tails ---- */

static void a_tail_goes_through_chains_to_where_it_is_used(void **state)
{
	static const struct line fqdn[] = {
		L("a@d.test", "b@d.test"), L("b@d.test", "c@e.test"), L("named@d.test", "box%2@r.test"),
		L("kept@d.test", "local"), L("special+x@d.test", "exact@r.test"), L("chain@d.test", "special@d.test"), END
	};
	static const struct line mailbox[] = { L("c@e.test", "smtp-lmtp!node!c%2"), END };
	struct router *r = with(ROUTE_FQDNALIASES, "-l%", fqdn);

	(void)state;
	r->any_local_user = true;
	r->localdoesdomain = false;
	add_lines(r, ROUTE_FQDNROUTES, "-l%", mailbox);
	routes(r, "A+Box@d.test", "(smtp-lmtp node c+Box)");
	routes(r, "a--Box@d.test", "(smtp-lmtp node c+Box)");
	routes(r, "named+Box@d.test", "(smtp r.test box+Box@r.test)");
	routes(r, "kept+Box@d.test", "(local kept+Box@d.test local+Box)");
	/* as if it had been sent to special+x */
	routes(r, "chain+x@d.test", "(smtp r.test exact@r.test)");
	router_destroy(&r);
}

static void an_option_folds_tails_as_zmailer_does(void **state)
{
	static const struct line mailbox[] = { L("u@d.test", "c!h!u%2"), L("@e.test", "c!h!%1"), END };
	static const struct line fqdn[] = { L("v@d.test", "local"), END };
	struct router *r = with(ROUTE_FQDNROUTES, "-l%L", mailbox);

	(void)state;
	add_lines(r, ROUTE_FQDNALIASES, "-lL", fqdn);
	r->any_local_user = true;
	routes(r, "U+Box@d.test", "(c h u+box)");
	routes(r, "U+Box@e.test", "(c h u+box)");
	routes(r, "v+Box@d.test", "(local v+Box@d.test local+box@d.test)");
	router_destroy(&r);
}

/* ---- three answers ---- */

static enum map_answer nobody_can_tell(void *context, const char *name)
{
	(void)context;
	(void)name;
	return MAP_COULD_NOT_TELL;
}

static void each_relation_that_cannot_tell_holds_the_address(void **state)
{
	static const struct line trouble[] = { L(CANNOT_TELL, ""), END };
	static const struct {
		enum route_relation relation;
		const char *address;
	} cases[] = {
		{ ROUTE_FQDNALIASES, "u@d.test" },      { ROUTE_FQDNALIASESLDAP, "u@d.test" }, { ROUTE_FQDNROUTES, "u@d.test" },
		{ ROUTE_THISHOST, "u@d.test" },         { ROUTE_ROUTESDB, "u@d.test" },        { ROUTE_ALIASES, "root" },
		{ ROUTE_EXPIRED, "root" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct router *r = with(cases[i].relation, "-l", trouble);

		held_because(r, cases[i].address, route_relation_name(cases[i].relation));
		held_because(r, cases[i].address, "IO:error");
		router_destroy(&r);
	}
}

static void other_servers_and_accounts_have_three_answers_too(void **state)
{
	static const struct line trouble[] = { L(CANNOT_TELL, ""), END };
	static const struct line names[] = { L("d.test", ""), L("e.test", ""), END };
	static const struct line others[] = { L("e.test", ""), END };
	struct router *r = with(ROUTE_THISHOST, "-l", names);

	(void)state;
	add_lines(r, ROUTE_OTHERSERVERS, "-l", others);
	routes(r, "root@d.test", "(local root@d.test root@d.test)");
	routes(r, "root@e.test", "(smtp e.test root@e.test)");
	r->account = nobody_can_tell;
	held_because(r, "root@d.test", "account root");
	router_destroy(&r);
	r = with(ROUTE_THISHOST, "-l", names);
	add_lines(r, ROUTE_OTHERSERVERS, "-l", trouble);
	held_because(r, "root@d.test", "otherservers");
	router_destroy(&r);
}

static void the_real_accounts_are_asked_by_default(void **state)
{
	struct router *r = router_create();

	(void)state;
	assert_int_equal(r->account(r->account_context, "root"), MAP_FOUND);
	assert_int_equal(r->account(r->account_context, "no-such-account-here"), MAP_NOT_FOUND);
	router_destroy(&r);
}

/* ---- what the examples do not show ---- */

static void other_domains_need_a_protocol(void **state)
{
	static const struct line domains[] = { L("d.test", "smtp!relay.test"), END };
	struct router *r = with(ROUTE_ROUTESDB, "-l", domains);

	(void)state;
	r->use_smtp = false;
	routes(r, "u@d.test", "(smtp relay.test u@d.test)");
	routes(r, "u@e.test", "(error unresolvable u@e.test)");
	r->use_routes = false;
	routes(r, "u@d.test", "(error unresolvable u@d.test)");
	router_destroy(&r);
}

/* They lead to ourselves also where no interface has them. */
static void all_of_the_loopback_is_ours(void **state)
{
	struct router *r = test_router();

	(void)state;
	routes(r, "root@[127.0.0.2]", "(local root@[127.0.0.2] root@[127.0.0.2])");
	routes(r, "root@[127.255.255.254]", "(local root@[127.255.255.254] root@[127.255.255.254])");
	routes(r, "root@[IPv6:::1]", "(local root@[IPv6:::1] root@[IPv6:::1])");
	routes(r, "root@[128.0.0.1]", "(smtp [128.0.0.1] root@[128.0.0.1])");
	routes(r, "root@[IPv6:::2]", "(smtp [IPv6:::2] root@[IPv6:::2])");
	router_destroy(&r);
}

static void a_percent_address_at_our_domain_is_looked_into(void **state)
{
	static const struct line mailbox[] = { L("u@e.test", "c!h!u"), END };
	struct router *r = with(ROUTE_FQDNROUTES, "-l", mailbox);

	(void)state;
	routes(r, "u%e.test@mx.local.test", "(c h u)");
	routes(r, "\"root\"@mx.local.test", "(local root@mx.local.test root@mx.local.test)");
	router_destroy(&r);
}

/* RFC 5321 section 4.1.2: a dot-string has no empty atoms, so without quotes such an address is another one or none. */
static void addresses_with_loose_dots_keep_their_quotes(void **state)
{
	static const struct line aliases[] = {
		L("x..y@d.test", "other@r.test"), L("\"z..z\"@d.test", "z@r.test"), L("list@d.test", "\"m..n\"@r.test, .o@r.test"), END
	};
	static const struct line mailbox[] = { L("user@d.test", "smtp-lmtp!node!%1%2@r.test"), L("k.@d.test", "c!h!%5"), END };
	static const struct line values[] = { L("p..q@d.test", "%5, copy@r.test"), END };
	struct router *r = with(ROUTE_FQDNALIASES, "-l", aliases);

	(void)state;
	routes(r, "\".start\"@e.test", "(smtp e.test \".start\"@e.test)");
	routes(r, "end.@e.test", "(smtp e.test \"end.\"@e.test)");
	routes(r, "\"user+a..b\"@e.test", "(smtp e.test \"user+a..b\"@e.test)");
	/* a map finds them however either is written */
	routes(r, "x..y@d.test", "(smtp r.test other@r.test)");
	routes(r, "\"X..Y\"@d.test", "(smtp r.test other@r.test)");
	routes(r, "z..z@d.test", "(smtp r.test z@r.test)");
	routes(r, "\"z..z\"@d.test", "(smtp r.test z@r.test)");
	routes(r, "list@d.test", "(smtp r.test \"m..n\"@r.test) (smtp r.test \".o\"@r.test)");
	router_destroy(&r);
	r = with(ROUTE_FQDNROUTES, "-l%", mailbox);
	add_lines(r, ROUTE_FQDNALIASES, "-l%", values);
	routes(r, "\"user+a..b\"@d.test", "(smtp-lmtp node \"user+a..b\"@r.test)");
	routes(r, "\"k.\"@d.test", "(c h \"k.\"@d.test)");
	routes(r, "p..q@d.test", "(smtp d.test \"p..q\"@d.test) (smtp r.test copy@r.test)");
	router_destroy(&r);
	r = with(ROUTE_ALIASES, "-l", (const struct line[]){ L("u..v", "w@r.test"), L("\"q.\"", "s@r.test"), END });
	routes(r, "\"u..v\"@mx.local.test", "(smtp r.test w@r.test)");
	routes(r, "q.@mx.local.test", "(smtp r.test s@r.test)");
	router_destroy(&r);
}

static void expired_accounts_are_refused_and_real_names_are_not_aliased(void **state)
{
	static const struct line gone[] = { L("old", "x"), END };
	static const struct line aliases[] = { L("root", "x@r.test"), END };
	struct router *r = with(ROUTE_EXPIRED, "-l", gone);

	(void)state;
	add_lines(r, ROUTE_ALIASES, "-l", aliases);
	routes(r, "old", "(error acctexpired old@local.test)");
	routes(r, "root", "(smtp r.test x@r.test)");
	routes(r, "real-root", "(local real-root root@local.test)");
	routes(r, "\\root", "(local root root)");
	router_destroy(&r);
}

static void privileges_come_from_the_map(void **state)
{
	static const struct line fqdn[] = { L("list@d.test", "\"|/bin/cat\", x@r.test"), END };
	struct router *r = with(ROUTE_FQDNALIASES, "-l", fqdn);
	struct route_query q = { .address = "list@d.test", .length = 11, .privilege = 1000 };
	const struct route_result *results;
	struct map_provenance *p = &r->relations[ROUTE_FQDNALIASES]->maps[0].map->provenance;
	size_t count;

	(void)state;
	assert_int_equal(route(r, &q, &results, &count), MAP_FOUND);
	assert_int_equal(results[0].privilege, 65534);
	/* a file in a directory of root's, and in one where anybody can put files */
	p->inode = 1;
	p->owner = 12;
	p->source = "/etc/passwd";
	r->relations[ROUTE_FQDNALIASES]->maps[0].own_privilege = true;
	assert_int_equal(route(r, &q, &results, &count), MAP_FOUND);
	assert_int_equal(results[0].privilege, 12);
	p->source = "/no/such/directory/map.db";
	assert_int_equal(route(r, &q, &results, &count), MAP_FOUND);
	assert_int_equal(results[0].privilege, 65534);
	r->relations[ROUTE_FQDNALIASES]->maps[0].own_privilege = false;
	assert_int_equal(route(r, &q, &results, &count), MAP_FOUND);
	assert_int_equal(results[0].privilege, 1000);
	p->source = "lines";
	router_destroy(&r);
}

/* ---- hostile addresses ---- */

static void addresses_cannot_add_members_or_commands(void **state)
{
	static const struct line fqdn[] = {
		L("u@d.test", "box%2@r.test"), L("p@d.test", "\"|/bin/prog %2\""), L("f@d.test", "/var/mail/%2"),
		L("w@d.test", "%5, copy@r.test"), L("@q.test", "%1@r.test"), L("dom@d.test", "u@%2.test"), END
	};
	struct router *r = with(ROUTE_FQDNALIASES, "-l%", fqdn);

	(void)state;
	routes(r, "\"u+x, evil@z.test\"@d.test", "(smtp r.test \"box+x, evil@z.test\"@r.test)");
	routes(r, "\"u+x>, <evil@z.test\"@d.test", "(smtp r.test \"box+x>, <evil@z.test\"@r.test)");
	routes(r, "\"u+x\\\", \\\"|rm\"@d.test", "(smtp r.test \"box+x\\\", \\\"|rm\"@r.test)");
	routes(r, "p+ok@d.test", "(local pipe.p+ok@d.test \"|/bin/prog +ok\")");
	held_because(r, "p+`reboot`@d.test", "no command");
	held_because(r, "\"p+;reboot\"@d.test", "no command");
	held_because(r, "f+/../../etc/passwd@d.test", "no command");
	held_because(r, "\"w+x, y\"@d.test", "cannot take");
	held_because(r, "\"dom+a b\"@d.test", "no address");
	routes(r, "\"a, b\"@q.test", "(smtp r.test \"a, b\"@r.test)");
	routes(r, "%1%2%%@q.test", "(smtp r.test %1%2%%@r.test)");
	router_destroy(&r);
}

/* Whose results none is a file or a command that the address brought along: "ok", else "no mailbox". */
static void leads(struct router *r, const char *address, const char *expect)
{
	struct route_query q = { .address = address, .length = strlen(address) };
	const struct route_result *results;
	bool no_mailbox = false;
	size_t count;

	(void)!route(r, &q, &results, &count);
	for (size_t i = 0; i < count; i++)
		no_mailbox |= results[i].no_mailbox;
	if (strcmp(no_mailbox ? "no mailbox" : "ok", expect) != 0)
		fail_msg("%s: expected %s", address, expect);
}

static void a_command_or_file_of_the_address_is_no_mailbox(void **state)
{
	static const struct line lists[] = {
		L("@user.test", "%1"), L("@both.test", "copy@r.test, %1"), L("@far.test", "%1@r.test"), L("p@d.test", "\"|/bin/prog %2\""),
		L("f@d.test", "/var/mail/f"), L("@base.test", "f@d.test, %1"), END
	};
	static const struct line mailbox[] = {
		L("@local.example", "local!-!%1"), L("@quoted.example", "local!h!\"%1\""), L("@plain.example", "local!"),
		L("@dir.example", "local!-!/var/mail/%1"), L("sink@d.test", "local!-!/dev/null"), L("@lmtp.example", "lmtp!store!%1"), END
	};
	static const struct line aliases[] = { L("prog", "\"|/bin/prog\""), END };
	struct router *r = with(ROUTE_FQDNALIASES, "-l%", lists);

	(void)state;
	add_lines(r, ROUTE_FQDNROUTES, "-l%", mailbox);
	add_lines(r, ROUTE_ALIASES, "-l", aliases);
	for (size_t i = 0; i < 2; i++) {
		static const char *const names[] = { "\"|id\"", "/etc/passwd", "\"|a b\"", "|id", "real-|id", "real-/x" };

		for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
			static const char *const domains[] = { "mx.local.test", "user.test", "both.test", "base.test", "local.example", "plain.example" };

			for (size_t d = 0; d < sizeof domains / sizeof domains[0]; d++) {
				/* a name with "real-" in front is one that such a route leaves as it is */
				bool real = strncmp(names[k], "real-", 5) == 0 && d > 3;
				char *address = xasprintf("%s@%s", names[k], domains[d]);

				leads(r, address, real ? "ok" : "no mailbox");
				free(address);
			}
			leads(r, names[k], "no mailbox");
		}
		/* the same where names need no account */
		r->any_local_user = true;
	}
	leads(r, "\\|id", "no mailbox");
	leads(r, "\"|id\"@far.test", "ok");
	leads(r, "\"|id\"@lmtp.example", "ok");
	leads(r, "\"|id\"@quoted.example", "no mailbox");
	leads(r, "\"../../etc/passwd\"@dir.example", "no mailbox");
	leads(r, "ann@dir.example", "ok");
	leads(r, "sink@d.test", "ok");
	leads(r, "p+x@d.test", "ok");
	leads(r, "f@d.test", "ok");
	leads(r, "prog", "ok");
	leads(r, "prog@user.test", "ok");
	leads(r, "x@both.test", "ok");
	router_destroy(&r);
}

static void addresses_cannot_change_the_shape_of_a_route(void **state)
{
	static const struct line mailbox[] = {
		L("u@d.test", "c!h!u%2"), L("@e.test", "c!%1!x"), L("@f.test", "%1!h!x"),
		L("v@d.test", "c!h!v%2@home.test"), END
	};
	struct router *r = with(ROUTE_FQDNROUTES, "-l%", mailbox);

	(void)state;
	routes(r, "u+!evil!x@d.test", "(c h u+!evil!x)");
	routes(r, "a!b@e.test", "(c a!b x)");
	held_because(r, "a!b@f.test", "channel");
	routes(r, "\"v+@evil.test\"@d.test", "(c h \"v+@evil.test\"@home.test)");
	routes(r, "v+%0%1%2@d.test", "(c h v+%0%1%2@home.test)");
	router_destroy(&r);
}

static void every_byte_has_a_defined_answer(void **state)
{
	static const struct line mailbox[] = { L("@d.test", "c!h!box%1"), END };
	struct router *r = with(ROUTE_FQDNROUTES, "-l%", mailbox);

	(void)state;
	for (int c = 0; c < 256; c++) {
		const char plain[] = { 'u', (char)c, 'x', '@', 'd', '.', 't', 'e', 's', 't' };
		const char quoted[] = { '"', 'u', (char)c, 'x', '"', '@', 'd', '.', 't', 'e', 's', 't' };
		enum map_answer answer;
		char *shown = routed_bytes(r, plain, sizeof plain, &answer);
		bool control = c < 32 || c == 127;

		assert_true(answer == MAP_FOUND || (answer == MAP_NOT_FOUND && (control || c == '"' || c == '\\')));
		free(shown);
		shown = routed_bytes(r, quoted, sizeof quoted, &answer);
		assert_true(answer == MAP_FOUND || (answer == MAP_NOT_FOUND && (control || c == '"')));
		free(shown);
	}
	router_destroy(&r);
}

static void a_nul_does_not_end_an_address(void **state)
{
	static const struct line mailbox[] = { L("root@d.test", "c!h!root"), END };
	struct router *r = with(ROUTE_FQDNROUTES, "-l%", mailbox);
	enum map_answer answer;
	char *shown = routed_bytes(r, "root@d.test\0.evil.test", 22, &answer);

	(void)state;
	assert_string_equal(shown, "(error badaddress root@d.test .evil.test)");
	free(shown);
	router_destroy(&r);
}

static void huge_addresses_are_refused_openly(void **state)
{
	struct router *r = test_router();
	size_t size = 65536;
	char *address = malloc(size + 8);
	struct route_query q = { .address = address, .length = size + 7 };
	const struct route_result *results;
	size_t count;

	(void)state;
	memset(address, 'x', size);
	memcpy(address + size, "@d.test", 8);
	assert_int_equal(route(r, &q, &results, &count), MAP_NOT_FOUND);
	assert_string_equal(results[0].host, "badaddress");
	assert_true(strlen(results[0].user) <= 300);
	free(address);
	router_destroy(&r);
}

static void long_lists_are_whole_and_without_duplicates(void **state)
{
	struct buf list = { 0 };
	struct line fqdn[2] = { END, END };
	struct router *r;
	struct route_query q = { .address = "all@d.test", .length = 10 };
	const struct route_result *results;
	size_t count;

	(void)state;
	for (int i = 0; i < 6000; i++)
		buf_addf(&list, "%smember%d@r.test", i > 0 ? "," : "", i % 3000);
	fqdn[0] = (struct line)L("all@d.test", buf_str(&list));
	r = with(ROUTE_FQDNALIASES, "-l", fqdn);
	assert_int_equal(route(r, &q, &results, &count), MAP_FOUND);
	assert_int_equal(count, 3000);
	assert_string_equal(results[2999].user, "member2999@r.test");
	router_destroy(&r);
	buf_free(&list);
}

static void explanations_tell_each_key_and_why(void **state)
{
	static const struct line fqdn[] = { L("a@d.test", "u@d.test"), END };
	static const struct line mailbox[] = { L("u@d.test", "smtp-lmtp!node!cyr%2"), END };
	static const char *const expected[] = {
		"a+T@d.test\n", "fqdnaliases a+t@d.test: not found in fqdnaliases\n",
		"next: the address without its tail", "fqdnaliases a@d.test: found in fqdnaliases: u@d.test\n",
		"    u+T@d.test\n", "fqdnroutes u@d.test: found in fqdnroutes: smtp-lmtp!node!cyr%2\n",
		"= smtp-lmtp node cyr+T\n",
	};
	struct router *r = with(ROUTE_FQDNALIASES, "-l%", fqdn);
	struct explain explain = { .out = { 0 } };
	struct route_query q = { .address = "a+T@d.test", .length = 10, .explain = &explain };
	const struct route_result *results;
	const char *text;
	size_t count;

	(void)state;
	add_lines(r, ROUTE_FQDNROUTES, "-l%", mailbox);
	assert_int_equal(route(r, &q, &results, &count), MAP_FOUND);
	text = buf_str(&explain.out);
	for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
		const char *found = strstr(text, expected[i]);

		if (found == NULL)
			fail_msg("\"%s\" is missing in\n%s", expected[i], buf_str(&explain.out));
		text = found;
	}
	explain_free(&explain);
	router_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_to_oneself_is_delivered),
		cmocka_unit_test(a_list_that_leads_back_holds_only_the_way_back),
		cmocka_unit_test(one_address_on_two_ways_is_no_loop),
		cmocka_unit_test(a_loop_through_two_relations_ends),
		cmocka_unit_test(growing_addresses_end_at_the_depth_limit),
		cmocka_unit_test(growing_lists_end_at_the_count_limit),
		cmocka_unit_test(values_that_grow_are_stopped),
		cmocka_unit_test(a_long_tail_on_a_long_list_is_stopped),
		cmocka_unit_test(a_tail_goes_through_chains_to_where_it_is_used),
		cmocka_unit_test(an_option_folds_tails_as_zmailer_does),
		cmocka_unit_test(each_relation_that_cannot_tell_holds_the_address),
		cmocka_unit_test(other_servers_and_accounts_have_three_answers_too),
		cmocka_unit_test(the_real_accounts_are_asked_by_default),
		cmocka_unit_test(other_domains_need_a_protocol),
		cmocka_unit_test(all_of_the_loopback_is_ours),
		cmocka_unit_test(a_percent_address_at_our_domain_is_looked_into),
		cmocka_unit_test(addresses_with_loose_dots_keep_their_quotes),
		cmocka_unit_test(expired_accounts_are_refused_and_real_names_are_not_aliased),
		cmocka_unit_test(privileges_come_from_the_map),
		cmocka_unit_test(addresses_cannot_add_members_or_commands),
		cmocka_unit_test(a_command_or_file_of_the_address_is_no_mailbox),
		cmocka_unit_test(addresses_cannot_change_the_shape_of_a_route),
		cmocka_unit_test(every_byte_has_a_defined_answer),
		cmocka_unit_test(a_nul_does_not_end_an_address),
		cmocka_unit_test(huge_addresses_are_refused_openly),
		cmocka_unit_test(long_lists_are_whole_and_without_duplicates),
		cmocka_unit_test(explanations_tell_each_key_and_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
