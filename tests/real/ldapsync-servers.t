#!/usr/bin/perl
# ldapsync against several slapds and against what happens to one: two providers in mirror mode, a replica, a restore, a crash, other rights of
# the reader, subtrees that are moved.  Nothing that no server tells stays unseen.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Time::HiRes ();
use LdapSync;
use Mirror;
use RealSlapd;
use Tool;

LdapSync::skip_without();

my $slow = $LdapSync::slow;
my $domain = $RealSlapd::domain;
my $tree = $RealSlapd::tree;
my $hosting = $RealSlapd::hosting;

sub removal($name) { "dn: mail=$name\@$domain,$tree\nchangetype: delete\n\n" }
sub dump_of($slapd) { scalar qx{/usr/sbin/slapcat -f @{[$slapd->dir]}/slapd.conf 2>/dev/null} }

sub access_to(@servers) {
	return join(' ', 'uri', map { $_->uri('ldapi') } @servers) . "\nauthmethod sasl\nsasl_mech EXTERNAL\n";
}

subtest 'a switch between two providers in mirror mode loses no change' => sub {
	my $mirror = Mirror->new(users => 20);
	my ($first, $second) = $mirror->providers;
	my $sync = LdapSync->new($first, access => access_to($first, $second), settings => "silence 1\ntimeout 20\n")->start;
	is $sync->difference_after(20 * $slow), '', 'the first one';
	for my $round (1 .. 2) {
		# changed at the first, and seen at the second by replication alone
		$first->stop;
		$second->change(join '', map { RealSlapd::account("while_away$round-$_") } 1 .. 8);
		ok $sync->hears(qr/in step with \Q@{[$second->uri('ldapi')]}\E/, 20 * $slow), "round $round: the second one is followed";
		ok $sync->hears(qr/^compared \d+ entries with \Q@{[$second->uri('ldapi')]}\E/m, 20 * $slow), '... and all is compared with it';
		$first->start;
		is $mirror->settle, '', '... the servers are equal again';
		$first->change(join '', map { RealSlapd::account("at_first$round-$_") } 1 .. 8);
		is $mirror->settle, '';
		is $sync->difference_after(20 * $slow), '', '... changes at both are there';
		$sync->forget;
		$second->stop;
		ok $sync->hears(qr/in step with \Q@{[$first->uri('ldapi')]}\E/, 20 * $slow), '... and back';
		$first->change(join '', map { removal("at_first$round-$_") } 1 .. 4);
		is $sync->difference_after(20 * $slow), '';
		$second->start;
		is $mirror->settle, '';
		$sync->forget;
	}
	is $sync->stop, 0;
	my ($exit, $said) = $sync->once;
	is $exit, 0;
	like $said, qr/0 added, 0 changed, 0 removed/, 'one refresh finds nothing that was missed';
};

