#!/usr/bin/perl
# More than one machine: three mail machines, each with its own queue and its own copy of the directory, two stores, a
# provider and two replicas of the directory.  Replicas, stores and mail machines go away and come back while mail comes in by
# all three, and users move from one store to the other: every message is in the right store once, also those that come when the
# whole directory is away.
#
# make cluster is the long form, with 5,000 messages and 100 users who move.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use Extent 'long';
use Intake;
use MailMachine;
use Ports;
use RealDovecot;
use RealPostfix;
use RealServer;
use RealSlapd;
use Spool;

$ENV{BUILD_DIR} //= "$FindBin::Bin/../..";
my ($missing) = grep { defined } RealSlapd::missing(), RealDovecot::missing(), RealPostfix->unavailable;
plan skip_all => $missing if $missing;

my $messages = long() ? 5000 : 240;
my $users = long() ? 400 : 60;
my $movers = long() ? 100 : 20;
my $began = time;
my @table;

sub happened($what) {
	push @table, sprintf '%6.2f s  %s', time - $began, $what;
	note $table[-1];
}

# ---- the site ----

my $domain = $RealSlapd::domain;
my %home = map { ("u$_" => $_ % 2 ? 'store1' : 'store2') } 1 .. $users;
my @in_order = sort { substr($a, 1) <=> substr($b, 1) } keys %home;

sub entry($user) {
	return "dn: uid=$user,$RealSlapd::tree\nobjectClass: account\nobjectClass: CourierMailAccount\nuid: $user\n"
		. "mail: $user\@$domain\nhost: $home{$user}\nhomeDirectory: /home/vmail\n\n";
}

my $tree = RealSlapd::suffix_entries() . join '', map { entry($_) } @in_order;
my @ports = Ports::free(6);
my $provider = RealSlapd->new(no_tls => 1, port => $ports[0], tls_port => $ports[1], tree => $tree);
my @replicas = map { RealSlapd->new(no_tls => 1, port => $ports[2 * $_], tls_port => $ports[2 * $_ + 1], tree => RealSlapd::suffix_entries(),
	config => "syncrepl rid=00$_ provider=ldap://127.0.0.1:$ports[0] searchbase=\"$RealSlapd::suffix\" type=refreshAndPersist retry=\"1 +\""
		. " timeout=1 network-timeout=1 bindmethod=simple binddn=\"$RealSlapd::root\" credentials=$RealSlapd::root_password\n"
		. "updateref ldap://127.0.0.1:$ports[0]\n") } 1, 2;
# they get everything from the provider
unlink map { glob $_->dir . '/db/*' } @replicas;
$provider->start;
$_->start for @replicas;

sub users_of($slapd) {
	my $entries = eval { $slapd->entries('(objectClass=account)') } // {};
	return scalar keys %$entries;
}
RealServer::wait_for('the replicas', 30, sub { !grep { users_of($_) != $users } @replicas });

my %store = map { my $s = $_; ($s => RealDovecot->start(count => 0, users => [grep { $home{$_} eq $s } @in_order])) } qw(store1 store2);
my %socket = map { ($_ => $store{$_}{socket}) } keys %store;

sub sync_of(@servers) { join(' ', 'uri', map { $_->uri('ldapi') } @servers) . "\nauthmethod sasl\nsasl_mech EXTERNAL\nbase $RealSlapd::hosting\n" }

my @machines = map { MailMachine->new(name => "m$_", sync => sync_of($_ == 2 ? reverse @replicas : @replicas), stores => \%socket) } 1 .. 3;
$_->start for @machines;
$_->ready for @machines;
my $place = File::Temp->newdir('/tmp/zlp-XXXXXX');
chmod 0755, "$place";
my $postfix = RealPostfix->start("$place/p", $machines[0]->lmtp, header_checks => '', minimal_backoff_time => '1s',
	maximal_backoff_time => '2s', queue_run_delay => '1s');
