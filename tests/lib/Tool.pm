package Tool;

# Runs the programs of db/ and looks at what they say.

use v5.36;
use Exporter 'import';
use File::Temp ();
use IPC::Open3 ();
use Symbol ();

our @EXPORT = qw(preload scratch run spew slurp tool);

my $directory;

# A directory that goes with the test; a path in it if a name is given.
sub scratch($name = undef) {
	$directory //= File::Temp::tempdir('zlt-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	return defined $name ? "$directory/$name" : $directory;
}

sub tool($name) { return "$ENV{BUILD_DIR}/db/$name" }

sub spew($path, $text) {
	open my $file, '>:raw', $path or die "$path: $!\n";
	print $file $text;
	close $file or die "$path: $!\n";
	return $path;
}

sub slurp($path) {
	open my $file, '<:raw', $path or die "$path: $!\n";
	local $/;
	return scalar <$file> // '';
}

# A library for LD_PRELOAD, made of one source by what compiled the programs ("ccache gcc"); undef where nothing can.
sub preload($source) {
	my $library = scratch($source =~ s{.*/}{}r =~ s/\.c$/.so/r);
	my $compiler = $ENV{ZLMTP_CC} || 'cc';
	return system("$compiler -shared -fPIC -o $library $source -ldl") == 0 ? $library : undef;
}

# run([program, arguments...], in => text, env => {...}, before => sub in the child).  Output, errors, exit
# status (-SIGNAL if it was killed) come back as a hash.
sub run($command, %how) {
	my $in = spew(scratch('.in'), $how{in} // '');
	my ($out, $err) = (scratch('.out'), scratch('.err'));
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDIN, '<', $in or die;
		open STDOUT, '>', $out or die;
		open STDERR, '>', $err or die;
		$ENV{$_} = $how{env}{$_} for keys %{ $how{env} // {} };
		chdir $how{cd} or die "$how{cd}: $!\n" if $how{cd};
		$how{before}->() if $how{before};
		exec { $command->[0] } $how{name} // $command->[0], @$command[1 .. $#$command] or exit 127;
	}
	local $SIG{ALRM} = sub { kill 'KILL', $pid };
	alarm($how{limit} // 120);
	waitpid $pid, 0;
	my $status = $?;
	alarm 0;
	return { out => slurp($out), err => slurp($err), status => $status & 127 ? -($status & 127) : $status >> 8 };
}

1;