subtest 'two providers and a node as the guide shows them' => sub {
	open my $guide, '<', "$ENV{SRC_DIR}/doc/guide/ldap.md" or die "doc/guide/ldap.md: $!\n";
	my $text = do { local $/; readline $guide };
	my ($servers) = $text =~ /```text\n([^`]*\nserverID[^`]*)```/ or die "the guide shows no providers\n";
	my ($uri) = $text =~ /```text\n(uri ldaps:\/\/ldap1[^`]*)```/ or die "the guide shows no uri\n";
	my $mirror = Mirror->new(users => 10, printed => $servers);
	my ($first, $second) = $mirror->providers;
	my %here = (1 => $first->uri('ldap'), 2 => $second->uri('ldap'));
	is $uri =~ s{ldaps://ldap([12])\.example}{$here{$1}}g, 2, 'uri names both';
	my $sync = LdapSync->new($first, settings => "silence 1\ntimeout 20\n",
		access => "${uri}bind simple\nbinddn $RealSlapd::root\npasswd $RealSlapd::root_password\nclear_password yes\n")->start;
	is $sync->difference_after(20 * $slow), '', 'the first is copied';
	$second->change(RealSlapd::account('made_at_second'));
	is $mirror->settle, '', 'a change at the second comes to the first';
	is $sync->difference_after(20 * $slow), '', '... and into the map';
	$sync->forget;
	$first->stop;
	ok $sync->hears(qr/in step with \Q@{[$here{2}]}\E/, 20 * $slow), 'without the first the second is followed';
	$second->change(RealSlapd::account('made_while_away'));
	$first->start;
	is $mirror->settle, '', 'the first catches up';
	is $sync->difference_after(20 * $slow), '', 'the map has all';
	is $sync->stop, 0;
};

subtest 'a switch from a provider to its replica, and back' => sub {
	my $mirror = Mirror->new(users => 20, replicas => 1);
	my ($provider) = $mirror->providers;
	my ($replica) = $mirror->replicas;
	my $sync = LdapSync->new($provider, access => access_to($provider));
	is +($sync->once)[0], 0;
	$provider->add_account("new$_") for 1 .. 3;
	is $mirror->settle, '';
	$sync->{access} = access_to($replica);
	$sync->configure;
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	is $sync->difference, '', 'what was changed at the provider comes from the replica';
	$sync->start;
	ok $sync->hears(qr/in step/, 20 * $slow);
	$provider->add_account("later$_") for 1 .. 3;
	$provider->remove('new1');
	is $sync->difference_after(20 * $slow), '', 'also to one that stays';
	is $sync->stop, 0;
};

# Replicas and providers have a serverID here: slapd says nothing of its state then to who is ahead of it, and sends no cookie.
subtest 'a server that lags behind the map is not followed' => sub {
	# that the reader may not see contextCSN, nor the suffix, keeps nobody from telling
	my $mirror = Mirror->new(users => 20, replicas => 1,
		config => "access to attrs=contextCSN by * none\naccess to dn.base=\"$RealSlapd::suffix\" by * none\n");
	my ($first, $second) = $mirror->providers;
	my ($replica) = $mirror->replicas;
	my $sync = LdapSync->new($first, access => access_to($first, $replica), settings => "silence 1\ntimeout 20\n");
	$second->add_account('by_second');
	is $mirror->settle, '';
	is +($sync->once)[0], 0;
	$replica->stop;
	$first->add_account("new$_") for 1 .. 3;
	is +($sync->once)[0], 0, 'accounts are made while the replica is down';
	my $expected = $sync->expected;
	$_->stop for $first, $second;
	$replica->start;
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'the replica alone, before it knows of them' or diag $said;
	like $said, qr/\Q@{[$replica->uri('ldapi')]}\E: .*the server lags behind the map; start the other servers/, '... it is said';
	is $sync->difference($expected), '', '... and nothing goes back';
	$sync->start;
	ok $sync->hears(qr/lags behind the map/, 20 * $slow), 'one that stays says so, too';
	is $sync->difference($expected), '';
	# other rules want everything read, which is no reason to go back
	is $sync->stop, 0;
	$sync->{rules} =~ s/^value smtp-lmtp!node!/value smtp-lmtp!other!/m;
	$sync->configure;
	($exit, $said) = $sync->once;
	is $exit, 75, 'with other rules' or diag $said;
	like $said, qr/lags behind the map/;
	is $sync->difference($expected), '';
	$sync->{rules} = LdapSync::usual_rules();
	$sync->configure;
	$sync->start;
	$_->start for $first, $second;
	is $mirror->settle, '', 'the replica catches up';
	$first->stop;
	$second->add_account('later');
	is $mirror->settle, '';
	$sync->{slapd} = $replica;
	is $sync->difference_after(20 * $slow), '', '... and is followed';
	is $sync->stop, 0;
};

subtest 'the same between two providers, of which the other one has changes of its own' => sub {
	my $mirror = Mirror->new(users => 20);
	my ($first, $second) = $mirror->providers;
	my $sync = LdapSync->new($first, access => access_to($first, $second), settings => "silence 1\ntimeout 20\n");
	is +($sync->once)[0], 0;
	$second->stop;
	$first->add_account("new$_") for 1 .. 3;
	is +($sync->once)[0], 0;
	my $expected = $sync->expected;
	$first->stop;
	$second->start;
	$second->add_account('at_second');
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'it has what is newer, and lacks what the map has' or diag $said;
	like $said, qr/lags behind the map/;
	is $sync->difference($expected), '';
	$first->start;
	is $mirror->settle, '', 'they are equal again';
	$first->stop;
	$sync->{slapd} = $second;
	($exit, $said) = $sync->once;
	is $exit, 0, 'the second one is followed' or diag $said;
	is $sync->difference, '';
};

subtest 'servers that were all put back to an older state are followed again as the guide says' => sub {
	my $mirror = Mirror->new(users => 20);
	my ($first, $second) = $mirror->providers;
	$second->add_account('by_second');
	is $mirror->settle, '';
	my $old = dump_of($first);
	my $sync = LdapSync->new($first, access => access_to($first, $second), settings => "silence 1\ntimeout 20\n");
	$_->add_account('made_at_' . $_->{port}) for $first, $second;
	is $mirror->settle, '';
	is +($sync->once)[0], 0;
	$_->stop for $first, $second;
	for ($first, $second) {
		$_->reload($old, '-w');
		$_->start;
	}
	is +($sync->once)[0], 75, 'all lag';
	$sync->{access} = access_to($first);
	$sync->configure;
	is +($sync->once)[0], 0, 'one alone is believed';
	is $sync->difference, '';
	$sync->{access} = access_to($first, $second);
	$sync->configure;
	my ($exit, $said) = $sync->once;
	is $exit, 0, 'and then all of them' or diag $said;
	$second->add_account('after');
	is $mirror->settle, '';
	is +($sync->once)[0], 0;
	is $sync->difference, '';
};

subtest 'an ACL mistake that was put right' => sub {
	my $slapd = RealSlapd->new(users => 20, aliases => 0);
	my $rights = "access to dn.exact=\"mail=user7\@$domain,$tree\" by dn.exact=\"$RealSlapd::reader\" none by * read\n";
	my $restrict = sub ($text) {
		$slapd->stop;
		$slapd->{config} = $text;
		$slapd->_configure;
		$slapd->start;
	};
	$slapd->start;
	my $sync = LdapSync->new($slapd, access => "uri @{[$slapd->uri('ldapi')]}\nbinddn $RealSlapd::reader\npasswd $RealSlapd::reader_password\n");
	is +($sync->once)[0], 0;
	$restrict->($rights);
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	like $said, qr/^compared 21 entries with .*: 0 were missing, 0 had changed, 1 were surplus/m, 'an entry that may not be seen any more is told';
	is $sync->difference, '';
	$restrict->('');
	($exit, $said) = $sync->once;
	is $exit, 0;
	like $said, qr/^compared 22 entries with .*: 1 were missing/m, 'and so is one that may be seen again';
	is $sync->difference, '', 'it is back';
	# the entry may be seen, and not what the rule asks for
	$restrict->("access to dn.exact=\"mail=user7\@$domain,$tree\" attrs=objectClass by dn.exact=\"$RealSlapd::reader\" none by * read\n");
	($exit, $said) = $sync->once;
	is $exit, 0;
	like $said, qr/1 were surplus; 1 of the surplus ones are there, and left out by the filter, or by the rights of this reader/, 'apart from what is gone';
	$restrict->('');
	$sync->{settings} = "compare 1s\n";
	$sync->configure;
	$sync->start;
	is $sync->difference_after(20 * $slow), '', 'one that stays compares now and then';
	ok $sync->hears(qr/compared 22 entries/, 10 * $slow), '... and says so';
	is $sync->stop, 0;
};

subtest 'an ACL mistake about values, which no entryCSN tells of' => sub {
	my $slapd = RealSlapd->new(users => 20, aliases => 0)->start;
	$slapd->add_account('two', mail => ["second\@$domain"]);
	my $restrict = sub ($text) {
		$slapd->stop;
		$slapd->{config} = $text;
		$slapd->_configure;
		$slapd->start;
	};
	my $rights = "access to attrs=mail val=\"second\@$domain\" by dn.exact=\"$RealSlapd::reader\" none by * read\n"
		. "access to attrs=maildrop val=\"user2\@$domain\" by dn.exact=\"$RealSlapd::reader\" none by * read\n";
	$restrict->($rights);
	my $sync = LdapSync->new($slapd, access => "uri @{[$slapd->uri('ldapi')]}\nbinddn $RealSlapd::reader\npasswd $RealSlapd::reader_password\n");
	is +($sync->once)[0], 0;
	is $sync->find("second\@$domain"), undef, 'a value that the reader may not see makes no key';
	$restrict->('');
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	like $said, qr/^compared \d+ entries with .*: 0 were missing, 2 had changed, 0 were surplus/m, 'one that may be seen again is told';
	is $sync->difference, '', '... and is there';
	$restrict->($rights);
	is +($sync->once)[0], 0;
	is $sync->find("second\@$domain"), undef, 'and so is one that may not be seen any more';
	$sync->{settings} = "compare 1s\n";
	$sync->configure;
	$sync->start;
	ok $sync->hears(qr/in step/, 20 * $slow);
	$restrict->('');
	is $sync->difference_after(20 * $slow), '', 'one that stays compares values, too';
	is $sync->stop, 0;
};

subtest 'a reader who may not see entryUUID has everything read, and loses nothing' => sub {
	my $slapd = RealSlapd->new(users => 20, aliases => 20,
		config => "access to attrs=entryUUID by dn.exact=\"$RealSlapd::reader\" none by * read\n")->start;
	my $sync = LdapSync->new($slapd, access => "uri @{[$slapd->uri('ldapi')]}\nbinddn $RealSlapd::reader\npasswd $RealSlapd::reader_password\n");
	my $equal = sub ($name) {
		my %records = map { ($_ => 1) } map { lc } map { $_->{mail}->@* } values $slapd->entries('(mail=*)', as => 'root')->%*;
		is_deeply [sort keys $sync->map->%*], [sort keys %records], $name;
	};
	is +($sync->once)[0], 0;
	$equal->('the first copy');
	for my $round (1 .. 2) {
		$slapd->remove("user$round");
		$slapd->remove("alias$round");
		# forgotten by the server, and by its cookie
		$slapd->restart('KILL');
		$slapd->add_account("new$round");
		my ($exit, $said) = $sync->once;
		is $exit, 0 or diag $said;
		like $said, qr/entryUUID may not be seen by this reader/, 'it is told';
		$equal->("round $round");
	}
	$sync->{settings} = "compare 1s\n";
	$sync->configure;
	$sync->start;
	ok $sync->hears(qr/instead of comparing, everything is read.*in step.*instead of comparing/s, 20 * $slow), 'one that stays does so now and then';
	is $sync->stop, 0;
	$equal->('... and has all');
};

subtest 'a removal right before the server is killed' => sub {
	my $slapd = RealSlapd->new(users => 20, aliases => 0)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	$slapd->remove('user3');
	# contextCSN is written now and then only: the removal is forgotten, its effect is not
	$slapd->restart('KILL');
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	is $sync->difference, '', 'the account is gone';
};

subtest 'a directory that was restored from an older dump and written to' => sub {
	my $slapd = RealSlapd->new(users => 20, aliases => 0)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	my $ldif = dump_of($slapd);
	$slapd->change(RealSlapd::account('invented1') . RealSlapd::account('invented2') . removal('user1')
		. "dn: mail=user2\@$domain,$tree\nchangetype: modify\nreplace: mailbox\nmailbox: stale/2\n\n");
	is +($sync->once)[0], 0;
	$slapd->stop;
	$slapd->reload($ldif, '-w');
	$slapd->start;
	$slapd->add_account('after');
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	is $sync->difference, '', 'nothing is invented, lost or stale';
	like $said, qr/compared .* 1 were missing, 1 had changed, 2 were surplus/, 'and it is said';
};

subtest 'the same under one that stays, which finds the server there again' => sub {
	my $slapd = RealSlapd->new(users => 20, aliases => 0)->start;
	my $sync = LdapSync->new($slapd, settings => "silence 1\ntimeout 20\n")->start;
	is $sync->difference_after(10 * $slow), '';
	my $ldif = dump_of($slapd);
	$slapd->change(RealSlapd::account('invented') . removal('user1')
		. "dn: mail=user2\@$domain,$tree\nchangetype: modify\nreplace: mailbox\nmailbox: stale/2\n\n");
	is $sync->difference_after(10 * $slow), '';
	# it comes to nothing before the server was written to
	kill 'STOP', $sync->{pid};
	$slapd->stop;
	$slapd->reload($ldif, '-w');
	$slapd->start;
	$slapd->add_account('after');
	kill 'CONT', $sync->{pid};
	is $sync->difference_after(20 * $slow), '', 'nothing is invented, lost or stale';
	is $sync->stop, 0;
};

subtest 'the same where ldapsync is stopped, or killed, before the server is there again' => sub {
	for my $signal (qw(TERM KILL)) {
		my $slapd = RealSlapd->new(users => 20, aliases => 0, no_tls => 1)->start;
		my $sync = LdapSync->new($slapd)->start;
		ok $sync->hears(qr/in step/, 10 * $slow);
		my $ldif = dump_of($slapd);
		$slapd->change(RealSlapd::account('invented') . removal('user1'));
		is $sync->difference_after(10 * $slow), '';
		$slapd->stop;
		# the second attempt: what is known of the first is in the map
		ok $sync->hears(qr/contact.*bind: .*contact/s, 10 * $slow), 'the server is away';
		$sync->stop($signal);
		$slapd->reload($ldif, '-w');
		$slapd->start;
		$slapd->add_account('after');
		$sync->start;
		is $sync->difference_after(20 * $slow), '', "$signal: nothing is invented or lost";
		is $sync->stop, 0;
	}
};

subtest 'subtrees that are moved into the base and out of it' => sub {
	my $outside = "o=elsewhere,$RealSlapd::suffix";
	my $slapd = RealSlapd->new(users => 3, aliases => 0, ldif => "dn: $outside\nobjectClass: organization\no: elsewhere\n\n")->start;
	$slapd->change("dn: o=moved.example,$hosting\nobjectClass: organization\no: moved.example\n\n"
		. RealSlapd::account('m1') =~ s/^dn: .*/dn: mail=m1\@$domain,o=moved.example,$hosting/r);
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	ok defined $sync->find("m1\@$domain");
	my $move = sub ($from, $to) { $slapd->change("dn: o=moved.example,$from\nchangetype: modrdn\nnewrdn: o=moved.example\ndeleteoldrdn: 0\nnewsuperior: $to\n\n") };
	$move->($hosting, $outside);
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	is $sync->difference, '', 'out of it';
	is $sync->find("m1\@$domain"), undef;
	$move->($outside, $hosting);
	is +($sync->once)[0], 0;
	is $sync->difference, '', 'and into it';
	ok defined $sync->find("m1\@$domain");
};

subtest 'the same where ldapsync is stopped while the server is there, which is put back before the next start' => sub {
	my $slapd = RealSlapd->new(users => 20, aliases => 0, no_tls => 1)->start;
	my $sync = LdapSync->new($slapd, settings => "compare 0\n")->start;
	my $ldif = dump_of($slapd);
	$slapd->change(RealSlapd::account('invented') . removal('user1'));
	is $sync->difference_after(10 * $slow), '', 'in step';
	is $sync->stop, 0;
	$slapd->stop;
	$slapd->reload($ldif, '-w');
	$slapd->start;
	$slapd->add_account('after');
	$sync->start;
	is $sync->difference_after(20 * $slow), '', 'nothing is invented or lost';
	is $sync->stop, 0;
};

subtest 'a clock that is put back puts no comparison off' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0, no_tls => 1)->start;
	my $sync = LdapSync->new($slapd, settings => "compare 1s\n");
	my $d = $sync->dir;
	$sync->_put('clock.c', <<'END');
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* as many seconds ahead as a file says */
time_t time(time_t *when)
{
	struct timespec now;
	char text[20] = "";
	int fd = open(getenv("AHEAD"), O_RDONLY);

	if (read(fd, text, sizeof text - 1) < 0)
		abort();
	close(fd);
	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += atol(text);
	if (when != NULL)
		*when = now.tv_sec;
	return now.tv_sec;
}
END
	my $library = Tool::preload("$d/clock.c") or plan skip_all => 'no compiler';
	$sync->_put('ahead', 864000);
	{
		local $ENV{AHEAD} = "$d/ahead";
		local $ENV{LD_PRELOAD} = $library;
		$sync->start;
	}
	ok $sync->hears(qr/^compared/m, 10 * $slow), 'ten days ahead';
	$sync->_put('ahead', 0);
	$sync->forget;
	ok $sync->hears(qr/(^compared .*){3}/ms, 20 * $slow), 'and put right';
	is $sync->stop, 0;
};

subtest 'each start compares everything, and so does one that stays, after the time of "compare"' => sub {
	my $slapd = RealSlapd->new(users => 3)->start;
	my $sync = LdapSync->new($slapd, settings => "compare 0\n");
	is +($sync->once)[0], 0;
	$sync->start;
	ok $sync->hears(qr/compared 8 entries with .*: nothing differs/, 10 * $slow), 'a start';
	is $sync->stop, 0;
	$sync->{settings} = "compare 1s\n";
	$sync->configure;
	$sync->forget;
	$sync->start;
	ok $sync->hears(qr/(compared 8 entries with .*: nothing differs.*){2}/s, 10 * $slow), 'after the time of "compare"';
	is $sync->stop, 0;
};

subtest 'without "compare" everything is compared once a day' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0, no_tls => 1)->start;
	my $sync = LdapSync->new($slapd);
	my $d = $sync->dir;
	$sync->_put('monotonic.c', <<'END');
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* as many seconds later as a file says */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	char text[20] = "";
	int fd = open(getenv("AHEAD"), O_RDONLY), code;

	if (fd >= 0 && read(fd, text, sizeof text - 1) < 0)
		abort();
	close(fd);
	code = (int)syscall(SYS_clock_gettime, clock, now);
	if (clock == CLOCK_MONOTONIC)
		now->tv_sec += atol(text);
	return code;
}
END
	my $library = Tool::preload("$d/monotonic.c") or plan skip_all => 'no compiler';
	my $later = sub ($seconds) { $sync->_put('ahead.new', $seconds); rename "$d/ahead.new", "$d/ahead" or die };
	$later->(0);
	{
		local $ENV{AHEAD} = "$d/ahead";
		local $ENV{LD_PRELOAD} = $library;
		$sync->start;
	}
	ok $sync->hears(qr/^(?:compared|read) /m, 10 * $slow), 'at the start';
	is $sync->difference_after(10 * $slow), '';
	# then nothing that waits for an answer takes the leap for silence
	ok $sync->hears(qr/in step/, 20 * $slow), 'in step' or diag $sync->said;
	$sync->forget;
	$later->(86000);
	$slapd->add_account('later');
	is $sync->difference_after(20 * $slow), '', 'nearly a day later it follows' or diag $sync->said;
	unlike substr($sync->said, $sync->{heard}), qr/^compared/m, '... and nothing was compared';
	$later->(86500);
	ok $sync->hears(qr/^compared /m, 20 * $slow), 'after a day it is' or diag $sync->said;
	is $sync->stop, 0;
};

done_testing;
