# SPDX-License-Identifier: Apache-2.0
# The program blaze-db. It looks into stores without opening them (lib/store/survey.c), asks programs
# that have them open (lib/db/lane_client.c), and so needs inner calls that the library does not
# export: it is linked with the objects themselves.
bin_PROGRAMS += lib/tool/blaze-db
lib_tool_blaze_db_SOURCES = \
	lib/tool/access.c \
	lib/tool/blaze-db.c \
	lib/tool/blaze-db.h \
	lib/tool/bulk.c \
	lib/tool/inspect.c \
	lib/tool/lines.c \
	lib/tool/open.c \
	lib/tool/progress.c \
	lib/tool/records.c \
	lib/tool/watch.c \
	lib/db/lane_client.c \
	lib/db/lane_client.h \
	lib/store/survey.c \
	lib/store/survey.h
lib_tool_blaze_db_LDADD = tests/libblaze-test.la
