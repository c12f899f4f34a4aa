/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "node/sockets.h"
#include "node/task.h"

/* What the files of the module task share; nobody else includes this. task.c says how they play
 * together. */

#define KEEPER_GONE ((pid_t) -1)

struct tasks {
        struct tasks_config config;
        struct task *by_id;
        struct task *by_pid; /* a pid may stand here twice: what has ended is not yet told */
        pid_t keeper;        /* 0: not begun; KEEPER_GONE */
        bool halting;
        int witness; /* borrowed; -1: none */
        struct sockets *sockets;
        uint64_t seed;
        uv_idle_t spawner; /* active while the queue is not empty */
        struct task *spawn_first, **spawn_last;
        struct task **spawn_urgent; /* behind those of them that go first */
        struct task *changed_first, **changed_last;
        struct buffer last_reports; /* see task.h */
        size_t processes;
        bool halts_in_order; /* while it halts: some are not told yet, since others come first */
        unsigned handles;
        struct remains *remains; /* of runs that are over */
        uv_timer_t reaper;       /* looks after them; active while there are some */
        uv_timer_t watcher; /* looks at the limits of task-watch.c; active while there are some */
        struct pending *dossiers; /* that are not written yet; NULL: they are written at once */
        bool any_lapsed;          /* a singleton may wait for the server's word */
        uv_timer_t lease;         /* when the next lease may come to its end */
};

/* ---- task.c */

/* Handles one event. Returns false if nothing happened, because it could not be written down. May
 * free @t (if it is to be forgotten and has ended). */
bool task_apply(struct task *t, struct task_event *event);

/* Begins what waits for the next boot, unless the node goes down: the boot that follows `down`; or
 * an earlier agent was killed while the node went down and that was called off since, then each
 * task begins when its last run is over. */
void task_take_up_again(struct task *t);

/* A task for a slot, known by its id from now on. */
struct task *task_add(struct tasks *ts, struct table_slot *slot);

/* Its run is begun in this turn or the next; what the spawner does until tasks_begin() waits. */
void task_enqueue_spawn(struct task *t);
void tasks_start_spawner(struct tasks *ts);

/* The variables of a run, beside those of its spec: heap strings, ended by NULL. */
#define RUN_ENV_MAX (7 + JOB_PORTS_MAX)
void task_make_run_env(
        const struct task *t, const struct task_machine *m, char *env[RUN_ENV_MAX + 1]);

/* What the command and the environment of its spec may name. Borrowed from both. */
struct variables task_variables(const struct task *t, const struct task_machine *m);

/* Arms the timer for the machine's deadline. */
void task_set_timer(struct task *t, const struct task_machine *m);

/* ---- task-process.c: the process of a run */

/* The process @pid is there from now on. @pidfd: owned by the task; -1: none yet. */
void task_attach(struct task *t, pid_t pid, int pidfd);
void task_detach(struct task *t);

/* Opens a pidfd of the attached process, if it has none and the process is there still. */
void task_find_process(struct task *t);

/* Waits for the end of a process that is not our keeper's child. */
void task_watch_orphan(struct task *t);

/* The run ended, and nobody here can say how: the server is asked. */
void task_ask_witness(struct task *t);

/* Has the keeper hold the pidfd of a process that is not its child, until its end is written down.
 */
void task_put_witness(struct task *t);
void task_drop_witness(struct task *t);
void task_witness_name(char name[KEEPER_NAME_MAX], const char *id, uint64_t run);

/* ---- task-cgroup.c: all processes of a run together */

/* Makes the groups for a run that is about to begin. Returns 0; 1: somebody of an earlier run is
 * still there, the run begins when nobody is; or -1. */
int task_begin_cgroup(struct task *t, struct cgroup_birth *ret, struct error *err);

/* The run is over: kills whoever is left of it. */
void task_end_cgroup(struct task *t);
void task_pass_on_cgroup(struct task *t); /* its next run begins at once */

/* What the run has used goes into @event, and in @detail whether it ended for lack of memory, and
 * who was killed. */
#define TASK_DETAIL_MAX 120
void task_look_at_end(struct task *t, struct task_event *event, char detail[TASK_DETAIL_MAX]);

/* Where there are no cgroups: the leader of the run's process group has ended, kills the others. */
void task_kill_group(struct task *t);

/* Calls @each for processes of a run that have lost their parents, as far as their environment
 * shows it: where there are no cgroups. */
void tasks_each_orphan(struct tasks *ts, const char *id, uint64_t run,
        void (*each)(void *data, pid_t pid), void *data);

/* Kills all processes of the run. */
void task_kill(struct task *t);

/* A run that began with another version of the spec gets the limits of this one. */
void task_change_limits(struct task *t);

/* The task is forgotten; what is left of its processes is not. */
void task_leave_remains(struct task *t);

/* Ends the groups in which no run is that is known here. */
void tasks_sweep_cgroups(struct tasks *ts);

/* ---- task-watch.c: limits that the agent looks after itself */

/* A run has begun, or its limits have changed: it may have to be watched. */
void task_watch(struct task *t);
void tasks_watch_init(struct tasks *ts);

/* ---- task-daemon.c: programs that fork themselves away, and files with a pid */

/* After every change of the machine. */
void task_daemon_follow(struct task *t);
void task_daemon_free(struct task *t); /* the run goes on without us */

/* A run is to begin: takes a process over that is there already, if the spec says so and there is
 * one. */
bool task_take_over(struct task *t);

/* The run record of what is the run's process now, which need not be that of the command. */
struct table_run task_main_record(const struct task *t);

