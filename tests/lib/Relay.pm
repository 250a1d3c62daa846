package Relay;

# Stands between a client and a server on loopback and does harm to what the server says.

use v5.36;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes ();

# Options: port (of the server on 127.0.0.1) or path (of its socket); cut => [bytes of the server's that the first, second ... connection
# passes on before it is closed; undef: all of them]; stall => the same, but then nothing more happens; delay => seconds
# that everything of the server's is late; pause => [bytes behind which the first ... connection rests once, for two seconds, while the
# server cannot go on].  Without port and path it accepts and says nothing.
sub new($class, %o) {
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 20) or die "relay: $!\n";
	my $self = bless { port => $listener->sockport }, $class;
	$self->{pid} = fork // die "fork: $!\n";
	if ($self->{pid} == 0) {
		$SIG{$_} = 'DEFAULT' for qw(TERM INT);
		_serve($listener, \%o);
		POSIX::_exit(0);
	}
	return $self;
}

sub port($self) { $self->{port} }

sub stop($self) {
	my $pid = delete $self->{pid} or return;
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

sub DESTROY($self) {
	local ($?, $!);
	$self->stop;
}

# ---- in the child ----

sub _serve($listener, $o) {
	my ($number, @pairs) = (0);
	for (;;) {
		my $bits = '';
		vec($bits, fileno $_, 1) = 1 for $listener, map { $_->{client}, $_->{server} // () } @pairs;
		next if select($bits, undef, undef, 5) < 0;
		if (vec $bits, fileno $listener, 1) {
			push @pairs, _pair(scalar $listener->accept, $o, $number++);
			next;
		}
		@pairs = grep { _move($_, $bits, $o) } @pairs;
	}
}

sub _pair($client, $o, $number) {
	my $server = $o->{port} ? IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $o->{port})
		: $o->{path} ? IO::Socket::UNIX->new(Peer => $o->{path}) : undef;
	return { client => $client, server => $server, passed => 0, map { $_ => $o->{$_}[$number] } qw(cut stall pause) };
}

# False when the pair is done with.
sub _move($pair, $bits, $o) {
	my ($client, $server) = @$pair{qw(client server)};
	if (vec $bits, fileno $client, 1) {
		my $n = sysread $client, my $bytes, 65536;
		return 0 unless $n;
		syswrite $server, $bytes if $server;
	}
	return 1 unless $server && vec $bits, fileno $server, 1;
	my $n = sysread $server, my $bytes, 65536;
	return 0 unless $n;
	Time::HiRes::sleep($o->{delay}) if $o->{delay};
	return _pass($pair, $bytes);
}

sub _pass($pair, $bytes) {
	my $most = $pair->{cut} // $pair->{stall};
	my $left = defined $most ? $most - $pair->{passed} : length $bytes;
	my $piece = substr $bytes, 0, $left < 0 ? 0 : $left;
	syswrite $pair->{client}, $piece if length $piece;
	$pair->{passed} += length $piece;
	if (defined $pair->{pause} && $pair->{passed} >= $pair->{pause}) {
		delete $pair->{pause};
		Time::HiRes::sleep(2.1);
	}
	return !(defined $pair->{cut} && $pair->{passed} >= $pair->{cut});
}

1;
