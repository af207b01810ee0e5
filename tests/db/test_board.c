/* SPDX-License-Identifier: Apache-2.0 */
/* Boards: what is written is read back, nothing invalid is taken, and the graph is followed. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <blaze/topology.h>

#include "lib/db/census.h"

#define PEERS 5

static struct blazei_board *board_new(void)
{
	struct blazei_board *board = calloc(1, BLAZEI_BOARD_BYTES);

	ck_assert_ptr_nonnull(board);
	return board;
}

static struct blaze_id id_of(unsigned n)
{
	struct blaze_id id = { .bytes = { (uint8_t)n, 1 } };

	return id;
}

static struct blazei_board_description text_of(unsigned n)
{
	struct blazei_board_description text;

	memset(&text, 0, sizeof(text));
	text.node = id_of(n);
	text.incarnation = n;
	text.role = BLAZE_ROLE_PEER;
	text.policy = BLAZE_POLICY_LWW;
	strcpy(text.db_name, "bugs");
	strcpy(text.node_name, "knot");
	return text;
}

static int read_back(const struct blazei_board *board, struct blazei_board_description *ret_text)
{
	uint64_t version;

	return blazei_board_read(board, BLAZEI_BOARD_BYTES, &version, ret_text);
}

START_TEST(board_published_description_is_read_back)
{
	struct blazei_board *board = board_new();
	struct blazei_board_description text = text_of(7), back;

	ck_assert_int_eq(read_back(board, &back), -ENOENT);
	ck_assert_uint_eq(blazei_board_version(board, BLAZEI_BOARD_BYTES), 0);
	blazei_board_publish(board, &text);
	ck_assert_int_eq(read_back(board, &back), 0);
	ck_assert_mem_eq(&text, &back, sizeof(text));
	ck_assert_int_eq(blazei_board_read(board, 100, &(uint64_t){ 0 }, &back), -ENOENT);
	free(board);
}
END_TEST

START_TEST(board_of_another_format_is_refused)
{
	struct blazei_board *board = board_new();
	struct blazei_board_description text = text_of(7), back;

	blazei_board_publish(board, &text);
	atomic_store(&board->format, BLAZEI_BOARD_FORMAT + 1);
	ck_assert_int_eq(read_back(board, &back), -EPROTO);
	ck_assert_uint_eq(blazei_board_vector_count(board, BLAZEI_BOARD_BYTES), 0);
	free(board);
}
END_TEST

START_TEST(board_left_in_the_middle_of_a_change_is_skipped)
{
	struct blazei_board *board = board_new();
	struct blazei_board_description text = text_of(7), back;

	blazei_board_publish(board, &text);
	atomic_fetch_add(&board->version, 1);
	ck_assert_int_eq(read_back(board, &back), -EAGAIN);
	free(board);
}
END_TEST

static void assert_invalid(const struct blazei_board_description *text)
{
	struct blazei_board *board = board_new();
	struct blazei_board_description back;

	blazei_board_publish(board, text);
	ck_assert_int_eq(read_back(board, &back), -EBADMSG);
	free(board);
}

START_TEST(board_with_invalid_content_is_refused)
{
	struct blazei_board_description text = text_of(1);

	text.role = 3;
	assert_invalid(&text);
	text = text_of(1);
	text.policy = BLAZE_POLICY_DEFAULT;
	assert_invalid(&text);
	text = text_of(1);
	text.link_count = BLAZEI_BOARD_LINKS_MAX + 1;
	assert_invalid(&text);
	text = text_of(1);
	text.link_count = 1;
	text.links[0].mode = 3;
	assert_invalid(&text);
	text = text_of(1);
	memset(text.db_name, 'a', sizeof(text.db_name));
	assert_invalid(&text);
	text = text_of(1);
	text.db_name[0] = '/';
	assert_invalid(&text);
	text = text_of(1);
	text.db_name[20] = 'x';
	assert_invalid(&text);
	text = text_of(1);
	text.node_name[0] = '\0';
	assert_invalid(&text);
	text = text_of(1);
	text.node_name[0] = '\xff';
	assert_invalid(&text);
}
END_TEST

START_TEST(board_vector_entries_append_and_rise)
{
	struct blazei_board *board = board_new();
	struct blazei_board_description text = text_of(1);
	struct blazei_vector_entry entry = { .origin = { .incarnation = 9 }, .seq = 4 };
	struct blazei_board_item back;

	blazei_board_publish(board, &text);
	blazei_board_vector_store(board, 1, &entry, 7);
	ck_assert_uint_eq(blazei_board_vector_count(board, BLAZEI_BOARD_BYTES), 0);
	blazei_board_vector_store(board, 0, &entry, 7);
	entry.origin.node = id_of(3);
	blazei_board_vector_store(board, 1, &entry, 7);
	entry.seq = 5;
	blazei_board_vector_store(board, 1, &entry, 7);
	ck_assert_uint_eq(blazei_board_vector_count(board, BLAZEI_BOARD_BYTES), 2);
	blazei_board_vector_load(board, 1, &back);
	ck_assert_mem_eq(&entry, &back.entry, sizeof(entry));
	ck_assert_uint_eq(back.hlc, 7);
	for (unsigned i = 2; i < BLAZEI_BOARD_VECTOR_MAX + 10; i++)
		blazei_board_vector_store(board, i, &entry, 7);
	ck_assert_uint_eq(blazei_board_vector_count(board, BLAZEI_BOARD_BYTES),
	                  BLAZEI_BOARD_VECTOR_MAX);
	/* A hostile count is cut to what there is room for. */
	atomic_store(&board->vector_count, UINT64_MAX);
	ck_assert_uint_eq(blazei_board_vector_count(board, BLAZEI_BOARD_BYTES),
	                  BLAZEI_BOARD_VECTOR_MAX);
	free(board);
}
END_TEST

