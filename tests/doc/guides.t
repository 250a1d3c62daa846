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

# A guide that "goes on where X.md ends" is for a machine on which X.md was carried out; the programs are there already.
sub earlier($path) {
	my $other = Guide::goes_on($path) // return;
	my @blocks = Guide::blocks("$ENV{SRC_DIR}/doc/guide/$other.md");
	return before($other), map { $_->{text} } grep { $_->{kind} eq 'sh' && $_->{text} !~ /make install/ } @blocks;
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
		my $ready = 1;
		for my $commands (earlier($path), before($name)) {
			my ($status, $said) = $machine->run($commands);
			$ready &&= defined $status && $status == 0 or diag $said;
			last if !$ready;
		}
		ok($ready, 'what was there before');
		follow($machine, "$name.md", @blocks) if $ready;
		$machine->stop;
	};
}

subtest 'what is not as a guide says is noticed' => sub {
	my $promise = Guide::pattern("one\n...\ntwo ... three\n");
	like("one\ntwo and three\n", $promise, 'as promised');
	like("one\n2\n3\ntwo and three\n", $promise, 'with more lines where some may be');
	unlike($_, $promise, 'not as promised') for "one\n", "one\ntwo and three\nfour\n", "0\none\ntwo and three\n", '';
	return if $missing;
	my $machine = Machine->start;
	is_deeply([$machine->run("echo said\n")], [0, "said\n"], 'a command that succeeds');
	is_deeply([$machine->run("printf unfinished\n")], [0, 'unfinished'], 'and one that says no newline');
	is_deeply([$machine->run("echo first\nfalse\necho last\n")], [1, "first\n"], 'one that fails, and none behind it');
	$machine->stop;
};

subtest 'each parameter of the lmtp client of Postfix has its place in from-postfix.md' => sub {
	plan skip_all => 'no postconf here (Debian: postfix)' if !Machine::has('postconf');
	my $guide = do { local (@ARGV, $/) = "$ENV{SRC_DIR}/doc/guide/from-postfix.md"; <> };
	my @parameters = `postconf -d 2>/dev/null` =~ /^(lmtp_\w+) =/mg;
	plan skip_all => 'postconf -d says nothing' if !@parameters;
	is_deeply([grep { $guide !~ /`$_`/ } @parameters], [], 'none is missing');
};
done_testing;
