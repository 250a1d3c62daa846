#!/usr/bin/perl
# Servers that say what no real one would, or what a real one says on its worst day: nothing is lost, nothing is invented, and the next
# server is asked.
use v5.36;
use lib "$ENV{SRC_DIR}/tests/lib";
use Test::More;
use File::Temp ();
use Time::HiRes ();
use LdapSync;
use OddDirectory;

plan skip_all => 'built without LDAP' unless -x "$ENV{BUILD_DIR}/db/ldapsync";
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

my $slow = $ENV{ZLMTP_SANITIZED} ? 4 : 1;
# sanitizers take room for themselves
my $little_memory = $ENV{ZLMTP_SANITIZED} ? '' : 'ulimit -v 600000;';
my $base = 'o=x';
my $rule = "rule accounts\nbase $base\nfilter (objectClass=*)\nkey {mail}\nvalue smtp-lmtp!node!{mailbox}%2\n";
my $cookie = 'rid=000,csn=20260101000000.000009Z#000000#000#000000';

# The servers here answer, if not as they should: nothing is to be waited for, however slow the machine is.
sub ldapsync($uris, %o) {
	return LdapSync->new(undef, access => "uri $uris\n" . ($o{times} // "timeout 30\nnetwork_timeout 30\n"), rules => $o{rules} // $rule,
		settings => $o{settings} // '');
}

# The same for a server that says nothing, which has to be noticed: beside it there is time for another one.
sub hasty($uris) { ldapsync($uris, times => "timeout 4\nnetwork_timeout 10\n", settings => "silence 1\n") }

# What a server with these accounts says to any search.
sub healthy(@numbers) {
	return sub ($search) {
		my @entries = map { OddDirectory::account($search, $_) } @numbers;
		return (@entries, $search->{sync} ? OddDirectory::sync_done($search, $cookie) : OddDirectory::done($search, 0));
	};
}

sub records(@numbers) { return { map { ("user$_\@x.example" => "smtp-lmtp!node!box$_%2") } @numbers } }

sub seconds($code) {
	my $start = Time::HiRes::time();
	$code->();
	return Time::HiRes::time() - $start;
}

my $good = OddDirectory->new(healthy(1, 2));

subtest 'the scripted server is one that ldapsync can copy' => sub {
	my $sync = ldapsync($good->uri);
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	is_deeply $sync->map, records(1, 2);
	cmp_ok $good->asked, '==', 3, 'it asks how far that is, lists all, and refreshes';
};

subtest 'a first server that takes the bind and fails the search makes way for the second' => sub {
	my %bad = map { my $code = $_; ("result $code" => sub ($search) { OddDirectory::done($search, $code) }) } 52, 51, 32, 50, 80, 53, 11, 3, 1;
	$bad{'a closed connection'} = sub ($search) { undef };
	$bad{rubbish} = sub ($search) { "\x30\x03\xff\xff\xff" };
	my $mute = OddDirectory->new(sub ($search) { () });
	my @all = map { my $odd = OddDirectory->new($bad{$_}); [$_, $odd, ldapsync($odd->uri . ' ' . $good->uri), ldapsync($odd->uri . ' ' . $good->uri)] } sort keys %bad;
	for (@all, ['silence', $mute, map { hasty($mute->uri . ' ' . $good->uri) } 1 .. 2]) {
		my ($name, $odd, $sync, $stays) = @$_;
		$stays->start;
		my ($exit, $said) = $sync->once;
		is $exit, 0, "$name, -1" or diag $said;
		is_deeply $sync->map, records(1, 2), '... has all';
		is $stays->difference_after(20 * $slow, records(1, 2)), '', "$name, -w" or diag $stays->said;
		is $stays->stop, 0;
	}
};

subtest 'each attempt begins behind the server that was tried last' => sub {
	my @odd = map { OddDirectory->new(sub ($search) { OddDirectory::done($search, 52) }) } 1 .. 3;
	my $sync = ldapsync(join ' ', map { $_->uri } @odd)->start;
	ok $sync->hears(qr/(?:^ldapsync: ldap:[^\n]*\n){7}/m, 40 * $slow), 'all of them refuse the search' or diag $sync->said;
	my @asked = $sync->said =~ m{^ldapsync: (ldap://[^:]+:\d+): }mg;
	is_deeply [@asked[0 .. 6]], [map { $_->uri } @odd, @odd, $odd[0]], 'each has its turn';
	is $sync->stop, 0;
};

subtest 'two silent servers leave the third its share of the time' => sub {
	my @deaf = map { IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) } 1 .. 2;
	my $uris = join ' ', (map { 'ldap://127.0.0.1:' . $_->sockport } @deaf), $good->uri;
	# a share that is long enough for a server on a busy machine
	my $sync = ldapsync($uris, times => "timeout 6\nnetwork_timeout 6\n");
	my ($exit, $said) = $sync->once;
	is $exit, 0, 'two that do not answer the bind' or diag $said;
	is_deeply $sync->map, records(1, 2);
	my $one = OddDirectory->new(healthy(1));
	my $hosts = $uris =~ s/\S+$/$one->uri/er;
	$sync->_put('map.cf', "server_host = $hosts\nsearch_base = $base\nquery_filter = (mail=%s)\nresult_attribute = mailbox\ntimeout = 6\n"
		. "network_timeout = 6\n");
	my $found = qx{$ENV{BUILD_DIR}/db/dblookup -t ldap @{[$sync->dir]}/map.cf user1\@x.example 2>&1};
	is $? >> 8, 0, 'a lookup reaches the third, too' or diag $found;
};

subtest 'a server that lives and does not answer the search is given up' => sub {
	my $odd = OddDirectory->new(sub ($search) { () });
	my $sync = hasty($odd->uri);
	my ($exit, $said);
	cmp_ok seconds(sub { ($exit, $said) = $sync->once }), '<', 60, 'in time';
	is $exit, 75;
	like $said, qr/answers, but has not continued a search|has sent nothing for/;
};

subtest 'e-syncRefreshRequired with a cookie: what came and the cookie, or neither' => sub {
	my $odd = OddDirectory->new(sub ($search) {
		return healthy(1, 2)->($search) if !$search->{sync};
		return OddDirectory::sync_done($search, $cookie, deletes => 1) if $search->{cookie};
		return (OddDirectory::account($search, 1), OddDirectory::account($search, 2), OddDirectory::sync_done($search, $cookie, code => 4096));
	});
	my $sync = ldapsync($odd->uri);
	my ($exit, $said) = $sync->once;
	is $exit, 0 or diag $said;
	is_deeply $sync->map, records(1, 2), 'nothing is lost';
	my $always = OddDirectory->new(sub ($search) { $search->{sync} ? OddDirectory::sync_done($search, $cookie, code => 4096) : healthy(1)->($search) });
	($exit, $said) = ldapsync($always->uri)->once;
	is $exit, 75, 'one that always says so';
	like $said, qr/e-syncRefreshRequired/, 'is told';
	for my $case (['with a control that says nothing', sub ($search) { OddDirectory::sync_done($search, undef, code => 4096) }],
		['with a control without a value', sub ($search) { OddDirectory::sync_done($search, undef, code => 4096, value => '') }],
		['without a control', sub ($search) { OddDirectory::done($search, 4096) }]) {
		my ($name, $end) = @$case;
		# the first time, and when a map is there
		my $empty = OddDirectory->new(sub ($search) { $search->{sync} ? $end->($search) : healthy(1, 2)->($search) });
		my $first = ldapsync($empty->uri);
		($exit, $said) = $first->once;
		is $exit, 75, $name or diag $said;
		like $said, qr/wants a refresh|e-syncRefreshRequired|damaged Sync Done/, '... is told';
		ok !-e "$first->{map}.db", '... and no map is made';
		my $later = ldapsync($good->uri);
		is +($later->once)[0], 0;
		$later->{access} = "uri @{[$empty->uri]}\n";
		$later->configure;
		is +($later->once)[0], 75, '... also later';
		is_deeply $later->map, records(1, 2), '... and the map is as it was';
	}
	my $stays = ldapsync($always->uri . ' ' . $good->uri)->start;
	is $stays->difference_after(20 * $slow, records(1, 2)), '', '-w goes on to the next server' or diag $stays->said;
	is $stays->stop, 0;
	my $alone = ldapsync($always->uri)->start;
	ok $alone->hears(qr/e-syncRefreshRequired/), 'which -w says where there is no other';
	is $alone->stop, 0;
};

subtest 'a persist search that ends after its refresh is written, and that is said' => sub {
	my $odd = OddDirectory->new(healthy(1, 2));
	my $sync = ldapsync($odd->uri)->start;
	is $sync->difference_after(10 * $slow, records(1, 2)), '' or diag $sync->said;
	ok $sync->hears(qr/does not report changes.*asked every 60 s/), 'it is said';
	is $sync->stop, 0;
};

subtest 'a Sync Done Control that is cut short empties no map' => sub {
	my $sync = ldapsync($good->uri);
	is +($sync->once)[0], 0;
	for my $value ("\x30\x02\x04\x05", "\x30\x02\x01\x01", "\x30\x05\x04\x05a", "\x30\x00\x04\x01a") {
		my $odd = OddDirectory->new(sub ($search) { $search->{sync} ? OddDirectory::sync_done($search, undef, value => $value) : healthy(1, 2)->($search) });
		$sync->{access} = "uri @{[$odd->uri]}\n";
		$sync->configure;
		my ($exit, $said) = $sync->once;
		is $exit, 75, 'bytes ' . unpack 'H*', $value;
		like $said, qr/a damaged Sync Done Control/;
		is_deeply $sync->map, records(1, 2), 'the map is as it was';
	}
};

subtest 'SIGTERM is heeded while everything is listed, however long that takes' => sub {
	my $endless = OddDirectory->new(sub ($search) {
		return sub ($socket) {
			my $entries = join '', map { OddDirectory::account($search, $_ % 100) } 1 .. 100;
			1 while syswrite $socket, $entries;
		};
	});
	my $sync = ldapsync($endless->uri)->start;
	my $deadline = Time::HiRes::time() + 10 * $slow;
	Time::HiRes::sleep(0.01) until $endless->asked > 0 || Time::HiRes::time() > $deadline;
	my $exit;
	cmp_ok seconds(sub { $exit = $sync->stop }), '<', 10, 'at once';
	is $exit, 0;
	# so many that the servers are mostly ahead of them, and there is always more to read
	my @copies = map { ldapsync($endless->uri)->start } 1 .. 6;
	ok $_->hears(qr/messages of the directory so far/, 10 * $slow), 'with -v it says how far it has come' for @copies;
	kill 'TERM', $_->{pid} for @copies;
	is $_->ended(10 * $slow), 0, 'each ends' for @copies;
	my $shown = ldapsync($endless->uri);
	my $pid = open my $terminal, '-|', "exec script -qefc 'exec @{[$shown->program]} -f @{[$shown->config]} -1' /dev/null 2>/dev/null" or die;
	my $text = '';
	sysread $terminal, $text, 1000, length $text or last until $text =~ /\r\Q@{[$endless->uri]}\E: [1-9]\d*/;
	ok $text =~ /\r/, 'on a terminal as well';
	kill 'TERM', $pid;
	close $terminal;
};

subtest 'no message of a server takes all memory' => sub {
	my $odd = OddDirectory->new(sub ($search) {
		return (pack('CCN', 0x30, 0x84, 900_000_000), sub ($socket) { 1 while syswrite $socket, "\0" x 1_000_000 });
	});
	my $sync = ldapsync($odd->uri);
	my ($exit, $said) = (undef, qx{bash -c '$little_memory exec $ENV{BUILD_DIR}/db/ldapsync -f @{[$sync->config]} -1' 2>&1});
	is $? >> 8, 75, 'it is refused';
	unlike $said, qr/out of memory/ or diag $said;
};

subtest 'one entry takes no more than its share' => sub {
	my @many = map { "a$_" . 'x' x 20 . '@x.example' } 1 .. 5000;
	my @drops = map { "b$_" . 'x' x 20 . '@y.example' } 1 .. 5000;
	my $rules = "rule aliases\nbase $base\nfilter (objectClass=*)\nkey {mail}\nvalue {maildrop}\nvalues many\n";
	my $odd = OddDirectory->new(sub ($search) {
		my @entries = (OddDirectory::entry($search, 1, 1, mail => ['list@x.example'], maildrop => ['a@y.example']),
			OddDirectory::entry($search, 2, 1, mail => \@many, maildrop => \@drops));
		return (@entries, $search->{sync} ? OddDirectory::sync_done($search, $cookie) : OddDirectory::done($search, 0));
	});
	my $sync = ldapsync($odd->uri, rules => $rules);
	my $said;
	cmp_ok seconds(sub { $said = qx{bash -c '$little_memory exec $ENV{BUILD_DIR}/db/ldapsync -f @{[$sync->config]} -1' 2>&1} }), '<', 20 * $slow;
	is $? >> 8, 65, 'it is an entry that cannot be used';
	like $said, qr/rule aliases: "cn=e2,o=x": its 5000 keys and their values are more than 4 MB/, 'and is named';
	is $sync->find('list@x.example'), 'a@y.example', 'all others are copied';
	ok $sync->cannot_tell($many[0]), 'lookups of its keys cannot tell';
	like $said, qr/^5001 records: 5001 added, 0 changed, 0 removed, 5000 unclear$/m, 'its keys are unclear, and are counted';
	# what it had stays, or gets the value for that
	$sync->{settings} = "unclear error!hold!{key}\n";
	$sync->configure;
	($said) = qx{$ENV{BUILD_DIR}/db/ldapsync -f @{[$sync->config]} -1 2>&1};
	is $sync->find($many[0]), "error!hold!$many[0]", 'as such keys are';
};

subtest 'an entry beyond the limit of a message cannot be used; the others are copied' => sub {
	my @many = map { "a$_" . 'x' x 1000 . '@x.example' } 1 .. 17000;
	my $big = 1;
	my $odd = OddDirectory->new(sub ($search) {
		return (OddDirectory::account($search, 1), OddDirectory::account($search, 2, mail => \@many), OddDirectory::account($search, 3),
			$search->{sync} ? OddDirectory::sync_done($search, $cookie) : OddDirectory::done($search, 0));
	});
	my $sync = ldapsync($odd->uri);
	for my $run (1 .. 2) {
		my ($exit, $said) = $sync->once;
		is $exit, 65, "run $run";
		like $said, qr/^ldapsync: rule accounts: "cn=e2,[^"]*": it is of more than 16 MB$/m, '... it is named';
		is join(' ', sort keys $sync->map->%*), 'user1@x.example user3@x.example', '... and the others are there';
	}
};

subtest 'a server that refuses each comparison, as by a limit, is asked less and less often, and is not said to answer again' => sub {
	my $limit = File::Temp->new;
	my $odd = OddDirectory->new(sub ($search) {
		my @all = defined $search->{cookie} || $search->{scope} == 0 ? () : OddDirectory::account($search, 1);
		return (@all, OddDirectory::done($search, -s "$limit" ? 4 : 0)) if !$search->{sync};
		return -s "$limit" && $search->{scope} != 0 ? OddDirectory::refresh_over($search, $cookie) : (@all, OddDirectory::sync_done($search, $cookie));
	});
	my $sync = ldapsync($odd->uri);
	is +($sync->once)[0], 0, 'before that';
	syswrite $limit, 'x';
	$sync->start;
	my $start = Time::HiRes::time();
	ok $sync->hears(qr/(Size limit exceeded \(4\).*){5}/s, 60 * $slow), 'five times' or diag $sync->said;
	# 0.25 s, then twice as long each time
	cmp_ok Time::HiRes::time() - $start, '>', 3, '... in more than three seconds';
	unlike $sync->said, qr/answers again/, '... without a word that it is over';
	is $sync->stop, 0;
};

subtest 'a server that goes away whenever all is compared is asked less and less often' => sub {
	my $map = File::Temp->newdir;
	my $odd = OddDirectory->new(sub ($search) {
		my @all = $search->{scope} == 0 ? () : OddDirectory::account($search, 1);
		return (@all, OddDirectory::done($search, 0), -e "$map/made" && $search->{scope} != 0 ? undef : ()) if !$search->{sync};
		return -e "$map/made" && $search->{scope} != 0 ? OddDirectory::refresh_over($search, $cookie) : (@all, OddDirectory::sync_done($search, $cookie));
	});
	my $sync = ldapsync($odd->uri);
	is +($sync->once)[0], 0, 'before that';
	mkdir "$map/made" or die;
	$sync->start;
	my $start = Time::HiRes::time();
	ok $sync->hears(qr/(contact LDAP server.*){5}/s, 60 * $slow), 'five times' or diag $sync->said;
	cmp_ok Time::HiRes::time() - $start, '>', 3, '... in more than three seconds';
	is $sync->stop, 0;
	rmdir "$map/made" or die;
	my $two = ldapsync($odd->uri . ' ' . $good->uri);
	is +($two->once)[0], 0, 'with another one behind it';
	mkdir "$map/made" or die;
	$two->start;
	is $two->difference_after(20 * $slow, records(1, 2)), '', 'it makes way for another one' or diag $two->said;
	is $two->stop, 0;
};

subtest 'another message beyond the limit is told as such' => sub {
	my $odd = OddDirectory->new(sub ($search) { return OddDirectory::tlv(0x30, "\x02\x01\x01" . 'x' x (17 << 20)) });
	my ($exit, $said) = ldapsync($odd->uri)->once;
	is $exit, 75;
	like $said, qr/\Q@{[$odd->uri]}\E: has sent a message of more than 16 MB that is no entry/;
};

# slapd without contextCSN is a replica that its provider is filling: there is a part of the entries, and nothing tells that it is one.
subtest 'a replica that is being filled takes nobody out of the map, not even where it is the only server' => sub {
	my $filled = OddDirectory->new(healthy(1 .. 5));
	my $part = OddDirectory->new(sub ($search) {
		return (map({ OddDirectory::account($search, $_) } 1 .. 3), $search->{sync} ? OddDirectory::sync_done($search, undef, deletes => !$search->{scope}) : OddDirectory::done($search, 0));
	});
	my $sync = ldapsync($filled->uri);
	is +($sync->once)[0], 0;
	for my $rules ($rule, $rule =~ s/%2/%3/r) {
		my $now = ldapsync($part->uri, rules => $rules);
		rename $sync->{map} . '.db', $now->{map} . '.db';
		my ($exit, $said) = $now->once;
		is $exit, 75;
		like $said, qr/has no contextCSN, so it may lag behind the map or be incomplete/;
		is_deeply $now->map, records(1 .. 5), 'the map stays as it was';
		rename $now->{map} . '.db', $sync->{map} . '.db';
	}
	is +($sync->once)[0], 0, 'when it is filled it is followed';
	my $first = ldapsync($part->uri)->start;
	ok $first->hears(qr/may lag behind the map or be incomplete/, 20 * $slow), 'a first copy';
	is $first->stop, 0;
	ok !-e $first->{map} . '.db', '... is not made of a part';
};

# What is read by a comparison may be of an earlier moment than what the same server has told meanwhile.
subtest 'an answer to a comparison that is older than what was told of the same entries' => sub {
	my ($follows, $lists) = (undef, 0);
	my $csn = sub ($second, $n) { "2026010100000$second.000000Z#00000$n#000#000000" };
	my $account = sub ($search, $n, $state, $second) {
		return OddDirectory::entry($search, $n, $state, mail => ["user$n\@x.example"], mailbox => ["box$n-$second"], entryCSN => [$csn->($second, $n)]);
	};
	my $told = 'told@x.example';
	my $odd = OddDirectory->new(sub ($search) {
		return OddDirectory::sync_done($search, 'rid=000,csn=' . $csn->(1, 0)) if $search->{sync} && $search->{scope} == 0;
		if ($search->{sync}) {
			$follows = $search;
			return (map({ $account->($search, $_, 1, 1) } 1 .. 4), OddDirectory::refresh_over($search, 'rid=000,csn=' . $csn->(1, 0)));
		}
		$lists++;
		return (map({ $account->($search, $_, 1, 1) } 1 .. 4), OddDirectory::done($search, 0)) if $lists == 1;
		# 1 and 2 were changed, 3 and 4 are not there
		return (map({ $account->($search, $_, 1, 2) } 1 .. 2), OddDirectory::done($search, 0)) if $lists == 2;
		# before they are read again 1 is changed, 2 is gone, 3 comes back; the answer is what was there before that
		return ($account->($follows, 1, 2, 3), $account->($follows, 2, 3, 3), $account->($follows, 3, 1, 3),
			map({ $account->($search, $_, 1, 2) } 1 .. 2), OddDirectory::done($search, 0)) if $lists == 3;
		return ($lists == 4 ? (OddDirectory::entry($follows, 9, 1, mail => [$told], mailbox => ['box']), OddDirectory::done($search, 32)) : ());
	});
	my $sync = ldapsync($odd->uri, settings => "compare 1s\n")->start;
	my $deadline = Time::HiRes::time() + 20 * $slow;
	Time::HiRes::sleep(0.05) until defined $sync->find($told) || Time::HiRes::time() > $deadline;
	is_deeply $sync->map, { 'user1@x.example' => 'smtp-lmtp!node!box1-3%2', 'user3@x.example' => 'smtp-lmtp!node!box3-3%2', $told => 'smtp-lmtp!node!box%2' },
		'what was told counts; what was neither told nor found is gone';
	is $sync->stop, 0;
};

# ---- maps ----

sub lookup($uris, $seconds = 30) {
	state $sync = ldapsync($good->uri);
	$sync->_put('lookup.cf', "server_host = $uris\nsearch_base = $base\nquery_filter = (mail=%s)\nresult_attribute = mailbox\ntimeout = $seconds\n"
		. "network_timeout = $seconds\nbind = no\n");
	my $said = qx{$ENV{BUILD_DIR}/db/dblookup -t ldap @{[$sync->dir]}/lookup.cf user1\@x.example 2>&1};
	return ($? >> 8, $said);
}

subtest 'maps: only a result of success without entries is "not found"' => sub {
	my $one = OddDirectory->new(healthy(1));
	my ($exit, $said) = lookup($one->uri);
	is $exit, 0, 'a healthy server' or diag $said;
	is +(lookup(OddDirectory->new(sub ($search) { OddDirectory::done($search, 0) })->uri))[0], 1, 'one that has no such entry';
	my %odd = (
		'an answer of another type' => sub ($search) { OddDirectory::message($search->{id}, OddDirectory::result(0x67, 0)) },
		'an answer to a bind' => sub ($search) { OddDirectory::message($search->{id}, OddDirectory::result(0x61, 0)) },
		'a result without a code' => sub ($search) { OddDirectory::message($search->{id}, "\x65\x00") },
		'a result that is cut short' => sub ($search) { OddDirectory::message($search->{id}, "\x65\x03\x0a\x01\x00") },
	);
	for my $name (sort keys %odd) {
		my $server = OddDirectory->new($odd{$name});
		($exit, $said) = lookup($server->uri);
		is $exit, 75, $name or diag $said;
	}
};

subtest 'maps: every reason moves on to the next server' => sub {
	my $one = OddDirectory->new(healthy(1));
	for my $code (51, 52, 53, 80, 50, 32, 11, 1, 2, 3) {
		my $odd = OddDirectory->new(sub ($search) { OddDirectory::done($search, $code) });
		my ($exit, $said) = lookup($odd->uri . ' ' . $one->uri);
		is $exit, 0, "result $code" or diag $said;
		($exit, $said) = lookup($odd->uri);
		is $exit, 75, '... is "could not tell" if there is no other';
	}
	my $mute = OddDirectory->new(sub ($search) { () });
	my ($exit, $said) = lookup($mute->uri . ' ' . $one->uri, 6);
	is $exit, 0, 'silence' or diag $said;
};

done_testing;
