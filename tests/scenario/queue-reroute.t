#!/usr/bin/perl
# zlmtp-queue reroute: where each recipient went and goes now is said, and mail of ours does not leave by the relay because a
# map has lost its domain.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Test::More;
use JSON::PP ();
use RunQueue;
use Spool;
use ZlmtpQueue;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $dir = File::Temp->newdir('/tmp/zlmtp-reroute-XXXXXX');

delete $ENV{ZCONFIG};

# The maps: users of one domain, and with "protocols=routes smtp" everything else by the relay.
sub maps($users, $domains) {
	Spool->put("$dir/users", $users);
	Spool->put("$dir/domains", $domains);
	Spool->put("$dir/dbases.conf", "fqdnroutes btree - -l users -lm%:\nroutesdb btree - -l domains -lm%:d pathalias\n");
	system("cd $dir && $build/db/newdb -sf dbases.conf >newdb.out 2>&1") == 0 or die Spool::slurp("$dir/newdb.out");
}

sub to($user, $host = 'old', $channel = 'lmtp') {
	return { channel => $channel, host => $host, user => $user, dsn => "ORCPT=rfc822;$user\@ours.example" };
}

sub reroute($q, @arguments) { zq($q, 'reroute', '-f', "$dir/dbases.conf", @arguments) }

# "channel/host/user ..." of a message
sub places($q, $name) { join ' ', map { "$_->{channel}/$_->{host}/$_->{user}" } @{$q->control($name)->{recipients}} }

my $moved = "one\@ours.example lmtp!new!one\ntwo\@ours.example lmtp!new!second\nthree\@ours.example lmtp!old!three\n";

subtest 'each recipient is named with its old and its new place' => sub {
	maps($moved, "ours.example error!nosuchuser\n");
	my $q = RunQueue->new;
	my $name = $q->message([map { to($_) } qw(one two three)]);
	my ($id) = map { $_->{spool} } rows($q);
	my ($status, $out, $err) = reroute($q, $name);
	is "$status$err", '0', 'done';
	is $out, "$id: rerouted, from ann\@example.org, 2 recipients\n  one: lmtp/old -> lmtp/new\n  two: lmtp/old -> lmtp/new, as second\n", 'said';
	is places($q, $name), 'lmtp/new/one lmtp/new/second lmtp/old/three', 'they stand there';
	($status, $out, $err) = reroute($q, $name);
	is "$status$out$err", "0zlmtp-queue: no recipient has another place in the maps\n", 'a second time there is nothing to do';
};

subtest 'the same as JSON' => sub {
	my $q = RunQueue->new;
	$q->message([map { to($_) } qw(one two)]);
	my ($status, $out) = reroute($q, '-j', 'all');
	my $said = JSON::PP->new->decode($out);
	is_deeply $said->{moves}, [map { { recipient => $_->[0], channel => 'lmtp', host => 'old', to => {
		recipient => $_->[1], channel => 'lmtp', host => 'new' } } } ['one', 'one'], ['two', 'second']], 'moves';
	is "$status $said->{result} $said->{recipients}", '0 done 2', 'and the result';
};

subtest 'with runqueue running' => sub {
	my $q = RunQueue->new(conf => "lmtp/*\n\tqueueonly command=\"AGENT\"\n");
	my $name = $q->message([to('one')]);
	$q->start('-w', '-P', $q->office);
	ok RunQueue::wait_for(sub { -S $q->office . '/.control.runqueue' }), 'runs';
	my ($status, $out, $err) = reroute($q, $name);
	like "$status$err$out", qr/^0S\S+: rerouted, .*\n  one: lmtp\/old -> lmtp\/new\n\z/, 'said';
	$q->stop;
};

subtest 'mail for a domain that the maps have lost does not leave' => sub {
	maps($moved, "other.example error!nosuchuser\n");
	my $q = RunQueue->new;
	my $name = $q->message([to('one'), to('four')]);
	my ($status, $out, $err) = reroute($q, $name);
	is $status, 0, 'the other recipient goes';
	is $err, "zlmtp-queue: four\@ours.example: the maps do not know its domain any more, and it would leave by the relay (--yes lets it); left as it is\n",
		'said so';
	is places($q, $name), 'lmtp/new/one lmtp/old/four', 'one went, one stayed';
	is +(reroute($q, $name))[0], 1, 'nothing could be done';
	($status, $out, $err) = reroute($q, '--yes', $name);
	like "$status$err$out", qr/^0S\S+: rerouted, from ann\@example\.org, 1 recipient\n  four: lmtp\/old -> smtp\/ours\.example, as four\@ours\.example\n\z/,
		'unless somebody says so';
	is places($q, $name), 'lmtp/new/one smtp/ours.example/four@ours.example', 'then it goes';
};

subtest 'a user whom an alias leads elsewhere goes there' => sub {
	maps("one\@ours.example smtp!elsewhere.example!one\@elsewhere.example\n", "ours.example error!nosuchuser\n");
	my $q = RunQueue->new;
	my $name = $q->message([to('one')]);
	is +(reroute($q, $name))[0], 0, 'without more words';
	is places($q, $name), 'smtp/elsewhere.example/one@elsewhere.example', 'there';
};
done_testing;
