#!/usr/bin/perl
# Manual pages and programs agree: what the help text of a program names stands in its page, and the other way round; and
# mandoc finds nothing to mend.

use v5.36;
use FindBin;
use Test::More;

my $top = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $build = $ENV{BUILD_DIR} // $top;

# Program => how it is asked for help.
my %help = (
	(map { ("channel/$_" => '-h') } qw(enqueue runqueue intake zlmtp-check zlmtp-queue zlmtp-report)), (map { ("channel/$_" => '--help') } qw(lmtp zlmtp-sendmail)),
	(map { ("db/$_" => '-h') } qw(newdb dbupdate dblookup dbserve ldapsync sqlsync)),
);

sub slurp ($path) {
	open my $file, '<', $path or return;
	local $/;
	return <$file>;
}

sub sorted (%set) { return [sort keys %set] }

# "  -x ARG ...", "  -x, --name ...", "  --name ..." and "  -x|y ..."
sub options_of_help ($text) {
	my %found;
	for ($text =~ /^  (-[^\s,\[]+(?:, --\S+)?)/mg) {
		$found{$_} = 1 for split /, /;
	}
	return %found;
}

# Of the tags of lists: an option explained, not one mentioned.
sub options_of_page ($text) {
	my %found;
	for ($text =~ /^\.It (.*)/mg) {
		my ($is_flag, $is_argument) = (0, 0);
		for my $word (split) {
			if ($word eq 'Fl') { ($is_flag, $is_argument) = (1, 0) }
			elsif ($word =~ /^(?:Ar|Cm|Ns|Oo|Oc|Op|No|Li|Sy|Ta|Ev|Pa|Ql)$/) { $is_flag = 0 }
			elsif ($is_flag && $word =~ /^-(-?[\w%-]+|%)$/) { $found{"-$word"} = 1 }
			elsif ($is_flag && $word =~ /^[\w%]$/) { $found{"-$word"} = 1 }
		}
	}
	return %found;
}

# Of lines like "-O key=VALUE  text", and of ".It Cm key ..." in the section of the page that is about these.
sub keys_of_help ($text) { return map { $_ => 1 } $text =~ /^-O ([\w-]+)/mg }

sub keys_of_page ($text) {
	my ($section) = $text =~ /^\.Sh EXTRA OPTIONS\n(.*?)^\.Sh /ms or return;
	return map { $_ => 1 } map { /Cm ([\w-]+)/g } grep { /^\.It Cm / } split /\n/, $section;
}

# The options that the synopsis names; "option ..." stands for all of them.
sub missing_in_synopsis ($page, @options) {
	my ($synopsis) = $page =~ /^\.Sh SYNOPSIS\n(.*?)^\.Sh /ms or return @options;
	return () if $synopsis =~ /Ar option \.\.\./ && $synopsis !~ /^\.Op Fl \w{2,}/m;
	my %named = map { $_ => 1 } map { /^-/ ? "-$_" : map { "-$_" } split // } $synopsis =~ /Fl (\S+)/g;
	$named{"-$_"} = 1 for $synopsis =~ /Fl \w \| (\w)/g;
	return grep { !$named{$_} && !/^(?:-h|-V|--help|--version)\z/ } @options;
}

# A program without a page, or not built for want of a library, says so.
sub compare ($program, $how) {
	my $name = $program =~ s{.*/}{}r;
	my $page = slurp("$top/doc/$name.8");
	SKIP: {
		skip "$program is not built", 3 if !-x "$build/$program";
		my $text = qx{'$build/$program' $how};
		my %help = options_of_help($text);
		# the page of newdb is that of makedb too, which has one option more
		$help{'-p'} = 1 if $name eq 'newdb';
		is_deeply(sorted(options_of_page($page // '')), sorted(%help), "$name.8 explains the options of $name");
		is_deeply(sorted(keys_of_page($page // '')), sorted(keys_of_help($text)), "$name.8 explains what -O takes");
		is(join(' ', missing_in_synopsis($page // '', grep { "$name$_" ne 'newdb-p' } sort keys %help)), '', "its synopsis has them all");
	}
}

is_deeply({ options_of_help("  -x ARG  text -y\n  -h, --help  this\n  --dump  text\nno -z\n") },
	{ map { $_ => 1 } qw(-x -h --help --dump) }, 'options are found in a help text');
is_deeply({ options_of_page(".It Fl x Ar arg\n.It Fl h , Fl -help\n.It Fl -dump\n.Fl z\n.It Cm w Ns = Ns Ar n\n.It Fl d , e\n") },
	{ map { $_ => 1 } qw(-x -h --help --dump -d -e) }, 'options are found in a page');
is_deeply({ keys_of_help("-O a-b=C|D  text\n-O e  text\n") }, { 'a-b' => 1, e => 1 }, 'keys of -O are found in a help text');
is_deeply([missing_in_synopsis(".Sh SYNOPSIS\n.Op Fl ab\n.Op Fl c Ar d\n.Fl 1 | w\n.Sh X\n", qw(-a -b -c -d -1 -w -V))], ['-d'],
	'options are found in a synopsis');
compare($_, $help{$_}) for sort keys %help;

SKIP: {
	my @pages = sort glob "$top/doc/*.[1-9]";
	skip 'there is no mandoc', 1 if !grep { -x "$_/mandoc" } split /:/, $ENV{PATH};
	cmp_ok(scalar @pages, '>', 5, 'there are pages to look at');
	for my $page (@pages) {
		# pages of other packages need not be installed where this is tested
		my @said = grep { !/referenced manual not found|^mandoc: outdated mandoc\.db/ } qx{mandoc -T lint -W style '$page' 2>&1};
		is(join('', @said), '', ($page =~ s{.*/}{}r) . ' is clean');
	}
}

done_testing;
