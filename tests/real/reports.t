#!/usr/bin/perl
# A real Postfix in front of intake, and the relay behind runqueue: reports on a user whom the store does not know, and on a
# delivery, arrive in the sender's mailbox at Postfix.  Each is read by Python's email package.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Cwd ();
use File::Temp ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use POSIX ();
use Intake;
use RealPostfix;
use Reports;
use RunQueue;
use Spool;

my $missing = RealPostfix->unavailable;
plan skip_all => $missing if $missing;
my $build = Cwd::abs_path($ENV{BUILD_DIR} // "$FindBin::Bin/../..");
my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
chmod 0755, "$dir";
my @children;
END { local $?; kill TERM => $_ and waitpid $_, 0 for @children }

sub child($code) {
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$SIG{$_} = 'DEFAULT' for qw(TERM INT);
		$code->();
		POSIX::_exit(0);
	}
	push @children, $pid;
	return $pid;
}

# The store: it knows bob, and later, whose mailbox is full.  Each session has a process of its own, as an agent may open several.
sub serve($listener) {
	local $SIG{CHLD} = 'IGNORE';
	while (my $c = $listener->accept) {
		next if fork;
		my ($text, @accepted) = (0);
		print $c "220 store ready\r\n";
		while (defined(my $line = <$c>)) {
			if ($text) {
				next if $line ne ".\r\n";
				print $c $_ eq 'spam' ? "550 message rejected as spam\r\n" : "250 2.0.0 <$_> Saved\r\n" for @accepted;
				$text = 0;
			}
			elsif ($line =~ /^LHLO/i) { print $c "250-store\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n" }
			elsif ($line =~ /^MAIL/i) { @accepted = (); print $c "250 2.1.0 ok\r\n" }
			elsif ($line =~ /^RCPT TO:<(bob|spam)>/i) { push @accepted, $1; print $c "250 2.1.5 ok\r\n" }
			elsif ($line =~ /^RCPT TO:<later>/i) { print $c "452 4.2.2 mailbox full\r\n" }
			elsif ($line =~ /^RCPT/i) { print $c "550 5.1.1 no such user here\r\n" }
			elsif ($line =~ /^DATA/i) { print $c @accepted ? "354 go on\r\n" : "503 5.5.1 nobody\r\n"; $text = @accepted > 0 }
			elsif ($line =~ /^QUIT/i) { print $c "221 bye\r\n"; last }
			else { print $c "250 2.0.0 ok\r\n" }
			$c->flush;
		}
		POSIX::_exit(0);
	}
}

my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die "listen: $!";
child(sub { serve($listener) });
my $intake = Intake->start(routes => "bob\@store.test: lmtp!store!bob\ngone\@store.test: lmtp!store!gone\nspam\@store.test: lmtp!store!spam\nlater\@store.test: lmtp!store!later\n"
	. "ann\@example.org: smtp!relay!ann\@example.org\n");
chmod 0666, $intake->dir . '/lmtp';
mkdir "$dir/mail";
chown scalar getpwnam('nobody'), scalar getgrnam('nogroup'), "$dir/mail";
my $postfix = RealPostfix->start("$dir/postfix", "$dir/nobody", header_checks => '',
	services => ['virtual unix - n n - - virtual'],
	virtual_mailbox_domains => 'example.org', virtual_mailbox_base => "$dir/mail", virtual_mailbox_maps => 'inline:{ann@example.org=ann/}',
	virtual_uid_maps => 'static:' . getpwnam('nobody'), virtual_gid_maps => 'static:' . getgrnam('nogroup'), virtual_minimum_uid => 1,
	transport_maps => 'inline:{store.test=lmtp:unix:' . $intake->dir . '/lmtp}', relay_domains => 'store.test');
Spool->put("$dir/scheduler.conf", "lmtp/*\n\texpiry=3d command=\"$build/channel/lmtp -c \$channel -F [127.0.0.1] -p ${\ $listener->sockport}\"\n"
	. "smtp/*\n\tcommand=\"$build/channel/lmtp -c \$channel -O protocol=smtp -F UNIX:$dir/postfix/queue/public/intake\"\n");

sub runqueue() { child(sub {
	open STDOUT, '>', "$dir/out";
	open STDERR, '>', "$dir/err";
	$ENV{ZCONFIG} = $intake->dir . '/zenv';
	exec "$build/channel/runqueue", '-w', '-f', "$dir/scheduler.conf", '-F', $intake->dir . '/dbases.conf', '-P', $intake->office;
}) }

my $runqueue = runqueue();

