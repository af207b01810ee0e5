/* SPDX-License-Identifier: Apache-2.0 */
/* Attach, detach, unlink and stats of a ring, each error code of the contract. */
#include "tests/shm/ring_test.h"

#include <stdlib.h>
#include <string.h>

START_TEST(attach_name_invalid_einval)
{
	static const char *const names[] = {
		"",          ".hidden",
		"a/b",       "a b",
		"..",        "umlaut\xc3\xa4",
		"new\nline", "0123456789012345678901234567890123456789012345678901234567890123x",
	};
	struct blaze_ring *ring = (struct blaze_ring *)&ring;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ck_assert_int_eq(blaze_ring_attach(names[i], NULL, &ring), -EINVAL);
		ck_assert_int_eq(blaze_ring_unlink(names[i]), -EINVAL);
	}
	ck_assert_int_eq(blaze_ring_attach(NULL, NULL, &ring), -EINVAL);
	ck_assert_int_eq(blaze_ring_unlink(NULL), -EINVAL);
	ck_assert_int_eq(blaze_ring_attach(rt_name("null"), NULL, NULL), -EINVAL);
	ck_assert_ptr_eq(ring, (struct blaze_ring *)&ring);
}
END_TEST

START_TEST(attach_name_longest_attaches)
{
	char name[BLAZE_RING_NAME_MAX + 1];
	struct blaze_ring *ring = NULL;

	strcpy(name, rt_name("long."));
	memset(name + strlen(name), 'n', sizeof(name) - 1 - strlen(name));
	name[sizeof(name) - 1] = '\0';
	ck_assert_uint_eq(strlen(name), BLAZE_RING_NAME_MAX);
	ck_assert_int_eq(blaze_ring_attach(name, NULL, &ring), 0);
	blaze_ring_detach(ring);
}
END_TEST

static int attach_with(const struct blaze_ring_options *options)
{
	struct blaze_ring *ring = NULL;
	int r = blaze_ring_attach(rt_name("options"), options, &ring);

	if (r == 0)
		blaze_ring_detach(ring);
	else
		ck_assert_ptr_null(ring);
	return r;
}

START_TEST(attach_options_invalid_einval)
{
	const struct blaze_ring_options good = BLAZE_RING_OPTIONS_INIT;
	struct blaze_ring_options o;
	static const uint64_t lanes[] = { 1,
		                          4096,
		                          RT_LANE_MIN - 1,
		                          RT_LANE_MIN / 2,
		                          RT_LANE_MIN + 8,
		                          UINT64_C(3) << 20,
		                          UINT64_C(2) << 30,
		                          UINT64_MAX };
	static const uint32_t modes[] = { 0640, 0666, 0777, 0400, 0200, 01600 };

	for (size_t i = 0; i < sizeof(lanes) / sizeof(lanes[0]); i++) {
		o = good;
		o.lane_bytes = lanes[i];
		ck_assert_int_eq(attach_with(&o), -EINVAL);
	}
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		o = good;
		o.mode = modes[i];
		ck_assert_int_eq(attach_with(&o), -EINVAL);
	}
	o = good;
	o.participants_max = 65;
	ck_assert_int_eq(attach_with(&o), -EINVAL);
	o = good;
	o.flags = 1u << 31;
	ck_assert_int_eq(attach_with(&o), -EINVAL);
	o = good;
	o.struct_size = 2;
	ck_assert_int_eq(attach_with(&o), -EINVAL);
	ck_assert_uint_eq(rt_left_behind(rt_name("options")), 0);
}
END_TEST

START_TEST(attach_options_of_other_age_zero_tail_accepted)
{
	struct {
		struct blaze_ring_options known;
		uint64_t newer;
	} o = { .known = BLAZE_RING_OPTIONS_INIT };
	struct blaze_ring_options older = BLAZE_RING_OPTIONS_INIT;

	o.known.struct_size = sizeof(o);
	ck_assert_int_eq(attach_with(&o.known), 0);
	o.newer = 1;
	ck_assert_int_eq(attach_with(&o.known), -E2BIG);
	/* A struct that ended after its flags: what follows must not be read. */
	older.struct_size = offsetof(struct blaze_ring_options, participants_max);
	older.participants_max = 9999;
	older.lane_bytes = 3;
	ck_assert_int_eq(attach_with(&older), 0);
}
END_TEST

