#!/usr/bin/perl
# One address, one answer: dbserve by each of its maps and protocols, dblookup -r and enqueue say the same, whatever the type of the
# maps, for addresses and entries at random, odd ones among them.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Encode ();
use Extent 'long';
use File::Temp ();
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX ();
use RunQueue ();
use Spool;
use Test::More;
use Tool ();

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $directory = File::Temp->newdir('/tmp/zda-XXXXXX');
my $dir = "$directory";
delete $ENV{ZCONFIG};
$SIG{PIPE} = 'IGNORE';
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
my $pid;
END { local $?; stop() }

my $seed = $ENV{ZLMTP_SEED} // int rand 2**31;
note "ZLMTP_SEED=$seed makes the same maps and addresses again";
srand $seed;
my $per_set = long() ? 1000 : 120;
my $enqueued = long() ? 400 : 25;
my @settings = ('-o', 'hostname=mail.test', '-o', 'mydomain=home.test');

sub put($name, $text) { Spool->put("$dir/$name", $text) }
sub low($text) { $text =~ tr{A-Z}{a-z}r }
sub pick(@of) { $of[rand @of] }

# ---- maps and addresses ----

my @locals = ('ann', 'bob', 'eve', 'team', 'all', 'loop', 'root', 'postmaster', 'x.y', 'x..y', '.x', 'a b', "o'neil", 'a%b', 'a@b', 'a"b', 'a\\b', 'a,b',
	'real-ann', '|cmd', '/file', "\xc3\xa9va", "\xff", 'user%else.test', 'x!y', '+', '-', '%', '%s', '%1', ':x', 'a:b', '#a', 'ANN', 'B' x 64, 'c' x 400);
my @domains = ('d.test', 'sub.d.test', 'else.test', 'list.test', 'all.test', 'fwd.test', 'mail.test', 'alias.test', 'home.test', 'xn--bcher-kva.test', "b\xc3\xbccher.test",
	'[127.0.0.1]', '[192.0.2.1]', '[IPv6:2001:db8::1]', 'nowhere.test');
my @tails = ('', '', '', '', '+x', '+News', '--y', '+', '+a+b', '+%1', '+a b', "+\xc3\xa9");

sub local_part() { pick(@locals) . pick(@tails) }

