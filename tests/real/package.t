#!/usr/bin/perl
# The Debian package as it is built from an unpacked distribution: contents, lintian, maintainer scripts, units.  ZLMTP_PACKAGES is a
# directory where debian/build has made it already.
# What it does when it is installed and removed is in tests/deb/chroot.t (make check-deb).

use v5.36;
use FindBin;
use File::Temp ();
use Test::More;

my $source = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $build = $ENV{BUILD_DIR} // $source;

sub is_here ($program) { return grep { -x "$_/$program" } split /:/, $ENV{PATH} }

# What a command says, both ways; its status is in $?.
sub said (@command) {
	my $pid = open my $out, '-|' // die "fork: $!\n";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDERR, '>&', \*STDOUT;
		exec @command or exit 127;
	}
	local $/;
	my $text = <$out> // '';
	close $out;
	return $text;
}

sub slurp ($path) {
	open my $file, '<', $path or die "$path: $!\n";
	local $/;
	return <$file>;
}

plan skip_all => 'the sanitized programs are not what is packaged' if $ENV{ZLMTP_SANITIZED};
for my $needed (['dh', 'debhelper'], ['dpkg-buildpackage', 'dpkg-dev'], ['fakeroot', 'fakeroot'],
	['lintian', 'lintian'], ['systemd-analyze', 'systemd'], ['git', 'git']) {
	plan skip_all => "no $needed->[0] here (Debian: $needed->[1])" if !is_here($needed->[0]);
}
plan skip_all => 'LDAP, LMDB, IDN or SASL is left out here: not what is packaged'
	if slurp("$build/config.h") =~ /^#define HAVE_\w+ 0/m;

my $dir = File::Temp->newdir('zlmtp-package-XXXXXX', TMPDIR => 1);
my $tree = $source;
if (-e "$source/.git") {
	$tree = "$dir/zlmtp";
	mkdir $tree or die;
	system("git -c safe.directory='*' -C '$source' archive HEAD | tar -x -C '$tree'") == 0
		or die "no archive of $source\n";
}
my ($version) = slurp("$tree/configure") =~ /^VERSION=(\S+)/m;

# ---- built ----

$ENV{DEB_BUILD_OPTIONS} = 'nocheck noautodbgsym parallel=2';
my $packages = $ENV{ZLMTP_PACKAGES} // "$dir/out";
my $log = $ENV{ZLMTP_PACKAGES} ? '' : said("$tree/debian/build", $tree, $packages);
my ($package) = glob "$packages/zlmtp_*.deb";
ok(defined $package, 'the package is built from an unpacked distribution') or do { diag $log; done_testing; exit };
like($package, qr{/zlmtp_\Q$version\E_}, 'with the version of configure');
ok(!-e "$tree/debian/zlmtp" && ($tree eq $source || !-e "$tree/Makefile"), 'the source is as it was');

my $complaints = said('lintian', ($> == 0 ? '--allow-root' : ()), '--tag-display-limit', 0, glob "$packages/*.changes");
unlike($complaints, qr/^[EW]:/m, 'lintian finds no errors and warns of nothing') or diag $complaints;

# ---- contents ----

