#!/usr/bin/perl
# zlmtp-sendmail, as programs call it: options, addresses, ends, exit codes; with an intake and without.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Encode ();
use IO::Socket::UNIX;
use IPC::Open2;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use Intake;
use RunQueue;
use ZlmtpQueue;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $sendmail = "$build/channel/zlmtp-sendmail";
my $intake = Intake->start(routes => join '', map { "$_\@example.org: lmtp!store!$_\n" } qw(ann bob carl root));
my $dir = $intake->dir;
my $zenv = Spool::slurp("$dir/zenv") . "MAILVAR=$dir\n";
Spool->put("$dir/zenv", $zenv . "INTAKE=$dir/lmtp\n");
$ENV{ZCONFIG} = "$dir/zenv";
delete $ENV{NAME};

# Exit status and what was said.
sub run_it($text, @arguments) {
	Spool->put("$dir/in", $text);
	system 'sh', '-c', 'exec "$@" <"$0" >"$0.out" 2>&1', "$dir/in", $sendmail, @arguments;
	return ($? >> 8, Spool::slurp("$dir/in.out"));
}

# The one message in the queue: recipients, header, body, control file; then it is removed.
sub queued() {
	my @jobs = $intake->queued;
	return { count => scalar @jobs } if @jobs != 1;
	my ($control, $header, $body) = $intake->message($jobs[0]);
	my $text = Spool::slurp($intake->office . "/transport/$jobs[0]");
	$intake->forget_all;
	return { count => 1, to => join(' ', map { $_->{user} } @{$control->{recipients}}), header => $header, body => $body, control => $text };
}

sub takes($what, $text, $arguments, %expect) {
	my ($status, $said) = run_it($text, @$arguments);
	is $status, 0, "$what: exit 0" or diag $said;
	is $said, $expect{said} // '', "$what: nothing is said" if !defined $expect{like};
	my $q = queued();
	is $q->{count}, 1, "$what: one message" or return;
	is $q->{to}, $expect{to} // 'ann', "$what: recipients";
	is $q->{body}, $expect{body}, "$what: body" if defined $expect{body};
	like $q->{header}, $expect{header}, "$what: header" if defined $expect{header};
	unlike $q->{header}, $expect{no_header}, "$what: not in the header" if defined $expect{no_header};
	like $q->{control}, $expect{control}, "$what: control file" if defined $expect{control};
	return $q;
}

sub refuses($what, $code, $words, $text, @arguments) {
	my ($status, $said) = run_it($text, @arguments);
	is $status, $code, "$what: exit $code" or diag $said;
	like $said, $words, "$what: says why";
	like $said, qr/\A[^\n]*\n\z/, "$what: in one line";
	is scalar(my @none = $intake->queued), 0, "$what: nothing queued";
}

subtest 'messages and their ends' => sub {
	my $m = "Subject: x\n\nHello.\n";
	takes 'operands', $m, ['-f', 'x@example.com', 'ann@example.org', 'bob@example.org'], to => 'ann bob', body => "Hello.\n",
		control => qr/^s \S+ \S+ x\@example\.com /m, header => qr/^From:\s*x\@example\.com$/m;
	takes 'commas', $m, ['ann@example.org,bob@example.org'], to => 'ann bob';
	takes 'a name and brackets', $m, ['Ann <ann@example.org>'];
	takes 'a dot ends it', "Subject: x\n\na\n.\nb\n", ['ann@example.org'], body => "a\n";
	takes '-i: it does not', "Subject: x\n\na\n.\nb\n", ['-i', 'ann@example.org'], body => "a\n.\nb\n";
	takes '-oi: neither', "Subject: x\n\na\n.\n..\n.b\n", ['-oi', 'ann@example.org'], body => "a\n.\n..\n.b\n";
	takes 'CR LF', "Subject: x\r\n\r\na\r\n.\r\nb\r\n", ['ann@example.org'], body => "a\n";
	takes 'no line end', "Subject: x\n\nno end", ['ann@example.org'], body => "no end\n";
	takes 'no header', "Hello, Ann.\nBye.\n", ['ann@example.org'], body => "Hello, Ann.\nBye.\n";
	takes 'a body that begins with a blank line', "\nHello.\n", ['ann@example.org'], body => "Hello.\n";
	takes 'a header alone', "Subject: x\n", ['ann@example.org'], body => '', header => qr/^Subject: x$/m;
	takes 'nothing', '', ['ann@example.org'], body => '';
	takes 'a line of a mailbox in front', "From ann Sun Nov 29\nSubject: x\n\na\n", ['ann@example.org'], body => "a\n", header => qr/^Subject: x$/m,
		no_header => qr/^>?From ann/m;
	for my $front ('>From ann', 'From - Sun Nov 29 10:00:00 2026', "From ann\n>From bob\n>From carl", "\xef\xbb\xbf", "\xef\xbb\xbf>From ann") {
		my $line = $front . ($front =~ /m/ ? "\n" : '');
		takes unpack('H*', $line) . ' in front', "${line}Subject: x\n\na\n", ['ann@example.org'], body => "a\n", header => qr/^Subject: x$/m,
			no_header => qr/^>?From /m;
	}
	takes 'a text that begins like a mailbox', "From now on we meet at noon.\nBye.\n", ['ann@example.org'],
		body => "From now on we meet at noon.\nBye.\n";
	takes 'a text with a byte order mark', "\xef\xbb\xbfHello.\n", ['ann@example.org'], body => "\xef\xbb\xbfHello.\n";
	takes 'a large one', "Subject: x\n\n" . ("0123456789\n" x 200000), ['-i', 'ann@example.org'], body => "0123456789\n" x 200000;
	takes '8 bits', "Subject: \xc3\xbc\n\n\xfc\n", ['ann@example.org'], body => "\xfc\n";
};

