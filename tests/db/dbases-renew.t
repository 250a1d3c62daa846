#!/usr/bin/perl
# dbserve and intake read dbases.conf again when it has changed: nothing is refused that either version knows.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(sleep time);
use Intake;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
$SIG{PIPE} = 'IGNORE';
my @servers;
END { local $?; kill 'KILL', @servers }

my $more = "more unordered - - DIR/more -l\nfqdnroutes btree - -la DIR/routes2 -lm%:\n";

sub put($path, $text) {
	open my $out, '>', $path or die "$path: $!";
	print $out $text;
	close $out or die "$path: $!";
}

sub slurp($path) { open my $in, '<', $path or return ''; local $/; return <$in> // '' }

sub soon($holds) {
	my $end = time + 20;
	until ($holds->()) {
		return 0 if time > $end;
		sleep 0.05;
	}
	return 1;
}

# An intake, and a dbserve on the same maps; environment: in a Berkeley DB environment, which children ask.
sub both(%o) {
	my $environment = delete $o{environment};
	my $intake = Intake->start($environment ? (run => 0, dbases => "# none\n") : (), arguments => ["-O", "recipients=100000", "-O", "commands=1000000"], %o);
	my $dir = $intake->dir;
	if ($environment) {
		put("$dir/env.conf", "envhome = $dir/env\nenvflags = CDB,CREATE\n");
		mkdir "$dir/env";
		put("$dir/live.txt", "ann\@example.org: lmtp!store!ann\n");
		put("$dir/dbases.conf", "fqdnroutes btree - -r $dir/live -lm%C $dir/env.conf\n");
		system("$build/db/dbupdate", '-C', "$dir/env.conf", '-t', 'btree', '-la', "$dir/live", 'replace', "$dir/live.txt") == 0 or die 'dbupdate';
		$intake->again;
	}
	my $pid = fork // die;
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$dir/dbserve.err";
		open STDERR, '>&', \*STDOUT;
		$ENV{ZCONFIG} = "$dir/zenv";
		exec "$build/db/dbserve", '-f', "$dir/dbases.conf", '-o', 'protocols=routes', '-L', "socketmap:UNIX:$dir/maps" or POSIX::_exit(127);
	}
	push @servers, $pid;
	my $socket;
	soon(sub { $socket = IO::Socket::UNIX->new(Peer => "$dir/maps") }) or die 'dbserve does not answer';
	my $client = $intake->lmtp;
	$client->hello;
	$client->say('MAIL FROM:<x@example.com>');
	return { intake => $intake, dir => $dir, pid => $pid, socket => $socket, client => $client };
}

# What both say of an address: "250 OK".
sub asked($b, $address, $map = 'recipient') {
	my $question = "$map $address";
	syswrite $b->{socket}, length($question) . ":$question,";
	my $got = '';
	while ($got !~ /\A(\d+):/ || length $got < length($1) + 2 + $1) {
		sysread $b->{socket}, $got, 4096, length $got or die 'dbserve is gone';
	}
	my ($answer) = $got =~ /\A\d+:(\S+)/;
	return substr($b->{client}->say("RCPT TO:<$address>"), 0, 3) . " $answer";
}

sub written($b, $text) { return $text =~ s/DIR/$b->{dir}/gr }
sub said($b, $pattern) { return map { scalar(() = slurp("$b->{dir}/$_") =~ /$pattern/g) } qw(err dbserve.err) }
sub build_map($b, $name, $text) {
	put("$b->{dir}/$name", $text);
	system("$build/db/newdb", '-sla', "$b->{dir}/$name") == 0 or die 'newdb';
}

subtest 'a map that is added counts without a restart, on the same connections' => sub {
	my $b = both();
	my $old = slurp("$b->{dir}/dbases.conf");
	is asked($b, 'ann@example.org'), '250 OK', 'a user';
	is asked($b, 'new@example.org'), '550 NOTFOUND', 'one of the map to come';
	is asked($b, 'k', 'more'), '550 PERM', 'a relation to come';
	put("$b->{dir}/more", "k v\n");
	put("$b->{dir}/dbases.conf", $old . written($b, $more));
	ok soon(sub { said($b, qr/routes2/) && (said($b, qr/routes2/))[1] || (asked($b, 'new@example.org'), 0) }), 'a map that is not there yet is named';
	is asked($b, 'ann@example.org'), '250 OK', 'meanwhile the others are known';
	asked($b, 'ann@example.org') for 1 .. 50;
	build_map($b, 'routes2', "new\@example.org: lmtp!store!new\n");
	ok soon(sub { asked($b, 'new@example.org') eq '250 OK' }), 'when it is there it counts';
	is asked($b, 'k', 'more'), '550 OK', 'so does the relation';
	is_deeply [said($b, qr/stay in use/)], [1, 1], 'each said once why it waited';
	is_deeply [said($b, qr/read again/)], [1, 1], 'and that it was read again';
};

