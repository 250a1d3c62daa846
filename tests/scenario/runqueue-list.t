#!/usr/bin/perl
# runqueue -l: the queue as it is, whoever runs it, and whatever stands in its files.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use JSON::PP ();
use POSIX ();
use RunQueue;
use Tool ();

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";

# Beside whatever runs: exit status, stdout, stderr.
sub list($q, @arguments) {
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open STDOUT, '>', $q->dir . '/list' or die;
		open STDERR, '>', $q->dir . '/list-err' or die;
		exec "$build/channel/runqueue", '-l', '-P', $q->office, @arguments or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	return ($? >> 8, map { Spool::slurp($q->dir . "/$_") } 'list', 'list-err');
}

sub rows($q) {
	my ($status, $out, $err) = list($q, '-j');
	return map { JSON::PP->new->utf8->decode($_) } split /\n/, $out;
}

# Every file of the post office with its bytes and times.
sub picture($q) {
	my $dir = $q->office;
	return join "\n", map { my @s = lstat; "$_ @s[1, 2, 7, 9, 10] " . (-f _ ? Spool::slurp($_) : '') }
		sort glob "$dir/.*[a-z]* $dir/* $dir/*/* $dir/*/*/*";
}

subtest 'an empty queue is no news' => sub {
	my $q = RunQueue->new;
	is_deeply [list($q)], [0, '', ''], 'text';
	is_deeply [list($q, '-j')], [0, '', ''], 'JSON';
};

subtest 'what waits' => sub {
	my $q = RunQueue->new;
	my $young = $q->message(['a', 'b@@store1'], age => 130);
	my $old = $q->message(['eve@example.net'], age => 187_300, name => 'Y/K/4711002');
	my $before = picture($q);
	my ($status, $out, $err) = list($q);
	is "$status$err", '0', 'exit 0 without complaints';
	my @lines = split /\n/, $out;
	is shift(@lines) =~ s/ +/ /gr, 'ID AGE NEXT SENDER CHANNEL/HOST RECIPIENT ANSWER', 'headings';
	is pop(@lines), '3 recipients in 2 messages, the oldest 2d04h old', 'the sum';
	is_deeply [map { [(split ' ', $_)[1 .. 6]] } @lines],
		[['2d04h', '-', 'ann@example.org', 'lmtp/-', 'eve@example.net', '-'],
			map { ['2m', '-', 'ann@example.org', @$_, '-'] } ['lmtp/-', 'a'], ['lmtp/store1', 'b']], 'oldest first';
	like $lines[0], qr/^S4?[\w=-]+ /, 'by spool id';
	is scalar(keys %{{ map { index($_, 'ann@') => 1 } @lines }}), 1, 'columns stand below each other';
	is picture($q), $before, 'nothing was changed';
	my @rows = rows($q);
	is_deeply [map { "@$_{qw(state file channel host recipient sender)}" } @rows],
		["waiting $old lmtp - eve\@example.net ann\@example.org", "waiting $young lmtp - a ann\@example.org",
			"waiting $young lmtp store1 b ann\@example.org"], 'the same in JSON';
	ok !defined $rows[0]{next_try} && !defined $rows[0]{answer}, 'nobody knows a next try, nobody has answered';
	is $rows[1]{offset}, $q->control($young)->{recipients}[0]{offset}, 'offset of the recipient';
};

subtest 'a running runqueue publishes next try and last answer' => sub {
	my $q = RunQueue->new(conf => "lmtp/-\n\tinterval=1h retries=2 command=\"AGENT\"\nlmtp/later\n\tinterval=1h command=\"AGENT\" queueonly\n",
		script => "user full deferred \r<<- RCPT\r->> 452 4.2.2 mailbox of full\nuser other deferred \r->> 451 4.3.0 other words\n");
	my $name = $q->message(['full', 'other', 'fine', 'x@@later', 'y@@nowhere']);
	$q->start('-w');
	ok RunQueue::wait_for(sub { 2 == grep { defined $_->{answer} && $_->{answered} } rows($q) }), 'both answers come';
	my ($full, $other, @held) = rows($q);
	is_deeply [map { $_->{answer} } $full, $other], ['->> 452 4.2.2 mailbox of full', '->> 451 4.3.0 other words'],
		'each recipient has its own';
	cmp_ok abs($full->{next_try} - time - 7200), '<', 60, 'next try in two hours';
	cmp_ok abs($full->{answered} - time), '<', 60, 'answered just now';
	is_deeply [map { "$_->{recipient} $_->{state} $_->{answer}" } @held], ['x held queueonly', 'y held no clause serves it'],
		'who is not delivered is held, and it says why';
	my ($status, $out) = list($q);
	like $out, qr/^\S+ +\d+s +(?:1h59m|2h00m) +ann\S+ +lmtp\/- +full +->> 452 4\.2\.2 mailbox of full$/m, 'for people';
	$q->stop;
	($full) = grep { $_->{recipient} eq 'full' } rows($q);
	is $full->{next_try}, undef, 'once it has ended nobody knows the next try';
	is $full->{answer}, '->> 452 4.2.2 mailbox of full', 'the answer is kept';
};

