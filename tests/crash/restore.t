#!/usr/bin/perl
# intake was killed when it had accepted a message whose files were not yet on the disk, and the power cut took some of them.  The program
# that puts them in order is killed at each of its system calls, too, and the next one ends it: the message is there, whole and once.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path ();
use Test::More;
use Extent qw(long some_of);
use Intake;
use IntakeLife qw(life recover defects);

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my ($intake, $acknowledged, $status, $calls) = life(0, 1);
plan skip_all => 'processes cannot be followed here: ' . $intake->said if $status == 71;

# An intake that was killed before it knew that the files are on the disk; or right behind that, which then is taken back.
my $n = $calls;
do {
	File::Path::remove_tree($intake->dir);
	$n -= 5;
	($intake, $acknowledged) = life($n, 1);
} until !%$acknowledged || -e $intake->office . '/.journal.intake';
is scalar(%$acknowledged), 1, "killed at call $n intake has accepted the message";
$intake->forget_marks;
my ($office, $kept) = ($intake->office, $intake->dir . '/kept');
system('cp', '-a', $office, $kept) == 0 or die;

# What the power cut took.
my %cuts = (
	'the control file' => sub { unlink glob "$office/transport/[0-9]*" },
	'both files' => sub { unlink glob "$office/transport/[0-9]* $office/queue/*" },
	'the end of a message' => sub { truncate $_, 4096 for glob "$office/queue/*" },
	'all that is in both' => sub { truncate $_, 0 for glob "$office/queue/* $office/transport/[0-9]*" },
);
Spool->put($intake->dir . '/scheduler.conf', "none/*\n    interval=1m\n    command=\"/bin/false\"\n");

# The post office as it was found, and runqueue under killat in it; the number of its calls if it was not killed.
sub restore($at, $cut) {
	File::Path::remove_tree($office);
	system('cp', '-a', $kept, $office) == 0 or die;
	$cut->();
	my $said = `'$build/tests/crash/killat' $at '$build/channel/runqueue' -1 -f '@{[$intake->dir]}/scheduler.conf' -P '$office' 2>&1`;
	return $said =~ /killat: (\d+) calls/ ? $1 : undef;
}

for my $what (sort keys %cuts) {
	my $all = restore(0, $cuts{$what});
	my @bad = defects($intake, $acknowledged);
	my %count;
	for my $at (some_of(20, 1 .. $all)) {
		restore($at, $cuts{$what});
		$count{defects($intake, $acknowledged) ? 'damaged' : 'whole'}++;
		push @bad, map { "call $at: $_" } grep { $_ ne '' } recover($intake, $at % 2 ? 'intake' : 'runqueue'), defects($intake, $acknowledged);
		push @bad, "call $at: the journal is still there" if -e "$office/.journal.intake";
	}
	splice @bad, 10;
	is join("\n", @bad), '', "the power cut took $what: calls 1 to $all";
	note join '; ', map { "$_: $count{$_}" } sort keys %count;
	ok $count{damaged} && $count{whole}, '... it was killed before and behind';
}

# Mail that may be damaged is not delivered before the journal can be read: root reads none that has a second name.
SKIP: {
	skip 'needs root', 3 if $> != 0;
	File::Path::remove_tree($office);
	system('cp', '-a', $kept, $office) == 0 or die;
	link "$office/.journal.intake", "$office/.journal.copy" or die $!;
	like recover($intake, 'runqueue'), qr/ended with 74, .*journal\.intake: .*; the queue is read when that works/s, 'runqueue says why it does not begin';
	ok -e "$office/.journal.intake", '... and leaves the journal alone';
	unlink "$office/.journal.copy";
	is recover($intake, 'runqueue'), '', '... until it can be read';
}

done_testing;
