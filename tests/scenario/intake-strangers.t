#!/usr/bin/perl
# Who may send mail to intake from another machine: addresses of -O networks=, and clients whose certificate is known.
# The other machine is an address of a network namespace of this test's own.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Certificates;
use Intake;
use Ports;

if (!$ENV{ZLMTP_UNSHARED}) {
	$ENV{ZLMTP_UNSHARED} = 1;
	my @into = ('unshare', $> == 0 ? () : '--map-root-user', '--net');
	plan skip_all => 'no network namespaces here' if system("@into true 2>/dev/null") != 0;
	exec @into, $^X, $0 or die "unshare: $!\n";
}
system('ip link set lo up && ip addr add 192.0.2.1/24 dev lo && ip addr add 192.0.2.9/24 dev lo && ip addr add 198.51.100.7/32 dev lo'
	. ' && ip addr add 2001:db8::1/64 dev lo nodad && ip addr add 2001:db8::9/64 dev lo nodad') == 0 or die "ip(8) failed\n";

my $certificates = Certificates->directory;
my $message = "Subject: x\n\nx\n";

sub start(%o) {
	my ($port) = Ports::free(1);
	my $intake = Intake->start(run => 0);
	$intake->{o}{listen} = ["smtp:[127.0.0.1]:$port", "smtp:[192.0.2.1]:$port", "smtp:[2001:db8::1]:$port"];
	my $tls = $intake->dir . '/tls.conf';
	Spool->put($tls, "tls-cert-file $certificates/wildcard.pem\ntls-key-file $certificates/key.pem\n" . ($o{tls} // ''));
	$intake->{o}{arguments} = [defined $o{tls} ? ('-S', $tls) : (), map { ('-O', $_) } @{$o{settings} // []}];
	$intake->again;
	return ($intake, $port);
}

sub from($address, $port, $to = '192.0.2.1') { return IntakeDialogue->new([$to, $port], lmtp => 0, from => $address) }

# The code of the reply to RCPT for somebody elsewhere, after that to MAIL.
sub relay($client) {
	$client->hello;
	my $mail = $client->say('MAIL FROM:<x@example.com>');
	my $rcpt = $client->say('RCPT TO:<away@example.net>');
	return join ' ', map { substr $_, 0, 9 } $mail, $rcpt;
}

subtest 'the unit tells the users of this machine apart' => sub {
	my $unit = Spool::slurp(($ENV{SRC_DIR} // "$FindBin::Bin/../..") . '/debian/zlmtp.zlmtp-intake.service');
	# in a user namespace of its own it would see one uid for all of them: 200 connections of one would be those of all
	unlike $unit, qr/^PrivateUsers=(?!no)/m, 'it has no users of its own';
};

subtest 'without networks= only this machine is served' => sub {
	my ($intake, $port) = start();
	like from('127.0.0.1', $port, '127.0.0.1')->greeting, qr/^220 /, 'loopback';
	my $stranger = from('192.0.2.9', $port);
	like $stranger->greeting, qr/^421 4\.3\.2 access denied: this address may not connect\r\n\z/, 'another address';
	is $stranger->rest, '', '... is disconnected';
	like from('2001:db8::9', $port, '2001:db8::1')->greeting, qr/^421 /, '... of IPv6, too';
};

subtest 'networks=' => sub {
	my ($intake, $port) = start(settings => ['networks=192.0.2.8/29,2001:db8::/64']);
	for (['192.0.2.9', '192.0.2.1'], ['2001:db8::9', '2001:db8::1']) {
		my ($address, $to) = @$_;
		like((map { @$_ } from($address, $port, $to)->message('x@example.com', ['ann@example.org'], $message))[-1], qr/^250 /, "$address is in it");
	}
	like from('192.0.2.1', $port)->greeting, qr/^421 /, '192.0.2.1 is not';
	like from('198.51.100.7', $port)->greeting, qr/^421 /, '198.51.100.7 is not';
	like from('127.0.0.1', $port, '127.0.0.1')->greeting, qr/^220 /, 'this machine need not be named';
	# as other systems write IPv4 for IPv6 sockets
	my ($mapped, $other) = start(settings => ['networks=::ffff:192.0.2.8/125']);
	like from('192.0.2.9', $other)->greeting, qr/^220 /, 'an IPv4 network that is written as one of IPv6';
	like from($_, $other)->greeting, qr/^421 /, "... without $_" for '192.0.2.1', '198.51.100.7';
	is relay(from('127.0.0.1', $port, '127.0.0.1')), '250 2.1.0 250 2.1.5', 'mail for elsewhere: from this machine';
	is relay(from('192.0.2.9', $port)), '250 2.1.0 550 5.7.1', '... not from another one';
	is join(' ', sort map { ($intake->message($_))[1] =~ /\AReceived: from client\.example \((.*)\)/ } $intake->queued),
		'[192.0.2.9] [IPv6:2001:db8::9]', 'the addresses in Received';
};

subtest 'what a list of ours sends on is mail for us' => sub {
	my ($port) = Ports::free(1);
	my $intake = Intake->start(run => 0, lists => "team\@example.org: ann\@example.org, away\@example.net\ncarol\@example.org: away\@example.net\n");
	$intake->{o}{listen} = ["smtp:[192.0.2.1]:$port"];
	$intake->{o}{arguments} = ['-O', 'networks=192.0.2.9', '-O', 'relay=none'];
	$intake->again;
	my $client = from('192.0.2.9', $port);
	is relay($client), '250 2.1.0 550 5.7.1', 'somebody elsewhere is not for this client';
	like $client->say("RCPT TO:<$_\@example.org>"), qr/^250 2\.1\.5 /, "$_, who gets mail elsewhere, is" for 'team', 'carol', 'team+x';
	like $client->say("RCPT TO:<$_>"), qr/^550 5\.7\.1 /, "$_ is not" for 'away%example.net', '@example.org:away@example.net', '"away"@example.net';
};

subtest 'networks= and relay=all' => sub {
	my ($intake, $port) = start(settings => ['networks=192.0.2.9', 'relay=all']);
	is relay(from('192.0.2.9', $port)), '250 2.1.0 250 2.1.5', 'a single address; mail for elsewhere from there';
};

subtest 'clients with a certificate' => sub {
	plan skip_all => 'no python3' if !-x '/usr/bin/python3';
	my ($fingerprint) = `openssl x509 -in $certificates/client.pem -noout -fingerprint -sha256` =~ /=(\S+)/;
	my ($intake, $port) = start(tls => "tls-fingerprint $fingerprint\n");
	my $stranger = from('192.0.2.9', $port);
	like $stranger->greeting, qr/^220 /, 'another address is greeted, as it may have one';
	$stranger->hello;
	is $stranger->say('MAIL FROM:<x@example.com>'), "530 5.7.0 a client certificate that this server knows is required: STARTTLS first\r\n", '... without it no mail';
	my $dir = $intake->dir;
	Spool->put("$dir/client.py", <<"END");
import smtplib, ssl, sys
def client(certificate):
    context = ssl.create_default_context(cafile='$certificates/ca.pem')
    context.check_hostname = False
    if certificate:
        context.load_cert_chain('$certificates/' + certificate, '$certificates/key.pem')
    c = smtplib.SMTP('192.0.2.1', $port, timeout=20, source_address=('192.0.2.9', 0))
    c.starttls(context=context)
    c.ehlo('there.example')
    return c
for certificate in (None, 'good.pem', 'selfsigned.pem'):
    code, text = client(certificate).docmd('MAIL FROM:<x\@example.com>')
    assert code == 530, (certificate, code, text)
c = client('client.pem')
c.sendmail('x\@example.com', ['ann\@example.org'], 'Subject: x\\n\\nx\\n')
assert c.docmd('MAIL FROM:<x\@example.com>')[0] == 250
code, text = c.docmd('RCPT TO:<away\@example.net>')
assert code == 550, (code, text)
END
	is system("/usr/bin/python3 '$dir/client.py' >'$dir/said' 2>&1"), 0, 'the known certificate opens, others and none do not; not for elsewhere'
		or diag Spool::slurp("$dir/said");
	my ($job) = $intake->queued;
	like +($intake->message($job))[1], qr/\AReceived: from there\.example \(\[192\.0\.2\.9\]\)\n\tby \S+ with ESMTPS id/, 'Received';
};

done_testing;
