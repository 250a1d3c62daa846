#!/usr/bin/perl
# Tests the tests: a correct agent of the plainest kind passes, and each mistake that it can be told to make is
# noticed, with a complaint that names it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Scenario;
use ScenarioRun;
use CrashStore;

my $stand_in = "$FindBin::Bin/../lib/stand-in";
my $path = File::Temp->new(TEMPLATE => '/tmp/zl-XXXXXX', SUFFIX => '.lmtp');
my $text = <<'SCENARIO';
title three recipients, three results
message
    from ann@example.org
    to bob carol dave
    body Hello
    body .
    body ..x
server
    on RCPT carol -> 550-5.1.1 No such
    -> 550 5.1.1 user
    on final dave -> 452 4.2.2 full
report
    bob    ok3
    carol  error2   5.1.1 550 user
    dave   deferred 4.2.2 452 full
received
    LHLO client.example
    MAIL From:<ann@example.org>
    RCPT To:<bob>
    RCPT To:<carol>
    RCPT To:<dave>
    DATA
    QUIT
SCENARIO

# One fault shows only when the time is up; of the others a busy machine may take its time to hear.
sub complaints($fault) {
	my $seconds = $fault eq 'missing-hungry' ? 4 : 30;
	open my $fh, '>', $path->filename or die $!;
	print $fh "environment FAULT=$fault\nwithin $seconds\n$text";
	close $fh;
	return ScenarioRun->play(Scenario->read($path->filename), $stand_in)->problems;
}

my @none = complaints('none');
is_deeply(\@none, [], 'a correct agent is not complained about');

my %complaint = (
	'missing-hungry' => qr/waited in vain for #hungry/,
	'extra-hungry' => qr/#hungry without a line to answer/,
	'early-hungry' => qr/#hungry number 2 before the report/,
	'exit-code' => qr/ended with 3/,
	'forgotten-recipient' => qr/before the report of|expected dave/,
	'unannounced' => qr/SIZE=1 was not announced/,
	'changed-text' => qr/text for bob: differs/,
	'bare-lf' => qr/bare LF in the text/,
	'no-stuffing' => qr/differs|expected/,
	'one-reply-for-all' => qr/expected dave .*got ok3/,
	'wrong-order' => qr/expected dave .*got ok3/,
	'delayed' => qr/action is not failed/,
	'wrong-tag' => qr/tag of carol is/,
	'no-d-line' => qr/0 d lines for carol, expected 1/,
	'second-report' => qr/second report for/,
	'lock-stays' => qr/tag of bob is '~'/,
);
for my $fault (sort keys %complaint) {
	my @found = complaints($fault);
	ok((grep { $_ =~ $complaint{$fault} } @found), "$fault is noticed") or diag join "\n", @found;
}

# The same for the store of the crash tests: marks that are not true.
sub crash_complaints($fault) {
	my $store = CrashStore->new(program => $stand_in, arguments => [], caps => [], messages => 10, recipients => 5,
		environment => { FAULT => $fault });
	$store->round($stand_in, []);
	return $store->finish;
}

is_deeply([crash_complaints('none')], [], 'a crash store does not complain about a correct agent');
my %lie = (
	'wrong-tag' => qr/is marked delivered and was not taken/,
	'no-d-line' => qr/is marked failed without a d line/,
	'wrong-order' => qr/is reported delivered and was not taken/,
	'lock-stays' => qr/is reported delivered and marked '~'/,
);
for my $fault (sort keys %lie) {
	my @found = crash_complaints($fault);
	ok((grep { $_ =~ $lie{$fault} } @found), "$fault is noticed by the crash store") or diag join "\n", @found[0 .. 3];
}
done_testing;
