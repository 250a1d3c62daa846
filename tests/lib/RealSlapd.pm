package RealSlapd;

# A throw-away OpenLDAP server with mail entries in Courier's style, on ldapi, ldap (StartTLS) and ldaps.
#
#   my $slapd = RealSlapd->new(users => 20);     # not running yet
#   $slapd->start; $slapd->change($ldif); $slapd->signal('STOP'); $slapd->stop;
#
# It ends with the object, or with the test.

use v5.36;
use Certificates;
use File::Copy ();
use File::Temp ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Ports;
use Time::HiRes ();

our $suffix = 'dc=myhosting,dc=example';
our $hosting = "o=hosting,$suffix";
our $root = "cn=Manager,$suffix";
our $root_password = 'secret';
our $reader = "cn=reader,$suffix";         # may read everything, without limits
our $reader_password = 'readersecret';
our $domain = 'domain1.example';
our $tree = "o=$domain,$hosting";

my $slapd = '/usr/sbin/slapd';
my $modules = '/usr/lib/ldap';
my $schemas = '/etc/ldap/schema';
my %running;

# Why there can be no server here, or undef.
sub missing() {
	-x $_ or return "$_ is not installed" for $slapd, '/usr/sbin/slapadd', '/usr/bin/ldapmodify', '/usr/bin/openssl';
	return undef;
}

# Options: users, aliases (how many of each; 20 and as many), "ldif" (entries behind the usual ones), "certificate" (its name in
# Certificates; good), "config" (lines for the database), "global" (lines before it), "overlays" (lines after syncprov), sessionlog
# (entries; 10000); "schema" and "tree" instead of the usual ones; no_tls (true: no StartTLS and no ldaps).
sub new($class, %o) {
	my $self = bless { users => 20, sessionlog => 10000, config => '', global => '', overlays => '', ldif => '', %o }, $class;
	$self->{aliases} //= $self->{users};
	$self->{dir} = File::Temp->newdir('/tmp/zs-XXXXXX');    # short: socket paths are limited to 107 bytes
	($self->{$_}) = Ports::free(1) for grep { !defined $self->{$_} } qw(port tls_port);
	mkdir "$self->{dir}/db" or die "$self->{dir}/db: $!\n";
	$self->_make_certificates if !$self->{no_tls};
	_put("$self->{dir}/mail.schema", $self->{schema} // _schema());
	$self->_configure;
	$self->load($self->{tree} // $self->_tree);
	return $self;
}

sub dir($self) { "$self->{dir}" }
sub ca($self) { "$self->{dir}/ca.pem" }

sub uri($self, $scheme) {
	return "ldap://127.0.0.1:$self->{port}" if $scheme eq 'ldap';
	return "ldaps://127.0.0.1:$self->{tls_port}" if $scheme eq 'ldaps';
	return 'ldapi://' . "$self->{dir}/ldapi" =~ s/\//%2F/gr;
}

# ---- the process ----

sub start($self) {
	my $urls = join ' ', map { $self->uri($_) } qw(ldapi ldap), $self->{no_tls} ? () : 'ldaps';
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		# with a debug level, be it 0, it stays our child
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{dir}/log";
		open STDERR, '>&', \*STDOUT;
		no warnings 'exec';
		exec $slapd, '-d', '0', '-f', "$self->{dir}/slapd.conf", '-h', $urls;
		POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	$running{$pid} = 1;
	$self->_wait_until_it_answers;
	return $self;
}

sub _wait_until_it_answers($self) {
	my $deadline = Time::HiRes::time() + 30;
	until ($self->_answers) {
		die "slapd ended at once: " . _slurp("$self->{dir}/log") if waitpid($self->{pid}, POSIX::WNOHANG) == $self->{pid};
		die "slapd does not answer: " . _slurp("$self->{dir}/log") if Time::HiRes::time() > $deadline;
		Time::HiRes::sleep(0.02);
	}
}

sub _answers($self) {
	IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}) or return 0;
	my $socket = IO::Socket::UNIX->new("$self->{dir}/ldapi") or return 0;
	# a bind asks the database, which takes its time after the start; what it answers is another matter
	my $bind = _tlv(0x02, "\3") . _tlv(0x04, $reader) . _tlv(0x80, $reader_password);
	local $SIG{PIPE} = 'IGNORE';
	syswrite $socket, _tlv(0x30, _tlv(0x02, "\1") . _tlv(0x60, $bind)) or return 0;
	return sysread($socket, my $answer, 1000) ? 1 : 0;
}

# BER, of less than 128 bytes
sub _tlv($tag, $content) { pack 'CC/a', $tag, $content }

sub signal($self, $name) {
	my $pid = $self->{pid} or return;
	kill $name, $pid;
	return if $name ne 'STOP';
	# its threads stop when the first of them has come to know of it
	my $deadline = Time::HiRes::time() + 20;
	Time::HiRes::sleep(0.005) while Time::HiRes::time() < $deadline && grep { !_is_stopped($_) } glob "/proc/$pid/task/*/stat";
}

