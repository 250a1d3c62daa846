#!/usr/bin/perl
# A user moves to another store while mail for it waits: what the old one refuses or defers is tried at the place that the
# maps have now, and nobody is told of a failure that is none.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Reports;
use Spool;
use ZlmtpQueue;

my @at = (dsn => 'ORCPT=rfc822;bob@example.org');
my $gone = "user ^bob\$ error2 <<- RCPT TO:<bob>\r->> 550 5.1.1 no such user\n";
my $new = "user ^bob2\$ ok3 250 2.1.5 here\n";

# The maps say that bob is `there`: channel!host!user.
sub queue_with($there, %o) {
	return Reports->queue(script => $gone . $new, routes => "ann\@example.org mailbox!-!ann\nbob\@example.org $there\n", %o);
}

sub move_to($q, $there) { Spool->put($q->dir . '/var/db/routes', "ann\@example.org mailbox!-!ann\nbob\@example.org $there\n") }

subtest 'the old store does not know the user any more' => sub {
	my $q = queue_with('lmtp!store2!bob2');
	$q->message([{ user => 'bob', host => 'store1', @at }]);
	my ($status, $out, $err) = $q->run('-1', '-v');
	is $status, 0, 'exit 0' or diag $err;
	like $out, qr/^S\w+: 1 recipient rerouted, as the maps have another place now\n.* bob2 lmtp\/store2 ok/m, 'it goes to the new one at once';
	like $out, qr/^delivered 1, failed 0, deferred 0,/m, 'and counts as delivered alone';
	is scalar(Reports->all($q)), 0, 'nobody is told anything';
	is_deeply { $q->reports }, {}, 'nor is the postmaster';
	is $q->control(100), undef, 'the message has gone';
};

subtest 'who wanted to hear of no failure is not lost either' => sub {
	my $q = queue_with('lmtp!store2!bob2');
	$q->message([{ user => 'bob', host => 'store1', dsn => 'NOTIFY=NEVER ORCPT=rfc822;bob@example.org' }]);
	like +($q->run('-1'))[1], qr/^delivered 1, failed 0/, 'delivered';
};

# ORCPT is what the sender's side says about earlier times; were it asked, anybody could send mail past the answer to RCPT
subtest 'what the client named in RCPT is asked for, not its ORCPT' => sub {
	for my $orcpt ('rfc822;eve@example.org', 'utf-8;e\\x{76}e@example.org') {
		my @dsn = (dsn => "NOTIFY=FAILURE ORCPT=$orcpt INRCPT=rfc822;bob\@example.org");
		my $q = queue_with("lmtp!store2!bob2\neve\@example.org lmtp!store3!eve");
		$q->message([{ user => 'bob', host => 'store1', @dsn }]);
		my ($status, $out) = $q->run('-1', '-v');
		like $out, qr/^S\w+ bob2 lmtp\/store2 ok/m, "$orcpt: delivered to who was meant";
		unlike $out, qr/store3/, 'and to nobody else';
		$q = queue_with("lmtp!store1!bob\neve\@example.org lmtp!store3!eve");
		$q->message([{ user => 'bob', host => 'store1', @dsn }]);
		like +($q->run('-1'))[1], qr/^delivered 0, failed 1/, 'who is where he was fails';
	}
};

subtest 'others in the message fail nevertheless, and are told of' => sub {
	my $q = queue_with('lmtp!store2!bob2', script => "${gone}${new}user eve error2 ->> 550 5.1.1 unknown\n");
	$q->message([{ user => 'bob', host => 'store1', @at }, { user => 'eve', host => 'store1', dsn => 'ORCPT=rfc822;eve@example.org' }]);
	like +($q->run('-1'))[1], qr/^delivered 1, failed 1/, 'one delivered, one failed';
	my @reports = Reports->all($q);
	is_deeply [map { $_->{'final-recipient'} } map { @{$_->{recipients}} } @reports], ['rfc822; eve'], 'the report is of that one alone';
};

