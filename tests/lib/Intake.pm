package Intake;

# An intake with maps, a post office and sockets of its own, and what is in its queue.

use v5.36;
use Cwd ();
use File::Basename ();
use File::Path ();
use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep time);
use Ports;
use Spool;

my $here = Cwd::abs_path(File::Basename::dirname(__FILE__));
my $build = Cwd::abs_path($ENV{BUILD_DIR} // "$here/../..");
my $top = File::Temp->newdir('/tmp/zli-XXXXXX');
my $count = 0;

# routes, lists: text of the maps fqdnroutes and fqdnaliases; dbases: text of dbases.conf; arguments: of intake, as a list; before: what runs intake, as a list;
# prepare: is called with the name of the post office before that is made;
# listen: what -L says (default: an LMTP and an SMTP socket in the file system); wait => 0: do not wait until it answers.
sub start($class, %o) {
	my $dir = "$top/" . ++$count;
	File::Path::make_path($dir);
	chmod 0755, "$top", $dir;
	$o{prepare}->("$dir/po") if $o{prepare};
	my $self = bless { dir => $dir, spool => Spool->new("$dir/po"), o => \%o }, $class;
	Spool->put("$dir/zenv", "POSTOFFICE=$dir/po\n" . ($o{zenv} // ''));
	Spool->put("$dir/lists", $o{lists}) if defined $o{lists};
	Spool->put("$dir/dbases.conf", $o{dbases} // (defined $o{lists} ? "fqdnaliases btree - -la $dir/lists -lm%\n" : '')
		. "fqdnroutes btree - -la $dir/routes -lm%:\n");
	$self->routes($o{routes} // "ann\@example.org: lmtp!store!ann\nbob\@example.org: lmtp!store!bob\n"
		. "away\@example.net: smtp!example.net!away\@example.net\nnothing\@example.org: bitbucket!-!-\n");
	$self->again if $o{run} // 1;
	return $self;
}

# Starts it, or starts it again.
sub again($self) {
	my ($dir, $o) = @$self{qw(dir o)};
	my @listen = map { ('-L', $_) } @{$o->{listen} // ["lmtp:UNIX:$dir/lmtp", "smtp:UNIX:$dir/smtp"]};
	$self->_run(@{$o->{before} // []}, "$build/channel/intake", '-f', "$dir/dbases.conf", '-o', 'protocols=routes', @listen, @{$o->{arguments} // []});
	return if defined $o->{wait} && !$o->{wait};
	my ($first) = map { /UNIX:([^,]*)/ ? $1 : /\[(.*)\]:(\d+)/ ? [$1, $2] : () } @{$o->{listen} // ["lmtp:UNIX:$dir/lmtp"]};
	die "intake does not answer:\n" . $self->said if defined $first && !$self->answers($first);
}

sub _run($self, @command) {
	$self->{pid} = fork // die "fork: $!\n";
	if (!$self->{pid}) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{dir}/err";
		open STDERR, '>&', \*STDOUT;
		$ENV{ZCONFIG} = "$self->{dir}/zenv" if !$self->{shown};
		exec @command or POSIX::_exit(127);
	}
}

# What a page shows, by a shell that becomes the server.
sub run_as_shown($class, $text) {
	my $dir = "$top/" . ++$count;
	File::Path::make_path($dir);
	my $self = bless { dir => $dir, shown => 1 }, $class;
	$self->_run('sh', '-c', "exec $text");
	return $self;
}

sub dir($self) { $self->{dir} }
sub office($self) { "$self->{dir}/po" }
sub pid($self) { $self->{pid} }
sub said($self) { Spool::slurp("$self->{dir}/err") // '' }
sub lmtp($self) { IntakeDialogue->new("$self->{dir}/lmtp") }
sub smtp($self) { IntakeDialogue->new("$self->{dir}/smtp") }

sub routes($self, $text) {
	Spool->put("$self->{dir}/routes", $text);
	system("cd '$self->{dir}' && '$build/db/newdb' -sf dbases.conf") == 0 or die "newdb failed\n" if !$self->{o}{dbases};
}

# Does something greet there within ten seconds?
sub answers($self, $where) {
	my $end = time + 10;
	while (time < $end) {
		return 1 if eval { IntakeDialogue->new($where); 1 };
		return 0 if waitpid($self->{pid}, POSIX::WNOHANG()) > 0;
		sleep 0.02;
	}
	return 0;
}

# Job names in the queue.
sub queued($self) {
	my $transport = $self->office . '/transport';
	my @names = sort { $a <=> $b } map { s{.*/}{}r } grep { m{/\d+\z} } glob "$transport/*";
	return @names;
}

# Everything in the post office that is not a message in the queue, nor the journal.
sub litter($self) {
	my $office = $self->office;
	my %known = map { $_ => 1 } $self->queued;
	my @found;
	require File::Find;
	File::Find::find({ no_chdir => 1, wanted => sub {
		return if -d;
		my ($place, $name) = m{\Q$office\E/([^/]+)/(.*)};
		push @found, $_ unless $_ eq "$office/.journal.intake" || defined $place && $place =~ /^(?:transport|queue)$/ && $known{$name};
	} }, $office);
	return @found;
}

# Control file, taken apart, and text of a message in the queue: header and body as they will leave.
sub message($self, $job) {
	my $control = Spool::parse($job, Spool::slurp($self->office . "/transport/$job"));
	my $file = Spool::slurp($self->office . "/queue/$job");
	die "$job: the files are damaged\n" if !defined $control->{offset} || !defined $file || length $file < $control->{offset};
	return ($control, $control->{recipients}[0]{header}, substr $file, $control->{offset});
}

sub forget_all($self) {
	# what no mark in it says to be on the disk would come back
	unlink $self->office . '/.journal.intake' if !$self->{pid};
	unlink map { ($self->office . "/transport/$_", $self->office . "/queue/$_") } $self->queued;
}

# FNV-1a, as eight bytes.
sub hash_of($bytes) {
	use integer;
	my $hash = unpack 'q', pack 'Q', 14695981039346656037;
	$hash = ($hash ^ $_) * 1099511628211 for unpack 'C*', $bytes;
	return pack 'q', $hash;
}

# What entries of the journal are hashed with.
sub journal_key($self) { return substr Spool::slurp($self->office . '/.journal.intake'), 8, 8 }

# The marks say what is settled; without that all that is in the journal is looked for.
sub forget_marks($self) {
	my $mark = 'zlmtp M1' . $self->journal_key . pack 'Q', 0;
	open my $file, '+<', $self->office . '/.journal.intake' or die "$!\n";
	for my $page (0, 1) {
		sysseek $file, 4096 * $page, 0;
		syswrite $file, $mark . hash_of($mark);
	}
}

# Ends it; its exit status.
sub stop($self, $signal = 'TERM') {
	my $pid = delete $self->{pid} // return undef;
	kill $signal, $pid;
	my $end = time + 20;
	until (waitpid($pid, POSIX::WNOHANG())) {
		if (time > $end) {
			kill 'KILL', $pid;
			waitpid $pid, 0;
			return 'killed';
		}
		sleep 0.01;
	}
	return $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
}

sub DESTROY($self) { local $?; $self->stop if $self->{pid} }

package IntakeDialogue;

# A client that says what it is told to.

use v5.36;
use IO::Socket::IP;
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);
use Time::HiRes qw(time);

# $where: path, or [address, port].  Dies unless it is greeted.
sub new($class, $where, %o) {
	my $fh = ref $where
		? IO::Socket::IP->new(PeerHost => $where->[0], PeerPort => $where->[1], Type => SOCK_STREAM, $o{from} ? (LocalHost => $o{from}) : ())
		: IO::Socket::UNIX->new(Peer => $where, Type => SOCK_STREAM);
	die "cannot connect: $!\n" if !$fh;
	my $self = bless { fh => $fh, in => '', lmtp => ref $where || $where !~ /smtp\z/ ? 1 : 0 }, $class;
	$self->{lmtp} = $o{lmtp} if defined $o{lmtp};
	$self->{greeting} = $self->reply // '';
	die "no greeting\n" if $self->{greeting} eq '';
	return $self;
}

sub greeting($self) { $self->{greeting} }

sub send($self, $bytes) {
	local $SIG{PIPE} = 'IGNORE';
	my $at = 0;
	while ($at < length $bytes) {
		my $n = syswrite $self->{fh}, $bytes, length($bytes) - $at, $at;
		return 0 if !defined $n;
		$at += $n;
	}
	return 1;
}

# More bytes; false at the end, dies when nothing comes.
sub _more($self, $patience) {
	my $in = '';
	vec($in, fileno $self->{fh}, 1) = 1;
	die "no reply within $patience s, only: $self->{in}\n" if !select $in, undef, undef, $patience;
	return sysread $self->{fh}, $self->{in}, 65536, length $self->{in};
}

# The next reply, with its lines as they came; '' if the server closes instead.
sub reply($self, $patience = 20) {
	for (;;) {
		return $1 if $self->{in} =~ s/\A((?:\d\d\d-[^\n]*\n)*\d\d\d(?: [^\n]*)?\n)//;
		return '' if !$self->_more($patience);
	}
}

# Says a line and gives the reply.
sub say($self, $line) {
	$self->send("$line\r\n");
	return $self->reply;
}

# Everything until the server closes.
sub rest($self, $patience = 20) {
	1 while $self->_more($patience);
	my $rest = $self->{in};
	$self->{in} = '';
	return $rest;
}

sub silent($self, $seconds = 0.2) {
	my $in = '';
	vec($in, fileno $self->{fh}, 1) = 1;
	return $self->{in} eq '' && !select $in, undef, undef, $seconds;
}

sub hello($self) { $self->say($self->{lmtp} ? 'LHLO client.example' : 'EHLO client.example') }
sub close($self) { close $self->{fh} }
sub shut($self) { shutdown $self->{fh}, 1 }
sub handle($self) { $self->{fh} }

# A whole message, its lines ended by LF here; the replies to MAIL, each RCPT, DATA and the end, each in a list of its own.
sub message($self, $from, $to, $text, %o) {
	my @replies;
	push @replies, [$self->hello] if !$self->{greeted}++;
	push @replies, [$self->say("MAIL FROM:<$from>" . ($o{mail} // ''))];
	my $good = 0;
	for my $r (@$to) {
		push @replies, [$self->say("RCPT TO:<$r>" . ($o{rcpt} // ''))];
		$good++ if $replies[-1][0] =~ /^2/;
	}
	push @replies, [$self->say('DATA')];
	return @replies if $replies[-1][0] !~ /^3/;
	$self->send(($text =~ s/^\./../mgr =~ s/\n/\r\n/gr) . ".\r\n");
	push @replies, [$self->reply] for 1 .. ($self->{lmtp} ? $good : 1);
	return @replies;
}

1;
