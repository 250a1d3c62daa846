#!/usr/bin/perl
# sqlsync against real PostgreSQL, MariaDB and SQLite: after whatever happens to the table, to the server and to itself, the map equals
# what the database's own client prints, or is as it was.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Extent qw(long some_of);
use Fcntl ();
use File::Temp ();
use IO::Handle;
use IO::Socket::INET;
use Test::More;
use Time::HiRes ();
use SqlSync;

my $dir = File::Temp->newdir('/tmp/zq-XXXXXX');
my $slow = $ENV{ZLMTP_SANITIZED} ? 4 : 1;
my $lmdb = LdapSync::has_lmdb();
my @modes = ('generations', $lmdb ? 'lmdb' : (), 'environment');
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

sub equal($sync, $name) { is $sync->difference, '', $name }
sub becomes_equal($sync, $name, $seconds = 10) { is $sync->difference_after($seconds * $slow), '', $name }
sub rows($from, $to, $value = 'lmtp!store!u') { join ', ', map { "('user$_\@example.com', '$value$_')" } $from .. $to }

for my $kind (qw(sqlite pgsql mysql)) {
	subtest $kind => sub {
		plan skip_all => 'built without it' unless -e "$ENV{BUILD_DIR}/db/zlmtp-$kind.so";
		my $missing = $kind eq 'sqlite' ? (-x '/usr/bin/sqlite3' ? undef : 'no sqlite3') : RealSql::missing($kind);
		plan skip_all => $missing if $missing;
		my $database = $kind eq 'sqlite' ? "$dir/users.db" : RealSql->new($kind);
		# the driver knows nothing of the map's live mode: the first one tries all of them, each other one its own
		my @its = long() || $kind eq 'sqlite' ? @modes : $kind eq 'pgsql' ? $modes[0] : $modes[-1];
		changes($database, $kind, $_) for @its;
		guard($database, $kind, @its);
		unusable($database, $kind);
		unclear($database, $kind, $_) for @its;
		follows($database, $kind);
		refuses($database, $kind);
		killed($database, $kind, $_) for @its;
		troubles($database, $kind) if $kind ne 'sqlite';
		if ($kind eq 'sqlite') {
			troubles_of_a_file($database);
			cut_off($database);
		}
		notifications($database) if $kind eq 'pgsql';
		limits($database) if $kind eq 'mysql';
	};
}
streams() if -x '/usr/bin/sqlite3' && -e "$ENV{BUILD_DIR}/db/zlmtp-sqlite.so";
done_testing;

sub sync_of($database, $kind, %o) {
	my $sync = SqlSync->new($database, $kind, %o);
	$sync->sql('DROP TABLE IF EXISTS u; CREATE TABLE u (a VARCHAR(200), v VARCHAR(200)); INSERT INTO u VALUES ' . rows(1, 300));
	return $sync;
}

# Once, in each live mode.
sub changes($database, $kind, $mode) {
	my $sync = sync_of($database, $kind, type => $mode eq 'lmdb' ? 'lmdb' : 'btree', environment => $mode eq 'environment');
	my ($exit, $said) = $sync->once;
	is "$exit $said", "0 300 records: 300 added, 0 changed, 0 removed\n", "$mode: the first copy makes the map";
	like qx{$ENV{BUILD_DIR}/db/dblookup --dump -t $sync->{type} $sync->{map}}, qr/\A# [^\n]*, a copy; "sqlsync -f \Q@{[$sync->config]}\E -1" makes it again\n/,
		'a dump names what makes the map again' if !$sync->{environment};
	equal $sync, 'which equals the table';
	($exit, $said) = $sync->once;
	is "$exit $said", "0 300 records: 0 added, 0 changed, 0 removed\n", 'the second changes nothing';
	$sync->sql("INSERT INTO u VALUES ('New\@Example.com', 'x'); DELETE FROM u WHERE a = 'user7\@example.com'; UPDATE u SET v = 'lmtp!other!y' WHERE a LIKE 'user1_\@%'");
	($exit, $said) = $sync->once;
	is "$exit $said", "0 300 records: 1 added, 10 changed, 1 removed\n", 'differences are written';
	equal $sync, 'and map and table are equal again';
	is $sync->find('new@example.com'), 'x', 'keys are folded';
}

