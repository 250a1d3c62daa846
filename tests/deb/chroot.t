#!/usr/bin/perl
# The Debian package in a Debian 12 of its own: installed, used as README.Debian says, removed, and nothing is left.
#
# Needs root, debootstrap and a mirror.  ZLMTP_MIRROR names another mirror than deb.debian.org; ZLMTP_BASE a
# directory that debootstrap made before, of which a copy is used; ZLMTP_KEEP=1 leaves the directory for a look.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Cwd ();
use File::Temp ();
use Test::More;
use RealServer;
use RealSink;

my $source = Cwd::abs_path($ENV{SRC_DIR} // "$FindBin::Bin/../..");
my $mirror = $ENV{ZLMTP_MIRROR} // 'http://deb.debian.org/debian';
my $base = $ENV{ZLMTP_BASE};

plan skip_all => 'a chroot needs root' if $> != 0;
for my $needed (['dpkg-buildpackage', 'dpkg-dev'], $base ? () : ['debootstrap', 'debootstrap'], ['unshare', 'util-linux']) {
	plan skip_all => "no $needed->[0] here (Debian: $needed->[1])" if !grep { -x "$_/$needed->[0]" } split /:/, $ENV{PATH};
}
if (my $why = RealSink::missing()) {
	plan skip_all => $why;
}
# what is mounted is seen by this process alone and goes with it
if (!$ENV{ZLMTP_UNSHARED}) {
	$ENV{ZLMTP_UNSHARED} = 1;
	exec 'unshare', '--mount', '--propagation', 'private', $^X, $0 or die "unshare: $!\n";
}

my $dir = File::Temp::tempdir('zlmtp-chroot-XXXXXX', TMPDIR => 1);
my $root = "$dir/root";
my $owner = $$;
my @mounted;

sub shell ($command) {
	my $text = qx{exec 2>&1; $command};
	return $text;
}

# Runs a command in there; what it says comes back, its status is in $?.
sub inside ($command) {
	RealServer::write_file("$root/root/command", "$command\n");
	return shell("env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C " .
		"DEBIAN_FRONTEND=noninteractive chroot '$root' sh /root/command </dev/null");
}

sub works ($command, $name) {
	my $text = inside($command);
	is($?, 0, $name) or diag $text;
	return $text;
}

END {
	if ($$ == $owner) {
		local $?;
		# what is still mounted must not be removed with the rest
		my $clear = 1;
		$clear &= system('umount', '-l', $_) == 0 for reverse @mounted;
		if ($ENV{ZLMTP_KEEP}) { diag "left for a look: $dir" }
		elsif ($clear) { system 'rm', '-rf', '--one-file-system', $dir }
	}
}

# ---- the package, with its tests of single files ----

my $log = shell("env DEB_BUILD_OPTIONS=parallel=2 '$source/debian/build' '$source' '$dir/out'");
is($?, 0, 'the package is built') or BAIL_OUT($log);
my ($package) = glob "$dir/out/zlmtp_*.deb";

# ---- a Debian ----

$log = $base ? shell("cp -a '$base' '$root'") : shell("debootstrap --variant=minbase bookworm '$root' '$mirror'");
is($?, 0, 'there is a Debian') or BAIL_OUT($log);
for my $mount (['proc', 'proc'], ['sysfs', 'sys'], ['tmpfs', 'run']) {
	system('mount', '-t', $mount->[0], $mount->[0], "$root/$mount->[1]") == 0 or BAIL_OUT("cannot mount $mount->[1]");
	push @mounted, "$root/$mount->[1]";
}
system "cp /etc/resolv.conf '$root/etc/resolv.conf'; cp '$package' '$root/root/zlmtp.deb'";
RealServer::write_file("$root/etc/apt/sources.list", "deb $mirror bookworm main\n") if !$base;
RealServer::write_file("$root/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0755);

# what the package needs, and systemd to look at its units, are there before it comes
my ($depends) = qx{dpkg-deb -f '$package' Depends} =~ /^(.*)$/;
works("apt-get update -qq && apt-get satisfy -qq -y --no-install-recommends '$depends' >/dev/null && " .
	'apt-get install -qq -y --no-install-recommends systemd >/dev/null', 'its dependencies are installed') or BAIL_OUT('no mirror');

# Everything that there is, with owner, mode and size, but for what apt and dpkg remember.
sub everything () {
	my @lines = split /\n/, inside('find / -xdev \( -path /root -o -path /tmp -o -path /var/cache -o -path /var/log -o ' .
		'-path /var/lib/apt -o -path /var/lib/dpkg \) -prune -o -printf "%p %y %U:%G %m %l\n"; ls -d /var/log/* ' .
		'/var/cache/*; cat /etc/passwd /etc/group /etc/shadow /etc/gshadow; dpkg -l | grep zlmtp');
	return { map { $_ => 1 } @lines };
}

# What one has and the other has not; backups that adduser makes are of no package.
sub difference ($before, $after) {
	return join "\n", sort grep { !m{^/etc/(?:passwd|group|shadow|gshadow|subuid|subgid)- } }
		(grep { !$before->{$_} } keys %$after), (grep { !$after->{$_} } keys %$before);
}

my $before = everything();
cmp_ok(scalar keys %$before, '>', 3000, 'what is there before');

# ---- installed ----

my $said = works('apt-get install -qq -y --no-install-recommends /root/zlmtp.deb', 'it is installed');
unlike($said, qr/error|warning: .*zlmtp/i, 'without a complaint');
my $owners = inside('stat -c "%U:%G %a %n" /var/spool/zlmtp /var/spool/zlmtp/* /var/lib/zlmtp /var/lib/zlmtp/db');
is($owners, <<'END', 'the directories belong to whom they should');
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
like(works("/usr/libexec/zlmtp/$_ -V", "$_ runs"), qr/^\S+ \(zlmtp\) \d/, 'and says its version')
	for 'ta/lmtp', map { s{.*/}{}r } glob("$root/usr/sbin/{enqueue,runqueue,newdb,dbupdate,dblookup,ldapsync}");
is(inside('systemctl is-enabled zlmtp-runqueue.service zlmtp-mapcheck.timer'), "disabled\ndisabled\n", 'nothing is enabled');
for my $unit (qw(zlmtp-runqueue.service zlmtp-ldapsync@.service zlmtp-mapcheck.service zlmtp-mapcheck.timer)) {
	is(works("systemd-analyze verify --man=no $unit", "$unit verifies"), '', 'silently');
	next if $unit =~ /timer$/;
	my ($exposure) = inside("systemd-analyze security --no-pager --offline=true $unit") =~ /exposure level for .*?: ([\d.]+)/;
	cmp_ok($exposure // 10, '<', 3, 'its exposure is ' . ($exposure // 'unknown'));
}

# ---- used: the commands of README.Debian ----

my ($commands) = do { local (@ARGV, $/) = "$root/usr/share/doc/zlmtp/README.Debian"; <> } =~ /\n(    # who delivers\n.*?)\n    # mail/s;
my @setup = grep { /\S/ } map { s/^    //r } split /\n/, $commands // '';
cmp_ok(scalar @setup, '>', 6, 'README.Debian has commands');
works(join("\n", 'set -e', @setup), 'they work');
like(inside('systemctl is-enabled zlmtp-runqueue.service zlmtp-mapcheck.timer'), qr/^enabled\nenabled$/m, 'the units are enabled');
works('ZCONFIG=/etc/zlmtp/zmailer.conf; export ZCONFIG; for m in aliases fqdnaliases fqdnroutes; do ' .
	'runuser -u zlmtp -- dbupdate /var/lib/zlmtp/db/$m replace -a; done; ' .
	'runuser -u zlmtp -- dbupdate /var/lib/zlmtp/db/routes replace', 'live maps get their first content');

# The helper of the timer as its unit runs it.
sub mapcheck () { return inside('runuser -u zlmtp -- env ZCONFIG=/etc/zlmtp/zmailer.conf /usr/libexec/zlmtp/mapcheck') }
mapcheck();
is($?, 0, 'all maps are healthy');
my $maps = "$root/var/lib/zlmtp/db";
rename "$maps/fqdnroutes.db", "$maps/aside" or die "$maps/fqdnroutes.db: $!\n";
like(mapcheck(), qr/fqdnroutes/, 'a map that is not there is named');
isnt($?, 0, 'and is no good news');
rename "$maps/aside", "$maps/fqdnroutes.db";

my $sink = RealSink->start(dump => 1);
chmod 0666, $sink->{socket};
mkdir "$root/run/dovecot";
system('mount', '--bind', '-o', 'ro', $sink->{dir}, "$root/run/dovecot") == 0 or BAIL_OUT('cannot mount the directory of the sink');
push @mounted, "$root/run/dovecot";
symlink 's', "$sink->{dir}/lmtp";

sub enqueue ($subject, $user = 'zlmtp') {
	return inside("printf 'Subject: $subject\\n\\nHello.\\n' | runuser -u $user -- env ZCONFIG=/etc/zlmtp/zmailer.conf " .
		'enqueue -s me@example.test user@example.test');
}
my $run = 'runuser -u zlmtp -- env ZCONFIG=/etc/zlmtp/zmailer.conf runqueue -1 -v';
like(enqueue('one'), qr/^\d+$/, 'mail is queued by user zlmtp');
like(enqueue('two', 'root'), qr/^\d+$/, 'and by root');
isnt(inside('find /var/spool/zlmtp -mindepth 2 -type f'), '', 'it is in the queue');
is(inside('find /var/spool/zlmtp -mindepth 2 ! -user zlmtp'), '', 'where all of it belongs to zlmtp');
works($run, 'the queue runs');
like(join('', $sink->messages), qr/^Subject: $_\b/m, "message $_ has arrived") for qw(one two);
is(inside('find /var/spool/zlmtp -mindepth 2 -type f'), '', 'and has left the queue');

# ---- removed with mail in the queue ----

enqueue('three');
works('apt-get purge -qq -y zlmtp', 'the package goes while there is mail');
isnt(inside('find /var/spool/zlmtp/transport -type f'), '', 'but the mail stays');
like(inside('id zlmtp'), qr/^uid=/, 'and its owner');
ok(!-e "$root/$_", "$_ is gone") for qw(etc/zlmtp var/lib/zlmtp usr/libexec/zlmtp);
works('apt-get install -qq -y --no-install-recommends /root/zlmtp.deb && ' .
	'cp /usr/share/doc/zlmtp/examples/scheduler.conf /etc/zlmtp', 'it comes back');
works($run, 'the queue runs');
like(join('', $sink->messages), qr/^Subject: three/m, 'the mail that was left arrives');

# ---- removed ----

inside('systemctl enable zlmtp-runqueue zlmtp-ldapsync@people zlmtp-mapcheck.timer; mkdir /var/log/zlmtp; ' .
	'touch /var/log/zlmtp/lmtp.log /etc/zlmtp/ldapsync/people.conf');
works('apt-get remove -qq -y zlmtp', 'it is removed');
ok(-e "$root/etc/zlmtp/scheduler.conf" && -d "$root/var/spool/zlmtp", 'configuration and queue stay');
works('apt-get purge -qq -y zlmtp', 'it is purged');
system 'umount', pop @mounted;
$sink->stop;
is(difference($before, everything()), '', 'nothing is left');

done_testing;
