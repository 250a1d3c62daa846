#!/usr/bin/perl
# What others do to the map that ldapsync -w keeps: change it, replace it, put an older copy back, delete it, at a bad moment or slowly.  It is
# made equal to the directory again, in each way to be live.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Fcntl qw(F_GETLK F_SETLKW F_WRLCK F_UNLCK);
use File::Copy ();
use POSIX ();
use Time::HiRes ();
use LdapSync;
use RealSlapd;

LdapSync::skip_without();

my $slow = $LdapSync::slow;
my $domain = $RealSlapd::domain;
my $lmdb = LdapSync::has_lmdb();
my %ways = (generations => {}, environment => { environment => 1 }, $lmdb ? (lmdb => { type => 'lmdb' }) : ());

sub file_of($sync) { "$sync->{map}." . ($sync->{type} eq 'lmdb' ? 'lmdb' : 'db') }

sub dbupdate($sync, @words) {
	my $environment = $sync->{environment} ? "-C $sync->{dir}/env" : '';
	my $said = qx{$ENV{BUILD_DIR}/db/dbupdate $environment -t $sync->{type} $sync->{map} @words 2>&1};
	return ($? >> 8, $said);
}

# A copy as a backup has it, put in the place of the map.
sub put_back($sync, $copy) {
	File::Copy::copy($copy, "$sync->{dir}/new") or die;
	rename "$sync->{dir}/new", file_of($sync) or die;
}

# Who puts files in the place of a map does not ask for its lock; one that is held makes ldapsync wait at the right moment.  What is to be
# done then; the lock is given up behind it.
sub while_it_waits($sync, $begin, $then) {
	my $lock = pack 's s x4 q q l x4', F_WRLCK, 0, 1, 1, 0;
	my $turnstile = pack 's s x4 q q l x4', F_WRLCK, 0, 0, 1, 0;
	my $deadline = time + 20 * $slow;
	open my $fh, '+>>', file_of($sync) . '.lock' or die;
	fcntl $fh, F_SETLKW, $lock or die "F_SETLKW: $!";
	$begin->();
	for (my $now = $turnstile; ; $now = $turnstile) {
		fcntl $fh, F_GETLK, $now or die "F_GETLK: $!";
		last if (unpack 's', $now) != F_UNLCK;
		return fail 'it waits for the lock' if time > $deadline;
		Time::HiRes::sleep(0.002);
	}
	$then->();
}

