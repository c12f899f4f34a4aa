/* SPDX-License-Identifier: BSD-3-Clause */
/* The kit of the cluster's tests: an agent is a list of task machines and a link of two queues. It
 * follows docs/link.md: hello with everything, then the whole of what is wanted, then differences.
 */

#include "core/test-cluster-kit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"
#include "core/task.h"

/* ---- Messages */

static void message_done(struct kit_message *m)
{
        cluster_assign_done(&m->assign);
        job_spec_unref(m->spec);
}

static void task_copy(struct kit_task *to, const struct kit_task *from)
{
        *to = *from;
        to->id = mem_strdup(from->id);
        to->job = mem_strdup(from->job);
        to->spec = from->spec != NULL ? job_spec_ref(from->spec) : NULL;
}

static void task_done(struct kit_task *t)
{
        free(t->id);
        free(t->job);
        job_spec_unref(t->spec);
}

static void links_cut(struct kit_agent *a)
{
        for (size_t i = 0; i < a->inbox_len; i++)
                message_done(&a->inbox[i]);
        for (size_t i = 0; i < a->outbox_len; i++)
                task_done(&a->outbox[i].copy);
        a->inbox_len = a->outbox_len = 0;
        a->connected = false;
}

static void send_to_agent(struct kit *k, struct kit_agent *a, const struct cluster_assign *assign)
{
        struct kit_message *m;
        const struct job_spec *spec;

        a->inbox = mem_resize(a->inbox, a->inbox_len + 1, sizeof a->inbox[0]);
        m = &a->inbox[a->inbox_len++];
        *m = (struct kit_message){ .all = assign == NULL };
        if (assign == NULL)
                return;
        cluster_assign_copy(&m->assign, assign);
        if (assign->forget)
                return;
        spec = cluster_get_spec(k->c, assign->job, assign->desire.version);
        assert_non_null(spec); /* every version that is assigned can be had */
        m->spec = job_spec_ref((struct job_spec *) (uintptr_t) spec);
}

static struct kit_agent *agent_by_name(struct kit *k, const char *name)
{
        for (size_t i = 0; i < KIT_AGENTS_MAX; i++)
                if (strcmp(k->agents[i].name, name) == 0)
                        return &k->agents[i];
        fail_msg("no agent %s", name);
        return NULL;
}

/* ---- The cluster */

struct kit *kit_new(void)
{
        struct kit *k = mem_alloc(sizeof *k);

        k->c = cluster_new();
        k->now = 1700000000 * USEC_SEC;
        for (size_t i = 0; i < KIT_AGENTS_MAX; i++) {
                k->agents[i].kit = k;
                snprintf(k->agents[i].name, sizeof k->agents[i].name, "%c", (int) ('a' + i));
        }
        return k;
}

void kit_free(struct kit *k)
{
        for (size_t i = 0; i < KIT_AGENTS_MAX; i++) {
                kit_wipe(k, i);
                free(k->agents[i].about);
                free(k->agents[i].tasks);
                free(k->agents[i].inbox);
                free(k->agents[i].outbox);
        }
        kit_lose_rows(k);
        cluster_effects_done(&k->fx);
        cluster_free(k->c);
        free(k);
}

int kit_handle(struct kit *k, const struct cluster_event *event)
{
        int r;

        cluster_effects_reset(&k->fx);
        k->err = ERROR_INIT;
        r = cluster_handle(k->c, event, k->now, &k->fx, &k->err);
        if (r < 0) {
                assert_int_equal(k->fx.assigns_len + k->fx.writes_len + k->fx.events_len, 0);
                assert_true(k->err.message[0] != '\0');
                return r;
        }
        if (k->crash)
                return 1;
        kit_store_rows(k);
        for (size_t i = 0; i < k->fx.assigns_len; i++) {
                struct kit_agent *a = agent_by_name(k, k->fx.assigns[i].node);

                assert_true(a->connected);
                send_to_agent(k, a, &k->fx.assigns[i]);
        }
        if (k->on_handled != NULL)
                k->on_handled(k, event);
        return 0;
}

