#!/usr/bin/perl
# A connection that is lost at every byte the server sends and at every byte it receives, after k of n
# final replies, and servers with final replies too few and too many.  A 2xx for a
# recipient that has arrived counts, a refusal when a later reply proves it; everything else is deferred.  In SMTP the one
# final reply is for all.

use v5.36;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Extent 'long';
use Matrix;

my $build = $ENV{BUILD_DIR} // "$FindBin::Bin/../..";
my $program = $ENV{LMTP} // "$build/channel/lmtp";
-x $program or BAIL_OUT("no $program");

my @ways = (
	{ name => 'lock-step', caps => ['8BITMIME'] },
	{ name => 'PIPELINING', caps => ['PIPELINING'] },
	{ name => 'PIPELINING and CHUNKING', caps => ['PIPELINING', 'CHUNKING'] },
);
@ways = map { my $p = $_; map { { %$_, protocol => $p, name => uc($p) . ", $_->{name}" } } @ways } 'lmtp', 'smtp';
$ways[$_]{number} = $_ for 0 .. $#ways;

# delivered, refused at RCPT, refused at the end
my %mixed = (mail => 2, rcpt => [2, 5, 2], data => 2, final => [2, 2, 5]);

for my $way (@ways) {
	lost_after_sending($way);
	lost_after_receiving($way);
	lost_between_final_replies($way);
	too_many_final_replies($way);
}
done_testing;

sub start($way) { return Matrix->new(program => $program, protocol => $way->{protocol}, caps => $way->{caps}, lenient => 1) }

