#!/usr/bin/perl
# What others do to the map that ldapsync -w keeps: change it, replace it, put an older copy back, delete it, at a bad moment or slowly.  It is
# made equal to the directory again, in each way to be live.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use File::Copy ();
use POSIX ();
use Time::HiRes ();
use LdapSync;
use RealSlapd;
use Tool;

LdapSync::skip_without();

my $slow = $LdapSync::slow;
my $domain = $RealSlapd::domain;
my $lmdb = LdapSync::has_lmdb();
my %ways = (generations => {}, environment => { environment => 1 }, $lmdb ? (lmdb => { type => 'lmdb' }) : ());

sub dbupdate($sync, @words) {
	my $environment = $sync->{environment} ? "-C $sync->{dir}/env" : '';
	my $said = qx{$ENV{BUILD_DIR}/db/dbupdate $environment -t $sync->{type} $sync->{map} @words 2>&1};
	return ($? >> 8, $said);
}

# A copy as a backup has it, put in the place of the map.
sub put_back($sync, $copy) {
	File::Copy::copy($copy, "$sync->{dir}/new") or die;
	rename "$sync->{dir}/new", $sync->file or die;
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
			ok $sync->hears(qr/\Q@{[$sync->file]}\E: was changed by another program/, 20 * $slow), '... it is seen';
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
		File::Copy::copy($sync->file, $copy) or die;
		$slapd->change("dn: mail=user3\@$domain,$RealSlapd::tree\nchangetype: modify\nreplace: mailbox\nmailbox: new/3\n\n");
		$slapd->remove('user4');
		$slapd->add_account("new$_") for 1 .. 3;
		is $sync->difference_after(20 * $slow), '';
		isnt system('cmp', '-s', $copy, $sync->file), 0, 'the copy is an old one';
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
		unlink $sync->file or die;
		is $sync->difference_after(20 * $slow), '', 'it is made again';
		$slapd->add_account('last');
		is $sync->difference_after(20 * $slow), '', 'and follows the directory';
	};

	subtest "$way: a map that is deleted while it is opened" => sub {
		my $copy = "$sync->{dir}/backup";
		$sync->while_it_waits(sub { put_back($sync, $copy) }, sub { unlink $sync->file or die });
		is $sync->difference_after(20 * $slow), '', 'by a process that reads it again: it is made again';
		is $sync->stop, 0;
		$sync->while_it_waits(sub { $sync->start }, sub { unlink $sync->file or die });
		is $sync->difference_after(20 * $slow), '', 'by one that begins: it is made again';
	};

	# the shorter that is, the less there is between one look of ldapsync and the next
	subtest "$way: an older copy that is put back right behind the making of the map" => sub {
		$slapd->change("dn: mail=user3\@$domain,$RealSlapd::tree\nchangetype: modify\nreplace: mailbox\nmailbox: newer/3\n\n");
		is $sync->difference_after(20 * $slow), '';
		my $expected = $sync->expected;
		for my $microseconds (0, 200, 500, 1000, 2000) {
			unlink $sync->file or die;
			my $deadline = time + 20 * $slow;
			# a loop without a pause would keep a processor busy until it is made again
			Time::HiRes::usleep(50) until -e $sync->file || time > $deadline;
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
		open my $slow_one, '>:raw', $sync->file or die;
		syswrite $slow_one, $bytes, 1000;
		ok $sync->hears(qr/^ldapsync: \Q@{[$sync->file]}\E: (?!was changed)/m, 20 * $slow), 'what is there cannot be read' or diag $sync->said;
		syswrite $slow_one, $bytes, length $bytes, 1000;
		close $slow_one;
		ok $sync->hears(qr/: can be read again, and is made equal to the directory$/m, 20 * $slow), 'the rest is, when it has come';
		is $sync->difference_after(20 * $slow), '', 'it is the directory again';
	};

	subtest "$way: a map that is changed and locked for long" => sub {
		$sync->forget;
		$sync->while_it_waits(sub { put_back($sync, "$sync->{dir}/backup") },
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
	my @files = map { $sync->file . $_ } '', '.journal';
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

subtest 'a symbolic link in place of the map' => sub {
	my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
	my $sync = LdapSync->new($slapd);
	is +($sync->once)[0], 0;
	rename $sync->file, "$sync->{dir}/real.db" or die;
	symlink "$sync->{dir}/real.db", $sync->file or die;
	my ($exit, $said) = $sync->once;
	is $exit, 73, 'is refused by -1';
	is $said, "ldapsync: @{[$sync->file]}: is a symbolic link; name the map that it leads to\n", '... in one line';
	unlink $sync->file;
	$sync->start;
	ok $sync->hears(qr/in step/, 10 * $slow);
	is $sync->difference_after(10 * $slow), '';
	$sync->forget;
	rename $sync->file, "$sync->{dir}/real.db" or die;
	symlink "$sync->{dir}/real.db", $sync->file or die;
	$slapd->add_account('next');
	ok $sync->hears(qr/: is a symbolic link; name the map/, 20 * $slow), 'and by one that stays';
	ok -l $sync->file, '... which does not replace it';
	rename "$sync->{dir}/real.db", $sync->file or die;
	is $sync->difference_after(40 * $slow), '', '... and goes on where it is gone';
};

subtest 'an entry that goes before the notes of the first copy can be written' => sub {
	plan skip_all => 'preloading does not go with sanitizers' if $ENV{ZLMTP_SANITIZED};
	my $library = Tool::preload("$ENV{SRC_DIR}/tests/db/failio.c") or plan skip_all => 'no compiler';
	my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
	my $sync = LdapSync->new($slapd, settings => "compare 1s\n");
	my $fails = "$sync->{dir}/fails";
	$sync->_put('fails', '');
	{
		# the map is put in its place, and no generation behind it
		local @ENV{qw(LD_PRELOAD FAIL_CALL FAIL_WHILE)} = ($library, 'rename:2+:' . POSIX::EIO, $fails);
		$sync->start;
	}
	ok $sync->hears(qr/: cannot publish: Input/, 20 * $slow) or diag $sync->said;
	is $sync->difference, '', 'the map is there';
	$slapd->remove('user1');
	ok $sync->hears(qr/compared 6 entries/, 20 * $slow) or diag $sync->said;
	unlink $fails;
	ok $sync->hears(qr/: is written again/, 70 * $slow) or diag $sync->said;
	is $sync->difference, '', 'it is removed from the map';
	is $sync->stop, 0;
};

for my $way (grep { $_ ne 'environment' } sort keys %ways) {
	subtest "$way: a map that is being copied into its place where one that stays begins" => sub {
		my $slapd = RealSlapd->new(users => 5, aliases => 0, no_tls => 1)->start;
		my $sync = LdapSync->new($slapd, $ways{$way}->%*);
		is +($sync->once)[0], 0;
		$slapd->add_account('meanwhile');
		my $file = $sync->file;
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

done_testing;
