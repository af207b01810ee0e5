/* SPDX-License-Identifier: Apache-2.0 */
/* Catching up while there is no room for the private ring that it takes: each reason is told once
 * for as long as it lasts, however many attempts fail, and all is fetched when there is room. */
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/db/node.h"

static atomic_uint full; /* sides, as bits, that find no room */
static atomic_uint refused;
static atomic_uint lines;

int __real_blazei_carry_open(struct blaze_db *db, struct blazei_carry *carry,
                             const struct blaze_id *ring, enum blazei_session_side side);
int __wrap_blazei_carry_open(struct blaze_db *db, struct blazei_carry *carry,
                             const struct blaze_id *ring, enum blazei_session_side side);

int __wrap_blazei_carry_open(struct blaze_db *db, struct blazei_carry *carry,
                             const struct blaze_id *ring, enum blazei_session_side side)
{
	if ((atomic_load(&full) & (1u << side)) == 0)
		return __real_blazei_carry_open(db, carry, ring, side);
	atomic_fetch_add(&refused, 1);
	return -ENOSPC;
}

static void count_line(void *arg, enum blaze_log_level level, const char *line)
{
	(void)arg;
	printf("%d %s\n", (int)level, line);
	atomic_fetch_add(&lines, 1);
}

static void fill(enum blazei_session_side side)
{
	atomic_store(&refused, 0);
	atomic_store(&full, 1u << side);
}

static void refusals_await(unsigned count)
{
	for (unsigned i = 0; i < 120000 && atomic_load(&refused) < count; i++)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	ck_assert_uint_ge(atomic_load(&refused), count);
}

/* The attempt that fetched it ends a moment after. */
static void forgotten_await(struct blaze_db *db)
{
	bool told = true;

	for (unsigned i = 0; i < 120000 && told; i++) {
		blazei_db_poll_lock(db);
		told = db->told.asking != NULL || db->told.attempt != NULL;
		blazei_db_poll_unlock(db);
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	}
	ck_assert(!told);
}

/* Longer than the lane takes: it has to be fetched. */
static void put_long(const struct node *node, struct blaze_id *ret_id)
{
	static uint8_t value[40000];

	ck_assert_int_eq(blaze_id_new(ret_id), 0);
	ck_assert_int_eq(blaze_db_put(node->db, ret_id, value, sizeof(value)), 0);
}

/* The sides, and the lines that each condition gives: who asks knows why it cannot; who is not
 * answered and who cannot answer tell both. */
static const struct {
	enum blazei_session_side side;
	unsigned attempts;
	unsigned lines;
} cases[] = { { BLAZEI_SESSION_ASKER, 5, 1 }, { BLAZEI_SESSION_ANSWERER, 3, 2 } };

START_TEST(no_room_is_told_once_each_time)
{
	const struct blaze_db_options tiny = { .struct_size = sizeof(tiny), .lane_bytes = 65536 };
	const char *name = unique_name();
	struct node a = node_open_with(name, "a", BLAZE_ROLE_PEER, &tiny);
	struct node b = node_open_with(name, "b", BLAZE_ROLE_PEER, &tiny);
	struct blaze_id id;

	nodes_link(&a, &b);
	node_wait(&b);
	blaze_log_set(count_line, NULL);
	for (unsigned round = 1; round <= 2; round++) {
		fill(cases[_i].side);
		put_long(&a, &id);
		refusals_await(cases[_i].attempts);
		ck_assert_uint_eq(atomic_load(&lines), round * cases[_i].lines);
		atomic_store(&full, 0);
		node_wait(&b);
		nodes_assert_equal(&a, &b);
		forgotten_await(b.db);
	}
	blaze_log_set(NULL, NULL);
	node_close(&a);
	node_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("full");
	TCase *tcase = tcase_create("full");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 600);
	tcase_add_loop_test(tcase, no_room_is_told_once_each_time, 0, 2);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
