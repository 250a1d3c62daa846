#!/usr/bin/perl
# Clients of intake that flood, drip, hold their replies up, close one half or all of it anywhere, say rubbish and try to smuggle,
# beside some that send mail.  Those are served all the time; what was acknowledged to them is in the queue, whole and once, and
# nothing else is; the memory of intake does not grow.
#
# With ZLMTP_SOAK=1 for an hour instead of six seconds (another number: so many seconds).  ZLMTP_SEED repeats a run.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOCK_STREAM SOL_SOCKET SO_LINGER);
use Test::More;
use Time::HiRes qw(sleep time);
use Intake;
use Ports;

my $seconds = $ENV{ZLMTP_SOAK} ? ($ENV{ZLMTP_SOAK} > 1 ? $ENV{ZLMTP_SOAK} : 3600) : 6;
my $seed = $ENV{ZLMTP_SEED} // int time;
note "ZLMTP_SEED=$seed";

my ($port) = Ports::free(1);
my $intake = Intake->start(run => 0);
my $dir = $intake->dir;
$intake->{o}{listen} = ["lmtp:UNIX:$dir/lmtp", "smtp:UNIX:$dir/smtp", "smtp:[127.0.0.1]:$port"];
$intake->{o}{arguments} = [map { ('-O', $_) } qw(connections=150 per-address=60 command-time=2 message-time=5 memory=4 size=300000 errors=20)];
$intake->again;
my $end = time + $seconds;

sub pick(@list) { return $list[rand @list] }

# A socket, or undef: no greeting is waited for.
sub enter() {
	return IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $port, Type => SOCK_STREAM) if rand() < 0.3;
	return IO::Socket::UNIX->new(Peer => "$dir/" . pick('lmtp', 'smtp'), Type => SOCK_STREAM);
}

# Bytes as far as they go without waiting long.
sub utter($fh, $bytes) {
	my $ready = '';
	vec($ready, fileno $fh, 1) = 1;
	return 0 if !select undef, $ready, undef, 0.5;
	$fh->blocking(0);
	my $n = syswrite $fh, $bytes;
	$fh->blocking(1);
	return $n;
}

my @words = ("LHLO a\r\n", "EHLO a\r\n", "MAIL FROM:<evil\@example.com>\r\n", "RCPT TO:<ann\@example.org>\r\n", "RCPT TO:<nobody\@example.org>\r\n",
	"RCPT TO:<nothing\@example.org>\r\n", "BDAT 10\r\n0123456789", "BDAT 5 LAST\r\n", "BDAT 99999999\r\n", "BDAT\r\n", "RSET\r\n", "NOOP\r\n", "STARTTLS\r\n", "QUIT\r\n", "\0\0\r\n",
	"x" x 5000, "\r", "\n", "\r\n.\r", "AUTH PLAIN =\r\n", "VRFY ann\r\n", "MAIL FROM:<>\r\n", "MAIL FROM:<a\@b> SIZE=99999999999999999999\r\n", "\xff\xfe\r\n");

# To the middle of a message whose recipients are thrown away, if anything.
sub into_data($fh) {
	utter($fh, "LHLO a\r\nEHLO a\r\nMAIL FROM:<evil\@example.com>\r\nRCPT TO:<nothing\@example.org>\r\nDATA\r\n");
	my ($said, $ready) = ('', '');
	for (1 .. 40) {
		vec($ready = '', fileno $fh, 1) = 1;
		last if !select($ready, undef, undef, 0.5) || !sysread $fh, $said, 4096, length $said;
		return 1 if $said =~ /^354/m;
	}
	return 0;
}

my @manners = (
	sub ($fh) { close $fh },
	sub ($fh) { utter($fh, join '', map { chr rand 256 } 1 .. rand 3000) for 1 .. 5 },
	sub ($fh) { utter($fh, pick(@words)) or return for 1 .. rand 60 },
	sub ($fh) { for (1 .. 20) { utter($fh, 'N') or return; sleep 0.1 } },
	sub ($fh) { shutdown $fh, pick(0, 1); utter($fh, pick(@words)); sleep rand 0.5 },
	# replies are not read
	sub ($fh) { utter($fh, "EHLO a\r\n" x 2000) or return for 1 .. 20; sleep rand 2 },
	sub ($fh) { into_data($fh) or return; for (1 .. 30) { utter($fh, join '', map { pick("\r", "\n", '.', 'a', "\r\n", "\0") } 1 .. rand 40) or return; sleep rand 0.05 } },
	sub ($fh) { into_data($fh) or return; utter($fh, "X: y\r\n" x 3000) or return for 1 .. 20 },
	sub ($fh) { into_data($fh) or return; utter($fh, "x\n.\nMAIL FROM:<evil\@example.com>\r\nRCPT TO:<ann\@example.org>\r\nDATA\r\nevil\r\n") },
	sub ($fh) { utter($fh, "LHLO a\r\nMAIL FROM:<evil\@example.com>\r\n" . "RCPT TO:<ann\@example.org>\r\n" x 2000); sleep rand 1 },
	# gone without a farewell
	sub ($fh) { into_data($fh); setsockopt $fh, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0; close $fh },
);