subtest 'senders' => sub {
	my $m = "Subject: x\n\nx\n";
	my $me = getpwuid $>;
	takes 'nobody named', $m, ['ann@example.org'], control => qr/^s \S+ \S+ $me\@\S+ /m;
	takes "-f $_", $m, ['-f', $_, 'ann@example.org'], control => qr/^s error <> <> /m for '<>', '';
	takes '-r', $m, ['-r', 'y@example.com', 'ann@example.org'], control => qr/ y\@example\.com /;
	takes "-f $_", $m, ['-f', $_, 'ann@example.org'], control => qr/^s \S+ \S+ root\@[^ ]+ /m, header => qr/^From:\s*root\@\S+$/m for 'root', '<root>';
	takes '-f in brackets', $m, ['-f<y@example.com>', 'ann@example.org'], control => qr/ y\@example\.com /;
	takes '-F', $m, ['-FCron "Daemon"', '-fy@example.com', 'ann@example.org'], header => qr/^From: "Cron \\"Daemon\\"" <y\@example\.com>$/m;
	takes '-F and a sender with loose dots', $m, ['-FName', '-fx..y@example.com', 'ann@example.org'], header => qr/^From: "Name" <"x\.\.y"\@example\.com>$/m;
	# what a reader makes of it
	my $name = sub ($given, @more) {
		my $q = takes("-F $given", $m, ["-F$given", @more ? @more : '-fy@example.com', 'ann@example.org']);
		my ($from) = $q->{header} =~ /^(From: .*\n(?:[ \t].*\n)*)/m;
		is scalar(grep { length > 76 } split /\n/, $from), 0, '... in lines that are not long';
		unlike $from =~ s/<.*//sr, qr/[^\n -~]/, '... and ASCII';
		$from =~ s/\n//g;
		my ($words, $address) = $from =~ /^From: (.*) <(.*)>$/;
		unlike $words, qr/"/, '... encoded words are not quoted';
		return Encode::encode('UTF-8', Encode::decode('MIME-Header', $words)) . " <$address>";
	};
	my $address = 'y@example.com';
	is $name->($_), "$_ <$address>", "... $_" for "J\xc3\xbcrgen", "J\xc3\xbcrgen \"\xc3\x96\" (M), M\xc3\xbcller; \\ =?utf-8?q?x?=", "\xe5\xb1\xb1\xe7\x94\xb0 \xe5\xa4\xaa\xe9\x83\x8e",
		"\xc3\xbc" x 90, "\xc3\xbc " . 'x' x 100;
	is $name->("J\xc3\xbcrgen", "-fj\xc3\xbc\@example.com"), "J\xc3\xbcrgen <j\xc3\xbc\@example.com>", '... beside an address beyond ASCII';
	takes '-F in Latin 1', $m, ["-FJ\xfcrgen", "-f$address", 'ann@example.org'], header => qr/^From: "J\?rgen" <y\@example\.com>$/m;
	takes '-F beside a From', "From: z\@example.com\n$m", ['-FName', 'ann@example.org'], header => qr/^From: z\@example\.com$/m, no_header => qr/Name/;
};

