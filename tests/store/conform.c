/* SPDX-License-Identifier: Apache-2.0 */
/* What blaze_store(3) asks of a backend, one test for each promise, and a long run of random
 * operations beside a model in memory. Everything goes through the layer that checks a backend's
 * answers, so an answer that the interface does not allow fails a test as well.
 *
 * What a crash leaves is no subject here: tests/store/test_log has that. */
#include "tests/store/conform.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/base.h"
#include "lib/repl/replica.h"
#include "lib/store/checked.h"
#include "lib/store/log.h"

#define UNIT         4096u
#define MODEL_MAX    12u
#define MODEL_BYTES  (64u * UNIT)
#define MODEL_ROUNDS 3000u

static const struct conform_subject *all;
static const struct conform_subject *subject;
static const struct blaze_store_ops *ops = &blazei_checked_ops;
static char location[256];
static void *store;
static uint8_t data[64 * UNIT], back[64 * UNIT];

static void store_open(void)
{
	ck_assert_int_eq(blazei_checked_open(subject->ops, location, &store), 0);
}

static void store_reopen(void)
{
	ops->close(store);
	store_open();
}

static void begin(int index)
{
	subject = &all[index];
	subject->fresh(location);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / UNIT + i % 251 + 1);
	store_open();
}

static void end(void)
{
	ops->close(store);
	subject->clear(location);
}

/* Submits all and collects all completions: the result of the last request. */
static int run(const struct blaze_store_request *requests, unsigned count)
{
	struct blaze_store_completion completion;
	unsigned submitted = 0, done = 0;
	int result = -EIO;

	while (done < count) {
		if (submitted < count) {
			int n = ops->submit(store, &requests[submitted], count - submitted);

			ck_assert_int_gt(n, 0);
			submitted += (unsigned)n;
		}
		ck_assert_int_eq(ops->poll(store, &completion, 1), 1);
		if (completion.tag == requests[count - 1].tag)
			result = completion.result;
		done++;
	}
	return result;
}

static int append(uint64_t segment, uint64_t offset, const void *bytes, uint64_t len)
{
	const struct blaze_store_request request = { .operation = BLAZE_STORE_APPEND,
		                                     .segment = segment,
		                                     .offset = offset,
		                                     .data = bytes,
		                                     .len = len,
		                                     .tag = 7 };

	return run(&request, 1);
}

static int sync_segment(uint64_t segment)
{
	const struct blaze_store_request request = { .operation = BLAZE_STORE_SYNC,
		                                     .segment = segment,
		                                     .tag = UINT64_MAX };

	return run(&request, 1);
}

static void segment_make(uint64_t segment, uint64_t len)
{
	ck_assert_int_eq(ops->segment_create(store, segment), 0);
	if (len > 0)
		ck_assert_int_eq(append(segment, 0, data, len), 0);
	ck_assert_int_eq(sync_segment(segment), 0);
}

START_TEST(new_store_is_empty)
{
	struct blaze_store_geometry geometry = { .struct_size = sizeof(geometry) };
	uint64_t version, number;

	begin(_i);
	ck_assert_int_eq(ops->geometry(store, &geometry), 0);
	ck_assert_int_eq(ops->root_get(store, back, sizeof(back), &version), 0);
	ck_assert_int_eq(ops->segment_list(store, &number, 1), 0);
	ck_assert_int_eq(ops->segment_list(store, NULL, 0), 0);
	ck_assert_int_eq(ops->segment_read(store, 1, 0, back, UNIT), -ENOENT);
	ck_assert_int_eq(ops->segment_seal(store, 1, 0), -ENOENT);
	ck_assert_int_eq(ops->segment_delete(store, 1), -ENOENT);
	ck_assert_int_eq(append(1, 0, data, UNIT), -EINVAL);
	end();
}
END_TEST

START_TEST(open_store_is_busy)
{
	void *second = NULL;

	begin(_i);
	ck_assert_int_eq(blazei_checked_open(subject->ops, location, &second), -EBUSY);
	store_reopen();
	end();
}
END_TEST

START_TEST(segments_are_listed_once_and_go)
{
	uint64_t numbers[64];

	begin(_i);
	for (uint64_t i = 1; i <= 40; i++)
		ck_assert_int_eq(ops->segment_create(store, i), 0);
	ck_assert_int_eq(ops->segment_create(store, 7), -EEXIST);
	ck_assert_int_eq(ops->segment_list(store, numbers, 3), 40);
	for (uint64_t i = 1; i <= 40; i += 2)
		ck_assert_int_eq(ops->segment_delete(store, i), 0);
	ck_assert_int_eq(ops->segment_delete(store, 1), -ENOENT);
	store_reopen();
	ck_assert_int_eq(ops->segment_list(store, numbers, 64), 20);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_uint_eq(numbers[i], 2 * i + 2); /* the checks sorted them */
	end();
}
END_TEST

