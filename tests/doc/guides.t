#!/usr/bin/perl
# Each guide is carried out as it is printed, from the first command to the last, typed into an interactive shell on a copy
# of this machine: every command must succeed, and print what the guide says.
#
# With ZLMTP_BASE, a directory that debootstrap made (--variant=minbase), each is carried out there instead, on packages that
# nobody has touched: they are fetched before, and installed by the guide's own commands.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Test::More;
use Guide;
use Machine;

$ENV{SRC_DIR} //= "$FindBin::Bin/../..";
$ENV{BUILD_DIR} //= $ENV{SRC_DIR};
my $base = $ENV{ZLMTP_BASE};

# what is mounted is seen by this process alone and goes with it
if ($base && !$ENV{ZLMTP_UNSHARED}) {
	$ENV{ZLMTP_UNSHARED} = 1;
	exec 'unshare', '--mount', '--propagation', 'private', $^X, $0, @ARGV or die "unshare: $!\n";
}

# What the installation of its packages leaves behind before a guide begins: running servers, settings.
sub before($name) {
	return '' if $base;
	open my $in, '<', "$FindBin::Bin/before/$name.sh" or return '';
	local $/;
	return <$in>;
}

sub missing_packages(@packages) {
	return $base ? () : grep { `dpkg-query -W -f '\${Status}' $_ 2>/dev/null` !~ /ok installed/ } @packages;
}

# A package's own files of /etc as it brings them: what was changed here would be tried instead.
sub changed_files(@packages) {
	return $base ? () : grep { $_ ne '/etc/dovecot/conf.d/99-zlmtp.conf' } map { `dpkg --verify $_ 2>/dev/null` =~ /^..5.* c (.*)$/mg } @packages;
}

# The commands of a guide in two lists: those by which the programs are built, and the others.
sub commands(@blocks) {
	my @commands = map { $_->{text} } grep { $_->{kind} eq 'sh' } @blocks;
	my ($last) = grep { $commands[$_] =~ /make install/ } 0 .. $#commands;
	my @build = defined $last ? splice(@commands, 0, $last + 1) : ();
	return (\@build, \@commands);
}

