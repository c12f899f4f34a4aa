/* SPDX-License-Identifier: BSD-3-Clause */
/* What of a plan has no room at its end, and which changes would give it room.
 *
 * Nothing is told that was not tried: a change is made to the spec of the job in the copy, the
 * placer is asked for all tasks that wait, and the spec is put back; of an amount the greatest is
 * searched for with which all fit. A node that is closed or away is opened for the time of the
 * question. More nodes are really added to the copy, which is why that comes last: the queue
 * decides who gets them.
 *
 * Each change alone is enough; what only several changes together would do is not looked for, but
 * for what is asked of one node's resources. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/explain.h"
#include "core/place.h"
#include "core/plan-internal.h"

#define JOBS_TRIED     16  /* for others only the reason is told */
#define NODES_TRIED    256 /* that are closed or away */
#define ZONES_TOLD     4
#define MORE_NODES_MAX 100

/* A job with tasks that wait. */
struct waiting {
        struct cluster *c;
        struct job *job;
        size_t tasks;
        struct place_refusals refusals;
        struct buffer fits; /* elements of an array */
};

static void tell_fit(struct waiting *w, const char *format, ...) PRINTF_LIKE(2, 3);

static void tell_fit(struct waiting *w, const char *format, ...)
{
        AUTO(mem_freep) char *text = NULL;
        va_list args;

        va_start(args, format);
        text = mem_vprintf(format, args);
        va_end(args);
        buffer_puts(&w->fits, w->fits.len == 0 ? "" : ",");
        text_put_json_string(&w->fits, text);
}

/* ---- Trying */

static bool pinned_fit(struct waiting *w)
{
        const struct task *task;

        JOB_FOREACH_TASK (w->job, task) {
                AUTO(buffer_done) struct buffer why = { 0 };

                if ((task->marks & BIT(MARK_UNPLACED)) != 0 && task->pin != NULL &&
                        place_refuse(w->c, task, task->pin->node, &w->refusals, &why) !=
                                REFUSAL_NONE)
                        return false;
        }
        return true;
}

/* For how many of @wanted tasks there is room as things are. */
static size_t room_for(struct waiting *w, size_t wanted)
{
        AUTO(mem_freep) struct choice *choices = mem_alloc((wanted + 1) * sizeof *choices);

        w->refusals = (struct place_refusals){ 0 };
        return place_choose(w->c, w->job, w->c->by_name, HASH_COUNT(w->c->nodes), wanted, choices,
                &w->refusals);
}

static bool all_fit(struct waiting *w)
{
        w->refusals = (struct place_refusals){ 0 };
        return job_per_node(w->job) ? pinned_fit(w) : room_for(w, w->tasks) == w->tasks;
}

/* With @object, which is taken, in place of the spec. */
static bool fit_with(struct waiting *w, json_t *object)
{
        struct job_version *newest = &w->job->versions[w->job->versions_len - 1];
        struct job_version own = *newest;
        struct job_spec *spec = NULL;
        struct error err = ERROR_INIT;
        bool fit = false;

        if (job_spec_from_json(w->job->name, object, &spec, &err) == 0) {
                newest->spec = spec;
                newest->demand = demand_new(w->c, spec);
                fit = all_fit(w);
                demand_unref(w->c, newest->demand);
                *newest = own;
                job_spec_unref(spec);
        }
        json_decref(object);
        return fit;
}

static json_t *spec_json(const struct waiting *w)
{
        return job_spec_to_json(job_current_spec(w->job));
}

/* The spec with another member of `resources` or `place`; @value is taken, NULL: without it. */
static json_t *spec_json_with(
        const struct waiting *w, const char *group, const char *name, json_t *value)
{
        json_t *object = spec_json(w), *members = json_object_get(object, group);

        if (value != NULL)
                json_object_set_new(members, name, value);
        else
                json_object_del(members, name);
        return object;
}

/* ---- Amounts */

#define MIB (UINT64_C(1) << 20)

struct resource {
        const char *name;
        enum refusal refusal;
        size_t offset;
        uint64_t unit; /* of what is tried */
};

