package Workers;

# Does many small pieces of work in child processes, some at a time.

use v5.36;
use IO::Handle;

# $pieces: list of { work => sub returning text, slow => true if it mostly waits }.  $width children share the pieces, so each does
# many; a slow one has a child of its own, and those start first.  Returns the texts in order (undef where a child died).
sub run($width, $pieces) {
	my @slow = grep { $pieces->[$_]{slow} } 0 .. $#$pieces;
	my @quick = grep { !$pieces->[$_]{slow} } 0 .. $#$pieces;
	my @children = map { _start($pieces, _list($_)) } @slow;
	my $list = _list(@quick);
	push @children, map { _start($pieces, $list) } 1 .. ($width < @quick ? $width : @quick);
	my %running = map { fileno $_->{reader} => $_ } @children;
	_read_some(\%running) while %running;
	my @result;
	for my $child (@children) {
		waitpid $child->{pid}, 0;
		while ($child->{text} =~ /\G(\d+) (\d+)\n/gc) {
			my ($i, $length, $at) = ($1, $2, pos $child->{text});
			last if length $child->{text} < $at + $length;
			$result[$i] = substr $child->{text}, $at, $length;
			pos($child->{text}) = $at + $length;
		}
	}
	return @result;
}

# A pipe with the numbers of pieces: whoever reads four bytes has one that nobody else has.
sub _list(@numbers) {
	pipe my $reader, my $writer or die "pipe: $!\n";
	syswrite $writer, pack 'N*', @numbers;
	return $reader;
}

sub _start($pieces, $list) {
	pipe my $reader, my $writer or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	return { pid => $pid, reader => $reader, text => '' } if $pid;
	close $reader;
	while (sysread $list, my $number, 4) {
		my $i = unpack 'N', $number;
		my $text = eval { $pieces->[$i]{work}->() } // "not ok\n\n$@";
		printf $writer "%d %d\n%s", $i, length $text, $text;
		$writer->flush;
	}
	exit 0;    # with clean-up of temporary directories
}

# Takes in what the children say; forgets those that have ended.
sub _read_some($running) {
	my $bits = '';
	vec($bits, $_, 1) = 1 for keys %$running;
	select($bits, undef, undef, undef);
	for my $fd (grep { vec $bits, $_, 1 } keys %$running) {
		delete $running->{$fd} unless sysread $running->{$fd}{reader}, $running->{$fd}{text}, 65536, length $running->{$fd}{text};
	}
}

1;
