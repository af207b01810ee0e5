/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_id_new(3): an id there and back, and an error's text. */
#include <stdio.h>
#include <string.h>

#include <blaze/blaze.h>

static void log_line(void *arg, enum blaze_log_level level, const char *line)
{
	fprintf(arg, "blazeshm %s [%d]: %s\n", blaze_version(), (int)level, line);
}

int main(void)
{
	struct blaze_id id, same;
	char text[37];
	int r;

	blaze_log_set(log_line, stderr);
	r = blaze_id_new(&id);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", blaze_error_name(r), blaze_strerror(r));
		return 1;
	}
	blaze_id_format(&id, text);
	printf("%s\n", text);
	r = blaze_id_parse(text, &same);
	return r == 0 && memcmp(&id, &same, sizeof(id)) == 0 ? 0 : 1;
}
