#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Backends and databases in a directory, on each engine and with each feature of it left out. (What
# seccomp refuses leads to the same: test_engine.)
set -u
cd "${BLAZE_BUILDDIR:?}" || exit 1
failures=0
count=0
BLAZE_KILLS=${BLAZE_KILLS:-8}
export BLAZE_KILLS

# run ENGINE TEST
run() {
	count=$((count + 1))
	BLAZE_STORE_ENGINE=$1 "$2" >tests/store/test_engines.out 2>&1 && return
	failures=$((failures + 1))
	echo "FAILED: BLAZE_STORE_ENGINE=$1 $2"
	cat tests/store/test_engines.out
}

for engine in uring plain no-files no-fixed no-link no-direct no-ahead plain,no-direct \
	plain,no-ahead no-files,no-fixed,no-link,no-direct,no-ahead; do
	run "$engine" tests/store/test_conform
done
# tests/db/test_store runs by itself with all features.
for engine in plain no-link no-direct no-files,no-fixed,no-link,no-direct,no-ahead; do
	run "$engine" tests/db/test_store
done
rm -f tests/store/test_engines.out
printf '%d runs, %d failed\n' "$count" "$failures"
[ "$failures" -eq 0 ]
