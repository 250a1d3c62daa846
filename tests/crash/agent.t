#!/usr/bin/perl
# The agent is killed, at every system call and at any moment, while it delivers to a store that
# remembers what it took.  Afterwards nothing is lost, and delivered twice is only what the agent had not heard of.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'long';
use Time::HiRes ();
use CrashStore;
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = "$build/channel/lmtp";
my $runqueue = "$build/channel/runqueue";
my $killat = "$build/tests/crash/killat";
my $soak = $ENV{ZLMTP_SOAK};
# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';
srand($ENV{ZLMTP_SEED} // 1);

my @ways = (
	{ name => 'lock-step', caps => ['ENHANCEDSTATUSCODES'] },
	{ name => 'PIPELINING', caps => ['ENHANCEDSTATUSCODES', 'PIPELINING'] },
	{ name => 'PIPELINING and CHUNKING', caps => ['ENHANCEDSTATUSCODES', 'PIPELINING', 'CHUNKING'] },
);

for my $way (@ways) {
	SKIP: {
		skip "no $killat", 2 unless -x $killat;
		every_call($way);
	}
	any_moment($way);
}
any_moment_then_runqueue();
done_testing;

sub store($way, %o) {
	return CrashStore->new(program => $program, arguments => [], caps => $way->{caps}, %o);
}

sub verdict($name, @problems) {
	ok(!@problems, $name) or diag join "\n", @problems[0 .. ($#problems > 8 ? 8 : $#problems)];
}

# The number of system calls of one undisturbed round.
sub calls($way) {
	my $store = store($way, messages => 3, recipients => 3);
	my $calls;
	$store->round($killat, [0, $program], sub ($scheduler) {
		my $listen = $scheduler->{agent}{on_line};
		$scheduler->{agent}{on_line} = sub ($line) {
			return $calls = $1 if $line =~ /^killat: (\d+) calls/;
			$listen->($line);
		};
	});
	$store->finish;
	return $calls;
}

# Three messages; killed at the n-th system call, then a second agent.  Calls while starting up are passed over.
sub every_call($way) {
	my $calls = calls($way);
	ok(defined $calls && $calls > 50, "system calls are counted, $way->{name}") or return;
	my $step = $soak ? 1 : !long() ? 24 : $ENV{ZLMTP_SANITIZED} ? 15 : 6;
	my ($killed, $duplicates, @problems) = (0, 0);
	for (my $n = 20 + int rand $step; $n <= $calls; $n += $step) {
		my $store = store($way, messages => 3, recipients => 3);
		$killed++ unless $store->round($killat, [$n, $program]);
		push @problems, map { "killed at call $n: $_" } $store->finish;
		$duplicates += $store->{duplicates};
		last if @problems > 10;
	}
	verdict("killed at $killed of $calls system calls, $duplicates duplicates of unheard replies, $way->{name}", @problems);
}

# Many messages, a store that breaks connections, kills after some milliseconds.
sub any_moment($way) {
	my $kills = $soak ? 170 : long() ? 8 : 4;
	my ($done, $duplicates, @problems) = (0, 0);
	while ($done < $kills && !@problems) {
		my $store = store($way, messages => 60, recipients => 5, faults => 0.004);
		while ($done < $kills && $store->_open) {
			$store->round($program, [], sub ($scheduler) {
				$store->{loop}->after(0.0005 + rand 0.03, sub { $scheduler->{agent}->signal('KILL') });
			}) or $done++;
		}
		push @problems, $store->finish;
		$duplicates += $store->{duplicates};
	}
	verdict("killed $done times at any moment, $duplicates duplicates of unheard replies, $way->{name}", @problems);
}

# The same once more, but what is left after the kills is runqueue's.
sub any_moment_then_runqueue() {
	ok(-x $runqueue, "$runqueue is there") or return;
	my $store = store($ways[1], messages => 60, recipients => 5);
	for (1 .. 5) {
		$store->round($program, [], sub ($scheduler) {
			$store->{loop}->after(0.002 + rand 0.01, sub { $scheduler->{agent}->signal('KILL') });
		});
	}
	my $office = $store->{spool}->dir;
	my $conf = "$store->{dir}/scheduler.conf";
	$store->{spool}->put($conf, "lmtp/*\n\tinterval=1m\n\tretries=\"1\"\n\tcommand=\"$program -c \$channel -h client.example "
		. "-F UNIX:$store->{dir}/s\"\n");
	my $status = run_beside($store->{loop}, "$store->{dir}/said", $runqueue, '-1', '-P', $office, '-f', $conf);
	my @problems = @{$store->{problems}};
	push @problems, "runqueue ended with $status", Spool::slurp("$store->{dir}/said") if $status;
	my @left = glob "$office/transport/* $office/queue/*";
	push @problems, "left in the queue: @left" if @left;
	$store->_check_lost;
	push @problems, @{$store->{problems}};
	my @reports = glob "$office/postman/*";
	push @problems, 'no report about the refused ones' unless @reports;
	verdict("after $store->{kills} kills runqueue delivers the rest, $store->{duplicates} duplicates of unheard replies", @problems);
	$store->{server}->close;
}

# Runs a program while the loop goes on; returns its wait status.
sub run_beside($loop, $output, @command) {
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $output;
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	my $status;
	my $in_time = $loop->run(60, sub {
		$loop->after(0.01, sub {});
		return waitpid($pid, POSIX::WNOHANG()) == $pid && defined($status = $?);
	});
	return $status if $in_time;
	kill 'KILL', $pid;
	waitpid $pid, 0;
	return 'no end after 60 s';
}
