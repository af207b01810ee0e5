# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What every gate shares. A gate is a script that runs alone, from anywhere: it says what is wrong,
# one line each, and exits 1; or says that all is well and exits 0.
set -eu
export LC_ALL=C
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
gate=$(basename "$0")
# Builds and scratch files of this gate. The plain build is the one that ./bootstrap made.
work=${BLAZE_GATES_DIR:-$top/build/gates}/$gate
# shellcheck disable=SC2034 # for the gates
plain=$top/build
jobs=$(nproc 2>/dev/null || echo 2)
failures=0
mkdir -p "$work"

complain() {
	printf '%s: %s\n' "$gate" "$*" >&2
	failures=$((failures + 1))
}

# Each line of standard input is a complaint.
complain_lines() {
	while IFS= read -r line; do
		complain "$line"
	done
}

finish() {
	[ "$failures" -eq 0 ] || exit 1
	printf '%s: ok%s\n' "$gate" "${1:+, $1}"
	exit 0
}

# The tree's own files that match the patterns, new ones included. None at all is a fault of the
# gate: it would pass without having looked.
sources() {
	git -c safe.directory="$top" ls-files --cached --others --exclude-standard -- "$@" \
		>"$work/listed" || {
		complain 'git cannot list the files of this tree'
		exit 1
	}
	[ -s "$work/listed" ] || complain "no file matches $*"
	while IFS= read -r file; do
		[ ! -f "$file" ] || printf '%s\n' "$file"
	done <"$work/listed"
}

# Runs a command, and shows its output only where it fails.
quietly() {
	if ! "$@" >"$work/output" 2>&1 </dev/null; then
		grep -nE 'error:|warning:|Error |undefined reference' "$work/output" | head -n 20 >&2 || :
		tail -n 25 "$work/output" >&2
		complain "failed: $*"
		return 1
	fi
}

# configured DIR FLAGS..: a build directory that is configured so; anew where FLAGS changed.
configured() {
	dir=$1
	shift
	if [ ! -f "$dir/Makefile" ] || [ "$(cat "$dir/flags" 2>/dev/null || :)" != "$*" ]; then
		rm -rf "$dir"
		mkdir -p "$dir"
		quietly sh -c 'cd "$1" && shift && exec "$@"' sh "$dir" "$top/configure" "$@" || exit 1
		printf '%s' "$*" >"$dir/flags"
	fi
}

# The tests of a build directory whose names match, or with -v do not match, a pattern.
tests_matching() {
	dir=$1
	shift
	# A stale Makefile first makes itself anew, and talks.
	make -s -C "$dir" Makefile >/dev/null 2>&1 </dev/null || :
	make -s --no-print-directory -C "$dir" print-tests | tr ' ' '\n' | grep '^tests/' |
		grep -E "$@" | tr '\n' ' '
}

# Before a test program: ends one that hangs, so that the rest is told.
# shellcheck disable=SC2034 # for the gates
bounded='timeout -k 10 600'

# check_tree DIR ARGS..: make check there, with what a failed test said.
check_tree() {
	dir=$1
	shift
	# What an earlier run said of tests that this one leaves out.
	find "$dir" \( -path '*/tests/*' -o -path '*/man/*' \) \( -name '*.trs' -o -name '*.log' \) \
		-exec rm -f {} +
	if ! make -C "$dir" -j"$jobs" check "$@" >"$work/output" 2>&1 </dev/null; then
		grep -E '^(FAIL|ERROR|XPASS)|error:|Error ' "$work/output" | head -n 30 >&2 || :
		# shellcheck disable=SC2046 # names in this tree have no spaces
		for result in $(grep -lE '^:test-result: (FAIL|ERROR)' \
			$(find "$dir/tests" -name '*.trs') /dev/null || :); do
			printf '== %s\n' "${result%.trs}.log" >&2
			grep -E ':[FE]:|ERROR: |WARNING: ThreadS|runtime error|SUMMARY|==[0-9]+==' \
				"${result%.trs}.log" | head -n 20 >&2 || :
			tail -n 25 "${result%.trs}.log" >&2
		done
		[ -n "$(find "$dir/tests" -name '*.trs')" ] || tail -n 5 "$work/output" >&2
		complain "make check failed; its output is in $work/output"
	fi
}
