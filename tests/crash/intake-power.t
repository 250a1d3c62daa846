#!/usr/bin/perl
# The power goes while intake works: its post office is an ext4 in a file, intake is killed at a system call, and what the file
# holds at this moment is all that is left.  The kernel has written there what was synced; the rest was in memory alone.  The copy is
# mounted as after a crash: what was acknowledged is in the queue, whole and once.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path ();
use File::Temp ();
use Test::More;
use Extent qw(long some_of);
use IntakeLife qw(life recover defects);

plan skip_all => 'needs root' if $> != 0;
# what is mounted is seen by this process alone and goes with it
if (!$ENV{ZLMTP_UNSHARED}) {
	$ENV{ZLMTP_UNSHARED} = 1;
	plan skip_all => 'no mounts of its own for a process here' if system('unshare --mount --propagation private true 2>/dev/null') != 0;
	exec 'unshare', '--mount', '--propagation', 'private', $^X, $0, @ARGV or die "unshare: $!\n";
}

my $disk = File::Temp->newdir('/tmp/zlw-XXXXXX');
sub run(@command) { return system('sh', '-c', 'exec "$@" >>"$0" 2>&1', "$disk/log", @command) == 0 }

# Kilobyte blocks, so that a small file holds a journal.
run('truncate', '-s', '12M', "$disk/new") && run('mkfs.ext4', '-q', '-F', '-b', 1024, "$disk/new") && mkdir("$disk/try")
	or die Spool::slurp("$disk/log");
plan skip_all => 'no loop devices here: ' . Spool::slurp("$disk/log") if !run('mount', '-o', 'loop', "$disk/new", "$disk/try");
run('umount', "$disk/try") or die;

# The post office of each life is on a disk of its own, whose directories are there for good.
sub plug_in($office) {
	mkdir $office or die "$office: $!\n";
	run('cp', '--sparse=always', "$disk/new", "$disk/now") && run('mount', '-o', 'loop', "$disk/now", $office) or die Spool::slurp("$disk/log");
	Spool->new($office);
	run('sync', '-f', $office) or die;
}

sub cut_power($office) {
	run('cp', '--sparse=always', "$disk/now", "$disk/cut") or die;
	run('umount', $office) && run('mount', '-o', 'loop', "$disk/cut", $office) or die Spool::slurp("$disk/log");
}

sub powered_life($n, $clients) { return life($n, $clients, prepare => \&plug_in, arguments => ['-O', 'free=0']) }

sub after($intake) {
	run('umount', $intake->office) or die Spool::slurp("$disk/log");
	File::Path::remove_tree($intake->dir);
}

my ($idle_intake, undef, $status, $idle) = powered_life(0, 0);
plan skip_all => 'processes cannot be followed here: ' . $idle_intake->said if $status == 71;
after($idle_intake);
# one or two messages are synced one by one where the journal does not have them, more of them as a batch
for my $clients (2, 6) {
	subtest "$clients clients" => sub {
		my ($intake, $acknowledged, $status, $calls) = powered_life(0, $clients);
		is_deeply [sort keys %$acknowledged], [0 .. $clients - 1], 'all are acknowledged';
		cut_power($intake->office);
		is recover($intake, 'intake'), '', 'the next intake starts';
		is join(' ', defects($intake, $acknowledged)), '', '... and there, if the power goes behind the last reply';
		after($intake);
		# the second half has the ends of messages and the commits
		my $first = long() ? $idle - 20 : int((2 * $idle + $calls) / 3);
		my (@bad, %count);
		for my $n (some_of(10, $first .. $calls)) {
			($intake, $acknowledged, $status) = powered_life($n, $clients);
			cut_power($intake->office);
			push @bad, map { "call $n: $_" } grep { $_ ne '' } recover($intake, $n % 2 ? 'intake' : 'runqueue'), defects($intake, $acknowledged);
			my $there = () = $intake->queued;
			$count{$there == 0 ? 'none there' : $there == $clients ? 'all there' : 'some there'}++;
			$count{scalar keys %$acknowledged ? 'acknowledged' : 'not acknowledged'}++;
			$count{restored}++ if $intake->said =~ /from (?:the|its) journal/;
			after($intake);
		}
		is join("\n", @bad), '', "from call $first to $calls: what is acknowledged is there, whole and once";
		note join '; ', map { "$_: $count{$_}" } sort keys %count;
		ok $count{'none there'} && $count{'all there'} && $count{acknowledged} && $count{'not acknowledged'}, 'the power went before and behind the commit';
	};
}

done_testing;
