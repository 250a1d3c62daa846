#!/usr/bin/perl
# A real Postfix as the relay of lmtp -O protocol=smtp: one message for several recipients, some of whom it refuses, with
# and without its extensions; and from enqueue to its queue.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Spool;
use File::Temp ();
use RealDelivery;
use RealPostfix;

my $missing = RealPostfix->unavailable;
plan skip_all => $missing if $missing;
my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");

my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
my $postfix = RealPostfix->start("$dir", "$dir/nobody",
	smtpd_recipient_restrictions => 'check_recipient_access inline:{gone@example.net=REJECT}, permit');
my $relay = "$dir/queue/public/intake";

for my $case (['as announced'], ['without PIPELINING', '-P'], ['without CHUNKING', '-O', 'chunking=no']) {
	my ($name, @options) = @$case;
	my $before = $postfix->count('hold');
	my $run = RealDelivery->new(program => $program, socket => $relay, relay => 1,
		arguments => ['-O', 'protocol=smtp', @options]);
	is_deeply [$run->deliver([map { "$_\@example.net" } qw(bob gone carol)])], ['ok3', 'error2 554', 'ok3'],
		"$name: each recipient has its answer";
	is_deeply [$run->deliver(['gone@example.net'])], ['error2 554'], "$name: a message that nobody gets";
	is_deeply [$run->deliver(['dave@example.net'])], ['ok3'], "$name: and one behind it";
	is_deeply [$run->finish], [], "$name: nothing to complain about";
	is $postfix->count('hold') - $before, 2, "$name: Postfix has two messages";
}

subtest 'from enqueue over runqueue and the agent to the queue of Postfix' => sub {
	my ($before, $office) = ($postfix->count('hold'), "$dir/office");
	Spool->put("$dir/scheduler.conf", "smtp/*\n\tcommand=\"$program -c \$channel -O protocol=smtp -F UNIX:$relay\"\n");
	local $ENV{ZCONFIG} = '/dev/null';
	Spool->put("$dir/mail", "Subject: end to end\n\nhello\n");
	is system("$build/channel/enqueue -m -P $office -s ann\@example.org -r smtp,example.net,eve\@example.net <$dir/mail >$dir/id"), 0,
		'enqueue takes it';
	is system("$build/channel/runqueue -1 -f $dir/scheduler.conf -P $office >$dir/out 2>&1"), 0, 'runqueue delivers it';
	is $postfix->count('hold') - $before, 1, 'Postfix has it';
};
$postfix->stop;
done_testing;
