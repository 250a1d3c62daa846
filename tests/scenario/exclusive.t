#!/usr/bin/perl
# With several connections, no recipient ever has two messages under way on two of them, however the jobs
# mix their recipients; and all connections are used.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Test::More;
use LmtpServer;
use Loop;
use Scheduler;
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $jobs = 300;

for my $caps ([], ['PIPELINING', 'ENHANCEDSTATUSCODES'], ['PIPELINING', 'ENHANCEDSTATUSCODES', 'CHUNKING']) {
	my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
	my $loop = Loop->new;
	my $spool = Spool->new("$dir/post");
	my (%busy, @twice, %used, $delivered);
	my $watch = sub ($stage, $key, $connection) {
		my $number = $connection->{number};
		$used{$number} = 1;
		if ($stage eq 'RCPT') {
			my $user = lc $key;
			push @twice, "$user on $busy{$user}[0] and $number" if $busy{$user} && $busy{$user}[0] != $number;
			$busy{$user}[0] = $number;
			$busy{$user}[1]++;
		}
		return undef if $stage ne 'final' || $key eq '';
		$delivered++;
		delete $busy{lc $key} if --$busy{lc $key}[1] == 0;
		# a store that takes its time lets the others catch up
		return [{ do => 'pause', seconds => 0.002 }, { do => 'line', text => "250 2.0.0 <$key> saved" }];
	};
	my $server = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s", caps => $caps, rules => [$watch],
		script => sub ($n) { [{ do => 'serve' }] });
	my $scheduler = Scheduler->new(loop => $loop, spool => $spool, channel => 'lmtp', program => "$build/channel/lmtp",
		arguments => ['-c', 'lmtp', '-h', 'client.example', '-F', "UNIX:$dir/s", '-O', 'connections=4']);
	srand 42;
	my $wanted = 0;
	for my $id (1001 .. 1000 + $jobs) {
		# the case of an address makes no other mailbox
		my %users = map { (rand() < 0.5 ? "User$_" : "user$_") => 1 } map { 1 + int rand 12 } 1 .. 1 + int rand 3;
		my %once = map { lc $_ => $_ } keys %users;
		$wanted += keys %once;
		$spool->add(name => $id, body => "text\n", groups => [{
			sender => ['smtp', 'mx', 'a@test'], header => "Subject: $id\n",
			recipients => [map { { channel => 'lmtp', host => 'store', user => $_ } } sort values %once],
		}]);
		$scheduler->job($id, 'store');
	}
	my $label = @$caps ? "@$caps" : 'lock-step';
	ok($loop->run(60, sub { $scheduler->satisfied }), "all jobs answered, $label");
	is($delivered, $wanted, "every recipient got every message once, $label");
	is("@twice", '', "nobody had two at a time, $label");
	is(scalar keys %used, 4, "four connections, $label");
	$scheduler->finish;
	$scheduler->check_files;
	$server->close;
	is_deeply([@{$scheduler->{problems}}, @{$server->{problems}}], [], "nothing to complain about, $label");
}
done_testing;
