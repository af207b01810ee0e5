# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += tests/data/README tests/data/packages.jsonl tests/data/packages.sh
