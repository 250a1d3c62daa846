#!/usr/bin/perl
# runqueue -w: new mail, retries, parked agents, and the end.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Time::HiRes qw(sleep time);
use RunQueue;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";

sub gone($q, $name) {
	return RunQueue::wait_for(sub { !-e $q->office . "/transport/$name" && !-e $q->office . "/queue/$name" });
}

subtest 'mail that comes while it runs' => sub {
	my $q = RunQueue->new(script => "strict\n", conf => "lmtp/*\n\tidlemax=60 command=\"AGENT\"\n");
	mkdir $q->office . '/transport/K';
	$q->start('-w', '-v');
	ok RunQueue::wait_for(sub { -s $q->office . '/.pid.runqueue' }), 'it says who it is';
	my $begun = time;
	ok gone($q, $q->arrive(['a'])), 'is delivered';
	ok RunQueue::wait_for(sub { grep { $_->{rest} eq '#idle' } $q->log('line') }), 'then the agent is parked';
	ok gone($q, $q->arrive(['b'], into => 'K')), 'in a hash directory too';
	ok gone($q, $q->arrive(['c'], into => 'Y/K')), 'and in one that was not there before';
	cmp_ok time - $begun, '<', 10, 'without much delay';
	my $id = qx(printf 'Subject: x\\n\\nhello\\n' | $build/channel/enqueue -HH -P @{[$q->office]} -r lmtp,-,d);
	my ($inode) = $id =~ /^S(\d+)A/;
	ok gone($q, join '/', (map { chr(65 + $_ % 26) } int($inode / 26), $inode), $inode), 'from enqueue as well';
	cmp_ok scalar(my @started = $q->log('start')), '<', 4, 'agents are used again';
	is_deeply [map { $_->{rest} } $q->log('complaint')], [], 'by the rule';
	my ($status, $out, $err) = $q->stop;
	is "$status $err", '0 ', 'SIGTERM ends it well';
	is scalar(() = $out =~ /ok: /g), 4, 'four outcomes were printed';
	ok $q->log('empty-line') && $q->log('end-of-file') && $q->log('end'), 'the agent was told to go, and went';
};

subtest 'retries' => sub {
	my $q = RunQueue->new(script => "user a deferred\n", conf => "lmtp/*\n\tinterval=1s retries=\"1 3\" command=\"AGENT\"\n");
	$q->message(['a', 'b']);
	$q->start('-w');
	ok RunQueue::wait_for(sub { scalar(my @jobs = $q->jobs) >= 3 }), 'a deferred recipient is tried again';
	my @times = map { $_->{time} } $q->log('job');
	cmp_ok $times[1] - $times[0], '>=', 0.95, 'after the interval';
	cmp_ok $times[1] - $times[0], '<', 2.5, 'not much later';
	cmp_ok $times[2] - $times[1], '>=', 2.95, 'then after the next of the retries';
	is_deeply [map { (split ' ', $_->{rest})[1] } $q->log('recipient')], ['a', 'b', 'a', 'a'], 'who has it is not tried again';
	# the agent reads its script when it starts
	kill KILL => +($q->log('start'))[0]{pid};
	$q->script('');
	ok gone($q, 100), 'until it is delivered';
	is +($q->stop)[0], 0, 'exit 0';
};

subtest 'a destination that comes back' => sub {
	my $q = RunQueue->new(script => "user . deferall\n", conf => "lmtp/*\n\tinterval=1s retries=1 command=\"AGENT\"\n");
	$q->message(['a']) for 1 .. 30;
	$q->start('-w');
	ok RunQueue::wait_for(sub { scalar(my @jobs = $q->jobs) >= 3 }), 'is asked again and again';
	my @times = map { $_->{time} } $q->log('job');
	cmp_ok $times[2] - $times[0], '>=', 1.9, 'with one job for each interval';
	$q->script('');
	kill KILL => $_->{pid} for ($q->log('start'))[-1];
	ok RunQueue::wait_for(sub { !$q->names }), 'then all mail goes';
	is +($q->stop)[0], 0, 'exit 0';
};

