#!/usr/bin/perl
# zlmtp-queue is killed at every system call of hold, release, fail, remove and reroute: the message is in its old or in its
# new state, and the same again finishes it.

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
Spool->put("$dir/routes", "one\@example.test lmtp!new!one\ntwo\@example.test lmtp!new!two\n");
Spool->put("$dir/dbases.conf", "fqdnroutes btree - -l routes -lm%:\n");
system("cd $dir && $build/db/newdb -sf dbases.conf >newdb.out 2>&1") == 0 or diag Spool::slurp("$dir/newdb.out");

# One message with two recipients that wait and one that is delivered; on hold if asked for.
sub office($held) {
	File::Path::remove_tree("$dir/po");
	my $spool = Spool->new("$dir/po");
	my @to = map { { channel => 'lmtp', host => 'old', user => $_, dsn => "ORCPT=rfc822;$_\@example.test" } } qw(one two);
	push @to, { channel => 'lmtp', host => 'old', user => 'three', tag => '+' };
	$spool->add(name => 100, body => "text\n", groups => [{ sender => ['local', 'ann', 'ann'], recipients => \@to, header => "Subject: x\n" }]);
	mkdir "$dir/po/hold" if $held;
	rename "$dir/po/transport/100", "$dir/po/hold/100" if $held;
}

sub run($n, @arguments) {
	system 'sh', '-c', 'exec "$@" </dev/null >"$0/out" 2>"$0/err"', $dir, $killat, $n, "$build/channel/zlmtp-queue", '-P', "$dir/po",
		@arguments;
	return ($? >> 8, Spool::slurp("$dir/err"));
}

# "PLACE: host/user tag, ..." of the control file; "damaged" if it is not whole.
sub found {
	my @places = grep { -e "$dir/po/$_/100" } qw(transport hold);
	return 'gone' . (-e "$dir/po/queue/100" ? ', message file left' : '') unless @places;
	return "two: @places" if @places > 1;
	return 'no message file' unless -e "$dir/po/queue/100";
	my $c = Spool::parse('100', Spool::slurp("$dir/po/$places[0]/100"));
	return 'damaged' unless @{$c->{recipients}} == 3 && $c->{recipients}[2]{header} eq "Subject: x\n";
	return "$places[0]: " . join ', ', map { "$_->{host}/$_->{user}$_->{tag}" } @{$c->{recipients}};
}

my $old = 'old/one , old/two , old/three+';
my %verbs = (
	hold => [0, ['hold', '100'], "transport: $old", "hold: $old"],
	release => [1, ['release', '100'], "hold: $old", "transport: $old"],
	fail => [0, ['fail', '100'], "transport: $old", 'transport: old/one-, old/two , old/three+', 'transport: old/one-, old/two-, old/three+'],
	remove => [0, ['remove', '100'], "transport: $old", 'gone, message file left', 'gone'],
	'fail of one on hold' => [1, ['fail', '100'], "hold: $old", 'hold: old/one-, old/two , old/three+', 'hold: old/one-, old/two-, old/three+',
		'transport: old/one-, old/two-, old/three+'],
	'remove of one on hold' => [1, ['remove', '100'], "hold: $old", 'gone, message file left', 'gone'],
	'reroute of one on hold' => [1, ['-f', "$dir/dbases.conf", '-o', 'protocols=routes', 'reroute', '100'], "hold: $old",
		'hold: new/one , new/two , old/three+'],
	reroute => [0, ['-f', "$dir/dbases.conf", '-o', 'protocols=routes', 'reroute', '100'], "transport: $old",
		'transport: new/one , new/two , old/three+'],
);
for my $verb (sort keys %verbs) {
	my ($held, $command, @may) = @{$verbs{$verb}};
	office($held);
	my ($status, $err) = run(0, @$command);
	my ($calls) = $err =~ /killat: (\d+) calls/;
	plan skip_all => "processes cannot be followed here: $err" if !defined $calls && $status == 71;
	is "$status " . found(), "0 $may[-1]", "$verb, left alone" or diag $err;
	$calls //= 0;
	my (@bad, $complete, %seen);
	for my $n (some_of(12, 1 .. $calls), $calls + 1 .. $calls + 50) {
		office($held);
		($status) = run($n, @$command);
		if ($status == 0) { $complete = 1; last }
		my $state = found();
		$seen{$state}++;
		push @bad, "call $n, exit $status: $state" unless $status == 137 && grep { $_ eq $state } @may;
		next if $state =~ /^gone/ || $state eq $may[-1];
		run(0, @$command);
		push @bad, "call $n, again: " . found() unless found() eq $may[-1];
	}
	ok $complete, "$verb: killed up to its last call";
	is join("\n", @bad), '', "$verb: the old or the new state";
	cmp_ok scalar(keys %seen), '>=', 2, "$verb: both were seen";
}
done_testing;
