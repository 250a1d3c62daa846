#!/usr/bin/perl
# runqueue tells senders what failed and what was delivered.  Every report is read by Python's email package.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Reports;
use RunQueue;
use Spool;
use ZlmtpQueue;

my $fails = "user bob error2 <<- RCPT TO:<bob>\r->> 550 5.1.1 no such user\nuser dan deferred\nuser eve error2\n";

# What all reports are.
sub sound($r, $to, $channel) {
	is_deeply $r->{trouble}, [], 'a report as RFC 3464 and 6522 want it';
	is $r->{envelope}{recipients}[0]{sender}[2], '<>', 'its return path is the null one';
	is scalar @{$r->{envelope}{recipients}}, 1, 'it has one recipient';
	is $r->{envelope}{recipients}[0]{channel}, $channel, "in channel $channel";
	like $r->{envelope}{recipients}[0]{dsn}, qr/^NOTIFY=NEVER ORCPT=rfc822;\Q$to\E /, 'of which nobody hears';
	is $r->{header}{to}, $to, "To: $to";
	is $r->{header}{'auto-submitted'}, 'auto-replied', 'Auto-Submitted';
	is $r->{message}{'reporting-mta'}, 'dns; mail.example.org', 'Reporting-MTA';
}

subtest 'a failure' => sub {
	my $q = Reports->queue(script => $fails);
	$q->message([{ user => 'bob', dsn => 'ORCPT=rfc822;Bob+2Bx@example.net' }], envid => 'QQ1', ret => 'FULL');
	my ($status, $out, $err) = $q->run('-1', '-v');
	is $status, 0, 'exit 0' or diag $err;
	my @reports = Reports->all($q);
	is scalar @reports, 1, 'one report';
	my $r = $reports[0];
	sound($r, 'ann@example.org', 'mailbox');
	is $r->{message}{'original-envelope-id'}, 'QQ1', 'Original-Envelope-Id';
	ok $r->{message}{'arrival-date'}, 'Arrival-Date';
	my ($one) = @{$r->{recipients}};
	is $one->{'final-recipient'}, 'rfc822; bob', 'Final-Recipient';
	is $one->{'original-recipient'}, 'rfc822; Bob+x@example.net', 'Original-Recipient' or diag explain $one;
	is $one->{action}, 'failed', 'Action';
	is $one->{status}, '5.1.1', 'Status';
	like $one->{'diagnostic-code'}, qr/^smtp; 450/, 'Diagnostic-Code';
	ok $one->{'last-attempt-date'}, 'Last-Attempt-Date';
	is $r->{original}{subject}, 'message 100', 'the message comes with it';
	is $r->{body}, "text\n", 'with its body, by RET=FULL';
	is_deeply { $q->reports }, {}, 'there is no file in postman/';
	is $q->control(100), undef, 'the message has gone';
	$q = Reports->queue(script => $fails);
	from_nobody($q, { user => 'bob', dsn => 'NOTIFY=NEVER' });
	$q->run('-1');
	is scalar(keys %{{ $q->reports }}), 1, 'also of one that nobody wants to hear of, as a report is';
	is scalar(Reports->all($q)), 0, '... and no report';
};

subtest 'several recipients are in one report, those who do not want it are not' => sub {
	my $q = Reports->queue(script => $fails);
	$q->message(['bob', 'eve', { user => 'eve2', dsn => 'NOTIFY=NEVER' }, { user => 'bob3', dsn => 'NOTIFY=SUCCESS,DELAY' },
		{ user => 'bob4', dsn => 'NOTIFY=FAILURE' }, 'fred']);
	$q->run('-1');
	my @reports = Reports->all($q);
	is scalar @reports, 1, 'one report';
	is_deeply [map { $_->{'final-recipient'} } @{$reports[0]{recipients}}], ['rfc822; bob', 'rfc822; eve', 'rfc822; bob4'], 'of three';
};

