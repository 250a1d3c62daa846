#!/usr/bin/perl
# zlmtp-queue beside a runqueue: changes go through its control socket.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use IO::Select ();
use IO::Socket::UNIX ();
use JSON::PP ();
use POSIX ();
use RunQueue;
use ZlmtpQueue;

delete $ENV{ZCONFIG};

# A runqueue whose control socket is there.
sub running(%o) {
	my $q = RunQueue->new(%o);
	$q->start('-w');
	RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' }) or die "no socket\n";
	return $q;
}

sub dial($q) { IO::Socket::UNIX->new(Peer => $q->office . '/.control.runqueue') // die "connect: $!\n" }

# So many lines, or those that came before the end.
sub answers($socket, $count) {
	my @lines;
	local $SIG{ALRM} = sub { die "no answer\n" };
	alarm 30;
	while (@lines < $count) { push @lines, scalar(<$socket>) // last }
	alarm 0;
	return @lines;
}

my $busy = "user . deferred \r->> 450 not now\n";
my $hour = "lmtp/*\n\tinterval=1h retries=1 command=\"AGENT\"\n";

subtest 'the socket is for the owner' => sub {
	my $q = running();
	is sprintf('%o', (stat $q->office . '/.control.runqueue')[2] & 07777), '600', 'its mode';
	$q->stop;
	ok !-e $q->office . '/.control.runqueue', 'gone at the end';
};

subtest 'a runqueue that has begun, and has no socket yet' => sub {
	plan skip_all => 'processes cannot be followed here' if system('strace -o /dev/null true 2>/dev/null') != 0;
	local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';    # not below strace
	my $q = RunQueue->new(conf => $hour, script => $busy);
	my $name = $q->arrive(['a']);
	$q->{before} = ['strace', '-D', '-o', '/dev/null', '-e', 'trace=bind', '-e', 'inject=bind:delay_enter=500000'];
	$q->start('-w');
	ok RunQueue::wait_for(sub { -s $q->office . '/.pid.runqueue' }), 'it has the lock';
	ok !-S $q->office . '/.control.runqueue', 'and no socket';
	my ($status, undef, $said) = zq($q, 'hold', $name);
	is "$status $said", '0 ', 'is waited for';
	ok -e $q->office . "/hold/$name", 'and does what it is told';
	$q->stop;
};

subtest 'hold, release, retry, fail, remove' => sub {
	my $q = running(conf => $hour, script => $busy);
	my $name = $q->arrive(['a', 'b']);
	ok RunQueue::wait_for(sub { 2 == grep { defined $_->{answer} } rows($q) }), 'both are deferred';
	is +(zq($q, 'hold', $name))[0], 0, 'held';
	ok -e $q->office . "/hold/$name", 'in hold/';
	is_deeply [map { $_->{state} } rows($q)], ['held', 'held'], 'listed';
	is +(zq($q, 'release', $name))[0], 0, 'released';
	ok RunQueue::wait_for(sub { 2 == (() = $q->jobs) }), 'tried again';
	ok RunQueue::wait_for(sub { 2 == grep { defined $_->{answer} && ($_->{next_try} // 0) > time } rows($q) }), 'and deferred for an hour';
	my ($status, $out) = zq($q, 'retry', 'all');
	is $status, 0, 'retry';
	like $out, qr/: due now, from ann\@example\.org, 2 recipients$/, 'said so';
	ok RunQueue::wait_for(sub { 3 == (() = $q->jobs) }), 'tried at once';
	is +(zq($q, 'fail', '-m', '5.2.1 gone', 'to=a'))[0], 0, 'one fails';
	like $q->tags($name), qr/^-[ ~]$/, 'marked';
	my ($b) = rows($q);
	is $b->{recipient}, 'b', 'the other one waits';
	my $other = $q->arrive(['c']);
	ok RunQueue::wait_for(sub { 2 == rows($q) }), 'another message';
	is +(zq($q, 'remove', $other))[0], 0, 'removed';
	is_deeply [grep { -e } map { $q->office . "/$_/$other" } qw(transport queue)], [], 'its files are gone';
	is +(zq($q, 'fail', $name))[0], 0, 'the last one fails';
	ok RunQueue::wait_for(sub { !grep { /^\d/ } $q->names }), 'the message goes';
	like join('', values %{{ $q->reports }}), qr/5\.2\.1/, 'with a report';
	my ($end) = $q->stop;
	is $end, 0, 'runqueue ends well';
};

subtest 'retry is for the recipients that match' => sub {
	my $q = running(conf => $hour, script => $busy);
	my $name = $q->arrive(['a', 'b@@store', { user => 'c', tag => '+' }]);
	ok RunQueue::wait_for(sub { 2 == grep { defined $_->{answer} && ($_->{next_try} // 0) > time } rows($q) }), 'both are deferred for an hour';
	my ($status, $out) = zq($q, 'retry', 'host=store');
	like $out, qr/: due now, from \S+, 1 recipient$/, 'one is due';
	ok RunQueue::wait_for(sub { 3 == (() = $q->jobs) }), 'and tried';
	like +(zq($q, 'hold', $name))[1], qr/: held, from \S+, 2 recipients$/, 'two wait';
	is join(' ', sort map { (split ' ', $_->{rest})[1] } $q->log('job')), '- store store', 'the other one was not tried';
	$q->stop;
};

# What the summary says of the queue; with a filter it is read from the files.  Times of tries are rounded in both.
sub summary($q, @filter) { join '', map { (zq($q, @$_))[1] =~ s/"next_try":\d+/"next_try":N/gr } ['summary', @filter], ['-j', 'summary', @filter] }

subtest 'the summary that runqueue gives is that of the files' => sub {
	my $q = RunQueue->new(conf => $hour, script => $busy);
	$q->message(["u$_\@\@store"], age => $_ * 200) for 1 .. 4;
	$q->message(['x', 'y', { user => 'z', tag => '+' }, { user => 'w', host => 'else', channel => 'smtp' }], age => 100_000);
	my $held = $q->message(['held'], age => 5000);
	zq($q, 'hold', $held);
	$q->start('-w');
	ok RunQueue::wait_for(sub { 6 == grep { defined $_->{answer} } rows($q, 'channel=lmtp', 'state=waiting') }, 30), 'all are tried';
	my $said;
	ok RunQueue::wait_for(sub { $said = summary($q); $said eq summary($q, 'all') }, 20), 'the same'
		or diag "$said\n" . summary($q, 'all');
	like $said, qr/^lmtp\/store +4 +1 +3 +0 .*450 not now$/m, 'with ages and reason';
	like $said, qr/^smtp\/else +1 .*no clause serves it$/m, 'and who is not served';
	like $said, qr/^8 recipients in 6 messages, 1 on hold, /m, 'and who is on hold';
	my %is_held;
	$is_held{"$_->{channel}/$_->{host}"}++ for rows($q, 'state=held');
	for my $filter ([], ['all']) {
		my @sums = map { JSON::PP->new->utf8->decode($_) } split /\n/, (zq($q, '-j', 'summary', @$filter))[1];
		is_deeply { map { $_->{held} ? ("$_->{channel}/$_->{host}" => $_->{held}) : () } @sums }, \%is_held, "held: as many as list has ('@$filter')";
	}
	# what runqueue knows does not come from the files
	rename $q->office . '/transport/101', $q->office . '/transport/.101' or die;
	is summary($q), $said, 'no file is read for it';
	like summary($q, 'all'), qr/^7 recipients in 5 messages, /m, 'but for one with a filter';
	rename $q->office . '/transport/.101', $q->office . '/transport/101' or die;
	Spool->put($q->office . '/rubbish', "rubbish\n");
	rename $q->office . '/rubbish', $q->office . '/transport/900' or die;
	ok RunQueue::wait_for(sub { summary($q) =~ /^8 recipients in 6 messages, .*; 1 file damaged or unreadable$/m }), 'of files in trouble the files tell';
	$q->stop;
	like summary($q), qr/^8 recipients in 6 messages, .*; 1 file damaged or unreadable$/m, 'as they do where no runqueue runs';
};

# As a clock that was wrong, or a copy, leaves them: from 1906, from the first second and from the year 2100.
subtest 'message files with impossible times: each has its reason, in lists, summary and watch' => sub {
	my $q = RunQueue->new(conf => $hour, script => $busy);
	my %time = (100 => -2_000_000_000, 101 => 0, 102 => 4_102_444_800);
	for my $name (sort keys %time) {
		$q->message(["u$name"], name => $name);
		utime $time{$name}, $time{$name}, $q->office . "/queue/$name";
	}
	plan skip_all => 'files cannot have such times here' if (stat $q->office . '/queue/100')[9] >= 0;
	$q->start('-w');
	ok RunQueue::wait_for(sub { 3 == grep { ($_->{answer} // '') =~ /450 not now/ } rows($q) }), 'list has the answers'
		or diag +(zq($q, 'list'))[1];
	my $socket = dial($q);
	print $socket "1\tstatus\t9\n2\tsummary\n";
	$socket->flush;
	my @said = answers($socket, 7);
	like $said[0], qr/^1\tsums\t.*\t-2000000000\tS\S+$/, 'the oldest one';
	like $said[-2], qr/^2\twaiting\t3\t3\t0\t-2000000000\t/, 'in the summary, too';
	like +(zq($q, 'summary'))[1], qr/^lmtp\/- +3 .*450 not now$/m, 'that zlmtp-queue understands';
	my $watch = $q->dir . '/watch';
	system "$ENV{BUILD_DIR}/channel/zlmtp-queue -P ${\ $q->office} watch </dev/null 2>&1 | head -n 4 > $watch";
	like Spool::slurp($watch), qr/^3 recipients in 3 messages, 0 in delivery; the oldest message \d+d\d\dh old, S/m, 'and watch';
	is +(zq($q, $_, 'all'))[0], 0, $_ for 'hold', 'release';
	is +(zq($q, 'hold', (rows($q))[0]{spool}))[0], 0, 'by the id, too';
	$q->stop;
};

subtest 'what an agent has is changed when it has answered' => sub {
	my $q = running(conf => $hour, script => "strict\npause 3\nuser . deferred \r->> 450 not now\n");
	my $name = $q->arrive(['a']);
	ok RunQueue::wait_for(sub { () = $q->log('burst') }), 'the agent has it';
	my ($status, undef, $err) = zq($q, '-w', '0', 'hold', $name);
	is $status, 75, 'without patience: 75';
	like $err, qr/a transport agent is delivering it/, 'said why';
	my @two = map { zq_start($q, $_, $name) } qw(hold remove);
	my @results = map { [zq_finish($_)] } @two;
	is scalar(grep { $_->[0] == 0 } @results), 1, 'two operators at once: one does it';
	like join('', map { $_->[2] } @results), qr/it has left the queue meanwhile|it is on hold already/, 'the other one hears so';
	is scalar(() = $q->jobs), 1, 'it was not tried again';
	$q->stop;
};

subtest 'bad clients' => sub {
	my $q = running(conf => $hour, script => $busy);
	my $name = $q->arrive(['a']);
	ok RunQueue::wait_for(sub { defined((rows($q))[0]{answer}) }), 'a message waits';
	my ($spool, $inode) = ((rows($q))[0]{spool}, (stat $q->office . "/transport/$name")[1]);
	my @bad = ('', 'x', '1', "1\tbad", "1\thold", "1\thold\tS1\t../../etc/passwd\t1\tqueue\t0\t", "1\thold\tS1\tA/../1\t1\tqueue\t0\t",
		"1\thold\t$spool\t$name\tx\tqueue\t0\t", "1\thold\t$spool\t$name\t$inode\tother\t0\t", "1\thold\t$spool\t$name\t$inode\tqueue\t-1\t",
		"1\thold\t$spool\t$name\t$inode\tqueue\t0", "1\tfail\t$spool\t$name\t$inode\tqueue\t0\t\t9\t3", "1\treroute\t$spool\t$name\t$inode\tqueue\t0\t",
		"1\treroute\t$spool\t$name\t$inode\tqueue\t0\t\t9\tlmtp", "1\thold\0\t$spool", "\xff\xfe\x01", "1\thold\t$spool\t$name\t$inode\tqueue\t99999999\t");
	my $socket = dial($q);
	print $socket map { "$_\n" } @bad;
	$socket->flush;
	my @answers = answers($socket, scalar @bad);
	is scalar(@answers), scalar(@bad), 'an answer each';
	is_deeply [grep { !/^(?:\?|1)\tbad\t0\texpected [^\t]+\n$/ } @answers], [], 'that says what was expected';
	print $socket "7\thold\tS1\t$name\t$inode\tqueue\t0\t\n8\thold\t$spool\t$name\t1\tqueue\t0\t\n9\thold\t$spool\t9999\t$inode\tqueue\t0\t\n";
	$socket->flush;
	is_deeply [map { /^(\d+\t\w+)/ } answers($socket, 3)], [map { "$_\tgone" } 7 .. 9], 'another message under that name is left alone';
	my $half = dial($q);
	print $half "1\thold\t$spool\t$name\t$inode\tqueue\t0\t";
	$half->flush;
	close $half;
	my $long = dial($q);
	{
		local $SIG{PIPE} = 'IGNORE';
		my $bytes = 'x' x 65536;
		for (1 .. 200) { defined syswrite $long, $bytes or last }
	}
	like +(answers($long, 1))[0] // "?\tbad\t", qr/^\?\tbad\t/, 'a line without end';
	my $many = dial($q);
	$many->blocking(0);
	my $text = join '', map { "$_\thold\tS1\t$name\t$inode\tqueue\t0\t\n" } 1 .. 10_000;
	my ($at, $in) = (0, '');
	# as much as it takes without being read, then the rest
	while ($at < length $text && IO::Select->new($many)->can_write(0.3)) {
		$at += syswrite($many, $text, 65536, $at) // last;
	}
	my $select = IO::Select->new($many);
	my $until = time + 60;
	while (($in =~ tr/\n//) < 10_000 && time < $until) {
		$at += syswrite($many, $text, 65536, $at) // 0 if $at < length $text;
		sysread $many, $in, 65536, length $in if $select->can_read(0.1);
	}
	is scalar(() = $in =~ /^\d+\tgone\t0\t/mg), 10_000, '10,000 requests at once: each has its answer';
	ok -e $q->office . "/transport/$name", 'nothing was done';
	is +(zq($q, 'hold', $name))[0], 0, 'and it still serves';
	my ($status, undef, $err) = $q->stop;
	is $status, 0, 'runqueue ends well';
};

# Somebody with the rights of the owner of the post office may listen there, and root may ask.
subtest 'an answer without end' => sub {
	my $q = RunQueue->new(conf => $hour);
	$q->message(['a']);
	my $server = IO::Socket::UNIX->new(Local => $q->office . '/.control.runqueue', Listen => 5) or die "listen: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$SIG{PIPE} = 'IGNORE';
		my $bytes = 'x' x 65536;
		while (my $c = $server->accept) { 1 while syswrite $c, $bytes }
		POSIX::_exit(0);
	}
	for my $verb ('hold', 'summary') {
		my $run = zq_start($q, $verb, $verb eq 'hold' ? 'all' : ());
		my $ended = RunQueue::wait_for(sub { waitpid($run->{pid}, POSIX::WNOHANG()) }, 30);
		ok $ended, "$verb ends" or kill KILL => $run->{pid};
		is $? >> 8, $verb eq 'hold' ? 75 : 0, "$verb: exit";
		my ($out, $err) = map { Spool::slurp($_) } $run->{name}, "$run->{name}-err";
		like $err, qr/: runqueue sent an unknown answer; is it of another version\?$/, 'said so' if $verb eq 'hold';
		like $out, qr/^1 recipient in 1 message/m, 'the files are read' if $verb eq 'summary';
	}
	kill KILL => $pid;
	waitpid $pid, 0;
};

# Requests as a program would send that has read the queue once: most of them come too late, as the message was moved meanwhile.
subtest 'a thousand requests of all kinds in one go: each has one answer, which is true' => sub {
	my $seed = $ENV{ZLMTP_SEED} // int time;
	note "ZLMTP_SEED=$seed";
	srand $seed;
	my $q = RunQueue->new(conf => "lmtp/*\n\tqueueonly command=/nowhere\n");
	$q->message(["a$_", "b$_"]) for 1 .. 60;
	$q->start('-w');
	RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' }) or die "no socket\n";
	my (%spool, %offsets, %asked, %done);
	for (rows($q)) { $spool{$_->{file}} = $_->{spool}; push @{$offsets{$_->{file}}}, $_->{offset} }
	my @names = sort keys %spool;
	my @verbs = qw(hold release retry fail fail remove reroute);
	my $text = '';
	for my $tag (1 .. 1000) {
		my ($name, $verb, $place) = ($names[rand @names], $verbs[rand @verbs], rand() < 0.3 ? 'hold' : 'queue');
		my $offset = $offsets{$name}[rand 2];
		my @to = $verb eq 'reroute' ? ($offset, 'lmtp', 'other', 'x', 65534) : $verb eq 'fail' ? $offset : ();
		$asked{$tag} = [$verb, $name, $offset];
		$text .= join("\t", $tag, $verb, $spool{$name}, $name, (stat $q->office . "/transport/$name")[1], $place, 0, '', @to) . "\n";
	}
	my $socket = dial($q);
	print $socket $text;
	$socket->flush;
	my @answers = map { [split /\t/] } answers($socket, 1000);
	is scalar(keys %{{ map { $_->[0] => 1 } @answers }}), 1000, 'an answer each';
	is_deeply [grep { $_->[1] !~ /^(?:done|gone|nothing)$/ } @answers], [], 'that is one of these';
	# of a fail each recipient counts
	$done{$asked{$_->[0]}[0]}{$asked{$_->[0]}[1]}{$asked{$_->[0]}[2]}++ for grep { $_->[1] eq 'done' } @answers;
	is scalar(grep { !%{$done{$_} // {}} } qw(hold release retry fail remove reroute)), 0, 'all kinds were done';
	my $is_there = sub ($name) { grep { -e $q->office . "/$_/$name" } qw(transport hold) };
	my $goes = sub ($name) { $done{remove}{$name} || keys %{$done{fail}{$name} // {}} == 2 };
	ok RunQueue::wait_for(sub { !grep { $goes->($_) && $is_there->($_) } @names }), 'what was removed, or failed as a whole, goes'
		or diag join ' ', grep { $goes->($_) && $is_there->($_) } @names;
	is join(' ', grep { !$goes->($_) && $is_there->($_) != 1 } @names), '', 'all else is there, in one place';
	my ($status, undef, $err) = $q->stop;
	is "$status$err", '0', 'runqueue ends, and complains of nothing';
};

subtest 'clients that say nothing do not keep an operator out' => sub {
	my $q = running(conf => $hour, script => $busy);
	my $name = $q->arrive(['a']);
	ok RunQueue::wait_for(sub { 1 == rows($q) }), 'a message';
	my @idle = map { dial($q) } 1 .. 40;
	is +(zq($q, 'hold', $name))[0], 0, 'a request is done';
	is scalar(grep { IO::Select->new($_)->can_read(0) } @idle), 9, 'those that were silent for longest made room';
	is +($q->stop)[0], 0, 'runqueue ends well';
};

subtest 'a runqueue that was killed' => sub {
	my $q = running(conf => $hour, script => $busy);
	my $name = $q->arrive(['a']);
	ok RunQueue::wait_for(sub { 1 == rows($q) }), 'a message';
	kill KILL => $q->{pid};
	$q->finish;
	ok -S $q->office . '/.control.runqueue', 'its socket is left';
	ok RunQueue::wait_for(sub { (zq($q, 'hold', $name))[0] == 0 || -e $q->office . "/hold/$name" }), 'the files are changed without it';
	$q->start('-w');
	ok RunQueue::wait_for(sub { (zq($q, 'release', $name))[0] == 0 }), 'the next runqueue listens again';
	ok RunQueue::wait_for(sub { defined((rows($q))[0]{answer}) }), 'and has the message';
	$q->stop;
};

done_testing;
