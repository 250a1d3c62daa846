#!/usr/bin/perl
# The locks of ldapsync: that of the map, which other programs take and hold, and that of the program which keeps the map; both are no more
# than files to those who tidy up.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use POSIX ();
use LdapSync;
use RealSlapd;

LdapSync::skip_without();

my $slow = $LdapSync::slow;
my %ways = (generations => {}, environment => { environment => 1 }, LdapSync::has_lmdb() ? (lmdb => { type => 'lmdb' }) : ());

for my $way (sort keys %ways) {
	subtest "$way: a map that is locked for long where one that stays begins" => sub {
		my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
		my $sync = LdapSync->new($slapd, $ways{$way}->%*);
		is +($sync->once)[0], 0;
		$slapd->add_account('meanwhile');
		$sync->while_it_waits(sub { $sync->start },
			sub { ok $sync->hears(qr/: locked by $$ \(/, 20 * $slow), 'who has locked it is named' or diag $sync->said });
		is $sync->difference_after(40 * $slow), '', 'it waits, and then copies';
		is $sync->stop, 0;
	};
}

# Who works on a map holds a lock on MAP.lock, which is no more than a file to those who tidy up.
for my $way (sort keys %ways) {
	subtest "$way: the lock of a map is deleted while ldapsync has it open" => sub {
		my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
		my $sync = LdapSync->new($slapd, $ways{$way}->%*)->start;
		ok $sync->hears(qr/in step/, 10 * $slow);
		unlink $sync->file . '.lock' or die;
		# somebody makes a new one, and works on the map
		$sync->while_it_waits(sub { $slapd->add_account('next') },
			sub { isnt $sync->difference, '', 'nothing is written meanwhile' });
		is $sync->difference_after(20 * $slow), '', 'it waits for the new one';
		is $sync->stop, 0;
	};
}

# The lock of the program that keeps the map, which is no more than a file to those who tidy up.
subtest 'the lock of one that stays is deleted, or another file takes its place' => sub {
	my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
	my $sync = LdapSync->new($slapd)->start;
	my $lock = "$sync->{map}.ldapsync";
	ok $sync->hears(qr/in step/, 10 * $slow);
	unlink $lock or die;
	ok $sync->hears(qr/^ldapsync: \Q$lock\E: was deleted or replaced by another program; it is made again$/m, 20 * $slow), 'it is made again' or diag $sync->said;
	my ($exit, $said) = $sync->once;
	is $exit, 75, '... and keeps others away';
	like $said, qr/^ldapsync: \Q$sync->{map}\E: process $sync->{pid} keeps this map already$/, '... which are told';
	is +(stat $lock)[2] & 07777, 0600;
	open my $fh, '<', $lock or die;
	is scalar <$fh>, $sync->config . "\n", '... and it names the configuration';

	$sync->forget;
	$sync->_put('other', '');
	rename "$sync->{dir}/other", $lock or die;
	ok $sync->hears(qr/was deleted or replaced/, 20 * $slow), 'so it is with another file in its place';
	is +($sync->once)[0], 75, '... which keeps others away';
	$slapd->add_account('next');
	is $sync->difference_after(10 * $slow), '', 'the map follows';
};

subtest 'a second ldapsync has come while the lock was not there' => sub {
	my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
	my $sync = LdapSync->new($slapd)->start;
	my $first = $sync->{pid};
	ok $sync->hears(qr/in step/, 10 * $slow);
	kill 'STOP', $first;
	unlink "$sync->{map}.ldapsync" or die;
	$sync->forget;
	$sync->start;
	my $second = $sync->{pid};
	ok $sync->hears(qr/in step/, 10 * $slow), 'it keeps the map';
	kill 'CONT', $first;
	ok $sync->hears(qr/: process $second, of ldapsync, keeps this map, too, as \Q$sync->{map}.ldapsync\E was deleted or replaced; this one changes nothing until that one ends$/m, 20 * $slow),
		'the first one leaves the map to it' or diag $sync->said;
	$slapd->add_account('by_the_second');
	is $sync->difference_after(10 * $slow), '';
	unlike $sync->said, qr/changed by another program/, 'no two of them write';
	is $sync->stop, 0;
	$slapd->add_account('by_the_first');
	is $sync->difference_after(20 * $slow), '', 'when it has ended, the first one goes on';
	$sync->{pid} = $first;
	is +($sync->once)[0], 75, '... and has the lock';
	is $sync->stop, 0, '... until it is told to stop';
};

subtest 'root makes a map where another user should' => sub {
	plan skip_all => 'root alone can be another user' if $> != 0;
	my $slapd = RealSlapd->new(users => 2)->start;
	my $sync = LdapSync->new($slapd);
	chown 65534, -1, $sync->dir;
	for my $how ('-1', '-w') {
		my $said = qx{@{[$sync->program]} -f @{[$sync->config]} $how 2>&1};
		is $? >> 8, 77, "ldapsync $how";
		like $said, qr/^ldapsync: \S+: root does not write maps in a directory that user 65534 owns; run this as that user$/, '... is told';
	}
	ok !-e "$sync->{map}.ldapsync", 'no lock is left in the way of who may make it';
};

subtest 'a lock that may not be opened' => sub {
	plan skip_all => 'root alone can be another user' if $> != 0;
	my $slapd = RealSlapd->new(users => 2)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	chmod 0755, $sync->dir;
	chmod 0644, $sync->config;
	my $pid = fork // die;
	if ($pid == 0) {
		open STDERR, '>', '/dev/null';
		# setpriv(1) also starts what was built in a directory that is closed to others
		exec 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', $sync->program, '-f', $sync->config, '-1' or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	is $? >> 8, 77, 'is no permission';
};

done_testing;
