package RunQueue;

# A post office with a scripted agent, for tests of runqueue.

use v5.36;
use Cwd ();
use File::Basename ();
use File::Path ();
use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep time);
use Spool;

my $here = Cwd::abs_path(File::Basename::dirname(__FILE__));
my $build = Cwd::abs_path($ENV{BUILD_DIR} // "$here/../..");
my $top = File::Temp->newdir('/tmp/zlmtp-runqueue-XXXXXX');
my $count = 0;

# script: rules of the scripted agent; conf: text of scheduler.conf, in which AGENT stands for its command; before: what runs
# runqueue, as a list.
sub new($class, %o) {
	my $dir = "$top/" . ++$count;
	my $self = bless { before => $o{before} // [], dir => $dir, spool => Spool->new("$dir/po"), next => 100 }, $class;
	$self->script($o{script} // '');
	$self->conf($o{conf} // "lmtp/*\n\tinterval=1s retries=1 command=\"AGENT\"\n");
	Spool->put("$dir/zenv", "POSTOFFICE=$dir/po\nMAILSHARE=$dir\nMAILBIN=$dir\nLOGDIR=$dir/with blank\n");
	return $self;
}

sub dir($self) { $self->{dir} }
sub office($self) { "$self->{dir}/po" }
sub spool($self) { $self->{spool} }
sub script($self, $text) { Spool->put("$self->{dir}/script", $text) }

sub agent($self) { "$here/scripted-agent -s $self->{dir} -c \$channel" }

sub conf($self, $text) {
	my $agent = $self->agent;
	Spool->put("$self->{dir}/scheduler.conf", $text =~ s/AGENT/$agent/gr);
}

# Puts a message into the queue: recipients as "user" or "user@@host" or { ... of Spool }.  Options: age in seconds, and all of
# Spool->add.  Returns its job name.
sub message($self, $recipients, %o) {
	my $name = $o{name} // $self->{next}++;
	my @to = map {
		my ($user, $host) = ref $_ ? () : split /@@/;
		ref $_ ? { channel => 'lmtp', host => '-', %$_ } : { channel => 'lmtp', user => $user, host => $host // '-' };
	} @$recipients;
	$self->{spool}->add(name => $name, body => "text\n", %o, groups => [{
		sender => ['local', 'ann@example.org', 'ann@example.org'], recipients => \@to,
		header => "Received: by here\nSubject: message $name\n",
	}]);
	my $time = time - ($o{age} // 0);
	utime $time, $time, $self->{spool}->message_path($name);
	return $name;
}

# The same for one that comes while runqueue runs, as from the router: by rename.  into: hash directories.
sub arrive($self, $recipients, %o) {
	$self->message($recipients, name => "hidden", %o);
	my $base = $self->{next}++;
	my $path = $self->office . '/transport';
	my $text = Spool::slurp("$path/hidden") =~ s/^i hidden$/i $base/mr;
	rename $self->office . '/queue/hidden', $self->office . "/queue/$base";
	unlink "$path/hidden";
	my $where = $o{into} // '';
	if ($where ne '') {
		File::Path::make_path($self->office . "/queue/$where", "$path/$where");
		rename $self->office . "/queue/$base", $self->office . "/queue/$where/$base";
		$base = "$where/$base";
	}
	my $dot = $base =~ s{([^/]+)$}{.$1}r;
	Spool->put("$path/$dot", $text);
	rename "$path/$dot", "$path/$base";
	return $base;
}

# Files in the post office that are mail.
sub names($self) {
	my @names = sort map { s{.*/}{}r } grep { -f } glob $self->office . '/{queue,transport}/*';
	return @names;
}

sub control($self, $name) { $self->{spool}->read($name) }
sub tags($self, $name) { join '', map { $_->{tag} } @{($self->control($name) // { recipients => [] })->{recipients}} }

# Report files: name => text.
sub reports($self) { map { s{.*/}{}r => Spool::slurp($_) } glob $self->office . '/postman/*' }

sub _exec($self, @arguments) {
	$ENV{ZCONFIG} = "$self->{dir}/zenv";
	open STDOUT, '>', "$self->{dir}/out" or die;
	open STDERR, '>', "$self->{dir}/err" or die;
	open STDIN, '<', '/dev/null' or die;
	exec @{$self->{before}}, "$build/channel/runqueue", @arguments or POSIX::_exit(127);
}

sub start($self, @arguments) {
	my $pid = fork // die "fork: $!";
	$self->_exec(@arguments) if $pid == 0;
	return $self->{pid} = $pid;
}

# Waits for its end; killed after a while.  Returns exit status (256 + signal if it was ended by one), stdout, stderr.
sub finish($self, $seconds = 30) {
	my $until = time + $seconds;
	my $done = 0;
	while (!$done && time < $until) {
		$done = waitpid $self->{pid}, POSIX::WNOHANG();
		sleep 0.01 unless $done;
	}
	my $status = $?;
	if (!$done) {
		kill KILL => $self->{pid};
		waitpid $self->{pid}, 0;
		$status = 9;
	}
	delete $self->{pid};
	my $err = Spool::slurp("$self->{dir}/err");
	# what it says in all of these tests, which know no maps, is looked at in zconfig.t and report-results.t
	$err =~ s/^runqueue: (?:settings are those of|no reports go to senders without) [^\n]*\n//mg unless $self->{maps};
	return ($status & 127 ? 256 + ($status & 127) : $status >> 8, Spool::slurp("$self->{dir}/out"), $err);
}

sub run($self, @arguments) {
	$self->start(@arguments);
	return $self->finish;
}

sub stop($self) {
	kill TERM => $self->{pid};
	return $self->finish;
}

# What agents wrote into their log: list of { time, pid, word, rest }.
sub log($self, $word = undef) {
	my @lines = map { my %l; @l{qw(time pid word rest)} = split ' ', $_, 4; \%l } split /\n/, Spool::slurp("$self->{dir}/log") // '';
	return grep { !defined $word || $_->{word} eq $word } @lines;
}

sub forget_log($self) { unlink "$self->{dir}/log" }

# The job names that agents got, in order.
sub jobs($self) { map { (split ' ', $_->{rest})[0] } $self->log('job') }

# True as soon as $condition is; false after $seconds.
sub wait_for($condition, $seconds = 20) {
	my $until = time + $seconds;
	while ((my $begun = time) < $until) {
		return 1 if $condition->();
		# one that starts programs would keep a processor busy
		sleep 0.02 + 2 * (time - $begun);
	}
	return 0;
}

sub DESTROY($self) {
	if ($self->{pid}) {
		kill KILL => $self->{pid};
		waitpid $self->{pid}, 0;
	}
}

END { undef $top }

1;
