#!/usr/bin/perl
# newdb and makedb on the command line: what they build, what they refuse, what they leave alone.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Tool;

my $newdb = tool('newdb');
my $dblookup = tool('dblookup');
my $base = scratch('map');
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};

sub newdb($text, @options) {
	spew($base, $text);
	return run([$newdb, @options, $base]);
}

sub value($key, $map = $base) {
	my $got = run([$dblookup, $map, $key]);
	chomp(my $value = $got->{out});
	return $got->{status} == 0 ? $value : "status $got->{status}";
}

sub litter { opendir(my $d, scratch()) or die; return grep { /^\..*tmp/ } readdir $d }

# ---- what never ends ----

spew($base, "a x\n");
run([$newdb, $base]);
for my $device ('/dev/zero', '/dev/full', '/dev/urandom') {
	my $before = join ' ', (stat "$base.db")[1, 9];
	for my $case ([$newdb, $base, $device], [$newdb, $base, '-'], [tool('dbupdate'), $base, 'replace', $device], [tool('dbupdate'), $base, 'replace', '-'],
	              [$dblookup, $base, '-']) {
		my $got = run(['sh', '-c', 'device=$1; shift; exec timeout 20 "$@" <"$device"', 'sh', $device, @$case]);
		my $name = join ' ', map { s{.*/}{}r } @$case;
		is($got->{status}, 66, "$name, $device: 66");
		like($got->{err}, qr{^\w+: (?:\Q$device\E|standard input|-): not a regular file\n\z}, "$name, $device: one line");
	}
	is(join(' ', (stat "$base.db")[1, 9]), $before, "$device: the map stays");
}
is(value('a'), 'x', 'and answers');

# ---- what is built ----

my $got = newdb("Key  one two\n#comment\nother\n");
is_deeply([@$got{qw(status out err)}], [0, '', ''], 'a plain text builds without a word');
is(value('Key'), 'one two', 'a value is the rest of the line');
is(value('other'), '', 'a key alone has the empty value');
is(value('key'), 'status 1', 'keys keep their case');

$got = newdb("Key one\n", '-l');
is(value('key'), 'one', '-l folds keys to lower case');
$got = newdb("Key one\n", '-u');
is(value('KEY'), 'one', '-u folds keys to upper case');

$got = newdb("Joe: a\@b.test,\n  c\n\"x y\": z\n", '-a');
is($got->{out}, "2 aliases, longest 11 bytes, 13 bytes total\n", 'aliases have statistics');
is(value('joe'), 'a@b.test,c', 'a record goes on behind a comma');
is(newdb("a: b\n", '-as')->{out}, '', '-s leaves statistics out');
like(newdb("a b\n", '-v')->{err}, qr/built from \Q$base\E in \d+ ms/, '-v says what was done');

$got = newdb("a x\nb y\nA z\n", '-lA');
is(value('a'), 'x, z', '-A joins values in one line, folded keys together');

for my $type ('btree', 'bhash', 'lmdb') {
	unlink glob "$base.*";
	$got = newdb("a $type\n", '-t', $type);
	SKIP: {
		skip 'built without LMDB', 2 if $type eq 'lmdb' && $got->{status} == 69;
		is($got->{status}, 0, "$type is built");
		is(value('a'), $type, "$type is read");
	}
}
unlink glob "$base.*";

$got = run([$newdb, '-l', $base, '-'], in => "From stdin\n");
is(value('from'), 'stdin', '"-" reads standard input');
spew(scratch('input'), "k v\n");
run([$newdb, $base, scratch('input')]);
is(value('k'), 'v', 'a second name is the input');
$got = run([$newdb, 'map'], cd => scratch());
is($got->{status}, 0, 'a map in the current directory');
is(run([$newdb, $base], env => { ZCONFIG => spew(scratch('zenv'), "DBTYPE=bhash\n") })->{status}, 0, 'DBTYPE of zmailer.conf');
ok(-e "$base.dbh", '... is the type without -t');
unlink glob "$base.*";

# ---- a pipe whose writer failed ----

run([$newdb, $base, '-'], in => "k v\n");
$got = run(['sh', '-c', '"$0" --dump "$2" | "$1" "$3" -', $dblookup, $newdb, scratch('nonesuch'), $base]);
is($got->{status}, 65, 'what could not be dumped is no empty map');
like($got->{err}, qr/^newdb: standard input: is empty, as if the program that writes it had failed; for a map without records write a comment\n/m, '... says one line');
is(value('k'), 'v', '... and the map stays');
$got = run([$newdb, scratch('fresh'), '-'], in => '');
is_deeply([$got->{status}, -e scratch('fresh.db')], [65, undef], '... nor is a new one made');
$got = run([$newdb, $base, '-'], in => "# none\n");
is($got->{status}, 0, 'a comment alone is a map without records');
is(value('k'), 'status 1', '... that is empty');
spew(scratch('input'), '');
is(run([$newdb, $base, scratch('input')])->{status}, 0, 'so is a file without a line');

# ---- what is wrong with texts ----

newdb("a old\n");
my $before = slurp("$base.db");
for my $case (
	[ "a: b\nc d: e\n", ['-a'], ":2:3: expected ':' after the key" ],
	[ "a: b\n c\n", ['-a'], ':2:1: expected a key in column 1: the line before does not end in a comma' ],
	[ "a x\nb y\na z\n", [], ':3: the key "a" is in line 1 already' ],
	[ "a x\0y\n", [], ':1:4: NUL byte; the rest of the line would be lost' ],
	[ "a x\r\n", [], ':1:4: CR at the end of the line would become part of the record' ],
) {
	my ($text, $options, $error) = @$case;
	$got = newdb($text, @$options);
	is($got->{status}, 65, "exit 65: $error");
	like($got->{err}, qr/^newdb: \Q$base$error\E$/m, '... with file, line and column');
	like($got->{err}, qr/the old map stays/, '... and a word about the map');
}
is(slurp("$base.db"), $before, 'the old map is untouched');
is_deeply([litter()], [], 'no temporary file is left');

