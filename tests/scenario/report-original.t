#!/usr/bin/perl
# Whom a report names, by each way in (RFC 3461 section 6.3, RFC 3464 section 2.3): Original-Recipient if the client has said ORCPT
# and only then, and as Final-Recipient the address as it was accepted, whatever the maps have made of it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Cwd ();
use Test::More;
use Intake;
use Reports;
use RunQueue;

my $build = Cwd::abs_path($ENV{BUILD_DIR} // "$FindBin::Bin/../..");
my $routes = "ann\@example.org mailbox!-!ann\nbob\@example.org lmtp!store!bob\n"
	. join '', map { "$_\@example.org lmtp!store!$_\n" } qw(bob7 eve7);
my $message = "From: ann\@example.org\nSubject: x\n\ntext\n";
my $conf = "lmtp/*\n\tinterval=1h command=\"AGENT\"\nmailbox/*\n\tqueueonly\n";

# Each recipient's pair of the one report that comes.
sub reported($q) {
	my ($status, undef, $err) = $q->run('-1');
	my @reports = Reports->all($q);
	is scalar @reports, 1, 'one report' or diag $err;
	is_deeply $reports[0]{trouble}, [], 'a sound one';
	return [map { [$_->{'original-recipient'}, $_->{'final-recipient'}] } @{$reports[0]{recipients}}];
}

sub queue() {
	my $q = Reports->queue(script => "user . error2\n", conf => $conf, routes => $routes);
	my $db = $q->dir . '/var/db';
	Spool->put("$db/dbases.conf", Spool::slurp("$db/dbases.conf") . "fqdnaliases unordered - - $db/lists -lm\n");
	Spool->put("$db/lists", "both\@example.org bob7\@example.org,eve7\@example.org\n");
	return $q;
}

sub run_it($q, $program, @arguments) {
	Spool->put($q->dir . '/in', $message);
	local $ENV{ZCONFIG} = $q->dir . '/zenv';
	system 'sh', '-c', 'exec "$@" <"$0" >/dev/null', $q->dir . '/in', "$build/channel/$program", @arguments;
	is $? >> 8, 0, "$program: queued";
}

# An intake over the post office of $q.
sub intake($q, $code) {
	my $intake = Intake->start(run => 0);
	$intake->{o}{arguments} = ['-P', $q->office, '-f', $q->dir . '/var/db/dbases.conf'];
	$intake->again;
	$code->($intake);
	$intake->stop;
}

subtest 'enqueue' => sub {
	my $q = queue();
	run_it($q, 'enqueue', '-s', 'ann@example.org', 'Bob@example.org');
	is_deeply reported($q), [[undef, 'rfc822; Bob@example.org']], 'an address';
	$q = queue();
	run_it($q, 'enqueue', '-s', 'ann@example.org', '-r', 'lmtp,store,bob+x');
	is_deeply reported($q), [[undef, 'rfc822; bob+x']], '-r: what there is';
	$q = queue();
	run_it($q, 'enqueue', '-s', 'ann@example.org', 'both@example.org');
	is_deeply reported($q), [([undef, 'rfc822; both@example.org']) x 2], 'an alias: its members are not told to the sender by their addresses';
};

subtest 'intake' => sub {
	for my $case (['RCPT TO:<Bob@example.org>', undef], ['RCPT TO:<Bob@example.org> ORCPT=rfc822;First+2Bx@example.com', 'rfc822; First+x@example.com'],
		['RCPT TO:<Bob@example.org> ORCPT=rfc822;Bob@example.org', 'rfc822; Bob@example.org']) {
		my ($rcpt, $original) = @$case;
		my $q = queue();
		intake($q, sub ($intake) {
			my $client = $intake->lmtp;
			$client->say($_) for 'LHLO c', 'MAIL FROM:<ann@example.org>', $rcpt, 'DATA';
			like $client->say($message =~ s/\n/\r\n/gr . '.'), qr/^250 /, "$rcpt: queued";
		});
		is_deeply reported($q), [[$original, 'rfc822; Bob@example.org']], 'named as it came';
	}
};

subtest 'zlmtp-sendmail' => sub {
	my $q = queue();
	run_it($q, 'zlmtp-sendmail', '-f', 'ann@example.org', 'bob@example.org');
	is_deeply reported($q), [[undef, 'rfc822; bob@example.org']], 'without an intake: as by enqueue';
	$q = queue();
	intake($q, sub ($intake) {
		my $zenv = $q->dir . '/zenv';
		Spool->put($zenv, Spool::slurp($zenv) . 'INTAKE=' . $intake->dir . "/lmtp\n");
		run_it($q, 'zlmtp-sendmail', '-f', 'ann@example.org', 'bob@example.org');
	});
	is_deeply reported($q), [['rfc822; bob@example.org', 'rfc822; bob@example.org']], 'with one: it says for whom it was asked to send';
};

done_testing;
