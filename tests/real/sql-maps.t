#!/usr/bin/perl
# Maps in SQLite, PostgreSQL and MariaDB, by the files that Postfix has: found, not found and could-not-tell must come out right,
# each within its deadline, whatever the server does.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use File::Copy ();
use File::Temp ();
use IO::Socket::INET;
use Socket 'inet_aton';
use Test::More;
use Time::HiRes ();
use IO::Handle;
use Certificates;
use RealSql;
use Ask;

my $dir = File::Temp->newdir('/tmp/zq-XXXXXX');
my $dblookup = "$ENV{BUILD_DIR}/db/dblookup";
my $number = 0;
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

# What is special somewhere: one row each, with the value "is KEY's number".
my @odd = ("o'x", 'back\\slash', "\\'", '"quoted"', '%', '_', '*', 'a;b', '--', '$$', '`', "\xc3\xa4", "' OR ''='", 'two  blanks');
my %servers;

for my $type (qw(sqlite pgsql mysql)) {
	subtest $type => sub {
		plan skip_all => 'built without it' unless qx{grep -c 'HAVE_\U$type\E 1' $ENV{BUILD_DIR}/config.h} > 0;
		my $missing = $type eq 'sqlite' ? (-x '/usr/bin/sqlite3' ? undef : 'no sqlite3') : RealSql::missing($type);
		plan skip_all => $missing if $missing;
		$servers{$type} = RealSql->new($type) unless $type eq 'sqlite';
		fill($type);
		answers($type);
		refusals($type);
		numbers($type);
		if ($type eq 'mysql') {
			modes($servers{$type});
			transactions($servers{$type});
		}
		if ($type eq 'pgsql') {
			prepared($servers{$type});
			reloaded($servers{$type});
			uri($servers{$type});
		}
		if ($servers{$type}) {
			charsets($type);
			failures($type, $servers{$type});
		} else {
			troubles_of_a_file();
			cut_off();
			replaced();
		}
	};
}
# ldapsync is no program without its library
for my $program (grep { -f && -x && !m{/ldapsync$} && !/\.\w+$/ } glob "$ENV{BUILD_DIR}/db/* $ENV{BUILD_DIR}/channel/*") {
	unlike(qx{ldd $program 2>/dev/null}, qr/libpq|libmariadb|libmysql|libsqlite|libldap|liblber/, ($program =~ s{.*/}{}r) . ' is linked with no library of a database or a directory');
}
done_testing;

# Found, not found, and rows that are no answer.
sub answers($type) {
	my $map = map_of($type);
	is $map->find('joe@example.com'), 'found box!joe', 'a row is found';
	is $map->find('nobody@example.com'), 'not-found', 'no row is not found';
	is $map->find($odd[$_]), "found is $_", "a key of odd bytes finds its own row: $odd[$_]" for 0 .. $#odd;
	is $map->find($_), 'not-found', "a key matches itself alone: $_" for "' OR '1'='1", "\\' OR 1=1 -- ", 'j%', "\xff", ' joe@example.com';
	is map_of($type, query => 'SELECT v FROM u WHERE a = %s')->find("1' OR '1'='1"), 'not-found', 'a key without quotes gets them';
	is map_of($type, query => 'SELECT v FROM u WHERE a = %s')->find("o'x"), 'found is 0', 'and is escaped';
	is map_of($type, query => "SELECT v FROM u WHERE a = '%s' ORDER BY v")->find('two@example.com'), 'found 1,2', 'several rows are a list';
	is map_of($type, query => "SELECT v FROM u WHERE a = '%u\@%d'", result_format => 'lmtp!%s%%1')->find('joe@example.com'), 'found lmtp!box!joe%1', 'result_format';
	is map_of($type, query => "SELECT v FROM u WHERE a = '%U\@%D' AND a = '%S'", require_result_set => 'no')->find('joe@example.com'), 'found box!joe', 'capitals are parts of the key, too';
	is map_of($type, domain => 'example.org')->find('joe@example.com'), 'not-found', 'domain keeps other keys away';
	is map_of($type, query => "SELECT v FROM u\n  WHERE\n  a = '%s'")->find('joe@example.com'), 'found box!joe', 'indented lines go on with the query';
	unknown(map_of($type), 'null@example.com', qr/value is NULL/, 'NULL is no answer');
	unknown(map_of($type), 'empty@example.com', qr/value is empty/, 'nor is an empty value');
	unknown(map_of($type, query => "SELECT a, v FROM u WHERE a = '%s'"), 'joe@example.com', qr/several columns/, 'nor are two columns');
	unknown(map_of($type, expansion_limit => 1), 'two@example.com', qr/expansion_limit/, 'nor more rows than expansion_limit');
	unknown(map_of($type), 'large@example.com', qr/longer than 512 KiB/, 'nor a value of 1 MB');
	unknown(map_of($type, query => "SELECT nix FROM u WHERE a = '%s'"), 'joe@example.com', qr/nix/, 'nor is an error of the database');
	unknown(map_of($type, query => "WITH w AS (SELECT v FROM u WHERE a = '%s') DELETE FROM u WHERE v IN (SELECT v FROM w)"), 'nosuch', qr{gives no rows}, 'nor what is no SELECT')
		if $type ne 'mysql';
}

