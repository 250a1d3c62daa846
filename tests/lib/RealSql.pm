package RealSql;

# Throw-away PostgreSQL and MariaDB servers on a UNIX socket and a loopback port, run by the user nobody if the test is root's.
#
#   my $server = RealSql->new('pgsql');     # or 'mysql'; running
#   $server->stop; $server->start; $server->signal('STOP');
#
# It ends with the object, or with the test.

use v5.36;
use File::Copy ();
use File::Temp ();
use Certificates;
use POSIX ();
use Ports;
use Time::HiRes ();

our $password = 'readersecret';
my ($bin) = reverse sort glob '/usr/lib/postgresql/*/bin';
my %running;

# Why there can be no server of this type here, or undef.
sub missing($type) {
	my @needs = $type eq 'pgsql' ? map { ($bin // '/usr/lib/postgresql') . "/$_" } qw(initdb postgres psql)
		: qw(/usr/sbin/mariadbd /usr/bin/mariadb-install-db /usr/bin/mariadb);
	-x $_ or return "$_ is not installed" for @needs;
	return undef;
}

sub new($class, $type) {
	my $self = bless { type => $type, dir => File::Temp->newdir('/tmp/zq-XXXXXX') }, $class;
	($self->{port}) = Ports::free(1);
	chmod 0711, $self->dir;
	if ($> == 0) {
		chown +(getpwnam 'nobody')[2, 3], $self->dir;
	}
	$self->_create;
	$self->start;
	return $self;
}

sub dir($self) { "$self->{dir}" }
sub port($self) { $self->{port} }
sub socket($self) { $self->dir . ($self->{type} eq 'pgsql' ? "/.s.PGSQL.$self->{port}" : '/sock') }
sub host($self) { 'unix:' . $self->socket }

sub _create($self) {
	my $dir = $self->dir;
	if ($self->{type} eq 'pgsql') {
		$self->_as_nobody("$bin/initdb -D $dir/data -U admin -A scram-sha-256 --no-sync --no-locale -E UTF8 --pwfile=" . $self->_password_file);
	} else {
		# at its start one takes away the temporary tables of others in the same directory
		$self->_as_nobody("TMPDIR=$dir mariadb-install-db --no-defaults --force --datadir=$dir/data --auth-root-authentication-method=normal --skip-test-db");
		open my $fh, '>', "$dir/init.sql" or die "$dir/init.sql: $!\n";
		print $fh "CREATE DATABASE IF NOT EXISTS mail;\nCREATE OR REPLACE USER reader\@'%' IDENTIFIED BY '$password';\n" .
			"CREATE OR REPLACE USER reader\@localhost IDENTIFIED BY '$password';\n" .
			"GRANT ALL ON mail.* TO reader\@'%';\nGRANT ALL ON mail.* TO reader\@localhost;\n";
		close $fh;
	}
}

sub _password_file($self) {
	my $path = $self->dir . '/pw';
	open my $fh, '>', $path or die "$path: $!\n";
	print $fh "$password\n";
	close $fh;
	return $path;
}

sub _become_nobody() {
	return if $> != 0;
	my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
	POSIX::setgid($gid);
	POSIX::setuid($uid);
}

sub _as_nobody($self, $command) {
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		chdir $self->dir;
		_become_nobody();
		exec "$command >>" . $self->dir . '/log 2>&1' or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	die "$command: $?\n" . $self->log if $? != 0;
}

sub log($self) {
	open my $fh, '<', $self->dir . '/log' or return '';
	local $/;
	return <$fh>;
}

sub start($self) {
	my $dir = $self->dir;
	my @command = $self->{type} eq 'pgsql'
		? ("$bin/postgres", '-D', "$dir/data", '-k', $dir, '-h', '127.0.0.1', '-p', $self->{port}, '-c', 'fsync=off')
		: ('/usr/sbin/mariadbd', '--no-defaults', "--datadir=$dir/data", "--tmpdir=$dir", "--socket=$dir/sock", "--port=$self->{port}",
			'--bind-address=127.0.0.1', "--init-file=$dir/init.sql", "--pid-file=$dir/pid", '--skip-name-resolve');
	push @command, $self->_tls if $self->{tls};
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		chdir $dir;
		_become_nobody();
		open STDOUT, '>>', "$dir/log";
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	$running{$pid} = 1;
	$self->{pid} = $pid;
	my $end = time + 60;
	until ($self->_answers) {
		die "$self->{type} does not start:\n" . $self->log if time > $end || waitpid($pid, POSIX::WNOHANG) == $pid;
		Time::HiRes::sleep(0.1);
	}
}

# With a certificate of Certificates from the next start on.
sub use_tls($self, $name) { $self->{tls} = $name }

sub _tls($self) {
	my ($dir, $certificates) = ($self->dir, Certificates->directory);
	for (["$self->{tls}.pem", 'cert.pem'], ['key.pem', 'key.pem']) {
		my ($from, $to) = ("$certificates/$_->[0]", "$dir/$_->[1]");
		File::Copy::copy($from, $to) or die "$to: $!\n";
		chmod 0600, $to;
		chown +(getpwnam 'nobody')[2, 3], $to if $> == 0;
	}
	return $self->{type} eq 'pgsql' ? ('-c', 'ssl=on', '-c', "ssl_cert_file=$dir/cert.pem", '-c', "ssl_key_file=$dir/key.pem")
		: ("--ssl-cert=$dir/cert.pem", "--ssl-key=$dir/key.pem");
}

sub _answers($self) { system($self->client . ($self->{type} eq 'pgsql' ? ' -c' : ' -e') . ' "SELECT 1" >/dev/null 2>&1') == 0 }

# A command of a shell that reads SQL from its standard input.
sub client($self) {
	my $dir = $self->dir;
	return "PGPASSWORD=$password PGOPTIONS=--client-min-messages=warning $bin/psql -q -v ON_ERROR_STOP=1 -h $dir -p $self->{port} -U admin -d postgres" if $self->{type} eq 'pgsql';
	return "mariadb --no-defaults -S $dir/sock -u reader -p$password mail";
}

# Says it to MariaDB as one who may change what holds for all.
sub administer($self, $sql) {
	open my $fh, '|-', "mariadb --no-defaults -S $self->{dir}/sock -u root" or die "mariadb: $!\n";
	print $fh $sql;
	close $fh or die "$sql: $?\n";
}

sub signal($self, $signal) { kill $signal, $self->{pid} }

# As a crash is: PostgreSQL ends at once by SIGQUIT, and its processes with it, which SIGKILL would leave behind.
sub stop($self) {
	my $pid = delete $self->{pid} // return;
	kill $self->{type} eq 'pgsql' ? 'QUIT' : 'KILL', $pid;
	kill 'CONT', $pid;
	waitpid $pid, 0;
	delete $running{$pid};
}

sub DESTROY($self) { local $?; $self->stop }

END {
	local $?;
	kill 'KILL', keys %running;
}

1;
