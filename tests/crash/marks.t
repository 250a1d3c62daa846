#!/usr/bin/perl
# Marks and d lines that cannot be written, whatever the disk says and wherever it says it: in the agent, in runqueue, in both.
# What was delivered is not delivered again while runqueue runs, nor by the next one if the disk was well again before its
# end; nobody is lost, and whoever was refused is told of.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use CrashStore;
use Errno qw(EIO ENOSPC EROFS EDQUOT);
use Extent qw(long some_of);
use File::Temp ();
use LmtpServer;
use Loop;
use POSIX ();
use Spool;
use Test::More;
use Tool;

plan skip_all => 'preloading does not go with sanitizers' if $ENV{ZLMTP_SANITIZED};
my $build = $ENV{BUILD_DIR};
my $library = preload("$ENV{SRC_DIR}/tests/db/failio.c") // plan skip_all => 'no compiler';
delete @ENV{qw(ZCONFIG MAILVAR DBTYPE)};
my $loop = Loop->new;
my $offices = 0;

# A store, and a post office with one message: recipients user... are delivered, unknown... and full... refused, later...
# deferred until $self->{open} is set.  What fails does so as long as the file {fault} is there.
sub office(@users) {
	my $dir = scratch('office' . ++$offices);
	mkdir $dir;
	spew("$dir/said", '');
	my $self = { dir => $dir, fault => "$dir/fault", spool => Spool->new("$dir/po"), taken => {}, open => 0 };
	$self->{server} = LmtpServer->new(loop => $loop, target => 'unix', path => "$dir/s", lenient => 1, script => sub ($n) { [{ do => 'serve' }] },
		rules => [sub ($stage, $key, $connection) {
			return [{ do => 'line', text => '550 5.1.1 no such user' }] if $stage eq 'RCPT' && $key =~ /^unknown/;
			return [{ do => 'line', text => '450 4.2.1 later' }] if $stage eq 'RCPT' && $key =~ /^later/ && !$self->{open};
			return [{ do => 'line', text => '552 5.2.2 full' }] if $stage eq 'final' && $key =~ /^full/;
			return undef;
		}], on_content => sub ($transaction, $connection) {
			$self->{taken}{$_->{address}}++ for grep { $_->{address} !~ /^full/ } @{$transaction->{accepted}};
		});
	$self->{spool}->add(name => 1001, body => "text\n", groups => [{ sender => ['smtp', 'mx', 'ann@example.org'], header => "Subject: x\n",
		recipients => [map { { channel => 'lmtp', host => 'store', user => $_ } } @users] }]);
	$self->{users} = \@users;
	return $self;
}

# What lets a call fail in a command, "CALL:N:ERRNO"; undef: nothing does.
sub failing($self, $call) {
	return ('/usr/bin/env', '-u', 'LD_PRELOAD') if !defined $call;
	return ('/usr/bin/env', "LD_PRELOAD=$library", "FAIL_CALL=$call", "FAIL_WHILE=$self->{fault}", "FAIL_COUNT=$self->{dir}/happened");
}

sub conf($self, $agent, @more) {
	my $command = join ' ', failing($self, $agent), "$build/channel/lmtp", @more, "-c \$channel -h client.example -F UNIX:$self->{dir}/s";
	spew("$self->{dir}/scheduler.conf", "lmtp/*\n\tinterval=1s\n\tretries=\"1\"\n\tcommand=\"$command\"\n");
}

sub start($self, $failing, @arguments) {
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{dir}/said";
		open STDERR, '>&', \*STDOUT;
		exec failing($self, $failing), "$build/channel/runqueue", @arguments, '-P', $self->{spool}->dir, '-f', "$self->{dir}/scheduler.conf" or POSIX::_exit(127);
	}
	return $self->{pid} = $pid;
}

sub until_true($condition) { $loop->run(60, sub { $loop->after(0.01, sub {}); return $condition->() }) }

sub finish($self) {
	my $done = until_true(sub { waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid} });
	my $status = $?;
	return $status if $done;
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	return 'no end after 60 s';
}

sub run_queue($self, $failing, @arguments) {
	start($self, $failing, @arguments);
	return finish($self);
}

