package RealCyrus;

# A throw-away Cyrus IMAP: lmtpd on a UNIX socket {socket}, which asks for no password, and on loopback {port}, which
# asks for AUTH (user LMTP_USER, password LMTP_PASSWORD).  Needs root: its master becomes the user cyrus.
#
# With TLS there is also {noplain_port}, where PLAIN and LOGIN are offered only under TLS.
#
# Recipients: user1..userN, user1+Junk (a folder that is there), overq (552 after the text for more than 1 kB),
# overfull (refused at RCPT).  Others do not exist.

use v5.36;
use File::Path ();
use POSIX ();
use Certificates;
use Ports;
use RealServer;

use constant { LMTP_USER => 'lmtpuser', LMTP_PASSWORD => 'lmtpsecret' };

my $bin = '/usr/lib/cyrus/bin';

# Why it cannot be started here; undef if it can.
sub missing() {
	return 'no Cyrus IMAP here (Debian: cyrus-imapd)' unless -x "$bin/master" && -x "$bin/lmtpd";
	return 'no saslpasswd2 here (Debian: sasl2-bin)' unless saslpasswd();
	return 'Cyrus IMAP needs root' if $> != 0;
	return 'no user cyrus here' unless getpwnam 'cyrus';
	return undef;
}

sub saslpasswd() { (grep { -x $_ } '/usr/sbin/saslpasswd2', '/usr/bin/saslpasswd2')[0] }