my $root = "$dir/root";
mkdir $root or die;
said('dpkg-deb', '-x', $package, $root);
said('dpkg-deb', '-e', $package, "$root/DEBIAN");
my $control = slurp("$root/DEBIAN/control");
# the libraries of this release, whatever their packages are called in it
my %renamed = (bookworm => [qw(libdb5.3 libldap-2.5-0 libssl3)], trixie => [qw(libdb5.3t64 libldap2 libssl3t64)]);
my ($release) = slurp('/etc/os-release') =~ /^VERSION_CODENAME=(\w+)/m;
like($control, qr/^Depends: (?:.*, )?\Q$_\E(?: \(|,|$)/m, "it depends on $_")
	for qw(adduser libc6 libidn2-0 liblmdb0 libsasl2-2), @{$renamed{$release // ''} // []};
is(slurp("$root/DEBIAN/conffiles"), "/etc/logrotate.d/zlmtp\n/etc/zlmtp/zmailer.conf\n", 'configuration files');
for my $program (qw(enqueue intake runqueue zlmtp-sendmail zlmtp-queue zlmtp-report zlmtp-check newdb dbupdate dblookup dbserve ldapsync sqlsync)) {
	ok(-x "$root/usr/libexec/zlmtp/$program", "$program is there");
	is(readlink "$root/usr/sbin/$program", "../libexec/zlmtp/$program", 'and in the path of administrators');
}
ok(-x "$root/usr/libexec/zlmtp/ta/lmtp", 'the agent is where runqueue looks for it');
is(readlink "$root/usr/sbin/$_", "../libexec/zlmtp/ta/$_", "$_ is in the path") for qw(lmtp lmtp-probe);
for my $page (glob "$tree/doc/*.[578]") {
	my ($name, $section) = $page =~ m{([^/]+\.(\d))$};
	ok(-s "$root/usr/share/man/man$section/$name.gz", "manual page $name");
}
ok(-s "$root/usr/share/bash-completion/completions/$_", "completion for $_") for qw(lmtp runqueue dbupdate);
ok(-s "$root/usr/share/doc/zlmtp/$_", $_) for qw(copyright README.Debian changelog.gz examples/scheduler.conf);
SKIP: {
	skip 'no lowdown or no mandoc here, so the package has no html', 3 if grep { my $p = $_; !grep { -x "$_/$p" } split /:/, $ENV{PATH} } qw(lowdown mandoc);
	my ($index) = join('', map { slurp($_) } glob "$root/usr/share/doc-base/*") =~ /^Index: (.*)$/m;
	ok(-s $root . ($index // '/none'), 'the site, where doc-base says it is') or last SKIP;
	my @links = slurp($root . $index) =~ /href="([^"]+)"/g;
	cmp_ok(scalar @links, '>', 30, '... with its pages');
	is_deeply([grep { !-s "$root/usr/share/doc/zlmtp/html/$_" } @links], [], '... which are all there');
}
ok(-s "$root/usr/share/zlmtp/router-scripts/db/dbases.conf", 'samples of maps');

# where this release has them
my ($units) = grep { -d "$root$_" } qw(/usr/lib/systemd/system /lib/systemd/system);
ok($units, 'there are units');

# README.Debian and the units name nothing of the package that is not there
for my $text ("$root/usr/share/doc/zlmtp/README.Debian", glob "$root$units/*") {
	my @missing = grep { !-e "$root$_" } map { s/[.,:]+$//r } slurp($text) =~ m{(/usr/(?:libexec|share)/[\w./-]+)}g;
	is("@missing", '', ($text =~ s{.*/}{}r) . ' names what is there');
}

# ---- maintainer scripts ----

for my $script (map { "$root/DEBIAN/$_" } qw(postinst prerm postrm)) {
	is(said('sh', '-n', $script), '', ($script =~ s{.*/}{}r) . ' is shell');
	like(slurp($script), qr/^set -[eu]/m, 'that does not go on after trouble');
}

# ---- units ----

# each service sees its own processes alone; intake counts connections by user, so users are who they are
for my $unit (glob "$root$units/zlmtp-*.service") {
	my $text = slurp($unit);
	my ($name) = $unit =~ m{([^/]+)\z};
	like($text, qr/^\Q$_\E$/m, "$name: $_") for 'ProtectProc=invisible', 'ProcSubset=pid', $name =~ /intake/ ? () : 'PrivateUsers=yes';
	like(slurp("$root/usr/share/doc/zlmtp/README.Debian"), qr/^ *for unit in .*\b\Q${\($name =~ s{\.service\z}{}r)}\E/m, 'and README.Debian says what to do in a container');
}

# systemd looks at a whole system: its own units, and no manual pages of others
mkdir "$dir/system" or die;
system("cp -a $units/. '$dir/system' && cp '$root$units'/* '$dir/system' && rm -r '$root$units' && " .
	"mv '$dir/system' '$root$units'") == 0 or die "cannot copy units\n";
for my $unit (qw(zlmtp-runqueue.service zlmtp-ldapsync@.service zlmtp-sqlsync@.service zlmtp-mapcheck.service zlmtp-mapcheck.timer)) {
	my $words = said('systemd-analyze', 'verify', '--man=no', "--root=$root", $unit);
	is($?, 0, "$unit is a unit") or diag $words;
	is(join('', grep { /zlmtp/ } split /^/m, $words), '', 'with which systemd finds no fault');
	next if $unit =~ /timer$/;
	my ($exposure) = said('systemd-analyze', 'security', '--no-pager', '--offline=true', "--root=$root", $unit) =~
		/Overall exposure level for .*?: ([\d.]+)/;
	cmp_ok($exposure // 10, '<', 3, 'and little is exposed: ' . ($exposure // 'unknown'));
}

done_testing;