subtest 'mail that nobody has tried expires with the reason, and says nothing of an attempt' => sub {
	for my $case ([{ user => 'bob', channel => 'elsewhere' }, 'no clause serves it'],
		[{ user => 'bob', channel => 'odd' }, 'the transport agent ended before it did anything: runqueue: cannot run /nonexistent/agent: No such file or directory']) {
		my ($to, $why) = @$case;
		my $q = Reports->queue(conf => "*/*\n\texpiry=3d\nlmtp/*\n\tcommand=\"AGENT\"\nodd/*\n\tcommand=\"/nonexistent/agent\"\n");
		$q->message([$to], age => 4 * 86400);
		$q->run('-1');
		my ($r) = Reports->all($q);
		my ($one) = @{$r->{recipients}};
		is "$one->{action} $one->{status}", 'failed 4.4.7', "$to->{channel}: Action, Status";
		is $one->{'diagnostic-code'}, "x-local; delivery time expired: $why", 'Diagnostic-Code';
		is $one->{'last-attempt-date'}, undef, 'no Last-Attempt-Date';
	}
};

# runqueue, which has read a message anew, does not know what it has asked
subtest 'two requests at once about one message make one report' => sub {
	my $q = Reports->queue(script => $fails);
	my $name = $q->message(['bob']);
	is +(zq($q, 'fail', '-m', '5.2.1 the mailbox has moved away', $name))[0], 0, 'failed';
	my $inode = (stat $q->office . "/transport/$name")[1];
	Spool->put($q->dir . '/requests', "settled $name $inode early\n" x 2 . "settled $name $inode final\n");
	local $ENV{ZCONFIG} = $q->dir . '/zenv';
	my $program = "$ENV{BUILD_DIR}/channel/zlmtp-report";
	my $said = qx{'$program' -f '@{[$q->dir]}/var/db/dbases.conf' -P '@{[$q->office]}' < '@{[$q->dir]}/requests' 2>/dev/null};
	is $said, "$name done\n" x 3, 'each is answered';
	is scalar(Reports->all($q)), 1, 'one report';
};

subtest 'an operator fails a recipient while runqueue runs' => sub {
	my $q = Reports->queue(script => $fails);
	my $name = $q->message([{ user => 'dan', dsn => 'ORCPT=rfc822;dan@example.net' }, { user => 'dan2', dsn => 'NOTIFY=NEVER' }], envid => 'QQ2');
	$q->start('-w');
	ok RunQueue::wait_for(sub { 2 == grep { defined $_->{answer} } rows($q, $name) }), 'both are deferred';
	is +(zq($q, 'fail', '-m', '5.2.1 the mailbox has moved away', $name))[0], 0, 'failed';
	ok RunQueue::wait_for(sub { Reports->all($q) }, 55), 'a report comes' or diag Spool::slurp($q->dir . '/err');
	my ($r) = Reports->all($q);
	sound($r, 'ann@example.org', 'mailbox');
	is_deeply [map { [@$_{qw(final-recipient original-recipient action status)}] } @{$r->{recipients}}],
		[['rfc822; dan', 'rfc822; dan@example.net', 'failed', '5.2.1']], 'of the one who wants it';
	like $r->{words} // $r->{text} // Spool::slurp($q->dir . '/report'), qr/the mailbox has moved away/, 'with the words of the operator';
	ok RunQueue::wait_for(sub { !$q->control($name) }), 'and the message goes';
	my ($status) = $q->stop;
	is $status, 0, 'exit 0';
	is_deeply { $q->reports }, {}, 'there is no file in postman/';
};

subtest 'a failure is told while others wait, and once' => sub {
	my $q = Reports->queue(script => $fails);
	$q->message(['bob', 'dan']);
	$q->start('-w');
	ok RunQueue::wait_for(sub { Reports->all($q) }, 55), 'within a minute';
	my ($status, $out, $err) = $q->stop;
	is $status, 0, 'exit 0' or diag $err;
	is $q->tags(100), '- ', 'bob has failed, dan waits';
	is_deeply [map { $_->{tag} } @{$q->control(100)->{diagnostics}}], ['+'], 'the d line says that it was told';
	$q->run('-1');
	is scalar(Reports->all($q)), 1, 'another run does not tell it again';
	$q->script("user dan error2\n");
	$q->run('-1');
	my @reports = Reports->all($q);
	is scalar @reports, 2, 'a second report at the end';
	is_deeply [map { $_->{'final-recipient'} } @{$reports[1]{recipients}}], ['rfc822; dan'], 'is of the other alone';
	is $q->control(100), undef, 'the message has gone';
};

