#!/usr/bin/perl
# zlmtp-check: what it finds in a post office that is well, and in one where something is wrong.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use IO::Socket::UNIX;
use POSIX ();
use Certificates;
use Prometheus;
use Spool;
use TlsPeer;
use Tool;

my $build = $ENV{BUILD_DIR};
my $dir = scratch('site');
my $spool = Spool->new("$dir/po");
my @servers;

chmod 0750, glob "$dir/po/{transport,queue,postman}";
chmod 01777, glob "$dir/po/{public,router}";
mkdir "$dir/db" or die;
spew("$dir/zenv", "POSTOFFICE=$dir/po\nMAILSHARE=$dir\nMAILVAR=$dir\nMAILBIN=$build\n");
$ENV{ZCONFIG} = "$dir/zenv";
delete @ENV{qw(MAILVAR DBTYPE)};
$ENV{ASAN_OPTIONS} = "detect_leaks=0";    # a usage error leaves its copies behind

# A server that answers with these lines to whatever it is told; without lines it is silent.
sub server($path, @replies) {
	my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die "$path: $!";
	my $pid = fork // die;
	if ($pid == 0) {
		while (my $c = $listener->accept) {
			my @left = @replies;
			syswrite $c, shift(@left) . "\r\n" if @left;
			while (sysread $c, my $bytes, 4096) {
				last if $bytes =~ /^QUIT/m;
				syswrite $c, shift(@left) . "\r\n" if @left;
			}
		}
		POSIX::_exit(0);
	}
	push @servers, $pid;
}

END {
	local $?;
	kill KILL => @servers;
	waitpid $_, 0 for @servers;
}

sub check(@options) {
	my $got = run(["$build/channel/zlmtp-check", @options]);
	$got->{line} = ($got->{out} =~ /^(.*)$/m)[0];
	return $got;
}

