#!/usr/bin/perl
# Calls of the system that fail, one after the other, in each program; and programs that are started without descriptors 0 to 2.
# No program is ended by a signal, hangs, or says that all is well when it is not; none answers "not found" for what is there;
# no mail is lost and none is half there.  ZLMTP_SOAK=1: each call; otherwise the first and one of several, fewer without ZLMTP_LONG.  ZLMTP_PARTS: some of the parts.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Errno qw(EINVAL EIO EMFILE ENOMEM ENOSPC EAGAIN);
use Test::More;
use CrashStore;
use Extent qw(long some_of);
use Intake;
use IO::Socket::UNIX;
use LdapSync;
use POSIX ();
use RealSlapd;
use Reports;
use RunQueue;
use Spool;
use Tool;

plan skip_all => 'preloading does not go with sanitizers' if $ENV{ZLMTP_SANITIZED};
my $build = $ENV{BUILD_DIR};
my $library = preload("$ENV{SRC_DIR}/tests/db/failio.c") // plan skip_all => 'no compiler';
my %part = map { $_ => 1 } split ' ', $ENV{ZLMTP_PARTS} // 'closed newdb dbupdate dblookup check enqueue runqueue lmtp
	intake sendmail queue report dbserve ldapsync';
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
my $have_lmdb = slurp("$build/config.h") =~ /HAVE_LMDB 1/;
my %suffix = (btree => 'db', bhash => 'dbh', $have_lmdb ? (lmdb => 'lmdb') : ());
my $home = scratch('home');
mkdir $home;
chmod 0755, scratch(), $home;

my @disk = (['open', EMFILE], ['open', EIO], ['read', EIO], ['pread', EIO]);
my @writes = (['write', ENOSPC], ['write', EIO], ['pwrite', ENOSPC], ['fsync', EIO], ['rename', EIO], ['link', EIO], ['unlink', EIO],
	['ftruncate', EIO]);
my @system = (['malloc', ENOMEM], ['fork', EAGAIN]);

# Runs try->(environment) with the Nth call failing, for N from 1 until it does not happen any more.  It returns what is wrong, or
# nothing.  `short` is how many are tried in turn without ZLMTP_SOAK.
sub each_call($what, $case, $short, $try) {
	my ($call, $errno) = @$case;
	my ($n, $tried, @bad) = (1, 0);
	my $step = 1;
	while ($n < 20_000) {
		unlink scratch('happened');
		push @bad, map { "$call $n: $_" } grep { defined } $try->({ LD_PRELOAD => $library, FAIL_CALL => "$call:$n:$errno",
			FAIL_COUNT => scratch('happened') });
		last if !-e scratch('happened') || @bad > 5;
		$tried++;
		# the first ones, then ever larger steps
		$step = long() ? int($n / 2) + 1 : $n if !$ENV{ZLMTP_SOAK} && $tried >= (long() ? $short : 1);
		$n += $step;
	}
	local $! = $errno;
	is join("\n", @bad), '', "$what: $call fails with \"$!\", $tried times up to number $n";
}

# What is wrong with how a program ended; undef if nothing is.
sub ending($got, @statuses) {
	return "ended by signal " . -$got->{status} if $got->{status} < 0;
	return "exit $got->{status}: $got->{out}$got->{err}" if !grep { $got->{status} == $_ } @statuses;
	return 'not a word about it' if $got->{status} != 0 && $got->{err} eq '' && $got->{out} eq '';
	return undef;
}

my @trouble = (65, 66, 69, 70, 71, 73, 74, 75, 77);

sub names($dir) { opendir my $d, $dir or die; return join ' ', sort grep { !/^\.\.?$/ } readdir $d }

# ---- descriptors 0 to 2 closed ----