subtest 'the new store refuses it, too' => sub {
	my $q = queue_with('lmtp!store2!bob2', script => "${gone}user ^bob2\$ error2 ->> 550 5.1.1 not here either\n");
	$q->message([{ user => 'bob', host => 'store1', @at }]);
	like +($q->run('-1'))[1], qr/^delivered 0, failed 1/, 'it fails once';
	my @reports = Reports->all($q);
	is_deeply [map { $_->{'final-recipient'} } map { @{$_->{recipients}} } @reports], ['rfc822; bob2'], 'with a report of the last place';
};

subtest 'it stays and fails where it is' => sub {
	my @cases = (
		['the same place', 'lmtp!store1!bob', @at], ['nowhere', 'error!nosuchuser', @at], ['out of this site', 'smtp!example.org!bob', @at],
		['a place that nobody can say is its', 'lmtp!store2!bob2'],
	);
	for my $case (@cases) {
		my ($what, $there, @dsn) = @$case;
		my $q = queue_with($there);
		$q->message([{ user => 'bob', host => 'store1', @dsn }]);
		like +($q->run('-1'))[1], qr/^delivered 0, failed 1/, $what;
		is scalar(Reports->all($q)), 1, '... which is told';
	}
	my $q = queue_with('lmtp!store2!bob2', script => "user ^bob\$ error2 ->> 552 5.2.2 over quota\n");
	$q->message([{ user => 'bob', host => 'store1', @at }]);
	like +($q->run('-1'))[1], qr/^delivered 0, failed 1/, 'a refusal that says nothing of its existence';
};

subtest 'an operator has failed it' => sub {
	my $q = queue_with('lmtp!store2!bob2', script => "user ^bob\$ deferred\n");
	$q->{routes} = 1;
	move_to($q, 'lmtp!store1!bob');
	my $name = $q->message([{ user => 'bob', host => 'store1', @at }]);
	is +(zq($q, 'fail', '-m', '5.1.1 gone', $name))[0], 0, 'failed by hand';
	move_to($q, 'lmtp!store2!bob2');
	like +($q->run('-1'))[1], qr/^delivered 0/, 'that counts, whatever the maps say';
	is scalar(Reports->all($q)), 1, 'and is told';
};

subtest 'the maps cannot tell' => sub {
	my $q = queue_with('lmtp!store2!bob2');
	$q->message([{ user => 'bob', host => 'store1', @at }]);
	rename $q->dir . '/var/db/routes', $q->dir . '/var/db/away';
	my ($status, $out, $err) = $q->run('-1');
	is scalar(Reports->all($q)), 0, 'nothing is told';
	ok $q->control(100), 'the message stays';
	rename $q->dir . '/var/db/away', $q->dir . '/var/db/routes';
	like +($q->run('-1'))[1], qr/^delivered 1/, 'delivered when they can';
};

for my $case (['the old store defers it', "user ^bob\$ deferred ->> 450 4.2.1 being moved\n"], ['the old store is away', "user ^bob\$ retryat ->> connection refused\n"]) {
	subtest $case->[0] => sub {
		my $q = queue_with('lmtp!store1!bob', script => $case->[1] . $new);
		my @names = map { $q->message([{ user => 'bob', host => 'store1', @at }]) } 1 .. 3;
		$q->start('-w');
		ok RunQueue::wait_for(sub { 3 == map { $q->tags($_) } @names and grep { $_->{word} eq 'job' } $q->log }), 'it is tried';
		move_to($q, 'lmtp!store2!bob2');
		ok RunQueue::wait_for(sub { !grep { $q->control($_) } @names }), 'all that waits goes to the new store';
		my ($status, $out, $err) = $q->stop;
		is $status, 0, 'exit 0' or diag $err;
		is scalar(Reports->all($q)), 0, 'nobody is told anything';
	};
}

done_testing;
