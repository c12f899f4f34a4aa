/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending of alerts: one attempt.
 *
 * A webhook is a request of our own HTTP client; with https:// the receiver has to show a
 * certificate that the system's roots vouch for. A program has a session of its own, so that all of
 * it can be killed when its time is over. What a receiver answers is not read: it can be as long as
 * it likes.
 *
 * The timer is the life of it: it ends an attempt that takes too long, tells of one that could not
 * even begin, and is the last handle to be closed. */
#include "server/alert-send.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "keeper/protocol.h"
#include "model/probe.h"
#include "net/http-client.h"
#include "server/server.h"

#define POST_TIMEOUT (10 * USEC_SEC)
#define RUN_MS       30000

struct alert_send {
        alert_sent_fn *done; /* NULL: told, or nobody is to be told */
        void *data;
        struct http_call *call;
        int status;
        uv_process_t process;
        uv_pipe_t in;
        uv_write_t write;
        char *input;
        uv_timer_t timer;
        unsigned handles;
        bool begun; /* process and pipe are there */
        struct error why;
};

static void on_closed(uv_handle_t *handle)
{
        struct alert_send *s = handle->data;

        if (--s->handles > 0)
                return;
        free(s->input);
        free(s);
}

static void close_all(struct alert_send *s)
{
        if (s->begun && !uv_is_closing((uv_handle_t *) &s->process))
                uv_close((uv_handle_t *) &s->process, on_closed);
        if (s->begun && !uv_is_closing((uv_handle_t *) &s->in))
                uv_close((uv_handle_t *) &s->in, on_closed);
        if (!uv_is_closing((uv_handle_t *) &s->timer))
                uv_close((uv_handle_t *) &s->timer, on_closed);
}

static void finish(struct alert_send *s, const struct error *err)
{
        alert_sent_fn *done = s->done;
        struct error why = err != NULL ? *err : (struct error) ERROR_INIT;

        s->done = NULL;
        close_all(s);
        if (done != NULL)
                done(s->data, err != NULL ? &why : NULL);
}

static struct alert_send *send_new(uv_loop_t *loop, alert_sent_fn *done, void *data)
{
        struct alert_send *s = mem_alloc(sizeof *s);

        s->done = done;
        s->data = data;
        s->timer.data = s->process.data = s->in.data = s;
        uv_timer_init(loop, &s->timer);
        s->handles = 1;
        return s;
}

static void on_failed_to_begin(uv_timer_t *timer)
{
        struct alert_send *s = timer->data;

        finish(s, &s->why);
}

/* ---- Webhooks */

static void on_head(void *data, int status)
{
        ((struct alert_send *) data)->status = status;
}

static void on_end(void *data, const struct error *err)
{
        struct alert_send *s = data;

        s->call = NULL;
        if (err == NULL && (s->status < 200 || s->status > 299)) {
                error_set(&s->why, ERR_UNAVAILABLE, "it answers with status %d", s->status);
                err = &s->why;
        }
        finish(s, err);
}

static int post(
        struct alert_send *s, uv_loop_t *loop, const char *url, const char *body, size_t len)
{
        static const char *const headers[] = { "Content-Type", "application/json", "User-Agent",
                "reeve/" REEVE_VERSION, NULL };
        struct http_call_options options = { .method = "POST",
                .headers = headers,
                .body = body,
                .len = len,
                .on_head = on_head,
                .on_end = on_end,
                .data = s,
                .timeout = POST_TIMEOUT };
        struct address address = { 0 };
        struct probe_target target;

        if (probe_parse_url(url, &address.tls, &target, &s->why) < 0)
                return -1;
        snprintf(address.host, sizeof address.host, "%s", target.host);
        address.port = target.port;
        options.path = target.path;
        return http_call_start(loop, &address, &options, &s->call, &s->why);
}

struct alert_send *alert_send_post(uv_loop_t *loop, const char *url, const char *body, size_t len,
        alert_sent_fn *done, void *data)
{
        struct alert_send *s = send_new(loop, done, data);

        if (post(s, loop, url, body, len) < 0)
                uv_timer_start(&s->timer, on_failed_to_begin, 0, 0);
        return s;
}

/* ---- Programs */

