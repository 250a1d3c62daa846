#!/usr/bin/perl
# Clients of intake that misuse TLS: rubbish, drips, half a handshake, renegotiations, key updates, ends without close_notify,
# replies that nobody reads.  Each is got rid of in its time, nothing of it is in the queue that it was not told of, and
# another client is served meanwhile.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use Certificates;
use Intake;
use Ports;

plan skip_all => 'no python3' if !-x '/usr/bin/python3';

my $certificates = Certificates->directory;
my ($port) = Ports::free(1);
my $intake = Intake->start(run => 0);
my $dir = $intake->dir;
Spool->put("$dir/tls.conf", "tls-cert-file $certificates/good.pem\ntls-key-file $certificates/key.pem\n");
$intake->{o}{listen} = ["smtp:[127.0.0.1]:$port", "lmtp:UNIX:$dir/lmtp"];
$intake->{o}{arguments} = ['-S', "$dir/tls.conf", map { ('-O', $_) } qw(command-time=2 message-time=6 errors=20)];
$intake->again;

Spool->put("$dir/client.py", <<"END");
import os, re, socket, ssl, subprocess, sys, time
attack = sys.argv[1]
began = time.time()
context = ssl.create_default_context(cafile='$certificates/ca.pem')
context.check_hostname = False

def raw():
    s = socket.create_connection(('127.0.0.1', $port), timeout=20)
    s.recv(1000)
    s.sendall(b'EHLO there.example\\r\\n')
    s.recv(4000)
    return s

def asked():
    s = raw()
    s.sendall(b'STARTTLS\\r\\n')
    assert s.recv(1000).startswith(b'220 ')
    return s

def hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname='localhost')
    try: client.do_handshake()
    except ssl.SSLWantReadError: pass
    return outgoing.read()

def secure(version=None):
    if version:
        context.maximum_version = version
    return context.wrap_socket(asked(), server_hostname='localhost', suppress_ragged_eofs=False)

def say(c, text):
    c.sendall(text)
    return c.recv(4000)

def message(c, last=b'.\\r\\n'):
    say(c, b'EHLO there.example\\r\\n')
    say(c, b'MAIL FROM:<' + attack.encode() + b'\@example.com>\\r\\n')
    say(c, b'RCPT TO:<ann\@example.org>\\r\\n')
    assert say(c, b'DATA\\r\\n').startswith(b'354'), 'DATA'
    c.sendall(b'Subject: x\\r\\n\\r\\n' + b'0123456789abcdef\\r\\n' * 4000 + last)

# until it is closed: how it ended
def end(s):
    said = b''
    try:
        while True:
            more = s.recv(65536)
            if not more:
                return 'closed', said
            said += more
    except (ConnectionError, ssl.SSLError, TimeoutError) as error:
        return type(error).__name__, said

def drip(s, data, pause):
    try:
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
            time.sleep(pause)
    except OSError:
        pass

if attack == 'rubbish':
    s = asked()
    s.sendall(os.urandom(100000))
    result = end(s)[0]
elif attack == 'smtp-instead':
    s = asked()
    s.sendall(b'EHLO there.example\\r\\nMAIL FROM:<smtp-instead\@example.com>\\r\\n')
    result = end(s)[0]
elif attack == 'silence':
    result = end(asked())[0]
elif attack == 'half-a-hello':
    s = asked()
    s.sendall(hello()[:40])
    result = end(s)[0]
elif attack == 'drip':
    s = asked()
    drip(s, hello(), 0.1)
    result = end(s)[0]
elif attack == 'hello-and-no-more':
    s = asked()
    s.sendall(hello())
    result = end(s)[0]
elif attack == 'alert':
    s = asked()
    s.sendall(b'\\x15\\x03\\x03\\x00\\x02\\x02\\x28')
    result = end(s)[0]
elif attack == 'warnings':
    s = asked()
    try: s.sendall(b'\\x15\\x03\\x03\\x00\\x02\\x01\\x5a' * 20000)
    except OSError: pass
    result = end(s)[0]
elif attack == 'large-record':
    s = asked()
    try: s.sendall(b'\\x16\\x03\\x01\\xff\\xff' + b'\\x01' * 70000)
    except OSError: pass
    result = end(s)[0]
elif attack in ('renegotiation', 'key-updates'):
    letters = b'R\\n' if attack == 'renegotiation' else b'K\\n' * 5000
    version = '-tls1_2' if attack == 'renegotiation' else '-tls1_3'
    p = subprocess.run(['openssl', 's_client', '-starttls', 'smtp', version, '-connect', '127.0.0.1:$port', '-CAfile', '$certificates/ca.pem'],
                       input=letters, capture_output=True, timeout=60)
    result = 'closed'
elif attack == 'clear-text-behind-it':
    c = secure()
    say(c, b'EHLO there.example\\r\\n')
    s = socket.socket(fileno=os.dup(c.fileno()))
    s.settimeout(20)
    s.sendall(b'MAIL FROM:<clear-text-behind-it\@example.com>\\r\\n')
    result = end(s)[0]
elif attack == 'cut-in-text':
    c = secure()
    message(c, b'')
    s = socket.socket(fileno=c.detach())
    s.shutdown(socket.SHUT_RDWR)
    s.close()
    result = 'closed'
