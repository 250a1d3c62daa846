#!/usr/bin/perl
# Values of lmtp's options that mean nothing: one line, exit 64, before the scheduler hears a word.

use v5.36;
use FindBin;
use File::Temp ();
use Test::More;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $dir = File::Temp->newdir('/tmp/zlmtp-options-XXXXXX');

# Returns exit status, stdout, stderr.
sub lmtp(@arguments) {
	my $status = system 'sh', '-c', 'out=$1 err=$2; shift 2; exec timeout 20 "$@" </dev/null >"$out" 2>"$err"', 'sh', "$dir/out", "$dir/err",
		"$build/channel/lmtp", '-c', 'lmtp', '-F', 'UNIX:/nowhere', @arguments;
	return ($status >> 8, map { local (@ARGV, $/) = "$dir/$_"; <> // '' } 'out', 'err');
}

sub refused($option, $value) {
	my ($status, $out, $err) = lmtp($option, $value);
	is $status, 64, "$option $value: 64";
	like $err, qr/^lmtp: [^\n]*\Q$value\E[^\n]*\n\z/, "$option $value: one line";
	unlike $out, qr/#hungry/, "$option $value: no agent is there";
}

# A rule for a reply that no server can give would never count.
refused('-O', "map-reply=$_") for map({ "552/$_:temp" } qw(9.9 9.9.9 5.9 5 5. 5.2.2. .5.2.2 5.2.2.2 4.2.2 2.2.2 5.2222.2 5..2 5.2.x), '5.2.2 ', ' 5.2.2', ''),
	'552', '552:', '552:later', '552/5.2.2', '399:temp', '250:temp', '600:temp', '55:temp', '5520:temp', ':temp', 'x:temp', '452/5.2.2:perm', '-552:temp';
for my $good ('552/5.2.2:temp', '452/4.2.2:perm', '599/5.999.999:perm', '400:temp', '421/4.0.0:temp') {
	is_deeply [(lmtp('-O', "map-reply=$good"))[0, 2]], [0, ''], "map-reply=$good is taken";
}

done_testing;
