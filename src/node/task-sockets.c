/* SPDX-License-Identifier: BSD-3-Clause */
/* What a run finds open: the sockets held for its job, and the descriptors that runs before it gave
 * away to be kept (FDSTORE=1, sd_notify(3)).
 *
 * task_sockets_follow() is called whenever the machine has changed, and brings the task's
 * references in line with it: it has those of the newest spec as long as it may run, so they are
 * opened when the task is first wanted, and what an update does not name any more is closed then,
 * while the old process has its own descriptors still. A socket that cannot be opened keeps nobody
 * from anything until a run is to begin; that then waits. A task that waits on demand is told.
 *
 * Stored descriptors belong to the task: the keeper holds each as `store/ID/NUMBER` beside a memory
 * file with its name, which may be longer than that of a deposit. They go when the task ends, and
 * their number is limited by `fd_store`.
 *
 * A task whose spec has neither has no struct task_sockets at all. */
#include "node/task-internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define FIRST_FD  3    /* SD_LISTEN_FDS_START */
#define RETRY_MS  2000 /* to open what a task that waits on demand needs */
#define FDS_KEPT  2    /* of a stored descriptor: itself, and the file with its name */
#define NAME_ROOM 64

struct stored {
        unsigned number;
        int fds[FDS_KEPT];
        char name[NAME_ROOM];
};

/* Tries again; it goes when the loop has let go of it. */
struct retry {
        struct task *task;
        uv_timer_t timer;
};

struct task_sockets {
        const struct spec *spec;                   /* whose sockets these are; only compared */
        struct held_socket *held[JOB_SOCKETS_MAX]; /* NULL: could not be opened */
        size_t held_len;
        bool complete;
        bool watched;
        struct retry *retry;
        struct stored *stored; /* by number */
        size_t stored_len;
};

static struct task_sockets *get(struct task *t)
{
        if (t->sockets == NULL)
                t->sockets = mem_alloc(sizeof *t->sockets);
        return t->sockets;
}

/* ---- References */

static void set_watched(struct task *t, bool watched)
{
        struct task_sockets *x = t->sockets;

        if (x->watched == watched)
                return;
        x->watched = watched;
        for (size_t i = 0; i < x->held_len; i++)
                if (x->held[i] != NULL)
                        (watched ? sockets_watch : sockets_unwatch)(t->owner->sockets, x->held[i]);
}

static void put_all(struct task *t, struct held_socket **held, size_t len, bool keep)
{
        for (size_t i = 0; i < len; i++)
                if (held[i] != NULL)
                        sockets_put(t->owner->sockets, held[i], keep);
}

static struct socket_owner owner_of(struct task *t)
{
        const struct spawn_plan *plan;
        struct error err;

        if (spec_plan(t->spec, &plan, &err) < 0 || !plan->change_user)
                return (struct socket_owner){ 0 };
        return (struct socket_owner){ true, plan->uid, plan->gid };
}

/* References to all that the spec names; what it does not name any more is given back. Returns -1
 * with the first error if one could not be opened. */
static int take_all(struct task *t, struct error *err)
{
        const struct job_spec *spec = t->spec->job;
        struct task_sockets *x = get(t), before = *x;
        struct socket_owner owner = { 0 };
        struct error why;

        if (x->spec == t->spec && x->complete)
                return 0;
        set_watched(t, false);
        if (spec->sockets_len > 0)
                owner = owner_of(t);
        x->spec = t->spec;
        x->complete = true;
        x->held_len = spec->sockets_len;
        for (size_t i = 0; i < spec->sockets_len; i++) {
                x->held[i] = NULL;
                if (sockets_get(t->owner->sockets, table_slot_job(t->slot), &spec->sockets[i],
                            &owner, &x->held[i], x->complete ? err : &why) < 0)
                        x->complete = false;
        }
        put_all(t, before.held, before.held_len, false);
        return x->complete ? 0 : -1;
}

static void stop_retrying(struct task_sockets *x);

