#!/usr/bin/perl
# What ldapsync says, against a real slapd: each line is true at the moment, names its place, and says what to do; and it hears when
# it is told to stop, also while a server that is frozen lets it wait.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use POSIX ();
use Test::More;
use Time::HiRes ();
use RealSlapd;
use LdapSync;

LdapSync::skip_without();

my $slow = $LdapSync::slow;
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

# Runs a program; returns its exit status and all it said.
sub tool($name, @arguments) {
	my $said = qx{$ENV{BUILD_DIR}/$name @arguments 2>&1};
	return ($? >> 8, $said);
}

my $accounts = "rule accounts\nfilter (objectClass=CourierMailAccount)\nkey {mail}\nvalue smtp-lmtp!node!{mailbox}%2\n";

subtest 'a map that dbases.conf does not name' => sub {
	my $slapd = RealSlapd->new(users => 1, aliases => 0)->start;
	my $sync = LdapSync->new($slapd, rules => $accounts);
	my $dir = $sync->dir;
	my $warning = qr{ldapsync: $dir/users: warning: \S+/dbases\.conf has no line for this map: [^\n]*not checked};
	$sync->_put('dbases.conf', "fqdnroutes btree - -r $dir/user -lm%\n");
	my ($exit, $said) = $sync->once;
	is $exit, 0, 'beside the map: no failure';
	like $said, qr{^$warning; line 1, fqdnroutes, has $dir/user, which is missing: should it be this map\?$}m, '... and a warning, with the line that lacks its map';
	$sync->_put('user.db', '');
	like +($sync->once)[1], qr/^$warning$/m, '... or without such a line';
	$sync->_put('dbases.conf', "fqdnroute btree - -r $dir/users -lm%\n");
	like +($sync->once)[1], qr{^ldapsync: $dir/dbases\.conf:1:1: warning: routing never asks a relation "fqdnroute"; is fqdnroutes meant\?\n\d}, 'a mistyped relation';
	symlink $dir, "$dir/link";
	$sync->_put('dbases.conf', "fqdnroutes btree - -r $dir/link/users -lm%\n");
	unlike +($sync->once('-v'))[1], qr/warning/, 'a line that leads to the map by a link is one';

	unlink "$dir/dbases.conf", "$dir/user.db";
	mkdir "$dir/$_" for 'var', 'var/db';
	$sync->_put('zmailer.conf', "MAILVAR=$dir/var\n");
	local $ENV{ZCONFIG} = "$dir/zmailer.conf";
	my $elsewhere = sub ($text) { $sync->_put('var/db/dbases.conf', $text); ($sync->once)[1] };
	like $elsewhere->("fqdnroutes btree - -r $dir/user -lm%\n"), qr{^$warning; line 1, fqdnroutes, has $dir/user, which is missing}m, 'in its usual place';
	$sync->_put('user.db', '');
	unlike $elsewhere->("fqdnroutes btree - -r $dir/user -lm%\n"), qr/warning/, '... no word where no map is missed';
	like +($sync->once('-v'))[1], qr/^$warning$/m, '... but with -v';
	unlike $elsewhere->("fqdnroutes btree - -r $dir/users -lm%\n"), qr/warning/, '... nor where it is named';
	unlink "$dir/users.db";
	like $elsewhere->("fqdnaliases btree - -r $dir/users -lm%\n"), qr/: user1\@\S+: /, '... by which values are checked';
	like $elsewhere->("fqdnroutes bhash - -r $dir/users -lm%\n"), qr{\Aldapsync: warning: \S+/dbases\.conf:1: says type bhash, not btree\n1 record}, '... a contradiction is a warning';
	$elsewhere->("damaged\n");
	is +($sync->once)[0], 0, '... as is damage, which others tell of';

	my $nowhere = LdapSync->new($slapd);
	$nowhere->{map} = "$dir/none/users";
	$nowhere->configure;
	($exit, $said) = $nowhere->once;
	is $exit, 73, 'a directory that is not there';
	is $said, "ldapsync: $dir/none/users: the directory that \"map\" names is not there\n", '... is told as that';
};

