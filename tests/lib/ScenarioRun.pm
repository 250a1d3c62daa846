package ScenarioRun;

# Plays one scenario: spool, scripted server, agent; then compares.  problems() is empty if all was as
# it should be, transcript() tells people what happened.

use v5.36;
use File::Temp ();
use Time::HiRes ();
use Bytes qw(unescape printable);
use Loop;
use Spool;
use LmtpServer;
use Scheduler;
use Secrecy;
use Syslog;
use TlsPeer;

# What the secrets file calls the host.
my %hosts = (unix => 'UNIX:{socket}', tcp => '127.0.0.1', tcp6 => '[IPv6:::1]', localhost => 'localhost',
	absent => 'UNIX:{socket}', refused => '127.0.0.1');

sub play($class, $scenario, $program) {
	my $self = bless { scenario => $scenario, program => $program, loop => Loop->new, problems => [] }, $class;
	$self->{dir} = File::Temp->newdir('/tmp/zl-XXXXXX');    # short: socket paths are limited to 107 bytes
	my $start = Time::HiRes::time();
	$self->_make_spool;
	$self->_start_server;
	$self->_start_front if defined $scenario->{tls};
	$self->_make_files;
	$self->_start_agent;
	$self->_feed;
	$self->_finish;
	$self->{took} = Time::HiRes::time() - $start;
	$self->_check;
	$self->{server}->close if $self->{server};
	$self->{front}->stop if $self->{front};
	return $self;
}

sub problem($self, $text) { push @{$self->{problems}}, $text }
sub problems($self) { @{$self->{problems}} }

# Seconds for all of it.  5 s, where a scenario names no other time, only keep one that hangs from staying; a slow machine has more.
sub patience($self) {
	my $within = $self->{scenario}{within};
	return ($within == 5 ? 30 : $within) * ($ENV{ZLMTP_SANITIZED} ? 4 : 1);
}

# What its parts know of each other keeps them alive: whoever plays many ends each, and has its directory and descriptors back.
sub end($self) {
	%$_ = () for grep { defined } @$self{qw(server scheduler loop)}, $self;
}

# ---- the parts ----

sub _make_spool($self) {
	my $s = $self->{scenario};
	my $spool = $self->{spool} = Spool->new("$self->{dir}/post", qw(queue transport));
	for my $message (@{$s->{messages}}) {
		$spool->add(%$message);
		_spoil($spool->message_path($message->{name}), $message->{file}) if $message->{file};
	}
	$spool->put($spool->control_path($_), $s->{controls}{$_}) for keys %{$s->{controls}};
}

# Files may name the port, which is known when the server runs.
sub _make_files($self) {
	my $s = $self->{scenario};
	for my $name (sort keys %{$s->{files}}) {
		$self->{spool}->put("$self->{dir}/$name", $self->_fill_in($s->{files}{$name}));
		chmod $s->{modes}{$name}, "$self->{dir}/$name" if defined $s->{modes}{$name};
	}
	return unless defined $s->{secret};
	$self->{secrecy} = Secrecy->new(split ' ', unescape($s->{secret}), 2);
	$self->{secrecy}->write_file("$self->{dir}/secrets", $self->_fill_in($hosts{$s->{target}}));
}

# What can befall a message file.
sub _spoil($path, $how) {
	if ($how =~ /^cut (\d+)$/) {
		truncate $path, $1 or die "$path: $!\n";
		return;
	}
	unlink $path;
	return if $how eq 'missing';
	return mkdir $path if $how eq 'directory';
	return symlink $path =~ s{.*/}{}r, $path if $how eq 'loop';    # cannot be opened, and exists: ELOOP, as root too
	die "unknown fate of a message file: $how\n";
}

