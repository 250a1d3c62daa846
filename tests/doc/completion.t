#!/usr/bin/perl
# Completion on the command line offers what the help text of each program names, no more and no less.

use v5.36;
use FindBin;
use IPC::Open2;
use Test::More;

my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $build = $ENV{BUILD_DIR} // $top;
my $script = "$top/completion/zlmtp";

sub slurp ($path) {
	open my $file, '<', $path or die "$path: $!\n";
	local $/;
	return <$file>;
}

my ($from_bash, $to_bash);

# What bash offers behind these words; bash cuts a word at its "=".
sub offered ($program, @words) {
	my @cut = ($program, map { split /(=)/ } @words);
	push @cut, '' if $words[-1] eq '';
	start_bash() if !$to_bash;
	print $to_bash join(' ', map { "'$_'" } @cut), "\n";
	my @lines;
	while (defined(my $line = <$from_bash>)) {
		chomp $line;
		return [sort @lines] if $line eq '.';
		push @lines, $line if $line ne '';
	}
	die "bash has ended\n";
}

# One shell answers all questions: a line of words in, what is offered and a line of a dot out.
sub start_bash () {
	my $answer = <<'END';
. "$1"
# outside of a real completion there is nothing to set
compopt() { :; }
while IFS= read -r line; do
	eval "COMP_WORDS=($line)"
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
	_zlmtp "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
	printf '%s\n' "${COMPREPLY[@]}" .
done
END
	open2($from_bash, $to_bash, 'bash', '--norc', '-c', $answer, 'bash', $script);
	$to_bash->autoflush(1);
}

# The same as tests/doc/options.t sees it: "  -x ARG ...", "  -x, --name ...", "  --name ...".
sub options_of ($help) {
	my %found;
	for ($help =~ /^  (-[^\s,]+(?:, --\S+)?)/mg) {
		$found{$_} = 1 for split /, /;
	}
	return [sort keys %found];
}

plan skip_all => 'there is no bash' if !grep { -x "$_/bash" } split /:/, $ENV{PATH};

my ($known) = slurp($script) =~ /^complete -F _zlmtp (.*)$/m;
my %known = map { $_ => 1 } split ' ', $known;
my @programs;
for my $source (glob "$top/channel/*.c $top/db/*.c") {
	next if slurp($source) !~ /^int main\(/m;
	my ($name) = $source =~ m{([^/]+)\.c$};
	# started by lmtp -B, never by people
	next if $name eq 'lmtp-probe';
	ok(delete $known{$name}, "completion is there for $name");
	push @programs, grep { -x } $source =~ s{^\Q$top\E/(.*)\.c$}{$build/$1}r;
}
is_deeply([keys %known], [], 'and for nothing that does not exist');

for my $program (@programs) {
	my ($name) = $program =~ m{([^/]+)$};
	my $help = qx{'$program' --help};
	my $options = options_of($help);
	cmp_ok(scalar @$options, '>', 2, "$name has options");
	is_deeply(offered($program, '-'), $options, "its options are offered");
	is_deeply(offered($program, '--'), [grep { /^--/ } @$options], 'its long ones');
	# every option with an argument is known to have one: no options are offered behind it
	for my $option ($help =~ /^  (?:-\S, )?(-\S+) [A-Z]/mg) {
		is_deeply([grep { /^-/ } @{offered($program, $option, '-')}], [], "behind $option comes its argument");
	}
	for my $option ($help =~ /^  (?:-\S, )?(-\S+)  +\S/mg) {
		is_deeply(offered($program, $option, '-'), $options, "behind $option may come another");
	}
}

my ($lmtp, $newdb, $dbupdate, $dblookup, $enqueue) =
	("$build/channel/lmtp", map({ "$build/db/$_" } qw(newdb dbupdate dblookup)), "$build/channel/enqueue");

is_deeply(offered($newdb, '-t', ''), [sort qw(btree bhash lmdb)], 'types of maps');
is_deeply(offered($dblookup, '-t', 'l'), ['ldap', 'lmdb'], 'types that begin so');
is_deeply(offered($dblookup, '-d', ''), [qw(longestmatch pathalias pathalias.at pathalias.nodot)], 'drivers');
is_deeply(offered($enqueue, '-R', ''), [qw(FULL HDRS)], 'what a report returns');
is_deeply(offered($enqueue, '-P', "$top/chan"), ["$top/channel"], 'a directory');
is_deeply(offered($enqueue, '-P', "$top/config"), [], 'and no file, where a directory is wanted');
is_deeply(offered($lmtp, '-l', "$top/configu"), ["$top/configure"], 'a file');
for my $command (qw(set delete apply replace check recover)) {
	ok((grep { $_ eq $command } @{offered($dbupdate, 'map', substr $command, 0, 3)}), "dbupdate MAP $command");
}
my %keys = map { $_ => 1 } qx{'$lmtp' --help} =~ /^-O ([a-z-]+=?)/mg;
cmp_ok(scalar keys %keys, '>', 10, 'lmtp -O has keys');
is_deeply(offered($lmtp, '-O', ''), [sort keys %keys], 'all of them are offered');
is_deeply(offered($lmtp, '-O', 'tls='), [sort qw(none may must verify)], 'values of a key');
is_deeply(offered($lmtp, '-O', 'tls=m'), [qw(may must)], 'values that begin so');
is_deeply(offered($lmtp, '-O', 'connections='), [], 'a number is not guessed');

done_testing;
