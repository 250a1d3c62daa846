#!/usr/bin/perl
# Mail to a Courier alias and to a Courier account, from a real directory to a real Dovecot, with slapd stopped in
# the middle: through the maps that ldapsync keeps it flows on, through maps that ask the directory it is deferred; it is never bounced.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use LdapSync;
use RealDovecot;
use RealServer;
use RealSlapd;
use Spool;

my $build = $ENV{BUILD_DIR} //= "$FindBin::Bin/../..";
my $missing = RealSlapd::missing() // RealDovecot::missing();
plan skip_all => $missing if $missing;
plan skip_all => 'built without LDAP' unless -x "$build/db/ldapsync";

my $domain = $RealSlapd::domain;
my $store = RealDovecot->start(count => 3);
my $login = sub ($user) { "$user\@" . RealDovecot::DOMAIN };
my $slapd = RealSlapd->new(users => 0, aliases => 0, ldif => RealSlapd::account('ann', mailbox => $login->('user1'))
	. RealSlapd::account('bob', mailbox => $login->('user2')) . RealSlapd::alias_entry('team', "ann\@$domain", "bob\@$domain"));
$slapd->start;
my $directory = RealServer::directory();
my $top = "$directory";
my $route = 'lmtp!store!{mailbox:local}%2@{mailbox:domain}';
my $message = 0;
delete $ENV{ZCONFIG};

my %rules = (
	aliases => "rule aliases\nfilter (objectClass=CourierMailAlias)\nkey {mail}\nvalue {maildrop}\nvalues many\n",
	accounts => "rule accounts\nfilter (objectClass=CourierMailAccount)\nkey {mail}\nvalue $route\n",
);
my %sync = map { $_ => LdapSync->new($slapd, rules => $rules{$_}) } keys %rules;

# An installation of its own; returns its directory.
sub installation($name, $dbases) {
	my $dir = "$top/$name";
	mkdir $dir or die "$dir: $!\n";
	RealServer::write_file("$dir/dbases.conf", $dbases);
	RealServer::write_file("$dir/routes", "$domain error!nosuchuser\n");
	RealServer::write_file("$dir/router.conf", "hostname=mail.example\n");
	RealServer::write_file("$dir/scheduler.conf",
		"lmtp/*\n    command=\"$build/channel/lmtp -c \$channel -F UNIX:$store->{socket}\"\n    interval=1m\n    expiry=3d\n");
	Spool->new("$dir/post");
	system("cd $dir && exec $build/db/newdb -s -l routes >/dev/null") == 0 or die "newdb failed\n";
	return $dir;
}

my $synced = installation('synced', "fqdnaliases btree - -r $sync{aliases}{map} -lm\nfqdnroutes btree - -r $sync{accounts}{map} -lm%:\nroutesdb btree - -l routes -lm%:d pathalias\n");
my $direct = installation('direct', "fqdnaliasesldap ldap - - $top/alias.ldap -lm\nfqdnroutes ldap - - $top/account.ldap -lm%:\nroutesdb btree - -l routes -lm%:d pathalias\n");
# A server that answers has time for it, however busy the machine and its disk are; one that does not costs no more than this.
sub patience($connect, $answer) {
	my $server = 'uri ' . $slapd->uri('ldap') . "\nbase $RealSlapd::hosting\nnetwork_timeout $connect\ntimeout $answer\n";
	RealServer::write_file("$top/alias.ldap", "${server}filter (&(mail=%s)(objectClass=CourierMailAlias))\nattr maildrop\n");
	RealServer::write_file("$top/account.ldap", "${server}filter (&(mail=%s)(objectClass=CourierMailAccount))\nresult $route\n");
}
patience(20, 30);

# Exit status of enqueue for a message to this address; its text is "message N", N the number that $message has then.
sub enqueue($dir, $to) {
	$message++;
	# by a file: an address may be refused before the text is read, and with a pipe the status would be that of the write
	RealServer::write_file("$dir/in", "From: ann\@example.org\nSubject: message $message\n\nmessage $message of $$\n");
	return system("cd $dir && exec $build/channel/enqueue -P post -f dbases.conf -s ann\@example.org '$to' <in >out 2>&1") >> 8;
}

