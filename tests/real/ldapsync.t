#!/usr/bin/perl
# ldapsync against a real slapd: after whatever happens to the directory, to the server and to itself, the map equals the directory.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Extent qw(long some_of);
use Time::HiRes ();
use RealSlapd;
use LdapSync;

LdapSync::skip_without();

my $slow = $LdapSync::slow;
my $domain = $RealSlapd::domain;
my $tree = $RealSlapd::tree;
my $lmdb = LdapSync::has_lmdb();

sub equal($sync, $name) { is $sync->difference, '', $name }
sub becomes_equal($sync, $name, $seconds = 10) { is $sync->difference_after($seconds * $slow), '', $name }

# Seconds until $sync finds $key as $value (undef: no more).
sub seconds_until($sync, $key, $value) {
	my $start = Time::HiRes::time();
	while (Time::HiRes::time() < $start + 20) {
		my $found = $sync->find($key);
		return Time::HiRes::time() - $start if ($found // '(none)') eq ($value // '(none)');
		Time::HiRes::sleep(0.01);
	}
	return 99;
}

# It sleeps with SIGTERM blocked, as it never does where it waits for servers.
sub waits_for_worker($pid) {
	for (1 .. 10) {
		open my $fh, '<', "/proc/$pid/status" or return 0;
		my $status = join '', <$fh>;
		return 0 if $status !~ /^State:\s+S/m || $status !~ /^SigBlk:\s+[0-9a-f]*([0-9a-f])[0-9a-f]{3}$/m || !(hex($1) & 4);
		Time::HiRes::sleep(0.02);
	}
	return 1;
}

sub rename_entry($from, $to) { "dn: mail=$from\@$domain,$tree\nchangetype: modrdn\nnewrdn: mail=$to\@$domain\ndeleteoldrdn: 1\n\n" }

sub modify_entry($name, @lines) { "dn: mail=$name\@$domain,$tree\nchangetype: modify\n" . join("\n", @lines) . "\n\n" }

sub removal($name) { "dn: mail=$name\@$domain,$tree\nchangetype: delete\n\n" }

# Some of everything: adds, modifies, renames, removes, moves between the rules, a second key.
sub change_everything($slapd, $n) {
	$slapd->change(RealSlapd::account("added$n", mail => ["second$n\@$domain", "Third$n\@$domain"])
		. RealSlapd::alias_entry("newalias$n", "a\@x.example", "b\@x.example")
		. modify_entry("user$n", 'replace: mailbox', "mailbox: changed/$n")
		. modify_entry("alias$n", 'add: maildrop', "maildrop: more\@x.example")
		. rename_entry('user' . ($n + 1), "renamed$n")
		. removal('user' . ($n + 2)) . removal('alias' . ($n + 2))
		. modify_entry('alias' . ($n + 1), 'delete: objectClass', 'objectClass: CourierMailAlias', '-', 'delete: maildrop', '-',
			'add: objectClass', 'objectClass: CourierMailAccount', '-', 'add: homeDirectory', 'homeDirectory: /home', '-',
			'add: mailbox', "mailbox: was/alias$n"));
}

my $users = 30;
for my $way ('generations', long() ? ('lmdb', 'environment') : ()) {
	SKIP: {
	skip 'built without LMDB', 1 if $way eq 'lmdb' && !$lmdb;
	subtest "all that can happen, $way" => sub {
		my $slapd = RealSlapd->new(users => $users)->start;
		my $sync = LdapSync->new($slapd, type => $way eq 'lmdb' ? 'lmdb' : 'btree', environment => $way eq 'environment');
		my ($exit, $said) = $sync->once;
		is $exit, 0, 'the first refresh' or diag $said;
		like $said, qr/^62 records: 62 added, 0 changed, 0 removed$/m, 'it says what it did';
		equal $sync, 'the map equals the directory';
		($exit, $said) = $sync->once;
		like $said, qr/^62 records: 0 added, 0 changed, 0 removed$/m, 'a second one has nothing to do';
		change_everything($slapd, 1);
		($exit, $said) = $sync->once;
		is $exit, 0, 'a refresh after changes' or diag $said;
		equal $sync, 'the map equals the directory';

		$sync->start;
		ok $sync->hears(qr/in step/), "it stays";
		change_everything($slapd, 5);
		becomes_equal $sync, 'changes while it runs';
		$slapd->change(modify_entry('user8', 'replace: mailbox', 'mailbox: at/once'));
		cmp_ok seconds_until($sync, "user8\@$domain", 'smtp-lmtp!node!at/once%2'), '<', 1 * $slow, 'a change is there within a second';
		$slapd->change(removal('user8'));
		cmp_ok seconds_until($sync, "user8\@$domain", undef), '<', 1 * $slow, 'and so is a removal';
		is $sync->stop, 0, 'it ends when told to';
		equal $sync, 'nothing is lost by that';

		change_everything($slapd, 10);
		$sync->start;
		becomes_equal $sync, 'changes while it was down';
		$slapd->restart;
		change_everything($slapd, 15);
		becomes_equal $sync, 'changes after a restart of the server', 20;
		$sync->forget;
		$slapd->stop('KILL');
		ok $sync->hears(qr/Can't contact/), 'it says that the server is away';
		$slapd->start;
		change_everything($slapd, 20);
		becomes_equal $sync, 'changes after a crash of the server', 20;
		is $sync->stop('KILL'), -9, 'killed';
		change_everything($slapd, 25);
		$sync->start;
		becomes_equal $sync, 'changes while it was dead';
		is $sync->stop, 0;
	};
	}
}

subtest 'no map before there is something in it' => sub {
	my $slapd = RealSlapd->new(users => 3);
	my $sync = LdapSync->new($slapd)->start;
	ok $sync->hears(qr/Can't contact/), 'the server is away from the beginning';
	my $user = "user1\@$domain";
	qx{$ENV{BUILD_DIR}/db/dblookup -t btree $sync->{map} $user 2>/dev/null};
	is $? >> 8, 75, 'a lookup could not tell';
	$slapd->start;
	becomes_equal $sync, 'the map is there with its content';
	is $sync->stop, 0;
	is $sync->find($user), "smtp-lmtp!node!$domain/user1%2";
};

subtest 'a server without memory of changes' => sub {
	my $slapd = RealSlapd->new(users => $users, sessionlog => 0)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	for my $n (1, 5) {
		change_everything($slapd, $n);
		my ($exit, $said) = $sync->once;
		is $exit, 0, 'the present phase' or diag $said;
		equal $sync, 'the map equals the directory';
	}
	$sync->start;
	change_everything($slapd, 10);
	becomes_equal $sync, 'the same for one that stays';
	$slapd->stop('KILL');
	$slapd->start;
	change_everything($slapd, 15);
	becomes_equal $sync, 'and after a crash of the server', 20;
};

subtest 'a cookie that is too old' => sub {
	my $slapd = RealSlapd->new(users => $users, sessionlog => 3, overlays => "syncprov-reloadhint TRUE\n")->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	change_everything($slapd, 1);
	change_everything($slapd, 5);
	# the entry whose change the cookie stands for is gone
	$slapd->change(removal('staff') . removal('abuse'));
	my ($exit, $said) = $sync->once;
	is $exit, 0, 'all is read anew' or diag $said;
	equal $sync, 'the map equals the directory';
};

subtest 'a directory that was put back to an older state' => sub {
	my $slapd = RealSlapd->new(users => $users)->start;
	my $sync = LdapSync->new($slapd);
	change_everything($slapd, 1);
	is +($sync->once)[0], 0;
	my $ldif = qx{/usr/sbin/slapcat -f @{[$slapd->dir]}/slapd.conf 2>/dev/null};
	change_everything($slapd, 5);
	is +($sync->once)[0], 0;
	my $before = $sync->map;
	$slapd->stop;
	# the mark of a backup from a running server is older than the newest entries, which it hides therefore
	$slapd->reload($ldif =~ s/^(contextCSN: )\d{14}/${1}20200101000000/mr);
	$slapd->start;
	my ($exit, $said) = $sync->once;
	# on a busy machine it may be slow after its start
	($exit, $said) = $sync->once if $said =~ /Timed out/;
	is $exit, 75, 'a server that hides entries is not believed';
	like $said, qr/leaves entries out that it has/, 'and told so';
	is_deeply $sync->map, $before, 'the map is as it was';
	$slapd->stop;
	$slapd->reload($ldif, '-w');
	$slapd->start;
	($exit, $said) = $sync->once;
	is $exit, 0, 'with the right mark all is read anew' or diag $said;
	equal $sync, 'the map equals the directory';
	$sync->start;
	change_everything($slapd, 10);
	becomes_equal $sync, 'and goes on from there';
};

subtest 'several servers' => sub {
	my $slapd = RealSlapd->new(users => $users)->start;
	change_everything($slapd, 1);
	my $ldif = qx{/usr/sbin/slapcat -f @{[$slapd->dir]}/slapd.conf 2>/dev/null};
	my $replica = RealSlapd->new(users => 0, aliases => 0, tree => $ldif)->start;
	my $uris = join ' ', map { $_->uri('ldapi') } $slapd, $replica;
	my $sync = LdapSync->new($slapd, access => "uri $uris\nauthmethod sasl\nsasl_mech EXTERNAL\n")->start;
	becomes_equal $sync, 'the first one answers';
	change_everything($slapd, 5);
	becomes_equal $sync, 'and goes on to do so';
	my $before = $sync->map;
	$slapd->stop('KILL');
	ok $sync->hears(qr/the server lags behind the map/), 'a second one that lags is told';
	$sync->forget;
	ok $sync->hears(qr/the server lags behind the map/), 'again and again';
	is_deeply $sync->map, $before, 'and the map does not go back to what that has';
	my $newer = qx{/usr/sbin/slapcat -f @{[$slapd->dir]}/slapd.conf 2>/dev/null};
	$replica->stop;
	$replica->reload($newer);
	$replica->start;
	change_everything($replica, 10);
	$sync->{slapd} = $replica;
	becomes_equal $sync, 'one that has caught up is followed', 30;
	is $sync->stop, 0;
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	$replica->stop;
	$replica->reload($ldif, '-w');
	$replica->start;
	$before = $sync->map;
	($exit, $said) = $sync->once;
	is $exit, 75, 'one refresh, with a server that lags';
	like $said, qr/the server lags behind the map; start the other servers/;
	is_deeply $sync->map, $before;
};

subtest 'another directory in its place' => sub {
	my $slapd = RealSlapd->new(users => $users)->start;
	my $sync = LdapSync->new($slapd);
	change_everything($slapd, 1);
	is +($sync->once)[0], 0;
	$slapd->stop;
	# the same names, other entryUUIDs, and some more
	$slapd->reload($slapd->_tree . RealSlapd::account('other'));
	$slapd->start;
	my ($exit, $said) = $sync->once;
	is $exit, 0, 'all is read anew' or diag $said;
	equal $sync, 'the map equals the directory';
};

subtest 'mass deletion in several runs' => sub {
	my $slapd = RealSlapd->new(users => 200, aliases => 0)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	$slapd->change(join '', map { removal("user$_") } 1 .. 30);
	is +($sync->once)[0], 0, 'some may go';
	my $before = $sync->map;
	$slapd->change(join '', map { removal("user$_") } 31 .. 60);
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'but not as many right after them, whoever is started for it';
	like $said, qr/30 of 172 keys would be removed, after 30 of 202 in the last ten minutes; nothing was changed/, 'and that is said';
	is_deeply $sync->map, $before, 'the map is as it was';
	is +($sync->once('--allow-shrink'))[0], 0, 'unless it is allowed';
	$slapd->change(removal('user61'));
	is +($sync->once)[0], 0, 'which is not held against those that follow';
	equal $sync, 'the map equals the directory';
};

subtest 'sixty of a thousand removed right after a first copy are no mass deletion' => sub {
	my $slapd = RealSlapd->new(users => 1000, aliases => 0)->start;
	my $sync = LdapSync->new($slapd)->start;
	becomes_equal $sync, 'the first copy', 20;
	$slapd->change(join '', map { removal("user$_") } 1 .. 60);
	becomes_equal $sync, 'it goes on';
	is $sync->stop, 0;
};

subtest 'a filter that matches nothing' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	my $before = $sync->map;
	$sync->{rules} = LdapSync::usual_rules() =~ s/CourierMail/noSuchClass/gr;
	$sync->configure;
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'does not empty the map, however small it is';
	like $said, qr/5 of 5 keys would be removed; nothing was changed; --allow-shrink/, 'and that is said';
	is_deeply $sync->map, $before, 'the map is as it was';
	is +($sync->once('--allow-shrink'))[0], 0, 'unless it is allowed';
	is_deeply $sync->map, {}, 'then it is empty';
};

sub filters($filter, $other = $filter) { LdapSync::usual_rules() =~ s/\(objectClass=CourierMailAccount\)/$filter/r =~ s/\(objectClass=CourierMailAlias\)/$other/r }

subtest 'a first copy of nothing makes no map' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0, ldif => "dn: ou=empty,$RealSlapd::hosting\nobjectClass: organizationalUnit\nou: empty\n\n",
		config => "access to dn.subtree=\"$tree\" by dn.exact=\"cn=blind,$RealSlapd::suffix\" none by * read\n")->start;
	$slapd->change("dn: cn=blind,$RealSlapd::suffix\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: blind\nuserPassword: blind\n\n");
	my $blind = "uri @{[$slapd->uri('ldapi')]}\nbinddn cn=blind,$RealSlapd::suffix\npasswd blind\n";
	my @nothing = (['a filter that is false for all', rules => filters('(|)')], ['no such class', rules => filters('(objectClass=noSuchClass)')],
		['a reader who may see nothing', access => $blind], ['a base without entries', rules => LdapSync::usual_rules() =~ s/^(rule .*)/$1\nbase ou=empty,$RealSlapd::hosting/gmr],
		['entries that cannot be used', rules => "rule all\nfilter (objectClass=CourierMailAccount)\nkey {noSuchAttribute}\nvalue x\n"]);
	for my $way ('generations', $lmdb ? 'lmdb' : (), 'environment') {
		for my $case ($way eq 'generations' ? @nothing : @nothing[0, 4]) {
			my ($name, %o) = @$case;
			my $sync = LdapSync->new($slapd, type => $way eq 'lmdb' ? 'lmdb' : 'btree', environment => $way eq 'environment', %o);
			for my $run ('first', 'second') {
				my ($exit, $said) = $sync->once;
				is $exit, 75, "$way, $name: refused, $run run";
				like $said, qr/^ldapsync: \Q$sync->{map}\E\.\w+: the directory gives no usable entry; no map was made; --allow-shrink if that is meant$/m, '... in words';
			}
			qx{@{[$sync->_dblookup]} $sync->{map} user1\@$domain 2>/dev/null};
			is $? >> 8, 75, '... and a lookup could not tell';
			my ($exit, $said) = $sync->once('--allow-shrink');
			cmp_ok $exit, '==', $name =~ /cannot be used/ ? 65 : 0, '... unless that is meant' or diag $said;
			is_deeply $sync->map, {}, '... then there is an empty map';
			isnt +($sync->once)[0], 75, '... and what was allowed once may stay so';
			$sync->{rules} = LdapSync::usual_rules();
			delete $sync->{access};
			$sync->{access} = LdapSync->new($slapd)->{access};
			$sync->configure;
			is +($sync->once)[0], 0;
			equal $sync, '... until there is something';
			$sync->{rules} = filters('(|)');
			$sync->configure;
			is +($sync->once)[0], 75, '... which does not go again';
		}
	}
	my $one = LdapSync->new($slapd, rules => filters('(objectClass=CourierMailAccount)', '(|)'));
	my ($exit, $said) = $one->once;
	is $exit, 0, 'one of several searches may find nothing' or diag $said;
	is scalar keys $one->map->%*, 3;

	# a map that is empty, whoever made it, is no better
	my $sync = LdapSync->new($slapd, rules => filters('(|)'));
	$sync->_put('users', '');
	system("$ENV{BUILD_DIR}/db/newdb -s -l $sync->{map} >/dev/null 2>&1") == 0 or die;
	for my $run ('first', 'second') {
		($exit, $said) = $sync->once;
		is $exit, 75, "an empty map stays no copy of nothing, $run run";
		like $said, qr/the directory gives no usable entry, and the map has none; --allow-shrink if that is meant$/m;
	}
	is +($sync->once('--allow-shrink'))[0], 0;
	is +($sync->once)[0], 0, 'unless that was allowed';

	# rules that have no keys make no records
	$sync = LdapSync->new($slapd, rules => "rule domains\nfilter (o=*.*)\ndomain {o}\n");
	$sync->{settings} = "domains @{[$sync->dir]}/domains\n";
	$sync->configure;
	is +($sync->once)[0], 0, 'domains alone are something, too';
	is_deeply $sync->map, {};
	unlink "$sync->{dir}/domains", "$sync->{map}.db";
	$sync->{rules} =~ s/\Q(o=*.*)/(|)/;
	$sync->configure;
	($exit, $said) = $sync->once;
	is $exit, 75, 'and nothing is made of none';
	like $said, qr/the directory gives no usable entry; no map was made; --allow-shrink if that is meant/;
	ok !-e "$sync->{dir}/domains";
};

