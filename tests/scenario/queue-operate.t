#!/usr/bin/perl
# zlmtp-queue where no runqueue runs: what an operator sees of a queue, and does to it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use IO::Socket::UNIX;
use JSON::PP ();
use RunQueue;
use Tmux;
use ZlmtpQueue;

delete $ENV{ZCONFIG};
my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";

sub ids($q) { my %id = map { $_->{file} => $_->{spool} } rows($q); return %id }

# A file of the queue, undef if it is not there.
sub text($q, $path) { Spool::slurp($q->office . "/$path") }

subtest 'list is what runqueue -l prints' => sub {
	my $q = RunQueue->new;
	$q->message(['a', 'b@@store1'], age => 130);
	$q->message(['c'], age => 7300, name => 'Y/K/4711002');
	# an age may go on between two listings
	my $same = sub ($zq, $theirs, $what) { is_deeply [map { s/\d/0/gr } @$zq], [0, $theirs =~ s/\d/0/gr, ''], $what };
	$same->([zq($q, 'list')], ($q->run('-l', '-P', $q->office))[1], 'text');
	$same->([zq($q, '-j', 'list')], ($q->run('-lj', '-P', $q->office))[1], 'JSON');
	my $empty = RunQueue->new;
	is_deeply [zq($empty, $_)], [0, '', ''], "$_ of an empty queue" for qw(list summary);
};

subtest 'behind "--" there are words alone, and the program ends' => sub {
	my $q = RunQueue->new;
	$q->message(['a'], age => 7300);
	# an age may go on between two listings
	my $listed = sub (@words) { my ($status, $out, $err) = zq($q, @words); return [$status, $out =~ s/\d/0/gr, $err] };
	is_deeply $listed->('list', '--', 'all'), $listed->('list', 'all'), 'a filter';
	is_deeply $listed->('--', 'list', 'all'), $listed->('list', 'all'), 'a verb';
	is_deeply [zq($q, 'list', '--', '-j')], [1, '', ''], 'no option';
};

SKIP: {
	skip 'needs root, to be another user', 1 if $> != 0;
	subtest 'another user may not, and that is said' => sub {
		my $q = RunQueue->new;
		my $job = $q->message(['a'], age => 10);
		my @queue = ("$build/channel/zlmtp-queue", '-P', $q->office);
		chmod 0755, $q->dir, $q->dir =~ s{/[^/]*$}{}r;
		chmod 0700, $q->office;
		for my $verb (['list'], ['summary'], ['show', $job], ['hold', $job], ['remove', $job], ['retry', 'all'], ['fail', 'all'], ['watch']) {
			my $said = qx(setpriv --reuid=nobody --regid=nogroup --clear-groups @queue @$verb 2>&1 </dev/null);
			is $? >> 8, 77, "@$verb, no right: 77";
			is $said, 'zlmtp-queue: ' . $q->office . "/transport: Permission denied; the post office belongs to root: run this as that user, or name another post office with -P\n",
				"@$verb: one line";
		}
		my $said = qx(setpriv --reuid=nobody --regid=nogroup --clear-groups $build/channel/runqueue -l -P @{[$q->office]} 2>&1);
		is $? >> 8, 77, 'runqueue -l: 77';
		chmod 0755, $q->office;
		chmod 0755, $q->office . "/$_" for 'transport', 'queue';
		for my $verb (['hold', $job], ['remove', $job], ['retry', 'all'], ['fail', 'all']) {
			$said = qx(setpriv --reuid=nobody --regid=nogroup --clear-groups @queue @$verb 2>&1 </dev/null);
			is $? >> 8, 77, "@$verb of a queue that can be read: 77" or diag $said;
			like $said, qr/\A[^\n]+\n\z/, 'one line';
		}
		is $q->tags($job), ' ', 'the mail waits';
	};
}

