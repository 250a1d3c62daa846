#!/usr/bin/perl
# SCHEDULERNOTIFY of zmailer.conf: enqueue tells the scheduler of new mail, and runqueue -w listens.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use IO::Socket::UNIX;
use Socket;
use Test::More;
use Time::HiRes qw(sleep time);
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $dir = File::Temp->newdir('/tmp/zlmtp-notify-XXXXXX');
my $socket = "$dir/notify";
my $runqueue;

END { kill 'KILL', $runqueue if $runqueue; }
$ENV{ZCONFIG} = "$dir/zmailer.conf";

sub configured($value) { Spool->put("$dir/zmailer.conf", "POSTOFFICE=$dir/po\nSCHEDULERNOTIFY=$value\n") }

sub enqueue(@options) {
	Spool->put("$dir/in", "Subject: x\n\nx\n");
	my $name = qx{"$build/channel/enqueue" @options -s ann\@example.org -r lmtp,-,bob <"$dir/in" 2>&1};
	return ($? >> 8, $name =~ s/\n\z//r);
}

# Waits until it holds; false after half a minute.
sub soon($holds) {
	my $end = time + 30;
	until ($holds->()) {
		return 0 if time > $end;
		sleep 0.05;
	}
	return 1;
}

Spool->new("$dir/po");

subtest 'enqueue tells' => sub {
	for my $value ($socket, "UNIX:$socket") {
		unlink $socket;
		my $listener = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $socket) or die "$socket: $!";
		configured($value);
		for my $levels ('', '-H', '-HH') {
			my ($status, $name) = enqueue($levels);
			is $status, 0, "$value $levels: exit 0";
			$listener->blocking(0);
			$listener->recv(my $text, 1000);
			like $text, [qr{\ANEW \d+\z}, qr{\ANEW [A-Z]/\d+\z}, qr{\ANEW [A-Z]/[A-Z]/\d+\z}]->[length($levels =~ s/-//r)], "$value $levels: one datagram with the name of the job";
		}
	}
	unlink $socket;
	is((enqueue())[0], 0, 'nobody there is no fault');
	my $deaf = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $socket) or die "$socket: $!";
	$deaf->close;
	is((enqueue())[0], 0, 'nor is a socket that nobody listens on');
	unlink $socket;
	my $slow = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $socket) or die "$socket: $!";
	is_deeply [ map { (enqueue())[0] } 1 .. 30 ], [ (0) x 30 ], 'one that does not read does not make it wait';
	unlink $socket;
	configured('/' . 'x' x 200);
	is((enqueue())[0], 0, 'nor does a path that is too long');
};

subtest 'runqueue -w listens' => sub {
	Spool->new("$dir/po2");
	Spool->put("$dir/zmailer.conf", "POSTOFFICE=$dir/po2\nSCHEDULERNOTIFY=\${POSTOFFICE}/.scheduler.notify\n");
	$socket = "$dir/po2/.scheduler.notify";
	Spool->put("$dir/scheduler.conf", "lmtp/*\n\tinterval=1h\n\tcommand=\"/usr/bin/touch $dir/started\"\n");
	$runqueue = fork // die;
	if (!$runqueue) {
		open STDERR, '>', "$dir/log" or die;
		exec "$build/channel/runqueue", '-w', '-f', "$dir/scheduler.conf" or die;
	}
	ok soon(sub { -S $socket }), 'the socket is there';
	is((stat $socket)[2] & 0777, 0600, 'for its owner alone');
	my $sender = IO::Socket::UNIX->new(Type => SOCK_DGRAM) or die;
	for my $odd ('NEW ', 'NEW ../../etc/passwd', 'NEW A/B/C/1', 'OLD 1', "NEW 1\0", '', 'x' x 5000, 'NEW 999999999') {
		send $sender, $odd, 0, pack_sockaddr_un($socket);
	}

	my ($status, $name) = enqueue();
	is $status, 0, 'a message is queued';
	ok soon(sub { -e "$dir/started" }),
		'... and tried at once' or diag Spool::slurp("$dir/log");
	ok kill(0, $runqueue), 'what is no job did no harm';
	kill 'TERM', $runqueue;
	waitpid $runqueue, 0;
	is $?, 0, 'it ends';
	undef $runqueue;
	ok !-e $socket, '... and takes its socket away';
};

done_testing;
