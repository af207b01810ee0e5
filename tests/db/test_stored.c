/* SPDX-License-Identifier: Apache-2.0 */
/* Databases in directories that take part in topologies: what they were they are again after they
 * were opened anew, however it came in; and others get to know only what is durable. */
#include <fcntl.h>
#include <stdlib.h>

#include "lib/repl/logged.h"
#include "lib/repl/members.h"
#include "tests/db/stored.h"

#define DAY_NS (UINT64_C(86400) * BLAZEI_NS_PER_S)

/* The library's clock, which lets months pass. */
static _Atomic uint64_t passed_ns;
uint64_t __real_blazei_realtime_ns(void);
uint64_t __wrap_blazei_realtime_ns(void);

uint64_t __wrap_blazei_realtime_ns(void)
{
	return __real_blazei_realtime_ns() + passed_ns;
}

/* Whether each entry of a vector that is not empty is in the other replica too. */
static void vectors_assert_equal(const struct blaze_db *a, const struct blaze_db *b)
{
	for (unsigned i = 0; i < blazei_replica_vector_count(a->replica); i++) {
		struct blazei_vector_entry entry;

		blazei_replica_vector_entry(a->replica, i, &entry);
		ck_assert_uint_eq(entry.seq, blazei_replica_vector_seq(b->replica, &entry.origin));
	}
}

/* A twin is made from the log while the database is still there: they are the same. Closes it. */
static void reopened_equals(struct node *node, const char *db_name, unsigned number)
{
	uint8_t before[16], after[16];
	struct blaze_db *view = NULL;
	uint64_t until = 0;

	/* Its own reports may come meanwhile. */
	do {
		if (view != NULL)
			ck_assert_int_eq(blaze_db_close(view), 0);
		stored_hash_stamps(node->db, before);
		ck_assert_int_eq(blaze_db_sync(node->db), 0);
		view = stored_open(db_name, number, 0, BLAZE_DB_READ_ONLY | BLAZE_DB_MANUAL);
		stored_hash_stamps(node->db, after);
	} while (memcmp(before, after, sizeof(before)) != 0 && time_is_left(&until));
	stored_hash_stamps(view, after);
	ck_assert_mem_eq(before, after, sizeof(before));
	ck_assert_int_eq(blaze_db_count(node->db), blaze_db_count(view));
	vectors_assert_equal(node->db, view);
	vectors_assert_equal(view, node->db);
	ck_assert_int_eq(blaze_db_close(view), 0);
	node_close(node);
}

START_TEST(received_is_there_after_a_restart)
{
	const char *name = unique_name();
	struct node a = stored_node(name, 0, 0);
	struct node b = stored_node(name, 1, 0);
	struct node c = node_open(name, "c");
	struct blaze_id ids[60], before = b.id;

	stored_link(&a, &b);
	stored_link(&b, &c);
	for (unsigned i = 0; i < 60; i++)
		node_insert(i % 3 == 0 ? &a : i % 3 == 1 ? &b : &c, "n", i, &ids[i]);
	node_wait(&a);
	node_wait(&b);
	for (unsigned i = 0; i < 60; i++)
		node_update(i % 2 == 0 ? &a : &b, &ids[i], "n", 100 + i);
	node_wait(&a);
	node_wait(&b);
	node_wait(&c);
	nodes_assert_equal(&a, &b);
	nodes_assert_equal(&b, &c);
	reopened_equals(&b, name, 1);
	/* Meanwhile others go on. */
	node_update(&c, &ids[0], "n", 1000);
	b = stored_node(name, 1, 0);
	ck_assert(blazei_id_equal(&b.id, &before));
	stored_link(&a, &b);
	stored_link(&b, &c);
	node_update(&b, &ids[1], "n", 1001);
	node_wait(&a);
	node_wait(&b);
	node_wait(&c);
	nodes_assert_equal(&a, &b);
	nodes_assert_equal(&b, &c);
	for (unsigned i = 0; i < 60; i++)
		ck_assert_int_eq(node_value(&a, &ids[i], "n"), i < 2 ? 1000 + i : 100 + i);
	reopened_equals(&a, name, 0);
	reopened_equals(&b, name, 1);
	node_close(&c);
}
END_TEST

