package ProbeRun;

# Plays a scenario that asks (lmtp -B) instead of delivering: runs each of its probes against the scripted
# server and compares the lines that come out.

use v5.36;
use parent 'ScenarioRun';
use Time::HiRes ();
use Agent;
use Bytes qw(printable);
use Spool;

my %status = (yes => 0, ready => 0, no => 1, 'could not tell' => 75);

sub play($class, $scenario, $program) {
	my $self = bless { scenario => $scenario, program => $program, loop => Loop->new, problems => [], said => [] }, $class;
	$self->{dir} = File::Temp->newdir('/tmp/zl-XXXXXX');
	my $start = Time::HiRes::time();
	$self->{spool} = Spool->new("$self->{dir}/post", qw(queue transport));
	$self->_start_server;
	$self->_start_front if defined $scenario->{tls};
	$self->_make_files;
	$self->_probe($_) for @{$scenario->{probes}};
	$self->{took} = Time::HiRes::time() - $start;
	$self->{loop}->run(1, sub { !grep { $_->{fh} && !$_->{eof} } $self->_connections }) if $self->{server};
	push @{$self->{problems}}, $self->{server} ? @{$self->{server}{problems}} : ();
	$self->_check_written;
	$self->_check_handshakes;
	$self->_check_received;
	$self->_check_scripts;
	$self->_check_counts;
	$self->_check_time;
	$self->{server}->close if $self->{server};
	$self->{front}->stop if $self->{front};
	return $self;
}

# One run of lmtp -B.
sub _probe($self, $probe) {
	my @words = split ' ', $self->_fill_in($probe->{words});
	my @options = grep { /^-/ } @words;
	my @lines;
	$self->{server}->close if grep { $_ eq '-gone' } @options;
	my $agent = Agent->start(loop => $self->{loop}, program => $self->{program}, directory => "$self->{dir}",
		arguments => [$self->_arguments, (grep { $_ ne '-gone' } @options), '-B', '--', grep { !/^-/ } @words],
		on_line => sub ($line) { push @lines, $line });
	my $ended = $self->{loop}->run($self->patience, sub { !$agent->{socket} });
	$agent->signal('KILL') unless $ended;
	waitpid $agent->{pid}, 0;
	push @{$self->{said}}, @lines, "(ended with $?)";
	return $self->problem("probe $probe->{words}: waited in vain for its end") unless $ended;
	$self->_check_answers($probe, \@lines, $? >> 8);
}

# Expectations come first: complaints may stand between the answers.
sub _check_answers($self, $probe, $lines, $status) {
	my $worst = 0;
	my @answers = grep { /\t|^\{/ } @$lines;
	my @complaints = grep { !/\t|^\{/ } @$lines;
	for my $e (@{$probe->{answers}}) {
		my ($who, $answer, $text) = map { $self->_fill_in($_) } @$e;
		if ($who eq 'complaint') {
			$self->problem("no complaint with $text") unless grep { index($_, $text) >= 0 } @complaints;
			next;
		}
		my $line = shift @answers // '';
		$self->problem("expected $who, $answer, $text; got " . printable($line, 500))
			unless ($who eq 'json' || $line =~ /^\Q$who\E\t\Q$answer\E\t/) && ($text =~ m{^/(.*)/$} ? $line =~ /$1/ : index($line, $text) >= 0);
		$worst = $status{$answer} // 0 if ($status{$answer} // 0) > $worst;
	}
	$self->problem('more lines: ' . printable(join "\n", @answers)) if @answers;
	$self->problem('complaints: ' . printable(join "\n", @complaints))
		if @complaints && !grep { $_->[0] eq 'complaint' } @{$probe->{answers}};
	$self->problem("ended with $status, expected $worst") if $status != $worst;
}

sub transcript($self) {
	my @lines = ('the probes said:', map { '  ' . printable($_, 500) } @{$self->{said}});
	for ($self->{server} ? @{$self->{server}{transcript}} : ()) {
		my ($n, $who, $bytes) = @$_;
		push @lines, "connection $n $who: " . printable($bytes, 500);
	}
	return @lines;
}

1;
