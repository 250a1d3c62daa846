package Ports;

# Free TCP ports for servers, below those that the kernel gives to clients, so that no connection of another test has
# taken one before its server starts.  They belong to the test until it ends, also while its server is stopped: each is
# a byte of a file that all tests lock.

use v5.36;
use Fcntl qw(F_SETLK F_WRLCK O_CREAT O_NOFOLLOW O_RDWR SEEK_SET);
use File::Spec ();
use IO::Socket::IP;

my ($locks, %ours);

# False if this test or another one has it.
sub _reserve($port) {
	my $path = File::Spec->catfile(File::Spec->tmpdir, "zlmtp-ports-$>");
	if (!$locks) {
		sysopen $locks, $path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600 or die "$path: $!\n";
	}
	return !$ours{$port}++ && fcntl $locks, F_SETLK, pack 's s x4 q q l x4', F_WRLCK, SEEK_SET, $port, 1, 0;
}

# $n different ports that were free a moment ago.
sub free ($n) {
	my @sockets;
	for (1 .. 1000) {
		last if @sockets == $n;
		my $port = 10000 + int rand 22000;
		my $socket = _reserve($port) && IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => $port, Listen => 1);
		push @sockets, $socket if $socket;
	}
	die "no free ports\n" if @sockets < $n;
	return map { $_->sockport } @sockets;
}

1;