static void release(struct task *t, bool keep)
{
        struct task_sockets *x = t->sockets;

        set_watched(t, false);
        put_all(t, x->held, x->held_len, keep);
        x->held_len = 0;
        x->spec = NULL;
        x->complete = false;
        stop_retrying(x);
}

int task_sockets_open(struct task *t, struct error *err)
{
        return t->spec->job->sockets_len > 0 ? take_all(t, err) : 0;
}

/* ---- On demand */

static void on_retry_closed(uv_handle_t *handle)
{
        free(handle->data);
}

static void stop_retrying(struct task_sockets *x)
{
        struct retry *r = take_ptr(x->retry);

        if (r != NULL)
                uv_close((uv_handle_t *) &r->timer, on_retry_closed);
}

static void retry_in(struct task *t, uint64_t delay);

static void on_retry(uv_timer_t *timer)
{
        struct task *t = ((struct retry *) timer->data)->task;
        struct error err = ERROR_INIT;
        bool open;

        stop_retrying(t->sockets);
        if (!table_machine(t->slot)->idle)
                return;
        open = take_all(t, &err) == 0;
        if (!open)
                retry_in(t, RETRY_MS);
        task_apply(t, &(struct task_event){
                              .type = TASK_EV_LISTENS, .message = open ? NULL : err.message });
}

static void retry_in(struct task *t, uint64_t delay)
{
        struct task_sockets *x = t->sockets;
        struct retry *r;

        if (x->retry != NULL)
                return;
        r = x->retry = mem_alloc(sizeof *r);
        r->task = t;
        uv_timer_init(t->owner->config.loop, &r->timer);
        r->timer.data = r;
        uv_timer_start(&r->timer, on_retry, delay, 0);
}

static void follow_idle(struct task *t, const struct task_machine *m, bool open)
{
        set_watched(t, open);
        if (!open || !task_is_ready(m))
                retry_in(t, 0); /* not from within what has just happened */
}

static bool has(const struct task *t, const struct held_socket *h)
{
        for (size_t i = 0; t->sockets != NULL && i < t->sockets->held_len; i++)
                if (t->sockets->held[i] == h)
                        return true;
        return false;
}

static void on_wanted(void *data, const struct held_socket *h)
{
        struct tasks *ts = data;
        struct task *t, *next;

        HASH_ITER (hh, ts->by_id, t, next)
                if (has(t, h) && table_machine(t->slot)->idle)
                        task_apply(t, &(struct task_event){ .type = TASK_EV_DEMAND });
}

/* ---- In line with the machine */

static bool may_run(const struct task_machine *m)
{
        return m->pid > 0 || m->state == TASK_STARTING ||
               (m->desire.run && !m->halted && m->state != TASK_ENDED);
}

static void drop_stored(struct task *t);

void task_sockets_follow(struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);
        struct error err;
        bool open;

        if (t->spec == NULL ||
                (t->sockets == NULL && (t->spec->job->sockets_len == 0 || !may_run(m))))
                return;
        if (!may_run(m)) {
                release(t, false);
                drop_stored(t);
                task_sockets_free(t);
                return;
        }
        open = take_all(t, &err) == 0;
        if (m->idle)
                follow_idle(t, m, open && t->sockets->held_len > 0);
        else
                set_watched(t, false);
}

void task_sockets_free(struct task *t)
{
        struct task_sockets *x = t->sockets;

        if (x == NULL)
                return;
        release(t, true);
        for (size_t i = 0; i < x->stored_len; i++)
                for (int k = 0; k < FDS_KEPT; k++)
                        close(x->stored[i].fds[k]);
        free(x->stored);
        free(take_ptr(t->sockets));
}

/* ---- What the run is given */

static void pass(struct task_extras *x, int fd, size_t *n)
{
        x->pass[x->pass_len++] = (struct spawn_pass){ fd, FIRST_FD + (int) (*n)++ };
}

