/* SPDX-License-Identifier: BSD-3-Clause */
/* Adopt: a world in which a stored state has come about.
 *
 * The rows say what the server believes: which machines there are, and which tasks are placed on
 * them. What really runs only the agents know, and they are not here; so what is believed is taken
 * for true. A second core reads the rows for that and is thrown away: the server's own is asked
 * nothing before it has begun. A task that has ended is kept by the server alone. */

#include <stdlib.h>
#include <string.h>

#include "sim/sim-internal.h"

static int load_rows(struct sim *s, struct cluster *c, struct error *err)
{
        struct cluster_effects none = { 0 };

        for (const struct row *row = s->server.rows; row != NULL; row = row->hh.next)
                if (cluster_handle(c,
                            &(struct cluster_event){
                                    .type = CLUSTER_LOAD, .key = row->key, .value = row->value },
                            sim_server_wall(s), &none, err) < 0)
                        return -1;
        return 0;
}

static void adopt_tasks(struct cluster *c, struct sim_node *n)
{
        struct cluster_effects all = { 0 };

        cluster_assigns_of(c, n->status.name, &all);
        for (size_t i = 0; i < all.assigns_len; i++) {
                const struct cluster_assign *a = &all.assigns[i];
                const struct job_spec *spec = cluster_get_spec(c, a->job, a->desire.version);

                if (!a->forget && spec != NULL)
                        sim_agent_adopt(n, a, (struct job_spec *) (uintptr_t) spec);
        }
        cluster_effects_done(&all);
}

/* The greater one of those in its two rows. */
static uint64_t newest_note(const struct sim *s, const char *name, const json_t *node_row)
{
        AUTO(mem_freep) char *key = mem_printf("notes/%s", name);
        uint64_t seq = (uint64_t) json_integer_value(json_object_get(node_row, "note_seq"));
        const struct row *row;

        HASH_FIND_STR(s->server.rows, key, row);
        return row == NULL ? seq : MAX(seq, strtoull(row->value, NULL, 10));
}

static int adopt_node(
        struct sim *s, struct cluster *c, const json_t *row, const char *key, struct error *err)
{
        struct node_status status = { 0 };
        struct sim_node *n;
        uint32_t number;

        if (record_read(&node_table, json_object_get(row, "node"), &status, err) < 0)
                return error_wrap(err, "load row %s", key);
        if (status.state != NODE_LOST) {
                number = sim_add_node(s, &status);
                n = s->nodes[number];
                n->notes_acked = n->notes_sent = n->notes_seen = n->notes_stored =
                        newest_note(s, n->status.name, row);
                adopt_tasks(c, n);
        }
        record_done(&node_table, &status);
        return 0;
}

static int adopt_nodes(struct sim *s, struct cluster *c, struct error *err)
{
        for (const struct row *row = s->server.rows; row != NULL; row = row->hh.next) {
                json_t *value;
                int r;

                if (strncmp(row->key, "node/", 5) != 0)
                        continue;
                value = json_loads(row->value, 0, NULL);
                r = adopt_node(s, c, value, row->key, err);
                json_decref(value);
                if (r < 0)
                        return -1;
        }
        return 0;
}

int sim_adopt(struct sim *s, struct error *err)
{
        struct cluster *c = cluster_new();
        int r = load_rows(s, c, err);

        if (r == 0)
                r = adopt_nodes(s, c, err);
        cluster_free(c);
        return r;
}