subtest 'filters' => sub {
	my $q = RunQueue->new;
	my $x = $q->message(['ann@one.example', 'bob@two.example@@store2'], age => 1000);
	my $y = $q->message([{ user => 'eve@one.example', channel => 'smtp' }], age => 90_000);
	my %id = ids($q);
	my @cases = (
		['all', 'ann bob eve'], ['to=*@ONE.example', 'ann eve'], ['host=store2', 'bob'], ['channel=smtp', 'eve'], ['older=1h', 'eve'],
		['older=1d2h', ''], ['older=15m', 'ann bob eve'], ['state=waiting', 'ann bob eve'], ['state=held', ''], ['from=ann@*', 'ann bob eve'],
		['from=<>', ''], [$x, 'ann bob'], [$id{$y}, 'eve'], [substr($id{$y}, 0, -2), 'eve'],
		['to=*one*', 'channel=lmtp', 'ann'],
	);
	for my $case (@cases) {
		my $users = pop @$case;
		is join(' ', sort map { $_->{recipient} =~ s/@.*//r } rows($q, @$case)), $users, "@$case";
		is +(zq($q, 'list', @$case))[0], $users eq '' ? 1 : 0, 'exit status' if $users eq '' || @$case > 1;
	}
	my ($status, undef, $err) = zq($q, 'hold', substr($id{$x}, 0, 2));
	is $status, 65, 'the beginning of several ids' if substr($id{$x}, 0, 2) eq substr($id{$y}, 0, 2);
	for my $bad (['list', 'x=y'], ['list', 'to='], ['list', 'older=soon'], ['list', 'state=odd'], ['hold'], ['nonesuch'], [], ['show'],
		['hold', '--yes', 'all'], ['list', '-m', 'x'], ['remove', 'all'], ['list', '-w', 'x']) {
		($status, undef, $err) = zq($q, @$bad);
		is $status, 64, "usage: @$bad";
		is $err =~ tr/\n//, 1, 'one line';
	}
};

subtest 'a word without "=" is an id, and one that is not in the queue is not found' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['a'], age => 10);
	for my $word ('nosuch', 'Snosuch', 'S99', '99999', 'nosuch@example.org', 'a/b') {
		is_deeply [zq($q, 'show', $word)], [1, '', "zlmtp-queue: $word: no such message in the queue\n"], "show $word";
		is_deeply [zq($q, $_, $word)], [1, '', "zlmtp-queue: $_: nothing in the queue matches\n"], "$_ $word" for qw(hold remove retry);
		is_deeply [zq($q, 'list', $word)], [1, '', ''], "list $word";
	}
	for my $word ('', 'nosuch=x', '=x', 'too=*') {
		my ($status, undef, $err) = zq($q, 'hold', $word);
		is $status, 64, "hold '$word': usage";
		like $err, qr/expected an id/, 'said so';
	}
	is $q->tags($name), ' ', 'the mail waits';
};

subtest 'the beginning of a file name is an id, too' => sub {
	my $q = RunQueue->new;
	my %of = map { $_ => $q->message(['a'], name => $_) } '4711002', '4712', 'Y/K/52001', 'Y/K/5300', '53001';
	for my $case (['47110', '4711002'], ['4711002', '4711002'], ['4712', '4712'], ['52', 'Y/K/52001'], ['Y/K/520', 'Y/K/52001'],
		['5300', 'Y/K/5300'], ['53001', '53001'], ['Y/K/5300', 'Y/K/5300']) {
		my ($word, $file) = @$case;
		like +(zq($q, 'show', $word))[1], qr/\b\Q$file\E\b/, "show $word";
		my ($status, $out) = zq($q, '-j', 'hold', $word);
		is_deeply [$status, $out =~ /"file":"([^"]*)"/], [0, $file], "hold $word";
		is +(zq($q, 'release', $file))[0], 0, 'released';
	}
	for my $word ('471', 'Y/K/5', '5') {
		my ($status, undef, $err) = zq($q, 'hold', $word);
		is $status, 65, "$word: of several";
		like $err, qr/^zlmtp-queue: \Q$word\E: the names of \d messages begin with this, \S+ and \S+ among them; give more of it$/, 'one line';
	}
	# the name of one that has left may be the beginning of another's
	is_deeply [zq($q, $_, '47110')], [1, '', "zlmtp-queue: $_: no message in the queue has the name 47110; give the whole of 4711002 if that is meant\n"],
		"$_ asks for the whole name" for qw(remove fail);
	is +(zq($q, 'hold', $_))[0], 1, "$_: of none" for 'Y/K', 'Y/K/', 'Y', '711', '47110021';
	is_deeply [grep { !-e $q->office . "/transport/$_" || $q->tags($_) ne ' ' } keys %of], [], 'all wait';
	is +(zq($q, 'remove', '4711002'))[0], 0, 'the whole name will do';
	ok !-e $q->office . '/transport/4711002', 'removed';
};

