package Tmux;

# A terminal that nobody sits at: tmux with a server of its own, and a shell in it.

use v5.36;
use File::Temp ();
use Time::HiRes qw(sleep time);

my $count = 0;

# rows, columns: the size.  The shell's prompt is "> ".
sub new($class, %o) {
	my $dir = File::Temp->newdir('/tmp/zlmtp-tmux-XXXXXX');
	my $self = bless { dir => $dir, socket => "$dir/s" }, $class;
	local $ENV{TERM} = 'xterm';
	delete local $ENV{TMUX};
	my ($rows, $columns) = ($o{rows} // 40, $o{columns} // 120);
	$self->tmux('-f', '/dev/null', 'new-session', '-d', '-x', $columns, '-y', $rows, q(exec env PS1='> ' bash --norc --noprofile)) == 0
		or die "tmux does not start\n";
	$self->tmux('set-option', '-g', 'status', 'off');
	$self->tmux('resize-window', '-x', $columns, '-y', $rows);
	$self->shows(qr/^>/m) or die "no shell\n";
	return $self;
}

sub tmux($self, @words) { system 'tmux', '-S', $self->{socket}, @words }

# What stands on the screen.
sub screen($self) {
	open my $tmux, '-|', 'tmux', '-S', $self->{socket}, 'capture-pane', '-p' or die "tmux: $!";
	local $/;
	return <$tmux> // '';
}

# Keys as tmux names them: "q", "C-c", "Enter".
sub keys($self, @keys) { $self->tmux('send-keys', @keys) }

sub type($self, $line) { $self->tmux('send-keys', '-l', $line) || $self->keys('Enter') }

# True as soon as the screen matches; false after a while.
sub shows($self, $pattern, $seconds = 20) {
	my $until = time + $seconds;
	while (time < $until) {
		return 1 if $self->screen =~ $pattern;
		sleep 0.05;
	}
	return 0;
}

sub DESTROY($self) {
	local $?;
	open my $err, '>&', \*STDERR or return;
	close STDERR;
	$self->tmux('kill-server');
	open STDERR, '>&', $err;
}

1;
