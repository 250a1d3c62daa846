#!/usr/bin/perl
# runqueue is killed at every system call while it reports and removes what is settled: afterwards each message is there, or
# is gone with its report written.  The next pass finishes the work.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path ();
use File::Temp ();
use Test::More;
use Extent 'some_of';
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $killat = "$build/tests/crash/killat";
my $dir = File::Temp->newdir('/tmp/zlmtp-crash-XXXXXX');

delete $ENV{ZCONFIG};
# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';
Spool->put("$dir/scheduler.conf", "lmtp/*\n\tqueueonly command=/nowhere\n");

# 100 is delivered, 101 has failed, 102 both, 103 waits.
sub office {
	File::Path::remove_tree("$dir/po");
	my $spool = Spool->new("$dir/po");
	my %tags = (100 => '+', 101 => '-', 102 => '+-', 103 => ' +');
	for my $name (sort keys %tags) {
		my $n = 0;
		my @to = map { { channel => 'lmtp', host => '-', user => 'user' . $n++, tag => $_ } } split //, $tags{$name};
		$spool->add(name => $name, body => "text\n", groups => [{
			sender => ['local', 'ann', 'ann'], recipients => \@to, header => "Subject: message $name\n" }]);
	}
	return "$dir/po";
}

sub run($n) {
	system 'sh', '-c', 'exec "$@" </dev/null 2>"$0/err"', $dir, $killat, $n, "$build/channel/runqueue", '-1', '-P', "$dir/po", '-f',
		"$dir/scheduler.conf";
	return ($? >> 8, Spool::slurp("$dir/err"));
}

sub is_there($name) { return -e "$dir/po/transport/$name" && -e "$dir/po/queue/$name" }

# Complete report files by the name of their message; a list with "?" if one is damaged or one too many.
sub reports {
	my @names;
	for (glob "$dir/po/postman/S*") {
		push @names, Spool::slurp($_) =~ /^Spool name: +(\d+)\n.*^    Subject: message \1\n\z/ms ? $1 : '?';
	}
	return join ' ', sort @names;
}

sub defect($n, $status) {
	return "exit $status" unless $status == 137;
	return 'who waits is gone' unless is_there(103);
	my $told = reports();
	return "reports: $told" unless $told =~ /^(?:101)? ?(?:102)?$/;
	for my $name (101, 102) {
		return "$name is gone without a report" unless is_there($name) || $told =~ /$name/;
	}
	for my $name (100 .. 102) {
		return "$name has lost its message file first" if -e "$dir/po/transport/$name" && !-e "$dir/po/queue/$name";
	}
	return undef;
}

office();
my ($status, $err) = run(0);
my ($calls) = $err =~ /killat: (\d+) calls/;
plan skip_all => "processes cannot be followed here: $err" if !defined $calls && $status == 71;
is $status, 0, 'left alone it ends well';
is reports(), '101 102', 'with two reports';

my @bad;
my $complete = 0;
for my $n (some_of(40, 1 .. $calls), $calls + 1 .. $calls + 50) {
	office();
	($status, $err) = run($n);
	# two threads take turns as they like, so that there may be some calls more or less
	last if $status == 0;
	my $defect = defect($n, $status);
	$complete++ if !is_there(101);
	push @bad, "call $n: $defect" if $defect;
	($status, $err) = run(0);
	$err =~ s/^(?:killat: |runqueue: no reports go to senders ).*\n//mg;
	push @bad, "call $n: then exit $status $err" if $status != 0 || $err ne '';
	push @bad, "call $n: then " . reports() if reports() ne '101 102';
	push @bad, "call $n: then something stays" if grep { -e "$dir/po/transport/$_" } 100 .. 102;
	push @bad, "call $n: then who waits is gone" unless is_there(103);
}
is_deeply \@bad, [], "$calls calls: nothing is lost, nothing is reported twice";
cmp_ok $complete, '>', 0, 'removal was seen';

done_testing;
