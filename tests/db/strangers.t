#!/usr/bin/perl
# Strangers on the same machine: links in another user's directory, when root looks.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Tool;

my $build = $ENV{BUILD_DIR};
my ($newdb, $dbupdate, $dblookup) = map { tool($_) } qw(newdb dbupdate dblookup);
my $have = slurp("$build/config.h");
my %suffix = (btree => 'db', bhash => 'dbh', $have =~ /HAVE_LMDB 1/ ? (lmdb => 'lmdb') : ());
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
chmod 0755, scratch();

# ---- root looks at the maps of another user ----

SKIP: {
	skip 'not root', 1 if $> != 0;
	for my $type (sort keys %suffix) {
		for my $way (qw(symbolic hard)) {
			my $dir = scratch("$type-$way");
			my $file = "$dir/map.$suffix{$type}";
			mkdir $dir;
			spew("$dir/map", "key value\n");
			run([$newdb, '-s', '-t', $type, "$dir/map"]);
			spew("$dir/routes", "key value\n");
			my $victim = spew(scratch("victim-$type-$way"), 'x' x 20000);
			chmod 0600, $victim;
			my @locks = ("$file.lock", $type eq 'lmdb' ? "$file-lock" : ());
			for my $lock (@locks) {
				unlink $lock;
				$way eq 'hard' ? link($victim, $lock) : symlink($victim, $lock);
			}
			system 'chown', '-R', '-h', '65534', $dir if $way eq 'symbolic';
			chown 65534, -1, $dir, "$dir/map", $file if $way eq 'hard';
			spew(scratch('dbases.conf'), "routesdb $type - - $dir/map -lm%:d pathalias\n");
			my $before = join ' ', (stat $victim)[2, 3, 4, 5, 7];
			for my $command ([$dblookup, '-t', $type, "$dir/map", 'key'], [$dblookup, '-t', $type, '--dump', "$dir/map"],
				[$dbupdate, '-w', 1, '-t', $type, "$dir/map", 'check'], [$dbupdate, '-w', 1, '-t', $type, "$dir/map", 'set', 'key', 'x'],
				[$dbupdate, '-w', 1, '-t', $type, "$dir/map", 'recover'], [$dblookup, '-f', scratch('dbases.conf'), '-r', 'a@b.test'],
				["$build/channel/zlmtp-check", '-o', 'maps', '-d', scratch('dbases.conf')]) {
				my $got = run($command, limit => 30);
				my $name = join ' ', map { s{.*/}{}r } @$command;
				ok slurp($victim) eq 'x' x 20000 && join(' ', (stat $victim)[2, 3, 4, 5, 7]) eq $before,
					"a $way link to a file of root's: $name as root leaves that alone" or diag $got->{err};
				ok $got->{status} >= 0, '... and ends by itself' or diag $got->{status};
			}
			ok -e $file && !-e "$file.damaged", "... the $type map stays where it is";
		}
	}
}

# ---- root makes a map where another user should ----

SKIP: {
	skip 'not root', 1 if $> != 0;
	for my $type (sort keys %suffix) {
		my $dir = scratch("first-$type");
		mkdir $dir;
		chown 65534, -1, $dir;
		spew(scratch('text'), "key value\n");
		my $got = run([$dbupdate, '-t', $type, "$dir/map", 'replace', scratch('text')]);
		like "$got->{status} $got->{err}", qr/^77 dbupdate: .*: root does not write maps in a directory that user 65534 owns; run this as that user$/, "a new $type map is refused";
		is join(' ', glob "$dir/{,.}*[!.]"), '', '... and no lock file is left in the way of who may make it';
	}
}

# ---- root looks at an environment of another user ----

