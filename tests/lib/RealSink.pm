package RealSink;

# Postfix's smtp-sink as LMTP server on a UNIX socket or on loopback: accepts everything, except for what its
# switches say.  Root is needed for nothing.

use v5.36;
use POSIX ();
use Ports;
use RealServer;

sub program() { (grep { -x $_ } '/usr/sbin/smtp-sink', '/usr/lib/postfix/sbin/smtp-sink')[0] }

sub missing() { program() ? undef : 'no smtp-sink here (Debian: postfix)' }

# Options: switches => "-f RCPT ...", tcp => true, dump => true to keep what came (see messages).
sub start($class, %o) {
	my $dir = RealServer::directory();
	chmod 0777, "$dir";
	my ($port) = Ports::free(1);
	my $self = bless { dir => $dir, owner => $$, $o{tcp} ? (port => $port) : (socket => "$dir/s") }, $class;
	my $listen = $o{tcp} ? "inet:127.0.0.1:$port" : "unix:$dir/s";
	my @dump = $o{dump} ? ('-d', "$dir/mail.") : ();
	RealServer::write_file("$dir/main.cf", "compatibility_level = 3.6\nmyhostname = sink.test.example\n");
	$self->{pid} = fork // die "fork: $!\n";
	if ($self->{pid} == 0) {
		chdir $dir;
		$ENV{MAIL_CONFIG} = "$dir";
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$dir/log";
		open STDERR, '>&', \*STDOUT;
		my @user = $> == 0 ? ('-u', 'nobody') : ();
		exec program(), '-L', '-t', 60, @user, @dump, split(' ', $o{switches} // ''), $listen, 128 or POSIX::_exit(127);
	}
	RealServer::wait_for('smtp-sink', 10, sub { $self->_listens });
	return $self;
}

# It may be told not to greet, so look only whether it listens.
sub _listens($self) {
	return defined IO::Socket::UNIX->new(Peer => $self->{socket}) if $self->{socket};
	return defined IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $self->{port});
}

# What was dumped: one text per transaction.
sub messages($self) {
	return map { open my $fh, '<:raw', $_ or die "$_: $!"; local $/; <$fh> } sort glob "$self->{dir}/mail.*";
}

sub stop($self) {
	return if $self->{stopped}++;
	RealServer::end_process($self->{pid});
}

sub DESTROY($self) {
	local ($?, $@);
	$self->stop if $self->{owner} == $$;
}

1;