subtest 'hold and release move the control file' => sub {
	my $q = RunQueue->new(script => "user . ok\n");
	my $name = $q->message(['a'], name => 'Y/K/4711002');
	my $before = text($q, "transport/$name");
	my %id = ids($q);
	my ($status, $out, $err) = zq($q, 'hold', $id{$name});
	is "$status$err", '0', 'held';
	is $out, "$id{$name}: held, from ann\@example.org, 1 recipient\n", 'said so';
	is text($q, "transport/$name"), undef, 'not in transport';
	is text($q, "hold/$name"), $before, 'as it was, in hold';
	my ($row) = rows($q, 'state=held');
	is_deeply [@$row{qw(file state spool)}, !!$row->{on_hold}], [$name, 'held', $id{$name}, !!1], 'listed';
	is_deeply [map { +(zq($q, 'hold', $_))[0] } $name, 'all'], [1, 1], 'a second time there is nothing to hold';
	is_deeply [zq($q, @$_[0, 1])], [1, '', "zlmtp-queue: $$_[0]: nothing that matches can be $$_[2]\n"], "$$_[0] $$_[1]: what matches is there"
		for ['hold', 'to=a', 'held'], ['hold', 'all', 'held'], ['retry', 'all', 'tried'];
	is_deeply [zq($q, 'hold', 'to=b')], [1, '', "zlmtp-queue: hold: nothing in the queue matches\n"], 'what does not match is not';
	$q->run('-1', '-P', $q->office);
	is_deeply [$q->jobs], [], 'not tried';
	is +(zq($q, 'release', 'all'))[0], 0, 'released';
	is text($q, "transport/$name"), $before, 'back as it was';
	is +(zq($q, 'release', $name))[0], 1, 'a second time there is nothing to release';
	is_deeply [zq($q, 'release', 'all')], [1, '', "zlmtp-queue: release: nothing that matches can be released\n"], 'and that is said';
	$q->run('-1', '-P', $q->office);
	is_deeply [$q->jobs], [$name], 'delivered';
};

subtest 'fail' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['a', 'b', { user => 'c', dsn => 'NOTIFY=NEVER' }]);
	is +(zq($q, 'fail', '-m', '5.2.1 mailbox is gone', 'to=a'))[0], 0, 'one recipient';
	is $q->tags($name), '-  ', 'marked';
	my ($d) = @{$q->control($name)->{diagnostics}};
	is_deeply [@{$d->{notary}}[0 .. 2], $d->{text}], ['a', 'failed', '5.2.1', "\r5.2.1 mailbox is gone"], 'with its reason';
	my (undef, $out) = zq($q, 'show', $name);
	like $out, qr/^Recipient: +a\n.*\n  State: +failed\n.*\n +5\.2\.1 mailbox is gone$/m, 'shown';
	is +(zq($q, 'hold', $name))[0], 0, 'held';
	is +(zq($q, 'fail', $name))[0], 0, 'the others, on hold';
	is $q->tags($name), '---', 'in transport again, for its report';
	is +(zq($q, 'fail', 'all'))[0], 1, 'nobody left';
	$q->run('-1', '-P', $q->office);
	is_deeply [$q->names], [], 'gone';
	my ($report) = values %{{ $q->reports }};
	like $report, qr/mailbox is gone.*cancelled by the administrator/s, 'with a report';
};

# As it is when a fail was killed in front of its last step.
sub held_and_settled($q) {
	my $name = $q->message([{ user => 'a', tag => '-' }, { user => 'b', tag => '+' }]);
	mkdir $q->office . '/hold';
	rename $q->office . "/transport/$name", $q->office . "/hold/$name" or die;
	return $name;
}

subtest 'a message on hold in which everybody is settled goes to its report' => sub {
	for my $verb ('release', 'fail') {
		my $q = RunQueue->new;
		my $name = held_and_settled($q);
		my ($status, undef, $err) = zq($q, $verb, $name);
		is "$status$err", '0', $verb;
		is $q->tags($name), '-+', 'it is back';
	}
	my $q = RunQueue->new;
	my $name = held_and_settled($q);
	is +(zq($q, 'release', 'all'))[0], 0, 'release all';
	$q = RunQueue->new;
	$name = held_and_settled($q);
	my ($status, undef, $err) = $q->run('-1', '-P', $q->office);
	is "$status$err", '0', 'runqueue';
	is_deeply [$q->names], [], 'finds it';
	is scalar(keys %{{ $q->reports }}), 1, 'and tells of it';
	is text($q, "hold/$name"), undef, 'nothing is left';
};

subtest 'hold/ that is a link' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['a']);
	mkdir $q->dir . '/elsewhere';
	symlink $q->dir . '/elsewhere', $q->office . '/hold' or die;
	my ($status, $out, $err) = zq($q, 'hold', $name);
	is "$status$out", '75', 'nothing goes there';
	like $err, qr{^zlmtp-queue: S\S+: cannot make the directory of \.\./hold/\d+: Not a directory\n\z}, 'said so';
	is $q->tags($name), ' ', 'as it was';
	($status, $out) = zq($q, 'list');
	is $status, 65, 'list';
	like $out, qr{^hold +- +unreadable .* directory hold: Not a directory$}m, 'says it';
	like $out, qr{^S\S+ .* a +}m, 'and goes on from where it was';
};

