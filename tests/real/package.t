#!/usr/bin/perl
# The Debian packages as they are built from an unpacked distribution: contents, lintian, maintainer scripts, units.  ZLMTP_PACKAGES is a
# directory where debian/build has made it already.
# What they do when they are installed and removed is in tests/deb/chroot.t (make check-deb).

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
	['lintian', 'lintian'], ['systemd-analyze', 'systemd'], ['git', 'git'], ['readelf', 'binutils']) {
	plan skip_all => "no $needed->[0] here (Debian: $needed->[1])" if !is_here($needed->[0]);
}
plan skip_all => 'something optional is left out here: not what is packaged'
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
my @names = slurp("$tree/debian/control") =~ /^Package: (\S+)$/mg;
is_deeply([sort map { m{/([^/_]+)_\Q$version\E_\w+\.deb\z} } glob "$packages/*.deb"], [sort @names],
	'the packages of debian/control are built from an unpacked distribution, with the version of configure')
	or do { diag $log; done_testing; exit };
ok(!-e "$tree/debian/zlmtp" && ($tree eq $source || !-e "$tree/Makefile"), 'the source is as it was');

my $complaints = said('lintian', ($> == 0 ? '--allow-root' : ()), '--tag-display-limit', 0, glob "$packages/*.changes");
unlike($complaints, qr/^[EW]:/m, 'lintian finds no errors and warns of nothing') or diag $complaints;

# ---- contents ----

# all of them, as if they were installed
my $root = "$dir/root";
mkdir $root or die;
my (%control, %files);
for my $name (@names) {
	my ($package) = glob "$packages/${name}_*.deb";
	said('dpkg-deb', '-x', $package, $root);
	said('dpkg-deb', '-e', $package, "$dir/$name.scripts");
	$control{$name} = slurp("$dir/$name.scripts/control");
	$files{$name} = [sort map { m{^[^d].* \.(/\S+)(?: -> .*)?$} } split /\n/, said('dpkg-deb', '-c', $package)];
}
my %owners;
push @{$owners{$_->[1]}}, $_->[0] for map { my $name = $_; map { [$name, $_] } @{$files{$name}} } @names;
is(join('', map { "$_: @{$owners{$_}}\n" } grep { @{$owners{$_}} > 1 } sort keys %owners), '', 'no file is in two packages');