/* A history of 64 kB does not reach back: what is lacking comes as a snapshot. */
START_TEST(snapshot_is_there_after_a_restart)
{
	const char *name = unique_name();
	struct node a = stored_node(name, 0, 64 << 10);
	struct node b = stored_node(name, 1, 64 << 10);
	struct blaze_id ids[3000];
	struct blaze_txn *txn;

	for (unsigned i = 0; i < 3000; i++) {
		struct blaze_record *record = record_of("n", i);

		if (i % 100 == 0)
			ck_assert_int_eq(blaze_txn_begin(a.db, &txn), 0);
		ck_assert_int_eq(blaze_txn_insert(txn, record, &ids[i]), 0);
		blaze_record_free(record);
		if (i % 100 == 99)
			ck_assert_int_eq(blaze_txn_commit(txn), 0);
	}
	node_insert(&b, "n", 5, NULL);
	stored_link(&a, &b);
	node_wait(&b);
	node_wait(&a);
	nodes_assert_equal(&a, &b);
	ck_assert_int_eq(blaze_db_count(b.db), 3001);
	for (unsigned i = 0; i < 20; i++)
		node_update(&b, &ids[i], "n", 7000);
	node_wait(&a);
	reopened_equals(&b, name, 1);
	/* And one that lacks a part. */
	for (unsigned i = 0; i < 3000; i++) {
		struct blaze_record *record = record_of("n", i + 1);

		if (i % 100 == 0)
			ck_assert_int_eq(blaze_txn_begin(a.db, &txn), 0);
		ck_assert_int_eq(blaze_txn_update(txn, &ids[i], record), 0);
		blaze_record_free(record);
		if (i % 100 == 99)
			ck_assert_int_eq(blaze_txn_commit(txn), 0);
	}
	b = stored_node(name, 1, 64 << 10);
	stored_link(&a, &b);
	node_wait(&b);
	nodes_assert_equal(&a, &b);
	reopened_equals(&b, name, 1);
	reopened_equals(&a, name, 0);
}
END_TEST

static enum blazei_membership membership(const struct node *node, const struct blaze_id *of)
{
	enum blazei_membership found;

	pthread_mutex_lock(&node->db->lock);
	found = blazei_replica_membership(node->db->replica, of);
	pthread_mutex_unlock(&node->db->lock);
	return found;
}

/* The library's thread has it join. */
static void joined_await(const struct node *at, const struct blaze_id *node)
{
	for (unsigned i = 0; i < 30000 && membership(at, node) != BLAZEI_MEMBER_JOINED; i++)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	ck_assert_int_eq(membership(at, node), BLAZEI_MEMBER_JOINED);
}

START_TEST(expelled_database_returns_with_what_it_wrote)
{
	const char *name = unique_name();
	struct node a = stored_node(name, 0, 0);
	struct node b = stored_node(name, 1, 0);
	struct blaze_id ids[30], b_id = b.id;
	struct blazei_origin before = origin_of(&b);

	stored_link(&a, &b);
	for (unsigned i = 0; i < 10; i++)
		node_insert(&a, "n", i, &ids[i]);
	node_wait(&b);
	joined_await(&a, &a.id);
	joined_await(&a, &b.id);
	joined_await(&b, &b.id);
	node_wait(&b);
	node_close(&b);
	/* It writes by itself, without a topology. */
	b.db = stored_open(name, 1, 0, 0);
	for (unsigned i = 10; i < 20; i++)
		node_insert(&b, "n", i, &ids[i]);
	node_update(&b, &ids[0], "m", 99);
	before = origin_of(&b);
	/* And 40 days pass elsewhere, in which much is deleted and collected. */
	for (unsigned i = 20; i < 30; i++)
		node_insert(&a, "n", i, &ids[i]);
	ck_assert_int_eq(blaze_db_delete(a.db, &ids[1]), 0);
	for (unsigned day = 1; day <= 45; day++) {
		passed_ns += DAY_NS;
		stored_tick(&a);
		passed_ns += 31 * BLAZEI_NS_PER_S;
		stored_tick(&a);
		/* Reports take what is durable. */
		ck_assert_int_eq(blaze_db_sync(a.db), 0);
	}
	ck_assert_int_eq(membership(&a, &b_id), BLAZEI_MEMBER_EXPELLED);
	ck_assert_int_eq(blaze_topology_new(&b.topology), 0);
	ck_assert_int_eq(blaze_topology_register(b.topology, b.db, "s1", BLAZE_ROLE_PEER, &b.id),
	                 0);
	ck_assert(blazei_id_equal(&b.id, &b_id));
	stored_link(&a, &b);
	for (unsigned i = 0; i < 30000 && node_value(&a, &ids[19], "n") != 19; i++)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	node_wait(&a);
	node_wait(&b);
	nodes_assert_equal(&a, &b);
	for (unsigned i = 0; i < 30; i++)
		ck_assert_int_eq(node_value(&a, &ids[i], "n"), i == 1 ? -1 : (int64_t)i);
	ck_assert_int_eq(node_value(&a, &ids[0], "m"), 99);
	/* Under a new name: nobody hears of the old one. */
	ck_assert_uint_ne(origin_of(&b).incarnation, before.incarnation);
	joined_await(&a, &b_id);
	node_update(&b, &ids[2], "n", 222);
	node_wait(&a);
	ck_assert_int_eq(node_value(&a, &ids[2], "n"), 222);
	node_wait(&b);
	reopened_equals(&b, name, 1);
	b = stored_node(name, 1, 0);
	stored_link(&a, &b);
	node_update(&b, &ids[3], "n", 333);
	node_wait(&a);
	node_wait(&b);
	ck_assert_int_eq(node_value(&a, &ids[3], "n"), 333);
	nodes_assert_equal(&a, &b);
	reopened_equals(&b, name, 1);
	reopened_equals(&a, name, 0);
}
END_TEST

