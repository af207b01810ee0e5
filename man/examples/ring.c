/* SPDX-License-Identifier: Apache-2.0 */
/* The example of blaze_ring_attach(3): a publisher and a reader of one ring. */
#include <stdio.h>

#include <blaze/blaze.h>

static int print(void *arg, const struct blaze_ring_record *records, unsigned count)
{
	(void)arg;
	for (unsigned i = 0; i < count; i++) {
		if (!records[i].data)
			printf("%zu bytes were lost\n", records[i].len);
		else
			printf("%.*s\n", (int)records[i].len, (const char *)records[i].data);
	}
	return 0;
}

int main(void)
{
	struct blaze_ring_options options = BLAZE_RING_OPTIONS_INIT;
	struct blaze_ring *writer = NULL, *reader = NULL;
	int r;

	options.lane_bytes = 1 << 20;
	r = blaze_ring_attach("example.ring", &options, &writer);
	if (r == 0)
		r = blaze_ring_attach("example.ring", &options, &reader);
	/* The first poll makes a reader of it: later records reach it. */
	if (r == 0)
		r = blaze_ring_poll(reader, print, NULL, 0);
	if (r == 0)
		r = blaze_ring_publish(writer, "hello", 5);
	if (r == 0)
		r = blaze_ring_wait(reader, BLAZE_FOREVER);
	if (r == 0)
		r = blaze_ring_poll(reader, print, NULL, 0);
	if (r < 0)
		fprintf(stderr, "%s\n", blaze_strerror(r));
	blaze_ring_detach(reader);
	blaze_ring_detach(writer);
	return r == 1 ? 0 : 1;
}
