/* SPDX-License-Identifier: BSD-3-Clause */
/* Await: reads that the server answers when something has changed, one name after the other. What
 * has been reached is not asked again: the goals are states in which things stay unless somebody
 * changes them. */
#include "cli/await.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/stream.h"
#include "model/status.h"

#define READ_WAIT (30 * USEC_SEC)

static const char *text_of(const json_t *object, const char *name)
{
        const char *text = json_string_value(json_object_get(object, name));

        return text != NULL ? text : "";
}

static bool is_job_state(const char *word, enum job_state state)
{
        return strcmp(word, job_state_names[state]) == 0;
}

static bool has_ended(const char *name, const char *state)
{
        if (client_is_task(name))
                return strcmp(state, task_state_names[TASK_ENDED]) == 0;
        return is_job_state(state, JOB_STOPPED) || is_job_state(state, JOB_SUCCEEDED) ||
               is_job_state(state, JOB_FAILED);
}

static bool is_reached(const char *name, const char *state, enum await_goal goal)
{
        switch (goal) {
        case AWAIT_SETTLED:
                return is_job_state(state, JOB_RUNNING) || has_ended(name, state);
        case AWAIT_ENDED:
                return has_ended(name, state);
        case AWAIT_GONE:
                return false;
        }
        return false;
}

/* "job web is degraded: web.1 waits: ...". */
static int say_how_it_is(const char *name, const json_t *seen, enum error_code code,
        const char *after, struct error *err)
{
        const char *reason = text_of(seen, "reason");

        return error_set(err, code, "%s %s is %s%s%s%s", client_is_task(name) ? "task" : "job",
                name, *text_of(seen, "state") != '\0' ? text_of(seen, "state") : "not heard of",
                after, *reason != '\0' ? ": " : "", reason);
}

/* One look, at most until @deadline. 1: reached, 0: not yet. */
static int look(const char *name, enum await_goal goal, usec_t deadline_mono, uint64_t *index,
        json_t **seen, struct error *err)
{
        AUTO(mem_freep) char *path = client_subject_path(name, "");
        usec_t now = time_mono();
        usec_t wait = deadline_mono > now ? MIN(deadline_mono - now, READ_WAIT) : 0;
        json_t *json;

        if (stream_get_changed(path, index, wait, &json, err) < 0)
                return err->code == ERR_NOT_FOUND && goal != AWAIT_SETTLED ? 1 : -1;
        json_decref(*seen);
        *seen = json;
        return is_reached(name, text_of(json, "state"), goal);
}

static int await_one(
        const char *name, enum await_goal goal, usec_t deadline_mono, struct error *err)
{
        AUTO(client_json_decref) json_t *seen = NULL;
        struct stream_retry retry = { 0 };
        char span[TIME_TEXT_MAX], after[TIME_TEXT_MAX + 16];
        usec_t begun = time_mono();
        uint64_t index = 0;
        int r;

        do {
                r = look(name, goal, deadline_mono, &index, &seen, err);
                if (r < 0 && !stream_retry_wait(&retry, false, err))
                        return -1;
                if (r < 0)
                        index = 0; /* of another server */
                else
                        retry = (struct stream_retry){ 0 };
        } while (r <= 0 && time_mono() < deadline_mono);
        if (r <= 0) {
                snprintf(after, sizeof after, " after %s",
                        time_format_span(span, time_mono() - begun));
                return say_how_it_is(name, seen, ERR_TIMEOUT, after, err);
        }
        if (goal == AWAIT_SETTLED && is_job_state(text_of(seen, "state"), JOB_FAILED))
                return say_how_it_is(name, seen, ERR_SYSTEM, "", err);
        return 0;
}

int await_all(const char *const *names, enum await_goal goal, usec_t timeout, struct error *err)
{
        usec_t deadline = timeout == USEC_NEVER ? USEC_NEVER : time_mono() + timeout;

        for (; *names != NULL; names++)
                if (await_one(*names, goal, deadline, err) < 0)
                        return -1;
        return 0;
}