subtest 'with -1 as well' => sub {
	my $q = Reports->queue(script => $fails);
	$q->message(['bob', 'dan']);
	$q->run('-1');
	is scalar(Reports->all($q)), 1, 'a report at once';
	is_deeply [map { $_->{tag} } @{$q->control(100)->{diagnostics}}], ['+'], 'and it is remembered';
};

subtest 'a failure that nobody told before a crash' => sub {
	my $q = Reports->queue(script => "user . deferred\n");
	$q->message([{ user => 'bob', tag => '-' }, 'dan']);
	$q->run('-1');
	my @reports = Reports->all($q);
	is scalar @reports, 1, 'is told by the next run';
	is $reports[0]{recipients}[0]{'final-recipient'}, 'rfc822; bob', 'of whom it is';
	$q->run('-1');
	is scalar(Reports->all($q)), 1, 'once, also without a d line of the agent';
};

subtest 'success where it is asked for' => sub {
	my $q = Reports->queue(script => "user bob ok 250 2.1.5 here you are\nuser cat ok3\nuser dan ok\n");
	$q->message([{ user => 'bob', dsn => 'NOTIFY=SUCCESS' }, { user => 'cat', dsn => 'NOTIFY=SUCCESS' }, 'dan'], ret => 'FULL');
	$q->run('-1');
	my @reports = Reports->all($q);
	is scalar @reports, 1, 'one report';
	sound($reports[0], 'ann@example.org', 'mailbox');
	is_deeply [map { "$_->{'final-recipient'} $_->{action} $_->{status}" } @{$reports[0]{recipients}}],
		['rfc822; bob delivered 2.0.0'], 'of one: the server of another tells of it, and one did not ask';
	is $reports[0]{types}[2], 'text/rfc822-headers', 'the header comes back alone';
	is $q->control(100), undef, 'the message has gone';
};

subtest 'expired mail' => sub {
	my $q = Reports->queue(script => "user . deferred\n", conf => "lmtp/*\n\tinterval=1s expiry=1h command=\"AGENT\"\n");
	$q->message(['bob'], age => 7200);
	$q->run('-1');
	my @reports = Reports->all($q);
	is scalar @reports, 1, 'one report';
	is_deeply [map { "$_->{action} $_->{status}" } @{$reports[0]{recipients}}], ['failed 4.2.2'], 'failed, for a reason that might have gone away';
	is_deeply { $q->reports }, {}, 'there is no file in postman/';
};

subtest 'a sender elsewhere' => sub {
	my $q = Reports->queue(script => $fails);
	$q->spool->add(name => 100, body => "text\n", groups => [{ sender => ['smtp', 'x.test', 'zoe@x.test'], header => "Subject: hi\n",
		recipients => [{ channel => 'lmtp', host => '-', user => 'bob' }] }]);
	$q->run('-1');
	my ($r) = Reports->all($q);
	sound($r, 'zoe@x.test', 'smtp');
	is $r->{envelope}{recipients}[0]{host}, 'x.test', 'for host x.test';
};

# A message of the null sender to these.
sub from_nobody($q, @recipients) {
	$q->spool->add(name => 100, body => "text\n", groups => [{ sender => ['error', '<>', '<>'], header => "Subject: hi\n",
		recipients => [map { { channel => 'lmtp', host => '-', %$_ } } @recipients] }]);
}

subtest 'no report to nobody' => sub {
	my $q = Reports->queue(script => $fails);
	from_nobody($q, { user => 'bob' });
	$q->run('-1');
	is scalar(Reports->all($q)), 0, 'no report';
	is scalar(keys %{{ $q->reports }}), 1, 'but a file in postman/';
	is $q->control(100), undef, 'the message has gone';
};

subtest 'postmaster gets a copy of it, but not of what failed for postmaster' => sub {
	my $q = Reports->queue(script => $fails, router => "postmaster=postmaster\@example.org\n");
	from_nobody($q, { user => 'bob' });
	$q->run('-1');
	my @reports = Reports->all($q);
	is scalar @reports, 1, 'one report';
	sound($reports[0], 'postmaster@example.org', 'mailbox');
	is scalar(keys %{{ $q->reports }}), 1, 'and a file in postman/';
	$q = Reports->queue(script => "user bob error2 ->> 550 5.2.1 disabled\n", router => "postmaster=postmaster\@example.org\n");
	from_nobody($q, { user => 'bob', dsn => 'ORCPT=rfc822;postmaster@example.org' });
	$q->run('-1');
	is scalar(Reports->all($q)), 0, 'no loop';
	is scalar(keys %{{ $q->reports }}), 1, 'a file in postman/';
};

