#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# blaze-db as its users see it: every command on good, bad and hostile input, with the status and
# the message that each gives, on stores that are whole, torn, damaged, in use, foreign or in a
# place that can't be written.
. "${BLAZE_SRCDIR:?}/tests/tools/blaze_db.sh"
trap 'umount -l "$work/small" 2>/dev/null; chmod -R u+w "$work"; rm -rf "$work"' EXIT

# The command line -------------------------------------------------------------------------------

status 2
says 'no command'
status 2 nonsense
says 'no such command: nonsense'
status 2 create
says 'which directory'
status 2 get "$work/d"
says 'too few arguments'
status 2 stat "$work/d" surplus
says 'too many arguments: surplus'
status 2 create "$work/d" --policy sometimes
says 'not a policy: sometimes'
for count in 0 -1 x 99999999999999999999 ''; do
	status 2 scan "$work/d" --limit "$count"
	says 'not a count'
done
status 2 scan "$work/d" --from nonsense
says 'not an id'
status 2 stat "$work/d" --frames
says 'an option that this command does not have'
status 2 --nonsense
status 0 --help
check 'help lists all' 14 "$(grep -c '^  [a-z]* *DIR' "$work/out")"
status 0 --version
for command in create get put delete scan export import watch stat check dump backup compact \
	repair; do
	status 0 "$command" --help
	check "help of $command" 1 "$(grep -c "^  $command .*DIR" "$work/out")"
	check "help of $command alone" 1 "$(grep -c 'DIR.*' "$work/out" | sed 's/2/1/')"
done
[ ! -e "$work/d" ] || check 'nothing was made' '' "$work/d"

