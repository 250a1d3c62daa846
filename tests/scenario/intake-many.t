#!/usr/bin/perl
# Many clients of intake at once: how much memory they take, and that those who want too much stop themselves and nobody else.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOCK_STREAM);
use Test::More;
use Time::HiRes qw(sleep time);
use Intake;

my $is_plain = !$ENV{ZLMTP_SANITIZED};
my $text = "Subject: x\n\nx\n";

sub pss($intake) { return (Spool::slurp('/proc/' . $intake->pid . '/smaps_rollup') // '') =~ /^Pss:\s+(\d+)/m ? $1 / 1024 : 0 }

sub soon($holds) {
	my $end = time + 20;
	until ($holds->()) {
		return 0 if time > $end;
		sleep 0.02;
	}
	return 1;
}

# A client in the middle of a message.
sub begin($intake) {
	my $client = $intake->lmtp;
	$client->send("LHLO a\r\nMAIL FROM:<x\@example.com>\r\nRCPT TO:<ann\@example.org>\r\nDATA\r\n");
	1 until $client->reply =~ /^(?:354|421)|^\z/;
	return $client;
}

# Sends without waiting what the socket takes.
sub push_in($client, $bytes) {
	local $SIG{PIPE} = 'IGNORE';
	$client->handle->blocking(0);
	my $n = syswrite $client->handle, $bytes;
	$client->handle->blocking(1);
	return $n;
}

my ($files) = (POSIX::sysconf(POSIX::_SC_OPEN_MAX()) // 256);
plan skip_all => "no more than $files open files here" if $files < 1100;

subtest 'a thousand connections fit into 64 MB' => sub {
	my $intake = Intake->start;
	my @clients = map { $intake->lmtp } 1 .. 999;
	my $idle = pss($intake);
	note sprintf 'idle: %.1f MB', $idle;
	@clients = ();
	ok soon(sub { eval { $intake->lmtp } }), 'they have gone';
	@clients = map { begin($intake) } 1 .. 990;
	push_in($_, "Subject: x\r\n\r\n" . ('y' x 70 . "\r\n") x 2000) for @clients;
	like((map { @$_ } $intake->lmtp->message('x@example.com', ['ann@example.org'], $text))[-1], qr/^250 /, 'beside 990 in the middle of a message');
	my $middle = pss($intake);
	note sprintf 'in the middle of a message: %.1f MB', $middle;
	SKIP: {
		skip 'memory is measured without a sanitizer', 2 if !$is_plain || !$idle;
		cmp_ok $idle, '<', 64, 'idle';
		cmp_ok $middle, '<', 64, 'in the middle of a message';
	}
	$_->send("\r\n.\r\n") for @clients;
	is scalar(grep { $_->reply =~ /^250 .*queued/ } @clients), 990, 'all of them are taken';
	is scalar($intake->queued), 991, '... and queued';
};

subtest 'memory=' => sub {
	my $intake = Intake->start(run => 0);
	my $file = $intake->dir . '/intake.prom';
	$intake->{o}{arguments} = ['-O', 'memory=2', '-M', $file];
	$intake->again;
	my @modest = map { begin($intake) } 1 .. 20;
	my @greedy = map { begin($intake) } 1 .. 60;
	for (1 .. 4) {
		push_in($_, "X-Long: value\r\n" x 2000) for @greedy;
	}
	my ($dropped, $end) = (0, time + 20);
	while (time < $end && $dropped < 10) {
		my $in = '';
		vec($in, fileno $_->handle, 1) = 1 for @greedy;
		select $in, undef, undef, 0.1 or next;
		for my $client (@greedy) {
			next if $client->{over} || !vec $in, fileno $client->handle, 1;
			$client->{over} = 1;
			$client->{said} = eval { $client->rest } // '';
			$dropped++;
		}
	}
	cmp_ok $dropped, '>=', 10, 'clients whose headers have no end are dropped';
	my @said = grep { $_ ne '' } map { $_->{said} // () } @greedy;
	is scalar(grep { $_ ne "421 4.3.2 not enough memory; try again later\r\n" } @said), 0, '... and told why, where they can be';
	$_->send("Subject: x\r\n\r\nx\r\n.\r\n") for @modest;
	is scalar(grep { $_->reply =~ /^250 / } @modest), 20, 'the others are not';
	@greedy = ();
	ok soon(sub { !$intake->litter }), 'what they had begun is gone';
	$intake->stop;
	like Spool::slurp($file), qr/^zlmtp_intake_refused_total\{reason="memory"\} [1-9]/m, 'counted';
};

subtest 'ten thousand connections' => sub {
	my $intake = Intake->start(arguments => ['-O', 'connections=200']);
	my @clients = map { $intake->lmtp } 1 .. 199;
	my $inside = begin($intake);
	my @children;
	for (1 .. 4) {
		my $pid = fork // die;
		if (!$pid) {
			my $bad = 0;
			for (1 .. 2500) {
				my $fh = IO::Socket::UNIX->new(Peer => $intake->dir . '/lmtp', Type => SOCK_STREAM);
				my $said = $fh ? join '', <$fh> : '';
				$bad++ if $said ne "421 4.3.2 too many connections; try again later\r\n";
			}
			POSIX::_exit($bad == 0 ? 0 : 1);
		}
		push @children, $pid;
	}
	# while they come, who is in is served
	my ($begun, $rounds, $slowest) = (time, 0, 0);
	while (@children) {
		my $before = time;
		like($clients[0]->say('NOOP'), qr/^250 /, 'NOOP') if !$rounds++;
		$clients[$rounds % @clients]->say('NOOP') =~ /^250 / or fail 'NOOP';
		$slowest = time - $before if time - $before > $slowest;
		@children = grep { waitpid($_, POSIX::WNOHANG()) == 0 || ($? && fail('each is told'), 0) } @children;
		last if time - $begun > 60;
	}
	is scalar @children, 0, 'ten thousand were told that there are too many';
	note sprintf '%.1f s; %d commands of others meanwhile, the slowest took %.3f s', time - $begun, $rounds, $slowest;
	cmp_ok $slowest, '<', 2, 'those who are in did not wait long';
	$inside->send("Subject: x\r\n\r\nx\r\n.\r\n");
	like $inside->reply, qr/^250 .*queued/, 'a message that had begun is taken';
	shift(@clients)->say('QUIT');
	ok soon(sub { (eval { $intake->lmtp->greeting } // '') =~ /^220/ }), 'afterwards there is room again';
};

subtest 'per-user=: one user of the machine does not take all connections' => sub {
	plan skip_all => 'needs root' if $> != 0;
	my $intake = Intake->start(run => 0);
	$intake->{o}{listen} = ['lmtp:UNIX:' . $intake->dir . '/lmtp,mode=0666'];
	$intake->{o}{arguments} = ['-O', 'per-user=3'];
	$intake->again;
	my @root = map { $intake->lmtp } 1 .. 5;
	my @nobody;
	{
		local $> = getpwnam 'nobody';
		push @nobody, $intake->lmtp for 1 .. 3;
		is $intake->lmtp->greeting, "421 4.3.2 too many connections; try again later\r\n", 'one more than a user may have';
	}
	like $_->greeting, qr/^220 /, 'as many as it may' for @nobody;
	like $intake->lmtp->greeting, qr/^220 /, 'root has no limit';
	{
		local $> = getpwnam 'daemon';
		like $intake->lmtp->greeting, qr/^220 /, 'another user has its own';
	}
};

done_testing;
