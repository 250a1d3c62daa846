#!/usr/bin/perl
# The tables of the manual pages stand in columns: each width that is given is as wide as its widest cell, and the whole
# fits into 80 columns.

use v5.36;
use FindBin;
use Test::More;

my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";

# What a cell looks like: without macros and quotes.
sub shown($cell) {
	my @words = $cell =~ /"[^"]*"|\S+/g;
	return join ' ', map { s/\A"(.*)"\z/$1/r } grep { !/\A(?:Sy|Ql|Pa|No|Cm|Fl|Ar|Li)\z/ } @words;
}

# { line, widths => [of the columns], rows => [[cells]], depth => lists around it }
sub tables($path) {
	open my $in, '<', $path or die "$path: $!\n";
	my ($table, $depth, @tables) = (undef, 0);
	while (my $line = <$in>) {
		if ($line =~ /^\.Bl -column (.*)/) {
			$table = { line => $., widths => [map { length } map { s/\A"(.*)"\z/$1/r } $1 =~ /"[^"]*"|\S+/g], rows => [], depth => $depth };
			push @tables, $table;
		} elsif ($line =~ /^\.Bl /) {
			$depth++;
		} elsif ($line =~ /^\.El/) {
			$table ? undef $table : $depth--;
		} elsif ($table && $line =~ /^\.It (.*)/) {
			push @{$table->{rows}}, [map { shown($_) } split / Ta /, $1];
		}
	}
	return @tables;
}

my $count = 0;
for my $path (sort glob "$top/doc/*.[578]") {
	my ($page) = $path =~ m{([^/]+)\z};
	for my $table (tables($path)) {
		my $where = "$page:$table->{line}";
		my @widths = @{$table->{widths}};
		$count++;
		is_deeply([grep { @$_ != @widths } @{$table->{rows}}], [], "$where: each row has as many cells as there are columns");
		my @narrow = grep { my $i = $_; grep { length $_->[$i] > $widths[$i] } @{$table->{rows}} } 0 .. $#widths;
		is_deeply([map { $_ + 1 } @narrow], [], "$where: each column is as wide as its widest cell");
		# 5 in front of all, 8 for each list around it; troff puts 4 between two columns
		my $all = 5 + 8 * $table->{depth} + 4 * $#widths;
		$all += $_ for @widths;
		cmp_ok($all, '<=', 80, "$where: the table fits into 80 columns");
	}
}
cmp_ok($count, '>=', 5, 'there are tables');
done_testing;
