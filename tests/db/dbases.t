#!/usr/bin/perl
# newdb -f: the maps and scripts of a dbases.conf.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use File::Copy ();
use Test::More;
use Tool;

my $newdb = tool('newdb');
my $dblookup = tool('dblookup');
my $golden = "$ENV{SRC_DIR}/tests/db/zmsh";
my $var = scratch('var');
my $db = "$var/db";
my $conf = "$db/dbases.conf";
delete @ENV{qw(MAILVAR DBTYPE MAILBIN MAILSHARE)};
$ENV{ZCONFIG} = spew(scratch('zmailer.conf'), "MAILVAR=$var\nMAILSHARE=$var\nDBTYPE=btree\n");
mkdir $_ or die "$_: $!" for $var, $db;
spew("$var/router.cf", '');

sub build(@relations) { return run([$newdb, '-f', $conf, @relations]) }
sub text($name, $content, $age = 100) {
	spew("$db/$name", $content);
	utime time - $age, time - $age, "$db/$name";
}

# ---- everything ----

File::Copy::copy("$golden/dbases.conf", $conf) or die;
text('aliases', "root: joe\n");
text('fqdnaliases-local', "Info\@d.test: joe\n");
text('fqdnroutes', "u\@d.test: smtp-lmtp!node!u%2\n");
text('localnames', "mx.d.test\n");
text('routes', "d.test error!nosuchuser\n");
text('sleepyenv.conf', "envhome $db\nenvflags CDB,CREATE\n");
my $got = build();
is($got->{status}, 0, 'all maps and scripts are made') or diag $got->{err};
is($got->{err}, '', '... without complaint');
is_deeply([map { s/ .*//r } split /\n/, $got->{out}], [
	(map { "$db/$_:" } qw(aliases.db fqdnaliases-local.db fqdnroutes.dbh routes.db)),
	(map { "$db/$_.zmsh:" } qw(aliases fqdnaliases fqdnaliasesldap fqdnroutes thishost routesdb otherservers))],
	'... and told, in the order of the file');
for my $relation (qw(aliases fqdnaliases fqdnaliasesldap fqdnroutes thishost routesdb otherservers)) {
	is(slurp("$db/$relation.zmsh"), slurp("$golden/$relation.zmsh") =~ s/DIRECTORY/$db/r, "script of $relation");
}
ok(!-e "$db/fqdnaliases.db", 'a map with -r is left alone');
is(run([$dblookup, '-f', $conf, 'fqdnaliases', 'x@y'])->{status}, 75, 'a live map that is missing: could not tell');
is(run([$dblookup, '-f', $conf, 'routesdb', 'sub.d.test'])->{status}, 75, 'a type that only the router reads: could not tell');
is(run([$dblookup, '-f', $conf, 'otherservers', 'x'])->{status}, 1, 'NONE never finds anything');
is(run([$dblookup, '-f', $conf, 'fqdnroutes', 'U@D.test', '--', 'u', '+t'])->{out}, "smtp-lmtp!node!u+t\n", 'a relation can be asked');

# ---- only what is due ----

$got = build();
is_deeply([@$got{qw(status out err)}], [0, '', ''], 'nothing is due a second time');
# ---- without a router ----

unlink "$var/router.cf", glob "$db/*.zmsh";
is(build()->{out}, '', 'nobody is told of scripts where there is no router');
ok(-f "$db/aliases.zmsh", '... but they are there');
spew("$var/router.cf", '');

my $script = (stat "$db/aliases.zmsh")[1];
text('routes', "d.test error!other\n", -100);
$got = build();
is($got->{out}, "$db/routes.db: 1 record, built because its text is newer\n", 'what is older than its text is built');
is((stat "$db/aliases.zmsh")[1], $script, 'a script that is right is not written again');
text('routes', "d.test error!other\n");
build();
like(build('routesdb')->{out}, qr/routes.db: 1 record, built because it is asked for\n\z/, 'what is asked for is built');
spew($conf, slurp($conf) =~ s/-la(  \$MAILVAR\/db\/aliases)/-a $1/r);
is(build()->{out}, '', 'the same folding in other words changes nothing');
spew($conf, slurp($conf) =~ s/-a (  \$MAILVAR\/db\/aliases)/-au$1/r =~ s/aliases           -lm/aliases -um/r);
like(build()->{out}, qr/aliases.db: 1 record, built because it was built with other options\n.*aliases.zmsh: written/s,
	'other options: map and script are made again');
truncate "$db/routes.db", 4096;
like(build()->{out}, qr/routes.db: 1 record, built because it is damaged/, 'a damaged map is built again');

# ---- one failure does not hide another, or keep the rest ----

text('aliases', "broken\n", -100);
text('routes', "d.test fine!x\nd.test twice!x\n", -100);
text('fqdnroutes', "u\@d.test: c!h\n", -100);
$got = build();
is($got->{status}, 65, 'exit status of the first failure');
like($got->{err}, qr/aliases:1:7: expected ':'.*routes:2: the key "d.test" is in line 1/s, 'both failures are told');
like($got->{out}, qr/fqdnroutes.dbh: 1 record/, 'what is right is built');
is(run([$dblookup, "$db/routes", 'd.test'])->{out}, "error!other\n", 'maps of bad texts stay');
is(run([$newdb, '-kf', $conf, 'routesdb'])->{status}, 0, '-k keeps first lines here too');
text('aliases', "root: joe\n", -100);
build();

# ---- privileges ----

SKIP: {
	skip 'needs root', 3 if $> != 0;
	spew($conf, "aliases btree 12345:54321:640 -la \$MAILVAR/db/aliases -lm\n");
	is(build('aliases')->{status}, 0, 'a map with owner and mode');
	my ($mode, $uid, $gid) = (stat "$db/aliases.db")[2, 4, 5];
	is_deeply([$mode & 07777, $uid, $gid], [0640, 12345, 54321], 'dbpriv is applied, variables in the name or not');
	is_deeply([(stat "$db/aliases.zmsh")[4]], [0], '... to the map alone');
}

# ---- errors ----

spew($conf, " aliases btree - -la /x -lm\naliases bdb - -la /x -lm\naliases btree - -la \$MAILVAR/db/aliases -lm\n");
unlink "$db/aliases.db";
$got = build();
is($got->{status}, 78, 'a damaged dbases.conf: exit 78');
like($got->{err}, qr/^newdb: \Q$conf\E:1: expected a relation in column 1.*\n.*:2:9: type "bdb" is not supported/, '... every bad line');
ok(!-e "$db/aliases.db", '... and nothing is built');
is(run([$newdb, '-f', "$db/none"])->{status}, 66, 'no dbases.conf: exit 66');
spew($conf, "aliases btree - -la \$MAILVAR/db/aliases -lm\n");
is(build('fqdnaliases')->{status}, 64, 'an unknown relation: exit 64');
is(run([$newdb, '-f', $conf], env => { ZCONFIG => '/nonexistent' })->{status}, 66, 'ZCONFIG that cannot be read: exit 66');
spew($conf, "fqdnroutes btree - -r \$MAILVAR/db/live -lm -C \$MAILVAR/db/none.conf\n");
$got = build();
is($got->{status}, 66, 'an environment file that is missing');
like($got->{err}, qr/dbases.conf:1: -C: .*none.conf: No such file/, '... is told with the line');
spew("$db/none.conf", "envhome $db\nenvflags CDB\nwhat\n");
is(build()->{status}, 78, 'an environment file that is wrong');

SKIP: {
	spew($conf, "fqdnroutes lmdb - -la \$MAILVAR/db/fqdnroutes -lm\n");
	unlink "$db/fqdnroutes.zmsh";
	$got = build();
	skip 'built without LMDB', 5 if $got->{err} =~ /unknown or unsupported|not supported/;
	ok(-e "$db/fqdnroutes.lmdb", 'maps of type lmdb are built');
	is($got->{status}, 0, '... for those whose router is none of ZMailer');
	like($got->{out}, qr/:1: ZMailer's router cannot read maps of type lmdb; no script/, '... which gets no script');
	spew("$db/fqdnroutes.zmsh", "old\n");
	$got = build();
	is($got->{status}, 78, '... and is not left with one for another map');
	like($got->{err}, qr/cannot read maps of type lmdb, but .*fqdnroutes.zmsh is there; remove it/, '... so it says');
}

# ---- a relation that nothing asks ----

sub warned($relation) {
	spew($conf, "$relation unordered - - \$MAILVAR/db/aliases -lm\n$relation NONE - - - -\n");
	my $got = build();
	is($got->{status}, 0, "relation $relation is built");
	return $got->{err};
}
my %slips = (fqdnroute => 'fqdnroutes', fqdnalias => 'fqdnaliases', alias => 'aliases', fqdnruotes => 'fqdnroutes',
	routedb => 'routesdb', FqdnRoutes => 'fqdnroutes', fqdn_routes => 'fqdnroutes', localnames => 'thishost',
	fqdnaliasldap => 'fqdnaliasesldap', userbd => 'userdb', mboxmaps => 'mboxmap', 'fqdnaliasesx' x 5 => undef);
for my $slip (sort keys %slips) {
	my $expect = defined $slips{$slip} ? "is $slips{$slip} meant?" : 'it asks fqdnaliases, ';
	like(warned($slip), qr/^newdb: \Q$conf\E:1:1: warning: routing never asks a relation "$slip"; \Q$expect\E.*\n\z/,
		'... with one warning that names the nearest one');
}
like(warned('customers'), qr/never asks a relation "customers"; it asks fqdnaliases, .* and userdb\n\z/,
	'a name like none of ours may be wanted: the warning names all');
is(warned($_), '', '... without a word') for qw(aliases fqdnaliases fqdnaliasesldap fqdnroutes routesdb thishost
	otherservers expired userdb mboxmap iproutesdb);

# who only asks is told where the name is nearly one of ours, and of no other
my $mistyped = qr/^\w+: (?:\Q$conf\E:1:1: warning: routing never asks a relation "fqdnroute"; is fqdnroutes meant\?)\n/;
text('aliases', "root joe\n");
spew($conf, "fqdnroute unordered - - \$MAILVAR/db/aliases -lm\ncustomers unordered - - \$MAILVAR/db/aliases -lm\n");
$got = run([$dblookup, '-f', $conf, 'fqdnroute', 'root']);
is($got->{out}, "joe\n", 'dblookup answers from it');
like($got->{err}, qr/$mistyped\z/, '... with the warning, once, and none about a name of the site');
like(run([$dblookup, '-f', $conf, 'fqdnroutes', 'root'])->{err}, qr/$mistyped\w+: \Q$conf\E: no relation "fqdnroutes"; it has fqdnroute, customers\n\z/,
	'... and which relations there are, of one that is not');
like(run([$dblookup, '-f', $conf, '-r', "root\@d.test", "joe\@d.test"])->{err}, qr/$mistyped\z/, 'so does dblookup -r, once');
$got = run(["$ENV{BUILD_DIR}/channel/enqueue", '-m', '-P', scratch('po'), '-f', $conf, '-s', "a\@d.test", "root\@d.test", "joe\@d.test"], in => "Subject: x\n\nx\n");
like($got->{err}, qr/$mistyped\z/, 'so does enqueue');
spew($conf, "fqdnroute btree - -r \$MAILVAR/db/live -l\ncustomers btree - -r \$MAILVAR/db/sound -l\nfqdnalias btree - -r \$MAILVAR/db/other -l\n");
like(run([tool('dbupdate'), "$db/live", 'replace', '-'], in => "a\tb\n")->{err}, qr/$mistyped\z/, 'what writes the map of such a line says so');
is(run([tool('dbupdate'), "$db/sound", 'replace', '-'], in => "a\tb\n")->{err}, '', '... and has no word for the lines of other maps');
is(run([$newdb, '-f', $conf, 'fqdnroutes'])->{err}, "newdb: $conf: no relation \"fqdnroutes\"; it has fqdnroute, customers, fqdnalias; try -h\n",
	'newdb says which there are');

# ---- lists one inside the other ----

spew($conf, <<'end');
aliases     btree - -la $MAILVAR/db/aliases           -lm
fqdnaliases btree - -la $MAILVAR/db/fqdnaliases-local -lm%
end
text('aliases', "top: c1\@d.test\nkeep: keep, user5\nround: about\nabout: round, user5\nplain: c5\@d.test\n");
my $chain = join '', map { "c$_\@d.test: c" . ($_ + 1) . "\@d.test\n" } 1 .. 10;
text('fqdnaliases-local', "$chain\@e.test: %1+more\@e.test\nself\@d.test: self\@d.test, c3\@d.test\nv\@e.test: w\@d.test\n");

sub waits($text, $line, $who, $why) { "newdb: $db/$text:$line: warning: mail to $who will wait: $why\n" }
my $deep = 'more than 9 lists one inside the other';
my @waits = (
	waits('aliases', 4, 'about', 'aliases: the list of about leads back to itself'),
	waits('aliases', 3, 'round', 'aliases: the list of round leads back to itself'),
	waits('aliases', 1, 'top', $deep),
	waits('fqdnaliases-local', 11, 'anybody@e.test', $deep),
	waits('fqdnaliases-local', 1, 'c1@d.test', $deep),
);
$got = build();
is($got->{status}, 0, 'maps with lists that the router cannot follow are built');
is($got->{err}, join('', @waits), '... each of them is told: those that lead back and those behind the ninth');
is(build()->{err}, '', '... when they are built');
for my $list (qw(about round top anybody@e.test c1@d.test c2@d.test keep self@d.test plain v@e.test)) {
	my $said = run([$dblookup, '-o', 'hostname=mx.d.test', '-f', $conf, '-r', $list])->{out};
	is($said =~ /\thold\t.*(?:$deep|leads back)/ ? 1 : 0, (grep { /mail to \Q$list\E will/ } @waits) ? 1 : 0,
		"... and dblookup says the same of $list");
}
text('aliases', "one: top\@d.test\n", -100);
is(build('aliases')->{err}, join('', @waits[3, 4]), 'what was built before is looked at with the new lists');
is(run([$newdb, '-n', '-f', $conf, 'aliases'])->{err}, '', '-n does not look at lists');
spew("$db/router.conf", "max_depth=10\n");
is(build('aliases')->{err}, join('', @waits[3, 4]), 'a router of ZMailer has its own limit');
unlink "$var/router.cf";
is(build('aliases')->{err}, $waits[3] =~ s/than 9/than 10/r, 'without one it is that of router.conf');
unlink "$db/router.conf";
spew("$var/router.cf", '');
is(run([$newdb, '-las', "$db/fqdnaliases-local"])->{err}, join('', @waits[3, 4]), 'one map by its name is looked at too');
unlink $conf;
is(run([$newdb, '-las', "$db/fqdnaliases-local"])->{err}, join('', @waits[3, 4]), '... also without dbases.conf');
my $from_stdin = run([$newdb, '-las', "$db/fqdnaliases-local", '-'], in => $chain)->{err};
is($from_stdin, "newdb: $db/fqdnaliases-local.db: warning: mail to c1\@d.test will wait: $deep\n",
	'a text without a name has no lines to tell');

for my $target ('dbases.conf', 'nowhere') {
	symlink $target, $conf or die;
	$got = run([tool('dbupdate'), '-t', 'btree', "$db/fqdnaliases-local", 'set', 'Q', 'y']);
	is($got->{status}, 66, "a dbases.conf that is a link to $target is not taken for none");
	like($got->{err}, qr/cannot tell how this map is used/, '... and the map is not changed');
	unlink $conf;
}

opendir(my $d, $db) or die;
is_deeply([grep { /tmp/ } readdir $d], [], 'no temporary file is left');

done_testing;