# What has lost its content must not empty the map.
sub guard($database, $kind, @its) {
	my $sync = sync_of($database, $kind);
	$sync->once;
	my $before = $sync->map;
	my $is_as_it_was = sub ($name) { is_deeply $sync->map, $before, $name };

	$sync->sql('DELETE FROM u');
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'an empty answer is refused';
	like $said, qr/300 of 300 keys would be removed; nothing was changed; --allow-shrink/, 'in words';
	$is_as_it_was->('and nothing was changed');
	$sync->sql('INSERT INTO u VALUES ' . rows(1, 230));
	is +($sync->once)[0], 75, 'more than a fifth is refused';
	$is_as_it_was->('and nothing was changed');
	$sync->sql('INSERT INTO u VALUES ' . rows(231, 255));
	is +($sync->once)[0], 0, 'less than a fifth goes';
	$sync->sql("DELETE FROM u WHERE a LIKE 'user2_5\@%' OR a LIKE 'user1_5\@%' OR a LIKE 'user8_\@%'");
	($exit, $said) = $sync->once;
	is $exit, 75, 'but what went within ten minutes counts together, over several runs';
	like $said, qr/26 of 255 keys would be removed, after 45 of 300 in the last ten minutes; nothing was changed; --allow-shrink/, 'and those before are named';
	is +($sync->once('--allow-shrink'))[0], 0, '--allow-shrink allows it';
	equal $sync, 'and the map equals the table';
	$sync->sql('DELETE FROM u');
	is +($sync->once('--allow-shrink'))[0], 0, 'an empty answer, too';
	equal $sync, 'and the map is empty';

	$sync = sync_of($database, $kind);
	$sync->sql("DELETE FROM u WHERE a <> 'user1\@example.com'");
	$sync->once;
	$sync->sql('DELETE FROM u');
	is +($sync->once)[0], 75, 'the only record of a map does not go either';
	for my $mode (@its) {
		$sync = SqlSync->new($database, $kind, type => $mode eq 'lmdb' ? 'lmdb' : 'btree', environment => $mode eq 'environment');
		($exit, $said) = $sync->once;
		is $exit, 75, "$mode: no map is made of nothing";
		like $said, qr/the database gives no usable row; no map was made; --allow-shrink if that is meant/, '... which is said';
		is $sync->map, undef, '... and would answer "not found" to everybody';
		is +($sync->once('--allow-shrink'))[0], 0, '... unless that is meant';
		is_deeply $sync->map, {};
		is +($sync->once)[0], 0, '... and what was allowed once may stay so';
	}
	$sync = SqlSync->new($database, $kind);
	$sync->_put('users', '');
	system("$ENV{BUILD_DIR}/db/newdb -s -l $sync->{map} >/dev/null 2>&1") == 0 or die;
	($exit, $said) = $sync->once;
	is $exit, 75, 'nor is an empty map a copy of nothing';
	like $said, qr/the database gives no usable row, and the map has none; --allow-shrink if that is meant/;
	is +($sync->once('--allow-shrink'))[0], 0;
	is +($sync->once)[0], 0, 'unless that was allowed';
	$sync = SqlSync->new($database, $kind, settings => "interval = 1\n")->start;
	ok $sync->hears(qr/no map was made/), 'one that stays says so';
	$sync->sql('INSERT INTO u VALUES ' . rows(1, 3));
	becomes_equal $sync, 'goes on, and makes the map when there is something';
	is $sync->stop, 0;
	is scalar(() = $sync->said =~ /no map was made/g), 1, 'it was said once';
}