if ($part{closed}) {
	my $office = Spool->new("$home/closed")->dir;
	spew("$home/text", "key value\n");
	my %arguments = (enqueue => ['-P', $office, '-r', 'lmtp,-,ann'], newdb => ['-s', "$home/text"], runqueue => ['-l', '-P', $office]);
	my @programs = grep { -f && -x && !/\.[a-z]+$/ } glob "$build/channel/* $build/db/*";
	ok @programs >= 9, 'there are programs';
	for my $program (@programs) {
		my ($name) = $program =~ m{([^/]+)$};
		for my $closed ([0], [1], [2], [0 .. 2]) {
			for my $arguments (['-V'], ['--nonsense'], $arguments{$name} // ['-h']) {
				my $got = run([$program, @$arguments], cd => $home, limit => 20, before => sub { POSIX::close($_) for @$closed });
				ok $got->{status} >= 0, "$name @$arguments without descriptor @$closed ends by itself" or diag $got->{status};
			}
		}
		# a file of its own would get their number
		my $opened = run(['/bin/sh', '-c', 'exec "$@" 0<&- 1>&- 2>&-', 'sh', 'strace', '-f', '-e', 'trace=openat,fcntl', '-o',
			scratch('trace'), $program, '-V']);
		my @null = slurp(scratch('trace')) =~ /openat\(AT_FDCWD, "\/dev\/null", O_(?:RD|WR)ONLY\) = ([012])\n/g;
		SKIP: {
			skip 'processes cannot be followed here', 1 if slurp(scratch('trace')) !~ /exited with/;
			is "@null[0..2]", '0 1 2', "$name: they become /dev/null first";
		}
	}
	spew("$home/victim", "key value\n");
	run(["$build/db/newdb", '-s', "$home/victim"]);
	run(['/bin/sh', '-c', 'exec "$@" 0<&- 1>&- 2>&-', 'sh', "$build/db/dbupdate", "$home/victim", 'delete', 'nobody']);
	is -s "$home/victim.db.lock", 0, 'nothing is written into a lock file';
	unlink glob "$home/text* $home/victim*";
}

# ---- maps ----

sub build($type) {
	unlink glob "$home/map*";
	spew("$home/map", join '', map { "key$_ value$_\n" } 1 .. 60);
	run(["$build/db/newdb", '-s', '-t', $type, "$home/map"])->{status} == 0 or die "cannot build a $type map";
	run(["$build/db/dbupdate", '-t', $type, "$home/map", 'set', 'key0', 'value0'])->{status} == 0 or die "cannot change a $type map";
}

sub content($type) { return join '', sort { $a cmp $b } split /^/, run(["$build/db/dblookup", '-t', $type, '--dump', "$home/map"])->{out} }

for my $type (sort keys %suffix) {
	build($type);
	my $file = "$home/map.$suffix{$type}";
	my $before = slurp($file);
	my $old = content($type);
	my $names = names($home);

	if ($part{dblookup}) {
		for my $case (@disk, @system) {
			each_call("dblookup, $type", $case, 3, sub ($env) {
				my $got = run(["$build/db/dblookup", '-t', $type, "$home/map", 'key17'], env => $env);
				return 'a wrong answer' if $got->{status} == 0 && $got->{out} ne "value17\n";
				return ending($got, 0, @trouble), names($home) eq $names ? undef : 'files are left';
			});
		}
	}
	if ($part{newdb}) {
		for my $case (@disk[0, 1], @writes[4 .. 7], @system) {
			each_call("newdb, $type", $case, 3, sub ($env) {
				spew("$home/new", "other text\n");
				my $got = run(["$build/db/newdb", '-s', '-t', $type, "$home/map", "$home/new"], env => $env);
				my $replaced = slurp($file) ne $before;
				spew($file, $before) if $replaced;
				unlink "$home/new";
				return ending($got, 0, @trouble), ($got->{status} == 0 && !$replaced ? 'nothing was built' : undef),
					($replaced && $got->{err} =~ /the old map stays/ ? 'says that the old map stays' : undef),
					($case->[0] ne 'unlink' && names($home) ne $names ? 'files: ' . names($home) : undef);
			});
			spew($file, $before);
			# what a failing unlink left
			unlink grep { -f && !m{/map(?:\.(?:db|dbh|lmdb)(?:\.lock|-lock)?)?$} } glob "$home/* $home/.*";
		}
		# the last sync is that of the directory: the new map is in place by then
		each_call("newdb, $type", ['fsync', EIO], 8, sub ($env) {
			spew("$home/new", "other text\n");
			my $got = run(["$build/db/newdb", '-s', '-t', $type, "$home/map", "$home/new"], env => $env);
			my $replaced = slurp($file) ne $before;
			unlink "$home/new";
			spew($file, $before);
			my $says_old = $got->{err} =~ /the old map stays/ ? 1 : 0;
			return $got->{status} != 0 && $says_old == $replaced ? "says the contrary of what is: $got->{err}" : undef;
		});
	}
	if ($part{dbupdate}) {
		build($type);
		$old = content($type);
		my $round = 0;
		for my $case (@disk[0, 1], @writes[5 .. 7], @system) {
			each_call("dbupdate, $type", $case, 3, sub ($env) {
				my $value = ++$round;
				my $got = run(["$build/db/dbupdate", '-w', 2, '-t', $type, "$home/map", 'set', 'key0', $value], env => $env);
				my $now = content($type);
				my $wanted = $old =~ s/^key0 .*$/key0 $value/mr;
				my $bad = $got->{status} == 0 ? ($now eq $wanted ? undef : 'the change is not there')
					: $now eq $old || $now eq $wanted ? undef : "the map is another one";
				$old = $now;
				return $bad, ending($got, 0, @trouble);
			});
		}
		is run(["$build/db/dbupdate", '-t', $type, "$home/map", 'check'])->{status}, 0, "$type: the map is healthy after all that";
	}
	if ($part{check}) {
		# without a seal it is read by a child of its own
		build($type);
		spew($file, slurp($file) =~ s/\367(?=zlmtp stamp 1 check=)/-/gr);
		for my $case (@disk, @system, ['pread', -9], ['read', -9]) {
			my $signal = $case->[1] < 0;
			each_call("dbupdate check, $type", $case, 2, sub ($env) {
				my $got = run(["$build/db/dbupdate", '-w', 2, '-t', $type, "$home/map", 'check'], env => $env);
				# who is killed says nothing
				return undef if $signal && $got->{status} == -9;
				return $got->{status} == 2 ? "a healthy map is called damaged: $got->{out}" : ending($got, 0, 3, @trouble);
			});
			each_call("dbupdate recover, $type", $case, 2, sub ($env) {
				run(["$build/db/dbupdate", '-w', 2, '-t', $type, "$home/map", 'recover'], env => $env);
				return -e $file && !-e "$file.damaged" ? undef : 'a healthy map was put aside';
			});
		}
	}
}

