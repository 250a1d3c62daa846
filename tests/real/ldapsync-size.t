#!/usr/bin/perl
# What many accounts cost ldapsync, in each way to be live: memory of it and of the process that works on the map, and the time of a whole
# comparison when nothing differs.  10,000 accounts, or 200,000 with ZLMTP_SOAK=1; then the limits are 100 MB
# for the first copy and 50 MB for the next one.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Time::HiRes qw(time sleep);
use POSIX ();
use LdapSync;
use RealSlapd;

my $missing = RealSlapd::missing();
plan skip_all => $missing if $missing;
plan skip_all => 'built without LDAP' unless -x "$ENV{BUILD_DIR}/db/ldapsync";
plan skip_all => 'a sanitizer takes memory of its own' if $ENV{ZLMTP_SANITIZED};
$SIG{$_} = sub { exit 1 } for qw(INT TERM);

my $accounts = $ENV{ZLMTP_SOAK} ? 200_000 : 10_000;
# MB: what any copy takes, batches among it, and what each account adds.
my %limit = (first => 25 + $accounts * 0.000375, second => 16 + $accounts * 0.00017);
my $lmdb = qx{grep -c 'HAVE_LMDB 1' $ENV{BUILD_DIR}/config.h} > 0;
my %ways = (generations => {}, hash => { type => 'bhash' }, environment => { environment => 1 }, $lmdb ? (lmdb => { type => 'lmdb' }) : ());

# The largest size so far in MB, and what of the present one is the file of the map alone.
sub sizes($pid) {
	open my $fh, '<', "/proc/$pid/status" or return;
	my %kb = map { /^(\w+):\s+(\d+) kB/ ? ($1, $2) : () } <$fh>;
	return $kb{VmHWM} ? map { $_ / 1024 } $kb{VmHWM}, $kb{RssFile} : ();
}

sub children($pid) {
	open my $fh, '<', "/proc/$pid/task/$pid/children" or return;
	return split ' ', <$fh> // '';
}

# Runs it once: exit status, seconds, those of CPU, its size and that of its largest child, less what is the file of an LMDB map.
sub measure($sync) {
	my $start = time;
	my $cpu = sub { my @t = POSIX::times(); ($t[3] + $t[4]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()) };
	my $before = $cpu->();
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDOUT, '>', "$sync->{dir}/once.log";
		open STDERR, '>&', \*STDOUT;
		exec $sync->program, '-f', $sync->config, '-1';
	}
	my ($own, $child, $file) = (0, 0, 0);
	while (waitpid($pid, POSIX::WNOHANG) == 0) {
		($own) = (sizes($pid), $own);
		for (children($pid)) {
			my ($size, $mapped) = sizes($_) or next;
			$child = $size if $size > $child;
			$file = $mapped if $mapped > $file;
		}
		sleep 0.005;
	}
	$child -= $file if $sync->{type} eq 'lmdb';
	return ($? >> 8, time - $start, $cpu->() - $before, $own, $child);
}

my $slapd = RealSlapd->new(users => $accounts, aliases => 0)->start;
for my $way (sort keys %ways) {
	my $sync = LdapSync->new($slapd, $ways{$way}->%*);
	for my $run ('first', 'second') {
		my ($exit, $seconds, $cpu, $own, $child) = measure($sync);
		diag sprintf '%s, %s: %d accounts in %.1f s (%.1f s of CPU), VmHWM %.0f MB, of the child %.0f MB', $way, $run, $accounts, $seconds,
			$cpu, $own, $child;
		is $exit, 0, "$way, $run" or diag qx{cat $sync->{dir}/once.log};
		cmp_ok $own, '<=', $limit{$run}, '... its memory';
		cmp_ok $child, '<=', $limit{$run}, '... and that of the process that works on the map';
		cmp_ok $cpu, '<=', 5, '... and its time' if $run eq 'second';
	}
	is keys $sync->map->%*, $accounts + 2, '... has all';
}
my $start = time;
system("ldapsearch -x -LLL -H '@{[$slapd->uri('ldapi')]}' -D '$RealSlapd::reader' -w $RealSlapd::reader_password -b '$RealSlapd::hosting'"
	. " '(mail=*)' entryUUID entryCSN >/dev/null");
diag sprintf 'ldapsearch lists entryUUID and entryCSN in %.1f s; load average %s', time - $start, (split ' ', qx{cat /proc/loadavg})[0];
done_testing;
