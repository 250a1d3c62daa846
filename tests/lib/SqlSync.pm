package SqlSync;

# A sqlsync with its configuration and map in a directory of its own, and what its map should hold according to the database.
#
#   my $sync = SqlSync->new($database, $type, type => 'lmdb', settings => "interval 1\n");
#
# $database is a RealSql, or the path of a SQLite file for $type 'sqlite'; the rest is as LdapSync has it.

use v5.36;
use parent 'LdapSync';
use RealSql;

sub new($class, $database, $kind, %o) {
	my $access = $kind eq 'sqlite' ? "dbpath = $database\n" : 'hosts = ' . $database->host . "\nuser = " . ($kind eq 'pgsql' ? 'admin' : 'reader')
		. "\npassword = $RealSql::password\ndbname = " . ($kind eq 'pgsql' ? 'postgres' : 'mail') . "\n";
	return $class->SUPER::new(undef, database => $database, kind => $kind, access => "database = $kind\n$access", query => 'SELECT a, v FROM u', %o);
}

sub config($self) { "$self->{dir}/sqlsync.conf" }
sub program($self) { "$ENV{BUILD_DIR}/db/sqlsync" }

sub configure($self) {
	my $environment = $self->{environment} ? "environment = $self->{dir}/env\n" : '';
	$self->_put('sqlsync.conf', "$self->{access}query = $self->{query}\nmap = $self->{map}\ntype = $self->{type}\n$environment$self->{settings}");
}

# The shell command that reads SQL from its standard input.
# Who reads and who writes wait for each other.
sub client($self) { $self->{kind} eq 'sqlite' ? "sqlite3 -cmd '.timeout 30000' $self->{database}" : $self->{database}->client }

sub sql($self, $text) {
	open my $fh, '|-', $self->client . ' >/dev/null' or die "client: $!\n";
	print $fh "$text\n";
	close $fh or die "$text: $?\n";
}

# What the table holds now, as the database's own client prints it.
sub expected($self) {
	my $flags = { pgsql => ' -A -t -F "|"', mysql => ' -N -B', sqlite => ' -separator "|"' }->{$self->{kind}};
	my $client = $self->{kind} eq 'mysql' ? $self->client =~ s/ mail$/$flags mail/r : $self->client . $flags;
	my $quote = $self->{kind} eq 'mysql' ? '\t' : '\|';
	my %records = map { chomp; my ($key, $value) = split /$quote/, $_, 2; (lc $key => $value) } qx{$client @{[$self->_asking]} 'SELECT a, v FROM u'};
	return \%records;
}

# True if another session runs a query that sleeps.
sub busy($self) {
	my $query = $self->{kind} eq 'pgsql' ? "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
		: "SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep'";
	return qx{@{[$self->client]} @{[$self->_asking]} "$query" 2>/dev/null} =~ /[1-9]/;
}

# What stands before a query on the client's command line.
sub _asking($self) { return { pgsql => '-c', mysql => '-e', sqlite => '' }->{$self->{kind}} }

1;
