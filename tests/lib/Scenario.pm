package Scenario;

# Reads a scenario file (format: tests/scenario/README) into a plan for ScenarioRun.

use v5.36;
use Bytes qw(unescape expand_names);
use Spool;

# Single lines: keyword and value.
my %word = map { $_ => 1 } qw(
	title todo needs protocol target argument-host options command environment channel host caps lenient exit within lasts connections
	transactions resync contents backlog tls handshakes secret
);
# Lines that may come several times.
my %list = map { $_ => 1 } qw(comment log);
# Headings: what is indented below belongs to them.
my %section = map { $_ => 1 } qw(message control server jobs report received content file written probe);

# Dies with "FILE:LINE: what is wrong".  With a $protocol of "smtp" the scenario is to be played in SMTP: what it says of
# LHLO is meant of EHLO.
sub read($class, $path, $protocol = 'lmtp') {
	my $text = Spool::slurp($path) // die "$path: $!\n";
	$text =~ s/\bLHLO\b/EHLO/gi if $protocol eq 'smtp';
	my $self = bless { path => $path, play => $protocol, within => 5, target => 'unix', channel => 'lmtp', host => 'store', exit => '0',
		messages => [], controls => {}, servers => {}, content => {}, files => {}, modes => {}, comment => [], log => [] }, $class;
	my ($number, $heading) = (0);
	for my $line (split /\n/, $text) {
		$number++;
		next if $line =~ /^\s*(?:#|$)/;
		eval { $heading = $self->_line($line, $heading); 1 } or die "$path:$number: $@";
	}
	die "$path: no title\n" unless defined $self->{title};
	$self->_defaults;
	return $self;
}

sub _line($self, $line, $heading) {
	if ($line =~ /^\s+(.*)/) {
		die "indented line without a heading\n" unless $heading;
		push @{$heading->{lines}}, $1;
		$heading->{add}->($1) if $heading->{add};
		return $heading;
	}
	my ($key, $value) = $line =~ /^([\w-]+)(?:\s+(.*?))?\s*$/ or die "expected a keyword\n";
	$value //= '';
	if ($list{$key}) {
		push @{$self->{$key}}, $value;
		return undef;
	}
	if ($word{$key}) {
		$self->{$key} = $value;
		return undef;
	}
	die "unknown keyword $key\n" unless $section{$key};
	my $method = "_begin_$key";
	return $self->$method($value);
}

sub _begin_message($self, $name) {
	my $message = { name => $name ne '' ? $name : 101 + @{$self->{messages}}, groups => [], body => undef };
	push @{$self->{messages}}, $message;
	return { add => sub ($line) { $self->_message_line($message, $line) } };
}

sub _begin_control($self, $name) {
	$self->{controls}{$name} = '';
	return { add => sub ($line) { $self->{controls}{$name} .= _file_line($line) } };
}

sub _begin_file($self, $value) {
	my ($name, $mode) = split ' ', $value;
	$self->{files}{$name} = '';
	$self->{modes}{$name} = oct $mode if defined $mode;
	return { add => sub ($line) { $self->{files}{$name} .= _file_line($line) } };
}

# A line of a file, "\c" at its end keeps the newline away; a lone "\" is an empty line.
sub _file_line($line) {
	return "\n" if $line eq '\\';
	return $line =~ s/\\c$// ? unescape($line) : unescape($line) . "\n";
}

# What the server must have got for a message: lines, CRLF is added.
sub _begin_content($self, $name) {
	$self->{content}{$name} = '';
	return { add => sub ($line) { $self->{content}{$name} .= ($line eq '\\' ? '' : unescape($line)) . "\r\n" } };
}

# Patterns that must be found in a file afterwards.
sub _begin_written($self, $name) {
	return { add => sub ($line) { push @{$self->{written}}, [$name, $line] } };
}

sub _begin_server($self, $which) {
	$which = 1 if $which eq '';
	my $server = $self->{servers}{$which} = { steps => [], rules => [] };
	return { add => sub ($line) { _server_line($server, $line) } };
}

sub _begin_jobs($self, $value) { return $self->{jobs} = { lines => [] } }

# What lmtp -B is asked, and "ADDRESS yes|no|unclear|ready TEXT" for each line it says, or "complaint - TEXT".
sub _begin_probe($self, $words) {
	my $probe = { words => $words, answers => [] };
	push @{$self->{probes}}, $probe;
	return { add => sub ($line) {
		my ($who, $answer, $text) = split ' ', $line, 3;
		push @{$probe->{answers}}, [$who, $answer eq 'unclear' ? 'could not tell' : $answer, $text // ''];
	} };
}

sub _begin_report($self, $value) {
	$self->{report} = [];
	push @{$self->{report}}, $self->_expectations($value) if $value ne '';
	return { add => sub ($line) { push @{$self->{report}}, $self->_expectations($line) } };
}

sub _begin_received($self, $value) {
	$self->{received} = [];
	return { add => sub ($line) { push @{$self->{received}}, [$line, _pattern($line)] } };
}

# ---- messages ----

sub _message_line($self, $message, $line) {
	my ($key, $value) = split ' ', $line, 2;
	$value //= '';
	my $group = $message->{groups}[-1];
	if ($key eq 'from') {
		push @{$message->{groups}}, { sender => _sender($value), recipients => [] };
	} elsif ($key eq 'to') {
		if (!$group || defined $group->{header}) {
			my $sender = $group ? $group->{sender} : _sender('ann@example.org');
			push @{$message->{groups}}, $group = { sender => $sender, recipients => [] };
		}
		push @{$group->{recipients}}, $self->_recipients($value);
	} elsif ($key eq 'header') {
		$group->{header} .= _file_line($value);
	} elsif ($key eq 'no-header') {
		$group->{header} = '';
	} elsif ($key eq 'body') {
		$message->{body} .= _file_line($value);
	} elsif ($key eq 'no-body') {
		$message->{body} = '';
	} elsif ($key eq 'size') {
		my $text = "All work and no play makes Jack a dull boy.\n";
		$message->{body} .= substr $text x ($value / length($text) + 1), 0, $value;
	} elsif ($key =~ /^(?:ret|envid|verbose|file)$/) {
		$message->{$key} = unescape($value);
	} else {
		die "unknown message line: $key\n";
	}
}

sub _sender($value) {
	return ['error', '-', '<>'] if $value eq '<>';
	return ['smtp', 'mx.example.org', unescape($value)];
}

# "bob carol{1..3} host=other NOTIFY=SUCCESS": names, then what holds for all of them.
sub _recipients($self, $text) {
	my (@name, %r, @dsn);
	for my $word ($text =~ /((?:"(?:\\.|[^"\\])*"|[^\s"])+)/g) {
		if ($word =~ /^(channel|host|tag|pid|privilege)=(.*)$/) {
			$r{$1} = $2;
		} elsif ($word =~ /^[A-Z]+=/) {
			push @dsn, $word;
		} else {
			push @name, expand_names(unescape($word));
		}
	}
	return map { {
		channel => $self->{channel}, host => $self->{host}, %r, user => $_, dsn => @dsn ? "@dsn" : undef,
	} } @name;
}

