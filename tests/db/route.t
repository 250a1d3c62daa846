#!/usr/bin/perl
# Routing by the programs: newdb builds the maps of the examples, dblookup -r says where each address goes, enqueue
# puts it into a queue; then the samples of router-scripts.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Copy ();
use File::Temp ();
use JSON::PP ();
use Routing;
use Spool;
use Test::More;
use Tool ();

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $source = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my ($newdb, $dbupdate, $dblookup) = map { "$build/db/$_" } qw(newdb dbupdate dblookup);
my ($enqueue, $runqueue) = map { "$build/channel/$_" } qw(enqueue runqueue);
my $dir = File::Temp->newdir('/tmp/zlmtp-route-XXXXXX');
my $message = "From: Ann <ann\@example.org>\nSubject: lunch\n\nNoon?\n";
my @settings = map { ('-o', $_) } 'hostname=mx.local.test', 'mydomain=local.test';

delete $ENV{ZCONFIG};
chmod 0755, $dir;

# Runs a program with this input; returns exit status, stdout, stderr.
sub run($input, @command) {
	my $got = Tool::run(\@command, in => $input);
	return @$got{qw(status out err)};
}

# A directory with these maps, built; returns the path of its dbases.conf.
sub build($name, $set) {
	mkdir "$dir/$name" or die "$dir/$name: $!";
	Routing->write_maps($set, "$dir/$name");
	# -n -k: the examples have values and repeated keys that newdb refuses otherwise
	my ($status, $out, $err) = run('', $newdb, '-nks', '-f', "$dir/$name/dbases.conf");
	is $status, 0, "maps of set $name" or diag $err;
	return "$dir/$name/dbases.conf";
}

# Lines of dblookup -r as the examples write results.
sub results($out) {
	my @results;
	for (split /\n/, $out) {
		my (undef, $channel, $host, $user) = split /\t/, $_, -1;
		if ($channel eq 'hold') {
			$host = $host =~ /^timeout:(\d+)$/ ? $1 - time > 3590 && $1 - time <= 3600 ? 'timeout:3600' : $host : '*';
		}
		push @results, "($channel $host $user)";
	}
	return join ' ', @results;
}

my $examples = Routing->read;
my %conf;

