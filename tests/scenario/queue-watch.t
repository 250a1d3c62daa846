#!/usr/bin/perl
# zlmtp-queue watch: the live screen, on a terminal, on one that knows no sequences, in a pipe.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Cwd ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(sleep time);
use RunQueue;
use Spool;
use Tmux;
use ZlmtpQueue;

delete $ENV{ZCONFIG};
my $build = Cwd::abs_path($ENV{BUILD_DIR} // '.');

sub running(%o) {
	my $q = RunQueue->new(%o);
	$q->start('-w');
	RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' }) or die "no socket\n";
	return $q;
}

sub command($q, @words) { join ' ', "$build/channel/zlmtp-queue", '-P', $q->office, @words, 'watch' }

# A store that is down, with so many messages for it.
sub store_down($count) {
	my $q = RunQueue->new(conf => "lmtp/*\n\tinterval=1h retries=1 command=\"AGENT\"\n",
		script => "user . retryat connect to store: Connection refused\n");
	$q->message(["u$_\@\@store"], age => $_ * 2000 / $count) for 1 .. $count;
	$q->start('-w');
	RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' }) or die "no socket\n";
	return $q;
}

# A command that prints into a pipe.
sub start($command) {
	my $pid = open my $out, '-|', "exec $command </dev/null" or die "$command: $!";
	return { pid => $pid, out => $out, command => $command };
}

# The lines that it prints until there are so many; then it is told to end.
sub take($running, $count) {
	my @lines;
	local $SIG{ALRM} = sub { die "$running->{command}: too few lines\n" };
	alarm 120;
	while (@lines < $count) { push @lines, scalar readline($running->{out}) // last }
	alarm 0;
	kill TERM => $running->{pid};
	close $running->{out};
	return @lines;
}

sub lines($count, $command) { take(start($command), $count) }

# The clock on top of the screen, or undef.
sub clock($terminal) { ($terminal->screen =~ /\A(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)  zlmtp-queue watch/)[0] }

my $many = 2000;
subtest "a store that is down, $many messages" => sub {
	my $q = store_down($many);
	my $made = time;
	# the oldest was of 2000 s then
	my $is_oldest = sub ($text) { $text =~ /the oldest(?: message)? (\d+)m old/ && $1 >= 33 && $1 <= (2000 + 1 + time - $made) / 60 };
	my $t = Tmux->new(rows => 30, columns => 110);
	$t->type('stty -g; echo seen before');
	ok $t->shows(qr/^seen before$/m), 'a shell';
	my ($modes) = $t->screen =~ /^([0-9a-f]+:\S+)$/m;
	$t->type(command($q));
	# that of the destination may be there before the agent has told that it is idle
	ok $t->shows(qr/ idle .*Connection refused/s), 'the reason is shown';
	my $screen = $t->screen;
	like $screen, qr/^runqueue runs, process $q->{pid}, for \d+[ms]\S*$/m, 'runqueue';
	like $screen, qr/^$many recipients in $many messages, \d+ in delivery; the oldest message \d+m old, S\S+$/m, 'sums and the oldest message';
	ok $is_oldest->($screen), '... with its age' or diag $screen;
	like $screen, qr/^ +arrived +delivered +failed +deferred\nnow\/s( +[\d.]+){4}\n1 minute\/s( +[\d.]+){4}\nin all +$many +0 +0 +1$/m, 'rates';
	like $screen, qr{^AGENT +CHANNEL/HOST +STATE +JOBS +SESSIONS +SINCE\n\d+ +lmtp/\S+ +idle +0 +0 +\d+[ms]\S*$}m, 'agents';
	like $screen, qr{^lmtp/store +$many +\d+ +0 +(?:1h00|\d+)m  connect to store: Connection refused$}m, 'destinations';
	unlike $screen, qr/seen before/, 'on a screen of its own';
	my $then = clock($t);
	ok RunQueue::wait_for(sub { (clock($t) // $then) ne $then }, 5), 'it is drawn again';
	$t->keys('q');
	ok $t->shows(qr/^seen before$/m), 'q ends it, and what was there before is there again';
	$t->type('echo status $?; stty -g');
	ok $t->shows(qr/^status 0$/m), 'exit status 0';
	ok $t->shows(qr/^status 0\n\Q$modes\E$/m), 'the terminal is as it was';
	# one was tried; all wait for the same reason, and it is said of each
	my $reason = 'connect to store: Connection refused';
	my @lines;
	my $row = qr{^S\S+ +\d+[ms]\S* +(?:1h00|\d+)m +ann\@example\.org +lmtp/store +u\d+ +\Q$reason\E$};
	ok RunQueue::wait_for(sub { @lines = split /\n/, (zq($q, 'list'))[1]; $many == grep { /$row/ } @lines }), 'list';
	like $lines[-1], qr/^$many recipients in $many messages, the oldest \d+m old$/, 'and the sums';
	ok $is_oldest->($lines[-1]), '... with the age of the oldest' or diag $lines[-1];
	my @rows = rows($q);
	is scalar(@rows), $many, 'list -j: all of them';
	is scalar(grep { $_->{answer} ne $reason || $_->{state} ne 'waiting' || abs($_->{next_try} - time - 3600) > 600 } @rows), 0, 'each with the reason and the next try';
	my ($sum) = map { JSON::PP->new->utf8->decode($_) } split /\n/, (zq($q, '-j', 'summary'))[1];
	is_deeply [@$sum{qw(channel host total reason)}], ['lmtp', 'store', $many, $reason], 'summary -j';
	$t->tmux('resize-window', '-x', 140, '-y', 30);
	$t->type('clear; ' . command($q) =~ s/watch$/summary/r);
	ok $t->shows(qr{^CHANNEL/HOST +TOTAL +5m +15m +1h +4h +1d +older +NEXT +REASON\nTOTAL +$many( +\d+){6}\nlmtp/store +$many( +\d+){6} +(?:1h00|\d+)m +\Q$reason\E\n$many recipients in $many messages, the oldest \d+m old$}m),
		'summary on the screen' or diag $t->screen;
	ok $is_oldest->($t->screen), '... with the age of the oldest' or diag $t->screen;
	my ($five, $fifteen, $hour) = $t->screen =~ m{^lmtp/store +$many +(\d+) +(\d+) +(\d+) }m;
	# about 300, 600 and 1100, and a minute may have passed
	ok $five > 0 && $five <= 300 && $fifteen > 400 && $hour >= 1100 && $five + $fifteen + $hour == $many, 'by age' or diag $t->screen;
};

subtest 'signals leave the terminal as it was' => sub {
	my $q = store_down(1);
	my $t = Tmux->new(rows => 12, columns => 80);
	$t->type("stty -g > $t->{dir}/before; echo seen before");
	$t->shows(qr/^seen before$/m);
	for my $how (['C-c', 130], ['C-\\', 131], ['TERM', 143], ['HUP', 129], ['C-d', 0], ['Q', 0]) {
		my ($what, $status) = @$how;
		$t->type("sh -c 'echo \$\$ > $t->{dir}/pid; exec " . command($q) . "'");
		ok $t->shows(qr/^runqueue runs/m), "$what: it draws";
		if ($what =~ /^(TERM|HUP)$/) { kill $what, 0 + Spool::slurp("$t->{dir}/pid") }
		else { $t->keys($what) }
		ok $t->shows(qr/seen before/), 'what was there before is there again';
		$t->type("echo status \$?; stty -g > $t->{dir}/after; clear; echo seen before");
		RunQueue::wait_for(sub { -s "$t->{dir}/after" });
		is Spool::slurp("$t->{dir}/after"), Spool::slurp("$t->{dir}/before"), 'and the modes';
		unlink "$t->{dir}/after";
	}
	$t->type(command($q));
	ok $t->shows(qr/^runqueue runs/m), 'it draws';
	$t->keys('C-z');
	ok $t->shows(qr/Stopped/), 'it stops';
	like $t->screen, qr/seen before/, 'and what was there before is there';
	$t->type("stty -g > $t->{dir}/after; echo next");
	$t->shows(qr/^next$/m);
	is Spool::slurp("$t->{dir}/after"), Spool::slurp("$t->{dir}/before"), 'with the modes of before';
	$t->type('fg');
	ok $t->shows(qr/\A\d{4}-.*\nrunqueue runs/), 'it goes on and draws at once';
	$t->tmux('resize-window', '-x', 60, '-y', 8);
	ok $t->shows(qr/\A\d{4}-.*\nrunqueue runs/), 'a smaller screen';
	is scalar(grep { length > 60 } split /\n/, $t->screen), 0, 'no longer line';
	$t->tmux('resize-window', '-x', 110, '-y', 30);
	ok $t->shows(qr/^CHANNEL\/HOST/m), 'a larger one has more';
	$t->keys('q');
	ok $t->shows(qr/^next$/m), 'and it leaves what was there';
};

subtest 'any size of a screen: the first line stands first, and nothing is wrapped' => sub {
	my $q = store_down(1);
	my $t = Tmux->new(rows => 40, columns => 110);
	$t->type(command($q));
	ok $t->shows(qr/^CHANNEL.*\n.*refused/m), 'it draws' or diag $t->screen;
	my ($text) = $t->screen =~ /(.*\S)/s;
	my $lines = 1 + ($text =~ tr/\n//);
	for my $size ([10, 3], [1, 1], [2, 2], (map { [110, $_] } $lines - 1, $lines, $lines + 1), [10, 3]) {
		my ($columns, $rows) = @$size;
		$t->tmux('resize-window', '-x', $columns, '-y', $rows);
		# nothing stands in the last column
		my $head = substr '2026-11-30 11:11:11', 0, $columns - 1;
		my $first = $head =~ s/\d/\\d/gr;
		ok $t->shows(qr/\A(?=$first)[^\n]{0,@{[$columns - 1]}}$/m), "$columns x $rows: the time first" or diag $t->screen;
		# and it stays so when it is drawn again
		my $then = $t->screen;
		RunQueue::wait_for(sub { $t->screen ne $then }, 3) if $columns > 20;
		like $t->screen, qr/\A$first/, 'drawn again';
		like $t->screen, qr/^runqueue$/m, 'the next line in its place' if $columns == 10;
	}
	$t->tmux('resize-window', '-x', 110, '-y', 30);
	$t->keys('q');
	ok $t->shows(qr/^> /m), 'q ends it';
	$t->type('env -u TERM ' . command($q));
	ok $t->shows(qr/zlmtp-queue watch.*zlmtp-queue watch/s), 'without TERM: one text below the other';
	$t->keys('q', 'Enter');
	$t->type('echo status $?');
	ok $t->shows(qr/^status 0$/m), 'q ends it, too';
};

subtest 'an agent at work has its sessions' => sub {
	# a server that says nothing behind its greeting
	my $server = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen: $!";
	my $q = running(conf => "lmtp/*\n\tcommand=\"$build/channel/lmtp -c lmtp -F [127.0.0.1] -p ${\ $server->sockport}\"\n");
	$q->arrive(['a@@store']);
	my $client = $server->accept;
	print $client "220 ready\r\n";
	$client->flush;
	my $t = Tmux->new;
	$t->type(command($q));
	ok $t->shows(qr{^\d+ +lmtp/store +delivering +1 +1 +\d+s$}m), 'one job, one session' or diag $t->screen;
	close $client;
};

subtest 'text where there is no screen' => sub {
	my $q = store_down(3);
	my @lines = lines(60, command($q));
	is scalar(grep { /[^\n -~]/ } @lines), 0, 'no control character';
	my @clocks = map { /^(\S+ \S+)  zlmtp-queue watch/ ? $1 : () } @lines;
	cmp_ok scalar(@clocks), '>', 2, 'several texts';
	# the first one may be late
	isnt $clocks[0], $clocks[2], 'a second between two of them';
	my $t = Tmux->new(rows => 60, columns => 110);
	$t->type('TERM=dumb ' . command($q));
	ok $t->shows(qr/zlmtp-queue watch.*zlmtp-queue watch/s), 'one below the other on a terminal that knows nothing';
	$t->keys('q', 'Enter');
	$t->type('echo status $?');
	ok $t->shows(qr/^status 0$/m), 'q ends it';
	my ($status, $out, $err) = zq($q, 'watch', 'all');
	is "$status$out", 64, 'it takes no filter';
	is $err =~ tr/\n//, 1, 'one line';
};

subtest 'JSON' => sub {
	my $q = store_down(3);
	RunQueue::wait_for(sub { my ($row) = rows($q); $row && $row->{answer} });
	my ($first, $second, $third) = map { JSON::PP->new->utf8->decode($_) } lines(3, command($q, '-j'));
	is_deeply [@$second{qw(runqueue messages recipients delivered failed arrived unserved)}], [$q->{pid}, 3, 3, 0, 0, 3, 0], 'sums';
	is_deeply [map { [@$_{qw(channel host messages reason)}] } @{$second->{destinations}}],
		[['lmtp', 'store', 3, 'connect to store: Connection refused']], 'destinations';
	is_deeply [sort keys %{$second->{rates}}], [qw(arrived deferred delivered failed)], 'rates';
	is_deeply [map { $_->{channel} } @{$second->{agents}}], ['lmtp'], 'agents';
	# the first of them may be late
	cmp_ok $third->{time}, '>', $first->{time}, 'each second';
};

# Trouble of recipients, not of their destination, which has no reason and no next try of its own.
subtest 'a server that defers each recipient' => sub {
	my $q = RunQueue->new(conf => "lmtp/*\n\tinterval=1h retries=1 command=\"AGENT\"\n", script => "user . deferred \r->> 451 4.3.0 later\n");
	$q->message(['a@@store'], age => 10);
	$q->message([{ user => 'b', channel => 'elsewhere' }]);
	$q->start('-w');
	RunQueue::wait_for(sub { grep { ($_->{answer} // '') =~ /451/ } rows($q) }) or die "no answer\n";
	my $running = start(command($q, '-j'));
	my %seen;
	# the first of them may be from before the agent was idle
	for (1 .. 10) {
		%seen = map { $_->{channel} => $_ } @{JSON::PP->new->utf8->decode(scalar readline $running->{out})->{destinations}};
		last if $seen{lmtp}{next_try};
	}
	take($running, 0);
	like $seen{lmtp}{reason}, qr/451 4\.3\.0 later$/, 'its reason is the answer';
	cmp_ok abs(($seen{lmtp}{next_try} // 0) - time - 3600), '<', 120, 'its next try that of the recipient';
	my $text = join '', lines(20, command($q));
	like $text, qr{^lmtp/store +1 +0 +0 +(?:1h00m|\d+m)  .*451 4\.3\.0 later$}m, 'text';
	like $text, qr/^2 recipients in 2 messages, 0 in delivery, 1 that no clause delivers; the oldest /m, 'sums';
};

subtest 'one message, and none' => sub {
	my $q = store_down(1);
	like join('', lines(12, command($q))), qr/^1 recipient in 1 message, /m, 'one';
	my $empty = running();
	my ($j) = map { JSON::PP->new->utf8->decode($_) } (lines(2, command($empty, '-j')))[1];
	is_deeply [@$j{qw(runqueue messages oldest oldest_id)}], [$empty->{pid}, 0, undef, undef], 'none: no oldest one';
};

subtest 'without a runqueue, and when it comes and goes' => sub {
	my $q = RunQueue->new;
	$q->message(["u$_"]) for 1 .. 2;
	my ($j) = map { JSON::PP->new->utf8->decode($_) } lines(1, command($q, '-j'));
	is_deeply [@$j{qw(runqueue note messages recipients)}], [undef, 'no runqueue runs here', 2, 2], 'JSON';
	like join('', lines(6, command($q))), qr{^no runqueue runs here\n2 recipients in 2 messages.*\n\nCHANNEL/HOST.*\nTOTAL +2 }m, 'text';
	Spool->put($q->office . '/.pid.scheduler', "$$\n");
	like join('', lines(3, command($q))), qr/^ZMailer's scheduler runs here, process ${\ $$}$/m, 'beside ZMailer';
	unlink $q->office . '/.pid.scheduler';
	my $t = Tmux->new;
	$q->script("user . deferred \r->> 450 later\n");
	$t->type(command($q));
	ok $t->shows(qr/^no runqueue runs here$/m), 'on a terminal';
	$q->start('-w');
	ok $t->shows(qr/^runqueue runs, process $q->{pid}/m), 'it has come';
	ok $t->shows(qr/^2 recipients in 2 messages/m), 'and read the queue';
	$q->stop;
	ok $t->shows(qr/^no runqueue runs here$/m), 'it has gone';
	$t->keys('q');
};

subtest 'a runqueue that is none' => sub {
	my $sums = "1\tsums\t42\t" . join("\t", (1) x 10) . "\t1700000000\tS1\e[2Jx\n";
	my @watched;
	for my $case (["$sums" . "1\tdestination\tl\e]0;x\a\tho\x{9b}st\t1\t1\t1\t0\tcome \e[31mhere\n1\tdone\t0\t\n", qr/^l .*come .*here/m, 'escapes'],
		["1\tdone\t0\t\n", qr/^runqueue sent an unknown answer/m, 'no sums'], ["1\tbad\t0\twhat?\n", qr/^runqueue sent an unknown answer/m, 'bad'],
		["\0\xff\n1\tdone\t\n", qr/^runqueue sent an unknown answer/m, 'rubbish'], ['x' x 3_000_000, qr/^runqueue sent an unknown answer/m, 'without end']) {
		my ($answer, $shown, $what) = @$case;
		my $q = RunQueue->new;
		my $server = IO::Socket::UNIX->new(Local => $q->office . '/.control.runqueue', Listen => 5) or die "listen: $!";
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			$SIG{PIPE} = 'IGNORE';
			while (my $c = $server->accept) { while (<$c>) { print $c $answer; $c->flush } }
			POSIX::_exit(0);
		}
		# all of them at the same time, as each draws once a second
		push @watched, { q => $q, server => $pid, shown => $shown, what => $what, watch => start(command($q)), count => $what eq 'escapes' ? 14 : 8 };
	}
	for my $w (@watched) {
		my $text = join '', take($w->{watch}, $w->{count});
		like $text, $w->{shown}, "$w->{what}: said so";
		is scalar(() = $text =~ /[^\n -~\x80-\xff]|\xc2[\x80-\x9f]/g), 0, 'no control character is shown';
		kill KILL => $w->{server};
		waitpid $w->{server}, 0;
	}
};

subtest 'what is typed ahead is left to the shell, where the list goes into a pipe' => sub {
	my $q = RunQueue->new;
	my $t = Tmux->new(rows => 30, columns => 110);
	# tmux types both lines before the first has ended
	$t->type(command($q) . ' | head -n 1');
	$t->type('echo was it $((20 + 2))');
	ok $t->shows(qr/^was it 22$/m) or diag $t->screen;
};

subtest 'nobody reads any more' => sub {
	my $q = RunQueue->new;
	my $err = $q->dir . '/pipe-err';
	my $out = `timeout 20 sh -c '${\ command($q)} 2>$err; echo \$? >$err.status' </dev/null | head -n 1`;
	like $out, qr/zlmtp-queue watch/, 'one line is read';
	RunQueue::wait_for(sub { -s "$err.status" });
	is Spool::slurp("$err.status"), "0\n", 'exit status 0';
	is Spool::slurp($err), '', 'no complaint';
};

done_testing;