sub is_found($options, $status, $like, $name) {
	my $got = check(@$options, '-v');
	is $got->{status}, $status, "$name: exit $status";
	like $got->{out}, $like, "$name: said";
	is $got->{err}, '', "$name: and nothing else";
	my $word = (qw(OK WARNING CRITICAL UNKNOWN))[$status];
	like $got->{line}, qr/^$word - [^|]+(?: \| (?:'[^'=|]+'=-?\d+(?:s|ms)?(?:;\d*;\d*)? ?)+)?$/, "$name: in the form of a plugin";
}

sub agents($command, $clause = 'lmtp/*') { spew("$dir/scheduler.conf", "$clause\n\tcommand=\"$command\"\n") }
sub lmtp(@more) { agents(join ' ', "$build/channel/lmtp -c \$channel -s", @more) }
sub maps($text) { spew("$dir/db/dbases.conf", $text) }
sub old($seconds, @paths) { utime time - $seconds, time - $seconds, @paths or die "@paths: $!" }

server("$dir/good", '220 store.example LMTP', "250-store.example\r\n250 PIPELINING");
lmtp("-F UNIX:$dir/good");
maps("thishost btree 0:0:644 -l \$MAILVAR/db/localnames -l\nroutesdb unordered - - \$MAILVAR/db/routes -l\n");
spew("$dir/db/$_", "x.example y\n") for qw(localnames routes);
old(100, "$dir/db/localnames", "$dir/db/routes");
is run(["$build/db/newdb", '-f', "$dir/db/dbases.conf"])->{status}, 0, 'the maps are built';
spew("$dir/po/.pid.scheduler", "$$\n");

subtest 'all is well' => sub {
	is_found([], 0, qr/^OK - \d+ checks passed \|/, 'all');
	my $all = check('-v')->{out};
	like $all, qr{^OK        lmtp/\*: UNIX:$dir/good is ready, no TLS$}m, 'the server';
	like $all, qr{^OK        map $dir/db/localnames\.db is sound and as new as its text$}m, 'a built map';
	like $all, qr{^OK        map $dir/db/routes \(unordered\): answers$}m, 'a map that is read as it stands';
	like $all, qr{^OK        scheduler is process $$}m, 'the scheduler';
	like $all, qr{^OK        settings are those of $dir/zenv$}m, 'where its settings are from';
	is scalar(() = check()->{out} =~ /\n/g), 1, 'one line without -v';
};

subtest 'pipes in place of files' => sub {
	for my $name ('.pid.scheduler', '.pid.runqueue', '.state.runqueue') {
		my $path = "$dir/po/$name";
		my $before = -e $path ? slurp($path) : undef;
		unlink $path;
		POSIX::mkfifo($path, 0600) or die "$path: $!";
		my $got = run(["$build/channel/zlmtp-check", '-o', 'queue'], limit => 10);
		isnt $got->{status}, -9, "$name: nobody is waited for";
		is $got->{status}, { '.pid.scheduler' => 1, '.pid.runqueue' => 0, '.state.runqueue' => 3 }->{$name}, "$name: exit";
		unlink $path;
		spew($path, $before) if defined $before;
	}
};

subtest 'servers' => sub {
	my @only = qw(-o agents);
	lmtp("-F UNIX:$dir/absent");
	is_found(\@only, 2, qr{CRITICAL - lmtp/\*: UNIX:$dir/absent cannot be used: connect: }, 'no such socket');
	server("$dir/silent");
	lmtp("-F UNIX:$dir/silent");
	is_found([@only, '-t', 1], 2, qr{$dir/silent cannot be used: .*within 1 s}, 'a silent server');
	server("$dir/refuses", '421 4.3.2 not today');
	lmtp("-F UNIX:$dir/refuses");
	is_found(\@only, 2, qr{cannot be used: greeting: 421 4\.3\.2 not today}, 'a server that refuses');
	lmtp("-F UNIX:$dir/good -O tls=must");
	is_found(\@only, 2, qr{cannot be used: }, 'TLS that is demanded and not there');
	lmtp("-F UNIX:$dir/good -O nonsense");
	is_found(\@only, 2, qr{lmtp gave no answer: .*-O nonsense: unknown key}, 'a wrong option');
	lmtp("-F UNIX:$dir/good -y");
	is_found(\@only, 2, qr{not a command line of lmtp: }, 'an unknown option');
	agents("/nowhere/lmtp -F UNIX:$dir/good");
	is_found(\@only, 2, qr{cannot run /nowhere/lmtp}, 'no such program');
	lmtp('-p 24');
	is_found(\@only, 0, qr{its servers are the hosts of the mail}, 'no fixed target');
	lmtp("-F UNIX:$dir/good \$host");
	is_found(\@only, 0, qr{UNIX:$dir/good is ready}, 'a host among the arguments is no address');
	agents('/bin/false');
	is_found(\@only, 0, qr{/bin/false is not checked}, 'another agent');
	spew("$dir/plain", '');
	for my $bad ('/nowhere/mailbox', "$dir/plain", $dir, '/nowhere/lmtp -p 24') {
		agents($bad);
		is_found(\@only, 2, qr{CRITICAL - lmtp/\*: cannot run @{[$bad =~ s/ .*//r]}: }, "no program: $bad");
	}
	spew("$dir/scheduler.conf", "*/*\n\tinterval=1m\nlmtp/*\n\tinterval=2m\n");
	is_found(\@only, 2, qr{CRITICAL - $dir/scheduler\.conf: no clause .*command}, 'clauses without an agent');
	spew("$dir/scheduler.conf", '');
	is_found(\@only, 2, qr{CRITICAL - $dir/scheduler\.conf: no clause}, 'an empty scheduler.conf');
	spew("$dir/scheduler.conf", "lmtp/*\n\tcommand=\"$build/channel/lmtp -F UNIX:$dir/good\nxx\n");
	is_found(\@only, 2, qr{scheduler\.conf:\d+:\d+: expected .*}, 'a damaged scheduler.conf');
	spew("$dir/scheduler.conf", join '', map { "c$_/*\n\tcommand=\"$build/channel/lmtp -F UNIX:$dir/silent\"\n" } 1 .. 4);
	my $begun = time;
	check(@only, '-t', 3);
	cmp_ok time - $begun, '<', 8, 'several servers are asked at once, and one command once';
	lmtp("-F UNIX:$dir/good");
};

subtest 'TLS' => sub {
	my $ca = Certificates->directory . '/ca.pem';
	server("$dir/tls", '220 store.example LMTP', "250-store.example\r\n250 STARTTLS", '220 go', '250 store.example');
	spew("$dir/tls.conf", "tls-CAfile $ca\n");
	my $peer = sub ($certificate) {
		my $front = TlsPeer->start(program => "$build/tests/lib/tlspeer", listen => '127.0.0.1', backend => "$dir/tls", certificate => $certificate);
		lmtp("-F [127.0.0.1] -p @{[$front->port]} -O tls=verify -S $dir/tls.conf");
		return $front;
	};
	my $good = $peer->('good');
	is_found(['-o', 'agents'], 0, qr{\[127\.0\.0\.1\] is ready, TLSv1\.3, .*, verified$}m, 'a certificate as demanded');
	my $bad = $peer->('wrongname');
	is_found(['-o', 'agents'], 2, qr{\[127\.0\.0\.1\] cannot be used: STARTTLS: TLS: .*mismatch}, 'a certificate for another name');
	my $old = $peer->('expired');
	is_found(['-o', 'agents'], 2, qr{cannot be used: STARTTLS: TLS: .*expired}, 'an old certificate');
	$_->stop for $good, $bad, $old;
	lmtp("-F UNIX:$dir/good");
};

subtest 'secrets' => sub {
	spew("$dir/secrets", "* * dXNlcg== c2VjcmV0\n");
	lmtp("-F UNIX:$dir/good -A $dir/secrets");
	chmod 0644, "$dir/secrets";
	is_found(['-o', 'agents'], 2, qr{secrets file $dir/secrets can be read by all users}, 'readable');
	unlike check('-v', '-o', 'agents')->{out}, qr/c2VjcmV0|secret$/m, 'not shown';
	chmod 0600, "$dir/secrets";
	unlike check('-v', '-o', 'agents')->{out}, qr{everybody}, 'not readable';
	unlink "$dir/secrets";
	is_found(['-o', 'agents'], 2, qr{secrets file $dir/secrets: No such file}, 'missing');
	spew("$dir/tls.conf", "tls-cert-file $dir/key.pem\n");
	spew("$dir/key.pem", '');
	chmod 0644, "$dir/key.pem";
	lmtp("-F UNIX:$dir/good -S $dir/tls.conf");
	is_found(['-o', 'agents'], 2, qr{key $dir/key\.pem can be read by all users}, 'a key');
	lmtp("-F UNIX:$dir/good");
};

subtest 'directories' => sub {
	chmod 0755, "$dir/po/queue";
	is_found(['-o', 'spool'], 1, qr{queue is open to all users}, 'readable');
	chmod 0777, "$dir/po/transport";
	is_found(['-o', 'spool'], 2, qr{transport can be written by all users}, 'writable');
	chmod 0750, "$dir/po/queue", "$dir/po/transport";
	chmod 0777, "$dir/po/public";
	is_found(['-o', 'spool'], 2, qr{chmod \+t}, 'everybody may remove');
	chmod 01777, "$dir/po/public";
	is_found(['-P', "$dir/none"], 2, qr{$dir/none/transport: No such file}, 'no post office');
};

subtest 'the queue' => sub {
	my @only = qw(-o queue);
	my $add = sub ($name, $age, @users) {
		$spool->add(name => $name, body => "x\n", groups => [{ sender => ['local', '-', 'ann@example.org'], header => "Subject: x\n",
			recipients => [map { { channel => 'lmtp', host => '-', user => $_ } } @users] }]);
		old($age, $spool->message_path($name));
	};
	is_found(\@only, 0, qr{OK +queue: 0 recipients}, 'empty');
	$add->(100, -400 * 86400, 'a', 'b', 'c');
	is_found(\@only, 0, qr{'queue_age'=0s;}, 'what came while the clock was ahead has no age below 0');
	$add->(100, 10, 'a', 'b', 'c');
	is_found(\@only, 0, qr{OK +queue: 3 recipients}, 'a few');
	is_found([@only, qw(-n 2)], 1, qr{WARNING - queue: 3 recipients \| 'queue_recipients'=3;2; }, 'more than so many');
	is_found([@only, '-n', '1,2'], 2, qr{CRITICAL - queue: 3 recipients}, 'many more');
	is_found([@only, '-n', ',3'], 0, qr{OK - .*'queue_recipients'=3;;3 }, 'just as many');
	$add->(101, 5 * 3600, 'd');
	is_found(\@only, 1, qr{WARNING - queue: the oldest of 2 messages is 5h0\dm old}, 'an old message');
	is_found([@only, '-a', '1h,4h'], 2, qr{CRITICAL - queue: the oldest}, 'older than the second limit');
	$add->(101, 5, 'd');
	$spool->put($spool->control_path(102), "@ 0x00000007\ni 102\n");
	is_found(\@only, 2, qr{CRITICAL - queue: 102: 102:3:1: expected an o line}, 'a damaged file');
	unlink $spool->control_path(102);
	mkdir $spool->control_path(103);
	is_found(\@only, 3, qr{UNKNOWN - queue: 103: .*not a regular file}, 'an unreadable one');
	rmdir $spool->control_path(103);
	unlink "$dir/po/.pid.scheduler";
	is_found(\@only, 1, qr{WARNING - no scheduler runs}, 'no scheduler');
	spew("$dir/po/.pid.runqueue", "$$\n");
	is_found(\@only, 0, qr{runqueue is process $$}, 'a runqueue');
	spew("$dir/po/.journal.intake", '');
	is_found(\@only, 1, qr{WARNING - queue: intake was killed and does not run; .*start intake}, 'the journal of an intake that was killed');
	unlink "$dir/po/.journal.intake";
};

subtest 'maps' => sub {
	my @only = qw(-o maps);
	old(-5, "$dir/db/localnames");
	is_found(\@only, 1, qr{WARNING - map $dir/db/localnames\.db: its text is newer; run newdb}, 'an old map');
	old(100, "$dir/db/localnames", "$dir/db/routes");
	spew("$dir/db/more$_", "x.example y\n") for 1 .. 3;
	spew("$dir/more.conf", join '', map { "routesdb unordered - - $dir/db/more$_ -l\n" } 1 .. 3);
	is_deeply [check('-o', 'maps', '-d', "$dir/more.conf")->{line} =~ /'(age_\w+)'=/g],
		[qw(age_routesdb age_routesdb_2 age_routesdb_3)], 'each map of a relation has a performance label of its own';
	is_found([@only, '-g', '0,1h'], 1, qr{WARNING +map $dir/db/routes: changed 1m ago}, 'limits of age');
	chmod 0666, "$dir/db/localnames";
	is_found(\@only, 2, qr{text $dir/db/localnames can be written by all users}, 'a text that everybody can write');
	chmod 0644, "$dir/db/localnames";
	if ($> == 0) {
		chown 1, 1, "$dir/db/localnames.db";
		is_found(\@only, 1, qr{localnames\.db belongs to user daemon, not to root as line 1 of dbases\.conf says}, 'the wrong owner');
		chown 0, 0, "$dir/db/localnames.db";
	}
	my $good = slurp("$dir/db/localnames.db");
	spew("$dir/db/localnames.db", substr($good, 0, 5000));
	is_found(\@only, 2, qr{CRITICAL - map $dir/db/localnames\.db: it is damaged or cannot be read; run newdb}, 'a damaged map, and what builds it again');
	is_found(['-o', 'maps', '-d', "$dir/db/none.conf"], 2, qr{^CRITICAL - $dir/db/none\.conf: No such file or directory$}m, 'no dbases.conf');
	unlink "$dir/db/localnames.db";
	is_found(\@only, 2, qr{CRITICAL - map $dir/db/localnames\.db: it is missing}, 'a missing map');
	spew("$dir/db/localnames.db", $good);
	unlink "$dir/db/routes";
	is_found(\@only, 2, qr{CRITICAL - map $dir/db/routes \(unordered\): }, 'a missing text');
	maps("aliases btree - -r \$MAILVAR/db/aliases -lm\n");
	is_found(\@only, 2, qr{CRITICAL - live map $dir/db/aliases\.db: No such file}, 'no live map');
	is run(["$build/db/dbupdate", '-t', 'btree', '-l', "$dir/db/aliases", 'replace', '-'], in => "joe ann\n")->{status}, 0, 'it is made';
	is_found(\@only, 0, qr{OK +live map $dir/db/aliases\.db: healthy: }, 'a live map');
	spew("$dir/db/aliases.db", 'x' x 5000);
	is_found(\@only, 2, qr{CRITICAL - live map $dir/db/aliases\.db: damaged: .*; run "dbupdate $dir/db/aliases recover"}, 'a damaged one, and what repairs it');
	maps("aliase unordered - - \$MAILVAR/db/routes -l\n");
	spew("$dir/db/routes", "joe ann\n");
	is_found(\@only, 1, qr{WARNING - $dir/db/dbases\.conf:1: routing never asks a relation "aliase"; is aliases meant\?},
		'a mistyped relation');
	maps("customers unordered - - \$MAILVAR/db/routes -l\n");
	is_found(\@only, 0, qr{OK +$dir/db/dbases\.conf:1: routing never asks a relation "customers"; it asks }, 'one of the site');
	maps("aliases btree\n");
	is_found(\@only, 2, qr{dbases\.conf:1: }, 'a damaged dbases.conf');
	maps("x NONE - - - -\n");
	is_found(\@only, 0, qr{1 lines}, 'no maps');
};

subtest 'for Prometheus' => sub {
	maps("thishost btree 0:0:644 -l \$MAILVAR/db/localnames -l\n");
	my $got = check('-M', "$dir/check.prom");
	is $got->{status}, 0, 'all is well';
	my $text = slurp("$dir/check.prom");
	my $r = Prometheus::read($text);
	is_deeply $r->{problems}, [], 'the format';
	my $m = $r->{metrics};
	is $m->{zlmtp_queue_recipients}, 4, 'recipients';
	is $m->{zlmtp_queue_messages}, 2, 'messages';
	cmp_ok abs($m->{zlmtp_queue_oldest_timestamp_seconds} - time), '<', 60, 'the oldest';
	is $m->{"zlmtp_target_ready{channel=\"lmtp\",host=\"*\",target=\"UNIX:$dir/good\"}"}, 1, 'the server';
	is $m->{"zlmtp_map_state{relation=\"thishost\",map=\"$dir/db/localnames.db\"}"}, 0, 'the map';
	cmp_ok abs($m->{"zlmtp_map_timestamp_seconds{relation=\"thishost\",map=\"$dir/db/localnames.db\"}"} - time), '<', 60, 'its age';
	is $m->{zlmtp_check_state}, 0, 'the state';
	lmtp("-F UNIX:$dir/absent");
	is check('-M', "$dir/check.prom")->{status}, 2, 'another state';
	$m = Prometheus::read(slurp("$dir/check.prom"))->{metrics};
	is_deeply [map { $m->{$_} } grep { /target_ready/ } keys %$m], [0], 'what is not true any more is gone';
	is check('-M', "$dir/none/x", '-o', 'spool')->{status}, 3, 'a file that cannot be written';
	SKIP: {
		my $said = Prometheus::promtool("$dir/check.prom") // skip 'there is no promtool', 1;
		is $said, '', 'promtool';
	}
};

subtest 'usage' => sub {
	for my $options (['-a', 'x'], ['-n', '1h'], ['-o', 'mail'], ['-t', '0'], ['-y'], ['x']) {
		my $got = check(@$options);
		is $got->{status}, 3, "@$options: exit 3";
		like $got->{err}, qr/^zlmtp-check: .*; try -h$/, "@$options: one line";
	}
	local $ENV{ZCONFIG} = '/nowhere';
	is check()->{status}, 3, 'nothing said';
	$ENV{ZCONFIG} = "$dir/zenv.relative";
	spew($ENV{ZCONFIG}, "POSTOFFICE=po\n");
	my $got = check('-o', 'spool');
	is $got->{status}, 3, 'a damaged zmailer.conf: exit 3, as monitoring systems know it';
	like $got->{err}, qr{^zlmtp-check: \Q$ENV{ZCONFIG}\E:1: POSTOFFICE: expected the absolute path of a directory, found "po"$}, '... and where';
	is check('-P', "$dir/po", '-o', 'spool')->{status}, 0, 'enough said';
	is check('-h')->{status}, 0, '-h';
	# the options of lmtp that it knows are those of lmtp
	my ($known) = slurp("$FindBin::Bin/../../channel/check/agents.c") =~ /AGENT_OPTIONS "\+:([^"]+)"/;
	my %help = run(["$build/channel/lmtp", '--help'])->{out} =~ /^  -(\w)( [A-Z\[]\S*)? /mg;
	my %spelt = $known =~ /(\w)(:?)/g;
	is_deeply { map { $_ => $spelt{$_} ne '' } keys %spelt }, { map { $_ => defined $help{$_} } keys %help }, 'the options of lmtp';
};

done_testing;