# A column of numbers: no row answers to a key that merely begins like it.
sub numbers($type) {
	my $map = map_of($type, query => "SELECT v FROM n WHERE i = '%s'");
	is $map->find('1'), 'found one', 'a number is found';
	is $map->find('7'), 'not-found', 'one that is not there is not';
	unlike $map->find($_), qr/^found/, "and a key that is no number finds none: $_" for '1abc', 'abc', '0x', "0'x", '1@example.com', "1\xc3\xa4", '1' . 'x' x 200;
	return if $type ne 'mysql';
	unknown($map, '1abc', qr/compared with a number \(.*'1abc'\); in the query, write CAST\(COLUMN AS CHAR\) = '%s'/, 'MySQL cannot tell');
	is $map->find('7abc'), 'not-found', 'except where there is no row anyway';
	is map_of($type, query => "SELECT v FROM n WHERE CAST(i AS CHAR) = '%s'")->find('1abc'), 'not-found', 'compared as text';
	is map_of($type, query => "SELECT v FROM u WHERE a = '%s' AND v + 0 = 0")->find('joe@example.com'), 'found box!joe', 'text in the table that is taken for a number is the administrator\'s';
	is $map->find('2'), 'found two', 'and the map goes on';
}

# What PostgreSQL has prepared for a map may go away, or not fit any more.
sub prepared($server) {
	my $sql = sub ($text) {
		open my $fh, '|-', $server->client . ' >/dev/null' or die "client: $!\n";
		print $fh $text;
		close $fh or die "$text: $?\n";
	};
	my $count = map_of('pgsql', query => "SELECT count(*) || CASE '%s' WHEN 'a' THEN ' prepared' ELSE '' END FROM pg_prepared_statements");
	is $count->find('a'), 'found 1 prepared', 'a query is prepared once';
	is $count->find('b'), 'found 1', 'and asked again';
	$sql->("CREATE TABLE w (a TEXT, v TEXT); INSERT INTO w VALUES ('joe', 'box');");
	my $map = map_of('pgsql', query => "SELECT v FROM w WHERE a = '%s'");
	is $map->find('joe'), 'found box', 'a table';
	$sql->('ALTER TABLE w ALTER v TYPE varchar(20);');
	is $map->find('joe'), 'found box', 'whose column has another type now';
	$sql->("DROP TABLE w; CREATE TABLE w (a VARCHAR(20), v TEXT); INSERT INTO w VALUES ('joe', 'other');");
	is $map->find('joe'), 'found other', 'that was made anew';
	is $map->find('ann'), 'not-found', 'and lacks somebody';
	$sql->('DROP TABLE w;');
	like $map->find('joe'), qr/^could-not-tell .*"w"/, 'that is gone';
	$map = map_of('pgsql', query => "SELECT v FROM u, forget('%s') WHERE a = '%s'");
	is $map->find('joe@example.com'), 'found box!joe', "what is prepared was taken away, as by a pooler of sessions: time $_" for 1 .. 3;
	is $map->find('nobody@example.com'), 'not-found', 'and who is not there is not found';
	is map_of('pgsql', query => "SELECT concat('%s', 'x')")->find('joe'), 'found joex', 'a query that cannot be prepared is asked as text';
	unknown(map_of('pgsql', query => "COPY (SELECT v FROM u WHERE a = '%s') TO STDOUT"), 'joe@example.com', qr/gives no rows/, 'COPY is no SELECT');
}

