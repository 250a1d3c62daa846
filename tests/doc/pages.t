#!/usr/bin/perl
# The tables of the manual pages stand in columns: each width that is given is as wide as its widest cell, and the whole
# fits into 80 columns; so does each example.  zlmtp(7) refers to all other pages.

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

# ---- examples ----

# this line of dbases.conf names two files and cannot be broken
my $longest = 'fqdnroutes btree - -r $MAILVAR/db/fqdnroutes -lm%C $MAILVAR/db/sleepyenv.conf';

SKIP: {
	skip 'there is no mandoc', 1 if !grep { -x "$_/mandoc" } split /:/, $ENV{PATH};
	for my $path (sort glob "$top/doc/*.[578]") {
		my @wide = grep { length > 80 && s/^ +//r ne $longest } map { s/.\x08//gr } split /\n/, qx{mandoc -T ascii -O width=78 '$path'};
		is(join("\n", @wide), '', $path =~ s{.*/}{}r . ': no line is wider than 80 columns');
		my $text = do { local (@ARGV, $/) = $path; <> };
		unlike($text, qr/\\$/m, 'and none ends in a backslash that the reader would not see');
	}
}

# ---- what the page of all refers to ----

my $all = do { local (@ARGV, $/) = "$top/doc/zlmtp.7"; <> };
my ($see) = $all =~ /^\.Sh SEE ALSO\n(.*)/ms;
is_deeply([sort $see =~ /^\.Xr (\S+ \d)/mg], [sort grep { $_ ne 'zlmtp 7' } map { m{([^/]+)\.(\d)\z} ? "$1 $2" : () } glob "$top/doc/*.[578]"],
	'SEE ALSO of zlmtp(7) has every other page');
done_testing;
