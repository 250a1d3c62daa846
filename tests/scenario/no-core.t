#!/usr/bin/perl
# With -A no core file of the agent can be made: it would hold the password.  Without -A one can, which shows that the
# machine would have made one.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp ();
use Agent;
use LmtpServer;
use Loop;
use Secrecy;
use Spool;

my $lmtp = ($ENV{BUILD_DIR} // "$FindBin::Bin/../..") . '/channel/lmtp';
my $secrecy = Secrecy->new('user', 'correct-horse-battery');

# Kills the agent at the moment when it has said its secret (or would have); returns its wait status and where cores
# would be.
sub abort_agent(@options) {
	my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
	my $spool = Spool->new("$dir/post");
	my $loop = Loop->new;
	my $agent;
	my @stop = ({ do => 'call', code => sub ($connection) { $agent->signal('ABRT') } });
	my $server = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s",
		caps => ['PIPELINING', 'AUTH LOGIN'], rules => [
			{ stage => 'AUTH', like => qr//, actions => [{ do => 'line', text => '334 VXNlcm5hbWU6' }] },
			{ stage => uc $secrecy->user64, like => qr//, actions => [{ do => 'line', text => '334 UGFzc3dvcmQ6' }] },
			{ stage => uc $secrecy->password64, like => qr//, actions => \@stop },
			{ stage => 'MAIL', like => qr//, actions => \@stop },
		]);
	$secrecy->write_file("$dir/secrets", "UNIX:$dir/s");
	$spool->add(name => '101', body => "Hello.\n", groups => [{ sender => ['smtp', 'mx', 'ann@example.org'], header => "Subject: x\n",
		recipients => [{ channel => 'lmtp', host => 'store', user => 'bob' }] }]);
	$agent = Agent->start(loop => $loop, directory => $spool->dir . '/transport', program => '/bin/sh', arguments =>
		['-c', 'ulimit -c unlimited; exec "$@"', 'sh', $lmtp, '-c', 'lmtp', '-F', "UNIX:$dir/s",
			map { s/DIR/$dir/r } @options]);
	$agent->send("101\tstore\n");
	$loop->run(10, sub { !$agent->{socket} });
	ok($agent->reap(10), "the agent ends (@options)");
	my @leaks = $secrecy->leaks_below("$dir", "$dir/secrets");
	$server->close;
	return ($agent->status, @leaks);
}

my ($control) = abort_agent();
my ($status, @leaks) = abort_agent('-A', 'DIR/secrets');
is($status & 127, 6, 'it was killed by SIGABRT');
is_deeply(\@leaks, [], 'the secret is in no file');
SKIP: {
	skip 'this machine makes no core files', 1 unless $control & 128;
	ok(!($status & 128), 'no core was dumped');
}
done_testing;
