package OddDirectory;

# A server that speaks as much LDAP as is needed to say what no real server would.
#
#   my $odd = OddDirectory->new(sub ($search) { return (OddDirectory::done($search, 52)) });
#
# Binds, and the question whether it lives, are answered with success.  For each other search the function gets a hash: id
# (of the message), base, scope, sync (true: RFC 4533), cookie (of the request or undef), and returns the bytes to be sent; undef
# among them closes the connection, and a code reference is called with the socket.

use v5.36;
use IO::Socket::INET;
use POSIX ();

our $sync = '1.3.6.1.4.1.4203.1.9.1';

# Options: bind => result code of binds.
sub new($class, $answer, %o) {
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 20) or die "odd directory: $!\n";
	my $self = bless { port => $listener->sockport }, $class;
	pipe my $count, my $counter or die;
	$self->{pid} = fork // die "fork: $!\n";
	if ($self->{pid} == 0) {
		$SIG{$_} = 'DEFAULT' for qw(TERM INT);
		$SIG{PIPE} = 'IGNORE';
		$SIG{CHLD} = 'IGNORE';
		_serve($listener, $answer, $counter, \%o);
		POSIX::_exit(0);
	}
	close $counter;
	$count->blocking(0);
	$self->{count} = $count;
	return $self;
}

sub uri($self) { "ldap://127.0.0.1:$self->{port}" }

# How many searches it was asked since the last call.
sub asked($self) { sysread($self->{count}, my $dots, 100000) // 0 }

sub stop($self) {
	my $pid = delete $self->{pid} or return;
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

sub DESTROY($self) {
	local ($?, $!);
	$self->stop;
}

# ---- BER ----

sub tlv($tag, $content) {
	my $n = length $content;
	my $length = $n < 128 ? chr $n : $n < 65536 ? pack('Cn', 0x82, $n) : pack('CN', 0x84, $n);
	return chr($tag) . $length . $content;
}

sub octets($text) { tlv(0x04, $text) }
sub number($n) { tlv(0x02, $n < 128 ? chr $n : pack 'n', $n) }
sub sequence(@parts) { tlv(0x30, join '', @parts) }
sub message($id, $operation, @controls) { sequence(number($id), $operation, @controls ? tlv(0xa0, join '', @controls) : ()) }

# ---- what servers say ----

sub result($tag, $code) { tlv($tag, tlv(0x0a, $code < 128 ? chr $code : pack 'n', $code) . octets('') . octets('')) }
sub done($search, $code, @controls) { message($search->{id}, result(0x65, $code), @controls) }
sub control($oid, $value) { sequence(octets($oid), octets($value)) }

# The end of a refresh; $value: of the Sync Done Control instead of one with $cookie.
sub sync_done($search, $cookie, %o) {
	my $value = $o{value} // sequence(defined $cookie ? octets($cookie) : (), $o{deletes} ? tlv(0x01, "\xff") : ());
	return done($search, $o{code} // 0, control("$sync.3", $value));
}

# Entry number $n (its entryUUID ends in it) with attributes, name => [values].
sub entry($search, $n, $state, %attributes) {
	my $uuid = ("\0" x 15) . chr $n;
	my %all = (entryUUID => ['00000000-0000-0000-0000-0000000000' . sprintf '%02x', $n], %attributes);
	# those that the request names
	my @asked = grep { index($search->{attributes}, octets($_)) >= 0 } sort keys %all;
	my $list = join '', map { sequence(octets($_), tlv(0x31, join '', map { octets($_) } $all{$_}->@*)) } @asked;
	return message($search->{id}, tlv(0x64, octets("cn=e$n,$search->{base}") . sequence($list)),
		$search->{sync} ? control("$sync.2", sequence(tlv(0x0a, chr $state), octets($uuid))) : ());
}

sub account($search, $n, %o) {
	return entry($search, $n, 1, mail => ["user$n\@x.example"], mailbox => ["box$n"], entryCSN => ["20260101000000.00000$n" . '0Z#000000#000#000000'], %o);
}

# Sync Info Message: refreshDelete or refreshPresent with refreshDone as it is without a word.
sub refresh_over($search, $cookie) {
	return message($search->{id}, tlv(0x79, tlv(0x80, "$sync.4") . tlv(0x81, tlv(0xa1, octets($cookie)))));
}

# ---- in the child ----

sub _serve($listener, $answer, $counter, $o) {
	for (;;) {
		my $client = $listener->accept or next;
		my $pid = fork // die;
		if ($pid == 0) {
			_talk($client, $answer, $counter, $o);
			POSIX::_exit(0);
		}
		close $client;
	}
}

sub _read($client, $n) {
	my $bytes = '';
	while (length $bytes < $n) {
		sysread($client, $bytes, $n - length $bytes, length $bytes) or POSIX::_exit(0);
	}
	return $bytes;
}

# One element: its tag and its content.
sub _element($client) {
	my ($tag, $length) = unpack 'CC', _read($client, 2);
	$length = unpack 'N', ("\0" x (4 - ($length & 127))) . _read($client, $length & 127) if $length & 128;
	return ($tag, _read($client, $length));
}

# The first element in $$bytes, which is taken out.
sub _take($bytes) {
	my ($tag, $length) = unpack 'CC', $$bytes;
	my $head = 2;
	if ($length & 128) {
		$head += $length & 127;
		$length = unpack 'N', ("\0" x (4 - ($length & 127))) . substr $$bytes, 2, $length & 127;
	}
	my $content = substr $$bytes, $head, $length;
	substr($$bytes, 0, $head + $length) = '';
	return ($tag, $content);
}

sub _talk($client, $answer, $counter, $o) {
	for (;;) {
		my (undef, $bytes) = _element($client);
		my (undef, $id) = _take(\$bytes);
		my ($operation, $content) = _take(\$bytes);
		$id = unpack 'N', ("\0" x (4 - length $id)) . $id;
		POSIX::_exit(0) if $operation == 0x42;
		if ($operation == 0x60) {
			syswrite $client, message($id, result(0x61, $o->{bind} // 0));
		} elsif ($operation == 0x63) {
			_search($client, { id => $id, sync => index($bytes, "$sync.1") >= 0, _base($content), _cookie($bytes) }, $answer, $counter, $o);
		}
	}
}

sub _base($content) {
	my (undef, $base) = _take(\$content);
	my ($tag, $scope) = _take(\$content);
	# alias handling, limits of size and time, typesOnly, the filter
	_take(\$content) for 1 .. 5;
	return (base => $base, scope => ord $scope, attributes => $content);
}

sub _cookie($controls) {
	my $at = index $controls, "$sync.1";
	return () if $at < 0;
	my $rest = substr $controls, $at + length "$sync.1";
	my ($tag, $value) = _take(\$rest);
	($tag, $value) = _take(\$rest) if $tag == 0x01;
	(undef, $value) = _take(\$value);
	_take(\$value);
	return () if $value eq '' || ord $value != 0x04;
	(undef, my $cookie) = _take(\$value);
	return (cookie => $cookie);
}

sub _search($client, $search, $answer, $counter, $o) {
	if ($search->{base} eq '') {
		syswrite $client, done($search, 0);
		return;
	}
	syswrite $counter, '.';
	for my $bytes ($answer->($search)) {
		POSIX::_exit(0) if !defined $bytes;
		ref $bytes ? $bytes->($client) : syswrite $client, $bytes;
	}
}

1;