subtest '-t' => sub {
	takes 'all three', "To: Ann <ann\@example.org>,\n  \"B, ob\" <bob\@example.org>\nCc: (a (b) comment) carl \@ example.org\nBcc: root\@example.org\nSubject: x\n\nx\n", ['-t'],
		to => 'ann bob carl root', no_header => qr/^Bcc/mi;
	takes 'a group', "To: friends: ann\@example.org, bob\@example.org;, carl\@example.org\nSubject: x\n\nx\n", ['-ti'], to => 'ann bob carl';
	takes 'with an operand', "To: ann\@example.org\n\nx\n", ['-t', 'bob@example.org'], to => 'bob ann';
	takes 'an empty group', "To: undisclosed-recipients:;\nBcc: ann\@example.org\n\nx\n", ['-t'];
	takes 'resent', "Resent-To: bob\@example.org\nTo: ann\@example.org\n\nx\n", ['-t'], to => 'bob';
	takes 'the body is no header', "To: ann\@example.org\n\nTo: bob\@example.org\n", ['-t'];
	refuses 'nobody', 64, qr/no address/, "Subject: x\n\nx\n", '-t';
	refuses 'a comma is missing: bob would be forgotten', 65, qr/Ann <ann\@example\.org> bob\@example\.org/, "To: Ann <ann\@example.org> bob\@example.org\n\nx\n", '-t';
	refuses 'two in brackets without a comma', 65, qr/<ann\@example\.org> <bob/, "To: <ann\@example.org> <bob\@example.org>\n\nx\n", '-t';
	refuses "'$_' is no group: ann would be forgotten", 65, qr/ann\@example\.org/, "To: $_\n\nx\n", '-t'
		for 'ann@example.org: bob@example.org', 'ann@example.org Bob: <bob@example.org>', 'carl@example.org, ann@example.org: bob@example.org;';
	takes 'a group whose name is quoted', "To: \"a\@b\": ann\@example.org;\n\nx\n", ['-t'];
	refuses 'something quoted behind the brackets', 65, qr/"bob"/, "To: <ann\@example.org> \"bob\"\n\nx\n", '-t';
	refuses 'folded', 65, qr/bob/, "To: carl\@example.org, <ann\@example.org>\n bob\@example.org\n\nx\n", '-t';
	refuses 'a bracket alone', 65, qr/RCPT/, "Subject: x\n\nx\n", "ann\@example.org>\r\nRCPT TO:<bob\@example.org";
	takes 'a comment behind the brackets', "To: Ann <ann\@example.org> (at home)\n\nx\n", ['-t'];
};

subtest 'DSN, bodies, other options' => sub {
	my $m = "Subject: x\n\nx\n";
	takes 'DSN', $m, ['-N', 'success,delay', '-R', 'hdrs', '-V', 'a=b c', 'ann@example.org'], control => qr/^N NOTIFY=SUCCESS,DELAY .*\nR HDRS\nn a\+3Db\+20c\n/ms;
	takes 'never', $m, ['-Nnever', 'ann@example.org'], control => qr/^N NOTIFY=NEVER/m;
	takes 'as cron', $m, ['-i', '-FCronDaemon', '-B8BITMIME', '-oem', 'root@example.org'], to => 'root', header => qr/^From: "CronDaemon"/m;
	takes 'as others', $m, ['-bm', '-oXY', '-odb', '-O', 'DeliveryMode=b', '-em', '-m', '-n', '-U', '-G', '-h3', '-Ltag', '-X', '/dev/null', '-Am', '--', 'ann@example.org'];
	my ($status, $said) = run_it($m, '-v', 'ann@example.org');
	like $said, qr/^zlmtp-sendmail: <ann\@example\.org> queued as S\S+$/m, '-v';
	queued();
	refuses "-$_->[0]", 64, $_->[1], $m, "-$_->[0]", 'ann@example.org'
		for ['bd', qr/expected -bm, -bs or -bp/], ['Nsome', qr/never, or a list/], ['Rall', qr/full or hdrs/], ['B9BIT', qr/7BIT or 8BITMIME/], ['V' . 'x' x 101, qr/at most 100/], ['Z', qr/unknown option -Z/];
	like qx{$sendmail --version}, qr/^zlmtp-sendmail \(zlmtp\) \S+$/, '--version, as -V is another';
};

