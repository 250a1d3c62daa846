#!/usr/bin/perl
# Damaged maps, odd files in place of real ones, and faults that are none of the map's: what is damaged is never made the truth
# by a change, what cannot be told is never called damaged, and nothing hangs.  ZLMTP_SOAK=1: hundreds of damaged files.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Fcntl;
use File::Copy ();
use IPC::Open3 qw(open3);
use POSIX qw(mkfifo);
use Test::More;
use Extent qw(long some_of);
use Tool;

my $db = "$ENV{BUILD_DIR}/db";
my $lmdb = slurp("$ENV{BUILD_DIR}/config.h") =~ /HAVE_LMDB 1/;
my %suffix = (btree => 'db', bhash => 'dbh', $lmdb ? (lmdb => 'lmdb') : ());
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
chmod 0755, scratch();
my $count = 0;

# A map of 40 records and what is in it.
sub build($type, $dir = scratch('d' . ++$count)) {
	mkdir $dir;
	put("$dir/map", join '', map { "key$_ value$_\n" } 1 .. 40);
	is run(["$db/newdb", '-s', '-t', $type, "$dir/map"])->{status}, 0, "$type: built";
	return "$dir/map";
}

sub put($path, $text) {
	open my $f, '>', $path or die "$path: $!";
	print $f $text;
	close $f or die;
}

sub flip($path, $at, $bit = 1) {
	open my $f, '+<', $path or die;
	seek $f, $at, 0;
	read $f, my $byte, 1;
	seek $f, $at, 0;
	print $f chr(ord($byte) ^ $bit);
	close $f or die;
}

sub unseal($path) {
	my $bytes = slurp($path);
	$bytes =~ s/\367(?=zlmtp stamp 1 check=)/-/g;
	put($path, $bytes);
}

sub quick($command, %how) { return run($command, limit => 20, %how) }
sub look($type, $base, $key, @more) { return quick(["$db/dblookup", '-t', $type, @more, $base, $key]) }
sub update($type, $base, @words) { return quick(["$db/dbupdate", '-w', 20, '-t', $type, $base, @words]) }

# A lock on every byte of a file, until the process that is returned is killed.
sub lock_all($path) {
	pipe my $held, my $said or die;
	my $pid = fork // die;
	if ($pid == 0) {
		open my $f, '+<', $path or POSIX::_exit(1);
		my $lock = pack 's s x4 q q l x4', F_WRLCK, 0, 0, 0, 0;
		fcntl($f, F_SETLK, $lock) or POSIX::_exit(2);
		syswrite $said, 'x';
		sleep 1 while 1;
	}
	close $said;
	is sysread($held, my $byte, 1), 1, '... it is locked by another process';
	return $pid;
}

sub environment($dir) {
	mkdir "$dir/env";
	put("$dir/env.conf", "envhome=$dir/env\nenvmode=600\nenvflags=CDB,CREATE\n");
	return ('-C', "$dir/env.conf");
}

# ---- a damaged map is not sealed anew ----

for my $type (sort keys %suffix) {
	my $base = build($type);
	my $file = "$base.$suffix{$type}";
	my $whole = slurp($file);
	my (@laundered, @called_healthy, @wrong, @damaged);
	my $tries = $ENV{ZLMTP_SOAK} ? 200 : long() ? 8 : 4;
	for my $n (0 .. $tries - 1) {
		# the first ones hit a record
		my $at = $n < 3 ? index($whole, 'value' . (17 + $n)) + 5 : int(length($whole) * ($n * 2 + 1) / (2 * $tries));
		put($file, $whole);
		unlink "$file.lock", "$file-lock", glob "$file.damaged*";
		flip($file, $at);
		push @damaged, my $damaged = slurp($file);
		push @wrong, $at if look($type, $base, 'key17')->{status} != 75;
		my $got = update($type, $base, 'set', 'another', 'one');
		push @laundered, "$at: exit $got->{status}" if $got->{status} == 0 || slurp($file) ne $damaged;
		$got = update($type, $base, 'check');
		push @called_healthy, "$at: exit $got->{status}" if $got->{status} != 2;
	}
	is "@wrong", '', "$type: no lookup believes a damaged map";
	is "@laundered", '', '... no change seals it anew';
	is "@called_healthy", '', '... check says damaged';
	my $got = update($type, $base, 'delete', 'nobody');
	is $got->{status}, 65, '... not even the question whether a key is there is answered';
	like $got->{err}, qr/\Adbupdate: [^\n]+recover[^\n]*\n\z|\Adbupdate: [^\n]+damaged[^\n]*\n\z/, '... in one line';
	is update($type, $base, 'recover')->{status}, 65, '... recover puts it aside';
	ok -e "$file.damaged" && !-e $file, '... under a name of its own';
	is update($type, $base, 'replace', $base)->{status}, 0, '... and its text makes it again';
	is look($type, $base, 'key17')->{out}, "value17\n", '... as it was';
	my $first = slurp("$file.damaged");
	put($file, $damaged[1]);
	is update($type, $base, 'recover')->{status}, 65, '... damaged again, recover puts it aside, too';
	ok slurp("$file.damaged") eq $first, '... not in the place of the first one';
	ok slurp("$file.damaged.2") eq $damaged[1], '... but under a name with a number';
}