elif attack == 'reset-in-text':
    c = secure()
    message(c, b'')
    import struct
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s = socket.socket(fileno=c.detach())
    s.close()
    result = 'closed'
elif attack == 'half-closed-in-text':
    c = secure()
    message(c, b'')
    s = socket.socket(fileno=os.dup(c.fileno()))
    s.shutdown(socket.SHUT_WR)
    result = end(c)[0]
elif attack == 'closed-behind-dot':
    c = secure()
    message(c)
    try: c.unwrap()
    except (ssl.SSLError, OSError): pass
    result = 'closed'
elif attack == 'never-reads':
    c = secure()
    c.settimeout(20)
    try:
        while time.time() - began < 15:
            c.sendall(b'NOOP\\r\\n' * 1000)
    except (OSError, ssl.SSLError):
        pass
    result = 'closed' if time.time() - began < 15 else 'still there'
elif attack == 'starttls-again':
    c = secure()
    say(c, b'EHLO there.example\\r\\n')
    said = say(c, b'STARTTLS\\r\\n')
    result = said[:3].decode()
elif attack == 'old-version':
    s = asked()
    s.sendall(bytes.fromhex('160301002d0100002903010000000000000000000000000000000000000000000000000000000000000000000002002f0100'))
    result = end(s)[0]
elif attack == 'byte-by-byte':
    c = secure()
    say(c, b'EHLO there.example\\r\\n')
    say(c, b'MAIL FROM:<byte-by-byte\@example.com>\\r\\n')
    say(c, b'RCPT TO:<ann\@example.org>\\r\\n')
    say(c, b'DATA\\r\\n')
    for byte in b'Subject: x\\r\\n\\r\\none byte each record\\r\\n.\\r\\n':
        c.sendall(bytes([byte]))
    result = c.recv(1000)[:3].decode()
elif attack == 'tls-1.2':
    c = secure(ssl.TLSVersion.TLSv1_2)
    message(c)
    result = c.recv(1000)[:3].decode()
elif attack == 'many':
    crowd = [asked() for i in range(60)]
    for s in crowd:
        s.sendall(hello()[:100])
    result = ' '.join(sorted(set(end(s)[0] for s in crowd)))
print(result, '%d' % (time.time() - began))
END

my @gone = qw(closed ConnectionResetError ConnectionAbortedError BrokenPipeError SSLEOFError SSLError SSLZeroReturnError);
# attack => [how it must end, the longest time in seconds, messages in the queue]
my %attack = (
	(map { $_ => [[@gone], 5, 0] } qw(rubbish smtp-instead alert warnings large-record clear-text-behind-it old-version)),
	(map { $_ => [[@gone], 8, 0] } qw(silence half-a-hello drip hello-and-no-more)),
	(map { $_ => [['closed'], 20, 0] } qw(renegotiation key-updates)),
	(map { $_ => [[@gone], 10, 0] } qw(cut-in-text reset-in-text half-closed-in-text)),
	'closed-behind-dot' => [['closed'], 5, 1], 'never-reads' => [['closed'], 14, 0], 'starttls-again' => [['503'], 5, 0],
	'byte-by-byte' => [['250'], 5, 1], 'tls-1.2' => [['250'], 5, 1],
);

# Memory that is in use, in kB.
sub memory { return Spool::slurp("/proc/@{[$intake->pid]}/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : 0 }

# Another client, while all of that goes on.
my $slowest = 0;
sub served {
	my $began = time;
	my $is = ($intake->lmtp->message('x@example.com', ['nothing@example.org'], "Subject: y\n\ny\n"))[-1];
	my $took = time - $began;
	$slowest = $took if $took > $slowest;
	return "@{ref $is ? $is : [$is]}" =~ /^250/;
}

my $before;
for my $attack (sort(keys %attack), 'many') {
	my ($ends, $longest, $messages) = @{$attack{$attack} // [[@gone], 20, 0]};
	my $pid = open(my $out, '-|', '/usr/bin/python3', "$dir/client.py", $attack) // die;
	ok served(), "$attack: another client is served";
	my $said = join '', <$out>;
	close $out;
	my ($end, $seconds) = $said =~ /^(.*) (\d+)$/;
	ok defined $end && !(grep { my $is = $_; !grep { $_ eq $is } @$ends } split ' ', $end), "$attack: it ends as it should" or diag $said;
	cmp_ok $seconds // 99, '<=', 3 * $longest, "$attack: in its time";
	my $queued = sub { scalar grep { (Spool::slurp($intake->office . "/transport/$_") // "") =~ /\Q$attack\E\@example\.com/ } $intake->queued };
	my $until = time + 10;
	sleep 0.05 while $queued->() < $messages && time < $until;
	is $queued->(), $messages, "$attack: in the queue";
	$before //= memory();
}
is_deeply [grep { !m{/\.(?:pid|state)} } $intake->litter], [], 'no temporary is left';
cmp_ok memory(), '<', $before + 20_000, 'its memory has not grown' if !$ENV{ZLMTP_SANITIZED};
cmp_ok $slowest, '<', 10, 'nobody kept another client waiting';
is kill(0, $intake->pid), 1, 'it lives';

done_testing;