void task_sockets_prepare(struct task *t, struct task_extras *x)
{
        const struct job_spec *spec = t->spec->job;
        const struct task_sockets *held = t->sockets;
        struct buffer names = { 0 };
        size_t n = 0;

        if (held == NULL || held->held_len + held->stored_len == 0)
                return;
        buffer_puts(&names, "LISTEN_FDNAMES=");
        for (size_t i = 0; i < held->held_len; i++) {
                buffer_printf(&names, "%s%s", n > 0 ? ":" : "", spec->sockets[i].name);
                pass(x, held_socket_fd(held->held[i]), &n);
        }
        for (size_t i = 0; i < held->stored_len; i++) {
                buffer_printf(&names, "%s%s", n > 0 ? ":" : "", held->stored[i].name);
                pass(x, held->stored[i].fds[0], &n);
        }
        x->env[x->env_len++] = buffer_take(&names);
        x->env[x->env_len++] = mem_printf("LISTEN_FDS=%zu", n);
        x->env[x->env_len++] = mem_printf("LISTEN_PID=%0*d", SPAWN_PID_DIGITS, 0);
        x->listen_pid = strchr(x->env[x->env_len - 1], '=') + 1;
}

/* ---- Stored descriptors */

static void deposit_name(char name[KEEPER_NAME_MAX], const struct task *t, unsigned number)
{
        snprintf(name, KEEPER_NAME_MAX, TASK_STORE_DEPOSIT "%s/%u", t->id, number);
}

static void drop_one(struct task *t, size_t i)
{
        struct task_sockets *x = t->sockets;
        char name[KEEPER_NAME_MAX];

        deposit_name(name, t, x->stored[i].number);
        keeper_client_drop(t->owner->config.keeper, name);
        for (int k = 0; k < FDS_KEPT; k++)
                close(x->stored[i].fds[k]);
        x->stored_len--;
        memmove(&x->stored[i], &x->stored[i + 1], (x->stored_len - i) * sizeof *x->stored);
}

static void drop_stored(struct task *t)
{
        while (t->sockets->stored_len > 0)
                drop_one(t, t->sockets->stored_len - 1);
}

void task_store_remove(struct task *t, const char *name)
{
        for (size_t i = t->sockets != NULL ? t->sockets->stored_len : 0; i-- > 0;)
                if (strcmp(t->sockets->stored[i].name, name) == 0)
                        drop_one(t, i);
}

/* A place for one more, in the order of the numbers. */
static struct stored *insert(struct task_sockets *x, unsigned number)
{
        size_t at = 0;

        while (at < x->stored_len && x->stored[at].number < number)
                at++;
        x->stored = mem_resize(x->stored, x->stored_len + 1, sizeof *x->stored);
        memmove(&x->stored[at + 1], &x->stored[at], (x->stored_len - at) * sizeof *x->stored);
        x->stored_len++;
        x->stored[at] = (struct stored){ .number = number };
        return &x->stored[at];
}

static bool is_stored(const struct task_sockets *x, int fd)
{
        pid_t own = getpid();

        for (size_t i = 0; i < x->stored_len; i++)
                if (syscall(SYS_kcmp, own, own, KCMP_FILE, fd, x->stored[i].fds[0]) == 0)
                        return true;
        return false;
}

static int make_name_file(const char *name)
{
        int fd = memfd_create("reeve-stored", MFD_CLOEXEC);
        size_t len = strlen(name);

        if (fd >= 0 && pwrite(fd, name, len, 0) != (ssize_t) len)
                close(take_fd(fd));
        return fd;
}

