#!/usr/bin/perl
# The log as a postmaster reads it: an id tells the whole life of a message, an address or a Message-ID finds the id.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Cwd ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use JSON::PP ();
use POSIX ();
use Socket qw(SOCK_DGRAM);
use Reports;
use RunQueue;
use Spool;
use Syslog;
use ZlmtpQueue;

plan skip_all => 'a log daemon of its own needs root' if !Syslog->possible;

my $build = Cwd::abs_path($ENV{BUILD_DIR} // '.');
my @children;
END { local $?; kill KILL => $_ and waitpid $_, 0 for @children }

sub child($code) {
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$code->();
		POSIX::_exit(0);
	}
	push @children, $pid;
}

# An LMTP server that knows no "gone", has no room for "full" and takes all others.  Once it says nothing to who has sent it a message
# for "slow", but a byte to `got`.
sub serve($listener, $got = undef) {
	while (my $c = $listener->accept) {
		my $text = 0;
		my @accepted;
		print $c "220 store ready\r\n";
		while (defined(my $line = <$c>)) {
			if ($text) {
				if ($got && $line eq ".\r\n" && grep { $_ eq 'slow' } @accepted) {
					syswrite $got, '.';
					next;
				}
				$text = $line ne ".\r\n" or print $c "250 2.0.0 <$_> Saved\r\n" for @accepted;
				$text = 0 if $line eq ".\r\n";
			}
			elsif ($line =~ /^LHLO/i) { print $c "250-store\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n" }
			elsif ($line =~ /^MAIL/i) { @accepted = (); print $c "250 2.1.0 ok\r\n" }
			elsif ($line =~ /^RCPT TO:<gone/i) { print $c "550 5.1.1 no such user\r\n" }
			elsif ($line =~ /^RCPT TO:<full/i) { print $c "452 4.2.2 mailbox full\r\n" }
			elsif ($line =~ /^RCPT TO:<([^>]*)/i) { push @accepted, $1; print $c "250 2.1.5 ok\r\n" }
			elsif ($line =~ /^DATA/i) { print $c @accepted ? "354 go on\r\n" : "503 5.5.1 nobody\r\n"; $text = @accepted > 0 }
			elsif ($line =~ /^QUIT/i) { print $c "221 bye\r\n"; last }
			else { print $c "250 2.0.0 ok\r\n" }
			$c->flush;
		}
		close $c;
	}
}

