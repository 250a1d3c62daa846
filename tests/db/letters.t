#!/usr/bin/perl
# Letters beyond ASCII in maps, by the programs: domains with U-labels and A-labels, and characters that nobody sees.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Tool;

delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
my ($newdb, $dbupdate, $dblookup) = map { tool($_) } qw(newdb dbupdate dblookup);
my $dir = scratch('maps');
mkdir $dir;

# ---- what cannot be seen ----

my $meant = 'which looks like a blank or like nothing; is it meant\?';
spew("$dir/blanks", "ann\xc2\xa0ann\@x.test\nbob \xe2\x80\x8bbob\@x.test\nplain plain\@x.test\n");
my $got = run([$newdb, '-s', "$dir/blanks"]);
is $got->{status}, 0, 'a text with blanks that are none becomes a map';
like $got->{err}, qr{\Anewdb: \S+/blanks:1: warning: the key holds U\+00A0, $meant\nnewdb: \S+/blanks:2:5: warning: the value holds U\+200B, $meant\n\z},
	'... and each gives a warning with its place';
is run([$dblookup, "$dir/blanks", "ann\xc2\xa0ann\@x.test"])->{status}, 0, '... it is taken as it stands';
$got = run([$dbupdate, "$dir/blanks", 'set', "c\xe3\x80\x80", 'c@x.test']);
is $got->{status}, 0, 'dbupdate set stores such a key, too';
like $got->{err}, qr/\Adbupdate: [^\n]*: warning: the key holds U\+3000, $meant\n\z/, '... with a warning';
$got = run([$dbupdate, "$dir/blanks", 'apply'], in => "+d\td\n+e\te\xc2\xad\n-c\n");
is $got->{status}, 0, '... and apply';
like $got->{err}, qr/\Adbupdate: standard input:2: warning: the value holds U\+00AD, $meant\n\z/, '... with the line';
is run([$dbupdate, "$dir/blanks", 'replace', "$dir/blanks"])->{err} =~ tr/\n//, 2, '... and replace';

# ---- domains ----

SKIP: {
	skip 'built without libidn2', 1 if slurp("$ENV{BUILD_DIR}/config.h") !~ /HAVE_IDN 1/;
	my ($u, $a) = ("b\xc3\xbccher.test", 'xn--bcher-kva.test');
	for my $type ('btree', 'bhash', 'unordered') {
		spew("$dir/u.$type", "ann\@$u one\n$u domain\n");
		spew("$dir/a.$type", "ann\@$a one\n$a domain\n");
		my $suffix = { btree => 'db', bhash => 'dbh' }->{$type};
		for my $map ("$dir/u.$type", "$dir/a.$type") {
			run([$newdb, '-s', '-t', $type, $map]) if $suffix;
			for my $domain ($u, $a, "XN--BCHER-kva.Test") {
				is run([$dblookup, '-t', $type, '-l', $map, "ann\@$domain"])->{out}, "one\n", "$type: an address finds its entry";
				is run([$dblookup, '-t', $type, '-l', $map, $domain])->{out}, "domain\n", '... and a domain';
			}
			is run([$dblookup, '-t', $type, '-l', $map, "B\xc3\x9cCHER.test"])->{out}, "domain\n", '... a capital above ASCII is one';
			is run([$dblookup, '-t', $type, '-l', $map, "ann\@B\xc3\x9ccher.test"])->{out}, "one\n", '... in an address, too';
		}
	}
	spew("$dir/capitals", "ann\@B\xc3\x9ccher.test one\n\xc3\x84nne\@$u two\n\xc3\x84rger three\n");
	my $said = run([$newdb, '-s', '-l', "$dir/capitals"]);
	is $said->{status}, 0, 'a key whose domain has a capital above ASCII is taken';
	like $said->{err}, qr/\A[^\n]*capitals:1[^\n]*: warning: the domain of the key has capitals above ASCII[^\n]*; write \Q$u\E\n\z/, '... with a warning, and no other one';
	like run([$dbupdate, "$dir/capitals", 'set', "bob\@B\xc3\x9ccher.test", 'b'])->{err}, qr/warning: the domain of the key has capitals/, '... also of dbupdate';
	spew("$dir/routes", "$a lmtp!node\n");
	spew("$dir/full", "ann\@$u bob\@elsewhere.test\n");
	spew("$dir/localnames", "$u $u\n");
	spew("$dir/dbases.conf", "routesdb btree - -l $dir/routes -lm%:d pathalias\nfqdnaliases btree - -la $dir/full2 -lm\n");
	spew("$dir/full2", "ann\@$u: bob\@elsewhere.test\n");
	is run([$newdb, '-s', '-f', "$dir/dbases.conf"])->{status}, 0, 'maps of routing';
	my @route = ($dblookup, '-f', "$dir/dbases.conf", '-o', 'hostname=mx.test', '-r');
	for my $domain ($u, $a) {
		is run([@route, "carl\@$domain"])->{out}, "carl\@$domain\tlmtp\tnode\tcarl\@$domain\n",
			'a route is found in either form, and the address stays as it was written';
		like run([@route, "ann\@$domain"])->{out}, qr/\tbob\@elsewhere\.test\n/, '... an alias as well';
	}
	for my $domain ("B\xc3\x9cCHER.test", "bu\xcc\x88cher.test") {
		is run([@route, "carl\@$domain"])->{out} =~ s/.*\tlmtp\tnode\t.*\n/found/r, 'found', 'and a route in capitals, or in letters that are put together';
	}
	my @ours = ($dblookup, '-f', "$dir/dbases.conf", '-o', "hostname=$u", '-r');
	is run([@ours, "nobody-there\@$a"])->{out}, "nobody-there\@$a\terror\tnosuchuser\tnobody-there\@$a\n",
		'our own name is ours in either form';
	like run([@ours, "nobody-there\@B\xc3\x9cCHER.TEST"])->{out}, qr/\terror\tnosuchuser\t/, '... and in capitals';
}
done_testing;
