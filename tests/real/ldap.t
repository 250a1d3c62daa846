#!/usr/bin/perl
# LDAP maps against a real slapd: every form of lookup, and every way a directory can fail to answer.
# Found, not found and could-not-tell must come out right, each within its deadline.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use POSIX ();
use Test::More;
use Extent qw(long some_of);
use Time::HiRes ();
use RealSlapd;
use Relay;
use Ask;

my $missing = RealSlapd::missing();
plan skip_all => $missing if $missing;
plan skip_all => 'built without LDAP' unless qx{grep -c 'HAVE_LDAP 1' $ENV{BUILD_DIR}/config.h} > 0;
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

my $slow = $ENV{ZLMTP_SANITIZED} ? 4 : 1;
my $domain = $RealSlapd::domain;
my $hosting = $RealSlapd::hosting;
my $tree = $RealSlapd::tree;
my $alias_filter = '(&(mail=%s)(objectClass=CourierMailAlias))';
my $account_filter = '(&(mail=%s)(objectClass=CourierMailAccount))';

# Addresses full of what is special in filters, one entry each; "cn" can hold 8-bit text.
my @odd = ('p*t', 'pat', '(x)', 'x', 'back\\slash', '\\2a', '*', '%s', '&|!', 'a=b', "o'x", '"quoted"', 'a,b+c;d<e>f#g', 'two  blanks', 'two blanks2',
	"\xc3\xa4\xc3\xb6", "\xe2\x82\xac");

my $slapd = RealSlapd->new(users => 3, overlays => retcode_overlay(), ldif => groups() . odd_names());
$slapd->start;
my $number = 0;

# A config file with these settings over the usual ones (undef: without it); returns its path.
sub config(%o) {
	my %all = (uri => $slapd->uri('ldapi'), base => $hosting, filter => $alias_filter, attr => 'maildrop', %o);
	my $path = $slapd->dir . '/map' . ++$number . '.ldap';
	open my $fh, '>', $path or die "$path: $!\n";
	print $fh map { "$_ $all{$_}\n" } grep { defined $all{$_} } sort keys %all;
	close $fh;
	chmod 0600, $path;
	return $path;
}

# libldap asks for this host's name when it is first used, and where no hosts file has it that can take its time
my $own_name = do {
	my $start = Time::HiRes::time();
	my @unused = gethostbyname((POSIX::uname())[1]);
	Time::HiRes::time() - $start;
};

sub map_with(%o) { Ask->new('ldap', config(%o)) }

sub is_found($map, $key, $value, $name = "$key is found") { is $map->find($key), "found $value", $name }
sub is_not_found($map, $key, $name = "$key is not found") { is $map->find($key), 'not-found', $name }

# The answer is "could not tell", for a reason like this, and within $seconds: more than a busy machine loses, less than without a deadline.
sub is_unknown($map, $key, $reason, $name, $seconds = 6) {
	$map->ask($key);
	heard_unknown($map, $reason, $name, $seconds);
}

# The same for a question that was asked before.
sub heard_unknown($map, $reason, $name, $seconds = 6) {
	like $map->answer, qr/^could-not-tell .*$reason/, $name;
	cmp_ok $map->{took}, '<', $seconds * $slow + $own_name, "... within $seconds s";
}

sub spoil($path, $mode) { chmod $mode, $path or die; return $path }

sub secret_file($text, $mode = 0600) {
	my $path = $slapd->dir . '/secret' . ++$number;
	open my $fh, '>', $path or die;
	print $fh $text;
	close $fh;
	return spoil($path, $mode);
}

# slapo-retcode: an entry per result code, which searches below ou=codes answer with it
sub retcode_overlay() {
	my $items = join '', map { "retcode-item \"cn=code$_\" " . sprintf('0x%02x', $_) . " op=search\n" } codes();
	return "overlay retcode\nretcode-parent \"ou=codes,$RealSlapd::suffix\"\n$items";
}

# Result codes of RFC 4511 section 4.1.9 other than success and what cannot end a search.
sub codes() { (1 .. 4, 7, 8, 11 .. 13, 16 .. 19, 21, 32 .. 34, 36, 48 .. 54, 64 .. 69, 71, 80) }

