/* SPDX-License-Identifier: BSD-3-Clause */
/* The route of plans: what applying jobs would do.
 *
 * A plan is the real scheduler on a copy of the real state (core/plan.h), and takes as long as what
 * it plans is large. So it is made by a child process: fork(2) copies a state of any size in
 * milliseconds, exactly as it is, and the loop goes on while the child computes. A thread could not
 * do that, since the state is the loop's; rows of the store could be read by one, but to load them
 * takes longer than most plans, and they lack what is not stored.
 *
 * The child has the memory of this process and nothing else of it: it blocks all signals, closes
 * every descriptor but the pipe for its answer (the store's, the links', those of tasks), dies with
 * this process, and leaves by _exit(). Other threads are not copied, and what they had locked stays
 * locked: it uses the heap, which fork() takes care of, the core, and write(2). Its answer is one
 * byte that says what it is, then JSON or an error. It is read until the pipe ends and checked for
 * that byte, so that a child that was killed is an error and not half a plan.
 *
 * Owned by the list in struct server from the request until the end of pipe and timer. A plan that
 * takes too long is given up, as is one whose peer goes away. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "base/mem.h"
#include "base/time.h"
#include "core/plan.h"
#include "model/job.h"
#include "server/api.h"

#define PLANS_MAX  2
#define TIME_MAX   (60 * 1000)                  /* milliseconds */
#define ANSWER_MAX ((size_t) 240 * 1024 * 1024) /* what a client takes is a little more */
#define CHILD_NICE 5
#define CHILD_FD   (STDERR_FILENO + 1) /* where its end of the pipe is */

enum { ANSWER_PLAN = 'p', ANSWER_ERROR = 'e' }; /* an error: then its code, then its message */

struct plan_making {
        struct server *server;
        struct http_request *req; /* NULL: gone or answered */
        uv_pipe_t pipe;
        uv_timer_t timer;
        unsigned handles; /* not closed yet */
        pid_t child;
        struct buffer answer;
        struct plan_making *prev, *next;
};

/* ---- The child */

static void put_all(const void *data, size_t len)
{
        const char *at = data;
        ssize_t n;

        while (len > 0 && ((n = write(CHILD_FD, at, len)) > 0 || errno == EINTR))
                if (n > 0) {
                        at += n;
                        len -= (size_t) n;
                }
}

static void child_keep_only(int fd)
{
        if (fd != CHILD_FD && dup2(fd, CHILD_FD) < 0)
                _exit(1);
        if (syscall(SYS_close_range, CHILD_FD + 1, UINT_MAX, 0) == 0)
                return;
        for (long i = CHILD_FD + 1, n = sysconf(_SC_OPEN_MAX); i < n; i++) /* before Linux 5.9 */
                close((int) i);
}

_Noreturn static void child_run(
        struct server *server, const struct job_file *file, int fd, pid_t parent)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        struct error err = ERROR_INIT;
        char head[2] = { ANSWER_PLAN };

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        child_keep_only(fd);
        (void) !nice(CHILD_NICE);
        if (plan_make(state_cluster_copy(server->state), file->jobs, file->jobs_len, NULL,
                    time_wall(), &out, &err) == 0) {
                put_all(head, 1);
                put_all(out.data, out.len);
        } else {
                head[0] = ANSWER_ERROR;
                head[1] = (char) err.code;
                put_all(head, 2);
                put_all(err.message, strlen(err.message));
        }
        _exit(0);
}

/* The child, or -1. All signals are blocked in it: what is to be done on one is done by handlers
 * of this process. */
static pid_t child_start(struct server *server, const struct job_file *file, int fd)
{
        sigset_t all, before;
        pid_t parent = getpid(), pid;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pid = fork();
        if (pid == 0)
                child_run(server, file, fd, parent);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return pid;
}

/* ---- The end */

static void on_closed(uv_handle_t *handle)
{
        struct plan_making *m = handle->data;

        if (--m->handles > 0)
                return;
        buffer_done(&m->answer);
        free(m);
}

/* The child has ended, or does so at once: there is nothing to wait for. */
static void making_end(struct plan_making *m)
{
        int status;

        DL_DELETE(m->server->plans, m);
        kill(m->child, SIGKILL);
        while (waitpid(m->child, &status, 0) < 0 && errno == EINTR)
                ;
        uv_close((uv_handle_t *) &m->pipe, on_closed);
        uv_close((uv_handle_t *) &m->timer, on_closed);
}