struct job_spec *kit_spec(const char *name, const char *json)
{
        struct error err = ERROR_INIT;
        struct job_spec *spec = NULL;
        json_t *object = json_loads(json, 0, NULL);

        assert_non_null(object);
        if (job_spec_from_json(name, object, &spec, &err) < 0)
                fail_msg("%s", err.message);
        json_decref(object);
        return spec;
}

int kit_apply_from(struct kit *k, const char *source, const char *name, const char *json)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = kit_spec(name, json);

        return kit_handle(k,
                &(struct cluster_event){ .type = CLUSTER_APPLY, .spec = spec, .source = source });
}

int kit_apply(struct kit *k, const char *name, const char *json)
{
        return kit_apply_from(k, "api", name, json);
}

int kit_command(struct kit *k, enum cluster_event_type type, const char *target)
{
        return kit_handle(k, &(struct cluster_event){ .type = type, .target = target });
}

int kit_scale(struct kit *k, const char *target, uint32_t count)
{
        return kit_handle(k,
                &(struct cluster_event){ .type = CLUSTER_SCALE, .target = target, .count = count });
}

void kit_reload(struct kit *k)
{
        cluster_free(k->c);
        k->c = cluster_new();
        k->crash = false;
        for (size_t i = 0; i < KIT_AGENTS_MAX; i++)
                links_cut(&k->agents[i]);
        for (size_t i = 0; i < k->rows_len; i++) {
                bool event = strncmp(k->rows[i].key, "event/", 6) == 0;
                struct cluster_event load = { .type = CLUSTER_LOAD,
                        .key = event ? k->rows[i].value : k->rows[i].key,
                        .value = event ? "{}" : k->rows[i].value };
                struct cluster_effects none = { 0 };

                if (cluster_handle(k->c, &load, k->now, &none, &k->err) < 0)
                        fail_msg("%s", k->err.message);
                assert_int_equal(none.writes_len, 0);
        }
        if (kit_handle(k, &(struct cluster_event){ .type = CLUSTER_LOADED }) < 0)
                fail_msg("%s", k->err.message);
}

/* ---- Agents */

static void step(struct kit_agent *a, struct kit_task *t, struct task_event *event)
{
        struct task_effects fx;

        event->id = t->id;
        task_handle(&t->machine, t->spec, event, a->kit->now, a->kit->now, a->kit->seed++, &fx);
        if (fx.signal != 0)
                t->process.signal = fx.signal;
        if (fx.spawn) {
                assert_false(t->spawn);
                assert_int_equal(t->process.pid, 0); /* never two of one */
                t->spawn = true;
        }
        t->changed |= fx.changed;
}

static struct kit_task *agent_task(struct kit_agent *a, const char *id)
{
        for (size_t i = 0; i < a->tasks_len; i++)
                if (strcmp(a->tasks[i].id, id) == 0)
                        return &a->tasks[i];
        return NULL;
}

static void drop_if_over(struct kit_agent *a, struct kit_task *t)
{
        if (!t->forget || t->machine.state != TASK_ENDED)
                return;
        if (t->tell_end && a->connected) {
                a->outbox = mem_resize(a->outbox, a->outbox_len + 1, sizeof a->outbox[0]);
                task_copy(&a->outbox[a->outbox_len++].copy, t);
        }
        task_done(t);
        *t = a->tasks[--a->tasks_len];
}

static void forget(struct kit_agent *a, struct kit_task *t)
{
        struct task_event event = { .type = TASK_EV_DESIRE, .desire = t->machine.desire };

        t->forget = true;
        t->tell_end = t->machine.state != TASK_ENDED || t->changed;
        event.desire.run = false;
        step(a, t, &event);
        drop_if_over(a, t);
}

