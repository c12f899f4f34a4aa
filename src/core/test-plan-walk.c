/* SPDX-License-Identifier: BSD-3-Clause */
/* The plan comes true: random clusters at rest, random changes, and each time the plan is made, the
 * same is applied, real task machines do what they are told, and what happened is compared with
 * what was planned: which task began and ended how often and where, who waits at the end, and that
 * never fewer were ready than the plan said.
 *
 * Messages are carried in the order in which they were sent, one at a time: another order would be
 * as right, and might lead elsewhere. The seeds are the same each time; others can be given:
 * test-plan-walk SEED [COUNT]. */

#include "core/test-plan-kit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

#define WALKS     100
#define CHANGES   4
#define JOBS      5
#define NAMES_MAX 256

static uint64_t seed;

/* What is to be compared: "+web.0@a" for each process that began, "-web.0@a" for each that ended.
 */
struct diary {
        char *lines[NAMES_MAX];
        size_t len;
};

struct walk {
        struct kit *k;
        uint64_t random;
        struct diary planned, real;
        size_t sent[NAMES_MAX * 8], sent_len, sent_done; /* agents, one for each message */
        bool watching;
        int64_t least[JOBS];
};

static uint64_t next_random(struct walk *w) /* xorshift64 */
{
        w->random ^= w->random << 13;
        w->random ^= w->random >> 7;
        w->random ^= w->random << 17;
        return w->random;
}

static unsigned pick(struct walk *w, unsigned n)
{
        return (unsigned) (next_random(w) >> 20) % n;
}

static void note(struct diary *d, char sign, const char *task, const char *node)
{
        assert_true(d->len < NAMES_MAX);
        d->lines[d->len++] = mem_printf("%c%s@%s", sign, task, node);
}

