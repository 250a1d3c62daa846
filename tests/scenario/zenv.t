#!/usr/bin/perl
# zmailer.conf as ZMailer installs it: variables that stand there without a value are not set.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Test::More;
use Spool;
use Tool ();

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $source = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $dir = File::Temp->newdir('/tmp/zlmtp-zenv-XXXXXX');
my $message = "From: Ann <ann\@example.org>\nSubject: lunch\n\nNoon?\n";
my $runs = 0;

$ENV{ZCONFIG} = "$dir/zmailer.conf";
delete $ENV{$_} for qw(MAILVAR MAILBIN MAILSHARE DBTYPE);
Spool->new("$dir/po");
Spool->put("$dir/scheduler.conf", "lmtp/*\n\tinterval=1m\n\tcommand=\"lmtp -c lmtp -F UNIX:/nowhere\"\n");
Spool->put("$dir/var/db/dbases.conf", "aliases \$DBTYPE - -la \$MAILVAR/db/aliases -lm\nthishost NONE - - - -\n");
Spool->put("$dir/var/db/aliases", "staff: ann\@example.org\n");

# Runs a program with this zmailer.conf; returns exit status, stdout, stderr.
sub run($conf, $input, @command) {
	Spool->put("$dir/zmailer.conf", $conf);
	my $got = Tool::run(\@command, in => $input, limit => 20);
	return @$got{qw(status out err)};
}

my @forms = ('', ' ', "\t ", '""', "''");
my @send = ("$build/channel/enqueue", '-s', 'ann@example.org', '-r', 'lmtp,-,bob@example.net');

sub zenv_is($name, @expect) {
	for my $form (@forms) {
		my ($variable, $conf, $input, $command, $status, $err) = @expect;
		my ($got, undef, $said) = run("$conf$variable=$form\n", $input, $command->@*);
		is $got, $status, "$name, \"$variable=$form\": exit $status" or diag $said;
		like $said, $err, "$name, \"$variable=$form\": what it says";
	}
}

my $nothing = qr/\A\z/;
my $office = "POSTOFFICE=$dir/po\n";
my $var = "MAILVAR=$dir/var\n";

zenv_is 'an agent without an address of its own goes on', 'BINDADDR', '', '',
	[ "$build/channel/lmtp", '-c', 'lmtp', '-F', 'UNIX:/nowhere' ], 0, $nothing;
zenv_is 'the charset of unlabelled text is the usual one', 'DEFCHARSET', '', '',
	[ "$build/channel/lmtp", '-c', 'lmtp', '-F', 'UNIX:/nowhere' ], 0, $nothing;
zenv_is 'syslog is as without the variable', 'SYSLOGFLG', '', '',
	[ "$build/channel/lmtp", '-c', 'lmtp', '-F', 'UNIX:/nowhere' ], 0, $nothing;
zenv_is 'no post office is named', 'POSTOFFICE', '', $message, \@send, 64, qr/^enqueue: expected the post office:/;
zenv_is 'runqueue is told of no post office', 'POSTOFFICE', '', '', [ "$build/channel/runqueue", '-1' ], 64,
	qr/^runqueue: expected the post office:/;
zenv_is 'zlmtp-check is told of no post office', 'POSTOFFICE', '', '', [ "$build/channel/zlmtp-check" ], 3,
	qr/^zlmtp-check: expected the post office:/;
zenv_is 'the scheduler has no directory of its file', 'MAILSHARE', $office, '', [ "$build/channel/runqueue", '-1' ], 64,
	qr/^runqueue: expected scheduler\.conf:/;
zenv_is 'a command without a path has no directory', 'MAILBIN', $office, '',
	[ "$build/channel/runqueue", '-f', "$dir/scheduler.conf", '-1' ], 0, $nothing;
zenv_is 'the hash level is none', 'SCHEDULERDIRHASH', $office, $message, \@send, 0, $nothing;
zenv_is 'there is no scheduler to be told', 'SCHEDULERNOTIFY', $office, $message, \@send, 0, $nothing;
zenv_is 'the intake is where it usually is', 'INTAKE', "POSTOFFICE=$dir/nowhere\n", $message,
	[ "$build/channel/zlmtp-sendmail", '-f', 'ann@example.org', 'bob@example.net' ], 75,
	qr{^zlmtp-sendmail: no intake at /run/zlmtp/intake: };
zenv_is 'no maps are named', 'MAILVAR', $office, $message,
	[ "$build/channel/enqueue", '-s', 'ann@example.org', 'staff' ], 64, qr/^enqueue: expected the maps that route addresses:/;
zenv_is 'dbases.conf has no directory', 'MAILVAR', '', '',
	[ "$build/db/newdb", '-sf', "$dir/var/db/dbases.conf" ], 78, qr/MAILVAR is not set/;
zenv_is 'maps are of the usual type', 'DBTYPE', $var, '', [ "$build/db/newdb", '-sf', "$dir/var/db/dbases.conf" ], 0,
	$nothing;
