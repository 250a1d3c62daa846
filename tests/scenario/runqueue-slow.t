#!/usr/bin/perl
# runqueue with a spool that takes long to read: mail goes out meanwhile, and a signal to stop is obeyed at once.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use RunQueue;
use Spool;

# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';

# each file takes so long to open
my $delay = 0.1;
my @slow = ('strace', '-D', '-o', '/dev/null', '-e', 'trace=openat', '-e', 'inject=openat:delay_enter=' . $delay * 1e6);

plan skip_all => 'strace is not installed' if !grep { -x "$_/strace" } split /:/, $ENV{PATH};
plan skip_all => 'strace cannot follow processes here' if system("@slow true 2>/dev/null") != 0;

subtest 'one pass' => sub {
	my $q = RunQueue->new(before => \@slow);
	my @names = map { $q->message(["user$_"]) } 1 .. 24;
	my ($status, undef, $err) = $q->run('-1');
	is "$status $err", '0 ', 'exit 0 without complaints';
	my @jobs = $q->log('job');
	is_deeply [sort { $a <=> $b } $q->jobs], \@names, 'every message went out, once';
	cmp_ok $jobs[-1]{time} - $jobs[0]{time}, '>', 6 * $delay, 'the first ones while others were not read';
	is_deeply [$q->names], [], 'and nothing is left';
};

subtest 'told to stop' => sub {
	my $q = RunQueue->new;
	$q->{before} = [map { $_ eq '/dev/null' ? $q->dir . '/trace' : $_ } @slow];
	$q->message(["user$_"]) for 1 .. 100;
	$q->start('-w');
	ok RunQueue::wait_for(sub { $q->log('job') }), 'mail goes out';
	my ($status, undef, $err) = $q->stop;
	my %read = map { $_ => 1 } Spool::slurp($q->dir . '/trace') =~ /^openat\(AT_FDCWD, "(1\d\d)"/mg;
	cmp_ok scalar(keys %read), '<', 70, 'it does not read all the rest first';
	cmp_ok scalar(keys %read), '>', 0, '... as the trace shows';
	is "$status $err", '0 ', 'exit 0 without complaints';
	cmp_ok scalar(grep { defined $q->control($_) } 100 .. 199), '>', 30, 'most is as it was';
	$q->{before} = [];
	$q->run('-1');
	is_deeply [$q->names], [], 'for the next one';
};

subtest 'mail that comes meanwhile' => sub {
	my $q = RunQueue->new(before => \@slow);
	$q->message(["user$_"]) for 1 .. 24;
	$q->start('-w');
	ok RunQueue::wait_for(sub { $q->log('job') }), 'mail goes out';
	my $late = $q->arrive(['late']);
	ok RunQueue::wait_for(sub { !$q->names }), 'all of it, in the end';
	is scalar(grep { $_ eq $late } $q->jobs), 1, 'what came while the spool was read, too, once';
	my ($status, undef, $err) = $q->stop;
	is "$status $err", '0 ', 'exit 0 without complaints';
};

done_testing;