static void *publish_for_ever(void *arg)
{
	struct blazei_board *board = arg;
	struct blazei_board_description text = text_of(1);

	for (unsigned i = 1; i <= 20000; i++) {
		text.incarnation = i;
		text.links[BLAZEI_BOARD_LINKS_MAX - 1].node = id_of(i % 251);
		text.request.ring = id_of(i % 251);
		blazei_board_publish(board, &text);
	}
	return NULL;
}

START_TEST(board_read_beside_a_writer_is_never_torn)
{
	struct blazei_board *board = board_new();
	struct blazei_board_description text = text_of(1), back;
	pthread_t thread;
	uint64_t seen = 0;

	text.incarnation = 251;
	blazei_board_publish(board, &text);
	ck_assert_int_eq(pthread_create(&thread, NULL, publish_for_ever, board), 0);
	while (seen < 20000) {
		if (read_back(board, &back) != 0)
			continue;
		seen = back.incarnation;
		ck_assert_mem_eq(&back.links[BLAZEI_BOARD_LINKS_MAX - 1].node, &back.request.ring,
		                 sizeof(struct blaze_id));
		if (back.incarnation != 251)
			ck_assert_uint_eq(back.request.ring.bytes[0], back.incarnation % 251);
	}
	pthread_join(thread, NULL);
	free(board);
}
END_TEST

START_TEST(board_entry_named_anew_has_nothing_of_the_old_one)
{
	struct blazei_board *board = board_new();
	struct blazei_board_description text = text_of(1);
	struct blazei_vector_entry entry = { .origin.node = id_of(2), .seq = 4 };
	struct blazei_board_item back;

	blazei_board_publish(board, &text);
	blazei_board_vector_store(board, 0, &entry, 1);
	/* What the store has may be told before the entry is there. */
	blazei_board_durable_store(board, 1, 3);
	entry.origin.node = id_of(3);
	blazei_board_vector_store(board, 1, &entry, 40);
	blazei_board_vector_load(board, 1, &back);
	ck_assert_uint_eq(back.durable, 3);
	entry = (struct blazei_vector_entry){ .origin.node = id_of(4), .seq = 1 };
	ck_assert(blazei_board_vector_differs(board, 1, &entry.origin));
	blazei_board_vector_store(board, 1, &entry, 50);
	ck_assert(!blazei_board_vector_differs(board, 1, &entry.origin));
	blazei_board_vector_load(board, 1, &back);
	ck_assert_mem_eq(&entry, &back.entry, sizeof(entry));
	ck_assert_uint_eq(back.hlc, 50);
	ck_assert_uint_eq(back.durable, 0);
	free(board);
}
END_TEST

START_TEST(board_left_in_the_middle_of_another_layout_has_no_vector)
{
	struct blazei_board *board = board_new();
	struct blazei_board_description text = text_of(1);
	struct blazei_vector_entry entry = { .origin.node = id_of(2), .seq = 4 };
	struct blazei_vector_view view;
	struct blazei_board_item back;

	blazei_board_publish(board, &text);
	blazei_board_vector_store(board, 0, &entry, 1);
	blazei_board_layout_begin(board);
	ck_assert_int_eq(blazei_board_vector_copy(board, BLAZEI_BOARD_BYTES, &view), -EAGAIN);
	/* Each entry can be read. */
	blazei_board_vector_load(board, 0, &back);
	ck_assert_mem_eq(&entry, &back.entry, sizeof(entry));
	blazei_board_layout_end(board);
	ck_assert_int_eq(blazei_board_vector_copy(board, BLAZEI_BOARD_BYTES, &view), 0);
	ck_assert_uint_eq(view.count, 1);
	ck_assert_mem_eq(&entry, &view.entries[0], sizeof(entry));
	free((void *)(uintptr_t)view.entries);
	free(board);
}
END_TEST