ok -f "$dir/var/db/aliases.db", 'which is btree';
zenv_is 'local names need an account', 'ROUTEUSER_IN_ABNORMAL_UNIX', $var, '',
	[ "$build/db/dblookup", '-f', "$dir/var/db/dbases.conf", '-r', 'no-such-account' ], 1, $nothing;

# A variable of the command is missed as if it were not there.
Spool->put("$dir/scheduler.conf", "lmtp/*\n\tinterval=1m\n\tcommand=\"$build/channel/lmtp -c lmtp -l \${LOGFILE} -F UNIX:/nowhere\"\n");
zenv_is 'a command with a variable that has no value', 'LOGFILE', $office, '',
	[ "$build/channel/runqueue", '-f', "$dir/scheduler.conf", '-1' ], 69, qr/\$\{LOGFILE\}, which ZENV does not have/;

my ($status, undef, $err) = run("BINDADDR=nonsense\n", '', "$build/channel/lmtp", '-c', 'lmtp', '-F', 'UNIX:/nowhere');
is $status, 64, 'a BINDADDR that is no address: exit 64';
like $err, qr/^lmtp: BINDADDR of ZENV: nonsense: expected /, 'and the variable is named';

# A value that means nothing is one line, before anything is done.
sub zenv_refuses($variable, $value, $rest, $expected, $input, @command) {
	my $name = "$variable=$value, " . $command[0] =~ s{.*/}{}r;
	my ($got, $out, $said) = run("# here\n$rest$variable=$value\n", $input, @command);
	my $line = 2 + ($rest =~ tr/\n//);
	my $code = $command[0] =~ /zlmtp-check$/ ? 3 : 78;    # UNKNOWN, for monitoring
	is $got, $code, "$name: exit $code";
	is $out, '', "$name: nothing is printed";
	like $said, qr{^[\w-]+: (?:\S+: )?\Q$dir\E/zmailer.conf:$line: $variable: expected $expected, found "\Q$value\E"\n\z}, "$name: file and line";
}

my ($directory, $socket) = ('the absolute path of a directory', 'the absolute path of a UNIX socket');
my @sendmail = ("$build/channel/zlmtp-sendmail", '-f', 'ann@example.org', 'bob@example.net');
for my $value ('x', '3', '-1', '01', '1 2', 'yes', '1.') {
	zenv_refuses('SCHEDULERDIRHASH', $value, $office, '0, 1 or 2', $message, @send);
}
zenv_refuses('SCHEDULERDIRHASH', 'x', $office, '0, 1 or 2', '', "$build/channel/runqueue", '-f', "$dir/scheduler.conf", '-1');
zenv_refuses('SCHEDULERDIRHASH', 'x', "${office}MAILVAR=$dir/var\n", '0, 1 or 2', '', "$build/channel/intake", '-L', "lmtp:UNIX:$dir/in");
for my $value ('po', './po', '../po', '"/po"', '$HOME/po', 'UNIX:/po') {
	zenv_refuses('POSTOFFICE', $value, '', $directory, $message, @send);
}
zenv_refuses('POSTOFFICE', 'po', '', $directory, '', "$build/channel/runqueue", '-l');
zenv_refuses('POSTOFFICE', 'po', '', $directory, '', "$build/channel/zlmtp-queue", 'list');
zenv_refuses('POSTOFFICE', 'po', "INTAKE=$dir/none\n", $directory, $message, @sendmail);
zenv_refuses('POSTOFFICE', 'po', '', $directory, '', "$build/channel/zlmtp-check", '-o', 'spool');
zenv_refuses('MAILSHARE', 'share', $office, $directory, '', "$build/channel/runqueue", '-1');
zenv_refuses('MAILSHARE', 'share', $office, $directory, $message, @send);
zenv_refuses('MAILBIN', 'bin', $office, $directory, '', "$build/channel/runqueue", '-f', "$dir/scheduler.conf", '-1');
zenv_refuses('MAILVAR', 'var', $office, $directory, '', "$build/channel/runqueue", '-f', "$dir/scheduler.conf", '-1');
zenv_refuses('MAILVAR', 'var', $office, $directory, $message, "$build/channel/enqueue", '-s', 'ann@example.org', 'staff');
zenv_refuses('MAILVAR', 'var', '', $directory, '', "$build/db/dblookup", '-r', 'staff');
zenv_refuses('MAILVAR', 'var', '', $directory, '', "$build/db/dbserve", '-L', "socketmap:UNIX:$dir/sm");
zenv_refuses('INTAKE', $_, $office, $socket, $message, @sendmail) for 'intake', 'UNIX:intake', '[127.0.0.1]:25';
is_deeply [ glob("$dir/po/{queue,transport,public}/*") ], [ glob("$dir/po/{queue,transport,public}/[0-9]*") ], 'no temporary is left';

# SCHEDULERNOTIFY only makes mail faster: one line, and mail is taken.
for my $value ('notify', './notify', 'UNIX:notify', '/' . 'x' x 200) {
	($status, my $out, $err) = run("${office}SCHEDULERNOTIFY=$value\n", $message, @send);
	is $status, 0, "SCHEDULERNOTIFY=$value: taken";
	like $err, qr/^enqueue: SCHEDULERNOTIFY of ZENV: expected the absolute path of a UNIX socket [^\n]*; the scheduler is not notified of new mail\n\z/,
		'with one line';
}

# A line that is not what it seems is one line, with its number, whoever reads it.
for my $odd ("\0", "\xc2\xa0", "\xe2\x80\x8b") {
	my $holds = $odd eq "\0" ? 'a NUL byte' : sprintf 'U\+%04X, which looks like a blank or like nothing',
		$odd eq "\xc2\xa0" ? 0xa0 : 0x200b;
	for my $line ("POSTOFFICE$odd=$dir/po", "${odd}POSTOFFICE=$dir/po", "POSTOFFICE=$dir/po$odd") {
		for my $command (\@send, [ "$build/channel/runqueue", '-l' ], [ "$build/channel/zlmtp-queue", 'list' ]) {
			my ($got, $out, $said) = run("# here\n$line\n", $message, @$command);
			like $said, qr{^[\w-]+: \Q$dir\E/zmailer.conf:2: the line of POSTOFFICE holds $holds; remove it\n\z}, 'a line with ' .
				unpack('H*', $odd) . ': ' . $command->[0] =~ s{.*/}{}r;
			is "$got $out", '78 ', 'exit 78';
		}
	}
}

# A file that cannot be read is not one without settings: one line, and nothing is done.
my %not = (directory => [ 'Is a directory', sub ($path) { mkdir $path or die } ],
	pipe => [ 'not a regular file', sub ($path) { require POSIX; POSIX::mkfifo($path, 0600) or die } ],
	device => [ 'not a regular file', sub ($path) { symlink '/dev/zero', $path or die } ],
	circle => [ 'Too many levels of symbolic links', sub ($path) { symlink $path, $path or die } ],
	nothing => [ 'No such file or directory', sub ($path) { } ]);
my @readers = (\@send, [ @send, '-P', "$dir/po" ], [ "$build/channel/runqueue", '-1' ],
	[ "$build/channel/runqueue", '-1', '-P', "$dir/po", '-f', "$dir/scheduler.conf" ], [ "$build/channel/zlmtp-queue", 'list' ],
	[ "$build/channel/zlmtp-check" ], [ "$build/channel/intake", '-L', "lmtp:UNIX:$dir/in" ],
	[ "$build/channel/zlmtp-sendmail", 'bob@example.net' ], [ "$build/channel/lmtp", '-c', 'lmtp', '-F', 'UNIX:/nowhere' ],
	[ "$build/channel/lmtp", '-B', '-F', 'UNIX:/nowhere', 'bob@example.net' ], [ "$build/db/newdb", "$dir/map" ],
	[ "$build/db/newdb", '-f', "$dir/var/db/dbases.conf" ], [ "$build/db/dbupdate", "$dir/map", 'set', 'a', 'b' ],
	[ "$build/db/dblookup", '-r', 'bob' ], [ "$build/db/dbserve", '-L', "socketmap:UNIX:$dir/sm" ]);
for my $what (sort keys %not) {
	my ($words, $make) = $not{$what}->@*;
	my $path = "$dir/odd-$what";
	$make->($path);
	local $ENV{ZCONFIG} = $path;
	for my $reader (@readers) {
		my ($got, $out, $said) = run('', $message, @$reader);
		my $name = $reader->[0] =~ s{.*/}{}r . " @$reader[1 .. $#$reader], $what as zmailer.conf";
		is $got, $reader->[0] =~ /zlmtp-check$/ ? 3 : 66, "$name: exit";
		is $out, '', "$name: nothing is printed";
		like $said, qr{^[\w-]+: ZCONFIG: \Q$path\E: \Q$words\E\n\z}, "$name: one line";
	}
}

# Whatever else is read from there must stand above.
my %tested = map { $_ => 1 } qw(BINDADDR DEFCHARSET SYSLOGFLG POSTOFFICE MAILSHARE MAILBIN SCHEDULERDIRHASH
	SCHEDULERNOTIFY INTAKE MAILVAR DBTYPE ROUTEUSER_IN_ABNORMAL_UNIX);
my %read;
for my $file (split /\n/, qx{find "$source/lib" "$source/channel" "$source/db" -name '*.c'}) {
	my $text = Spool::slurp($file);
	$read{$1}++ while $text =~ /\bzenv(?:_get)?\((?:[^"()]*, )?"(\w+)"/g;
}
delete $read{$_} for qw(PATH ZCONFIG);    # handed to agents; each with its own test of runqueue's
is_deeply [ sort keys %read ], [ sort grep { $read{$_} } keys %tested ], 'every variable that is read is tested here';

done_testing;
