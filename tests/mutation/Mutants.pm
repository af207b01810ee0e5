# SPDX-License-Identifier: Apache-2.0
# Finds the places of a C source at which one small change makes a mutant.
#
# WHY    A parser of C is not needed: conditions, calls and comparisons show in the tokens, once
#        comments, literals and preprocessor lines are blanked. What is changed by that is text of
#        function bodies only. A mutant that does not compile is sorted out later.
#
# KINDS  not-if not-while not-for not-cond  the condition of if, while, for and ?: is negated
#        not-operand                        an operand of && or || is negated
#        drop-call                          a statement that is a call is left out
#        swap                               < and <=, > and >=, == and != are exchanged
#        An == or != that is all of a condition is not swapped: that is its negation.
package Mutants;
use strict;
use warnings;

my %swapped = ('<' => '<=', '<=' => '<', '>' => '>=', '>=' => '>', '==' => '!=', '!=' => '==');
my %closing = ('(' => ')', '[' => ']', '{' => '}');
my %opening = map { $closing{$_} => $_ } keys %closing;
my %boundary = map { $_ => 1 } '(', ')', '[', ']', '{', '}', ';', ',', '?', ':', '=', '+=', '-=',
    '|=', '&=', '^=', '*=', '/=', '%=', '<<=', '>>=', 'return', 'case';
my %keyword = map { $_ => 1 } qw(if while for switch return sizeof do else case goto static_assert
    _Static_assert _Alignof offsetof assert);