subtest 'a first copy of nothing by one that stays: it says so, goes on, and makes the map when there is something' => sub {
	my $slapd = RealSlapd->new(users => 0, aliases => 0, tree => RealSlapd::suffix_entries() =~ s/^dn: mail=.*//msr)->start;
	for my $way ('generations', $lmdb ? 'lmdb' : (), 'environment') {
		my $sync = LdapSync->new($slapd, type => $way eq 'lmdb' ? 'lmdb' : 'btree', environment => $way eq 'environment')->start;
		ok $sync->hears(qr/the directory gives no usable entry; no map was made; asked again in 60 s; --allow-shrink if that is meant/, 10 * $slow), "$way: it says so";
		is $sync->find("user1\@$domain"), undef;
		ok !(grep { -e } glob "$sync->{map}.{db,lmdb}"), '... makes no map';
		is $sync->stop, 0, '... and ends when told to';
		is $sync->said =~ s/no usable entry//gr, $sync->said =~ s/no usable entry//r, '... it was said once';
	}
	return if !long();    # the minute has to pass
	my $sync = LdapSync->new($slapd)->start;
	my $rights = "access to dn.subtree=\"$tree\" by dn.exact=\"cn=blind,$RealSlapd::suffix\" none by * read\n";
	my $hidden = RealSlapd->new(users => 3, aliases => 0, config => $rights, ldif => "dn: cn=blind,$RealSlapd::suffix\n"
		. "objectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: blind\nuserPassword: blind\n\n")->start;
	my $blind = LdapSync->new($hidden, access => "uri @{[$hidden->uri('ldapi')]}\nbinddn cn=blind,$RealSlapd::suffix\npasswd blind\n")->start;
	ok $_->hears(qr/no map was made/, 10 * $slow) for $sync, $blind;
	$slapd->add_account('first');
	# the server tells nothing of what may be seen now: that is found by comparing
	$hidden->{config} = '';
	$hidden->_configure;
	$hidden->restart;
	becomes_equal $sync, 'an account that comes is found within a minute', 90;
	becomes_equal $blind, 'and so is what the reader may see now', 90;
	for ($sync, $blind) {
		$_->{slapd}->add_account('second');
		becomes_equal $_, 'from then on it follows';
		is $_->stop, 0;
	}
};

subtest 'mass deletion' => sub {
	my $slapd = RealSlapd->new(users => 200, aliases => 0)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	my $before = $sync->map;
	$slapd->change(join '', map { removal("user$_") } 1 .. 60);
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'is stopped';
	like $said, qr/60 of 202 keys would be removed; nothing was changed; --allow-shrink/, 'with a word how to allow it';
	is_deeply $sync->map, $before, 'the map is as it was';
	$sync->start;
	is $sync->ended, 75, 'by one that stays, too';
	is_deeply $sync->map, $before, 'the map is as it was';
	($exit, $said) = $sync->once('--allow-shrink');
	is $exit, 0, 'unless it is allowed' or diag $said;
	equal $sync, 'the map equals the directory';
	$sync->start;
	becomes_equal $sync, 'one that stays';
	$before = $sync->map;
	for my $n (61 .. 130) {
		$slapd->change(removal("user$n"));
		Time::HiRes::sleep(0.01);
	}
	is $sync->ended, 75, 'many small ones are a large one';
	cmp_ok scalar(keys $sync->map->%*), '>=', keys(%$before) - 51, 'and stopped in time';

	my $empty = RealSlapd->new(users => 200, aliases => 0)->start;
	my $other = LdapSync->new($empty);
	is +($other->once)[0], 0;
	$empty->stop;
	$empty->reload(RealSlapd::suffix_entries());
	$empty->start;
	is +($other->once)[0], 75, 'an emptied directory does not empty the map';
	is scalar keys $other->map->%*, 202;
	$empty->stop;
	$empty->reload(RealSlapd::suffix_entries() =~ s/^dn: o=hosting.*//msr);
	$empty->start;
	($exit, $said) = $other->once;
	is $exit, 75, 'nor does one without the base';
	like $said, qr/No such object \(32\); base does not exist, or this bind name may not see it/;
	is scalar keys $other->map->%*, 202;
};

subtest 'conflicts' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 3)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	my $alias = "alias1\@$domain";
	$slapd->change(RealSlapd::alias_entry('thief', "thief\@x.example") . modify_entry('thief', 'add: mail', "mail: ALIAS1\@$domain"));
	my ($exit, $said) = $sync->once;
	is $exit, 65, 'are told by the exit status';
	like $said, qr/^ldapsync: $alias: wanted by .*"mail=thief\@.*"mail=alias1\@.*it stays with "mail=alias1\@/m, 'with both names';
	is $sync->find($alias), "user1\@$domain", 'the key stays with who had it';
	is $sync->find("thief\@$domain"), 'thief@x.example', 'other keys are not concerned';
	($exit, $said) = $sync->once;
	is $exit, 65, 'also the next time';
	$slapd->change(modify_entry('alias1', 'replace: maildrop', 'maildrop: other@x.example'));
	is +($sync->once)[0], 65;
	is $sync->find($alias), 'other@x.example', 'who has it may change it';
	$slapd->change(removal('alias1'));
	is +($sync->once)[0], 0, 'one is gone, and so is the conflict';
	is $sync->find($alias), 'thief@x.example', 'the other one has it';
	$slapd->change(RealSlapd::account('double', mail => ["new\@$domain"]) . RealSlapd::alias_entry('double2', 'x@x.example')
		. modify_entry('double2', 'add: mail', "mail: new\@$domain"));
	($exit, $said) = $sync->once;
	is $exit, 65;
	like $said, qr/new\@$domain: wanted by .*conflict; lookups cannot tell/, 'a key that nobody had is nobody\'s';
	ok $sync->cannot_tell("new\@$domain"), 'and is not "not found"';
	$sync->{settings} = "unclear hold!conflict!{key}\n";
	$sync->configure;
	is +($sync->once)[0], 65;
		is $sync->find("new\@$domain"), "hold!conflict!new\@$domain", 'or gets a value of its own';
	$slapd->change(removal('double2'));
	is +($sync->once)[0], 0;
	is $sync->find("new\@$domain"), "smtp-lmtp!node!$domain/double%2", 'until it is clear';
};

