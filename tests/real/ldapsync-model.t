#!/usr/bin/perl
# What a map may hold given what servers said (doc/INTERNALS), tried at random: two providers, a replica and a reader with limited rights;
# each provider with a serverID; changes at any of them, kills, restores, other rights, switches, servers that lag, and what others do to
# a map.  A map never goes back to what a server has that lags.  After each settling the map is what an independent ldapsearch by the same
# reader finds.  Half a minute, a whole one with ZLMTP_LONG=1, or an hour with ZLMTP_SOAK=1 (another number: so many seconds);
# ZLMTP_SEED repeats a run.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Extent 'long';
use Fcntl qw(F_RDLCK F_SETLKW);
use Time::HiRes ();
use LdapSync;
use Mirror;
use RealSlapd;

LdapSync::skip_without();

my $seed = $ENV{ZLMTP_SEED} // int rand 1e6;
srand $seed;
my $slow = $LdapSync::slow;
my $soak = $ENV{ZLMTP_SOAK} // 0;
# after many connections that did not last, the next one is a minute away
my $soon = 90 * $slow;
my $until = time + ($soak > 1 ? $soak : $soak ? 3600 : long() ? 60 : 30);
my $domain = $RealSlapd::domain;
my $tree = $RealSlapd::tree;
my $hosting = $RealSlapd::hosting;
my $reader = $RealSlapd::reader;

my $mirror = Mirror->new(users => 30, replicas => 1,
	ldif => join '', map { "dn: $_\nobjectClass: organization\no: " . ($_ =~ /^o=(\w+)/)[0] . "\n\n" } "o=inside,$hosting", "o=outside,$RealSlapd::suffix");
my @servers = $mirror->servers;
my ($first, $second) = $mirror->providers;
my $bind = "binddn $reader\npasswd $RealSlapd::reader_password\n";
my $all = join ' ', map { $_->uri('ldapi') } @servers;
my $type = LdapSync::has_lmdb() && rand() < 0.5 ? 'lmdb' : 'btree';
my %options = (type => $type, settings => "silence 1\ntimeout 3\ncompare 2s\n", options => ['--allow-shrink']);
my $stays = LdapSync->new($first, access => "uri $all\n$bind", %options)->start;
diag "ZLMTP_SEED=$seed, $type";
my $once = LdapSync->new($first, access => "uri $all\n$bind", %options);
my ($file, $backup) = ("$stays->{map}." . ($type eq 'lmdb' ? 'lmdb' : 'db'), "$stays->{dir}/backup");
my @history;
my ($number, $dump, $rights) = (0, undef, '');
my %has = map { ("user$_" => 1) } 1 .. 30;

sub pick(@list) { $list[rand @list] }
sub note_down($text) { push @history, $text; shift @history if @history > 400 }
sub running() { grep { $_->{pid} } @servers }

# A provider that runs.
sub writable() { pick(grep { $_->{pid} } $first, $second) }

# What is done may be refused, as a change of the other provider may not have come yet.
sub try($text, $slapd, $ldif) {
	note_down("$text at $slapd->{port}");
	return defined eval { $slapd->change($ldif); 1 };
}

sub some_entry() { pick(sort keys %has) }
sub name_of($name) { "mail=$name\@$domain," . ($has{$name} eq '1' ? $tree : $has{$name}) }

my %operations = (
	add => sub ($slapd) {
		my $name = 'new' . ++$number;
		$has{$name} = 1 if try("add $name", $slapd, RealSlapd::account($name, rand() < 0.3 ? (mail => ["second$number\@$domain"]) : ()));
	},
	remove => sub ($slapd) {
		my $name = some_entry;
		return if keys %has < 15;
		delete $has{$name} if try("remove $name", $slapd, "dn: @{[name_of($name)]}\nchangetype: delete\n\n");
	},
	modify => sub ($slapd) {
		my $name = some_entry;
		try("modify $name", $slapd, "dn: @{[name_of($name)]}\nchangetype: modify\nreplace: mailbox\nmailbox: m/" . ++$number . "\n\n");
	},
	rename => sub ($slapd) {
		my $name = some_entry;
		my $new = 'renamed' . ++$number;
		if (try("rename $name to $new", $slapd, "dn: @{[name_of($name)]}\nchangetype: modrdn\nnewrdn: mail=$new\@$domain\ndeleteoldrdn: 1\n\n")) {
			$has{$new} = delete $has{$name};
		}
	},
	move => sub ($slapd) {
		my ($from, $to) = rand() < 0.5 ? ("o=inside,$hosting", $RealSlapd::suffix) : ("o=inside,$RealSlapd::suffix", $hosting);
		try("move a subtree below $to", $slapd, "dn: $from\nchangetype: modrdn\nnewrdn: o=inside\ndeleteoldrdn: 0\nnewsuperior: $to\n\n");
	},
	'add below' => sub ($slapd) {
		my $name = 'below' . ++$number;
		my $entry = RealSlapd::account($name) =~ s/^dn: .*/dn: mail=$name\@$domain,o=inside,$hosting/r;
		try("add $name", $slapd, $entry);
	},
);

