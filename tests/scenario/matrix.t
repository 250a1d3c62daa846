#!/usr/bin/perl
# Every mix of 2xx, 4xx and 5xx over MAIL, each RCPT, DATA and each final reply for 1 to 4 recipients: each
# recipient must end by its own reply and report that reply's words; in SMTP the final reply is the same for all.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'long';
use Matrix qw(model combinations first_accepted);

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
my %most = (lmtp => long() ? 4 : 3, smtp => long() ? 4 : 2);

my @ways = (
	{ name => 'lock-step', caps => ['ENHANCEDSTATUSCODES'], burst => 1 },
	{ name => 'PIPELINING, one job at a time', caps => ['ENHANCEDSTATUSCODES', 'PIPELINING'], burst => 1 },
	{ name => 'PIPELINING, jobs in bursts', caps => ['ENHANCEDSTATUSCODES', 'PIPELINING'], burst => 40 },
	{ name => 'PIPELINING and CHUNKING, one job at a time', caps => ['PIPELINING', 'CHUNKING'], burst => 1 },
	{ name => 'PIPELINING and CHUNKING, jobs in bursts', caps => ['PIPELINING', 'CHUNKING'], burst => 40 },
);
@ways = map { my $p = $_; map { { %$_, protocol => $p, name => uc($p) . ", $_->{name}" } } @ways } 'lmtp', 'smtp';

for my $way (@ways) {
	my $matrix = Matrix->new(program => $program, protocol => $way->{protocol}, caps => $way->{caps});
	my @cases = map { [$matrix->add($_), $_] } map { combinations($_) } 1 .. $most{$way->{protocol}};
	$matrix->run($way->{burst}, map { $_->[0] } @cases);
	my @bad = map { wrong($matrix, $way, @$_) } @cases;
	ok(!@bad, scalar(@cases) . " dialogues, $way->{name}") or diag join "\n", @bad[0 .. ($#bad > 8 ? 8 : $#bad)];
	my @problems = $matrix->finish;
	ok(!@problems, "nothing to complain about, $way->{name}") or diag join "\n", @problems[0 .. ($#problems > 8 ? 8 : $#problems)];
	note scalar @{$matrix->{server}{connections}}, ' connections';
}
done_testing;

# What is wrong with one case, as lines for people.
sub wrong($matrix, $way, $case, $plan) {
	my @wanted = model($plan, $way->{protocol});
	my @got = $matrix->outcomes($case);
	my $shown = join ' ', "MAIL $plan->{mail}, RCPT @{$plan->{rcpt}}, DATA $plan->{data}, final @{$plan->{final}}";
	return map { fits($way, $plan, $case, $wanted[$_], $got[$_], $_) ? ()
		: "case $case ($shown): recipient $_: expected @{$wanted[$_]}, got @{$got[$_]}" } 0 .. $#wanted;
}

sub fits($way, $plan, $case, $wanted, $got, $i) {
	my ($outcome, $stage) = @$wanted;
	# until the agent knows the server it may use DATA
	my $by = $way->{protocol} eq 'smtp' ? first_accepted($plan) : $i;
	$stage = "(?:data|final $by)" if $stage eq 'data' && grep { $_ eq 'CHUNKING' } @{$way->{caps}};
	return 0 if $got->[0] ne $outcome;
	return "$got->[1] $got->[2]" =~ /case $case $stage/;
}
