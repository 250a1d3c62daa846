package Scheduler;

# The scheduler's end of an agent: feeds jobs, counts #hungry, reads reports, and
# complains about everything that would hurt a real scheduler or lose mail
# (transport-agent.md sections 2 to 5).

use v5.36;
use Agent;
use Spool;
use Bytes qw(printable);

my %empty_notary = map { $_ => 1 } qw(ok2 ok3 error2);
my %outcome_of = (
	ok => 'delivered', ok2 => 'delivered', ok3 => 'delivered', error => 'failed', error2 => 'failed',
	deferred => 'deferred', retryat => 'deferred', deferall => 'deferred', deferback => 'deferred',
);

# Options: loop, spool, channel, and those of Agent (program, arguments, environment); host: of job lines without
# one; damaged: { name => 1 } for jobs that the agent must refuse to read, whatever we can read in them.
sub new($class, %o) {
	my $self = bless {
		%o, sent => 0, hungry => 0, idle_lines => 0, jobs => [], waiting => {}, reports => {}, comments => [], resyncs => [],
		problems => [], started => time,
	}, $class;
	$self->{agent} = Agent->start(loop => $o{loop}, program => $o{program}, arguments => $o{arguments},
		environment => $o{environment}, directory => $o{spool}->dir . '/transport', on_line => sub ($line) { $self->_line($line) });
	return $self;
}

sub problem($self, $text) { push @{$self->{problems}}, $text }

# ---- what it says ----

# A job line.  The agent must settle the recipients that it can select now.
sub job($self, $name, $host) {
	$self->raw(defined $host ? "$name\t$host\n" : "$name\n", $name, $host);
}