subtest 'the maps cannot tell' => sub {
	my $q = Reports->queue(script => $fails);
	my $map = $q->dir . '/var/db/dbases.conf';
	my $good = Spool::slurp($map);
	Spool->put($map, "fqdnroutes btree - - /nowhere/routes -lm%:\n");
	$q->message(['bob']);
	my ($status, $out, $err) = $q->run('-1');
	is $status, 69, 'exit 69';
	is $q->tags(100), '-', 'the message stays';
	is scalar(Reports->all($q)), 0, 'there is no report';
	is_deeply { $q->reports }, {}, 'and no file in postman/';
	like $err, qr/^runqueue: 100: the report to its sender cannot be made now: .*; it is tried again$/m, 'a line says so' or diag $err;
	my $many = Reports->queue(script => $fails);
	Spool->put($many->dir . '/var/db/dbases.conf', "fqdnroutes btree - - /nowhere/routes -lm%:\n");
	$many->message(['bob']) for 1 .. 40;
	(undef, undef, my $said) = $many->run('-1');
	is scalar(() = $said =~ /cannot be made now/g), 10, 'of very many the log has ten a minute';
	like $said, qr/^runqueue: \d+ more times a report could not be made; "zlmtp-queue list state=report" has the reasons$/m, 'and how many more there were';
	is scalar(grep { $_->{answer} =~ /could not tell/ } rows($many, 'state=report')), 40, 'which has them';
	Spool->put($map, $good);
	($status, $out, $err) = $q->run('-1');
	is $status, 0, 'exit 0 when they can' or diag $err;
	is scalar(Reports->all($q)), 1, 'and the report is there';
	is $q->control(100), undef, 'the message has gone';
};

# Mail of that sender, in which everybody has failed; `ago` is the time of the failure.
sub failed_from($q, $sender, $ago = 0) {
	$q->spool->add(name => 100, body => "text\n", groups => [{ sender => ['local', $sender, $sender], header => "Subject: hi\n",
		recipients => [{ channel => 'lmtp', host => '-', user => 'bob', tag => '-' }] }]);
	my $path = $q->office . '/transport/100';
	my $c = $q->control(100);
	my $r = $c->{recipients}[0];
	Spool->put($path, $c->{bytes} . "d $r->{offset}:$r->{header_offset}:-1::" . (time - $ago) .
		"\tbob\x01failed\x015.1.1\x01smtp; 550 5.1.1 no\x01\x01lmtp\t\r->> 550 5.1.1 no\n");
}

for my $sender ('/etc/passwd', '"|/bin/true"', '|true', '"|true"@mail.example.org', '"|x y"') {
	subtest "a sender that is no mailbox: $sender" => sub {
		my $q = Reports->queue;
		failed_from($q, $sender);
		my ($status, $out, $err) = $q->run('-1');
		is "$status$err", '0', 'is nobody';
		is scalar(keys %{{ $q->reports }}), 1, 'a file in postman/';
		is $q->control(100), undef, 'the message has gone';
		is scalar(Reports->all($q)), 0, 'no report';
	};
}

# The maps cannot tell, until they are mended.
sub blind($q) { rename $q->dir . '/var/db/routes', $q->dir . '/var/db/away' or die }
sub mend($q) { rename $q->dir . '/var/db/away', $q->dir . '/var/db/routes' or die }

