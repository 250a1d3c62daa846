#!/usr/bin/perl
# Each program that reads a secret (the password of an LDAP or SQL map, of a copy of a directory, of lmtp -A, or the key of a
# certificate) makes sure that neither it nor a child that knows it, too, can leave a core file with it.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);
use Certificates;
use Reports;
use RunQueue;
use Spool;
use Tool;

plan skip_all => 'preloading does not go with sanitizers' if $ENV{ZLMTP_SANITIZED};
my $build = $ENV{BUILD_DIR};
my $library = preload("$ENV{SRC_DIR}/tests/db/keepsecrets.c") // plan skip_all => 'no compiler';
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
my $dir = scratch('site');
mkdir $_ for $dir, "$dir/db";
chmod 0755, scratch(), $dir;
my $config = slurp("$build/config.h");
my $away = do {
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die;
	$socket->sockport;
};

sub secret($name, $text) {
	spew("$dir/$name", $text);
	chmod 0600, "$dir/$name";
	return "$dir/$name";
}

my $ldap = secret('secret-ldap', "uri ldap://127.0.0.1:$away\nbase o=x\nfilter (mail=%s)\nresult {maildrop}\nbind simple\nbinddn cn=reader\n"
	. "passwd correct-horse\nclear_password yes\n");
my %sql = map {
	$config =~ /HAVE_\U$_\E 1/ ? ($_ => secret("secret-$_", "hosts = inet:127.0.0.1:$away\nuser = reader\npassword = correct-horse\ndbname = mail\n"
		. "query = SELECT v FROM u WHERE a = '%s'\n")) : ();
} qw(pgsql mysql);
my %file = ($config =~ /HAVE_LDAP 1/ ? (ldap => $ldap) : (), %sql);
my $office = Spool->new("$dir/po")->dir;
spew("$dir/zenv", "POSTOFFICE=$office\nMAILSHARE=$dir\nMAILVAR=$dir\nMAILBIN=$build\n");
spew("$dir/router.conf", "hostname=mail.test\n");
my $notes = "$dir/notes";
my %env = (LD_PRELOAD => $library, KEEP_SECRETS => $notes, ZCONFIG => "$dir/zenv");

# What @command leaves in the notes: that of each process that knew the secret.
sub is_kept($what, $got) {
	my @noted = -e $notes ? split /\n/, slurp($notes) : ();
	unlink $notes;
	cmp_ok scalar @noted, '>', 0, "$what reads the secret" or diag "exit $got->{status}: $got->{out}$got->{err}";
	is_deeply [grep { !/ core=0 dumpable=0$/ } @noted], [], '... and leaves no core file with it';
}

sub kept(@command) {
	my $what = $command[0] =~ s{.*/}{}r;
	is_kept("$what @{[grep { !m{/} } @command[1 .. $#command]]}", run(['/bin/sh', '-c', 'ulimit -c unlimited; exec "$@"', 'sh', @command], env => \%env,
		in => "Subject: x\n\ntext\n", limit => 60));
}

# A server that is sent $text at its socket and ends by SIGTERM.
sub kept_server($what, $socket, $text, @command) {
	my $pid = fork // die $!;
	if (!$pid) {
		@ENV{keys %env} = values %env;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$dir/said";
		open STDERR, '>&', \*STDOUT;
		exec '/bin/sh', '-c', 'ulimit -c unlimited; exec "$@"', 'sh', @command or POSIX::_exit(127);
	}
	my $client;
	for (my $end = time + 20; !$client && time < $end; sleep 0.02) {
		$client = IO::Socket::UNIX->new($socket);
	}
	if ($client) {
		syswrite $client, $text;
		shutdown $client, 1;
		my @answers = readline $client;
	}
	kill TERM => $pid;
	waitpid $pid, 0;
	is_kept($what, { status => $? >> 8, out => slurp("$dir/said"), err => '' });
}

