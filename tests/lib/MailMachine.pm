package MailMachine;

# A mail machine of a site that has several: a directory with a post office, maps that ldapsync copies from the directory, an intake
# and a runqueue with its agents.  Nothing of it is shared with other machines.
#
#   my $m = MailMachine->new(name => 'm1', sync => "uri ...\n", stores => { store1 => $path });
#   $m->start; $m->crash; $m->start; $m->stop;

use v5.36;
use Cwd ();
use File::Path ();
use POSIX ();
use Time::HiRes qw(sleep time);
use Intake;
use RealServer;
use Spool;

my $build = Cwd::abs_path($ENV{BUILD_DIR} // '.');
my %running;

# Options: name; sync: text of ldapsync.conf but for its map; stores: paths of LMTP sockets by host.
sub new($class, %o) {
	my $dir = RealServer::directory();
	my $self = bless { directory => $dir, dir => "$dir", pids => {}, %o }, $class;
	File::Path::make_path("$dir/var/db", "$dir/share");
	$self->{spool} = Spool->new("$dir/po");
	my $map = $self->map;
	Spool->put("$dir/zenv", "POSTOFFICE=$dir/po\nMAILVAR=$dir/var\nMAILSHARE=$dir/share\nMAILBIN=$dir\n");
	Spool->put("$dir/var/db/dbases.conf", "fqdnroutes btree - -r $map -lm%:\n");
	Spool->put("$dir/var/db/router.conf", "hostname=$o{name}.mail.example\n");
	Spool->put("$dir/ldapsync.conf", "$o{sync}map $map\ntype btree\nrule users\nfilter (objectClass=account)\nkey {mail}\nvalue lmtp!{host}!{uid}%2\n");
	Spool->put("$dir/share/scheduler.conf", join '', map {
		"lmtp/$_\n\tinterval=1s retries=1 maxring=4 command=\"$build/channel/lmtp -c \$channel -F UNIX:$o{stores}{$_} -l $dir/lmtp.log \$host\"\n"
	} sort keys $o{stores}->%*);
	return $self;
}

sub name($self) { $self->{name} }
sub map($self) { "$self->{dir}/var/db/users" }
sub lmtp($self) { "$self->{dir}/in/lmtp" }
sub smtp($self) { "$self->{dir}/in/smtp" }

my %commands = (
	ldapsync => sub ($m) { ("$build/db/ldapsync", '-v', '-f', "$m->{dir}/ldapsync.conf", '-w') },
	intake => sub ($m) { ("$build/channel/intake", '-f', "$m->{dir}/var/db/dbases.conf", '-o', 'protocols=routes',
		'-L', 'lmtp:UNIX:' . $m->lmtp . ',mode=0666', '-L', 'smtp:UNIX:' . $m->smtp . ',mode=0666') },
	runqueue => sub ($m) { ("$build/channel/runqueue", '-v', '-w') },
);

# Starts one of its programs, or all that do not run.
sub start($self, @programs) {
	mkdir "$self->{dir}/in";
	for my $program (@programs ? @programs : qw(ldapsync intake runqueue)) {
		next if $self->{pids}{$program};
		my $pid = fork // die "fork: $!\n";
		if ($pid == 0) {
			open STDIN, '<', '/dev/null';
			open STDOUT, '>>', "$self->{dir}/$program.log";
			open STDERR, '>&', \*STDOUT;
			$ENV{ZCONFIG} = "$self->{dir}/zenv";
			no warnings 'exec';
			exec $commands{$program}->($self);
			POSIX::_exit(127);
		}
		$running{$pid} = 1;
		$self->{pids}{$program} = $pid;
	}
	return $self;
}

# Waits until it has a map and takes mail.
sub ready($self) {
	RealServer::wait_for("the map of $self->{name}", 60, sub { -e $self->map . '.db' || glob $self->map . '.*' });
	RealServer::wait_for("intake of $self->{name}", 60, sub { eval { IntakeDialogue->new($self->lmtp); 1 } });
	return $self;
}

sub descendants($pid) {
	my @children = map { split ' ', Spool::slurp($_) // '' } glob "/proc/$pid/task/*/children";
	return map { ($_, descendants($_)) } @children;
}

# All of it is gone at once, as when the power fails, but for what is on the disk.
sub crash($self) {
	my @roots = values $self->{pids}->%*;
	kill 'KILL', $_, descendants($_) for @roots;
	waitpid $_, 0 for @roots;
	delete @running{@roots};
	$self->{pids} = {};
}

# Ends a program, or all, as an operator does.
sub stop($self, @programs) {
	for my $program (@programs ? @programs : qw(intake runqueue ldapsync)) {
		my $pid = delete $self->{pids}{$program} // next;
		RealServer::end_process($pid, 'TERM', 30);
		delete $running{$pid};
	}
}

# Number of messages in its queue.
sub waiting($self) { scalar(() = glob "$self->{dir}/po/transport/[0-9]*") }

# What the map says: key => value.
sub records($self) {
	my %records = map { /^(\S+?):?\s+(\S.*)$/ ? ($1 => $2) : () } grep { !/^#/ } qx{'$build/db/dblookup' -t btree --dump '@{[$self->map]}' 2>/dev/null};
	return \%records;
}

# The file of its map.
sub bytes($self) { Spool::slurp($self->map . '.db') // '' }

sub said($self, $program) { Spool::slurp("$self->{dir}/$program.log") // '' }

sub DESTROY($self) {
	local ($?, $@, $!);
	$self->crash if $self->{pids}->%*;
}

END {
	local $?;
	kill 'KILL', $_, descendants($_) for keys %running;
}

1;
