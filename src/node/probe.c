/* SPDX-License-Identifier: BSD-3-Clause */
/* Probe: one question, asked again and again while its owner wants an answer.
 *
 * Between two questions a probe is a timer and nothing else: a connection is made for each and
 * closed with the answer (of an HTTP answer only the head is waited for), a command is a process of
 * its own that is killed with its group when its time is over. There is never more than one
 * question under way; one that takes longer than the interval puts the next one off.
 *
 * The times at which questions are asked lie on a common grid, so that a thousand probes wake the
 * loop ten times a second and not a thousand times. Where on the grid a probe begins is its owner's
 * choice.
 *
 * What is under way (struct attempt) is an object apart, since the loop lets go of handles late: a
 * probe that is freed disowns it. A command is a child of the agent and dies with it
 * (exec-spawn.c). */
#include "node/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/probe.h"
#include "net/http-client.h"
#include "node/exec-spawn.h"

#define GRID        (100 * USEC_MSEC)
#define OUTPUT_MAX  ((size_t) 4096) /* of a command, of which the last line is told */
#define OUTPUT_ONCE 16              /* reads a turn */

enum { OUT, ERR, PIPES };

struct attempt {
        struct probe *probe; /* NULL: nobody waits for it any more */
        unsigned handles;

        /* TCP */
        uv_getaddrinfo_t lookup;
        uv_tcp_t socket;
        uv_connect_t connect;

        /* a command */
        pid_t pid; /* 0: it is no command, or was reaped */
        int pidfd;
        uv_poll_t watch;
        int fds[PIPES];
        uv_poll_t pipes[PIPES];
        struct buffer output;
        struct probe *asker; /* that must not ask again before it is gone; NULL: none */
};

struct probe {
        uv_loop_t *loop;
        struct probe_config config;
        char *text;                 /* of the target, which borrows from it */
        struct probe_target target; /* unless it is a command */
        uv_timer_t timer;           /* the next question, or the end of patience with this one */
        usec_t asked_mono;
        struct http_call *call;
        struct attempt *attempt;
        struct attempt *stuck; /* a command that was killed and has not gone yet */
};

static void on_time(uv_timer_t *timer);

static uint64_t ms_until(usec_t at, usec_t now)
{
        return at > now ? (at - now + USEC_MSEC - 1) / USEC_MSEC : 0;
}

static void start_timer(struct probe *p, usec_t at)
{
        uv_update_time(p->loop);
        uv_timer_start(&p->timer, on_time, ms_until(at, time_mono()), 0);
}

/* ---- Answers */

static void plan_next(struct probe *p)
{
        usec_t at = p->asked_mono + p->config.interval;

        if (p->config.interval >= 2 * GRID)
                at = (at + GRID - 1) / GRID * GRID;
        start_timer(p, MAX(at, time_mono() + USEC_MSEC));
}

/* The question is answered: the next one is planned, and the owner is told. */
static void answer(struct probe *p, bool good, const char *text)
{
        plan_next(p);
        p->config.on_answer(p->config.data, good, text);
}

/* ---- HTTP */

static void on_http_head(void *data, int status)
{
        struct probe *p = data;
        char text[32];

        snprintf(text, sizeof text, "status %d", status);
        http_call_cancel(take_ptr(p->call));
        answer(p, status >= 200 && status < 400, text);
}

static void on_http_end(void *data, const struct error *err)
{
        struct probe *p = data;

        p->call = NULL;
        answer(p, false, err != NULL ? err->message : "no answer");
}

static void ask_http(struct probe *p)
{
        static const char *const headers[] = { "Connection", "close", "User-Agent", "reeve", NULL };
        struct address address = { .port = p->target.port };
        struct http_call_options options = {
                .path = p->target.path,
                .headers = headers,
                .on_head = on_http_head,
                .on_end = on_http_end,
                .data = p,
                .connect_timeout = p->config.timeout,
                .timeout = p->config.timeout,
        };
        struct error err = ERROR_INIT;

        snprintf(address.host, sizeof address.host, "%s", p->target.host);
        if (http_call_start(p->loop, &address, &options, &p->call, &err) < 0)
                answer(p, false, err.message);
}

/* ---- What is under way otherwise */

static void attempt_gone(struct attempt *a)
{
        if (--a->handles > 0)
                return;
        buffer_done(&a->output);
        free(a);
}

static void on_handle_closed(uv_handle_t *handle)
{
        attempt_gone(handle->data);
}

/* By its pid, which is its own until it is reaped here. */
static bool reap(struct attempt *a)
{
        siginfo_t si = { 0 };

        if (waitid(P_PID, (id_t) a->pid, &si, WEXITED | WNOWAIT | WNOHANG) < 0 || si.si_pid == 0)
                return false;
        kill(-a->pid, SIGKILL); /* what is left of its group */
        waitid(P_PID, (id_t) a->pid, &si, WEXITED);
        a->pid = 0;
        if (a->asker != NULL)
                a->asker->stuck = NULL;
        uv_close((uv_handle_t *) &a->watch, on_handle_closed);
        close(take_fd(a->pidfd));
        return true;
}

