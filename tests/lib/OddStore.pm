package OddStore;

# An LMTP server in a process of its own, which knows the users ann and bob, and says something odd where it is told to:
#
#   alike  every positive reply to MAIL, RCPT and RSET is "250 ok"
#   odd    { 'MAIL 2' => { before => [LINES], instead => [LINES], after => [LINES] } }: at the second MAIL of a connection these
#          are said before the reply, in its place, and behind it; "close" closes the connection, "read no more" waits until the
#          client has said something, and leaves it unread
#
# What clients say is in its log, behind the number of the connection: "1 MAIL FROM:<>".

use v5.36;
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();

sub start($class, $path, %o) {
	my $self = bless { %o, socket => $path, log => "$path.log", owner => $$ }, $class;
	my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 50) // die "$path: $!\n";
	open $self->{write}, '>>', $self->{log} or die "$self->{log}: $!\n";
	$self->{write}->autoflush;
	$self->{pid} = fork // die "fork: $!\n";
	return $self if $self->{pid};
	$SIG{$_} = 'DEFAULT' for qw(INT TERM);
	$SIG{PIPE} = 'IGNORE';
	$self->_serve($listener);
}

sub _serve($self, $listener) {
	my $all = IO::Select->new($listener);
	my %clients;
	for (my $number = 0;;) {
		for my $fh ($all->can_read) {
			if ($fh == $listener) {
				my $client = $listener->accept or next;
				$clients{$client} = { fh => $client, number => ++$number, in => '', count => {} };
				$all->add($client);
				syswrite $client, "220 odd.test LMTP\r\n";
				next;
			}
			my $c = $clients{$fh};
			my $open = sysread $fh, $c->{in}, 4096, length $c->{in};
			while ($open && $c->{in} =~ s/^(.*?)\r\n//) {
				$self->{write}->say("$c->{number} $1");
				$open = $self->_answer($c, $1);
			}
			next if $open;
			$self->{write}->say("$c->{number} (closed)");
			$all->remove($fh);
			delete $clients{$fh};
			close $fh;
		}
	}
}

# False if the connection is to be closed.
sub _answer($self, $c, $line) {
	my $verb = uc(($line =~ /^(\w+)/)[0] // '');
	my $odd = $self->{odd}{"$verb " . ++$c->{count}{$verb}} // {};
	my %yes = (MAIL => '250 2.1.0 ok', RCPT => '250 2.1.5 ok', RSET => '250 2.0.0 ok', QUIT => '221 2.0.0 bye',
		LHLO => "250-odd.test\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES");
	my $reply = $verb eq 'RCPT' && $line !~ /<(?:ann|bob)\@/ ? '550 5.1.1 no such user here' : $yes{$verb} // '500 5.5.1 unknown';
	$reply = '250 ok' if $self->{alike} && $reply =~ /^250 /;
	for my $words (@{$odd->{before} // []}, @{$odd->{instead} // [$reply]}, @{$odd->{after} // []}) {
		return 0 if $words eq 'close';
		if ($words eq 'read no more') {
			# until the client has said something again
			IO::Select->new($c->{fh})->can_read;
			next;
		}
		syswrite $c->{fh}, "$words\r\n";
	}
	return $verb ne 'QUIT';
}

# What clients have said so far.
sub said($self) {
	open my $in, '<', $self->{log} or return ();
	chomp(my @lines = <$in>);
	return @lines;
}

sub connections($self) {
	my %seen = map { (split ' ')[0] => 1 } $self->said;
	return scalar keys %seen;
}

sub DESTROY($self) {
	local ($?, $!);
	return unless $self->{pid} && $self->{owner} == $$;
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
}

1;