# A table that another session fills anew in a transaction.  Who waits for its lock sees it filled, whatever isolation the server sets for
# new sessions: a snapshot from before TRUNCATE shows an empty table behind it.
sub reloaded($server) {
	my $sql = sub ($text) {
		open my $fh, '|-', $server->client . ' >/dev/null' or die "client: $!\n";
		print $fh $text;
		close $fh or die "$text: $?\n";
	};
	$sql->("CREATE TABLE filled (a TEXT, v TEXT); INSERT INTO filled VALUES ('joe', 'box')");
	for my $level ('read committed', 'repeatable read', 'serializable') {
		$sql->("ALTER ROLE admin SET default_transaction_isolation = '$level'");
		# prepared, and as text
		my @maps = map { map_of('pgsql', query => $_) } "SELECT v FROM filled WHERE a = '%s'", "SELECT v FROM filled WHERE a = concat('%s', '')";
		is $_->find('joe'), 'found box', "$level: a table" for @maps;
		open my $client, '|-', $server->client . ' >/dev/null' or die "client: $!\n";
		$client->autoflush(1);
		say $client "BEGIN; TRUNCATE filled;\n\\! touch '$dir/$level'";
		for (my $end = time + 20; time < $end && !-e "$dir/$level"; Time::HiRes::sleep(0.02)) { }
		ok -e "$dir/$level", 'another session has emptied it';
		$_->ask('joe') for @maps;
		for (my $end = time + 20; time < $end; Time::HiRes::sleep(0.02)) {
			last if qx{echo "SELECT count(*) FROM pg_locks WHERE NOT granted;" | @{[$server->client]} -A -t} >= @maps;
		}
		say $client "INSERT INTO filled VALUES ('joe', 'box'); COMMIT;";
		close $client;
		is $_->answer, 'found box', 'and filled it again: who has waited finds it' for @maps;
	}
	$sql->('ALTER ROLE admin RESET default_transaction_isolation; DROP TABLE filled');
}

# What MySQL's server and option file may set for new sessions.
sub modes($server) {
	my $option_file = "$dir/my.cnf";
	my $ask = sub ($name, %o) {
		my $map = map_of('mysql', %o);
		is $map->find($odd[$_]), "found is $_", "$name: $odd[$_]" for 0 .. $#odd;
		is $map->find($_), 'not-found', "$name: a key matches itself alone" for "' OR '1'='1", "\\' OR 1=1 -- ", "\xe7\xb8\x97' OR 1=1 -- x";
		is map_of('mysql', %o, query => 'SELECT v FROM u WHERE a = "%s"')->find('joe@example.com'), 'found box!joe', "$name: double quotes are quotes of text";
	};
	for my $mode (qw(ANSI ORACLE POSTGRESQL DB2 MSSQL MAXDB ANSI_QUOTES NO_BACKSLASH_ESCAPES), 'ANSI,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,EMPTY_STRING_IS_NULL') {
		$server->administer("SET GLOBAL sql_mode = '$mode'");
		$ask->($mode);
	}
	is map_of('mysql', query => "SELECT \@\@sql_mode FROM u WHERE a = '%s'")->find('joe@example.com'), 'found REAL_AS_FLOAT,PIPES_AS_CONCAT,IGNORE_SPACE,STRICT_ALL_TABLES,EMPTY_STRING_IS_NULL',
		'other modes stay';
	$server->administer("SET GLOBAL sql_mode = DEFAULT; SET GLOBAL init_connect = 'SET NAMES gbk', GLOBAL max_error_count = 0");
	$ask->('init_connect');
	unlike map_of('mysql', query => "SELECT v FROM n WHERE i = '%s'")->find('1abc'), qr/^found/, 'a server that forgets its warnings';
	$server->administer('SET GLOBAL sql_select_limit = 1');
	is map_of('mysql')->find('two@example.com'), 'found 1,2', 'a server that gives no more than one row';
	$server->administer('SET GLOBAL sql_select_limit = 0');
	is map_of('mysql')->find('joe@example.com'), 'found box!joe', 'or none';
	$server->administer('SET GLOBAL sql_select_limit = DEFAULT, GLOBAL group_concat_max_len = 6');
	my $list = map_of('mysql', query => "SELECT GROUP_CONCAT(v) FROM u WHERE a = '%s' GROUP BY a");
	unknown($list, 'joe@example.com', qr/cut off \(.*\); raise group_concat_max_len/, 'a list that was cut off');
	is $list->find('two@example.com'), 'found 1,2', 'but not one that is whole';
	$server->administer('SET GLOBAL group_concat_max_len = DEFAULT');
	unknown(map_of('mysql', query => "SELECT v FROM u WHERE a = '%s' LIMIT ROWS EXAMINED 3"), 'nobody@example.com', qr/may be cut off/, 'a search that was given up');
	$server->administer("SET GLOBAL init_connect = '', GLOBAL max_error_count = DEFAULT");
	open my $fh, '>', $option_file or die "$option_file: $!\n";
	print $fh "[client]\ninit-command=SET sql_mode='ANSI,NO_BACKSLASH_ESCAPES'\ndefault-character-set=gbk\nreconnect\n";
	close $fh;
	$ask->('an option file', option_file => $option_file);
	my $said = qx{$dblookup -t mysql @{[config('mysql', option_file => $option_file, option_group => 'nobody')]} key 2>&1};
	is $? >> 8, 78, 'a group that it does not have';
	like $said, qr/^dblookup: \S+:\d+: option_file: \Q$option_file\E has no group \[nobody\]$/, '... is named';
	open $fh, '>', $option_file or die "$option_file: $!\n";
	print $fh "[ client ]\nuser=reader\n[mail]\npassword = $RealSql::password\n";
	close $fh;
	my %from_file = (option_file => $option_file, option_group => 'mail', password => undef);
	chmod 0644, $option_file;
	$said = qx{$dblookup -t mysql @{[config('mysql', %from_file)]} key 2>&1};
	is $? >> 8, 78, 'a password in it that all can read';
	like $said, qr/\Q$option_file\E: holds a password/, '... is refused as in the file itself';
	chmod 0600, $option_file;
	is map_of('mysql', %from_file)->find('joe@example.com'), 'found box!joe', 'user and password of its group';
}