# The message file is another one than the program that queued it has made.
subtest 'a message file that may be of anybody' => sub {
	my @cases = (
		['a link', 'not a regular file', sub ($q, $file) { rename $file, "$file.away"; symlink $q->dir . '/secret', $file }],
		['a pipe', 'not a regular file', sub ($q, $file) { unlink $file; POSIX::mkfifo($file, 0600) }],
	);
	push @cases, ['a second name', 'has more than one name', sub ($q, $file) { unlink $file; link $q->dir . '/secret', $file }],
		['a link above it', 'a directory in its path is a symbolic link, or is none', sub ($q, $file) {
			rename $q->office . '/queue/Y', $q->dir . '/elsewhere'; symlink $q->dir . '/elsewhere', $q->office . '/queue/Y' }] if $> == 0;
	for my $case (@cases) {
		my ($what, $why, $make) = @$case;
		my $q = RunQueue->new(script => "user . ok\n");
		my $name = $q->message(['a'], name => 'Y/4711002');
		Spool->put($q->dir . '/secret', 'x' x 200);
		$make->($q, $q->office . "/queue/$name");
		my ($status, $out, $err) = $q->run('-1');
		like $err, qr{^runqueue: \Q$name: its message file ../queue/$name: $why\E; the message stays in the queue$}m, "$what: said";
		is_deeply [$q->jobs], [], 'not given to an agent';
		is $q->tags($name), ' ', 'it stays';
		($status, $out) = zq($q, 'list');
		like $out, qr{^\Q$name\E .* damaged .* its message file: \Q$why\E$}m, 'listed as damaged';
		($status, $out, $err) = zq($q, 'show', '-b', $name);
		is "$status$out", '65', 'show -b prints nothing of it';
		unlike $err, qr/xxx/, 'and no word';
		my $job = qx(cd '@{[$q->office]}/transport' && echo '$name	-' | timeout 20 $build/channel/lmtp -c lmtp -F UNIX:/nonesuch 2>&1);
		like $job, qr/\Q$why\E/, 'lmtp does not open it';
		is +(zq($q, 'remove', $name))[0], 0, 'removed';
		is text($q, "transport/$name"), undef, 'it has gone';
		is Spool::slurp($q->dir . '/secret'), 'x' x 200, 'what it led to has not';
		ok -e $q->dir . '/elsewhere/4711002', 'nor what is behind a link' if -d $q->dir . '/elsewhere';
	}
};

