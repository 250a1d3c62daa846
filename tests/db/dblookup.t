#!/usr/bin/perl
# dblookup: the three answers, drivers, references, explanations, JSON, dumps.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use JSON::PP ();
use Test::More;
use Tool;

my $newdb = tool('newdb');
my $dblookup = tool('dblookup');
my $map = scratch('map');
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};

sub look(@arguments) { return run([$dblookup, @arguments]) }
sub build($text, @options) {
	spew($map, $text);
	utime time - 100, time - 100, $map;
	my $got = run([$newdb, '-s', @options, $map]);
	is($got->{status}, 0, 'built') or diag $got->{err};
}

# ---- the three answers ----

build("user\@d.test smtp!relay\n.edu edu!%0\nfoo.bar.edu exact\n.:recipient default!%0\nempty\n%args %1|%2|%9|%%|%x\n");
my $got = look($map, 'user@d.test');
is_deeply([@$got{qw(status out err)}], [0, "smtp!relay\n", ''], 'found');
$got = look($map, 'nobody');
is_deeply([@$got{qw(status out err)}], [1, '', ''], 'not found');
$got = look("$map.db", 'empty');
is_deeply([@$got{qw(status out err)}], [0, "\n", ''], 'an empty value is found; the suffix does not matter');
$got = look('-t', 'btree', scratch('none'), 'x');
is_deeply([@$got{qw(status out)}], [75, ''], 'could not tell');
like($got->{err}, qr/^dblookup: x: could not tell: .*none\.db: No such file or directory; the map is not built yet \(newdb, .*\)\n\z/, '... with the reason');
is(look('-t', 'fail', 'disk on fire', 'x')->{status}, 75, 'a map that fails');
is(look($map, '')->{status}, 1, 'the empty key');

# ---- folding, drivers, default keys, references ----

is(look($map, 'USER@d.test')->{status}, 1, 'keys are taken as they are');
is(look('-l', $map, 'USER@D.TEST')->{out}, "smtp!relay\n", '-l');
is(look('-d', 'pathalias', $map, 'x.y.edu')->{out}, "edu!%0\n", '-d');
is(look('-%d', 'pathalias', $map, 'x.y.edu')->{out}, "edu!x.y\n", '-% with what the driver cut off');
is(look('-d', 'pathalias', $map, 'foo.bar.edu')->{out}, "exact\n", 'the whole key first');
is(look('-%d', 'pathalias', $map, 'no.where', '-:', '.:sender', '-:', '.:recipient')->{out}, "default!no.where\n",
	'default keys in their order');
is(look('-%', $map, '%args', 'one', '')->{out}, "one|||%|%x\n", 'arguments for references');
is(look('-%', $map, '%args', '--', '-:')->{out}, "-:|||%|%x\n", '"--" ends default keys');
is(look($map, '%args', 'one')->{out}, "%1|%2|%9|%%|%x\n", 'without -% nothing is put in');

# ---- many keys ----

$got = run([$dblookup, $map, '-'], in => "user\@d.test\nnobody\nempty\n");
is_deeply([@$got{qw(status out)}], [0, "user\@d.test\tsmtp!relay\nempty\t\n"], 'keys from standard input');
is(run([$dblookup, $map, '-'], in => "nobody\nno one")->{status}, 1, 'none of them found');
$got = run([$dblookup, '-t', 'failnth', '2:v', '-'], in => "a\nb\nc\n");
is_deeply([@$got{qw(status out)}], [75, "a\tv\nc\tv\n"], 'one of them could not be told');
is(run([$dblookup, $map, '-'], in => '')->{status}, 1, 'no keys at all');
is(run([$dblookup, $map, '-'], in => "a\0b\n")->{status}, 65, 'a NUL byte in a key');

# ---- explanations ----

$got = look('-v%d', 'pathalias', $map, 'x.y.edu');
is($got->{err}, <<"END", '-v explains');
  map x.y.edu: not found in $map.db
  map .x.y.edu: not found in $map.db
  map .y.edu: not found in $map.db
  map .edu: found in $map.db, from line 2 of $map: edu!%0
  with %0 = "x.y": edu!x.y
END
$got = JSON::PP::decode_json(look('-j', $map, 'empty')->{out});
is_deeply($got, { key => 'empty', answer => 'found', value => '', matched => 'empty', map => "$map.db", source => $map, line => 5 },
	'-j: found, with the line of the text');
