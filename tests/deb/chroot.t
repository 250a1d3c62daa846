#!/usr/bin/perl
# The Debian packages in a Debian of its own, of the release that this machine runs: zlmtp alone is installed, used as README.Debian
# says, removed, and nothing is left; then with the packages for directories and databases, from what was before they were of their own.
#
# That Debian is started with its systemd, in namespaces of its own.  Where that cannot be, its programs run in a
# chroot, and the units are only looked at.
#
# Needs root, debootstrap and a mirror, see tests/deb/bootstrap.  ZLMTP_KEEP=1 leaves the directory for a look.  ZLMTP_PACKAGES is a
# directory where debian/build has made the packages already.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Cwd ();
use File::Temp ();
use Test::More;
use RealServer;
use RealSink;
use RealSlapd;

my $source = Cwd::abs_path($ENV{SRC_DIR} // "$FindBin::Bin/../..");
my ($release) = do { local (@ARGV, $/) = '/etc/os-release'; <> } =~ /^VERSION_CODENAME=(\w+)/m;

plan skip_all => 'a Debian of its own needs root' if $> != 0;
for my $needed (['dpkg-buildpackage', 'dpkg-dev'], ['dh', 'debhelper'], $ENV{ZLMTP_BASE} ? () : ['debootstrap', 'debootstrap']) {
	plan skip_all => "no $needed->[0] here (Debian: $needed->[1])" if !grep { -x "$_/$needed->[0]" } split /:/, $ENV{PATH};
}
if (my $why = RealSink::missing()) {
	plan skip_all => $why;
}
# what is mounted is seen by this process alone and goes with it
if (!$ENV{ZLMTP_UNSHARED}) {
	$ENV{ZLMTP_UNSHARED} = 1;
	exec 'unshare', '--mount', '--uts', '--propagation', 'private', $^X, $0 or die "unshare: $!\n";
}

my $dir = File::Temp::tempdir('zlmtp-chroot-XXXXXX', TMPDIR => 1);
my $root = "$dir/root";
my $cgroup = "$dir/cgroup/zlmtp-test-$$";
my $owner = $$;
my @mounted;
my ($system, $init);      # the process that holds the namespaces, and the first one in them; undef in a chroot

sub shell ($command) { return qx{exec 2>&1; $command} }

# Runs a command in there; what it says comes back, its status is in $?.
sub inside ($command) {
	RealServer::write_file("$root/root/command", "$command\n");
	# --root, as that of its mount name space is another one where this runs in a chroot; --wd, as the directory is not in there
	my $enter = $init ? "nsenter -t $init --all --root --wd" : "chroot '$root'";
	return shell("env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C " .
		"DEBIAN_FRONTEND=noninteractive $enter sh /root/command </dev/null");
}

sub works ($command, $name) {
	my $text = inside($command);
	is($?, 0, $name) or diag $text;
	return $text;
}

sub mounts ($type, $where) {
	mkdir $where;
	return 0 if system('mount', '-t', $type, $type, $where) != 0;
	push @mounted, $where;
	return 1;
}

# Its own systemd runs, or everything is done in a chroot.
sub boot ($sockets) {
	return if !mounts('cgroup2', "$dir/cgroup") || !mkdir $cgroup;
	$system = fork // die "fork: $!\n";
	if ($system == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$dir/boot.log";
		open STDERR, '>&', \*STDOUT;
		exec "$FindBin::Bin/boot", $root, $cgroup, $sockets or exit 127;
	}
	my $up = eval {
		RealServer::wait_for('systemd', 60, sub {
			$init = shell("pgrep -P $system") =~ /^(\d+)$/ ? $1 : undef;
			defined $init && inside('systemctl is-system-running') =~ /^(?:running|degraded)$/;
		});
		1;
	};
	return if $up;
	my $why = $@;
	shut_down();
	local (@ARGV, $/) = "$dir/boot.log";
	diag "no systemd of its own here, so the units are only looked at: $why", <>;
}

sub shut_down () {
	return if !defined $system;
	# SIGRTMIN+4, which Perl has no name for: power off
	kill 38, $init if defined $init;
	eval { RealServer::wait_for('the end', 30, sub { waitpid($system, 1) }); 1 } or kill 'KILL', $system;
	waitpid $system, 0;
	($system, $init) = ();
	system "find '$cgroup' -depth -type d -exec rmdir {} ';'";
}

END {
	if ($$ == $owner) {
		local $?;
		shut_down();
		# what is still mounted must not be removed with the rest
		my $clear = 1;
		$clear &= system('umount', '-l', $_) == 0 for reverse @mounted;
		if ($ENV{ZLMTP_KEEP}) { diag "left for a look: $dir" }
		elsif ($clear) { system 'rm', '-rf', '--one-file-system', $dir }
	}
}

# ---- the package, with its tests of single files ----

my $packages = $ENV{ZLMTP_PACKAGES} // "$dir/out";
my $log = $ENV{ZLMTP_PACKAGES} ? '' : shell("env DEB_BUILD_OPTIONS=parallel=2 '$source/debian/build' '$source' '$packages'");
my ($package) = glob "$packages/zlmtp_*.deb";
ok(defined $package, 'the package is built') or BAIL_OUT($log);
my ($install, $with_ldap) = do { local (@ARGV, $/) = "$source/README"; <> } =~ m{"(apt install \./zlmtp_\S*\.deb)".*"(apt install \./zlmtp_\S*\.deb \./zlmtp-ldap_\S*\.deb)"}s;
ok(defined $with_ldap, 'README says how it is installed, also with a package for directories') or BAIL_OUT('no command');
$_ = "cd /root/built && $_" for $install, $with_ldap;

# ---- a Debian that has what the package needs, and systemd ----

$log = shell("'$FindBin::Bin/bootstrap' $release '$root'");
is($?, 0, 'there is a Debian') or BAIL_OUT($log);
system 'cp', '-r', $packages, "$root/root/built";
# nobody is there to be asked
RealServer::write_file("$root/etc/apt/apt.conf.d/91test", qq{APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n});
RealServer::write_file("$root/etc/fstab", '');
RealServer::write_file("$root/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0755);
sub depends (@packages) { join ', ', map { grep { !/^zlmtp / } split /, /, qx{dpkg-deb -f '$_' Depends} =~ s/\n//r } @packages }
my $depends = depends($package);
my @others = grep { $_ ne $package } glob "$packages/zlmtp*.deb";
my $needed_by_others = depends(@others);
mounts('proc', "$root/proc") or BAIL_OUT('cannot mount proc');
works("apt-get update -qq && apt-get satisfy -qq -y --no-install-recommends '$depends' >/dev/null && " .
	'apt-get install -qq -y --no-install-recommends systemd systemd-sysv >/dev/null && ' .
	"apt-get satisfy -qq -y --no-install-recommends --download-only '$needed_by_others' >/dev/null && " .
	'apt-get install -qq -y --no-install-recommends --download-only dovecot-lmtpd >/dev/null', 'its dependencies are installed')
	or BAIL_OUT('no mirror');
# nothing but the package changes anything
inside('cd /etc/systemd/system && for t in /lib/systemd/system/*.timer; do ln -sf /dev/null ${t##*/}; done; rm /usr/sbin/policy-rc.d');

my $sink = RealSink->start(dump => 1);
chmod 0666, $sink->{socket};
symlink 's', "$sink->{dir}/lmtp";
boot($sink->{dir});
if (!$init) {
	mounts('sysfs', "$root/sys") && mounts('tmpfs', "$root/run") && mkdir "$root/run/dovecot" or BAIL_OUT('cannot mount');
	system('mount', '--bind', $sink->{dir}, "$root/run/dovecot") == 0 or BAIL_OUT('cannot mount the directory of the sink');
	push @mounted, "$root/run/dovecot";
}

# Everything that there is, with owner and mode, but for what apt and dpkg remember.
sub everything () {
	return { map { $_ => 1 } split /\n/, inside('find / -xdev \( -path /root -o -path /tmp -o -path /var/tmp -o -path /var/cache ' .
		'-o -path /var/log -o -path /var/lib/apt -o -path /var/lib/dpkg \) -prune -o -printf "%p %y %U:%G %m %l\n"; ' .
		'ls -d /var/log/* /var/cache/*; cat /etc/passwd /etc/group /etc/shadow /etc/gshadow; dpkg -l | grep zlmtp; ' .
		'ls -d /run/systemd/system/*; systemctl list-units --no-legend --plain --all "zlmtp*"') };
}

# What one has and the other has not; adduser keeps the files from before in backups, whoever the user was.
sub difference ($before, $after) {
	return join "\n", sort grep { !m{^/etc/(?:passwd|group|shadow|gshadow|subuid|subgid)- } }
		(grep { !$before->{$_} } keys %$after), (grep { !$after->{$_} } keys %$before);
}

my $before = everything();
cmp_ok(scalar keys %$before, '>', 3000, 'what is there before');

# ---- installed ----

unlike(works($install, 'it is installed as README says'), qr/error|warning: .*zlmtp/i, 'without a complaint');
is(inside('stat -c "%U:%G %a %n" /var/spool/zlmtp /var/spool/zlmtp/* /var/lib/zlmtp /var/lib/zlmtp/db'), <<'END',
zlmtp:zlmtp 755 /var/spool/zlmtp
zlmtp:zlmtp 750 /var/spool/zlmtp/deferred
zlmtp:zlmtp 750 /var/spool/zlmtp/freezer
zlmtp:zlmtp 750 /var/spool/zlmtp/postman
zlmtp:zlmtp 750 /var/spool/zlmtp/public
zlmtp:zlmtp 750 /var/spool/zlmtp/queue
zlmtp:zlmtp 750 /var/spool/zlmtp/router
zlmtp:zlmtp 750 /var/spool/zlmtp/transport
root:root 755 /var/lib/zlmtp
zlmtp:zlmtp 755 /var/lib/zlmtp/db
END
	'the directories belong to whom they should');
# -V of zlmtp-sendmail is sendmail's
like(works("/usr/libexec/zlmtp/$_ --version", "$_ runs"), qr/^\S+ \(zlmtp\) \d/, 'and says its version')
	for 'ta/lmtp', qw(enqueue runqueue intake zlmtp-sendmail zlmtp-queue zlmtp-report newdb dbupdate dblookup dbserve sqlsync zlmtp-check);
is(inside('systemctl is-enabled zlmtp-runqueue.service zlmtp-mapcheck.timer'), "disabled\ndisabled\n", 'nothing is enabled');
sub verifies (@units) {
	for my $unit (@units) {
		is(works("systemd-analyze verify --man=no $unit", "$unit verifies"), '', 'silently');
		next if $unit !~ /service$/;
		my ($exposure) = inside("systemd-analyze security --no-pager --offline=true $unit") =~ /exposure level for .*?: ([\d.]+)/;
		cmp_ok($exposure // 10, '<', 3, 'its exposure is ' . ($exposure // 'unknown'));
	}
}
verifies(qw(zlmtp-runqueue.service zlmtp-intake.service zlmtp-intake.socket zlmtp-dbserve.service zlmtp-dbserve.socket
	zlmtp-sqlsync@.service zlmtp-mapcheck.service zlmtp-mapcheck.timer));
# directories and databases
ok(!-e "$root/usr/libexec/zlmtp/ldapsync", 'ldapsync is not in it');
mkdir "$root/root/types" or die;
for my $type (qw(ldap pgsql mysql sqlite)) {
	my $file = "/root/types/$type.conf";
	RealServer::write_file("$root$file", "dbname = mail\ndbpath = /nowhere\nquery = SELECT v FROM u WHERE a = '%s'\n" =~ s/^@{[$type eq 'sqlite' ? 'dbname' : 'dbpath']}.*\n//mr);
	is(inside("dblookup -t $type $file ann\@example.test; echo \$?"), "dblookup: ann\@example.test: could not tell: $file: no zlmtp-$type.so in " .
		"/usr/libexec/zlmtp/; install it beside the programs (Debian: apt install zlmtp-$type)\n75\n", "who asks a map of type $type is told which package it needs");
}

# ---- used: the commands of README.Debian as they are printed ----

my $readme = do { local (@ARGV, $/) = "$root/usr/share/doc/zlmtp/README.Debian"; <> };
my @setup = grep { /\S/ } map { s/^    //r } split /\n/, $readme =~ /\n(    # who delivers\n.*?)\n    # mail/s ? $1 : '';
cmp_ok(scalar @setup, '>', 6, 'README.Debian has commands');
my ($mail) = $readme =~ /\n    # mail\n    (.*)\n/;
ok(defined $mail, 'and one that sends mail');
if (!$init) {
	s/ --now\b// for @setup;
}
works(join("\n", 'set -e', @setup), 'they work');
is(inside('systemctl is-enabled zlmtp-runqueue.service zlmtp-mapcheck.timer'), "enabled\nenabled\n", 'the units are enabled');

my $zlmtp = 'runuser -u zlmtp -- env ZCONFIG=/etc/zlmtp/zmailer.conf';
my $mapcheck = $init ? 'systemctl start zlmtp-mapcheck.service' : "$zlmtp zlmtp-check -o maps || test \$? = 1";
works($mapcheck, 'all maps are healthy');
inside('mv /var/lib/zlmtp/db/fqdnroutes.db /var/lib/zlmtp/db/aside');
inside($mapcheck);
isnt($?, 0, 'a map that is not there is no good news');
inside('mv /var/lib/zlmtp/db/aside /var/lib/zlmtp/db/fqdnroutes.db');

sub enqueue ($subject, $command = "$zlmtp enqueue") {
	like(inside("printf 'Subject: $subject\\n\\nHello.\\n' | $command -s me\@example.test ann\@example.test"), qr/^S[\w-]+$/,
		"message $subject is queued");
}

# In a chroot no scheduler runs.
sub arrives ($subject) {
	inside("$zlmtp runqueue -1") if !$init;
	ok(eval { RealServer::wait_for($subject, 20, sub { grep { /^Subject: $subject\b/m } $sink->messages }); 1 },
		"message $subject arrives") or diag inside('journalctl --no-pager -u zlmtp-runqueue | tail -20');
}

my $queued = 'find /var/spool/zlmtp -mindepth 2 -type f';
inside('systemctl stop zlmtp-runqueue') if $init;
enqueue('one');
enqueue('two', 'env ZCONFIG=/etc/zlmtp/zmailer.conf enqueue');
is(inside('find /var/spool/zlmtp ! -user zlmtp'), '', 'all of the queue belongs to zlmtp, also what root has put there');
inside('systemctl start zlmtp-runqueue') if $init;
arrives($_) for qw(one two);
ok(eval { RealServer::wait_for('an empty queue', 20, sub { inside($queued) eq '' }); 1 }, 'the queue is empty');

# what asks the maps for other mail systems
like(inside("$zlmtp dbserve -f /var/lib/zlmtp/db/dbases.conf -L socketmap:unix:/tmp/maps & pid=\$!\n" .
	"timeout 30 sh -c 'until test -S /tmp/maps; do sleep 0.1; done'\n" .
	q{timeout 30 perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("/tmp/maps") or die $!; } .
	q{print $s q(26:recipient ann@example.test,); $s->flush; sysread $s, $reply, 100; print $reply'} .
	"\nkill \$pid; wait \$pid"), qr/^5:OK OK,/m, 'dbserve answers from the maps');

SKIP: {
	skip 'no systemd of its own here', 24 if !$init;
	# mail of a program of this machine, by the intake
	works('systemctl enable --now zlmtp-intake.socket && systemctl stop zlmtp-runqueue', 'the intake is enabled');
	works(q{printf 'To: ann@example.test\nSubject: by sendmail\n\nHello.\n' | runuser -u nobody -- zlmtp-sendmail -f me@example.test -t},
		'anybody may send mail by zlmtp-sendmail');
	like(works("$zlmtp zlmtp-queue list", 'zlmtp-queue runs'), qr/me\@example\.test .* ann /, 'and lists it');
	works("$zlmtp zlmtp-queue hold from=me\@example.test", 'it is put aside');
	works('systemctl start zlmtp-runqueue', 'the queue runs');
	works("$zlmtp zlmtp-queue release from=me\@example.test", 'it is put back');
	arrives('by sendmail');
	works('systemctl disable --now zlmtp-intake.socket zlmtp-intake.service', 'the intake is disabled');
	# a protocol log and numbers, where the sandbox lets agents write
	works('sed -i "/^[^#]*command=/s| -s| -s -l /var/log/zlmtp/lmtp.log -O metrics=/var/lib/zlmtp/metrics/lmtp.prom|" ' .
		'/etc/zlmtp/scheduler.conf && systemctl restart zlmtp-runqueue', 'agents are told to write a log and numbers');
	enqueue('three');
	arrives('three');
	works('systemctl stop zlmtp-runqueue', 'the queue stops');
	like(inside('cat /var/log/zlmtp/lmtp.log'), qr/LHLO/, 'there is a log');
	like(inside('cat /var/lib/zlmtp/metrics/lmtp.prom'), qr/delivered/, 'and there are numbers');
	works('systemctl start zlmtp-runqueue', 'the queue goes on');
	is(inside('systemctl is-active zlmtp-runqueue zlmtp-mapcheck.timer'), "active\nactive\n", 'the units are active');
	is(inside('ps -o user= -C runqueue,lmtp 2>/dev/null || stat -c %U /proc/$(systemctl show -P MainPID zlmtp-runqueue)') =~
		s/\n.*//sr, 'zlmtp', 'the queue is run by user zlmtp');
	# maps can be written in the sandbox of sqlsync, which is that of ldapsync, too
	inside('mkdir -p /run/systemd/system/zlmtp-sqlsync@.service.d; touch /etc/zlmtp/sqlsync/people.conf; printf "%s\n" ' .
		'"[Service]" "Type=oneshot" "Restart=no" "ExecStart=" ' .
		'"ExecStart=/usr/libexec/zlmtp/dbupdate /var/lib/zlmtp/db/fqdnroutes set new@example.test lmtp!-!new" ' .
		'> /run/systemd/system/zlmtp-sqlsync@.service.d/test.conf; systemctl daemon-reload');
	works('systemctl start zlmtp-sqlsync@people', 'a live map is changed in the sandbox of sqlsync');
	diag inside('journalctl --no-pager -u "zlmtp-sqlsync@*" | tail -20') if $? != 0;
	like(works("$zlmtp dblookup -f /var/lib/zlmtp/db/dbases.conf fqdnroutes new\@example.test", 'and has the new key'), qr/lmtp!-!new/,
		'with its value');
	inside('rm -r /run/systemd/system/zlmtp-sqlsync@.service.d; systemctl daemon-reload');
	# an upgrade; systemd is not to count it with the starts of the last ten seconds, of which five are the most
	inside('systemctl reset-failed zlmtp-runqueue');
	my $pid = inside('systemctl show -P MainPID zlmtp-runqueue');
	works("$install --reinstall", 'it is installed over itself');
	like(inside('systemctl show -P MainPID zlmtp-runqueue'), qr/^(?!$pid)[1-9]/, 'and the queue is run by the new program');
	enqueue('four');
	arrives('four');
}

# ---- removed with mail in the queue ----

inside('systemctl stop zlmtp-runqueue') if $init;
enqueue('five');
my $purge = works('apt-get purge -qq -y zlmtp', 'the package goes while there is mail');
like($purge, qr{^zlmtp: there is mail in /var/spool/zlmtp.*\nzlmtp: Install zlmtp again}m, 'and says so, and what to do');
isnt(inside('find /var/spool/zlmtp/transport -type f'), '', 'but the mail stays');
like(inside('id zlmtp'), qr/^uid=/, 'and its owner');
ok(!-e "$root/usr/libexec/zlmtp", 'the programs are gone');
ok(-e "$root/$_", "$_ stays") for qw(etc/zlmtp/scheduler.conf var/lib/zlmtp/db/fqdnroutes.db);
works($install . ($init ? ' && systemctl start zlmtp-runqueue' : ''), 'it comes back');
arrives('five');

# ---- removed ----

inside('systemctl enable zlmtp-runqueue zlmtp-sqlsync@people zlmtp-mapcheck.timer; mkdir -p /var/log/zlmtp; ' .
	'touch /var/log/zlmtp/lmtp.log /etc/zlmtp/sqlsync/people.conf');
ok(eval { RealServer::wait_for('an empty queue', 20, sub { inside($queued) eq '' }); 1 }, 'the queue is empty');
works('apt-get remove -qq -y zlmtp', 'it is removed while the queue runs');
is(inside('pgrep -u zlmtp 2>/dev/null || ls -l /proc | grep -w zlmtp'), '', 'and runs no more');
ok(-e "$root/etc/zlmtp/scheduler.conf" && -d "$root/var/spool/zlmtp", 'configuration and queue stay');
works('apt-get purge -qq -y zlmtp', 'it is purged');
inside('systemctl daemon-reload; systemctl reset-failed') if $init;
is(difference($before, everything()), '', 'nothing is left');

# ---- with a directory: from a zlmtp that had all of it, to zlmtp and zlmtp-ldap ----

# Both packages in one, of another version, as it was before 0.2.0.
sub make_old_package () {
	my ($ldap) = grep { m{/zlmtp-ldap_} } @others;
	my $old = "$dir/old";
	system("dpkg-deb -R '$package' '$old' && dpkg-deb -x '$ldap' '$old' && dpkg-deb -e '$ldap' '$dir/old-ldap'") == 0 or die 'dpkg-deb';
	for my $script (qw(postinst prerm postrm)) {
		my ($mine, $also) = map { local (@ARGV, $/) = $_; <> } "$old/DEBIAN/$script", "$dir/old-ldap/$script";
		RealServer::write_file("$old/DEBIAN/$script", $mine . $also, 0755);
	}
	my $control = do { local (@ARGV, $/) = "$old/DEBIAN/control"; <> };
	$control =~ s/^Version: .*/Version: 0.1.0/m;
	$control =~ s/^Depends: .*/Depends: @{[depends($package, $ldap)]}/m;
	$control =~ s/^Recommends: .*\n//m;
	RealServer::write_file("$old/DEBIAN/control", $control);
	mkdir "$root/root/old";
	system("dpkg-deb -b '$old' '$root/root/old' >/dev/null") == 0 or die 'dpkg-deb';
}

SKIP: {
	my $why = RealSlapd::missing() // (-x '/usr/bin/sqlite3' ? undef : 'no sqlite3 here');
	skip $why, 35 if $why;
	my $slapd = RealSlapd->new(users => 3, no_tls => 1)->start;
	link $slapd->dir . '/ldapi', "$sink->{dir}/ldapi" or die "$sink->{dir}/ldapi: $!\n";
	my $access = "uri ldapi://%2Frun%2Fdovecot%2Fldapi\nbinddn $RealSlapd::reader\npasswd $RealSlapd::reader_password\nbase $RealSlapd::hosting\n";
	my $map = '/var/lib/zlmtp/db/people';
	# what an upgrade has changed is seen by a user that is new in the directory
	my $follows = sub ($user) {
		$slapd->add_account($user);
		inside("$zlmtp ldapsync -f /etc/zlmtp/ldapsync/people.conf -1") if !$init;
		ok(eval { RealServer::wait_for($user, 30, sub { inside("$zlmtp dblookup -t btree $map $user\@$RealSlapd::domain") =~ m{/$user$} }); 1 },
			"... and $user is in the map") or diag inside('journalctl --no-pager -u zlmtp-ldapsync@people | tail -20');
	};
	my $runs_new_program = sub () {
		return if !$init;
		is(inside('systemctl is-enabled zlmtp-ldapsync@people; systemctl is-active zlmtp-ldapsync@people; ' .
			'readlink /proc/$(systemctl show -P MainPID zlmtp-ldapsync@people)/exe'), "enabled\nactive\n/usr/libexec/zlmtp/ldapsync\n",
			'... the unit runs the new program');
	};

	make_old_package();
	my $install_old = 'apt install --allow-downgrades /root/old/zlmtp_0.1.0_*.deb';
	works($install_old, 'a zlmtp that has all of it is installed');
	RealServer::write_file("$root/etc/zlmtp/ldapsync/people.conf",
		"${access}map $map\ntype btree\nrule users\nfilter (objectClass=CourierMailAccount)\nkey {mail}\nvalue lmtp!store!{mailbox}\n", 0600);
	works('chown zlmtp: /etc/zlmtp/ldapsync/people.conf && systemctl enable' . ($init ? ' --now' : '') . ' zlmtp-ldapsync@people', 'ldapsync is enabled');
	$follows->('ann');
	works($with_ldap, 'it is upgraded, to two packages');
	verifies('zlmtp-ldapsync@.service');
	$runs_new_program->();
	$follows->('bob');
	works($install_old . ($init ? ' && systemctl start zlmtp-ldapsync@people' : ''), 'the old one comes back');
	$follows->('cid');
	like(works($install, 'zlmtp alone is upgraded'), qr/^zlmtp: maps of type ldap, and ldapsync .* need the package zlmtp-ldap now\.\r?$/m,
		'and says what else is needed');
	ok(!-e "$root/usr/libexec/zlmtp/ldapsync", '... which is not there');
	like(inside("$zlmtp dblookup -t btree $map cid\@$RealSlapd::domain"), qr{/cid$}, 'the map is as it was');
	works($with_ldap, 'it is installed');
	$runs_new_program->();
	$follows->('dan');

	# maps of all types
	works('cd /root/built && apt install ./zlmtp*.deb', 'all packages are installed');
	RealServer::write_file("$root/root/types/ldap.conf", "${access}filter (mail=%s)\nresult_attribute mailbox\n", 0600);
	like(works("dblookup -t ldap /root/types/ldap.conf dan\@$RealSlapd::domain", 'a map of type ldap is asked'), qr{/dan$}m, 'and answers');
	system("sqlite3 '$root/root/types/db' \"CREATE TABLE users (email TEXT, home TEXT); INSERT INTO users VALUES ('ann\@example.test', 'a home')\"");
	RealServer::write_file("$root/root/types/sqlite.conf", "dbpath = /root/types/db\nquery = SELECT home FROM users WHERE email = '%s'\n");
	is(works('dblookup -t sqlite /root/types/sqlite.conf ann@example.test', 'a map of type sqlite is asked'), "a home\n", 'and answers');
	for my $type (qw(pgsql mysql)) {
		RealServer::write_file("$root/root/types/$type.conf",
			"hosts = unix:/root/types/none\nuser = me\ndbname = mail\nquery = SELECT home FROM users WHERE email = '%s'\n");
		like(inside("dblookup -t $type /root/types/$type.conf ann\@example.test; echo \$?"), qr{\A[^\n]*/root/types/none.*\n75\n\z},
			"a map of type $type looks for its server");
	}

	works('apt-get remove -qq -y zlmtp-ldap', 'zlmtp-ldap is removed while ldapsync runs');
	is(inside('pgrep -x ldapsync 2>/dev/null || ls -l /proc/*/exe 2>/dev/null | grep ldapsync'), '', 'which runs no more');
	ok(-e "$root$map.db" && -e "$root/etc/zlmtp/ldapsync/people.conf", 'map and configuration stay');
	works('apt-get purge -qq -y "zlmtp*"', 'all are purged');
	inside('systemctl daemon-reload; systemctl reset-failed') if $init;
	is(join('', map { "$_\n" } grep { /zlmtp/ } split /\n/, difference($before, everything())), '', 'nothing is left of them');
	unlink "$sink->{dir}/ldapi";
}

# ---- README.Debian once more, with the Dovecot of this release as it comes ----

SKIP: {
	skip 'no systemd of its own here', 9 if !$init;
	works('umount /run/dovecot && rmdir /run/dovecot', 'the sink is gone');
	works('apt-get install -qq -y --no-install-recommends --no-download dovecot-lmtpd && useradd --create-home ann',
		'Dovecot is installed, and there is a user');
	works($install, 'zlmtp is installed');
	works(join("\n", 'set -e', @setup, $mail), 'what README.Debian says works');
	ok(eval { RealServer::wait_for('mail', 60, sub { inside('doveadm fetch -u ann hdr.subject all') =~ /it works/ }); 1 },
		'and ann has the mail') or diag inside('journalctl --no-pager -u zlmtp-runqueue -u dovecot | tail -20');
	my $drop_in = join "\n", map { s/^    //r } $readme =~ /\n(    for unit in .*?daemon-reload)\n/s;
	works(join("\n", 'set -e', $drop_in =~ s/^    //gmr, 'systemctl restart zlmtp-runqueue', 'systemctl start zlmtp-mapcheck'),
		'and with the drop-in for containers, too');
	is(inside('systemctl show -P PrivateUsers -P ProtectProc -P ProcSubset zlmtp-runqueue'), "no\ndefault\nall\n",
		'which has its effect');
	works("cd /var/lib/zlmtp/db && $zlmtp dbupdate fqdnroutes set gone\@example.test 'lmtp!dovecot!gone' && " .
		"echo 'Subject: to nobody' | $zlmtp enqueue -s ann\@example.test gone\@example.test", 'mail to somebody whom Dovecot does not know');
	ok(eval { RealServer::wait_for('a report', 120, sub { inside('doveadm fetch -u ann hdr.auto-submitted all') =~ /auto-replied/ }); 1 },
		'is told to its sender by a report') or diag inside('journalctl --no-pager -u zlmtp-runqueue | tail -20');
}

done_testing;