SKIP: {
	skip 'not root', 1 if $> != 0;
	for my $which ('home/zlmtp.maps', 'map.db.journal', 'map.db.lock') {
		for my $way (qw(symbolic hard)) {
			my $dir = scratch("env-$way-$which" =~ tr{/}{-}r);
			my $victim = spew(scratch("victim-$way-$which" =~ tr{/}{-}r), 'x' x 20000);
			my @env = ('-w', 20, '-C', "$dir/env.conf", '-t', 'btree', "$dir/map");
			mkdir $dir;
			mkdir "$dir/home";
			spew("$dir/env.conf", "envhome=$dir/home\nenvmode=600\nenvflags=CDB,CREATE\n");
			spew("$dir/map", "key value\n");
			run([$newdb, '-s', '-t', 'btree', "$dir/map"]);
			is run([$dbupdate, @env, 'set', 'a', 'b'])->{status}, 0, "$way, $which: an environment in use" or next;
			ok -e "$dir/$which", '... which has it';
			unlink "$dir/$which";
			$way eq 'hard' ? link($victim, "$dir/$which") : symlink($victim, "$dir/$which");
			chmod 0600, $victim;
			system 'chown', '-R', '-h', '65534', $dir if $way eq 'symbolic';
			my $before = join ' ', (stat $victim)[2, 3, 4, 5, 7];
			for my $command ([$dbupdate, @env, 'check'], [$dbupdate, @env, 'set', 'key', 'x'], [$dbupdate, @env, 'recover'], [$dblookup, @env[2 .. $#env], 'key']) {
				my $got = run($command, limit => 30);
				ok slurp($victim) eq 'x' x 20000 && join(' ', (stat $victim)[2, 3, 4, 5, 7]) eq $before,
					"... @$command[-2, -1] as root leaves the file behind the link alone" =~ s{\S*/}{}gr or diag $got->{err};
				ok $got->{status} >= 0, '... and ends by itself' or diag $got->{status};
			}
		}
	}
}

# ---- root writes a protocol log ----

SKIP: {
	skip 'not root', 1 if $> != 0;
	my $dir = scratch('logs');
	mkdir $dir;
	my @agent = ("$build/channel/lmtp", '-c', 'lmtp', '-F', 'UNIX:/nowhere', '-l', "$dir/log");
	my $log = sub ($owner) {
		chown $owner, -1, $dir;
		return run([@agent], in => "101\tstore\n");
	};
	for my $way (qw(symbolic hard)) {
		unlink "$dir/log";
		my $victim = spew(scratch("log-$way"), "precious\n");
		$way eq 'hard' ? link($victim, "$dir/log") : symlink($victim, "$dir/log");
		my $got = $log->(65534);
		is slurp($victim), "precious\n", "a $way link in another user's directory: nothing is logged there";
		like $got->{err}, qr/protocol log \S+: (?:Too many|has more|not a regular).*going on without/, '... and it is said';
	}
	unlink "$dir/log";
	my $elsewhere = spew(scratch('elsewhere'), '');
	symlink $elsewhere, "$dir/log";
	chmod 0755, $dir;
	$log->(0);
	isnt -s $elsewhere, 0, 'a link in a directory of root alone is followed';
	unlink "$dir/log";
	$log->(65534);
	isnt -s "$dir/log", 0, 'and a file of another user gets its log';
}

# ---- whoever may only read a map ----

for my $type (sort keys %suffix) {
	my $dir = scratch("readable-$type");
	mkdir $dir;
	spew("$dir/map", "key value\n");
	run([$newdb, '-s', '-t', $type, "$dir/map"]);
	for my $mode (0644, 0664, 0640) {
		unlink "$dir/map.$suffix{$type}.lock";
		chmod $mode, "$dir/map.$suffix{$type}";
		run([$dbupdate, '-t', $type, "$dir/map", 'set', 'key', sprintf '%o', $mode]);
		is sprintf('%o', (stat "$dir/map.$suffix{$type}.lock")[2] & 07777), $mode == 0664 ? '660' : '600',
			sprintf '%s of mode %o: nobody locks it who may not write it', $type, $mode;
	}
}

done_testing;