subtest 'refusals' => sub {
	my $m = "Subject: x\n\nx\n";
	refuses 'nobody there', 68, qr/^zlmtp-sendmail: eve\@example\.org: .*; nothing queued$/, $m, 'eve@example.org';
	refuses 'one of two', 68, qr/eve/, $m, 'ann@example.org', 'eve@example.org';
	refuses 'no recipient', 64, qr/expected an address/, $m;
	refuses 'no address', 65, qr/nothing queued/, $m, "ann\nbob\@example.org";
	refuses 'a loop', 65, qr/too many hops/, "Received: from a by b; Sun, 29 Nov 2026 10:00:00 +0000\n" x 60 . $m, 'ann@example.org';
	my $map = "$dir/routes.db";
	my $good = Spool::slurp($map);
	Spool->put("$map.new", 'damaged');
	rename "$map.new", $map or die;
	sleep 1.1;
	refuses 'a map that cannot tell', 75, qr/temporary lookup failure/, $m, 'ann@example.org';
	Spool->put("$map.new", $good);
	rename "$map.new", $map or die;
	sleep 1.1;
};

subtest '-bs' => sub {
	my $pid = open2(my $out, my $in, $sendmail, '-bs');
	print $in "EHLO client\r\nMAIL FROM:<x\@example.com>\r\nRCPT TO:<eve\@example.org>\r\nRCPT TO:<ann\@example.org> NOTIFY=NEVER\r\nDATA\r\n";
	$in->flush;
	my $said = '';
	while (<$out>) {
		$said .= $_;
		last if /^354/;
	}
	like $said, qr/^220 .*ESMTP.*^250 2\.1\.0.*^550 .*^250 2\.1\.5.*^354/ms, 'the intake answers through it';
	print $in "Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
	close $in;
	like join('', <$out>), qr/\A250 2\.0\.0 .*queued as S\S+\r\n221 /, 'queued';
	waitpid $pid, 0;
	is $? >> 8, 0, 'exit 0';
	my $q = queued();
	is $q->{to}, 'ann', 'its recipient';
	is $q->{body}, ".dot\n", 'its text';
	like $q->{control}, qr/NOTIFY=NEVER/, 'its parameters';
};

subtest '-bs from a file: nobody waits for answers there' => sub {
	Spool->put("$dir/session", join "\r\n", 'EHLO client', 'MAIL FROM:<x@example.com>', 'RCPT TO:<ann@example.org>', 'DATA', 'Subject: one', '',
		'..dot', '.', 'MAIL FROM:<y@example.com>', 'RCPT TO:<ann@example.org>', 'BDAT 16 LAST', "Subject: two\r\n", 'QUIT', '');
	my $said = qx{$sendmail -bs <$dir/session};
	is $? >> 8, 0, 'exit 0';
	my @ids = $said =~ /^250 2\.0\.0 .*queued as (S\S+)\r$/mg;
	is scalar(@ids), 2, 'both are queued' or diag $said;
	like $said, qr/^354 .*^221 /ms, 'each command has its answer';
	is_deeply [sort map { ($intake->message($_))[2] } $intake->queued], ['', ".dot\n"], 'whole';
	Spool->put("$dir/session", join "\n", 'EHLO client', 'MAIL FROM:<x@example.com>', 'RCPT TO:<ann@example.org>', 'DATA', 'Subject: x', '', 'x', '.', 'QUIT', '');
	$intake->forget_all;
	$said = qx{$sendmail -bs <$dir/session 2>&1 >/dev/null};
	is $? >> 8, 65, 'a message that does not end is not taken, and the exit code says so';
	is $said, "zlmtp-sendmail: the input ended within a message, which was not taken; its end is CR LF . CR LF\n", 'with a reason';
	is_deeply [$intake->queued], [], 'nothing is queued';
};

subtest 'NUL bytes are left out' => sub {
	my ($status) = run_it("Subject: x\n\na\0b\n", 'ann@example.org');
	is $status, 0, 'exit 0';
	is queued()->{body}, "ab\n", 'as RFC 5322 has none';
};