subtest 'what is faulty, gone or no file changes nothing' => sub {
	my $b = both();
	my $path = "$b->{dir}/dbases.conf";
	my $old = slurp($path);
	my %made = (
		'a syntax error' => sub { put($path, "$old  fqdnroutes broken\n") },
		'an empty file' => sub { put($path, '') },
		'no file' => sub { unlink $path },
		'a directory' => sub { unlink $path; mkdir $path or die },
		'a pipe' => sub { unlink $path; POSIX::mkfifo($path, 0600) or die },
		'a link to nothing' => sub { unlink $path; symlink "$b->{dir}/nothing", $path or die },
	);
	for my $what (sort keys %made) {
		my @before = said($b, qr/stay in use/);
		$made{$what}->();
		ok soon(sub { asked($b, 'ann@example.org') eq '250 OK' or die; my @now = said($b, qr/stay in use/); $now[0] > $before[0] && $now[1] > $before[1] }),
			"$what: told, and all are known";
		asked($b, 'ann@example.org') for 1 .. 100;
		is_deeply [said($b, qr/stay in use/)], [map { $_ + 1 } @before], "$what: told once";
		isnt system("$build/channel/zlmtp-check -o maps -f $path >$b->{dir}/check 2>&1"), 0, "$what: zlmtp-check says it" or diag slurp("$b->{dir}/check");
		-d $path && !-l $path ? rmdir $path : unlink $path;
		put($path, $old);
	}
};

subtest 'half a file takes nobody away' => sub {
	my $b = both();
	my $path = "$b->{dir}/dbases.conf";
	build_map($b, 'routes2', "new\@example.org: lmtp!store!new\n");
	my $old = slurp($path);
	put("$b->{dir}/more", "k v\n");
	# the front of what is being written, line by line; the writer stops for seconds
	put($path, (split /^/m, written($b, $more))[0]);
	ok soon(sub { asked($b, 'ann@example.org') eq '250 OK' or die; my @n = said($b, qr/for a minute/); $n[0] && $n[1] }), 'it is noticed';
	put($path, written($b, $more) . $old);
	ok soon(sub { asked($b, 'ann@example.org') eq '250 OK' or die; asked($b, 'new@example.org') eq '250 OK' }), 'the whole counts';
};

subtest 'the first question behind a long silence is answered by the new file' => sub {
	my $b = both();
	build_map($b, 'routes2', "new\@example.org: lmtp!store!new\n");
	put("$b->{dir}/more", "k v\n");
	put("$b->{dir}/dbases.conf", slurp("$b->{dir}/dbases.conf") . written($b, $more));
	my $ctime = (Time::HiRes::stat("$b->{dir}/dbases.conf"))[10];
	soon(sub { time > $ctime + 2.1 });
	is asked($b, 'new@example.org'), '250 OK', 'at once';
};

subtest 'children that ask slow maps follow, and start by what is in force while the file is faulty' => sub {
	my $b = both(environment => 1);
	my $path = "$b->{dir}/dbases.conf";
	my $old = slurp($path);
	build_map($b, 'routes2', "new\@example.org: lmtp!store!new\n");
	my $children = sub { return map { split ' ', slurp("/proc/$_/task/$_/children") } $b->{pid}, $b->{intake}->pid };
	is asked($b, 'ann@example.org'), '250 OK', 'a user';
	put($path, "$old  broken\n");
	ok soon(sub { asked($b, 'ann@example.org') eq '250 OK' or die; my @n = said($b, qr/stay in use/); $n[0] && $n[1] }), 'a fault is told';
	my @before = $children->();
	kill 'KILL', @before;
	# the environment was left without care, and is put in order first
	ok soon(sub { asked($b, 'ann@example.org') eq '250 OK' }), 'children that start now know the maps';
	is_deeply [said($b, qr/stay in use/)], [1, 1], 'and say nothing more of the file';
	@before = $children->();
	put("$b->{dir}/more", "k v\n");
	put($path, $old . written($b, $more));
	ok soon(sub { asked($b, 'ann@example.org') eq '250 OK' or die; asked($b, 'new@example.org') eq '250 OK' }), 'a map that was added counts';
	my %now = map { $_ => 1 } $children->();
	is scalar(grep { $now{$_} && slurp("/proc/$_/stat") !~ /\) Z/ } @before), 0, 'no child of before is left';
};

subtest 'so does router.conf beside it, as for the postmaster of intake' => sub {
	my $b = both();
	like $b->{client}->say('RCPT TO:<postmaster>'), qr/^550/, 'nobody is the postmaster';
	put("$b->{dir}/router.conf", "postmaster=ann\@example.org\n");
	ok soon(sub { $b->{client}->say('RCPT TO:<postmaster>') =~ /^250/ }), 'and then one is';
};

done_testing;
