/* SPDX-License-Identifier: BSD-3-Clause */
/* What people do to a task's process while it runs: signals, and programs that they run beside it.
 *
 * Such a program is given what the task's process was given: the spec of the version that runs, not
 * of the one that is wanted by now, and the variables of the run. It is no part of the task:
 * nothing of the task's state changes with it. */
#include "node/task-internal.h"

#include <stdlib.h>

#include "base/mem.h"
#include "node/process.h"

static int find_running(struct tasks *ts, const char *id, struct task **ret, struct error *err)
{
        struct task *t = tasks_find(ts, id);

        if (t == NULL)
                return error_set(err, ERR_NOT_FOUND, "task %s is not on this node", id);
        if (t->pidfd < 0)
                return error_set(err, ERR_CONFLICT, "task %s does not run", id);
        *ret = t;
        return 0;
}

int tasks_signal(struct tasks *ts, const char *id, int signal, struct error *err)
{
        struct task *t = NULL;

        if (find_running(ts, id, &t, err) < 0)
                return -1;
        task_signal(t, table_machine(t->slot), signal);
        return 0;
}

/* The spec of what runs; if that is forgotten here, of what is wanted. A new reference. */
static struct spec *running_spec(struct task *t)
{
        struct specs *specs = t->owner->config.specs;
        uint32_t version = table_machine(t->slot)->run_version;
        struct spec *spec;

        if (specs_get(specs, table_slot_job(t->slot), version, &spec, NULL) == 0)
                return spec;
        t->spec->refs++;
        return t->spec;
}

/* The plan's variables, with the run's values put into them, and then the run's own. The command is
 * a person's and stays as it was typed. */
static char **make_env(
        const struct task *t, const struct spawn_plan *plan, char *const *files, struct error *err)
{
        const struct task_machine *m = table_machine(t->slot);
        struct variables values = task_variables(t, m);
        AUTO(spawn_plan_expanded_done) struct spawn_plan expanded = { 0 };
        char **env;
        size_t n = 0;

        spawn_plan_expand(plan, &values, &expanded);
        if (files != NULL && spawn_plan_read_files(&expanded, files, &values, err) < 0)
                return NULL;
        env = take_ptr(expanded.env);
        while (env[n] != NULL)
                n++;
        env = mem_resize(env, n + RUN_ENV_MAX + 1, sizeof *env);
        task_make_run_env(t, m, env + n);
        return env;
}

int tasks_plan_exec(struct tasks *ts, const char *id, char **command, char *user,
        struct spawn_plan *ret, char ***ret_env, struct error *err)
{
        const struct spawn_plan *planned;
        struct job_spec like;
        struct spec *spec;
        struct task *t = NULL;
        int r;

        if (find_running(ts, id, &t, err) < 0)
                return -1;
        if (t->spec == NULL)
                return error_set(err, ERR_UNAVAILABLE, "the spec of task %s is not known yet", id);
        spec = running_spec(t);
        if (job_spec_has_sandbox(spec->job) && spec_plan(spec, &planned, err) < 0) {
                specs_put(
                        ts->config.specs, spec); /* an agent that was started anew makes it again */
                return -1;
        }
        like = *spec->job; /* borrowed, all of it */
        like.command = command;
        like.command_shell = false;
        if (user != NULL) {
                like.user = user;
                like.group = NULL;
        }
        r = spawn_plan_make(&like, ret, err);
        if (r == 0 && spec->plan.sandbox != NULL) {
                if (user == NULL)
                        task_identify(t, spec->job, ret);
                ret->sandbox = sandbox_ref(spec->plan.sandbox);
                ret->join = t->pidfd;
        }
        if (r == 0) {
                *ret_env = make_env(t, ret, spec->job->env_files, err);
                if (*ret_env == NULL) {
                        spawn_plan_done(ret);
                        r = -1;
                }
        }
        specs_put(ts->config.specs, spec);
        return r;
}
