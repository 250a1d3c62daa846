package Guide;

# Reads a guide of doc/guide: what stands between "```sh" and "```" is commands, "```output" is what the commands before
# it print; other blocks are there for reading.

use v5.36;

# Blocks in their order: { kind => 'sh' or 'output', line => number of the first line, text }.
sub blocks($path) {
	open my $in, '<:raw', $path or die "$path: $!\n";
	my ($block, @blocks);
	while (my $line = <$in>) {
		if (!$block) {
			next if $line !~ /^```/;
			$line =~ /^```(\w*)$/ or die "$path:$.: expected the kind of the block and nothing else\n";
			$block = { kind => $1, line => $. + 1, text => '' };
		} elsif ($line eq "```\n") {
			push @blocks, $block if $block->{kind} =~ /^(?:sh|output)$/;
			undef $block;
		} elsif ($line =~ m{^```}) {
			die "$path:$.: expected the end of a block\n";
		} else {
			$block->{text} .= $line;
		}
	}
	die "$path:$block->{line}: this block has no end\n" if $block;
	return @blocks;
}

# The guide at whose end this one begins, if it says so.
sub goes_on($path) {
	open my $in, '<:raw', $path or die "$path: $!\n";
	my ($other) = map { /^It (?:goes on|continues) where \[([\w-]+)\.md\]/ } <$in>;
	return $other;
}

# What a block of output promises: "..." is any text in a line, and any lines if it stands alone.
sub pattern($text) {
	my $pattern = '';
	for my $line (split /^/, $text) {
		$pattern .= $line eq "...\n" ? '(?:.*\n)*?' : join('.*', map { quotemeta } split /\.\.\./, $line =~ s/\n\z//r, -1) . '\n';
	}
	return qr/\A$pattern\z/;
}

# The Debian packages that its commands install.
sub packages(@blocks) {
	my $text = join '', map { $_->{text} } grep { $_->{kind} eq 'sh' } @blocks;
	$text =~ s/\\\n/ /g;
	my %seen;
	return grep { /^[a-z0-9]/ && !$seen{$_}++ } map { split } $text =~ /apt-get install (.*)$/mg;
}

1;
