#!/usr/bin/perl
# runqueue, one pass: what becomes of mail after each kind of report, and of what it finds in the spool.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Cwd ();
use POSIX ();
use Fcntl ();
use RunQueue;
use Tmux;
use ZlmtpQueue;

my $build = Cwd::abs_path($ENV{BUILD_DIR} // '.');

sub one_pass($q, @more) { $q->run('-1', '-v', @more) }

subtest 'delivered mail is removed' => sub {
	my $q = RunQueue->new(script => "user a ok\nuser b ok2\nuser c ok3\n");
	$q->message(['a']);
	$q->message(['b', 'c'], name => 'Y/K/4711002');
	my %id = map { $_->{file} => $_->{spool} } rows($q);
	my ($status, $out, $err) = one_pass($q);
	is "$status $err", '0 ', 'exit 0 without complaints';
	is_deeply [$q->names, glob $q->office . '/*/Y/K/*'], [], 'nothing is left';
	like $out, qr/^delivered 3, failed 0, deferred 0, held 0; \d+\.\d messages\/s\n\z/m, 'the sums at the end';
	cmp_ok +($out =~ /; ([\d.]+) messages\/s$/m)[0], '<=', 2, 'a pass of less than a second says nothing of more messages than it had';
	is_deeply [sort grep { !/^delivered \d/ } split /^/, $out], [sort map { "$id{$_->[0]} $_->[1] lmtp/- ok: ->> answer\n" }
		[100, 'a'], ['Y/K/4711002', 'b'], ['Y/K/4711002', 'c']], 'a line for each outcome, with the id of the listing';
	is_deeply { $q->reports }, {}, 'no reports';
};

subtest 'progress on a terminal' => sub {
	my $empty = RunQueue->new;
	is qx(script -qec "$build/channel/runqueue -1 -f ${\ $empty->dir}/scheduler.conf -P ${\ $empty->office}" /dev/null </dev/null) =~ s/\r\n/\n/gr =~ s/^runqueue: [^\n]*\n//mgr,
		"delivered 0, failed 0, deferred 0, held 0; 0.0 messages/s\n", 'none where there is nothing to be seen';
	my $q = RunQueue->new(script => "pause 0.3\nuser ^a ok\nuser ^b deferred mailbox full\n");
	$q->message(["a$_"]) for 1 .. 8;
	$q->message(["b$_"]) for 1 .. 4;
	my $t = Tmux->new(rows => 10, columns => 100);
	$t->type("ZCONFIG=${\ $q->dir}/zenv $build/channel/runqueue -1 -P ${\ $q->office}; echo status \$?");
	ok $t->shows(qr/^delivered \d+, failed 0, to go \d+, held 0; \d+\.\d messages\/s$/m), 'while it runs';
	ok $t->shows(qr/^status \d+$/m), 'it ends';
	like $t->screen, qr/^delivered 8, failed 0, deferred 4, held 0; \d+\.\d messages\/s\nstatus 0$/m, 'the sums at the end';
	unlike $t->screen, qr/to go/, 'in the place of the progress';
};

subtest 'oldest first' => sub {
	my $q = RunQueue->new;
	my @names = map { $q->message(['a'], age => $_) } 50, 300, 100, 7, 200;
	one_pass($q);
	is_deeply [$q->jobs], [@names[1, 4, 2, 0, 3]], 'jobs in the order in which the messages came';
};

subtest 'deferred mail stays as it was' => sub {
	my $q = RunQueue->new(script => "user a deferred mailbox full\n");
	my $name = $q->message(['a', 'b']);
	my $before = $q->control($name)->{bytes};
	my ($status, $out, $err) = one_pass($q);
	is "$status $err", '0 ', 'exit 0: that is no trouble of ours';
	is $q->tags($name), ' +', 'one is still to be delivered';
	like $out, qr/ a lmtp\/- deferred: mailbox full$/m, 'and the reason was printed';
	$q->script('');
	one_pass($q);
	is_deeply [$q->names], [], 'the next pass delivers it';
};

subtest 'failures are reported once, when everything is settled' => sub {
	my $q = RunQueue->new(script => "user a error2 \r<<- RCPT\r->> 550 5.1.1 no such user\nuser b deferred\nuser c error 552 too large\n");
	my $name = $q->message(['a', 'b', 'c', 'd']);
	my ($status) = one_pass($q);
	is $status, 0, 'exit 0';
	is $q->tags($name), '- -+', 'marks';
	is_deeply { $q->reports }, {}, 'no report as long as somebody is open';
	my ($logged) = grep { $_->{id} == $q->control($name)->{recipients}[2]{offset} } @{$q->control($name)->{diagnostics}};
	is $logged->{notary}[0], 'c', 'a failure that the agent did not write down is written down';
	is $logged->{notary}[5] =~ s/\d+/PID/r, 'scripted[PID]', 'with all six fields';
	like $logged->{text}, qr/552 too large/, 'and the words';
	$q->script('');
	one_pass($q);
	is_deeply [$q->names], [], 'then the message goes';
	my %reports = $q->reports;
	is keys %reports, 1, 'one report';
	my ($file, $text) = %reports;
	like $file, qr/^S\d+[\w=-]+\.failed$/, 'named after the message';
	like $text, qr/^Recipient: +a$/m, 'the first who failed';
	like $text, qr/^Status: +5\.1\.1\nAnswer: +smtp; 450 \(not now\)\nServer: +\(UNIX:\/nowhere\)$/m, 'status and answer';
	like $text, qr/^    ->> 550 5\.1\.1 no such user$/m, 'what the server said';
	like $text, qr/^Recipient: +c$/m, 'the second';
	unlike $text, qr/^Recipient: +[bd]$/m, 'not those who got it';
	like $text, qr/^    Subject: message $name$/m, 'the header';
	like $text, qr/^Sender: +ann\@example\.org$/m, 'the sender';
};

subtest 'who does not want to be told is not' => sub {
	my $q = RunQueue->new(script => "user . error2\n");
	$q->message([{ user => 'a', dsn => 'NOTIFY=NEVER' }]);
	$q->message([{ user => 'b', dsn => 'NOTIFY=SUCCESS,DELAY' }]);
	$q->message([{ user => 'c', dsn => 'NOTIFY=NEVER' }, { user => 'd' }]);
	$q->message([{ user => 'e', dsn => 'NOTIFY=PERHAPS' }]);
	one_pass($q);
	is_deeply [$q->names], [], 'all of it is removed';
	my $told = join '', sort map { /^Recipient: +(.)$/mg } values %{{ $q->reports }};
	is $told, 'de', 'those who did not say so clearly are told';
};

subtest 'a report that cannot be written keeps the message' => sub {
	my $q = RunQueue->new(script => "user . error2\n");
	my $name = $q->message(['a']);
	rename $q->office . '/postman', $q->office . '/away';
	my ($status, undef, $err) = one_pass($q);
	is $status, 69, 'exit 69';
	like $err, qr/^runqueue: $name: cannot write \.\.\/postman\/S\S+\.failed: No such file or directory; kept/m, 'a line that says so';
	is scalar(() = $err =~ /; kept/g), 1, 'once, however often it is tried';
	is $q->tags($name), '-', 'it is still there';
	rename $q->office . '/away', $q->office . '/postman';
	($status) = one_pass($q);
	is $status, 0, 'later it can';
	is_deeply [$q->names], [], 'and the message goes';
	is scalar(keys %{{ $q->reports }}), 1, 'with its report';
};

subtest 'a destination in trouble is left alone' => sub {
	for my $word (qw(retryat deferall)) {
		my $q = RunQueue->new(script => "user . $word connection refused\n");
		$q->message(['a']) for 1 .. 20;
		my ($status) = one_pass($q);
		is $status, 0, "$word: exit 0";
		is scalar($q->jobs), 1, "$word: one job tells, the others are not tried";
		is scalar($q->names), 40, "$word: all mail stays";
	}
};

subtest 'mail that waited too long fails' => sub {
	my $conf = "lmtp/*\n\tinterval=1m retries=1 expiry=3d command=\"AGENT\"\n";
	my $q = RunQueue->new(script => "user . deferred \r<<- RCPT\r->> 452 mailbox full\n", conf => $conf);
	my $old = $q->message(['a', { user => 'b', dsn => 'NOTIFY=NEVER' }], age => 5 * 86400);
	my $new = $q->message(['c'], age => 86400);
	my ($status, $out) = one_pass($q);
	is $status, 0, 'exit 0';
	is_deeply [$q->names], [$new, $new], 'the new one waits on';
	my ($text) = values %{{ $q->reports }};
	like $text, qr/^Recipient: +a$/m, 'the sender is told';
	like $text, qr/^Status: +4\.2\.2$/m, 'with the last status';
	like $text, qr/^    expired after 5 days, problem was:\n    <<- RCPT\n    ->> 452 mailbox full$/m, 'and the last words';
	unlike $text, qr/Recipient: +b$/m, 'who wants to be told';
	like $out, qr/ a lmtp\/- expired: ->> 452 mailbox full$/m, 'printed as well';

	$q = RunQueue->new(script => "user . retryat no connection\n", conf => $conf);
	$q->message(['a'], age => 5 * 86400) for 1 .. 3;
	one_pass($q);
	is_deeply [$q->names], [], 'what waits behind a destination in trouble counts as tried';
	is scalar(keys %{{ $q->reports }}), 3, 'a report for each';
};

subtest 'locks' => sub {
	my $dead = fork // die;
	POSIX::_exit(0) unless $dead;
	waitpid $dead, 0;
	my $q = RunQueue->new;
	my $stale = $q->message([{ user => 'a', tag => '~', pid => $dead }]);
	my $live = $q->message([{ user => 'b', tag => '~', pid => $$ }, { user => 'c' }]);
	my $nobody = $q->message([{ user => 'd', tag => '~', pid => '' }]);
	my $before = $q->control($live)->{bytes};
	my ($status, undef, $err) = one_pass($q);
	is_deeply [$q->names], [$live, $live], 'locks of the dead are no obstacle';
	is $q->control($live)->{bytes}, $before, 'a file in which somebody alive holds one is left alone';
	like $err, qr/^runqueue: $live: recipient at \d+ is locked by process $$;/m, 'and that is said';
};

subtest 'the number in a lock is another process by now' => sub {
	my $q = RunQueue->new;
	my $daemon = fork // die;
	if ($daemon == 0) { sleep 60; POSIX::_exit(0) }
	my @names = map { $q->message([{ user => "u$_", tag => '~', pid => $daemon }, { user => "v$_" }]) } 1 .. 4;
	# before the crash
	utime time - 3600, time - 3600, $q->office . "/transport/$_" for @names[0, 1];
	# and while the clock was ahead of its time
	utime time + 400 * 86400, time + 400 * 86400, $q->office . "/transport/$_" for @names[2, 3];
	my ($listed, $list) = $q->run('-l');
	is "$listed", 0, 'listed';
	unlike $list, qr/active|locked/, 'as mail that waits';
	my ($status, undef, $err) = one_pass($q);
	is "$status $err", '0 ', 'exit 0';
	is_deeply [$q->names], [], 'it is delivered';
	$q->message([{ user => 'a', tag => '~', pid => $daemon }]);
	($listed, $list) = $q->run('-l');
	like $list, qr/ active .* a +locked by process $daemon$/m, 'a lock that it may have written is shown with its process';
	kill KILL => $daemon;
	waitpid $daemon, 0;
};

subtest 'marks that an agent could not write' => sub {
	my $q = RunQueue->new(script => "user a stuck\nuser b deferred\nuser c stuck-failed\nuser d stuck-deferred\n");
	my $one = $q->message(['a']);
	my $mixed = $q->message(['a', 'b', 'c', 'd']);
	my ($status, undef, $err) = one_pass($q);
	is "$status $err", '0 ', 'no trouble';
	is $q->control($one), undef, 'what was delivered is removed';
	is $q->tags($mixed), '+ - ', 'and what was reported is marked';
	$q->script('');
	one_pass($q);
	is_deeply [$q->names], [], 'the next pass does the rest';
	is_deeply [map { $_->{rest} } grep { $_->{rest} =~ / ok3$/ } $q->log('recipient')], ["$mixed b ok3", "$mixed d ok3"],
		'and nobody got anything twice';
	is scalar(keys %{{ $q->reports }}), 1, 'the failure is reported';
};

subtest 'a message from the beginning of time' => sub {
	my $q = RunQueue->new(script => "user . deferred \r->> 452 full\n",
		conf => "lmtp/*\n\tinterval=1m retries=1 expiry=3d command=\"AGENT\"\n");
	my $name = $q->message(['a'], age => time - 100);
	my $tomorrow = $q->message(['b'], age => -86400 * 30);
	my ($status) = one_pass($q);
	is_deeply [$q->names], [($name) x 2, ($tomorrow) x 2], 'does not expire after one try';
	is_deeply { $q->reports }, {}, 'and nobody is told so';
};

subtest 'a host that would be something else in the command' => sub {
	for my $case (['$host', '-lx', 1], ['-F ${host}', '-lx', 1], ['-l${LOGDIR}/${host}', '../101', 1], ['${host}', 'a/../../b', 1],
		['$host', '..', 1], ['$host', '-', 0], ['-F$host', 'UNIX:/run/x', 0], ['', '-lx', 0], ['', '../101', 0]) {
		my ($word, $host, $held) = @$case;
		my $q = RunQueue->new;
		$q->conf("lmtp/*\n\tcommand=\"" . $q->agent . " -- $word\"\n");
		my @names = map { $q->message([{ user => 'a', host => $host }]) } 1 .. 2;
		my ($status, undef, $err) = one_pass($q);
		is $status, $held ? 69 : 0, "$host in \"$word\": exit";
		is_deeply [$q->names], $held ? [map { ($_) x 2 } @names] : [], $held ? 'held' : 'delivered';
		is scalar(my @started = $q->log('start')), $held ? 0 : 1, 'agents';
		my $line = qr/\Arunqueue: no command for channel lmtp, host \Q$host\E, as it .*: 2 messages are left in the queue\n\z/;
		like $err, $held ? $line : qr/\A\z/, 'one line';
	}
};

subtest 'files that are no files' => sub {
	for my $name ('.pid.scheduler', '.state.runqueue', '.pid.runqueue', 'transport/555', 'queue/100') {
		for my $kind ('fifo', 'zero', 'directory') {
			my $q = RunQueue->new;
			$q->message(['a']);
			my $path = $q->office . "/$name";
			unlink $path;
			next if $kind eq 'zero' && system('mknod', $path, 'c', 1, 5) != 0;
			POSIX::mkfifo($path, 0600) or die if $kind eq 'fifo';
			mkdir $path if $kind eq 'directory';
			$q->start('-1');
			my ($status, undef, $err) = $q->finish(10);
			my %expect = ('.pid.runqueue' => 73, 'transport/555' => 69, 'queue/100' => 69);
			is $status, $expect{$name} // 0, "$kind as $name: exit";
			$q->start('-l');
			is +($q->finish(10))[0], $name =~ m{/} ? 65 : 0, "$kind as $name: list" if $name ne '.state.runqueue';
		}
	}
	my $q = RunQueue->new;
	$q->message(['a']);
	unlink $q->dir . '/scheduler.conf';
	POSIX::mkfifo($q->dir . '/scheduler.conf', 0600);
	$q->start('-1');
	my ($status, undef, $err) = $q->finish(10);
	is $status, 66, 'a pipe as scheduler.conf';
	like $err, qr/scheduler\.conf: not a regular file$/m, 'is named';
};

# Whoever restores may take long, on a disk that is slow or does not answer.
subtest 'told to stop while another program restores the journal' => sub {
	for my $mode ('-w', '-1') {
		my $q = RunQueue->new;
		$q->message(['a']);
		open my $journal, '+>', $q->office . '/.journal.intake' or die "$!\n";
		# struct flock of a 64-bit system: type, whence, start, length, process
		my $lock = pack 's! s! x![q] q q i x![q]', Fcntl::F_WRLCK(), 0, 0, 2, 0;
		fcntl $journal, Fcntl::F_SETLK(), $lock or die "$!\n";
		my $pid = $q->start($mode);
		ok RunQueue::wait_for(sub { (readlink "/proc/$pid/exe") =~ /runqueue$/ && (Spool::slurp("/proc/$pid/status") =~ /^SigBlk:\s*(\w+)/m)[0] =~ /[4-7c-f]...$/ }), "$mode: it takes its signals while it waits";
		kill TERM => $pid;
		my ($status, undef, $err) = $q->finish(10);
		is $status, 0, '... and ends with 0';
		is $err, '', '... without a word';
		is scalar(@{[$q->names]}), 2, '... and the mail stays';
		is_deeply [$q->log('start')], [], '... untried, as it may be damaged';
	}
};

subtest 'an agent that never stops talking' => sub {
	my $q = RunQueue->new(script => join '', map { "job $_ flood\n" } 1 .. 3);
	$q->message(['a']) for 1 .. 3;
	my ($status, undef, $err) = one_pass($q);
	is_deeply [$q->names], [], 'delivers';
	my @lines = split /\n/, $err;
	cmp_ok scalar @lines, '<=', 102, 'and does not fill the log';
	like $err, qr/^runqueue: agent \d+ \(lmtp\): \d+ more lines are left out here$/m, 'which says how much it left out';
};

subtest 'an agent that dies' => sub {
	for my $how (['kill', ' '], ['marked', '+']) {
		my $q = RunQueue->new(script => "job 3 $how->[0]\n");
		$q->message(['a'], age => 100 - $_) for 1 .. 6;
		my ($status, $out, $err) = one_pass($q);
		is scalar(() = $err =~ /^runqueue: agent \d+ \(lmtp\) was killed by signal 9$/mg), 2, "$how->[0]: two are missed";
		is $status, 69, "$how->[0]: exit 69";
		is scalar(my @started = $q->log('start')), 2, "$how->[0]: another one does what it had not begun";
		if ($how->[1] eq '+') {
			is_deeply [$q->names], [], 'what it had marked is done';
			next;
		}
		is_deeply [$q->names], [102, 102, 105, 105], 'what it had begun stays';
		is join('', map { $q->tags($_) } 102, 105), '  ', 'and is not locked';
		$q->script('');
		($status) = one_pass($q);
		is $status, 0, 'the next pass has no trouble';
		is_deeply [$q->names], [], 'and delivers what was left';
		my %got;
		$got{$_->{rest}}++ for $q->log('recipient');
		is scalar(grep { $_ != 1 } values %got), 0, 'nobody got anything twice';
	}
};

subtest 'an agent that cannot work' => sub {
	for my $case (['command="/nowhere/agent"', qr/agent \d+ \(lmtp\): \S+: cannot run \/nowhere\/agent: No such file/],
		['command="lmtp ${NOWHERE}/x"', qr/channel lmtp, host -: the command needs \$\{NOWHERE\}, which ZENV does not have/],
		['command="/bin/false"', qr/agent \d+ \(lmtp\) ended with status 1/]) {
		my $q = RunQueue->new(conf => "lmtp/*\n\t$case->[0]\n");
		my $name = $q->message(['a']);
		my ($status, undef, $err) = one_pass($q);
		is $status, 69, "$case->[0]: exit 69";
		like $err, $case->[1], "$case->[0]: a line that says why";
		is $q->tags($name), ' ', "$case->[0]: the mail waits";
		is scalar(() = $err =~ /ended with status/g), $case->[0] =~ /\$/ ? 0 : 1, "$case->[0]: tried once";
	}
};

subtest 'recipients of a message that expire together are written down by one sync' => sub {
	plan skip_all => 'no strace here' unless -x '/usr/bin/strace';
	local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
	my $q = RunQueue->new(script => "user . deferred 452 mailbox full\n",
		conf => "lmtp/*\n\tinterval=1m retries=1 expiry=3d command=\"AGENT\"\n");
	$q->{before} = ['/usr/bin/strace', '-o', $q->dir . '/trace', '-e', 'trace=fdatasync,write,pwrite64'];
	$q->message([map { "user$_" } 1 .. 500], age => 5 * 86400);
	my ($status, $out, $err) = one_pass($q);
	is $status, 0, 'exit 0' or diag $err;
	my @calls = split /\n/, Spool::slurp($q->dir . '/trace');
	my ($sync) = grep { $calls[$_] =~ /^fdatasync\(/ } 0 .. $#calls;
	is scalar(grep { /^fdatasync\(/ } @calls), 1, 'one sync';
	is scalar(grep { /^write\(\d+, "d \d/ } @calls[0 .. $sync]), 1, 'behind one write of them all';
	is scalar(grep { /^pwrite64\(\d+, "-/ } @calls[$sync .. $#calls]), 500, 'before the marks';
	is_deeply [$q->names], [], 'the message has gone';
	like join('', values %{{ $q->reports }}), qr/^Recipient: +user500$/m, 'and the report names them';
};

subtest 'mail that no clause serves expires like all mail, and its report says why' => sub {
	my $q = RunQueue->new(conf => "*/*\n\texpiry=3d\nlmtp/*\n\tcommand=\"AGENT\"\n");
	my $old = $q->message([{ user => 'a', channel => 'elsewhere', host => '-' }], age => 5 * 86400);
	my $new = $q->message([{ user => 'b', channel => 'elsewhere', host => '-' }]);
	my ($status, $out, $err) = one_pass($q, '-v');
	is $status, 69, 'exit 69, as one is left';
	is_deeply [$q->names], [($new) x 2], 'the old one is gone, the new one waits';
	like join('', %{{ $q->reports }}), qr/expired after 5 days, problem was:\n    no clause serves it$/m, 'and the report says why';
	$q = RunQueue->new(conf => "lmtp/*\n\tcommand=\"AGENT\"\n");
	my $kept = $q->message([{ user => 'a', channel => 'elsewhere', host => '-' }], age => 5 * 86400);
	one_pass($q);
	is_deeply [$q->names], [($kept) x 2], 'without expiry it stays';
};

subtest 'mail for nobody' => sub {
	my $q = RunQueue->new(conf => "lmtp/store*\n\tcommand=\"AGENT\"\nnone/*\nheld/* queueonly command=\"AGENT\"\n");
	$q->message([{ user => 'a', channel => 'lmtp', host => 'other' }]);
	$q->message([{ user => 'b', channel => 'elsewhere', host => '-' }]);
	$q->message([{ user => 'c', host => 'Store1' }]);
	my ($status, undef, $err) = one_pass($q);
	is $status, 69, 'exit 69';
	like $err, qr/^runqueue: no clause of scheduler.conf serves channel lmtp, host other: 1 message is left in the queue$/m, 'named';
	like $err, qr/^runqueue: no clause of scheduler.conf serves channel elsewhere, host -: 1 message is left/m, 'and the other one';
	is_deeply [$q->names], [100, 100, 101, 101], 'both stay, the third is delivered';
	$q = RunQueue->new(conf => "lmtp/* queueonly command=\"AGENT\"\n");
	$q->message(['a']);
	($status, undef, $err) = one_pass($q);
	is "$status $err", '0 ', 'queueonly is no trouble';
	is scalar($q->log('start')), 0, 'and nobody is started';
};

subtest 'what is no mail is left alone' => sub {
	my $q = RunQueue->new;
	my $good = $q->message(['a']);
	my %odd = (
		200 => "rubbish\n", 201 => '', 202 => "T \@example.org\n", 203 => "@ 0x0000000f\ni 1\n", 204 => "\0" x 1000,
		205 => "@ 0x00000007\ni 205\no 1\nm\n\n", 206 => "@ 0x00000007\ni 206\no 1\nr           lmtp - a 1\nm\n\n",
		207 => "@ 0x00000007\ni 207\no 1\ns local - a 1\nX          1 lmtp - a 1\nm\n\n", '.208' => 'x', 'x209' => 'x', '210~x' => 'x',
	);
	Spool->put($q->office . "/transport/$_", $odd{$_}) for keys %odd;
	mkdir $q->office . '/transport/300';
	symlink "$odd{200}", $q->office . '/transport/301';
	my ($status, undef, $err) = one_pass($q);
	is $status, 69, 'exit 69, as not all could be tried';
	is Spool::slurp($q->office . "/transport/$_"), $odd{$_}, "$_ is as it was" for sort keys %odd;
	ok !$q->control($good), 'good mail is delivered';
	for my $name (200, 201, 203, 204, 205, 206, 207, '210~x', 300, 301) {
		is scalar(() = $err =~ /^runqueue: \Q$name\E[ :]/mg), 1, "$name is named once";
	}
	is scalar(() = $err =~ /\n/g), 10, 'nothing else is';
};

subtest 'what cannot be read or is damaged is trouble' => sub {
	for my $case (["rubbish\n", 0600, 69], ["T \@example.org\n", 0600, 0], [undef, 0, 69]) {
		my ($text, $mode, $expect) = @$case;
		my $q = RunQueue->new;
		defined $text ? Spool->put($q->office . '/transport/200', $text) : symlink '/nowhere', $q->office . '/transport/200';
		is +(one_pass($q))[0], $expect, ($text // "a link\n") =~ s/\n//r;
	}
	my $q = RunQueue->new;
	symlink '/nowhere', $q->office . '/transport/K';
	is +(one_pass($q))[0], 0, 'a link with the name of a directory is none';
	SKIP: {
		skip 'root reads everything', 1 if $> == 0;
		unlink $q->office . '/transport/K';
		mkdir $q->office . '/transport/K', 0;
		is +(one_pass($q))[0], 69, 'a directory that is closed';
	}
};

subtest 'a message file that is gone' => sub {
	my $q = RunQueue->new(script => "user . error2 no message\n");
	my $name = $q->message(['a']);
	unlink $q->office . "/queue/$name";
	my ($status) = one_pass($q);
	is $status, 0, 'exit 0';
	is_deeply [$q->names], [], 'it fails as the agent says';
	is scalar(keys %{{ $q->reports }}), 1, 'and is reported';
};

subtest 'left over by somebody who was stopped' => sub {
	my $q = RunQueue->new;
	$q->message([{ user => 'a', tag => '+' }, { user => 'b', tag => '-' }]);
	my ($status) = one_pass($q);
	is_deeply [$q->names], [], 'settled mail is removed';
	is scalar(keys %{{ $q->reports }}), 1, 'with its report';
	is scalar($q->log('start')), 0, 'without an agent';
};

subtest 'agents that lie' => sub {
	my $q = RunQueue->new(script => "user a unmarked\nuser b twice\njob 1 strangers\n");
	my $name = $q->message(['a'], age => 10);
	my $other = $q->message(['b']);
	my ($status, undef, $err) = one_pass($q);
	is $status, 69, 'exit 69';
	is $q->tags($name), ' ', 'reported but not marked: it stays';
	like $err, qr/^runqueue: $name: the recipient at \d+ was reported settled, but has no mark/m, 'and that is said';
	like $err, qr/ reports on 4242424242\/17, which it was not asked for$/m, 'a report on nothing is refused';
	like $err, qr/ reports on $name\/13, which it was not asked for$/m, 'one on a wrong place as well';
	like $err, qr/ reports on $other\/\d+, which it was not asked for$/m, 'and a second one';
	is $q->control($other), undef, 'true reports count';
};

subtest 'agents that mark after their report' => sub {
	my $q = RunQueue->new(script => "user . late\n");
	$q->message(['a']);
	my ($status, undef, $err) = one_pass($q);
	is "$status $err", '0 ', 'no trouble';
	is_deeply [$q->names], [], 'the message is removed when the mark is there';
};

subtest 'agents that say nothing' => sub {
	my $q = RunQueue->new(script => "user a none\nuser b held\n");
	my $none = $q->message(['a'], age => 10);
	my $held = $q->message(['b', 'c']);
	my ($status, undef, $err) = one_pass($q);
	is $status, 69, 'exit 69';
	like $err, qr/^runqueue: agent \d+ \(lmtp\) said #hungry without a report on 1 message\n/, 'and it is said';
	is $q->tags($none), ' ', 'without a report nothing is done';
	is $q->tags($held), '~+', 'nor with a lock';
	$q->script('');
	one_pass($q);
	is_deeply [$q->names], [], 'the next pass frees the lock and delivers';
};

subtest 'agents that find nothing to do' => sub {
	my $q = RunQueue->new(script => "job 1 resync\n");
	my $name = $q->message(['a'], age => 10);
	$q->message(['b']);
	my ($status) = one_pass($q);
	is $status, 0, 'exit 0';
	is_deeply [$q->names], [$name, $name], 'what they are wrong about stays';
	$q = RunQueue->new;
	$q->message(['a']);
	rename $q->office . "/transport/100", $q->office . "/100";
	($status) = one_pass($q);
	is $status, 0, 'a vanished file is no trouble';
};

subtest 'noise' => sub {
	my $q = RunQueue->new(script => "job 1 garbage\njob 2 pieces\njob 5 greedy\n");
	$q->message(['a']) for 1 .. 5;
	my ($status, undef, $err) = one_pass($q);
	is $status, 0, 'exit 0';
	is_deeply [$q->names], [], 'all mail is delivered';
	like $err, qr/said: hello$/m, 'garbage is named';
	like $err, qr/ \(lmtp\): a comment$/m, 'comments are passed on';
	like $err, qr/sent #hungry although nothing was outstanding$/m, 'so is a #hungry that was not due';
	$q = RunQueue->new(script => "job 2 fragment\n");
	$q->message(['a'], age => 9 - $_) for 1 .. 2;
	($status, undef, $err) = one_pass($q);
	unlike $err, qr/reports on|no scheduler knows/, 'half a line at the end is nothing';
	is_deeply [map { $_->{rest} } $q->log('recipient')], ['100 a ok3', '101 a ok3'], 'another agent does what it had not begun';
};

subtest 'two destinations in one message' => sub {
	my $q = RunQueue->new(script => "pause 0.1\nuser b deferred\n");
	$q->message(['a@@x', 'b@@y', 'c@@x', 'd@@z']);
	my ($status) = one_pass($q);
	is $status, 0, 'exit 0';
	is $q->tags(100), '+ ++', 'three of four';
	is scalar($q->log('start')), 3, 'an agent for each destination';
	$q->script('');
	one_pass($q);
	is_deeply [$q->names], [], 'then all';
	my %got;
	$got{(split ' ', $_->{rest})[1]}++ for $q->log('recipient');
	is_deeply \%got, { a => 1, b => 2, c => 1, d => 1 }, 'nobody got it twice';
};

subtest 'thousands of recipients' => sub {
	my $q = RunQueue->new(script => "user u\\d*7\$ error2\n");
	$q->message([map { "u$_" } 1 .. 3000]);
	my ($status) = one_pass($q);
	is $status, 0, 'exit 0';
	is_deeply [$q->names], [], 'settled in one pass';
	my ($text) = values %{{ $q->reports }};
	is scalar(() = $text =~ /^Recipient:/mg), 300, 'with one report on all that failed';
};

subtest 'configuration' => sub {
	my $q = RunQueue->new;
	$q->message(['a']);
	my ($status, $out, $err) = $q->run('-P', $q->office);
	is $status, 64, 'neither -1 nor -w: exit 64';
	($status, $out, $err) = $q->run('-1', '-w');
	is $status, 64, 'both: exit 64';
	($status, $out, $err) = $q->run('-1', 'x');
	is $status, 64, 'an argument: exit 64';
	($status, $out, $err) = $q->run('-1', '-f', '/nowhere/x');
	is "$status $err", "66 runqueue: /nowhere/x: No such file or directory\n", 'no scheduler.conf: exit 66';
	($status, $out, $err) = $q->run('-1', '-P', '/nowhere');
	is $status, 73, 'no post office: exit 73';
	$q->conf("lmtp/*\n  interval=often\n");
	($status, $out, $err) = $q->run('-1');
	is $status, 78, 'a bad value: exit 78';
	like $err, qr/^runqueue: \S+scheduler\.conf:2:3: expected an interval such as 1h30m(?:, found "interval=...")?\n\z/, 'one line';
	$q->conf("lmtp/* skew=1 nice=2 command=\"AGENT\"\nPARAMx = 1\n");
	($status, $out, $err) = $q->run('-1', '-v');
	like $err, qr/scheduler\.conf: no effect here: skew, nice, PARAMx$/m, 'what is ignored is named with -v';
	is_deeply [$q->names], [], 'and no obstacle';
};

subtest 'one at a time' => sub {
	my $q = RunQueue->new(script => "pause 1\n");
	$q->message(['a']);
	my $other = RunQueue->new;
	$q->start('-1');
	RunQueue::wait_for(sub { $q->log('start') });
	Spool->put($other->dir . '/zenv', "POSTOFFICE=" . $q->office . "\nMAILSHARE=" . $q->dir . "\n");
	my ($status, undef, $err) = $other->run('-1');
	is $status, 75, 'a second one: exit 75';
	like $err, qr/^runqueue: another runqueue runs here, process \d+ by \S+\n\z/, 'one line';
	is +($q->finish)[0], 0, 'the first one is not disturbed';
	Spool->put($q->office . '/.pid.scheduler', "$$\n");
	($status, undef, $err) = $q->run('-1');
	is $status, 75, "beside ZMailer's own: exit 75";
	like $err, qr/^runqueue: a scheduler runs here: process $$, by \S+\.pid\.scheduler\n\z/, 'one line';
};

SKIP: {
	local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
	skip 'strace is not installed, or cannot follow processes here', 1 if system('strace -D -o /dev/null true 2>/dev/null') != 0;
	subtest 'what is there goes before the post office is tidied up' => sub {
		my $q = RunQueue->new(script => "user . ok\n");
		$q->{before} = ['strace', '-D', '-o', $q->dir . '/trace', '-e', 'trace=openat,clone,clone3,fork,vfork'];
		$q->message(['a'], name => 'Y/100');
		$q->message([{ user => 'b', tag => '+' }], name => '101');
		mkdir $q->office . '/hold';
		rename $q->office . '/transport/101', $q->office . '/hold/101' or die;
		$q->start('-w');
		ok RunQueue::wait_for(sub { !$q->names && !-e $q->office . '/queue/Y/100' && !-e $q->office . '/hold/101' }), 'both have gone';
		$q->stop;
		my @calls = map { /^(?:\d+ +)?(?:clone|fork|vfork)[^"]*SIGCHLD/ ? 'agent' : /"(\.\.\/public|\.\.\/hold)"/ ? 'tidy' : () } split /\n/, Spool::slurp($q->dir . '/trace');
		is $calls[0], 'agent', 'the agent is started first' or diag Spool::slurp($q->dir . '/trace');
		ok scalar(grep { $_ eq 'tidy' } @calls), 'and then it is done';
	};
}

subtest 'the lock of the post office' => sub {
	my $q = RunQueue->new;
	Spool->put($q->office . '/.pid.runqueue', "1\n");
	chmod 0644, $q->office . '/.pid.runqueue';
	is +($q->run('-1'))[0], 0, 'it runs';
	is sprintf('%o', (stat $q->office . '/.pid.runqueue')[2] & 07777), '600', 'nobody else can open, and so hold, it';
	symlink 'x', $q->office . '/x';
	unlink $q->office . '/.pid.runqueue';
	symlink $q->dir . '/victim', $q->office . '/.pid.runqueue';
	is +($q->run('-1'))[0], 73, 'a link in its place is not followed';
	ok !-e $q->dir . '/victim', 'nothing was made there';
	Spool->put($q->dir . '/victim', "keep\n");
	unlink $q->office . '/.pid.runqueue';
	link $q->dir . '/victim', $q->office . '/.pid.runqueue';
	is +($q->run('-1'))[0], 73, 'nor a second name of a file';
	is Spool::slurp($q->dir . '/victim'), "keep\n", 'which stays as it was';
};

SKIP: {
	local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
	my @strace = ('strace', '-D', '-o', '/dev/null', '-e', 'trace=write', '-e', 'inject=write:error=ENOSPC:when=1');
	skip 'strace is not installed, or cannot follow processes here', 1 if system("@strace[0 .. 5] true 2>/dev/null") != 0;
	subtest 'a full disk, on which its number cannot be written' => sub {
		my $q = RunQueue->new(before => \@strace);
		$q->message(['a']);
		my ($status, undef, $err) = $q->run('-1');
		is $status, 0, 'does not keep it from starting';
		is $err, 'runqueue: ' . $q->office . "/.pid.runqueue: cannot write the process number: No space left on device; going on\n",
			'one line';
		is_deeply [$q->names], [], 'delivery makes room';
	};
}

subtest 'what root writes into the post office of another user is for that user to read' => sub {
	plan skip_all => 'only root can give files away' if $> != 0;
	my $q = RunQueue->new(script => "user a deferred later\nuser b error2 5.0.0 no\n");
	my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
	$q->message(['a'], name => 100);
	$q->message(['b'], name => 101);
	system 'chown', '-R', "$uid:$gid", $q->office;
	is +($q->run('-1'))[0], 0, 'it runs';
	my ($failed) = glob $q->office . '/postman/*.failed';
	is join(':', (stat)[4, 5]), "$uid:$gid", s{.*/}{}r . ' is given away'
		for map({ $q->office . "/$_" } '.pid.runqueue', '.state.runqueue'), $failed // 'no file in postman';
	is +($q->run('-1'))[0], 0, 'the lock is taken again';
};

done_testing;
