#!/usr/bin/perl
# runqueue is killed at every system call of hold, release, fail, remove and reroute that zlmtp-queue has asked it for, from the
# connection on: the message is in its old or in its new state, and whoever heard "done" finds the new one.  The next runqueue
# does the same again, and nothing is lost.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'some_of';
use Reports;
use Spool;
use ZlmtpQueue;

delete $ENV{ZCONFIG};
my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $killat = "$build/tests/crash/killat";
# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';

# One message with two recipients that wait, as nobody serves them, and one that is delivered; on hold if asked for.  In the
# maps the two have moved.
sub queue($held) {
	my $q = Reports->queue(conf => join('', map { "$_/*\n\tqueueonly command=/nowhere\n" } qw(lmtp mailbox)), routes => "ann\@example.org mailbox!-!ann\n"
		. "one\@example.org lmtp!new!one\ntwo\@example.org lmtp!new!two\n");
	my @to = map { { host => 'old', user => $_, dsn => "ORCPT=rfc822;$_\@example.org" } } qw(one two);
	$q->message([@to, { host => 'old', user => 'three', tag => '+' }]);
	mkdir $q->office . '/hold';
	rename $q->office . '/transport/100', $q->office . '/hold/100' or die if $held;
	return $q;
}

sub begin($q, @before) {
	$q->{before} = \@before;
	unlink $q->office . '/.control.runqueue';
	$q->start('-w');
	return RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' });
}

# Its number, 0 if it lives no more.
sub lives($q) {
	my $pid = (Spool::slurp($q->office . '/.pid.runqueue') // '') + 0;
	return $pid && kill(0, $pid) ? $pid : 0;
}

# Tells runqueue to end, behind killat.  Status and what it said.
sub end($q) {
	my $pid = lives($q);
	kill TERM => $pid if $pid;
	return ($q->finish)[0, 2];
}

# "PLACE: host/user tag, ..."; "damaged" if it is not whole; gone, and who was told of.
sub found($q) {
	my @places = grep { -e $q->office . "/$_/100" } qw(transport hold);
	return "two: @places" if @places > 1;
	if (!@places) {
		my @told = map { @{$_->{trouble}} ? 'damaged' : map { $_->{'final-recipient'} =~ s/.* //r } @{$_->{recipients}} } Reports->all($q);
		my %told = map { $_ => 1 } @told;
		return 'gone' . (%told ? ', told of ' . join ' ', sort keys %told : '');
	}
	return 'no message file' unless -e $q->office . '/queue/100';
	# it may have been removed since
	my $text = Spool::slurp($q->office . "/$places[0]/100") // return found($q);
	my $c = Spool::parse('100', $text);
	return 'damaged' unless @{$c->{recipients}} == 3 && $c->{recipients}[2]{header} =~ /^Subject: message 100$/m;
	return "$places[0]: " . join ', ', map { "$_->{host}/$_->{user}$_->{tag}" } @{$c->{recipients}};
}

my $old = 'old/one , old/two , old/three+';
# old states first, then those in which it is done; the last one is the end
my %verbs = (
	hold => [0, ["transport: $old"], ["hold: $old"]],
	release => [1, ["hold: $old"], ["transport: $old"]],
	remove => [0, ["transport: $old"], ['gone']],
	fail => [0, ["transport: $old", 'transport: old/one-, old/two , old/three+'], ['transport: old/one-, old/two-, old/three+', 'gone, told of one two']],
	reroute => [0, ["transport: $old"], ['transport: new/one , new/two , old/three+']],
);
for my $verb (sort keys %verbs) {
	my ($held, $before, $after) = @{$verbs{$verb}};
	my $ask = sub ($q) { zq($q, $verb eq 'reroute' ? ('-f', $q->dir . '/var/db/dbases.conf', '-o', 'protocols=routes') : (), $verb, '100') };
	my $q = queue($held);
	begin($q, $killat, '-a', 0);
	my ($status, undef, $said) = $ask->($q);
	my $wanted = $after->[-1];
	RunQueue::wait_for(sub { found($q) eq $wanted });
	my ($ended, $err) = end($q);
	plan skip_all => "processes cannot be followed here: $err" if $ended == 71;
	my ($calls) = $err =~ /killat: (\d+) calls/;
	is "$status " . found($q), "0 $wanted", "$verb, left alone" or diag $said . $err;
	cmp_ok $calls // 0, '>', 10, "$verb: " . ($calls // 0) . ' calls from the connection on';
	my (@bad, %seen, $killed);
	for my $n (some_of(3, 1 .. $calls // 0)) {
		$q = queue($held);
		begin($q, $killat, '-a', $n);
		($status) = $ask->($q);
		RunQueue::wait_for(sub { !lives($q) || found($q) eq $wanted }) if $status == 0;
		($ended, $err) = end($q);
		my $state = found($q);
		$killed += $ended == 137;
		$seen{$state}++;
		# the number of calls is not always the same
		push @bad, "call $n: runqueue ended with $ended: $err" unless $ended == 137 || $n > $calls * 0.6 && $ended == 0;
		push @bad, "call $n: $state" unless grep { $_ eq $state } @$before, @$after;
		push @bad, "call $n: done was said of $state" if $status == 0 && !grep { $_ eq $state } @$after;
		push @bad, "call $n: zlmtp-queue ended with $status" unless $status == 0 || $status == 75;
		begin($q);
		# one that was not done is done now, and one that was hears so
		RunQueue::wait_for(sub { found($q) eq $wanted || $ask->($q) && 0 }) or push @bad, "call $n, and again: " . found($q);
		($ended, $err) = end($q);
		push @bad, "call $n, the next runqueue: $ended, $err" if $ended != 0 || $err ne '';
	}
	cmp_ok $killed, '>', 0, "$verb: killed $killed times, at " . join ', ', map { "$_ ($seen{$_})" } sort keys %seen;
	is join("\n", @bad), '', "$verb: the old or the new state";
}
done_testing;
