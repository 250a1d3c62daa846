#!/usr/bin/perl
# Where no Debian of its own can be made, tests/deb/bootstrap says why in one line, with status 77, which CI passes over.  Nothing
# else ends with that status.

use v5.36;
use FindBin;
use File::Temp ();
use Test::More;

my $dir = File::Temp->newdir(TMPDIR => 1);
my $bootstrap = ($ENV{SRC_DIR} // "$FindBin::Bin/../..") . '/tests/deb/bootstrap';

sub says ($words, @command) {
	my $text = qx{@command 2>&1 </dev/null};
	is($? >> 8, 77, "status 77: $words");
	like($text, qr/\A\S+: no Debian trixie can be made here: .*$words.*\n\z/, 'and one line');
}

qx{'$bootstrap' 2>&1};
is($? >> 8, 64, 'without a name: usage');

SKIP: {
	skip 'needs root', 9 if $> != 0;
	# the sources may be where nobody else may look, as below /root
	chmod 0755, $dir;
	system 'cp', $bootstrap, "$dir/bootstrap";
	says('needs root', "setpriv --reuid=65534 --clear-groups sh $dir/bootstrap trixie");
	symlink "/usr/bin/$_", "$dir/$_" for qw(sh id);
	says('no program debootstrap', "env PATH=$dir $dir/sh '$bootstrap' trixie");
	skip 'debootstrap, or the right to make one, is not here', 5 if qx{env ZLMTP_MIRROR=http://127.0.0.1:1/debian '$bootstrap' trixie 2>&1} =~ /no program|no right|GB left/;
	says('no right to make devices, to mount or to change the root', "env ZLMTP_MIRROR=http://127.0.0.1:1/debian setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin '$bootstrap' trixie");
	says('does not answer', "env ZLMTP_MIRROR=http://127.0.0.1:1/debian '$bootstrap' trixie");
	qx{env ZLMTP_BASE=/nonexistent '$bootstrap' trixie '$dir/root' 2>&1};
	ok(!grep({ $? >> 8 == $_ } 0, 77), 'one that fails while it is made is no such case');
}
done_testing;
