/* SPDX-License-Identifier: BSD-3-Clause */
/* Effects: what cluster_handle() asks its caller to do, as data.
 *
 * The caller owns the struct and everything in it; it is appended to and never read back here.
 * Writes stand in the order in which they were decided, and one key may stand there twice when
 * several events were handled in one go: applied in order, the later one wins. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/cluster-internal.h"

void cluster_assign_copy(struct cluster_assign *to, const struct cluster_assign *from)
{
        *to = *from;
        to->node = mem_strdup(from->node);
        to->task = mem_strdup(from->task);
        to->job = mem_strdup(from->job);
}

void cluster_assign_done(struct cluster_assign *copy)
{
        free((char *) (uintptr_t) copy->node);
        free((char *) (uintptr_t) copy->task);
        free((char *) (uintptr_t) copy->job);
        *copy = (struct cluster_assign){ 0 };
}

static void write_done(struct cluster_write *w)
{
        free(w->key);
        free(w->value);
}

void cluster_effects_reset(struct cluster_effects *e)
{
        for (size_t i = 0; i < e->writes_len; i++)
                write_done(&e->writes[i]);
        for (size_t i = 0; i < e->events_len; i++)
                record_done(&event_table, &e->events[i]);
        e->assigns_len = e->writes_len = e->events_len = 0;
        arena_done(&e->names);
        e->version = 0;
        e->unchanged = false;
        e->dispatched[0] = '\0';
}

void cluster_effects_done(struct cluster_effects *e)
{
        cluster_effects_reset(e);
        free(e->assigns);
        free(e->writes);
        free(e->events);
        *e = (struct cluster_effects){ 0 };
}

/* Makes room for one more element. */
static void *grow(void *array, size_t len, size_t *allocated, size_t size)
{
        if (len < *allocated)
                return array;
        *allocated = *allocated == 0 ? 16 : *allocated * 2;
        return mem_resize(array, *allocated, size);
}

static const char *copy_name(struct cluster_effects *e, const char *name)
{
        return arena_copy(&e->names, name, strlen(name));
}

/* Tasks of one job mostly come one after the other. */
static const char *copy_job(struct cluster_effects *e, const char *name, size_t len)
{
        const char *last = e->assigns_len < 2 ? NULL : e->assigns[e->assigns_len - 2].job;

        if (last != NULL && strncmp(last, name, len) == 0 && last[len] == '\0')
                return last;
        return arena_copy(&e->names, name, len);
}

static struct cluster_assign *add_assign(struct cluster_effects *e, const char *node)
{
        struct cluster_assign *a;

        e->assigns = grow(e->assigns, e->assigns_len, &e->assigns_allocated, sizeof e->assigns[0]);
        a = &e->assigns[e->assigns_len++];
        *a = (struct cluster_assign){ .node = copy_name(e, node) };
        return a;
}

/* "web.0" */
static const char *make_task_name(struct cluster_effects *e, const char *job, uint32_t index)
{
        size_t len = strlen(job);
        char digits[TEXT_UINT_MAX];
        size_t digits_len = text_format_uint(digits, index);
        char *name = arena_reserve(&e->names, len + digits_len + 2);

        memcpy(name, job, len);
        name[len] = '.';
        memcpy(name + len + 1, digits, digits_len);
        name[len + 1 + digits_len] = '\0';
        return name;
}

void effects_assign(struct cluster_effects *e, const struct task *task)
{
        const char *job = task->job->name;
        struct cluster_assign *a = add_assign(e, task->node->status.name);

        a->task = make_task_name(e, job, task->index);
        a->job = copy_job(e, job, strlen(job));
        a->index = task->index;
        a->desire = task->desire;
        a->ports_len = MIN(task->ports_len, (uint32_t) JOB_PORTS_MAX);
        for (size_t i = 0; i < a->ports_len; i++)
                a->ports[i] = task->ports[i];
        if (job_current_spec(task->job)->singleton)
                a->fence = task->desire.generation;
        a->retries = task_retries(task);
}

void effects_forget(struct cluster_effects *e, const char *node, const char *task, bool purge)
{
        struct cluster_assign *a = add_assign(e, node);
        const char *dot = strrchr(task, '.');

        a->task = copy_name(e, task);
        a->job = copy_job(e, task, dot == NULL ? strlen(task) : (size_t) (dot - task));
        a->index = dot == NULL ? 0 : (uint32_t) strtoul(dot + 1, NULL, 10);
        a->forget = true;
        a->purge_logs = purge;
}

void effects_write(struct cluster_effects *e, char *key, char *value)
{
        if (e->unstored) {
                free(key);
                free(value);
                return;
        }
        e->writes = grow(e->writes, e->writes_len, &e->writes_allocated, sizeof e->writes[0]);
        e->writes[e->writes_len++] = (struct cluster_write){ .key = key, .value = value };
}

/* ---- Events */

void turn_publish(struct turn *turn, const struct event *event)
{
        struct cluster_effects *e = turn->effects;
        struct buffer row = { 0 };
        struct event *copy;

        e->events = grow(e->events, e->events_len, &e->events_allocated, sizeof e->events[0]);
        copy = &e->events[e->events_len++];
        *copy = *event;
        copy->index = (int64_t) ++turn->c->index;
        copy->job = mem_strdup(event->job);
        copy->task = mem_strdup(event->task);
        copy->node = mem_strdup(event->node);
        copy->message = mem_strdup(event->message);
        copy->failure = mem_strdup(event->failure);
        if (copy->time == 0)
                copy->time = turn->now;

        turn->c->changes++;
        if (e->unstored)
                return;
        record_write(&event_table, copy, &row);
        effects_write(e, mem_printf("event/%020" PRIi64, copy->index), buffer_take(&row));
}

void turn_say(
        struct turn *turn, enum event_kind kind, const struct job *job, const char *format, ...)
{
        AUTO(mem_freep) char *message = NULL;
        va_list args;

        va_start(args, format);
        message = mem_vprintf(format, args);
        va_end(args);
        turn_publish(turn, &(struct event){ .kind = (int) kind,
                                   .job = job->name,
                                   .version = job_version_number(job),
                                   .run = RECORD_NULL,
                                   .message = message });
}
