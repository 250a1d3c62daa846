#!/usr/bin/perl
# Counters of several agents that deliver to a real server: they add up, never go back, also when agents are killed, and
# can be read by Prometheus at any moment.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Prometheus;
use RealSink;
use RunQueue;
use Time::HiRes qw(sleep time);

my $missing = RealSink::missing();
plan skip_all => $missing if $missing;
my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $sink = RealSink->start;
my $file;

# Three clauses, so that three agents run at once.
sub office() {
	my $q = RunQueue->new(conf => join '', map { "c$_/*\n\tinterval=1s retries=1 command=\"$build/channel/lmtp -c \$channel -F UNIX:$sink->{socket} -O metrics=METRICS\"\n" } 1 .. 3);
	$file = $q->dir . '/zlmtp.prom';
	my $conf = Spool::slurp($q->dir . '/scheduler.conf') =~ s/METRICS/$file/gr;
	Spool->put($q->dir . '/scheduler.conf', $conf);
	return $q;
}

# By rename, as a router does it.
sub add($q, $count) {
	for (1 .. $count) {
		my $name = $q->message([map { { channel => "c$_", user => "u$_" } } 1 .. 3]);
		my $path = $q->office . "/transport";
		rename "$path/$name", "$path/.$name" or next;    # runqueue was faster
		rename "$path/.$name", "$path/$name" or die;
	}
}

# What the file holds; complains about its form.
sub look() {
	my $text = Spool::slurp($file) // return {};
	my $r = Prometheus::read($text);
	is_deeply $r->{problems}, [], 'the format' if @{$r->{problems}};
	return $r->{metrics};
}

sub sum($m, $like) { my $sum = 0; $sum += $m->{$_} for grep { $_ =~ $like } keys %$m; return $sum }

# Names of counters that are lower than before.
sub fallen($before, $now) { grep { ($now->{$_} // -1) < $before->{$_} } grep { /_(?:total|bucket|count|sum)\b/ } keys %$before }

subtest 'every recipient is counted once' => sub {
	my $q = office();
	add($q, 15);
	my ($status) = $q->run('-1');
	is $status, 0, 'delivered';
	my $m = look();
	is $m->{"zlmtp_recipients_total{channel=\"c$_\",outcome=\"delivered\"}"}, 15, "recipients of channel c$_" for 1 .. 3;
	is sum($m, qr/^zlmtp_transactions_total/), 45, 'transactions';
	is sum($m, qr/^zlmtp_step_seconds_count\{.*answer/), 45, 'final replies';
	cmp_ok sum($m, qr/^zlmtp_sent_bytes_total/), '>', 45 * 100, 'bytes';
	is sum($m, qr/^zlmtp_(?:undelivered|possible|timeouts|tls)/), 0, 'nothing else';
	is((stat $file)[2] & 07777, 0644, 'everybody may read it');
	add($q, 2);
	$q->run('-1');
	is sum(look(), qr/^zlmtp_recipients_total/), 51, 'the next agents go on from there';
	SKIP: {
		my $said = Prometheus::promtool($file) // skip 'there is no promtool', 1;
		is $said, '', 'promtool finds nothing to mend';
	}
};

subtest 'agents that are killed' => sub {
	my $q = office();
	my ($before, $kills, $total, @fallen) = ({}, 0, 0);
	$q->start('-w');
	my $begun = time;
	my $next = 0;
	while ($kills < 12 && time - $begun < 60) {
		add($q, 3);
		$total += 9;
		sleep 0.1;
		my $now = look();
		push @fallen, fallen($before, $now);
		$before = $now;
		# what the first ones have counted is written by then
		next if time < $next || !sum($now, qr/^zlmtp_recipients_total\{.*delivered/);
		$next = time + 0.25;
		# one of its agents and nobody else's
		my ($agent) = qx{ps -o pid= --ppid $q->{pid}} =~ /(\d+)/ or next;
		$kills += kill KILL => $agent;
	}
	RunQueue::wait_for(sub { !@{[glob $q->office . "/transport/*"]} }, 20);
	$q->stop;
	my $now = look();
	push @fallen, fallen($before, $now);
	is "@fallen", '', 'no counter fell';
	cmp_ok $kills, '>', 3, 'some were killed';
	my $delivered = sum($now, qr/^zlmtp_recipients_total\{.*delivered/);
	cmp_ok $delivered, '<=', $total, 'nobody is counted twice';
	cmp_ok $delivered, '>', 0, 'what they had written stays';
	is scalar(grep { !/\.(?:lock|new)$/ } glob "$file?*"), 0, 'no litter';
};

$sink->stop;
done_testing;
