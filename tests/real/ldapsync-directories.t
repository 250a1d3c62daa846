#!/usr/bin/perl
# ldapsync and directories of other build: accesslog as session log, aliases, subordinate databases, limits of the server, SASL with a
# password; and enqueue with a map that ldapsync keeps, whatever happens to the directory.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Time::HiRes ();
use LdapSync;
use RealSlapd;

my $missing = RealSlapd::missing();
plan skip_all => $missing if $missing;
plan skip_all => 'built without LDAP' unless -x "$ENV{BUILD_DIR}/db/ldapsync";
$SIG{$_} = sub { exit 1 } for qw(INT TERM);

my $slow = $ENV{ZLMTP_SANITIZED} ? 4 : 1;
my $domain = $RealSlapd::domain;
my $tree = $RealSlapd::tree;
my $hosting = $RealSlapd::hosting;

sub removal($name) { "dn: mail=$name\@$domain,$tree\nchangetype: delete\n\n" }

subtest 'an accesslog as session log' => sub {
	my $log = File::Temp->newdir('/tmp/zs-log-XXXXXX');
	my $slapd = RealSlapd->new(users => 20, sessionlog => 0,
		global => "moduleload accesslog\ndatabase mdb\nmaxsize 1073741824\nsuffix cn=log\nrootdn cn=log\ndirectory $log\nindex reqStart,reqEnd,reqResult,objectClass,reqDN eq\n",
		overlays => "syncprov-sessionlog-source cn=log\noverlay accesslog\nlogdb cn=log\nlogops writes\nlogsuccess TRUE\n")->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	$slapd->change(RealSlapd::account('new') . removal('user1') . removal('user2'));
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	is $sync->difference, '';
	$sync->start;
	ok $sync->hears(qr/in step/, 10 * $slow);
	$slapd->restart('KILL');
	$slapd->change(RealSlapd::account('newer') . removal('user3'));
	is $sync->difference_after(20 * $slow), '', 'also behind a crash';
	is $sync->stop, 0;
};

subtest 'alias objects are what they are, and not what they point to' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0)->start;
	$slapd->change("dn: cn=pointer,$tree\nobjectClass: alias\nobjectClass: extensibleObject\ncn: pointer\naliasedObjectName: mail=user1\@$domain,$tree\n\n");
	my $sync = LdapSync->new($slapd);
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	is $sync->difference, '';
	$slapd->remove('user1');
	is +($sync->once)[0], 0;
	is $sync->difference, '', 'one that dangles is no trouble';
};

