#!/usr/bin/perl
# Each guide is carried out as it is printed, from the first command to the last, on a copy of this machine: every
# command must succeed, and print what the guide says.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Guide;
use Machine;

$ENV{SRC_DIR} //= "$FindBin::Bin/../..";
$ENV{BUILD_DIR} //= $ENV{SRC_DIR};

# What was there before a guide begins.
sub before($name) {
	open my $in, '<', "$FindBin::Bin/before/$name.sh" or return '';
	local $/;
	return <$in>;
}

sub missing_packages(@packages) {
	return grep { `dpkg-query -W -f '\${Status}' $_ 2>/dev/null` !~ /ok installed/ } @packages;
}

# Commands, and what they print.
sub follow($machine, $name, @blocks) {
	my ($commands, $said);
	while (my $block = shift @blocks) {
		my $where = "$name:$block->{line}";
		if ($block->{kind} eq 'sh') {
			$commands = $block->{text};
			(my $status, $said) = $machine->run($commands);
			my $well = is($status // 'no answer', 0, "$where: the commands succeed");
			diag "$commands=> $said" if !$well;
			return if !$well;
		} else {
			like($said, Guide::pattern($block->{text}), "$where: they print what is promised");
		}
	}
}

my @guides = @ARGV ? @ARGV : sort glob "$ENV{SRC_DIR}/doc/guide/*.md";
my $missing = Machine::missing();
for my $path (@guides) {
	my ($name) = $path =~ m{([^/]+)\.md\z};
	my @blocks = Guide::blocks($path);
	next if !grep { $_->{kind} eq 'sh' } @blocks;
	subtest "$name.md" => sub {
		plan skip_all => $missing if $missing;
		my @wanting = missing_packages(Guide::packages(@blocks));
		plan skip_all => "Debian's @wanting not here" if @wanting;
		# the guide that builds the programs gets no built ones
		my $builds = grep { $_->{text} =~ /make install/ } @blocks;
		my $machine = Machine->start(programs => $builds ? undef : $ENV{BUILD_DIR});
		my ($status, $said) = $machine->run(before($name));
		is($status // 'no answer', 0, 'what was there before') or diag $said;
		follow($machine, "$name.md", @blocks) if defined $status && $status == 0;
		$machine->stop;
	};
}
done_testing;
