#!/usr/bin/perl
# Authentication at real Cyrus: the two command lines of ZMailer's guide to Cyrus deliver as they stand there, each mechanism
# works, and whatever Cyrus refuses defers.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use RealCyrus;
use RealDelivery;
use Secrecy;
use Spool;

my $missing = RealCyrus::missing();
plan skip_all => $missing if $missing;
my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");

# The guide's command line has the port 2003: any address of 127/8 on which that is free will do.
my $address = free_address(2003);
my $cyrus = RealCyrus->start(count => 3, tls => 'good', mechanisms => 'PLAIN LOGIN SCRAM-SHA-256 EXTERNAL', address => $address,
	port => 2003);
my @user = (RealCyrus::LMTP_USER, RealCyrus::LMTP_PASSWORD);

sub free_address($port) {
	for (1 .. 50) {
		my $address = join '.', 127, map { 1 + int rand 250 } 1 .. 3;
		return $address if IO::Socket::IP->new(LocalHost => $address, LocalPort => $port, Listen => 1);
	}
	BAIL_OUT("port $port is not free on any loopback address");
}

subtest 'the command lines of the guide' => \&guide;
for my $mechanism (qw(login plain scram-sha-256)) {
	for my $tls (qw(none must)) {
		subtest "$mechanism, tls=$tls" => sub { mechanism($mechanism, $tls) };
	}
}
subtest 'EXTERNAL by a certificate' => \&external;
subtest 'wrong password' => sub { refused([$user[0], 'correct-horse-battery'], 'AUTH LOGIN', 501) };
subtest 'unknown user' => sub { refused(['nobody-here', 'correct-horse-battery'], 'AUTH LOGIN', 501) };
subtest 'wrong password, PLAIN' => sub { refused([$user[0], 'correct-horse-battery'], 'AUTH PLAIN', 501, '-O', 'auth=plain') };
subtest 'wrong password, SCRAM' => sub {
	refused([$user[0], 'correct-horse-battery'], 'AUTH SCRAM-SHA-256', qr/^\d+$/, '-O', 'auth=scram-sha-256');
};
subtest 'a user who may not deliver' => sub { refused(['admin', 'adminsecret'], 'AUTH LOGIN', qr/^(?:430|501)$/) };
subtest 'plain text mechanisms only under TLS' => \&noplain;
$cyrus->stop;
done_testing;