static const struct resource resources[] = {
        { "cpu", REFUSAL_CPU, offsetof(struct amounts, cpu), 10 },
        { "memory", REFUSAL_MEMORY, offsetof(struct amounts, memory), MIB },
        { "disk", REFUSAL_DISK, offsetof(struct amounts, disk), MIB },
};

static uint64_t amount(const struct amounts *amounts, const struct resource *r)
{
        return *(const uint64_t *) (const void *) ((const char *) amounts + r->offset);
}

static uint64_t asked(const struct waiting *w, const struct resource *r)
{
        return amount(&w->job->versions[w->job->versions_len - 1].demand->amounts, r);
}

static json_t *to_json(const struct resource *r, uint64_t value)
{
        return r->refusal == REFUSAL_CPU ? json_real((double) value / 1000)
                                         : json_integer((json_int_t) value);
}

static bool fit_with_amount(struct waiting *w, const struct resource *r, uint64_t value)
{
        return fit_with(w, spec_json_with(w, "resources", r->name, to_json(r, value)));
}

/* A number that people would write, and no greater. */
static uint64_t round_down(const struct resource *r, uint64_t value)
{
        uint64_t step = r->unit;

        if (r->refusal != REFUSAL_CPU)
                while (step <= value / 64)
                        step *= 2;
        return value / step * step;
}

static void put_amount(struct buffer *b, const struct resource *r, uint64_t value)
{
        buffer_printf(b, "resources.%s at most ", r->name);
        (r->refusal == REFUSAL_CPU ? place_put_cpu : place_put_size)(b, value);
}

/* The greatest amount with which all fit; 0: none that is of use. */
static uint64_t most_that_fits(struct waiting *w, const struct resource *r)
{
        uint64_t none = asked(w, r) / r->unit + 1, fits = 0;

        if (!fit_with_amount(w, r, r->unit))
                return 0;
        for (fits = 1; fits + 1 < none;) {
                uint64_t middle = fits + (none - fits) / 2;

                if (fit_with_amount(w, r, middle * r->unit))
                        fits = middle;
                else
                        none = middle;
        }
        fits = round_down(r, fits * r->unit);
        return fit_with_amount(w, r, fits) ? fits : 0;
}

static bool try_one_amount(struct waiting *w)
{
        bool any = false;

        for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
                const struct resource *r = &resources[i];
                uint64_t most = asked(w, r) > r->unit ? most_that_fits(w, r) : 0;
                AUTO(buffer_done) struct buffer b = { 0 };

                if (most == 0)
                        continue;
                put_amount(&b, r, most);
                tell_fit(w, "%s", buffer_str(&b));
                any = true;
        }
        return any;
}

/* What the node has, of all that it has too little of. */
static bool try_amounts_of(struct waiting *w, const struct place_answer *at)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        json_t *object = spec_json(w), *members = json_object_get(object, "resources");

        for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
                const struct resource *r = &resources[i];
                uint64_t most;

                if ((at->refusals & BIT(r->refusal)) == 0)
                        continue;
                most = round_down(r, amount(&at->free, r));
                json_object_set_new(members, r->name, to_json(r, most));
                buffer_puts(&b, b.len == 0 ? "" : " and ");
                put_amount(&b, r, most);
        }
        if (!fit_with(w, object))
                return false;
        tell_fit(w, "%s", buffer_str(&b));
        return true;
}

static void try_several_amounts(struct waiting *w)
{
        const unsigned room = BIT(REFUSAL_CPU) | BIT(REFUSAL_MEMORY) | BIT(REFUSAL_DISK);
        size_t nodes = MIN(HASH_COUNT(w->c->nodes), (unsigned) NODES_TRIED);

        for (size_t i = 0; i < nodes; i++) {
                struct place_answer at;

                place_ask(w->c, w->job, w->c->by_name[i], &at);
                if (at.refusals != 0 && (at.refusals & ~room) == 0 && try_amounts_of(w, &at))
                        return;
        }
}

/* ---- Wishes */

