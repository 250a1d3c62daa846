#!/usr/bin/perl
# Real Dovecot, over its UNIX socket and over TCP: each recipient gets what Dovecot says about it, and what it
# stores is the message, byte by byte.  A thousand recipients with ZLMTP_LONG=1, 300 without.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'long';
use RealDovecot;
use RealDelivery;
use Spool;

my $missing = RealDovecot::missing();
plan skip_all => $missing if $missing;
my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");

my $many = long() ? 1000 : 300;
my $dovecot = RealDovecot->start(count => $many);

sub user($name) { $dovecot->address($name) }

# Is $text what was stored last for this login name, behind the fields that Dovecot adds?
sub stored_ok($login, $text, $name, $folder = undef) {
	my @messages = $dovecot->messages($login, $folder);
	my $found = grep { substr($_, -length $text) eq $text } @messages;
	ok($found == 1, $name) or diag "$found of " . @messages . " messages fit";
}

for my $way (['UNIX socket', socket => $dovecot->{socket}], ['TCP', port => $dovecot->{port}]) {
	my ($how, @target) = @$way;
	subtest $how => sub { all_kinds(RealDelivery->new(program => $program, @target)) };
}
subtest 'DATA instead of BDAT' => sub {
	all_kinds(RealDelivery->new(program => $program, socket => $dovecot->{socket}, arguments => ['-O', 'chunking=no']));
};
subtest 'lock-step' => sub {
	all_kinds(RealDelivery->new(program => $program, socket => $dovecot->{socket}, arguments => ['-P']));
};
subtest "$many recipients" => \&many;
subtest 'a large message' => \&large;
$dovecot->stop;
done_testing;

sub all_kinds($run) {
	$dovecot->empty(user($_)) for 'user1', 'user2';
	is_deeply([$run->deliver([user('user1')])], ['ok3'], 'a known user');
	stored_ok(user('user1'), $run->stored_form(1001), 'the message is stored as it lies in the spool');

	is_deeply([$run->deliver([user('nobody-here')])], ['error2 550'], 'an unknown user');
	is_deeply([$run->deliver([map { user($_) } qw(user1 overq user2 overqtmp nobody-here broken user3)])],
		['ok3', 'error2 552', 'ok3', 'deferred 452', 'error2 550', 'deferred 451', 'ok3'],
		'over quota for good and for now, unknown and broken among good ones');

	my @eightbit = $run->deliver([user('user2')], body => "Gr\xc3\xbc\xc3\x9fe, \xe9\xff\n.\n..\nend without newline");
	is_deeply(\@eightbit, ['ok3'], '8-bit text');
	stored_ok(user('user2'), $run->stored_form(1004), '8-bit text, dots and a missing last newline');

	is_deeply([$run->deliver([user('user1') =~ s/\@/+News\@/r])], ['ok3'], 'an address with detail');
	stored_ok(user('user1'), $run->stored_form(1005), 'it is stored in the folder of that name', 'News');

	my $smuggle = "a\n.\nMAIL FROM:<evil\@example.org>\nRCPT TO:<" . user('user3') . ">\nDATA\nSubject: evil\n\nx\n.\n";
	is_deeply([$run->deliver([user('user2')], body => $smuggle)], ['ok3'], 'a text that looks like commands');
	stored_ok(user('user2'), $run->stored_form(1006), 'it is stored as text');
	is(scalar(grep { /^Subject: evil$/m && !/^MAIL FROM/m } $dovecot->messages(user('user3'))), 0, 'nothing was smuggled');

	is_deeply([$run->deliver([user('user1')], sender => '', body => '')], ['ok3'], 'an empty text');
	is_deeply([$run->finish], [], 'nothing to complain about');
}

sub many() {
	my $run = RealDelivery->new(program => $program, socket => $dovecot->{socket});
	my @users = map { user("user$_") } 1 .. $many;
	$users[$many / 2] = user('not-there');
	$users[$many - 2] = user('overq');
	my @wanted = ('ok3') x $many;
	@wanted[$many / 2, $many - 2] = ('error2 550', 'error2 552');
	is_deeply([$run->deliver(\@users, seconds => 120)], \@wanted, 'each has its own result');
	my $text = $run->stored_form(1001);
	my @without = grep { my $login = $users[$_ - 1]; !grep { substr($_, -length $text) eq $text } $dovecot->messages($login) }
		grep { $wanted[$_ - 1] eq 'ok3' } 1 .. $many;
	is("@without", '', 'and each of the others has the message');
	is_deeply([$run->finish], [], 'nothing to complain about');
}

sub large() {
	my $run = RealDelivery->new(program => $program, port => $dovecot->{port});
	my $line = join '', map { chr(32 + $_ % 90) } 1 .. 75;
	my $body = "$line\n" x (20 * 1024 * 1024 / 76);
	is_deeply([$run->deliver([user('user4')], body => $body, seconds => 120)], ['ok3'], length($body) . ' bytes');
	stored_ok(user('user4'), $run->stored_form(1001), 'are stored unchanged');
	is_deeply([$run->finish], [], 'nothing to complain about');
}