$got = newdb("a x\nb y\nA z\n", '-lk');
is($got->{status}, 0, '-k keeps the first of several lines');
like($got->{err}, qr/:3: warning: the key "a" is in line 1 already; this one is left out/, '... and says so');
is(value('a'), 'x', '... the first');

$got = newdb("user\@domain:  smtp-lmtp!x!y\n", '-l');
is($got->{status}, 0, 'a plain key with a colon is understood');
like($got->{err}, qr/:1:12: warning: the key ends in a colon/, '... and told');
is(value('user@domain'), 'smtp-lmtp!x!y', '... without its colon');

like(newdb("a b")->{err}, qr/:1:4: warning: no newline at the end/, 'a missing newline is worth a warning');
like(newdb(join('', map { "k$_: \n k\n" } 1 .. 100), '-a')->{err}, qr/newdb: 50 more, 100 of all are errors/,
	'a thousand faults are not told one by one');

# ---- values ----

spew(scratch('aliases'), "ok: a\@b.test\nbad: x\@\@y\n");
$got = run([$newdb, '-la', scratch('aliases')]);
is($got->{status}, 65, 'a bad address in a file called aliases');
like($got->{err}, qr/aliases:2:\d+: /, '... is told with its column');
is(run([$newdb, '-lan', scratch('aliases')])->{status}, 0, '-n does not look at values');
spew(scratch('fqdnroutes-local'), "u\@d.test: smtp-lmtp!node!u%7\n");
$got = run([$newdb, '-la', scratch('fqdnroutes-local')]);
like($got->{err}, qr/fqdnroutes-local:1:27: nothing is ever put in/, 'a reference without argument in a route');

# ---- what is wrong otherwise ----

is(run([$newdb, scratch('none')])->{status}, 66, 'no input: exit 66');
spew(scratch('dbases.conf'), "routesdb btree - -l routes -lm%:\n");
like(run([$newdb, scratch('dbases.conf')])->{err}, qr/dbases.conf: use "newdb -f .*" to build the maps that it names/, 'a dbases.conf is no map');
ok(!-e scratch('dbases.conf.db'), '... and none is made of it');
like(run([$newdb, scratch('none')])->{err}, qr/none: No such file/, '... with the reason');
spew($base, "a x\n");
is(run([$newdb, "$base/x", $base])->{status}, 73, 'a directory that is none: exit 73');
is(run([$newdb, '-t', 'gdbm', $base])->{status}, 69, 'an unknown type: exit 69');
for my $bad ([], ['-l', '-u', $base], ['-z', $base], ["$base.db"], [$base, $base, $base], ['-f', $base, '-l'], [$base, '-l'],
	[scratch('dbases.conf')]) {
	$got = run([$newdb, @$bad]);
	is($got->{status}, 64, "usage: @$bad");
	like($got->{err}, qr/\Anewdb: .*; try -h\n\z/, '... in one line');
}
spew("$base.db.journal", '');
$got = newdb("a x\n");
is($got->{status}, 73, 'a map that dbupdate keeps is refused');
like($got->{err}, qr/dbupdate replace/, '... with the way to go');
unlink "$base.db.journal";

# ---- dbases.conf beside the map ----

spew(scratch('dbases.conf'), "fqdnroutes btree - -r $base -lm\nfqdnroutes btree - -la @{[scratch('local')]} -lm\n");
$got = newdb("a x\n");
is($got->{status}, 73, 'a map with -r in dbases.conf is refused');
like($got->{err}, qr/dbases.conf:1 says -r/, '... with the line');
spew(scratch('local'), "a\@b.test c!h\n");
$got = run([$newdb, '-l', scratch('local')]);
like($got->{err}, qr/warning: .*dbases.conf:2 builds this map with other options/, 'other options than in dbases.conf: warning');
spew(scratch('local'), "a\@b.test: nonsense\n");
is(run([$newdb, '-la', scratch('local')])->{status}, 65, 'dbases.conf says which values are right');
spew(scratch('dbases.conf'), "what is this\n");
is(run([$newdb, '-la', scratch('local')])->{status}, 78, 'with a damaged dbases.conf nobody knows what is live');
unlink scratch('dbases.conf');

# ---- makedb ----

my $makedb = scratch('makedb');
symlink $newdb, $makedb or die;
$got = run([$makedb, '-l', '-a', 'btree', $base], in => "Key1: Value One  \n");
is_deeply([@$got{qw(status out err)}], [0, "1 aliases, longest 12 bytes, 12 bytes total\n", ''], 'makedb reads standard input');
is(value('key1'), 'Value One  ', '... and builds the map');
$got = run([$makedb, 'BTREE', $base, '-'], in => "a 1\na 2\n");
is($got->{status}, 0, 'makedb keeps the first of several lines, its types have no case');
like($got->{err}, qr/standard input:2: warning/, '... not without a word');
is(value('a'), '1', '... the first');
spew(scratch('input'), "b 2\n");
run([$makedb, '-s', 'bhash', $base, scratch('input')]);
is(value('b', "$base.dbh"), '2', 'bhash gets the suffix that newdb and the router expect');
is(run([$makedb, '-p', 'btree', $base])->{status}, 69, 'policy databases are not ours');
is(run([$makedb, 'btree'])->{status}, 64, 'makedb with too few arguments');
is(run([$makedb, '-a', 'btree', $base], in => "nocolon\n")->{status}, 65, 'a bad line builds nothing');

done_testing;