static bool try_without(struct waiting *w, const char *name)
{
        return fit_with(w, spec_json_with(w, "place", name, NULL));
}

static void try_conditions(struct waiting *w)
{
        const struct job_spec *spec = job_current_spec(w->job);

        for (size_t i = 0; i < spec->place.constraints_len; i++) {
                json_t *object = spec_json(w);
                AUTO(buffer_done) struct buffer b = { 0 };

                json_array_remove(json_object_get(json_object_get(object, "place"), "where"), i);
                if (!fit_with(w, object))
                        continue;
                constraint_format(&spec->place.constraints[i], &b);
                tell_fit(w, "place.where less \"%s\"", buffer_str(&b));
        }
}

static bool is_among(char *const *names, const char *name)
{
        for (; names != NULL && *names != NULL; names++)
                if (strcmp(*names, name) == 0)
                        return true;
        return false;
}

/* The zones that there are, each once; ended by NULL. Freed by the caller, its elements not. */
static char **zones_of(const struct cluster *c)
{
        char **zones = mem_alloc((HASH_COUNT(c->nodes) + 1) * sizeof(char *));
        size_t len = 0;

        for (size_t i = 0; i < HASH_COUNT(c->nodes) && len < NODES_TRIED; i++) {
                char *zone = c->by_name[i]->status.zone;

                if (zone != NULL && !is_among(zones, zone))
                        zones[len++] = zone;
        }
        return zones;
}

static void try_zones(struct waiting *w)
{
        const struct job_spec *spec = job_current_spec(w->job);
        AUTO(mem_freep) char **zones = zones_of(w->c);
        AUTO(buffer_done) struct buffer b = { 0 };
        size_t told = 0;

        for (size_t i = 0; zones[i] != NULL && told < ZONES_TOLD; i++) {
                if (is_among(spec->place.zones, zones[i]) ||
                        !fit_with(
                                w, spec_json_with(w, "place", "zone", json_pack("[s]", zones[i]))))
                        continue;
                buffer_printf(&b, "%s%s", told++ == 0 ? "" : " or ", zones[i]);
        }
        if (told > 0)
                tell_fit(w, "place.zone %s", buffer_str(&b));
        else if (try_without(w, "zone"))
                tell_fit(w, "no place.zone");
}

static void try_wishes(struct waiting *w)
{
        const struct job_spec *spec = job_current_spec(w->job);

        try_conditions(w);
        if (spec->place.zones != NULL)
                try_zones(w);
        if (spec->place.node != NULL && try_without(w, "node"))
                tell_fit(w, "no place.node");
        if (spec->place.exclusive != NULL && try_without(w, "exclusive"))
                tell_fit(w, "no place.exclusive");
}

/* ---- Counts */

static void try_count(struct waiting *w)
{
        size_t have = w->job->counts[MARK_WANTED] - w->job->counts[MARK_UNPLACED], found;

        if (job_per_node(w->job) || w->job->surge > 0)
                return;
        found = room_for(w, w->tasks);
        if (have + found > 0 && found < w->tasks)
                tell_fit(w, "count at most %zu", have + found);
}

/* ---- Nodes */

static void try_closed(struct waiting *w, struct node *node)
{
        node->cordoned = false;
        if (all_fit(w))
                tell_fit(w, "node %s open (`reeve %s %s --off`)", node->status.name,
                        node->draining ? "drain" : "cordon", node->status.name);
        node->cordoned = true;
}

static void try_away(struct waiting *w, struct node *node)
{
        node->connected = true;
        if (all_fit(w))
                tell_fit(w, "node %s connected", node->status.name);
        node->connected = false;
}

static void try_nodes(struct waiting *w)
{
        size_t nodes = MIN(HASH_COUNT(w->c->nodes), (unsigned) NODES_TRIED), before;

        for (size_t i = 0; i < nodes; i++) {
                struct node *node = w->c->by_name[i];

                before = w->fits.len;
                if (node->connected && node->cordoned)
                        try_closed(w, node);
                else if (!node->connected && !node->cordoned)
                        try_away(w, node);
                if (w->fits.len > before)
                        return;
        }
}

