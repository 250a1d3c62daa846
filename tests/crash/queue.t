#!/usr/bin/perl
# A queue in which everybody is killed at any moment: runqueue, its agents, what writes reports, zlmtp-queue, the store and the relay,
# while mail comes, store and relay break connections, and an operator holds, releases, retries, fails, reroutes and removes.
# Afterwards each recipient was taken by the store or the relay, or the sender was told in a report that the store took, or the
# operator removed the message; nothing else is there, and nothing is left in the queue.
#
# Some seconds; a minute with ZLMTP_LONG=1, an hour with ZLMTP_SOAK=1 (another number: so many seconds).  ZLMTP_SEED repeats a run.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use Extent 'long';
use LmtpServer;
use Loop;
use Reports;
use Spool;
use ZlmtpQueue;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $soak = $ENV{ZLMTP_SOAK} // 0;
my $seconds = $soak > 1 ? $soak : $soak ? 3600 : long() ? 60 : 6;
my $seed = $ENV{ZLMTP_SEED} // int time;
note "ZLMTP_SEED=$seed";
srand $seed;

# who is rerouted goes to another host
my $q = Reports->queue(routes => "ann\@example.org mailbox!-!ann\npostmaster\@example.org mailbox!-!ann\n\@example.org lmtp!r!%1\n");
my $dir = $q->dir;
my $agent = "$build/channel/lmtp -c \$channel -h client.example -F UNIX:$dir/store";
my %servers;                         # store and relay: their processes
start_server($_) for qw(store relay);
RunQueue::wait_for(sub { -S "$dir/store" && -s "$dir/port" }) or BAIL_OUT('store and relay do not start');
my $port = Spool::slurp("$dir/port");
$q->conf(join '', map { "$_->[0]/*\n\tinterval=1s retries=\"1 1\" maxchannel=4 command=\"$_->[1]\"\n" } ['lmtp', $agent], ['mailbox', $agent],
	['smtp', "$build/channel/lmtp -c \$channel -h client.example -O protocol=smtp -F [127.0.0.1] -p $port"]);
my %message_of;                      # user => name of its message
my (%is_removed, %is_given_up);      # names: by the operator
my (%kills, %verbs);                 # who was killed how often, which command was given how often

sub pick(@list) { return $list[rand @list] }

# ---- the store and the relay ----

# They write each recipient that they take, and each report, into files of their own before they answer.  Faults last while "faults"
# is there.
sub start_server($name) {
	my $pid = fork // die "fork: $!\n";
	return $servers{$name} = $pid if $pid;
	$SIG{$_} = 'DEFAULT' for qw(TERM INT);
	open my $taken, '>>', "$dir/taken" or POSIX::_exit(1);
	my $reports = () = glob "$dir/reports/*";
	my $loop = Loop->new;
	# one that was killed left its socket
	unlink "$dir/store" if $name eq 'store';
	my %place = $name eq 'store' ? (target => 'unix', path => "$dir/store") : (target => 'tcp', protocol => 'smtp', port => Spool::slurp("$dir/port") || 0);
	my $server;
	$server = LmtpServer->new(loop => $loop, %place, lenient => 1, script => sub ($n) { [{ do => 'serve' }] },
		caps => ['ENHANCEDSTATUSCODES', 'PIPELINING', 'CHUNKING'], rules => [sub { answer(@_) }], on_content => sub ($transaction, $connection) {
			my @users = map { $_->{address} } $transaction->{accepted}->@*;
			if (grep { $_ eq 'ann' } @users) {
				Spool->put("$dir/reports/.new", $transaction->{content});
				rename "$dir/reports/.new", "$dir/reports/" . ++$reports;
			}
			syswrite $taken, join '', map { "$_\n" } grep { !/^full/ } @users;
			# what it remembers for tests that look at it would grow for an hour
			$server->{$_}->@* = () for qw(transactions transcript commands problems);
		});
	Spool->put("$dir/port", $server->port) if $name eq 'relay' && !-e "$dir/port";
	$loop->run(1, sub { 0 }) while getppid != 1;
	POSIX::_exit(0);
}

