/* SPDX-License-Identifier: BSD-3-Clause */
/* What a run needs for its sandbox that its spec alone does not say: whose uid, by which socket.
 *
 * A dynamic uid belongs to the task, not to the run. It stands in the task's run record from before
 * its first process until the task is forgotten here, so whoever of us is killed, no other task
 * gets it meanwhile. It is looked for from a place that the names of node and task give: a task
 * that comes back mostly has the number it had, and tasks of different nodes that share a machine
 * mostly have different ones. The range is one that neither distributions nor containers use.
 *
 * The first process of a namespace of processes gets no signal that it has no handler for, but KILL
 * and STOP (pid_namespaces(7)): `sleep` would not end at TERM, and everybody would wait for the
 * grace period. So such a signal, when it would have ended the process elsewhere, is sent as KILL.
 */
#include "node/task-internal.h"

#include <signal.h>
#include <unistd.h>

#include "base/file.h"
#include "base/macros.h"
#include "base/mem.h"
#include "node/process.h"

#define DYNAMIC_UID_FIRST 0x70000000u
#define DYNAMIC_UIDS      131072u /* twice as many as there may be tasks */

static uint32_t hash_text(uint32_t hash, const char *text)
{
        for (; *text != '\0'; text++) /* FNV-1a */
                hash = (hash ^ (unsigned char) *text) * 16777619u;
        return hash;
}

static bool is_taken(const struct tasks *ts, uint32_t uid)
{
        const struct task *t;

        for (t = ts->by_id; t != NULL; t = t->hh.next)
                if (table_run_record(t->slot)->dynamic_uid == uid)
                        return true;
        return false;
}

/* The task's own, which is chosen now if it has none. */
static uid_t dynamic_uid(struct task *t)
{
        struct table_run *record = table_run_record(t->slot);
        uint32_t place = hash_text(hash_text(2166136261u, t->owner->config.node), t->id);
        uint32_t uid = record->dynamic_uid;

        for (; uid == 0 || (record->dynamic_uid == 0 && is_taken(t->owner, uid)); place++)
                uid = DYNAMIC_UID_FIRST + place % DYNAMIC_UIDS;
        __atomic_store_n(&record->dynamic_uid, uid, __ATOMIC_RELEASE);
        return uid;
}

void task_identify(struct task *t, const struct job_spec *spec, struct spawn_plan *plan)
{
        if (!spec->dynamic_user)
                return;
        plan->change_user = true;
        plan->uid = dynamic_uid(t);
        plan->gid = (gid_t) plan->uid;
}

int task_begin_sandbox(struct task *t, const struct spawn_plan *plan,
        const struct task_extras *extras, struct sandbox_run *ret, struct error *err)
{
        const struct job_spec *spec = t->spec->job;
        uid_t uid = plan->change_user ? plan->uid : geteuid();
        gid_t gid = plan->change_user ? plan->gid : getegid();

        *ret = (struct sandbox_run){ .user_namespace = -1 };
        if (extras->notify != NULL && sandbox_has_paths(plan->sandbox)) {
                ret->notify = extras->notify;
                ret->notify_inside = spec->sandbox.chroot != NULL ? SANDBOX_NOTIFY : extras->notify;
                if (spec->sandbox.chroot != NULL && sandbox_make_notify(plan->sandbox, err) < 0)
                        return -1;
        }
        return sandbox_open_user_namespace(plan->sandbox, uid, gid, &ret->user_namespace, err);
}

int task_heard_signal(const struct task *t, int signal)
{
        return table_run_record(t->slot)->first_of_pids != 0 && process_would_end(t->pid, signal)
                       ? SIGKILL
                       : signal;
}
