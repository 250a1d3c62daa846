#!/usr/bin/perl
# Programs that change or read a live map are killed: at every system call, and at random moments under load.
#
# No change that was acknowledged is lost; in generations and LMDB nobody ever sees half of a batch or waits for
# more than a second; the next program always ends within its time, and in an environment says what to run
# if it could not tell; recovery brings everything back within a minute, also on a busy machine.
#
# With ZLMTP_SOAK=1: every system call of every command but those on /proc, and 500 kills in each way, with readers that never rest
# (another number: so many).  ZLMTP_PARTS, ZLMTP_WAYS, ZLMTP_CASES and ZLMTP_CALLS ("100-200") take a part of all that.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Extent 'long';
use LiveMap;
use Test::More;
use Time::HiRes qw(time sleep);

my $build = $ENV{BUILD_DIR} //= "$FindBin::Bin/../..";
my $soak = $ENV{ZLMTP_SOAK} ? ($ENV{ZLMTP_SOAK} > 1 ? $ENV{ZLMTP_SOAK} : 500) : 0;
my @ways = split ' ', $ENV{ZLMTP_WAYS} // 'generations lmdb environment';
my $dir = File::Temp->newdir('/tmp/zlmtp-live-XXXXXX');
my $have_lmdb = slurp("$build/config.h") =~ /HAVE_LMDB 1/;

