#!/usr/bin/perl
# newdb is killed at every system call: afterwards the old map is there, or the new one, whole; and the next run
# leaves nothing else behind.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'long';
use Tool;

$ENV{BUILD_DIR} //= "$FindBin::Bin/../..";
my $newdb = tool('newdb');
my $dblookup = tool('dblookup');
my $killat = "$ENV{BUILD_DIR}/tests/crash/killat";
my $soak = $ENV{ZLMTP_SOAK};
my $home = scratch('home');
my $base = "$home/map";
mkdir $home or die;
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';

# Enough for several pages.
sub text($word) { return join '', map { "key$_ $word$_\n" } 1 .. 300 }
sub names { opendir(my $d, $home) or die; return join ' ', sort grep { !/^\.\.?$/ } readdir $d }
sub content($path, $type) { return run([$dblookup, '-t', $type, '--dump', $path])->{out} =~ s/^#.*\n//r }

for my $case (['btree', '.db'], ['bhash', '.dbh'], ['lmdb', '.lmdb']) {
	my ($type, $suffix) = @$case;
	my $path = "$base$suffix";
	unlink glob "$home/*";
	spew($base, text('old'));
	my $made = run([$newdb, '-t', $type, $base]);
	SKIP: {
		skip 'built without LMDB', 1 if $made->{status} == 69;
		my $bytes = slurp($path);
		my $old = content($path, $type);
		spew($base, text('new'));
		my $got = run([$killat, 0, $newdb, '-t', $type, $base]);
		my ($calls) = $got->{err} =~ /killat: (\d+) calls/;
		skip "processes cannot be followed here: $got->{err}", 1 if !defined $calls;
		my $new = content($path, $type);
		isnt($new, $old, "$type: the new map differs");
		my $names = names();

		my (@bad, %seen);
		my $step = $soak ? 1 : long() ? 7 : 20;
		for (my $n = 1 + int rand $step; $n <= $calls; $n += $step) {
			spew($path, $bytes);
			my $killed = run([$killat, $n, $newdb, '-t', $type, $base]);
			push @bad, "call $n: exit $killed->{status}" if $killed->{status} != 137;
			my $now = content($path, $type);
			push @bad, "call $n: neither old nor new" if $now ne $old && $now ne $new;
			$seen{$now eq $new ? 'new' : 'old'}++;
			next if $n % 10 && !$soak;
			push @bad, "call $n: the next run fails" if run([$newdb, '-t', $type, $base])->{status} != 0;
			push @bad, "call $n: the next run leaves " . names() if names() ne $names;
		}
		is_deeply(\@bad, [], "$type: $calls calls: the old map or the new one");
		ok($seen{old} && ($seen{new} || !$soak), join ', ', map { "$_: $seen{$_}" } sort keys %seen);
		run([$newdb, '-t', $type, $base]);
		is(names(), $names, '... and nothing is left behind');
	}
}

done_testing;
