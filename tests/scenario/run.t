#!/usr/bin/perl
# Plays every scenario of this directory (or those named as arguments) against channel/lmtp, in LMTP and in SMTP; without
# ZLMTP_LONG=1 one of four of the quick ones in SMTP, as the two share all but what follows the data.
# Environment: BUILD_DIR, SRC_DIR; LMTP names another agent, ZLMTP_TRACE=1 prints every transcript.

use v5.36;
use FindBin;
use Socket 'inet_aton';
use lib "$FindBin::Bin/../lib";
use Certificates;
use Extent 'long';
use Scenario;
use ProbeRun;
use ScenarioRun;
use Syslog;
use Workers;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
if (!-x $program) {
	say "Bail out!  no $program";
	exit 1;
}
my @files = @ARGV ? @ARGV : sort glob "$FindBin::Bin/*.lmtp";

STDOUT->autoflush(1);
my @scenarios = map { in_its_protocols($_) } @files;
my $twins = 0;
@scenarios = grep { ($_->{protocol} // '') ne '' || $_->{play} ne 'smtp' || $_->{within} <= 5 && $twins++ % 4 == 0 } @scenarios if !long() && !@ARGV;
say '1..', scalar @scenarios;

Certificates->directory if grep { defined $_->{tls} } @scenarios;    # once for all children
Syslog->possible;
my @results = Workers::run(4, [map { { slow => $_->{within} > 5, work => play_one($_) } } @scenarios]);
my $failed = 0;
for my $i (0 .. $#scenarios) {
	my ($ok, $note, @more) = split /\n/, $results[$i] // "not ok\n\nthe scenario ended without a result";
	my $name = $scenarios[$i]{title} =~ s/#/\\#/gr;
	say "$ok ", $i + 1, " - $name", $note // "";
	say "# $_" for @more;
}

# What there is to know about the scenario of a file before it is played, for each protocol that it is for.  A child reads it
# once more: with all of them in memory each fork of an agent would take longer than what is played.
sub in_its_protocols($file) {
	my @read = map { my $p = $_; eval { Scenario->read($file, $p) } // { path => $file, title => $file, broken => $@, within => 1 } } 'lmtp', 'smtp';
	$read[1]{title} .= ', in SMTP';
	my @wanted = qw(path title play protocol within tls broken);
	return map { my $s = $_; +{ map { $_ => $s->{$_} } @wanted } } grep { ($_->{protocol} // '') eq '' || $_->{protocol} eq $_->{play} } @read;
}

# A function that plays a scenario and returns "ok" or "not ok", a TAP directive, and lines for people.
sub play_one($known) {
	return sub {
		return "not ok\n\n$known->{broken}" if $known->{broken};
		my $s = Scenario->read($known->{path}, $known->{play});
		my $missing = missing($s);
		return "ok\n # SKIP $missing\n" if $missing;
		my $run = eval { ($s->{probes} ? 'ProbeRun' : 'ScenarioRun')->play($s, $program) } or return "not ok\n\n$s->{path}: $@";
		my @problems = $run->problems;
		my @said = map { s/\n/ /gr } @problems;
		push @said, $run->transcript if @problems || $ENV{ZLMTP_TRACE};
		unshift @said, "$s->{path}:" if @said;
		$run->end;
		return join "\n", @problems ? 'not ok' : 'ok', defined $s->{todo} ? " # TODO $s->{todo}" : '', @said;
	};
}

# What the machine lacks for this scenario.
sub missing($s) {
	my %have = (
		root => sub { $> == 0 },
		user => sub { $> != 0 },
		lmdb => sub { (Spool::slurp("$build/config.h") // '') =~ /HAVE_LMDB 1/ },
		ipv6 => sub { IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1) },
	);
	return 'localhost is no name here' if grep({ ($_ // '') eq 'localhost' } @$s{qw(target argument-host)}) && !defined inet_aton('localhost');
	for my $need (split ' ', $s->{needs} // '') {
		return "needs $need" unless ($have{$need} // die "unknown need $need\n")->();
	}
	return undef;
}