# For a while, or until the end of faults.
sub outage() {
	my $name = pick(qw(store relay));
	if (my $pid = delete $servers{$name}) {
		$kills{$name} += kill 'KILL', $pid;
		waitpid $pid, 0;
	} else {
		start_server($name);
	}
}

sub answer($stage, $key, $connection) {
	if (-e "$dir/faults") {
		return [{ do => 'close' }] if rand() < 0.02;
		return [{ do => 'line', text => '450 4.2.0 later' }] if $stage =~ /RCPT|final/ && rand() < 0.1;
	}
	return [{ do => 'line', text => '550 5.1.1 no such user' }] if $stage eq 'RCPT' && $key =~ /^unknown/;
	return [{ do => 'line', text => '552 5.2.2 full' }] if $stage eq 'final' && $key =~ /^full/;
	return undef;
}

# ---- what happens ----

my $serial = 0;

sub arrive() {
	my @users = map { pick(qw(user user user unknown full)) . ++$serial } 1 .. rand 5;
	# for whom the relay has one reply
	my @away = map { pick(qw(away away unknown)) . ++$serial } 1 .. (@users ? rand 3 : 1 + rand 2);
	my $name = $q->arrive([(map { { host => pick(qw(a b c)), user => $_, dsn => "ORCPT=rfc822;$_\@example.org" } } @users),
		map { { channel => 'smtp', host => 'example.net', user => "$_\@example.net", dsn => "ORCPT=rfc822;$_\@example.net" } } @away]);
	$message_of{$_} = $name for @users, @away;
}

sub waiting() { map { s{.*/}{}r } grep { !m{/\.} && -f } map { glob $q->office . "/$_/*" } qw(transport hold) }