# Who owns the post office may put a link in the place of a directory at any moment; here runqueue has read the message before.
subtest 'root does not write where the owner of the post office has put a link to another directory' => sub {
	plan skip_all => 'needs root' if $> != 0;
	my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
	my $linked = sub ($q, $place, $name = undef) {
		my $elsewhere = $q->dir . '/elsewhere';
		rename $q->office . "/$place", "$elsewhere" or die "$place: $!";
		chown 0, 0, $elsewhere;
		symlink $elsewhere, $q->office . "/$place" or die;
		return sub { opendir my $d, $elsewhere or die; join ' ', map { "$_:" . (-f "$elsewhere/$_" ? Spool::slurp("$elsewhere/$_") : '') } sort grep { !/^\.\.?$/ } readdir $d };
	};
	my $office = sub (%o) {
		my $q = RunQueue->new(%o);
		my $name = $q->message(['a', 'b'], name => 'Y/4711002');
		system 'chown', '-R', "$uid:$gid", $q->office;
		return ($q, $name);
	};
	for my $verb (qw(hold fail remove reroute)) {
		my ($q, $name) = $office->(script => "user . deferred later\n", conf => "lmtp/*\n\tinterval=1h command=\"AGENT\"\n");
		$q->start('-w');
		RunQueue::wait_for(sub { (grep { ($_->{answer} // '') =~ /later/ } rows($q)) == 2 }) or diag 'it was not tried';
		my ($row) = rows($q);
		my $inode = (stat $q->office . "/transport/$name")[1];
		my $look = $linked->($q, 'transport/Y');
		my $before = $look->();
		my $socket = IO::Socket::UNIX->new(Peer => $q->office . '/.control.runqueue') or die "socket: $!";
		my @more = $verb eq 'reroute' ? ($q->control($name)->{recipients}[0]{offset}, 'lmtp', '-', 'other', 65534) : ();
		print $socket join("\t", 7, $verb, $row->{spool}, $name, $inode, 'queue', 1, '', @more), "\n";
		like readline $socket, qr/^7\t(?:gone|trouble)\t/, "$verb: not done";
		is $look->(), $before, 'what is behind the link is as it was';
		$q->stop;
	}
	{
		my ($q) = $office->(script => "user . error2 5.0.0 no\n");
		my $look = $linked->($q, 'postman');
		my ($status, undef, $err) = $q->run('-1');
		is $look->(), '', 'no file for the postmaster is written behind a link';
		like $err, qr{^runqueue: \S+: cannot write \.\./postman/\S+\.failed: a directory in its path is a symbolic link, or is none; kept}m, 'said';
		is $q->tags('Y/4711002'), '--', 'the message stays';
	}
	{
		my ($q, $name) = $office->();
		my $look = $linked->($q, 'hold') if mkdir $q->office . '/hold';
		$q->start('-w');
		RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' });
		is join(':', (lstat $q->office . '/.control.runqueue')[4, 5]), "$uid:$gid", 'the socket is the owner\'s';
		my ($status) = zq($q, 'hold', $name);
		is $look->(), '', 'nothing goes into hold/ that is a link';
		$q->stop;
	}
	{
		my ($q, $name) = $office->();
		my $look = $linked->($q, 'transport');
		my $before = $look->();
		my ($status, undef, $err) = $q->run('-1');
		is $status, 66, 'transport/ that is a link: exit 66';
		like $err, qr{/transport: Not a directory$}m, 'said';
		is +(zq($q, 'remove', '--yes', 'all'))[0], 66, 'and by zlmtp-queue';
		is $look->(), $before, 'left alone';
	}
	{
		my ($q, $name) = $office->();
		zq($q, 'hold', $name);
		$q->start('-w');
		RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' });
		my $other = $q->arrive(['a'], into => 'K');
		is join(':', (stat $q->office . "/$_")[4, 5]), "$uid:$gid", "$_ made by root is the owner's" for 'hold', 'hold/Y';
		$q->stop;
	}
};

subtest 'what cannot be read may be what is meant' => sub {
	for my $make (sub { POSIX::mkfifo($_[0], 0600) }, sub { mkdir $_[0] }) {
		my $q = RunQueue->new;
		$make->($q->office . '/transport/900') or die;
		for my $words (['show', '900'], ['hold', '900'], ['remove', '900'], ['fail', 'to=a'], ['list', 'to=a'], ['list', 'S900AbmK2HzM'], ['retry', 'all']) {
			my ($status, $out, $err) = zq($q, @$words);
			is "$status$out", '75', "@$words: could not tell";
			like $err, qr{^zlmtp-queue: (?:\w+|900): could not tell: 900: [^\n]+\n\z}, 'and why';
		}
		is +(zq($q, @$_))[0], 1, "@$_: no such message" for ['show', '901'], ['hold', 'S90AbmK2HzM'], ['list', 'S9001A'];
	}
};

subtest 'who waits for the lock sees whose it is' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['a']);
	# of a runqueue that was killed, and whose number another process has
	Spool->put($q->office . '/.pid.runqueue', "$$\n");
	is +(zq($q, 'hold', $name))[0], 0, 'an operator has it';
	is text($q, '.pid.runqueue'), '', 'and no runqueue';
};

subtest 'remove' => sub {
	my $q = RunQueue->new;
	my ($x, $y, $z) = map { $q->message(["u$_"]) } 1 .. 3;
	is +(zq($q, 'remove', $x))[0], 0, 'one';
	is text($q, $_), undef, "no $_" for "transport/$x", "queue/$x";
	my ($status, undef, $err) = zq($q, 'remove', 'all');
	is $status, 64, 'several need --yes';
	like $err, qr/^zlmtp-queue: remove: 2 messages match; use --yes to remove all$/, 'said so';
	Spool->put($q->office . "/transport/900", "rubbish\n");
	is +(zq($q, '--yes', 'remove', 'all'))[0], 0, 'with it they go, damaged ones too';
	is_deeply [$q->names], [], 'nothing is left';
	is_deeply {$q->reports}, {}, 'no report';
};

subtest 'a message whose message file cannot be removed is not in the queue any more, and that is said' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['a']);
	unlink $q->office . "/queue/$name";
	mkdir $q->office . "/queue/$name";
	my ($status, undef, $err) = zq($q, 'remove', $name);
	is $status, 75, 'exit status';
	like $err, qr{^zlmtp-queue: $name: it is not in the queue any more, but its message file \.\./queue/$name cannot be removed: [^\n]+; delete that file\n\z}, 'one line';
	is text($q, "transport/$name"), undef, 'so it is';
};

subtest 'remove asks on a terminal' => sub {
	my $t = Tmux->new(rows => 12, columns => 200);
	my %removes = ('y' => 1, 'Y' => 1, 'yes' => 1, 'n' => 0, '' => 0, 'no, y' => 0, 'C-d' => 0);
	for my $answer (sort keys %removes) {
		my $q = RunQueue->new;
		my @names = map { $q->message(["a$_", "b$_"]) } 1 .. 2;
		$t->type("clear; $build/channel/zlmtp-queue -P " . $q->office . ' remove all; echo "status $?"');
		ok $t->shows(qr/^Remove 2 messages with 4 recipients for good\? \[y\/N\] ?$/m), "'$answer': the question";
		is scalar($q->names), 4, 'nothing is done before the answer';
		$answer eq 'C-d' ? $t->keys('C-d') : $t->type($answer);
		my $status = $removes{$answer} ? 0 : 64;
		ok $t->shows(qr/^(?:.*\] ?)?status $status$/m), "status $status" or diag $t->screen;
		like $t->screen, qr/zlmtp-queue: nothing was removed$/m, 'said so' if $status;
		is scalar($q->names), $status ? 4 : 0, $status ? 'all is left' : 'they are gone';
	}
	my $q = RunQueue->new;
	$q->message(['a']);
	$t->type("clear; $build/channel/zlmtp-queue -P " . $q->office . ' remove all; echo "status $?"');
	ok $t->shows(qr/^S\S+: removed, from ann\@example\.org, 1 recipient\nstatus 0$/m), 'one message goes without a question' or diag $t->screen;
};

