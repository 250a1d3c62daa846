#!/usr/bin/perl
# How runqueue starts and feeds its agents, seen from the agent's side.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use JSON::PP ();
use Extent qw(long);
use RunQueue;

sub complaints($q) { return map { $_->{rest} } $q->log('complaint') }

subtest 'the counting rule' => sub {
	my $q = RunQueue->new(script => "strict\nshy\n", conf => "lmtp/*\n\toverfeed=3 command=\"AGENT\"\n");
	$q->message(['a']) for 1 .. 12;
	my ($status, undef, $err) = $q->run('-1');
	is "$status $err", '0 ', 'exit 0';
	is_deeply [complaints($q)], [], 'no line before its time';
	is_deeply [map { $_->{rest} } $q->log('burst')], [1, 4, 4, 3], 'one job, then bursts of overfeed + 1';
	is_deeply [$q->jobs], [100 .. 111], 'each job once, in order';
	ok $q->log('empty-line') && $q->log('end-of-file'), 'an empty line and end of file at the end';
	is scalar(my @lines = $q->log('line')), 0, 'no #idle for somebody who is not needed any more';
};

SKIP: {
	local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
	my @strace = ('strace', '-D', '-o', '/dev/null', '-e', 'trace=write,read');
	skip 'strace is not installed, or cannot follow processes here', 1 if system("@strace true 2>/dev/null") != 0;
	subtest 'a line that cannot be written is not thrown away' => sub {
		# the first two writes are those of the process number and the state file, the first eight reads those of other files, if
		# no sanitizer reads as well
		for my $case (map({ ['write', 'ENOBUFS', $_] } 3, 4, 5, '3..5'), ['write', 'ENOMEM', 3], ['write', 'EPIPE', 4],
		              $ENV{ZLMTP_SANITIZED} ? () : ['read', 'ENOMEM', 9]) {
			my ($call, $error, $when) = @$case;
			my $q = RunQueue->new(before => [@strace, '-e', "inject=$call:error=$error:when=$when"]);
			$q->message(["u$_"]) for 1 .. 3;
			$q->start('-1');
			my ($status, undef, $err) = $q->finish(15);
			is $status, 0, "$call $when $error: it ends";
			is_deeply [$q->names], [], "$call $when $error: everything is delivered";
			my %got;
			$got{$_->{rest}}++ for $q->log('recipient');
			is_deeply [values %got], [1, 1, 1], "$call $when $error: once";
		}
	};
}

