package RealDovecot;

# A throw-away Dovecot with LMTP on a UNIX socket and on loopback, for tests as root and as
# ordinary user.  Mailboxes are Maildirs below {mail}.
#
# Recipients of DOMAIN (store.test.example): user1..userN; overq (552 after the text), overqtmp (452 after the
# text), broken (451 after the text); others as asked for with `users`.  user1+Folder stores into Folder.

use v5.36;
use File::Path ();
use Certificates;
use Ports;
use RealServer;

use constant DOMAIN => 'store.test.example';

sub program() { (grep { -x $_ } '/usr/sbin/dovecot', '/usr/local/sbin/dovecot')[0] }

# Why it cannot be started here; undef if it can.
sub missing() {
	return 'no dovecot here (Debian: dovecot-core)' unless program();
	return 'no LMTP service of Dovecot here (Debian: dovecot-lmtpd)' unless -x '/usr/lib/dovecot/lmtp';
	return undef;
}

# 2.3 (Debian 12) or 2.4 (Debian 13), whose settings have other names.
sub release() {
	state $release = qx{@{[program()]} --version} =~ /^(\d+\.\d+)/ ? $1 : die "what Dovecot is this?\n";
	return $release;
}

# Options: count (users, default 20), users => [further login names], check_quota => true: full mailboxes are refused
# at RCPT, password => of all users (x), with which other servers can ask the socket {auth}; tls => a name of Certificates: then STARTTLS is offered, and {tls_port} has TLS from the first byte.
sub start($class, %o) {
	my $dir = RealServer::directory();
	my ($port, $tls_port) = Ports::free(2);
	my $self = bless { directory => $dir, dir => "$dir", socket => "$dir/s", port => $port, mail => "$dir/mail",
		auth => "$dir/auth", password => $o{password} // 'x', tls => $o{tls}, check_quota => $o{check_quota}, tls_port => $tls_port, owner => $$ }, $class;
	mkdir "$dir/$_" or die "$dir/$_: $!\n" for qw(run state mail);
	RealServer::write_file("$dir/file", '');
	my ($uid, $gid) = $> == 0 ? (getpwnam 'nobody')[2, 3] : ($>, $) + 0);
	chown $uid, $gid, "$dir/mail";
	RealServer::write_file("$dir/users", $self->_users($uid, $gid, $o{count} // 20, @{$o{users} // []}));
	RealServer::write_file("$dir/dovecot.conf", $self->_configuration($uid, $gid));
	return $self->again;
}

# Starts it, or starts it again after stop().
sub again($self) {
	my $dir = $self->{dir};
	$self->{stopped} = 0;
	RealServer::run("$dir/start", program(), '-c', "$dir/dovecot.conf");
	RealServer::wait_for('its pid file', 20, sub { $self->{pid} = RealServer::read_pid("$dir/run/master.pid") });
	RealServer::wait_for('Dovecot', 20, sub { (RealServer::greeting($self->{socket}) // '') =~ /^220/ });
	RealServer::wait_for('Dovecot on TCP', 20, sub { (RealServer::greeting($self->{port}) // '') =~ /^220/ });
	return $self;
}

# Its further users are these from now on.
sub users($self, @names) {
	my ($uid, $gid) = (stat $self->{mail})[4, 5];
	RealServer::write_file("$self->{dir}/users.new", join '', map { $self->_user($_, $uid, $gid, undef) } @names);
	rename "$self->{dir}/users.new", "$self->{dir}/users" or die "$self->{dir}/users: $!\n";
}

sub address($self, $user) { "$user\@" . DOMAIN }

sub _users($self, $uid, $gid, $count, @more) {
	my ($quota, $mail) = release() < 2.4 ? ('userdb_quota_rule=*:bytes=1', 'userdb_mail=maildir:')
		: ('userdb_quota_storage_size=1B', 'userdb_mail_path=');
	my %extra = (
		overq => $quota, overqtmp => "$quota userdb_quota_full_tempfail=yes", broken => "$mail$self->{dir}/file/x",
	);
	my @names = ((map { "user$_" } 1 .. $count), sort keys %extra);
	my $text = join '', map { $self->_user("$_\@" . DOMAIN, $uid, $gid, $extra{$_}) } @names;
	return $text . join '', map { $self->_user($_, $uid, $gid, undef) } @more;
}

sub _user($self, $name, $uid, $gid, $extra) {
	return join(":", $name, "{PLAIN}$self->{password}", $uid, $gid, "", "", "", $extra // "") . "\n";
}

sub _configuration($self, $uid, $gid) {
	my $dir = $self->{dir};
	my ($name, $group) = (scalar getpwuid($>), scalar getgrgid($) + 0));
	my %internal = $> == 0 ? (user => 'dovecot', group => 'dovecot', login => 'dovenull')
		: (user => $name, group => $group, login => $name);
	my $listen = release() < 2.4 ? 'address' : 'listen';
	return (release() < 2.4 ? '' : "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n") . <<"CONF" .
base_dir = $dir/run
state_dir = $dir/state
log_path = $dir/log
protocols = lmtp
listen = 127.0.0.1
hostname = dovecot.test.example
postmaster_address = postmaster\@@{[DOMAIN]}
default_internal_user = $internal{user}
default_internal_group = $internal{group}
default_login_user = $internal{login}
first_valid_uid = 1
first_valid_gid = 1
mail_uid = $uid
mail_gid = $gid
mail_fsync = never
lda_mailbox_autocreate = yes
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
lmtp_rcpt_check_quota = @{[$self->{check_quota} ? 'yes' : 'no']}
@{[$self->_tls]}
namespace inbox {
  inbox = yes
  separator = /
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
service auth {
  unix_listener $dir/auth {
    mode = 0666
  }
}
service lmtp {
  unix_listener $dir/s {
    mode = 0666
  }
  inet_listener lmtp {
    $listen = 127.0.0.1
    port = $self->{port}
  }
  @{[$self->{tls} ? "inet_listener lmtps {\n $listen = 127.0.0.1\n port = $self->{tls_port}\n ssl = yes\n }" : '']}
}
CONF
		(release() < 2.4 ? _settings_2_3($dir) : _settings_2_4($dir));
}

# Mailboxes, quota and users: what has other names or another form in 2.4.
sub _settings_2_3($dir) {
	# without statistics: who has not yet shaken hands with that service when it is stopped waits for it for 5 s
	return <<"CONF";
stats_writer_socket_path =
mail_location = maildir:$dir/mail/%u
mail_home = $dir/mail/%u
mail_plugins = quota
plugin {
  quota = maildir:User quota
  quota_grace = 0
}
passdb {
  driver = passwd-file
  args = username_format=%u $dir/users
}
userdb {
  driver = passwd-file
  args = username_format=%u $dir/users
}
CONF
}

sub _settings_2_4($dir) {
	return <<"CONF";
mail_driver = maildir
mail_path = $dir/mail/%{user}
mail_home = $dir/mail/%{user}
mail_plugins {
  quota = yes
}
quota "User quota" {
  quota_driver = maildir
}
quota_storage_grace = 0
passdb passwd-file {
  passwd_file_path = $dir/users
}
userdb passwd-file {
  passwd_file_path = $dir/users
}
CONF
}

sub _tls($self) {
	return 'ssl = no' unless $self->{tls};
	my $certificates = Certificates->directory;
	my ($certificate, $key) = release() < 2.4 ? ('ssl_cert = <', 'ssl_key = <') : ('ssl_server_cert_file = ', 'ssl_server_key_file = ');
	return "ssl = yes\n$certificate$certificates/$self->{tls}.pem\n$key$certificates/key.pem";
}

# The texts stored for a login name, LF line ends, in the inbox or a folder.
sub messages($self, $login, $folder = undef) {
	my $box = "$self->{mail}/$login" . (defined $folder ? "/.$folder" : '');
	return map { _slurp($_) } sort glob "$box/{new,cur}/*";
}

sub _slurp($path) {
	open my $fh, '<:raw', $path or die "$path: $!\n";
	local $/;
	return (<$fh> // '') =~ s/\r\n/\n/gr;
}

# Puts a message into the mailbox of a login name behind Dovecot's back: with its one byte of quota it is full then.
sub fill($self, $login) {
	my $box = "$self->{mail}/$login";
	File::Path::make_path(map { "$box/$_" } qw(new cur tmp));
	RealServer::write_file("$box/new/1.filler", "Subject: filler\n\nfills the mailbox\n");
	my ($uid, $gid) = (stat $self->{mail})[4, 5];
	chown $uid, $gid, $box, map { "$box/$_" } qw(new cur tmp new/1.filler);
}

# Forgets all stored mail of a login name.
sub empty($self, $login) { unlink glob "$self->{mail}/$login/{new,cur}/* $self->{mail}/$login/.*/{new,cur}/*" }

sub stop($self) {
	return if $self->{stopped}++;
	RealServer::end_process($self->{pid});
}

sub DESTROY($self) {
	local ($?, $@);
	$self->stop if $self->{owner} == $$;
}

1;
