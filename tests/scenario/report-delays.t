#!/usr/bin/perl
# runqueue tells senders of delays, at the ages that reporttimes of scheduler.conf names.  The time of a message file is its
# arrival, so that tests make a message old by it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Reports;
use RunQueue;
use Spool;

my $conf = "lmtp/*\n\tinterval=1s expiry=3d command=\"AGENT\"\n";

sub queue(%o) { Reports->queue(script => "user dan deferred\n", conf => $conf, %o) }

# Makes it so many seconds old.
sub age($q, $name, $seconds) {
	my $time = time - $seconds;
	utime $time, $time, $q->spool->message_path($name);
}

sub count($q) { scalar(Reports->all($q)) }

subtest 'at 4 hours and at a day, once each' => sub {
	my $q = queue();
	$q->message(['dan'], ret => 'FULL', age => 3 * 3600);
	$q->run('-1');
	is count($q), 0, '3 hours: no report';
	age($q, 100, 4 * 3600 + 60);
	my ($status, $out, $err) = $q->run('-1');
	is "$status $err", '0 ', 'exit 0';
	my @reports = Reports->all($q);
	is scalar @reports, 1, '4 hours: a report';
	my $r = $reports[0];
	is_deeply $r->{trouble}, [], 'as RFC 3464 and 6522 want it';
	is $r->{header}{to}, 'ann@example.org', 'to the sender';
	is $r->{types}[2], 'text/rfc822-headers', 'the header of the message alone';
	my ($one) = @{$r->{recipients}};
	is "$one->{'final-recipient'} $one->{action} $one->{status}", 'rfc822; dan delayed 4.2.2', 'recipient, Action, Status';
	like $one->{'diagnostic-code'}, qr/^smtp; 450/, 'Diagnostic-Code';
	ok $one->{'will-retry-until'}, 'Will-Retry-Until';
	is $q->tags(100), ' ', 'the recipient waits on';
	my ($d) = @{$q->control(100)->{diagnostics}};
	is "$d->{tag} $d->{notary}[1] $d->{text}", '+ delayed 14400', 'the control file says that it was told';
	$q->run('-1');
	is count($q), 1, 'no second one for the same age';
	age($q, 100, 86400 + 60);
	$q->run('-1');
	is count($q), 2, 'a day: another report';
	age($q, 100, 2 * 86400);
	$q->run('-1');
	is count($q), 2, 'two days: no more';
};

subtest 'mail that was not tried is late without an attempt' => sub {
	my $q = queue(conf => "lmtp/*\n\tqueueonly command=\"AGENT\"\n");
	$q->message([$_], age => 5 * 3600) for 'dan', { user => 'bob', channel => 'elsewhere' };
	$q->run('-1');
	my @ones = map { $_->{recipients}[0] } Reports->all($q);
	is_deeply [map { "$_->{action} $_->{status}" } @ones], [('delayed 4.0.0') x 2], 'Action, Status';
	is_deeply [sort map { $_->{'diagnostic-code'} } @ones], ['x-local; no clause serves it', 'x-local; queueonly'], 'what keeps it';
	is_deeply [map { $_->{'last-attempt-date'} } @ones], [undef, undef], 'no Last-Attempt-Date';
};

subtest 'a scheduler that did not run tells once of what it has missed' => sub {
	my $q = queue();
	$q->message(['dan'], age => 86400 + 60);
	$q->run('-1');
	$q->run('-1');
	is count($q), 1, 'one report';
};

subtest 'who wants it' => sub {
	my $q = queue();
	$q->message([{ user => 'dan1', dsn => 'NOTIFY=FAILURE' }, { user => 'dan2', dsn => 'NOTIFY=DELAY' }, { user => 'dan3', dsn => 'NOTIFY=NEVER' },
		'dan4', 'bob'], age => 5 * 3600);
	$q->run('-1');
	my @reports = Reports->all($q);
	is_deeply [map { $_->{'final-recipient'} } map { @{$_->{recipients}} } @reports], ['rfc822; dan2', 'rfc822; dan4'],
		'NOTIFY has DELAY, or there is none';
};

subtest 'reporttimes' => sub {
	my $q = queue(conf => $conf =~ s/expiry/reporttimes="1h, 30m" expiry/r);
	$q->message(['dan'], age => 1860);
	$q->run('-1');
	is count($q), 1, 'half an hour';
	age($q, 100, 3660);
	$q->run('-1');
	is count($q), 2, 'an hour';
	age($q, 100, 100_000);
	$q->run('-1');
	is count($q), 2, 'and no more';
	for my $none ('reporttimes=0', 'reporttimes=""') {
		$q = queue(conf => $conf =~ s/expiry/$none expiry/r);
		$q->message(['dan'], age => 100_000);
		$q->run('-1');
		is count($q), 0, "$none: none at all";
	}
	$q = queue(conf => $conf =~ s/expiry/reporttimes=soon expiry/r);
	my ($status, $out, $err) = $q->run('-1');
	is $status, 78, 'a bad value: exit 78';
	like $err, qr/^runqueue: \S+:2:\d+: expected intervals such as 4h 1d[^\n]*\n\z/, 'one line';
};

subtest 'while runqueue -w runs' => sub {
	my $q = queue(conf => $conf =~ s/expiry/reporttimes=3 expiry/r =~ s/interval=1s/interval=1h/r);
	$q->message(['dan']);
	$q->start('-w');
	ok RunQueue::wait_for(sub { count($q) }, 40), 'at that age, although it is not tried again for an hour';
	$q->stop;
	is count($q), 1, 'once';
};

subtest 'a destination that cannot be reached' => sub {
	my $q = queue(script => "user . retryat\n");
	$q->message([$_], age => 5 * 3600) for qw(dan eve);
	$q->run('-1');
	is count($q), 2, 'all senders hear of it, also of mail that was not tried itself';
};

subtest 'no report of a delay to nobody' => sub {
	my $q = queue();
	$q->spool->add(name => 100, body => "text\n", groups => [{ sender => ['error', '<>', '<>'], header => "Subject: hi\n",
		recipients => [{ channel => 'lmtp', host => '-', user => 'dan' }] }]);
	age($q, 100, 5 * 3600);
	$q->run('-1');
	is count($q), 0, 'none';
};

done_testing;
