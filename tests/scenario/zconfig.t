#!/usr/bin/perl
# Where the programs have their settings from in a new shell, on a copy of this machine in which they are installed.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Machine;

$ENV{SRC_DIR} //= "$FindBin::Bin/../..";
$ENV{BUILD_DIR} //= $ENV{SRC_DIR};
if (my $why = Machine::missing()) {
	plan skip_all => $why;
}
my $machine = Machine->start(programs => $ENV{BUILD_DIR});
my ($ours) = do { local (@ARGV, $/) = "$ENV{BUILD_DIR}/config.h"; <> } =~ /^#define ZCONFIG_PATH "(.*)"$/m;
my $directory = $ours =~ s{/[^/]*\z}{}r;

sub says ($commands, $expected, $name) {
	my ($status, $said) = $machine->run($commands);
	is($status, 0, "$name: well") or diag $said;
	is($said, $expected, "$name: said");
}

says(<<"END", '', 'two sites');
unset ZCONFIG
mkdir -p $directory /tmp/ours/db /tmp/zmailer/db /tmp/other/db
for site in ours zmailer other; do
  printf 'MAILVAR=/tmp/%s\\nMAILSHARE=/tmp/%s\\nPOSTOFFICE=/tmp/%s/post\\nMAILBIN=/usr/local/libexec/zlmtp\\n' \\
  \$site \$site \$site > /tmp/\$site/zmailer.conf
  printf 'routesdb unordered - - \$MAILVAR/db/routes -l\\n' > /tmp/\$site/db/dbases.conf
  printf 'a.test lmtp!%s!box\\n' \$site > /tmp/\$site/db/routes
  printf '*/*\\n\\tinterval=1m\\nlmtp/*\\n\\tcommand="/tmp/agent"\\n' > /tmp/\$site/scheduler.conf
done
END
says("dblookup -r ann\@a.test 2>&1 || test \$? = 64\n",
	"dblookup: expected the maps that route addresses: -f, or MAILVAR in the file that ZCONFIG names; try -h\n", 'no settings anywhere');
says("cp /tmp/zmailer/zmailer.conf /etc/zmailer.conf\ndblookup -r ann\@a.test\n", "ann\@a.test\tlmtp\tzmailer\tbox\n", "ZMailer's");
says("cp /tmp/ours/zmailer.conf $ours\ndblookup -r ann\@a.test\n", "ann\@a.test\tlmtp\tours\tbox\n", 'our own comes before');
says("ZCONFIG= dblookup -r ann\@a.test\n", "ann\@a.test\tlmtp\tours\tbox\n", 'an empty ZCONFIG is none');
says("ZCONFIG=/tmp/other/zmailer.conf dblookup -r ann\@a.test\n", "ann\@a.test\tlmtp\tother\tbox\n", 'ZCONFIG comes first');
says("newdb -v -f /tmp/ours/db/dbases.conf 2>&1 | grep settings\n" .
	"echo x | enqueue -v -m -s x\@a.test ann\@a.test 2>&1 | grep settings\ndblookup -v -r ann\@a.test 2>&1 | grep settings\n" .
	"runqueue -v -1 2>&1 | grep settings\nzlmtp-check -v -o queue | grep -o settings.*\n",
	join('', map { "$_: settings are those of $ours\n" } qw(newdb enqueue dblookup runqueue)) . "settings are those of $ours\n",
	'-v names the file');
# what an agent is started with
my $agent = "printf '#!/bin/sh\\necho \$ZCONFIG > /tmp/seen\\n' > /tmp/agent\nchmod 755 /tmp/agent\n";
says("${agent}runqueue -1 >/dev/null 2>&1 || :\ncat /tmp/seen\n", "$ours\n", 'an agent reads the same file');
says("echo x | ZCONFIG=/tmp/other/zmailer.conf enqueue -m -s x\@a.test ann\@a.test >/dev/null\n" .
	"ZCONFIG=/tmp/other/zmailer.conf runqueue -1 >/dev/null 2>&1 || :\ncat /tmp/seen\n", "/tmp/other/zmailer.conf\n",
	'also one that ZCONFIG names');
says("lmtp --help | head -n 1\nlmtp-probe --help | grep -c ^usage\n", "usage: lmtp [option ...] [host]\n1\n", 'the agent is in the path');
$machine->stop;
done_testing;
