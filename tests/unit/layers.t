#!/usr/bin/perl
# A folder is a layer: which file may include what.

use v5.36;
use FindBin;
use Test::More;

my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";

# Where a file stands => where its includes may stand: the table of INTERNALS.  The first line that fits counts.
my $internals = text(qq{$top/doc/INTERNALS});
my ($table) = $internals =~ /^10\. Which file may include what\n-+\n.*?^  files +may include .*?\n(.*?)\n\n/ms;
my @rules;
while (($table // '') =~ m{^  (\w\S+) +((?:\S+, )*\S+)}mg) {
	my ($files, $may) = ($1, $2);
	my $own = $files =~ s{[^/]+$}{}r;
	push @rules, [$files, 'lib/', $own, grep { $_ ne 'nothing' } map { glob } split /, /, $may];
}
cmp_ok(scalar @rules, '>', 25, 'INTERNALS has the table of includes');

my @files = map { s{^\Q$top\E/}{}r } map { glob "$top/$_/*.[ch]" } qw(lib channel channel/* db db/* db/live/* db/sql/* tests/*);
cmp_ok(scalar @files, '>', 10, 'there are sources to look at');
my (@bad, @unknown);
for my $file (@files) {
	my ($rule) = grep { index($file, $_->[0]) == 0 } @rules;
	push @unknown, $file unless $rule;
	my (undef, @may) = @{$rule // next};
	for my $include (includes("$top/$file")) {
		next if $include eq 'config.h';
		push @bad, "$file includes $include, which brings the maps with it"
			if $include =~ m{^channel/(?:routing|probe/cache)\.h$} && $file !~ m{^channel/(?:enqueue\.|routing\.|rerouting\.|zlmtp-queue\.|lmtp-probe\.|probe/cache\.|probe/keep\.|intake\.|server/|zlmtp-report\.)};
		push @bad, "$file includes $include, which is another program's" if $include =~ m{^channel/(probe|check|server|submit|notice)/} && $file !~ m{^tests/|^channel/(?:$1/|lmtp-probe\.|zlmtp-check\.|intake\.|zlmtp-sendmail\.|zlmtp-report\.)};
		push @bad, "$file includes $include" unless grep { index($include, $_) == 0 } @may;
		push @bad, "$file includes $include, which is not there" unless -f "$top/$include";
	}
}
my @guards = grep { m{\.h$} && (text("$top/$_") =~ /^#ifndef (\w+)\n#define \1$/m)[0] ne guard($_) } @files;
is_deeply([grep { m{/config\.h$} } @files], [], 'no header hides the config.h of configure from its neighbours');
is("@guards", '', 'every header is guarded by the name of its path');
is(join("\n", @bad), '', 'every file includes its own and lower layers only');
is("@unknown", '', 'every folder has its place');

# Mail words have no business in lib/, LMTP words none in the layers that know no LMTP.
my @mail = grep { mentions("$top/$_", qr/\b(?:MAIL FROM|RCPT TO|LHLO)\b/) } grep { m{^lib/|^channel/(?:spool|queue|net)/} } @files;
is("@mail", '', 'no LMTP command below the protocol');
# Files that need each other, of which one cannot be understood without the other: these and no others.
my %known = map { $_ => 1 } (
	'db/live/livemap db/live/livemap_private', 'db/route/dbases db/route/dbases_private', 'db/route/route db/route/walk',    # one thing in several files
);
my %needs;
for my $file (grep { !m{^tests/} } @files) {
	$needs{$file =~ s/\.[ch]$//r}{s/\.h$//r} = 1 for grep { $_ ne 'config.h' } includes("$top/$file");
}
my %reach;
for my $from (keys %needs) {
	my @next = keys %{$needs{$from}};
	while (defined(my $to = shift @next)) {
		push @next, keys %{$needs{$to} // {}} unless $reach{$from}{$to}++;
	}
}
my %circle = map { my $from = $_; (join(' ', sort grep { $reach{$_}{$from} } keys %{$reach{$from}}) => 1) } grep { $reach{$_}{$_} } keys %reach;
delete $circle{$_} for grep { !/ / } keys %circle;
is_deeply([grep { !$known{$_} } sort keys %circle], [], 'no two files need each other but those that are known');

# doc/ARCHITECTURE: every folder of sources is in the picture and no other; each function of a walk is in the file that is named.
my $page = text("$top/doc/ARCHITECTURE");
my %folder = map { s{[^/]+$}{}r => 1 } grep { !m{^tests/} } @files;
is_deeply([sort $page =~ m{^  ((?:lib|channel|db)/[a-z/]*) {2,}}mg], [sort keys %folder], 'ARCHITECTURE has each folder of sources');
my ($walks) = $page =~ /^Six walks\n-+\n(.*?)^Where/ms;
my %of_programs = map { $_ => 1 } map { used("$top/$_") } grep { m{^(?:channel|db)/[^/]+\.c$} } @files;
my ($steps, @lost, @unreached) = (0);
for my $walk (split /\n\n/, $walks) {
	my %used = %of_programs;
	while ($walk =~ m{^  (\S+\.c) +(\S.*\(\))$}mg) {
		my ($file, $names) = ($1, $2);
		my $code = -f "$top/$file" ? text("$top/$file") : '';
		$used{$_} = 1 for used("$top/$file");
		for my $name ($names =~ /(\w+)\(\)/g) {
			push @lost, "$file: $name()" if $code !~ /^\w[^;=]*\b$name\([^;]*\n\{/m;
			push @unreached, "$file: $name()" if $steps++ && !$used{$name};
		}
	}
}
cmp_ok($steps, '>', 60, 'there are walks');
is("@lost", '', 'each function of a walk is where ARCHITECTURE says');
is("@unreached", '', '... and is called or handed on by a file before it, by its own, or by a program');
my ($places) = $page =~ /^Where a new thing goes\n-+\n(.*)/ms;
my @places = $places =~ m{\b((?:lib|channel|db)/[\w/.]*\w/?)}g;
is("@{[grep { !-e qq{$top/$_} && !-e qq{$top/$_.c} && !-e qq{$top/$_.h} } @places]}", '', 'each place for a new thing is there');
done_testing;

sub includes($path) {
	return text($path) =~ /^\s*#\s*include\s+"([^"]+)"/mg;
}

# Words of the lines that are within something: no function is defined there.
sub used($path) {
	return -f $path ? map { /\w+/g } grep { /^\W/ } split /\n/, text($path) : ();
}

sub guard($path) {
	return 'ZL_' . (uc $path) =~ s/[^A-Z0-9]/_/gr;
}

sub mentions($path, $words) {
	my $code = text($path) =~ s{/\*.*?\*/}{}gsr =~ s{//.*}{}gr;
	return $code =~ $words;
}

sub text($path) {
	open my $fh, '<', $path or die "$path: $!";
	local $/;
	return <$fh>;
}
