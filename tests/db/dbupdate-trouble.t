#!/usr/bin/perl
# dbupdate on bad days: full disks, limits, missing rights, I/O errors.  One line says what went wrong, the map stays
# whole, nothing is left behind, and a batch that was not acknowledged is there as a whole or not at all.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Errno ();
use LiveMap;
use Extent 'long';
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);
use Tool;

my @ways = (qw(generations environment), slurp("$ENV{BUILD_DIR}/config.h") =~ /HAVE_LMDB 1/ ? 'lmdb' : ());
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
chmod 0755, scratch();
my $count = 0;

sub begin($way, $dir = scratch('map' . ++$count)) { return LiveMap->new($dir, $way, 120, 10) }

sub update($m, $words, %how) { return run([$m->command($m->{base}, @$words)], %how) }

# Files of the map that should not be there.
sub litter($m) {
	opendir my $d, $m->{dir} or die;
	return join ' ', grep { !/^(?:\.\.?|map|map\..*|env|sleepyenv\.conf|changes)$/ } readdir $d;
}

# What is wrong with the content, if the batch @open was not acknowledged; '' if nothing is.
sub defect($m, @open) {
	my ($there, $why) = $m->dump;
	return $there ? $m->compare($there, { changes => \@open }) : "could not tell: $why";
}

sub changes($m, $n) {
	my @changes = map { (["pair$_-a", $n], ["pair$_-b", $n]) } 1 .. 10;
	$m->put("$m->{dir}/changes", join '', map { "+$_->[0]\t$_->[1]\n" } @changes);
	return @changes;
}

# A large batch, which a small disk or limit has no room for.
sub many($m) {
	my @changes = map { ["new$_", 'x' x 200] } 1 .. 4000;
	$m->put("$m->{dir}/changes", join '', map { "+$_->[0]\t$_->[1]\n" } @changes);
	return @changes;
}

sub recovers($m, $what) {
	my ($status, $said) = $m->dbupdate('set', 'afterwards', 1);
	($status, $said) = $m->dbupdate('recover') if $status == 75;
	is $status, 0, "$what: afterwards it goes on" or diag $said;
	delete $m->{content}{afterwards};
	$m->dbupdate('delete', 'afterwards');
	($status, $said) = $m->dbupdate('check');
	is $status, 0, '... healthy' or diag $said;
}

# ---- file size limit ----

for my $way (@ways) {
	my $m = begin($way);
	$m->dbupdate('set', 'first', 1);
	$m->{content}{first} = 1;
	my @open = many($m);
	my $got = run(['/bin/sh', '-c', 'ulimit -f 200; exec "$@"', 'sh', $m->command($m->{base}, '-b', 100000, 'apply', "$m->{dir}/changes")]);
	is $got->{status}, 74, "$way: file size limit: exit 74";
	is $got->{out}, '', '... nothing is acknowledged';
	like $got->{err}, qr/\Adbupdate: [^\n]*(?:File too large|Input\/output error)[^\n]*\n\z/, '... one line gives the reason';
	recovers($m, $way);
	is defect($m, @open), '', '... all or nothing';
	is litter($m), '', '... and nothing is left behind';
}

# ---- a full disk ----

SKIP: {
	my $disk = scratch('disk');
	mkdir $disk;
	skip 'no right to mount a small disk', 1 if system("mount -t tmpfs -o size=4m none $disk 2>/dev/null") != 0;
	for my $way (@ways) {
		my $m = begin($way, "$disk/$way");
		$m->dbupdate('set', 'first', 1);
		$m->{content}{first} = 1;
		my @open = many($m);
		my $blocks = (split ' ', `df -k $disk | tail -1`)[3];
		system "dd if=/dev/zero of=$disk/filler bs=1k count=" . ($blocks - 400) . ' 2>/dev/null';
		my $got = update($m, ['-b', 100000, 'apply', "$m->{dir}/changes"]);
		isnt $got->{status}, 0, "$way: a full disk";
		is $got->{out}, '', '... nothing is acknowledged';
		like $got->{err}, qr/\Adbupdate: [^\n]*(?:No space left on device|killed by signal 7)[^\n]*\n\z/, '... one line gives the reason';
		unlike $got->{err}, qr/0x[0-9a-f]{4}/, '... without addresses in memory';
		unlink "$disk/filler";
		recovers($m, $way);
		is defect($m, @open), '', '... all or nothing';
		is litter($m), '', '... and nothing is left behind';
		system 'rm', '-rf', "$disk/$way";
	}
	system 'umount', $disk;
}

