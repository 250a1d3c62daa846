#!/usr/bin/perl
# Maps of ours for Postfix and the tools of Berkeley DB, and theirs for us.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use File::Copy ();
use RealExim;
use Test::More;
use Tool;

my $newdb = tool('newdb');
my $dblookup = tool('dblookup');
my $map = scratch('map');
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
chmod 0755, scratch();

sub have($program) { return scalar grep { -x "$_/$program" } split(/:/, $ENV{PATH}), '/usr/sbin' }
sub answer($got) { return $got->{status} == 0 ? $got->{out} =~ s/\n\z//r : "status $got->{status}" }

# more than one level of a tree, and values beyond a page
my %records = map { ("user$_\@d" . $_ % 7 . '.test' => "smtp-lmtp!node!user$_%2") } 1 .. 3000;
$records{'long@d.test'} = join ',', map { "member$_\@r.test" } 1 .. 1000;
my @keys = ('user1@d1.test', 'user3000@d4.test', 'long@d.test');
my $text = join '', map { "$_ $records{$_}\n" } sort keys %records;
spew($map, $text);

SKIP: {
	skip 'no postmap (Debian: postfix)', 1 unless have('postmap');
	my $lmdb = run(['postconf', '-m'])->{out} =~ /^lmdb$/m;
	for my $case (['btree', 'btree', '.db', '.db'], ['bhash', 'hash', '.dbh', '.db'], ['lmdb', 'lmdb', '.lmdb', '.lmdb']) {
		my ($ours, $theirs, $suffix, $their_suffix) = @$case;
		SKIP: {
			skip 'Postfix without lmdb (Debian: postfix-lmdb)', 1 if $theirs eq 'lmdb' && !$lmdb;
			my $made = run([$newdb, '-t', $ours, $map]);
			skip 'built without LMDB', 1 if $made->{status} == 69;
			is($made->{status}, 0, "newdb -t $ours") or diag $made->{err};
			File::Copy::copy("$map$suffix", scratch("theirs$their_suffix")) or die;
			for my $key (@keys) {
				is(answer(run(['postmap', '-q', $key, "$theirs:" . scratch('theirs')])), $records{$key},
					"postmap $theirs: finds " . substr $key, 0, 20);
			}
			is(run(['postmap', '-q', 'nobody@d.test', "$theirs:" . scratch('theirs')])->{status}, 1, '... and only what is there');
			unlink "$map$suffix", scratch("theirs$their_suffix");

			spew(scratch('posted'), $text);
			is(run(['postmap', "$theirs:" . scratch('posted')])->{status}, 0, "postmap $theirs:");
			my $posted = scratch("posted$their_suffix");
			for my $key (@keys) {
				is(answer(run([$dblookup, '-t', $ours, $posted, $key])), $records{$key}, "dblookup finds " . substr $key, 0, 20);
			}
			is(run([$dblookup, '-t', $ours, $posted, 'nobody@d.test'])->{status}, 1, '... and only what is there');
			is(join('', sort map { "$_\n" } grep { !/^#/ } split /\n/, run([$dblookup, '-t', $ours, '--dump', $posted])->{out}),
				$text, '... in a dump too');
			unlink glob scratch('posted.*');
		}
	}
}

SKIP: {
	skip 'no db5.3_verify (Debian: db5.3-util)', 1 unless have('db5.3_verify');
	for my $case (['btree', '.db'], ['bhash', '.dbh']) {
		my ($type, $suffix) = @$case;
		run([$newdb, '-t', $type, $map]);
		is(run(['db5.3_verify', '-q', "$map$suffix"])->{status}, 0, "db5.3_verify of a $type");
		my @lines = grep { /^ / } split /\n/, run(['db5.3_dump', '-p', "$map$suffix"])->{out};
		my %dump = map { s/^ |\\00$//gr } @lines;
		is(scalar(grep { !/\\00$/ } @lines), 0, 'every key and value ends in NUL');
		my ($stamp) = grep { /^\\00zlmtp-map/ } keys %dump;
		like(delete $dump{$stamp // ''} // '', qr/records=3001 keys=- syntax=p/, 'one record is the stamp');
		is_deeply(\%dump, \%records, 'all others are those of the text');
	}

	# what ZMailer's makedb writes: plain records with NULs, no stamp
	my $load = join '', map { "$_\\00\n$records{$_}\\00\n" } keys %records;
	for my $case (['btree', 'btree', '.db'], ['hash', 'bhash', '.dbh']) {
		my ($theirs, $ours, $suffix) = @$case;
		my $made = scratch("made$suffix");
		is(run(['db5.3_load', '-T', '-t', $theirs, $made], in => $load)->{status}, 0, "a $theirs without stamp");
		is(answer(run([$dblookup, '-t', $ours, $made, $_])), $records{$_}, '... is read: ' . substr $_, 0, 20) for @keys;
	}
	my $bare = scratch('bare.db');
	run(['db5.3_load', '-T', '-t', 'btree', $bare], in => "a\nb\nc\\00\nd\n");
	is(run([$dblookup, $bare, 'a'])->{status}, 1, 'a key without NUL is not found, as in ZMailer');
	is(answer(run([$dblookup, $bare, 'c'])), 'd', 'a value without NUL is taken');
}

# ---- Exim ----

sub ask_exim($expansion) {
	spew(scratch('exim.conf'), "keep_environment =\n");
	my $got = run([RealExim->command(scratch()), '-C', scratch('exim.conf'), '-be', $expansion]);
	return $got->{out} =~ s/\n\z//r;
}

SKIP: {
	my $why = RealExim->missing;
	skip $why, 5 if $why;
	for my $case (['btree', '.db'], ['bhash', '.dbh']) {
		my ($type, $suffix) = @$case;
		run([$newdb, '-t', $type, $map]);
		is(ask_exim("\${lookup{user1\@d1.test}dbm{$map$suffix}{found \$value}{none}}"), "found $records{'user1@d1.test'}",
			"Exim's dbm lookup reads our $type maps");
		is(ask_exim("\${lookup{nobody\@d1.test}dbm{$map$suffix}{found}{none}}"), 'none', '... and finds only what is there');
	}
	is(ask_exim("\${lookup{user1\@d1.test}dbmnz{$map.db}{found}{none}}"), 'none', 'dbmnz, without NUL, is not for our maps');
}

done_testing;