static int compare_lines(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static char *diary_text(struct diary *d)
{
        struct buffer b = { 0 };

        qsort(d->lines, d->len, sizeof d->lines[0], compare_lines);
        for (size_t i = 0; i < d->len; i++) {
                buffer_printf(&b, "%s ", d->lines[i]);
                free(d->lines[i]);
        }
        d->len = 0;
        buffer_puts(&b, "");
        return buffer_take(&b);
}

/* ---- A cluster and its jobs */

static void put_job_name(char *name, unsigned number)
{
        snprintf(name, 8, "job%u", number);
}

static char *random_node(struct walk *w)
{
        static const char *const zones[] = { "east", "west" };

        return mem_printf("{\"memory\": %" PRIu64 ", \"cpu\": %u, \"zone\": \"%s\"}",
                (uint64_t) (1 + pick(w, 8)) << 30, 2 + pick(w, 3), zones[pick(w, 2)]);
}

static void put_update(struct walk *w, struct buffer *b, unsigned count, bool surge)
{
        buffer_printf(b, ", \"update\": {\"parallel\": %u", 1 + pick(w, 3));
        if (pick(w, 3) == 0 && surge)
                buffer_puts(b, ", \"order\": \"start-first\"");
        if (pick(w, 4) == 0)
                buffer_puts(b, ", \"pause\": \"5s\"");
        if (pick(w, 4) == 0)
                buffer_puts(b, ", \"healthy\": \"3s\"");
        if (pick(w, 4) == 0 && count > 0)
                buffer_printf(b, ", \"canary\": %u", 1 + pick(w, count));
        buffer_putc(b, '}');
}

static void put_place(struct walk *w, struct buffer *b, unsigned number, bool with)
{
        buffer_puts(b, ", \"place\": {\"by\": \"spread\"");
        if (with)
                buffer_printf(b, ", \"with\": \"job%u\"", (number + 1) % JOBS);
        if (pick(w, 4) == 0)
                buffer_printf(b, ", \"zone\": [\"%s\"]", pick(w, 2) == 0 ? "east" : "west");
        if (pick(w, 6) == 0)
                buffer_puts(b, ", \"exclusive\": \"disk\"");
        if (pick(w, 6) == 0 && !with)
                buffer_puts(b, ", \"spread\": \"zone\"");
        buffer_putc(b, '}');
}

static char *random_spec(struct walk *w, unsigned number)
{
        bool system = pick(w, 8) == 0, with = !system && pick(w, 8) == 0;
        unsigned count = pick(w, 5);
        struct buffer b = { 0 };

        buffer_printf(&b, "{\"command\": [\"%u\"]", pick(w, 3));
        if (system)
                buffer_puts(&b, ", \"kind\": \"system\"");
        else if (!with)
                buffer_printf(&b, ", \"count\": %u", count);
        if (pick(w, 3) == 0)
                buffer_puts(&b, ", \"restart\": {\"delay\": \"2s\"}");
        buffer_printf(&b, ", \"priority\": %u", 40 + 10 * pick(w, 3));
        if (pick(w, 4) == 0)
                buffer_puts(&b, ", \"queue\": {\"preempt\": true}");
        buffer_printf(&b, ", \"resources\": {\"memory\": \"%uMiB\"}", 256 << pick(w, 4));
        put_update(w, &b, system || with ? 0 : count, !system && !with);
        put_place(w, &b, number, with);
        buffer_putc(&b, '}');
        return buffer_take(&b);
}

/* ---- Carrying it out */

static bool is_overtaken(const struct kit *k, size_t at)
{
        const struct cluster_assign *a = k->fx.assigns;

        for (size_t i = at + 1; i < k->fx.assigns_len; i++)
                if (strcmp(a[i].task, a[at].task) == 0 && strcmp(a[i].node, a[at].node) == 0 &&
                        !a[i].forget && !a[at].forget)
                        return true;
        return false;
}

/* Of several desires that one turn has for a task only the last is sent: they are levels. */
static void drop_message(struct kit_agent *a, size_t at)
{
        cluster_assign_done(&a->inbox[at].assign);
        job_spec_unref(a->inbox[at].spec);
        memmove(&a->inbox[at], &a->inbox[at + 1], (--a->inbox_len - at) * sizeof a->inbox[0]);
}

static void drop_overtaken(struct kit *k)
{
        size_t behind[KIT_AGENTS_MAX] = { 0 };

        for (size_t i = k->fx.assigns_len; i-- > 0;) {
                size_t agent = (size_t) (k->fx.assigns[i].node[0] - 'a');
                size_t at = k->agents[agent].inbox_len - ++behind[agent];

                if (is_overtaken(k, i)) {
                        drop_message(&k->agents[agent], at);
                        behind[agent]--;
                }
        }
}

static void on_handled(struct kit *k, const struct cluster_event *event)
{
        struct walk *w = k->data;

        (void) event;
        if (w->watching)
                drop_overtaken(k);
        for (size_t i = 0; w->watching && i < k->fx.assigns_len; i++) {
                if (is_overtaken(k, i))
                        continue;
                assert_true(w->sent_len < ARRAY_SIZE(w->sent));
                w->sent[w->sent_len++] = (size_t) (k->fx.assigns[i].node[0] - 'a');
        }
}

static void on_spawn(struct kit_agent *a, struct kit_task *t)
{
        struct walk *w = a->kit->data;

        if (w->watching)
                note(&w->real, '+', t->id, a->name);
}

static void on_exit_of(struct kit_agent *a, struct kit_task *t, int exit_code)
{
        struct walk *w = a->kit->data;

        (void) exit_code;
        if (w->watching)
                note(&w->real, '-', t->id, a->name);
}

static int64_t ready_of(struct walk *w, const char *job)
{
        int64_t n = 0;

        for (size_t i = 0; i < KIT_AGENTS_MAX; i++)
                for (size_t j = 0; w->k->agents[i].connected && j < w->k->agents[i].tasks_len;
                        j++) {
                        const struct kit_task *t = &w->k->agents[i].tasks[j];

                        n += strcmp(t->job, job) == 0 && t->process.pid > 0;
                }
        return n;
}

static void watch_least(struct walk *w)
{
        for (unsigned i = 0; i < JOBS; i++) {
                char name[8];

                put_job_name(name, i);
                w->least[i] = MIN(w->least[i], ready_of(w, name));
        }
}

static void carry(struct walk *w)
{
        while (w->sent_done < w->sent_len) {
                struct kit_agent *a = &w->k->agents[w->sent[w->sent_done++]];

                kit_deliver_to_agent(a);
                while (kit_agent_work(a))
                        watch_least(w);
                while (kit_agent_report(a) || kit_deliver_to_server(a))
                        ;
        }
        w->sent_len = w->sent_done = 0;
}

static usec_t next_thing(const struct kit *k)
{
        usec_t at = cluster_next_deadline(k->c);

        for (size_t i = 0; i < KIT_AGENTS_MAX; i++)
                for (size_t j = 0; j < k->agents[i].tasks_len; j++)
                        at = MIN(at, k->agents[i].tasks[j].machine.deadline_mono);
        return at;
}

/* Until @end, all that is due in its time. */
static void carry_until(struct walk *w, usec_t end)
{
        struct kit *k = w->k;
        usec_t at;

        carry(w);
        while ((at = next_thing(k)) <= end) {
                k->now = MAX(k->now, at);
                for (size_t i = 0; i < KIT_AGENTS_MAX; i++)
                        while (kit_agent_work(&k->agents[i]) || kit_agent_report(&k->agents[i]) ||
                                kit_deliver_to_server(&k->agents[i]))
                                ;
                if (cluster_next_deadline(k->c) <= k->now)
                        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
                carry(w);
        }
        k->now = MAX(k->now, end);
}

/* ---- The plan */

static const char *text_of(const json_t *object, const char *name)
{
        return json_string_value(json_object_get(object, name));
}

static usec_t span_of(const json_t *object, const char *name)
{
        return (usec_t) (json_number_value(json_object_get(object, name)) * USEC_SEC + 0.5);
}

static void note_planned(struct walk *w, const json_t *step)
{
        const char *action = text_of(step, "action"), *task = text_of(step, "task");
        const char *node = text_of(step, "node"), *from = text_of(step, "from");

        if (strcmp(action, "start") == 0) {
                note(&w->planned, '+', task, node);
        } else if (strcmp(action, "stop") == 0) {
                note(&w->planned, '-', task, node);
        } else if (strcmp(action, "replace") == 0) {
                note(&w->planned, '-', task, node);
                note(&w->planned, '+', task, node);
        } else if (strcmp(action, "move") == 0) {
                note(&w->planned, '-', task, from);
                if (node != NULL)
                        note(&w->planned, '+', task, node);
        }
}

/* A canary is promoted when the plan says so. */
static void follow(struct walk *w, const json_t *plan)
{
        const json_t *steps = json_object_get(plan, "steps"), *step;
        usec_t begun = w->k->now;

        for (size_t i = 0; (step = json_array_get(steps, i)) != NULL; i++) {
                note_planned(w, step);
                if (strcmp(text_of(step, "action"), "promote") != 0)
                        continue;
                carry_until(w, begun + span_of(step, "after"));
                if (kit_command(w->k, CLUSTER_PROMOTE, text_of(step, "job")) < 0)
                        fail_msg("seed %" PRIu64 ": %s", seed, w->k->err.message);
        }
        carry_until(w, begun + span_of(plan, "takes"));
}

static size_t waiting_now(const struct walk *w, const char *name)
{
        const struct job *job = job_find(w->k->c, name);

        return job == NULL ? 0 : job->counts[MARK_UNPLACED];
}

static void expect_waiting(struct walk *w, const json_t *plan, const char *name, bool touched)
{
        const json_t *waits = json_object_get(plan, "waits"), *wait;
        size_t planned = 0;

        for (size_t i = 0; (wait = json_array_get(waits, i)) != NULL; i++)
                if (strcmp(text_of(wait, "job"), name) == 0)
                        planned = (size_t) json_integer_value(json_object_get(wait, "tasks"));
        if (touched && planned != waiting_now(w, name))
                fail_msg("seed %" PRIu64 ": %zu of %s wait, planned %zu", seed,
                        waiting_now(w, name), name, planned);
}

static void expect_least(struct walk *w, const json_t *plan)
{
        const json_t *jobs = json_object_get(plan, "jobs"), *job;

        for (size_t i = 0; (job = json_array_get(jobs, i)) != NULL; i++) {
                const char *name = text_of(job, "job");
                int64_t least = json_integer_value(json_object_get(job, "least_ready"));
                int64_t then = json_integer_value(json_object_get(job, "ready_then"));

                if (w->least[name[3] - '0'] < least)
                        fail_msg("seed %" PRIu64 ": %" PRIi64 " of %s ready, planned %" PRIi64,
                                seed, w->least[name[3] - '0'], name, least);
                if (ready_of(w, name) != then)
                        fail_msg("seed %" PRIu64 ": %" PRIi64 " of %s ready then, planned %" PRIi64,
                                seed, ready_of(w, name), name, then);
                expect_waiting(w, plan, name, strcmp(text_of(job, "action"), "affected") != 0);
        }
}

/* ---- One change */

static json_t *make_plan(struct walk *w, struct job_spec *const *specs, size_t len)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        json_t *plan;

        if (kit_plan(w->k, specs, len, &b) != 0)
                fail_msg("seed %" PRIu64 ": %s", seed, buffer_str(&b));
        plan = json_loads(buffer_str(&b), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(plan);
        return plan;
}

static void apply(struct walk *w, struct job_spec *spec)
{
        if (kit_handle(w->k, &(struct cluster_event){
                                     .type = CLUSTER_APPLY, .spec = spec, .source = "api" }) < 0)
                fail_msg("seed %" PRIu64 ": %s", seed, w->k->err.message);
}

static struct job_spec *random_job(struct walk *w, unsigned number)
{
        AUTO(mem_freep) char *json = random_spec(w, number);
        char name[8];

        put_job_name(name, number);
        return kit_spec(name, json);
}

/* No plan for what rests only because nobody has promoted it. */
static void come_to_rest(struct walk *w)
{
        for (unsigned i = 0; i < JOBS; i++) {
                char name[8];

                put_job_name(name, i);
                kit_settle(w->k);
                if (job_find(w->k->c, name) != NULL)
                        kit_command(w->k, CLUSTER_PROMOTE, name);
                kit_pass(w->k, USEC_MINUTE);
        }
        kit_pass(w->k, USEC_HOUR); /* longer than any update.deadline */
}

static void expect_same(struct walk *w, const json_t *plan)
{
        AUTO(mem_freep) char *planned = diary_text(&w->planned);
        AUTO(mem_freep) char *real = diary_text(&w->real);

        if (strcmp(planned, real) == 0)
                return;
        json_dumpf(plan, stdout, JSON_INDENT(1));
        fail_msg("seed %" PRIu64 "\n  planned %s\n  real    %s", seed, planned, real);
}

static void change(struct walk *w)
{
        struct job_spec *specs[2];
        unsigned first = pick(w, JOBS);
        size_t len = 1 + pick(w, 2);
        json_t *plan;

        for (size_t i = 0; i < len; i++)
                specs[i] = random_job(w, (first + (unsigned) i) % JOBS);
        plan = make_plan(w, specs, len);
        for (unsigned i = 0; i < JOBS; i++)
                w->least[i] = INT64_MAX;
        watch_least(w);
        w->watching = true;
        for (size_t i = 0; i < len; i++) {
                apply(w, specs[i]);
                job_spec_unref(specs[i]);
        }
        follow(w, plan);
        w->watching = false;
        expect_same(w, plan);
        expect_least(w, plan);
        json_decref(plan);
        come_to_rest(w);
}

/* What may have happened to nodes before. */
static void disturb(struct walk *w)
{
        struct kit *k = w->k;
        unsigned node = pick(w, 4);
        bool connected = k->agents[node].connected;
        struct cluster_event event = { .target = k->agents[node].name, .on = pick(w, 2) == 0 };

        switch (pick(w, 6)) {
        case 0:
                event.type = CLUSTER_CORDON;
                break;
        case 1:
                event.type = CLUSTER_DRAIN;
                break;
        case 2:
                if (connected)
                        kit_disconnect(k, node);
                else
                        kit_connect(k, node);
                come_to_rest(w);
                return;
        default:
                return;
        }
        kit_handle(k, &event);
        come_to_rest(w);
}

static void walk(uint64_t number)
{
        struct walk w = { .k = kit_new(), .random = number * 2654435761u + 88172645463325252u };
        unsigned nodes = 2 + pick(&w, 4);

        seed = number;
        w.k->data = &w;
        w.k->on_handled = on_handled;
        w.k->on_spawn = on_spawn;
        w.k->on_exit = on_exit_of;
        for (unsigned i = 0; i < nodes; i++) {
                AUTO(mem_freep) char *about = random_node(&w);

                kit_describe(w.k, i, about);
                kit_connect(w.k, i);
        }
        for (unsigned i = 0; i < JOBS; i++) {
                struct job_spec *spec = pick(&w, 4) == 0 ? NULL : random_job(&w, i);

                if (spec != NULL)
                        apply(&w, spec);
                job_spec_unref(spec);
        }
        come_to_rest(&w);
        for (unsigned i = 0; i < CHANGES; i++) {
                disturb(&w);
                change(&w);
        }
        kit_free(w.k);
}

static uint64_t first_seed;
static unsigned walks = WALKS;

static void test_plans_come_true(void **state)
{
        (void) state;
        print_message("seed %" PRIu64 "\n", first_seed);
        for (unsigned i = 0; i < walks; i++)
                walk(first_seed + i);
        walk(322); /* a job made room for itself by ending what it goes with, for ever */
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_plans_come_true) };
        const char *given = argc > 1 ? argv[1] : getenv("REEVE_TEST_SEED");

        first_seed = given != NULL ? strtoull(given, NULL, 10) : 1;
        if (given != NULL)
                walks = argc > 2 ? (unsigned) strtoul(argv[2], NULL, 10) : 1;
        return cmocka_run_group_tests_name("plan-walk", tests, NULL, NULL);
}
