# SPDX-License-Identifier: Apache-2.0

# The demonstration: `make demo`, which `./bootstrap demo` ends in.
.PHONY: demo
demo: all tests/demo/blaze-demo
	@BLAZE_BUILDDIR='$(abs_top_builddir)' BLAZE_SRCDIR='$(abs_top_srcdir)' \
		tests/demo/blaze-demo
