package Reports;

# Reports to senders in the queue of a RunQueue whose senders have mailboxes: those at example.org go to the channel
# mailbox, others out by smtp, and a map says so.

use v5.36;
use Cwd ();
use File::Basename ();
use IPC::Open2;
use JSON::PP ();
use Time::HiRes ();
use RunQueue;
use Spool;

my $here = Cwd::abs_path(File::Basename::dirname(__FILE__));

# As RunQueue->new.  routes: text of the map; router: of router.conf; forms: texts by name; zenv: more lines of it.
sub queue($class, %o) {
	my $q = RunQueue->new(%o);
	my $dir = $q->dir;
	$q->{maps} = 1;
	Spool->put("$dir/zenv", Spool::slurp("$dir/zenv") . "MAILVAR=$dir/var\n" . ($o{zenv} // ''));
	Spool->put("$dir/var/db/dbases.conf", "fqdnroutes unordered - - $dir/var/db/routes -lm%:\n");
	Spool->put("$dir/var/db/routes", $o{routes} // join '', map { "$_\@example.org mailbox!-!$_\n" } qw(ann postmaster));
	Spool->put("$dir/var/db/router.conf", "hostname=mail.example.org\n" . ($o{router} // ''));
	Spool->put("$dir/forms/$_", $o{forms}{$_}) for keys %{$o{forms} // {}};
	return $q;
}

# The messages with the null return path that are in the queue: { envelope => what Spool read, and what read-report says },
# the oldest first.
sub all($class, $q) {
	my @found;
	for my $path (sort { (Time::HiRes::stat $a)[9] <=> (Time::HiRes::stat $b)[9] || $a cmp $b } grep { -f } map { glob $q->office . "/transport/$_" } '*', '?/*', '?/?/*') {
		my $name = $path =~ s{.*/transport/}{}r;
		my $control = $q->control($name) // next;
		next unless $control->{recipients}[0]{sender}[0] eq 'error' && $name !~ /^1\d\d$/;
		push @found, { %{$class->read($q, $control)}, envelope => $control };
	}
	return @found;
}

# The message itself: its header stands in the control file, its body in the message file.
sub bytes($class, $q, $control) {
	my $dir = $control->{name} =~ s{[^/]*$}{}r;
	my $text = Spool::slurp($q->office . "/queue/$dir$control->{message}");
	return $control->{recipients}[0]{header} . "\n" . substr($text, $control->{offset});
}

sub read($class, $q, $control) {
	my $path = $q->dir . '/report';
	Spool->put($path, $class->bytes($q, $control));
	return $class->read_file($path);
}

# What read-report says of the message in a file.
sub read_file($class, $path) {
	state %reader;    # by process: a child that was forked has one of its own
	my $r = $reader{$$} //= do {
		open2(my $from, my $to, "$here/read-report");
		{ from => $from, to => $to };
	};
	syswrite $r->{to}, "$path\n";
	return JSON::PP::decode_json(readline($r->{from}) // die "read-report failed\n");
}

1;