# A byte of the seal itself: there is still one, and it proves that the map is not as it was built.
for my $type (sort keys %suffix) {
	my $base = build($type);
	my $file = "$base.$suffix{$type}";
	my $whole = slurp($file);
	my $seal = index $whole, "\367zlmtp stamp 1 check=";
	my @believed;
	# of the first byte the two highest bits stay: text of a map could look like a seal without them
	for my $at (some_of(12, map { [$_, $_ % 7] } 0 .. 36), [0, 5], [1, 7], [36, 6]) {
		next if $at->[0] == 0 && $at->[1] > 5;
		put($file, $whole);
		flip($file, $seal + $at->[0], 1 << $at->[1]);
		my $got = look($type, $base, 'key17');
		push @believed, "$at->[0]: $got->{status}" if $got->{status} != 75;
	}
	is "@believed", '', "$type: a map with a damaged seal is not one without";
	put("$base.2", "key\xc2\xb7zlmtp value\xc2\xb7zlmtp stamp 1 check=0123456789abcdef\n");
	is quick(["$db/newdb", '-s', '-t', $type, "$base.2"])->{status}, 0, '... text may look like one';
	unseal("$base.2.$suffix{$type}");
	is look($type, "$base.2", "key\xc2\xb7zlmtp")->{status}, 0, '... also where no seal is';
}

# A map without a seal, as a live one of LMDB is, and damage that takes the seal along.
for my $type (sort keys %suffix) {
	my $base = build($type);
	my $file = "$base.$suffix{$type}";
	is update($type, $base, 'set', 'live', 'yes')->{status}, 0, "$type: a map is changed";
	my $live = slurp($file);
	# all pages with a value, as one may be of the past
	my sub fill_pages($byte) {
		my @places;
		push @places, $-[0] & ~4095 while $live =~ /value17/g;
		substr $live, $_, 4096, $byte x 4096 for @places;
	}
	my %damage = (
		'a page of zeros' => sub { fill_pages("\0") },
		'a page of other bytes' => sub { fill_pages("\x5a") },
		'a value, and all of the seal' => sub {
			$live =~ s/value17/valuex7/g;
			$live =~ s/[\367-](?=zlmtp stamp 1 check=)/y/g;
			$live =~ s/(?<=yzlm)tp stamp 1 check=[0-9a-f]{16}/"z" x 34/ge;
		},
	);
	for my $what (sort keys %damage) {
		my $whole = $live;
		$damage{$what}->();
		put($file, $live);
		is update($type, $base, 'check')->{status}, 2, "... $what: check says damaged";
		is look($type, $base, 'live')->{status}, 75, '... a lookup could not tell';
		is update($type, $base, 'set', 'another', 'one')->{status}, 65, '... and no change is taken';
		is update($type, $base, 'delete', 'live')->{status}, 65, '... nor a removal';
		ok slurp($file) eq $live, '... the file stays as it is';
		$live = $whole;
	}
	put($file, $live);
	is update($type, $base, 'set', 'another', 'one')->{status}, 0, '... as it was, it is changed';
}

for my $type (qw(btree bhash)) {
	my $base = build($type);
	my @env = environment($base =~ s{/map$}{}r);
	my $file = "$base.$suffix{$type}";
	flip($file, index(slurp($file), 'value17') + 5);
	is look($type, $base, 'key17', @env)->{status}, 75, "$type: the first reader of an environment asks for the seal";
	my $got = quick(["$db/dbupdate", '-w', 20, '-t', $type, @env, $base, 'set', 'another', 'one']);
	is $got->{status}, 75, '... nobody takes the damage into a journal';
	ok !-e "$file.journal", '... there is none';
	is quick(["$db/dbupdate", '-w', 20, '-t', $type, @env, $base, 'check'])->{status}, 2, '... check says damaged';

	$base = build($type);
	@env = environment($base =~ s{/map$}{}r);
	is quick(["$db/dbupdate", '-t', $type, @env, $base, 'set', 'another', 'one'])->{status}, 0, "$type: a sound map is changed";
	unlink glob "$base =~ s{/map\$}{}r/env/__db.*";
	is look($type, $base, 'another', @env)->{out}, "one\n", '... and read by the first one after that';
	is quick(["$db/dbupdate", '-t', $type, @env, $base, 'check'])->{status}, 0, '... it is healthy';
}