sub _is_stopped($stat) { _slurp($stat) =~ /\) [Tt] [^)]*$/ }

# TERM and patience; KILL where it was asked for.
sub stop($self, $signal = 'TERM') {
	my $pid = delete $self->{pid} or return;
	kill $signal, $pid;
	kill 'CONT', $pid;
	my $deadline = Time::HiRes::time() + 20;
	while (waitpid($pid, POSIX::WNOHANG) == 0) {
		kill 'KILL', $pid if Time::HiRes::time() > $deadline;
		Time::HiRes::sleep(0.01);
	}
	delete $running{$pid};
	unlink "$self->{dir}/ldapi" if defined $self->{dir};
}

sub restart($self, $signal = 'TERM') {
	$self->stop($signal);
	$self->start;
}

sub DESTROY($self) {
	local ($?, $!);
	$self->stop('KILL');
}

END {
	local $?;
	kill 'KILL', keys %running;
}

# ---- content ----

# Puts entries into the database while the server is down, behind what is there; options for slapadd.
sub load($self, $ldif, $options = "") {
	die "stop slapd before loading\n" if $self->{pid};
	_put("$self->{dir}/load.ldif", $ldif);
	my $said = output_of(undef, '/usr/sbin/slapadd', '-q', '-b', $suffix, split(' ', $options), '-f', "$self->{dir}/slapd.conf", '-l', "$self->{dir}/load.ldif");
	$? == 0 or die "slapadd: $said";
}

# Throws everything away; the server is down.  The next one starts with $ldif.
sub reload($self, $ldif, $options = "") {
	unlink glob "$self->{dir}/db/*";
	$self->load($ldif, $options);
}

# ldapmodify with the LDIF of $ldif: change records, or entries to be added.
sub change($self, $ldif) {
	_put("$self->{dir}/change.ldif", $ldif);
	my $said = output_of(undef, 'ldapmodify', '-a', '-x', '-H', $self->uri('ldapi'), '-D', $root, '-w', $root_password, '-f', "$self->{dir}/change.ldif");
	$? == 0 or die "ldapmodify: $said\nfor\n" . substr($ldif, 0, 2000);
}

sub add_account($self, $name, %o) { $self->change(account($name, %o)) }
sub add_alias($self, $name, @to) { $self->change(alias_entry($name, @to)) }
sub remove($self, $name) { $self->change("dn: mail=$name\@$domain,$tree\nchangetype: delete\n\n") }

