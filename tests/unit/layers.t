#!/usr/bin/perl
# A folder is a layer: which file may include what (doc: the include policy).

use v5.36;
use FindBin;
use Test::More;

my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";

# Where a file stands => where its includes may stand.  The first line that fits counts.
my @rules = (
	['lib/', 'lib/'],
	['channel/spool/', 'lib/', 'channel/spool/'],
	['channel/report/', 'lib/', 'channel/message/', 'channel/report/'],
	['channel/queue/', 'lib/', 'channel/message/', 'channel/spool/', 'channel/report/', 'channel/queue/'],
	['channel/protocol/', 'lib/', 'channel/protocol/'],
	['channel/message/', 'lib/', 'channel/message/'],
	['channel/net/', 'lib/', 'channel/net/'],
	['channel/enqueue', 'lib/', 'channel/', 'db/'],
	['channel/intake', 'lib/', 'channel/', 'db/'],
	['channel/zlmtp-report', 'lib/', 'channel/', 'db/'],
	['channel/notice/', 'lib/', 'channel/', 'db/'],
	['channel/server/', 'lib/', 'channel/', 'db/'],
	['channel/zlmtp-queue', 'lib/', 'channel/'],
	['channel/rerouting', 'lib/', 'channel/'],
	['channel/routing', 'lib/', 'channel/', 'db/'],    # of enqueue and lmtp-probe
	['channel/probe/cache', 'lib/', 'channel/', 'db/'],
	['channel/check/maps', 'lib/', 'channel/', 'db/'],
	['channel/', 'lib/', 'channel/'],
	['db/store/', 'lib/', 'db/store/'],
	['db/ldap/', 'lib/', 'db/store/answer.h', 'db/ldap/'],
	['db/sql/', 'lib/', 'db/store/answer.h', 'db/sql/'],
	['db/grammar/', 'lib/', 'db/store/records.h', 'db/grammar/'],
	['db/map/', 'lib/', 'db/store/', 'db/ldap/', 'db/sql/', 'db/map/'],
	['db/build/', 'lib/', 'db/store/', 'db/map/', 'db/grammar/', 'db/build/'],
	['db/live/', 'lib/', 'db/store/', 'db/map/', 'db/build/', 'db/live/'],
	['db/sync/', 'lib/', 'db/store/', 'db/ldap/', 'db/sql/', 'db/map/', 'db/build/', 'db/grammar/', 'db/live/', 'db/sync/'],
	['db/route/', 'lib/', 'db/store/', 'db/map/', 'db/build/', 'db/grammar/', 'db/live/', 'db/route/'],
	['db/serve/', 'lib/', 'db/store/', 'db/map/', 'db/build/', 'db/grammar/', 'db/route/', 'db/serve/'],
	['db/', 'lib/', 'db/'],
	['tests/', 'lib/', 'channel/', 'db/', 'tests/'],
);

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
my @steps = $walks =~ m{^  (\S+\.c) +(\S.*\(\))$}mg;
cmp_ok(scalar @steps, '>', 30, 'there are walks');
my @lost;
while (my ($file, $names) = splice @steps, 0, 2) {
	my $code = -f "$top/$file" ? text("$top/$file") : '';
	push @lost, map { "$file: $_()" } grep { $code !~ /^\w[^;=]*\b$_\([^;]*\n\{/m } $names =~ /(\w+)\(\)/g;
}
is("@lost", '', 'each function of a walk is where ARCHITECTURE says');
done_testing;

sub includes($path) {
	return text($path) =~ /^\s*#\s*include\s+"([^"]+)"/mg;
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
