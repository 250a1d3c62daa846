#!/usr/bin/perl
# dbupdate: its commands in all three ways of being live, and what it says when something is wrong.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Extent 'long';
use Time::HiRes qw(sleep time);
use Tool;

my $dbupdate = tool('dbupdate');
my $newdb = tool('newdb');
my $maptool = "$ENV{BUILD_DIR}/tests/crash/maptool";
my $have_lmdb = slurp("$ENV{BUILD_DIR}/config.h") =~ /HAVE_LMDB 1/;
my @ways = (
	{ name => 'generations', type => 'btree', suffix => '.db' },
	{ name => 'generations of a hash', type => 'bhash', suffix => '.dbh' },
	{ name => 'environment', type => 'btree', suffix => '.db', config => 1 },
	{ name => 'hash in an environment', type => 'bhash', suffix => '.dbh', config => 1 },
	$have_lmdb ? { name => 'lmdb', type => 'lmdb', suffix => '.lmdb' } : (),
);
# hash files go the same ways as trees
my @tried = long() ? @ways : grep { $_->{type} ne 'bhash' } @ways;
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
chmod 0755, scratch();

my $count = 0;
my $w;        # the way that is looked at

# A new directory with a map of the records given, made by newdb.
sub begin($way, %records) {
	$w = { %$way, dir => scratch('map' . ++$count) };
	mkdir $_ or die for $w->{dir}, "$w->{dir}/env";
	$w->{base} = "$w->{dir}/map";
	$w->{file} = $w->{base} . $w->{suffix};
	$w->{conf} = spew("$w->{dir}/sleepyenv.conf", "envhome = $w->{dir}/env\nenvflags = CDB,CREATE\n");
	text(%records);
	my $got = run([$newdb, '-n', '-t', $w->{type}, $w->{base}]);
	die "newdb: $got->{err}" if $got->{status};
}

sub text(%records) { spew($w->{base}, join '', map { "$_ $records{$_}\n" } sort keys %records) }

# What must come is waited for as long as a loaded machine needs; @vain where it must not come.
sub options { return ('-t', $w->{type}, '-w', 20, $w->{config} ? ('-C', $w->{conf}) : ()) }

my @vain = ('-w', 1);

# update(WORD ..., in => TEXT); options before the base are in -X form in a first array.
sub update($words, %how) {
	my @options = ref $words->[0] ? @{shift @$words} : ();
	return run([$dbupdate, options(), @options, $w->{base}, @$words], %how);
}

sub content {
	my $got = run([$maptool, 'dump', $w->{type}, $w->{base}, $w->{config} ? $w->{conf} : '-']);
	return join ' ', sort map { s/\t/=/r } split /\n/, $got->{status} ? "could not tell: $got->{err}" : $got->{out};
}

sub ends($got, $status, $out, $err, $what) {
	subtest $what => sub {
		is $got->{status}, $status, 'exit status';
		ref $out ? like($got->{out}, $out, 'output') : is($got->{out}, $out, 'output');
		ref $err ? like($got->{err}, $err, 'errors') : is($got->{err}, $err, 'errors');
	};
}

# A process that goes on; its pid, and a handle on what it prints.
sub start(@command) {
	my $pid = open(my $out, '-|', @command) // die "@command: $!";
	return ($pid, $out);
}

sub stop($sig, @pids) {
	kill $sig, @pids;
	waitpid $_, 0 for @pids;
}

# ---- the commands, in each way ----

