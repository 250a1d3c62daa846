#!/usr/bin/perl
# dbserve: what the maps mean, by socketmap, policy and tcp; three answers in each of them.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use POSIX ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes ();

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $directory = File::Temp->newdir;
my $dir = "$directory";
delete $ENV{ZCONFIG};
# a server that closes at a bad byte may do so before the last one is written
$SIG{PIPE} = 'IGNORE';
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

sub put($name, $text) {
	open my $out, '>', "$dir/$name" or die "$name: $!";
	print $out $text;
	close $out or die "$name: $!";
}

put('fqdnaliases', "team\@d.test: ann\@d.test, bob\@d.test\nall\@d.test: team\@d.test, eve\@else.test\nloop\@d.test: loop\@d.test\n"
	. "\@c.test: ann\@d.test\nlist\@c.test: ann\@c.test, x\@c.test\n\@fwd.test: eve\@else.test\n");
put('fqdnroutes', "ann\@d.test: lmtp!store1!ann%2\@d.test\nbob\@d.test: lmtp!store2!bob%2\@d.test\nann\@c.test: lmtp!store1!ann\n");
put('aliases', "keep: \\keep, bob\@d.test\neve+: ann\@d.test\neve: bob\@d.test\npart: ann\@d.test, \"|cmd\"\nalone: \"|cmd\"\n");
put('routes', "d.test error!nosuchuser\nfar.test smtp!relay.test\n");
put('dbases.conf', <<'END');
fqdnaliases btree - -la fqdnaliases -lm%
fqdnroutes  btree - -la fqdnroutes  -lm%
routesdb    btree - -l  routes      -lm%:d pathalias
userdb      btree - -l  userdb      -l
large       unordered - - large     -l
aliases     btree - -la aliases     -lm%
END
put('large', "below " . 'x' x 99_996 . "\nfits " . 'x' x 99_997 . "\nabove " . 'x' x 99_998 . "\nhuge " . 'x' x 1_000_000 . "\none two\n");
put('userdb', "one two\n");
my $silent = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1') // die;
my $has_sql = -e "$build/db/zlmtp-pgsql.so";
if ($has_sql) {
	put('slow.cf', 'hosts = inet:127.0.0.1:' . $silent->sockport . "\ndbname = x\nnetwork_timeout = 2\nquery = SELECT v FROM u WHERE a = '%s'\n");
	open my $more, '>>', "$dir/dbases.conf" or die;
	print $more "slow pgsql - - $dir/slow.cf -l\n";
	close $more;
}
if (-e "$build/db/zlmtp-ldap.so") {
	put('users.ldap', "uri ldapi://%2Fnowhere%2Fldapi\nbase dc=test\nfilter (mail=%s)\nresult_attribute uid\n");
	open my $more, '>>', "$dir/dbases.conf" or die;
	print $more "users ldap - - $dir/users.ldap -l\n";
	close $more;
}
put('router.conf', "hostname=mail.test\n");
put('table', "# comment\n\nlmtp/store1 lmtp:unix:/run/one\r\nlmtp/*  lmtp:[127.0.0.1]:24\nsmtp/relay.test smtp:[relay.test]\n");
is(system("$build/db/newdb -f $dir/dbases.conf >/dev/null 2>&1"), 0, 'the maps are built');