static void take_assign(struct kit_agent *a, const struct kit_message *m)
{
        struct kit_task *t = agent_task(a, m->assign.task);

        if (m->assign.forget) {
                if (t != NULL)
                        forget(a, t);
                return;
        }
        if (t == NULL) {
                a->tasks = mem_resize(a->tasks, a->tasks_len + 1, sizeof a->tasks[0]);
                t = &a->tasks[a->tasks_len++];
                *t = (struct kit_task){ .id = mem_strdup(m->assign.task),
                        .job = mem_strdup(m->assign.job),
                        .index = m->assign.index };
                task_machine_init(&t->machine, a->kit->now);
        }
        job_spec_unref(t->spec);
        t->spec = job_spec_ref(m->spec);
        t->forget = t->tell_end = false;
        step(a, t,
                &(struct task_event){ .type = TASK_EV_DESIRE,
                        .desire = m->assign.desire,
                        .grant = { .retries = m->assign.retries } });
}

/* The messages up to the mark name all that is wanted. */
static void take_all(struct kit_agent *a)
{
        for (size_t i = a->tasks_len; i-- > 0;) {
                bool named = false;

                for (size_t j = 0; j < a->inbox_len && !a->inbox[j].all; j++)
                        named |= strcmp(a->inbox[j].assign.task, a->tasks[i].id) == 0;
                if (!named)
                        forget(a, &a->tasks[i]);
        }
}

bool kit_deliver_to_agent(struct kit_agent *a)
{
        struct kit_message m;

        if (a->inbox_len == 0)
                return false;
        m = a->inbox[0];
        if (m.all) {
                /* the mark stands in front: the rest up to the next mark is the list */
                memmove(a->inbox, a->inbox + 1, --a->inbox_len * sizeof a->inbox[0]);
                take_all(a);
                while (a->inbox_len > 0 && !a->inbox[0].all)
                        kit_deliver_to_agent(a);
                if (a->inbox_len > 0)
                        memmove(a->inbox, a->inbox + 1, --a->inbox_len * sizeof a->inbox[0]);
                return true;
        }
        memmove(a->inbox, a->inbox + 1, --a->inbox_len * sizeof a->inbox[0]);
        take_assign(a, &m);
        message_done(&m);
        return true;
}

void kit_report_of(const struct kit_task *t, struct cluster_report *ret)
{
        const struct task_machine *m = &t->machine;

        *ret = (struct cluster_report){ .desire = m->desire, .parked = m->parked != 0 };
        ret->status = (struct task_status){ .id = t->id,
                .job = t->job,
                .index = t->index,
                .version = task_version(m),
                .state = (int) m->state,
                .ready = task_is_ready(m),
                .healthy = !m->unhealthy,
                .result = m->result,
                .pid = m->pid > 0 ? m->pid : RECORD_NULL,
                .runs = (int64_t) m->runs,
                .restarts = (int64_t) m->restarts,
                .exit_code = m->exit_code >= 0 ? m->exit_code : RECORD_NULL,
                .signal = m->signal,
                .reason = (char *) (uintptr_t) m->reason,
                .since = m->since_wall,
                .next_run_at = m->next_run_wall,
                .started_at = m->started_wall,
                .log_bytes = RECORD_NULL };
        if (t->spec != NULL)
                ret->holds =
                        (struct cluster_holds){ t->spec->resources.cpu, t->spec->resources.memory,
                                t->spec->resources.disk, t->spec->place.exclusive };
}

bool kit_agent_report(struct kit_agent *a)
{
        bool any = false;

        for (size_t i = 0; i < a->tasks_len && a->connected; i++) {
                if (!a->tasks[i].changed)
                        continue;
                a->tasks[i].changed = false;
                a->outbox = mem_resize(a->outbox, a->outbox_len + 1, sizeof a->outbox[0]);
                task_copy(&a->outbox[a->outbox_len++].copy, &a->tasks[i]);
                any = true;
        }
        return any;
}

bool kit_deliver_to_server(struct kit_agent *a)
{
        struct node_status node = { .name = a->name };
        struct cluster_report report;
        struct kit_report r;

        if (a->outbox_len == 0)
                return false;
        r = a->outbox[0];
        memmove(a->outbox, a->outbox + 1, --a->outbox_len * sizeof a->outbox[0]);
        kit_report_of(&r.copy, &report);
        if (kit_handle(a->kit, &(struct cluster_event){ .type = CLUSTER_REPORT,
                                       .node = &node,
                                       .reports = &report,
                                       .reports_len = 1 }) < 0)
                fail_msg("%s", a->kit->err.message);
        task_done(&r.copy);
        return true;
}

