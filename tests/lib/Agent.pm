package Agent;

# A transport agent process, started as ZMailer's scheduler does
# (transport-agent.md section 1): one socket as descriptors 0, 1 and 2, in
# POSTOFFICE/transport, hardly any environment, 32 descriptors.

use v5.36;
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use POSIX ();
use Time::HiRes ();

# Options: loop, program, arguments => [...], directory, environment => {...},
# on_line => sub ($line), called for each whole line the agent writes (without LF).
sub start($class, %o) {
	my $self = bless { %o, buffer => '', unsent => '', lines => [] }, $class;
	socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!\n";
	my $pid = fork // die "fork: $!\n";
	_become_agent($theirs, \%o) if $pid == 0;
	close $theirs;
	$ours->blocking(0);
	@$self{qw(pid socket)} = ($pid, $ours);
	$self->{loop}->reader($ours, sub { $self->_readable });
	return $self;
}

sub _become_agent($socket, $o) {
	open STDIN, '<&', $socket or POSIX::_exit(126);
	open STDOUT, '>&', $socket or POSIX::_exit(126);
	open STDERR, '>&', $socket or POSIX::_exit(126);
	chdir $o->{directory} or POSIX::_exit(126);
	$SIG{PIPE} = 'IGNORE';
	my %keep = map { $_ => $ENV{$_} } grep { /^(?:[AUL]SAN_OPTIONS|TZ)$/ && defined $ENV{$_} } keys %ENV;
	# the authorities of the system, which have signed nothing here, would be read by each that speaks TLS: 30 ms
	%ENV = (PATH => '/usr/bin:/bin', SSL_CERT_FILE => '/dev/null', %keep, %{$o->{environment} // {}});
	# perl has opened its own descriptors close-on-exec; only the soft limit needs a shell
	no warnings 'exec';
	exec '/bin/sh', '-c', 'ulimit -S -n 32 && exec "$@"', 'sh', $o->{program}, @{$o->{arguments}};
	POSIX::_exit(127);
}

# Sends bytes; what does not fit waits until the agent reads.
sub send($self, $bytes) {
	$self->{unsent} .= $bytes;
	$self->_write;
}

sub _write($self) {
	return unless $self->{socket};
	while ($self->{unsent} ne '') {
		my $n = syswrite $self->{socket}, $self->{unsent};
		if (!defined $n) {
			return $self->{loop}->writer($self->{socket}, sub { $self->_write }) if $!{EAGAIN};
			$self->{unsent} = '';
			last;
		}
		substr $self->{unsent}, 0, $n, '';
	}
	$self->{loop}->writer($self->{socket}, undef);
	shutdown $self->{socket}, 1 if $self->{ending};
}

# End of file for the agent, behind everything sent so far.
sub end($self) {
	$self->{ending} = 1;
	$self->_write;
}

sub _readable($self) {
	my $n = sysread $self->{socket}, my $bytes, 262144;
	return if !defined $n && $!{EAGAIN};
	if (!$n) {
		$self->{loop}->forget($self->{socket});
		close delete $self->{socket};
		$self->_line($self->{buffer} . ' (without line end)') if $self->{buffer} ne '';
		return;
	}
	$self->{buffer} .= $bytes;
	while ((my $end = index $self->{buffer}, "\n") >= 0) {
		my $line = substr $self->{buffer}, 0, $end + 1, '';
		chop $line;
		$self->_line($line);
	}
}

sub _line($self, $line) {
	push @{$self->{lines}}, $line;
	$self->{on_line}->($line) if $self->{on_line};
}

sub signal($self, $name) { kill $name, $self->{pid} if !defined $self->{status} }

# True once the agent has closed its socket and ended; then status() is what wait(2) said.
sub gone($self) {
	return 1 if defined $self->{status};
	my $pid = waitpid $self->{pid}, POSIX::WNOHANG();
	return 0 if $pid == 0;
	$self->{status} = $?;
	$self->{loop}->run(5, sub { !$self->{socket} });    # what it wrote before it ended
	return 1;
}

# Waits $seconds for it to end by itself; false if it had to be killed.
sub reap($self, $seconds) {
	my $deadline = Time::HiRes::time() + $seconds;
	while (!$self->gone) {
		if (Time::HiRes::time() > $deadline) {
			$self->signal('KILL');
			waitpid $self->{pid}, 0;
			$self->{status} = $?;
			return 0;
		}
		$self->{loop}->run($self->{socket} ? 0.1 : 0.001, sub { !$self->{socket} });
	}
	return 1;
}

sub status($self) { $self->{status} }

# "0", "64", "signal 9": how it ended.
sub ending($self) {
	my $status = $self->{status} // return 'still running';
	return $status & 127 ? 'signal ' . ($status & 127) : $status >> 8;
}

sub DESTROY($self) {
	local $?;
	return if defined $self->{status} || !$self->{pid};
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
}

1;
