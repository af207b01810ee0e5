#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The text of each example program stands in a page of the manual, letter by letter: what is
# compiled and run is what readers see.
set -u
cd "${BLAZE_SRCDIR:?}" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
count=0

# Literal displays of all pages, unescaped, each in a file.
# shellcheck disable=SC2046
awk -v out="$work/display-" '
/^\.Bd/ && /literal/ { inside = 1; file = out (++count); printf "" > file; next }
/^\.Ed/ { inside = 0; close(file) }
inside { gsub(/\\e/, "\\"); gsub(/\\&/, ""); print > file }
' $(ls man/*.[1-9])

for example in man/examples/*.c; do
	count=$((count + 1))
	# From the first include on: the comment above it is for those who read the file.
	sed -n '/^#include/,$p' "$example" >"$work/example"
	found=0
	for display in "$work"/display-*; do
		cmp -s "$work/example" "$display" && found=1
	done
	if [ "$found" -eq 0 ]; then
		echo "FAILED: no page shows $example as it is"
		failures=$((failures + 1))
	fi
done
printf '%d examples, %d failed\n' "$count" "$failures"
[ "$count" -gt 0 ] && [ "$failures" -eq 0 ]