subtest 'parked agents' => sub {
	my $q = RunQueue->new(conf => "lmtp/*\n\tidlemax=1s command=\"AGENT\"\n");
	$q->message(['a']);
	$q->start('-w');
	ok RunQueue::wait_for(sub { $q->log('end') }), 'go home after idlemax';
	my ($idle, $end) = map { $_->{time} } ($q->log('line'))[0], ($q->log('end'))[0];
	cmp_ok $end - $idle, '>=', 0.9, 'not before';
	is +($q->stop)[0], 0, 'exit 0';

	$q = RunQueue->new(conf => "lmtp/*\n\tidlemax=1h maxring=1 command=\"AGENT \$host\"\n");
	$q->message(['a@@x']);
	$q->start('-w');
	ok RunQueue::wait_for(sub { $q->log('line') }), 'one is parked';
	ok gone($q, $q->arrive(['b@@y'])), 'it makes room for one that is needed';
	is +($q->stop)[0], 0, 'exit 0';
};

subtest 'agents that find nothing to do, again and again' => sub {
	my $q = RunQueue->new(script => join('', map { "job $_ resync\n" } 1 .. 100));
	$q->message(['a']);
	$q->start('-w');
	ok RunQueue::wait_for(sub { 3 <= (my @j = $q->jobs) }), 'are asked again';
	my @at = map { $_->{time} } $q->log('job');
	cmp_ok $at[1] - $at[0], '>=', 0.95, 'a second later';
	cmp_ok $at[2] - $at[1], '>=', 1.95, 'then two: not without end';
	is +($q->stop)[0], 0, 'exit 0';
	is $q->tags(100), ' ', 'and the mail stays';
};

subtest 'agents that die, again and again' => sub {
	my $q = RunQueue->new(script => "job 1 exit 3\n", conf => "lmtp/*\n\tinterval=1s retries=\"1 1 1 1 60\" command=\"AGENT\"\n");
	$q->message(['a']) for 1 .. 5;
	$q->start('-w');
	ok RunQueue::wait_for(sub { 3 <= (my @s = $q->log('start')) }), 'are started again';
	my @at = map { $_->{time} } $q->log('start');
	cmp_ok $at[2] - $at[0], '>=', 1.9, 'once for each interval: not without end';
	my ($status, undef, $err) = $q->stop;
	is $status, 0, 'exit 0';
	like $err, qr/^runqueue: agent \d+ \(lmtp\) ended with status 3$/m, 'their end is told';
	is join('', map { $q->tags($_) } 100 .. 104), ' ' x 5, 'the mail stays';
};

subtest 'the end' => sub {
	my $q = RunQueue->new(script => "pause 0.2\n", conf => "lmtp/*\n\toverfeed=4 command=\"AGENT\"\n");
	$q->message(['a']) for 1 .. 50;
	$q->start('-w');
	RunQueue::wait_for(sub { $q->jobs });
	my ($status) = $q->stop;
	is $status, 0, 'SIGTERM in the middle: exit 0';
	is scalar(my @starts = $q->log('start')), scalar(my @ends = $q->log('end')), 'it waits for its agents';
	cmp_ok scalar(my @jobs = $q->jobs), '<=', 6, 'nothing more is fed';
	is scalar(my @names = $q->names), 2 * (50 - @jobs), 'what was fed is done, what was not is there';

	$q = RunQueue->new(script => "pause 0.3\n");
	$q->message(['a']) for 1 .. 5;
	my $pid = $q->start('-w');
	RunQueue::wait_for(sub { $q->log('job') });
	kill KILL => $pid;
	$q->finish;
	ok RunQueue::wait_for(sub { !kill 0, +($q->log('start'))[0]{pid} }), 'killed: the agent sees the end of its input and goes';
	my ($again) = $q->run('-1');
	is $again, 0, 'the next one starts at once';
	is_deeply [$q->names], [], 'and delivers the rest';
	my %got;
	$got{$_->{rest}}++ for $q->log('recipient');
	is_deeply [grep { $_ != 1 } values %got], [], 'once';
};

done_testing;
