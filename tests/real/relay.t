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
use Certificates;
use Ports;
use RealDovecot;
use RealExim;
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
	my @run = ("$build/channel/runqueue -1 -f $dir/scheduler.conf -P $office >$dir/out 2>&1");
	is system("$build/channel/zlmtp-queue -P $office hold to=eve\@example.net >$dir/out"), 0, 'it is held';
	is system(@run), 0, 'runqueue leaves it alone';
	is $postfix->count('hold') - $before, 0, 'Postfix has nothing';
	is system("$build/channel/zlmtp-queue -P $office release all >$dir/out"), 0, 'it is released';
	is system(@run), 0, 'runqueue delivers it';
	is $postfix->count('hold') - $before, 1, 'Postfix has it';
};
$postfix->stop;

# ---- TLS and authentication ----

my @user = ('sender', 'a secret of 21 bytes!');
my $certificates = Certificates->directory;

# Under TLS and with the password everything goes as without; without either it waits.
sub secured($port, $count, $auth) {
	my @relay = (program => $program, relay => 1, target => ['-F', '[127.0.0.1]', '-p', $port]);
	Spool->put("$dir/tls.conf", "tls-CAfile $certificates/ca.pem\n");
	my @smtp = ('-O', 'protocol=smtp', '-S', "$dir/tls.conf", '-O', 'tls=verify');
	for my $case (['as announced'], ['without CHUNKING', '-O', 'chunking=no']) {
		my ($name, @options) = @$case;
		my $before = $count->();
		my $run = RealDelivery->new(@relay, secret => \@user, arguments => [@smtp, @$auth, @options]);
		like join(', ', $run->deliver([map { "$_\@example.net" } qw(bob gone carol)])), qr/^ok3, error2 55[04], ok3$/,
			"$name: each recipient has its answer";
		is_deeply [$run->deliver(['dave@example.net'], body => 'x' x 70 . "\n" x 30000)], ['ok3'], "$name: a message behind it";
		is_deeply [$run->finish], [], "$name: nothing to complain about, and the password is nowhere";
		is $count->() - $before, 2, "$name: the relay has two messages";
		my $log = $run->log;
		like $log, qr/^\S+ \S+w\tSTARTTLS$/m, "$name: STARTTLS";
		like $log, qr/^\S+ \S+w\tAUTH PLAIN/m, "$name: AUTH";
		like $log, qr/ outcome=delivered .* tls="?TLSv1\.[23]/, "$name: delivered under TLS";
	}
	my $before = $count->();
	my $run = RealDelivery->new(@relay, secret => ['sender', 'a wrong secret, longer'], arguments => [@smtp, @$auth]);
	like +($run->deliver(['bob@example.net']))[0], qr/^(?:deferred|retryat) 535$/, 'a wrong password: deferred';
	is_deeply [$run->finish], [], 'nothing to complain about';
	$run = RealDelivery->new(@relay, secret => \@user, arguments => ['-O', 'protocol=smtp', '-O', 'tls=none']);
	like +($run->deliver(['bob@example.net']))[0], qr/^(?:deferred|retryat)/, 'without TLS there is no authentication, and it waits';
	is_deeply [$run->finish], [], 'nothing to complain about';
	is $count->(), $before, 'nothing came of these';
}

SKIP: {
	my $missing = RealDovecot::missing();
	skip $missing, 1 if $missing;
	subtest 'Postfix with STARTTLS, and Dovecot knows who may send' => sub {
		my ($port) = Ports::free(1);
		my $dovecot = RealDovecot->start(users => [$user[0]], password => $user[1]);
		my $secure = RealPostfix->start("$dir/secure", "$dir/nobody", services => ["127.0.0.1:$port inet n - n - - smtpd"],
			smtpd_tls_security_level => 'may', smtpd_tls_cert_file => "$certificates/good.pem", smtpd_tls_key_file => "$certificates/key.pem",
			smtpd_tls_auth_only => 'yes', smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'dovecot', smtpd_sasl_path => $dovecot->{auth},
			mynetworks => '192.0.2.0/24',
			smtpd_recipient_restrictions => 'check_recipient_access inline:{gone@example.net=REJECT}, permit_sasl_authenticated, defer');
		secured($port, sub { $secure->count('hold') }, ['-O', 'auth=plain']);
		$secure->stop;
		$dovecot->stop;
	};
}

SKIP: {
	my $why = RealExim->missing;
	skip $why, 1 if $why;
	subtest 'Exim with STARTTLS and AUTH PLAIN' => sub {
		my $exim = RealExim->start(dir => "$dir/exim", certificate => "$certificates/good.pem", key => "$certificates/key.pem",
			user => $user[0], password => $user[1]);
		secured($exim->port, sub { $exim->count }, ['-O', 'auth=plain']);
		$exim->stop;
	};
}
done_testing;
