/* SPDX-License-Identifier: BSD-3-Clause */
/* Vitalserve: one answer per question. A question for what is newer than the last look waits for
 * the next one, which it has begun; there are at most QUESTIONS_MAX of them, more are answered with
 * what there is. */
#include "node/vitalserve.h"

#include <stdlib.h>

#include "base/mem.h"

#define QUESTIONS_MAX 256

struct question {
        json_int_t number;
        bool tasks;
};

struct vitalserve {
        struct websocket *ws;
        struct vitals *vitals;
        struct question waiting[QUESTIONS_MAX];
        size_t waiting_len;
};

static void begin_answer(struct buffer *out, json_int_t number)
{
        buffer_puts(out, "{\"type\":\"vitals\",\"number\":");
        buffer_put_int(out, number);
}

static void answer(struct vitalserve *vs, const struct question *q)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        begin_answer(&b, q->number);
        buffer_puts(&b, ",\"node\":");
        vitals_put_node(vs->vitals, &b);
        buffer_puts(&b, ",\"tasks\":[");
        if (q->tasks)
                vitals_put_tasks(vs->vitals, &b);
        buffer_puts(&b, "]}");
        websocket_send(vs->ws, true, b.data, b.len);
}

static void answer_samples(struct vitalserve *vs, json_int_t number, const json_t *message)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        json_int_t since = json_integer_value(json_object_get(message, "since"));

        begin_answer(&b, number);
        buffer_puts(&b, ",\"samples\":[");
        vitals_put_samples(vs->vitals, json_string_value(json_object_get(message, "task")),
                since > 0 ? (usec_t) since : 0, &b);
        buffer_puts(&b, "]}");
        websocket_send(vs->ws, true, b.data, b.len);
}

void vitalserve_message(struct vitalserve *vs, const json_t *message)
{
        struct question q = { .number = json_integer_value(json_object_get(message, "number")),
                .tasks = json_is_true(json_object_get(message, "tasks")) };
        json_int_t age = json_integer_value(json_object_get(message, "max_age_ms"));

        if (json_is_true(json_object_get(message, "samples")))
                answer_samples(vs, q.number, message);
        else if (vs->waiting_len == QUESTIONS_MAX ||
                 vitals_refresh(vs->vitals, age > 0 ? MIN((usec_t) age * USEC_MSEC, USEC_HOUR) : 0))
                answer(vs, &q);
        else
                vs->waiting[vs->waiting_len++] = q;
}

void vitalserve_looked(struct vitalserve *vs)
{
        for (size_t i = 0; i < vs->waiting_len; i++)
                answer(vs, &vs->waiting[i]);
        vs->waiting_len = 0;
}

struct vitalserve *vitalserve_new(struct websocket *ws, struct vitals *vitals)
{
        struct vitalserve *vs = mem_alloc(sizeof *vs);

        vs->ws = ws;
        vs->vitals = vitals;
        return vs;
}

void vitalserve_free(struct vitalserve *vs)
{
        free(vs);
}
