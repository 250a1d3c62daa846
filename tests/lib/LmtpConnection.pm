package LmtpConnection;

# One connection of the scripted server: works off its steps.
#
# A step is a hash.  { expect => ... } waits for the client:
#   expect => 'line', like => qr/.../, text => as people wrote it      one command
#   expect => 'message'                                                the text, by DATA or BDAT
# { do => ... } acts:
#   line TEXT      a reply line; CRLF is added
#   bytes TEXT     these bytes
#   pause SECONDS
#   split N        from now on at most N bytes are sent, then nothing until the client has read them
#   hold, release  replies are kept back, and go out in one write
#   deaf, hear     stop and resume reading
#   drop N         close as soon as N bytes have come in
#   close, reset, shut    the whole connection; by RST; only our direction
#   refuse         stop listening for further connections
#   signal NAME    to the client
#   end            nothing but QUIT or the end may follow
#   serve          answers everything well until the end, except for what the rules say
#   call CODE      for tests written in Perl
# A connection with {budget} closes as soon as so many bytes were sent.
#
# A rule is { stage, like => qr/.../, actions => [steps], once } or a
# sub ($stage, $key, $connection) that returns actions or undef.  Stages: greeting, and
# the commands; final, with the recipient as key.

use v5.36;
use Socket qw(SOL_SOCKET SO_LINGER);
use IO::Handle;
use LmtpManners qw(command_complaints content_complaints split_path);
use Bytes qw(printable);

my $hello = qr/(?:LHLO|EHLO|HELO)/;

use constant UNREAD_OUTPUT => 0x5411;    # ioctl SIOCOUTQ of Linux

sub new($class, $server, $fh, $number, $steps) {
	my $self = bless {
		server => $server, loop => $server->{loop}, fh => $fh, number => $number, steps => [map { {%$_} } @$steps],
		in => '', unfinished_line => '', received => 0, pending => '', out => [], unanswered => [], caps => {}, scanned => 0,
	}, $class;
	$fh->blocking(0);
	$self->{loop}->reader($fh, sub { $self->_readable });
	return $self;
}

sub _smtp($self) { $self->{server}{protocol} eq 'smtp' }
sub _greeting($self) { '220 store.example ' . ($self->_smtp ? 'ESMTP' : 'LMTP') . ' ready' }

sub problem($self, $text) { $self->{server}->problem("connection $self->{number}: $text") }

# ---- bytes in and out ----

sub _readable($self) {
	my $n = sysread $self->{fh}, my $bytes, 262144;
	return if !defined $n && $!{EAGAIN};
	if (!$n) {
		$self->{eof} = 1;
		$self->{loop}->reader($self->{fh}, undef);
	} else {
		$self->{received} += $n;
		$self->{in} .= $bytes;
		return $self->drop if defined $self->{drop_at} && $self->{received} >= $self->{drop_at};
	}
	$self->advance;
}

sub _flush_pending($self) {
	return if $self->{pending} eq '' || $self->{hold};
	$self->{server}->note($self->{number}, 'S', $self->{pending});
	if (defined $self->{budget}) {
		my $allowed = substr $self->{pending}, 0, $self->{budget};
		$self->{budget} -= length $self->{pending};
		$self->{pending} = $allowed;
		$self->{exhausted} = $self->{budget} <= 0;
	}
	my $size = $self->{split} // length $self->{pending};
	push @{$self->{out}}, unpack "(a$size)*", $self->{pending};
	$self->{pending} = '';
	$self->_write;
}

sub _write($self) {
	while (@{$self->{out}} && $self->{fh}) {
		if ($self->{split} && $self->_unread) {
			return if $self->{waiting}++;
			return $self->{loop}->after(0.0005, sub { $self->{waiting} = 0; $self->_write });
		}
		my $n = syswrite $self->{fh}, $self->{out}[0];
		if (!defined $n) {
			return $self->{loop}->writer($self->{fh}, sub { $self->_write }) if $!{EAGAIN};
			$self->{out} = [];    # the client is gone; reading will tell
			last;
		}
		substr $self->{out}[0], 0, $n, '';
		shift @{$self->{out}} if $self->{out}[0] eq '';
	}
	$self->{loop}->writer($self->{fh}, undef) if $self->{fh};
	$self->advance if delete $self->{wants_drained};
}