START_TEST(appended_and_synced_is_read_back)
{
	begin(_i);
	segment_make(3, 0);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_int_eq(append(3, i * UNIT, data + i * UNIT, UNIT), 0);
	ck_assert_int_eq(sync_segment(3), 0);
	for (unsigned round = 0; round < 2; round++) {
		ck_assert_int_eq(ops->segment_read(store, 3, 0, back, 16 * UNIT), 16 * UNIT);
		ck_assert_mem_eq(back, data, 16 * UNIT);
		ck_assert_int_eq(ops->segment_read(store, 3, 5 * UNIT + 17, back, 1000), 1000);
		ck_assert_mem_eq(back, data + 5 * UNIT + 17, 1000);
		store_reopen();
	}
	end();
}
END_TEST

START_TEST(append_elsewhere_is_refused)
{
	struct blaze_store_geometry geometry = { .struct_size = sizeof(geometry) };
	const struct blaze_store_request unknown = { .operation = 99, .segment = 4, .tag = 1 };

	begin(_i);
	ck_assert_int_eq(ops->geometry(store, &geometry), 0);
	segment_make(1, 2 * UNIT);
	ck_assert_int_eq(append(1, UNIT, data, UNIT), -EINVAL); /* over what is there */
	ck_assert_int_lt(sync_segment(1), 0);                   /* nor is it believed any more */
	segment_make(2, 2 * UNIT);
	ck_assert_int_eq(append(2, 3 * UNIT, data, UNIT), -EINVAL); /* with a gap */
	segment_make(3, 0);
	ck_assert_int_eq(append(3, 0, data, 1000), -EINVAL);
	segment_make(4, 0);
	ck_assert_int_eq(run(&unknown, 1), -EINVAL);
	segment_make(5, UNIT);
	ck_assert_int_eq(append(4, 0, data, UNIT), -EINVAL); /* the one before */
	ck_assert_int_eq(append(5, UNIT, data, geometry.segment_bytes), -EMSGSIZE);
	end();
}
END_TEST

START_TEST(after_a_failure_nothing_more_is_taken)
{
	const struct blaze_store_request requests[] = {
		{ BLAZE_STORE_APPEND, 0, 1, 0, data, UNIT, 1 },
		{ BLAZE_STORE_APPEND, 0, 1, 0, data, UNIT, 2 }, /* where the first one is */
		{ BLAZE_STORE_APPEND, 0, 1, UNIT, data, UNIT, 3 },
		{ BLAZE_STORE_SYNC, 0, 1, 0, NULL, 0, 4 },
	};

	begin(_i);
	segment_make(1, 0);
	ck_assert_int_eq(run(requests, 4), -ECANCELED);
	ck_assert_int_lt(append(1, UNIT, data, UNIT), 0);
	ck_assert_int_lt(sync_segment(1), 0);
	/* A new segment is not concerned. */
	segment_make(2, UNIT);
	end();
}
END_TEST

START_TEST(sealed_segment_ends_there)
{
	begin(_i);
	segment_make(1, 4 * UNIT);
	ck_assert_int_eq(ops->segment_seal(store, 1, 3 * UNIT), 0);
	ck_assert_int_lt(append(1, 3 * UNIT, data, UNIT), 0);
	for (unsigned round = 0; round < 2; round++) {
		ck_assert_int_eq(ops->segment_read(store, 1, 0, back, 8 * UNIT), 3 * UNIT);
		ck_assert_mem_eq(back, data, 3 * UNIT);
		ck_assert_int_eq(ops->segment_read(store, 1, 3 * UNIT, back, UNIT), 0);
		ck_assert_int_eq(ops->segment_read(store, 1, 9 * UNIT, back, UNIT), 0);
		store_reopen();
	}
	/* Again, as recovery does that crashed. */
	ck_assert_int_eq(ops->segment_seal(store, 1, 3 * UNIT), 0);
	ck_assert_int_eq(ops->segment_seal(store, 1, 4 * UNIT), -EBADMSG);
	/* One that was never sealed, in a later life. */
	segment_make(2, 4 * UNIT);
	store_reopen();
	ck_assert_int_eq(ops->segment_seal(store, 2, 2 * UNIT), 0);
	ck_assert_int_eq(ops->segment_read(store, 2, 0, back, 8 * UNIT), 2 * UNIT);
	end();
}
END_TEST