# Rows that cannot be used leave their keys as they are, and the others are copied.
sub unusable($database, $kind) {
	my $sync = sync_of($database, $kind);
	$sync->once;
	$sync->sql("UPDATE u SET v = NULL WHERE a = 'user1\@example.com'; INSERT INTO u VALUES ('user2\@example.com', 'lmtp!another!one'), "
		. "('Padded\@example.com   ', '  7 '), ('new\@example.com', NULL), ('both\@example.com', '1'), ('both\@example.com', '2'), ('good\@example.com', '3'), (NULL, '4'), ('', '5'), ('line\@example.com', 'a\nb'), ('same\@example.com', '6'), ('same\@example.com', '6')");
	my ($exit, $said) = $sync->once;
	is $exit, 65, 'rows that cannot be used: status 65';
	like $said, qr/$_/, "$_ is said" for qr/user1\@example\.com: the value is NULL/, qr/user2\@example\.com: several rows with different values/, qr/both\@/, qr/the key is NULL/, qr/line\@example\.com: a control byte in the value/;
	is $sync->find('user1@example.com'), 'lmtp!store!u1', 'a key whose value is NULL keeps what it had';
	is $sync->find('user2@example.com'), 'lmtp!store!u2', 'so does one with two values';
	ok $sync->cannot_tell($_), "$_ had none: lookups cannot tell, and do not find nothing" for 'both@example.com', 'new@example.com';
	is $sync->find('padded@example.com'), 7, 'blanks at the ends, as a column CHAR(n) has them, are none of key and value';
	is $sync->find('good@example.com'), 3, 'all others are copied';
	is $sync->find('same@example.com'), 6, 'two rows that say the same are one';
	unlike $said, qr/nothing was changed/, 'they are no reason not to write the others';
	($exit, $said) = $sync->once;
	like $said, qr/^306 records: 0 added, 0 changed, 0 removed, \d+ unusable$/m, 'the next comparison finds nothing to do';
	$sync->sql("DELETE FROM u WHERE v = '1'; UPDATE u SET v = '8' WHERE a = 'new\@example.com'");
	$sync->once;
	is $sync->find('both@example.com'), 2, 'one that is clear now has its value';
	is $sync->find('new@example.com'), 8, '... and so has the other';
	$sync->sql("UPDATE u SET v = NULL WHERE a = 'new\@example.com'; DELETE FROM u WHERE a = 'both\@example.com'");
	$sync->once;
	is $sync->find('new@example.com'), 8, 'that it keeps when it is unclear again';
	ok !defined $sync->find('both@example.com') && !$sync->cannot_tell('both@example.com'), 'one whose rows are gone is not found';
}

# New keys that are unclear, in each live mode, with the first copy and behind it.
sub unclear($database, $kind, $mode) {
	my $sync = SqlSync->new($database, $kind, type => $mode eq 'lmdb' ? 'lmdb' : 'btree', environment => $mode eq 'environment');
	$sync->sql("DROP TABLE IF EXISTS u; CREATE TABLE u (a CHAR(80), v CHAR(80)); INSERT INTO u VALUES ('ann\@x.example', 'lmtp!store!ann'), ('first\@x.example', NULL)");
	is +($sync->once)[0], 65, "$mode: a first copy with a row that cannot be used";
	is $sync->find('ann@x.example'), 'lmtp!store!ann', 'the others are there';
	ok $sync->cannot_tell('first@x.example'), 'of it lookups cannot tell';
	$sync->sql("INSERT INTO u VALUES ('second\@x.example', '1'), ('second\@x.example', '2')");
	is +($sync->once)[0], 65, 'and a new one behind it';
	ok $sync->cannot_tell('second@x.example'), '... likewise';
	$sync->sql("DELETE FROM u WHERE a <> 'ann\@x.example'");
	is +($sync->once)[0], 0, 'their rows are gone';
	ok !defined $sync->find($_) && !$sync->cannot_tell($_), "and $_ is not found" for 'first@x.example', 'second@x.example';
}

