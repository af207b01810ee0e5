#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# blaze-ring as its users see it: every command, human and JSON, every exit status.
#
# clean takes away every ring in which nobody lives, those of tests that run at the same time
# included. So this one gets a /dev/shm of its own where that is allowed; elsewhere clean is left out.
set -u
command -v jq >/dev/null || {
	echo 'skipped: jq is not installed'
	exit 77
}
if [ -z "${TOOL_TEST_ALONE:-}" ]; then
	TOOL_TEST_ALONE=no
	export TOOL_TEST_ALONE
	own_shm='mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm'
	for how in -m -rm; do
		if unshare "$how" sh -c "$own_shm" 2>/dev/null; then
			TOOL_TEST_ALONE=yes
			# shellcheck disable=SC2016 # the inner shell expands its own $0
			exec unshare "$how" sh -c "$own_shm"' && exec sh "$0"' "$0"
		fi
	done
fi
ring_tool=${BLAZE_BUILDDIR:?}/shm/blaze-ring
name=t.$$.tool
work=$(mktemp -d)
checks=0
failures=0

cleanup() {
	"$ring_tool" rm "$name" 2>/dev/null
	"$ring_tool" rm "$name.dead" 2>/dev/null
	"$ring_tool" --group rm "$name" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

# check WHAT EXPECTED ACTUAL
check() {
	checks=$((checks + 1))
	[ "$2" = "$3" ] && return
	failures=$((failures + 1))
	printf 'FAILED: %s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3"
}

# status EXPECTED ARGUMENT..: the exit status; what was said is in $work/out and $work/err.
status() {
	expected=$1
	shift
	"$ring_tool" "$@" >"$work/out" 2>"$work/err" </dev/null
	check "status of: $*" "$expected" "$?"
}

# value FILTER: of the JSON in $work/out.
value() {
	jq -r "$1" <"$work/out" 2>&1
}

# await WHAT COMMAND..: until it succeeds, at most 20 s.
await() {
	what=$1
	shift
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		if [ "$tries" -gt 400 ]; then
			check "$what" 'in time' 'never'
			return 1
		fi
		sleep 0.05
	done
}

members() {
	"$ring_tool" --json stat "$name" 2>/dev/null | jq -r "[.participants[] | select($1)] | length"
}
reads() { [ "$(members .reading)" = "$1" ]; }
sleeps() { [ "$(members .sleeping)" = "$1" ]; }

# The command line.
status 2
status 2 nonsense
status 2 stat
status 2 ls extra
status 2 -n 0 tail "$name"
status 2 -n x tail "$name"
status 2 --hex ls
status 2 --data x ls
status 2 --json --hex tail "$name"
status 2 --data x --file y publish "$name"
status 2 --unknown
status 0 --help
check 'help names clean' 1 "$(grep -c '^  clean ' "$work/out")"
status 0 --version

# No such ring.
status 3 stat "$name"
check 'a message says which' 1 "$(grep -c "stat $name" "$work/err")"
status 3 rm "$name"
status 1 stat 'bad/name'
status 1 rm .hidden
status 1 publish 'bad/name'
status 1 --file /nonexistent publish "$name"

# tail prints what is published while it is there, and ends after -n.
"$ring_tool" -n 3 tail "$name" >"$work/tail" 2>&1 &
tail=$!
await 'tail reads' reads 1
printf 'one\ntwo\033\\x\n\n' | "$ring_tool" --json publish "$name" >"$work/out"
check 'publish counts records' 3 "$(value .records)"
check 'publish counts bytes' 9 "$(value .bytes)"
wait "$tail"
check 'tail -n ends' 0 "$?"
check 'tail prints lines, escaped' 'one two\x1b\\x ' \
	"$(cut -d' ' -f3- <"$work/tail" | tr '\n' ' ' | sed 's/ $//')"
check 'the last one removed the ring' 3 "$("$ring_tool" stat "$name" 2>/dev/null; echo $?)"

# JSON and hex, a file, a text.
printf 'a\0\377' >"$work/binary"
"$ring_tool" --json -n 2 tail "$name" >"$work/json" &
json=$!
"$ring_tool" --hex -n 2 tail "$name" >"$work/hex" &
hex=$!
await 'both read' reads 2
status 0 publish "$name" --file "$work/binary"
status 0 --data 'grüße' publish "$name"
wait "$json" "$hex"
check 'json: bytes that are no text' '6100ff' "$(jq -rs '.[0].hex' <"$work/json")"
check 'json: text' 'grüße' "$(jq -rs '.[1].text' <"$work/json")"
check 'json: positions' '0 0' "$(jq -rs 'map(.position) | join(" ")' <"$work/json")"
check 'json: ids' 2 "$(jq -r .publisher <"$work/json" | grep -cE '^[0-9a-f-]{36}$')"
check 'hex' '6100ff' "$(sed -n '1s/.* //p' <"$work/hex")"

# A directory that is left behind empty is no ring.
mine=/dev/shm/blaze-$(id -u)
(umask 077 && mkdir -p "$mine/$name.empty")
status 0 --json ls
check 'an empty directory is not listed' 0 "$(jq -r '.rings[].name' <"$work/out" | grep -c "^$name.empty\$")"
status 3 stat "$name.empty"
rmdir "$mine/$name.empty"

# Larger than a default lane takes.
"$ring_tool" --json -n 1 tail "$name" >"$work/json" &
json=$!
await 'tail reads' reads 1
head -c 3000000 /dev/zero | tr '\0' x >"$work/large"
status 0 --file "$work/large" publish "$name"
wait "$json"
check 'a large file' 3000000 "$(jq -r '.text | length' <"$work/json")"

# ls and stat.
"$ring_tool" tail "$name" >/dev/null 2>"$work/removed" &
tail=$!
await 'tail sleeps' sleeps 1
status 0 ls
check 'ls: a line for the ring' 1 "$(grep -cE "^$name +1 +0 +[0-9]+ +0600 " "$work/out")"
status 0 ls --json
check 'ls --json: live' 1 "$(value ".rings[] | select(.name == \"$name\") | .live")"
check 'ls --json: mode' 0600 "$(value ".rings[] | select(.name == \"$name\") | .mode")"
status 0 stat "$name"
check 'stat: the program' 1 "$(grep -cE "^ +0 +$tail blaze-ring +0 +0 sleeping" "$work/out")"
status 0 --json stat "$name"
check 'stat --json: pid' "$tail" "$(value '.participants[0].pid')"
check 'stat --json: reading' true "$(value '.participants[0].reading')"
check 'stat --json: read_only' true "$(value '.participants[0].read_only')"

# rm ends tail, which says why.
status 0 --json rm "$name"
check 'rm says what' "$name" "$(value .removed)"
wait "$tail"
check 'tail ends when the ring is removed' 0 "$?"
check 'and says so' 1 "$(grep -c "$name was removed" "$work/removed")"

# SIGINT ends tail cleanly. (A shell starts what is in the background with SIGINT ignored.)
"$ring_tool" tail "$name" >/dev/null 2>&1 &
tail=$!
await 'tail reads' reads 1
kill -TERM "$tail"
wait "$tail"
check 'a signal ends tail' 0 "$?"
check 'and nothing stays' 3 "$("$ring_tool" stat "$name" 2>/dev/null; echo $?)"

clean_tests() {
	# One dead participant beside a live one, and a ring in which nobody lives.
	"$ring_tool" tail "$name" >/dev/null 2>&1 &
	live=$!
	"$ring_tool" tail "$name" >/dev/null 2>&1 &
	dead=$!
	"$ring_tool" tail "$name.dead" >/dev/null 2>&1 &
	alone=$!
	await 'both read' reads 2
	await 'the other reads' test -d "/dev/shm/blaze-$(id -u)/$name.dead"
	until "$ring_tool" --json stat "$name.dead" 2>/dev/null | grep -q '"reading":true'; do sleep 0.05; done
	kill -STOP "$live"
	kill -KILL "$dead" "$alone"
	wait "$dead" "$alone" 2>/dev/null
	status 0 --json stat "$name"
	check 'stat: dead and live' '1 1' "$(value '"\(.live) \(.dead)"')"
	status 0 --json clean
	check 'clean: the ring without life' ring \
		"$(value ".removed[] | select(.name == \"$name.dead\") | .kind")"
	check 'clean: the lane of the dead' lanes \
		"$(value ".removed[] | select(.name == \"$name\") | .kind")"
	status 0 --json stat "$name"
	check 'clean left the live one' '1 0' "$(value '"\(.live) \(.dead)"')"
	status 3 stat "$name.dead"
	status 0 clean
	check 'clean has nothing left to say' '' "$(grep -F "t.$$." "$work/out")"
	kill -CONT "$live"
	kill -TERM "$live"
	wait "$live"

	# clean: what somebody left half made, but not what somebody may be making now.
	mine=/dev/shm/blaze-$(id -u)
	(umask 077 && mkdir -p "$mine" && mkdir "$mine/.new.$$" "$mine/.new.$$-old" "$mine/.gone.$$")
	: >"$mine/.new.$$-old/control"
	touch -d '1 minute ago' "$mine/.new.$$-old" "$mine/.gone.$$"
	status 0 clean
	check 'clean: leftovers' 2 "$(grep -cE "^removed \.(new\.$$-old|gone\.$$): " "$work/out")"
	check 'clean: gone they are' "$mine/.new.$$" "$(ls -d "$mine"/.*."$$"* 2>/dev/null)"
	rmdir "$mine/.new.$$" "$mine" 2>/dev/null
}
[ "$TOOL_TEST_ALONE" = no ] || clean_tests

# The group's rings are others, even under one name.
"$ring_tool" --group -n 1 tail "$name" >"$work/group" 2>&1 &
tail=$!
await 'the group has a reader' sh -c \
	"'$ring_tool' --group --json stat '$name' 2>/dev/null | grep -q '\"reading\":true'"
status 3 stat "$name"
status 0 --group --json stat "$name"
check 'group: mode' 0660 "$(value .mode)"
status 0 --group --data together publish "$name"
wait "$tail"
check 'group: a record' together "$(sed 's/.* //' "$work/group")"
"$ring_tool" --group tail "$name" >/dev/null 2>&1 &
tail=$!
await 'the group has a reader' sh -c \
	"'$ring_tool' --group --json stat '$name' 2>/dev/null | grep -q '\"reading\":true'"
status 0 --group rm "$name"
wait "$tail"
check 'group: tail ends when the ring is removed' 0 "$?"
status 3 --group rm "$name"
[ "$TOOL_TEST_ALONE" = no ] || status 0 --group clean

# A damaged ring is reported by all, removed by rm.
"$ring_tool" tail "$name" >/dev/null 2>&1 &
tail=$!
await 'tail reads' reads 1
kill -KILL "$tail"
wait "$tail" 2>/dev/null
printf 'damaged!' | dd of="/dev/shm/blaze-$(id -u)/$name/control" conv=notrunc 2>/dev/null
status 0 ls
check 'ls names the damaged ring' 1 "$(grep -c "^$name " "$work/out")"
status 1 stat "$name"
status 1 tail "$name"
status 0 rm "$name"
status 3 stat "$name"

# Output that goes nowhere.
if [ -w /dev/full ]; then
	"$ring_tool" --help >/dev/full 2>"$work/err"
	check 'a full disk is a failure' 1 "$?"
fi

printf '%d checks, %d failed\n' "$checks" "$failures"
[ "$failures" -eq 0 ]