# Options: count (users, default 5), temporary => true if over quota is a matter of time, mechanisms (of AUTH, default PLAIN
# LOGIN), tls => a name of Certificates: then STARTTLS is offered, address and port of lmtpd, if not 127.0.0.1 and any.
sub start($class, %o) {
	my $dir = RealServer::directory();
	my ($port, $imap, $noplain) = Ports::free(3);
	my $self = bless { directory => $dir, dir => "$dir", socket => "$dir/s", address => $o{address} // '127.0.0.1',
		port => $o{port} // $port, imap => $imap, noplain_port => $noplain, tls => $o{tls},
		mechanisms => $o{mechanisms} // 'PLAIN LOGIN', owner => $$ }, $class;
	File::Path::make_path(map { "$dir/$_" } qw(spool sieve run/proc run/lock),
		map { "conf/$_" } qw(db db.backup1 db.backup2 socket log proc ptclient sync user quota msg backup));
	$self->_passwords;
	$self->_certificate if $o{tls};
	RealServer::write_file("$dir/imapd.conf", $self->_imapd_conf($o{temporary} ? 0 : 1));
	RealServer::write_file("$dir/cyrus.conf", $self->_cyrus_conf);
	$self->_own;
	RealServer::run("$dir/start", "$bin/master", '-C', "$dir/imapd.conf", '-M', "$dir/cyrus.conf", '-p', "$dir/master.pid", '-d');
	RealServer::wait_for('Cyrus', 30, sub { (RealServer::greeting($imap) // '') =~ /^\* OK/ });
	$self->{pid} = RealServer::read_pid("$dir/master.pid");
	RealServer::wait_for('lmtpd', 30, sub { (RealServer::greeting($self->{socket}) // '') =~ /^220/ });
	$self->_make_mailboxes($o{count} // 5);
	return $self;
}

sub _passwords($self) {
	my %passwords = (admin => 'adminsecret', LMTP_USER, LMTP_PASSWORD);
	chomp(my $realm = `hostname`);
	$self->{realm} = $realm;
	for my $user (sort keys %passwords) {
		open my $pipe, '|-', saslpasswd(), '-p', '-c', '-f', "$self->{dir}/sasldb2", '-u', $realm, $user or die "saslpasswd2: $!\n";
		print $pipe $passwords{$user};
		close $pipe or die "saslpasswd2 failed\n";
	}
}

# The user cyrus must be able to read it.
sub _certificate($self) {
	my $from = Certificates->directory;
	RealServer::run("$self->{dir}/copied", 'cp', "$from/$self->{tls}.pem", "$from/key.pem", "$from/ca.pem", $self->{dir});
}

sub _imapd_conf($self, $permanent) {
	my $dir = $self->{dir};
	my $tls = $self->{tls} ? "tls_server_cert: $dir/$self->{tls}.pem\ntls_server_key: $dir/key.pem\n" .
		"tls_client_ca_file: $dir/ca.pem\nallowstarttls: on" : '';
	return <<"CONF";
configdirectory: $dir/conf
proc_path: $dir/run/proc
mboxname_lockpath: $dir/run/lock
defaultpartition: default
partition-default: $dir/spool
sievedir: $dir/sieve
servername: $self->{realm}
admins: admin
lmtp_admins: @{[LMTP_USER]} client.test.example
noplain_admins: @{[LMTP_USER]}
unixhierarchysep: yes
altnamespace: no
virtdomains: off
lmtp_downcase_rcpt: yes
lmtp_strict_quota: yes
lmtp_over_quota_perm_failure: $permanent
duplicatesuppression: no
allowplaintext: yes
quota_warn: 0
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: $dir/sasldb2
sasl_mech_list: $self->{mechanisms}
noplain_allowplaintext: no
$tls
lmtpsocket: $dir/s
idlesocket: $dir/conf/socket/idle
notifysocket: $dir/conf/socket/notify
syslog_prefix: cyrustest
CONF
}

sub _cyrus_conf($self) {
	my ($dir, $conf) = ($self->{dir}, "-C $self->{dir}/imapd.conf");
	return <<"CONF";
START {
  recover cmd="$bin/ctl_cyrusdb $conf -r"
}
SERVICES {
  imap cmd="$bin/imapd $conf -U 30" listen="127.0.0.1:$self->{imap}" prefork=0
  lmtp cmd="$bin/lmtpd $conf" listen="$self->{address}:$self->{port}" prefork=0
  noplain cmd="$bin/lmtpd $conf" listen="127.0.0.1:$self->{noplain_port}" prefork=0
  lmtpunix cmd="$bin/lmtpd $conf" listen="$dir/s" prefork=0
}
CONF
}

# All of it belongs to cyrus, who runs the services.
sub _own($self) {
	my ($uid, $gid) = (getpwnam 'cyrus')[2, 3];
	for (split /\0/, `find "$self->{dir}" -mindepth 1 -print0`) {
		chown $uid, $gid, $_ or die "$_: $!\n";
	}
	chown $uid, $gid, $self->{dir};
}

# ---- mailboxes, by IMAP ----

sub _imap_open($self) {
	my $imap = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $self->{imap}, Type => Socket::SOCK_STREAM)
		or die "IMAP: $@\n";
	scalar <$imap>;
	_imap($imap, 'LOGIN admin adminsecret');
	return $imap;
}

# Sends one command; returns what came before its OK.
sub _imap($imap, $command) {
	print $imap "x $command\r\n";
	my $said = '';
	while (defined(my $line = <$imap>)) {
		return $said if $line =~ /^x OK/;
		die "IMAP: $command: $line" if $line =~ /^x /;
		$said .= $line;
	}
	die "IMAP: $command: connection lost\n";
}

sub _make_mailboxes($self, $count) {
	my $imap = $self->_imap_open;
	for my $name ((map { "user/user$_" } 1 .. $count), 'user/user1/Junk', 'user/overq', 'user/overfull') {
		_imap($imap, "CREATE $name");
		_imap($imap, "SETACL $name anyone p");
		_imap($imap, "SETACL $name admin lrswipkxtea");
	}
	my $filler = "Subject: filler\r\n\r\nfills the mailbox\r\n";
	_imap($imap, 'APPEND user/overfull {' . length($filler) . "+}\r\n$filler");
	_imap($imap, 'SETQUOTA user/overq (STORAGE 1)');
	_imap($imap, 'SETQUOTA user/overfull (STORAGE 0)');
	_imap($imap, 'LOGOUT');
}

# The texts stored in a mailbox ("user1", "user1/Junk"), LF line ends.
sub messages($self, $name) {
	my $imap = $self->_imap_open;
	_imap($imap, "SELECT user/$name");
	my @texts;
	print $imap "x FETCH 1:* BODY.PEEK[]\r\n";
	while (defined(my $line = <$imap>)) {
		last if $line =~ /^x /;
		next unless $line =~ /\{(\d+)\}\r\n$/;
		read $imap, my ($text), $1;
		push @texts, $text =~ s/\r\n/\n/gr;
	}
	_imap($imap, 'LOGOUT');
	return @texts;
}

sub stop($self) {
	return if $self->{stopped}++;
	# QUIT is the graceful way; services that wait for commands end by TERM
	RealServer::end_process($self->{pid}, 'TERM', 15);
}

sub DESTROY($self) {
	local ($?, $@);
	$self->stop if $self->{owner} == $$;
}

1;