subtest 'a message that waits for its report is seen, tried again and removed' => sub {
	my $q = Reports->queue;
	blind($q);
	failed_from($q, 'ann@example.org', 3600);
	my $seen = sub ($why) {
		my ($status, $out, $err) = zq($q, 'list');
		is "$status$err", '0', 'list';
		like $out, qr{^S\S+ +\S+ +report +ann\@example\.org +lmtp/- +bob +$why}m, 'with id, state and reason' or diag $out;
		like $out, qr{^0 recipients in 0 messages, 1 message to be reported, the oldest }m, 'counted';
		my ($row) = rows($q, 'state=report');
		is_deeply [@$row{qw(file state recipient)}], [100, 'report', 'bob'], 'JSON';
		($status, $out) = zq($q, 'summary');
		like $out, qr{1 message to be reported}, 'summary';
		($status, $out) = zq($q, 'show', $row->{spool});
		like $out, qr{^  State: +failed(?:, its report is tried again in \w+)?\n  Answer: +$why}m, 'show';
		return $row->{spool};
	};
	my $id = $seen->('settled, its report is not sent yet$');
	is +(zq($q, $_, 'all'))[0], 1, "$_ is not for it" for 'hold', 'fail', 'release';
	my ($status, $out, $err) = $q->run('-1');
	is $status, 69, 'one pass';
	like $err, qr/: the report to its sender cannot be made now: .*; it is tried again$/m, 'says so';
	$seen->('the maps ');
	$q->start('-w');
	ok RunQueue::wait_for(sub { my ($row) = rows($q, 'state=report'); ($row->{next_try} // 0) > time }), 'with the next try' or diag explain rows($q);
	$seen->('the maps ');
	($status, $out, $err) = zq($q, 'hold', $id);
	is $status, 1, 'hold says no';
	like $err, qr/: all its recipients are settled; it waits for its report$/, 'and why';
	mend($q);
	($status, $out, $err) = zq($q, 'retry', $id);
	is "$status$err", '0', 'retry';
	like $out, qr/^\Q$id\E: due now, from ann\@example.org, 1 recipient$/, 'says so';
	ok RunQueue::wait_for(sub { Reports->all($q) }), 'the report comes';
	ok RunQueue::wait_for(sub { !$q->control(100) }), 'and the message goes';
	$q->stop;

	for my $runs (0, 1) {
		$q = Reports->queue;
		blind($q);
		failed_from($q, 'ann@example.org');
		if ($runs) {
			$q->start('-w');
			ok RunQueue::wait_for(sub { my ($row) = rows($q, 'state=report'); $row && $row->{answer} =~ /maps/ }), 'it is seen';
		}
		($status, $out, $err) = zq($q, 'remove', 'state=report');
		is "$status$err", '0', 'removed' . ($runs ? ' by runqueue' : '');
		is $q->control(100), undef, 'the message has gone';
		is_deeply [$q->names], [], 'with its files';
		$q->stop if $runs;
	}
};

subtest 'a report that cannot be made until it is as old as mail gets' => sub {
	for my $case ([7200, 1], [1800, 0]) {
		my ($ago, $told) = @$case;
		my $q = Reports->queue(conf => "lmtp/*\n\tinterval=1s expiry=1h command=\"AGENT\"\n");
		blind($q);
		failed_from($q, 'ann@example.org', $ago);
		$q->start('-w');
		ok RunQueue::wait_for(sub { my ($row) = rows($q, 'state=report'); !$row || ($row->{answer} // '') =~ /maps/ }), 'tried';
		ok RunQueue::wait_for(sub { keys %{{ $q->reports }} }), 'a file for the administrator' if $told;
		ok RunQueue::wait_for(sub { !$q->control(100) }), 'the message has gone' if $told;
		my ($status, $out, $err) = $q->stop;
		like $err, qr/: the report to its sender could not be made before it expired, too: .*; a file in postman\/ has the failures$/m, 'said so' if $told;
		is scalar(keys %{{ $q->reports }}), $told, "failed $ago s ago";
	}
};

# A queue whose runqueue has another zlmtp-report beside it, a shell script.
sub beside($script) {
	my $q = Reports->queue;
	my $bin = $q->dir . '/bin';
	my $build = $ENV{BUILD_DIR} // '.';
	mkdir $bin;
	system('cp', "$build/channel/runqueue", $bin) == 0 or die;
	Spool->put("$bin/zlmtp-report", "#!/bin/sh\n$script\n");
	chmod 0755, "$bin/zlmtp-report";
	$q->{before} = ['sh', '-c', "shift; exec '$bin/runqueue' \"\$@\"", 'x'];
	return $q;
}

subtest 'a zlmtp-report whose answer has no end' => sub {
	my $q = beside('exec tr \'\0\' x < /dev/zero');
	failed_from($q, 'ann@example.org');
	my ($status, undef, $err) = $q->run('-1');
	is $status, 69, 'runqueue ends, with trouble';
	like $err, qr/^runqueue: zlmtp-report sends an answer without an end$/m, 'said so';
	ok $q->control(100), 'the message waits';
};

subtest 'a zlmtp-report that says nothing' => sub {
	my $q = beside("trap '' TERM\nexec sleep 600");
	failed_from($q, 'ann@example.org');
	$q->start('-w', '-O', 'silence=1s');
	my $said = sub ($what) { RunQueue::wait_for(sub { (Spool::slurp($q->dir . '/err') // '') =~ $what }, 40) };
	ok $said->(qr/^runqueue: zlmtp-report \d+ has sent nothing for \d+ s, with 1 open request; it is stopped$/m), 'is told of';
	ok $said->(qr/^runqueue: zlmtp-report was killed by signal 9$/m), 'and ended';
	ok RunQueue::wait_for(sub { my ($row) = rows($q, 'state=report'); ($row->{answer} // '') =~ /^zlmtp-report was killed/ }), 'the message waits';
	ok $said->(qr/has sent nothing.*has sent nothing/s), 'it is tried again';
	kill TERM => $q->{pid};
	my ($status) = $q->finish(15);
	is $status, 0, 'runqueue ends all the same';
};

subtest 'a zlmtp-report that cannot be started' => sub {
	my $seen = 0;
	# fewer do not suffice for the journal of intake; an agent that is not gone yet has one, too, and there are two
	for my $limit (7 .. 11) {
		# whoever runs the tests may have left them descriptors
		my $q = Reports->queue(before => ['sh', '-c', join(' ', 'exec', map { "$_>&-" } 3 .. 9) . "; ulimit -n $limit; exec \"\$@\"", 'x'], script => $fails,
			conf => join '', map { "$_/*\n\tinterval=1s retries=1 command=\"AGENT\"\n" } 'lmtp', 'smtp');
		$q->message(['bob', { channel => 'smtp', user => 'carol' }]);
		my ($status, $out, $err) = $q->run('-1');
		is $status, $q->control(100) ? 69 : 0, "one pass with $limit descriptors ends, with trouble if the message waits" or diag $err;
		$seen += $err =~ /^runqueue: cannot start \S+zlmtp-report: Too many open files$/m;
	}
	cmp_ok $seen, '>=', 1, 'and says so';
};

subtest 'a sender that does not exist' => sub {
	my $q = Reports->queue(script => $fails, routes => "ann\@example.org error!nobody!gone\n");
	$q->message(['bob']);
	my ($status) = $q->run('-1');
	is scalar(Reports->all($q)), 0, 'no report';
	is scalar(keys %{{ $q->reports }}), 1, 'a file in postman/';
	is $q->control(100), undef, 'the message has gone';
};

subtest 'without maps' => sub {
	my $q = Reports->queue(script => $fails);
	unlink $q->dir . '/var/db/dbases.conf';
	$q->message(['bob']);
	$q->message(['bob']);
	my ($status, $out, $err) = $q->run('-1');
	is $status, 0, 'exit 0';
	my $path = $q->dir . '/var/db/dbases.conf';
	is $err, "runqueue: no reports go to senders without $path; failures are reported in files in postman/\n", 'one line says so';
	is scalar(keys %{{ $q->reports }}), 2, 'files in postman/';
	Spool->put($path, "fqdnroutes unordered - - @{[$q->dir]}/var/db/routes -lm%:\n");
	rename $path, $q->dir . '/other.conf';
	$q->message(['bob']);
	$q->run('-1', '-F', $q->dir . '/other.conf');
	is scalar(Reports->all($q)), 1, '-F names other maps';
};

subtest 'forms' => sub {
	my $q = Reports->queue(script => $fails, forms => { failure => "Subject: Leider nicht\n\nAn \$sender:\n\$recipients\n" });
	$q->message(['bob']);
	$q->run('-1');
	my ($r) = Reports->all($q);
	is $r->{header}{subject}, 'Leider nicht', 'subject';
	like $r->{words}, qr/^An ann\@example\.org:/, 'words';
	$q = Reports->queue(script => $fails, forms => { failure => "\xff\xfe damaged" });
	$q->message(['bob']);
	my ($status, $out, $err) = $q->run('-1');
	($r) = Reports->all($q);
	is $r->{header}{subject}, 'Your mail could not be delivered', 'of a damaged one: built-in words';
	like $err, qr/^zlmtp-report: [^\n]*forms\/failure[^\n]*\n\z/, 'and one line';
};

done_testing;
