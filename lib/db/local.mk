# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	lib/db/answer.c \
	lib/db/answer.h \
	lib/db/attach.c \
	lib/db/board.c \
	lib/db/board.h \
	lib/db/carry.c \
	lib/db/carry.h \
	lib/db/census.c \
	lib/db/census.h \
	lib/db/compact.c \
	lib/db/compact.h \
	lib/db/conflict_log.c \
	lib/db/conflicts.c \
	lib/db/conflicts.h \
	lib/db/db.c \
	lib/db/db.h \
	lib/db/durable.c \
	lib/db/durable.h \
	lib/db/event.c \
	lib/db/event.h \
	lib/db/lag.c \
	lib/db/links.c \
	lib/db/members.c \
	lib/db/notify.c \
	lib/db/pull.c \
	lib/db/pull.h \
	lib/db/read.c \
	lib/db/renew.c \
	lib/db/service.c \
	lib/db/service.h \
	lib/db/sink.c \
	lib/db/turn.c \
	lib/db/txn.c \
	lib/db/watch.c \
	lib/db/watch.h \
	lib/db/write.c
