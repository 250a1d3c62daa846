package Syslog;

# What a process says to syslog(3).  Its /dev/log is ours, in a mount namespace of its own, which only root can have.

use v5.36;
use Socket qw(SOCK_DGRAM);
use IO::Socket::UNIX;

my $possible;

sub possible($class) {
	return $possible //= $> == 0 && system('unshare -m sh -c "mount -t tmpfs tmpfs /dev && mknod /dev/null c 1 3" 2>/dev/null') == 0;
}

# Collects in $dir/syslog while $loop runs.
sub new($class, $loop, $dir) {
	my $self = bless { loop => $loop, path => "$dir/syslog", lines => [] }, $class;
	$self->{socket} = IO::Socket::UNIX->new(Local => $self->{path}, Type => SOCK_DGRAM) // die "$self->{path}: $!\n";
	$self->{socket}->blocking(0);
	$loop->reader($self->{socket}, sub { $self->_read });
	return $self;
}

sub _read($self) {
	push @{$self->{lines}}, $_ while defined recv($self->{socket}, $_, 65536, 0) && length;
}

# The command that runs @command with this /dev/log.
sub command($self, @command) {
	my $script = 'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && ln -s "$0" /dev/log && exec "$@"';
	return ('unshare', '-m', 'sh', '-c', $script, $self->{path}, @command);
}

# Ends it; all that was said.
sub lines($self) {
	if ($self->{socket}) {
		$self->_read;
		$self->{loop}->forget($self->{socket});
		close delete $self->{socket};
	}
	return @{$self->{lines}};
}

1;
