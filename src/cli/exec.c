/* SPDX-License-Identifier: BSD-3-Clause */
/* Exec: a program beside a task, as if it were here.
 *
 * Standard input goes to the program, its output comes to standard output and error, through one
 * WebSocket (docs/http.md). Both directions are bounded by credit: input is read from ours only
 * when the program's side has room, and room for output is told when ours has been written. Nothing
 * here blocks but the wait for all of that (watch.c), so that signals, the window's size and the
 * signs of life of the connection are seen to while the reader of our output sleeps.
 *
 * With a terminal ours is raw while we run: keys are the program's, Ctrl-C is one of them. It is
 * put back at every end that can be seen: ours, an error, a signal, and while we are stopped.
 *
 * When we go, however, the connection goes, and the program gets SIGHUP. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/watch.h"
#include "net/websocket.h"

#define WINDOW      ((size_t) 256 * 1024) /* docs/http.md */
#define CREDIT_STEP ((size_t) 64 * 1024)
#define INPUT_MAX   ((size_t) 32 * 1024)

enum { STDIN, STDOUT, STDERR }; /* first byte of a binary message */

static bool want_tty, want_no_tty, interactive;
static const char *user;

static const struct option_row options[] = {
        { "tty", 't', OPTION_FLAG, &want_tty, NULL,
                "give it a terminal (if not given: when input and output are one)" },
        { "no-tty", 'T', OPTION_FLAG, &want_no_tty, NULL, "give it no terminal" },
        { "interactive", 'i', OPTION_FLAG, &interactive, NULL,
                "pass standard input on; it always is, -it does no harm" },
        { "user", 'u', OPTION_TEXT, &user, "USER", "run it as this user, not as the task's" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

struct output {
        int fd;
        struct buffer bytes; /* to be written */
        struct watch watch;
};

static const struct {
        int number;
        bool pass_on; /* without a terminal: it is meant for the program */
} signals[] = {
        { SIGINT, true },
        { SIGQUIT, true },
        { SIGTERM, true },
        { SIGUSR1, true },
        { SIGUSR2, true },
        { SIGHUP, false },
        { SIGWINCH, false },
        { SIGTSTP, false },
};

static struct session {
        uv_loop_t loop;
        struct websocket *ws;
        bool tty, open, ended;
        uv_signal_t signals[ARRAY_SIZE(signals)];
        bool passed_on[65]; /* signals: once */
        struct watch input;
        bool input_ended;
        size_t credit;           /* for input */
        struct output output[2]; /* of STDOUT, STDERR */
        size_t owed;             /* output written and not told yet */
        int status;              /* exit status */
        bool failed;
        struct error err;
} session;

/* ---- The terminal */

static struct termios cooked;
static bool is_raw;

static void terminal_restore(void)
{
        if (is_raw)
                tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
        is_raw = false;
}

static void terminal_make_raw(void)
{
        struct termios raw;

        if (is_raw || tcgetattr(STDIN_FILENO, &cooked) < 0)
                return;
        raw = cooked;
        cfmakeraw(&raw);
        is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static struct winsize window_size(void)
{
        struct winsize size = { .ws_row = 24, .ws_col = 80 };

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
                ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
        return size;
}

/* ---- The end */

static void end(struct session *s, int status)
{
        s->status = status;
        uv_stop(&s->loop);
}

static void end_with_error(struct session *s)
{
        s->failed = true;
        uv_stop(&s->loop);
}

static void end_if_written(struct session *s)
{
        if (s->ended && s->output[0].bytes.len == 0 && s->output[1].bytes.len == 0)
                uv_stop(&s->loop);
}

/* ---- Sending */

static void send_text(struct session *s, const char *format, ...) PRINTF_LIKE(2, 3);
static void send_text(struct session *s, const char *format, ...)
{
        AUTO(mem_freep) char *text = NULL;
        va_list ap;

        if (!s->open)
                return;
        va_start(ap, format);
        text = mem_vprintf(format, ap);
        va_end(ap);
        websocket_send(s->ws, true, text, strlen(text));
}

static void send_size(struct session *s)
{
        struct winsize size = window_size();

        send_text(s, "{\"type\":\"resize\",\"rows\":%u,\"cols\":%u}", size.ws_row, size.ws_col);
}

static void watch_input(struct session *s)
{
        watch_set(&s->input, s->open && !s->ended && !s->input_ended && s->credit > 0);
}

static void on_input(void *data)
{
        static char frame[1 + INPUT_MAX] = { STDIN };
        struct session *s = data;
        ssize_t n = read(STDIN_FILENO, frame + 1, MIN(INPUT_MAX, s->credit));

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        n = MAX(n, (ssize_t) 0); /* what cannot be read has ended */
        websocket_send(s->ws, false, frame, 1 + (size_t) n);
        s->credit -= (size_t) n;
        s->input_ended = n == 0;
        watch_input(s);
}

/* ---- Output */

static void on_output(void *data)
{
        struct session *s = &session;
        struct output *o = data;
        ssize_t n = write(o->fd, o->bytes.data, MIN(o->bytes.len, WATCH_WRITE_MAX));

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n < 0 && errno == EPIPE) { /* as for any program in front of `head` */
                end(s, 128 + SIGPIPE);
                return;
        }
        if (n < 0) {
                error_sys(&s->err, errno, "write to standard %s",
                        o->fd == STDOUT_FILENO ? "output" : "error");
                end_with_error(s);
                return;
        }
        buffer_consume(&o->bytes, (size_t) n);
        watch_set(&o->watch, o->bytes.len > 0);
        s->owed += (size_t) n;
        if (s->owed >= CREDIT_STEP && !s->ended) {
                send_text(s, "{\"type\":\"more\",\"bytes\":%zu}", s->owed);
                s->owed = 0;
        }
        end_if_written(s);
}

/* ---- Receiving */

static void on_open(void *data)
{
        struct session *s = data;

        s->open = true;
        if (s->tty) {
                terminal_make_raw();
                send_size(s); /* it may have changed since it was asked for */
        }
        watch_input(s);
}

static void on_refused(void *data, int status, const char *body, size_t len)
{
        struct session *s = data;

        client_problem(status, body, len, &s->err);
        end_with_error(s);
}

static void on_more(struct session *s, const json_t *message)
{
        json_int_t bytes = json_integer_value(json_object_get(message, "bytes"));

        if (bytes > 0)
                s->credit = MIN(s->credit + MIN((size_t) bytes, WINDOW), WINDOW);
        watch_input(s);
}

static void on_end(struct session *s, const json_t *message)
{
        const json_t *error = json_object_get(message, "error");
        const char *name = json_string_value(json_object_get(message, "signal"));
        const char *code = json_string_value(json_object_get(error, "code"));
        const char *text = json_string_value(json_object_get(error, "message"));

        s->ended = true;
        watch_input(s);
        if (json_is_object(error)) {
                error_set(&s->err, code == NULL ? ERR_SYSTEM : error_code_from_name(code), "%s",
                        text == NULL ? "it failed" : text);
                s->failed = true;
        } else {
                s->status = name != NULL ? 128 + text_parse_signal(name)
                                         : (int) json_integer_value(
                                                   json_object_get(message, "exit_code"));
        }
        end_if_written(s);
}

static void on_text(struct session *s, const char *bytes, size_t len)
{
        json_error_t why;
        json_t *message = json_loadb(bytes, len, 0, &why);
        const char *type = json_string_value(json_object_get(message, "type"));

        if (type != NULL && strcmp(type, "more") == 0)
                on_more(s, message);
        else if (type != NULL && strcmp(type, "end") == 0)
                on_end(s, message);
        json_decref(message);
}

static void on_message(void *data, bool text, const void *bytes, size_t len)
{
        struct session *s = data;
        const char *p = bytes;
        struct output *o;

        if (text) {
                on_text(s, bytes, len);
        } else if (len > 1 && (p[0] == STDOUT || p[0] == STDERR)) {
                o = &s->output[p[0] == STDERR];
                buffer_put(&o->bytes, p + 1, len - 1);
                watch_set(&o->watch, true);
        }
}

static void on_close(void *data, const char *reason)
{
        struct session *s = data;
        bool was_open = s->open;

        s->ws = NULL;
        s->open = false;
        watch_input(s);
        if (s->ended || s->failed)
                return;
        error_set(&s->err, ERR_UNAVAILABLE, "%s%s", reason,
                was_open ? "; the program is hung up" : "");
        end_with_error(s);
}

/* ---- Signals */

/* Stopped from outside: the terminal is the shell's meanwhile. */
static void stop_here(struct session *s)
{
        terminal_restore();
        raise(SIGSTOP);
        if (s->tty && s->open) {
                terminal_make_raw();
                send_size(s);
        }
}

static void on_signal(uv_signal_t *handle, int number)
{
        struct session *s = handle->data;
        bool pass_on = false;

        if (number == SIGWINCH) {
                send_size(s);
                return;
        }
        if (number == SIGTSTP) {
                stop_here(s);
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                pass_on |= signals[i].number == number && signals[i].pass_on;
        if (!pass_on || s->tty || !s->open || s->passed_on[number]) {
                end(s, 128 + number);
                return;
        }
        s->passed_on[number] = number == SIGINT || number == SIGTERM || number == SIGQUIT;
        send_text(s, "{\"type\":\"signal\",\"signal\":\"%s\"}", text_signal_name(number));
}

static void watch_signals(struct session *s)
{
        signal(SIGPIPE, SIG_IGN); /* it would not leave the terminal as it was */
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
                struct sigaction action;

                if ((signals[i].number == SIGWINCH && !s->tty) ||
                        (sigaction(signals[i].number, NULL, &action) == 0 &&
                                action.sa_handler == SIG_IGN)) /* nohup */
                        continue;
                uv_signal_init(&s->loop, &s->signals[i]);
                s->signals[i].data = s;
                uv_signal_start(&s->signals[i], on_signal, signals[i].number);
        }
}

/* ---- The command */

static char *make_path(const struct session *s, const char *task, const char *const *command)
{
        AUTO(mem_freep) char *begin = client_subject_path(task, "/exec");
        const char *term = getenv("TERM");
        struct winsize size = window_size();
        struct buffer path = { 0 };

        buffer_printf(&path, "%s?tty=%s", begin, s->tty ? "true" : "false");
        if (s->tty)
                buffer_printf(&path, "&rows=%u&cols=%u", size.ws_row, size.ws_col);
        if (s->tty && term != NULL) {
                buffer_puts(&path, "&term=");
                client_put_encoded(&path, term);
        }
        if (user != NULL) {
                buffer_puts(&path, "&user=");
                client_put_encoded(&path, user);
        }
        for (; *command != NULL; command++) {
                buffer_puts(&path, "&command=");
                client_put_encoded(&path, *command);
        }
        return buffer_take(&path);
}

static int prepare(struct session *s, struct error *err)
{
        int r = uv_loop_init(&s->loop);

        if (r < 0)
                return error_sys(err, -r, "make an event loop");
        s->credit = WINDOW;
        for (int i = 0; i < 2; i++) {
                struct output *o = &s->output[i];

                o->fd = i == 0 ? STDOUT_FILENO : STDERR_FILENO;
                if (watch_init(&o->watch, &s->loop, o->fd, true, on_output, o, err) < 0)
                        return error_wrap(err, "standard %s", i == 0 ? "output" : "error");
        }
        if (watch_init(&s->input, &s->loop, STDIN_FILENO, false, on_input, s, err) < 0)
                return error_wrap(err, "standard input");
        atexit(terminal_restore);
        watch_signals(s);
        return 0;
}

static int converse(struct session *s, const char *const *operands, struct error *err)
{
        static const struct websocket_handlers handlers = { .on_open = on_open,
                .on_refused = on_refused,
                .on_message = on_message,
                .on_close = on_close };
        AUTO(mem_freep) char *path = make_path(s, operands[0], operands + 1);
        struct address address;

        if (client_address(&address, err) < 0 ||
                websocket_connect(
                        &s->loop, &address, path, client_headers(), &handlers, s, &s->ws, err) < 0)
                return -1;
        uv_run(&s->loop, UV_RUN_DEFAULT);
        terminal_restore();
        if (!s->failed)
                return 0;
        *err = s->err;
        return -1;
}

static int run(const char *const *operands, struct error *err)
{
        struct session *s = &session;

        if (!client_is_task(operands[0]))
                return error_set(err, ERR_INVALID,
                        "\"%s\" is a job: say which of its tasks, such as %s.0", operands[0],
                        operands[0]);
        if (want_tty && want_no_tty)
                return error_set(err, ERR_INVALID, "--tty and --no-tty: only one of them");
        s->tty = want_tty || (!want_no_tty && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
        if (prepare(s, err) < 0 || converse(s, operands, err) < 0)
                return -1;
        exit(s->status); /* and not that of an error of ours */
}

const struct command command_exec = {
        .name = "exec",
        .operands = "TASK -- COMMAND...",
        .summary = "run a program beside a task",
        .details = "On the task's node, with its user, directory and environment. Standard input "
                   "goes to the program, its\n"
                   "output comes here, and its exit status is ours: 128 and the number if a signal "
                   "ended it. The program\n"
                   "is no part of the task. It ends with this command (SIGHUP, 5 s later SIGKILL), "
                   "and what it leaves behind\n"
                   "in its process group ends with it.\n"
                   "\n"
                   "Without a terminal, SIGINT, SIGTERM, SIGQUIT, SIGUSR1 and SIGUSR2 are passed "
                   "on; a second one of the\n"
                   "first three ends this command.",
        .options = options,
        .operands_min = 2,
        .operands_max = -1,
        .empty_operands = true,
        .run = run,
};