subtest 'one pass leaves its answers' => sub {
	my $q = RunQueue->new(script => "user a deferred \r->> 450 not now\n");
	my $name = $q->message(['a']);
	$q->run('-1');
	my ($row) = rows($q);
	is_deeply [@$row{qw(state answer next_try)}], ['waiting', '->> 450 not now', undef], 'the last answer';
	unlink $q->office . "/$_/$name" for qw(transport queue);
	$q->message(['a'], name => $name, age => 5);
	($row) = rows($q);
	is $row->{answer}, undef, 'another message of that name has not got it';
};

subtest 'locks' => sub {
	my $q = RunQueue->new;
	my $dead = fork // die;
	POSIX::_exit(0) if $dead == 0;
	waitpid $dead, 0;
	$q->message([{ user => 'a', tag => '~', pid => $$ }, { user => 'b', tag => '~', pid => $dead }, { user => 'c', tag => '+' },
		{ user => 'd', tag => '-' }]);
	is_deeply [map { "$_->{recipient} $_->{state}" } rows($q)], ['a active', 'b waiting'], 'whose holder lives, and who waits';
	my ($status, $out) = list($q);
	like $out, qr/^2 recipients in 1 message, 1 in delivery, the oldest \d+s old$/m, 'counted';
	$q->message([{ user => 'c', tag => '+' }]);
	like +(list($q))[1], qr/, 1 message to be removed,/, 'a message in which everybody is settled';
};

subtest 'diagnostics of a scheduler that writes some' => sub {
	my $q = RunQueue->new;
	my $name = $q->message(['a']);
	my $offset = $q->control($name)->{recipients}[0]{offset};
	open my $fh, '>>', $q->office . "/transport/$name" or die;
	print $fh "d $offset:-1:-1::1795254489\ta\001failed\0014.2.2\001smtp; 452 (full)\001dns; x\001smtp[1]\t\r<<- RCPT\r->> 452 full\n";
	print $fh "d $offset:-1:-1::179525";
	close $fh;
	my ($row) = rows($q);
	is_deeply [@$row{qw(answer answered)}], ['->> 452 full', 1795254489], 'the last whole line counts';
};

subtest 'files in trouble' => sub {
	my $q = RunQueue->new;
	my $good = $q->message(['a'], age => 10);
	my %bad = (
		201 => "@ 0x00000007\ni 201\no 12\ns local - x 1\nr    lmtp - a\n",
		202 => "", 203 => "\0" x 50, 204 => "@ 0x000000ff\n", 205 => "@ 0x00000007\ni 205\no 12\nm\n\n",
		206 => "@ 0x00000007\ni 206\no 12\nr           lmtp - a 1\nm\n\n",
		207 => substr($q->control($good)->{bytes}, 0, 90), "208\e[2J\n" => "x\n",
	);
	Spool->put($q->office . "/transport/$_", $bad{$_}) for keys %bad;
	mkdir $q->office . '/transport/209' or die;
	symlink "../transport/$good", $q->office . '/transport/210' or die;
	my $lost = $q->message(['b']);
	unlink $q->office . "/queue/$lost" or die;
	Spool->put($q->office . '/transport/300', "T etrn\n");
	Spool->put($q->office . '/transport/.hidden', "x");
	my $before = picture($q);
	my ($status, $out) = list($q);
	is $status, 65, 'exit 65';
	is scalar(() = $out =~ / damaged  /g), 9, 'damaged ones';
	is scalar(() = $out =~ / unreadable  /g), 2, 'unreadable ones';
	like $out, qr/^201 .* damaged .* 201:5:3: expected ten columns of process id and delay$/m, 'file and line';
	like $out, qr/^$lost .*it has no message file$/m, 'a message file that is gone';
	like $out, qr/; 11 files damaged or unreadable$/m, 'counted';
	like $out, qr/ a +-$/m, 'what is in order is listed';
	is $out =~ tr/ -~\n//cd, 0, 'printable bytes only';
	is picture($q), $before, 'nothing was changed';
	my ($json_status) = list($q, '-j');
	is $json_status, 65, 'the same exit code with JSON';
	is scalar(grep { defined $_->{why} } rows($q)), 11, 'and the same entries';
};

