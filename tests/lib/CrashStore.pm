package CrashStore;

# A store that remembers what it took, and spools that are worked on by agents which get killed.  After each kill
# and at the end the promises are checked:
#
#   - a recipient marked delivered was taken by the store;
#   - a recipient whose delivery was marked or reported is never delivered again: duplicates only where the final
#     reply was on its way;
#   - a recipient marked failed was refused by the store, and its d line is there;
#   - in the end everybody is delivered or failed.

use v5.36;
use File::Temp ();
use Loop;
use LmtpServer;
use Scheduler;
use Spool;

# Options: program, arguments => [...], caps => [...], messages, recipients (each has 1 to that many),
# faults => probability that the store breaks a connection at some step, environment => {...} of the agent, unsynced => how often a
# d line may stand in the file without being synced.
sub new($class, %o) {
	my $self = bless { faults => 0, %o, loop => Loop->new, taken => {}, refused => {}, settled => {}, problems => [],
		duplicates => 0, kills => 0, idle => {} }, $class;
	$self->{dir} = File::Temp->newdir('/tmp/zl-XXXXXX');
	$self->{spool} = Spool->new("$self->{dir}/post");
	$self->{server} = LmtpServer->new(loop => $self->{loop}, target => 'unix', path => "$self->{dir}/s", caps => $o{caps},
		lenient => 1, script => sub ($n) { [{ do => 'serve' }] }, rules => [sub { $self->_answer(@_) }],
		on_content => sub ($transaction, $connection) { $self->_take($transaction) });
	$self->_fill;
	return $self;
}

sub problem($self, $text) { push @{$self->{problems}}, $text }

# Every seventh recipient is one that the store refuses, half of them behind the text.
sub _fill($self) {
	my $serial = 0;
	for my $id (1001 .. 1000 + $self->{messages}) {
		my @users = map { $serial++; ($serial % 14 == 7 ? 'unknown' : $serial % 14 == 0 ? 'full' : 'user') . "$serial.$id" }
			1 .. 1 + $id % $self->{recipients};
		$self->{spool}->add(name => $id, body => "text of $id\n" x 20, groups => [{
			sender => ['smtp', 'mx', 'ann@example.org'], header => "Subject: $id\n",
			recipients => [map { { channel => 'lmtp', host => 'store', user => $_ } } @users],
		}]);
	}
}

# ---- the store ----

sub _answer($self, $stage, $key, $connection) {
	return [{ do => 'close' }] if rand() < $self->{faults};
	if ($stage eq 'RCPT' && $key =~ /^unknown/) {
		$self->{refused}{$key} = 1;
		return [{ do => 'line', text => '550 5.1.1 no such user' }];
	}
	if ($stage eq 'final' && $key =~ /^full/) {
		$self->{refused}{$key} = 1;
		return [{ do => 'line', text => '552 5.2.2 full' }];
	}
	return undef;
}

# The text has arrived whole: from now on it is the store's, whether its replies arrive or not.
sub _take($self, $transaction) {
	for my $r (@{$transaction->{accepted}}) {
		my $user = $r->{address};
		next if $user =~ /^full/;
		$self->{duplicates}++ if $self->{taken}{$user}++;
		$self->problem("$user was delivered again after that was $self->{settled}{$user}") if $self->{settled}{$user};
	}
}

# ---- rounds ----

