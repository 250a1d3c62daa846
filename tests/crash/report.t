#!/usr/bin/perl
# runqueue and zlmtp-report are killed at every system call while a failure is told: afterwards the message is there, or it is
# gone and the report is in the queue, whole.  The next pass finishes the work.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'long';
use Reports;
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $killat = "$build/tests/crash/killat";

# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';

# 100 has failed, 101 has failed for one and waits for another.
sub queue {
	my $q = Reports->queue(conf => "lmtp/*\n\tqueueonly command=/nowhere\n");
	$q->message([{ user => 'bob', tag => '-' }]);
	$q->message([{ user => 'eve', tag => '-' }, 'dan']);
	return $q;
}

sub run($q, $n) {
	$q->{before} = [$killat, $n];
	my ($status, $out, $err) = $q->run('-1');
	return ($status, $err);
}

# Whose failures are told, sorted; "?" for a report that is none.
sub told($q) {
	my @reports = Reports->all($q);
	return join ' ', sort map { @{$_->{trouble}} ? '?' : map { $_->{'final-recipient'} =~ s/.* //r } @{$_->{recipients}} } @reports;
}

sub defect($q, $n, $status) {
	return "exit $status" unless $status == 137;
	my $told = told($q);
	return "told of $told" unless $told =~ /^(?:bob)? ?(?:eve)?$/;
	return 'bob is gone and not told of' unless $q->control(100) || $told =~ /bob/;
	my $waits = $q->control(101) // return 'who waits is gone';
	my $remembered = grep { $_->{tag} eq '+' } @{$waits->{diagnostics}};
	return 'eve is remembered and not told of' if $remembered && $told !~ /eve/;
	$q->{before} = [];
	my ($again, undef, $said) = $q->run('-1');
	$told = told($q);
	return "after another pass, which ended with $again and said '$said', told of $told" unless $told =~ /^bob(?: bob)? eve(?: eve)?$/;
	return 'bob is left' if $q->control(100);
	return undef;
}

my $q = queue();
my ($status, $err) = run($q, 0);
my ($calls) = $err =~ /killat: (\d+) calls/;
plan skip_all => "processes cannot be followed here: $err" if !defined $calls && $status == 71;
is told($q), 'bob eve', 'left alone both are told of';

# each call with ZLMTP_LONG, else a dozen of them, others at each run
my $step = long() ? 1 : int($calls / 12) + 1;
my @bad;
my $reached = 0;
for (my $n = 1 + int rand $step; $n <= $calls; $n += $step) {
	my $q = queue();
	my ($status, $err) = run($q, $n);
	# two processes: the number of calls is not always the same
	if ($status != 137) {
		last if $n > $calls * 0.8;
		push @bad, "call $n: exit $status";
		next;
	}
	$reached++;
	my $defect = defect($q, $n, $status);
	push @bad, "call $n: $defect" if defined $defect;
}
cmp_ok $reached, '>', $calls / $step * 0.7, "it was killed at $reached of its $calls calls";
is join("\n", @bad), '', 'a report can be sent twice, never not at all';
done_testing;
