package Loop;

# One select(2) loop for everything that a test plays at the same time: the
# scripted server, the scheduler's end of the agent's socket, timers.

use v5.36;
use Time::HiRes ();

$SIG{PIPE} = 'IGNORE';    # a peer that has gone shows in the result of the write

# Whoever interrupts a test leaves nothing behind: objects end their processes and directories on the way out.
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

sub new($class) {
	return bless { readers => {}, writers => {}, timers => [], next_timer => 1 }, $class;
}

# Calls $what whenever $fh can be read; undef ends that.  The same for writer().
sub reader($self, $fh, $what) { _watch($self->{readers}, $fh, $what) }
sub writer($self, $fh, $what) { _watch($self->{writers}, $fh, $what) }

sub _watch($set, $fh, $what) {
	if (defined $what) {
		$set->{fileno $fh} = $what;
	} else {
		delete $set->{fileno $fh};
	}
}

# Forgets a handle that is about to be closed.
sub forget($self, $fh) {
	$self->reader($fh, undef);
	$self->writer($fh, undef);
}

# Calls $what once, $seconds from now.
sub after($self, $seconds, $what) {
	push @{$self->{timers}}, { when => Time::HiRes::time() + $seconds, what => $what };
}

# Runs until $done->() is true (returns true) or $seconds have passed (returns false).
sub run($self, $seconds, $done) {
	my $deadline = Time::HiRes::time() + $seconds;
	while (!$done->()) {
		my $now = Time::HiRes::time();
		return 0 if $now >= $deadline;
		$self->_once($deadline - $now);
	}
	return 1;
}

sub _once($self, $longest) {
	my $now = Time::HiRes::time();
	for my $timer (@{$self->{timers}}) {
		my $left = $timer->{when} - $now;
		$longest = $left > 0 ? $left : 0 if $left < $longest;
	}
	my ($r, $w) = (_bits($self->{readers}), _bits($self->{writers}));
	my $n = select($r, $w, undef, $longest);
	if ($n > 0) {
		_call($self->{writers}, $w);
		_call($self->{readers}, $r);
	}
	$self->_fire;
}

sub _bits($set) {
	my $bits = '';
	vec($bits, $_, 1) = 1 for keys %$set;
	return $bits;
}

sub _call($set, $bits) {
	for my $fd (keys %$set) {
		# an earlier call may have taken it out
		$set->{$fd}->() if vec($bits, $fd, 1) && $set->{$fd};
	}
}

sub _fire($self) {
	my $now = Time::HiRes::time();
	my @due = grep { $_->{when} <= $now } @{$self->{timers}};
	return unless @due;
	$self->{timers} = [grep { $_->{when} > $now } @{$self->{timers}}];
	$_->{what}->() for @due;
}

1;