# ---- what is no fault of the map ----

for my $type (sort keys %suffix) {
	my $base = build($type);
	my $file = "$base.$suffix{$type}";
	unseal($file);
	my $got = run(['/bin/sh', '-c', 'ulimit -v 25000; exec "$@"', 'sh', "$db/dbupdate", '-w', 20, '-t', $type, $base, 'check']);
	ok $got->{status} != 2, "$type: too little memory is no damage" or diag $got->{out}, $got->{err};
	$got = quick(["$db/dbupdate", '-t', $type, $base, 'check'], );
	is $got->{status}, 0, '... with enough of it the map is healthy' or diag $got->{out}, $got->{err};
	$got = run(['/bin/sh', '-c', 'exec "$@" 0<&- 1>&- 2>&-', 'sh', "$db/dbupdate", '-t', $type, $base, 'recover']);
	ok -e $file && !-e "$file.damaged", "$type: recover with closed descriptors leaves it where it is";
	run(['/bin/sh', '-c', 'exec "$@" 0<&- 1>&- 2>&-', 'sh', "$db/dbupdate", '-t', $type, $base, 'delete', 'nobody']);
	is -s "$file.lock", 0, '... and nothing is written into its lock file';
	SKIP: {
		skip 'not root', 2 if $> != 0;
		chmod 0600, $file, "$file.lock";
		$got = run(['setpriv', '--reuid=65534', '--clear-groups', "$db/dbupdate", '-t', $type, $base, 'check']);
		is $got->{status}, 3, "$type: what may not be read is not called damaged";
		run(['setpriv', '--reuid=65534', '--clear-groups', "$db/dbupdate", '-t', $type, $base, 'recover']);
		ok -e $file && !-e "$file.damaged", '... nor put aside';
	}
}

SKIP: {
	skip 'no LMDB', 20 if !$lmdb;
	my $base = build('lmdb');
	my $file = "$base.lmdb";
	is update('lmdb', $base, 'set', 'key0', 'zero')->{status}, 0, 'an LMDB map is changed in place';
	is +(stat "$file-lock")[2] & 0777, 0600, '... its lock file is for its owner';
	my $pid = lock_all("$file-lock");
	my $got = look('lmdb', $base, 'key0');
	is $got->{status}, 75, '... who holds its lock keeps a lookup for some seconds, which then could not tell';
	like $got->{err}, qr/locked for 5 s by process $pid\b/, '... and says why';
	$got = quick(["$db/dbupdate", '-w', 2, '-t', 'lmdb', $base, 'set', 'key0', 'one']);
	is $got->{status}, 75, '... a change no longer than -w says';
	like $got->{err}, qr/its lock file \S+ is locked for \d+ s by process $pid\b/, '... and who has it';
	# what dbupdate keeps beside a map would be the reason
	rename "$file.lock", "$file.aside";
	like run(["$db/newdb", '-t', 'lmdb', $base])->{err}, qr/: process $pid has this map open [^\n]*; stop it first, or use "dbupdate replace"(?:;|\n)/,
		'... so does newdb';
	rename "$file.aside", "$file.lock";
	kill 'KILL', $pid;
	waitpid $pid, 0;
	is update('lmdb', $base, 'set', 'key0', 'one')->{status}, 0, '... afterwards it goes on';
	SKIP: {
		skip 'not root', 1 if $> != 0;
		$got = run(['setpriv', '--reuid=65534', '--clear-groups', "$db/dblookup", '-t', 'lmdb', $base, 'key0']);
		is $got->{out}, "one\n", '... others read it without the lock file';
	}
	unlink "$file-lock";
	mkdir "$file-lock";
	is update('lmdb', $base, 'check')->{status}, 3, 'a directory in place of its lock file is no damage';
	is update('lmdb', $base, 'recover')->{status}, 75, '... recover could not tell';
	ok -e $file, '... the map stays';
	rmdir "$file-lock";
	my $victim = scratch('victim');
	put($victim, 'x' x 10000);
	symlink $victim, "$file-lock";
	is look('lmdb', $base, 'key0')->{status}, 75, 'a link in place of its lock file is refused';
	is update('lmdb', $base, 'check')->{status}, 3, '... by check, too';
	is update('lmdb', $base, 'set', 'key0', 'two')->{status}, 77, '... and by changes';
	is slurp($victim), 'x' x 10000, '... and what it leads to stays as it was';
}

