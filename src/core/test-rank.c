/* SPDX-License-Identifier: BSD-3-Clause */
/* The placer against its rules: a chooser as plain as they are written in place.c, which asks every
 * node for every task and compares texts, must make the same choices, one by one, with the same
 * rule, load and number of nodes that fit. Clusters and jobs are random; so are the tasks that are
 * there already, the nodes that are closed or away, and the nodes that are asked. The seed is
 * printed. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/place.h"
/* cmocka wants these four in front of it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ROUNDS    120
#define NODES_MAX 40
#define TASKS_MAX 60

static uint64_t state_of_chance;

static uint32_t below(uint32_t n)
{
        state_of_chance ^= state_of_chance << 13;
        state_of_chance ^= state_of_chance >> 7;
        state_of_chance ^= state_of_chance << 17;
        return (uint32_t) ((state_of_chance >> 20) % n);
}

static bool one_in(uint32_t n)
{
        return below(n) == 0;
}

/* ---- The plain chooser */

struct plain {
        struct node *node;
        struct attributes attributes; /* its name and zone among them */
        const char *value;            /* of `spread` */
        struct amounts used;
        uint64_t ports_used, tasks, job_tasks;
        int64_t preference;
        bool full;
};

struct chooser {
        const struct job *job;
        const struct job_spec *spec;
        struct plain nodes[NODES_MAX];
        size_t len;
};

static uint64_t count_ports(const struct job_spec *spec)
{
        uint64_t n = 0;

        while (spec->resources.ports != NULL && spec->resources.ports[n] != NULL)
                n++;
        return n;
}

static bool has_room(uint64_t capacity, uint64_t used, uint64_t more)
{
        return capacity == AMOUNT_UNKNOWN || more == 0 || used + more <= capacity;
}

static bool fits(const struct chooser *ch, const struct plain *p)
{
        const struct amounts *all = &p->node->capacity;
        const struct job_spec *spec = ch->spec;
        uint64_t ports = (uint64_t) p->node->ports_last - p->node->ports_first + 1;

        return !p->full && has_room(all->cpu, p->used.cpu, spec->resources.cpu) &&
               has_room(all->memory, p->used.memory, spec->resources.memory) &&
               has_room(all->disk, p->used.disk, spec->resources.disk) &&
               p->ports_used + count_ports(spec) <= ports;
}

static bool in_zone(char *const *zones, const char *zone)
{
        for (; zones != NULL && *zones != NULL; zones++)
                if (zone != NULL && strcmp(zone, *zones) == 0)
                        return true;
        return zones == NULL;
}

static bool allows(const struct job_spec *spec, const struct plain *p)
{
        const struct node *node = p->node;

        if (!node->connected || node->cordoned)
                return false;
        if (spec->place.node != NULL && strcmp(spec->place.node, node->status.name) != 0)
                return false;
        if (spec->place.zones != NULL &&
                !in_zone(spec->place.zones, attributes_get(&p->attributes, "zone")))
                return false;
        for (size_t i = 0; i < spec->place.constraints_len; i++)
                if (!constraint_holds(&spec->place.constraints[i], &p->attributes))
                        return false;
        return true;
}

static bool spreads_names(const struct job_spec *spec)
{
        return spec->place.spread != NULL && strcmp(spec->place.spread, "name") == 0;
}

static void look_at(struct chooser *ch, struct node *node)
{
        const struct job_spec *spec = ch->spec;
        struct plain *p = &ch->nodes[ch->len];
        const struct task *t;

        *p = (struct plain){ .node = node, .tasks = (uint64_t) node->status.tasks };
        attributes_copy(&node->status.attributes, &p->attributes);
        attributes_set(&p->attributes, "name", node->status.name, &ERROR_INIT);
        p->value = spec->place.spread == NULL || spreads_names(spec)
                           ? NULL
                           : attributes_get(&p->attributes, spec->place.spread);
        for (size_t i = 0; i < spec->place.preferences_len; i++)
                if (constraint_holds(spec->place.preferences[i].where, &p->attributes))
                        p->preference += spec->place.preferences[i].weight;
        DL_FOREACH2 (node->tasks, t, node_next) {
                const struct job_spec *theirs = job_current_spec(t->job);

                p->job_tasks += t->job == ch->job && t->state != TASK_ENDED;
                if (t->held == NULL)
                        continue;
                p->used.cpu += theirs->resources.cpu;
                p->used.memory += theirs->resources.memory;
                p->used.disk += theirs->resources.disk;
                p->ports_used += count_ports(theirs);
                p->full |= spec->place.exclusive != NULL && theirs->place.exclusive != NULL &&
                           strcmp(theirs->place.exclusive, spec->place.exclusive) == 0;
        }
        if (!allows(spec, p) || !fits(ch, p))
                p->full = true;
        ch->len++;
}