sub settle_test($matrix, $name, @bad) {
	push @bad, $matrix->finish;
	ok(!@bad, $name) or diag join "\n", map { substr $_, 0, 400 } @bad[0 .. ($#bad > 8 ? 8 : $#bad)];
}

# What the server says in one whole dialogue.
sub whole_dialogue($way) {
	my $matrix = start($way);
	$matrix->run(1, $matrix->add(\%mixed));
	my $said = join '', map { $_->[2] } grep { $_->[1] eq 'S' && $_->[2] !~ /^\(/ } @{$matrix->{server}{transcript}};
	$matrix->finish;
	return $said =~ s/221 .*//r;
}

# The server's stream ends after k bytes, for every k.
sub lost_after_sending($way) {
	my $said = whole_dialogue($way);
	my $matrix = start($way);
	my $k;
	$matrix->{script} = sub ($n) {
		[{ do => 'call', code => sub ($c) { $c->{budget} = $k; $c->drop if $k == 0 } }, { do => 'serve' }]
	};
	my @bad;
	# without ZLMTP_LONG=1 one way goes on behind the odd bytes, the next behind the even ones, and each behind whole lines
	for (grep { long() || $_ % 2 == $way->{number} % 2 || substr($said, $_ - 1, 1) eq "\n" } 0 .. length $said) {
		$k = $_;
		my $case = $matrix->add({ %mixed });
		$matrix->run(1, $case);
		my $arrived = substr $said, 0, $k;
		my @outcome = map { $_->[0] } $matrix->outcomes($case);
		# what has arrived whole decides
		my @wanted = (
			$arrived =~ /^250 2\.0\.0 .*\n/m ? 'delivered' : 'deferred',
			# a refusal at RCPT is proved by the 354 to DATA or a final reply, the last of all by that to RSET
			$arrived =~ /^550 .*\n(?s:.*)^(?:354|250 2\.0\.0) .*\n/m ? 'failed' : 'deferred',
			# in SMTP it goes as the first recipient
			$way->{protocol} eq 'smtp' ? ($arrived =~ /^250 2\.0\.0 .*\n/m ? 'delivered' : 'deferred')
				: $arrived =~ /^552 .*\n250 .*\n/m ? 'failed' : 'deferred',
		);
		push @bad, "after $k bytes: expected @wanted, got @outcome" if "@wanted" ne "@outcome";
	}
	settle_test($matrix, length($said) . " bytes of replies, lost after each, $way->{name}", @bad);
}

# The server closes after having received k bytes, for every k: nothing may be delivered but by a whole dialogue.
sub lost_after_receiving($way) {
	my $matrix = start($way);
	my $k;
	$matrix->{script} = sub ($n) { [{ do => 'drop', n => $k }, { do => 'serve' }] };
	my ($delivered, @bad) = (0);
	for ($k = 1; !$delivered && $k < 2000; $k += long() ? 1 : 2) {
		my $case = $matrix->add({ %mixed });
		$matrix->run(1, $case);
		my ($first, $second, $third) = map { $_->[0] } $matrix->outcomes($case);
		$delivered = $first eq 'delivered';
		push @bad, "after $k bytes received: $first $second $third"
			if $delivered && $way->{protocol} eq 'smtp' && $third ne 'delivered' || !$delivered && ($first ne 'deferred' || $second !~ /^(?:deferred|failed)$/ || $third ne 'deferred');
	}
	push @bad, 'never delivered' unless $delivered;
	settle_test($matrix, "lost after each of $k bytes received, $way->{name}", @bad);
}

# n recipients, k final replies, then the connection is closed; in SMTP there is one final reply, so k is 0 or it is over.
sub lost_between_final_replies($way) {
	my $matrix = start($way);
	my ($k, $seen);
	$matrix->{server}{on_content} = sub ($transaction, $connection) { $seen = 0 };
	unshift @{$matrix->{server}{rules}}, sub ($stage, $key, $connection) {
		return undef unless $stage eq 'final' && $seen++ >= $k;
		return [{ do => 'close' }];
	};
	my @bad;
	for my $n (1 .. 5) {
		for (0 .. ($way->{protocol} eq 'smtp' ? 0 : $n - 1)) {
			$k = $_;
			my $case = $matrix->add({ mail => 2, rcpt => [(2) x $n], data => 2, final => [map { $_ % 2 ? 5 : 2 } 1 .. $n] });
			$matrix->run(1, $case);
			my @got = $matrix->outcomes($case);
			my @wanted = map { $_ > $k || $_ % 2 ? 'deferred' : 'delivered' } 1 .. $n;
			my @outcome = map { $_->[0] } @got;
			push @bad, "$k of $n final replies: expected @wanted, got @outcome" if "@wanted" ne "@outcome";
			push @bad, "$k of $n: nothing about an unknown state: $got[-1][2]" unless $got[-1][2] =~ /unknown/;
		}
	}
	settle_test($matrix, "lost after k of n final replies, $way->{name}", @bad);
}

# Surplus final replies: they leave no refusal proved, and the next job is not touched by them.  What a reply in
# front of a different one delivers is in doubt, if that is seen in time.
sub too_many_final_replies($way) {
	my $matrix = start($way);
	my ($last, $class) = $way->{protocol} eq 'smtp' ? (0, 2) : (1, 5);
	my @bad;
	for my $surplus ([2], [5], [4, 5], [5, 5, 2]) {
		my $first = $matrix->add({ mail => 2, rcpt => [2, 2], data => 2, final => [2, 5] });
		my $second = $matrix->add({ mail => 2, rcpt => [2, 2], data => 2, final => [2, 2] });
		my $rule = sub ($stage, $key, $connection) {
			return undef unless $stage eq 'final' && $key eq "r$last.$first";
			return [map { { do => 'line', text => $_ } } Matrix::reply_for($first, "final $last", $class),
				map { Matrix::reply_for('surplus', 'final', $_) } @$surplus];
		};
		unshift @{$matrix->{server}{rules}}, $rule;
		$matrix->run(2, $first, $second);
		shift @{$matrix->{server}{rules}};
		my @first = map { $_->[0] } $matrix->outcomes($first);
		my $wanted = $last ? qr/^(?:delivered|deferred) deferred$/ : $surplus->[0] == 2 ? qr/^delivered delivered$/
			: qr/^(delivered|deferred) \1$/;
		push @bad, "surplus @$surplus: first message: @first" if "@first" !~ $wanted;
		for my $got ($matrix->outcomes($second)) {
			push @bad, "surplus @$surplus: second message: @$got" if $got->[0] eq 'failed' || "@$got" =~ /surplus/;
		}
	}
	settle_test($matrix, "surplus final replies, $way->{name}", @bad);
}
