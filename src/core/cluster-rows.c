/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows: what of the cluster is stored, and how it comes back.
 *
 *   job/NAME            the specs of all versions kept, source, and what people asked for
 *   tasks/NAME/CHUNK    64 tasks: node, desire, and for those that have ended how they ended
 *   node/NAME           what is known of the machine, and the number of its newest note until then
 *   notes/NAME          that number when notes have come since: they are many, and the machine the
 *                       same. The greater one counts
 *   event/INDEX         an event, INDEX with 20 digits; written by turn_publish(), only counted
 * here
 *
 * State is stored, not commands. What runs is not: the agents know, and say so when they connect.
 * Until then a task that has not ended counts as placed and unreported. That a task has ended is
 * stored in the same batch that makes it known, because its agent may forget it from then on.
 *
 * Rows may come in any order. Members that a row does not have are zero or null; unknown ones are
 * ignored (a newer Reeve wrote them). */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/order.h"
#include "core/share.h"

/* ---- Writing */

static inline void put_member(struct buffer *b, const char *name)
{
        buffer_puts(b, b->len > 0 && b->data[b->len - 1] != '{' ? ",\"" : "\"");
        buffer_puts(b, name);
        buffer_puts(b, "\":");
}

static inline void put_number(struct buffer *b, const char *name, uint64_t value)
{
        if (value == 0)
                return;
        put_member(b, name);
        buffer_put_uint(b, value);
}

static inline void put_text(struct buffer *b, const char *name, const char *value)
{
        if (value == NULL)
                return;
        put_member(b, name);
        text_put_json_string(b, value);
}

static inline void put_flag(struct buffer *b, const char *name, bool value)
{
        if (!value)
                return;
        put_member(b, name);
        buffer_puts(b, "true");
}

static void put_versions(struct buffer *b, const struct job *job)
{
        put_member(b, "versions");
        buffer_putc(b, '[');
        for (size_t i = 0; i < job->versions_len; i++) {
                json_t *spec = job_spec_to_json(job->versions[i].spec);
                char *text = json_dumps(spec, JSON_COMPACT);

                buffer_printf(b, "%s{\"version\":%" PRIu32 ",\"spec\":%s}", i == 0 ? "" : ",",
                        job->versions[i].number, text);
                free(text);
                json_decref(spec);
        }
        buffer_putc(b, ']');
}

void rows_write_job(struct cluster_effects *e, const struct job *job)
{
        struct buffer b = { 0 };

        buffer_putc(&b, '{');
        put_text(&b, "source", job->source);
        put_number(&b, "restart_version", job->restart_version);
        put_number(&b, "rolled_version", job->rolled_version);
        put_number(&b, "generation", job->generation);
        put_number(&b, "command", job->command);
        put_number(&b, "since", job->since);
        put_flag(&b, "stopped", job->stopped);
        put_flag(&b, "removing", job->removing);
        put_flag(&b, "purge", job->purge);
        put_number(&b, "surge", job->surge);
        put_flag(&b, "held", !job->promoted);
        put_flag(&b, "reverted", job->reverted);
        put_text(&b, "roll_failed", job->roll_failed);
        put_number(&b, "slot_seen", job->slot_seen);
        put_number(&b, "slot", job->slot);
        put_number(&b, "slot_waits", job->slot_waits);
        put_number(&b, "slot_count", job->slot_count);
        put_number(&b, "begun_at", job->begun_at);
        put_number(&b, "ended_at", job->ended_at);
        put_flag(&b, "overran", job->overran);
        put_number(&b, "dispatched", job->dispatched);
        put_versions(&b, job);
        buffer_putc(&b, '}');
        effects_write(e, mem_printf("job/%s", job->name), buffer_take(&b));
}

void rows_delete_job(struct cluster_effects *e, const struct job *job)
{
        effects_write(e, mem_printf("job/%s", job->name), NULL);
}

