#!/usr/bin/perl
# Each key of the JSON that zlmtp-queue and runqueue print is named in the manual page, and so is each word of "state".

use v5.36;
use Cwd ();
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP ();
use Test::More;
use RunQueue;
use ZlmtpQueue;

delete $ENV{ZCONFIG};
my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $build = Cwd::abs_path($ENV{BUILD_DIR} // $top);

# What a text of mdoc marks as quoted, in a part that begins with one line and ends before another.
sub named($page, $from, $to) {
	my $text = do { local (@ARGV, $/) = "$top/doc/$page.8"; <> };
	my ($part) = $text =~ /$from(.*?)$to/s or die "$page: nothing between $from and $to\n";
	return map { $_ => 1 } map { grep { /\w/ } split / / } $part =~ /^\.(?:Ql|Cm|Po Ql) (.*)$/mg;
}

# All keys, in lists and objects too.
sub keys_of($value) {
	return map { keys_of($_) } @$value if ref $value eq 'ARRAY';
	return map { $_, keys_of($value->{$_}) } sort keys %$value if ref $value eq 'HASH';
	return ();
}

sub objects($text) { return map { JSON::PP->new->utf8->decode($_) } split /\n/, $text }

sub is_named($named, $what, @objects) {
	my %seen = map { $_ => 1 } map { keys_of($_) } @objects;
	cmp_ok(scalar keys %seen, '>', 5, "$what: there are keys");
	is_deeply([grep { !$named->{$_} } sort keys %seen], [], "$what: the page names them all");
}

sub first_line($q, $command) {
	my $pid = open my $out, '-|', "exec $build/channel/zlmtp-queue -P '@{[$q->office]}' -j $command </dev/null" or die "$command: $!\n";
	my $line = <$out>;
	kill TERM => $pid;
	close $out;
	return $line;
}

my %rows = named('runqueue', 'each row is a JSON object', '\.Sh SIGNALS');
my %verbs = named('zlmtp-queue', '\.Sh JSON', '\.Sh EXIT STATUS');
my %words = named('zlmtp-queue', 'It Cm state Ns', '\.It Cm all');

my $q = RunQueue->new(conf => "lmtp/*\n\tinterval=1h retries=1 command=\"AGENT\"\n",
	script => "user bob deferred \r->> 452 later\nuser cut retryat connect to store: Connection refused\n");
my $bob = $q->message(['bob']);
my $cut = $q->message(['cut@@store']);
my $held = $q->message(['eve']);
is((zq($q, 'hold', $held))[0], 0, 'one is on hold');
is_named(\%verbs, 'watch without a runqueue', objects(first_line($q, 'watch')));
$q->start('-w');
RunQueue::wait_for(sub { grep { ($_->{answer} // '') =~ /452|refused/ } rows($q) }) or die "no answer\n";
is_named(\%verbs, 'watch', objects(first_line($q, 'watch')));
is_named(\%verbs, 'summary', objects((zq($q, '-j', 'summary'))[1]));
is_named(\%verbs, 'show', objects((zq($q, '-jb', 'show', $bob))[1]));
Spool->put($q->office . '/transport/999', "rubbish\n");
for my $listing ((zq($q, '-j', 'list'))[1], scalar qx{$build/channel/runqueue -P '@{[$q->office]}' -l -j}) {
	my @objects = objects($listing);
	is_named(\%rows, 'list', @objects);
	my %states = map { $_->{state} => 1 } @objects;
	cmp_ok(scalar keys %states, '>', 1, 'of several states');
	is_deeply([grep { !$words{$_} || !$rows{$_} } sort keys %states], [], 'which the pages name');
}
for my $change ([hold => $bob], [release => $bob], [retry => $bob], [fail => $cut], [remove => $held]) {
	is_named(\%verbs, $change->[0], objects((zq($q, '-j', @$change))[1]));
}
is_deeply([grep { !$words{$_} } qw(waiting due active held damaged unreadable)], [], 'state= has its words');
done_testing;
