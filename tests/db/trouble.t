#!/usr/bin/perl
# newdb on bad days: full disks, limits, missing rights, I/O errors.  The old map stays as it was, nothing is left
# behind, and one line says what went wrong.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Errno ();
use Test::More;
use Extent 'long';
use Tool;

my $newdb = tool('newdb');
my $dblookup = tool('dblookup');
my $home = scratch('home');
my $base = "$home/map";
my %suffix = (btree => '.db', bhash => '.dbh', lmdb => '.lmdb');
mkdir $home or die;
chmod 0755, scratch();
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};

my $old = join '', map { "old$_ value$_\n" } 1 .. 100;
my $new = join '', map { "new$_ value$_ " . 'x' x 80 . "\n" } 1 .. 3000;

spew($base, $old);
my @types = grep { run([$newdb, '-t', $_, $base])->{status} == 0 } sort keys %suffix;
my %before = map { $_ => slurp("$base$suffix{$_}") } @types;
my @names = names();

sub names { opendir(my $d, $home) or die; return sort grep { !/^\.\.?$/ } readdir $d }

# The new text must not get through; %how is for run().
sub fails($what, $type, $status, $words, %how) {
	spew($base, $how{text} // $new);
	my $got = run([$newdb, '-t', $type, $base], %how);
	is($got->{status}, $status, "$type: $what: exit $status");
	like($got->{err}, qr/\Anewdb: [^\n]*$words[^\n]*\n\z/, '... in one line with the reason');
	ok(slurp("$base$suffix{$type}") eq $before{$type}, '... the old map is untouched');
	is_deeply([names()], \@names, '... and nothing is left behind');
}

# ---- file size limit ----

for my $type (@types) {
	spew($base, $new);
	my $got = run(['/bin/sh', '-c', 'ulimit -f 100; exec "$@"', 'sh', $newdb, '-t', $type, $base]);
	is($got->{status}, 74, "$type: file size limit: exit 74");
	like($got->{err}, qr/\Anewdb: .*File too large.*; the old map stays\n\z/, '... in one line with the reason');
	ok(slurp("$base$suffix{$type}") eq $before{$type}, '... the old map is untouched');
	is_deeply([names()], \@names, '... and nothing is left behind');
}

# ---- a full disk ----

SKIP: {
	my $disk = scratch('disk');
	mkdir $disk;
	skip 'no right to mount a small disk', 1 if system("mount -t tmpfs -o size=128k none $disk 2>/dev/null") != 0;
	for my $type (@types) {
		spew("$disk/map", $old);
		is(run([$newdb, '-t', $type, "$disk/map"])->{status}, 0, "$type: there is room for a small map");
		my $small = slurp("$disk/map$suffix{$type}");
		spew($base, $new);
		my $got = run([$newdb, '-t', $type, "$disk/map", $base]);
		is($got->{status}, 74, '... and none for a large one: exit 74');
		like($got->{err}, qr/\Anewdb: .*No space left on device.*; the old map stays\n\z/, '... in one line with the reason');
		unlike($got->{err}, qr/0x[0-9a-f]{4}/, '... which is no address in memory');
		ok(slurp("$disk/map$suffix{$type}") eq $small, '... the old map is untouched');
		is(join(' ', sort map { s/.*\///r } glob "$disk/* $disk/.*tmp"), "map map$suffix{$type}", '... nothing is left behind');
		unlink glob "$disk/*";
	}
	system 'umount', $disk;
}

# ---- rights ----

my $nobody = getpwnam 'nobody';
# the directory that the programs were built in may be closed to others
sub open_to_all($program) {
	my $copy = scratch($program =~ s{.*/}{}r);
	system('cp', $program, $copy) == 0 or die "cannot copy $program\n";
	chmod 0755, $copy;
	return $copy;
}
($newdb, $dblookup) = map { open_to_all($_) } $newdb, $dblookup;
my %as_nobody = $> == 0 ? (before => sub { $) = "65534 65534"; $( = 65534; $< = $> = $nobody; }) : ();
SKIP: {
	skip 'root may write anywhere, and there is no user nobody', 1 if $> == 0 && !defined $nobody;
	chmod 0555, $home;
	for my $type (@types) {
		fails('a directory without write permission', $type, 73, 'Permission denied', %as_nobody);
	}
	chmod 0755, $home;
	chmod 0600, $base;
	if ($> == 0) {
		my $got = run([$newdb, $base], %as_nobody);
		is($got->{status}, 66, 'a text that may not be read: exit 66');
		chmod 0600, "$base.db";
		is(run([$dblookup, "$base.db", 'old1'], %as_nobody)->{status}, 75, 'a map that may not be read: could not tell');
		chmod 0644, "$base.db";
	}
	chmod 0644, $base;
}

# ---- every call that can fail, once ----

SKIP: {
	skip 'preloading does not go with sanitizers', 1 if $ENV{ZLMTP_SANITIZED};
	my $library = preload("$ENV{SRC_DIR}/tests/db/failio.c");
	skip 'no compiler', 1 if !defined $library;
	my $few = "new value\n";
	for my $type (@types) {
		for my $case (['pwrite', 'ENOSPC'], ['pwrite', 'EIO'], ['write', 'EIO'], ['fsync', 'EIO'], ['rename', 'EIO'], ['pread', 'EIO'],
			['read', 'EIO'], ['malloc', 'ENOMEM']) {
			my ($call, $error) = @$case;
			my ($bad, $n) = (0, 0);
			my $errno = { ENOSPC => Errno::ENOSPC, EIO => Errno::EIO, ENOMEM => Errno::ENOMEM }->{$error};
			# of the many calls of malloc some, all with ZLMTP_LONG=1
			my $step = $call eq 'malloc' && !long() ? 7 : 1;
			for ($n = 1; $n < 200; $n += $step) {
				unlink scratch('happened');
				spew($base, $few);
				my $got = run([$newdb, '-t', $type, $base], env => { LD_PRELOAD => $library, FAIL_CALL => "$call:$n:$errno",
					FAIL_COUNT => scratch('happened') });
				my $happened = -e scratch('happened');
				my $replaced = slurp("$base$suffix{$type}") ne $before{$type};
				my $right = $got->{status} == 0 ? $replaced
					: $happened && $got->{status} > 0 && $got->{err} =~ /\A(?:(?:newdb:|BDB\d+) .*\n)+\z/ && !$replaced;
				# the very last thing is to sync the directory: the new map is in place by then
				$right = 1 if $call eq 'fsync' && $happened && $replaced && $got->{status} == 74;
				# and what comes behind that may end for want of memory
				$right = 1 if $call eq 'malloc' && $happened && $replaced && $got->{status} == 71 &&
					$got->{err} =~ /^newdb: out of memory, but \Q$base$suffix{$type}\E was replaced: /m;
				$right = 0 if "@{[names()]}" ne "@names";
				if (!$right) {
					$bad++;
					diag "$type: $call $n fails with $error: exit $got->{status}, map ", ($replaced ? 'replaced' : 'kept'),
						", files @{[names()]}\n$got->{err}";
				}
				spew("$base$suffix{$type}", $before{$type});
				last if !$happened;
			}
			ok(!$bad, "$type: $error at calls of $call up to number $n");
		}
		my ($n, @bad);
		for ($n = 1; $n < 200; $n += long() ? 1 : 7) {
			unlink scratch('happened');
			my $got = run([$dblookup, '-t', $type, $base, 'old7'], env => { LD_PRELOAD => $library, FAIL_CALL => "malloc:$n:" . Errno::ENOMEM,
				FAIL_COUNT => scratch('happened') });
			push @bad, "$n: $got->{status} $got->{out}$got->{err}" if $got->{status} == 0 ? $got->{out} ne "value7\n" : $got->{status} != 75 && $got->{status} != 71;
			last if !-e scratch('happened');
		}
		is "@bad", '', "$type: no memory at calls of malloc up to number $n is \"could not tell\"";
	}
}

done_testing;
