#!/usr/bin/perl
# intake is killed at each system call while two clients hand over a message each: what it has acknowledged is in the queue,
# whole and once; of what it has not acknowledged there is all or nothing.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use POSIX ();
use Test::More;
use Extent qw(long some_of);
use Time::HiRes qw(sleep time);
use Intake;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $killat = "$build/tests/crash/killat";
# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';
my $body = join '', map { "line $_ of a body that takes several writes\n" } 1 .. 2000;

# One life under killat: what was acknowledged, by client; the number of calls if it was not killed.
sub life($n, $clients) {
	my $intake = Intake->start(run => 0, before => [$killat, $n], wait => 0);
	$intake->again;
	my @clients;
	# one more than needed says that it is there
	while (@clients <= $clients) {
		my $client = eval { $intake->lmtp };
		if ($client) { push @clients, $client; next }
		last if waitpid($intake->{pid}, POSIX::WNOHANG()) > 0 && ($intake->{gone} = 1);
		sleep 0.01;
	}
	pop(@clients)->close if @clients > $clients;
	my %acknowledged;
	# all of them first, so that their messages meet in a batch
	for my $i (keys @clients) {
		eval {
			my $c = $clients[$i];
			$c->hello;
			$c->say($_) for 'MAIL FROM:<x@example.com>', 'RCPT TO:<ann@example.org>', 'DATA';
		};
	}
	$clients[$_]->send("Subject: number $_\r\n\r\n" . $body =~ s/\n/\r\n/gr . ".\r\n") for keys @clients;
	for my $i (keys @clients) {
		my $reply = eval { $clients[$i]->reply(60) } // '';
		$acknowledged{$i} = 1 if $reply =~ /^250 .*queued as/;
	}
	if (!$intake->{gone}) {
		# the server is the child of killat
		my ($server) = split ' ', Spool::slurp("/proc/$intake->{pid}/task/$intake->{pid}/children") // '';
		kill 'TERM', $server if $server;
		waitpid $intake->{pid}, 0;
	}
	my $status = $? >> 8;
	delete $intake->{pid};
	my ($calls) = $intake->said =~ /killat: (\d+) calls/;
	return ($intake, \%acknowledged, $status, $calls);
}

# What is wrong with the queue after that.
sub defects($intake, $acknowledged) {
	my (%seen, @bad);
	for my $job ($intake->queued) {
		my ($control, $header, $text) = eval { $intake->message($job) };
		push @bad, "$job: no message file" if !defined $text;
		my ($i) = ($header // '') =~ /^Subject: number (\d+)$/m;
		push @bad, "$job: no header" if !defined $i;
		push @bad, "$job: another body" if ($text // '') ne $body;
		push @bad, "number $i is there twice" if defined $i && $seen{$i}++;
	}
	push @bad, map { "number $_ was acknowledged and is not there" } grep { !$seen{$_} } keys %$acknowledged;
	return @bad;
}

my ($intake, $acknowledged, $status, $idle) = life(0, 0);
plan skip_all => 'processes cannot be followed here: ' . $intake->said if $status == 71;
($intake, $acknowledged, $status, my $calls) = life(0, 2);
is $status, 0, 'left alone it ends well';
is_deeply [sort keys %$acknowledged], [0, 1], 'both are acknowledged';
is join(' ', defects($intake, $acknowledged)), '', 'and there';

# before the first client nothing can be lost
my $first = long() ? 1 : $idle - 60;
my (@bad, %count);
for my $n (some_of(60, $first .. $calls)) {
	($intake, $acknowledged, $status) = life($n, 2);
	push @bad, map { "call $n: $_" } defects($intake, $acknowledged);
	my @there = $intake->queued;
	$count{scalar(keys %$acknowledged) . ' acknowledged, ' . @there . ' there'}++;
	File::Path::remove_tree($intake->dir);
}
is join("\n", @bad), '', "calls $first to $calls: what is acknowledged is there, whole and once";
note join '; ', map { "$_: $count{$_}" } sort keys %count;
ok $count{'0 acknowledged, 0 there'} && $count{'2 acknowledged, 2 there'}, 'it was killed before and behind the commit';

subtest 'after a kill it starts again' => sub {
	my $again = Intake->start;
	$again->stop('KILL');
	$again->again;
	like((map { @$_ } $again->lmtp->message('x@example.com', ['ann@example.org'], "Subject: x\n\nx\n"))[-1], qr/^250 /, 'the socket that was left over is replaced');
};

done_testing;
