# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	lib/store/frame.c \
	lib/store/frame.h \
	lib/store/root.c \
	lib/store/root.h
