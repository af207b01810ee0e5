# SPDX-License-Identifier: Apache-2.0
libblazeshm_la_SOURCES += \
	lib/op/buffer.c \
	lib/op/buffer.h \
	lib/op/hash.h \
	lib/op/hlc.h \
	lib/op/json.h \
	lib/op/json_read.c \
	lib/op/json_text.c \
	lib/op/json_write.c \
	lib/op/record.c \
	lib/op/record.h \
	lib/op/record_fields.c \
	lib/op/stamp.h \
	lib/op/txn.c \
	lib/op/txn.h \
	lib/op/unit.c \
	lib/op/unit.h \
	lib/op/utf8.c \
	lib/op/value.c \
	lib/op/value.h \
	lib/op/value_encode.c