sub groups() {
	my @group = (
		['friends', members => ["mail=user1\@$domain,$tree", "mail=user2\@$domain,$tree"]],
		['outer', members => ["mail=friends\@$domain,$tree", "mail=user3\@$domain,$tree"]],
		['ring1', members => ["mail=ring2\@$domain,$tree"]],
		['ring2', members => ["mail=ring1\@$domain,$tree", "mail=user1\@$domain,$tree"]],
		['ghost', members => ["mail=gone\@$domain,$tree", "mail=user1\@$domain,$tree"]],
		['dynamic', urls => ["ldap:///$tree??sub?(&(objectClass=CourierMailAccount)(mail=user*))"]],
		['elsewhere', urls => ["ldap://other.example/$tree??sub?(mail=*)"]],
		['nothing', urls => ["ldap:///$tree??sub?(mail=nosuch)"]],
	);
	return join '', map {
		my ($name, %o) = @$_;
		"dn: mail=$name\@$domain,$tree\nobjectClass: testMailEntry\nmail: $name\@$domain\n"
			. join('', map { "member: $_\n" } @{$o{members} // []})
			. join('', map { "labeledURI: $_\n" } @{$o{urls} // []}) . "\n"
	} @group;
}
sub odd_names() {
	return join '', map {
		require MIME::Base64;
		my $cn = MIME::Base64::encode_base64($odd[$_], '');
		my $result = "odd$_\@there.example";
		"dn: mail=odd$_,$tree\nobjectClass: testMailEntry\nobjectClass: CourierMailAlias\n"
			. "mail: odd$_\ncn:: $cn\nmaildrop: $result\n\n"
	} 0 .. $#odd;
}

subtest 'the ways to a server' => sub {
	my $password = secret_file("$RealSlapd::reader_password\n");
	my %bind = (binddn => $RealSlapd::reader, passwdfile => $password);
	my %tls = (tls_ca_cert_file => $slapd->ca);
	my %way = (
		'ldapi' => {},
		'ldap' => { uri => $slapd->uri('ldap') },
		'ldapi, bound' => { %bind },
		'ldap on loopback, bound' => { uri => $slapd->uri('ldap'), %bind },
		'StartTLS' => { uri => $slapd->uri('ldap'), start_tls => 'yes', %tls },
		'StartTLS, bound' => { uri => $slapd->uri('ldap'), start_tls => 'yes', %tls, %bind },
		'ldaps' => { uri => $slapd->uri('ldaps'), %tls, %bind },
		'SASL EXTERNAL over ldapi' => { authmethod => 'sasl', sasl_mech => 'EXTERNAL' },
		'no bind' => { bind => 'no' },
		'host and port as in ZMailer' => { uri => undef, ldaphost => '127.0.0.1', ldapport => $slapd->{port}, protocol => 3, authmethod => 'simple' },
		'password in the config file' => { binddn => $RealSlapd::reader, passwd => $RealSlapd::reader_password },
	);
	for my $name (sort keys %way) {
		my $map = map_with(%{$way{$name}});
		is_found $map, "alias1\@$domain", "user1\@$domain", "$name: found";
		is_not_found $map, "nosuch\@$domain", "$name: not found";
	}
	my $who = map_with(authmethod => 'sasl', sasl_mech => 'EXTERNAL', filter => '(&(cn=%s)(objectClass=*))', attr => 'userPassword',
		base => $RealSlapd::suffix);
	is_unknown $who, 'reader', 'no value to answer with', 'a value that may not be read is not "not found"';
};

subtest 'Postfix parameters under their names' => sub {
	my %usual = (uri => undef, base => undef, filter => undef, attr => undef, server_host => '127.0.0.1',
		server_port => $slapd->{port}, search_base => $hosting, query_filter => '(&(mail=%s)(objectClass=CourierMailAlias))',
		result_attribute => 'maildrop', version => 3, scope => 'sub', bind => 'yes', debuglevel => 0, dereference => 0, timeout => 5,
		chase_referrals => 'no', recursion_limit => 100, expansion_limit => 0, size_limit => 0);
	is_found map_with(%usual), "alias2\@$domain", "user2\@$domain";
	is_found map_with(%usual, result_format => 'lmtp:[%s]:%u:%d:%S:%U:%D:%1:%%'), "alias2\@$domain",
		"lmtp:[user2\@$domain]:user2:$domain:alias2\@$domain:alias2:$domain:example:%", 'result_format';
	is_found map_with(%usual, result_format => 'smtp-lmtp!node!%u%%2'), "alias2\@$domain", 'smtp-lmtp!node!user2%2';
	is_found map_with(%usual, query_filter => 'mail=%s'), "alias2\@$domain", "user2\@$domain", 'a filter without brackets';
	is_found map_with(%usual, server_host => 'ldap://127.0.0.1:1 ' . $slapd->uri('ldap')), "alias2\@$domain", "user2\@$domain", 'two servers';
	my $map = map_with(%usual, domain => "other.example, $domain");
	is_found $map, "alias2\@$domain", "user2\@$domain", 'a listed domain';
	is_not_found $map, $_, "outside of domain: $_" for 'alias2@elsewhere.example', 'alias2', "\@$domain";
	$map = map_with(%usual, search_base => "o=%d,$hosting", scope => 'one', query_filter => '(mail=%s)');
	is_found $map, "alias1\@$domain", "user1\@$domain", 'the domain in the base';
	is_not_found $map, 'alias1', 'no domain for the base: nothing to ask for';
	is_unknown $map, 'x@unknown.example', 'No such object', 'a base that does not exist';
	is_found map_with(%usual, query_filter => "(mail=%u\@%2.%1)"), "alias1\@$domain", "user1\@$domain", 'labels of the domain';
	is_unknown map_with(%usual, expansion_limit => 2), "staff\@$domain", 'expansion_limit', 'expansion_limit';
	is_unknown map_with(%usual, query_filter => '(|(mail=%s)(mail=alias*))', size_limit => 2, entries => 'many'), "staff\@$domain",
		'Size limit exceeded', 'size_limit';
	is_found map_with(%usual, scope => 'base', search_base => "mail=%s,$tree", query_filter => '(objectClass=*)'), "alias1\@$domain",
		"user1\@$domain", 'the key in the base';
};

subtest 'results' => sub {
	is_found map_with(), "staff\@$domain", "someone\@elsewhere.example, user1\@$domain, user2\@$domain", 'all values, in order';
	my $account = map_with(filter => $account_filter, attr => undef, result => 'smtp-lmtp!node!{mailbox}%2');
	is_found $account, "user1\@$domain", "smtp-lmtp!node!$domain/user1%2", 'a template';
	is_found map_with(filter => $account_filter, attr => undef, result => '{mail:local}+{{{mailbox}}}@{mail:domain}/{key:local}'),
		"USER1\@$domain", "user1+{$domain/user1}\@$domain/USER1", 'parts of values, braces, the key';
	is_found map_with(filter => $account_filter, attr => 'mailbox, homeDirectory'), "user1\@$domain", "/home/vmail, $domain/user1",
		'several attributes';
	$slapd->change(RealSlapd::account('percent', mailbox => '50%2off'));
	is_found $account, "percent\@$domain", 'smtp-lmtp!node!50%%2off%2', 'a percent sign in a value stays one';
	is_found map_with(filter => $account_filter, attr => 'mailbox'), "percent\@$domain", '50%2off', '... a plain attribute is left alone';
	is_found map_with(attr => undef, result => 'is there'), "staff\@$domain", 'is there', 'a constant';
	is_not_found map_with(attr => undef, result => 'is there'), "nosuch\@$domain", '... only if there is an entry';
	is_found map_with(result_format => 'OK'), "staff\@$domain", 'OK', 'a constant format';
	is_unknown map_with(filter => '(mail=%s)', result_format => 'OK'), "user1\@$domain", 'has no value', '... only if the attribute has a value';
	is_unknown map_with(filter => $account_filter, attr => undef, result => 'lmtp!node!{mailbox:local}%2@{mailbox:domain}'), "user1\@$domain",
		'the value of mailbox has no part before or after an @ as the template asks for', 'a part that the value does not have';
	is_unknown map_with(attr => undef, result => '{maildrop}'), "staff\@$domain", 'conflict: .*several values of maildrop',
		'several values for one template';
	is_found map_with(attr => undef, result => '<{maildrop}>', values => 'many'), "staff\@$domain",
		"<someone\@elsewhere.example>, <user1\@$domain>, <user2\@$domain>", '... unless many are meant';
	is_unknown map_with(filter => '(|(mail=%s)(mail=alias1*))'), "alias2\@$domain", "conflict: \"mail=alias1.*\" and \"mail=alias2",
		'two entries where one is meant';
	is_found map_with(filter => '(|(mail=%s)(mail=alias1*))', entries => 'many'), "alias2\@$domain",
		"user1\@$domain, user2\@$domain", '... unless many are meant';
	is_unknown map_with(values => 'one'), "staff\@$domain", 'conflict', 'several values where one is meant';
	is_unknown map_with(filter => '(mail=%s)'), "user1\@$domain", 'has no value', 'an entry without the attribute';
	is_unknown map_with(filter => '(cn=%s)', attr => 'commonName', base => $RealSlapd::suffix), 'reader', 'attribute cn, which was not asked for',
		'an attribute under another name';
	is_found map_with(filter => '(cn=%s)', attr => 'cn', base => $RealSlapd::suffix), 'reader', 'reader';
};

subtest 'entries that refer to others' => sub {
	my %group = (filter => '(mail=%s)', attr => 'mailbox', special_result_attribute => 'member labeledURI');
	my $map = map_with(%group);
	is_found $map, "user1\@$domain", "$domain/user1", 'a plain entry';
	is_found $map, "friends\@$domain", "$domain/user1, $domain/user2", 'a group';
	is_found $map, "outer\@$domain", "$domain/user1, $domain/user2, $domain/user3", 'a group in a group';
	is_found $map, "ring1\@$domain", "$domain/user1", 'groups that contain each other';
	is_unknown $map, "ghost\@$domain", 'No such object', 'a member that does not exist';
	is_found $map, "dynamic\@$domain", "$domain/user1, $domain/user2, $domain/user3", 'an LDAP URL';
	is_unknown $map, "elsewhere\@$domain", 'another server', 'an LDAP URL to another server';
	is_unknown $map, "nothing\@$domain", 'no result', 'references that lead nowhere';
	is_unknown map_with(%group, recursion_limit => 1), "outer\@$domain", 'recursion_limit', 'too deep';
	is_found map_with(%group, recursion_limit => 2), "outer\@$domain", "$domain/user1, $domain/user2, $domain/user3", 'deep enough';
	is_unknown map_with(%group, expansion_limit => 2), "outer\@$domain", 'expansion_limit', 'too many';
	is_found map_with(%group, attr => 'mailbox, mail'), "friends\@$domain",
		"$domain/user1, $domain/user2, friends\@$domain, user1\@$domain, user2\@$domain", 'values of group and members';
	is_found map_with(%group, attr => 'mailbox', leaf_result_attribute => 'mail'), "friends\@$domain",
		"$domain/user1, $domain/user2, user1\@$domain, user2\@$domain", 'leaf attributes do not count in the group';
	is_found map_with(%group, terminal_result_attribute => 'mail'), "friends\@$domain", "friends\@$domain", 'a terminal attribute ends it';
};

subtest 'injection' => sub {
	my $map = map_with(filter => '(cn=%s)');
	is_found $map, $odd[$_], "odd$_\@there.example", "only itself: " . $odd[$_] =~ s/[^ -~]/?/gr for 0 .. $#odd;
	is_not_found $map, $_, 'finds nothing: ' . s/[^ -~]/?/gr
		for '**', 'p*', 'p\\2at', '*)(cn=pat', 'pat)(objectClass=*', '(', ')', '\\', '\\00', "pat\x01", "pa\tt", "pat\x7f", ' pat', 'pat ', "\xff\xfe",
		"pat\xc3", "\xc3\xa4", ')(|(cn=*', 'pat)', 'x' x 100000, '\\' x 5000, '(' x 5000;
	$map = map_with(base => "mail=%s,$tree", scope => 'base', filter => '(objectClass=*)');
	is_unknown $map, $_, 'No such object', "as a name: $_" for "x,$tree", 'alias1+cn=x', '#04', 'a=b', '\\', '"', '<>;', "alias1\@$domain,$tree";
	is_found $map, "alias1\@$domain", "user1\@$domain";
};

subtest 'every result code but success is "could not tell"' => sub {
	for my $code (codes()) {
		my $map = map_with(base => "cn=code$code,ou=codes,$RealSlapd::suffix", timeout => 5);
		is_unknown $map, "alias1\@$domain", "\\($code\\)", "result code $code";
	}
};

subtest 'an entry of more than 16 MB is "could not tell", and keeps nobody else from an answer' => sub {
	my $other = RealSlapd->new(users => 3, no_tls => 1, ldif => RealSlapd::alias_entry('large', 'x' x 17_000_000))->start;
	my $map = map_with(uri => $other->uri('ldapi'));
	is_found $map, "alias1\@$domain", "user1\@$domain";
	is_unknown $map, "large\@$domain", "\"mail=large\@$domain,[^\"]*\" is of more than 16 MB", 'it is named' for 1 .. 2;
	is_found $map, "alias2\@$domain", "user2\@$domain", 'another one is found at once';
};

subtest 'a referral is "could not tell"' => sub {
	$slapd->change("dn: ou=far,$tree\nchangetype: add\nobjectClass: referral\nobjectClass: extensibleObject\nou: far\n"
		. "ref: ldap://far.example/ou=far\n\n");
	is_unknown map_with(base => "ou=far,$tree"), "alias1\@$domain", 'Referral', 'the base is elsewhere';
	is_unknown map_with(), "alias1\@$domain", 'referral', 'a part of the tree is elsewhere';
	is_unknown map_with(), "nosuch\@$domain", 'referral', '... even if nothing was found here';
	$slapd->change("dn: ou=far,$tree\ncontrol: 2.16.840.1.113730.3.4.2 true\nchangetype: delete\n\n");
	is_not_found map_with(), "nosuch\@$domain", 'and without it all is well again';
};

# What libldap and servers say does not tell what to do.
subtest 'refused on the way, with a hint at what can be done' => sub {
	my $tls = 'TLS: is the certificate for the host in uri, its issuer in tls_ca_cert_file';
	my $wrong = secret_file('wrong');
	is_unknown map_with(binddn => $RealSlapd::reader, passwdfile => $wrong), "alias1\@$domain", 'bind: Invalid credentials \(49\); .*binddn, passwdfile', 'wrong password';
	is_unknown map_with(binddn => "cn=nobody,$RealSlapd::suffix", passwdfile => $wrong), "alias1\@$domain", 'bind: Invalid credentials', 'unknown name';
	is_unknown map_with(binddn => 'reader', passwdfile => $wrong), "alias1\@$domain", 'bind: Invalid DN syntax .*cn=reader,dc=example', 'no name';
	is_unknown map_with(uri => $slapd->uri('ldap'), authmethod => 'sasl', sasl_mech => 'EXTERNAL'), "alias1\@$domain",
		'bind: .* no mechanism available; .*EXTERNAL is for ldapi://', 'EXTERNAL over TCP';
	is_unknown map_with(authmethod => 'sasl', sasl_mech => 'NO-SUCH'), "alias1\@$domain", 'bind: .*sasl_mech is misspelt', 'unknown mechanism';
	my %other = (tls_ca_cert_file => $slapd->dir . '/other.pem');
	is_unknown map_with(uri => $slapd->uri('ldaps'), %other), "alias1\@$domain", "bind: .*$tls", 'ldaps: certificate of another authority';
	is_unknown map_with(uri => $slapd->uri('ldap'), start_tls => 'yes', %other), "alias1\@$domain", "StartTLS: .*$tls",
		'StartTLS: certificate of another authority';
	is_found map_with(uri => $slapd->uri('ldaps'), %other, tls_require_cert => 'no'), "alias1\@$domain", "user1\@$domain", '... verified only if it is wanted';
	my $named_otherwise = RealSlapd->new(users => 1, certificate => 'wrongname');
	$named_otherwise->start;
	is_unknown map_with(uri => $named_otherwise->uri('ldaps'), tls_ca_cert_file => $named_otherwise->ca), "alias1\@$domain", "bind: .*$tls",
		'ldaps: certificate for another name';
	is_unknown map_with(uri => $named_otherwise->uri('ldap'), start_tls => 'yes', tls_ca_cert_file => $named_otherwise->ca), "alias1\@$domain",
		"StartTLS: .*$tls", 'StartTLS: certificate for another name';
	is_unknown map_with(uri => $slapd->uri('ldap'), start_tls => 'yes', tls_ca_cert_file => '/dev/null'), "alias1\@$domain", 'TLS|StartTLS',
		'an empty authority file';
	my $plain = RealSlapd->new(users => 1, no_tls => 1);
	$plain->start;
	is_unknown map_with(uri => $plain->uri('ldap'), start_tls => 'yes', tls_ca_cert_file => $slapd->ca), "alias1\@$domain", 'StartTLS: ',
		'a server that refuses StartTLS';
	is_found map_with(uri => $plain->uri('ldap')), "alias1\@$domain", "user1\@$domain", '... it serves those who do not ask for it';
	is_unknown map_with(uri => 'ldapi://%2Fnonexistent%2Fldapi'), "alias1\@$domain", "Can't contact LDAP server \\(-1\\); does the server run, and is uri where it listens", 'no socket';
	is_unknown map_with(base => "o=gone,$RealSlapd::suffix"), "alias1\@$domain", 'No such object \(32\); base does not exist, or this bind name may not see it', 'no base';
	my $strict = RealSlapd->new(users => 1, global => 'require bind', config => "limits anonymous size=0");
	$strict->start;
	is_unknown map_with(uri => $strict->uri('ldap'), bind => 'no'), "alias1\@$domain", 'search .*\(\d+\), .*; .*binddn, passwdfile', 'a server that wants a bind';
};

# Asks in every state of a connection while slapd is stopped, with $patience times as long deadlines.  Returns a list of [good?, name, answer].
sub silence_at_each_step($patience) {
	my @seen;
	my $see = sub ($good, $name, $answer) { push @seen, [$good, $name, $answer] };
	my %hasty = (network_timeout => $patience, timeout => 2 * $patience);
	my %tls = (tls_ca_cert_file => $slapd->ca);
	my %cold = (
		'bind over TCP' => { uri => $slapd->uri('ldap') },
		'bind over ldapi' => {},
		'search without bind' => { uri => $slapd->uri('ldap'), bind => 'no' },
		'TLS handshake' => { uri => $slapd->uri('ldaps'), %tls },
		'StartTLS' => { uri => $slapd->uri('ldap'), start_tls => 'yes', %tls },
		'SASL' => { authmethod => 'sasl', sasl_mech => 'EXTERNAL' },
	);
	my %warm = ('search over TCP' => { uri => $slapd->uri('ldap') }, 'search over ldapi' => {}, 'search over TLS' => { uri => $slapd->uri('ldaps'), %tls });
	my %map = map { $_ => map_with(%hasty, %{$cold{$_} // $warm{$_}}) } keys %cold, keys %warm;
	my $found = "found user1\@$domain";
	for my $name (sort keys %warm) {
		my $answer = $map{$name}->find("alias1\@$domain");
		$see->($answer eq $found, "$name: warm", $answer);
	}
	$slapd->signal('STOP');
	for my $key ("alias1\@$domain", "alias2\@$domain") {
		$_->ask($key) for values %map;
	}
	for my $name (sort keys %map) {
		my $answer = $map{$name}->answer;
		$see->(scalar($answer =~ /^could-not-tell .*Timed out/), "$name: could not tell", $answer);
		my $took = $map{$name}{took};
		$see->(scalar($took < 3 * $patience * $slow + $own_name), "... within its deadline", "$took s");
		$answer = $map{$name}->answer;
		$see->(scalar($answer =~ /^could-not-tell .*not asked again/), "... and the next lookup does not wait again", $answer);
	}
	$slapd->signal('CONT');
	for my $name (sort keys %map) {
		my $answer = $map{$name}->until_like("alias1\@$domain", qr/^found/, 8 * $patience);
		$see->($answer eq $found, "$name: found again", $answer);
	}
	return @seen;
}

subtest 'silence at each step' => sub {
	# a busy machine is late with everything, but not with everything ten times as long; what waits for ever does so each time
	for my $patience (1, 3, 10) {
		my @seen = silence_at_each_step($patience);
		next if $patience < 10 && grep { !$_->[0] } @seen;
		ok $_->[0], $_->[1] or diag $_->[2] for @seen;
		last;
	}
};

subtest 'killed and restarted' => sub {
	my $map = map_with(uri => $slapd->uri('ldap'));
	is_found $map, "alias1\@$domain", "user1\@$domain", 'before';
	$slapd->restart('KILL');
	is_found $map, "alias1\@$domain", "user1\@$domain", 'the same connection is gone; the lookup makes a new one';
	$slapd->stop('KILL');
	is_unknown $map, "alias1\@$domain", "Can't contact LDAP server", 'without a server';
	is_unknown $map, "nosuch\@$domain", 'not asked again', 'and again';
	$slapd->start;
	is $map->until_like("alias1\@$domain", qr/^found/, 8), "found user1\@$domain", 'with one again';
	is_not_found $map, "nosuch\@$domain";
};

subtest 'an idle connection that the server closed' => sub {
	my $idle = RealSlapd->new(users => 1, global => 'idletimeout 1');
	$idle->start;
	my $map = map_with(uri => $idle->uri('ldap'));
	is_found $map, "alias1\@$domain", "user1\@$domain";
	# slapd looks at its clock when something happens
	Time::HiRes::sleep(1.5);
	$idle->add_alias('another', 'x@y.example');
	is_found $map, "alias1\@$domain", "user1\@$domain", 'is made anew without a word';
};

subtest 'cut after every byte of the answer' => sub {
	my $config_for = sub ($relay) { config(uri => 'ldap://127.0.0.1:' . $relay->port, network_timeout => 5, timeout => 15) };
	# bind response 14 bytes, entry, result
	for my $k (some_of(30, 0 .. 130)) {
		my $relay = Relay->new(port => $slapd->{port}, cut => [$k, undef]);
		is(Ask->new('ldap', $config_for->($relay))->find("alias1\@$domain"), "found user1\@$domain", "once after $k bytes: found by a second try")
			if $k >= 14;
		next if $k % 5 && long();
		$relay = Relay->new(port => $slapd->{port}, cut => [($k) x 4]);
		my $map = Ask->new('ldap', $config_for->($relay));
		my $answer = $map->find("alias1\@$domain");
		like $answer, $k < 110 ? qr/^could-not-tell/ : qr/^(?:could-not-tell|found user1\@$domain$)/, "always after $k bytes";
	}
};

subtest 'silent after every byte of the answer' => sub {
	my %hasty = (network_timeout => 1, timeout => 2);
	# heads of messages, and in TLS whole records, are what a library may wait for
	my %at = (ldap => [some_of(10, 0 .. 39)], ldaps => [some_of(20, map { $_ * 31 } 0 .. 79)]);
	for my $scheme (sort keys %at) {
		my $port = $slapd->{$scheme eq 'ldap' ? 'port' : 'tls_port'};
		my ($late, @odd) = (0);
		while (my @k = splice $at{$scheme}->@*, 0, 40) {
			my @relays = map { Relay->new(port => $port, stall => [$_]) } @k;
			my @maps = map { map_with(uri => "$scheme://127.0.0.1:" . $_->port, tls_ca_cert_file => $slapd->ca, %hasty) } @relays;
			$_->ask("alias1\@$domain") for @maps;
			for my $map (@maps) {
				my $answer = $map->answer;
				push @odd, $answer if $answer !~ /^could-not-tell|^found user1\@/;
				$late++ if $map->{took} > 20 * $slow;
			}
		}
		is "@odd", '', "$scheme: found, or could not tell";
		is $late, 0, '... and never for ever';
	}
};

subtest 'slow servers' => sub {
	my $relay_to = sub (%o) { Relay->new(port => $slapd->{port}, %o) };
	my $mute = Relay->new();
	my @relays = ($relay_to->(delay => 0.3), $relay_to->(delay => 1.5), $relay_to->(stall => [60]), $mute);
	my @uri = map { 'ldap://127.0.0.1:' . $_->port } @relays;
	my %hasty = (network_timeout => 5, timeout => 2);
	my $late = map_with(uri => $uri[0]);
	my $too_late = map_with(uri => $uri[1], %hasty);
	my $half = map_with(uri => $uri[2], %hasty);
	my $second = map_with(uri => "$uri[3] " . $slapd->uri('ldap'), network_timeout => 3, timeout => 20);
	my $mute_tls = map_with(uri => $uri[3] =~ s/ldap:/ldaps:/r, tls_ca_cert_file => $slapd->ca, network_timeout => 1, timeout => 4);
	$_->ask("alias1\@$domain") for $late, $too_late, $half, $second, $mute_tls;
	is $_->answer, "found user1\@$domain", 'late, but not too late' for $late;
	heard_unknown $too_late, 'Timed out', 'too late';
	heard_unknown $half, 'Timed out', 'half an answer';
	is $second->answer, "found user1\@$domain", 'the second server answers for a silent first';
	heard_unknown $mute_tls, 'Timed out', 'TLS with somebody who says nothing';
	is_found $second, "alias2\@$domain", "user2\@$domain", 'and goes on to do so';
	cmp_ok $second->{took}, '<', 2.5 * $slow, '... without a wait for the silent one';
};

subtest 'what is kept' => sub {
	my $map = map_with(uri => $slapd->uri('ldap'), cache_expiry => 6, cache_negative_expiry => 6);
	my $other = map_with(uri => $slapd->uri('ldap'), cache_expiry => 30);
	is_found $_, "alias1\@$domain", "user1\@$domain" for $map, $other;
	is_not_found $_, "nosuch\@$domain" for $map, $other;
	$slapd->stop('KILL');
	is_found $_, "alias1\@$domain", "user1\@$domain", 'found, without the server' for $map, $other;
	is_not_found $map, "nosuch\@$domain", 'not found, without the server';
	is_unknown $other, "nosuch\@$domain", "Can't contact", 'not found was not to be kept';
	is_unknown $map, "alias2\@$domain", "Can't contact", 'what was never asked for';
	like $map->until_like("alias1\@$domain", qr/could-not-tell/, 20), qr/could-not-tell/, 'not for ever';
	is_found $other, "alias1\@$domain", "user1\@$domain", 'as long as was said';
	$slapd->start;
};

subtest 'the config file changes' => sub {
	my $path = config();
	my $map = Ask->new('ldap', $path);
	is_found $map, "alias1\@$domain", "user1\@$domain";
	is $map->refresh, 'same';
	rename config(filter => $account_filter, attr => 'mailbox'), $path or die;
	is $map->refresh, 'changed';
	is_found $map, "user1\@$domain", "$domain/user1", 'the new one counts';
	rename config(filter => '(mail=%s'), $path or die;
	is $map->refresh, 'changed';
	is_unknown $map, "user1\@$domain", ':\d+: filter: is no filter', 'a damaged one: could not tell';
};

subtest 'emptied' => sub {
	my $map = map_with(uri => $slapd->uri('ldap'));
	is_found $map, "alias1\@$domain", "user1\@$domain";
	$slapd->stop;
	$slapd->reload(RealSlapd::suffix_entries());
	$slapd->start;
	is_not_found $map, "alias1\@$domain", 'without its entry';
	$slapd->stop;
	$slapd->reload(RealSlapd::suffix_entries() =~ s/^dn: o=hosting.*//msr);
	$slapd->start;
	is_unknown $map, "alias1\@$domain", 'No such object', 'without its base';
};

done_testing;
