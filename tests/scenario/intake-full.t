#!/usr/bin/perl
# A post office whose disk is full, or has no inodes left: 452 4.3.1, nothing half in the queue, and mail again when there is room.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Intake;

plan skip_all => 'needs root' if $> != 0;
# what is mounted is seen by this process alone and goes with it
if (!$ENV{ZLMTP_UNSHARED}) {
	$ENV{ZLMTP_UNSHARED} = 1;
	plan skip_all => 'no name spaces here' if system('unshare --mount --propagation private true 2>/dev/null') != 0;
	exec 'unshare', '--mount', '--propagation', 'private', $^X, $0, @ARGV or die "unshare: $!\n";
}

for (['no room', 'size=300k,nr_inodes=1000'], ['no inodes', 'size=10m,nr_inodes=14']) {
	my ($what, $options) = @$_;
	subtest $what => sub {
		my $mount = sub ($office) {
			mkdir $office or die "$office: $!\n";
			system('mount', '-t', 'tmpfs', '-o', $options, 'office', $office) == 0 or die 'mount failed';
		};
		# its own limits would see it sooner
		my $intake = Intake->start(prepare => $mount, arguments => [map { ('-O', $_) } qw(free=0 inodes=0)]);
		my @last = map {
			(map { @$_ } $intake->lmtp->message('x@example.com', ['ann@example.org', 'bob@example.org'], "Subject: $_\n\n" . ('y' x 70 . "\n") x 600))[-2, -1]
		} 1 .. 10;
		my $taken = grep { /^250 .*queued/ } @last;
		cmp_ok $taken, '>', 1, 'as long as there is room it takes mail';
		is scalar(grep { /^452 4\.3\.1 </ } @last), 20 - $taken, 'then each recipient hears 452';
		cmp_ok $taken, '<', 20, '... some do';
		is 2 * $intake->queued, $taken, 'what was taken is in the queue';
		is join(' ', $intake->litter), '', '... and nothing else';
		like $intake->said, qr/^intake: cannot (?:write|create) \S+: No space left on device$/m, 'the log says why';
		is scalar(() = $intake->said =~ /No space left/g), scalar(keys %{{ map { s/\d//gr => 1 } $intake->said =~ /^(.*No space left.*)$/mg }}),
			'... in a line for each way, not for each message';
		$intake->forget_all;
		like((map { @$_ } $intake->lmtp->message('x@example.com', ['ann@example.org'], "Subject: x\n\nx\n"))[-1], qr/^250 /, 'there is room again');
		is $intake->stop, 0, 'it ends well';
		my $refused = (20 - $taken) / 2 - (() = $intake->said =~ /No space left/g);
		like $intake->said, qr/^intake: \Q@{[$intake->office]}\E: $refused more messages? could not be written since the last line about it$/m, '... and says how many more were refused';
		system 'umount', $intake->office;
	};
}

done_testing;
