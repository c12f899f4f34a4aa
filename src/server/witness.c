/* SPDX-License-Identifier: BSD-3-Clause */
/* Witness: what the server does so that not even the death of keeper and agent together loses
 * anything.
 *
 * A task's FIFOs keep their bytes only while somebody has them open, and on Linux 6.15 and later
 * its exit status can be read through a pidfd that was opened while it lived. Keeper and agent hold
 * both; when they die together, the task itself is the only one left, and it may end before the
 * next agent begins. So the server, as the third program on the machine, holds pidfd and FIFOs of
 * every running task, reads nothing from them, and lets go when the agent says that the run is
 * over.
 *
 * A process hands them over itself, before it executes the task's program (keeper/protocol.h): what
 * waits in our socket is ours already. What runs already when the agent connects is found by its
 * report, and its descriptors are opened by pid and path.
 *
 * When there is no link and the keeper is dead too (found twice, 50 ms apart, since the agent
 * usually starts a new one itself), the server starts a new keeper, deposits what it holds under
 * the names that the agent knows, and is adopted as a program that runs already. Should the agent
 * do the same at the same moment, the lock decides between the two keepers.
 *
 * When the agent is back, the server tells it with the welcome how those of its runs ended whose
 * pidfd knows it: a new keeper that the agent started, or that was handed only a part before the
 * agent was killed, too, lacks what only we hold.
 *
 * Listening sockets that are held for jobs the agent gives us as it gives them to the keeper, under
 * the same names (node/sockets.c).
 *
 * That the process found under a reported pid is still the task is known from its start time: a
 * successor of the same pid would be younger than the run. The opening is done in portions, so that
 * a thousand tasks do not hold up everybody else. A server without a node of its own on the machine
 * holds nothing, and looks after its keeper alone. Without a keeper (REEVE_KEEPER_FD is not set)
 * all this is off. */
#include "server/witness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pidfd.h"
#include "base/process.h"
#include "base/text.h"
#include "keeper/launch.h"

#define OPEN_PORTION     64
#define OPEN_PAUSE_MSEC  1
#define CHECK_FIRST_MSEC 50
#define CHECK_LATER_MSEC 500
#define DEAD_CHECKS      2
/* Between the clock that counts start times (ticks since boot) and the report's: rounding, and a
 * clock that was just set. */
#define START_SLACK USEC_SEC

struct witnessed {
        char *id;
        pid_t pid;
        int64_t run;
        usec_t started_wall;
        int pidfd;
        int fifos[2];
        bool waiting; /* to be opened */
        UT_hash_handle hh;
};

/* What the agent has the keeper hold. */
struct kept {
        int fd;
        UT_hash_handle hh;
        char name[KEEPER_NAME_MAX];
};

/* A connection over which processes hand over: an agent's. */
struct speaker {
        struct witness *witness;
        int fd;
        struct speaker *next, *prev;
};

struct witness {
        struct server *server;
        bool on;
        struct witnessed *tasks;
        struct kept *kept;
        size_t waiting;
        int listen_fd; /* -1: nobody can hand over */
        uv_poll_t listen_poll;
        struct speaker *speakers;
        uv_timer_t open_timer, check_timer;
        unsigned handles;
        unsigned found_dead; /* in a row */
        int last_descriptor; /* those above are not for us */
        bool limit_told;
};

/* Pids of another machine's tasks mean nothing here. */
static bool is_own(const struct witness *w, const char *node)
{
        const char *own = w->server->options.node;

        return w->on && own != NULL && strcmp(own, node) == 0;
}

/* ---- Holding */

static void let_go(struct witnessed *t)
{
        fd_closep(&t->pidfd);
        fd_closep(&t->fifos[0]);
        fd_closep(&t->fifos[1]);
        t->pidfd = t->fifos[0] = t->fifos[1] = -1;
}

static void task_free(struct witness *w, struct witnessed *t)
{
        HASH_DEL(w->tasks, t);
        w->waiting -= t->waiting;
        let_go(t);
        free(t->id);
        free(t);
}

