package Secrecy;

# A user and a password, and the search for places where the password has no business.

use v5.36;
use File::Find ();
use MIME::Base64 qw(encode_base64);

sub new($class, $user, $password) {
	return bless { user => $user, password => $password }, $class;
}

sub user64($self) { encode_base64($self->{user}, '') }
sub password64($self) { encode_base64($self->{password}, '') }

# A secrets file with one line for that host.
sub write_file($self, $path, $host, $channel = '*') {
	open my $fh, '>', $path or die "$path: $!\n";
	chmod 0600, $path or die "$path: $!\n";
	print $fh "# channel host user secret\n$channel $host ", $self->user64 || '=', ' ', $self->password64 || '=', "\n";
	close $fh or die "$path: $!\n";
}

# All forms in which it would be a leak.
sub forms($self) {
	my $plain = encode_base64("\0$self->{user}\0$self->{password}", '');
	return grep { length >= 4 } $self->{password}, $self->password64, $plain, encode_base64($plain, ''),
		unpack('H*', $self->{password});
}

sub _leaks($self, $text) { return grep { index($text, $_) >= 0 } $self->forms }

# The names of places where it was found.
sub leaks_in_lines($self, $where, @lines) {
	return map { "$where: $_" } grep { $self->_leaks($_) } @lines;
}

# Looks into every file below a directory, cores included, but for those named.
sub leaks_below($self, $directory, @except) {
	my (%except, @found);
	@except{@except} = ();
	File::Find::find({ no_chdir => 1, wanted => sub {
		return if exists $except{$_} || !-f $_;
		open my $fh, '<:raw', $_ or return;
		local $/;
		push @found, $_ if $self->_leaks(<$fh> // '');
	} }, $directory);
	return @found;
}

1;
