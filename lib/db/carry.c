/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions over private rings; see carry.h. */
#include "lib/db/carry.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/db/db.h"

#define ASKER_LANE_BYTES_MIN (UINT64_C(128) << 10)
#define ASKER_LANE_BYTES_MAX (UINT64_C(2) << 20)
#define ANSWERER_LANE_BYTES  (UINT64_C(2) << 20)

void blazei_carry_name(const char *db_name, const struct blaze_id *ring,
                       char ret_name[BLAZEI_CARRY_NAME_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	int n = snprintf(ret_name, BLAZEI_CARRY_NAME_BYTES, "x.%.29s.", db_name);
	char *at = ret_name + n;

	for (size_t i = 0; i < sizeof(ring->bytes); i++) {
		*at++ = digits[ring->bytes[i] >> 4];
		*at++ = digits[ring->bytes[i] & 15];
	}
	*at = '\0';
}

/* The asker sends a hello and nothing else that is long: 40 bytes for each origin, with room for
 * many more than there are. A record may take a quarter of a lane. */
static uint64_t asker_lane_bytes(struct blaze_db *db)
{
	uint64_t bytes = ASKER_LANE_BYTES_MIN;
	uint64_t want;

	pthread_mutex_lock(&db->lock);
	want = 8 * sizeof(struct blazei_session_entry) * blazei_replica_vector_count(db->replica);
	pthread_mutex_unlock(&db->lock);
	while (bytes < want && bytes < ASKER_LANE_BYTES_MAX)
		bytes *= 2;
	return bytes;
}

static int nothing_handle(void *arg, const struct blazei_link_record *records, unsigned count)
{
	(void)arg;
	(void)records;
	(void)count;
	/* What comes with the first poll is not consumed. */
	return -EAGAIN;
}

static int ring_open(struct blaze_db *db, struct blazei_carry *carry, const struct blaze_id *ring,
                     enum blazei_session_side side)
{
	const bool asks = side == BLAZEI_SESSION_ASKER;
	const struct blazei_link_options options = {
		.lane_bytes = asks ? asker_lane_bytes(db) : ANSWERER_LANE_BYTES,
		.lossless = true,
		.nonblock = true,
		.no_create = !asks,
	};
	char name[BLAZEI_CARRY_NAME_BYTES];
	int error;

	blazei_carry_name(db->name, ring, name);
	error = blazei_link_open_ring(name, &options, &carry->link);
	if (error != 0)
		return error;
	error = carry->link->ops->poll(carry->link, nothing_handle, NULL, 1);
	return error < 0 && error != -EAGAIN ? error : 0;
}

int blazei_carry_open(struct blaze_db *db, struct blazei_carry *carry, const struct blaze_id *ring,
                      enum blazei_session_side side)
{
	struct blazei_session_options options = {
		.replica = db->replica,
		.side = side,
		.stage = side == BLAZEI_SESSION_ASKER ? db->stage : NULL,
		.anew = true,
	};
	int error = ring_open(db, carry, ring, side);

	memcpy(&options.id, ring->bytes + 8, sizeof(options.id));
	options.id += side;
	if (error == 0) {
		carry->out = malloc(BLAZEI_SESSION_MESSAGE_MAX);
		error = carry->out != NULL ? 0 : -ENOMEM;
	}
	if (error != 0)
		return error;
	carry->heard = side == BLAZEI_SESSION_ANSWERER;
	pthread_mutex_lock(&db->lock);
	error = blazei_session_new(&options, &carry->session);
	pthread_mutex_unlock(&db->lock);
	return error;
}

struct arrival {
	struct blaze_db *db;
	struct blazei_carry *carry;
};

static int messages_handle(void *arg, const struct blazei_link_record *records, unsigned count)
{
	const struct arrival *arrival = arg;
	struct blaze_db *db = arrival->db;
	int error = 0;

	arrival->carry->heard = true;
	for (unsigned i = 0; i < count && error == 0; i++) {
		/* Nothing may be lost on a lossless ring. */
		if (records[i].data == NULL)
			return -EBADMSG;
		pthread_mutex_lock(&db->lock);
		error = blazei_session_take(arrival->carry->session, blazei_realtime_ns(),
		                            records[i].data, records[i].len);
		pthread_mutex_unlock(&db->lock);
	}
	return error;
}

int blazei_carry_in(struct blaze_db *db, struct blazei_carry *carry, unsigned limit)
{
	struct arrival arrival = { db, carry };

	return carry->link->ops->poll(carry->link, messages_handle, &arrival, limit);
}

/* Has the session give its next message, where none waits. 0: there is none. */
static int64_t message_next(struct blaze_db *db, struct blazei_carry *carry)
{
	uint64_t cap = carry->link->max_bytes & ~UINT64_C(7);
	struct blazei_vector_entry self;
	int64_t n;

	if (carry->out_bytes > 0)
		return (int64_t)carry->out_bytes;
	if (cap > BLAZEI_SESSION_MESSAGE_MAX)
		cap = BLAZEI_SESSION_MESSAGE_MAX;
	pthread_mutex_lock(&db->lock);
	n = blazei_session_give(carry->session, blazei_realtime_ns(), carry->out, cap);
	blazei_replica_vector_entry(db->replica, 0, &self);
	carry->own = self.seq;
	pthread_mutex_unlock(&db->lock);
	return n;
}

int blazei_carry_out(struct blaze_db *db, struct blazei_carry *carry, unsigned limit)
{
	unsigned sent = 0;

	if (!carry->heard)
		return 0;
	while (sent < limit) {
		int64_t n = message_next(db, carry);
		int error;

		if (n <= 0)
			return n < 0 && sent == 0 ? (int)n : (int)sent;
		/* It may tell of own writes that nobody is to know of yet. */
		error = -EAGAIN;
		if (blazei_durable_published(db, carry->own))
			error = carry->link->ops->publish(carry->link, carry->out, (size_t)n);
		carry->out_bytes = error == -EAGAIN ? (uint64_t)n : 0;
		if (error != 0)
			return error == -EAGAIN && sent > 0 ? (int)sent : error;
		sent++;
	}
	return (int)sent;
}

void blazei_carry_end(struct blazei_carry *carry)
{
	if (carry->link != NULL)
		carry->link->ops->close(carry->link);
	blazei_session_free(carry->session);
	free(carry->out);
	memset(carry, 0, sizeof(*carry));
}

struct blazei_session_status blazei_carry_status(const struct blazei_carry *carry)
{
	struct blazei_session_status status;

	blazei_session_status(carry->session, &status);
	return status;
}
