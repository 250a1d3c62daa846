#!/usr/bin/perl
# Exit codes: what can be provoked here ends as its page says, and a page lists no code that is neither provoked nor known to
# need more than this test has.

use v5.36;
use FindBin;
use File::Temp ();
use Test::More;

my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $build = $ENV{BUILD_DIR} // $top;
my $dir = File::Temp->newdir('/tmp/zlmtp-exits-XXXXXX');

# What the cases find: a map "good" of two records, a damaged text and a damaged map, configuration good and bad, a post office.
my $setting = <<'END';
printf 'ann lmtp!store!ann\nbob lmtp!store!bob\n' > good && newdb -s good
printf 'ann x\nann y\n' > twice
cp good live && dbupdate -n live replace > live.out
printf 'no database' > broken.db
printf 'no environment\n' > bad.env
printf 'fqdnroutes btree - -l routes -lm%%:\n' > dbases.conf
printf 'user@example.test lmtp!store!user\n' > routes
printf 'fqdnroutes btree\n' > bad.conf
newdb -sf dbases.conf
mkdir -p held && cp dbases.conf held && printf 'lost@example.test lmtp!store!user\n' > held/routes && printf 'not a database' > held/routes.db
printf 'a/*\n    command="/nonesuch x"\n' > scheduler.conf
printf 'a/*\n    nonesuch=1\n' > bad.scheduler
printf 'nonesuch\n' > bad.tls
printf 'From: ann\n\nHello.\n' > message
enqueue -m -P po -s ann@example.org -r a,b,c < message > po.out
mkdir -p damaged/transport damaged/queue && echo rubbish > damaged/transport/17
mkdir -p folder && : > void && echo '# nothing yet' > remark
END