/* To the process group of the run; of a daemon to its process, or to all there are of it. */
void task_signal(struct task *t, const struct task_machine *m, int signal);

/* The file of `pid_file`. A run whose file cannot be written has failed. */
void task_write_pid_file(struct task *t);

/* Removes the file of the run that @run tells of, if it names @pid. */
void task_remove_pid_file(struct task *t, const struct task_machine *run, pid_t pid);

/* ---- task-sandbox.c */

struct task_extras;

/* Puts a dynamic user into the plan of a run, or of what runs beside it. */
void task_identify(struct task *t, const struct job_spec *spec, struct spawn_plan *plan);

/* What a run needs for the sandbox of its plan. The caller closes ret->user_namespace (-1: none).
 */
int task_begin_sandbox(struct task *t, const struct spawn_plan *plan,
        const struct task_extras *extras, struct sandbox_run *ret, struct error *err);

/* The signal that has the effect of @signal on the run's process. */
int task_heard_signal(const struct task *t, int signal);

/* ---- task-streams.c: FIFOs and what is captured from them */

/* Opens the FIFOs if they are not open, has the keeper hold them, begins to capture. */
int task_open_streams(struct task *t, struct error *err);

/* Whether enough descriptors are left for one more process. */
int task_check_spare(const struct task *t, struct error *err);

/* Stops to capture from empty FIFOs and lets the keeper close them; FIFOs that hold bytes (a full
 * disk) stay as they are. */
void task_close_streams(struct task *t);

/* What the streams have by now goes to the log daemon if the job says so. @over: the run is over.
 */
void task_forward(const struct task *t, bool over);

/* Takes what is in the FIFOs now. */
void task_drain_streams(struct task *t);

/* The limits of the task's spec apply from now on. */
void task_configure_streams(struct task *t);

void task_remove_fifos(struct task *t);
char *task_fifo_path(const struct task *t, enum task_stream stream);
void task_deposit_name(char name[KEEPER_NAME_MAX], const char *id);

/* ---- task-health.c: whether a run is ready and well */

#define TASK_EXTRA_ENV 8

/* What a run is given beside what every run is. Zeroed to begin with. */
struct task_extras {
        char *env[TASK_EXTRA_ENV]; /* heap strings */
        size_t env_len;
        struct spawn_pass pass[SPAWN_PASS_MAX];
        size_t pass_len;
        char *notify;     /* path of the socket of sd_notify(3), if it is a file; a heap string */
        char *listen_pid; /* in one of env, see spawn.h; NULL: none */
        int ready_fd;     /* of the pipe's other end, which is closed when the process has it */
};

void task_extras_done(struct task_extras *x);

/* Before the process is begun: what it is to be heard by. */
int task_health_prepare(
        struct task *t, const struct task_machine *m, struct task_extras *x, struct error *err);

/* After every change of the machine. */
void task_health_follow(struct task *t);

/* Hears what the program has said last, before its end is handled. */
void task_health_drain(struct task *t);
void task_health_end(struct task *t);  /* the run is over, and that is written down */
void task_health_free(struct task *t); /* the run goes on without us */

/* A deposit "KIND/ID/RUN" from before our time. Returns false, and leaves @fd, if it is of no use.
 */
bool task_health_take(struct task *t, const char *kind, uint64_t run, int fd);

struct task_deposit {
        char name[KEEPER_NAME_MAX];
        int fd; /* borrowed */
};

/* What a new keeper shall hold; how many. */
size_t task_health_deposits(const struct task *t, struct task_deposit ret[2]);

/* ---- task-dossier.c */

/* Of the run of the committed machine, which has failed as @event says; @after: what was decided.
 * Before that is committed. */
void task_dossier_make(
        struct task *t, const struct task_machine *after, const struct task_event *event);

/* The current run is begun after all, although an earlier agent may have seen its start fail. */
void task_dossier_withdraw(const struct task *t);

/* ---- task-sockets.c: what a run finds open */

void tasks_sockets_init(struct tasks *ts);

/* After every change of the machine. */
void task_sockets_follow(struct task *t);
void task_sockets_free(struct task *t); /* the keeper holds on to all of it */

/* Before a run begins: all its sockets are open. The error names the one that cannot be opened. */
int task_sockets_open(struct task *t, struct error *err);
void task_sockets_prepare(struct task *t, struct task_extras *x);

/* Descriptors that the program gave away. What is kept is set to -1. */
void task_store_add(struct task *t, const char *name, int *fds, size_t len);
void task_store_remove(struct task *t, const char *name);

#define TASK_STORE_DEPOSIT "store/"

/* A deposit from before our time. Returns false, and leaves @fds, if it is of no use. */
bool task_store_take(struct task *t, uint64_t number, const int *fds, size_t len);

/* What a new keeper shall hold. The descriptors are borrowed; returns how many. */
size_t task_store_len(const struct task *t);
size_t task_store_deposit(
        const struct task *t, size_t i, char name[KEEPER_NAME_MAX], const int **ret_fds);

/* ---- task-lease.c */

/* Whether the lease of the task is over, or so near its end that nothing may be begun.
 * @ret_kill: when its group must be killed. */
bool task_lease_lapsed(const struct task *t, usec_t *ret_kill);

/* Whether the task, after a boot, waits until the server says again that it wants it here. */
bool task_boot_lapsed(const struct task *t);

/* Tells all singletons how they stand, and comes again when one of their leases may end. */
void tasks_check_leases(struct tasks *ts);
void tasks_watch_leases(struct tasks *ts); /* the same, after this turn of the loop */

/* ---- task-takeover.c */

/* What became of a run that was begun, or meant to be, before our time. */
void task_judge(struct task *t);
