#!/usr/bin/perl
# A new machine gets its first copy from a neighbour (ldapsync -D and -I), and goes on from there with the changes alone.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Time::HiRes ();
use LdapSync;
use RealSlapd;

LdapSync::skip_without();

my $slow = $LdapSync::slow;
my $lmdb = LdapSync::has_lmdb();
my $slapd = RealSlapd->new(users => 300)->start;
my $dir = File::Temp->newdir('/tmp/zy-XXXXXX');

sub slurp($path) { local (@ARGV, $/) = $path; return <> // '' }
sub put($path, $text) { open my $out, '>', $path or die "$path: $!\n"; print $out $text; close $out }
sub dump_of($sync, $path) { return system("$ENV{BUILD_DIR}/db/ldapsync -f @{[$sync->config]} -D >$path 2>$dir/said") >> 8 }

# Exit status and words.
sub load($sync, $path, @options) {
	my $said = qx{$ENV{BUILD_DIR}/db/ldapsync -f @{[$sync->config]} @options -I $path 2>&1};
	return ($? >> 8, $said);
}

# The neighbour, of each kind, and a new machine of each kind.
my %kinds = (btree => {}, $lmdb ? (lmdb => { type => 'lmdb' }) : (), environment => { environment => 1 });
for my $kind (sort keys %kinds) {
	subtest "from a map of $kind" => sub {
		my $old = LdapSync->new($slapd, $kinds{$kind}->%*)->start;
		is $old->difference_after(20 * $slow), '', 'the neighbour is in step';
		# once it has compared all, it has a cookie and says when
		ok $old->hears(qr/in step/), '... and says so';
		is dump_of($old, "$dir/$kind"), 0, '-D beside it';
		is slurp("$dir/said"), '', '... without a word';
		my %then = $old->map->%*;
		$slapd->add_account("new-$kind-$_") for 1 .. 5;
		$slapd->remove("new-$kind-1");
		for my $new (sort keys %kinds) {
			my $sync = LdapSync->new($slapd, $kinds{$new}->%*);
			my ($exit, $said) = load($sync, "$dir/$kind");
			is "$exit $said", '0 ' . scalar(keys %then) . " records\n", "$new: -I makes the map";
			is_deeply $sync->map, \%then, '... as the neighbour had it';
			($exit, $said) = load($sync, "$dir/$kind");
			is $exit, 73, '... and no second time';
			$sync->start;
			is $sync->difference_after(20 * $slow), '', 'it goes on from there';
			ok $sync->hears(qr/in step/), '... and says so';
			like $sync->said, qr/^\d+ records: 4 added, 0 changed, 0 removed$/m, '... with what has changed since';
			is $sync->stop, 0;
		}
		is $old->stop, 0;
		$slapd->remove("new-$kind-$_") for 2 .. 5;
	};
}

subtest 'a dump while the map is being changed is of one moment' => sub {
	my $old = LdapSync->new($slapd)->start;
	is $old->difference_after(20 * $slow), '', 'the neighbour is in step';
	my $changer = fork // die;
	if ($changer == 0) {
		$SIG{TERM} = 'DEFAULT';
		for my $n (map { $_ * 10 } 1 .. 20) {
			$slapd->change(join '', map { RealSlapd::account("moving$_") } $n .. $n + 9);
			$slapd->change(join '', map { "dn: mail=moving$_\@$RealSlapd::domain,$RealSlapd::tree\nchangetype: delete\n\n" } grep { $_ % 2 } $n .. $n + 9);
		}
		POSIX::_exit(0);
	}
	for my $n (1 .. 5) {
		is dump_of($old, "$dir/moment$n"), 0, "dump $n";
		Time::HiRes::sleep(0.1);
	}
	waitpid $changer, 0;
	is $old->difference_after(20 * $slow), '', 'the neighbour was not disturbed';
	for my $n (1, 3, 5) {
		my $sync = LdapSync->new($slapd, settings => "compare 0\n");
		is +(load($sync, "$dir/moment$n"))[0], 0, "dump $n is loaded";
		$sync->start;
		is $sync->difference_after(20 * $slow), '', '... and what came since is added';
		is $sync->stop, 0;
		my ($exit, $said) = $sync->once;
		like $said, qr/^\d+ records: 0 added, 0 changed, 0 removed$/m, '... all of it: a comparison of the whole finds nothing';
	}
	is $old->stop, 0;
};

subtest 'dumps that are none' => sub {
	my $old = LdapSync->new($slapd);
	is +($old->once)[0], 0, 'a map';
	is dump_of($old, "$dir/good"), 0, 'its dump';
	my $good = slurp("$dir/good");
	my ($first, @rest) = split /^/, $good;
	my %bad = (
		'cut off behind a line' => [join('', $first, @rest[0 .. 9]), qr/cut off/],
		'cut off within a line' => [substr($good, 0, length($good) / 2), qr/cut off|no record/],
		'nothing' => ['', qr/cut off/],
		'another text' => ["user1\@example.com smtp-lmtp!node!x\n", qr/:1: this is no dump/],
		'a byte changed' => [$good =~ s/node/nod3/r, qr/damaged/],
		'a record lost' => [$good =~ s/^\+[^\n]*\n//mr, qr/damaged/],
		'a line too many' => ["$good+x\ty\n", qr/after the end/],
		'other folding' => [$good =~ s/\A(ldapsync-dump 1 )l/$1-/r, qr/fold/],
		'a newer form' => [$good =~ s/\Aldapsync-dump 1/ldapsync-dump 2/r, qr/another version/],
		'carried as a text of another system' => [$good =~ s/\n/\r\n/gr, qr/:1: the line ends in CR: the dump was carried as a text/],
		# at the end of a line: in front of a value that begins with a to f it would be a whole one
		'half an escape' => [$good =~ s/^(\+[^\n]*)/$1\\4/mr, qr/no record/],
	);
	for my $name (sort keys %bad) {
		my ($text, $words) = $bad{$name}->@*;
		my $sync = LdapSync->new($slapd);
		put("$dir/bad", $text);
		my ($exit, $said) = load($sync, "$dir/bad");
		is $exit, 65, "$name: status 65";
		like $said, qr/^ldapsync: [^\n]*$words[^\n]*\n\z/, '... in one line';
		ok !glob("$sync->{map}.db*"), '... and no map was made';
	}
	my $sync = LdapSync->new($slapd);
	is +(load($sync, "$dir/none"))[0], 66, 'no such file';
	is dump_of($sync, "$dir/empty"), 66, 'no such map';
	is slurp("$dir/empty"), '', '... gives no dump';
	put("$dir/full", '');
	is system("$ENV{BUILD_DIR}/db/ldapsync -f @{[$old->config]} -D >/dev/full 2>$dir/said") >> 8, 74, 'no room for the dump: status 74';
	my $file = "$ENV{BUILD_DIR}/db/ldapsync -f @{[$old->config]} -D >$dir/full 2>$dir/said";
	is system('bash', '-c', "ulimit -f 1; $file"), 74 << 8, 'nor within the limit of files';
	like slurp("$dir/said"), qr/^ldapsync: cannot write the dump: File too large\n\z/, '... in one line';
	for my $other ("dblookup -t btree --dump $old->{map}", "dblookup -t btree $old->{map} " . join ' ', ("user1\@$RealSlapd::domain") x 200) {
		is system('bash', '-c', "ulimit -f 1; $ENV{BUILD_DIR}/db/$other >$dir/full 2>/dev/null") & 127, 0, '... nor is any other program killed by that';
	}
	for my $from ("-I $dir", '-I - <&-', "-I - <$dir") {
		my $said = qx{$ENV{BUILD_DIR}/db/ldapsync -f @{[$sync->config]} $from 2>&1};
		is $? >> 8, 66, "$from: there is nothing to read";
		like $said, qr/^ldapsync: [^\n]*\n\z/, '... in one line';
	}
	for my $from ($dir, '- <&-') {
		is system("$ENV{BUILD_DIR}/db/dbupdate -t btree $old->{map} apply $from >/dev/null 2>&1") >> 8, 66, "dbupdate apply $from, too";
	}
	is system("cat $dir/good | $ENV{BUILD_DIR}/db/ldapsync -f @{[$sync->config]} -I - >/dev/null 2>&1") >> 8, 0, 'from standard input';
	is_deeply $sync->map, $old->map, '... the same map';
	for my $words ('-D -1', '-I x -w', '-D -I x', '') {
		is system("$ENV{BUILD_DIR}/db/ldapsync -f @{[$old->config]} $words >/dev/null 2>&1") >> 8, 64, "usage: $words";
	}
};

subtest 'other rules' => sub {
	my $old = LdapSync->new($slapd);
	$old->once;
	is dump_of($old, "$dir/rules"), 0, 'a dump';
	my $sync = LdapSync->new($slapd, rules => LdapSync::usual_rules() =~ s/node!/other!/r);
	is +(load($sync, "$dir/rules"))[0], 0, 'is loaded where rules are others';
	is +($sync->once)[0], 0, 'and the next refresh';
	like +(values $sync->map->%*)[0] // '', qr/./, 'the map is there';
	is scalar(grep { /node!/ } values $sync->map->%*), 0, '... and has what these rules say';
};
done_testing;
