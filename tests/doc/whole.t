#!/usr/bin/perl
# The documents beside the manual pages are about this version and this tree: NEWS, LICENSE, INTERNALS and the page that
# gives the whole picture leave nothing out.

use v5.36;
use FindBin;
use Test::More;

my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $build = $ENV{BUILD_DIR} // $top;

sub slurp ($path) {
	open my $file, '<', "$top/$path" or return '';
	local $/;
	return scalar <$file>;
}

sub names ($pattern) { return map { s{.*/}{}r } sort glob "$top/$pattern" }

my ($version) = slurp('configure') =~ /^VERSION=(\S+)/m;
ok(defined $version, 'configure has a version');
my ($newest) = slurp('NEWS') =~ /^(\d\S+)\n=+\n/m;
is($newest, $version, 'NEWS begins with this version');
like(slurp('NEWS'), qr/^\Q$newest\E\n=+\n(?=\S)/m, '... whose changes stand in its sections');
my @programs = map { s{^\Q$build\E/}{}r } grep { -x && -f } map { glob "$build/$_" } "channel/{lmtp,enqueue,runqueue,intake,zlmtp-sendmail,zlmtp-check,zlmtp-queue}", "db/{newdb,dbupdate,dblookup,dbserve,ldapsync,sqlsync}";
cmp_ok(scalar @programs, '>=', 6, 'there are programs');
for my $program (@programs) {
	my $name = $program =~ s{.*/}{}r;
	my $ask = $name eq 'zlmtp-sendmail' ? '--version' : '-V';    # its -V is sendmail's
	is(qx{'$build/$program' $ask}, "$name (zlmtp) $version\n", "$name $ask");
}

like(slurp('LICENSE'), qr/^Copyright \(c\) \d{4} The zlmtp authors$/m, 'LICENSE names who gives it');
like(slurp('README'), qr/ISC license, see LICENSE/, 'README says which license it is');

is(join(' ', map { s{^\Q$top\E/}{}r } grep { !-x } glob "$top/tests/*/*.t"), '', 'each test can be executed, as make check does it');

my %targets = map { $_ => 1 } split ' ', (slurp('Makefile.in') =~ /^\.PHONY: (.*)/m)[0];
my %named = map { $_ => 1 } map { slurp($_) =~ /\bmake\s([a-z]+(?:-[a-z]+)*)\b(?!\/)/g } qw(README doc/HACKING);
is(join(' ', grep { !$targets{$_} } sort keys %named), '', 'README and HACKING name targets that Makefile has');
is(join(' ', grep { !$named{$_} && !/^(?:all|.*clean|uninstall|dist)$/ } sort keys %targets), '',
	'and leave out none but those of every Makefile');

my $overview = slurp('doc/zlmtp.7');
my @pages = grep { $_ ne 'zlmtp.7' } names('doc/*.[578]');
is(join(' ', grep { my ($name, $section) = /(.*)\.(\d)\z/; $overview !~ /^\.It Xr \Q$name $section\E$/m } @pages), '',
	'zlmtp.7 lists every page');
is(join(' ', grep { !-e "$top/doc/" . ($_ =~ s/ /./r) } $overview =~ /^\.It Xr (\S+ [578])/mg), '', 'and no page that there is not')
	if -e "$top/doc/ldap_map.5";

my $internals = slurp('doc/INTERNALS');
is(join(' ', grep { $internals !~ /^  \Q$_\E\s/m } map { s{^\Q$top\E/}{}r . '/' } grep { -d } map { glob "$top/$_" } qw(lib channel channel/* db db/*)),
	'', 'INTERNALS says of every folder what it may include');

# headings of the texts: underlined as wide as they are; those of INTERNALS have numbers, by which they are cited
my %headings = map { my $page = $_; $page => [slurp($page) =~ /(?:\A|\n)(\S.*\n[-=]{3,})(?=\n)/g] } qw(README NEWS doc/INDEX doc/HACKING doc/ARCHITECTURE doc/INTERNALS);
for my $page (sort keys %headings) {
	cmp_ok(scalar @{$headings{$page}}, '>', 0, "$page has headings");
	is(join("\n", grep { my ($heading, $line) = split /\n/; length $heading != length $line } @{$headings{$page}}), '', 'each underlined');
}
my @sections = map { /^(\d+)\. / } @{$headings{'doc/INTERNALS'}};
is("@sections", join(' ', 1 .. $#{$headings{'doc/INTERNALS'}}), 'the sections of INTERNALS are numbered');
my @sources = map { s{^\Q$top\E/}{}r } map { glob "$top/$_" }
	'{lib,channel,channel/*,db,db/*,db/live/*,tests/*}/*.{c,h,t}', 'doc/{ARCHITECTURE,HACKING,*.[578]}', 'doc/spec/*.md';
my @dangling;
for my $file (@sources) {
	for my $words (slurp($file) =~ /\bINTERNALS\b((?:[ ,*\n\t]|section|states? E\d(?: to E\d)?|\d+|"[^"]+"|control socket|operations)*)/g) {
		push @dangling, "$file: section $_" for grep { !($_ >= 1 && $_ <= @sections) } $words =~ /section (\d+)/g;
		push @dangling, "$file: $_" for grep { $internals !~ /^  $_\s/m } $words =~ /\b(E\d)\b/g;
		push @dangling, "$file: $_" for grep { $internals !~ /^\Q$_\E(?:\.| \()/mi } map { tr/"//dr } $words =~ /"[^"]+"|control socket|operations/g;
	}
}
is(join("\n", @dangling), '', 'what is cited of INTERNALS is there');

my $performance = slurp('doc/guide/performance.md');
is(join(' ', grep { $performance !~ /^\| `\Q$_\E` \| /m } map { s/\.bench\z//r } names('tests/bench/*.bench')), '', 'performance.md says what each part of make bench compares');

# mail that nobody can deliver ends: each scheduler.conf that is given as an example says when, for all channels
for my $page (map { s{^\Q$top\E/}{}r } map { glob "$top/$_" } 'doc/guide/*.md', 'doc/*.[578]', 'router-scripts/scheduler.conf*', 'debian/examples/scheduler.conf', 'debian/README.Debian') {
	my @whole = slurp($page) =~ m{^[ \t]*cat > \S*scheduler\.conf << 'END'\n(.*?)^[ \t]*END}msg;
	push @whole, slurp($page) =~ m{^[ \t]*(\*/\*\n(?:[ \t]+\S.*\n)*)}mg;
	next if !@whole;
	is(scalar(grep { !m{^[ \t]*\*/\*\n(?:[ \t]+\S.*\n)*?[ \t]+expiry=\d}m } @whole), 0, "$page: the example has expiry");
}

my @exceptions = map { my $list = $_; map { s{^channel/}{}r } split /, /, $list } $internals =~ /^  (channel\/\S.*?)\s+and db\/:/mg;
my @ruled = slurp('tests/unit/layers.t') =~ m{^\s*\['channel/(\w[\w/-]*)', 'lib/', 'channel/', 'db/'\]}mg;
is(join(' ', sort @exceptions), join(' ', sort @ruled),
	'and which files of channel/ may include db/, as layers.t has it');
done_testing;