for my $way (@tried) {
	begin($way, a => 1, b => 2, c => 3);
	note $way->{name};

	ends update(['set', 'd', 'four words here ']), 0, '', '', 'set';
	is content(), 'a=1 b=2 c=3 d=four words here ', '... is there, blanks and all';
	ends update(['set', 'a', '']), 0, '', '', 'an empty value';
	ends update(['delete', 'b', 'nope', 'c']), 1, '', qr/\Adbupdate: nope: is not in [^\n]*\n\z/, 'delete names what is not there';
	is content(), 'a= d=four words here ', '... and removes the others';
	ends update(['set', "\tx", 'y']), 65, '', qr/control byte/, 'a key with a control byte';
	ends update(['set', '', 'y']), 65, '', qr/the key is empty/, 'an empty key';

	my $in = "+one\t1\n-a\n+two\t2\ttabs\n";
	ends update(['apply'], in => $in), 0, "ok 3\n", '', 'apply';
	is content(), "d=four words here  one=1 two=2\ttabs", '... makes all changes';
	ends update([['-b', 2], 'apply', spew(scratch('changes'), "+x\t1\n+x\t2\n\n+y\t3\n+z\t4\n")]), 0, "ok 2\nok 5\n", '',
		'batches of two lines from a file';
	ends update(['apply'], in => "\n\n-x\n\n\n-y\n-z\n"), 0, "ok 4\nok 7\n", '', 'an empty line ends a batch';
	is content(), "d=four words here  one=1 two=2\ttabs", '... the last change to a key counts';

	$in = "+good\t1\nbad\n+\tno key\n-neither\tthis\n+cr\t1\r\n+nul\ta\0b\n=x\n+also\tgood\n-";
	my $got = update(['apply'], in => $in);
	ends $got, 65, join('', map { "rejected $_\n" } '2 expected +KEY<TAB>VALUE or -KEY', '3 the key is empty',
			'4 expected +KEY<TAB>VALUE or -KEY', '5 the line ends in CR', '6 a NUL in the value', '7 expected +KEY<TAB>VALUE or -KEY',
			'9 the last line has no newline; it may have been cut off') . "ok 9\n",
		qr/\A(?:dbupdate: standard input:[2-79]: [^\n]*\n){7}\z/, 'bad lines are named';
	is content(), "also=good d=four words here  good=1 one=1 two=2\ttabs", '... and the rest of the batch is made';

	text(one => 1, two => 'two', three => 3);
	ends update(['replace']), 0, "3 records: 1 added, 1 changed, 3 removed\n", '', 'replace';
	is content(), 'one=1 three=3 two=two', '... makes the map equal to the text';
	ends update(['replace', '-'], in => "one 1\ntwo two\nthree 3\n"), 0, "3 records: 0 added, 0 changed, 0 removed\n", '',
		'nothing to do from standard input';
	ends update(['replace', '-a', '-'], in => "One: 1\nfour: a\@b,\n c\@d\n"), 0, "2 records: 1 added, 0 changed, 2 removed\n", '',
		'alias syntax';
	is content(), 'four=a@b,c@d one=1', '... with its lower case and continuation';
	ends update(['replace', '-a', '-'], in => "good: 1\nbad line\n"), 65, '', qr/standard input:2:\d+: /,
		'a text with an error';
	is content(), 'four=a@b,c@d one=1', '... changes nothing';

	for my $nothing ('', "# no users today\n", "\n\n") {
		ends update(['replace', '-'], in => $nothing), 75, '', qr/2 of 2 records would be removed; nothing was changed; --allow-shrink/,
			'an export without a record';
		is content(), 'four=a@b,c@d one=1', '... leaves the map as it was, however small';
	}
	ends update([['--allow-shrink'], 'replace', '-'], in => ''), 0, "0 records: 0 added, 0 changed, 2 removed\n", '',
		'... unless that is meant';
	ends update(['replace', '-'], in => "# nobody yet\n"), 0, "0 records: 0 added, 0 changed, 0 removed\n", '',
		'a map that is empty may stay so';
	ends update(['replace', '-'], in => "one 1\ntwo 2\n"), 0, "2 records: 2 added, 0 changed, 0 removed\n", '', 'and be filled again';
	ends update(['replace', '-'], in => "three 3\n"), 0, "1 record: 1 added, 0 changed, 2 removed\n", '', 'all may be exchanged';

	my %many = map { ("k$_" => $_) } 1 .. 300;
	text(%many);
	update(['replace']);
	delete @many{map { "k$_" } 1 .. 61};
	text(%many);
	ends update(['replace']), 75, '', qr/61 of 300 records would be removed; nothing was changed; --allow-shrink/, 'too much would be removed';
	is scalar(() = content() =~ /=/g), 300, '... nothing has';
	ends update([['--allow-shrink'], 'replace']), 0, "239 records: 0 added, 0 changed, 61 removed\n", '', '... unless that is meant';

	ends update(['check']), 0, qr/\Ahealthy: 239 records\n\z/, '', 'check';
	{
		# an export that failed is no reason to answer "not found" to everybody
		local $w->{base} = "$w->{dir}/first";
		my $no_record = qr/\Adbupdate: \Q$w->{base}\E: the text has no record; no map was made; --allow-shrink if that is meant\n\z/;
		ends update(['replace', '-'], in => ''), 75, '', $no_record, 'a first map is not made of an empty export';
		ends update(['replace', spew(scratch('export'), "# none\n")]), 75, '', $no_record, '... nor of a file that is not its own text';
		ok !-e "$w->{base}$w->{suffix}", '... there is none';
		ends update([['--allow-shrink'], 'replace', '-'], in => ''), 0, "0 records: 0 added, 0 changed, 0 removed\n", '', '... unless that is meant';
		unlink "$w->{base}$w->{suffix}";
		text();
		ends update(['replace']), 0, "0 records: 0 added, 0 changed, 0 removed\n", '', '... but of its own text, which may be empty yet';
	}
	ends update(['recover']), 0, qr/healthy: 239 records\n/, '', 'recover of a healthy map';
	ends update(['recover']), 0, qr/healthy: 239 records\n/, '', '... and once more';
	is scalar(() = content() =~ /=/g), 239, '... leaves it as it is';
	ends run([$newdb, '-t', $w->{type}, $w->{base}]), 73, '', qr/dbupdate/, 'newdb does not build over it';

	unlink $w->{file}, "$w->{file}.journal";
	ends update(['set', 'a', 'b']), 66, '', qr/No such file or directory; make it by "dbupdate \.\.\. replace"$/m, 'a map that is not there, and what makes it';
	ends update(['check']), 3, qr/\Acould not tell: .*No such file/, '', '... cannot be checked';
	ends update(['recover']), 66, '', qr/No such file/, '... nor healed';
	text(new => 'map');
	ends update(['replace']), 0, "1 record: 1 added, 0 changed, 0 removed\n", '', '... but made by replace';
	is content(), 'new=map', '... it holds the text';
}

