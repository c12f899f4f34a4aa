/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that fork themselves away, and files with the number of a task's process.
 *
 * The command of a daemon ends with 0 and leaves processes behind; one of them is named by a file
 * that the program writes. Until it is found a timer looks at the file. What the file says is
 * believed only of a process of this run: of its control group, or, where there are none, a child
 * of the keeper (which gets what forks away) or one with the run's environment; one that began
 * after the run did, and that is no other task's. So neither an old file nor one that somebody else
 * has written makes a stranger the task's process.
 *
 * From then on the pid and the start time of the process are in the machine, which is committed in
 * one step: an agent that is killed looks for the file again, or knows the process. The keeper
 * reaps it as it does any other; if its parent is somebody else it is watched by pidfd.
 *
 * With `adopt` the file may name, before a run begins, a process that we have not begun. Then the
 * run is that process. It must be no younger than the file, and nobody of ours.
 *
 * The files of `pid_file` are written here, too. A file is removed only while it names the process
 * that has ended. */
#include "node/task-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/process.h"

#define LOOK_FIRST_MS 1
#define LOOK_MAX_MS   200
#define ORPHAN_AFTER  USEC_SEC       /* a parent that still lives is not waited for any longer */
#define NOBODY_AFTER  (USEC_SEC / 2) /* somebody may be on the way between two groups */
#define TICK_USEC     (USEC_SEC / 100)
#define ANCESTORS_MAX 64

struct task_launch {
        struct task *task; /* NULL: given up, closing */
        uv_timer_t timer;
        usec_t since;
        uint64_t delay_ms;
};

/* ---- files */

struct pid_file {
        pid_t pid;
        uid_t owner;
        usec_t written_wall;
};

/* A regular file with one number in it. It may be written at this moment: whatever else it is, it
 * is none yet. */
static bool read_pid_file(const char *path, struct pid_file *ret)
{
        AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        char text[32], *end;
        struct stat st;
        ssize_t n;
        long pid;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return false;
        n = read(fd, text, sizeof text - 1);
        if (n <= 0)
                return false;
        text[n] = '\0';
        pid = strtol(text, &end, 10);
        end += strspn(end, " \t\r\n");
        if (end == text || *end != '\0' || pid <= 1 || pid > INT32_MAX)
                return false;
        *ret = (struct pid_file){ (pid_t) pid, st.st_uid,
                (usec_t) st.st_mtim.tv_sec * USEC_SEC + (usec_t) st.st_mtim.tv_nsec / 1000 };
        return true;
}

/* The spec that the run was begun with; a new reference, or NULL. */
static struct spec *spec_of_run(struct task *t, const struct task_machine *m)
{
        struct spec *spec = NULL;

        if (t->spec != NULL && m->run_version == m->desire.version) {
                t->spec->refs++;
                return t->spec;
        }
        return specs_get(t->owner->config.specs, table_slot_job(t->slot), m->run_version, &spec,
                       NULL) == 0
                       ? spec
                       : NULL;
}

/* NULL if the run has no such file. */
static char *file_of_run(struct task *t, const struct task_machine *m, bool daemons_too)
{
        struct variables values = task_variables(t, m);
        struct spec *spec = spec_of_run(t, m);
        const char *path = NULL;
        char *expanded;

        if (spec != NULL)
                path = spec->job->pid_file != NULL ? spec->job->pid_file
                       : daemons_too               ? spec->job->daemon.pid_file
                                                   : NULL;
        expanded = path != NULL ? variables_expand(path, &values) : NULL;
        specs_put(t->owner->config.specs, spec);
        return expanded;
}

void task_write_pid_file(struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);
        AUTO(mem_freep) char *path = NULL;
        char text[24], message[TASK_REASON_MAX];
        struct error err = ERROR_INIT;
        struct pid_file there;

        if (t->spec == NULL || t->spec->job->pid_file == NULL || m->pid <= 0)
                return;
        path = file_of_run(t, m, false);
        if (path == NULL || (read_pid_file(path, &there) && there.pid == m->pid))
                return;
        snprintf(text, sizeof text, "%d\n", (int) m->pid);
        if (file_replace(path, text, strlen(text), 0644, false, &err) == 0)
                return;
        snprintf(message, sizeof message, "pid_file: %.*s", TASK_REASON_MAX - 16, err.message);
        task_apply(t, &(struct task_event){ .type = TASK_EV_UNFIT, .message = message });
}