# Its name, the number of an inode, may be as small as that of a message in a file system that is new.
sub is_report($name) { grep { (Spool::slurp($_) // '') =~ /^s\s+error\s/m } map { $q->office . "/$_/$name" } qw(transport hold) }

# An operator, who may be killed, too.
sub operate() {
	my $verb = pick(qw(hold release retry fail reroute remove));
	# a report that is removed or given up would take its word with it
	my @names = grep { $verb !~ /^(?:remove|fail)$/ || !is_report($_) } waiting() or return;
	my $name = pick(@names);
	my $run = zq_start($q, $verb eq 'reroute' ? ('-f', "$dir/var/db/dbases.conf", '-o', 'protocols=routes') : (), $verb, $name);
	if (rand() < 0.3) {
		sleep rand 0.02;
		$kills{'zlmtp-queue'} += kill 'KILL', $run->{pid};
	}
	my ($status) = zq_finish($run);
	$verbs{"$verb $status"}++;
	# 1: nothing was done; one that was killed may have done it
	$is_removed{$name} = 1 if $verb eq 'remove' && $status != 1;
	$is_given_up{$name} = 1 if $verb eq 'fail' && $status != 1;
}

sub children_of($pid) {
	my @found = split ' ', Spool::slurp("/proc/$pid/task/$pid/children") // '';
	return map { ($_, children_of($_)) } @found;
}

sub kill_somebody() {
	my @children = children_of($q->{pid});
	if (!@children || rand() < 0.3) {
		kill 'KILL', $q->{pid};
		$q->finish;
		$kills{runqueue}++;
		return start();
	}
	my $pid = pick(@children);
	my $name = (Spool::slurp("/proc/$pid/comm") // 'gone') =~ s/\n//r;
	$kills{$name} += kill 'KILL', $pid;
}

sub start() { $q->start('-w') }

sub taken() {
	my %times;
	$times{s/\@example\.net$//r}++ for split /\n/, Spool::slurp("$dir/taken") // '';
	return \%times;
}

# How often the sender was told of each user that it is lost.
sub told() {
	my %times;
	for my $path (glob "$dir/reports/*") {
		my $text = Spool::slurp($path);
		fail "$path is damaged" if $text !~ /^Content-Type: multipart\/report/mi;
		$times{$1}++ while $text =~ /^Final-Recipient: rfc822; *([^@\s]+).*?\r\nAction: failed/msg;
	}
	return \%times;
}

# ---- the run ----

Spool->put("$dir/faults", '');
start();
my $end = time + $seconds;
sub deaths() { my $n = 0; $n += $_ for values %kills; return $n }
# on a busy machine it takes longer until as many are killed
while (time < $end || deaths() <= $seconds && time < $end + 60) {
	my $dice = rand;
	if ($dice < 0.5) { arrive() if waiting() < 40 }
	elsif ($dice < 0.7) { operate() }
	elsif ($dice < 0.88) { kill_somebody() }
	elsif ($dice < 0.92) { outage() }
	sleep rand 0.05;
}

# in peace everything comes to its end; what was in trouble again and again is put off for minutes, but not beyond the next start
unlink "$dir/faults";
start_server($_) for grep { !$servers{$_} } qw(store relay);
# who was started a moment ago does not know of signals yet
ok RunQueue::wait_for(sub { IO::Socket::UNIX->new(Peer => $q->office . '/.control.runqueue') }), 'runqueue answers';
my ($ended) = $q->stop;
is $ended, 0, 'runqueue ends when told to';
start();
RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' }) or BAIL_OUT('runqueue does not start');
sub settle() {
	zq($q, 'release', 'all') if glob $q->office . '/hold/*';
	zq($q, 'retry', 'all');
	return !waiting();
}
ok RunQueue::wait_for(sub { settle() || do { sleep 0.3; 0 } }, 60), 'the queue comes to its end' or diag join ' ', waiting();
my ($status, $out, $err) = $q->stop;
is "$status $out" . $err =~ s/^runqueue: (?:agent \d+ \(\w+\)|zlmtp-report) was killed by signal 9\n//mgr, '0 ', 'runqueue ends, and complained of nothing else';
my ($taken, $told) = (taken(), told());
my (@lost, @invented);
for my $user (sort keys %message_of) {
	my $message = $message_of{$user};
	push @lost, $user unless $taken->{$user} || $told->{$user} || $is_removed{$message};
	my $is_refused = $user =~ /^(?:unknown|full)/;
	push @invented, "$user was delivered" if $is_refused && $taken->{$user};
	push @invented, "$user failed" if !$is_refused && $told->{$user} && !$is_given_up{$message};
}
is "@lost", '', scalar(keys %message_of) . ' recipients: each was delivered, told of, or removed';
is "@invented", '', 'nobody failed who was not refused or given up, nobody was delivered who was refused';
is join(' ', grep { !$message_of{$_} && $_ ne 'ann' } keys %$taken, keys %$told), '', 'nobody else got mail';
my $deaths = deaths();
my @litter = grep { -f } map { glob $q->office . "/$_" } qw(queue/* public/.??* transport/.??*);
cmp_ok scalar @litter, '<=', 10 * $deaths, 'what was killed leaves some files that are no mail';
my $twice = grep { $_ ne 'ann' && $taken->{$_} > 1 } keys %$taken;
note "killed: ", join(', ', map { "$_ $kills{$_}" } sort keys %kills), "; commands: ", join(', ', map { "$_ ($verbs{$_})" } sort keys %verbs),
	"; delivered twice: $twice";
cmp_ok $deaths, '>', $seconds, "$deaths were killed";
cmp_ok $_, '>', 0, 'there were some' for scalar(grep { /^user/ } keys %$taken), scalar(grep { /^away/ } keys %$taken), scalar keys %$told;
kill 'KILL', $_ and waitpid $_, 0 for values %servers;
done_testing;
