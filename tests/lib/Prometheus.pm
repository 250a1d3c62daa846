package Prometheus;

# A strict reader of the text exposition format, version 0.0.4, as Prometheus describes it.

use v5.36;

my $name = qr/[a-zA-Z_:][a-zA-Z0-9_:]*/;
my $label = qr/[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"/;

# Returns { metrics => { 'name{labels}' => value }, types => { name => type }, problems => [...] }.
sub read($text) {
	my %r = (metrics => {}, types => {}, problems => []);
	my ($family, %seen, $number);
	my $bad = sub ($what) { push @{$r{problems}}, "line $number: $what" };
	utf8::decode(my $copy = $text) or push @{$r{problems}}, 'not UTF-8';
	push @{$r{problems}}, 'the last line has no end' if $text !~ /\n\z/;
	for my $line (split /\n/, $text) {
		$number++;
		if ($line =~ /^# HELP ($name) (.*)$/) {
			$family = $1;
			$bad->("second HELP of $family") if $seen{"help $family"}++;
			$bad->("bad escape in HELP") if $2 =~ /\\(?![\\n])/;
		} elsif ($line =~ /^# TYPE ($name) (counter|gauge|histogram|summary|untyped)$/) {
			my ($metric, $type) = ($1, $2);
			$bad->("second TYPE of $metric") if exists $r{types}{$metric};
			$bad->("TYPE of $metric not behind its HELP") if ($family // q()) ne $metric;
			$bad->("a counter named $metric") if $type eq q(counter) && $metric !~ /_total$/;
			$r{types}{$metric} = $type;
		} elsif ($line =~ /^(?:#.*)?$/) {
		} elsif ($line =~ /^($name)(?:\{((?:$label(?:,$label)*)?)\})? (\d+(?:\.\d+)?)$/) {
			my ($metric, $labels, $value) = ($1, $2 // '', $3);
			my $suffix = ($r{types}{$family // ''} // '') eq 'histogram' ? qr/_bucket|_sum|_count/ : qr//;
			my $under = quotemeta($family // q( ));
			$bad->("$metric stands under " . ($family // "nothing")) if $metric !~ /^$under(?:$suffix)$/;
			$bad->("$metric has no TYPE") unless $r{types}{$family // ''};
			my @names = $labels =~ /([a-zA-Z_]\w*)="(?:[^"\\]|\\.)*"/g;
			my %once;
			$bad->("label $_ twice") for grep { $once{$_}++ } @names;
			my $key = $metric . ($labels eq '' ? '' : "{$labels}");
			$bad->("$key twice") if exists $r{metrics}{$key};
			$r{metrics}{$key} = $value;
		} else {
			$bad->("neither comment nor sample: $line");
		}
	}
	_check_histograms(\%r);
	return \%r;
}

# Buckets rise, end in +Inf, which is the count.
sub _check_histograms($r) {
	for my $family (grep { $r->{types}{$_} eq 'histogram' } keys %{$r->{types}}) {
		my %sets;
		for (keys %{$r->{metrics}}) {
			push @{$sets{$1}}, [$2, $r->{metrics}{$_}] if /^\Q$family\E_bucket\{(.*?),?le="([^"]+)"\}$/;
		}
		for my $labels (keys %sets) {
			my @buckets = sort { ($a->[0] eq '+Inf') <=> ($b->[0] eq '+Inf') || ($a->[0] eq '+Inf' ? 0 : $a->[0] <=> $b->[0]) } @{$sets{$labels}};
			my $key = $labels eq '' ? '' : "{$labels}";
			my @falls = grep { $buckets[$_][1] < $buckets[$_ - 1][1] } 1 .. $#buckets;
			push @{$r->{problems}}, "$family$key: buckets fall" if @falls;
			push @{$r->{problems}}, "$family$key: no +Inf" if $buckets[-1][0] ne '+Inf';
			push @{$r->{problems}}, "$family$key: +Inf is not the count" if ($r->{metrics}{"${family}_count$key"} // -1) != $buckets[-1][1];
			push @{$r->{problems}}, "$family$key: no sum" if !defined $r->{metrics}{"${family}_sum$key"};
		}
	}
}

# What promtool says of it; undef where there is none.
sub promtool($path) {
	my ($tool) = grep { -x } map { "$_/promtool" } split(/:/, $ENV{PATH});
	return undef unless $tool;
	return qx{'$tool' check metrics <'$path' 2>&1};
}

1;
