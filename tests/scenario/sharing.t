#!/usr/bin/perl
# What several sessions to one server share: a failure of one of them must not judge, reset or free anything of the
# others.  Over UNIX, IPv4 and IPv6, with one and with four sessions, each with each with ZLMTP_LONG=1, all jobs fed at once.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'long';
use IO::Socket::IP;
use File::Temp ();
use Loop;
use Spool;
use LmtpServer;
use Scheduler;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
my $patience = 60;

my @targets = qw(unix tcp);
push @targets, 'tcp6' if IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1);
for my $target (@targets) {
	for my $sessions (long() || $target eq 'unix' ? (1, 4) : $target eq 'tcp' ? 4 : 1) {
		my $where = "$target, $sessions session" . ($sessions > 1 ? 's' : '');
		nobody_listens($target, $sessions, $where);
		used_up($target, $sessions, $where, $_) for '452 4.3.2', '550 5.7.0';
		one_connection_only($target, $sessions, $where);
		listener_vanishes($target, $sessions, $where);
		refused_in_the_window($target, $sessions, $where);
		refused_in_the_window_and_taken($target, $sessions, $where);
		two_sorts_of_servers($target, $sessions, $where);
	}
}
done_testing;

# ---- the parts ----

# An agent with a server that counts what it has stored.  Options of LmtpServer; stage: sub as a rule.
sub start($target, $sessions, %o) {
	my $self = { loop => Loop->new, stored => {}, next => 1, target => $target };
	$self->{dir} = File::Temp->newdir('/tmp/zl-XXXXXX');
	$self->{spool} = Spool->new("$self->{dir}/post");
	$self->{options} = { loop => $self->{loop}, target => $target, path => "$self->{dir}/s", lenient => 1, %o,
		rules => [$o{rule} // (), sub ($stage, $key, $c) {
			$self->{stored}{$key}++ if $stage eq 'final' && $key ne '';
			return undef;
		}] };
	listen_again($self);
	my @reach = $target eq 'unix' ? ('-F', "UNIX:$self->{dir}/s")
		: ('-F', $target eq 'tcp' ? "[127.0.0.1]:$self->{port}" : "[IPv6:::1]:$self->{port}");
	$self->{log} = "$self->{dir}/log";
	$self->{scheduler} = Scheduler->new(loop => $self->{loop}, spool => $self->{spool}, channel => 'lmtp', program => $program,
		arguments => [qw(-c lmtp -h client.example), @reach, '-O', "connections=$sessions", '-l', $self->{log}]);
	return $self;
}

sub listen_again($self) {
	$self->{server} = LmtpServer->new(%{$self->{options}}, defined $self->{port} ? (port => $self->{port}) : ());
	$self->{port} = $self->{server}->port if $self->{target} ne 'unix';
	return;
}

# Puts messages with one recipient each into the spool, feeds all of them at once and waits.
sub deliver($self, $count) {
	my @users;
	my $first = $self->{next};
	for (1 .. $count) {
		my $n = $self->{next}++;
		push @users, "r$n\@test";
		$self->{spool}->add(name => 100000 + $n, body => "text of $n\n", groups => [{ sender => ['smtp', 'mx', "c$n\@test"],
			header => "Subject: $n\n", recipients => [{ channel => 'lmtp', host => 'store', user => "r$n\@test" }] }]);
	}
	feed($self, $first .. $self->{next} - 1);
	return @users;
}

sub feed($self, @numbers) {
	$self->{scheduler}->job(100000 + $_, 'store') for @numbers;
	push @{$self->{problems}}, 'no #hungry' unless $self->{loop}->run($patience, sub { $self->{scheduler}->satisfied });
}

sub outcome($self, $user) {
	my ($report) = grep { $_->{recipient}{user} eq $user } values %{$self->{scheduler}{reports}};
	return $report ? $report->{outcome} : 'none';
}

