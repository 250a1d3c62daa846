#!/usr/bin/perl
# ldapsync with a large directory, in each way to be live: entries come, change, move and go while it runs, while it is
# down and while slapd is down, its cookie gets too old or damaged, and it is killed at random.  After each of them the map
# equals the directory, and no reader ever meets a map that cannot be read; a change is in the map within a second.
#
# With ZLMTP_SOAK=1: 100,000 entries, 100 kills and figures in each way (ZLMTP_WAYS: which; ZLMTP_ONLY=kills: without the rest).

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'long';
use Time::HiRes qw(time sleep);
use Ask;
use LdapSync;
use RealSlapd;

my $build = $ENV{BUILD_DIR} //= "$FindBin::Bin/../..";
my $missing = RealSlapd::missing();
plan skip_all => $missing if $missing;
plan skip_all => 'built without LDAP' unless -x "$build/db/ldapsync";
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

my $soak = $ENV{ZLMTP_SOAK};
my $size = $ENV{ZLMTP_ENTRIES} // ($soak ? 100_000 : 1000);
my $kills = $soak ? 100 : long() ? 8 : 2;
my $samples = $soak ? 30 : 5;
my $patience = $soak ? 120 : 20;
my $slow = $ENV{ZLMTP_SANITIZED} ? 4 : 1;
my @ways = split ' ', $ENV{ZLMTP_WAYS} // 'generations lmdb environment';
my $have_lmdb = qx{grep -c 'HAVE_LMDB 1' $build/config.h} > 0;
my $domain = $RealSlapd::domain;
my $tree = $RealSlapd::tree;
srand($ENV{ZLMTP_SEED} // time);

my $slapd = RealSlapd->new(users => $size * 0.8, aliases => $size * 0.2 - 2, sessionlog => $size / 20);
my $serial = 0;
$slapd->start;
for my $way (@ways) {
	SKIP: {
		skip 'built without LMDB', 1 if $way eq 'lmdb' && !$have_lmdb;
		subtest $way => sub { all_that_can_happen($way) };
	}
}
subtest 'mass deletion' => \&mass_deletion;
done_testing;

# ---- changes ----

sub modify($name, $mailbox) {
	return "dn: mail=$name\@$domain,$tree\nchangetype: modify\nreplace: mailbox\nmailbox: $mailbox\n\n";
}

# New names for each round: $n each of adds, modifies, renames and deletes, of accounts that were added before.
sub churn($n) {
	my ($first, $last) = ($serial + 1, $serial += $n);
	my @added = map { "new$_" } $first .. $last;
	return (
		join('', map { RealSlapd::account($_, mail => ["too.$_\@$domain"]) } @added, map { "gone$_" } $first .. $last),
		join('', map { modify('user' . (1 + int rand $size * 0.8), "at/$serial/$_") } 1 .. $n)
		. join('', map { "dn: mail=$_\@$domain,$tree\nchangetype: modrdn\nnewrdn: mail=moved.$_\@$domain\ndeleteoldrdn: 1\n\n" } @added)
		. join('', map { "dn: mail=gone$_\@$domain,$tree\nchangetype: delete\n\n" } $first .. $last),
	);
}

sub change_all($n) { $slapd->change($_) for churn($n) }

sub becomes_equal($sync, $name) { is $sync->difference_after($patience * $slow), '', $name }

# ---- one way ----

sub all_that_can_happen($way) {
	my $sync = LdapSync->new($slapd, type => $way eq 'lmdb' ? 'lmdb' : 'btree', environment => $way eq 'environment');

	load($sync);
	changes($sync, $way, $size / 100) if ($ENV{ZLMTP_ONLY} // '') ne 'kills';
	kill_at_random($sync, $way);
}

sub changes($sync, $way, $n) {
	$sync->start;
	ok $sync->hears(qr/in step/, $patience), 'it stays';
	change_all($n);
	becomes_equal $sync, "$n each of adds, modifies, renames and deletes while it runs";
	is $sync->stop, 0, 'it ends when told to';
	how_soon($sync);

	change_all($n);
	$sync->start;
	becomes_equal $sync, '... while it is down';
	slapd_is_away($sync, $n);
	is $sync->stop, 0;
	cookies($sync, $way, $n);
}

sub load($sync) {
	my $said = qx{$build/tests/bench/rawmaps run $build/db/ldapsync -f @{[$sync->config]} -1 2>&1 >/dev/null};
	is $?, 0, "$size entries are copied" or diag $said;
	my ($seconds, $kb) = split ' ', (split /\n/, $said)[-1] // '';
	diag sprintf '%s: %d entries copied in %.1f s, %.0f MB at the peak; the map has %.1f MB', $sync->{type}
		. ($sync->{environment} ? ' in an environment' : ''), $size, $seconds, $kb / 1024, (-s (grep { -e } glob "$sync->{map}.{db,lmdb}")[0]) / 1e6
		if $soak;
	is $sync->difference, '', 'the map equals the directory';
}

# Milliseconds from a change's being acknowledged by slapd to its being seen by a reader of the map.
sub ms_until_seen($reader, $name, $mailbox) {
	$slapd->change(modify($name, $mailbox));
	my $start = time;
	for (;;) {
		$reader->refresh;
		return 1000 * (time - $start) if $reader->find("$name\@$domain") =~ /^found smtp-lmtp!node!\Q$mailbox\E%2$/;
		return 99_999 if time > $start + 30;
		sleep 0.002;
	}
}

sub how_soon($sync) {
	# what is on disk first: the figure is about one change, not about what lies behind it in the queue of the disk
	$sync->start;
	becomes_equal $sync, 'started again';
	my $reader = Ask->new($sync->{type}, $sync->{map}, $sync->{environment} ? "$sync->{dir}/env" : ());
	my @ms = sort { $a <=> $b } map { ms_until_seen($reader, "user$_", "seen/" . ++$serial) } 1 .. $samples;
	$reader->end;
	is $sync->stop, 0;
	# the median: on a busy machine the disk or the scheduler of processes may take a second of their own once
	cmp_ok $ms[$#ms / 2], '<', 1000 * $slow, sprintf 'a change is seen within a second: %.0f ms at most, median %.0f ms, %.0f ms at least',
		$ms[-1], $ms[$#ms / 2], $ms[0];
}

sub slapd_is_away($sync, $n) {
	$slapd->stop('KILL');
	ok $sync->hears(qr/Can't contact/, $patience), 'it says that the server is away';
	is scalar(keys $sync->map->%*) > $size, 1, 'the map stays';
	my ($adds, $changes) = churn($n);
	$slapd->load($adds, '-w');
	$slapd->start;
	$slapd->change($changes);
	becomes_equal $sync, '... while slapd is down, and at once when it is back';
}

# ---- cookies ----

sub cookies($sync, $way, $n) {
	# more changes than slapd remembers
	change_all($n) for 1 .. 3;
	my ($exit, $said) = $sync->once;
	is $exit, 0, 'a cookie that is too old' or diag $said;
	is $sync->difference, '', 'the map equals the directory';
	return if $way ne 'lmdb';
	# the cookie stands in the file as it came; pages of LMDB have no checksum
	for my $damage ('19990101000000', '20990101000000', 'xxxxxxxxxxxxxx') {
		change_all(2);
		ok spoil("$sync->{map}.lmdb", $damage), "a damaged cookie: $damage";
		($exit, $said) = $sync->once;
		is $exit, 0, 'is no obstacle' or diag $said;
		is $sync->difference, '', 'the map equals the directory';
	}
}

# Writes $text over the time in all cookies of the file.
sub spoil($path, $text) {
	open my $fh, '+<:raw', $path or die "$path: $!\n";
	my $bytes = do { local $/; <$fh> };
	my $count = $bytes =~ s/csn=\d{14}/csn=$text/g;
	seek $fh, 0, 0;
	print $fh $bytes;
	close $fh or die "$path: $!\n";
	return $count;
}

# ---- kills ----

sub kill_at_random($sync, $way) {
	my ($unreadable, $missing) = (0, 0);
	my $longest = $soak ? 3 : 0.3;
	for (1 .. $kills) {
		$sync->start;
		my $until = time + rand $longest;
		do { change_all(1) } while time < $until;
		$sync->stop('KILL');
		# one that was there all the time
		my $found = $sync->find("alias1\@$domain");
		$missing++ if !defined $found;
		next if $_ % 10;
		my $map = $sync->map;
		$unreadable++ if !$map || keys %$map < $size;
	}
	is $missing, 0, "killed $kills times: a key that was there all the time was always found";
	is $unreadable, 0, 'the map could always be read';
	$sync->start;
	becomes_equal $sync, 'the map equals the directory in the end';
	is $sync->stop, 0;
}

# ---- too much ----

sub mass_deletion() {
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	my $before = keys $sync->map->%*;
	my (@names, $keys);
	for my $entry (sort { $a->{dn}[0] cmp $b->{dn}[0] } values $slapd->entries->%*) {
		push @names, $entry->{dn}[0];
		last if ($keys += $entry->{mail}->@*) > $before * 0.45;
	}
	$sync->start;
	ok $sync->hears(qr/in step/, $patience);
	$slapd->change(join '', map { "dn: $_\nchangetype: delete\n\n" } @names);
	is $sync->ended($patience), 75, 'is stopped while it goes on';
	my $left = keys $sync->map->%*;
	cmp_ok $left, '>=', $before * 0.8 - 1, "in time: $left of $before keys are left";
	my ($exit, $said) = $sync->once;
	is $exit, 75, 'and not made up for later';
	like $said, qr/keys would be removed/;
	is scalar(keys $sync->map->%*), $left, 'the map is as it was';
	is +($sync->once('--allow-shrink'))[0], 0, 'unless it is allowed';
	is $sync->difference, '', 'the map equals the directory';
}