subtest 'hostile bytes' => sub {
	my $q = RunQueue->new(script => "user . deferred \e]0;owned\a \xff\xfe 45\xe2\x80\xae\n");
	my @users = ("\e[31mred\@example.org", "\"a b\"\@example.org", "tab\x0bvt\@x", "\xff\xfe\@x", "back\bspace\x7f", "\xc2\x9bcsi",
		"caf\xc3\xa9\@x", "rtl\xe2\x80\xaetxt\@x", 'x' x 3000, '%s%n%d');
	my $name = $q->message([map { { user => $_ } } @users]);
	$q->message([{ user => 'x', host => "h\e[5m" }, { user => 'y', channel => "c\e\x9b" }]);
	$q->run('-1');
	my ($status, $out, $err) = list($q);
	is "$status$err", '0', 'exit 0';
	my $lines = () = $out =~ /\n/g;
	is $lines, @users + 4, 'one line for each';
	utf8::decode(my $text = $out) or fail 'valid UTF-8';
	unlike $text, qr/[^\n\P{Cc}]|\p{Bidi_Control}|\p{Zl}|\p{Zp}/, 'no control or format characters';
	is scalar(() = $text =~ / 45 ?$/mg), @users + 1, 'answers too';
	like $out, qr/ %s%n%d /, 'no format string';
	like $out, qr/caf\xc3\xa9\@x/, 'letters of other languages stay';
	is_deeply [map { my $u = $_->{recipient}; $u } rows($q)]->[1], '"a b"@example.org', 'JSON has them whole';
};

subtest 'beside a runqueue that delivers' => sub {
	my $q = RunQueue->new(script => "pause 0.01\nuser ^d deferred \r->> 450 no\n");
	$q->message([$_ % 5 ? "u$_" : "d$_"]) for 1 .. 60;
	$q->start('-w');
	my ($lists, @bad) = (0);
	ok RunQueue::wait_for(sub {
		my ($status, $out, $err) = list($q);
		$lists++;
		push @bad, "$status $out $err" if $status != 0 || $err ne '';
		return !@bad && $out =~ /^12 recipients in 12 messages/m && 12 == (() = $out =~ /->> 450 no/g);
	}, 30), 'the list shrinks to what is deferred';
	is "@bad", '', "none of $lists lists saw trouble";
	$q->stop;
};

subtest 'a state file that is none' => sub {
	my $q = RunQueue->new;
	$q->message(['a']);
	for my $text ('', "zlmtp-runqueue-state 2\t1\t1\n", "zlmtp-runqueue-state 1\t1\t1\n100\tx\n", "zlmtp-runqueue-state 1\t1\t1\n100", "\0") {
		Spool->put($q->office . '/.state.runqueue', $text);
		my ($status, $out, $err) = list($q);
		is $status, 65, 'exit 65';
		like $err, qr/\Arunqueue: \.state\.runqueue:[12]: expected .*; next tries and the newest answers are not known\n\z/, 'named with its line';
		like $out, qr/ lmtp\/- +a +-$/m, 'the mail is listed';
		like $out, qr/^1 recipient in 1 message, .*; 1 file damaged or unreadable$/m, 'the sum';
		unlike $out, qr/^\./m, 'a file that is no mail has no row';
		is scalar(rows($q)), 1, 'nor one in JSON';
		my $queue = Tool::run(["$build/channel/zlmtp-queue", '-P', $q->office, 'list']);
		# but for the age, where a second has passed
		is $queue->{out} =~ s/\d+s +/Ns /gr =~ s/ +$//mgr, $out =~ s/\d+s +/Ns /gr =~ s/ +$//mgr, 'zlmtp-queue list shows the same';
		is $queue->{err}, $err =~ s/^runqueue/zlmtp-queue/r, 'and says the same';
		is $queue->{status}, 65, 'with the same exit status';
		is_deeply [@{Tool::run(["$build/channel/zlmtp-queue", '-P', $q->office, 'hold', 'to=nobody'])}{qw(status err)}],
			[1, "zlmtp-queue: hold: nothing in the queue matches\n"], 'and it is nothing that a filter may mean';
	}
};

subtest 'usage' => sub {
	my $q = RunQueue->new;
	is +($q->run('-l', '-1'))[0], 64, '-l and -1';
	is +($q->run('-j', '-1'))[0], 64, '-j without -l';
	is +($q->run('-l', '-P', $q->dir . '/none'))[0], 66, 'no such post office';
	is +($q->run('-l', 'x'))[0], 64, 'an argument';
};

done_testing;