static void put_end(struct buffer *b, const struct task *t)
{
        put_text(b, "result", t->result < 0 ? NULL : task_result_names[t->result]);
        put_flag(b, "parked", t->parked);
        if (t->has_exit_code) {
                put_member(b, "exit_code");
                buffer_put_int(b, t->exit_code);
        }
        put_number(b, "signal", (uint64_t) MAX(t->signal, 0));
        put_text(b, "reason", t->reason);
        put_number(b, "runs", t->runs);
        put_number(b, "restarts", t->restarts);
        put_number(b, "run_version", t->version);
        put_number(b, "since", t->since);
        put_number(b, "started_at", t->started_at);
}

static void put_ports(struct buffer *b, const struct task *t)
{
        if (t->ports_len == 0)
                return;
        put_member(b, "ports");
        for (uint32_t i = 0; i < t->ports_len; i++) {
                buffer_putc(b, i == 0 ? '[' : ',');
                buffer_put_uint(b, t->ports[i]);
        }
        buffer_putc(b, ']');
}

static void put_task(struct buffer *b, const struct task *t)
{
        buffer_puts(b, b->len > 1 ? ",{\"index\":" : "{\"index\":");
        buffer_put_uint(b, t->index);
        put_text(b, "node", t->node == NULL ? NULL : t->node->status.name);
        if (t->pin != NULL) {
                put_text(b, "pin", t->pin->node->status.name);
                put_number(b, "with_version", t->pin->with_version);
        }
        put_flag(b, "run", t->desire.run);
        put_number(b, "version", t->desire.version);
        put_number(b, "restart_version", t->desire.restart_version);
        put_number(b, "generation", t->desire.generation);
        put_number(b, "born", t->born);
        put_number(b, "runs_before", t->runs_before);
        put_number(b, "restarts_before", t->restarts_before);
        put_number(b, "restarts_asked", t->restarts_asked);
        put_number(b, "fitting", t->fitting);
        put_number(b, "load", t->load);
        put_number(b, "rule", t->rule);
        put_ports(b, t);
        put_flag(b, "moving", t->moving);
        put_flag(b, "ousted", t->ousted);
        put_flag(b, "has_run", t->has_run);
        put_flag(b, "stopped", t->stopped);
        put_flag(b, "leaving", t->leaving);
        put_flag(b, "ended", t->state == TASK_ENDED);
        if (t->state == TASK_ENDED)
                put_end(b, t);
        buffer_putc(b, '}');
}

void rows_write_chunk(struct cluster_effects *e, const struct job *job, size_t chunk)
{
        size_t end = MIN((chunk + 1) * TASKS_PER_CHUNK, job->tasks_len);
        struct buffer b = { 0 };

        buffer_putc(&b, '[');
        for (size_t i = chunk * TASKS_PER_CHUNK; i < end; i++)
                if (job->tasks[i] != NULL)
                        put_task(&b, job->tasks[i]);
        buffer_putc(&b, ']');
        if (b.len == 2)
                buffer_done(&b);
        effects_write(e, mem_printf("tasks/%s/%08zu", job->name, chunk),
                b.len == 0 ? NULL : buffer_take(&b));
}

void rows_write_node(struct cluster_effects *e, const struct node *node)
{
        struct node_status status = node->status;
        struct buffer b = { 0 };

        status.tasks = status.running = 0; /* counted */
        buffer_putc(&b, '{');
        put_number(&b, "note_seq", node->note_seq);
        put_number(&b, "heard", node->status.state == NODE_LOST ? node->heard : 0);
        put_flag(&b, "cordoned", node->cordoned);
        put_flag(&b, "draining", node->draining);
        put_flag(&b, "drained", node->drained);
        put_number(&b, "drain_deadline",
                node->drain_deadline == USEC_NEVER ? 0 : node->drain_deadline);
        put_member(&b, "node");
        record_write(&node_table, &status, &b);
        buffer_putc(&b, '}');
        effects_write(e, mem_printf("node/%s", node->status.name), buffer_take(&b));
}

void rows_write_note_seq(struct cluster_effects *e, const struct node *node)
{
        struct buffer b = { 0 };

        buffer_put_uint(&b, node->note_seq);
        effects_write(e, mem_printf("notes/%s", node->status.name), buffer_take(&b));
}

void rows_delete_node(struct cluster_effects *e, const struct node *node)
{
        effects_write(e, mem_printf("node/%s", node->status.name), NULL);
        effects_write(e, mem_printf("notes/%s", node->status.name), NULL);
}

