#!/usr/bin/perl
# Control and message files as a real ZMailer router wrote them (tests/corpus), delivered to real Dovecot: the right
# recipients of the right channel and host, the header of the control file, the body byte by byte.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use RealDovecot;
use RealDelivery;
use Spool;

my $missing = RealDovecot::missing();
plan skip_all => $missing if $missing;
my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");
my $corpus = "$FindBin::Bin/../corpus";

my %pairs = read_list();
my %users = map { $_->{user} => 1 } map { @{$_->{recipients}} } values %pairs;
# mailboxes have names in lower case, and no detail
my %logins = map { login($_) => 1 } keys %users;
my $dovecot = RealDovecot->start(count => 1, users => [sort keys %logins]);
for my $name (sort keys %pairs) {
	subtest $name => sub { deliver_pair($name, $pairs{$name}) };
}
$dovecot->stop;
done_testing;

sub login($user) { lc $user =~ s/\+[^@]*//r }

# "NN name ... spoolfile=PATH : remark" of tests/corpus/README.
sub read_list() {
	my %found;
	for (split /\n/, Spool::slurp("$corpus/README")) {
		my ($number, $name, $path) = /^(\d\d) (\S+) .*spoolfile=(\S+)/ or next;
		$found{"$number-$name"} = Spool::parse($path, Spool::slurp("$corpus/$number-$name.ctl"));
	}
	return %found;
}

sub deliver_pair($name, $control) {
	# error is the channel of what cannot be delivered; every other goes to the agent started for it
	my %channels = map { $_->{channel} => 1 } @{$control->{recipients}};
	for my $channel (grep { $_ ne 'error' } sort keys %channels) {
		deliver_channel($name, $control, $channel);
	}
	ok(1, 'nothing is for a mailbox') if !grep { $_ ne 'error' } keys %channels;
}

sub deliver_channel($name, $control, $channel) {
	my $run = RealDelivery->new(program => $program, socket => $dovecot->{socket}, channel => $channel);
	my $path = $control->{name};
	my $spool = $run->{spool};
	$spool->put($spool->control_path($path), Spool::slurp("$corpus/$name.ctl"));
	$spool->put($spool->message_path($path), Spool::slurp("$corpus/$name.msg"));
	$spool->adopt($path);
	my @ours = grep { $_->{channel} eq $channel } @{$control->{recipients}};
	$dovecot->empty(login($_->{user})) for @ours;
	my %hosts = map { lc $_->{host} => 1 } @ours;
	$run->job($path, $_, 60) for sort keys %hosts;
	my @got = $run->results($path);
	my @wanted = map { $_->{channel} ne $channel ? 'none' : ($_->{dsn} // '') =~ /NOTIFY=\S*SUCCESS/ ? 'ok2' : 'ok3' }
		@{$control->{recipients}};
	is("@got", "@wanted", "$channel: the result of each recipient");
	my @unlike = grep { !is_stored($spool, $control, $_) } @ours;
	is(join(' ', map { $_->{user} } @unlike), '', "$channel: what is stored");
	is_deeply([$run->finish], [], "$channel: nothing to complain about");
}

# Is the message in the mailbox, or the folder, of this recipient?
sub is_stored($spool, $control, $r) {
	my $text = $spool->expected_content($control, $r) =~ s/\r\n/\n/gr;
	my ($folder) = $r->{user} =~ /\+([^@]*)/;
	# a folder name that Dovecot cannot have, with a dot in it, means the inbox
	my @stored = map { $dovecot->messages(login($r->{user}), $_) } $folder, undef;
	for my $stored (@stored) {
		return 1 if substr($stored, -length $text) eq $text;
	}
	diag "$r->{user}: expected:\n$text\nstored:\n", join "\n----\n", @stored;
	return 0;
}
