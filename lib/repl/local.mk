# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	lib/repl/arena.c \
	lib/repl/arena.h \
	lib/repl/conflict.c \
	lib/repl/core.h \
	lib/repl/effects.c \
	lib/repl/effects.h \
	lib/repl/encode.c \
	lib/repl/halt.c \
	lib/repl/history.c \
	lib/repl/history.h \
	lib/repl/identity.c \
	lib/repl/identity.h \
	lib/repl/merge.c \
	lib/repl/names.c \
	lib/repl/order.c \
	lib/repl/park.c \
	lib/repl/read.c \
	lib/repl/replica.c \
	lib/repl/replica.h \
	lib/repl/restart.c \
	lib/repl/slab.c \
	lib/repl/slab.h \
	lib/repl/state.c \
	lib/repl/table.c \
	lib/repl/table.h \
	lib/repl/vector.c \
	lib/repl/write.c \
	lib/repl/writeset.c \
	lib/repl/writeset.h \
	lib/repl/writeset_core.h \
	lib/repl/writeset_write.c