subtest 'an agent that does nothing with its mail is no success' => sub {
	my $ended = qr/^runqueue: agent \d+ \(lmtp\) ended before it did anything: is the command of its clause a transport agent\?\n\z/;
	for my $case (['true', '#!/bin/true', $ended], ['closes its socket first', "#!/bin/sh\nexec <&- >&- 2>&-\nexit 0", $ended],
	              ['is hungry, and ends', "#!/bin/sh\necho '#hungry'", $ended],
	              ['is hungry, reads, and ends', "#!/bin/sh\necho '#hungry'\nread x", $ended],
	              ['is only hungry', "#!/bin/sh\necho '#hungry'\nwhile read x && [ \"\$x\" ]; do echo '#hungry'; done",
	               qr/^runqueue: agent \d+ \(lmtp\) said #hungry without a report on 1 message\n\z/],
	              ['fails', '#!/bin/false', qr/^runqueue: agent \d+ \(lmtp\) ended with status 1\n\z/]) {
		my ($name, $script, $words) = @$case;
		my $q = RunQueue->new;
		Spool->put($q->dir . '/odd', "$script\n");
		chmod 0755, $q->dir . '/odd';
		$q->conf("lmtp/*\n\tinterval=1h command=\"" . $q->dir . "/odd\"\n");
		my $job = $q->message(['a']);
		my ($status, $out, $err) = $q->run('-1');
		is $status, 69, "$name: 69";
		like $err, $words, "$name: one line";
		like $out, qr/deferred 1,/, "$name: nothing is delivered";
		is $q->tags($job), ' ', "$name: the mail waits";
	}
	my $q = RunQueue->new(script => "job 2 exit 0\n", conf => "lmtp/*\n\toverfeed=0 command=\"AGENT\"\n");
	$q->message(['a']) for 1 .. 3;
	my ($status, $out, $err) = $q->run('-1');
	is $status, 69, 'one that ends in the middle: 69';
	like $err, qr/^runqueue: agent \d+ \(lmtp\) ended without a report on all that it had\n/, 'and it is said';
	is_deeply [$q->names], [], 'another one delivers the rest';
};

subtest 'why an agent cannot be started stands in the listing' => sub {
	my $q = RunQueue->new(conf => "lmtp/*\n\tinterval=1h command=\"/nonexistent/agent\"\n");
	$q->message(['a']);
	$q->start('-w');
	ok RunQueue::wait_for(sub { (JSON::PP->new->decode((qx('$ENV{BUILD_DIR}/channel/runqueue' -lj -P '@{[$q->office]}'))[0])->{answer} // '') =~
		m{^the transport agent ended before it did anything: runqueue: cannot run /nonexistent/agent: No such file or directory$} }), 'the reason';
	$q->stop;
};

subtest 'an agent that never answers is ended' => sub {
	# all of them at the same time, as each takes some seconds
	my $started = sub ($script, $retries = '') {
		my $q = RunQueue->new;
		Spool->put($q->dir . '/odd', "#!/bin/sh\n" . $script =~ s/DIR/$q->dir/er . "\n");
		chmod 0755, $q->dir . '/odd';
		$q->conf("lmtp/*\n\tinterval=1h $retries command=\"" . $q->dir . "/odd\"\n");
		$q->{waits} = $q->message(['a']);
		$q->start('-1', '-O', 'silence=1s');
		return $q;
	};
	my @silent = map { { name => $_->[0], queue => $started->($_->[1]) } } ['that takes its job', 'trap "" TERM; echo "#hungry"; read x; read y'],
		['that says nothing at all', 'read x'], ['that ends when told to', 'echo "#hungry"; read x; exec sleep 1000'],
		['that was told to go', 'echo "#hungry"; read x; touch DIR/fed; read y; sleep 1000'];
	my $told = $silent[-1]{queue};
	kill TERM => $told->{pid} if RunQueue::wait_for(sub { -e $told->dir . '/fed' });
	# 60 lines at a time, and time for others
	my @talking = map { { name => $_->[0], queue => $started->("trap '' TERM\necho '#hungry'\nread x\nwhile :; do\n" .
		"printf '" . "$_->[1]\\n" x 60 . "'\nsleep 0.2\ndone", 'retries=1') } } ['comments', '# I am at work'],
		['what is no line of an agent', 'rubbish'], ['reports on what it does not have', '999/12\\tx\\tok\\tdone'];
	for (@silent) {
		my ($name, $q) = @$_{qw(name queue)};
		my ($status, $out, $err) = $q->finish(40);
		is $status, 69, "one $name: 69";
		like $err, qr/^runqueue: agent \d+ \(lmtp\) has mail and has sent nothing for 1 s; it is stopped\nrunqueue: agent \d+ \(lmtp\) was killed by signal (?:15|9)\n\z/,
			"one $name: said";
		is $q->tags($q->{waits}), ' ', "one $name: the mail waits";
	}
	for (@talking) {
		my ($name, $q) = @$_{qw(name queue)};
		my ($status, $out, $err) = $q->finish(60);
		is $status, 69, "one that says nothing but $name: 69" or diag substr $err, 0, 2000;
		like $err, qr/^runqueue: agent \d+ \(lmtp\) has mail and has sent no report for 1 s; it is stopped$/m, '... it is ended';
		like $err, qr/^runqueue: agent \d+ \(lmtp\): \d+ more lines are left out here$/m, '... and does not fill the log';
		is $q->tags($q->{waits}), ' ', '... the mail waits';
	}
	my $q = RunQueue->new;
	for my $wrong ('silence=', 'silence=0', 'silence=x', 'silence=-1', 'silence', 'quiet=1') {
		my ($status, undef, $err) = $q->run('-1', '-O', $wrong);
		is $status, 64, "-O $wrong: usage";
		like $err, qr/^runqueue: -O \Q$wrong\E: expected [^\n]+; try -h\n\z/, "-O $wrong: one line and a pointer";
	}
};

SKIP: {
	local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
	skip 'strace is not installed, or cannot follow processes here', 1 if system('strace -D -o /dev/null true 2>/dev/null') != 0;
	subtest 'failures that agents report without writing them down share their syncs' => sub {
		my $q = RunQueue->new(script => "user .* error\n", conf => "lmtp/*\n\tinterval=1s retries=1 command=\"AGENT\"\n");
		$q = RunQueue->new(script => "user .* error\n", before => ['strace', '-D', '-o', $q->dir . '/trace', '-e', 'trace=fdatasync']);
		my ($trace) = $q->{before}[3];
		my $job = $q->message([map { "u$_" } 1 .. 500]);
		my ($status, $out, $err) = $q->run('-1');
		is "$status $err", '0 ', 'exit 0';
		like $out, qr/failed 500,/, 'all have failed';
		my %reports = $q->reports;
		is scalar(() = join('', values %reports) =~ /^d /mg) || scalar(() = join('', values %reports) =~ /5\.1\.1/g), 500,
			'each with its reason';
		my $syncs = () = Spool::slurp($trace) =~ /^fdatasync/mg;
		cmp_ok $syncs, '<', 100, "500 failures, $syncs syncs";
		cmp_ok $syncs, '>', 0, 'at least one';
	};
}

SKIP: {
	skip 'it takes 40 seconds: ZLMTP_LONG=1', 1 if !long();
	subtest 'an agent that has nothing to do and does not go is killed' => sub {
		my $q = RunQueue->new;
		Spool->put($q->dir . '/odd', "#!/bin/sh\ntrap '' TERM\necho '#hungry'\nread x\necho '#hungry'\nwhile :; do sleep 1; done\n");
		chmod 0755, $q->dir . '/odd';
		$q->conf("lmtp/*\n\tinterval=1h retries=1 command=\"" . $q->dir . "/odd\"\n");
		my $job = $q->message(['a']);
		$q->start('-1');
		my ($status, $out, $err) = $q->finish(90);
		is $status, 69, 'runqueue ends';
		like $err, qr/^runqueue: agent \d+ \(lmtp\) has not exited 30 s after it was told to\n(?:.*\n)*runqueue: agent \d+ \(lmtp\) was killed by signal 9$/m,
			'by SIGKILL, 10 s after SIGTERM';
		is $q->tags($job), ' ', 'the mail waits';
	};
}

subtest 'without overfeed' => sub {
	my $q = RunQueue->new(script => "strict\n", conf => "lmtp/*\n\toverfeed=0 command=\"AGENT\"\n");
	$q->message(['a']) for 1 .. 3;
	$q->run('-1');
	is_deeply [map { $_->{rest} } $q->log('burst')], [1, 1, 1], 'one at a time';
	$q = RunQueue->new(script => "strict\n");
	$q->message(['a']) for 1 .. 120;
	$q->run('-1');
	is_deeply [map { $_->{rest} } $q->log('burst')], [1, 119], 'many, if the clause says nothing';
};

subtest 'a destination in trouble gets no burst' => sub {
	my $q = RunQueue->new(script => "strict\nuser a retryat\n", conf => "lmtp/*\n\tcommand=\"AGENT\"\n");
	$q->message(['b'], age => 100);
	$q->message(['a'], age => 90);
	$q->message(['b'], age => 80 - $_) for 1 .. 10;
	$q->run('-1');
	is_deeply [complaints($q)], [], 'the rule is kept';
	is_deeply [map { $_->{rest} } $q->log('burst')], [1, 11], 'trouble in the middle: the burst is answered, then it ends';
};

subtest 'another destination for the same agent' => sub {
	my $q = RunQueue->new(script => "strict\n", conf => "lmtp/*\n\tmaxring=1 overfeed=5 command=\"AGENT\"\n");
	$q->message(['a@@x', 'b@@y']) for 1 .. 4;
	my ($status) = $q->run('-1');
	is scalar(my @started = $q->log('start')), 1, 'maxring=1: one agent';
	is_deeply [complaints($q)], [], 'the rule is kept';
	is_deeply [map { $_->{rest} } $q->log('burst')], [1, 3, 1, 3], 'one job first, for each destination';
	is_deeply [map { (split ' ', $_->{rest})[1] } $q->log('job')], [('x') x 4, ('y') x 4], 'one destination after the other';
	is_deeply [$q->names], [], 'all is delivered';
};

subtest 'an agent for one host' => sub {
	my $q = RunQueue->new(conf => "lmtp/*\n\tmaxring=1 command=\"AGENT \$host\"\n");
	$q->message(['a@@x', 'b@@Y']) for 1 .. 3;
	my ($status) = $q->run('-1');
	is $status, 0, 'exit 0';
	is_deeply [sort map { $_->{rest} } $q->log('start')], ['lmtp x', 'lmtp y'], 'the host is an argument, in lower case';
	is_deeply [map { scalar split ' ', $_->{rest} } $q->log('job')], [(1) x 6], 'and not in the job lines';
	is_deeply [$q->names], [], 'all is delivered';
};

# The largest number of agents at work at the same time.
sub most_at_once($q) {
	my ($now, $most) = (0, 0);
	for ($q->log) {
		$now++ if $_->{word} eq 'start';
		$now-- if $_->{word} eq 'end';
		$most = $now if $now > $most;
	}
	return $most;
}

subtest 'no more agents than allowed' => sub {
	for my $limit ('maxring=2', 'maxchannel=2', 'maxta=2') {
		my $q = RunQueue->new(script => "pause 0.3\n", conf => "lmtp/*\n\t$limit command=\"AGENT\"\n");
		$q->message([map { "u\@\@host$_" } 1 .. 6]);
		my ($status) = $q->run('-1');
		is $status, 0, "$limit: exit 0";
		is_deeply [$q->names], [], "$limit: all is delivered";
		is most_at_once($q), 2, "$limit: by two at a time";
	}
	my $q = RunQueue->new(script => "pause 0.2\n", conf => "lmtp/*\n\tmaxthr=3 overfeed=0 command=\"AGENT\"\n");
	$q->message(['a']) for 1 .. 9;
	$q->run('-1');
	is most_at_once($q), 3, 'maxthr=3: three for one destination';
	is_deeply [sort { $a <=> $b } $q->jobs], [100 .. 108], 'each job for one of them only';
};

subtest 'a parked agent of another clause makes room' => sub {
	for my $limit ('maxchannel=1', 'maxta=1') {
		my $q = RunQueue->new(conf => "lmtp/x\n\t$limit idlemax=3h command=\"AGENT\"\nlmtp/y\n\t$limit idlemax=3h command=\"AGENT\"\n");
		$q->message(['a@@x']);
		$q->message(['b@@y']);
		$q->start('-w');
		ok RunQueue::wait_for(sub { !$q->names }), "$limit: both clauses have their turn";
		is most_at_once($q), 1, "$limit: one after the other";
		is +($q->stop)[0], 0, 'exit 0';
	}
};

subtest 'nobody waits for anybody for ever' => sub {
	# the agent writes more than the socket holds before it reads; so do we
	my $q = RunQueue->new(script => "job 1 flood\njob 2 flood\n", conf => "lmtp/*\n\toverfeed=10000 command=\"AGENT\"\n");
	my $host = 'h' x 2000;
	$q->message(["a\@\@$host"]) for 1 .. 600;
	my ($status) = $q->run('-1');
	is $status, 0, 'exit 0';
	is_deeply [$q->names], [], 'all is delivered';
};

subtest 'what an agent finds' => sub {
	local $ENV{TZ} = 'UTC';
	local $ENV{SECRET} = 'x';
	my $q = RunQueue->new;
	my $agent = "$FindBin::Bin/../lib/scripted-agent";
	mkdir $q->dir . '/ta';
	symlink $agent, $q->dir . '/ta/agent';
	Spool->put($q->dir . '/zenv', "POSTOFFICE=" . $q->office . "\nMAILSHARE=" . $q->dir . "\nLOGDIR=" . $q->dir . "/with blank\n" .
		"PATH=/bin\nZCONFIG=/nowhere\n");
	my $command = "A=1 B=\${channel}=\${host} \$channel=x $agent -s " . $q->dir . " -c \$channel \${LOGDIR}/x ab \$x \${channel}\$host";
	$q->conf("lmtp/*\n\tcommand=\"$command\"\n");
	$q->message(['a@@Store']);
	my ($status, undef, $err) = $q->run('-1');
	is "$status $err", '0 ', 'exit 0';
	my %seen = map { $_->{word} => $_->{rest} } $q->log;
	is $seen{environment}, '$channel=x A=1 B=lmtp=store PATH=/bin TZ=UTC ZCONFIG=/nowhere', 'environment';
	is $seen{arguments}, "$agent lmtp " . $q->dir . '/with blank/x ab $x lmtp$host', 'arguments; the program with its path';
	is $seen{directory}, $q->office . '/transport', 'working directory';
	like $seen{descriptors}, qr/^0=(socket:\[\d+\]) 1=\1 2=\1$/, 'one socket as descriptors 0, 1 and 2';
	is $seen{others} // '', '', 'nothing else is open';
	is $seen{pipe}, 'IGNORE', 'SIGPIPE is ignored';

	Spool->put($q->dir . '/zenv', "POSTOFFICE=" . $q->office . "\nMAILSHARE=" . $q->dir . "\nMAILBIN=" . $q->dir . "\n");
	$q->conf("lmtp/*\n\tcommand=\"agent -s " . $q->dir . " -c \$channel\"\n");
	$q->forget_log;
	$q->message(['a']);
	($status) = $q->run('-1');
	is $status, 0, 'a program below MAILBIN/ta is found';
	like +($q->log('arguments'))[0]{rest}, qr/^\Q@{[$q->dir]}\E\/ta\/agent /, 'and called by its whole path';
};

SKIP: {
	skip 'only root can become somebody else', 1 if $> != 0;
	subtest 'user and group' => sub {
		my $q = RunQueue->new;
		$q->message(['a']);
		# where the tests lie may be closed to others
		my $agent = $q->dir . '/scripted-agent';
		system('cp', map({ "$ENV{SRC_DIR}/tests/lib/$_" } 'scripted-agent', 'Spool.pm'), $q->dir) == 0 or die;
		chmod 0755, $agent, $q->dir . '/Spool.pm';
		$q->conf("lmtp/*\n\tuser=1 group=2 command=\"$agent -s @{[$q->dir]} -c \$channel\"\n");
		chmod 0755, $q->dir =~ s/\/[^\/]*$//r;
		chmod 0777, $q->dir;
		$q->run('-1');
		is +($q->log('user'))[0]{rest}, '1 2', 'taken on, without other groups';
	};
}

done_testing;
