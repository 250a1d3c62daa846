#!/usr/bin/perl
# A v line may name any file, in any spelling: below the post office nothing but public/v_NAME is written to, and elsewhere
# nothing that is no regular file of the sender's with one name.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use POSIX ();
use Test::More;
use LmtpServer;
use Loop;
use Scheduler;
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
chmod 0755, $dir;
my $loop = Loop->new;
my $spool = Spool->new("$dir/post");
my $office = $spool->dir;
mkdir "$office/$_" for qw(public hold hold/A transport/A postman);
my $server = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s", lenient => 1, script => sub ($n) { [{ do => 'serve' }] });
my $scheduler = Scheduler->new(loop => $loop, spool => $spool, channel => 'lmtp', program => "$build/channel/lmtp",
	arguments => ['-c', 'lmtp', '-h', 'client.example', '-F', "UNIX:$dir/s"]);
my $next = 1001;

# Everything that a test may find written to.
my %precious = map { $_ => "precious\n" } "$office/transport/202", "$office/transport/A/203", "$office/hold/204", "$office/hold/A/205",
	"$office/queue/206", "$office/public/207", "$office/postman/208", "$office/.state.runqueue", "$office/v_209", "$dir/other", "$dir/linked";
sub spew($path, $text) { Spool::put(undef, $path, $text) }
spew($_, $precious{$_}) for keys %precious;
symlink "$office/transport", "$dir/way";
symlink $office, "$dir/post2";
symlink '../transport/202', "$office/public/v_soft";
symlink 'v_loop', "$office/public/v_loop";
link "$dir/linked", "$office/public/v_hard" or die;
mkdir "$office/public/v_directory";
POSIX::mkfifo("$office/public/v_fifo", 0600);
symlink '../transport', "$office/public/v_way";
mkdir "$office/public/v_deep";
spew("$office/public/v_deep/v_x", "precious\n");
$precious{"$office/public/v_deep/v_x"} = "precious\n";
# of another user
my $others = $> == 0;
if ($others) {
	chown 65534, 65534, "$dir/other";
} else {
	delete $precious{"$dir/other"};
}

my @names = ('../transport/202', '202', './202', '../transport//202', '..//transport/./202', 'A/203', '../transport/A/../202', '../public/../transport/202',
	"$office/transport/202", "/$office/transport/202", "$dir/post2/transport/202", "$dir/way/202", '../hold/204', '../hold/A/205', '../queue/206',
	'../public/207', '../public/v_soft', '../public/v_loop', '../public/v_hard', '../public/v_directory', '../public/v_fifo', '../public/v_way/202',
	'../public/v_deep/v_x', '../public/v_new', '../v_209', '../postman/208', '../.state.runqueue', '/proc/self/cwd/202', '/proc/self/cwd/../queue/206',
	"/proc/self/root$office/transport/202", "/proc/$$/root$office/transport/202", '/proc/self/fd/4', '/dev/fd/5', '/dev/null', '/dev/stdout', '/dev/full', '.', '..', '/', '../public',
	'x' x 5000, '../public/v_' . 'x' x 300, "$dir/nowhere", ($others ? "$dir/other" : ()), "$dir/linked", 'SELF', '../transport/SELF', "\xff\xfe", '../public/v_x/');

sub delivers($name, $owner = undef) {
	my $id = $next++;
	$name =~ s/SELF/$id/;
	$spool->add(name => $id, body => "text\n", verbose => $name, groups => [{ sender => ['smtp', 'mx', 'a@test'], header => "Subject: x\n",
		recipients => [{ channel => 'lmtp', host => 'store', user => 'bob' }] }]);
	chown $owner, -1, $spool->control_path($id) if defined $owner;
	my $before = $spool->read($id);
	$scheduler->job($id, 'store');
	ok $loop->run(20, sub { $scheduler->satisfied }), length $name > 60 ? 'a long name' : "v $name" =~ s/[^ -~]/?/gr;
	my $after = $spool->read($id);
	is $after->{recipients}[0]{tag}, '+', '... delivered';
	is length(Spool::slurp("$office/transport/$id")), length($before->{bytes}), '... its control file has no line more';
	my @changed = grep { (Spool::slurp($_) // 'gone') ne $precious{$_} } sort keys %precious;
	is "@changed", '', '... nothing is written over';
	spew($_, $precious{$_}) for @changed;
}

delivers($_) for @names;
ok !-e "$office/public/v_new", 'none is made';
spew("$office/public/v_mine", "begins\n");
delivers($_) for '../public/v_mine', "$dir/post2/public/./v_mine";
is scalar(() = Spool::slurp("$office/public/v_mine") =~ /^bob/mg), 2, 'the one that is meant is';
if ($others) {
	# the agent is root, the sender is not: neither a file of root's nor, by a link, anybody's
	spew("$dir/his", "begins\n");
	chown 65534, -1, "$dir/his";
	symlink "$dir/linked", "$dir/led";
	unlink "$office/public/v_hard";
	delivers($_, 65534) for "$dir/linked", "$dir/led", '../transport/202', '../public/v_mine', 'SELF';
	is scalar(() = Spool::slurp("$office/public/v_mine") =~ /^bob/mg), 2, 'what is root\'s is not written to for another user';
	delivers("$dir/his", 65534);
	like Spool::slurp("$dir/his"), qr/^bob/m, 'what is the sender\'s own is';
}
$scheduler->{agent}->send("\n");
ok $scheduler->{agent}->reap(20), 'the agent goes';
$server->close;
is_deeply [@{$scheduler->{problems}}, @{$server->{problems}}], [], 'nothing to complain about';
done_testing;
