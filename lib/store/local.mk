# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	lib/store/backup.c \
	lib/store/backup.h \
	lib/store/checked.c \
	lib/store/checked.h \
	lib/store/drop.c \
	lib/store/engine.c \
	lib/store/engine.h \
	lib/store/file.c \
	lib/store/file.h \
	lib/store/flush.c \
	lib/store/folder.c \
	lib/store/folder.h \
	lib/store/frame.c \
	lib/store/frame.h \
	lib/store/log.c \
	lib/store/log.h \
	lib/store/mem.c \
	lib/store/mem.h \
	lib/store/open.c \
	lib/store/pack.c \
	lib/store/pack.h \
	lib/store/place.c \
	lib/store/place.h \
	lib/store/recover.c \
	lib/store/root.c \
	lib/store/root.h \
	lib/store/scheme.c \
	lib/store/scheme.h \
	lib/store/strays.c \
	lib/store/strays.h \
	lib/store/tail.c \
	lib/store/tail.h \
	lib/store/unpack.c \
	lib/store/view.c \
	lib/store/view.h