# A guide that "goes on where X.md ends" is for a machine on which X.md was carried out; the programs are there already.
sub earlier($path) {
	my $other = Guide::goes_on($path) // return;
	my (undef, $commands) = commands(Guide::blocks("$ENV{SRC_DIR}/doc/guide/$other.md"));
	return before($other), @$commands;
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

# ---- a system of its own ----

my $layers;     # what is put over ZLMTP_BASE: fetched packages, built programs

sub in_base($command) { return system 'chroot', $base, qw(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec), $command }

# Packages are fetched, not installed, as the copies have no network: into ZLMTP_BASE itself, as a copy sees no mounts of it.
# For each guide by itself: what else is there decides which others they bring.
sub fetch_packages() {
	system 'cp', '/etc/resolv.conf', "$base/etc/resolv.conf";
	in_base('apt-get -q update >/dev/null') == 0 or return 0;
	for my $path (glob "$ENV{SRC_DIR}/doc/guide/*.md") {
		my $other = Guide::goes_on($path);
		my @packages = map { Guide::packages(Guide::blocks($_)) } $path, $other ? "$ENV{SRC_DIR}/doc/guide/$other.md" : ();
		next if !@packages;
		in_base("apt-get -q install -y --download-only @packages >/dev/null") == 0 or return 0;
	}
	return 1;
}

# Programs are built as dovecot.md begins, and installed below the guides that say so.
sub build_programs() {
	$layers = File::Temp->newdir('/tmp/zlm-XXXXXX');
	system('mount', '-t', 'tmpfs', 'layers', "$layers") == 0 or return;
	my $machine = Machine->start(lower => $base, changes => "$layers");
	my ($build) = commands(Guide::blocks("$ENV{SRC_DIR}/doc/guide/dovecot.md"));
	my ($status, $said) = $machine->run(join '', @$build);
	$machine->stop;
	return is($status, 0, 'the programs are built') || !diag $said;
}

# What a guide is carried out on; the one that builds the programs gets no built ones.
sub machine_for(@blocks) {
	my $builds = grep { $_->{text} =~ /make install/ } @blocks;
	return Machine->start(programs => $builds ? undef : $ENV{BUILD_DIR}) if !$base;
	return Machine->start(lower => $builds ? $base : "$layers/changes:$base");
}

my @guides = @ARGV ? @ARGV : sort glob "$ENV{SRC_DIR}/doc/guide/*.md";
my $missing = Machine::missing();
if ($base && !$missing) {
	fetch_packages() or BAIL_OUT("no packages for $base");
	build_programs() or BAIL_OUT('no programs');
}
for my $path (@guides) {
	my ($name) = $path =~ m{([^/]+)\.md\z};
	my @blocks = Guide::blocks($path);
	subtest "$name.md" => sub {
		plan skip_all => $missing if $missing;
		my @wanting = missing_packages(Guide::packages(@blocks));
		plan skip_all => "Debian's @wanting not here" if @wanting;
		my @changed = changed_files(Guide::packages(@blocks));
		plan skip_all => "@changed: not as the package brings it" if @changed;
		my $machine = machine_for(@blocks);
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
	is_deeply([$machine->run("cat <<'END'\na!b \"c!d\"\n\nEND\n")], [0, "a!b \"c!d\"\n\n"], 'a text among commands');
	is(($machine->run("echo \"a!b\"\n"))[0], 1, 'what an interactive shell takes from its history');
	is(($machine->run("echo a\tb\n"))[0], undef, 'what it completes');
	$machine->stop;
};

subtest 'each guide has commands that are carried out, and says what they print' => sub {
	for my $path (@guides) {
		my %kinds = map { $_->{kind} => 1 } Guide::blocks($path);
		ok($kinds{sh} && $kinds{output}, $path =~ s{.*/}{}r);
	}
};

# apt-get hands what is typed to the packages that it sets up: of a block that is pasted the lines behind it would be lost
subtest 'apt-get ends the block that it stands in' => sub {
	for my $path (glob "$ENV{SRC_DIR}/doc/guide/*.md") {
		my ($name) = $path =~ m{([^/]+)\z};
		my @lost = grep { /apt-get install (?:.*\\\n)*+.*\n./ } map { $_->{text} } grep { $_->{kind} eq 'sh' } Guide::blocks($path);
		is_deeply(\@lost, [], $name);
	}
};

subtest 'each wait on a page has a limit' => sub {
	for my $path (glob "$ENV{SRC_DIR}/doc/guide/*.md") {
		my ($name) = $path =~ m{([^/]+)\z};
		my @lines = map { split /\n/, $_->{text} } grep { $_->{kind} eq 'sh' } Guide::blocks($path);
		is_deeply([grep { /\b(?:until|while :|while true|tail -f)\b/ && !/\btimeout \d+ / } @lines], [], $name);
	}
};

# as a real daemon behaved, which is not here to be asked
subtest 'dspam.md keeps the daemon to the loopback, and takes its replies for what they are' => sub {
	my $guide = do { local (@ARGV, $/) = "$ENV{SRC_DIR}/doc/guide/dspam.md"; <> };
	my ($conf) = $guide =~ /^In `dspam\.conf`:\n\n```text\n(.*?)^```/ms;
	like($conf, qr/^$_$/m, "dspam.conf: $_") for 'ServerHost +127\.0\.0\.1', 'ServerParameters +"--deliver=innocent -d %u"', 'EnablePlusedDetail on';
	like($guide, qr/command="[^"]*$_\b/, "the agent: $_") for '-O max-rcpts=1', '-O map-reply=530/5\.3\.0:perm', '-O map-reply=503/5\.1\.2:perm', '-O map-reply=554/5\.1\.0:temp';
	unlike($guide, qr/map-reply=530:perm/, 'not each 530: a daemon that is stopped says one, too');
};

subtest 'each parameter of the lmtp client of Postfix has its place in from-postfix.md' => sub {
	plan skip_all => 'no postconf here (Debian: postfix)' if !Machine::has('postconf');
	my $guide = do { local (@ARGV, $/) = "$ENV{SRC_DIR}/doc/guide/from-postfix.md"; <> };
	my @parameters = `postconf -d 2>/dev/null` =~ /^(lmtp_\w+) =/mg;
	plan skip_all => 'postconf -d says nothing' if !@parameters;
	is_deeply([grep { $guide !~ /`$_`/ } @parameters], [], 'none is missing');
};
# what is mounted cannot be removed
system 'umount', '--lazy', "$layers" if $layers;
done_testing;
