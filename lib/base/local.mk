# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	lib/base/base.c \
	lib/base/base.h
