#!/usr/bin/perl
# Told to stop with several sessions: one behind its final dot is waited for, one in the middle of a message is broken
# off at once, and nobody burns the processor meanwhile.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Test::More;
use LmtpServer;
use Loop;
use Scheduler;
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $patience = 1.5;
my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
my $loop = Loop->new;
my $spool = Spool->new("$dir/post");
my ($scheduler, $in_middle, @order);

# The small message waits for its final reply from the moment the large one is on its way.
my $rules = sub ($stage, $key, $connection) {
	if ($stage eq 'DATA' && $connection->{transaction}{sender} =~ /large/) {
		$in_middle = 1;
		return [{ do => 'line', text => '354 go on' }];
	}
	return undef if $stage ne 'final' || $key ne 'small';
	$loop->run(5, sub { $in_middle });
	$scheduler->{agent}->signal('TERM');
	return [{ do => 'pause', seconds => $patience }, { do => 'line', text => '250 2.0.0 saved' }];
};
my $server = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s", caps => ['ENHANCEDSTATUSCODES'],
	rules => [$rules], lenient => 1, script => sub ($n) { [{ do => 'serve' }] });
for ([1001, 'large', 60_000_000], [1002, 'small', 100]) {
	my ($id, $user, $size) = @$_;
	my $body = ("x" x 70 . "\n") x ($size / 71);
	$spool->add(name => $id, body => $body, groups => [{
		sender => ['smtp', 'mx', "$user\@test"], header => "Subject: $user\n",
		recipients => [{ channel => 'lmtp', host => 'store', user => $user }],
	}]);
}
$scheduler = Scheduler->new(loop => $loop, spool => $spool, channel => 'lmtp', program => "$build/channel/lmtp",
	arguments => ['-c', 'lmtp', '-h', 'client.example', '-F', "UNIX:$dir/s", '-O', 'connections=2'],
	on_report => sub ($report) { push @order, "$report->{recipient}{user} $report->{word}" });
$scheduler->job($_, 'store') for 1001, 1002;
ok($scheduler->{agent}->reap(20), 'the agent goes');
is_deeply(\@order, ['large deferred', 'small ok3'], 'first what could not be finished, then the true result');
is($scheduler->{agent}->ending, '0', 'exit code');
cmp_ok((times)[2] + (times)[3], '<', $patience * 0.7, 'no processor time is spent on waiting');
$scheduler->check_files;
$server->close;
is_deeply([@{$scheduler->{problems}}, @{$server->{problems}}], [], 'nothing to complain about');
done_testing;
