# SPDX-License-Identifier: Apache-2.0
topology_tests = tests/topology/test_position tests/topology/test_topology
check_PROGRAMS += $(topology_tests)
TESTS += $(topology_tests)
tests_topology_test_topology_SOURCES = tests/topology/test_topology.c tests/db/node.h
tests_topology_test_position_SOURCES = \
	tests/topology/test_position.c tests/db/node.h tests/base/child.h
tests_topology_test_position_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=blazei_board_read
