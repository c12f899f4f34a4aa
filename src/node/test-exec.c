/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs beside a task, over the link: real programs, and a server that keeps to the protocol or
 * does not. The task itself is a child of the test that does nothing. */
#include "node/test-link.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/process.h"
#include "node/task-internal.h"

#define WINDOW ((size_t) 256 * 1024)
#define STEP   ((size_t) 64 * 1024) /* less credit is not given back by itself */
#define STREAM 2147483650u          /* 2^31 + 2 */

static pid_t child; /* the process of web.0 */

/* ---- the task */

static pid_t start_child(void)
{
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                setpgid(0, 0);
                execlp("sleep", "sleep", "100000", NULL);
                _exit(127);
        }
        setpgid(pid, pid);
        return pid;
}

static int set_up(void **state)
{
        struct world *w;
        struct task *t;

        if (world_new(state) < 0)
                return -1;
        w = *state;
        meet(w);
        say(w, "{\"type\":\"specs\",\"specs\":[{\"job\":\"web\",\"version\":1,\"spec\":{"
               "\"command\":[\"true\"],\"directory\":\"/usr\",\"env\":{\"COLOUR\":\"blue\"}}}]}");
        say(w, "{\"type\":\"assign\",\"tasks\":[{\"task\":\"web.0\",\"job\":\"web\",\"index\":0,"
               "\"desire\":{\"run\":false,\"version\":1}},{\"task\":\"web.1\",\"job\":\"web\","
               "\"index\":1,\"desire\":{\"run\":false,\"version\":1}}]}");
        settle(w);
        json_array_clear(w->heard); /* reports */
        t = tasks_find(w->tasks, "web.0");
        assert_non_null(t);
        child = start_child();
        task_attach(t, child, process_open(child));
        return 0;
}

static int tear_down(void **state)
{
        struct world *w = *state;

        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        task_detach(tasks_find(w->tasks, "web.0"));
        return world_free(state);
}

/* ---- the server */

/* @command: a JSON array. */
static void open_program(struct world *w, uint32_t stream, const char *command, const char *more)
{
        say(w,
                "{\"type\":\"exec-open\",\"stream\":%u,\"task\":\"web.0\",\"command\":%s,"
                "\"tty\":false%s}",
                stream, command, more);
}

static void send_input(
        struct world *w, uint32_t stream, uint64_t byte, const char *bytes, size_t len)
{
        AUTO(buffer_done) struct buffer frame = { 0 };
        uint32_t head[3] = { htonl(stream), htonl((uint32_t) (byte >> 32)),
                htonl((uint32_t) byte) };

        buffer_put(&frame, head, sizeof head);
        buffer_put(&frame, bytes, len);
        websocket_send(w->peer, false, frame.data, frame.len);
}

static size_t arrived(const struct world *w, uint32_t stream)
{
        size_t n = 0;

        for (size_t i = 0; i < w->frames_len; i++)
                if (w->frames[i].stream == stream) {
                        assert_int_equal(w->frames[i].byte, n);
                        assert_true(w->frames[i].len > 0);
                        n += w->frames[i].len;
                }
        return n;
}

static char *text_of(const struct world *w, uint32_t stream)
{
        struct buffer text = { 0 };

        for (size_t i = 0; i < w->frames_len; i++)
                if (w->frames[i].stream == stream)
                        buffer_put(&text, w->frames[i].bytes, w->frames[i].len);
        return buffer_take(&text);
}

static void expect_text(const struct world *w, uint32_t stream, const char *expected)
{
        AUTO(mem_freep) char *text = text_of(w, stream);

        assert_string_equal(text, expected);
}

static void expect_exit(struct world *w, uint32_t stream, int code)
{
        json_t *message = hear(w, "exec-end");

        assert_int_equal(number_in(message, "stream"), stream);
        assert_true(json_is_null(json_object_get(message, "error")));
        assert_true(json_is_null(json_object_get(message, "signal")));
        assert_int_equal(number_in(message, "exit_code"), code);
        json_decref(message);
}

