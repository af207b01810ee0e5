# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += man/blaze-perf.1