void kit_end_process(struct kit_agent *a, struct kit_task *t, int exit_code, int signal)
{
        struct task_event event = { .type = TASK_EV_EXITED,
                .known = true,
                .exit_code = signal != 0 ? -1 : exit_code,
                .signal = signal };

        assert_true(t->process.pid > 0);
        t->process = (struct kit_process){ 0 };
        if (a->kit->on_exit != NULL)
                a->kit->on_exit(a, t, event.exit_code);
        step(a, t, &event);
        drop_if_over(a, t);
}

static bool work_on(struct kit_agent *a, struct kit_task *t)
{
        struct task_event event = { 0 };

        if (t->spawn) {
                t->spawn = false;
                t->process.pid = ++a->kit->last_pid;
                if (a->kit->on_spawn != NULL)
                        a->kit->on_spawn(a, t);
                event.type = TASK_EV_SPAWNED;
                event.pid = t->process.pid;
                step(a, t, &event);
                return true;
        }
        if (t->process.signal != 0) {
                kit_end_process(a, t, -1, t->process.signal);
                return true;
        }
        if (t->machine.deadline_mono > a->kit->now)
                return false;
        event.type = TASK_EV_TIMER;
        step(a, t, &event);
        return true;
}

bool kit_agent_work(struct kit_agent *a)
{
        size_t first = a->tasks_len > 0 ? a->kit->seed % a->tasks_len : 0;

        for (size_t i = 0; i < a->tasks_len; i++)
                if (work_on(a, &a->tasks[(first + i) % a->tasks_len]))
                        return true;
        return false;
}

void kit_settle(struct kit *k)
{
        bool any = true;

        while (any) {
                any = false;
                for (size_t i = 0; i < KIT_AGENTS_MAX; i++) {
                        struct kit_agent *a = &k->agents[i];

                        while (kit_deliver_to_agent(a) || kit_agent_work(a) ||
                                kit_agent_report(a) || kit_deliver_to_server(a))
                                any = true;
                }
                if (cluster_next_deadline(k->c) <= k->now) {
                        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
                        any = true;
                }
        }
}

static usec_t next_thing(const struct kit *k)
{
        usec_t at = cluster_next_deadline(k->c);

        for (size_t i = 0; i < KIT_AGENTS_MAX; i++)
                for (size_t j = 0; j < k->agents[i].tasks_len; j++)
                        at = MIN(at, k->agents[i].tasks[j].machine.deadline_mono);
        return at;
}

void kit_pass(struct kit *k, usec_t span)
{
        usec_t end = k->now + span, next;

        while ((next = next_thing(k)) <= end) {
                k->now = MAX(k->now, next);
                kit_settle(k);
        }
        k->now = end;
        kit_settle(k);
}

void kit_describe(struct kit *k, size_t agent, const char *json)
{
        free(k->agents[agent].about);
        k->agents[agent].about = mem_strdup(json);
}

static void describe(const struct kit_agent *a, struct node_status *ret)
{
        json_t *about =
                json_loads(a->about != NULL ? a->about : "{\"memory\": 1073741824}", 0, NULL);
        struct error err = ERROR_INIT;

        assert_non_null(about);
        json_object_set_new(about, "name", json_string(a->name));
        json_object_set_new(about, "state", json_string("ready"));
        json_object_set_new(about, "version", json_string("0.1"));
        json_object_set_new(about, "cores", json_integer(2));
        json_object_set_new(about, "agent_pid", json_integer(77));
        json_object_set_new(about, "keeper_pid", json_integer(76));
        if (record_read(&node_table, about, ret, &err) < 0)
                fail_msg("%s", err.message);
        json_decref(about);
}

