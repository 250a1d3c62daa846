package LdapSync;

# An ldapsync with its config and map in a directory of its own, and what its map should hold according to
# the directory.

use v5.36;
use Fcntl qw(F_GETLK F_SETLKW F_WRLCK F_UNLCK);
use File::Temp ();
use POSIX ();
use Test::More ();
use Time::HiRes ();
use RealSlapd;

our $slow = $ENV{ZLMTP_SANITIZED} ? 4 : 1;

my %running;

# The first line of a test: nothing is tried without slapd or ldapsync, and what was made goes also if the test is told to end.
sub skip_without() {
	my $missing = RealSlapd::missing();
	$missing ||= 'built without LDAP' unless -x "$ENV{BUILD_DIR}/db/ldapsync";
	Test::More::plan(skip_all => $missing) if $missing;
	$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
}

sub has_lmdb() {
	local (@ARGV, $/) = "$ENV{BUILD_DIR}/config.h";
	return <> =~ /HAVE_LMDB 1/;
}

# Options: type (btree), environment (true: in a Berkeley DB environment), settings (lines before the rules), rules (instead of the
# usual two), options (of the command line, for one that stays), reader: as whom to ask (default: SASL EXTERNAL over ldapi).
sub new($class, $slapd, %o) {
	my $self = bless { slapd => $slapd, type => 'btree', settings => '', %o }, $class;
	$self->{dir} = File::Temp->newdir('/tmp/zy-XXXXXX');
	$self->{map} = "$self->{dir}/users";
	$self->{rules} //= usual_rules();
	$self->{access} //= "uri @{[$slapd->uri('ldapi')]}\nauthmethod sasl\nsasl_mech EXTERNAL\n";
	$self->_put('env', "envhome $self->{dir}\nenvflags CDB,CREATE\n") if $self->{environment};
	$self->configure;
	return $self;
}

sub usual_rules() {
	return <<'END';
rule accounts
filter (objectClass=CourierMailAccount)
key {mail}
value smtp-lmtp!node!{mailbox}%2
rule aliases
filter (objectClass=CourierMailAlias)
key {mail}
value {maildrop}
values many
END
}

sub dir($self) { "$self->{dir}" }
sub config($self) { "$self->{dir}/ldapsync.conf" }
sub program($self) { "$ENV{BUILD_DIR}/db/ldapsync" }

sub configure($self) {
	my $environment = $self->{environment} ? "environment $self->{dir}/env\n" : '';
	$self->_put('ldapsync.conf', "$self->{access}base $RealSlapd::hosting\nmap $self->{map}\ntype $self->{type}\n$environment"
		. "$self->{settings}\n$self->{rules}");
}

sub _put($self, $name, $text) {
	open my $fh, '>', "$self->{dir}/$name" or die "$name: $!\n";
	print $fh $text;
	close $fh;
	chmod 0600, "$self->{dir}/$name";
}

# ---- the program ----

# One refresh; returns exit status and all it said.
sub once($self, @options) {
	my $said = RealSlapd::output_of(undef, $self->program, '-f', $self->config, '-1', map { split } @options);
	return ($? >> 8, $said);
}