# One agent works on everything that is open, until it is done or $killer->($scheduler) has made an end of it.
# Returns true if the agent came to its end by itself.
sub round($self, $program, $arguments, $killer = undef) {
	my $spool = $self->{spool};
	my @open = $self->_open;
	return 1 unless @open;
	$spool->clear_stale_locks($_) for @open;
	my $scheduler = Scheduler->new(loop => $self->{loop}, spool => $spool, channel => 'lmtp', program => $program,
		arguments => [@$arguments, '-c', 'lmtp', '-h', 'client.example', '-F', "UNIX:$self->{dir}/s"],
		environment => $self->{environment}, on_report => sub ($report) { $self->_reported($report) });
	my $agent = $scheduler->{agent};
	$self->{loop}->run(20, sub { $scheduler->{hungry} || !$agent->{socket} });
	$killer->($scheduler) if $killer;
	for (@open) {
		last unless $agent->{socket};
		$scheduler->job($_, 'store');
	}
	$self->{loop}->run(60, sub { $scheduler->satisfied }) or $self->problem('the agent does not come to an end');
	$agent->end;
	$agent->reap(20) or $self->problem('the agent does not end');
	my $ended = $agent->ending eq '0';
	$self->{kills}++ unless $ended;
	$self->_check_protocol($scheduler, $ended);
	$self->check_marks;
	return $ended;
}

# Job names with somebody left.
sub _open($self) {
	my @names;
	for my $name (sort keys %{$self->{spool}{messages}}) {
		my $control = $self->{spool}->read($name) or next;
		push @names, $name if grep { $_->{tag} !~ /[+-]/ } @{$control->{recipients}};
	}
	return @names;
}

sub _reported($self, $report) {
	my $user = $report->{recipient}{user};
	$self->{settled}{$user} = 'reported' if $report->{outcome} eq 'delivered';
	$self->problem("$user is reported delivered and was not taken") if $report->{outcome} eq 'delivered' && !$self->{taken}{$user};
	$self->problem("$user is reported failed and was not refused") if $report->{outcome} eq 'failed' && !$self->{refused}{$user};
}

# What the agent said must be right as far as it got.
sub _check_protocol($self, $scheduler, $ended) {
	my @said = @{$scheduler->{problems}};
	# the last line of one that was killed may be cut; killat has a last word of its own
	@said = grep { !/without line end|killat:/ } @said;
	$self->problem($_) for @said;
}

sub check_marks($self) {
	for my $name (sort keys %{$self->{spool}{messages}}) {
		my $control = $self->{spool}->read($name) or next;
		my %diagnostics;
		$diagnostics{$_->{id} // '?'}++ for @{$control->{diagnostics}};
		$self->_check_mark($_, $diagnostics{$_->{offset}} // 0) for @{$control->{recipients}};
		$self->problem("$name: damaged d line") if grep { !$_->{notary} } @{$control->{diagnostics}};
	}
}

sub _check_mark($self, $r, $diagnostics) {
	my $user = $r->{user};
	if ($r->{tag} eq '+') {
		$self->problem("$user is marked delivered and was not taken") unless $self->{taken}{$user};
		$self->{settled}{$user} //= 'marked';
	} elsif ($r->{tag} eq '-') {
		$self->problem("$user is marked failed and was not refused") unless $self->{refused}{$user};
		$self->problem("$user is marked failed without a d line") unless $diagnostics;
	} elsif ($r->{tag} ne ' ' && $r->{tag} ne '~') {
		$self->problem("$user has the tag $r->{tag}");
	}
	$self->problem("$user has $diagnostics d lines after $self->{kills} kills") if $diagnostics > 1 + $self->{kills} + ($self->{unsynced} // 0);
	$self->problem("$user is reported delivered and marked '$r->{tag}'")
		if ($self->{settled}{$user} // '') eq 'reported' && $r->{tag} ne '+';
}

# Rounds without kills and faults until nothing is open, then: was anybody lost?
sub finish($self) {
	$self->{faults} = 0;
	for (1 .. 5) {
		last unless $self->_open;
		$self->round($self->{program}, $self->{arguments});
	}
	my @open = $self->_open;
	$self->problem("never settled: @open") if @open;
	$self->_check_lost;
	$self->{server}->close;
	return @{$self->{problems}};
}

sub _check_lost($self) {
	for my $control (values %{$self->{spool}{messages}}) {
		for my $user (map { $_->{user} } @{$control->{recipients}}) {
			$self->problem("$user was lost") unless $self->{taken}{$user} || $self->{refused}{$user};
		}
	}
}

1;