# What happens to a file and its directory: a session that is open, and one that is opened then, cannot tell, and find again afterwards.
sub troubles_of_a_file() {
	my $users = "$dir/users.db";
	# asked again at once, also behind an attempt that failed
	my @maps = map_of('sqlite', timeout => 1, retry_interval => 1);
	my $as_it_should_be = sub ($name) {
		for my $map (@maps, map_of('sqlite')) {
			is $map->until_like('joe@example.com', qr/^found/), 'found box!joe', "$name: found again";
			is $map->find('nobody@example.com'), 'not-found', '... and nobody is not';
		}
	};
	my $cannot_tell = sub ($name, $words) {
		for my $map (@maps, map_of('sqlite', timeout => 1)) {
			like $map->until_like($_, qr/^(?!could-not-tell)|$words/), qr/^could-not-tell .*$words/, "$name: $_" for 'joe@example.com', 'nobody@example.com';
		}
	};
	$as_it_should_be->('a file');

	# another process has it for itself, as while it writes to it
	for my $lock ('BEGIN EXCLUSIVE;', "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; UPDATE u SET v = v; COMMIT;") {
		my $pid = open my $said, '-|', "mkfifo $dir/in 2>/dev/null; exec sqlite3 $users < $dir/in" or die;
		Time::HiRes::sleep(0.02) until -p "$dir/in";
		open my $client, '>', "$dir/in" or die "client: $!\n";
		$client->autoflush(1);
		say $client "$lock SELECT 'locked';";
		like scalar(<$said>) . ($lock =~ /PRAGMA/ ? scalar <$said> : ''), qr/locked$/, 'another process has the file';
		$cannot_tell->('a locked file', qr/locked/);
		close $client;
		close $said;
		$as_it_should_be->('it ended');
	}

	rename $users, "$dir/away" or die;
	$cannot_tell->('it is removed', qr{unable to open});
	mkdir $users or die;
	$cannot_tell->('a directory is there', qr{not a regular file});
	rmdir $users;
	open my $fh, '>', $users or die;
	print $fh 'rubbish ' x 1024;
	close $fh;
	$cannot_tell->('a file of another kind', qr/not a database/);
	truncate $users, 0 or die;
	$cannot_tell->('an empty file', qr/no such table/);
	unlink $users;
	rename "$dir/away", $users or die;
	$as_it_should_be->('it is back');

	# pages of zeros and of something else, behind the first one
	my $whole = do { open my $in, '<', $users or die; local $/; <$in> };
	for my $bytes ("\0", "\xff") {
		open my $out, '+<', $users or die;
		seek $out, 4096, 0;
		print $out $bytes x (length($whole) - 4096);
		close $out;
		$cannot_tell->('its pages are damaged', qr/malformed|disk image/);
		open $out, '>', $users or die;
		print $out $whole;
		close $out;
		$as_it_should_be->('it is whole');
	}
	SKIP: {
		skip 'needs root', 4 if $> != 0;
		in_a_directory_of_another_user();
	}
}

