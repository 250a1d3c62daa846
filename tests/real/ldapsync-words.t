#!/usr/bin/perl
# What ldapsync says, against a real slapd: each line is true at the moment, names its place, and says what to do; and it hears when
# it is told to stop, also while a server that is frozen lets it wait.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Time::HiRes ();
use RealSlapd;
use LdapSync;

my $missing = RealSlapd::missing();
plan skip_all => $missing if $missing;
plan skip_all => 'built without LDAP' unless -x "$ENV{BUILD_DIR}/db/ldapsync";
$SIG{$_} = sub { exit 1 } for qw(INT TERM);

my $slow = $ENV{ZLMTP_SANITIZED} ? 4 : 1;
my $domain = $RealSlapd::domain;

subtest 'what -v says is true' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0)->start;
	my $uri = $slapd->uri('ldapi');
	my $sync = LdapSync->new($slapd);
	is +($sync->once('-v'))[1], "read 5 entries from $uri\n5 records: 5 added, 0 changed, 0 removed\n", 'a first copy is read, not compared';
	is +($sync->once('-v'))[1], "compared 5 entries with $uri: nothing differs\n5 records: 0 added, 0 changed, 0 removed\n", 'a second one is compared';

	my $nobody = LdapSync->new($slapd, rules => "rule nobody\nfilter (mail=nobody)\nkey {mail}\nvalue x!y!{mail}\n")->start;
	ok $nobody->hears(qr/no map was made/, 20 * $slow), 'a copy of nothing';
	is $nobody->stop, 0;
	unlike $nobody->said, qr/in step/, '... is in step with nothing';
};

subtest 'who is told of trouble is told that it is over' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0)->start;
	my $again = qr/^ldapsync: \Q@{[$slapd->uri('ldapi')]}\E: answers again, and the map is in step with it$/m;
	my $sync = LdapSync->new($slapd)->start;
	ok $sync->hears(qr/in step/, 20 * $slow);
	unlike $sync->said, $again, 'at the start nothing was the matter';
	for my $round (1, 2) {
		$sync->forget;
		$slapd->stop;
		ok $sync->hears(qr/Can't contact/, 20 * $slow), "round $round: the server is away";
		$slapd->start;
		ok $sync->hears($again, 60 * $slow), '... and back';
		is scalar(() = substr($sync->said, $sync->{heard}) =~ /$again/g), 1, '... which is said once';
	}
	is $sync->stop, 0;
};

subtest 'a frozen server keeps nobody from the end' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0)->start;
	my @sync = map { LdapSync->new($slapd, settings => "timeout 1h\nnetwork_timeout 1h\n") } 1 .. 2;
	$sync[1]->start;
	ok $sync[1]->hears(qr/in step/, 20 * $slow);
	$slapd->signal('STOP');
	my $options = '-1';
	for my $signal (qw(TERM INT HUP)) {
		my $pid = fork // die;
		if ($pid == 0) {
			open STDERR, '>', $sync[0]->dir . '/log';
			exec $sync[0]->program, '-f', $sync[0]->config, $options;
		}
		# it has the lock, and then a socket whose other end says nothing
		my $waits = sub { grep { (readlink // '') =~ /^socket:/ } glob "/proc/$pid/fd/*" };
		Time::HiRes::sleep(0.01) until $waits->() || waitpid($pid, 1) == $pid;
		my $start = Time::HiRes::time();
		kill $signal, $pid;
		waitpid $pid, 0;
		is $?, ($options eq '-1' ? 75 : 0) << 8, "$options ends by SIG$signal";
		cmp_ok Time::HiRes::time() - $start, '<', 10 * $slow, '... at once';
		$options = '-w';
	}
	is $sync[1]->stop, 0, 'and so does one that follows it';
	$slapd->signal('CONT');
};

done_testing;
