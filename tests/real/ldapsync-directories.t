#!/usr/bin/perl
# ldapsync and directories of other build: accesslog as session log, aliases, subordinate databases, limits of the server, SASL with a
# password; and enqueue with a map that ldapsync keeps, whatever happens to the directory.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use POSIX ();
use Test::More;
use Time::HiRes ();
use LdapSync;
use RealSlapd;
use Relay;

LdapSync::skip_without();

my $slow = $LdapSync::slow;
my $domain = $RealSlapd::domain;
my $tree = $RealSlapd::tree;
my $hosting = $RealSlapd::hosting;
my $lmdb = LdapSync::has_lmdb();

my @disks;
END {
	local $?;
	system("umount -l $_ 2>/dev/null") for @disks;
}

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

subtest 'the time limit of the server, while it lists or refreshes, is told, and nothing is written' => sub {
	my $slapd = RealSlapd->new(users => 5000, aliases => 0, config => "limits dn.exact=\"cn=short,$RealSlapd::suffix\" size=unlimited time=1\n",
		ldif => "dn: cn=short,$RealSlapd::suffix\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: short\nuserPassword: short\n\n")->start;
	# the server is told to wait where it has sent a part of the list (1.1 MB), and of the refresh behind that
	for my $bytes (100_000, 1_500_000) {
		my $relay = Relay->new(path => $slapd->dir . "/ldapi", pause => [$bytes]);
		my $sync = LdapSync->new($slapd, access => "uri ldap://127.0.0.1:@{[$relay->port]}\nbinddn cn=short,$RealSlapd::suffix\npasswd short\n"
			. "clear_password yes\n");
		my ($exit, $said) = $sync->once;
		is $exit, 75, "behind $bytes bytes" or diag $said;
		like $said, qr/Time limit exceeded \(3\)/;
		ok !-e "$sync->{map}.db";
		$relay->stop;
	}
};

subtest 'an entry of more than 16 MB, which the postmaster of one domain can make, keeps nobody else from the map' => sub {
	# one value: slapadd indexes thousands of addresses for seconds, and what counts is how long the message is
	my $slapd = RealSlapd->new(users => 3, aliases => 0, ldif => RealSlapd::account('large', mailbox => 'x' x 17_000_000))->start;
	for my $access ('', 'ldaps') {
		my $sync = LdapSync->new($slapd, $access ? (access => "uri @{[$slapd->uri('ldaps')]}\ntls_ca_cert_file @{[$slapd->ca]}\n"
			. "binddn $RealSlapd::reader\npasswd $RealSlapd::reader_password\n") : ());
		my $expected = sub { my $all = $sync->expected; delete $all->@{grep { /^large/ } keys %$all}; $all };
		my ($exit, $said) = $sync->once;
		is $exit, 65, "$access a first copy";
		like $said, qr/^ldapsync: rule accounts: "mail=large\@$domain,[^"]*": it is of more than 16 MB$/m, '... names it';
		is $sync->difference($expected->()), '', '... and has all others';
		$sync->start;
		ok $sync->hears(qr/^compared/m, 20 * $slow), 'one that stays';
		like $sync->said, qr/"mail=large\@$domain,[^"]*": it is of more than 16 MB$/m, '... names it, too';
		$slapd->change("dn: mail=large\@$domain,$tree\nchangetype: modify\nreplace: description\ndescription: other\n\n");
		$slapd->add_account("later$access");
		is $sync->difference_after(20 * $slow, $expected->()), '', '... and goes on when it is changed';
		is $sync->stop, 0;
	}
};

subtest 'SASL with a password' => sub {
	my $slapd = RealSlapd->new(users => 20, aliases => 0,
		global => "authz-regexp \"uid=([^,]+),(cn=[^,]+,)?cn=[^,]+,cn=auth\" \"cn=\$1,$RealSlapd::suffix\"\nsasl-host localhost\npassword-hash {CLEARTEXT}\n")->start;
	my $sync_by = sub ($mechanism, $password) {
		return LdapSync->new($slapd, access => "uri @{[$slapd->uri('ldap')]}\nbind sasl\nsasl_mech $mechanism\nsasl_authc_id reader\npasswd $password\n");
	};
	for my $mechanism ('DIGEST-MD5', 'SCRAM-SHA-1', 'SCRAM-SHA-256') {
		my $sync = $sync_by->($mechanism, $RealSlapd::reader_password)->start;
		is $sync->difference_after(10 * $slow), '', "$mechanism copies";
		$slapd->add_account(lc $mechanism);
		is $sync->difference_after(10 * $slow), '', '... and follows';
		$slapd->restart('KILL');
		$slapd->remove(lc $mechanism);
		is $sync->difference_after(20 * $slow), '', '... also behind a crash of the server';
		is $sync->stop, 0;
		my ($exit, $said) = $sync_by->($mechanism, 'wrong')->once;
		is $exit, 75, '... a wrong password is refused';
		like $said, qr/bind: Invalid credentials/;
	}
};