subtest 'a subordinate database with a syncprov of its own' => sub {
	my $below = File::Temp->newdir('/tmp/zs-sub-XXXXXX');
	my $sub = "o=sub.example,$hosting";
	my $slapd = RealSlapd->new(users => 3, aliases => 0, global => "database mdb\nmaxsize 1073741824\nsuffix \"$sub\"\nsubordinate\n"
		. "rootdn \"$RealSlapd::root\"\ndirectory $below\nindex entryCSN,entryUUID,objectClass eq\noverlay syncprov\n")->start;
	$slapd->change("dn: $sub\nobjectClass: organization\no: sub.example\n\n" . RealSlapd::account('s1') =~ s/^dn: .*/dn: mail=s1\@$domain,$sub/r);
	# its changes have a contextCSN of their own, of which the server says nothing to who asks above it
	my ($exit, $said) = LdapSync->new($slapd)->once;
	is $exit, 75, 'a rule above both is refused';
	like $said, qr/the server leaves entries out that it has/, 'and that is said';
	my $sync = LdapSync->new($slapd, rules => join '', map { "rule r$_->[0]\nbase $_->[1]\nfilter (mail=*)\nkey {mail}\nvalue {mail}\nvalues many\n" }
		[1, $tree], [2, $sub]);
	my $expected = sub (@names) { return { map { ("$_\@$domain" => "$_\@$domain") } qw(abuse staff), @names } };
	($exit, $said) = $sync->once;
	is $exit, 0, 'a rule for each database' or diag $said;
	is $sync->difference($expected->(qw(user1 user2 user3 s1))), '', 'copies both';
	$slapd->change(RealSlapd::account('s2') =~ s/^dn: .*/dn: mail=s2\@$domain,$sub/r);
	$slapd->change("dn: mail=s1\@$domain,$sub\nchangetype: delete\n\n");
	$slapd->add_account('top');
	($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	is $sync->difference($expected->(qw(user1 user2 user3 s2 top))), '', 'and changes in both are there after one refresh';
};

subtest 'limits of the server are told, and nothing is written' => sub {
	my $slapd = RealSlapd->new(users => 30, aliases => 0, global => "", config => "limits dn.exact=\"cn=short,$RealSlapd::suffix\" size=5\n",
		ldif => "dn: cn=short,$RealSlapd::suffix\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: short\nuserPassword: short\n\n")->start;
	my $sync = LdapSync->new($slapd, access => "uri @{[$slapd->uri('ldapi')]}\nbinddn cn=short,$RealSlapd::suffix\npasswd short\n");
	my ($exit, $said) = $sync->once;
	is $exit, 75;
	like $said, qr/Size limit exceeded/;
	ok !-e "$sync->{map}.db";
};

subtest 'a domains_command that fails while ldapsync stays' => sub {
	my $slapd = RealSlapd->new(users => 3, aliases => 0, ldif => "dn: o=d.example,$hosting\nobjectClass: organization\no: d.example\n\n")->start;
	my $sync = LdapSync->new($slapd);
	my $d = $sync->dir;
	$sync->{settings} = "domains $d/domains\ndomains_command /bin/false\n";
	$sync->configure;
	$sync->start;
	ok $sync->hears(qr{/bin/false: ended with status 1}, 10 * $slow), 'is told';
	is $sync->difference_after(10 * $slow), '', 'the map is written nevertheless';
	$slapd->add_account('next');
	is $sync->difference_after(10 * $slow), '', 'and goes on';
	is $sync->stop, 0;
};

subtest 'enqueue answers from the map whatever happens to the directory' => sub {
	my $slapd = RealSlapd->new(users => 5, aliases => 0)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	my $d = $sync->dir;
	mkdir "$d/po" or die;
	mkdir "$d/po/$_" or die for qw(transport queue router deferred postman public freezer);
	$sync->_put('dbases.conf', "fqdnroutes btree - -r $sync->{map} -lm%\n");
	my $enqueue = sub ($to) {
		open my $fh, '|-', "$ENV{BUILD_DIR}/channel/enqueue -P $d/po -f $d/dbases.conf -s a\@x.example $to >$d/enqueue.log 2>&1" or die;
		print $fh "Subject: x\n\nx\n";
		close $fh;
		return $? >> 8;
	};
	my $route = sub ($address) { (split /\t/, qx{$ENV{BUILD_DIR}/db/dblookup -f $d/dbases.conf -r $address})[1] };
	$sync->start;
	ok $sync->hears(qr/in step/, 10 * $slow);
	is $enqueue->("user1\@$domain"), 0, 'the directory is there' or diag `cat $d/enqueue.log`;
	$slapd->stop('KILL');
	is $enqueue->("user2\@$domain"), 0, 'it is away';
	is $route->("nobody\@$domain"), 'smtp', 'who is unknown is unknown still';
	$slapd->start;
	$slapd->change(RealSlapd::account('late') . removal('user3'));
	is $sync->difference_after(20 * $slow), '';
	is $enqueue->("late\@$domain"), 0, 'a new one is known' or diag `cat $d/enqueue.log`;
	is $route->("user3\@$domain"), 'smtp', 'one that was removed is not';
	is $route->("late\@$domain"), 'smtp-lmtp';
	is $sync->stop, 0;
};

done_testing;