happened("a provider, 2 replicas, 2 stores, 3 mail machines, Postfix in front of m1; $users users");

# ---- mail ----

# How each machine gets its mail: what is dialled, and whether that is LMTP.
my @doors = (["$place/p/queue/public/intake", 0], [$machines[1]->smtp, 0], [$machines[2]->lmtp, 1]);
my $next = 0;
my @accepted = map { "$place/accepted$_" } 0 .. 2;

# A client that repeats each of its messages until it is taken; what was taken is written down, how often it was tried, and when the
# last try began.
sub client($n, @ids) {
	my ($where, $lmtp) = $doors[$n]->@*;
	open my $log, '>>', $accepted[$n] or POSIX::_exit(1);
	$log->autoflush(1);
	my $line;
	for my $id (@ids) {
		# each for another user, in no order
		my $user = $in_order[$id * 7919 % @in_order];
		for my $try (1 .. 600) {
			my $began = time;
			my @replies = eval {
				$line //= IntakeDialogue->new($where, lmtp => $lmtp);
				$line->message("u1\@$domain", ["$user\@$domain"], "Subject: number $id\nX-Id: $id\n\nmessage $id for $user\n");
			};
			if (@replies && $replies[-1][0] =~ /^250 /) {
				print $log "$id $user $try $began\n";
				last;
			}
			undef $line;
			sleep 0.1;
		}
		# as long as what happens meanwhile
		sleep 0.001;
	}
	POSIX::_exit(0);
}

# The next messages come in by all three machines while something happens.
sub traffic($count, $what) {
	my @ids = $next .. $next + $count - 1;
	$next += $count;
	my @pids;
	for my $n (0 .. 2) {
		my $pid = fork // die "fork: $!\n";
		client($n, grep { $_ % 3 == $n } @ids) if $pid == 0;
		push @pids, $pid;
	}
	my $ok = eval { $what->(); 1 };
	diag $@ if !$ok;
	waitpid $_, 0 for @pids;
	ok $ok, 'and goes on meanwhile';
}

sub accepted() {
	my %accepted;
	for my $n (0 .. 2) {
		for (split /\n/, Spool::slurp($accepted[$n]) // '') {
			my ($id, $user, $tries, $began) = split ' ';
			$accepted{$id} = { user => $user, tries => $tries, began => $began, machine => $n };
		}
	}
	return \%accepted;
}

# ---- the directory ----

my @lag;

# Changes the directory, and waits until the file of each map has it, which a reader opens then; how long that took, by machine.
sub change($ldif, $holds) {
	$provider->change($ldif);
	my $changed = time;
	my @open = grep { $_->{pids}{ldapsync} } @machines;
	my %lag;
	while (@open && time - $changed < 60) {
		@open = grep { !($holds->($_->bytes) && ($lag{$_->name} = time - $changed)) } @open;
		sleep 0.005;
	}
	push @lag, \%lag;
	return !@open;
}

sub describe($lag) { join ', ', map { sprintf '%s %.2f s', $_, $lag->{$_} } sort keys %$lag }

sub knows($store, $user) {
	my $session = IntakeDialogue->new($socket{$store}, lmtp => 1);
	$session->say($_) for 'LHLO test', 'MAIL FROM:<>';
	return $session->say("RCPT TO:<$user>") =~ /^250 /;
}

# From then on nothing that comes for a user who moved may go to the old store.
my %away_since;