/* The attempt is over or given up. A command that still runs is killed; one that the kernel does
 * not let end (a file system that hangs) is not waited for. */
static void attempt_end(struct attempt *a)
{
        struct probe *p = a->probe;

        if (p != NULL)
                p->attempt = NULL;
        a->probe = NULL;
        for (int i = 0; i < PIPES; i++)
                if (a->fds[i] >= 0) {
                        uv_close((uv_handle_t *) &a->pipes[i], on_handle_closed);
                        close(take_fd(a->fds[i]));
                }
        if (a->socket.loop != NULL && !uv_is_closing((uv_handle_t *) &a->socket))
                uv_close((uv_handle_t *) &a->socket, on_handle_closed);
        uv_cancel((uv_req_t *) &a->lookup); /* fails where there is none, or it is too late */
        if (a->pid > 0)
                kill(-a->pid, SIGKILL);
        if (a->pid > 0 && !reap(a)) {
                a->asker = p;
                if (p != NULL)
                        p->stuck = a;
                return;
        }
        attempt_gone(a);
}

static void attempt_answer(struct attempt *a, bool good, const char *text)
{
        struct probe *p = a->probe;
        char copy[PROBE_ANSWER_MAX];

        snprintf(copy, sizeof copy, "%s", text); /* it may lie in what goes now */
        attempt_end(a);
        if (p != NULL)
                answer(p, good, copy);
}

static struct attempt *attempt_new(struct probe *p)
{
        struct attempt *a = mem_alloc(sizeof *a);

        a->probe = p;
        a->handles = 1; /* its own, until attempt_end() */
        a->pidfd = a->fds[OUT] = a->fds[ERR] = -1;
        a->watch.data = a->pipes[OUT].data = a->pipes[ERR].data = a->socket.data = a;
        a->lookup.data = a->connect.data = a;
        p->attempt = a;
        start_timer(p, p->asked_mono + p->config.timeout);
        return a;
}

/* ---- TCP */

static void on_connected(uv_connect_t *request, int status)
{
        struct attempt *a = request->data;

        if (a->probe == NULL)
                return;
        attempt_answer(a, status == 0, status == 0 ? "connected" : uv_strerror(status));
}

static void connect_to(struct attempt *a, const struct sockaddr *address)
{
        int r = uv_tcp_init(a->probe->loop, &a->socket);

        if (r == 0) {
                a->handles++;
                r = uv_tcp_connect(&a->connect, &a->socket, address, on_connected);
        }
        if (r < 0)
                attempt_answer(a, false, uv_strerror(r));
}

static void on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
        struct attempt *a = request->data;

        if (a->probe != NULL && status == 0)
                connect_to(a, found->ai_addr);
        else if (a->probe != NULL)
                attempt_answer(a, false, uv_strerror(status));
        uv_freeaddrinfo(found);
        attempt_gone(a);
}

static void ask_tcp(struct probe *p)
{
        struct attempt *a = attempt_new(p);
        const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
        union {
                struct sockaddr any;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
        } address;
        char port[8];
        int r;

        if (uv_ip4_addr(p->target.host, p->target.port, &address.in) == 0 ||
                uv_ip6_addr(p->target.host, p->target.port, &address.in6) == 0) {
                connect_to(a, &address.any);
                return;
        }
        snprintf(port, sizeof port, "%u", p->target.port);
        a->handles++;
        r = uv_getaddrinfo(p->loop, &a->lookup, on_looked_up, p->target.host, port, &hints);
        if (r < 0) {
                a->handles--;
                attempt_answer(a, false, uv_strerror(r));
        }
}

/* ---- A command */

static void read_pipe(struct attempt *a, int which)
{
        ssize_t n = 1;

        for (int i = 0; i < OUTPUT_ONCE && n > 0; i++) {
                if (a->output.len >= OUTPUT_MAX)
                        buffer_consume(&a->output, OUTPUT_MAX / 2);
                n = read(a->fds[which], buffer_reserve(&a->output, OUTPUT_MAX / 2), OUTPUT_MAX / 2);
                if (n > 0)
                        buffer_commit(&a->output, (size_t) n);
        }
        if (n == 0) /* the end: the command's own is told by its pidfd */
                uv_poll_stop(&a->pipes[which]);
}

static void on_output(uv_poll_t *poll, int status, int events)
{
        struct attempt *a = poll->data;

        (void) status;
        (void) events;
        read_pipe(a, poll == &a->pipes[OUT] ? OUT : ERR);
}