void kit_connect(struct kit *k, size_t agent)
{
        struct kit_agent *a = &k->agents[agent];
        struct node_status node = { 0 };
        struct cluster_report *reports = mem_alloc((a->tasks_len + 1) * sizeof reports[0]);
        struct cluster_effects all = { 0 };

        describe(a, &node);
        links_cut(a);
        a->connected = true;
        for (size_t i = 0; i < a->tasks_len; i++) {
                kit_report_of(&a->tasks[i], &reports[i]);
                a->tasks[i].changed = false;
        }
        if (kit_handle(k, &(struct cluster_event){ .type = CLUSTER_NODE_UP,
                                  .node = &node,
                                  .tells_ends = true,
                                  .knows_notes = true,
                                  .note_seq = a->note_seq,
                                  .reports = reports,
                                  .reports_len = a->tasks_len }) < 0)
                fail_msg("%s", k->err.message);
        record_done(&node_table, &node);
        for (size_t i = 0; i < k->fx.assigns_len; i++)
                assert_string_not_equal(k->fx.assigns[i].node, a->name);
        if (k->crash) {
                free(reports);
                return;
        }
        cluster_assigns_of(k->c, a->name, &all);
        send_to_agent(k, a, NULL);
        for (size_t i = 0; i < all.assigns_len; i++)
                send_to_agent(k, a, &all.assigns[i]);
        send_to_agent(k, a, NULL);
        cluster_effects_done(&all);
        free(reports);
}

void kit_disconnect(struct kit *k, size_t agent)
{
        struct node_status node = { .name = k->agents[agent].name };

        links_cut(&k->agents[agent]);
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_NODE_DOWN, .node = &node });
}

void kit_wipe(struct kit *k, size_t agent)
{
        struct kit_agent *a = &k->agents[agent];

        links_cut(a);
        for (size_t i = 0; i < a->tasks_len; i++)
                task_done(&a->tasks[i]);
        a->tasks_len = 0;
        a->note_seq = 0;
}

int kit_note(struct kit *k, size_t agent, const char *task, uint64_t seq)
{
        struct kit_agent *a = &k->agents[agent];
        struct node_status node = { .name = a->name };
        struct event note = { .kind = EVENT_TASK_STARTED,
                .time = k->now,
                .task = (char *) (uintptr_t) task,
                .version = RECORD_NULL,
                .run = (int64_t) seq,
                .message = (char[]){ "it began" } };

        a->note_seq = MAX(a->note_seq, seq);
        return kit_handle(
                k, &(struct cluster_event){
                           .type = CLUSTER_NOTE, .node = &node, .note = &note, .note_seq = seq });
}

/* ---- Looking */

struct kit_task *kit_task(struct kit *k, const char *id)
{
        struct kit_task *t = NULL;

        for (size_t i = 0; i < KIT_AGENTS_MAX && t == NULL; i++)
                t = agent_task(&k->agents[i], id);
        return t;
}

void kit_exit(struct kit *k, const char *id, int exit_code)
{
        for (size_t i = 0; i < KIT_AGENTS_MAX; i++) {
                struct kit_task *t = agent_task(&k->agents[i], id);

                if (t != NULL) {
                        kit_end_process(&k->agents[i], t, exit_code, 0);
                        return;
                }
        }
        fail_msg("no task %s", id);
}

struct task_status kit_status(struct kit *k, const char *id)
{
        struct task_status s = { 0 };

        if (!cluster_get_task(k->c, id, &s))
                fail_msg("no task %s", id);
        return s;
}

struct job_status kit_job(struct kit *k, const char *name)
{
        struct job_status s = { 0 };

        if (!cluster_get_job(k->c, name, &s))
                fail_msg("no job %s", name);
        return s;
}

static void put_job(void *data, const struct job_status *s)
{
        record_write(&job_table, s, data);
        buffer_putc(data, '\n');
}

static void put_task(void *data, const struct task_status *s)
{
        record_write(&task_table, s, data);
        buffer_putc(data, '\n');
}

static void put_node(void *data, const struct node_status *s)
{
        record_write(&node_table, s, data);
        buffer_putc(data, '\n');
}

char *kit_picture(const struct cluster *c)
{
        struct buffer b = { 0 };

        cluster_each_job(c, put_job, &b);
        cluster_each_task(c, NULL, put_task, &b);
        cluster_each_node(c, put_node, &b);
        return buffer_take(&b);
}