# Users go to the other store: their mailboxes are there first, then the directory says so, and in the end the old ones go.
sub move(@who) {
	my @old = @home{@who};
	$home{$_} = $home{$_} eq 'store1' ? 'store2' : 'store1' for @who;
	my %there = map { my $s = $_; ($s => [grep { $home{$_} eq $s } @in_order]) } keys %store;
	my %both = map { my $s = $_; ($s => [grep { $home{$_} eq $s } @in_order]) } keys %store;
	my %old;
	@old{@who} = @old;
	push @{$both{$old{$_}}}, $_ for @who;
	$store{$_}->users(@{$both{$_}}) for keys %store;
	# Dovecot looks at its list once a second at most
	RealServer::wait_for('mailboxes at the new store', 20, sub { !grep { !knows($home{$_}, $_) } @who });
	my $ldif = join '', map { "dn: uid=$_,$RealSlapd::tree\nchangetype: modify\nreplace: host\nhost: $home{$_}\n\n" } @who;
	ok change($ldif, sub ($map) { !grep { index($map, "!$home{$_}!$_%") < 0 } @who }), 'all maps have the new places';
	$away_since{$_} //= time for @who;
	$store{$_}->users(@{$there{$_}}) for keys %store;
	happened(@who . " users moved from store1 to store2; lag of the maps: " . describe($lag[-1]));
}

# ---- what happens ----

my $part = int $messages / 6;
my @first = grep { $home{$_} eq 'store1' } @in_order[2 .. $movers + 1];
my @second = grep { $home{$_} eq 'store1' } @in_order[$movers + 2 .. 2 * $movers + 1];

subtest 'a replica is killed' => sub {
	traffic($part, sub {
		$replicas[0]->stop('KILL');
		happened('replica 1 killed, which m1 and m3 followed');
		ok change("dn: uid=u2,$RealSlapd::tree\nchangetype: modify\nadd: mail\nmail: second\@$domain\n\n",
			sub ($map) { $map =~ /second\@\Q$domain\E/ }), 'a change reaches all maps by the other one';
		happened('a change reaches the maps by replica 2; lag: ' . describe($lag[-1]));
	});
};

subtest 'a store is away, and users move' => sub {
	$machines[2]->stop('runqueue');
	happened('runqueue of m3 stopped for maintenance');
	$store{store1}->stop;
	happened('store1 stopped');
	# what comes now waits for it, and has to be routed again
	$away_since{$_} = time for @first;
	traffic($part, sub {
		RealServer::wait_for('mail that waits in all machines', 60, sub { !grep { $_->waiting < $part / 12 } @machines });
		move(@first);
	});
	$store{store1}->again;
	happened('store1 is back, without the users who moved');
	traffic($part, sub {
		$machines[2]->start('runqueue');
		happened('runqueue of m3 started: what waits there is for store1, which answers 5.1.1');
	});
};

subtest 'a mail machine is killed' => sub {
	traffic($part, sub {
		# in the middle of its work
		RealServer::wait_for('mail in m2', 30, sub { $machines[1]->waiting > 0 });
		$machines[1]->crash;
		happened('m2 killed, all of it, with ' . $machines[1]->waiting . ' messages in its queue');
		my $before = $next;
		ok change("dn: uid=u4,$RealSlapd::tree\nchangetype: modify\nadd: mail\nmail: third\@$domain\n\n", sub ($map) { $map =~ /third\@\Q$domain\E/ }),
			'the others go on';
		happened('a change meanwhile; lag: ' . describe($lag[-1]));
		$machines[1]->start;
		$machines[1]->ready;
		happened('m2 is back');
		RealServer::wait_for('its map', 30, sub { $machines[1]->records->{"third\@$domain"} });
		happened('m2 has what it missed');
	});
};

subtest 'the replica comes back, the other one goes, and more users move' => sub {
	traffic($part, sub {
		$replicas[0]->start;
		RealServer::wait_for('replica 1', 30, sub { grep { grep { $_ eq "third\@$domain" } $_->{mail}->@* } values $replicas[0]->entries->%* });
		happened('replica 1 is back and has everything');
		$replicas[1]->stop('KILL');
		happened('replica 2 killed, which all followed');
		move(@second);
	});
};

subtest 'the whole directory is away, and stays away' => sub {
	my @before = map { $_->records } @machines;
	$_->stop('KILL') for $provider, $replicas[0];
	happened('provider and replica 1 killed: no directory is left');
	traffic($messages - 5 * $part, sub {});
	is_deeply [map { $_->records } @machines], \@before, 'the maps are as they were';
};

