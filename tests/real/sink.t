#!/usr/bin/perl
# Postfix's smtp-sink over a UNIX socket and over TCP, with each of the faults that it can be told to make.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use RealSink;
use RealDelivery;
use Workers;

my $missing = RealSink::missing();
plan skip_all => $missing if $missing;
my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");

my $defer = qr/^(?:deferred|retryat)\b/;
# a reply that ends the connection has a code; an end without one, and what the agent says for others, has none
my $lost = qr/^(?:deferred|retryat) (?:4\d\d|none)$/;

# switches of the sink, what each of three recipients must end with, what it shows
my @cases = (
	['', qr/^ok3$/, 'everything is accepted'],
	['-p', qr/^ok3$/, 'without PIPELINING'],
	['-8', qr/^ok3$/, 'without 8BITMIME'],
	['-p -8', qr/^ok3$/, 'with neither'],
	['-w 1', qr/^ok3$/, 'a slow end of the text'],
	['-p -W RCPT:1', qr/^ok3$/, 'a slow RCPT (the sink cannot do that with PIPELINING)'],
	['-f CONNECT', $defer, 'a refused connection bounces nobody'],
	['-f LHLO', $defer, 'a refused LHLO bounces nobody'],
	['-f MAIL', qr/^error2 5\d\d$/, 'MAIL refused for good'],
	['-f RCPT', qr/^error2 5\d\d$/, 'RCPT refused for good'],
	['-f DATA', qr/^error2 5\d\d$/, 'DATA refused for good'],
	['-f .', qr/^error2 5\d\d$/, 'the text refused for good'],
	['-r CONNECT', $defer, 'a connection refused for now'],
	['-r LHLO', $defer, 'LHLO refused for now'],
	['-r MAIL', $defer, 'MAIL refused for now'],
	['-r RCPT', $defer, 'RCPT refused for now'],
	['-r DATA', $defer, 'DATA refused for now'],
	['-r .', $defer, 'the text refused for now'],
	['-Q CONNECT', $lost, '421 at the start'],
	['-Q LHLO', $lost, '421 at LHLO'],
	['-Q MAIL', $lost, '421 at MAIL'],
	['-Q RCPT', $lost, '421 at RCPT'],
	['-Q DATA', $lost, '421 at DATA'],
	['-Q .', $lost, '421 at the end of the text'],
	['-q CONNECT', $lost, 'lost at the start'],
	['-q LHLO', $lost, 'lost at LHLO'],
	['-q MAIL', $lost, 'lost at MAIL'],
	['-q RCPT', $lost, 'lost at RCPT'],
	['-q DATA', $lost, 'lost at DATA'],
	['-q .', $lost, 'lost at the end of the text'],
);

my @pieces = map { [@$_, 0], [@$_, 1] } @cases;
my @complaints = Workers::run(4, [map { my $piece = $_; { work => sub { complaints(@$piece) }, slow => $piece->[0] =~ /-[wW]/ ? 1 : 0 } } @pieces]);
for my $i (0 .. $#pieces) {
	my ($switches, $wanted, $what, $tcp) = @{$pieces[$i]};
	my $name = $what . ($switches ne '' ? " ($switches)" : '') . ($tcp ? ', TCP' : ', UNIX socket');
	is($complaints[$i], '', $name);
}

# Two messages for three recipients each: what was not as expected, '' if nothing.
sub complaints($switches, $wanted, $what, $tcp) {
	my $sink = RealSink->start(switches => $switches, tcp => $tcp);
	my $run = RealDelivery->new(program => $program, $tcp ? (port => $sink->{port}) : (socket => $sink->{socket}));
	my @got = map { $run->deliver([qw(bob carol dave)]) } 1 .. 2;
	my @bad = $run->finish;
	$sink->stop;
	push @bad, "got @got" if grep { $_ !~ $wanted } @got;
	return join "\n", @bad;
}

subtest 'what arrives' => sub {
	my $sink = RealSink->start(dump => 1);
	my $run = RealDelivery->new(program => $program, socket => $sink->{socket});
	is_deeply([$run->deliver([qw(bob carol)], body => "one\n.\n..two\nthree")], ['ok3', 'ok3'], 'a message for two');
	is_deeply([$run->deliver(['dave'])], ['ok3'], 'and another');
	is_deeply([$run->finish], [], 'nothing to complain about');
	my @messages = $sink->messages;
	is(scalar @messages, 2, 'two transactions');
	my ($first) = grep { /^X-Rcpt-Args: <bob>/m } @messages;
	like($first, qr/^X-Rcpt-Args: <carol>/m, 'one text for both recipients');
	like($first, qr/\n\none\n\.\n\.\.two\nthree\n/, 'with its dots') or diag $first;
};

subtest 'many messages' => sub {
	my $sink = RealSink->start;
	my $run = RealDelivery->new(program => $program, socket => $sink->{socket});
	my @names = map { $run->add(["user$_"]) } 1 .. 500;
	my $scheduler = $run->{scheduler};
	while (my @burst = splice @names, 0, 50) {
		$scheduler->job($_, 'store') for @burst;
		$run->{loop}->run(30, sub { $scheduler->satisfied }) or last;
	}
	is(scalar(grep { $_->{word} eq 'ok3' } values %{$scheduler->{reports}}), 500, 'all delivered');
	is_deeply([$run->finish], [], 'nothing to complain about');
};
done_testing;