sub free_port() {
	return IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
}
my ($policy, $tcp) = (free_port(), free_port());
my $pid = fork // die;
END { local $?; kill 'KILL', $pid if $pid }
if ($pid == 0) {
	open STDERR, '>', "$dir/err";
	exec "$build/db/dbserve", '-f', "$dir/dbases.conf", '-T', "$dir/table", '-L', "socketmap:UNIX:$dir/maps,mode=0600",
		'-L', "policy:[127.0.0.1]:$policy", '-L', "tcp:[127.0.0.1]:$tcp";
}
sub wait_for($what) {
	for (1 .. 600) {
		return 1 if $what->();
		Time::HiRes::sleep(0.05);
	}
	return 0;
}
ok wait_for(sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$tcp") }), 'it listens';
is sprintf('%o', (stat "$dir/maps")[2] & 0777), '600', 'the socket has its mode';

sub connection() { return IO::Socket::UNIX->new(Peer => "$dir/maps") // die "connect: $!" }

# The next netstring; undef at the end.
sub netstring($socket) {
	my $length = '';
	while (sysread $socket, my $byte, 1) {
		last if $byte eq ':';
		$length .= $byte;
	}
	return undef if $length eq '';
	my $text = '';
	while (length $text < $length + 1) {
		sysread $socket, $text, $length + 1 - length $text, length $text or return undef;
	}
	return substr $text, 0, -1;
}

sub ask($question) {
	my $socket = connection();
	syswrite $socket, length($question) . ":$question,";
	return netstring($socket) // 'closed';
}

my %answers = (
	"recipient ann\@d.test" => 'OK OK', "recipient ANN+x\@D.test" => 'OK OK', "recipient no\@d.test" => 'NOTFOUND ',
	"recipient \@d.test" => 'NOTFOUND ', "recipient a\x01b\@d.test" => 'NOTFOUND ', 'recipient ' => 'NOTFOUND ',
	'recipient |id' => 'NOTFOUND ', 'recipient real-/etc/passwd' => 'NOTFOUND ',
	"alias team\@d.test" => "OK ann\@d.test,bob\@d.test", "alias team+x\@d.test" => "OK ann+x\@d.test,bob+x\@d.test",
	"alias all\@d.test" => "OK ann\@d.test,bob\@d.test,eve\@else.test", "alias ann\@d.test" => 'NOTFOUND ',
	"alias loop\@d.test" => 'NOTFOUND ', "alias x\@else.test" => 'NOTFOUND ',
	# the route of a user is in front of the list for all of the domain
	"alias ann\@c.test" => 'NOTFOUND ', "alias ann+x\@c.test" => 'NOTFOUND ', "alias bob\@c.test" => "OK ann\@d.test",
	"alias list\@c.test" => "OK ann\@c.test,ann\@d.test", "alias keep\@mail.test" => "OK keep\@mail.test,bob\@d.test",
	"alias eve+x\@mail.test" => "OK ann\@d.test", "alias eve--x\@mail.test" => "OK ann\@d.test", "alias eve\@mail.test" => "OK bob\@d.test",
	"alias alone\@mail.test" => 'NOTFOUND ',
	"alias part\@mail.test" => 'TEMP in the list of part@mail.test is a command or a file, which is for delivery on this machine alone',
	"transport ann\@d.test" => 'OK lmtp:unix:/run/one', "transport bob\@d.test" => 'OK lmtp:[127.0.0.1]:24',
	"transport team\@d.test" => 'OK lmtp:unix:/run/one', "transport no\@d.test" => 'NOTFOUND ', 'transport d.test' => 'NOTFOUND ',
	"transport x\@else.test" => 'NOTFOUND ',
	map({ ("transport $_" => 'OK smtp:[relay.test]') } 'far.test', 'FAR.test', "x\@far.test"), 'transport sub.far.test' => 'NOTFOUND ',
	'domain d.test' => 'OK OK', 'domain D.TEST' => 'OK OK', 'domain else.test' => 'NOTFOUND ', 'domain mail.test' => 'OK OK',
	'domain a b' => 'NOTFOUND ', 'domain c.test' => 'OK OK', 'domain fwd.test' => 'OK OK',
	"fqdnroutes ann\@d.test" => "OK lmtp!store1!ann\@d.test", 'userdb one' => 'OK two', 'userdb none' => 'NOTFOUND ',
	'nonesuch x' => 'PERM there is no map nonesuch', 'word' => 'PERM expected a map, a blank and a key',
);
is ask($_), $answers{$_}, $_ =~ s/[^ -~]/?/gr for sort keys %answers;

subtest 'requests come in pieces and in crowds' => sub {
	my $socket = connection();
	for my $byte (split //, "19:recipient ann\@d.test,") { syswrite $socket, $byte }
	is netstring($socket), undef, 'a length that is wrong ends it';
	$socket = connection();
	for my $byte (split //, "20:recipient ann\@d.test,") { syswrite $socket, $byte }
	is netstring($socket), 'OK OK', 'byte by byte';
	my $n = 10_000;
	my $writer = fork // die;
	if ($writer == 0) {
		syswrite $socket, "20:recipient ann\@d.test," for 1 .. $n;
		POSIX::_exit(0);
	}
	is ask('userdb one'), 'OK two', 'others are served while one does not read';
	my $right = grep { (netstring($socket) // '') eq 'OK OK' } 1 .. $n;
	is $right, $n, 'all of 10,000 are answered';
	waitpid $writer, 0;
};

subtest 'a slow map keeps nobody else waiting' => sub {
	plan skip_all => 'built without PostgreSQL' unless $has_sql;
	my @waiting = map { my $socket = connection(); my $key = "key$_"; syswrite $socket, length("slow $key") . ":slow $key,"; $socket } 1 .. 5;
	my $start = Time::HiRes::time();
	is ask('userdb one'), 'OK two', 'a quick one is answered';
	cmp_ok Time::HiRes::time() - $start, '<', 1, 'at once';
	is scalar(grep { netstring($_) =~ /^TEMP .*no answer in time/ } @waiting), 5, 'and the slow ones get their answers';
	cmp_ok Time::HiRes::time() - $start, '<', 9, 'beside each other';
	my $gone = connection();
	syswrite $gone, '9:slow gone,';
	close $gone;
	is ask('userdb one'), 'OK two', 'a client that goes while it waits harms nobody';
};

subtest 'what is no request' => sub {
	for my $rubbish ('4294967296:', '100001:', 'x', ':', '01:a,', '3:abcd', '-1:,') {
		my $socket = connection();
		syswrite $socket, $rubbish;
		is netstring($socket), undef, "$rubbish: the end";
	}
	my $half = connection();
	syswrite $half, '20:recip';
	is ask('userdb one'), 'OK two', 'half a request keeps nobody';
};

sub policy(@lines) {
	my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$policy") // die;
	syswrite $socket, join '', map { "$_\n" } @lines, '';
	local $/ = "\n\n";
	return scalar(<$socket>) // 'closed';
}
my @rcpt = ('request=smtpd_access_policy', 'protocol_state=RCPT');
is policy(@rcpt, "recipient=ann\@d.test"), "action=DUNNO\n\n", 'policy: there';
like policy(@rcpt, "recipient=no\@d.test"), qr/^action=REJECT 5\.1\.1 /, 'policy: not there';
is policy(@rcpt, "recipient=x\@else.test"), "action=DUNNO\n\n", 'policy: elsewhere';
is policy('protocol_state=DATA', "recipient=no\@d.test"), "action=DUNNO\n\n", 'policy: not at RCPT';
is policy('no attribute'), 'closed', 'policy: no request';

sub tcp($line) {
	my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$tcp") // die;
	syswrite $socket, "$line\n";
	return scalar <$socket>;
}
is tcp("get ann\@d.test"), "200 OK\n", 'tcp: there';
is tcp('get no%40d.test'), "500 not%20found\n", 'tcp: not there';
like tcp('put x'), qr/^400 /, 'tcp: no request';

# Whatever kind it is and however it is changed: the question behind the change has the new answer, also one that was asked before.
subtest 'nothing outlives a change of a map' => sub {
	my $lmdb = do { local (@ARGV, $/) = "$build/config.h"; <> =~ /HAVE_LMDB 1/ };
	for my $type ('btree', $lmdb ? 'lmdb' : (), 'unordered', 'environment') {
		my ($opens, $builds, $lookup) = $type eq 'environment' ? ('btree', '-r', "-lm% -C $dir/$type/sleepyenv.conf") : ($type, $type eq 'unordered' ? '-' : '-l', '-lm%');
		my $update = "$build/db/dbupdate -t $opens" . ($type eq 'environment' ? " -C $dir/$type/sleepyenv.conf" : '') . " $dir/$type/changing";
		mkdir "$dir/$type" or die;
		put("$type/changing", "ann\@d.test lmtp!store1!ann\nbob\@d.test lmtp!store1!bob\n");
		put("$type/routes", "d.test error!nosuchuser\n");
		put("$type/sleepyenv.conf", "envhome = $dir/$type/env\nenvflags = CDB,CREATE\n");
		put("$type/map.conf", "fqdnroutes $opens - $builds $dir/$type/changing $lookup\nroutesdb btree - -l routes -lm%:d pathalias\n");
		is system("mkdir $dir/$type/env && $update replace $dir/$type/changing >/dev/null"), 0, 'made in its environment' if $type eq 'environment';
		is system("cd $dir/$type && $build/db/newdb -sf map.conf >said 2>&1"), 0, "$type: built" or diag do { local (@ARGV, $/) = "$dir/$type/said"; <> };
		my $serving = fork // die;
		if ($serving == 0) {
			open STDERR, '>', "$dir/$type/err";
			{ exec "$build/db/dbserve", '-f', "$dir/$type/map.conf", map { ('-L', "$_:UNIX:$dir/$type/$_") } qw(policy socketmap) }
			POSIX::_exit(127);
		}
		my $socket;
		wait_for(sub { $socket = IO::Socket::UNIX->new(Peer => "$dir/$type/socketmap") }) or die "$type: dbserve does not listen\n";
		my $ask = sub ($question) { syswrite $socket, length($question) . ":$question,"; netstring($socket) };
		my $policy = IO::Socket::UNIX->new(Peer => "$dir/$type/policy") // die;
		my $judge = sub ($user) { local $/ = "\n\n"; syswrite $policy, "protocol_state=RCPT\nrecipient=$user\@d.test\n\n"; (readline $policy) =~ /^action=(\w+)/ ? $1 : '' };
		my @wrong;
		for my $round (1 .. 16) {
			my ($there, $away) = $round % 2 ? ('eve', 'bob') : ('bob', 'eve');
			if ($type eq 'unordered') {
				# the same file, the same size
				open my $out, '+<', "$dir/$type/changing" or die;
				print $out "ann\@d.test lmtp!store1!ann\n$there\@d.test lmtp!store1!bob\n";
				close $out;
			} else {
				open my $in, '|-', "$update apply >/dev/null" or die;
				print $in "+$there\@d.test\tlmtp!store1!bob\n-$away\@d.test\n";
				close $in or die "$type: dbupdate\n";
			}
			# the second time long enough after the change for answers to be remembered
			for my $time (1 .. 3) {
				push @wrong, "round $round, $time" if $ask->("recipient $there\@d.test") ne 'OK OK' || $ask->("recipient $away\@d.test") ne 'NOTFOUND '
					|| $ask->("fqdnroutes $away\@d.test") ne 'NOTFOUND ' || $ask->('domain d.test') ne 'OK OK'
					|| $judge->($there) ne 'DUNNO' || $judge->($away) ne 'REJECT';
				Time::HiRes::sleep(0.12) if $time == 1;
			}
		}
		is_deeply \@wrong, [], "$type: all answers are of the map as it is";
		kill 'TERM', $serving;
		waitpid $serving, 0;
	}
};

# A copy that was kept is put back with its old time, over the file or in its place, and has the same size.
subtest 'a map that is put back with an older time counts from the next question on' => sub {
	my $lmdb = do { local (@ARGV, $/) = "$build/config.h"; <> =~ /HAVE_LMDB 1/ };
	for my $type ('btree', 'bhash', $lmdb ? 'lmdb' : (), 'unordered') {
		my $suffix = { btree => '.db', bhash => '.dbh', lmdb => '.lmdb', unordered => '' }->{$type};
		my $place = "back-$type";
		mkdir "$dir/$place" or die;
		put("$place/routes", "d.test error!nosuchuser\n");
		put("$place/map.conf", "fqdnroutes $type - " . ($type eq 'unordered' ? '-' : '-l') . " users -lm%\nroutesdb btree - -l routes -lm%:d pathalias\n");
		for my $user (qw(eve bob)) {
			put("$place/users", "ann\@d.test lmtp!store1!ann\n$user\@d.test lmtp!store1!bob\n");
			is system("cd $dir/$place && $build/db/newdb -sf map.conf >said 2>&1"), 0, "$type: built with $user";
			system("cp $dir/$place/users$suffix $dir/$place/$user") == 0 or die;
			utime 1e9, 1e9, "$dir/$place/$user" or die;
		}
		my $map = "$dir/$place/users$suffix";
		is -s "$dir/$place/eve", -s "$dir/$place/bob", "$type: both have one size";
		my $serving = fork // die;
		if ($serving == 0) {
			open STDERR, '>', "$dir/$place/err";
			{ exec "$build/db/dbserve", '-f', "$dir/$place/map.conf", '-L', "socketmap:UNIX:$dir/$place/socket" }
			POSIX::_exit(127);
		}
		my $socket;
		wait_for(sub { $socket = IO::Socket::UNIX->new(Peer => "$dir/$place/socket") }) or die "$type: dbserve does not listen\n";
		my $ask = sub ($question) { syswrite $socket, length($question) . ":$question,"; netstring($socket) };
		my @wrong;
		for my $round (1 .. 8) {
			my ($there, $away) = $round % 2 ? ('eve', 'bob') : ('bob', 'eve');
			my $how = $round <= 4 ? "cp -p $dir/$place/$there $map" : "cp -p $dir/$place/$there $map.new && mv $map.new $map";
			system($how) == 0 or die "$how\n";
			for my $time (1 .. 3) {
				push @wrong, "$how: $time" if $ask->("recipient $there\@d.test") ne 'OK OK' || $ask->("recipient $away\@d.test") ne 'NOTFOUND '
					|| $ask->("fqdnroutes $away\@d.test") ne 'NOTFOUND ';
				Time::HiRes::sleep(0.12) if $time == 1;
			}
		}
		is_deeply \@wrong, [], "$type: all answers are of the map as it is";
		kill 'TERM', $serving;
		waitpid $serving, 0;
	}
};

# dbserve is held between its look at the maps and reading what has come.
subtest 'a question behind a change has the new answer, also if it is read together with one before it' => sub {
	my $library = "$dir/holdrecv.so";
	my $compiler = (split ' ', $ENV{ZLMTP_CC} // 'cc')[-1];
	plan skip_all => 'no compiler' if system("$compiler -shared -fPIC -o $library $ENV{SRC_DIR}/tests/db/holdrecv.c -ldl 2>/dev/null") != 0;
	plan skip_all => 'built with a sanitizer' if `nm -D $build/db/dbserve 2>/dev/null` =~ /__asan_init/;
	mkdir "$dir/held" or die;
	put('held/users', "ann\@d.test lmtp!store1!ann\nbob\@d.test lmtp!store1!bob\n");
	put('held/routes', "d.test error!nosuchuser\n");
	put('held/map.conf', "fqdnroutes btree - -l users -lm%\nroutesdb btree - -l routes -lm%:d pathalias\n");
	is system("cd $dir/held && $build/db/newdb -sf map.conf >said 2>&1"), 0, 'built';
	POSIX::mkfifo("$dir/held/$_", 0600) or die for 'hold.at', 'hold.go';
	my $serving = fork // die;
	if ($serving == 0) {
		open STDERR, '>', "$dir/held/err";
		@ENV{qw(LD_PRELOAD HOLD)} = ($library, "$dir/held/hold");
		{ exec "$build/db/dbserve", '-f', "$dir/held/map.conf", '-L', "socketmap:UNIX:$dir/held/socket" }
		POSIX::_exit(127);
	}
	my $socket;
	wait_for(sub { $socket = IO::Socket::UNIX->new(Peer => "$dir/held/socket") }) or die "dbserve does not listen\n";
	my $send = sub ($question) { syswrite $socket, length($question) . ":$question," };
	$send->("recipient ann\@d.test");
	is netstring($socket), 'OK OK', 'the maps are open';
	$send->("recipient ann\@d.test");
	open my $at, '<', "$dir/held/hold.at" or die;
	put('held/users', "ann\@d.test lmtp!store1!ann\neve\@d.test lmtp!store1!eve\n");
	is system("cd $dir/held && $build/db/newdb -f map.conf >said 2>&1"), 0, 'built again';
	$send->("recipient $_\@d.test") for qw(eve bob);
	open my $go, '>', "$dir/held/hold.go" or die;
	is_deeply [map { netstring($socket) } 1 .. 3], ['OK OK', 'OK OK', 'NOTFOUND '], 'answers';
	kill 'TERM', $serving;
	waitpid $serving, 0;
};

# LMDB's own words on its newest transaction are ahead of what a lookup sees
subtest 'no answer from before a change is remembered while somebody asks all the time' => sub {
	plan skip_all => 'no LMDB' if do { local (@ARGV, $/) = "$build/config.h"; <> !~ /HAVE_LMDB 1/ };
	mkdir "$dir/busy" or die;
	my $base = "$dir/busy/m";
	put('busy/map.conf', "fqdnroutes lmdb - -r $base -lms 100\n");
	put('busy/text', "u\@d.test lmtp!h0!u\n");
	is system("$build/db/dbupdate -t lmdb -l $base replace $dir/busy/text >/dev/null"), 0, 'made';
	my $serving = fork // die;
	if ($serving == 0) {
		open STDERR, '>', "$dir/busy/err";
		{ exec "$build/db/dbserve", '-f', "$dir/busy/map.conf", '-L', "socketmap:UNIX:$dir/busy/socket" }
		POSIX::_exit(127);
	}
	my $socket;
	wait_for(sub { $socket = IO::Socket::UNIX->new(Peer => "$dir/busy/socket") }) or die "dbserve does not listen\n";
	my $question = "fqdnroutes u\@d.test";
	my $ask = sub { syswrite $socket, length($question) . ":$question,"; netstring($socket) };
	my $asking = fork // die;
	if ($asking == 0) {
		$SIG{$_} = 'DEFAULT' for qw(INT TERM);
		$socket = IO::Socket::UNIX->new(Peer => "$dir/busy/socket") // die;
		1 while defined $ask->();
		POSIX::_exit(0);
	}
	my @stale;
	for my $round (1 .. 20) {
		system("$build/db/dbupdate -t lmdb -l $base set 'u\@d.test' 'lmtp!h$round!u' >/dev/null") == 0 or die "dbupdate\n";
		my $said = $ask->();
		push @stale, "$round: $said" if $said ne "OK lmtp!h$round!u";
	}
	is_deeply \@stale, [], 'each change counts from the next question on';
	kill 'TERM', $asking, $serving;
	waitpid $_, 0 for $asking, $serving;
};

subtest 'a map that cannot tell' => sub {
	rename "$dir/fqdnroutes.db", "$dir/away" or die;
	put('fqdnroutes.db', 'rubbish');
	ok wait_for(sub { ask("recipient ann\@d.test") =~ /^TEMP / }), 'socketmap: TEMP';
	like ask("recipient ann\@d.test"), qr/^TEMP .*fqdnroutes/, 'with the reason';
	like ask("transport ann\@d.test"), qr/^TEMP /, 'transport';
	like ask("fqdnroutes ann\@d.test"), qr/^TEMP /, 'the relation';
	like ask("$_ d.test"), qr/^TEMP .*fqdnroutes/, "$_, asked for a domain" for qw(transport domain);
	like policy(@rcpt, "recipient=ann\@d.test"), qr/^action=DEFER_IF_PERMIT 4\.3\.0 /, 'policy: deferred';
	like tcp("get ann\@d.test"), qr/^400 /, 'tcp: 400';
	rename "$dir/away", "$dir/fqdnroutes.db" or die;
	ok wait_for(sub { ask("recipient ann\@d.test") eq 'OK OK' }), 'it answers again without a restart';
	rename "$dir/fqdnaliases.db", "$dir/away" or die;
	put('fqdnaliases.db', 'rubbish');
	ok wait_for(sub { ask("alias team\@d.test") =~ /^TEMP .*fqdnaliases/ }), 'a map of aliases: alias';
	like ask("$_ ann\@d.test"), qr/^TEMP .*fqdnaliases/, "... and $_, as an alias might stand before the user" for qw(recipient transport);
	rename "$dir/away", "$dir/fqdnaliases.db" or die;
	ok wait_for(sub { ask("alias team\@d.test") eq "OK ann\@d.test,bob\@d.test" }), 'alias answers again';
	rename "$dir/routes.db", "$dir/away" or die;
	put('routes.db', 'rubbish');
	ok wait_for(sub { ask('domain d.test') =~ /^TEMP .*routes/ }), 'a map of domains: domain';
	like ask("$_ no\@d.test"), qr/^TEMP .*routes/, "... and $_ of one who is in no other map" for qw(recipient transport);
	rename "$dir/away", "$dir/routes.db" or die;
	ok wait_for(sub { ask('domain d.test') eq 'OK OK' }), 'domain answers again';
	SKIP: {
		skip 'built without LDAP', 3 unless -e "$build/db/zlmtp-ldap.so";
		like ask("users ann\@d.test"), qr/^TEMP /, 'a directory that is not there';
	}
};

# 100,000 bytes are socketmap's limit for a reply.
subtest 'a value that no reply can hold' => sub {
	is length ask("large $_->[0]"), $_->[1], "a value of @{[$_->[1] - 3]} bytes" for ['below', 99_999], ['fits', 100_000];
	is ask("large $_"), 'TEMP the value is longer than 100000 bytes', "$_: could not tell" for qw(above huge);
	is ask('large one'), 'OK two', 'others are found';
};

subtest 'the log says what keeps mail waiting, and who sent rubbish, in a line each' => sub {
	my @lines = do { local @ARGV = "$dir/err"; <> };
	is scalar(grep { /could not tell: .*fqdnroutes/ } @lines), 1, 'the map that could not tell';
	is scalar(grep { /was expected from a client, which sent something else; its connection is closed$/ } @lines), 1, 'the rubbish, once for all of it';
};

subtest 'the table changes' => sub {
	put('table', "lmtp/store1 lmtp:unix:/run/other\n");
	ok wait_for(sub { ask("transport ann\@d.test") eq 'OK lmtp:unix:/run/other' }), 'the new line counts';
	put('table', "rubbish\n");
	ok wait_for(sub { ask("transport ann\@d.test") =~ /^TEMP .*table:1: / }), 'a damaged one cannot tell';
	put('table', "# CHANNEL/HOST TRANSPORT\n");
	ok wait_for(sub { ask("transport ann\@d.test") =~ /^TEMP .*table: no line/ }), 'nor one that has not been written yet';
	put('table', "lmtp/store1 lmtp:unix:/run/other\xc2\xa0\n");
	ok wait_for(sub { ask("transport ann\@d.test") =~ /^TEMP .*table:1: found U\+00A0/ }), 'nor one with a blank that is none';
	put('table', "\xe2\x80\x8blmtp/* lmtp:unix:/run/other\n");
	ok wait_for(sub { ask("transport ann\@d.test") =~ /^TEMP .*table:1: found U\+200B/ }), 'also in front of a pattern';
	put('table', "rubbish\n");
};

SKIP: {
	skip 'postmap is not installed', 3 unless -x '/usr/sbin/postmap';
	chmod 0755, $dir;
	is qx{postmap -q team\@d.test socketmap:unix:$dir/maps:alias 2>&1}, "ann\@d.test,bob\@d.test\n", 'Postfix: found';
	is qx{postmap -q none\@d.test socketmap:unix:$dir/maps:recipient 2>&1}, '', 'Postfix: not found';
	like qx{postmap -q one socketmap:unix:$dir/maps:nonesuch 2>&1}, qr/nonesuch/, 'Postfix: an error';
}

kill 'TERM', $pid;
waitpid $pid, 0;
is $?, 0, 'SIGTERM ends it well';
undef $pid;
ok !-e "$dir/maps", 'and the socket is gone';
is system("$build/db/dbserve -f $dir/dbases.conf -L foo >/dev/null 2>&1") >> 8, 64, 'a wrong address';
is system("$build/db/dbserve -f $dir/dbases.conf >/dev/null 2>&1") >> 8, 64, 'no address';
is system("$build/db/dbserve -f $dir/none -L socketmap:UNIX:$dir/maps >/dev/null 2>&1") >> 8, 66, 'no maps';
is system("$build/db/dbserve -f $dir/dbases.conf -T $dir/none -L socketmap:UNIX:$dir/maps >/dev/null 2>&1") >> 8, 66, 'no table';
is system("$build/db/dbserve -f $dir/dbases.conf -T $dir/table -L socketmap:UNIX:$dir/maps >/dev/null 2>&1") >> 8, 78, 'a damaged table';
done_testing;
