package Routing;

# The examples of tests/db/routing.examples, and their sets of maps as files.

use v5.36;
use FindBin;

my @alias_syntax = qw(aliases fqdnaliases fqdnroutes);

# Reads the examples.  Returns { sets => { name => { name, maps => [{ relation, plain, options, lines }] } },
# examples => [{ number, set, modes => { word => 1 }, address, both | zmailer + ours + because, scripts }] }.
sub read($class, $path = "$FindBin::Bin/../db/routing.examples") {
	my (%sets, @examples, $set, $map, $example);

	open my $in, '<', $path or die "$path: $!";
	while (<$in>) {
		chomp;
		next if /^#|^$/;
		s/\{(.)\*(\d+)\}/$1 x $2/ge;
		if (/^set (\S+)$/) {
			$set = $sets{$1} = { name => $1, maps => [] };
			$example = undef;
		} elsif (/^(\d+) (\S+)(.*)$/) {
			$example = { number => $1, set => $2, modes => { map { $_ => 1 } split ' ', $3 } };
			push @examples, $example;
		} elsif ($example) {
			/^\t(.*)$/ ? ($example->{address} = $1) : /^(\w+)\t(.*)$/ ? ($example->{$1} = $2) : die "$path:$.: $_";
		} elsif (/^\t(.*)$/) {
			push $map->{lines}->@*, $1;
		} else {
			my ($relation, $plain, $options) = /^(\w+) (plain )?(.*)$/ or die "$path:$.: $_";
			$map = { relation => $relation, options => $options, lines => [],
				plain => $plain || !grep { $_ eq $relation } @alias_syntax };
			push $set->{maps}->@*, $map;
		}
	}
	for my $s (values %sets) {
		next if grep { $_->{relation} eq 'thishost' } $s->{maps}->@*;
		push $s->{maps}->@*, { relation => 'thishost', plain => 1, options => '-lm%d pathalias',
			lines => ['mx.local.test', 'local.test'] };
	}
	return { sets => \%sets, examples => \@examples };
}

# Writes the texts of a set and its dbases.conf into an existing directory.
sub write_maps($class, $set, $dir) {
	my ($conf, %count) = ('');

	for my $map ($set->{maps}->@*) {
		my $name = "$map->{relation}-" . ++$count{$map->{relation}};
		my $missing = $map->{lines}[0] eq '!';

		$conf .= "$map->{relation} btree - " . ($missing ? '-r' : $map->{plain} ? '-l' : '-la') .
			" $dir/$name $map->{options}\n";
		write_file("$dir/$name", map { "$_\n" } $map->{lines}->@*) if !$missing;
	}
	write_file("$dir/dbases.conf", $conf);
}

sub write_file($path, @text) {
	open my $out, '>', $path or die "$path: $!";
	print $out @text;
	close $out or die "$path: $!";
}

1;