static void store_one(struct task *t, const char *name, int *fd)
{
        struct task_sockets *x = get(t);
        char deposit[KEEPER_NAME_MAX];
        unsigned number = x->stored_len > 0 ? x->stored[x->stored_len - 1].number + 1 : 0;
        struct stored *s;
        int file;

        if (is_stored(x, *fd))
                return;
        if (x->stored_len >= t->spec->job->fd_store) {
                log_warning("task %s: FDSTORE=1: a descriptor \"%s\" is not kept, it has %zu "
                            "already (fd_store)",
                        t->id, name, x->stored_len);
                return;
        }
        file = make_name_file(name);
        if (file < 0) {
                log_error("task %s: FDSTORE=1: %s", t->id, strerror(errno));
                return;
        }
        s = insert(x, number);
        s->fds[0] = *fd;
        s->fds[1] = file;
        *fd = -1;
        snprintf(s->name, sizeof s->name, "%s", name);
        deposit_name(deposit, t, number);
        keeper_client_put(t->owner->config.keeper, deposit, s->fds, FDS_KEPT);
}

void task_store_add(struct task *t, const char *name, int *fds, size_t len)
{
        for (size_t i = 0; i < len && t->spec != NULL; i++)
                store_one(t, name, &fds[i]);
}

bool task_store_take(struct task *t, uint64_t number, const int *fds, size_t len)
{
        struct stored *s;
        ssize_t n;

        if (len != FDS_KEPT || number > UINT32_MAX)
                return false;
        s = insert(get(t), (unsigned) number);
        memcpy(s->fds, fds, sizeof s->fds);
        n = pread(fds[1], s->name, sizeof s->name - 1, 0);
        if (n <= 0)
                snprintf(s->name, sizeof s->name, "stored");
        return true;
}

size_t task_store_len(const struct task *t)
{
        return t->sockets != NULL ? t->sockets->stored_len : 0;
}

size_t task_store_deposit(
        const struct task *t, size_t i, char name[KEEPER_NAME_MAX], const int **ret_fds)
{
        deposit_name(name, t, t->sockets->stored[i].number);
        *ret_fds = t->sockets->stored[i].fds;
        return FDS_KEPT;
}

/* ---- What only a process has still */

static bool is_the_one(int fd, const struct sockaddr_storage *address, socklen_t len, int type)
{
        struct sockaddr_storage own = { 0 };
        socklen_t own_len = sizeof own, size = sizeof(int);
        int own_type = -1, listens = 0;

        if (getsockname(fd, (struct sockaddr *) &own, &own_len) < 0 || own_len != len ||
                memcmp(&own, address, len) != 0 ||
                getsockopt(fd, SOL_SOCKET, SO_TYPE, &own_type, &size) < 0 || own_type != type)
                return false;
        size = sizeof listens; /* not one of the connections that came over it */
        return type != SOCK_STREAM ||
               (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens);
}

/* pidfd_getfd(2): Linux 5.6, and where we may trace the process. */
static int fetch(
        const struct task *t, const struct sockaddr_storage *address, socklen_t len, int type)
{
        char path[40];
        DIR *directory;
        int fd = -1;

        snprintf(path, sizeof path, "/proc/%d/fd", (int) t->pid);
        directory = opendir(path);
        if (directory == NULL)
                return -1;
        for (const struct dirent *e; fd < 0 && (e = readdir(directory)) != NULL;) {
                fd = e->d_name[0] == '.'
                             ? -1
                             : (int) syscall(SYS_pidfd_getfd, t->pidfd, atoi(e->d_name), 0);
                if (fd >= 0 && !is_the_one(fd, address, len, type))
                        close(take_fd(fd));
        }
        closedir(directory);
        return fd;
}

static int find(void *data, const char *job, const struct sockaddr_storage *address, socklen_t len,
        int type)
{
        const struct tasks *ts = data;
        int fd = -1;

        for (struct task *t = ts->by_id; t != NULL && fd < 0; t = t->hh.next) {
                if (t->pid == 0 || strcmp(table_slot_job(t->slot), job) != 0)
                        continue;
                task_find_process(t);
                if (t->pidfd >= 0)
                        fd = fetch(t, address, len, type);
        }
        return fd;
}

void tasks_sockets_init(struct tasks *ts)
{
        ts->sockets = sockets_new(&(struct sockets_config){
                .loop = ts->config.loop,
                .keeper = ts->config.keeper,
                .on_wanted = on_wanted,
                .find = find,
                .data = ts,
        });
}
