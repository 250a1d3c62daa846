package Workers;

# Runs many small pieces of work in child processes, some at a time.

use v5.36;

# $pieces: list of { work => sub returning text, slow => true if it mostly waits }.  At most $width
# pieces run at once; slow ones start first and do not count.  Returns the texts in order (undef
# where a child died).
sub run($width, $pieces) {
	my (@result, %running);
	my @order = sort { ($pieces->[$b]{slow} // 0) <=> ($pieces->[$a]{slow} // 0) || $a <=> $b } 0 .. $#$pieces;
	my $busy = 0;
	while (@order || %running) {
		while (@order && ($busy < $width || $pieces->[$order[0]]{slow})) {
			my $i = shift @order;
			my ($pid, $reader) = _start($pieces->[$i]{work});
			$running{fileno $reader} = { pid => $pid, reader => $reader, index => $i, text => '' };
			$busy++ unless $pieces->[$i]{slow};
		}
		for my $done (_read_some(\%running)) {
			waitpid $done->{pid}, 0;
			$result[$done->{index}] = $? == 0 ? $done->{text} : undef;
			$busy-- unless $pieces->[$done->{index}]{slow};
		}
	}
	return @result;
}

sub _start($work) {
	pipe my $reader, my $writer or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	return ($pid, $reader) if $pid;
	close $reader;
	my $text = eval { $work->() } // "not ok\n\n$@";
	print $writer $text;
	close $writer;
	exit 0;    # with clean-up of temporary directories
}

# Reads what the children say; returns those that have ended.
sub _read_some($running) {
	my $bits = '';
	vec($bits, $_, 1) = 1 for keys %$running;
	select($bits, undef, undef, undef);
	my @done;
	for my $fd (grep { vec $bits, $_, 1 } keys %$running) {
		my $n = sysread $running->{$fd}{reader}, $running->{$fd}{text}, 65536, length $running->{$fd}{text};
		push @done, delete $running->{$fd} unless $n;
	}
	return @done;
}

1;