# ---- the server's script ----

sub _server_line($server, $line) {
	if ($line =~ /^on\s+(once\s+)?(\w+)(?:\s+(\S.*?))?\s*->\s*(.*)$/) {
		my ($once, $stage, $key, $actions) = ($1, $2, $3, $4);
		$stage = uc $stage unless $stage =~ /^(?:greeting|final)$/;
		$server->{last} = { stage => $stage, like => defined $key ? _pattern($key, 1) : qr//, once => $once ? 1 : 0,
			actions => [_action($actions)] };
		push @{$server->{rules}}, $server->{last};
		return;
	}
	if ($line =~ /^->\s*(.*)$/) {
		return push @{$server->{last}{actions}}, _action($1) if $server->{last};
		return push @{$server->{steps}}, _action($1);
	}
	delete $server->{last};
	my ($expect, $actions) = split /\s+->\s*/, $line, 2;
	push @{$server->{steps}}, _expect($expect);
	push @{$server->{steps}}, _action($actions) if defined $actions;
}

sub _expect($text) {
	return { expect => 'message' } if $text eq 'message';
	return { do => 'hello', $text =~ / / ? (caps => [split /,\s*/, $text =~ s/^hello\s+//r]) : () } if $text =~ /^hello\b/;
	return { do => $text } if $text =~ /^(?:serve|end)$/;
	return { expect => 'line', like => _pattern($text), text => $text };
}

# "/…/" is a regular expression; anything else the beginning of a line (or, if $whole, all of it), in any case.
sub _pattern($text, $whole = 0) {
	return qr/$1/i if $text =~ m{^/(.*)/$};
	my $literal = quotemeta unescape($text);
	return $whole ? qr/^$literal$/i : qr/^$literal(?![\w.@])/i;
}

sub _action($text) {
	return { do => 'line', text => unescape($text) } if $text =~ /^\d/;
	my ($verb, $value) = split ' ', $text, 2;
	$value //= '';
	return { do => $verb, text => unescape($value) } if $verb =~ /^(?:line|bytes)$/;
	return { do => $verb, seconds => $value } if $verb eq 'pause';
	return { do => $verb, n => $value } if $verb =~ /^(?:split|drop)$/;
	return { do => $verb, name => $value } if $verb eq 'signal';
	if (my ($code, $count, $line) = $text =~ /^lines (\d{3}) (\d+) (.*)$/) {
		return map { { do => 'line', text => unescape($code . ($_ == $count ? ' ' : '-') . ($line =~ s/%d/$_/r)) } } 1 .. $count;
	}
	return { do => $verb } if $verb =~ /^(?:hold|release|deaf|hear|close|reset|shut|refuse|end|serve)$/;
	return { do => 'pause', seconds => 0 } if $verb eq 'nothing';
	die "unknown action $verb\n";
}

# ---- expectations ----

# "bob error2 5.1.1 550 No such user", several words separated by |, "-" for anything; /re/ for STATUS and text.
sub _expectations($self, $line) {
	my ($names, $words, $status, $code, $text) = $line =~
		/^((?:"(?:\\.|[^"\\])*"|[^\s"])+)\s+(\S+)(?:\s+(\S+)(?:\s+(\S+)(?:\s+(.*))?)?)?$/ or die "malformed expectation\n";
	my %e = (words => { map { $_ => 1 } split /\|/, $words }, line => $line);
	$e{status} = $status =~ m{^/(.*)/$} ? qr/$1/ : qr/^\Q$status\E(?: |$)/ if defined $status && $status ne '-';
	$e{code} = qr{^(?:\Q$code\E|none)$} if defined $code && $code ne '-';
	$e{text} = $text =~ m{^/(.*)/$} ? qr/$1/s : qr/\Q$text\E/ if defined $text;
	my $message = $names =~ s{^([A-Z/]*\d+)/}{} ? $1 : undef;
	return map { { %e, user => $_, message => $message } } expand_names(unescape($names));
}

sub _defaults($self) {
	$self->_begin_message('') unless @{$self->{messages}} || %{$self->{controls}};
	for my $message (@{$self->{messages}}) {
		push @{$message->{groups}}, { sender => _sender('ann@example.org'), recipients => [$self->_recipients('bob')] }
			unless @{$message->{groups}};
		$message->{body} //= "Hello.\n";
		my $last = $message->{groups}[-1];
		$last->{header} //= "From: $last->{sender}[2]\nTo: team\@example.net\nSubject: test $message->{name}\n";
	}
	$self->{report} //= [$self->_expectations('* ok3')];
	$self->{jobs} //= { lines => [$self->_default_jobs] };
}

# As a scheduler feeds: one job first, then all the rest at once.
sub _default_jobs($self) {
	my %seen;
	my ($first, @rest) = map { "job $_" } grep { !$seen{$_}++ } (map { $_->{name} } @{$self->{messages}}),
		sort keys %{$self->{controls}};
	return ($first // (), 'wait', @rest);
}

1;