# Who may read the file and not write to its directory reads it, also behind a writer that has a log beside it (WAL).
sub in_a_directory_of_another_user() {
	my $place = "$dir/other";
	mkdir $place, 0755 or die;
	for my $mode ('delete', 'wal') {
		system("sqlite3 $place/$mode.db \"PRAGMA journal_mode = $mode; CREATE TABLE u (a TEXT, v TEXT); INSERT INTO u VALUES ('joe\@example.com', 'box!joe')\" >/dev/null") == 0 or die;
		chmod 0644, "$place/$mode.db";
	}
	chmod 0755, $dir;
	# where the programs were built may be closed to others
	mkdir "$place/bin" or die;
	system('cp', $dblookup, "$ENV{BUILD_DIR}/db/zlmtp-sqlite.so", "$place/bin") == 0 or die;
	my @as_nobody = qw(setpriv --reuid=65534 --regid=65534 --clear-groups);
	for my $mode ('delete', 'wal') {
		my $file = config('sqlite', dbpath => "$place/$mode.db");
		chmod 0644, $file;
		my $ask = sub ($key) { my $said = qx{@as_nobody $place/bin/dblookup -t sqlite $file $key 2>&1}; return ($? >> 8) . " $said" };
		if ($mode eq 'delete') {
			is $ask->('joe@example.com'), "0 box!joe\n", 'in a directory that is not ours: found';
			is $ask->('nobody@example.com'), '1 ', '... and not found';
		} else {
			like $ask->($_), qr/^75 dblookup: [^\n]*(?:readonly|unable to open)[^\n]*\n\z/, "... with a log that we may not make: could not tell, $_" for 'joe@example.com', 'nobody@example.com';
		}
	}
}

# What MySQL's server sets for new sessions may let them see what is never committed, or for good what was there when they began.
sub transactions($server) {
	$server->administer("SET GLOBAL autocommit = 0, GLOBAL tx_isolation = 'READ-UNCOMMITTED'");
	my $map = map_of('mysql');
	open my $client, '|-', $server->client . ' >/dev/null' or die "client: $!\n";
	$client->autoflush(1);
	is $map->find('joe@example.com'), 'found box!joe', 'a session that is open';
	is $map->find('new@example.com'), 'not-found';
	my $done = 0;
	my $says = sub ($text) {
		my $mark = "$dir/said" . ++$done;
		say $client "$text;\nsystem touch $mark;";
		for (my $end = time + 20; time < $end && !-e $mark; Time::HiRes::sleep(0.02)) { }
		ok -e $mark, "another says $text";
	};
	$says->("BEGIN; INSERT INTO u VALUES ('new\@example.com', 'x'); DELETE FROM u WHERE a = 'joe\@example.com'");
	for my $asked ($map, map_of('mysql')) {
		is $asked->find('new@example.com'), 'not-found', 'who may never come is not there';
		is $asked->find('joe@example.com'), 'found box!joe', 'who may never go is';
	}
	$says->('ROLLBACK');
	is $map->find('new@example.com'), 'not-found', 'and did not come';
	is $map->find('joe@example.com'), 'found box!joe', 'nor go';
	$says->("INSERT INTO u VALUES ('new\@example.com', 'x'); COMMIT");
	is $map->find('new@example.com'), 'found x', 'who has come is found by the session that was open';
	$says->("DELETE FROM u WHERE a = 'new\@example.com'; COMMIT");
	is $map->find('new@example.com'), 'not-found', 'and is not when gone';
	close $client;
	$server->administer('SET GLOBAL autocommit = DEFAULT, GLOBAL tx_isolation = DEFAULT');
	# more warnings than a server remembers by itself, the one that matters last
	$server->administer('SET GLOBAL max_error_count = 1, GLOBAL group_concat_max_len = 8');
	unknown(map_of('mysql', query => "SELECT GROUP_CONCAT(v) FROM (SELECT 1 + x.v AS n, u.v FROM u AS x, u WHERE u.a = '%s' AND x.v LIKE 'is %%') AS many GROUP BY n"),
		'joe@example.com', qr/cut off/, 'behind many other warnings, a list that was cut off');
	$server->administer('SET GLOBAL max_error_count = DEFAULT, GLOBAL group_concat_max_len = DEFAULT');
}

# A file that is half copied: who stood in what is missing is not "not found".
sub cut_off() {
	my $whole = do { open my $fh, '<', "$dir/users.db" or die; local $/; <$fh> };
	my $put = sub ($bytes) { open my $fh, '>', "$dir/users.db" or die; print $fh $bytes; close $fh or die };
	my ($map, $size) = (map_of('sqlite'), length $whole);
	is $map->find('nobody@example.com'), 'not-found', 'a whole file';
	for my $cut (1, 100, 2000, 4095, 4096, 5000, int($size / 2), $size - 4196, $size - 20) {
		$put->(substr $whole, 0, $size - $cut);
		like map_of('sqlite')->find('nobody@example.com'), qr/^could-not-tell/, "$cut bytes are missing: opened now";
		like $map->find('nobody@example.com'), qr/^could-not-tell/, 'and one that is open';
	}
	$put->($whole);
	is $map->until_like('nobody@example.com', qr/^not-found/), 'not-found', 'and when it is whole again, it is believed';
	is $map->find('joe@example.com'), 'found box!joe';
}