void kit_expect_event(const struct kit *k, enum event_kind kind, const char *text)
{
        for (size_t i = 0; i < k->fx.events_len; i++)
                if (k->fx.events[i].kind == (int) kind &&
                        strstr(k->fx.events[i].message, text) != NULL)
                        return;
        for (size_t i = 0; i < k->fx.events_len; i++)
                print_message("there is %s: %s\n", event_kind_names[k->fx.events[i].kind],
                        k->fx.events[i].message);
        fail_msg("no event %s \"%s\"", event_kind_names[kind], text);
}

size_t kit_count_events(const struct kit *k, enum event_kind kind)
{
        size_t n = 0;

        for (size_t i = 0; i < k->fx.events_len; i++)
                n += k->fx.events[i].kind == (int) kind;
        return n;
}

/* ---- Expecting */

struct kit *kit_with_node(void)
{
        struct kit *k = kit_new();

        kit_connect(k, 0);
        kit_settle(k);
        return k;
}

struct kit *kit_with_job(const char *name, const char *json)
{
        struct kit *k = kit_with_node();

        assert_int_equal(kit_apply(k, name, json), 0);
        kit_settle(k);
        return k;
}

void expect_error(const struct kit *k, enum error_code code, const char *message)
{
        assert_string_equal(k->err.message, message);
        assert_int_equal(k->err.code, code);
}

void expect_job(struct kit *k, const char *name, enum job_state state, int running)
{
        struct job_status s = kit_job(k, name);

        if (s.state != (int) state)
                fail_msg("%s is %s (%s), expected %s", name, job_state_names[s.state],
                        s.reason != NULL ? s.reason : "-", job_state_names[state]);
        assert_int_equal(s.running, running);
}

void expect_task(struct kit *k, const char *id, enum task_state state, int version)
{
        struct task_status s = kit_status(k, id);

        if (s.state != (int) state)
                fail_msg("%s is %s (%s), expected %s", id, task_state_names[s.state],
                        s.reason != NULL ? s.reason : "-", task_state_names[state]);
        assert_int_equal(s.version, version);
}

uint64_t runs_of(struct kit *k, const char *id)
{
        return kit_task(k, id)->machine.runs;
}

/* ---- Many nodes */

struct kit *kit_with_nodes(const char *about, ...)
{
        struct kit *k = kit_new();
        va_list more;
        size_t n = 0;

        va_start(more, about);
        for (; about != NULL; about = va_arg(more, const char *)) {
                kit_describe(k, n, about);
                kit_connect(k, n++);
        }
        va_end(more);
        kit_settle(k);
        return k;
}

const char *node_of(struct kit *k, const char *id)
{
        struct task_status s = kit_status(k, id);

        return s.node == NULL ? "" : s.node;
}

static void put_node_of(void *data, const struct task_status *s)
{
        struct buffer *b = data;

        buffer_printf(b, "%s%s", b->len > 0 ? " " : "", s->node == NULL ? "-" : s->node);
}

void expect_nodes(struct kit *k, const char *job, const char *nodes)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        cluster_each_task(k->c, job, put_node_of, &b);
        assert_string_equal(buffer_str(&b), nodes);
}

static void check_amount(const char *node, const char *what, int64_t used, int64_t capacity)
{
        if (capacity != RECORD_NULL && used > capacity)
                fail_msg("node %s: %" PRIi64 " %s used of %" PRIi64, node, used, what, capacity);
}

static void check_node(void *data, const struct node_status *s)
{
        (void) data;
        check_amount(s->name, "cpu", s->cpu_used, s->cpu);
        check_amount(s->name, "memory", s->memory_used, s->memory);
        check_amount(s->name, "disk", s->disk_used, s->disk);
}

/* The ports and tags of a node, looked at one by one. */
static void check_held(const struct node *node)
{
        const struct task *t, *u;

        DL_FOREACH2 (node->tasks, t, node_next)
                for (u = t->node_next; u != NULL && t->held != NULL; u = u->node_next) {
                        if (u->held == NULL)
                                continue;
                        if (t->held->exclusive != NULL && t->held->exclusive == u->held->exclusive)
                                fail_msg("node %s has the tag %s twice", node->status.name,
                                        t->held->exclusive->name);
                        for (uint32_t i = 0; i < t->ports_len; i++)
                                for (uint32_t j = 0; j < u->ports_len; j++)
                                        assert_int_not_equal(t->ports[i], u->ports[j]);
                }
}

