# A live map in a directory of its own, those who read it, those who change it, and what must be in it.
package LiveMap;

use v5.36;
use File::Path ();
use IO::Select;
use POSIX ();
use Time::HiRes qw(time sleep);

my %ways = (
	generations => { type => 'btree', suffix => '.db' },
	hashed      => { type => 'bhash', suffix => '.dbh' },
	environment => { type => 'btree', suffix => '.db', config => 1 },
	lmdb        => { type => 'lmdb', suffix => '.lmdb' },
);

# new(DIRECTORY, WAY, RECORDS, PAIRS): in a directory that is not there yet, a map with so many records, made by newdb; pairs "pairN-a" and "pairN-b" of value 0, the
# rest "fillN".
sub new($class, $dir, $way, $records = 400, $pairs = 50) {
	my $self = bless { %{$ways{$way}}, way => $way, dir => $dir, pairs => $pairs, wait => 1 }, $class;
	my $build = $self->{build} = $ENV{BUILD_DIR} // '.';
	File::Path::make_path("$self->{dir}/env");
	$self->{base} = "$self->{dir}/map";
	$self->{file} = $self->{base} . $self->{suffix};
	$self->{sleepyenv} = "$self->{dir}/sleepyenv.conf";
	$self->put($self->{sleepyenv}, "envhome = $self->{dir}/env\nenvflags = CDB,CREATE\n");
	my %content = map { ("pair$_-a" => 0, "pair$_-b" => 0) } 1 .. $pairs;
	$content{"fill$_"} = "value of $_ " . 'x' x ($_ % 40) for 1 .. $records - 2 * $pairs;
	$self->{content} = \%content;
	$self->put($self->{base}, join '', map { "$_ $content{$_}\n" } sort keys %content);
	my ($status, $said) = $self->run("$build/db/newdb", '-n', '-t', $self->{type}, $self->{base});
	die "newdb: $said" if $status;
	return $self;
}

sub put($self, $path, $bytes) {
	open my $f, '>', $path or die "$path: $!";
	print $f $bytes;
	close $f or die "$path: $!";
}

sub slurp($self, $path) {
	open my $f, '<', $path or return '';
	local $/;
	return scalar <$f> // '';
}

# Runs a command; returns its exit status (or 128 + signal), what it said on both outputs, and the seconds it took.
sub run($self, @command) {
	my $begun = time;
	pipe my $r, my $w or die $!;
	my $pid = fork // die $!;
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>&', $w;
		open STDERR, '>&', $w;
		exec @command or POSIX::_exit(127);
	}
	close $w;
	local $/;
	my $said = <$r> // '';
	waitpid $pid, 0;
	return ($? & 127 ? 128 + ($? & 127) : $? >> 8, $said, time - $begun);
}

sub options($self) {
	return ('-n', '-t', $self->{type}, '-w', $self->{wait}, $self->{config} ? ('-C', $self->{sleepyenv}) : ());
}

sub command($self, @words) {
	return ("$self->{build}/db/dbupdate", $self->options, @words);
}

# dbupdate(OPTION ..., WORD ...): on this map; options before the command are those that begin with "--".
sub dbupdate($self, @words) {
	my @options;
	push @options, shift @words while @words && $words[0] =~ /^-/;
	return $self->run($self->command(@options, $self->{base}, @words));
}

sub maptool($self, @words) {
	return ("$self->{build}/tests/crash/maptool", shift @words, $self->{type}, $self->{base},
		$self->{config} ? $self->{sleepyenv} : '-', @words);
}

# All records, or undef and why not.
sub dump($self) {
	my ($status, $said) = $self->run($self->maptool('dump'));
	return (undef, "exit $status: $said") if $status;
	return { map { split /\t/, $_, 2 } split /\n/, $said };
}

# Destroys pages of the map, so that it does not verify.
sub damage($self) {
	open my $f, '+<', $self->{file} or die "$self->{file}: $!";
	seek $f, 4096, 0;
	print $f "x" x 3000;
	close $f or die $!;
}

# ---- readers ----

sub start_reader($self, $delay = 20) {
	my $out = "$self->{dir}/reader" . ++$self->{readers};
	$self->put($out, '');
	my $pid = fork // die $!;
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '+<', $out;
		exec $self->maptool('read', $self->{pairs}, $delay) or POSIX::_exit(127);
	}
	return { pid => $pid, out => $out };
}

sub life($self, $reader) {
	return substr $self->slurp($reader->{out}), 0, 8;
}

