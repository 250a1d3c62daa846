#!/usr/bin/perl
# A map that makes its library loop, and a program that is killed meanwhile: no child of it goes on for ever, and none keeps the
# map's lock.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Extent qw(long);
use IO::Socket::UNIX;
use POSIX ();
use Spool;
use Test::More;
use Time::HiRes qw(sleep time);
use Tool;

plan skip_all => 'preloading does not go with sanitizers' if $ENV{ZLMTP_SANITIZED};
my $build = $ENV{BUILD_DIR};
my $library = preload("$ENV{SRC_DIR}/tests/db/failio.c") // plan skip_all => 'no compiler';
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
my $config = slurp("$build/config.h");
my %suffix = (btree => 'db', bhash => 'dbh', $config =~ /HAVE_LMDB 1/ ? (lmdb => 'lmdb') : ());
my $dir = scratch('site');
mkdir $_ for $dir, "$dir/db", "$dir/conf";
my $office = Spool->new("$dir/po")->dir;
my $map = "$dir/db/map";
spew($map, join '', map { "ann$_\@d.test lmtp!s!ann$_\n" } 1 .. 300);
spew("$dir/few", "ann1\@d.test lmtp!s!other\nnew\@d.test lmtp!s!new\n");
# in their environment are the processes known by
my $sign = "ORPHAN_OF=$$";
my $with_sqlite = $config =~ /HAVE_SQLITE 1/ && system("sqlite3 $dir/table \"CREATE TABLE u (a, v); INSERT INTO u VALUES ('a\@d.test', 'x')\" 2>/dev/null") == 0;

sub processes() {
	return grep { my $pid = $_; eval { slurp("/proc/$pid/environ") =~ /\Q$sign\E/ } && (eval { slurp("/proc/$pid/stat") } // ') Z') !~ /\) Z/ }
		map { m{(\d+)} } glob '/proc/[0-9]*';
}

# Two pieces of a file are put together by some calls, one by others; a map with changes has no seal, so that a child verifies it.
sub build($type) {
	unlink glob "$map.*";
	run(["$build/db/newdb", '-s', '-t', $type, $map])->{status} == 0 or die "newdb failed\n";
	run(["$build/db/dbupdate", '-t', $type, $map, 'set', 'ann0@d.test', 'x'])->{status} == 0 or die "dbupdate failed\n";
}

# Kills a program within the Nth call of a kind, which never comes to an end; returns how many seconds its last process lived on,
# or undef if there was no Nth call.
sub orphans($call, $n, $socket, $text, @command) {
	my $happened = scratch('happened');
	unlink $happened, $socket // ();
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', scratch('said');
		open STDERR, '>&', \*STDOUT;
		%ENV = (%ENV, LD_PRELOAD => $library, FAIL_CALL => "$call:$n:0", FAIL_COUNT => $happened, split /=/, $sign);
		exec @command or POSIX::_exit(127);
	}
	my ($client, $ended);
	for (my $end = time + 20; !-e $happened && !$ended && time < $end; sleep 0.01) {
		$ended = waitpid($pid, POSIX::WNOHANG()) == $pid;
		next if !defined $socket || $client;
		$client = IO::Socket::UNIX->new($socket) or next;
		syswrite $client, $text;
		$end = time + 5;
	}
	kill 'KILL', $pid;
	my $since = time;
	waitpid $pid, 0;
	sleep 0.05 while processes() && time - $since < 15;
	my $lived = time - $since;
	kill 'KILL', $_ for processes();
	return -e $happened ? $lived : undef;
}

for my $type (sort keys %suffix) {
	spew("$dir/conf/dbases.conf", "fqdnroutes $type - -l $map -lm%:\n");
	spew("$dir/conf/sqlsync.conf", "database = sqlite\ndbpath = $dir/table\nquery = SELECT a, v FROM u\nmap = $map\ntype = $type\n");
	my @routes = ('-f', "$dir/conf/dbases.conf");
	for (['newdb', undef, '', "$build/db/newdb", '-s', '-t', $type, $map], ['dblookup', undef, '', "$build/db/dblookup", '-t', $type, $map, 'ann1@d.test'],
		['dblookup --dump', undef, '', "$build/db/dblookup", '-t', $type, '--dump', $map],
		['enqueue', undef, '', "$build/channel/enqueue", '-P', $office, @routes, '-s', 'x@y.test', 'ann1@d.test'],
		['zlmtp-check', undef, '', "$build/channel/zlmtp-check", '-o', 'maps', '-d', $routes[1]],
		['dbupdate check', undef, '', "$build/db/dbupdate", '-w', 5, '-t', $type, $map, 'check'], 
		['dbupdate set', undef, '', "$build/db/dbupdate", '-w', 5, '-t', $type, $map, 'set', 'key', 'value'],
		['dbupdate replace', undef, '', "$build/db/dbupdate", '-w', 5, '-t', $type, '--allow-shrink', $map, 'replace', "$dir/few"],
		$with_sqlite ? ['sqlsync', undef, '', "$build/db/sqlsync", '-1', '-f', "$dir/conf/sqlsync.conf"] : (),
		['dbserve', "$dir/s", "get ann1\@d.test\n", "$build/db/dbserve", @routes, '-L', "tcp:UNIX:$dir/s"],
		['intake', "$dir/l", "LHLO x\r\nMAIL FROM:<a\@b.test>\r\nRCPT TO:<ann1\@d.test>\r\n", "$build/channel/intake", '-P', $office, @routes, '-L', "lmtp:UNIX:$dir/l"]) {
		my ($what, $socket, $text, @command) = @$_;
		my $is_worker = $what =~ /^dbupdate|^sqlsync/;
		my $changes = $what =~ /set$|replace$/;
		# it loops for 5 s
		next if $is_worker && !long() && $type ne 'btree';
		my ($tried, @bad) = 0;
		for my $call ($changes ? ('pwrite', long() ? ('fsync', 'write', 'rename') : ()) : ($what eq 'newdb' ? 'fsync' : 'pread', long() ? 'read' : ())) {
			for my $n (long() ? 1 .. 6 : $changes ? 1 : $is_worker ? 2 : (1, 3)) {
				build($type);
				# one that was changed live is not built anew
				unlink glob "$map.*" if $what eq 'newdb';
				my $lived = orphans($call, $n, $socket, $text, @command) // next;
				$tried++;
				# 5 s without progress are a worker's, and some for a busy machine
				push @bad, "$call $n: a process lived on for $lived s" if $lived > 12;
				run(["$build/db/newdb", '-s', '-t', $type, $map]) if $what eq 'newdb';
				my $got = run(["$build/db/dbupdate", '-w', 20, '-t', $type, $map, 'set', 'after', 'all']);
				push @bad, "$call $n: then dbupdate: $got->{err}" if $got->{status} != 0;
			}
		}
		is join("\n", @bad), '', "$type: $what, $tried times";
	}
}
done_testing;