# ---- mail ----

if ($part{enqueue}) {
	my $n = 0;
	for my $case (@disk[0 .. 2], @writes, @system) {
		each_call('enqueue', $case, 3, sub ($env) {
			my $office = Spool->new("$home/po" . ++$n)->dir;
			my $got = run(["$build/channel/enqueue", '-P', $office, '-s', 'ann@x.example', '-r', 'lmtp,-,bob'], env => $env,
				in => "Subject: x\n\n" . 'text ' x 5000 . "\n");
			my @jobs = grep { -f } glob "$office/transport/*";
			my $whole = @jobs == 1 && -f "$office/queue/" . $jobs[0] =~ s{.*/}{}r;
			my $bad = $got->{status} == 0 ? ($whole ? undef : 'accepted and not there')
				: @jobs && !$whole ? 'half a message is there' : undef;
			system 'rm', '-rf', $office;
			return $bad, ending($got, 0, 75, @trouble);
		});
	}
}

if ($part{runqueue}) {
	for my $case (@disk[0, 1], @writes[0, 1, 3, 4, 6], @system) {
		each_call('runqueue -1', $case, 3, sub ($env) {
			my @before = ('env', map { "$_=$env->{$_}" } sort keys %$env);
			my $q = RunQueue->new(before => \@before, script => "job => ok\n",
				conf => "lmtp/*\n\tinterval=1s retries=1 command=\"/usr/bin/env -u LD_PRELOAD AGENT\"\n");
			$q->message(['ann', 'bob']);
			my ($status, $out, $err) = $q->run('-1');
			$q->{before} = [];
			my ($again) = $q->run('-1');
			return ($status > 255 ? "ended by signal " . ($status - 256) : undef),
				# a message file alone is no mail any more
				($q->jobs ? undef : 'no agent has ever got it'), ($q->names && !($err =~ m{cannot remove \.\./queue/} && !grep { -f } glob $q->office . "/transport/*") ? 'mail is left: ' . join(' ', $q->names) . ", exit $status, then $again: $err" : undef);
		});
	}
}