# -w and interval; a second one for the same map; a signal within a query.
sub follows($database, $kind) {
	my $sync = sync_of($database, $kind, settings => "interval = 1\n")->start;
	becomes_equal $sync, '-w makes the map';
	ok $sync->hears(qr/in step/), 'and says that it is in step';
	$sync->sql("UPDATE u SET v = 'changed' WHERE a = 'user9\@example.com'; DELETE FROM u WHERE a = 'user8\@example.com'");
	becomes_equal $sync, 'a change is there after the interval';
	if ($kind eq 'sqlite' || long()) {
		# it waits five seconds for the first one
		my ($exit, $said) = $sync->once;
		is $exit, 75, 'a second process for the same map is refused';
		like $said, qr/process \d+ keeps this map already/, 'in words';
	}
	is $sync->stop, 0, 'SIGTERM ends it';
	if ($kind eq 'sqlite') {
		open my $other, '+>', "$sync->{map}.ldapsync" or die;
		# struct flock: F_WRLCK, SEEK_SET, all of it; of this process
		my $lock = pack 's s x4 q q i x4', Fcntl::F_WRLCK, 0, 0, 0, 0;
		fcntl $other, Fcntl::F_SETLK, $lock or die "fcntl: $!";
		my ($exit, $said) = $sync->once;
		is $exit, 75, 'a map that ldapsync keeps is not kept by sqlsync as well';
		like $said, qr/^sqlsync: \S+: process $$, of ldapsync, keeps this map already$/m, '... in words';
		close $other;
		is +($sync->once)[0], 0, '... until that has ended';
		unlink "$sync->{map}.ldapsync";
		$sync->forget;
		$sync->start;
		ok $sync->hears(qr/in step/);
		unlink "$sync->{map}.sqlsync" or die;
		ok $sync->hears(qr/^sqlsync: \Q$sync->{map}.sqlsync\E: was deleted or replaced by another program; it is made again$/m), 'a lock that is deleted is made again';
		is $sync->stop, 0;
	}
	$sync->start;
	$sync->sql('DELETE FROM u');
	is $sync->ended(10 * $slow), 75, 'a table that was emptied ends it, and the map stays';
	is scalar keys $sync->map->%*, 299, 'as it was';
}

sub refuses($database, $kind) {
	for ([query => 'SELECT a FROM u', qr/one column/], [query => 'SELECT a, v, v FROM u', qr/more columns than/], [query => 'DELETE FROM u', qr/:\d+: query: it would change the database/], [query => "SELECT a, v FROM u WHERE a = '%s'", qr/:\d+: query: '%s' asks for one key/],
		[settings => "nonsense = 1\n", qr/unknown keyword "nonsense"/], [settings => "interval = 0\n", qr/:\d+: interval: must not be 0/],
		[settings => $kind eq 'pgsql' ? "interval = soon\n" : "listen = users\n", $kind eq 'pgsql' ? qr/interval/ : qr/listen/]) {
		my ($name, $value, $words) = @$_;
		my $sync = sync_of($database, $kind, $name => $value);
		my ($exit, $said) = $sync->once;
		is $exit, 78, "refused: $value";
		like $said, qr/^sqlsync: [^\n]*$words[^\n]*\n\z/, 'in one line';
		ok !-e "$sync->{map}.db", 'and no map was made';
	}
	my ($exit) = sync_of($database, $kind, query => 'SELECT nix FROM u')->once;
	is $exit, 75, 'an error of the database is none of ours';
}

