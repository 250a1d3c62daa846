#!/usr/bin/perl
# The samples for directories: schema and entries go into a real slapd, and each configuration does with them what its head says.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use RealServer;
use RealSlapd;

my $build = $ENV{BUILD_DIR} //= "$FindBin::Bin/../..";
my $source = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $missing = RealSlapd::missing();
plan skip_all => $missing if $missing;
plan skip_all => 'built without LDAP' unless -x "$build/db/ldapsync";
delete $ENV{ZCONFIG};

my $samples = "$source/router-scripts/ldap";
my $top = "dn: $RealSlapd::suffix\nobjectClass: dcObject\nobjectClass: organization\ndc: myhosting\no: myhosting\n\n";
my $slapd = RealSlapd->new(schema => sample('courier.schema'), tree => join "\n", $top, sample('courier-entries.ldif'), sample('simple-entries.ldif'));
my $directory = RealServer::directory();
my $dir = "$directory";
$slapd->start;

sub sample($name) {
	open my $in, '<', "$samples/$name" or die "$samples/$name: $!\n";
	local $/;
	return <$in>;
}

# Definitions as words, whatever their lines.
sub definitions($text) {
	$text =~ s/^#.*//mg;
	$text =~ s/\n / /g;
	$text =~ s/\s+/ /g;
	return sort $text =~ /(\( 1\.3\..*?\))(?= olc| attributetype| objectclass| ?\z)/g;
}
is_deeply [definitions(sample('courier.ldif'))], [definitions(sample('courier.schema'))], 'both forms of the schema say the same';
my @definitions = definitions(sample('courier.schema'));
is scalar @definitions, 5, '... about five things';

# The samples for this server and this directory; their lines of dbases.conf, which stand in their heads.
RealServer::write_file("$dir/policy-builder", "#!/bin/sh\necho \"with \$*\" >>$dir/ran\n", 0755);
my @lines;
for my $path (sort glob "$samples/*.ldap $samples/*.conf") {
	my ($name) = $path =~ m{([^/]+)$};
	my $text = sample($name);
	my $there = $text =~ s{ldapi:///}{$slapd->uri('ldapi')}ge;
	is $there, 1, "$name: names its server";
	$text =~ s{/var/lib/zmailer/db|\$MAILVAR/db}{$dir}g;
	$text =~ s{/usr/lib/zmailer/policy-builder\.sh}{$dir/policy-builder};
	my ($line) = $text =~ /^#\t(\S+ .*)$/m;
	ok $line, "$name: tells the line of dbases.conf";
	push @lines, $line;
	RealServer::write_file("$dir/$name", $text);
}

sub found($relation, $key, $expected, @arguments) {
	chomp(my $value = qx{$build/db/dblookup -f $dir/dbases.conf $relation '$key' -- @arguments 2>&1});
	is $value, $expected, "$relation: $key";
}

# Only these lines, as those of maps and copies name the same relations.
sub dbases(@chosen) { RealServer::write_file("$dir/dbases.conf", join '', map { "$_\n" } @chosen) }

sub all_is_found() {
	found('fqdnroutes', 'user1@domain1.example', 'smtp-lmtp!node!user1+news@domain1.example', 'x', '+news');
	found('fqdnroutes', 'First.User@domain1.example', 'smtp-lmtp!node!user1@domain1.example');
	found('fqdnroutes', 'ann@domain1.example', 'smtp-lmtp!node!ann');
}

subtest 'maps that ask' => sub {
	dbases(grep { /\sldap\s/ } @lines);
	all_is_found();
	found('fqdnaliasesldap', 'abuse@domain1.example', 'noc@elsewhere.example, user1@domain1.example');
};

subtest 'maps that are copied' => sub {
	dbases(grep { /\sbtree\s/ } @lines);
	for my $conf (map { s{.*/}{}r } sort glob "$samples/ldapsync-*.conf") {
		my $said = qx{$build/db/ldapsync -f $dir/$conf -1 2>&1};
		is $?, 0, $conf or diag $said;
	}
	all_is_found();
	found('fqdnaliases', 'abuse@domain1.example', 'noc@elsewhere.example, user1@domain1.example');
	found('routesdb', 'domain1.example', 'error!nosuchuser');
};

subtest 'a new domain is served' => sub {
	my $relay = sub { open my $in, '<', "$dir/smtp-policy.relay" or return ''; join ' ', grep { !/^#/ } map { chomp; $_ } <$in> };
	my $runs = sub { open my $in, '<', "$dir/ran" or return ''; join '', <$in> };
	is $relay->(), 'domain1.example', 'the domain of the directory';
	is $runs->(), "with -n\n", 'the policy was built';
	$slapd->change("dn: o=domain2.example,$RealSlapd::hosting\nobjectClass: organization\no: domain2.example\n\n");
	for my $conf ('accounts', 'routes') {
		is system("$build/db/ldapsync -f $dir/ldapsync-$conf.conf -1 >/dev/null"), 0, "ldapsync-$conf.conf";
	}
	is $relay->(), 'domain1.example domain2.example', 'an entry for it is enough';
	is $runs->(), "with -n\nwith -n\n", 'and the policy was built again';
	found('routesdb', 'domain2.example', 'error!nosuchuser');
};

done_testing;
