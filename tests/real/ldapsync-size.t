#!/usr/bin/perl
# What many accounts cost ldapsync, in each way to be live: memory of it and of the process that works on the map, and the time of a whole
# comparison when nothing differs, as a table; and how soon one that stays has a change.  10,000 accounts, or 200,000 with ZLMTP_SOAK=1; then the limits are 100 MB
# for the first copy and 50 MB for the next one.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use Time::HiRes qw(time sleep);
use POSIX ();
use LdapSync;
use RealSlapd;

LdapSync::skip_without();
plan skip_all => 'a sanitizer takes memory of its own' if $ENV{ZLMTP_SANITIZED};

my $accounts = $ENV{ZLMTP_SOAK} ? 200_000 : 10_000;
# MB: what any copy takes, batches among it, and what each account adds.
my %limit = (first => 25 + $accounts * 0.000375, second => 16 + $accounts * 0.00017);
my $lmdb = LdapSync::has_lmdb();
my %ways = (generations => {}, hash => { type => 'bhash' }, environment => { environment => 1 }, $lmdb ? (lmdb => { type => 'lmdb' }) : ());

my @table;

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

my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());

# Seconds of CPU of our children that have ended, and of the server.
sub children_cpu() { my @t = POSIX::times(); return ($t[3] + $t[4]) / $ticks }

sub server_cpu($slapd) {
	open my $fh, '<', "/proc/$slapd->{pid}/stat" or die;
	my @fields = split ' ', <$fh> =~ s/.*\)//r;
	return ($fields[11] + $fields[12]) / $ticks;
}

# Runs it once: exit status, and a line of the table: seconds, those of CPU, of its own and of the server, its size and that of its largest child,
# less what is the file of an LMDB map.
sub measure($sync) {
	my ($start, $before, $of_server) = (time, children_cpu(), server_cpu($sync->{slapd}));
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
	return ($? >> 8, { wall => time - $start, cpu => children_cpu() - $before, server => server_cpu($sync->{slapd}) - $of_server,
		own => $own, child => $child });
}

# One that stays: how long a change takes from the server to the map, and what it has taken of memory by then.
sub follow($sync, $way) {
	$sync->start;
	ok $sync->hears(qr/in step/, 120), "$way: in step";
	my $name = "changed-$way";
	my $start = time;
	$sync->{slapd}->add_account($name);
	sleep 0.02 until defined $sync->find("$name\@$RealSlapd::domain") || time > $start + 120;
	my $wall = time - $start;
	my ($own) = sizes($sync->{pid});
	my ($child) = sort { $b <=> $a } map { my ($size, $file) = sizes($_); ($size // 0) - ($sync->{type} eq 'lmdb' ? $file // 0 : 0) } children($sync->{pid});
	push @table, sprintf '%-12s %-8s %6.1f %6s %6s %6.0f %6.0f %6s', $way, '-w', $wall, '', '', $own, $child // 0, load();
	cmp_ok $own, '<=', $limit{first}, '... its memory';
	$sync->{slapd}->remove($name);
	return $sync->stop;
}

sub load() { (split ' ', qx{cat /proc/loadavg})[0] }

sub add_row($name, $run, $row) { push @table, sprintf '%-12s %-8s %6.1f %6.1f %6.1f %6.0f %6.0f %6s', $name, $run, $row->@{qw(wall cpu server own child)}, load }

my $slapd = RealSlapd->new(users => $accounts, aliases => 0)->start;
for my $way (sort keys %ways) {
	my $sync = LdapSync->new($slapd, $ways{$way}->%*);
	for my $run ('first', 'second') {
		my ($exit, $row) = measure($sync);
		add_row($way, $run, $row);
		is $exit, 0, "$way, $run" or diag qx{cat $sync->{dir}/once.log};
		cmp_ok $row->{own}, '<=', $limit{$run}, '... its memory';
		cmp_ok $row->{child}, '<=', $limit{$run}, '... and that of the process that works on the map';
		# of its own and of the server, as others may have the machine
		cmp_ok $row->{cpu} + $row->{server}, '<=', 5, '... and its time' if $run eq 'second';
	}
	is keys $sync->map->%*, $accounts + 2, '... has all';
	is follow($sync, $way), 0, '... one that stays ends when told to';
}
my ($start, $before) = (time, server_cpu($slapd));
system("ldapsearch -x -LLL -H '@{[$slapd->uri('ldapi')]}' -D '$RealSlapd::reader' -w $RealSlapd::reader_password -b '$RealSlapd::hosting'"
	. " '(mail=*)' entryUUID entryCSN >/dev/null");
push @table, sprintf '%-21s %6.1f %6s %6.1f %6s %6s %6s', 'ldapsearch', time - $start, '', server_cpu($slapd) - $before, '', '', load;
diag "$accounts accounts; ldapsearch lists entryUUID and entryCSN of all\n", sprintf("%-21s %6s %6s %6s %6s %6s %6s\n", 'map, run of -1', qw(s CPU slapd MB child load)),
	join "\n", @table;
done_testing;
