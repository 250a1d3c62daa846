package Bytes;

# Bytes as they are written in scenario files, and back again for messages to people.

use v5.36;
use Exporter 'import';
our @EXPORT_OK = qw(unescape printable expand_names);

my %named = (r => "\r", n => "\n", t => "\t", 0 => "\0", '\\' => '\\', 's' => ' ');

# \r \n \t \0 \s (a blank) \\ \xNN stand for bytes, {TEXT*COUNT} for TEXT repeated.
sub unescape($text) {
	$text =~ s/\{([^{}]+)\*(\d+)\}/$1 x $2/ge;
	$text =~ s/\\(?:x([0-9A-Fa-f]{2})|(.))/defined $1 ? chr hex $1 : $named{$2} \/\/ die "unknown escape \\$2\n"/ge;
	return $text;
}

# One line that can be shown, cut at $cap bytes.
sub printable($bytes, $cap = 300) {
	my $cut = length $bytes > $cap ? sprintf ' ... (%d bytes)', length $bytes : '';
	$bytes = substr $bytes, 0, $cap;
	$bytes =~ s/\\/\\\\/g;
	$bytes =~ s/\r/\\r/g;
	$bytes =~ s/\n/\\n/g;
	$bytes =~ s/\t/\\t/g;
	$bytes =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ge;
	return $bytes . $cut;
}

# "user{1..3}@x" is user1@x, user2@x, user3@x; other names stand for themselves.
sub expand_names($name) {
	return $name unless $name =~ /^(.*)\{(\d+)\.\.(\d+)\}(.*)$/s;
	my ($before, $after) = ($1, $4);
	return map { "$before$_$after" } $2 .. $3;
}

1;