void rows_dump(const struct cluster *c, struct cluster_effects *e)
{
        for (const struct node *node = c->nodes; node != NULL; node = node->hh.next)
                rows_write_node(e, node);
        for (const struct job *job = c->jobs; job != NULL; job = job->hh.next) {
                rows_write_job(e, job);
                for (size_t i = 0; i * TASKS_PER_CHUNK < job->tasks_len; i++)
                        rows_write_chunk(e, job, i);
        }
}

/* ---- Reading */

static uint64_t get_number(const json_t *object, const char *name)
{
        json_int_t value = json_integer_value(json_object_get(object, name));

        return value > 0 ? (uint64_t) value : 0;
}

static uint32_t get_small(const json_t *object, const char *name)
{
        return (uint32_t) MIN(get_number(object, name), UINT32_MAX);
}

static const char *get_text(const json_t *object, const char *name)
{
        return json_string_value(json_object_get(object, name));
}

static bool get_flag(const json_t *object, const char *name)
{
        return json_is_true(json_object_get(object, name));
}

static struct job *job_get(struct cluster *c, const char *name)
{
        struct job *job = job_find(c, name);

        return job != NULL ? job : job_new(c, name);
}

static int load_version(struct job *job, const json_t *object, struct error *err)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        uint32_t number = get_small(object, "version");
        size_t len = job->versions_len;

        if (job_spec_from_json(job->name, json_object_get(object, "spec"), &spec, err) < 0)
                return error_wrap(err, "version %" PRIu32, number);
        if (len > 0 && job->versions[len - 1].number >= number)
                return error_set(err, ERR_INVALID, "versions do not ascend");
        job->versions = mem_resize(job->versions, len + 1, sizeof job->versions[0]);
        job->versions[len] = (struct job_version){ .number = number, .spec = spec };
        job->versions[len].demand = demand_new(job->cluster, take_ptr(spec));
        job->versions_len = len + 1;
        share_set_owner(job, job_current_spec(job)->owner);
        return 0;
}

static int load_job(struct cluster *c, const char *name, const json_t *row, struct error *err)
{
        struct job *job = job_get(c, name);
        const json_t *versions = json_object_get(row, "versions");

        if (job->source != NULL)
                return error_set(err, ERR_INVALID, "it stands there twice");
        job->source = mem_strdup(get_text(row, "source"));
        job->restart_version = get_small(row, "restart_version");
        job->rolled_version = get_small(row, "rolled_version");
        job->generation = get_number(row, "generation");
        job->command = get_number(row, "command");
        job->since = get_number(row, "since");
        job->stopped = get_flag(row, "stopped");
        job->removing = get_flag(row, "removing");
        job->purge = get_flag(row, "purge");
        job->surge = get_small(row, "surge");
        job->promoted = !get_flag(row, "held");
        job->reverted = get_flag(row, "reverted");
        job->roll_failed = mem_strdup(get_text(row, "roll_failed"));
        job->slot_seen = get_number(row, "slot_seen");
        job->slot = get_number(row, "slot");
        job->slot_waits = get_number(row, "slot_waits");
        job->slot_count = get_small(row, "slot_count");
        job->begun_at = get_number(row, "begun_at");
        job->ended_at = get_number(row, "ended_at");
        job->overran = get_flag(row, "overran");
        job->dispatched = get_small(row, "dispatched");
        for (size_t i = 0; i < json_array_size(versions); i++)
                if (load_version(job, json_array_get(versions, i), err) < 0)
                        return -1;
        if (job->source == NULL || job->versions_len == 0)
                return error_set(err, ERR_INVALID, "it has no source or no version");
        return 0;
}

static int result_by_name(const char *name)
{
        for (int i = 0; name != NULL && task_result_names[i] != NULL; i++)
                if (strcmp(task_result_names[i], name) == 0)
                        return i;
        return RESULT_UNKNOWN;
}

