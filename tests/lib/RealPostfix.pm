package RealPostfix;

# A throw-away Postfix with its own queue, configuration and directories: the
# peer that our agent is measured against.  Mail goes into its hold queue by SMTP on a UNIX
# socket; release() lets its queue manager and its lmtp client deliver all of
# it.  Needs root, as Postfix does.

use v5.36;
use File::Path ();
use Time::HiRes ();

my $DAEMONS = '/usr/lib/postfix/sbin';

# Why it cannot be used here; undef if it can.
sub unavailable($class) {
	return 'no Postfix' if !-x "$DAEMONS/master";
	return 'Postfix needs root' if $> != 0;
	return undef;
}

# Starts one below $dir that hands all mail to the LMTP socket $socket; %settings go into main.cf.
# services: lines of master.cf, as an array.
sub start($class, $dir, $socket, %settings) {
	my @services = @{delete $settings{services} // []};
	my $self = bless { dir => $dir }, $class;
	File::Path::make_path("$dir/etc", "$dir/queue", "$dir/data");
	chmod 0755, $dir, "$dir/etc", "$dir/queue";
	chown scalar getpwnam('postfix'), -1, "$dir/data";
	$self->_write_main($socket, %settings);
	$self->_write_master(@services);
	$self->_run('postfix', 'start');
	my $end = Time::HiRes::time() + 20;
	until (-S "$dir/queue/public/intake" && -S "$dir/queue/public/qmgr") {
		die "Postfix did not start, see $dir/log\n" if Time::HiRes::time() > $end;
		Time::HiRes::sleep(0.05);
	}
	return $self;
}

sub _write_main($self, $socket, %settings) {
	my $dir = $self->{dir};
	my %main = (
		compatibility_level => '3.6',
		queue_directory => "$dir/queue",
		data_directory => "$dir/data",
		command_directory => '/usr/sbin',
		daemon_directory => $DAEMONS,
		mail_owner => 'postfix',
		setgid_group => 'postdrop',
		myhostname => 'bench.example.org',
		mydestination => '',
		inet_interfaces => 'loopback-only',
		maillog_file => "$dir/log",
		maillog_file_prefixes => $dir,
		default_transport => "lmtp:unix:$socket",
		relay_transport => "lmtp:unix:$socket",
		mynetworks => '127.0.0.0/8',
		header_checks => 'static:HOLD',
		smtpd_client_connection_count_limit => 0,
		in_flow_delay => 0,
		# like ours: nothing is chrooted, so that the socket can be reached
		%settings,
	);
	open my $fh, '>', "$dir/etc/main.cf" or die "$dir/etc/main.cf: $!";
	print $fh map { "$_ = $main{$_}\n" } sort keys %main;
	close $fh or die "$dir/etc/main.cf: $!";
}

sub _write_master($self, @more) {
	my @services = (
		@more,
		'intake unix n - n - - smtpd',
		'pickup unix n - n 60 1 pickup',
		'cleanup unix n - n - 0 cleanup',
		'qmgr unix n - n 300 1 qmgr',
		'rewrite unix - - n - - trivial-rewrite',
		'bounce unix - - n - 0 bounce',
		'defer unix - - n - 0 bounce',
		'trace unix - - n - 0 bounce',
		'flush unix n - n 1000? 0 flush',
		'proxymap unix - - n - - proxymap',
		'showq unix n - n - - showq',
		'error unix - - n - - error',
		'retry unix - - n - - error',
		'lmtp unix - - n - - lmtp',
		'anvil unix - - n - 1 anvil',
		'scache unix - - n - 1 scache',
		# has the keys of TLS for smtpd, which says 454 without it
		'tlsmgr unix - - n 1000? 1 tlsmgr',
		'postlog unix-dgram n - n - 1 postlogd',
	);
	open my $fh, '>', "$self->{dir}/etc/master.cf" or die "master.cf: $!";
	print $fh map { "$_\n" } @services;
	close $fh or die "master.cf: $!";
}

sub _run($self, $command, @arguments) {
	my $log = "$self->{dir}/commands.log";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open STDOUT, '>>', $log;
		open STDERR, '>&', \*STDOUT;
		exec $command, '-c', "$self->{dir}/etc", @arguments or exit 127;
	}
	waitpid $pid, 0;
	die "$command @arguments failed, see $log\n" if $? != 0;
}

# Puts $count messages of $size bytes for $recipient into the hold queue.
sub fill($self, $count, $size, $recipient) {
	my $socket = "$self->{dir}/queue/public/intake";
	system('smtp-source', '-s', 10, '-m', $count, '-l', $size, '-N', '-f', 'a@example.org', '-t', $recipient,
		"unix:$socket") == 0 or die "smtp-source failed\n";
	my $held = $self->count('hold');
	die "$held messages are held, less than $count\n" if $held < $count;
}

# Files in a queue.
sub count($self, @queues) {
	my $n = 0;
	for my $queue (@queues) {
		my @todo = "$self->{dir}/queue/$queue";
		while (my $d = shift @todo) {
			opendir my $dh, $d or next;
			for my $name (grep { !/^\./ } readdir $dh) {
				if (-d "$d/$name") { push @todo, "$d/$name" } else { $n++ }
			}
		}
	}
	return $n;
}

# CPU seconds of the lmtp client processes that live now, by pid.
sub lmtp_cpu($self) {
	my %cpu;
	my $ticks = 100;
	for my $stat (glob '/proc/[0-9]*/stat') {
		open my $fh, '<', $stat or next;
		my $line = <$fh> // next;
		my ($pid, $name, $rest) = $line =~ /^(\d+) \((.*)\) (.*)$/ or next;
		next if $name ne 'lmtp' || (readlink "/proc/$pid/exe" // '') !~ m{/postfix/};
		my @f = split ' ', $rest;
		$cpu{$pid} = ($f[11] + $f[12]) / $ticks;
	}
	return \%cpu;
}

# Delivers everything that is held.  Seconds until the queue is empty, and CPU seconds of the lmtp clients.
sub release($self, $limit = 120) {
	$self->_run('postsuper', '-H', 'ALL');
	my $start = Time::HiRes::time();
	my %cpu;
	$self->_run('postqueue', '-f');
	while ($self->count(qw(deferred incoming active)) > 0) {
		my $now = $self->lmtp_cpu;
		@cpu{keys %$now} = values %$now;
		die "not delivered within $limit s, see $self->{dir}/log\n" if Time::HiRes::time() - $start > $limit;
		Time::HiRes::sleep(0.02);
	}
	my $seconds = Time::HiRes::time() - $start;
	my $now = $self->lmtp_cpu;
	@cpu{keys %$now} = values %$now;
	my $sum = 0;
	$sum += $_ for values %cpu;
	return ($seconds, $sum);
}

sub restart($self) { $self->_run('postfix', $_) for 'stop', 'start' }

sub stop($self) {
	return if $self->{stopped}++;
	eval { $self->_run('postfix', 'stop') };
}

sub DESTROY($self) { local $?; $self->stop }

1;
