#!/usr/bin/perl
# The disk refuses what intake writes, behind its reply: the post office is an ext4 in a file that has no room for new blocks.  The
# kernel reports that once, and shows the files from memory as if they had been written.  What the next start does with them is on
# the disk when that works again and the power goes: what was acknowledged is in the queue, whole and once.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Test::More;
use Intake;
use IntakeLife qw(life recover defects);

plan skip_all => 'needs root' if $> != 0;
# what is mounted is seen by this process alone and goes with it
if (!$ENV{ZLMTP_UNSHARED}) {
	$ENV{ZLMTP_UNSHARED} = 1;
	plan skip_all => 'no mounts of its own for a process here' if system('unshare --mount --propagation private true 2>/dev/null') != 0;
	exec 'unshare', '--mount', '--propagation', 'private', $^X, $0, @ARGV or die "unshare: $!\n";
}

my $home = File::Temp->newdir('/tmp/zlw-XXXXXX');
my $disk = "$home/disk";
sub run(@command) { return system('sh', '-c', 'exec "$@" >>"$0" 2>&1', "$home/log", @command) == 0 }
sub must(@command) { run(@command) or die "@command: " . Spool::slurp("$home/log") }

mkdir $disk or die;
plan skip_all => 'no loop devices, or no fstrim here' if !-e '/dev/loop-control' || !grep { -x "$_/fstrim" } split /:/, "$ENV{PATH}:/sbin";
plan skip_all => 'no tmpfs here' if !run('mount', '-t', 'tmpfs', '-o', 'size=64m', 'none', $disk);

# All blocks of a new file system are there; later it gives back those that are free.  A block is a page, so that each write is
# refused as a whole: the loop device takes one that was done in part for done.
sub plug_in($office) {
	must('truncate', '-s', '32M', "$disk/sparse");
	must('mkfs.ext4', '-q', '-F', '-b', 4096, '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0', "$disk/sparse");
	must('cp', '--sparse=never', "$disk/sparse", "$disk/now");
	mkdir $office or die "$office: $!\n";
	must('mount', '-o', 'loop', "$disk/now", $office);
	Spool->new($office);
}

# An intake was killed behind its first message, so its journal has blocks that the next one uses.  What is written from now on where
# nothing was before is refused.  It is mounted anew, as the file system has put blocks aside.
sub break($intake) {
	my $office = $intake->office;
	{
		local @{$intake->{o}}{qw(before wait)} = ([], 1);
		$intake->again;
	}
	$intake->lmtp->message('x@example.com', ['ann@example.org'], "Subject: the first\n\nx\n");
	$intake->stop('KILL');
	must('umount', $office);
	must('mount', '-o', 'loop', "$disk/now", $office);
	must('fstrim', $office);
	must('sync', '-f', $office);
	run('dd', 'if=/dev/zero', "of=$disk/ballast", 'bs=4k');
	return $intake->queued;
}

sub mend() { unlink "$disk/ballast" or die }

sub cut_power($office) {
	must('cp', '--sparse=always', "$disk/now", "$disk/cut");
	must('umount', $office);
	must('mount', '-o', 'loop', "$disk/cut", $office);
}

for my $clients (1, 6) {
	for my $next ('intake', 'runqueue') {
		subtest "$clients clients, then $next" => sub {
			my $first;
			my ($intake, $acknowledged) = life(0, $clients, prepare => \&plug_in, arguments => ['-O', 'free=0'],
				earlier => sub ($intake) { ($first) = break($intake) });
			my $office = $intake->office;
			is_deeply [sort keys %$acknowledged], [0 .. $clients - 1], 'all are acknowledged';
			like $intake->said, qr/cannot (?:sync|write).*; mail that was accepted is kept in /, 'intake says that it cannot sync them';
			ok -e "$office/.journal.intake", '... and leaves its journal';
			mend();
			my $said = recover($intake, $next);
			# the system may still have what nobody was told
			$said = recover($intake, $next) if $said =~ /cannot sync/;
			is $said, '', "$next starts when the disk works again";
			cut_power($office);
			unlink glob "$office/{queue,transport}/$first";
			is join("\n", defects($intake, $acknowledged)), '', 'the power goes: what was acknowledged is there, whole and once';
			must('umount', $office);
		};
	}
}

must('umount', $disk);
done_testing;
