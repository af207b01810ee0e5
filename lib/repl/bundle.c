/* SPDX-License-Identifier: Apache-2.0 */
/* Registers that are written anew, put together as a transaction; see bundle.h.
 *
 * FAILURE  Nothing is changed before blazei_commit, which is all or nothing. */
#include "lib/repl/bundle.h"

#include <stdlib.h>

#include "lib/op/value.h"

/* Makes room for `more` elements of that size. */
static bool room(void **array, size_t size, uint32_t count, uint32_t more, uint32_t *max)
{
	void *grown;

	if (more <= *max - count)
		return true;
	grown = realloc(*array, ((size_t)count + more) * 2 * size);
	if (!grown)
		return false;
	*array = grown;
	*max = (count + more) * 2;
	return true;
}

void blazei_bundle_init(struct blazei_bundle *bundle, const struct blazei_replica *replica)
{
	const size_t context = sizeof(struct blazei_origin) + sizeof(struct blazei_txn_dep);

	*bundle = (struct blazei_bundle){ 0 };
	bundle->bytes_max = BLAZEI_TXN_BYTES_MAX - sizeof(struct blazei_txn_header) -
	                    replica->vector.count * context;
}

int blazei_bundle_begin(struct blazei_bundle *bundle, uint32_t ops_max)
{
	void *groups = bundle->groups;
	void *ops = bundle->ops;
	/* One for the existence, and one for each field at most. */
	bool fits = room(&groups, sizeof(*bundle->groups), bundle->group_count, ops_max + 1,
	                 &bundle->group_max) &&
	            room(&ops, sizeof(*bundle->ops), bundle->op_count, ops_max, &bundle->op_max);

	bundle->groups = groups;
	bundle->ops = ops;
	bundle->record_op = bundle->op_count;
	bundle->record_bytes =
	        sizeof(struct blazei_txn_group) + sizeof(struct blazei_txn_existence);
	return fits ? 0 : -ENOMEM;
}

bool blazei_bundle_add(struct blazei_bundle *bundle, const struct blazei_write_op *op)
{
	/* As if each were of a life of its own. */
	const size_t bytes = sizeof(struct blazei_txn_group) + blazei_op_bytes(op);

	if (bundle->op_count - bundle->record_op == BLAZEI_REGISTERS_MAX ||
	    bundle->bytes + bundle->record_bytes + bytes > bundle->bytes_max)
		return false;
	bundle->record_bytes += bytes;
	bundle->ops[bundle->op_count++] = *op;
	return true;
}

/* By life, then by name as a transaction has them. */
static int ops_compare(const void *a, const void *b)
{
	const struct blazei_write_op *left = a;
	const struct blazei_write_op *right = b;

	if (left->life != right->life)
		return left->life < right->life ? -1 : 1;
	return blazei_key_compare(left->name, left->name_len, right->name, right->name_len);
}

static struct blazei_write_group *group_add(struct blazei_bundle *bundle,
                                            const struct blazei_write_group *existence,
                                            uint32_t life)
{
	struct blazei_write_group *group = &bundle->groups[bundle->group_count++];

	*group = *existence;
	group->life = life;
	group->op_count = 0;
	group->anew = true;
	if (life != existence->life)
		group->flags = 0;
	return group;
}

void blazei_bundle_end(struct blazei_bundle *bundle, const struct blazei_write_group *existence)
{
	struct blazei_write_op *ops = &bundle->ops[bundle->record_op];
	const uint32_t count = bundle->op_count - bundle->record_op;
	const uint32_t groups_before = bundle->group_count;
	struct blazei_write_group *group = NULL;
	bool due = existence->flags != 0;

	if (count > 0)
		qsort(ops, count, sizeof(*ops), ops_compare);
	for (uint32_t i = 0; i < count; i++) {
		if (due && existence->life <= ops[i].life) {
			group = group_add(bundle, existence, existence->life);
			due = false;
		}
		if (!group || group->life != ops[i].life)
			group = group_add(bundle, existence, ops[i].life);
		group->op_count++;
	}
	if (due)
		group_add(bundle, existence, existence->life);
	for (uint32_t i = groups_before; i < bundle->group_count; i++) {
		bundle->groups[i].ops = ops;
		ops += bundle->groups[i].op_count;
		bundle->bytes += blazei_group_bytes(&bundle->groups[i]);
	}
}

int blazei_bundle_commit(struct blazei_bundle *bundle, struct blazei_replica *replica,
                         uint64_t now_ns, struct blazei_txn_view *ret_txn)
{
	uint32_t at = 0;

	bundle->list = malloc((bundle->group_count + 1) * sizeof(struct blazei_write_group *));
	if (!bundle->list)
		return -ENOMEM;
	/* The arrays have grown, and the ops with them. */
	for (uint32_t i = 0; i < bundle->group_count; i++) {
		bundle->groups[i].ops = &bundle->ops[at];
		at += bundle->groups[i].op_count;
		bundle->list[i] = &bundle->groups[i];
	}
	return blazei_commit(replica, now_ns, bundle->list, bundle->group_count, ret_txn);
}

void blazei_bundle_free(struct blazei_bundle *bundle)
{
	free(bundle->groups);
	free(bundle->list);
	free(bundle->ops);
}
