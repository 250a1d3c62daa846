#!/usr/bin/perl
# doc/INDEX names each document, and each name in it is one; links between guides lead somewhere.

use v5.36;
use FindBin;
use Test::More;

my $doc = ($ENV{SRC_DIR} // "$FindBin::Bin/../..") . '/doc';

sub slurp($path) {
	open my $in, '<', $path or die "$path: $!\n";
	local $/;
	return <$in>;
}

my @named = slurp("$doc/INDEX") =~ /^  (\S+) {2,}\S/mg;
my @there = grep { -f "$doc/$_" && $_ ne 'INDEX' } map { s{^\Q$doc\E/}{}r } glob "$doc/* $doc/guide/*";
is_deeply([sort @named], [sort @there], 'INDEX lists what is there');
for my $guide (glob "$doc/guide/*") {
	my @links = slurp($guide) =~ /\]\(([^)]+)\)/g;
	is_deeply([grep { !-f "$doc/guide/$_" } @links], [], "links in $guide lead somewhere");
}
done_testing;
