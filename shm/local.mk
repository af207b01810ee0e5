# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	shm/adopt.c \
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

# The program, which looks into rings without attaching (survey.c) and so needs inner calls that
# the library does not export: it is linked with the objects themselves.
bin_PROGRAMS += shm/blaze-ring
shm_blaze_ring_SOURCES = \
	shm/blaze-ring.c \
	shm/blaze-ring.h \
	shm/blaze-ring-show.c \
	shm/blaze-ring-stream.c \
	shm/survey.c \
	shm/survey.h
shm_blaze_ring_LDADD = tests/libblaze-test.la
