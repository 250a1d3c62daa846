#!/usr/bin/perl
# Servers that say anything, delay and cut what they say, or vanish and come back.  Whatever they do: the agent ends well,
# everybody has one outcome, nobody is delivered without a 2xx for this recipient, nobody fails without a refusal.
#
# With ZLMTP_SOAK=1: for a minute in each manner instead of a second, or four with ZLMTP_LONG=1 (another number: so many seconds).
# ZLMTP_SEED repeats a run.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'long';
use IO::Socket::IP;
use File::Temp ();
use Time::HiRes qw(time);
use Loop;
use Spool;
use LmtpServer;
use Scheduler;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
my $seconds = $ENV{ZLMTP_SOAK} ? ($ENV{ZLMTP_SOAK} > 1 ? $ENV{ZLMTP_SOAK} : 60) : long() ? 4 : 1;
my $seed = $ENV{ZLMTP_SEED} // int time;
srand $seed;
note "ZLMTP_SEED=$seed";

my @targets = qw(unix tcp);
push @targets, 'tcp6' if IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1);
my @caps = ([], ['ENHANCEDSTATUSCODES'], ['PIPELINING'], ['PIPELINING', 'ENHANCEDSTATUSCODES'],
	['PIPELINING', 'CHUNKING', 'ENHANCEDSTATUSCODES'], ['PIPELINING', 'CHUNKING'],
	['PIPELINING', 'ENHANCEDSTATUSCODES', 'LIMITS RCPTMAX=2 MAILMAX=7']);

# What a server may say instead of yes, by stage; the first is said most of the time.
my %codes = (
	MAIL => ['250 2.1.0', '451 4.3.0', '452 4.3.1', '421 4.3.2', '550 5.7.1', '503 5.5.1', '354'],
	RCPT => ['250 2.1.5', '450 4.2.1', '452 4.5.3', '550 5.1.1', '553 5.1.3', '421 4.3.2', '251 2.1.5', '354'],
	DATA => ['354', '451 4.3.0', '554 5.6.0', '250 2.0.0', '421 4.3.2'],
	final => ['250 2.0.0', '452 4.2.2', '550 5.2.1', '552 5.2.2', '421 4.3.2', '299', '354'],
	RSET => ['250 2.0.0', '500 5.5.1', '421 4.3.2', '550 5.0.0'],
	LHLO => [undef, '421 4.3.2', '500 5.5.1'],
	greeting => ['220', '421 4.3.2', '554 5.3.2'],
);

