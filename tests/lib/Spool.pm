package Spool;

# A throw-away $POSTOFFICE: makes control and message files as a router would,
# and reads control files back.  The reader is on purpose no kin of the
# program's own: it is what the tests believe.

use v5.36;

# A POSTOFFICE below $dir, with these directories or all that it has; an agent knows no others than queue and transport.
sub new($class, $dir, @rooms) {
	make_path(map { "$dir/$_" } @rooms ? @rooms : qw(public router queue transport deferred freezer postman));
	return bless { dir => $dir, messages => {} }, $class;
}

# Loaded by those that need it: agents only read.
sub make_path(@paths) {
	require File::Path;
	File::Path::make_path(@paths);
}

sub dir($self) { $self->{dir} }
sub control_path($self, $name) { "$self->{dir}/transport/$name" }
sub message_path($self, $name) { "$self->{dir}/queue/$name" }

# Puts a message into the spool.
#   name     job name, "101" or "Y/K/4711002"
#   groups   list of { sender => [channel, host, user], recipients => [...], header => text or undef };
#            a header belongs to all recipients since the last one
#   recipients: { user, channel, host, privilege, dsn => text of the N line, tag, pid }
#   ret, envid, verbose    values of R, n and v lines
#   body     bytes
sub add($self, %message) {
	my $name = $message{name};
	my $base = $name =~ s/.*\///r;
	my $envelope = "external\nfrom <nobody\@example.org>\nenv-end\n";
	my $header = $message{groups}[-1]{header} // '';
	my $start = "$envelope$header\n";
	my $control = _control_text(\%message, $base, length $start);
	$self->put($self->message_path($name), $start . $message{body});
	$self->put($self->control_path($name), $control);
	return $self->adopt($name);
}

sub _control_text($message, $base, $offset) {
	my $text = "@ 0x00000007\n";
	$text .= "v $message->{verbose}\n" if defined $message->{verbose};
	$text .= "i $base\no $offset\nl <$base\@test.example>\n";
	for my $group (@{$message->{groups}}) {
		$text .= "e " . $group->{sender}[2] . "\n";
		$text .= "s " . join(' ', @{$group->{sender}}, 65534) . "\n";
		for my $r (@{$group->{recipients}}) {
			$text .= sprintf "r%s%6s    %s %s %s %s\n", $r->{tag} // ' ', $r->{pid} // '', $r->{channel}, $r->{host},
				$r->{user}, $r->{privilege} // 65534;
			$text .= "N $r->{dsn}\n" if defined $r->{dsn};
			$text .= "R $message->{ret}\n" if defined $message->{ret};
			$text .= "n $message->{envid}\n" if defined $message->{envid};
		}
		$text .= "m\n$group->{header}\n" if defined $group->{header};
	}
	return $text;
}

# Takes note of a control file that is there already, whoever wrote it.
sub adopt($self, $name) {
	my $control = $self->read($name);
	$self->{messages}{$name} = $control;
	return $control;
}

# Writes a file, with its directories.
sub put($self, $path, $bytes) {
	my $directory = $path =~ s/\/[^\/]*$//r;
	make_path($directory) if $directory ne '' && !-d $directory;
	open my $fh, '>:raw', $path or die "$path: $!";
	print $fh $bytes;
	close $fh or die "$path: $!";
}

# The job name ("Y/K/4711002") of the message with this spool id in a post office; undef if it is not there.
sub job($office, $id) {
	my ($inode) = $id =~ /^S(\d+)A/ or return undef;
	my ($path) = grep { -f && (stat _)[1] == $inode } map { glob "$office/queue/$_" } $inode, "?/$inode", "?/?/$inode";
	return defined $path ? $path =~ s{^\Q$office\E/queue/}{}r : undef;
}

sub slurp($path) {
	open my $fh, '<:raw', $path or return undef;
	local $/;
	return <$fh> // '';
}

# The control file as it is now (see parse); undef if it is not there.
sub read($self, $name) {
	my $bytes = slurp($self->control_path($name));
	return undef unless defined $bytes;
	return parse($name, $bytes);
}