# The text with all that is no code turned into blanks, byte for byte.
sub blanked {
	my ($text) = @_;
	my $blank = sub { my $s = shift; $s =~ s/[^\n]/ /g; return $s };
	$text =~ s{(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')}
	          {my $s = $1; $s =~ m{^["']} ? '0' . substr($blank->($s), 1) : $blank->($s)}gse;
	$text =~ s{^([ \t]*\#(?:[^\n]*\\\n)*[^\n]*)}{$blank->($1)}gme;
	return $text;
}

# Tokens as [text, offset].
sub tokens {
	my ($code) = @_;
	my @tokens;
	while ($code =~ m{([A-Za-z_]\w*|[0-9][\w.]*|<<=|>>=|->|\+\+|--|&&|\|\||<<|>>
	                   |[<>=!+\-*/%&|^]=|[^\s\w])}gx) {
		push @tokens, [$1, pos($code) - length($1)];
	}
	return \@tokens;
}

# For each bracket the number of its partner, and for each token whether it is in a function.
sub structure {
	my ($tokens) = @_;
	my (@partner, @inside, @parens, @open);
	my ($function, $depth) = (0, 0);
	for my $i (0 .. $#$tokens) {
		my $t = $tokens->[$i][0];
		if ($closing{$t}) {
			$function = $i if $t eq '{' && !@open && $i && $tokens->[$i - 1][0] eq ')';
			push @open, $i;
			$depth++ if $t eq '(';
		}
		$inside[$i] = $function ? 1 : 0;
		$parens[$i] = $depth;
		if ($opening{$t} && @open) {
			my $from = pop @open;
			($partner[$from], $partner[$i]) = ($i, $from);
			$depth-- if $t eq ')';
			$function = 0 if $function && $from == $function;
		}
	}
	return (\@partner, \@inside, \@parens);
}

# The first token of the operand that ends before token i; `loose`: && and || are part of it.
sub operand_first {
	my ($tokens, $partner, $i, $loose) = @_;
	my $first = $i;
	for (my $k = $i - 1; $k >= 0; $k--) {
		my $t = $tokens->[$k][0];
		if ($opening{$t} && defined $partner->[$k]) {
			$k = $first = $partner->[$k];
			next;
		}
		last if $boundary{$t} || (!$loose && ($t eq '&&' || $t eq '||'));
		$first = $k;
	}
	return $first;
}

# The last token of the operand that starts after token i.
sub operand_last {
	my ($tokens, $partner, $i) = @_;
	my $last = $i;
	for (my $k = $i + 1; $k < @$tokens; $k++) {
		my $t = $tokens->[$k][0];
		if ($closing{$t} && defined $partner->[$k]) {
			$k = $last = $partner->[$k];
			next;
		}
		last if $boundary{$t} || $t eq '&&' || $t eq '||';
		$last = $k;
	}
	return $last;
}

# The condition between the parentheses of a for, as first and last token; nothing if it is empty.
sub for_condition {
	my ($tokens, $partner, $open) = @_;
	my @semicolons;
	for (my $k = $open + 1; $k < $partner->[$open]; $k++) {
		$k = $partner->[$k] if $closing{ $tokens->[$k][0] };
		push @semicolons, $k if $tokens->[$k][0] eq ';';
	}
	return () if @semicolons != 2 || $semicolons[1] == $semicolons[0] + 1;
	return ($semicolons[0] + 1, $semicolons[1] - 1);
}

# The last token of a call statement that starts at token i, without its semicolon; 0: none does.
sub call_end {
	my ($tokens, $partner, $i) = @_;
	my $k = $i;
	if ($tokens->[$k][0] eq '(' && $tokens->[$k + 1][0] eq 'void' && $tokens->[$k + 2][0] eq ')') {
		$k += 3;
	}
	return 0 if $tokens->[$k][0] !~ /^[A-Za-z_]/ || $keyword{ $tokens->[$k][0] };
	for ($k++; $k < $#$tokens; $k++) {
		my $t = $tokens->[$k][0];
		if ($t eq '->' || $t eq '.') {
			$k++;
		} elsif ($t eq '[') {
			$k = $partner->[$k];
		} elsif ($t eq '(') {
			$k = $partner->[$k];
			return $tokens->[$k + 1][0] eq ';' ? $k : 0;
		} else {
			return 0;
		}
	}
	return 0;
}

sub starts_statement {
	my ($tokens, $partner, $i) = @_;
	my $before = $tokens->[$i - 1][0];
	return 1 if $before =~ /^(?:[;{}:]|else|do)$/;
	return $before eq ')' && $tokens->[ $partner->[$i - 1] - 1 ][0] =~ /^(?:if|while|for|switch)$/;
}

# Whether a comparison is all there is between these tokens.
sub is_whole {
	my ($tokens, $partner, $first, $last, $at) = @_;
	my $seen = 0;
	for (my $k = $first; $k <= $last; $k++) {
		my $t = $tokens->[$k][0];
		if ($closing{$t}) {
			$k = $partner->[$k];
			next;
		}
		return 0 if $k != $at && ($swapped{$t} || $boundary{$t} || $t =~ /^(?:&&|\|\||[&|^])$/);
		$seen = 1 if $k == $at;
	}
	return $seen;
}

# All mutants of a text, in order: {line, column, kind, from, to (offsets), text (instead)}.
sub find {
	my ($source) = @_;
	my $tokens = tokens(blanked($source));
	my ($partner, $inside, $parens) = structure($tokens);
	my (@mutants, @negated, %seen);
	my $add = sub {
		my ($kind, $at, $first, $last, $prefix, $suffix) = @_;
		my $from = $tokens->[$first][1];
		my $to = $tokens->[$last][1] + length($tokens->[$last][0]);
		# Literals are blanked, their last byte with them.
		$to = $tokens->[$last + 1][1] if $tokens->[$last][0] eq '0';
		my $old = substr($source, $from, $to - $from);
		my $new = defined $suffix ? "$prefix$old$suffix" : $prefix;
		return if $seen{"$from:$to:$new"}++;
		my $head = substr($source, 0, $tokens->[$at][1]);
		my $line = 1 + ($head =~ tr/\n//);
		$head =~ s/.*\n//s;
		push @mutants, { line => $line, column => 1 + length($head), kind => $kind,
			from => $from, to => $to, text => $new };
	};
	my $negate = sub {
		my ($kind, $at, $first, $last) = @_;
		return if $last < $first;
		push @negated, [$first, $last];
		$add->($kind, $at, $first, $last, '!(', ')');
	};
	for my $i (1 .. $#$tokens) {
		my $t = $tokens->[$i][0];
		next unless $inside->[$i];
		if (($t eq 'if' || $t eq 'while') && $tokens->[$i + 1][0] eq '(') {
			$negate->("not-$t", $i, $i + 2, $partner->[$i + 1] - 1);
		} elsif ($t eq 'for') {
			my ($first, $last) = for_condition($tokens, $partner, $i + 1);
			$negate->('not-for', $i, $first, $last) if defined $first;
		} elsif ($t eq '?') {
			$negate->('not-cond', $i, operand_first($tokens, $partner, $i, 1), $i - 1);
		} elsif ($t eq '&&' || $t eq '||') {
			my $first = operand_first($tokens, $partner, $i, 0);
			$negate->('not-operand', $first, $first, $i - 1);
			$negate->('not-operand', $i + 1, $i + 1, operand_last($tokens, $partner, $i));
		}
		if (!$parens->[$i] && starts_statement($tokens, $partner, $i)) {
			my $end = call_end($tokens, $partner, $i);
			$add->('drop-call', $i, $i, $end, '(void)0') if $end;
		}
	}
	for my $i (1 .. $#$tokens) {
		my $t = $tokens->[$i][0];
		next if !$inside->[$i] || !$swapped{$t};
		next if $t =~ /^[!=]=$/ &&
		    grep { is_whole($tokens, $partner, $_->[0], $_->[1], $i) } @negated;
		$add->('swap', $i, $i, $i, $swapped{$t});
	}
	return sort { $a->{line} <=> $b->{line} || $a->{column} <=> $b->{column}
		|| $a->{kind} cmp $b->{kind} } @mutants;
}

1;