# ---- rights ----

my $nobody = getpwnam 'nobody';
my %as_nobody = (before => sub { $) = "65534 65534"; $( = 65534; $< = $> = $nobody; });
SKIP: {
	skip 'needs root and a user nobody', 1 if $> != 0 || !defined $nobody;
	my $program = scratch('dbupdate');
	system('cp', tool('dbupdate'), $program) == 0 or die;
	chmod 0755, $program;
	for my $way (@ways) {
		my $m = begin($way);
		$m->dbupdate('set', 'first', 1);
		$m->{content}{first} = 1;
		my (undef, @words) = $m->command($m->{base}, 'set', 'a', 'b');
		my $got = run([$program, @words], %as_nobody);
		is $got->{status}, 77, "$way: somebody without rights";
		like $got->{err}, qr/\Adbupdate: [^\n]*ermission denied[^\n]*\n\z/, '... is told so in one line';
		is defect($m), '', '... and changes nothing';

		system 'chown', '-R', 'nobody', $m->{dir};
		$got = run([$program, @words], %as_nobody);
		is $got->{status}, 0, '... the owner may' or diag $got->{err};
		$m->{content}{a} = 'b';
		chmod 0555, $m->{dir};
		$got = run([$program, @words], %as_nobody);
		is $got->{status}, $way eq 'generations' ? 73 : 0, '... in a directory without write permission only what needs no new file' or diag $got->{err};
		chmod 0755, $m->{dir};
		$got = update($m, ['set', 'a', 'c']);
		is $got->{status}, 77, '... root does not write where others can put something in the way' or diag $got->{err};
		like $got->{err}, qr/as that user/, '... and says what to do';
		system 'chown', '-R', 'root', $m->{dir};
		is defect($m), '', '... nothing was changed';
	}
}

# ---- dbupdate is killed while its child hangs ----

my $library = preload("$ENV{SRC_DIR}/tests/db/failio.c");

# A library that loops in its call number $n of $call, and no parent any more.  Returns the process that hangs.
sub hang($m, $call, $n) {
	my $happened = scratch('hangs' . ++$count);
	my $pid = fork // die $!;
	if (!$pid) {
		open STDERR, '>', '/dev/null';
		@ENV{qw(LD_PRELOAD FAIL_CALL FAIL_COUNT)} = ($library, "$call:$n:0", $happened);
		exec $m->command($m->{base}, 'set', 'never', 1) or POSIX::_exit(127);
	}
	for (my $end = time + 20; !-e $happened && time < $end;) {
		sleep 0.01;
	}
	my ($child) = $m->children($pid);
	kill KILL => $pid;
	waitpid $pid, 0;
	return $child;
}

SKIP: {
	skip 'preloading does not go with sanitizers', 1 if $ENV{ZLMTP_SANITIZED};
	skip 'no compiler', 1 if !defined $library;
	my @maps = map { begin($_) } @ways;
	$_->dbupdate('set', 'first', 1) for @maps;
	my %child = map { $_->{way} => hang($_, 'pwrite', 1) } @maps;
	my $killed = time;
	for my $m (grep { !$_->{config} } @maps) {
		local $m->{wait} = 20;
		my ($status, $said) = $m->dbupdate('set', 'first', 2);
		is $status, 0, "$m->{way}: the child of a killed dbupdate that hangs gives up the lock" or diag $said;
		cmp_ok time - $killed, '<', 15, '... within 5 s, and some for a busy machine';
		$m->{content}{first} = 2;
		is defect($m), '', '... what it was at is not there';
	}
	for my $m (grep { $_->{config} } @maps) {
		my ($status, $said) = $m->dbupdate('set', 'first', 2);
		is $status, 75, "$m->{way}: within an environment it is left alone, with its lock";
		like $said, qr/locked by $child{$m->{way}} /, '... and is named';
		ok kill(KILL => $child{$m->{way}}), '... it was still there';
	}
}