subtest 'who has trouble with a copy hears what makes it again' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0)->start;
	for my $type ('btree', qx{grep -c 'HAVE_LMDB 1' $ENV{BUILD_DIR}/config.h} > 0 ? 'lmdb' : ()) {
		my $sync = LdapSync->new($slapd, type => $type, rules => $accounts);
		my ($map, $config) = ($sync->{map}, $sync->config);
		my ($file, $user) = ($type eq 'lmdb' ? "$map.lmdb" : "$map.db", "user1\@$domain");
		my $again = qr/ldapsync -f \Q$config\E -1/;
		$sync->_put('dbases.conf', "fqdnroutes $type - -r $map -lm%\n");
		my @lookup = ('db/dblookup', '-f', $sync->dir . '/dbases.conf', 'fqdnroutes', $user);
		like +(tool(@lookup))[1], qr/the map is not built yet \(.*ldapsync -1/, "$type: before the first copy";
		is +($sync->once)[0], 0;
		is +(tool('db/dblookup', '--dump', $map))[1] =~ s/\n.*//sr, "# $file, a copy; \"ldapsync -f $config -1\" makes it again", '... the head of a dump';
		like +(tool('db/newdb', $map))[1], qr/says -r; use "$again"/, '... newdb';
		unlink $file;
		like +(tool(@lookup))[1], qr/No such file or directory; make the map by "$again"$/m, '... a map that is gone';
		like +(tool('channel/zlmtp-check', '-o', 'maps', '-d', $sync->dir . '/dbases.conf'))[1], qr/No such file or directory; make it by $again/, '... zlmtp-check';
		like +(tool('db/dbupdate', $map, 'recover'))[1], qr/cannot be repaired: No such file or directory; make it by "$again"/, '... dbupdate recover';
		is +($sync->once)[0], 0, '... and so it is';
		open my $fh, '+<', $file or die "$file: $!";
		seek $fh, $type eq 'lmdb' ? 10 : 5000, 0;
		print $fh 'X' x 20;
		close $fh;
		like +(tool(@lookup))[1], qr/damaged.*; run "dbupdate \.\.\. recover", then "$again"$/m, '... a damaged map';
		my ($exit, $said) = $sync->once;
		is $exit, 65, '... which ldapsync does not overwrite';
		like $said, qr/run "dbupdate -t $type \Q$sync->{map}\E recover"$/m;
		like +(tool('db/dbupdate', $map, 'recover'))[1], qr/damaged; make it again by "$again"$/m, '... dbupdate recover puts it aside';
		is +($sync->once)[0], 0;
		is scalar keys $sync->map->%*, 3, '... and it is there again';
		chmod 0000, "$map.ldapsync";
		if ($> == 0) {
			chmod 0755, $sync->dir;
			unlink $file, $sync->dir . '/dbases.conf';
			like qx{setpriv --reuid 65534 --clear-groups $ENV{BUILD_DIR}/db/dblookup -t $type $map $user 2>&1}, qr/make the map by "ldapsync -1"$/m,
				'... who may not read the lock hears at least of the program';
		}
	}
};

# Has the process its own way with this signal?
sub takes($pid, $signal) {
	open my $status, '<', "/proc/$pid/status" or return 0;
	my ($caught) = do { local $/; <$status> // '' } =~ /^SigCgt:\s*[0-9a-f]*([0-9a-f]{4})$/m or return 0;
	return hex($caught) & 1 << POSIX->can("SIG$signal")->() - 1;
}

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
		# it takes the signal, has the lock, and then a socket whose other end says nothing; those of this test come before
		my $waits = sub { takes($pid, $signal) && grep { (readlink // '') =~ /^socket:/ } glob "/proc/$pid/fd/*" };
		Time::HiRes::sleep(0.01) until $waits->() || waitpid($pid, 1) == $pid;
		my $start = Time::HiRes::time();
		kill $signal, $pid;
		waitpid $pid, 0;
		is $?, ($options eq '-1' ? 75 : 0) << 8, "$options ends by SIG$signal";
		cmp_ok Time::HiRes::time() - $start, '<', 10 * $slow, '... at once';
		$options = '-w';
	}
	is $sync[1]->stop, 0, 'and so does one that follows it';

	my $dir = $sync[0]->dir;
	$sync[0]->_put('asks.ldap', "uri @{[$slapd->uri('ldapi')]}\nbase $RealSlapd::hosting\nfilter (mail=%s)\nattr mail\ntimeout 1h\nnetwork_timeout 1h\n");
	$sync[0]->_put('dbases.conf', "fqdnroutes ldap - - $dir/asks.ldap -lm%\n");
	for my $program (['db/dblookup', '-f', "$dir/dbases.conf", '-r', "user1\@$domain"], ['db/dblookup', '-t', 'ldap', "$dir/asks.ldap", "user1\@$domain"],
		['channel/enqueue', '-m', '-P', "$dir/po", '-f', "$dir/dbases.conf", '-s', '', "user1\@$domain"]) {
		my $pid = fork // die;
		if ($pid == 0) {
			$SIG{INT} = 'DEFAULT';
			open STDIN, '<', $sync[0]->config;
			open STDERR, '>', "$dir/log";
			exec "$ENV{BUILD_DIR}/$program->[0]", $program->@[1 .. $#$program];
		}
		Time::HiRes::sleep(0.01) until (grep { (readlink // '') =~ /^socket:/ } glob "/proc/$pid/fd/*") || waitpid($pid, 1) == $pid;
		my $start = Time::HiRes::time();
		kill 'INT', $pid;
		waitpid $pid, 0;
		is $?, 2, "$program->[0] ends by SIGINT";
		cmp_ok Time::HiRes::time() - $start, '<', 10 * $slow, '... at once';
	}
	is +(tool('db/newdb', '-sf', "$dir/dbases.conf"))[0], 0, 'newdb -f asks no directory';
	is +(tool('channel/zlmtp-check', '-o', 'maps', '-d', "$dir/dbases.conf", '-v'))[1] =~ s/.*\(ldap\): ([^\n]*).*/$1/sr, 'its settings can be used; the server is not asked',
		'zlmtp-check neither, and says so';
	$slapd->signal('CONT');
};

done_testing;