# program => lists of exit code, what is wrong, command
my %cases = (
	dblookup => [
		[0, 'found', 'dblookup good ann'],
		[1, 'not found', 'dblookup good eve'],
		[64, 'usage', 'dblookup good'],
		[65, 'a NUL in a key', 'printf "a\0b\n" | dblookup good -'],
		[66, 'no such map', 'dblookup nonesuch ann'],
		[69, 'unknown type', 'dblookup -t nonesuch good ann'],
		[69, 'no such relation', 'dblookup -f dbases.conf nonesuch ann'],
		[74, 'output that cannot be written', 'dblookup good ann > /dev/full'],
		[75, 'a damaged map', 'dblookup -t btree broken ann'],
		[78, 'a damaged dbases.conf', 'dblookup -f bad.conf fqdnroutes x'],
	],
	dbupdate => [
		[0, 'done', 'dbupdate -n live set eve x'],
		[1, 'a key that is not there', 'dbupdate live delete nobody'],
		[64, 'usage', 'dbupdate live nonesuch'],
		[65, 'a line that is no change', 'echo x | dbupdate live apply'],
		[66, 'no such map', 'dbupdate nonesuch set a b'],
		[69, 'a type that cannot be changed', 'dbupdate -t ordered good set a b'],
		[75, 'too much would be removed', 'seq 100 | sed "s/$/ x/" > many && dbupdate -t btree -n much replace many && echo a b | dbupdate -n much replace -'],
		[78, 'a damaged environment file', 'dbupdate -C $PWD/bad.env good set a b'],
		[0, 'check: healthy', 'dbupdate live check'],
		[2, 'check: damaged', 'dbupdate -t btree broken check'],
	],
	enqueue => [
		[0, 'queued', 'enqueue -P po -s ann@example.org -r a,b,c < message'],
		[64, 'usage', 'enqueue -P po'],
		[65, 'an address that cannot be written down', 'enqueue -P po -s ann@example.org -r "a,b,c$(printf "\001")" < message'],
		[66, 'no dbases.conf', 'enqueue -P po -f nonesuch -s ann@example.org a@b < message'],
		[67, 'an address that does not exist', 'enqueue -P po -f dbases.conf -o protocols=routes -s ann@example.org nobody@example.test < message'],
		[73, 'no post office', 'enqueue -P nonesuch -s ann@example.org -r a,b,c < message'],
		[74, 'a message that cannot be read', 'enqueue -P po -s ann@example.org -r a,b,c < .'],
		[75, 'a map that could not tell', 'enqueue -P po -f held/dbases.conf -s ann@example.org lost@example.test < message'],
		[78, 'a damaged dbases.conf', 'enqueue -P po -f bad.conf -s ann@example.org a@b < message'],
	],
	intake => [
		[0, 'ended by a signal', 'timeout --preserve-status 2 intake -f dbases.conf -P po -L lmtp:UNIX:$PWD/in'],
		[64, 'usage', 'intake -f dbases.conf -P po'],
		[66, 'no dbases.conf', 'intake -f nonesuch -P po -L lmtp:UNIX:$PWD/in'],
		[67, 'no such group', 'intake -f dbases.conf -P po -L lmtp:UNIX:$PWD/in,group=nonesuch'],
		[69, 'a server that listens there', 'intake -f dbases.conf -P po -L lmtp:UNIX:$PWD/in & until [ -S in ]; do sleep 0.1; done;'
			. ' intake -f dbases.conf -P po -L lmtp:UNIX:$PWD/in; s=$?; kill $!; wait; exit $s'],
		[73, 'no post office', 'intake -f dbases.conf -P nonesuch -L lmtp:UNIX:$PWD/in'],
		[78, 'a damaged dbases.conf', 'intake -f bad.conf -P po -L lmtp:UNIX:$PWD/in'],
	],
	lmtp => [
		[0, 'end of file', 'lmtp -F UNIX:/nonesuch < /dev/null'],
		[64, 'usage', 'lmtp'],
		[66, '-B -f without a file', 'lmtp -F UNIX:/nonesuch -f nonesuch -B a@b'],
		[74, '-B with input that cannot be read', 'lmtp -F UNIX:/nonesuch -B - < .'],
		[75, '-B without a server', 'lmtp -F UNIX:/nonesuch -B a@b'],
		[78, 'a damaged tls.conf', 'lmtp -F UNIX:/nonesuch -S bad.tls < /dev/null'],
		[78, '-B with a damaged dbases.conf', 'lmtp -F UNIX:/nonesuch -f bad.conf -B a@b'],
	],
	ldapsync => [
		[64, 'usage', 'ldapsync'],
		[66, 'no configuration', 'ldapsync -f nonesuch -1'],
		[78, 'a damaged configuration', 'ldapsync -f message -1'],
	],
	newdb => [
		[0, 'built', 'newdb -s good'],
		[64, 'usage', 'newdb'],
		[65, 'a key twice', 'newdb -s twice'],
		[66, 'no text', 'newdb nonesuch'],
		[66, 'no dbases.conf', 'newdb -f nonesuch'],
		[69, 'unknown type', 'newdb -t nonesuch good'],
		[69, 'a policy database', 'exec -a makedb newdb -p btree x'],
		[73, 'no such directory', 'newdb -s nonesuch/x good'],
		[78, 'a damaged dbases.conf', 'newdb -f bad.conf'],
	],
	runqueue => [
		[0, 'nothing to do', 'enqueue -m -P empty -s a@b -r a,b,c < message && rm empty/*/[0-9]* && runqueue -1 -P empty -f scheduler.conf'],
		[64, 'usage', 'runqueue -P po'],
		[65, 'a damaged file in a list', 'runqueue -l -P damaged'],
		[66, 'no configuration', 'runqueue -1 -P po -f nonesuch'],
		[66, 'a directory as configuration', 'runqueue -1 -P po -f folder'],
		[66, '-F without a file', 'runqueue -1 -P po -f scheduler.conf -F nonesuch'],
		[66, 'a directory as -F', 'runqueue -1 -P po -f scheduler.conf -F folder'],
		[66, 'no post office', 'runqueue -l -P nonesuch'],
		[69, 'an agent that is not there', 'runqueue -1 -P po -f scheduler.conf'],
		[73, 'no post office to run in', 'runqueue -1 -P nonesuch -f scheduler.conf'],
		[74, 'output that cannot be written', 'runqueue -l -P po > /dev/full'],
		[75, 'a scheduler that runs', 'mkdir -p other/transport && echo $$ > other/.pid.scheduler && runqueue -1 -P other -f scheduler.conf; exit $?'],
		[78, 'a damaged configuration', 'runqueue -1 -P po -f bad.scheduler'],
		[78, 'an empty configuration', 'runqueue -1 -P po -f void'],
		[78, 'a configuration without a clause', 'runqueue -1 -P po -f remark'],
	],
	sqlsync => [
		[64, 'usage', 'sqlsync -f message'],
		[66, 'no configuration', 'sqlsync -f nonesuch -1'],
		[78, 'a damaged configuration', 'sqlsync -f message -1'],
	],
	'zlmtp-report' => [
		[0, 'nothing to do', 'zlmtp-report -f dbases.conf -P po < /dev/null'],
		[64, 'usage', 'zlmtp-report'],
		[73, 'no post office', 'zlmtp-report -f dbases.conf -P nonesuch < /dev/null'],
		[66, 'no zmailer.conf', 'ZCONFIG=/nonesuch zlmtp-report -f dbases.conf -P po < /dev/null'],
		[66, 'no dbases.conf', 'zlmtp-report -f nonesuch -P po < /dev/null'],
		[66, 'a directory as dbases.conf', 'zlmtp-report -f folder -P po < /dev/null'],
		[78, 'a damaged dbases.conf', 'zlmtp-report -f bad.conf -P po < /dev/null'],
		[78, 'an empty dbases.conf', 'zlmtp-report -f void -P po < /dev/null'],
		[74, 'standard input that cannot be read', 'zlmtp-report -f dbases.conf -P po < .'],
		[76, 'no request', 'echo hello | zlmtp-report -f dbases.conf -P po'],
	],
	'zlmtp-queue' => [
		[0, 'held', 'zlmtp-queue -P po hold $(cat po.out) && zlmtp-queue -P po release all'],
		[1, 'nothing matches', 'zlmtp-queue -P po list to=nobody'],
		[64, 'usage', 'zlmtp-queue -P po hold'],
		[65, 'a damaged file in a list', 'zlmtp-queue -P damaged list'],
		[66, 'no post office', 'zlmtp-queue -P nonesuch list'],
		[73, 'a lock that cannot be made', 'mkdir -p locked/transport locked/queue locked/.pid.runqueue && cp po/transport/[0-9]* locked/transport && cp -p po/queue/[0-9]* locked/queue && zlmtp-queue -P locked hold all'],
		[74, 'output that cannot be written', 'zlmtp-queue -P po list > /dev/full'],
		[75, 'a scheduler that runs', 'mkdir -p another/transport && echo $$ > another/.pid.scheduler && zlmtp-queue -P another hold all; exit $?'],
		[78, 'damaged maps', 'zlmtp-queue -P po -f bad.conf reroute all'],
	],
	'zlmtp-check' => [
		[0, 'all is well', 'mkdir -m 750 -p well/transport well/queue well/postman && zlmtp-check -P well -o spool'],
		[1, 'a queue that nobody runs', 'zlmtp-check -P well -o queue'],
		[2, 'a damaged file', 'zlmtp-check -P damaged -o queue'],
		[2, 'an agent that is not there', 'zlmtp-check -P well -o agents -f scheduler.conf'],
		[2, 'no clause for mail', 'zlmtp-check -P well -o agents -f void'],
		[3, 'usage', 'zlmtp-check -o nonesuch'],
	],
);