# ---- the stream ----

{
	begin($ways[0], a => 1);
	pipe my $in, my $feed or die;
	pipe my $said, my $out or die;
	my $pid = fork // die;
	if (!$pid) {
		open STDIN, '<&', $in;
		open STDOUT, '>&', $out;
		close $_ for $feed, $said;
		exec $dbupdate, options(), $w->{base}, 'apply' or exit 127;
	}
	close $_ for $in, $out;
	$feed->autoflush(1);
	my $begun = time;
	print $feed "+b\t2\n";
	is scalar(<$said>), "ok 1\n", 'a feeder that waits is answered';
	cmp_ok time - $begun, '<', 15, '... soon';
	is content(), 'a=1 b=2', '... and the change is there';
	print $feed "+c\t3";
	# until it has read that: FIONREAD
	my $unread = pack 'i', 1;
	for (my $end = time + 20; unpack('i', $unread) && time < $end;) { ioctl $feed, 0x541b, $unread or die "FIONREAD: $!" }
	print $feed "3\n";
	is scalar(<$said>), "ok 2\n", 'a line may come in pieces';
	is content(), 'a=1 b=2 c=33', '... and counts when it is whole';
	close $feed;
	waitpid $pid, 0;
	is $?, 0, 'the end of the stream is no error';

	# who no longer reads the answers
	pipe $in, $feed or die;
	$pid = fork // die;
	if (!$pid) {
		open STDIN, '<&', $in;
		open STDOUT, '>', '/dev/full';
		open STDERR, '>', scratch('err');
		close $feed;
		exec $dbupdate, options(), $w->{base}, 'apply' or exit 127;
	}
	close $in;
	$feed->autoflush(1);
	local $SIG{PIPE} = 'IGNORE';
	print $feed "+d\t4\n\n";
	close $feed;
	waitpid $pid, 0;
	is $? >> 8, 74, 'an answer that cannot be given ends it';
	like slurp(scratch('err')), qr/standard output: No space/, '... and is told';
}

