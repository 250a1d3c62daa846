#!/usr/bin/perl
# A scheduler that does not read what the agent says holds up neither the mail nor the agent's end.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);
use LmtpServer;
use Loop;
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $loop = Loop->new;

# An agent that has said #hungry and whose pipe is full since then, with jobs 101 and 102 and a server that takes them.
sub begin() {
	my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
	my $spool = Spool->new("$dir/post");
	my %got;
	my $server = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s", rules => [sub ($stage, $key, $c) {
		$got{$key} = 1 if $stage eq 'final';
		return undef;
	}]);
	for ([101, 'ann@test'], [102, 'bob@test']) {
		my ($name, $user) = @$_;
		$spool->add(name => $name, body => "x\n", groups => [{ sender => ['smtp', 'mx', 'eve@test'], header => "Subject: x\n",
			recipients => [{ channel => 'lmtp', host => 'store', user => $user }] }]);
	}
	pipe my $orders, my $to or die $!;
	pipe my $answers, my $from or die $!;
	fcntl $from, 1031, 4096 or die "F_SETPIPE_SZ: $!";
	my $pid = fork // die $!;
	if (!$pid) {
		chdir $spool->dir . '/transport' or POSIX::_exit(126);
		open STDIN, '<&', $orders;
		open STDOUT, '>&', $from;
		close $_ for $to, $answers;
		exec "$build/channel/lmtp", '-c', 'lmtp', '-h', 'client.example', '-O', 'connections=1', '-F', "UNIX:$dir/s" or POSIX::_exit(127);
	}
	close $orders;
	my $line = readline $answers;
	is $line, "#hungry\n", 'the agent is there';
	syswrite $from, 'x' x 4095 . "\n";
	close $from;
	syswrite $to, "101\tstore\n102\tstore\n";
	my $both = $loop->run(20, sub { keys %got == 2 });
	ok $both, 'both messages are delivered though nobody reads of the first';
	return { dir => $dir, spool => $spool, server => $server, pid => $pid, to => $to, answers => $answers };
}

# Its wait status, undef if it has not ended then.
sub ended($pid, $seconds) {
	for (my $end = time + $seconds; time < $end; sleep 0.02) {
		return $? if waitpid($pid, POSIX::WNOHANG) == $pid;
	}
	return undef;
}

$SIG{ALRM} = sub { die "the agent says nothing\n" };
alarm 120;
{
	my $agent = begin();
	my $answers = $agent->{answers};
	like scalar readline $answers, qr/^x+$/, 'when it reads again';
	my $told = 0;
	while ($told < 2 && defined(my $line = readline $answers)) {
		$told++ if $line =~ m{^\d+/\d+\t.*\tok};
	}
	is $told, 2, '... it is told of both';
	close $agent->{to};
	is ended($agent->{pid}, 10), 0, '... and the agent ends by the end of its input';
	$agent->{server}->close;
}
{
	my $agent = begin();
	kill TERM => $agent->{pid};
	is ended($agent->{pid}, 15), 0, 'told to stop, it waits ten seconds for somebody who reads';
	is join('', map { $agent->{spool}->read($_)->{recipients}[0]{tag} } 101, 102), '++', '... and both are marked as delivered';
	$agent->{server}->close;
}
done_testing;