void task_remove_pid_file(struct task *t, const struct task_machine *run, pid_t pid)
{
        AUTO(mem_freep) char *path = NULL;
        struct pid_file there;

        if (t->spec == NULL || pid <= 0 ||
                (t->spec->job->pid_file == NULL && t->spec->job->daemon.pid_file == NULL &&
                        run->run_version == run->desire.version))
                return;
        path = file_of_run(t, run, true);
        if (path != NULL && read_pid_file(path, &there) && there.pid == pid)
                unlink(path);
}

/* ---- the processes of a run */

struct search {
        pid_t pid;
        size_t found;
        int signal; /* 0: none */
};

static void search_one(void *data, pid_t pid)
{
        struct search *s = data;

        if (s->pid != 0 && pid != s->pid)
                return;
        s->found++;
        if (s->signal != 0)
                kill(pid, s->signal); /* it was in the group of the run a moment ago */
}

static void search_run(struct task *t, struct search *s)
{
        struct tasks *ts = t->owner;

        if (cgroups_tracked(ts->config.cgroups))
                cgroups_each_process(ts->config.cgroups, t->id, search_one, s);
        else
                tasks_each_orphan(ts, t->id, table_machine(t->slot)->runs, search_one, s);
}

static bool is_others(const struct task *t, pid_t pid)
{
        const struct task *other;

        HASH_FIND(hh_pid, t->owner->by_pid, &pid, sizeof pid, other);
        return other != NULL && other != t && other->pidfd >= 0;
}

static bool is_of_run(struct task *t, pid_t pid, const struct process_stat *st)
{
        struct search s = { .pid = pid };

        if (st->start_ticks < table_run_record(t->slot)->before_ns / 1000 / TICK_USEC ||
                is_others(t, pid) || pid == t->owner->keeper || pid == getpid())
                return false;
        if (!cgroups_tracked(t->owner->config.cgroups) && st->parent == t->owner->keeper)
                return true;
        if (!cgroups_tracked(t->owner->config.cgroups))
                return process_is_of_run(pid, t->id, table_machine(t->slot)->runs);
        search_run(t, &s);
        return s.found > 0;
}

static int signal_process(int pidfd, int signal)
{
        return (int) syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

void task_signal(struct task *t, const struct task_machine *m, int signal)
{
        struct search all = { .signal = signal };

        if (m->daemon == TASK_DAEMON_LEFT) {
                search_run(t, &all);
                return;
        }
        if (t->pidfd < 0)
                return;
        if (m->daemon == TASK_DAEMON_OWN || m->daemon == TASK_DAEMON_FOREIGN)
                signal_process(t->pidfd, signal);
        if ((m->daemon != TASK_DAEMON_OWN && m->daemon != TASK_DAEMON_FOREIGN) || signal == SIGKILL)
                process_signal_group(t->pidfd, m->pid, task_heard_signal(t, signal));
}

struct table_run task_main_record(const struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);
        struct table_run record = *table_run_record(t->slot);

        if (m->daemon_ticks == 0)
                return record;
        record.run = m->runs;
        record.pid = m->pid;
        record.before_ns = record.after_ns = m->daemon_ticks * TICK_USEC * 1000;
        if (m->daemon == TASK_DAEMON_FOREIGN)
                record.parent = 0;
        return record;
}

/* ---- looking for the process */

/* The process that began at @st is the run from now on. False: it is not there any more. */
static bool become(struct task *t, pid_t pid, const struct process_stat *st, bool foreign)
{
        AUTO(fd_closep) int pidfd = process_open(pid);
        struct process_stat again;

        if (pidfd < 0 || !process_read_stat(pid, &again) || again.state == 'Z' ||
                again.start_ticks != st->start_ticks)
                return false;
        task_detach(t);
        task_attach(t, pid, take_fd(pidfd));
        if (foreign || t->owner->keeper == KEEPER_GONE)
                task_watch_orphan(t);
        if (foreign)
                task_put_witness(t);
        task_apply(t, &(struct task_event){ .type = TASK_EV_DAEMON,
                              .pid = pid,
                              .ticks = st->start_ticks,
                              .foreign = foreign });
        return true;
}

static bool find_main(struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);
        AUTO(mem_freep) char *path = file_of_run(t, m, true);
        struct process_stat st;
        struct pid_file file;
        bool ours;

        if (path == NULL || !read_pid_file(path, &file) || !process_read_stat(file.pid, &st) ||
                st.state == 'Z' || !is_of_run(t, file.pid, &st))
                return false;
        ours = st.parent == t->owner->keeper;
        if (!ours && time_mono() - t->launch->since < ORPHAN_AFTER)
                return false; /* who forks twice is a child of the keeper in a moment */
        return become(t, file.pid, &st, !ours);
}