# True while the client has not read what was sent.
sub _unread($self) {
	my $count = pack 'i', 0;
	ioctl $self->{fh}, UNREAD_OUTPUT, $count or return 0;
	return unpack('i', $count) > 0;
}

# Closes at once, whatever is still unsent.
sub drop($self) {
	return unless $self->{fh};
	$self->{loop}->forget($self->{fh});
	close delete $self->{fh};
	$self->{steps} = [];
	$self->{server}->note($self->{number}, 'S', '(closes)');
}

# ---- the script ----

sub advance($self) {
	return if $self->{busy};    # a step that led back here
	local $self->{busy} = 1;
	while ($self->{fh} && @{$self->{steps}} && !$self->{sleeping} && !$self->{exhausted}) {
		my $step = $self->{steps}[0];
		$self->_flush_pending unless ($step->{do} // '') eq 'line';
		last unless $self->{fh} && !$self->{exhausted};
		my $method = $step->{expect} ? "_expect_$step->{expect}" : "_do_$step->{do}";
		shift @{$self->{steps}};
		next if $self->$method($step);
		unshift @{$self->{steps}}, $step if $self->{fh};
		last;
	}
	return unless $self->{fh};
	$self->_flush_pending;
	return $self->_do_close({}) if $self->{exhausted};
	return if @{$self->{steps}} || $self->{sleeping};
	$self->{finished} = 1;
	if ($self->{eof}) {
		$self->{wants_drained} = 1;
		$self->drop unless @{$self->{out}};
	}
}

# What the script still waits for, for messages to people; undef if it is through.
sub unfinished($self) {
	return undef unless $self->{fh};
	my $step = $self->{steps}[0];
	return undef if !$step || ($step->{do} // '') =~ /^(?:serve|end|close|reset|shut)$/;
	# what only we would have done for a client that has left
	return undef if $self->{eof} && !grep { $_->{expect} } @{$self->{steps}};
	return $step->{text} // $step->{expect} // $step->{do};
}

sub _expect_line($self, $step) {
	my $line = $self->_command;
	if (!defined $line) {
		$self->_gone("expected $step->{text}") if $self->{eof};
		return 0;
	}
	return 1 if $line =~ $step->{like};
	$self->problem("expected $step->{text}, got " . printable($line));
	$self->drop;
	return 0;
}

sub _gone($self, $what) {
	$self->problem("the client closed; $what");
	$self->drop;
}

sub _expect_message($self, $step) {
	if ($self->_content) {
		return 1;
	}
	$self->_gone('expected the text of a message') if $self->{eof};
	return 0;
}

sub _do_line($self, $step) { $self->_queue("$step->{text}\r\n") }
sub _do_bytes($self, $step) { $self->_queue($step->{text}) }

sub _queue($self, $bytes) {
	$self->{pending} .= $bytes;
	$self->{unfinished_line} .= $bytes;
	# by index, not by a pattern: there are lines of a megabyte
	while ((my $end = index $self->{unfinished_line}, "\n") >= 0) {
		$self->_note_reply(substr($self->{unfinished_line}, 0, $end + 1, '') =~ s/\r?\n\z//r);
	}
	return 1;
}

sub _do_pause($self, $step) {
	$self->{sleeping} = 1;
	$self->{loop}->after($step->{seconds}, sub { $self->{sleeping} = 0; $self->advance });
	return 1;
}

sub _do_split($self, $step) { $self->{split} = $step->{n}; return 1 }
sub _do_hold($self, $step) { $self->{hold} = 1; return 1 }
sub _do_release($self, $step) { $self->{hold} = 0; $self->_flush_pending; return 1 }
sub _do_drop($self, $step) { $self->{drop_at} = $step->{n}; return 1 }
sub _do_refuse($self, $step) { $self->{server}->stop_listening; return 1 }
sub _do_signal($self, $step) { $self->{server}{signal}->($step->{name}); return 1 }
sub _do_call($self, $step) { $step->{code}->($self); return 1 }

sub _do_deaf($self, $step) {
	$self->{loop}->reader($self->{fh}, undef);
	return 1;
}

sub _do_hear($self, $step) {
	$self->{loop}->reader($self->{fh}, sub { $self->_readable });
	return 1;
}

sub _do_close($self, $step) {
	return 0 unless $self->_drained;
	# unread input would turn the close into a reset
	1 while sysread $self->{fh}, my $bytes, 65536;
	$self->drop;
	return 1;
}

sub _do_reset($self, $step) {
	return 0 unless $self->_drained;
	setsockopt $self->{fh}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
	$self->drop;
	return 1;
}

sub _do_shut($self, $step) {
	return 0 unless $self->_drained;
	shutdown $self->{fh}, 1;
	$self->{server}->note($self->{number}, 'S', '(shuts its direction)');
	return 1;
}

sub _drained($self) {
	return 1 unless @{$self->{out}};
	$self->{wants_drained} = 1;
	return 0;
}

sub _do_end($self, $step) {
	my $line = $self->_command;
	return $self->{eof} unless defined $line;
	$self->problem('expected nothing but QUIT, got ' . printable($line)) unless $line =~ /^QUIT$/i;
	unshift @{$self->{steps}}, { do => 'line', text => '221 2.0.0 bye' }, { do => 'close' };
	return 1;
}

# ---- commands and the text ----

# The next whole command line without its CRLF, or undef.
sub _command($self) {
	my $end = index $self->{in}, "\r\n";
	return undef if $end < 0;
	my $line = substr $self->{in}, 0, $end + 2, '';
	substr $line, -2, 2, '';
	my $server = $self->{server};
	$server->note($self->{number}, 'C', "$line\r\n");
	push @{$server->{commands}}, $line;
	my $state = { behind => $self->{in}, replied_ahead => $self->{ahead}, open => $self->{open} };
	$self->problem("$_: " . printable($line)) for $server->{lenient} ? () : command_complaints($line, $self->{caps}, $state);
	my $command = { line => $line };
	push @{$self->{unanswered}}, [$command, 'code'];
	$self->_track($line, $command);
	return $line;
}

# Keeps the record of transactions.
sub _track($self, $line, $command) {
	if ($line =~ /^(?:MAIL|RSET|$hello)\b/i) {
		delete $self->{data};
	}
	if ($line =~ /^MAIL\b/i) {
		my ($path, @parameters) = split_path($line);
		$self->{transaction} = { connection => $self->{number}, mail => $command, sender => $path,
			parameters => \@parameters, recipients => [] };
		push @{$self->{server}{transactions}}, $self->{transaction};
		$self->{open} = 1;
	} elsif ($line =~ /^RCPT\b/i && $self->{transaction}) {
		my ($path, @parameters) = split_path($line);
		@$command{qw(address parameters)} = ($path =~ s/^<|>$//gr, \@parameters) if defined $path;
		push @{$self->{transaction}{recipients}}, $command;
	} elsif ($line =~ /^DATA$/i) {
		$self->{data} = $command;
	} elsif ($line =~ /^(?:RSET|$hello)\b/i) {
		$self->{open} = 0;
		delete $self->{transaction};
		$self->{caps} = {} if $line =~ /^$hello/i;
	}
}

# A reply line goes out: to whom does it speak?
sub _note_reply($self, $line) {
	my ($code, $more, $words) = $line =~ /^(\d{3})(.?)(.*)/s or return;
	if (@{$self->{unanswered}} && ($self->{unanswered}[0][0]{line} // '') =~ /^(?:LHLO|EHLO)\b/i) {
		$self->{caps}{uc $1} = 1 if $words =~ /^([\w-]+)/;
	}
	return if $more eq '-';
	my $waiting = shift @{$self->{unanswered}};
	$self->{ahead} = 1 unless $waiting || !$self->{greeted};
	$self->{greeted} = 1;
	$waiting->[0]{$waiting->[1]} = $code if $waiting;
}

# Takes the text of a message; true when it is whole.  Its recipients then wait for their replies.
sub _content($self) {
	my ($content, $how) = $self->{data} ? $self->_dotted : $self->_chunks;
	return 0 unless defined $content;
	$self->{open} = 0;
	delete $self->{data};
	my $transaction = delete $self->{transaction} // { recipients => [], sender => undef };
	@$transaction{qw(content how)} = ($content, $how);
	# the reply for the DATA or BDAT LAST line itself is not one of the final replies
	my @accepted = grep { ($_->{code} // '') =~ /^2/ } @{$transaction->{recipients}};
	$transaction->{accepted} = \@accepted;
	push @{$self->{unanswered}}, !@accepted ? [{}, 'final'] : $self->_smtp ? [$accepted[0], 'final']
		: map { [$_, 'final'] } @accepted;
	$self->{server}{on_content}->($transaction, $self) if $self->{server}{on_content};
	return 1;
}

sub _dotted($self) {
	my $end = $self->{in} =~ /\A\.\r\n/ ? 0 : -1;
	if ($end < 0) {
		$end = index $self->{in}, "\r\n.\r\n", $self->{scanned};
		$self->{scanned} = length($self->{in}) > 4 ? length($self->{in}) - 4 : 0;
		return if $end < 0;
		$end += 2;
	}
	$self->{scanned} = 0;
	my $content = substr $self->{in}, 0, $end + 3, '';
	substr $content, -3, 3, '';
	$self->{server}->note($self->{number}, 'C', "$content.\r\n");
	$content =~ s/^\.//mg;
	unless ($self->{server}{lenient}) {
		$self->problem($_) for content_complaints($content);
		$self->problem('pipelined behind the text though PIPELINING was not offered')
			if $self->{in} ne '' && !$self->{caps}{PIPELINING};
	}
	return ($content, 'DATA');
}

# BDAT chunks up to and with the last; those before it are answered here.
sub _chunks($self) {
	$self->{chunks} //= '';
	while (1) {
		if (!defined $self->{chunk_size}) {
			return unless $self->{in} =~ /\ABDAT (\d+)( LAST)?\r\n/i;
			@$self{qw(chunk_size chunk_last)} = ($1, $2);
			$self->_command;
			pop @{$self->{unanswered}} if $2;
		}
		return if length $self->{in} < $self->{chunk_size};
		$self->{chunks} .= substr $self->{in}, 0, delete $self->{chunk_size}, '';
		if (delete $self->{chunk_last}) {
			$self->{server}->note($self->{number}, 'C', $self->{chunks});
			return (delete $self->{chunks}, 'BDAT');
		}
		$self->_do_line({ text => '250 2.0.0 chunk taken' });
		$self->_flush_pending;
	}
}

# ---- serving ----

# The reply steps for a stage: what a rule says, else $good.
sub _answer($self, $stage, $key, @good) {
	for my $rule (@{$self->{rules} // $self->{server}{rules}}) {
		if (ref $rule eq 'CODE') {
			my $actions = $rule->($stage, $key, $self);
			return @$actions if $actions;
			next;
		}
		next if $rule->{stage} ne $stage || $rule->{used} || $key !~ $rule->{like};
		$rule->{used} = 1 if $rule->{once};
		return @{$rule->{actions}};
	}
	return map { { do => 'line', text => $_ } } @good;
}

# The lines of a reply to LHLO or EHLO with these keywords.
sub hello_lines($self, @keywords) {
	my @lines = ('store.example', @keywords);
	return map { '250' . ($_ == $#lines ? ' ' : '-') . $lines[$_] } 0 .. $#lines;
}

sub _do_hello($self, $step) {
	my $verb = $self->_smtp ? 'EHLO' : 'LHLO';
	if (!$step->{greeted}) {
		$step->{greeted} = 1;
		unshift @{$self->{steps}}, { do => 'line', text => $self->_greeting },
			{ expect => 'line', like => qr/^$verb /i, text => $verb }, $step;
		return 1;
	}
	my @keywords = $step->{caps} ? @{$step->{caps}} : @{$self->{server}{caps}};
	unshift @{$self->{steps}}, map { { do => 'line', text => $_ } } $self->hello_lines(@keywords);
	return 1;
}

sub _do_serve($self, $step) {
	if (!$self->{greeted} && !$step->{greeting_given}++) {
		unshift @{$self->{steps}}, $self->_answer('greeting', '', $self->_greeting), $step;
		return 1;
	}
	my @answer = $self->_serve_one;
	return $self->{eof} unless @answer;
	unshift @{$self->{steps}}, @answer, $step;
	return 1;
}

# Was there a MAIL, and was it refused?
sub _mail_refused($self) {
	my $mail = ($self->{transaction} // {})->{mail} or return 0;
	return ($mail->{code} // '') =~ /^[45]/;
}

# The answer to whatever is next in the input; nothing if it is not whole yet.
sub _serve_one($self) {
	if ($self->{in} =~ /\ABDAT /i || defined $self->{chunks} || ($self->{data} && ($self->{data}{code} // '') eq '354')) {
		my $transaction = $self->{transaction};
		return unless $self->_content;
		return $self->_final_answers($transaction);
	}
	my $line = $self->_command;
	return unless defined $line;
	my ($verb, $rest) = split ' ', $line, 2;
	$verb = uc $verb;
	my $method = { $self->_smtp ? (EHLO => '_serve_ehlo', HELO => '_serve_helo') : (LHLO => '_serve_lhlo'), DATA => '_serve_data', QUIT => '_serve_quit' }->{$verb};
	return $self->$method($rest // '') if $method;
	if ($verb =~ /^(?:MAIL|RCPT)$/) {
		my ($path) = split_path($line);
		my $good = $verb eq 'MAIL' ? '250 2.1.0 ok' : $self->_mail_refused ? '503 5.5.1 MAIL first' : '250 2.1.5 ok';
		return $self->_answer($verb, ($path // '') =~ s/^<|>$//gr, $good);
	}
	return $self->_answer($verb, $rest // '', $verb =~ /^(?:RSET|NOOP)$/ ? '250 2.0.0 ok' : '502 5.5.1 what?');
}

sub _serve_lhlo($self, $name) {
	return $self->_answer('LHLO', $name, $self->hello_lines(@{$self->{server}{caps}}));
}

sub _serve_ehlo($self, $name) {
	return $self->_answer('EHLO', $name, $self->hello_lines(@{$self->{server}{caps}}));
}

sub _serve_helo($self, $name) { $self->_answer('HELO', $name, '250 store.example') }

sub _serve_data($self, $rest) {
	my $any = grep { ($_->{code} // '') =~ /^2/ } @{($self->{transaction} // {})->{recipients} // []};
	return $self->_answer('DATA', $rest, $any ? '354 go on' : '503 5.5.1 no recipients');
}

sub _serve_quit($self, $rest) {
	return ($self->_answer('QUIT', $rest, '221 2.0.0 bye'), { do => 'close' });
}

# One reply for each accepted recipient, in the order of the RCPTs (RFC 2033 section 4.2); in SMTP one for all, asked
# for by the first of them.
sub _final_answers($self, $transaction) {
	my @accepted = @{$transaction ? $transaction->{accepted} // [] : []};
	if (!@accepted) {
		return $self->_answer('final', '', '503 5.5.1 no recipients');
	}
	splice @accepted, 1 if $self->_smtp;
	return map { $self->_answer('final', $_->{address}, "250 2.0.0 <$_->{address}> saved") } @accepted;
}

1;