# ---- several at once ----

for my $way (@tried) {
	begin($way, a => 1);
	my @pids;
	for my $n (1 .. 3) {
		spew("$w->{dir}/feed$n", join '', map { "+from$n-$_\t$_\n" . ($_ % 10 ? '' : "\n") } 1 .. 50);
		my $pid = fork // die;
		if (!$pid) {
			open STDOUT, '>', "$w->{dir}/out$n";
			exec $dbupdate, options(), $w->{base}, 'apply', "$w->{dir}/feed$n" or exit 127;
		}
		push @pids, $pid;
	}
	my $bad = grep { waitpid($_, 0); $? } @pids;
	is $bad, 0, "$w->{name}: three feeders at once end well";
	is scalar(() = content() =~ /from/g), 150, '... and no change is lost';
}

# ---- folding, types and files as dbases.conf says ----

{
	begin($ways[2], a => 1);
	my $dbases = "$w->{dir}/dbases.conf";
	spew($dbases, "fqdnroutes btree - -r $w->{base} -lm%C$w->{conf}\n");
	my @plain = ($dbupdate, $w->{base});
	ends run([@plain, 'set', 'User@Example.ORG', 'smtp-lmtp!node!user%2']), 0, '', '', 'dbases.conf says how';
	is content(), 'a=1 user@example.org=smtp-lmtp!node!user%2', '... the key is folded as lookups do';
	ok -e "$w->{file}.journal", '... and it was changed in its environment';
	ends run([@plain, 'set', 'u@x', 'no route']), 65, '', qr/u\@x: /, 'a value that is no route';
	ends run([$dbupdate, '-n', $w->{base}, 'set', 'u@x', 'no route']), 0, '', '', '... may be put if values are not looked at';
	ends run([@plain, 'apply'], in => "+good\@x\tsmtp!h\n+bad\@x\tnothing\n"), 65, qr/\Arejected 2 .*\nok 2\n\z/, qr/standard input:2: /,
		'... and is rejected in a stream';
	ends run([$dbupdate, '-u', $w->{base}, 'set', 'a', 'smtp!h']), 78, '', qr/dbases\.conf:1: .*-u/, 'another folding than that of lookups';
	ends run([$dbupdate, '-t', 'lmdb', $w->{base}, 'set', 'a', 'smtp!h']), 78, '', qr/dbases\.conf:1: says type btree/, 'another type';
	spew($dbases, "fqdnroutes btree - -l $w->{base} -lm%\n");
	ends run([@plain, 'set', 'a', 'smtp!h']), 78, '', qr/dbases\.conf:1: .*-r/, 'a map that is built from its text';
	spew($dbases, " fqdnroutes btree - -l $w->{base} -lm%\n");
	ends run([@plain, 'set', 'a', 'smtp!h']), 78, '', qr/dbases\.conf:1:.*dbases\.conf has errors/s, 'a dbases.conf with errors';
	is update(['check'])->{status}, 0, '... does not keep anybody from looking after the map';
	unlink $dbases;
	ends run([$dbupdate, '-u', options(), $w->{base}, 'set', 'abc', 'x']), 0, '', '', 'upper case';
	like content(), qr/ABC=x/, '... if that is asked for';
	ends run([$dbupdate, $w->{base}, 'set', 'a', 'b']), 78, '', qr/journal.*-C/, 'a map in an environment without its -C';
}

# ---- usage ----

