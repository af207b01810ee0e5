# SPDX-License-Identifier: Apache-2.0
# The programs as their users see them, and the manual's examples.
tools_tests = tests/tools/test_arguments.sh tests/tools/test_blaze_db.sh \
	tests/tools/test_blaze_ring.sh \
	tests/tools/test_lane.sh \
	tests/tools/test_manual.sh
dist_check_SCRIPTS += $(tools_tests)
EXTRA_DIST += tests/tools/blaze_db.sh
TESTS += $(tools_tests)
tests/tools/test_blaze_db.log: lib/tool/blaze-db$(EXEEXT)
tests/tools/test_lane.log: lib/tool/blaze-db$(EXEEXT) tests/tools/hold$(EXEEXT)
tests/tools/test_blaze_ring.log: shm/blaze-ring$(EXEEXT)
tests/tools/test_arguments.log: shm/blaze-ring$(EXEEXT) perf/blaze-perf$(EXEEXT) \
	lib/tool/blaze-db$(EXEEXT) tests/blaze-sim$(EXEEXT)

check_PROGRAMS += tests/tools/hold tests/tools/test_perf
TESTS += tests/tools/test_perf
tests_tools_hold_SOURCES = tests/tools/hold.c
tests_tools_test_perf_SOURCES = tests/tools/test_perf.c
