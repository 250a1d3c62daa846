package Manual;

# Reads what an mdoc page shows as it is to be typed or written: its ".Bd -literal" blocks and ".Dl" lines.

use v5.36;

# Blocks in their order: { page, line => number of the first line, section, text => as a reader sees it, file => the first
# path that the words right before it name, if any }.
sub blocks($path) {
	open my $in, '<', $path or die "$path: $!\n";
	my ($page) = $path =~ m{([^/]+)\z};
	my ($section, $block, $file, @blocks) = ('');
	while (my $line = <$in>) {
		if ($block) {
			if ($line =~ /^\.Ed\b/) { undef $block; undef $file }
			else { $block->{text} .= shown($line, "$page:$.") }
		} elsif ($line =~ /^\.Sh (.*)/) {
			$section = $1;
			undef $file;
		} elsif ($line =~ /^\.Pp/) {
			undef $file;
		} elsif ($line =~ /^\.Pa (\S+)/) {
			$file //= $1;
		} elsif ($line =~ /^\.Bd .*-literal/) {
			push @blocks, $block = { page => $page, line => $. + 1, section => $section, text => '', file => $file };
		} elsif ($line =~ /^\.Dl (.*\n)/) {
			push @blocks, { page => $page, line => $., section => $section, text => shown($1, "$page:$.") };
		}
	}
	return @blocks;
}

my %special = ('\e' => '\\', '\&' => '', '\-' => '-', '\(en' => '-', '\(dq' => '"', '\(aq' => "'");

# A source line as it is printed.  Dies on what it does not know: nobody could paste that.
sub shown($line, $where) {
	die "$where: a macro within a literal block\n" if $line =~ /^\./;
	return $line =~ s{(\\(?:\(..|.))}{$special{$1} // die "$where: $1 in a literal block\n"}ger;
}

# What one is to look at: "$ " in front of commands, "> " in front of their further lines, all else is what they
# print.  Returns { command, output } for each.
sub session($text) {
	my @steps;
	for my $line (split /^/, $text) {
		if ($line =~ /^\$ (.*\n)/) { push @steps, { command => $1, output => '' } }
		elsif (@steps && $steps[-1]{output} eq '' && $line =~ /^> ?(.*\n)/) { $steps[-1]{command} .= $1 }
		elsif (@steps && $steps[-1]{output} eq '' && $steps[-1]{command} =~ /\\\n\z/) { $steps[-1]{command} .= $line }
		elsif (@steps) { $steps[-1]{output} .= $line }
		else { die "a session begins with \"\$ \"\n" }
	}
	return @steps;
}

# What a printed output promises: "..." is any text in a line, and any lines if it stands alone.
sub promise($output) {
	my $pattern = '';
	for my $line (split /^/, $output) {
		$pattern .= $line eq "...\n" ? '(?:.*\n)*?' : join('.*', map { quotemeta } split /\.\.\./, $line =~ s/\n\z//r, -1) . '\n';
	}
	return qr/\A$pattern\z/;
}

1;