subtest 'nothing ends the header early: what is behind it there stays a secret, and gets its copy' => sub {
	my $bcc = sub ($what, $text, %more) {
		takes $what, "To: ann\@example.org\n${text}Subject: x\n\nbody\n", ['-t'], to => 'ann bob', body => "body\n", header => qr/^Subject: x$/m,
			no_header => qr/Bcc|bob|\0|\r/i, %more;
	};
	# RFC 5322 section 4.5
	$bcc->('a blank in front of the colon', "Bcc : bob\@example.org\n");
	$bcc->('a tab there, and a fold', "BCC\t:\n bob\@example.org\n");
	$bcc->('such a field before it', "X-A : y\nBcc: bob\@example.org\n");
	$bcc->('a NUL in its name', "B\0cc: bob\@example.org\n");
	$bcc->('a NUL in its value', "Bcc: b\0ob\@example.org\n");
	$bcc->('a bare CR before it', "X-A: y\rz\nBcc: bob\@example.org\n", header => qr/^X-A: y z$/m);
	$bcc->('a bare CR and a blank line before it', "X-A: y\r\r\r\nBcc: bob\@example.org\n");
	takes 'a text whose first line looks like that', "Note : this\nis all.\n", ['ann@example.org'], body => "Note : this\nis all.\n";
};

