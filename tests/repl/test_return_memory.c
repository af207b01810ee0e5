/* SPDX-License-Identifier: Apache-2.0 */
/* A node returns from below the frontier, or leaves its name, and an allocation fails, each one in
 * turn: nothing of what it wrote is lost, whatever is called again, and it ends where it would have
 * ended. malloc and its kin are wrapped by the linker. */
#include "tests/repl/returner.h"
#include "tests/repl/starve.h"

#define ALONE 40u /* records that nobody else has: more than the list holds at first */

static uint64_t message[BLAZEI_SESSION_MESSAGE_MAX / 8];

/* What there is of c's at `a` alone, and what `a` writes on that and beside it; b goes on. */
static void fill(void)
{
	char json[64];

	node_insert(&c, 1, "{\"x\":1,\"y\":1}");
	node_insert(&c, 2, "{\"x\":1}");
	node_give_all(&c, &b);
	node_insert(&c, 3, "{\"x\":1,\"y\":1,\"z\":1}");
	node_insert(&c, 4, "{\"x\":1}");
	/* A member, as far as `a` alone knows. */
	ck_assert_int_eq(node_tick(&c), 1);
	node_give_all(&c, &a);
	ck_assert_int_eq(blazei_replica_membership(a.replica, &c.origin.node),
	                 BLAZEI_MEMBER_JOINED);
	node_update(&a, 1, "{\"x\":2}");
	node_delete(&a, 2);
	/* c's inserts are forgotten, as c brings them itself: what was written of one waits for
	 * it, and the other is deleted though there is nothing of it yet. */
	node_write(&a, BLAZEI_WRITE_UPDATE, 3, "{\"x\":3}", "y");
	node_delete(&a, 4);
	for (unsigned i = 0; i < ALONE; i++) {
		snprintf(json, sizeof(json), "{\"f%u\":%u}", i, i);
		node_insert(&a, 100 + i, json);
	}
	node_writes(&b, 10, 40);
	node_write_long(&b, 60, 300000);
	frontier_collect(&b);
	/* It hides what the snapshot has under it until that is all that there is. */
	node_write_long(&a, 60, 10);
}

static int64_t move(struct blazei_session *from, struct blazei_session *to)
{
	int64_t n;

	ONCE_MORE(n, blazei_session_give(from, a.now_ns, message, sizeof(message)));
	if (n > 0) {
		armed = true;
		blazei_session_take(to, a.now_ns, message, (size_t)n);
		armed = false;
	}
	return n;
}

/* One session; its state at the asker's. */
static enum blazei_session_state session_run(struct blazei_stage *stage)
{
	struct blazei_session_options options = {
		.replica = a.replica,
		.side = BLAZEI_SESSION_ASKER,
		.stage = stage,
		.anew = true,
	};
	struct blazei_session_status status;
	struct blazei_session *ask;
	struct blazei_session *answer;
	int64_t moved;
	int rc;

	ONCE_MORE(rc, blazei_session_new(&options, &ask));
	ck_assert_int_eq(rc, 0);
	options.replica = b.replica;
	options.side = BLAZEI_SESSION_ANSWERER;
	ONCE_MORE(rc, blazei_session_new(&options, &answer));
	ck_assert_int_eq(rc, 0);
	do {
		moved = move(ask, answer);
		moved += move(answer, ask);
	} while (moved > 0);
	blazei_session_status(ask, &status);
	if (status.state == BLAZEI_SESSION_STAGED) {
		ONCE_MORE(rc, blazei_session_install(ask, a.now_ns));
		ck_assert_int_eq(rc, 0);
		blazei_session_status(ask, &status);
	}
	blazei_session_free(ask);
	blazei_session_free(answer);
	return status.state;
}