/* Field 22 of /proc/PID/stat (proc(5)) as wall clock; 0 if there is no such process. */
static usec_t start_of(pid_t pid)
{
        struct process_stat st;

        if (!process_read_stat(pid, &st))
                return 0;
        return time_wall() - time_mono() +
               st.start_ticks * USEC_SEC / (usec_t) sysconf(_SC_CLK_TCK);
}

static int open_fifo(const struct witness *w, const struct witnessed *t, const char *name)
{
        AUTO(mem_freep)
        char *path = mem_printf("%s/node/fifos/%s.%s", w->server->options.data, t->id, name);
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;

        if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))) {
                close(fd);
                return -1;
        }
        return fd;
}

/* Who cannot be a witness of all is one of some: clients, links and the store come first. */
static void tell_limit(struct witness *w)
{
        if (!w->limit_told)
                log_warning("too few descriptors (%d) to hold those of all tasks: if keeper and "
                            "agent are killed together, "
                            "exit statuses and log bytes may be lost; raise the hard limit "
                            "(ulimit -Hn)",
                        w->last_descriptor);
        w->limit_told = true;
}

static void hold(struct witness *w, struct witnessed *t)
{
        usec_t start;

        t->pidfd = process_open(t->pid);
        if (t->pidfd < 0)
                return;
        if (t->pidfd >= w->last_descriptor) {
                let_go(t);
                tell_limit(w);
                return;
        }
        start = start_of(t->pid);
        if (start == 0 || start > t->started_wall + START_SLACK) {
                let_go(t); /* it has ended meanwhile; the agent will say so */
                return;
        }
        t->fifos[0] = open_fifo(w, t, "stdout");
        t->fifos[1] = open_fifo(w, t, "stderr");
}

static void on_open(uv_timer_t *timer)
{
        struct witness *w = timer->data;
        struct witnessed *t, *next;
        size_t portion = OPEN_PORTION;

        HASH_ITER (hh, w->tasks, t, next) {
                if (portion == 0 || w->waiting == 0)
                        break;
                if (!t->waiting)
                        continue;
                t->waiting = false;
                w->waiting--;
                portion--;
                hold(w, t);
        }
        if (w->waiting > 0)
                uv_timer_start(timer, on_open, OPEN_PAUSE_MSEC, 0);
}

static struct witnessed *task_new(struct witness *w, const char *id, int64_t run)
{
        struct witnessed *t = mem_alloc(sizeof *t);

        t->id = mem_strdup(id);
        t->run = run;
        t->pidfd = t->fifos[0] = t->fifos[1] = -1;
        HASH_ADD_KEYPTR(hh, w->tasks, t->id, strlen(t->id), t);
        return t;
}

/* A report may be older than what its process has handed over meanwhile, never the other way round.
 */
static void take_report(struct witness *w, const struct task_status *s)
{
        bool runs = s->pid > 0 && s->pid <= INT32_MAX && s->started_at != 0;
        struct witnessed *t;

        HASH_FIND_STR(w->tasks, s->id, t);
        if (t != NULL &&
                (t->run > s->runs || (t->run == s->runs && (runs || s->state == TASK_STARTING))))
                return;
        if (t != NULL)
                task_free(w, t);
        if (!runs || strchr(s->id, '/') != NULL)
                return;
        t = task_new(w, s->id, s->runs);
        t->pid = (pid_t) s->pid;
        t->started_wall = s->started_at;
        t->waiting = true;
        w->waiting++;
}

/* All that are still there are in @reports, so what is neither there nor new is forgotten. */
static void forget_others(struct witness *w, const struct cluster_report *reports, size_t len)
{
        struct witnessed *kept = NULL, *t, *next;

        for (size_t i = 0; i < len; i++) {
                HASH_FIND_STR(w->tasks, reports[i].status.id, t);
                if (t == NULL)
                        continue;
                HASH_DEL(w->tasks, t);
                HASH_ADD_KEYPTR(hh, kept, t->id, strlen(t->id), t);
        }
        HASH_ITER (hh, w->tasks, t, next)
                task_free(w, t);
        w->tasks = kept;
}

