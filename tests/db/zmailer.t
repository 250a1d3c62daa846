#!/usr/bin/perl
# The scripts of router-scripts in a real router of ZMailer 3: ZMAILER=/prefix make check, where /prefix/bin/router and
# /prefix/share/cf are those of an installation.  Maps and the scripts that name them are made by newdb.
#
# Each example is asked twice: with ZMailer's own scripts, which must give what routing.examples says of ZMailer,
# and with ours.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Cwd ();
use File::Temp ();
use Routing;
use Test::More;

my $zmailer = $ENV{ZMAILER} // '';
plan skip_all => 'ZMAILER does not name an installation of ZMailer (with bin/router and share/cf)'
	if !-x "$zmailer/bin/router" || !-f "$zmailer/share/cf/rrouter.cf";

my $newdb = ($ENV{BUILD_DIR} // "$FindBin::Bin/../..") . '/db/newdb';
my $source = Cwd::abs_path($ENV{SRC_DIR} // "$FindBin::Bin/../..");
my $top = File::Temp->newdir('/tmp/zlmtp-zmailer-XXXXXX');
my $examples = Routing->read;

# What follows the stock router.cf: DNS must not be asked, and results go out one a line.
my $tail = <<'EOF_CF';
canonical (host) {
	local name
	name="$(deliver "$host")" && returns "$name"
	returns "$host"
}
gethostbyaddr (address) {
	returns "[$address]"
}
t_route (number, address) {
	local results one quad
	results="$(router "$address" t_attributes)"
	for one in $(elements $results)
	do
		for quad in $(elements $one)
		do
			echo "R~$number~$(channel $quad)~$(host $quad)~$(user $quad)"
		done
	done
}
EOF_CF

sub slurp($path) {
	open my $in, '<', $path or die "$path: $!";
	local $/;
	return <$in>;
}

# router.cf as a postmaster would change it by router.cf.fragment; `ours` takes in our scripts.
sub router_cf($dir, $modes, $ours) {
	my $stock = (grep { -f } "$zmailer/share/router.cf", "$zmailer/share/cf/SMTP+UUCP.cf")[0];
	my $cf = slurp($stock);
	my %line = map { /^(\w+)=/ ? ($1 => $_) : () } split /\n/, slurp("$source/router-scripts/router.cf.fragment");

	$cf =~ s/^ZCONFIG=.*/ZCONFIG=$dir\/zmailer.conf/m;
	$cf =~ s/^protocols=.*/$line{protocols}/m;
	$cf =~ s/^localdoesdomain=.*/$modes->{'no-domain'} ? $line{localdoesdomain} : 'localdoesdomain=1'/me;
	$cf =~ s/^(require siteinfo)/$line{nofqlists}\n$1/m;
	$cf =~ s/^PATH=.*/$line{PATH}/m if $ours;
	return "$cf\n$tail" . "t_attributes=(privilege 65534 type " . ($modes->{sender} ? 'sender' : 'recipient') . ")\n";
}

# Routes the addresses of these examples, which share set and modes.  Returns number => results.
sub route_all($name, $ours, @examples) {
	my $dir = "$top/$name";
	my ($set, $modes) = ($examples->{sets}{$examples[0]{set}}, $examples[0]{modes});
	my %results;

	mkdir $_ or die "$_: $!" for $dir, "$dir/var", "$dir/var/db", "$dir/var/lists", "$dir/po", map { "$dir/po/$_" }
		qw(router public);
	Routing::write_file("$dir/zmailer.conf", "MAILBIN=$zmailer/bin\n", "MAILSHARE=$zmailer/share\n",
		"MAILVAR=$dir/var\n", "POSTOFFICE=$dir/po\n", "DBTYPE=btree\n", "DBEXT=.db\n", "DBEXTtest=.db\n", "NOBODY=nobody\n",
		'ROUTEUSER_IN_ABNORMAL_UNIX=', $modes->{'any-user'} ? 1 : '', "\n");
	Routing::write_file("$dir/var/mail.conf", "hostname=mx.local.test\n", "orgdomain=local.test\n",
		"mydomain=local.test\n");
	Routing::write_file("$dir/router.cf", router_cf($dir, $modes, $ours));
	if ($ours) {
		mkdir "$dir/var/cf" or die "$dir/var/cf: $!";
		Routing::write_file("$dir/var/cf/$_", slurp("$source/router-scripts/cf/$_")) for qw(fqdnalias.cf p-routes.cf);
	}
	Routing->write_maps($set, "$dir/var/db");
	local $ENV{ZCONFIG} = "$dir/zmailer.conf";
	system("$newdb -nks -f $dir/var/db/dbases.conf >$dir/newdb 2>&1") == 0 or diag slurp("$dir/newdb");

	Routing::write_file("$dir/in", map { "t_route $_->{number} '$_->{address}'\n" } @examples);
	for (split /\n/, qx{cd $dir && timeout 120 $zmailer/bin/router -f $dir/router.cf -i <$dir/in 2>$dir/err}) {
		my ($number, $channel, $host, $user) = /^R~(\d+)~(.*?)~(.*?)~(.*)$/ or next;
		$host = '*' if $channel eq 'hold' && $host !~ /^(?:timeout:)?\d+$/;
		push $results{$number}->@*, "($channel $host $user)";
	}
	return %results;
}

my %groups;
for my $x ($examples->{examples}->@*) {
	next if $x->{number} < ($ENV{FIRST} // 1);    # FIRST=NUMBER: those from there on
	next if $x->{modes}{'error-message'};    # a router that is asked by hand sends no reports
	push $groups{join ' ', $x->{set}, sort keys $x->{modes}->%*}->@*, $x;
}

# Sets that stand for something a text map cannot be: a directory, files in fqlists, a field that newdb refuses.
my %stands_for = map { $_ => 1 } qw(LDAP-ALIASES LDAP-DOWN LISTS UNUSABLE-PRIVILEGES HOWTO-COLON);
my $count = 0;

for my $group (sort keys %groups) {
	my @examples = $groups{$group}->@*;
	my %original = route_all('z' . ++$count, 0, @examples);
	my %scripts = route_all("s$count", 1, @examples);

	for my $x (@examples) {
		my ($number, $zmailer_says) = ($x->{number}, $x->{both} // $x->{zmailer});
		my $what = "$number " . substr $x->{address}, 0, 60;
		my $expect = $x->{both} // $x->{scripts};

		$expect = $x->{$expect} if $expect eq 'ours' || $expect eq 'zmailer';
	SKIP: {
			skip "$what: $x->{set} cannot be made for ZMailer here", 1
				if $stands_for{$x->{set}} || $zmailer_says !~ /^\(/;
			is join(' ', ($original{$number} // [])->@*), $zmailer_says, "$what: ZMailer alone";
		}
	SKIP: {
			skip "$what: $x->{set} cannot be made for ZMailer here", 1 if $stands_for{$x->{set}};
			my $got = join ' ', ($scripts{$number} // [])->@*;
			$expect =~ /^an error text about 8-bit/ ? like($got, qr/illegal 8-bit/, "$what: with our scripts")
				: is($got, $expect, "$what: with our scripts");
		}
	}
}

done_testing;
