#!/usr/bin/perl
# Builds every fuzz target fuzz_NAME.c here, or those named in ZLMTP_FUZZ, with clang's libFuzzer and sanitizers, and lets
# it run for a while, starting from corpus/NAME: a few seconds, or with ZLMTP_SOAK=1 a minute, then one on each processor.
# What it finds on its way stays in build-fuzz/corpus/NAME of the build directory; an input that breaks something in
# build-fuzz.

use v5.36;
use FindBin;
use File::Path ();
use POSIX ();
use Test::More;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $source = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $seconds = $ENV{ZLMTP_SOAK} ? 60 : 3;
my $work = "$build/build-fuzz";
my $sanitize = '-fsanitize=address,undefined -fno-sanitize-recover=all';

sub command($command) {
	my $said = `($command) 2>&1`;
	return $? == 0 ? undef : $said;
}

plan skip_all => 'the targets have sanitizers of their own, see the tests of a usual build' if $ENV{ZLMTP_SANITIZED};
plan skip_all => 'no clang (Debian: clang)' if command('clang --version');
File::Path::make_path("$work/corpus");
open my $probe, '>', "$work/probe.c" or die;
print $probe "int LLVMFuzzerTestOneInput(const char *d, unsigned long n);\n",
	"int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return n > 9 && d[0] == 1; }\n";
close $probe;
plan skip_all => 'clang has no libFuzzer (Debian: libclang-rt-dev of its version)'
	if command("clang -fsanitize=fuzzer $sanitize -o $work/probe $work/probe.c");

my @targets = split ' ', $ENV{ZLMTP_FUZZ} // '';
@targets = map { m{fuzz_(\w+)\.c$} } sort glob "$source/tests/fuzz/fuzz_*.c" if !@targets;
my $at_once = $ENV{ZLMTP_SOAK} ? `nproc` + 0 : 1;
plan tests => 1 + @targets;

# ---- everything that targets may want, built for the fuzzer ----

my $features = do { open my $f, '<', "$build/config.h" or die "no config.h in $build\n"; local $/; <$f> };
my $without = join ' ', map { $features =~ /HAVE_\U$_\E 0/ ? "--disable-$_" : () } qw(ldap lmdb idn sasl);
my $configured = -e "$work/Makefile" && -M "$work/Makefile" < -M "$source/configure" && -M "$work/Makefile" < -M "$source/Makefile.in";
my $trouble;
$trouble = command("cd $work && $source/configure $without CC=clang CFLAGS='-O1 -g -fsanitize=fuzzer-no-link,address,undefined " .
	"-fno-sanitize-recover=all -fno-omit-frame-pointer'") if !$configured;
# the parent make's own variables must not reach this one
delete @ENV{grep { /^(?:MAKE|MFLAGS)/ } keys %ENV};
$trouble //= command("make -C $work -j2 lib/lib.a db/db.a channel/channel.a");
ok(!defined $trouble, 'the libraries build for fuzzing') or diag $trouble;
my $libraries = `sed -n 's/^DB_LIBS = //p; s/^ldap_LIBS = //p; s/^CHANNEL_LIBS = //p' $work/Makefile`;
$libraries =~ s/\n/ /g;

# ---- the targets ----

# What is wrong with a target; undef if nothing was found.
sub build_and_run($target) {
	my $program = "$work/fuzz_$target";
	my ($kept, $found) = ("$source/tests/fuzz/corpus/$target", "$work/corpus/$target");
	my $failed = command("clang -std=c11 -D_GNU_SOURCE -O1 -g -I$work -I$source -fsanitize=fuzzer $sanitize -o $program " .
		"$source/tests/fuzz/fuzz_$target.c $work/channel/channel.a $work/db/db.a $work/lib/lib.a $libraries");
	return "it does not build: $failed" if defined $failed;
	File::Path::make_path($found);
	return command("cd $work && $program -max_total_time=$seconds -timeout=10 -rss_limit_mb=2500 -print_final_stats=1 " .
		"-artifact_prefix=$work/$target- $found " . (-d $kept ? $kept : '') . ' </dev/null');
}

# Each in a process of its own, which tells by a pipe.
sub start($target) {
	my $pid = open(my $from, '-|') // die "fork: $!";
	return $from if $pid;
	my $wrong = build_and_run($target);
	print defined $wrong ? "wrong\n" . substr($wrong, -6000) : "fine\n";
	POSIX::_exit(close STDOUT ? 0 : 1);
}

my @waiting = @targets;
my @running;
while (@waiting || @running) {
	if (@waiting && @running < $at_once) {
		my $target = shift @waiting;
		push @running, [$target, defined $trouble ? undef : start($target)];
		next;
	}
	my ($target, $from) = @{shift @running};
	SKIP: {
		skip 'no libraries', 1 if !$from;
		my ($word, $said) = (readline($from) // "nothing\n", do { local $/; <$from> });
		is($word, "fine\n", "$target: $seconds seconds without a fault") or diag $said;
		close $from;
	}
}
