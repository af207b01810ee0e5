# SPDX-License-Identifier: Apache-2.0
# blaze-perf is installed; the yardstick is also a program of its own, which links nothing of ours.
bin_PROGRAMS += perf/blaze-perf
perf_blaze_perf_SOURCES = \
	perf/blaze-perf.c \
	perf/pattern.h \
	perf/perf.h \
	perf/perf_bench.c \
	perf/perf_board.c \
	perf/perf_db.c \
	perf/perf_db_latency.c \
	perf/perf_db_read.c \
	perf/perf_db_load.c \
	perf/perf_db_roles.h \
	perf/perf_futex.c \
	perf/perf_line.c \
	perf/perf_report.c \
	perf/perf_rest.h \
	perf/perf_ring.c \
	perf/perf_ring_check.c \
	perf/perf_ring_latency.c \
	perf/perf_ring_load.c \
	perf/perf_ring_roles.h \
	perf/perf_stat.c \
	perf/perf_store.c \
	perf/perf_store.h \
	perf/perf_store_disk.c \
	perf/perf_store_peers.c \
	perf/perf_store_self.c \
	perf/perf_store_space.c \
	perf/yard.c \
	perf/yard.h \
	perf/yard_main.c
perf_blaze_perf_CPPFLAGS = $(AM_CPPFLAGS) -DPERF_EMBEDDED $(PEERS_CPPFLAGS)
perf_blaze_perf_LDADD = libblazeshm.la $(SQLITE_LIBS) $(LMDB_LIBS) $(ROCKSDB_LIBS)

noinst_PROGRAMS += perf/blaze-yard
perf_blaze_yard_SOURCES = perf/pattern.h perf/yard.c perf/yard.h perf/yard_main.c
perf_blaze_yard_LDADD =

EXTRA_DIST += perf/NOTES.md

# The bars of the ring and the database, medians of five runs; fails on wrong content only.
.PHONY: bench
bench: perf/blaze-perf perf/bench_replica
	@commit=; \
	if test -e $(srcdir)/.git; then \
		commit=$$(git -C $(srcdir) describe --always --dirty 2>/dev/null) || commit=; \
	fi; \
	export BLAZE_PERF_COMMIT=$$commit; \
	perf/blaze-perf bench && echo && perf/bench_replica 5

# The replica core alone: perf/bench_replica [RUNS [RECORDS [OPERATIONS [HISTORY_BYTES]]]].
noinst_PROGRAMS += perf/bench_replica
perf_bench_replica_SOURCES = perf/bench_replica.c perf/perf.h perf/perf_stat.c
