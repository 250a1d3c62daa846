package ZlmtpQueue;

# zlmtp-queue on the post office of a RunQueue.

use v5.36;
use Exporter 'import';
use JSON::PP ();
use POSIX ();
use Spool;

our @EXPORT = qw(zq zq_start zq_finish rows);

my $build = $ENV{BUILD_DIR} // '.';
my $count = 0;

sub zq_start($q, @arguments) {
	my $name = $q->dir . '/zq' . ++$count;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null' or die;
		open STDOUT, '>', $name or die;
		open STDERR, '>', "$name-err" or die;
		exec "$build/channel/zlmtp-queue", '-P', $q->office, @arguments or POSIX::_exit(127);
	}
	return { pid => $pid, name => $name };
}

# Exit status, stdout, stderr.
sub zq_finish($run) {
	waitpid $run->{pid}, 0;
	return ($? >> 8, map { Spool::slurp($_) } $run->{name}, "$run->{name}-err");
}

sub zq($q, @arguments) { zq_finish(zq_start($q, @arguments)) }

sub rows($q, @filter) {
	my ($status, $out) = zq($q, '-j', 'list', @filter);
	return map { JSON::PP->new->utf8->decode($_) } split /\n/, $out;
}

1;
