# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/tools/test_perf
TESTS += tests/tools/test_perf
tests_tools_test_perf_SOURCES = tests/tools/test_perf.c