# Reads control file text:
#   { name, id, bytes, message, offset, ret, envid, recipients => [...], diagnostics => [...] }
#   recipients: { offset, tag, pid, channel, host, user, dsn, dsn_offset, header, header_offset, sender }
#   diagnostics: { offset, tag, id, header_offset, dsn_offset, time, notary => [...], text }
sub parse($name, $bytes) {
	my %c = (name => $name, bytes => $bytes, recipients => [], diagnostics => []);
	($c{id}) = $name =~ /(\d+)[^\/]*$/;
	my ($sender, $last, @without_header);
	my $at = 0;
	while ($at < length $bytes) {
		if (substr($bytes, $at, 2) eq "m\n") {
			my $end = index $bytes, "\n\n", $at + 1;
			last if $end < 0;
			my $header = $end == $at + 1 ? '' : substr $bytes, $at + 2, $end + 1 - $at - 2;
			@$_{qw(header header_offset)} = ($header, $at + 2) for @without_header;
			@without_header = ();
			$at = $end + 2;
			next;
		}
		my $end = index $bytes, "\n", $at;
		$end = length $bytes if $end < 0;
		my $line = substr $bytes, $at, $end - $at;
		my $letter = substr $line, 0, 1;
		my $value = length $line > 2 ? substr $line, 2 : '';
		if ($letter eq 's') {
			$sender = [split_quad($value)];
		} elsif ($letter eq '@') {
			$c{flags} = oct $value =~ s/\s//gr;
		} elsif ($letter eq 'r') {
			$last = _recipient($line, $at, $sender, $c{flags} // 7);
			push @{$c{recipients}}, $last;
			push @without_header, $last;
		} elsif ($letter eq 'N' && $last) {
			@$last{qw(dsn dsn_offset)} = ($value, $at);
		} elsif ($letter eq 'd') {
			push @{$c{diagnostics}}, _diagnostic($line, $at);
		}
		my %single = (i => 'message', o => 'offset', R => 'ret', n => 'envid');
		$c{$single{$letter}} = $value if $single{$letter};
		$at = $end + 1;
	}
	return \%c;
}

sub _recipient($line, $at, $sender, $flags) {
	my %r = (offset => $at, sender => $sender, dsn_offset => -1, header_offset => -1, ancient => !($flags & 1));
	my ($pid, $delay) = ($flags & 1 ? 6 : 0, $flags & 2 ? 4 : 0);
	@r{qw(tag pid)} = unpack "x a1 a$pid", $line . ' ' x 12;
	$r{pid} =~ s/ //g;
	my $quad = 2 + $pid + $delay;
	@r{qw(channel host user privilege)} = split_quad(length $line > $quad ? substr $line, $quad : '');
	return \%r;
}

# Four fields; a blank inside quotes or behind a backslash does not end one.
sub split_quad($text) {
	my @field;
	while (@field < 3 && $text =~ /\G[ \t]*((?:"(?:\\.|[^"\\])*"|\\.|[^ \t"\\])+)/gc) {
		push @field, $1;
	}
	push @field, $text =~ /\G[ \t]*(.*)/s ? $1 : '';
	return @field;
}

sub _diagnostic($line, $at) {
	my %d = (offset => $at, tag => substr($line, 1, 1), line => $line);
	if ($line =~ /^d[ +](\d+):(-?\d+):(-?\d+)::(\d+)\t([^\t]*)\t(.*)$/s) {
		@d{qw(id header_offset dsn_offset time text)} = ($1, $2, $3, $4, $6);
		$d{notary} = [split /\x01/, $5, -1];
	}
	return \%d;
}

# The recipients that an agent of $channel must take when it is given the job with $host.
sub selected($control, $channel, $host) {
	return grep {
		$_->{tag} eq ' ' && $_->{sender} && $_->{channel} eq $channel && lc $_->{host} eq lc $host
	} @{$control->{recipients}};
}

# What an LMTP server should get for a recipient: its header block, an empty line, the body; CRLF everywhere.
sub expected_content($self, $control, $recipient) {
	my $prefix = $control->{name} =~ /^([A-Z]\/(?:[A-Z]\/)?)/ ? $1 : '';
	my $file = slurp("$self->{dir}/queue/$prefix$control->{message}");
	return undef unless defined $file;
	my $body = length $file > $control->{offset} ? substr $file, $control->{offset} : '';
	return wire("$recipient->{header}\n$body");
}

# The form of a text on the wire: CRLF for whatever ended a line, and one at the very end; no NUL.
sub wire($text) {
	$text =~ tr/\0//d;
	$text =~ s/\r\n|\r|\n/\r\n/g;
	$text .= "\r\n" if length $text && $text !~ /\r\n\z/;
	return $text;
}

# Does what a scheduler does when it reads a file: frees recipients whose lock holder is gone.
sub clear_stale_locks($self, $name) {
	my $control = $self->read($name) or return;
	open my $fh, '+<:raw', $self->control_path($name) or die "$name: $!";
	for my $r (grep { $_->{tag} eq '~' } @{$control->{recipients}}) {
		next if $r->{pid} =~ /^\d+$/ && kill 0, $r->{pid};
		seek $fh, $r->{offset} + 1, 0;
		print $fh ' ' x 7;
	}
	close $fh or die "$name: $!";
}

1;
