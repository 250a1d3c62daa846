package Extent;

# How far a test goes.  make check shall end in minutes, so that what tries "each of many" tries some of them there; all are
# tried with ZLMTP_LONG=1 (make check-long, make soak).

use v5.36;
use Exporter 'import';
our @EXPORT_OK = qw(long some_of);

sub long { return $ENV{ZLMTP_LONG} || $ENV{ZLMTP_SOAK} }

# All of a list, or about $wanted of it: the last ones, where what is tried mostly happens, and others evenly spread over the rest.
sub some_of($wanted, @all) {
	return @all if long() || @all <= $wanted;
	my @last = $wanted > 1 ? splice(@all, -int($wanted / 2)) : ();
	my $spread = $wanted - @last;
	return ((map { $all[$_ * @all / $spread] } 0 .. $spread - 1), @last);
}

1;
