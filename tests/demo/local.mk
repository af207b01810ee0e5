# SPDX-License-Identifier: Apache-2.0
demo_programs = tests/demo/blaze-demo tests/demo/blaze-demo-node
check_PROGRAMS += $(demo_programs)
tests_demo_blaze_demo_SOURCES = tests/demo/blaze-demo.c
tests_demo_blaze_demo_LDADD =
tests_demo_blaze_demo_node_SOURCES = tests/demo/demo-node.c
tests_demo_blaze_demo_node_LDADD = libblazeshm.la
dist_check_SCRIPTS += tests/demo/test_demo.sh
TESTS += tests/demo/test_demo.sh
CLEANFILES += tests/demo/packages.jsonl

# The demonstration: `make demo`, which `./bootstrap demo` ends in.
.PHONY: demo
demo: all $(demo_programs)
	@BLAZE_BUILDDIR='$(abs_top_builddir)' BLAZE_SRCDIR='$(abs_top_srcdir)' \
		tests/demo/blaze-demo