# A person hears it, a pipe has nothing to read.
subtest 'an empty queue on a terminal' => sub {
	my $t = Tmux->new(rows => 12, columns => 200);
	my $q = RunQueue->new;
	my $zq = "$build/channel/zlmtp-queue -P " . $q->office;
	my $case = sub ($command, $shown) {
		$t->type("clear; $command; echo \"status \$?\"");
		ok $t->shows(qr/\A(?:>[^\n]*\n)?$shown\n> *\n*\z/), $command or diag $t->screen;
	};
	$case->($_, "The queue is empty\\.\nstatus 0") for "$zq list", "$zq summary", "$build/channel/runqueue -l -P " . $q->office;
	$case->($_, "status 0") for "$zq list | cat", "$zq -j list", "$zq summary >/dev/null";
	$case->("$zq $_ to=nobody", "Nothing in the queue matches\\.\nstatus 1") for qw(list summary);
	$q->message(['a']);
	$case->("$zq list to=nobody", "Nothing in the queue matches\\.\nstatus 1");
	$case->("$zq list", "ID +AGE .*\n.*\n1 recipient in 1 message.*\nstatus 0");
};

subtest 'mail whose message file is gone can be failed, so that its sender is told' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['a', 'b']);
	unlink $q->office . "/queue/$name";
	like +(zq($q, 'list'))[1], qr/^$name .* damaged .* it has no message file$/m, 'it is listed as damaged';
	my ($status, $out, $err) = zq($q, 'fail', '-m', '5.3.0 it was lost here', $name);
	is "$status$err", '0', 'fail';
	is $out, "$name: failed, 2 recipients\n", 'without a sender that the listing does not have';
	is $q->tags($name), '--', 'marked';
	$q->run('-1');
	my ($report) = values %{{ $q->reports }};
	like $report, qr/it was lost here/, 'told';
	like $report, qr/^ +Subject: message $name$/m, 'with the header';
	is_deeply [$q->names], [], 'gone';
};

# A copy of the spool that was made while an operator held a message.
subtest 'of a message in both places one is removed, and the other keeps its file' => sub {
	for my $filter ('state=held', 'state=waiting') {
		my $q = RunQueue->new;
		my $name = $q->message(['a']);
		mkdir $q->office . '/hold';
		Spool->put($q->office . "/hold/$name", text($q, "transport/$name"));
		my ($status, undef, $err) = zq($q, 'remove', $filter);
		is "$status$err", '0', "$filter: removed";
		is +(grep { defined text($q, "$_/$name") } qw(transport hold queue)), 2, 'one control file is left, with its message';
		is +(zq($q, 'remove', $name))[0], 0, 'the other one';
		is text($q, "queue/$name"), undef, '... goes with it';
	}
};

