#!/usr/bin/perl
# Refusals that are settled together are written down by one write and one sync, each before its mark and its report.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp ();
use Time::HiRes qw(time);
use Loop;
use Spool;
use LmtpServer;
use Scheduler;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';    # not below strace

refusals(1, 3000, 'failed', 60);
# as a disk that takes its time, while the next ones come, however busy the processors are; with a sync for each it would be more than 200
refusals(200, 1, 'failed', 150, 'inject=syncfs,fdatasync:delay_enter=200000');
SKIP: {
	skip 'no strace here', 1 unless -x '/usr/bin/strace';
	# what syncfs(2) says is no file's: each is asked
	refusals(40, 1, 'failed', 60, 'inject=syncfs:error=EIO');
	refusals(40, 1, 'deferred', undef, 'inject=syncfs,fdatasync:error=EIO');
	reply_in_the_socket_counts();
}
done_testing;

# So many messages with so many recipients each, all refused.  What the agent does is seen by strace; without it only that all fail.
sub refusals($messages, $each, $outcome, $most_syncs, @inject) {
	my $count = $messages * $each;
	my $what = "$messages x $each" . (@inject ? ", $inject[0]" : '');
	my $loop = Loop->new;
	my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
	my $spool = Spool->new("$dir/post");
	my $server = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s", lenient => 1,
		caps => [qw(PIPELINING ENHANCEDSTATUSCODES)], rules => [sub ($stage, $key, $c) {
			$stage eq 'RCPT' ? [{ do => 'line', text => '550 5.1.1 unknown' }] : undef;
		}]);
	$spool->add(name => 100 + $_, body => "x\n", groups => [{ sender => ['smtp', 'mx', 'ann@test'], header => "Subject: x\n",
		recipients => [map { { channel => 'lmtp', host => 'store', user => "r$_\@test" } } 1 .. $each] }]) for 1 .. $messages;
	my @trace = -x '/usr/bin/strace' ? ('/usr/bin/strace', '-f', '-o', "$dir/trace", '-e', 'trace=fdatasync,syncfs,pwrite64,write',
		map { ('-e', $_) } @inject) : ();
	my ($first, @more) = (@trace, $program);
	my $scheduler = Scheduler->new(loop => $loop, spool => $spool, channel => 'lmtp', program => $first,
		arguments => [@more, qw(-c lmtp -h client.example -F), "UNIX:$dir/s"]);
	$scheduler->job(100 + $_, 'store') for 1 .. $messages;
	my $done = $loop->run(120, sub { $scheduler->satisfied });
	ok($done, "$what: refusals are settled");
	is($scheduler->finish(30), '0', 'the agent ends well');
	$scheduler->check_files if $outcome eq 'failed';
	$server->close;
	my @such = grep { $_->{outcome} eq $outcome } values %{$scheduler->{reports}};
	is(scalar @such, $count, "each of them $outcome, once");
	return if $outcome ne 'failed';
	is_deeply($scheduler->{problems}, [], 'marks, d lines and reports fit');
	SKIP: {
		skip 'no strace here', 2 unless @trace;
		order_is_kept("$dir/trace", $most_syncs);
	}
}

# No "-" before a sync behind the d lines, no report before both.
sub order_is_kept($path, $most) {
	my ($syncs, $lines, $synced, @bad) = (0, 0, 0);
	for (split /\n/, Spool::slurp($path)) {
		if (/\b(?:fdatasync|syncfs)\(/) {
			$syncs++;
			$synced = !/EIO/;
		} elsif (/\bwrite\(\d+, "d \d/) {
			($lines, $synced) = ($lines + 1, 0);
		} elsif (/\bpwrite64\(\d+, "-/ && !$synced) {
			push @bad, "a mark before its sync: $_";
		} elsif (/\bwrite\(1, .*error2/ && !$synced) {
			push @bad, "a report before its sync: $_";
		}
	}
	is_deeply(\@bad, [], 'd lines are on the disk before marks and reports');
	cmp_ok($syncs, '<=', $most, "$syncs syncs for all of them");
	note "$lines writes of d lines";
}

# One session waits for the disk longer than another may wait for its reply, which comes meanwhile.
sub reply_in_the_socket_counts() {
	my $loop = Loop->new;
	my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
	my $spool = Spool->new("$dir/post");
	my $server = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s", lenient => 1, caps => ['PIPELINING'],
		rules => [sub ($stage, $key, $c) {
			return undef unless $stage eq 'final';
			# hers comes while his mark is synced
			return [{ do => 'pause', seconds => $key =~ /^bob/ ? 2 : 4 },
				{ do => 'line', text => '250 ok' }];
		}]);
	$spool->add(name => 100 + $_, body => "x\n", groups => [{ sender => ['smtp', 'mx', 'ann@test'], header => "Subject: x\n",
		recipients => [{ channel => 'lmtp', host => 'store', user => ('', 'bob@test', 'carol@test')[$_] }] }]) for 1, 2;
	my $scheduler = Scheduler->new(loop => $loop, spool => $spool, channel => 'lmtp', program => '/usr/bin/strace',
		arguments => ['-f', '-o', '/dev/null', '-e', 'inject=fdatasync:delay_enter=14000000:when=1', $program,
			qw(-c lmtp -h client.example -T dot=10s -O sync=marks -O connections=2 -F), "UNIX:$dir/s"]);
	$scheduler->job($_, 'store') for 101, 102;
	$loop->run(60, sub { $scheduler->satisfied });
	my %is = map { ($_->{recipient}{user} => $_->{outcome}) } values %{$scheduler->{reports}};
	is_deeply(\%is, { 'bob@test' => 'delivered', 'carol@test' => 'delivered' },
		'a reply that is in the socket counts, however long the disk has taken');
	$scheduler->finish;
	$server->close;
}