void expect_capacity_kept(struct kit *k)
{
        cluster_each_node(k->c, check_node, NULL);
        for (const struct node *node = k->c->nodes; node != NULL; node = node->hh.next)
                check_held(node);
}

size_t kit_processes(struct kit *k, const char *id)
{
        size_t n = 0;

        for (size_t i = 0; i < KIT_AGENTS_MAX; i++) {
                const struct kit_task *t = agent_task(&k->agents[i], id);

                n += t != NULL && t->process.pid > 0;
        }
        return n;
}

/* ---- Watching */

static void expect_same_lines(const char *before, const char *after)
{
        while (*before != '\0' && *after != '\0') {
                size_t a = strcspn(before, "\n"), b = strcspn(after, "\n");

                if (a != b || strncmp(before, after, a) != 0)
                        fail_msg("before: %.*s\n        after:  %.*s", (int) a, before, (int) b,
                                after);
                before += a + 1;
                after += b + 1;
        }
        assert_string_equal(before, after);
}

/* Whatever is loaded from what was written is the same, once the agents have told what they have.
 */
void expect_same_after_reload(struct kit *k)
{
        AUTO(mem_freep) char *before = NULL, *after = NULL;
        uint64_t index;

        bool connected[KIT_AGENTS_MAX];

        for (size_t i = 0; i < KIT_AGENTS_MAX; i++) {
                connected[i] = k->agents[i].connected;
                if (!connected[i])
                        continue;
                kit_disconnect(k, i);
                kit_connect(k, i);
        }
        kit_settle(k);
        before = kit_picture(k->c);
        index = cluster_index(k->c);
        kit_reload(k);
        assert_int_equal(cluster_index(k->c), index);
        for (size_t i = 0; i < KIT_AGENTS_MAX; i++)
                if (connected[i])
                        kit_connect(k, i);
        kit_settle(k);
        after = kit_picture(k->c);
        expect_same_lines(before, after);
}

/* Lets the agent do all it can, and hands over one report after the other; the least that ran. */
int64_t settle_and_watch(struct kit *k, const char *job)
{
        int64_t least = kit_job(k, job).running;
        bool any = true;

        while (any) {
                any = false;
                for (size_t i = 0; i < KIT_AGENTS_MAX; i++) {
                        struct kit_agent *a = &k->agents[i];

                        any |= kit_deliver_to_agent(a) || kit_agent_work(a);
                        any |= kit_agent_report(a);
                        any |= kit_deliver_to_server(a);
                        least = MIN(least, kit_job(k, job).running);
                }
                if (cluster_next_deadline(k->c) <= k->now)
                        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
        }
        return least;
}

struct kit *kit_with_plain_nodes(size_t len)
{
        struct kit *k = kit_new();

        for (size_t i = 0; i < len; i++)
                kit_connect(k, i);
        kit_settle(k);
        return k;
}

void expect_reason(struct kit *k, const char *job, const char *text)
{
        const char *reason = kit_job(k, job).reason;

        if (reason == NULL || strstr(reason, text) == NULL)
                fail_msg("%s: \"%s\", expected \"%s\"", job, reason != NULL ? reason : "-", text);
}

void kit_end_all(struct kit *k, const char *job, int exit_code)
{
        for (size_t a = 0; a < KIT_AGENTS; a++)
                for (size_t i = 0; i < k->agents[a].tasks_len; i++) {
                        struct kit_task *t = &k->agents[a].tasks[i];

                        if (strcmp(t->job, job) == 0 && t->process.pid > 0)
                                kit_end_process(&k->agents[a], t, exit_code, 0);
                }
        kit_settle(k);
}

void kit_tick(struct kit *k)
{
        usec_t due = cluster_next_deadline(k->c);

        assert_true(due != USEC_NEVER);
        k->now = MAX(k->now, due);
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK }), 0);
}
