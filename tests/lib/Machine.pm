package Machine;

# A copy of a system, with root's interactive shell at a terminal in it, for what must be done to a whole system: /etc is
# changed, packaged servers are started, well-known ports are used.  tests/lib/machine says what it is made of.

use v5.36;
use File::Temp ();
use IPC::Open2 ();
use POSIX ();

# Whoever interrupts a test leaves nothing running.
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

# Seconds for one command: it ends sooner or never, but a machine that has other things to do as well builds slowly
use constant PATIENCE => 1500;

# What the shell says when it waits for a command (with the status of the last one), and for more of it
use constant { READY => qr/=ready (\d+)= /, MORE => qr/=more= / };

# Why there can be none here; undef if there can.
sub missing() {
	return 'needs root' if $> != 0;
	return 'no unshare(1) here (Debian: util-linux)' if !has('unshare');
	return 'no script(1) here (Debian: bsdutils)' if !has('script');
	return 'no ip(8) here (Debian: iproute2)' if !has('ip');
	return 'no name spaces of its own for a process here' if system 'unshare -mpnuf true 2>/dev/null';
	return 'no overlay file system here' if !grep { /\toverlay$/ } lines('/proc/filesystems') and system 'modprobe -q overlay';
	return undef;
}

sub has($program) { return scalar grep { -x "$_/$program" } qw(/usr/sbin /usr/bin /sbin /bin) }

sub lines($path) {
	open my $file, '<', $path or return;
	chomp(my @lines = <$file>);
	return @lines;
}

# Starts one.  Options: programs => a build directory whose programs are installed in it; lower => whose files it has
# (this machine); changes => an empty directory for what is changed, which stays.
sub start($class, %o) {
	my $dir = $o{changes} // File::Temp->newdir('/tmp/zlm-XXXXXX');
	mkdir "$dir/changes" or die "$dir/changes: $!\n" if $o{changes};
	my $self = bless { dir => $dir, owner => $$, screen => '' }, $class;
	$self->{pid} = IPC::Open2::open2($self->{from}, $self->{to}, 'unshare', '--mount', '--pid', '--net', '--uts', '--fork',
		'--kill-child', "$ENV{SRC_DIR}/tests/lib/machine", "$dir", $o{lower} // '/', $o{programs} // ());
	$self->{to}->autoflush(1);
	$self->type("unset HISTFILE; PS1='=ready \$''?= ' PS2='=''more= '");
	return $self;
}

# Types commands, each line when the shell waits for it, like somebody at a terminal.  The first command that fails is the
# last.  Returns the exit status (undef: no answer in time) and what the screen showed but what was typed.
sub run($self, $commands) {
	my $said = '';
	for my $line (split /\n/, $commands) {
		return (undef, "$line\nhas a tab, which at a prompt completes names") if $line =~ /\t/;
		my ($status, $text) = $self->type($line);
		$said .= $text;
		return (undef, "$said\nno answer to: $line") if !defined $status;
		return (1, $said) if $text =~ /^bash: .*: event not found$/m;
		return ($status, $said) if $status > 0;
	}
	return (0, $said);
}

# One line.  Returns the status (-1: the command goes on in the next line; undef: no answer in time) and the output.
sub type($self, $line) {
	local $SIG{PIPE} = 'IGNORE';
	print {$self->{to}} "$line\n";
	my $deadline = time + PATIENCE;
	my $answer = qr/\Q$line\E\n(.*?)(?:${\READY}|${\MORE})/s;
	while (1) {
		if ($self->{screen} =~ s/\A.*?$answer//s) {
			return ($2 // -1, $1);
		}
		my ($bits, $bytes) = ('');
		vec($bits, fileno $self->{from}, 1) = 1;
		my $left = $deadline - time;
		return (undef, $self->{screen}) if $left <= 0 || select($bits, undef, undef, $left) <= 0;
		sysread $self->{from}, $bytes, 65536 or return (undef, $self->{screen});
		$self->{screen} .= $bytes =~ s/\r//gr;
	}
}

# With the first process of a machine all others in it end, and its mounts go.
sub stop($self) {
	return if $self->{stopped}++;
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
}

sub DESTROY($self) {
	local ($?, $@);
	$self->stop if $self->{owner} == $$;
}

1;
