package RealExim;

# A throw-away Exim that takes mail by SMTP, under TLS with authentication, and keeps it in its queue.

use v5.36;
use File::Path ();
use Time::HiRes ();
use Ports;
use Spool;

# Debian's Exim cannot be installed beside its Postfix, but unpacked it runs: install-deps does that here
use constant UNPACKED => '/usr/local/lib/zlmtp-tests';

# Below which directory it is: installed, unpacked, or as ZLMTP_EXIM says.
sub root($class) { return (grep { -x "$_/usr/sbin/exim4" } $ENV{ZLMTP_EXIM} // (), '', UNPACKED)[0] }

# Why it cannot be started here; undef if it can.
sub missing($class) {
	return 'no Exim here (install-deps unpacks it)' if !defined $class->root;
	return 'Exim needs root, for a user of its own' if $> != 0 || system('unshare -m true 2>/dev/null') != 0;
	return undef;
}

# The words that run it, with files in $dir.  It insists on a user of its own, which it gets in files that it alone sees.
sub command($class, $dir) {
	my $root = $class->root;
	my %user = ('/etc/passwd' => "Debian-exim:x:64999:64999::/:/bin/false\n", '/etc/group' => "Debian-exim:x:64999:\n");
	my $mounts = join '', map {
		my $copy = "$dir/" . s{.*/}{}r;
		Spool->put($copy, Spool::slurp($_) . $user{$_});
		chmod 0644, $copy;
		"mount --bind $copy $_ && "
	} sort keys %user;
	return ('unshare', '-m', 'sh', '-c', "$mounts LD_LIBRARY_PATH=\$(echo $root/usr/lib/*-linux-gnu) exec $root/usr/sbin/exim4 \"\$@\"", 'sh');
}

# Options: dir; certificate, key; user, password: who may send, under TLS alone.  There is no "gone@" anywhere.
sub start($class, %o) {
	my $self = bless { %o, port => (Ports::free(1))[0] }, $class;
	File::Path::make_path("$o{dir}/spool");
	chown 64999, 64999, "$o{dir}/spool";
	chmod 0755, $o{dir};
	for my $name (qw(certificate key)) {
		Spool->put("$o{dir}/$name", Spool::slurp($o{$name}));
		chown 64999, 64999, "$o{dir}/$name";
	}
	Spool->put("$o{dir}/exim.conf", <<"END");
keep_environment =
exim_user = Debian-exim
primary_hostname = relay.example
spool_directory = $o{dir}/spool
log_file_path = $o{dir}/spool/%slog
queue_only
tls_advertise_hosts = *
tls_certificate = $o{dir}/certificate
tls_privatekey = $o{dir}/key
chunking_advertise_hosts = *
acl_smtp_rcpt = check
acl_smtp_data = accept
begin acl
check:
  deny !authenticated = *
       message = who are you?
  deny local_parts = gone
       message = no such user
  accept
begin routers
begin transports
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{eq{\$auth2}{$o{user}}}{eq{\$auth3}{$o{password}}}}}
  server_set_id = \$auth2
  server_advertise_condition = \${if def:tls_in_cipher}
END
	chmod 0644, "$o{dir}/exim.conf";
	$self->{pid} = fork // die "fork: $!";
	if ($self->{pid} == 0) {
		open STDOUT, '>', "$o{dir}/out";
		open STDERR, '>&', \*STDOUT;
		exec $class->command($o{dir}), '-C', "$o{dir}/exim.conf", '-bdf', '-oX', "<; [127.0.0.1]:$self->{port}",
			'-oP', "$o{dir}/spool/pid" or exit 127;
	}
	my $end = Time::HiRes::time() + 20;
	until (IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $self->{port})) {
		die "Exim did not start: " . (Spool::slurp("$o{dir}/out") // '') if Time::HiRes::time() > $end;
		Time::HiRes::sleep(0.05);
	}
	return $self;
}

sub port($self) { $self->{port} }

# Messages in its queue.
sub count($self) { return scalar(() = glob "$self->{dir}/spool/input/*-H $self->{dir}/spool/input/?/*-H") }

sub stop($self) {
	my $pid = delete $self->{pid} or return;
	kill TERM => $pid;
	waitpid $pid, 0;
}

sub DESTROY($self) { local ($?, $!); $self->stop }

1;