my %manners = (
	'random replies in their places' => sub ($round) { { faults => 0.08 } },
	'replies that are delayed and cut' => sub ($round) { { faults => 0.02, delay => 0.02, cut => 400 + int rand 3000 } },
	'a listener that vanishes and comes back' => sub ($round) { { faults => 0.02, vanish => 0.01 } },
	'surplus replies and garbage' => sub ($round) { { faults => 0.02, surplus => 0.02, astray => 1 } },
);
for my $name (sort keys %manners) {
	my ($rounds, $jobs, %outcomes, @bad) = (0, 0);
	my $end = time + $seconds;
	while (time < $end && !@bad) {
		my $round = play($manners{$name}->($rounds++));
		push @bad, @{$round->{bad}};
		$jobs += $round->{jobs};
		$outcomes{$_} += $round->{outcomes}{$_} for keys %{$round->{outcomes}};
	}
	my $sum = join ', ', map { "$outcomes{$_} $_" } sort keys %outcomes;
	ok(!@bad, "$name: $rounds agents, $jobs messages") or diag "ZLMTP_SEED=$seed", map { "\n$_" } @bad[0 .. ($#bad > 8 ? 8 : $#bad)];
	note $sum;
}
done_testing;

# One agent with one server, which behaves as the manner says.
sub play($manner) {
	my $self = { loop => Loop->new, manner => $manner, target => $targets[rand @targets], said => {}, bad => [] };
	$self->{dir} = File::Temp->newdir('/tmp/zl-XXXXXX');
	$self->{spool} = Spool->new("$self->{dir}/post");
	$self->{options} = { loop => $self->{loop}, target => $self->{target}, path => "$self->{dir}/s", lenient => 1,
		caps => $caps[rand @caps], rules => [sub ($stage, $key, $c) { answer($self, $stage, $key, $c) }],
		script => sub ($n) { first_steps($manner) } };
	listen_again($self);
	my $sessions = (1, 4, 4, 16)[rand 4];
	my $reach = $self->{target} eq 'unix' ? "UNIX:$self->{dir}/s"
		: ($self->{target} eq 'tcp' ? '[127.0.0.1]:' : '[::1]:') . $self->{port};
	$self->{scheduler} = Scheduler->new(loop => $self->{loop}, spool => $self->{spool}, channel => 'lmtp', program => $program,
		arguments => [qw(-c lmtp -h client.example -T cmd=5s -T data=10s -T dot=10s -F), $reach, '-O', "connections=$sessions"]);
	feed($self, 10 + int rand 30);
	$self->{loop}->run(120, sub { $self->{scheduler}->satisfied }) or push @{$self->{bad}}, 'no #hungry within 120 s';
	judge($self);
	return $self;
}

sub listen_again($self) {
	$self->{server} = LmtpServer->new(%{$self->{options}}, defined $self->{port} ? (port => $self->{port}) : ());
	$self->{port} = $self->{server}->port if $self->{target} ne 'unix';
}

sub first_steps($manner) {
	my @steps = ({ do => 'serve' });
	unshift @steps, { do => 'split', n => 1 + int rand 40 } if $manner->{delay} && rand() < 0.2;
	unshift @steps, { do => 'call', code => sub ($c) { $c->{budget} = 1 + int rand $manner->{cut} } }
		if $manner->{cut} && rand() < 0.5;
	return \@steps;
}

sub feed($self, $messages) {
	for my $name (1001 .. 1000 + $messages) {
		my @to = map { { channel => 'lmtp', host => 'store', user => rand() < 0.1 ? 'often@x' : "r$_.$name\@x" } } 1 .. 1 + int rand 5;
		my %seen;
		$self->{spool}->add(name => $name, body => 'x' x rand 3000 . "\n", groups => [{ sender => ['smtp', 'mx', "c$name\@x"],
			header => "Subject: $name\n", recipients => [grep { !$seen{$_->{user}}++ } @to] }]);
	}
	$self->{jobs} = $messages;
	$self->{scheduler}->job($_, 'store') for 1001 .. 1000 + $messages;
}

# The answer of a server, and what it has said of whom.
sub answer($self, $stage, $key, $c) {
	my ($m, $codes) = ($self->{manner}, $codes{$stage} // return undef);
	($c->{message}) = $key =~ /^c(\d+)@/ if $stage eq 'MAIL';
	vanish($self) if $m->{vanish} && rand() < $m->{vanish};
	my $code = rand() < $m->{faults} / ($stage =~ /^(?:greeting|LHLO)$/ ? 4 : 1) ? $codes->[rand @$codes] : $codes->[0];
	my $message = $c->{message} // 0;
	my $open = $c->{transaction} && ($c->{transaction}{mail}{code} // '') =~ /^2/;
	if ($stage eq 'RCPT' || $stage eq 'DATA') {
		my $any = grep { ($_->{code} // '') =~ /^2/ } @{($c->{transaction} // {})->{recipients} // []};
		$code = '503 5.5.1' if !$open || ($stage eq 'DATA' && !$any);
	}
	$code = '503 5.5.1' if $stage eq 'final' && $key eq '';
	return undef unless defined $code;
	my $who = $stage =~ /^(?:RCPT|final)$/ ? "$message $key" : $message;
	$self->{said}{refused}{$who}++ if $code =~ /^5/ && $code !~ /^503/;
	$self->{said}{taken}{$who}++ if $code =~ /^2/ && $stage eq 'final';
	my @steps = { do => 'line', text => "$code words" };
	unshift @steps, { do => 'pause', seconds => rand $m->{delay} } if $m->{delay} && rand() < 0.1;
	push @steps, { do => 'line', text => (map { @$_ } values %codes)[rand 20] // 'nonsense' } if $m->{surplus} && rand() < $m->{surplus};
	return \@steps;
}

sub vanish($self) {
	return if $self->{gone}++;
	$self->{loop}->after(0, sub { $self->{server}->close });
	$self->{loop}->after(0.01 + rand 0.2, sub { listen_again($self); $self->{gone} = 0 });
}

sub judge($self) {
	my ($scheduler, $bad) = @$self{qw(scheduler bad)};
	my $ending = $scheduler->finish;
	push @$bad, "the agent ended with $ending: " . join(' | ', @{$scheduler->{comments}}) if $ending ne '0';
	$scheduler->check_files;
	$self->{loop}->run(1, sub { !$self->{gone} }) if $self->{gone};
	$self->{server}->close;
	push @$bad, @{$scheduler->{problems}};
	for my $control (values %{$self->{spool}{messages}}) {
		for my $r (@{$control->{recipients}}) {
			my $report = $scheduler->{reports}{"$control->{id}/$r->{offset}"};
			my $outcome = $report ? $report->{outcome} : 'none';
			my $who = "$control->{name} $r->{user}";
			$self->{outcomes}{$outcome}++;
			push @$bad, "$who has no outcome" if $outcome eq 'none';
			# by its number alone a reply too many may pass for another: then only that there is one outcome
			next if $self->{manner}{astray};
			push @$bad, "$who: delivered without a 2xx" if $outcome eq 'delivered' && !$self->{said}{taken}{$who};
			push @$bad, "$who: failed without a refusal: $report->{text}"
				if $outcome eq 'failed' && !$self->{said}{refused}{$who} && !$self->{said}{refused}{$control->{name}};
		}
	}
}