# ---- every call that can fail, once ----

SKIP: {
	skip 'preloading does not go with sanitizers', 1 if $ENV{ZLMTP_SANITIZED};
	skip 'no compiler', 1 if !defined $library;
	# each call in turn for a batch; for what else there is some of them, all with ZLMTP_LONG=1
	my $step = long() ? 1 : 19;
	for my $way (@ways) {
		my $m = begin($way);
		$m->dbupdate('set', 'first', 1);
		$m->{content}{first} = 1;
		for my $case (['pwrite', 'ENOSPC'], ['pwrite', 'EIO'], ['write', 'EIO'], ['fsync', 'EIO'], ['rename', 'EIO'], ['pread', 'EIO'], ['read', 'EIO']) {
			fail_each($m, $library, 'apply', long() ? 1 : 6, @$case);
			fail_each($m, $library, 'replace', $step, @$case);
			fail_each($m, $library, 'recover', $step, @$case) if $m->{config};
		}
	}
}

# ---- a sync that failed, and then the power goes ----

# What the system could not write it shows from memory, and the next sync says nothing of it: the disk has the pages of before,
# and those that were written later.
sub on_disk($before, $failed, $now) {
	my $disk = '';
	for (my $at = 0; $at < length $now; $at += 4096) {
		my ($old, $lost, $page) = map { $at < length ? substr $_, $at, 4096 : '' } $before, $failed, $now;
		$disk .= $page ne $lost ? $page : $old ne '' ? $old : "\0" x 4096;
	}
	return $disk;
}

SKIP: {
	skip 'preloading does not go with sanitizers', 1 if $ENV{ZLMTP_SANITIZED};
	my $library = preload("$ENV{SRC_DIR}/tests/db/failio.c") // skip 'no compiler', 1;
	# what is changed first is not on the pages that are written later
	my $m = LiveMap->new(scratch('powered'), 'environment', 2000, 10);
	for my $n (1 .. 9) {
		subtest "sync $n fails, and later the power goes" => sub {
			is +($m->dbupdate('set', '0first', $n))[0], 0, 'a map on the disk';
			$m->{content}{'0first'} = $n;
			my $inode = (stat $m->{file})[1];
			my $before = slurp($m->{file});
			my %wanted = (%{$m->{content}}, map { @$_ } changes($m, "round$n"));
			$m->put("$m->{dir}/changes", join '', map { "$_ $wanted{$_}\n" } sort keys %wanted);
			unlink scratch('happened');
			my $got = update($m, ['replace', "$m->{dir}/changes"], env => { LD_PRELOAD => $library, FAIL_CALL => "fsync:$n:" . Errno::EIO,
				FAIL_COUNT => scratch('happened') });
			# what is synced behind the acknowledgement is on the disk already
			my $failed = $got->{status} == 0 ? $before : slurp($m->{file});
			# by others, until one says that it is there
			for (1 .. 3) {
				last if $got->{status} == 0;
				like $got->{err}, qr/\Adbupdate: [^\n]*\n\z/, 'it says so';
				$m->dbupdate($n == 3 ? '--adopt' : (), 'recover') if $got->{status} == 75;
				$got = update($m, ['replace', "$m->{dir}/changes"]);
			}
			is $got->{status}, 0, 'the changes are acknowledged' or diag $got->{err};
			is +($m->dbupdate('set', '0second', $n))[0], 0, '... and another one';
			$m->{content} = { %wanted, '0second' => $n };
			my $now = slurp($m->{file});
			unlink glob "$m->{dir}/env/__db.*";
			$m->put($m->{file}, on_disk($before, $failed, $now)) if (stat $m->{file})[1] == $inode;
			my ($status, $said) = $m->dbupdate('set', '0second', $n);
			is $status, 0, 'the power goes, and it goes on' or diag $said;
			is defect($m), '', '... with what was acknowledged';
			($status, $said) = $m->dbupdate('check');
			is $status, 0, '... healthy' or diag $said;
			$m->dbupdate('recover') if $status;
		};
		last if !-e scratch('happened');
	}
	ok !-e scratch('happened'), 'each sync has failed once';
}

