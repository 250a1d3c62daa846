#!/usr/bin/perl
# The specification in doc/spec: what the sources cite is there.

use v5.36;
use FindBin;
use Test::More;

my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";

# section numbers by page: "5", "5.1"
my %sections;
for my $page (glob "$top/doc/spec/*.md") {
	my ($name) = $page =~ m{([^/]+)$};
	$sections{$name} = { map { $_ => 1 } text($page) =~ /^#+ (\d+(?:\.\d+)*)\.? /mg };
}
my $pages = join '|', map { quotemeta } sort keys %sections;

my ($cited, @unresolved) = (0);
for my $file (sources()) {
	next if $file eq 'tests/doc/spec.t';
	my $text = text("$top/$file") =~ s{\n[ \t]*(?:\*|//|\#|\.\\")?[ \t]*}{ }gr;    # a citation may be cut by a line's end
	while ($text =~ m{\b($pages)\b(?:,? (?:sections? )?(\d[\d.]*(?:(?:, | and | to )\d[\d.]*)*))?}g) {
		my ($page, $numbers) = ($1, $2 // '');
		$cited++;
		for my $number ($numbers =~ /(\d+(?:\.\d+)*)/g) {
			push @unresolved, "$file: $page section $number" unless $sections{$page}{$number};
		}
	}
	push @unresolved, "$file: $1" while $text =~ m{\b((?:pains|house|style|design|queue|neighbours)\.md)\b}g;
}
cmp_ok($cited, '>', 60, 'the sources cite the specification');
is(join("\n", @unresolved), '', 'every section that is cited exists');
done_testing;

sub sources() {
	my @files = (glob "$top/{lib,channel,channel/*,db,db/*,db/live/*,tests/*}/*.{c,h,t,pm}"), (glob "$top/doc/{INTERNALS,ARCHITECTURE,*.5,*.7,*.8}"), glob("$top/doc/spec/*.md");
	return map { s{^\Q$top\E/}{}r } grep { -f } @files;
}

sub text($path) {
	open my $fh, '<', $path or die "$path: $!";
	local $/;
	return <$fh>;
}