sub finish($self, $name, @bad) {
	my $ending = $self->{scheduler}->finish;
	push @bad, "agent ended with $ending" if $ending ne '0';
	$self->{scheduler}->check_files;
	$self->{server}->close;
	push @bad, @{$self->{problems} // []}, @{$self->{scheduler}{problems}};
	ok(!@bad, $name) or diag join "\n", @bad[0 .. ($#bad > 9 ? 9 : $#bad)];
}

sub must_be($self, $outcome, $copies, @users) {
	return map {
		my ($is, $stored) = (outcome($self, $_), $self->{stored}{$_} // 0);
		$is eq $outcome && $stored == $copies ? () : "$_: $is with $stored copies, expected $outcome with $copies";
	} @users;
}

sub line($text) { [{ do => 'line', text => $text }] }

# ---- what happens ----

sub nobody_listens($target, $sessions, $where) {
	my $self = start($target, $sessions);
	$self->{server}->close;
	my @users = deliver($self, 12);
	finish($self, "nobody listens: all deferred, $where", must_be($self, 'deferred', 0, @users));
}

# Ten messages on a connection, then MAIL is refused.
sub used_up($target, $sessions, $where, $code) {
	my $self = start($target, $sessions, caps => [qw(PIPELINING CHUNKING ENHANCEDSTATUSCODES)], rule => sub ($stage, $key, $c) {
		if ($stage eq 'MAIL') {
			$c->{refuses} = ++$c->{mails} > 10;
			return $c->{refuses} ? line("$code no more in this session") : undef;
		}
		return $c->{refuses} && $stage =~ /^(?:RCPT|DATA|final)$/ ? line('503 5.5.1 MAIL first') : undef;
	});
	my @users = deliver($self, 100);
	my $connections = @{$self->{server}{connections}};
	my @bad = must_be($self, 'delivered', 1, @users);
	push @bad, "$connections connections" if $connections > 40;
	finish($self, "ten messages on a connection, then $code: all delivered once, $where", @bad);
}

# All further connections are refused while there is one.
sub one_connection_only($target, $sessions, $where) {
	my $self;
	$self = start($target, $sessions, caps => [qw(PIPELINING ENHANCEDSTATUSCODES)], rule => sub ($stage, $key, $c) {
		return undef unless $stage eq 'greeting';
		my $open = grep { $_->{fh} && $_ != $c } @{$self->{server}{connections}};
		return $open ? [@{line('421 4.7.0 too many connections')}, { do => 'close' }] : undef;
	});
	my @users = deliver($self, 30);
	finish($self, "a second connection is refused: the first one carries all, $where", must_be($self, 'delivered', 1, @users));
}

# All connections and the listener go in the middle; later they are back.
sub listener_vanishes($target, $sessions, $where) {
	my ($self, $gone);
	$self = start($target, $sessions, caps => [qw(PIPELINING ENHANCEDSTATUSCODES)], rule => sub ($stage, $key, $c) {
		return undef unless $stage eq 'MAIL' && !$gone && keys %{$self->{stored}} >= 7;
		$gone = 1;
		return [{ do => 'call', code => sub ($c) { $self->{server}->close } }];
	});
	my @users = deliver($self, 30);
	my @bad = grep { outcome($self, $_) eq 'failed' || outcome($self, $_) eq 'none' } @users;
	push @bad, 'the server did not vanish' unless $gone;
	push @bad, map { "$_: delivered, not stored" } grep { outcome($self, $_) eq 'delivered' && !$self->{stored}{$_} } @users;
	my @again = grep { outcome($self, "r$_\@test") eq 'deferred' } 1 .. 30;
	push @bad, 'nobody was deferred' unless @again;
	listen_again($self);
	feed($self, @again);
	push @bad, grep { outcome($self, $_) ne 'delivered' } @users;
	finish($self, "a server that vanishes and comes back gets all, $where", @bad);
}

# MAIL of one message is refused by 503 although it was sent ahead; all others are answered in their places.
sub refused_in_the_window($target, $sessions, $where) {
	my $refused = 0;
	my $self = start($target, $sessions, caps => [qw(PIPELINING CHUNKING ENHANCEDSTATUSCODES)], rule => sub ($stage, $key, $c) {
		if ($stage eq 'MAIL') {
			$c->{refuses} = $key =~ /^c1[05]@/ && !$refused++;
			return $c->{refuses} ? line('503 5.5.1 nested MAIL') : undef;
		}
		return $c->{refuses} && $stage =~ /^(?:RCPT|DATA|final)$/ ? line('503 5.5.1 MAIL first') : undef;
	});
	my @users = deliver($self, 30);
	my @bad = must_be($self, 'delivered', 1, @users);
	push @bad, 'nothing was refused' unless $refused;
	finish($self, "503 to a MAIL sent ahead: nobody gets a second copy, $where", @bad);
}

# The same, and the server delivers it all the same: whoever may get a second copy, the log says so.
sub refused_in_the_window_and_taken($target, $sessions, $where) {
	my $refused = 0;
	my $self = start($target, $sessions, caps => [qw(PIPELINING CHUNKING ENHANCEDSTATUSCODES)], rule => sub ($stage, $key, $c) {
		$c->{transaction}{mail}{code} = '250' if $stage eq 'RCPT' && $c->{transaction};
		return line('503 5.5.1 nested MAIL') if $stage eq 'MAIL' && $key =~ /^c1[05]@/ && !$refused++;
		return undef;
	});
	my @users = deliver($self, 30);
	my $log = Spool::slurp($self->{log});
	my @bad = map { "$_: " . outcome($self, $_) } grep { outcome($self, $_) !~ /^de/ } @users;
	for my $user (grep { ($self->{stored}{$_} // 0) > 1 || (outcome($self, $_) eq 'deferred' && $self->{stored}{$_}) } @users) {
		push @bad, "$user: a second copy, and the log does not say so"
			unless $log =~ /recipient=\Q$user\E .*maybe_duplicate=yes/;
	}
	finish($self, "503 to a MAIL sent ahead that is delivered: the log tells of second copies, $where", @bad);
}

# Behind one address there are two servers, with and without enhanced codes, and with other words.
sub two_sorts_of_servers($target, $sessions, $where) {
	my %odd = (MAIL => '250 ok', RCPT => '250 ok', final => '250 stored');
	my %third = (MAIL => '250 2.5.0 fine', RCPT => '250 2.5.0 fine', final => '250 2.6.0 stored');
	my $self;
	$self = start($target, $sessions, caps => [qw(PIPELINING CHUNKING ENHANCEDSTATUSCODES)], rule => sub ($stage, $key, $c) {
		my $sort = $c->{number} % 3;
		if ($stage eq 'LHLO' && $sort == 1) {
			return [map { { do => 'line', text => $_ } } $c->hello_lines(qw(PIPELINING CHUNKING))];
		}
		# each connection ends after a while, so that there are many of all sorts
		return [@{line('421 4.3.2 enough')}, { do => 'close' }] if $stage eq 'MAIL' && ++$c->{mails} > 6;
		my $text = ($sort == 1 ? \%odd : $sort == 2 ? \%third : {})->{$stage} or return undef;
		$self->{stored}{$key}++ if $stage eq 'final';
		return line($text);
	});
	my @users = deliver($self, 60);
	my @bad = must_be($self, 'delivered', 1, @users);
	push @bad, 'out of step: ' . $_ for grep { /out of step/ } @{$self->{scheduler}{comments}};
	finish($self, "servers with other words behind one address: no second copies, $where", @bad);
}