sub be_hostile($number) {
	srand $seed + $number;
	$SIG{PIPE} = 'IGNORE';
	my @held;
	while (time < $end) {
		my $fh = enter() // do { sleep 0.01; next };
		eval { pick(@manners)->($fh); 1 };
		# some stay for a while
		push @held, $fh if rand() < 0.3;
		shift @held if @held > 25;
	}
}

# Sends mail, and notes the number of each message when it is acknowledged; ends with how long the slowest took.
sub be_good($number) {
	open my $notes, '>', "$dir/good.$number" or die;
	$notes->autoflush(1);
	my ($n, $slowest, $bad) = (0, 0, '');
	while (time < $end) {
		my $begun = time;
		my $ok = eval {
			my $c = $intake->lmtp;
			my @replies = map { @$_ } $c->message('good@example.com', ['bob@example.org'], "Subject: good $number-$n-\n\n" . 'line of the text' x 3 . "\n" x rand 2000);
			print $notes "$number-$n-\n" if $replies[-1] =~ /^250 .*queued/;
			# 421 may come in the middle, for want of memory, and nothing behind it
			$bad = join ' ', @replies if $replies[-1] !~ /^250/ && !grep { /^421/m } @replies;
			$replies[-1] =~ /^250/;
		};
		# there are no more connections than 150: that is said, and tried again
		$slowest = time - $begun if $ok && time - $begun > $slowest;
		$n++;
		sleep 0.02;
	}
	print $notes "slowest $slowest\n", $bad ne '' ? "bad $bad\n" : ();
	close $notes;
}

my @children;
for my $number (1 .. 8) {
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		$number <= 6 ? be_hostile($number) : be_good($number);
		POSIX::_exit(0);
	}
	push @children, $pid;
}
my $largest = 0;
while (time < $end) {
	sleep 0.5;
	my ($pss) = (Spool::slurp('/proc/' . $intake->pid . '/smaps_rollup') // '') =~ /^Pss:\s+(\d+)/m;
	$largest = ($pss // 0) / 1024 if ($pss // 0) / 1024 > $largest;
}
for my $pid (@children) {
	my $patience = time + 30;
	sleep 0.05 while !(my $gone = waitpid $pid, POSIX::WNOHANG()) && time < $patience;
	kill 'KILL', $pid;
}
ok waitpid($intake->pid, POSIX::WNOHANG()) == 0, 'it still runs';
my $notes = join '', map { Spool::slurp("$dir/good.$_") // '' } 7, 8;
my %acknowledged = map { $_ => 1 } $notes =~ /^(\d+-\d+-)$/mg;
my ($slowest) = sort { $b <=> $a } $notes =~ /^slowest (\S+)/mg;
cmp_ok scalar keys %acknowledged, '>', 5, 'mail was taken all the time';
unlike $notes, qr/^bad/m, 'no other answer than yes, or too many, or not enough memory';
cmp_ok $slowest // 99, '<', 5, 'nobody waited long';
note sprintf '%d messages acknowledged, the slowest after %.2f s; at most %.1f MB', scalar keys %acknowledged, $slowest // 0, $largest;
cmp_ok $largest, '<', 40, 'memory' if !$ENV{ZLMTP_SANITIZED};
is $intake->stop, 0, 'it ends well';
my (%there, @wrong);
for my $job ($intake->queued) {
	my ($control, $header) = eval { $intake->message($job) } or push(@wrong, "$job: $@"), next;
	my ($who) = $header =~ /^Subject: good (\S+)$/m;
	my ($user) = map { $_->{user} } @{$control->{recipients}};
	# hostile clients get their chunks and texts through, too, where they keep to the protocol
	push @wrong, "$job: an evil message for bob" if !defined $who && $user ne 'ann';
	push @wrong, "$who is there twice" if defined $who && $there{$who}++;
}
push @wrong, map { "$_ was acknowledged and is not there" } grep { !$there{$_} } keys %acknowledged;
is "@wrong", '', 'what was acknowledged is there, once';
is join(' ', $intake->litter), '', 'no litter';
unlike $intake->said, qr/ERROR: (?:Address|Leak)Sanitizer|runtime error/, 'no sanitizer complains';

done_testing;
