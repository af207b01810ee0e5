# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	lib/topology/connect.c \
	lib/topology/find.c \
	lib/topology/topology.c \
	lib/topology/topology.h \
	lib/topology/wait.c