subtest 'recipients that were delivered to are not counted' => sub {
	my $of = sub ($verb, @to) {
		my $q = RunQueue->new;
		my $name = $q->message(\@to);
		return (zq($q, $verb, $name))[1] =~ s/^\S+ (?:due )?//r;
	};
	my @mixed = ({ user => 'a', tag => '+' }, { user => 'b', tag => '-', dsn => 'NOTIFY=NEVER' }, 'c', 'd');
	is $of->($_->[0], @mixed), "$_->[1], from ann\@example.org, 2 recipients\n", $_->[0] for ['hold', 'held'], ['retry', 'now'], ['remove', 'removed'];
	my @settled = ({ user => 'a', tag => '+' }, { user => 'b', tag => '-' });
	is $of->($_->[0], @settled), "$_->[1], from ann\@example.org, 1 recipient\n", "$_->[0] where only a report is left" for ['retry', 'now'], ['remove', 'removed'];
	my $q = RunQueue->new;
	$q->message(['a', 'b@@store']);
	like +(zq($q, 'retry', 'to=b'))[1], qr/: due now, from \S+, 1 recipient$/, 'of a retry those that match';
};

subtest 'what is on hold is not tried by a retry' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['a']);
	zq($q, 'hold', $name);
	my ($status, $out, $err) = zq($q, 'retry', $name);
	is "$status$out", '1', 'not done';
	like $err, qr/^zlmtp-queue: S\S+: it is on hold and is not tried before it is released$/, 'said why';
};

subtest 'a process that has it in work' => sub {
	my $q = RunQueue->new;
	my $name = $q->message([{ user => 'a', tag => '~', pid => $$ }, 'b']);
	for my $verb (qw(hold fail remove)) {
		my ($status, $out, $err) = zq($q, $verb, $name);
		is "$status$out", 75, "$verb: 75";
		like $err, qr/^zlmtp-queue: S\S+: process $$ is delivering to a recipient of it$/, 'said who';
	}
	is $q->tags($name), '~ ', 'as it was';
};

subtest 'another user is refused, and not told that nothing matches' => sub {
	plan skip_all => 'needs root' if $> != 0;
	my $q = RunQueue->new;
	my $name = $q->message(['a']);
	chmod 0711, File::Basename::dirname($q->dir), $q->dir, $q->office;
	chmod 0755, $q->office . '/transport';
	chmod 0600, $q->office . "/transport/$name";
	my @nobody = ('setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups', "$ENV{BUILD_DIR}/channel/zlmtp-queue", '-P', $q->office);
	plan skip_all => 'programs cannot be run by others here' if system("@nobody -V >/dev/null 2>&1") != 0;
	for my $words (['hold', $name], ['hold', 'all'], ['fail', 'to=a'], ['--yes', 'remove', 'all'], ['show', $name]) {
		my $said = qx{@nobody @$words 2>&1};
		is $? >> 8, 77, "@$words: 77";
		like $said, qr{\Azlmtp-queue: \w+: only root, the owner of \S+/transport, may do this\n\z}, 'in one line';
	}
};

subtest 'beside ZMailer' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['a']);
	Spool->put($q->office . '/.pid.scheduler', "$$\n");
	is +(zq($q, $_))[0], 0, "$_ works" for qw(list summary);
	is +(zq($q, 'show', $name))[0], 0, 'show works';
	for my $verb (qw(hold release retry fail remove reroute)) {
		my ($status, $out, $err) = zq($q, $verb, 'all');
		is "$status$out", 75, "$verb refuses";
		is $err =~ tr/\n//, 1, 'in one line';
	}
};