sub said($dir) { Spool::slurp("$dir/out") // '' }

sub queued($dir) { scalar grep { -f } glob "$dir/post/{transport,queue,postman,router,public}/* $dir/post/{transport,queue}/*/*" }

sub run_queue($dir) {
	is system("cd $dir && exec $build/channel/runqueue -P post -f scheduler.conf -1 >out 2>&1"), 0, 'the queue runs' or diag said($dir);
}

# The message that was queued last is in the mailboxes of these users, once in each.
sub is_in($dir, $name, @boxes) {
	run_queue($dir);
	my $text = "message $message of $$";
	for my $box (@boxes) {
		my ($user, $folder) = split /\+/, $box;
		my $count = grep { /^\Q$text\E$/m } $store->messages($login->($user), $folder);
		is $count, 1, "$name: in the mailbox of $box";
	}
	is queued($dir), 0, 'nothing is left in the queue, nobody got a report';
}

sub arrives($dir, $to, @boxes) {
	is enqueue($dir, $to), 0, "$to: queued" or diag said($dir);
	is_in($dir, $to, @boxes);
}

sub is_deferred($dir, $to, $name) {
	is enqueue($dir, $to), 75, "$to, $name: deferred" or diag said($dir);
	like said($dir), qr/could not tell|Timed out|Can't contact|not asked again/, 'and why is told';
	is queued($dir), 0, 'nothing is queued';
}

for my $s (values %sync) {
	$s->start;
	ok $s->hears(qr/in step/), 'a map is in step with the directory';
}
like qx{cd $direct && $build/db/dblookup -f dbases.conf -r -v team\@$domain 2>&1},
	qr/if these are 2 values of the directory, all but one are lost by ZMailer's router/, 'what no script can mend is told';
unlike qx{cd $synced && $build/db/dblookup -f dbases.conf -r -v team\@$domain 2>&1}, qr/lost by/, '... and only that';
for my $dir ($synced, $direct) {
	subtest +($dir =~ s{.*/}{}r) . ', with slapd' => sub {
		arrives($dir, "ann\@$domain", 'user1');
		arrives($dir, "bob+News\@$domain", 'user2+News');
		arrives($dir, "team\@$domain", 'user1', 'user2');
		is enqueue($dir, "nobody\@$domain"), 67, 'an unknown address is refused';
		is queued($dir), 0, 'and not queued';
	};
}

my %away = (silent => sub { $slapd->signal('STOP') }, gone => sub { $slapd->stop('KILL') });
for my $how ('silent', 'gone') {
	subtest "slapd is $how" => sub {
		is enqueue($direct, "ann\@$domain"), 0, 'queued a moment before';
		$away{$how}->();
		is_in($direct, 'what was queued before', 'user1');
		arrives($synced, "ann\@$domain", 'user1');
		arrives($synced, "team\@$domain", 'user1', 'user2');
		is enqueue($synced, "nobody\@$domain"), 67, 'the synced map knows who is unknown';
		patience(1, 2);
		is_deferred($direct, $_, "slapd is $how") for "ann\@$domain", "team\@$domain", "nobody\@$domain";
		patience(20, 30);
		$slapd->signal('CONT') if $how eq 'silent';
		$slapd->start if $how eq 'gone';
		arrives($direct, "team\@$domain", 'user1', 'user2');
	};
}

subtest 'a directory that falls silent in mid-sentence' => sub {
	require Relay;
	patience(1, 2);
	my $account = Spool::slurp("$top/account.ldap");
	for my $k (16, 20, 40, map { 31 * $_ } 37 .. 43) {
		my $scheme = $k < 1000 ? 'ldap' : 'ldaps';
		my $relay = Relay->new(port => $slapd->{$k < 1000 ? 'port' : 'tls_port'}, stall => [($k) x 9]);
		RealServer::write_file("$top/account.ldap", $account =~ s/^uri .*/uri $scheme:\/\/127.0.0.1:@{[$relay->port]}\ntls_ca_cert_file @{[$slapd->ca]}/mr);
		is enqueue($direct, "ann\@$domain"), 75, "$scheme, after $k bytes: deferred" or diag said($direct);
	}
	is queued($direct), 0, 'nothing is queued';
	patience(20, 30);
	arrives($direct, "ann\@$domain", 'user1');
};

subtest 'somebody new' => sub {
	$slapd->add_account('carol', mailbox => $login->('user3'));
	arrives($direct, "carol\@$domain", 'user3');
	my $found = eval { RealServer::wait_for('the copy', 20, sub { $sync{accounts}->find("carol\@$domain") }) };
	arrives($synced, "carol\@$domain", 'user3');
};

is $sync{$_}->stop, 0, "$_: ldapsync ends when told to" for sort keys %sync;
$store->stop;
done_testing;
