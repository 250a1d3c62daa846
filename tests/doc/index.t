#!/usr/bin/perl
# doc/INDEX names each document, and each name in it is one; links between guides lead somewhere.  A manual page may be
# left to zlmtp(7).

use v5.36;
use FindBin;
use Test::More;

my $doc = ($ENV{SRC_DIR} // "$FindBin::Bin/../..") . '/doc';

sub slurp($path) {
	open my $in, '<', $path or die "$path: $!\n";
	local $/;
	return <$in>;
}

my %in_zlmtp_7 = map { $_ => 1 } map { "$_->[0].$_->[1]" } map { [split] } slurp("$doc/zlmtp.7") =~ /^\.It Xr (\S+ \d)/mg;
my @named = slurp("$doc/INDEX") =~ /^  (\S+) {2,}\S/mg;
my @there = grep { -f "$doc/$_" && $_ ne 'INDEX' } map { s{^\Q$doc\E/}{}r } glob "$doc/* $doc/guide/* $doc/spec/*";
my %named = map { $_ => 1 } @named;
is_deeply([grep { !-f "$doc/$_" } @named], [], 'what INDEX lists is there');
is_deeply([grep { !$named{$_} && !$in_zlmtp_7{$_} } @there], [], 'what is there is listed');
for my $guide (glob "$doc/guide/*") {
	my @links = slurp($guide) =~ /\]\(([^)]+)\)/g;
	is_deeply([grep { !-f "$doc/guide/$_" } @links], [], "links in $guide lead somewhere");
}
done_testing;
