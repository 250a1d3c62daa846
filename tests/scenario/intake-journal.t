#!/usr/bin/perl
# The journal of intake: when it is used, and by whom it is put in order.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(sleep time);
use Intake;
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";

sub accepts($intake, $n = '') { ((map { @$_ } $intake->lmtp->message('x@example.com', ['ann@example.org'], "Subject: x\n\nx$n\n"))[-1] // '') =~ /^250 / }
sub journal($intake) { $intake->office . '/.journal.intake' }

for (['', '', 1], ['', 'scheduler', 0], ['', 'router', 0], ['auto', '', 1], ['auto', 'scheduler', 0], ['yes', 'scheduler', 1], ['no', '', 0]) {
	my ($value, $zmailer, $used) = @$_;
	my $what = ($value eq '' ? 'nothing said' : "journal=$value") . ($zmailer ? ", .pid.$zmailer is there" : '');
	my $intake = Intake->start(run => 0, arguments => $value eq '' ? [] : ['-O', "journal=$value"]);
	Spool->put($intake->office . "/.pid.$zmailer", '') if $zmailer;
	$intake->again;
	ok !-e journal($intake), "$what: none is there before the first message";
	ok accepts($intake), '... a message is accepted';
	is scalar($intake->queued), 1, '... and in the queue';
	is !!-e journal($intake), !!$used, $used ? '... behind the journal' : '... without a journal';
	is sprintf('%04o', (stat journal($intake))[2] & 07777), '0600', '... which is for its owner alone' if $used;
	is $intake->stop, 0, '... and it ends';
	ok !-e journal($intake), '... and leaves no journal';
}

subtest 'a second intake' => sub {
	my $intake = Intake->start;
	ok accepts($intake), 'the first one accepts';
	my $pid = $intake->pid;
	$intake->{o}{listen} = ['lmtp:UNIX:' . $intake->dir . '/second'];
	$intake->again;
	my $second = IntakeDialogue->new($intake->dir . '/second', lmtp => 1);
	like((map { @$_ } $second->message('x@example.com', ['ann@example.org'], "Subject: x\n\nx\n"))[-1], qr/^250 /, 'the second one too');
	is scalar($intake->queued), 2, 'both messages are there';
	my $second_pid = $intake->pid;
	$intake->{pid} = $pid;
	is $intake->stop, 0, 'the first one ends';
	ok !-e journal($intake), '... with its journal';
	like((map { @$_ } $second->message('x@example.com', ['ann@example.org'], "Subject: x\n\nx\n"))[-1], qr/^250 /, 'the second one goes on');
	ok -e journal($intake), '... with a journal of its own';
	$intake->{pid} = $second_pid;
	is $intake->stop, 0, 'it ends';
	ok !-e journal($intake), '... and leaves none';
};

subtest 'runqueue' => sub {
	my $intake = Intake->start;
	accepts($intake, $_) for 1 .. 3;
	$intake->stop('KILL');
	$intake->forget_marks;
	my ($one, $two) = $intake->queued;
	unlink $intake->office . "/transport/$one", $intake->office . "/queue/$one";
	truncate $intake->office . "/queue/$two", 0;
	Spool->put($intake->dir . '/scheduler.conf', "none/*\n    interval=1m\n    command=\"/bin/false\"\n");
	my $said = `'$build/channel/runqueue' -1 -f '@{[$intake->dir]}/scheduler.conf' -P '@{[$intake->office]}' 2>&1`;
	like $said, qr/^runqueue: 2 messages put into the queue from the journal of intake; mail that had been delivered just before is delivered a second time$/m, 'says what it puts back';
	is join(' ', sort map { ($intake->message($_))[2] } $intake->queued), "x1\n x2\n x3\n", 'all are there, whole';
	ok !-e journal($intake), 'the journal is gone';
	$intake->again;
	ok accepts($intake, 4), 'the next intake goes on';
	$said = `'$build/channel/runqueue' -1 -f '@{[$intake->dir]}/scheduler.conf' -P '@{[$intake->office]}' 2>&1`;
	unlike $said, qr/journal/, 'runqueue leaves the journal of a living intake alone';
	is scalar($intake->queued), 4, '... and the queue';
};

# Nothing is settled yet, as far as the journal knows, and all that was delivered or removed is gone for good.
subtest 'what was delivered or removed does not come back' => sub {
	my $intake = Intake->start;
	my $office = $intake->office;
	accepts($intake, $_) for 1 .. 4;
	my ($removed) = $intake->queued;
	like `'$build/channel/zlmtp-queue' -P '$office' remove $removed 2>&1`, qr/removed/, 'an operator removes one';
	is scalar($intake->queued), 3, '... it is gone';
	like `'$build/channel/zlmtp-queue' -P '$office' hold @{[($intake->queued)[0]]} 2>&1`, qr/held/, 'another one is put aside';
	is scalar($intake->queued), 2, '... it is not in transport/';
	my $agent = "$FindBin::Bin/../lib/scripted-agent -s " . $intake->dir . ' -c $channel';
	Spool->put($intake->dir . '/script', "user . ok3\n");
	Spool->put($intake->dir . '/deliver.conf', "lmtp/*\n    interval=1m\n    command=\"$agent\"\n");
	my $said = `'$build/channel/runqueue' -1 -f '@{[$intake->dir]}/deliver.conf' -P '$office' 2>&1`;
	like $said, qr/^delivered 2,/m, 'runqueue delivers the others';
	$intake->stop('KILL');
	$intake->forget_marks;
	$intake->again;
	is scalar($intake->queued), 0, 'nothing comes back when intake was killed';
	unlike $intake->said, qr/from the journal/, '... and nothing is said';
	ok !-e "$office/.removed.runqueue", '... the list is gone';
};

subtest 'what was rerouted does not come back' => sub {
	my $intake = Intake->start;
	my ($dir, $office) = ($intake->dir, $intake->office);
	accepts($intake);
	$intake->routes("ann\@example.org: lmtp!other!ann\n");
	like `cd '$dir' && ZCONFIG='$dir/zenv' '$build/channel/zlmtp-queue' reroute -f dbases.conf -o protocols=routes -P '$office' all 2>&1`, qr/lmtp\/store -> lmtp\/other/,
		'an operator reroutes it';
	$intake->stop('KILL');
	$intake->forget_marks;
	$intake->again;
	is scalar($intake->queued), 1, 'one message is in the queue when intake was killed';
	like Spool::slurp("$office/transport/" . ($intake->queued)[0]), qr/^r +lmtp other ann /m, '... with its new recipient';
	unlike $intake->said, qr/from the journal/, '... and nothing is said';
};

subtest 'a journal that cannot be used' => sub {
	for (['a link', sub ($j) { symlink '/etc/passwd', $j }], ['a directory', sub ($j) { mkdir $j }], ['a pipe', sub ($j) { system 'mkfifo', $j }]) {
		my ($what, $make) = @$_;
		my $intake = Intake->start(run => 0);
		$make->(journal($intake));
		$intake->again;
		like $intake->said, qr/^intake: \Q@{[journal($intake)]}\E: /m, "$what: it says so";
		ok accepts($intake), '... and accepts mail';
		is scalar($intake->queued), 1, '... into the queue';
	}
};

subtest 'a journal that is removed' => sub {
	my $intake = Intake->start;
	ok accepts($intake, 1), 'a message is accepted';
	unlink journal($intake);
	ok accepts($intake, 2), '... and the next one without it';
	is scalar($intake->queued), 2, 'both are in the queue';
	like $intake->said, qr/^intake: \Q@{[journal($intake)]}\E cannot be written: No such file or directory; messages are accepted when/m, 'it says so';
	is $intake->stop, 0, 'it ends well';
};

subtest 'damage' => sub {
	my $intake = Intake->start;
	Spool->put(journal($intake) . '.damaged', 'of an earlier fault');
	accepts($intake);
	$intake->stop('KILL');
	$intake->forget_marks;
	# a copy of the entry, two numbers behind it: one is missing between them
	my $bytes = substr Spool::slurp(journal($intake)), 8192;
	my ($magic, $number, $settled, undef, $length, $count) = unpack 'a8 Q5', $bytes;
	my $head = pack 'a8 Q5', $magic, $number + 2, $settled, $number + 1, $length, $count;
	my $rest = substr $bytes, 56, $length - 56;
	open my $file, '+<', journal($intake) or die "$!\n";
	sysseek $file, 8192 + int(($length + 4095) / 4096) * 4096, 0;
	syswrite $file, $head . Intake::hash_of($intake->journal_key . $head . $rest) . $rest;
	close $file;
	$intake->again;
	like $intake->said, qr/journal\.intake: an entry is damaged, and messages that were accepted may be lost; it is kept as \S+\.damaged\.2$/m, 'it says so';
	ok -e journal($intake) . '.damaged.2', '... and keeps it';
	is Spool::slurp(journal($intake) . '.damaged'), 'of an earlier fault', '... and what was kept before';
	is scalar($intake->queued), 1, 'what is in the queue stays there';
	ok accepts($intake), 'it accepts mail';
	is $intake->stop, 0, '... and ends';
	ok !-e journal($intake), '... without a journal';
};

done_testing;
