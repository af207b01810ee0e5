/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the boards of a ring's participants and finds the connected component of a node.
 *
 * The graph is small (64 participants with at most 256 links each) and changes rarely: it is built
 * anew each time as a union-find over a hash table of node ids, in time linear in the links. */
#include "lib/db/census.h"

#include <stdlib.h>

struct blazei_member *blazei_census_by_peer(struct blazei_census *census,
                                            const struct blaze_id *peer)
{
	for (unsigned i = 0; i < census->count; i++) {
		if (blazei_id_equal(&census->members[i].peer, peer))
			return &census->members[i];
	}
	return NULL;
}

struct blazei_member *blazei_census_by_node(struct blazei_census *census,
                                            const struct blaze_id *node)
{
	for (unsigned i = 0; i < census->count; i++) {
		struct blazei_member *member = &census->members[i];

		if (member->live && member->valid && blazei_id_equal(&member->text->node, node))
			return member;
	}
	return NULL;
}

/* Reads a member's board where it changed. One that doesn't hold still keeps what was read before,
 * and is tried again by the next update. */
static void member_read(struct blazei_census *census, struct blazei_member *member)
{
	uint64_t version = blazei_board_version(member->board, member->board_bytes);
	struct blazei_board_description *text;
	int error;

	if (version == 0 || version == member->version)
		return;
	text = malloc(sizeof(*text));
	if (text == NULL)
		return;
	error = blazei_board_read(member->board, member->board_bytes, &version, text);
	if (error == -EAGAIN || error == -ENOENT) {
		census->unsettled |= error == -EAGAIN && member->live;
		free(text);
		return;
	}
	free(member->text);
	member->text = error == 0 ? text : NULL;
	member->valid = error == 0;
	member->error = error;
	member->version = version;
	if (error != 0)
		free(text);
	census->changed = true;
}

static int peer_visit(void *arg, const struct blazei_peer *peer)
{
	struct blazei_census *census = arg;
	struct blazei_member *member = blazei_census_by_peer(census, &peer->id);

	if (member == NULL) {
		if (census->count == BLAZEI_CENSUS_MAX)
			return 0;
		member = &census->members[census->count++];
		memset(member, 0, sizeof(*member));
		member->peer = peer->id;
		member->error = -ENOENT;
		census->changed = true;
	}
	member->seen = true;
	member->live = peer->live;
	member->board = peer->board;
	member->board_bytes = peer->board_bytes;
	member_read(census, member);
	return 0;
}

/* Forgets members that the update did not see. */
static void census_sweep(struct blazei_census *census)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < census->count; i++) {
		if (census->members[i].seen) {
			if (kept != i)
				census->members[kept] = census->members[i];
			kept++;
		} else {
			free(census->members[i].text);
			census->changed = true;
			census->left = true;
		}
	}
	census->count = kept;
}

int blazei_census_update(struct blazei_census *census, struct blazei_link *link, bool probe)
{
	int error;

	for (unsigned i = 0; i < census->count; i++) {
		census->members[i].seen = false;
		census->members[i].board = NULL;
	}
	census->unsettled = false;
	error = link->ops->each_peer(link, probe, peer_visit, census);
	if (error < 0)
		return error;
	census_sweep(census);
	return 0;
}

void blazei_census_clear(struct blazei_census *census)
{
	for (unsigned i = 0; i < census->count; i++)
		free(census->members[i].text);
	census->count = 0;
	census->changed = false;
}

/* The graph --------------------------------------------------------------------------------- */

struct vertex {
	struct blaze_id node;
	uint32_t parent; /* index of another vertex of its set, or its own */
	bool used;
};

struct graph {
	struct vertex *vertices; /* a hash table with open addressing, never more than half full */
	uint32_t mask;
};

static uint32_t vertex_index(struct graph *graph, const struct blaze_id *node)
{
	uint64_t words[2];
	uint32_t at;

	memcpy(words, node->bytes, sizeof(words));
	at = (uint32_t)(((words[0] ^ words[1]) * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & graph->mask;
	while (graph->vertices[at].used && !blazei_id_equal(&graph->vertices[at].node, node))
		at = (at + 1) & graph->mask;
	if (!graph->vertices[at].used) {
		graph->vertices[at].used = true;
		graph->vertices[at].node = *node;
		graph->vertices[at].parent = at;
	}
	return at;
}

static uint32_t vertex_root(struct graph *graph, uint32_t at)
{
	while (graph->vertices[at].parent != at) {
		/* Halves the path, so that later walks are short. */
		graph->vertices[at].parent = graph->vertices[graph->vertices[at].parent].parent;
		at = graph->vertices[at].parent;
	}
	return at;
}

static void graph_add(struct graph *graph, const struct blazei_board_description *text)
{
	uint32_t self = vertex_root(graph, vertex_index(graph, &text->node));

	for (uint32_t i = 0; i < text->link_count; i++) {
		uint32_t other = vertex_root(graph, vertex_index(graph, &text->links[i].node));

		graph->vertices[other].parent = self;
	}
}

static int graph_init(struct graph *graph, const struct blazei_census *census,
                      const struct blazei_board_description *own)
{
	size_t vertices = 2 + (own != NULL ? own->link_count : 0);
	size_t size = 16;

	for (unsigned i = 0; i < census->count; i++) {
		if (census->members[i].valid)
			vertices += 1 + census->members[i].text->link_count;
	}
	while (size < 2 * vertices)
		size *= 2;
	graph->vertices = calloc(size, sizeof(*graph->vertices));
	graph->mask = (uint32_t)size - 1;
	return graph->vertices != NULL ? 0 : -ENOMEM;
}

int blazei_census_reach(struct blazei_census *census, const struct blazei_board_description *own,
                        const struct blaze_id *node, uint32_t policy)
{
	struct graph graph;
	uint32_t root;
	int error = graph_init(&graph, census, own);

	if (error != 0)
		return error;
	if (own != NULL)
		graph_add(&graph, own);
	for (unsigned i = 0; i < census->count; i++) {
		if (census->members[i].valid)
			graph_add(&graph, census->members[i].text);
	}
	root = vertex_root(&graph, vertex_index(&graph, node));
	for (unsigned i = 0; i < census->count; i++) {
		struct blazei_member *member = &census->members[i];

		member->reachable =
		        member->valid && member->text->policy == policy &&
		        vertex_root(&graph, vertex_index(&graph, &member->text->node)) == root;
	}
	free(graph.vertices);
	census->changed = false;
	return 0;
}