# Codes of a page that no case above provokes => why.
my %elsewhere = (
	dbupdate => { 3 => 'tests/db/dbupdate-trouble.t', 70 => 'a bug', 71 => 'no processes', 73 => 'tests/db', 74 => 'a full disk, tests/db',
		77 => 'tests/db' },
	enqueue => { 77 => 'tests/scenario/enqueue.t' },
	intake => { 71 => 'no threads', 74 => 'a disk with errors: tests/crash/injected.t' },
	lmtp => { 1 => 'needs a server: tests of probes', 71 => 'no memory' },
	ldapsync => { 0 => 'needs a directory: tests/real/ldapsync.t', 65 => 'the same', 69 => 'the same', 73 => 'the same', 74 => 'the same',
		75 => 'the same', 77 => 'the same' },
	newdb => { 70 => 'a bug', 74 => 'a full disk: tests/db/trouble.t', 77 => 'tests/db/trouble.t' },
	runqueue => { 71 => 'no threads', 77 => 'tests/scenario/queue-operate.t' },
	sqlsync => { 0 => 'needs a database: tests/real/sqlsync.t', 65 => 'the same', 69 => 'the same', 73 => 'the same', 74 => 'the same',
		75 => 'the same', 77 => 'the same' },
	'zlmtp-queue' => { 71 => 'a lock that root cannot give away', 77 => 'tests/scenario/queue-operate.t' },
	'zlmtp-report' => { 71 => 'no rights to enter transport/', 77 => 'a root that may not' },
);

