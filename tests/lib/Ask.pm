package Ask;

# A process that keeps one map open and answers questions (tests/lib/ask.c).

use v5.36;
use IPC::Open2;
use Time::HiRes ();

# The arguments of "ask": type, path, config.
sub new($class, @arguments) {
	my $self = bless {}, $class;
	$self->{pid} = open2($self->{from}, $self->{to}, "$ENV{BUILD_DIR}/tests/lib/ask", @arguments);
	return $self;
}

# The answer as a line; $ask->{took} is its time in seconds.
sub find($self, $key) {
	$self->ask($key);
	return $self->answer;
}

# The same in two steps, for questions to several maps at once.
sub ask($self, $key) {
	local $SIG{PIPE} = 'IGNORE';
	my $encoded = $key =~ s/([%\x00-\x1f\x7f-\xff])/sprintf '%%%02x', ord $1/ger;
	$self->{asked} = Time::HiRes::time();
	syswrite $self->{to}, "$encoded\n";
}

sub answer($self) {
	my $line = readline $self->{from};
	$self->{took} = Time::HiRes::time() - $self->{asked};
	chomp $line if defined $line;
	return $line // 'ended';
}

sub refresh($self) { $self->find('!refresh') }

# Asks until the answer is like $pattern, for at most $seconds.  Returns the last answer.
sub until_like($self, $key, $pattern, $seconds = 20) {
	my $deadline = Time::HiRes::time() + $seconds;
	for (;;) {
		my $answer = $self->find($key);
		return $answer if $answer =~ $pattern || Time::HiRes::time() > $deadline;
		Time::HiRes::sleep(0.05);
	}
}

sub end($self) {
	my $pid = delete $self->{pid} or return;
	close $self->{to};
	close $self->{from};
	waitpid $pid, 0;
	return $?;
}

sub DESTROY($self) {
	local ($?, $!);
	kill 'KILL', $self->{pid} if $self->{pid};
	$self->end;
}

1;