static void on_peer_gone(void *data)
{
        struct plan_making *m = data;

        m->req = NULL;
        making_end(m);
}

static struct http_request *take_request(struct plan_making *m)
{
        struct http_request *req = m->req;

        m->req = NULL;
        http_request_on_close(req, NULL, NULL);
        return req;
}

static void fail(struct plan_making *m, enum error_code code, const char *message)
{
        struct error err;

        error_set(&err, code, "%s", message);
        api_reply_error(m->server, take_request(m), &err);
        making_end(m);
}

static void finish(struct plan_making *m)
{
        struct buffer body = { 0 };

        if (m->answer.len > 1 && m->answer.data[0] == ANSWER_PLAN) {
                buffer_put(&body, m->answer.data + 1, m->answer.len - 1);
                api_reply_json(m->server, take_request(m), &body);
                making_end(m);
        } else if (m->answer.len > 2 && m->answer.data[0] == ANSWER_ERROR) {
                buffer_putc(&m->answer, '\0');
                fail(m, (enum error_code) m->answer.data[1], m->answer.data + 2);
        } else {
                fail(m, ERR_UNAVAILABLE, "the process that made the plan was killed");
        }
}

/* ---- Its answer */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
        struct plan_making *m = handle->data;

        ret->base = buffer_reserve(&m->answer, suggested);
        ret->len = suggested;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
        struct plan_making *m = stream->data;

        (void) buf;
        if (n > 0)
                m->answer.len += (size_t) n;
        if (m->answer.len > ANSWER_MAX)
                fail(m, ERR_TOO_LARGE, "the plan is too large: plan fewer jobs at a time");
        else if (n < 0)
                finish(m);
}

static void on_timeout(uv_timer_t *timer)
{
        fail(timer->data, ERR_TIMEOUT, "the plan takes too long: plan fewer jobs at a time");
}

/* ---- Its beginning */

static void making_begin(struct server *server, struct http_request *req, pid_t child, int fd)
{
        struct plan_making *m = mem_alloc(sizeof *m);

        *m = (struct plan_making){ .server = server, .req = req, .child = child, .handles = 2 };
        DL_APPEND(server->plans, m);
        uv_pipe_init(server->loop, &m->pipe, 0);
        uv_timer_init(server->loop, &m->timer);
        m->pipe.data = m->timer.data = m;
        uv_pipe_open(&m->pipe, fd);
        uv_timer_start(&m->timer, on_timeout, TIME_MAX, 0);
        http_request_on_close(req, on_peer_gone, m);
        uv_read_start((uv_stream_t *) &m->pipe, on_alloc, on_read);
}

static int begin(struct server *server, struct http_request *req, const struct job_file *file,
        struct error *err)
{
        int fds[2];
        pid_t child;

        for (size_t i = 0; i < file->jobs_len; i++)
                if (state_know_zone(server->state, file->jobs[i], err) < 0)
                        return -1;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_sys(err, errno, "make a plan: pipe");
        child = child_start(server, file, fds[1]);
        close(fds[1]);
        if (child < 0) {
                close(fds[0]);
                return error_sys(err, errno, "make a plan: fork");
        }
        making_begin(server, req, child, fds[0]);
        return 0;
}

static int count_plans(const struct server *server)
{
        const struct plan_making *m;
        int count;

        DL_COUNT(server->plans, m, count);
        return count;
}

void api_plan(struct server *server, struct http_request *req, const char *name)
{
        struct job_file file = { 0 };
        struct error err;

        (void) name;
        if (count_plans(server) >= PLANS_MAX) {
                api_reply_problem(server, req, 503, error_code_name(ERR_UNAVAILABLE),
                        "other plans are being made; try again when they are done");
                return;
        }
        if (!api_jobs_read(server, req, &file))
                return;
        if (begin(server, req, &file, &err) < 0)
                api_reply_error(server, req, &err);
        job_file_done(&file);
}

void api_plans_end(struct server *server)
{
        struct plan_making *m, *next;

        DL_FOREACH_SAFE (server->plans, m, next)
                making_end(m);
}
