/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes by which people even out the use of nodes: what would be moved, and moving it. */

#include "base/mem.h"
#include "base/text.h"
#include "core/rebalance.h"
#include "server/api.h"

#define BUDGET     10
#define BUDGET_MAX 1000

struct moves {
        struct buffer body;
        char **tasks; /* ended by NULL */
        size_t len;
};

static void moves_done(struct moves *m)
{
        for (size_t i = 0; i < m->len; i++)
                free(m->tasks[i]);
        free(m->tasks);
        buffer_done(&m->body);
}

static void put_member(struct buffer *b, const char *name, const char *value)
{
        buffer_printf(b, "%s\"%s\":", b->data[b->len - 1] == '{' ? "" : ",", name);
        text_put_json_string(b, value);
}

static void put_move(void *data, const struct rebalance_move *move)
{
        struct moves *m = data;

        m->tasks = mem_resize(m->tasks, m->len + 1, sizeof m->tasks[0]);
        m->tasks[m->len++] = mem_strdup(move->task);
        buffer_puts(&m->body, m->body.len == 0 ? "[{" : ",{");
        put_member(&m->body, "task", move->task);
        put_member(&m->body, "from", move->from);
        put_member(&m->body, "to", move->to);
        put_member(&m->body, "reason", move->reason);
        buffer_putc(&m->body, '}');
}

static int find_moves(
        struct server *server, struct http_request *req, struct moves *ret, struct error *err)
{
        int64_t budget = BUDGET;

        if (api_query_int(req, "budget", 1, BUDGET_MAX, &budget, err) < 0)
                return -1;
        cluster_rebalance(state_cluster(server->state), (uint32_t) budget, put_move, ret);
        return 0;
}

void api_rebalance_plan(struct server *server, struct http_request *req, const char *name)
{
        AUTO(moves_done) struct moves m = { 0 };
        struct error err = ERROR_INIT;

        (void) name;
        if (find_moves(server, req, &m, &err) < 0)
                api_reply_error(server, req, &err);
        else
                api_reply_list(server, req, &m.body);
}

void api_rebalance(struct server *server, struct http_request *req, const char *name)
{
        AUTO(moves_done) struct moves m = { 0 };
        struct error err = ERROR_INIT;

        (void) name;
        if (find_moves(server, req, &m, &err) < 0) {
                api_reply_error(server, req, &err);
                return;
        }
        for (size_t i = 0; i < m.len; i++) {
                struct cluster_event event = { .type = CLUSTER_MOVE, .target = m.tasks[i] };

                if (state_submit(server->state, &event, NULL, NULL, NULL, &err) < 0) {
                        api_reply_error(server, req, &err);
                        return;
                }
        }
        api_reply_list(server, req, &m.body);
}