static void listen_up(struct witness *w);

void witness_reports(struct witness *w, const char *node, const struct cluster_report *reports,
        size_t len, bool all)
{
        if (!is_own(w, node))
                return;
        listen_up(w);
        if (all) {
                uv_timer_stop(&w->check_timer);
                forget_others(w, reports, len);
        }
        for (size_t i = 0; i < len; i++)
                take_report(w, &reports[i].status);
        if (w->waiting > 0 && !uv_is_active((uv_handle_t *) &w->open_timer))
                uv_timer_start(&w->open_timer, on_open, 0, 0);
}

void witness_tell(const struct witness *w, const char *node, struct buffer *out)
{
        const char *comma = "";
        int status;

        buffer_putc(out, '[');
        if (is_own(w, node)) {
                for (const struct witnessed *t = w->tasks; t != NULL; t = t->hh.next) {
                        if (t->pidfd < 0 || !pidfd_exit_status(t->pidfd, &status))
                                continue;
                        buffer_printf(out, "%s{\"task\":", comma);
                        text_put_json_string(out, t->id);
                        buffer_printf(out, ",\"run\":%" PRId64 ",\"status\":%d}", t->run, status);
                        comma = ",";
                }
        }
        buffer_putc(out, ']');
}

/* ---- Being told by the processes themselves */

static void take_message(
        struct witness *w, const struct witness_message *m, const int fds[WITNESS_FDS])
{
        struct witnessed *t;

        HASH_FIND_STR(w->tasks, m->task, t);
        if (t != NULL)
                task_free(w, t);
        t = task_new(w, m->task, (int64_t) m->run);
        t->pidfd = fds[WITNESS_PIDFD];
        t->fifos[0] = fds[WITNESS_STDOUT];
        t->fifos[1] = fds[WITNESS_STDERR];
        if (MAX(fds[0], MAX(fds[1], fds[2])) >= w->last_descriptor) {
                let_go(t);
                tell_limit(w);
        }
}

static void kept_free(struct witness *w, struct kept *k)
{
        HASH_DEL(w->kept, k);
        close(k->fd);
        free(k);
}

static void drop_kept(struct witness *w, const char *name)
{
        size_t len = strlen(name);
        bool all = name[len - 1] == '/';
        struct kept *k, *next;

        HASH_ITER (hh, w->kept, k, next)
                if (all ? strncmp(k->name, name, len) == 0 : strcmp(k->name, name) == 0)
                        kept_free(w, k);
}

/* Takes @fd. */
static void keep(struct witness *w, const char *name, int fd)
{
        struct kept *k;

        drop_kept(w, name);
        if (fd >= w->last_descriptor) {
                close(fd);
                tell_limit(w);
                return;
        }
        k = mem_alloc(sizeof *k);
        snprintf(k->name, sizeof k->name, "%s", name);
        k->fd = fd;
        HASH_ADD_STR(w->kept, name, k);
}

/* Returns false, and leaves the descriptors, if it says nothing that we know. */
static bool take_any(struct witness *w, const struct witness_message *m, const int *fds, size_t len)
{
        bool task = strchr(m->task, '/') == NULL;

        if (task && len == WITNESS_FDS)
                take_message(w, m, fds);
        else if (!task && len == 1)
                keep(w, m->task, fds[0]);
        else if (!task && len == 0)
                drop_kept(w, m->task);
        else
                return false;
        return true;
}

