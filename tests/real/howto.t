#!/usr/bin/perl
# The samples of router-scripts from end to end: addresses go through text maps and a live one by enqueue, runqueue and lmtp
# into mailboxes and folders of real stores, as ZMailer's guide to Cyrus has it.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use Test::More;
use RealCyrus;
use RealDovecot;
use Spool;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $source = $ENV{SRC_DIR} // "$FindBin::Bin/../..";
my $top = File::Temp->newdir('/tmp/zlmtp-howto-XXXXXX');
my $message = 0;

chmod 0755, $top;
for my $store (
	{ name => 'Cyrus', class => 'RealCyrus', missing => RealCyrus::missing(), folder => 'Junk', mailbox => 'user1' },
	{ name => 'Dovecot', class => 'RealDovecot', missing => RealDovecot::missing(), folder => 'News',
		mailbox => 'fg56778', virtual => RealDovecot::DOMAIN, start => [users => ['fg56778']] },
) {
	subtest $store->{name} => sub {
		plan skip_all => $store->{missing} if $store->{missing};
		end_to_end($store, "$top/$store->{name}");
	};
}
done_testing;

sub slurp($path) { Spool::slurp($path) }

sub write_file($path, $text) {
	open my $out, '>', $path or die "$path: $!";
	print $out $text;
	close $out or die "$path: $!";
}

sub run_ok($name, @command) {
	my $out = "$top/out";
	my $status = system 'sh', '-c', 'out=$1; shift; "$@" >"$out" 2>&1 </dev/null', 'sh', $out, @command;
	is $status, 0, $name or diag slurp($out);
}

# The sample maps with the users of this store, built; returns the directory.
sub make_maps($dir, $mailbox, $user1, $user2) {
	my $var = "$dir/var";
	my %change = (
		'dbases.conf' => sub { $> == 0 ? $_[0] : $_[0] =~ s/root:0:644/-/gr },
		'fqdnaliases' => sub { $_[0] =~ s/fg56778/$mailbox/r },
		'fqdnroutes-local' => sub { $_[0] =~ s/cyrus-user%2/$user1/r =~ s/virtual-user%2\@virtual-domain/$user2/r },
	);

	mkdir $_ or die "$_: $!" for $dir, $var, "$var/db";
	for my $file (glob "$source/router-scripts/db/*") {
		my ($name) = $file =~ m{([^/]+)\z};
		write_file("$var/db/$name", ($change{$name} // sub { $_[0] })->(slurp($file)));
	}
	write_file("$dir/zmailer.conf", "MAILVAR=$var\nPOSTOFFICE=$dir/po\nMAILBIN=$dir\nMAILSHARE=$dir\nDBTYPE=btree\n");
	$ENV{ZCONFIG} = "$dir/zmailer.conf";
	run_ok('newdb builds the local maps', "$build/db/newdb", '-sf', "$var/db/dbases.conf");
	for my $live (qw(aliases fqdnaliases fqdnroutes routes)) {
		run_ok("dbupdate fills live $live", "$build/db/dbupdate", "$var/db/$live", 'replace', $live eq 'routes' ? () : '-a');
	}
	return $var;
}

sub end_to_end($store, $dir) {
	my $server = $store->{class}->start(($store->{start} // [])->@*);
	my $virtual = $store->{virtual};
	# how this store calls its users, in routes and when it is asked for their mail
	my $at = defined $virtual ? "\@$virtual" : '';
	my $var = make_maps($dir, $store->{mailbox}, "user1%2$at", "user2%2$at");
	my $texts = sub ($user, $folder) {
		defined $virtual ? $server->messages($user eq $store->{mailbox} ? $user : "$user$at", $folder)
			: $server->messages(defined $folder ? "$user/$folder" : $user);
	};

	Spool->new("$dir/po");
	write_file("$dir/scheduler.conf", slurp("$source/router-scripts/scheduler.conf.fragment") =~
		s{UNIX:\S+/lmtp}{UNIX:$server->{socket}}gr =~ s{"lmtp }{"$build/channel/lmtp }gr =~ s{-l [^\s"]+}{-l $dir/log}gr);

	# Queues a message for this address, and expects its text there.
	my $arrives = sub ($address, $user, $folder = undef) {
		my $text = 'message ' . ++$message . " of $$";
		open my $to, '|-', "$build/channel/enqueue -s ann\@example.org '$address' >/dev/null" or die "enqueue: $!";
		print $to "From: ann\@example.org\nSubject: $text\n\n$text\n";
		ok close($to), "$address: queued";
		run_ok("$address: delivered", "$build/channel/runqueue", '-f', "$dir/scheduler.conf", '-1');
		my $found = grep { /^\Q$text\E$/m } $texts->($user, $folder);
		is $found, 1, "$address: in " . ($folder // 'the inbox') . " of $user";
	};

	$arrives->('user@example.test', 'user1');
	$arrives->("user+$store->{folder}\@example.test", 'user1', $store->{folder});
	$arrives->("USER--$store->{folder}\@Example.Test", 'user1', $store->{folder});
	$arrives->('user@virtual.example.test', 'user2');
	$arrives->('example.user@example.test', $store->{mailbox});
	$arrives->("example.user+$store->{folder}\@example.test", $store->{mailbox}, $store->{folder});
	$arrives->('postmaster@example.test', $store->{mailbox});

	# somebody new, while mail flows
	my $new = 'new.user@example.test';
	isnt system("$build/channel/enqueue -s ann\@example.org $new </dev/null >$top/out 2>&1") >> 8, 0, "$new: not there yet";
	like slurp("$top/out"), qr/\Q$new\E: not found/, "$new: said by name";
	run_ok("$new: dbupdate", "$build/db/dbupdate", "$var/db/fqdnroutes", 'set', $new,
		"smtp-lmtp!cyrus-lmtp-node!user3%2$at");
	$arrives->($new, 'user3');
	is_deeply [ glob "$dir/po/{transport,queue,postman}/*" ], [], 'the queue is empty and nobody got a report';
	$server->stop;
}
