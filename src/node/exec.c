/* SPDX-License-Identifier: BSD-3-Clause */
/* Exec: programs that people run beside a task, with or without a terminal.
 *
 * Each belongs to one stream of one connection. What flows is bounded by credit in both directions
 * (EXEC_WINDOW): we read from the program only what the other side has room for, and it sends only
 * what we have told to have written; so neither a slow terminal nor a slow program has more than
 * that queued anywhere, and nobody else waits for it.
 *
 * The end, in this order: the pidfd becomes readable; what is left of the program's process group
 * is killed while it is a zombie and its number its own; it is reaped; what it wrote is read until
 * there is nothing more, as fast as there is credit; exec-end. A process that has left the group
 * may hold the pipes open: it is not waited for.
 *
 * Who asked may go at any time. Then its streams are closed, which hangs a terminal up, the group
 * gets SIGHUP and, HANG_UP_GRACE later, SIGKILL. A program outlives its connection by that time at
 * most, and the agent not at all (exec-spawn.c). */
#include "node/exec.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utlist.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/exec-spawn.h"

#define EXEC_WINDOW      ((size_t) 256 * 1024) /* docs/link.md */
#define CREDIT_STEP      ((size_t) 64 * 1024)  /* less is not worth a message */
#define CHUNK_MAX        ((size_t) 64 * 1024)
#define CHUNKS_A_TURN    8 /* then the loop looks after everybody else */
#define PROGRAMS_MAX     128
#define ARGUMENTS_MAX    4096
#define HANG_UP_GRACE_MS 5000
#define END_OF_INPUT     4 /* Ctrl-D */

enum { IN, OUT, ERR, PIPES };

struct frame_head { /* docs/link.md, binary messages; big-endian */
        uint32_t stream;
        uint64_t byte;
} __attribute__((packed));

struct exec_pipe { /* our end of one of the program's streams */
        struct exec *exec;
        int fd; /* -1: closed, and then poll is, too */
        uv_poll_t poll;
        uint64_t byte; /* number of the next one */
};

struct exec {
        struct execs *owner;
        uint32_t stream; /* of IN and OUT; ERR is the next number */
        char *task;
        bool tty;
        pid_t pid;
        int pidfd;
        uv_poll_t watch; /* of pidfd; closed when it was reaped */
        uv_timer_t grace;
        struct exec_pipe pipes[PIPES];
        size_t credit;       /* bytes that may be sent */
        struct buffer input; /* to be written */
        bool input_ended;
        size_t owed; /* bytes written that the other side does not know of */
        bool reaped, hung_up;
        int code, status; /* as waitid(2) tells them */
        unsigned handles;
        struct exec *next, *prev;
};

struct execs {
        uv_loop_t *loop;
        struct tasks *tasks;
        struct websocket *ws; /* NULL: no connection */
        struct exec *list;
        unsigned len;
};

/* ---- Life */

static void handle_gone(struct exec *x)
{
        if (--x->handles == 0)
                free(x);
}

static void on_handle_closed(uv_handle_t *handle)
{
        handle_gone(handle->data);
}

static void on_pipe_closed(uv_handle_t *handle)
{
        handle_gone(((struct exec_pipe *) handle->data)->exec);
}

static void pipe_close(struct exec_pipe *p)
{
        if (p->fd < 0)
                return;
        uv_close((uv_handle_t *) &p->poll, on_pipe_closed);
        close(take_fd(p->fd));
}

/* It is in the list no more; its memory goes with its last handle. */
static void exec_free(struct exec *x)
{
        for (int i = 0; i < PIPES; i++)
                pipe_close(&x->pipes[i]);
        if (x->pidfd >= 0) {
                uv_close((uv_handle_t *) &x->watch, on_handle_closed);
                close(take_fd(x->pidfd));
        }
        uv_close((uv_handle_t *) &x->grace, on_handle_closed);
        buffer_done(&x->input);
        free(x->task);
        x->task = NULL;
        DL_DELETE(x->owner->list, x);
        x->owner->len--;
}