sub _start_server($self) {
	my $s = $self->{scenario};
	return if $s->{target} =~ /^(?:absent|refused)$/;
	my $listen = $s->{target} =~ /^(?:unix|tcp6)$/ ? $s->{target} : 'tcp';
	my $rest = $s->{servers}{rest} // { steps => [], rules => [] };
	$self->{server} = LmtpServer->new(
		loop => $self->{loop}, target => defined $s->{tls} ? 'unix' : $listen,
		protocol => $s->{play}, path => $self->{dir} . (defined $s->{tls} ? '/behind' : '/s'), lenient => defined $s->{lenient},
		defined $s->{caps} ? (caps => [split /,\s*/, $s->{caps}]) : (),
		defined $s->{backlog} ? (backlog => $s->{backlog}, deaf => 1) : (),
		signal => sub ($name) { $self->_signal($name) },
		script => sub ($n) { [@{($s->{servers}{$n} // $rest)->{steps}}, { do => 'serve' }] },
		rules => [sub ($stage, $key, $connection) {
			_rule(($s->{servers}{$connection->{number}} // $rest)->{rules}, $stage, $key);
		}],
	);
}

# TLS between the agent and the scripted server.
sub _start_front($self) {
	my $s = $self->{scenario};
	my ($certificate, @more) = split ' ', $self->_fill_in($s->{tls});
	$self->{front} = TlsPeer->start(program => ($ENV{BUILD_DIR} // '.') . '/tests/lib/tlspeer',
		listen => $s->{target} eq 'unix' ? "unix:$self->{dir}/s" : '127.0.0.1', backend => "$self->{dir}/behind",
		certificate => $certificate, more => [map { unescape($_) } @more]);
}

sub _rule($rules, $stage, $key) {
	for my $rule (@$rules) {
		next if $rule->{stage} ne $stage || $rule->{used} || $key !~ $rule->{like};
		$rule->{used} = 1 if $rule->{once};
		return $rule->{actions};
	}
	return undef;
}

# {socket}, {port}, {dir} and more in options and files.
sub _fill_in($self, $text) {
	my %known = (
		dir => sub { $self->{dir} }, socket => sub { "$self->{dir}/s" }, port => sub { $self->_port },
		certs => sub { Certificates->directory }, fingerprint => sub { Certificates->fingerprint('good') },
	);
	return $text =~ s/\{([a-z]+)\}/($known{$1} \/\/ die "unknown {$1}\n")->()/ger;
}

sub _port($self) {
	return $self->{port} //= $self->{front} ? $self->{front}->port : $self->{server} && $self->{server}{target} ne 'unix' ? $self->{server}->port : _unused_port();
}

sub _unused_port() {
	my $socket = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Listen => 1) or die "no port: $@\n";
	return $socket->sockport;
}

sub _arguments($self) {
	my $s = $self->{scenario};
	my $smtp = $s->{play} eq 'smtp' ? '-O protocol=smtp ' : '';
	return split ' ', $self->_fill_in($smtp . $s->{command}) if defined $s->{command};
	my %reach = (
		unix => '-F UNIX:{socket}', absent => '-F UNIX:{socket}', tcp => '-F [127.0.0.1] -p {port}',
		refused => '-F [127.0.0.1] -p {port}', tcp6 => '-F [IPv6:::1] -p {port}', localhost => '-F localhost -p {port}',
	);
	my $reach = $reach{$s->{target}} // die "unknown target $s->{target}\n";
	my $more = $smtp . (defined $s->{secret} ? '-A {dir}/secrets -s ' : '');
	$more .= '-l {dir}/log ' if defined $s->{secret} || @{$s->{log}};
	return split ' ', $self->_fill_in("-c $s->{channel} -h client.example $reach $more" . ($s->{options} // ''));
}

sub _start_agent($self) {
	my $s = $self->{scenario};
	my %environment = map { split /=/, $self->_fill_in($_), 2 } split ' ', $s->{environment} // '';
	my ($program, @arguments) = ($self->{program}, $self->_arguments);
	if ($self->{secrecy} && Syslog->possible) {
		$self->{syslog} = Syslog->new($self->{loop}, $self->{dir});
		($program, @arguments) = $self->{syslog}->command($program, @arguments);
	}
	$self->{scheduler} = Scheduler->new(loop => $self->{loop}, spool => $self->{spool}, channel => $s->{channel},
		relay => $s->{play} eq 'smtp', host => $s->{"argument-host"}, damaged => { map { $_ => 1 } split ' ', $s->{resync} // '' },
		program => $program, arguments => \@arguments, environment => \%environment);
}

sub _signal($self, $name) {
	$self->{scheduler}{killed} = 1 if $name eq 'KILL';
	$self->{scheduler}{agent}->signal($name);
}

# ---- what the scheduler does ----

sub _feed($self) {
	my $s = $self->{scenario};
	$self->{deadline} = Time::HiRes::time() + $self->patience;
	my $scheduler = $self->{scheduler};
	$self->_until('the first #hungry', sub { $scheduler->{hungry} || !$scheduler->{agent}{socket} });
	for my $line (@{$s->{jobs}{lines}}) {
		my ($what, $value) = split ' ', $line, 2;
		my $method = "_feed_$what";
		die "$s->{path}: unknown jobs line: $line\n" unless $self->can($method);
		$self->$method($value // '');
	}
	$self->_feed_wait;
}

sub _until($self, $what, $condition) {
	my $left = $self->{deadline} - Time::HiRes::time();
	return if $self->{loop}->run($left > 0 ? $left : 0, $condition);
	$self->problem("waited in vain for $what") unless $self->{waited_in_vain}++;
}

sub _feed_job($self, $value) {
	my ($name, $host) = split ' ', $value;
	$host //= $self->{scenario}{host};
	$self->{scheduler}->job($name, $host eq 'none' ? undef : $host);
}

sub _feed_wait($self, $value = '') {
	$self->_until('#hungry', sub { $self->{scheduler}->satisfied });
}

sub _feed_again($self, $value) { $self->{scheduler}->job_again($value, $self->{scenario}{host}) }
sub _feed_idle($self, $value) { $self->{scheduler}->idle }
sub _feed_line($self, $value) { $self->{scheduler}->raw(unescape("$value\\n")) }
sub _feed_stray($self, $value) { $self->{scheduler}->stray(unescape($value)) }
sub _feed_signal($self, $value) { $self->_signal($value) }
sub _feed_end($self, $value) { $self->{scheduler}{agent}->end }
sub _feed_pause($self, $value) { $self->{loop}->run($value, sub { 0 }) }

sub _feed_gone($self, $value) {
	$self->_until('the agent to end', sub { !$self->{scheduler}{agent}{socket} });
}

# A number of reports.
sub _feed_reports($self, $value) {
	$self->_until("$value reports", sub { keys %{$self->{scheduler}{reports}} >= $value });
}

# A job line for 101 in several writes.
sub _feed_pieces($self, $value) {
	my ($first, @rest) = split ' ', $value;
	$self->{scheduler}->raw(unescape($first), 101, $self->{scenario}{host});
	for (@rest) {
		$self->_feed_pause(0.02);
		$self->{scheduler}->stray(unescape($_));
	}
}

# Changes the spool while the agent runs.
sub _feed_truncate($self, $value) {
	my ($file, $length) = split ' ', $value;
	truncate $self->{spool}->dir . "/$file", $length or die "$value: $!\n";
}

sub _feed_remove($self, $value) { unlink $self->{spool}->dir . "/$value" or die "$value: $!\n" }

# ---- what must have come out ----

sub _finish($self) {
	my $scheduler = $self->{scheduler};
	my $left = $self->{deadline} - Time::HiRes::time();
	my $ending = $scheduler->finish($self->{waited_in_vain} ? 0 : $left > 1 ? $left : 1);
	my $wanted = $self->{scenario}{exit};
	$self->problem("lines that are no comments: " . printable(join "\n", grep { !/^#/ } @{$scheduler->{comments}}))
		if $wanted ne '64' && grep { !/^#/ } @{$scheduler->{comments}};
	$self->problem("agent ended with $ending, expected $wanted") if $ending ne $wanted;
	# what is still in the sockets, so that the record is complete
	$self->{loop}->run(1, sub { !grep { $_->{fh} && !$_->{eof} } $self->_connections }) if $self->{server};
}

sub _connections($self) { $self->{server} ? @{$self->{server}{connections}} : () }

sub _check($self) {
	my ($s, $scheduler) = @$self{qw(scenario scheduler)};
	$scheduler->check_files;
	push @{$self->{problems}}, @{$scheduler->{problems}}, $self->{server} ? @{$self->{server}{problems}} : ();
	my $lines = $scheduler->{hungry} - 1;
	$self->problem("$lines #hungry for $scheduler->{sent} lines")
		if $lines != $scheduler->{sent} && $s->{exit} eq '0' && !$s->{signalled} && !$self->_was_signalled;
	$self->_check_reports;
	$self->_check_resync;
	$self->_check_comments;
	$self->_check_written;
	$self->_check_handshakes;
	$self->_check_secrecy;
	$self->_check_received;
	$self->_check_contents unless ($s->{contents} // '') eq 'any';
	$self->_check_scripts;
	$self->_check_counts;
	$self->_check_time;
}

sub _was_signalled($self) {
	my $s = $self->{scenario};
	return grep { /^signal/ } @{$s->{jobs}{lines}}, map { $_->{do} // '' } map { @{$_->{steps}}, map { @{$_->{actions}} } @{$_->{rules}} } values %{$s->{servers}};
}

# Every recipient that the agent was to take must be expected, and be as expected.
sub _check_reports($self) {
	my $scheduler = $self->{scheduler};
	my %used;
	for my $job (@{$scheduler->{jobs}}) {
		my $control = $job->{control} or next;
		for my $r (@{$control->{recipients}}) {
			my $key = "$control->{id}/$r->{offset}";
			my $report = $scheduler->{reports}{$key};
			next unless $scheduler->{waiting}{$key};
			my ($e) = grep { _is_about($_, $control, $r) } @{$self->{scenario}{report}};
			next $self->problem("nothing is expected for $control->{name}/$r->{user}: " . _shown($report)) unless $e;
			$used{$e} = 1;
			$self->_check_report("$control->{name}/$r->{user}", $e, $report);
		}
	}
	$self->problem("no such recipient was in work: $_->{line}")
		for grep { !$used{$_} && $_->{user} ne '*' } @{$self->{scenario}{report}};
}

sub _is_about($e, $control, $r) {
	return 0 if defined $e->{message} && $e->{message} ne $control->{name};
	return $e->{user} eq '*' || $e->{user} eq $r->{user};
}

sub _shown($report) {
	return 'no report' unless $report;
	return join ' ', $report->{word}, map({ $report->{$_} // '-' } qw(status code words)), '|', printable($report->{text});
}

sub _check_report($self, $who, $e, $report) {
	my $shown = _shown($report);
	return if $e->{words}{none} && !$report;
	return $self->problem("$who: expected $e->{line}, got $shown") if !$report || !$e->{words}{$report->{word}};
	for my $field (qw(status code)) {
		next unless defined $e->{$field};
		$self->problem("$who: expected $field as in $e->{line}, got $shown") if ($report->{$field} // '') !~ $e->{$field};
	}
	return unless $e->{text};
	my $text = join "\n", $report->{words} // '', $report->{text};
	$self->problem("$who: expected the text $e->{text}, got $shown") if $text !~ $e->{text};
}

sub _check_resync($self) {
	my @wanted = split ' ', $self->{scenario}{resync} // '';
	my @got = @{$self->{scheduler}{resyncs}};
	$self->problem("#resync for (@got), expected (@wanted)") if join(' ', sort @got) ne join(' ', sort @wanted);
}

sub _check_comments($self) {
	my @comments = @{$self->{scheduler}{comments}};
	for my $wanted (@{$self->{scenario}{comment}}) {
		my $like = $wanted =~ m{^/(.*)/$} ? qr/$1/ : qr/\Q$wanted\E/;
		$self->problem("no comment with $wanted") unless grep { $_ =~ $like } @comments;
	}
}

# The log of -l, and other files.
sub _check_written($self) {
	my $s = $self->{scenario};
	for (map({ ['log', $_] } @{$s->{log}}), @{$s->{written} // []}) {
		my ($file, $wanted) = @$_;
		my $like = $wanted =~ m{^/(.*)/$} ? qr/$1/ : qr/\Q$wanted\E/;
		my @lines = split /\n/, Spool::slurp("$self->{dir}/$file") // '';
		$self->problem("no line in $file with $wanted") unless grep { $_ =~ $like } @lines;
	}
}

sub _check_handshakes($self) {
	my $wanted = $self->{scenario}{handshakes} // return;
	my $got = join ', ', map { s/^handshake //r } $self->{front}->stop;
	my $like = $wanted =~ m{^/(.*)/$} ? qr/^(?:$1)$/ : qr/^\Q$wanted\E$/;
	$self->problem("handshakes: expected $wanted, got $got") if $got !~ $like;
}

# Nothing that the agent has written may hold the password in any form.
sub _check_secrecy($self) {
	my $secrecy = $self->{secrecy} // return;
	my @syslog = $self->{syslog} ? $self->{syslog}->lines : ();
	$self->problem('nothing came by syslog') if $self->{syslog} && !@syslog && keys %{$self->{scheduler}{reports}};
	$self->problem("the secret is in $_") for $secrecy->leaks_in_lines('what it said', @{$self->{scheduler}{agent}{lines}}),
		$secrecy->leaks_in_lines('syslog', @syslog), $secrecy->leaks_below($self->{dir}, "$self->{dir}/secrets");
}

sub _check_received($self) {
	my $wanted = $self->{scenario}{received} or return;
	my @got = @{$self->{server}{commands}};
	for my $i (0 .. ($#got > $#$wanted ? $#got : $#$wanted)) {
		my ($text, $like) = @{$wanted->[$i] // ['nothing', qr/^$/]};
		next if defined $got[$i] && $got[$i] =~ $like;
		return $self->problem("command " . ($i + 1) . ": expected $text, got " . printable($got[$i] // 'nothing'));
	}
}

# Each text that the server took must be the text of a message for exactly these recipients.
sub _check_contents($self) {
	return unless $self->{server};
	for my $t ($self->{server}->complete) {
		for my $r (@{$t->{accepted}}) {
			my @candidates = $self->_expected_for($t, $r->{address});
			next if grep { $_ eq $t->{content} } @candidates;
			$self->problem("text for $r->{address}: " . _difference($t->{content}, $candidates[0] // '(no such recipient)'));
		}
	}
}

sub _expected_for($self, $t, $address) {
	my @texts;
	for my $control (values %{$self->{spool}{messages}}, map { $_->{control} // () } @{$self->{scheduler}{jobs}}) {
		for my $r (grep { $_->{user} eq $address && $_->{sender} } @{$control->{recipients}}) {
			my $sender = $r->{sender}[0] eq 'error' ? '<>' : '<' . $r->{sender}[2] =~ s/^<(.*)>$/$1/r . '>';
			next if defined $t->{sender} && $sender ne $t->{sender};
			push @texts, $self->{scenario}{content}{$control->{name}} // $self->{spool}->expected_content($control, $r) // '';
		}
	}
	return @texts;
}

sub _difference($got, $wanted) {
	my $same = ($got ^. $wanted) =~ /^(\0*)/ ? length $1 : 0;
	my $from = $same > 20 ? $same - 20 : 0;
	return sprintf 'differs at byte %d of %d: got "%s", expected "%s"', $same, length $got,
		printable(substr($got, $from, 60)), printable(substr $wanted, $from, 60);
}

sub _check_scripts($self) {
	for my $connection ($self->_connections) {
		my $waits = $connection->unfinished;
		$self->problem("connection $connection->{number}: the script still waits for $waits") if defined $waits;
	}
	my $made = $self->_connections;
	for my $n (grep { /^\d+$/ && $_ > $made } keys %{$self->{scenario}{servers}}) {
		$self->problem("connection $n never came");
	}
}

sub _check_counts($self) {
	my ($s, $server) = @$self{qw(scenario server)};
	my $made = $self->_connections;
	$self->problem("$made connections, expected $s->{connections}") if defined $s->{connections} && $made != $s->{connections};
	return unless defined $s->{transactions};
	my $complete = $server ? $server->complete : 0;
	$self->problem("$complete whole transactions, expected $s->{transactions}") if $complete != $s->{transactions};
}

sub _check_time($self) {
	my $s = $self->{scenario};
	$self->problem(sprintf 'took %.2f s, allowed are %s', $self->{took}, $self->patience) if $self->{took} > $self->patience;
	$self->problem(sprintf 'took only %.2f s, expected at least %s', $self->{took}, $s->{lasts})
		if defined $s->{lasts} && $self->{took} < $s->{lasts};
}

# ---- for people ----

sub transcript($self) {
	my @lines = ('scheduler heard:', map { '  ' . printable($_, 500) } @{$self->{scheduler}{agent}{lines}});
	for ($self->{server} ? @{$self->{server}{transcript}} : ()) {
		my ($n, $who, $bytes) = @$_;
		push @lines, "connection $n $who: " . printable($bytes, 500);
	}
	return @lines;
}

1;
