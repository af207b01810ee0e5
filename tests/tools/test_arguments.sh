#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Wrong arguments of blaze-perf and blaze-ring: status 2, nothing on standard output, and on
# standard error first of all a line that begins with the program's name and says what is wrong.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

# refuses PROGRAM PATTERN ARGUMENTS..: the first line must hold the pattern.
refuses() {
	program=$1
	pattern=$2
	shift 2
	timeout 20 "$BLAZE_BUILDDIR/$program" "$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
	line=$(head -n 1 "$work/err")
	case $line in
	*blaze-*:*) ;;
	*) echo "$program $*: says '$line', not who says it" && failed=1 ;;
	esac
	printf '%s' "$line" | grep -q -e "$pattern" ||
		{ echo "$program $*: says '$line', not '$pattern'" && failed=1; }
	[ "$status" -eq 2 ] || { echo "$program $*: status $status" && failed=1; }
	[ ! -s "$work/out" ] || { echo "$program $*: prints something" && failed=1; }
}

refuses perf/blaze-perf 'which benchmark'
refuses perf/blaze-perf 'which benchmark' --size 5
refuses perf/blaze-perf 'no such benchmark' nonsense --json
refuses perf/blaze-perf 'too many arguments: surplus' ring surplus
refuses perf/blaze-perf "blaze-perf: unrecognized option '--nope'" ring --nope
refuses perf/blaze-perf "blaze-perf: invalid option -- 'x'" ring -x
refuses perf/blaze-perf "blaze-perf: option '--size' requires an argument" ring --size
refuses perf/blaze-perf "blaze-perf: option '--json' doesn't allow an argument" ring --json=1
for size in -1 0 15 1048577 99999999999999999999 x 64x ''; do
	refuses perf/blaze-perf '--size .*: not a whole number from 16 to 1048576' ring --size "$size"
done
for count in -1 0 33 1.5; do
	refuses perf/blaze-perf '--writers .*: not a whole number from 1 to 32' ring --writers "$count"
done
for seconds in -1 0 nan inf 3601 1s; do
	refuses perf/blaze-perf '--seconds .*: not a number from 0.01 to 3600' ring --seconds "$seconds"
done
refuses perf/blaze-perf '--rate -1: not a number from 0' ring --rate -1
refuses perf/blaze-perf '--stall 0: not a whole number from 1' ring --stall 0
refuses perf/blaze-perf '--latency often: not one of spin asleep load none' ring --latency often
refuses perf/blaze-perf '--sabotage gently: not one of none corrupt' ring --sabotage gently
refuses perf/blaze-perf 'not a power of two' ring --lane 100000
refuses perf/blaze-perf 'a batch must fit' ring --lane 65536 --size 16384
refuses perf/blaze-perf 'at most 64 participants' ring --writers 32 --readers 32 --idle 1
refuses perf/blaze-perf 'db has no --latency load' db --latency load
refuses perf/blaze-perf 'db has no --writers' db --writers 2
refuses perf/blaze-perf 'db has no --size' db --size 128 --seconds 0.01
refuses perf/blaze-perf 'ring has no --txn' ring --txn 16
refuses perf/blaze-perf 'idle has no --lane' idle --lane 65536
refuses perf/blaze-perf 'line has no --runs' line --runs 2
refuses perf/blaze-perf 'bench has no --json' bench --json
refuses perf/blaze-perf '--read excludes --latency' db --read get --latency spin
refuses perf/blaze-perf '--read excludes --duplex' db --read get --duplex
refuses perf/blaze-perf 'exclude each other' ring --sabotage drop --reserve

refuses shm/blaze-ring 'no command'
refuses shm/blaze-ring 'no such command: nonsense' nonsense
refuses shm/blaze-ring 'which ring' stat
refuses shm/blaze-ring 'too many arguments: surplus' ls surplus
refuses shm/blaze-ring 'too many arguments: surplus' stat name surplus
refuses shm/blaze-ring "unrecognized option '--nope'" --nope
refuses shm/blaze-ring "requires an argument" tail name -n
for count in -3 0 x 99999999999999999999999; do
	refuses shm/blaze-ring "not a count: $count" tail name -n "$count"
done
refuses shm/blaze-ring '--hex and -n belong to tail' ls --hex
refuses shm/blaze-ring '--file and --data belong to publish' tail name --data x
refuses shm/blaze-ring '--file and --data exclude' publish name --file a --data b
refuses shm/blaze-ring '--json and --hex exclude' tail name --json --hex

# Whoever asks for help gets it, on standard output.
for program in perf/blaze-perf shm/blaze-ring lib/tool/blaze-db tests/blaze-sim; do
	"$BLAZE_BUILDDIR/$program" --help >"$work/out" 2>"$work/err" </dev/null
	status=$?
	[ "$status" -eq 0 ] || { echo "$program --help: status $status" && failed=1; }
	grep -q '^usage: ' "$work/out" || { echo "$program --help: says no usage" && failed=1; }
	[ ! -s "$work/err" ] || { echo "$program --help: complains" && failed=1; }
done
exit "$failed"