# Any bytes that amount to one line; $name and $host if they are a job.
sub raw($self, $bytes, $name = undef, $host = undef) {
	$self->{sent}++;
	my $control = defined $name ? $self->{spool}->read($name) : undef;
	my @selected = $control ? Spool::selected($control, $self->{channel}, $host // $self->{host} // '') : ();
	my $job = { name => $name, control => $control, open => {}, resync => 0, line => $bytes };
	for my $r (@selected) {
		my $key = "$control->{id}/$r->{offset}";
		$job->{open}{$key} = 1;
		delete $self->{reports}{$key};    # of an earlier round
		$self->{waiting}{$key} = { job => $job, recipient => $r };
	}
	push @{$self->{jobs}}, $job;
	$self->{agent}->send($bytes);
}

# The line of a job that is under way already: nothing is left to select.
sub job_again($self, $name, $host) {
	$self->raw("$name\t$host\n");
	$self->{jobs}[-1]{name} = $name;
}

sub idle($self) { $self->raw("#idle\n") }

# Bytes that are no whole line, or that the agent need not answer.
sub stray($self, $bytes) { $self->{agent}->send($bytes) }

# True when every line was answered by its #hungry.
sub satisfied($self) { $self->{hungry} >= $self->{sent} + 1 || !$self->{agent}{socket} }

# ---- what it hears ----

sub _line($self, $line) {
	if (!$self->{hungry} && $line !~ /^#/) {
		push @{$self->{comments}}, $line;    # of somebody who does not even start
	} elsif ($line =~ /^#hungry/) {
		$self->_hungry($line);
	} elsif ($line =~ /^#resync (.+)$/) {
		$self->_resync($1);
	} elsif ($line =~ /^#/) {
		push @{$self->{comments}}, $line;
		$self->problem('control byte in comment: ' . printable($line)) if $line =~ /[\x00-\x08\x0a-\x1f\x7f]/;
	} else {
		$self->_report($line);
	}
}

sub _hungry($self, $line) {
	$self->problem("malformed: $line") if $line ne '#hungry';
	my $answered = $self->{hungry}++;    # the first one answers nothing
	return $self->problem('#hungry without a line to answer') if $answered > $self->{sent};
	my $finished = grep { $_->{resync} || !%{$_->{open}} } @{$self->{jobs}};
	return if $finished >= $answered;
	my ($open) = map { keys %{$_->{open}} } @{$self->{jobs}};
	$self->problem("#hungry number " . ($answered + 1) . " before the report of $open");
}

sub _resync($self, $name) {
	push @{$self->{resyncs}}, $name;
	# of several jobs with this name it speaks of one without recipients, if there is one
	my ($job) = sort { %{$a->{open}} <=> %{$b->{open}} } grep { ($_->{name} // '') eq $name && !$_->{resync} } @{$self->{jobs}};
	return $self->problem("#resync for a job that was not given: $name") unless $job;
	$job->{resync} = 1;
	$self->problem("#resync $name though there were recipients to settle") if %{$job->{open}} && !$self->{damaged}{$name};
	delete $self->{waiting}{$_} for keys %{$job->{open}};
	$job->{open} = {};
}

sub _report($self, $line) {
	my ($key, $notary, $word, $text) = $line =~ /^(\d+\/\d+)\t([^\t]*)\t(\w+)(?: ([^\t]*))?$/
		or return $self->problem('neither report nor comment: ' . printable($line));
	$text //= '';
	my $outcome = $outcome_of{$word} or return $self->problem("unknown word: " . printable($line));
	my $known = $self->{waiting}{$key};
	return $self->problem("report for a recipient that is not in work: " . printable($line)) unless $known;
	return $self->problem("second report for $key: " . printable($line)) if $self->{reports}{$key};
	delete $known->{job}{open}{$key};
	my $report = $self->{reports}{$key} = { key => $key, word => $word, outcome => $outcome, text => $text,
		recipient => $known->{recipient}, job => $known->{job} };
	$self->problem("control byte in report: " . printable($line)) if $line =~ /[\x00\x02-\x08\x0a-\x0c\x0e-\x1f\x7f]/;
	$report->{seconds} = $1 if $word eq 'retryat' && $report->{text} =~ s/^\+?(\d+) ?//;
	$self->problem("retryat without a number: " . printable($line)) if $word eq 'retryat' && !defined $report->{seconds};
	$self->_notary($report, $notary);
	$self->{on_report}->($report) if $self->{on_report};
}

sub _notary($self, $report, $notary) {
	if ($empty_notary{$report->{word}}) {
		$self->problem("notary with $report->{word}: " . printable($notary)) if $notary ne '';
		return;
	}
	$self->notary_fields("report of $report->{key}", $report, $report->{outcome}, split /\x01/, $notary, -1);
}

# Checks the six fields and keeps what is of use in $into: status, code, words.
sub notary_fields($self, $where, $into, $outcome, @field) {
	my $shown = printable(join '|', @field);
	$self->problem("$where: notary has " . @field . " fields: $shown") if @field != 6;
	my ($recipient, $action, $status, $diagnostic, $remote, $agent) = map { $_ // '' } @field[0 .. 5];
	my $wanted = $outcome ne 'delivered' ? 'failed' : $self->{relay} ? 'relayed' : 'delivered';
	$self->problem("$where: action is not $wanted: $shown") if $action ne $wanted;
	my $user = $into->{recipient}{user} =~ s/[\x00-\x1f\x7f]+/ /gr;
	$self->problem("$where: names $recipient, not $user") if $recipient ne $user && $recipient ne "\x03";
	$self->problem("$where: status: $shown") unless $status =~ /^[245]\.\d{1,3}\.\d{1,3}(?: \(.*\))?$/;
	# a code is a server's; trouble of the agent's own has none
	$self->problem("$where: diagnostic: $shown") unless $diagnostic =~ /^(?:smtp; (\d{3}) \((.*)\)|x-local; (.+))$/s;
	@$into{qw(status code words remote)} = ($status, $1 // 'none', $2 // $3, $remote);
	$self->problem("$where: remote: $shown")
		unless $remote =~ /^(?:(?:dns; \S+|X-IP-addr; \[\S+\])?(?: \(.*\))?)$/;
	$self->problem("$where: agent: $shown") unless $agent =~ /^[\w-]+\[\d+\]$/;
}

# ---- afterwards ----

# Ends the agent as a scheduler does, by end of file; complains if it does not go.
sub finish($self, $seconds = 10) {
	$self->{agent}->end;
	$self->problem("agent did not end within $seconds s after end of file") unless $self->{agent}->reap($seconds);
	return $self->{agent}->ending;
}

# Looks at the control files, or at that of one job: tags fit the reports, d lines are there and whole, nothing
# else has changed.
sub check_files($self, $name = undef) {
	my %seen;
	for my $job (@{$self->{jobs}}) {
		my $before = $job->{control} or next;
		next if defined $name && $before->{name} ne $name;
		next if $seen{$before->{name}}++;
		my $after = $self->{spool}->read($before->{name});
		if (!$after) {
			$self->problem("control file $before->{name} is gone");
			next;
		}
		$self->_check_bytes($before, $after);
		$self->_check_diagnostics($after, scalar @{$before->{diagnostics}});
	}
}

# Only tags and pid fields of `r` lines may differ, and lines may have been added at the end.
sub _check_bytes($self, $before, $after) {
	my ($old, $new) = ($before->{bytes}, substr $after->{bytes}, 0, length $before->{bytes});
	for my $r (@{$after->{recipients}}) {
		my $report = $self->{reports}{"$after->{id}/$r->{offset}"};
		my $wanted = $report ? { delivered => '+', failed => '-', deferred => ' ' }->{$report->{outcome}} : undef;
		$wanted //= substr $old, $r->{offset} + 1, 1;
		$self->problem("$after->{name}: tag of $r->{user} is '$r->{tag}', expected '$wanted'")
			if $r->{tag} ne $wanted && !$self->{killed};
		$self->problem("$after->{name}: pid of $r->{user} is not blank") if $report && $r->{pid} ne '';
		my $n = $r->{ancient} ? 1 : 7;
		substr $_, $r->{offset} + 1, $n, '.' x $n for $old, $new;
	}
	$self->problem("$after->{name}: bytes outside of tags have changed") if $old ne $new;
}

sub _check_diagnostics($self, $after, $old) {
	my @new = @{$after->{diagnostics}};
	splice @new, 0, $old;
	my %by_recipient;
	push @{$by_recipient{$_->{id} // "?"}}, $_ for @new;
	for my $r (@{$after->{recipients}}) {
		my $report = $self->{reports}{"$after->{id}/$r->{offset}"} or next;
		my @d = @{delete $by_recipient{$r->{offset}} // []};
		my $wanted = $report->{word} =~ /^(?:error2|ok2)$/ ? 1 : 0;
		$self->problem("$after->{name}: " . @d . " d lines for $r->{user}, expected $wanted") if @d != $wanted;
		$self->_check_diagnostic($after, $r, $report, $_) for @d;
	}
	$self->problem("$after->{name}: d line for nobody: " . printable($_->{line})) for map { @$_ } values %by_recipient;
}

sub _check_diagnostic($self, $after, $r, $report, $d) {
	my $where = "$after->{name}: d line of $r->{user}";
	return $self->problem("$where is malformed: " . printable($d->{line})) unless $d->{notary};
	$self->problem("$where: header offset $d->{header_offset}, expected $r->{header_offset}")
		if $d->{header_offset} != $r->{header_offset};
	$self->problem("$where: DSN offset $d->{dsn_offset}, expected $r->{dsn_offset}") if $d->{dsn_offset} != $r->{dsn_offset};
	$self->problem("$where: time $d->{time}") if $d->{time} < $self->{started} - 1 || $d->{time} > time + 1;
	$self->problem("$where: tag is not blank") if $d->{tag} ne ' ';
	$self->notary_fields($where, $report, $report->{outcome}, @{$d->{notary}});
}

1;
