# SPDX-License-Identifier: Apache-2.0
# The examples of the manual: what a page shows is the text of one of these (tests/tools), and each
# is a test that must end with 0. They are linked with the library as programs are.
manual_examples = man/examples/conflicts man/examples/db man/examples/first man/examples/id \
	man/examples/record man/examples/ring man/examples/store man/examples/topology man/examples/txn \
	man/examples/watch man/examples/position
check_PROGRAMS += $(manual_examples)
TESTS += $(manual_examples)
man_examples_first_SOURCES = man/examples/first.c
man_examples_first_LDADD = libblazeshm.la
man_examples_id_SOURCES = man/examples/id.c
man_examples_id_LDADD = libblazeshm.la
man_examples_record_SOURCES = man/examples/record.c
man_examples_record_LDADD = libblazeshm.la
man_examples_ring_SOURCES = man/examples/ring.c
man_examples_ring_LDADD = libblazeshm.la
man_examples_db_SOURCES = man/examples/db.c
man_examples_db_LDADD = libblazeshm.la
man_examples_topology_SOURCES = man/examples/topology.c
man_examples_topology_LDADD = libblazeshm.la
man_examples_conflicts_SOURCES = man/examples/conflicts.c
man_examples_conflicts_LDADD = libblazeshm.la
man_examples_txn_SOURCES = man/examples/txn.c
man_examples_txn_LDADD = libblazeshm.la
man_examples_watch_SOURCES = man/examples/watch.c
man_examples_watch_LDADD = libblazeshm.la
man_examples_position_SOURCES = man/examples/position.c
man_examples_position_LDADD = libblazeshm.la
man_examples_store_SOURCES = man/examples/store.c
man_examples_store_LDADD = libblazeshm.la
