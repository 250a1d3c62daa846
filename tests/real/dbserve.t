#!/usr/bin/perl
# dbserve beside real neighbours: Postfix and Exim refuse an unknown user while the client waits, defer while a map cannot tell, and
# Postfix routes to two stores; the policy asks a real Dovecot.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Test::More;
use Time::HiRes ();
use Ports;
use RealDovecot;
use RealExim;
use RealPostfix;
use RealServer;

my $missing = RealDovecot::missing();
plan skip_all => $missing if $missing;
my $build = $ENV{BUILD_DIR};
my $domain = RealDovecot::DOMAIN;
my $directory = RealServer::directory();
my $dir = "$directory";
my ($pid, $policy);
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
END { local $?; kill 'TERM', $pid if $pid; waitpid $pid, 0 if $pid; }
delete $ENV{ZCONFIG};

my @stores = map { RealDovecot->start(count => 3) } 1, 2;
maps();
serve();

subtest 'the policy asks the store' => sub {
	ok wait_for(sub { connects($stores[0]) >= 2 && connects($stores[1]) >= 2 }), 'the stores have written down by whom they were asked at their start';
	my $first = connects($stores[0]);
	is policy('user1'), "action=DUNNO\n\n", 'a user of maps and store';
	like policy('nobody'), qr/^action=REJECT 5\.1\.1 no such recipient/, 'one that the maps do not know';
	like policy('ghost'), qr/^action=REJECT 5\.1\.1 (?!550)(?!5\.1\.1).*(?:ghost|User doesn't exist)/, 'one that the maps know and the store does not: its words';
	is policy('user1', 'elsewhere.test'), "action=DUNNO\n\n", 'one of another domain';
	ok wait_for(sub { connects($stores[0]) > $first });
	is connects($stores[0]) - $first, 1, 'one session has carried all these questions';
	my $before = connects($stores[1]);
	my @clients = map { ask_policy("recipient=user2\@$domain") } 1 .. 20;
	is scalar(grep { (answer($_) // '') eq "action=DUNNO\n\n" } @clients), 20, 'twenty ask for the same at once and are answered';
	ok wait_for(sub { connects($stores[1]) > $before });
	is connects($stores[1]) - $before, 1, 'by one question to the store';
	$stores[0]->stop;
	is policy('user1'), "action=DUNNO\n\n", 'the store is away: what was heard is good for its time';
	like policy('user3'), qr/^action=DEFER_IF_PERMIT 4\.3\.0 /, 'and anybody else is deferred';
	$stores[0] = RealDovecot->start(count => 3);
	maps();
	ok wait_for(sub { policy('user3') eq "action=DUNNO\n\n" }), 'until it is back';
};

SKIP: {
	my $why = RealPostfix->unavailable;
	skip $why, 1 if $why;
	subtest Postfix => \&postfix;
}
SKIP: {
	my $why = RealExim->missing;
	skip $why, 1 if $why;
	subtest Exim => \&exim;
}
done_testing;

sub postfix() {
	my $maps = "socketmap:unix:$dir/maps";
	my $postfix = RealPostfix->start("$dir/postfix", $stores[0]{socket}, header_checks => '', relay_domains => "$maps:domain",
		relay_recipient_maps => "$maps:recipient", virtual_alias_maps => "$maps:alias", virtual_alias_domains => '', transport_maps => "$maps:transport",
		smtpd_recipient_restrictions => "permit_auth_destination, reject", smtpd_relay_restrictions => 'permit_auth_destination, reject');
	like rcpt($postfix, "nobody\@$domain"), qr/^550 5\.1\.1 /, 'socketmap: an unknown user is refused at SMTP time';
	like rcpt($postfix, "user1\@$domain"), qr/^250 /, 'a known one is not';
	like rcpt($postfix, "x\@elsewhere.test"), qr/^554 /, 'nor taken for another domain';
	is message($postfix, "team\@$domain"), 250, 'a message for a list with members at two stores is taken';
	ok wait_for(sub { my @all = ($stores[0]->messages("user1\@$domain"), $stores[1]->messages("user2\@$domain")); @all == 2 }), 'and arrives at both, as the maps route it';
	damage();
	ok wait_for(sub { rcpt($postfix, "user3\@$domain") =~ /^4\d\d / }), 'while a map cannot tell it is deferred';
	unlike rcpt($postfix, "nobody\@$domain"), qr/^5/, 'and nobody is refused';
	maps();
	# its trivial-rewrite believes for 30 s that the table of transports cannot tell
	$postfix->restart;
	ok wait_for(sub { rcpt($postfix, "user3\@$domain") =~ /^250 / }), 'until it can tell again';
	like rcpt($postfix, "added\@$domain"), qr/^550 /, 'a user of a map to come is refused';
	RealServer::write_file("$dir/more.txt", "added\@$domain smtp-lmtp!UNIX:$stores[0]{socket}!user1\@$domain\n");
	system("$build/db/newdb -l $dir/more.txt >/dev/null && chmod 644 $dir/more.txt.db") == 0 or die "newdb\n";
	open my $more, '>>', "$dir/dbases.conf" or die;
	print $more "fqdnroutes btree - -l more.txt -lm%\n";
	close $more;
	ok wait_for(sub { rcpt($postfix, "added\@$domain") =~ /^250 / }), 'and taken when dbases.conf has it, without a restart';
	like rcpt($postfix, "user1\@$domain"), qr/^250 /, 'as the others are';
	maps();
	$postfix->stop;

	$postfix = RealPostfix->start("$dir/postfix2", $stores[0]{socket}, relay_domains => $domain,
		smtpd_recipient_restrictions => "check_policy_service inet:127.0.0.1:$policy, permit_auth_destination, reject",
		smtpd_relay_restrictions => 'permit_auth_destination, reject');
	like rcpt($postfix, "ghost\@$domain"), qr/^5(?:50|54) 5\.1\.1 /, 'policy: a user that the store does not know is refused at SMTP time';
	like rcpt($postfix, "user1\@$domain"), qr/^250 /, 'a known one is not';
	damage();
	ok wait_for(sub { rcpt($postfix, "user3\@$domain") =~ /^450 4\.3\.0 / }), 'while a map cannot tell it is deferred';
	maps();
	# a map that could not be opened is not tried again within a second
	ok wait_for(sub { policy('user3') eq "action=DUNNO\n\n" }), 'until it can tell again';
	$postfix->stop;
}

# What the guide has for Exim, with the port that is taken here.
sub acl_of_guide() {
	my $guide = do { local (@ARGV, $/) = "$ENV{SRC_DIR}/doc/guide/maps-in-postfix.md"; <> };
	my ($acl) = $guide =~ /^```text\n(warn .*?)^```/ms or die "the guide has no lines for Exim\n";
	$acl =~ s/127\.0\.0\.1:2503/'127.0.0.1:' . tcp()/e or die "the guide asks at another port\n";
	return $acl;
}

# The session that Exim would have with a client at 192.0.2.1: nothing is queued.
sub exim() {
	RealServer::write_file("$dir/exim.conf", <<"END", 0644);
primary_hostname = exim.test
acl_smtp_rcpt = check
log_file_path = $dir/exim-%slog
spool_directory = $dir
begin acl
check:
@{[acl_of_guide()]}
accept
END
	my $said = exim_says("nobody\@$domain", "user1\@$domain");
	like $said, qr/^550 no such recipient/m, 'an unknown user is refused';
	like $said, qr/^250 Accepted/m, 'a known one is not';
	$said = exim_says("%75ser1\@$domain", "50%off\@$domain");
	is scalar(() = $said =~ /^550 no such recipient/mg), 2, 'a percent sign stands for itself, and makes no user of another name';
	damage();
	ok wait_for(sub { exim_says("user1\@$domain") =~ /^451 /m }), 'while a map cannot tell it is deferred';
	maps();
}

sub exim_says(@recipients) {
	my $session = join '', map { "$_\n" } 'EHLO client.test', 'MAIL FROM:<a@client.test>', (map { "RCPT TO:<$_>" } @recipients), 'QUIT';
	RealServer::write_file("$dir/session", $session);
	my $pid = open my $out, '-|' // die;
	if ($pid == 0) {
		open STDIN, '<', "$dir/session";
		open STDERR, '>&', \*STDOUT;
		exec RealExim->command($dir), '-C', "$dir/exim.conf", '-bh', '192.0.2.1' or POSIX::_exit(127);
	}
	local $/;
	return scalar <$out>;
}

sub tcp() { $policy + 1 }

# user1 and user3 are at the first store, user2 at the second; ghost is at the first by the maps alone.
sub maps() {
	RealServer::write_file("$dir/routes.txt", join '', map { "$_->[0]\@$domain smtp-lmtp!UNIX:$_->[1]!$_->[0]\@$domain\n" } ['user1', $stores[0]{socket}],
		['user3', $stores[0]{socket}], ['ghost', $stores[0]{socket}], ['user2', $stores[1]{socket}]);
	RealServer::write_file("$dir/domains", "$domain error!nosuchuser\n");
	RealServer::write_file("$dir/aliases", "team\@$domain: user1\@$domain, user2\@$domain\n");
	RealServer::write_file("$dir/table", join '', map { "smtp-lmtp/UNIX:$_->{socket} lmtp:unix:$_->{socket}\n" } @stores);
	RealServer::write_file("$dir/dbases.conf", "fqdnaliases btree - -la aliases -lm%\nfqdnroutes btree - -l routes.txt -lm%\nroutesdb btree - -l domains -lm%:d pathalias\n");
	system("$build/db/newdb -f $dir/dbases.conf >/dev/null") == 0 or die "newdb\n";
	chmod 0644, glob "$dir/*.db";
}

# The map can tell nothing until maps().
sub damage() { RealServer::write_file("$dir/routes.txt.db.new", 'rubbish'); rename "$dir/routes.txt.db.new", "$dir/routes.txt.db" or die }

sub serve() {
	my @ports = Ports::free(2);
	$policy = $ports[0];
	$pid = fork // die;
	if ($pid == 0) {
		open STDERR, '>', "$dir/err";
		exec "$build/db/dbserve", '-f', "$dir/dbases.conf", '-T', "$dir/table", '-L', "socketmap:UNIX:$dir/maps,mode=0666",
			'-L', "policy:[127.0.0.1]:$policy", '-L', "tcp:[127.0.0.1]:@{[tcp()]}", '-B', "-O probe-cache=$dir/probes"
			or POSIX::_exit(127);
	}
	RealServer::wait_for('dbserve', 20, sub { -S "$dir/maps" && IO::Socket::INET->new("127.0.0.1:$policy") });
}

sub ask_policy(@lines) {
	my $socket = IO::Socket::INET->new("127.0.0.1:$policy") // die "policy: $!\n";
	syswrite $socket, join '', map { "$_\n" } 'request=smtpd_access_policy', 'protocol_state=RCPT', @lines, '';
	return $socket;
}

sub answer($socket) { local $/ = "\n\n"; return scalar <$socket> }
sub policy($user, $at = $domain) { answer(ask_policy("recipient=$user\@$at")) // 'closed' }

# How many sessions Dovecot has written down, which it does some time after it has answered; each starts with two, on both addresses.
sub connects($store) {
	my ($log) = glob "$store->{dir}/log*";
	open my $fh, '<', $log // "$store->{dir}/log" or return 0;
	return scalar grep { /lmtp.*Connect from/ } <$fh>;
}

sub session($postfix) {
	my $socket = IO::Socket::UNIX->new(Peer => "$postfix->{dir}/queue/public/intake") // die "Postfix: $!\n";
	reply($socket);
	return $socket;
}

sub reply($socket) {
	while (defined(my $line = <$socket>)) {
		return $line if $line =~ /^\d{3} /;
	}
	return 'closed';
}

sub command($socket, $line) { syswrite $socket, "$line\r\n"; return reply($socket) }

# What Postfix says to a recipient.
sub rcpt($postfix, $recipient) {
	my $socket = session($postfix);
	command($socket, $_) for 'EHLO client.test', 'MAIL FROM:<a@client.test>';
	return command($socket, "RCPT TO:<$recipient>");
}

# The code of the reply to a message.
sub message($postfix, $recipient) {
	my $socket = session($postfix);
	command($socket, $_) for 'EHLO client.test', 'MAIL FROM:<a@client.test>', "RCPT TO:<$recipient>", 'DATA';
	return substr command($socket, "Subject: to two stores\r\n\r\nbody\r\n."), 0, 3;
}

sub wait_for($condition) {
	for (1 .. 200) {
		return 1 if $condition->();
		Time::HiRes::sleep(0.1);
	}
	return 0;
}