# A post office with that server, maps and a log; more: for scheduler.conf's command and runqueue.
sub office(%o) {
	my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die "listen: $!";
	child(sub { serve($listener, $o{got}) });
	my $q;
	my $agent = "$build/channel/lmtp -c \$channel -F [127.0.0.1] -p ${\ $listener->sockport} " . ($o{agent} // '');
	$q = Reports->queue(conf => "lmtp/*\n\tinterval=1h retries=1 command=\"$agent\"\nmailbox/*\n\tinterval=1h command=\"$agent\"\n",
		routes => join('', map { "$_\@example.org lmtp!store!$_\n" } qw(ann bob gone full)));
	my $path = $q->dir . '/syslog';
	my $socket = IO::Socket::UNIX->new(Local => $path, Type => SOCK_DGRAM) // die "$path: $!";
	child(sub {
		open my $out, '>>', "$path.txt" or die;
		$out->autoflush(1);
		while (defined recv($socket, my $line, 65536, 0)) { print $out "$line\n" }
	});
	$q->{wrap} = ['unshare', '-m', 'sh', '-c',
		'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && ln -s "$0" /dev/log && exec "$@"', $path];
	$q->{before} = $q->{wrap};
	return $q;
}

sub logged($q) { split /\n/, Spool::slurp($q->dir . '/syslog.txt') // '' }
sub grepped($q, $what) { grep { index($_, $what) >= 0 } logged($q) }

# What a program of ours says to standard output, with the log.
sub run($q, $input, $program, @arguments) {
	Spool->put($q->dir . '/in', $input);
	local $ENV{ZCONFIG} = $q->dir . '/zenv';
	my $pid = open(my $out, '-|') // die "fork: $!";
	if ($pid == 0) {
		open STDIN, '<', $q->dir . '/in' or die;
		exec @{$q->{wrap}}, "$build/channel/$program", @arguments or POSIX::_exit(127);
	}
	local $/;
	my $text = <$out>;
	close $out;
	return $text // '';
}

my $message = "From: ann\@example.org\nMessage-ID: <one\@example.org>\nSubject: hello\n\ntext\n";
my $time = qr/^\S*\s*\w+ +\d+ [\d:]+ \S+: /;

sub event($line) { $line =~ /\bevent=(\w+)/ ? $1 : $line =~ /\boutcome=(\w+)/ ? $1 : '?' }

subtest 'the life of a message' => sub {
	my $q = office();
	my $id = run($q, $message, 'enqueue', '-P', $q->office, '-s', 'ann@example.org', qw(bob@example.org gone@example.org full@example.org));
	chomp $id;
	like $id, qr/^S\S+$/, 'enqueue prints the spool id alone';
	$q->start('-w', '-P', $q->office);
	ok RunQueue::wait_for(sub { 3 <= grep { /outcome=/ } grepped($q, $id) }), 'three outcomes';
	ok RunQueue::wait_for(sub { grep { /event=reported/ } grepped($q, $id) }, 40), 'the failure is told while one waits';
	run($q, '', 'zlmtp-queue', '-P', $q->office, $_, $id) for qw(hold release);
	run($q, '', 'zlmtp-queue', '-P', $q->office, 'fail', '-m', '5.2.1 moved away', $id);
	ok RunQueue::wait_for(sub { 2 == grep { /event=reported/ } grepped($q, $id) }, 40), 'told';
	my $done = time;
	ok RunQueue::wait_for(sub { grep { /event=done/ } grepped($q, $id) }, 40), 'done';
	$done = time - $done;
	$q->stop;
	my @life = grepped($q, " spool=$id ");
	cmp_ok $done, '<', 10, 'and it does not take a minute to say so';
	is_deeply [map { event($_) } grep { !/outcome=/ } @life], [qw(queued reported held released failed reported done)], 'all that happened, in order'
		or diag join "\n", @life;
	my %outcomes = map { event($_) => 1 } grep { /outcome=/ } @life;
	is_deeply [sort keys %outcomes], [qw(deferred delivered failed)], 'and what became of each recipient';
	my ($queued) = grep { /event=queued/ } @life;
	like $queued, qr/event=queued spool=$id from=ann\@example\.org size=\d+ recipients=3 message_id=<one\@example\.org> client=local protocol=-$/, 'queued';
	my ($outcome) = grep { /outcome=failed/ } @life;
	like $outcome, qr/ message=\d+ spool=$id recipient=gone from=ann\@example\.org orcpt=gone\@example\.org outcome=failed /, 'an outcome';
	like +(grep { /event=failed/ } @life)[0], qr/ spool=$id from=ann\@example\.org to=full orcpt=full\@example\.org .*status=5\.2\.1 words=".*moved away" by=root$/, 'failed, by whom';
	like +(grep { /event=held/ } @life)[0], qr/ spool=$id from=ann\@example\.org recipients=1 message_id=\S*one\@example\.org\S* by=root$/, 'held, by whom';
	my ($report) = (grep { /event=reported/ } @life)[0] =~ / kind=failure report=(S\S+)$/;
	ok $report, 'the report has an id' or diag join "\n", @life;
	ok scalar(grep { /event=queued spool=\Q$report\E from=<> / } logged($q)), 'which has a life of its own';
	ok scalar(grep { / spool=$id / } grepped($q, $_)), "$_ finds the id" for '<one@example.org>', 'gone@example.org', 'ann@example.org', 'bob@example.org';
};

# A server may have what an agent sent before it was killed, and no agent logs that.
subtest 'mail whose agent was killed: its id tells that it may come twice' => sub {
	for my $all (0, 1) {
		pipe my $seen, my $got or die;
		my $q = office(got => $got);
		my $id = run($q, $message, 'enqueue', '-P', $q->office, '-s', 'ann@example.org', '-r', 'lmtp,store,slow', '-r', 'lmtp,store,ann');
		chomp $id;
		$q->start('-w', '-P', $q->office);
		sysread $seen, my $byte, 1;
		my ($agent) = Spool::slurp(glob $q->office . '/transport/[0-9]*') =~ /^r~ *(\d+)/m;
		ok $agent, 'an agent has sent it';
		if ($all) {
			kill KILL => $q->{pid}, $agent;
			$q->stop;
			$q->start('-w', '-P', $q->office);
		} else {
			kill KILL => $agent;
		}
		ok RunQueue::wait_for(sub { grep { /event=deferred/ } grepped($q, $id) }), $all ? 'all were killed, and the next runqueue says so' : 'it was killed, and runqueue says so';
		like +(grep { /event=deferred/ } grepped($q, $id))[0],
			qr/ spool=$id recipients=2 channel=lmtp host=store words="the transport agent ended" maybe_duplicate=yes/, '... that it may come twice';
		$q->stop;
	}
};

# An agent logs what it tried.  What nobody tried waits for a reason that the log has with the id, once, and once for the destination.
subtest 'mail that is not tried: its id tells why it waits' => sub {
	my $q = office();
	my $closed = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
	$q->conf("lmtp/*\n\tinterval=1h retries=1 command=\"$build/channel/lmtp -c \$channel -F [127.0.0.1] -p $closed\"\n"
		. "later/*\n\tcommand=\"$build/channel/lmtp -c later\" queueonly\nbroken/*\n\tinterval=1h command=\"/bin/false\"\n");
	my $add = sub ($when, @to) {
		map { my ($channel, $user) = split m{/}; $user = "$user-$when"; [$channel, $user, $q->$when([{ user => $user, channel => $channel, host => 'h' }])] } @to };
	my @kinds = ('lmtp/a', 'lmtp/b', 'lmtp/c', 'nobody/d', 'nobody/e', 'later/f', 'broken/g', 'broken/h');
	my @messages = $add->('message', @kinds);
	$q->start('-w', '-P', $q->office);
	my %spool = map { $_->{recipient} => $_->{spool} } rows($q);
	# one line of each message is an agent's, where it was the one to be tried
	my $lines = sub ($id) { grep { / spool=$id / && /(?:event|outcome)=deferred/ } logged($q) };
	ok RunQueue::wait_for(sub { !grep { !$lines->($_) } values %spool }), 'each has a line' or diag join "\n", logged($q);
	push @messages, $add->('arrive', @kinds);
	%spool = map { $_->{recipient} => $_->{spool} } rows($q);
	is scalar(keys %spool), 2 * @kinds, 'more mail for the same places';
	ok RunQueue::wait_for(sub { !grep { !$lines->($_) } values %spool }), 'each has a line' or diag join "\n", logged($q);
	my %words_of = (lmtp => 'connect to .*: Connection refused', nobody => 'no clause serves it', later => 'queueonly', broken => 'the transport agent ended.*');
	for my $m (@messages) {
		my ($channel, $user) = @$m;
		my @lines = $lines->($spool{$user});
		is scalar(@lines), 1, "$channel, $user: one line" or diag join "\n", @lines;
		like $lines[0], qr/ words="?$words_of{$channel}"?(?: next=\d+)?$| outcome=deferred .*Connection refused/, '... that says why';
		like $lines[0], qr/event=deferred spool=\S+ recipients=1 channel=$channel host=h /, '... and for which destination' if $user =~ /arrive/;
		like $lines[0], qr/ next=\d+$/, '... and until when' if $channel eq 'lmtp' && $user =~ /arrive/;
	}
	for my $channel (sort keys %words_of) {
		is scalar(grep { /event=deferred spool=- channel=$channel host=h / } logged($q)), 1, "$channel: one line for the destination";
	}
	$q->stop;
};

subtest 'a message that was moved is logged, although the directory cannot be synced' => sub {
	plan skip_all => 'processes cannot be followed here' if system('strace -o /dev/null true 2>/dev/null') != 0;
	my $q = office();
	my $plain = $q->{wrap};
	mkdir $q->office . '/hold', 0700;
	chomp(my $id = run($q, $message, 'enqueue', '-P', $q->office, '-s', 'ann@example.org', 'bob@example.org'));
	for my $verb (qw(hold release)) {
		$q->{wrap} = [@$plain, 'strace', '-f', '-o', '/dev/null', '-e', 'trace=fsync', '-e', 'inject=fsync:error=EIO'];
		run($q, '', 'zlmtp-queue', '-P', $q->office, $verb, $id);
		isnt $? >> 8, 0, "$verb: trouble";
		my $event = { hold => 'held', release => 'released' }->{$verb};
		my $moved = (glob $q->office . '/hold/*') ? 'held' : 'released';
		is $moved, $event, 'it is there all the same';
		ok RunQueue::wait_for(sub { grep { /event=$event/ } grepped($q, $id) }), 'and the log says so';
	}
};

subtest 'a message whose files cannot be removed is not done' => sub {
	my $q = office();
	my $id = run($q, $message, 'enqueue', '-P', $q->office, '-s', 'ann@example.org', 'bob@example.org') =~ s/\n//r;
	my ($name) = $q->names;
	# a mount point cannot be unlinked
	$q->{before} = [@{$q->{wrap}}, 'sh', '-c', 'mount --bind "$0" "$0" && exec "$@"', $q->office . "/transport/$name"];
	$q->start('-1', '-P', $q->office);
	my (undef, undef, $err) = $q->finish;
	like $err, qr{cannot remove \Q$name\E: Device or resource busy}, 'said so';
	ok RunQueue::wait_for(sub { grep { /outcome=delivered/ } grepped($q, $id) }), 'it was delivered';
	is_deeply [grep { /event=done/ } grepped($q, $id)], [], 'no "done" while it is there';
	$q->{before} = $q->{wrap};
	$q->start('-1', '-P', $q->office);
	$q->finish;
	ok RunQueue::wait_for(sub { 1 == grep { /event=done/ } grepped($q, $id) }), 'but when it is gone';
};

subtest 'a failure that nobody can be told of but the administrator, by a file in postman/' => sub {
	my $q = office();
	my $id = run($q, $message, 'enqueue', '-P', $q->office, '-s', '', qw(gone@example.org)) =~ s/\n//r;
	$q->start('-1', '-P', $q->office);
	$q->finish;
	ok RunQueue::wait_for(sub { grep { /event=done/ } grepped($q, $id) }), 'done';
	ok -e $q->office . "/postman/$id.failed", 'the file';
	is_deeply [map { /(event=.*)/ ? $1 : () } grep { /event=reported/ } grepped($q, $id)],
		["event=reported spool=$id from=<> to=- recipients=1 kind=failure report=postman/$id.failed"], 'is in the log, once';
};

subtest 'a damaged form is a line in the log' => sub {
	my $q = office();
	Spool->put($q->dir . '/forms/failure', "Subject: N\xe9\n\n\$recipients\n");
	my $id = run($q, $message, 'enqueue', '-P', $q->office, '-s', 'ann@example.org', qw(gone@example.org)) =~ s/\n//r;
	$q->start('-1', '-P', $q->office);
	my (undef, undef, $err) = $q->finish;
	ok RunQueue::wait_for(sub { grep { /event=done/ } grepped($q, $id) }), 'done';
	is_deeply [map { /(event=.*)/ ? $1 : () } grep { /event=form/ } logged($q)],
		['event=form spool=- words="' . $q->dir . '/forms/failure:1: not UTF-8; reports have the built-in words"'], 'once';
	unlike $err, qr/forms/, 'and nowhere else';
};

subtest 'JSON' => sub {
	my $q = office(agent => "-O log=json -l /tmp/zlmtp-queue-log-$$");
	my $id = run($q, $message, 'enqueue', '-P', $q->office, '-s', 'ann@example.org', 'bob@example.org') =~ s/\n//r;
	$q->start('-1', '-O', 'log=json', '-P', $q->office);
	$q->finish;
	ok RunQueue::wait_for(sub { grep { /"done"/ } grepped($q, $id) }), 'done';
	my %seen;
	for (grepped($q, $id)) {
		my ($object) = /(\{.*\})$/ or next;
		my $e = JSON::PP->new->utf8->decode($object);
		$seen{$e->{event} // $e->{outcome}} = $e->{spool};
	}
	is_deeply \%seen, { delivered => $id, done => $id }, 'each line is JSON';
	my @lines = split /\n/, Spool::slurp("/tmp/zlmtp-queue-log-$$");
	unlink "/tmp/zlmtp-queue-log-$$";
	is scalar(grep { !eval { JSON::PP->new->utf8->decode($_)->{time} =~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ } } @lines), 0,
		'and each of -l, with the time';
	cmp_ok scalar(grep { /"kind":"w"/ } @lines), '>', 3, 'also what was said';
	is_deeply [sort @lines], \@lines, 'in an order that sort keeps' or diag join "\n", @lines;
};

done_testing;