START_TEST(attach_options_limits_accepted)
{
	struct blaze_ring_options o = BLAZE_RING_OPTIONS_INIT;

	o.lane_bytes = RT_LANE_MIN;
	o.participants_max = 1;
	o.mode = 0600;
	o.spin_ns = 1;
	o.stall_budget_ns = BLAZE_NO_STALL;
	ck_assert_int_eq(attach_with(&o), 0);
	o.participants_max = 64;
	o.lane_bytes = UINT64_C(64) << 20;
	o.stall_budget_ns = BLAZE_FOREVER;
	ck_assert_int_eq(attach_with(&o), 0);
}
END_TEST

START_TEST(attach_no_create_absent_enoent)
{
	struct blaze_ring_options o = BLAZE_RING_OPTIONS_INIT;
	struct blaze_ring *first = NULL, *second = NULL;
	const char *name = rt_name("nocreate");

	o.flags = BLAZE_RING_NO_CREATE;
	ck_assert_int_eq(blaze_ring_attach(name, &o, &second), -ENOENT);
	ck_assert_ptr_null(second);
	first = rt_attach(name, 0, 0, 0);
	ck_assert_int_eq(blaze_ring_attach(name, &o, &second), 0);
	blaze_ring_detach(second);
	blaze_ring_detach(first);
	ck_assert_int_eq(blaze_ring_attach(name, &o, &second), -ENOENT);
}
END_TEST

START_TEST(attach_every_slot_taken_eusers)
{
	struct blaze_ring_options o = BLAZE_RING_OPTIONS_INIT;
	struct blaze_ring *rings[3], *one_more = NULL;
	const char *name = rt_name("slots");
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	uint32_t slots = 0;

	o.participants_max = 3;
	o.lane_bytes = RT_LANE_MIN;
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(blaze_ring_attach(name, &o, &rings[i]), 0);
		ck_assert_int_eq(blaze_ring_stats(rings[i], &stats), 0);
		ck_assert_uint_lt(stats.slot, 3);
		slots |= 1u << stats.slot;
		/* Fixed by the creator: the others' wish is not an error and changes nothing. */
		o.participants_max = 64;
	}
	ck_assert_uint_eq(slots, 7);
	ck_assert_int_eq(blaze_ring_attach(name, &o, &one_more), -EUSERS);
	o.flags = BLAZE_RING_READ_ONLY;
	ck_assert_int_eq(blaze_ring_attach(name, &o, &one_more), -EUSERS);
	blaze_ring_detach(rings[1]);
	ck_assert_int_eq(blaze_ring_attach(name, &o, &rings[1]), 0);
	for (unsigned i = 0; i < 3; i++)
		blaze_ring_detach(rings[i]);
	ck_assert_uint_eq(rt_left_behind(name), 0);
}
END_TEST

START_TEST(detach_null_ignored_and_last_removes_ring)
{
	const char *name = rt_name("last");
	struct blaze_ring *a, *b;

	blaze_ring_detach(NULL);
	a = rt_attach(name, RT_LANE_MIN, 0, 0);
	b = rt_attach(name, RT_LANE_MIN, 0, 0);
	ck_assert_uint_gt(rt_left_behind(name), 0);
	blaze_ring_detach(a);
	ck_assert_uint_gt(rt_left_behind(name), 0);
	blaze_ring_detach(b);
	ck_assert_uint_eq(rt_left_behind(name), 0);
	ck_assert_int_eq(blaze_ring_unlink(name), -ENOENT);
}
END_TEST

