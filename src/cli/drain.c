/* SPDX-License-Identifier: BSD-3-Clause */
/* Drain: has the tasks of nodes move elsewhere, and tells how that goes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/stream.h"
#include "cli/terminal.h"
#include "model/status.h"

#define READ_WAIT (30 * USEC_SEC)

static bool off, should_wait;
static usec_t deadline = USEC_NEVER, timeout = USEC_NEVER;

static const struct option_row options[] = {
        { "deadline", 'd', OPTION_SPAN, &deadline, "DURATION",
                "then stop whatever is left at once (never)" },
        { "off", 0, OPTION_FLAG, &off, NULL, "end the drain: open them for tasks again" },
        { "wait", 'w', OPTION_FLAG, &should_wait, NULL,
                "until nothing is left there, and tell what waits for what" },
        { "timeout", 't', OPTION_SPAN, &timeout, "DURATION",
                "give up waiting after this long (never)" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

/* ---- How it goes */

struct progress {
        const char *node;
        json_t *before; /* the answer before; NULL: none yet */
        char *said;     /* last, of what waits */
};

static void progress_done(struct progress *p)
{
        json_decref(p->before);
        free(p->said);
}

static const char *text_of(const json_t *object, const char *name)
{
        const char *text = json_string_value(json_object_get(object, name));

        return text != NULL ? text : "";
}

static bool has_ended(const json_t *task)
{
        return strcmp(text_of(task, "state"), task_state_names[TASK_ENDED]) == 0;
}

static const json_t *find_task(const json_t *answer, const char *id)
{
        const json_t *task;
        size_t i;

        json_array_foreach (json_object_get(answer, "placed"), i, task)
                if (strcmp(text_of(task, "id"), id) == 0 && !has_ended(task))
                        return task;
        return NULL;
}

static void say_gone(const struct progress *p, const json_t *now)
{
        const json_t *task;
        size_t i;

        json_array_foreach (json_object_get(p->before, "placed"), i, task)
                if (!has_ended(task) && find_task(now, text_of(task, "id")) == NULL)
                        printf("%s: %s has left\n", p->node, text_of(task, "id"));
}

/* "n1: 3 tasks to leave; web.1: ..." if that is new. */
static void say_left(struct progress *p, const json_t *now)
{
        AUTO(buffer_done) struct buffer line = { 0 };
        const json_t *task, *first = NULL;
        size_t i, left = 0;

        json_array_foreach (json_object_get(now, "placed"), i, task) {
                left += !has_ended(task);
                if (first == NULL && *text_of(task, "leaving") != '\0')
                        first = task;
        }
        if (left == 0)
                return;
        buffer_printf(&line, "%zu task%s to leave", left, left == 1 ? "" : "s");
        if (first != NULL) {
                buffer_printf(&line, "; %s: ", text_of(first, "id"));
                columns_put(&line, text_of(first, "leaving"), 0);
        }
        if (p->said != NULL && strcmp(p->said, buffer_str(&line)) == 0)
                return;
        printf("%s: %s\n", p->node, buffer_str(&line));
        free(p->said);
        p->said = mem_strdup(buffer_str(&line));
}

/* Takes @answer. 1: it is drained, 0: not yet. */
static int follow(struct progress *p, json_t *answer, struct error *err)
{
        const char *scheduling = text_of(answer, "scheduling");
        bool drained = strcmp(scheduling, node_scheduling_names[NODE_DRAINED]) == 0;
        bool draining = strcmp(scheduling, node_scheduling_names[NODE_DRAINING]) == 0;

        say_gone(p, answer);
        if (!drained && draining)
                say_left(p, answer);
        fflush(stdout);
        json_decref(p->before);
        p->before = answer;
        if (drained || draining)
                return drained;
        return error_set(err, ERR_CONFLICT, "node %s is not drained any more: it is %s", p->node,
                scheduling);
}

static int await_drained(const char *node, usec_t until_mono, struct error *err)
{
        AUTO(mem_freep) char *path = client_node_path(node, "");
        AUTO(progress_done) struct progress p = { .node = node };
        struct stream_retry retry = { 0 };
        uint64_t index = 0;
        int r = 0;

        while (r == 0) {
                usec_t now = time_mono();
                json_t *answer;

                if (now >= until_mono)
                        return error_set(err, ERR_TIMEOUT, "node %s is not drained yet: %s", node,
                                p.said != NULL ? p.said : "nothing was heard of it");
                if (stream_get_changed(
                            path, &index, MIN(until_mono - now, READ_WAIT), &answer, err) == 0) {
                        retry = (struct stream_retry){ 0 };
                        r = follow(&p, answer, err);
                } else if (stream_retry_wait(&retry, false, err)) {
                        index = 0; /* of another server */
                } else {
                        return -1;
                }
        }
        return r < 0 ? -1 : 0;
}

/* ---- The command */

static int begin(const char *node, struct error *err)
{
        AUTO(mem_freep) char *path = client_node_path(node, "/drain");
        AUTO(buffer_done) struct buffer body = { 0 };
        char span[TIME_TEXT_MAX];

        buffer_printf(&body, "{\"on\":%s", off ? "false" : "true");
        if (deadline != USEC_NEVER)
                buffer_printf(&body, ",\"deadline\":\"%s\"", time_format_exact(span, deadline));
        buffer_putc(&body, '}');
        return client_request("POST", path, NULL, body.data, body.len, NULL, err);
}

static int run(const char *const *operands, struct error *err)
{
        usec_t until = timeout == USEC_NEVER ? USEC_NEVER : time_mono() + timeout;

        if (off && (should_wait || deadline != USEC_NEVER))
                return error_set(err, ERR_INVALID, "--off goes with neither --wait nor --deadline");
        if (deadline == 0)
                return error_set(err, ERR_INVALID, "--deadline: expected more than 0");
        for (const char *const *node = operands; *node != NULL; node++) {
                if (begin(*node, err) < 0)
                        return -1;
                if (!should_wait)
                        printf("%s: %s\n", *node, off ? "is open for tasks" : "is being drained");
        }
        for (; should_wait && *operands != NULL; operands++) {
                if (await_drained(*operands, until, err) < 0)
                        return -1;
                printf("%s: drained\n", *operands);
        }
        return 0;
}

const struct command command_drain = {
        .name = "drain",
        .operands = "NODE...",
        .summary = "move the tasks of nodes elsewhere",
        .details = "A drained node gets no new tasks. Those that it has leave it, of each job no "
                   "more at a time than its `update.parallel`, and only to where there is room. "
                   "It stays drained until --off.",
        .options = options,
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
