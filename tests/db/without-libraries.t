#!/usr/bin/perl
# Maps whose library is not there, as that of a package which is not installed, or not yet while packages are replaced: lookups in
# them cannot tell and name the package, all other maps answer, and no mail is refused for it; when it is there, it is used.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use IO::Socket::UNIX;
use POSIX ();
use RunQueue ();
use Spool ();
use Test::More;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $directory = File::Temp->newdir('/tmp/zwl-XXXXXX');
my $dir = "$directory";
my @types = grep { -e "$build/db/zlmtp-$_.so" } qw(ldap pgsql mysql sqlite);
delete $ENV{ZCONFIG};
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
plan skip_all => 'built without directories and databases' if !@types;

sub put($name, $text) { Spool->put("$dir/$name", $text) }
# Output and exit status.
sub run($command) { my $said = qx{cd $dir && $command 2>&1}; return ($? >> 8) . " $said" }

mkdir "$dir/$_" or die for qw(bin po);
system('cp', map({ "$build/db/$_" } qw(newdb dblookup dbserve sqlsync)), map({ "$build/channel/$_" } qw(enqueue zlmtp-check)), "$dir/bin/") == 0 or die;
put('ldap.conf', "uri ldapi://%2Fnowhere\nbase dc=test\nfilter (mail=%s)\nresult_attribute uid\n");
put("$_.conf", ($_ eq 'sqlite' ? "dbpath = $dir/users.sqlite\n" : "hosts = unix:$dir/none\ndbname = mail\n") . "query = SELECT v FROM u WHERE a = '%s'\n") for qw(pgsql mysql sqlite);
put('routes', "ann\@d.test lmtp!store!ann\n");

for my $type (@types) {
	my $words = "$dir/$type.conf: no zlmtp-$type.so in $dir/bin/; install it beside the programs (Debian: apt install zlmtp-$type)";
	put('dbases.conf', "fqdnroutes btree - -l $dir/routes -lm%\nfqdnaliases $type - - $dir/$type.conf -lm%\n");
	is run("bin/newdb -f $dir/dbases.conf -s"), '0 ', "$type: other maps are built";
	is run("bin/dblookup -f $dir/dbases.conf fqdnroutes ann\@d.test"), "0 lmtp!store!ann\n", '... and asked';
	is run("bin/dblookup -t $type $dir/$type.conf x"), "75 dblookup: x: could not tell: $words\n", 'the map itself cannot tell, in one line that names the package';
	is run("bin/dblookup -f $dir/dbases.conf -r ann\@d.test"), "75 ann\@d.test\thold\tfqdnaliases: $words\tann\@d.test\n", 'nor can a route that needs it';
	is run("echo text | bin/enqueue -f $dir/dbases.conf -P $dir/po -s me\@d.test ann\@d.test"), "75 enqueue: ann\@d.test: could not tell: fqdnaliases: $words\n",
		'mail is to be tried again';
	like run("bin/zlmtp-check -o maps -d $dir/dbases.conf"), qr/^2 CRITICAL - map \S+ \($type\): \Q$words\E/, 'monitoring is told';
	is run("printf 'database = $type\ndbname = mail\ndbpath = x\nquery = SELECT a, v FROM u\nmap = $dir/copy\n' | sed '/@{[$type eq 'sqlite' ? 'dbname' : 'dbpath']}/d' > sync.conf; bin/sqlsync -f sync.conf -1"),
		'69 sqlsync: ' . $words =~ s/^.*conf: //r . "\n", 'nothing is copied' if $type ne 'ldap';
	# one that cannot be loaded is none either
	put("bin/zlmtp-$type.so", "rubbish\n");
	like run("bin/dblookup -t $type $dir/$type.conf x"), qr{^75 dblookup: x: could not tell: \Q$dir/$type.conf\E: cannot load a library [^\n]*\n\z}, 'nor can one with a damaged library';
	unlink "$dir/bin/zlmtp-$type.so";
}

# It comes while a program runs: with a file of settings that is good, and with one that is not.
SKIP: {
	skip 'no SQLite, or no directories, here', 5 if !grep({ $_ eq 'sqlite' } @types) || !grep({ $_ eq 'ldap' } @types) || !-x '/usr/bin/sqlite3';
	system("sqlite3 $dir/users.sqlite \"CREATE TABLE u (a TEXT, v TEXT); INSERT INTO u VALUES ('ann', 'box')\"") == 0 or die;
	put('dbases.conf', "fqdnroutes btree - -l $dir/routes -lm%\nuserdb sqlite - - $dir/sqlite.conf -l\nfqdnaliases ldap - - $dir/ldap.conf -lm%\n");
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDERR, '>', "$dir/err";
		{ exec "$dir/bin/dbserve", '-f', "$dir/dbases.conf", '-L', "socketmap:UNIX:$dir/socket" }
		POSIX::_exit(127);
	}
	my $socket;
	ok RunQueue::wait_for(sub { $socket = IO::Socket::UNIX->new(Peer => "$dir/socket") }, 30), 'a server starts without them' or last SKIP;
	my $ask = sub ($question) {
		syswrite $socket, length($question) . ":$question,";
		my $bytes = '';
		while ($bytes !~ /^(\d+):/ || length $bytes < length($1) + 2 + $1) {
			sysread $socket, $bytes, 1, length $bytes or return 'closed';
		}
		return $bytes =~ s/^\d+:(.*),$/$1/sr;
	};
	like $ask->('userdb ann'), qr/^TEMP .*no zlmtp-sqlite\.so/, '... and cannot tell';
	like $ask->("fqdnaliases ann"), qr/^TEMP .*no zlmtp-ldap\.so/, '... nor of a directory';
	is $ask->("fqdnroutes ann\@d.test"), "OK lmtp!store!ann", 'other maps answer';
	system("cp $build/db/zlmtp-sqlite.so $build/db/zlmtp-ldap.so $dir/bin/") == 0 or die;
	ok RunQueue::wait_for(sub { $ask->('userdb ann') eq 'OK box' }, 30), 'when it is installed, it is used without a restart';
	ok RunQueue::wait_for(sub { $ask->('fqdnaliases ann') =~ /^TEMP .*nowhere/ }, 30), '... and a directory is asked';
	kill 'TERM', $pid;
	waitpid $pid, 0;
	is $?, 0, 'SIGTERM ends it well';
}

done_testing;