# Texts of entries; %o: mail => [addresses], mailbox.
sub account($name, %o) {
	my $mail = join '', map { "mail: $_\n" } @{$o{mail} // []};
	return "dn: mail=$name\@$domain,$tree\nobjectClass: top\nobjectClass: testMailEntry\n"
		. "objectClass: CourierMailAccount\nmail: $name\@$domain\n${mail}homeDirectory: /home/vmail\n"
		. 'mailbox: ' . ($o{mailbox} // "$domain/$name") . "\nuserPassword: secret$name\n\n";
}

sub alias_entry($name, @to) {
	return "dn: mail=$name\@$domain,$tree\nobjectClass: top\nobjectClass: testMailEntry\nobjectClass: CourierMailAlias\n"
		. "mail: $name\@$domain\n" . join('', map { "maildrop: $_\n" } @to) . "\n";
}

sub _tree($self) { return suffix_entries() . join('', map { account("user$_") } 1 .. $self->{users})
	. join('', map { alias_entry("alias$_", "user$_\@$domain") } 1 .. $self->{aliases}) . $self->{ldif} }

# What every tree begins with.
sub suffix_entries() {
	my ($dc) = $suffix =~ /^dc=([^,]+)/;
	return <<"END" . alias_entry('abuse', 'abuse') . alias_entry('staff', "user1\@$domain", "user2\@$domain", 'someone@elsewhere.example');
dn: $suffix
objectClass: top
objectClass: dcObject
objectClass: organization
dc: $dc
o: $dc

dn: $reader
objectClass: top
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: $reader_password

dn: $hosting
objectClass: top
objectClass: organization
o: hosting

dn: $tree
objectClass: top
objectClass: organization
o: $domain

END
}

# All entries below the hosting tree, as a hash of attribute lists by entryUUID ("dn" among them), as the reader sees them, or
# with as => 'root' the administrator.  Of several entries with one entryUUID, all but the first are found by that and their DN.
sub entries($self, $filter = '(mail=*)', %o) {
	my ($name, $password) = ($o{as} // '') eq 'root' ? ($root, $root_password) : ($reader, $reader_password);
	my $said = output_of(undef, 'ldapsearch', '-x', '-LLL', '-o', 'ldif-wrap=no', '-H', $self->uri('ldapi'), '-D', $name, '-w', $password,
		'-b', $hosting, $filter, '*', 'entryUUID', 'entryCSN');
	my %found;
	for my $text (split /\n\n+/, $said) {
		my %entry;
		for (split /\n/, $text) {
			my ($name, $colons, $value) = /^([^:]+)(::?) (.*)$/ or next;
			push @{$entry{$name}}, $colons eq '::' ? _decode_base64($value) : $value;
		}
		next if !$entry{entryUUID};
		my $uuid = $entry{entryUUID}[0];
		$found{exists $found{$uuid} ? "$uuid $entry{dn}[0]" : $uuid} = \%entry;
	}
	die "ldapsearch failed: $said\n" if $? != 0;
	return \%found;
}

sub _decode_base64($text) {
	require MIME::Base64;
	return MIME::Base64::decode_base64($text);
}

# Runs a program, without the shell that qx() starts for 2>&1; returns what it said, its status is in $?.  Its error messages go
# to the file $errors, or if that is undef to the rest.
sub output_of($errors, @command) {
	my $pid = open(my $fh, '-|') // die "fork: $!\n";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		defined $errors ? open(STDERR, '>', $errors) : open(STDERR, '>&', \*STDOUT);
		no warnings 'exec';
		exec { $command[0] } @command;
		POSIX::_exit(127);
	}
	local $/;
	my $said = <$fh> // '';
	close $fh;
	return $said;
}

# ---- files ----

sub _configure($self) {
	my $d = $self->{dir};
	my $tls = $self->{no_tls} ? '' : join "\n", "TLSCACertificateFile $d/ca.pem", "TLSCertificateFile $d/server.pem",
		"TLSCertificateKeyFile $d/server.key", 'TLSVerifyClient never';
	_put("$d/slapd.conf", <<"END");
include $schemas/core.schema
include $schemas/cosine.schema
include $schemas/nis.schema
include $schemas/inetorgperson.schema
include $d/mail.schema
pidfile $d/slapd.pid
modulepath $modules
moduleload back_mdb
moduleload syncprov
moduleload retcode
sizelimit unlimited
$tls
authz-regexp "gidNumber=[0-9]+[+]uidNumber=$>,cn=peercred,cn=external,cn=auth" "$reader"
$self->{global}
database mdb
maxsize 2147483648
suffix "$suffix"
rootdn "$root"
rootpw $root_password
directory $d/db
dbnosync
index objectClass pres,eq
index mail,cn eq,sub
index maildrop eq
index entryCSN,entryUUID eq
limits dn.exact="$reader" size=unlimited time=unlimited
$self->{config}
access to attrs=userPassword by anonymous auth by * none
access to * by * read
overlay syncprov
syncprov-checkpoint 1000 60
syncprov-sessionlog $self->{sessionlog}
$self->{overlays}
END
}

# Facts of Courier's authldap schema; testMailEntry gives such entries the structural class that servers want today.
sub _schema() {
	my $courier = '1.3.6.1.4.1.10018.1';
	my $ia5 = '1.3.6.1.4.1.1466.115.121.1.26';
	return <<"END";
attributetype ( $courier.1.1 NAME 'mailbox' EQUALITY caseExactIA5Match SYNTAX $ia5 SINGLE-VALUE )
attributetype ( $courier.1.4 NAME 'maildrop' EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch SYNTAX $ia5\{256} )
attributetype ( $courier.1.5 NAME 'mailsource' EQUALITY caseIgnoreIA5Match SYNTAX $ia5 )
objectclass ( $courier.2.1 NAME 'CourierMailAccount' SUP top AUXILIARY MUST ( mail \$ homeDirectory )
	MAY ( uidNumber \$ gidNumber \$ mailbox \$ uid \$ cn \$ gecos \$ description \$ loginShell \$ userPassword ) )
objectclass ( $courier.2.2 NAME 'CourierMailAlias' SUP top AUXILIARY MUST ( mail \$ maildrop )
	MAY ( mailsource \$ description ) )
objectclass ( $courier.2.99 NAME 'testMailEntry' SUP top STRUCTURAL MUST mail MAY ( cn \$ description \$ member \$ labeledURI ) )
END
}

# Copies of those that all tests share.
sub _make_certificates($self) {
	my %from = ('ca.pem' => 'ca', 'server.pem' => $self->{certificate} // 'good', 'server.key' => 'key', 'other.pem' => 'otherca');
	File::Copy::copy(Certificates->directory . "/$from{$_}.pem", "$self->{dir}/$_") or die "$_: $!\n" for keys %from;
}

sub _put($path, $text) {
	open my $fh, '>', $path or die "$path: $!\n";
	print $fh $text;
	close $fh or die "$path: $!\n";
}

sub _slurp($path) {
	open my $fh, '<', $path or return '';
	local $/;
	return <$fh> // '';
}

1;