/* ---- One job */

static void try_all(struct waiting *w)
{
        struct buffer none = { 0 };

        if (all_fit(w)) /* it waits for something else than room */
                return;
        w->fits = none;
        if (!try_one_amount(w))
                try_several_amounts(w);
        try_count(w);
        try_wishes(w);
        try_nodes(w);
}

/* Which condition how many nodes do not meet. */
static void put_conditions(const struct waiting *w, struct buffer *out)
{
        const struct job_spec *spec = job_current_spec(w->job);
        const char *between = "";

        for (size_t i = 0; i < spec->place.constraints_len; i++) {
                const struct constraint *where = &spec->place.constraints[i];
                AUTO(buffer_done) struct buffer text = { 0 };
                size_t refuses = 0;

                if (strcmp(where->attribute, ATTRIBUTE_NAME) == 0)
                        continue;
                for (const struct node *node = w->c->nodes; node != NULL; node = node->hh.next)
                        refuses += !constraint_holds(where, &node->class->attributes);
                if (refuses == 0)
                        continue;
                constraint_format(where, &text);
                buffer_printf(out, "%s{\"where\":", between);
                text_put_json_string(out, buffer_str(&text));
                buffer_printf(
                        out, ",\"refuses\":%zu,\"nodes\":%u}", refuses, HASH_COUNT(w->c->nodes));
                between = ",";
        }
}

/* "west has no node; zones: east, north", for the zones that nobody is in. */
static void put_zones(const struct waiting *w, struct buffer *b)
{
        const struct job_spec *spec = job_current_spec(w->job);
        AUTO(mem_freep) char **zones = zones_of(w->c);

        for (char **zone = spec->place.zones; zone != NULL && *zone != NULL; zone++) {
                if (is_among(zones, *zone))
                        continue;
                buffer_printf(b, "; place.zone: %s has no node", *zone);
                for (size_t i = 0; zones[i] != NULL && i < ZONES_TOLD; i++)
                        buffer_printf(b, "%s%s", i == 0 ? "; zones: " : ", ", zones[i]);
        }
}

static const struct task *first_waiting(const struct job *job)
{
        const struct task *task;

        JOB_FOREACH_TASK (job, task)
                if ((task->marks & BIT(MARK_UNPLACED)) != 0)
                        return task;
        return NULL;
}

/* In the words of `reeve why`. */
static void put_why(const struct plan *p, const struct waiting *w, struct buffer *out)
{
        const struct task *first = first_waiting(w->job);
        const char *id = task_id(w->job, first->index);
        AUTO(buffer_done) struct buffer answer = { 0 }, text = { 0 };
        struct error err = ERROR_INIT;
        json_t *why = NULL;
        const char *next = NULL;

        if (explain_why(p->c, id, NULL, 0, p->now, &answer, &err) == 0)
                why = json_loads(buffer_str(&answer), 0, NULL);
        buffer_puts(&text, json_string_value(json_object_get(why, "summary")));
        put_zones(w, &text);
        next = json_string_value(json_object_get(why, "next"));
        buffer_puts(out, ",\"task\":");
        text_put_json_string(out, id);
        buffer_printf(out, ",\"tasks\":%zu,\"reason\":", w->tasks);
        text_put_json_string(out, buffer_str(&text));
        buffer_puts(out, ",\"next\":");
        if (next != NULL)
                text_put_json_string(out, next);
        else
                buffer_puts(out, "null");
        json_decref(why);
}

static void put_waiting(const struct plan *p, struct waiting *w, bool tried, struct buffer *out)
{
        buffer_puts(out, "{\"job\":");
        text_put_json_string(out, w->job->name);
        put_why(p, w, out);
        buffer_puts(out, ",\"conditions\":[");
        put_conditions(w, out);
        buffer_puts(out, "],\"fits\":[");
        if (tried)
                try_all(w);
        buffer_puts(out, buffer_str(&w->fits));
        buffer_puts(out, "]}");
        buffer_done(&w->fits);
}

