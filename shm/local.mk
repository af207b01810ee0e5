# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	shm/dir.c \
	shm/layout.h \
	shm/poll.c \
	shm/publish.c \
	shm/reap.c \
	shm/ring.c \
	shm/ring.h \
	shm/ring_link.c \
	shm/roster.c \
	shm/segment.c \
	shm/slot.c \
	shm/stats.c \
	shm/wake.c