START_TEST(root_is_replaced_if_its_version_is_known)
{
	struct blaze_store_geometry geometry = { .struct_size = sizeof(geometry) };
	uint64_t version, again;
	uint8_t *long_root;

	begin(_i);
	ck_assert_int_eq(ops->geometry(store, &geometry), 0);
	ck_assert_int_eq(ops->root_get(store, back, sizeof(back), &version), 0);
	for (unsigned i = 1; i <= 5; i++) {
		ck_assert_int_eq(ops->root_swap(store, version + 1, data, 10), -ESTALE);
		ck_assert_int_eq(ops->root_swap(store, version, data + i, 1000 + i), 0);
		ck_assert_int_eq(ops->root_swap(store, version, data, 10), -ESTALE);
		ck_assert_int_eq(ops->root_get(store, back, sizeof(back), &again), 1000 + i);
		ck_assert_uint_eq(again, version + 1);
		ck_assert_mem_eq(back, data + i, 1000 + i);
		ck_assert_int_eq(ops->root_get(store, back, 999, &again), -EMSGSIZE);
		store_reopen();
		ck_assert_int_eq(ops->root_get(store, back, sizeof(back), &version), 1000 + i);
		ck_assert_mem_eq(back, data + i, 1000 + i);
	}
	ck_assert_int_eq(ops->root_swap(store, version, data, 0), -EINVAL);
	long_root = calloc(1, geometry.root_bytes + 1);
	ck_assert_int_eq(ops->root_swap(store, version, long_root, geometry.root_bytes + 1),
	                 -EINVAL);
	ck_assert_int_eq(ops->root_swap(store, version, long_root, geometry.root_bytes), 0);
	free(long_root);
	end();
}
END_TEST

START_TEST(each_request_is_completed_once)
{
	struct blaze_store_request requests[40];
	unsigned submitted = 0, done = 0, seen[40] = { 0 };

	begin(_i);
	segment_make(1, 0);
	for (unsigned i = 0; i < 40; i++) {
		requests[i] = (struct blaze_store_request){ .operation = BLAZE_STORE_SYNC,
			                                    .segment = 1,
			                                    .tag = i };
		if (i % 2 == 0) {
			requests[i].operation = BLAZE_STORE_APPEND;
			requests[i].offset = i / 2 * UNIT;
			requests[i].data = data + i / 2 * UNIT;
			requests[i].len = UNIT;
		}
	}
	while (done < 40) {
		struct blaze_store_completion completions[3];
		int n;

		if (submitted < 40) {
			n = ops->submit(store, &requests[submitted], 40 - submitted);
			ck_assert(n > 0 || (n == -EAGAIN && submitted > done));
			submitted += n > 0 ? (unsigned)n : 0;
		}
		n = ops->poll(store, completions, 3);
		ck_assert_int_gt(n, 0);
		for (int i = 0; i < n; i++) {
			ck_assert_int_eq(completions[i].result, 0);
			ck_assert_uint_lt(completions[i].tag, 40);
			ck_assert_uint_eq(seen[completions[i].tag]++, 0);
		}
		done += (unsigned)n;
	}
	ck_assert_int_eq(ops->segment_read(store, 1, 0, back, 20 * UNIT), 20 * UNIT);
	ck_assert_mem_eq(back, data, 20 * UNIT);
	end();
}
END_TEST

/* Beside a model: what was synced is there, whatever happened around it. */
struct model {
	bool there;
	bool grows;
	uint64_t len;
	uint8_t data[MODEL_BYTES];
};

static struct model models[MODEL_MAX];

static void model_check(uint64_t i)
{
	int64_t n = ops->segment_read(store, i + 1, 0, back, models[i].len);

	if (!models[i].there) {
		ck_assert_int_eq(n, -ENOENT);
		return;
	}
	ck_assert_int_eq(n, (int64_t)models[i].len);
	ck_assert_mem_eq(back, models[i].data, models[i].len);
}

static void model_grow(struct model *model, uint64_t number, unsigned *seed)
{
	uint64_t len = (1 + (uint64_t)rand_r(seed) % 6) * UNIT;
	const struct blaze_store_request requests[2] = {
		{ BLAZE_STORE_APPEND, 0, number, model->len, model->data + model->len, len, 1 },
		{ BLAZE_STORE_SYNC, 0, number, 0, NULL, 0, 2 },
	};

	if (!model->grows || model->len + len > MODEL_BYTES)
		return;
	for (uint64_t i = 0; i < len; i += 8)
		model->data[model->len + i] = (uint8_t)rand_r(seed);
	ck_assert_int_eq(run(requests, 2), 0);
	model->len += len;
}

static void model_create(uint64_t i)
{
	int rc = ops->segment_create(store, i + 1);

	ck_assert_int_eq(rc, models[i].there ? -EEXIST : 0);
	if (rc != 0)
		return;
	for (unsigned k = 0; k < MODEL_MAX; k++)
		models[k].grows = false;
	models[i].there = models[i].grows = true;
	models[i].len = 0;
}