/* Tasks that wait because of the plan, or are of a job that it applies. */
static bool find_waiting(const struct plan *p, const struct plan_job *j, struct waiting *ret)
{
        struct job *job = job_find(p->c, j->name);

        if (job == NULL || job->counts[MARK_UNPLACED] == 0 ||
                (j->spec == NULL && job->counts[MARK_UNPLACED] <= j->waited))
                return false;
        *ret = (struct waiting){ .c = p->c, .job = job, .tasks = job->counts[MARK_UNPLACED] };
        return true;
}

void plan_put_waits(struct plan *p, struct buffer *out)
{
        size_t told = 0;

        for (const struct plan_job *j = p->jobs; j != NULL; j = j->hh.next) {
                struct waiting w;

                if (!find_waiting(p, j, &w))
                        continue;
                buffer_puts(out, told++ == 0 ? "" : ",");
                put_waiting(p, &w, told <= JOBS_TRIED && !w.job->held, out);
        }
}

/* ---- More nodes */

/* One that would take a task if it were empty; the least of them. */
static const struct node *model_for(const struct waiting *w)
{
        const struct amounts *d = &w->job->versions[w->job->versions_len - 1].demand->amounts;
        const struct node *best = NULL;

        for (size_t i = 0; i < HASH_COUNT(w->c->nodes); i++) {
                struct node *node = w->c->by_name[i];

                if (!place_allows(w->c, w->job, node) || node->capacity.cpu < d->cpu ||
                        node->capacity.memory < d->memory || node->capacity.disk < d->disk)
                        continue;
                if (best == NULL || node->capacity.memory < best->capacity.memory)
                        best = node;
        }
        return best;
}

static int add_node(struct plan *p, const struct node *like, size_t number)
{
        AUTO(mem_freep) char *name = mem_printf("%s-more-%zu", like->status.name, number);
        struct node_status status = like->status;
        struct cluster_event up = { .type = CLUSTER_NODE_UP, .node = &status };
        struct error err = ERROR_INIT;
        int r;

        if (strlen(name) > TEXT_NAME_MAX || node_find(p->c, name) != NULL)
                return -1;
        status.name = name;
        r = cluster_handle(p->c, &up, p->now, &p->fx, &err);
        cluster_effects_reset(&p->fx);
        return r;
}

/* How many are enough; 0: none are, or it is not about room. */
static size_t count_nodes(struct plan *p, struct waiting *w, const struct node *like)
{
        size_t before = w->tasks, n = 0;

        while (before > 0 && n < MORE_NODES_MAX) {
                if (add_node(p, like, ++n) < 0)
                        return 0;
                if (w->job->counts[MARK_UNPLACED] >= before &&
                        !job_current_spec(w->job)->place.gang)
                        return 0;
                before = w->job->counts[MARK_UNPLACED];
        }
        return before == 0 ? n : 0;
}

static size_t count_waiting(const struct plan *p)
{
        struct waiting w;
        size_t n = 0;

        for (const struct plan_job *j = p->jobs; j != NULL; j = j->hh.next)
                n += find_waiting(p, j, &w);
        return n;
}

/* Told if one kind of node is enough for all that waits, and that is not too much to try. */
void plan_put_more_nodes(struct plan *p, struct buffer *out)
{
        const struct node *like = NULL;
        size_t count = 0;
        bool few = count_waiting(p) <= JOBS_TRIED;

        for (const struct plan_job *j = p->jobs; j != NULL && few; j = j->hh.next) {
                struct waiting w;
                size_t more;

                if (!find_waiting(p, j, &w))
                        continue;
                if (like == NULL)
                        like = model_for(&w);
                more = like == NULL || job_per_node(w.job) ? 0 : count_nodes(p, &w, like);
                count += more;
                if (more == 0) {
                        like = NULL;
                        break;
                }
        }
        if (like == NULL || count == 0) {
                buffer_puts(out, "null");
                return;
        }
        buffer_puts(out, "{\"like\":");
        text_put_json_string(out, like->status.name);
        buffer_printf(out, ",\"count\":%zu}", count);
}