$got = JSON::PP::decode_json(look('-j', $map, "a\"\x01\xff")->{out});
is_deeply($got, { key => "a\"\x01\x{fffd}", answer => 'not found' }, '-j: not found, whatever the key holds');
$got = JSON::PP::decode_json(look('-j', '-t', 'fail', 'x', 'k')->{out});
is($got->{answer}, 'could not tell', '-j: could not tell');
like($got->{reason}, qr/always fails/, '... and why');

utime time + 100, time + 100, $map;
$got = look($map, 'empty');
is_deeply([@$got{qw(status out)}], [0, "\n"], 'a map that is older than its text answers');
like($got->{err}, qr/^dblookup: warning: \Q$map\E is newer than \Q$map.db\E; run newdb\n\z/, '... with a warning');

# ---- which map is meant ----

spew("$map.dbh", '');
is(look($map, 'empty')->{status}, 66, 'two maps of one name');
is(look('-t', 'btree', $map, 'empty')->{status}, 0, '... told apart by -t');
unlink "$map.dbh";
spew(scratch('dbases.conf'), "r btree - -r $map -l -C @{[scratch('env')]}\n");
is(look($map, 'empty')->{status}, 66, 'dbases.conf beside the map says it is in an environment, which must be described');
spew(scratch('env'), "envhome @{[scratch()]}\nenvflags CDB CREATE\n");
$got = look('-v', $map, 'empty');
is($got->{status}, 0, '... and is used then');
like($got->{err}, qr/in the environment of/, '... which -v tells');
ok(-e scratch('__db.001'), '... for sure');
unlink scratch('dbases.conf'), glob scratch('__db.*');

# ---- dumps ----

for my $case (
	[ "b 2 x \na\n", [] ],
	[ "\"q w\": 1\nb: 2,\n  3\n", ['-a'] ],
	[ "a: x\nb: y\na: z\n", ['-a', '-A'] ],
) {
	my ($text, $options) = @$case;
	build($text, @$options);
	my $dump = look('--dump', $map);
	is($dump->{status}, 0, "dump of a map with @$options");
	my ($again) = $dump->{out} =~ /; newdb(.*) builds it again/;
	spew(scratch('copy'), $dump->{out});
	for my $type ('btree', 'lmdb') {
		my $made = run([$newdb, '-s', '-t', $type, (split ' ', $again), scratch('copy')]);
		SKIP: {
			skip 'built without LMDB', 1 if $made->{status} == 69;
			is(look('--dump', '-t', $type, scratch('copy'))->{out} =~ s/.*\n//r, $dump->{out} =~ s/.*\n//r,
				"... builds the same map as $type");
		}
	}
	unlink glob scratch('copy.*');
}
is(look('--dump', '-t', 'constant', 'x')->{status}, 75, 'what cannot be listed');
is(look('--dump', $map, 'x')->{status}, 64, '--dump has one argument');

# ---- usage ----

for my $bad ([], [$map], ['-l', '-u', $map, 'k'], ['-d', 'nearest', $map, 'k'], [$map, 'k', '-:'], [$map, 'k', 1 .. 10],
	['-f', 'x', '-l', 'r', 'k'], [$map, 'k', '-t', 'lmdb'], [$map, '-v', 'k'], ['-r', 'a@b.test', '-f', 'x']) {
	$got = look(@$bad);
	is($got->{status}, 64, "usage: @$bad");
	like($got->{err}, qr/\Adblookup: .*; try -h\n\z/, '... in one line');
}
like(look('ann@example.test')->{err}, qr/: expected MAP KEY, or -r ADDRESS; try/, 'an address alone');
is(look($map, 'k', '--', '-t')->{status}, 1, 'behind "--" arguments are what they are');
is(look('-f', scratch('none'), 'r', 'k')->{status}, 66, 'no dbases.conf');
is(look('-t', 'gdbm', $map, 'k')->{status}, 69, 'a type that is not supported');
is(look('-C', scratch('none'), $map, 'k')->{status}, 66, 'no environment file');
SKIP: {
	open my $full, '>', '/dev/full' or skip 'no /dev/full', 1;
	is(run([$dblookup, $map, 'b'], before => sub { open STDOUT, '>', '/dev/full' })->{status}, 74, 'nowhere to print to');
}

done_testing;
