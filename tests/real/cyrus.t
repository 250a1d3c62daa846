#!/usr/bin/perl
# Real Cyrus lmtpd over its UNIX socket: no CHUNKING, multi-line refusals, final replies that name nobody, a
# MAIL that must be followed by RSET when it was refused.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use RealCyrus;
use RealDelivery;

my $missing = RealCyrus::missing();
plan skip_all => $missing if $missing;
my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");

my $cyrus = RealCyrus->start(count => 5);

for my $way (['pipelined'], ['lock-step', '-P']) {
	my ($how, @arguments) = @$way;
	subtest $how => sub { all_kinds(RealDelivery->new(program => $program, socket => $cyrus->{socket}, arguments => \@arguments)) };
}
subtest 'many messages' => \&many;
subtest 'TCP without authentication' => \&unauthenticated;
$cyrus->stop;
done_testing;

# Is $text among what is stored in the mailbox, behind the fields that Cyrus adds?
sub stored_ok($mailbox, $text, $name) {
	my @messages = $cyrus->messages($mailbox);
	my $found = grep { substr($_, -length $text) eq $text } @messages;
	cmp_ok($found, '>=', 1, $name) or diag scalar(@messages) . " messages, none fits:\n$text\n" . ($messages[-1] // '');
}

sub all_kinds($run) {
	is_deeply([$run->deliver(['user1'])], ['ok3'], 'a known user');
	stored_ok('user1', $run->stored_form(1001), 'the message is stored as it lies in the spool');
	is_deeply([$run->deliver(['nobody-here'])], ['error2 550'], 'an unknown user');
	my @mixed = $run->deliver([qw(user1 overq nobody-here user2 overfull user3)], body => "x" x 70 . "\n" x 100 . "y" x 2000 . "\n");
	is_deeply(\@mixed, ['ok3', 'error2 552', 'error2 550', 'ok3', 'error2 552', 'ok3'], 'over quota and unknown among good ones');
	is_deeply([$run->deliver(['user2'], body => "Gr\xc3\xbc\xc3\x9fe\n.\n..\nno newline")], ['ok3'], '8-bit text and dots');
	stored_ok('user2', $run->stored_form(1004), 'are stored unchanged');
	is_deeply([$run->deliver(['user1+Junk'])], ['ok3'], 'an address with a folder');
	stored_ok('user1/Junk', $run->stored_form(1005), 'is stored there');
	is_deeply([$run->deliver(['user3'], body => "with\0NUL\r\nand CR\n")], ['ok3'], 'NUL and CR, which Cyrus does not take');
	my $smuggle = "a\n.\nMAIL FROM:<evil\@example.org>\nRCPT TO:<user4>\nDATA\nSubject: evil\n\nx\n.\n";
	is_deeply([$run->deliver(['user5'], body => $smuggle)], ['ok3'], 'a text that looks like commands');
	stored_ok('user5', $run->stored_form(1007), 'is stored as text');
	is(scalar $cyrus->messages('user4'), 0, 'nothing was smuggled');
	is_deeply([$run->deliver(['user1', 'user1', 'user2'])], ['ok3', 'ok3', 'ok3'], 'the same recipient twice');
	is_deeply([$run->deliver(['user1'], sender => '')], ['ok3'], 'the null sender');
	is_deeply([$run->finish], [], 'nothing to complain about');
}

sub many() {
	my $run = RealDelivery->new(program => $program, socket => $cyrus->{socket});
	my $scheduler = $run->{scheduler};
	my @names = map { $run->add(['user' . (1 + $_ % 5)]) } 1 .. 60;
	$scheduler->job($_, 'store') for @names;
	ok($run->{loop}->run(60, sub { $scheduler->satisfied }), 'sixty jobs in one burst');
	is(scalar(grep { $_->{word} eq 'ok3' } values %{$scheduler->{reports}}), 60, 'are all delivered');
	is_deeply([$run->finish], [], 'nothing to complain about');
}

# Cyrus answers MAIL with 430: configuration trouble, which must bounce nobody.
sub unauthenticated() {
	my $run = RealDelivery->new(program => $program, port => $cyrus->{port});
	my @got = $run->deliver(['user1', 'nobody-here']);
	like("@got", qr/^(?:deferred|retryat) \d+ (?:deferred|retryat) \d+$/, 'everybody is deferred');
	is_deeply([$run->finish], [], 'nothing to complain about');
}
