package Matrix;

# Generated dialogues against one agent: each case is a message, a plan says what the server
# answers, and a model, written from RFC 2033 and RFC 5321 alone, says what must become of each recipient.  In SMTP
# the final reply of the first accepted recipient is that of all; words say whose it is.

use v5.36;
use Exporter 'import';
our @EXPORT_OK = qw(model combinations first_accepted);
use File::Temp ();
use Loop;
use Spool;
use LmtpServer;
use Scheduler;

# A plan: { mail => 2|4|5, rcpt => [class...], data => class, final => [class...] }; final has one
# entry for each recipient, those of refused ones do not matter.

# What must become of the recipients: list of [outcome, stage], where stage names the reply that decides.
sub model($plan, $protocol = 'lmtp') {
	my %refusal = (4 => 'deferred', 5 => 'failed');
	my $n = @{$plan->{rcpt}};
	return map { [$refusal{$plan->{mail}}, 'mail'] } 1 .. $n if $plan->{mail} != 2;
	my @result;
	for my $i (0 .. $n - 1) {
		my $by = $protocol eq 'smtp' ? first_accepted($plan) : $i;
		my ($rcpt, $final) = ($plan->{rcpt}[$i], $plan->{final}[$by // $i]);
		push @result, $rcpt != 2 ? [$refusal{$rcpt}, "rcpt $i"]
			: $plan->{data} != 2 ? [$refusal{$plan->{data}}, 'data']
			: $final != 2 ? [$refusal{$final}, "final $by"] : ['delivered', "final $by"];
	}
	return @result;
}

sub first_accepted($plan) { (grep { $plan->{rcpt}[$_] == 2 } 0 .. $#{$plan->{rcpt}})[0] }

# Every plan for $n recipients that differs in what the client gets to see.
sub combinations($n) {
	my @plans = map { { mail => $_, rcpt => [(2) x $n], data => 2, final => [(2) x $n] } } 4, 5;
	for my $rcpt (_mixes($n, 2, 4, 5)) {
		my $accepted = grep { $_ == 2 } @$rcpt;
		if (!$accepted) {
			push @plans, { mail => 2, rcpt => $rcpt, data => 2, final => [(2) x $n] };
			next;
		}
		push @plans, map { { mail => 2, rcpt => $rcpt, data => $_, final => [(2) x $n] } } 4, 5;
		for my $final (_mixes($accepted, 2, 4, 5)) {
			my @left = @$final;
			push @plans, { mail => 2, rcpt => $rcpt, data => 2, final => [map { $_ == 2 ? shift @left : 2 } @$rcpt] };
		}
	}
	return @plans;
}

sub _mixes($n, @of) {
	return [] unless $n;
	return map { my $rest = $_; map { [$_, @$rest] } @of } _mixes($n - 1, @of);
}

my %reply = (
	'mail' => { 2 => '250 2.1.0 ok', 4 => '451 4.7.1', 5 => '553 5.1.8' },
	'rcpt' => { 2 => '250 2.1.5 ok', 4 => '450 4.2.1', 5 => '550 5.1.1' },
	'data' => { 2 => '354 go on', 4 => '452 4.3.1', 5 => '554 5.6.0' },
	'final' => { 2 => '250 2.0.0', 4 => '452 4.2.2', 5 => '552 5.2.2' },
);

# The reply text for one decision; its words name case and stage, so that mixed up replies show.
sub reply_for($case, $stage, $class) {
	my ($kind) = $stage =~ /^(\w+)/;
	return $reply{$kind}{$class} . ($class == 2 && $kind ne 'final' ? '' : " case $case $stage");
}

# One agent with one scripted server.  Options: program, protocol, caps => [...], arguments => [...], target ("unix", "tcp").
sub new($class, %o) {
	my $self = bless { %o, loop => Loop->new, plans => {}, next => 100001, problems => [] }, $class;
	$self->{dir} = File::Temp->newdir('/tmp/zl-XXXXXX');
	$self->{spool} = Spool->new("$self->{dir}/post", qw(queue transport));
	$self->{protocol} //= 'lmtp';
	$self->{server} = LmtpServer->new(protocol => $self->{protocol}, loop => $self->{loop}, target => $o{target} // 'unix', path => "$self->{dir}/s",
		caps => $o{caps}, lenient => $o{lenient}, rules => [sub ($stage, $key, $c) { $self->_answer($stage, $key, $c) }],
		script => sub ($n) { $self->{script} ? $self->{script}->($n) : [{ do => 'serve' }] });
	my @reach = ($o{target} // 'unix') eq 'unix' ? ('-F', "UNIX:$self->{dir}/s")
		: ('-F', '[127.0.0.1]', '-p', $self->{server}->port);
	$self->{scheduler} = Scheduler->new(loop => $self->{loop}, spool => $self->{spool}, channel => 'lmtp', relay => $self->{protocol} eq 'smtp',
		program => $o{program}, arguments => [qw(-c lmtp -h client.example -O), "protocol=$self->{protocol}", @reach, @{$o{arguments} // []}]);
	return $self;
}

# Puts a case into the spool; returns its number.
sub add($self, $plan) {
	my $case = $self->{next}++;
	$self->{plans}{$case} = $plan;
	$self->{spool}->add(name => $case, body => "text of $case\n", groups => [{
		sender => ['smtp', 'mx', "c$case\@test"], header => "Subject: $case\n",
		recipients => [map { { channel => 'lmtp', host => 'store', user => "r$_.$case" } } 0 .. $#{$plan->{rcpt}}],
	}]);
	return $case;
}

sub _answer($self, $stage, $key, $connection) {
	return undef if $stage !~ /^(?:MAIL|RCPT|DATA|final)$/;
	my $transaction = $connection->{transaction};
	if ($stage eq 'MAIL') {
		my ($case) = $key =~ /^c(\d+)@/;
		@$connection{qw(case refused)} = ($case, $self->{plans}{$case}{mail} != 2);
		return _line(reply_for($case, 'mail', $self->{plans}{$case}{mail}));
	}
	my $case = $connection->{case};
	my $plan = $self->{plans}{$case};
	if ($stage eq 'RCPT') {
		my ($i) = $key =~ /^r(\d+)\./;
		return _line($connection->{refused} ? '503 5.5.1 MAIL first' : reply_for($case, "rcpt $i", $plan->{rcpt}[$i]));
	}
	if ($stage eq 'DATA') {
		my $accepted = !$connection->{refused} && grep { $_ == 2 } @{$plan->{rcpt}};
		return _line($accepted ? reply_for($case, 'data', $plan->{data}) : '503 5.5.1 no recipients');
	}
	return _line('503 5.5.1 no recipients') if $key eq '';
	my ($i, $of) = $key =~ /^r(\d+)\.(\d+)$/;
	# with BDAT there is no reply to DATA: its class stands for all final replies
	my $class = $connection->{caps}{CHUNKING} && $plan->{data} != 2 ? $plan->{data} : $plan->{final}[$i];
	return _line(reply_for($of, "final $i", $class));
}

sub _line($text) { [{ do => 'line', text => $text }] }

# Feeds the cases, $burst at a time, and waits for all.
sub run($self, $burst, @cases) {
	my $scheduler = $self->{scheduler};
	while (my @now = splice @cases, 0, $burst) {
		$scheduler->job($_, 'store') for @now;
		next if $self->{loop}->run($self->{patience} // 30, sub { $scheduler->satisfied });
		push @{$self->{problems}}, "no #hungry for one of @now[0, -1]";
		last;
	}
}

# Ends the agent; everything the scheduler and the server had to complain about.
sub finish($self) {
	my $ending = $self->{scheduler}->finish;
	push @{$self->{problems}}, "agent ended with $ending" if $ending ne '0';
	$self->{scheduler}->check_files;
	$self->{server}->close;
	return (@{$self->{problems}}, @{$self->{scheduler}{problems}}, @{$self->{server}{problems}});
}

# [outcome, words] for each recipient of a case.
sub outcomes($self, $case) {
	my $control = $self->{spool}{messages}{$case};
	return map {
		my $report = $self->{scheduler}{reports}{"$case/$_->{offset}"};
		$report ? [$report->{outcome}, $report->{words} // '', $report->{text}] : ['none', '', ''];
	} @{$control->{recipients}};
}

1;
