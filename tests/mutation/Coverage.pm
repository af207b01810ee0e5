# SPDX-License-Identifier: Apache-2.0
# Which lines of a library each test program runs: a mutant of a line can only be noticed by those
# that run it.
#
# WHY    Half of the test programs never come to a given line, and a mutant that survives would be
#        tried by all of them, twice.
#
# CONTRACT  Objects compiled with FLAGS and linked into the programs; each program has run with
#        the environment that `environment` gives. A line of which gcov says nothing (a table, a
#        macro, a part of a statement) is not judged. Headers are not: the test programs' own copies
#        of an inline function aren't counted.
package Coverage;
use strict;
use warnings;
use File::Path qw(make_path);

use constant FLAGS => '--coverage -O0';

# What a program that is to be counted under a name runs with; its objects are in `directory`.
sub environment {
	my ($directory, $name) = @_;
	my $strip = () = $directory =~ m{/[^/]+}g;
	return (GCOV_PREFIX => "$directory/runs/$name", GCOV_PREFIX_STRIP => $strip);
}

# What gcov says of one object: {line => whether it was run}.
sub lines_of {
	my ($where, $file) = @_;
	my (%lines, $source);
	(my $counts = "$where/$file") =~ s/\.c$/.gcda/;
	open my $out, '-|', "cd '$where' && gcov -t '$counts' 2>/dev/null" or die "mutate: gcov: $!\n";
	while (my $text = <$out>) {
		$source = $1 if $text =~ /^\s*-:\s*0:Source:(.*)$/;
		next unless ($source // '') =~ /\Q$file\E$/;
		my ($count, $line) = $text =~ /^\s*([^:\s]+):\s*(\d+):/ or next;
		$lines{$line} = ($count =~ /^[1-9]/) || $lines{$line} || 0 if $count ne '-';
	}
	close $out;
	return \%lines;
}

# What the program of that name has run of the files: {file => {line => whether}}.
sub of_program {
	my ($directory, $name, @files) = @_;
	my $where = "$directory/runs/$name";
	my %run;
	for my $file (@files) {
		(my $object = $file) =~ s/\.c$//;
		make_path($where . '/' . ($file =~ s{/[^/]+$}{}r));
		unlink "$where/$object.gcno";
		link "$directory/$object.gcno", "$where/$object.gcno" or die "mutate: $object.gcno: $!\n";
		$run{$file} = -e "$where/$object.gcda" ? lines_of($where, $file) : {};
	}
	return \%run;
}

1;
