package RealDelivery;

# A spool and an agent that delivers to a real server.

use v5.36;
use File::Temp ();
use Loop;
use Spool;
use Scheduler;
use Secrecy;

# Options: program, relay (true: it is one), socket or port, or target => [arguments], channel (lmtp), arguments => [more], loop, secret => [user, password]
# for the server: then -A and -l {dir}/log are given, and finish() complains about the password wherever it is found.
sub new($class, %o) {
	my $self = bless { %o, loop => $o{loop} // Loop->new, next => 1001, channel => $o{channel} // 'lmtp' }, $class;
	$self->{dir} = File::Temp->newdir('/tmp/zl-XXXXXX');
	$self->{spool} = Spool->new("$self->{dir}/post");
	my @reach = $o{target} ? @{$o{target}} : $o{socket} ? ('-F', "UNIX:$o{socket}") : ('-F', '[127.0.0.1]', '-p', $o{port});
	if ($o{secret}) {
		$self->{secrecy} = Secrecy->new(@{$o{secret}});
		$self->{secrecy}->write_file("$self->{dir}/secrets", $o{socket} ? "UNIX:$o{socket}" : $o{secret_host} // '127.0.0.1');
		push @reach, '-A', "$self->{dir}/secrets", '-l', "$self->{dir}/log";
	}
	$self->{scheduler} = Scheduler->new(loop => $self->{loop}, spool => $self->{spool}, channel => $self->{channel},
		relay => $o{relay}, program => $o{program}, arguments => ['-c', $self->{channel}, '-h', 'client.example', @reach, @{$o{arguments} // []}]);
	return $self;
}

# Puts a message for these users into the spool and has it delivered; returns a list of "word code" for them.
# Options: body, header, sender, seconds.
sub deliver($self, $users, %o) {
	my $name = $self->add($users, %o);
	$self->job($name, 'store', $o{seconds} // 60);
	return $self->results($name);
}

sub add($self, $users, %o) {
	my $name = $self->{next}++;
	$self->{spool}->add(name => $name, body => $o{body} // "Hello.\n", groups => [{
		sender => $o{sender} ? ['smtp', 'mx', $o{sender}] : ['smtp', 'mx', 'ann@example.org'],
		header => $o{header} // "From: ann\@example.org\nSubject: message $name\nDate: Sat, 21 Nov 2026 09:00:00 +0000\nMessage-ID: <$name\@test.example>\n",
		recipients => [map { { channel => $self->{channel}, host => 'store', user => $_ } } @$users],
	}]);
	return $name;
}

# Has one job done; dies if it takes too long.
sub job($self, $name, $host, $seconds = 60) {
	my $scheduler = $self->{scheduler};
	$scheduler->job($name, $host);
	$self->{loop}->run($seconds, sub { $scheduler->satisfied }) or die "job $name not done within $seconds s\n";
}

# "ok3", "error2 550", "deferred 452" for each recipient, in the order of the control file.
sub results($self, $name) {
	$self->{scheduler}->check_files($name);
	my $control = $self->{spool}{messages}{$name};
	return map {
		my $report = $self->{scheduler}{reports}{"$control->{id}/$_->{offset}"};
		$report ? join ' ', $report->{word}, $report->{word} =~ /^ok/ ? () : $report->{code} // () : 'none';
	} @{$control->{recipients}};
}

# The header block and body of a message as a store should keep it, LF line ends.
sub stored_form($self, $name, $index = 0) {
	my $control = $self->{spool}{messages}{$name};
	return $self->{spool}->expected_content($control, $control->{recipients}[$index]) =~ s/\r\n/\n/gr;
}

# Ends the agent; what there is to complain about.
sub finish($self) {
	my $scheduler = $self->{scheduler};
	my $ending = $scheduler->finish;
	return ($ending ne '0' ? "agent ended with $ending" : (), @{$scheduler->{problems}}, $self->_leaks);
}

sub _leaks($self) {
	my $secrecy = $self->{secrecy} or return;
	return map { "the password is in $_" } $secrecy->leaks_in_lines('what it said', @{$self->{scheduler}{agent}{lines}}),
		$secrecy->leaks_below("$self->{dir}", "$self->{dir}/secrets");
}

# The protocol log so far (with a secret, or -l {dir}/log among the arguments).
sub log($self) { Spool::slurp("$self->{dir}/log") // '' }

1;
