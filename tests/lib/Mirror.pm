package Mirror;

# Two providers in mirror mode, and replicas of both, as RealSlapd has them: all on loopback, each with the same tree.
#
#   my $mirror = Mirror->new(users => 20, replicas => 1);
#   my ($a, $b) = $mirror->providers; $a->add_account('new'); $mirror->settle;

use v5.36;
use Ports;
use RealSlapd;
use Time::HiRes ();

# Options: users, aliases, ldif (entries behind the usual ones); replicas (how many, 0); config (more lines for each database); global (more lines before it); printed: the lines that
# a guide shows for the first provider, whose names become those of here.
sub new($class, %o) {
	my $self = bless { %o, servers => [] }, $class;
	my @ports = Ports::free(2 * (2 + ($o{replicas} // 0)));
	my $ldif;
	for my $n (0 .. 1 + ($o{replicas} // 0)) {
		my @from = grep { $_ != $n } 0, 1;
		my $consumes = join '', map { _consumes($_ + 1, $ports[2 * $_]) } @from;
		my $provides = $n < 2;
		my ($global, $multi) = ('serverID ' . ($n + 1) . "\n", "multiprovider on\n");
		($global, $consumes, $multi) = (_as_printed($o{printed}, $n, $ports[2 * $from[0]]), '') if defined $o{printed};
		my $slapd = RealSlapd->new(users => $o{users} // 20, aliases => $o{aliases} // 0, no_tls => 1, port => $ports[2 * $n], tls_port => $ports[2 * $n + 1],
			global => ($provides ? $global : '') . ($o{global} // ''),
			config => $consumes . ($provides ? $multi : "updateref ldap://127.0.0.1:$ports[0]\n") . ($o{config} // ''), ldif => $o{ldif} // '', tree => $ldif);
		# all have the same entries, with the same entryUUIDs
		$ldif //= _dump($slapd);
		$slapd->reload($ldif, '-w') if $n == 0;
		push $self->{servers}->@*, $slapd;
	}
	$_->start for $self->{servers}->@*;
	return $self;
}

sub _consumes($rid, $port) {
	return "syncrepl rid=00$rid provider=ldap://127.0.0.1:$port searchbase=\"$RealSlapd::suffix\" type=refreshAndPersist retry=\"1 +\""
		. " timeout=1 network-timeout=1 bindmethod=simple binddn=\"$RealSlapd::root\" credentials=$RealSlapd::root_password\n";
}

# What stands before the database, and what in it, for provider number $n.
sub _as_printed($text, $n, $port) {
	my ($global, $database) = $text =~ /^(.*?^serverID\s.*?\n)(.*)\z/ms or die "no serverID is printed\n";
	$global =~ s/^(serverID\s+)1$/$1 . ($n + 1)/me or die "the printed serverID is not 1\n";
	$database =~ s{ldaps://ldap2\.example}{ldap://127.0.0.1:$port} or die "no provider is printed\n";
	$database =~ s{binddn="[^"]*" credentials=\S+}{binddn="$RealSlapd::root" credentials=$RealSlapd::root_password} or die "no binddn is printed\n";
	return ($global, $database);
}

sub _dump($slapd) { scalar qx{/usr/sbin/slapcat -f @{[$slapd->dir]}/slapd.conf 2>/dev/null} }

sub servers($self) { $self->{servers}->@* }
sub providers($self) { $self->{servers}->@[0, 1] }
sub replicas($self) { my @all = $self->{servers}->@*; @all[2 .. $#all] }

# Waits until all running servers have the same entries; '' or what differs.  slapd may keep an entry under its old name as well, when it
# is stopped as a rename comes to it: then nothing is settled.
sub settle($self, $seconds = 30) {
	my $deadline = Time::HiRes::time() + $seconds;
	for (;;) {
		my @found = map { $_->entries('(objectClass=*)', as => 'root') } grep { $_->{pid} } $self->servers;
		my ($state, @other) = map { _state($_) } @found;
		my $differs = grep { $_ ne $state } @other;
		my $has_twins = grep { / / } map { keys %$_ } @found;
		return '' if !$differs && !$has_twins;
		return $differs ? 'servers differ' : 'a server has two entries with one entryUUID' if Time::HiRes::time() > $deadline;
		# each look costs as much as what is waited for
		Time::HiRes::sleep(0.15);
	}
}

sub _state($entries) {
	return join "\n", map { my $e = $entries->{$_}; join ' ', $_, map { ($_, sort $e->{$_}->@*) } sort keys %$e } sort keys %$entries;
}

1;