/* Entry i is of origin (g, i) in generation g, with all else from G * g on, so what belongs to one
 * origin tells which. Each generation has the places of all entries but the first turned. */
#define LAID    9u
#define LAYOUTS 20000u
#define RAISES  20u
#define G       UINT64_C(1000)

static atomic_bool laid_end;

static struct blazei_origin laid_origin(unsigned layout, unsigned place)
{
	return (struct blazei_origin){ .node = id_of(place == 0 ? 0 : 1 + (place + layout) % 8),
		                       .incarnation = place == 0 ? 1 : layout };
}

static void *lay_out_for_ever(void *arg)
{
	struct blazei_board *board = arg;
	struct blazei_vector_entry entry;

	for (unsigned g = 1; g <= LAYOUTS; g++) {
		for (uint64_t n = 1; n <= RAISES; n++) {
			if (n == 1 && g > 1)
				blazei_board_layout_begin(board);
			for (unsigned i = 0; i < LAID; i++) {
				entry = (struct blazei_vector_entry){ laid_origin(g, i),
					                              G * g + n };
				blazei_board_vector_store(board, i, &entry, G * g + n);
				blazei_board_durable_store(board, i, G * g + n);
			}
			if (n == 1 && g > 1)
				blazei_board_layout_end(board);
		}
	}
	atomic_store(&laid_end, true);
	return NULL;
}

/* What is read of one entry is of its origin, and goes on. */
static void laid_item_assert(const struct blazei_board_item *item, unsigned place,
                             struct blazei_board_item *before)
{
	struct blazei_origin origin;
	uint64_t g = item->entry.seq / G;

	if (item->entry.seq == 0)
		return;
	origin = laid_origin((unsigned)g, place);
	ck_assert_mem_eq(&item->entry.origin, &origin, sizeof(origin));
	ck_assert_uint_ge(item->hlc, item->entry.seq);
	/* The own entry is never named anew, and its words go on one by one. */
	ck_assert(place == 0 || item->hlc / G == g);
	ck_assert(place == 0 || item->durable == 0 || item->durable / G == g);
	ck_assert_uint_ge(item->entry.seq, before->entry.seq);
	ck_assert(before->entry.seq / G < g || item->durable >= before->durable);
	*before = *item;
}

/* All are of one layout. */
static bool laid_copy_assert(const struct blazei_board *board)
{
	struct blazei_vector_view view;

	if (blazei_board_vector_copy(board, BLAZEI_BOARD_BYTES, &view) != 0)
		return false;
	if (view.count == LAID)
		for (unsigned i = 1; i < LAID; i++) {
			uint64_t g = view.entries[i].seq / G;
			struct blazei_origin origin = laid_origin((unsigned)g, i);

			ck_assert_uint_eq(g, view.entries[1].seq / G);
			ck_assert_mem_eq(&view.entries[i].origin, &origin, sizeof(origin));
		}
	free((void *)(uintptr_t)view.entries);
	return true;
}

START_TEST(board_read_beside_another_layout_shows_one_origin)
{
	struct blazei_board *board = board_new();
	struct blazei_board_description text = text_of(1);
	struct blazei_board_item before[LAID] = { 0 };
	pthread_t thread;
	unsigned copies = 0;

	atomic_store(&laid_end, false);
	blazei_board_publish(board, &text);
	ck_assert_int_eq(pthread_create(&thread, NULL, lay_out_for_ever, board), 0);
	for (bool end = false; !end;) {
		end = atomic_load(&laid_end);
		for (unsigned i = 0; i < blazei_board_vector_count(board, BLAZEI_BOARD_BYTES);
		     i++) {
			struct blazei_board_item item;

			blazei_board_vector_load(board, i, &item);
			laid_item_assert(&item, i, &before[i]);
		}
		copies += laid_copy_assert(board);
	}
	pthread_join(thread, NULL);
	ck_assert_uint_gt(copies, 0);
	for (unsigned i = 0; i < LAID; i++)
		ck_assert_uint_eq(before[i].entry.seq, G * LAYOUTS + RAISES);
	free(board);
}
END_TEST

/* A link whose peers are boards of this process. */
struct fake_link {
	struct blazei_link link;
	struct blazei_board *boards[PEERS];
	bool shown[PEERS];
};