/* Receives one message. Returns false if there is none, or none will come any more (*ret_end). */
static bool receive(const struct speaker *sp, bool *ret_end)
{
        struct witness_message m = { 0 };
        struct iovec iov = { &m, sizeof m };
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(WITNESS_FDS * sizeof(int))];
        } control;
        struct msghdr packet = { .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof control };
        ssize_t n = recvmsg(sp->fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&packet) : NULL;
        int fds[WITNESS_FDS];
        size_t len = 0;

        *ret_end = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNRESET);
        if (n <= 0)
                return false;
        if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
                len = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                memcpy(fds, CMSG_DATA(c), len * sizeof(int));
        }
        m.task[sizeof m.task - 1] = '\0';
        if (n != sizeof m || !take_any(sp->witness, &m, fds, len))
                for (size_t i = 0; i < len; i++)
                        close(fds[i]);
        return true;
}

static void speaker_free(struct speaker *sp)
{
        DL_DELETE(sp->witness->speakers, sp);
        close(sp->fd);
        free(sp);
}

/* What waits in the sockets is held already, so nobody is woken for it: it is read when there is a
 * reason to look. */
static void listen_up(struct witness *w)
{
        struct speaker *sp, *next;

        DL_FOREACH_SAFE (w->speakers, sp, next) {
                bool end = false;

                while (receive(sp, &end))
                        continue;
                if (end)
                        speaker_free(sp);
        }
}

static bool is_one_of_us(int fd)
{
        struct ucred peer;
        socklen_t len = sizeof peer;

        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == geteuid();
}

static void on_speaker_connects(uv_poll_t *poll, int status, int events)
{
        struct witness *w = poll->data;
        int fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct speaker *sp;

        (void) status;
        (void) events;
        if (fd < 0)
                return;
        sp = mem_alloc(sizeof *sp);
        sp->witness = w;
        sp->fd = fd;
        if (!is_one_of_us(fd)) {
                close(fd);
                free(sp);
                return;
        }
        DL_APPEND(w->speakers, sp);
}

static void open_ears(struct witness *w)
{
        w->listen_fd = w->on ? keeper_witness_listen(w->server->options.data) : -1;
        if (w->listen_fd < 0) {
                if (w->on)
                        log_warning("%s/" WITNESS_SOCKET ": %s", w->server->options.data,
                                strerror(-w->listen_fd));
                w->listen_fd = -1;
                return;
        }
        w->listen_poll.data = w;
        uv_poll_init(w->server->loop, &w->listen_poll, w->listen_fd);
        uv_poll_start(&w->listen_poll, UV_READABLE, on_speaker_connects);
        w->handles++;
}

/* ---- Acting */

/* Read, not locked: a new keeper that finds the lock taken would go away again. A wrong "dead" does
 * no harm: a living keeper has the lock, and the one that we start leaves. */
static bool keeper_is_dead(const struct witness *w)
{
        AUTO(mem_freep) char *path = mem_printf("%s/keeper.lock", w->server->options.data);
        AUTO(buffer_done) struct buffer text = { 0 }, stat = { 0 };
        char proc[40];
        const char *p;
        struct error err;
        int pid;

        if (file_read(path, 64, &text, &err) < 0)
                return false; /* nobody ever was there */
        pid = atoi(buffer_str(&text));
        if (pid <= 0)
                return false;
        snprintf(proc, sizeof proc, "/proc/%d/stat", pid);
        if (file_read(proc, 4096, &stat, &err) < 0)
                return err.code == ERR_NOT_FOUND;
        p = strrchr(buffer_str(&stat), ')');
        return strstr(buffer_str(&stat), "(reeve-keeper)") == NULL ||
               (p != NULL && (p[2] == 'Z' || p[2] == 'X'));
}

static size_t hand_over_task(struct keeper_handover *items, struct witnessed *t, char **names)
{
        size_t n = 0;

        if (t->fifos[0] >= 0 && t->fifos[1] >= 0) {
                names[n] = mem_printf("task/%s", t->id);
                items[n] = (struct keeper_handover){ KEEPER_PUT, names[n], t->fifos, 2, 0 };
                n++;
        }
        if (t->pidfd >= 0) {
                names[n] = mem_printf("witness/%s/%" PRId64, t->id, t->run);
                items[n] = (struct keeper_handover){ KEEPER_PUT, names[n], &t->pidfd, 1, 0 };
                n++;
        }
        return n;
}

