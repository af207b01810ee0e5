# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	lib/base/base.c \
	lib/base/base.h \
	lib/base/error.c \
	lib/base/id.c \
	lib/base/id.h \
	lib/base/log.c \
	lib/base/shm.c \
	lib/base/shm.h \
	lib/base/testpoint.c
