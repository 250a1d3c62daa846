#!/usr/bin/perl
# Lists that ZMailer's router cannot read are told, where there is a router, by each program that puts them into a map, and
# by dblookup -r -v.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Tool;

my ($newdb, $dbupdate, $dblookup, $sqlsync) = map { tool($_) } qw(newdb dbupdate dblookup sqlsync);
my $dir = scratch('db');
my $why = "ZMailer's router sends mail for this list to root: it takes no backslash in front of a word, but in quotes";
my $list = 'root@b.test, \lead';

chmod 0755, scratch();
mkdir $dir or die "$dir: $!";
$ENV{ZCONFIG} = spew(scratch('zmailer.conf'), "MAILVAR=" . scratch() . "\nMAILSHARE=$dir\nDBTYPE=btree\n");
spew("$dir/router.cf", '');
spew("$dir/dbases.conf", "aliases btree - -r $dir/live -lm\nfqdnaliases btree - -la $dir/built -lm%\n");
spew("$dir/live", "team: $list\nother: x\@far.test\n");
spew("$dir/built", "team\@l.test: $list\n");

sub live(@words) { return run([$dbupdate, "$dir/live", @words]) }

# every program that writes ends well, and says this on standard error
sub told($got, $err, $what) {
	is($got->{status}, 0, "$what ends well") or diag $got->{err};
	is($got->{err}, $err, '... and tells the list');
}

told(run([$newdb, '-f', "$dir/dbases.conf"]), "newdb: $dir/built:1:27: warning: $why\n", 'newdb');
told(live('replace', '-a'), "dbupdate: $dir/live:1:20: warning: $why\n", 'dbupdate replace');
told(live('set', 'crew', $list), "dbupdate: crew: warning: $why\n", 'dbupdate set');
told(run([$dbupdate, "$dir/live", 'apply'], in => "+crew\t$list\n+good\tx\@far.test\n"),
	"dbupdate: standard input:1: warning: $why\n", 'dbupdate apply');
told(run([$dbupdate, '-n', "$dir/live", 'set', 'crew', $list]), '', 'dbupdate -n');
told(live('check'), join('', map { "dbupdate: $_: warning: $why\n" } qw(crew team)), 'dbupdate check');
told(run([$dbupdate, '-n', "$dir/live", 'check']), '', 'dbupdate -n check');

SKIP: {
	skip 'built without SQLite', 2 if !-e "$ENV{BUILD_DIR}/db/zlmtp-sqlite.so" || system 'sqlite3 -version >/dev/null 2>&1';
	my $base = "$dir/users.sqlite";

	run(['sqlite3', $base, "create table t (k, v); insert into t values ('team', '$list'), ('other', 'x\@far.test');"]);
	spew("$dir/users.conf", "database = sqlite\ndbpath = $base\nquery = SELECT k, v FROM t\nmap = $dir/sql\n");
	spew("$dir/dbases.conf", slurp("$dir/dbases.conf") . "aliases btree - -r $dir/sql -lm\n");
	my $got = run([$sqlsync, '-1', '-f', "$dir/users.conf"]);
	told($got, "sqlsync: team: warning: $why\n", 'sqlsync');
}

my @route = ($dblookup, '-f', "$dir/dbases.conf", '-r', '-v', '-o', 'ROUTEUSER_IN_ABNORMAL_UNIX=1');
like(run([@route, 'team@l.test'])->{err}, qr/\Q$why\E/, 'dblookup -r -v says it');

# what newdb -A joins is one line; of makedb's lines each is read by itself, and none that ends in a comma
spew("$dir/dbases.conf", "aliases btree - -lA $dir/joined -lm\naliases btree - -l $dir/made -lm\n");
spew("$dir/joined", "team a\@far.test\nteam b\@far.test\n");
spew("$dir/made", "x y\n");
told(run([$newdb, '-f', "$dir/dbases.conf"]), '', 'newdb -A of lists that the router reads');
is(run([$dblookup, "$dir/joined", 'team'])->{out}, "a\@far.test, b\@far.test\n", '... makes one line of them');
SKIP: {
	skip 'no db_load', 1 if system 'db5.3_load -V >/dev/null 2>&1';
	unlink "$dir/made.db";
	run(['db5.3_load', '-T', '-t', 'btree', "$dir/made.db"], in => "old\\00\na\@far.test,\\0a\\09b\@far.test\\00\n");
	like(run([@route, 'old'])->{err}, qr/ZMailer's router loses the members on this line of the list: it takes no comma at the end/,
		'dblookup -r -v tells the line that is lost');
}

unlink "$dir/router.cf";
told(live('set', 'crew', $list), '', 'without a router dbupdate');

done_testing;
