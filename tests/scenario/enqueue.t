#!/usr/bin/perl
# enqueue from the outside: what it writes, what it prints, and how it says no.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Find ();
use File::Temp ();
use Test::More;
use Prometheus;
use Spool;
use Tool ();

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $enqueue = "$build/channel/enqueue";
my $dir = File::Temp->newdir('/tmp/zlmtp-enqueue-XXXXXX');
my $message = "From: Ann <ann\@example.org>\nSubject: lunch\nBcc: eve\@example.org\n\nNoon?\n.\n";
my @bob = ('-r', 'lmtp,-,bob@example.net');
my $offices = 0;

delete $ENV{ZCONFIG};

# Runs it with this input; returns exit status, stdout, stderr.
sub run($input, @arguments) {
	my $got = Tool::run([$enqueue, @arguments], in => $input);
	return @$got{qw(status out err)};
}

sub office { "$dir/po" . ++$offices }

sub files($office) {
	my @found;
	File::Find::find({ no_chdir => 1, wanted => sub { push @found, s/^\Q$office\E\///r if -f } }, $office) if -d $office;
	return sort @found;
}

sub refuses($name, $status, $words, @arguments) {
	my $office = office();
	Spool->new($office);
	my ($got, $out, $err) = run($message, '-P', $office, @arguments);
	is $got, $status, "$name: exit $status";
	is $out, '', "$name: nothing on stdout";
	like $err, qr/^enqueue: [^\n]*$words[^\n]*\n\z/, "$name: one line that says so";
	is_deeply [files($office)], [], "$name: the spool is as it was";
}

subtest 'an empty sender is none, as with sendmail, and an empty host is "-"' => sub {
	my $office = office();
	Spool->new($office);
	my ($status, undef, $err) = run($message, '-P', $office, '-s', '', '-r', 'lmtp,,bob');
	is "$status $err", '0 ', 'taken';
	my ($job) = map { s{.*/}{}r } glob "$office/transport/*";
	like Spool::slurp("$office/transport/$job"), qr/^s error <> <> \d+$/m, 'nobody hears of a failure';
	like Spool::slurp("$office/transport/$job"), qr/^r.{7,11}lmtp - bob \d+$/m, 'the host';
};

subtest 'directories of the hash have the mode of the others, whatever the umask is' => sub {
	for my $umask (0, 0777) {
		my $office = office();
		Spool->new($office);
		my $before = umask $umask;
		my ($status, undef, $err) = run($message, '-HH', '-P', $office, @bob);
		umask $before;
		is "$status $err", '0 ', sprintf 'umask %03o: taken', $umask;
		is join(' ', map { sprintf '%04o', (stat)[2] & 07777 } glob "$office/{queue,transport}/* $office/{queue,transport}/*/*"),
			join(' ', ('0750') x 4), '... the owner reaches what it made';
	}
};

subtest 'a device that never ends is no message' => sub {
	for my $device ('/dev/zero', '/dev/full', '/dev/urandom') {
		my $office = office();
		Spool->new($office);
		my $said = qx(timeout 20 $enqueue -P $office @bob <$device 2>&1);
		is $? >> 8, 66, "$device: 66";
		is $said, "enqueue: standard input: not a regular file\n", "$device: one line";
		is_deeply [files($office)], [], "$device: nothing is left";
	}
};

subtest 'a file that may not grow is told like a full disk' => sub {
	# in blocks of 512 or 1024 bytes
	for my $limit (0, 1) {
		my $office = office();
		Spool->new($office);
		Spool->put("$dir/big", $message . "x" x 70 . "\n" x 100_000);
		my $said = qx(ulimit -f $limit; $enqueue -P $office @bob <$dir/big 2>&1);
		is $? & 127, 0, "ulimit -f $limit: it is not ended by a signal";
		is $? >> 8, 74, 'but exits with 74';
		like $said, qr/^enqueue: cannot write \S+: File too large$/, 'and says why';
		is_deeply [files($office)], [], 'nothing is left';
	}
};

subtest 'hosts that would be something else in an agent\'s command' => sub {
	refuses "-r lmtp,$_,bob", 65, 'host .*: it ', '-r', "lmtp,$_,bob" for '-lx', '--', '../101', 'a/../../b', '..', '/etc/x';
	refuses '-r -x,-,bob', 65, 'channel .*: it ', '-r', '-x,-,bob';
};

subtest 'what was pasted with a blank that is none, or with its brackets' => sub {
	for my $odd ("\xc2\xa0", "\xe2\x80\x8b", "\xef\xbb\xbf", "\xe3\x80\x80") {
		my $bytes = join '', map { sprintf '%02x', ord } split //, $odd;
		refuses "$bytes in a sender", 65, 'holds U\+[0-9A-F]{4}', '-s', "ann${odd}\@x.test", @bob;
		refuses "$bytes behind a sender", 65, 'holds U\+[0-9A-F]{4}', '-s', "ann\@x.test$odd", @bob;
		refuses "$bytes in -r $_", 65, 'holds U\+[0-9A-F]{4}', '-r', $_ =~ s/_/$odd/r for 'lmtp,-,bob_', 'lmtp,s_,bob', 'lm_tp,-,bob';
		refuses "$bytes in an address", 65, 'holds U\+[0-9A-F]{4}', '-s', 'ann@x.test', "bob${odd}\@example.net";
	}
	refuses "a user $_", 65, 'is no address: ', '-r', "lmtp,-,$_"
		for 'a@e..test', 'a@e.test:25', 'a@', '@e.test', '@x.test:a@e.test', 'a@[300.1.1.1]', 'a@-e.test', 'a@' . 'e' x 64 . '.test', '"a@e.test',
			'a@e_/x.test', 'a@.test', 'a@e.test..', 'a@e te.st', '"a@e"';
	refuses "a user $_", 65, 'angle brackets', '-r', "lmtp,-,$_" for '<bob>', '<bob@example.net>', '<>';
	refuses "a sender $_", 65, 'is no address: it stands in angle brackets', '-s', $_, @bob for '<ann>', '<ann@x.test>', '< >';
	for my $user ('"<bob>"@example.net', '"a@e..test"@example.net', 'a..b@example.net', 'a@[192.0.2.1]', '/mail/x@e..test', '|"filter <x >y"', "b\xc3\xbcb\@example.net") {
		my $office = office();
		Spool->new($office);
		my ($status, undef, $err) = run($message, '-P', $office, '-s', 'ann@x.test', '-r', "lmtp,-,$user");
		is $status, 0, "a user $user: taken" or diag $err;
	}
};

subtest 'what is no recipient, but was meant for something else' => sub {
	refuses('an option behind them', 64, '-s: options come before other words', 'bob@example.net', '-s', 'ann@example.org');
	refuses('a file', 65, '/tmp/message: a file, and no address; the message is read from standard input, < /tmp/message', 'bob@example.net', '/tmp/message');
};

subtest 'a sender is judged as a recipient is' => sub {
	refuses("sender $_", 65, 'is no address: ', '-s', "'$_'" =~ s/^'|'$//gr, @bob)
		for 'not an address', 'Bob <bob@x.test>', 'ann@x.test ', '@x.test', 'a@b@c.test', 'a@x..test', '\\ann@x.test';
	for my $good ('ann', 'ann@x.test', '"a b"@x.test', 'x..y@x.test', 'ann@[192.0.2.1]', '<>', '') {
		my $office = office();
		Spool->new($office);
		my ($status, $out, $err) = run($message, '-P', $office, '-s', $good, @bob);
		is $status, 0, "sender \"$good\": exit 0" or diag $err;
	}
};

subtest 'a message with its envelope' => sub {
	my $office = office();
	my ($status, $out, $err) = run($message, '-m', '-HH', '-P', $office, '-s', 'ann@example.org', '-N', 'FAILURE,DELAY',
		'-R', 'hdrs', '-e', 'QQ314159', @bob, '-r', 'lmtp,store1,carol,x@example.net', '-r', 'local,,dan d');
	is $status, 0, 'exit 0';
	is $err, '', 'nothing on stderr';
	my ($id) = $out =~ /^(S\d+A[\w=-]+)\n\z/ or return fail "a spool id on stdout, not $out";
	my $name = Spool::job($office, $id) // return fail "no message of $id";
	is_deeply [files($office)], ["queue/$name", "transport/$name"], 'two files and nothing else';

	my $inode = (stat "$office/queue/$name")[1];
	my $letters = chr(65 + int($inode / 26) % 26) . '/' . chr(65 + $inode % 26);
	is $name, "$letters/$inode", 'named by its inode number, hashed twice';

	my $c = Spool::parse($name, Spool::slurp("$office/transport/$name"));
	is $c->{message}, $inode, 'the control file names the message file';
	is_deeply [map { join '|', @$_{qw(tag pid channel host user)} } @{$c->{recipients}}],
		[' ||lmtp|-|bob@example.net', ' ||lmtp|store1|carol,x@example.net', ' ||local|-|"dan d"'], 'recipients';
	like $c->{recipients}[2]{dsn}, qr/^NOTIFY=FAILURE,DELAY ORCPT=rfc822;dan\+20d INRCPT=rfc822;dan\+20d INFROM=rfc822;ann\@example\.org ORCPTFROM=INRCPT$/,
		'DSN parameters';
	is "$c->{ret} $c->{envid}", 'HDRS QQ314159', 'RET and ENVID';
	is_deeply $c->{recipients}[0]{sender}, ['local', 'ann@example.org', 'ann@example.org', $<], 'sender';
	my $header = $c->{recipients}[0]{header};
	like $header, qr/\AReceived: by \S+ id \Q$id\E;\n\t[^\n]+\nFrom: Ann/, 'Received stands first';
	like $header, qr/^Date:\t\w{3}, .*\nMessage-ID: <S$inode/m, 'Date and Message-ID are added';
	unlike $header, qr/eve/, 'Bcc is removed';

	my $file = Spool::slurp("$office/queue/$name");
	is substr($file, $c->{offset}), "Noon?\n.\n", 'the body begins at its offset';
	like $file, qr/\Afrom <ann\@example\.org>\nenvid QQ314159\nnotaryret HDRS\ntodsn NOTIFY=FAILURE,DELAY ORCPT/, 'envelope lines';
	like $file, qr/^to <dan d>\nenv-end\nFrom: Ann/m, 'they end before the header';
};

subtest 'no return path' => sub {
	my $office = office();
	my ($status, $out) = run($message, '-m', '-P', $office, '-s', '<>', @bob);
	is $status, 0, 'exit 0';
	my $name = Spool::job($office, $out) // '';
	my $control = Spool::slurp("$office/transport/$name");
	like $control, qr/^s error <> <> \d+\n/m, 'channel error';
	unlike $control, qr/^e /m, 'nobody to complain to';
	like Spool::slurp("$office/queue/$name"), qr/\Achannel error\n/, 'in the envelope as well';
};

subtest 'odd messages' => sub {
	my %odd = ('empty' => '', 'text only' => "just text\n", 'header only' => "A: b\n", 'without last line end' => "A: b\n\nx",
		'CRLF' => "A: b\r\n\r\nx\r\ny\r\n", 'NUL and 8 bits in the body' => "A: b\n\nx\0\xff\ry\n");
	my %body = ('empty' => '', 'text only' => "just text\n", 'header only' => '', 'without last line end' => 'x',
		'CRLF' => "x\ny\n", 'NUL and 8 bits in the body' => "x\0\xff\ry\n");
	for my $kind (sort keys %odd) {
		my $office = office();
		my ($status, $out, $err) = run($odd{$kind}, '-m', '-P', $office, @bob);
		my $name = Spool::job($office, $out) // '';
		my $c = Spool::parse($name, Spool::slurp("$office/transport/$name") // '');
		is "$status $err", '0 ', "$kind: accepted";
		is substr(Spool::slurp("$office/queue/$name"), $c->{offset}), $body{$kind}, "$kind: body";
	}
};

subtest 'settings of ZENV' => sub {
	my $office = office();
	Spool->put("$dir/zenv", "POSTOFFICE=$office\nSCHEDULERDIRHASH=1\n");
	local $ENV{ZCONFIG} = "$dir/zenv";
	my ($status, $out) = run($message, '-m', @bob);
	is $status, 0, 'exit 0';
	my $name = Spool::job($office, $out) // '';
	like $name, qr/^[A-Z]\/\d+$/, 'one level';
	ok -f "$office/transport/$name", 'in the post office of ZENV';
};

subtest 'what it says when asked' => sub {
	my $office = office();
	my ($status, $out, $err) = run($message, '-v', '-m', '-P', $office, @bob);
	like $err, qr/^enqueue: \Q$office\E\/transport\/\d+: 1 recipient$/, '-v';
	($status, $out, $err) = run('', '-h');
	is $status, 0, '-h: exit 0';
	like $out, qr/^usage: enqueue /, '-h';
};

subtest 'a word of NOTIFY may come twice, as at the intake' => sub {
	my $office = office();
	Spool->new($office);
	my ($status, $out, $err) = run($message, '-P', $office, '-N', 'SUCCESS,delay,SUCCESS', @bob);
	is $status, 0, 'it is taken' or diag $err;
};

refuses 'no recipient', 64, 'expected a recipient';
refuses 'unknown option', 64, 'unknown option -q', '-q', @bob;
refuses 'an address without maps', 64, 'expected the maps that route addresses', 'bob';
refuses 'half a triple', 64, 'expected channel,host,user', '-r', 'lmtp,bob';
refuses 'a triple without user', 64, 'expected channel,host,user', '-r', 'lmtp,-,';
refuses 'three levels', 64, 'two levels', '-HHH', @bob;
refuses 'an unknown RET', 64, 'FULL or HDRS', '-R', 'ALL', @bob;
refuses 'NEVER with others', 64, 'NEVER or a list', '-N', 'NEVER,DELAY', @bob;
refuses 'a line end in a recipient', 65, 'printable ASCII', '-r', "lmtp,-,bob\nr x";
refuses 'a line end in the sender', 65, 'control bytes', '-s', "ann\nx", @bob;
refuses "$_ as envelope id", 65, 'printable ASCII', '-e', $_, @bob for 'a b', "\xc3\xbc", 'a=b', 'a+b', '', 'x' x 101;

subtest 'no post office' => sub {
	my ($status, $out, $err) = run($message, @bob);
	is $status, 64, 'none named: exit 64';
	($status, $out, $err) = run($message, '-P', "$dir/nowhere", @bob);
	is $status, 73, 'not there: exit 73';
	like $err, qr/^enqueue: cannot create a file in \Q$dir\E\/nowhere: No such file/, 'and a line that says so';
	ok !-e "$dir/nowhere", 'it is not made without -m';
};

subtest 'root writes as the owner of the post office' => sub {
	plan skip_all => "only root can become somebody else" if $> != 0;
	my $office = office();
	Spool->new($office);
	chmod 0755, $dir;
	my ($uid, $gid) = (getpwnam "nobody")[2, 3];
	system "chown", "-R", "$uid:$gid", $office;
	my ($status, $out, $err) = run($message, "-P", $office, "-HH", @bob);
	is $status, 0, "exit 0" or diag $err;
	my %owners = map { $_ => 1 } split /\n/, qx{find "$office" -printf "%U:%G\n"};
	is_deeply [keys %owners], ["$uid:$gid"], "no file or directory belongs to anybody else";
	my $name = Spool::job($office, $out) // '';
	my $c = Spool::parse($name, Spool::slurp("$office/transport/$name"));
	is $c->{recipients}[0]{sender}[3], 0, "the sender is root all the same";
	$office = office();
	mkdir $office;
	chown $uid, $gid, $office;
	symlink $dir, "$office/public" or die;
	my $mode = (stat $dir)[2];
	is +(run($message, '-m', '-P', $office, @bob))[0], 73, '-m, with a link in the place of a directory';
	is ''.(stat $dir)[2], $mode, 'where that leads nothing is changed';
	unlink "$office/public";
	is +(run($message, '-m', '-P', $office, @bob))[0], 0, '-m';
	%owners = map { $_ => 1 } split /\n/, qx{find "$office" -printf "%U:%G\n"};
	is_deeply [keys %owners], ["$uid:$gid"], 'directories that it makes are the owner\'s, too';
};

SKIP: {
	skip 'needs root and strace', 1 if $> != 0 || system('strace -o /dev/null true 2>/dev/null') != 0;
	# the sandbox of the package's units has no such calls: intake and zlmtp-report put mail into the queue as this does
	subtest 'who is not root asks for nothing that root alone may do' => sub {
		local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
		my $office = office();
		Spool->new($office);
		chmod 0755, $dir;
		my ($uid, $gid) = (getpwnam "nobody")[2, 3];
		system "chown", "-R", "$uid:$gid", $office;
		Spool->put("$dir/in", $message);
		# the sources may be where nobody else may look, as below /root
		system 'cp', $enqueue, "$dir/enqueue";
		system "setpriv --reuid=$uid --regid=$gid --clear-groups strace -D -f -o $office/trace -e trace=setfsuid,setfsgid,setuid,setgid,setgroups,setresuid,chown,fchown,fchownat"
			. " $dir/enqueue -m -P $office @bob <$dir/in >/dev/null 2>$dir/err";
		is $? >> 8, 0, 'queued' or diag Spool::slurp("$dir/err");
		is join('', grep { /\(/ } split /^/, Spool::slurp("$office/trace")), '', 'by no such call';
	};
}

subtest 'disk full' => sub {
	my $office = office();
	Spool->new($office);
	Spool->put("$dir/in", $message . 'x' x 200_000);
	my $status = system 'sh', '-c', "trap '' XFSZ; ulimit -f 64; exec '$enqueue' -P '$office' -r lmtp,-,bob <'$dir/in' 2>'$dir/err'";
	is $status >> 8, 74, 'exit 74';
	like Spool::slurp("$dir/err"), qr/^enqueue: cannot write \Q$office\E\/public\/[^\n]*: File too large\n\z/, 'one line';
	is_deeply [files($office)], [], 'nothing is left';
};

subtest 'lookups are counted' => sub {
	my $office = office();
	Spool->put("$dir/db/routes", "user\@example.test lmtp!store!user\n");
	Spool->put("$dir/db/dbases.conf", "fqdnroutes unordered - - $dir/db/routes -lm%:\n");
	my @options = ('-m', '-P', $office, '-f', "$dir/db/dbases.conf", '-M', "$dir/enqueue.prom", '-s', 'ann@example.org');
	my @one = run($message, @options, 'user@example.test');
	is "$one[0]$one[2]", '0', 'queued';
	run($message, @options, '-k', 'user@example.test', 'nobody@example.org');
	unlink "$dir/db/routes";
	is +(run($message, @options, 'user@example.test'))[0], 75, 'a map that is gone';
	my $r = Prometheus::read(Spool::slurp("$dir/enqueue.prom"));
	is_deeply $r->{problems}, [], 'the format';
	my %count = map { /answer="([^"]+)"/ ? ($1 => $r->{metrics}{$_}) : () }
		grep { /^zlmtp_map_lookups_total\{relation="fqdnroutes",map="\Q$dir\E\/db\/routes",answer="/ } keys %{$r->{metrics}};
	is $count{found}, 2, 'found';
	cmp_ok $count{'not found'}, '>', 0, 'not found';
	cmp_ok $count{'could not tell'}, '>', 0, 'could not tell';
	Spool->put("$dir/db/routes", "user\@example.test lmtp!store!user\n");
	Spool->put("$dir/enqueue.prom", "mine\n");
	my ($status, undef, $err) = run($message, @options, 'user@example.test');
	is $status, 0, 'queued, although it cannot be counted';
	like $err, qr/^enqueue: metrics: .*: expected a file that zlmtp has written; left unchanged\n\z/, 'which is told';
};

subtest 'mail for a channel that no clause of scheduler.conf serves is queued, with a warning' => sub {
	my $share = File::Temp->newdir;
	for (['scheduler.conf', "lmtp/*\n\tcommand=\"lmtp\"\n"], ['zenv', "MAILSHARE=$share\n"]) {
		open my $file, '>', "$share/$_->[0]" or die;
		print $file $_->[1];
	}
	my $office = office();
	my @mail = ("Subject: x\n\nhi\n", '-m', '-P', $office, '-s', '<>', '-r', 'lmtp,store,b');
	local $ENV{ZCONFIG} = "$share/zenv";
	my ($status, undef, $err) = run(@mail, map { ('-r', "smtp,example.org,$_\@example.org") } 'a', 'c');
	is $status, 0, 'it is taken';
	is $err, "enqueue: no clause of scheduler.conf serves channel smtp, host example.org: the mail will wait and expire\n",
		'one line for the destination';
	($status, undef, $err) = run(@mail);
	is "$status $err", '0 ', 'nothing is said of a channel that is served';
	unlink "$share/scheduler.conf";
	($status, undef, $err) = run(@mail, '-r', 'smtp,example.org,a@example.org');
	is "$status $err", '0 ', 'nor where there is no scheduler.conf';
};

done_testing;