sub slurp ($path) {
	open my $file, '<', $path or die "$path: $!\n";
	local $/;
	return <$file>;
}

# The numbers of the section: tags of its list, and those in its text.
sub codes_of ($page) {
	my ($section) = slurp($page) =~ /^\.Sh EXIT STATUS\n(.*?)^\.Sh /ms or return;
	my %codes;
	for my $line (split /\n/, $section) {
		if ($line =~ /^\.It (.*)/) { $codes{$_} = 1 for $1 =~ /\d+/g }
		elsif ($line !~ /^\.|0\.\d/) { $codes{$_} = 1 for $line =~ /(?<![\w.])\d{1,2}(?![\w.])/g }
	}
	return %codes;
}

# Exit code and all that was said.
sub type ($script) {
	open my $bash, '-|', 'bash', '-c', "exec 2>&1\n$script" or die "bash: $!\n";
	my $said = join '', <$bash>;
	close $bash;
	return ($? >> 8, $said);
}

mkdir "$dir/bin" or die;
for my $program (glob "$build/channel/{lmtp,lmtp-probe,enqueue,runqueue,zlmtp-queue,zlmtp-report,zlmtp-check,intake} $build/db/{newdb,dbupdate,dblookup,dbserve,ldapsync,sqlsync}") {
	symlink $program, "$dir/bin/" . $program =~ s{.*/}{}r if -x $program;
}
$ENV{PATH} = "$dir/bin:$ENV{PATH}";
delete @ENV{qw(ZCONFIG MAILVAR MAILBIN MAILSHARE)};
chdir $dir or die;
my ($status, $said) = type("set -e\n$setting");
is($status, 0, 'the setting is there') or diag $said;

for my $program (sort keys %cases) {
	SKIP: {
		skip "$program is not built", 1 if !-x "$dir/bin/$program";
		my %page = codes_of("$top/doc/$program.8");
		my %provoked;
		for my $case (@{$cases{$program}}) {
			my ($code, $what, $command) = @$case;
			my ($got, $output) = type($command);
			is($got, $code, "$program: $what") or diag $output;
			ok($page{$code}, "$program.8 says what $code is");
			$provoked{$code} = 1;
		}
		is(join(' ', grep { !$provoked{$_} && !$elsewhere{$program}{$_} } sort { $a <=> $b } keys %page), '',
			"$program.8 lists no code that nobody has seen");
	}
}
my (undef, $words) = type('ZCONFIG=/nonesuch lmtp -F UNIX:/nonesuch < /dev/null');
like($words, qr{^lmtp: ZCONFIG: /nonesuch: No such file or directory}m, 'settings that cannot be read: the file is named');
chdir '/';
done_testing;
