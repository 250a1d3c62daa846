#!/usr/bin/perl
# Many probes share one cache and are killed at random moments: no answer is ever wrong, none is lost to whoever was not
# killed, and the cache stays sound.
#
# With ZLMTP_SOAK=1: for a minute instead of three seconds (another number: so many seconds).

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use POSIX ();
use Test::More;
use Extent 'long';
use Time::HiRes qw(sleep time);
use LmtpServer;
use Loop;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
my $seconds = $ENV{ZLMTP_SOAK} ? ($ENV{ZLMTP_SOAK} > 1 ? $ENV{ZLMTP_SOAK} : 60) : long() ? 3 : 2;
my $dir = File::Temp->newdir('/tmp/zlp-XXXXXX');
my $seed = $ENV{ZLMTP_SEED} // int time;
srand $seed;
# a killed parent leaves leaks
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';

my %codes = (yes => '250 2.1.5 Ok', no => '550 5.1.1 No such user', tmp => '451 4.3.0 Later');
my %wanted = (yes => 'yes', no => 'no', tmp => 'could not tell');
my @addresses = map { my $n = $_; map { "$_$n" } sort keys %codes } 1 .. 30;
my $test = $$;
my (%running, %count, @wrong);
my $server = start_server();
END {
	my $status = $?;
	if ($$ == $test) {
		kill 'KILL', map { -$_ } keys %running;
		kill 'KILL', $server if $server;
		waitpid $server, 0 if $server;
	}
	$? = $status;
}

# A server that knows by the name of a user what to say of it.
sub start_server() {
	my $pid = fork // die "fork: $!\n";
	return wait_for_socket($pid) if $pid;
	my $loop = Loop->new;
	my $server = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s", rules => [sub ($stage, $key, $connection) {
		return undef unless $stage eq 'RCPT' && $key =~ /^(yes|no|tmp)/;
		return [{ do => 'line', text => $codes{$1} }];
	}]);
	$loop->run(1000, sub { getppid() == 1 });
	POSIX::_exit(0);
}

sub wait_for_socket($pid) {
	for (1 .. 500) {
		return $pid if -S "$dir/s";
		sleep 0.01;
	}
	BAIL_OUT('the scripted server does not start');
}

# A probe with a process group of its own; what it says goes into a file.
sub start_probe(@asked) {
	my $name = "$dir/said-" . ++$count{started};
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		setpgrp;
		open STDOUT, '>', $name or POSIX::_exit(126);
		open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
		exec $program, '-F', "UNIX:$dir/s", '-O', "probe-cache=$dir/cache", '-B', @asked or POSIX::_exit(127);
	}
	$running{$pid} = { name => $name, asked => \@asked, dies_at => rand() < 0.5 ? time + rand 0.06 : undef };
	return $pid;
}

sub slurp($path) {
	open my $fh, '<', $path or return '';
	local $/;
	return <$fh> // '';
}

# Compares what a probe that was not killed has said; with $away there is no server, and not to know is right.
sub check($probe, $away) {
	my $said = slurp($probe->{name});
	my @lines = split /\n/, $said;
	my @answers = grep { /\t/ } @lines;
	push @wrong, "complaint: $_" for grep { !/\t/ && !/cache not used: .*locked/ } @lines;
	push @wrong, "asked @{$probe->{asked}}, got: $said" if @answers != @{$probe->{asked}};
	for my $i (0 .. $#answers) {
		my ($address, $answer, $words) = split /\t/, $answers[$i];
		my $wanted = $wanted{$address =~ s/\d+//r} // '?';
		$count{from_cache}++ if $words =~ /s ago\)$/;
		push @wrong, $answers[$i] if $address ne $probe->{asked}[$i] ||
			($answer ne $wanted && !($away && $answer eq 'could not tell'));
	}
}

sub reap_one($pid, $away) {
	return 0 if waitpid($pid, POSIX::WNOHANG()) != $pid;
	my $status = $?;
	my $probe = delete $running{$pid};
	if ($status & 127) {
		$count{killed}++;
	} else {
		$count{ended}++;
		check($probe, $away);
	}
	unlink $probe->{name};
	return 1;
}

sub some_addresses() { my %chosen = map { $addresses[rand @addresses] => 1 } 1 .. 1 + int rand 4; return sort keys %chosen }

my $end = time + $seconds;
my $patience = $end + 60;
# for a while, and on a slow machine until each kind was seen
sub goes_on() { return time < $end || grep { ($count{$_->[0]} // 0) <= $_->[1] } ['killed', 5], ['ended', 20], ['from_cache', 0] }
while ((goes_on() || %running) && time < $patience) {
	start_probe(some_addresses()) while keys %running < 5 && goes_on();
	for my $pid (keys %running) {
		kill 'KILL', -$pid if defined $running{$pid}{dies_at} && time >= $running{$pid}{dies_at};
		reap_one($pid, 0);
	}
	sleep 0.002;
}
is(scalar keys %running, 0, 'every probe came to its end');
cmp_ok($count{killed} // 0, '>', 5, 'some were killed');
cmp_ok($count{ended} // 0, '>', 5, 'others were not');
cmp_ok($count{from_cache} // 0, '>', 0, 'some were answered from the cache');
is(join("\n", @wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)]), '', 'every answer was right') or diag "seed $seed";

my $type = slurp("$build/config.h") =~ /HAVE_LMDB 1/ ? 'lmdb' : 'btree';
my $health = qx{'$build/db/dbupdate' -t $type '$dir/cache' check 2>&1};
ok($? >> 8 < 2, 'the cache is sound') or diag $health;

kill 'KILL', $server;
waitpid $server, 0;
undef $server;
(@wrong, $count{from_cache}) = ();
my $pid = start_probe(@addresses);
delete $running{$pid}{dies_at};
waitpid $pid, 0;
check(delete $running{$pid}, 1);
is(join("\n", @wrong), '', 'without the server no answer is wrong');
cmp_ok($count{from_cache} // 0, '>', 10, 'and many are there');
diag "seed $seed: $count{started} probes, $count{killed} killed" if $ENV{ZLMTP_SOAK};
done_testing;