# Server and sqlsync are killed in the middle of a copy, and sqlsync while it writes: in each live mode nobody is lost, and the next
# comparison makes map and table equal.
sub killed($database, $kind, $mode) {
	my $sync = sync_of($database, $kind, type => $mode eq 'lmdb' ? 'lmdb' : 'btree', environment => $mode eq 'environment',
		settings => "timeout = 30\n");
	$sync->once;
	my $before = $sync->map;
	$sync->sql('DROP TABLE IF EXISTS slow; CREATE TABLE slow AS SELECT a, v FROM u');
	my $query = $sync->{query};
	my $asks = sub ($text) { $sync->{query} = $text; $sync->configure };
	my $drip = { pgsql => "SELECT a, v || left(repeat('x', 20000), 0) || pg_sleep(0.05)::text FROM slow", mysql => "SELECT a, CONCAT(v, IF(SLEEP(0.05), '', '')) FROM slow",
		sqlite => 'SELECT a, v FROM u WHERE (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT count(*) FROM n) > 0' }->{$kind};
	my $is_reading = sub { $kind eq 'sqlite' ? grep { (readlink // '') eq $database } glob "/proc/$sync->{pid}/fd/*" : $sync->busy };
	$asks->($drip);
	if ($kind ne 'sqlite') {
		my $pid = open my $fh, '-|', "exec $ENV{BUILD_DIR}/db/sqlsync -f @{[$sync->config]} -1 2>&1" or die;
		ok wait_for(sub { $sync->busy }), "$mode: a copy has begun";
		$database->stop;
		my $said = join '', <$fh>;
		close $fh;
		is $? >> 8, 75, 'the server is killed in the middle of it: status 75';
		is_deeply $sync->map, $before, 'and the map is as it was';
		$database->start;
	}
	$sync->start;
	ok wait_for($is_reading), "$mode: a copy has begun";
	is $sync->stop('KILL'), -9, 'sqlsync is killed in the middle of it';
	is_deeply $sync->map, $before, 'and the map is as it was';
	if ($kind ne 'sqlite') {
		# it goes on with the query behind a client that was killed
		$database->stop;
		$database->start;
	}

	# all values change; how long that takes is what the kills are spread over
	$asks->($query);
	$sync->sql("UPDATE u SET v = 'first'");
	my $start = Time::HiRes::time();
	is +($sync->once)[0], 0, 'the next comparison copies';
	my $takes = Time::HiRes::time() - $start;
	equal $sync, 'and the map equals the table';
	my $old = 'first';
	for my $round ($kind eq 'sqlite' ? 1 .. 6 : some_of(3, 1 .. 6)) {
		$sync->sql("UPDATE u SET v = 'round $round'");
		$sync->start;
		Time::HiRes::sleep($takes * $round / 6);
		$sync->stop('KILL');
		my ($exit, $said) = $sync->once;
		if ($mode eq 'environment' && $exit != 0) {
			# one that is killed inside may leave locks behind
			like $said, qr/recover/, "round $round: the environment has to be recovered";
			system("$ENV{BUILD_DIR}/db/dbupdate -C $sync->{dir}/env $sync->{map} recover >/dev/null 2>&1") == 0 or diag 'recover failed';
			my $map = $sync->map // {};
			is_deeply [grep { ($map->{$_} // '') !~ /^(?:\Q$old\E|round $round)$/ } keys %$before], [], '... all are in it';
			($exit, $said) = $sync->once;
		}
		is $exit, 0, "round $round: killed while it writes; the next one copies" or diag $said;
		equal $sync, '... and the map equals the table';
		$old = "round $round";
	}
}

# One comparison that fails, in less than so many seconds: one line, and the map is as it was.
sub fails($sync, $name, $words, $seconds, $before) {
	my $start = Time::HiRes::time();
	my ($exit, $said) = $sync->once;
	is $exit, 75, "$name: status 75";
	like $said, qr/^sqlsync: [^\n]*$words[^\n]*\n\z/, '... in one line';
	cmp_ok Time::HiRes::time() - $start, '<', $seconds, '... in time';
	is_deeply $sync->map, $before, '... and the map is as it was';
}

# A SQLite file that is locked, removed, damaged or none, and one that may not be read, change nothing, and are followed again.
sub troubles_of_a_file($database) {
	my $sync = sync_of($database, 'sqlite', settings => "timeout = 1\n");
	$sync->once;
	my $before = $sync->map;
	my $refused = sub ($name, $words) { fails($sync, $name, $words, 8, $before) };
	open my $client, '|-', "sqlite3 -cmd '.timeout 30000' $database" or die "client: $!\n";
	$client->autoflush(1);
	say $client "BEGIN EXCLUSIVE; DELETE FROM u;\n.shell touch $sync->{dir}/locked";
	ok wait_for(sub { -e "$sync->{dir}/locked" }), 'another process has the file, and a change in it that it takes back';
	$refused->('a locked file', qr/locked/);
	say $client 'ROLLBACK;';
	close $client;
	is +($sync->once)[1], "300 records: 0 added, 0 changed, 0 removed\n", 'it is free again';
	rename $database, "$database.away" or die;
	$refused->('a file that is removed', qr/unable to open/);
	open my $fh, '>', $database or die;
	close $fh;
	$refused->('an empty file', qr/no such table/);
	open $fh, '>', $database or die;
	print $fh 'x' x 8192;
	close $fh;
	$refused->('a file of another kind', qr/not a database/);
	system('cp', "$database.away", $database) == 0 or die;
	open $fh, '+<', $database or die;
	seek $fh, 4096, 0;
	print $fh "\xff" x ((-s $database) - 4096);
	close $fh;
	$refused->('damaged pages', qr/malformed/);
	rename "$database.away", $database or die;
	is +($sync->once)[1], "300 records: 0 added, 0 changed, 0 removed\n", 'it is back';
	# -w does not end by that
	my $staying = sync_of($database, 'sqlite', settings => "timeout = 1\ninterval = 1\n")->start;
	becomes_equal $staying, '-w follows';
	rename $database, "$database.away" or die;
	ok $staying->hears(qr/unable to open/), 'a file that has gone is told';
	rename "$database.away", $database or die;
	$staying->sql("UPDATE u SET v = 'back'");
	becomes_equal $staying, 'and followed again when it is back', 20;
	is $staying->stop, 0, 'until it is stopped';
}

# Servers that are killed, stopped or silent in the middle of a copy.
sub troubles($database, $kind) {
	my $sync = sync_of($database, $kind);
	$sync->once;
	my $before = $sync->map;
	# one row at a time, wide enough to leave the server's buffers; a query goes on behind a client that was killed, and has its table
	$sync->sql('DROP TABLE IF EXISTS slow; CREATE TABLE slow AS SELECT a, v FROM u');
	my $drip = $kind eq 'pgsql' ? "SELECT a, v || left(repeat('x', 20000), 0) || pg_sleep(0.05)::text FROM slow"
		: "SELECT a, CONCAT(v, IF(SLEEP(0.05), '', '')) FROM slow";
	for my $what ('KILL', 'STOP') {
		# the end of a server is heard at once; its silence is no longer than what a busy machine takes
		my $seconds = $what eq 'KILL' ? 60 : 4;
		my $slow = SqlSync->new($database, $kind, settings => "timeout = $seconds\n", query => $drip);
		$slow->{map} = $sync->{map};
		$slow->configure;
		my $pid = open my $fh, '-|', "exec $ENV{BUILD_DIR}/db/sqlsync -f @{[$slow->config]} -1 2>&1" or die;
		ok wait_for(sub { $sync->busy }), 'the copy has begun';
		$what eq 'KILL' ? $database->stop : $database->signal('STOP');
		my $start = Time::HiRes::time();
		my $said = join '', <$fh>;
		close $fh;
		is $? >> 8, 75, ($what eq 'KILL' ? 'the server is killed' : 'the server is stopped') . ' in the middle of a copy: status 75';
		cmp_ok Time::HiRes::time() - $start, '<', 30, 'in time';
		is_deeply $sync->map, $before, 'and the map is as it was';
		$what eq 'KILL' ? $database->start : $database->signal('CONT');
	}
	# a server that accepts and says nothing, a wrong password, a table that another session has for itself
	my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen: $!\n";
	my $port = $silent->sockport;
	for (['a silent server', sub ($text) { $text =~ s/^hosts = .*$/hosts = inet:127.0.0.1:$port/mr }, qr/no answer in time/],
		['a wrong password', sub ($text) { $text =~ s/^password = .*$/password = wrong/mr }, qr/denied|authentication/],
		['a locked table', sub ($text) { $text }, qr/no answer in time/]) {
		my ($name, $change, $words) = @$_;
		# one that answers has the time for it
		my $odd = SqlSync->new($database, $kind, settings => $name =~ /password/ ? '' : "timeout = 2\nnetwork_timeout = 1\n");
		$odd->{map} = $sync->{map};
		$odd->{access} = $change->($odd->{access});
		$odd->configure;
		my $client;
		if ($name =~ /locked/) {
			open $client, '|-', $database->client . ' >/dev/null' or die "client: $!\n";
			$client->autoflush(1);
			say $client $kind eq 'pgsql' ? 'BEGIN; LOCK TABLE u IN ACCESS EXCLUSIVE MODE;' : 'LOCK TABLES u WRITE;';
			ok wait_for(sub { ($odd->once)[0] == 75 }), "$name: it is locked";
		}
		fails($odd, $name, $words, 10, $before);
		if ($client) {
			say $client $kind eq 'pgsql' ? 'COMMIT;' : 'UNLOCK TABLES;';
			close $client;
			ok wait_for(sub { ($odd->once)[0] == 0 }), '... until the table is free';
		}
	}
	my $slow = SqlSync->new($database, $kind, query => $drip);
	$slow->{map} = $sync->{map};
	$slow->configure;
	# a query goes on behind a client that was killed: it would be taken for the next one's
	$database->stop;
	$database->start;
	for my $signal ('TERM', 'KILL') {
		$slow->start;
		ok wait_for(sub { $sync->busy }), 'a copy has begun';
		my $start = Time::HiRes::time();
		is $slow->stop($signal), $signal eq 'TERM' ? 0 : -9, "SIG$signal in the middle of a copy";
		cmp_ok Time::HiRes::time() - $start, '<', 10, 'is obeyed at once';
		is_deeply $sync->map, $before, 'and the map is as it was';
	}
	$sync->sql("UPDATE u SET v = 'after' WHERE a = 'user3\@example.com'");
	is +($sync->once)[0], 0, 'the next one copies';
	equal $sync, 'and the map equals the table';

	$sync = sync_of($database, $kind, settings => "interval = 1\nnetwork_timeout = 1\nretry_interval = 1\n")->start;
	becomes_equal $sync, '-w follows';
	$database->stop;
	ok $sync->hears(qr/sqlsync: /), 'a server that has gone is told';
	is scalar keys $sync->map->%*, 300, 'and the map stays';
	$database->start;
	$sync->sql("UPDATE u SET v = 'back' WHERE a = 'user5\@example.com'");
	becomes_equal $sync, 'and follows again when the server is back', 20;
	is $sync->stop, 0, 'until it is stopped';
}

# What MySQL's server may cut off removes nobody.
sub limits($database) {
	my $sync = sync_of($database, 'mysql');
	$sync->once;
	$database->administer('SET GLOBAL sql_select_limit = 290, GLOBAL group_concat_max_len = 8');
	is +($sync->once)[1], "300 records: 0 added, 0 changed, 0 removed\n", 'a server with a limit of rows gives all';
	my $before = $sync->map;
	$sync->{query} = 'SELECT a, GROUP_CONCAT(v) FROM u GROUP BY a';
	$sync->configure;
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'lists that were cut off: status 75';
	like $said, qr/^sqlsync: [^\n]*cut off[^\n]*\n\z/, '... in one line';
	is_deeply $sync->map, $before, '... and the map is as it was';
	$database->administer('SET GLOBAL sql_select_limit = DEFAULT, GLOBAL group_concat_max_len = DEFAULT');
}

# A file that is half copied removes nobody.
sub cut_off($database) {
	my $sync = sync_of($database, 'sqlite');
	$sync->once;
	my ($before, $size) = ($sync->map, -s $database);
	for my $cut (1, 1000, 4095, 4096, $size - 20) {
		truncate $database, $size - $cut or die "$database: $!\n";
		my ($exit, $said) = $sync->once;
		is $exit, 75, "$cut bytes are missing at the end of the file: status 75";
		like $said, qr/^sqlsync: [^\n]*(?:malformed|still being copied)[^\n]*\n\z/, '... in one line';
		is_deeply $sync->map, $before, '... and the map is as it was';
	}
	unlink $database;
}

# PostgreSQL tells: changes come at once, and those that nobody could tell of come with the next session.
sub notifications($database) {
	my $sync = sync_of($database, 'pgsql', settings => "interval = 1h\nlisten = \"Users changed\"\nretry_interval = 1\n");
	$sync->{settings} =~ s/"//g;
	$sync->configure;
	$sync->start;
	ok $sync->hears(qr/in step/), 'a sync that listens is in step';
	my $start = Time::HiRes::time();
	$sync->sql("UPDATE u SET v = 'told' WHERE a = 'user5\@example.com'; NOTIFY \"Users changed\"");
	becomes_equal $sync, 'a notification brings a change';
	cmp_ok Time::HiRes::time() - $start, '<', 2 * $slow, 'at once';
	$database->stop;
	ok $sync->hears(qr/sqlsync: /), 'the server is stopped';
	# it must not be back before the change: then it would have been there, and nobody would have told it
	kill 'STOP', $sync->{pid};
	$database->start;
	$sync->sql("UPDATE u SET v = 'untold' WHERE a = 'user6\@example.com'");
	kill 'CONT', $sync->{pid};
	becomes_equal $sync, 'a change while nobody listened is found by the next session', 20;
	$sync->sql("UPDATE u SET v = 'told again' WHERE a = 'user7\@example.com'; NOTIFY \"Users changed\"");
	becomes_equal $sync, 'which listens as well';
	is $sync->stop, 0;
	$sync->{settings} =~ s/Users changed/Changed_Users/;
	$sync->configure;
	$sync->start;
	ok $sync->hears(qr/in step/), 'a channel whose name has capitals';
	for my $notify ('NOTIFY Changed_Users', "SELECT pg_notify('Changed_Users', '')") {
		$sync->sql("UPDATE u SET v = v || '+' WHERE a = 'user8\@example.com'; $notify");
		becomes_equal $sync, "$notify is heard";
	}
	is $sync->stop, 0, 'and ends when told';
	$database->stop;
	my $standby = $database->dir . '/data/standby.signal';
	open my $fh, '>', $standby or die "$standby: $!\n";
	close $fh;
	$database->start;
	$sync->start;
	ok $sync->hears(qr/LISTEN: .*during recovery; remove "listen", or ask/), 'a standby, which tells nobody, is told';
	$database->stop;
	unlink $standby;
	kill 'STOP', $sync->{pid};
	$database->start;
	$sync->sql("UPDATE u SET v = 'told at last' WHERE a = 'user7\@example.com'");
	kill 'CONT', $sync->{pid};
	becomes_equal $sync, 'and it goes on when that is none any more', 20;
	is $sync->stop, 0;
}

# A million rows, or 200,000 without ZLMTP_LONG=1, in at most three times the memory that their bytes take.
sub streams() {
	my $path = "$dir/many.db";
	my $rows = long() ? 1_000_000 : 200_000;
	my $text = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $rows - 1) "
		. "INSERT INTO u SELECT 'user' || (i * 7919 % $rows) || '\@customer' || (i % 5000) || '.example.com', 'smtp-lmtp!store' || (i % 10) || '!user' || i || '%2' FROM n;";
	open my $fh, '|-', "sqlite3 $path" or die;
	print $fh "CREATE TABLE u (a TEXT, v TEXT); $text\n";
	close $fh;
	chomp(my $bytes = qx{sqlite3 $path 'SELECT sum(length(a) + length(v)) FROM u'});
	my $sync = SqlSync->new($path, 'sqlite', type => $lmdb ? 'lmdb' : 'btree');
	for my $name ('a first copy', 'a comparison') {
		my $pid = open my $out, '-|', "exec $ENV{BUILD_DIR}/db/sqlsync -f @{[$sync->config]} -1 2>&1" or die;
		# pages of the map file are the cache's, not the program's
		my $most = 0;
		vec(my $waits = '', fileno $out, 1) = 1;
		until (select my $ready = $waits, undef, undef, 0.01) {
			open my $status, '<', "/proc/$pid/status" or last;
			my ($kb) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$status>;
			$most = $kb * 1024 if ($kb // 0) * 1024 > $most;
		}
		like join('', <$out>), qr/^$rows records: /, "$name of $rows rows";
		close $out;
		my $ratio = sprintf '%.2f', $most / $bytes;
		note "$name: $bytes bytes, $ratio times as much memory";
		SKIP: {
			skip 'sanitizers need memory of their own', 1 if $ENV{ZLMTP_SANITIZED};
			cmp_ok $ratio, '<=', 3, 'in three times the memory of the rows';
		}
	}
}

sub wait_for($condition, $seconds = 20) {
	my $end = Time::HiRes::time() + $seconds * $slow;
	until ($condition->()) {
		return 0 if Time::HiRes::time() > $end;
		Time::HiRes::sleep(0.02);
	}
	return 1;
}