/* The last line that says something. */
static const char *last_line(struct buffer *output)
{
        char *text = output->data, *line;

        if (output->len == 0)
                return "";
        while (output->len > 0 && (unsigned char) text[output->len - 1] <= ' ')
                text[--output->len] = '\0';
        line = memrchr(text, '\n', output->len);
        line = line == NULL ? text : line + 1;
        for (char *c = line; *c != '\0'; c++)
                if ((unsigned char) *c < ' ' || *c == 0x7f)
                        *c = ' ';
        return line;
}

static void on_command_end(uv_poll_t *poll, int status, int events)
{
        struct attempt *a = poll->data;
        siginfo_t si = { 0 };
        char text[PROBE_ANSWER_MAX], how[32];
        const char *line;

        (void) status;
        (void) events;
        if (a->probe == NULL) {
                if (reap(a))
                        attempt_gone(a);
                return;
        }
        if (waitid(P_PID, (id_t) a->pid, &si, WEXITED | WNOWAIT | WNOHANG) < 0 || si.si_pid == 0)
                return;
        for (int i = 0; i < PIPES; i++)
                read_pipe(a, i);
        if (si.si_code == CLD_EXITED)
                snprintf(how, sizeof how, "exit code %d", si.si_status);
        else
                snprintf(how, sizeof how, "signal %s", text_signal_name(si.si_status));
        line = last_line(&a->output);
        snprintf(text, sizeof text, "%s%s%.80s", how, *line != '\0' ? ": " : "", line);
        attempt_answer(a, si.si_code == CLD_EXITED && si.si_status == 0, text);
}

static void watch_command(struct attempt *a, struct exec_program *program)
{
        uv_loop_t *loop = a->probe->loop;
        int fds[PIPES] = { program->out, program->err };

        close(program->in);
        a->pid = program->pid;
        a->pidfd = program->pidfd;
        uv_poll_init(loop, &a->watch, a->pidfd);
        uv_poll_start(&a->watch, UV_READABLE, on_command_end);
        a->handles++;
        for (int i = 0; i < PIPES; i++) {
                a->fds[i] = fds[i];
                uv_poll_init(loop, &a->pipes[i], fds[i]);
                uv_poll_start(&a->pipes[i], UV_READABLE, on_output);
                a->handles++;
        }
}

static void strings_freep(char ***strings)
{
        for (char **s = *strings; s != NULL && *s != NULL; s++)
                free(*s);
        free(*strings);
}

static void ask_command(struct probe *p)
{
        AUTO(spawn_plan_done) struct spawn_plan plan = { 0 };
        AUTO(strings_freep) char **env = NULL;
        struct exec_program program;
        struct exec_start start = { .plan = &plan };
        struct error err = ERROR_INIT;

        if (p->stuck != NULL) {
                answer(p, false, "the command before was killed and has not ended yet");
                return;
        }
        if (p->config.plan(p->config.data, &plan, &env, &err) < 0) {
                answer(p, false, err.message);
                return;
        }
        start.env = env;
        if (exec_spawn(&start, &program, &err) < 0)
                answer(p, false, err.message);
        else
                watch_command(attempt_new(p), &program);
}

/* ---- The probe */

static void ask(struct probe *p)
{
        p->asked_mono = time_mono();
        if (p->config.command)
                ask_command(p);
        else if (p->config.http != NULL)
                ask_http(p);
        else
                ask_tcp(p);
}

static void on_time(uv_timer_t *timer)
{
        struct probe *p = timer->data;
        char text[TIME_TEXT_MAX + 32], span[TIME_TEXT_MAX];

        if (p->attempt == NULL) {
                ask(p);
                return;
        }
        snprintf(text, sizeof text, "no answer within %s",
                time_format_exact(span, p->config.timeout));
        attempt_answer(p->attempt, false, text);
}

int probe_new(
        uv_loop_t *loop, const struct probe_config *config, struct probe **ret, struct error *err)
{
        struct probe *p = mem_alloc(sizeof *p);

        p->loop = loop;
        p->config = *config;
        p->text = mem_strdup(config->http != NULL ? config->http : config->tcp);
        if (!config->command && (config->http != NULL ? probe_parse_http : probe_parse_tcp)(
                                        p->text, &p->target, err) < 0) {
                free(p->text);
                free(p);
                return -1;
        }
        uv_timer_init(loop, &p->timer);
        p->timer.data = p;
        start_timer(p, time_mono() + config->first);
        *ret = p;
        return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
        struct probe *p = handle->data;

        free(p->text);
        free(p);
}

void probe_free(struct probe *p)
{
        if (p == NULL)
                return;
        http_call_cancel(take_ptr(p->call));
        if (p->attempt != NULL)
                attempt_end(p->attempt);
        if (p->stuck != NULL)
                p->stuck->asker = NULL;
        uv_close((uv_handle_t *) &p->timer, on_timer_closed);
}