for my $way (sort keys %ways) {
	my $slapd = RealSlapd->new(users => 20, aliases => 5)->start;
	my $sync = LdapSync->new($slapd, $ways{$way}->%*)->start;
	subtest "$way: a key that dbupdate changes, adds or deletes" => sub {
		is $sync->difference_after(20 * $slow), '';
		for my $words (['set', "user1\@$domain", 'smtp!elsewhere.example!user1'], ['set', "invented\@$domain", 'smtp!elsewhere.example!x'],
				['delete', "user2\@$domain"]) {
			$sync->forget;
			my ($exit, $said) = dbupdate($sync, @$words);
			is $exit, 0, "@$words";
			like $said, qr/^dbupdate: warning: \Q$sync->{map}.ldapsync\E is there: ldapsync keeps this map, and will undo/, '... says that it will not last';
			is $said =~ tr/\n//, 1, '... in one line';
			ok $sync->hears(qr/\Q@{[file_of($sync)]}\E: was changed by another program/, 20 * $slow), '... it is seen';
			is $sync->difference_after(20 * $slow), '', '... and undone';
		}
	};

	subtest "$way: a map that dbupdate replaces" => sub {
		$sync->forget;
		$sync->_put('text', join '', map { "user$_\@$domain local!user$_\n" } 1 .. 20);
		my ($exit, $said) = dbupdate($sync, 'replace', "$sync->{dir}/text");
		is $exit, 0;
		like $said, qr/^dbupdate: warning: .* ldapsync keeps this map/m;
		is $sync->difference_after(20 * $slow), '', 'it is the directory again';
		$slapd->add_account('later');
		is $sync->difference_after(20 * $slow), '', 'and follows it';
	};

	is $sync->stop, 0, "$way: it ends when told to" if $way eq 'environment';
	next if $way eq 'environment';
	subtest "$way: an older copy that is put back" => sub {
		my $copy = "$sync->{dir}/backup";
		File::Copy::copy(file_of($sync), $copy) or die;
		$slapd->change("dn: mail=user3\@$domain,$RealSlapd::tree\nchangetype: modify\nreplace: mailbox\nmailbox: new/3\n\n");
		$slapd->remove('user4');
		$slapd->add_account("new$_") for 1 .. 3;
		is $sync->difference_after(20 * $slow), '';
		isnt system('cmp', '-s', $copy, file_of($sync)), 0, 'the copy is an old one';
		$sync->forget;
		put_back($sync, $copy);
		ok $sync->hears(qr/was changed by another program/, 20 * $slow), 'that it is there is seen';
		is $sync->difference_after(20 * $slow), '', 'and gets what has changed since';
		# right before a change comes from the directory
		put_back($sync, $copy);
		$slapd->add_account('right_after');
		is $sync->difference_after(20 * $slow), '', 'also where it was put back right before a change';
	};

	subtest "$way: a map that is deleted" => sub {
		unlink file_of($sync) or die;
		is $sync->difference_after(20 * $slow), '', 'it is made again';
		$slapd->add_account('last');
		is $sync->difference_after(20 * $slow), '', 'and follows the directory';
	};

	subtest "$way: a map that is deleted while it is opened" => sub {
		my $copy = "$sync->{dir}/backup";
		while_it_waits($sync, sub { put_back($sync, $copy) }, sub { unlink file_of($sync) or die });
		is $sync->difference_after(20 * $slow), '', 'by a process that reads it again: it is made again';
		is $sync->stop, 0;
		while_it_waits($sync, sub { $sync->start }, sub { unlink file_of($sync) or die });
		is $sync->difference_after(20 * $slow), '', 'by one that begins: it is made again';
	};

	# the shorter that is, the less there is between one look of ldapsync and the next
	subtest "$way: an older copy that is put back right behind the making of the map" => sub {
		$slapd->change("dn: mail=user3\@$domain,$RealSlapd::tree\nchangetype: modify\nreplace: mailbox\nmailbox: newer/3\n\n");
		is $sync->difference_after(20 * $slow), '';
		my $expected = $sync->expected;
		for my $microseconds (0, 200, 500, 1000, 2000) {
			unlink file_of($sync) or die;
			my $deadline = time + 20 * $slow;
			1 until -e file_of($sync) || time > $deadline;
			Time::HiRes::usleep($microseconds);
			put_back($sync, "$sync->{dir}/backup");
			# what cannot be read at this moment is tried again after a minute at the latest
			is $sync->difference_after(90 * $slow, $expected), '', "$microseconds us" or diag $sync->said;
		}
	};

	subtest "$way: a copy that is written slowly" => sub {
		my $copy = "$sync->{dir}/backup";
		open my $fh, '<:raw', $copy or die;
		my $bytes = join '', <$fh>;
		$sync->forget;
		put_back($sync, $copy);
		ok $sync->hears(qr/^in step/m, 20 * $slow), 'nothing is left to be written';
		open my $slow_one, '>:raw', file_of($sync) or die;
		syswrite $slow_one, $bytes, 1000;
		ok $sync->hears(qr/^ldapsync: \Q@{[file_of($sync)]}\E: (?!was changed)/m, 20 * $slow), 'what is there cannot be read' or diag $sync->said;
		syswrite $slow_one, $bytes, length $bytes, 1000;
		close $slow_one;
		ok $sync->hears(qr/: can be read again, and is made equal to the directory$/m, 20 * $slow), 'the rest is, when it has come';
		is $sync->difference_after(20 * $slow), '', 'it is the directory again';
	};

	subtest "$way: a map that is changed and locked for long" => sub {
		$sync->forget;
		while_it_waits($sync, sub { put_back($sync, "$sync->{dir}/backup") },
			sub { ok $sync->hears(qr/: locked by $$ \(/, 20 * $slow), 'who has locked it is named' or diag $sync->said });
		is $sync->difference_after(40 * $slow), '', 'then it is the directory again';
		is $sync->stop, 0;
	};
}

# What is said must name the command that heals, which is run as it stands there.
sub heals_as_told($sync, $said, $name) {
	my ($command) = $said =~ /"(dbupdate -C [^"]* recover)"/ or return fail "$name: no command is named in: $said";
	is system("$ENV{BUILD_DIR}/db/$command >/dev/null 2>&1"), 0, "$name: $command";
	is +($sync->once)[0], 0, '... and it goes on' if !$sync->{pid};
	is $sync->difference_after(60 * $slow), '', '... to what the directory has';
}