# What happens to servers and to ldapsync.
my %events = (
	'kill a server' => sub () { my $s = pick(running); $s->stop(pick('KILL', 'TERM')) if running() > 1 && grep { $_->{pid} && $_ != $s } $first, $second },
	'kill a server for a moment' => sub () { my $s = pick(running); $s->restart(pick('KILL', 'TERM')) },
	'stop a server' => sub () { my $s = pick(running); $s->signal('STOP'); Time::HiRes::sleep(rand 2); $s->signal('CONT') },
	'kill ldapsync' => sub () { $stays->stop(pick('KILL', 'TERM')); $stays->start },
	'other rights' => sub () {
		my $digits = join '', map { int rand 10 } 1 .. 2;
		$rights = rand() < 0.3 ? '' : rand() < 0.5 ? "access to dn.regex=\"^mail=[a-z]+[0-9]*[$digits]@.*\" by dn.exact=\"$reader\" none by * read\n"
			: rand() < 0.5 ? "access to dn.regex=\"^mail=[a-z]+[0-9]*[$digits]@.*\" attrs=mailbox,objectClass by dn.exact=\"$reader\" none by * read\n"
			: "access to attrs=mail val.regex=\"^second.*[$digits]@.*\" by dn.exact=\"$reader\" none by * read\n";
		for my $s (@servers) {
			$s->{config} = $s->{own_config} . $rights;
			$s->_configure;
			$s->restart if $s->{pid};
		}
	},
	'a server that lags' => sub () { follow_none_that_lags() },
	'another program changes the map' => sub () { my $name = some_entry; qx{$ENV{BUILD_DIR}/db/dbupdate -t $type $stays->{map} @{[pick("set $name\@$domain x", "set invented\@$domain x", "delete $name\@$domain")]} 2>&1} },
	'the map is copied' => sub () { copy_map() },
	'an older copy of the map is put back' => sub () { rename $backup, $file if -e $backup },
	# what happens to an LMDB map that is open is not ours to mend
	'an older copy is written into the map' => sub () { qx{cp $backup $file} if -e $backup && $type eq 'btree' },
	'the map is deleted' => sub () { unlink $file },
	dump => sub () { $dump = qx{/usr/sbin/slapcat -f @{[$first->dir]}/slapd.conf 2>/dev/null} if $mirror->settle(10) eq '' },
	restore => sub () { restore($dump) if defined $dump },
);

# Of one moment: a transaction of LMDB waits for this lock.
sub copy_map() {
	open my $fh, '+<', $file or return;
	my $lock = pack 's s x4 q q l x4', F_RDLCK, 0, 0, 0, 0;
	fcntl $fh, F_SETLKW, $lock or die "F_SETLKW: $!";
	qx{cp $file $backup};
}

# One server does not come to know what the others have, and so the map; then it is there alone.
sub follow_none_that_lags() {
	my $lags = pick(@servers);
	$_->{pid} or $_->start for @servers;
	return if $mirror->settle(10) ne '';
	$lags->stop;
	my $knows = $lags == $first ? $second : $first;
	$operations{add}->($knows) for 0 .. rand 3;
	my $expected = expected($knows);
	my ($exit, $said) = $once->once('--allow-shrink');
	return note_down("a refresh from $knows->{port}: $exit, $said") if $exit !~ /^(0|65)$/;
	return if $stays->difference_after($soon, $expected) ne '';
	$_->stop for running();
	$lags->start;
	# what it has of its own makes it no better
	$operations{add}->($lags) if $lags == $second && rand() < 0.5;
	($exit, $said) = $once->once('--allow-shrink');
	is $exit, 75, "$lags->{port} lags, and is refused" or diag $said, "\n", join "\n", @history;
	is $_->difference($expected), '', 'no map goes back' or diag join "\n", @history for $once, $stays;
	$_->{pid} or $_->start for @servers;
}