/* Not after it was reaped: the number may be another's. */
static void signal_group(const struct exec *x, int number)
{
        if (!x->reaped)
                kill(-x->pid, number);
}

/* ---- To the server */

static void send_text(struct execs *e, const struct buffer *text)
{
        if (e->ws != NULL)
                websocket_send(e->ws, true, text->data, text->len);
}

static void put_error(struct buffer *out, const struct error *err)
{
        if (err == NULL) {
                buffer_puts(out, "null");
                return;
        }
        buffer_printf(out, "{\"code\":\"%s\",\"message\":", error_code_name(err->code));
        text_put_json_string(out, err->message);
        buffer_putc(out, '}');
}

static void send_failure(struct execs *e, uint32_t stream, const struct error *err)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        buffer_printf(&b,
                "{\"type\":\"exec-end\",\"stream\":%" PRIu32
                ",\"exit_code\":null,\"signal\":null,\"error\":",
                stream);
        put_error(&b, err);
        buffer_putc(&b, '}');
        send_text(e, &b);
}

static void send_end(const struct exec *x)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        buffer_printf(&b, "{\"type\":\"exec-end\",\"stream\":%" PRIu32, x->stream);
        if (x->code == CLD_EXITED)
                buffer_printf(&b, ",\"exit_code\":%d,\"signal\":null", x->status);
        else
                buffer_printf(
                        &b, ",\"exit_code\":null,\"signal\":\"%s\"", text_signal_name(x->status));
        buffer_puts(&b, ",\"error\":null}");
        send_text(x->owner, &b);
}

static void send_bytes(struct exec_pipe *p, char *frame, size_t len)
{
        struct exec *x = p->exec;
        struct frame_head head = { .byte = htobe64(p->byte) };

        head.stream = htobe32(p == &x->pipes[ERR] ? x->stream + 1 : x->stream);
        memcpy(frame, &head, sizeof head);
        websocket_send(x->owner->ws, false, frame, sizeof head + len);
        p->byte += len;
        x->credit -= len;
}

static void give_credit(struct exec *x, size_t written)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        x->owed += written;
        if (x->owed < CREDIT_STEP)
                return;
        buffer_printf(&b, "{\"type\":\"exec-more\",\"stream\":%" PRIu32 ",\"bytes\":%zu}",
                x->stream, x->owed);
        x->owed = 0;
        send_text(x->owner, &b);
}

/* ---- Output */

static void on_output(uv_poll_t *poll, int status, int events);

/* Reads and sends one piece. False if there is nothing to be done now. */
static bool output_step(struct exec_pipe *p)
{
        static char frame[sizeof(struct frame_head) + CHUNK_MAX];
        struct exec *x = p->exec;
        ssize_t n;

        if (p->fd < 0 || x->credit == 0)
                return false;
        n = read(p->fd, frame + sizeof(struct frame_head), MIN(x->credit, CHUNK_MAX));
        if (n < 0 && errno == EINTR)
                return true;
        if (n > 0) {
                send_bytes(p, frame, (size_t) n);
                return true;
        }
        /* The end, which a terminal tells by EIO. After the program's own end nothing is waited
         * for. */
        if (n == 0 || errno != EAGAIN || x->reaped)
                pipe_close(p);
        return false;
}

/* Reads what there is, and watches for more if there is room for it. */
static void output_pump(struct exec_pipe *p)
{
        struct exec *x = p->exec;
        int turns = 0;

        while ((turns < CHUNKS_A_TURN || x->reaped) && output_step(p))
                turns++;
        if (p->fd < 0)
                return;
        if (x->credit > 0)
                uv_poll_start(&p->poll, UV_READABLE, on_output);
        else
                uv_poll_stop(&p->poll);
}

static void finish_if_done(struct exec *x)
{
        if (!x->reaped || (!x->hung_up && (x->pipes[OUT].fd >= 0 || x->pipes[ERR].fd >= 0)))
                return;
        if (!x->hung_up)
                send_end(x);
        exec_free(x);
}

static void pump(struct exec *x)
{
        output_pump(&x->pipes[OUT]);
        output_pump(&x->pipes[ERR]);
        finish_if_done(x);
}