static void load_end(struct task *task, const json_t *row)
{
        const json_t *exit_code = json_object_get(row, "exit_code");

        task->state = TASK_ENDED;
        task->reported = true;
        task->result = (int8_t) result_by_name(get_text(row, "result"));
        task->parked = get_flag(row, "parked");
        task->has_exit_code = json_is_integer(exit_code);
        task->exit_code = (int32_t) json_integer_value(exit_code);
        task->signal = (int32_t) get_small(row, "signal");
        text_replace(&task->reason, get_text(row, "reason"));
        task->runs = get_small(row, "runs");
        task->restarts = get_small(row, "restarts");
        task->version = get_small(row, "run_version");
        task->since = get_number(row, "since");
        task->started_at = get_number(row, "started_at");
}

static void load_ports(struct task *task, const json_t *ports)
{
        const json_t *port;
        size_t i;

        if (json_array_size(ports) == 0)
                return;
        task->ports = mem_resize(NULL, json_array_size(ports), sizeof task->ports[0]);
        json_array_foreach (ports, i, port)
                task->ports[i] = (uint16_t) json_integer_value(port);
        task->ports_len = (uint32_t) json_array_size(ports);
}

static int load_task(struct cluster *c, struct job *job, const json_t *row, struct error *err)
{
        uint32_t index = get_small(row, "index");
        const char *node = get_text(row, "node"), *pin = get_text(row, "pin");
        struct task *task;

        if (index >= JOB_COUNT_MAX)
                return error_set(err, ERR_INVALID, "index %" PRIu32 " is too large", index);
        if (job_task(job, index) != NULL)
                return error_set(err, ERR_INVALID, "index %" PRIu32 " stands there twice", index);
        task = job_make_task(job, index);
        task->desire = (struct task_desire){ .run = get_flag(row, "run"),
                .version = get_small(row, "version"),
                .restart_version = get_small(row, "restart_version"),
                .generation = get_number(row, "generation") };
        task->born = get_number(row, "born");
        task->runs = task->runs_before = get_small(row, "runs_before");
        task->restarts = task->restarts_before = get_small(row, "restarts_before");
        task->restarts_asked = get_small(row, "restarts_asked");
        task->fitting = get_small(row, "fitting");
        task->load = (uint16_t) get_small(row, "load");
        task->rule = (uint8_t) MIN(get_small(row, "rule"), CHOICE_KEPT);
        load_ports(task, json_object_get(row, "ports"));
        task->moving = get_flag(row, "moving");
        task->ousted = get_flag(row, "ousted");
        task->has_run = get_flag(row, "has_run");
        task->stopped = get_flag(row, "stopped");
        task->leaving = get_flag(row, "leaving");
        if (pin != NULL) {
                pin_make(task, node_get(c, pin));
                task->pin->with_version = get_small(row, "with_version");
        }
        if (node != NULL) {
                task_set_node(task, node_get(c, node));
                task->state = TASK_PLACED;
        }
        if (get_flag(row, "ended"))
                load_end(task, row);
        return 0;
}

static int load_chunk(struct cluster *c, const char *name, const json_t *row, struct error *err)
{
        const char *slash = strchr(name, '/');
        AUTO(mem_freep) char *job_name = NULL;
        struct job *job;

        if (slash == NULL)
                return error_set(err, ERR_INVALID, "its name is none of ours");
        job_name = mem_strndup(name, (size_t) (slash - name));
        job = job_get(c, job_name);
        for (size_t i = 0; i < json_array_size(row); i++)
                if (load_task(c, job, json_array_get(row, i), err) < 0)
                        return -1;
        return 0;
}

