#!/usr/bin/perl
# TLS with real Dovecot (STARTTLS, and TLS from the first byte) and real Cyrus (STARTTLS).

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Certificates;
use RealCyrus;
use RealDelivery;
use RealDovecot;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
my $certificates = Certificates->directory;

SKIP: {
	my $missing = RealDovecot::missing();
	skip $missing, 1 if $missing;
	subtest 'Dovecot' => sub {
		my $dovecot = RealDovecot->start(count => 5, tls => 'good');
		my $user = $dovecot->address('user1');
		starttls($dovecot, $user, sub { $dovecot->messages($user) });
		subtest 'from the first byte' => sub { wrapped($dovecot, $user) };
		subtest 'on the socket' => sub { on_the_socket($dovecot, $user) };
		subtest 'a large message' => sub { large($dovecot, $user) };
		$dovecot->stop;
	};
}
SKIP: {
	my $missing = RealCyrus::missing();
	skip $missing, 1 if $missing;
	subtest 'Cyrus' => sub {
		my $cyrus = RealCyrus->start(count => 3, tls => 'good');
		starttls($cyrus, 'user1', sub { $cyrus->messages('user1') }, [RealCyrus::LMTP_USER, RealCyrus::LMTP_PASSWORD]);
		$cyrus->stop;
	};
}
done_testing;

# A file for -S.
sub conf($name, @lines) {
	open my $fh, '>', "$dir/$name" or die "$dir/$name: $!\n";
	print $fh map { "$_\n" } @lines;
	close $fh or die "$dir/$name: $!\n";
	return ('-S', "$dir/$name");
}

# A run, and a function that returns its protocol log.
my $runs;
sub delivery(%o) {
	my $log = "$dir/log" . ++$runs;
	push @{$o{arguments}}, '-l', $log unless $o{secret};
	my $run = RealDelivery->new(program => $program, %o);
	return ($run, sub { $o{secret} ? $run->log : Spool::slurp($log) // '' });
}

sub starttls($server, $user, $stored, $secret = undef) {
	my @to = (port => $server->{port}, $secret ? (secret => $secret) : ());
	subtest 'STARTTLS, unverified' => sub {
		my ($run, $log) = delivery(@to);
		my $before = $stored->();
		is_deeply([$run->deliver([$user])], ['ok3'], 'mail is delivered');
		is(scalar $stored->(), $before + 1, 'and stored');
		like($log->(), qr/STARTTLS\n.*TLS: TLSv1\.3.*not verified: /s, 'the log says what TLS is worth');
		is_deeply([$run->finish], [], 'nothing to complain about');
	};
	subtest 'STARTTLS, verified' => sub {
		my ($run, $log) = delivery(@to, arguments => [conf('right', "tls-CAfile $certificates/ca.pem", 'tls-verify name')]);
		is_deeply([$run->deliver([$user])], ['ok3'], 'mail is delivered');
		like($log->(), qr/TLS: TLSv1\.3.*, verified$/m, 'the log says verified');
		is_deeply([$run->finish], [], 'nothing to complain about');
	};
	my %wrong = (
		'another authority' => ["tls-CAfile $certificates/otherca.pem", qr/certificate not accepted/],
		'another name' => ["tls-CAfile $certificates/ca.pem\ntls-peer-name elsewhere.example", qr/hostname mismatch/],
		'another fingerprint' => ['tls-fingerprint ' . '00' x 32, qr/fingerprint/],
	);
	for my $what (sort keys %wrong) {
		subtest $what => sub {
			my ($lines, $reason) = @{$wrong{$what}};
			my $before = $stored->();
			my ($run, $log) = delivery(@to, arguments => [conf('wrong', $lines)]);
			is_deeply([$run->deliver([$user, 'nobody-here'])], ['retryat none', 'retryat none'], 'everybody is deferred');
			like($log->(), $reason, 'the log says why');
			unlike($log->(), qr/\t(?:MAIL|AUTH)/, 'nothing was sent');
			is(scalar $stored->(), $before, 'nothing was stored');
			is_deeply([$run->finish], [], 'nothing to complain about');
		};
	}
	subtest 'a connection for each message' => sub {
		my ($run, $log) = delivery(@to, arguments => ['-1']);
		is_deeply([map { $run->deliver([$user]) } 1 .. 4], [('ok3') x 4], 'mail is delivered');
		my @handshakes = $log->() =~ /# ?\tTLS: .*?(full|resumed) handshake/g;
		is(scalar @handshakes, 4, 'four handshakes');
		is($handshakes[0], 'full', 'the first one is full');
		note "handshakes: @handshakes";
		is_deeply([$run->finish], [], 'nothing to complain about');
	};
}

sub wrapped($dovecot, $user) {
	my ($run, $log) = delivery(port => $dovecot->{tls_port},
		arguments => [conf('wrapped', 'tls-wrapped', "tls-CAfile $certificates/ca.pem")]);
	is_deeply([$run->deliver([$user])], ['ok3'], 'mail is delivered');
	unlike($log->(), qr/STARTTLS/, 'without STARTTLS');
	like($log->(), qr/TLS: .*, verified$/m, 'the certificate is verified');
	is_deeply([$run->finish], [], 'nothing to complain about');
	($run) = delivery(port => $dovecot->{port}, arguments => [conf('wrapped', 'tls-wrapped', 'tls-verify none')]);
	is_deeply([$run->deliver([$user])], ['retryat none'], 'at the port without TLS mail is deferred');
	is_deeply([$run->finish], [], 'nothing to complain about');
}

# Dovecot offers STARTTLS there too.
sub on_the_socket($dovecot, $user) {
	my ($run, $log) = delivery(socket => $dovecot->{socket});
	is_deeply([$run->deliver([$user])], ['ok3'], 'mail is delivered');
	unlike($log->(), qr/TLS: /, 'in clear, as nobody demands otherwise');
	is_deeply([$run->finish], [], 'nothing to complain about');
	($run, $log) = delivery(socket => $dovecot->{socket},
		arguments => [conf('socket', "tls-CAfile $certificates/ca.pem", 'tls-peer-name store.example')]);
	is_deeply([$run->deliver([$user])], ['ok3'], 'mail is delivered');
	like($log->(), qr/TLS: .*, verified$/m, 'under TLS where it is demanded');
	is_deeply([$run->finish], [], 'nothing to complain about');
}

sub large($dovecot, $user) {
	my ($run) = delivery(port => $dovecot->{port});
	my $line = join '', map { chr(32 + $_ % 90) } 1 .. 75;
	is_deeply([$run->deliver([$user], body => "$line\n" x 60000)], ['ok3'], 'is delivered');
	my $text = $run->stored_form(1001);
	ok((grep { substr($_, -length $text) eq $text } $dovecot->messages($user)), 'unchanged');
	is_deeply([$run->finish], [], 'nothing to complain about');
}
