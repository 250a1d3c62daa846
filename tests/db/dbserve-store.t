#!/usr/bin/perl
# dbserve -B: the store is asked by sessions that are kept.  Whatever it does between two questions, no answer is taken for another's.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use Test::More;
use OddStore;
use RunQueue ();
use Spool ();

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $directory = File::Temp->newdir('/tmp/zds-XXXXXX');
my $dir = "$directory";
delete $ENV{ZCONFIG};
$SIG{PIPE} = 'IGNORE';
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
my ($store, $other, $pid);
END { local $?; stop() }

sub put($name, $text) { Spool->put("$dir/$name", $text) }
sub wait_for($what) { RunQueue::wait_for($what, 30) }

# ann, bob and ghost are of the maps; ghost is unknown to the store, tom is at another one, out is none of a store's.
sub start(%o) {
	stop();
	state $number = 0;
	$number++;
	$store = OddStore->start("$dir/store$number", %o);
	$other = OddStore->start("$dir/other$number");
	put('fqdnroutes', join '', map({ "$_\@d.test: lmtp!UNIX:$store->{socket}!$_\@d.test\n" } qw(ann bob ghost)), "tom\@d.test: lmtp!UNIX:$other->{socket}!bob\@d.test\n",
		"both\@d.test: lmtp!UNIX:$dir/nobody!both\@d.test\n", "here\@d.test: local!-!root\n", "gone\@d.test: bitbucket!-!-\n");
	Spool->put("$dir/fqdnroutes", do { local (@ARGV, $/) = "$dir/fqdnroutes"; <> } . ($o{routes} // ''));
	put('fqdnaliases', $o{aliases} // '');
	put('routes', "d.test error!nosuchuser\n");
	put('dbases.conf', "fqdnaliases btree - -la fqdnaliases -lm%\nfqdnroutes btree - -la fqdnroutes -lm%\nroutesdb btree - -l routes -lm%:d pathalias\n");
	system("$build/db/newdb -sf $dir/dbases.conf >/dev/null 2>&1") == 0 or die "newdb\n";
	$pid = fork // die;
	if ($pid == 0) {
		open STDERR, '>', "$dir/err";
		{ exec $o{program} // "$build/db/dbserve", '-f', "$dir/dbases.conf", '-L', "policy:UNIX:$dir/policy", '-B', ($o{channel} // '-c lmtp') . " $o{options}" }
		POSIX::_exit(127);
	}
	wait_for(sub { IO::Socket::UNIX->new(Peer => "$dir/policy") }) or die "dbserve does not listen\n";
}

sub stop() {
	return unless $pid;
	kill 'TERM', $pid;
	waitpid $pid, 0;
	undef $pid;
}

sub asked($user) {
	my $socket = IO::Socket::UNIX->new(Peer => "$dir/policy") // die "policy: $!\n";
	syswrite $socket, "request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=$user\@d.test\n\n";
	return $socket;
}

sub answer($socket) { local $/ = "\n\n"; my $said = <$socket> // 'closed'; chomp $said; return $said }
sub policy($user) { answer(asked($user)) }

sub children($parent) {
	my @children;
	for my $pid (map { m{^/proc/(\d+)/} } glob '/proc/[0-9]*/stat') {
		# it may have ended by now
		open my $stat, '<', "/proc/$pid/stat" or next;
		push @children, $pid if (readline($stat) // '') =~ /^\d+ \(.*\) \S (\d+)/ && $1 == $parent;
	}
	return @children;
}

my $refused = 'action=REJECT 5.1.1 no such user here';

subtest 'one session to each store' => sub {
	start(options => '');
	is policy('ann'), 'action=DUNNO', 'a user of the store';
	is policy('ghost'), $refused, 'one that it does not know: its words';
	is policy('tom'), 'action=DUNNO', 'one of another store';
	is policy('nobody'), 'action=REJECT 5.1.1 no such recipient', 'one that the maps do not know';
	is policy('bob'), 'action=DUNNO', 'another one';
	is policy('both'), 'action=DEFER_IF_PERMIT 4.3.0 temporary lookup failure: cannot tell whether this recipient exists', 'one whose store is away';
	is policy('ghost'), $refused, 'and the first store again';
	is $store->connections, 1, 'it has had one session';
	is $other->connections, 1, 'and the other one as well';
	my @all = map { asked($_ % 2 ? 'ann' : 'ghost') } 1 .. 40;
	is_deeply [map { answer($_) } @all], [map { $_ % 2 ? 'action=DUNNO' : $refused } 1 .. 40], 'many at once: each has its own answer';
	cmp_ok $store->connections, '<=', 3, 'by few sessions, as nobody is asked for twice at a time';
	stop();
	ok wait_for(sub { my @open = grep { / \(closed\)$/ } $store->said; @open == $store->connections }), 'they end with it';
};

subtest 'what goes to no store is no question for one' => sub {
	start(options => "-F UNIX:$dir/store2", channel => '');
	is policy('ann'), 'action=DUNNO', 'a user of the store';
	is policy('here'), 'action=DUNNO', 'channel local';
	is policy('gone'), 'action=DUNNO', 'channel bitbucket';
};

for my $case (
	['it closes between two questions', { 'LHLO 2' => { after => ['close'] } }],
	['it says goodbye between two questions', { 'LHLO 2' => { after => ['421 4.3.2 going', 'close'] } }],
	['it closes instead of an answer', { 'RCPT 2' => { instead => ['close'] } }],
	['a refusal too many between two questions', { 'LHLO 2' => { after => ['550 5.1.1 no such user'] } }],
	['a yes too many within a question', { 'MAIL 2' => { before => ['250 2.1.0 ok'] } }],
	['a reply too few within a question', { 'MAIL 2' => { instead => [] } }],
	) {
	my ($name, $odd) = @$case;
	subtest $name => sub {
		start(options => '', odd => $odd);
		is_deeply [map { policy($_) } qw(ann ghost bob ghost)], ['action=DUNNO', $refused, 'action=DUNNO', $refused], 'answers';
		cmp_ok $store->connections, '>', 1, 'a session that broke is opened again';
	};
}

subtest 'an answer that comes late is nobody\'s' => sub {
	start(options => '-P -T cmd=5', odd => { 'RCPT 2' => { instead => [] } });
	is policy('ann'), 'action=DUNNO', 'in time';
	my $late = asked('ghost');
	ok wait_for(sub { grep { / RCPT TO:<ghost/ } $store->said }), 'the store has been asked, and is silent';
	is policy('tom'), 'action=DUNNO', 'others are answered meanwhile';
	like answer($late), qr/^action=DEFER_IF_PERMIT 4\.3\.0 /, 'no answer is a deferral';
	is policy('bob'), 'action=DUNNO', 'and what comes next is right';
};

subtest 'a refusal without words has some' => sub {
	start(options => '', odd => { 'RCPT 1' => { instead => ['550'] } });
	is policy('ghost'), 'action=REJECT 5.1.1 no such recipient', 'an action of Postfix ends with no blank';
};

subtest 'sessions that nobody needs are closed' => sub {
	start(options => '-O idle=1');
	is policy('ann'), 'action=DUNNO', 'a question';
	ok wait_for(sub { grep { /^1 QUIT$/ } $store->said }), 'QUIT';
	is policy('ghost'), $refused, 'another one';
	is $store->connections, 2, 'by a new session';
};

subtest 'who asks the store is killed' => sub {
	start(options => '');
	is policy('ann'), 'action=DUNNO', 'a question';
	my ($child) = children($pid);
	my ($agent) = children($child);
	ok $agent, 'it runs';
	kill 'KILL', $agent;
	is policy('ghost'), $refused, 'the next one is answered';
	cmp_ok((children($child))[0] // 0, '!=', $agent, 'by a new one');
};

# Its listener takes connections, and nobody ever says a word there.
sub silent_store($name) { return IO::Socket::UNIX->new(Local => "$dir/$name", Listen => 200) // die "$name: $!\n" }

subtest 'one silent store keeps nobody waiting but who asks for its users' => sub {
	my $silent = silent_store('silent');
	start(options => '', routes => join '', map { "user$_\@d.test: lmtp!UNIX:$dir/silent!user$_\@d.test\n" } 1 .. 60);
	my @waiting = map { asked("user$_") } 1 .. 60;
	is policy('nobody'), 'action=REJECT 5.1.1 no such recipient', 'what the maps decide needs no child';
	is policy('ann'), 'action=DUNNO', 'a user of another store';
	is policy('ghost'), $refused, 'one that it refuses';
	is policy('tom'), 'action=DUNNO', 'one of a third store';
	ok !IO::Select->new(@waiting)->can_read(0), 'and nobody was answered for the silent one yet';
};

subtest 'a list with members at several stores' => sub {
	my $silent = silent_store('silent2');
	start(options => '', routes => "deaf\@d.test: lmtp!UNIX:$dir/silent2!deaf\@d.test\n", aliases => "some\@d.test: ghost\@d.test, ann\@d.test\n"
		. "none\@d.test: ghost\@d.test\nfar\@d.test: ghost\@d.test, x\@else.test\nworse\@d.test: ghost\@d.test, both\@d.test\nhalf\@d.test: deaf\@d.test, x\@else.test\n");
	is policy('some'), 'action=DUNNO', 'one member is enough';
	is policy('none'), $refused, 'the only one is refused';
	is policy('far'), 'action=DUNNO', 'a member elsewhere is enough';
	is policy('worse'), 'action=DEFER_IF_PERMIT 4.3.0 temporary lookup failure: cannot tell whether this recipient exists', 'one that cannot be told decides';
	is policy('half'), 'action=DUNNO', 'with a member elsewhere no store is asked';
};

subtest 'options that the agent does not take are found at the start' => sub {
	stop();
	my $try = sub (@arguments) {
		my $status = system("timeout 60 $build/db/dbserve -f $dir/dbases.conf -L policy:UNIX:$dir/policy -B '@arguments' >$dir/out 2>&1");
		return ($status >> 8, do { local (@ARGV, $/) = "$dir/out"; <> // '' });
	};
	for (['-O nonesuch=1', 64, qr/nonesuch/], ["-S $dir/none.conf", qr/none\.conf/], ['-F [1.2.3.4', 64, qr/1\.2\.3\.4/], ['-h', 64, qr/lmtp/], ['-V', 78, qr/end without asking a store/],
		[join(' ', ('-P') x 100), 64, qr/more than 64 words/]) {
		my ($options, $wanted, $words) = @$_ == 3 ? @$_ : ($_->[0], undef, $_->[1]);
		my ($status, $said) = $try->($options);
		is $status, $wanted, "$options: $wanted" if defined $wanted;
		cmp_ok $status, '>=', 64, "$options: it does not start";
		like $said, qr/^dbserve: -B: .*$words.*\n\z/, "$options: one line";
	}
};

subtest 'an agent that cannot run' => sub {
	mkdir "$dir/bin" or die;
	system("cp $build/db/dbserve $dir/bin/") == 0 or die;
	is system("timeout 60 $dir/bin/dbserve -f $dir/dbases.conf -L policy:UNIX:$dir/policy -B '-c lmtp' >$dir/out 2>&1") >> 8, 78, 'it is not there: found at the start';
	like do { local (@ARGV, $/) = "$dir/out"; <> }, qr{^dbserve: -B: .*/lmtp: No such file or directory\n\z}, 'one line says so';
	# it is well at the start, and ends at once from then on
	Spool->put("$dir/bin/lmtp", "#!/bin/sh\n[ -e $dir/broken ] || exit 0\necho 'no agent today' >&2\nexit 70\n");
	chmod 0755, "$dir/bin/lmtp";
	start(options => '', program => "$dir/bin/dbserve");
	put('broken', '');
	my @all = map { asked($_ % 2 ? 'ann' : 'tom') } 1 .. 40;
	is scalar(grep { answer($_) =~ /^action=DEFER_IF_PERMIT/ } @all), 40, 'all are deferred';
	is policy('bob') =~ s/ 4.*//r, 'action=DEFER_IF_PERMIT', 'also later';
	my @said = split /\n/, do { local (@ARGV, $/) = "$dir/err"; <> };
	cmp_ok scalar(grep { $_ eq 'no agent today' } @said), '<=', 2, 'it is not started again and again' or diag @said;
	is scalar(grep { /could not tell/ } @said), 1, 'and one line says that it could not be told' or diag @said;
};
done_testing;
