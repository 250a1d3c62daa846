#!/usr/bin/perl
# A resolver that takes long, or never answers, holds up nobody but the mail for its own name.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp ();
use Time::HiRes qw(time);
use Loop;
use Spool;
use LmtpServer;
use Scheduler;
use Tool qw(preload);

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
plan skip_all => 'a library cannot be put in front of a sanitizer' if $ENV{ZLMTP_SANITIZED};

my $dir = File::Temp->newdir('/tmp/zl-XXXXXX');
Spool::put(undef, "$dir/slow.c", <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		(int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");

	if (name != NULL && strcmp(name, "slow.test") == 0)
		sleep(4);
	if (name != NULL && strcmp(name, "silent.test") == 0) {
		close(open(getenv("ASKED"), O_WRONLY | O_CREAT, 0600));
		sleep(1000);
	}
	return real(name != NULL && strcmp(name, "slow.test") == 0 ? "localhost" : name, service, hints, list);
}
C
my $library = preload("$dir/slow.c") // plan skip_all => 'no compiler';

# all of them wait at the same time
my $loop = Loop->new;
my %silent = map { $_ => start($_, 10, 'silent.test', 'silent.test') } 1, 4;
# longer than the name takes on a slow machine
my $slow = start(4, 60, ('slow.test') x 5, ('[127.0.0.1]') x 5);
stops_at_once($_) for 1, 4;
delivers_meanwhile($slow, 4);
ends_with_the_limit($silent{$_}, $_) for 1, 4;
done_testing;

sub start($sessions, $patience, @hosts) {
	my $self = { when => {}, dir => File::Temp->newdir('/tmp/zl-XXXXXX') };
	$self->{spool} = Spool->new("$self->{dir}/post");
	$self->{server} = LmtpServer->new(loop => $loop, target => 'tcp', lenient => 1);
	$self->{scheduler} = Scheduler->new(loop => $loop, spool => $self->{spool}, channel => 'lmtp', program => $program,
		environment => { LD_PRELOAD => $library, ASKED => "$self->{dir}/asked" },
		arguments => [qw(-c lmtp -h client.example -T), "conn=${patience}s", '-O', "connections=$sessions", '-p', $self->{server}->port]);
	my $name = 101;
	for my $host (@hosts) {
		$self->{spool}->add(name => $name, body => "x\n", groups => [{ sender => ['smtp', 'mx', 'ann@test'],
			header => "Subject: x\n", recipients => [{ channel => 'lmtp', host => $host, user => "to$name" }] }]);
		$self->{scheduler}->job($name++, $host);
	}
	$self->{scheduler}{on_report} = sub ($report) { $self->{when}{$report->{recipient}{user}} = time - $self->{begun} };
	$self->{begun} = time;
	return $self;
}

sub finish($self) {
	my $ending = $self->{scheduler}->finish;
	$self->{server}->close;
	is_deeply([$ending, @{$self->{scheduler}{problems}}], ['0'], 'the agent ends well');
}

sub delivers_meanwhile($self, $sessions) {
	$loop->run(120, sub { $self->{scheduler}->satisfied });
	my %outcome = map { ($_->{recipient}{user} => $_->{outcome}) } values %{$self->{scheduler}{reports}};
	is_deeply(\%outcome, { map { ("to$_" => 'delivered') } 101 .. 110 }, "all are delivered, $sessions sessions");
	my @waited = grep { $self->{when}{"to$_"} >= $self->{when}{to101} } 106 .. 110;
	is_deeply(\@waited, [], 'mail for other hosts did not wait for the slow name');
	finish($self);
}

sub ends_with_the_limit($self, $sessions) {
	$loop->run(60, sub { $self->{scheduler}->satisfied });
	my @text = map { "$_->{word} $_->{text}" } values %{$self->{scheduler}{reports}};
	is(scalar(grep { /^retryat .*no answer from the resolver within 10 s/ } @text), 2,
		"a resolver that never answers has the time of a connection, $sessions sessions") or diag join "\n", @text;
	finish($self);
}

sub stops_at_once($sessions) {
	my $self = start($sessions, 10, 'silent.test');
	my $until = time + 20;
	$loop->run(0.02, sub { 0 }) until -e "$self->{dir}/asked" || time > $until;
	my $begun = time;
	kill TERM => $self->{scheduler}{agent}{pid};
	$loop->run(20, sub { !$self->{scheduler}{agent}{socket} });
	cmp_ok(time - $begun, '<', 8, "SIGTERM does not wait for the resolver, $sessions sessions");
	finish($self);
}