static int fake_each_peer(struct blazei_link *link, bool probe, blazei_peer_visitor visitor,
                          void *arg)
{
	struct fake_link *fake = (struct fake_link *)link;

	(void)probe;
	for (unsigned i = 0; i < PEERS; i++) {
		struct blazei_peer peer = {
			.id = id_of(100 + i),
			.board = fake->boards[i],
			.board_bytes = BLAZEI_BOARD_BYTES,
			.live = true,
		};
		int result = fake->shown[i] ? visitor(arg, &peer) : 0;

		if (result != 0)
			return result;
	}
	return 0;
}

static const struct blazei_link_ops fake_ops = { .each_peer = fake_each_peer };

static void fake_link_to(struct fake_link *fake, unsigned from, unsigned to)
{
	struct blazei_board_description text = text_of(from);

	text.link_count = 1;
	text.links[0].node = id_of(to);
	blazei_board_publish(fake->boards[from], &text);
}

static struct fake_link *fake_new(void)
{
	struct fake_link *fake = calloc(1, sizeof(*fake));

	fake->link.ops = &fake_ops;
	for (unsigned i = 0; i < PEERS; i++) {
		struct blazei_board_description text = text_of(i);

		fake->boards[i] = board_new();
		fake->shown[i] = true;
		blazei_board_publish(fake->boards[i], &text);
	}
	return fake;
}

static void fake_free(struct fake_link *fake)
{
	for (unsigned i = 0; i < PEERS; i++)
		free(fake->boards[i]);
	free(fake);
}

static unsigned reachable_mask(struct blazei_census *census, struct fake_link *fake, unsigned node)
{
	struct blaze_id id = id_of(node);
	unsigned mask = 0;

	ck_assert_int_eq(blazei_census_update(census, &fake->link, false), 0);
	ck_assert_int_eq(blazei_census_reach(census, NULL, &id, BLAZE_POLICY_LWW), 0);
	for (unsigned i = 0; i < census->count; i++)
		mask |= census->members[i].reachable ? 1u << census->members[i].text->node.bytes[0]
		                                     : 0;
	return mask;
}

START_TEST(census_links_of_any_direction_and_length_connect)
{
	struct blazei_census *census = calloc(1, sizeof(*census));
	struct fake_link *fake = fake_new();

	ck_assert_uint_eq(reachable_mask(census, fake, 0), 1u << 0);
	fake_link_to(fake, 1, 0);
	fake_link_to(fake, 2, 1);
	fake_link_to(fake, 3, 4);
	ck_assert_uint_eq(reachable_mask(census, fake, 0), 0x07);
	ck_assert_uint_eq(reachable_mask(census, fake, 4), 0x18);
	/* A member that is gone still conducts where others keep links to it. */
	fake_link_to(fake, 3, 1);
	fake->shown[1] = false;
	ck_assert_uint_eq(reachable_mask(census, fake, 3), 0x0c);
	ck_assert_uint_eq(census->count, 4);
	blazei_census_clear(census);
	free(census);
	fake_free(fake);
}
END_TEST

START_TEST(census_another_policy_or_a_bad_board_is_not_reachable)
{
	struct blazei_census *census = calloc(1, sizeof(*census));
	struct fake_link *fake = fake_new();
	struct blazei_board_description text = text_of(2);

	fake_link_to(fake, 1, 0);
	text.policy = BLAZE_POLICY_SERVER_PRIORITY;
	text.link_count = 1;
	text.links[0].node = id_of(0);
	blazei_board_publish(fake->boards[2], &text);
	text = text_of(3);
	text.link_count = 1;
	text.links[0].node = id_of(0);
	text.role = 77;
	blazei_board_publish(fake->boards[3], &text);
	ck_assert_uint_eq(reachable_mask(census, fake, 0), 0x03);
	blazei_census_clear(census);
	free(census);
	fake_free(fake);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("board");
	TCase *tcase = tcase_create("board");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, board_published_description_is_read_back);
	tcase_add_test(tcase, board_of_another_format_is_refused);
	tcase_add_test(tcase, board_left_in_the_middle_of_a_change_is_skipped);
	tcase_add_test(tcase, board_with_invalid_content_is_refused);
	tcase_add_test(tcase, board_vector_entries_append_and_rise);
	tcase_add_test(tcase, board_read_beside_a_writer_is_never_torn);
	tcase_add_test(tcase, board_entry_named_anew_has_nothing_of_the_old_one);
	tcase_add_test(tcase, board_left_in_the_middle_of_another_layout_has_no_vector);
	tcase_add_test(tcase, board_read_beside_another_layout_shows_one_origin);
	tcase_add_test(tcase, census_links_of_any_direction_and_length_connect);
	tcase_add_test(tcase, census_another_policy_or_a_bad_board_is_not_reachable);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