static void expect_failure(struct world *w, uint32_t stream, const char *code, const char *text)
{
        json_t *message = hear(w, "exec-end"), *error = json_object_get(message, "error");
        const char *said = json_string_value(json_object_get(error, "message"));

        assert_int_equal(number_in(message, "stream"), stream);
        assert_string_equal(json_string_value(json_object_get(error, "code")), code);
        if (strstr(said, text) == NULL)
                fail_msg("expected \"%s\": %s", text, said);
        json_decref(message);
}

/* The pid that a program has written, and what follows it. */
static pid_t await_pid(struct world *w, uint32_t stream)
{
        AUTO(mem_freep) char *text = NULL;

        wait_for(&w->loop, w->frames_len > 0 && w->frames[0].bytes[w->frames[0].len - 1] == '\n');
        text = text_of(w, stream);
        return (pid_t) atoi(text);
}

static bool is_there(pid_t pid)
{
        return kill(pid, 0) == 0;
}

/* ---- */

static void it_runs_as_the_task_does(void **state)
{
        struct world *w = *state;

        open_program(w, STREAM,
                "[\"sh\",\"-c\",\"echo $COLOUR $REEVE_TASK $PWD; echo no >&2; exit 4\"]", "");
        expect_exit(w, STREAM, 4);
        expect_text(w, STREAM, "blue web.0 /usr\n");
        expect_text(w, STREAM + 1, "no\n");
}

static void its_signal_is_told(void **state)
{
        struct world *w = *state;
        json_t *message;

        open_program(w, STREAM, "[\"sh\",\"-c\",\"kill -USR1 $$\"]", "");
        message = hear(w, "exec-end");
        assert_string_equal(json_string_value(json_object_get(message, "signal")), "USR1");
        assert_true(json_is_null(json_object_get(message, "exit_code")));
        json_decref(message);
}

static void what_cannot_be_run_is_told(void **state)
{
        struct world *w = *state;

        open_program(w, STREAM, "[\"/no/such\"]", "");
        expect_failure(w, STREAM, "not-found", "cannot execute /no/such");
        open_program(w, STREAM, "[]", "");
        expect_failure(w, STREAM, "invalid", "command");
        open_program(w, STREAM, "[\"true\",7]", "");
        expect_failure(w, STREAM, "invalid", "command[1]");
        open_program(w, STREAM, "[\"\"]", "");
        expect_failure(w, STREAM, "invalid", "command[0]");
        open_program(w, STREAM, "[\"true\"]", ",\"user\":\"nobody-there\"");
        expect_failure(w, STREAM, "invalid", "nobody-there");
        say(w, "{\"type\":\"exec-open\",\"stream\":8,\"task\":\"web.1\",\"command\":[\"true\"]}");
        expect_failure(w, 8, "conflict", "web.1 does not run");
        say(w, "{\"type\":\"exec-open\",\"stream\":8,\"task\":\"web.2\",\"command\":[\"true\"]}");
        expect_failure(w, 8, "not-found", "web.2 is not on this node");
        say(w, "{\"type\":\"exec-open\",\"stream\":8}");
        expect_failure(w, 8, "invalid", "task");
        /* for a stream that is not there */
        say(w, "{\"type\":\"exec-more\",\"stream\":9,\"bytes\":1}");
        say(w, "{\"type\":\"exec-close\",\"stream\":9}");
        send_input(w, 9, 0, "x", 1);
        websocket_send(w->peer, false, "short", 5);
        expect_silence(w);
}

static void output_keeps_to_its_credit(void **state)
{
        struct world *w = *state;

        open_program(w, STREAM, "[\"head\",\"-c\",\"600000\",\"/dev/zero\"]", "");
        wait_for(&w->loop, arrived(w, STREAM) == WINDOW);
        expect_silence(w);
        assert_int_equal(arrived(w, STREAM), WINDOW);
        say(w, "{\"type\":\"exec-more\",\"stream\":%u,\"bytes\":1000}", STREAM);
        wait_for(&w->loop, arrived(w, STREAM) == WINDOW + 1000);
        expect_silence(w);
        /* more than a window at once is not taken */
        say(w, "{\"type\":\"exec-more\",\"stream\":%u,\"bytes\":100000000}", STREAM);
        wait_for(&w->loop, arrived(w, STREAM) == 2 * WINDOW + 1000);
        expect_silence(w);
        say(w, "{\"type\":\"exec-more\",\"stream\":%u,\"bytes\":200000}", STREAM);
        expect_exit(w, STREAM, 0);
        assert_int_equal(arrived(w, STREAM), 600000);
}