# the libraries of this release, whatever their packages are called in it
my %renamed = (bookworm => [qw(libdb5.3 libssl3 libldap-2.5-0)], trixie => [qw(libdb5.3t64 libssl3t64 libldap2)]);
my ($release) = slurp('/etc/os-release') =~ /^VERSION_CODENAME=(\w+)/m;
my ($libdb, $libssl, $libldap) = @{$renamed{$release // ''} // []};
my %libraries = (
	'zlmtp' => ['adduser', 'libc6', 'libidn2-0', 'liblmdb0', 'libsasl2-2', grep { defined } $libdb, $libssl],
	'zlmtp-ldap' => [grep { defined } $libldap],
	'zlmtp-pgsql' => ['libpq5'],
	'zlmtp-mysql' => ['libmariadb3'],
	'zlmtp-sqlite' => ['libsqlite3-0'],
);
is_deeply([sort keys %libraries], [sort @names], 'what each package is for is known here');
for my $name (@names) {
	like($control{$name}, qr/^Depends: (?:.*, )?\Q$_\E(?: \(|,|$)/m, "$name depends on $_") for @{$libraries{$name}};
	next if $name eq 'zlmtp';
	like($control{$name}, qr/^Depends: (?:.*, )?zlmtp \(= \Q$version\E\)(?:,|$)/m, '... and on this zlmtp');
}
# what directories and databases need is in none but the package for it
for my $name (@names) {
	my @foreign = grep { !/^(?:$name)$/ } qw(zlmtp-ldap zlmtp-pgsql zlmtp-mysql zlmtp-sqlite);
	my %kind = ('zlmtp-ldap' => 'ldap|lber', 'zlmtp-pgsql' => 'pq', 'zlmtp-mysql' => 'mariadb|mysql', 'zlmtp-sqlite' => 'sqlite');
	my $not = join '|', @kind{@foreign};
	my ($depends) = $control{$name} =~ /^Depends: (.*)$/m;
	unlike($depends, qr/\blib(?:$not)/, "$name depends on no library for another one");
	my @linked = grep { said('readelf', '-d', "$root$_") =~ /NEEDED.*\[lib(?:$not)/ } grep { m{^/usr/libexec/} && !-l "$root$_" } @{$files{$name}};
	is("@linked", '', '... and nothing in it is linked with one');
}
my @documents = qw(changelog.gz copyright);
for my $type (qw(pgsql mysql sqlite)) {
	is_deeply($files{"zlmtp-$type"}, [sort "/usr/libexec/zlmtp/zlmtp-$type.so", map { "/usr/share/doc/zlmtp-$type/$_" } @documents],
		"what is in zlmtp-$type");
	is(join(' ', grep { $_ !~ /^(?:control|md5sums)$/ } map { s{.*/}{}r } glob "$dir/zlmtp-$type.scripts/*"), '', '... and nothing is done with it');
}
# a tool that creates units in other places may be older or newer
my @ldap = sort map { s{^(?:/usr)?/lib/systemd/system/}{UNITS/}r } @{$files{'zlmtp-ldap'}};
is_deeply(\@ldap, [sort 'UNITS/zlmtp-ldapsync@.service', '/usr/share/lintian/overrides/zlmtp-ldap',
	(map { "/usr/share/doc/zlmtp-ldap/$_" } @documents), '/usr/libexec/zlmtp/ldapsync', '/usr/libexec/zlmtp/zlmtp-ldap.so', '/usr/sbin/ldapsync',
	'/usr/share/bash-completion/completions/ldapsync', '/usr/share/man/man5/ldap_map.5.gz', '/usr/share/man/man8/ldapsync.8.gz',
	map { s{^\Q$tree\E/}{/usr/share/zlmtp/}r } glob "$tree/router-scripts/ldap/*"], 'what is in zlmtp-ldap');
like($control{'zlmtp-ldap'}, qr/^$_: zlmtp \(<< 0\.2\.0~\)$/m, "zlmtp-ldap: $_ of what was in zlmtp before") for qw(Breaks Replaces);
unlike($control{'zlmtp'}, qr/^Depends:.*\bzlmtp-/m, 'zlmtp needs none of the others');
is(slurp("$dir/zlmtp.scripts/conffiles"), "/etc/logrotate.d/zlmtp\n/etc/zlmtp/zmailer.conf\n", 'configuration files');
for my $program (qw(enqueue intake runqueue zlmtp-sendmail zlmtp-queue zlmtp-report zlmtp-check newdb dbupdate dblookup dbserve ldapsync sqlsync)) {
	ok(-x "$root/usr/libexec/zlmtp/$program", "$program is there");
	is(readlink "$root/usr/sbin/$program", "../libexec/zlmtp/$program", 'and in the path of administrators');
}
ok(!exists $owners{'/usr/share/man/man8/lmtp.8.gz'}, 'no file is one of Postfix, which can be installed, too');
is(readlink "$root/usr/share/man/man8/lmtp-probe.8.gz", 'lmtp.8zlmtp.gz', 'lmtp-probe has the page of lmtp');
ok(-x "$root/usr/libexec/zlmtp/ta/lmtp", 'the agent is where runqueue looks for it');
is(readlink "$root/usr/sbin/$_", "../libexec/zlmtp/ta/$_", "$_ is in the path") for qw(lmtp lmtp-probe);
for my $page (glob "$tree/doc/*.[578]") {
	my ($name, $section) = $page =~ m{([^/]+\.(\d))$};
	# Postfix of Debian 13 has a lmtp.8 there, and of two packages with one file dpkg installs one
	$name .= 'zlmtp' if $name eq 'lmtp.8';
	ok(-s "$root/usr/share/man/man$section/$name.gz", "manual page $name");
}
ok(-s "$root/usr/share/bash-completion/completions/$_", "completion for $_") for qw(lmtp runqueue dbupdate ldapsync sqlsync);
ok(-s "$root/usr/share/doc/zlmtp/$_", $_) for qw(copyright README.Debian NEWS.Debian.gz changelog.gz examples/scheduler.conf);
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

for my $script (map { my $name = $_; map { "$dir/$name.scripts/$_" } qw(postinst prerm postrm) } qw(zlmtp zlmtp-ldap)) {
	is(said('sh', '-n', $script), '', ($script =~ s{^\Q$dir\E/}{}r) . ' is shell');
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
