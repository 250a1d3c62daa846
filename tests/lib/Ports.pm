package Ports;

# Free TCP ports for servers, below those that the kernel gives to clients, so that no connection of another test has
# taken one before its server starts.

use v5.36;
use IO::Socket::IP;

# $n different ports that were free a moment ago.
sub free ($n) {
	my @sockets;
	for (1 .. 1000) {
		last if @sockets == $n;
		my $socket = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 10000 + int rand 22000, Listen => 1);
		push @sockets, $socket if $socket;
	}
	die "no free ports\n" if @sockets < $n;
	return map { $_->sockport } @sockets;
}

1;
