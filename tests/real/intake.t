#!/usr/bin/perl
# Real clients hand mail to intake: Postfix, swaks, Python's smtplib; and to zlmtp-sendmail: mail(1), PHP.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Cwd ();
use File::Temp ();
use Test::More;
use Time::HiRes qw(sleep time);
use Certificates;
use Intake;
use Ports;
use RealPostfix;
use RealSlapd;

my $build = Cwd::abs_path($ENV{BUILD_DIR} // "$FindBin::Bin/../..");
my $sendmail = "$build/channel/zlmtp-sendmail";
my ($port) = Ports::free(1);
my $intake = Intake->start(listen => [], run => 0, routes => join '', map { "$_\@example.org: lmtp!store!$_\n" } qw(ann bob a));
my $dir = $intake->dir;
$intake->{o}{listen} = ["lmtp:UNIX:$dir/lmtp,mode=0666", "smtp:[127.0.0.1]:$port"];
$intake->again;
chmod 0755, $dir;
Spool->put("$dir/zenv", "POSTOFFICE=$dir/po\nINTAKE=$dir/lmtp\n");
$ENV{ZCONFIG} = "$dir/zenv";

sub has($program) { return scalar grep { -x "$_/$program" } split /:/, $ENV{PATH} }

# The texts of all that is queued, each as "users: header"; then they are removed.
sub queued() {
	my @found;
	for my $job ($intake->queued) {
		my ($control, $header, $body) = $intake->message($job);
		push @found, { to => join(',', map { $_->{user} } @{$control->{recipients}}), header => $header, body => $body };
	}
	$intake->forget_all;
	return @found;
}

sub must($what, @command) {
	my $status = system 'sh', '-c', 'exec "$@" >"$0" 2>&1 </dev/null', "$dir/said", @command;
	is $status, 0, "$what: it goes well" or diag Spool::slurp("$dir/said");
}

subtest 'Postfix' => sub {
	my $missing = RealPostfix->unavailable;
	plan skip_all => $missing if $missing;
	for my $pipelining ('with', 'without') {
		my $place = File::Temp->newdir('/tmp/zlp-XXXXXX');
		chmod 0755, "$place";
		my $postfix = RealPostfix->start("$place/postfix", "$dir/lmtp", header_checks => '',
			$pipelining eq 'without' ? (lmtp_discard_lhlo_keywords => 'pipelining, chunking') : ());
		my $socket = "$place/postfix/queue/public/intake";
		must("$pipelining pipelining", 'smtp-source', '-m', 20, '-s', 4, '-f', 'a@example.org', '-t', 'ann@example.org', "unix:$socket");
		must("$pipelining pipelining", 'smtp-source', '-m', 1, '-f', 'a@example.org', '-t', 'eve@example.org', "unix:$socket");
		my $end = time + 60;
		sleep 0.1 while time < $end && (my @n = $intake->queued) < 21;
		my @queued = queued();
		is scalar(grep { $_->{to} eq 'ann' } @queued), 20, "$pipelining pipelining: all that exist";
		my @reports = grep { $_->{to} eq 'a' } @queued;
		is scalar @reports, 1, "$pipelining pipelining: a report of who does not";
		like $reports[0]{body}, qr/^Final-Recipient: rfc822; eve\@example\.org.*^Action: failed\nStatus: 5\.1\.2/ms, '... with our status';
		$postfix->stop;
	}
};

subtest 'swaks' => sub {
	plan skip_all => 'no swaks (Debian: swaks)' if !has('swaks');
	must('LMTP', 'swaks', '--protocol', 'LMTP', '--socket', "$dir/lmtp", '--from', 'x@example.com', '--to', 'ann@example.org,bob@example.org');
	is join(' ', map { $_->{to} } queued()), 'ann,bob', 'LMTP: queued';
	must('SMTP', 'swaks', '--server', "127.0.0.1:$port", '--from', 'x@example.com', '--to', 'ann@example.org', '--body', "a\n.\nb");
	my @queued = queued();
	is scalar @queued, 1, 'SMTP: queued';
	like $queued[0]{body}, qr/^a\n\.\nb\n/, '... as it was';
};

subtest 'smtplib of Python' => sub {
	plan skip_all => 'no python3' if !-x '/usr/bin/python3';
	Spool->put("$dir/client.py", <<"END");
import smtplib
for c in (smtplib.SMTP('127.0.0.1', $port), smtplib.LMTP('$dir/lmtp')):
    refused = c.sendmail('x\@example.com', ['ann\@example.org', 'eve\@example.org'], 'Subject: x\\n\\n.dot\\n')
    assert list(refused) == ['eve\@example.org'] and refused['eve\@example.org'][0] == 550, refused
    c.quit()
END
	must('both protocols', '/usr/bin/python3', "$dir/client.py");
	is join(' ', map { "$_->{to}:$_->{body}" } queued()), "ann:.dot\n ann:.dot\n", 'queued';
};

subtest 'STARTTLS' => sub {
	plan skip_all => 'no python3' if !-x '/usr/bin/python3';
	my $certificates = Certificates->directory;
	my ($tls_port) = Ports::free(1);
	Spool->put("$dir/tls.conf", "tls-cert-file $certificates/wildcard.pem\ntls-key-file $certificates/key.pem\n");
	my $other = Intake->start(listen => ["smtp:[127.0.0.1]:$tls_port"], arguments => ['-S', "$dir/tls.conf"]);
	Spool->put("$dir/tls.py", <<"END");
import smtplib, ssl
c = smtplib.SMTP('127.0.0.1', $tls_port)
c.ehlo()
assert c.has_extn('starttls')
context = ssl.create_default_context(cafile='$certificates/ca.pem')
context.check_hostname = False
c.starttls(context=context)
c.ehlo()
assert not c.has_extn('starttls')
c.sendmail('x\@example.com', ['ann\@example.org'], 'Subject: x\\n\\nx\\n')
c.quit()
c = smtplib.SMTP('127.0.0.1', $tls_port)
c.ehlo()
c.sock.sendall(b'STARTTLS\\r\\nMAIL FROM:<evil\@example.com>\\r\\n')
said = c.sock.recv(1000)
assert said.startswith(b'421 5.5.0 bytes came after STARTTLS'), said
END
	must('a message under TLS', '/usr/bin/python3', "$dir/tls.py");
	my ($job, @more) = $other->queued;
	is scalar @more, 0, 'one message';
	like +($other->message($job))[1], qr/with ESMTPS id/, 'Received says ESMTPS';
};

subtest 'a directory that does not answer' => sub {
	my $missing = RealSlapd::missing();
	plan skip_all => $missing if $missing;
	plan skip_all => 'built without LDAP' if !-x "$build/db/ldapsync";
	my $domain = $RealSlapd::domain;
	my $slapd = RealSlapd->new(users => 0, aliases => 0, no_tls => 1, ldif => RealSlapd::account('ann', mailbox => 'ann') . RealSlapd::account('eva', mailbox => 'eva'));
	$slapd->start;
	my $other = Intake->start(run => 0);
	my $place = $other->dir;
	Spool->put("$place/account.ldap", 'uri ' . $slapd->uri('ldap') . "\nbase $RealSlapd::hosting\nnetwork_timeout 20\ntimeout 20\n"
		. "filter (&(mail=%s)(objectClass=CourierMailAccount))\nresult lmtp!store!%s\n");
	Spool->put("$place/local", "bob\@$domain: lmtp!store!bob\n");
	system("cd '$place' && '$build/db/newdb' -a -l local >/dev/null 2>&1") == 0 or die 'newdb failed';
	Spool->put("$place/dbases.conf", "fqdnroutes btree - -la $place/local -lm%:\nfqdnroutes ldap - - $place/account.ldap -lm%:\n");
	$other->{o}{arguments} = ['-O', 'lookup-time=3', '-O', 'lookups=4'];
	$other->again;
	my @clients = map { my $c = $other->lmtp; $c->hello; $c->say('MAIL FROM:<x@example.com>'); $c } 1 .. 3;
	is $clients[0]->say("RCPT TO:<ann\@$domain>"), "250 2.1.5 ok\r\n", 'while it answers';
	is $clients[0]->say("RCPT TO:<nobody\@$domain>") =~ /^(\d+)/ && $1, 550, '... also no';
	$slapd->signal('STOP');
	my $begun = time;
	$clients[$_]->send("RCPT TO:<eva\@$domain>\r\n") for 0, 1;
	is $clients[2]->say('NOOP'), "250 2.0.0 ok\r\n", 'another client is answered';
	is $clients[2]->say("RCPT TO:<bob\@$domain>"), "250 2.1.5 ok\r\n", 'one whom a file knows is taken';
	$clients[2]->say('DATA');
	$clients[2]->send("Subject: x\r\n\r\nx\r\n.\r\n");
	like $clients[2]->reply, qr/^250 .*queued/, '... and its message';
	cmp_ok time - $begun, '<', 2.5, '... before anybody has an answer from the directory';
	ok $clients[$_]->silent(0), 'who asked it waits' for 0, 1;
	like $clients[$_]->reply, qr/^451 4\.3\.0 /, 'nobody can tell, in time' for 0, 1;
	cmp_ok time - $begun, '<', 9, '... in its time';
	like $other->said, qr/^intake: eva\@\Q$domain\E: its lookup took too long$/m, 'the log says about whom';
	$slapd->signal('CONT');
	my $reply;
	for (1 .. 100) {
		$reply = $clients[0]->say("RCPT TO:<eva\@$domain>");
		last if $reply !~ /^451/;
		sleep 0.1;
	}
	is $reply, "250 2.1.5 ok\r\n", 'it answers again';
};

subtest 'mail(1)' => sub {
	plan skip_all => 'no mail (Debian: bsd-mailx)' if !has('mail');
	Spool->put("$dir/mailrc", "set sendmail=$sendmail\n");
	local @ENV{qw(MAILRC HOME)} = ("$dir/mailrc", $dir);
	my $status = system 'sh', '-c', qq{printf 'Hello.\n' | mail -s 'a subject' ann\@example.org >"$dir/said" 2>&1};
	is $status, 0, 'it goes well' or diag Spool::slurp("$dir/said");
	my $end = time + 20;
	sleep 0.05 while time < $end && !(my @n = $intake->queued);
	my @queued = queued();
	is scalar @queued, 1, 'queued';
	like $queued[0]{header}, qr/^Subject: a subject$/m, 'its header';
	like $queued[0]{body}, qr/^Hello\.\n/, 'its body';
};

subtest 'mail() of PHP' => sub {
	plan skip_all => 'no php (Debian: php-cli)' if !has('php');
	must('mail()', 'php', '-d', "sendmail_path=$sendmail -t -i", '-r', 'exit(mail("ann@example.org", "a subject", "Hello.\n.\nBye.\n", "Bcc: bob@example.org") ? 0 : 1);');
	my @queued = queued();
	is $queued[0]{to}, 'ann,bob', 'queued';
	like $queued[0]{body}, qr/^Hello\.\n\.\nBye\.\n/, 'its body';
	unlike $queued[0]{header}, qr/^Bcc/mi, 'without Bcc';
	my $status = system 'sh', '-c', 'exec php -d "sendmail_path=$0 -t -i" -r \'exit(mail("eve@example.org", "x", "x") ? 0 : 1);\' >/dev/null 2>&1', $sendmail;
	is $status >> 8, 1, 'a refusal is false';
};

done_testing;
