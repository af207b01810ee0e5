#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# blaze-db on a database that a program has open: each command, by that program's hands, prints what
# it prints of the same database closed.
. "${BLAZE_SRCDIR:?}/tests/tools/blaze_db.sh"
hold=${BLAZE_BUILDDIR:?}/tests/tools/hold
holder=
trap 'let_go; rm -rf "$work"' EXIT

# held DIR [DURABILITY]: a program has it open, until let_go, or as long as descriptor 8 is open.
held() {
	rm -f "$work/hold.in" "$work/hold.out"
	mkfifo "$work/hold.in"
	"$hold" "$@" <"$work/hold.in" >"$work/hold.out" &
	holder=$!
	exec 8>"$work/hold.in"
	tries=0
	until [ -s "$work/hold.out" ] || ! kill -0 "$holder"; do
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || break
		sleep 0.05
	done
	check "it is held: $*" open "$(head -n 1 "$work/hold.out")"
}
let_go() {
	[ -n "$holder" ] || return
	exec 8>&-
	wait "$holder"
	check 'the holder ends well' 0 "$?"
	holder=
}

# both WHAT ARGUMENT..: the same output, errors and status on $work/a, held, and $work/b, a copy of
# it that nobody holds.
both() {
	what=$1
	shift
	cp "$work/in" "$work/in.again"
	command=$1
	shift
	timeout 120 "$db" "$command" "$work/a" "$@" <"$work/in" >"$work/out" 2>"$work/err"
	one=$?
	timeout 120 "$db" "$command" "$work/b" "$@" <"$work/in.again" >"$work/out.b" 2>"$work/err.b"
	check "status of $what" "$?" "$one"
	check "output of $what" '' "$(diff "$work/out" "$work/out.b" | head -n 5)"
	sed "s,$work/a,$work/b,g" "$work/err" >"$work/err.a"
	check "messages of $what" '' "$(diff "$work/err.a" "$work/err.b" | head -n 5)"
	: >"$work/in"
}

# Reading ------------------------------------------------------------------------------------------

