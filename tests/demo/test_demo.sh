#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demonstration with the sample of records: three programs end with equal databases.
set -eu
"$BLAZE_BUILDDIR/tests/demo/blaze-demo" --sample --database "demo.$$"