static void on_output(uv_poll_t *poll, int status, int events)
{
        (void) status;
        (void) events;
        pump(((struct exec_pipe *) poll->data)->exec);
}

/* ---- Input */

static void on_input_room(uv_poll_t *poll, int status, int events);

/* The end of input: the end of a pipe, or the key that means it. */
static void input_end(struct exec *x)
{
        struct exec_pipe *p = &x->pipes[IN];
        struct termios settings;
        char key = END_OF_INPUT;

        if (x->tty && tcgetattr(p->fd, &settings) == 0)
                key = (char) settings.c_cc[VEOF];
        if (x->tty && write(p->fd, &key, 1) < 0 && errno == EAGAIN)
                return; /* again when there is room */
        pipe_close(p);
}

/* Writes what it can. A program that reads no more gets no more: what is under way is dropped, and
 * no credit is given for it. */
static void input_pump(struct exec *x)
{
        struct exec_pipe *p = &x->pipes[IN];
        ssize_t n = 0;

        while (p->fd >= 0 && x->input.len > 0) {
                n = write(p->fd, x->input.data, x->input.len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        break;
                buffer_consume(&x->input, (size_t) n);
                give_credit(x, (size_t) n);
        }
        if (n < 0 && errno != EAGAIN)
                pipe_close(p);
        if (p->fd >= 0 && x->input_ended && x->input.len == 0)
                input_end(x);
        if (p->fd < 0) {
                buffer_done(&x->input);
                return;
        }
        if (x->input.len > 0 || x->input_ended)
                uv_poll_start(&p->poll, UV_WRITABLE, on_input_room);
        else
                uv_poll_stop(&p->poll);
}

static void on_input_room(uv_poll_t *poll, int status, int events)
{
        (void) status;
        (void) events;
        input_pump(((struct exec_pipe *) poll->data)->exec);
}

/* ---- The end */

static void on_grace(uv_timer_t *timer)
{
        signal_group(timer->data, SIGKILL);
}

/* Nobody listens any more. */
static void hang_up(struct exec *x)
{
        if (x->hung_up)
                return;
        x->hung_up = true;
        for (int i = 0; i < PIPES; i++)
                pipe_close(&x->pipes[i]);
        signal_group(x, SIGHUP);
        signal_group(x, SIGCONT); /* it may be stopped */
        uv_timer_start(&x->grace, on_grace, HANG_UP_GRACE_MS, 0);
        finish_if_done(x);
}

static void fail(struct exec *x, const char *message)
{
        struct error err;

        error_set(&err, ERR_INVALID, "%s", message);
        send_failure(x->owner, x->stream, &err);
        hang_up(x);
}

/* By its pid, which is its own until it is reaped here: the loop has made the pidfd non-blocking,
 * and then it cannot be waited for. */
static void reap(struct exec *x, int flags)
{
        siginfo_t si = { 0 };

        if (waitid(P_PID, (id_t) x->pid, &si, WEXITED | WNOWAIT | flags) < 0 || si.si_pid == 0)
                return;
        signal_group(x, SIGKILL);
        waitid(P_PID, (id_t) x->pid, &si, WEXITED);
        x->reaped = true;
        x->code = si.si_code;
        x->status = si.si_status;
        uv_close((uv_handle_t *) &x->watch, on_handle_closed);
        close(take_fd(x->pidfd));
        pipe_close(&x->pipes[IN]);
}

static void on_program_end(uv_poll_t *poll, int status, int events)
{
        struct exec *x = poll->data;

        (void) status;
        (void) events;
        reap(x, WNOHANG);
        if (x->reaped)
                pump(x);
}

/* ---- The beginning */

static void pipe_init(struct exec *x, int which, int fd)
{
        struct exec_pipe *p = &x->pipes[which];

        p->exec = x;
        p->fd = fd;
        p->poll.data = p;
        if (fd < 0)
                return;
        uv_poll_init(x->owner->loop, &p->poll, fd);
        x->handles++;
}

static void exec_new(
        struct execs *e, uint32_t stream, const char *task, bool tty, struct exec_program *program)
{
        struct exec *x = mem_alloc(sizeof *x);

        x->owner = e;
        x->stream = stream;
        x->task = mem_strdup(task);
        x->tty = tty;
        x->pid = program->pid;
        x->pidfd = program->pidfd;
        x->credit = EXEC_WINDOW;
        x->watch.data = x->grace.data = x;
        uv_timer_init(e->loop, &x->grace);
        uv_poll_init(e->loop, &x->watch, x->pidfd);
        x->handles = 2;
        pipe_init(x, IN, program->in);
        pipe_init(x, OUT, program->out);
        pipe_init(x, ERR, program->err);
        uv_poll_start(&x->watch, UV_READABLE, on_program_end);
        DL_APPEND(e->list, x);
        e->len++;
        pump(x);
}

/* A heap array of borrowed strings. */
static char **read_command(const json_t *list, struct error *err)
{
        size_t len = json_array_size(list), i;
        char **command;
        json_t *item;

        if (len == 0 || len > ARGUMENTS_MAX) {
                error_set(err, ERR_INVALID, "command: expected 1 to %d words", ARGUMENTS_MAX);
                return NULL;
        }
        command = mem_alloc((len + 1) * sizeof *command);
        json_array_foreach (list, i, item) {
                union {
                        const char *given;
                        char *text; /* never written to */
                } word = { .given = json_string_value(item) };

                if (word.given == NULL || (i == 0 && *word.given == '\0')) {
                        free(command);
                        error_set(err, ERR_INVALID, "command[%zu]: expected a text", i);
                        return NULL;
                }
                command[i] = word.text;
        }
        return command;
}

static unsigned short read_extent(const json_t *message, const char *key)
{
        json_int_t n = json_integer_value(json_object_get(message, key));

        return (unsigned short) MIN(MAX(n, 0), UINT16_MAX);
}

static struct winsize read_size(const json_t *message)
{
        return (struct winsize){ .ws_row = read_extent(message, "rows"),
                .ws_col = read_extent(message, "cols") };
}

static void strings_free(char **strings)
{
        for (char **s = strings; s != NULL && *s != NULL; s++)
                free(*s);
        free(strings);
}

/* The variable replaces one of the task's. Takes @value. */
static char **set_variable(char **env, const char *name, char *value)
{
        size_t len = strlen(name), n = 0;

        for (; env[n] != NULL; n++)
                if (strncmp(env[n], name, len) == 0 && env[n][len] == '=') {
                        free(env[n]);
                        env[n] = value;
                        return env;
                }
        env = mem_resize(env, n + 2, sizeof *env);
        env[n] = value;
        env[n + 1] = NULL;
        return env;
}

static int start(struct execs *e, const json_t *message, char **command, const char *task,
        struct exec_program *ret, struct error *err)
{
        const char *term = json_string_value(json_object_get(message, "term"));
        union {
                const char *given;
                char *text; /* never written to */
        } user = { .given = json_string_value(json_object_get(message, "user")) };
        struct exec_start start = { .tty = json_is_true(json_object_get(message, "tty")),
                .size = read_size(message) };
        struct spawn_plan plan;
        char **env;
        int r;

        if (tasks_plan_exec(e->tasks, task, command, user.text, &plan, &env, err) < 0)
                return -1;
        if (start.tty && term != NULL)
                env = set_variable(env, "TERM", mem_printf("TERM=%s", term));
        start.plan = &plan;
        start.env = env;
        r = exec_spawn(&start, ret, err);
        spawn_plan_done(&plan);
        strings_free(env);
        return r;
}

static int open_program(struct execs *e, const json_t *message, uint32_t stream, struct error *err)
{
        const char *task = json_string_value(json_object_get(message, "task"));
        AUTO(mem_freep) char **command = NULL;
        struct exec_program program;

        if (task == NULL)
                return error_set(err, ERR_INVALID, "task: missing");
        if (e->len >= PROGRAMS_MAX)
                return error_set(err, ERR_TOO_LARGE,
                        "more than %d programs are run by exec on this node", PROGRAMS_MAX);
        command = read_command(json_object_get(message, "command"), err);
        if (command == NULL || start(e, message, command, task, &program, err) < 0)
                return -1;
        log_info("task %s: %s runs beside it (pid %d)", task, command[0], program.pid);
        exec_new(e, stream, task, json_is_true(json_object_get(message, "tty")), &program);
        return 0;
}

/* ---- From the server */

static struct exec *find(struct execs *e, uint32_t stream)
{
        struct exec *x;

        DL_FOREACH (e->list, x)
                if (x->stream == stream && !x->hung_up)
                        return x;
        return NULL;
}

static void on_resize(struct exec *x, const json_t *message)
{
        struct winsize size = read_size(message);

        if (x->tty && x->pipes[OUT].fd >= 0) /* the kernel tells the program: SIGWINCH */
                ioctl(x->pipes[OUT].fd, TIOCSWINSZ, &size);
}

static void on_signal(struct exec *x, const json_t *message)
{
        const char *name = json_string_value(json_object_get(message, "signal"));
        int number = name == NULL ? 0 : text_parse_signal(name);

        if (number != 0)
                signal_group(x, number);
}

static void on_more(struct exec *x, const json_t *message)
{
        json_int_t more = json_integer_value(json_object_get(message, "bytes"));

        if (more > 0)
                x->credit = MIN(x->credit + MIN((size_t) more, EXEC_WINDOW), EXEC_WINDOW);
        pump(x);
}

static void on_close(struct exec *x, const json_t *message)
{
        (void) message;
        hang_up(x);
}

static const struct {
        const char *type;
        void (*handle)(struct exec *x, const json_t *message);
} messages[] = {
        { "exec-resize", on_resize },
        { "exec-signal", on_signal },
        { "exec-more", on_more },
        { "exec-close", on_close },
};

void execs_message(struct execs *e, const json_t *message)
{
        const char *type = json_string_value(json_object_get(message, "type"));
        uint32_t stream = (uint32_t) json_integer_value(json_object_get(message, "stream"));
        struct exec *x = find(e, stream);
        struct error err = ERROR_INIT;

        if (strcmp(type, "exec-open") == 0) {
                if (x != NULL)
                        hang_up(x);
                if (open_program(e, message, stream, &err) < 0)
                        send_failure(e, stream, &err);
                return;
        }
        if (x == NULL)
                return; /* it ended while this was on its way */
        for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
                if (strcmp(messages[i].type, type) == 0) {
                        messages[i].handle(x, message);
                        return;
                }
}

void execs_data(struct execs *e, const void *message, size_t len)
{
        struct frame_head head;
        struct exec_pipe *p;
        struct exec *x;

        if (len < sizeof head)
                return;
        memcpy(&head, message, sizeof head);
        len -= sizeof head;
        x = find(e, be32toh(head.stream));
        if (x == NULL || x->reaped)
                return;
        p = &x->pipes[IN];
        if (x->input_ended || be64toh(head.byte) != p->byte || x->input.len + len > EXEC_WINDOW) {
                fail(x, "more input than was asked for, or not in order");
                return;
        }
        p->byte += len;
        x->input_ended = len == 0;
        if (p->fd < 0) /* the program has closed it */
                return;
        buffer_put(&x->input, (const char *) message + sizeof head, len);
        input_pump(x);
}

/* ---- The connection */

struct execs *execs_new(uv_loop_t *loop, struct tasks *tasks)
{
        struct execs *e = mem_alloc(sizeof *e);

        e->loop = loop;
        e->tasks = tasks;
        return e;
}

void execs_connect(struct execs *e, struct websocket *ws)
{
        e->ws = ws;
}

void execs_disconnect(struct execs *e)
{
        struct exec *x, *next;

        e->ws = NULL;
        DL_FOREACH_SAFE (e->list, x, next)
                hang_up(x);
}

void execs_free(struct execs *e)
{
        struct exec *x, *next;

        if (e == NULL)
                return;
        execs_disconnect(e);
        DL_FOREACH_SAFE (e->list, x, next) {
                signal_group(x, SIGKILL);
                reap(x, 0);
                exec_free(x);
        }
        free(e);
}
