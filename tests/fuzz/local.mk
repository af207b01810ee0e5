# SPDX-License-Identifier: Apache-2.0
# Fuzz targets, each with the plain driver. Where libFuzzer drives them, its own main runs until it
# is stopped: then they are built by make check but not run.
fuzz_targets = \
	tests/fuzz/fuzz_json \
	tests/fuzz/fuzz_lane \
	tests/fuzz/fuzz_log \
	tests/fuzz/fuzz_session \
	tests/fuzz/fuzz_store \
	tests/fuzz/fuzz_txn \
	tests/fuzz/fuzz_value
check_PROGRAMS += $(fuzz_targets)
fuzz_help = tests/fuzz/fuzz.h tests/op/help.c tests/op/help.h
if FUZZING
fuzz_driver =
fuzz_link = -fsanitize=fuzzer
else
fuzz_driver = tests/fuzz/driver.c
fuzz_link =
TESTS += $(fuzz_targets)
endif
tests_fuzz_fuzz_json_SOURCES = tests/fuzz/fuzz_json.c $(fuzz_driver) $(fuzz_help)
tests_fuzz_fuzz_json_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_lane_SOURCES = tests/fuzz/fuzz_lane.c $(fuzz_driver) $(fuzz_help)
tests_fuzz_fuzz_lane_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_log_SOURCES = tests/fuzz/fuzz_log.c $(fuzz_driver) $(fuzz_help) \
	tests/repl/harness.h tests/repl/session_pair.h
tests_fuzz_fuzz_log_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_session_SOURCES = tests/fuzz/fuzz_session.c $(fuzz_driver) $(fuzz_help) \
	tests/repl/harness.h tests/repl/session_pair.h
tests_fuzz_fuzz_session_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_store_SOURCES = tests/fuzz/fuzz_store.c $(fuzz_driver) $(fuzz_help) \
	tests/store/fault.c tests/store/fault.h
tests_fuzz_fuzz_store_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_txn_SOURCES = tests/fuzz/fuzz_txn.c $(fuzz_driver) $(fuzz_help) \
	tests/repl/harness.h tests/repl/session_pair.h
tests_fuzz_fuzz_txn_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_value_SOURCES = tests/fuzz/fuzz_value.c $(fuzz_driver) $(fuzz_help)
tests_fuzz_fuzz_value_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
EXTRA_DIST += tests/fuzz/driver.c \
	tests/data/fuzz/fuzz_json.hex \
	tests/data/fuzz/fuzz_lane.hex \
	tests/data/fuzz/fuzz_log.hex \
	tests/data/fuzz/fuzz_session.hex \
	tests/data/fuzz/fuzz_store.hex \
	tests/data/fuzz/fuzz_txn.hex \
	tests/data/fuzz/fuzz_value.hex