status 0 create "$work/a"
status 0 import "$work/a" --new-ids "$data"
all='{"":"empty","b":{"$bytes":"AP8="},"d":-0.0,"f":false,"i":-9223372036854775808,"m":{"$map":{"$time":1}},"n":null,"nan":{"$double":"NaN"},"s":"gr\u00fc\u00dfe","t":{"$time":"1970-01-01T00:00:00.000000001Z"},"u":{"$uuid":"01a204f3-0000-7000-8000-000000000001"}}'
status 0 put "$work/a" "$nobody" "$all"
status 0 backup "$work/a" "$work/b"
# Its node is told of once.
"$db" import "$work/b" </dev/null >"$work/out" 2>"$work/err"
check 'a copy becomes a node of its own' 1 "$(grep -c 'a node of its own' "$work/err")"
status 0 export "$work/a"
out >"$work/all"
ids=$(jq -r .id <"$work/all")
id=$(printf '%s\n' "$ids" | sed -n 100p)
to=$(printf '%s\n' "$ids" | sed -n 150p)
held "$work/a"
check 'there is a lane' socket "$(stat -c %F "$work/a/lane")"
check 'for its user alone' 600 "$(stat -c %a "$work/a/lane")"
both 'export' export
check 'which is all' '' "$(diff "$work/all" "$work/out")"
both 'scan' scan
both 'a scan with all options' scan --from "$id" --to "$to" --limit 20 --field package --field version
check 'which finds some' 20 "$(wc -l <"$work/out")"
both 'a scan of nothing' scan --from "$id" --to "$id"
both 'get' get "$id"
both 'get as JSON' get "$nobody" --json
both 'get of fields' get "$id" --field package
both 'get of nobody' get 01a204f3-0000-7000-8000-0000000000ff
both 'get of no id' get nonsense
printf '%s\n%s\n%s\n' "$id" 01a204f3-0000-7000-8000-0000000000ff "$nobody" >"$work/in"
both 'get of many' get -
"$db" stat "$work/a" --json | jq -cS 'del(.open, .store, .node, .cuts, .bytes, .segments, .memory_bytes, .origins, .tail_transactions, .start, .last, .transactions)' >"$work/stat.a"
"$db" stat "$work/b" --json | jq -cS 'del(.open, .store, .node, .cuts, .bytes, .segments, .memory_bytes, .origins, .tail_transactions, .start, .last, .transactions)' >"$work/stat.b"
check 'stat' "$(cat "$work/stat.b")" "$(cat "$work/stat.a")"
status 0 stat "$work/a"
check 'stat names the holder' 1 "$(grep -c "^open .*process $holder (" "$work/out")"
check 'stat has all keys' 201 "$("$db" stat "$work/a" --json | jq .records)"
status 0 check "$work/a"
status 0 backup "$work/a" "$work/c"
status 0 export "$work/c"
check 'a backup is complete' '' "$(diff "$work/all" "$work/out")"
[ ! -e "$work/c/lane" ] || check 'without a lane' '' lane

# Writing ------------------------------------------------------------------------------------------

both 'put' put "$nobody" '{"n":1,"s":"x"}'
both 'put of nothing' put "$nobody" '{}'
both 'put of no record' put "$nobody" '[]'
echo '{"n":2}' >"$work/in"
both 'put of standard input' put "$nobody" -
both 'get of it' get "$nobody" --json
check 'which is merged' 2 "$(jq .n <"$work/out")"
status 0 put "$work/a" '{"made":true}'
made=$(out)
status 0 get "$work/a" "$made"
check 'put makes one' 'made: true' "$(out)"
status 0 delete "$work/a" "$made"
both 'delete of nobody' delete "$made"
both 'delete' delete "$id"
both 'delete again' delete "$id"
sed -n 1,20p "$work/all" | jq -r .id >"$work/in"
both 'delete of many' delete -
both 'import' import "$work/all"
both 'import as JSON' import --json "$work/all"
{ sed 5q "$work/all" && echo '{"id":1}'; } >"$work/in"
both 'import of a wrong line' import
sed 5q "$data" >"$work/in"
status 0 import "$work/a" --new-ids
check 'import makes new ones' '5 records' "$(out)"
: >"$work/in"
both 'import of nothing' import
status 0 compact "$work/a"
check 'compact says what it did' 1 "$(grep -c '^[0-9]* bytes of log, [0-9]* before$' "$work/out")"
check 'the log is shorter' 1 "$(awk '{ print $1 < $5 }' "$work/out")"
status 0 export "$work/a"
out >"$work/held"
let_go
[ ! -e "$work/a/lane" ] || check 'it is gone with the holder' '' lane
status 0 export "$work/a"
check 'closed it has the same' '' "$(diff "$work/held" "$work/out")"
status 0 check "$work/a"

# Failing ------------------------------------------------------------------------------------------

# Each acknowledged write outlives the holder's death, whatever the durability.
for durability in sync async; do
	rm -rf "$work/k"
	status 0 create "$work/k"
	held "$work/k" "$durability"
	for i in 1 2 3 4 5 6 7 8 9; do
		status 0 put "$work/k" "01a204f3-0000-7000-8000-00000000000$i" "{\"n\":$i}"
	done
	status 0 export "$work/k"
	out >"$work/before"
	kill -KILL "$holder"
	wait "$holder" 2>/dev/null
	holder=
	exec 8>&-
	check 'a lane is left' socket "$(stat -c %F "$work/k/lane")"
	status 0 export "$work/k"
	check "nothing of $durability is lost" '' "$(diff "$work/before" "$work/out")"
	held "$work/k" "$durability"
	status 0 put "$work/k" '{}'
	let_go
done

# An import amid which the holder dies, and one amid which the client does.
rm -f "$work/pipe.in"
mkfifo "$work/pipe.in"
for victim in holder client; do
	rm -rf "$work/m"
	status 0 create "$work/m"
	held "$work/m"
	"$db" import "$work/m" <"$work/pipe.in" >"$work/out" 2>"$work/err" 8>&- &
	client=$!
	exec 9>"$work/pipe.in"
	n=0
	while [ "$n" -lt 3000 ]; do
		n=$((n + 1))
		printf '{"id":"01a204f3-0000-7000-8000-%012x","record":{"n":%d}}\n' "$n" "$n"
	done >&9
	tries=0
	until [ "$("$db" stat "$work/m" --json 2>/dev/null | jq .records)" = 2048 ]; do
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || break
		sleep 0.05
	done
	if [ "$victim" = holder ]; then
		kill -KILL "$holder"
		wait "$holder" 2>/dev/null
		holder=
		exec 8>&-
		exec 9>&-
		wait "$client"
		check 'the import fails' 1 "$?"
		says 'has closed it, or ended'
		says 'import: 2048 records are in, through line 2048; repeating it from the start is safe'
	else
		kill -KILL "$client"
		wait "$client" 2>/dev/null
		exec 9>&-
		let_go
	fi
	status 0 scan "$work/m"
	check "what is in when the $victim dies" 2048 "$(wc -l <"$work/out")"
	status 0 check "$work/m"
done

# A holder without a lane, and a socket that is nobody's.
held "$work/a" manual
status 1 put "$work/a" '{}'
says "is open in process $holder (hold), which has no lane: end that first"
status 1 watch "$work/a"
says 'which has no lane'
status 0 stat "$work/a"
let_go

# Watching -----------------------------------------------------------------------------------------

status 1 watch "$work/a"
says "watch: no program has $work/a open"
status 3 watch "$work/none"
status 2 watch "$work/a" --count 0
held "$work/a"
rm -f "$work/events"
"$db" watch "$work/a" --count 3 >"$work/events" 2>"$work/err" 8>&- &
watcher=$!
tries=0
until [ -s "$work/events" ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 600 ] || break
	"$db" put "$work/a" "$nobody" "{\"watched\":$tries}"
	sleep 0.05
done
status 0 put "$work/a" "$nobody" '{"watched":"yes"}'
status 0 put "$work/a" "$nobody" '{"watched":"no"}'
status 0 delete "$work/a" "$nobody"
wait "$watcher"
check 'so many, and it ends' 0 "$?"
check 'three lines' 3 "$(wc -l <"$work/events")"
check 'each is an update' 'update' "$(jq -r .event <"$work/events" | sort -u)"
check 'with what was' true "$(jq -s '.[1].before == .[0].after' <"$work/events")"
check 'by this node' "$("$db" stat "$work/a" --json | jq -r .node)" \
	"$(jq -r .from.node <"$work/events" | sort -u)"
for end in 2 15 close; do
	rm -f "$work/events"
	"$db" watch "$work/a" >"$work/events" 2>"$work/err" 8>&- &
	watcher=$!
	tries=0
	until [ -s "$work/events" ]; do
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || break
		"$db" put "$work/a" "$nobody" "{\"watched\":$tries}"
		sleep 0.05
	done
	if [ "$end" = close ]; then
		let_go
		wait "$watcher"
		check 'a close ends it' 1 "$?"
		says "has closed $work/a, or ended"
	else
		kill -"$end" "$watcher"
		wait "$watcher"
		check "signal $end ends it" "$((128 + end))" "$?"
	fi
done

printf '%d checks, %d failed\n' "$checks" "$failures"
[ "$failures" -eq 0 ]
