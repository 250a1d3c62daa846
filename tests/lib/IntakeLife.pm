package IntakeLife;

# intake is killed at a system call while clients hand over a message each; and what is wrong with the queue afterwards.

use v5.36;
use Cwd ();
use Exporter 'import';
use File::Basename ();
use POSIX ();
use Time::HiRes qw(sleep time);
use Intake;

our @EXPORT_OK = qw(life recover defects);

my $here = Cwd::abs_path(File::Basename::dirname(__FILE__));
my $build = $ENV{BUILD_DIR} // "$here/../..";
my $killat = "$build/tests/crash/killat";
# leaks are looked for by ptrace, which is taken
$ENV{ASAN_OPTIONS} = 'detect_leaks=0';
my $body = join '', map { "line $_ of a body that takes several writes\n" } 1 .. 2000;

# One life under killat, and of so many clients a message each: the intake, what was acknowledged, by client, the exit status, and
# the number of calls if it was not killed.  %o goes to Intake->start, but for `earlier`, which is called before.
sub life($n, $clients, %o) {
	my $earlier = delete $o{earlier};
	my $intake = Intake->start(run => 0, before => [$killat, $n], wait => 0, %o);
	$earlier->($intake) if $earlier;
	$intake->again;
	my @clients;
	# one more than needed says that it is there
	while (@clients <= $clients) {
		my $client = eval { $intake->lmtp };
		if ($client) { push @clients, $client; next }
		last if waitpid($intake->{pid}, POSIX::WNOHANG()) > 0 && ($intake->{gone} = 1);
		sleep 0.01;
	}
	pop(@clients)->close if @clients > $clients;
	my %acknowledged;
	# all of them first, so that their messages meet in a batch
	for my $i (keys @clients) {
		eval {
			my $c = $clients[$i];
			$c->hello;
			$c->say($_) for 'MAIL FROM:<x@example.com>', 'RCPT TO:<ann@example.org>', 'DATA';
		};
	}
	$clients[$_]->send("Subject: number $_\r\n\r\n" . $body =~ s/\n/\r\n/gr . ".\r\n") for keys @clients;
	for my $i (keys @clients) {
		my $reply = eval { $clients[$i]->reply(60) } // '';
		$acknowledged{$i} = 1 if $reply =~ /^250 .*queued as/;
	}
	if (!$intake->{gone}) {
		# the server is the child of killat
		my ($server) = split ' ', Spool::slurp("/proc/$intake->{pid}/task/$intake->{pid}/children") // '';
		kill 'TERM', $server if $server;
		waitpid $intake->{pid}, 0;
	}
	my $status = $? >> 8;
	delete $intake->{pid};
	my ($calls) = $intake->said =~ /killat: (\d+) calls/;
	return ($intake, \%acknowledged, $status, $calls);
}

# What it leaves behind is put into the queue by the next intake, or by a runqueue that has nobody to deliver it to.  What that has said if
# it did not go well.
sub recover($intake, $by) {
	my $before = length $intake->said;
	my $ended;
	if ($by eq 'intake') {
		local @{$intake->{o}}{qw(before wait)} = ([], 1);
		$ended = eval { $intake->again; $intake->stop } // $@;
	} else {
		Spool->put($intake->dir . '/scheduler.conf', "none/*\n    interval=1m\n    command=\"/bin/false\"\n");
		$intake->_run("$build/channel/runqueue", '-1', '-f', $intake->dir . '/scheduler.conf', '-P', $intake->office);
		waitpid delete $intake->{pid}, 0;
		$ended = $? >> 8;
		# no clause serves this mail
		$ended = 0 if $ended == 69;
	}
	my $said = substr $intake->said, $before;
	return $ended ne 0 || $said =~ /damaged|cannot/ ? "$by ended with $ended, and said: $said" : '';
}

# What is wrong with the queue after that.
sub defects($intake, $acknowledged) {
	my (%seen, @bad);
	for my $job ($intake->queued) {
		my ($control, $header, $text) = eval { $intake->message($job) };
		push @bad, "$job: no message file" if !defined $text;
		my ($i) = ($header // '') =~ /^Subject: number (\d+)$/m;
		push @bad, "$job: no header" if !defined $i;
		push @bad, "$job: another body" if ($text // '') ne $body;
		push @bad, "number $i is there twice" if defined $i && $seen{$i}++;
	}
	push @bad, map { "number $_ was acknowledged and is not there" } grep { !$seen{$_} } keys %$acknowledged;
	return @bad;
}

1;