static enum keeper_launched launch(struct witness *w, char *text, size_t size)
{
        size_t most = 2 * HASH_COUNT(w->tasks) + HASH_COUNT(w->kept) + 1, n = 0;
        AUTO(mem_freep) struct keeper_handover *items = mem_resize(NULL, most, sizeof *items);
        AUTO(mem_freep) char **names = mem_alloc(most * sizeof *names);
        AUTO(fd_closep) int self = process_open(getpid());
        enum keeper_launched result;

        for (struct witnessed *t = w->tasks; t != NULL; t = t->hh.next)
                n += hand_over_task(items + n, t, names + n);
        for (struct kept *k = w->kept; k != NULL; k = k->hh.next)
                items[n++] = (struct keeper_handover){ KEEPER_PUT, k->name, &k->fd, 1, 0 };
        if (self >= 0)
                items[n++] = (struct keeper_handover){ KEEPER_ADOPT, "server", &self, 1,
                        (uint64_t) getpid() };
        result = keeper_launch(w->server->options.data, items, n, text, size);
        for (size_t i = 0; i < most; i++)
                free(names[i]);
        return result;
}

static void on_check(uv_timer_t *timer)
{
        struct witness *w = timer->data;
        char text[256] = "it ended at once";

        w->found_dead = keeper_is_dead(w) ? w->found_dead + 1 : 0;
        uv_timer_start(timer, on_check,
                w->found_dead > 0 && w->found_dead < DEAD_CHECKS ? CHECK_FIRST_MSEC
                                                                 : CHECK_LATER_MSEC,
                0);
        if (w->found_dead < DEAD_CHECKS)
                return;
        w->found_dead = 0;
        log_warning("keeper and agent are dead: starting a new keeper");
        listen_up(w);
        if (launch(w, text, sizeof text) == KEEPER_LAUNCH_FAILED)
                log_error("%s", text);
}

void witness_link_down(struct witness *w, const char *node)
{
        if (!is_own(w, node))
                return;
        w->found_dead = 0;
        uv_timer_start(&w->check_timer, on_check, CHECK_FIRST_MSEC, 0);
}

/* ---- Life */

struct witness *witness_new(struct server *server)
{
        struct witness *w = mem_alloc(sizeof *w);
        struct rlimit limit;

        w->server = server;
        w->on = getenv(KEEPER_FD_VARIABLE) != NULL;
        w->last_descriptor =
                getrlimit(RLIMIT_NOFILE, &limit) < 0
                        ? 0
                        : (int) MIN(limit.rlim_cur - MIN(limit.rlim_cur / 2, (rlim_t) 1024),
                                  (rlim_t) INT_MAX);
        w->open_timer.data = w->check_timer.data = w;
        uv_timer_init(server->loop, &w->open_timer);
        uv_timer_init(server->loop, &w->check_timer);
        w->handles = 2;
        open_ears(w);
        if (w->on) /* they may die before the agent is connected for the first time */
                uv_timer_start(&w->check_timer, on_check, CHECK_LATER_MSEC, 0);
        return w;
}

static void on_closed(uv_handle_t *handle)
{
        struct witness *w = handle->data;

        if (--w->handles > 0)
                return;
        fd_closep(&w->listen_fd);
        free(w);
}

void witness_free(struct witness *w)
{
        struct witnessed *t, *next;
        struct kept *k, *k_next;
        struct speaker *sp, *sp_next;

        if (w == NULL)
                return;
        HASH_ITER (hh, w->tasks, t, next)
                task_free(w, t);
        HASH_ITER (hh, w->kept, k, k_next)
                kept_free(w, k);
        DL_FOREACH_SAFE (w->speakers, sp, sp_next)
                speaker_free(sp);
        if (w->listen_fd >= 0)
                uv_close((uv_handle_t *) &w->listen_poll, on_closed);
        uv_close((uv_handle_t *) &w->open_timer, on_closed);
        uv_close((uv_handle_t *) &w->check_timer, on_closed);
}