static void on_exited(uv_process_t *process, int64_t exit_status, int signal)
{
        struct alert_send *s = process->data;

        if (s->done == NULL || (exit_status == 0 && signal == 0)) {
                finish(s, NULL);
                return;
        }
        if (s->why.code == ERR_TIMEOUT)
                ; /* it was killed for that */
        else if (signal != 0)
                error_set(&s->why, ERR_UNAVAILABLE, "it was ended by signal %s",
                        text_signal_name(signal));
        else
                error_set(
                        &s->why, ERR_UNAVAILABLE, "it ended with exit code %d", (int) exit_status);
        finish(s, &s->why);
}

static void on_late(uv_timer_t *timer)
{
        struct alert_send *s = timer->data;

        error_set(&s->why, ERR_TIMEOUT, "it took longer than %d s", RUN_MS / 1000);
        kill(-s->process.pid, SIGKILL);
}

/* A program that does not read to the end may end well all the same: its exit code tells. */
static void on_written(uv_write_t *write, int status)
{
        struct alert_send *s = write->data;

        (void) status;
        if (!uv_is_closing((uv_handle_t *) &s->in))
                uv_close((uv_handle_t *) &s->in, on_closed);
}

/* The server's variables but those that are between it and its keeper, and @more. */
static char **make_env(char *const *more)
{
        size_t len = 0, n = 0, more_len = 0;
        char **env;

        while (environ[len] != NULL)
                len++;
        while (more[more_len] != NULL)
                more_len++;
        env = mem_alloc((len + more_len + 1) * sizeof *env);
        for (size_t i = 0; i < len; i++)
                if (strncmp(environ[i], KEEPER_FD_VARIABLE "=", strlen(KEEPER_FD_VARIABLE) + 1) !=
                        0)
                        env[n++] = environ[i];
        for (size_t i = 0; i < more_len; i++)
                env[n++] = more[i];
        return env;
}

static int run(struct alert_send *s, uv_loop_t *loop, char *const *arguments, char *const *env)
{
        AUTO(mem_freep) char **all = make_env(env);
        uv_stdio_container_t stdio[] = {
                { .flags = (uv_stdio_flags) (UV_CREATE_PIPE | UV_READABLE_PIPE),
                        .data.stream = (uv_stream_t *) &s->in },
                { .flags = UV_IGNORE },
                { .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
        };
        uv_process_options_t options = { .exit_cb = on_exited,
                .file = arguments[0],
                .args = (char **) (uintptr_t) arguments,
                .env = all,
                .cwd = "/",
                .flags = UV_PROCESS_DETACHED,
                .stdio = stdio,
                .stdio_count = 3 };
        int r;

        uv_pipe_init(loop, &s->in, 0);
        s->in.data = s;
        s->begun = true;
        s->handles += 2;
        r = uv_spawn(loop, &s->process, &options);
        s->process.data = s;
        return r < 0 ? error_set(
                               &s->why, ERR_UNAVAILABLE, "run %s: %s", arguments[0], uv_strerror(r))
                     : 0;
}

struct alert_send *alert_send_run(uv_loop_t *loop, char *const *arguments, char *const *env,
        const char *input, size_t len, alert_sent_fn *done, void *data)
{
        struct alert_send *s = send_new(loop, done, data);
        uv_buf_t buf;

        if (run(s, loop, arguments, env) < 0) {
                uv_timer_start(&s->timer, on_failed_to_begin, 0, 0);
                return s;
        }
        s->input = mem_strndup(input, len);
        s->write.data = s;
        buf = uv_buf_init(s->input, (unsigned) len);
        if (uv_write(&s->write, (uv_stream_t *) &s->in, &buf, 1, on_written) < 0)
                uv_close((uv_handle_t *) &s->in, on_closed);
        uv_timer_start(&s->timer, on_late, RUN_MS, 0);
        return s;
}

/* ---- The end */

void alert_send_cancel(struct alert_send *s)
{
        if (s == NULL)
                return;
        s->done = NULL;
        http_call_cancel(take_ptr(s->call));
        if (s->begun && uv_is_active((uv_handle_t *) &s->process))
                kill(-s->process.pid, SIGKILL);
        close_all(s);
}