# Another file in its place, however it came there: a session that is open does not go on with pages of the old one.
sub replaced() {
	my $made = sub ($path, $who) {
		unlink $path;
		system('sqlite3', $path, "CREATE TABLE u (a TEXT PRIMARY KEY, v TEXT); INSERT INTO u VALUES ('$who', 'box!$who')") == 0 or die "sqlite3: $?\n";
		return $path;
	};
	my ($users, @files) = ("$dir/users.db", map { $made->("$dir/$_.db", $_) } qw(one two));
	my $answers = sub ($map, $there, $gone, $what) {
		is $map->find($there), "found box!$there", "$what: who is in it is found";
		is $map->find($gone), 'not-found', 'and who is not is not';
	};
	unlink $users;
	File::Copy::copy($files[0], $users) or die "$users: $!\n";
	my $map = map_of('sqlite');
	$answers->($map, 'one', 'two', 'a file');
	for my $turn (1, 2) {
		File::Copy::copy($files[1], $users) or die "$users: $!\n";
		$answers->($map, 'two', 'one', "copied over it, which says of itself to be as old ($turn)");
		File::Copy::copy($files[0], $users) or die "$users: $!\n";
		utime 1, 1, $users;
		$answers->($map, 'one', 'two', "and back with an old time ($turn)");
	}
	unlink $users;
	for my $turn (1, 2) {
		symlink "$dir/$_->[0].db", "$dir/link" and rename "$dir/link", $users and $answers->($map, @$_, "a link ($turn)") for ['two', 'one'], ['one', 'two'];
	}
}

# Keys are UTF-8; in another encoding those with letters above ASCII would be found nowhere.
sub charsets($type) {
	my $good = $type eq 'mysql' ? ['utf8', 'UTF8MB4', 'utf8mb3'] : ['UTF8', 'utf-8', 'unicode'];
	is map_of($type, charset => $_)->find("\xc3\xa4"), 'found is 11', "charset = $_" for @$good;
	for my $name (qw(charset encoding)) {
		my $file = config($type, $name => 'latin1');
		my $said = qx{$dblookup -t $type $file key 2>&1};
		is $? >> 8, 78, "refused: $name = latin1";
		like $said, qr/^dblookup: \Q$file\E:\d+: $name: expected \w+: keys are UTF-8[^\n]*\n\z/, 'in one line';
	}
}

# What a file must not say: status 78 and one line with file and line.
sub refusals($type) {
	for ([query => 'SELECT v FROM u', qr/:\d+: query: nothing of the key is in it/], [query => "SELECT v FROM u WHERE a LIKE '%s'", qr/taken for a pattern/],
		[query => "SELECT v FROM u WHERE a LIKE lower('%s')", qr/more than one text.*compare by =/], [query => "SELECT v FROM u WHERE '%s' LIKE a", qr/more than one text/],
		[query => "SELECT v FROM u WHERE a = '%s", qr/no end/], [query => "SELECT v FROM u /* %s */", qr/in a comment/], [nonsense => 1, qr/unknown keyword "nonsense"/],
		[query => "DELETE FROM u WHERE a = '%s'", qr/:\d+: query: it would change the database with each question.*expected SELECT/],
		$type eq 'sqlite' ? () : map({ [hosts => $_, qr/:\d+: hosts: .*expected .*, found "\Q$_\E"/] } '127.0.0.1:99999', '127.0.0.1:0', 'inet:127.0.0.1:abc', 'unix:relative', 'host=127.0.0.1', 'tcp:127.0.0.1:5'),
		$type eq 'sqlite' ? () : [hosts => '::1', qr/IPv6 stands in brackets/],
		$type eq 'mysql' ? ([hosts => 'mysql://reader:hidden@127.0.0.1/mail', qr/a URI is for PostgreSQL alone(?!.*hidden)/], [hosts => '/run/sock', qr/expected unix:/],
			[option_file => "$dir/nowhere.cnf", qr/:\d+: option_file: .*nowhere\.cnf: No such file/], [option_file => $dir, qr/option_file: \Q$dir\E: /],
			[option_file => 'my.cnf', qr/option_file: .*absolute/]) : ()) {
		my ($name, $value, $words) = @$_;
		my $file = config($type, $name => $value);
		my $said = qx{$dblookup -t $type $file key 2>&1};
		is $? >> 8, 78, "refused: $name = $value";
		like $said, qr/^dblookup: \Q$file\E[^\n]*$words[^\n]*\n\z/, 'in one line';
	}
	return if $type eq 'sqlite';
	my $file = config($type);
	chmod 0644, $file;
	my $said = qx{$dblookup -t $type $file key 2>&1};
	is $? >> 8, 78, 'a password that all can read is refused';
	like $said, qr/holds a password/, 'and the line says so';
}

