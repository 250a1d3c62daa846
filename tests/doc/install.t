#!/usr/bin/perl
# make install and make uninstall, where other packages have files beside ours.

use v5.36;
use FindBin;
use File::Basename ();
use File::Path ();
use File::Temp ();
use Test::More;

my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $build = $ENV{BUILD_DIR} // $top;
my $dir = File::Temp->newdir('zlmtp-install-XXXXXX', TMPDIR => 1);

sub make (@arguments) {
	my $said = qx{make -s -C '$build' @arguments DESTDIR='$dir/root' 2>&1};
	is($?, 0, "make @arguments") or diag $said;
}

sub files () { return map { s/^\Q$dir\E\/root//r } split /\n/, qx{find '$dir/root' ! -type d | LC_ALL=C sort} }

for my $docdir (qw(/usr/share/doc /usr/share/doc/zlmtp)) {
	make('install', "docdir=$docdir");
	my @installed = files();
	cmp_ok(scalar @installed, '>', 50, 'much is installed');
	my @others = sort map { "$_/of-another-package" } keys %{{ map { File::Basename::dirname($_) => 1 } @installed }};
	for my $path (@others) {
		open my $file, '>', "$dir/root$path" or die "$path: $!\n";
	}
	make('uninstall', "docdir=$docdir");
	is_deeply([files()], \@others, "docdir=$docdir: uninstall removes what install put there and nothing else");
	unlink "$dir/root$_" for @others;
	make('install', "docdir=$docdir");
	make('uninstall', "docdir=$docdir");
	is_deeply([files()], [], 'all is gone');
	is(qx{find '$dir/root' -depth -type d -name zlmtp}, '', 'directories of its own, too');
	File::Path::remove_tree("$dir/root");
}
# ---- install-deps ----

my $said = qx{exec 2>&1; env PATH=/nonexistent /bin/sh '$top/install-deps'};
is($? >> 8, 69, 'install-deps where there is no apt-get: exit status');
like($said, qr/\A.* no Debian .*\nto build: gcc make .*\nto test: .*\bperl\b.*\n\z/, 'it says what to install by hand');
done_testing;