static void model_step(unsigned *seed)
{
	uint64_t i = (uint64_t)rand_r(seed) % MODEL_MAX;
	struct model *model = &models[i];

	switch (rand_r(seed) % 12) {
	case 0:
		model_create(i);
		break;
	case 1:
		if (model->there)
			model->len = (uint64_t)rand_r(seed) % (model->len / UNIT + 1) * UNIT;
		model->grows = false;
		ck_assert_int_eq(ops->segment_seal(store, i + 1, model->len),
		                 model->there ? 0 : -ENOENT);
		break;
	case 2:
		if (model->grows)
			break;
		ck_assert_int_eq(ops->segment_delete(store, i + 1), model->there ? 0 : -ENOENT);
		model->there = false;
		model->len = 0;
		break;
	case 3:
		store_reopen();
		for (unsigned k = 0; k < MODEL_MAX; k++)
			models[k].grows = false;
		break;
	case 4:
	case 5:
		model_check(i);
		break;
	default:
		for (unsigned k = 0; k < MODEL_MAX; k++)
			model_grow(&models[k], k + 1, seed);
		break;
	}
}

START_TEST(random_operations_agree_with_model)
{
	unsigned seed = (unsigned)blazei_monotonic_ns();

	begin(_i);
	printf("%s: seed %u\n", subject->name, seed);
	for (unsigned i = 0; i < MODEL_ROUNDS; i++)
		model_step(&seed);
	for (uint64_t i = 0; i < MODEL_MAX; i++)
		model_check(i);
	end();
}
END_TEST

/* A log: what every database does with a store. */
static int txn_count(void *arg, const void *txn, size_t len)
{
	unsigned *count = arg;

	(void)txn;
	(void)len;
	(*count)++;
	return 0;
}

START_TEST(log_is_recovered)
{
	const struct blazei_store_options store_options = {
		.policy = BLAZE_POLICY_LWW,
		.durability = BLAZE_DURABILITY_SYNC,
	};
	const struct blazei_replica_options options = { .policy = BLAZE_POLICY_LWW };
	struct blazei_replica *replica;
	struct blazei_store *log = NULL;
	unsigned count = 0;

	begin(_i);
	ops->close(store);
	ck_assert_int_eq(blazei_replica_new(&options, &replica), 0);
	for (unsigned round = 0; round < 4; round++) {
		unsigned found = 0;

		ck_assert_int_eq(blazei_store_open(subject->ops, location, &store_options, &log),
		                 0);
		ck_assert_int_eq(blazei_store_recover(log, 1 + round, txn_count, &found), 0);
		ck_assert_uint_eq(found, count);
		for (unsigned i = 0; i < 50; i++) {
			const struct blaze_id id = { { (uint8_t)i } };
			const struct blazei_write write = {
				.kind = BLAZEI_WRITE_PUT, .id = &id, .value = data, .len = 3000 * i
			};
			struct blazei_txn_view view;
			uint64_t lsn;

			ck_assert_int_eq(blazei_replica_write(replica, ++count, &write, &view), 0);
			ck_assert_int_eq(blazei_store_append(log, view.data, view.len, &lsn), 0);
			if (i % 4 == 0)
				ck_assert_int_eq(blazei_store_wait(log, lsn), 0);
		}
		ck_assert_int_eq(blazei_store_close(log), 0);
	}
	blazei_replica_free(replica);
	store_open();
	end();
}
END_TEST

void conform_add(Suite *suite, const struct conform_subject *subjects, int count)
{
	TCase *tcase = tcase_create("conform");

	all = subjects;
	tcase_set_timeout(tcase, 600);
	tcase_add_loop_test(tcase, new_store_is_empty, 0, count);
	tcase_add_loop_test(tcase, open_store_is_busy, 0, count);
	tcase_add_loop_test(tcase, segments_are_listed_once_and_go, 0, count);
	tcase_add_loop_test(tcase, appended_and_synced_is_read_back, 0, count);
	tcase_add_loop_test(tcase, append_elsewhere_is_refused, 0, count);
	tcase_add_loop_test(tcase, after_a_failure_nothing_more_is_taken, 0, count);
	tcase_add_loop_test(tcase, sealed_segment_ends_there, 0, count);
	tcase_add_loop_test(tcase, root_is_replaced_if_its_version_is_known, 0, count);
	tcase_add_loop_test(tcase, each_request_is_completed_once, 0, count);
	tcase_add_loop_test(tcase, random_operations_agree_with_model, 0, count);
	tcase_add_loop_test(tcase, log_is_recovered, 0, count);
	suite_add_tcase(suite, tcase);
}