for my $type (sort keys %file) {
	spew("$dir/dbases.conf", "fqdnroutes $type - - $file{$type} -lm%:\n");
	kept("$build/db/dblookup", '-t', $type, $file{$type}, 'ann@d.test');
	kept("$build/db/dblookup", '-f', "$dir/dbases.conf", '-r', 'ann@d.test');
	is run(["$build/db/newdb", '-f', "$dir/dbases.conf"], env => \%env)->{status} . (-e $notes ? slurp($notes) : ''), 0, 'newdb -f needs no secret of it';
	kept("$build/channel/enqueue", '-f', "$dir/dbases.conf", '-s', 'ann@x.test', 'ann@d.test');
	kept("$build/channel/zlmtp-check", '-o', 'maps', '-d', "$dir/dbases.conf");
	kept_server("dbserve ($type)", "$dir/socket", "200 ann\@d.test\n" x 2, "$build/db/dbserve", '-f', "$dir/dbases.conf", '-L', "tcp:UNIX:$dir/socket");
	kept_server("intake ($type)", "$dir/lmtp", "LHLO x\r\nMAIL FROM:<ann\@x.test>\r\nRCPT TO:<ann\@d.test>\r\nQUIT\r\n", "$build/channel/intake", '-f',
		"$dir/dbases.conf", '-L', "lmtp:UNIX:$dir/lmtp");
	unlink "$dir/socket", "$dir/lmtp";

	my $q = Reports->queue(script => "user bob error2\n", before => ['env', map { "$_=$env{$_}" } qw(LD_PRELOAD KEEP_SECRETS)]);
	spew($q->dir . '/var/db/dbases.conf', slurp("$dir/dbases.conf"));
	$q->message(['bob']);
	my ($status, $out, $err) = $q->run('-1');
	is_kept("zlmtp-report ($type)", { status => $status, out => $out, err => $err });
	$q->message(['ann@d.test']);
	kept("$build/channel/zlmtp-queue", '-P', $q->office, '-f', "$dir/dbases.conf", 'reroute', 'all');
}

kept("$build/db/ldapsync", '-1', '-f', secret('secret-sync', "uri ldap://127.0.0.1:$away\nbase o=x\nmap $dir/copied\nbind simple\n"
	. "binddn cn=reader\npasswd correct-horse\nclear_password yes\nrule users\nfilter (objectClass=*)\nkey {mail}\nvalue {uid}\n")) if $file{ldap};
kept("$build/db/sqlsync", '-1', '-f', secret("secret-sync-$_", "database = $_\nhosts = inet:127.0.0.1:$away\nuser = reader\npassword = correct-horse\n"
	. "dbname = mail\nquery = SELECT a, v FROM u\nmap = $dir/copied-$_\n")) for sort keys %sql;
kept("$build/channel/lmtp", '-c', 'lmtp', '-A', secret('secret-passwords', "* * YW5u Y29ycmVjdA==\n"), '-B', '-F', "[127.0.0.1]:$away", 'ann@d.test');

{
	my $certificates = Certificates->directory;
	my $key = secret('secret-key', slurp("$certificates/key.pem"));
	spew("$dir/tls.conf", "tls-cert-file $certificates/good.pem\ntls-key-file $key\n");
	spew("$dir/dbases.conf", "fqdnroutes unordered - - $dir/routes -lm%:\n");
	spew("$dir/routes", "ann\@d.test lmtp!-!ann\n");
	kept("$build/channel/lmtp", '-c', 'lmtp', '-S', "$dir/tls.conf", '-B', '-F', "[127.0.0.1]:$away", 'ann@d.test');
	kept_server('intake -S', "$dir/lmtp", "LHLO x\r\nQUIT\r\n", "$build/channel/intake", '-S', "$dir/tls.conf", '-f', "$dir/dbases.conf", '-L',
		"lmtp:UNIX:$dir/lmtp");
}

# ---- nor is one printed, wherever it stands in a line that cannot be read ----

my %lines = (
	'an unknown keyword' => 'passwrod correct-horse', 'another one with =' => 'passwrod = correct-horse', 'a colon' => 'password: correct-horse',
	'another colon' => 'passwd:correct-horse', 'a quote in front' => '"passwd" correct-horse', 'a letter beyond ASCII' => "passw\xc3\xb6rd correct-horse",
	'a NUL byte' => "passwd correct-\0horse correct-horse", 'twice' => "passwd correct-horse\npasswd correct-horse\npassword = correct-horse\npassword = correct-horse",
);
for my $what (sort keys %lines) {
	my $file = secret('broken', "$lines{$what}\n");
	for my $command ((map { ["$build/db/dblookup", '-t', $_, $file, 'ann@d.test'] } sort keys %file), (map { ["$build/db/$_", '-1', '-f', $file] }
		$file{ldap} ? 'ldapsync' : (), 'sqlsync')) {
		my $got = run($command);
		unlike "$got->{out}$got->{err}", qr/horse/, "$what: " . join ' ', map { m{/} ? () : $_ } @$command[1 .. $#$command];
		cmp_ok $got->{status}, '>', 0, '... and it is wrong';
	}
}
done_testing;
