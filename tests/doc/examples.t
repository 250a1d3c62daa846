#!/usr/bin/perl
# Everything that a manual page shows to be typed is typed as printed, with real servers where the page has some, and every
# file that it shows is read by the program that it is for.
#
# All this happens in a copy of the system's directories in name spaces of its own, where the very paths, ports and names of
# the pages can be used.  What a page shows is, in this order:
#   a session      "$ " in front of commands: each succeeds and prints what is printed here ("..." is any text; if nothing
#                  at all is printed, nothing is promised)
#   commands       the first word is a program: the block succeeds as a whole under "sh -e"
#   a file         the words before it, or %pages, say which; it is written, and what follows or `after` reads it
#   none of these  then it stands in %only_shown with the reason

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path ();
use File::Temp ();
use Test::More;
use Certificates;
use Intake;
use Manual;
use RealCyrus;
use RealDovecot;
use RealPostfix;
use RunQueue;
use RealServer;
use RealSlapd;
use Spool;

my $source = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $build = $ENV{BUILD_DIR} // $source;
my $post = '/var/spool/postoffice';
my $db = '/var/mail/db';

# page => files: where its files go, in the order of the blocks, if the page does not say that; missing: why its peers cannot be had; serves: its
# commands do not end; before: what is there when it begins; after: what is done with its files, and what must have come of it.
my %pages = (
	'dbases.conf.5' => { files => ["$db/dbases.conf"], before => \&sample_texts },
	'dbserve.8' => { files => ['table'] },
	'dbupdate.8' => { before => \&sample_maps_in_place },
	'enqueue.8' => { before => \&sample_maps, after => sub { is(queued(), 2, 'two messages are in the queue') } },
	'intake.8' => { serves => 1, missing => sub { RealPostfix->unavailable }, before => \&maps_of_a_small_site, after => \&mail_comes_in },
	'ldap_map.5' => { missing => \&RealSlapd::missing, before => \&directory_server },
	'ldapsync.8' => { missing => \&RealSlapd::missing, before => \&directory_server },
	'lmtp.8' => { missing => sub { RealCyrus::missing() // RealDovecot::missing() },
		before => sub { (cyrus(), dovecot_with_ann()) }, after => \&both_ways },
	'map_text.5' => { files => ['routes', 'fqdnaliases'] },    # the second is "of this name"
	'newdb.8' => { before => \&sample_texts },
	'zlmtp-report.8' => { before => \&sample_maps_in_place },
	'runqueue.8' => { files => ['scheduler.conf'], missing => \&RealDovecot::missing, before => \&dovecot_and_mail,
		after => sub ($dovecot) { is(arrived($dovecot, 'user1'), 1, 'the message is delivered') } },
	'sql_map.5' => { files => ['users.cf'] },
	'sqlsync.8' => { files => ['users.conf', 'users.sql'] },
	'sleepyenv.conf.5' => { files => ["$db/sleepyenv.conf", "$db/dbases.conf"], before => \&sample_texts },
	'smtp-auth-secrets.5' => { files => ["$db/smtp-auth-secrets.txt"], missing => \&RealCyrus::missing, before => \&cyrus,
		after => \&both_lines },
	'tls.conf.5' => { files => ['tls.conf', 'tls-socket.conf'], missing => \&RealDovecot::missing, before => \&dovecot_with_tls,
		after => \&both_verified },
	'zlmtp-queue.8' => { before => \&a_queue_to_work_on, after => sub {
		is_deeply([must("zlmtp-queue list state=waiting\n") =~ m{(lmtp/\S+)}g], ['lmtp/store2'], 'one is left, for the store of the maps');
	} },
	'zlmtp-check.8' => { missing => \&RealDovecot::missing, before => \&well_kept, after => sub { unlink "$post/.pid.scheduler" } },
	'zlmtp-forms.5' => { files => ['delay', 'router.conf'], after => \&form_and_settings },
	'zlmtp-sendmail.8' => { missing => \&no_git, before => \&intake_and_patches, after => sub ($intake) { is(scalar $intake->queued, 2, 'two messages are in the queue'); unlink '/etc/zmailer/scheduler.conf' } },
	'zlmtp.7' => { missing => \&RealDovecot::missing, before => \&dovecot, after => sub ($dovecot) {
		is(arrived($dovecot, 'ann', 'box'), 1, 'the message is in the folder box of ann');
	} },
);

# "PAGE: first words" => why there is nothing to be done with it.
my %only_shown = (
	'sql_map.5: fqdnaliases  mysql' => 'a line for dbases.conf; tests/real/sql-maps.t has such files',
	'sql_map.5: keyword = value' => 'the shape of lines',
	'dbases.conf.5: RELATION TYPE' => 'names of the fields',
	'map_text.5: # a comment' => 'the shape of lines, "key" and "value" standing for others',
	'runqueue.8: ID                AGE' => 'what a list looks like',
	'smtp-auth-secrets.5: channel  host' => 'names of the fields',
	'tls.conf.5: TLSv1.3, TLS_AES' => 'part of a log line, whose certificate is the reader\'s',
	'zlmtp-check.8: command[zlmtp]' => 'lines for a monitoring system',
	'zlmtp-check.8: */5' => 'a line for cron',
	'zlmtp.7: text' => 'a drawing',
	'zlmtp.7: event=queued' => 'what log lines look like',
	'intake.8: event=queued' => 'what a log line looks like',
	'intake.8: intake:' => 'a transport for Exim; tests/real/intake-mtas.t has such',
	'zlmtp-sendmail.8: sendmail_path' => 'a line of php.ini',
	'intake.8: action "intake"' => 'a line for OpenSMTPD; tests/real/intake-mtas.t has such',
	'ldap_map.5: fqdnaliases  ldap' => 'a line for dbases.conf; tests/real/ldap.t has such',
	'ldap_map.5: keyword value' => 'the shape of lines',
	'ldapsync.8: ssh neighbour' => 'another machine; tests/real/ldapsync-copy.t has such',
	'ldapsync.8: domains_command' => 'a line for its file, naming a program of ZMailer',
);

my @commands = qw(newdb makedb dbupdate dblookup ldapsync enqueue runqueue intake zlmtp-sendmail zlmtp-check zlmtp-queue zlmtp-report lmtp git printf echo cat cd openssl);

enter_name_spaces();
my $top = File::Temp->newdir('/tmp/zle-XXXXXX');
chmod 0755, "$top";
install_programs();
make_system();
my @pages = @ARGV ? @ARGV : sort glob "$source/doc/*.[1-9]";
cmp_ok(scalar @pages, '>', 5, 'there are pages') if !@ARGV;
my %shown;
carry_out($_) for @pages;
is(join(', ', grep { my ($page) = /^(.*?):/; !$shown{$_} && -e "$source/doc/$page" } sort keys %only_shown), '',
	'what is listed as only shown is shown') if !@ARGV;
done_testing;

# ---- the place ----

# This very test, again: as the first process of its own name spaces, with which everything that it starts goes.
sub enter_name_spaces() {
	return prepare_mounts() if $ENV{ZLMTP_WITHIN};
	plan skip_all => 'needs root' if $> != 0;
	plan skip_all => 'no unshare(1) or no name spaces here' if system 'unshare -mpnuf true 2>/dev/null';
	plan skip_all => 'no ip(8) here (Debian: iproute2)' if system 'ip link >/dev/null 2>&1';
	$ENV{ZLMTP_WITHIN} = 1;
	exec qw(unshare --mount --pid --net --uts --fork --kill-child --mount-proc --propagation private), $^X, $0, @ARGV
		or die "unshare: $!\n";
}

# /etc, /var and /usr/local can be written to, and nothing of it stays; /run is empty; all ports of loopback are free.
sub prepare_mounts() {
	my $script = <<'END';
ip link set lo up
hostname mail.example.test
mount -t tmpfs tmpfs /mnt
for d in etc var usr/local; do
	u=/mnt/$(echo $d | tr / -)
	mkdir $u $u.work
	mount -t overlay -o lowerdir=/$d,upperdir=$u,workdir=$u.work overlay /$d
done
mount -t tmpfs tmpfs /run
mkdir /run/lock
rm -f /etc/zmailer.conf
END
	plan skip_all => 'no overlay file system here' if system 'sh', '-ec', $script;
}

# As "make install" does it.
sub install_programs() {
	my $libexec = '/usr/local/libexec/zlmtp';
	File::Path::make_path("$libexec/ta", '/usr/local/sbin');
	system('cp', glob("$build/channel/lmtp{,-probe}"), "$libexec/ta") == 0 or die "no channel/lmtp\n";
	for my $program (grep { -x } glob "$build/db/{newdb,dbupdate,dblookup,dbserve,ldapsync,sqlsync} $build/channel/{enqueue,runqueue,intake,zlmtp-sendmail,zlmtp-check,zlmtp-queue,zlmtp-report}") {
		my ($name) = $program =~ m{([^/]+)\z};
		system('cp', $program, "$libexec/$name") == 0 or die "$name\n";
		symlink "$libexec/$name", "/usr/local/sbin/$name" or die "$name: $!\n";
	}
	system('cp', glob("$build/db/*.so"), $libexec) == 0 or die "no shared objects\n";
	symlink 'newdb', "$libexec/makedb" or die "makedb: $!\n";
	$ENV{PATH} = "/usr/local/sbin:$libexec:$libexec/ta:/usr/sbin:/usr/bin:/sbin:/bin";
}

# A mail system without maps and mail.
sub make_system() {
	Spool->new($post);
	File::Path::make_path('/etc/zmailer', '/var/lib/zmailer/db', $db, '/var/run/cyrus/socket', '/run/dovecot', '/run/slapd', '/var/lib/zlmtp');
	put('/etc/zmailer/zmailer.conf', <<"END");
MAILBIN=/usr/local/libexec/zlmtp
MAILSHARE=/etc/zmailer
MAILVAR=/var/mail
POSTOFFICE=$post
END
	$ENV{ZCONFIG} = '/etc/zmailer/zmailer.conf';
	open my $hosts, '>>', '/etc/hosts' or die "/etc/hosts: $!\n";
	print $hosts "127.0.0.1 node7.example.net ldap1.example ldap2.example\n";
	close $hosts or die;
}

sub put($path, $text, $mode = 0644) { RealServer::write_file($path, $text, $mode) }

# Between pages.
sub clean_system() {
	delete $ENV{MAILVAR};
	system 'sh', '-c', "rm -rf $db/* $db/.??* $post/transport/* $post/queue/* /run/lmtp";
}

# ---- a page ----

sub carry_out($path) {
	my @blocks = eval { Manual::blocks($path) };
	return fail("$path: $@") if $@;
	my @todo = grep { !is_only_shown($_) } @blocks;
	return fail("$path has examples") if !grep { $_->{section} eq 'EXAMPLES' } @todo;
	my $page = $todo[0]{page};
	my $how = $pages{$page} // {};
	subtest $page => sub {
		my $missing = $how->{missing} ? $how->{missing}->() : undef;
		plan skip_all => $missing if $missing;
		my $dir = "$top/$page";
		mkdir $dir or die "$dir: $!\n";
		chdir $dir or die "$dir: $!\n";
		clean_system();
		put('message', "From: ann\@example.org\nSubject: test\n\nHello.\n");
		my @peers = $how->{before} ? $how->{before}->() : ();
		my @files = @{$how->{files} // []};
		follow($_, \@files, $how->{serves} ? \@peers : undef) for @todo;
		is("@files", '', 'all its files are shown');
		chdir $dir or die;
		$how->{after}->(@peers) if $how->{after};
		$_->stop for @peers;
		chdir '/';
	};
}

sub is_only_shown($block) {
	my $text = $block->{text} =~ s/\A\s+//r;
	my ($key) = grep { my ($page, $begin) = split /: /, $_, 2; $page eq $block->{page} && index($text, $begin) == 0 }
		keys %only_shown;
	$shown{$key} = 1 if defined $key;
	return defined $key;
}

# With $servers, commands do not end: what they start is added there.
sub follow($block, $files, $servers) {
	my $where = "$block->{page}:$block->{line}";
	my ($first) = $block->{text} =~ /([^\s(]+)/;
	if ($block->{text} =~ /\A\$ /) {
		try_session($where, Manual::session($block->{text}));
	} elsif ($servers && grep { $_ eq $first } @commands) {
		push @$servers, Intake->run_as_shown($block->{text});
		pass("$where: a server is started");
	} elsif (grep { $_ eq $first } @commands) {
		my ($status, $said) = type("set -e\n$block->{text}");
		is($status, 0, "$where: the commands succeed") or diag $said;
	} elsif (defined(my $file = shift @$files // $block->{file})) {
		put($file, $block->{text}, 0600);
		pass("$where: $file");
	} else {
		fail("$where: neither commands nor a file that tests/doc/examples.t knows");
	}
}

# The form and the settings of zlmtp-forms.5, in a report.
sub form_and_settings() {
	my %in = map { my $file = $_; $file => join '', map { sprintf '%%%02X', ord } split //, slurp($file) } qw(delay router.conf);
	put('description', "kind=delay\nform=$in{delay}\nconf=$in{'router.conf'}\nrecipient=\naddress=bob\@example.net\n\nSubject: x\n");
	my ($status, $said) = type("$build/tests/lib/report <description 2>&1");
	like($said, qr/^composed$/m, 'both are taken');
	like($said, qr/^Subject: Not delivered yet: x$/m, 'the form has its subject');
	like($said, qr/Questions: postmaster\@example\.org, please give/, 'and the postmaster of the settings');
}

sub slurp($path) {
	open my $in, '<', $path or die "$path: $!\n";
	local $/;
	return scalar <$in>;
}

sub try_session($where, @steps) {
	my $script = join '', map { "(exit \$s)\n$_->{command}s=\$?; echo \"=== \$s\"\n" } @steps;
	my $promised = grep { $_->{output} ne '' } @steps;
	my (undef, $said) = type("s=0\n$script");
	for my $i (0 .. $#steps) {
		my ($command) = $steps[$i]{command} =~ /(.*)/;
		my ($got, $status) = $said =~ s/\A(.*?)^=== (\d+)\n//ms ? ($1, $2) : ($said, 'none');
		like($got, Manual::promise($steps[$i]{output}), "$where: $command") if $promised;
		# whose status is asked for may fail
		next if $i < $#steps && $steps[$i + 1]{command} eq "echo \$?\n";
		is($status, 0, "$where: $command: succeeds") or diag $got;
	}
}

# Standard output and error as they come; a program in the background does not keep us waiting.
sub type($script) {
	put("$top/typed", $script);
	my $status = system "sh $top/typed >$top/said 2>&1 </dev/null";
	return ($status >> 8, Spool::slurp("$top/said") // '');
}

# For befores and afters.
sub must($script) {
	my ($status, $said) = type("set -e\n$script");
	is($status, 0, $script =~ s/\n.*//sr) or diag $said;
	return $said;
}

# ---- peers and maps ----

sub sample_texts() {
	system("cp $source/router-scripts/db/* $db") == 0 or die "no samples\n";
	return ();
}

sub sample_maps() {
	sample_texts();
	must("newdb -sf $db/dbases.conf\nfor m in aliases fqdnaliases fqdnroutes; do dbupdate $db/\$m replace -a; done\n"
		. "dbupdate $db/routes replace\n");
	return ();
}

sub sample_maps_in_place() {
	sample_texts();
	must("sed -i '/fqdnroutes.*-r/s;-lm%:;-lm%:C \$MAILVAR/db/sleepyenv.conf;' $db/dbases.conf\n"
		. "dbupdate $db/fqdnroutes replace -a\n");
	return ();
}

sub queued() { return scalar grep { -f } glob "$post/transport/*" }

sub send_mail($channel, $host, $user) {
	must("enqueue -P $post -s ann\@example.org -r '$channel,$host,$user' < message\n");
}

# A user who has moved since, one whose mailbox is closed, spam, and an old message; all wait for one store.
sub a_queue_to_work_on() {
	put("$db/dbases.conf", "fqdnroutes btree - -la fqdnroutes -lm%:\n");
	put("$db/fqdnroutes", "ann\@example.org: lmtp!store1!ann\n");
	must("newdb -sf $db/dbases.conf\nenqueue -s ann\@example.org ann\@example.org < message\n");
	must("find $post/queue $post/transport -type f -exec touch -d '3 days ago' {} +\n");
	put("$db/fqdnroutes", "ann\@example.org: lmtp!store2!ann\n");
	must("newdb -sf $db/dbases.conf\nenqueue -s '<>' -r lmtp,store1,bob < message\nenqueue -s x\@spam.example -r lmtp,store1,ann < message\n");
	return ();
}

sub dovecot(%more) {
	my $dovecot = RealDovecot->start(count => 2, users => ['ann'], %more);
	unlink '/run/lmtp', '/run/dovecot/lmtp';
	symlink $dovecot->{socket}, $_ or die "$_: $!\n" for '/run/lmtp', '/run/dovecot/lmtp';
	return $dovecot;
}

# The maps know her as well.
sub dovecot_with_ann() {
	$ENV{MAILVAR} = '/var/mail';
	put("$db/fqdnroutes", "ann\@example.org: smtp-lmtp!node!ann\@example.org\n");
	put("$db/dbases.conf", "fqdnroutes btree - -la fqdnroutes -lm%:\n");
	must("newdb -sf $db/dbases.conf\n");
	return dovecot(users => ['ann@example.org']);
}

sub arrived($store, $user, $folder = undef) {
	return scalar $store->messages($user =~ /^user/ ? "$user\@" . RealDovecot::DOMAIN : $user, $folder);
}

# A server to deliver to, maps as new as their texts, directories that not everybody may read, and somebody who runs the queue.
sub well_kept() {
	sample_texts();
	must("touch -d '1 minute ago' $db/*\nnewdb -sf $db/dbases.conf\n"
		. "for m in aliases fqdnaliases fqdnroutes routes; do echo a b | dbupdate -n -t btree -l $db/\$m replace -; done\n"
		. "chmod 750 $post/transport $post/queue $post/postman\necho $$ > $post/.pid.scheduler\n");
	put('/etc/zmailer/scheduler.conf', qq(lmtp/*\n command="lmtp -c \$channel -F UNIX:/run/dovecot/lmtp -s"\n));
	return dovecot();
}

sub dovecot_and_mail() {
	my $dovecot = dovecot();
	send_mail('lmtp', 'store', 'user1@' . RealDovecot::DOMAIN);
	return $dovecot;
}

sub dovecot_with_tls() {
	my $certificates = Certificates->directory;
	must("cp $certificates/wildcard.pem cert.pem\ncp $certificates/ca.pem /etc/ssl/our-ca.pem\n");
	return dovecot(tls => 'wildcard');
}

# Each of the page's files leads to a verified delivery.
sub both_verified($dovecot) {
	my %way = ('tls.conf' => "-p $dovecot->{port}", 'tls-socket.conf' => '-F UNIX:/run/lmtp');
	for my $file (sort keys %way) {
		put('scheduler.conf', qq(lmtp/*\n command="lmtp -c \$channel -S $top/tls.conf.5/$file $way{$file} -l $top/log"\n));
		unlink "$top/log";
		send_mail('lmtp', 'node7.example.net', 'user1@' . RealDovecot::DOMAIN);
		must("runqueue -1 -P $post -f scheduler.conf\n");
		like(Spool::slurp("$top/log") // '', qr/outcome=delivered .* tls="TLSv1\.3, [^"]*, verified"/, "$file: delivered, verified");
	}
}

sub cyrus() {
	my $cyrus = RealCyrus->start(count => 2, port => 2003);
	unlink '/var/run/cyrus/socket/lmtp';
	symlink $cyrus->{socket}, '/var/run/cyrus/socket/lmtp' or die "symlink: $!\n";
	put("$db/smtp-auth-secrets.txt", "* node7.example.net bG10cHVzZXI= bG10cHNlY3JldA==\n", 0600);
	send_mail('smtp-lmtp', 'unixnode', 'user1');
	return $cyrus;
}

# The page has delivered one message by hand; scheduler.conf does it for both hosts.
sub both_ways($cyrus, $dovecot) {
	is(scalar $cyrus->messages('user1'), 1, 'delivered by hand');
	send_mail('smtp-lmtp', @$_) for ['unixnode', 'user1'], ['node7.example.net', 'user2'];
	must("runqueue -1 -P $post -f scheduler.conf\n");
	is(scalar $cyrus->messages('user1'), 2, 'delivered by socket');
	is(scalar $cyrus->messages('user2'), 1, 'delivered by TCP');
}

sub both_lines($cyrus) {
	put('scheduler.conf', join '', map { "$_/*\n command=\"lmtp -c $_ -p 2003 -A $db/smtp-auth-secrets.txt\"\n" } qw(smtp-lmtp local));
	send_mail('smtp-lmtp', 'node7.example.net', 'user1');
	send_mail('local', '[127.0.0.1]', 'user2');
	must("runqueue -1 -P $post -f scheduler.conf\n");
	is(scalar $cyrus->messages($_), 1, "$_ got it, after AUTH") for qw(user1 user2);
}

# Where programs look for it that are told ldapi:/// and ldaps://.
sub directory_server() {
	my $slapd = RealSlapd->new(users => 2, aliases => 1, tls_port => 636, certificate => 'ldap');
	$slapd->start;
	unlink '/run/slapd/ldapi';
	symlink $slapd->dir . '/ldapi', '/run/slapd/ldapi' or die "symlink: $!\n";
	File::Path::make_path('/etc/ssl/certs');
	must('cat ' . $slapd->ca . " >> /etc/ssl/certs/ca-certificates.crt\n");
	$slapd->change("dn: cn=router,$RealSlapd::suffix\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
		. "cn: router\nuserPassword: routersecret\n");
	put('/etc/zmailer/ldap.secret', "routersecret\n", 0600);
	return $slapd;
}

sub maps_of_a_small_site() {
	must("ip address add 192.0.2.1/32 dev lo\n");
	File::Path::make_path('/etc/zlmtp', '/run/zlmtp');
	Spool->new('/var/spool/zlmtp');
	put('/etc/zlmtp/dbases.conf', "fqdnroutes btree - -la /etc/zlmtp/fqdnroutes -lm%:\n");
	put('/etc/zlmtp/fqdnroutes', "ann\@example.org: lmtp!store!ann\n");
	must("newdb -sf /etc/zlmtp/dbases.conf\n");
	return ();
}

sub mail_comes_in($server, $relay) {
	my $socket = '/run/zlmtp/intake';
	ok($server->answers($socket), 'the server answers') or return diag $server->said;
	is((stat $socket)[2] & 0777, 0660, 'the socket is for owner and group');
	is((stat _)[5], scalar getgrnam('postfix'), '... of Postfix');
	like(join('', map { $_->[0] } IntakeDialogue->new($socket)->message('bob@example.org', ['ann@example.org'], "Subject: x\n\nx\n")),
		qr/^250 2\.0\.0 <ann\@example\.org> queued/m, 'it takes mail');
	is(scalar(grep { -f } glob '/var/spool/zlmtp/transport/*'), 1, 'a message is in the queue');
	ok(RunQueue::wait_for(sub { system('sh', '-c', 'ss -ltn | grep -qF 192.0.2.1:25') == 0 }, 30), 'the other server listens') or diag $relay->said;
}

sub no_git() { return system('git send-email --dump-aliases </dev/null >/dev/null 2>&1') == 0 ? undef : 'no git send-email (Debian: git-email)' }

# An intake where zlmtp-sendmail looks for it, and a patch.
sub intake_and_patches() {
	File::Path::make_path('/run/zlmtp');
	my $intake = Intake->start(listen => ['lmtp:UNIX:/run/zlmtp/intake']);
	$ENV{HOME} = $ENV{XDG_CONFIG_HOME} = "$top";
	must("git config --global user.email bob\@example.org\ngit config --global user.name Bob\n");
	put('/etc/zmailer/scheduler.conf', "*/*\n\tinterval=1m\n");
	put("$top/zlmtp-sendmail.8/x.patch", "From: bob\@example.org\nSubject: [PATCH] x\n\nx\n---\n");
	return $intake;
}