subtest 'more recipients than the intake takes for a message' => sub {
	my $small = do { delete local $ENV{ZCONFIG}; Intake->start(routes => '@example.org: lmtp!store!%1' . "\n" . 'no@example.org: error!nosuchuser' . "\n",
		arguments => ['-O', 'recipients=4', '-O', 'commands=7']) };
	Spool->put("$dir/small", Spool::slurp("$dir/zenv") =~ s/^INTAKE=.*\n//mr . 'INTAKE=' . $small->dir . "/lmtp\n");
	local $ENV{ZCONFIG} = "$dir/small";
	my @to = map { "u$_\@example.org" } 1 .. 10;
	my ($status, $said) = run_it("Subject: x\n\nx\n", @to);
	is "$status$said", '0', 'are taken';
	my @users = map { [map { $_->{user} } @{($small->message($_))[0]{recipients}}] } $small->queued;
	is_deeply [sort map { scalar @$_ } @users], [2, 4, 4], 'in several messages';
	is_deeply [sort map { @$_ } @users], [sort map { "u$_" } 1 .. 10], 'each once';
	$small->forget_all;
	($status, $said) = run_it("Subject: x\n\nx\n", @to, 'no@example.org');
	is $status, 67, 'one of the last is refused';
	like $said, qr/^zlmtp-sendmail: no\@example\.org: .*; nothing queued$/, 'said so';
	is scalar(my @none = $small->queued), 0, 'nothing is queued';
};

# An intake that answers so to "LHLO", MAIL, RCPT, RCPT, DATA and the text, and is gone then; what zlmtp-sendmail makes of it.
sub with_answers($to_data, $to_text) {
	unlink "$dir/scripted";
	my $listener = IO::Socket::UNIX->new(Local => "$dir/scripted", Listen => 1) or die "listen: $!\n";
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		my $c = $listener->accept;
		my @answers = ("250 x\r\n", ("250 2.1.0 ok\r\n") x 3, $to_data, $to_text);
		syswrite $c, "220 x\r\n";
		while (defined(my $line = <$c>)) {
			# of the text, the end alone
			next if @answers == 1 && $line ne ".\r\n";
			my $answer = shift @answers;
			last if $answer eq '' || !syswrite($c, $answer) || !@answers;
		}
		POSIX::_exit(0);
	}
	Spool->put("$dir/zenv-scripted", Spool::slurp("$dir/zenv") =~ s/^INTAKE=.*\n//mr . "INTAKE=$dir/scripted\n");
	local $ENV{ZCONFIG} = "$dir/zenv-scripted";
	my ($status, $said) = run_it("Subject: x\n\nx\n", 'ann@example.org', 'bob@example.org');
	waitpid $pid, 0;
	return "$status $said";
}

subtest 'an intake that is lost when it has the text may have queued it' => sub {
	my $lost = 'the server has closed the connection';
	is with_answers('', ''), "75 zlmtp-sendmail: $lost; nothing queued\n", 'before the text';
	is with_answers("354 go\r\n", ''), "75 zlmtp-sendmail: $lost; it may be queued all the same\n", 'behind its end';
	is with_answers("354 go\r\n", "250 2.0.0 ok\r\n"), "75 zlmtp-sendmail: $lost; it may be queued all the same\n", 'after the first of two answers';
	is with_answers("354 go\r\n", "250 2.0.0 ok\r\n550 5.7.1 no\r\n"), "77 zlmtp-sendmail: no; it may be queued all the same\n", 'for one of two';
	is with_answers("354 go\r\n", "452 4.3.1 full\r\n550 5.7.1 no\r\n"), "77 zlmtp-sendmail: no; nothing queued\n", 'for none';
	is with_answers("354 go\r\n", "250 2.0.0 ok\r\n250 2.0.0 ok\r\n"), '0 ', 'for both';
};

subtest '-bp' => sub {
	run_it("Subject: x\n\nx\n", 'ann@example.org');
	my ($status, $said) = run_it('', '-bp');
	is $status, 0, 'exit 0';
	like $said, qr/ann/, 'the queue is listed';
	symlink $sendmail, "$dir/mailq" or die;
	my $mailq = qx('$dir/mailq' 2>&1 </dev/null);
	is $?, 0, 'mailq: exit 0';
	like $mailq, qr/ann/, 'it does the same';
	queued();
	($status, $said) = run_it('', '-bi');
	is $status, 64, 'newaliases has no meaning here';
	like $said, qr/^zlmtp-sendmail: -bi: expected -bm, -bs or -bp; newdb builds the maps/, '... and it is said what has';
};

subtest '-q' => sub {
	my $flush = sub ($q, @more) {
		local $ENV{ZCONFIG} = $q->dir . '/zenv';
		return run_it('', '-q', @more);
	};
	my $q = RunQueue->new(conf => "lmtp/*\n\tinterval=1h retries=1 command=\"AGENT\"\n", script => "user . deferred \r->> 450 not now\n");
	my $waits = sub { scalar grep { defined $_->{answer} && ($_->{next_try} // 0) > time } rows($q) };
	$q->start('-w');
	RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' }) or die "no socket\n";
	is_deeply [$flush->($q)], [0, ''], 'nothing waits: exit 0, nothing is said';
	my $name = $q->arrive(['a']);
	ok RunQueue::wait_for($waits), 'a message is deferred for an hour';
	is_deeply [$flush->($q)], [0, ''], 'exit 0, nothing is said';
	ok RunQueue::wait_for(sub { 2 == (() = $q->jobs) && $waits->() }), 'runqueue has tried it';
	my ($status, $said) = $flush->($q, '-v');
	is $status, 0, '-v: exit 0';
	like $said, qr/\A\S+: due now, from ann\@example\.org, 1 recipient\n\z/, '... and it is named';
	ok RunQueue::wait_for(sub { 3 == (() = $q->jobs) && $waits->() }), 'tried again';
	$q->stop;
	$q->script("user . ok\n");
	($status, $said) = $flush->($q);
	is $status, 0, 'no runqueue: exit 0' or diag $said;
	is_deeply [$q->names], [], '... and it was tried';
	# as a daemon of other sendmails is started, wherever it stands
	local $ENV{ZCONFIG} = $q->dir . '/zenv';
	is((run_it('', @$_))[0], 0, "@$_: exit 0") for ['-q15m'], ['-f', 'x', '-q15m'], ['-iq15m'];
};

subtest 'without an intake' => sub {
	is $intake->stop, 0, 'it is gone';
	Spool->put("$dir/db/dbases.conf", "fqdnroutes btree - -la $dir/routes -lm%:\n");
	my ($status, $said) = run_it("To: ann\@example.org\nSubject: x\n\nx\n", '-t', '-Nnever', '-fx@example.com');
	is $status, 0, 'who may write to the queue does it' or diag $said;
	my $q = queued();
	is $q->{to}, 'ann', 'the recipient';
	like $q->{control}, qr/^s \S+ \S+ x\@example\.com .*NOTIFY=NEVER/ms, 'sender and parameters';
	SKIP: {
		skip 'needs root', 3 if $> != 0;
		chmod 0750, $intake->office . '/transport', $intake->office . '/queue';
		Spool->put("$dir/in", "x\n");
		my $nobody = getpwnam 'nobody';
		chmod 0755, $dir;
		my $out = qx{setpriv --reuid=$nobody --clear-groups $sendmail ann\@example.org <$dir/in 2>&1};
		is $? >> 8, 75, 'others are told to come again';
		like $out, qr/^zlmtp-sendmail: no intake at \Q$dir\E\/lmtp: (?:No such file or directory|Connection refused); nothing queued; start intake, or try again later$/, '... in one line';
		is scalar(my @none = $intake->queued), 0, 'nothing queued';
	}
	my $out = qx{$sendmail -bs </dev/null};
	is $? >> 8, 75, '-bs: 75';
	like $out, qr/^421 4\.3\.2 the intake of this machine does not answer/, '... and 421';
};

subtest 'behind "--" there are addresses alone' => sub {
	takes 'one that looks like -q', "x\n", ['-i', '--', '-queue@example.com'], to => '-queue@example.com';
};

done_testing;
