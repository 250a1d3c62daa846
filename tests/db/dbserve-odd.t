#!/usr/bin/perl
# dbserve among odd clients and odd maps: each gets what the manual says or nothing, one line says so, and all others are served
# meanwhile.  And in odd places: as another user, without descriptors 0 to 2, by a socket of systemd, with 1,000 clients.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Fcntl ();
use File::Temp ();
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use RunQueue ();
use Spool ();
use Test::More;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $directory = File::Temp->newdir('/tmp/zdo-XXXXXX');
my $dir = "$directory";
chmod 0755, $dir;
delete $ENV{ZCONFIG};
$SIG{PIPE} = 'IGNORE';
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
my $pid;
END { local $?; stop() }

sub put($name, $text) { Spool->put("$dir/$name", $text) }
sub wait_for($what) { RunQueue::wait_for($what, 30) }

sub newdb() { system("cd $dir && $build/db/newdb -f dbases.conf >said 2>&1") == 0 or die "newdb\n" }

# `before` is done in the process that becomes dbserve; `by` are the words of a program that starts it.
sub start(%o) {
	stop();
	unlink glob "$dir/*.socket" unless $o{addresses};
	$pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDERR, '>', "$dir/err";
		$o{before}->() if $o{before};
		{ exec @{$o{by} // []}, "$build/db/dbserve", '-f', "$dir/dbases.conf", $o{addresses} ? $o{addresses}->@* : map { ('-L', "$_:UNIX:$dir/$_.socket,mode=0666") } qw(socketmap policy tcp) }
		POSIX::_exit(127);
	}
	return if $o{addresses};
	wait_for(sub { IO::Socket::UNIX->new(Peer => "$dir/tcp.socket") }) or die "dbserve does not listen: ", said();
}

sub stop() {
	return unless $pid;
	kill 'TERM', $pid;
	waitpid $pid, 0;
	undef $pid;
	return $?;
}

sub said() { local (@ARGV, $/) = "$dir/err"; <> // '' }

sub connection($protocol = 'socketmap') { return IO::Socket::UNIX->new(Peer => "$dir/$protocol.socket") // die "$protocol: $!\n" }
sub netstring($text) { return length($text) . ":$text," }

# The next netstring; undef at the end.
sub answer($socket) {
	my $bytes = '';
	while ($bytes !~ /^(\d+):/ || length $bytes < length($1) + 2 + $1) {
		sysread $socket, $bytes, 1, length $bytes or return undef;
	}
	return $bytes =~ s/^\d+://r =~ s/,$//r;
}
sub ask($question) { my $socket = connection(); syswrite $socket, netstring($question); return answer($socket) // 'closed' }
sub policy($recipient) {
	my $socket = connection('policy');
	syswrite $socket, "request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=$recipient\n\n";
	local $/ = "\n\n";
	return (scalar(<$socket>) // 'closed') =~ s/\n+$//r;
}
sub others_are_served($name) { is ask("recipient ann\@d.test") . policy("no\@d.test"), 'OK OKaction=REJECT 5.1.1 no such recipient', "$name: others are served" }

# All that comes until the end, or nothing when nothing more comes.
sub rest($socket) {
	my $bytes = '';
	while (IO::Select->new($socket)->can_read(20)) {
		return $bytes if !sysread $socket, $bytes, 65536, length $bytes;
	}
	return 'no end';
}

# How much of it the server takes.
sub pour($socket, $bytes) {
	my $n = 0;
	$socket->blocking(0);
	while ($n < length $bytes && IO::Select->new($socket)->can_write(0.5)) {
		my $written = syswrite $socket, $bytes, 65536, $n;
		last if !defined $written && !$!{EAGAIN};
		$n += $written // 0;
	}
	$socket->blocking(1);
	return $n;
}

put('fqdnroutes', "ann\@d.test: lmtp!store1!ann\n");
put('domains', "d.test error!nosuchuser\n");
put('big', 'key ' . 'x' x 60_000 . "\nfits " . 'x' x 4091 . "\nabove " . 'x' x 4092 . "\nquoted " . "\xc3\xa9" x 700 . "\n");
put('dbases.conf', "fqdnroutes btree - -la fqdnroutes -lm%\nroutesdb btree - -l domains -lm%:d pathalias\nbig btree - -l big -l\n");
newdb();
start();

subtest 'clients' => sub {
	my @silent = map { connection($_) } qw(socketmap policy tcp);
	others_are_served('three that say nothing');
	my @half = map { my $socket = connection($_->[0]); syswrite $socket, $_->[1]; $socket } [socketmap => '20:recip'], [socketmap => '2'], [policy => "recipient=x\@d.test\n"], [tcp => 'get ann'];
	others_are_served('four that send half a request');
	shutdown $_, 1 for @half;
	is rest($_), '', 'half a request that ends is none' for @half;
	for (['4 GB announced', 'socketmap', '4294967296:'], ['more digits than a number has', 'socketmap', '9' x 100_000], ['a length below zero', 'socketmap', '-1:,'],
		['bytes at random', 'socketmap', pack('C*', map { ($_ * 7919) % 256 } 1 .. 5000)], ['zeros', 'socketmap', "\0" x 1_000_000],
		['a policy request of 1 MB in one line', 'policy', 'recipient=' . 'x' x 1_000_000 . "\n\n"],
		['a policy request of 1 MB in many lines', 'policy', "a=b\n" x 250_000 . "\n"], ['a policy request without an end', 'policy', "recipient=ann\@d.test\n" . "a=b\n" x 250_000],
		['HTTP', 'policy', "GET / HTTP/1.0\r\nHost: x\r\n\r\n\n\n"], ['a tcp line of 1 MB', 'tcp', 'get ' . 'x' x 1_000_000 . "\n"]) {
		my ($name, $protocol, $bytes) = @$_;
		my $socket = connection($protocol);
		pour($socket, $bytes);
		shutdown $socket, 1;
		is rest($socket), '', "$name: the end, and no answer";
		others_are_served($name);
	}
	for my $protocol (qw(socketmap policy tcp)) {
		my $request = { socketmap => netstring("recipient ann\@d.test"), policy => "protocol_state=RCPT\nrecipient=ann\@d.test\n\n", tcp => "get ann\@d.test\n" }->{$protocol};
		my $greedy = connection($protocol);
		my $poured = pour($greedy, $request x 100_000);
		cmp_ok $poured, '<', 100_000 * length $request, "$protocol: requests without end, and no reply is read: they are not taken any more";
		others_are_served("$protocol: who does not read");
		close $greedy;
	}
	# it reads slowly, and asks as fast as its requests are taken
	my $slow = connection();
	my $requests = netstring('big key') x 6000;
	my ($asked, $answered, $most) = (0, 0, 0);
	$slow->blocking(0);
	while ($answered < 60_000_000 && $most < 4_000_000) {
		my $n = syswrite $slow, $requests, length($requests) - $asked % 10, $asked % 10;
		$asked += $n // 0;
		IO::Select->new($slow)->can_read(20) or last if !defined $n;
		$answered += sysread($slow, my $bytes, 300_000) // 0 if !defined $n;
		$most = $asked - $answered / 60_010 * 10 if $most < $asked - $answered / 60_010 * 10;
	}
	cmp_ok $most, '<', 2_000_000, 'replies that are read slowly: no requests are taken ahead of them';
	close $slow;
	open my $status, '<', "/proc/$pid/status" or die;
	my ($kb) = map { /^VmRSS:\s+(\d+)/ } <$status>;
	cmp_ok $kb, '<', 100_000, 'and the server has not grown by all that';
	my $lines = () = said() =~ /^dbserve: .*was expected from a client, which sent something else; its connection is closed$/mg;
	cmp_ok $lines, '>=', 1, 'a line says that a client was odd';
	cmp_ok $lines, '<=', 5, 'not one for each';
	is scalar(grep { !/was expected from a client/ } split /\n/, said()), 0, 'and nothing else';
};

subtest 'maps' => sub {
	is ask("recipient ann\@d.test"), 'OK OK', 'a map is there';
	rename "$dir/fqdnroutes.db", "$dir/away" or die;
	ok wait_for(sub { ask("recipient ann\@d.test") =~ /^TEMP .*fqdnroutes/ }), 'it disappears: could not tell';
	is policy("ann\@d.test"), 'action=DEFER_IF_PERMIT 4.3.0 temporary lookup failure: cannot tell whether this recipient exists', '... by policy, too';
	is ask('routesdb d.test'), 'OK error!nosuchuser', '... and another map answers';
	rename "$dir/away", "$dir/fqdnroutes.db" or die;
	ok wait_for(sub { ask("recipient ann\@d.test") eq 'OK OK' }), 'until it is back';

	is ask("recipient no\@d.test"), 'NOTFOUND ', 'one that is not there';
	system("cp $dir/fqdnroutes.db $dir/cut && truncate -s 4096 $dir/cut") == 0 or die;
	rename "$dir/fqdnroutes.db", "$dir/away" or die;
	rename "$dir/cut", "$dir/fqdnroutes.db" or die;
	ok wait_for(sub { ask("recipient no\@d.test") =~ /^TEMP / }), 'a map that is cut off: could not tell, never "not found"';
	rename "$dir/away", "$dir/fqdnroutes.db" or die;
	ok wait_for(sub { ask("recipient ann\@d.test") eq 'OK OK' }), 'until it is whole';
	truncate "$dir/fqdnroutes.db", 4096 or die;
	isnt ask("recipient no\@d.test"), 'NOTFOUND ', 'cut off while it is open: not "not found" either';
	newdb();
	ok wait_for(sub { ask("recipient ann\@d.test") eq 'OK OK' }), 'and built again';

	# written anew again and again: what stays in it is always there
	my $writer = fork // die;
	if ($writer == 0) {
		$SIG{TERM} = 'DEFAULT';
		for my $n (1 .. 10_000) {
			put('fqdnroutes', "ann\@d.test: lmtp!store1!ann\nuser$n\@d.test: lmtp!store1!user\n");
			newdb();
		}
		POSIX::_exit(0);
	}
	my %seen;
	my $inode = (stat "$dir/fqdnroutes.db")[1];
	my $changes = 0;
	my $socket = connection();
	for (my $end = time + 60; $changes < 20 && time < $end;) {
		syswrite $socket, netstring("recipient ann\@d.test") . netstring("recipient no\@d.test");
		$seen{join ', ', map { answer($socket) // 'closed' } 1, 2}++;
		my $now = (stat "$dir/fqdnroutes.db")[1] // $inode;
		$changes++ if $now != $inode;
		$inode = $now;
	}
	kill 'KILL', $writer;
	waitpid $writer, 0;
	is_deeply [keys %seen], ['OK OK, NOTFOUND '], 'a map that is made anew all the time: right answers only';
	put('fqdnroutes', "ann\@d.test: lmtp!store1!ann\n");
	newdb();
};
is stop(), 0, 'SIGTERM ends it well';

# An address has many spellings.  Whichever a client uses, it is judged as dblookup -r judges it, and as its plain form is by every map.
subtest 'spellings' => sub {
	my %was = map { $_ => do { local (@ARGV, $/) = "$dir/$_"; <> } } qw(fqdnroutes domains dbases.conf);
	put('fqdnroutes', "ann\@d.test: lmtp!store1!ann\n\"a b\"\@d.test: lmtp!store1!ab\nuli\@xn--mnchen-3ya.test: lmtp!store1!uli\n");
	put('fqdnaliases', "team\@d.test: ann\@d.test\nself\@d.test: self\@d.test\n\"odd one\"\@d.test: ann\@d.test\n");
	put('domains', "d.test error!nosuchuser\nxn--mnchen-3ya.test error!nosuchuser\n");
	put('dbases.conf', "$was{'dbases.conf'}fqdnaliases btree - -la fqdnaliases -lm%\n");
	put('table', "lmtp/* box:\nsmtp/* out:\n");
	newdb();
	my $idn = do { local (@ARGV, $/) = "$build/config.h"; <> =~ /HAVE_IDN 1/ };
	unlink glob "$dir/*.socket";
	start(addresses => [map({ ('-L', "$_:UNIX:$dir/$_.socket") } qw(socketmap policy)), '-T', "$dir/table"]);
	ok wait_for(sub { IO::Socket::UNIX->new(Peer => "$dir/policy.socket") }), 'it listens';
	my $judged = sub ($address) {
		my $domain = $address =~ /\@([^\@]*?)>?$/ ? $1 : $address;
		return join ', ', map({ ask("$_ $address") } qw(recipient alias transport)), ask("domain $domain"), policy($address);
	};
	my $refused = 'action=REJECT 5.1.1 no such recipient';
	for (["ann\@d.test", 'OK OK, NOTFOUND , OK box:, OK OK, action=DUNNO', "ANN\@D.TEST", "ann\@d.test.", "\"ann\"\@d.test", "\"a\\nn\"\@D.test", "<ann\@d.test>", "\@r.test:ann\@d.test", "ann+x\@d.test"],
		["no\@d.test", "NOTFOUND , NOTFOUND , NOTFOUND , OK OK, $refused", "NO\@D.TEST.", "\"no\"\@d.test", "<no\@d.test>", "no \@d.test", "ann\@\@d.test", "*\@d.test", "\"ann\@d.test\"\@d.test"],
		["a b\@d.test", 'OK OK, NOTFOUND , OK box:, OK OK, action=DUNNO', "\"a b\"\@d.test", "\"a\\ b\"\@d.test", "\"A b\"\@d.test."],
		["team\@d.test", "OK OK, OK ann\@d.test, OK box:, OK OK, action=DUNNO", "\"team\"\@d.test", "TEAM\@d.test."],
		["odd one\@d.test", "OK OK, OK ann\@d.test, OK box:, OK OK, action=DUNNO", "\"odd one\"\@d.test", "\"odd\\ one\"\@d.test."],
		["self\@d.test", "NOTFOUND , NOTFOUND , NOTFOUND , OK OK, $refused", "\"self\"\@d.test", "SELF\@d.test."],
		["x\@else.test", 'OK OK, NOTFOUND , OK out:, NOTFOUND , action=DUNNO', "x\@ELSE.test.", "\"x\"\@else.test"],
		["ann\@[192.0.2.1]", 'OK OK, NOTFOUND , OK out:, NOTFOUND , action=DUNNO'],
		["ann\@d..test", 'NOTFOUND , NOTFOUND , NOTFOUND , NOTFOUND , action=DUNNO', "ann\@.d.test", "ann\@[d.test]", "\@", "ann\@"],
		["\@d.test", "NOTFOUND , NOTFOUND , NOTFOUND , OK OK, $refused"],
		$idn ? (["uli\@xn--mnchen-3ya.test", 'OK OK, NOTFOUND , OK box:, OK OK, action=DUNNO', "uli\@XN--MNCHEN-3YA.test.", "uli\@m\xc3\xbcnchen.test", "\"uli\"\@m\xc3\xbcnchen.test."]) : ()) {
		my ($plain, $expected, @others) = @$_;
		for my $address ($plain, @others) {
			my $name = $address =~ s/[^ -~]/?/gr;
			is $judged->($address), $expected, $name;
			my $status = do { open my $out, '-|', "$build/db/dblookup", '-f', "$dir/dbases.conf", '-r', '--', $address; my @lines = <$out>; close $out; $? >> 8 };
			is $status, $expected =~ /^OK/ ? 0 : 1, "$name: dblookup -r";
		}
	}
	is ask("domain $_->[0]"), $_->[1], "domain $_->[0]" for ['d.test.', 'OK OK'], ['D.Test.', 'OK OK'], ['d.test..', 'NOTFOUND '], ['.', 'NOTFOUND '], ["x\@d.test", 'NOTFOUND '], ["\@d.test", 'NOTFOUND '];
	is ask("alias $_"), 'NOTFOUND ', "no list has $_" for 'nobody', 'postmaster', 'd.test', '.', '|cmd';
	is policy('Postmaster'), 'action=DUNNO', '<postmaster> is not refused (RFC 5321 section 4.5.1)';
	is policy('nobody-else'), $refused, 'other names without a domain are';
	is policy($_), $refused, 'and what is no address and has no domain: ' . s/[^ -~]/?/gr for '<>', '"x', "\x01", '\\', '!', '""';
	like ask("recip\0ient ann\@d.test"), qr/^PERM /, 'a NUL in the name of a map';
	like ask("recipient\0x ann\@d.test"), qr/^PERM /, '... and behind one';
	is ask("recipient ann\@d.test\0"), 'NOTFOUND ', '... in a key';
	my $socket = connection('policy');
	syswrite $socket, "protocol_state=RCPT\nrecipient=ann\@d.test\0x\n\n";
	is rest($socket), '', '... in a policy request: the end';
	is stop(), 0, 'SIGTERM ends it well';
	put($_, $was{$_}) for keys %was;
	unlink "$dir/fqdnaliases", "$dir/fqdnaliases.db";
	newdb();
};

# Several children are asked at a time, and each of them cannot tell.
subtest 'a line in ten seconds is the daemon\'s, not each child\'s' => sub {
	my $text = do { local (@ARGV, $/) = "$dir/dbases.conf"; <> };
	plan skip_all => 'built without SQLite' unless -e "$build/db/zlmtp-sqlite.so";
	put('trouble.cf', "dbpath = $dir/nowhere\nquery = SELECT v FROM u WHERE a = '%s'\n");
	put('dbases.conf', "${text}trouble sqlite - - $dir/trouble.cf -l\n");
	start();
	my @clients = map { my $socket = connection(); syswrite $socket, netstring("trouble key$_"); $socket } 1 .. 60;
	is scalar(grep { answer($_) =~ /^TEMP .*nowhere/ } @clients), 60, 'none of 60 can be told';
	is scalar(() = said() =~ /could not tell/g), 1, 'one line';
	is ask("trouble a\0b"), 'NOTFOUND ', 'a key with a NUL is none, also in a child';
	is stop(), 0, 'SIGTERM ends it well';
	put('dbases.conf', $text);
};

SKIP: {
	skip 'needs root', 1 if $> != 0;
	subtest 'as another user' => sub {
		# setpriv(1) also starts what was built in a directory that is closed to others
		my @other = qw(setpriv --reuid=65534 --regid=65534 --clear-groups);
		mkdir "$dir/run" or die;
		chown 65534, 65534, "$dir/run";
		start(by => \@other, addresses => ['-L', "socketmap:UNIX:$dir/run/socketmap.socket"]);
		my $socket;
		ok wait_for(sub { $socket = IO::Socket::UNIX->new(Peer => "$dir/run/socketmap.socket") }), 'it listens';
		syswrite $socket, netstring("recipient ann\@d.test");
		is answer($socket), 'OK OK', 'and answers from maps that it may read';
		chmod 0600, "$dir/fqdnroutes.db";
		utime undef, undef, "$dir/fqdnroutes.db";
		is stop(), 0, 'it ends';
		start(by => \@other, addresses => ['-L', "socketmap:UNIX:$dir/run/socketmap.socket"]);
		ok wait_for(sub { $socket = IO::Socket::UNIX->new(Peer => "$dir/run/socketmap.socket") }), 'started again';
		syswrite $socket, netstring("recipient ann\@d.test");
		like answer($socket), qr/^TEMP .*fqdnroutes.*Permission denied/, 'a map that it may not read: could not tell, and why';
		chmod 0644, "$dir/fqdnroutes.db";
		ok wait_for(sub { syswrite $socket, netstring("recipient ann\@d.test"); answer($socket) eq 'OK OK' }), 'until it may';
	};
}

subtest 'descriptors 0 to 2 are closed' => sub {
	start(before => sub { POSIX::close($_) for 0 .. 2 });
	others_are_served('it listens');
	my $socket = connection();
	syswrite $socket, 'x';
	is rest($socket), '', 'a line for the log harms nobody';
	others_are_served('behind that');
	is stop(), 0, 'SIGTERM ends it well';
};

subtest 'sockets that systemd has opened' => sub {
	my @sockets = map { IO::Socket::UNIX->new(Local => "$dir/$_.socket", Listen => 10) // die "$_: $!" } qw(socketmap policy tcp);
	for my $names ('socketmap:policy:tcp', 'zlmtp-dbserve.socket:policy:tcp') {
		start(addresses => [], before => sub {
			for my $i (0 .. 2) { POSIX::dup2(fileno $sockets[$i], 20 + $i) }
			for my $i (0 .. 2) { POSIX::dup2(20 + $i, 3 + $i); POSIX::close(20 + $i) }
			@ENV{qw(LISTEN_PID LISTEN_FDS LISTEN_FDNAMES)} = ($$, 3, $names);
		});
		others_are_served($names);
		my $socket = connection('tcp');
		syswrite $socket, "get ann\@d.test\n";
		is scalar(<$socket>), "200 OK\n", 'the third is tcp';
		is stop(), 0, 'SIGTERM ends it well';
		ok -S "$dir/$_.socket", "$_: the socket is systemd's, and stays" for qw(socketmap policy tcp);
	}
};
unlink glob "$dir/*.socket";

subtest '1,000 clients' => sub {
	start();
	my @clients;
	while (@clients < 1000) {
		my $socket = IO::Socket::UNIX->new(Peer => "$dir/" . (@clients % 2 ? 'socketmap' : 'policy') . '.socket') or last;
		push @clients, $socket;
	}
	plan skip_all => 'only ' . @clients . ' descriptors here' if @clients < 1000;
	for my $round (1 .. 3) {
		my $right = 0;
		for my $i (0 .. $#clients) {
			my $user = ($i + $round) % 3 ? 'ann' : "no$i";
			syswrite $clients[$i], $i % 2 ? netstring("recipient $user\@d.test") : "protocol_state=RCPT\nrecipient=$user\@d.test\n\n";
		}
		for my $i (0 .. $#clients) {
			my $there = ($i + $round) % 3;
			my $said = $i % 2 ? answer($clients[$i]) : do { local $/ = "\n\n"; readline $clients[$i] };
			$right++ if $said eq ($i % 2 ? ($there ? 'OK OK' : 'NOTFOUND ') : $there ? "action=DUNNO\n\n" : "action=REJECT 5.1.1 no such recipient\n\n");
		}
		is $right, 1000, "round $round: each has its own answer";
	}
	close $_ for @clients[0 .. 499];
	others_are_served('half of them have gone');
	is stop(), 0, 'SIGTERM ends it well';
};

# Clients keep their connections: who says nothing shall not keep others out, whatever the system lets a process open.
# Postfix gives up on a longer line, and tries ten times.
subtest 'a value that no reply of tcp can hold cannot be told' => sub {
	unlink "$dir/tcp.socket";
	start(addresses => ['-m', 'big', '-L', "tcp:UNIX:$dir/tcp.socket,mode=0666"]);
	wait_for(sub { IO::Socket::UNIX->new(Peer => "$dir/tcp.socket") }) or die "dbserve does not listen: ", said();
	my $socket = connection('tcp');
	my @lines = map { syswrite $socket, "get $_\n"; scalar <$socket> } qw(fits above quoted key none);
	is $lines[0], '200 ' . 'x' x 4091 . "\n", '4096 bytes with the end of the line';
	is $lines[$_], "400 the%20value%20is%20too%20long%20for%20a%20reply%20of%204096%20bytes\n", '... more' for 1 .. 3;
	is $lines[4], "500 not%20found\n", '... and the next one is its own';
	is stop(), 0, 'SIGTERM ends it well';
};

subtest 'few descriptors' => sub {
	start(by => ['sh', '-c', 'ulimit -n 40; exec "$@"', 'sh']);
	my @idle = map { connection(qw(tcp socketmap policy)[$_ % 3]) } 1 .. 120;
	my $late = connection();
	syswrite $late, netstring("recipient ann\@d.test");
	ok IO::Select->new($late)->can_read(20), 'who comes behind 120 silent clients has an answer' and is answer($late), 'OK OK', '... the right one';
	is rest($idle[0]), '', 'the one that was idle longest is disconnected';
	syswrite $late, netstring("recipient no\@d.test");
	is answer($late), 'NOTFOUND ', '... and not who has just asked';
	my @lines = split /\n/, said();
	is scalar @lines, 1, 'one line for all of them' or diag said();
	like $lines[0], qr/^dbserve: \d+ clients are connected, and more come: the one that was idle longest is disconnected$/, '... in words';
	is stop(), 0, 'SIGTERM ends it well';
};

subtest 'what lies where a socket should be' => sub {
	put('file', "text\n");
	symlink 'nowhere', "$dir/link";
	mkdir "$dir/directory";
	for (['file', 'a file that is no socket is there; remove it, or name another path'], ['directory', 'a directory is there; name a path in it'],
		['link', 'a symbolic link is there; name the path that it is for, or remove it']) {
		my ($name, $why) = @$_;
		start(addresses => ['-L', "socketmap:UNIX:$dir/$name"]);
		waitpid $pid, 0;
		is $? >> 8, 69, "$name: exit status";
		undef $pid;
		is said(), "dbserve: -L socketmap:UNIX:$dir/$name: $why\n", '... one line says what is there';
	}
	is Spool::slurp("$dir/file"), "text\n", 'the file stays as it was';
	start();
	rename "$dir/tcp.socket", "$dir/moved" or die;
	my $other = IO::Socket::UNIX->new(Local => "$dir/tcp.socket", Listen => 1) or die;
	is stop(), 0, 'SIGTERM ends it well';
	ok -S "$dir/tcp.socket", 'a socket of another program that was put there meanwhile stays';
};
subtest 'several that start over one socket that was left behind' => sub {
	stop();
	my $path = "$dir/left.socket";
	my $begin = sub ($n) {
		my $child = fork // die "fork: $!\n";
		if ($child == 0) {
			open STDERR, '>', "$dir/err.$n";
			{ exec "$build/db/dbserve", '-f', "$dir/dbases.conf", '-L', "tcp:UNIX:$path" }
			POSIX::_exit(127);
		}
		return $child;
	};
	my (@bad, @odd);
	for my $round (1 .. 6) {
		unlink $path;
		close(IO::Socket::UNIX->new(Local => $path, Listen => 1) // die "$path: $!\n");
		# this is what they wait for: none looks at the socket while another one does
		open my $place, '<', $dir or die "$dir: $!\n";
		flock $place, Fcntl::LOCK_EX();
		my %all = map { $begin->($_) => $_ } 1 .. 8;
		my $inode = (stat $path)[1];
		my $waits = sub ($child) { (readlink "/proc/$child/exe" // '') =~ /dbserve$/ && grep { (readlink $_ // '') eq $dir } glob "/proc/$child/fd/*" };
		wait_for(sub { keys %all == grep { $waits->($_) } keys %all }) or push @bad, "$round: they do not wait";
		push @bad, "$round: the socket was replaced" if (stat $path)[1] != $inode;
		close $place;
		my %left = %all;
		wait_for(sub {
			for my $child (keys %left) {
				next if waitpid($child, POSIX::WNOHANG()) != $child;
				my $n = delete $left{$child};
				push @odd, "$round: $? " . Spool::slurp("$dir/err.$n") if $? >> 8 != 69
					|| Spool::slurp("$dir/err.$n") ne "dbserve: -L tcp:UNIX:$path: another process listens there; end it, or name another path\n";
			}
			return keys %left <= 1;
		});
		push @bad, "$round: " . keys(%left) . ' are left' if keys %left != 1;
		my $socket = IO::Socket::UNIX->new(Peer => $path);
		syswrite $socket, "get ann\@d.test\n" if $socket;
		push @bad, "$round: no answer" if !$socket || !defined readline $socket;
		kill TERM => keys %left;
		waitpid $_, 0 for keys %left;
		push @bad, "$round: its socket is left" if -e $path;
	}
	is "@bad", '', 'one of them listens';
	is "@odd", '', 'the others end with 69 and a line';

	open my $stranger, '<', $dir or die "$dir: $!\n";
	flock $stranger, Fcntl::LOCK_EX();
	my $child = $begin->(9);
	ok wait_for(sub { IO::Socket::UNIX->new(Peer => $path) }), 'somebody who keeps the directory locked keeps none from listening';
	kill TERM => $child;
	waitpid $child, 0;
};

done_testing;