subtest 'entries that cannot be used' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 3)->start;
	my $sync = LdapSync->new($slapd, rules => "rule aliases\nfilter (objectClass=CourierMailAlias)\nkey {mail}\nvalue {maildrop}\n");
	my ($exit, $said) = $sync->once;
	is $exit, 65, 'are told by the exit status';
	like $said, qr/^ldapsync: rule aliases: "mail=staff\@.*": maildrop has several values, one is meant$/m, 'with their name';
	ok $sync->cannot_tell("staff\@$domain"), 'lookups cannot tell, and do not find nothing';
	is $sync->find("alias1\@$domain"), "user1\@$domain", 'all others are copied';
	my $named = sub ($text, $name) { scalar(() = $text =~ /"mail=$name\@/g) };
	is $named->($said, 'staff'), 1, 'it is named once' or diag $said;
	is $named->(($sync->once)[1], 'staff'), 1, 'the next time as well';
	$sync->{settings} = "compare 1s\n";
	$sync->configure;
	$sync->start;
	ok $sync->hears(qr/(^compared .*){3}/ms, 20 * $slow);
	is $sync->stop, 0;
	is $named->($sync->said, 'staff'), 1, 'one that stays and compares names it once an hour';
	$slapd->change(modify_entry('alias1', 'add: maildrop', 'maildrop: second@x.example'));
	($exit, $said) = $sync->once;
	is $exit, 65;
	is $named->($said, 'staff') . $named->($said, 'alias1'), 11, 'each once, be it told as a change and found when all is compared';
	is $sync->find("alias1\@$domain"), "user1\@$domain", 'one that was good stays as it was';
	$slapd->change(modify_entry('alias1', 'replace: maildrop', 'maildrop: third@x.example') . removal('staff'));
	is +($sync->once)[0], 0;
	is $sync->find("alias1\@$domain"), 'third@x.example', 'until it is good again';
};

subtest 'a value that cannot be used is none, and the entry has others' => sub {
	my $slapd = RealSlapd->new(users => 2, aliases => 0)->start;
	my $sync = LdapSync->new($slapd, settings => "domains DIR/domains\n");
	$sync->{settings} =~ s/DIR/$sync->{dir}/;
	$sync->configure;
	my $domains = sub { open my $fh, '<', "$sync->{dir}/domains" or return ''; join ' ', map { chomp; $_ } grep { !/^#/ } <$fh> };
	$slapd->change(modify_entry('user1', 'add: mail', "mail: one\@a.example", "mail: two\@z.example"));
	is +($sync->once)[0], 0;
	is $domains->(), "a.example $domain z.example";
	# one with a line end and one without a domain that is served; beside a new one
	$slapd->change(modify_entry('user1', 'delete: mail', "mail: one\@a.example", '-', 'add: mail', 'mail:: b25lQGEuZXhhbXBsZQo=', 'mail: new@m.example',
		'mail: odd@n!o'));
	my ($exit, $said) = $sync->once;
	is $exit, 65, 'it is told by the exit status';
	like $said, qr/^ldapsync: rule accounts: "mail=user1\@.*": mail has a value that is empty or has control bytes in it; its other values are used; "n!o" is no domain$/m,
		'... and by name';
	my %box = map { $_ => $sync->find($_) } "user1\@$domain", 'new@m.example', 'two@z.example', 'one@a.example', 'user2@' . $domain;
	is_deeply \%box, { map { $_ => 'smtp-lmtp!node!' . ($_ =~ /^user2/ ? "$domain/user2%2" : "$domain/user1%2") } keys %box },
		'its other values are copied, and what was known of it stays';
	is $domains->(), "a.example $domain m.example z.example", '... and their domains are served';
	is +($sync->once)[0], 65, 'so it is the next time';
	is $sync->find('one@a.example'), "smtp-lmtp!node!$domain/user1%2";
	$slapd->change(modify_entry('user1', 'replace: mail', "mail: user1\@$domain", 'mail: new@m.example'));
	is +($sync->once)[0], 0, 'when all of it can be used';
	is $sync->find($_), undef, "... $_ is gone" for 'one@a.example', 'two@z.example';
	is $domains->(), "$domain m.example";
	# by one that stays
	$sync->start;
	ok $sync->hears(qr/in step/);
	$slapd->change(modify_entry('user2', 'add: mail', 'mail:: YQBi', 'mail: last@m.example'));
	my $deadline = time + 10 * $slow;
	1 until defined $sync->find('last@m.example') || time > $deadline;
	is $sync->find('last@m.example'), "smtp-lmtp!node!$domain/user2%2", 'so it is with a NUL';
	is $sync->stop, 0;
};

subtest 'two entries with one entryUUID, as a copied line of a dump makes them' => sub {
	my $uuid = '991be560-79fe-1041-8fdf-07869247b569';
	my $twin = sub ($name) { RealSlapd::account($name) =~ s/\n\n/\nentryUUID: $uuid\n\n/r };
	my $said_so = qr/^ldapsync: rule accounts: "mail=berta\@[^"]*": has the entryUUID of "mail=anna\@[^"]*", and is not copied: lookups of it/m;
	my $slapd = RealSlapd->new(users => 3, aliases => 0, no_tls => 1, ldif => $twin->('anna') . $twin->('berta'))->start;
	for my $way ({}, { environment => 1 }) {
		my $sync = LdapSync->new($slapd, %$way, settings => "compare 1s\n");
		my $box = sub ($name) { $sync->find("$name\@$domain") // 'missing' };
		for my $run (1 .. 3) {
			my ($exit, $said) = $sync->once;
			is $exit, 65, "run $run: is told by the exit status" or diag $said;
			like $said, $said_so, '... and by a line';
			is $box->('anna'), "smtp-lmtp!node!$domain/anna%2", '... the first of them is there';
			ok $sync->cannot_tell("berta\@$domain"), '... and mail for the other one is not sent back';
		}
		$sync->start;
		ok $sync->hears($said_so, 10 * $slow), 'one that stays says so';
		for my $name (qw(berta anna)) {
			$slapd->change("dn: mail=$name\@$domain,$tree\nchangetype: modify\nreplace: mailbox\nmailbox: new/$name\n\n");
			$slapd->add_account("behind-$name");
			cmp_ok seconds_until($sync, "behind-$name\@$domain", "smtp-lmtp!node!$domain/behind-$name%2"), '<', 90, "$name changes";
			ok $sync->cannot_tell("berta\@$domain"), '... which takes nothing from the first';
		}
		cmp_ok seconds_until($sync, "anna\@$domain", 'smtp-lmtp!node!new/anna%2'), '<', 90, 'a change of the first comes';
		$slapd->remove('anna');
		cmp_ok seconds_until($sync, "berta\@$domain", 'smtp-lmtp!node!new/berta%2'), '<', 90, 'when the first is gone the other one is copied';
		cmp_ok seconds_until($sync, "anna\@$domain", undef), '<', 90, '... in its place';
		is $sync->stop, 0;
		is +($sync->once)[0], 0, 'and nothing is wrong any more';
		$slapd->remove("behind-$_") for qw(anna berta);
		$slapd->stop;
		$slapd->reload(RealSlapd::suffix_entries() . join '', map { $twin->($_) } qw(anna berta));
		$slapd->start;
	}
};

# slapd itself may do so when it is stopped as a rename comes to it from another one.
subtest 'an entry that a server has under its old name as well' => sub {
	my $uuid = '991be560-79fe-1041-8fdf-07869247b569';
	my $named = sub ($name) { RealSlapd::account($name, mailbox => 'm/1') =~ s/\n\n/\nentryUUID: $uuid\n\n/r };
	my $slapd = RealSlapd->new(users => 3, aliases => 0, no_tls => 1, ldif => $named->('new'))->start;
	my $sync = LdapSync->new($slapd, settings => "compare 1s\n");
	my $first = LdapSync->new($slapd, settings => "compare 1s\n");
	is +($sync->once)[0], 0;
	$slapd->stop;
	$slapd->reload(RealSlapd::suffix_entries() . join '', RealSlapd::account('user1'), map { $named->($_) } qw(old new));
	$slapd->start;
	is +($sync->once('--allow-shrink'))[0], 65;
	is $sync->find("new\@$domain"), 'smtp-lmtp!node!m/1%2', 'a map that has the new name keeps it';
	is $sync->find("old\@$domain"), 'smtp-lmtp!node!m/1%2', '... beside the old one';
	$first->start;
	ok $first->hears(qr/^\d+ records: \d+ added/m, 10 * $slow);
	like $first->said, qr/^5 records: 5 added/m, 'a map that is made has both at once';
	ok $first->cannot_tell("new\@$domain"), '... and cannot tell of the new one';
	$slapd->remove('old');
	cmp_ok seconds_until($first, "new\@$domain", 'smtp-lmtp!node!m/1%2'), '<', 90, '... until the old one is gone';
	cmp_ok seconds_until($first, "old\@$domain", undef), '<', 90;
	is $first->stop, 0;
	is +($sync->once)[0], 0;
	is $sync->difference, '', 'then all is well';
};

subtest 'other rules' => sub {
	my $slapd = RealSlapd->new(users => 5)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	$sync->{rules} = LdapSync::usual_rules() =~ s/node!/other!/r;
	$sync->configure;
	is +($sync->once)[0], 0;
	is $sync->find("user1\@$domain"), "smtp-lmtp!other!$domain/user1%2", 'another template is used for all';
	$sync->{rules} = LdapSync::usual_rules() =~ s/rule aliases.*//sr;
	$sync->configure;
	is +($sync->once)[0], 0;
	is_deeply [sort keys $sync->map->%*], [map { "user$_\@$domain" } 1 .. 5], 'a rule that is gone leaves nothing';
	$sync->{rules} = LdapSync::usual_rules();
	$sync->configure;
	is +($sync->once)[0], 0;
	equal $sync, 'and all is as before';
	system("$ENV{BUILD_DIR}/db/dbupdate -t btree $sync->{map} delete user1\@$domain >/dev/null 2>&1");
	system("$ENV{BUILD_DIR}/db/dbupdate -t btree $sync->{map} set user2\@$domain elsewhere >/dev/null 2>&1");
	system("$ENV{BUILD_DIR}/db/dbupdate -t btree $sync->{map} set stranger\@$domain elsewhere >/dev/null 2>&1");
	is $sync->find("stranger\@$domain"), 'elsewhere', 'somebody changed the map';
	is +($sync->once)[0], 0;
	equal $sync, 'which is put right';

	$sync->start;
	ok $sync->hears(qr/in step/);
	$sync->_put('other', "stranger\@$domain elsewhere\n");
	is system("$ENV{BUILD_DIR}/db/newdb -s -l @{[$sync->dir]}/other >/dev/null 2>&1"), 0, 'another map';
	ok rename($sync->dir . '/other.db', "$sync->{map}.db"), 'is put in its place';
	$slapd->change(removal('user3'));
	becomes_equal $sync, 'one that stays does not write differences into it, but all that is to be there', 20;
	ok $sync->hears(qr/was changed by another program, and is made equal to the directory again/), '... and says so';
	is $sync->stop, 0;
};

subtest 'served domains' => sub {
	my $ldif = join '', map { "dn: o=$_,$RealSlapd::hosting\nobjectClass: organization\no: $_\n\n" } 'two.example', 'Three.example';
	my $slapd = RealSlapd->new(users => 2, ldif => $ldif)->start;
	my $sync = LdapSync->new($slapd);
	my $d = $sync->dir;
	$sync->_put('command', "#!/bin/sh\ntest ! -e $d/fail || exit 3\ncat \"\$1\" >>$d/ran\necho >>$d/ran\n");
	chmod 0755, "$d/command";
	my $domains = sub { open my $fh, '<', "$d/domains" or return []; [grep { !/^#/ } map { chomp; $_ } <$fh>] };
	my $runs = sub { open my $fh, '<', "$d/ran" or return 0; scalar grep { /^$/ } <$fh> };
	$sync->{settings} = "domains $d/domains\ndomains_command $d/command $d/domains\n";
	$sync->configure;
	is +($sync->once)[0], 0;
	is_deeply $domains->(), [$domain], 'those of the keys';
	is $runs->(), 1, 'the command ran';
	is +($sync->once)[0], 0;
	is $runs->(), 1, 'not without need';
	chmod 0640, "$d/domains";
	$sync->{settings} .= "domains_format {domain} relaytarget +\n";
	$sync->{rules} .= "rule domains\nfilter (&(objectClass=organization)(o=*.*))\ndomain {o}\n";
	$sync->configure;
	is +($sync->once)[0], 0;
	is_deeply $domains->(), [map { "$_ relaytarget +" } $domain, 'three.example', 'two.example'], 'or those that a rule names, in a form of its own';
	is $runs->(), 2, 'the command ran again';
	is +(stat "$d/domains")[2] & 07777, 0640, 'the mode of the file stays';
	$sync->start;
	ok $sync->hears(qr/in step/);
	$slapd->change("dn: o=four.example,$RealSlapd::hosting\nobjectClass: organization\no: four.example\n\n");
	my $deadline = Time::HiRes::time() + 10;
	Time::HiRes::sleep(0.02) until $runs->() == 3 || Time::HiRes::time() > $deadline;
	is $runs->(), 3, 'while it stays';
	is scalar $domains->()->@*, 4;
	$sync->stop;
	$sync->_put('fail', '');
	$slapd->change("dn: o=five.example,$RealSlapd::hosting\nobjectClass: organization\no: five.example\n\n");
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'a command that fails';
	like $said, qr/command: ended with status 3/;
	unlink "$d/fail";
	is +($sync->once)[0], 0;
	is $runs->(), 4, 'is run again the next time';
	$sync->{rules} =~ s/o=\*\.\*/o=nothing/;
	$sync->configure;
	($exit, $said) = $sync->once;
	is $exit, 75, 'an empty list is not written';
	like $said, qr/5 of 5 domains would be removed/;
	is scalar $domains->()->@*, 5;
};

subtest 'map and list of domains change together, or neither does' => sub {
	my @domains = map { "x$_.example" } 1 .. 60;
	my $slapd = RealSlapd->new(users => 2, ldif => join '', map { "dn: o=$_,$RealSlapd::hosting\nobjectClass: organization\no: $_\n\n" } @domains)->start;
	my $sync = LdapSync->new($slapd);
	my $d = $sync->dir;
	my $domains = sub { open my $fh, '<', "$d/domains" or return []; [sort grep { !/^#/ } map { chomp; $_ } <$fh>] };
	my $wait_for = sub ($n) {
		my $deadline = Time::HiRes::time() + 20;
		Time::HiRes::sleep(0.02) until $domains->()->@* == $n || Time::HiRes::time() > $deadline;
		return scalar $domains->()->@*;
	};
	$sync->{settings} = "domains $d/domains\n";
	$sync->{rules} .= "rule domains\nfilter (&(objectClass=organization)(o=x*.example))\ndomain {o}\n";
	$sync->configure;
	is +($sync->once)[0], 0;
	is_deeply $domains->(), [sort @domains];
	my $before = $sync->map;
	$slapd->change(removal('user1') . join '', map { "dn: o=$_,$RealSlapd::hosting\nchangetype: delete\n\n" } @domains[0 .. 54]);
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'too many domains would go';
	like $said, qr/55 of 60 domains would be removed; nothing was changed; --allow-shrink/, '... it is said';
	is_deeply $sync->map, $before, '... and nothing is changed indeed, nor in the map';
	$sync->start;
	is $sync->ended(20), 75, 'one that stays ends by it';
	is_deeply $sync->map, $before;
	is scalar $domains->()->@*, 60;
	$sync->{options} = ['--allow-shrink'];
	$sync->start;
	is $wait_for->(5), 5, 'and writes the list when that is allowed';
	equal $sync, 'and the map';
	unlink "$d/domains";
	is $wait_for->(5), 5, 'a list that was deleted is written again';
	is $sync->stop, 0;
	unlink "$d/domains";
	is +($sync->once)[0], 0;
	is scalar $domains->()->@*, 5, 'also by one refresh';
	$sync->_put('domains', "elsewhere.example\n");
	is +($sync->once)[0], 0;
	is_deeply $domains->(), [sort @domains[55 .. 59]], 'as is what others wrote into it';
	{
		local $sync->{settings} = "domains $d/ldapsync.conf\n";
		$sync->configure;
		($exit, $said) = $sync->once;
		is $exit, 73, 'the configuration itself is no list of domains';
		like $said, qr{^ldapsync: \Q$d\E/ldapsync.conf:1: this is no list of domains; move it away, or name another file$}m;
	}
	$sync->configure;
	unlink "$d/domains";
	$sync->start;
	is $wait_for->(5), 5, 'and by one that begins to stay';
	is $sync->stop, 0;
};

subtest 'a signal ends it, whatever it waits for' => sub {
	my $slapd = RealSlapd->new(users => 2)->start;
	my $sync = LdapSync->new($slapd);
	my $d = $sync->dir;
	my $runs = sub {
		my $deadline = Time::HiRes::time() + 20;
		Time::HiRes::sleep(0.02) until -s "$d/pid" || Time::HiRes::time() > $deadline;
		return -s "$d/pid" ? qx{cat $d/pid} + 0 : undef;
	};
	$sync->_put('command', "#!/bin/sh\necho \$\$ >$d/pid.new\nmv $d/pid.new $d/pid\nsleep 600 & wait\n");
	chmod 0755, "$d/command";
	$sync->{settings} = "domains $d/domains\ndomains_command $d/command\n";
	$sync->configure;
	$sync->start;
	my $command = $runs->();
	is $sync->stop, 0, 'while its command runs';
	ok !kill(0, $command), '... which is ended, too';
	unlink "$d/pid", "$sync->{map}.db", "$d/domains";
	my $pid = fork // die;
	if ($pid == 0) {
		open STDOUT, '>', '/dev/null';
		exec $sync->program, '-f', $sync->config, '-1';
	}
	$command = $runs->();
	kill 'TERM', $pid;
	my $deadline = Time::HiRes::time() + 20;
	Time::HiRes::sleep(0.01) until waitpid($pid, POSIX::WNOHANG) == $pid || Time::HiRes::time() > $deadline;
	is $? >> 8, 75, 'one refresh, too';
	ok !kill(0, $command);

	$sync->{settings} = '';
	$sync->configure;
	$sync->forget;
	$sync->start;
	ok $sync->hears(qr/in step/, 20 * $slow), 'in step';
	my ($worker) = split ' ', qx{cat /proc/$sync->{pid}/task/$sync->{pid}/children};
	ok $worker, 'a process works on the map';
	kill 'STOP', $worker;
	$slapd->add_account('new');
	# the change is given to the worker, in whose socket it stays
	my $waits = Time::HiRes::time() + 20;
	Time::HiRes::sleep(0.02) until waits_for_worker($sync->{pid}) || Time::HiRes::time() > $waits;
	cmp_ok Time::HiRes::time(), '<', $waits, '... which is waited for';
	my $start = Time::HiRes::time();
	is $sync->stop, 0, 'while the process that works on the map is stopped';
	cmp_ok Time::HiRes::time() - $start, '<', 15, '... soon';
	kill $_, $worker for qw(KILL CONT);
	is +($sync->once)[0], 0;
	equal $sync, 'nothing is lost';
};

subtest 'silence' => sub {
	my $slapd = RealSlapd->new(users => $users)->start;
	# what a busy machine may take to answer is no silence; without SASL, which asks for the name of this host at each attempt
	my $sync = LdapSync->new($slapd, access => "uri @{[$slapd->uri('ldap')]}\ntimeout 4\n", settings => "silence 1\n")->start;
	becomes_equal $sync, 'before';
	$slapd->signal('STOP');
	ok $sync->hears(qr/has sent nothing for/, 60), 'a silent server is noticed';
	ok $sync->hears(qr/Timed out/, 60), 'and nothing waits for ever';
	is scalar keys $sync->map->%*, 2 * $users + 2, 'the map stays';
	$slapd->signal('CONT');
	change_everything($slapd, 1);
	becomes_equal $sync, 'when it speaks again', 20;
	$sync->forget;
	ok !$sync->hears(qr/nothing for/, 5.5), 'quiet, but not silent, is no trouble';
};

subtest 'a connection that is cut, at any point' => sub {
	my $slapd = RealSlapd->new(users => $users)->start;
	require Relay;
	for my $k (some_of(3, 0, 1, 14, 15, 200, 1000, 3000, 5000)) {
		my $relay = Relay->new(port => $slapd->{port}, cut => [($k) x 3]);
		my $sync = LdapSync->new($slapd, access => "uri ldap://127.0.0.1:" . $relay->port . "\n");
		my ($exit, $said) = $sync->once;
		is $exit, 75, "after $k bytes";
		ok !-e "$sync->{map}.db", 'nothing is done by halves: there is no map that would answer "not found"';
		$relay->stop;
	}
	my $relay = Relay->new(port => $slapd->{port}, cut => [map { $_ * 900 } 1 .. 60]);
	my $sync = LdapSync->new($slapd, access => "uri ldap://127.0.0.1:" . $relay->port . "\n");
	my @exits;
	push @exits, ($sync->once)[0] until @exits == 20 || ($exits[-1] // 75) == 0;
	is $exits[-1], 0, 'cut again and again, in the end it gets there' or diag "@exits";
	$sync->{access} = "uri @{[$slapd->uri('ldap')]}\n";
	$sync->configure;
	is +($sync->once)[0], 0;
	equal $sync, 'the map equals the directory';
};

subtest 'a connection that falls silent, at any point' => sub {
	my $slapd = RealSlapd->new(users => $users)->start;
	my @started;
	for my $way (['ldap', 'port', 0, 14, 17, 20, 100, 1000, 3001], ['ldaps', 'tls_port', 1500, 2000, 2500, 4000, 8000]) {
		my ($scheme, $port, @k) = @$way;
		for my $k (some_of(3, @k)) {
			my $relay = Relay->new(port => $slapd->{$port}, stall => [($k) x 99]);
			my $sync = LdapSync->new($slapd, access => "uri $scheme://127.0.0.1:" . $relay->port . "\nnetwork_timeout 1\ntimeout 1\n"
				. "tls_ca_cert_file @{[$slapd->ca]}\n", settings => "silence 1\n")->start;
			push @started, [$relay, $sync, "$scheme, $k bytes"];
		}
	}
	for (@started) {
		my ($relay, $sync, $where) = @$_;
		ok $sync->hears(qr/Timed out|has sent nothing/, 20 * $slow), "$where: is noticed" or diag $sync->said;
		is $sync->stop, 0, '... and it still ends when told to';
		ok !-e "$sync->{map}.db", '... with nothing done by halves';
	}
};

subtest 'killed at random' => sub {
	my $slapd = RealSlapd->new(users => $users)->start;
	for my $type ('btree', $lmdb ? 'lmdb' : ()) {
		my $sync = LdapSync->new($slapd, type => $type);
		for my $n (1 .. (long() ? 10 : 3)) {
			$sync->start;
			my $until = Time::HiRes::time() + rand 0.15;
			while (Time::HiRes::time() < $until) {
				$slapd->change(modify_entry('user1', 'replace: mailbox', 'mailbox: m' . int rand 1e9));
			}
			$sync->stop('KILL');
			ok $sync->map, 'the map can be read' if $sync->find("user2\@$domain");
		}
		$sync->start;
		becomes_equal $sync, "$type: the map equals the directory in the end";
		$sync->stop;
	}
};

subtest 'trouble with the map' => sub {
	my $slapd = RealSlapd->new(users => $users)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	my $first = LdapSync->new($slapd);
	$first->{map} = $sync->{map};
	$first->configure;
	$first->start;
	ok $first->hears(qr/in step/);
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'a second one for the same map';
	like $said, qr/process $first->{pid} keeps this map already/;
	$first->stop;

	change_everything($slapd, 1);
	my $before = $sync->map;
	$said = qx{bash -c 'ulimit -f 8; exec $ENV{BUILD_DIR}/db/ldapsync -f @{[$sync->config]} -1' 2>&1};
	isnt $? >> 8, 0, 'a full disk';
	like $said, qr/users\.db/, 'is told';
	is_deeply $sync->map, $before, 'the map is as it was';
	is +($sync->once)[0], 0;
	equal $sync, 'and follows when there is room';

	$sync->_put('dbases.conf', "fqdnroutes btree - - $sync->{map} -lm%\n");
	($exit, $said) = $sync->once;
	is $exit, 78, 'a map that newdb builds';
	like $said, qr/dbases\.conf:1: builds this map from its text/;
	$sync->_put('dbases.conf', "fqdnroutes lmdb - -r $sync->{map} -lm%\n");
	like +($sync->once)[1], qr/dbases\.conf:1: says type lmdb, not btree/, 'another type';
	$sync->_put('dbases.conf', "fqdnroutes btree - -r $sync->{map} -m%\n");
	like +($sync->once)[1], qr/dbases\.conf:1: lookups fold keys in another way/, 'other keys';
	$sync->_put('dbases.conf', "fqdnroutes btree - -r $sync->{map} -lm%\n");
	$slapd->change(RealSlapd::alias_entry("bad", "no route"));
	($exit, $said) = $sync->once;
	is $exit, 65, 'values are checked for what the relation needs';
	like $said, qr/"mail=bad\@.*": bad\@$domain: /, 'with the name of the entry';
};

subtest 'lists that ZMailer\'s router cannot read' => sub {
	my $slapd = RealSlapd->new(users => 1, aliases => 0)->start;
	my $sync = LdapSync->new($slapd, rules => "rule lists\nfilter (mail=team\@*)\nkey {mail}\nvalue {maildrop}\n");
	local $ENV{ZCONFIG} = $sync->dir . '/zmailer.conf';
	$sync->_put('zmailer.conf', 'MAILSHARE=' . $sync->dir . "\n");
	$sync->_put('router.cf', '');
	$sync->_put('dbases.conf', "fqdnaliases btree - -r $sync->{map} -lm%\n");
	$slapd->change(RealSlapd::alias_entry('team', 'root@b.example, \lead'));
	my ($exit, $said) = $sync->once;
	is $exit, 0, 'are copied';
	like $said, qr/^ldapsync: rule lists: "mail=team\@.*": team\@$domain: warning: ZMailer's router sends mail for this list to root/m, '... with a warning';
	is $sync->map->{"team\@$domain"}, 'root@b.example, \lead', '... as they are';
	($exit, $said) = $sync->once;
	is $exit, 0, '... and are no trouble';
};

subtest 'refused' => sub {
	my $slapd = RealSlapd->new(users => 2)->start;
	my $refused = sub ($name, $status, $pattern, %o) {
		my $sync = LdapSync->new($slapd, %o);
		my ($exit, $said) = $sync->once;
		is $exit, $status, $name;
		like $said, $pattern;
	};
	my $rules = LdapSync::usual_rules();
	$refused->('no server', 75, qr/Can't contact LDAP server \(-1\); does the server run, and is uri where it listens/, access => "uri ldapi://%2Fnonexistent\n");
	$refused->('wrong password', 75, qr/Invalid credentials \(49\); .*binddn, passwdfile/, access => "uri @{[$slapd->uri('ldapi')]}\nbinddn $RealSlapd::reader\npasswd wrong\n");
	$refused->('a server that does not know the protocol', 75, qr/rule accounts: .*\(12\), .*; .*give it the overlay syncprov|Sync State Control/,
		rules => "rule accounts\nbase cn=Subschema\nscope base\nfilter (objectClass=*)\nkey {cn}\nvalue x\n");
	my $limited = RealSlapd->new(users => 5, config => "limits anonymous size=2\n")->start;
	my ($limit, $words) = LdapSync->new($limited, access => "uri @{[$limited->uri('ldap')]}\nbind no\n")->once;
	is $limit, 75, 'a limit of the server';
	like $words, qr/rule \w+: Size limit exceeded \(4\); .*olcLimits/, '... with the place where it is set';
	$refused->('no rules', 78, qr/ldapsync\.conf: there is no rule/, rules => '');
	$refused->('a damaged template', 78, qr/ldapsync\.conf:\d+: value: column 1: "\{" without/, rules => "rule a\nfilter (a=b)\nkey {mail}\nvalue {mail\n");
	$refused->('the filter of a map', 78, qr/^ldapsync: \S+ldapsync\.conf:\d+: filter: "%" stands for nothing here, as no key is asked for; "%" itself is \\25\n\z/,
		rules => "rule a\nfilter (mail=%s)\nkey {mail}\nvalue x\n");
	$refused->('an unknown word', 78, qr/ldapsync\.conf:7: unknown keyword "colour"/, settings => "colour red\n");
	is system("$ENV{BUILD_DIR}/db/ldapsync -1 2>/dev/null") >> 8, 64, 'no file';
	is system("$ENV{BUILD_DIR}/db/ldapsync -f /nonexistent -1 2>/dev/null") >> 8, 66, 'a file that is not there';
	is system("$ENV{BUILD_DIR}/db/ldapsync -f /nonexistent 2>/dev/null") >> 8, 64, 'neither -1 nor -w';
};

done_testing;
