#!/usr/bin/perl
# intake over real sockets: each reply, each limit, and what stands in the queue afterwards.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Time::HiRes qw(sleep time);
use File::Temp ();
use Intake;
use IO::Socket::IP;
use IO::Socket::UNIX;
use Ports;
use RealServer;
use Tool ();

my $hello = "Subject: hello\nMessage-ID: <1\@client>\nDate: Sun, 29 Nov 2026 10:00:00 +0000\nFrom: x\@example.com\n\nHello.\n";

# Replies without their line ends.
sub said(@replies) { return [map { map { s/\r\n\z//r } @$_ } @replies] }

sub is_empty($intake, $what) {
	is(join(' ', $intake->queued, $intake->litter), '', "$what: nothing is in the post office");
}

# Waits until it holds; false after ten seconds.
sub soon($holds) {
	my $end = time + 10;
	until ($holds->()) {
		return 0 if time > $end;
		sleep 0.02;
	}
	return 1;
}

subtest 'one message, by LMTP and by SMTP' => sub {
	my $intake = Intake->start;
	for my $protocol (qw(lmtp smtp)) {
		my $client = $intake->$protocol;
		like $client->greeting, $protocol eq 'lmtp' ? qr/^220 \S+ LMTP/ : qr/^220 \S+ ESMTP/, "$protocol: the greeting";
		my $hi = $client->hello;
		like $hi, qr/^250[ -]$_\r$/m, "$protocol: $_ is announced"
			for qw(PIPELINING 8BITMIME SMTPUTF8 CHUNKING DSN ENHANCEDSTATUSCODES), 'SIZE 52428800', 'LIMITS RCPTMAX=1000';
		unlike $hi, qr/STARTTLS/, "$protocol: no TLS without a certificate";
		$client->{greeted} = 1;
		my @replies = $client->message('x@example.com', ['ann@example.org', 'bob@example.org'], $hello);
		is_deeply said(@replies[0 .. 3]), ['250 2.1.0 sender ok', '250 2.1.5 ok', '250 2.1.5 ok', '354 end with CR LF . CR LF'],
			"$protocol: taken";
		my ($job) = $intake->queued;
		my ($control, $header, $body) = $intake->message($job);
		my ($id) = join('', map { @$_ } @replies) =~ /queued as (\S+)/;
		is_deeply said(@replies[4 .. $#replies]), $protocol eq 'smtp' ? ["250 2.0.0 queued as $id"]
			: [map { "250 2.0.0 <$_\@example.org> queued as $id" } qw(ann bob)], "$protocol: a reply for " . ($protocol eq 'smtp' ? 'all' : 'each');
		is Spool::job($intake->office, $id), $job, "$protocol: the id is that of the message";
		is_deeply [map { "$_->{channel} $_->{host} $_->{user}" } @{$control->{recipients}}], ['lmtp store ann', 'lmtp store bob'], "$protocol: both";
		like $header, qr/\AReceived: from client\.example \(local\)\n\tby \S+ with @{[uc($protocol eq 'smtp' ? 'esmtp' : 'lmtp')]} id \Q$id\E;\n\t/,
			"$protocol: the Received line";
		is $body, "Hello.\n", "$protocol: the body";
		is join(' ', $intake->litter), '', "$protocol: no litter";
		is $client->say('QUIT'), "221 2.0.0 bye\r\n", "$protocol: QUIT";
		is $client->rest, '', "$protocol: closed";
		$intake->forget_all;
	}
	is $intake->stop, 0, 'SIGTERM ends it';
	ok !-e $intake->dir . '/lmtp', 'its socket is gone';
};

subtest 'root writes as the owner of the post office' => sub {
	plan skip_all => 'only root can become somebody else' if $> != 0;
	my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
	my $intake = Intake->start(run => 0, arguments => ['-HH']);
	system 'chown', '-R', "$uid:$gid", $intake->office;
	$intake->again;
	my $client = $intake->lmtp;
	$client->say($_) for 'LHLO c', 'MAIL FROM:<me@x.example>', 'RCPT TO:<ann@example.org>', 'DATA';
	like $client->say("text\r\n."), qr/^250 /, 'queued';
	my %owners = map { $_ => 1 } split /\n/, qx{find "@{[$intake->office]}" -printf "%U:%G\n"};
	is_deeply [keys %owners], ["$uid:$gid"], 'no file or directory belongs to anybody else';
	$intake->stop;
};

subtest 'TCP: IPv4 and IPv6' => sub {
	my ($port) = Ports::free(1);
	my $has_ipv6 = IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1);
	my $intake = Intake->start(listen => ["smtp:[127.0.0.1]:$port", $has_ipv6 ? "lmtp:[::1]:$port" : ()]);
	for (['127.0.0.1', 0, 'ESMTP', '[127.0.0.1]'], ['::1', 1, 'LMTP', '[IPv6:::1]']) {
		SKIP: {
		skip 'no IPv6 here', 1 if $_->[0] eq '::1' && !$has_ipv6;
		my ($address, $lmtp, $with, $shown) = @$_;
		my $client = IntakeDialogue->new([$address, $port], lmtp => $lmtp);
		$client->message('x@example.com', ['ann@example.org'], $hello);
		my ($job) = $intake->queued;
		like +($intake->message($job))[1], qr/\AReceived: from client\.example \(\Q$shown\E\)\n\tby \S+ with $with /, "$address: Received";
		$intake->forget_all;
		}
	}
	my $helo = IntakeDialogue->new(['127.0.0.1', $port], lmtp => 0);
	like $helo->say('HELO old.example'), qr/^250 \S+\r\n\z/, 'HELO';
	$helo->{greeted} = 1;
	$helo->message('', ['ann@example.org'], $hello);
	my ($job) = $intake->queued;
	my ($control, $header) = $intake->message($job);
	like $header, qr/with SMTP id/, 'without EHLO it is SMTP';
	is $control->{recipients}[0]{sender}[0] // $control->{sender}[0] // 'error', 'error', 'the null sender';
	$intake->forget_all;
	my $odd = IntakeDialogue->new(['127.0.0.1', $port], lmtp => 0);
	$odd->say("EHLO a(b)\"c;<d>\\\xff");
	$odd->{greeted} = 1;
	$odd->message('x@example.com', ['ann@example.org'], $hello);
	like +($intake->message($intake->queued))[1], qr/\AReceived: from a\?b\?\?c\?\?d\?\?\? \(\[127\.0\.0\.1\]\)\n/, 'a name that is none hides nothing of the field';
};

subtest 'the answers of the maps' => sub {
	my $intake = Intake->start(routes => "ann\@example.org: lmtp!store!ann\nlist\@example.org: lmtp!store!a\n"
		. "nothing\@example.org: bitbucket!-!-\naway\@example.net: smtp!example.net!away\@example.net\n");
	my $client = $intake->lmtp;
	$client->hello;
	$client->say('MAIL FROM:<x@example.com>');
	is $client->say('RCPT TO:<ann@example.org>'), "250 2.1.5 ok\r\n", 'found';
	like $client->say('RCPT TO:<eve@example.org>'), qr/^550 5\.1\.[12] \S.*eve/, 'not found';
	like $client->say('RCPT TO:<not an address>'), qr/^501 5\.5\.2 /, 'no path';
	is $client->say('RCPT TO:<away@example.net>'), "250 2.1.5 ok\r\n", 'elsewhere, for a client on this machine';
	like $client->say('RCPT TO:<>'), qr/^501 5\.1\.3 /, 'the null path';
	$client->say('RSET');
	# maps that come and go, followed without a restart
	$intake->routes("eve\@example.org: lmtp!store!eve\n");
	$client->say('MAIL FROM:<x@example.com>');
	is $client->say('RCPT TO:<eve@example.org>'), "250 2.1.5 ok\r\n", 'a new map counts at once';
	like $client->say('RCPT TO:<ann@example.org>'), qr/^550 5\.1\.[12] /, '... also for who is gone';
	my $map = $intake->dir . '/routes.db';
	rename $map, "$map.away" or die;
	like $client->say('RCPT TO:<eve@example.org>'), qr/^(?:250|451) /, 'a map that was removed: what is open serves, or it cannot tell';
	rename "$map.away", $map or die;
	ok soon(sub { $client->say('RCPT TO:<eve@example.org>') eq "250 2.1.5 ok\r\n" }), 'it came back';
	my $good = Spool::slurp($map);
	Spool->put("$map.new", "not a database");
	rename "$map.new", $map or die;
	is $client->say('RCPT TO:<bob@example.org>'), "451 4.3.0 temporary lookup failure: cannot tell whether this recipient exists; try again later\r\n", 'a damaged map';
	like $intake->said, qr/^intake: bob\@example\.org: could not tell: [^\n]*routes\.db: damaged[^\n]* recover\)$/m, 'the log names map, reason and what to do, and the address once';
	Spool->put("$map.new", $good);
	rename "$map.new", $map or die;
	ok soon(sub { $client->say('RCPT TO:<eve@example.org>') eq "250 2.1.5 ok\r\n" }), 'a mended map';
	is $client->say('RCPT TO:<nobody@example.org>') =~ /^(\d+)/ ? $1 : '', 550, '... says no again';
};

# "u.test error!FORM" in the map of domains, "u@e.test: error!FORM" in that of addresses: code and words are the same.
subtest 'why there is no such recipient: the form that the maps name, and its code' => sub {
	my %code_of = ('unresolvable' => '5.1.2', 'unresolvable!the domain was given up' => '5.1.2', 'nosuchuser' => '5.1.1',
		'nosuchuser!ask the office' => '5.1.1', 'nosuchdomain!x' => '5.1.1', 'acctexpired!gone since May' => '5.2.1', 'badaddress' => '5.1.3');
	my @forms = sort keys %code_of;
	my $build = $ENV{BUILD_DIR} // '.';
	my $dir = File::Temp->newdir('/tmp/zli-XXXXXX');
	Spool->put("$dir/addresses", join '', map { "u$_\@e.test: error!$forms[$_]\n" } keys @forms);
	Spool->put("$dir/domains", join '', map { "d$_.test error!$forms[$_]\n" } keys @forms);
	Spool->put("$dir/dbases.conf", "fqdnroutes btree - -la $dir/addresses -lm%:\nroutesdb btree - -l $dir/domains -lm%:d pathalias\n");
	system("cd $dir && '$build/db/newdb' -sf dbases.conf") == 0 or die "newdb failed\n";
	my $intake = Intake->start(dbases => Spool::slurp("$dir/dbases.conf"));
	for my $client ($intake->lmtp, $intake->smtp) {
		$client->hello;
		$client->say('MAIL FROM:<x@example.com>');
		for my $n (keys @forms) {
			for my $address ("u$n\@e.test", "u\@d$n.test") {
				my ($form, $text) = split /!/, $forms[$n];
				is $client->say("RCPT TO:<$address>"), "550 $code_of{$forms[$n]} $form: " . ($text // $address) . "\r\n", "$address: $forms[$n]";
			}
		}
		is $client->say('RCPT TO:<ann@nowhere.example>'), "550 5.1.2 unresolvable: ann\@nowhere.example\r\n", 'a domain for which nothing is known';
		like $client->say('RCPT TO:<d@d9.test>'), qr/^550 5\.1\.2 unresolvable/, '... beside domains that are';
	}
	my $send = "$build/channel/zlmtp-sendmail";
	for my $case (['ann@nowhere.example', 68], ["u$#forms\@e.test", 68], ['u0@e.test', 65]) {
		my ($address, $status) = @$case;
		Spool->put("$dir/zenv", "INTAKE=" . $intake->dir . "/lmtp\n");
		my $said = `echo text | ZCONFIG=$dir/zenv '$send' -f x\@example.com '$address' 2>&1`;
		is $? >> 8, $status, "sendmail to $address: $status" or diag $said;
	}
};

subtest 'a command or a file of the client is no mailbox, wherever the maps put its name' => sub {
	my $intake = Intake->start(lists => "\@user.example: ann\@example.org, %1\nprog\@example.org: \"|/bin/true\", ann\@example.org\n");
	my $client = $intake->lmtp;
	$client->hello;
	$client->say('MAIL FROM:<x@example.com>');
	for my $name ('"|id"', '/etc/passwd', '"|a b"', 'real-|id') {
		is $client->say("RCPT TO:<$name$_>"), "550 5.1.3 a file or a command is no mailbox\r\n", "$name$_"
			for '', '@user.example';
	}
	like $client->say("RCPT TO:<$_\@example.org>"), qr/^250 /, $_ for 'ann', 'prog';
};

subtest 'postmaster without a domain' => sub {
	for my $case ([undef, qr/^550 5\.1\.[12] /], ['ann@example.org', qr/^250 2\.1\.5 /], ['gone@example.org', qr/^550 5\.1\.[12] /]) {
		my ($postmaster, $reply) = @$case;
		my $i = Intake->start(run => 0);
		Spool->put($i->dir . '/router.conf', "postmaster=$postmaster\n") if defined $postmaster;
		$i->again;
		my $c = $i->lmtp;
		$c->hello;
		$c->say('MAIL FROM:<x@example.com>');
		for my $name ('postmaster', 'PostMaster') {
			my ($said) = $c->say("RCPT TO:<$name>");
			like $said, $reply, "$name, " . ($postmaster // 'whom nobody names');
		}
	}
};

subtest 'mail that the maps throw away' => sub {
	my $intake = Intake->start(arguments => ['-v']);
	my $client = $intake->lmtp;
	is((map { @$_ } $client->message('x@example.com', ['nothing@example.org'], $hello))[-1],
		"250 2.0.0 <nothing\@example.org> discarded, as the maps say\r\n", 'taken');
	is_empty $intake, 'discarded';
	$client->message('x@example.com', ['nothing@example.org', 'ann@example.org'], $hello);
	my ($job) = $intake->queued;
	is scalar @{($intake->message($job))[0]{recipients}}, 1, 'with another: that one alone';
};

subtest 'a recipient twice is one recipient' => sub {
	my $intake = Intake->start;
	my $client = $intake->lmtp;
	is scalar(grep { /queued/ } map { @$_ } $client->message('x@example.com', [('ann@example.org') x 3, 'bob@example.org'], $hello)), 4, 'four replies';
	my ($job) = $intake->queued;
	is_deeply [map { $_->{user} } @{($intake->message($job))[0]{recipients}}], ['ann', 'bob'], 'two recipients, in their order';
};

subtest 'a recipient twice gets the reports that either asks for: a NEVER is not for the other' => sub {
	my $intake = Intake->start(routes => "ann\@example.org: lmtp!store!ann\nannie\@example.org: lmtp!store!ann\n");
	for my $row (['NEVER', 'FAILURE', 'FAILURE'], ['FAILURE', 'NEVER', 'FAILURE'], ['SUCCESS', 'delay', 'SUCCESS,DELAY'],
		['NEVER', undef, 'FAILURE,DELAY'], ['NEVER', 'NEVER', 'NEVER'], [undef, 'FAILURE', undef], [undef, 'SUCCESS', 'SUCCESS,FAILURE,DELAY']) {
		my ($one, $two, $both) = @$row;
		my $client = $intake->smtp;
		$client->hello;
		$client->say($_) for 'MAIL FROM:<x@example.com>', 'RCPT TO:<ann@example.org>' . (defined $one ? " NOTIFY=$one" : ''),
			'RCPT TO:<annie@example.org>' . (defined $two ? " NOTIFY=$two" : ''), 'DATA';
		like $client->say("Subject: x\r\n\r\nx\r\n."), qr/^250 /, 'queued';
		my ($job) = $intake->queued;
		my $text = Spool::slurp($intake->office . "/transport/$job");
		my @r = $text =~ /^r /mg;
		is_deeply [scalar @r, $text =~ /^N (?:NOTIFY=(\S+) )?ORCPT=rfc822;ann\@/m], [1, $both],
			join(' and ', map { $_ // 'nothing' } @$row[0, 1]) . ': ' . ($both // 'nothing');
		$intake->forget_all;
	}
};

subtest 'a destination that the queue cannot hold is refused alone' => sub {
	my $intake = Intake->start(routes => "ann\@example.org: lmtp!store!ann\nup\@example.org: lmtp!../store!up\n");
	my $host = (POSIX::uname())[1];   # local to every router
	# commands and files are written in many ways
	for my $address ('/etc/passwd', '|/bin/sh', '|sh', '"|sh"', '"|sh -c x"', "\"|sh\"\@$host", "|sh\@$host", "\"/x\"\@$host", "\"|sh\"%$host\@$host",
		'up@example.org') {
		my $client = $intake->lmtp;
		my @replies = said($client->message('x@example.com', [$address, 'ann@example.org'], $hello))->@*;
		like $replies[2], qr/^550 5\.1\.[13] /, "$address: refused";
		like $replies[-1], qr/^250 2\.0\.0 <ann\@example\.org> queued as /, '... and the other one is taken';
		$intake->forget_all;
	}
	my $client = $intake->smtp;
	$client->hello;
	$client->say('MAIL FROM:<x@example.com> SMTPUTF8');
	like $client->say("RCPT TO:<ann\@example.org> ORCPT=utf-8;\xfcx\@y"), qr/^501 5\.5\.4 ORCPT/, 'an original recipient that is no UTF-8';
	like $client->say("RCPT TO:<ann\@example.org> ORCPT=utf-8;\xc3\xbcx\@y"), qr/^250 /, '... and one that is';
};

subtest 'parameters of DSN reach the control file' => sub {
	my $intake = Intake->start;
	my $client = $intake->lmtp;
	$client->hello;
	is $client->say('MAIL FROM:<x@example.com> RET=HDRS ENVID=a+2Bb SIZE=100 BODY=8BITMIME'), "250 2.1.0 sender ok\r\n", 'MAIL';
	$client->say('RCPT TO:<ann@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Ann@example.org');
	$client->say('RCPT TO:<bob@example.org> NOTIFY=NEVER');
	$client->say('DATA');
	$client->send("Subject: x\r\n\r\nx\r\n.\r\n");
	$client->reply for 1, 2;
	my ($job) = $intake->queued;
	my $text = Spool::slurp($intake->office . "/transport/$job");
	like $text, qr/^N NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Ann\@example\.org/m, 'NOTIFY and ORCPT';
	like $text, qr/^N NOTIFY=NEVER/m, 'NEVER';
	like $text, qr/^R HDRS$/m, 'RET';
	like $text, qr/^n a\+2Bb$/m, 'ENVID';
};

subtest 'SMTPUTF8 and 8 bits' => sub {
	my $intake = Intake->start(routes => "j\xc3\xbcrg\@example.org: lmtp!store!j\xc3\xbcrg\nann\@example.org: lmtp!store!ann\n");
	my $client = $intake->smtp;
	$client->hello;
	like $client->say("MAIL FROM:<\xc3\xbc\@example.com>"), qr/^553 5\.6\.7 /, 'a sender beyond ASCII needs it';
	$client->say('MAIL FROM:<x@example.com>');
	like $client->say("RCPT TO:<j\xc3\xbcrg\@example.org>"), qr/^553 5\.6\.7 /, 'a recipient, too';
	$client->say('RSET');
	is $client->say("MAIL FROM:<\xc3\xbc\@example.com> SMTPUTF8"), "250 2.1.0 sender ok\r\n", 'with it';
	is $client->say("RCPT TO:<j\xc3\xbcrg\@example.org>"), "250 2.1.5 ok\r\n", '... a recipient';
	like $client->say("RCPT TO:<j\xfcrg\@example.org>"), qr/^501 5\.1\.3 /, 'bytes that are no UTF-8';
	$client->say('DATA');
	like $client->say("Subject: \xc3\xbc\r\n\r\n\xfc\xff\r\n."), qr/^250 2\.0\.0 queued as S/, 'any byte in the text';
	my ($job) = $intake->queued;
	my ($control, $header, $body) = $intake->message($job);
	is $body, "\xfc\xff\n", 'the text as it was';
	like $header, qr/with UTF8SMTP /, 'Received says so (RFC 6531)';
};

subtest 'BDAT' => sub {
	my $intake = Intake->start;
	my $client = $intake->lmtp;
	$client->hello;
	my $begin = "MAIL FROM:<x\@example.com>\r\nRCPT TO:<ann\@example.org>\r\n";
	$client->send("${begin}BDAT 14\r\nSubject: x\r\n\r\nBDAT 5\r\n.\r\n\r\nBDAT 3 LAST\r\nend");
	like join('', map { $client->reply } 1 .. 5), qr/^250 .*\r\n250 .*\r\n250 2\.0\.0 14 bytes so far\r\n250 2\.0\.0 19 bytes so far\r\n250 2\.0\.0 <ann\@example\.org> queued/,
		'three chunks in one write';
	my ($job) = $intake->queued;
	is +($intake->message($job))[2], ".\n\nend", 'the text';
	$intake->forget_all;
	$client->send("${begin}BDAT 0 LAST\r\n");
	like join('', map { $client->reply } 1 .. 3), qr/queued as/, 'an empty message';
	$intake->forget_all;
	$client->send("${begin}BDAT 4\r\nabcd");
	$client->reply for 1 .. 3;
	like $client->say('DATA'), qr/^503 5\.5\.1 /, 'DATA after BDAT';
	like $client->say('RCPT TO:<bob@example.org>'), qr/^503 5\.5\.1 /, 'RCPT after BDAT';
	like $client->say('RSET'), qr/^250 /, 'RSET';
	is_empty $intake, 'LAST is missing';
	$client->send("BDAT 4 LAST\r\nabcd");
	like $client->reply, qr/^503 5\.5\.1 /, 'a chunk without MAIL passes by';
	for my $wrong ('BDAT', 'BDAT x', 'BDAT -1', 'BDAT 4 LST', 'BDAT 99999999999999999999') {
		my $other = $intake->lmtp;
		$other->hello;
		$other->send("$begin$wrong\r\nQUIT\r\n");
		like $other->rest, qr/^421 5\.5\.4 .*\r\n\z/m, "$wrong ends the connection: nobody knows where the chunk ends";
	}
	is_empty $intake, 'wrong sizes';
};

subtest 'limits of a message' => sub {
	my $intake = Intake->start(arguments => [map { ('-O', $_) } qw(size=2000 recipients=2 hops=3 errors=4 commands=30)]);
	my $client = $intake->smtp;
	like $client->hello, qr/SIZE 2000\r.*RCPTMAX=2\r/s, 'announced';
	$client->{greeted} = 1;
	like $client->say('MAIL FROM:<x@example.com> SIZE=2001'), qr/^552 5\.3\.4 /, 'SIZE';
	is_deeply [map { substr $_, 0, 9 } @{said($client->message('x@example.com', ['ann@example.org', 'bob@example.org', 'ann@example.org'], $hello))}[1 .. 3]],
		['250 2.1.5', '250 2.1.5', '452 4.5.3'], 'too many recipients';
	is scalar($intake->queued), 1, '... the others get it';
	$intake->forget_all;
	like((map { @$_ } $client->message('x@example.com', ['ann@example.org'], $hello . 'x' x 2000 . "\n"))[-1], qr/^552 5\.3\.4 /, 'a text that grew too large');
	is_empty $intake, 'too large';
	# dots of the protocol are not of the message
	my $exact = sub ($bytes) { "Subject: x\n\n" . ".\n" x 100 . 'x' x ($bytes - 316) . "\n" };
	like((map { @$_ } $client->message('x@example.com', ['ann@example.org'], $exact->(2000), mail => ' SIZE=2000'))[-1], qr/^250 /, 'as large as may be');
	$intake->forget_all;
	like((map { @$_ } $client->message('x@example.com', ['ann@example.org'], $exact->(2001)))[-1], qr/^552 5\.3\.4 /, 'a byte more');
	is_empty $intake, 'a byte more';
	like((map { @$_ } $client->message('x@example.com', ['ann@example.org'], "Received: from a by b; Sun, 29 Nov 2026 10:00:00 +0000\n" x 4 . $hello))[-1],
		qr/^554 5\.4\.6 /, 'too many hops');
	is_empty $intake, 'a loop';
	like((map { @$_ } $client->message('x@example.com', ['ann@example.org'], "Received: from a by b; Sun, 29 Nov 2026 10:00:00 +0000\n" x 3 . $hello))[-1],
		qr/^250 /, 'as many as may be');
	$intake->forget_all;
	like((map { @$_ } $client->message('x@example.com', ['ann@example.org'], "Subject: x\n\na\0b\n"))[-1], qr/^554 5\.6\.0 /, 'NUL');
	is_empty $intake, 'NUL';
	my $rude = $intake->smtp;
	$rude->send("RUBBISH\r\n" x 10);
	like $rude->rest, qr/\A(?:500 5\.5\.2 [^\n]*\n){5}421 4\.7\.0 too many errors\r\n\z/, 'errors';
	my $idle = $intake->smtp;
	$idle->send("NOOP\r\n" x 40);
	like $idle->rest, qr/\A(?:250 [^\n]*\n){31}421 4\.7\.0 too many commands/, 'commands without a message';
	my $long = $intake->smtp;
	$long->send('x' x 5000);
	like $long->rest, qr/^421 5\.5\.2 /, 'a line that is too long';
};

subtest 'no room on the disk' => sub {
	for my $limit ('free=1000000000', 'inodes=1000000000') {
		my $intake = Intake->start(arguments => ['-O', $limit]);
		my $client = $intake->lmtp;
		$client->hello;
		is $client->say('MAIL FROM:<x@example.com>'), "452 4.3.1 not enough room on the disk; try again later\r\n", "$limit: no mail" for 1 .. 3;
		is_empty $intake, $limit;
		is $intake->said, 'intake: ' . $intake->office . ": this disk has less room than -O free= and inodes= ask for; mail is refused until there is more\n", 'the log says so once';
	}
};

subtest 'connections' => sub {
	my ($port) = Ports::free(1);
	my $intake = Intake->start(listen => ["smtp:[127.0.0.1]:$port"], arguments => ['-O', 'connections=3', '-O', 'per-address=2']);
	my @clients;
	# whoever saw that it answers may still count
	for (1, 2) {
		ok soon(sub { my $c = IntakeDialogue->new(['127.0.0.1', $port], lmtp => 0); $c->greeting =~ /^220/ && push @clients, $c }), "client $_";
	}
	my $third = IntakeDialogue->new(['127.0.0.1', $port], lmtp => 0);
	is $third->greeting, "421 4.3.2 too many connections; try again later\r\n", 'too many from one address';
	push @clients, IntakeDialogue->new(['127.0.0.1', $port], lmtp => 0, from => '127.0.0.2');
	like $clients[-1]->greeting, qr/^220 /, 'another address may';
	is(IntakeDialogue->new(['127.0.0.1', $port], lmtp => 0, from => '127.0.0.3')->greeting, $third->greeting, 'too many in all');
	shift(@clients)->say('QUIT');
	ok soon(sub { IntakeDialogue->new(['127.0.0.1', $port], lmtp => 0)->greeting =~ /^220/ }), 'a place is free again';
};

subtest 'few files may be open' => sub {
	my $intake = Intake->start(before => ['sh', '-c', 'ulimit -n 60; exec "$@"', 'sh']);
	my @idle = map { $intake->lmtp } 1 .. 80;
	my %greetings;
	$greetings{$_->greeting =~ s/^220 .*/220/sr}++ for @idle;
	is_deeply \%greetings, { 220 => 6, "421 4.3.2 too many connections; try again later\r\n" => 74 }, 'of 80 idle clients those that fit are greeted, and the others told so at once';
	is $intake->lmtp->greeting, "421 4.3.2 too many connections; try again later\r\n", 'and so is the next one';
	is $intake->said, "intake: warning: 1000 connections need 3100 open files, and the limit is 60: no more than 6 are accepted; raise the limit (LimitNOFILE=, ulimit -n)\n", 'one line says why';
	@idle = ();
	ok soon(sub { $intake->lmtp->greeting =~ /^220/ }), 'and when they have gone all is well';
};

subtest 'no process can be started for a slow map' => sub {
	plan skip_all => 'preloading does not go with sanitizers' if $ENV{ZLMTP_SANITIZED};
	plan skip_all => 'built without LDAP' unless qx{grep -c 'HAVE_LDAP 1' $ENV{BUILD_DIR}/config.h} > 0;
	my $library = Tool::preload("$ENV{SRC_DIR}/tests/db/failio.c") // plan skip_all => 'no compiler';
	my $conf = File::Temp->new;
	print $conf "uri ldap://127.0.0.1:1\nbase dc=x\nfilter (mail=%s)\nattr mail\n";
	close $conf;
	my $intake = Intake->start(dbases => "fqdnroutes ldap - - $conf -lm%:\n", arguments => ['-O', 'lookup-time=1'],
		before => ['env', "LD_PRELOAD=$library", 'FAIL_CALL=fork:1+:11']);
	my $client = $intake->lmtp;
	$client->hello;
	$client->say('MAIL FROM:<x@example.com>');
	like $client->say('RCPT TO:<ann@example.org>'), qr/^451 4\.3\.0 /, 'it cannot be told';
	like $intake->said, qr/^intake: a process for lookups cannot be started: Resource temporarily unavailable$/m, 'the log says why';
};

subtest 'few files may be open, and the disk is slow' => sub {
	my @slow = ('strace', '-D', '-f', '-o', '/dev/null', '-e', 'trace=fsync,syncfs', '-e', 'inject=fsync,syncfs:delay_enter=1000000');
	plan skip_all => 'strace cannot follow processes here' if system("@slow true 2>/dev/null") != 0;
	local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
	my $intake = Intake->start(before => ['sh', '-c', 'ulimit -n 60; exec "$@"', 'sh', @slow]);
	my $client = $intake->lmtp;
	my %replies;
	for (1 .. 60) {
		my @replies = $client->message('x@example.com', ['ann@example.org'], $hello);
		$replies{$replies[-1][0] =~ s{ as \S+}{}r}++;
	}
	is_deeply \%replies, { "250 2.0.0 <ann\@example.org> queued\r\n" => 60 }, 'messages that wait for it keep no files open';
	is $intake->said =~ s/^intake: warning: .*\n//r, '', 'nothing is said';
	$client->close;
	is $intake->stop, 0, 'and it ends';
};

subtest 'relay=' => sub {
	for (['none', 550], ['local', 250], ['all', 250]) {
		my ($who, $code) = @$_;
		my $intake = Intake->start(arguments => ['-O', "relay=$who"]);
		my $client = $intake->lmtp;
		$client->hello;
		$client->say('MAIL FROM:<x@example.com>');
		like $client->say('RCPT TO:<away@example.net>'), qr/^$code /, "relay=$who: $code";
		like $client->say('RCPT TO:<ann@example.org>'), qr/^250 /, "relay=$who: our own";
	}
};

subtest 'time' => sub {
	my $intake = Intake->start(arguments => [qw(-O command-time=1)]);
	my $begun = time;
	my $silent = $intake->smtp;
	is $silent->rest, "421 4.3.2 time is up\r\n", 'a client that says nothing';
	cmp_ok time - $begun, '<', 60, '... soon';
	# a byte now and then does not help it
	my $slow = $intake->smtp;
	my $sent = 0;
	while ($sent < 20) {
		last if !$slow->send('N');
		$sent++;
		my $in = '';
		vec($in, fileno $slow->handle, 1) = 1;
		last if select $in, undef, undef, 0.3;
	}
	is $slow->rest, "421 4.3.2 time is up\r\n", 'a command that takes too long';
	cmp_ok $sent, '<', 20, '... soon';
	$intake = Intake->start(arguments => [qw(-O message-time=2)]);
	my $dripping = $intake->smtp;
	$dripping->hello;
	$dripping->say($_) for 'MAIL FROM:<x@example.com>', 'RCPT TO:<ann@example.org>', 'DATA';
	for (1 .. 30) {
		last if !$dripping->send("x\r\n");
		my $in = '';
		vec($in, fileno $dripping->handle, 1) = 1;
		last if select $in, undef, undef, 0.2;
	}
	is $dripping->rest, "421 4.3.2 time is up\r\n", 'a message that takes too long';
	ok soon(sub { !$intake->litter }), 'its file is gone';
	is_empty $intake, 'time is up';
};

subtest 'nothing is believed that came too early' => sub {
	my $intake = Intake->start;
	my $client = $intake->lmtp;
	$client->hello;
	$client->send("MAIL FROM:<x\@example.com>\r\nRCPT TO:<ann\@example.org>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n");
	like $client->rest, qr/^421 5\.5\.0 bytes came after DATA/m, 'text behind DATA';
	is_empty $intake, 'text behind DATA';
	$client = $intake->lmtp;
	$client->send("LHLO a\r\nMAIL FROM:<x\@example.com>\r\nRCPT TO:<ann\@example.org>\r\nRCPT TO:<eve\@example.org>\r\nDATA\r\n");
	like join('', map { $client->reply } 1 .. 5), qr/\n250 [^-].*\n250 .*\n550 .*\n354 /s, 'pipelining as the RFC has it';
	$client->send("Subject: x\r\n\r\nx\r\n.\r\nNOOP\r\nQUIT\r\n");
	like $client->rest, qr/\A250 2\.0\.0 <ann.*\r\n250 2\.0\.0 ok\r\n221 /, '... and behind the end';
};

subtest 'smuggling' => sub {
	my $intake = Intake->start;
	my $attack = "MAIL FROM:<evil\@example.com>\r\nRCPT TO:<bob\@example.org>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n";
	my %variants = (
		'LF . LF' => "\n.\n", 'LF . CR LF' => "\n.\r\n", 'CR LF . LF' => "\r\n.\n", 'CR . CR' => "\r.\r", 'LF . CR' => "\n.\r",
		'CR LF . CR' => "\r\n.\r", 'CR . CR LF' => "\r.\r\n", 'CR . LF' => "\r.\n", 'CR CR LF . CR LF' => "\r\n\r.\r\n", 'CR LF NUL . CR LF' => "\r\n\0.\r\n",
		'CR LF . CR CR LF' => "\r\n.\r\r\n", 'CR LF CR . CR LF' => "\r\n\r.\r\n", 'CR LF space . CR LF' => "\r\n .\r\n", 'CR LF . space CR LF' => "\r\n. \r\n",
	);
	for my $name (sort keys %variants) {
		my $client = $intake->lmtp;
		$client->hello;
		$client->say($_) for 'MAIL FROM:<x@example.com>', 'RCPT TO:<ann@example.org>', 'DATA';
		$client->send("Subject: x\r\n\r\nbefore$variants{$name}$attack");
		my $reply = $client->reply;
		like $reply, $name =~ /NUL/ ? qr/^554 5\.6\.0/ : qr/^250 2\.0\.0 <ann/, "$name is no end";
		is $client->say('NOOP'), "250 2.0.0 ok\r\n", "$name: one reply";
		my @queued = $intake->queued;
		is scalar @queued, $name =~ /NUL/ ? 0 : 1, "$name: one message";
		like +($intake->message($queued[0]))[2], qr/before.*evil\n\z/s, "$name: all of it" if @queued;
		$intake->forget_all;
	}
};

subtest 'every text of CR, LF, dot and a letter is one message' => sub {
	my $length = $ENV{ZLMTP_LONG} ? 7 : 5;
	my $intake = Intake->start(arguments => ['-O', 'commands=1000000', '-O', 'errors=100000']);
	my $client = $intake->smtp;
	$client->hello;
	my ($tried, @bad) = (0);
	my @letters = ("\r", "\n", '.', 'a');
	for my $n (0 .. $length) {
		for my $code (0 .. 4 ** $n - 1) {
			my $text = join '', map { $letters[$code >> 2 * $_ & 3] } 0 .. $n - 1;
			# what ends a message by the book is not part of it
			next if "\r\n$text\r\n" =~ /\r\n\.\r\n/;
			$client->send("MAIL FROM:<x\@example.com>\r\nRCPT TO:<nothing\@example.org>\r\nDATA\r\n");
			my $before = join '', map { $client->reply =~ s/ .*//sr } 1 .. 3;
			$client->send("$text\r\n.\r\nNOOP\r\n");
			my ($end, $noop) = ($client->reply, $client->reply);
			push @bad, $text =~ s/\r/CR/gr =~ s/\n/LF/gr if $before ne '250250354' || $end !~ /^250 2\.0\.0 disc/ || $noop ne "250 2.0.0 ok\r\n";
			$tried++;
		}
	}
	is "@bad", '', "$tried texts";
};

subtest 'a client that goes at any byte leaves nothing' => sub {
	my $intake = Intake->start;
	my $dialogue = "LHLO a\r\nMAIL FROM:<x\@example.com>\r\nRCPT TO:<ann\@example.org>\r\nDATA\r\n";
	my $text = "Subject: x\r\n\r\nx\r\n.\r\n";
	for my $n (0 .. length($dialogue) - 1) {
		my $client = $intake->lmtp;
		$client->send(substr $dialogue, 0, $n);
		setsockopt $client->handle, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $n % 2;
		$client->close;
	}
	for my $n (0 .. length($text) - 1) {
		my $client = $intake->lmtp;
		$client->send($dialogue);
		1 until $client->reply =~ /^354/;
		$client->send(substr $text, 0, $n);
		$client->close;
	}
	ok soon(sub { !$intake->litter && !$intake->queued }), 'nothing is left';
	my $whole = $intake->lmtp;
	$whole->send($dialogue);
	1 until $whole->reply =~ /^354/;
	$whole->send($text);
	$whole->close;
	ok soon(sub { $intake->queued == 1 }), 'who sent all of it and did not wait has it queued, once';
};

subtest 'SIGTERM' => sub {
	my $intake = Intake->start;
	my @clients = map { $intake->lmtp } 1 .. 4;
	$clients[$_]->hello for 1 .. 3;
	$clients[$_]->say('MAIL FROM:<x@example.com>') for 2, 3;
	$clients[3]->say($_) for 'RCPT TO:<ann@example.org>', 'DATA';
	$clients[3]->send("Subject: x\r\n\r\nhalf");
	is $intake->stop, 0, 'it ends';
	is $_->rest, "421 4.3.2 the server stops\r\n", 'every client is told' for @clients;
	is_empty $intake, 'a message in the middle';
};

subtest 'the post office goes away' => sub {
	my $intake = Intake->start;
	my $client = $intake->lmtp;
	$client->hello;
	$client->{greeted} = 1;
	rename $intake->office, $intake->office . '.away' or die;
	is $client->say('MAIL FROM:<x@example.com>'), "452 4.3.1 the queue cannot be reached now; try again later\r\n", 'gone: later';
	rename $intake->office . '.away', $intake->office or die;
	like((map { @$_ } $client->message('x@example.com', ['ann@example.org'], $hello))[-1], qr/^250 /, 'it is back');
};

subtest 'queue or transport is another directory, or of another owner' => sub {
	my $intake = Intake->start;
	my $client = $intake->lmtp;
	my $office = $intake->office;
	my $last = sub { ($client->message('x@example.com', ['ann@example.org'], $hello))[-1][0] };
	for my $place (qw(queue transport)) {
		rename "$office/$place", "$office/$place.old";
		mkdir "$office/$place", 0750;
		is $last->(), "452 4.3.1 the message cannot be written to the queue now; try again later\r\n", "$place was replaced: not now";
		$client->say('RSET');
		is $intake->said =~ s/.*\n(?=.)//sr, "intake: $office/$place: since the start it was replaced, or its owner changed; start again\n", '... and why';
		rmdir "$office/$place" or die "$place: $!";
		rename "$office/$place.old", "$office/$place";
		like $last->(), qr/^250 /, 'and when it is back it is taken';
	}
	SKIP: {
		skip 'only root can give it away', 2 if $> != 0;
		chown 65534, 65534, $office, glob "$office/*";
		like $last->(), qr/^452 4\.3\.1 /, 'another owner: not now';
		$client->say('RSET');
		# root may follow a link only where nobody else can make one
		chown 0, 0, glob "$office/*";
		rename "$office/transport", "$office/elsewhere";
		symlink 'elsewhere', "$office/transport";
		like $last->(), qr/^452 4\.3\.1 /, 'a symbolic link in the office of a user, as root: not now';
	}
};

subtest 'sockets' => sub {
	my $intake = Intake->start(run => 0);
	my $path = $intake->dir . '/lmtp';
	my $stale = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die;
	close $stale;
	$intake->{o}{listen} = ["lmtp:UNIX:$path,mode=0666"];
	$intake->again;
	is sprintf('%04o', (stat $path)[2] & 07777), '0666', 'one that nobody listens at is replaced; its mode';
	my $second = Intake->start(run => 0);
	$second->{o}{listen} = ["lmtp:UNIX:$path"];
	$second->{o}{wait} = 0;
	$second->again;
	waitpid delete $second->{pid}, 0;
	is $? >> 8, 69, 'one that somebody listens at is not';
	like $second->said, qr/^intake: -L lmtp:UNIX:\Q$path\E: another process listens there; end it, or name another path$/m, '... in one line';
	ok $intake->answers($path), 'the first still answers';
	$intake->stop;
	Spool->put($path, "a file\n");
	$second->again;
	waitpid delete $second->{pid}, 0;
	is $? >> 8, 69, 'a file stays';
	like $second->said, qr/^intake: -L lmtp:UNIX:\Q$path\E: a file that is no socket is there; remove it, or name another path$/m, '... and is called what it is';
	is Spool::slurp($path), "a file\n", '... as it was';
	SKIP: {
		skip 'needs root', 1 if $> != 0;
		unlink $path;
		$intake->{o}{listen} = ["lmtp:UNIX:$path,mode=0620,group=mail"];
		$intake->again;
		is sprintf('%04o %s', (stat $path)[2] & 07777, scalar getgrgid((stat _)[5])), '0620 mail', 'mode and group';
	}
};

subtest 'sockets of systemd' => sub {
	my $intake = Intake->start(run => 0, listen => [], wait => 0);
	my $path = $intake->dir . '/activated';
	my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die;
	my ($port) = Ports::free(1);
	my $tcp = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => $port, Listen => 5) or die;
	my @fds = (fileno $listener, fileno $tcp);
	# as sd_listen_fds(3): from 3 on, for this very process
	$intake->{o}{before} = [$^X, '-e', 'use POSIX; my ($a, $b) = splice @ARGV, 0, 2; POSIX::dup2($a, 13); POSIX::dup2($b, 14); POSIX::dup2(13, 3);'
		. ' POSIX::dup2(14, 4); POSIX::close($_) for 13, 14; @ENV{qw(LISTEN_PID LISTEN_FDS LISTEN_FDNAMES)} = ($$, 2, "first:lmtp"); exec @ARGV', @fds];
	use Fcntl ();
	fcntl $_, Fcntl::F_SETFD(), 0 or die for $listener, $tcp;
	$intake->again;
	ok $intake->answers($path), 'it answers at both';
	like(IntakeDialogue->new($path)->greeting, qr/ LMTP /, 'LMTP at the UNIX socket');
	like(IntakeDialogue->new(['127.0.0.1', $port])->greeting, qr/ LMTP /, 'LMTP at TCP, as its name says');
	$intake->stop;
	ok -S $path, 'the socket of systemd stays';
};

subtest 'verify=: the store is asked' => sub {
	my $store = Intake->start(routes => "known: lmtp!store!known\n", arguments => []);
	my $cache = $store->dir . '/cache';
	my $ask = "-c lmtp -F UNIX:" . $store->dir . '/lmtp';
	my $intake = Intake->start(routes => "known\@example.org: lmtp!store!known\@example.org\nunknown\@example.org: lmtp!store!unknown\@example.org\n"
		. "away\@example.net: smtp!example.net!away\@example.net\nother\@example.org: local!store!other\n", arguments => ['-O', "verify=$cache", '-O', "verify-with=$ask"]);
	$store->routes("known\@example.org: lmtp!store!known\n");
	my $client = $intake->lmtp;
	$client->hello;
	$client->say('MAIL FROM:<x@example.com>');
	is $client->say('RCPT TO:<known@example.org>'), "250 2.1.5 ok\r\n", 'the store takes it';
	like $client->say('RCPT TO:<unknown@example.org>'), qr/^550 (5\.1\.\d) (?!550)(?!\1)\S.*unknown/, 'the store does not: its words, with code and status once';
	is $client->say('RCPT TO:<away@example.net>'), "250 2.1.5 ok\r\n", 'elsewhere: not asked';
	$store->stop;
	is $client->say('RCPT TO:<known@example.org>'), "250 2.1.5 ok\r\n", 'the store is away: the cache serves';
	like $client->say('RCPT TO:<unknown@example.org>'), qr/^550 5\.1\.\d /, '... also for a no';
	my $without = Intake->start(routes => "known\@example.org: lmtp!store!known\@example.org\n", arguments => ['-O', "verify=$cache.2", '-O', "verify-with=$ask"]);
	$client = $without->lmtp;
	$client->hello;
	$client->say('MAIL FROM:<x@example.com>');
	like $client->say('RCPT TO:<known@example.org>'), qr/^450 4\.\d\.\d \S/, 'nobody can tell';
};

subtest 'verify=: a store that is silent keeps nobody waiting but who asks for its users' => sub {
	my $intake = Intake->start(run => 0);
	my $dir = $intake->dir;
	my $silent = IO::Socket::UNIX->new(Local => "$dir/silent", Listen => 100) // die "silent: $!";
	$intake->routes(join '', "ann\@example.org: local!-!ann\n", map { "user$_\@example.org: lmtp!UNIX:$dir/silent!user$_\n" } 1 .. 20);
	$intake->{o}{arguments} = ['-O', "verify=$dir/cache"];
	$intake->again;
	my @waiting = map { my $client = $intake->lmtp; $client->hello; $client->say('MAIL FROM:<x@example.com>'); $client->send("RCPT TO:<user$_\@example.org>\r\n"); $client } 1 .. 20;
	my $client = $intake->lmtp;
	$client->hello;
	$client->say('MAIL FROM:<x@example.com>');
	is $client->say('RCPT TO:<ann@example.org>'), "250 2.1.5 ok\r\n", 'a user of no store';
	like $client->say("RCPT TO:<nobody\@example.org>"), qr/^550 5\.1\.\d /, "one that the maps do not know";
};

subtest 'verify-with=: arguments that the agent does not take are found at the start' => sub {
	my $intake = Intake->start(run => 0);
	$intake->{o}{arguments} = ['-O', 'verify=' . $intake->dir . '/cache', '-O', 'verify-with=-O nonesuch=1'];
	$intake->{o}{wait} = 0;
	$intake->again;
	waitpid delete $intake->{pid}, 0;
	is $? >> 8, 64, 'exit status';
	like $intake->said, qr/^intake: -O verify-with: .*nonesuch.*\n\z/, 'one line';
};

subtest '-M: what is counted' => sub {
	my $intake = Intake->start(run => 0);
	my $file = $intake->dir . '/intake.prom';
	$intake->{o}{arguments} = ['-M', $file, '-O', 'hops=1'];
	$intake->again;
	my $client = $intake->lmtp;
	$client->message('x@example.com', ['ann@example.org', 'eve@example.org'], $hello);
	$client->message('x@example.com', ['ann@example.org'], "Received: x\nReceived: x\n$hello");
	is $intake->stop, 0, 'it ends';
	my $text = Spool::slurp($file);
	like $text, qr/^zlmtp_intake_$_$/m, $_ for 'connections_total 2', 'messages_total 1', 'recipients_total\{class="2"\} 2', 'recipients_total\{class="5"\} 1',
		'refused_total\{reason="loop"\} 1', 'batches_total 1', 'batch_messages_total 1', 'commit_seconds_total \d.*';
};

subtest 'zlmtp-check -o intake' => sub {
	my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
	my $intake = Intake->start;
	my $check = sub (@more) {
		Spool->put($intake->dir . '/zenv', 'POSTOFFICE=' . $intake->office . "\nINTAKE=" . $intake->dir . "/lmtp\n");
		local $ENV{ZCONFIG} = $intake->dir . '/zenv';
		my $said = qx{'$build/channel/zlmtp-check' -o intake @more};
		return ($? >> 8) . " $said";
	};
	like $check->('-v'), qr/^0 OK .*^\S* ?.*intake \S+\/lmtp takes mail$/ms, 'it takes mail';
	rename $intake->office, $intake->office . '.away' or die;
	like $check->(), qr/^2 CRITICAL.*intake \S+\/lmtp: takes no mail now: .*the queue cannot be reached/, 'it takes none';
	rename $intake->office . '.away', $intake->office or die;
	kill 'STOP', $intake->pid;
	like $check->('-t', 1), qr/^2 CRITICAL.*intake \S+\/lmtp: it does not answer$/m, 'it does not answer';
	kill 'CONT', $intake->pid;
	$intake->stop;
	{
		my $deaf = IO::Socket::UNIX->new(Local => $intake->dir . '/lmtp', Listen => 1) or die "listen: $!\n";
		my @waiting = map { IO::Socket::UNIX->new(Peer => $intake->dir . '/lmtp', Blocking => 0) } 1 .. 10;
		local $SIG{ALRM} = sub { die "zlmtp-check waits\n" };
		alarm 60;
		like $check->('-t', 1), qr/^2 CRITICAL.*intake \S+\/lmtp: it does not answer$/m, '... not even by taking the connection';
		alarm 0;
		unlink $intake->dir . '/lmtp';
	}
	like $check->(), qr/^2 CRITICAL.*intake \S+\/lmtp: (?:No such file|Connection refused)/, 'it is not there';
};

subtest 'many idle clients do not stop others' => sub {
	my $intake = Intake->start;
	my @idle = map { $intake->lmtp } 1 .. 200;
	my $begun = time;
	my $client = $intake->smtp;
	like((map { @$_ } $client->message('x@example.com', ['ann@example.org'], $hello))[-1], qr/^250 /, 'beside 200 who say nothing');
	cmp_ok time - $begun, '<', 5, '... soon';
};

subtest 'each row of the grammar, wrong in its way' => sub {
	my $intake = Intake->start(arguments => ['-O', 'errors=1000']);
	my $client = $intake->smtp;
	my @rows = (
		['MAIL FROM:<x@example.com>' => 503], ['EHLO' => 501], ['EHLO a b' => 501], ['LHLO a' => 500], ['EHLO a' => 250],
		['RCPT TO:<ann@example.org>' => 503], ['DATA' => 503], ['MAIL' => 501], ['MAIL TO:<x@example.com>' => 501], ['MAIL FROM:x@example.com' => 501],
		['MAIL FROM:<x@example.com' => 501], ['MAIL FROM:<x@example.com>SIZE=1' => 501], ['MAIL FROM:<x@example.com> SIZE=x' => 501],
		['MAIL FROM:<x@example.com> SIZE' => 501], ['MAIL FROM:<x@example.com> BODY=9BIT' => 501], ['MAIL FROM:<x@example.com> RET=SOME' => 501],
		['MAIL FROM:<x@example.com> ENVID=' => 501], ['MAIL FROM:<x@example.com> ENVID=a=b' => 501], ['MAIL FROM:<x@example.com> SMTPUTF8=1' => 501],
		['MAIL FROM:<x@example.com> NONESUCH=1' => 555], ['MAIL FROM:<not an address>' => 501], ["MAIL FROM:<x\1\@example.com>" => 501],
		['MAIL FROM:<x@[300.1.1.1]>' => 501], ['MAIL FROM:<x@[IPv6:zz]>' => 501],
		['MAIL FROM:<x@example.com>' => 250], ['RCPT TO:<ann@[x]>' => 550], ['MAIL FROM:<x@example.com>' => 503], ['DATA' => 554], ['RCPT' => 501], ['RCPT FROM:<ann@example.org>' => 501],
		['RCPT TO:<ann@example.org> NOTIFY=' => 501], ['RCPT TO:<ann@example.org> NOTIFY=NEVER,DELAY' => 501], ['RCPT TO:<ann@example.org> ORCPT=x' => 501],
		['RCPT TO:<ann@example.org> SIZE=1' => 555], ['RCPT TO: <ann@example.org>' => 250], ['DATA now' => 501], ['NOOP x' => 250], ['VRFY ann' => 252],
		['EXPN list' => 502], ['HELP' => 214], ['AUTH PLAIN' => 502], ['STARTTLS' => 503], ['STARTTLS x' => 501], ['' => 500], ["NO\0OP" => 500], ["NO\rOP" => 500],
		['X' x 1000 => 500], ['rset' => 250], ['quit' => 221],
	);
	for (@rows) {
		my ($line, $code) = @$_;
		like $client->say($line), qr/^$code[ -]/, ($line =~ s/[^ -~]/?/gr =~ s/(.{60}).*/$1.../r) . ": $code";
	}
	is_empty $intake, 'rubbish';
};

subtest 'wrong options' => sub {
	my $intake = Intake->start(run => 0, wait => 0);
	for (['-O', 'size=1', 'a number from 1000 to'], ['-O', 'log=xml', 'expected log=keys or log=json'], ['-O', 'nonesuch=1', 'there is no such key'], ['-O', 'verify=relative', 'the whole path of a cache'], ['-O', 'relay=some', 'expected none, local or all'], ['-O', 'journal=maybe', 'expected auto, yes or no'],
		['-O', 'networks=x', 'expected addresses'], ['-O', 'networks=10.0.0.0/33', 'expected addresses'], ['-O', 'command-time=x', 'expected a time from 1 to 86400'],
		['-L', 'smtp:127.0.0.1:25', 'expected'], ['-L', 'x', 'expected'], ['-L', 'lmtp:UNIX:relative', 'an absolute path'],
		['-L', 'lmtp:UNIX:/x,mode=9', 'octal digits'], ['-L', 'lmtp:UNIX:/x,color=red', 'expected'], ['-H', '-HH', 'no more than two levels']) {
		my ($option, $value, $words) = @$_;
		unlink $intake->dir . '/err';
		$intake->{o}{arguments} = [$option, $value];
		$intake->again;
		waitpid delete $intake->{pid}, 0;
		is $? >> 8, 64, "$option $value: usage";
		like $intake->said, qr/^intake: .*\Q$words\E/, '... says why';
	}
};

done_testing;