static bool same_value(const char *a, const char *b)
{
        return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Tasks of the job where `spread` has this value, be the node asked or not. */
static uint64_t tasks_of_value(const struct chooser *ch, const char *value)
{
        const struct task *t;
        uint64_t n = 0;

        if (ch->spec->place.spread == NULL || spreads_names(ch->spec))
                return 0;
        JOB_FOREACH_TASK (ch->job, t)
                n += t->node != NULL && t->state != TASK_ENDED &&
                     same_value(attributes_get(&t->node->status.attributes, ch->spec->place.spread),
                             value);
        return n;
}

static uint64_t share_of(uint64_t capacity, uint64_t used, uint64_t more)
{
        if (capacity == AMOUNT_UNKNOWN || capacity == 0)
                return 0;
        return MIN(MIN(used, capacity) + more, capacity) * 1000 / capacity;
}

static uint64_t load_of(const struct chooser *ch, const struct plain *p)
{
        const struct amounts *all = &p->node->capacity;
        uint64_t cpu = share_of(all->cpu, p->used.cpu, ch->spec->resources.cpu);
        uint64_t memory = share_of(all->memory, p->used.memory, ch->spec->resources.memory);
        uint64_t disk = share_of(all->disk, p->used.disk, ch->spec->resources.disk);

        return MAX(MAX(cpu, memory), disk);
}

/* Of a value, what was given away in this pass is counted with its nodes. */
static uint64_t given_to_value(
        const struct chooser *ch, const uint64_t *given, const struct plain *p)
{
        uint64_t n = 0;

        for (size_t i = 0; i < ch->len && ch->spec->place.spread != NULL; i++)
                if (same_value(ch->nodes[i].value, p->value))
                        n += given[i];
        return n;
}

/* The first rule by which @a is better, negative if it is worse. */
static int compare(const struct chooser *ch, const uint64_t *given, const struct plain *a,
        const struct plain *b)
{
        uint64_t group_a = tasks_of_value(ch, a->value) + given_to_value(ch, given, a);
        uint64_t group_b = tasks_of_value(ch, b->value) + given_to_value(ch, given, b);
        bool pack = ch->spec->place.by == PLACE_PACK;

        if (a->preference != b->preference)
                return a->preference > b->preference ? CHOICE_PREFERRED : -CHOICE_PREFERRED;
        if (group_a != group_b)
                return group_a < group_b ? CHOICE_SPREAD : -CHOICE_SPREAD;
        if ((!pack || spreads_names(ch->spec)) && a->job_tasks != b->job_tasks)
                return a->job_tasks < b->job_tasks ? CHOICE_JOB_TASKS : -CHOICE_JOB_TASKS;
        if (load_of(ch, a) != load_of(ch, b))
                return (load_of(ch, a) < load_of(ch, b)) != pack ? CHOICE_LOAD : -CHOICE_LOAD;
        if (a->tasks != b->tasks)
                return (a->tasks < b->tasks) != pack ? CHOICE_TASKS : -CHOICE_TASKS;
        return strcmp(a->node->status.name, b->node->status.name) < 0 ? CHOICE_NAME : -CHOICE_NAME;
}

/* The best of those that fit, but for @not. */
static struct plain *find_best(struct chooser *ch, const uint64_t *given, const struct plain * not )
{
        struct plain *best = NULL;

        for (size_t i = 0; i < ch->len; i++) {
                struct plain *p = &ch->nodes[i];

                if (p != not &&fits(ch, p) && (best == NULL || compare(ch, given, p, best) > 0))
                        best = p;
        }
        return best;
}

static void take(struct chooser *ch, struct plain *p, uint64_t *given)
{
        given[p - ch->nodes]++;
        p->used.cpu += ch->spec->resources.cpu;
        p->used.memory += ch->spec->resources.memory;
        p->used.disk += ch->spec->resources.disk;
        p->ports_used += count_ports(ch->spec);
        p->tasks++;
        p->job_tasks++;
        p->full |= ch->spec->place.exclusive != NULL;
}

static size_t choose_plainly(struct chooser *ch, size_t wanted, struct choice *ret)
{
        uint64_t given[NODES_MAX] = { 0 };
        uint32_t fitting = 0;
        struct plain *best, *next;
        size_t n = 0;

        for (size_t i = 0; i < ch->len; i++)
                fitting += fits(ch, &ch->nodes[i]);
        while (n < wanted && (best = find_best(ch, given, NULL)) != NULL) {
                next = find_best(ch, given, best);
                ret[n++] = (struct choice){ .node = best->node,
                        .rule = next == NULL ? CHOICE_ONLY
                                             : (enum choice_rule) compare(ch, given, best, next),
                        .fitting = fitting,
                        .load = (uint16_t) load_of(ch, best) };
                take(ch, best, given);
        }
        return n;
}

/* ---- The comparison */

static size_t choices_seen[CHOICE_KEPT];

static void assert_refusals(
        const struct place_refusals *r, size_t asked, size_t fitting, size_t filled)
{
        size_t refused = 0;

        for (int i = 0; i < REFUSAL_COUNT; i++)
                refused += r->refused[i];
        assert_int_equal(r->nodes, asked);
        assert_int_equal(asked - refused, fitting - filled);
}

static void compare_choices(struct cluster *c, const struct job *job)
{
        struct node *asked[NODES_MAX];
        struct choice ours[TASKS_MAX], plain[TASKS_MAX];
        size_t wanted = 1 + below(TASKS_MAX), len = 0, found, expected, fitting = 0, filled;
        struct chooser ch = { .job = job, .spec = job_current_spec(job) };
        struct place_refusals refusals = { 0 };
        bool all = !one_in(4);

        for (size_t i = 0; i < HASH_COUNT(c->nodes); i++)
                if (all || one_in(2)) {
                        asked[len++] = c->by_name[i];
                        look_at(&ch, c->by_name[i]);
                        fitting += fits(&ch, &ch.nodes[ch.len - 1]);
                }
        filled = fitting;
        found = place_choose(c, job, asked, len, wanted, ours, &refusals);
        expected = choose_plainly(&ch, wanted, plain);
        for (size_t i = 0; i < ch.len; i++)
                filled -= fits(&ch, &ch.nodes[i]);

        assert_int_equal(found, expected);
        assert_refusals(&refusals, len, fitting, filled);
        for (size_t i = 0; i < found; i++) {
                assert_string_equal(ours[i].node->status.name, plain[i].node->status.name);
                assert_int_equal(ours[i].rule, plain[i].rule);
                assert_int_equal(ours[i].load, plain[i].load);
                assert_int_equal(ours[i].fitting, plain[i].fitting);
                choices_seen[ours[i].rule]++;
        }
        for (size_t i = 0; i < ch.len; i++)
                attributes_done(&ch.nodes[i].attributes);
}

/* ---- Clusters and jobs */

static void handle(struct cluster *c, const struct cluster_event *event)
{
        AUTO(cluster_effects_done) struct cluster_effects effects = { 0 };
        struct error err;

        if (cluster_handle(c, event, 1800000000 * USEC_SEC, &effects, &err) < 0)
                fail_msg("%s", err.message);
}

static const char *any_of(const char *const *texts, size_t len)
{
        return texts[below((uint32_t) len)];
}
#define ANY_OF(...)                                                                                \
        any_of((const char *const[]){ __VA_ARGS__ },                                               \
                sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* A name that is shorter or longer than others of the same beginning, so that their order is not
 * that of their numbers. */
static void add_node(struct cluster *c, uint32_t number)
{
        AUTO(mem_freep) char *name = mem_printf("n%" PRIu32, number * 7 % 50);
        struct node_status node = { .name = name,
                .cores = 4,
                .cpu = one_in(5) ? RECORD_NULL : (int64_t) (1 + below(4)) * 1000,
                .memory = one_in(5) ? RECORD_NULL : (int64_t) (1 + below(4)) << 30,
                .disk = one_in(3) ? (int64_t) below(3) << 30 : RECORD_NULL,
                .agent_pid = RECORD_NULL,
                .keeper_pid = RECORD_NULL };
        struct cluster_event up = { .type = CLUSTER_NODE_UP, .node = &node };
        struct cluster_event down = { .type = CLUSTER_NODE_DOWN, .node = &node };
        struct cluster_event cordon = { .type = CLUSTER_CORDON, .target = name, .on = true };

        if (!one_in(6))
                attributes_set(&node.attributes, "zone", ANY_OF("a", "b", "c"), &ERROR_INIT);
        if (!one_in(4))
                attributes_set(&node.attributes, "rack", ANY_OF("1", "2", "3", "4"), &ERROR_INIT);
        attributes_set(&node.attributes, "size", ANY_OF("1GiB", "4GiB", "64GiB"), &ERROR_INIT);
        if (one_in(3))
                attributes_set(&node.attributes, "ssd", "yes", &ERROR_INIT);
        if (one_in(3))
                attributes_set(&node.attributes, "ports", "20000-20004", &ERROR_INIT);
        handle(c, &up);
        if (one_in(10))
                handle(c, &cordon);
        if (one_in(10))
                handle(c, &down);
        attributes_done(&node.attributes);
}

static char *make_place(void)
{
        struct buffer b = { 0 };

        buffer_puts(&b, "{\"by\": ");
        buffer_puts(&b, ANY_OF("\"spread\"", "\"spread\"", "\"pack\""));
        if (one_in(2))
                buffer_printf(
                        &b, ", \"spread\": \"%s\"", ANY_OF("rack", "zone", "size", "none", "name"));
        if (one_in(5))
                buffer_printf(&b, ", \"zone\": [%s]", ANY_OF("\"a\"", "\"a\", \"c\"", "\"x\""));
        if (one_in(3))
                buffer_printf(&b, ", \"where\": [%s]",
                        ANY_OF("\"size >= 4GiB\"", "\"rack != 2\", \"ssd exists\"", "\"name ~ 1\"",
                                "\"size > 1GiB\", \"size < 64GiB\", \"size exists\", \"size != "
                                "3\", "
                                "\"size = 4GiB\"",
                                "\"rack in 1, 4\""));
        if (one_in(3))
                buffer_printf(&b, ", \"prefer\": [%s]",
                        ANY_OF("{\"where\": \"ssd = yes\", \"weight\": 50}",
                                "{\"where\": \"rack = 1\", \"weight\": -100}, {\"where\": \"zone = "
                                "a\", \"weight\": 100}",
                                "{\"where\": \"name = n7\", \"weight\": 1}"));
        if (one_in(6))
                buffer_printf(&b, ", \"exclusive\": \"%s\"", ANY_OF("gpu", "disk"));
        if (one_in(20))
                buffer_puts(&b, ", \"node\": \"n14\"");
        buffer_putc(&b, '}');
        return buffer_take(&b);
}

static void add_job(struct cluster *c, uint32_t number)
{
        AUTO(mem_freep) char *name = mem_printf("job%" PRIu32, number);
        AUTO(mem_freep) char *place = make_place();
        AUTO(mem_freep)
        char *text = mem_printf(
                "{\"command\": [\"/bin/true\"], \"count\": %u, \"template\": %s, \"resources\": "
                "{\"cpu\": %s, \"memory\": %s, \"disk\": %s, \"ports\": [%s]}, \"place\": %s}",
                1 + below(20), one_in(3) ? "true" : "false", ANY_OF("0", "0.1", "0.5"),
                ANY_OF("0", "\"100MiB\"", "\"1GiB\""), ANY_OF("0", "0", "\"1GiB\""),
                ANY_OF("", "", "\"http\"", "\"http\", \"admin\""), place);
        json_t *json = json_loads(text, 0, NULL);
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        struct error err;

        if (json == NULL || job_spec_from_json(name, json, &spec, &err) < 0)
                fail_msg("%s: %s", text, json == NULL ? "no JSON" : err.message);
        json_decref(json);
        handle(c, &(struct cluster_event){ .type = CLUSTER_APPLY, .spec = spec, .source = "api" });
}

static void play(void)
{
        struct cluster *c = cluster_new();
        uint32_t nodes = 1 + below(NODES_MAX - 1), jobs = 1 + below(12);

        for (uint32_t i = 0; i < nodes; i++)
                add_node(c, i);
        for (uint32_t i = 0; i < jobs; i++) {
                add_job(c, i);
                for (const struct job *job = c->jobs; job != NULL; job = job->hh.next)
                        compare_choices(c, job);
        }
        cluster_free(c);
}

static void choices_are_as_the_rules_say(void **state)
{
        const char *given = getenv("REEVE_TEST_SEED");

        (void) state;
        state_of_chance =
                given != NULL ? strtoull(given, NULL, 0) : (uint64_t) time(NULL) * 2654435761u;
        state_of_chance |= 1;
        print_message("REEVE_TEST_SEED=%" PRIu64 "\n", state_of_chance);
        for (int i = 0; i < ROUNDS; i++)
                play();
        for (int rule = 0; rule < CHOICE_KEPT; rule++)
                assert_true(choices_seen[rule] > 0); /* that every rule was asked for */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(choices_are_as_the_rules_say),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