subtest 'summary' => sub {
	my $q = RunQueue->new(script => "user . retryat connect to store: refused\n");
	$q->message(["u$_\@\@store"], age => $_ * 200) for 1 .. 4;
	$q->message(['x'], age => 100_000);
	my ($status, $out) = zq($q, 'summary');
	is_deeply [map { [split] } (split /\n/, $out)[0 .. 3]], [[qw(CHANNEL/HOST TOTAL 5m 15m 1h 4h 1d older NEXT REASON)],
		[qw(TOTAL 5 1 3 0 0 0 1)], [qw(lmtp/store 4 1 3 0 0 0 0 - -)], [qw(lmtp/- 1 0 0 0 0 0 1 - -)]], 'by age';
	my ($first) = map { JSON::PP->new->decode($_) } split /\n/, (zq($q, '-j', 'summary'))[1];
	is_deeply [@$first{qw(channel host total 5m 15m)}], ['lmtp', 'store', 4, 1, 3], 'JSON';
	is +(zq($q, 'hold', 'to=x'))[0], 0, 'one is put on hold';
	like +(zq($q, 'summary'))[1], qr{^lmtp/- +1 .* held  put aside by zlmtp-queue hold$}m, 'that is why it waits';
	is_deeply [map { $_->{host} . ': ' . ($_->{reason} // '') } map { JSON::PP->new->decode($_) } split /\n/, (zq($q, '-j', 'summary'))[1]],
		['store: ', '-: put aside by zlmtp-queue hold'], 'JSON';
	is +(zq($q, 'hold', 'to=u1'))[0], 0, 'one of several is put on hold';
	like +(zq($q, 'summary'))[1], qr{^lmtp/store +4 .*  -$}m, 'that says nothing of the others';
};

subtest 'the history of a recipient: lines, and delays that were told' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['bob'], age => 20_000);
	my $c = $q->control($name);
	my $place = "$c->{recipients}[0]{offset}:$c->{recipients}[0]{header_offset}:-1::";
	Spool->put($q->office . "/transport/$name", $c->{bytes} .
		"d ${place}1800000000\tbob\x01failed\x014.2.2\x01smtp; 452 (full)\x01\x01lmtp\t\r<<- RCPT TO:<bob>\r->> 452 4.2.2 full\n" .
		"d+${place}1800000060\tbob\x01delayed\x014.2.2\x01smtp; 452 (full)\x01\x01lmtp\t14400\n");
	my (undef, $out) = zq($q, 'show', $name);
	my $tried = qr/    \S.*\n {8}<<- RCPT TO:<bob>\n {8}->> 452 4\.2\.2 full\n/;
	my $told = qr/    \S.*\n {8}the sender was told of the delay, at 4h00m\n/;
	like $out, qr/^  Answer: +->> 452 4\.2\.2 full\n$tried$told\n/m, 'text';
	my ($r) = @{JSON::PP->new->decode((zq($q, '-j', 'show', $name))[1])->{recipients}};
	is_deeply $r->{history}, [{ time => 1800000000, text => "<<- RCPT TO:<bob>\n->> 452 4.2.2 full" },
		{ time => 1800000060, text => 'the sender was told of the delay, at 4h00m' }], 'JSON';
};

subtest 'show of a message with very many recipients: each with its own history, in a time that grows with their number alone' => sub {
	my %seconds;
	for my $many (5000, 20000) {
		my $q = RunQueue->new;
		my $name = $q->message([map { "u$_" } 1 .. $many]);
		my $c = $q->control($name);
		my $line = sub ($r, $time, $words) {
			"d $r->{offset}:$r->{header_offset}:-1::$time\t$r->{user}\x01failed\x014.2.2\x01smtp; 452 (full)\x01\x01lmtp\t\r->> 452 $words\n" };
		# the last recipient first, and the second try of each behind the first one of all
		Spool->put($q->office . "/transport/$name", join '', $c->{bytes}, map { my $time = $_;
			map { $line->($_, $time, "$_->{user} $time") } reverse $c->{recipients}->@* } 1800000000, 1800000060);
		my @before = times;
		my (undef, $out) = zq($q, 'show', $name);
		my @after = times;
		$seconds{$many} = $after[2] + $after[3] - $before[2] - $before[3];
		my $count = () = $out =~ /^Recipient: +(u\d+)\n(?:  \S.*\n)+    \S.*\n {8}->> 452 \1 1800000000\n    \S.*\n {8}->> 452 \1 1800000060\n$/mg;
		is $count, $many, "$many recipients, each with its history, in order";
	}
	cmp_ok $seconds{20000}, '<', 9 * ($seconds{5000} + 0.05), "$seconds{5000} s and $seconds{20000} s of processor time";
};

# A file that the listing calls damaged, whatever is wrong with it, gets a true answer of each verb.
subtest 'a damaged control file: what cannot be done is said, the rest is done' => sub {
	for my $row (['cut', qr/expected/, sub ($text) { substr $text, 0, 9 }], ['without recipients', qr/it has no recipients/, sub ($text) { $text =~ s/^r.*\n//mgr }]) {
		my ($what, $why, $damage) = @$row;
		my $q = RunQueue->new;
		my $job = $q->message(['a'], age => 10);
		Spool->put($q->office . "/transport/$job", $damage->(text($q, "transport/$job")));
		Spool->put($q->dir . '/dbases.conf', "# no maps\n");
		for my $verb (['fail'], ['retry'], ['reroute', '-f', $q->dir . '/dbases.conf']) {
			for my $filter ($job, 'all') {
				my ($status, $out, $err) = zq($q, @$verb, $filter);
				is $status, 75, "$what: $verb->[0] $filter: 75";
				is $out, '', '... nothing is done';
				like $err, qr/^zlmtp-queue: $job: [^\n]*$why[^\n]*$/m, '... and it is said why';
				unlike $err, qr/no recipient has another place/, '... and nothing else';
			}
		}
		is +(zq($q, $_, $job))[0], 0, "$what: $_" for 'hold', 'release', 'remove';
		is text($q, "transport/$job"), undef, "$what: it is gone";
	}
};

done_testing;
