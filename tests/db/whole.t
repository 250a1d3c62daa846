#!/usr/bin/perl
# Maps of all sizes are whole in the eyes of Berkeley DB.  What is pinned: the seal of a map was written into what libdb had left of
# a moved stamp, and so over records that had taken part of its place; btrees of 500 to 700 records came out damaged.
use v5.36;
use File::Temp ();
use lib "$ENV{SRC_DIR}/tests/lib";
use Extent qw(long some_of);
use Test::More;

plan skip_all => 'no db5.3_verify (Debian: db5.3-util)' if system('db5.3_verify -V >/dev/null 2>&1') != 0;
my $dir = File::Temp->newdir('/tmp/zw-XXXXXX');
my %suffix = (btree => 'db', bhash => 'dbh');

sub is_whole($path) { system("db5.3_verify -q $path >$dir/said 2>&1") == 0 }

for my $type (sort keys %suffix) {
	my @bad;
	for my $n (some_of(16, map { $_ * 23 } 1 .. 60)) {
		open my $fh, '>', "$dir/m" or die;
		printf $fh "key%06d%s value%d\n", $_, 'x' x ($n % 13), $_ for 1 .. $n;
		close $fh;
		system("$ENV{BUILD_DIR}/db/newdb -s -t $type $dir/m >/dev/null 2>&1") == 0 or die 'newdb';
		push @bad, $n unless is_whole("$dir/m.$suffix{$type}");
	}
	is "@bad", '', "$type: newdb makes whole maps of 23 to 1380 records";

	# records that stand beside the stamp, one generation after the other
	@bad = ();
	for my $n (1 .. (long() ? 60 : 16)) {
		my $value = 'y' x ($n * 7 % 50);
		open my $fh, '|-', "$ENV{BUILD_DIR}/db/dbupdate -t $type $dir/m apply >/dev/null 2>&1" or die;
		print $fh "+!$n-$_\tvalue$value\n" for 1 .. 9;
		print $fh '-!' . ($n - 1) . "-$_\n" for 2, 3, 5, 7;
		close $fh or die 'dbupdate';
		push @bad, $n unless is_whole("$dir/m.$suffix{$type}");
	}
	is "@bad", '', "$type: dbupdate makes whole generations";
}
done_testing;