# A password within a URI is one as well, and is told to nobody.
sub uri($server) {
	my ($good, $secret) = ('127.0.0.1:' . $server->port . '/postgres', $RealSql::password);
	for my $uri ("postgresql://admin:$secret\@$good", "postgresql://admin\@$good?password=$secret") {
		my $file = config('pgsql', hosts => $uri, user => undef, password => undef);
		is qx{$dblookup -t pgsql $file joe\@example.com 2>&1}, "box!joe\n", 'a URI with a password';
		my $latin = config('pgsql', hosts => $uri . ($uri =~ /\?/ ? '&' : '?') . 'client_encoding=LATIN1', user => undef, password => undef);
		is qx{$dblookup -t pgsql $latin \xc3\xa4 2>&1}, "is 11\n", 'the session is of UTF-8 whatever a URI says';
		chmod 0644, $file;
		like qx{$dblookup -t pgsql $file joe\@example.com 2>&1}, qr/holds a password/, 'is not for all to read';
		for my $bad ($uri =~ s/127\.0\.0\.1:\d+/127.0.0.1:1/r, $uri =~ s/postgres(\?|$)/postgres%zz$1/r, $uri =~ s/127\.0\.0\.1/[::/r) {
			my $answer = map_of('pgsql', hosts => $bad, user => undef, password => undef)->find('joe@example.com');
			like $answer, qr/^could-not-tell/, 'one that leads nowhere cannot tell';
			unlike $answer, qr/$secret/, 'and the password is not told';
		}
	}
}

# Servers that do not answer as they should.
sub failures($type, $server) {
	unknown(map_of($type, password => 'wrong'), 'joe@example.com', qr/denied|authentication/, 'a wrong password');
	# not of the table, which a query has until it ends, long after its client
	unknown(map_of($type, timeout => 1, query => $type eq 'pgsql' ? "SELECT pg_sleep(30)::text WHERE 'a' <> '%s'" : "SELECT SLEEP(30) FROM DUAL WHERE 'a' <> '%s'"),
		'joe@example.com', qr/no answer in time/, 'a query that takes too long', 20);

	locked($type, $server);
	tls($type, $server);

	my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen: $!\n";
	my $nobody = 'inet:127.0.0.1:' . $silent->sockport;
	# long enough for a server on a busy machine
	my $map = map_of($type, hosts => $nobody, network_timeout => 3);
	unknown($map, 'joe@example.com', qr/no answer in time/, 'a server that accepts and says nothing', 20);
	unknown($map, 'ann@example.com', qr/no answer in time/, 'is not asked again at once', 2.5);
	is map_of($type, hosts => "$nobody " . $server->host, network_timeout => 3)->find('joe@example.com'), 'found box!joe', 'the next server is asked';
	is map_of($type, hosts => '127.0.0.1:' . $server->port)->find('joe@example.com'), 'found box!joe', 'by TCP';
	SKIP: {
	skip 'localhost is no name here', 2 if !defined inet_aton('localhost');
	is map_of($type, hosts => "${_}localhost:" . $server->port)->find('joe@example.com'), 'found box!joe', "${_}localhost and a port: the server there, not the one behind the usual socket" for '', 'inet:';
	}

	$map = map_of($type);
	is $map->find('joe@example.com'), 'found box!joe', 'a connection is there';
	$server->stop;
	unknown($map, 'joe@example.com', qr/./, 'the server is stopped in the middle of lookups', 20);
	$server->start;
	my $answer = '';
	for (my $end = time + 40; time < $end && $answer !~ /^found/; Time::HiRes::sleep(0.2)) {
		$answer = $map->find('joe@example.com');
		last if $answer eq 'not-found';
	}
	is $answer, 'found box!joe', 'and found again when it is back, never "not found"';
	$server->stop;
	$server->start;
	is $map->find('joe@example.com'), 'found box!joe', 'a connection that died between two lookups is made anew';
}

# Another session has the table for itself.
sub locked($type, $server) {
	open my $client, '|-', $server->client . ' >/dev/null' or die "client: $!\n";
	$client->autoflush(1);
	say $client $type eq 'pgsql' ? 'BEGIN; LOCK TABLE u IN ACCESS EXCLUSIVE MODE;' : 'LOCK TABLES u WRITE;';
	my $map = map_of($type, timeout => 1);
	my $answer = '';
	for (my $end = time + 20; time < $end && $answer !~ /^could-not-tell/; Time::HiRes::sleep(0.1)) {
		$answer = $map->find('joe@example.com');
	}
	like $answer, qr/^could-not-tell .*no answer in time/, 'a locked table';
	say $client $type eq 'pgsql' ? 'COMMIT;' : 'UNLOCK TABLES;';
	close $client;
	for (my $end = time + 40; time < $end && $answer !~ /^found/; Time::HiRes::sleep(0.1)) {
		$answer = $map->find('joe@example.com');
		last if $answer eq 'not-found';
	}
	is $answer, 'found box!joe', 'is asked again when it is free';
}

# Settings of TLS mean TLS, and one that is verified if they say so.
sub tls($type, $server) {
	my $tcp = '127.0.0.1:' . $server->port;
	my $ca = Certificates->directory;
	my ($file, $verify) = $type eq 'pgsql' ? ('sslrootcert', { sslmode => 'verify-full' }) : ('tls_CAfile', { tls_verify_cert => 'yes' });
	unknown(map_of($type, hosts => $tcp, $file => "$ca/ca.pem", %$verify), 'joe@example.com', qr/SSL|TLS/, 'a server without TLS, which is to be verified');
	unknown(map_of($type, hosts => $tcp, $type eq 'pgsql' ? (sslmode => 'require') : ($file => "$ca/ca.pem")), 'joe@example.com', qr/SSL|TLS/,
		'a server without TLS, and a file that wants it');
	$server->stop;
	$server->use_tls('good');
	$server->start;
	is map_of($type, hosts => $tcp, $file => "$ca/ca.pem", %$verify)->find('joe@example.com'), 'found box!joe', 'a certificate that fits';
	is map_of($type, hosts => $tcp, $type eq 'pgsql' ? (sslmode => 'require') : ($file => "$ca/ca.pem"))->find('joe@example.com'), 'found box!joe', 'one that is not looked at';
	unknown(map_of($type, hosts => $tcp, $file => "$ca/selfsigned.pem", %$verify), 'joe@example.com', qr/certificate/i, 'a certificate of another authority');
}

sub unknown($map, $key, $reason, $name, $seconds = 6) {
	my $start = Time::HiRes::time();
	my $answer = $map->find($key);
	like $answer, qr/^could-not-tell .*$reason/, $name;
	cmp_ok Time::HiRes::time() - $start, '<', $seconds, 'in time';
}

sub map_of($type, %o) { Ask->new($type, config($type, %o)) }

sub config($type, %o) {
	my $server = $servers{$type};
	my %all = $server ? (hosts => $server->host, user => $type eq 'pgsql' ? 'admin' : 'reader', password => $RealSql::password,
		dbname => $type eq 'pgsql' ? 'postgres' : 'mail') : (dbpath => "$dir/users.db");
	%all = (%all, query => "SELECT v FROM u WHERE a = '%s'", %o);
	my $path = "$dir/map" . ++$number . '.cf';
	open my $fh, '>', $path or die "$path: $!\n";
	print $fh map { "$_ = $all{$_}\n" } grep { defined $all{$_} } sort keys %all;
	close $fh;
	chmod 0600, $path;
	return $path;
}

sub fill($type) {
	my %rows = ('joe@example.com' => 'box!joe', 'large@example.com' => 'x' x 1_000_000, 'empty@example.com' => '', map { $odd[$_] => "is $_" } 0 .. $#odd);
	my $text = $type eq 'mysql' ? 'SET NAMES utf8mb4; CREATE TABLE u (a VARCHAR(200) COLLATE utf8mb4_bin, v LONGTEXT);' : 'CREATE TABLE u (a TEXT, v TEXT);';
	my $quote = sub ($s) { $s =~ s/'/''/gr =~ s/\\/$type eq 'mysql' ? '\\\\' : '\\'/ger };
	$text .= "INSERT INTO u VALUES ('" . $quote->($_) . "', '" . $rows{$_} . "');\n" for sort keys %rows;
	$text .= "INSERT INTO u VALUES ('two\@example.com', '1'), ('two\@example.com', '2'), ('null\@example.com', NULL);\n";
	$text .= "CREATE TABLE n (i INTEGER PRIMARY KEY, v VARCHAR(20)); INSERT INTO n VALUES (0, 'zero'), (1, 'one'), (2, 'two');\n";
	$text .= "CREATE FUNCTION mailbox_of(k text) RETURNS SETOF text LANGUAGE sql AS 'SELECT v FROM u WHERE a LIKE k';\n"
		. "CREATE FUNCTION forget(k text) RETURNS text LANGUAGE plpgsql AS 'BEGIN EXECUTE ''DEALLOCATE ALL''; RETURN k; END';\n" if $type eq 'pgsql';
	my $server = $servers{$type};
	open my $fh, '>', "$dir/$type.sql" or die "$dir/$type.sql: $!\n";
	print $fh $text;
	close $fh;
	my $client = $server ? $server->client : "sqlite3 $dir/users.db";
	system("$client < $dir/$type.sql") == 0 or die "$client: $?\n";
}