if ($part{lmtp}) {
	for my $case (@disk[0 .. 2], @writes[1, 3], @system) {
		each_call('lmtp', $case, 3, sub ($env) {
			my $store = CrashStore->new(program => "$build/channel/lmtp", arguments => [], caps => ['PIPELINING'], messages => 4,
				recipients => 3, environment => $env, unsynced => $case->[0] eq 'fsync');
			$store->round("$build/channel/lmtp", []);
			$store->{environment} = {};
			# a control file that cannot be read is the scheduler's to look at
			return grep { !/#resync/ } $store->finish;
		});
	}
}

# A message to ann by LMTP; the final reply, '' if there was none.
sub hand_over($intake, $body) {
	my $client = eval { $intake->lmtp } // return '';
	my @said = eval { map { @$_ } $client->message('x@example.com', ['ann@example.org'], $body) };
	return $said[-1] // '';
}

# What is wrong with the queue, in which one message may be, and others of that form; it must, if it was acknowledged.
sub queue_defect($intake, $acknowledged, $body, $others = qr/^\Q$body\E\z/) {
	my @bodies = map { my @m = eval { $intake->message($_) }; $m[2] // '' } $intake->queued;
	my $there = grep { $_ eq $body } @bodies;
	$intake->forget_all;
	return (grep { $_ !~ $others } @bodies) ? 'a message is not whole' : $there > 1 || ($acknowledged && !$there) ? "$there there" : undef;
}

if ($part{intake}) {
	my $intake = Intake->start(run => 0, wait => 0);
	my $body = join '', map { "line $_\n" } 1 .. 3000;
	for my $case (some_of(6, @disk, @system, @writes[0 .. 6], ['rename', EINVAL])) {
		each_call('intake', $case, 3, sub ($env) {
			$intake->{o}{before} = ['env', map { "$_=$env->{$_}" } sort keys %$env];
			$intake->again;
			my $answered = $intake->answers($intake->dir . '/lmtp');
			my $reply = $answered ? hand_over($intake, "Subject: x\n\n$body") : '';
			# one that has ended before it answered is waited for already
			my $status = $answered || kill(0, $intake->pid) ? $intake->stop : $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
			delete $intake->{pid};
			# what it had accepted when it ended with 74 is put in order by the next one
			if ($status eq '74') {
				local @{$intake->{o}}{qw(before wait)} = ([], 1);
				$intake->again;
				$intake->stop;
			}
			return queue_defect($intake, scalar($reply =~ /^250 .*queued/), $body), $status =~ /signal|killed/ ? "ends by $status" : undef,
				(!$answered && $intake->said !~ /\S/ ? 'ended without a word' : undef);
		});
	}
}

if ($part{sendmail}) {
	my $intake = Intake->start;
	my $body = 'text ' x 5000 . "\n";
	spew($intake->dir . '/zenv', slurp($intake->dir . '/zenv') . 'INTAKE=' . $intake->dir . "/lmtp\n");
	local $ENV{ZCONFIG} = $intake->dir . '/zenv';
	my $n = 0;
	for my $case (@disk[0 .. 2], @writes[0, 1], @system) {
		each_call('zlmtp-sendmail', $case, 3, sub ($env) {
			# each has a text of its own: one whose answer was not read may come into the queue later
			my $own = ++$n . " $body";
			my $got = run(["$build/channel/zlmtp-sendmail", '-f', 'x@example.com', 'ann@example.org'], env => $env, in => "Subject: x\n\n$own");
			return queue_defect($intake, $got->{status} == 0, $own, qr/^\d+ \Q$body\E\z/), ending($got, 0, @trouble);
		});
	}
}

if ($part{queue}) {
	for my $case (@disk[0, 1, 2], @writes[0, 1, 6], @system) {
		each_call('zlmtp-queue remove', $case, 3, sub ($env) {
			my $q = RunQueue->new;
			my $job = $q->message(['bob']);
			my $listed = run(["$build/channel/zlmtp-queue", '-P', $q->office, 'list'], env => $env);
			my $got = run(["$build/channel/zlmtp-queue", '-P', $q->office, 'remove', $job], env => $env);
			my $there = $q->control($job) && -f $q->spool->message_path($job);
			my $gone = !$q->control($job);
			return ending($listed, 0, 1, @trouble), ending($got, 0, 1, @trouble),
				($listed->{status} == 0 && $listed->{out} !~ /bob/ ? 'the list is empty' : undef),
				($got->{status} == 0 && !$gone ? 'it is not removed' : undef), ($there || $gone ? undef : 'half of it is there');
		});
	}
}

if ($part{report}) {
	for my $case (some_of(4, @disk[0, 1], @system, @writes[0, 1, 3, 4, 6])) {
		each_call('runqueue and zlmtp-report', $case, 3, sub ($env) {
			my $q = Reports->queue(conf => "lmtp/*\n\tqueueonly command=/nowhere\n", before => ['env', map { "$_=$env->{$_}" } sort keys %$env]);
			my $job = $q->message([{ user => 'bob', tag => '-' }]);
			my ($status, undef, $err) = $q->run('-1');
			my @first = Reports->all($q);
			my $told = @first || keys %{{ $q->reports }};
			my $lost = !$q->control($job) && !$told;
			$q->{before} = [];
			$q->run('-1');
			my @reports = Reports->all($q);
			return ($status > 255 ? 'ended by signal ' . ($status - 256) : undef), ($lost ? "gone and not told of, exit $status: $err" : undef),
				((grep { @{$_->{trouble}} } @reports) ? 'a report is not whole' : undef),
				(@reports || keys %{{ $q->reports }} ? undef : 'never told of');
		});
	}
}

if ($part{dbserve}) {
	my $dir = scratch('serve');
	mkdir $dir;
	spew("$dir/fqdnroutes", "ann\@d.test: lmtp!store!ann\n");
	spew("$dir/dbases.conf", "fqdnroutes btree - -la fqdnroutes -lm%:\n");
	run(["$build/db/newdb", '-f', "$dir/dbases.conf"])->{status} == 0 or die "newdb failed\n";
	for my $case (@disk, @system) {
		each_call('dbserve', $case, 3, sub ($env) {
			unlink "$dir/socket";
			my $pid = fork // die;
			if (!$pid) {
				@ENV{keys %$env} = values %$env;
				open STDERR, '>', "$dir/err";
				exec "$build/db/dbserve", '-f', "$dir/dbases.conf", '-L', "tcp:UNIX:$dir/socket" or POSIX::_exit(127);
			}
			my ($client, $answer, $status);
			until ($client || defined $status) {
				$client = IO::Socket::UNIX->new("$dir/socket");
				$status = $? if !$client && waitpid($pid, POSIX::WNOHANG()) == $pid;
				select undef, undef, undef, 0.01;
			}
			if ($client) {
				syswrite $client, "get ann\@d.test\n";
				$answer = readline $client;
				kill TERM => $pid;
				waitpid $pid, 0;
				$status = $?;
			}
			return (defined $answer && $answer =~ /^500/ ? "a wrong answer: $answer" : undef), ($status & 127 ? 'ended by signal ' . ($status & 127) : undef);
		});
	}
}

SKIP: {
	last if !$part{ldapsync};
	my $missing = RealSlapd::missing() // (-x "$build/db/ldapsync" ? undef : 'built without LDAP');
	skip $missing, 1 if defined $missing;
	my $slapd = RealSlapd->new(users => 20, aliases => 0);
	$slapd->start;
	my $sync = LdapSync->new($slapd);
	my $all = ($sync->once)[0] == 0 ? content_of($sync) : die "ldapsync does not work here\n";
	for my $case (some_of(3, @disk, @system, @writes[0 .. 4])) {
		each_call('ldapsync -1', $case, 3, sub ($env) {
			unlink glob $sync->{map} . '*' if rand() < 0.5;
			my $got = run(["$build/db/ldapsync", '-1', '-f', $sync->config], env => $env);
			my $now = content_of($sync);
			# libldap 2.5 and its libsasl do not survive a lack of memory, or take it for a fault of what they read; the map must
			my $library = $case->[0] eq 'malloc' && ($got->{status} == -6 || $got->{status} == -11 || $got->{err} =~ /: is no (?:distinguished name|filter)/);
			return ($library ? undef : ending($got, 0, @trouble)), ($got->{status} == 0 && $now ne $all ? 'not all is there' : undef),
				($now ne '' && $now ne $all ? 'a part is there' : undef), (($sync->once)[0] != 0 || content_of($sync) ne $all ? 'never put right' : undef);
		});
	}
}

# The first line tells how the map is made again, as far as its lock says so.
sub content_of($sync) { return join '', sort grep { !/^#/ } split /^/, run(["$build/db/dblookup", '--dump', $sync->{map}])->{out} }

done_testing;