subtest 'an environment: an older copy that is put back, with its journal and without it' => sub {
	my $slapd = RealSlapd->new(users => 20, aliases => 5, no_tls => 1)->start;
	my $sync = LdapSync->new($slapd, environment => 1);
	my @files = map { file_of($sync) . $_ } '', '.journal';
	my $put_back = sub (@which) { rename "$_.back", $_ or die for map { File::Copy::copy("$_.old", "$_.back") or die; $_ } @which };
	is +($sync->once)[0], 0;
	File::Copy::copy($_, "$_.old") or die for @files;
	$slapd->change("dn: mail=user3\@$domain,$RealSlapd::tree\nchangetype: modify\nreplace: mailbox\nmailbox: new/3\n\n");
	$slapd->remove('user4');
	$slapd->add_account("new$_") for 1 .. 3;
	is +($sync->once)[0], 0;
	$put_back->($files[0]);
	is +($sync->once)[0], 0, 'the map alone gets from its journal what it lacks';
	is $sync->difference, '';
	$put_back->(@files);
	my ($exit, $said) = $sync->once;
	is $exit, 65, 'both: a person has to say so' or diag $said;
	like $said, qr/^ldapsync: [^\n]*\n\z/, '... in one line';
	heals_as_told($sync, $said, 'both');
	$sync->start;
	ok $sync->hears(qr/in step/, 10 * $slow);
	File::Copy::copy($_, "$_.old") or die for @files;
	$slapd->add_account('under_it');
	is $sync->difference_after(10 * $slow), '';
	$put_back->($files[0]);
	$slapd->add_account('behind');
	is $sync->difference_after(20 * $slow), '', 'one that stays goes on where the map alone is put back under it' or diag $sync->said;
	$sync->forget;
	$put_back->(@files);
	$slapd->add_account('behind_both');
	ok $sync->hears(qr/recreates it from the journal/, 20 * $slow), 'where both are, it says what to do' or diag $sync->said;
	heals_as_told($sync, substr($sync->said, $sync->{heard}), 'under it');
	$sync->forget;
	unlink $files[0] or die;
	$slapd->add_account('meanwhile');
	ok $sync->hears(qr/its journal \S+ is there/, 20 * $slow), 'where the map is deleted, too' or diag $sync->said;
	heals_as_told($sync, substr($sync->said, $sync->{heard}), 'deleted');
	is $sync->stop, 0;
};

for my $way (sort keys %ways) {
	subtest "$way: a process that works on the map is killed" => sub {
		my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
		my $sync = LdapSync->new($slapd, $ways{$way}->%*)->start;
		ok $sync->hears(qr/in step/, 10 * $slow);
		is $sync->difference_after(10 * $slow), '';
		kill 'KILL', split ' ', qx{cat /proc/$sync->{pid}/task/*/children};
		$slapd->add_account('next');
		is $sync->difference_after(20 * $slow), '', 'it goes on';
		ok $sync->hears(qr/^ldapsync: \S+: is written again$/m, 10 * $slow), '... and says so';
		$way eq 'environment' ? like($sync->said, qr/killed by signal 9; run "dbupdate -C /, '... within an environment it may have to be healed')
			: unlike($sync->said, qr/recover/, '... there is nothing to be healed');
		is $sync->stop, 0;
	};
}

for my $way (sort keys %ways) {
	subtest "$way: a map that is locked for long where one that stays begins" => sub {
		my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
		my $sync = LdapSync->new($slapd, $ways{$way}->%*);
		is +($sync->once)[0], 0;
		$slapd->add_account('meanwhile');
		while_it_waits($sync, sub { $sync->start },
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
		unlink file_of($sync) . '.lock' or die;
		# somebody makes a new one, and works on the map
		while_it_waits($sync, sub { $slapd->add_account('next') },
			sub { isnt $sync->difference, '', 'nothing is written meanwhile' });
		is $sync->difference_after(20 * $slow), '', 'it waits for the new one';
		is $sync->stop, 0;
	};
}

subtest 'a symbolic link in place of the map' => sub {
	my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	rename file_of($sync), "$sync->{dir}/real.db" or die;
	symlink "$sync->{dir}/real.db", file_of($sync) or die;
	my ($exit, $said) = $sync->once;
	is $exit, 73, 'is refused by -1';
	is $said, "ldapsync: @{[file_of($sync)]}: is a symbolic link; name the map that it leads to\n", '... in one line';
	unlink file_of($sync);
	$sync->start;
	ok $sync->hears(qr/in step/, 10 * $slow);
	is $sync->difference_after(10 * $slow), '';
	$sync->forget;
	rename file_of($sync), "$sync->{dir}/real.db" or die;
	symlink "$sync->{dir}/real.db", file_of($sync) or die;
	$slapd->add_account('next');
	ok $sync->hears(qr/: is a symbolic link; name the map/, 20 * $slow), 'and by one that stays';
	ok -l file_of($sync), '... which does not replace it';
	rename "$sync->{dir}/real.db", file_of($sync) or die;
	is $sync->difference_after(40 * $slow), '', '... and goes on where it is gone';
};

for my $way (grep { $_ ne 'environment' } sort keys %ways) {
	subtest "$way: a map that is being copied into its place where one that stays begins" => sub {
		my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
		my $sync = LdapSync->new($slapd, $ways{$way}->%*);
		is +($sync->once)[0], 0;
		$slapd->add_account('meanwhile');
		my $file = file_of($sync);
		my $whole = "$sync->{dir}/whole";
		is system('cp', $file, $whole), 0;
		truncate $file, int((-s $file) / 2) or die;
		$sync->start;
		ok $sync->hears(qr/: damaged/, 20 * $slow), 'of one half it says that it is damaged' or diag $sync->said;
		is system('cp', $whole, $file), 0;
		is $sync->difference_after(40 * $slow), '', 'it waits for the other half, and then copies' or diag $sync->said;
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
	ok $sync->hears(qr/: process $second, of ldapsync, keeps this map, too, as \Q$sync->{map}.ldapsync\E was deleted or replaced; it is left alone until that ends$/m, 20 * $slow),
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
