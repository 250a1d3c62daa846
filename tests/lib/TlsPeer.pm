package TlsPeer;

# A tlspeer process (tlspeer.c): TLS in front of the scripted server.

use v5.36;
use Certificates;

# Options: program, listen (an IPv4 address, or "unix:PATH"), backend (path of a socket), certificate (a name of Certificates),
# more => [arguments].
sub start($class, %o) {
	my $dir = Certificates->directory;
	pipe my $reader, my $writer or die "pipe: $!\n";
	my $parent = $$;
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDOUT, '>&', $writer or POSIX::_exit(126);
		close $reader;
		exec $o{program}, '-l', $o{listen}, '-b', $o{backend}, '-c', "$dir/$o{certificate}.pem", '-k', "$dir/key.pem",
			@{$o{more} // []} or POSIX::_exit(127);
	}
	close $writer;
	my $self = bless { pid => $pid, reader => $reader, owner => $parent }, $class;
	my $first = <$reader> // '';
	($self->{port}) = $first =~ /^port (\d+)/ or die "tlspeer does not start\n";
	return $self;
}

sub port($self) { $self->{port} }

# Ends it; returns the lines it has printed: one per handshake.
sub stop($self) {
	return @{$self->{lines}} if $self->{lines};
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{reader}->blocking(0);    # a child that still waits for its client must not make us wait
	$self->{lines} = [map { chomp; $_ } readline $self->{reader}];
	close $self->{reader};
	return @{$self->{lines}};
}

sub DESTROY($self) {
	local $?;
	$self->stop if $self->{owner} == $$;
}

1;
