#!/usr/bin/perl
# Whatever another program has put into a map, its dump makes a map of the same answers again, by newdb with the options in its
# first line or by dbupdate apply; or one line says which record no text can hold, and nothing is printed.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Extent qw(long);
use Test::More;
use Tool;

plan skip_all => 'no db5.3_load (Debian: db5.3-util)' if system('db5.3_load -V >/dev/null 2>&1') != 0;
srand($ENV{ZLMTP_SEED} // 1);
my $map = scratch('map');
my %suffix = (btree => 'db', bhash => 'dbh');

# Key and value as they stand in the file, NULs and all.
sub load($type, @pairs) {
	my $text = "VERSION=3\nformat=bytevalue\ntype=" . ($type eq 'btree' ? 'btree' : 'hash') . "\ndb_pagesize=4096\nHEADER=END\n"
		. join('', map { ' ' . unpack('H*', $_) . "\n" } @pairs) . "DATA=END\n";
	unlink "$map.$suffix{$type}";
	run(['db5.3_load', "$map.$suffix{$type}"], in => $text)->{status} == 0 or die "db5.3_load failed\n";
}

sub records($text) { return join '', sort grep { !/^# / } split /^/, $text }

# What is wrong with the dump of the map that was loaded; undef if nothing is.  $how becomes the way back.
sub defect($type, $how) {
	my $dump = run([tool('dblookup'), '-t', $type, '--dump', $map]);
	$$how = $dump->{status} == 65 ? 'none' : $dump->{out} =~ /^# .*; newdb(.*) builds it again\n/ ? "newdb$1" : 'apply';
	if ($$how eq 'none') {
		return 'something is printed beside the error' if $dump->{out} ne '';
		return $dump->{err} =~ /\Adblookup: [^\n]*: no text can hold the record "[^\n]*\n\z/ ? undef : "said: $dump->{err}";
	}
	return "exit $dump->{status}: $dump->{err}" if $dump->{status} != 0;
	unlink glob scratch('copy') . '*';
	spew(scratch('text'), $dump->{out});
	my @options = $$how =~ /^newdb(.*)/ ? split(' ', $1) : ();
	my @commands = $$how eq 'apply' ? ([tool('newdb'), '-s', '-t', $type, scratch('copy'), '/dev/null'],
		[tool('dbupdate'), '-t', $type, '-n', scratch('copy'), 'apply', scratch('text')])
		: ([tool('newdb'), '-s', '-t', $type, @options, scratch('copy'), scratch('text')]);
	for my $command (@commands) {
		my $got = run($command);
		return "$$how: $got->{err}of\n$dump->{out}" if $got->{status} != 0;
	}
	# -A joins in another way than makedb did
	return undef if $$how =~ /-A/;
	my $again = run([tool('dblookup'), '-t', $type, '--dump', scratch('copy')]);
	return records($again->{out}) eq records($dump->{out}) ? undef : "$$how: another map: $again->{err}$again->{out}of\n$dump->{out}";
}

for my $type (sort keys %suffix) {
	for (['a key with a NUL in it', "a\0b\0", "1\0"], ['one that begins another', "a\0", "1\0", "a\0b\0", "2\0"], ['without a last NUL', "a\0b", '1'],
		['two at the end', "a\0\0", "1\0"], ['an empty key', "\0", "1\0"], ['a key of a newline', "\n\0", "1\0"], ['of a tab', "\t\0", "1\0"], ['a newline in the value', "a\0", "x\ny\0"]) {
		my ($what, @pairs) = @$_;
		load($type, @pairs);
		is defect($type, \my $how), undef, "$type: $what";
		is $how, 'none', '... is in no text';
	}
	for (['a value ends at its NUL, as in answers', "a\0", "1\0002\0"], ['bytes that are no UTF-8', "\xff\x80\0", "\xfe\0"], ['a key of a colon', ":\0", "1\0"],
		['quotes, backslashes, a comment', "\"\0", "\"\0", "\\\0", "\\\0", "#a\0", "#\0"], ['an empty value', "a\0", "\0"], ['blanks', "a b\0", "1 \0"],
		['letters of both cases', "A:b c\0", "1\0", "a:B C\0", "2\0"], ['a carriage return in front', "a\0", "\r1\0"], ['words of apply', "+a\0", "1\0", "-b\0", "2\0"]) {
		my ($what, @pairs) = @$_;
		load($type, @pairs);
		is defect($type, \my $how), undef, "$type: $what";
		isnt $how, 'none', "... by $how";
	}
	my @key = ('a' .. 'c', 'A' .. 'B', ' ', "\t", ':', '"', '\\', '#', '@', '.', "\x80", "\xff", "\xc3\xa9", "\r", "\n", "\x01", "\x7f", '+', '-', ',', '<', '>', '%');
	my @value = ('a', 'b', ' ', "\t", ',', ",\n\t", '"', '\\', '#', "\r", "\n", "\x80", "\xff", "\x01", ':', '');
	my (@bad, %how);
	for my $round (1 .. (long() ? 400 : 40)) {
		my @keys = $round % 2 ? @key : @key[0 .. 4, 7 .. 15];
		my %records = map { join('', map { $keys[rand @keys] } 1 .. 1 + rand 4) => join('', map { $value[rand @value] } 1 .. 1 + rand 4) } 1 .. 1 + rand 4;
		my $nul = $round % 3 ? "\0" : '';
		load($type, map { ("$_$nul", "$records{$_}$nul") } sort keys %records);
		push @bad, defect($type, \my $how) // ();
		$how{$how}++;
	}
	is join("\n", @bad), '', "$type: records of any bytes: " . join ', ', map { "$how{$_} by $_" } sort keys %how;
}

# What is for apply is no text: its keys would have a '+' in front, and a replaced map would lose all others.
load('btree', "a b\0", "1\0", "a:B C\0", "2\0", map { ("key$_\0", "$_\0") } 1 .. 5);
my $changes = run([tool('dblookup'), '-t', 'btree', '--dump', $map])->{out};
like $changes, qr/^\+a b\t1$/m, 'a dump for apply';
spew(scratch('changes'), $changes);
spew(scratch('taken'), "key1 1\n");
run([tool('newdb'), '-s', scratch('taken')]);
for my $command ([tool('dbupdate'), scratch('taken'), 'replace', scratch('changes')], [tool('dbupdate'), scratch('taken'), 'replace', '-a', scratch('changes')],
	[tool('newdb'), '-s', scratch('changes')], [tool('newdb'), '-s', '-a', '-t', 'bhash', scratch('changes')]) {
	my $got = run($command);
	is $got->{status}, 65, "@{[grep { !/^-t|^bhash/ } @$command]}: it is refused" =~ s{\S*/}{}gr;
	like $got->{err}, qr/\A\w+: \S*changes: [^\n]*"dbupdate \.\.\. apply" takes them\n(?:newdb: no map was built\n)?\z/, '... in one line, which says who takes it';
}
is run([tool('dblookup'), scratch('taken'), 'key1'])->{out}, "1\n", '... the map stays as it was';
spew(scratch('phones'), "+4930123\tann\n+4930124\tbob\n");
is run([tool('newdb'), '-s', scratch('phones')])->{status}, 0, 'telephone numbers may be keys';
is run([tool('dblookup'), scratch('phones'), '+4930124'])->{out}, "bob\n", '... with their plus';
my $got = run([tool('dbupdate'), scratch('taken'), 'replace', scratch('phones')]);
is $got->{status}, 65, '... but to take the place of all keys they stand in front of a blank';
like $got->{err}, qr/\A[^\n]*put a blank in place of the tab\n\z/, '... as is said';
spew(scratch('phones'), "+4930123 ann\n+4930124\tbob\n");
is run([tool('dbupdate'), scratch('taken'), 'replace', scratch('phones')])->{status}, 0, '... one is enough';
done_testing;