# scheduler.conf with these lines, run by runqueue, for both channels.
sub guide() {
	my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
	mkdir "$dir/$_" for qw(bin bin/ta var var/db logs);
	symlink $program, "$dir/bin/ta/lmtp" or die $!;
	my $secrecy = Secrecy->new(@user);
	$secrecy->write_file("$dir/var/db/smtp-auth-secrets.txt", $address, 'smtp-lmtp');
	Spool->new("$dir/post");
	put("$dir/zenv", "MAILBIN=$dir/bin\nMAILVAR=$dir/var\nLOGDIR=$dir/logs\nPOSTOFFICE=$dir/post\n");
	put("$dir/scheduler.conf", <<"CONF");
local/*
	interval=1m retries="1"
	command="lmtp -c \$channel -M -x -F UNIX:$cyrus->{socket} -s -l \${LOGDIR}/smtp-lmtp"
smtp-lmtp/*
	interval=1m retries="1"
	command="lmtp -c \$channel -M -x -p 2003 -A \${MAILVAR}/db/smtp-auth-secrets.txt -s"
CONF
	my @ways = (['local', 'store', 'user1'], ['smtp-lmtp', "[$address]", 'user2']);
	my $spool = Spool->new("$dir/post");
	my $number = 501;
	for (@ways) {
		my ($channel, $host, $user) = @$_;
		$spool->add(name => $number++, body => "By channel $channel.\n", groups => [{
			sender => ['smtp', 'mx', 'ann@example.org'], header => "From: ann\@example.org\nSubject: guide\n",
			recipients => [{ channel => $channel, host => $host, user => $user }] }]);
	}
	$ENV{ZCONFIG} = "$dir/zenv";
	my $said = qx($build/channel/runqueue -f $dir/scheduler.conf -v -1 2>&1);
	is($?, 0, 'runqueue ends well') or diag $said;
	is_deeply([glob "$dir/post/transport/5*"], [], 'both messages are done') or diag $said;
	for (@ways) {
		my ($channel, undef, $user) = @$_;
		ok((grep { /\nBy channel \Q$channel\E\.\n$/ } $cyrus->messages($user)), "the one of $channel is in $user\'s mailbox");
	}
	like(Spool::slurp("$dir/logs/smtp-lmtp") // '', qr/LHLO/, 'the protocol log is written');
	is_deeply([$secrecy->leaks_in_lines('runqueue', split /\n/, $said),
		$secrecy->leaks_below("$dir", "$dir/var/db/smtp-auth-secrets.txt")], [], 'the password is nowhere');
}

sub put($path, $text) {
	open my $fh, '>', $path or die "$path: $!\n";
	print $fh $text;
	close $fh or die "$path: $!\n";
}

sub delivery($secret, @arguments) {
	return RealDelivery->new(program => $program, target => ['-F', "[$address]", '-p', 2003], secret => $secret,
		secret_host => $address, arguments => \@arguments);
}

sub mechanism($mechanism, $tls) {
	my $run = delivery(\@user, '-O', "auth=$mechanism", '-O', "tls=$tls");
	is_deeply([$run->deliver(['user1', 'nobody-here', 'user2'])], ['ok3', 'error2 550', 'ok3'], 'mail is delivered');
	like($run->log, qr/\tAUTH \U$mechanism\E$/m, 'by this mechanism');
	like($run->log, $tls eq 'must' ? qr/TLS: TLSv1\.3.*handshake/ : qr/\ttls=-|tls=- /, 'with and without TLS as told');
	is_deeply([$run->finish], [], 'nothing to complain about');
}

sub external() {
	my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
	my $certificates = Certificates->directory;
	put("$dir/tls.conf", "tls-verify none\ntls-cert-file $certificates/both.pem\n");
	my $run = RealDelivery->new(program => $program, target => ['-F', "[$address]", '-p', 2003],
		arguments => ['-O', 'auth=external', '-S', "$dir/tls.conf"]);
	is_deeply([$run->deliver(['user1'])], ['ok3'], 'mail is delivered') or diag $run->log;
	is_deeply([$run->finish], [], 'nothing to complain about');
}

# Nothing is delivered, everybody is deferred, and the next job is treated alike.
sub refused($secret, $command, $code, @arguments) {
	my $before = $cyrus->messages('user3');
	my $run = delivery($secret, @arguments);
	for my $round (1 .. 2) {
		my @got = $run->deliver(['user3', 'nobody-here']);
		for (@got) {
			my ($word, $got) = split ' ';
			like($word, qr/^(?:retryat|deferred)$/, "round $round: deferred");
			ref $code ? like($got, $code, 'with the code of Cyrus') : is($got, $code, 'with the code of Cyrus');
		}
	}
	like($run->log, qr/\t\Q$command\E$/m, "$command was tried");
	unlike($run->log, qr/\tMAIL From/, 'nothing was sent') unless $secret->[0] eq 'admin';
	is(scalar $cyrus->messages('user3'), $before, 'nothing was stored');
	is_deeply([$run->finish], [], 'nothing to complain about');
}

sub noplain() {
	my %to = (program => $program, port => $cyrus->{noplain_port}, secret => \@user);
	my $run = RealDelivery->new(%to, arguments => ['-O', 'tls=none', '-O', 'auth=login,plain']);
	my @got = $run->deliver(['user1']);
	like("@got", qr/^retryat none$/, 'without TLS nothing fits, and mail is deferred');
	unlike($run->log, qr/\tAUTH (?:LOGIN|PLAIN)/, 'the password was not said');
	is_deeply([$run->finish], [], 'nothing to complain about');
	$run = RealDelivery->new(%to);
	is_deeply([$run->deliver(['user1'])], ['ok3'], 'by STARTTLS it is delivered');
	like($run->log, qr/\tSTARTTLS\n.*\tAUTH LOGIN\n/s, 'TLS first, then the password');
	is_deeply([$run->finish], [], 'nothing to complain about');
}
