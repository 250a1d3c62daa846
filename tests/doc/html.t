#!/usr/bin/perl
# make html: each document has its page, and each link within the site leads somewhere.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Tool;

my $source = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $make = "$source/make-html";
my $site = scratch('site');
my $path = $ENV{PATH};

sub has($program) { return scalar grep { -x "$_/$program" } split /:/, $path }

subtest 'a program that is not here' => sub {
	mkdir scratch('bin') or die;
	for my $needed (qw(sh dirname)) {
		my ($there) = grep { -x } map { "$_/$needed" } split /:/, $path;
		symlink $there, scratch("bin/$needed") or die;
	}
	my $got = run(['/bin/sh', $make, $site], env => { PATH => scratch('bin') });
	is($got->{status}, 69, 'exit status 69');
	is($got->{err}, "$make: no lowdown(1) here, so no site is made; install the package lowdown, "
		. "or run ./configure --install-deps\n", 'one line names it, and the package');
	ok(!-e $site, '... and nothing is written');
	is(run([$make])->{status}, 64, 'without a directory: usage');
};

my @absent = grep { !has($_) } qw(lowdown mandoc);
if (@absent) {
	note "no @absent here: the site is not made";
	done_testing;
	exit;
}

mkdir $site or die;
spew("$site/gone.8.html", 'of an older version');
my $got = run([$make, $site]);
is_deeply([@$got{qw(status out err)}], [0, '', ''], 'the site is made') or BAIL_OUT($got->{err});
my %page = map { s{^\Q$site\E/}{}r => slurp($_) } glob "$site/*.html";
my @documents = map { s{^guide/(.*)\.md$}{$1.html}r =~ s{^spec/(.*)\.md$}{spec-$1.html}r }
	map { s{^([\w.-]+\.[578]|INTERNALS|ARCHITECTURE|HACKING)$}{$1.html}r }
	slurp("$source/doc/INDEX") =~ /^  (\S+) {2,}\S/mg;
is_deeply([sort keys %page], [sort 'index.html', @documents],
	'each document of doc/INDEX has its page, and nothing else has one');
is_deeply([sort $page{'index.html'} =~ /^  <a href="([^"]+)">/mg], [sort @documents], 'the index leads to each');

my %ids = map { my $name = $_; $name => { map { $_ => 1 } $page{$name} =~ /\bid="([^"]*)"/g } } keys %page;
for my $name (sort keys %page) {
	my (@dead, $count);
	for my $link ($page{$name} =~ /<a\b[^>]*\bhref="([^"]*)"/g, $page{$name} =~ /<link\b[^>]*\bhref="([^"]*)"/g) {
		next if $link =~ /^https:/;
		$count++;
		my ($file, $id) = $link =~ /^([^#]*)(?:#(.*))?$/;
		$file = $name if $file eq '';
		push @dead, $link if !-f "$site/$file" || (defined $id && !$ids{$file}{$id});
	}
	is_deeply(\@dead, [], "$name: each of its $count links leads somewhere");
	like($page{$name}, qr{\A<!DOCTYPE html>\n.*<title>[^<]+</title>.*</html>\n\z}s, '... and it is a page with a title');
}
my %ours = map { $_ => 1 } @documents;
is_deeply([grep { $ours{"$_.html"} } map { m{manpages\.debian\.org/([\w.-]+)"}g } values %page], [],
	'pages of ours are linked here');

# what Markdown would make of texts that mean what they say
like($page{'maps.html'}, qr/<title>[^<]*<.title>/, 'a guide has its title');
like($page{'dspam.html'}, qr/<strong>Without <code>--deliver=innocent<\/code>/, 'dashes of options stay');
like($page{'dspam.html'}, qr/lmtp -c \$channel -F/, '... and variables');
like($page{'dovecot.html'}, qr{<a href="lmtp\.8\.html">lmtp\(8\)</a>}, 'a name with its section is a link');
like($page{'ldap.html'}, qr{<a href="dovecot\.html">dovecot\.md</a>}, 'one guide leads to another');
unlike($page{$_}, qr/&lt;a href=/, "$_: no link as text") for sort keys %page;

my %first = %page;
is(run([$make, $site])->{status}, 0, 'made again');
is_deeply({ map { s{^\Q$site\E/}{}r => slurp($_) } glob "$site/*.html" }, \%first, '... it is the same');
done_testing;
