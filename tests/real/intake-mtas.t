#!/usr/bin/perl
# Exim and OpenSMTPD in front of intake: mail for who exists is queued; Exim sends a report of who does not, OpenSMTPD tries again.
#
# Debian's packages cannot be installed beside its Postfix, but unpacked they run: ZLMTP_MTAS names a directory with the .deb files
# of exim4-daemon-light, opensmtpd and what they need; with ZLMTP_SOAK=1 they are fetched.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Test::More;
use Time::HiRes qw(sleep time);
use Intake;

my @packages = qw(exim4-daemon-light exim4-base libidn12 libgnutls-dane0 libunbound8 opensmtpd libevent-2.1-7);
my $place = File::Temp->newdir('/tmp/zlx-XXXXXX');

sub packages() {
	return $ENV{ZLMTP_MTAS} if $ENV{ZLMTP_MTAS};
	return undef if !$ENV{ZLMTP_SOAK};
	mkdir "$place/packages";
	# some have other names in other releases; what is missing is seen when they run
	system "cd '$place/packages' && for p in @packages libevent-2.1-7t64 libunbound8; do apt-get -q download \$p >/dev/null 2>&1; done";
	return glob("$place/packages/*.deb") ? "$place/packages" : undef;
}

plan skip_all => 'needs root' if $> != 0;
my $packages = packages();
plan skip_all => 'they cannot stand beside Postfix: ZLMTP_MTAS may name a directory with their packages' if !defined $packages;
plan skip_all => 'no name spaces here' if system('unshare --mount --net true 2>/dev/null') != 0;

my $intake = Intake->start(run => 0, routes => join '', map { "$_\@example.org: lmtp!store!$_\n" } qw(ann bob sender));
my $dir = $intake->dir;
$intake->{o}{listen} = ["lmtp:UNIX:$dir/lmtp,mode=0666"];
$intake->again;
my $text = "From: sender\@example.org\nTo: ann\@example.org\nSubject: a subject\n\n.dot\nx\n";
Spool->put("$dir/text", $text);

# Runs a script where the packages are unpacked.
sub with_packages($script) {
	mkdir "$place/copy";
	Spool->put("$dir/script", "exec >'$dir/said' 2>&1\n$script");
	return system 'unshare', '--mount', '--net', '--uts', '--pid', '--fork', '--kill-child', "$FindBin::Bin/../lib/unpacked-mta", "$place/copy", $packages, 'sh', "$dir/script";
}

# All that is queued, as "users: body".
sub queued() {
	my %found;
	for my $job ($intake->queued) {
		my ($control, $header, $body) = $intake->message($job);
		$found{join ',', map { $_->{user} } @{$control->{recipients}}} = "$header\n$body";
	}
	$intake->forget_all;
	return \%found;
}

sub is_taken($what) {
	my $found = queued();
	is_deeply [sort keys %$found], ['ann,bob', 'sender'], "$what: queued for those who exist, and a report" or diag Spool::slurp("$dir/said");
	like $found->{'ann,bob'} // '', qr/^Subject: a subject\n.*^\.dot\nx\n/ms, "$what: the text";
	like $found->{sender} // '', qr/eve\@example\.org.*550.*5\.1\.[12]/s, "$what: the report has our words";
}

for my $transport ("driver = lmtp\n  socket = $dir/lmtp\n  batch_max = 100", "driver = lmtp\n  socket = $dir/lmtp\n  batch_max = 1") {
	my ($batch) = $transport =~ /batch_max = (\d+)/;
	Spool->put("$dir/exim.conf", <<"END");
primary_hostname = front.example.org
spool_directory = /var/spool/exim-test
log_file_path = /var/spool/exim-test/%slog
keep_environment =
never_users =
qualify_domain = example.org
begin routers
all:
  driver = accept
  transport = intake
begin transports
intake:
  $transport
  user = mail
begin retry
* * F,1h,1m
END
	my $status = with_packages(<<"END");
mkdir -p /etc/exim4 /var/spool/exim-test && chown Debian-exim /var/spool/exim-test && cp '$dir/exim.conf' /etc/exim4/exim4.conf
exim4 -odf -oi -f sender\@example.org ann\@example.org bob\@example.org eve\@example.org <'$dir/text'
exim4 -odf -q
cat /var/spool/exim-test/*log
END
	if ($batch > 1) {
		is_taken("Exim, $batch recipients together");
	} else {
		my $found = queued();
		is_deeply [sort keys %$found], [qw(ann bob sender)], 'Exim, one recipient after the other' or diag Spool::slurp("$dir/said");
	}
}

Spool->put("$dir/smtpd.conf", <<"END");
listen on socket
queue ttl 1h
action "intake" lmtp "$dir/lmtp" rcpt-to virtual { "\@" = "mail" }
match from any for any action "intake"
END
with_packages(<<"END");
mkdir -p /var/spool/smtpd /run/lock /var/run && chmod 711 /var/spool/smtpd
chgrp opensmtpq /usr/sbin/smtpctl && chmod 2755 /usr/sbin/smtpctl
hostname front.example.org 2>/dev/null
smtpd -dv -f '$dir/smtpd.conf' &
timeout 20 sh -c 'until test -S /var/run/smtpd.sock; do sleep 0.1; done'
sendmail -f sender\@example.org ann\@example.org bob\@example.org eve\@example.org <'$dir/text'
timeout 20 sh -c 'until test "\$(smtpctl show queue | grep -vc "LMTP server error")" = 0; do sleep 0.2; done'
smtpctl show queue >'$dir/waiting'
END
# it hands over a message for each recipient, and takes every refusal for a temporary one
my $end = time + 20;
sleep 0.1 while time < $end && $intake->queued < 2;
my $found = queued();
is_deeply [sort keys %$found], [qw(ann bob)], 'OpenSMTPD: queued for those who exist' or diag Spool::slurp("$dir/said");
like $found->{ann} // '', qr/^Subject: a subject\n.*^\.dot\nx\n/ms, 'OpenSMTPD: the text';
like Spool::slurp("$dir/waiting") // '', qr/eve\@example\.org.*LMTP server error: 550 5\.1\.[12] /, 'OpenSMTPD: who does not exist waits there, with our words';

done_testing;
