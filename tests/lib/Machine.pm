package Machine;

# A copy of this machine, with root's shell in it, for what must be done to a whole system: /etc is changed, packaged
# servers are started, well-known ports are used.  tests/lib/machine says what it is made of.

use v5.36;
use File::Temp ();
use IPC::Open2 ();
use POSIX ();

# Whoever interrupts a test leaves nothing running.
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

# Seconds for one block of commands, on a machine that has other things to do as well
use constant PATIENCE => 400;

# Why there can be none here; undef if there can.
sub missing() {
	return 'needs root' if $> != 0;
	return 'no unshare(1) here (Debian: util-linux)' if !has('unshare');
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

# Starts one.  Option: programs => a build directory whose programs are installed in it.
sub start($class, %o) {
	my $dir = File::Temp->newdir('/tmp/zlm-XXXXXX');
	my $self = bless { dir => $dir, owner => $$ }, $class;
	$self->{pid} = IPC::Open2::open2($self->{from}, $self->{to}, 'unshare', '--mount', '--pid', '--net', '--uts', '--fork',
		'--kill-child', "$ENV{SRC_DIR}/tests/lib/machine", "$dir", $o{programs} // ());
	$self->{to}->autoflush(1);
	return $self;
}

# Runs commands in the shell, which keeps its directory and variables.  They are read like a file that is sourced under
# set -e: the first one that fails ends the machine.  Returns the exit status (undef: no answer in time) and what was
# said on both outputs.
sub run($self, $commands) {
	my $n = ++$self->{count};
	local $SIG{PIPE} = 'IGNORE';
	print {$self->{to}} "cat >/tmp/said/$n.sh <<'=end-of-commands='\n$commands=end-of-commands=\n",
		"trap 's=\$?; echo; echo =status \$s; cat /tmp/said/$n; echo; echo =said' EXIT\n",
		"set -e; . /tmp/said/$n.sh >/tmp/said/$n 2>&1 </dev/null; set +e\n",
		"trap - EXIT; echo; echo =status 0; cat /tmp/said/$n; echo; echo =said\n";
	my $text = $self->_read_until(qr/^=said\n/m);
	my ($status, $said) = $text =~ /^=status (\d+)\n(.*)\n=said\n/ms;
	return ($status, $said // $text);
}

sub _read_until($self, $end) {
	my $deadline = time + PATIENCE;
	my $text = '';
	until ($text =~ $end) {
		my $bits = '';
		vec($bits, fileno $self->{from}, 1) = 1;
		my $left = $deadline - time;
		last if $left <= 0 || select($bits, undef, undef, $left) <= 0;
		sysread($self->{from}, $text, 65536, length $text) or last;
	}
	return $text;
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
