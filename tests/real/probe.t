#!/usr/bin/perl
# lmtp -B at real servers: known, unknown, over quota, away, behind AUTH; by the maps, and with a cache that
# serves while the server is away.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use IO::Handle;
use IPC::Open2 ();
use Test::More;
use Time::HiRes qw(sleep time);
use RealCyrus;
use RealDovecot;
use RealServer;
use Secrecy;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
my %name = (yes => 0, ready => 0, no => 1, 'could not tell' => 75);

# lmtp OPTIONS -B ADDRESS...: exit status and [address, answer, words] for each line.
sub probe($options, @addresses) {
	open my $said, '-|', $program, '-c', 'lmtp', @$options, '-B', @addresses or die "$program: $!\n";
	my @lines = map { chomp; [split /\t/, $_, 3] } <$said>;
	close $said;
	return ($? >> 8, @lines);
}

# Wanted: [address, answer, words] ...; the exit status is that of the worst.
sub probe_is($options, $name, @wanted) {
	my ($status, @lines) = probe($options, map { $_->[0] } @wanted);
	my $worst = 0;
	for (map { $name{$_->[1]} } @wanted) { $worst = $_ if $_ > $worst }
	my @bad = grep {
		my ($w, $l) = ($wanted[$_], $lines[$_]);
		!$l || $l->[0] ne $w->[0] || $l->[1] ne $w->[1] || $l->[2] !~ $w->[2]
	} 0 .. $#wanted;
	ok(!@bad && @lines == @wanted && $status == $worst, $name)
		or diag join "\n", "exit $status", map { join ' | ', @$_ } @lines;
}

sub way_is($options, $name, $answer, $words) {
	my ($status, @lines) = probe($options);
	ok(@lines == 1 && $lines[0][1] eq $answer && $lines[0][2] =~ $words && $status == $name{$answer}, $name)
		or diag join "\n", "exit $status", map { join ' | ', @$_ } @lines;
}