/* Hands a database a transaction that somebody else wrote under the node's name. */
static void forge(const struct node *node, const struct node *at)
{
	struct blazei_replica_options options = {
		.self = origin_of(node),
		.policy = BLAZE_POLICY_SERVER_PRIORITY,
	};
	const struct blaze_id id = { { 9 } };
	const struct blazei_write put = { .kind = BLAZEI_WRITE_PUT, .id = &id };
	struct blazei_replica *twin;
	struct blazei_txn_view txn = { .len = 0 };
	struct blazei_vector_entry own;

	pthread_mutex_lock(&node->db->lock);
	blazei_replica_vector_entry(node->db->replica, 0, &own);
	pthread_mutex_unlock(&node->db->lock);
	ck_assert_int_eq(blazei_replica_new(&options, &twin), 0);
	for (uint64_t i = 0; i <= own.seq; i++)
		ck_assert_int_eq(blazei_replica_write(twin, blazei_realtime_ns(), &put, &txn), 0);
	pthread_mutex_lock(&at->db->lock);
	ck_assert_int_eq(blazei_replica_receive(at->db->replica, blazei_realtime_ns(), &txn, 1), 0);
	pthread_mutex_unlock(&at->db->lock);
	blazei_db_kick(at->db);
	blazei_replica_free(twin);
}

START_TEST(displaced_database_is_what_it_was_after_a_restart)
{
	const char *name = unique_name();
	struct node a = stored_node(name, 0, 0);
	struct node b = stored_node(name, 1, 0);
	struct blazei_origin before = origin_of(&a);
	struct blaze_id ids[20];

	stored_link(&a, &b);
	for (unsigned i = 0; i < 15; i++)
		node_insert(&a, "n", i, &ids[i]);
	node_wait(&b);
	/* From here on b takes nothing more under that name. */
	forge(&a, &b);
	for (unsigned i = 15; i < 20; i++)
		node_insert(&a, "n", i, &ids[i]);
	forge(&a, &a);
	for (unsigned i = 0; i < 30000 && origin_of(&a).incarnation == before.incarnation; i++)
		blazei_sleep_ns(BLAZEI_NS_PER_MS);
	ck_assert_uint_ne(origin_of(&a).incarnation, before.incarnation);
	for (unsigned i = 0; i < 20; i++)
		node_update(&a, &ids[i], "n", 100 + i);
	node_wait(&b);
	node_wait(&a);
	nodes_assert_equal(&a, &b);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(node_value(&b, &ids[i], "n"), 100 + i);
	reopened_equals(&a, name, 0);
	/* What it writes now must not depend on what nobody takes under the name that was left. */
	a = stored_node(name, 0, 0);
	stored_link(&a, &b);
	node_update(&a, &ids[0], "n", 500);
	node_wait(&b);
	ck_assert_int_eq(node_value(&b, &ids[0], "n"), 500);
	node_wait(&a);
	nodes_assert_equal(&a, &b);
	reopened_equals(&a, name, 0);
	reopened_equals(&b, name, 1);
}
END_TEST