for (['set', 'a'], ['set', 'a', 'b', 'c'], ['delete'], ['apply', 'a', 'b'], ['check', 'x'], ['frobnicate'], ['replace', '--force=1'], []) {
	is run([$dbupdate, 'base', @$_])->{status}, 64, "usage: @$_";
}
like run([$dbupdate, 'base', 'add', 'a', 'b'])->{err}, qr/: add: no such command; expected set, delete, apply, replace, check or recover; try -h\n\z/,
	'the commands are named';
like run([$dbupdate, 'base', 'set', 'a'])->{err}, qr/: set: expected KEY VALUE; try -h\n\z/, 'and what stands behind each';
like run([$dbupdate, 'base', 'check', 'a'])->{err}, qr/: check: expected no more words; try -h\n\z/, '... or nothing';
like run([$dbupdate, '--help'])->{out}, qr/--allow-shrink/, 'long options are in the help';

# ---- what check sees, and what recover does ----

for my $way (@tried) {
	begin($way, map { ("k$_" => "value $_") } 1 .. 500);
	update(['set', 'acknowledged', 'yes']);

	# somebody holds the map and does not go on
	my ($stopped, $held) = start($maptool, 'hold', $w->{type}, $w->{base}, '-', 'fence');
	<$held>;
	my $begun = time;
	ends update([\@vain, 'set', 'x', 'y']), 75, '', qr/locked by $stopped/, "$w->{name}: a map that somebody else keeps is told with his number";
	cmp_ok time - $begun, '<', 15, '... in time';
	ends update([\@vain, 'check']), 3, qr/\Acould not tell: .*locked by $stopped/, '', '... and so is the check';
	stop(KILL => $stopped);

	# litter
	spew("$w->{dir}/.map$w->{suffix}.999999-0.tmp", 'x' x 1000);
	ends update(['check']), 1, qr/\Astale: .*1 temporary file/, '', 'leavings of a killed program';
	ends update(['recover']), 0, qr/\Astale: .*healthy/s, '', '... are swept';
	is_deeply [glob "$w->{dir}/.map*"], [], '... away';

	# damage
	my $whole = slurp($w->{file});
	my $bytes = $whole;
	substr $bytes, 4096, 2048, "\xa5" x 2048;
	substr $bytes, length($bytes) - 3000, 1000, "\x5a" x 1000;
	spew($w->{file}, $bytes);
	ends update(['check']), 2, qr/\Adamaged: /, '', 'a damaged map';
	my $got = update(['recover']);
	if ($w->{config}) {
		ends $got, 0, qr/501 records recreated/, '', '... is recreated from its journal';
	} else {
		ends $got, 65, qr/\.damaged/, qr/replace/, '... is put aside';
		text((map { ("k$_" => "value $_") } 1 .. 500), acknowledged => 'yes');
		ends update(['replace']), 0, qr/501 records/, '', '... and can be made again';
	}
	is scalar(() = content() =~ /=/g), 501, '... with all records';
	like content(), qr/acknowledged=yes/, '... and what was acknowledged';
	ends update(['check']), 0, qr/\Ahealthy: 501 records\n\z/, '', '... healthy';
	ends update(['set', 'x', 'y']), 0, '', '', '... and can be changed';

	next if !$w->{config};
	# an older copy is written over the file, which the cache of the environment hides until the next start of the machine
	my $older = slurp($w->{file});
	text((map { ("k$_" => "newer $_") } 1 .. 500), acknowledged => 'yes', x => 'y');
	ends update(['replace']), 0, qr/500 changed/, '', 'all values are changed';
	spew($w->{file}, $older);
	ends update(['set', 'x', 'z']), 0, '', '', '... and one more, behind that an older copy was written over the file';
	ends update(['check']), 2, qr/damaged: the file is not what its journal says/, '', '... which is seen';
	ends update(['recover']), 0, qr/502 records recreated/, '', '... and mended';
	is scalar(() = content() =~ /=newer/g), 500, '... with all that was acknowledged';
	ends update(['check']), 0, qr/\Ahealthy: 502 records\n\z/, '', '... healthy';

	unlink $w->{file};
	ends update(['check']), 2, qr/\Adamaged: .*journal is there/, '', 'a map that has gone';
	ends update(['recover']), 0, qr/502 records recreated/, '', '... is made from the journal, too';

	# another map in its place
	rename $w->{file}, "$w->{file}.mine";
	unlink "$w->{file}.lock";
	rename "$w->{file}.journal", "$w->{dir}/journal";
	text(other => 'map');
	die if run([$newdb, '-n', '-t', $w->{type}, $w->{base}])->{status};
	rename "$w->{dir}/journal", "$w->{file}.journal";
	ends update(['set', 'a', 'b']), 65, '', qr/--adopt/, 'a map that was replaced behind the journal';
	ends update(['check']), 2, qr/not the one that its journal speaks of/, '', '... is not healthy';
	ends update([['--adopt'], 'recover']), 0, qr/healthy: 1 record$/m, '', '... can be taken as it is';
	is content(), 'other=map', '... and is';
	ends update(['set', 'a', 'b']), 0, '', '', '... and goes on';

	# a damaged journal
	$bytes = slurp("$w->{file}.journal");
	substr $bytes, 100, 1, 'x';
	spew("$w->{file}.journal", $bytes);
	ends update(['check']), 2, qr/\Adamaged: .*journal: damaged at byte/, '', 'a damaged journal';
	ends update(['recover']), 65, qr/./, qr/--adopt/, '... cannot heal';
	ends update([['--adopt'], 'recover']), 0, qr/healthy: 2 records/, '', '... but the map can be taken as it is';
	is content(), 'a=b other=map', '... and is';
}