# As it may be written.
sub written($local, $domain) {
	return pick(sub { $local }, sub { $local =~ s/([\\"])/\\$1/gr =~ s/.*/"$&"/sr })->() . '@' . $domain if $local =~ /[^A-Za-z0-9.+=_%!'#|\/:-]/ && rand > 0.3;
	return "$local\@$domain";
}

sub address() {
	my ($local, $domain) = (local_part(), pick(@domains));
	my $address = written($local, $domain);
	# dblookup reads lines
	return pick((sub { $address }) x 16, (sub { $address =~ tr{a-z}{A-Z}r }) x 2, sub { $address =~ s{^([a-z])}{uc $1}er }, sub { "$address." }, sub { "<$address>" }, sub { "\@relay.test:$address" },
		sub { "\@a.test,\@b.test:$address" }, sub { "$domain!$local" }, sub { "$local%$domain" }, sub { $local }, sub { "\\$address" }, sub { " $address" },
		sub { "$address " }, sub { "Ann <$address>" }, sub { "$address,$address" }, sub { "$local\@$domain\@d.test" }, sub { "$local\@" }, sub { "\@$domain" },
		sub { $domain }, sub { "$local\@bad..test" }, sub { "$local\@-x.test" }, sub { "$local\@" . 'l' x 70 . '.test' }, sub { "\"$local\@$domain" }, sub { '' },
		sub { "a\x01b\@d.test" }, sub { "a\tb\@d.test" }, sub { "$address\x7f" }, sub { "$local\@\xff.test" }, sub { 'x' x 17000 . '@d.test' }, sub { "$local\@d.test\xc2\xa0" })->();
}

sub plain_key() { my $local = pick(qw(ann bob eve team all loop x.y x..y o'neil a%b %s ann+x bob--y B), "\xc3\xa9va", 'c' x 400); return "$local\@" . pick(@domains[0 .. 10]) }

sub route() {
	return pick(('lmtp!store1!%1%2') x 4, 'lmtp!store2!%1', 'lmtp!store1', 'lmtp!store2!box', 'lmtp!%4!%1%2', 'lmtp!store1!%5', 'lmtp!store1!%0', 'lmtp!', 'smtp!', 'smtp!relay.test',
		'local!-!%1', 'error!nosuchuser', 'error!acctexpired', 'error!nosuchuser!gone', 'ignore!', 'ERROR', 'bitbucket!', 'hold!x!y', 'delay!600', 'lotusgw!gate!host', 'smtpgw-x!',
		'nonsense', '!', '!!', 'lmtp!!', 'lmtp!-x!y', 'lmtp!store1!%9', 'lmtp!store1!a!b', "lmtp!store1!\xc3\xa9", 'dns!', 'lmtp!store1!%1@%4', 'lmtp!store1!x@%2');
}

sub member() {
	return pick((sub { plain_key() }) x 8, sub { 'ann%2@d.test' }, sub { '%1@else.test' }, sub { '"|cmd"' }, sub { '/file' },
		sub { 'a@b@c' }, sub { 'nobody@d.test' })->();
}

# Values of a text that is read in place are one word.
sub list($blank) { join ",$blank", map { member() } 1 .. pick(1, 1, 2, 3) }

sub sets() {
	my %c = map { ($_ => 1) } do { local (@ARGV, $/) = "$build/config.h"; <> =~ /HAVE_(\w+) 1/g };
	my @types = ('btree', 'bhash', 'unordered', $c{LMDB} ? 'lmdb' : (), -e "$build/db/zlmtp-sqlite.so" && system('sqlite3 -version >/dev/null 2>&1') == 0 ? 'sqlite' : ());
	return map { ({ type => $_, odd => 0 }, { type => $_, odd => 1 }) } @types;
}

# Writes and builds the maps of a set; where it is odd some of them are damaged or away.
sub build($set, $name) {
	my ($type, $conf, %entries) = ($set->{type}, '');
	my $blank = $type eq 'unordered' ? '' : ' ';
	mkdir "$dir/$name" or die;
	$entries{fqdnaliases}{plain_key()} = list($blank) for 1 .. 12;
	$entries{fqdnaliases}{'@' . pick(@domains[0 .. 8])} = list($blank) for 1 .. 2;
	@{$entries{fqdnaliases}}{"team\@d.test", "all\@d.test", "loop\@d.test", '@list.test', '@fwd.test'} = ("ann\@d.test,${blank}bob\@d.test", "team\@d.test,${blank}eve\@else.test", 'loop@d.test',
		'ann%2@d.test', 'ann@else.test');
	$entries{fqdnroutes}{plain_key()} = route() for 1 .. 25;
	$entries{fqdnroutes}{'@' . pick(@domains[0 .. 8])} = route() for 1 .. 2;
	@{$entries{fqdnroutes}}{"ann\@d.test", "bob\@d.test", '@all.test'} = ('lmtp!store1!ann%2@d.test', 'lmtp!store2!bob%2', 'lmtp!store2!all');
	%{$entries{routesdb}} = ('d.test', 'error!nosuchuser', 'list.test', 'error!nosuchuser', '.sub.d.test', route(), 'xn--bcher-kva.test', route(), pick(@domains[0 .. 8]), route());
	$entries{routesdb}{'.'} = pick('smtp!smart.test', 'error!unresolvable') if rand > 0.7;
	%{$entries{thishost}} = ('alias.test', 'd.test', 'home.test', 'home.test');
	%{$entries{aliases}} = (postmaster => 'root', 'bob' => list($blank), 'eve+' => 'ann@d.test', loop => 'loop2', loop2 => 'loop', 'x.y' => '"|cmd"');
	for my $relation (sort keys %entries) {
		my $of = $entries{$relation};
		my $base = "$dir/$name/$relation";
		my $lookup = $relation =~ /^(?:routesdb|thishost)$/ ? '-lm%:d pathalias' : $relation eq 'fqdnroutes' ? '-lm%:' : '-lm%';
		my @keys = $type eq 'unordered' ? grep({ !/[ "\\]/ } sort keys %$of) : sort keys %$of;
		if ($type eq 'sqlite') {
			my $sql = "CREATE TABLE t (k BLOB, v BLOB);\n" . join '', map { my ($k, $v) = map { unpack q(H*), $_ } low($_), $of->{$_}; "INSERT INTO t VALUES (CAST(X'$k' AS TEXT), CAST(X'$v' AS TEXT));\n" } @keys;
			open my $out, '|-', 'sqlite3', "$base.sqlite" or die;
			print $out $sql;
			close $out or die 'sqlite3';
			put("$name/$relation.cf", "dbpath = $base.sqlite\nquery = SELECT v FROM t WHERE k = '%s'\n");
			$conf .= "$relation sqlite - - $base.cf $lookup\n";
			next;
		}
		put("$name/$relation", join '', map { low($_) . " $of->{$_}\n" } @keys) if $type eq 'unordered';
		put("$name/$relation", join '', map { my $k = low($_); ($k =~ /[\s":]/ ? $k =~ s/([\\"])/\\$1/gr =~ s/.*/"$&"/sr : $k) . " $of->{$_}\n" } @keys) if $type ne 'unordered';
		$conf .= "$relation $type - " . ($type eq 'unordered' ? '-' : '-l') . " $base $lookup\n";
	}
	put("$name/dbases.conf", $conf);
	system("$build/db/newdb -nks -f $dir/$name/dbases.conf >$dir/said 2>&1") == 0 or die "newdb: ", Spool::slurp("$dir/said");
	if ($set->{odd}) {
		my $relation = pick(qw(fqdnaliases fqdnroutes routesdb thishost aliases));
		my ($file) = grep { -e } map { "$dir/$name/$relation$_" } qw(.db .dbh .lmdb .sqlite), '';
		pick(sub { unlink $file or die }, sub { truncate $file, (-s $file) / 2 or die }, sub { put("$name/" . $file =~ s{.*/}{}r, 'rubbish') }, sub { chmod 0, $file })->();
		note "$name: $file is damaged";
	}
	return "$dir/$name/dbases.conf";
}

# ---- asking ----

# Exit status, standard output and standard error.
sub run($input, @command) {
	my $got = Tool::run(\@command, in => $input);
	return @$got{qw(status out err)};
}

my $json = JSON::PP->new;
# What dblookup -r says of each: { answer, results => [[channel, host, user] ...] }.
sub routes($conf, @addresses) {
	my ($status, $out, $err) = run(join('', map { "$_\n" } @addresses), "$build/db/dblookup", '-f', $conf, @settings, '-j', '-r', '-');
	my @lines = split /\n/, $out;
	is scalar(@lines), scalar(@addresses), 'dblookup -r has an answer for each' or diag $err;
	return map { my $r = $json->decode(Encode::decode("UTF-8", $_)); { answer => $r->{answer}, results => [map { [map { Encode::encode("UTF-8", $_) } @$_{qw(channel host user)}] } $r->{results}->@*] } } @lines;
}

sub stop() {
	return unless $pid;
	kill 'TERM', $pid;
	waitpid $pid, 0;
	undef $pid;
	return $?;
}

my %socket;
sub start($conf) {
	stop();
	%socket = ();
	$pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDERR, '>', "$dir/dbserve.err";
		{ exec "$build/db/dbserve", '-f', $conf, @settings, '-T', "$dir/table", map { ('-L', "$_:UNIX:$dir/$_.socket") } qw(socketmap policy tcp) }
		POSIX::_exit(127);
	}
	for my $protocol (qw(tcp policy socketmap)) {
		RunQueue::wait_for(sub { $socket{$protocol} = IO::Socket::UNIX->new(Peer => "$dir/$protocol.socket") }, 30) or die "dbserve does not listen: ", Spool::slurp("$dir/dbserve.err");
	}
}

sub socketmap($map, $key) {
	my ($socket, $bytes) = ($socket{socketmap}, '');
	my $question = "$map $key";
	syswrite $socket, length($question) . ":$question,";
	while ($bytes !~ /^(\d+):/ || length $bytes < length($1) + 2 + $1) {
		sysread $socket, $bytes, 65536, length $bytes or die "dbserve closed: ", Spool::slurp("$dir/dbserve.err");
	}
	# of delay!SECONDS
	return $bytes =~ s/^\d+://r =~ s/,$//r =~ s/timeout:\d+/timeout/gr;
}

sub tcp($key) {
	syswrite $socket{tcp}, 'get ' . ($key =~ s/([^A-Za-z0-9@.])/sprintf '%%%02x', ord $1/ger) . "\n";
	return readline($socket{tcp}) // die "dbserve closed: ", Spool::slurp("$dir/dbserve.err");
}

sub policy($recipient) {
	local $/ = "\n\n";
	syswrite $socket{policy}, "request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=$recipient\n\n";
	return (readline($socket{policy}) // die "dbserve closed: ", Spool::slurp("$dir/dbserve.err")) =~ s/\n+$//r;
}

# ---- what they ought to say ----

sub has_controls($key) { $key =~ /[\x00-\x1f\x7f]/ }
sub of_kind($route, $answer) { grep { ($_->[0] eq 'error' ? 'not found' : $_->[0] eq 'hold' ? 'could not tell' : 'found') eq $answer } $route->{results}->@* }
# The host of channel local is the list that it comes from.
sub place($to) { $to->[0] eq 'local' ? "local $to->[2]" : "@$to" }
sub word($route) { of_kind($route, 'could not tell') ? 'TEMP' : of_kind($route, 'found') ? 'OK' : 'NOTFOUND' }

my %transport = ('lmtp/store1' => 'lmtp:unix:/run/one', 'lmtp/store2' => 'lmtp:[127.0.0.1]:24');
put('table', join '', map { "$_ $transport{$_}\n" } sort keys %transport);

# Members of a list, between commas outside of quotes, in which there may be "\"".
sub members($list) {
	my @members = $list =~ s/^OK //r =~ /((?:"(?:[^"\\]|\\.)*"|[^,])+)/gs;
	return $list =~ /^OK / ? @members : ();
}
sub short($answer) { $answer =~ s/^(NOTFOUND|TEMP).*/$1/sr }
sub places(@routes) { my %of = map { (place($_) => 1) } map { $_->{results}->@* } @routes; return join ' ', sort keys %of }
my $nobody = 'zlmtp-asks-for-the-domain';
sub domain_of($address) { $address =~ /@([^@]*)$/ && !has_controls($1) && $1 !~ /[>) ]/ ? $1 : undef }

# What dbserve ought to say of an address, by protocol and map, from where dblookup routes it and others.
sub ought($address, $route, $others) {
	my $word = $address eq '' || has_controls($address) ? 'NOTFOUND' : word($route);
	my ($first) = of_kind($route, 'found');
	my %ought = (recipient => $word eq 'OK' ? 'OK OK' : $word);
	$ought{tcp} = { OK => 200, NOTFOUND => 500, TEMP => 400 }->{$word} if length $address < 1000;
	my $domain = grep({ $_->[1] eq 'badaddress' } $route->{results}->@*) ? undef : domain_of($address);
	return \%ought if !defined $domain;
	$ought{transport} = $word ne 'OK' ? $word : exists $transport{"$first->[0]/$first->[1]"} ? 'OK ' . $transport{"$first->[0]/$first->[1]"} : 'NOTFOUND';
	my $of_nobody = $others->{"$nobody\@$domain"};
	my $is_ours = of_kind($of_nobody, 'could not tell') ? 'TEMP' : members(socketmap('alias', "$nobody\@$domain")) ||
		grep({ $_->[0] ne 'smtp' && $_->[1] !~ /^(?:unresolvable|badaddress)$/ } $of_nobody->{results}->@*) ? 'OK' : 'NOTFOUND';
	$ought{domain} = $is_ours eq 'OK' ? 'OK OK' : $is_ours;
	$ought{policy} = $is_ours eq 'NOTFOUND' ? 'DUNNO' : $is_ours eq 'TEMP' || $word eq 'TEMP' ? 'DEFER_IF_PERMIT' : $word eq 'OK' ? 'DUNNO' : 'REJECT' if length $address < 1000;
	return \%ought;
}

for my $set (sets()) {
	my $name = $set->{type} . ($set->{odd} ? '-odd' : '');
	subtest $name => sub {
		my $conf = build($set, $name);
		start($conf);
		my @addresses = map { address() } 1 .. $per_set;
		my @routes = routes($conf, @addresses);
		# whom else dblookup is asked for: members of lists, and the user of a domain whom nobody has
		my %alias = map { ($_ => socketmap('alias', $_)) } @addresses;
		my @others = (map({ members($_) } values %alias), map { "$nobody\@$_" } grep { defined } map { domain_of($_) } @addresses);
		my %other;
		@other{@others} = routes($conf, @others);
		my (@wrong, %seen);
		my $compare = sub ($what, $address, $said, $ought) {
			push @wrong, map { s/([^ -~])/sprintf '\\x%02x', ord $1/ger =~ s/(.)\1{50,}/$1.../gr } "$what $address: $said, not $ought" if $said ne $ought;
		};
		for my $i (0 .. $#addresses) {
			my ($address, $route) = ($addresses[$i], $routes[$i]);
			# commands and files are no mailboxes if they come with an address; unit tests have those
			next if grep { $_->[0] eq 'local' && $_->[2] =~ /^"?[|\/]/ } $route->{results}->@*;
			my $ought = ought($address, $route, \%other);
			$seen{word($route)}++;
			# the second time it may be remembered
			for (1, 2) {
				for my $map (grep { exists $ought->{$_} } qw(recipient transport)) {
					$compare->($map, $address, short(socketmap($map, $address)), $ought->{$map});
				}
				$compare->('domain of', $address, short(socketmap('domain', domain_of($address))), $ought->{domain}) if exists $ought->{domain};
				$compare->('tcp', $address, substr(tcp($address), 0, 3), $ought->{tcp}) if exists $ought->{tcp};
				$compare->('policy', $address, policy($address) =~ s/^action=(\w+).*/$1/sr, $ought->{policy}) if exists $ought->{policy};
			}
			# local names without a domain are given one by dbserve, and % in them is syntax then
			my @members = members($alias{$address});
			next if !@members || grep(/%/, $address, @members) || word($route) eq 'TEMP' || grep { $_->[0] eq 'local' || $_->[0] eq 'error' && !domain_of($address) } $route->{results}->@*;
			$compare->('alias', $address, places(map { $other{$_} } @members), places($route));
		}
		for my $i (map { $_ * @addresses / $enqueued } 0 .. $enqueued - 1) {
			my ($address, $route) = ($addresses[$i], $routes[$i]);
			# what no control file can hold is refused (65), and what looks like the file of a message
			next if $address =~ m{^$|^/|[\x7f\xa0\xff]} || grep { $_->[1] =~ m{^-.|/} || $_->[0] eq 'local' && $_->[2] =~ /^"?[|\/]/ } $route->{results}->@*;
			my ($status, $id, $err) = run("Subject: x\n\nx\n", "$build/channel/enqueue", '-f', $conf, @settings, '-mP', "$dir/post", '-s', "s\@example.org", '--', $address);
			$compare->('enqueue', $address, $status, $route->{answer} eq 'found' ? 0 : $route->{answer} eq 'not found' ? 67 : 75);
			my ($file) = glob "$dir/post/transport/*";
			my @queued = defined $file ? map { "$_->{channel} $_->{user}" } Spool->new("$dir/post")->read($file =~ s{.*/}{}r)->{recipients}->@* : ();
			$compare->('queue', $address, join(', ', sort @queued), $status == 0 ? join ', ', sort map { "$_->[0] $_->[2]" } grep { $_->[0] ne 'bitbucket' } $route->{results}->@* : '');
			unlink glob "$dir/post/{transport,queue}/*";
		}
		is join("\n", @wrong), '', 'all say the same';
		note join ', ', map { "$_ $seen{$_}" } sort keys %seen;
	};
}
done_testing;
