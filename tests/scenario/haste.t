#!/usr/bin/perl
# Nobody waits without need: neither a second per message on UNIX sockets nor a delayed acknowledgement (40 ms) per
# message on TCP, and hundreds of messages leave no descriptor behind.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Time::HiRes qw(time);
use Matrix;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
my $messages = 200;
# On a busy machine any message may take long, but a wait that is built in is one of each: the quickest tenth has none.
my $allowed = 0.03;

for my $target ('unix', 'tcp') {
	for my $caps ([], ['PIPELINING'], ['PIPELINING', 'CHUNKING']) {
		my $matrix = Matrix->new(program => $program, caps => $caps, target => $target);
		my @cases = map { $matrix->add({ mail => 2, rcpt => [2], data => 2, final => [2] }) } 1 .. $messages;
		my @took = sort { $a <=> $b } map { my $start = time; $matrix->run(1, $_); time - $start } @cases;
		my $quick = $took[$messages / 10];
		my $name = @$caps ? "@$caps" : 'lock-step';
		ok($quick < $allowed, "$messages jobs one at a time, $target, $name") or diag "took $quick s or more, each but the tenth part";
		my $open = () = glob "/proc/$matrix->{scheduler}{agent}{pid}/fd/*";
		cmp_ok($open, '<', 12, "descriptors stay few, $target, $name");
		my @problems = $matrix->finish;
		ok(!@problems, "nothing to complain about, $target, $name") or diag join "\n", @problems;
	}
}
done_testing;