# ---- a batch that came whole into the journal, and was not synced there ----

SKIP: {
	skip 'preloading does not go with sanitizers', 1 if $ENV{ZLMTP_SANITIZED};
	my $library = preload("$ENV{SRC_DIR}/tests/db/failio.c") // skip 'no compiler', 1;
	my $m = begin('environment');
	$m->dbupdate('set', 'first', 1);
	$m->{content}{first} = 1;
	my $journal = "$m->{file}.journal";
	my $size = -s $journal;
	my @open = changes($m, 'whole');
	update($m, ['apply', "$m->{dir}/changes"], env => { LD_PRELOAD => $library, FAIL_CALL => 'fsync:2:-9' });
	cmp_ok -s $journal, '>', $size, 'killed before the journal is synced: the batch is there';
	update($m, ['set', 'second', 2], env => { LD_PRELOAD => $library, FAIL_CALL => 'fsync:1:-9' });
	is run(["$ENV{BUILD_DIR}/db/dblookup", '-t', $m->{type}, '-C', $m->{sleepyenv}, $m->{base}, 'pair1-a'])->{out}, "0\n",
		'the next one syncs the journal before it changes the map by it';
	my ($status, $said) = $m->dbupdate('set', 'third', 3);
	is $status, 0, '... as does the one behind it' or diag $said;
	LiveMap::_apply($m->{content}, [@open, ['third', 3]]);
	is defect($m), '', '... which makes the batch';
}

# Lets calls of one kind fail, the first, then that after the next $step - 1 ...; in an environment, recovery has a damaged map to heal.
sub fail_each($m, $library, $command, $step, $call, $error) {
	state $round = 0;
	my $errno = { ENOSPC => Errno::ENOSPC, EIO => Errno::EIO }->{$error};
	my ($n, @bad) = 1;
	for (; $n < 200; $n += $step) {
		my @open = $command eq 'recover' ? () : changes($m, ++$round);
		if ($command eq 'replace') {
			my %wanted = (%{$m->{content}}, map { @$_ } @open);
			$m->put("$m->{dir}/changes", join '', map { "$_ $wanted{$_}\n" } sort keys %wanted);
		}
		$m->damage if $command eq 'recover';
		unlink scratch('happened');
		my $got = update($m, [$command, $command eq 'recover' ? () : "$m->{dir}/changes"], env => { LD_PRELOAD => $library,
			FAIL_CALL => "$call:$n:$errno", FAIL_COUNT => scratch('happened') });
		my $happened = -e scratch('happened');
		my $acked = $command eq 'apply' ? $got->{out} eq "ok 20\n" : $got->{status} == 0;
		push @bad, "$n: exit $got->{status}, $got->{out}$got->{err}" if ($got->{status} == 0) != $acked
			|| ($got->{status} && $got->{err} !~ /\A(?:dbupdate: [^\n]*\n)+\z/);
		my ($status, $said) = $m->dbupdate('set', 'next', ++$round);
		($status, $said) = $m->dbupdate('recover') if $status == 75;
		push @bad, "$n: the next: exit $status: $said" if $status;
		LiveMap::_apply($m->{content}, \@open) if $acked;
		my ($there, $why) = $m->dump;
		delete $there->{next} if $there;
		my $defect = $there ? $m->compare($there, { changes => \@open }) : $why;
		push @bad, "$n: $defect" if $defect;
		push @bad, "$n: left behind: " . litter($m) if litter($m);
		last if !$happened;
	}
	is_deeply \@bad, [], "$m->{way}: $command: $error at calls of $call up to number $n";
	$m->dbupdate('recover');
}

done_testing;