# flip FILE OFFSET: changes a byte.
flip() {
	byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059
	printf "\\$(printf '%03o' $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# No database, and no directory for one ------------------------------------------------------------

mkdir "$work/empty" "$work/foreign"
echo hello >"$work/foreign/root"
echo file >"$work/file"
for place in none empty file; do
	for command in "get $nobody" scan export stat check dump "delete $nobody" import compact; do
		set -- $command
		name=$1
		shift
		status 3 "$name" "$work/$place" "$@"
		says 'there is no database'
	done
	status 3 backup "$work/$place" "$work/copy"
	status 3 repair "$work/$place" "$work/copy"
	status 3 put "$work/$place" '{}'
done
check 'nothing is made by looking' '' "$(ls -A "$work/empty")"
[ ! -e "$work/none" ] || check 'nor a directory' '' "$work/none"
for command in "get $nobody" scan export stat dump check import; do
	set -- $command
	name=$1
	shift
	status 1 "$name" "$work/foreign" "$@"
done
status 1 create "$work/foreign"
says 'a database in'
check 'a foreign file stays' hello "$(cat "$work/foreign/root")"
status 1 create "$work/no/such"
status 1 create "$work/file"

# Records ------------------------------------------------------------------------------------------

status 0 create "$work/d"
silent
status 1 create "$work/d"
says 'a database in'
status 0 put "$work/d" '{"title":"first light","n":3}'
id=$(out)
check 'an id is printed' 1 "$(printf '%s\n' "$id" | grep -cE '^[0-9a-f-]{36}$')"
status 0 get "$work/d" "$id"
check 'get prints fields' 'n: 3|title: "first light"|' "$(sort "$work/out" | tr '\n' '|')"
status 0 get "$work/d" "$id" --json
check 'get prints JSON' '{"n":3,"title":"first light"}' "$(out)"
status 0 put "$work/d" "$id" '{"n":4}'
check 'put with an id prints nothing' '' "$(out)"
status 0 get "$work/d" "$id" --json --field n
check 'put set a field and left the other' '{"n":4}' "$(out)"
echo '{"n":5}' >"$work/in"
status 0 put "$work/d" "$id" -
status 0 get "$work/d" "$id" --json
check 'put reads standard input' '{"n":5,"title":"first light"}' "$(out)"
status 0 put "$work/d" "$nobody" '{"made":true}'
status 0 get "$work/d" "$nobody"
check 'put makes a record under its id' 'made: true' "$(out)"
printf '%s\n%s\n' "$id" "$nobody" >"$work/in"
status 0 get "$work/d" -
check 'get - prints lines' "$id $nobody" "$(jq -rs 'map(.id) | join(" ")' <"$work/out")"

# Values of all types come back as they were; names that are no plain words too.
all='{"":"empty","a\"\n\\":[1,[2.5,{"$bytes":"AP8="}]],"b":{"$bytes":""},"d":-0.0,"e":1e300,"f":false,"i":-9223372036854775808,"j":9223372036854775807,"m":{"$map":{"$time":1}},"n":null,"nan":{"$double":"NaN"},"s":"gr\u00fc\u00dfe \ud83d\ude00","t":{"$time":"1970-01-01T00:00:00.000000001Z"},"u":{"$uuid":"01a204f3-0000-7000-8000-000000000001"},"z":0.1}'
status 0 put "$work/d" "$nobody" "$all"
status 0 get "$work/d" "$nobody" --json
out >"$work/all"
status 0 put "$work/d" "$(out)"
again=$(out)
status 0 get "$work/d" "$again" --json
jq -cS 'del(.made)' <"$work/all" >"$work/all.old"
jq -cS . <"$work/out" | jq -cS 'del(.made)' >"$work/all.new"
check 'all types round-trip' "$(cat "$work/all.old")" "$(cat "$work/all.new")"
status 0 get "$work/d" "$nobody"
check 'get prints each field' 16 "$(wc -l <"$work/out")"
check 'an odd name is quoted' 1 "$(grep -cF '"a\"\n\\": [1,[2.5,{"$bytes":"AP8="}]]' "$work/out")"

# What is no record, and no id.
for json in '' '{' '[]' '1' '{"a":1}{"b":2}' '{"a":1,"a":2}' '{"a":9223372036854775808}' \
	'{"a":"\u0000"}' '{"a":{"$bytes":"?"}}' "$(printf '{"a":"\377"}')" \
	"{\"a\":$(head -c 3000 /dev/zero | tr '\0' '[')}"; do
	status 1 put "$work/d" "$json"
	says 'blaze-db: put'
	check 'and nothing is printed' '' "$(out)"
done
head -c 17000000 /dev/zero | tr '\0' '{' >"$work/in"
status 1 put "$work/d" -
status 1 put "$work/d" nonsense '{}'
says 'not an id: nonsense'
status 1 get "$work/d" nonsense
says 'not an id'
status 3 get "$work/d" 01a204f3-0000-7000-8000-00000000ffff
says 'no record 01a204f3-0000-7000-8000-00000000ffff'
status 3 delete "$work/d" 01a204f3-0000-7000-8000-00000000ffff
status 0 delete "$work/d" "$again"
printf '%s\n%s\n' "$again" "$nobody" >"$work/in"
status 3 delete "$work/d" -
says "no record $again"
status 3 get "$work/d" "$nobody"
status 0 scan "$work/d"
check 'one record is left' "$id" "$(jq -r .id <"$work/out")"

# Compaction ---------------------------------------------------------------------------------------

status 0 create "$work/k"
for i in 1 2 3 4 5 6 7 8 9; do
	status 0 put "$work/k" 00000000-0000-4000-8000-000000000001 "{\"n\":$i}"
done
status 0 export "$work/k"
cp "$work/out" "$work/k.before"
status 0 compact "$work/k"
check 'it says what it did' 1 "$(grep -c '^[0-9]* bytes of log, [0-9]* before$' "$work/out")"
check 'the log is shorter' 1 "$(awk '{ print $1 < $5 }' "$work/out")"
status 0 stat "$work/k" --json
check 'stat says where it begins' 'true true 0' \
	"$(jq -r '"\(.start > 9) \(.last > .start) \(.transactions)"' <"$work/out")"
status 0 stat "$work/k"
check 'so does its text' 1 "$(grep -c '^start  *entry [0-9]* of [0-9]*: a checkpoint' "$work/out")"
status 0 dump "$work/k"
check 'dump begins there' checkpoint "$(jq -rs '.[0].transaction.part' <"$work/out")"
check 'and names the parts' end "$(jq -rs 'map(.transaction.part)[] | select(. == "end")' <"$work/out")"
status 0 compact "$work/k"
status 0 check "$work/k"
status 0 export "$work/k"
check 'and has the same' '' "$(diff "$work/k.before" "$work/out")"
status 0 backup "$work/k" "$work/k.copy"
status 0 export "$work/k.copy"
check 'so has a copy' '' "$(diff "$work/k.before" "$work/out")"
for segment in "$work/k"/*.seg; do
	flip "$segment" 200
done
status 1 compact "$work/k"
says "is damaged ('blaze-db check $work/k' says where)"

# Import and export --------------------------------------------------------------------------------

status 0 import "$work/d" --new-ids "$data"
check 'import counts' '200 records' "$(out)"
silent
status 0 export "$work/d"
silent
out >"$work/all"
check 'export prints all' 201 "$(wc -l <"$work/all")"
jq -cS '.record' <"$work/all" | sort >"$work/all.new"
{ jq -cS . <"$data" && echo '{"n":5,"title":"first light"}'; } | sort >"$work/all.old"
check 'what was imported is exported' '' "$(diff "$work/all.old" "$work/all.new")"
status 0 create "$work/e" --policy lww
cp "$work/all" "$work/in"
status 0 import "$work/e" --json
check 'import reads standard input' 201 "$(jq .records <"$work/out")"
cp "$work/all" "$work/in"
status 0 import "$work/e" -
status 0 export "$work/e"
check 'twice is as once' '' "$(diff "$work/all" "$work/out")"
status 0 scan "$work/e" --limit 3 --field package --field version
check 'scan limits' 3 "$(wc -l <"$work/out")"
check 'scan chooses' package,version "$(sed -n 2p "$work/out" | jq -r '.record | keys | join(",")')"
from=$(sed -n 50p "$work/all" | jq -r .id)
to=$(sed -n 60p "$work/all" | jq -r .id)
status 0 scan "$work/e" --from "$from" --to "$to"
check 'scan takes a range' '' "$(sed -n 50,59p "$work/all" | diff - "$work/out")"
status 1 import "$work/e" "$work/nonexistent"
says 'cannot read'
status 1 import "$work/e" "$work"

# A wrong line is named, its batch is not there, and the ones before are.
status 0 create "$work/f"
good() {
	printf '{"id":"01a204f3-0000-7000-8000-%012x","record":{"n":%d}}\n' "$1" "$1"
}
{
	n=1
	while [ "$n" -le 1100 ]; do
		good "$n"
		n=$((n + 1))
	done
	echo '{"id":"nonsense","record":{}}'
	good 1200
} >"$work/lines"
status 1 import "$work/f" "$work/lines"
says "$work/lines:1101: not an id"
says 'import: 1024 records are in, through line 1024; repeating it from the start is safe'
status 0 scan "$work/f"
check 'whole batches only' 1024 "$(wc -l <"$work/out")"
sed -i 1101d "$work/lines"
status 0 import "$work/f" "$work/lines"
status 0 scan "$work/f"
check 'mended and repeated' 1101 "$(wc -l <"$work/out")"
status 0 export "$work/f"
out >"$work/before"
for line in '{' '{"a":1}' '[]' '{"id":"01a204f3-0000-7000-8000-000000000001"}' \
	'{"id":"01a204f3-0000-7000-8000-000000000001","record":[]}' \
	'{"id":"01a204f3-0000-7000-8000-000000000001","record":{},"more":1}' \
	'{"id":1,"record":{}}' '{"id":"x","id":"y","record":{}}' \
	'{"id":"01a204f3-0000-7000-8000-000000000001","record":{"a":{"$time":"yesterday"}}}' \
	'{"id":"01a204f3-0000-7000-8000-000000000001","record":{"a":1e999}}' \
	"$(printf '{"id":"01a204f3-0000-7000-8000-000000000001","record":{"a":"\377"}}')"; do
	{ good 5000 && echo && printf '%s\n' "$line" && good 5001; } >"$work/in"
	status 1 import "$work/f"
	says 'standard input:3: '
	says '0 records are in'
done
{ good 5000 && printf '{"id":"\0"}\n'; } >"$work/in"
status 1 import "$work/f"
says 'standard input:2: '
{ good 5000 && head -c 17000000 /dev/zero | tr '\0' ' '; } >"$work/in"
status 1 import "$work/f"
says 'standard input:2: '
{ good 5000 && jq -nc '{id: "01a204f3-0000-7000-8000-000000000001",
	record: ([range(1025)] | map({key: "f\(.)", value: .}) | from_entries)}'; } >"$work/in"
status 1 import "$work/f"
says 'standard input:2: '
status 0 export "$work/f"
check 'none of it is there' '' "$(diff "$work/before" "$work/out")"
{ printf '\n \r\n' && good 5000 | tr -d '\n'; } >"$work/in"
status 0 import "$work/f"
check 'blank lines and no last end of line' '1 records' "$(out)"

# Output that can't be written, readers that leave, interrupts --------------------------------------

if [ -w /dev/full ]; then
	for command in export scan dump check stat "get $id"; do
		set -- $command
		name=$1
		shift
		"$db" "$name" "$work/d" "$@" >/dev/full 2>"$work/err"
		check "status of $name to /dev/full" 1 "$?"
		says 'cannot write to standard output'
	done
fi
{
	"$db" export "$work/d" 2>"$work/err"
	echo $? >"$work/pipe"
} | head -n 1 >"$work/out"
check 'one line arrives' 1 "$(wc -l <"$work/out")"
{
	{
		"$db" dump "$work/f" 2>"$work/err"
		echo $? >"$work/pipe"
	} | head -c 0
} >"$work/out"
check 'a reader that leaves ends it by SIGPIPE' 141 "$(cat "$work/pipe")"
silent

# A program that has it open is named; who only looks works on. The program waits for a pipe, and
# then is interrupted.
mkfifo "$work/pipe.in"
"$db" import "$work/f" "$work/pipe.in" >"$work/held.out" 2>"$work/held.err" &
holder=$!
exec 9>"$work/pipe.in"
tries=0
until "$db" stat "$work/f" --json 2>/dev/null | jq -e .open >/dev/null; do
	tries=$((tries + 1))
	[ "$tries" -lt 400 ] || break
	sleep 0.05
done
for command in "get $nobody" scan export "delete $nobody" import; do
	set -- $command
	name=$1
	shift
	status 1 "$name" "$work/f" "$@"
	says "is open in process $holder (blaze-db)"
done
status 1 put "$work/f" '{}'
says "is open in process $holder (blaze-db)"
status 0 stat "$work/f"
check 'stat names it' 1 "$(grep -c "^open .*process $holder (blaze-db)" "$work/out")"
status 0 check "$work/f"
status 0 backup "$work/f" "$work/f.copy"
kill -INT "$holder"
exec 9>&-
wait "$holder"
check 'an interrupt ends it as one' 130 "$?"
check 'and says what is in' 1 "$(grep -c '0 records are in, through line 0' "$work/held.err")"
status 0 export "$work/f.copy"
out >"$work/before"
status 0 export "$work/f"
check 'the copy has all' '' "$(diff "$work/before" "$work/out")"
check 'the copy is another' 1 "$("$db" put "$work/f.copy" '{}' | wc -l)"

# Backup -------------------------------------------------------------------------------------------

status 0 backup "$work/d" "$work/d.copy"
silent
status 0 check "$work/d.copy" --json
copy=$(jq -r .hash <"$work/out")
status 0 check "$work/d" --json
check 'a backup is equal' "$(jq -r .hash <"$work/out")" "$copy"
status 1 backup "$work/d" "$work/e"
says 'backup of'
status 1 backup "$work/d" "$work/d"
status 1 backup "$work/d" "$work/no/such"
status 0 check "$work/d"
status 0 check "$work/e"

# dump, stat, check ----------------------------------------------------------------------------------

status 0 dump "$work/d"
check 'dump prints transactions' 0 "$(jq -r 'select(.frame)' <"$work/out" | wc -l)"
last=$(jq -s 'map(.transaction.lsn) | max' <"$work/out")
status 0 dump "$work/d" --frames
check 'frames count them' "$last" "$(jq -s 'map(.frame.count // 0) | add' <"$work/out")"
check 'all are valid' true "$(jq -s 'map(select(.frame) | .frame.valid) | all' <"$work/out")"
check 'first operations' first\ light "$(jq -r '.transaction.operations[0].set.title // empty' \
	<"$work/out" | head -n 1)"
check 'a delete shows' 1 "$(jq -c 'select(.transaction.operations[0].exists == false)' <"$work/out" |
	sed 1q | wc -l)"
status 0 stat "$work/d" --json
check 'stat counts' "201 $last server-priority false" \
	"$(jq -r '"\(.records) \(.transactions) \(.policy) \(.torn)"' <"$work/out")"
status 0 stat "$work/e" --json
check 'stat has the policy' lww "$(jq -r .policy <"$work/out")"

status 0 create "$work/g"
status 0 put "$work/g" '{"a":1}'
status 0 put "$work/g" '{"a":2}'
status 0 export "$work/g"
out >"$work/before"
for file in root 0000000000000001.seg 0000000000000002.seg; do
	size=$(stat -c %s "$work/g/$file")
	offset=0
	while [ "$offset" -lt "$size" ]; do
		flip "$work/g/$file" "$offset"
		"$db" check "$work/g" >"$work/out" 2>"$work/err"
		check "check of a changed byte: $file $offset" 1 "$?"
		if [ "$file" != root ]; then
			grep -qF "$work/g/$file: offset $((offset / 4096 * 4096)):" "$work/out" ||
				check "the place of $file $offset" named "$(out)"
			grep -qF "segment ${file%.seg} is corrupt" "$work/err" ||
				check "the reason of $file $offset" told "$(cat "$work/err")"
		fi
		flip "$work/g/$file" "$offset"
		offset=$((offset + (size > 200 ? 131 : 7)))
	done
done
status 0 export "$work/g"
check 'looking changed nothing' '' "$(diff "$work/before" "$work/out")"
flip "$work/g/0000000000000001.seg" 200
for command in scan export import stat; do
	status 1 "$command" "$work/g"
	says "is damaged ('blaze-db check $work/g' says where)"
done
status 1 backup "$work/g" "$work/g.copy"
[ ! -e "$work/g.copy/root" ] || check 'no damaged copy' '' root
status 0 repair "$work/g" "$work/g.none"
check 'repair of the first frame leaves nothing' \
	'0 transactions, 0 records; what came after them is lost' "$(out)"
status 0 check "$work/g.none"
status 1 repair "$work/g" "$work/g.none"
status 1 repair "$work/g" "$work/no/such"
status 0 dump "$work/g" --frames
check 'dump goes on past damage' 'false true' \
	"$(jq -rs 'map(select(.frame) | .frame.valid) | join(" ")' <"$work/out")"
check 'and has what is left' 2 "$(jq -r '.transaction.lsn // empty' <"$work/out")"
status 1 check "$work/g" --json
check 'check lists the place' '0000000000000001.seg 0 4096' \
	"$(jq -r '.places[] | "\(.file) \(.offset) \(.bytes)"' <"$work/out")"
flip "$work/g/0000000000000001.seg" 200
status 1 repair "$work/g" "$work/g.no"
says 'needs none'
[ ! -e "$work/g.no" ] || check 'nothing is made' '' "$work/g.no"
flip "$work/g/0000000000000002.seg" 300
status 0 repair "$work/g" "$work/g.one"
check 'repair keeps what is before' '1 transactions, 1 records; what came after them is lost' "$(out)"
status 0 export "$work/g.one"
check 'which is the first' "$(grep -F '{"a":1}' "$work/before")" "$(out)"
status 0 put "$work/g.one" '{"a":3}'
status 0 check "$work/g.one"
flip "$work/g/0000000000000002.seg" 300
# A log that was compacted has its records first, and all or none.
status 0 create "$work/first"
status 0 import "$work/first" --new-ids "$data"
status 0 compact "$work/first"
set -- "$work/first"/*.seg
flip "$1" 5000
status 1 check "$work/first"
status 1 repair "$work/first" "$work/first.no"
says 'in the records that its log begins with'
says 'first.no is none'
status 1 check "$work/first.no"
# Nor is there anything without a root.
mv "$work/first/root" "$work/first.root"
for command in check get\ "$nobody" stat dump export delete\ "$nobody"; do
	# shellcheck disable=SC2086 # a command and its operands
	set -- $command
	command=$1
	shift
	status 3 "$command" "$work/first" "$@"
	says 'has lost its root'
done
mv "$work/first.root" "$work/first/root"
flip "$work/g/root" 50
status 1 repair "$work/g" "$work/g.root"
says 'the root'
flip "$work/g/root" 50
mv "$work/g/0000000000000001.seg" "$work/kept"
status 1 check "$work/g"
says 'it is missing'
mkdir "$work/g/0000000000000001.seg"
status 1 check "$work/g"
rmdir "$work/g/0000000000000001.seg"
head -c 1000 "$work/kept" >"$work/g/0000000000000001.seg"
status 1 check "$work/g"
mv "$work/kept" "$work/g/0000000000000001.seg"
cp "$work/g/0000000000000001.seg" "$work/g/0000000000000002.seg"
status 1 check "$work/g"
: >"$work/g/root"
status 1 check "$work/g"
rm "$work/g/root"
status 3 check "$work/g"

# A killed program leaves a segment without an end: whole while nothing lies behind its last frame,
# torn where something does.
status 0 create "$work/h"
rm -f "$work/pipe.in"
mkfifo "$work/pipe.in"
"$db" import "$work/h" "$work/pipe.in" >/dev/null 2>&1 &
holder=$!
exec 9>"$work/pipe.in"
n=1
while [ "$n" -le 1024 ]; do
	good "$n"
	n=$((n + 1))
done >&9
tries=0
until [ "$("$db" stat "$work/h" --json 2>/dev/null | jq .records)" = 1024 ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 400 ] || break
	sleep 0.05
done
kill -KILL "$holder"
exec 9>&-
wait "$holder" 2>/dev/null
status 0 check "$work/h"
segment=$work/h/0000000000000001.seg
end=$("$db" stat "$work/h" --json | jq .bytes)
flip "$segment" $((end + 5))
status 4 check "$work/h"
says 'ends in something torn'
status 4 check "$work/h" --json
check 'check says torn' torn "$(jq -r .state <"$work/out")"
status 0 stat "$work/h"
check 'stat says torn' 1 "$(grep -c '^torn ' "$work/out")"
status 0 export "$work/h"
says 'is torn at'
check 'a torn end takes nothing' 1024 "$(wc -l <"$work/out")"
status 4 check "$work/h"
status 0 put "$work/h" '{}'
status 0 check "$work/h"

# Places that can't be written -----------------------------------------------------------------------

find "$work/d" -type f | sort | xargs cat | cksum >"$work/before"
if [ "$(id -u)" = 0 ] && setpriv --reuid=65534 --regid=65534 --clear-groups true 2>/dev/null; then
	lower='setpriv --reuid=65534 --regid=65534 --clear-groups'
	chmod 755 "$work" "$work/d" && chmod 644 "$work/d"/*
else
	lower=
	chmod 555 "$work/d" && chmod 444 "$work/d"/*
fi
unwritable() {
	expected=$1
	shift
	# shellcheck disable=SC2086 # words
	$lower "$db" "$@" >"$work/out" 2>"$work/err" </dev/null
	check "status without permission: $*" "$expected" "$?"
}
if $lower test -x "$db"; then
	unwritable 0 get "$work/d" "$id"
	unwritable 0 export "$work/d"
	unwritable 0 check "$work/d"
	unwritable 0 stat "$work/d"
	unwritable 1 put "$work/d" '{}'
	says 'ermission'
	unwritable 1 import "$work/d"
	unwritable 1 create "$work/d/below"
	unwritable 1 backup "$work/d" "$work/d/below"
	check 'nothing changed' "$(cat "$work/before")" \
		"$(find "$work/d" -type f | sort | xargs cat | cksum)"
fi
mkdir "$work/small"
if mount -t tmpfs -o size=3m tmpfs "$work/small" 2>/dev/null; then
	status 0 create "$work/small/db"
	n=0
	while [ "$n" -lt 4000 ]; do
		n=$((n + 1))
		printf '{"n":%d,"text":"%01000d"}\n' "$n" "$n"
	done >"$work/lines"
	status 1 import "$work/small/db" --new-ids "$work/lines"
	says 'import'
	part=$(sed -n 's/.*import: \([0-9]*\) records are in.*/\1/p' "$work/err")
	check 'some are in' 1 "$((part > 0 && part < 4000))"
	# Half a frame may be what the disk had no room for.
	"$db" check "$work/small/db" >"$work/out" 2>"$work/err"
	case $? in
	0 | 4) good=1 ;;
	*) good=0 ;;
	esac
	check 'it is whole, but for its end' 1 "$good"
	status 0 scan "$work/small/db" --field n
	check 'those that it said, or a batch more' 1 "$(($(wc -l <"$work/out") >= part))"
	status 1 backup "$work/d" "$work/small/copy"
	# With room again it goes on, and is whole.
	mount -o remount,size=16m "$work/small"
	status 0 put "$work/small/db" '{"n":0}'
	status 0 check "$work/small/db"
	# Lazily: the kernel may still be ending what a program that ended had under way.
	umount -l "$work/small"
fi

# A bar where somebody looks.
if command -v script >/dev/null; then
	script -qec "'$db' import '$work/e' '$work/all' >/dev/null" /dev/null >"$work/out" 2>&1 </dev/null
	check 'a terminal gets a bar' 1 "$(grep -c '100 %.* 201 records' "$work/out")"
fi

printf '%d checks, %d failed\n' "$checks" "$failures"
[ "$failures" -eq 0 ]