START_TEST(detach_with_reservation_frees_all)
{
	struct blaze_ring *ring = rt_attach(rt_name("reserved"), RT_LANE_MIN, 0, 0);
	void *data = NULL;

	ck_assert_int_eq(blaze_ring_reserve(ring, 100, &data), 0);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(unlink_in_use_participants_get_eidrm)
{
	const char *name = rt_name("unlink");
	struct blaze_ring *writer = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct blaze_ring *reader = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct blaze_ring *fresh;
	struct blaze_ring_stats before = BLAZE_RING_STATS_INIT, after = BLAZE_RING_STATS_INIT;
	struct rt_collector seen = { 0 };
	void *data = NULL;

	rt_begin(reader);
	ck_assert_int_eq(blaze_ring_stats(reader, &before), 0);
	ck_assert_uint_eq(before.unlinked, 0);
	ck_assert_int_eq(blaze_ring_publish(writer, "last words", 10), 0);
	ck_assert_int_eq(blaze_ring_unlink(name), 0);
	ck_assert_int_eq(blaze_ring_unlink(name), -ENOENT);
	ck_assert_int_eq(blaze_ring_publish(writer, "x", 1), -EIDRM);
	ck_assert_int_eq(blaze_ring_reserve(writer, 1, &data), -EIDRM);
	/* What was published before is still there to read, and only then the end. */
	ck_assert_int_eq(blaze_ring_poll(reader, rt_collect, &seen, 0), 1);
	ck_assert_mem_eq(seen.seen[0].data, "last words", 10);
	ck_assert_int_eq(blaze_ring_poll(reader, rt_collect, &seen, 0), -EIDRM);
	ck_assert_int_eq(blaze_ring_wait(reader, BLAZE_FOREVER), -EIDRM);
	ck_assert_int_eq(blaze_ring_stats(reader, &after), 0);
	ck_assert_uint_eq(after.unlinked, 1);
	/* Who comes afterwards makes a new ring of that name. */
	fresh = rt_attach(name, RT_LANE_MIN, 0, 0);
	ck_assert_int_eq(blaze_ring_stats(fresh, &after), 0);
	ck_assert_mem_ne(&after.ring, &before.ring, sizeof(before.ring));
	ck_assert_uint_eq(after.participants, 1);
	blaze_ring_detach(writer);
	blaze_ring_detach(reader);
	ck_assert_int_eq(blaze_ring_publish(fresh, "x", 1), 0);
	blaze_ring_detach(fresh);
	ck_assert_uint_eq(rt_left_behind(name), 0);
	rt_collector_clear(&seen);
}
END_TEST

START_TEST(unlink_while_reserved_commit_eidrm)
{
	const char *name = rt_name("unlinkres");
	struct blaze_ring *writer = rt_attach(name, RT_LANE_MIN, 0, 0);
	void *data = NULL;

	ck_assert_int_eq(blaze_ring_reserve(writer, 8, &data), 0);
	ck_assert_int_eq(blaze_ring_unlink(name), 0);
	ck_assert_int_eq(blaze_ring_commit(writer), -EIDRM);
	/* The reservation is dropped. */
	ck_assert_int_eq(blaze_ring_commit(writer), -EINVAL);
	blaze_ring_detach(writer);
}
END_TEST

START_TEST(stats_counters_follow_calls)
{
	const char *name = rt_name("stats");
	struct blaze_ring *a = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct blaze_ring *b = rt_attach(name, RT_LANE_MIN * 2, 0, 0);
	struct blaze_ring_stats sa = BLAZE_RING_STATS_INIT, sb = BLAZE_RING_STATS_INIT;
	struct rt_collector seen = { 0 };
	uint64_t seq = 0;

	rt_begin(b);
	ck_assert_int_eq(rt_publish(a, 5, 100, &seq), 0);
	ck_assert_int_eq(blaze_ring_publish(a, NULL, 0), 0);
	ck_assert_int_eq(blaze_ring_poll(b, rt_collect, &seen, 0), 6);
	ck_assert_int_eq(blaze_ring_stats(a, &sa), 0);
	ck_assert_int_eq(blaze_ring_stats(b, &sb), 0);
	ck_assert_uint_eq(sa.participants, 2);
	ck_assert_uint_ne(sa.slot, sb.slot);
	ck_assert_mem_eq(&sa.ring, &sb.ring, sizeof(sa.ring));
	ck_assert_mem_ne(&sa.publisher, &sb.publisher, sizeof(sa.publisher));
	ck_assert_mem_eq(&sa.publisher, &seen.seen[0].publisher, sizeof(sa.publisher));
	ck_assert_uint_eq(sa.lane_bytes, RT_LANE_MIN);
	ck_assert_uint_eq(sb.lane_bytes, RT_LANE_MIN * 2);
	ck_assert_uint_eq(sa.published_records, 6);
	ck_assert_uint_eq(sa.published_bytes, 500);
	ck_assert_uint_eq(sa.received_records, 0);
	ck_assert_uint_eq(sb.received_records, 6);
	ck_assert_uint_eq(sb.received_bytes, 500);
	ck_assert_uint_eq(sb.published_records, 0);
	ck_assert_uint_eq(sb.laps + sb.lap_bytes + sb.bad_lanes + sa.stalls + sa.overwrites, 0);
	blaze_ring_detach(a);
	ck_assert_int_eq(blaze_ring_stats(b, &sb), 0);
	ck_assert_uint_eq(sb.participants, 1);
	blaze_ring_detach(b);
	rt_collector_clear(&seen);
}
END_TEST

START_TEST(stats_struct_size_respected)
{
	struct blaze_ring *ring = rt_attach(rt_name("size"), RT_LANE_MIN, 0, 0);
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;

	memset(&stats, 0xee, sizeof(stats));
	stats.struct_size = offsetof(struct blaze_ring_stats, unlinked);
	ck_assert_int_eq(blaze_ring_stats(ring, &stats), 0);
	ck_assert_uint_eq(stats.participants, 1);
	ck_assert_uint_eq(stats.unlinked, 0xeeeeeeee);
	ck_assert_uint_eq(stats.wakes, UINT64_C(0xeeeeeeeeeeeeeeee));
	ck_assert_int_eq(blaze_ring_stats(ring, NULL), -EINVAL);
	stats.struct_size = 0;
	ck_assert_int_eq(blaze_ring_stats(ring, &stats), -EINVAL);
	blaze_ring_detach(ring);
}
END_TEST

START_TEST(publisher_id_drawn_anew_at_every_attach)
{
	const char *name = rt_name("anew");
	struct blaze_ring *keep = rt_attach(name, RT_LANE_MIN, 0, 0);
	struct blaze_ring_stats stats = BLAZE_RING_STATS_INIT;
	struct blaze_id ids[8];

	for (unsigned i = 0; i < 8; i++) {
		struct blaze_ring *ring = rt_attach(name, RT_LANE_MIN, 0, 0);

		ck_assert_int_eq(blaze_ring_stats(ring, &stats), 0);
		ids[i] = stats.publisher;
		for (unsigned j = 0; j < i; j++)
			ck_assert_mem_ne(&ids[i], &ids[j], sizeof(ids[i]));
		blaze_ring_detach(ring);
	}
	blaze_ring_detach(keep);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring attach");
	TCase *tcase = tcase_create("attach");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, attach_name_invalid_einval);
	tcase_add_test(tcase, attach_name_longest_attaches);
	tcase_add_test(tcase, attach_options_invalid_einval);
	tcase_add_test(tcase, attach_options_of_other_age_zero_tail_accepted);
	tcase_add_test(tcase, attach_options_limits_accepted);
	tcase_add_test(tcase, attach_no_create_absent_enoent);
	tcase_add_test(tcase, attach_every_slot_taken_eusers);
	tcase_add_test(tcase, detach_null_ignored_and_last_removes_ring);
	tcase_add_test(tcase, detach_with_reservation_frees_all);
	tcase_add_test(tcase, unlink_in_use_participants_get_eidrm);
	tcase_add_test(tcase, unlink_while_reserved_commit_eidrm);
	tcase_add_test(tcase, stats_counters_follow_calls);
	tcase_add_test(tcase, stats_struct_size_respected);
	tcase_add_test(tcase, publisher_id_drawn_anew_at_every_attach);
	suite_add_tcase(suite, tcase);
	return rt_main(suite);
}