subtest 'a disk that is full: the map stays as it was, and follows when there is room' => sub {
	plan skip_all => 'no right to mount a small disk' if $> != 0;
	for my $way ({}, { environment => 1 }, $lmdb ? { type => 'lmdb' } : ()) {
		my $slapd = RealSlapd->new(users => 200, aliases => 0)->start;
		my $sync = LdapSync->new($slapd, %$way, options => ['--allow-shrink']);
		my $disk = "$sync->{dir}/disk";
		mkdir $disk or die "$disk: $!\n";
		plan skip_all => 'no right to mount a small disk' if system("mount -t tmpfs -o size=2m none $disk 2>/dev/null") != 0;
		push @disks, $disk;
		$sync->{map} = "$disk/users";
		$sync->configure;
		my $fill = sub ($left) { system("dd if=/dev/zero of=$disk/ballast bs=1k count=9999 2>/dev/null; truncate -s -${left}k $disk/ballast") };
		my $name = join(' ', %$way) || 'generations';
		$fill->(8);
		my ($exit, $said) = $sync->once;
		cmp_ok $exit, '>=', 73, "$name: a first copy has no room" or diag $said;
		like $said, qr/No space left/, '... and says so';
		is $sync->find("user1\@$domain"), undef, '... and answers nothing';
		unlink "$disk/ballast";
		($exit, $said) = $sync->once;
		is $exit, 0, '... with room it is made' or diag $said;
		$sync->start;
		ok $sync->hears(qr/in step/, 10 * $slow);
		my $before = $sync->map;
		$fill->(0);
		$slapd->change(join '', map { RealSlapd::account("full$_") . removal("user$_") } 1 .. 100);
		ok $sync->hears(qr/No space left|cannot/, 20 * $slow), '... one that stays says that there is no room' or diag $sync->said;
		my $now = $sync->map;
		# in an environment a batch may come yet that was not acknowledged
		is_deeply $now, $before, '... and the map is as it was' unless $way->{environment};
		unlink "$disk/ballast";
		is $sync->difference_after(60 * $slow), '', '... and follows when there is room' or diag $sync->said;
		is $sync->stop, 0;
		system("umount -l $disk");
	}
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
		# by a file: an address may be refused before the text is read, and with a pipe the status would be that of the write
		$sync->_put('in', "Subject: x\n\nx\n");
		return system("$ENV{BUILD_DIR}/channel/enqueue -P $d/po -f $d/dbases.conf -s a\@x.example $to <$d/in >$d/enqueue.log 2>&1") >> 8;
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

# Exit statuses of enqueue for this address, in a process that goes on until it is told to stop, or this one has ended.
sub keep_asking($dir, $conf, $to) {
	my $parent = $$;
	my $pid = fork // die "fork: $!\n";
	return $pid if $pid;
	open my $out, '>>', "$dir/$conf-$to.log" or POSIX::_exit(1);
	$out->autoflush;
	open $_, '>', '/dev/null' or POSIX::_exit(1) for \*STDOUT, \*STDERR;
	while (getppid == $parent) {
		open STDIN, '<', "$dir/in" or POSIX::_exit(1);
		system "$ENV{BUILD_DIR}/channel/enqueue", '-P', "$dir/po", '-f', "$dir/$conf", '-s', 'a@x.example', $to;
		print $out $? >> 8, "\n";
		# four of them without a pause would keep the processors busy
		Time::HiRes::sleep(0.1);
	}
	POSIX::_exit(0);
}

subtest 'enqueue with LDAP maps, and with one that is copied, refuses nobody who is known and takes nobody who is not, whatever happens' => sub {
	my $slapd = RealSlapd->new(users => 30, aliases => 0)->start;
	my $sync = LdapSync->new($slapd, settings => "silence 1\ntimeout 10\n", options => ['--allow-shrink']);
	my $d = $sync->dir;
	is +($sync->once)[0], 0;
	$sync->{settings} .= "domains $d/domains\ndomains_command /bin/false\n";
	$sync->configure;
	mkdir "$d/po" or die;
	mkdir "$d/po/$_" or die for qw(transport queue router deferred postman public freezer);
	$sync->_put('routes', "$domain error!nosuchuser\n");
	system("$ENV{BUILD_DIR}/db/newdb -s -l $d/routes >/dev/null") == 0 or die;
	$sync->_put('account.ldap', "uri @{[$slapd->uri('ldapi')]}\nbind sasl\nsasl_mech EXTERNAL\nbase $hosting\nnetwork_timeout 10\ntimeout 10\n"
		. "filter (&(mail=%s)(objectClass=CourierMailAccount))\nresult smtp-lmtp!node!{mailbox}%2\n");
	my $routes = "routesdb btree - -l $d/routes -lm%:d pathalias\n";
	$sync->_put('asked', "fqdnroutes ldap - - $d/account.ldap -lm%:\n$routes");
	$sync->_put('copied', "fqdnroutes btree - -r $sync->{map} -lm%:\n$routes");
	$sync->start;
	my $dump = qx{/usr/sbin/slapcat -f @{[$slapd->dir]}/slapd.conf 2>/dev/null};
	$sync->_put('in', "Subject: x\n");
	my @asking = map { my $conf = $_; map { keep_asking($d, $conf, "$_\@$domain") } 'user1', 'nobody' } 'asked', 'copied';
	# of its children one may just have ended
	my $room = sub ($bytes) { system("prlimit --fsize=$bytes: --pid $_ >/dev/null 2>&1") for $sync->{pid}, split ' ', qx{cat /proc/$sync->{pid}/task/*/children} };
	my %events = (
		'killed' => sub { $slapd->stop('KILL'); Time::HiRes::sleep(0.5); $slapd->start },
		'silent' => sub { $slapd->signal('STOP'); Time::HiRes::sleep(1.5); $slapd->signal('CONT') },
		'changed' => sub { $slapd->change(join '', map { removal("user$_") } 2 .. 20) },
		'restored' => sub { $slapd->stop; $slapd->reload($dump, '-w'); $slapd->start },
		'limited' => sub { $slapd->{config} = "limits dn.exact=\"$RealSlapd::reader\" size=1\n"; $slapd->_configure; $slapd->restart },
		'itself killed' => sub { $sync->stop('KILL'); $sync->start },
		'an alias' => sub { $slapd->change("dn: cn=pointer,$tree\nobjectClass: alias\nobjectClass: extensibleObject\ncn: pointer\naliasedObjectName: mail=user1\@$domain,$tree\n\n") },
		# files beyond this size cannot be written, as on a full disk; its log is smaller, and the map is larger
		'no room' => sub {
			$room->(8192);
			$sync->forget;
			$slapd->change(removal('user21') . RealSlapd::account('user31'));
			ok $sync->hears(qr/File too large/, 20 * $slow), 'there is no room for the map' or diag $sync->said;
			$room->('unlimited');
		},
	);
	$events{$_}->() for 'killed', 'changed', 'silent', 'no room', 'itself killed', 'an alias', 'restored', 'killed', 'limited', 'silent';
	kill 'KILL', @asking;
	waitpid $_, 0 for @asking;
	my $statuses = sub ($file) { open my $fh, '<', "$d/$file.log" or return {}; my %n; chomp, $n{$_}++ for <$fh>; return \%n };
	for my $case (['asked', 'user1', 0, 75], ['asked', 'nobody', 67, 75], ['copied', 'user1', 0], ['copied', 'nobody', 67]) {
		my ($conf, $who, @may) = @$case;
		my $n = $statuses->("$conf-$who\@$domain");
		ok $n->{$may[0]}, "$conf: $who has its answer " . ($n->{$may[0]} // 0) . ' times';
		my %odd = %$n;
		delete @odd{@may};
		is_deeply \%odd, {}, '... and never another one';
	}
	is $sync->stop, 0;
};

done_testing;