static int load_node(struct cluster *c, const char *name, const json_t *row, struct error *err)
{
        struct node *node = node_get(c, name);
        struct node_status status = { 0 };
        int64_t tasks = node->status.tasks;

        if (record_read(&node_table, json_object_get(row, "node"), &status, err) < 0)
                return -1;
        text_replace(&node->status.version, status.version);
        text_replace(&node->status.kernel, status.kernel);
        text_replace(&node->status.reason, status.reason);
        node->status.cores = status.cores;
        node->status.memory = status.memory;
        node->status.agent_pid = status.agent_pid;
        node->status.keeper_pid = status.keeper_pid;
        node->status.since = status.since;
        node->status.state = status.state == NODE_LOST ? NODE_LOST : NODE_READY;
        node->status.tasks = tasks;
        text_replace(&node->status.zone, status.zone);
        attributes_done(&node->status.attributes);
        attributes_copy(&status.attributes, &node->status.attributes);
        node->status.cpu = status.cpu;
        node->status.disk = status.disk;
        node->note_seq = MAX(node->note_seq, get_number(row, "note_seq"));
        node->heard = get_number(row, "heard");
        node->cordoned = get_flag(row, "cordoned");
        node->draining = get_flag(row, "draining");
        node->drained = get_flag(row, "drained");
        node->drain_deadline = get_number(row, "drain_deadline");
        if (node->drain_deadline == 0)
                node->drain_deadline = USEC_NEVER;
        node_measure(c, node);
        record_done(&node_table, &status);
        return 0;
}

static int load_row(struct cluster *c, const char *key, const json_t *row, struct error *err)
{
        if (strncmp(key, "job/", 4) == 0)
                return load_job(c, key + 4, row, err);
        if (strncmp(key, "tasks/", 6) == 0)
                return load_chunk(c, key + 6, row, err);
        if (strncmp(key, "node/", 5) == 0)
                return load_node(c, key + 5, row, err);
        return error_set(err, ERR_INVALID, "its name is none of ours");
}

static int load_note_seq(struct cluster *c, const char *name, const char *value, struct error *err)
{
        struct node *node = node_get(c, name);
        int64_t seq;

        if (!text_parse_int(value, 0, INT64_MAX, &seq))
                return error_set(err, ERR_INVALID, "load row notes/%s: no number", name);
        node->note_seq = MAX(node->note_seq, (uint64_t) seq);
        return 0;
}

int rows_load(struct cluster *c, const char *key, const char *value, struct error *err)
{
        json_error_t where;
        json_t *row;
        int64_t index;
        int r;

        if (strncmp(key, "event/", 6) == 0) {
                if (!text_parse_int(key + 6, 0, INT64_MAX, &index))
                        return error_set(err, ERR_INVALID, "load row %s: no number", key);
                c->index = MAX(c->index, (uint64_t) index);
                return 0;
        }
        if (strncmp(key, "notes/", 6) == 0)
                return load_note_seq(c, key + 6, value, err);
        row = json_loads(value, JSON_REJECT_DUPLICATES, &where);
        if (row == NULL)
                return error_set(err, ERR_INVALID, "load row %s: %s", key, where.text);
        r = load_row(c, key, row, err);
        json_decref(row);
        return r < 0 ? error_wrap(err, "load row %s", key) : 0;
}

int rows_loaded(struct turn *turn, struct error *err)
{
        struct cluster *c = turn->c;

        struct task *task;

        for (struct job *job = c->jobs; job != NULL; job = job->hh.next) {
                if (job->versions_len == 0)
                        return error_set(err, ERR_INVALID,
                                "row tasks/%s is there without row job/%s", job->name, job->name);
                JOB_FOREACH_TASK (job, task)
                        if (!task->reported)
                                task->since = turn->now;
                JOB_FOREACH_TASK (job, task)
                        task->told_at = turn->now;
                job_recount(job);
                job_touch(c, job);
                if (job->rolled_version < job_version_number(job)) /* it may be amid a pause */
                        job->roll_step_at = turn->now + job_current_spec(job)->update.pause;
                /* no event tells again that they wait */
                text_replace(&job->waits_for,
                        job->counts[MARK_UNPLACED] > 0 ? "the nodes have not connected yet" : NULL);
        }
        pins_loaded(c);
        c->returning_until = turn->now + CLUSTER_RETURN_SPAN; /* node_lost_at() */
        for (struct node *node = c->nodes; node != NULL; node = node->hh.next) {
                node->awaited = true;
                if (node->status.state != NODE_LOST)
                        node->heard = turn->now;
                else if (node->heard == 0)
                        node->heard = node->status.since;
                /* Whether the clock was set since it was lost, nobody can say. */
                node->leased = turn->now;
                node_set_due(c, node);
        }
        order_spec_changed(c);
        return 0;
}