# ---- and where it all is ----

my $accepted = accepted();
is scalar(keys %$accepted), $messages, 'every message was taken';

my (%found, @strange);
sub look() {
	%found = @strange = ();
	for my $s (sort keys %store) {
		for my $user (@in_order) {
			for my $text ($store{$s}->messages($user)) {
				my ($id) = $text =~ /^X-Id: (\d+)$/m;
				if (defined $id && $text =~ /\n\r?\nmessage $id for $user\s*\z/ && $text !~ /^Auto-Submitted:/mi) {
					push @{$found{$id}}, "$s/$user";
				} else {
					push @strange, "$s/$user: $text";
				}
			}
		}
	}
}
my $gone = eval {
	RealServer::wait_for('empty queues', long() ? 120 : 45, sub {
		!grep({ $_->waiting } @machines) && !$postfix->count(qw(deferred incoming active));
	});
	1;
};
ok $gone, 'all queues are empty' or diag join "\n", $@, map { substr $_->said('runqueue'), -2000 } @machines;
look();
happened("everything is delivered: $messages messages");

is join(' ', grep { !$found{$_} } sort { $a <=> $b } keys %$accepted), '', 'nothing is lost';
is scalar(@strange), 0, 'nobody got a report' or diag $strange[0];
# What its machine has said of the recipient of a message that came twice.
sub what_was_said($complaint) {
	my $a = $accepted->{$complaint =~ s/:.*//r};
	return "machine $a->{machine}:\n", map { my $p = $_; map { "$p: $_\n" } grep { /\b$a->{user}\b/ } split /\n/, $machines[$a->{machine}]->said($p) } qw(intake runqueue lmtp);
}

my (@wrong, @twice, @unexplained, @of_killed);
for my $id (sort { $a <=> $b } keys %found) {
	my $a = $accepted->{$id} // next;
	my $user = $a->{user};
	# who moved may have got it at the old place before that
	my @right = map { "$_/$user" } $a->{began} < ($away_since{$user} // 0) ? qw(store1 store2) : $home{$user};
	for my $where ($found{$id}->@*) {
		push @wrong, "$id in $where" if !grep { $_ eq $where } @right;
	}
	push @twice, $id if $found{$id}->@* > 1;
	# INTERNALS section 9: a client repeats what it got no answer to; lmtp was killed, or the store stopped, between dot and reply
	next if $found{$id}->@* == 1 || $a->{tries} > 1 || $machines[$a->{machine}]->said('lmtp') =~ /recipient=$user .*maybe_duplicate=yes/;
	push @{$a->{machine} == 1 ? \@of_killed : \@unexplained}, "$id: @{$found{$id}}";
}
is join("\n", @wrong), '', 'every message is in the right store';
is join("\n", @unexplained), '', 'and once, but for what was on the wire when a machine or a store was stopped' or diag map { what_was_said($_) } @unexplained;
# each of its agents, four for a store, had one message in its hands
cmp_ok scalar(@of_killed), '<=', 8, 'the killed machine sent nothing twice but what its agents had in their hands' or diag join "\n", @of_killed;
happened(@twice . ' second copies: on the wire when a machine or a store was stopped');

my $rerouted = 0;
$rerouted += () = $_->said('runqueue') =~ /recipients? rerouted/g for @machines;
cmp_ok $rerouted, '>', 0, 'mail that waited for the old store was routed again';
ok scalar(grep { $_->said('runqueue') =~ /failed: .*5\.1\.1.*\n(?:.*\n)*?.*rerouted/ } @machines), 'also what the old store refused';
happened("$rerouted messages were routed again by themselves");
my ($longest) = sort { $b <=> $a } map { values %$_ } @lag;
cmp_ok $longest, '<', long() ? 1 : 10, sprintf 'the longest lag of a map: %.2f s', $longest;
note "\n", map { "$_\n" } 'what happened', @table;
$postfix->stop;
$_->stop for @machines;
done_testing;