delete $ENV{ZCONFIG};
# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';
srand($ENV{ZLMTP_SEED} // time);

sub slurp($path) {
	open my $f, '<', $path or return '';
	local $/;
	return scalar <$f> // '';
}

# What is left of processes that a test started must not outlive it.
my %started;
END {
	my $status = $?;
	kill KILL => keys %started if %started;
	$? = $status;
}

# ---- at every system call ----

# What is killed: a command, the changes it makes, and how the map is before, if it is not just there.
my %cases = (
	set     => sub ($m, $n) { return { words => ['set', 'new', $n], changes => [['new', $n]] } },
	apply   => sub ($m, $n) {
		my @changes = (['pair1-a', $n], ['pair1-b', $n], ['new', $n]);
		$m->put("$m->{dir}/changes", join '', map { "+$_->[0]\t$_->[1]\n" } @changes);
		return { words => ['apply', "$m->{dir}/changes"], changes => \@changes };
	},
	replace => sub ($m, $n) {
		my @changes = (['pair1-a', $n], ['pair1-b', $n], ['new', $n]);
		my %wanted = (%{$m->{content}}, map { @$_ } @changes);
		$m->put("$m->{dir}/changes", join '', map { "$_ $wanted{$_}\n" } sort keys %wanted);
		return { words => ['replace', "$m->{dir}/changes"], changes => \@changes };
	},
	check   => sub ($m, $n) { return { words => ['check'], changes => [] } },
	recover => sub ($m, $n) { return { words => ['recover'], changes => [] } },
	# of an environment that nobody uses, as after the start of the machine, and of a damaged map
	unused  => sub ($m, $n) {
		unlink glob "$m->{dir}/env/__db.*";
		return { words => ['recover'], changes => [] };
	},
	damaged => sub ($m, $n) {
		$m->damage;
		return { words => ['recover'], changes => [] };
	},
);

# Kills one command at call n, sees what the next program says, recovers if that is what it says, and compares.
sub kill_at($m, $case, $n, $bad, $seen, $longest) {
	my $todo = $cases{$case}->($m, $n);
	my $open = { changes => $todo->{changes} };
	my ($status, $said) = $m->run("$build/tests/crash/killat", $n, $m->command($m->{base}, @{$todo->{words}}));
	my $acked = @{$open->{changes}} && ($status == 0 || $said =~ /^ok 3$/m);
	push @$bad, "call $n: exit $status: $said" if $status != 137 && $status != 0;

	my ($next, $words, $took) = $m->dbupdate('set', 'next', $n);
	$longest->{next} = $took if $took > $longest->{next};
	push @$bad, "call $n: next program: exit $next: $words" if $next != 0 && $next != 75;
	push @$bad, "call $n: 75 without advice: $words" if $next == 75 && $words !~ /recover|check/;
	push @$bad, "call $n: a map out of environments gave $next: $words" if $next && !$m->{config};
	if ($next) {
		my ($healed, $how, $time) = $m->dbupdate('--force', 'recover');
		$longest->{heal} = $time if $time > $longest->{heal};
		push @$bad, "call $n: recover: exit $healed: $how" if $healed;
		$seen->{recovered}++;
	}
	my ($there, $why) = $m->dump;
	return push @$bad, "call $n: dump: $why" if !$there;
	delete $there->{next};
	delete $m->{content}{next};
	my $changed = ($there->{new} // '') eq $n;
	LiveMap::_apply($m->{content}, $open->{changes}) if $acked;
	my $defect = $m->compare($there, $acked ? () : $open);
	push @$bad, "call $n: $defect" if $defect;
	$seen->{!@{$open->{changes}} ? 'looked after' : $acked ? 'acknowledged' : $changed ? 'changed' : 'untouched'}++;
	$m->{content}{next} = $n if !$next;
	return;
}

sub at_every_call($way, $case) {
	my $m = LiveMap->new("$dir/calls-$way-$case", $way, 200);
	$m->dbupdate('set', 'warm', 'up');
	$m->{content}{warm} = 'up';
	my $todo = $cases{$case}->($m, 0);
	my ($status, $said) = $m->run("$build/tests/crash/killat", 0, $m->command($m->{base}, @{$todo->{words}}));
	my ($calls) = $said =~ /killat: (\d+) calls/;
	return fail("$way $case: processes cannot be followed: $said") if !defined $calls;
	LiveMap::_apply($m->{content}, $todo->{changes});

	my $step = $soak ? 1 : int($calls / (!long() ? 4 : $m->{config} ? 10 : 6)) + 1;
	my (@bad, %seen);
	my %longest = (next => 0, heal => 0);
	my ($first, $last) = ($ENV{ZLMTP_CALLS} // '') =~ /^(\d+)-(\d+)$/;
	$first //= $soak ? 1 : 1 + int rand $step;
	$last = $calls if !defined $last || $last > $calls;
	for (my $n = $first; $n <= $last && @bad < 6; $n += $step) {
		kill_at($m, $case, $n, \@bad, \%seen, \%longest);
	}
	is_deeply \@bad, [], "$way: $case killed at $calls calls: all or nothing, and what was acknowledged is there";
	cmp_ok $longest{next}, '<', 60, "$way: the next program ends in time";
	cmp_ok $longest{heal}, '<', 60, "$way: recovery ends in time";
	is_deeply [grep { !/^(?:map|map\..*|env|sleepyenv\.conf|changes)$/ } entries($m->{dir})], [], "$way: nothing lies about";
	note "$way $case: calls $first to $last of $calls; ", join(', ', map { "$_ $seen{$_}" } sort keys %seen),
		sprintf '; next program at most %.2f s, recovery %.2f s', @longest{qw(next heal)};
	# whoever was killed at once has healed nothing
	$m->dbupdate('--force', 'recover') if $case eq 'damaged';
	my ($health, $words) = $m->dbupdate('check');
	is $health, 0, "$way: healthy in the end" or diag $words;
}

sub entries($path) {
	opendir my $d, $path or return;
	return sort grep { !/^\.\.?$/ } readdir $d;
}

# ---- at random moments ----

# What a feeder sends as batch number n: a pair, a new key, and the key of twenty batches ago goes.
sub batch($m, $n) {
	my $pair = 1 + $n % $m->{pairs};
	return (["pair$pair-a", $n], ["pair$pair-b", $n], ["new$n", "value $n"], ["new" . ($n - 20), undef]);
}

sub feed_for($m, $apply, $seconds, $n) {
	my $end = time + $seconds;
	while (time < $end) {
		$$n++;
		return 0 if !$m->feed($apply, batch($m, $$n));
		return 0 if !$m->take_acks($apply, @{$apply->{open}} > 2 ? 0.5 : 0);
	}
	return 1;
}

sub at_random($way, $kills) {
	my $m = LiveMap->new("$dir/$way", $way);
	my (@bad, %seen, @readers);
	my %longest = (next => 0, heal => 0, stall => 0, lookup => 0);
	my ($n, $lookups, $acked) = (0, 0, 0);
	local $SIG{PIPE} = 'IGNORE';

	$m->dbupdate('check');
	$m->dbupdate('set', 'first', 1);
	$m->{content}{first} = 1;
	for my $round (1 .. $kills) {
		while (@readers < 2) {
			my $r = $m->start_reader($soak ? 0 : 20);
			$started{$r->{pid}} = 1;
			push @readers, $r;
			push @bad, "round $round: a new reader hangs" if !$m->lives($r, 5);
		}
		my $apply = $m->start_apply;
		$started{$apply->{pid}} = 1;
		feed_for($m, $apply, 0.05 + rand 0.15, \$n);
		my @worker = $m->children($apply->{pid});

		# somebody dies
		my $victim = (qw(program worker both reader))[int rand 4];
		my @pids = $victim eq 'reader' ? $readers[0]{pid} : ($victim ne 'worker' ? $apply->{pid} : (),
			$victim ne 'program' ? @worker : ());
		kill KILL => @pids;
		$seen{$victim}++;
		if ($victim eq 'reader') {
			$m->reap($readers[0]{pid}, 1);
			delete $started{(shift @readers)->{pid}};
			feed_for($m, $apply, 0.05, \$n);
		}
		close $apply->{in};
		$m->take_acks($apply, 5);
		my $status = $m->reap($apply->{pid}, 8);
		delete $started{$apply->{pid}};
		push @bad, "round $round ($victim): apply does not end" and kill KILL => $apply->{pid} if !defined $status;
		push @bad, "round $round ($victim): apply ended with $status" if defined $status && $status !~ /^(?:0|75|137)$/;
		push @bad, "round $round ($victim): apply ended with $status" if $victim eq 'reader' && $status && !$m->{config};
		$acked = $n - @{$apply->{open}};

		# the next one
		my ($next, $words, $took) = $m->dbupdate('set', 'next', $round);
		$longest{next} = $took if $took > $longest{next};
		push @bad, "round $round ($victim): the next program: exit $next: $words" if $next != 0 && ($next != 75 || !$m->{config});
		push @bad, "round $round ($victim): 75 without advice: $words" if $next == 75 && $words !~ /recover|check/;

		# who reads
		my @hanging = grep { !$m->lives($_, $m->{config} ? 0.3 : 2) } @readers;
		push @bad, "round $round ($victim): a reader hangs" if @hanging && !$m->{config};
		$seen{'readers hung'}++ if @hanging;
		if ($next || @hanging) {
			# a lookup waits for longer, so it is looked at a few times only
			if (($seen{'lookups beside the dead'} // 0) < ($soak ? 5 : 1)) {
				my ($found, $answer, $time) = $m->run("$build/db/dblookup", '-t', $m->{type}, '-C', $m->{sleepyenv}, $m->{base}, 'first');
				push @bad, "round $round ($victim): dblookup: exit $found: $answer" if $found ? $found != 75 || $answer !~ /dbupdate/ : $answer ne "1\n";
				$longest{lookup} = $time if $time > $longest{lookup};
				$seen{'lookups beside the dead'}++;
			}
			my ($healed, $how, $time) = $m->dbupdate('--force', 'recover');
			$longest{heal} = $time if $time > $longest{heal};
			push @bad, "round $round ($victim): recover: exit $healed: $how" if $healed;
			$seen{recovered}++;
			$seen{'recreated'}++ if $how =~ /recreated/;
			if ($how =~ /stopping/) {
				waitpid $_->{pid}, 0 for @readers;
				delete @started{map { $_->{pid} } @readers};
				@readers = ();
			} elsif (@hanging) {
				push @bad, "round $round ($victim): recovery sees nothing though readers hang: $how";
				kill KILL => map { $_->{pid} } @readers;
				waitpid $_->{pid}, 0 for @readers;
				@readers = ();
			}
		} else {
			$seen{'went on'}++;
		}

		# what is there
		my ($there, $why) = $m->dump;
		if (!$there) {
			push @bad, "round $round ($victim): dump: $why";
			last;
		}
		delete $there->{next};
		delete $m->{content}{next};
		my $defect = $m->compare($there, @{$apply->{open}});
		push @bad, "round $round ($victim): $defect" if $defect;
		last if @bad > 5;
	}
	for my $r (@readers) {
		my %saw = $m->end_reader($r);
		delete $started{$r->{pid}};
		push @bad, 'a reader does not end' and next if !%saw;
		$lookups += $saw{lookups};
		$longest{stall} = $saw{longest} / 1000 if $saw{longest} / 1000 > $longest{stall};
		push @bad, "readers saw half of a batch $saw{half} times" if $saw{half} && !$m->{config};
		push @bad, "readers missed keys $saw{absent} times" if $saw{absent};
		push @bad, "readers could not tell $saw{untold} times" if $saw{untold};
	}
	is_deeply \@bad, [], "$way: $kills kills: nothing lost, nothing by halves, nothing hangs";
	cmp_ok $longest{next}, '<', 60, "$way: the next program ends in time";
	cmp_ok $longest{heal}, '<', 60, "$way: recovery ends in time";
	cmp_ok $longest{lookup}, '<', 60, "$way: a lookup ends in time" if $m->{config};
	cmp_ok $longest{stall}, '<', 1, "$way: no reader waits for a second" if !$m->{config};
	my ($health, $words) = $m->dbupdate('check');
	is $health, 0, "$way: healthy in the end" or diag $words;
	note "$way: $kills kills, $n batches, $lookups lookups; ", join(', ', map { "$_ $seen{$_}" } sort keys %seen),
		sprintf '; next program at most %.2f s, recovery %.2f s, lookup %.3f s', @longest{qw(next heal stall)};
}

my $parts = $ENV{ZLMTP_PARTS} // 'calls random';
# without ZLMTP_LONG=1 each case has a way, and each way some cases
my %some = (generations => [qw(set replace)], lmdb => [qw(apply recover)], environment => [qw(apply check damaged)]);
my @cases = split ' ', $ENV{ZLMTP_CASES} // 'set apply replace check recover unused damaged';
for my $way (@ways) {
	SKIP: {
		skip 'built without LMDB', 1 if $way eq 'lmdb' && !$have_lmdb;
		for my $case (long() || $ENV{ZLMTP_CASES} ? @cases : $some{$way}->@*) {
			next if $parts !~ /calls/ || ($case =~ /unused|damaged/ && $way ne 'environment');
			at_every_call($way, $case);
		}
		at_random($way, $soak || (long() ? 20 : 4)) if $parts =~ /random/;
	}
}
done_testing;
