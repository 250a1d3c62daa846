#!/usr/bin/perl
# lmtp -B -: addresses come on standard input, and sessions are kept from one to the next.  Whatever a server does between two
# questions, no answer is taken for another's.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use IO::Handle;
use IO::Socket::UNIX;
use IPC::Open3;
use POSIX ();
use Test::More;
use OddStore;
use RunQueue ();

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $dir = File::Temp->newdir('/tmp/zps-XXXXXX');
delete $ENV{ZCONFIG};
$SIG{PIPE} = 'IGNORE';
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
my $number = 0;

sub store(%o) { return OddStore->start("$dir/store" . ++$number, %o) }

# An agent that is asked one by one.
package Asked {
	sub start($class, @arguments) {
		my $self = bless {}, $class;
		# what runs it
		my @by = ref $arguments[0] ? @{shift @arguments} : ();
		open my $err, '>', "$dir/err" or die;
		$self->{pid} = IPC::Open3::open3($self->{in}, $self->{out}, '>&' . fileno $err, @by, "$build/channel/lmtp", '-h', 'client.test', @arguments, '-B', '-');
		$self->{in}->autoflush;
		return $self;
	}
	sub ask($self, $line) {
		print { $self->{in} } "$line\n";
		my $answer = readline $self->{out};
		push @{$self->{said}}, $answer // "the end\n";
		return defined $answer ? (split /\t/, $answer)[1] : 'ended';
	}
	sub end($self) {
		close $self->{in};
		my @more = readline $self->{out};
		waitpid delete $self->{pid}, 0;
		return $? >> 8;
	}
	sub complaints { local (@ARGV, $/) = "$dir/err"; <> // '' }
	sub DESTROY($self) { local $?; if ($self->{pid}) { kill 'KILL', $self->{pid}; waitpid $self->{pid}, 0 } }
}

sub wait_for($what) { RunQueue::wait_for($what, 30) }

# ann, nobody, bob, nobody one after the other: each has the right answer, or none.
sub right_answers($name, $store, %o) {
	subtest $name => sub {
		my $agent = Asked->start('-F', "UNIX:$store->{socket}", @{$o{options} // []});
		my $expected = $o{answers} // ['yes', 'no', 'yes', 'no'];
		my @answers = map { $agent->ask($_) } ("ann\@d.test", "nobody\@d.test", "bob\@d.test", "no\@d.test")[0 .. $#$expected];
		is_deeply \@answers, $expected, 'answers' or diag @{$agent->{said}}, Asked->complaints, map { "$_\n" } $store->said;
		is $agent->end, $o{exit} // 1, 'exit status';
		is $store->connections, $o{connections}, 'connections';
		like Asked->complaints, $o{complaint} // qr/\A\z/, 'complaints';
	};
}

{
	my $store = store();
	right_answers('one session for all', $store, connections => 1);
	wait_for(sub { grep { $_ eq '1 (closed)' } $store->said });
	is_deeply [grep { !/LHLO/ } $store->said], ['1 MAIL FROM:<>', "1 RCPT TO:<ann\@d.test>", '1 RSET', '1 MAIL FROM:<>', "1 RCPT TO:<nobody\@d.test>", '1 RSET',
		'1 MAIL FROM:<>', "1 RCPT TO:<bob\@d.test>", '1 RSET', '1 MAIL FROM:<>', "1 RCPT TO:<no\@d.test>", '1 RSET', '1 QUIT', '1 (closed)'],
		'RSET behind each question, QUIT at the end';
}
right_answers('replies that all look alike', store(alike => 1), connections => 1);
right_answers('a server that is not asked ahead of its replies', store(), connections => 1, options => ['-P']);
right_answers('a server that takes one LHLO: the 221 to QUIT is the proof', store(odd => { 'LHLO 2' => { instead => ['503 5.5.1 said before'] } }), connections => 4);
right_answers('it closes between two questions', store(odd => { 'LHLO 2' => { after => ['close'] } }), connections => 4);
right_answers('it closes between two questions, and leaves the second one unread', store(odd => { 'LHLO 2' => { after => ['read no more', 'close'] } }), connections => 4);
right_answers('it says goodbye between two questions', store(odd => { 'LHLO 2' => { after => ['421 4.3.2 going', 'close'] } }), connections => 4);
right_answers('it closes instead of an answer to MAIL', store(odd => { 'MAIL 2' => { instead => ['close'] } }), connections => 4);
right_answers('it closes instead of an answer to RCPT', store(odd => { 'RCPT 2' => { instead => ['close'] } }), connections => 4);
right_answers('it takes no more mail on a connection', store(odd => { 'MAIL 2' => { instead => ['550 5.7.1 enough for now'] } }), connections => 4);
# where it comes late it is that to the next MAIL, which says nothing about a recipient
right_answers('a reply too many between two questions', store(odd => { 'LHLO 2' => { after => ['550 5.1.1 no such user'] } }), connections => 4,
	complaint => qr/out of step|\A\z/);
for my $alike (0, 1) {
	for my $extra (['250 ok'], ['250 ok', '250 ok'], ['250 2.1.0 ok', '550 5.1.1 no such user']) {
		right_answers("@$extra too many at MAIL" . ($alike ? ', where all look alike' : ''),
			store(alike => $alike, odd => { 'MAIL 2' => { before => $extra } }), connections => 4, complaint => qr/out of step/);
	}
	right_answers('a refusal too many at MAIL' . ($alike ? ', where all look alike' : ''),
		store(alike => $alike, odd => { 'MAIL 2' => { before => ['550 5.1.1 no such user'] } }), connections => 4);
	right_answers('no reply to MAIL: the rest must not move up' . ($alike ? ', where all look alike' : ''),
		store(alike => $alike, odd => { 'MAIL 2' => { instead => [] } }), connections => 4, complaint => qr/out of step/);
}
right_answers('no reply at all to RCPT: that one could not be told, and an answer that comes late is nobody\'s',
	store(odd => { 'RCPT 2' => { instead => [] } }), connections => 2, options => ['-P', '-T', 'cmd=5'], answers => ['yes', 'could not tell', 'yes'], exit => 75);

subtest 'a session that nobody needs is closed' => sub {
	my $store = store();
	my $agent = Asked->start('-F', "UNIX:$store->{socket}", '-O', 'idle=1');
	is $agent->ask("ann\@d.test"), 'yes', 'a question';
	ok wait_for(sub { grep { $_ eq '1 QUIT' } $store->said }), 'QUIT, while nothing is asked';
	is $agent->ask("nobody\@d.test"), 'no', 'another one';
	is $store->connections, 2, 'in a new session';
	$agent->end;
};

subtest 'each line may name its server' => sub {
	my @stores = (store(), store());
	my $agent = Asked->start;
	is $agent->ask("ann\@d.test\tUNIX:$stores[$_ % 2]{socket}"), 'yes', "question $_" for 1 .. 6;
	is $agent->ask("ann\@d.test"), 'could not tell', 'none is named';
	is $agent->ask("ann\@d.test\tUNIX:$dir/nobody"), 'could not tell', 'one that is away';
	is $agent->ask("ann\@d.test\t[127.0.0.1]"), 'could not tell', 'one without a port';
	is $agent->ask("ann\@d.test\t"), 'could not tell', 'an empty name';
	is $agent->end, 75, 'exit status';
	is_deeply [map { $_->connections } @stores], [1, 1], 'one session each';
};

subtest 'many lines at once' => sub {
	my $store = store();
	open my $out, '>', "$dir/many" or die;
	print $out map { ($_ % 2 ? "ann" : "no$_") . "\@d.test\n" } 1 .. 1000;
	print $out "bob\@d.test";
	close $out;
	my @lines = qx{$build/channel/lmtp -F UNIX:$store->{socket} -B - <$dir/many};
	is $? >> 8, 1, 'exit status';
	is_deeply [map { (split /\t/)[0, 1] } @lines], [(map { $_ % 2 ? ("ann\@d.test", 'yes') : ("no$_\@d.test", 'no') } 1 .. 1000), "bob\@d.test", 'yes'], 'answers in their order';
	is $store->connections, 1, 'one session';
};

subtest 'lines that are no addresses' => sub {
	my $store = store();
	my $agent = Asked->start('-F', "UNIX:$store->{socket}");
	is $agent->ask($_), 'no', $_ =~ s/[^ -~]/?/gr for "a\x00b\@d.test", "a\rRCPT TO:<bob\@d.test>", '', "x>\@d.test";
	is $agent->ask("ann\@d.test"), 'yes', 'and one that is';
	is $agent->end, 1, 'exit status';
	ok !grep({ /RCPT TO:<bob/ } $store->said), 'nothing was slipped in';
	open my $lines, '>', "$dir/long" or die;
	print $lines 'x' x 1_000_000, "\n", "ann\@d.test\r\n", "nobody\@d.test\tUNIX:$store->{socket}\r\n", 'y' x 65_537;
	close $lines;
	my @lines = qx{$build/channel/lmtp -F UNIX:$store->{socket} -B - <$dir/long 2>&1};
	is $? >> 8, 75, 'a line longer than 65536 bytes: exit status';
	my ($x, $y, @others) = sort { length $b <=> length $a || $a cmp $b } @lines;
	like $x, qr/^x{900,1100}(?:\.\.\.)?\tcould not tell\tthe line is longer than 65536 bytes$/, 'its answer';
	like $y, qr/^y{900,1100}(?:\.\.\.)?\tcould not tell\tthe line is longer than 65536 bytes$/, '... also at the end';
	is_deeply [sort map { join ' ', (split /\t/)[0, 1] } @others], ["ann\@d.test yes", "nobody\@d.test no"], 'the lines behind it are answered, and a CR at their end is none of theirs';
	is scalar @lines, 4, 'nothing else is said';
};

subtest 'a line that is not answered yet keeps no other waiting' => sub {
	my $store = store();
	my $silent = IO::Socket::UNIX->new(Local => "$dir/silent", Listen => 10) // die;
	my $agent = Asked->start;
	print { $agent->{in} } "deaf\@d.test\tUNIX:$dir/silent\nann\@d.test\tUNIX:$store->{socket}\n";
	like readline $agent->{out}, qr/^ann\@d\.test\tyes\t/, 'the second is answered first';
	is $agent->ask("$_\tUNIX:$store->{socket}"), $_ =~ /^no/ ? 'no' : 'yes', $_ for "nobody\@d.test", "bob\@d.test";
	$silent->accept->close;
	like readline $agent->{out}, qr/^deaf\@d\.test\tcould not tell\t/, 'and the first when it is known';
	is $agent->end, 75, 'exit status';
};

subtest 'a line has its own time' => sub {
	my $store = store();
	my $silent = IO::Socket::UNIX->new(Local => "$dir/silent2", Listen => 10) // die;
	my $agent = Asked->start('-O', 'probe-time=1');
	for my $round (1, 2) {
		is $agent->ask("deaf\@d.test\tUNIX:$dir/silent2"), 'could not tell', "round $round: a store that says nothing";
		is $agent->ask("ann\@d.test\tUNIX:$store->{socket}"), 'yes', '... and another one';
	}
	my ($first, $second) = map { $silent->accept } 1, 2;
	$first->blocking(0);
	is sysread($first, my $byte, 1), 0, 'the connection whose answer did not come is closed';
	is $agent->end, 75, 'exit status';
	is $store->connections, 1, 'the other store has one session all the time';
};

# The store holds its reply to RCPT until the next line was sent.
subtest 'who asks behind a RCPT does not get the reply to it' => sub {
	my $listener = IO::Socket::UNIX->new(Local => "$dir/held", Listen => 10) // die;
	my $agent = Asked->start('-F', "UNIX:$dir/held", '-P');
	print { $agent->{in} } "ann\@d.test\n";
	my $store = $listener->accept;
	my $hear = sub { (readline $store) =~ s/\r\n//r };
	my $say = sub (@lines) { syswrite $store, join '', map { "$_\r\n" } @lines };
	$say->('220 held LMTP');
	like $hear->(), qr/^LHLO/, 'LHLO';
	$say->('250-held', '250 ENHANCEDSTATUSCODES');
	for my $reply ('550 5.1.1 not yet', '250 2.1.5 ok') {
		like $hear->(), qr/^MAIL/, 'MAIL';
		$say->('250 2.1.0 ok');
		like $hear->(), qr/^RCPT/, 'RCPT';
		print { $agent->{in} } "ann\@d.test\n" if $reply =~ /^550/;
		$say->($reply);
		like $hear->(), qr/^RSET/, 'RSET';
		$say->('250 2.0.0 ok');
		like $hear->(), qr/^LHLO/, 'LHLO';
		$say->('250-held', '250 ENHANCEDSTATUSCODES');
	}
	is_deeply [map { (split /\t/, readline $agent->{out})[1] } 1, 2], ['no', 'yes'], 'answers';
};

subtest 'maps route the lines' => sub {
	my ($store, $other) = (store(), store());
	open my $maps, '>', "$dir/routes" or die;
	print $maps "ann\@d.test lmtp!UNIX:$store->{socket}!ann\@d.test\nbob\@d.test lmtp!UNIX:$other->{socket}!nobody\@d.test\n";
	close $maps;
	open my $conf, '>', "$dir/dbases.conf" or die;
	print $conf "fqdnroutes unordered - - $dir/routes -lm%\nroutesdb unordered - - $dir/domains -lm%:d pathalias\n";
	close $conf;
	open my $domains, '>', "$dir/domains" or die;
	print $domains "d.test error!nosuchuser\n";
	close $domains;
	chmod 0755, $dir;
	my $agent = Asked->start('-c', 'lmtp', '-f', "$dir/dbases.conf");
	is $agent->ask("ann\@d.test"), 'yes', 'one store';
	is $agent->ask("bob\@d.test"), 'no', 'another one, by another name';
	is $agent->ask("ghost\@d.test"), 'no', 'one that no map has';
	open $maps, '>>', "$dir/routes" or die;
	print $maps "ghost\@d.test lmtp!UNIX:$store->{socket}!bob\@d.test\n";
	close $maps;
	is $agent->ask("ghost\@d.test"), 'yes', 'until the map has it';
	is $agent->end, 1, 'exit status';
	is_deeply [map { $_->connections } $store, $other], [1, 1], 'one session each';
};
# It was found out by the write alone, with nothing to wait for behind it: the question waited until its time was up.
subtest 'the connection is lost as the next question is written' => sub {
	my ($strace) = grep { -x "$_/strace" } split /:/, $ENV{PATH};
	plan skip_all => 'strace is not installed' if !$strace;
	my $store = store();
	my $agent = Asked->start(['strace', '-D', '-o', '/dev/null', '-e', 'trace=sendto', '-e', 'inject=sendto:error=EPIPE:when=3'], '-F', "UNIX:$store->{socket}");
	is $agent->ask("ann\@d.test"), 'yes', 'a first answer';
	is $agent->ask("bob\@d.test"), 'yes', 'a second one, by another connection' or diag @{$agent->{said}};
	is $agent->end, 0, 'it ends';
	is $store->connections, 2, 'two connections';
};

done_testing;