# ---- environments ----

{
	begin($ways[2], map { ("k$_" => "value $_") } 1 .. 50);
	update(['set', 'acknowledged', 'yes']);
	my @hold = ($maptool, 'hold', $w->{type}, $w->{base}, $w->{conf});

	my ($pid, $out) = start(@hold, 'read');
	<$out>;
	my $begun = time;
	# half of it waits in vain for the lock, each later step has all of it
	my @held = ('-w', 6);
	ends update([\@held, 'set', 'x', 'y']), 75, '', qr/process $pid holds a lock.*recover/, 'a reader that keeps its cursor';
	cmp_ok time - $begun, '<', 15, '... keeps nobody waiting for long';
	ends update([\@held, 'check']), 2, qr/\Awedged: .*process $pid holds a lock\n  $pid \(maptool\): the environment, the map\n\z/, '',
		'... is named';
	ends update(['recover']), 75, qr/\Awedged/, qr/used by $pid \(maptool\): stop it, or give --force/, '... and not stopped';
	ok kill(0, $pid), '... indeed';
	stop(KILL => $pid);
	ends update([\@held, 'check']), 1, qr/\Astale: process $pid has ended with a read lock/, '', 'killed, it leaves its lock behind';
	ends update(['set', 'x', 'y']), 0, '', '', '... which the next change takes away';
	ends update(['check']), 0, qr/\Ahealthy/, '', '... for good';

	($pid, $out) = start(@hold, 'write');
	<$out>;
	stop(KILL => $pid);
	my ($reader, $reads) = start(@hold, 'read');
	<$reads>;
	ends update(['set', 'x', 'z']), 75, '', qr/process $pid has ended with a write lock; run "dbupdate -C \S+ -t btree \S+ recover"/,
		'a writer that was killed';
	my $wedged = update([\@held, 'check']);
	ends $wedged, 2, qr/\Awedged: process $pid has ended with a write lock/, '', '... leaves it wedged';
	unlike $wedged->{out}, qr/dbupdate \S* ?check/, '... and refers to no other check';
	ends update(['recover']), 75, qr/./, qr/used by $reader \(maptool\)/, '... and the others must go';
	ends update([['--force'], 'recover']), 0, qr/stopping $reader \(maptool\).*regions of \S+ removed.*healthy: 52 records/s, '',
		'... by force';
	is waitpid($reader, 0), $reader, '... they go';
	ends update(['set', 'x', 'z']), 0, '', '', '... and it goes on';
	like content(), qr/acknowledged=yes.*x=z/, '... with everything that was acknowledged';

	# two maps in one environment
	my $other = "$w->{dir}/other";
	spew($other, "a 1\n");
	die if run([$newdb, '-n', $other])->{status};
	is run([$dbupdate, options(), $other, 'set', 'b', '2'])->{status}, 0, 'a second map in the environment';
	($pid, $out) = start(@hold, 'write');
	<$out>;
	stop(KILL => $pid);
	spew("$other.db", 'damaged');
	ends update(['recover']), 0, qr/2 records recreated from \S+other\.db\.journal/, '', 'recovery looks after it, too';
	is run([$dbupdate, options(), $other, 'check'])->{out}, "healthy: 2 records\n", '... so it is healthy again';

	# regions that somebody removed by hand, with a damaged file
	my $bytes = slurp($w->{file});
	unlink glob "$w->{dir}/env/__db.*";
	spew($w->{file}, substr($bytes, 0, 4096) . "\x5a" x (length($bytes) - 4096));
	ends update(['set', 'x', 'y']), 75, '', qr/damaged.*recover/, 'a damaged file is not taken into a new environment';
	ends update(['recover']), 0, qr/recreated/, '', '... and healed';
	like content(), qr/acknowledged=yes.*x=z/, '... completely';

	# damage that leads libdb in circles, in an environment that somebody has made meanwhile
	for my $seed (1 .. (long() ? 6 : 2)) {
		srand $seed;
		$bytes = slurp($w->{file});
		substr $bytes, 4096, 8192, join '', map { chr int rand 256 } 1 .. 8192;
		unlink glob "$w->{dir}/env/__db.*";
		spew($w->{file}, $bytes);
		is run([tool('dblookup'), '-t', $w->{type}, '-C', $w->{conf}, $w->{base}, 'k7'])->{status}, 75, "random bytes $seed: could not tell";
		ends update(['check']), 2, qr/\Adamaged: /, '', '... for they are known as such';
		ends update(['recover']), 0, qr/recreated/, '', '... and healed';
	}

	# no CREATE, and RO
	spew($w->{conf}, "envhome = $w->{dir}/env\nenvflags = CDB\n");
	unlink glob "$w->{dir}/env/__db.*";
	ends update(['set', 'x', 'y']), 75, '', qr/has no CREATE in envflags; add it$/m, 'an environment that nobody has made';
	ends update(['recover']), 0, qr/healthy/, '', '... is made by recover';
	ends update(['set', 'x', 'y']), 0, '', '', '... and used';
	spew($w->{conf}, "envhome = $w->{dir}/env\nenvflags = CDB, CREATE, RO\n");
	ends update(['set', 'x', 'z']), 0, '', '', 'with the flags of the HOWTO a map is changed all the same';
	ends run([tool('dblookup'), '-t', $w->{type}, '-C', $w->{conf}, $w->{base}, 'x']), 0, qr/z/, '', '... and asked';
	ends run([tool('newdb'), '-t', $w->{type}, $w->{base}, '/dev/null']), 73, '', qr/dbupdate/, '... and newdb leaves it alone';
}

# ---- generations keep what they replace ----

{
	begin($ways[0], a => 1);
	chmod 0640, $w->{file};
	chown 0, 65534, $w->{file} if $> == 0;
	my @before = stat $w->{file};
	is update(['set', 'b', '2'])->{status}, 0, 'a new generation';
	my @after = stat $w->{file};
	isnt $after[1], $before[1], '... is a new file';
	is_deeply [@after[2, 4, 5]], [@before[2, 4, 5]], '... with owner and mode of the old one';
	is((stat _)[3], 1, '... and one link, as ZMailer wants it');
}

done_testing;
