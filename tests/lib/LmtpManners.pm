package LmtpManners;

# What no LMTP client may do, whatever the scenario is about.  Each function
# returns a complaint, or nothing.

use v5.36;
use Exporter 'import';
our @EXPORT_OK = qw(command_complaints content_complaints split_path);

my $path = qr/<(?:"(?:\\.|[^"\\])*"|\\.|[^>"\\])*>/;

# MAIL or RCPT parameter: the keyword of the LHLO reply that permits it.
my %permitted_by = (
	SIZE => 'SIZE', BODY => '8BITMIME', RET => 'DSN', ENVID => 'DSN', NOTIFY => 'DSN', ORCPT => 'DSN',
	SMTPUTF8 => 'SMTPUTF8', BY => 'DELIVERBY', AUTH => 'AUTH', IGNOREQUOTA => 'IGNOREQUOTA',
);

# "MAIL FROM:<a@b> SIZE=3" in pieces: path, parameters.
sub split_path($line) {
	return unless $line =~ /^(?:MAIL FROM|RCPT TO):($path)(.*)$/is;
	my ($found, $rest) = ($1, $2);
	return ($found, split ' ', $rest);
}

# $line without its end, $caps the announced keywords, $state what the connection knows.
sub command_complaints($line, $caps, $state) {
	my @bad;
	push @bad, 'command line of ' . length($line) . ' bytes' if length $line > 2000;
	push @bad, 'control byte in a command' if $line =~ /[\x00-\x1f\x7f]/;
	push @bad, _parameters($line, $caps) if $line =~ /^(?:MAIL|RCPT)\b/i;
	push @bad, 'BDAT without CHUNKING' if $line =~ /^BDAT\b/i && !$caps->{CHUNKING};
	push @bad, 'STARTTLS that was not offered' if $line =~ /^STARTTLS\b/i && !$caps->{STARTTLS};
	push @bad, 'AUTH that was not offered' if $line =~ /^AUTH\b/i && !$caps->{AUTH};
	if (length $state->{behind} && !$state->{replied_ahead}) {
		my $last = $line =~ /^(?:LHLO|EHLO|HELO|DATA|AUTH|STARTTLS)\b/i;
		push @bad, 'bytes behind a command that must be the last of its group (RFC 2920)' if $last;
		push @bad, 'pipelined though PIPELINING was not offered' if !$caps->{PIPELINING} && !$last
			&& $line !~ /^BDAT\b/i;
	}
	push @bad, 'MAIL inside a transaction, without RSET' if $line =~ /^MAIL\b/i && $state->{open} && !$caps->{CHUNKING};
	return @bad;
}

sub _parameters($line, $caps) {
	my ($found, @parameters) = split_path($line);
	return 'malformed path' unless defined $found;
	my @bad;
	for my $parameter (@parameters) {
		my ($key, $value) = split /=/, $parameter, 2;
		my $needs = $permitted_by{uc $key};
		$needs = 'BINARYMIME' if uc $parameter eq 'BODY=BINARYMIME';
		push @bad, "parameter $parameter was not announced" unless $needs && $caps->{$needs};
	}
	return @bad;
}

# Text that came by DATA: a line end in any other form lets others end the message (SMTP smuggling).
sub content_complaints($content) {
	my @bad;
	push @bad, 'bare LF in the text' if $content =~ /(?<!\r)\n/;
	push @bad, 'bare CR in the text' if $content =~ /\r(?!\n)/;
	return @bad;
}

1;
