#!/usr/bin/perl
# A log daemon that is not there is not asked for each line, and is found when it has come.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Test::More;
use LmtpServer;
use Loop;
use Scheduler;
use Spool;
use Syslog;

plan skip_all => 'a /dev/log of our own takes root and mount namespaces' if !Syslog->possible;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
my $loop = Loop->new;
my $spool = Spool->new("$dir/post");
my $server = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s", caps => ['ENHANCEDSTATUSCODES'],
	lenient => 1, script => sub ($n) { [{ do => 'serve' }] });
my ($program, @arguments) = Syslog::command({ path => "$dir/syslog" }, "$build/channel/lmtp", '-c', 'lmtp',
	'-h', 'client.example', '-F', "UNIX:$dir/s");
my $scheduler = Scheduler->new(loop => $loop, spool => $spool, channel => 'lmtp', program => $program,
	arguments => \@arguments);

sub deliver($id, $user) {
	$spool->add(name => $id, body => "text\n", groups => [{
		sender => ['smtp', 'mx', 'a@test'], header => "Subject: $user\n",
		recipients => [{ channel => 'lmtp', host => 'store', user => $user }],
	}]);
	$scheduler->job($id, 'store');
	ok($loop->run(20, sub { $scheduler->satisfied }), "$user gets mail");
}

deliver(1001, 'early');
deliver(1002, 'early-too');
my $log = Syslog->new($loop, $dir);
$loop->run(1.2, sub { 0 });
deliver(1003, 'late');
deliver(1004, 'later');
$scheduler->{agent}->send("\n");
ok($scheduler->{agent}->reap(20), 'the agent goes');
is_deeply([map { /recipient=(\S+)/ } $log->lines], ['late', 'later'], 'what it was told');
$server->close;
is_deeply([@{$scheduler->{problems}}, @{$server->{problems}}], [], 'nothing to complain about');
done_testing;
