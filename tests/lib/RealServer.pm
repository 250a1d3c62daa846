package RealServer;

# What throw-away servers have in common: a short temporary directory, free ports, waiting
# until they answer, and going away for good, whatever happens to the test.

use v5.36;
use File::Temp ();
use File::Path ();
use POSIX ();
use IO::Socket::IP;
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);
use Time::HiRes qw(sleep time);

# Whoever interrupts a test leaves nothing running: objects end their servers on the way out.
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

# A directory that others may enter: servers change their user.
sub directory() {
	my $dir = File::Temp->newdir('/tmp/zlr-XXXXXX');
	chmod 0755, "$dir";
	return $dir;
}

sub write_file($path, $text, $mode = undef) {
	open my $fh, '>:raw', $path or die "$path: $!\n";
	print $fh $text;
	close $fh or die "$path: $!\n";
	chmod $mode, $path or die "$path: $!\n" if defined $mode;
}

# Runs a program that puts itself into the background; dies with what it said if it cannot.
sub run($log, @command) {
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		# a pipe would be kept open by the daemon
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $log;
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	return if $? == 0;
	open my $fh, '<', $log;
	die join '', "$command[0] did not start:\n", <$fh>;
}

# First line that the server says at $address (a port on 127.0.0.1 or a path); undef while it does not answer.
sub greeting($address) {
	my $socket = $address =~ m{^/} ? IO::Socket::UNIX->new(Peer => $address, Type => SOCK_STREAM)
		: IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $address, Type => SOCK_STREAM);
	return undef unless $socket;
	local $SIG{ALRM} = sub { die "silent\n" };
	alarm 5;
	my $line = eval { scalar <$socket> };
	alarm 0;
	return $line;
}

# Polls until $done->() is true; dies with $what after $seconds.
sub wait_for($what, $seconds, $done) {
	my $deadline = time + $seconds;
	until ($done->()) {
		die "waited $seconds s in vain for $what\n" if time > $deadline;
		sleep 0.02;
	}
}

# Does this process run?  One that has ended and is not waited for yet, as init may do late, does not.
sub lives($pid) {
	return 0 if !kill 0, $pid;
	open my $stat, '<', "/proc/$pid/stat" or return 0;
	return (<$stat> // '') !~ /^\d+ \(.*\) [ZX]/s;
}

# Ends the process: first with $signal, then by force.  True if it ended by itself.
sub end_process($pid, $signal = 'TERM', $patience = 10) {
	return 1 unless defined $pid && kill 0, $pid;
	kill $signal, $pid;
	my $gone = eval { wait_for('the end', $patience, sub { waitpid($pid, 1); !lives($pid) }); 1 };
	kill 'KILL', $pid unless $gone;
	waitpid $pid, 0 unless $gone;
	return $gone;
}

sub read_pid($path) {
	open my $fh, '<', $path or return undef;
	my $line = <$fh> // return undef;
	return $line =~ /(\d+)/ ? $1 : undef;
}

1;