# Says it all to Postfix, a line of the message after the other.
sub submit($to, @parameters) {
	my $c = IO::Socket::UNIX->new(Peer => "$dir/postfix/queue/public/intake") or die "Postfix: $!";
	my $said = '';
	for my $command (undef, 'EHLO client.example', 'MAIL FROM:<ann@example.org> RET=HDRS ENVID=Q-1', join(' ', "RCPT TO:<$to>", @parameters), 'DATA',
		"From: ann\@example.org\r\nTo: $to\r\nSubject: to $to\r\nMessage-ID: <$to-1\@example.org>\r\n\r\nHello.\r\n.", 'QUIT') {
		print $c "$command\r\n" if defined $command;
		while (<$c>) { $said .= $_; last unless /^\d{3}-/ }
	}
	return $said;
}

# The reports in ann's mailbox, each once.
my %seen;
sub reports() {
	my @new = grep { !$seen{$_}++ } glob "$dir/mail/ann/new/*";
	return map { Reports->read_file($_) } @new;
}

sub report_on($what, $to, @parameters) {
	like submit($to, @parameters), qr/^250 2\.0\.0 Ok: queued/m, "$what: Postfix takes it";
	return next_report($what);
}

sub next_report($what) {
	my @reports;
	ok RunQueue::wait_for(sub { @reports = reports() }, 50), "$what: a report is in the mailbox"
		or diag Spool::slurp("$dir/postfix/log"), Spool::slurp("$dir/err"), $intake->said;
	return $reports[0] // {};
}

subtest 'a message whose content the store refuses' => sub {
	my $one = report_on('spam', 'spam@store.test')->{recipients}[0];
	is_deeply [@$one{qw(action status diagnostic-code)}], ['failed', '5.0.0', 'smtp; 550 message rejected as spam'],
		'nothing that the server did not say: no 5.1.1, by which lists drop a subscriber';
};

subtest 'a user whom the store does not know' => sub {
	my $r = report_on('unknown', 'gone@store.test', 'ORCPT=rfc822;gone+2Bx@store.test');
	is_deeply $r->{trouble}, [], 'it is as RFC 3464 and 6522 want it';
	is $r->{header}{to}, 'ann@example.org', 'To';
	is $r->{header}{'auto-submitted'}, 'auto-replied', 'Auto-Submitted';
	is $r->{message}{'original-envelope-id'}, 'Q-1', 'Original-Envelope-Id came through Postfix and intake';
	is scalar @{$r->{recipients}}, 1, 'one recipient';
	my $one = $r->{recipients}[0];
	is_deeply [@$one{qw(action status original-recipient)}], ['failed', '5.1.1', 'rfc822; gone+x@store.test'], 'what happened';
	like $one->{'diagnostic-code'}, qr/^smtp; 550 .*no such user here/, 'the words of the store';
	ok $one->{$_}, $_ for qw(final-recipient remote-mta last-attempt-date);
	is $r->{original}{subject}, 'to gone@store.test', 'and the header of the message';
};

subtest 'a delivery, where the sender wants to know' => sub {
	my $r = report_on('success', 'bob@store.test', 'NOTIFY=SUCCESS');
	is_deeply $r->{trouble}, [], 'it is as RFC 3464 and 6522 want it';
	is_deeply [map { [@$_{qw(action status)}] } @{$r->{recipients}}], [['delivered', '2.0.0']], 'delivered';
	is $r->{original}{subject}, 'to bob@store.test', 'and the header of the message';
};

subtest 'a delivery of which nobody is to hear' => sub {
	like submit('bob@store.test', 'NOTIFY=NEVER'), qr/^250 2\.0\.0 Ok: queued/m, 'Postfix takes it';
	like submit('gone@store.test', 'NOTIFY=NEVER'), qr/^250 2\.0\.0 Ok: queued/m, 'and one that fails';
	my $r = report_on('the next', 'gone@store.test');
	is_deeply $r->{trouble}, [], 'the next failure is told';
	ok RunQueue::wait_for(sub { !glob $intake->office . '/transport/[0-9]*' }), 'nothing is left in the queue';
	is_deeply [reports()], [], 'and of the others nobody heard';
};
subtest 'a delay of five hours' => sub {
	kill TERM => $runqueue;
	waitpid $runqueue, 0;
	@children = grep { $_ != $runqueue } @children;
	like submit('later@store.test'), qr/^250 2\.0\.0 Ok: queued/m, 'Postfix takes it';
	my @files;
	ok RunQueue::wait_for(sub { @files = glob $intake->office . '/queue/[0-9]*' }), 'it is in the queue';
	# a message is as old as its file
	utime time - 5 * 3600, time - 5 * 3600, @files;
	$runqueue = runqueue();
	my $r = next_report('delay');
	is_deeply $r->{trouble}, [], 'it is as RFC 3464 and 6522 want it';
	is_deeply [map { [@$_{qw(action status)}] } @{$r->{recipients}}], [['delayed', '4.2.2']], 'delayed';
	like $r->{recipients}[0]{'diagnostic-code'}, qr/^smtp; 452 .*mailbox full/, 'the words of the store';
	ok $r->{recipients}[0]{'will-retry-until'}, 'and until when it is tried';
};
$postfix->stop;
done_testing;