# Of entries with one entryUUID, which slapd itself may make (Mirror), the newest.
sub without_twins($ldif) {
	my %newest;
	my @entries = split /\n\n+/, $ldif =~ s/\n //gr;
	for my $entry (@entries) {
		my ($uuid, $csn) = map { $entry =~ /^$_: (\S+)/m } qw(entryUUID entryCSN);
		$newest{$uuid} = [$csn, $entry] if ($newest{$uuid}[0] // '') lt $csn;
	}
	return join '', map { "$_\n\n" } grep { $newest{(/^entryUUID: (\S+)/m)[0]}[1] eq $_ } @entries;
}

# All servers get the same older state; a map that is newer than all of them is put back as the guide says.  A copy of a map from
# before it is of a history that no server has any more: put back, it would be newer than all of them for good.
sub restore($ldif) {
	$ldif = without_twins($ldif);
	unlink $backup;
	$stays->stop;
	$_->stop for running;
	for my $s (@servers) {
		$s->reload($ldif, '-w');
		$s->start;
	}
	%has = map { (/^mail=(\w+)@/)[0] => 1 } grep { /^mail=\w+@\S+?,\Q$tree\E$/ } map { s/^dn: //r } grep { /^dn: mail=/ }
		split /\n/, $ldif;
	delete @has{qw(abuse staff)};
	$operations{add}->($first) for 0 .. rand 2;
	for my $sync ($stays, $once) {
		local $sync->{access} = "uri @{[$first->uri('ldapi')]}\n$bind";
		$sync->configure;
		my ($exit, $said) = $sync->once('--allow-shrink');
		is $exit, 0, 'one refresh from a directory that was put back' or diag $said, "\n", join "\n", @history;
	}
	$_->configure for $stays, $once;
	$stays->start;
}

# What the reader finds at this server, as the usual rules have it.
sub expected($slapd) {
	local $once->{slapd} = $slapd;
	my %records;
	for my $e (values $slapd->entries('(|(objectClass=CourierMailAccount)(objectClass=CourierMailAlias))')->%*) {
		my $value = $e->{mailbox} ? "smtp-lmtp!node!$e->{mailbox}[0]%2" : $e->{maildrop} ? join ', ', sort $e->{maildrop}->@* : next;
		$records{lc $_} = $value for $e->{mail}->@*;
	}
	return \%records;
}

sub settle() {
	for my $s (grep { !$_->{pid} } @servers) {
		$s->start;
	}
	# slapd itself forgets a removal that it was killed right behind, and may have an entry under two names: then one of them counts
	if ((my $differs = $mirror->settle(15 * $slow)) ne '') {
		note_down("slapds that do not become equal: $differs");
		return restore(scalar qx{/usr/sbin/slapcat -f @{[$first->dir]}/slapd.conf 2>/dev/null});
	}
}

$_->{own_config} = $_->{config} for @servers;
my $rounds = 0;
follow_none_that_lags();
while ($rounds == 0 || time < $until) {
	for (1 .. 1 + rand 6) {
		my $what = pick(sort keys %operations);
		$operations{$what}->(writable());
		if (rand() < 0.3) {
			my $event = pick(sort keys %events);
			note_down($event);
			$events{$event}->();
		}
	}
	settle();
	my $expected = expected($first);
	my ($exit, $said) = $once->once('--allow-shrink');
	my $difference = $once->difference($expected);
	my $other = $stays->difference_after($soon, $expected);
	note_down('--- end of round ' . ++$rounds);
	next if $difference eq '' && $other eq '' && $exit =~ /^(0|65)$/;
	is $difference, '', "round $rounds: one refresh" or diag "exit $exit: $said";
	is $other, '', "round $rounds: one that stays";
	diag "what it said:\n", substr $stays->said =~ s/^.* messages of the directory so far\n//gmr, -20_000;
	for my $s (@servers) {
		diag "$s->{port} has now: ", join ' ', sort map { $_->{dn}[0] =~ s/,.*//r . " ($_->{entryUUID}[0])" } values $s->entries->%*;
	}
	diag join "\n", @history;
	last;
}
is $stays->stop, 0;
ok $rounds > 0, "$rounds rounds";
diag "$rounds rounds";
done_testing;