START_TEST(role_persists)
{
	const char *name = unique_name();
	struct node a = stored_node(name, 0, 0);
	struct node b;
	struct blaze_id id, node;
	struct blaze_record *record;

	node_insert(&a, "n", 1, &id);
	node_close(&a);
	b = stored_node(name, 1, 0);
	a.db = stored_open(name, 0, 0, 0);
	ck_assert_int_eq(blaze_topology_new(&a.topology), 0);
	ck_assert_int_eq(blaze_topology_register(a.topology, a.db, "s0", BLAZE_ROLE_SERVER, &node),
	                 0);
	a.id = node;
	stored_link(&a, &b);
	node_wait(&b);
	node_close(&a);
	/* Opened alone it writes as what it was; and a later write of b has not seen that. */
	a.db = stored_open(name, 0, 0, 0);
	record = record_of("n", 2);
	ck_assert_int_eq(blaze_db_update(a.db, &id, record), 0);
	blaze_record_free(record);
	ck_assert_int_eq(blaze_db_close(a.db), 0);
	blazei_sleep_ns(2 * BLAZEI_NS_PER_MS);
	node_update(&b, &id, "n", 3);
	a.db = stored_open(name, 0, 0, 0);
	ck_assert_int_eq(blaze_topology_new(&a.topology), 0);
	ck_assert_int_eq(blaze_topology_register(a.topology, a.db, "s0", BLAZE_ROLE_PEER, &a.id),
	                 0);
	stored_link(&a, &b);
	node_wait(&b);
	node_wait(&a);
	ck_assert_int_eq(node_value(&b, &id, "n"), 2);
	nodes_assert_equal(&a, &b);
	node_close(&a);
	node_close(&b);
}
END_TEST

START_TEST(who_only_looks_takes_no_part)
{
	const char *name = unique_name();
	struct node a = stored_node(name, 0, 0);
	struct blaze_id id;

	node_close(&a);
	a.db = stored_open(name, 0, 0, BLAZE_DB_READ_ONLY);
	ck_assert_int_eq(blaze_topology_new(&a.topology), 0);
	ck_assert_int_eq(blaze_topology_register(a.topology, a.db, "x", BLAZE_ROLE_PEER, &id),
	                 -EROFS);
	node_close(&a);
}
END_TEST

/* Turns a byte of the second frame of a segment. */
static void frame_turn(const char *segment)
{
	char path[100];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", stored_path(0), segment);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, 4096 + 100), 1);
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, 4096 + 100), 1);
	close(fd);
}

/* What was copied ahead of the failure does not stand in the way of the next attempt. */
START_TEST(failed_backup_can_be_made_again)
{
	static const char first[] = "0000000000000001.seg";
	struct blaze_db *db = NULL, *copy;
	struct blaze_id id = { { 1 } };

	for (uint8_t i = 0; i < 2; i++) {
		db = stored_open("again", 0, 0, 0);
		for (uint8_t k = 0; k < 3; k++) {
			id.bytes[1] = i;
			id.bytes[2] = k;
			ck_assert_int_eq(blaze_db_put(db, &id, "x", 1), 0);
		}
		if (i == 0)
			ck_assert_int_eq(blaze_db_close(db), 0);
	}
	frame_turn(first);
	ck_assert_int_eq(blaze_db_backup(db, stored_path(1)), -EBADMSG);
	frame_turn(first);
	ck_assert_int_eq(blaze_db_backup(db, stored_path(1)), 0);
	ck_assert_int_eq(blaze_db_backup(db, stored_path(1)), -EEXIST);
	ck_assert_int_eq(blaze_db_close(db), 0);
	copy = stored_open("again", 1, 0, 0);
	ck_assert_int_eq(blaze_db_count(copy), 6);
	ck_assert_int_eq(blaze_db_close(copy), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stored");
	TCase *tcase = tcase_create("stored");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, stored_setup, stored_teardown);
	tcase_add_test(tcase, received_is_there_after_a_restart);
	tcase_add_test(tcase, snapshot_is_there_after_a_restart);
	tcase_add_test(tcase, expelled_database_returns_with_what_it_wrote);
	tcase_add_test(tcase, displaced_database_is_what_it_was_after_a_restart);
	tcase_add_test(tcase, role_persists);
	tcase_add_test(tcase, who_only_looks_takes_no_part);
	tcase_add_test(tcase, failed_backup_can_be_made_again);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