/* What the command left behind is gone, or has to go. */
static bool find_end(struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);
        struct search s = { 0 };

        if (time_mono() - t->launch->since < NOBODY_AFTER && m->state == TASK_RUNNING)
                return false;
        search_run(t, &s);
        if (s.found > 0)
                return false;
        if (m->state == TASK_RUNNING && !cgroups_tracked(t->owner->config.cgroups))
                return false; /* somebody may be there whom we cannot recognise */
        if (m->state == TASK_RUNNING)
                task_apply(t, &(struct task_event){ .type = TASK_EV_UNFIT,
                                      .message = "the command ended and left no process behind "
                                                 "(daemon)" });
        return task_apply(
                t, &(struct task_event){ .type = TASK_EV_EXITED, .known = true, .whole = true });
}

static void on_look(uv_timer_t *timer)
{
        struct task_launch *d = timer->data;

        if (d->task == NULL || d->task->spec == NULL || find_main(d->task) || find_end(d->task))
                return;
        d->delay_ms = MIN(d->delay_ms * 2, (uint64_t) LOOK_MAX_MS);
        uv_timer_start(&d->timer, on_look, d->delay_ms, 0);
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void task_daemon_free(struct task *t)
{
        struct task_launch *d = take_ptr(t->launch);

        if (d == NULL)
                return;
        d->task = NULL;
        uv_close((uv_handle_t *) &d->timer, on_closed);
}

void task_daemon_follow(struct task *t)
{
        if (table_machine(t->slot)->daemon != TASK_DAEMON_LEFT) {
                task_daemon_free(t);
                return;
        }
        if (t->launch != NULL)
                return;
        t->launch = mem_alloc(sizeof *t->launch);
        *t->launch =
                (struct task_launch){ .task = t, .since = time_mono(), .delay_ms = LOOK_FIRST_MS };
        uv_timer_init(t->owner->config.loop, &t->launch->timer);
        t->launch->timer.data = t->launch;
        uv_timer_start(&t->launch->timer, on_look, LOOK_FIRST_MS, 0);
}

/* ---- taking over what is there */

static usec_t began_wall(const struct process_stat *st)
{
        struct timespec boot;
        usec_t now;

        clock_gettime(CLOCK_BOOTTIME, &boot);
        now = (usec_t) boot.tv_sec * USEC_SEC + (usec_t) boot.tv_nsec / 1000;
        return time_wall() - (now - MIN(now, st->start_ticks * TICK_USEC));
}

/* Whether @ancestor is among the parents of @pid, or is it. */
static bool descends_from(pid_t pid, pid_t ancestor)
{
        struct process_stat st;

        for (int i = 0; i < ANCESTORS_MAX && pid > 0; i++) {
                if (pid == ancestor)
                        return true;
                pid = process_read_stat(pid, &st) ? st.parent : 0;
        }
        return false;
}

static bool owner_may_name(const struct task *t, const struct pid_file *file)
{
        const struct spawn_plan *plan;
        char path[32];
        struct stat st;

        if (file->owner == 0 || file->owner == geteuid())
                return true;
        snprintf(path, sizeof path, "/proc/%d", (int) file->pid);
        return spec_plan(t->spec, &plan, NULL) == 0 && stat(path, &st) == 0 &&
               st.st_uid == file->owner && st.st_uid == (plan->change_user ? plan->uid : geteuid());
}

/* Why the process may not be taken over; NULL: it may. */
static const char *objection(
        const struct task *t, const struct pid_file *file, const struct process_stat *st)
{
        pid_t keeper = t->owner->keeper;

        if (began_wall(st) > file->written_wall + USEC_SEC)
                return "it is younger than the file";
        if (st->parent == 2 || file->pid == 2)
                return "it is the kernel's";
        if (is_others(t, file->pid))
                return "it is another task's";
        if (descends_from(getpid(), file->pid) || (keeper > 0 && descends_from(file->pid, keeper)))
                return "it is part of Reeve or of a task";
        if (!owner_may_name(t, file))
                return "it is not the task's user who runs it";
        return NULL;
}

bool task_take_over(struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);
        AUTO(mem_freep) char *path = NULL;
        const char *why;
        struct process_stat st;
        struct pid_file file;

        if (!t->spec->job->daemon.adopt)
                return false;
        path = file_of_run(t, m, true);
        if (path == NULL || !read_pid_file(path, &file) || !process_read_stat(file.pid, &st) ||
                st.state == 'Z')
                return false;
        why = objection(t, &file, &st);
        if (why != NULL) {
                log_warning("task %s: process %d, which %s names, is not taken over: %s", t->id,
                        (int) file.pid, path, why);
                return false;
        }
        return become(t, file.pid, &st, true);
}
