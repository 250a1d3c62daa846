package LmtpServer;

# A scripted LMTP (RFC 2033) or SMTP (RFC 5321) server on a loopback address.  Each connection plays its script
# (LmtpConnection.pm); here is what they share: the listening socket, the record of all
# transactions, the transcript, and the list of what went wrong.

use v5.36;
use Socket qw(SOCK_STREAM SOMAXCONN IPPROTO_TCP TCP_NODELAY);
use IO::Socket::UNIX;
use IO::Socket::IP;
use LmtpConnection;

# Options:
#   loop      the Loop
#   protocol  "lmtp" (default) or "smtp": EHLO or HELO, and one reply to a message for all its accepted recipients
#   target    "unix" (needs path), "tcp" (127.0.0.1) or "tcp6" (::1)
#   path      of the socket
#   address   to listen on for "tcp"
#   script    sub ($number): the steps of that connection, counted from 1
#   rules     what serving connections say instead of yes, see LmtpConnection
#   caps      keywords that "hello" and serving connections announce
#   lenient   true: do not look at the client's manners
#   signal    sub ($name): sends a signal to the client
#   backlog   of listen(2)
sub new($class, %o) {
	my $self = bless {
		protocol => 'lmtp', rules => [], caps => ['PIPELINING', '8BITMIME', 'ENHANCEDSTATUSCODES'], %o,
		connections => [], transactions => [], commands => [], transcript => [], problems => [],
	}, $class;
	$self->{listener} = $self->_listen;
	$self->{listener}->blocking(0);
	$self->{loop}->reader($self->{listener}, sub { $self->_accept }) unless $o{deaf};
	return $self;
}

sub _listen($self) {
	my $backlog = $self->{backlog} // SOMAXCONN;
	if ($self->{target} eq 'unix') {
		return IO::Socket::UNIX->new(Local => $self->{path}, Listen => $backlog, Type => SOCK_STREAM)
			// die "$self->{path}: $!\n";
	}
	my $address = $self->{address} // ($self->{target} eq 'tcp6' ? '::1' : '127.0.0.1');
	return IO::Socket::IP->new(LocalHost => $address, LocalPort => $self->{port} // 0, Listen => $backlog,
		Type => SOCK_STREAM, ReuseAddr => 1) // die "cannot listen on $address: $@\n";
}

sub port($self) { $self->{listener}->sockport }

sub _accept($self) {
	my $fh = $self->{listener}->accept or return;
	# replies go out one by one; none of them waits for the acknowledgement of the one before
	setsockopt $fh, IPPROTO_TCP, TCP_NODELAY, 1 unless $self->{target} eq 'unix';
	my $number = @{$self->{connections}} + 1;
	my $steps = $self->{script} ? $self->{script}->($number) : [{ do => 'serve' }];
	push @{$self->{connections}}, LmtpConnection->new($self, $fh, $number, $steps);
	$self->{connections}[-1]->advance;
}

sub problem($self, $text) { push @{$self->{problems}}, $text }

sub note($self, $number, $who, $bytes) { push @{$self->{transcript}}, [$number, $who, $bytes] }

# Stops listening and drops what is still open.
sub close($self) {
	return unless $self->{listener};
	$self->{loop}->forget($self->{listener});
	CORE::close $self->{listener};
	undef $self->{listener};
	unlink $self->{path} if $self->{target} eq 'unix';
	$_->drop for @{$self->{connections}};
}

# Stops accepting for good, as a server that is going down; open connections go on.
sub stop_listening($self) {
	return unless $self->{listener};
	$self->{loop}->forget($self->{listener});
	CORE::close $self->{listener};
	undef $self->{listener};
	unlink $self->{path} if $self->{target} eq 'unix';
}

# Transactions whose text arrived whole.
sub complete($self) { grep { defined $_->{content} } @{$self->{transactions}} }

1;
