package Certificates;

# Throw-away certificates, made by openssl(1) when a test of this build first wants them: that starts it 26 times.

use v5.36;
use Fcntl qw(LOCK_EX);
use File::Copy ();
use File::Path ();
use File::Temp ();

# name => what is special: names for subjectAltName, issuer (default ca), expired
my %kind = (
	good => { names => 'DNS:localhost,IP:127.0.0.1,IP:::1,DNS:store.example' },
	ldap => { names => 'DNS:ldap1.example,DNS:ldap2.example' },    # hosts of the examples in manuals
	wildcard => { names => 'DNS:*.example.net' },
	wrongname => { names => 'DNS:elsewhere.example,IP:192.0.2.1' },
	expired => { names => 'DNS:localhost,IP:127.0.0.1,IP:::1', expired => 1 },
	stranger => { names => 'DNS:localhost,IP:127.0.0.1,IP:::1', issuer => 'otherca' },
	commonname => {},
	client => {},
);

my $shared;

# The directory: ca.pem, otherca.pem, selfsigned.pem, and NAME.pem for each kind; key.pem is the key of all;
# both.pem is client certificate and key in one file.  Children of the process share it.
sub directory($class) {
	$shared //= _copy();
	return "$shared";
}

# For servers that run as another user, to whom the build may be closed.
sub _copy() {
	my $dir = File::Temp->newdir('/tmp/zl-certs-XXXXXX');
	my $kept = _kept() // return _make($dir);
	for my $path (glob "$kept/*.pem") {
		my $copy = $path =~ s{.*/}{$dir/}r;
		File::Copy::copy($path, $copy) or die "$copy: $!\n";
		chmod +(stat $path)[2] & 0777, $copy;
	}
	return $dir;
}

# Those of the build, made again if this file is newer; undef where nothing can be written.
sub _kept() {
	my $kept = ($ENV{BUILD_DIR} // return undef) . '/tests/lib/certificates';
	open my $lock, '>', "$kept-lock" or return undef;
	flock $lock, LOCK_EX or return undef;
	return $kept if ((stat "$kept/both.pem")[9] // 0) > (stat __FILE__)[9];
	File::Path::remove_tree($kept);
	mkdir $kept or return undef;
	return _make($kept);
}

sub _make($dir) {
	_openssl($dir, qw(genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem));
	_openssl($dir, qw(genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out cakey.pem));
	for my $ca (qw(ca otherca)) {
		_openssl($dir, qw(req -x509 -new -key cakey.pem -days 3650 -out), "$ca.pem", '-subj', "/CN=$ca of a test",
			'-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign');
	}
	_openssl($dir, qw(req -x509 -new -key key.pem -days 3650 -out selfsigned.pem -subj /CN=localhost
		-addext), 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1');
	_issue($dir, $_, $kind{$_}) for sort keys %kind;
	_put("$dir/both.pem", map { _slurp("$dir/$_") } 'client.pem', 'key.pem');
	return $dir;
}

sub _issue($dir, $name, $kind) {
	my $names = $kind->{names} ? "subjectAltName=$kind->{names}\n" : '';
	_put("$dir/ext", "basicConstraints=CA:FALSE\n$names");
	my $subject = $name eq 'commonname' ? 'localhost' : "$name.test.example";
	_openssl($dir, qw(req -new -key key.pem -out request.pem -subj), "/CN=$subject");
	return _issue_expired($dir, $name) if $kind->{expired};
	_openssl($dir, qw(x509 -req -in request.pem -CAkey cakey.pem -CAcreateserial -extfile ext -CA),
		($kind->{issuer} // 'ca') . '.pem', '-days', 3650, '-out', "$name.pem");
}

# A certificate of the year 2020.  x509(1) cannot: OpenSSL 3.5 refuses negative -days, 3.0 knows no -not_after.
sub _issue_expired($dir, $name) {
	_put("$dir/ca.conf", map { "$_\n" } '[ca]', 'default_ca = test', '[test]', 'database = ca.index', 'serial = ca.serial',
		'new_certs_dir = .', 'default_md = sha256', 'policy = any', '[any]', 'commonName = supplied');
	_put("$dir/ca.index");
	_put("$dir/ca.serial", "2020\n");
	_openssl($dir, qw(ca -batch -notext -config ca.conf -cert ca.pem -keyfile cakey.pem -in request.pem -extfile ext
		-startdate 20200101000000Z -enddate 20200201000000Z -out), "$name.pem");
}

sub _openssl($dir, @arguments) {
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		chdir $dir or die "$dir: $!\n";
		open STDOUT, '>>', 'log' or die "log: $!\n";
		open STDERR, '>&', \*STDOUT or die "log: $!\n";
		exec 'openssl', @arguments or die "openssl: $!\n";
	}
	waitpid $pid, 0;
	die "openssl @arguments failed:\n" . _slurp("$dir/log") if $? != 0;
}

# SHA-256 of a certificate, as tls-fingerprint takes it.
sub fingerprint($class, $name) {
	my $dir = $class->directory;
	my $out = qx(openssl x509 -in $dir/$name.pem -noout -fingerprint -sha256);
	return $out =~ /=([0-9A-F:]+)/ ? $1 : die "no fingerprint of $name\n";
}

sub _put($path, @text) {
	open my $fh, '>', $path or die "$path: $!\n";
	print $fh @text;
	close $fh or die "$path: $!\n";
}

sub _slurp($path) {
	open my $fh, '<', $path or return '';
	local $/;
	return <$fh>;
}

1;