subtest 'the examples' => sub {
	for my $x ($examples->{examples}->@*) {
		my $expect = $x->{both} // $x->{ours};
		my @modes = @settings;

	SKIP: {
			skip "$x->{number}: only the unit test routes senders and reports", 1
				if $x->{modes}{sender} || $x->{modes}{'error-message'};
			skip "$x->{number}: newdb takes this colon as what it was meant to be", 1 if $x->{set} eq 'HOWTO-COLON';
			skip "$x->{number}: this machine has an account \"user\"", 1 if $x->{address} eq 'user' && getpwnam 'user';
			push @modes, '-o', 'localdoesdomain=1' if !$x->{modes}{'no-domain'};
			push @modes, '-o', 'ROUTEUSER_IN_ABNORMAL_UNIX=1' if $x->{modes}{'any-user'};
			my $conf = $conf{$x->{set}} //= build($x->{set}, $examples->{sets}{$x->{set}});
			my ($status, $out) = run('', $dblookup, '-f', $conf, '-r', @modes, "--", $x->{address});
			is results($out), $expect, "$x->{number} " . substr $x->{address}, 0, 60;
			is $status, $expect =~ /\(hold / ? 75 : $expect =~ /\(error / ? 1 : 0, "$x->{number}: exit status";
		}
	}
};

subtest 'output for programs and people' => sub {
	my @command = ($dblookup, '-f', $conf{A}, '-r', @settings);
	my ($status, $out, $err) = run("two\@l.test\nnosuch\@l.test\n", @command, '-');
	is $status, 1, 'the worst answer is the exit status';
	is $out, "two\@l.test\tsmtp\tr.test\tone\@r.test\ntwo\@l.test\tsmtp\tR.Test\tTwo\@R.Test\n" .
		"nosuch\@l.test\terror\tnosuchuser\tnosuch\@l.test\n", 'a line for each result';

	($status, $out) = run('', @command, '-j', 'two@l.test');
	is_deeply JSON::PP::decode_json($out), { address => 'two@l.test', answer => 'found', results => [
			{ channel => 'smtp', host => 'r.test', user => 'one@r.test' },
			{ channel => 'smtp', host => 'R.Test', user => 'Two@R.Test' } ] }, 'one object with -j';

	($status, $out, $err) = run('', @command, '-v', 'rt+T@l.test');
	like $out, qr/\A[^\n]*\tsmtp-lmtp\tnode\tcyr\+T\n\z/, 'results alone on stdout';
	like $err, qr{fqdnaliases rt\+t\@l\.test: not found in \S+/fqdnaliases-1\.db}, 'a key that is not there';
	like $err, qr{fqdnaliases rt\@l\.test: found in \S+/fqdnaliases-1\.db, from line 17 of \S+/fqdnaliases-1: }a,
		'the map and line that answered';
	like $err, qr{^ +with %2 = "\+T"$}m, 'what is put in';
	like $err, qr{^ += smtp-lmtp node cyr\+T$}m, 'the result';

	($status, $out) = run("u\0ser\@d.test\n", @command, '-');
	is $out, "u ser\@d.test\terror\tbadaddress\tu ser\@d.test\n", 'a NUL does not end an address';
};

subtest 'settings' => sub {
	my $conf = $conf{H1} =~ s/dbases.conf$/router.conf/r;
	my @command = ($dblookup, '-f', $conf{H1}, '-r');
	my $address = 'example.user@locally.known.domain';

	Routing::write_file($conf, "# settings\nROUTEUSER_IN_ABNORMAL_UNIX=1\nlocaldoesdomain=1\n");
	my ($status, $out) = run('', @command, $address);
	is results($out), "(local $address fg56778\@locally.known.domain)", 'router.conf beside dbases.conf counts';
	($status, $out) = run('', @command, '-o', 'localdoesdomain=', $address);
	is results($out), "(local $address fg56778)", 'the command line has the last word';

	Routing::write_file($conf, "hostname=mx.local.test\n\nprotokols=smtp\n");
	($status, $out, my $err) = run('', @command, $address);
	is $status, 78, 'an unknown setting: exit 78';
	like $err, qr{^dblookup: \S+/router\.conf:3: protokols: unknown setting[^\n]*\n\z}, 'with file and line';
	for my $line ("hostname=x.test\xc2\xa0", "postmaster=ann\@d.test\xe2\x80\x8b", "localdoesdomain=\xc2\xa0", "\xc2\xa0max_depth=3") {
		Routing::write_file($conf, "$line\n");
		($status, $out, $err) = run('', @command, $address);
		is $status, 78, 'a setting with what nobody sees, ' . unpack('H*', $line) . ': exit 78';
		like $err, qr{^dblookup: \S+/router\.conf:1: [^\n]+: found U\+(?:00A0|200B),[^\n]*\n\z}, 'with file and line';
	}
	unlink $conf;
	for my $bad ('hostname=a b', 'max_depth=0', 'max_addresses=many', 'protocols=uucp', 'nofqlists=', 'nonsense') {
		($status, $out, $err) = run('', @command, '-o', $bad, $address);
		is "$status $out", '64 ', "-o $bad: exit 64, no result";
		like $err, qr/^dblookup: [^\n]+\n\z/, "-o $bad: one line";
	}

	Routing::write_file("$dir/zmailer.conf", "MAILVAR=$dir\nROUTEUSER_IN_ABNORMAL_UNIX=1\n");
	local $ENV{ZCONFIG} = "$dir/zmailer.conf";
	($status, $out) = run('', @command, $address);
	is results($out), "(local $address fg56778)", 'zmailer.conf counts';
	Routing::write_file("$dir/zmailer.conf", "MAILVAR=$dir\nROUTEUSER_IN_ABNORMAL_UNIX=\"\"\n");
	($status, $out) = run('', @command, $address);
	like results($out), qr/^\(error nosuchuser/, 'and empty quotes in it are nothing';
};

# ---- enqueue ----

my $offices = 0;

# A queue and what enqueue says when it puts the message there.
sub enqueue(@arguments) {
	my $office = "$dir/po" . ++$offices;
	Spool->new($office);
	my ($status, $out, $err) = run($message, $enqueue, '-P', $office, '-s', 'ann@example.org', @arguments);
	my $name = Spool::job($office, $out);
	my $control = defined $name ? Spool::parse($name, Spool::slurp("$office/transport/$name")) : undef;
	return ($status, $control, $err, $office);
}

sub quads($control) { [ map { "$_->{channel} $_->{host} $_->{user}" } $control->{recipients}->@* ] }

sub is_empty($office, $name) {
	is_deeply [ glob "$office/{queue,transport,router,public}/{*,*/*}" ], [], "$name: nothing is queued";
}

subtest 'enqueue routes' => sub {
	my @maps = ('-f', $conf{A}, @settings);
	my ($status, $control, $err, $office) = enqueue(@maps, 'two@l.test', 'rt+Box@l.test', 'pipe@l.test', 'one@r.test');
	is $status, 0, 'exit 0' or diag $err;
	is_deeply quads($control), [ 'smtp r.test one@r.test', 'smtp R.Test Two@R.Test', 'smtp-lmtp node cyr+Box',
			'local pipe.pipe@l.test "|/bin/cat"' ], 'mixed channels in one control file, equal results once';
	like $control->{recipients}[2]{dsn}, qr/ORCPT=rfc822;rt\+2BBox\@l\.test /, 'ORCPT is what the sender wrote';

	($status, $control, $err, $office) = enqueue(@maps, 'two@l.test', 'nosuch@l.test', 'not.either@l.test');
	is $status, 67, 'an unknown address: exit 67';
	is $err, join('', map { "enqueue: $_: not found: nosuchuser\n" } 'nosuch@l.test', 'not.either@l.test'),
		'each by its name';
	is_empty $office, 'an unknown address';

	($status, $control, $err) = enqueue(@maps, '-k', 'two@l.test', 'nosuch@l.test');
	is $status, 0, '-k: exit 0';
	like $err, qr/^enqueue: nosuch\@l\.test: not found/, '-k: still told';
	is scalar $control->{recipients}->@*, 2, '-k: the good ones are queued';

	($status, $control, $err, $office) = enqueue(@maps, '-k', 'nosuch@l.test');
	is $status, 67, '-k without any good one: exit 67';
	is_empty $office, '-k without any good one';

	@maps = ('-f', $conf{'FIRST-MAP-MISSING'}, @settings);
	($status, $control, $err, $office) = enqueue(@maps, '-k', 'root', 'user@d.test');
	is $status, 75, 'one that cannot be judged: exit 75, even with -k';
	like $err, qr{^enqueue: user\@d\.test: could not tell: fqdnroutes: \S+/fqdnroutes-1\.db: [^\n]+\n\z}, 'and why';
	is_empty $office, 'one that cannot be judged';

	($status, $control) = enqueue('-f', $conf{R}, @settings, '-r', 'lmtp,-,bob', 'user+t@d.test');
	is_deeply quads($control), [ 'lmtp - bob', 'smtp-lmtp node cyr+t' ], 'beside recipients given by -r';

	($status, $control, $err, $office) = enqueue('-f', "$dir/nothing.conf", 'user@d.test');
	is $status, 66, 'no dbases.conf: exit 66';
	is_empty $office, 'no dbases.conf';
};

# ---- the samples ----

subtest 'samples of router-scripts' => sub {
	my $var = "$dir/var";
	mkdir $_ or die "$_: $!" for $var, "$var/db";
	for my $file (glob "$source/router-scripts/db/*") {
		File::Copy::copy($file, "$var/db/") or die "$file: $!";
	}
	Routing::write_file("$dir/sample.conf", "MAILVAR=$var\nMAILBIN=/nowhere\nMAILSHARE=/nowhere\nDBTYPE=btree\n");
	local $ENV{ZCONFIG} = "$dir/sample.conf";
	my $root = $> == 0;

	if (!$root) {
		# only root can give maps to root
		my $conf = Spool::slurp("$var/db/dbases.conf");
		Routing::write_file("$var/db/dbases.conf", $conf =~ s/root:0:644/-/gr);
	}
	my ($status, $out, $err) = run('', $newdb, '-sf', "$var/db/dbases.conf");
	is $status, 0, 'newdb takes dbases.conf and all texts as they are' or diag $err;
	is $err, '', 'without a warning';
	for my $live (qw(aliases fqdnaliases fqdnroutes routes)) {
		($status, $out, $err) = run('', $dbupdate, "$var/db/$live", 'replace', $live eq 'routes' ? () : '-a');
		is $status, 0, "first content of live $live" or diag $err;
	}
	is_deeply [ map { s/.*\///r } sort glob "$var/db/*.zmsh" ], [ map { "$_.zmsh" } qw(aliases expired fqdnaliases
			fqdnaliasesldap fqdnroutes otherservers routesdb thishost userdb) ], 'a script for each relation';

	for my $case (
		[ 'User+Box@example.test', '(smtp-lmtp cyrus-lmtp-node cyrus-user+Box)' ],
		[ 'user--Box@virtual.example.test', '(smtp-lmtp cyrus-lmtp-node virtual-user+Box@virtual-domain)' ],
		[ 'another.user@example.test', '(smtp-lmtp cyrus-lmtp-node fg56779)' ],
		[ 'example.user+Box@example.test', '(local example.user+Box@example.test fg56778+Box)' ],
		[ 'root', '(local example.user@example.test fg56778)' ],
		[ 'abuse@example.test', '(local example.user@example.test fg56778)' ],
		# names that ZMailer itself writes to
		(map { [ $_, '(local example.user@example.test fg56778)' ] } qw(postoffice MAILER-DAEMON mailer postmast)),
		[ 'nobody.here@example.test', '(error nosuchuser nobody.here@example.test)' ],
		[ 'nobody.here@virtual.example.test', '(error nosuchuser Ask the help desk of Example for the new address.)' ],
		[ 'postmaster@mx.example.test', '(local example.user@example.test fg56778)' ],
		[ 'somebody@elsewhere.test', '(smtp elsewhere.test somebody@elsewhere.test)' ],
	) {
		($status, $out) = run('', $dblookup, '-f', "$var/db/dbases.conf", '-r', $case->[0]);
		is results($out), $case->[1], "$case->[0] in the samples";
	}

	my $office = "$dir/po-sample";
	Spool->new($office);
	($status, $out, $err) = run('', $runqueue, '-P', $office, '-f', "$source/router-scripts/scheduler.conf.fragment", '-1');
	is "$status $err", '0 ', 'runqueue takes scheduler.conf.fragment without a word';

	# the same with the live maps in the environment of the sample
	my $env = Spool::slurp("$var/db/sleepyenv.conf");
	Routing::write_file("$var/db/sleepyenv.conf", $env =~ s{/var/mail/db}{$var/db}r);
	my $conf = Spool::slurp("$var/db/dbases.conf");
	Routing::write_file("$var/db/dbases.conf",
		$conf =~ s{^(fqdnroutes\s.*-r\s.*)-lm%:$}{$1-l%: -C \$MAILVAR/db/sleepyenv.conf}mr);
	($status, $out, $err) = run('', $dblookup, '-f', "$var/db/dbases.conf", '-r', 'another.user+x@example.test');
	is results($out), '(smtp-lmtp cyrus-lmtp-node fg56779+x)', 'sleepyenv.conf' or diag $err;
};

subtest 'scripts for ZMailer are whole' => sub {
	my %pairs = (if => 'fi', case => 'esac', ssift => 'tfiss', tsift => 'tfist', do => 'done');

	for my $file (glob "$source/router-scripts/cf/*.cf") {
		my ($name) = $file =~ m{([^/]+)\z};
		# without comments and what stands in quotes
		my $text = Spool::slurp($file) =~ s/^\s*#.*//mgr =~ s/'[^']*'|"(?:\\.|[^"\\])*"/Q/gr;
		my %count;
		$count{$_}++ for $text =~ /(?<![\w\$-])(\w+)(?![\w=])/g;
		is $count{$_} // 0, $count{$pairs{$_}} // 0, "$name: as many $_ as $pairs{$_}" for sort keys %pairs;
		is $text =~ tr/{//, $text =~ tr/}//, "$name: braces";
		my %defined = map { $_ => 1 } $text =~ /^(\w+) \(/mg;
		ok $defined{$_}, "$name: $_ is there" for $name eq 'fqdnalias.cf' ? 'fqdn_neighbour' : 'routes_neighbour';
		my %called = map { $_ => 1 } $text =~ /\b(fqdn_\w+|routes_ask)\b(?!=)/g;
		is_deeply [ grep { !$defined{$_} && !/^fqdn_(parent|renamed|deep|lists|no_aliases|noalias)$/ } sort keys %called ], [],
			"$name: every function it calls is there";
	}
};

done_testing;