# One by one through standard input: the answers, and how many sessions the server has had.
sub stream_is($options, $name, @wanted) {
	my $log = File::Temp->new;
	my $pid = IPC::Open2::open2(my $out, my $in, $program, '-c', 'lmtp', '-l', "$log", @$options, '-B', '-');
	$in->autoflush;
	my @bad = grep { print $in "$_->[0]\n"; my ($address, $answer, $words) = split /\t/, readline($out) // '', 3; ($answer // '') ne $_->[1] || $words !~ $_->[2] } @wanted;
	close $in;
	waitpid $pid, 0;
	my $said = do { local (@ARGV, $/) = "$log"; <> };
	my $greetings = () = $said =~ /r\t220/g;
	ok(!@bad && $greetings == 1 && $said =~ /QUIT/, $name) or diag "$greetings sessions, wrong: ", join(', ', map { $_->[0] } @bad), "\n$said";
}

sub write_file($path, $text) { RealServer::write_file($path, $text); return $path }

# The cache must be below a directory that root trusts.
sub cache_options($dir, $yes = '12h/7d', $no = '10m/1h') {
	return ('-O', "probe-cache=$dir/cache", '-O', "probe-yes=$yes", '-O', "probe-no=$no");
}

my $said_before = qr/\(said \d+ s ago\)$/;

subtest 'Dovecot' => sub {
	my $missing = RealDovecot::missing();
	plan skip_all => $missing if $missing;
	my $dovecot = RealDovecot->start(count => 3, check_quota => 1);
	my $dir = File::Temp->newdir('/tmp/zlp-XXXXXX');
	my ($known, $unknown, $overq, $overqtmp) = map { $dovecot->address($_) } qw(user1 nobody-here overq overqtmp);

	$dovecot->fill($_) for $overq, $overqtmp;
	my @socket = ('-F', "UNIX:$dovecot->{socket}");
	for my $way (\@socket, ['-F', '[127.0.0.1]', '-p', $dovecot->{port}], ['-P', @socket]) {
		probe_is($way, "@$way: known, unknown, over quota for good and for now",
			[$known, 'yes', qr/^250 2\.1\.\d OK/], [$unknown, 'no', qr/^550 5\.1\.1 .*User doesn't exist/],
			[$overq, 'could not tell', qr/^552 5\.2\.2 /], [$overqtmp, 'could not tell', qr/^452 4\.2\.2 /],
			[$dovecot->address('user2'), 'yes', qr/^250/]);
		way_is($way, "@$way: the way", 'ready', qr/\bCHUNKING\b/);
	}
	probe_is(\@socket, 'an unknown one alone', [$unknown, 'no', qr/^550/]);
	stream_is($_, "@$_: one session for all that is asked", [$known, 'yes', qr/^250/], [$unknown, 'no', qr/^550 5\.1\.1 /], [$overqtmp, 'could not tell', qr/^452/],
		[$known, 'yes', qr/^250/], [$unknown, 'no', qr/^550/]) for \@socket, ['-P', @socket];
	is_deeply([$dovecot->messages($known)], [], 'nothing was stored');
	by_maps($dovecot, $dir);

	my @fresh = cache_options($dir);
	probe_is([@socket, @fresh], 'into the cache', [$known, 'yes', qr/OK$/], [$unknown, 'no',
		qr/example$/], [$overq, 'could not tell', qr/^552/]);
	probe_is([@socket, @fresh], 'from the cache', [$known, 'yes', $said_before], [$unknown, 'no', $said_before],
		[$overq, 'could not tell', qr/^552/]);
	$dovecot->stop;
	way_is(\@socket, 'stopped: the way', 'could not tell', qr/connect/);
	probe_is(\@socket, 'stopped: could not tell', [$known, 'could not tell', qr/connect/], [$unknown, 'could not tell',
		qr/connect/]);
	probe_is([@socket, @fresh], 'stopped: the cache answers', [$known, 'yes', $said_before], [$unknown, 'no',
		$said_before],
		[$overq, 'could not tell', qr/connect/]);
	probe_is([@socket, cache_options($dir, '0/1h', '0/1h')], 'stopped, and not fresh: the cache answers all the same',
		[$known, 'yes', $said_before], [$unknown, 'no', $said_before]);
	expires([@socket, cache_options($dir, '1/3', '1/3')], $known);
	probe_is([@socket, cache_options($dir, '1h/1h', '0/0')], 'only the no has expired',
		[$known, 'yes', $said_before], [$unknown, 'could not tell', qr/connect/]);
	forgets($dovecot, $dir, $known);
};

# Addresses by the maps: an alias for two, one that the maps know not to exist.
sub by_maps($dovecot, $dir) {
	my $domain = RealDovecot::DOMAIN;
	write_file("$dir/aliases", "team\@$domain: user1\@$domain, nobody-here\@$domain\n" .
		"gone\@$domain: nobody-here\@$domain, nor-me\@$domain\n");
	write_file("$dir/routes", "\@$domain: lmtp!store!%1\@$domain\ngone-long-ago\@$domain: error!nosuchuser!gone\n" .
		join '', map { "$_\@$domain: lmtp!store!$_\@$domain\n" } qw(user1 nobody-here nor-me));
	write_file("$dir/dbases.conf", "fqdnaliases btree - -la $dir/aliases -lm\nfqdnroutes btree - -la $dir/routes -lm:\n");
	my $newdb = qx{'$build/db/newdb' -f '$dir/dbases.conf' 2>&1};
	is($?, 0, 'maps are built') or diag $newdb;
	probe_is(['-F', "UNIX:$dovecot->{socket}", '-f', "$dir/dbases.conf"], 'by the maps',
		["team\@$domain", 'yes', qr/^250/], ["gone\@$domain", 'no', qr/^550/],
		["gone-long-ago\@$domain", 'no', qr/nosuchuser/],
		["user1\@$domain", 'yes', qr/^250/]);
	unlink "$dir/routes.db";
	probe_is(['-F', "UNIX:$dovecot->{socket}", '-f', "$dir/dbases.conf"], 'a map is missing',
		["user1\@$domain", 'could not tell', qr/routes/]);
}

# An answer is taken out of the cache by the key that the page gives.
sub forgets($dovecot, $dir, $address) {
	my $type = -e "$dir/cache.lmdb" ? 'lmdb' : 'btree';
	my $said = qx{'$build/db/dbupdate' -t $type '$dir/cache' delete 'UNIX:$dovecot->{socket} 0 <> - $address' 2>&1};
	is($?, 0, 'an answer is removed by dbupdate') or diag $said;
	probe_is(['-F', "UNIX:$dovecot->{socket}", cache_options($dir)], 'and is no answer any more',
		[$address, 'could not tell', qr/connect/]);
}

# Polls until a kept answer is no answer any more.
sub expires($options, $address) {
	my $deadline = time + 15;
	my $status = 0;
	while (time < $deadline && ($status = (probe($options, $address))[0]) == 0) { sleep 0.2 }
	is($status, 75, 'stopped, and kept too long: could not tell');
}

subtest 'Cyrus' => sub {
	my $missing = RealCyrus::missing();
	plan skip_all => $missing if $missing;
	my $cyrus = RealCyrus->start(count => 2);
	my $dir = File::Temp->newdir('/tmp/zlp-XXXXXX');
	my @socket = ('-F', "UNIX:$cyrus->{socket}");
	my @tcp = ('-F', '[127.0.0.1]', '-p', $cyrus->{port});
	my @all = (['user1', 'yes', qr/^250 2\.1\.5 /], ['nobody-here', 'no', qr/^550 5\.1\.1 /],
		['overfull', 'could not tell', qr/^552 5\.2\.2 /], ['user2', 'yes', qr/^250/]);

	probe_is(\@socket, 'known, unknown and over quota by UNIX socket', @all);
	way_is(\@socket, 'the way', 'ready', qr/\bIGNOREQUOTA\b/);
	probe_is([@socket, '-O', 'ignore-quota'], 'over quota does not matter', ['overfull', 'yes', qr/^250/]);

	probe_is(\@tcp, 'AUTH is needed and not given', ['user1', 'could not tell', qr/430|530/],
		['nobody-here', 'could not tell', qr/430|530/]);
	Secrecy->new(RealCyrus::LMTP_USER, RealCyrus::LMTP_PASSWORD)->write_file("$dir/right", '127.0.0.1');
	Secrecy->new(RealCyrus::LMTP_USER, 'wrong')->write_file("$dir/wrong", '127.0.0.1');
	probe_is([@tcp, '-A', "$dir/right"], 'AUTH is needed and given', @all);
	way_is([@tcp, '-A', "$dir/right"], 'the way with AUTH', 'ready', qr/\bAUTH\b/);
	probe_is([@tcp, '-A', "$dir/wrong"], 'a wrong password', ['user1', 'could not tell', qr/AUTH/],
		['nobody-here', 'could not tell', qr/AUTH/]);
	way_is([@tcp, '-A', "$dir/wrong"], 'the way with a wrong password', 'could not tell', qr/^AUTH: /);
	stream_is([@tcp, '-A', "$dir/right"], 'one session with AUTH for all that is asked', @all, @all);
	stream_is(\@socket, 'one session for all that is asked', @all, @all);
	is_deeply([$cyrus->messages('user1')], [], 'nothing was stored');

	my @fresh = cache_options($dir);
	probe_is([@tcp, @fresh], 'AUTH is needed and not given: not kept', ['nobody-here', 'could not tell',
		qr/430|530/]);
	probe_is([@tcp, @fresh, '-A', "$dir/right"], 'into the cache', @all);
	$cyrus->stop;
	probe_is([@tcp, @fresh, '-A', "$dir/right"], 'stopped: the cache answers', ['user1', 'yes',
		$said_before], ['nobody-here', 'no', $said_before],
		['overfull', 'could not tell', qr/connect/]);
	probe_is([@tcp, @fresh], 'what was said to another identity is no answer', ['user1', 'could not tell',
		qr/connect/]);
};

done_testing;