sub tags($self) { join '', map { $_->{tag} } @{($self->{spool}->read(1001) // { recipients => [] })->{recipients}} }

# What is wrong in the end, when all has been tried without faults.
sub defects($self) {
	my @bad;
	push @bad, map { "$_ was taken $self->{taken}{$_} times" } grep { $self->{taken}{$_} > 1 } sort keys %{$self->{taken}};
	push @bad, map { "$_ was lost" } grep { /^(?:user|later)/ && !$self->{taken}{$_} } @{$self->{users}};
	my @left = map { s{.*/}{}r } glob "$self->{dir}/po/transport/* $self->{dir}/po/queue/*";
	push @bad, "left in the queue: @left, " . tags($self) if @left;
	my $reports = join '', map { slurp($_) } glob "$self->{dir}/po/postman/*";
	push @bad, map { "nobody was told of $_" } grep { /^(?:unknown|full)/ && $reports !~ /^Recipient: +\Q$_\E$/m } @{$self->{users}};
	$self->{server}->close;
	push @bad, slurp("$self->{dir}/said") if @bad;
	return @bad;
}

my @errors = ([EIO, 'EIO'], [ENOSPC, 'ENOSPC'], [EROFS, 'EROFS'], [EDQUOT, 'EDQUOT']);
my @users = qw(user1 unknown1 user2 full1 later1);

# ---- the agent alone, then runqueue alone: each call that can fail, once and from then on ----

for my $where ('agent', 'runqueue') {
	for my $call (qw(pwrite write fsync)) {
		for my $error (some_of(1, @errors)) {
			my (@bad, $n);
			for ($n = 1; $n < 40 && @bad < 5; $n++) {
				my $happened = 0;
				for my $further (long() ? '' : (), '+') {
					my $self = office(@users);
					my $what = "$call:$n$further:$error->[0]";
					conf($self, $where eq 'agent' ? $what : undef, $n % 2 ? () : ('-O', 'sync=marks'));
					spew($self->{fault}, '');
					my $status = run_queue($self, $where eq 'runqueue' ? $what : undef, '-1');
					$happened ||= -e "$self->{dir}/happened";
					push @bad, "$what: ended with $status" if $status !~ /^\d+$/ || $status & 127;
					unlink $self->{fault};
					$self->{open} = 1;
					run_queue($self, undef, '-1');
					run_queue($self, undef, '-1');
					push @bad, map { "$what: $_" } defects($self);
				}
				last if !$happened;
			}
			is join("\n", @bad), '', "$where: $call fails with $error->[1], " . ($n - 1) . ' of them';
		}
	}
}

# ---- both, until the disk is well again ----

# The agent has locked the two and delivered to the first; neither it nor runqueue can mark that.
sub unmarked($error) {
	my $self = office(qw(user1 later1));
	conf($self, "pwrite:3+:$error->[0]");
	spew($self->{fault}, '');
	start($self, "pwrite:1+:$error->[0]", '-w');
	until_true(sub { slurp("$self->{dir}/said") =~ /mark of the recipient .* cannot be written/ }) or diag slurp("$self->{dir}/said");
	return $self;
}

sub ask($self, @words) {
	my $got = run(["$build/channel/zlmtp-queue", '-P', $self->{spool}->dir, @words]);
	return "$got->{status} $got->{out}$got->{err}";
}

sub ends_well($self, $what) {
	$self->{open} = 1;
	kill 'TERM', $self->{pid};
	finish($self);
	conf($self, undef);
	run_queue($self, undef, '-1') for 1, 2;
	is join("\n", defects($self)), '', $what;
}

for my $error (some_of(2, @errors)) {
	my $self = unmarked($error);
	unlink $self->{fault};
	ends_well($self, "$error->[1]: runqueue marks at its end what it could not mark before");

	$self = unmarked($error);
	unlink $self->{fault};
	ask($self, 'hold', 'all');
	ask($self, 'release', 'all');
	ends_well($self, "$error->[1]: hold and release do not forget it");

	$self = unmarked($error);
	my $said = ask($self, 'hold', 'all');
	like $said, qr/^[1-9]\d* .*cannot be written/s, "$error->[1]: nothing is done to a message whose marks cannot be written";
	unlink $self->{fault};
	ask($self, 'release', 'all');
	ends_well($self, '... and nobody gets anything twice');
}

# ---- who has expired, and cannot be marked as failed: said each time, written down once ----

{
	my $self = office('later1');
	utime time - 1000, time - 1000, "$self->{dir}/po/queue/1001";
	conf($self, undef);
	spew("$self->{dir}/scheduler.conf", slurp("$self->{dir}/scheduler.conf") =~ s/interval=1s/interval=1s expiry=10s/r);
	spew($self->{fault}, '');
	run_queue($self, 'pwrite:1+:' . EIO, '-1') for 1 .. 3;
	is scalar(() = slurp("$self->{dir}/po/transport/1001") =~ /^d/mg), 1, 'one d line, however often it is tried to mark a recipient as failed';
	is scalar(() = slurp("$self->{dir}/said") =~ /^runqueue: 1001: the mark of the recipient at \d+ cannot be written: /mg), 3, '... which is said each time';
	unlink $self->{fault};
	run_queue($self, undef, '-1');
	like join('', map { slurp($_) } glob "$self->{dir}/po/postman/*"), qr/^Recipient: +later1$/m, '... and then it fails';
	$self->{server}->close;
}

# ---- ZMailer's scheduler writes no marks: what could not be marked may come twice, and nothing else happens ----

for my $call (qw(pwrite write fsync)) {
	for my $error (some_of(1, @errors)) {
		my (@bad, $n);
		for ($n = 1; $n < 80 && @bad < 5; $n += long() ? 1 : 3) {
			my $happened = scratch('happened');
			unlink $happened;
			my $store = CrashStore->new(program => "$build/channel/lmtp", arguments => [], caps => ['PIPELINING'], messages => 4, recipients => 3, unsynced => 1,
				environment => { LD_PRELOAD => $library, FAIL_CALL => "$call:$n+:$error->[0]", FAIL_COUNT => $happened });
			$store->round("$build/channel/lmtp", []);
			$store->{environment} = {};
			# a recipient that cannot be locked is left for another round, and not reported in this one
			my $expected = $call eq 'pwrite' ? qr/#resync|before the report of/ : qr/#resync/;
			push @bad, map { "$call:$n: $_" }
				grep { !/is reported delivered and marked|was delivered again after that was reported|$expected/ } $store->finish;
			last if !-e $happened;
		}
		is join("\n", @bad), '', "beside ZMailer's scheduler: $call fails with $error->[1] from one of $n on";
	}
}

done_testing;
