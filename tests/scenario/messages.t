#!/usr/bin/perl
# Messages name what is wrong, where, and what to do: those that once misled.

use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Tool;

my %program = map { m{([^/]+)\z} => $_ } map { "$ENV{BUILD_DIR}/$_" }
	qw(channel/lmtp channel/enqueue channel/intake channel/runqueue channel/zlmtp-queue db/newdb db/dblookup db/dbupdate);
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE POSTOFFICE)};
my $dir = scratch('here');
mkdir $dir or die "$dir: $!\n";
chmod 0755, scratch(), $dir;
my $message = "Subject: x\n\nHello.\n";

sub says($command, $status, $words, $what, %how) {
	my $got = run([@{ $how{by} // [] }, $program{$command->[0]}, @$command[1 .. $#$command]], cd => $dir, %how);
	is $got->{status}, $status, "$what: exit status" or diag $got->{err};
	ref $words ? like($got->{err}, $words, $what) : is($got->{err}, $words, $what);
	return $got;
}

sub post_office($name) {
	mkdir "$dir/$name" or die "$dir/$name: $!\n";
	for my $folder (qw(public queue transport postman)) { mkdir "$dir/$name/$folder" or die }
	return $name;
}

sub records($name, $text) { return spew("$dir/$name", $text) }

subtest 'where the agent delivers' => sub {
	my %bad = (
		'[127.0.0.1]:25' => qr/-F \[127\.0\.0\.1\]:25: port 25 is SMTP's, .*give the port of the LMTP server\b.*/,
		'name:25' => qr/-F name:25: port 25 is SMTP's.*/,
		'name' => qr/-F name: give the port of the LMTP server, after a colon or with -p/,
		'[::1]' => qr/-F \[::1\]: give the port of the LMTP server, after a colon or with -p/,
		'name:lmtp' => qr/-F name:lmtp: expected a port between 1 and 65535 instead of "lmtp"/,
		'inet:127.0.0.1:24' => qr/-F inet:127\.0\.0\.1:24: expected a port between 1 and 65535 instead of "127\.0\.0\.1:24"/,
		'[127.0.0.1]:0' => qr/-F \[127\.0\.0\.1\]:0: expected a port between 1 and 65535 instead of "0"/,
		'a@b:24' => qr/-F a\@b:24: expected UNIX:\/path, \[address\], \[address\]:port, name or name:port/,
	);
	says(['lmtp', '-c', 'lmtp', '-F', $_], 64, qr/\Almtp: $bad{$_}; try --help\n\z/, "-F $_") for sort keys %bad;
	says(['lmtp', '-c', 'lmtp', '-p', 25, '-F', 'name'], 64, qr/-F name: port 25 is SMTP's.*/, '-p 25');
	says(['lmtp', '-c', 'lmtp'], 64, qr/give the port of the LMTP server with -p, or where all mail goes: -F UNIX/, 'neither -F nor -p');
	says(['lmtp', '-c', 'lmtp', '-F', $_], 0, '', "-F $_ is taken") for 'name:24', 'localhost:2424', '127.0.0.1:2424', '[::1]:24';
};

subtest 'a wrong command line is named before anything is looked for' => sub {
	says(['zlmtp-queue', '-P', 'none', 'lst'], 64, qr/\Azlmtp-queue: lst: no such verb; expected list, /, 'a verb');
	says(['intake', '-P', 'none', '-L', "lmtp:UNIX:$dir/lmtp", '-O', 'verify-with=-c lmtp'], 64,
		qr/\Aintake: -O verify-with=-c lmtp: expected -O verify=CACHE, too; without it no store is asked; try -h\n\z/, 'half of two options');
	says(['lmtp', 'store', '-c', 'lmtp'], 64, qr/\Almtp: -c: options come before other words; write "--" before a word that only looks like one; try --help\n\z/, 'an option behind the host');
	says(['lmtp', '-O', 'connections=99'], 64, qr/\Almtp: -O connections=99: expected connections=N: sessions to one target, 1 to 16 /, 'a value, with its limits');
};

subtest 'where to listen' => sub {
	my $conf = records('listen.conf', "# none\n");
	my @intake = ('intake', '-f', 'listen.conf', '-P', post_office('listening'), '-L');
	says([@intake, "lmtp:UNIX:$dir/none/socket"], 73, "intake: -L lmtp:UNIX:$dir/none/socket: the directory is not there; make it first\n", 'no directory');
	says([@intake, 'smtp:[192.0.2.1]:2525'], 73, "intake: -L smtp:[192.0.2.1]:2525: this machine does not have the address\n", 'an address of another machine');
	plan skip_all => 'needs root' if $> != 0;
	my @other = qw(setpriv --reuid=nobody --regid=nogroup --clear-groups);
	chmod 0777, "$dir/listening" or die;
	says([@intake, "lmtp:UNIX:$dir/socket"], 73, "intake: -L lmtp:UNIX:$dir/socket: Permission denied; this user must be able to write to the directory\n", 'a directory of others', by => \@other);
	says([@intake, "lmtp:UNIX:$dir/listening/socket,group=daemon"], 73,
		"intake: -L lmtp:UNIX:$dir/listening/socket,group=daemon: Operation not permitted; only root and members of the group can give it\n", 'a group of others', by => \@other);
	ok !-e "$dir/listening/socket", '... no socket is left';
	# where containers may use any port, this one is free
	my ($free) = run(['cat', '/proc/sys/net/ipv4/ip_unprivileged_port_start'])->{out} =~ /(\d+)/;
	$free > 79 ? says([@intake, 'smtp:[127.0.0.1]:79'], 73, "intake: -L smtp:[127.0.0.1]:79: Permission denied; low ports are for root, or for a socket unit of systemd\n",
		'a port of root', by => \@other) : pass('all ports are free here');
};

subtest 'a post office that is not there, or is not ours' => sub {
	says(['enqueue', '-P', 'none', '-s', 'a@x.test', '-r', 'lmtp,h,u'], 73,
		"enqueue: cannot create a file in none: No such file or directory; name the post office with -P, or make one with enqueue -m\n", 'enqueue', in => $message);
	says(['intake', '-f', records('none.conf', "# none\n"), '-P', $_, '-L', "lmtp:UNIX:$dir/lmtp"], 73, "intake: cannot create a file in $_: No such file or directory; name the post office with -P, or make one with enqueue -m\n",
		"intake, $_") for 'none', '.';
	says(['intake', '-f', "$dir/none.conf", '-P', 'none', '-S', 'none.tls', '-L', "lmtp:UNIX:$dir/lmtp"], 78, "intake: none.tls: No such file or directory\n", 'a file is named once');
	says(['runqueue', '-P', 'none', '-1', '-f', records('some.conf', qq(*/*\n    command="lmtp"\n))], 73, qr/^runqueue: none\/\.pid\.runqueue: No such file or directory; name the post office with -P, or make one with enqueue -m$/m,
		'runqueue');
	says(['zlmtp-queue', 'list', '-P', 'none'], 66, "zlmtp-queue: none/transport: No such file or directory; name the post office with -P, or make one with enqueue -m\n",
		'zlmtp-queue');
	plan skip_all => 'needs root' if $> != 0;
	my $office = post_office('office');
	# setpriv(1) also starts what was built in a directory that is closed to others
	my @other = qw(setpriv --reuid=nobody --clear-groups);
	says(['enqueue', '-P', $office, '-s', 'a@x.test', '-r', 'lmtp,h,u'], 73, qr/\Aenqueue: cannot create a file in office: Permission denied; the post office belongs to root: run this as that user, or name another post office with -P\n\z/,
		'of another user', in => $message, by => \@other);
	my $owner = "Permission denied; the post office belongs to root: run this as that user, or name another post office with -P";
	says(['runqueue', '-P', $office, '-1', '-f', 'some.conf'], 77, "runqueue: $office/.pid.runqueue: $owner\n", 'runqueue of another user', by => \@other);
	chmod 0700, "$dir/$office/transport";
	says(['zlmtp-queue', 'list', '-P', $office], 77, "zlmtp-queue: $office/transport: $owner\n", 'zlmtp-queue of another user', by => \@other);
	says(['runqueue', '-l', '-P', $office], 77, "runqueue: $office/transport: $owner\n", 'runqueue of another user', by => \@other);
	chmod 01777, "$dir/$office/public";
	# may be listed, but nothing in them looked at
	chmod 0744, "$dir/$office/queue", "$dir/$office/transport";
	says(['enqueue', '-P', $office, '-s', 'a@x.test', '-r', 'lmtp,h,u'], 73, qr/\Aenqueue: cannot create office\/queue\/\d+: Permission denied; the post office belongs to root/,
		'of another user who lets us write messages alone', in => $message, by => \@other);
	my @left = glob "$dir/$office/public/{*,.e*} $dir/$office/{queue,transport}/*";
	is "@left", '', 'nothing stays behind';
};

subtest 'who runs the queue' => sub {
	my $office = post_office('busy');
	my $conf = records('scheduler.conf', "*/*\n\tinterval=1m\n");
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDERR, '>', '/dev/null';
		exec $program{runqueue}, '-w', '-P', "$dir/$office", '-f', $conf or exit 127;
	}
	my $tries = 0;
	select undef, undef, undef, 0.05 until -s "$dir/$office/.pid.runqueue" || $tries++ > 400;
	says(['runqueue', '-1', '-P', $office, '-f', $conf], 75, "runqueue: another runqueue runs here, process $pid by $office/.pid.runqueue\n",
		'its process is named');
	kill 'TERM', $pid;
	waitpid $pid, 0;
};

subtest 'scheduler.conf' => sub {
	my $office = post_office('queue-of-x');
	records('bad.conf', "*/*\n    interval=1m\n    expiri=5d\n");
	says(['runqueue', '-1', '-P', $office, '-f', 'bad.conf'], 78,
		"runqueue: bad.conf:3:5: expected a key that runqueue(8) lists, found \"expiri=...\"\n", 'an unknown key is named');
	mkdir "$dir/$_" for 'bin', 'bin/ta';
	symlink $program{lmtp}, "$dir/bin/ta/lmtp";
	records('zmailer.conf', "MAILBIN=$dir/bin\n");
	records('agent.conf', "*/*\n    interval=1m\nlmtp/*\n    command=\"lmtp -c \$channel -Q\"\n");
	run([$program{enqueue}, '-P', $office, '-s', 'a@x.test', '-r', 'lmtp,h,u'], cd => $dir, in => $message);
	my $got = says(['runqueue', '-1', '-P', $office, '-f', 'agent.conf'], 69, qr/^runqueue: agent \d+ \(lmtp\) said: lmtp: unknown option -Q; try --help$/m,
		'the usage error of an agent is its own', env => { ZCONFIG => "$dir/zmailer.conf" });
	like $got->{err}, qr/^runqueue: agent \d+ \(lmtp\) ended with status 64: it refused the options of its command; correct scheduler\.conf$/m,
		'and what to do about it is said';
};

# it was given a reply code of its own, 400, and the type of a server's words
subtest 'what no server said is no reply' => sub {
	my $office = post_office('own-trouble');
	run([$program{enqueue}, '-P', $office, '-s', 'a@x.test', '-r', 'lmtp,h,u'], cd => $dir, in => $message);
	my ($job) = map { m{([^/]+)\z} } glob "$dir/$office/transport/*";
	my $got = run([$program{lmtp}, '-c', 'lmtp', '-F', "UNIX:$dir/nowhere"], cd => "$dir/$office/transport", in => "$job\th\n");
	like $got->{out}, qr/\001failed\0014\.4\.1\001x-local; connect to \S+: No such file or directory\001/, 'a socket that is not there';
	unlike $got->{out}, qr/smtp;|400/, '... without a code';
};

subtest 'addresses' => sub {
	records('routes', "x.test lmtp!h\n");
	records('dbases.conf', "routesdb btree - -l $dir/routes -lm%:d pathalias\n");
	run([$program{newdb}, '-s', '-f', "$dir/dbases.conf"]);
	my $office = post_office('office-of-a');
	says(['enqueue', '-P', $office, '-f', 'dbases.conf', '-s', 'a@x.test', $_], 67,
		"enqueue: $_: not found: badaddress: two addresses where one is expected; give each by itself\n", $_, in => $message)
		for 'a@x.test,b@x.test', 'a@x.test, b@x.test', 'a@x.test b@x.test', 'a@x.test;b@x.test';
	says(['enqueue', '-P', $office, '-f', 'dbases.conf', '-s', 'a@x.test', 'a@x..test'], 67,
		"enqueue: a\@x..test: not found: badaddress: what stands after the \@ is no domain\n", 'what is wrong with it', in => $message);
	for my $literal ('[]', '[x]', '[1.2.3]', '[300.1.1.1]', '[IPv6:]', '[IPv6:zz]', '[2001:db8::1]', '[IPv4:192.0.2.1]') {
		my $why = 'what stands after the @ is no address like [192.0.2.1] or [IPv6:2001:db8::1]';
		says(['enqueue', '-P', $office, '-f', 'dbases.conf', '-s', 'a@x.test', "a\@$literal"], 67,
			"enqueue: a\@$literal: not found: badaddress: $why\n", "a recipient at $literal", in => $message);
		says(['enqueue', '-P', $office, '-r', 'lmtp,-,a', '-s', "a\@$literal"], 65,
			"enqueue: -s \"a\@$literal\" is no address: $why; expected user\@domain, or <> for no sender\n", '... a sender', in => $message);
	}
};

subtest 'maps' => sub {
	records('users', "a lmtp!h!a\na lmtp!h!b\n");
	says(['newdb', '-s', '-t', 'btree', 'users'], 65, "newdb: users:2: the key \"a\" is in line 1 already\n"
		. "newdb: users: -k keeps the first of several lines with one key; no map was built\n", 'a key that is there twice');
	says(['dblookup', '-t', 'btree', 'users', 'a'], 75, qr/\Adblookup: a: could not tell: users\.db: No such file or directory; the map is not built yet \(newdb, newdb -f; a live one: dbupdate \.\.\. replace, ldapsync -1, sqlsync -1\)\n\z/,
		'a map that is not built');
	run([$program{newdb}, '-s', '-k', '-t', 'btree', 'users'], cd => $dir);
	says(['dblookup', '-t', 'bhash', 'users', 'a'], 75, qr/users\.dbh: No such file or directory; there is one of type btree: name that type, or build this map/,
		'a map of another type');
	my $lmdb = run([$program{dblookup}, '-t', 'lmdb', 'users', 'a'], cd => $dir);
	SKIP: {
		skip 'built without LMDB', 1 if $lmdb->{status} != 75;
		like $lmdb->{err}, qr/users\.lmdb: No such file or directory; there is one of type btree: name that type, or build this map/,
			'... also of type lmdb';
	}
	SKIP: {
		skip 'needs root', 2 if $> != 0;
		chown +(getpwnam 'daemon')[2], -1,
			records('ask', "uri ldap://127.0.0.1:1\nbase o=x\nfilter (mail=%s)\nattr a\nbinddn cn=x\npasswd secret\n");
		chmod 0600, "$dir/ask";
		says(['dblookup', '-t', 'ldap', 'ask', 'a'], 78, "dblookup: ask: holds a password but belongs to user daemon; "
			. "it must be root's, or belong to user root\n", 'whose a file of secrets is, by name');
	}
};
done_testing;
