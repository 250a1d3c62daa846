#!/usr/bin/perl
# enqueue is killed at every system call: afterwards a scheduler finds a complete message or nothing.
# And what it says is in the queue was synced before, in the order that a power cut cannot hurt.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Find ();
use File::Path ();
use File::Temp ();
use Test::More;
use Extent 'some_of';
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $enqueue = "$build/channel/enqueue";
my $killat = "$build/tests/crash/killat";
my $dir = File::Temp->newdir('/tmp/zlmtp-crash-XXXXXX');
my $body = join '', map { "line $_ of a body that takes several writes\n" } 1 .. 4000;
my $recipients = 3;
my @arguments = map { ('-r', "lmtp,-,user$_") } 1 .. $recipients;

delete $ENV{ZCONFIG};
# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';
Spool->put("$dir/in", "From: ann\nMessage-ID: <1\@a>\n\n$body");

sub submit($n, $office) {
	system 'sh', '-c', 'exec "$@" <"$0/in" >"$0/out" 2>"$0/err"', $dir, $killat, $n, $enqueue, '-HH', '-P', $office, @arguments;
	return ($? >> 8, Spool::slurp("$dir/out"), Spool::slurp("$dir/err"));
}

# Job names as a scheduler finds them: digits first, in directories of one letter.
sub visible($office) {
	my @found;
	File::Find::find({ no_chdir => 1, wanted => sub {
		my $name = s/^\Q$office\E\/transport\/?//r;
		$File::Find::prune = 1 if -d && $name !~ /^(?:[A-Z](?:\/[A-Z])?)?$/;
		push @found, $name if -f && $name =~ /^(?:[A-Z]\/){0,2}\d[^\/]*$/;
	} }, "$office/transport");
	return @found;
}

# What is wrong with a visible message; nothing if it is complete.
sub defect($office, $name) {
	my $c = Spool::parse($name, Spool::slurp("$office/transport/$name"));
	return 'no message file' unless -f "$office/queue/$name";
	return 'another number of recipients' unless @{$c->{recipients}} == $recipients;
	return 'a recipient without header' if grep { !defined $_->{header} } @{$c->{recipients}};
	return 'an incomplete header' unless $c->{recipients}[0]{header} =~ /^Date:/m;
	return 'another body' unless substr(Spool::slurp("$office/queue/$name"), $c->{offset}) eq $body;
	return undef;
}

my ($status, $out, $err) = submit(0, Spool->new("$dir/po0")->dir);
my ($calls) = $err =~ /killat: (\d+) calls/;
if (!defined $calls && $status == 71) {
	plan skip_all => "processes cannot be followed here: $err";
}
is $status, 0, 'left alone it ends well';

my (@bad, %seen);
for my $n (some_of(60, 1 .. $calls)) {
	my $office = Spool->new("$dir/po")->dir;
	($status, $out, $err) = submit($n, $office);
	# its threads make a call more or less: what ended before its last one is whole
	push @bad, "call $n: exit $status" unless $status == 137 || ($status == 0 && $out ne '' && $n > 0.9 * $calls);
	my @found = visible($office);
	push @bad, "call $n: " . @found . ' messages' if @found > 1;
	push @bad, "call $n: printed but not there" if $out ne '' && !@found;
	$seen{@found ? ($out ne '' ? 'printed' : 'complete') : 'nothing'}++;
	for my $name (@found) {
		my $defect = defect($office, $name);
		push @bad, "call $n: $name has $defect" if defined $defect;
	}
	File::Path::remove_tree($office);
}
is_deeply \@bad, [], "$calls calls: a complete message or nothing";
note join ', ', map { "$_: $seen{$_}" } sort keys %seen;
ok $seen{nothing} && $seen{complete}, 'both were seen';

# ---- order of what must survive a power cut ----

SKIP: {
	my $strace = (grep { -x "$_/strace" } split /:/, $ENV{PATH})[0];
	skip 'strace is not installed', 1 unless $strace;
	my $office = Spool->new("$dir/po1")->dir;
	system 'sh', '-c', 'exec "$@" <"$0/in" >/dev/null 2>"$0/err"', $dir, 'strace', '-f', '-y', '-o', "$dir/trace",
		'-e', 'trace=write,fsync,link,linkat,rename,renameat,renameat2,mkdir', $enqueue, '-HH', '-P', $office, @arguments;
	skip 'strace cannot follow processes here', 1 if $?;
	my @steps;
	for (split /\n/, Spool::slurp("$dir/trace")) {
		push @steps, "$1 $2" if /^\d+ +(\w+)\((.*)/ && $2 !~ /^2</;
	}
	my @expect = (
		[qr/^write .*public\/\.enqueue/, 'message written'],
		[qr/^mkdir .*transport\/[A-Z]\/[A-Z]"/, 'directory made'],
		[qr/^fsync .*transport\/[A-Z]>/, 'directory kept'],
		[qr/^write .*transport\/[A-Z]\/[A-Z]\/\./, 'control file written'],
		[qr/^renameat2 .*public\/\.enqueue.*queue\/[A-Z]\/[A-Z]\/\d/, 'message in its place'],
		# together, so that a journal has all three in one commit
		[qr/^fsync .*queue\/[A-Z]\/[A-Z]\/\d/, 'message synced', 'any'],
		[qr/^fsync .*transport\/[A-Z]\/[A-Z]\/\./, 'control file synced', 'any'],
		[qr/^fsync .*queue\/[A-Z]\/[A-Z]>/, 'name of the message synced', 'any'],
		[qr/^renameat2 .*transport\/[A-Z]\/[A-Z]\/\..*transport\/[A-Z]\/[A-Z]\/\d/, 'control file in its place'],
		[qr/^fsync .*transport\/[A-Z]\/[A-Z]>/, 'its name synced'],
		[qr/^write 1</, 'spool name printed'],
	);
	my ($at, $behind) = (0, 0);
	for my $step (@expect) {
		my ($found) = grep { $steps[$_] =~ $step->[0] } $at .. $#steps;
		ok defined $found, "in order: $step->[1]" or diag join "\n", @steps;
		$behind = ($found // -1) + 1 if ($found // -1) >= $behind;
		$at = $behind if !$step->[2];
	}
}

done_testing;
