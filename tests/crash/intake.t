#!/usr/bin/perl
# intake is killed at each system call while two clients hand over a message each: what it has acknowledged is in the queue,
# whole and once; of what it has not acknowledged there is all or nothing.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path ();
use Test::More;
use Extent qw(long some_of);
use Intake;
use IntakeLife qw(life recover defects);

my ($intake, $acknowledged, $status, $idle) = life(0, 0);
plan skip_all => 'processes cannot be followed here: ' . $intake->said if $status == 71;
($intake, $acknowledged, $status, my $calls) = life(0, 2);
is $status, 0, 'left alone it ends well';
is_deeply [sort keys %$acknowledged], [0, 1], 'both are acknowledged';
is join(' ', defects($intake, $acknowledged)), '', 'and there';

# before the first client nothing can be lost
my $first = long() ? 1 : $idle - 60;
my (@bad, %count);
for my $n (some_of(60, $first .. $calls)) {
	($intake, $acknowledged, $status) = life($n, 2);
	push @bad, map { "call $n: $_" } grep { $_ ne '' } recover($intake, $n % 2 ? 'intake' : 'runqueue'), defects($intake, $acknowledged);
	my @there = $intake->queued;
	$count{scalar(keys %$acknowledged) . ' acknowledged, ' . @there . ' there'}++;
	File::Path::remove_tree($intake->dir);
}
is join("\n", @bad), '', "calls $first to $calls: what is acknowledged is there, whole and once";
note join '; ', map { "$_: $count{$_}" } sort keys %count;
ok $count{'0 acknowledged, 0 there'} && $count{'2 acknowledged, 2 there'}, 'it was killed before and behind the commit';

subtest 'after a kill it starts again' => sub {
	my $again = Intake->start;
	$again->stop('KILL');
	$again->again;
	like((map { @$_ } $again->lmtp->message('x@example.com', ['ann@example.org'], "Subject: x\n\nx\n"))[-1], qr/^250 /, 'the socket that was left over is replaced');
};

done_testing;