sub start($self) {
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{dir}/log";
		open STDERR, '>&', \*STDOUT;
		no warnings 'exec';
		exec $self->program, '-v', ($self->{options} // [])->@*, '-f', $self->config, '-w';
		POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	$running{$pid} = 1;
	return $self;
}

# Returns its exit status, or -SIGNAL.
sub stop($self, $signal = 'TERM') {
	my $pid = delete $self->{pid} or return undef;
	kill $signal, $pid if $signal;
	my $deadline = Time::HiRes::time() + 20;
	while (waitpid($pid, POSIX::WNOHANG) == 0) {
		kill 'KILL', $pid if Time::HiRes::time() > $deadline;
		Time::HiRes::sleep(0.005);
	}
	delete $running{$pid};
	return $? & 127 ? -($? & 127) : $? >> 8;
}

# Its exit status if it ends by itself within $seconds.
sub ended($self, $seconds = 10) {
	my $deadline = Time::HiRes::time() + $seconds;
	while (Time::HiRes::time() < $deadline) {
		if (waitpid($self->{pid}, POSIX::WNOHANG) == $self->{pid}) {
			delete $running{delete $self->{pid}};
			return $? >> 8;
		}
		Time::HiRes::sleep(0.01);
	}
	return undef;
}

sub said($self) {
	open my $fh, '<', "$self->{dir}/log" or return '';
	local $/;
	return <$fh> // '';
}

# Waits until what it said since $self->{heard} is like $pattern.
sub hears($self, $pattern, $seconds = 10) {
	my $deadline = Time::HiRes::time() + $seconds;
	for (;;) {
		my $said = substr $self->said, $self->{heard} // 0;
		return 1 if $said =~ $pattern;
		return 0 if Time::HiRes::time() > $deadline;
		Time::HiRes::sleep(0.01);
	}
}

sub forget($self) { $self->{heard} = length $self->said }

sub DESTROY($self) {
	local ($?, $!);
	$self->stop('KILL');
}

END {
	local $?;
	kill 'KILL', keys %running;
}

# ---- map and directory ----

sub file($self) { "$self->{map}." . ($self->{type} eq 'lmdb' ? 'lmdb' : 'db') }

# Who puts files in the place of a map does not ask for its lock; one that is held makes ldapsync wait at the right moment.  What is to be
# done then; the lock is given up behind it.
sub while_it_waits($self, $begin, $then) {
	my $lock = pack 's s x4 q q l x4', F_WRLCK, 0, 1, 1, 0;
	my $turnstile = pack 's s x4 q q l x4', F_WRLCK, 0, 0, 1, 0;
	my $deadline = time + 20 * $slow;
	open my $fh, '+>>', $self->file . '.lock' or die;
	fcntl $fh, F_SETLKW, $lock or die "F_SETLKW: $!";
	$begin->();
	for (my $now = $turnstile; ; $now = $turnstile) {
		fcntl $fh, F_GETLK, $now or die "F_GETLK: $!";
		last if (unpack 's', $now) != F_UNLCK;
		return Test::More::fail('it waits for the lock') if time > $deadline;
		Time::HiRes::sleep(0.002);
	}
	$then->();
}

sub _dblookup($self) {
	return ("$ENV{BUILD_DIR}/db/dblookup", $self->{environment} ? ('-C', "$self->{dir}/env") : (), '-t', $self->{type});
}

# All records of the map; undef if it cannot be read.
sub map($self) {
	my %records;
	my $said = RealSlapd::output_of("$self->{dir}/dump.log", $self->_dblookup, '--dump', $self->{map});
	return undef if $? != 0;
	for my $line (grep { !/^#/ } split /\n/, $said) {
		$line =~ s/^([^\s:]+):?\s+// or die "unexpected line in dump: $line\n";
		$records{$1} = $line;
	}
	return \%records;
}

sub find($self, $key) {
	chomp(my $found = RealSlapd::output_of('/dev/null', $self->_dblookup, $self->{map}, $key));
	return $? == 0 ? $found : undef;
}

# True if a lookup of the key cannot tell.
sub cannot_tell($self, $key) {
	my $said = RealSlapd::output_of(undef, $self->_dblookup, $self->{map}, $key);
	return $? >> 8 == 75 && $said =~ /\Q$key\E: could not tell: .*its value is unclear/;
}

# What the usual rules make of the directory as it is.
sub expected($self) {
	my %records;
	for my $e (values $self->{slapd}->entries->%*) {
		my %class = map { $_ => 1 } $e->{objectClass}->@*;
		my $value = $class{CourierMailAccount} ? "smtp-lmtp!node!$e->{mailbox}[0]%2" : join ', ', sort $e->{maildrop}->@*;
		$records{lc $_} = $value for $e->{mail}->@*;
	}
	return \%records;
}

# What is different, as text; '' if nothing is.
sub difference($self, $expected = $self->expected) {
	my $map = $self->map or return "the map cannot be read";
	my @wrong = map { "$_: " . ($map->{$_} // '(missing)') . ' instead of ' . ($expected->{$_} // '(nothing)') }
		grep { ($map->{$_} // "\0") ne ($expected->{$_} // "\0") } sort keys %{{ %$map, %$expected }};
	return join "\n", @wrong > 5 ? (@wrong[0 .. 4], @wrong - 5 . ' more') : @wrong;
}

# Waits until map and directory are equal; returns what is different in the end.
sub difference_after($self, $seconds = 10, $expected = $self->expected) {
	my $deadline = Time::HiRes::time() + $seconds;
	for (;;) {
		my $begun = Time::HiRes::time();
		my $difference = $self->difference($expected);
		my $now = Time::HiRes::time();
		return $difference if $difference eq '' || $now > $deadline;
		Time::HiRes::sleep(0.05 + 2 * ($now - $begun));
	}
}

1;