# Waits until the reader has looked something up since; false if it hangs or is gone.
sub lives($self, $reader, $seconds = 2) {
	my $before = $self->life($reader);
	my $end = time + $seconds;
	while (time < $end) {
		return 1 if $self->life($reader) ne $before;
		return 0 if waitpid($reader->{pid}, POSIX::WNOHANG()) != 0;
		sleep 0.005;
	}
	return 0;
}

# Ends it; returns what it saw as a hash, or nothing if it had to be killed.
sub end_reader($self, $reader, $seconds = 2) {
	kill TERM => $reader->{pid};
	my $end = time + $seconds;
	while (waitpid($reader->{pid}, POSIX::WNOHANG()) == 0) {
		if (time > $end) {
			kill KILL => $reader->{pid};
			waitpid $reader->{pid}, 0;
			return;
		}
		sleep 0.002;
	}
	my ($line) = $self->slurp($reader->{out}) =~ /^(lookups .*)$/m;
	return defined $line ? split / /, $line : ();
}

# ---- a feeder of "apply" ----

sub start_apply($self) {
	pipe my $in_r, my $in_w or die $!;
	pipe my $out_r, my $out_w or die $!;
	my $pid = fork // die $!;
	if (!$pid) {
		open STDIN, '<&', $in_r;
		open STDOUT, '>&', $out_w;
		open STDERR, '>', "$self->{dir}/apply.err";
		close $_ for $in_w, $out_r;
		exec $self->command($self->{base}, 'apply') or POSIX::_exit(127);
	}
	close $_ for $in_r, $out_w;
	$in_w->autoflush(1);
	return { pid => $pid, in => $in_w, out => $out_r, said => '', line => 0, open => [] };
}

# The children of a process, as its worker.
sub children($self, $pid) {
	return split ' ', $self->slurp("/proc/$pid/task/$pid/children");
}

# Feeds one batch of changes, [KEY => VALUE or undef] each, ended by an empty line.
sub feed($self, $apply, @changes) {
	my $text = join '', map { defined $_->[1] ? "+$_->[0]\t$_->[1]\n" : "-$_->[0]\n" } @changes;
	$apply->{line} += @changes + 1;
	push @{$apply->{open}}, { line => $apply->{line}, changes => \@changes };
	return syswrite $apply->{in}, "$text\n";
}

# Takes acknowledgements until none is missing or the time is over; those acknowledged count as content.  False if the other
# side has ended.
sub take_acks($self, $apply, $seconds) {
	my $end = time + $seconds;
	my $select = IO::Select->new($apply->{out});
	while (@{$apply->{open}}) {
		my $left = $end - time;
		return 1 if $left < 0 || !$select->can_read($left);
		my $n = sysread $apply->{out}, $apply->{said}, 65536, length $apply->{said};
		while ($apply->{said} =~ s/^ok (\d+)\n//) {
			my $line = $1;
			while (@{$apply->{open}} && $apply->{open}[0]{line} <= $line) {
				_apply($self->{content}, shift(@{$apply->{open}})->{changes});
			}
		}
		return 0 if !$n;
	}
	return 1;
}

sub _apply($content, $changes) {
	for (@$changes) {
		defined $_->[1] ? $content->{$_->[0]} = $_->[1] : delete $content->{$_->[0]};
	}
}

# Ends it as a feeder does, by the end of its input; returns its exit status, undef if it does not end.
sub end_apply($self, $apply, $seconds = 10) {
	close $apply->{in};
	$self->take_acks($apply, $seconds);
	return $self->reap($apply->{pid}, $seconds);
}

sub reap($self, $pid, $seconds) {
	my $end = time + $seconds;
	while (waitpid($pid, POSIX::WNOHANG()) == 0) {
		return undef if time > $end;
		sleep 0.002;
	}
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

# Compares what is there with what must be: all that was acknowledged and, of what was fed after that, the first batches
# as wholes.  Returns what is wrong, '' if nothing is; then what is there is the new content.
sub compare($self, $there, @open) {
	my %want = %{$self->{content}};
	my @differs = _differences($there, \%want);
	for my $batch (@open) {
		last if !@differs;
		_apply(\%want, $batch->{changes});
		my @now = _differences($there, \%want);
		@differs = @now if @now < @differs || !@now;
	}
	return join ', ', @differs[0 .. ($#differs > 4 ? 4 : $#differs)] if @differs;
	$self->{content} = $there;
	return '';
}

sub _differences($there, $want) {
	my @d = map { !exists $there->{$_} ? "$_ is missing" : $there->{$_} ne $want->{$_} ? "$_ is $there->{$_}, not $want->{$_}" : () }
		sort keys %$want;
	return @d, map { exists $want->{$_} ? () : "$_ is too much" } sort keys %$there;
}

1;