# A program that has an LMDB map open, and what it finds; until its input ends.
sub asker($base) {
	# with -v the answer stands in standard error
	my $pid = open3(my $in, my $out, undef, "$db/dblookup", '-t', 'lmdb', '-v', $base, '-');
	return sub ($key) { syswrite $in, "$key\n"; return <$out> =~ s/^.*: //sr };
}

# LMDB's lock file belongs to the name, and stays while anybody has it open
SKIP: {
	skip 'no LMDB', 1 if !$lmdb;
	for my $way (qw(moved written)) {
		for my $case ([1, 1], [2, 1], [1, 2], [2, 4]) {
			my ($before, $after) = @$case;
			my $base = build('lmdb');
			my $name = "an older copy is $way to where a map is that others have open ($before, $after)";
			update('lmdb', $base, 'set', 'key1', "old$_") for 1 .. $before;
			File::Copy::copy("$base.lmdb", "$base.copy") or die;
			update('lmdb', $base, 'set', 'key1', "new$_") for 1 .. $after;
			my $asker = asker($base);
			is $asker->('key1'), "new$after\n", $name;
			$way eq 'moved' ? rename "$base.copy", "$base.lmdb" : File::Copy::copy("$base.copy", "$base.lmdb") or die;
			is look('lmdb', $base, 'key1')->{out}, "old$before\n", '... its last change counts';
			is update('lmdb', $base, 'set', "more$_", $_)->{status}, 0, '... it is changed' for 1, 2;
			is look('lmdb', $base, $_->[0])->{out}, "$_->[1]\n", '... and has what it should' for ['key1', "old$before"], ['more1', 1], ['more2', 2];
			is update('lmdb', $base, 'check')->{status}, 0, '... and is healthy';
			is $asker->('key1'), "new$after\n", '... who has the other one open is not led astray' if $way eq 'moved';
		}
	}
	for my $way (qw(symbolic hard)) {
		my $base = build('lmdb');
		update('lmdb', $base, 'set', 'key1', 'zero');
		$way eq 'hard' ? link "$base.lmdb", "$base.other.lmdb" : symlink "$base.lmdb", "$base.other.lmdb" or die;
		my $asker = asker("$base.other");
		my @said = ($asker->('key1'), map { update('lmdb', $base, 'set', 'key1', $_); $asker->('key1') } 1 .. 4);
		is_deeply \@said, [map { "$_\n" } 'zero', 1 .. 4], "a map that is read through a $way link: each change is seen";
		ok !-e "$base.other.lmdb-lock", '... and no lock file made for the link';
	}
}

# A link leads writers to another name, with another lock, or is replaced itself.
for my $type (sort keys %suffix) {
	my $base = build($type);
	my $file = "$base.$suffix{$type}";
	rename $file, "$base.real.$suffix{$type}" or die;
	symlink "$base.real.$suffix{$type}", $file or die;
	put("$base.txt", "a b\n");
	for my $words (['set', 'key1', 'x'], ['replace', "$base.txt"], ['recover']) {
		my $got = update($type, $base, @$words);
		is $got->{status}, 73, "$type: a map that is a symbolic link: dbupdate $words->[0] refuses";
		like $got->{err}, qr/^dbupdate: \Q$file\E: is a symbolic link; name the map that it leads to\n\z/, '... in one line';
	}
	my $got = run(["$db/newdb", '-s', '-t', $type, $base]);
	is $got->{status}, 73, '... so does newdb';
	like $got->{err}, qr/is a symbolic link; name the map that it leads to/, '... in words';
	ok -l $file, '... the link stays';
	is look($type, $base, 'key1')->{out}, "value1\n", '... and can be read through';
	unlink "$base.real.$suffix{$type}";
	$got = update($type, $base, 'replace', "$base.txt");
	is $got->{status}, 73, '... one that leads nowhere is refused, too' or diag $got->{err};
}

# ---- odd files in place of real ones ----

for my $type (sort keys %suffix) {
	for my $odd (qw(fifo zero directory)) {
		my $base = build($type);
		my $file = "$base.$suffix{$type}";
		unlink $file;
		$odd eq 'fifo' ? mkfifo($file, 0600) : $odd eq 'zero' ? symlink('/dev/zero', $file) : mkdir $file;
		is look($type, $base, 'key1')->{status}, 75, "$type: $odd in place of the map: a lookup could not tell";
		my $got = update($type, $base, 'set', 'a', 'b');
		ok $got->{status} > 0 && $got->{status} < 100, "... a change is refused" or diag $got->{status};
		is update($type, $base, 'check')->{status}, 3, '... check could not tell';
		update($type, $base, 'recover');
		ok !-e "$file.damaged", '... and recover leaves it alone';
	}
}

# A file that seems to be very large: it is not read to its end, whatever its first bytes are.
for my $type (sort keys %suffix) {
	for my $head ('none', 'its own', 'its own, unsealed') {
		my $base = build($type);
		my $file = "$base.$suffix{$type}";
		unseal($file) if $head =~ /unsealed/;
		truncate $file, 0 or die if $head eq 'none';
		my $bytes = slurp($file);
		truncate $file, 1 << 42 or die "$file: $!";
		my $got = look($type, $base, 'key17');
		# a program that maps LMDB's file for writing makes it as large as it may become
		my $may_be = $type eq 'lmdb' && $head =~ /unsealed/;
		is $got->{status}, $may_be ? 0 : 75, "$type: 4 TB of nothing, its head $head: a lookup could not tell, at once" or diag $got->{err};
		my $size = -s $file;
		$got = update($type, $base, 'check');
		is $got->{status}, $may_be ? 0 : 2, '... so does check' or diag $got->{out};
		$got = update($type, $base, 'set', 'a', 'b');
		is $got->{status}, $may_be ? 0 : 65, '... no change is taken' or diag $got->{err};
		ok -s $file >= $size, '... it is not made smaller';
		unlink $file;
	}
}

{
	my $text = scratch('huge');
	put($text, "key value\n");
	truncate $text, 1 << 42 or die;
	# a sanitizer takes address space of its own
	my $little_memory = $ENV{ZLMTP_SANITIZED} ? '' : 'ulimit -v 8000000; ';
	for my $command (["$db/newdb", '-s', $text], ["$db/newdb", '-s', '-t', 'bhash', scratch('of-input'), '-'],
		["$db/dblookup", '-t', 'unordered', $text, 'key'], ["$db/dbupdate", $text, 'replace']) {
		my $got = run(['/bin/sh', '-c', $little_memory . 'exec timeout 20 "$@" <"$0"', $text, @$command]);
		ok $got->{status} >= 65 && $got->{status} < 80, "a text of 4 TB is refused at once: @$command[0, 1]" or diag $got->{status};
		like $got->{err}, qr/\A[^\n]*(?:File too large|NUL)[^\n]*\n\z/, '... in one line';
	}
}

for my $odd (qw(fifo zero directory)) {
	my $base = build('btree');
	my @env = environment($base =~ s{/map$}{}r);
	is update('btree', @env, $base, 'set', 'a', 'b')->{status}, 0, 'an environment in use';
	unlink "$base.db";
	$odd eq 'fifo' ? mkfifo("$base.db", 0600) : $odd eq 'zero' ? symlink('/dev/zero', "$base.db") : mkdir "$base.db";
	my $got = update('btree', @env, $base, 'check');
	is $got->{status}, 3, "... $odd in place of its map: check could not tell";
	like $got->{out}, qr/\Acould not tell: [^\n]*(?:regular file|directory)/, '... and says why';
	is update('btree', @env, $base, 'set', 'a', 'c')->{status}, $odd eq 'zero' ? 73 : 77, '... a change is refused, and nobody is left waiting within';
}

{
	my $base = build('btree');
	my @env = environment($base =~ s{/map$}{}r);
	is update('btree', @env, $base, 'set', 'a', 'b')->{status}, 0, 'an environment in use';
	truncate "$base.db.journal", 1 << 42 or die;
	my $got = update('btree', @env, $base, 'set', 'a', 'c');
	is $got->{status}, 74, '... a journal of 4 TB is not read into memory';
	like $got->{err}, qr/\A[^\n]*journal: [^\n]*File too large\n\z/, '... as is said';
	is update('btree', @env, $base, 'check')->{status}, 3, '... check could not tell';

	$base = build('btree');
	@env = environment($base =~ s{/map$}{}r);
	is update('btree', @env, $base, 'set', 'a', 'b')->{status}, 0, 'another one';
	my ($region) = glob $base =~ s{/map$}{}r . '/env/__db.001';
	unlink $region;
	mkfifo($region, 0600);
	for my $command (["$db/dblookup", @env, $base, 'a'], ["$db/dbupdate", '-w', 20, @env, $base, 'set', 'a', 'c']) {
		my $got = quick($command);
		is $got->{status}, 75, '... a pipe in place of its region is not waited for';
		like $got->{err}, qr/__db\.001 is not a regular file/, '... as is said';
	}
	like update('btree', @env, $base, 'check')->{out}, qr/\Awedged: [^\n]*__db\.001 is not a regular file/, '... check says what recover can heal';
	is update('btree', @env, $base, 'recover')->{status}, 0, '... recover makes it again';
	is look('btree', $base, 'a', @env)->{out}, "b\n", '... as it was';
}

SKIP: {
	skip 'no SQLite', 1 if slurp("$ENV{BUILD_DIR}/config.h") !~ /HAVE_SQLITE 1/ || system('sqlite3 -version >/dev/null 2>&1') != 0;
	my $table = scratch('table');
	put(scratch('map.conf'), "dbpath = $table\nquery = SELECT v FROM t WHERE k = '%s'\n");
	put(scratch('sqlsync.conf'), "database = sqlite\ndbpath = $table\nquery = SELECT k, v FROM t\nmap = " . scratch('copied') . "\n");
	for my $suffix ('', '-journal', '-wal') {
		for my $odd (qw(fifo directory)) {
			system('rm', '-rf', glob "$table*");
			system("sqlite3 $table \"CREATE TABLE t (k, v); INSERT INTO t VALUES ('a', 'b')\"") == 0 or die "sqlite3\n";
			is look('sqlite', scratch('map.conf'), 'a')->{out}, "b\n", 'a SQLite map is asked';
			unlink "$table$suffix";
			$odd eq 'fifo' ? mkfifo("$table$suffix", 0600) : mkdir "$table$suffix";
			my $got = look('sqlite', scratch('map.conf'), 'a');
			ok $got->{status} == 75 || ($suffix ne '' && $got->{out} eq "b\n"), "... $odd as FILE$suffix: it could not tell, or tells what is there"
				or diag $got->{status}, $got->{err};
			$got = quick(["$db/sqlsync", '-1', '-f', scratch('sqlsync.conf')]);
			ok $got->{status} == 75 || ($suffix ne '' && $got->{status} == 0), '... so does sqlsync' or diag $got->{status}, $got->{err};
		}
	}
	system('rm', '-rf', glob "$table*");
}

# Files of TLS, which libraries open.
{
	my ($pipe, $settings) = (scratch('pipe'), slurp("$ENV{BUILD_DIR}/config.h"));
	mkfifo($pipe, 0600);
	put(scratch('ca.conf'), "tls-CAfile $pipe\n");
	put(scratch('cert.conf'), "tls-cert-file $pipe\n");
	put(scratch('sql.conf'), "hosts = 127.0.0.1\ndbname = x\nquery = SELECT v FROM t WHERE k = '%s'\ntls_cafile = $pipe\n");
	put(scratch('ldap.conf'), "server_host = ldaps://127.0.0.1\nsearch_base = o=x\nquery_filter = (mail=%s)\nresult_attribute = a\ntls_ca_cert_file = $pipe\n");
	my @agent = ("$ENV{BUILD_DIR}/channel/lmtp", '-c', 'lmtp', '-F', '[127.0.0.1]:1', '-S');
	for my $command ([@agent, scratch('ca.conf')], [@agent, scratch('cert.conf')],
		map { $settings =~ /HAVE_\U$_\E 1/ ? ["$db/dblookup", '-t', $_, scratch(/sql/ ? 'sql.conf' : 'ldap.conf'), 'key'] : () } qw(ldap pgsql mysql)) {
		my $got = quick($command);
		my $what = "@$command[1, 2] @{[$command->[-2] =~ s{.*/}{}r]}";
		is $got->{status}, 78, "a pipe in place of a file of TLS is not waited for: $what";
		like $got->{err}, qr/\A[^\n]*not a regular file[^\n]*\n\z/, '... as is said in one line';
	}
}

for my $what (qw(dbases.conf map env.conf env/zlmtp.maps router.conf)) {
	my $base = build('btree');
	my $dir = $base =~ s{/map$}{}r;
	my @env = environment($dir);
	put("$dir/dbases.conf", "test btree - - $base -l\n") if $what !~ /^env/;
	unlink "$dir/$what";
	mkfifo("$dir/$what", 0600);
	my @command = $what =~ /^env/ ? ("$db/dbupdate", '-w', 20, @env, $base, 'set', 'a', 'b')
		: $what eq 'map' ? ("$db/newdb", $base) : ("$db/dblookup", '-f', "$dir/dbases.conf", '-r', 'a@b.example');
	my $got = quick(\@command);
	ok $got->{status} > 0 && $got->{status} < 100, "a FIFO in place of $what is refused at once" or diag $got->{status};
	like $got->{err}, qr/\Q$what\E: not a regular file/, '... in so many words' or diag $got->{err};
}

for my $way (['btree', 0], ['bhash', 1]) {
	my ($type, $live) = @$way;
	my $base = build($type);
	my @env = $live ? environment($base =~ s{/map$}{}r) : ();
	my $victim = scratch("victim$type");
	put($victim, 'precious');
	unlink "$base.$suffix{$type}.lock";
	symlink $victim, "$base.$suffix{$type}.lock";
	my $got = quick(["$db/dbupdate", '-t', $type, @env, $base, 'set', 'a', 'b']);
	ok $got->{status} != 0, "$type: a link in place of the lock file is refused";
	is slurp($victim), 'precious', '... what it leads to stays as it was';
}

# ---- what cannot be looked at is not absent ----

sub circle($path) { unlink $path; symlink $path, $path or die "$path: $!" }

for my $type (qw(btree bhash)) {
	my $base = build($type);
	my $file = "$base.$suffix{$type}";
	my $whole = slurp($file);
	circle("$file.journal");
	my $got = update($type, $base, 'set', 'a', 'b');
	ok $got->{status} != 0, "$type: a journal that cannot be looked at may be there: no change without -C" or diag $got->{err};
	like $got->{err}, qr/\A[^\n]*journal[^\n]*symbolic links[^\n]*\n\z/, '... in one line';
	ok slurp($file) eq $whole, '... the map stays';
	is update($type, $base, 'check')->{status}, 3, '... check could not tell';
	unlink "$file.lock";
	$got = run(["$db/newdb", '-t', $type, $base]);
	is $got->{status}, 73, '... newdb does not build over it';
	like $got->{err}, qr/\A[^\n]*journal: [^\n]*symbolic links[^\n]*\n\z/, '... and says why';
	unlink "$file.journal";
	is update($type, $base, 'check')->{status}, 0, '... without it all is well';

	my @env = environment($base =~ s{/map$}{}r);
	is update($type, @env, $base, 'set', 'a', 'b')->{status}, 0, "$type: an environment";
	rename $file, "$file.aside";
	circle($file);
	update($type, @env, $base, 'recover');
	ok -l $file && !-e "$file.damaged", '... recover makes no map anew from the journal where one cannot be looked at';
	$got = update($type, @env, $base, 'replace', $base);
	ok $got->{status} != 0, '... replace makes none there' or diag $got->{out};
	ok -l $file, '... what is there stays';
	is update($type, @env, $base, 'check')->{status}, 3, '... check could not tell';
	unlink $file;
	rename "$file.aside", $file;

	# the other map of this environment, whose journal is out of reach
	my $other = $base =~ s/map$/other/r;
	put($other, "key value\n");
	is run(["$db/newdb", '-s', '-t', $type, $other])->{status}, 0, '... another map';
	is update($type, @env, $other, 'set', 'a', 'b')->{status}, 0, '... in the same environment';
	rename "$other.$suffix{$type}.journal", "$other.aside";
	circle("$other.$suffix{$type}.journal");
	$got = update($type, @env, $base, 'recover');
	ok $got->{status} != 0, '... recover does not leave out a neighbour whose journal cannot be read' or diag $got->{out};
	like $got->{err}, qr/\A[^\n]*other[^\n]*journal: [^\n\/]*\n\z/, '... and says why, once';
	unlink "$other.$suffix{$type}.journal";
	rename "$other.aside", "$other.$suffix{$type}.journal";
	is update($type, @env, $base, 'recover')->{status}, 0, '... with it, all is healed';
	is look($type, $other, 'a', @env)->{out}, "b\n", '... nothing is lost';
}

# ---- the text that is there now ----

my $base = build('btree');
my $dir = $base =~ s{/map$}{}r;
put("$dir/dbases.conf", "test btree - - $base -l\n");
my @newdb = ("$db/newdb", '-f', "$dir/dbases.conf");
# a text of this very moment could be a newer one
utime time - 10, time - 10, $base;
run(\@newdb);
is +(run(\@newdb))->{out} // '', '', 'a map whose text stays is not built again';
my $old = slurp($base) =~ s/value17/older/r;
put($base, $old);
utime 1000000000, 1000000000, $base;
like run(["$db/dblookup", '-t', 'btree', $base, 'key17'])->{err}, qr/run newdb/, 'a lookup warns of an older text that was put back';
like +(run(\@newdb))->{out}, qr/not the one it was built from/, '... newdb -f builds the map from it';
is look('btree', $base, 'key17')->{out}, "older\n", '... which holds what the text says now';
rename $base, "$base.1";
put("$base.2", $old =~ s/older/newer/r);
utime 1000000000, 1000000000, "$base.2";
symlink "$base.2", $base;
run(\@newdb);
is look('btree', $base, 'key17')->{out}, "newer\n", 'a link to another text counts, with size and time alike';
put("$base.2", $old =~ s/older/other/r);
utime 1000000000, 1000000000, "$base.2";
like run(["$db/dblookup", '-t', 'btree', $base, 'key17'])->{err}, qr/run newdb/, 'so does one that was written in its place, for a lookup as well';
run(\@newdb);
is run(["$db/dblookup", '-t', 'btree', $base, 'key17'])->{err}, '', '... until the map is built from it';
chmod 0640, "$base.2";
is run(["$db/dblookup", '-t', 'btree', $base, 'key17'])->{err}, '', 'another mode is no other text';

# ---- what the disk does not give is not damaged ----

SKIP: {
	skip 'preloading does not go with sanitizers', 1 if $ENV{ZLMTP_SANITIZED};
	my $library = preload("$ENV{SRC_DIR}/tests/db/failio.c") // skip 'no compiler', 1;
	my $base = build('btree');
	my @env = environment($base =~ s{/map$}{}r);
	is update('btree', @env, $base, 'set', 'a', 'b')->{status}, 0, 'a map in an environment, with a journal';
	for my $file ("$base.db", "$base.db.journal") {
		my ($reads, @bad, %said) = (0);
		for my $n (1 .. 500) {
			my $happened = scratch('happened');
			unlink $happened;
			local @ENV{qw(FAIL_CALL FAIL_PATH FAIL_COUNT)} = ("reads:$n+:5", $file, $happened);
			my $got = run(["$db/dbupdate", '-w', 9, '-t', 'btree', @env, $base, 'check'], env => { LD_PRELOAD => $library });
			last if !-e $happened;
			$reads++;
			push @bad, "read $n: $got->{status} $got->{out}$got->{err}" if $got->{status} != 3 || $got->{out} !~ /\Acould not tell: .*Input\/output error$/m;
			$said{$got->{out}}++;
		}
		is "@bad", '', "check could not compare where no $file can be read from some read on" =~ s{ /\S+/}{ }r;
		cmp_ok $reads, '>', 5, '... tried at each read';
		note %said;
	}
	is update('btree', @env, $base, 'check')->{status}, 0, '... and all is well when it can be read';
}

# ---- byte order marks ----

$base = scratch('marked');
put($base, "\xef\xbb\xbffirst 1\nsecond 2\n");
is run(["$db/newdb", '-s', $base])->{status}, 0, 'a text with a byte order mark is read';
is look('btree', $base, 'first')->{out}, "1\n", '... and its first key is there';
is run(["$db/dblookup", $base, '-'], in => "\xef\xbb\xbffirst\r\nsecond\r\n")->{out} =~ tr/12//, 2, '... asked from a list with mark and CR LF';
is run(["$db/dbupdate", $base, 'apply'], in => "\xef\xbb\xbf+third\t3\n")->{status}, 0, 'changes with a mark are made';
is look('btree', $base, 'third')->{out}, "3\n", '... all of them';
put("$base.txt", "\xef\xbb\xbfone 1\r\ntwo 2\r\n");
is look('unordered', "$base.txt", 'one')->{out}, "1\n", 'a text that is read in place has its first key, and no CR';

my $marked = build('btree');
put("$marked.dir" =~ s{/map\.dir$}{/dbases.conf}r, "\xef\xbb\xbftest btree - - $marked -l\n");
my $refused = run(["$db/dblookup", '-f', $marked =~ s{/map$}{/dbases.conf}r, 'test', 'key1']);
is $refused->{status}, 78, 'a dbases.conf with a mark, which ZMailer could not read either, is refused';
like $refused->{err}, qr/dbases\.conf:1:/, '... with file and line';
put(scratch('zmailer.conf'), "\xef\xbb\xbfDBTYPE=bhash\r\nMAILVAR=/nowhere\r\n");
put(scratch('typed'), "key value\n");
run(["$db/newdb", '-s', scratch('typed')], env => { ZCONFIG => scratch('zmailer.conf') });
ok -e scratch('typed.dbh'), 'the first setting of a zmailer.conf with a mark counts, without its CR';

# ---- smaller ----

my $got = run(["$db/newdb", scratch('nothing')]);
like $got->{err}, qr/\Anewdb: [^\n]*No such file or directory\n\z/, 'a text that cannot be opened gives one line';
done_testing;
