# SPDX-License-Identifier: Apache-2.0
op_tests = \
	tests/op/test_json \
	tests/op/test_record \
	tests/op/test_record_memory \
	tests/op/test_record_names \
	tests/op/test_value_check \
	tests/op/test_value_encode
check_PROGRAMS += $(op_tests)
TESTS += $(op_tests)
op_help = tests/op/help.c tests/op/help.h
tests_op_test_json_SOURCES = tests/op/test_json.c $(op_help)
tests_op_test_record_SOURCES = tests/op/test_record.c $(op_help)
tests_op_test_record_memory_SOURCES = tests/op/test_record_memory.c tests/op/held.h $(op_help)
tests_op_test_record_memory_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=realloc,--wrap=reallocarray,--wrap=free
tests_op_test_record_names_SOURCES = tests/op/test_record_names.c $(op_help)
tests_op_test_value_check_SOURCES = tests/op/test_value_check.c $(op_help)
tests_op_test_value_encode_SOURCES = tests/op/test_value_encode.c $(op_help)

check_PROGRAMS += tests/op/test_txn
TESTS += tests/op/test_txn
tests_op_test_txn_SOURCES = tests/op/test_txn.c
check_PROGRAMS += tests/op/test_txn_limits
TESTS += tests/op/test_txn_limits
tests_op_test_txn_limits_SOURCES = tests/op/test_txn_limits.c $(op_help)