/* Leaves the name, and writes all that is to be written anew. */
static void leave(struct blazei_unseen_list *list, uint64_t incarnation)
{
	struct blazei_origin self = a.origin;
	struct blazei_txn_view txn = { .len = 1 };
	int rc;

	self.incarnation = incarnation;
	ONCE_MORE(rc, blazei_replica_leave_name(a.replica, a.now_ns, &self));
	ck_assert_int_eq(rc, 0);
	a.origin = self;
	while (txn.len > 0) {
		ONCE_MORE(rc, blazei_replica_reissue(a.replica, a.now_ns, list, &txn));
		ck_assert_int_eq(rc, 0);
		node_keep(&a, txn.data, txn.len);
	}
	ck_assert(blazei_unseen_list_empty(list));
}

/* Nothing is lost, and b takes all of it. */
static void expect_all(void)
{
	char json[64];

	node_expect(&a, 1, "{\"x\":2,\"y\":1}");
	node_expect(&a, 2, NULL);
	node_expect(&a, 3, NULL);
	node_expect(&a, 4, NULL);
	for (unsigned i = 0; i < ALONE; i++) {
		snprintf(json, sizeof(json), "{\"f%u\":%u}", i, i);
		node_expect(&a, 100 + i, json);
	}
	ck_assert_uint_eq(node_stats(&a).refused, 0);
	nodes_catch_up(&b, &a);
	nodes_expect_equal(&a, &b);
	node_give_all(&c, &a);
	node_give_all(&c, &b);
	node_expect(&a, 3, "{\"x\":3,\"z\":1}");
	node_expect(&a, 4, NULL);
	nodes_expect_equal(&a, &b);
}

START_TEST(return_without_memory_loses_nothing)
{
	unsigned at = 0;

	do {
		struct blazei_stage *stage;

		set_up();
		fill();
		ck_assert_int_eq(blazei_stage_new(UINT64_C(1) << 30, &stage), 0);
		starve(at++);
		armed = false;
		if (session_run(stage) != BLAZEI_SESSION_LIVE) {
			ck_assert(allocation_failed);
			ck_assert_int_eq(session_run(stage), BLAZEI_SESSION_LIVE);
		}
		ck_assert(blazei_replica_displaced(a.replica));
		leave(blazei_stage_unseen(stage), 90);
		blazei_stage_free(stage);
		expect_all();
		tear_down();
	} while (starve_end());
	ck_assert_uint_ge(at, 50);
}
END_TEST

/* A process that ends in the midst of it leaves nothing behind either: the list goes with its
 * stage. */
START_TEST(return_that_is_given_up_frees_what_was_listed)
{
	struct blazei_stage *stage;

	set_up();
	fill();
	ck_assert_int_eq(blazei_stage_new(UINT64_C(1) << 30, &stage), 0);
	ck_assert_int_eq(session_run(stage), BLAZEI_SESSION_LIVE);
	ck_assert(!blazei_unseen_list_empty(blazei_stage_unseen(stage)));
	blazei_stage_free(stage);
	tear_down();
}
END_TEST

/* All that `a` wrote, under a name that somebody else bears as well. */
START_TEST(name_left_without_memory_loses_nothing)
{
	unsigned at = 0;

	do {
		struct blazei_unseen_list list = { 0 };
		struct node twin;
		char json[64];

		set_up();
		node_open_history(&twin, 1, WIDE);
		for (unsigned i = 0; i < ALONE + 10; i++)
			node_insert(&twin, 300 + i, "{\"x\":\"twin\"}");
		for (unsigned i = 0; i < ALONE; i++) {
			snprintf(json, sizeof(json), "{\"f%u\":%u}", i, i);
			node_insert(&a, 100 + i, json);
		}
		ck_assert_int_eq(node_give(&twin, &a, ALONE + 10), 0);
		node_close(&twin);
		starve(at++);
		armed = false;
		leave(&list, 91);
		ck_assert_uint_eq(blazei_replica_count(a.replica), ALONE);
		ck_assert_int_eq(node_give(&a, &b, ALONE + 1), 1);
		nodes_expect_equal(&a, &b);
		tear_down();
	} while (starve_end());
	ck_assert_uint_ge(at, 10);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("return_memory");
	TCase *tcase = tcase_create("return_memory");

	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, return_without_memory_loses_nothing);
	tcase_add_test(tcase, return_that_is_given_up_frees_what_was_listed);
	tcase_add_test(tcase, name_left_without_memory_loses_nothing);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
