# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What the tests of blaze-db share: where things are, and checks that are counted. Whoever reads this
# in sets the trap that removes $work.
set -u
command -v jq >/dev/null || {
	echo 'skipped: jq is not installed'
	exit 77
}
db=${BLAZE_BUILDDIR:?}/lib/tool/blaze-db
# shellcheck disable=SC2034 # for the tests, as nobody
data=${BLAZE_SRCDIR:?}/tests/data/packages.jsonl
work=$(mktemp -d)
checks=0
failures=0
# shellcheck disable=SC2034
nobody=01a204f3-0000-7000-8000-000000000000

# check WHAT EXPECTED ACTUAL
check() {
	checks=$((checks + 1))
	[ "$2" = "$3" ] && return
	failures=$((failures + 1))
	printf 'FAILED: %s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3"
}

# status EXPECTED ARGUMENT..: the exit status; what was said is in $work/out and $work/err. Input
# comes from the file $work/in, which is emptied.
status() {
	expected=$1
	shift
	timeout 120 "$db" "$@" >"$work/out" 2>"$work/err" <"$work/in"
	check "status of: $*" "$expected" "$?"
	: >"$work/in"
}
says() { check "says '$1'" 1 "$(grep -cF -e "$1" "$work/err" | sed 's/^[1-9][0-9]*$/1/')"; }
silent() { check 'says nothing' '' "$(cat "$work/err")"; }
out() { cat "$work/out"; }
: >"$work/in"