static void input_is_acknowledged_as_it_is_written(void **state)
{
        struct world *w = *state;
        AUTO(mem_freep) char *bytes = mem_alloc(WINDOW);
        size_t credit = 0;
        json_t *message;

        memset(bytes, 'x', WINDOW);
        open_program(w, STREAM, "[\"sh\",\"-c\",\"wc -c\"]", "");
        send_input(w, STREAM, 0, bytes, WINDOW);
        while (credit <= WINDOW - STEP) {
                message = hear(w, "exec-more");
                credit += (size_t) number_in(message, "bytes");
                json_decref(message);
        }
        assert_true(credit <= WINDOW);
        send_input(w, STREAM, WINDOW, "more", 4);
        send_input(w, STREAM, WINDOW + 4, "", 0);
        expect_exit(w, STREAM, 0);
        expect_text(w, STREAM, "262148\n");
}

static void input_beyond_the_credit_ends_it(void **state)
{
        struct world *w = *state;
        AUTO(mem_freep) char *bytes = mem_alloc(WINDOW);
        pid_t pid;

        open_program(w, STREAM, "[\"sh\",\"-c\",\"echo $$; exec sleep 100000\"]", "");
        pid = await_pid(w, STREAM);
        send_input(w, STREAM, 0, bytes, WINDOW);
        settle(w);
        json_array_clear(w->heard); /* the pipe has taken some of it */
        send_input(w, STREAM, WINDOW, bytes, WINDOW);
        expect_failure(w, STREAM, "invalid", "more input than was asked for");
        wait_for(&w->loop, !is_there(pid));
        expect_silence(w);

        open_program(w, STREAM + 2, "[\"cat\"]", "");
        send_input(w, STREAM + 2, 5, "out of order", 12);
        expect_failure(w, STREAM + 2, "invalid", "not in order");
}

static void a_program_that_does_not_read_gets_nothing(void **state)
{
        struct world *w = *state;

        open_program(w, STREAM,
                "[\"sh\",\"-c\",\"exec <&-; echo closed; read x </dev/null; sleep 0.2\"]", "");
        wait_for(&w->loop, arrived(w, STREAM) == 7);
        send_input(w, STREAM, 0, "nobody reads this", 17);
        send_input(w, STREAM, 17, "nor this", 8);
        send_input(w, STREAM, 25, "", 0);
        expect_exit(w, STREAM, 0);
}

static void closing_hangs_it_up(void **state)
{
        struct world *w = *state;
        pid_t pid;

        open_program(w, STREAM, "[\"sh\",\"-c\",\"echo $$; exec sleep 100000\"]", "");
        pid = await_pid(w, STREAM);
        say(w, "{\"type\":\"exec-close\",\"stream\":%u}", STREAM);
        wait_for(&w->loop, !is_there(pid)); /* and it was reaped */
        expect_silence(w);
}

static void a_broken_link_hangs_it_up(void **state)
{
        struct world *w = *state;
        pid_t pid;

        open_program(w, STREAM, "[\"sh\",\"-c\",\"echo $$; exec sleep 100000\"]", "");
        pid = await_pid(w, STREAM);
        websocket_close(take_ptr(w->peer), 1001, NULL);
        wait_for(&w->loop, !is_there(pid));
}

static void it_dies_with_the_agent(void **state)
{
        struct world *w = *state;
        pid_t pid;

        open_program(w, STREAM, "[\"sh\",\"-c\",\"trap '' HUP; echo $$; exec sleep 100000\"]", "");
        pid = await_pid(w, STREAM);
        link_free(take_ptr(w->link));
        assert_false(is_there(pid));
}

