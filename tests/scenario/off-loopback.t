#!/usr/bin/perl
# A password does not cross a network in clear unless the postmaster says so.  The network is the loopback interface of
# a network namespace, with an address that is no loopback address.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use LmtpServer;
use Loop;
use RealDelivery;
use TlsPeer;

my $address = '198.51.100.7';
if (!$ENV{ZLMTP_NAMESPACE}) {
	plan skip_all => 'needs root' if $>;
	plan skip_all => 'no ip(8) here (Debian: iproute2)' unless grep { -x "$_/ip" } '/usr/sbin', '/sbin', '/usr/bin', '/bin';
	plan skip_all => 'no network namespaces here' if system 'unshare -n true 2>/dev/null';
	$ENV{ZLMTP_NAMESPACE} = 1;
	exec 'unshare', '-n', 'sh', '-c', "ip link set lo up && ip address add $address/32 dev lo && exec \"\$@\"", 'sh', $0
		or die "unshare: $!\n";
}

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my @login = (
	{ expect => 'line', like => qr/^AUTH LOGIN$/, text => 'AUTH LOGIN' }, { do => 'line', text => '334 VXNlcm5hbWU6' },
	{ expect => 'line', like => qr/^dXNlcg==$/, text => 'user' }, { do => 'line', text => '334 UGFzc3dvcmQ6' },
	{ expect => 'line', like => qr/^Y29y/, text => 'secret' }, { do => 'line', text => '235 2.7.0 welcome' },
);
my $starttls = { stage => 'STARTTLS', like => qr//, actions => [{ do => 'line', text => '220 go' }] };

# Delivers one message to a server that plays these steps; @front are arguments of tlspeer.  Returns what came of it.
sub play($steps, $caps, $arguments, @front) {
	my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
	my $loop = Loop->new;
	my $server = LmtpServer->new(loop => $loop, target => @front ? 'unix' : 'tcp', path => "$dir/s", address => $address,
		caps => $caps, rules => [$starttls], script => sub ($n) { [@$steps, { do => 'serve' }] });
	my $front = @front ? TlsPeer->start(program => "$build/tests/lib/tlspeer", listen => $address, backend => "$dir/s",
		certificate => $front[0]) : undef;
	my $port = $front ? $front->port : $server->port;
	my $run = RealDelivery->new(program => "$build/channel/lmtp", target => ['-F', "[$address]", '-p', $port], loop => $loop,
		secret => ['user', 'correct-horse-battery'], secret_host => $address, arguments => $arguments);
	my @got = $run->deliver(['bob']);
	my @complaints = ($run->finish, @{$server->{problems}});
	my @commands = @{$server->{commands}};
	$server->close;
	$front->stop if $front;
	return { result => "@got", complaints => \@complaints, commands => \@commands, log => $run->log,
		comments => join "\n", @{$run->{scheduler}{comments}} };
}

my $hello = { do => 'hello' };
subtest 'in clear' => sub {
	my $got = play([$hello], ['PIPELINING', 'AUTH LOGIN PLAIN'], []);
	is($got->{result}, 'retryat none', 'mail is deferred');
	like($got->{log}, qr/the password would cross an unencrypted connection/, 'the log says why');
	is_deeply($got->{commands}, ['LHLO client.example'], 'nothing was said');
	is_deeply($got->{complaints}, [], 'nothing to complain about');
};
subtest 'in clear, as the postmaster wants it' => sub {
	my $got = play([$hello, @login], ['PIPELINING', 'AUTH LOGIN PLAIN'], ['-O', 'auth-cleartext']);
	is($got->{result}, 'ok3', 'mail is delivered');
	is_deeply($got->{complaints}, [], 'nothing to complain about');
};
subtest 'under TLS with anybody' => sub {
	my @hello = map { { do => 'line', text => $_ } } '250-store.example', '250-PIPELINING', '250 AUTH LOGIN';
	my $got = play([$hello, { expect => 'line', like => qr/^STARTTLS$/, text => 'STARTTLS' }, { do => 'line', text => '220 go' },
		{ expect => 'line', like => qr/^LHLO /, text => 'LHLO' }, @hello, @login], ['STARTTLS'], [], 'selfsigned');
	is($got->{result}, 'ok3', 'mail is delivered');
	like($got->{comments}, qr/\Q$address\E\] gets the password although its certificate is not verified: TLS.*self-signed/,
		'and the postmaster told whom he trusts');
	is_deeply($got->{complaints}, [], 'nothing to complain about');
};
done_testing;