static void a_signal_reaches_its_group(void **state)
{
        struct world *w = *state;

        open_program(w, STREAM,
                "[\"sh\",\"-c\",\"trap 'exit 6' USR2; echo $$; while :; do sleep 0.02; done\"]",
                "");
        await_pid(w, STREAM);
        say(w, "{\"type\":\"exec-signal\",\"stream\":%u,\"signal\":\"NONE\"}", STREAM);
        say(w, "{\"type\":\"exec-signal\",\"stream\":%u,\"signal\":\"USR2\"}", STREAM);
        expect_exit(w, STREAM, 6);
}

static void a_terminal_has_a_size(void **state)
{
        struct world *w = *state;

        say(w,
                "{\"type\":\"exec-open\",\"stream\":%u,\"task\":\"web.0\",\"tty\":true,\"rows\":7,"
                "\"cols\":33,\"term\":\"vt100\",\"command\":[\"sh\",\"-c\","
                "\"stty size; echo $TERM; read x; stty size; echo end >&2\"]}",
                STREAM);
        wait_for(&w->loop, arrived(w, STREAM) == strlen("7 33\r\nvt100\r\n"));
        say(w, "{\"type\":\"exec-resize\",\"stream\":%u,\"rows\":8,\"cols\":44}", STREAM);
        send_input(w, STREAM, 0, "\n", 1);
        expect_exit(w, STREAM, 0);
        expect_text(w, STREAM, "7 33\r\nvt100\r\n\r\n8 44\r\nend\r\n");
}

static void a_terminal_ends_input_by_its_key(void **state)
{
        struct world *w = *state;

        say(w,
                "{\"type\":\"exec-open\",\"stream\":%u,\"task\":\"web.0\",\"tty\":true,"
                "\"command\":[\"sh\",\"-c\",\"stty -echo eof @; echo go; cat\"]}",
                STREAM);
        wait_for(&w->loop, arrived(w, STREAM) == 4);
        send_input(w, STREAM, 0, "line\n", 5);
        send_input(w, STREAM, 5, "", 0);
        expect_exit(w, STREAM, 0);
        expect_text(w, STREAM, "go\r\nline\r\n");
}

static void there_is_a_limit(void **state)
{
        struct world *w = *state;

        for (uint32_t i = 0; i < 128; i++)
                open_program(w, STREAM + 2 * i, "[\"cat\"]", "");
        open_program(w, STREAM + 256, "[\"cat\"]", "");
        expect_failure(w, STREAM + 256, "too-large", "128");
        send_input(w, STREAM, 0, "", 0);
        expect_exit(w, STREAM, 0);
        open_program(w, STREAM, "[\"true\"]", "");
        expect_exit(w, STREAM, 0);
}

static void a_task_is_signalled(void **state)
{
        struct world *w = *state;
        int status = 0;

        say(w, "{\"type\":\"signal\",\"task\":\"web.1\",\"signal\":\"TERM\"}"); /* has none */
        say(w, "{\"type\":\"signal\",\"task\":\"web.0\"}");
        say(w, "{\"type\":\"signal\",\"task\":\"web.0\",\"signal\":\"USR1\"}");
        wait_for(&w->loop, waitpid(child, &status, WNOHANG) == child);
        assert_int_equal(WTERMSIG(status), SIGUSR1);
        child = start_child(); /* for tear_down() */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(it_runs_as_the_task_does),
                TEST(its_signal_is_told),
                TEST(what_cannot_be_run_is_told),
                TEST(output_keeps_to_its_credit),
                TEST(input_is_acknowledged_as_it_is_written),
                TEST(input_beyond_the_credit_ends_it),
                TEST(a_program_that_does_not_read_gets_nothing),
                TEST(closing_hangs_it_up),
                TEST(a_broken_link_hangs_it_up),
                TEST(it_dies_with_the_agent),
                TEST(a_signal_reaches_its_group),
                TEST(a_terminal_has_a_size),
                TEST(a_terminal_ends_input_by_its_key),
                TEST(there_is_a_limit),
                TEST(a_task_is_signalled),
        };

        setenv("REEVE_LOG", "error", 0);
        log_init("test");
        signal(SIGPIPE, SIG_IGN); /* as in the agent */
        return cmocka_run_group_tests(tests, NULL, NULL);
}
